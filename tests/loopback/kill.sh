#!/bin/bash
# SPDX-License-Identifier: MIT
# kill -9 at any moment. A guest that dies costs the host nothing but that guest; a host
# that dies leaves a sound image with every flushed write in it, and its guest says so.
set -u
command -v qemu-img >/dev/null || { echo "SKIP: no qemu-img here"; exit 77; }
# the programs themselves: a libtool wrapper's child would survive the wrapper's kill
loopback=$top_builddir/tools/.libs/vmbus-loopback
[ -x "$loopback" ] || loopback=$top_builddir/tools/vmbus-loopback # a static build
vhdtool="$top_builddir/tools/vhdtool"
LD_LIBRARY_PATH=$top_builddir/libvmbus/.libs:$top_builddir/libvhd/.libs:$top_builddir/libvsp-storage/.libs:$top_builddir/backends/shm-loopback/.libs:$top_builddir/libvsp-net/.libs
export LD_LIBRARY_PATH
[ -x "$loopback" ] && ! head -c2 "$loopback" | grep -q '#!' ||
	loopback=$top_builddir/tools/.libs/vmbus-loopback
kills=${VMBUS_TEST_KILLS:-100}
RANDOM=${VMBUS_TEST_SEED:=$RANDOM}
echo "seed $VMBUS_TEST_SEED (VMBUS_TEST_SEED=$VMBUS_TEST_SEED repeats this run)"
work=$(mktemp -d)
host=
finish() {
	[ -z "$host" ] || kill -9 "$host" 2>/dev/null
	rm -rf "$work"
}
trap finish EXIT

die() {
	echo "not ok: $*"
	tail -n 8 "$work/host.log"
	exit 1
}

host_start() {
	rm -f "$work/ready"
	mkfifo "$work/ready"
	"$loopback" host --socket "$work/bus" --disk "$work/disk.vhd" --ready-fd 3 \
		3>"$work/ready" >>"$work/host.log" 2>&1 &
	host=$!
	read -r _ <"$work/ready" || die "the host did not start"
}

guest() { "$loopback" guest --socket "$work/bus" "$@"; }

qemu-img create -q -f vpc -o subformat=dynamic,force_size=on "$work/disk.vhd" 64M

# guests die under load
host_start
for ((i = 0; i < kills; i++)); do
	# not through the function: its subshell would be killed instead
	"$loopback" guest --socket "$work/bus" bench --lun 0 --rw randwrite --depth 16 \
		--seconds 20 >/dev/null 2>&1 &
	pid=$!
	sleep "0.0$((RANDOM % 90 + 10))"
	kill -9 "$pid" || die "the guest ended by itself before kill $i"
	wait "$pid" 2>/dev/null
	[ $((i % 10)) -ne 0 ] || guest disks >/dev/null || die "no service after kill $i"
done
guest read --lun 0 --output "$work/back.raw" || die "the next guest cannot read"
kill -TERM "$host"
wait "$host" || die "the host ended with status $?"
"$vhdtool" check "$work/disk.vhd" >/dev/null || die "the image is damaged after $kills dead guests"
qemu-img compare -q -f raw -F vpc "$work/back.raw" "$work/disk.vhd" ||
	die "qemu-img reads something else than the last guest"

# hosts die under load; what a flush has confirmed is there
qemu-img create -q -f vpc -o subformat=dynamic,force_size=on "$work/disk.vhd" 64M
truncate -s 64M "$work/expected.raw"
for i in 0 1 2 3 4 5 6 7 8 9; do
	offset=$(((RANDOM % 7 + 8 * (i % 4)) * (1 << 20)))
	head -c 300032 /dev/urandom >"$work/chunk"
	host_start
	guest write --lun 0 --offset "$offset" --input "$work/chunk" || die "write $i failed"
	guest flush --lun 0 || die "flush $i failed"
	dd if="$work/chunk" of="$work/expected.raw" bs=1M seek="$offset" oflag=seek_bytes conv=notrunc status=none
	# more writes, never flushed, into the half that is not looked at
	head -c $((24 << 20)) /dev/urandom |
		guest write --lun 0 --offset $((40 << 20)) >/dev/null 2>"$work/guest.err" &
	pid=$!
	sleep "0.0$((RANDOM % 90 + 10))"
	kill -9 "$host"
	wait "$host" 2>/dev/null
	host=
	wait "$pid"
	status=$?
	case $status in
	0 | 3) ;; # done before the kill; or it saw the host go
	*) die "the guest of a dead host ended with $status: $(cat "$work/guest.err")" ;;
	esac
	[ $status -eq 0 ] || [ -s "$work/guest.err" ] || die "the guest did not say that the host is gone"
	"$vhdtool" check "$work/disk.vhd" >"$work/check" 2>&1
	status=$?
	# 3 is usable with a warning: the footer was being moved, and its copy is good
	[ $status -eq 0 ] || [ $status -eq 3 ] || die "damaged by kill $i: $(cat "$work/check")"
	qemu-img convert -f vpc -O raw "$work/disk.vhd" "$work/now.raw" || die "qemu-img cannot read it"
	cmp -n $((32 << 20)) "$work/expected.raw" "$work/now.raw" || die "a flushed write is lost (kill $i)"
done
exit 0
