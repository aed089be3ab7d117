/* SPDX-License-Identifier: MIT */
/* The guest's channels: offers, page lists, open and close, signals. */
#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>

#include "guest-harness.h"

/* -- Offers --------------------------------------------------------------- */

Test(guest, takes_offers_while_it_has_slots)
{
	static const uint32_t bad[] = {0, 2048, 0xffffffff};

	connect_at(VMBUS_V5_3, 0);
	for (size_t i = 0; i < 3; i++)
		cr_expect_eq(say_offer(bad[i]), VMBUS_FAULT_BAD_CHANNEL);
	for (uint32_t id = 2047; id > 2047 - CHANNELS; id--)
		cr_expect_eq(offered(id)->offer.connection_id, 0x2000 + id);
	cr_expect_eq(say_offer(2047), VMBUS_FAULT_WRONG_STATE);
	cr_expect_eq(say_offer(5), 0);
	cr_expect_eq(guest.ignored_offers, 1);
	cr_expect_eq(calls.offered, CHANNELS);
	cr_expect_eq(say_channel(VMBUS_MSG_ALLOFFERS_DELIVERED, 0), 0);
	cr_expect_eq(calls.all_offered, 1);
}

Test(guest, short_offers_are_for_0_13)
{
	struct vmbus_msg_offer m = {.header.type = VMBUS_MSG_OFFER, .channel_id = 7,
				    .connection_id = 0xdead};

	connect_at(VMBUS_V1_1, 0);
	say(&m, VMBUS_OFFER_SIZE_V0, VMBUS_FAULT_TRUNCATED);
	connect_at(VMBUS_V0_13, 0);
	say(&m, VMBUS_OFFER_SIZE_V0, 0);
	cr_assert_eq(vmbus_guest_find(&guest, 7)->offer.connection_id, 0);
}

Test(guest, lets_go_of_a_rescinded_channel_and_takes_it_again)
{
	struct vmbus_guest_channel *channel;

	connect_at(VMBUS_V5_3, 0);
	channel = opened(3);
	cr_assert_eq(vmbus_guest_release(channel), -EINVAL);
	cr_assert_eq(say_channel(VMBUS_MSG_RESCIND_OFFER, 3), 0);
	cr_assert_eq(calls.rescinded, 1);
	cr_assert_eq(say_channel(VMBUS_MSG_RESCIND_OFFER, 3), VMBUS_FAULT_WRONG_STATE);
	cr_assert_eq(say_channel(VMBUS_MSG_RESCIND_OFFER, 4), VMBUS_FAULT_BAD_CHANNEL);
	cr_assert_eq(open_now(channel, 9), -EINVAL);
	cr_assert_eq(vmbus_guest_close(channel), 0); /* Linux closes even so, once */
	cr_assert_eq(vmbus_guest_close(channel), -EINVAL);
	cr_assert_eq(vmbus_guest_release(channel), 0);
	cr_assert_eq(posts[post_count - 1].m.header.type, VMBUS_MSG_RELID_RELEASED);
	cr_assert_eq(posts[post_count - 1].m.channel.channel_id, 3);
	cr_assert_null(vmbus_guest_find(&guest, 3));
	cr_assert_eq(offered(3), channel);
}

/* -- GPADLs --------------------------------------------------------------- */

#define PFNS_MAX 8190u
static uint64_t pfns[PFNS_MAX];

/* Puts the range array of @gpadl together again from what was posted; returns its words. */
static uint32_t gpadl_collect(uint32_t gpadl, uint64_t *words)
{
	uint32_t count = 0, total = 0;

	for (uint32_t i = 0; i < post_count; i++) {
		const struct posted *p = &posts[i];
		uint32_t head = 0;

		if (p->m.header.type == VMBUS_MSG_GPADL_HEADER && p->m.gpadl.gpadl == gpadl) {
			cr_assert_eq(count, 0);
			cr_assert_eq(p->m.gpadl.range_count, 1);
			total = p->m.gpadl.range_buflen / 8u;
			head = sizeof(p->m.gpadl);
		} else if (p->m.header.type == VMBUS_MSG_GPADL_BODY && p->m.body.gpadl == gpadl) {
			head = sizeof(p->m.body);
		}
		if (!head)
			continue;
		cr_assert_eq((p->len - head) % 8, 0);
		memcpy(words + count, p->m.bytes + head, p->len - head);
		count += (p->len - head) / 8;
	}
	cr_assert_eq(count, total);
	return count;
}

static void pfns_fill(void)
{
	for (uint32_t i = 0; i < PFNS_MAX; i++)
		pfns[i] = 0x100000 + 3ull * i;
}

Test(guest, cuts_page_lists_as_linux_does)
{
	static const struct {
		uint32_t offset, len, pages, messages;
	} rows[] = {
		{0, 1, 1, 1},
		{4095, 2, 2, 1},
		{0, 26 * 4096, 26, 1},
		{0, 27 * 4096, 27, 2},
		{1, 54 * 4096, 55, 3},
		{0, 54 * 4096, 54, 2},
		{0, 8190u * 4096, 8190, 1 + (8190 - 26 + 27) / 28},
		{100, 8190u * 4096 - 100, 8190, 1 + (8190 - 26 + 27) / 28},
	};
	struct vmbus_guest_channel *channel;
	static uint64_t words[PFNS_MAX + 1];
	uint32_t gpadl;

	pfns_fill();
	connect_at(VMBUS_V5_3, 0);
	channel = offered(6);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		post_count = 0;
		cr_assert_eq(vmbus_guest_gpadl_create(channel, pfns, rows[i].offset, rows[i].len,
						      &gpadl), 0);
		cr_expect_eq(post_count, rows[i].messages, "%u pages", rows[i].pages);
		cr_expect_eq(gpadl, 0xe1e10 + i);
		cr_expect_eq(posts[0].m.gpadl.channel_id, 6u);
		cr_expect_eq(gpadl_collect(gpadl, words), rows[i].pages + 1);
		cr_expect_eq(words[0], (uint64_t)rows[i].offset << 32 | rows[i].len);
		cr_expect_eq(memcmp(words + 1, pfns, 8ull * rows[i].pages), 0);
	}
	cr_expect_eq(vmbus_guest_gpadl_create(channel, pfns, 1, 8190u * 4096, &gpadl), -ENOSPC);
	cr_expect_eq(vmbus_guest_gpadl_create(channel, pfns, 4096, 1, &gpadl), -EINVAL);
	cr_expect_eq(vmbus_guest_gpadl_create(channel, pfns, 0, 0, &gpadl), -EINVAL);
}

Test(guest, pushed_back_lists_take_turns)
{
	struct vmbus_guest_channel *channel;
	uint32_t gpadls[VMBUS_GUEST_GPADLS + 1], turns = 0, last = 0;
	static uint64_t words[PFNS_MAX + 1];

	pfns_fill();
	connect_at(VMBUS_V5_3, 0);
	channel = offered(1);
	post_status = HV_STATUS_INSUFFICIENT_BUFFERS;
	for (uint32_t i = 0; i < VMBUS_GUEST_GPADLS; i++)
		cr_assert_eq(vmbus_guest_gpadl_create(channel, pfns + i, 0, 60 * 4096,
						      &gpadls[i]), 0);
	cr_assert_eq(vmbus_guest_gpadl_create(channel, pfns, 0, 4096, &gpadls[8]), -ENOSPC);
	cr_assert_eq(vmbus_guest_gpadl_teardown(channel, gpadls[2]), -EINVAL);
	cr_assert_eq(open_now(channel, gpadls[2]), -EINVAL);
	for (int i = 0; i < 100 && vmbus_guest_flush(&guest) == -EAGAIN; i++)
		accepted = 3;
	cr_assert_eq(post_count, 3 * VMBUS_GUEST_GPADLS);
	for (uint32_t i = 0; i < post_count; i++) {
		uint32_t gpadl = posts[i].m.gpadl.header.type == VMBUS_MSG_GPADL_HEADER ?
				 posts[i].m.gpadl.gpadl : posts[i].m.body.gpadl;

		turns += gpadl != last;
		last = gpadl;
	}
	cr_assert_gt(turns, VMBUS_GUEST_GPADLS);
	for (uint32_t i = 0; i < VMBUS_GUEST_GPADLS; i++) {
		cr_expect_eq(gpadl_collect(gpadls[i], words), 61);
		cr_expect_eq(memcmp(words + 1, pfns + i, 60 * 8), 0);
	}
}

Test(guest, a_list_refused_half_way_is_not_finished)
{
	struct vmbus_guest_channel *channel;
	uint32_t gpadl;

	pfns_fill();
	connect_at(VMBUS_V5_3, 0);
	channel = offered(1);
	post_status = HV_STATUS_INSUFFICIENT_MEMORY;
	accepted = 1;
	cr_assert_eq(vmbus_guest_gpadl_create(channel, pfns, 0, 200 * 4096, &gpadl), 0);
	cr_assert_eq(post_count, 1);
	cr_assert_eq(say_three(VMBUS_MSG_GPADL_CREATED, 1, gpadl, 0), VMBUS_FAULT_BAD_GPADL);
	cr_assert_eq(say_three(VMBUS_MSG_GPADL_CREATED, 9, gpadl, 0), VMBUS_FAULT_BAD_CHANNEL);
	cr_assert_eq(calls.created, 0);
	cr_assert_eq(say_three(VMBUS_MSG_GPADL_CREATED, 1, gpadl, 5), 0);
	cr_assert(calls.created == 1 && calls.gpadl == gpadl && calls.status == 5);
	post_status = 0;
	cr_assert_eq(vmbus_guest_flush(&guest), 0);
	cr_assert_eq(post_count, 1);

	/* refused by the hypervisor */
	post_status = HV_STATUS_INVALID_PARAMETER;
	accepted = 2;
	cr_assert_eq(vmbus_guest_gpadl_create(channel, pfns, 0, 200 * 4096, &gpadl), -EIO);
	post_status = 0;
	cr_assert_eq(vmbus_guest_flush(&guest), 0);
	cr_assert_eq(post_count, 3);
}

Test(guest, tears_down_and_is_told)
{
	struct vmbus_guest_channel *channel;
	uint32_t m[3] = {VMBUS_MSG_GPADL_TORNDOWN, 0, 0xe1e10}, gpadl;

	connect_at(VMBUS_V5_3, 0);
	channel = offered(1);
	cr_assert_eq(vmbus_guest_gpadl_create(channel, pfns, 0, 4096, &gpadl), 0);
	cr_assert_eq(vmbus_guest_gpadl_teardown(channel, gpadl), 0);
	cr_assert_eq(posts[1].m.gpadl.header.type, VMBUS_MSG_GPADL_TEARDOWN);
	cr_assert_eq(posts[1].m.gpadl.channel_id, 1);
	cr_assert_eq(posts[1].m.gpadl.gpadl, gpadl);
	say(m, sizeof(m), 0);
	cr_assert(calls.torndown == 1 && calls.gpadl == gpadl);
}

/* -- Open, close, modify -------------------------------------------------- */

Test(guest, opens_over_rings_that_it_cleared)
{
	static const struct {
		uint32_t version, features, len;
	} rows[] = {
		{VMBUS_V0_13, 0, 148}, {VMBUS_V5_3, 0, 148}, {VMBUS_V6_0, 0, 148},
		{VMBUS_V6_0, VMBUS_FEATURE_CLIENT_ID, 148},
		{VMBUS_V6_0, VMBUS_FEATURE_GUEST_SIGNALS, 156},
		{VMBUS_V6_0, VMBUS_FEATURE_INTERRUPT_REDIRECT, 156},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vmbus_msg_open *m = &posts[0].m.open;
		struct vmbus_guest_channel *channel;

		connect_at(rows[i].version, rows[i].features);
		channel = offered(8);
		cr_assert_eq(open_now(channel, 0x77), 0);
		cr_expect_eq(posts[0].len, rows[i].len);
		cr_expect(m->channel_id == 8 && m->open_id == 8 && m->ring_gpadl == 0x77);
		cr_expect(m->target_vp == 3 && m->downstream_page_offset == 4);
		if (rows[i].len == 156)
			cr_expect(m->connection_id == 0x2008 && m->event_flag == 8 && !m->flags);
		for (int k = 0; k < 2; k++)
			cr_expect(!controls[k].in && !controls[k].out &&
				  controls[k].feature_bits == 1);
		cr_expect_eq(say_three(VMBUS_MSG_OPEN_RESULT, 8, 9, 0), VMBUS_FAULT_BAD_CHANNEL);
		cr_expect_eq(say_three(VMBUS_MSG_OPEN_RESULT, 9, 9, 0), VMBUS_FAULT_BAD_CHANNEL);
		cr_expect_eq(say_three(VMBUS_MSG_OPEN_RESULT, 8, 8, 0), 0);
		cr_expect_eq(say_three(VMBUS_MSG_OPEN_RESULT, 8, 8, 0), VMBUS_FAULT_WRONG_STATE);
		cr_expect_eq(calls.opened, i + 1);
		cr_expect_eq(open_now(channel, 0x77), -EINVAL);
	}
}

Test(guest, may_open_again_after_a_refusal_and_after_a_close)
{
	struct vmbus_guest_channel *channel;

	connect_at(VMBUS_V5_3, 0);
	channel = offered(1);
	cr_assert_eq(vmbus_guest_close(channel), -EINVAL);
	cr_assert_eq(open_now(channel, 0), -EINVAL);
	cr_assert_eq(open_now(channel, 9), 0);
	cr_assert_eq(vmbus_guest_close(channel), -EINVAL);
	cr_assert_eq(say_three(VMBUS_MSG_OPEN_RESULT, 1, 1, 0x8000ffff), 0);
	cr_assert_eq(calls.status, 0x8000ffff);
	cr_assert_eq(channel->gpadl, 0);
	cr_assert_eq(open_now(channel, 9), 0);
	cr_assert_eq(say_three(VMBUS_MSG_OPEN_RESULT, 1, 1, 0), 0);
	cr_assert_eq(vmbus_guest_close(channel), 0);
	cr_assert_eq(posts[post_count - 1].m.header.type, VMBUS_MSG_CLOSE_CHANNEL);
	cr_assert_eq(open_now(channel, 9), 0);

	/* the hypervisor refuses OPEN: nothing has changed */
	cr_assert_eq(say_three(VMBUS_MSG_OPEN_RESULT, 1, 1, 7), 0);
	post_status = HV_STATUS_INVALID_PARAMETER;
	cr_assert_eq(open_now(channel, 9), -EIO);
	cr_assert(channel->state == VMBUS_GUEST_CHANNEL_OFFERED && channel->gpadl == 0);
}

Test(guest, retargets_from_4_1_on_and_is_answered_from_5_3_on)
{
	static const struct {
		uint32_t version;
		int modify, response;
	} rows[] = {
		{VMBUS_V4_0, -EINVAL, VMBUS_FAULT_WRONG_VERSION},
		{VMBUS_V4_1, 0, VMBUS_FAULT_WRONG_VERSION},
		{VMBUS_V5_2, 0, VMBUS_FAULT_WRONG_VERSION},
		{VMBUS_V5_3, 0, 0},
		{VMBUS_V6_0, 0, 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t m[4] = {VMBUS_MSG_MODIFY_CHANNEL_RESPONSE, 0, 2, 0};
		struct vmbus_guest_channel *channel;

		connect_at(rows[i].version, 0);
		channel = opened(2);
		cr_expect_eq(vmbus_guest_modify(channel, 1), rows[i].modify);
		if (!rows[i].modify)
			cr_expect_eq(posts[post_count - 1].m.modify.target_vp, 1u);
		cr_expect_eq(vmbus_guest_message(&guest, m, sizeof(m)), rows[i].response);
		m[2] = 3;
		if (!rows[i].response)
			cr_expect_eq(vmbus_guest_message(&guest, m, sizeof(m)),
				     VMBUS_FAULT_BAD_CHANNEL);
	}
	cr_expect_eq(calls.modified, 2);
}

Test(guest, keeps_one_message_when_pushed_back)
{
	struct vmbus_guest_channel *channel;

	connect_at(VMBUS_V5_3, 0);
	channel = offered(1);
	post_status = HV_STATUS_INSUFFICIENT_BUFFERS;
	cr_assert_eq(open_now(channel, 9), 0);
	cr_assert_eq(channel->state, VMBUS_GUEST_CHANNEL_OPENING);
	cr_assert_eq(vmbus_guest_request_offers(&guest), -EAGAIN);
	cr_assert_eq(vmbus_guest_flush(&guest), -EAGAIN);
	cr_assert_eq(post_count, 0);
	post_status = 0;
	cr_assert_eq(vmbus_guest_flush(&guest), 0);
	cr_assert_eq(post_count, 1);
	cr_assert_eq(posts[0].m.open.ring_gpadl, 9);
	post_status = HV_STATUS_INSUFFICIENT_BUFFERS;
	cr_assert_eq(vmbus_guest_request_offers(&guest), 0);
	post_status = HV_STATUS_INVALID_PARAMETER;
	cr_assert_eq(vmbus_guest_flush(&guest), -EIO);
	cr_assert_eq(vmbus_guest_flush(&guest), 0); /* dropped */
}

/* -- Signals -------------------------------------------------------------- */

static const struct vmbus_packet small_packet = {
	.type = VMBUS_PACKET_INBAND, .payload = "8 bytes", .payload_len = 8,
};

Test(guest, signals_the_way_of_its_version)
{
	static const struct {
		uint32_t version, connection;
		uint64_t bits;
	} rows[] = {
		{VMBUS_V0_13, VMBUS_CONN_EVENT, 1ull << (130 % 64)},
		{VMBUS_V1_1, 0x2000 + 130, 0},
		{VMBUS_V5_3, 0x2000 + 130, 0},
	};
	struct vmbus_packet packet = small_packet;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vmbus_guest_channel *channel;

		memset(interrupt_page, 0, sizeof(interrupt_page));
		connect_at(rows[i].version, 0);
		channel = opened(130);
		vmbus_guest_signal(channel);
		cr_expect_eq(channel->signals, 0u); /* nothing there */
		cr_assert_eq(vmbus_tx_put(&channel->tx, &packet, 0), 0);
		vmbus_guest_signal(channel);
		cr_expect_eq(channel->signals, 1u);
		cr_expect_eq(signalled, rows[i].connection);
		cr_expect_eq(interrupt_page[256 + 130 / 64], rows[i].bits);
	}
}

Test(guest, tells_a_host_that_waits_for_space)
{
	struct vmbus_packet packet = small_packet;
	struct vmbus_guest_channel *channel;
	struct vmbus_ring_memory down = ring(1);
	struct vmbus_tx host;
	uint64_t buf[16];

	connect_at(VMBUS_V5_3, 0);
	channel = opened(1);
	cr_assert_eq(vmbus_tx_init(&host, &down), 0);
	while (vmbus_tx_put(&host, &packet, 0) == 0)
		;
	cr_assert_not(vmbus_tx_wait_space(&host, 32));
	while (vmbus_rx_next(&channel->rx, buf, sizeof(buf), &packet) == 0)
		;
	vmbus_guest_commit(channel);
	cr_assert_eq(signals, 1);
	cr_assert_eq(channel->signals, 1);
}
