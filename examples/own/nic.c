/* SPDX-License-Identifier: MIT */
/* A network card of the VMM's own, vsp/nic.h, in memory: a queue of frames that were turned round.
 * With offloads = 0 each frame is whole: checksums are in it, and no segment is left uncut. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "own.h"

#define FRAME_MAX 1514u
#define DEPTH 64u

struct queue {
	struct vsp_nic_queue nic; /* first */
	struct vmbus_task task;
	struct vmbus_loop *loop;
	struct vsp_nic_events events;
	void *opaque;
	bool waits, posted, freed;
	unsigned int in, out; /* frames that ever came, and went */
	struct frame {
		uint32_t len;
		uint8_t bytes[FRAME_MAX];
	} frames[DEPTH];
};

/* -- Turning round -------------------------------------------------------- */

static void swap(uint8_t *a, uint8_t *b, size_t len)
{
	uint8_t keep[6];

	memcpy(keep, a, len);
	memcpy(a, b, len);
	memcpy(b, keep, len);
}

/* The station that has the address answers, or sends the same back: sums stay right. */
static void frame_turn(uint8_t *frame)
{
	static const uint8_t arp[] = {0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1}, ip[] = {0x08, 0};
	static const uint8_t station[] = {0x02, 0, 0, 0, 0, 1};

	memcpy(frame, frame + 6, 6);
	memcpy(frame + 6, station, 6);
	if (!memcmp(frame + 12, ip, sizeof(ip))) {
		swap(frame + 26, frame + 30, 4);
	} else if (!memcmp(frame + 12, arp, sizeof(arp))) {
		frame[21] = 2; /* a reply */
		memcpy(frame + 32, frame + 22, 6);
		memcpy(frame + 22, station, 6);
		swap(frame + 28, frame + 38, 4);
	}
}

/* -- Frames --------------------------------------------------------------- */

/* iov[0] is the virtio-net header. @to: into the iovecs. */
static void frame_copy(const struct vsp_nic_frame *frame, uint8_t *bytes, uint32_t len, bool to)
{
	for (unsigned int i = 1; i < frame->iov_count && len; i++) {
		const struct iovec *iov = &frame->iov[i];
		uint32_t part = iov->iov_len < len ? (uint32_t)iov->iov_len : len;

		if (to)
			memcpy(iov->iov_base, bytes, part);
		else
			memcpy(bytes, iov->iov_base, part);
		bytes += part;
		len -= part;
	}
}

/* Never readable() from inside send() or receive(): by a task of the loop. */
static void queue_ready(struct vmbus_task *task)
{
	struct queue *q = (struct queue *)((char *)task - offsetof(struct queue, task));

	q->posted = false;
	if (q->freed)
		free(q);
	else
		q->events.readable(q->opaque);
}

static unsigned int queue_send(struct vsp_nic_queue *nic, struct vsp_nic_frame *frames,
			       unsigned int count)
{
	struct queue *q = (struct queue *)nic;

	for (unsigned int i = 0; i < count; i++) {
		struct frame *frame = &q->frames[q->in % DEPTH];

		frames[i].result = frames[i].len > FRAME_MAX ? -EMSGSIZE :
				   q->in - q->out == DEPTH   ? -ENOBUFS : 0;
		if (frames[i].result)
			continue; /* as on a wire: dropped */
		memset(frame->bytes, 0, 64);
		frame->len = frames[i].len;
		frame_copy(&frames[i], frame->bytes, frame->len, false);
		frame_turn(frame->bytes);
		q->in++;
	}
	if (q->waits && q->in != q->out && !q->posted) {
		q->waits = false;
		q->posted = true;
		vmbus_loop_post(q->loop, &q->task);
	}
	return count;
}

static unsigned int queue_receive(struct vsp_nic_queue *nic, struct vsp_nic_frame *frames,
				  unsigned int count)
{
	struct queue *q = (struct queue *)nic;
	unsigned int n;

	for (n = 0; n < count && q->out != q->in; n++, q->out++) {
		struct frame *frame = &q->frames[q->out % DEPTH];

		frames[n].header = (struct vsp_vnet_header){0};
		frames[n].len = frame->len;
		frames[n].result = 0;
		frame_copy(&frames[n], frame->bytes, frame->len, true);
	}
	q->waits = n == 0;
	return n;
}

/* -- The card ------------------------------------------------------------- */

static int queue_new(struct vsp_nic *nic, uint32_t index, struct vmbus_loop *loop,
		     const struct vsp_nic_events *events, void *opaque, struct vsp_nic_queue **out)
{
	struct queue *q = calloc(1, sizeof(*q));

	(void)index;
	if (!q)
		return -ENOMEM;
	q->nic.nic = nic;
	q->task.fn = queue_ready;
	q->loop = loop;
	q->events = *events;
	q->opaque = opaque;
	*out = &q->nic;
	return 0;
}

static void queue_free(struct vsp_nic_queue *nic)
{
	struct queue *q = (struct queue *)nic;

	q->freed = true;
	if (!q->posted)
		free(q);
}

static void nic_get_info(struct vsp_nic *nic, struct vsp_nic_info *info)
{
	(void)nic;
	*info = (struct vsp_nic_info){.queues = 1, .mtu = 1500, .link_up = true};
}

static int nic_set_offloads(struct vsp_nic *nic, uint32_t offloads)
{
	(void)nic;
	return offloads ? -EINVAL : 0;
}

static void nic_watch_link(struct vsp_nic *nic, void (*changed)(void *opaque), void *opaque)
{
	(void)nic, (void)changed, (void)opaque; /* it never changes */
}

static void nic_close(struct vsp_nic *nic)
{
	free(nic);
}

int own_nic(struct vsp_nic **nic)
{
	static const struct vsp_nic_ops ops = {
		.size = sizeof(ops), .get_info = nic_get_info, .queue_new = queue_new,
		.queue_free = queue_free, .send = queue_send, .receive = queue_receive,
		.set_offloads = nic_set_offloads, .watch_link = nic_watch_link, .close = nic_close,
	};

	*nic = malloc(sizeof(**nic));
	if (!*nic)
		return -ENOMEM;
	(*nic)->ops = &ops;
	return 0;
}
