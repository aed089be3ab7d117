/* SPDX-License-Identifier: MIT */
/* The reading end of a ring. Letters in brackets: barrier.h. */
#include <string.h>

#include "ring-access.h"

#define DESCRIPTOR_BYTES ((uint32_t)sizeof(struct vmbus_packet_descriptor))

int vmbus_rx_init(struct vmbus_rx *rx, const struct vmbus_ring_memory *mem)
{
	struct vmbus_ring_control *control = mem->control;
	uint32_t in, out;

	if (ring_load_index(&control->in, mem->size, &in) ||
	    ring_load_index(&control->out, mem->size, &out))
		return VMBUS_FAULT_BAD_INDEX;
	memset(rx, 0, sizeof(*rx));
	rx->mem = *mem;
	rx->in = in;
	rx->out = rx->committed = out;
	shared_store(&control->interrupt_mask, 1);
	return 0;
}

bool vmbus_rx_pending(const struct vmbus_rx *rx)
{
	return shared_load(&rx->mem.control->in) != rx->out;
}

bool vmbus_rx_peer_frees(const struct vmbus_rx *rx)
{
	return shared_load(&rx->mem.control->feature_bits) & VMBUS_RING_FEATURE_PENDING_SIZE;
}

/* Two loads of 8 bytes: each lies in one page and is whole, wherever the ring
 * wraps. */
static inline struct vmbus_packet_descriptor descriptor_fetch(const struct vmbus_rx *rx)
{
	uint32_t second = ring_advance(rx->mem.size, rx->out, 8);
	struct vmbus_packet_descriptor desc;
	uint64_t words[2];

	words[0] = shared_fetch_u64(ring_word(&rx->mem, rx->out));
	words[1] = shared_fetch_u64(ring_word(&rx->mem, second));
	memcpy(&desc, words, sizeof(desc));
	return desc;
}

/* @avail: what the peer showed, at least a descriptor and a trailer. */
static int descriptor_check(const struct vmbus_packet_descriptor *desc, uint32_t avail)
{
	uint32_t least = DESCRIPTOR_BYTES / 8;

	switch (desc->type) {
	case VMBUS_PACKET_INBAND:
	case VMBUS_PACKET_COMPLETION:
		break;
	case VMBUS_PACKET_TRANSFER_PAGES:
	case VMBUS_PACKET_GPA_DIRECT:
		least++; /* the count of ranges */
		break;
	default:
		return VMBUS_FAULT_BAD_PACKET_TYPE;
	}
	if (desc->offset8 < least || desc->length8 < desc->offset8 ||
	    desc->length8 * 8u + VMBUS_PACKET_TRAILER > avail ||
	    (desc->flags & ~VMBUS_PACKET_COMPLETION_REQUESTED) != 0)
		return VMBUS_FAULT_BAD_DESCRIPTOR;
	return 0;
}

static void bytes_fetch(const struct vmbus_ring_memory *mem, uint32_t at, uint8_t *dst, uint32_t len)
{
	if (mem->data) {
		shared_copy_out(dst, mem->data + at, len);
		return;
	}
	while (len > 0) {
		uint32_t chunk = ring_chunk(at, len);

		shared_copy_out(dst, ring_word(mem, at), chunk);
		at = ring_advance(mem->size, at, chunk);
		dst += chunk;
		len -= chunk;
	}
}

static void packet_fill(struct vmbus_packet *packet, const struct vmbus_packet_descriptor *desc,
			const uint8_t *copy)
{
	uint32_t offset = desc->offset8 * 8u;

	packet->type = desc->type;
	packet->flags = desc->flags;
	packet->transaction_id = desc->transaction_id;
	packet->header = copy + DESCRIPTOR_BYTES;
	packet->header_len = offset - DESCRIPTOR_BYTES;
	packet->payload = copy + offset;
	packet->payload_len = desc->length8 * 8u - offset;
}

/* @len: without the trailer. */
static void packet_pass(struct vmbus_rx *rx, uint32_t len)
{
	rx->out = ring_advance(rx->mem.size, rx->out, len + VMBUS_PACKET_TRAILER);
	rx->packets++;
	rx->bytes += len + VMBUS_PACKET_TRAILER;
}

int vmbus_rx_next(struct vmbus_rx *rx, void *buf, size_t size, struct vmbus_packet *packet)
{
	uint32_t ring = rx->mem.size, avail = ring_distance(ring, rx->out, rx->in), len, rest;
	struct vmbus_packet_descriptor desc;
	int ret;

	if (avail == 0) {
		rx->fetches++;
		if (ring_load_index(&rx->mem.control->in, ring, &rx->in)) /* [B] */
			return VMBUS_FAULT_BAD_INDEX;
		avail = ring_distance(ring, rx->out, rx->in);
		if (avail == 0)
			return -EAGAIN;
	}
	if (avail < DESCRIPTOR_BYTES + VMBUS_PACKET_TRAILER)
		return VMBUS_FAULT_BAD_DESCRIPTOR;
	desc = descriptor_fetch(rx);
	ret = descriptor_check(&desc, avail);
	if (ret)
		return ret;
	len = desc.length8 * 8u;
	if (len > size) {
		*packet = (struct vmbus_packet){.type = desc.type, .flags = desc.flags,
						.transaction_id = desc.transaction_id, .payload_len = len};
		return -ENOBUFS;
	}
	/* the checked copy, not the ring's bytes again, goes in front of the rest */
	memcpy(buf, &desc, sizeof(desc));
	rest = ring_advance(ring, rx->out, DESCRIPTOR_BYTES);
	bytes_fetch(&rx->mem, rest, (uint8_t *)buf + DESCRIPTOR_BYTES, len - DESCRIPTOR_BYTES);
	packet_fill(packet, &desc, buf);
	packet_pass(rx, len);
	return 0;
}

void vmbus_rx_skip(struct vmbus_rx *rx, const struct vmbus_packet *packet)
{
	packet_pass(rx, packet->payload_len);
}

void vmbus_rx_undo(struct vmbus_rx *rx, const struct vmbus_packet *packet)
{
	uint32_t bytes = vmbus_packet_ring_bytes(packet->header_len, packet->payload_len);

	rx->out = ring_advance(rx->mem.size, rx->out, rx->mem.size - bytes);
	rx->packets--;
	rx->bytes -= bytes;
}

/* Whether the peer waits for space and this commit is the one that takes what is
 * free past what it asked for. Nobody signals again later: @before counts from the
 * commit before, so no commit is left out.
 *
 * Some guests ask for the ring's size minus one and mean "when it is empty": the
 * low bits are ignored. */
static bool commit_frees_enough(const struct vmbus_rx *rx, uint32_t before_out)
{
	uint32_t size = rx->mem.size, wanted, in, before, after;

	wanted = shared_load_acquire(&rx->mem.control->pending_send_size) & ~7u; /* [J] */
	if (wanted == 0 || ring_load_index(&rx->mem.control->in, size, &in))
		return false;
	before = size - ring_distance(size, before_out, in) - RING_GAP;
	after = size - ring_distance(size, rx->out, in) - RING_GAP;
	return before < wanted && after >= wanted;
}

bool vmbus_rx_commit(struct vmbus_rx *rx)
{
	uint32_t before = rx->committed;

	if (rx->out == before)
		return false;
	shared_store_release(&rx->mem.control->out, rx->out); /* [C] */
	rx->committed = rx->out;
	shared_fence(); /* [G] */
	return commit_frees_enough(rx, before);
}

bool vmbus_rx_arm(struct vmbus_rx *rx)
{
	if (rx->out != rx->committed)
		return true;
	shared_store_release(&rx->mem.control->interrupt_mask, 0); /* [K] */
	shared_fence(); /* [F] */
	if (!vmbus_rx_pending(rx))
		return false;
	vmbus_rx_disarm(rx);
	return true;
}

void vmbus_rx_disarm(struct vmbus_rx *rx)
{
	shared_store(&rx->mem.control->interrupt_mask, 1);
}
