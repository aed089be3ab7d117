/* SPDX-License-Identifier: MIT */
/* KVM: memory, vCPUs and their threads, pause and reset. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vm.h"

#define KICK SIGUSR1
#define CPUID_MAX 160
/* Intel only: three pages KVM takes for itself, out of the guest's sight */
#define KVM_TSS 0xfffbd000ul

/* Everything of a vCPU that a reset has to put back. */
struct vcpu_state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_fpu fpu;
	struct kvm_mp_state mp;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	struct kvm_debugregs debug;
	struct kvm_xcrs xcrs;
};

static int fail(const char *what)
{
	int err = -errno;

	fprintf(stderr, "minivmm: %s: %s\n", what, strerror(-err));
	return err;
}

/* -- Memory --------------------------------------------------------------- */

static uint64_t low_ram(const struct vm *vm)
{
	return vm->ram < LOW_RAM_MAX ? vm->ram : LOW_RAM_MAX;
}

void *vm_ram(struct vm *vm, uint64_t gpa, uint64_t len)
{
	uint64_t low = low_ram(vm), high = vm->ram - low;

	if (gpa < low && len <= low - gpa)
		return vm->mem + gpa;
	if (gpa >= HIGH_RAM && gpa - HIGH_RAM < high && len <= high - (gpa - HIGH_RAM))
		return vm->mem + low + (gpa - HIGH_RAM);
	return NULL;
}

static int slot_set(struct vm *vm, uint32_t slot, uint64_t gpa, uint64_t offset, uint64_t len)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot, .guest_phys_addr = gpa, .memory_size = len,
		.userspace_addr = (uintptr_t)vm->mem + offset,
	};

	if (len && ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return fail("KVM_SET_USER_MEMORY_REGION");
	return 0;
}

static int memory_init(struct vm *vm)
{
	uint64_t low = low_ram(vm);
	int err;

	vm->mem_fd = memfd_create("guest", MFD_CLOEXEC);
	if (vm->mem_fd < 0 || ftruncate(vm->mem_fd, (off_t)vm->ram) < 0)
		return fail("guest memory");
	vm->mem = mmap(NULL, vm->ram, PROT_READ | PROT_WRITE, MAP_SHARED, vm->mem_fd, 0);
	if (vm->mem == MAP_FAILED)
		return fail("guest memory");
	err = slot_set(vm, 0, 0, 0, low);
	return err ? err : slot_set(vm, 1, HIGH_RAM, low, vm->ram - low);
}

/* -- The VM --------------------------------------------------------------- */

static void kick_handler(int signal)
{
	(void)signal; /* only has to interrupt KVM_RUN */
}

static int irqchip_init(struct vm *vm)
{
	struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};

	ioctl(vm->fd, KVM_SET_TSS_ADDR, KVM_TSS);
	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return fail("KVM_CREATE_IRQCHIP");
	if (ioctl(vm->fd, KVM_CREATE_PIT2, &pit) < 0)
		return fail("KVM_CREATE_PIT2");
	vm->ioapic.chip_id = KVM_IRQCHIP_IOAPIC;
	if (ioctl(vm->fd, KVM_GET_IRQCHIP, &vm->ioapic) < 0)
		return fail("KVM_GET_IRQCHIP");
	return 0;
}

int vm_init(struct vm *vm, uint64_t ram_mib, unsigned int cpus)
{
	struct sigaction action = {.sa_handler = kick_handler};
	int err;

	memset(vm, 0, sizeof(*vm));
	vm->ram = ram_mib << 20;
	vm->cpus = cpus;
	vm->paused = true;
	pthread_mutex_init(&vm->lock, NULL);
	pthread_cond_init(&vm->changed, NULL);
	sigaction(KICK, &action, NULL);
	vm->kvm_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm_fd < 0)
		return fail("/dev/kvm");
	vm->fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		return fail("KVM_CREATE_VM");
	vm->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vm->event_fd < 0)
		return fail("eventfd");
	err = irqchip_init(vm);
	return err ? err : memory_init(vm);
}

void vm_fini(struct vm *vm)
{
	unsigned int i;

	for (i = 0; i < vm->cpus; i++) {
		if (vm->vcpu[i].fd > 0)
			close(vm->vcpu[i].fd);
		free(vm->vcpu[i].power_on);
	}
	munmap(vm->mem, vm->ram);
	close(vm->mem_fd);
	close(vm->event_fd);
	close(vm->fd);
	close(vm->kvm_fd);
}

void vm_irq(struct vm *vm, uint32_t irq, bool level)
{
	struct kvm_irq_level line = {.irq = irq, .level = level};

	ioctl(vm->fd, KVM_IRQ_LINE, &line);
}

/* -- vCPUs ---------------------------------------------------------------- */

/* Leaves that carry the APIC id */
static void cpuid_place(struct kvm_cpuid2 *cpuid, uint32_t apic_id, unsigned int cpus)
{
	uint32_t i;

	for (i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *leaf = &cpuid->entries[i];

		switch (leaf->function) {
		case 1:
			leaf->ebx = (leaf->ebx & 0xffff) | cpus << 16 | apic_id << 24;
			break;
		case 0xb:
		case 0x1f:
			leaf->edx = apic_id;
			break;
		case 0x8000001e:
			leaf->eax = apic_id;
			break;
		default:
			break;
		}
	}
}

static int cpuid_set(struct vcpu *vcpu)
{
	struct kvm_cpuid2 *cpuid;
	int err;

	cpuid = calloc(1, sizeof(*cpuid) + CPUID_MAX * sizeof(cpuid->entries[0]));
	if (!cpuid)
		return -ENOMEM;
	cpuid->nent = CPUID_MAX;
	err = ioctl(vcpu->vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, cpuid) < 0 ?
		      fail("KVM_GET_SUPPORTED_CPUID") : 0;
	if (!err) {
		cpuid_place(cpuid, vcpu->index, vcpu->vm->cpus);
		err = attach_cpuid(vcpu->vm, cpuid, CPUID_MAX);
	}
	if (!err && ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid) < 0)
		err = fail("KVM_SET_CPUID2");
	free(cpuid);
	return err;
}

static int state_get(struct vcpu *vcpu, struct vcpu_state *state)
{
	int fd = vcpu->fd;

	if (ioctl(fd, KVM_GET_REGS, &state->regs) < 0 ||
	    ioctl(fd, KVM_GET_SREGS, &state->sregs) < 0 ||
	    ioctl(fd, KVM_GET_FPU, &state->fpu) < 0 ||
	    ioctl(fd, KVM_GET_MP_STATE, &state->mp) < 0 ||
	    ioctl(fd, KVM_GET_LAPIC, &state->lapic) < 0 ||
	    ioctl(fd, KVM_GET_VCPU_EVENTS, &state->events) < 0 ||
	    ioctl(fd, KVM_GET_DEBUGREGS, &state->debug) < 0)
		return fail("vCPU state");
	ioctl(fd, KVM_GET_XCRS, &state->xcrs); /* not with every CPU */
	return 0;
}

static int state_set(struct vcpu *vcpu, struct vcpu_state *state)
{
	int fd = vcpu->fd;

	if (ioctl(fd, KVM_SET_MP_STATE, &state->mp) < 0 ||
	    ioctl(fd, KVM_SET_SREGS, &state->sregs) < 0 ||
	    ioctl(fd, KVM_SET_REGS, &state->regs) < 0 ||
	    ioctl(fd, KVM_SET_FPU, &state->fpu) < 0 ||
	    ioctl(fd, KVM_SET_LAPIC, &state->lapic) < 0 ||
	    ioctl(fd, KVM_SET_VCPU_EVENTS, &state->events) < 0 ||
	    ioctl(fd, KVM_SET_DEBUGREGS, &state->debug) < 0)
		return fail("vCPU state");
	if (state->xcrs.nr_xcrs)
		ioctl(fd, KVM_SET_XCRS, &state->xcrs);
	return 0;
}

static int vcpu_make(struct vm *vm, uint32_t index)
{
	struct vcpu *vcpu = &vm->vcpu[index];
	int err, size = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);

	vcpu->vm = vm;
	vcpu->index = index;
	vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, index);
	if (vcpu->fd < 0 || size < 0)
		return fail("KVM_CREATE_VCPU");
	vcpu->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		return fail("kvm_run");
	vcpu->power_on = calloc(1, sizeof(*vcpu->power_on));
	if (!vcpu->power_on)
		return -ENOMEM;
	err = cpuid_set(vcpu);
	if (!err)
		err = attach_vcpu(vcpu);
	return err ? err : state_get(vcpu, vcpu->power_on);
}

int vm_make_vcpus(struct vm *vm)
{
	uint32_t i;
	int err = 0;

	for (i = 0; i < vm->cpus && !err; i++)
		err = vcpu_make(vm, i);
	return err;
}

int vm_restore(struct vm *vm)
{
	unsigned int i;
	int err = 0;

	for (i = 0; i < vm->cpus && !err; i++)
		err = state_set(&vm->vcpu[i], vm->vcpu[i].power_on);
	if (!err && ioctl(vm->fd, KVM_SET_IRQCHIP, &vm->ioapic) < 0)
		err = fail("KVM_SET_IRQCHIP");
	return err;
}

/* -- Threads -------------------------------------------------------------- */

static int exit_handle(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	int ret = attach_exit(vcpu);

	if (ret)
		return ret < 0 ? ret : 0;
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		ports_access(vcpu->vm, run);
		return 0;
	case KVM_EXIT_MMIO: /* nothing is there */
		if (!run->mmio.is_write)
			memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
		return 0;
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		run->msr.error = 1;
		return 0;
	case KVM_EXIT_SHUTDOWN: /* triple fault: how old kernels reboot */
		vm_request(vcpu->vm, VM_RESET);
		return 0;
	case KVM_EXIT_HLT:
	case KVM_EXIT_INTR:
		return 0;
	default:
		fprintf(stderr, "minivmm: vCPU %u: exit reason %u\n", vcpu->index, run->exit_reason);
		return -EIO;
	}
}

/* Returns false when the VM ends. */
static bool vcpu_park(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	bool go_on;

	pthread_mutex_lock(&vm->lock);
	if (vm->paused) {
		vm->parked++;
		pthread_cond_broadcast(&vm->changed);
		while (vm->paused && vm->event < VM_POWER_OFF)
			pthread_cond_wait(&vm->changed, &vm->lock);
		vm->parked--;
	}
	go_on = vm->event < VM_POWER_OFF;
	vcpu->run->immediate_exit = 0;
	pthread_mutex_unlock(&vm->lock);
	return go_on;
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *vcpu = arg;

	while (vcpu_park(vcpu)) {
		if (ioctl(vcpu->fd, KVM_RUN, 0) < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			fail("KVM_RUN");
			vm_request(vcpu->vm, VM_FAILED);
			continue;
		}
		vcpu->exits++;
		if (exit_handle(vcpu) < 0)
			vm_request(vcpu->vm, VM_FAILED);
	}
	return NULL;
}

static void vcpus_kick(struct vm *vm)
{
	unsigned int i;

	for (i = 0; i < vm->cpus; i++) {
		vm->vcpu[i].run->immediate_exit = 1;
		if (vm->vcpu[i].started)
			pthread_kill(vm->vcpu[i].thread, KICK);
	}
}

void vm_request(struct vm *vm, enum vm_event event)
{
	uint64_t one = 1;

	pthread_mutex_lock(&vm->lock);
	if (event > vm->event)
		vm->event = event;
	vm->paused = true;
	vcpus_kick(vm);
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
	(void)!write(vm->event_fd, &one, sizeof(one));
}

enum vm_event vm_pause(struct vm *vm)
{
	enum vm_event event;

	pthread_mutex_lock(&vm->lock);
	while (vm->parked < vm->cpus && vm->event < VM_POWER_OFF)
		pthread_cond_wait(&vm->changed, &vm->lock);
	event = vm->event;
	pthread_mutex_unlock(&vm->lock);
	return event;
}

void vm_resume(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	if (vm->event == VM_RESET)
		vm->event = VM_NONE;
	vm->paused = false;
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
}

int vm_run(struct vm *vm)
{
	unsigned int i;
	int err;

	for (i = 0; i < vm->cpus; i++) {
		err = pthread_create(&vm->vcpu[i].thread, NULL, vcpu_thread, &vm->vcpu[i]);
		if (err)
			return -err;
		vm->vcpu[i].started = true;
	}
	vm_resume(vm);
	return 0;
}

void vm_stop(struct vm *vm)
{
	unsigned int i;

	vm_request(vm, VM_POWER_OFF);
	for (i = 0; i < vm->cpus; i++) {
		if (vm->vcpu[i].started)
			pthread_join(vm->vcpu[i].thread, NULL);
	}
}
