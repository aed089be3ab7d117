# SPDX-License-Identifier: MIT
# The VMM is killed while the guest writes: the image is consistent.
modes="kernel"
names="killed"
weight=2
want_status=137

disks() {
	cp /images/data.vhd /tmp/data.vhd
	echo "--disk /tmp/data.vhd"
}

during() {
	console_wait "killed: writing" || return
	sleep 3
	killall -9 minivmm
}

inner_killed() {
	modules_load
	disk=$(disk_of_lun 0)
	mount -t ext4 "/dev/$disk" /mnt || fail "mount"
	echo "killed: writing"
	echo "result killed ok"
	while true; do
		dd if=/dev/zero of=/mnt/a bs=64k count=200 conv=fsync 2>/dev/null
		rm /mnt/a
	done
}

after_killed() {
	qemu-img convert -f vpc -O raw /tmp/data.vhd /tmp/data.raw || return 1
	e2fsck -fp /tmp/data.raw # replays the journal
	[ $? -le 1 ] || return 1
	rm -f /tmp/data.raw
}
