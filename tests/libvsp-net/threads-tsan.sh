#!/bin/sh
# SPDX-License-Identifier: MIT
# The same under ThreadSanitizer, whatever the build is. Taps are not used in it.
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
tests=$top_srcdir/tests
flags="-std=gnu11 -O1 -g -D_GNU_SOURCE= -pthread -fsanitize=thread
	-I$top_srcdir/include -I$top_builddir/include -I$top_srcdir/lib -I$top_srcdir/libvmbus
	-I$top_srcdir/libvsp-net -I$tests/libvmbus"
echo 'int main(void) { return 0; }' >"$dir/probe.c"
if ! $CC $flags -o "$dir/probe" "$dir/probe.c" || ! "$dir/probe"; then
	echo "skipped: $CC makes no program with ThreadSanitizer that runs here"
	exit 77
fi
net=$(ls "$top_srcdir"/libvsp-net/*.c | grep -v tap)
# gcc warns that TSan knows no fences; the accesses they stand between are atomic
$CC $flags -Wno-tsan -Wno-unknown-warning-option -o "$dir/threads" $net \
	"$top_srcdir"/libvmbus/*.c "$tests/libvmbus/mock.c" "$tests/libvmbus/mock-guest.c" \
	"$tests/libvsp-net/threads.c" -luring -luuid &&
	TSAN_OPTIONS=halt_on_error=1 "$dir/threads" 500
