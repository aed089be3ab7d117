#!/bin/sh
# SPDX-License-Identifier: MIT
# Each installed header compiles alone, as C11 and as C++17, without a warning; and what their
# structs begin with (..._INIT) is an initializer in C++ as well.
status=0
flags="-Wall -Wextra -Wpedantic -Werror -fsyntax-only -I$top_srcdir/include -I$top_builddir/include"
for header in "$top_srcdir"/include/*/*.h; do
	name=${header#"$top_srcdir"/include/}
	for language in "c $CC -std=c11" "c++ ${CXX:-c++} -std=c++17"; do
		set -- $language
		lang=$1
		shift
		printf '#include <%s>\n' "$name" | "$@" -x "$lang" $flags - || {
			echo "$name: does not compile alone as $lang"
			status=1
		}
	done
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{
	for header in "$top_srcdir"/include/*/*.h; do
		printf '#include <%s>\n' "${header#"$top_srcdir"/include/}"
	done
	cat "$top_srcdir"/include/*/*.h | sed -n 's/^#define \(V[A-Z_]*\)_INIT .*/\1/p' | while read -r name; do
		printf 'struct %s %s = %s_INIT;\n' "$(echo "$name" | tr A-Z a-z)" "a_$name" "$name"
	done
} >"$work/all.cc"
for std in c++17 c++20; do # -Wextra wants every field named, in C++ only
	${CXX:-c++} -std=$std -Wall -Werror -fsyntax-only -I"$top_srcdir/include" -I"$top_builddir/include" \
		"$work/all.cc" || { echo "an initializer is none in $std"; status=1; }
done
[ "$(grep -c _INIT "$work/all.cc")" -ge 15 ] || { echo "the initializers were not found"; status=1; }
exit $status
