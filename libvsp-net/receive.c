/* SPDX-License-Identifier: MIT */
/* Frames for the guest: the nic writes them into free slots of the receive buffer. Only a
 * frame's first bytes come through private memory, where they are looked at. A coalesced
 * frame (RSC) lies in several slots, so a run of them is kept ready: the window. */
#include <errno.h>
#include <string.h>

#include "net-priv.h"

static struct net_slot *slot_of(struct net_channel *ch, uint32_t slot)
{
	return &ch->net->slots.slots[slot];
}

/* -- The window of prepared slots ----------------------------------------- */

static void window_drop(struct net_channel *ch)
{
	struct net_rx *rx = &ch->rx;

	for (uint32_t i = 0; i < rx->window_count; i++) {
		slot_of(ch, rx->window[i].slot)->next = NET_NO_SLOT;
		vsp_net_slots_put(ch, rx->window[i].slot);
	}
	rx->window_count = rx->iov_count = 0;
}

static bool window_add(struct net_channel *ch)
{
	const struct net_slots *s = &ch->net->slots;
	struct net_rx *rx = &ch->rx;
	struct net_window *w = &rx->window[rx->window_count];

	if (rx->iov_count + vmbus_span_pages(VMBUS_PAGE_SIZE - 1, s->room) > NET_RX_IOV)
		return false;
	do { /* what the host may not write to is no slot: nobody is offered it again */
		w->slot = vsp_net_slot_take(ch);
		if (w->slot == NET_NO_SLOT)
			return false;
	} while (vmbus_span_pin(vmbus_channel_view(ch->channel), &ch->net->receive.span,
				w->slot * s->size + NET_FRAME_OFFSET, s->room, true,
				&rx->iov[rx->iov_count], &w->iov_count));
	rx->iov_count += w->iov_count;
	rx->window_count++;
	return true;
}

static bool window_fill(struct net_channel *ch)
{
	const struct vsp_offloads *o = &ch->net->adapter.offloads;
	struct net_rx *rx = &ch->rx;
	uint32_t want = o->rsc4 || o->rsc6 ? VSP_NIC_FRAME_MAX / ch->net->slots.room + 1 : 1;

	if (rx->view != vmbus_channel_view(ch->channel)) {
		window_drop(ch);
		rx->view = vmbus_channel_view(ch->channel);
	}
	while (rx->window_count < want)
		if (!window_add(ch))
			return false;
	return true;
}

/* Takes the first @n slots out of the window, chained as one frame. */
static uint32_t window_take(struct net_channel *ch, uint32_t n)
{
	struct net_rx *rx = &ch->rx;
	uint32_t first = rx->window[0].slot, used = 0;

	for (uint32_t i = 0; i < n; i++) {
		used += rx->window[i].iov_count;
		slot_of(ch, rx->window[i].slot)->next = i + 1 < n ? rx->window[i + 1].slot : NET_NO_SLOT;
	}
	slot_of(ch, first)->last = rx->window[n - 1].slot;
	slot_of(ch, first)->pieces = (uint8_t)n;
	slot_of(ch, first)->frame_next = NET_NO_SLOT;
	rx->window_count -= n;
	rx->iov_count -= used;
	memmove(&rx->window[0], &rx->window[n], rx->window_count * sizeof(rx->window[0]));
	memmove(&rx->iov[0], &rx->iov[used], rx->iov_count * sizeof(rx->iov[0]));
	return first;
}

/* -- One frame ------------------------------------------------------------ */

/* Has the nic write a frame: its head into private memory, the rest behind the head's place
 * in the first slot, and on. Without the window it keeps the head only. */
static bool frame_read(struct net_channel *ch, struct vsp_nic_frame *frame, bool discard)
{
	struct net_rx *rx = &ch->rx;
	size_t skip = VSP_HEAD;
	unsigned int n = 2;

	rx->list[0] = (struct iovec){&frame->header, sizeof(frame->header)};
	rx->list[1] = (struct iovec){rx->message + NET_FRAME_OFFSET, VSP_HEAD};
	for (uint32_t i = 0; !discard && i < rx->iov_count; i++) {
		size_t len = rx->iov[i].iov_len;

		if (skip < len)
			rx->list[n++] = (struct iovec){(uint8_t *)rx->iov[i].iov_base + skip, len - skip};
		skip -= skip < len ? skip : len;
	}
	frame->iov = rx->list;
	frame->iov_count = n;
	frame->result = 0;
	return ch->queue->nic->ops->receive(ch->queue, frame, 1) == 1;
}

/* Segments short enough for the guest's MTU are a frame like any other. Returns whether
 * the guest takes the frame in this form. */
static bool form_judge(const struct vsp_net *net, struct vsp_nic_frame *frame, const uint8_t *head,
		       uint32_t head_len, const struct vsp_frame *f, struct vsp_frame_received *r)
{
	uint32_t most = net->adapter.mtu + vsp_frame_tags(head, head_len);
	uint8_t type = frame->header.gso_type & (uint8_t)~VSP_VNET_GSO_ECN;

	if (frame->len <= most && frame->header.flags & VSP_VNET_NEEDS_CSUM)
		frame->header.gso_type = VSP_VNET_GSO_NONE;
	if (!vsp_frame_received(&frame->header, f, head_len, frame->len, r))
		return false;
	if (!r->gso)
		return frame->len <= most;
	return (type == VSP_VNET_GSO_TCPV4 && net->adapter.offloads.rsc4) ||
	       (type == VSP_VNET_GSO_TCPV6 && net->adapter.offloads.rsc6);
}

static uint32_t verdict_allowed(const struct vsp_offloads *o, const struct vsp_frame *f,
				uint32_t verdict)
{
	bool tcp = f->version == 4 ? o->tcp4_rx : o->tcp6_rx;
	bool udp = f->version == 4 ? o->udp4_rx : o->udp6_rx;

	if (!tcp)
		verdict &= ~(VSP_CSUM_RX_TCP_GOOD | VSP_CSUM_RX_TCP_NO_VALUE);
	if (!udp)
		verdict &= ~VSP_CSUM_RX_UDP_GOOD;
	if (!o->ip4_rx)
		verdict &= ~(VSP_CSUM_RX_IP_GOOD | VSP_CSUM_RX_IP_NO_VALUE);
	return verdict;
}

/* Writes the message of one slot: in the first, the frame's head goes with it. */
static int slot_write(struct net_channel *ch, uint32_t slot, const struct vsp_rndis_received *m,
		      uint32_t head_end)
{
	uint8_t *bytes = ch->rx.message, piece[VSP_RNDIS_RECEIVED_MAX];
	uint32_t len = vsp_rndis_received_write(m, head_end ? bytes : piece);

	slot_of(ch, slot)->len = m->data_offset + m->data_length;
	if (head_end)
		memset(bytes + len, 0, NET_FRAME_OFFSET - len);
	return vmbus_span_write(vmbus_channel_view(ch->channel), &ch->net->receive.span,
				slot * ch->net->slots.size, head_end ? bytes : piece,
				head_end ? head_end : len);
}

/* The messages of all slots of a frame of @len bytes, counted from the place of frames. */
static int frame_write(struct net_channel *ch, uint32_t first, struct vsp_rndis_received *m,
		       uint32_t len, uint32_t head_len)
{
	const struct net_slot *slots = ch->net->slots.slots;
	uint32_t room = ch->net->slots.room, pieces = slots[first].pieces;
	uint32_t start = m->data_offset - NET_FRAME_OFFSET; /* of the frame: behind a tag */
	int ret;

	m->data_length = (len < room ? len : room) - start;
	if (m->piece && pieces == 1)
		m->piece |= VSP_PIECE_LAST;
	ret = slot_write(ch, first, m, NET_FRAME_OFFSET + head_len);
	for (uint32_t slot = slots[first].next; !ret && slot != NET_NO_SLOT; slot = slots[slot].next) {
		struct vsp_rndis_received more = {.data_offset = NET_FRAME_OFFSET, .piece = VSP_PIECE};

		len -= room;
		more.data_length = len < room ? len : room;
		if (slots[slot].next == NET_NO_SLOT)
			more.piece |= VSP_PIECE_LAST;
		ret = slot_write(ch, slot, &more, 0);
	}
	return ret;
}

static void ready_add(struct net_channel *ch, uint32_t *first, uint32_t *last, uint32_t frame)
{
	if (*first == NET_NO_SLOT)
		*first = frame;
	else
		slot_of(ch, *last)->frame_next = frame;
	*last = frame;
}

/* To the channel of the guest's choice; it may be served by another thread. */
static void frame_dispatch(struct net_channel *ch, uint32_t frame, bool hashed, uint32_t hash)
{
	const struct vsp_rss *rss = &ch->net->adapter.rss;
	struct net_channel *to = ch;

	if (rss->on)
		to = ch->net->channels[hashed ? rss->table[hash % VSP_RSS_ENTRIES] : 0];
	if (!to || to == ch) {
		ready_add(ch, &ch->rx.ready_first, &ch->rx.ready_last, frame);
		return;
	}
	pthread_mutex_lock(&to->inbox_lock);
	ready_add(ch, &to->inbox_first, &to->inbox_last, frame);
	pthread_mutex_unlock(&to->inbox_lock);
	ch->rx.dispatched |= 1ull << to->index;
}

/* Returns false if the frame was not for the guest: its slots stay in the window. */
static void frame_take(struct net_channel *ch, struct vsp_nic_frame *frame)
{
	const struct vsp_adapter *a = &ch->net->adapter;
	uint8_t *head = ch->rx.message + NET_FRAME_OFFSET;
	uint32_t head_len = frame->len < VSP_HEAD ? frame->len : VSP_HEAD, first;
	uint32_t room = ch->net->slots.room;
	struct vsp_rndis_received m = {.data_offset = NET_FRAME_OFFSET};
	struct vsp_frame_received r;
	struct vsp_frame f;

	if (frame->result || !vsp_frame_parse(head, head_len, &f) ||
	    !form_judge(ch->net, frame, head, head_len, &f, &r)) {
		ch->stats.rx_dropped++;
		return;
	}
	if (!vsp_adapter_wants(a, head)) {
		ch->stats.rx_filtered++;
		return;
	}
	if (a->rss.on)
		m.hash_info = vsp_rss_hash(&a->rss, head, &f, &m.hash);
	if (r.sum_needed)
		vsp_frame_complete(&r, head, head_len, &ch->rx.list[2], frame->iov_count - 2,
				   frame->len - head_len);
	m.piece = r.gso ? VSP_PIECE | VSP_PIECE_FIRST : 0;
	m.has_vlan = r.vlan;
	m.vlan = r.vlan_info;
	if (r.vlan)
		m.data_offset += vsp_frame_untag(head);
	m.checksum = verdict_allowed(&a->offloads, &f, r.checksum);
	first = window_take(ch, (frame->len + room - 1) / room);
	if (frame_write(ch, first, &m, frame->len, head_len)) {
		vsp_net_slots_put(ch, first);
		ch->stats.rx_dropped++;
		return;
	}
	ch->stats.rx_frames++;
	ch->stats.rx_bytes += frame->len;
	head += r.vlan ? VSP_VLAN_TAG : 0;
	slot_of(ch, first)->kind = vsp_traffic_kind(head) & 3u;
	slot_of(ch, first)->coalesced = r.gso;
	vsp_traffic_add(ch->stats.rx_to, head, frame->len);
	frame_dispatch(ch, first, m.hash_info != 0, m.hash);
}

/* -- To the guest --------------------------------------------------------- */

struct ranges {
	struct vmbus_transfer_pages header;
	struct vmbus_transfer_range ranges[NET_RANGES];
};

/* As many whole frames as one packet takes; chains their slots. Returns the first frame
 * left. */
static uint32_t ranges_build(struct net_channel *ch, struct ranges *out)
{
	uint32_t most = ch->net->nvsp.ndis_major < 6 ? NET_RANGES_NDIS5 : NET_RANGES;
	uint32_t frame = ch->rx.ready_first, n = 0, last = NET_NO_SLOT;

	while (frame != NET_NO_SLOT && n + slot_of(ch, frame)->pieces <= most) {
		uint32_t slot = frame;

		if (last != NET_NO_SLOT)
			slot_of(ch, last)->next = frame;
		last = slot_of(ch, frame)->last;
		for (;; slot = slot_of(ch, slot)->next) {
			out->ranges[n].byte_count = slot_of(ch, slot)->len;
			out->ranges[n++].byte_offset = slot * ch->net->slots.size;
			if (slot == last)
				break;
		}
		frame = slot_of(ch, frame)->frame_next;
	}
	out->header = (struct vmbus_transfer_pages){.set_id = ch->net->nvsp.receive_id, .range_count = n};
	return frame;
}

int vsp_net_receive_deliver(struct net_channel *ch)
{
	static const struct vsp_nvsp_message message = {
		.type = VSP_NVSP_RNDIS,
		.u.rndis = {VSP_NVSP_CHANNEL_DATA, VSP_NVSP_NO_SECTION, 0}};
	struct net_rx *rx = &ch->rx;
	int ret = 0;

	while (rx->ready_first != NET_NO_SLOT && !ret) {
		uint32_t first = rx->ready_first;
		struct ranges ranges;
		uint32_t left = ranges_build(ch, &ranges);
		const struct vmbus_packet packet = {
			.type = VMBUS_PACKET_TRANSFER_PAGES,
			.flags = VMBUS_PACKET_COMPLETION_REQUESTED,
			.transaction_id = first,
			.header = &ranges,
			.header_len = (uint32_t)(sizeof(ranges.header) +
						 ranges.header.range_count * sizeof(ranges.ranges[0])),
			.payload = &message,
			.payload_len = vsp_nvsp_size(&ch->net->nvsp),
		};

		ret = vmbus_channel_send(ch->channel, &packet, 0);
		if (ret == -EAGAIN) {
			uint32_t bytes = vmbus_packet_ring_bytes(packet.header_len, packet.payload_len);

			if (vmbus_tx_wait_space(vmbus_channel_tx(ch->channel), bytes)) {
				ret = 0; /* it came free meanwhile: the chain is built again */
				continue;
			}
			vsp_net_room_want(ch, bytes);
		}
		if (ret)
			break;
		slot_of(ch, first)->sent_on = (uint16_t)(ch->index + 1);
		rx->ready_first = left;
	}
	return ret;
}

/* Gives what this channel keeps for itself to those that found nothing. */
static void starving_feed(struct net_channel *ch)
{
	uint64_t own = 1ull << ch->index, others = atomic_load(&ch->net->starving) & ~own;

	if (!others)
		return;
	if (!ch->rx.nic_readable)
		window_drop(ch);
	if (!ch->rx.cache_count)
		return;
	vsp_net_slots_return(ch);
	for (others &= atomic_fetch_and(&ch->net->starving, own); others; others &= others - 1)
		vsp_net_kick(ch->net->channels[__builtin_ctzll(others)]);
}

/* No slot is free, but other channels may keep some: they are asked. */
static void starving_begin(struct net_channel *ch)
{
	ch->rx.starved = true;
	ch->stats.rx_waits++;
	atomic_fetch_or(&ch->net->starving, 1ull << ch->index);
	for (uint32_t i = 0; i < VSP_NET_CHANNELS; i++)
		if (i != ch->index)
			vsp_net_kick(ch->net->channels[i]);
}

int vsp_net_receive_done(struct net_channel *ch, uint64_t id)
{
	struct net_slots *s = &ch->net->slots;

	if (id >= s->count || s->slots[id].sent_on != ch->index + 1)
		return VMBUS_FAULT_BAD_REQUEST;
	s->slots[id].sent_on = 0;
	if (id < s->control)
		ch->net->control_slots |= (uint16_t)(1u << id);
	else
		vsp_net_slots_put(ch, (uint32_t)id);
	ch->rx.starved = false;
	starving_feed(ch);
	return 0;
}

/* -- The channel's turn --------------------------------------------------- */

static void inbox_empty(struct net_channel *ch)
{
	uint32_t first, last;

	pthread_mutex_lock(&ch->inbox_lock);
	first = ch->inbox_first;
	last = ch->inbox_last;
	ch->inbox_first = NET_NO_SLOT;
	pthread_mutex_unlock(&ch->inbox_lock);
	if (first == NET_NO_SLOT)
		return;
	ready_add(ch, &ch->rx.ready_first, &ch->rx.ready_last, first);
	ch->rx.ready_last = last;
}

static bool frames_wanted(const struct vsp_net *net)
{
	return net->receive.gpadl && net->nvsp.state == VSP_NVSP_STATE_READY && net->adapter.filter;
}

static void frames_read(struct net_channel *ch)
{
	bool wanted = frames_wanted(ch->net);
	struct vsp_nic_frame frame;

	for (unsigned int n = 0; n < NET_RX_BATCH && ch->rx.nic_readable; n++) {
		if (wanted && !window_fill(ch)) {
			if (!ch->rx.starved)
				starving_begin(ch);
			return;
		}
		ch->rx.starved = false;
		memset(&frame.header, 0, sizeof(frame.header));
		if (!frame_read(ch, &frame, !wanted))
			ch->rx.nic_readable = false;
		else if (wanted)
			frame_take(ch, &frame);
		else
			ch->stats.rx_filtered++;
	}
}

static void dispatched_kick(struct net_channel *ch)
{
	for (; ch->rx.dispatched; ch->rx.dispatched &= ch->rx.dispatched - 1)
		vsp_net_kick(ch->net->channels[__builtin_ctzll(ch->rx.dispatched)]);
}

int vsp_net_receive(struct net_channel *ch)
{
	int ret;

	if (ch->net->slots.slots) {
		inbox_empty(ch);
		starving_feed(ch);
	}
	ret = vsp_net_receive_deliver(ch);
	if (ret) {
		if (ret == -EAGAIN && !ch->rx.ring_full)
			ch->stats.rx_waits++;
		ch->rx.ring_full = true;
		return ret;
	}
	ch->rx.ring_full = false;
	if (!ch->queue)
		return 0;
	/* it was given slots; whether others were faster shows now, and then it asks again */
	if (!(atomic_load(&ch->net->starving) & 1ull << ch->index))
		ch->rx.starved = false;
	frames_read(ch);
	starving_feed(ch); /* asked by them before it was clear that there is nothing to fill */
	dispatched_kick(ch);
	ret = vsp_net_receive_deliver(ch);
	if (ret)
		return ret;
	return ch->rx.nic_readable && !ch->rx.starved ? -EINPROGRESS : 0;
}

void vsp_net_receive_drop(struct net_channel *ch)
{
	ch->rx.cache_count = ch->rx.window_count = ch->rx.iov_count = 0;
	ch->rx.ready_first = ch->inbox_first = NET_NO_SLOT;
	ch->rx.starved = false;
}

/* It was counted as received. */
static void frame_discard(struct net_channel *ch, uint32_t first)
{
	struct vsp_net_traffic *kind = &ch->stats.rx_to[slot_of(ch, first)->kind];
	uint32_t len = 0;

	for (uint32_t slot = first; slot != NET_NO_SLOT; slot = slot_of(ch, slot)->next)
		len += slot_of(ch, slot)->len - NET_FRAME_OFFSET;
	kind->frames--;
	kind->bytes -= len;
	ch->stats.rx_frames--;
	ch->stats.rx_bytes -= len;
	ch->stats.rx_filtered++;
	vsp_net_slots_put(ch, first);
}

static void frames_discard(struct net_channel *ch, uint32_t *first, uint32_t *last, bool coalesced_only)
{
	uint32_t frame = *first, next;

	for (*first = NET_NO_SLOT; frame != NET_NO_SLOT; frame = next) {
		next = slot_of(ch, frame)->frame_next;
		slot_of(ch, frame)->frame_next = NET_NO_SLOT;
		slot_of(ch, slot_of(ch, frame)->last)->next = NET_NO_SLOT; /* a packet may have been tried */
		if (coalesced_only && !slot_of(ch, frame)->coalesced)
			ready_add(ch, first, last, frame);
		else
			frame_discard(ch, frame);
	}
}

void vsp_net_receive_discard(struct net_channel *ch, bool coalesced_only)
{
	frames_discard(ch, &ch->rx.ready_first, &ch->rx.ready_last, coalesced_only);
	frames_discard(ch, &ch->inbox_first, &ch->inbox_last, coalesced_only);
	starving_feed(ch); /* this channel may sleep until its guest reads */
}

/* What the guest still holds of this channel it has forgotten, too. */
void vsp_net_receive_end(struct net_channel *ch)
{
	struct net_slots *s = &ch->net->slots;

	if (s->slots) {
		window_drop(ch);
		vsp_net_receive_discard(ch, false);
		for (uint32_t i = 0; i < s->count; i++) {
			if (s->slots[i].sent_on != ch->index + 1)
				continue;
			s->slots[i].sent_on = 0;
			if (i >= s->control)
				vsp_net_slots_put(ch, i);
		}
		starving_feed(ch);
		vsp_net_slots_return(ch);
	}
	vsp_net_receive_drop(ch);
}
