#!/bin/sh
# SPDX-License-Identifier: MIT
# The nbdkit plugin, with nbdcopy, nbdinfo and qemu as its clients.
tool=$PWD/$top_builddir/tools/vhdtool
plugin=$PWD/$top_builddir/nbdkit/.libs/nbdkit-vhd-plugin.so
for program in nbdkit nbdcopy nbdinfo qemu-img qemu-io; do
	command -v $program >/dev/null || { echo "SKIP: no $program here"; exit 77; }
done
[ -e "$plugin" ] || { echo "SKIP: configured without nbdkit-plugin-dev"; exit 77; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

# nbdkit knows nothing of the sanitizers that are in the plugin; its leaks are not ours.
case $SAN_CFLAGS in
*address*)
	preload=$($CC -print-file-name=libclang_rt.asan-x86_64.so)
	ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0
	;;
esac
die() {
	echo "$*"
	exit 1
}
serve() { # the command that finds the export in $uri, then nbdkit's arguments
	command=$1
	shift
	LD_PRELOAD=$preload nbdkit -U - "$plugin" "$@" --run "unset LD_PRELOAD; $command"
}
check() {
	"$tool" check -q "$1" 2>out
}

truncate -s 20M disk.raw
for mib in 0 3 4 11 19; do
	head -c 700000 /dev/urandom | dd of=disk.raw bs=1M seek=$mib conv=notrunc status=none
done
truncate -s 20M disk.raw

for kind in vhd:fixed vhd:dynamic vhdx:fixed vhdx:dynamic; do
	format=${kind%:*}
	"$tool" create -q -O "$format" -t "${kind#*:}" image "20M" --force || die "no $kind"
	# Nobody flushes: nbdkit, which ends after this, closes the image.
	serve 'nbdcopy --connections=4 --requests=16 disk.raw "$uri"' file=image || die "nbdcopy to $kind"
	"$tool" compare -q -F raw image disk.raw || die "$kind differs after nbdcopy"
	check image || die "$kind is damaged after nbdcopy"
	serve 'qemu-img compare -f raw -F raw "$uri" disk.raw' -r image >out || die "$kind reads otherwise"
done

# A child: extents of the whole chain, bytes in the middle of sectors, zeros and trim.
"$tool" convert -q -f raw -O vhdx -b 1M disk.raw parent.vhdx || die "no parent"
"$tool" create -q -O vhdx -b 1M --parent=parent.vhdx child.avhdx || die "no child"
serve 'nbdinfo --map "$uri"' -r child.avhdx >out || die "no map"
grep -q 'hole,zero' out && grep -q ' data$' out || die "no holes or no data in $(cat out)"
cp disk.raw expected.raw
changes="-c 'write -P 7 1000001 70003' -c 'write -z 3145728 2097152' -c 'write -z 511 2'
	-c 'discard 11534336 1048576' -c 'write -P 9 4194305 1' -c flush"
changes=$(echo $changes)
eval "qemu-io -f raw $changes expected.raw" >out || die "qemu-io on the file: $(cat out)"
serve "qemu-io -f raw $changes \"\$uri\"" child.avhdx >out || die "qemu-io on the export: $(cat out)"
"$tool" compare -q -F raw child.avhdx expected.raw || die "the child differs"
"$tool" compare -q -F raw parent.vhdx disk.raw || die "the parent was written to"
check child.avhdx || die "the child is damaged"

# What must not be.
serve 'qemu-io -f raw -c "write 0 512" "$uri"' -r child.avhdx >out 2>&1 && die "a read-only export was written to"
serve true file=disk.raw >out 2>&1 && die "a raw file was taken for an image"
serve true file=disk.raw format=raw >out 2>&1 || die "a raw image was not taken: $(cat out)"
serve true file=child.avhdx format=qcow2 >out 2>&1 && die "format=qcow2 was taken"
serve true file=child.avhdx nonsense=1 >out 2>&1 && die "nonsense=1 was taken"
serve true >out 2>&1 && die "no file was taken"
mv parent.vhdx moved.vhdx
serve true -r child.avhdx >out 2>&1 && die "a child without its parent was served"
serve 'nbdinfo --size "$uri"' -r child.avhdx parent=moved.vhdx >out || die "parent= is not taken"
[ "$(cat out)" = 20971520 ] || die "its size is $(cat out)"
exit 0
