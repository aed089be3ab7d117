/* SPDX-License-Identifier: MIT */
/* What must hold whatever the guest did. */
#include <errno.h>
#include <string.h>

#include "netvsc-world.h"
#include "rndis.h"

#ifdef __clang__ /* libFuzzer looks for new ways through the adapter, not through this */
#pragma clang attribute push(__attribute__((no_sanitize("coverage"))), apply_to = function)
#endif

/* -- What the host sends -------------------------------------------------------- */

/* Bytes that a guest reads: a table's index has to be known, so MSan tells of those that were
 * never set. */
void guest_looks(const uint8_t *bytes, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		world.looked_at[bytes[i]]++;
}

static void zero_check(const uint8_t *bytes, uint32_t from, uint32_t len)
{
	for (uint32_t i = from; i < len; i++)
		CHECK(bytes[i] == 0);
}

/* The fields of an answer; behind them is nothing. */
static uint32_t answer_size(uint32_t type)
{
	switch (type) {
	case VSP_NVSP_INIT_COMPLETE:
		return 16;
	case VSP_NVSP_RECV_BUF_COMPLETE:
		return 28;
	case VSP_NVSP_SEND_BUF_COMPLETE:
	case VSP_NVSP_OID_QUERY_EX_COMPLETE:
	case VSP_NVSP_SUBCHANNEL:
		return 12;
	case VSP_NVSP_RNDIS_COMPLETE:
		return 8;
	default:
		world_fail(__FILE__, __LINE__, "no type of an answer");
	}
}

static void completion_check(struct line *l, const struct vmbus_packet *packet)
{
	uint32_t type, len = packet->payload_len;

	CHECK(packet->flags == 0 && packet->header_len == 0);
	CHECK(packet->transaction_id < 256 && l->owed[packet->transaction_id] > 0);
	l->owed[packet->transaction_id]--;
	if (!len)
		return;
	memcpy(&type, packet->payload, sizeof(type));
	CHECK(len == (type == VSP_NVSP_RNDIS_COMPLETE ? 8u : len == 32 ? 32u : VSP_NVSP_SIZE_V61));
	zero_check(packet->payload, answer_size(type), len);
}

static void table_check(const struct vmbus_packet *packet)
{
	struct vsp_nvsp_message m;

	CHECK(packet->flags == 0 && packet->header_len == 0 && packet->payload_len == sizeof(m));
	memcpy(&m, packet->payload, sizeof(m));
	CHECK(m.type == VSP_NVSP_INDIRECTION_TABLE && m.u.indirection.offset == 12);
	CHECK(m.u.indirection.count == VSP_NVSP_INDIRECTION);
	for (uint32_t i = 0; i < VSP_NVSP_INDIRECTION; i++)
		CHECK(m.u.indirection.table[i] < world.config.channels);
	zero_check(packet->payload, 76, packet->payload_len);
}

/* The receive buffer as the guest sees it; NULL: not in a row, or not what it was. */
static const uint8_t *receive_memory(void)
{
	uint32_t which = world.net->receive.handle - GPADL_FIRST;

	if (world.aliased || world.reused || !world.net->receive.gpadl || which >= GPADLS)
		return NULL;
	switch (world.gpadls[which]) {
	case MEMORY_RECEIVE:
	case MEMORY_ONE_CHANNEL:
	case MEMORY_SMALL:
		return world_page(RECEIVE_PFN);
	case MEMORY_ODD:
		return world_page(RECEIVE_PFN) + 100;
	default:
		return NULL;
	}
}

/* As strict as the strictest guest. Returns the piece's flags, 0: a whole frame. */
static uint32_t data_check(const uint8_t *slot, uint32_t len)
{
	struct vsp_rndis_packet h;
	struct vsp_rndis_info info;
	struct vsp_rndis_data data;

	memcpy(&h, slot, sizeof(h));
	CHECK(vsp_rndis_data_header(&h, len, &data) == 0 && data.length == len);
	CHECK(h.oob_offset == 0 && h.oob_length == 0 && h.oob_count == 0 && h.vc_handle == 0);
	CHECK(data.data_offset + data.data_length == len && data.info_length % 16 == 0);
	CHECK(h.info_offset == (h.info_length ? 36u : 0u) && 44 + data.info_length <= data.data_offset);
	for (uint32_t at = 44; at < 44 + data.info_length; at += 16) {
		memcpy(&info, slot + at, sizeof(info));
		CHECK(info.size == 16 && info.offset == 12);
	}
	CHECK(vsp_rndis_data_infos(vmbus_cursor_of(slot + 44, data.info_length), &data) == 0);
	guest_looks(slot, 44 + data.info_length);
	guest_looks(slot + data.data_offset, data.data_length < 64 ? data.data_length : 64);
	if (!data.has_packet_id)
		return 0;
	CHECK((data.packet_id & 0xffff00ff) == VSP_PIECE_VERSION && data.packet_id & 0x100);
	return data.packet_id >> 8;
}

static void control_check(const uint8_t *slot, uint32_t len)
{
	struct vsp_rndis_header h;

	memcpy(&h, slot, sizeof(h));
	CHECK(h.length == len && (h.type == VSP_RNDIS_INDICATE || h.type & VSP_RNDIS_COMPLETE));
	guest_looks(slot, len);
}

/* Which slots the guest has while nothing was taken back. */
static void slot_take(uint32_t slot)
{
	if (world.reused)
		return;
	CHECK(slot < world.net->slots.count && !world.taken[slot]);
	world.taken[slot] = true;
}

static void ranges_check(const struct vmbus_packet *packet, bool control)
{
	const struct vsp_net *net = world.net;
	const uint8_t *memory = receive_memory();
	struct vmbus_transfer_range r;
	uint32_t piece = VSP_PIECE_LAST, next;

	for (uint32_t at = 8; at < packet->header_len; at += 8) {
		memcpy(&r, (const uint8_t *)packet->header + at, sizeof(r));
		if (world.reused)
			continue;
		CHECK(r.byte_count >= 16 && r.byte_count + NET_SLOT_TAIL <= net->slots.size);
		CHECK(r.byte_offset % net->slots.size == 0);
		slot_take(r.byte_offset / net->slots.size);
		CHECK(at > 8 || r.byte_offset / net->slots.size == packet->transaction_id);
		CHECK((r.byte_offset / net->slots.size < net->slots.control) == control);
		if (control && memory)
			control_check(memory + r.byte_offset, r.byte_count);
		if (control || !memory)
			continue;
		next = data_check(memory + r.byte_offset, r.byte_count);
		CHECK(!piece || piece & VSP_PIECE_LAST ? !next || next & VSP_PIECE_FIRST :
							 next && !(next & VSP_PIECE_FIRST));
		piece = next;
	}
	CHECK(!piece || piece & VSP_PIECE_LAST || !memory || control);
}

static void transfer_check(struct line *l, const struct vmbus_packet *packet)
{
	struct vmbus_transfer_pages pages;
	struct vsp_nvsp_message m = {.type = 0};

	CHECK(packet->flags == VMBUS_PACKET_COMPLETION_REQUESTED && packet->header_len > 8);
	memcpy(&pages, packet->header, sizeof(pages));
	CHECK(packet->header_len == 8 + 8 * pages.range_count && pages.range_count <= NET_RANGES);
	CHECK(packet->payload_len == 32 || packet->payload_len == VSP_NVSP_SIZE_V61);
	memcpy(&m, packet->payload, 16);
	CHECK(m.type == VSP_NVSP_RNDIS && m.u.rndis.section == VSP_NVSP_NO_SECTION);
	CHECK(m.u.rndis.channel_type <= VSP_NVSP_CHANNEL_CONTROL && m.u.rndis.section_size == 0);
	zero_check(packet->payload, 16, packet->payload_len);
	CHECK(m.u.rndis.channel_type == VSP_NVSP_CHANNEL_DATA || pages.range_count == 1);
	guest_looks(packet->header, packet->header_len);
	if (world.net)
		ranges_check(packet, m.u.rndis.channel_type == VSP_NVSP_CHANNEL_CONTROL);
	if (l->held_count < HELD)
		l->held[l->held_count++] = packet->transaction_id;
}

/* -- The guest's turn -------------------------------------------------------------- */

/* Those slots are the host's again. */
static void slots_forget(uint64_t id)
{
	const struct vsp_net *net = world.net;

	for (uint32_t slot = (uint32_t)id; net && slot < net->slots.count;
	     slot = net->slots.slots[slot].next) {
		world.taken[slot] = false;
		if (slot < net->slots.control)
			return;
	}
}

static bool held_return(struct line *l)
{
	static const struct vsp_nvsp_message done = {.type = VSP_NVSP_RNDIS_COMPLETE,
						     .u.rndis_complete = {VSP_NVSP_STATUS_SUCCESS}};
	struct vmbus_packet packet = {
		.type = VMBUS_PACKET_COMPLETION, .payload = &done, .payload_len = 8};
	uint32_t n = 0;

	for (; n < l->held_count && !l->hold; n++) {
		packet.transaction_id = l->held[n];
		if (vmbus_tx_put(&l->channel->tx, &packet, 0))
			break;
		slots_forget(l->held[n]);
		l->returned = l->held[n];
	}
	l->held_count -= n;
	memmove(l->held, l->held + n, l->held_count * sizeof(l->held[0]));
	return n > 0;
}

static bool driver_turn(struct line *l)
{
	unsigned int packets = 0;

	CHECK(vsp_netvsc_poll(&world.driver, 1000, &packets) == 0);
	vmbus_guest_commit(l->channel);
	vmbus_guest_signal(l->channel);
	return packets > 0;
}

bool line_read(struct line *l)
{
	static uint64_t buf[NET_PACKET_MAX / 8];
	struct vmbus_packet packet;
	bool any = false;
	int ret;

	if (!l->gpadl || l->wild || l->deaf)
		return false;
	if (world.driver.channel == l->channel)
		return driver_turn(l);
	while ((ret = vmbus_rx_next(&l->channel->rx, buf, sizeof(buf), &packet)) == 0) {
		any = true;
		if (packet.type == VMBUS_PACKET_COMPLETION)
			completion_check(l, &packet);
		else if (packet.type == VMBUS_PACKET_TRANSFER_PAGES)
			transfer_check(l, &packet);
		else
			table_check(&packet);
		guest_looks(packet.payload, packet.payload_len);
	}
	CHECK(ret == -EAGAIN);
	any |= held_return(l);
	vmbus_guest_commit(l->channel);
	vmbus_guest_signal(l->channel);
	return any;
}

/* -- Between two turns --------------------------------------------------------------- */

static uint8_t seen[SLOTS];

static void slot_seen(const struct net_slots *s, uint32_t slot)
{
	CHECK(slot >= s->control && slot < s->count);
	CHECK(!seen[slot]);
	seen[slot] = 1;
}

static void frames_seen(const struct net_slots *s, uint32_t frame)
{
	for (; frame != NET_NO_SLOT; frame = s->slots[frame].frame_next) {
		uint32_t slot = frame;

		for (uint32_t n = 1; n < s->slots[frame].pieces; n++, slot = s->slots[slot].next)
			slot_seen(s, slot);
		CHECK(slot == s->slots[frame].last);
		slot_seen(s, slot);
	}
}

static void channel_seen(const struct net_slots *s, const struct net_channel *ch)
{
	for (uint32_t i = 0; i < ch->rx.cache_count; i++)
		slot_seen(s, ch->rx.cache[i]);
	for (uint32_t i = 0; i < ch->rx.window_count; i++)
		slot_seen(s, ch->rx.window[i].slot);
	frames_seen(s, ch->rx.ready_first);
	frames_seen(s, ch->inbox_first);
}

static bool receive_writable(const struct vsp_net *net)
{
	uint32_t which = net->receive.handle - GPADL_FIRST;

	return which >= GPADLS || (world.gpadls[which] != MEMORY_READONLY &&
				   world.gpadls[which] != MEMORY_MIXED);
}

/* Every slot is in one place, and in one only; those that the host may not write to in none. */
static void slots_check(const struct vsp_net *net)
{
	const struct net_slots *s = &net->slots;
	uint32_t free = 0;

	if (!s->slots)
		return;
	CHECK(s->count <= SLOTS);
	memory_written(world_page(RECEIVE_PFN), s->control * s->size); /* by control messages */
	memset(seen, 0, s->count);
	for (uint32_t slot = s->free; slot != NET_NO_SLOT; slot = s->slots[slot].next, free++)
		slot_seen(s, slot);
	CHECK(free == s->free_count);
	for (unsigned int i = 0; i < VSP_NET_CHANNELS; i++)
		if (net->channels[i])
			channel_seen(s, net->channels[i]);
	for (uint32_t i = 0; i < s->count; i++) {
		CHECK(!s->slots[i].sent_on || net->channels[s->slots[i].sent_on - 1]);
		for (uint32_t k = i; i >= s->control && s->slots[i].sent_on && k != NET_NO_SLOT;
		     k = s->slots[k].next)
			slot_seen(s, k);
		if (i < s->control)
			CHECK((s->slots[i].sent_on != 0) != (net->control_slots >> i & 1u));
	}
	for (uint32_t i = s->control; i < s->count; i++)
		CHECK(seen[i] || !receive_writable(net));
}

static void stats_check(void)
{
	struct vsp_net_traffic out = {0}, in = {0};
	struct vsp_net_stats s;

	vsp_net_get_stats(world.net, &s);
	CHECK(s.tx_frames == world.wire.sent && s.tx_bytes == world.wire.sent_bytes);
	CHECK(s.tx_dropped >= world.wire.refused);
	CHECK(s.rx_frames + s.rx_filtered + s.rx_dropped == world.wire.given);
	for (int i = 0; i < VSP_NET_KINDS; i++) {
		out.frames += s.tx_to[i].frames;
		out.bytes += s.tx_to[i].bytes;
		in.frames += s.rx_to[i].frames;
		in.bytes += s.rx_to[i].bytes;
	}
	CHECK(out.frames == s.tx_frames && out.bytes == s.tx_bytes);
	CHECK(in.frames == s.rx_frames && in.bytes == s.rx_bytes);
}

/* A channel whose guest reads what it gets, and which was not stopped. */
static bool works(unsigned int index)
{
	const struct net_channel *ch = world.net->channels[index];
	const struct line *l = &world.lines[index];

	return ch && ch->started && !vmbus_channel_fault(ch->channel) && !l->deaf && !l->wild &&
	       !world.aliased;
}

/* Free slots that a channel could have: its own, the common ones, what others keep. Those that
 * were stopped keep it until they are closed. */
static uint32_t slots_to_have(const struct net_channel *ch)
{
	uint32_t sum = ch->net->slots.free_count + ch->rx.window_count;

	for (unsigned int i = 0; i < LINES; i++) {
		const struct net_channel *other = ch->net->channels[i];

		if (other && !vmbus_channel_fault(other->channel))
			sum += other->rx.cache_count;
	}
	return sum;
}

static void nothing_undone(unsigned int index)
{
	const struct net_channel *ch = world.net->channels[index];
	const struct vsp_net *net = ch->net;
	const struct vsp_offloads *o = &net->adapter.offloads;
	uint32_t want = 1;

	if (index == 0)
		CHECK(net->message_state == NET_MESSAGE_NONE);
	CHECK(ch->rx.ready_first == NET_NO_SLOT && ch->inbox_first == NET_NO_SLOT);
	CHECK(!ch->tx.full || world.far_deaf);
	CHECK(ch->tx.full || !vmbus_rx_pending(vmbus_channel_rx(ch->channel)));
	if (index == 0 && net->control_slots && net->receive.gpadl)
		CHECK(net->control_count == 0);
	if (!ch->queue || !ch->rx.nic_readable || ch->tx.full)
		return;
	if (!net->receive.gpadl || net->nvsp.state != VSP_NVSP_STATE_READY || !net->adapter.filter)
		return; /* they wait, or are thrown away */
	if (o->rsc4 || o->rsc6)
		want = VSP_NIC_FRAME_MAX / net->slots.room + 1;
	CHECK(slots_to_have(ch) < want);
}

void world_check(void)
{
	if (!world.net)
		return;
	slots_check(world.net);
	stats_check();
	for (unsigned int i = 0; i < LINES; i++)
		if (works(i))
			nothing_undone(i);
}

void owed_check(void)
{
	struct vsp_net_state state;

	if (!world.net)
		return;
	vsp_net_get_state(world.net, &state);
	CHECK(state.channels <= world.config.channels && state.mtu + VSP_ETHERNET <= VSP_NVSP_MTU_MAX);
	for (unsigned int i = 0; i < LINES; i++)
		for (unsigned int id = 0; works(i) && id < 256; id++)
			CHECK(world.lines[i].owed[id] == 0);
}

#ifdef __clang__
#pragma clang attribute pop
#endif
