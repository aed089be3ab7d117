/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "rndis.h"

static void adapter_start(struct vsp_adapter *a)
{
	memset(a, 0, sizeof(*a));
	a->max_channels = 4;
	a->nic_offloads = VSP_NIC_CSUM | VSP_NIC_TSO4 | VSP_NIC_TSO6;
	a->allow_mac_change = true;
	memcpy(a->permanent_mac, "\x00\x15\x5d\x01\x02\x03", 6);
	strcpy(a->friendly_name, "net0");
	vsp_adapter_reset(a);
	a->ndis_major = 6;
	a->ndis_minor = 30;
	a->initialized = true;
}

Test(rndis, data_header_is_checked_at_every_edge)
{
	static const struct {
		const char *name;
		uint32_t type, length, data_offset, data_length, info_offset, info_length, available;
		int fault;
	} rows[] = {
		{"plain", 1, 144, 36, 100, 0, 0, 144, 0},
		{"information in between", 1, 160, 52, 100, 36, 16, 160, 0},
		{"information behind", 1, 160, 36, 100, 136, 16, 160, 0},
		{"padded", 1, 152, 36, 100, 0, 0, 152, 0},
		{"more follows", 1, 144, 36, 100, 0, 0, 300, 0},
		{"one byte", 1, 45, 36, 1, 0, 0, 45, 0},
		{"not data", 2, 144, 36, 100, 0, 0, 144, VMBUS_FAULT_BAD_REQUEST},
		{"cut fixed part", 1, 144, 36, 100, 0, 0, 43, VMBUS_FAULT_TRUNCATED},
		{"length below the fixed part", 1, 43, 36, 1, 0, 0, 144, VMBUS_FAULT_TRUNCATED},
		{"length past the bytes", 1, 145, 36, 100, 0, 0, 144, VMBUS_FAULT_BAD_REQUEST},
		{"no data", 1, 144, 36, 0, 0, 0, 144, VMBUS_FAULT_BAD_REQUEST},
		{"data in the fixed part", 1, 144, 35, 100, 0, 0, 144, VMBUS_FAULT_BAD_REQUEST},
		{"data one too long", 1, 144, 36, 101, 0, 0, 144, VMBUS_FAULT_BAD_REQUEST},
		{"data offset at the end", 1, 144, 136, 1, 0, 0, 144, VMBUS_FAULT_BAD_REQUEST},
		{"data offset wraps", 1, 144, 0xfffffff8, 100, 0, 0, 144, VMBUS_FAULT_BAD_REQUEST},
		{"data length wraps", 1, 144, 36, 0xffffffff, 0, 0, 144, VMBUS_FAULT_BAD_REQUEST},
		{"information in the fixed part", 1, 160, 52, 100, 35, 16, 160, VMBUS_FAULT_BAD_REQUEST},
		{"information past the end", 1, 160, 52, 100, 137, 16, 160, VMBUS_FAULT_BAD_REQUEST},
		{"information wraps", 1, 160, 52, 100, 0xfffffff8, 16, 160, VMBUS_FAULT_BAD_REQUEST},
		{"information too long", 1, 600, 352, 100, 36, 257, 600, VMBUS_FAULT_BAD_REQUEST},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct vsp_rndis_packet h = {
			.header = {rows[i].type, rows[i].length}, .data_offset = rows[i].data_offset,
			.data_length = rows[i].data_length, .info_offset = rows[i].info_offset,
			.info_length = rows[i].info_length};
		struct vsp_rndis_data data;

		cr_expect_eq(vsp_rndis_data_header(&h, rows[i].available, &data), rows[i].fault, "%s",
			     rows[i].name);
		if (rows[i].fault)
			continue;
		cr_expect_eq(data.data_offset, rows[i].data_offset + 8, "%s", rows[i].name);
		cr_expect_eq(data.length, rows[i].length);
	}
}

Test(rndis, information_entries_are_checked_at_every_edge)
{
	static const struct {
		const char *name;
		uint32_t words[8], len;
		int fault;
		bool checksum;
	} rows[] = {
		{"none", {0}, 0, 0, false},
		{"checksum", {16, 0, 12, 7}, 16, 0, true},
		{"unknown skipped", {20, 77, 12, 1, 2, 16, 0, 12}, 20, 0, false},
		{"unknown empty, checksum", {12, 77, 12, 16, 0, 12, 7}, 28, 0, true},
		{"internal name space", {16, 0x80000000, 12, 7}, 16, 0, false},
		{"value further back", {20, 0, 16, 1, 7}, 20, 0, true},
		{"size 0", {0, 0, 12, 7}, 16, VMBUS_FAULT_BAD_REQUEST, false},
		{"size below the header", {8, 0, 12, 7}, 16, VMBUS_FAULT_BAD_REQUEST, false},
		{"size odd", {15, 0, 12, 7}, 16, VMBUS_FAULT_BAD_REQUEST, false},
		{"size past the area", {20, 0, 12, 7}, 16, VMBUS_FAULT_BAD_REQUEST, false},
		{"size wraps", {0xfffffffc, 0, 12, 7}, 16, VMBUS_FAULT_BAD_REQUEST, false},
		{"offset into the header", {16, 0, 8, 7}, 16, VMBUS_FAULT_BAD_REQUEST, false},
		{"offset past the entry", {16, 0, 20, 7}, 16, VMBUS_FAULT_BAD_REQUEST, false},
		{"offset wraps", {16, 0, 0xffffffff, 7}, 16, VMBUS_FAULT_BAD_REQUEST, false},
		{"value cut", {16, 0, 16, 7}, 16, VMBUS_FAULT_BAD_REQUEST, false},
		{"header cut", {16, 0, 12, 7}, 11, VMBUS_FAULT_BAD_REQUEST, false},
		{"rubbish behind", {16, 0, 12, 7, 1}, 20, VMBUS_FAULT_BAD_REQUEST, true},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t *exact = malloc(rows[i].len + 1u);
		struct vsp_rndis_data data = {0};

		memcpy(exact, rows[i].words, rows[i].len);
		cr_expect_eq(vsp_rndis_data_infos(vmbus_cursor_of(exact, rows[i].len), &data),
			     rows[i].fault, "%s", rows[i].name);
		cr_expect_eq(data.has_checksum, rows[i].checksum, "%s", rows[i].name);
		if (data.has_checksum)
			cr_expect_eq(data.checksum, 7);
		free(exact);
	}
}

Test(rndis, what_is_written_for_the_guest_parses_and_has_entries_of_16)
{
	for (unsigned int mask = 0; mask < 16; mask++) {
		const struct vsp_rndis_received r = {
			.data_offset = 126, .data_length = 60,
			.checksum = mask & 1 ? VSP_CSUM_RX_TCP_GOOD : 0,
			.has_vlan = mask & 2, .vlan = 0x2a5, .hash = 0xdeadbeef,
			.hash_info = mask & 4 ? VSP_RSS_TOEPLITZ | VSP_RSS_TCP_IPV4 : 0,
			.piece = mask & 8 ? VSP_PIECE | VSP_PIECE_LAST : 0};
		uint8_t out[VSP_RNDIS_RECEIVED_MAX];
		struct vsp_rndis_packet h;
		struct vsp_rndis_data data;
		uint32_t len = vsp_rndis_received_write(&r, out);

		cr_assert_leq(len, sizeof(out));
		memcpy(&h, out, sizeof(h));
		cr_assert_eq(vsp_rndis_data_header(&h, 186, &data), 0);
		cr_expect_eq(data.data_offset, 126);
		cr_expect_eq(data.info_length, 16u * ((unsigned int)__builtin_popcount(mask) + (mask >> 2 & 1)));
		cr_expect_eq(len, 44 + data.info_length);
		cr_expect_eq(h.info_offset, mask ? 36 : 0); /* a place for none is an error to Linux */
		cr_assert_eq(vsp_rndis_data_infos(vmbus_cursor_of(out + 44, data.info_length), &data), 0);
		cr_expect_eq(data.has_checksum, mask & 1);
		cr_expect_eq(data.has_vlan, mask >> 1 & 1);
		cr_expect_eq(data.checksum, r.checksum);
		cr_expect_eq(data.vlan, mask & 2 ? 0x2a5 : 0);
		cr_expect_eq(data.has_hash, mask >> 2 & 1, "FreeBSD and DPDK want both");
		cr_expect_eq(data.hash, mask & 4 ? 0xdeadbeef : 0);
		cr_expect_eq(data.hash_info, r.hash_info);
		if (mask & 8)
			cr_expect_eq(memcmp(out + len - 4, "\x01\x05\x00\x00", 4), 0);
		for (uint32_t at = 44; at < len; at += 16)
			cr_expect_eq(memcmp(out + at, "\x10\x00\x00\x00", 4), 0);
	}
}

Test(rndis, each_control_message_cut_short_or_too_long_has_no_effect)
{
	static const struct {
		const char *name;
		uint32_t type, size;
	} rows[] = {{"INITIALIZE", 2, 24}, {"HALT", 3, 12}, {"QUERY", 4, 28},    {"SET", 5, 28},
		    {"RESET", 6, 12},      {"SET_EX", 9, 28}, {"KEEPALIVE", 8, 12}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (uint32_t len = 0; len < rows[i].size; len++) {
			uint32_t words[7] = {rows[i].type, len, 1, 1, 0, 0, 0};
			uint8_t *exact = malloc(len + 1u);
			struct vsp_rndis_reply reply;
			struct vsp_adapter a, before;

			adapter_start(&a);
			before = a;
			memcpy(exact, words, len);
			cr_expect_eq(vsp_rndis_control(&a, exact, len, &reply), VMBUS_FAULT_TRUNCATED,
				     "%s, %u bytes", rows[i].name, len);
			cr_expect_eq(reply.len, 0);
			cr_expect_eq(memcmp(&a, &before, sizeof(a)), 0);
			cr_expect_eq(vsp_rndis_check(exact, len), VMBUS_FAULT_TRUNCATED);
			words[1] = rows[i].size + 1; /* says more than there is */
			if (len >= 8)
				cr_expect_eq(vsp_rndis_control(&a, words, rows[i].size, &reply),
					     VMBUS_FAULT_BAD_REQUEST, "%s", rows[i].name);
			free(exact);
		}
	}
}

Test(rndis, replies_carry_the_request_id_and_guests_limits)
{
	static const struct {
		const char *name;
		uint32_t words[7], reply_type, reply_len, status, status_at;
	} rows[] = {
		{"INITIALIZE", {2, 28, 42, 1, 0, 0x4000}, 0x80000002, 52, 0, 12},
		{"INITIALIZE of another major", {2, 28, 42, 2, 0, 0x4000}, 0x80000002, 52,
		 VSP_RNDIS_BAD_VERSION, 12},
		{"QUERY", {4, 28, 42, 0x00010106, 0, 0}, 0x80000004, 28, 0, 12},
		{"QUERY of nothing known", {4, 28, 42, 0x12345678, 0, 0}, 0x80000004, 24,
		 VSP_RNDIS_NOT_SUPPORTED, 12},
		{"SET of nothing known", {5, 28, 42, 0x12345678, 0, 0}, 0x80000005, 16,
		 VSP_RNDIS_NOT_SUPPORTED, 12},
		{"SET with its value past the end", {5, 28, 42, 0x0001010e, 4, 20}, 0x80000005, 16,
		 VSP_RNDIS_INVALID_DATA, 12},
		{"SET with its value in the fixed part", {5, 28, 42, 0x0001010e, 4, 16}, 0x80000005, 16,
		 VSP_RNDIS_INVALID_DATA, 12},
		{"SET with its value wrapped", {5, 28, 42, 0x0001010e, 0xffffffff, 20}, 0x80000005, 16,
		 VSP_RNDIS_INVALID_DATA, 12},
		{"QUERY with its value past the end", {4, 28, 42, 0x00010106, 4, 0xfffffff8}, 0x80000004,
		 24, VSP_RNDIS_INVALID_DATA, 12},
		{"SET_EX", {9, 28, 42, 0x0001010e, 0, 0}, 0x80000009, 24, VSP_RNDIS_NOT_SUPPORTED, 12},
		{"KEEPALIVE", {8, 12, 42}, 0x80000008, 16, 0, 12},
		{"RESET", {6, 12, 42}, 0x80000006, 16, 0, 8},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vsp_rndis_reply reply;
		struct vsp_adapter a;
		uint32_t words[5];

		adapter_start(&a);
		(void)vsp_rndis_control(&a, rows[i].words, sizeof(rows[i].words), &reply);
		memcpy(words, reply.bytes, sizeof(words));
		cr_expect_eq(words[0], rows[i].reply_type, "%s", rows[i].name);
		cr_expect_eq(reply.len, rows[i].reply_len, "%s: %u", rows[i].name, reply.len);
		cr_expect_eq(words[1], reply.len);
		cr_expect_eq(words[rows[i].status_at / 4], rows[i].status, "%s", rows[i].name);
		if (rows[i].reply_type != 0x80000006)
			cr_expect_eq(words[2], 42);
	}
}

Test(rndis, answers_to_initialize_and_query_are_whole)
{
	static const uint32_t initialize[6] = {2, 24, 42, 1, 0, 0x4000}, query[7] = {4, 28, 42, 0x00010106};
	static const uint32_t initialized[13] = {0x80000002, 52, 42, 0, 1, 0, 1, 0, 8, 0xefffffff, 3, 0, 0};
	static const uint32_t queried[7] = {0x80000004, 28, 42, 0, 4, 16, 1500};
	static const uint32_t unknown[7] = {4, 28, 42, 0x12345678};
	static const uint32_t refused[6] = {0x80000004, 24, 42, 0xc00000bb, 0, 16};
	static const uint32_t set_ex[7] = {9, 28, 42, 0x0001010e}, not_set[6] = {0x80000009, 24, 42, 0xc00000bb, 0, 16};
	const struct {
		const uint32_t *request, *reply;
		uint32_t request_len, reply_len;
	} rows[] = {
		{initialize, initialized, sizeof(initialize), sizeof(initialized)},
		{query, queried, sizeof(query), sizeof(queried)},
		{unknown, refused, sizeof(unknown), sizeof(refused)},
		{set_ex, not_set, sizeof(set_ex), sizeof(not_set)},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vsp_rndis_reply reply;
		struct vsp_adapter a;

		adapter_start(&a);
		cr_expect_eq(vsp_rndis_control(&a, rows[i].request, rows[i].request_len, &reply), 0);
		cr_expect_eq(reply.len, rows[i].reply_len, "row %zu: %u", i, reply.len);
		cr_expect_eq(memcmp(reply.bytes, rows[i].reply, rows[i].reply_len), 0, "row %zu", i);
	}
}

Test(rndis, nothing_but_initialize_and_halt_before_initialize)
{
	for (uint32_t type = 0; type < 12; type++) {
		const uint32_t words[7] = {type, 28, 1, 1, 0, 0, 0};
		struct vsp_rndis_reply reply;
		struct vsp_adapter a;
		int fault, want;

		adapter_start(&a);
		a.initialized = false;
		fault = vsp_rndis_control(&a, words, sizeof(words), &reply);
		want = type == 2 || type == 3				  ? VMBUS_FAULT_NONE
		       : type == 0 || type == 1 || type == 7 || type > 9 ? VMBUS_FAULT_UNKNOWN_TYPE
									 : VMBUS_FAULT_WRONG_STATE;
		cr_expect_eq(fault, want, "type %u: %d", type, fault);
		cr_expect_eq(a.initialized, type == 2);
	}
}

Test(rndis, halt_and_a_second_initialize_forget_what_was_set)
{
	static const uint32_t messages[][6] = {{3, 12, 1}, {2, 24, 1, 1, 0, 0x4000}, {2, 24, 1, 2, 0, 0x4000}};
	struct vsp_rndis_reply reply;
	struct vsp_adapter a;

	for (uint32_t i = 0; i < 3; i++) {
		bool kept = i == 2; /* it is refused */

		adapter_start(&a);
		a.rsc_allowed = a.offloads.rsc4 = a.offloads.rsc6 = true;
		a.filter = 13;
		a.multicast_count = 3;
		a.rss.on = true;
		a.offloads.tcp4_tx = false;
		a.mac[5] = 9;
		cr_expect_eq(vsp_rndis_control(&a, messages[i], sizeof(messages[i]), &reply), 0);
		cr_expect_eq(reply.len, i ? 52 : 0);
		cr_expect_eq(a.initialized, i != 0);
		cr_expect_eq(a.filter, kept ? 13 : 0);
		cr_expect_eq(a.multicast_count, kept ? 3 : 0);
		cr_expect_eq(a.rss.on, kept);
		cr_expect_eq(a.offloads.tcp4_tx, !kept, "all that is possible");
		cr_expect_eq(a.offloads.rsc4, kept, "but what a guest has to ask for");
		cr_expect_eq(a.offloads.rsc6, kept);
		cr_expect_eq(a.mac[5], 9, "its address is its address");
		cr_expect_eq(a.changed, kept ? 0 : VSP_CHANGED_RESET);
	}
}

Test(rndis, indications_are_as_linux_reads_them)
{
	struct vsp_rndis_reply reply;
	const uint32_t speed = 1000;
	uint32_t words[6];

	vsp_rndis_indicate(&reply, VSP_RNDIS_MEDIA_CONNECT, NULL, 0);
	memcpy(words, reply.bytes, 20);
	cr_expect_eq(reply.len, 20);
	cr_expect(words[0] == 7 && words[1] == 20 && words[2] == 0x4001000b && words[3] == 0);
	cr_expect_eq(words[4], 0);
	vsp_rndis_indicate(&reply, VSP_RNDIS_LINK_SPEED_CHANGE, &speed, 4);
	memcpy(words, reply.bytes, 24);
	cr_expect_eq(reply.len, 24);
	cr_expect(words[0] == 7 && words[1] == 24 && words[2] == 0x40010013 && words[3] == 4);
	cr_expect_eq(words[4], 12);
	cr_expect_eq(words[5], 1000);
}
