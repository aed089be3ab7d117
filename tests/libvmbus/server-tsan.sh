#!/bin/sh
# SPDX-License-Identifier: MIT
# server-threads under ThreadSanitizer, whatever the build is.
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
src=$top_srcdir/libvmbus
flags="-std=gnu11 -O1 -g -D_GNU_SOURCE -pthread -fsanitize=thread
	-I$top_srcdir/include -I$top_builddir/include -I$top_srcdir/lib -I$src"
echo 'int main(void) { return 0; }' >"$dir/probe.c"
if ! $CC $flags -o "$dir/probe" "$dir/probe.c" || ! "$dir/probe"; then
	echo "skipped: $CC makes no program with ThreadSanitizer that runs here"
	exit 77
fi
# gcc warns that TSan knows no fences; the accesses they stand between are atomic
$CC $flags -Wno-tsan -Wno-unknown-warning-option -o "$dir/server-threads" \
	"$top_srcdir/tests/libvmbus/server-threads.c" "$src"/server*.c "$src/channel.c" "$src/gpadl.c" \
	"$src/message.c" "$src"/ring-*.c "$src"/memory*.c && TSAN_OPTIONS=halt_on_error=1 "$dir/server-threads"
