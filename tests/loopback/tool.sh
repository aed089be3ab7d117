#!/bin/bash
# SPDX-License-Identifier: MIT
# vmbus-loopback from the outside: every command, exit codes, what it says about wrong words,
# and what it makes of peers that are none.
set -u
[ -n "${VMBUS_TEST_GUARDED-}" ] || VMBUS_TEST_GUARDED=1 exec timeout -k 30 600 "$0"
need() { command -v "$1" >/dev/null || { echo "SKIP: no $1 here"; exit 77; }; }
need python3
build=$(cd "$top_builddir" && pwd)
tool=$build/tools/vmbus-loopback
manual=$(cd "$top_srcdir" && pwd)/docs/vmbus-loopback.pod
completion=$(cd "$top_srcdir" && pwd)/tools/completion/vmbus-loopback
work=$(mktemp -d)
host='' others=() failed=0
finish() {
	local pid
	for pid in ${host:+"$host"} ${others[@]+"${others[@]}"}; do
		kill -9 "$pid" 2>/dev/null
	done
	rm -rf "$work"
}
trap finish EXIT
cd "$work" || exit 1

bad() {
	echo "FAILED: $*"
	tail -n 5 out err host.err 2>/dev/null
	failed=1
}

# expect CODE TEXT COMMAND...: TEXT is somewhere in what it says
expect() {
	local want=$1 text=$2 code
	shift 2
	"$@" >out 2>err </dev/null
	code=$?
	[ $code = "$want" ] || bad "$*: exit code $code, not $want"
	[ -z "$text" ] || cat out err | grep -qF -- "$text" || bad "$*: it does not say '$text'"
}

until_ok() {
	local end=$((SECONDS + 60))
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

host_start() { # OPTION...
	rm -f ready
	mkfifo ready
	"$tool" host --socket bus --ready-fd 3 "$@" 3>ready >host.out 2>host.err &
	host=$!
	read -r -t 60 _ <ready || bad "the host does not start: $*"
}

host_stop() {
	kill -TERM "$host"
	wait "$host" || bad "the host ended with status $?"
	host=
}

guest() { "$tool" guest --socket bus "$@"; }
is_json() { python3 -c 'import json, sys; [json.loads(line) for line in open(sys.argv[1])]' "$1"; }

# -- What it says about itself ----------------------------------------------------

words() { tr -s ' \n' ' ' | sed 's/vmbus-loopback guest --socket PATH \([a-z]\)/\1/g'; }
sed -n '/^=head1 SYNOPSIS/,/^=head1 DESCRIPTION/p' "$manual" | words >synopsis
"$tool" --help >help || bad "--help ended with $?"
sed -n '/^vmbus-loopback host/,/^vmbus-loopback guest/p' help | words >host-line
grep -qF "$(sed 's/ vmbus-loopback guest.*//' host-line)" synopsis || bad "the host's synopsis is not the manual's"
sed -n '/COMMAND$/,/^$/p' help | grep '^  [a-z]' | sed 's/^  //; s/   .*//' | while read -r line; do
	grep -qF "$line" synopsis || echo "$line"
done >missing
[ ! -s missing ] || bad "not in the manual's synopsis: $(cat missing)"
for option in $("$tool" host --long-options; for c in $("$tool" guest --long-options); do "$tool" guest "$c" --long-options; done); do
	grep -qF -- "$option" help || bad "$option is not in --help"
	case $option in --help | --version) continue ;; esac
	grep -q -- "^=item.*B<$option>" "$manual" || bad "$option is not in the manual"
done
expect 0 "vmbus-loopback " "$tool" --version
for role in host $("$tool" guest --long-options); do
	grep -q "$role" "$manual" || bad "$role is not in the manual"
done

completes() { # WORDS...: what the last one may become
	bash -c '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _vmbus_loopback; echo "${COMPREPLY[@]}"' \
		bash "$completion" "$tool" "$@"
}
[ "$(completes '')" = "host guest" ] || bad "completion of the first word: $(completes '')"
[ "$(completes guest --socket bus re)" = "read" ] || bad "completion of a command"
[ "$(completes guest read --o)" = "--offset --output" ] || bad "completion of read's options"
[ "$(completes host --n)" = "--nic" ] || bad "completion of the host's options"
[ "$(completes guest bench --rw randw)" = "randwrite" ] || bad "completion of --rw"

# -- Words that are none: exit code 2 -----------------------------------------------

while IFS='|' read -r text line; do
	# shellcheck disable=SC2086
	expect 2 "$text" "$tool" $line
done <<'ROWS'
usage:|
usage:|frob
usage:|guest
usage:|host guest --socket bus
usage:|host --nonsense
usage:|host --socket
no command 'frob'|guest --socket bus frob
--socket is missing|host --disk x
--socket is missing|guest disks
host needs a --disk or --nic|host --socket bus
--lun is not for 'host'|host --socket bus --disk x --lun 0
--disk is not for 'read'|guest --socket bus read --lun 0 --disk x
--output is not for 'write'|guest --socket bus write --lun 0 --output x
--tap is not for 'disks'|guest --socket bus disks --tap x
read needs --lun|guest --socket bus read
bench needs --rw|guest --socket bus bench --lun 0 --rw frob
--lun: '256' is not possible|guest --socket bus read --lun 256
--lun: '-1' is not possible|guest --socket bus read --lun -1
--lun: '1x' is not possible|guest --socket bus read --lun 1x
--offset: '1X' is not possible|guest --socket bus read --lun 0 --offset 1X
--offset: '99999999T' is not possible|guest --socket bus read --lun 0 --offset 99999999T
--length: '' is not possible|guest --socket bus read --lun 0 --length=
--depth: '0' is not possible|guest --socket bus bench --lun 0 --depth 0
--depth: '513' is not possible|guest --socket bus bench --lun 0 --depth 513
--bs: '0' is not possible|guest --socket bus bench --lun 0 --bs 0
--seconds: '0' is not possible|guest --socket bus bench --lun 0 --seconds 0
--seconds: 'nan' is not possible|guest --socket bus bench --lun 0 --seconds nan
--guests: '0' is not possible|host --socket bus --guests 0
--spin-us: '1000001' is not possible|host --socket bus --spin-us 1000001
a LUN is 0 to 255|host --socket bus --disk x,lun=256
is none of format=, readonly, parents=, lun=|host --socket bus --disk x,frob
it has to begin with tap=IF|host --socket bus --nic tapa
is no name of an interface|host --socket bus --nic tap=
is no name of an interface|host --socket bus --nic tap=0123456789abcdef
an MTU is 68 to 65521|host --socket bus --nic tap=x,mtu=67
1 to 64 queues|host --socket bus --nic tap=x,queues=65
six bytes like|host --socket bus --nic tap=x,mac=01:15:5d:01:02:03
six bytes like|host --socket bus --nic tap=x,mac=00:15:5d:01:02
is none of mac=, mtu=, queues=|host --socket bus --nic tap=x,frob=1
is none of mtu=, queues=|guest --socket bus nic --tap x,mac=00:15:5d:01:02:03
nic needs --tap|guest --socket bus nic
ROWS
expect 2 "--disk: 'd64' is not possible" "$tool" host --socket bus $(printf -- '--disk d%d ' $(seq 0 64))
truncate -s 4M blank.raw spare.raw
expect 1 "nothing: cannot open" "$tool" host --socket bus --disk nothing
expect 1 "a socket's path" "$tool" host --socket "$(printf 'x%.0s' $(seq 150))" --disk blank.raw,format=raw
expect 1 "blank.raw: " "$tool" host --socket bus --disk blank.raw
expect 2 "LUN 3 is given twice" "$tool" host --socket bus --disk blank.raw,format=raw,lun=3 --disk spare.raw,format=raw,lun=3
expect 3 "no host listens there" "$tool" guest --socket bus disks

# -- Hosts that are none; their end is looked at below --------------------------------------

cat >fake.py <<'PY'
import socket, sys, time
path, how = sys.argv[1:]
l = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
l.bind(path); l.listen(1)
s = l.accept()[0]
if how == "garbage": s.send(b"\xff" * 96)
elif how == "cut": s.send(b"\0")
elif how == "silence": time.sleep(500)
s.close()
PY
declare -A fakes
for how in closes garbage cut silence; do
	python3 fake.py "fake-$how" $how &
	others+=($!)
	until_ok test -S "fake-$how" || bad "no fake host"
	"$tool" guest --socket "fake-$how" disks >"fake.$how" 2>&1 &
	fakes[$how]=$!
	others+=($!)
done

# -- Disks -------------------------------------------------------------------------

truncate -s 2M 'with,comma.raw'
head -c 3000000 /dev/urandom >pattern
truncate -s 3000320 pattern
host_start --disk blank.raw,format=raw,lun=7 --disk 'with,,comma.raw,format=raw,readonly' --json
is_json host.out || bad "the host's events are no JSON"
expect 1 "another process has the image open" "$tool" host --socket other --disk blank.raw,format=raw
expect 1 "bus" "$tool" host --socket bus --disk spare.raw,format=raw
expect 0 "SCSI controller" guest offers
expect 0 '"subchannel": 0' guest --json offers
is_json out || bad "offers: no JSON"
expect 0 read-only guest disks
expect 0 '"lun": 7, "bytes": 4194304' guest --json disks
is_json out || bad "disks: no JSON"
guest write --lun 7 --offset 64k <pattern >out 2>err || bad "write ended with $?"
[ ! -s out ] && [ ! -s err ] || bad "write says something though nobody looks"
expect 0 "" guest flush --lun 7
guest read --lun 7 --offset 64k --length 3000320 2>err | cmp - pattern || bad "read is not what was written"
[ ! -s err ] || bad "read says something though nobody looks"
guest read --lun 7 --offset 65537 --length 1000 | cmp - <(tail -c +2 pattern | head -c 1000) ||
	bad "a read from inside a sector"
expect 0 "" guest read --lun 7 --output copy.raw
cmp copy.raw blank.raw || bad "the copy is not the disk"
[ "$(stat -c %b copy.raw)" -lt $((4194304 / 512)) ] || bad "zeros became no holes"
guest read --lun 7 --offset 4M | cmp - /dev/null || bad "a read at the end"
expect 1 "the disk ends at byte 4194304" guest read --lun 7 --offset 4194305
expect 1 "the disk ends at byte 4194304" guest read --lun 7 --offset 4M --length 1
expect 1 "must be a multiple of 512" guest write --lun 7 --offset 1
expect 1 "write" guest write --lun 0 --input pattern # read-only
expect 1 "no disk at LUN 3" guest read --lun 3
expect 1 "nowhere" guest write --lun 7 --input nowhere
expect 1 "no/where" guest read --lun 7 --output no/where
head -c 700 pattern | guest write --lun 7 2>err && bad "half a sector was written"
grep -q "ends inside a sector" err || bad "half a sector: it does not say why"
head -c 5000000 /dev/zero | guest write --lun 7 2>err && bad "more than the disk was written"
grep -q "the disk is full" err || bad "a full disk: it does not say so"
guest read --lun 7 >/dev/full 2>err && bad "a full output went well"
grep -q "writing the output" err || bad "a full output: it does not say why"
for rw in read randread write randwrite; do
	expect 0 '"iops"' guest --json bench --lun 7 --rw $rw --depth 8 --seconds 0.05
	is_json out || bad "bench: no JSON"
done
expect 0 "IOPS" guest bench --lun 7 --rw randread --seconds 0.05 --bs 8k
expect 2 "no more than the disk" guest bench --lun 7 --rw randread --bs 8M
expect 1 "no network card 0" guest nic --tap "lo$$"
if script -qec true /dev/null >/dev/null 2>&1 </dev/null; then # there are terminals here
	export tool
	script -qec '"$tool" guest --socket bus read --lun 7 --output copy.raw' /dev/null >out 2>err </dev/null
	grep -q 'MiB/s' out || bad "no progress on a terminal"
fi
host_stop
is_json host.out || bad "the host's events are no JSON"
grep -q '"event": "disconnected".*"reads": [1-9]' host.out || bad "the host counts no reads"

# -- An image that names its parent ---------------------------------------------------------

mkdir inside outside
"$build/run" vhdtool create outside/parent.vhd 4M >out 2>err || bad "no image"
(cd inside && "$build/run" vhdtool create child.vhd --parent ../outside/parent.vhd) >out 2>err || bad "no child"
expect 1 "its parent was not found in inside" "$tool" host --socket bus --disk inside/child.vhd,parents=inside
host_start --disk inside/child.vhd,parents=.
expect 0 4194304 guest disks
host_stop

# -- Several guests, and one --------------------------------------------------------------

host_start --disk blank.raw,format=raw --guests 2
for i in 0 1; do
	"$tool" guest --socket bus bench --lun 0 --rw randread --seconds 500 >/dev/null 2>&1 &
	busy[i]=$!
	others+=($!)
done
connected() { [ "$(grep -c connected host.err)" = "$1" ]; }
until_ok connected 2 || bad "two guests do not get in"
expect 3 "no room for another guest" guest disks
kill -9 "${busy[0]}"
until_ok guest disks || bad "a guest is gone, and another one cannot come"
kill -9 "${busy[1]}"
wait "${busy[@]}" 2>/dev/null
host_stop
host_start --disk blank.raw,format=raw --once
guest disks >out 2>err || bad "disks with --once"
until_ok test ! -e bus || bad "--once: the host does not end"
wait "$host" || bad "--once: the host ended with status $?"
host=

# -- Peers that are none ----------------------------------------------------------------

cat >noise.py <<'PY'
import os, random, socket, sys
rng = random.Random(int(sys.argv[1]))
for i in range(40):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect("bus")
    for k in range(rng.randrange(4)):
        try: s.send(rng.randbytes(rng.choice([1, 4, 16, 60, 300, 4000])))
        except OSError: break
    s.close()
PY
seed=${VMBUS_TEST_SEED:-$RANDOM}
echo "seed $seed (VMBUS_TEST_SEED=$seed repeats this run)"
host_start --disk blank.raw,format=raw
python3 noise.py "$seed" || bad "noise"
expect 0 "4194304" guest disks
host_stop

for how in closes garbage cut silence; do
	wait "${fakes[$how]}"
	code=$?
	[ $code = 3 ] && grep -q "vmbus-loopback: " "fake.$how" ||
		bad "a host that $how: exit code $code, $(cat "fake.$how")"
done
exit $failed
