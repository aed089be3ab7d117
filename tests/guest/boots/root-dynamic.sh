# SPDX-License-Identifier: MIT
# The root file system on a dynamic VHD; the tree is what was put in.
modes="kernel"
names="root-dynamic"
root=sda
weight=2

disks() {
	cp /images/root.vhd /tmp/root.vhd
	echo "--disk /tmp/root.vhd"
}

inner_root_dynamic() {
	grep -q '^/dev/sda / ext4 rw' /proc/mounts || fail "the root is not on /dev/sda"
	cd / && sha256sum -c -s sums || fail "checksums"
	cp -r data copy && rm -r data && mv copy data && sync
}

after_root_dynamic() {
	image_fs_ok /tmp/root.vhd vpc
}
