#!/bin/sh
# SPDX-License-Identifier: MIT
# The guest role runs on bare metal too: all of it in one object asks for nothing but
# memcpy and memset.
sources="libvmbus/guest.c libvmbus/guest-gpadl.c libvmbus/guest-message.c libvmbus/packet.c
	libvmbus/ring-rx.c libvmbus/ring-tx.c libvmbus/synic.c libvsp-storage/storvsc.c"
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
for source in $sources; do
	$CC -std=gnu11 -ffreestanding -fno-stack-protector -O2 -I"$top_srcdir/include" \
		-I"$top_srcdir/lib" -c "$top_srcdir/$source" -o "$dir/${source##*/}.o" || exit 1
done
ld -r -o "$dir/all.o" "$dir"/*.c.o || exit 1
missing=$(nm -u "$dir/all.o" | awk '$2 != "memcpy" && $2 != "memset" {print $2}')
[ -z "$missing" ] || { echo "not freestanding: $missing"; exit 1; }
