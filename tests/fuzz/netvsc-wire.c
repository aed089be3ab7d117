/* SPDX-License-Identifier: MIT */
/* The adapter's nic, between it and a pair: it looks at what the adapter sends, counts both
 * ways, and fails where the script wants that. And the pair's other end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netvsc-world.h"

#ifdef __clang__ /* libFuzzer looks for new ways through the adapter, not through this */
#pragma clang attribute push(__attribute__((no_sanitize("coverage"))), apply_to = function)
#endif

struct queue {
	struct vsp_nic_queue queue;
	struct vsp_nic_queue *inner;
};

uint8_t far_frame[VSP_NIC_FRAME_MAX + FRAME_MORE];
uint32_t far_len;

static struct wire *wire_of(struct vsp_nic *nic)
{
	return (struct wire *)nic;
}

/* -- What the adapter sees --------------------------------------------------- */

static void wire_get_info(struct vsp_nic *nic, struct vsp_nic_info *info)
{
	struct wire *w = wire_of(nic);

	w->inner->ops->get_info(w->inner, info);
	info->offloads &= ~w->offloads;
	info->speed_bps = w->speed_bps;
}

static int wire_queue_new(struct vsp_nic *nic, uint32_t index, struct vmbus_loop *loop,
			  const struct vsp_nic_events *events, void *opaque, struct vsp_nic_queue **out)
{
	struct wire *w = wire_of(nic);
	struct queue *q;

	if (w->no_queue)
		return -EMFILE;
	q = calloc(1, sizeof(*q));
	CHECK(q);
	q->queue.nic = nic;
	CHECK(w->inner->ops->queue_new(w->inner, index, loop, events, opaque, &q->inner) == 0);
	*out = &q->queue;
	return 0;
}

static void wire_queue_free(struct vsp_nic_queue *queue)
{
	struct queue *q = (struct queue *)queue;

	q->inner->nic->ops->queue_free(q->inner);
	free(q);
}

/* A guest can ask for what it likes; the nic is asked only for what fits the frame. */
static void sent_check(const struct vsp_nic_frame *f)
{
	const struct vsp_vnet_header *h = &f->header;
	uint64_t len = 0;

	CHECK(f->iov_count >= 2 && f->iov[0].iov_base == &f->header);
	CHECK(f->iov[0].iov_len == sizeof(f->header));
	for (unsigned int i = 1; i < f->iov_count; i++)
		len += f->iov[i].iov_len;
	CHECK(len == f->len && len >= VSP_ETHERNET && len <= VSP_NIC_FRAME_MAX);
	CHECK((h->flags & ~VSP_VNET_NEEDS_CSUM) == 0 && h->buffers == 0);
	if (h->flags)
		CHECK(h->csum_start >= VSP_ETHERNET && h->csum_start + h->csum_offset + 2u <= len);
	if (h->gso_type != VSP_VNET_GSO_NONE)
		CHECK(h->flags && h->gso_size && h->header_len > h->csum_start && h->header_len < len);
	else
		CHECK(f->len <= world.net->adapter.mtu + VSP_VLAN_TAG);
}

static unsigned int wire_send(struct vsp_nic_queue *queue, struct vsp_nic_frame *frames,
			      unsigned int count)
{
	struct queue *q = (struct queue *)queue;
	struct wire *w = wire_of(queue->nic);
	unsigned int n;

	for (unsigned int i = 0; i < count; i++)
		sent_check(&frames[i]);
	n = q->inner->nic->ops->send(q->inner, frames, count);
	CHECK(n <= count);
	for (unsigned int i = 0; i < n; i++) {
		w->refused += frames[i].result != 0;
		w->sent += frames[i].result == 0;
		w->sent_bytes += frames[i].result == 0 ? frames[i].len : 0;
	}
	return n;
}

static void received_note(const struct vsp_nic_frame *f)
{
	uint32_t left = f->len;

	for (unsigned int i = 1; i < f->iov_count && left; i++) {
		uint32_t len = f->iov[i].iov_len < left ? (uint32_t)f->iov[i].iov_len : left;

		memory_written(f->iov[i].iov_base, len);
		left -= len;
	}
}

static unsigned int wire_receive(struct vsp_nic_queue *queue, struct vsp_nic_frame *frames,
				 unsigned int count)
{
	struct queue *q = (struct queue *)queue;
	unsigned int n = q->inner->nic->ops->receive(q->inner, frames, count);

	wire_of(queue->nic)->given += n;
	for (unsigned int i = 0; i < n; i++)
		received_note(&frames[i]);
	return n;
}

static int wire_set_offloads(struct vsp_nic *nic, uint32_t offloads)
{
	struct wire *w = wire_of(nic);

	CHECK((offloads & w->offloads) == 0);
	return w->no_offloads ? -EINVAL : 0;
}

static void wire_watch_link(struct vsp_nic *nic, void (*changed)(void *opaque), void *opaque)
{
	struct vsp_nic *inner = wire_of(nic)->inner;

	inner->ops->watch_link(inner, changed, opaque);
}

static void wire_close(struct vsp_nic *nic)
{
	struct wire *w = wire_of(nic);

	w->inner->ops->close(w->inner);
	w->inner = NULL;
}

struct vsp_nic *wire_make(struct wire *wire, struct vsp_nic *inner)
{
	static const struct vsp_nic_ops ops = {
		.size = sizeof(ops),
		.get_info = wire_get_info,
		.queue_new = wire_queue_new,
		.queue_free = wire_queue_free,
		.send = wire_send,
		.receive = wire_receive,
		.set_offloads = wire_set_offloads,
		.watch_link = wire_watch_link,
		.close = wire_close,
	};

	wire->nic.ops = &ops;
	wire->inner = inner;
	/* frames come as they like: it is the adapter that has to look */
	CHECK(inner->ops->set_offloads(inner, 0xf) == 0);
	return &wire->nic;
}

/* -- The far end ------------------------------------------------------------ */

static void far_event(void *opaque)
{
	(void)opaque; /* it is looked at in every turn */
}

void far_open(struct vsp_nic *nic, uint32_t queues)
{
	static const struct vsp_nic_events events = {sizeof(events), far_event, far_event};

	world.far = nic;
	for (uint32_t i = 0; i < queues; i++)
		CHECK(nic->ops->queue_new(nic, i, NULL, &events, NULL, &world.far_queues[i]) == 0);
	CHECK(nic->ops->set_offloads(nic, VSP_NIC_CSUM | VSP_NIC_TSO4 | VSP_NIC_TSO6) == 0);
}

void far_close(void)
{
	for (uint32_t i = 0; i < LINES; i++)
		if (world.far_queues[i])
			world.far->ops->queue_free(world.far_queues[i]);
	world.far->ops->close(world.far);
}

bool far_put(uint32_t queue, const struct vsp_vnet_header *header, uint8_t *frame, uint32_t len)
{
	struct vsp_nic_frame f = {.header = *header, .len = len};
	struct iovec iov[2] = {{&f.header, sizeof(f.header)}, {frame, len}};

	f.iov = iov;
	f.iov_count = 2;
	return world.far->ops->send(world.far_queues[queue], &f, 1) == 1 && f.result == 0;
}

bool far_take(void)
{
	struct vsp_nic_frame f = {.len = 0};
	struct iovec iov[2] = {{&f.header, sizeof(f.header)}, {far_frame, sizeof(far_frame)}};
	uint64_t before = world.far_got;

	f.iov = iov;
	f.iov_count = 2;
	for (uint32_t i = 0; i < LINES && !world.far_deaf; i++) {
		while (world.far_queues[i] &&
		       world.far->ops->receive(world.far_queues[i], &f, 1) == 1) {
			CHECK(f.result == 0);
			far_len = f.len;
			world.far_got++;
		}
	}
	return world.far_got != before;
}

#ifdef __clang__
#pragma clang attribute pop
#endif
