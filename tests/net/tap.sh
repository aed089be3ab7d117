#!/bin/bash
# SPDX-License-Identifier: MIT
# Frames of all kinds through tap, VSP, VMBus, netvsc and tap, by what the kernels at both
# ends make of them.
. "$top_srcdir/tests/net/world.sh"
need ping python3

# Sends 16 MiB to the far end and gets their hash back; both ways at once.
cat >"$work/content.py" <<'PY'
import hashlib, os, socket, sys, threading
SIZE = 16 << 20
BLOCK = os.urandom(1 << 20)
def send(s, h):
    for i in range(SIZE >> 20):
        block = i.to_bytes(4, "big") + BLOCK[4:]
        h.update(block); s.sendall(block)
def receive(s, h):
    left = SIZE
    while left:
        block = s.recv(min(left, 1 << 18))
        if not block: sys.exit("cut off")
        h.update(block); left -= len(block)
def exchange(s):
    out, into = hashlib.sha256(), hashlib.sha256()
    t = threading.Thread(target=send, args=(s, out)); t.start()
    receive(s, into); t.join()
    s.sendall(into.digest())
    got = b""
    while len(got) < 32:
        part = s.recv(32 - len(got))
        if not part: sys.exit("cut off")
        got += part
    if got != out.digest(): sys.exit("the content is not what was sent")
address = (sys.argv[2], 5000)
family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
if sys.argv[1] == "serve":
    l = socket.create_server(address, family=family); print("listening", flush=True)
    exchange(l.accept()[0])
else:
    exchange(socket.create_connection(address, timeout=60))
PY
content() { # address of the far end
	: >"$work/server.log"
	ip netns exec "$b" timeout 120 python3 "$work/content.py" serve "$1" >"$work/server.log" 2>&1 &
	local server=$!
	until_ok 60 grep -q listening "$work/server.log" &&
		in_a timeout 120 python3 "$work/content.py" connect "$1" && wait $server
}

# A frame with a tag of any kind, sent to the far end and back. The kernel there takes the tag
# off and tells it beside the frame.
cat >"$work/tag.py" <<'PY'
import os, socket, struct, sys
role, name = sys.argv[1:]
ETH, AUXDATA = 0x88b5, 8
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind((name, 3))
s.setsockopt(263, AUXDATA, 1)
s.settimeout(60)
def send(tci, payload):
    s.send(b"\xff" * 6 + b"\x02\0\0\0\0\x01" + struct.pack(">HHH", 0x8100, tci, ETH) + payload)
def receive():
    while True:
        data, control, _, where = s.recvmsg(70000, 64)
        tags = [struct.unpack("IIIHHHH", c[2]) for c in control if c[1] == AUXDATA]
        if where[2] != 4 and data[12:14] == ETH.to_bytes(2, "big"):
            return tags[0][5] if tags[0][0] & 16 else None, data[14:]
if role == "serve":
    print("listening", flush=True)
    while True:
        tci, payload = receive()
        if tci is None: sys.exit("no tag arrived")
        send(tci, payload)
        if tci == 4095: break
else:
    for tci in (0, 1, 42, 0x2fff & 0x0ffe, 0xe02a, 0x702a, 4095):
        payload = os.urandom(1000 + tci % 7)
        send(tci, payload)
        if receive() != (tci, payload): sys.exit(f"tag {tci:#x}: something else came back")
PY
tags() {
	: >"$work/server.log"
	ip netns exec "$b" timeout 120 python3 "$work/tag.py" serve tapb >"$work/server.log" 2>&1 &
	local server=$!
	until_ok 60 grep -q listening "$work/server.log" &&
		in_a timeout 120 python3 "$work/tag.py" connect tapa && wait $server
}

for mtu in 1500 9000; do
	queues=$((mtu == 9000 ? 3 : 1))
	host_start tap=tapa,mtu=$mtu,queues=$queues
	guest_start --tap tapb,mtu=$mtu,queues=$queues
	address tapa tapb
	vlan=1 # the kernel may have none
	ip -n "$a" link add link tapa name tapa.42 type vlan id 42 2>/dev/null &&
		ip -n "$b" link add link tapb name tapb.42 type vlan id 42 2>/dev/null || vlan=0
	if [ $vlan = 1 ]; then
		ip -n "$a" addr add 10.9.42.1/24 dev tapa.42
		ip -n "$b" addr add 10.9.42.2/24 dev tapb.42
		ip -n "$a" link set tapa.42 up
		ip -n "$b" link set tapb.42 up
	fi
	check "ping, MTU $mtu" in_a ping -q -c 20 -i 0.01 -W 60 10.9.0.2
	check "ping of a whole frame, MTU $mtu" in_a ping -q -c 3 -i 0.01 -W 60 -M do -s $((mtu - 28)) 10.9.0.2
	check "ping in fragments, MTU $mtu" in_a ping -q -c 3 -i 0.01 -W 60 -s 20000 10.9.0.2
	check "ping over IPv6, MTU $mtu" in_a ping -q -c 3 -i 0.01 -W 60 fd09::2
	[ $vlan = 0 ] || check "ping in a VLAN, MTU $mtu" in_a ping -q -c 3 -i 0.01 -W 60 10.9.42.2
	check "tagged frames, MTU $mtu" tags
	check "16 MiB both ways over TCP, MTU $mtu" content 10.9.0.2
	check "16 MiB both ways over TCP and IPv6, MTU $mtu" content fd09::2
	[ $vlan = 0 ] || check "16 MiB both ways over TCP in a VLAN, MTU $mtu" content 10.9.42.2
	guest_stop
	host_stop
	check "$queues channels" [ "$(count guest channels)" = $queues ]
	check "the host refused and lost no frame" \
		[ "$(count host tx_errors) $(count host tx_dropped) $(count host rx_dropped)" = "0 0 0" ]
	check "the guest lost none" [ "$(count guest to_host_lost) $(count guest from_host_lost)" = "0 0" ]
done
exit $failed
