/* SPDX-License-Identifier: MIT */
/* All that minivmm does for libvmbus: make the backend, name the guest's memory, add
 * the vCPUs, hand over exits, serve channels in worker threads. Disks and network cards
 * are offered in attach-disk.c and attach-nic.c. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attach.h"

static _Thread_local struct vmbus_loop *my_loop;

/* -- Workers -------------------------------------------------------------- */

static void *worker_thread(void *arg)
{
	struct worker *worker = arg;
	int err = vmbus_loop_new(NULL, &my_loop, NULL);

	worker->loop = my_loop;
	sem_post(&worker->ready);
	if (!err)
		err = vmbus_loop_run(my_loop);
	vmbus_loop_free(my_loop);
	return NULL;
}

static int workers_start(struct attach *attach, unsigned int count)
{
	while (attach->workers < count) {
		struct worker *worker = &attach->worker[attach->workers];

		sem_init(&worker->ready, 0, 0);
		if (pthread_create(&worker->thread, NULL, worker_thread, worker))
			return -EAGAIN;
		attach->workers++;
		sem_wait(&worker->ready);
		if (!worker->loop)
			return -ENOMEM;
	}
	return 0;
}

static void workers_stop(struct attach *attach)
{
	while (attach->workers) {
		struct worker *worker = &attach->worker[--attach->workers];

		if (worker->loop)
			vmbus_loop_stop(worker->loop);
		pthread_join(worker->thread, NULL);
	}
}

/* Channels go round the workers. */
static void channel_opened(void *opaque, struct vmbus_channel *channel)
{
	struct attach *attach = ((struct vm *)opaque)->attach;
	struct worker *worker = &attach->worker[attach->next_worker++ % attach->workers];

	if (vmbus_loop_attach(worker->loop, channel))
		fprintf(stderr, "minivmm: channel %u is not served\n", vmbus_channel_id(channel));
}

struct vmbus_loop *attach_loop_of(void *opaque, struct vmbus_channel *channel)
{
	(void)opaque, (void)channel;
	return my_loop;
}

/* -- Bus ------------------------------------------------------------------ */

static void dispatch_ready(struct vmbus_watch *watch, uint32_t events)
{
	struct attach *attach =
		(struct attach *)((char *)watch - offsetof(struct attach, dispatch));

	(void)events;
	vmbus_kvm_dispatch(attach->bus);
}

static void guest_reset(void *opaque)
{
	vm_request(opaque, VM_RESET);
}

static void guest_crash(void *opaque, const uint64_t param[5], uint64_t control)
{
	(void)opaque, (void)control;
	fprintf(stderr, "minivmm: the guest crashed: %#llx %#llx %#llx %#llx %#llx\n",
		(unsigned long long)param[0], (unsigned long long)param[1],
		(unsigned long long)param[2], (unsigned long long)param[3],
		(unsigned long long)param[4]);
}

static void guest_fault(void *opaque, enum vmbus_fault fault, uint32_t channel_id, const char *text)
{
	(void)opaque;
	fprintf(stderr, "minivmm: guest's fault, channel %u: %s: %s\n", channel_id,
		vmbus_fault_text(fault), text);
}

static int memory_add(struct vm *vm, uint64_t gpa, uint64_t offset, uint64_t len)
{
	struct vmbus_region region = VMBUS_REGION_INIT;

	region.gpa = gpa;
	region.len = len;
	region.host = vm->mem + offset;
	region.fd = vm->mem_fd;
	region.fd_offset = offset;
	return len ? vmbus_kvm_add_memory(vm->attach->bus, &region) : 0;
}

static int bus_new(struct vm *vm, const char *synic)
{
	static const char *const modes[] = {"auto", "kernel", "user"};
	struct vmbus_kvm_config config = VMBUS_KVM_CONFIG_INIT;
	uint64_t low = vm->ram < LOW_RAM_MAX ? vm->ram : LOW_RAM_MAX;
	struct vmbus_error why;
	unsigned int mode = 0;
	int err;

	while (mode < 3 && strcmp(synic, modes[mode]))
		mode++;
	config.mode = mode < 3 ? (enum vmbus_kvm_mode)mode : VMBUS_KVM_AUTO;
	config.vm_fd = vm->fd;
	config.server.vp_count = vm->cpus;
	config.opaque = vm;
	config.channel_opened = channel_opened;
	config.crash = guest_crash;
	config.reset = guest_reset;
	config.log = guest_fault;
	err = vmbus_kvm_new(&config, &vm->attach->bus, &why);
	if (err) {
		fprintf(stderr, "minivmm: %s\n", why.text);
		return err;
	}
	err = memory_add(vm, 0, 0, low);
	return err ? err : memory_add(vm, HIGH_RAM, low, vm->ram - low);
}

int attach_new(struct vm *vm, const struct attach_options *options)
{
	struct attach *attach;
	unsigned int i;
	int err;

	attach = calloc(1, sizeof(*attach) + options->threads * sizeof(attach->worker[0]));
	if (!attach)
		return -ENOMEM;
	vm->attach = attach;
	err = bus_new(vm, options->synic);
	if (!err)
		err = workers_start(attach, options->threads);
	for (i = 0; i < options->disk_count && !err; i++)
		err = attach_add_disk(vm, &options->disks[i]);
	for (i = 0; i < options->nic_count && !err; i++)
		err = attach_add_nic(vm, &options->nics[i]);
	if (err)
		return err;
	attach->dispatch.fd = vmbus_kvm_fd(attach->bus);
	attach->dispatch.events = POLLIN;
	attach->dispatch.ready = dispatch_ready;
	return vmbus_loop_watch(vm->loop, &attach->dispatch);
}

int attach_cpuid(struct vm *vm, struct kvm_cpuid2 *cpuid, unsigned int capacity)
{
	return vmbus_kvm_cpuid(vm->attach->bus, cpuid, capacity);
}

int attach_vcpu(struct vcpu *vcpu)
{
	return vmbus_kvm_add_vcpu(vcpu->vm->attach->bus, vcpu->index, vcpu->fd, vcpu->index);
}

int attach_exit(struct vcpu *vcpu)
{
	return vmbus_kvm_handle_exit(vcpu->vm->attach->bus, vcpu->index, vcpu->run);
}

size_t attach_ssdt(uint8_t *buf, size_t room)
{
	return room < VMBUS_KVM_SSDT_MAX ? 0 : vmbus_kvm_ssdt(MMIO_BASE, MMIO_LEN, buf);
}

/* The workers finish what runs on the guest's memory; then the bus is empty. */
static void wait_reset(struct attach *attach)
{
	struct pollfd pollfd = {.fd = vmbus_kvm_fd(attach->bus), .events = POLLIN};

	while (vmbus_kvm_resetting(attach->bus)) {
		poll(&pollfd, 1, -1);
		vmbus_kvm_dispatch(attach->bus);
	}
}

int attach_reset(struct vm *vm)
{
	int err = vmbus_kvm_reset(vm->attach->bus);

	if (!err)
		wait_reset(vm->attach);
	return err;
}

void attach_free(struct vm *vm)
{
	struct attach *attach = vm->attach;

	if (!vmbus_kvm_shutdown(attach->bus))
		wait_reset(attach);
	vmbus_loop_unwatch(vm->loop, &attach->dispatch, NULL);
	vmbus_kvm_free(attach->bus);
	workers_stop(attach);
	free(attach);
}
