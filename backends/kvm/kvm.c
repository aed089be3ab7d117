/* SPDX-License-Identifier: MIT */
/* The backend's life: the server and its lock, memory, doorbells, the dispatch
 * descriptor, reset. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "internal.h"

/* epoll's data of the wake eventfd; those of EOM eventfds are VP indices. */
#define WAKE UINT32_MAX
#define DISPATCH_EVENTS 16

struct vp *vmbus_kvm_vp(struct vmbus_kvm *kvm, uint32_t vp)
{
	return vp < kvm->vp_count && kvm->vps[vp].added ? &kvm->vps[vp] : NULL;
}

int vmbus_kvm_vcpu_msrs(int fd, unsigned long request, struct kvm_msr_entry *entries, uint32_t count)
{
	_Alignas(struct kvm_msrs) uint8_t
		buf[sizeof(struct kvm_msrs) + VCPU_MSRS_MAX * sizeof(struct kvm_msr_entry)] = {0};
	struct kvm_msrs *msrs = (struct kvm_msrs *)buf;
	int done;

	msrs->nmsrs = count;
	memcpy(msrs->entries, entries, count * sizeof(*entries));
	done = ioctl(fd, request, msrs);
	if (done < 0)
		return -errno;
	memcpy(entries, msrs->entries, count * sizeof(*entries));
	return (uint32_t)done == count ? 0 : -EINVAL;
}

/* -- What the server asks for --------------------------------------------- */

static int doorbell_room(struct vmbus_kvm *kvm)
{
	unsigned int room = kvm->doorbell_room ? kvm->doorbell_room * 2 : 16;
	struct doorbell *more;

	if (kvm->doorbell_count < kvm->doorbell_room)
		return 0;
	more = realloc(kvm->doorbells, room * sizeof(*more));
	if (!more)
		return -ENOMEM;
	kvm->doorbells = more;
	kvm->doorbell_room = room;
	return 0;
}

/* Before 1.1 all channels share one connection, and KVM gives an id to one
 * eventfd only: those signals come to vmbus_kvm_hypercall_signal(). */
static int mode_doorbell(struct vmbus_kvm *kvm, const struct doorbell *bell, bool add)
{
	if (bell->connection_id == VMBUS_CONN_EVENT || !kvm->mode->doorbell)
		return 0;
	return kvm->mode->doorbell(kvm, bell, add);
}

static int kvm_doorbell_add(void *opaque, uint32_t connection_id, int fd)
{
	struct doorbell bell = {.connection_id = connection_id, .fd = fd};
	struct vmbus_kvm *kvm = opaque;
	int err = doorbell_room(kvm);

	if (!err)
		err = mode_doorbell(kvm, &bell, true);
	if (!err)
		kvm->doorbells[kvm->doorbell_count++] = bell;
	return err;
}

static void kvm_doorbell_remove(void *opaque, uint32_t connection_id, int fd)
{
	struct doorbell bell = {.connection_id = connection_id, .fd = fd};
	struct vmbus_kvm *kvm = opaque;
	unsigned int i;

	for (i = 0; i < kvm->doorbell_count; i++) {
		if (kvm->doorbells[i].connection_id != connection_id || kvm->doorbells[i].fd != fd)
			continue;
		kvm->doorbells[i] = kvm->doorbells[--kvm->doorbell_count];
		(void)mode_doorbell(kvm, &bell, false);
		return;
	}
}

static void kvm_channel_opened(void *opaque, struct vmbus_channel *channel)
{
	struct vmbus_kvm *kvm = opaque;

	kvm->config.channel_opened(kvm->config.opaque, channel);
}

static void kvm_wake(void *opaque)
{
	struct vmbus_kvm *kvm = opaque;
	uint64_t one = 1;

	(void)!write(kvm->wake_fd, &one, sizeof(one));
}

static void kvm_log(void *opaque, enum vmbus_fault fault, uint32_t channel_id, const char *text)
{
	struct vmbus_kvm *kvm = opaque;

	if (kvm->config.log)
		kvm->config.log(kvm->config.opaque, fault, channel_id, text);
}

static const struct vmbus_server_ops server_ops = {
	.size = sizeof(server_ops),
	.post_message = vmbus_kvm_post_message,
	.signal = vmbus_kvm_signal,
	.doorbell_add = kvm_doorbell_add,
	.doorbell_remove = kvm_doorbell_remove,
	.channel_opened = kvm_channel_opened,
	.wake = kvm_wake,
	.log = kvm_log,
};

/* -- Life ----------------------------------------------------------------- */

static void vp_init(struct vp *vp)
{
	unsigned int i;

	pthread_mutex_init(&vp->lock, NULL);
	vp->fd = vp->irqfd = vp->eomfd = -1;
	for (i = 0; i < VMBUS_SINT_COUNT; i++)
		vp->sint[i] = HV_SINT_MASKED;
}

static int server_start(struct vmbus_kvm *kvm)
{
	struct vmbus_server_config *config = &kvm->config.server;

	config->ops = &server_ops;
	config->opaque = kvm;
	config->mem = kvm->mem;
	return vmbus_server_new(config, &kvm->server);
}

static int wake_start(struct vmbus_kvm *kvm)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = WAKE};

	kvm->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	kvm->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (kvm->epoll_fd < 0 || kvm->wake_fd < 0 ||
	    epoll_ctl(kvm->epoll_fd, EPOLL_CTL_ADD, kvm->wake_fd, &event) < 0)
		return -errno;
	return 0;
}

int vmbus_kvm_init(const struct vmbus_kvm_config *config, const struct mode *mode,
		   struct vmbus_kvm **out)
{
	uint32_t vp_count = config->server.vp_count;
	struct vmbus_kvm *kvm;
	uint32_t i;
	int err;

	kvm = calloc(1, sizeof(*kvm) + vp_count * sizeof(kvm->vps[0]));
	if (!kvm)
		return -ENOMEM;
	kvm->config = *config;
	kvm->mode = mode;
	kvm->vp_count = vp_count;
	kvm->epoll_fd = kvm->wake_fd = -1;
	kvm->epoch_ns = vmbus_kvm_clock_ns();
	pthread_mutex_init(&kvm->lock, NULL);
	for (i = 0; i < vp_count; i++)
		vp_init(&kvm->vps[i]);
	kvm->mem = vmbus_mem_new();
	if (!kvm->mem) {
		vmbus_kvm_free(kvm);
		return -ENOMEM;
	}
	kvm->view = vmbus_mem_view(kvm->mem);
	err = wake_start(kvm);
	if (!err)
		err = server_start(kvm);
	if (err) {
		vmbus_kvm_free(kvm);
		return err;
	}
	*out = kvm;
	return 0;
}

static int mode_start(struct vmbus_kvm *kvm, struct vmbus_error *err)
{
	enum vmbus_kvm_mode want = kvm->config.mode;
	int ret = -ENOTSUP;

	if (want != VMBUS_KVM_USER) {
		kvm->which = VMBUS_KVM_KERNEL;
		kvm->mode = &vmbus_kvm_kernel_mode;
		ret = kvm->mode->start(kvm, err);
	}
	if (want == VMBUS_KVM_USER || (want == VMBUS_KVM_AUTO && ret == -ENOTSUP)) {
		kvm->which = VMBUS_KVM_USER;
		kvm->mode = &vmbus_kvm_user_mode;
		ret = kvm->mode->start(kvm, err);
	}
	return ret;
}

int vmbus_kvm_new(const struct vmbus_kvm_config *config, struct vmbus_kvm **out,
		  struct vmbus_error *err)
{
	struct vmbus_kvm *kvm;
	int ret;

	if (config->size != sizeof(*config) || !config->channel_opened ||
	    config->server.vp_count == 0 || config->server.vp_count > 4096)
		return vmbus_error_set(err, -EINVAL, "bad vmbus_kvm_config");
	ret = vmbus_kvm_init(config, &vmbus_kvm_user_mode, &kvm);
	if (ret)
		return vmbus_error_set(err, ret, "cannot make the VMBus server: %s", strerror(-ret));
	ret = mode_start(kvm, err);
	if (ret) {
		vmbus_kvm_free(kvm);
		return ret;
	}
	*out = kvm;
	return 0;
}

static void vp_fini(struct vp *vp)
{
	if (vp->irqfd >= 0)
		close(vp->irqfd);
	if (vp->eomfd >= 0)
		close(vp->eomfd);
	pthread_mutex_destroy(&vp->lock);
}

void vmbus_kvm_free(struct vmbus_kvm *kvm)
{
	uint32_t i;

	if (!kvm)
		return;
	vmbus_server_free(kvm->server);
	if (kvm->mode->stop)
		kvm->mode->stop(kvm);
	for (i = 0; i < kvm->vp_count; i++)
		vp_fini(&kvm->vps[i]);
	if (kvm->view)
		vmbus_view_unref(kvm->view);
	vmbus_mem_unref(kvm->mem);
	if (kvm->epoll_fd >= 0)
		close(kvm->epoll_fd);
	if (kvm->wake_fd >= 0)
		close(kvm->wake_fd);
	free(kvm->doorbells);
	pthread_mutex_destroy(&kvm->lock);
	free(kvm);
}

enum vmbus_kvm_mode vmbus_kvm_get_mode(const struct vmbus_kvm *kvm)
{
	return kvm->which;
}

int vmbus_kvm_add_vcpu(struct vmbus_kvm *kvm, uint32_t vp, int vcpu_fd, uint32_t apic_id)
{
	int err;

	if (vp >= kvm->vp_count)
		return -EINVAL;
	if (kvm->vps[vp].added)
		return -EEXIST;
	kvm->vps[vp].fd = vcpu_fd;
	kvm->vps[vp].apic_id = apic_id;
	err = kvm->mode->add_vcpu(kvm, vp);
	kvm->vps[vp].added = !err;
	return err;
}

/* -- Memory --------------------------------------------------------------- */

/* The layout changed: the SynIC's pages may have come or gone. */
static void view_renew(struct vmbus_kvm *kvm)
{
	struct vmbus_view *old;
	uint32_t i;

	vmbus_kvm_lock(kvm);
	old = kvm->view;
	kvm->view = vmbus_mem_view(kvm->mem);
	for (i = 0; i < kvm->vp_count; i++) {
		pthread_mutex_lock(&kvm->vps[i].lock);
		vmbus_kvm_vp_find_pages(kvm, &kvm->vps[i]);
		pthread_mutex_unlock(&kvm->vps[i].lock);
	}
	vmbus_server_memory_changed(kvm->server);
	vmbus_kvm_unlock(kvm);
	vmbus_view_unref(old); /* not under the lock: this may be the one that calls done() */
}

int vmbus_kvm_add_memory(struct vmbus_kvm *kvm, const struct vmbus_region *region)
{
	int err = vmbus_mem_add(kvm->mem, region);

	if (!err)
		view_renew(kvm);
	return err;
}

int vmbus_kvm_remove_memory(struct vmbus_kvm *kvm, uint64_t gpa, void (*done)(void *opaque), void *opaque)
{
	int err = vmbus_mem_remove(kvm->mem, gpa, done, opaque);

	if (!err)
		view_renew(kvm);
	return err;
}

/* -- Running -------------------------------------------------------------- */

int vmbus_kvm_handle_exit(struct vmbus_kvm *kvm, uint32_t vp, struct kvm_run *run)
{
	return kvm->mode->handle_exit(kvm, vp, run);
}

int vmbus_kvm_fd(const struct vmbus_kvm *kvm)
{
	return kvm->epoll_fd;
}

void vmbus_kvm_dispatch(struct vmbus_kvm *kvm)
{
	struct epoll_event events[DISPATCH_EVENTS];
	bool poll = false, eom = false;
	uint64_t drained;
	int i, n;

	n = epoll_wait(kvm->epoll_fd, events, DISPATCH_EVENTS, 0);
	for (i = 0; i < n; i++) {
		uint32_t who = events[i].data.u32;

		poll |= who == WAKE;
		eom |= who != WAKE;
		(void)!read(who == WAKE ? kvm->wake_fd : kvm->vps[who].eomfd, &drained,
			    sizeof(drained));
	}
	vmbus_kvm_lock(kvm);
	if (poll)
		vmbus_server_poll(kvm->server);
	if (eom)
		vmbus_server_slot_free(kvm->server);
	vmbus_kvm_unlock(kvm);
}

struct vmbus_server *vmbus_kvm_server(struct vmbus_kvm *kvm)
{
	return kvm->server;
}

void vmbus_kvm_lock(struct vmbus_kvm *kvm)
{
	pthread_mutex_lock(&kvm->lock);
}

void vmbus_kvm_unlock(struct vmbus_kvm *kvm)
{
	pthread_mutex_unlock(&kvm->lock);
}

static int vps_reset(struct vmbus_kvm *kvm)
{
	unsigned int i, n;
	int err = 0;

	for (i = 0; i < kvm->vp_count && !err; i++) {
		struct vp *vp = &kvm->vps[i];

		if (!vp->added)
			continue;
		pthread_mutex_lock(&vp->lock);
		vmbus_kvm_vp_set_pages(kvm, vp, HV_ENABLE, 0, 0);
		vp->assist = 0;
		for (n = 0; kvm->which == VMBUS_KVM_USER && n < VMBUS_SINT_COUNT; n++)
			vp->sint[n] = HV_SINT_MASKED;
		if (kvm->mode->reset)
			err = kvm->mode->reset(kvm, vp);
		pthread_mutex_unlock(&vp->lock);
	}
	kvm->guest_os_id = kvm->hypercall = kvm->reference_tsc = kvm->tsc_invariant = 0;
	kvm->epoch_ns = vmbus_kvm_clock_ns();
	return err;
}

int vmbus_kvm_reset(struct vmbus_kvm *kvm)
{
	int err;

	vmbus_kvm_lock(kvm);
	err = vps_reset(kvm);
	vmbus_server_reset(kvm->server);
	vmbus_kvm_unlock(kvm);
	return err;
}

bool vmbus_kvm_resetting(struct vmbus_kvm *kvm)
{
	bool resetting;

	vmbus_kvm_lock(kvm);
	resetting = vmbus_server_resetting(kvm->server);
	vmbus_kvm_unlock(kvm);
	return resetting;
}

int vmbus_kvm_shutdown(struct vmbus_kvm *kvm)
{
	int err;

	vmbus_kvm_lock(kvm);
	err = vps_reset(kvm);
	vmbus_server_shutdown(kvm->server);
	vmbus_kvm_unlock(kvm);
	return err;
}

void vmbus_kvm_get_stats(const struct vmbus_kvm *kvm, struct vmbus_kvm_stats *stats)
{
#define GET(name) stats->name = atomic_load_explicit(&kvm->stats.name, memory_order_relaxed)
	GET(exits_msr);
	GET(exits_hypercall);
	GET(exits_synic);
	GET(posts);
	GET(signals_in);
	GET(messages);
	GET(flags);
	GET(interrupts);
	GET(undelivered);
#undef GET
}
