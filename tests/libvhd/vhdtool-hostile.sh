#!/bin/sh
# SPDX-License-Identifier: MIT
# Command lines and files that nobody means: an exit code and a text, no crash, no mess.
. "$top_srcdir/tests/libvhd/vhdtool-lib.sh"
disk disk.raw
expect 0 "$tool" convert -f raw disk.raw a.vhd
expect 0 "$tool" convert -f raw -O vhdx -b1M disk.raw a.vhdx
before=$(ls -A | grep -v -e out -e err)

long=$(head -c 5000 /dev/zero | tr '\0' x)
commands=$("$tool" --long-options)
for command in $commands; do
	expect 64 "$tool" "$command"
	expect 64 "$tool" "$command" --nonsense a.vhd
	expect 64 "$tool" "$command" a b c d
	expect 64 "$tool" "$command" -f nonsense a.vhd a.vhd
	for file in nothing.vhd . /dev/null "$long" ""; do
		case $command in
		convert | rebase | compare) set -- "$file" b.vhd ;;
		resize) set -- "$file" 1M ;;
		create) set -- "$work/nowhere/$file" 1M ;;
		*) set -- "$file" ;;
		esac
		expect 2 "$tool" "$command" "$@"
		[ -s err ] || { echo "$command $file: not a word"; status=1; }
	done
done
for size in -1 0 1 1.1 1e99 nan inf 0x10 10Q 10MB2 " " "" 99999999999999999999 512.5 8E; do
	"$tool" create -q never.vhd -- "$size" >out 2>err
	case $? in
	2 | 64) ;;
	*) echo "size \"$size\" gave an exit code $?"; status=1 ;;
	esac
done
expect 64 "$tool" create never.vhd 1M -b -5
expect 64 "$tool" create never.vhd 1M -b 8G
expect 2 "$tool" create never.vhd 1M -b 3k
expect 64 "$tool" create never.vhd 1M -t nonsense
expect 64 "$tool" create never.vhd 1M -O auto
expect 64 "$tool" create never.vhd 1M --id=00112233445566778899aabbccddeef
expect 64 "$tool" create never.vhd 1M --time=soon
expect 64 "$tool" create never.vhd 1M --time=99999999999999999999
expect 64 "$tool" create -t fixed --parent=a.vhd never.vhd
expect 64 "$tool" create -t differencing never.vhd 1M
expect 2 "$tool" create --parent=a.vhdx never.vhd
expect 2 "$tool" create -O vhd never.vhd 3T
expect 64 "$tool" convert -T 0 a.vhd never.vhd
expect 64 "$tool" convert -T 99999 a.vhd never.vhd
expect 64 "$tool" convert --progress=x a.vhd never.vhd
expect 64 "$tool" convert -t differencing a.vhd never.vhd
expect 2 "$tool" convert a.vhd a.vhd
expect 2 "$tool" convert --force a.vhd nowhere/never.vhd
expect 2 "$tool" convert --format=vhdx a.vhd never.vhd
expect 2 "$tool" convert -O raw -t dynamic a.vhd never.raw
# A descriptor that is not open is no reason to fail the job.
expect 0 "$tool" convert -q --progress=77 a.vhd progress.vhd
rm -f progress.vhd
{ "$tool" convert -q --progress=3 a.vhd progress.vhd 3>&1 >/dev/null; echo $? >code; } | true
[ "$(cat code)" = 0 ] || { echo "a reader that went ended the job: $(cat code)"; status=1; }
rm -f progress.vhd code
# An image onto itself: it must survive.
expect 0 "$tool" convert -q --force a.vhd a.vhd
same a.vhd disk.raw raw
# What is no file is not replaced, and not waited for.
mkfifo fifo
expect 2 "$tool" convert -q --force a.vhd fifo
expect 2 "$tool" create -q --force fifo 1M
expect 2 timeout 60 "$tool" dump fifo
[ -p fifo ] || { echo "the FIFO was replaced"; status=1; }
rm -f fifo
expect 2 "$tool" create --force --parent=a.vhd a.vhd
has "it is the parent"
same a.vhd disk.raw raw
# Output that cannot be written.
for command in info map check dump; do
	"$tool" $command a.vhd 2>err >/dev/full
	[ $? = 2 ] || { echo "$command on a full disk: $(cat err)"; status=1; }
done
# Tables that say more than the file has.
poke a.vhd 540 '\377\377\377\377'
expect 0 "$tool" dump a.vhd
poke a.vhdx 196616 '\377\377\377\377'
expect 0 "$tool" dump a.vhdx
for n in 0 511 1024 65536 1048576; do
	head -c $n a.vhdx >cut
	for command in info check dump compact; do
		"$tool" $command cut >out 2>err
		[ $? -lt 5 ] || { echo "$command of $n bytes: $(cat err)"; status=1; }
	done
done
rm -f cut
[ "$(ls -A | grep -v -e out -e err)" = "$before" ] || { echo "left behind: $(ls -A)"; status=1; }
exit $status
