# SPDX-License-Identifier: MIT
# The kernel of bookworm-backports: its root file system on a dynamic VHD.
modes="kernel user"
names="backports"
needs=backports
kernel=/vmlinuz-backports initrd=/inner-backports.cpio
root=sda
weight=2

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
	grep -q '^/dev/sda / ext4 rw' /proc/mounts || fail "the root is not on /dev/sda"
	cd / && sha256sum -c -s sums || fail "checksums"
	cp -r data copy && rm -r data && mv copy data && sync
}

after_backports() {
	image_fs_ok /tmp/root.vhd vpc
}
