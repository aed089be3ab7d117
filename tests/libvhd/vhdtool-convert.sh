#!/bin/sh
# SPDX-License-Identifier: MIT
# vhdtool convert: every kind from every kind, sparse, and whole or not at all.
. "$top_srcdir/tests/libvhd/vhdtool-lib.sh"
disk disk.raw

for kind in vhd:fixed vhd:dynamic:-b512k vhdx:fixed:-b1M vhdx:dynamic:-b1M raw:fixed; do
	format=${kind%%:*}
	rest=${kind#*:}
	name=$format-${rest%%:*}
	block=$(echo "$rest" | sed -n 's/.*:-b/-b/p')
	expect 0 "$tool" convert -f raw -O "$format" -t "${rest%%:*}" $block disk.raw "$name" --json
	json "j['format'] == '$format' and j['virtual-size'] == 20 << 20"
	[ "$format" = raw ] || expect 0 "$tool" check "$name"
	for to in raw vhd vhdx; do
		expect 0 "$tool" convert --force -f "$format" -O $to -T 3 "$name" back
		expect 0 "$tool" compare -f $to -F raw back disk.raw
	done
done
if command -v qemu-img >/dev/null; then
	for image in vhd-fixed vhd-dynamic vhdx-fixed vhdx-dynamic; do
		format=$(echo "${image%%-*}" | sed 's/^vhd$/vpc/')
		expect 0 qemu-img compare -f "$format" -F raw $image disk.raw
	done
	for format in vpc vhdx; do
		qemu-img convert -f raw -O $format disk.raw theirs || status=1
		expect 0 "$tool" convert --force -O raw theirs back
		# qemu-img rounds the size of a vpc up to whole cylinders.
		expect 0 "$tool" compare -f raw -F raw back disk.raw
	done
fi

# A chain becomes one image.
expect 0 "$tool" create --parent=vhd-dynamic child.vhd
expect 0 "$tool" create --parent=child.vhd grandchild.vhd
expect 0 "$tool" convert -O vhdx grandchild.vhd flat.vhdx
expect 0 "$tool" info --json flat.vhdx
json "j['type'] == 'dynamic' and j['parents'] == []"
same flat.vhdx disk.raw raw

# Large sectors beside small ones.
expect 0 "$tool" create -O vhdx -b 1M -s 4096 large.vhdx 20M
expect 0 "$tool" info --json large.vhdx
json "j['logical-sector-size'] == 4096"
expect 0 "$tool" convert large.vhdx copy.vhdx
expect 0 "$tool" info --json copy.vhdx
json "j['logical-sector-size'] == 4096"
expect 0 "$tool" convert large.vhdx copy.vhd
has "warning.*sectors"
rm copy.*
cp disk.raw odd.raw
poke odd.raw 6291968 x
if command -v nbdkit >/dev/null && [ -z "$SAN_CFLAGS" ] &&
	[ -e "$OLDPWD/$top_builddir/nbdkit/.libs/nbdkit-vhd-plugin.so" ]; then
	nbdkit -U - "$OLDPWD/$top_builddir/nbdkit/.libs/nbdkit-vhd-plugin.so" large.vhdx \
		--run 'nbdcopy --flush disk.raw "$uri"' || status=1
	same large.vhdx disk.raw raw
	expect 1 "$tool" compare -F raw large.vhdx odd.raw
	has 6291968
	expect 0 "$tool" convert large.vhdx small.vhd
	same small.vhd large.vhdx
fi
expect 64 "$tool" create -s 4096 never.vhd 1M
expect 64 "$tool" create -O vhdx -s 1k never.vhdx 1M

# Zeros take no space, whether they are written or holes.
head -c 8388608 /dev/zero >zeros.raw
expect 0 "$tool" convert -f raw zeros.raw zeros.vhd
[ "$(stat -c %s zeros.vhd)" -lt 10000 ] || { echo "zeros take space"; status=1; }
expect 0 "$tool" convert -f raw -O raw --force zeros.raw zeros.copy
[ "$(stat -c %b zeros.copy)" -lt 100 ] || { echo "zeros take blocks"; status=1; }

# Progress for programs.
"$tool" convert -q --progress=3 -O raw vhd-fixed progress.raw 3>lines
grep -q '^20971520/20971520$' lines || { echo "no last progress line"; status=1; }

# What is there stays, and is replaced only when that is said.
expect 2 "$tool" convert -f raw disk.raw vhd-fixed
has "--force"
same vhd-fixed disk.raw raw

# A write that fails, here by the limit of a file's size: nothing is left.
(
	trap '' XFSZ
	ulimit -f 4096
	expect 2 "$tool" convert -f raw -O vhd disk.raw failed.vhd
	exit $status
) || status=1

# An end in the middle: the pipe for the progress is full, so the tool stands still.
mkfifo pipe
exec 4<>pipe
head -c 65536 /dev/zero >&4
for signal in INT TERM KILL; do
	env --default-signal=INT "$tool" convert --progress=4 -f raw -O vhdx disk.raw ended.vhdx 2>/dev/null &
	pid=$!
	for i in $(seq 6000); do
		ls -A | grep -q 'ended.*part$' && break
		sleep 0.01
	done
	if [ $signal = INT ]; then
		for command in "resize -f raw disk.raw 40M" "create --force disk.raw 1M" \
			"convert --force vhd-fixed disk.raw"; do
			expect 4 "$tool" $command
			has "another process"
		done
	fi
	kill -s $signal $pid
	wait $pid 2>/dev/null
	[ $? -gt 128 ] || { echo "it did not end by SIG$signal"; status=1; }
	[ -e ended.vhdx ] && { echo "a file under its final name after SIG$signal"; status=1; }
	[ $signal = KILL ] || ! ls -A | grep -q part || { echo "left by SIG$signal: $(ls -A)"; status=1; }
	rm -f .ended*
done
exec 4>&-
ls -A | grep -E 'failed|part' && { echo "left behind"; status=1; }
finish
