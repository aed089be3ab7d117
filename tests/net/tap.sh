#!/bin/bash
# SPDX-License-Identifier: MIT
# Traffic through tap, VSP, VMBus, netvsc and tap, between two network namespaces of our
# own. Needs root, /dev/net/tun, ip, ping and python3.
set -u
skip() { echo "$1"; exit 77; }
[ "$(id -u)" = 0 ] || skip "needs root for network namespaces"
[ -c /dev/net/tun ] || skip "no /dev/net/tun"
for tool in ip ping python3; do
	command -v "$tool" >/dev/null || skip "needs $tool"
done
program=$top_builddir/tests/net/tap-loopback
a=vmbus-a-$$ b=vmbus-b-$$
work=$(mktemp -d)
host='' guest='' failed=0
end() {
	[ -n "$guest" ] && kill "$guest" 2>/dev/null
	[ -n "$host" ] && kill "$host" 2>/dev/null
	wait
	ip netns del "$a" 2>/dev/null
	ip netns del "$b" 2>/dev/null
	rm -rf "$work"
}
trap end EXIT
ip netns add "$a" 2>/dev/null && ip netns add "$b" || skip "no network namespaces here"

start() { # MTU
	ip netns exec "$a" "$program" host "$work/bus" tapa "$1" >"$work/host" 2>&1 &
	host=$!
	for _ in $(seq 50); do grep -q ready "$work/host" && break; sleep 0.1; done
	ip netns exec "$b" "$program" guest "$work/bus" tapb "$1" >"$work/guest" 2>&1 &
	guest=$!
	for _ in $(seq 50); do grep -q up: "$work/guest" && break; sleep 0.1; done
	for side in "$a tapa 1" "$b tapb 2"; do
		set -- $side
		ip -n "$1" addr add "10.9.0.$3/24" dev "$2"
		ip -n "$1" addr add "fd09::$3/64" dev "$2" nodad
		vlan=1 # the kernel may have none
		ip -n "$1" link add link "$2" name "$2.42" type vlan id 42 2>/dev/null || { vlan=0; continue; }
		ip -n "$1" addr add "10.9.42.$3/24" dev "$2.42"
		ip -n "$1" link set "$2.42" up
	done
}

stop() {
	kill "$guest"; wait "$guest" 2>/dev/null
	wait "$host" 2>/dev/null
	host='' guest=''
}

check() { # what, command...
	local what=$1
	shift
	if "$@" >"$work/out" 2>&1; then
		echo "ok: $what"
	else
		echo "FAILED: $what"
		tail -n 5 "$work/out" "$work/host" "$work/guest"
		failed=1
	fi
}

in_a() { ip netns exec "$a" "$@"; }

# Sends 64 MiB to the far end and gets their hash back; both ways at once.
cat >"$work/content.py" <<'PY'
import hashlib, os, socket, sys, threading
MIB = 64 << 20
def send(s, h):
    left = MIB
    while left:
        block = os.urandom(min(left, 1 << 16))
        h.update(block); s.sendall(block); left -= len(block)
def receive(s, h):
    left = MIB
    while left:
        block = s.recv(min(left, 1 << 16))
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
	ip netns exec "$b" timeout 90 python3 "$work/content.py" serve "$1" >"$work/server" 2>&1 &
	local server=$!
	for _ in $(seq 50); do grep -q listening "$work/server" && break; sleep 0.1; done
	in_a timeout 90 python3 "$work/content.py" connect "$1" && wait $server
}

for mtu in 1500 9000; do
	start $mtu
	check "ping, MTU $mtu" in_a ping -q -c 20 -i 0.01 -W 2 10.9.0.2
	check "ping of a whole frame, MTU $mtu" in_a ping -q -c 3 -i 0.1 -M do -s $((mtu - 28)) 10.9.0.2
	check "ping in fragments, MTU $mtu" in_a ping -q -c 3 -i 0.1 -s 20000 10.9.0.2
	check "ping over IPv6, MTU $mtu" in_a ping -q -c 3 -i 0.1 fd09::2
	[ $vlan = 0 ] || check "ping in a VLAN, MTU $mtu" in_a ping -q -c 3 -i 0.1 10.9.42.2
	check "64 MiB both ways over TCP, MTU $mtu" content 10.9.0.2
	check "64 MiB both ways over TCP and IPv6, MTU $mtu" content fd09::2
	[ $vlan = 0 ] || check "64 MiB both ways over TCP in a VLAN, MTU $mtu" content 10.9.42.2
	stop
	check "no frame was refused" grep -q 'errors 0 dropped 0 0' "$work/host"
	check "the guest lost none" grep -q 'lost 0, bad 0' "$work/guest"
done
exit $failed
