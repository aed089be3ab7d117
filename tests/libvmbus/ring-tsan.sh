#!/bin/sh
# SPDX-License-Identifier: MIT
# The torture test under ThreadSanitizer, whatever the build is.
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
src=$top_srcdir/libvmbus
flags="-std=gnu11 -O1 -g -D_GNU_SOURCE -pthread -fsanitize=thread
	-I$top_srcdir/include -I$top_builddir/include"
echo 'int main(void) { return 0; }' >"$dir/probe.c"
if ! $CC $flags -o "$dir/probe" "$dir/probe.c" || ! "$dir/probe"; then
	echo "skipped: $CC makes no program with ThreadSanitizer that runs here"
	exit 77
fi
# gcc warns that TSan knows no fences; the accesses they stand between are atomic
$CC $flags -Wno-tsan -Wno-unknown-warning-option -o "$dir/torture" \
	"$top_srcdir/tests/libvmbus/ring-torture.c" "$src/ring-rx.c" "$src/ring-tx.c" "$src/ring-map.c" \
	"$src/memory.c" && TSAN_OPTIONS=halt_on_error=1 "$dir/torture" 150
