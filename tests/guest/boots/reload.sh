# SPDX-License-Identifier: MIT
# hv_storvsc and hv_vmbus are removed and loaded again, three times.
modes="kernel user"
names="reload"
weight=10

disks() {
	cp /images/data.vhd /tmp/data.vhd
	echo "--disk /tmp/data.vhd"
}

inner_reload() {
	modules_load
	for round in 1 2 3; do
		disk=$(disk_of_lun 0)
		mount -t ext4 "/dev/$disk" /mnt || fail "mount, round $round"
		echo $round >/mnt/round$round
		umount /mnt
		rmmod hv_storvsc || fail "rmmod hv_storvsc, round $round"
		rmmod hv_vmbus || fail "rmmod hv_vmbus, round $round"
		insmod /mod/*-hv_vmbus.ko || fail "insmod hv_vmbus, round $round"
		insmod /mod/*-hv_storvsc.ko || fail "insmod hv_storvsc, round $round"
	done
	disk=$(disk_of_lun 0)
	mount -t ext4 "/dev/$disk" /mnt || fail "mount at the end"
	[ "$(cat /mnt/round* | tr '\n' ' ')" = "1 2 3 " ] || fail "files lost"
	umount /mnt
	[ "$(dmesg | grep -c 'Vmbus version:5.3')" = 4 ] || fail "not four connections"
}
