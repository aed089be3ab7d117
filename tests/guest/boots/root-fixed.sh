# SPDX-License-Identifier: MIT
# The same on a fixed VHD, with our own SynIC.
modes="user"
names="root-fixed"
root=sda
weight=2

disks() {
	qemu-img convert -O vpc -o subformat=fixed,force_size=on /images/root.vhd /tmp/root.vhd
	echo "--disk /tmp/root.vhd"
}

inner_root_fixed() {
	grep -q '^/dev/sda / ext4 rw' /proc/mounts || fail "the root is not on /dev/sda"
	cd / && sha256sum -c -s sums || fail "checksums"
	cp -r data copy && rm -r data && mv copy data && sync
}

after_root_fixed() {
	image_fs_ok /tmp/root.vhd vpc
}
