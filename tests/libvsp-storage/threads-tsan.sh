#!/bin/sh
# SPDX-License-Identifier: MIT
# The same under ThreadSanitizer. Images are not used in it.
. "$top_srcdir/tests/tsan.sh"
bus=$top_srcdir/tests/libvmbus storage=$top_srcdir/tests/libvsp-storage
tsan_run 500 -I"$top_srcdir/libvmbus" -I"$top_srcdir/libvsp-storage" -I"$bus" \
	$(ls "$top_srcdir"/libvsp-storage/*.c | grep -v disk-vhd.c) "$top_srcdir"/libvmbus/*.c \
	"$bus/mock.c" "$bus/mock-guest.c" "$storage/harness.c" "$storage/threads.c" -luring -luuid
