#!/bin/sh
# SPDX-License-Identifier: MIT
# The torture test under ThreadSanitizer.
. "$top_srcdir/tests/tsan.sh"
src=$top_srcdir/libvmbus
tsan_run 150 "$top_srcdir/tests/libvmbus/ring-torture.c" "$src/ring-rx.c" "$src/ring-tx.c" \
	"$src/ring-map.c" "$src/memory.c"
