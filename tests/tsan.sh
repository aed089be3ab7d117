# SPDX-License-Identifier: MIT
# Sourced: tsan_run ARGUMENTS FLAG-OR-SOURCE... builds a program with ThreadSanitizer, whatever the
# build is, and runs it with ARGUMENTS. Where such a program does not run at all: 77.
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT

tsan_build() { # PROGRAM FLAG-OR-SOURCE...
	program=$1
	shift
	# gcc warns that TSan knows no fences; the accesses they stand between are atomic
	$CC -std=gnu11 -O1 -g -D_GNU_SOURCE= -pthread -fsanitize=thread -Wno-tsan -Wno-unknown-warning-option \
		-I"$top_srcdir/include" -I"$top_builddir/include" -I"$top_srcdir/lib" -o "$program" "$@"
}

tsan_run() {
	arguments=$1
	shift
	echo 'int main(void) { return 0; }' >"$dir/probe.c"
	if ! tsan_build "$dir/probe" "$dir/probe.c" || ! "$dir/probe"; then
		echo "skipped: $CC makes no program with ThreadSanitizer that runs here"
		exit 77
	fi
	tsan_build "$dir/threads" "$@" && TSAN_OPTIONS=halt_on_error=1 "$dir/threads" $arguments
}
