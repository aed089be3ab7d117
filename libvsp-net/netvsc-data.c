/* SPDX-License-Identifier: MIT */
/* The guest role: frames. */
#include <string.h>

#include "frame.h"
#include "netvsc.h"
#include "rndis.h"

#define TCP_CHECKSUM 16u

/* -- To the host ---------------------------------------------------------- */

uint8_t *vsp_netvsc_section(const struct vsp_netvsc *n, uint32_t section)
{
	return n->config.send + (size_t)section * n->section_size;
}

static uint32_t info_put(uint8_t *out, uint32_t at, uint32_t type, uint32_t value)
{
	const struct vsp_rndis_info info = {.size = 16, .type = type, .offset = 12};

	memcpy(out + at, &info, sizeof(info));
	memcpy(out + at + sizeof(info), &value, sizeof(value));
	return at + 16;
}

/* NDIS wants the lengths 0, the pseudo header's too: the complement of the TCP length is
 * added to a seed that has it. */
static bool lso_undo(uint8_t *head, uint32_t len, const struct vsp_frame *f)
{
	uint8_t length[2];
	uint16_t seed;

	if (!f->transport)
		return false;
	vsp_put16(head + f->ip + (f->version == 4 ? 2 : 4), 0);
	if (f->version == 4)
		vsp_put16(head + f->ip + 10, 0);
	vsp_put16(length, (len - f->transport) ^ 0xffffu);
	seed = vsp_sum_fold(vsp_sum_add(
		vsp_sum_add(0, head + f->transport + TCP_CHECKSUM, 2, false), length, 2, false));
	memcpy(head + f->transport + TCP_CHECKSUM, &seed, 2);
	return true;
}

static uint32_t offload_put(uint8_t *out, uint32_t at, uint8_t *head, uint32_t len,
			    const struct vsp_frame *f, const struct vsp_vnet_header *h)
{
	uint32_t start = h->csum_start;

	if (h->gso_type != VSP_VNET_GSO_NONE) {
		bool v6 = f->version == 6;

		if ((h->gso_type & ~VSP_VNET_GSO_ECN) != (v6 ? VSP_VNET_GSO_TCPV6 : VSP_VNET_GSO_TCPV4) ||
		    start != f->transport || !lso_undo(head, len, f))
			return 0;
		return info_put(out, at, VSP_INFO_LSO,
				VSP_LSO_V2 | (v6 ? VSP_LSO_IPV6 : 0) | start << 20 | h->gso_size);
	}
	if (!(h->flags & VSP_VNET_NEEDS_CSUM))
		return at;
	if (start > 0x3ff || (h->csum_offset != TCP_CHECKSUM && h->csum_offset != 6))
		return 0;
	return info_put(out, at, VSP_INFO_CHECKSUM,
			(f->version == 6 ? VSP_CSUM_TX_IPV6 : VSP_CSUM_TX_IPV4) | start << 16 |
				(h->csum_offset == 6 ? VSP_CSUM_TX_UDP : VSP_CSUM_TX_TCP));
}

uint32_t vsp_netvsc_header(uint8_t *head, uint32_t head_len, uint32_t len,
			   const struct vsp_vnet_header *header, int64_t vlan,
			   uint8_t out[VSP_NETVSC_HEADER_MAX])
{
	struct vsp_rndis_packet h = {.header = {VSP_RNDIS_PACKET, 0}, .data_length = len};
	struct vsp_frame f;
	uint32_t at = sizeof(h);

	if (!vsp_frame_parse(head, head_len, &f))
		return 0;
	if (vlan >= 0)
		at = info_put(out, at, VSP_INFO_8021Q, (uint32_t)vlan);
	at = offload_put(out, at, head, len, &f, header);
	if (!at)
		return 0;
	h.header.length = at + len;
	h.data_offset = at - VSP_RNDIS_OFFSET_BASE;
	h.info_length = at - (uint32_t)sizeof(h);
	if (h.info_length)
		h.info_offset = (uint32_t)sizeof(h) - VSP_RNDIS_OFFSET_BASE;
	memcpy(out, &h, sizeof(h));
	return at;
}

struct direct { /* header of a GPA-direct packet, at its longest */
	struct vmbus_gpa_direct fixed;
	uint64_t words[VSP_NETVSC_RANGES + VSP_NETVSC_PAGES];
};

/* Returns the bytes of the header, 0: too much. */
static uint32_t direct_build(struct direct *d, const struct vsp_netvsc_range *ranges, uint32_t count)
{
	uint32_t at = 0;

	if (count > VSP_NETVSC_RANGES)
		return 0;
	d->fixed = (struct vmbus_gpa_direct){.range_count = count};
	for (uint32_t i = 0; i < count; i++) {
		const struct vmbus_gpa_range r = {ranges[i].len, ranges[i].offset};
		uint32_t pages = (uint32_t)(((uint64_t)r.byte_offset + r.byte_count + VMBUS_PAGE_SIZE - 1) >>
					    VMBUS_PAGE_SHIFT);

		if (pages > VSP_NETVSC_RANGES + VSP_NETVSC_PAGES - 1 - at)
			return 0;
		memcpy(&d->words[at++], &r, sizeof(r));
		memcpy(&d->words[at], ranges[i].pfns, pages * sizeof(uint64_t));
		at += pages;
	}
	return (uint32_t)sizeof(d->fixed) + at * 8u;
}

int vsp_netvsc_send(struct vsp_netvsc *n, uint32_t section, uint32_t section_len,
		    const struct vsp_netvsc_range *ranges, uint32_t count, void *user)
{
	const struct vsp_nvsp_message message = {
		.type = VSP_NVSP_RNDIS,
		.u.rndis = {VSP_NVSP_CHANNEL_DATA, section,
			    section == VSP_NVSP_NO_SECTION ? 0 : section_len}};
	struct vmbus_packet packet = {
		.type = count ? VMBUS_PACKET_GPA_DIRECT : VMBUS_PACKET_INBAND,
		.flags = VMBUS_PACKET_COMPLETION_REQUESTED,
		.payload = &message,
		.payload_len = VSP_NVSP_SIZE_V61,
	};
	struct direct direct;
	uint32_t id;
	int ret;

	if (n->state != VSP_NETVSC_READY)
		return NETVSC_EINVAL;
	if (n->in_flight == VSP_NETVSC_SENDS)
		return NETVSC_EAGAIN;
	if (count) {
		packet.header = &direct;
		packet.header_len = direct_build(&direct, ranges, count);
		if (!packet.header_len)
			return NETVSC_EINVAL;
	}
	id = n->free_ids[n->in_flight];
	packet.transaction_id = id + 1;
	ret = vmbus_tx_put(&n->channel->tx, &packet, 0);
	if (ret)
		return ret;
	n->sends[id].user = user;
	n->sends[id].busy = true;
	n->in_flight++;
	return 0;
}

/* -- From the host -------------------------------------------------------- */

static void completion_take(struct vsp_netvsc *n, const struct vmbus_packet *packet)
{
	struct vsp_nvsp_message m = {.type = 0};
	uint64_t id = packet->transaction_id - 1;

	memcpy(&m, packet->payload, packet->payload_len < sizeof(m) ? packet->payload_len : sizeof(m));
	if (packet->transaction_id == NETVSC_ID_SETUP) {
		vsp_netvsc_setup_answered(n, &m);
	} else if (m.type != VSP_NVSP_RNDIS_COMPLETE) {
		n->bad_packets++;
	} else if (packet->transaction_id == NETVSC_ID_CONTROL) {
		vsp_netvsc_control_sent(n, m.u.rndis_complete.status);
	} else if (id < VSP_NETVSC_SENDS && n->sends[id].busy) {
		n->sends[id].busy = false;
		n->free_ids[--n->in_flight] = (uint32_t)id;
		if (n->config.ops->sent)
			n->config.ops->sent(n, n->sends[id].user, m.u.rndis_complete.status);
	} else {
		n->bad_packets++;
	}
}

/* Adds the message of one slot to the frame. Returns 1 if the frame is whole, 0 if more
 * pieces follow, < 0 if the host wrote nonsense. */
static int slot_take(struct vsp_netvsc_frame *frame, const uint8_t *slot, uint32_t len)
{
	struct vsp_rndis_packet header;
	uint8_t infos[VSP_RNDIS_INFO_MAX];
	struct vsp_rndis_data data;
	uint32_t piece;

	memcpy(&header, slot, sizeof(header)); /* len was checked */
	if (vsp_rndis_data_header(&header, len, &data))
		return -1;
	memcpy(infos, slot + data.info_offset, data.info_length);
	if (vsp_rndis_data_infos(vmbus_cursor_of(infos, data.info_length), &data))
		return -1;
	piece = data.has_packet_id ? data.packet_id >> 8 & 0xff : 0;
	if (!piece || piece & VSP_PIECE_FIRST) {
		frame->piece_count = frame->len = 0;
		frame->coalesced = piece != 0;
		frame->checksum = data.has_checksum ? data.checksum : 0;
		frame->has_vlan = data.has_vlan;
		frame->vlan = data.vlan;
		frame->has_hash = data.has_hash;
		frame->hash = data.hash;
		frame->hash_info = data.hash_info;
	} else if (!frame->piece_count) {
		return -1;
	}
	if (frame->piece_count == VSP_NETVSC_PIECES)
		return -1;
	frame->pieces[frame->piece_count].data = slot + data.data_offset;
	frame->pieces[frame->piece_count++].len = data.data_length;
	frame->len += data.data_length;
	return !piece || piece & VSP_PIECE_LAST ? 1 : 0;
}

static int ranges_take(struct vsp_netvsc *n, const struct vmbus_packet *packet, bool control)
{
	struct vmbus_cursor c = vmbus_cursor_of(packet->header, packet->header_len);
	struct vsp_netvsc_frame frame = {.piece_count = 0};
	struct vmbus_transfer_pages pages;
	struct vmbus_transfer_range range;
	int whole = 1;

	if (!vmbus_cursor_get(&c, &pages, sizeof(pages)))
		return -1;
	for (uint32_t i = 0; i < pages.range_count; i++) {
		const uint8_t *slot;

		if (!vmbus_cursor_get(&c, &range, sizeof(range)) || range.byte_count > n->slot_size ||
		    range.byte_count < sizeof(struct vsp_rndis_header) ||
		    range.byte_offset > n->config.receive_len - range.byte_count)
			return -1;
		slot = n->config.receive + range.byte_offset;
		if (control) {
			vsp_netvsc_control_received(n, slot, range.byte_count);
			continue;
		}
		whole = range.byte_count < sizeof(struct vsp_rndis_packet) ? -1 :
			slot_take(&frame, slot, range.byte_count);
		if (whole < 0)
			return -1;
		if (!whole)
			continue;
		n->received_frames++;
		if (n->config.ops->received)
			n->config.ops->received(n, &frame);
		frame.piece_count = 0;
	}
	return whole ? 0 : -1;
}

/* The slots are the host's again with this; the answers' space in the ring is reserved. */
static int slots_return(struct vsp_netvsc *n)
{
	int ret = 0;

	if (n->return_count && n->config.ops->returning)
		n->config.ops->returning(n);
	for (uint32_t i = 0; i < n->return_count && !ret; i++) {
		const struct vsp_nvsp_message message = {
			.type = VSP_NVSP_RNDIS_COMPLETE, .u.rndis_complete = {n->returns[i].status}};
		const struct vmbus_packet packet = {
			.type = VMBUS_PACKET_COMPLETION,
			.transaction_id = n->returns[i].id,
			.payload = &message,
			.payload_len = 8,
		};

		ret = vmbus_tx_put(&n->channel->tx, &packet, NETVSC_COMPLETION_BYTES);
	}
	n->return_count = 0;
	return ret;
}

/* The table may lie behind a message of full size. */
static bool table_take(struct vsp_netvsc *n, const struct vmbus_packet *packet,
		       const struct vsp_nvsp_indirection *m)
{
	if (m->count != VSP_NVSP_INDIRECTION || m->offset < 12 || m->offset > packet->payload_len ||
	    packet->payload_len - m->offset < sizeof(n->send_table))
		return false;
	memcpy(n->send_table, (const uint8_t *)packet->payload + m->offset, sizeof(n->send_table));
	n->tables++;
	return true;
}

static void inband_take(struct vsp_netvsc *n, const struct vmbus_packet *packet)
{
	struct vsp_nvsp_message m = {.type = 0};

	memcpy(&m, packet->payload, packet->payload_len < sizeof(m) ? packet->payload_len : sizeof(m));
	if (m.type != VSP_NVSP_INDIRECTION_TABLE || !table_take(n, packet, &m.u.indirection))
		n->bad_packets++;
}

static int packet_take(struct vsp_netvsc *n, const struct vmbus_packet *packet)
{
	struct vsp_nvsp_message m = {.type = 0};
	int bad;

	if (packet->type != VMBUS_PACKET_TRANSFER_PAGES) {
		vmbus_tx_unreserve(&n->channel->tx, NETVSC_COMPLETION_BYTES);
		if (packet->type == VMBUS_PACKET_COMPLETION)
			completion_take(n, packet);
		else
			inband_take(n, packet);
		return 0;
	}
	n->received_packets++;
	memcpy(&m, packet->payload, packet->payload_len < sizeof(m) ? packet->payload_len : sizeof(m));
	bad = m.type != VSP_NVSP_RNDIS ||
	      ranges_take(n, packet, m.u.rndis.channel_type == VSP_NVSP_CHANNEL_CONTROL);
	if (bad)
		n->bad_packets++;
	n->returns[n->return_count].id = packet->transaction_id;
	n->returns[n->return_count++].status = bad ? VSP_NVSP_STATUS_FAILURE : VSP_NVSP_STATUS_SUCCESS;
	return n->return_count == VSP_NETVSC_RETURNS ? slots_return(n) : 0;
}

/* Returns 0, NETVSC_EAGAIN: there is no more; or a fault. */
static int packet_next(struct vsp_netvsc *n)
{
	struct vmbus_tx *tx = &n->channel->tx;
	struct vmbus_packet packet;
	int ret;

	if (!vmbus_tx_reserve(tx, NETVSC_COMPLETION_BYTES) &&
	    !(vmbus_tx_wait_space(tx, NETVSC_COMPLETION_BYTES) &&
	      vmbus_tx_reserve(tx, NETVSC_COMPLETION_BYTES)))
		return NETVSC_EAGAIN;
	ret = vmbus_rx_next(&n->channel->rx, n->packet, sizeof(n->packet), &packet);
	if (ret) {
		vmbus_tx_unreserve(tx, NETVSC_COMPLETION_BYTES);
		return ret;
	}
	return packet_take(n, &packet);
}

int vsp_netvsc_poll(struct vsp_netvsc *n, unsigned int budget, unsigned int *packets)
{
	int ret = 0, fault;

	for (*packets = 0; *packets < budget && !ret;) {
		ret = packet_next(n);
		*packets += ret == 0;
	}
	fault = slots_return(n);
	return ret == NETVSC_EAGAIN ? fault : ret ? ret : fault;
}
