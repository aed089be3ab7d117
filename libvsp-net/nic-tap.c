/* SPDX-License-Identifier: MIT */
/* A tap device, its virtio-net header in front of every frame. The kernel copies in the
 * call, so nothing is in flight between calls; a queue sleeps on its fd only after a call
 * said EAGAIN.
 *
 * Frames to the device go in batches (tap-batch.c). Reads are a readv() a frame: sixteen of them in one
 * io_uring took the same CPU time (bench/net, small datagrams), each one that finds nothing costs
 * twice what the call does, and reads that stay in flight are all woken by every frame. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <vsp/nic.h>

#include "tap-batch.h"
#include "tap-link.h"

#define QUEUES 64u

/* not in the headers of every distribution that runs on such a kernel (6.2) */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

struct queue {
	struct vsp_nic_queue queue;
	struct vmbus_watch watch;
	struct vmbus_timer lost; /* tells of a deleted device, from outside of receive() */
	struct vmbus_loop *loop;
	struct tap *tap;
	uint32_t index;
	int fd;
	struct vsp_tap_batch batch;
	bool reader_waits, writer_waits;
	struct vsp_nic_events events;
	void *opaque;
};

struct tap {
	struct vsp_nic nic;
	char name[IFNAMSIZ];
	uint32_t queues, offloads;
	int fds[QUEUES];
	struct queue *open[QUEUES];
	struct vsp_tap_link *link;
	pthread_mutex_t lock; /* of the state of the link */
	bool link_up, lost;     /* lost: the device was deleted */
	pthread_mutex_t link_lock; /* held while a change is told */
	void (*changed)(void *opaque);
	void *opaque;
};

/* -- The link ------------------------------------------------------------- */

static void link_set(struct tap *tap, bool up, bool lost)
{
	bool was;

	pthread_mutex_lock(&tap->lock);
	was = tap->link_up;
	tap->lost |= lost;
	tap->link_up = up && !tap->lost;
	up = tap->link_up;
	pthread_mutex_unlock(&tap->lock);
	if (up == was)
		return;
	pthread_mutex_lock(&tap->link_lock);
	if (tap->changed)
		tap->changed(tap->opaque);
	pthread_mutex_unlock(&tap->link_lock);
}

static void link_changed(void *opaque, bool up)
{
	link_set(opaque, up, false);
}

static void lost_fire(struct vmbus_timer *timer)
{
	struct queue *q = (struct queue *)((char *)timer - offsetof(struct queue, lost));

	link_set(q->tap, false, true);
}

/* -- Frames --------------------------------------------------------------- */

static unsigned int nic_send(struct vsp_nic_queue *queue, struct vsp_nic_frame *frames,
			     unsigned int count)
{
	struct queue *q = (struct queue *)queue;
	unsigned int i = count > 1 ? vsp_tap_batch_write(&q->batch, frames, count) : 0;

	for (; i < count; i++) {
		ssize_t n = writev(q->fd, frames[i].iov, (int)frames[i].iov_count);

		if (n < 0 && errno == EAGAIN) {
			q->writer_waits = true;
			return i;
		}
		frames[i].result = n < 0 ? -errno : 0; /* EIO: it is down; the frame is lost, as on a wire */
	}
	return count;
}

static size_t iov_bytes(const struct vsp_nic_frame *frame)
{
	size_t bytes = 0;

	for (unsigned int i = 0; i < frame->iov_count; i++)
		bytes += frame->iov[i].iov_len;
	return bytes;
}

static unsigned int nic_receive(struct vsp_nic_queue *queue, struct vsp_nic_frame *frames,
				unsigned int count)
{
	struct queue *q = (struct queue *)queue;
	unsigned int i;

	for (i = 0; i < count; i++) {
		ssize_t n = readv(q->fd, frames[i].iov, (int)frames[i].iov_count);

		if (n < (ssize_t)sizeof(frames[i].header)) {
			if (n < 0 && errno == EBADFD) /* the device was deleted */
				vmbus_loop_timer(q->loop, &q->lost, 0);
			break;
		}
		frames[i].len = (uint32_t)n - (uint32_t)sizeof(frames[i].header);
		/* a frame that does not fit is cut without a word */
		frames[i].result = (size_t)n == iov_bytes(&frames[i]) ? -EMSGSIZE : 0;
	}
	if (i == 0)
		q->reader_waits = true;
	return i;
}

static void queue_ready(struct vmbus_watch *watch, uint32_t events)
{
	struct queue *q = (struct queue *)((char *)watch - offsetof(struct queue, watch));

	if (q->reader_waits && events & (POLLIN | POLLERR | POLLHUP)) {
		q->reader_waits = false;
		q->events.readable(q->opaque);
	}
	if (q->writer_waits && events & (POLLOUT | POLLERR | POLLHUP)) {
		q->writer_waits = false;
		q->events.writable(q->opaque);
	}
}

/* -- Queues --------------------------------------------------------------- */

/* A queue that nobody reads gets no frames. The first one always stays. */
static int queue_attach(struct tap *tap, uint32_t index, bool attach)
{
	struct ifreq r = {.ifr_flags = attach ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};

	if (index == 0)
		return 0;
	return ioctl(tap->fds[index], TUNSETQUEUE, &r) ? -errno : 0;
}

static int nic_queue_new(struct vsp_nic *nic, uint32_t index, struct vmbus_loop *loop,
			 const struct vsp_nic_events *events, void *opaque, struct vsp_nic_queue **out)
{
	struct tap *tap = (struct tap *)nic;
	struct queue *q;
	int ret;

	if (index >= tap->queues || tap->open[index] || !loop)
		return -EINVAL;
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->queue.nic = nic;
	q->tap = tap;
	q->index = index;
	q->loop = loop;
	q->fd = tap->fds[index];
	q->events = *events;
	q->opaque = opaque;
	q->lost.fire = lost_fire;
	q->watch.ready = queue_ready;
	q->watch.fd = q->fd;
	q->watch.events = POLLIN | POLLOUT | (uint32_t)EPOLLET;
	ret = queue_attach(tap, index, true);
	if (!ret)
		ret = vmbus_loop_watch(loop, &q->watch);
	if (ret) {
		free(q);
		return ret;
	}
	vsp_tap_batch_open(&q->batch, q->fd);
	tap->open[index] = q;
	*out = &q->queue;
	return 0;
}

static void queue_done(struct vmbus_watch *watch)
{
	free((char *)watch - offsetof(struct queue, watch));
}

static void nic_queue_free(struct vsp_nic_queue *queue)
{
	struct queue *q = (struct queue *)queue;

	vmbus_loop_timer_cancel(q->loop, &q->lost);
	(void)queue_attach(q->tap, q->index, false);
	q->tap->open[q->index] = NULL;
	vsp_tap_batch_close(&q->batch);
	vmbus_loop_unwatch(q->loop, &q->watch, queue_done);
}

/* -- The device ----------------------------------------------------------- */

static unsigned int offload_bits(uint32_t offloads)
{
	unsigned int bits = 0;

	if (!(offloads & VSP_NIC_CSUM))
		return 0; /* the kernel wants checksums with all others */
	bits |= TUN_F_CSUM;
	if (offloads & VSP_NIC_TSO4)
		bits |= TUN_F_TSO4 | TUN_F_TSO_ECN;
	if (offloads & VSP_NIC_TSO6)
		bits |= TUN_F_TSO6 | TUN_F_TSO_ECN;
	if (offloads & VSP_NIC_USO)
		bits |= TUN_F_USO4 | TUN_F_USO6;
	return bits;
}

static int nic_set_offloads(struct vsp_nic *nic, uint32_t offloads)
{
	struct tap *tap = (struct tap *)nic;

	return ioctl(tap->fds[0], TUNSETOFFLOAD,
		     (unsigned long)offload_bits(offloads)) ? -errno : 0;
}

static void nic_get_info(struct vsp_nic *nic, struct vsp_nic_info *info)
{
	struct tap *tap = (struct tap *)nic;

	pthread_mutex_lock(&tap->lock);
	*info = (struct vsp_nic_info){
		.queues = tap->queues, .offloads = tap->offloads, .link_up = tap->link_up};
	pthread_mutex_unlock(&tap->lock);
}

static void nic_watch_link(struct vsp_nic *nic, void (*changed)(void *opaque), void *opaque)
{
	struct tap *tap = (struct tap *)nic;

	pthread_mutex_lock(&tap->link_lock);
	tap->changed = changed;
	tap->opaque = opaque;
	pthread_mutex_unlock(&tap->link_lock);
}

static void nic_close(struct vsp_nic *nic)
{
	struct tap *tap = (struct tap *)nic;

	vsp_tap_link_unwatch(tap->link);
	for (uint32_t i = 0; i < tap->queues; i++)
		if (tap->fds[i] >= 0)
			close(tap->fds[i]);
	pthread_mutex_destroy(&tap->lock);
	pthread_mutex_destroy(&tap->link_lock);
	free(tap);
}

static const struct vsp_nic_ops tap_ops = {
	.size = sizeof(tap_ops),
	.get_info = nic_get_info,
	.queue_new = nic_queue_new,
	.queue_free = nic_queue_free,
	.send = nic_send,
	.receive = nic_receive,
	.set_offloads = nic_set_offloads,
	.watch_link = nic_watch_link,
	.close = nic_close,
};

/* -- Making --------------------------------------------------------------- */

static int fd_open(struct tap *tap, uint32_t index, struct vmbus_error *err)
{
	struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), ret = 0;

	if (fd < 0)
		return vmbus_error_set(err, -errno, "/dev/net/tun: %s", strerror(errno));
	tap->fds[index] = fd;
	if (tap->queues > 1)
		r.ifr_flags |= IFF_MULTI_QUEUE;
	memcpy(r.ifr_name, tap->name, sizeof(r.ifr_name));
	if (ioctl(fd, TUNSETIFF, &r))
		ret = errno;
	if (ret == EINVAL && tap->queues == 1) { /* it may have been made for several */
		r.ifr_flags |= IFF_MULTI_QUEUE;
		ret = ioctl(fd, TUNSETIFF, &r) ? errno : 0;
	}
	if (ret)
		return vmbus_error_set(err, -ret, "%s: %s%s", tap->name, strerror(ret),
				       ret == EINVAL ? " (no tap, or not one of several queues)" : "");
	memcpy(tap->name, r.ifr_name, sizeof(tap->name));
	return index ? queue_attach(tap, index, false) : 0;
}

/* Header size and offloads are the device's, and survive in a persistent one. */
static int device_setup(struct tap *tap, struct vmbus_error *err)
{
	const uint32_t all = VSP_NIC_CSUM | VSP_NIC_TSO4 | VSP_NIC_TSO6;
	int size = sizeof(struct vsp_vnet_header);

	if (ioctl(tap->fds[0], TUNSETVNETHDRSZ, &size))
		return vmbus_error_set(err, -errno, "%s: no virtio-net header: %s", tap->name,
				       strerror(errno));
	if (!nic_set_offloads(&tap->nic, all | VSP_NIC_USO))
		tap->offloads = all | VSP_NIC_USO;
	else if (!nic_set_offloads(&tap->nic, all))
		tap->offloads = all;
	return nic_set_offloads(&tap->nic, 0);
}

static int by_name(struct tap *tap, const struct vsp_nic_tap_config *config,
		   struct vmbus_error *err)
{
	int ret = 0;

	for (uint32_t i = 0; i < tap->queues && !ret; i++)
		ret = fd_open(tap, i, err);
	if (!ret)
		ret = device_setup(tap, err);
	if (!ret)
		ret = vsp_tap_link_setup(tap->name, config, err);
	if (!ret && config->loop) {
		ret = vsp_tap_link_watch(tap->name, config->loop, link_changed, tap, &tap->link,
					 &tap->link_up);
		if (ret)
			vmbus_error_set(err, ret, "%s: cannot follow its link: %s", tap->name,
					strerror(-ret));
	}
	return ret;
}

static int by_fds(struct tap *tap, const struct vsp_nic_tap_config *config, struct vmbus_error *err)
{
	for (uint32_t i = 0; i < tap->queues; i++) {
		int flags = fcntl(config->fds[i], F_GETFL);

		if (flags < 0 || fcntl(config->fds[i], F_SETFL, flags | O_NONBLOCK))
			return vmbus_error_set(err, -errno, "tap fd %d: %s", config->fds[i],
					       strerror(errno));
	}
	memcpy(tap->fds, config->fds, tap->queues * sizeof(tap->fds[0]));
	for (uint32_t i = 1; i < tap->queues; i++)
		(void)queue_attach(tap, i, false); /* it may be detached already */
	return device_setup(tap, err);
}

int vsp_nic_tap(const struct vsp_nic_tap_config *config, struct vsp_nic **nic,
		struct vmbus_error *err)
{
	struct tap *tap;
	int ret;

	if (config->size != sizeof(*config) || config->queues < 1 || config->queues > QUEUES ||
	    !config->name || strlen(config->name) >= IFNAMSIZ)
		return vmbus_error_set(err, -EINVAL, "tap: a name too long, or no queues");
	tap = calloc(1, sizeof(*tap));
	if (!tap)
		return -ENOMEM;
	tap->nic.ops = &tap_ops;
	tap->queues = config->queues;
	tap->link_up = true;
	memcpy(tap->name, config->name, strlen(config->name));
	memset(tap->fds, 0xff, sizeof(tap->fds));
	pthread_mutex_init(&tap->lock, NULL);
	pthread_mutex_init(&tap->link_lock, NULL);
	ret = config->fds ? by_fds(tap, config, err) : by_name(tap, config, err);
	if (ret) {
		if (config->fds)
			memset(tap->fds, 0xff, sizeof(tap->fds)); /* still the caller's */
		nic_close(&tap->nic);
		return ret;
	}
	if (config->fds)
		tap->name[0] = 0;
	*nic = &tap->nic;
	return 0;
}

const char *vsp_nic_tap_name(const struct vsp_nic *nic)
{
	return ((const struct tap *)nic)->name;
}
