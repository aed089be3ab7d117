# SPDX-License-Identifier: MIT
# The kernel of bookworm-backports: its root file system on a dynamic VHD.
modes="kernel user"
names="backports"
kernel=/vmlinuz-backports initrd=/inner-backports.cpio
root=sda
weight=12

disks() {
	cp /images/root.vhd /tmp/root.vhd
	echo "--disk /tmp/root.vhd"
}

inner_backports() {
	case $(uname -r) in
	6.1.*) fail "this is $(uname -r)" ;;
	esac
	echo "this is $(uname -r)"
	dmesg | grep -q 'Vmbus version:5.3' || fail "$(dmesg | grep -i vmbus | tail -n 1)"
	root_is_whole
}

after_backports() {
	image_fs_ok /tmp/root.vhd vpc
}
