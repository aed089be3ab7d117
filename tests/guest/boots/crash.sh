# SPDX-License-Identifier: MIT
# The guest panics with its disk in use: the VMM hears of it, the guest comes up again.
modes="kernel user"
names="crash"
weight=14

disks() {
	cp /images/data.vhd /tmp/data.vhd
	echo "--disk /tmp/data.vhd"
}

inner_crash() {
	modules_load
	disk=$(disk_of_lun 0)
	mount -t ext4 "/dev/$disk" /mnt || fail "mount"
	if [ -e /mnt/first ]; then
		umount /mnt
		return 0
	fi
	touch /mnt/first
	sync
	no_complaints
	echo "crash now"
	echo c >/proc/sysrq-trigger
}

after_crash() {
	grep 'the guest crashed' /tmp/vmm || {
		echo "the VMM was not told"
		return 1
	}
}
