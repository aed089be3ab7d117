#!/bin/bash
# SPDX-License-Identifier: MIT
# Cards with several queues: 64 connections at a time, echoed byte for byte. Every channel carries
# frames both ways, no connection's frames change their order, whatever numbers of queues
# the two sides have, and when the channels are closed and opened under way.
. "$top_srcdir/tests/net/world.sh"
need python3
connections=64

# Small windows: nothing that waits in a tap's queue, on however busy a machine, is ever dropped.
#
# "connect" fails if a segment came in before an earlier one, as TCP counts them at both ends (if
# it is given the process at the other). It counts from each connection's second exchange on: a tap learns a flow's queue from frames that
# are written, when the kernel has answered them already, so that a flow which begins changes
# queues; one that rested for 3 seconds is forgotten, so then it is measured once more.
cat >"$work/many.py" <<'PY'
import asyncio, os, socket, sys, time
role, address, connections, size, peer = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
WINDOW = 16 << 10
def endpoint():
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WINDOW)
    return s
async def echo(reader, writer):
    while data := await reader.read(WINDOW):
        writer.write(data)
        await writer.drain()
    writer.close()
async def serve():
    s = endpoint()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((address, 5000))
    server = await asyncio.start_server(echo, sock=s, backlog=connections)
    print("listening", flush=True)
    await server.serve_forever()
class Connection:
    async def open(self):
        s = endpoint()
        s.setblocking(False)
        await asyncio.get_running_loop().sock_connect(s, (address, 5000))
        self.reader, self.writer = await asyncio.open_connection(sock=s)
        self.rested, self.last = 0, time.monotonic()
        for _ in range(2): await self.exchange(1000)
        self.rested = 0
    async def exchange(self, size):
        content, back = os.urandom(size), b""
        async def send():
            for i in range(0, size, WINDOW):
                self.writer.write(content[i:i + WINDOW])
                await self.writer.drain()
        sender = asyncio.create_task(send())
        while len(back) < size:
            part = await self.reader.read(WINDOW)
            if not part: sys.exit("cut off")
            back += part
            self.rested = max(self.rested, time.monotonic() - self.last)
            self.last = time.monotonic()
        await sender
        if back != content: sys.exit("something else came back")
def counters(pid):
    rows = [l.split() for l in open(f"/proc/{pid}/net/netstat") if l.startswith("TcpExt:")]
    return {n: int(v) for n, v in zip(rows[0][1:], rows[1][1:])}
def reordered():
    names = ("TCPOFOQueue", "TCPSACKReorder", "TCPRenoReorder", "TCPTSReorder")
    both = [counters(pid) for pid in ("self", peer)] if peer else []
    return sum(c[n] for c in both for n in names)
async def connect():
    for attempt in range(8):
        all = [Connection() for _ in range(connections)]
        await asyncio.gather(*[c.open() for c in all])
        before = reordered()
        await asyncio.gather(*[c.exchange(size) for c in all])
        early = reordered() - before
        for c in all: c.writer.close()
        if early == 0: return
        if max(c.rested for c in all) < 1: sys.exit(f"{early} segments were out of order")
    sys.exit("the machine never does this without a rest")
asyncio.run(serve() if role == "serve" else connect())
PY

# One datagram of each of many ports, each back before the next goes
cat >"$work/ports.py" <<'PY'
import socket, sys
role, address, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if role == "serve":
    s.bind((address, 5001))
    print("listening", flush=True)
    while True:
        s.sendto(*s.recvfrom(2048))
for port in range(20000, 20000 + count):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("10.9.0.1", port))
    s.settimeout(10)
    for attempt in range(6): # one that a busy machine holds up is sent again
        s.sendto(b"%d" % port, (address, 5001))
        try:
            if s.recv(64) == b"%d" % port: break
        except TimeoutError: pass
    else: sys.exit(f"port {port}: no answer")
PY

serve() { # SCRIPT: in the guest's namespace
	: >"$work/$1.log"
	ip netns exec "$b" python3 "$work/$1.py" serve 10.9.0.2 $connections 0 0 >"$work/$1.log" 2>&1 &
	server=$!
	others+=($server)
	until_ok 60 grep -q listening "$work/$1.log" || die "no server"
}

many() { in_a timeout 240 python3 "$work/many.py" connect 10.9.0.2 $connections "$@"; }
ports() { in_a timeout 240 python3 "$work/ports.py" connect 10.9.0.2 $connections; }

channel_counts() { # FIELD: a number for each channel, of the guest that ended last
	sed -n 's/.*"per_channel": \[\(.*\)\].*/\1/p' "$work/guest.log" | tail -n 1 | grep -o "\"$1\": [0-9]*" |
		grep -o '[0-9]*$'
}
all_carry() { # COUNT: channels, each with frames in both directions
	local field
	for field in to_host from_host; do
		[ "$(channel_counts $field | awk '$1 > 10' | wc -l)" = "$1" ] || {
			echo "$field:" $(channel_counts $field)
			return 1
		}
	done
}
one_carries() { # to the guest, nearly all
	channel_counts from_host | awk -v least=$connections \
		'$1 >= least {big++} $1 < least / 2 {small++} END {exit big != 1 || small != NR - 1}' ||
		{ echo from_host: $(channel_counts from_host); return 1; }
}

up_with() { # FIELD NUMBER: what the guest said last
	grep '"event": "up"' "$work/guest.log" | tail -n 1 | grep -q "\"$1\": $2,"
}

# Both taps outlive their processes here.
ip -n "$a" tuntap add dev tapa mode tap vnet_hdr multi_queue || skip "no persistent taps here"
ip -n "$b" tuntap add dev tapb mode tap vnet_hdr multi_queue
address tapa tapb
for queues in "4 4" "4 3" "2 4"; do
	set -- $queues
	channels=$(($1 < $2 ? $1 : $2))
	host_start tap=tapa,queues=$1
	guest_start --tap tapb,queues=$2
	[ ${#others[@]} -gt 0 ] || {
		serve ports
		serve many
		echo=$server
	}
	check "$1 queues there, $2 here: $connections connections, in order" many 131072 $echo
	check "$1 queues there, $2 here: $channels channels" up_with channels $channels
	guest_stop
	check "$1 queues there, $2 here: all channels carry frames" all_carry $channels
	check "the guest lost none" [ "$(count guest to_host_lost) $(count guest from_host_lost)" = "0 0" ]
	host_stop
	check "the host lost none" \
		[ "$(count host tx_errors) $(count host tx_dropped) $(count host rx_dropped)" = "0 0 0" ]
done

# By RSS as drivers ask for it only the ports of TCP count; the tap's own choice would be another.
host_start tap=tapa,queues=4
guest_start --tap tapb,queues=4
check "datagrams of $connections ports" ports
guest_stop
check "they keep to one channel: the guest's table decides" one_carries

# Channels are closed and opened anew under way; the next guest has other ones.
guest_start --tap tapb,queues=4
many 1000000 0 >"$work/long.log" 2>&1 &
long=$!
others+=($long)
for mtu in 9000 1400 1500; do
	ip -n "$a" link set tapa mtu $mtu
	ip -n "$b" link set tapb mtu $mtu
	until_ok 60 up_with mtu $mtu || die "the guest did not take MTU $mtu"
	up_with channels 4 || die "not 4 channels with MTU $mtu"
done
guest_stop
guest_start --tap tapb,queues=2
check "$connections connections while channels come and go" wait_for $long
check "2 channels after 4" up_with channels 2
guest_stop
host_stop
check "no guest broke a rule" [ "$(grep -o '"bad_messages": [1-9]' "$work/host.log" | wc -l)" = 0 ]
exit $failed
