#!/bin/sh
# SPDX-License-Identifier: MIT
# vhdtool resize, compact, merge and rebase.
. "$top_srcdir/tests/libvhd/vhdtool-lib.sh"
disk disk.raw
# As the first, with zeros where it has data, and data where it has zeros.
cp disk.raw other.raw
random other.raw 7
head -c 1048576 /dev/zero | dd of=other.raw bs=1M seek=3 conv=notrunc status=none
for o in "vhd -b512k vpc" "vhdx -b1M vhdx"; do
	set -- $o
	f=$1 block=$2 qemu=$3
	expect 0 "$tool" convert -f raw -O "$f" "$block" disk.raw "p.$f"
	expect 0 "$tool" convert -f raw -O "$f" "$block" other.raw "q.$f"

	# A child of the one becomes a child of the other, and reads the same.
	expect 0 "$tool" create -O "$f" --parent="q.$f" "c.$f"
	expect 0 "$tool" rebase "c.$f" "p.$f" --json
	json "j['type'] == 'differencing'"
	expect 0 "$tool" info "c.$f"
	has "p.$f"
	# The new link went to where the old one was.
	[ "$f" = vhdx ] || { expect 0 "$tool" dump "c.$f" && has "^dynamic header at 512"; }
	same "c.$f" other.raw raw
	expect 0 "$tool" check "c.$f"
	if [ "$f" = vhd ] && command -v vhdiinfo >/dev/null; then
		expect 0 vhdiinfo "c.$f"
		has "p.vhd"
	fi
	# And back, only by the link: what it holds itself stays.
	expect 0 "$tool" rebase --unsafe "c.$f" "q.$f"
	same "c.$f" other.raw raw
	expect 0 "$tool" rebase "c.$f" "p.$f"
	same "c.$f" other.raw raw
	expect 0 "$tool" create -O "$f" --parent="c.$f" "g.$f"
	expect 2 "$tool" rebase "c.$f" "g.$f"
	has "built on it"
	expect 2 "$tool" rebase "c.$f" "c.$f"
	has "itself"
	expect 2 "$tool" rebase "p.$f" "q.$f"
	has "differencing"

	# What the child holds goes into its parent; a parent that has moved is found by --unsafe.
	mv "p.$f" "moved.$f"
	expect 2 "$tool" info "c.$f"
	has "--parent"
	expect 0 "$tool" rebase --unsafe "c.$f" "moved.$f"
	expect 0 "$tool" merge "c.$f" --json
	json "j['path'].endswith('moved.$f')"
	same "c.$f" other.raw raw
	same "moved.$f" other.raw raw
	expect 0 "$tool" merge "c.$f"
	same "moved.$f" other.raw raw
	expect 2 "$tool" merge "q.$f"
	has "differencing"
	expect 0 "$tool" create -O "$f" --parent="moved.$f" "last.$f"
	expect 0 "$tool" merge --delete "last.$f"
	[ ! -e "last.$f" ] || { echo "last.$f is still there"; status=1; }

	# The parent has blocks of zeros now, which compacting drops.
	before=$(stat -c %s "moved.$f")
	expect 0 "$tool" compact --json "moved.$f"
	json "j['blocks-freed'] >= 1 and j['file-size'] < $before"
	same "moved.$f" other.raw raw
	expect 0 "$tool" check --json "moved.$f"
	json "j['leak'] == 0 and j['leaked'] == 0"
	if command -v qemu-img >/dev/null; then
		expect 0 qemu-img compare -f "$qemu" -F raw "moved.$f" other.raw
		[ "$f" = vhd ] || expect 0 qemu-img check -f "$qemu" "moved.$f"
	fi
	expect 0 "$tool" compact "moved.$f"
	has "0 blocks freed, 0 moved"

	# Another size, more or less.
	expect 0 "$tool" resize "moved.$f" +10M
	expect 0 "$tool" info --json "moved.$f"
	json "j['virtual-size'] == 30 << 20"
	same "moved.$f" other.raw raw
	expect 2 "$tool" resize "moved.$f" 20M
	has "--shrink"
	expect 0 "$tool" resize --shrink "moved.$f" -- -10M
	same "moved.$f" other.raw raw
	expect 0 "$tool" check "moved.$f"
	expect 64 "$tool" resize "moved.$f" nonsense
	rm -f ./*."$f"
done

# A child that is longer than its parent makes the parent longer.
expect 0 "$tool" create -b512k short.vhd 4M
expect 0 "$tool" create --parent=short.vhd long.vhd 8M
expect 0 "$tool" merge long.vhd
same long.vhd short.vhd
expect 0 "$tool" info --json short.vhd
json "j['virtual-size'] == 8 << 20"

for kind in raw vhd vhdx; do
	expect 0 "$tool" create -O $kind -t fixed fixed 4M --force
	expect 2 "$tool" compact -f $kind fixed
	has "only dynamic and differencing"
done
finish
