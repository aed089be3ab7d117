# SPDX-License-Identifier: MIT
# The guest reboots: the VM is reset, the bus with it, the VMM stays.
modes="kernel user"
names="reset"
weight=14

disks() {
	cp /images/data.vhd /tmp/data.vhd
	echo "--disk /tmp/data.vhd"
}

inner_reset() {
	modules_load
	disk=$(disk_of_lun 0)
	mount -t ext4 "/dev/$disk" /mnt || fail "mount"
	if [ -e /mnt/first ]; then
		umount /mnt
		return 0
	fi
	touch /mnt/first
	sync # and stay mounted: no word to the bus
	no_complaints
	echo "reset now"
	reboot -f
	sleep 10
	fail "reboot returned"
}
