/* SPDX-License-Identifier: MIT */
/* The writing end of a ring. Letters in brackets: barrier.h. */
#include <string.h>

#include "ring-access.h"

#define LENGTH8_MAX 0xffffu /* the descriptor's lengths have 16 bits */

int vmbus_tx_init(struct vmbus_tx *tx, const struct vmbus_ring_memory *mem)
{
	struct vmbus_ring_control *control = mem->control;
	uint32_t in, out;

	if (ring_load_index(&control->in, mem->size, &in) ||
	    ring_load_index(&control->out, mem->size, &out))
		return VMBUS_FAULT_BAD_INDEX;
	memset(tx, 0, sizeof(*tx));
	tx->mem = *mem;
	tx->in = tx->published = in;
	tx->out = out;
	shared_store(&control->pending_send_size, 0);
	shared_store(&control->feature_bits,
		     shared_load(&control->feature_bits) | VMBUS_RING_FEATURE_PENDING_SIZE);
	return 0;
}

static uint32_t bytes_free(const struct vmbus_tx *tx)
{
	return tx->mem.size - ring_distance(tx->mem.size, tx->out, tx->in) - RING_GAP;
}

/* The peer's index can only have moved on, and not past what was published: what was
 * free stays free, so a promise of space holds whatever the peer does. Once impossible
 * it stays so. */
static int out_load(struct vmbus_tx *tx)
{
	uint32_t size = tx->mem.size, out = 0;

	if (tx->corrupt || ring_load_index(&tx->mem.control->out, size, &out) || /* [D] */
	    ring_distance(size, tx->out, out) > ring_distance(size, tx->out, tx->published)) {
		tx->corrupt = true;
		return VMBUS_FAULT_BAD_INDEX;
	}
	tx->out = out;
	return 0;
}

/* Whether @bytes are free. The peer's index is loaded only when the one known is
 * too old to say yes. Returns 0, -EAGAIN or VMBUS_FAULT_BAD_INDEX. */
static int space_check(struct vmbus_tx *tx, uint64_t bytes)
{
	if (bytes <= bytes_free(tx))
		return 0;
	if (out_load(tx))
		return VMBUS_FAULT_BAD_INDEX;
	return bytes <= bytes_free(tx) ? 0 : -EAGAIN;
}

/* There is space: a wish for it that still stands is taken back. */
static inline void wait_end(struct vmbus_tx *tx)
{
	if (__builtin_expect(!tx->waiting, 1))
		return;
	tx->waiting = false;
	shared_store(&tx->mem.control->pending_send_size, 0);
}

bool vmbus_tx_reserve(struct vmbus_tx *tx, uint32_t bytes)
{
	uint64_t reserved = (uint64_t)tx->reserved + bytes;

	/* behind an impossible index all is promised: the put will tell */
	if (reserved > tx->mem.size - RING_GAP || space_check(tx, reserved) == -EAGAIN)
		return false;
	tx->reserved = (uint32_t)reserved;
	wait_end(tx);
	return true;
}

void vmbus_tx_unreserve(struct vmbus_tx *tx, uint32_t bytes)
{
	tx->reserved -= bytes < tx->reserved ? bytes : tx->reserved;
}

/* Each returns the position behind what it wrote. */
static uint32_t bytes_store(const struct vmbus_ring_memory *mem, uint32_t at, const void *src,
			    uint32_t len)
{
	const uint8_t *next = src;

	if (mem->data) {
		memcpy(mem->data + at, src, len);
		return ring_advance(mem->size, at, len);
	}
	while (len > 0) {
		uint32_t chunk = ring_chunk(at, len);

		memcpy(ring_word(mem, at), next, chunk);
		at = ring_advance(mem->size, at, chunk);
		next += chunk;
		len -= chunk;
	}
	return at;
}

static uint32_t word_store(const struct vmbus_ring_memory *mem, uint32_t at, uint64_t word)
{
	memcpy(ring_word(mem, at), &word, 8);
	return ring_advance(mem->size, at, 8);
}

/* The payload, and zeros up to a multiple of 8: never what the host's memory
 * happened to hold. */
static uint32_t payload_store(const struct vmbus_ring_memory *mem, uint32_t at, const uint8_t *payload,
			      uint32_t len)
{
	uint32_t whole = len & ~7u;
	uint64_t last = 0;

	if (whole)
		at = bytes_store(mem, at, payload, whole);
	if (len == whole)
		return at;
	memcpy(&last, payload + whole, len - whole);
	return word_store(mem, at, last);
}

static uint32_t packet_store(const struct vmbus_tx *tx, const struct vmbus_packet *packet,
			     uint32_t length8)
{
	const struct vmbus_packet_descriptor desc = {
		.type = packet->type,
		.offset8 = (uint16_t)(sizeof(desc) / 8 + packet->header_len / 8),
		.length8 = (uint16_t)length8,
		.flags = packet->flags,
		.transaction_id = packet->transaction_id,
	};
	uint32_t at = tx->in;
	uint64_t words[2];

	memcpy(words, &desc, sizeof(words));
	at = word_store(&tx->mem, at, words[0]);
	at = word_store(&tx->mem, at, words[1]);
	if (packet->header_len)
		at = bytes_store(&tx->mem, at, packet->header, packet->header_len);
	at = payload_store(&tx->mem, at, packet->payload, packet->payload_len);
	/* nobody reads it today; older hosts put the packet's position there */
	return word_store(&tx->mem, at, (uint64_t)tx->in << 32);
}

int vmbus_tx_put(struct vmbus_tx *tx, const struct vmbus_packet *packet, uint32_t from_reserve)
{
	uint64_t bytes = sizeof(struct vmbus_packet_descriptor) + (uint64_t)packet->header_len +
			 (((uint64_t)packet->payload_len + 7) & ~7ull) + VMBUS_PACKET_TRAILER;
	uint64_t length8 = (bytes - VMBUS_PACKET_TRAILER) / 8;
	uint32_t others;
	int ret;

	if (packet->header_len % 8)
		return -EINVAL;
	if (bytes > tx->mem.size - RING_GAP || length8 > LENGTH8_MAX)
		return -EMSGSIZE;
	if (from_reserve > tx->reserved)
		from_reserve = tx->reserved;
	others = tx->reserved - from_reserve;
	ret = space_check(tx, bytes + others);
	if (ret)
		return ret;
	tx->in = packet_store(tx, packet, (uint32_t)length8);
	tx->reserved = others;
	tx->packets++;
	tx->bytes += bytes;
	wait_end(tx);
	return 0;
}

void vmbus_tx_publish(struct vmbus_tx *tx)
{
	uint32_t bytes = ring_distance(tx->mem.size, tx->published, tx->in);

	if (bytes == 0)
		return;
	shared_store_release(&tx->mem.control->in, tx->in); /* [A] */
	tx->published = tx->in;
	/* no more than a ring's worth is ever asked for; stop before it overflows */
	if (tx->unsignaled < tx->mem.size)
		tx->unsignaled += bytes;
}

/* Why no wake-up is lost, and why few are wasted.
 *
 * A reader that sleeps has stored its out (X), then interrupt_mask = 0, then, behind
 * fence [F], loaded in and found X there. Let P be what we published last, behind
 * fence [E]. One of the two fences is first:
 *
 *   [E] first: the reader's load of in sees P, so it sleeps only if X = P, with all
 *     packets read. It needs no signal.
 *   [F] first: our loads see interrupt_mask = 0 and out = X; the reader found X in
 *     "in", so X is a place that in had: the one before P, or, if several packets were
 *     published since a signal was last considered, any of those, or one from before.
 *
 * So if the mask is set the reader is awake, or will see P before it sleeps. If it is
 * clear, look at how far X is behind P:
 *
 *   nothing: all read. No signal.
 *   at most what was published since the last time here: the reader may have found
 *     the ring empty at X after that time. Signal.
 *   more: there was something unread at X the last time here already. By the same
 *     reasoning that time a signal was sent, or the mask was seen set and the reader
 *     was bound to see a later "in" than X before sleeping, so it does not sleep at X.
 *     No second signal.
 *
 * Bytes are counted, not positions compared, because between two calls more than
 * a ring's worth can go through: then every X is near enough. */
bool vmbus_tx_signal_due(struct vmbus_tx *tx)
{
	struct vmbus_ring_control *control = tx->mem.control;
	uint32_t unsignaled, behind;

	vmbus_tx_publish(tx);
	unsignaled = tx->unsignaled;
	if (unsignaled == 0)
		return false;
	tx->unsignaled = 0;
	shared_fence(); /* [E] */
	if (shared_load_acquire(&control->interrupt_mask)) /* [L] */
		return false;
	if (out_load(tx))
		return true; /* a signal too many does no harm */
	behind = ring_distance(tx->mem.size, tx->out, tx->published);
	return behind != 0 && behind <= unsignaled;
}

bool vmbus_tx_wait_space(struct vmbus_tx *tx, uint32_t bytes)
{
	uint64_t needed = (uint64_t)tx->reserved + bytes;
	uint32_t most = tx->mem.size - RING_GAP, wish = tx->mem.size / 4;

	vmbus_tx_publish(tx);
	/* a quarter of the ring at least, or each packet read would wake us */
	if (needed > wish)
		wish = needed < most ? ((uint32_t)needed + 7u) & ~7u : most;
	tx->waiting = true;
	shared_store_release(&tx->mem.control->pending_send_size, wish); /* [I] */
	shared_fence(); /* [H] */
	if (space_check(tx, needed) == -EAGAIN)
		return false;
	wait_end(tx);
	return true;
}
