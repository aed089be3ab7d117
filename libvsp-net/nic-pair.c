/* SPDX-License-Identifier: MIT */
/* Two nics back to back, or one with itself. A frame is copied once, from the sender's memory
 * into a buffer of its own: this is for tests, tools and fuzzers. */
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <vsp/nic.h>

struct packet {
	struct vsp_vnet_header header;
	uint32_t len;
	uint8_t *bytes;
};

struct wire { /* one direction of one queue */
	struct packet *packets; /* a ring of the pair's depth */
	uint32_t first, count;
	bool reader_waits, writer_waits;
};

struct queue { /* one end of one queue, while it is open */
	struct vsp_nic_queue queue;
	struct end *end;
	uint32_t index;
	struct vmbus_loop *loop;
	struct vsp_nic_events events;
	void *opaque;
	struct vmbus_task task;
	bool posted, dead;
	bool readable, writable; /* to be told by the task */
};

struct end {
	struct vsp_nic nic;
	struct pair *pair;
	struct end *other; /* itself: a loop-back */
	uint32_t offloads; /* what this end may be given */
	bool link_up, closed;
	struct queue **queues;
	struct wire *wires; /* towards this end */
	void (*changed)(void *opaque);
	void *opaque;
};

struct pair {
	pthread_mutex_t lock;
	pthread_mutex_t link_lock; /* held while a change of the link is told */
	uint32_t queues, depth;
	struct end ends[2];
};

static void pair_free(struct pair *p)
{
	for (int e = 0; e < 2; e++) {
		for (uint32_t q = 0; p->ends[e].wires && q < p->queues; q++) {
			struct wire *w = &p->ends[e].wires[q];

			for (uint32_t i = 0; i < w->count; i++)
				free(w->packets[(w->first + i) % p->depth].bytes);
			free(w->packets);
		}
		free(p->ends[e].wires);
		free(p->ends[e].queues);
	}
	pthread_mutex_destroy(&p->lock);
	pthread_mutex_destroy(&p->link_lock);
	free(p);
}

/* -- Telling -------------------------------------------------------------- */

static void queue_tell(struct queue *q, bool readable, bool writable)
{
	if (readable)
		q->events.readable(q->opaque);
	if (writable)
		q->events.writable(q->opaque);
}

static void queue_task(struct vmbus_task *task)
{
	struct queue *q = (struct queue *)((char *)task - offsetof(struct queue, task));
	pthread_mutex_t *lock = &q->end->pair->lock;
	bool dead, readable, writable;

	pthread_mutex_lock(lock);
	q->posted = false;
	dead = q->dead;
	readable = q->readable;
	writable = q->writable;
	q->readable = q->writable = false;
	pthread_mutex_unlock(lock);
	if (dead)
		free(q);
	else
		queue_tell(q, readable, writable);
}

/* In the thread of the queue's loop; without a loop there is one thread only. The lock is
 * held; returns whether the caller has to tell when it is not. */
static bool queue_wake(struct queue *q, bool readable, bool writable)
{
	if (!q)
		return false;
	if (!q->loop)
		return true;
	q->readable |= readable;
	q->writable |= writable;
	if (!q->posted) {
		q->posted = true;
		vmbus_loop_post(q->loop, &q->task);
	}
	return false;
}

/* -- Ops ------------------------------------------------------------------ */

static void nic_get_info(struct vsp_nic *nic, struct vsp_nic_info *info)
{
	struct end *end = (struct end *)nic;

	pthread_mutex_lock(&end->pair->lock);
	*info = (struct vsp_nic_info){
		.queues = end->pair->queues,
		.offloads = VSP_NIC_CSUM | VSP_NIC_TSO4 | VSP_NIC_TSO6 | VSP_NIC_USO,
		.link_up = end->link_up,
	};
	pthread_mutex_unlock(&end->pair->lock);
}

static int nic_queue_new(struct vsp_nic *nic, uint32_t index, struct vmbus_loop *loop,
			 const struct vsp_nic_events *events, void *opaque, struct vsp_nic_queue **out)
{
	struct end *end = (struct end *)nic;
	struct queue *q;

	if (index >= end->pair->queues || end->queues[index])
		return -EINVAL;
	if (end->other == end && !loop)
		return -EINVAL; /* send() would call readable() */
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->queue.nic = nic;
	q->end = end;
	q->index = index;
	q->loop = loop;
	q->events = *events;
	q->opaque = opaque;
	q->task.fn = queue_task;
	pthread_mutex_lock(&end->pair->lock);
	end->queues[index] = q;
	pthread_mutex_unlock(&end->pair->lock);
	*out = &q->queue;
	return 0;
}

static void nic_queue_free(struct vsp_nic_queue *queue)
{
	struct queue *q = (struct queue *)queue;
	bool posted;

	pthread_mutex_lock(&q->end->pair->lock);
	q->end->queues[q->index] = NULL;
	q->end->wires[q->index].reader_waits = false;
	q->end->other->wires[q->index].writer_waits = false;
	q->dead = true;
	posted = q->posted;
	pthread_mutex_unlock(&q->end->pair->lock);
	if (!posted)
		free(q);
}

static uint32_t offloads_needed(const struct vsp_vnet_header *h)
{
	uint32_t needed = h->flags & VSP_VNET_NEEDS_CSUM ? VSP_NIC_CSUM : 0;

	switch (h->gso_type & ~VSP_VNET_GSO_ECN) {
	case VSP_VNET_GSO_TCPV4:
		return needed | VSP_NIC_TSO4;
	case VSP_VNET_GSO_TCPV6:
		return needed | VSP_NIC_TSO6;
	case VSP_VNET_GSO_UDP_L4:
		return needed | VSP_NIC_USO;
	default:
		return needed;
	}
}

static int packet_copy(struct packet *p, const struct vsp_nic_frame *frame)
{
	uint32_t at = 0;

	p->bytes = malloc(frame->len ? frame->len : 1u);
	if (!p->bytes)
		return -ENOMEM;
	for (unsigned int i = 1; i < frame->iov_count; i++) {
		memcpy(p->bytes + at, frame->iov[i].iov_base, frame->iov[i].iov_len);
		at += (uint32_t)frame->iov[i].iov_len;
	}
	p->header = frame->header;
	p->len = frame->len;
	return 0;
}

static unsigned int nic_send(struct vsp_nic_queue *queue, struct vsp_nic_frame *frames,
			     unsigned int count)
{
	struct queue *q = (struct queue *)queue, *peer;
	struct pair *pair = q->end->pair;
	struct end *other = q->end->other;
	struct wire *w = &other->wires[q->index];
	unsigned int n;
	bool tell;

	pthread_mutex_lock(&pair->lock);
	for (n = 0; n < count && w->count < pair->depth; n++) {
		frames[n].result = 0;
		if (offloads_needed(&frames[n].header) & ~other->offloads)
			frames[n].result = -EOPNOTSUPP;
		else
			frames[n].result = packet_copy(&w->packets[(w->first + w->count) % pair->depth],
						       &frames[n]);
		if (!frames[n].result)
			w->count++;
	}
	if (n < count)
		w->writer_waits = true;
	peer = other->queues[q->index];
	tell = w->reader_waits && w->count;
	if (tell)
		w->reader_waits = false;
	tell = tell && queue_wake(peer, true, false);
	pthread_mutex_unlock(&pair->lock);
	if (tell)
		queue_tell(peer, true, false);
	return n;
}

static void packet_give(struct packet *p, struct vsp_nic_frame *frame)
{
	uint32_t at = 0;

	frame->header = p->header;
	for (unsigned int i = 1; i < frame->iov_count && at < p->len; i++) {
		uint32_t len = (uint32_t)frame->iov[i].iov_len;

		if (len > p->len - at)
			len = p->len - at;
		memcpy(frame->iov[i].iov_base, p->bytes + at, len);
		at += len;
	}
	frame->len = at;
	frame->result = at < p->len ? -EMSGSIZE : 0;
	free(p->bytes);
}

static unsigned int nic_receive(struct vsp_nic_queue *queue, struct vsp_nic_frame *frames,
				unsigned int count)
{
	struct queue *q = (struct queue *)queue, *peer;
	struct pair *pair = q->end->pair;
	struct wire *w = &q->end->wires[q->index];
	unsigned int n;
	bool tell;

	pthread_mutex_lock(&pair->lock);
	for (n = 0; n < count && w->count; n++) {
		packet_give(&w->packets[w->first], &frames[n]);
		w->first = (w->first + 1) % pair->depth;
		w->count--;
	}
	if (n == 0)
		w->reader_waits = true;
	peer = q->end->other->queues[q->index];
	tell = w->writer_waits && n;
	if (tell)
		w->writer_waits = false;
	tell = tell && queue_wake(peer, false, true);
	pthread_mutex_unlock(&pair->lock);
	if (tell)
		queue_tell(peer, false, true);
	return n;
}

static int nic_set_offloads(struct vsp_nic *nic, uint32_t offloads)
{
	struct end *end = (struct end *)nic;

	pthread_mutex_lock(&end->pair->lock);
	end->offloads = offloads;
	pthread_mutex_unlock(&end->pair->lock);
	return 0;
}

static void nic_watch_link(struct vsp_nic *nic, void (*changed)(void *opaque), void *opaque)
{
	struct end *end = (struct end *)nic;

	pthread_mutex_lock(&end->pair->link_lock);
	end->changed = changed;
	end->opaque = opaque;
	pthread_mutex_unlock(&end->pair->link_lock);
}

static void nic_close(struct vsp_nic *nic)
{
	struct end *end = (struct end *)nic;
	bool last;

	pthread_mutex_lock(&end->pair->lock);
	end->closed = true;
	last = end->other->closed;
	pthread_mutex_unlock(&end->pair->lock);
	if (last)
		pair_free(end->pair);
}

static const struct vsp_nic_ops pair_ops = {
	.size = sizeof(pair_ops),
	.get_info = nic_get_info,
	.queue_new = nic_queue_new,
	.queue_free = nic_queue_free,
	.send = nic_send,
	.receive = nic_receive,
	.set_offloads = nic_set_offloads,
	.watch_link = nic_watch_link,
	.close = nic_close,
};

void vsp_nic_pair_set_link(struct vsp_nic *nic, bool up)
{
	struct end *end = ((struct end *)nic)->other;

	pthread_mutex_lock(&end->pair->lock);
	end->link_up = up;
	pthread_mutex_unlock(&end->pair->lock);
	pthread_mutex_lock(&end->pair->link_lock);
	if (end->changed)
		end->changed(end->opaque);
	pthread_mutex_unlock(&end->pair->link_lock);
}

static int end_setup(struct pair *p, struct end *end, struct end *other)
{
	end->nic.ops = &pair_ops;
	end->pair = p;
	end->other = other;
	end->link_up = true;
	end->queues = calloc(p->queues, sizeof(end->queues[0]));
	end->wires = calloc(p->queues, sizeof(end->wires[0]));
	if (!end->queues || !end->wires)
		return -ENOMEM;
	for (uint32_t q = 0; q < p->queues; q++) {
		end->wires[q].packets = calloc(p->depth, sizeof(struct packet));
		if (!end->wires[q].packets)
			return -ENOMEM;
	}
	return 0;
}

static struct pair *pair_new(uint32_t queues, uint32_t depth, bool loopback)
{
	struct pair *p = calloc(1, sizeof(*p));
	int ret;

	if (!p)
		return NULL;
	p->queues = queues;
	p->depth = depth;
	pthread_mutex_init(&p->lock, NULL);
	pthread_mutex_init(&p->link_lock, NULL);
	ret = end_setup(p, &p->ends[0], &p->ends[!loopback]);
	if (!ret && !loopback)
		ret = end_setup(p, &p->ends[1], &p->ends[0]);
	if (ret) {
		pair_free(p);
		return NULL;
	}
	return p;
}

static bool size_valid(uint32_t queues, uint32_t depth)
{
	return queues >= 1 && queues <= 64 && depth >= 1 && depth <= 65536;
}

int vsp_nic_pair(uint32_t queues, uint32_t depth, struct vsp_nic *ends[2])
{
	struct pair *p;

	if (!size_valid(queues, depth))
		return -EINVAL;
	p = pair_new(queues, depth, false);
	if (!p)
		return -ENOMEM;
	ends[0] = &p->ends[0].nic;
	ends[1] = &p->ends[1].nic;
	return 0;
}

int vsp_nic_loopback(uint32_t queues, uint32_t depth, struct vsp_nic **nic)
{
	struct pair *p;

	if (!size_valid(queues, depth))
		return -EINVAL;
	p = pair_new(queues, depth, true);
	if (!p)
		return -ENOMEM;
	*nic = &p->ends[0].nic;
	return 0;
}
