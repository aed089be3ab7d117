/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>

#include <vmbus/memory.h>
#include <vmbus/ring.h>

/* A header as the guest writes it, in 64-bit words: reserved and count first. */
struct row {
	const char *name;
	uint64_t words[8];
	uint32_t len;  /* of the header */
	int first;     /* what vmbus_range_first() returns */
	unsigned int good; /* ranges before ... */
	int end;       /* ... _next() returns this */
};

#define COUNT(n) ((uint64_t)(n) << 32 | 0xdeadbeef) /* the reserved half may be garbage */
#define RANGE(offset, count) ((uint64_t)(offset) << 32 | (count))

static void walk(const struct row *row)
{
	struct vmbus_packet packet = {
		.type = VMBUS_PACKET_GPA_DIRECT, .header = row->words, .header_len = row->len};
	struct vmbus_range_iter iter;
	struct vmbus_range range;
	unsigned int good = 0;
	int ret = vmbus_range_first(&packet, &iter);

	cr_expect_eq(ret, row->first, "%s: first says %d", row->name, ret);
	if (ret)
		return;
	while ((ret = vmbus_range_next(&iter, &range)) == 0) {
		good++;
		cr_expect_eq(range.pages, vmbus_span_pages(range.offset, range.len), "%s", row->name);
		cr_expect_leq((const uint8_t *)(range.pfns + range.pages),
			      (const uint8_t *)row->words + row->len, "%s", row->name);
	}
	cr_expect_eq(ret, row->end, "%s: next says %d", row->name, ret);
	cr_expect_eq(good, row->good, "%s: %u good", row->name, good);
}

Test(packet, ranges_are_walked_or_refused)
{
	enum { BAD = VMBUS_FAULT_BAD_RANGES };
	static const struct row rows[] = {
		{"one page", {COUNT(1), RANGE(0, 4096), 5}, 24, 0, 1, -ENOENT},
		{"one byte", {COUNT(1), RANGE(4095, 1), 5}, 24, 0, 1, -ENOENT},
		{"two bytes on two pages", {COUNT(1), RANGE(4095, 2), 5, 9}, 32, 0, 1, -ENOENT},
		{"one page number short", {COUNT(1), RANGE(4095, 2), 5}, 24, 0, 0, BAD},
		{"two ranges", {COUNT(2), RANGE(0, 1), 5, RANGE(8, 4096), 7, 6}, 48, 0, 2, -ENOENT},
		{"second range ends early", {COUNT(2), RANGE(0, 1), 5, RANGE(8, 4096), 7}, 40, 0, 1, BAD},
		{"second range is missing", {COUNT(2), RANGE(0, 4097), 5, 6, 7}, 40, 0, 1, BAD},
		{"nothing left for the second", {COUNT(2), RANGE(0, 8193), 5, 6, 7, RANGE(0, 1), 8}, 40, 0, 1, BAD},
		{"surplus words are left alone", {COUNT(1), RANGE(0, 1), 5, 0, 0}, 40, 0, 1, -ENOENT},
		{"page number of all ones", {COUNT(1), RANGE(0, 1), ~0ull}, 24, 0, 1, -ENOENT},
		{"no ranges", {COUNT(0), RANGE(0, 1), 5}, 24, BAD, 0, 0},
		{"0xffffffff ranges", {COUNT(0xffffffff), RANGE(0, 1), 5}, 24, BAD, 0, 0},
		{"one range more than could fit", {COUNT(2), RANGE(0, 1), 5, 0}, 32, BAD, 0, 0},
		{"count alone", {COUNT(1)}, 8, BAD, 0, 0},
		{"no header", {COUNT(1)}, 0, BAD, 0, 0},
		{"empty range", {COUNT(1), RANGE(0, 0), 5}, 24, 0, 0, BAD},
		{"offset past the page", {COUNT(1), RANGE(4096, 1), 5, 6}, 32, 0, 0, BAD},
		{"offset 0xffffffff", {COUNT(1), RANGE(0xffffffff, 1), 5}, 24, 0, 0, BAD},
		{"4 GiB less one", {COUNT(1), RANGE(0, 0xffffffff), 5}, 24, 0, 0, BAD},
		{"4 GiB less one at 4095", {COUNT(1), RANGE(4095, 0xffffffff), 5}, 24, 0, 0, BAD},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		walk(&rows[i]);
}

Test(packet, ranges_tell_the_guests_numbers)
{
	static const uint64_t words[] = {COUNT(2), RANGE(0x123, 0xf00), 77, 78, RANGE(0, 1), ~0ull};
	struct vmbus_packet packet = {
		.type = VMBUS_PACKET_GPA_DIRECT, .header = words, .header_len = sizeof(words)};
	struct vmbus_range_iter iter;
	struct vmbus_range range;

	cr_assert_eq(vmbus_range_first(&packet, &iter), 0);
	cr_assert_eq(vmbus_range_next(&iter, &range), 0);
	cr_expect_eq(range.offset, 0x123);
	cr_expect_eq(range.len, 0xf00);
	cr_expect_eq(range.pages, 2);
	cr_expect_eq(range.pfns[0], 77);
	cr_expect_eq(range.pfns[1], 78);
	cr_assert_eq(vmbus_range_next(&iter, &range), 0);
	cr_expect_eq(range.pages, 1);
	cr_expect_eq(range.pfns[0], ~0ull);
	cr_expect_eq(vmbus_range_next(&iter, &range), -ENOENT);
	cr_expect_eq(vmbus_range_next(&iter, &range), -ENOENT);
}

Test(packet, only_gpa_direct_has_ranges)
{
	static const uint64_t words[] = {COUNT(1), RANGE(0, 1), 5};
	struct vmbus_packet packet = {
		.type = VMBUS_PACKET_TRANSFER_PAGES, .header = words, .header_len = sizeof(words)};
	struct vmbus_range_iter iter;

	cr_expect_eq(vmbus_range_first(&packet, &iter), VMBUS_FAULT_BAD_RANGES);
	packet.type = VMBUS_PACKET_INBAND;
	cr_expect_eq(vmbus_range_first(&packet, &iter), VMBUS_FAULT_BAD_RANGES);
}

Test(packet, ring_bytes_count_padding_and_trailer)
{
	cr_expect_eq(vmbus_packet_ring_bytes(0, 0), 24);
	cr_expect_eq(vmbus_packet_ring_bytes(0, 1), 32);
	cr_expect_eq(vmbus_packet_ring_bytes(24, 64), 112);
}
