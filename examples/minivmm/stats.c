/* SPDX-License-Identifier: MIT */
/* --stats-json: what the guest's I/O cost. */
#include <errno.h>
#include <stdio.h>

#include "attach.h"

static void channel_add(struct vmbus_channel *channel, void *arg)
{
	struct vmbus_channel_stats *sum = arg, stats;

	vmbus_channel_get_stats(channel, &stats);
	sum->packets_in += stats.packets_in;
	sum->packets_out += stats.packets_out;
	sum->doorbells += stats.doorbells;
	sum->signals += stats.signals;
}

static void field(FILE *out, const char *name, uint64_t value)
{
	fprintf(out, "  \"%s\": %llu,\n", name, (unsigned long long)value);
}

static void bus_write(FILE *out, struct vmbus_kvm *bus)
{
	struct vmbus_channel_stats channels = {0};
	struct vmbus_kvm_stats stats;

	vmbus_kvm_get_stats(bus, &stats);
	field(out, "exits_msr", stats.exits_msr);
	field(out, "exits_hypercall", stats.exits_hypercall);
	field(out, "exits_synic", stats.exits_synic);
	field(out, "posts", stats.posts);
	field(out, "signals_in", stats.signals_in);
	field(out, "messages", stats.messages);
	field(out, "interrupts", stats.interrupts);
	vmbus_kvm_lock(bus);
	vmbus_server_each_channel(vmbus_kvm_server(bus), channel_add, &channels);
	vmbus_kvm_unlock(bus);
	field(out, "packets_in", channels.packets_in);
	field(out, "packets_out", channels.packets_out);
	field(out, "doorbells", channels.doorbells);
	field(out, "signals", channels.signals);
}

static void disks_write(FILE *out, const struct vsp_storage *storage)
{
	struct vsp_storage_stats stats;

	vsp_storage_get_stats(storage, &stats);
	field(out, "reads", stats.reads);
	field(out, "writes", stats.writes);
	field(out, "flushes", stats.flushes);
	field(out, "unmaps", stats.unmaps);
	field(out, "read_bytes", stats.read_bytes);
	field(out, "write_bytes", stats.write_bytes);
	field(out, "errors", stats.errors);
	field(out, "bad_requests", stats.bad_requests);
}

int attach_stats(struct vm *vm, const char *path)
{
	struct attach *attach = vm->attach;
	FILE *out = fopen(path, "w");
	uint64_t exits = 0;
	unsigned int i;

	if (!out)
		return -errno;
	for (i = 0; i < vm->cpus; i++)
		exits += vm->vcpu[i].exits;
	fputs("{\n", out);
	field(out, "exits", exits);
	bus_write(out, attach->bus);
	if (attach->scsi)
		disks_write(out, attach->scsi);
	fprintf(out, "  \"synic\": \"%s\"\n}\n",
		vmbus_kvm_get_mode(attach->bus) == VMBUS_KVM_KERNEL ? "kernel" : "user");
	return fclose(out) ? -errno : 0;
}
