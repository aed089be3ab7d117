#!/bin/sh
# SPDX-License-Identifier: MIT
# The same under ThreadSanitizer, whatever the build is.
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
flags="-std=gnu11 -O1 -g -D_GNU_SOURCE= -pthread -fsanitize=thread
	-I$top_srcdir/include -I$top_srcdir/libvhd"
echo 'int main(void) { return 0; }' >"$dir/probe.c"
if ! $CC $flags -o "$dir/probe" "$dir/probe.c" || ! "$dir/probe"; then
	echo "skipped: $CC makes no program with ThreadSanitizer that runs here"
	exit 77
fi
$CC $flags -o "$dir/threads" "$top_srcdir"/libvhd/*.c "$top_srcdir/tests/libvhd/threads.c" \
	"$top_srcdir/tests/libvhd/image-file.c" &&
	TSAN_OPTIONS=halt_on_error=1 "$dir/threads"
