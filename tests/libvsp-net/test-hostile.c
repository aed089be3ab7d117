/* SPDX-License-Identifier: MIT */
/* Everything a guest can say, said wrong: every message with every length, fields at their
 * edges, ids that name nothing, at the wrong time. What is wrong fails alone, and after each
 * row frames still pass both ways. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "net-priv.h"
#include "net-world.h"
#include "netvsc.h"

#define FRAME 100u
#define MESSAGE (44u + FRAME) /* with it */
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const uint32_t edges[] = {0,    1,    4,    7,    8,          20,         28,         35,
				 36,   43,   44,   99,   100,        101,        143,        144,
				 145,  0xfff, 0xffff, 0x7fffffff, 0x80000000, 0xfffffff0, 0xfffffff8, 0xffffffff};

static void wire_clear(struct world *w)
{
	uint8_t got[2048];

	while (world_take(w, 0, got, sizeof(got), NULL))
		;
}

/* A data message of FRAME bytes in section 1, right in every field. */
static uint8_t *message_make(struct world *w, uint32_t number)
{
	const struct vsp_rndis_packet m = {
		.header = {VSP_RNDIS_PACKET,
			   sizeof(m) + FRAME}, .data_offset = 36, .data_length = FRAME};
	uint8_t *section = vsp_netvsc_section(&w->vsc[0], 1);

	memset(section, 0, 4096);
	memcpy(section, &m, sizeof(m));
	world_frame(section + sizeof(m), FRAME, number);
	return section;
}

static uint32_t section_send(struct world *w, uint32_t section, uint32_t len)
{
	w->sent_status[1] = 0xffff;
	cr_assert_eq(vsp_netvsc_send(&w->vsc[0], section, len, NULL, 0, (void *)1), 0);
	world_signal(w, 0);
	world_settle(w);
	return w->sent_status[1];
}

static void goes_on(struct world *w, const char *what, uint32_t row)
{
	uint8_t frame[FRAME], got[2048];
	uint32_t before = w->received;

	wire_clear(w);
	(void)message_make(w, row);
	world_frame(frame, FRAME, row);
	cr_assert_eq(section_send(w, 1, MESSAGE), VSP_NVSP_STATUS_SUCCESS, "%s, row %u", what,
		     row);
	cr_assert_eq(world_take(w, 0, got, sizeof(got), NULL), FRAME,
		     "%s, row %u: nothing came out", what,
		     row);
	cr_assert_eq(memcmp(got, frame, FRAME), 0, "%s, row %u", what, row);
	cr_assert(world_put(w, 0, frame, FRAME, NULL));
	world_settle(w);
	cr_assert_eq(w->received, before + 1, "%s, row %u: nothing came in", what, row);
	cr_assert_eq(w->vsc[0].state, VSP_NETVSC_READY);
}

static struct world *world_at_work(uint64_t seed)
{
	struct world *w = world_new(&(struct world_options){.seed = seed});

	world_up(w);
	return w;
}

static void message_put(struct world *w, const void *bytes, uint32_t len, bool answer)
{
	const struct vmbus_packet packet = {
		.type = VMBUS_PACKET_INBAND,
		.flags = answer ? VMBUS_PACKET_COMPLETION_REQUESTED : 0,
		.transaction_id = 0x1234,
		.payload = bytes,
		.payload_len = len,
	};

	cr_assert_eq(vmbus_tx_put(&w->channels[0]->tx, &packet, 0), 0);
	world_signal(w, 0);
	world_settle(w);
}

/* Each type by each length by content. The fixture looks that each one that asks for an answer
 * gets it, once. */
static void messages_put(struct world *w, bool (*harmless)(uint32_t type))
{
	static const uint8_t fill[] = {0x00, 0x01, 0xff};
	uint32_t bytes[16];

	for (uint32_t type = 0; type < VSP_NVSP_TYPE_END + 3; type++) {
		uint32_t id = type < VSP_NVSP_TYPE_END ? type : 1u << (type % 3 * 10 + 9);

		for (uint32_t row = 0; harmless(id) && row < 46 * COUNT(fill); row++) {
			uint32_t len = row / COUNT(fill);

			memset(bytes, fill[row % COUNT(fill)], sizeof(bytes));
			bytes[0] = id;
			message_put(w, bytes, len < 45 ? len : sizeof(bytes), row % 2);
		}
	}
}

static bool is_harmless(uint32_t type)
{
	return type != VSP_NVSP_REVOKE_SEND_BUF; /* nothing is wrong with it: the buffer would be gone */
}

Test(hostile, nvsp_messages_of_every_type_and_length)
{
	struct world *w = world_at_work(50);

	messages_put(w, is_harmless);
	goes_on(w, "types", 0);
	world_down(w);
	world_end(w);
}

/* A driver that only looks for answers. */
static void answers_take(struct world *w)
{
	uint64_t buffer[64];
	struct vmbus_packet packet;

	while (vmbus_rx_next(&w->channels[0]->rx, buffer, sizeof(buffer), &packet) == 0)
		cr_assert_eq(packet.type, VMBUS_PACKET_COMPLETION);
	vmbus_guest_commit(w->channels[0]);
	world_signal(w, 0);
}

static bool any_type(uint32_t type)
{
	(void)type;
	return true;
}

static void before_setup(struct world *w)
{
	w->raw = answers_take;
	messages_put(w, any_type);
	w->raw = NULL;
}

/* Nothing was agreed on yet: the set-up begins as if nothing had been. */
Test(hostile, nvsp_messages_before_the_set_up)
{
	struct world *w = world_new(&(struct world_options){.seed = 55});

	w->opened = before_setup;
	world_up(w);
	goes_on(w, "early", 0);
	world_down(w);
	world_end(w);
}

/* Packets of every type, as long as no right one is, with and without a wish for an answer. */
Test(hostile, packets_too_long_or_of_a_hosts_type)
{
	static const uint16_t types[] = {VMBUS_PACKET_INBAND, VMBUS_PACKET_GPA_DIRECT,
					 VMBUS_PACKET_COMPLETION, VMBUS_PACKET_TRANSFER_PAGES};
	static const uint32_t lens[] = {40, 8000, NET_PACKET_MAX, NET_PACKET_MAX + 8, 20000};
	static uint8_t bytes[20000];
	struct world *w = world_at_work(59);
	struct vsp_net_stats stats;
	uint64_t bad = 0;

	for (uint32_t i = 0; i < COUNT(types) * COUNT(lens) * 2; i++) {
		const uint64_t header[2] = {1ull << 32, 0}; /* one range or none: with what follows, nonsense */
		struct vmbus_packet packet = {
			.type = types[i % COUNT(types)], .flags = i / COUNT(types) % 2,
			.transaction_id = 0x12345678, .payload = bytes,
			.payload_len = lens[i / COUNT(types) / 2]};

		if (packet.type == VMBUS_PACKET_GPA_DIRECT || packet.type == VMBUS_PACKET_TRANSFER_PAGES) {
			packet.header = header;
			packet.header_len = sizeof(header);
		}
		cr_assert_eq(vmbus_tx_put(&w->channels[0]->tx, &packet, 0), 0);
		world_signal(w, 0);
		world_settle(w);
		goes_on(w, "packet", i);
		vsp_net_get_stats(w->net, &stats);
		cr_expect_eq(stats.bad_messages, bad + 1, "type %u, %u bytes", packet.type, packet.payload_len);
		bad = stats.bad_messages;
	}
	world_down(w);
	world_end(w);
}

/* Sections and sizes by each other: the frame comes out where they name it, and
 * in no other case. */
Test(hostile, sections_and_sizes_that_are_none)
{
	static const uint32_t sections[] = {0, 1, 20, 21, 22, 0xffff, 0xaaaaa, 0x7fffffff, 0x80000000,
					    0xfffffffe, VSP_NVSP_NO_SECTION};
	static const uint32_t sizes[] = {0, 1, 3, 4, 7, 8, 43, 44, 143, 144, 145, 6143, 6144, 6145, 0x10000,
					 0x7fffffff, 0xffffe800, 0xffffffff};
	struct world *w = world_at_work(51);
	uint8_t got[2048];

	cr_assert_eq(w->vsc[0].section_count, 21);
	memset(w->send, 0, 32u << 12);
	for (uint32_t i = 0; i < COUNT(sections) * COUNT(sizes); i++) {
		uint32_t section = sections[i / COUNT(sizes)], size = sizes[i % COUNT(sizes)];
		bool there = section == 1 && size >= MESSAGE && size <= 6144;
		bool right = there && size < MESSAGE + 44; /* more is another message, and none */
		uint32_t status;

		(void)message_make(w, i);
		status = section_send(w, section, size);
		cr_expect_eq(status, right ? VSP_NVSP_STATUS_SUCCESS : VSP_NVSP_STATUS_FAILURE,
			     "section %#x, %u bytes: %u", section, size, status);
		cr_expect_eq(world_take(w, 0, got, sizeof(got), NULL), there ? FRAME : 0,
			     "section %#x, %u bytes", section, size);
		goes_on(w, "section", i);
	}
	world_down(w);
	world_end(w);
}

/* A range of guest pages with its words at the edges, as it lies in the ring. */
struct direct {
	struct vmbus_gpa_direct direct;
	struct vmbus_gpa_range range;
	uint64_t pfns[3];
};

static uint32_t direct_send(struct world *w, const struct direct *d, uint32_t words)
{
	const struct vsp_nvsp_message message = {
		.type = VSP_NVSP_RNDIS, .u.rndis = {VSP_NVSP_CHANNEL_DATA, VSP_NVSP_NO_SECTION, 0}};
	struct vmbus_packet packet = {.type = VMBUS_PACKET_GPA_DIRECT, .header = d,
				      .header_len = 8 + words * 8, .payload = &message,
				      .payload_len = VSP_NVSP_SIZE_V61};

	return world_packet_send(w, &packet);
}

Test(hostile, page_lists_with_every_word_at_every_edge)
{
	static const uint32_t offsets[] = {0, 1, 4095, 4096, 4097, 0x7fffffff, 0x80000000, 0xffffffff};
	static const uint64_t pages[] = {0, 1, 0x1fff, 0x2000, 0xfffffffffffffull, 1ull << 52, UINT64_MAX};
	struct world *w = world_at_work(57);
	uint8_t got[2048], frame[FRAME];
	uint32_t row = 0, right = 0;

	for (uint32_t i = 0; i < COUNT(offsets) * COUNT(edges) * 6 * (COUNT(pages) + 1); i++, row++) {
		const struct vsp_rndis_packet m = {.header = {VSP_RNDIS_PACKET, sizeof(m) + FRAME},
						   .data_offset = 36, .data_length = FRAME};
		uint32_t words = i % 6, kind = i / 6 % (COUNT(pages) + 1), status, out;
		struct direct d = {
			.direct = {.range_count = words == 5 ? 0xffffffff : words > 0},
			.range = {.byte_count = edges[i / 6 / (COUNT(pages) + 1) % COUNT(edges)],
				  .byte_offset = offsets[i / 6 / (COUNT(pages) + 1) / COUNT(edges)]}};

		for (uint32_t k = 0; k < 3; k++)
			d.pfns[k] = kind < COUNT(pages) ? pages[kind] + k : w->page_pfns[k];
		world_frame(frame, FRAME, row);
		memset(w->pages, 0, 3 * 4096);
		if (d.range.byte_offset < 4096) {
			memcpy(w->pages + d.range.byte_offset, &m, sizeof(m));
			memcpy(w->pages + d.range.byte_offset + sizeof(m), frame, FRAME);
		}
		status = direct_send(w, &d, words < 5 ? words : 4);
		out = world_take(w, 0, got, sizeof(got), NULL);
		if (status == VSP_NVSP_STATUS_SUCCESS) {
			cr_expect(kind == COUNT(pages) && out == FRAME && !memcmp(got, frame, FRAME),
				  "%u bytes at %u, %u words, pages %#lx", d.range.byte_count,
				  d.range.byte_offset, words, d.pfns[0]);
			right++;
		} else {
			/* what lies behind a message is another, and none */
			bool more = kind == COUNT(pages) && d.range.byte_count >= MESSAGE + 44;

			cr_expect(status == VSP_NVSP_STATUS_FAILURE && (out == 0 || (more && out == FRAME)),
				  "%u bytes at %u, %u words, pages %#lx: status %u, %u bytes out",
				  d.range.byte_count, d.range.byte_offset, words, d.pfns[0], status, out);
		}
		if (row % 64 == 0)
			goes_on(w, "pages", row);
	}
	goes_on(w, "pages", row);
	cr_expect_gt(right, 10, "%u", right);
	world_down(w);
	world_end(w);
}

/* Every field of a data message and of one piece of information in it, at every edge: either
 * the packet fails and nothing comes out, or one frame does, of the length it says. */
Test(hostile, data_messages_with_every_field_at_every_edge)
{
	static const struct vsp_rndis_info infos[] = {
		{16, VSP_INFO_CHECKSUM, 12}, {16, VSP_INFO_LSO, 12}, {16, VSP_INFO_8021Q, 12}, {16,
												77, 12}};
	struct world *w = world_at_work(52);
	uint32_t row = 0, accepted = 0, refused = 0;
	uint8_t got[4096];

	for (uint32_t field = 4; field < 60; field += 4) {
		for (uint32_t i = 0; i < COUNT(edges) * COUNT(infos); i++, row++) {
			uint8_t *m = message_make(w, row);
			uint32_t status, out = 0, frames = 0, length;

			memmove(m + 60, m + 44, FRAME);
			memcpy(m + 44, &infos[i % COUNT(infos)], sizeof(infos[0]));
			memcpy(m, &(struct vsp_rndis_packet){.header = {VSP_RNDIS_PACKET,
									60 + FRAME},
							     .data_offset = 52, .data_length = FRAME,
							     .info_offset = 36, .info_length = 16},
			       44);
			memcpy(m + field, &edges[i / COUNT(infos)], 4);
			status = section_send(w, 1, 60 + FRAME);
			while ((length = world_take(w, 0, got, sizeof(got), NULL)) > 0) {
				out += length;
				frames++;
			}
			if (status == VSP_NVSP_STATUS_SUCCESS) {
				memcpy(&length, m + 12, 4);
				cr_expect(frames == 1 && (out == length || out == length + 4),
					  "offset %u, %#x: %u frames, %u bytes", field, edges[i / COUNT(infos)],
					  frames, out);
				accepted++;
			} else {
				cr_expect_eq(status, VSP_NVSP_STATUS_FAILURE);
				cr_expect_eq(frames, 0, "offset %u, %#x", field,
					     edges[i / COUNT(infos)]);
				refused++;
			}
		}
		goes_on(w, "field", field);
	}
	cr_expect(accepted > 50 && refused > 200, "%u accepted, %u refused", accepted, refused);
	world_down(w);
	world_end(w);
}

static void slots_return(struct world *w, uint64_t id, uint32_t type)
{
	const struct vsp_nvsp_message message = {.type = type, .u.rndis_complete = {1}};
	const struct vmbus_packet packet = {
		.type = VMBUS_PACKET_COMPLETION, .transaction_id = id, .payload = &message, .payload_len = 8};

	cr_assert_eq(vmbus_tx_put(&w->channels[0]->tx, &packet, 0), 0);
	world_signal(w, 0);
	world_settle(w);
}

static uint32_t free_slots(const struct world *w)
{
	const struct net_rx *rx = &w->net->channels[0]->rx;

	return w->net->slots.free_count + rx->cache_count + rx->window_count;
}

Test(hostile, slots_given_back_that_were_never_sent)
{
	struct world *w = world_at_work(53);
	const uint64_t ids[] = {0, 15, 16, 17, w->net->slots.count - 1, w->net->slots.count,
				0xffffffff,
				0x100000010, UINT64_MAX};
	uint32_t before = free_slots(w);
	struct vsp_net_stats stats;

	for (uint32_t i = 0; i < COUNT(ids); i++) {
		slots_return(w, ids[i], VSP_NVSP_RNDIS_COMPLETE);
		slots_return(w, ids[i], i);
		cr_expect_eq(free_slots(w), before, "id %#lx", ids[i]);
		goes_on(w, "id", i);
	}
	vsp_net_get_stats(w->net, &stats);
	cr_expect_eq(stats.bad_messages, 2 * COUNT(ids));
	world_down(w);
	world_end(w);
}

/* More than the host queues, from a guest that takes no answer. */
Test(hostile, control_requests_without_end)
{
	struct vsp_rndis_oid_request m = {.header = {VSP_RNDIS_QUERY, sizeof(m)},
					  .oid = 0x00010106};
	struct world *w = world_at_work(54);
	uint32_t failures = 0;

	w->deaf = true;
	for (uint32_t i = 0; i < 60; i++) {
		memcpy(vsp_netvsc_section(&w->vsc[0], 2), &m, sizeof(m));
		w->sent_status[i] = 0;
		cr_assert_eq(vsp_netvsc_send(&w->vsc[0], 2, sizeof(m), NULL, 0,
					     (void *)(uintptr_t)i), 0);
		world_signal(w, 0);
		for (uint32_t k = 0; k < 50; k++)
			vmbus_inproc_step(w->bus);
	}
	w->deaf = false;
	vmbus_inproc_kick(w->bus, w->channels[0]);
	world_settle(w);
	for (uint32_t i = 0; i < 60; i++)
		failures += w->sent_status[i] == VSP_NVSP_STATUS_FAILURE;
	cr_expect(failures > 20 && failures < 60, "%u failed", failures);
	goes_on(w, "flood", 0);
	world_down(w);
	world_end(w);
}

/* The guest starts over, after a HALT that was meant. */
static void revive(struct world *w)
{
	const struct vsp_rndis_initialize m = {
		.header = {VSP_RNDIS_INITIALIZE, sizeof(m)}, .request_id = 77, .major = 1};
	const uint32_t filter = VSP_FILTER_DIRECTED;

	memcpy(vsp_netvsc_section(&w->vsc[0], 1), &m, sizeof(m));
	cr_assert_eq(section_send(w, 1, sizeof(m)), VSP_NVSP_STATUS_SUCCESS);
	cr_assert_eq(world_request(w, VSP_RNDIS_SET, 0x0001010e, &filter, sizeof(filter)), 0);
}

/* How many answers with this id lie in the control slots; they are wiped out. */
static uint32_t answers_find(struct world *w, uint32_t type, uint32_t id)
{
	uint32_t found = 0;

	for (uint32_t i = 0; i < w->net->slots.control; i++) {
		uint8_t *slot = w->receive + i * w->net->slots.size;
		struct vsp_rndis_complete c;

		memcpy(&c, slot, sizeof(c));
		found += c.header.type == (type | VSP_RNDIS_COMPLETE) &&
			 (type == VSP_RNDIS_RESET || c.request_id == id);
		memset(slot, 0, sizeof(c));
	}
	return found;
}

/* Each type by each number of bytes by what the message says its length is. One that is whole is
 * taken and answered, once; what is not fails, and nothing answers it. */
Test(hostile, control_messages_of_every_type_and_length)
{
	static const struct {
		uint32_t type, size; /* 0: not for guests to send */
	} types[] = {{0, 0}, {2, 24}, {3, 12}, {4, 28}, {5, 28}, {6, 12}, {7, 0}, {8, 12}, {9, 28}, {10, 0},
		     {0x80000002, 0}, {0x80000004, 0}, {0x80000005, 0}, {0xff000001, 0}, {0xffffffff, 0}};
	struct world *w = world_at_work(56);
	uint32_t row = 0;

	for (uint32_t t = 0; t < COUNT(types); t++) {
		for (uint32_t i = 0; i < 40 * 11; i++, row++) {
			uint32_t n = i / 11, size = types[t].size;
			const uint32_t lengths[11] = {0, 1, 7, 8, size - 1, size, size + 1, n, n + 1,
						      0x7fffffff, 0xffffffff};
			const uint32_t words[10] = {types[t].type, lengths[i % 11], 0x5a5a};
			bool whole = size && words[1] >= size && words[1] <= n;
			uint32_t status, answers;

			memset(vsp_netvsc_section(&w->vsc[0], 1), 0, 64);
			memcpy(vsp_netvsc_section(&w->vsc[0], 1), words, n);
			status = section_send(w, 1, n);
			cr_expect_eq(status, whole ? VSP_NVSP_STATUS_SUCCESS : VSP_NVSP_STATUS_FAILURE,
				     "type %#x, %u bytes, length %#x: %u", words[0], n, words[1], status);
			answers = answers_find(w, words[0], 0x5a5a);
			cr_expect_eq(answers, whole && words[0] != VSP_RNDIS_HALT,
				     "type %#x, %u bytes, length %#x: %u answers", words[0], n, words[1], answers);
			if (whole && words[0] == VSP_RNDIS_HALT)
				revive(w);
		}
		goes_on(w, "control", t);
	}
	world_down(w);
	world_end(w);
}

/* After HALT, and before INITIALIZE, there is no one whose frame it could be. */
Test(hostile, frames_out_of_order_fail)
{
	const struct vsp_rndis_request halt = {.header = {VSP_RNDIS_HALT, sizeof(halt)}};
	const struct vsp_rndis_oid_request query = {.header = {VSP_RNDIS_QUERY, sizeof(query)},
						    .request_id = 99, .oid = 0x00010106};
	struct world *w = world_at_work(58);
	uint8_t frame[FRAME], got[2048];

	memcpy(vsp_netvsc_section(&w->vsc[0], 1), &halt, sizeof(halt));
	cr_expect_eq(section_send(w, 1, sizeof(halt)), VSP_NVSP_STATUS_SUCCESS);
	(void)message_make(w, 1);
	cr_expect_eq(section_send(w, 1, MESSAGE), VSP_NVSP_STATUS_FAILURE);
	cr_expect_eq(world_take(w, 0, got, sizeof(got), NULL), 0);
	world_frame(frame, FRAME, 1);
	cr_assert(world_put(w, 0, frame, FRAME, NULL));
	world_settle(w);
	cr_expect_eq(w->received, 0);
	memcpy(vsp_netvsc_section(&w->vsc[0], 1), &query, sizeof(query));
	(void)section_send(w, 1, sizeof(query));
	cr_expect_eq(answers_find(w, VSP_RNDIS_QUERY, 99), 0);
	revive(w);
	goes_on(w, "revived", 0);
	world_down(w);
	world_end(w);
}

static void adapter_start(struct vsp_adapter *a)
{
	memset(a, 0, sizeof(*a));
	a->max_channels = 4;
	a->nic_offloads = VSP_NIC_CSUM | VSP_NIC_TSO4 | VSP_NIC_TSO6;
	a->allow_mac_change = true;
	vsp_adapter_reset(a);
	a->ndis_major = 6;
	a->ndis_minor = 30;
	a->initialized = true;
}

/* One OID request: it is answered with its id, and what is refused changes nothing. */
static void request_check(uint32_t type, uint32_t oid, uint32_t info_len, uint32_t info_offset,
			  const uint8_t *content, uint32_t len)
{
	const struct vsp_rndis_oid_request m = {.header = {type, (uint32_t)sizeof(m) + len},
						.request_id = 0xabcd, .oid = oid,
						.info_length = info_len, .info_offset = info_offset};
	uint8_t *exact = malloc(sizeof(m) + len);
	static struct vsp_adapter a, before;
	struct vsp_rndis_complete c;
	struct vsp_rndis_reply reply;

	cr_assert_not_null(exact);
	memcpy(exact, &m, sizeof(m));
	memcpy(exact + sizeof(m), content, len);
	adapter_start(&a);
	before = a;
	(void)vsp_rndis_control(&a, exact, (uint32_t)sizeof(m) + len, &reply);
	memcpy(&c, reply.bytes, sizeof(c));
	cr_assert(reply.len >= sizeof(c) && reply.len <= VSP_RNDIS_REPLY_MAX &&
		  c.header.length == reply.len);
	cr_assert_eq(c.header.type, type | VSP_RNDIS_COMPLETE);
	cr_assert_eq(c.request_id, 0xabcd);
	if (c.status != VSP_RNDIS_SUCCESS || type == VSP_RNDIS_QUERY)
		cr_assert_eq(memcmp(&a, &before, sizeof(a)), 0,
			     "OID %#x, %u bytes at %u: %#x, and changed",
			     oid, info_len, info_offset, c.status);
	free(exact);
}

Test(hostile, oid_requests_with_every_length_and_offset)
{
	static const uint8_t fill[] = {0x00, 0x01, 0x02, 0x89, 0xff};
	static uint8_t content[700];

	for (uint32_t i = 0; vsp_oid_row(i); i++) {
		uint32_t oid = vsp_oid_row(i);

		for (uint32_t type = VSP_RNDIS_QUERY; type <= VSP_RNDIS_SET; type++) {
			for (uint32_t k = 0; k < COUNT(edges) * COUNT(edges); k++)
				request_check(type, oid, edges[k / COUNT(edges)],
					      edges[k % COUNT(edges)],
					      content, 72);
			for (uint32_t len = 0; len < COUNT(fill) * 60; len++) {
				uint32_t n = len < COUNT(fill) * 50 ? len / COUNT(fill) : len * 2;

				memset(content, fill[len % COUNT(fill)], sizeof(content));
				if (len % 2) /* headers that say as much as there is */
					memcpy(content + 2, &n, 2);
				request_check(type, oid, n, 20, content, n);
			}
		}
	}
}
