/* SPDX-License-Identifier: MIT */
/* The guest's buffers, and the slots of the receive buffer. */
#include <errno.h>
#include <stdlib.h>

#include "net-priv.h"

/* One range, and no longer than a span can say: the only form guests use (vsp/net.h). */
static int buffer_take(struct vsp_net *net, uint32_t handle, struct net_buffer *buffer)
{
	struct vmbus_gpadl *gpadl = vmbus_channel_gpadl(net->primary, handle);

	if (!gpadl)
		return VMBUS_FAULT_BAD_GPADL;
	if (vmbus_gpadl_ranges(gpadl) != 1) {
		vmbus_gpadl_unref(gpadl);
		return VMBUS_FAULT_BAD_GPADL;
	}
	buffer->gpadl = gpadl;
	buffer->handle = handle;
	buffer->span = vmbus_gpadl_range(gpadl, 0);
	return 0;
}

bool vsp_net_coalesces(const struct vsp_net *net)
{
	return net->nvsp.version >= VSP_NVSP_V61 && net->nvsp.capabilities & VSP_NVSP_CAP_RSC &&
	       net->adapter.nic_offloads & (VSP_NIC_TSO4 | VSP_NIC_TSO6);
}

static void slots_free(struct net_slots *s)
{
	free(s->slots);
	*s = (struct net_slots){.free = NET_NO_SLOT};
}

/* A slot takes the longest frame. Coalesced ones lie in as few as can be where the guest gave
 * enough memory: each costs a message of its own, and two iovecs. */
static uint32_t slot_size(const struct vsp_net *net, uint32_t bytes, uint32_t mtu)
{
	uint32_t size = (NET_FRAME_OFFSET + mtu + VSP_VLAN_TAGS * VSP_VLAN_TAG + NET_SLOT_TAIL + 63u) & ~63u;

	if (vsp_net_coalesces(net) && size < NET_LARGE_SLOT &&
	    bytes / NET_LARGE_SLOT >= NET_LARGE_SLOTS)
		return NET_LARGE_SLOT;
	return size;
}

static int slots_make(struct net_slots *s, uint32_t bytes, uint32_t size)
{
	s->size = size;
	s->count = bytes / s->size;
	if (s->count < 2)
		return VMBUS_FAULT_BAD_GPADL;
	s->room = s->size - NET_FRAME_OFFSET - NET_SLOT_TAIL;
	s->control = s->count / 2 < NET_CONTROL_SLOTS ? s->count / 2 : NET_CONTROL_SLOTS;
	s->slots = calloc(s->count, sizeof(s->slots[0]));
	if (!s->slots)
		return -ENOMEM;
	s->free = NET_NO_SLOT;
	for (uint32_t i = s->count; i-- > s->control;) {
		s->slots[i].next = s->free;
		s->free = i;
	}
	s->free_count = s->count - s->control;
	return 0;
}

static int receive_buffer(void *opaque, uint32_t gpadl, uint16_t id, uint32_t mtu,
			  struct vsp_nvsp_recv_buf_complete *layout)
{
	struct vsp_net *net = opaque;
	int ret = buffer_take(net, gpadl, &net->receive);

	(void)id;
	if (ret)
		return ret;
	ret = slots_make(&net->slots, net->receive.span.len, slot_size(net, net->receive.span.len,
								       mtu));
	if (ret) {
		vsp_net_buffer_drop(net, true);
		return ret;
	}
	net->control_slots = (uint16_t)((1u << net->slots.control) - 1);
	layout->offset = 0;
	layout->slot_size = net->slots.size;
	layout->slots = net->slots.count;
	layout->end = net->slots.size * net->slots.count;
	return 0;
}

static int send_buffer(void *opaque, uint32_t gpadl)
{
	struct vsp_net *net = opaque;

	return buffer_take(net, gpadl, &net->send);
}

/* Whoever has frames in or from the buffer loses them. */
void vsp_net_buffer_drop(struct vsp_net *net, bool receive)
{
	struct net_buffer *buffer = receive ? &net->receive : &net->send;

	for (uint32_t i = 0; i < VSP_NET_CHANNELS; i++) {
		if (net->channels[i] && receive)
			vsp_net_receive_drop(net->channels[i]);
		else if (net->channels[i])
			vsp_net_transmit_drop(net->channels[i]);
	}
	if (receive) {
		slots_free(&net->slots);
		atomic_store(&net->starving, 0);
	}
	if (buffer->gpadl)
		vmbus_gpadl_unref(buffer->gpadl);
	buffer->gpadl = NULL;
}

static void buffer_revoke(void *opaque, bool receive)
{
	vsp_net_buffer_drop(opaque, receive);
}

/* The channels' queues are the nic's: no more than it has. */
static uint32_t channels_offer(void *opaque, uint32_t count)
{
	struct vsp_net *net = opaque;
	uint32_t most = net->adapter.max_channels - 1;

	if (count > most)
		count = most;
	if (!count || vmbus_channel_offer_sub(net->primary, (uint16_t)count))
		return 0;
	return count;
}

const struct vsp_nvsp_ops vsp_net_nvsp_ops = {
	.receive_buffer = receive_buffer,
	.send_buffer = send_buffer,
	.revoke = buffer_revoke,
	.sub_channels = channels_offer,
};

/* -- Free slots ----------------------------------------------------------- */

/* Half a cache at a time from and to the common list, but never more than half of that. */
static void cache_fill(struct net_channel *ch)
{
	struct net_slots *s = &ch->net->slots;
	uint32_t most;

	pthread_mutex_lock(&ch->net->slot_lock);
	most = (s->free_count + 1) / 2 < NET_CACHE / 2 ? (s->free_count + 1) / 2 : NET_CACHE / 2;
	while (s->free != NET_NO_SLOT && ch->rx.cache_count < most) {
		ch->rx.cache[ch->rx.cache_count++] = s->free;
		s->free = s->slots[s->free].next;
		s->free_count--;
	}
	pthread_mutex_unlock(&ch->net->slot_lock);
}

static void cache_spill(struct net_channel *ch, uint32_t keep)
{
	struct net_slots *s = &ch->net->slots;

	pthread_mutex_lock(&ch->net->slot_lock);
	while (ch->rx.cache_count > keep) {
		uint32_t slot = ch->rx.cache[--ch->rx.cache_count];

		s->slots[slot].next = s->free;
		s->free = slot;
		s->free_count++;
	}
	pthread_mutex_unlock(&ch->net->slot_lock);
}

uint32_t vsp_net_slot_take(struct net_channel *ch)
{
	if (ch->rx.cache_count == 0)
		cache_fill(ch);
	return ch->rx.cache_count ? ch->rx.cache[--ch->rx.cache_count] : NET_NO_SLOT;
}

void vsp_net_slots_put(struct net_channel *ch, uint32_t first)
{
	while (first != NET_NO_SLOT) {
		uint32_t next = ch->net->slots.slots[first].next;

		if (ch->rx.cache_count == NET_CACHE)
			cache_spill(ch, NET_CACHE / 2);
		ch->rx.cache[ch->rx.cache_count++] = first;
		first = next;
	}
}

void vsp_net_slots_return(struct net_channel *ch)
{
	cache_spill(ch, 0);
}
