/* SPDX-License-Identifier: MIT */
/* Network cards for the guest, each on a tap device: a queue and a channel a vCPU. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "attach.h"

static int tap_open(struct vm *vm, const struct nic_option *option, struct vsp_nic **nic)
{
	struct vsp_nic_tap_config config = VSP_NIC_TAP_CONFIG_INIT;
	struct vmbus_error why;
	int err;

	config.name = option->tap;
	config.queues = vm->cpus;
	config.loop = vm->loop;
	err = vsp_nic_tap(&config, nic, &why);
	if (err)
		fprintf(stderr, "minivmm: %s\n", why.text);
	return err;
}

int attach_add_nic(struct vm *vm, const struct nic_option *option)
{
	struct vsp_net_config config = VSP_NET_CONFIG_INIT;
	struct attach *attach = vm->attach;
	struct nic *nic = &attach->nics[attach->nic_count];
	int err;

	if (attach->nic_count == MAX_NICS)
		return -ENOSPC;
	err = tap_open(vm, option, &config.nic);
	if (err)
		return err;
	config.server = vmbus_kvm_server(attach->bus);
	config.loop_of = attach_loop_of;
	config.max_channels = vm->cpus;
	config.instance_id = (struct vmbus_guid)VMBUS_GUID(0x96d1a9c4, 0x3c5f, 0x4c46, 0x8a, 0x5d,
							   0x5f, 0x6b, 0x3c, 0x2e, 0x1d, 0x00);
	config.instance_id.b[15] = (uint8_t)attach->nic_count;
	memcpy(config.mac, option->mac, sizeof(config.mac));
	vmbus_kvm_lock(attach->bus);
	err = vsp_net_new(&config, &nic->net);
	vmbus_kvm_unlock(attach->bus);
	if (err) {
		config.nic->ops->close(config.nic);
		return err;
	}
	nic->tap = option->tap;
	attach->nic_count++;
	return 0;
}
