# SPDX-License-Identifier: MIT
# What the VMs are made of: the guest's kernels and initramfs, its disks, and the outer
# root directory that holds all that and the programs. For tests/guest/run.

# the lists of this machine may be too old, or not there at all
suite=
kernel_get "$kernel" || suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
suite_use "$suite"
busybox=$(package_get busybox-static)/bin/busybox || skip_all "cannot download busybox-static"
ethtool=$(package_get ethtool)/sbin/ethtool || skip_all "cannot download ethtool"
outer=$work/outer
rm -rf "$outer" "$work"/inner* "$work"/tree
mkdir -p "$outer"/{bin,dev,proc,sys,tmp,boots,images}

# inner_make NAME: the inner guest's initramfs with the modules of this kernel
inner_make() {
	local dir=$work/$1
	mkdir -p "$dir"/{bin,dev,proc,sys,tmp,mnt,boots}
	cp "$busybox" "$dir/bin/"
	cp "$here"/boots/*.sh "$dir/boots/"
	install -m 755 "$here/inner.sh" "$dir/init"
	cp "$build/tests/guest/kexec" "$build/tests/guest/aio" "$dir/bin/"
	modules_copy "$dir/mod" ext4 hv_vmbus hv_storvsc sd_mod
	initramfs "$dir" "$outer/$1.cpio"
	rm -rf "$dir-net"
	mkdir -p "$dir-net/bin"
	cp "$here/net.sh" "$dir-net/"
	modules_copy "$dir-net/net" hv_netvsc 8021q
	program_copy "$dir-net" "$ethtool"
	program_copy "$dir-net" "$(command -v ip)"
	initramfs "$dir-net" "$outer/net${1#inner}.cpio"
}

# The kernel of bookworm-backports, as inner guest only
if suite_use bookworm-backports && kernel_get linux-image-cloud-amd64; then
	inner_make inner-backports
	cp "$vmlinuz" "$outer/vmlinuz-backports"
else
	missing=backports
fi
suite_use "$suite"

kernel_get "$kernel" || skip_all "cannot download $kernel (no network?)"
inner_make inner
# kexec's initramfs carries what it starts
cp "$vmlinuz" "$work/inner/vmlinuz"
cp "$outer/inner.cpio" "$work/inner/inner.cpio"
initramfs "$work/inner" "$outer/kexec.cpio"

# the root file system: a tree with its checksums, made by mke2fs, nobody's mount
mkdir -p "$work"/tree/{bin,dev,proc,sys,tmp,mnt,boots,data}
cp "$busybox" "$work/tree/bin/"
cp "$here"/boots/*.sh "$work/tree/boots/"
install -m 755 "$here/inner.sh" "$work/tree/bin/inner"
cp -r "$root"/lib/modules/"$version"/kernel/{lib,net/ipv4} "$work/tree/data/"
(cd "$work/tree" && find data -type f -print0 | sort -z | xargs -0 sha256sum >sums)
rm -f "$work/root.raw"
mke2fs -q -t ext4 -d "$work/tree" "$work/root.raw" 32M >/dev/null || die "mke2fs"
rm -f "$work/data.raw"
mke2fs -q -t ext4 "$work/data.raw" 128M >/dev/null || die "mke2fs"
for image in root data; do
	qemu-img convert -O vpc -o subformat=dynamic,force_size=on "$work/$image.raw" \
		"$outer/images/$image.vhd" || die "qemu-img"
	qemu-img convert -O vhdx -o subformat=dynamic,block_size=1M "$work/$image.raw" \
		"$outer/images/$image.vhdx" || die "qemu-img"
done

cp "$busybox" "$outer/bin/"
cp "$here"/boots/*.sh "$outer/boots/"
cp "$here/net.sh" "$outer/"
install -m 755 "$here/outer.sh" "$outer/init"
cp "$vmlinuz" "$outer/vmlinuz"
cp "$build/tests/kvm/guest/guest.bin" "$outer/"
for program in "$build/examples/minivmm/minivmm" "$build/tools/vhdtool" "$(command -v qemu-img)" "$(command -v e2fsck)" \
	"$(command -v debugfs)" "$(command -v ip)"; do
	program_copy "$outer" "$program"
done
modules_copy "$outer/mod" kvm-amd tun 8021q
