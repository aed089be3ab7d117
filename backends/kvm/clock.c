/* SPDX-License-Identifier: MIT */
/* The partition's reference time, units of 100 ns, for the user mode: the counter
 * MSR, and the page from which a guest computes it out of its own TSC without an
 * exit (TLFS 12.6). */
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "internal.h"

#define MSR_IA32_TSC 0x10u
#define UNITS_PER_SECOND 10000000u

struct reference_tsc_page {
	uint32_t sequence; /* 0: not valid, read the MSR */
	uint32_t reserved;
	uint64_t scale;
	int64_t offset; /* time = (tsc * scale >> 64) + offset */
};

uint64_t vmbus_kvm_clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t vmbus_kvm_reference_count(const struct vmbus_kvm *kvm)
{
	return (vmbus_kvm_clock_ns() - kvm->epoch_ns) / 100;
}

bool vmbus_kvm_tsc_frequency(const struct vp *vp, uint64_t *hz)
{
	int khz = ioctl(vp->fd, KVM_GET_TSC_KHZ, 0);

	*hz = (uint64_t)(khz > 0 ? khz : 0) * 1000;
	return khz > 0;
}

static bool guest_tsc(const struct vp *vp, uint64_t *tsc)
{
	struct kvm_msr_entry entry = {.index = MSR_IA32_TSC};

	*tsc = 0;
	if (vmbus_kvm_vcpu_msrs(vp->fd, KVM_GET_MSRS, &entry, 1))
		return false;
	*tsc = entry.data;
	return true;
}

/* An invalid page sends the guest to the MSR. The vCPU's own thread. */
bool vmbus_kvm_reference_tsc(struct vmbus_kvm *kvm, const struct vp *vp, uint64_t reg)
{
	struct reference_tsc_page page = {0};
	uint64_t hz, tsc;

	if (!(reg & HV_ENABLE))
		return true;
	if (vmbus_kvm_tsc_frequency(vp, &hz) && guest_tsc(vp, &tsc)) {
		page.sequence = 1;
		page.scale = (uint64_t)(((unsigned __int128)UNITS_PER_SECOND << 64) / hz);
		page.offset = (int64_t)(vmbus_kvm_reference_count(kvm) -
					(uint64_t)(((unsigned __int128)tsc * page.scale) >> 64));
	}
	return vmbus_view_write(kvm->view, reg & ~(uint64_t)(VMBUS_PAGE_SIZE - 1), &page,
				sizeof(page)) == 0;
}
