# SPDX-License-Identifier: MIT
# Several disks: 64 MiB are written to a VHD and to a VHDX and looked at from outside, a
# read-only LUN refuses writes, trimmed space is given back, the IDE-accelerated disk is found.
modes="kernel user"
names="write vhdx readonly fstrim ide"
weight=35

disks() {
	cp /images/data.vhd /tmp/data.vhd
	cp /images/data.vhd /tmp/trim.vhd
	cp /images/root.vhd /tmp/readonly.vhd
	sha256sum /tmp/readonly.vhd >/tmp/readonly.sum
	dd if=/dev/zero of=/tmp/ide.raw bs=1M count=0 seek=4 2>/dev/null
	echo "the ide disk" | dd of=/tmp/ide.raw conv=notrunc 2>/dev/null
	echo "--disk /tmp/data.vhd --disk /tmp/readonly.vhd,lun=1,readonly"
	cp /images/data.vhdx /tmp/data.vhdx
	echo "--disk /tmp/trim.vhd,lun=2 --disk /tmp/data.vhdx,lun=3 --disk /tmp/ide.raw,ide,format=raw"
}

# 64 blocks of 1 MiB, each different
blocks() {
	local n=0
	dd if=/dev/urandom of=/tmp/block bs=1M count=1 2>/dev/null
	while [ $n -lt "$1" ]; do
		printf '%08d' $n
		tail -c +9 /tmp/block
		n=$((n + 1))
	done
}

blocks_write() { # LUN NAME
	disk=$(disk_of_lun "$1")
	mount -t ext4 "/dev/$disk" /mnt || fail "mount"
	blocks 64 >/mnt/blocks || fail "write"
	sync
	echo 3 >/proc/sys/vm/drop_caches
	echo "$2 $(md5sum </mnt/blocks)"
	umount /mnt || fail "umount"
}

blocks_same() { # IMAGE FORMAT NAME
	image_fs_ok "$1" "$2" || return 1
	qemu-img convert -f "$2" -O raw "$1" /tmp/data.raw
	debugfs -R "dump /blocks /tmp/blocks" /tmp/data.raw
	grep -q "^$3 $(md5sum </tmp/blocks)" /tmp/console || {
		echo "the file is another one outside"
		return 1
	}
	rm -f /tmp/data.raw /tmp/blocks
}

inner_write() {
	modules_load
	blocks_write 0 vhd
}

after_write() {
	blocks_same /tmp/data.vhd vpc vhd
}

inner_vhdx() {
	blocks_write 3 vhdx
}

after_vhdx() {
	blocks_same /tmp/data.vhdx vhdx vhdx
}

inner_readonly() {
	disk=$(disk_of_lun 1)
	[ "$(blockdev --getro "/dev/$disk")" = 1 ] || fail "not read-only"
	mount -t ext4 -o ro,noload "/dev/$disk" /mnt || fail "mount"
	cd /mnt && sha256sum -c -s sums || fail "checksums"
	cd / && umount /mnt
	! dd if=/dev/zero of="/dev/$disk" bs=4096 count=1 oflag=direct 2>/dev/null ||
		fail "a write was not refused"
	dd if="/dev/$disk" of=/dev/null bs=4096 count=1 iflag=direct 2>/dev/null || fail "dead after it"
}

after_readonly() {
	sha256sum -c -s /tmp/readonly.sum || {
		echo "the image changed"
		return 1
	}
}

inner_fstrim() {
	disk=$(disk_of_lun 2)
	mount -t ext4 "/dev/$disk" /mnt || fail "mount"
	blocks 32 >/mnt/blocks
	sync
	rm /mnt/blocks
	sync
	fstrim -v /mnt || fail "fstrim"
	umount /mnt
}

after_fstrim() {
	local kib
	image_fs_ok /tmp/trim.vhd vpc || return 1
	kib=$(du -k /tmp/trim.vhd | cut -f1)
	echo "the image takes $kib KiB after 32 MiB were written, removed and trimmed"
	[ "$kib" -lt 16384 ]
}

inner_ide() {
	local n=0
	grep -l '{32412632-86cb-44a2-9b5c-50d1417354f5}' /sys/bus/vmbus/devices/*/class_id ||
		fail "no IDE channel"
	for disk in /dev/sd?; do
		if [ "$(dd if="$disk" bs=12 count=1 2>/dev/null)" = "the ide disk" ]; then
			dd if=/dev/zero of="$disk" bs=4096 seek=1 count=1 oflag=direct 2>/dev/null ||
				fail "write"
			return 0
		fi
	done
	fail "the disk is not there"
}
