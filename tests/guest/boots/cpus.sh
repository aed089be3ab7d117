# SPDX-License-Identifier: MIT
# Two vCPUs, a channel each: hv_storvsc asks for a sub-channel, both carry I/O.
modes="kernel user"
names="subchannels"
cpus=2 threads=2
weight=10

disks() {
	cp /images/data.vhd /tmp/data.vhd
	echo "--disk /tmp/data.vhd"
}

inner_subchannels() {
	[ "$(nproc)" = 2 ] || fail "$(nproc) processors"
	modules_load
	disk=$(disk_of_lun 0)
	usleep 500000
	channels=$(echo /sys/bus/vmbus/devices/*/channels/*)
	[ "$(echo $channels | wc -w)" = 2 ] || fail "channels: $channels"
	[ "$(cat /sys/bus/vmbus/devices/*/channels/*/cpu | sort | tr '\n' ' ')" = "0 1 " ] ||
		fail "not one channel a processor"
	for cpu in 0 1; do
		taskset $((cpu + 1)) dd if="/dev/$disk" of=/dev/null bs=64k count=64 iflag=direct \
			skip=$((cpu * 64)) 2>/dev/null &
	done
	wait
	for channel in $channels; do
		[ "$(cat "$channel/interrupts")" -gt 20 ] ||
			fail "$channel: $(cat "$channel/interrupts") interrupts"
		echo "cpu $(cat "$channel/cpu"): $(cat "$channel/interrupts") interrupts"
	done
	mount -t ext4 "/dev/$disk" /mnt || fail "mount"
	dd if=/dev/zero of=/mnt/a bs=1M count=4 2>/dev/null &
	dd if=/dev/zero of=/mnt/b bs=1M count=4 2>/dev/null &
	wait
	umount /mnt || fail "umount"
}

after_subchannels() {
	image_fs_ok /tmp/data.vhd vpc
}
