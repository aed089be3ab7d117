#!/bin/sh
# SPDX-License-Identifier: MIT
# vhdtool from the outside: every command, exit codes, nothing left behind.
. "$top_srcdir/tests/libvhd/vhdtool-lib.sh"

expect 0 "$tool" --help
expect 64 "$tool"
expect 64 "$tool" nonsense
for command in $("$tool" --long-options); do
	expect 0 "$tool" "$command" --help
	for option in $("$tool" "$command" --long-options); do
		has "$option"
	done
done

disk disk.raw
expect 2 "$tool" info disk.raw
has "--format=raw"
expect 0 "$tool" convert -f raw disk.raw disk.vhd
expect 0 "$tool" convert -f raw -t fixed disk.raw fixed.vhd
expect 2 "$tool" convert -f raw disk.raw disk.vhd
expect 0 "$tool" convert --force -f raw disk.raw disk.vhd -b 512k -T 3
expect 0 "$tool" convert -O raw disk.vhd back.raw
expect 0 cmp disk.raw back.raw
expect 0 "$tool" compare -f raw disk.raw disk.vhd
expect 0 "$tool" compare disk.vhd fixed.vhd
has identical
if command -v qemu-img >/dev/null; then
	expect 0 qemu-img compare -f vpc -F raw disk.vhd disk.raw
	expect 0 qemu-img compare -f vpc -F raw fixed.vhd disk.raw
fi
expect 0 "$tool" convert -O vhdx -b 1M disk.vhd disk.vhdx
expect 0 "$tool" compare disk.vhdx disk.vhd
expect 0 "$tool" check disk.vhdx
expect 0 "$tool" info disk.vhd
has "512 KiB"
expect 0 "$tool" map --json disk.vhd
has '"zero": true'

expect 0 "$tool" create --parent=disk.vhd child.vhd
expect 0 "$tool" compare child.vhd disk.vhd
expect 0 "$tool" info --json child.vhd
has '"type": "differencing"'
has disk.vhd
mv disk.vhd moved.vhd
expect 2 "$tool" info child.vhd
has "--parent"
expect 0 "$tool" info --parent=moved.vhd child.vhd
expect 0 "$tool" info --alone child.vhd

# The format is what is said, else what the name says, else the parent's.
for row in "x.vhdx:vhdx" "x.AVHD:vhd" "x.raw:raw" "x:vhd" "x.vhd -O vhdx:vhdx" \
	"x.avhdx --parent=disk.vhdx:vhdx" "x --parent=disk.vhdx:vhdx" "x.img --parent=moved.vhd:vhd" \
	"x.vhd -O vhdx --parent=disk.vhdx:vhdx"; do
	case $row in *parent*) size= ;; *) size=1M ;; esac
	expect 0 "$tool" create --json ${row%:*} $size
	has "\"format\": \"${row#*:}\""
	rm -f x*
done
for row in "x.vhd --parent=disk.vhdx" "x -O vhd --parent=disk.vhdx" "x.avhdx --parent=moved.vhd"; do
	expect 2 "$tool" create $row
	has "its parent .* is no vhd"
done
expect 0 "$tool" convert --json moved.vhd x.vhdx
has '"format": "vhdx"'
rm x.vhdx

expect 0 "$tool" create a.vhd 64M --id=00112233-4455-6677-8899-aabbccddeeff --time=1700000000
expect 0 "$tool" create b.vhd 64M --id=00112233-4455-6677-8899-aabbccddeeff --time=1700000000
expect 0 cmp a.vhd b.vhd
expect 2 "$tool" create a.vhd 64M
expect 64 "$tool" create c.vhd 64M --id=nonsense
expect 2 "$tool" create c.vhd 1000
expect 0 "$tool" dump a.vhd
has conectix
has cxsparse
expect 0 "$tool" dump --json a.vhd
if command -v python3 >/dev/null; then
	for command in info map check dump; do
		"$tool" $command --json a.vhd >text
		expect 0 python3 -c 'import json; json.load(open("text"))'
	done
fi

expect 0 "$tool" check a.vhd
printf damaged | dd of=a.vhd conv=notrunc status=none
expect 3 "$tool" check a.vhd
expect 0 "$tool" check --repair a.vhd
expect 0 "$tool" check a.vhd
printf '\0\0\0\1' | dd of=a.vhd bs=1 seek=1536 conv=notrunc status=none
expect 1 "$tool" check a.vhd
has "block 0"

if ls -a | grep -q part; then
	echo "something is left:"
	ls -a
	status=1
fi
exit $status
