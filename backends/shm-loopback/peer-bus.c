/* SPDX-License-Identifier: MIT */
/* The bus backend's side of a guest: struct vmbus_server_ops. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "host-private.h"

/* -- Processors ----------------------------------------------------------- */

int vmbus_shm_vp_init(struct vmbus_shm_peer *peer, struct shm_peer_vp *vp,
		      const struct shm_vp *pages, int interrupt)
{
	int r = io_uring_queue_init(2, &vp->interrupt, 0);

	if (r)
		return r;
	r = io_uring_register_eventfd(&vp->interrupt, interrupt);
	if (r) {
		io_uring_queue_exit(&vp->interrupt);
		return r;
	}
	vp->simp = (struct vmbus_synic_message *)(peer->memory + pages->simp);
	vp->siefp = (struct vmbus_synic_event_flags *)(peer->memory + pages->siefp);
	vp->ready = true;
	return 0;
}

void vmbus_shm_vp_fini(struct shm_peer_vp *vp)
{
	if (vp->ready)
		io_uring_queue_exit(&vp->interrupt);
}

static void vp_interrupt(struct vmbus_shm_peer *peer, uint32_t vp)
{
	struct io_uring *ring = &peer->vps[vp].interrupt;
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	if (!sqe) /* an earlier one could not be submitted, and will be now */
		goto submit;
	io_uring_prep_nop(sqe);
	peer->interrupts++;
submit:
	io_uring_submit(ring);
	io_uring_cq_advance(ring, io_uring_cq_ready(ring));
}

/* -- Server ops ----------------------------------------------------------- */

static int bus_post_message(void *opaque, uint32_t vp, uint8_t sint, const void *message,
			    size_t len)
{
	struct vmbus_shm_peer *peer = opaque;

	if (vp >= peer->vp_count || !vmbus_synic_post(&peer->vps[vp].simp[sint], message, len))
		return -EAGAIN;
	vp_interrupt(peer, vp);
	return 0;
}

static void bus_signal(void *opaque, uint32_t vp, uint32_t flag, uint64_t interrupt_page)
{
	struct vmbus_shm_peer *peer = opaque;
	struct vmbus_synic_event_flags *page;

	if (vp >= peer->vp_count || flag >= VMBUS_EVENT_FLAGS)
		return;
	if (interrupt_page) { /* its first half has the layout of a slice of event flags */
		if (interrupt_page % VMBUS_PAGE_SIZE || interrupt_page >= peer->memory_size)
			return;
		page = (struct vmbus_synic_event_flags *)(peer->memory + interrupt_page);
		(void)!vmbus_synic_set_flag(page, flag);
		flag = 0;
	}
	if (vmbus_synic_set_flag(&peer->vps[vp].siefp[VMBUS_SINT], flag))
		vp_interrupt(peer, vp);
}

/* The loop serves every channel after anything happened: nothing to do here. */
static void doorbell_rang(struct vmbus_watch *watch, uint32_t events)
{
	(void)watch, (void)events;
}

static void doorbell_free(struct vmbus_watch *watch)
{
	struct shm_doorbell *bell = container_of(watch, struct shm_doorbell, watch);
	struct vmbus_shm_peer *peer = bell->peer;

	close(watch->fd);
	free(bell);
	vmbus_shm_peer_unref(peer);
}

static struct shm_doorbell *doorbell_find(struct vmbus_shm_peer *peer, uint32_t connection_id)
{
	struct shm_doorbell *bell;

	LIST_FOREACH(bell, &peer->doorbells, link)
		if (bell->connection_id == connection_id)
			return bell;
	return NULL;
}

static int doorbell_new(struct vmbus_shm_peer *peer, uint32_t connection_id,
			struct shm_doorbell **out)
{
	struct shm_doorbell *bell;
	int r;

	/* a guest may choose connection ids of its own: it has one more than channels, as a
	 * well-behaved one, and no more of our file descriptors */
	if (peer->doorbell_count > peer->host->config.server.max_channels)
		return -ENOSPC;
	bell = calloc(1, sizeof(*bell));
	if (!bell)
		return -ENOMEM;
	bell->peer = peer;
	bell->connection_id = connection_id;
	bell->watch.ready = doorbell_rang;
	bell->watch.events = POLLIN | EPOLLET;
	bell->watch.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = bell->watch.fd < 0 ? -errno : vmbus_loop_watch(peer->host->config.loop, &bell->watch);
	if (r) {
		if (bell->watch.fd >= 0)
			close(bell->watch.fd);
		free(bell);
		return r;
	}
	LIST_INSERT_HEAD(&peer->doorbells, bell, link);
	peer->doorbell_count++;
	peer->refs++;
	*out = bell;
	return 0;
}

static int bus_doorbell_add(void *opaque, uint32_t connection_id, int doorbell)
{
	struct vmbus_shm_peer *peer = opaque;
	struct shm_doorbell *bell = doorbell_find(peer, connection_id);
	int r = 0;

	(void)doorbell;
	if (!bell)
		r = doorbell_new(peer, connection_id, &bell);
	if (!r)
		bell->channels++;
	return r;
}

static void bus_doorbell_remove(void *opaque, uint32_t connection_id, int doorbell)
{
	struct shm_doorbell *bell = doorbell_find(opaque, connection_id);

	(void)doorbell;
	if (bell && bell->channels)
		bell->channels--;
}

int vmbus_shm_doorbell_get(struct vmbus_shm_peer *peer, uint32_t connection_id)
{
	const struct shm_doorbell *bell = doorbell_find(peer, connection_id);

	return bell && bell->channels ? bell->watch.fd : -1;
}

void vmbus_shm_doorbells_drop(struct vmbus_shm_peer *peer)
{
	struct shm_doorbell *bell;

	while ((bell = LIST_FIRST(&peer->doorbells))) {
		LIST_REMOVE(bell, link);
		vmbus_loop_unwatch(peer->host->config.loop, &bell->watch, doorbell_free);
	}
}

static void bus_channel_opened(void *opaque, struct vmbus_channel *channel)
{
	struct vmbus_shm_peer *peer = opaque;

	if (vmbus_loop_attach(peer->host->config.loop, channel))
		vmbus_shm_host_log(peer->host, "guest %u: channel %u is not served: out of memory",
				   peer->pid, vmbus_channel_id(channel));
}

static void bus_wake(void *opaque)
{
	struct vmbus_shm_peer *peer = opaque;

	if (!atomic_exchange(&peer->poll_posted, true))
		vmbus_loop_post(peer->host->config.loop, &peer->poll);
}

static void bus_log(void *opaque, enum vmbus_fault fault, uint32_t channel_id, const char *text)
{
	struct vmbus_shm_peer *peer = opaque;

	vmbus_shm_host_log(peer->host, "guest %u: channel %u: %s: %s", peer->pid, channel_id,
			   vmbus_fault_name(fault), text);
}

const struct vmbus_server_ops vmbus_shm_server_ops = {
	.size = sizeof(struct vmbus_server_ops),
	.post_message = bus_post_message,
	.signal = bus_signal,
	.doorbell_add = bus_doorbell_add,
	.doorbell_remove = bus_doorbell_remove,
	.channel_opened = bus_channel_opened,
	.wake = bus_wake,
	.log = bus_log,
};
