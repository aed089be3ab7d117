/* SPDX-License-Identifier: MIT */
/* What must hold after every step: nobody sleeps in front of work, and what waits can
 * be seen by whom it waits for. */
#include <errno.h>
#include <string.h>

#include "inproc-private.h"

struct inproc_served *vmbus_inproc_served_find(struct vmbus_inproc *bus, uint32_t id)
{
	for (uint32_t i = 0; i < bus->served_count; i++)
		if (bus->served[i].id == id)
			return &bus->served[i];
	return NULL;
}

/* Whether the producer of the ring waits for space that is there. */
static bool space_is_there(const struct vmbus_ring_memory *mem)
{
	const struct vmbus_ring_control *control = mem->control;
	uint32_t wish = __atomic_load_n(&control->pending_send_size, __ATOMIC_ACQUIRE) & ~7u;
	uint32_t in = __atomic_load_n(&control->in, __ATOMIC_ACQUIRE);
	uint32_t out = __atomic_load_n(&control->out, __ATOMIC_ACQUIRE);
	uint32_t used = in >= out ? in - out : mem->size - (out - in);

	return wish != 0 && mem->size - used - RING_GAP >= wish;
}

/* The doorbell must be on its way. */
static void host_side_check(struct vmbus_inproc *bus, const struct vmbus_guest_channel *channel,
			    struct inproc_rings *rings, struct inproc_served *served)
{
	if (!bus->asleep[served->thread] || served->rung || served->more)
		return;
	vmbus_inproc_doorbell_poll(bus, served);
	if (served->rung)
		return;
	if (vmbus_channel_pending(served->channel) && channel->tx.unsignaled == 0)
		vmbus_inproc_fail(bus, "channel %u: the host sleeps in front of packets",
				  served->id);
	if (space_is_there(&rings->down) && channel->rx.out == channel->rx.committed)
		vmbus_inproc_fail(bus, "channel %u: the host waits for space that is there",
				  served->id);
}

static bool flag_is_under_way(const struct vmbus_inproc *bus, uint32_t id)
{
	for (uint32_t i = 0; i < bus->config.vp_count; i++) {
		const uint64_t *flags = bus->vps[i].slices[VMBUS_SINT].flags;
		bool shared = bus->guest.version < VMBUS_V2_4 && flags[0] & 1;

		if (bus->vps[i].interrupt && (shared || flags[id / 64] & 1ull << id % 64))
			return true;
	}
	return false;
}

static void guest_side_check(struct vmbus_inproc *bus, const struct vmbus_guest_channel *channel,
			     struct inproc_rings *rings, struct inproc_served *served)
{
	uint32_t id = channel->offer.channel_id;
	/* what was sent outside of service is signalled at the end of the next one */
	bool told = !served->rung && !served->more &&
		    vmbus_channel_tx(served->channel)->unsignaled == 0;

	if (!rings->started || rings->event || !told || flag_is_under_way(bus, id))
		return;
	if (vmbus_rx_pending(&channel->rx))
		vmbus_inproc_fail(bus, "channel %u: the guest sleeps in front of packets", id);
	if (channel->tx.waiting && space_is_there(&rings->up))
		vmbus_inproc_fail(bus, "channel %u: the guest waits for space that is there", id);
}

static void channel_check(struct vmbus_inproc *bus, uint32_t slot)
{
	const struct vmbus_guest_channel *channel = &bus->guest.config.channels[slot];
	struct inproc_rings *rings = &bus->rings[slot];
	struct inproc_served *served;

	vmbus_inproc_rings_check(bus, slot);
	if (!rings->watched || channel->state != VMBUS_GUEST_CHANNEL_OPEN || !bus->config.event)
		return;
	served = vmbus_inproc_served_find(bus, channel->offer.channel_id);
	if (!served || vmbus_channel_fault(served->channel))
		return;
	host_side_check(bus, channel, rings, served);
	guest_side_check(bus, channel, rings, served);
}

/* Whoever looks at the interrupt finds it; without one nobody looks. */
static void vp_check(struct vmbus_inproc *bus, uint32_t i)
{
	static const struct vmbus_synic_event_flags none;
	const struct inproc_vp *vp = &bus->vps[i];

	if (vp->interrupt)
		return;
	if (vp->slots[VMBUS_SINT].type && !vp->message)
		vmbus_inproc_fail(bus, "VP %u: a message in the slot without an interrupt", i);
	if (memcmp(&vp->slices[VMBUS_SINT], &none, sizeof(none)) != 0)
		vmbus_inproc_fail(bus, "VP %u: an event flag without an interrupt", i);
}

/* Messages that wait must have something to wait for. */
static void queue_check(struct vmbus_inproc *bus)
{
	struct vmbus_server_stats stats;

	if (bus->eom || bus->config.flags & VMBUS_INPROC_HOSTILE)
		return;
	for (uint32_t i = 0; i < bus->config.vp_count; i++)
		for (uint32_t sint = 0; sint < VMBUS_SINT_COUNT; sint++)
			if (bus->vps[i].slots[sint].type)
				return;
	vmbus_server_get_stats(bus->server, &stats);
	if (stats.messages_waiting)
		vmbus_inproc_fail(bus, "%u messages wait for slots that are free",
				  stats.messages_waiting);
}

void vmbus_inproc_check(struct vmbus_inproc *bus)
{
	if (bus->violation[0] || bus->ending)
		return;
	for (uint32_t i = 0; i < bus->guest.config.max_channels; i++)
		channel_check(bus, i);
	for (uint32_t i = 0; i < bus->config.vp_count; i++)
		vp_check(bus, i);
	queue_check(bus);
}
