/* SPDX-License-Identifier: MIT */
/* Frames between a channel and a queue of a tap. Towards the host a frame is read into the
 * guest pages where the host will find it; the other way the tap writes it from the receive
 * buffer. What is copied is a head of each. */
#include <stdlib.h>
#include <string.h>

#include "loopback-bridge.h"

#define HEADROOM 128u /* of a frame in its buffer: the RNDIS message goes there */
#define BUFFER_PAGES ((HEADROOM + VSP_NIC_FRAME_MAX + VMBUS_PAGE_SIZE - 1) / VMBUS_PAGE_SIZE)
#define HEAD 192u   /* bytes of a frame that decide how it is described */
#define BATCH 16u   /* frames read at a time */
#define BUDGET 256u /* packets of the host before the other lanes' turn */

_Static_assert(VSP_NETVSC_HEADER_MAX <= HEADROOM, "the RNDIS message has to fit");

/* -- To the host ---------------------------------------------------------- */

/* Returns false if there is no way to say this to a host. */
static bool frame_send(struct lane *l, struct lane_buffer *b, struct vsp_nic_frame *frame)
{
	uint8_t header[VSP_NETVSC_HEADER_MAX], *data = b->memory + HEADROOM;
	struct vsp_netvsc_range range = {.pfns = b->pfns};
	uint32_t head = frame->len < HEAD ? frame->len : HEAD;
	uint32_t len = frame->result ? 0 :
		       vsp_netvsc_header(data, head, frame->len, &frame->header, -1, header);

	if (!len)
		return false;
	memcpy(data - len, header, len);
	range.offset = HEADROOM - len;
	range.len = len + frame->len;
	/* there are fewer buffers than the ring holds packets */
	return vsp_netvsc_send(&l->netvsc, VSP_NVSP_NO_SECTION, 0, &range, 1, b) == 0;
}

/* Reads up to @count frames into the buffers at the end of the free list. Returns how many. */
static unsigned int frames_read(struct lane *l, struct vsp_nic_frame *frames, unsigned int count)
{
	struct iovec iov[BATCH][2];

	for (unsigned int i = 0; i < count; i++) {
		struct lane_buffer *b = l->free[l->free_count - 1 - i];

		iov[i][0] = (struct iovec){&frames[i].header, sizeof(frames[i].header)};
		iov[i][1] = (struct iovec){b->memory + HEADROOM, VSP_NIC_FRAME_MAX};
		frames[i].iov = iov[i];
		frames[i].iov_count = 2;
		frames[i].result = 0;
	}
	return l->queue->nic->ops->receive(l->queue, frames, count);
}

static void frames_send(struct lane *l)
{
	while (l->queue && l->readable && l->free_count) {
		unsigned int count = l->free_count < BATCH ? l->free_count : BATCH;
		struct lane_buffer *unsent[BATCH];
		struct vsp_nic_frame frames[BATCH];
		uint32_t unsent_count = 0;

		count = frames_read(l, frames, count);
		if (!count)
			l->readable = false;
		for (unsigned int i = 0; i < count; i++) {
			struct lane_buffer *b = l->free[--l->free_count];

			if (frame_send(l, b, &frames[i])) {
				l->stats.to_host_frames++;
				l->stats.to_host_bytes += frames[i].len;
			} else {
				l->stats.to_host_lost++;
				unsent[unsent_count++] = b;
			}
		}
		while (unsent_count)
			l->free[l->free_count++] = unsent[--unsent_count];
		vmbus_guest_signal(l->port.channel);
	}
}

void lane_sent(struct vsp_netvsc *netvsc, void *buffer, uint32_t status)
{
	struct lane *l = netvsc->user;

	if (status != VSP_NVSP_STATUS_SUCCESS)
		l->stats.to_host_lost++;
	l->free[l->free_count++] = buffer;
}

/* -- From the host -------------------------------------------------------- */

/* The pieces but for their first @taken bytes. */
static unsigned int pieces_rest(const struct vsp_netvsc_frame *in, uint32_t taken, struct iovec *iov)
{
	unsigned int n = 0;

	for (uint32_t i = 0; i < in->piece_count; i++) {
		uint32_t skip = taken < in->pieces[i].len ? taken : in->pieces[i].len;

		taken -= skip;
		if (in->pieces[i].len > skip)
			iov[n++] = (struct iovec){(void *)(uintptr_t)(in->pieces[i].data + skip),
						  in->pieces[i].len - skip};
	}
	return n;
}

/* What finds no room is lost, as on a wire. */
static void batch_send(struct lane *l)
{
	unsigned int done = 0;

	if (l->frame_count && l->queue)
		done = l->queue->nic->ops->send(l->queue, l->frames, l->frame_count);
	for (unsigned int i = 0; i < l->frame_count; i++) {
		if (i >= done || l->frames[i].result) {
			l->stats.from_host_lost++;
			continue;
		}
		l->stats.from_host_frames++;
		l->stats.from_host_bytes += l->frames[i].len;
	}
	l->frame_count = l->iov_count = 0;
}

void lane_received(struct vsp_netvsc *netvsc, const struct vsp_netvsc_frame *in)
{
	struct lane *l = netvsc->user;
	struct vsp_nic_frame *frame;
	struct iovec *iov;
	uint8_t *head;
	uint32_t head_len, taken;

	if (l->frame_count == LANE_BATCH || l->iov_count + 2 + in->piece_count > LANE_IOV)
		batch_send(l);
	frame = &l->frames[l->frame_count];
	head = l->heads[l->frame_count];
	iov = &l->iov[l->iov_count];
	head_len = vsp_netvsc_nic_head(in, l->mtu, head, &taken, &frame->header);
	if (!head_len) {
		l->stats.from_host_lost++;
		return;
	}
	iov[0] = (struct iovec){&frame->header, sizeof(frame->header)};
	iov[1] = (struct iovec){head, head_len};
	frame->iov = iov;
	frame->iov_count = 2 + pieces_rest(in, taken, iov + 2);
	frame->len = in->len;
	frame->result = 0;
	l->iov_count += frame->iov_count;
	l->frame_count++;
}

void lane_returning(struct vsp_netvsc *netvsc)
{
	batch_send(netvsc->user);
}

/* -- Turns ---------------------------------------------------------------- */

static int lane_poll(struct session_port *port)
{
	struct lane *l = (struct lane *)port;
	unsigned int packets;
	int ret;

	if (!l->netvsc.channel) /* open, but not set up */
		return 0;
	ret = vsp_netvsc_poll(&l->netvsc, BUDGET, &packets);
	if (ret)
		return ret;
	vmbus_guest_commit(port->channel);
	frames_send(l);
	vmbus_guest_signal(port->channel);
	return 0;
}

static void tap_readable(void *opaque)
{
	struct lane *l = opaque;

	l->readable = true;
	frames_send(l);
}

static void tap_writable(void *opaque)
{
	(void)opaque; /* what found no room is lost, as on a wire */
}

int lane_start(struct lane *l, struct vsp_nic *tap, uint32_t index, struct vmbus_loop *loop,
	       uint32_t mtu)
{
	static const struct vsp_nic_events events = {
		.size = sizeof(events), .readable = tap_readable, .writable = tap_writable};

	l->mtu = mtu;
	l->readable = true;
	return tap->ops->queue_new(tap, index, loop, &events, l, &l->queue);
}

void lane_stop(struct lane *l)
{
	if (l->queue)
		l->queue->nic->ops->queue_free(l->queue);
	l->queue = NULL;
}

/* -- Life ----------------------------------------------------------------- */

void lane_reset(struct lane *l)
{
	l->netvsc.channel = NULL;
	for (l->free_count = 0; l->free_count < LANE_BUFFERS; l->free_count++)
		l->free[l->free_count] = &l->buffers[l->free_count];
}

struct lane *lane_new(struct session *s)
{
	struct lane *l = calloc(1, sizeof(*l));
	uint64_t *pfns = calloc(LANE_BUFFERS * BUFFER_PAGES, sizeof(*pfns));

	if (!l || !pfns || vmbus_shm_guest_alloc(s->shm, LANE_BUFFERS * BUFFER_PAGES, pfns)) {
		session_fail(s, LOOPBACK_FAILED, "no guest memory for frames");
		free(pfns);
		free(l);
		return NULL;
	}
	for (uint32_t i = 0; i < LANE_BUFFERS; i++, pfns += BUFFER_PAGES)
		l->buffers[i] = (struct lane_buffer){pfns, vmbus_shm_guest_page(s->shm, pfns[0])};
	l->port.poll = lane_poll;
	lane_reset(l);
	return l;
}

void lane_free(struct lane *l)
{
	if (!l)
		return;
	session_port_free(&l->port);
	free(l->buffers[0].pfns);
	free(l);
}
