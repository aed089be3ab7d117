#!/bin/bash
# SPDX-License-Identifier: MIT
# A guest that shares nothing with us (examples/guest.py) asks our hosts what a guest may rely on;
# and a host that keeps less is told so.
set -u
[ -n "${VMBUS_TEST_GUARDED-}" ] || VMBUS_TEST_GUARDED=1 exec timeout -k 30 600 "$0"
command -v python3 >/dev/null || { echo "SKIP: no python3 here"; exit 77; }
build=$(cd "$top_builddir" && pwd)
source=$(cd "$top_srcdir" && pwd)
work=$(mktemp -d)
host='' failed=0
finish() {
	[ -z "$host" ] || kill -9 "$host" 2>/dev/null
	rm -rf "$work"
}
trap finish EXIT
cd "$work" || exit 1

bad() {
	echo "FAILED: $*"
	cat out err 2>/dev/null
	failed=1
}

host_start() { # COMMAND...
	"$build/run" "$@" >host.out 2>&1 &
	host=$!
	until "$build/run" vmbus-loopback guest --socket bus offers >/dev/null 2>&1; do
		kill -0 "$host" 2>/dev/null || { cat host.out; exit 1; }
		sleep 0.05
	done
}

host_stop() {
	kill -TERM "$host"
	wait "$host"
	host=
}

asked() { python3 "$source/tests/conformance/host.py" bus >out 2>err; }

truncate -s 8M disk.raw blank.raw
"$build/run" vhdtool create disk.vhd 8M >/dev/null || exit 1
host_start vmbus-loopback host --socket bus --json --disk disk.raw,format=raw
asked && [ "$(grep -c '^ok ' out)" = "$(sed -n 's/^1\.\.//p' out)" ] || bad "vmbus-loopback host"
host_stop
grep -q '"faults": {"bad-gpadl": 1, "bad-ring": 4}' host.out || bad "a guest's faults are not told"

host_start serve-disk bus disk.vhd
asked || bad "serve-disk"
printf 'sector five' | dd of=want bs=512 conv=sync status=none
"$build/run" vmbus-loopback guest --socket bus write --lun 0 --offset 2560 --input want >/dev/null
"$source/examples/guest.py" bus 5 >out 2>err || bad "guest.py ended with $?"
grep -q "^LUN 0: 16384 sectors of 512 bytes" out || bad "guest.py does not tell the disk's size"
sed -n 's/^ *[0-9a-f]*  //p' out | tr -d ' \n' | cmp - <(od -An -v -tx1 want | tr -d ' \n') ||
	bad "guest.py shows another sector"
host_stop
"$source/examples/guest.py" bus >out 2>err && bad "guest.py finds a host that is gone"
grep -q "^guest.py: " err || bad "guest.py does not say what is wrong"

host_start vmbus-loopback host --socket bus --disk blank.raw,format=raw,readonly
asked && bad "a disk that cannot be written conforms"
grep -q "^not ok .*the write fails" out && grep -q "^ok .*sense says" out ||
	bad "a disk that cannot be written: it does not say so"
host_stop
exit $failed
