# SPDX-License-Identifier: MIT
# hv_netvsc of the kernel of bookworm-backports, two queues.
modes="kernel"
names="nic-backports"
kernel=/vmlinuz-backports initrd="/inner-backports.cpio /net-backports.cpio"
memory=512 cpus=2 threads=2 limit=900
weight=20
expected_complaints='Driver has suspect GRO implementation' # see net.sh
content_mib=16
. "${here:-}/net.sh"

disks() {
	net_prepare
	echo "--nic tap=tap0,mac=$mac0 --nic tap=tap1,mac=$mac1"
}

during() {
	net_serve
}

inner_nic_backports() {
	modules_load /net
	wait_for 60 nic_of_mac $mac1 || fail "no card has $mac1"
	nic_up eth0 10.77.0.2/24 fd77::2/64
	pings 10.77.0.1 || fail "no ping to the outside"
	outer "pings fd77::2" || fail "no ping from the outside"
	tcp_both_ways 8
	under_load queues_change
	rmmod hv_netvsc || fail "rmmod"
}
