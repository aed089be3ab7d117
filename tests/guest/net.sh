# SPDX-License-Identifier: MIT
# What the network boots share. Two cards: tap0 10.77.0.0/24 and fd77::/64, tap1
# 10.78.0.0/24 with DHCP; a VLAN on tap0 is 10.79.0.0/24. The outer VM is .1, the guest .2.
mac0=02:15:5d:77:00:01 mac1=02:15:5d:78:00:01
: "${content_mib:=64}"

# -- Both sides -------------------------------------------------------------

ip() { # iproute2's: busybox' shell prefers its own
	/bin/ip "$@"
}

pings() { # ADDRESS [SIZE [COUNT]]: all come back
	ping -q -A -c "${3:-20}" -s "${2:-56}" -w 60 "$1" | grep ' 0% packet loss'
}

# blocks N: N blocks of 1 MiB, each different
blocks() {
	local n=0
	dd if=/dev/urandom of=/tmp/block bs=1M count=1 2>/dev/null
	while [ $n -lt "$1" ]; do
		printf '%08d' $n
		tail -c +9 /tmp/block
		n=$((n + 1))
	done
}

listens() { # PORT
	netstat -ltn | grep -q ":$1 "
}

wait_for() { # SECONDS COMMAND...
	local tries=$(($1 * 10))
	shift
	until "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || return 1
		usleep 100000
	done
}

# -- The outer VM's side ----------------------------------------------------

net_prepare() {
	blocks $content_mib >/tmp/content
	md5sum </tmp/content >/tmp/content.sum
	head -c 8388608 /tmp/content | md5sum >/tmp/part.sum
	head -c 1048576 /tmp/content | md5sum >/tmp/bit.sum
}

tap_up() { # TAP ADDRESS
	wait_for 60 test -e "/sys/class/net/$1" || return 1
	ip addr add "$2" dev "$1"
	ip link set "$1" up
}

# Port 5001 answers with the checksum of what it gets, port 5002 sends the content, 5004 the
# first 8 MiB of it, 5005 the first.
net_serve() {
	tap_up tap0 10.77.0.1/24 && tap_up tap1 10.78.0.1/24
	ip addr add fd77::1/64 dev tap0 nodad
	nc -ll -p 5001 -e md5sum &
	nc -ll -p 5002 -e cat /tmp/content &
	nc -ll -p 5004 -e head -c 8388608 /tmp/content &
	nc -ll -p 5005 -e head -c 1048576 /tmp/content &
	printf '%s\n' "start 10.78.0.50" "end 10.78.0.60" "interface tap1" "option subnet 255.255.255.0" \
		"lease_file /tmp/leases" >/tmp/udhcpd.conf
	touch /tmp/leases
	udhcpd -f /tmp/udhcpd.conf 2>/dev/null &
}

after_round() {
	killall nc udhcpd 2>/dev/null || true
}

# Sends the content to the guest's port 5003, which answers with its checksum.
content_push() { # ADDRESS
	[ "$(nc "$1" 5003 </tmp/content)" = "$(cat /tmp/content.sum)" ]
}

# Frames for another card: nobody answers.
strangers() { # COUNT
	ip neigh replace 10.77.0.99 lladdr 02:99:99:99:99:99 dev tap0 nud permanent
	ping -q -c "$1" -i 0.02 -W 1 10.77.0.99
	pings 10.77.0.2 56 1 # behind them
}

# -- The guest's side -------------------------------------------------------

nic_of_mac() { # MAC
	local address
	for address in /sys/class/net/eth*/address; do
		[ "$(cat "$address")" = "$1" ] || continue
		address=${address%/address}
		echo "${address##*/}"
		return
	done
	return 1
}

carrier() { # NIC 0|1
	[ "$(cat "/sys/class/net/$1/carrier")" = "$2" ]
}

counter() { # NIC NAME
	cat "/sys/class/net/$1/statistics/$2"
}

nic_up() { # NIC ADDRESS...
	local nic=$1
	shift
	ip link set "$nic" up || fail "$nic does not come up"
	for address; do
		case $address in
		*:*) ip addr add "$address" dev "$nic" nodad ;;
		*) ip addr add "$address" dev "$nic" ;;
		esac
	done
	wait_for 60 carrier "$nic" 1 || fail "$nic has no carrier"
}

# The content here is that there.
content_pull() {
	nc 10.77.0.1 5002 </dev/null | md5sum
}

content_sum() {
	outer "cat /tmp/content.sum"
}

part_pull() {
	nc 10.77.0.1 5004 </dev/null | md5sum
}

part_sum() {
	outer "cat /tmp/part.sum"
}

tcp_both_ways() {
	local sum
	sum=$(content_sum)
	[ "$(content_pull)" = "$sum" ] || fail "tcp: received something else"
	blocks "${1:-$content_mib}" >/tmp/mine
	[ "$(nc 10.77.0.1 5001 </tmp/mine)" = "$(md5sum </tmp/mine)" ] || fail "tcp: sent something else"
	rm /tmp/mine
}

# What comes in over TCP while COMMAND runs, and as long as the last transfer then takes, is right.
under_load() { # COMMAND...
	local pulls
	: >/tmp/sums
	rm -f /tmp/enough
	until [ -e /tmp/enough ]; do
		nc 10.77.0.1 5005 </dev/null | md5sum >>/tmp/sums
	done &
	pulls=$!
	trap 'touch /tmp/enough' EXIT # also if the command fails: others come after this
	"$@"
	touch /tmp/enough
	wait $pulls
	echo "$(wc -l </tmp/sums) times 1 MiB"
	[ "$(sort -u /tmp/sums)" = "$(outer "cat /tmp/bit.sum")" ] || fail "received something else"
}

queues() { # of eth0, now
	ethtool -l eth0 | awk '/^Combined:/ {n = $2} END {print n}'
}

# The table names these queues, and no other.
table_names() { # QUEUE...
	[ "$(ethtool -x eth0 | awk '/^ *[0-9]+:/ {for (i = 2; i <= NF; i++) print $i}' | sort -u | tr '\n' ' ')" = "$* " ]
}

queue_packets() { # PATTERN: all that came on such queues
	ethtool -S eth0 | awk -F ': ' -v queue="rx_queue_${1}_packets" '$1 ~ queue {n += $2} END {print n + 0}'
}

# Another table, then other channels: hv_netvsc closes them all and opens as many as are asked
# for. Each state lasts until frames have come in it.
queues_change() {
	local queue count
	for queue in 1 0; do
		ethtool -X eth0 weight $((1 - queue)) $queue || fail "-X: only $queue"
		table_names $queue || fail "-X: not only $queue"
		frames_come $queue || fail "-X: nothing comes on $queue"
	done
	ethtool -X eth0 default || fail "-X default"
	for count in 1 2; do
		ethtool -L eth0 combined $count || fail "-L $count"
		[ "$(queues)" = $count ] || fail "-L $count: $(queues)"
		frames_come '[01]' || fail "-L $count: nothing comes"
	done
	table_names 0 1 || fail "the table does not name both again"
}

frames_come() { # PATTERN
	local before
	before=$(queue_packets "$1")
	wait_for 60 frames_came "$1" "$before"
}

frames_came() { # PATTERN BEFORE
	[ $(($(queue_packets "$1") - $2)) -ge 20 ]
}
