# SPDX-License-Identifier: MIT
# The root file system on a dynamic VHDX; the tree is what was put in.
modes="kernel user"
names="root-vhdx"
root=sda
weight=9

disks() {
	cp /images/root.vhdx /tmp/root.vhdx
	echo "--disk /tmp/root.vhdx"
}

inner_root_vhdx() {
	root_is_whole
}

after_root_vhdx() {
	image_fs_ok /tmp/root.vhdx vhdx
}
