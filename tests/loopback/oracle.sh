#!/bin/bash
# SPDX-License-Identifier: MIT
# Images that qemu-img makes, read through the bus; images written through the bus,
# read by qemu-img and libvhdi. Fixed and dynamic, sizes exact (force_size) and
# rounded to a geometry, from 1 MiB to 2040 GiB.
set -u
for tool in qemu-img vhdiinfo python3; do
	command -v $tool >/dev/null || { echo "SKIP: no $tool here"; exit 77; }
done
loopback="$top_builddir/tools/vmbus-loopback"
seed=${VMBUS_TEST_SEED:-$RANDOM$RANDOM}
echo "seed $seed (VMBUS_TEST_SEED=$seed repeats this run)"
work=$(mktemp -d)
host=
finish() {
	[ -z "$host" ] || kill -9 "$host" 2>/dev/null
	rm -rf "$work"
}
trap finish EXIT
failed=0

# libvhdi's mount needs FUSE and the right to mount: where it shows an image of qemu-img's it has to
# show ours.
mount_shows() { # IMAGE RAW
	local shown=1
	mkdir "$work/mnt"
	if vhdimount "$1" "$work/mnt" >"$work/mount.log" 2>&1; then
		cmp -s "$2" "$work/mnt/vhdi1" && shown=0
		fusermount3 -u "$work/mnt" 2>/dev/null || fusermount -u "$work/mnt" 2>/dev/null || umount "$work/mnt"
	fi
	rmdir "$work/mnt"
	return $shown
}
truncate -s 1M "$work/probe.raw"
qemu-img convert -O vpc -o force_size=on "$work/probe.raw" "$work/probe.vhd"
mounts=1
mount_shows "$work/probe.vhd" "$work/probe.raw" || {
	mounts=
	echo "vhdimount is left out: $(tail -n 1 "$work/mount.log")"
}

bad() {
	echo "not ok: $row: $*"
	failed=1
}

host_start() {
	mkfifo "$work/ready"
	"$loopback" host --socket "$work/bus" --disk "$1" --ready-fd 3 3>"$work/ready" >"$work/host.log" 2>&1 &
	host=$!
	read -r _ <"$work/ready" || { cat "$work/host.log"; bad "the host did not start"; }
	rm "$work/ready"
}

host_stop() {
	kill -TERM "$host"
	wait "$host" || bad "the host ended with status $?"
	host=
}

guest() { "$loopback" guest --socket "$work/bus" "$@"; }

# patches RAW: random data at random places of a sparse file, from one seed;
# prints the places as "offset length" for the caller to look at
patches() {
	python3 - "$1" "$seed" <<'PY'
import os, random, sys
path, seed = sys.argv[1], int(sys.argv[2])
rng = random.Random(seed)
size = os.path.getsize(path)
with open(path, "r+b") as f:
    for i in range(24):
        length = rng.choice([512, 1024, 4096, 65536, 300 * 512])
        length = min(length, size)
        offset = rng.randrange(0, (size - length) // 512 + 1) * 512
        if i == 0: offset = 0
        if i == 1: offset = size - length
        f.seek(offset)
        f.write(rng.randbytes(length))
        print(offset, length)
PY
}

# same FILE OFFSET LENGTH: the guest reads what FILE has there
same() {
	guest read --lun 0 --offset "$2" --length "$3" --output "$work/got" 2>"$work/err" ||
		{ bad "read $2+$3: $(cat "$work/err")"; return; }
	cmp -s "$work/got" <(dd if="$1" iflag=skip_bytes,count_bytes bs=1M skip="$2" count="$3" status=none) ||
		bad "bytes at $2, $3 of them, differ"
}

rows="1M:fixed:on 1M:dynamic:on 1M:dynamic:off 3584K:fixed:off 40M:dynamic:off 137438720:dynamic:on
	200M:fixed:on 127G:dynamic:off 2040G:dynamic:on"
for row in $rows; do
	IFS=: read -r size kind force <<<"$row"
	rm -f "$work"/*.raw "$work"/*.vhd
	truncate -s "$size" "$work/in.raw"
	patches "$work/in.raw" >"$work/places"
	qemu-img convert -f raw -O vpc -o "subformat=$kind,force_size=$force" "$work/in.raw" "$work/disk.vhd" ||
		{ bad "qemu-img cannot make it"; continue; }
	# what qemu itself reads from it: the size may have been rounded up
	qemu-img convert -f vpc -O raw "$work/disk.vhd" "$work/expected.raw"
	bytes=$(stat -c %s "$work/expected.raw")

	host_start "$work/disk.vhd"
	while read -r offset length; do
		same "$work/expected.raw" "$offset" "$length"
	done <"$work/places"
	if [ "$bytes" -le $((256 << 20)) ]; then
		guest read --lun 0 --output "$work/all.raw" || bad "reading all of it failed"
		cmp -s "$work/expected.raw" "$work/all.raw" || bad "the whole disk differs"
	fi

	# now write through the bus, at other places
	seed=$((seed + 1))
	truncate -s "$bytes" "$work/patch.raw"
	patches "$work/patch.raw" >"$work/places"
	while read -r offset length; do
		dd if="$work/patch.raw" iflag=skip_bytes,count_bytes bs=1M skip="$offset" count="$length" \
			status=none >"$work/chunk"
		guest write --lun 0 --offset "$offset" --input "$work/chunk" 2>"$work/err" ||
			bad "write $offset+$length: $(cat "$work/err")"
		dd if="$work/chunk" of="$work/expected.raw" oflag=seek_bytes bs=1M seek="$offset" \
			conv=notrunc status=none
	done <"$work/places"
	guest flush --lun 0 || bad "flush failed"
	host_stop

	qemu-img compare -f raw -F vpc "$work/expected.raw" "$work/disk.vhd" >"$work/compare" ||
		bad "qemu-img reads something else: $(cat "$work/compare")"
	vhdiinfo "$work/disk.vhd" >"$work/info" 2>&1 || bad "libvhdi refuses it: $(cat "$work/info")"
	if [ -n "$mounts" ] && [ "$bytes" -le $((256 << 20)) ]; then
		mount_shows "$work/disk.vhd" "$work/expected.raw" || bad "libvhdi reads something else"
	fi
done
exit $failed
