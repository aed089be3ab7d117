/* SPDX-License-Identifier: MIT */
/* An onlooker at the rings of a channel: sees each packet when it is shown, and each
 * index when it moves. What moved is measured from where it was, so an index that goes
 * back looks like one that goes too far. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inproc-private.h"

#define SMALLEST_PACKET (sizeof(struct vmbus_packet_descriptor) + VMBUS_PACKET_TRAILER)

static int watch_init(struct inproc_watch *watch, const struct vmbus_ring_memory *mem)
{
	memset(watch, 0, sizeof(*watch));
	watch->mem = *mem;
	watch->ends_size = mem->size / (uint32_t)SMALLEST_PACKET + 1;
	watch->ends = calloc(watch->ends_size, sizeof(watch->ends[0]));
	return watch->ends ? 0 : -ENOMEM;
}

int vmbus_inproc_rings_watch(struct inproc_rings *rings)
{
	if (watch_init(&rings->up_watch, &rings->up) ||
	    watch_init(&rings->down_watch, &rings->down)) {
		vmbus_inproc_rings_unwatch(rings);
		return -ENOMEM;
	}
	rings->watched = true;
	return 0;
}

void vmbus_inproc_rings_unwatch(struct inproc_rings *rings)
{
	free(rings->up_watch.ends);
	free(rings->down_watch.ends);
	free(rings->owed);
	rings->up_watch.ends = rings->down_watch.ends = rings->owed = NULL;
	rings->owed_count = rings->owed_size = 0;
	rings->watched = rings->started = rings->event = false;
}

/* -- Transactions --------------------------------------------------------- */

static void request_shown(struct vmbus_inproc *bus, struct inproc_rings *rings, uint64_t id)
{
	if (rings->owed_count == rings->owed_size) {
		uint32_t size = rings->owed_size ? 2 * rings->owed_size : 64;
		uint64_t *owed = realloc(rings->owed, size * sizeof(owed[0]));

		if (!owed) {
			vmbus_inproc_fail(bus, "out of memory");
			return;
		}
		rings->owed = owed;
		rings->owed_size = size;
	}
	rings->owed[rings->owed_count++] = id;
}

static void completion_shown(struct vmbus_inproc *bus, struct inproc_rings *rings, uint32_t channel,
			     uint64_t id)
{
	for (uint32_t i = 0; i < rings->owed_count; i++) {
		if (rings->owed[i] != id)
			continue;
		rings->owed[i] = rings->owed[--rings->owed_count];
		return;
	}
	vmbus_inproc_fail(bus, "channel %u: transaction 0x%llx completed that is not in flight",
			  channel, (unsigned long long)id);
}

/* -- Packets -------------------------------------------------------------- */

static uint64_t ring_word(const struct vmbus_ring_memory *mem, uint64_t at)
{
	uint32_t pos = (uint32_t)(at % mem->size);
	const uint8_t *from = mem->data
				      ? mem->data + pos
				      : mem->pages[pos >> VMBUS_PAGE_SHIFT] + pos % VMBUS_PAGE_SIZE;
	uint64_t word;

	memcpy(&word, from, sizeof(word));
	return word;
}

static struct vmbus_packet_descriptor descriptor_at(const struct inproc_watch *watch, uint64_t at)
{
	uint64_t words[2] = {ring_word(&watch->mem, at), ring_word(&watch->mem, at + 8)};
	struct vmbus_packet_descriptor desc;

	memcpy(&desc, words, sizeof(desc));
	return desc;
}

/* The packets that came behind @at. */
static void packets_shown(struct vmbus_inproc *bus, struct inproc_rings *rings,
			  struct inproc_watch *watch, uint32_t channel, uint64_t at)
{
	bool up = watch == &rings->up_watch;

	while (at < watch->total_in) {
		struct vmbus_packet_descriptor desc = descriptor_at(watch, at);
		uint64_t bytes = desc.length8 * 8ull + VMBUS_PACKET_TRAILER;

		if (desc.offset8 < 2 || desc.length8 < desc.offset8 ||
		    at + bytes > watch->total_in || watch->ends_count == watch->ends_size) {
			vmbus_inproc_fail(bus, "channel %u, %s: packet %llu is no whole packet",
					  channel, up ? "upstream" : "downstream",
					  (unsigned long long)watch->packets_in);
			return;
		}
		at += bytes;
		watch->ends[(watch->ends_first + watch->ends_count++) % watch->ends_size] = at;
		watch->packets_in++;
		if (up && desc.flags & VMBUS_PACKET_COMPLETION_REQUESTED)
			request_shown(bus, rings, desc.transaction_id);
		if (!up && desc.type == VMBUS_PACKET_COMPLETION)
			completion_shown(bus, rings, channel, desc.transaction_id);
	}
}

static void packets_read(struct vmbus_inproc *bus, struct inproc_watch *watch, uint32_t channel)
{
	while (watch->ends_count && watch->ends[watch->ends_first] <= watch->total_out) {
		watch->boundary = watch->ends[watch->ends_first];
		watch->ends_first = (watch->ends_first + 1) % watch->ends_size;
		watch->ends_count--;
		watch->packets_out++;
	}
	if (watch->boundary != watch->total_out)
		vmbus_inproc_fail(bus, "channel %u: read up to the middle of packet %llu", channel,
				  (unsigned long long)watch->packets_out);
}

/* -- Indices -------------------------------------------------------------- */

static void watch_check(struct vmbus_inproc *bus, struct inproc_rings *rings,
			struct inproc_watch *watch, uint32_t channel)
{
	const char *name = watch == &rings->up_watch ? "upstream" : "downstream";
	uint32_t size = watch->mem.size;
	uint32_t in = __atomic_load_n(&watch->mem.control->in, __ATOMIC_ACQUIRE);
	uint32_t out = __atomic_load_n(&watch->mem.control->out, __ATOMIC_ACQUIRE);
	uint64_t before = watch->total_in;

	if (in >= size || in % 8 || out >= size || out % 8) {
		vmbus_inproc_fail(bus, "channel %u, %s: in %u, out %u of %u", channel, name, in,
				  out, size);
		return;
	}
	watch->total_in += (in + size - watch->in) % size;
	watch->total_out += (out + size - watch->out) % size;
	watch->in = in;
	watch->out = out;
	if (watch->total_out > watch->total_in ||
	    watch->total_in - watch->total_out > size - RING_GAP) {
		vmbus_inproc_fail(
			bus, "channel %u, %s: an index went back or past the other (in %u, out %u)",
			channel, name, in, out);
		return;
	}
	if (watch->total_in != before)
		packets_shown(bus, rings, watch, channel, before);
	packets_read(bus, watch, channel);
}

void vmbus_inproc_rings_check(struct vmbus_inproc *bus, uint32_t slot)
{
	const struct vmbus_guest_channel *channel = &bus->guest.config.channels[slot];
	struct inproc_rings *rings = &bus->rings[slot];
	uint32_t id = channel->offer.channel_id;

	if (!rings->watched)
		return;
	watch_check(bus, rings, &rings->up_watch, id);
	watch_check(bus, rings, &rings->down_watch, id);
	if (channel->state != VMBUS_GUEST_CHANNEL_OPEN || bus->violation[0])
		return;
	/* what the two ends say of themselves */
	if (channel->tx.published == channel->tx.in &&
	    channel->tx.packets != rings->up_watch.packets_in)
		vmbus_inproc_fail(bus, "channel %u: guest wrote %llu packets, %llu are to be seen",
				  id, (unsigned long long)channel->tx.packets,
				  (unsigned long long)rings->up_watch.packets_in);
	if (channel->rx.out == channel->rx.committed &&
	    channel->rx.packets != rings->down_watch.packets_out)
		vmbus_inproc_fail(bus, "channel %u: guest read %llu packets of %llu", id,
				  (unsigned long long)channel->rx.packets,
				  (unsigned long long)rings->down_watch.packets_out);
}
