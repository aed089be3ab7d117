/* SPDX-License-Identifier: MIT */
/* VMBus for a VMM that runs its guest with KVM. The VMM owns the VM, the vCPU
 * threads and guest memory; this backend owns the guest's SynIC, its hypercalls
 * and the VMBus server.
 *
 *   vmbus_kvm_new()                 after KVM_CREATE_VM and the irqchip
 *   vmbus_kvm_add_memory()          each region of guest RAM
 *   for each vCPU: vmbus_kvm_cpuid(), KVM_SET_CPUID2, vmbus_kvm_add_vcpu()
 *   vmbus_kvm_ssdt()                appended to the VMM's ACPI tables
 *   offer devices (vsp_storage_new(), ...) under vmbus_kvm_lock()
 *   after each KVM_RUN: vmbus_kvm_handle_exit()
 *   whenever vmbus_kvm_fd() is readable: vmbus_kvm_dispatch()
 *
 * Threads: the server (vmbus/server.h) lives behind one lock of this backend.
 * vmbus_kvm_handle_exit() and vmbus_kvm_dispatch() take it themselves; whoever
 * calls the server or a device's control functions directly holds it by
 * vmbus_kvm_lock(). The data path takes no part in it. */
#ifndef VMBUS_KVM_H
#define VMBUS_KVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmbus/fault.h>
#include <vmbus/memory.h>
#include <vmbus/server.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kvm_cpuid2; /* linux/kvm.h */
struct kvm_irq_routing_entry;
struct kvm_run;

struct vmbus_kvm;

enum vmbus_kvm_mode {
	VMBUS_KVM_AUTO, /* kernel if it can, else user */

	/* KVM's SynIC (KVM_CAP_HYPERV_SYNIC2, KVM_CAP_HYPERV_EVENTFD): a guest's
	 * signal goes to the channel's doorbell without leaving the kernel. */
	VMBUS_KVM_KERNEL,

	/* A SynIC of our own, where KVM has none: Hyper-V's MSRs exit by a filter
	 * (KVM_CAP_X86_MSR_FILTER: the VM's one filter is ours), hypercalls are I/O
	 * on two ports, interrupts are MSIs. No auto-EOI: the CPUID hint says so.
	 * 64-bit guests only. */
	VMBUS_KVM_USER,
};

struct vmbus_kvm_config {
	size_t size; /* sizeof this struct */
	int vm_fd;   /* with an in-kernel local APIC. Borrowed */
	enum vmbus_kvm_mode mode;

	/* For the server: limits, versions, vp_count. ops, opaque and mem are set here. */
	struct vmbus_server_config server;

	/* USER: two free I/O ports, this one and the next. None that an
	 * in-kernel device of KVM's answers. */
	uint8_t port;

	/* KERNEL: first of vp_count GSIs that nobody else uses. */
	uint32_t gsi_base;

	/* What these calls tell the VMM. All may be NULL. */
	void *opaque;

	/* KERNEL: the VM's GSI routing table shall contain these entries besides the
	 * VMM's own: KVM replaces the whole table at a time. Returns 0 or -errno.
	 * NULL: the backend sets the table itself, KVM's default routes for a full
	 * irqchip and these. From vmbus_kvm_add_vcpu(). */
	int (*set_routes)(void *opaque, const struct kvm_irq_routing_entry *entries, unsigned int count);

	/* @channel was opened: have a thread serve it, as in server.h
	 * (vmbus_loop_attach()). Must not be NULL. Lock held. */
	void (*channel_opened)(void *opaque, struct vmbus_channel *channel);

	/* The guest reported a crash: five values of its own, and the control word
	 * (TLFS 3.9). In the vCPU's thread. */
	void (*crash)(void *opaque, const uint64_t param[5], uint64_t control);

	/* The guest asked for a reset by MSR. In the vCPU's thread, from
	 * vmbus_kvm_handle_exit(): only take note. */
	void (*reset)(void *opaque);

	/* As vmbus_server_ops.log. */
	void (*log)(void *opaque, enum vmbus_fault fault, uint32_t channel_id, const char *text);
};
#define VMBUS_KVM_CONFIG_INIT                                                            \
	{ .size = sizeof(struct vmbus_kvm_config), .vm_fd = -1,                          \
	  .server = VMBUS_SERVER_CONFIG_INIT, .port = 0xe6, .gsi_base = 32 }

/* Returns 0; -EINVAL; -ENOTSUP: this KVM cannot do the mode (@err says what is
 * missing); -ENOMEM; or the errno of a KVM call. */
VMBUS_API int vmbus_kvm_new(const struct vmbus_kvm_config *config, struct vmbus_kvm **kvm,
			    struct vmbus_error *err) VMBUS_MUST_CHECK;

/* After vmbus_kvm_shutdown() is over; no vCPU may run. The server and what it
 * still offers are freed. NULL is fine. */
VMBUS_API void vmbus_kvm_free(struct vmbus_kvm *kvm);

/* KERNEL or USER: what AUTO chose. Any thread. */
VMBUS_API enum vmbus_kvm_mode vmbus_kvm_get_mode(const struct vmbus_kvm *kvm);

/* -- Setting up ----------------------------------------------------------- */

/* Guest RAM, as vmbus_mem_add() and vmbus_mem_remove() say. One thread. */
VMBUS_API int vmbus_kvm_add_memory(struct vmbus_kvm *kvm, const struct vmbus_region *region)
	VMBUS_MUST_CHECK;
VMBUS_API int vmbus_kvm_remove_memory(struct vmbus_kvm *kvm, uint64_t gpa, void (*done)(void *opaque),
				      void *opaque) VMBUS_MUST_CHECK;

/* Turns the VMM's list for KVM_SET_CPUID2, which has room for @capacity entries, into
 * that of a Hyper-V guest: leaves 0x40000000 and up are replaced, the hypervisor
 * bit of leaf 1 is set. Returns 0; -ENOSPC: no room (at most 7 are added), nothing has
 * changed. Any thread. */
VMBUS_API int vmbus_kvm_cpuid(const struct vmbus_kvm *kvm, struct kvm_cpuid2 *cpuid,
			      unsigned int capacity) VMBUS_MUST_CHECK;

/* Adds the vCPU with KVM's file descriptor @vcpu_fd (borrowed) as VP @vp (0 to
 * vp_count - 1, each once). After its KVM_SET_CPUID2 and before its first
 * KVM_RUN; one at a time, while others may be running. Returns 0; -EINVAL (no such VP);
 * -EEXIST (added already); -ENOMEM; or the errno of a KVM call. */
VMBUS_API int vmbus_kvm_add_vcpu(struct vmbus_kvm *kvm, uint32_t vp, int vcpu_fd, uint32_t apic_id)
	VMBUS_MUST_CHECK;

/* Bytes of vmbus_kvm_ssdt(), at most. */
#define VMBUS_KVM_SSDT_MAX 160u

/* Writes an ACPI SSDT with the VMBus device into @buf; @mmio_base and @mmio_len: a window
 * of free guest address space for devices that need one (video), or 0, 0. Returns
 * its length. Any thread. */
VMBUS_API size_t vmbus_kvm_ssdt(uint64_t mmio_base, uint64_t mmio_len, uint8_t buf[VMBUS_KVM_SSDT_MAX]);

/* -- Running -------------------------------------------------------------- */

enum vmbus_kvm_exit {
	VMBUS_KVM_NOT_MINE = 0,
	VMBUS_KVM_HANDLED = 1, /* enter the guest again */
};

/* Looks at an exit of VP @vp, in its thread. Returns one of the above, or -errno:
 * a KVM call failed and the vCPU cannot go on. */
VMBUS_API int vmbus_kvm_handle_exit(struct vmbus_kvm *kvm, uint32_t vp, struct kvm_run *run)
	VMBUS_MUST_CHECK;

/* An epoll descriptor, readable when vmbus_kvm_dispatch() has work. Borrowed. */
VMBUS_API int vmbus_kvm_fd(const struct vmbus_kvm *kvm);
VMBUS_API void vmbus_kvm_dispatch(struct vmbus_kvm *kvm);

/* The server, to be called with the lock held. */
VMBUS_API struct vmbus_server *vmbus_kvm_server(struct vmbus_kvm *kvm);
VMBUS_API void vmbus_kvm_lock(struct vmbus_kvm *kvm);
VMBUS_API void vmbus_kvm_unlock(struct vmbus_kvm *kvm);

/* The VM is being reset, no vCPU runs: SynIC to its reset state, every channel
 * closed. Over when vmbus_kvm_resetting(), asked after each dispatch, says false;
 * until then no vCPU may run. Returns 0, or -errno of a KVM call. */
VMBUS_API int vmbus_kvm_reset(struct vmbus_kvm *kvm) VMBUS_MUST_CHECK;
VMBUS_API bool vmbus_kvm_resetting(struct vmbus_kvm *kvm);

/* As vmbus_kvm_reset(), for good. */
VMBUS_API int vmbus_kvm_shutdown(struct vmbus_kvm *kvm) VMBUS_MUST_CHECK;

struct vmbus_kvm_stats {
	uint64_t exits_msr, exits_hypercall, exits_synic; /* to user space, handled here */
	uint64_t posts;       /* HvPostMessage */
	uint64_t signals_in;  /* HvSignalEvent that needed an exit */
	uint64_t messages;    /* put into a slot */
	uint64_t flags;       /* event flags set */
	uint64_t interrupts;  /* raised, for messages and flags */
	uint64_t undelivered; /* flags for a VP whose SynIC is off */
};
VMBUS_API void vmbus_kvm_get_stats(const struct vmbus_kvm *kvm, struct vmbus_kvm_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
