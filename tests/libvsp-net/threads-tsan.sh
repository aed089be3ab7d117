#!/bin/sh
# SPDX-License-Identifier: MIT
# The same under ThreadSanitizer. Taps are not used in it.
. "$top_srcdir/tests/tsan.sh"
bus=$top_srcdir/tests/libvmbus
tsan_run 500 -I"$top_srcdir/libvmbus" -I"$top_srcdir/libvsp-net" -I"$bus" \
	$(ls "$top_srcdir"/libvsp-net/*.c | grep -v tap) "$top_srcdir"/libvmbus/*.c "$bus/mock.c" "$bus/mock-guest.c" \
	"$top_srcdir/tests/libvsp-net/threads.c" -luring -luuid
