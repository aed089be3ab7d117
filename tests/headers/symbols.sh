#!/bin/sh
# SPDX-License-Identifier: MIT
# What each library exports is what its version script names and what its headers
# declare: no more, no less.
status=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

declared() { # the functions and objects that headers mark as API
	cat "$@" | tr '\n' ' ' |
		grep -oE '(VMBUS|VSP|VHD)_API [^;({]*[ *]([a-z0-9_]+)[(;]' | sed 's/[(;]$//; s/.*[ *]//' | sort -u
}

check() { # library, its folder, its version script, its headers
	lib=$1 folder=$2 map=$3
	shift 3
	declared "$@" >"$work/declared"
	nm -D --defined-only "$top_builddir/$folder/.libs/$lib.so" | awk '$2 ~ /[TDBR]/ {print $3}' |
		sed 's/@.*//' | sort -u >"$work/exported"
	sed -n 's/^[[:space:]]*\([a-z0-9_]*\);$/\1/p' "$map" | sort -u >"$work/named"
	for pair in "declared exported" "named exported"; do
		set -- $pair
		if ! diff "$work/$1" "$work/$2" >"$work/diff"; then
			echo "$lib: '<' $1 only, '>' $2 only"
			grep '^[<>]' "$work/diff"
			status=1
		fi
	done
}

inc=$top_srcdir/include
bus=$(ls "$inc"/vmbus/*.h | grep -v -e shm-loopback.h -e inproc.h -e kvm.h)
check libvmbus libvmbus "$top_srcdir/libvmbus/libvmbus.map" $bus
check libvhd libvhd "$top_srcdir/libvhd/libvhd.map" "$inc"/vhd/*.h
check libvsp-storage libvsp-storage "$top_srcdir/libvsp-storage/libvsp-storage.map" \
	"$inc"/vsp/block.h "$inc"/vsp/storage.h "$inc"/vsp/storvsc.h
check libvsp-net libvsp-net "$top_srcdir/libvsp-net/libvsp-net.map" \
	"$inc"/vsp/net.h "$inc"/vsp/netvsc.h "$inc"/vsp/nic.h
check libvmbus-kvm backends/kvm "$top_srcdir/backends/kvm/libvmbus-kvm.map" "$inc"/vmbus/kvm.h
check libvmbus-shm backends/shm-loopback "$top_srcdir/backends/shm-loopback/libvmbus-shm.map" \
	"$inc"/vmbus/shm-loopback.h "$inc"/vmbus/inproc.h
exit $status
