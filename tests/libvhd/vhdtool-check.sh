#!/bin/sh
# SPDX-License-Identifier: MIT
# vhdtool check: what it finds, what it repairs, and that looking changes nothing.
. "$top_srcdir/tests/libvhd/vhdtool-lib.sh"
disk disk.raw
fresh() { # format, image
	# One thread: the blocks lie in the order of the disk.
	expect 0 "$tool" convert -T 1 --force -f raw -O "$1" -b 1M disk.raw "$2"
}
finds() { # exit code, image, text: found, without a change to the file
	before=$(cksum "$2")
	expect "$1" "$tool" check "$2"
	has "$3"
	"$tool" check --json "$2" >out
	json "len(j['findings']) > 0 and not j['repaired']"
	[ "$(cksum "$2")" = "$before" ] || { echo "$2 was changed"; status=1; }
}
repairs() { # image: and it is good, and reads the same
	expect 0 "$tool" check --repair --json "$1"
	json "j['repaired']"
	expect 0 "$tool" check "$1"
	has ": good"
	same "$1" disk.raw raw
}

# VHD: the footer, its copy, space behind the last block and between blocks.
fresh vhd a.vhd
size=$(stat -c %s a.vhd)
poke a.vhd 3 xyz
finds 3 a.vhd "copy at 0 differs"
repairs a.vhd
poke a.vhd $((size - 500)) xyz
finds 3 a.vhd "footer at the end is damaged"
repairs a.vhd
truncate -s $((size - 512)) a.vhd
finds 3 a.vhd "footer at the end is damaged"
repairs a.vhd
tail -c 512 a.vhd >footer
truncate -s $((size + 1048576)) a.vhd
cat footer >>a.vhd
finds 3 a.vhd "belong to nothing"
repairs a.vhd
[ "$(stat -c %s a.vhd)" -eq "$size" ] || { echo "a.vhd is not as short as it was"; status=1; }
# Blocks whose entry is forgotten, and their data with it, leave gaps.
fresh vhd g.vhd
cp disk.raw disk.bak
head -c 1048576 /dev/zero | dd of=disk.raw bs=1M seek=3 conv=notrunc status=none
poke g.vhd $((1536 + 4 * 3)) '\377\377\377\377'
finds 3 g.vhd "1 gaps between blocks"
repairs g.vhd
mv disk.bak disk.raw

# VHD: tables that no repair can know the right contents of.
fresh vhd b.vhd
poke b.vhd 1536 '\0\0\0\1'
finds 1 b.vhd "block 0"
expect 1 "$tool" check --repair b.vhd
has "nothing was repaired"
fresh vhd b.vhd
dd if=b.vhd of=entry bs=1 skip=1536 count=4 status=none
dd if=entry of=b.vhd bs=1 seek=1548 conv=notrunc status=none
finds 1 b.vhd "overlap"
fresh vhd b.vhd
for i in 0 1 2 3; do
	poke b.vhd $((1536 + 4 * i)) '\177\377\377\360'
done
expect 1 "$tool" check --json b.vhd
json "j['damage'] >= 4"
fresh vhd b.vhd
poke b.vhd 515 '\0'
finds 1 b.vhd "cookie"

# VHD: a bitmap that leaves out sectors that hold data.
fresh vhd c.vhd
at=$("$tool" dump c.vhd | awk '/^block allocation/ {getline; print $2}')
poke c.vhd "$at" '\0'
expect 0 "$tool" check c.vhd
has "leave out sectors"

# VHDX: either header, either region table, a log that waits, a tail.
fresh vhdx d.vhdx
size=$(stat -c %s d.vhdx)
for place in 65600:header 131136:header 196624:"first region table" 262160:"second region table"; do
	poke d.vhdx ${place%%:*} xyz
	finds 3 d.vhdx "${place#*:}"
	repairs d.vhdx
done
truncate -s $((size + 2097152)) d.vhdx
finds 3 d.vhdx "belong to nothing"
repairs d.vhdx
[ "$(stat -c %s d.vhdx)" -eq "$size" ] || { echo "d.vhdx is not as short as it was"; status=1; }
poke d.vhdx 65600 xyz
poke d.vhdx 131136 xyz
expect 1 "$tool" check d.vhdx
fresh vhdx d.vhdx
poke d.vhdx 3145728 '\6\0\0\0\0\0\0\0'
finds 1 d.vhdx "table"
if command -v qemu-img >/dev/null; then
	# Its files have gaps of their own, which are no leaks.
	for format in vpc vhdx; do
		qemu-img convert -f raw -O $format disk.raw theirs || status=1
		expect 0 "$tool" check theirs
	done
fi

# A chain: the parent that is missing, another, or changed.
fresh vhdx p.vhdx
expect 0 "$tool" create -O vhdx --parent=p.vhdx e.avhdx
expect 0 "$tool" check e.avhdx
expect 0 "$tool" resize p.vhdx 21M
expect 1 "$tool" check e.avhdx
mv p.vhdx moved.vhdx
expect 1 "$tool" check e.avhdx
has "not found"

expect 2 "$tool" check disk.raw
has "raw image"
expect 2 "$tool" check nothing.vhd
expect 0 "$tool" check -f raw disk.raw
finish
