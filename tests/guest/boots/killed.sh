# SPDX-License-Identifier: MIT
# The VMM is killed while the guest writes to a VHD and to a VHDX, early and late: the
# images are sound, their file systems after a replay of the journal.
modes="kernel"
names="killed"
rounds=2
weight=30
want_status=137

disks() {
	cp /images/data.vhd /images/data.vhdx /tmp
	echo "--disk /tmp/data.vhd --disk /tmp/data.vhdx,lun=1"
}

during() { # ROUND
	console_wait "killed: written $(($1 * 3 - 2))$" || return
	killall -9 minivmm
}

inner_killed() {
	local number=0
	modules_load
	mkdir -p /mnt/a /mnt/b
	mount -t ext4 "/dev/$(disk_of_lun 0)" /mnt/a || fail "mount"
	mount -t ext4 "/dev/$(disk_of_lun 1)" /mnt/b || fail "mount"
	echo "result killed ok"
	for where in /mnt/a /mnt/b; do
		while dd if=/dev/zero of=$where/busy bs=64k count=100 conv=fsync 2>/dev/null; do
			rm $where/busy
		done &
	done
	while sleep 0.2; do
		number=$((number + 1))
		for where in /mnt/a /mnt/b; do
			printf 'written %08d' $number | dd of=$where/number conv=notrunc,fsync 2>/dev/null
		done
		echo "killed: written $number"
	done
}

# What was said to be written is there.
survived() { # IMAGE FORMAT
	local said found
	vhdtool check --repair "$1"
	vhdtool check "$1" || return 1
	qemu-img convert -f "$2" -O raw "$1" /tmp/data.raw || return 1
	e2fsck -fp /tmp/data.raw # replays the journal
	[ $? -le 1 ] || return 1
	e2fsck -fn /tmp/data.raw || return 1
	said=$(sed -n 's/^killed: written //p' /tmp/console | tail -n 1)
	found=$(debugfs -R "cat /number" /tmp/data.raw | sed 's/^written //')
	echo "$1: number $said was written, $found is there"
	rm -f /tmp/data.raw
	[ "$found" -ge "$said" ]
}

after_round() {
	survived /tmp/data.vhd vpc && survived /tmp/data.vhdx vhdx
}
