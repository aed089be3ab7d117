#!/bin/bash
# SPDX-License-Identifier: MIT
# What happens to those who use it, under traffic: another MTU, either side killed, either tap
# deleted. A TCP stream goes on through all of it, and not a byte of it is wrong.
. "$top_srcdir/tests/net/world.sh"
need python3

# Numbered blocks, until the file "stop" is there; the receiver tells how many were right.
cat >"$work/stream.py" <<'PY'
import hashlib, os, socket, sys, time
role, address, work = sys.argv[1:]
BLOCK = 64 << 10
base = hashlib.sha256(b"vmbus").digest() * (BLOCK // 32)
def block(i): return i.to_bytes(8, "big") + base[8:]
if role == "send":
    s = socket.create_connection((address, 5000), timeout=120)
    i = 0
    while not os.path.exists(work + "/stop"):
        s.sendall(block(i))
        i += 1
        time.sleep(0.002)
    s.shutdown(socket.SHUT_WR)
    if s.recv(64) != b"%d" % i: sys.exit("the far end has another number of blocks")
else:
    l = socket.create_server((address, 5000))
    print("listening", flush=True)
    s = l.accept()[0]
    s.settimeout(120)
    i, data = 0, b""
    while True:
        part = s.recv(BLOCK)
        if not part: break
        data += part
        while len(data) >= BLOCK:
            if data[:BLOCK] != block(i): sys.exit(f"block {i} is wrong")
            data = data[BLOCK:]
            i += 1
            print(i, flush=True)
    if data: sys.exit("half a block at the end")
    s.sendall(b"%d" % i)
PY

blocks() { tail -n 1 "$work/receiver.log"; }
beyond() { [ "$(blocks)" -gt "$1" ]; }
# The stream got on since.
flows() { until_ok 90 beyond $(($(blocks) + 20)) || die "the stream stopped: $*"; }

stream_start() {
	ip netns exec "$b" python3 "$work/stream.py" receive 10.9.0.2 "$work" >"$work/receiver.log" 2>&1 &
	receiver=$!
	until_ok 60 grep -q listening "$work/receiver.log" || die "no receiver"
	ip netns exec "$a" python3 "$work/stream.py" send 10.9.0.2 "$work" >"$work/sender.log" 2>&1 &
	sender=$!
	others+=("$receiver" "$sender")
	until_ok 60 grep -q 20 "$work/receiver.log" || die "the stream does not start"
}

stream_stop() {
	touch "$work/stop"
	wait_for "$sender" || die "the sender: $(cat "$work/sender.log")"
	wait_for "$receiver" || die "the receiver: $(tail -n 1 "$work/receiver.log")"
	others=()
}

# The taps outlive the processes, and so do their addresses.
tap_make() { # NAMESPACE TAP MTU NUMBER
	ip -n "$1" tuntap add dev "$2" mode tap vnet_hdr || skip "no persistent taps here"
	ip -n "$1" link set "$2" mtu "$3" address "02:00:00:00:00:0$4"
	ip -n "$1" addr add "10.9.0.$4/24" dev "$2"
}

# On a busy machine the kernel may keep the tap of a killed process for seconds, until its
# io_uring is cleared away in the background: another one of the same name takes its place.
tap_again() { # NAMESPACE TAP NUMBER
	ip -n "$1" link del "$2"
	tap_make "$1" "$2" 1280 "$3"
}

host_gone() { grep -q "tapa: the link is down: the interface is gone" "$work/host.err"; }
has_mtu() { grep -q "\"event\": \"up\".*\"mtu\": $1," "$work/guest.log"; }

tap_make "$a" tapa 1500 1
tap_make "$b" tapb 1500 2
host_start tap=tapa
guest_start --tap tapb
stream_start

ip -n "$b" link set tapb mtu 9000
ip -n "$a" link set tapa mtu 9000
until_ok 60 has_mtu 9000 || die "the guest did not take the new MTU"
flows "MTU 9000"
: >"$work/guest.log"
ip -n "$a" link set tapa mtu 1280
ip -n "$b" link set tapb mtu 1280
until_ok 60 has_mtu 1280 || die "the guest did not take the small MTU"
flows "MTU 1280"
echo "ok: the MTU changes under traffic"

for i in 1 2 3; do
	kill -9 "$guest"
	wait "$guest" 2>/dev/null
	tap_again "$b" tapb 2
	guest_start --tap tapb
	flows "guest killed"
done
echo "ok: the guest is killed under traffic"

for i in 1 2 3; do
	kill -9 "$host"
	wait "$host" 2>/dev/null
	wait_for "$guest"
	status=$?
	[ $status = 3 ] || die "the guest of a dead host ended with status $status"
	grep -q "the host is gone" "$work/guest.err" || die "the guest does not say why it ended"
	tap_again "$a" tapa 1
	host_start tap=tapa
	guest_start --tap tapb
	flows "host killed"
done
echo "ok: the host is killed under traffic"

# One card, two guests: the second waits, and goes on when the first is gone.
ip -n "$b" tuntap add dev tapw mode tap vnet_hdr
ip netns exec "$b" "$loopback" guest --socket "$work/bus" --json nic --tap tapw >"$work/waits.log" 2>"$work/waits.err" &
waits=$!
others+=($waits)
until_ok 60 grep -q '"event": "up".*"link": false' "$work/waits.log" || die "the second guest sees no dead link"
flows "a second guest waits"
kill "$waits"
wait_for "$waits" || die "the waiting guest ended with status $?"
echo "ok: a second guest waits for the card"

stream_stop
echo "ok: the stream arrived whole"

# A tap that is deleted takes its link along, not the host.
ip -n "$a" link del tapa
until_ok 60 host_gone || die "the host does not say that its tap is gone"
until_ok 60 grep -q "the link is down" "$work/guest.err" || die "the guest is not told of the dead link"
"$loopback" guest --socket "$work/bus" offers >"$work/check.log" 2>&1 || die "the host serves nobody any more"
guest_stop
host_stop
echo "ok: the host's tap is deleted"

ip -n "$a" tuntap add dev tapa mode tap vnet_hdr
host_start tap=tapa
guest_start --tap tapb
ip -n "$b" link del tapb
wait_for "$guest"
status=$?
guest=
[ $status = 1 ] || die "the guest without a tap ended with status $status"
grep -q "the tap is gone" "$work/guest.err" || die "the guest does not say why it ended"
host_stop
echo "ok: the guest's tap is deleted"
exit $failed
