# SPDX-License-Identifier: MIT
# The same on a fixed VHD, with our own SynIC.
modes="user"
names="root-fixed"
root=sda
weight=9

disks() {
	qemu-img convert -O vpc -o subformat=fixed,force_size=on /images/root.vhd /tmp/root.vhd
	echo "--disk /tmp/root.vhd"
}

inner_root_fixed() {
	root_is_whole
}

after_root_fixed() {
	image_fs_ok /tmp/root.vhd vpc
}
