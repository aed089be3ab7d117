# SPDX-License-Identifier: MIT
# The bare-metal guest of tests/kvm, here also on KVM's own SynIC.
modes="kernel user"
names="bare-journey"
weight=4
kernel=/guest.bin initrd= append=journey

disks() {
	dd if=/dev/zero of=/tmp/disk.raw bs=1M count=4 2>/dev/null
	cp /tmp/disk.raw /tmp/protected.raw
	echo "--disk /tmp/disk.raw,format=raw --disk /tmp/protected.raw,format=raw,lun=1,readonly"
}
