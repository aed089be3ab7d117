/* SPDX-License-Identifier: MIT */
/* A SynIC of our own for a KVM without one. All of Hyper-V's MSRs exit to us; the
 * hypercall page we give the guest does port I/O, since a VMCALL would go to KVM's
 * own hypercalls; interrupts are MSIs to the VP's local APIC. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "internal.h"

/* -- The hypercall page --------------------------------------------------- */

/* A fast signal with flag 0, nearly all of the calls a guest makes, is an OUT of
 * the connection id: KVM_IOEVENTFD turns it into the doorbell inside the kernel.
 * Nobody's id comes to us, and we change EAX so that the subtraction gives the
 * status. All else is an IN: KVM puts what we answer into EAX, zero-extended. */
#define PAGE_SIGNAL_PORT 27
#define PAGE_CALL_PORT 32
static const uint8_t hypercall_page[] = {
	0xf3, 0x0f, 0x1e, 0xfa,             /* endbr64: Linux keeps IBT on */
	0x48, 0x89, 0xc8,                   /* mov rax, rcx */
	0x48, 0x2d, 0x5d, 0x00, 0x01, 0x00, /* sub rax, 0x1005d */
	0x75, 0x10,                         /* jnz call */
	0x48, 0x89, 0xd0,                   /* mov rax, rdx */
	0x48, 0xc1, 0xe8, 0x20,             /* shr rax, 32 */
	0x75, 0x07,                         /* jnz call */
	0x89, 0xd0,                         /* mov eax, edx */
	0xe7, 0x00,                         /* out port, eax */
	0x29, 0xd0,                         /* sub eax, edx */
	0xc3,                               /* ret */
	0xe5, 0x00,                         /* call: in eax, port + 1 */
	0xc3,                               /* ret */
};

static bool hypercall_page_write(struct vmbus_kvm *kvm, uint64_t reg)
{
	uint8_t page[VMBUS_PAGE_SIZE];

	memset(page, 0xcc, sizeof(page));
	memcpy(page, hypercall_page, sizeof(hypercall_page));
	page[PAGE_SIGNAL_PORT] = kvm->config.port;
	page[PAGE_CALL_PORT] = (uint8_t)(kvm->config.port + 1);
	return vmbus_view_write(kvm->view, reg & ~(uint64_t)(VMBUS_PAGE_SIZE - 1), page,
				sizeof(page)) == 0;
}

static bool hypercall_set(struct vmbus_kvm *kvm, uint64_t value)
{
	/* TLFS 3.13: ignored while the guest has not said who it is, or locked it */
	if (!kvm->guest_os_id || (kvm->hypercall & HV_HYPERCALL_LOCKED))
		return true;
	if ((value & HV_ENABLE) && !hypercall_page_write(kvm, value))
		return false;
	kvm->hypercall = value;
	return true;
}

/* -- MSRs ----------------------------------------------------------------- */

static bool synic_read(const struct vp *vp, uint32_t index, uint64_t *value)
{
	switch (index) {
	case HV_MSR_SCONTROL:
		*value = vp->scontrol;
		return true;
	case HV_MSR_SVERSION:
		*value = HV_SVERSION_VALUE;
		return true;
	case HV_MSR_SIEFP:
		*value = vp->siefp;
		return true;
	case HV_MSR_SIMP:
		*value = vp->simp;
		return true;
	case HV_MSR_EOM:
		*value = 0;
		return true;
	case HV_MSR_VP_ASSIST_PAGE:
		*value = vp->assist;
		return true;
	case HV_MSR_SINT0 ... HV_MSR_SINT0 + VMBUS_SINT_COUNT - 1:
		*value = vp->sint[index - HV_MSR_SINT0];
		return true;
	default:
		return false;
	}
}

/* kvm->lock held */
static bool msr_read(struct vmbus_kvm *kvm, uint32_t vp, uint32_t index, uint64_t *value)
{
	switch (index) {
	case HV_MSR_GUEST_OS_ID:
		*value = kvm->guest_os_id;
		return true;
	case HV_MSR_HYPERCALL:
		*value = kvm->hypercall;
		return true;
	case HV_MSR_VP_INDEX:
		*value = vp;
		return true;
	case HV_MSR_RESET:
		*value = 0;
		return true;
	case HV_MSR_TIME_REF_COUNT:
		*value = vmbus_kvm_reference_count(kvm);
		return true;
	case HV_MSR_REFERENCE_TSC:
		*value = kvm->reference_tsc;
		return true;
	case HV_MSR_TSC_FREQUENCY:
		return vmbus_kvm_tsc_frequency(&kvm->vps[vp], value);
	case HV_MSR_APIC_FREQUENCY:
		*value = HV_APIC_HZ;
		return true;
	case HV_MSR_TSC_INVARIANT_CONTROL:
		*value = kvm->tsc_invariant;
		return true;
	case HV_MSR_CRASH_P0 ... HV_MSR_CRASH_P0 + HV_CRASH_PARAMETERS - 1:
		*value = kvm->crash[index - HV_MSR_CRASH_P0];
		return true;
	case HV_MSR_CRASH_CTL:
		*value = HV_CRASH_NOTIFY;
		return true;
	default:
		return synic_read(&kvm->vps[vp], index, value);
	}
}

bool vmbus_kvm_msr_read(struct vmbus_kvm *kvm, uint32_t vp, uint32_t index, uint64_t *value)
{
	bool ok;

	count(&kvm->stats.exits_msr);
	vmbus_kvm_lock(kvm);
	pthread_mutex_lock(&kvm->vps[vp].lock);
	ok = msr_read(kvm, vp, index, value);
	pthread_mutex_unlock(&kvm->vps[vp].lock);
	vmbus_kvm_unlock(kvm);
	return ok;
}

static bool sint_set(struct vmbus_kvm *kvm, struct vp *vp, uint32_t sint, uint64_t value)
{
	/* vectors 0 to 15 are exceptions' */
	if (!(value & HV_SINT_MASKED) && HV_SINT_VECTOR(value) < 16)
		return false;
	vp->sint[sint] = value;
	if (sint == VMBUS_SINT)
		vmbus_kvm_vp_raise_again(kvm, vp);
	return true;
}

static bool pages_set(struct vmbus_kvm *kvm, struct vp *vp, uint64_t scontrol, uint64_t siefp,
		      uint64_t simp)
{
	if (!vmbus_kvm_vp_page_ok(kvm, siefp) || !vmbus_kvm_vp_page_ok(kvm, simp))
		return false;
	vmbus_kvm_vp_set_pages(kvm, vp, scontrol, siefp, simp);
	vmbus_kvm_vp_raise_again(kvm, vp);
	return true;
}

static bool synic_write(struct vmbus_kvm *kvm, struct vp *vp, uint32_t index, uint64_t value)
{
	switch (index) {
	case HV_MSR_SCONTROL:
		return pages_set(kvm, vp, value, vp->siefp, vp->simp);
	case HV_MSR_SIEFP:
		return pages_set(kvm, vp, vp->scontrol, value, vp->simp);
	case HV_MSR_SIMP:
		return pages_set(kvm, vp, vp->scontrol, vp->siefp, value);
	case HV_MSR_EOM:
		return true;
	case HV_MSR_VP_ASSIST_PAGE:
		vp->assist = value;
		return true;
	case HV_MSR_SINT0 ... HV_MSR_SINT0 + VMBUS_SINT_COUNT - 1:
		return sint_set(kvm, vp, index - HV_MSR_SINT0, value);
	default:
		return false;
	}
}

/* kvm->lock held */
static bool msr_write(struct vmbus_kvm *kvm, uint32_t vp, uint32_t index, uint64_t value)
{
	switch (index) {
	case HV_MSR_GUEST_OS_ID:
		kvm->guest_os_id = value;
		if (!value)
			kvm->hypercall &= ~HV_ENABLE;
		return true;
	case HV_MSR_HYPERCALL:
		return hypercall_set(kvm, value);
	case HV_MSR_REFERENCE_TSC:
		if (!vmbus_kvm_reference_tsc(kvm, &kvm->vps[vp], value))
			return false;
		kvm->reference_tsc = value;
		return true;
	case HV_MSR_TSC_INVARIANT_CONTROL:
		kvm->tsc_invariant = value;
		return true;
	case HV_MSR_CRASH_P0 ... HV_MSR_CRASH_P0 + HV_CRASH_PARAMETERS - 1:
		kvm->crash[index - HV_MSR_CRASH_P0] = value;
		return true;
	default:
		return synic_write(kvm, &kvm->vps[vp], index, value);
	}
}

/* Those of which the VMM hears, without a lock held. */
static bool msr_notify(struct vmbus_kvm *kvm, uint32_t index, uint64_t value)
{
	uint64_t param[HV_CRASH_PARAMETERS];

	if (index == HV_MSR_RESET) {
		if ((value & 1) && kvm->config.reset)
			kvm->config.reset(kvm->config.opaque);
		return true;
	}
	if (index != HV_MSR_CRASH_CTL)
		return false;
	vmbus_kvm_lock(kvm);
	memcpy(param, kvm->crash, sizeof(param));
	vmbus_kvm_unlock(kvm);
	if ((value & HV_CRASH_NOTIFY) && kvm->config.crash)
		kvm->config.crash(kvm->config.opaque, param, value);
	return true;
}

bool vmbus_kvm_msr_write(struct vmbus_kvm *kvm, uint32_t vp, uint32_t index, uint64_t value)
{
	bool ok;

	count(&kvm->stats.exits_msr);
	if (msr_notify(kvm, index, value))
		return true;
	vmbus_kvm_lock(kvm);
	pthread_mutex_lock(&kvm->vps[vp].lock);
	ok = msr_write(kvm, vp, index, value);
	pthread_mutex_unlock(&kvm->vps[vp].lock);
	/* EOM, or a register that decides whether the slot takes messages */
	if (ok && index >= HV_MSR_SCONTROL && index < HV_MSR_SINT0 + VMBUS_SINT_COUNT)
		vmbus_server_slot_free(kvm->server);
	vmbus_kvm_unlock(kvm);
	return ok;
}

/* -- KVM ------------------------------------------------------------------ */

static int filter_set(struct vmbus_kvm *kvm)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_X86_USER_SPACE_MSR,
		.args[0] = KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN |
			   KVM_MSR_EXIT_REASON_FILTER,
	};
	uint8_t none_allowed[HV_MSR_COUNT / 8] = {0};
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
		.ranges[0] = {
			.flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE,
			.nmsrs = HV_MSR_COUNT,
			.base = HV_MSR_FIRST,
			.bitmap = none_allowed,
		},
	};

	if (ioctl(kvm->config.vm_fd, KVM_ENABLE_CAP, &cap) < 0 ||
	    ioctl(kvm->config.vm_fd, KVM_X86_SET_MSR_FILTER, &filter) < 0)
		return -errno;
	return 0;
}

static int user_start(struct vmbus_kvm *kvm, struct vmbus_error *err)
{
	static const struct {
		int number;
		const char *name;
	} caps[] = {
		{KVM_CAP_X86_USER_SPACE_MSR, "KVM_CAP_X86_USER_SPACE_MSR"},
		{KVM_CAP_X86_MSR_FILTER, "KVM_CAP_X86_MSR_FILTER"},
		{KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI"},
		{KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"},
	};
	size_t i;
	int ret;

	for (i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
		if (ioctl(kvm->config.vm_fd, KVM_CHECK_EXTENSION, caps[i].number) <= 0)
			return vmbus_error_set(err, -ENOTSUP, "this KVM has no %s", caps[i].name);
	}
	ret = filter_set(kvm);
	if (ret)
		return vmbus_error_set(err, ret, "cannot filter MSRs: %s", strerror(-ret));
	kvm->hv_eax3 = HV_ACCESS_TIME_REF_COUNT | HV_ACCESS_SYNIC | HV_ACCESS_HYPERCALL_MSRS |
		       HV_ACCESS_VP_INDEX | HV_ACCESS_RESET | HV_ACCESS_REFERENCE_TSC |
		       HV_ACCESS_FREQUENCY_MSRS | HV_ACCESS_TSC_INVARIANT;
	kvm->hv_edx3 = HV_FREQUENCY_MSRS | HV_CRASH_MSRS;
	kvm->hv_eax4 = HV_HINT_RELAXED_TIMING | HV_HINT_NO_AUTO_EOI;
	return 0;
}

static int user_add_vcpu(struct vmbus_kvm *kvm, uint32_t vp)
{
	kvm->vps[vp].scontrol = HV_ENABLE;
	return 0;
}

/* Physical destination, fixed delivery, edge. Ids past 255 need KVM_CAP_X2APIC_API. */
static void user_raise(struct vmbus_kvm *kvm, struct vp *vp)
{
	struct kvm_msi msi = {
		.address_lo = 0xfee00000u | (vp->apic_id & 0xffu) << 12,
		.address_hi = vp->apic_id & ~0xffu,
		.data = HV_SINT_VECTOR(vp->sint[VMBUS_SINT]),
	};

	ioctl(kvm->config.vm_fd, KVM_SIGNAL_MSI, &msi);
}

static int user_doorbell(struct vmbus_kvm *kvm, const struct doorbell *bell, bool add)
{
	struct kvm_ioeventfd event = {
		.datamatch = bell->connection_id,
		.addr = kvm->config.port,
		.len = 4,
		.fd = bell->fd,
		.flags = KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DATAMATCH |
			 (add ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};

	return ioctl(kvm->config.vm_fd, KVM_IOEVENTFD, &event) < 0 ? -errno : 0;
}

static int call_exit(struct vmbus_kvm *kvm, const struct vp *vp, uint32_t *eax)
{
	struct kvm_regs regs;

	if (ioctl(vp->fd, KVM_GET_REGS, &regs) < 0)
		return -errno;
	*eax = vmbus_kvm_hypercall(kvm, regs.rcx, regs.rdx);
	return VMBUS_KVM_HANDLED;
}

/* A signal that no doorbell took: see hypercall_page. */
static int signal_exit(struct vmbus_kvm *kvm, const struct vp *vp, uint32_t id)
{
	struct kvm_regs regs;

	count(&kvm->stats.exits_hypercall);
	if (ioctl(vp->fd, KVM_GET_REGS, &regs) < 0)
		return -errno;
	regs.rax = (uint32_t)(id + vmbus_kvm_hypercall_signal(kvm, id));
	return ioctl(vp->fd, KVM_SET_REGS, &regs) < 0 ? -errno : VMBUS_KVM_HANDLED;
}

static int io_exit(struct vmbus_kvm *kvm, const struct vp *vp, struct kvm_run *run)
{
	uint32_t *data = (uint32_t *)((uint8_t *)run + run->io.data_offset);
	bool out = run->io.direction == KVM_EXIT_IO_OUT;

	if (run->io.size != 4 || run->io.count != 1)
		return VMBUS_KVM_NOT_MINE;
	if (run->io.port == kvm->config.port && out)
		return signal_exit(kvm, vp, *data);
	if (run->io.port == kvm->config.port + 1 && !out)
		return call_exit(kvm, vp, data);
	return VMBUS_KVM_NOT_MINE;
}

static int user_handle_exit(struct vmbus_kvm *kvm, uint32_t index, struct kvm_run *run)
{
	struct vp *vp = vmbus_kvm_vp(kvm, index);
	uint64_t value = 0;
	bool ok;

	if (!vp)
		return -EINVAL;
	if (run->exit_reason == KVM_EXIT_IO)
		return io_exit(kvm, vp, run);
	if ((run->exit_reason != KVM_EXIT_X86_RDMSR && run->exit_reason != KVM_EXIT_X86_WRMSR) ||
	    run->msr.index < HV_MSR_FIRST || run->msr.index >= HV_MSR_FIRST + HV_MSR_COUNT)
		return VMBUS_KVM_NOT_MINE;
	if (run->exit_reason == KVM_EXIT_X86_RDMSR) {
		ok = vmbus_kvm_msr_read(kvm, index, run->msr.index, &value);
		run->msr.data = value;
	} else {
		ok = vmbus_kvm_msr_write(kvm, index, run->msr.index, run->msr.data);
	}
	run->msr.error = !ok;
	return VMBUS_KVM_HANDLED;
}

const struct mode vmbus_kvm_user_mode = {
	.start = user_start,
	.add_vcpu = user_add_vcpu,
	.handle_exit = user_handle_exit,
	.raise = user_raise,
	.doorbell = user_doorbell,
};
