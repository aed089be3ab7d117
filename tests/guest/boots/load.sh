# SPDX-License-Identifier: MIT
# Many small reads and writes at a time: what they cost is in the log (stats).
modes="kernel user"
names="load"
weight=10

disks() {
	dd if=/dev/zero of=/tmp/load.raw bs=1M count=32 2>/dev/null
	echo "--disk /tmp/load.raw,format=raw"
}

inner_load() {
	modules_load
	disk=$(disk_of_lun 0)
	for job in 0 1 2 3 4 5 6 7; do
		dd if="/dev/$disk" of=/dev/null bs=4k count=250 skip=$((job * 1000)) iflag=direct 2>/dev/null &
		dd if=/dev/zero of="/dev/$disk" bs=4k count=250 seek=$((job * 1000 + 500)) oflag=direct 2>/dev/null &
	done
	wait
}
