# SPDX-License-Identifier: MIT
# hv_netvsc with two vCPUs: a channel and a queue each, flows spread over them.
modes="kernel user"
names="nic-queues nic-rss nic-streams nic-queues-under-load nic-rings nic-reset"
initrd="/inner.cpio /net.cpio" memory=512 cpus=2 threads=2 limit=900
weight=45
expected_complaints='Driver has suspect GRO implementation' # see net.sh
content_mib=12
. "${here:-}/net.sh"

disks() {
	net_prepare
	echo "--nic tap=tap0,mac=$mac0 --nic tap=tap1,mac=$mac1"
}

during() {
	net_serve
}

inner_nic_queues() {
	modules_load /net
	wait_for 60 nic_of_mac $mac1 || fail "no card has $mac1"
	nic_up eth0 10.77.0.2/24 fd77::2/64
	[ "$(queues)" = 2 ] || fail "$(queues) queues"
	[ "$(ls -d /sys/class/net/eth0/device/channels/* | wc -l)" = 2 ] || fail "channels"
	[ "$(cat /sys/class/net/eth0/device/channels/*/cpu | sort | tr '\n' ' ')" = "0 1 " ] ||
		fail "not one channel a processor"
	pings 10.77.0.1 || fail "no ping"

}

# Frames of 64 flows each way, counted where they pass
inner_nic_rss() {
	ethtool -x eth0 >/tmp/table || fail "-x"
	grep -q 'with 2 RX ring' /tmp/table || fail "-x: $(head -n 1 /tmp/table)"
	table_names 0 1 || fail "-x: the table does not name both"
	grep -A 1 'RSS hash key' /tmp/table | grep -q '[1-9a-f]' || fail "-x: no key"
	for flow in $(seq 64); do
		echo $flow | nc 10.77.0.1 5001 >/tmp/answer
		[ "$(cat /tmp/answer)" = "$(echo $flow | md5sum)" ] || fail "flow $flow: another answer"
	done
	ethtool -S eth0 >/tmp/statistics
	for queue in rx_queue_0 rx_queue_1 tx_queue_0 tx_queue_1; do
		packets=$(sed -n "s/.*${queue}_packets: //p" /tmp/statistics)
		echo "$queue: $packets packets"
		[ "$packets" -gt 20 ] || fail "$queue: $packets packets"
	done
}

inner_nic_streams() {
	local sum stream
	sum=$(content_sum)
	blocks 4 >/tmp/mine
	for stream in 1 2; do
		content_pull >/tmp/in.$stream &
		nc 10.77.0.1 5001 </tmp/mine >/tmp/out.$stream &
	done
	wait
	for stream in 1 2; do
		[ "$(cat /tmp/in.$stream)" = "$sum" ] || fail "stream $stream: received something else"
		[ "$(cat /tmp/out.$stream)" = "$(md5sum </tmp/mine)" ] || fail "stream $stream: sent something else"
	done
}

inner_nic_queues_under_load() {
	[ "$(outer "tail -n 1 /tmp/lives")" != second ] || return 0 # it is over; see nic-reset
	under_load queues_change
}

inner_nic_rings() {
	ethtool -G eth0 rx 1024 tx 64 || fail "-G"
	wait_for 60 carrier eth0 1
	pings 10.77.0.1 || fail "no ping with other rings"
}

# The VM is reset with both cards in use; what is set up then is new.
inner_nic_reset() {
	no_complaints
	if [ "$(outer "tail -n 1 /tmp/lives")" != second ]; then
		outer "echo second >/tmp/lives" >/dev/null
		content_pull >/tmp/sum &
		usleep 300000
		echo "reset now"
		reboot -f
		sleep 60
		fail "reboot returned"
	fi
}
