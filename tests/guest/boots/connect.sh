# SPDX-License-Identifier: MIT
# hv_vmbus alone: which version is negotiated
modes="kernel user"
names="connect"
weight=5

inner_connect() {
	dmesg | grep -q 'Hypervisor detected: Microsoft Hyper-V' || fail "Hyper-V not detected"
	insmod /mod/*-hv_vmbus.ko || fail "insmod hv_vmbus"
	dmesg | grep -q 'Vmbus version:5.3' || fail "$(dmesg | grep -i vmbus | tail -n 1)"
	dmesg | grep 'Vmbus version'
}
