# SPDX-License-Identifier: MIT
# Many small reads and writes, one at a time in many processes and 32 at a time in one. No I/O
# costs an exit to the VMM; what it costs in doorbells and interrupts is in the log.
modes="kernel user"
names="load load-deep"
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

inner_load_deep() {
	aio "/dev/$(disk_of_lun 0)" 8000 32 || fail "aio"
}

stat() { # NAME
	sed -n "s/.*\"$1\": \([0-9]*\).*/\1/p" /tmp/stats.json
}

after_load() {
	[ "$(stat packets_in)" -ge 12000 ] || {
		echo "only $(stat packets_in) requests"
		return 1
	}
	[ $(($(stat exits) * 5)) -lt "$(stat packets_in)" ] || {
		echo "$(stat exits) exits for $(stat packets_in) requests"
		return 1
	}
	for what in exits doorbells signals interrupts; do
		echo "$what a request: $(stat $what) / $(stat packets_in)"
	done
}
