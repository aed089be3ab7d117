/* SPDX-License-Identifier: MIT */
/* Where things end: buffers that begin and end anywhere, packets as long and in as many parts
 * as there may be, counters. */
#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>

#include "net-priv.h"
#include "net-world.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define FRAME 100u
#define MESSAGE (sizeof(struct vsp_rndis_packet) + FRAME)

static const struct vsp_vnet_header tso4 = {
	.flags = VSP_VNET_NEEDS_CSUM, .gso_type = VSP_VNET_GSO_TCPV4, .gso_size = 1448,
	.header_len = 54, .csum_start = 34, .csum_offset = 16};
static const struct vsp_vnet_header tso6 = {
	.flags = VSP_VNET_NEEDS_CSUM, .gso_type = VSP_VNET_GSO_TCPV6, .gso_size = 1428,
	.header_len = 74, .csum_start = 54, .csum_offset = 16};

/* A TCP frame of @len bytes for the guest. */
static void tcp_frame(uint8_t *f, uint32_t len, bool v6)
{
	world_frame(f, len, 3);
	f[23] = 6;
	f[46] = 0x50;
	if (!v6)
		return;
	memset(f + 12, 0, 62);
	memcpy(f + 12, "\x86\xdd\x60", 3);
	f[18] = (uint8_t)((len - 54) >> 8);
	f[19] = (uint8_t)(len - 54);
	f[20] = 6;
	f[66] = 0x50;
}

/* A whole message with a frame; returns its bytes. */
static uint32_t message_make(uint8_t *to, uint32_t length, uint32_t number)
{
	const struct vsp_rndis_packet m = {
		.header = {VSP_RNDIS_PACKET, length}, .data_offset = 36, .data_length = FRAME};

	memcpy(to, &m, sizeof(m));
	world_frame(to + sizeof(m), FRAME, number);
	return length;
}

static uint32_t section_send(struct world *w, uint32_t channel, uint32_t len)
{
	w->sent_status[1] = 0xffff;
	cr_assert_eq(vsp_netvsc_send(&w->vsc[channel], 1, len, NULL, 0, (void *)1), 0);
	world_signal(w, channel);
	world_settle(w);
	return w->sent_status[1];
}

static uint32_t frames_out(struct world *w)
{
	static uint8_t got[VSP_NIC_FRAME_MAX];
	uint32_t n = 0;

	while (world_take(w, 0, got, sizeof(got), NULL))
		n++;
	return n;
}

/* Every slot and every section is used, of buffers that begin and end inside of pages. */
Test(limits, buffers_begin_and_end_anywhere)
{
	static const struct {
		uint32_t receive_offset, receive_len, send_offset, send_len;
	} rows[] = {{0, 1048576, 0, 131072}, {8, 100000, 4088, 100000}, {4095, 65537, 1, 24575},
		    {1, 3456, 4095, 12289}};
	uint8_t frame[FRAME], got[2048];

	for (uint32_t i = 0; i < COUNT(rows); i++) {
		struct world *w = world_new(&(struct world_options){
			.seed = 80 + i, .receive_offset = rows[i].receive_offset,
			.receive_len = rows[i].receive_len, .send_offset = rows[i].send_offset,
			.send_len = rows[i].send_len});
		uint32_t slots;

		world_up(w);
		slots = rows[i].receive_len / w->vsc[0].slot_size;
		cr_expect_eq(w->vsc[0].slot_count, slots);
		memset(w->receive, 0xee, 256u << 12);
		for (uint32_t n = 0; n < 2 * slots; n++) {
			world_frame(frame, FRAME, n);
			cr_assert(world_put(w, 0, frame, FRAME, NULL));
			world_settle(w);
			cr_assert_eq(w->received, n + 1, "row %u", i);
			cr_expect_eq(w->frames[n].sum, world_sum(0, frame, FRAME), "row %u, frame %u", i, n);
		}
		for (uint32_t k = 0; k < (256u << 12); k++)
			if (k < rows[i].receive_offset ||
			    k >= rows[i].receive_offset + slots * w->vsc[0].slot_size)
				cr_assert_eq(w->receive[k], 0xee, "row %u: byte %u is not in a slot", i, k);
		for (uint32_t n = 1; n < w->vsc[0].section_count; n++) {
			(void)message_make(vsp_netvsc_section(&w->vsc[0], n), MESSAGE, n);
			cr_assert_eq(vsp_netvsc_send(&w->vsc[0], n, MESSAGE, NULL, 0, (void *)1), 0);
			world_signal(w, 0);
			world_settle(w);
			cr_assert_eq(world_take(w, 0, got, sizeof(got), NULL), FRAME, "row %u, section %u", i, n);
			world_frame(frame, FRAME, n);
			cr_expect_eq(memcmp(got, frame, FRAME), 0);
		}
		world_down(w);
		world_end(w);
	}
}

/* Asked of the adapter before any other buffer is there. */
static void buffers_try(struct world *w)
{
	static const struct {
		uint32_t len, mtu, slots;
	} rows[] = {{1728 * 2 - 1, 1514, 0}, {1728 * 2, 1514, 2}, {1728 * 3 - 1, 1514, 2}, {100, 1514, 0},
		    {2 * 9408, 9216, 2}, {2 * 9408 - 1, 9216, 0}};
	struct vsp_nvsp_recv_buf_complete layout = {.status = 0};
	struct vsp_net *net = w->net;
	uint32_t gpadl = 12345;
	int ret;

	vsp_net_change_begin(net);
	cr_expect_neq(vsp_net_nvsp_ops.receive_buffer(net, gpadl, 1, 1514, &layout), 0, "there is no such");
	cr_expect_neq(vsp_net_nvsp_ops.send_buffer(net, gpadl), 0);
	cr_expect(!net->receive.gpadl && !net->send.gpadl && !net->slots.slots);
	vsp_net_change_end(net);
	for (uint32_t i = 0; i < COUNT(rows); i++) {
		cr_assert_eq(vmbus_guest_gpadl_create(w->channels[0], w->receive_pfns, 0, rows[i].len, &gpadl), 0);
		world_settle(w);
		vsp_net_change_begin(net);
		ret = vsp_net_nvsp_ops.receive_buffer(net, gpadl, 1, rows[i].mtu, &layout);
		cr_expect_eq(ret == 0, rows[i].slots != 0, "%u bytes: %d", rows[i].len, ret);
		cr_expect_eq(net->receive.gpadl != NULL, ret == 0);
		if (!ret) {
			cr_expect_eq(layout.slots, rows[i].slots);
			cr_expect_eq(layout.end, rows[i].slots * layout.slot_size);
			cr_expect(net->slots.control == 1 && net->slots.free_count == 1);
			vsp_net_buffer_drop(net, true);
		}
		cr_expect_null(net->receive.gpadl);
		vsp_net_change_end(net);
		cr_assert_eq(vmbus_guest_gpadl_teardown(w->channels[0], gpadl), 0);
		world_settle(w);
	}
}

Test(limits, receive_buffers_have_two_slots_at_least)
{
	struct world *w = world_new(&(struct world_options){.seed = 99});

	w->opened = buffers_try;
	world_up(w);
	world_down(w);
	world_end(w);
}

/* Between what the host says of a frame and the frame nothing is left of earlier ones. */
Test(limits, slots_show_nothing_but_the_frame)
{
	struct world *w = world_new(&(struct world_options){.seed = 84});
	uint32_t size, seen = 0;
	uint8_t frame[FRAME];

	world_up(w);
	size = w->vsc[0].slot_size;
	memset(w->receive, 0xee, 256u << 12);
	world_frame(frame, FRAME, 7);
	cr_assert(world_put(w, 0, frame, FRAME, NULL));
	world_settle(w);
	for (uint32_t slot = 0; slot < w->vsc[0].slot_count; slot++) {
		const uint8_t *bytes = w->receive + slot * size;
		struct vsp_rndis_packet m;

		memcpy(&m, bytes, sizeof(m));
		if (m.header.type != VSP_RNDIS_PACKET)
			continue;
		seen++;
		cr_expect(m.header.length == NET_FRAME_OFFSET + FRAME && m.data_offset == NET_FRAME_OFFSET - 8 &&
			  m.data_length == FRAME && m.info_length == 0);
		for (uint32_t i = sizeof(m); i < NET_FRAME_OFFSET; i++)
			cr_expect_eq(bytes[i], 0, "byte %u", i);
		for (uint32_t i = NET_FRAME_OFFSET + FRAME; i < size; i++)
			cr_expect_eq(bytes[i], 0xee, "byte %u", i);
	}
	cr_expect_eq(seen, 1);
	world_down(w);
	world_end(w);
}

/* Sends @total bytes from the same guest page over and over, as @count ranges; the first
 * @count - 1 are one byte each, one behind the other. */
static uint32_t parts_send(struct world *w, uint32_t count, uint32_t total, uint32_t section_len)
{
	static struct {
		struct vmbus_gpa_direct direct;
		uint64_t words[1000];
	} header;
	const struct vsp_nvsp_message message = {
		.type = VSP_NVSP_RNDIS,
		.u.rndis = {VSP_NVSP_CHANNEL_DATA, section_len ? 1 : VSP_NVSP_NO_SECTION, section_len}};
	struct vmbus_packet packet = {.type = VMBUS_PACKET_GPA_DIRECT, .header = &header,
				      .payload = &message, .payload_len = VSP_NVSP_SIZE_V61};
	uint32_t at = 0;

	header.direct = (struct vmbus_gpa_direct){.range_count = count};
	for (uint32_t i = 0; i < count; i++) {
		struct vmbus_gpa_range range = {i + 1 < count ? 1 : total - i, i % 4096};

		memcpy(&header.words[at++], &range, sizeof(range));
		for (uint32_t k = 0; k * 4096 < range.byte_offset + range.byte_count; k++)
			header.words[at++] = w->page_pfns[k < 17 ? k : 0];
	}
	packet.header_len = (uint32_t)sizeof(header.direct) + at * 8;
	return world_packet_send(w, &packet);
}

Test(limits, packets_have_so_many_parts_bytes_and_messages)
{
	static const struct {
		uint32_t count, total, section;
		bool fits;
	} rows[] = {
		{1, MESSAGE, 0, true}, {2, MESSAGE, 0, true}, {128, MESSAGE, 0, true}, {130, MESSAGE, 0, false},
		{128, MESSAGE, 10, true}, {129, MESSAGE, 10, false},
		{1, NET_TX_TOTAL, 0, true}, {1, NET_TX_TOTAL + 1, 0, false}, {2, NET_TX_TOTAL, 0, true},
		{2, NET_TX_TOTAL + 1, 0, false}, {2, 0x100000, 0, false}, {1, NET_TX_TOTAL, 20, false},
		{1, NET_TX_TOTAL - 20, 20, true},
	};
	struct world *w = world_new(&(struct world_options){.seed = 85, .rsc = true});
	uint8_t *section;

	world_up(w);
	section = vsp_netvsc_section(&w->vsc[0], 1);
	for (uint32_t i = 0; i < COUNT(rows); i++) {
		uint8_t all[MESSAGE];
		uint32_t status;

		(void)message_make(all, rows[i].total + rows[i].section, i);
		if (rows[i].total == MESSAGE)
			(void)message_make(all, MESSAGE, i);
		memcpy(section, all, rows[i].section);
		memcpy(w->pages, all + rows[i].section, MESSAGE - rows[i].section);
		status = parts_send(w, rows[i].count, rows[i].total - (rows[i].total == MESSAGE ? rows[i].section : 0),
				    rows[i].section);
		cr_expect_eq(status, rows[i].fits ? VSP_NVSP_STATUS_SUCCESS : VSP_NVSP_STATUS_FAILURE,
			     "%u parts, %u bytes and %u: %u", rows[i].count, rows[i].total, rows[i].section, status);
		cr_expect_eq(frames_out(w), rows[i].fits, "%u parts, %u bytes", rows[i].count, rows[i].total);
	}
	for (uint32_t n = 1; n < 20; n++) {
		uint32_t status;

		for (uint32_t i = 0; i < n; i++)
			(void)message_make(section + i * MESSAGE, MESSAGE, i);
		status = section_send(w, 0, n * MESSAGE);
		cr_expect_eq(status, n <= NET_TX_MESSAGES ? VSP_NVSP_STATUS_SUCCESS : VSP_NVSP_STATUS_FAILURE,
			     "%u messages: %u", n, status);
		cr_expect_eq(frames_out(w), n < NET_TX_MESSAGES ? n : NET_TX_MESSAGES, "%u messages", n);
	}
	world_down(w);
	world_end(w);
}

/* The longest that IP can say, and that a frame can be. */
Test(limits, longest_frames_to_be_segmented)
{
	static const struct {
		uint32_t len;
		bool v6, fits;
	} rows[] = {{65549, false, true}, {65550, false, false}, {VSP_NIC_FRAME_MAX - 4, true, true},
		    {VSP_NIC_FRAME_MAX - 3, true, false}};
	struct world *w = world_new(&(struct world_options){.seed = 86});

	world_up(w);
	for (uint32_t i = 0; i < COUNT(rows); i++) {
		struct vsp_netvsc_range range = {w->page_pfns, 0, 0};
		uint8_t head[VSP_NETVSC_HEADER_MAX];
		uint32_t at = sizeof(struct vsp_rndis_packet) + 16;

		tcp_frame(w->pages + at, rows[i].len, rows[i].v6);
		cr_assert_eq(vsp_netvsc_header(w->pages + at, 192, rows[i].len, rows[i].v6 ? &tso6 : &tso4, -1, head),
			     at);
		memcpy(w->pages, head, at);
		range.len = at + rows[i].len;
		w->sent_status[1] = 0xffff;
		cr_assert_eq(vsp_netvsc_send(&w->vsc[0], VSP_NVSP_NO_SECTION, 0, &range, 1, (void *)1), 0);
		world_signal(w, 0);
		world_settle(w);
		cr_expect_eq(w->sent_status[1], rows[i].fits ? VSP_NVSP_STATUS_SUCCESS : VSP_NVSP_STATUS_FAILURE,
			     "%u bytes", rows[i].len);
		cr_expect_eq(frames_out(w), rows[i].fits, "%u bytes", rows[i].len);
	}
	world_down(w);
	world_end(w);
}

/* Coalesced frames of one IP version, or of the other. */
Test(limits, each_ip_version_coalesces_for_itself)
{
	static uint8_t frame[3000];

	for (uint32_t i = 0; i < 4; i++) {
		const struct vsp_ndis_offload_parameters p = {
			.header = {VSP_NDIS_DEFAULT, 3, sizeof(p)}, .rsc_ipv4 = i & 1 ? 2 : 1,
			.rsc_ipv6 = i & 2 ? 2 : 1};
		struct world *w = world_new(&(struct world_options){.seed = 87 + i, .rsc = true});

		world_up(w);
		cr_expect_eq(world_request(w, VSP_RNDIS_SET, 0xfc01020c, &p, sizeof(p)), 0);
		for (uint32_t v6 = 0; v6 < 2; v6++) {
			uint32_t before = w->received;
			bool on = i >> v6 & 1;

			tcp_frame(frame, sizeof(frame), v6);
			cr_expect_eq(world_put(w, 0, frame, sizeof(frame), v6 ? &tso6 : &tso4), on);
			world_settle(w);
			cr_assert_eq(w->received, before + on, "%u, IPv%d", i, v6 ? 6 : 4);
			if (on)
				cr_expect_eq(w->frames[before].sum, world_sum(0, frame, sizeof(frame)));
		}
		world_down(w);
		world_end(w);
	}
}

/* As many ranges in a packet as guests of this NDIS version take; a frame in one packet. */
Test(limits, packets_have_so_many_ranges)
{
	static const struct {
		uint32_t major, packets;
	} rows[] = {{5, 2}, {6, 1}, {7, 1}};
	static uint8_t frame[4000];

	for (uint32_t i = 0; i < COUNT(rows); i++) {
		struct world *w = world_new(&(struct world_options){.seed = 91 + i, .rsc = true});
		uint64_t packets, frames;

		world_up(w);
		w->net->nvsp.ndis_major = rows[i].major;
		packets = w->vsc[0].received_packets;
		frames = w->vsc[0].received_frames;
		for (uint32_t n = 0; n < 30; n++) { /* three slots each */
			tcp_frame(frame, sizeof(frame), false);
			cr_assert(world_put(w, 0, frame, sizeof(frame), &tso4));
		}
		world_settle(w);
		cr_expect_eq(w->vsc[0].received_frames - frames, 30);
		cr_expect_eq(w->vsc[0].received_packets - packets, rows[i].packets, "NDIS %u: %lu packets",
			     rows[i].major, w->vsc[0].received_packets - packets);
		world_down(w);
		world_end(w);
	}
}

Test(limits, counters_count_each_thing_once)
{
	const uint32_t odd[2] = {VSP_NVSP_INDIRECTION_TABLE, 0};
	const struct vmbus_packet bad = {.type = VMBUS_PACKET_INBAND, .payload = odd, .payload_len = sizeof(odd)};
	const struct vmbus_packet completion = {.type = VMBUS_PACKET_COMPLETION, .transaction_id = 3,
						.payload = odd, .payload_len = sizeof(odd)};
	const struct vsp_net_stats expected = {
		.tx_frames = 4, .tx_bytes = 4 * FRAME, .tx_errors = 1, .tx_dropped = 1, .tx_waits = 1,
		.rx_frames = 2, .rx_bytes = 2 * FRAME, .rx_filtered = 2, .rx_dropped = 1, .bad_messages = 3,
		.tx_to = {{4 * FRAME, 4}}, .rx_to = {{FRAME, 1}, {0, 0}, {FRAME, 1}}};
	struct world *w = world_new(&(struct world_options){.seed = 94, .depth = 4});
	const uint32_t filter = VSP_FILTER_DIRECTED | VSP_FILTER_BROADCAST;
	struct vsp_net_stats stats;
	uint8_t frame[1600], *section;

	world_up(w);
	section = vsp_netvsc_section(&w->vsc[0], 1);
	cr_expect_eq(world_request(w, VSP_RNDIS_SET, 0x0001010e, &filter, sizeof(filter)), 0);
	for (uint32_t i = 0; i < 5; i++) { /* four of them fit, and the fifth waits */
		message_make(section + i * MESSAGE, MESSAGE, i);
		if (i == 4) { /* the nic's other end takes no such thing */
			const struct vsp_rndis_packet m = {
				.header = {VSP_RNDIS_PACKET, MESSAGE + 16}, .data_offset = 52,
				.data_length = FRAME, .info_offset = 36, .info_length = 16};
			const struct vsp_rndis_info info = {16, VSP_INFO_CHECKSUM, 12};
			const uint32_t value = VSP_CSUM_TX_IPV4 | VSP_CSUM_TX_UDP | 34u << 16;

			memcpy(section + i * MESSAGE, &m, sizeof(m));
			memcpy(section + i * MESSAGE + 44, &info, sizeof(info));
			memcpy(section + i * MESSAGE + 56, &value, sizeof(value));
			world_frame(section + i * MESSAGE + 60, FRAME, i);
		}
	}
	cr_assert_eq(w->peer->ops->set_offloads(w->peer, 0), 0);
	cr_expect_eq(section_send(w, 0, 5 * MESSAGE + 16), 0xffff, "the nic is full");
	cr_expect_eq(frames_out(w), 4);
	world_settle(w);
	cr_expect_eq(w->sent_status[1], VSP_NVSP_STATUS_SUCCESS, "what the nic drops is sent");
	(void)message_make(section, MESSAGE, 9);
	cr_expect_eq(section_send(w, 0, MESSAGE - 1), VSP_NVSP_STATUS_FAILURE);

	for (uint32_t i = 0; i < 5; i++) {
		world_frame(frame, sizeof(frame), i);
		if (i == 1)
			memset(frame, 0xff, 6); /* to all */
		else if (i == 2)
			frame[5] ^= 1; /* to someone else */
		else if (i == 3)
			memcpy(frame, "\x01\x00\x5e\x00\x00\x09", 6); /* to several */
		cr_assert(world_put(w, 0, frame, i == 4 ? 1515 : FRAME, NULL));
		world_settle(w);
	}
	cr_assert_eq(vmbus_tx_put(&w->channels[0]->tx, &bad, 0), 0);
	cr_assert_eq(vmbus_tx_put(&w->channels[0]->tx, &completion, 0), 0);
	memcpy(section, (const uint32_t[2]){VSP_RNDIS_INDICATE, 8}, 8);
	cr_expect_eq(section_send(w, 0, 8), VSP_NVSP_STATUS_FAILURE);
	vsp_net_get_stats(w->net, &stats);
	for (size_t i = 0; i < sizeof(stats) / 8; i++)
		cr_expect_eq(((uint64_t *)&stats)[i], ((const uint64_t *)&expected)[i], "counter %zu: %lu", i,
			     ((uint64_t *)&stats)[i]);
	world_down(w);
	world_end(w);
}

/* A sub-channel carries frames and nothing else; what comes there fails there. */
Test(limits, sub_channels_refuse_what_is_the_primarys)
{
	struct vsp_rndis_oid_request query = {.header = {VSP_RNDIS_QUERY, sizeof(query)}, .oid = 0x00010106};
	struct world *w = world_new(&(struct world_options){.seed = 95, .queues = 3});
	struct vsp_net_stats before, after;

	world_up(w);
	world_channels_up(w, 2);
	vsp_net_get_stats(w->net, &before);
	for (uint32_t channel = 1; channel < 3; channel++) {
		/* the receive buffer's end */
		const uint32_t words[10] = {VSP_NVSP_REVOKE_RECV_BUF, 0xcafe};
		const struct vmbus_packet packet = {
			.type = VMBUS_PACKET_INBAND, .flags = VMBUS_PACKET_COMPLETION_REQUESTED,
			.transaction_id = 0x77, .payload = words, .payload_len = sizeof(words)};

		memcpy(vsp_netvsc_section(&w->vsc[0], 1), &query, sizeof(query));
		cr_expect_eq(section_send(w, channel, sizeof(query)), VSP_NVSP_STATUS_FAILURE);
		cr_assert_eq(vmbus_tx_put(&w->channels[channel]->tx, &packet, 0), 0);
		world_signal(w, channel);
		world_settle(w);
		(void)message_make(vsp_netvsc_section(&w->vsc[0], 1), MESSAGE, channel);
		cr_expect_eq(section_send(w, channel, MESSAGE), VSP_NVSP_STATUS_SUCCESS, "it goes on");
	}
	vsp_net_get_stats(w->net, &after);
	cr_expect_eq(after.bad_messages - before.bad_messages, 4);
	world_down(w);
	world_end(w);
}

struct answers { /* of control requests, by a driver that only takes them */
	uint32_t ids[32], count;
};

static void answers_take(struct world *w)
{
	static const uint32_t done[2] = {VSP_NVSP_RNDIS_COMPLETE, VSP_NVSP_STATUS_SUCCESS};
	struct answers *answers = w->raw_user;
	struct vmbus_packet packet;
	uint64_t buffer[64];

	while (vmbus_rx_next(&w->channels[0]->rx, buffer, sizeof(buffer), &packet) == 0) {
		struct vmbus_packet back = {.type = VMBUS_PACKET_COMPLETION, .payload = done,
					    .payload_len = sizeof(done)};
		struct vmbus_transfer_range range;

		if (packet.type != VMBUS_PACKET_TRANSFER_PAGES)
			continue;
		memcpy(&range, (const uint8_t *)packet.header + sizeof(struct vmbus_transfer_pages), sizeof(range));
		cr_assert_lt(answers->count, 32);
		memcpy(&answers->ids[answers->count++], w->receive + range.byte_offset + 8, 4);
		back.transaction_id = packet.transaction_id;
		cr_assert_eq(vmbus_tx_put(&w->channels[0]->tx, &back, 0), 0);
	}
	vmbus_guest_commit(w->channels[0]);
	world_signal(w, 0);
}

/* Several requests at a time, from everywhere in the host's queue of them. */
Test(limits, control_requests_are_answered_in_their_order)
{
	struct world *w = world_new(&(struct world_options){.seed = 98});
	struct answers answers = {.count = 0};

	world_up(w);
	w->channels[0]->user = NULL;
	w->raw = answers_take;
	w->raw_user = &answers;
	for (uint32_t i = 0; i < 24; i++) {
		const struct vsp_rndis_oid_request query = {
			.header = {VSP_RNDIS_QUERY, sizeof(query)}, .request_id = 1000 + i, .oid = 0x00010106};
		const struct vsp_nvsp_message message = {
			.type = VSP_NVSP_RNDIS,
			.u.rndis = {VSP_NVSP_CHANNEL_CONTROL, 1 + i % 6, sizeof(query)}};
		const struct vmbus_packet packet = {
			.type = VMBUS_PACKET_INBAND, .flags = VMBUS_PACKET_COMPLETION_REQUESTED,
			.transaction_id = 500 + i, .payload = &message, .payload_len = VSP_NVSP_SIZE_V61};

		memcpy(vsp_netvsc_section(&w->vsc[0], 1 + i % 6), &query, sizeof(query));
		cr_assert_eq(vmbus_tx_put(&w->channels[0]->tx, &packet, 0), 0);
		if (i % 6 != 5)
			continue;
		world_signal(w, 0);
		world_settle(w);
	}
	cr_assert_eq(answers.count, 24, "%u", answers.count);
	for (uint32_t i = 0; i < 24; i++)
		cr_expect_eq(answers.ids[i], 1000 + i, "answer %u is to %u", i, answers.ids[i]);
	w->raw = NULL;
	w->channels[0]->user = &w->vsc[0];
	world_down(w);
	world_end(w);
}

/* Another buffer of the guest than the adapter's comes and goes. */
Test(limits, other_buffers_are_none_of_the_adapters)
{
	struct world *w = world_new(&(struct world_options){.seed = 96});
	uint8_t frame[FRAME];
	uint32_t gpadl, torn;

	world_up(w);
	cr_assert_eq(vmbus_guest_gpadl_create(w->channels[0], w->page_pfns, 0, 8192, &gpadl), 0);
	world_settle(w);
	torn = w->gpadls_torn;
	cr_assert_eq(vmbus_guest_gpadl_teardown(w->channels[0], gpadl), 0);
	world_settle(w);
	cr_expect_eq(w->gpadls_torn, torn + 1);
	(void)message_make(vsp_netvsc_section(&w->vsc[0], 1), MESSAGE, 1);
	cr_expect_eq(section_send(w, 0, MESSAGE), VSP_NVSP_STATUS_SUCCESS);
	world_frame(frame, FRAME, 1);
	cr_assert(world_put(w, 0, frame, FRAME, NULL));
	world_settle(w);
	cr_expect_eq(w->received, 1);
	world_down(w);
	world_end(w);
}

static const struct vsp_nic_ops *inner_ops;
static struct vsp_nic_ops counting_ops;
static uint32_t closes;

static void close_counted(struct vsp_nic *nic)
{
	closes++;
	inner_ops->close(nic);
}

Test(limits, nic_is_closed_once_and_the_offer_is_the_configs)
{
	static const struct vmbus_guid kind = VMBUS_GUID_NET;
	struct world *w = world_new(&(struct world_options){.seed = 97});

	cr_expect_eq(w->channels[0]->offer.instance_id.b[0], 7);
	cr_expect_eq(memcmp(&w->channels[0]->offer.interface_id, &kind, sizeof(kind)), 0);
	inner_ops = w->net->nic->ops;
	counting_ops = *inner_ops;
	counting_ops.close = close_counted;
	w->net->nic->ops = &counting_ops;
	world_up(w);
	world_down(w);
	cr_expect_eq(closes, 0);
	world_end(w);
	cr_expect_eq(closes, 1);
}

/* What the guest switched off it is not told, though the nic knows it. */
Test(limits, verdicts_are_for_guests_that_want_them)
{
	const struct vsp_vnet_header verified = {.flags = VSP_VNET_DATA_VALID};
	uint8_t frame[FRAME];

	for (uint32_t off = 0; off < 4; off++) {
		const struct vsp_ndis_offload_parameters p = {
			.header = {VSP_NDIS_DEFAULT, 3, sizeof(p)}, .ipv4_checksum = off == 0 ? 2 : 4,
			.tcp_ipv4_checksum = off == 1 ? 2 : 4, .udp_ipv4_checksum = off == 2 ? 2 : 4,
			.tcp_ipv6_checksum = off == 3 ? 2 : 4, .udp_ipv6_checksum = 4};
		const uint32_t expected[3] = {
			(off == 1 ? 0 : VSP_CSUM_RX_TCP_GOOD) | (off == 0 ? 0 : VSP_CSUM_RX_IP_GOOD),
			(off == 2 ? 0 : VSP_CSUM_RX_UDP_GOOD) | (off == 0 ? 0 : VSP_CSUM_RX_IP_GOOD),
			off == 3 ? 0 : VSP_CSUM_RX_TCP_GOOD};
		struct world *w = world_new(&(struct world_options){.seed = 100 + off});

		world_up(w);
		cr_expect_eq(world_request(w, VSP_RNDIS_SET, 0xfc01020c, &p, sizeof(p)), 0);
		for (uint32_t kind = 0; kind < 3; kind++) {
			if (kind == 1)
				world_frame(frame, FRAME, 1);
			else
				tcp_frame(frame, FRAME, kind == 2);
			cr_assert(world_put(w, 0, frame, FRAME, &verified));
			world_settle(w);
			cr_assert_eq(w->received, kind + 1);
			cr_expect_eq(w->frames[kind].checksum, expected[kind], "off %u, kind %u: %#x", off, kind,
				     w->frames[kind].checksum);
		}
		world_down(w);
		world_end(w);
	}
}

static int offloads_ignored(struct vsp_nic *nic, uint32_t offloads)
{
	(void)nic;
	(void)offloads;
	return 0;
}

/* A nic that was slow to hear it, or does not listen. */
Test(limits, forms_that_the_guest_does_not_take_are_dropped)
{
	static uint8_t frame[3000];
	const struct vsp_vnet_header uso = {.flags = VSP_VNET_NEEDS_CSUM, .gso_type = VSP_VNET_GSO_UDP_L4,
					    .gso_size = 1000, .csum_start = 34, .csum_offset = 6};

	for (uint32_t i = 0; i < 4; i++) {
		const struct vsp_ndis_offload_parameters p = {
			.header = {VSP_NDIS_DEFAULT, 3, sizeof(p)}, .rsc_ipv4 = i & 1 ? 2 : 1,
			.rsc_ipv6 = i & 2 ? 2 : 1};
		struct world *w = world_new(&(struct world_options){.seed = 104 + i, .rsc = true});
		struct vsp_net_stats stats;
		uint32_t on;

		inner_ops = w->net->nic->ops;
		counting_ops = *inner_ops;
		counting_ops.set_offloads = offloads_ignored;
		w->net->nic->ops = &counting_ops;
		cr_assert_eq(inner_ops->set_offloads(w->net->nic, VSP_NIC_CSUM | VSP_NIC_TSO4 | VSP_NIC_TSO6 |
						     VSP_NIC_USO), 0);
		world_up(w);
		cr_expect_eq(world_request(w, VSP_RNDIS_SET, 0xfc01020c, &p, sizeof(p)), 0);
		for (uint32_t v6 = 0; v6 < 2; v6++) {
			tcp_frame(frame, sizeof(frame), v6);
			cr_assert(world_put(w, 0, frame, sizeof(frame), v6 ? &tso6 : &tso4));
			world_settle(w);
		}
		world_frame(frame, sizeof(frame), 1);
		cr_assert(world_put(w, 0, frame, sizeof(frame), &uso));
		world_settle(w);
		on = (i & 1) + (i >> 1);
		vsp_net_get_stats(w->net, &stats);
		cr_expect_eq(w->received, on, "%u: %u", i, w->received);
		cr_expect_eq(stats.rx_dropped, 3 - on, "%u: %lu", i, stats.rx_dropped);
		world_down(w);
		world_end(w);
	}
}

/* The guest takes its receive buffer back without a word: frames fail, until it gives one. */
Test(limits, buffer_torn_down_under_way)
{
	struct world *w = world_new(&(struct world_options){.seed = 108});
	uint8_t frame[FRAME];
	uint32_t torn;

	world_up(w);
	torn = w->gpadls_torn;
	cr_assert_eq(vmbus_guest_gpadl_teardown(w->channels[0], w->vsc[0].config.receive_gpadl), 0);
	world_settle(w);
	cr_expect_eq(w->gpadls_torn, torn + 1, "it is the guest's again");
	memset(w->receive, 0xee, 256u << 12);
	(void)message_make(vsp_netvsc_section(&w->vsc[0], 1), MESSAGE, 1);
	cr_expect_eq(section_send(w, 0, MESSAGE), VSP_NVSP_STATUS_FAILURE);
	world_frame(frame, FRAME, 1);
	cr_assert(world_put(w, 0, frame, FRAME, NULL));
	world_settle(w);
	cr_expect_eq(w->received, 0);
	for (uint32_t i = 0; i < 256u << 12; i++)
		cr_assert_eq(w->receive[i], 0xee, "byte %u", i);
	cr_assert_eq(vmbus_guest_gpadl_create(w->channels[0], w->receive_pfns, 0, 256u << 12,
					      &w->vsc[0].config.receive_gpadl), 0);
	world_settle(w);
	world_crash(w); /* takes it back */
	world_up(w);
	(void)message_make(vsp_netvsc_section(&w->vsc[0], 1), MESSAGE, 1);
	cr_expect_eq(section_send(w, 0, MESSAGE), VSP_NVSP_STATUS_SUCCESS);
	world_down(w);
	world_end(w);
}

Test(limits, configs_that_are_none_are_refused)
{
	struct world *w = world_new(&(struct world_options){.seed = 109});
	struct vsp_net_config good = w->net->config;
	struct vsp_net *net;

	for (uint32_t i = 0; i < 8; i++) {
		struct vsp_net_config config = good;

		if (i == 0)
			config.size--;
		else if (i == 1)
			config.server = NULL;
		else if (i == 2)
			config.nic = NULL;
		else if (i == 3)
			config.loop_of = NULL;
		else if (i == 4)
			config.max_channels = 0;
		else if (i == 5)
			config.max_channels = VSP_NET_CHANNELS + 1;
		else if (i == 6)
			config.mac[0] |= 1;
		else
			config.size++;
		cr_expect_eq(vsp_net_new(&config, &net), -EINVAL, "row %u", i);
	}
	vsp_net_free(NULL);
	world_end(w);
}
