/* SPDX-License-Identifier: MIT */
/* One VP's end of the SynIC: the message slot and the event flags of VMBUS_SINT
 * in guest memory, and its interrupt. */
#include <errno.h>
#include <string.h>

#include "internal.h"

static void *page_find(struct vmbus_kvm *kvm, uint64_t reg)
{
	if (!(reg & HV_ENABLE))
		return NULL;
	return vmbus_view_page(kvm->view, reg >> VMBUS_PAGE_SHIFT, true);
}

bool vmbus_kvm_vp_page_ok(struct vmbus_kvm *kvm, uint64_t reg)
{
	return !(reg & HV_ENABLE) || page_find(kvm, reg);
}

void vmbus_kvm_vp_find_pages(struct vmbus_kvm *kvm, struct vp *vp)
{
	struct vmbus_synic_message *messages = page_find(kvm, vp->simp);
	struct vmbus_synic_event_flags *flags = page_find(kvm, vp->siefp);

	vp->slot = messages ? &messages[VMBUS_SINT] : NULL;
	vp->slice = flags ? &flags[VMBUS_SINT] : NULL;
}

/* TLFS 11.8: the overlay pages start as zeros. Guests that bring a used page would
 * see messages of its former owner. */
static void page_clear(struct vmbus_kvm *kvm, uint64_t old, uint64_t new)
{
	void *page = page_find(kvm, new);

	if (page && old != new)
		memset(page, 0, VMBUS_PAGE_SIZE);
}

void vmbus_kvm_vp_set_pages(struct vmbus_kvm *kvm, struct vp *vp, uint64_t scontrol, uint64_t siefp,
			    uint64_t simp)
{
	page_clear(kvm, vp->siefp, siefp);
	page_clear(kvm, vp->simp, simp);
	vp->scontrol = scontrol;
	vp->siefp = siefp;
	vp->simp = simp;
	vmbus_kvm_vp_find_pages(kvm, vp);
}

void vmbus_kvm_vp_raise(struct vmbus_kvm *kvm, struct vp *vp)
{
	if (vp->sint[VMBUS_SINT] & (HV_SINT_MASKED | HV_SINT_POLLING))
		return;
	count(&kvm->stats.interrupts);
	kvm->mode->raise(kvm, vp);
}

/* The SynIC or its SINT came to life: what lies in the pages already would wait
 * for an interrupt that was raised in vain. */
void vmbus_kvm_vp_raise_again(struct vmbus_kvm *kvm, struct vp *vp)
{
	unsigned int i;
	bool due;

	if (!(vp->scontrol & HV_ENABLE))
		return;
	due = vp->slot && __atomic_load_n(&vp->slot->type, __ATOMIC_ACQUIRE) != 0;
	for (i = 0; vp->slice && i < VMBUS_EVENT_FLAGS / 64 && !due; i++)
		due = __atomic_load_n(&vp->slice->flags[i], __ATOMIC_ACQUIRE) != 0;
	if (due)
		vmbus_kvm_vp_raise(kvm, vp);
}

/* A masked SINT takes no message: it would block the slot for nobody. */
static bool vp_takes_messages(const struct vp *vp)
{
	return (vp->scontrol & HV_ENABLE) && vp->slot &&
	       !(vp->sint[VMBUS_SINT] & HV_SINT_MASKED);
}

int vmbus_kvm_post_message(void *opaque, uint32_t index, uint8_t sint, const void *message, size_t len)
{
	struct vmbus_kvm *kvm = opaque;
	struct vp *vp = vmbus_kvm_vp(kvm, index);
	bool posted;

	if (sint != VMBUS_SINT) /* of a reserved channel's answers: that slot is not ours */
		return -EINVAL;
	if (!vp)
		return -EAGAIN;
	pthread_mutex_lock(&vp->lock);
	posted = vp_takes_messages(vp) && vmbus_synic_post(vp->slot, message, len);
	if (posted) {
		count(&kvm->stats.messages);
		vmbus_kvm_vp_raise(kvm, vp);
	}
	pthread_mutex_unlock(&vp->lock);
	if (kvm->mode->await_eom)
		kvm->mode->await_eom(kvm, vp, !posted);
	return posted ? 0 : -EAGAIN;
}

/* Before 2.4: bit @flag in the first half of the guest's interrupt page. */
static void interrupt_page_set(struct vmbus_kvm *kvm, uint64_t gpa, uint32_t flag)
{
	struct vmbus_view *view = vmbus_mem_view(kvm->mem);
	uint64_t *words = vmbus_view_page(view, gpa >> VMBUS_PAGE_SHIFT, true);

	if (words)
		__atomic_fetch_or(&words[flag / 64], 1ull << flag % 64, __ATOMIC_SEQ_CST);
	vmbus_view_unref(view);
}

void vmbus_kvm_signal(void *opaque, uint32_t index, uint32_t flag, uint64_t interrupt_page)
{
	struct vmbus_kvm *kvm = opaque;
	struct vp *vp = vmbus_kvm_vp(kvm, index);

	if (!vp || flag >= VMBUS_EVENT_FLAGS)
		return;
	if (interrupt_page) {
		interrupt_page_set(kvm, interrupt_page, flag);
		flag = 0;
	}
	pthread_mutex_lock(&vp->lock);
	if (!(vp->scontrol & HV_ENABLE) || !vp->slice) {
		count(&kvm->stats.undelivered);
	} else {
		count(&kvm->stats.flags);
		if (vmbus_synic_set_flag(vp->slice, flag))
			vmbus_kvm_vp_raise(kvm, vp);
	}
	pthread_mutex_unlock(&vp->lock);
}
