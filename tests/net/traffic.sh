#!/bin/bash
# SPDX-License-Identifier: MIT
# Programs that people use, between three network namespaces: the host's is a router between
# those of two guests, with a network card for each and a small MTU on the second. Routes,
# path MTU, fragments, TCP with one stream and several, a web server.
. "$top_srcdir/tests/net/world.sh"
need ping python3 iperf3 curl nginx mtr
PATH=$PATH:/usr/sbin
c=vmbus-c-$$
ip netns add "$c"
ip -n "$c" link set lo up
second=
end() {
	[ -z "$second" ] || kill -9 "$second" 2>/dev/null
	world_end
	ip netns del "$c" 2>/dev/null
}
trap end EXIT
in_c() { ip netns exec "$c" "$@"; }

host_start tap=tapa,mtu=9000,queues=2 tap=tapc,mtu=1400,mac=00:15:5d:01:02:03
guest_start --tap tapb,mtu=9000,queues=2
ip netns exec "$c" "$loopback" guest --socket "$work/bus" --json nic --index 1 --tap tapd,mtu=1400 \
	>"$work/second.log" 2>"$work/second.err" &
second=$!
until_ok 60 grep -q '"event": "up".*"mac": "00:15:5d:01:02:03".*"mtu": 1400' "$work/second.log" || die "the second guest did not start"
address tapa tapb
ip -n "$a" addr add 10.10.0.1/24 dev tapc
ip -n "$a" addr add fd10::1/64 dev tapc nodad
ip -n "$c" addr add 10.10.0.2/24 dev tapd
ip -n "$c" addr add fd10::2/64 dev tapd nodad
in_a sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding' ||
	skip "routing cannot be switched on here"
ip -n "$b" route add default via 10.9.0.1
ip -n "$b" route add default via fd09::1
ip -n "$c" route add default via 10.10.0.1
ip -n "$c" route add default via fd10::1

# The far end of everything, in the third namespace.
head -c $((24 << 20)) /dev/urandom >"$work/file"
cat >"$work/nginx.conf" <<CONF
daemon off;
master_process off;
pid $work/nginx.pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path $work/nginx-body;
	proxy_temp_path $work/nginx-proxy;
	fastcgi_temp_path $work/nginx-fastcgi;
	uwsgi_temp_path $work/nginx-uwsgi;
	scgi_temp_path $work/nginx-scgi;
	server {
		listen 8080;
		listen [::]:8080;
		root $work;
	}
}
CONF
ip netns exec "$c" nginx -e stderr -p "$work" -c "$work/nginx.conf" >"$work/nginx.log" 2>&1 &
others+=($!)
# Datagrams of any length, back to where they came from.
cat >"$work/echo.py" <<'PY'
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", 5001))
while True:
    s.sendto(*s.recvfrom(65536))
PY
ip netns exec "$c" python3 "$work/echo.py" >"$work/echo.log" 2>&1 &
others+=($!)

# One at a time, so nothing but a fault loses any; a datagram that a busy machine holds up is
# sent again, and told from its copy by its content.
cat >"$work/datagrams.py" <<'PY'
import os, socket, sys
address, mode = sys.argv[1], sys.argv[2]
s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
s.connect((address, 5001))
s.settimeout(10)
def exchange(data, parts):
    for attempt in range(6):
        try:
            s.send(data)
            left = {p for p in parts}
            while left:
                left.discard(s.recv(65536))
            return
        except (TimeoutError, ConnectionRefusedError):
            pass
    sys.exit(f"{len(data)} bytes did not come back")
if mode == "fragments":
    for size in (1, 1372, 1373, 1500, 8972, 8973, 20000, 40001, 65000):
        data = os.urandom(size)
        exchange(data, [data])
else: # segments: cut by the kernel, or who it leaves it to (UDP_SEGMENT)
    s.setsockopt(17, 103, 1200)
    for size in (1200, 1201, 12000, 50000):
        data = os.urandom(size)
        exchange(data, [data[i:i + 1200] for i in range(0, size, 1200)])
PY

web() { in_b curl -sS --fail --max-time 120 "http://$1:8080/file" | cmp - "$work/file"; }

# The path MTU is learnt from the router's complaint: the first one is lost to it.
path_mtu() {
	in_b ping -q -c 1 -W 5 -M do -s 3000 "$1" >"$work/ping.log" 2>&1
	in_b ip route get "$1" | grep -q 'mtu 1400' &&
		in_b ping -q -c 2 -i 0.01 -W 60 -M do -s $((1400 - $2)) "$1"
}

route() { # mtr sees both hops; it waits for a second: late answers of a busy machine are lost
	local try
	for try in 1 2 3 4 5 6 7 8; do
		in_b mtr -n -r -c 2 -i 0.1 -G 1 "$1" >"$work/mtr.log" 2>&1
		grep -q "1\..* $2 .* 0\.0%" "$work/mtr.log" && grep -q "2\..* $1 .* 0\.0%" "$work/mtr.log" &&
			return
	done
	return 1
}

iperf() { # a server each time: one that still clears up after the last client refuses the next
	: >"$work/iperf3.log"
	ip netns exec "$c" iperf3 -s -1 --forceflush >"$work/iperf3.log" 2>&1 &
	local server=$!
	until_ok 60 grep -q listening "$work/iperf3.log" && in_b timeout 120 iperf3 -c "$@" && wait_for $server && return
	kill -9 $server 2>/dev/null
	return 1
}

check "ping to the other guest" in_b ping -q -c 10 -i 0.01 -W 60 10.10.0.2
check "ping to the other guest over IPv6" in_b ping -q -c 10 -i 0.01 -W 60 fd10::2
check "path MTU" path_mtu 10.10.0.2 28
check "path MTU over IPv6" path_mtu fd10::2 48
check "mtr" route 10.10.0.2 10.9.0.1
check "mtr over IPv6" route fd10::2 fd09::1
until_ok 60 in_b curl -s -o "$work/first" -r 0-0 "http://10.10.0.2:8080/file"
check "curl of 24 MiB from nginx" web 10.10.0.2
check "curl of 24 MiB from nginx over IPv6" web '[fd10::2]'
check "iperf3, one stream" iperf 10.10.0.2 -n 32M
check "iperf3, four streams back" iperf 10.10.0.2 -n 8M -P 4 -R
check "iperf3 over IPv6, both ways" iperf fd10::2 -t 1 --bidir
check "iperf3 over UDP" iperf 10.10.0.2 -u -b 20M -n 1M -l 1000
check "UDP in fragments" in_b timeout 120 python3 "$work/datagrams.py" 10.10.0.2 fragments
check "UDP in fragments over IPv6" in_b timeout 120 python3 "$work/datagrams.py" fd10::2 fragments
check "UDP in segments" in_b timeout 120 python3 "$work/datagrams.py" 10.10.0.2 segments
check "UDP in segments over IPv6" in_b timeout 120 python3 "$work/datagrams.py" fd10::2 segments
check "jumbo frames" in_b ping -q -c 3 -i 0.01 -W 60 -M do -s 8972 10.9.0.1

guest_stop
kill "$second"
wait_for "$second" || die "the second guest ended with status $?"
second=
host_stop
check "the host broke no frame" [ "$(count host tx_errors) $(count host rx_dropped)" = "0 0" ]
check "the guests broke none" [ "$(count guest to_host_lost) $(count second to_host_lost)" = "0 0" ]
exit $failed
