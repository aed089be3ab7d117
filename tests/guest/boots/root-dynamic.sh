# SPDX-License-Identifier: MIT
# The root file system on a dynamic VHD; the tree is what was put in.
modes="kernel"
names="root-dynamic"
root=sda
weight=9

disks() {
	cp /images/root.vhd /tmp/root.vhd
	echo "--disk /tmp/root.vhd"
}

inner_root_dynamic() {
	root_is_whole
}

after_root_dynamic() {
	image_fs_ok /tmp/root.vhd vpc
}
