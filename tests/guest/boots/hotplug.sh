# SPDX-License-Identifier: MIT
# A disk comes and goes while the guest runs.
modes="kernel"
names="hot-add hot-remove"
weight=8
# The guest flushes a disk that is gone: no answer but "no such LUN" is possible, and
# hv_storvsc logs each command that fails.
expected_complaints='cmd 0x35 status: scsi 0x2 srb 0x20'

disks() {
	cp /images/data.vhd /tmp/data.vhd
	cp /images/data.vhd /tmp/hot.vhd
	echo "--disk /tmp/data.vhd"
}

during() {
	console_wait "hotplug: ready" && command_vmm "add /tmp/hot.vhd,lun=3"
	console_wait "hotplug: used" && command_vmm "remove 3"
}

inner_hot_add() {
	modules_load
	disk_of_lun 0 >/dev/null
	echo "hotplug: ready"
	disk=$(disk_of_lun 3)
	mount -t ext4 "/dev/$disk" /mnt || fail "mount"
	echo hello >/mnt/hello
	umount /mnt
}

inner_hot_remove() {
	local tries=1200
	echo "hotplug: used"
	while ls /sys/bus/scsi/devices/*:0:0:3 >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || fail "the disk is still there"
		usleep 50000
	done
	disk_of_lun 0 >/dev/null
}
