/* SPDX-License-Identifier: MIT */
/* The adapter, driven by the guest role over the stepped bus. */
#include <string.h>

#include <criterion/criterion.h>

#include "net-priv.h"
#include "net-world.h"

/* Copies a frame into a section and sends it from there. */
static int section_send(struct world *w, uint32_t channel, uint32_t section, const uint8_t *frame,
			uint32_t len, uint32_t number)
{
	const struct vsp_vnet_header none = {.flags = 0};
	uint8_t head[VSP_NETVSC_HEADER_MAX], copy[2048];
	uint8_t *to = vsp_netvsc_section(&w->vsc[channel], section);
	uint32_t at;

	memcpy(copy, frame, len);
	at = vsp_netvsc_header(copy, len, len, &none, -1, head);
	cr_assert_gt(at, 0);
	memcpy(to, head, at);
	memcpy(to + at, frame, len);
	return vsp_netvsc_send(&w->vsc[channel], section, at + len, NULL, 0, (void *)(uintptr_t)number);
}

static void expect_out(struct world *w, const uint8_t *frame, uint32_t len, const char *what)
{
	uint8_t got[2048];
	uint32_t n = world_take(w, 0, got, sizeof(got), NULL);

	cr_assert_eq(n, len, "%s: %u bytes", what, n);
	cr_expect_eq(memcmp(got, frame, len), 0, "%s", what);
}

Test(net, sets_up_in_every_version)
{
	static const struct {
		uint32_t version;
		bool rsc;
	} rows[] = {{VSP_NVSP_V1, false}, {VSP_NVSP_V2, false}, {VSP_NVSP_V4, false},
		    {VSP_NVSP_V5, false}, {VSP_NVSP_V6, false}, {VSP_NVSP_V61, true}};

	for (size_t i = 0; i < 6; i++) {
		struct world *w = world_new(&(struct world_options){.version = rows[i].version, .rsc = true});
		struct vsp_net_state state;

		world_up(w);
		cr_expect_eq(w->vsc[0].version, rows[i].version);
		cr_expect_eq(w->vsc[0].slot_size, 1728);
		cr_expect_eq(w->vsc[0].offload.rsc_ipv4, rows[i].rsc, "version %#x", rows[i].version);
		cr_expect_eq(memcmp(w->vsc[0].mac, "\x00\x15\x5d\x01\x02\x03", 6), 0);
		vsp_net_get_state(w->net, &state);
		cr_expect_eq(state.version, rows[i].version);
		cr_expect_eq(state.mtu, 1500);
		cr_expect_eq(state.channels, 1);
		cr_expect_neq(state.filter, 0);
		world_down(w);
		world_end(w);
	}
}

Test(net, frames_of_the_guest_come_out_as_they_went_in)
{
	struct world *w = world_new(&(struct world_options){.seed = 1});
	uint8_t frame[2048];

	world_up(w);
	for (uint32_t len = 14; len <= 1514; len += len < 60 ? 1 : 97) {
		world_frame(frame, len < 34 ? 34 : len, len);
		cr_assert_eq(section_send(w, 0, 1, frame, len, len), 0);
		world_signal(w, 0);
		world_settle(w);
		expect_out(w, frame, len, "section");
		cr_expect_eq(w->sent_status[len], VSP_NVSP_STATUS_SUCCESS);
	}
	world_down(w);
	world_end(w);
}

Test(net, page_lists_of_any_cut_are_put_together)
{
	struct world *w = world_new(&(struct world_options){.seed = 2});
	const struct vsp_vnet_header none = {.flags = 0};
	uint8_t frame[2048], all[2200];
	uint32_t len = 1400;

	world_up(w);
	for (uint32_t start = 4096 - 300; start < 4096 + 10; start += 7) {
		for (uint32_t cut = 1; cut < 1440; cut += 211) {
			struct vsp_netvsc_range ranges[2];
			uint32_t at, total, in_section = cut % 2 ? 0 : cut;

			world_frame(frame, len, start + cut);
			at = vsp_netvsc_header(frame, len, len, &none, -1, all);
			memcpy(all + at, frame, len);
			total = at + len;
			/* a part in the section, or none; the rest in two ranges */
			memcpy(vsp_netvsc_section(&w->vsc[0], 2), all, in_section);
			memcpy(w->pages + start, all + in_section, cut);
			memcpy(w->pages + 3 * 4096 + 5, all + in_section + cut,
			       total > in_section + cut ? total - in_section - cut : 0);
			if (total <= in_section + cut)
				continue;
			ranges[0] = (struct vsp_netvsc_range){&w->page_pfns[start / 4096], start % 4096, cut};
			ranges[1] = (struct vsp_netvsc_range){&w->page_pfns[3], 5, total - in_section - cut};
			cr_assert_eq(vsp_netvsc_send(&w->vsc[0], in_section ? 2 : VSP_NVSP_NO_SECTION, in_section,
						     ranges, 2, (void *)1), 0);
			world_signal(w, 0);
			world_settle(w);
			cr_expect_eq(w->sent_status[1], VSP_NVSP_STATUS_SUCCESS);
			expect_out(w, frame, len, "pages");
		}
	}
	world_down(w);
	world_end(w);
}

Test(net, eight_messages_in_one_section_are_eight_frames)
{
	struct world *w = world_new(&(struct world_options){.seed = 3});
	const struct vsp_vnet_header none = {.flags = 0};
	uint8_t frame[200], *section;
	uint32_t at = 0;

	world_up(w);
	section = vsp_netvsc_section(&w->vsc[0], 1);
	for (uint32_t i = 0; i < 8; i++) {
		uint32_t len = 101 + i, head, message;

		world_frame(frame, len, i);
		head = vsp_netvsc_header(frame, len, len, &none, -1, section + at);
		memcpy(section + at + head, frame, len);
		message = head + len;
		if (i < 7) { /* the padding is in the length of all but the last */
			message = (message + 7) & ~7u;
			memcpy(section + at + 4, &message, 4);
		}
		at += message;
	}
	cr_assert_eq(vsp_netvsc_send(&w->vsc[0], 1, at, NULL, 0, (void *)5), 0);
	world_signal(w, 0);
	world_settle(w);
	cr_expect_eq(w->sent_status[5], VSP_NVSP_STATUS_SUCCESS);
	for (uint32_t i = 0; i < 8; i++) {
		world_frame(frame, 101 + i, i);
		expect_out(w, frame, 101 + i, "of eight");
	}
	world_down(w);
	world_end(w);
}

Test(net, frames_for_the_guest_come_in_as_they_were)
{
	struct world *w = world_new(&(struct world_options){.seed = 4});
	uint8_t frame[2048];
	uint32_t n = 0;

	world_up(w);
	for (uint32_t len = 14; len <= 1514; len += len < 230 ? 1 : 97) {
		const struct world_frame *got = &w->frames[n % WORLD_LOG];

		world_frame(frame, len < 34 ? 34 : len, len);
		cr_assert(world_put(w, 0, frame, len, NULL));
		world_settle(w);
		cr_assert_eq(w->received, ++n, "%u bytes", len);
		cr_expect_eq(got->len, len);
		cr_expect_eq(got->sum, world_sum(0, frame, len), "%u bytes", len);
		cr_expect_eq(got->checksum, 0);
	}
	world_frame(frame, 1515, 1);
	cr_assert(world_put(w, 0, frame, 1515, NULL));
	world_settle(w);
	cr_expect_eq(w->received, n, "longer than the MTU");
	world_down(w);
	world_end(w);
}

/* Tags come on top of the MTU: one or two. What is left of them beside the outer 802.1Q tag stays
 * in the frame. */
Test(net, frames_of_full_length_have_room_for_their_tags)
{
	static const struct {
		uint16_t types[3];
		uint32_t most;
		bool stripped; /* the outer one, on the way in */
	} rows[] = {
		{{0x0800}, 1514, false},		 {{0x8100, 0x0800}, 1518, true},
		{{0x88a8, 0x0800}, 1518, false},	 {{0x88a8, 0x8100, 0x0800}, 1522, false},
		{{0x8100, 0x8100, 0x8100}, 1522, true},
	};
	struct world *w = world_new(&(struct world_options){.seed = 29});
	uint8_t frame[1600];
	uint32_t received = 0, sent = 0;

	world_up(w);
	for (uint32_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t most = rows[i].most;

		world_frame(frame, sizeof(frame), i);
		for (uint32_t tag = 0; tag < 3 && rows[i].types[tag]; tag++) {
			frame[12 + 4 * tag] = (uint8_t)(rows[i].types[tag] >> 8);
			frame[13 + 4 * tag] = (uint8_t)rows[i].types[tag];
		}
		for (uint32_t len = most; len <= most + 1; len++, sent++) {
			const struct world_frame *got = &w->frames[received % WORLD_LOG];

			cr_assert(world_put(w, 0, frame, len, NULL));
			cr_assert_eq(section_send(w, 0, 1, frame, len, sent), 0);
			world_signal(w, 0);
			world_settle(w);
			if (len > most) {
				cr_expect_eq(w->received, received, "row %u", i);
				cr_expect_eq(w->sent_status[sent], VSP_NVSP_STATUS_FAILURE, "row %u", i);
				continue;
			}
			cr_assert_eq(w->received, ++received, "row %u", i);
			cr_expect_eq(got->len, rows[i].stripped ? most - 4 : most, "row %u", i);
			cr_expect_eq(w->sent_status[sent], VSP_NVSP_STATUS_SUCCESS, "row %u", i);
			expect_out(w, frame, len, "tagged");
		}
	}
	world_down(w);
	world_end(w);
}

Test(net, checksums_tags_and_filter_on_the_way_in)
{
	struct world *w = world_new(&(struct world_options){.seed = 5});
	const struct vsp_vnet_header verified = {.flags = VSP_VNET_DATA_VALID};
	const struct vsp_vnet_header undone = {
		.flags = VSP_VNET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6};
	uint8_t frame[400], tagged[404];
	uint32_t filter = VSP_FILTER_DIRECTED;

	world_up(w);
	world_frame(frame, 400, 1);
	cr_assert(world_put(w, 0, frame, 400, &verified));
	world_settle(w);
	cr_expect_eq(w->frames[0].checksum, VSP_CSUM_RX_UDP_GOOD, "IP was switched off");
	cr_assert(world_put(w, 0, frame, 400, &undone));
	world_settle(w);
	cr_expect_eq(w->frames[1].checksum, VSP_CSUM_RX_UDP_GOOD);
	cr_expect_neq(memcmp(w->frames[1].bytes + 40, frame + 40, 2), 0, "it is filled in");
	cr_expect_eq(memcmp(w->frames[1].bytes + 42, frame + 42, 358), 0);
	memcpy(tagged, frame, 12);
	memcpy(tagged + 12, "\x81\x00\xb0\x2a", 4);
	memcpy(tagged + 16, frame + 12, 388);
	cr_assert(world_put(w, 0, tagged, 404, NULL));
	world_settle(w);
	cr_expect_eq(w->received, 3);
	cr_expect(w->frames[2].has_vlan);
	cr_expect_eq(w->frames[2].vlan, 5u | 1u << 3 | 42u << 4);
	cr_expect_eq(w->frames[2].len, 400);
	cr_expect_eq(w->frames[2].sum, world_sum(0, frame, 400));
	cr_expect_eq(world_request(w, VSP_RNDIS_SET, 0x0001010e, &filter, 4), 0);
	memset(frame, 0xff, 6);
	cr_assert(world_put(w, 0, frame, 400, NULL));
	world_settle(w);
	cr_expect_eq(w->received, 3, "no broadcasts wanted");
	filter = 0;
	cr_expect_eq(world_request(w, VSP_RNDIS_SET, 0x0001010e, &filter, 4), 0);
	world_frame(frame, 400, 1);
	cr_assert(world_put(w, 0, frame, 400, NULL));
	world_settle(w);
	cr_expect_eq(w->received, 3, "nothing wanted");
	world_down(w);
	world_end(w);
}

/* A TCP frame of @len bytes for the guest. */
static void tcp_frame(uint8_t *f, uint32_t len)
{
	world_frame(f, len, 3);
	f[23] = 6;
	f[46] = 0x50;
}

static void coalesced_frames_pass(uint32_t receive_pages, uint32_t slot_size)
{
	static uint8_t frame[65535];
	struct world *w = world_new(
		&(struct world_options){.seed = 6, .rsc = true, .receive_pages = receive_pages});
	const struct vsp_vnet_header tso = {.flags = VSP_VNET_NEEDS_CSUM, .gso_type = VSP_VNET_GSO_TCPV4,
					    .gso_size = 1448, .header_len = 54, .csum_start = 34,
					    .csum_offset = 16};
	/* around the edges of slots with room for 1566 and for 8222 bytes */
	static const uint32_t lens[] = {1515, 1566,  1567,  3132,  3133, 8222,
					8223, 16444, 16445, 62780, 65535};

	world_up(w);
	cr_expect_eq(w->vsc[0].slot_size, slot_size);
	for (uint32_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		tcp_frame(frame, lens[i]);
		cr_assert(world_put(w, 0, frame, lens[i], &tso));
		world_settle(w);
		cr_assert_eq(w->received, i + 1, "%u bytes", lens[i]);
		cr_expect_eq(w->frames[i].len, lens[i]);
		cr_expect(w->frames[i].coalesced, "%u bytes", lens[i]);
		cr_expect_eq(w->frames[i].sum, world_sum(0, frame, lens[i]), "%u bytes", lens[i]);
		cr_expect(w->frames[i].checksum & VSP_CSUM_RX_TCP_GOOD);
	}
	world_down(w);
	world_end(w);
}

Test(net, coalesced_frames_cross_slots_and_stay_whole)
{
	coalesced_frames_pass(256, 1728);
	coalesced_frames_pass(2100, 8384); /* enough for large slots */
}

Test(net, coalesced_frames_stop_when_the_guest_says_so)
{
	static uint8_t frame[20000];
	struct world *w = world_new(&(struct world_options){.seed = 7, .rsc = true});
	const struct vsp_vnet_header tso = {.flags = VSP_VNET_NEEDS_CSUM, .gso_type = VSP_VNET_GSO_TCPV4,
					    .gso_size = 1448, .header_len = 54, .csum_start = 34,
					    .csum_offset = 16};
	const struct vsp_ndis_offload_parameters off = {
		.header = {VSP_NDIS_DEFAULT, 3, sizeof(off)}, .rsc_ipv4 = 1, .rsc_ipv6 = 1};

	world_up(w);
	tcp_frame(frame, sizeof(frame));
	cr_expect_eq(world_request(w, VSP_RNDIS_SET, 0xfc01020c, &off, sizeof(off)), 0);
	cr_expect_not(world_put(w, 0, frame, sizeof(frame), &tso), "the nic was told");
	tcp_frame(frame, 700);
	world_settle(w);
	cr_expect_eq(w->received, 0);
	world_down(w);
	world_end(w);
}

static uint32_t free_slots(const struct world *w)
{
	const struct net_rx *rx = &w->net->channels[0]->rx;

	return w->net->slots.free_count + rx->cache_count + rx->window_count;
}

/* What the host does while the driver is deaf. */
static void deaf_settle(struct world *w)
{
	for (int i = 0; i < 5000 && vmbus_inproc_step_host(w->bus); i++)
		;
}

/* Its ring has no room for the frames that wait, but for the answer: they do not come after it.
 * Two ways to say so: no frames any more, and none that are coalesced. */
Test(net, no_frame_follows_the_answer_that_ends_them)
{
	static const uint32_t nothing = 0, all = VSP_FILTER_DIRECTED;
	static const struct vsp_ndis_offload_parameters whole = {
		.header = {VSP_NDIS_DEFAULT, 3, sizeof(whole)}, .rsc_ipv4 = 1, .rsc_ipv6 = 1};
	const struct vsp_vnet_header tso = {.flags = VSP_VNET_NEEDS_CSUM, .gso_type = VSP_VNET_GSO_TCPV4,
					    .gso_size = 1448, .header_len = 54, .csum_start = 34,
					    .csum_offset = 16};
	static uint8_t frame[3000];

	for (uint32_t way = 0; way < 2; way++) {
		struct world *w = world_new(&(struct world_options){.seed = 19 + way, .rsc = true});
		uint32_t slots, received;
		struct vsp_net_stats stats;

		world_up(w);
		slots = free_slots(w);
		w->deaf = true;
		for (uint32_t i = 0; i < 404; i++) { /* a packet of 80 bytes each: 440 are left of 32 KiB */
			world_frame(frame, 100, i);
			cr_assert(world_put(w, 0, frame, 100, NULL));
			deaf_settle(w);
		}
		for (uint32_t i = 0; i < 60; i++) {
			tcp_frame(frame, way ? 3000 : 300);
			cr_assert(world_put(w, 0, frame, way ? 3000 : 300, way ? &tso : NULL));
		}
		deaf_settle(w);
		cr_assert_neq(w->net->channels[0]->rx.ready_first, NET_NO_SLOT, "they wait");
		cr_assert_eq(vsp_netvsc_request(&w->vsc[0], VSP_RNDIS_SET, way ? 0xfc01020c : 0x0001010e,
						way ? (const void *)&whole : &nothing,
						way ? sizeof(whole) : sizeof(nothing)), 0);
		world_signal(w, 0);
		deaf_settle(w);
		w->deaf = false;
		vmbus_inproc_kick(w->bus, w->channels[0]);
		world_settle(w);
		cr_assert_eq(w->answer_status, 0);
		cr_expect_eq(w->received_before_answer, 404, "%u", w->received_before_answer);
		cr_expect_eq(w->received, 404, "%u came after the answer", w->received - 404);
		cr_expect_eq(free_slots(w), slots, "%u of %u free", free_slots(w), slots);
		vsp_net_get_stats(w->net, &stats);
		cr_expect_eq(stats.rx_frames, 404);
		cr_expect_eq(stats.rx_bytes, 404 * 100, "%lu", stats.rx_bytes);
		cr_expect(stats.rx_to[0].frames == 404 && stats.rx_to[0].bytes == 404 * 100);
		cr_expect_eq(stats.rx_filtered, 60, "%lu", stats.rx_filtered);
		received = w->received;
		cr_expect_eq(world_request(w, VSP_RNDIS_SET, 0x0001010e, &all, 4), 0);
		world_frame(frame, 100, 5);
		cr_assert(world_put(w, 0, frame, 100, NULL));
		world_settle(w);
		cr_expect_eq(w->received, received + 1);
		world_down(w);
		world_end(w);
	}
}

/* The guest is to tell when it has read, as long as frames wait: also after an answer that found
 * room behind which they do not. */
Test(net, an_answer_does_not_take_the_wish_for_room_back)
{
	struct world *w = world_new(&(struct world_options){.seed = 31});
	const struct vmbus_ring_control *control;
	static uint8_t frame[300];

	world_up(w);
	control = w->channels[0]->rx.mem.control;
	w->deaf = true;
	for (uint32_t i = 0; i < 404; i++) { /* as above */
		world_frame(frame, 100, i);
		cr_assert(world_put(w, 0, frame, 100, NULL));
		deaf_settle(w);
	}
	cr_expect_eq(control->pending_send_size, 0);
	for (uint32_t i = 0; i < 60; i++) {
		world_frame(frame, 300, i);
		cr_assert(world_put(w, 0, frame, 300, NULL));
	}
	deaf_settle(w);
	cr_expect_neq(control->pending_send_size, 0);
	cr_assert_eq(vsp_netvsc_request(&w->vsc[0], VSP_RNDIS_QUERY, 0x00010106, NULL, 0), 0);
	world_signal(w, 0);
	deaf_settle(w);
	cr_expect_eq(w->net->control_count, 0, "it is answered");
	cr_assert_neq(w->net->channels[0]->rx.ready_first, NET_NO_SLOT, "they wait still");
	cr_expect_neq(control->pending_send_size, 0);
	w->deaf = false;
	vmbus_inproc_kick(w->bus, w->channels[0]);
	world_settle(w);
	cr_expect_eq(w->received, 464);
	world_down(w);
	world_end(w);
}

/* A change of the filter is no reason to lose anything, nor is one of offloads to lose frames in
 * one piece. */
Test(net, frames_that_wait_survive_other_changes)
{
	static const uint32_t filter = VSP_FILTER_DIRECTED;
	static const struct vsp_ndis_offload_parameters none = {
		.header = {VSP_NDIS_DEFAULT, 3, sizeof(none)}, .rsc_ipv4 = 1, .rsc_ipv6 = 1};
	static const struct vsp_ndis_offload_parameters ipv4 = {
		.header = {VSP_NDIS_DEFAULT, 3, sizeof(ipv4)}, .rsc_ipv4 = 2, .rsc_ipv6 = 1};
	static const struct {
		uint32_t oid, value_len;
		const void *value;
		bool tso;
	} rows[] = {{0x0001010e, 4, &filter, false}, {0xfc01020c, sizeof(none), &none, false},
		    {0x0001010e, 4, &filter, true}};
	const struct vsp_vnet_header tso = {.flags = VSP_VNET_NEEDS_CSUM, .gso_type = VSP_VNET_GSO_TCPV4,
					    .gso_size = 1448, .header_len = 54, .csum_start = 34,
					    .csum_offset = 16};
	static uint8_t frame[3000];

	for (uint32_t row = 0; row < 3; row++) {
		struct world *w = world_new(&(struct world_options){.seed = 29 + row, .rsc = true});

		world_up(w);
		if (rows[row].tso)
			cr_expect_eq(world_request(w, VSP_RNDIS_SET, 0xfc01020c, &ipv4, sizeof(ipv4)), 0);
		w->deaf = true;
		for (uint32_t i = 0; i < 464; i++) {
			uint32_t len = i >= 404 && rows[row].tso ? sizeof(frame) : 100;

			tcp_frame(frame, len);
			cr_assert(world_put(w, 0, frame, len, len > 100 ? &tso : NULL));
			if (i < 404)
				deaf_settle(w);
		}
		deaf_settle(w);
		cr_assert_neq(w->net->channels[0]->rx.ready_first, NET_NO_SLOT, "they wait");
		cr_assert_eq(vsp_netvsc_request(&w->vsc[0], VSP_RNDIS_SET, rows[row].oid, rows[row].value,
						rows[row].value_len), 0);
		world_signal(w, 0);
		deaf_settle(w);
		w->deaf = false;
		vmbus_inproc_kick(w->bus, w->channels[0]);
		world_settle(w);
		cr_expect_eq(w->answer_status, 0);
		cr_expect_eq(w->received, 464, "row %u: %u", row, w->received);
		world_down(w);
		world_end(w);
	}
}

Test(net, segmentation_leaves_the_guest_with_lengths_and_seed_right)
{
	static uint8_t frame[40000], got[40004];
	struct world *w = world_new(&(struct world_options){.seed = 8});
	const struct vsp_vnet_header tso = {.flags = VSP_VNET_NEEDS_CSUM, .gso_type = VSP_VNET_GSO_TCPV4,
					    .gso_size = 1448, .header_len = 54, .csum_start = 34,
					    .csum_offset = 16};
	struct vsp_netvsc_range range = {w->page_pfns, 0, 0};
	struct vsp_vnet_header h;
	uint8_t seed[2];
	uint32_t at;

	world_up(w);
	tcp_frame(frame, sizeof(frame));
	/* 10.0.0.1 + 10.0.0.2 + TCP + 39966 bytes, as the stack of the guest seeds it */
	seed[0] = (uint8_t)((0x1400 + 3 + 6 + 39966) >> 8);
	seed[1] = (uint8_t)(0x1400 + 3 + 6 + 39966);
	memcpy(frame + 50, seed, 2);
	memcpy(w->pages + 92, frame, sizeof(frame));
	at = vsp_netvsc_header(w->pages + 92, 192, sizeof(frame), &tso, 0x2a5, got);
	cr_assert_eq(at, 76);
	cr_expect_eq(memcmp(w->pages + 92 + 16, "\x00\x00", 2), 0, "NDIS wants no length");
	memcpy(w->pages + 16, got, at);
	range.offset = 16;
	range.len = at + (uint32_t)sizeof(frame);
	cr_assert_eq(vsp_netvsc_send(&w->vsc[0], VSP_NVSP_NO_SECTION, 0, &range, 1, (void *)9), 0);
	world_signal(w, 0);
	world_settle(w);
	cr_expect_eq(w->sent_status[9], VSP_NVSP_STATUS_SUCCESS);
	cr_assert_eq(world_take(w, 0, got, sizeof(got), &h), sizeof(got));
	cr_expect_eq(h.gso_type & ~VSP_VNET_GSO_ECN, VSP_VNET_GSO_TCPV4);
	cr_expect_eq(h.gso_size, 1448);
	cr_expect_eq(h.csum_start, 38);
	cr_expect_eq(h.header_len, 58);
	cr_expect_eq(memcmp(got + 12, "\x81\x00\xa0\x2a\x08\x00", 6), 0, "the tag is in");
	cr_expect_eq(memcmp(got + 20, frame + 16, 2), 0, "the length is back");
	cr_expect_eq(memcmp(got + 54, seed, 2), 0, "the seed is back");
	cr_expect_eq(memcmp(got + 56, frame + 52, sizeof(frame) - 52), 0);
	world_down(w);
	world_end(w);
}

Test(net, guest_without_slots_starves_itself_and_loses_nothing)
{
	struct world *w = world_new(&(struct world_options){.seed = 9, .receive_pages = 24});
	struct vsp_net_stats stats;
	uint8_t frame[600];

	world_up(w);
	w->deaf = true;
	for (uint32_t i = 0; i < 300; i++) {
		world_frame(frame, sizeof(frame), i);
		cr_assert(world_put(w, 0, frame, sizeof(frame), NULL));
	}
	deaf_settle(w);
	vsp_net_get_stats(w->net, &stats);
	cr_expect_eq(stats.rx_waits, 1);
	cr_expect_lt(stats.rx_frames, 60);
	w->deaf = false;
	vmbus_inproc_kick(w->bus, w->channels[0]);
	world_settle(w);
	cr_assert_eq(w->received, 300);
	cr_expect_eq(w->unreturned, 0);
	for (uint32_t i = 0; i < 300; i++) {
		world_frame(frame, sizeof(frame), i);
		cr_expect_eq(w->frames[i].sum, world_sum(0, frame, sizeof(frame)), "frame %u", i);
	}
	world_down(w);
	world_end(w);
}

Test(net, full_nic_holds_the_guest_back_and_loses_nothing)
{
	struct world *w = world_new(&(struct world_options){.seed = 10, .depth = 4});
	struct vsp_net_stats stats;
	uint8_t frame[300];
	uint32_t next = 0;

	world_up(w);
	for (uint32_t i = 0; i < 100; i++) {
		world_frame(frame, sizeof(frame), i);
		cr_assert_eq(section_send(w, 0, 1 + i % 20, frame, sizeof(frame), i), 0);
		if (i % 20 != 19)
			continue;
		world_signal(w, 0);
		world_settle(w);
		for (uint32_t n = 0; n < 20; n++) {
			world_frame(frame, sizeof(frame), next++);
			expect_out(w, frame, sizeof(frame), "in order");
			world_settle(w);
		}
	}
	cr_expect_eq(w->sent, 100);
	vsp_net_get_stats(w->net, &stats);
	cr_expect_eq(stats.tx_frames, 100);
	cr_expect_geq(stats.tx_waits, 5, "each round: %lu", stats.tx_waits);
	cr_expect_eq(stats.tx_dropped, 0);
	world_down(w);
	world_end(w);
}

Test(net, malformed_packets_fail_alone)
{
	static const struct {
		const char *name;
		uint32_t section, len, words[11];
	} rows[] = {
		{"section out of the buffer", 22, 200, {1, 200, 36, 100}},
		{"section far out", 0x10000000, 200, {1, 200, 36, 100}},
		{"section longer than one", 1, 6145, {1, 200, 36, 100}},
		{"nothing in it", 1, 0, {1, 200, 36, 100}},
		{"cut fixed part", 1, 43, {1, 43, 36, 1}},
		{"message longer than the bytes", 1, 200, {1, 201, 36, 100}},
		{"message shorter than its header", 1, 200, {1, 43, 36, 100}},
		{"data past the message", 1, 200, {1, 200, 36, 157}},
		{"information past the message", 1, 200, {1, 200, 36, 100, 0, 0, 0, 100, 100}},
		{"frame longer than the MTU", 1, 2000, {1, 2000, 36, 1515}},
		{"runt", 1, 200, {1, 200, 36, 13}},
		{"second message is control", 1, 400, {1, 200, 36, 100}},
	};
	struct world *w = world_new(&(struct world_options){.seed = 11});
	uint8_t frame[100];

	world_up(w);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t got[2048];

		memset(vsp_netvsc_section(&w->vsc[0], 1), 0, 6144);
		memcpy(vsp_netvsc_section(&w->vsc[0], 1), rows[i].words, 44);
		memcpy(vsp_netvsc_section(&w->vsc[0], 1) + 200, "\x04\x00\x00\x00\x1c\x00\x00\x00", 8);
		cr_assert_eq(vsp_netvsc_send(&w->vsc[0], rows[i].section, rows[i].len, NULL, 0, (void *)7), 0);
		world_signal(w, 0);
		world_settle(w);
		cr_expect_eq(w->sent_status[7], VSP_NVSP_STATUS_FAILURE, "%s", rows[i].name);
		while (world_take(w, 0, got, sizeof(got), NULL))
			;
		world_frame(frame, sizeof(frame), 1);
		cr_assert_eq(section_send(w, 0, 1, frame, sizeof(frame), 8), 0);
		world_signal(w, 0);
		world_settle(w);
		expect_out(w, frame, sizeof(frame), rows[i].name);
	}
	world_down(w);
	world_end(w);
}

Test(net, closes_and_opens_again_in_the_middle_of_traffic)
{
	struct world *w = world_new(&(struct world_options){.seed = 12, .depth = 64, .rsc = true});
	uint8_t frame[1000];
	uint32_t before;

	for (uint32_t round = 0; round < 30; round++) {
		w->options.mtu = round % 3 ? 1500 : 9000;
		world_up(w);
		for (uint32_t i = 0; i < 40; i++) {
			world_frame(frame, sizeof(frame), i);
			(void)world_put(w, 0, frame, sizeof(frame), NULL);
			(void)section_send(w, 0, 1 + i % 20, frame, sizeof(frame), i);
		}
		world_signal(w, 0);
		for (uint32_t i = vmbus_inproc_random(w->bus, 60); i; i--)
			vmbus_inproc_step(w->bus);
		if (round % 2)
			world_crash(w);
		else
			world_down(w);
		while (world_take(w, 0, frame, sizeof(frame), NULL))
			;
	}
	world_up(w);
	before = w->received;
	world_frame(frame, sizeof(frame), 77);
	cr_assert(world_put(w, 0, frame, sizeof(frame), NULL));
	world_settle(w);
	cr_expect_gt(w->received, before);
	cr_expect_eq(w->frames[(w->received - 1) % WORLD_LOG].sum, world_sum(0, frame, sizeof(frame)));
	world_down(w);
	world_end(w);
}

Test(net, link_changes_are_told_and_queried)
{
	struct world *w = world_new(&(struct world_options){.seed = 13});
	uint32_t state;

	world_up(w);
	cr_expect(w->vsc[0].link_up);
	for (uint32_t i = 0; i < 6; i++) {
		vsp_nic_pair_set_link(w->peer, i % 2);
		world_settle(w);
		cr_expect_eq(w->links, i + 1);
		cr_expect_eq(w->vsc[0].link_up, i % 2);
		cr_expect_eq(world_request(w, VSP_RNDIS_QUERY, 0x00010114, NULL, 0), 0);
		memcpy(&state, w->answer, 4);
		cr_expect_eq(state, i % 2 ? 0 : 1);
	}
	vsp_nic_pair_set_link(w->peer, false);
	vsp_nic_pair_set_link(w->peer, true);
	world_settle(w);
	cr_expect_eq(w->links, 6, "a flap nobody saw is none");
	world_down(w);
	world_end(w);
}

static const struct vsp_nic_ops *inner_ops;
static uint64_t speed;

static void info_with_speed(struct vsp_nic *nic, struct vsp_nic_info *info)
{
	inner_ops->get_info(nic, info);
	info->speed_bps = speed;
}

/* How often a status was indicated since the last time; @value: what its buffer begins with. */
static uint32_t indications_find(struct world *w, uint32_t status, uint32_t len, uint32_t *value)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < w->net->slots.control; i++) {
		uint8_t *slot = w->receive + i * w->net->slots.size;
		struct vsp_rndis_indicate m;

		memcpy(&m, slot, sizeof(m));
		if (m.header.type != VSP_RNDIS_INDICATE || m.status != status)
			continue;
		cr_expect(m.header.length == sizeof(m) + len && m.buffer_length == len && m.buffer_offset == 12);
		memcpy(value, slot + sizeof(m), sizeof(*value));
		memset(slot, 0, sizeof(m));
		found++;
	}
	return found;
}

/* Guests that said they want them are told of speeds, and later if there is no slot to say it
 * with. */
Test(net, speed_changes_are_told_to_guests_that_want_them)
{
	struct vsp_nic_ops ops;

	for (uint32_t wanted = 0; wanted < 2; wanted++) {
		struct world *w = world_new(&(struct world_options){
			.seed = 22, .capabilities = wanted ? VSP_NVSP_CAP_TEAMING : VSP_NVSP_CAP_8021Q});
		uint8_t frame[100], got[200];
		uint32_t value = 0;
		uint16_t slots;

		inner_ops = w->net->nic->ops;
		ops = *inner_ops;
		ops.get_info = info_with_speed;
		w->net->nic->ops = &ops;
		speed = 1000000000;
		world_up(w);
		cr_expect_eq(world_request(w, VSP_RNDIS_QUERY, 0x00010107, NULL, 0), 0);
		memcpy(&value, w->answer, 4);
		cr_expect_eq(value, 10000000);
		cr_expect_eq(indications_find(w, VSP_RNDIS_LINK_SPEED_CHANGE, 4, &value), 0, "it asked itself");

		speed = 25000000000;
		vsp_nic_pair_set_link(w->peer, true);
		world_settle(w);
		cr_expect_eq(indications_find(w, VSP_RNDIS_LINK_SPEED_CHANGE, 4, &value), wanted);
		cr_expect_eq(value, wanted ? 250000000 : 10000000);
		vsp_nic_pair_set_link(w->peer, true);
		world_settle(w);
		cr_expect_eq(indications_find(w, VSP_RNDIS_LINK_SPEED_CHANGE, 4, &value), 0, "it is the same");

		slots = w->net->control_slots;
		w->net->control_slots = 0;
		speed = 429496729600; /* 1 more than 32 bits hold */
		vsp_nic_pair_set_link(w->peer, true);
		world_settle(w);
		w->net->control_slots = slots;
		world_frame(frame, sizeof(frame), 1);
		cr_assert_eq(section_send(w, 0, 1, frame, sizeof(frame), 0), 0);
		world_signal(w, 0);
		world_settle(w);
		cr_expect_eq(world_take(w, 0, got, sizeof(got), NULL), sizeof(frame));
		cr_expect_eq(indications_find(w, VSP_RNDIS_LINK_SPEED_CHANGE, 4, &value), wanted, "later");
		cr_expect(!wanted || value == 0xffffffff, "as much as can be said: %u", value);
		cr_expect_eq(w->links, 0);
		world_down(w);
		world_end(w);
	}
}

Test(net, offloads_that_change_are_told_once)
{
	const struct vsp_ndis_offload_parameters p = {
		.header = {VSP_NDIS_DEFAULT, 3, sizeof(p)}, .lso_v2_ipv4 = 1};
	struct world *w = world_new(&(struct world_options){.seed = 23});
	uint32_t value = 0;

	world_up(w);
	(void)indications_find(w, VSP_RNDIS_OFFLOAD_CURRENT_CONFIG, 156, &value);
	cr_expect_eq(world_request(w, VSP_RNDIS_QUERY, 0x00010106, NULL, 0), 0);
	cr_expect_eq(indications_find(w, VSP_RNDIS_OFFLOAD_CURRENT_CONFIG, 156, &value), 0);
	cr_expect_eq(world_request(w, VSP_RNDIS_SET, 0xfc01020c, &p, sizeof(p)), 0);
	cr_expect_eq(indications_find(w, VSP_RNDIS_OFFLOAD_CURRENT_CONFIG, 156, &value), 1);
	cr_expect_eq(value, 0x009c03a7);
	cr_expect_eq(world_request(w, VSP_RNDIS_QUERY, 0xfc01020b, NULL, 0), 0);
	memcpy(&value, w->answer + offsetof(struct vsp_ndis_offload, lso_ipv4), 4);
	cr_expect_eq(value, 0, "it is off");
	world_down(w);
	world_end(w);
}

Test(net, counters_are_answered_and_kept_over_a_close)
{
	struct world *w = world_new(&(struct world_options){.seed = 14});
	struct vsp_net_stats stats;
	uint8_t frame[500];
	uint32_t count;

	for (uint32_t round = 1; round <= 2; round++) {
		world_up(w);
		world_frame(frame, sizeof(frame), 1);
		cr_assert_eq(section_send(w, 0, 1, frame, sizeof(frame), 0), 0);
		cr_assert(world_put(w, 0, frame, sizeof(frame), NULL));
		world_signal(w, 0);
		world_settle(w);
		cr_expect_eq(world_request(w, VSP_RNDIS_QUERY, 0x00020101, NULL, 0), 0);
		memcpy(&count, w->answer, 4);
		cr_expect_eq(count, round);
		vsp_net_get_stats(w->net, &stats);
		cr_expect_eq(stats.tx_bytes, 500 * round);
		cr_expect_eq(stats.rx_bytes, 500 * round);
		cr_expect_eq(stats.bad_messages, 0);
		world_down(w);
	}
	world_end(w);
}

Test(net, counters_tell_whom_frames_were_for)
{
	static const uint8_t to[3][6] = {{0x00, 0x15, 0x5d, 0x01, 0x02, 0x03},
					 {0x01, 0x00, 0x5e, 0x00, 0x00, 0x01},
					 {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
	struct world *w = world_new(&(struct world_options){.seed = 18});
	uint8_t frame[304];

	world_up(w);
	for (uint32_t kind = 0; kind < 3; kind++) {
		for (uint32_t i = 0; i <= kind; i++) {
			world_frame(frame, 300, i);
			memcpy(frame, to[kind], 6);
			cr_assert_eq(section_send(w, 0, 1, frame, 300, 0), 0);
			world_signal(w, 0);
			world_settle(w);
			if (i) { /* the tag is taken off on the way in */
				memmove(frame + 16, frame + 12, 288);
				memcpy(frame + 12, "\x81\x00\x00\x2a", 4);
			}
			cr_assert(world_put(w, 0, frame, i ? 304 : 300, NULL));
			world_settle(w);
		}
	}
	for (uint32_t kind = 0; kind < 3; kind++) {
		const uint32_t expected[4] = {300 * (kind + 1), kind + 1, 300 * (kind + 1) + 4 * kind,
					      kind + 1};

		for (uint32_t i = 0; i < 4; i++) {
			uint32_t oid = 0x00020201 + 2 * kind + i % 2 + i / 2 * 6, value;

			cr_expect_eq(world_request(w, VSP_RNDIS_QUERY, oid, NULL, 0), 0);
			memcpy(&value, w->answer, 4);
			cr_expect_eq(value, expected[i], "OID %#x: %u", oid, value);
		}
	}
	world_down(w);
	world_end(w);
}

Test(net, sub_channels_carry_frames_and_rss_chooses_among_them)
{
	struct world *w = world_new(&(struct world_options){.seed = 15, .queues = 4});
	uint32_t table[VSP_RSS_ENTRIES], before, seen = 0;
	uint8_t frame[200], got[300];

	world_up(w);
	cr_expect_eq(w->vsc[0].max_queues, 4);
	world_channels_up(w, 3);
	for (uint32_t i = 0; i < 4; i++) {
		world_frame(frame, sizeof(frame), i);
		cr_assert_eq(section_send(w, i, 1 + i, frame, sizeof(frame), i), 0);
		world_signal(w, i);
		world_settle(w);
		cr_expect_eq(world_take(w, i, got, sizeof(got), NULL), sizeof(frame), "queue %u", i);
		cr_assert(world_put(w, i, frame, sizeof(frame), NULL));
		world_settle(w);
		cr_expect_eq(w->frames[i].channel, i, "without RSS the queue's own");
	}
	cr_assert_eq(w->vsc[0].rss_entries, VSP_RSS_ENTRIES);
	for (uint32_t i = 0; i < VSP_RSS_ENTRIES; i++)
		table[i] = 3 - i % 4;
	before = w->answered;
	cr_assert_eq(vsp_netvsc_set_rss(&w->vsc[0], table, VSP_RSS_ENTRIES), 0);
	world_signal(w, 0);
	world_settle(w);
	cr_assert_eq(w->answered, before + 1);
	cr_assert_eq(w->answer_status, 0);
	for (uint32_t i = 0; i < 64; i++) {
		uint32_t at = w->received % WORLD_LOG;

		world_frame(frame, sizeof(frame), 0);
		frame[29] = (uint8_t)i; /* another sender */
		cr_assert(world_put(w, i % 4, frame, sizeof(frame), NULL));
		world_settle(w);
		cr_assert(w->frames[at].has_hash);
		cr_expect_eq(w->frames[at].hash_info, VSP_RSS_TOEPLITZ | VSP_RSS_IPV4, "UDP by its addresses");
		cr_expect_eq(w->frames[at].channel, table[w->frames[at].hash % VSP_RSS_ENTRIES]);
		seen |= 1u << w->frames[at].channel;
	}
	cr_expect_eq(seen, 15, "all channels are used");
	world_down(w);
	world_up(w);
	world_channels_up(w, 2);
	world_crash(w);
	world_end(w);
}

/* Real Hyper-V has the table behind a message of full size, we have it inside. */
Test(net, send_table_is_taken_wherever_it_lies_and_folded_on_what_is_open)
{
	static const struct {
		uint32_t count, offset, len;
		bool good;
	} rows[] = {
		{16, 12, 76, true},   {16, 28, 92, true},  {16, 40, 104, true}, {16, 20, 104, true},
		{16, 8, 76, false},   {16, 17, 80, false}, {16, 80, 80, false}, {16, 0xfffffff0u, 104, false},
		{15, 12, 76, false},  {17, 12, 104, false}, {16, 12, 8, false},
	};
	struct world *w = world_new(&(struct world_options){.seed = 16, .queues = 4});
	uint32_t tables = 0, bad = 0;

	world_up(w);
	for (uint32_t hash = 0; hash < 32; hash++)
		cr_expect_eq(vsp_netvsc_send_channel(&w->vsc[0], hash, 3), hash % 16 % 3, "none came");
	for (uint32_t row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
		uint32_t message[26] = {VSP_NVSP_INDIRECTION_TABLE, rows[row].count, rows[row].offset};
		const struct vmbus_packet packet = {
			.type = VMBUS_PACKET_INBAND, .payload = message, .payload_len = rows[row].len};

		for (uint32_t i = 0; rows[row].good && i < 16; i++)
			message[rows[row].offset / 4 + i] = i + row;
		cr_assert_eq(vmbus_channel_send(w->net->channels[0]->channel, &packet, 0), 0);
		vmbus_inproc_kick(w->bus, w->channels[0]);
		world_settle(w);
		tables += rows[row].good;
		bad += !rows[row].good;
		cr_expect_eq(w->vsc[0].tables, tables, "row %u", row);
		cr_expect_eq(w->vsc[0].bad_packets, bad, "row %u", row);
		for (uint32_t i = 0; rows[row].good && i < 32; i++)
			cr_expect_eq(vsp_netvsc_send_channel(&w->vsc[0], i, 4), (i % 16 + row) % 4);
	}
	world_down(w);
	world_end(w);
}

Test(net, channels_that_share_few_slots_all_get_on)
{
	struct world *w = world_new(&(struct world_options){.seed = 17, .queues = 4, .receive_pages = 24});
	uint8_t frame[300];

	world_up(w);
	world_channels_up(w, 3);
	w->deaf = true;
	for (uint32_t i = 0; i < 400; i++) {
		world_frame(frame, sizeof(frame), i);
		cr_assert(world_put(w, i % 4, frame, sizeof(frame), NULL));
	}
	deaf_settle(w);
	w->deaf = false;
	for (uint32_t i = 0; i < 4; i++)
		vmbus_inproc_kick(w->bus, w->channels[i]);
	world_settle(w);
	cr_expect_eq(w->received, 400);
	world_down(w);
	world_end(w);
}

Test(net, twenty_thousand_frames_of_any_size_arrive_once_and_in_order)
{
	static uint8_t frame[65536], got[65536];
	struct world *w = world_new(&(struct world_options){.seed = 16, .rsc = true, .depth = 100,
							    .receive_pages = 128});
	const struct vsp_vnet_header tso = {.flags = VSP_VNET_NEEDS_CSUM, .gso_type = VSP_VNET_GSO_TCPV4,
					    .gso_size = 1448, .header_len = 54, .csum_start = 34,
					    .csum_offset = 16};
	uint32_t put = 0, taken = 0, sent = 0, checked = 0;
	uint64_t sums[256];

	world_up(w);
	while (checked < 10000 || taken < 10000) {
		uint32_t len = 54 + vmbus_inproc_random(w->bus, 1460);
		bool large = vmbus_inproc_random(w->bus, 16) == 0;

		if (put < 10000 && put - checked < 200) {
			if (large)
				len = 1600 + vmbus_inproc_random(w->bus, 60000);
			tcp_frame(frame, len);
			frame[len - 1] = (uint8_t)put;
			sums[put % 256] = world_sum(0, frame, len);
			if (world_put(w, 0, frame, len, large ? &tso : NULL))
				put++;
		}
		if (sent < 10000 && w->vsc[0].in_flight < 20 && !large) {
			world_frame(frame, 100 + sent % 1000, sent);
			if (!section_send(w, 0, 1 + sent % 20, frame, 100 + sent % 1000, 0))
				sent++;
			world_signal(w, 0);
		}
		for (uint32_t i = vmbus_inproc_random(w->bus, 12); i; i--)
			vmbus_inproc_step(w->bus);
		for (; checked < w->received; checked++)
			cr_assert_eq(w->frames[checked % WORLD_LOG].sum, sums[checked % 256], "frame %u", checked);
		for (uint32_t n; (n = world_take(w, 0, got, sizeof(got), NULL)) > 0; taken++) {
			world_frame(frame, 100 + taken % 1000, taken);
			cr_assert_eq(n, 100 + taken % 1000, "frame %u", taken);
			cr_assert_eq(memcmp(frame, got, n), 0, "frame %u", taken);
		}
		cr_assert_null(vmbus_inproc_violation(w->bus), "%s", vmbus_inproc_violation(w->bus));
	}
	world_settle(w);
	cr_expect_eq(w->received, put);
	cr_expect_eq(w->vsc[0].bad_packets, 0);
	world_down(w);
	world_end(w);
}
