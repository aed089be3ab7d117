/* SPDX-License-Identifier: MIT */
/* The two SynIC modes share everything but how MSRs and hypercalls arrive and how
 * an interrupt is raised: struct mode.
 *
 * Locks, in this order: kvm->lock (the server, the view), vp->lock (one VP's
 * registers and its two pages). Serving threads take vp->lock only. */
#ifndef VMBUS_KVM_INTERNAL_H
#define VMBUS_KVM_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include <linux/kvm.h>

#include <vmbus/kvm.h>
#include <vmbus/synic.h>

#include "hv.h"

struct vp {
	pthread_mutex_t lock;
	atomic_bool added; /* the rest is there: others may be running already */
	int fd; /* KVM's vCPU */
	uint32_t apic_id;

	/* SynIC registers. KERNEL: the last KVM told us; sint[] is not known there. */
	uint64_t scontrol, siefp, simp;
	uint64_t sint[VMBUS_SINT_COUNT];
	uint64_t assist;
	/* Of VMBUS_SINT in the two pages, NULL while the page is off or outside memory */
	struct vmbus_synic_message *slot;
	struct vmbus_synic_event_flags *slice;

	/* KERNEL: eventfds that raise VMBUS_SINT, and that tell of EOM */
	int irqfd, eomfd;
	bool eom_awaited; /* eomfd is watched */
};

struct doorbell {
	uint32_t connection_id;
	int fd;
};

struct vmbus_kvm;

struct mode {
	int (*start)(struct vmbus_kvm *kvm, struct vmbus_error *err);
	int (*add_vcpu)(struct vmbus_kvm *kvm, uint32_t vp);
	int (*handle_exit)(struct vmbus_kvm *kvm, uint32_t vp, struct kvm_run *run);
	/* VMBUS_SINT of a VP whose SINT is not masked. Any thread, vp->lock held. */
	void (*raise)(struct vmbus_kvm *kvm, struct vp *vp);
	/* A message waits for the VP's slot; none waits any more. kvm->lock held. */
	void (*await_eom)(struct vmbus_kvm *kvm, struct vp *vp, bool wait);
	int (*doorbell)(struct vmbus_kvm *kvm, const struct doorbell *bell, bool add);
	int (*reset)(struct vmbus_kvm *kvm, struct vp *vp);
	void (*stop)(struct vmbus_kvm *kvm);
};
extern const struct mode vmbus_kvm_kernel_mode, vmbus_kvm_user_mode;

struct vmbus_kvm {
	struct vmbus_kvm_config config;
	enum vmbus_kvm_mode which;
	const struct mode *mode;
	pthread_mutex_t lock;
	struct vmbus_server *server;
	struct vmbus_mem *mem;
	struct vmbus_view *view; /* the pages in struct vp lie in it. kvm->lock */
	struct doorbell *doorbells; /* open channels. kvm->lock */
	unsigned int doorbell_count, doorbell_room;
	int epoll_fd, wake_fd;
	uint32_t hv_eax3, hv_edx3, hv_eax4; /* CPUID, of the mode */

	/* USER: partition-wide registers. kvm->lock */
	uint64_t guest_os_id, hypercall, reference_tsc, tsc_invariant;
	uint64_t crash[HV_CRASH_PARAMETERS];
	uint64_t epoch_ns; /* of the reference counter */

	struct {
		_Atomic uint64_t exits_msr, exits_hypercall, exits_synic, posts, signals_in;
		_Atomic uint64_t messages, flags, interrupts, undelivered;
	} stats;

	uint32_t vp_count;
	struct vp vps[];
};

static inline void count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* kvm.c: everything but the mode; the tests start here, with a mode of their own. */
int vmbus_kvm_init(const struct vmbus_kvm_config *config, const struct mode *mode,
		   struct vmbus_kvm **kvm);
/* The VP whose index is @vp, NULL if it was not added. */
struct vp *vmbus_kvm_vp(struct vmbus_kvm *kvm, uint32_t vp);

/* KVM_GET_MSRS or KVM_SET_MSRS of up to VCPU_MSRS_MAX entries. Returns 0 or -errno. */
#define VCPU_MSRS_MAX (HV_CRASH_PARAMETERS + 1)
int vmbus_kvm_vcpu_msrs(int fd, unsigned long request, struct kvm_msr_entry *entries, uint32_t count);

/* clock.c */
uint64_t vmbus_kvm_clock_ns(void);
uint64_t vmbus_kvm_reference_count(const struct vmbus_kvm *kvm);
bool vmbus_kvm_tsc_frequency(const struct vp *vp, uint64_t *hz);
/* Fills the page of MSR value @reg; false if it is outside memory. kvm->lock held. */
bool vmbus_kvm_reference_tsc(struct vmbus_kvm *kvm, const struct vp *vp, uint64_t reg);

/* vp.c. vp->lock and kvm->lock held. */
void vmbus_kvm_vp_set_pages(struct vmbus_kvm *kvm, struct vp *vp, uint64_t scontrol, uint64_t siefp,
			    uint64_t simp);
void vmbus_kvm_vp_find_pages(struct vmbus_kvm *kvm, struct vp *vp);
bool vmbus_kvm_vp_page_ok(struct vmbus_kvm *kvm, uint64_t reg);
void vmbus_kvm_vp_raise(struct vmbus_kvm *kvm, struct vp *vp);
void vmbus_kvm_vp_raise_again(struct vmbus_kvm *kvm, struct vp *vp);
/* vp.c: the server's ops. */
int vmbus_kvm_post_message(void *opaque, uint32_t vp, uint8_t sint, const void *message, size_t len);
void vmbus_kvm_signal(void *opaque, uint32_t vp, uint32_t flag, uint64_t interrupt_page);

/* hypercall.c. In a vCPU's thread, no lock held. A hypercall with control word
 * @control and first parameter; returns its status. */
uint16_t vmbus_kvm_hypercall(struct vmbus_kvm *kvm, uint64_t control, uint64_t param);
uint16_t vmbus_kvm_hypercall_post(struct vmbus_kvm *kvm, uint64_t gpa);
uint16_t vmbus_kvm_hypercall_signal(struct vmbus_kvm *kvm, uint64_t event);

/* user.c. Return false for a #GP in the guest. */
bool vmbus_kvm_msr_read(struct vmbus_kvm *kvm, uint32_t vp, uint32_t index, uint64_t *value);
bool vmbus_kvm_msr_write(struct vmbus_kvm *kvm, uint32_t vp, uint32_t index, uint64_t value);

#endif
