#!/bin/sh
# SPDX-License-Identifier: MIT
# The same under ThreadSanitizer.
. "$top_srcdir/tests/tsan.sh"
tsan_run "" -I"$top_srcdir/libvhd" "$top_srcdir"/libvhd/*.c "$top_srcdir/tests/libvhd/threads.c" \
	"$top_srcdir/tests/libvhd/image-file.c"
