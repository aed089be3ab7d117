/* SPDX-License-Identifier: MIT */
/* GPADLs: assembled from pieces in any order, checked, counted, and not let go of before
 * the last user. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "mock.h"
#include "server.h"

static struct mock m;
static struct mock_device device, other;

/* Two channels, 1 and 2, offered. */
static void start(void)
{
	memset(&device, 0, sizeof(device));
	memset(&other, 0, sizeof(other));
	if (!m.config.ops)
		mock_config(&m);
	mock_start(&m);
	cr_assert_eq(mock_offer(&m, &device, 1, NULL), 0);
	cr_assert_eq(mock_offer(&m, &other, 2, NULL), 0);
	mock_connect(&m, VMBUS_V5_3);
	cr_assert_eq(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS), 0);
	m.inbox_read = m.inbox_count;
}

struct pieces {
	uint32_t channel_id, handle;
	uint16_t buflen, count;
	uint64_t words[8200];
};

static int header_send(const struct pieces *p, uint32_t n)
{
	struct {
		struct vmbus_msg_gpadl_header h;
		uint64_t words[VMBUS_GPADL_HEADER_WORDS];
	} VMBUS_PACKED msg = {.h = {.channel_id = p->channel_id,
				    .gpadl = p->handle,
				    .range_buflen = p->buflen,
				    .range_count = p->count}};

	memcpy(msg.words, p->words, n * 8u);
	return mock_send(&m, VMBUS_MSG_GPADL_HEADER, &msg, sizeof(msg.h) + n * 8u);
}

static int body_send(const struct pieces *p, uint32_t from, uint32_t n)
{
	struct {
		struct vmbus_msg_gpadl_body b;
		uint64_t words[VMBUS_GPADL_BODY_WORDS];
	} VMBUS_PACKED msg = {.b = {.gpadl = p->handle}};

	memcpy(msg.words, p->words + from, n * 8u);
	return mock_send(&m, VMBUS_MSG_GPADL_BODY, &msg, sizeof(msg.b) + n * 8u);
}

/* One range of @pages from page 100 on, repeating. */
static void one_range(struct pieces *p, uint32_t channel_id, uint32_t handle, uint32_t pages)
{
	p->channel_id = channel_id;
	p->handle = handle;
	p->buflen = (uint16_t)(8 * (pages + 1));
	p->count = 1;
	p->words[0] = (uint64_t)pages * VMBUS_PAGE_SIZE;
	for (uint32_t i = 0; i < pages; i++)
		p->words[1 + i] = 100 + i % 1000;
}

static uint32_t created(void)
{
	return mock_expect(&m, VMBUS_MSG_GPADL_CREATED)->u.created.status;
}

Test(gpadl, any_size_up_to_the_largest)
{
	static const uint32_t sizes[] = {1, 26, 27, 28, 54, 55, 1000, 8190};
	static struct pieces p;

	start();
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint32_t words = sizes[i] + 1, done = words < 27 ? words : 27;
		const struct vmbus_gpadl *gpadl;

		one_range(&p, 1, 7, sizes[i]);
		cr_expect_eq(header_send(&p, done), 0);
		while (done < words) {
			uint32_t n = words - done < 28 ? words - done : 28;

			mock_expect_none(&m);
			cr_expect_eq(body_send(&p, done, n), 0);
			done += n;
		}
		cr_expect_eq(created(), 0, "%u pages", sizes[i]);
		gpadl = vmbus_gpadl_find(device.channel, 7);
		cr_assert_not_null(gpadl);
		cr_expect_eq(vmbus_gpadl_ranges(gpadl), 1);
		cr_expect_eq(vmbus_gpadl_range(gpadl, 0).len, sizes[i] * 4096);
		cr_expect_eq(memcmp(vmbus_gpadl_range(gpadl, 0).pfns, p.words + 1, sizes[i] * 8),
			     0);
		cr_expect_null(vmbus_gpadl_range(gpadl, 1).pfns);
		cr_expect_eq(m.server->gpadl_pages, sizes[i]);
		cr_expect_eq(mock_teardown(&m, 1, 7), 0);
		mock_expect(&m, VMBUS_MSG_GPADL_TORNDOWN);
	}
	mock_fini(&m);
}

Test(gpadl, pieces_of_several_interleave_in_any_order)
{
	enum { LISTS = 6, PAGES = 100 };
	static struct pieces p[LISTS];
	uint32_t done[LISTS] = {0}, left = LISTS;

	srand(1);
	for (unsigned int round = 0; round < 50; round++) {
		start();
		for (uint32_t i = 0; i < LISTS; i++) {
			/* handles of one bucket, on both channels */
			one_range(&p[i], 1 + i % 2, 5 + GPADL_BUCKETS * i, PAGES - i);
			done[i] = 0;
		}
		for (left = LISTS; left > 0;) {
			uint32_t i = (uint32_t)rand() % LISTS, words = PAGES - i + 1;
			uint32_t n = 1 + (uint32_t)rand() % 27;

			if (done[i] == words)
				continue;
			n = n < words - done[i] ? n : words - done[i];
			cr_assert_eq(done[i] ? body_send(&p[i], done[i], n) : header_send(&p[i], n),
				     0);
			done[i] += n;
			if (done[i] == words) {
				cr_expect_eq(
					mock_expect(&m, VMBUS_MSG_GPADL_CREATED)->u.created.gpadl,
					p[i].handle);
				left--;
			}
			mock_expect_none(&m);
		}
		for (uint32_t i = 0; i < LISTS; i++) {
			const struct vmbus_gpadl *gpadl = vmbus_gpadl_find(
				i % 2 ? other.channel : device.channel, p[i].handle);

			cr_assert_not_null(gpadl);
			cr_expect_eq(memcmp(vmbus_gpadl_range(gpadl, 0).pfns, p[i].words + 1,
					    (PAGES - i) * 8),
				     0);
		}
		mock_check_settled(&m);
		mock_fini(&m);
		mock_config(&m);
	}
}

static const struct range_row {
	const char *name;
	uint16_t buflen, count;
	uint64_t words[8];
	uint32_t n; /* sent */
	int fault;
} range_rows[] = {
	{"one page", 16, 1, {4096, 5}, 2, 0},
	{"one byte", 16, 1, {1, 5}, 2, 0},
	{"last byte of a page", 16, 1, {1 | 4095ull << 32, 5}, 2, 0},
	{"two bytes across pages", 24, 1, {2 | 4095ull << 32, 5, 6}, 3, 0},
	{"two ranges", 40, 2, {4096, 5, 8192, 6, 7}, 5, 0},
	{"the same page twice", 24, 1, {8192, 5, 5}, 3, 0},
	{"surplus words in the list", 32, 1, {4096, 5, 99, 98}, 4, 0},
	{"surplus words in the message", 16, 1, {4096, 5, 99, 98}, 4, 0},
	{"odd length", 23, 1, {4096, 5}, 2, 0},
	{"empty range", 16, 1, {0, 5}, 2, VMBUS_FAULT_GPADL_RANGES},
	{"offset past the page", 24, 1, {1 | 4096ull << 32, 5, 6}, 3, VMBUS_FAULT_GPADL_RANGES},
	{"a page too few", 16, 1, {4097, 5}, 2, VMBUS_FAULT_GPADL_RANGES},
	{"a page too few by the offset",
	 16,
	 1,
	 {4096 | 1ull << 32, 5},
	 2,
	 VMBUS_FAULT_GPADL_RANGES},
	{"longest length", 16, 1, {UINT32_MAX, 5}, 2, VMBUS_FAULT_GPADL_RANGES},
	{"length and offset wrap",
	 16,
	 1,
	 {UINT32_MAX | 4095ull << 32, 5},
	 2,
	 VMBUS_FAULT_GPADL_RANGES},
	{"second range missing", 32, 2, {8192, 5, 6, 99}, 4, VMBUS_FAULT_GPADL_RANGES},
	{"second range not there", 32, 2, {3 * 4096, 5, 6, 7}, 4, VMBUS_FAULT_GPADL_RANGES},
	{"second range cut", 32, 2, {4096, 5, 8192, 7}, 4, VMBUS_FAULT_GPADL_RANGES},
	{"no range", 16, 0, {4096, 5}, 2, VMBUS_FAULT_GPADL_RANGES},
	{"more ranges than words", 16, 2, {4096, 5}, 2, VMBUS_FAULT_GPADL_RANGES},
	{"most ranges", 16, UINT16_MAX, {4096, 5}, 2, VMBUS_FAULT_GPADL_RANGES},
	{"no words", 0, 1, {4096, 5}, 2, VMBUS_FAULT_GPADL_RANGES},
	{"no words at all", 8, 1, {0}, 0, VMBUS_FAULT_GPADL_RANGES},
	{"page outside memory", 24, 1, {8192, 5, MOCK_PAGES}, 3, VMBUS_FAULT_BAD_GPA},
	{"page number past 2^52", 16, 1, {4096, UINT64_MAX}, 2, VMBUS_FAULT_BAD_GPA},
	{"first range good, second not",
	 32,
	 2,
	 {4096, 5, 4096, 1ull << 40},
	 4,
	 VMBUS_FAULT_BAD_GPA},
};

Test(gpadl, ranges_are_checked)
{
	static struct pieces p;

	start();
	for (size_t i = 0; i < sizeof(range_rows) / sizeof(range_rows[0]); i++) {
		const struct range_row *row = &range_rows[i];

		p = (struct pieces){
			.channel_id = 1, .handle = 3, .buflen = row->buflen, .count = row->count};
		memcpy(p.words, row->words, sizeof(row->words));
		cr_expect_eq(header_send(&p, row->n), row->fault, "%s", row->name);
		cr_expect_eq(created() != 0, row->fault != 0, "%s", row->name);
		if (!row->fault) {
			struct vmbus_span span =
				vmbus_gpadl_range(vmbus_gpadl_find(device.channel, 3), 0);

			cr_expect_eq(span.len, row->words[0] & UINT32_MAX, "%s", row->name);
			cr_expect_eq(span.offset, row->words[0] >> 32, "%s", row->name);
			cr_expect_eq(span.pfns[0], row->words[1], "%s", row->name);
			cr_expect_eq(mock_teardown(&m, 1, 3), 0);
			mock_expect(&m, VMBUS_MSG_GPADL_TORNDOWN);
		}
		cr_expect_eq(m.server->gpadl_count + m.server->gpadl_pages, 0, "%s", row->name);
	}
	mock_check_settled(&m);
	mock_fini(&m);
}

Test(gpadl, keys)
{
	static struct pieces p;

	start();
	one_range(&p, 1, 5, 60);
	cr_expect_eq(header_send(&p, 27), 0);
	mock_expect_none(&m);
	/* while it is assembled the handle is taken, on any channel */
	p.channel_id = 2;
	cr_expect_eq(header_send(&p, 27), VMBUS_FAULT_GPADL_EXISTS);
	cr_expect_neq(created(), 0);
	cr_expect_eq(mock_teardown(&m, 1, 5), VMBUS_FAULT_BAD_GPADL);
	cr_expect_eq(body_send(&p, 27, 28), 0);
	cr_expect_eq(body_send(&p, 55, 28), 0); /* padded */
	cr_expect_eq(created(), 0);
	cr_expect_eq(body_send(&p, 55, 6), VMBUS_FAULT_BAD_GPADL); /* complete */
	/* then only on its channel */
	cr_expect_eq(mock_gpadl(&m, 2, 5, 100, 60), 0);
	cr_expect_eq(created(), 0);
	cr_expect_eq(mock_gpadl(&m, 1, 5, 100, 1), VMBUS_FAULT_GPADL_EXISTS);
	cr_expect_neq(created(), 0);
	cr_expect_eq(mock_teardown(&m, 1, 6), VMBUS_FAULT_BAD_GPADL);
	cr_expect_eq(mock_teardown(&m, 1, 5), 0);
	mock_expect(&m, VMBUS_MSG_GPADL_TORNDOWN);
	cr_expect_eq(mock_teardown(&m, 1, 5), VMBUS_FAULT_BAD_GPADL);
	cr_expect_eq(mock_gpadl(&m, 1, 5, 100, 1), 0);
	cr_expect_eq(created(), 0);
	cr_expect_eq(body_send(&p, 0, 1), VMBUS_FAULT_BAD_GPADL);
	mock_expect_none(&m);
	mock_fini(&m);
}

Test(gpadl, channels_that_there_are_not)
{
	static const uint32_t ids[] = {0, 3, 2047, 2048, UINT32_MAX};

	start();
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		const struct mock_message *in;

		cr_expect_eq(mock_gpadl(&m, ids[i], 9, 100, 1), VMBUS_FAULT_BAD_CHANNEL);
		in = mock_expect(&m, VMBUS_MSG_GPADL_CREATED);
		cr_expect(in->u.created.channel_id == ids[i] && in->u.created.gpadl == 9 &&
			  in->u.created.status);
		cr_expect_eq(mock_teardown(&m, ids[i], 9), VMBUS_FAULT_BAD_CHANNEL);
	}
	mock_expect_none(&m);
	mock_fini(&m);
}

/* What is announced counts at once, whether or not it ever comes. */
Test(gpadl, limits_hold_before_memory_is_taken)
{
	static struct pieces p;

	mock_config(&m);
	m.config.max_gpadls = 3;
	m.config.max_gpadl_pages = 100;
	start();
	one_range(&p, 1, 1, 8190);
	cr_expect_eq(header_send(&p, 1), VMBUS_FAULT_LIMIT);
	cr_expect_neq(created(), 0);
	one_range(&p, 1, 1, 60);
	cr_expect_eq(header_send(&p, 1), 0);
	one_range(&p, 1, 2, 41);
	cr_expect_eq(header_send(&p, 1), VMBUS_FAULT_LIMIT);
	cr_expect_neq(created(), 0);
	one_range(&p, 1, 2, 38);
	cr_expect_eq(header_send(&p, 1), 0);
	cr_expect_eq(mock_gpadl(&m, 2, 3, 100, 1), 0);
	cr_expect_eq(created(), 0);
	cr_expect_eq(mock_gpadl(&m, 2, 4, 100, 1), VMBUS_FAULT_LIMIT); /* the fourth */
	cr_expect_neq(created(), 0);
	cr_expect_eq(mock_teardown(&m, 2, 3), 0);
	mock_expect(&m, VMBUS_MSG_GPADL_TORNDOWN);
	cr_expect_eq(mock_gpadl(&m, 2, 4, 100, 2), 0);
	cr_expect_eq(created(), 0);
	/* the guest gives up the unfinished ones with the channel */
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_RELID_RELEASED, 1), 0);
	cr_expect_eq(m.server->gpadl_pages, 2);
	mock_check_settled(&m);
	mock_fini(&m);
}

Test(gpadl, pages_stay_while_anything_uses_them)
{
	start();
	cr_assert_eq(mock_gpadl(&m, 1, 1, 100, 10), 0);
	cr_expect_eq(created(), 0);
	cr_expect_eq(vmbus_mem_remove(m.mem, 0, NULL, NULL), -EBUSY);
	device.held = vmbus_channel_gpadl(device.channel, 1);
	cr_assert_not_null(device.held);
	cr_expect_null(vmbus_channel_gpadl(device.channel, 2));
	cr_expect_null(vmbus_channel_gpadl(other.channel, 1));
	cr_expect_eq(mock_teardown(&m, 1, 1), 0);
	cr_expect_eq(device.teardowns, 1);
	mock_run(&m);
	mock_expect_none(&m);
	cr_expect_null(vmbus_channel_gpadl(device.channel, 1));
	/* the handle is not free yet */
	cr_expect_eq(mock_gpadl(&m, 1, 1, 100, 10), VMBUS_FAULT_GPADL_EXISTS);
	cr_expect_neq(created(), 0);
	cr_expect_eq(mock_teardown(&m, 1, 1), VMBUS_FAULT_BAD_GPADL);
	vmbus_gpadl_unref(device.held);
	cr_expect(m.woken);
	mock_run(&m);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_GPADL_TORNDOWN)->u.torndown.gpadl, 1);
	mock_fini(&m); /* nothing is pinned */
}

Test(gpadl, a_device_may_let_go_at_once)
{
	start();
	cr_assert_eq(mock_gpadl(&m, 1, 1, 100, 10), 0);
	device.held = vmbus_channel_gpadl(device.channel, 1);
	device.let_go = true;
	cr_expect_eq(created(), 0);
	cr_expect_eq(mock_teardown(&m, 1, 1), 0);
	mock_expect(&m, VMBUS_MSG_GPADL_TORNDOWN);
	/* nobody is asked for one that nobody holds */
	cr_assert_eq(mock_gpadl(&m, 1, 1, 100, 10), 0);
	cr_expect_eq(created(), 0);
	cr_expect_eq(mock_teardown(&m, 1, 1), 0);
	mock_expect(&m, VMBUS_MSG_GPADL_TORNDOWN);
	cr_expect_eq(device.teardowns, 1);
	mock_fini(&m);
}

Test(gpadl, the_rings_are_not_torn_down_while_open)
{
	start();
	cr_assert_eq(mock_gpadl(&m, 1, 1, MOCK_RING_PFN, MOCK_RING_PAGES), 0);
	cr_expect_eq(created(), 0);
	cr_assert_eq(mock_open(&m, 1, 1, 0), 0);
	mock_expect(&m, VMBUS_MSG_OPEN_RESULT);
	cr_expect_eq(mock_teardown(&m, 1, 1), 0);
	mock_run(&m);
	mock_expect_none(&m);
	cr_expect_eq(device.teardowns, 0); /* it is the server that holds it */
	device.stop_result = -EINPROGRESS;
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, 1), 0);
	mock_run(&m);
	mock_expect_none(&m);
	device.stop_result = 0;
	mock_run(&m);
	mock_expect(&m, VMBUS_MSG_GPADL_TORNDOWN);
	mock_fini(&m);
}

/* A GPADL that a device still holds outlives channel and connection, without a word. */
Test(gpadl, a_released_channel_takes_its_gpadls_with_it)
{
	start();
	cr_assert_eq(mock_gpadl(&m, 1, 1, 100, 10), 0);
	cr_assert_eq(mock_gpadl(&m, 1, 2, 100, 10), 0);
	device.held = vmbus_channel_gpadl(device.channel, 2);
	vmbus_channel_revoke(device.channel);
	mock_run(&m);
	m.inbox_read = m.inbox_count;
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_RELID_RELEASED, 1), 0);
	cr_expect_eq(device.releases, 1);
	cr_expect_eq(m.server->gpadl_count, 1);
	cr_expect_eq(vmbus_gpadl_ranges(device.held), 1);
	vmbus_gpadl_unref(device.held);
	mock_run(&m);
	cr_expect_eq(m.server->gpadl_count, 0);
	mock_expect_none(&m);
	mock_fini(&m);
}

Test(gpadl, an_unfinished_one_ends_with_its_connection)
{
	static struct pieces p;

	start();
	one_range(&p, 1, 5, 60);
	cr_expect_eq(header_send(&p, 27), 0);
	mock_connect(&m, VMBUS_V5_2);
	cr_expect_eq(m.server->gpadl_count + m.server->gpadl_pages, 0);
	cr_expect_eq(body_send(&p, 27, 28), VMBUS_FAULT_BAD_GPADL);
	mock_fini(&m);
}
