#!/bin/sh
# SPDX-License-Identifier: MIT
# The same under ThreadSanitizer. Taps are not used in it.
. "$top_srcdir/tests/tsan.sh"
bus=$top_srcdir/tests/libvmbus net=$top_srcdir/tests/libvsp-net
sources="$(ls "$top_srcdir"/libvsp-net/*.c | grep -v tap) $(ls "$top_srcdir"/libvmbus/*.c) $bus/mock.c $bus/mock-guest.c"
includes="-I$top_srcdir/libvmbus -I$top_srcdir/libvsp-net -I$bus"
tsan_run 500 $includes $sources "$net/threads.c" -luring -luuid &&
	tsan_run 15000 $includes $sources "$net/soak-threads.c" "$net"/soak-f*.c "$net/soak-guest.c" -luring -luuid
