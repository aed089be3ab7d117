#!/bin/bash
# SPDX-License-Identifier: MIT
# The main job, end to end: an ext4 file system made of this project's own docs,
# in a dynamic VHD, served by one process over a complete VMBus; another process in
# the guest's role finds the disk, writes, and reads all of it back; independent
# tools check that nothing is lost. Run it through ./run, or ./quickstart demo.
set -eu

source=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
host=
finish() {
	[ -z "$host" ] || kill "$host" 2>/dev/null || true
	rm -rf "$work"
}
trap finish EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
mib=$((1 << 20))

say "1. An ext4 file system of docs/ (48 MiB) on a 64 MiB disk, as a dynamic VHD"
truncate -s 64M "$work/expected.raw"
mke2fs -q -F -t ext4 -d "$source/docs" "$work/expected.raw" 48M
qemu-img convert -f raw -O vpc -o subformat=dynamic,force_size=on "$work/expected.raw" "$work/disk.vhd"
ls -l "$work/disk.vhd" | awk '{printf "   disk.vhd: %d bytes for 64 MiB\n", $5}'

# For the measurement in 6: the dynamic VHD is mostly unallocated, and reading what is
# nowhere would measure zeros. Here every block is on the file.
head -c $((64 * mib)) /dev/urandom >"$work/full.raw"
qemu-img convert -f raw -O vpc -o subformat=fixed,force_size=on "$work/full.raw" "$work/full.vhd"
rm "$work/full.raw"

say "2. Served over VMBus, without a hypervisor: vmbus-loopback host"
mkfifo "$work/ready"
vmbus-loopback host --socket "$work/bus" --disk "$work/disk.vhd" --disk "$work/full.vhd,readonly" \
	--ready-fd 3 3>"$work/ready" >"$work/host.log" 2>&1 &
host=$!
read -r _ <"$work/ready" || { cat "$work/host.log"; exit 1; }
sed 's/^/   /' "$work/host.log"

guest() { vmbus-loopback guest --socket "$work/bus" "$@"; }

say "3. What the guest finds: channel offers, disks"
guest offers
guest disks

say "4. The guest writes an 8 MiB pattern behind the file system, flushes, reads the whole disk"
head -c $((8 * mib)) /dev/urandom >"$work/pattern"
guest write --lun 0 --offset $((48 * mib)) --input "$work/pattern"
guest flush --lun 0
guest read --lun 0 --output "$work/back.raw"

say "5. Nothing is lost"
dd if="$work/pattern" of="$work/expected.raw" bs=1M seek=48 conv=notrunc status=none
cmp "$work/expected.raw" "$work/back.raw"
echo "   what the guest read is what it should be, byte for byte (cmp)"
e2fsck -fn "$work/back.raw" >"$work/fsck.log" 2>&1 || { cat "$work/fsck.log"; exit 1; }
echo "   the file system in it is sound (e2fsck -fn)"

say "6. How fast: 4 KiB random reads of a fixed VHD, 64 MiB of random bytes, all of it in the page cache"
guest bench --lun 1 --rw randread --bs 4096 --depth 32 --seconds 2

kill -TERM "$host"
wait "$host" || { echo "the host ended with status $?"; exit 1; }
host=
qemu-img compare -f raw -F vpc "$work/expected.raw" "$work/disk.vhd" | sed 's/^/   qemu-img compare: /'
