/* SPDX-License-Identifier: MIT */
/* --stats-json: what the guest's I/O cost. */
#include <errno.h>
#include <stdio.h>

#include "attach.h"
#include "json.h"

static void channel_add(struct vmbus_channel *channel, void *arg)
{
	struct vmbus_channel_stats *sum = arg, stats;

	vmbus_channel_get_stats(channel, &stats);
	sum->packets_in += stats.packets_in;
	sum->packets_out += stats.packets_out;
	sum->doorbells += stats.doorbells;
	sum->signals += stats.signals;
}

static void bus_write(struct json *json, struct vmbus_kvm *bus)
{
	bool kernel = vmbus_kvm_get_mode(bus) == VMBUS_KVM_KERNEL;
	struct vmbus_channel_stats channels = {0};
	struct vmbus_kvm_stats stats;

	vmbus_kvm_get_stats(bus, &stats);
	vmbus_kvm_lock(bus);
	vmbus_server_each_channel(vmbus_kvm_server(bus), channel_add, &channels);
	vmbus_kvm_unlock(bus);
	json_string(json, "synic", kernel ? "kernel" : "user");
	json_uint(json, "exits_msr", stats.exits_msr);
	json_uint(json, "exits_hypercall", stats.exits_hypercall);
	json_uint(json, "exits_synic", stats.exits_synic);
	json_uint(json, "posts", stats.posts);
	json_uint(json, "signals_in", stats.signals_in);
	json_uint(json, "messages", stats.messages);
	json_uint(json, "interrupts", stats.interrupts);
	json_uint(json, "packets_in", channels.packets_in);
	json_uint(json, "packets_out", channels.packets_out);
	json_uint(json, "doorbells", channels.doorbells);
	json_uint(json, "signals", channels.signals);
}

static void disks_write(struct json *json, const struct vsp_storage *storage)
{
	struct vsp_storage_stats stats;

	vsp_storage_get_stats(storage, &stats);
	json_object(json, "scsi");
	json_uint(json, "reads", stats.reads);
	json_uint(json, "writes", stats.writes);
	json_uint(json, "flushes", stats.flushes);
	json_uint(json, "unmaps", stats.unmaps);
	json_uint(json, "read_bytes", stats.read_bytes);
	json_uint(json, "write_bytes", stats.write_bytes);
	json_uint(json, "errors", stats.errors);
	json_uint(json, "bad_requests", stats.bad_requests);
	json_object_end(json);
}

static void nic_write(struct json *json, const struct nic *nic)
{
	struct vsp_net_stats stats;
	struct vsp_net_state state;

	vsp_net_get_stats(nic->net, &stats);
	vsp_net_get_state(nic->net, &state);
	json_object(json, NULL);
	json_string(json, "tap", nic->tap);
	json_uint(json, "channels", state.channels);
	json_uint(json, "mtu", state.mtu);
	json_uint(json, "tx_frames", stats.tx_frames);
	json_uint(json, "tx_bytes", stats.tx_bytes);
	json_uint(json, "tx_errors", stats.tx_errors);
	json_uint(json, "tx_dropped", stats.tx_dropped);
	json_uint(json, "tx_waits", stats.tx_waits);
	json_uint(json, "rx_frames", stats.rx_frames);
	json_uint(json, "rx_bytes", stats.rx_bytes);
	json_uint(json, "rx_filtered", stats.rx_filtered);
	json_uint(json, "rx_dropped", stats.rx_dropped);
	json_uint(json, "rx_waits", stats.rx_waits);
	json_uint(json, "bad_messages", stats.bad_messages);
	json_object_end(json);
}

static void devices_write(struct json *json, const struct attach *attach)
{
	if (attach->scsi)
		disks_write(json, attach->scsi);
	json_array(json, "nics");
	for (unsigned int i = 0; i < attach->nic_count; i++)
		nic_write(json, &attach->nics[i]);
	json_array_end(json);
}

int attach_stats(struct vm *vm, const char *path)
{
	FILE *out = fopen(path, "w");
	struct json json = json_to(out);
	uint64_t exits = 0;

	if (!out)
		return -errno;
	for (unsigned int i = 0; i < vm->cpus; i++)
		exits += vm->vcpu[i].exits;
	json_object(&json, NULL);
	json_uint(&json, "exits", exits);
	bus_write(&json, vm->attach->bus);
	devices_write(&json, vm->attach);
	json_object_end(&json);
	return fclose(out) ? -errno : 0;
}
