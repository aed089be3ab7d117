#!/bin/bash
# SPDX-License-Identifier: MIT
# Peers that mean no good (tests/shm-loopback/hostile.c) at the socket of a host that serves a
# disk: its guest goes on reading, the next one reads the same, and nothing is left of them.
set -u
[ -n "${VMBUS_TEST_GUARDED-}" ] || VMBUS_TEST_GUARDED=1 exec timeout -k 30 600 "$0"
tool=$top_builddir/tools/vmbus-loopback
work=$(mktemp -d)
host=
finish() {
	[ -z "$host" ] || kill -9 "$host" 2>/dev/null
	rm -rf "$work"
}
trap finish EXIT

die() {
	echo "not ok: $*"
	tail -n 8 "$work/host.err"
	exit 1
}

guest() { "$tool" guest --socket "$work/bus" "$@"; }
descriptors() { find "/proc/$host/fd" -mindepth 1 | wc -l; }

head -c $((8 << 20)) /dev/urandom >"$work/disk.raw"
mkfifo "$work/ready"
"$tool" host --socket "$work/bus" --disk "$work/disk.raw,format=raw,readonly" --guests 6 \
	--ready-fd 3 3>"$work/ready" >"$work/host.out" 2>"$work/host.err" &
host=$!
read -r -t 60 _ <"$work/ready" || die "the host does not start"
before=$(descriptors)

"$top_builddir/tests/shm-loopback/hostile" "$work/bus" || die "the host cannot stand its peers"
guest read --lun 0 --output "$work/back.raw" || die "the next guest is not served"
cmp "$work/disk.raw" "$work/back.raw" || die "the next guest reads something else"
for ((i = 0; i < 600; i++)); do # the last may still be going
	[ "$(descriptors)" -gt "$before" ] || break
	sleep 0.1
done
[ "$(descriptors)" -le "$before" ] || die "$before descriptors became $(descriptors)"
kill -TERM "$host"
wait "$host" || die "the host ended with status $?"
host=
for reason in "not sealed" "did not say hello" "others wait" "no request" "not an eventfd" \
	"does not read its replies" "closed the connection" "lines were left out"; do
	grep -q "$reason" "$work/host.err" || die "the host does not say: $reason"
done
[ "$(wc -l <"$work/host.err")" -lt 400 ] || die "the host's log has no bound"
