# SPDX-License-Identifier: MIT
# The bare-metal guest resets the VM with its disk open, then goes through the journey.
modes="kernel user"
names="bare-reset"
weight=4
kernel=/guest.bin initrd= append=reset

disks() {
	dd if=/dev/zero of=/tmp/disk.raw bs=1M count=4 2>/dev/null
	cp /tmp/disk.raw /tmp/protected.raw
	echo "--disk /tmp/disk.raw,format=raw --disk /tmp/protected.raw,format=raw,lun=1,readonly"
}
