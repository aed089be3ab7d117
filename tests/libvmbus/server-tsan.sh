#!/bin/sh
# SPDX-License-Identifier: MIT
# server-threads under ThreadSanitizer.
. "$top_srcdir/tests/tsan.sh"
src=$top_srcdir/libvmbus
tsan_run "" -I"$src" "$top_srcdir/tests/libvmbus/server-threads.c" "$src"/server*.c "$src/channel.c" \
	"$src/gpadl.c" "$src/message.c" "$src"/ring-*.c "$src"/memory*.c
