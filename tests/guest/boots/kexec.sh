# SPDX-License-Identifier: MIT
# The guest starts another kernel by kexec: the bus is unloaded and connected again.
modes="kernel user"
names="kexec"
initrd=/kexec.cpio memory=512
weight=12

disks() {
	cp /images/data.vhd /tmp/data.vhd
	echo "--disk /tmp/data.vhd"
}

inner_kexec() {
	modules_load
	disk=$(disk_of_lun 0)
	mount -t ext4 "/dev/$disk" /mnt || fail "mount"
	if [ -n "$(value second)" ]; then
		[ "$(cat /mnt/first)" = "was here" ] || fail "what the first kernel wrote is not there"
		umount /mnt
		return 0
	fi
	echo "was here" >/mnt/first
	umount /mnt
	no_complaints
	echo "kexec now"
	kexec /vmlinuz /inner.cpio "$(cat /proc/cmdline) second=1"
	fail "kexec returned"
}
