/* SPDX-License-Identifier: MIT */
/* KVM's own SynIC. KVM keeps the registers; a guest's signal goes to the
 * doorbell by KVM_HYPERV_EVENTFD. We write the message slot and the event flags
 * in guest memory and raise the SINT by an irqfd. There is no exit for EOM: the
 * irqfd's resample eventfd tells, but it does so for each EOI of the vector as
 * well, so it is watched only while a message waits. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "internal.h"

#define PIC_PINS 8
#define IOAPIC_PINS 24
#define DEFAULT_ROUTES (2 * PIC_PINS + IOAPIC_PINS)

static int kernel_start(struct vmbus_kvm *kvm, struct vmbus_error *err)
{
	static const struct {
		int number;
		const char *name;
	} caps[] = {
		{KVM_CAP_HYPERV, "KVM_CAP_HYPERV"},
		{KVM_CAP_HYPERV_SYNIC2, "KVM_CAP_HYPERV_SYNIC2"},
		{KVM_CAP_HYPERV_VP_INDEX, "KVM_CAP_HYPERV_VP_INDEX"},
		{KVM_CAP_HYPERV_EVENTFD, "KVM_CAP_HYPERV_EVENTFD"},
		{KVM_CAP_IRQFD_RESAMPLE, "KVM_CAP_IRQFD_RESAMPLE"},
	};
	size_t i;

	for (i = 0; i < sizeof(caps) / sizeof(caps[0]); i++) {
		if (ioctl(kvm->config.vm_fd, KVM_CHECK_EXTENSION, caps[i].number) <= 0)
			return vmbus_error_set(err, -ENOTSUP, "this KVM has no %s", caps[i].name);
	}
	kvm->hv_eax3 = HV_ACCESS_TIME_REF_COUNT | HV_ACCESS_SYNIC | HV_ACCESS_HYPERCALL_MSRS |
		       HV_ACCESS_VP_INDEX | HV_ACCESS_RESET | HV_ACCESS_REFERENCE_TSC |
		       HV_ACCESS_FREQUENCY_MSRS;
	kvm->hv_edx3 = HV_FREQUENCY_MSRS | HV_CRASH_MSRS;
	kvm->hv_eax4 = HV_HINT_RELAXED_TIMING | HV_HINT_NO_AUTO_EOI;
	return 0;
}

static int vcpu_set_msr(int fd, uint32_t index, uint64_t value)
{
	struct kvm_msr_entry entry = {.index = index, .data = value};

	return vmbus_kvm_vcpu_msrs(fd, KVM_SET_MSRS, &entry, 1);
}

static struct kvm_irq_routing_entry route_chip(uint32_t gsi, uint32_t chip, uint32_t pin)
{
	struct kvm_irq_routing_entry route = {.gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP};

	route.u.irqchip.irqchip = chip;
	route.u.irqchip.pin = pin;
	return route;
}

/* What KVM_CREATE_IRQCHIP installs. */
static unsigned int routes_default(struct kvm_irq_routing_entry *routes)
{
	unsigned int i, n = 0;

	for (i = 0; i < 2 * PIC_PINS; i++)
		routes[n++] = route_chip(i, i < PIC_PINS ? KVM_IRQCHIP_PIC_MASTER :
							   KVM_IRQCHIP_PIC_SLAVE, i % PIC_PINS);
	for (i = 0; i < IOAPIC_PINS; i++)
		routes[n++] = route_chip(i, KVM_IRQCHIP_IOAPIC, i);
	return n;
}

static int routes_set(struct vmbus_kvm *kvm, const struct kvm_irq_routing_entry *ours, unsigned int count)
{
	struct kvm_irq_routing *table;
	unsigned int n;
	int err = 0;

	if (kvm->config.set_routes)
		return kvm->config.set_routes(kvm->config.opaque, ours, count);
	table = calloc(1, sizeof(*table) + (DEFAULT_ROUTES + count) * sizeof(table->entries[0]));
	if (!table)
		return -ENOMEM;
	n = routes_default(table->entries);
	memcpy(&table->entries[n], ours, count * sizeof(*ours));
	table->nr = n + count;
	if (ioctl(kvm->config.vm_fd, KVM_SET_GSI_ROUTING, table) < 0)
		err = -errno;
	free(table);
	return err;
}

/* KVM notes the GSI in a SynIC that is active at that moment: so the table is
 * set again with each vCPU. */
static int routes_renew(struct vmbus_kvm *kvm, uint32_t newest)
{
	struct kvm_irq_routing_entry *routes = calloc(kvm->vp_count, sizeof(*routes));
	unsigned int n = 0;
	uint32_t vp;
	int err;

	if (!routes)
		return -ENOMEM;
	for (vp = 0; vp < kvm->vp_count; vp++) {
		if (!kvm->vps[vp].added && vp != newest)
			continue;
		routes[n].gsi = kvm->config.gsi_base + vp;
		routes[n].type = KVM_IRQ_ROUTING_HV_SINT;
		routes[n].u.hv_sint.vcpu = vp;
		routes[n++].u.hv_sint.sint = VMBUS_SINT;
	}
	err = routes_set(kvm, routes, n);
	free(routes);
	return err;
}

static int irqfd_assign(struct vmbus_kvm *kvm, uint32_t index)
{
	struct epoll_event event = {.events = 0, .data.u32 = index};
	struct vp *vp = &kvm->vps[index];
	struct kvm_irqfd irqfd = {.gsi = kvm->config.gsi_base + index,
				  .flags = KVM_IRQFD_FLAG_RESAMPLE};

	vp->irqfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	vp->eomfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vp->irqfd < 0 || vp->eomfd < 0)
		return -errno;
	irqfd.fd = (uint32_t)vp->irqfd;
	irqfd.resamplefd = (uint32_t)vp->eomfd;
	if (ioctl(kvm->config.vm_fd, KVM_IRQFD, &irqfd) < 0 ||
	    epoll_ctl(kvm->epoll_fd, EPOLL_CTL_ADD, vp->eomfd, &event) < 0)
		return -errno;
	return 0;
}

static int kernel_add_vcpu(struct vmbus_kvm *kvm, uint32_t index)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_HYPERV_SYNIC2};
	struct vp *vp = &kvm->vps[index];
	int err;

	if (ioctl(vp->fd, KVM_ENABLE_CAP, &cap) < 0)
		return -errno;
	vp->sint[VMBUS_SINT] = 0; /* masking is KVM's business here */
	err = vcpu_set_msr(vp->fd, HV_MSR_VP_INDEX, index);
	if (!err)
		err = vcpu_set_msr(vp->fd, HV_MSR_SCONTROL, HV_ENABLE);
	vp->scontrol = HV_ENABLE;
	if (!err)
		err = routes_renew(kvm, index);
	return err ? err : irqfd_assign(kvm, index);
}

static void kernel_raise(struct vmbus_kvm *kvm, struct vp *vp)
{
	uint64_t one = 1;

	(void)kvm;
	(void)!write(vp->irqfd, &one, sizeof(one));
}

static void kernel_await_eom(struct vmbus_kvm *kvm, struct vp *vp, bool wait)
{
	struct epoll_event event = {.events = wait ? EPOLLIN : 0,
				    .data.u32 = (uint32_t)(vp - kvm->vps)};

	if (vp->eom_awaited == wait)
		return;
	vp->eom_awaited = wait;
	epoll_ctl(kvm->epoll_fd, EPOLL_CTL_MOD, vp->eomfd, &event);
}

static int kernel_doorbell(struct vmbus_kvm *kvm, const struct doorbell *bell, bool add)
{
	struct kvm_hyperv_eventfd event = {
		.conn_id = bell->connection_id,
		.fd = bell->fd,
		.flags = add ? 0 : KVM_HYPERV_EVENTFD_DEASSIGN,
	};

	return ioctl(kvm->config.vm_fd, KVM_HYPERV_EVENTFD, &event) < 0 ? -errno : 0;
}

static void synic_changed(struct vmbus_kvm *kvm, struct vp *vp, const struct kvm_hyperv_exit *exit)
{
	count(&kvm->stats.exits_synic);
	vmbus_kvm_lock(kvm);
	pthread_mutex_lock(&vp->lock);
	vmbus_kvm_vp_set_pages(kvm, vp, exit->u.synic.control, exit->u.synic.evt_page,
			       exit->u.synic.msg_page);
	vmbus_kvm_vp_raise_again(kvm, vp);
	pthread_mutex_unlock(&vp->lock);
	vmbus_server_slot_free(kvm->server);
	vmbus_kvm_unlock(kvm);
}

/* For a signal KVM has fetched the event itself, whichever form the guest used;
 * the fast bit tells only of POST_MESSAGE, which has no such form. */
static void hypercall_exit(struct vmbus_kvm *kvm, struct kvm_hyperv_exit *exit)
{
	uint64_t control = exit->u.hcall.input;

	if (HV_CONTROL_CODE(control) == HV_CALL_SIGNAL_EVENT)
		control |= HV_CONTROL_FAST;
	exit->u.hcall.result = vmbus_kvm_hypercall(kvm, control, exit->u.hcall.params[0]);
}

static int crash_exit(struct vmbus_kvm *kvm, struct vp *vp)
{
	struct kvm_msr_entry entries[VCPU_MSRS_MAX] = {0};
	uint64_t param[HV_CRASH_PARAMETERS];
	uint32_t i;
	int err;

	for (i = 0; i < VCPU_MSRS_MAX; i++)
		entries[i].index = HV_MSR_CRASH_P0 + i;
	err = vmbus_kvm_vcpu_msrs(vp->fd, KVM_GET_MSRS, entries, VCPU_MSRS_MAX);
	if (err)
		return err;
	for (i = 0; i < HV_CRASH_PARAMETERS; i++)
		param[i] = entries[i].data;
	if (kvm->config.crash)
		kvm->config.crash(kvm->config.opaque, param, entries[HV_CRASH_PARAMETERS].data);
	return VMBUS_KVM_HANDLED;
}

static int system_event_exit(struct vmbus_kvm *kvm, struct vp *vp, const struct kvm_run *run)
{
	switch (run->system_event.type) {
	case KVM_SYSTEM_EVENT_CRASH:
		return crash_exit(kvm, vp);
	case KVM_SYSTEM_EVENT_RESET:
		if (kvm->config.reset)
			kvm->config.reset(kvm->config.opaque);
		return VMBUS_KVM_HANDLED;
	default:
		return VMBUS_KVM_NOT_MINE;
	}
}

static int kernel_handle_exit(struct vmbus_kvm *kvm, uint32_t index, struct kvm_run *run)
{
	struct vp *vp = vmbus_kvm_vp(kvm, index);

	if (!vp)
		return -EINVAL;
	if (run->exit_reason == KVM_EXIT_SYSTEM_EVENT)
		return system_event_exit(kvm, vp, run);
	if (run->exit_reason != KVM_EXIT_HYPERV)
		return VMBUS_KVM_NOT_MINE;
	switch (run->hyperv.type) {
	case KVM_EXIT_HYPERV_SYNIC:
		synic_changed(kvm, vp, &run->hyperv);
		return VMBUS_KVM_HANDLED;
	case KVM_EXIT_HYPERV_HCALL:
		hypercall_exit(kvm, &run->hyperv);
		return VMBUS_KVM_HANDLED;
	default:
		return VMBUS_KVM_NOT_MINE;
	}
}

static int kernel_reset(struct vmbus_kvm *kvm, struct vp *vp)
{
	static const struct {
		uint32_t index;
		uint64_t value;
	} msrs[] = {
		{HV_MSR_SIMP, 0}, {HV_MSR_SIEFP, 0},
		{HV_MSR_SINT0 + VMBUS_SINT, HV_SINT_MASKED},
		{HV_MSR_SCONTROL, HV_ENABLE},
		{HV_MSR_VP_ASSIST_PAGE, 0},
		{HV_MSR_HYPERCALL, 0}, {HV_MSR_GUEST_OS_ID, 0},
	};
	size_t i;
	int err = 0;

	(void)kvm;
	for (i = 0; i < sizeof(msrs) / sizeof(msrs[0]) && !err; i++)
		err = vcpu_set_msr(vp->fd, msrs[i].index, msrs[i].value);
	return err;
}

static void kernel_stop(struct vmbus_kvm *kvm)
{
	uint32_t i;

	for (i = 0; i < kvm->vp_count; i++) {
		struct kvm_irqfd irqfd = {.fd = (uint32_t)kvm->vps[i].irqfd,
					  .gsi = kvm->config.gsi_base + i,
					  .flags = KVM_IRQFD_FLAG_DEASSIGN};

		if (kvm->vps[i].irqfd >= 0)
			ioctl(kvm->config.vm_fd, KVM_IRQFD, &irqfd);
	}
}

const struct mode vmbus_kvm_kernel_mode = {
	.start = kernel_start,
	.add_vcpu = kernel_add_vcpu,
	.handle_exit = kernel_handle_exit,
	.raise = kernel_raise,
	.await_eom = kernel_await_eom,
	.doorbell = kernel_doorbell,
	.reset = kernel_reset,
	.stop = kernel_stop,
};
