# SPDX-License-Identifier: MIT
# hv_netvsc on two taps: everything a single queue can do.
modes="kernel user"
names="nic-probe nic-static nic-ipv6 nic-dhcp nic-ethtool nic-tcp nic-jumbo nic-vlan nic-link nic-mac
	nic-promiscuous nic-reload nic-mtu-under-load nic-gone"
initrd="/inner.cpio /net.cpio" memory=512 limit=900
weight=90
# TCP says so once of each card that joins segments and does not tell it of how many: all
# that hv_netvsc receives by RSC, on Hyper-V too.
expected_complaints='Driver has suspect GRO implementation'
. "${here:-}/net.sh"

disks() {
	net_prepare
	echo "--nic tap=tap0,mac=$mac0 --nic tap=tap1,mac=$mac1"
}

during() {
	net_serve
}

inner_nic_probe() {
	modules_load /net
	wait_for 60 nic_of_mac $mac1 || fail "no card has $mac1"
	[ "$(nic_of_mac $mac0)" = eth0 ] || fail "eth0 is not the first card"
	ethtool -i eth0 | grep -q '^driver: hv_netvsc' || fail "$(ethtool -i eth0 | head -n 1)"
	ls -l /sys/class/net/eth0/device/driver | grep -q vmbus || fail "not on the bus"
}

inner_nic_static() {
	nic_up eth0 10.77.0.2/24 fd77::2/64
	pings 10.77.0.1 || fail "no ping to the outside"
	pings 10.77.0.1 1400 || fail "no long ping to the outside"
	outer "pings 10.77.0.2" || fail "no ping from the outside"
}

inner_nic_ipv6() {
	pings fd77::1 || fail "no ping to the outside"
	outer "pings fd77::2" || fail "no ping from the outside"
}

inner_nic_dhcp() {
	cat >/tmp/bound <<-'END'
		#!/bin/sh
		[ "$1" = bound ] && ip addr add "$ip/24" dev "$interface"
		exit 0
	END
	chmod +x /tmp/bound
	nic_up eth1
	udhcpc -i eth1 -n -q -t 20 -T 1 -s /tmp/bound || fail "no lease"
	ip addr show eth1 | grep -q 'inet 10.78.0.5[0-9]/24' || fail "no address"
	pings 10.78.0.1 || fail "no ping"
}

inner_nic_ethtool() {
	local feature
	ethtool -k eth0 >/tmp/features || fail "-k"
	for feature in rx-checksumming tx-checksumming scatter-gather tcp-segmentation-offload; do
		grep -q "^$feature: on" /tmp/features || fail "-k: $(grep "$feature" /tmp/features)"
	done
	ethtool -S eth0 >/tmp/statistics || fail "-S"
	grep -q 'tx_queue_0_packets: [1-9]' /tmp/statistics || fail "-S: nothing sent"
	grep -q 'rx_queue_0_packets: [1-9]' /tmp/statistics || fail "-S: nothing received"
	! grep -E '(tx_no_memory|tx_no_space|tx_too_big|rx_no_memory|stop_queue): [1-9]' /tmp/statistics ||
		fail "-S: $(tail -n 1 /tmp/statistics)"
	[ "$(ethtool -l eth0 | awk '/Combined/ {print $2}' | tr '\n' ' ')" = "1 1 " ] || fail "-l"
	[ "$(ethtool -g eth0 | awk '/^[RT]X:/ && $2 > 0' | wc -l)" = 4 ] || fail "-g"
	ethtool -x eth0 || true # a single ring may have no table
}

inner_nic_tcp() {
	tcp_both_ways
	nc -ll -p 5003 -e md5sum &
	wait_for 60 listens 5003 || fail "no listener"
	outer "content_push fd77::2" || fail "what came in over IPv6 is something else"
	kill $!
}

inner_nic_jumbo() {
	outer "ip link set tap0 mtu 9000" || fail "the tap does not take 9000"
	ip link set eth0 mtu 9000 || fail "mtu 9000"
	wait_for 60 carrier eth0 1
	before=$(counter eth0 rx_packets)
	pings 10.77.0.1 8972 20 || fail "no ping of 9000 bytes"
	[ $(($(counter eth0 rx_packets) - before)) -lt 35 ] || fail "they came in fragments"
	outer "pings 10.77.0.2 8972" || fail "none from the outside"
	[ "$(part_pull)" = "$(part_sum)" ] || fail "tcp: received something else"
	outer "ip link set tap0 mtu 1500"
	ip link set eth0 mtu 1500 || fail "mtu 1500"
	wait_for 60 carrier eth0 1
	pings 10.77.0.1 || fail "no ping with 1500 again"
}

inner_nic_vlan() {
	outer "vlan_make" || fail "no VLAN outside"
	ip link add link eth0 name eth0.42 type vlan id 42 || fail "no VLAN"
	nic_up eth0.42 10.79.0.2/24
	pings 10.79.0.1 || fail "no ping to the outside"
	outer "pings 10.79.0.2" || fail "no ping from the outside"
	blocks 4 >/tmp/mine
	[ "$(nc 10.79.0.1 5001 </tmp/mine)" = "$(md5sum </tmp/mine)" ] || fail "sent something else"
	ip link del eth0.42
	pings 10.77.0.1 || fail "nothing without a tag after it"
}

vlan_make() {
	ip link add link tap0 name tap0.42 type vlan id 42 &&
		ip addr add 10.79.0.1/24 dev tap0.42 && ip link set tap0.42 up
}

inner_nic_link() {
	outer "ip link set tap0 down"
	wait_for 60 carrier eth0 0 || fail "the link did not go down"
	outer "ip link set tap0 up"
	wait_for 60 carrier eth0 1 || fail "the link did not come up"
	pings 10.77.0.1 || fail "no ping"
}

mac_change() { # MAC: hv_netvsc takes it only while it is down
	ip link set eth0 down
	ip link set eth0 address "$1" || fail "$1 is refused"
	nic_up eth0
}

inner_nic_mac() {
	local other=02:15:5d:77:00:ee
	mac_change $other
	pings 10.77.0.1 || fail "no ping with it"
	outer "ip neigh show 10.77.0.2" | grep -q $other || fail "the outside sees another one"
	outer "ip neigh flush dev tap0; pings 10.77.0.2" || fail "no ping from the outside"
	ip link set eth0 mtu 1400 || fail "mtu 1400" # it sets up anew, and keeps its address
	pings 10.77.0.1 || fail "no ping with it after a change of the MTU"
	ip link set eth0 mtu 1500
	mac_change $mac0
	pings 10.77.0.1 || fail "no ping with the old one"
}

# Frames for a stranger's address
seen_of() { # COUNT
	local before
	before=$(counter eth0 rx_packets)
	outer "strangers $1" >/dev/null || fail "none sent"
	echo $(($(counter eth0 rx_packets) - before))
}

inner_nic_promiscuous() {
	local seen
	seen=$(seen_of 100)
	[ "$seen" -lt 50 ] || fail "$seen frames for a stranger came in"
	ip link set eth0 promisc on || fail "promisc on"
	seen=$(seen_of 100)
	[ "$seen" -ge 100 ] || fail "promiscuous, and saw $seen of 100"
	ip link set eth0 promisc off
	seen=$(seen_of 100)
	[ "$seen" -lt 50 ] || fail "$seen frames came in afterwards"
}

inner_nic_reload() {
	for round in 1 2 3; do
		rmmod hv_netvsc || fail "rmmod, round $round"
		[ ! -e /sys/class/net/eth0 ] || fail "eth0 stayed, round $round"
		insmod /net/*-hv_netvsc.ko || fail "insmod, round $round"
		wait_for 60 nic_of_mac $mac1 || fail "no cards, round $round"
		nic_up "$(nic_of_mac $mac0)" 10.77.0.2/24
		pings 10.77.0.1 || fail "no ping, round $round"
	done
}

inner_nic_mtu_under_load() {
	under_load mtu_changes
}

mtu_changes() {
	local mtu
	for mtu in 1400 1500 1280 1500; do
		usleep 300000
		ip link set eth0 mtu $mtu || fail "mtu $mtu"
	done
}

inner_nic_gone() {
	local gone kept
	gone=$(nic_of_mac $mac1) kept=$(nic_of_mac $mac0)
	nic_up "$gone" 10.78.0.2/24
	pings 10.78.0.1 || fail "no ping before"
	outer "ip link del tap1" || fail "the tap does not go"
	wait_for 60 carrier "$gone" 0 || fail "the link stayed up"
	ping -c 3 -W 1 10.78.0.1
	pings 10.77.0.1 || fail "the other card is dead too"
	rmmod hv_netvsc || fail "rmmod"
}
