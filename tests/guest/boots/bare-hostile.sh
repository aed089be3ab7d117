# SPDX-License-Identifier: MIT
# The bare-metal guest misbehaves; 100,000 posts among it.
modes="kernel user"
names="bare-hostile"
kernel=/guest.bin initrd= append=hostile
weight=8

disks() {
	dd if=/dev/zero of=/tmp/disk.raw bs=1M count=4 2>/dev/null
	echo "--disk /tmp/disk.raw,format=raw"
}
