#!/bin/sh
# SPDX-License-Identifier: MIT
# Each installed header compiles alone, as C11 and as C++17, without a warning.
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
exit $status
