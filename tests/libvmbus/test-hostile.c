/* SPDX-License-Identifier: MIT */
/* A guest that changes its memory while the host reads it. Each fetch of shared bytes
 * is seen: no byte may be fetched twice, and every byte that was fetched is flipped at
 * once, so that whoever looks at it again without saying so gets something else. */
#include <stddef.h>

static void fetch_seen(const void *src, size_t len);
#define VMBUS_FETCH_HOOK(src, len) fetch_seen(src, len)
#include "memory-copy.c"
#include "ring-rx.c"

#include <criterion/criterion.h>

#include "ring-fixture.h"

static struct ring_fixture f;
static uint8_t fetched[FIXTURE_PAGES * VMBUS_PAGE_SIZE]; /* guest's bytes, times */
static unsigned int twice, count;

/* The place in the guest's memory of a byte at one of the ring's mappings. */
static size_t guest_offset(const uint8_t *byte)
{
	if (f.ring.data && byte >= f.ring.data && byte < f.ring.data + 2 * f.ring.size)
		byte = fixture_byte(&f, (uint32_t)(byte - f.ring.data) % f.ring.size);
	cr_assert(byte >= f.guest && byte < f.guest + sizeof(fetched));
	return (size_t)(byte - f.guest);
}

static void fetch_seen(const void *src, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		size_t at = guest_offset((const uint8_t *)src + i);

		twice += fetched[at]++ != 0;
		*(volatile uint8_t *)&f.guest[at] ^= 0xff;
		count++;
	}
}

static void fetches_reset(void)
{
	memset(fetched, 0, sizeof(fetched));
	twice = count = 0;
}

Test(hostile, no_byte_of_a_packet_is_fetched_twice)
{
	static const uint64_t ranges[5] = {1ull << 32, 4096ull, 11, 22, 33};
	static const uint8_t payload[64] = "a request";
	const struct vmbus_packet packet = {
		.type = VMBUS_PACKET_GPA_DIRECT,
		.flags = VMBUS_PACKET_COMPLETION_REQUESTED,
		.transaction_id = 0x1122334455667788,
		.header = ranges,
		.header_len = sizeof(ranges),
		.payload = payload,
		.payload_len = sizeof(payload),
	};

	for (int paged = 0; paged < 2; paged++)
		for (uint32_t start = 4096 - 136; start <= 4096; start += 8) {
			cr_assert_eq(fixture_init(&f, 1, paged, start % 4096), 0);
			cr_assert_eq(vmbus_tx_put(&f.tx, &packet, 0), 0);
			vmbus_tx_publish(&f.tx);
			fetches_reset();
			cr_assert_eq(fixture_next(&f), 0);
			cr_expect_eq(twice, 0, "start %u", start);
			cr_expect_eq(count, 16 + sizeof(ranges) + sizeof(payload), "start %u", start);
			cr_expect_eq(f.packet.type, packet.type);
			cr_expect_eq(f.packet.flags, packet.flags);
			cr_expect_eq(f.packet.transaction_id, packet.transaction_id);
			cr_expect_eq(f.packet.header_len, sizeof(ranges));
			cr_expect_eq(f.packet.payload_len, sizeof(payload));
			cr_expect_eq(memcmp(f.packet.header, ranges, sizeof(ranges)), 0);
			cr_expect_eq(memcmp(f.packet.payload, payload, sizeof(payload)), 0);
			cr_expect_eq(memcmp(f.buf, "\x09\0\x07\0\x0f\0\x01\0\x88\x77\x66\x55\x44\x33\x22\x11", 16),
				     0, "the copy has the descriptor that was checked");
			fixture_fini(&f);
		}
}

/* Refused packets: nothing behind the descriptor is looked at. */
Test(hostile, a_bad_descriptor_is_all_that_is_fetched)
{
	static const struct vmbus_packet_descriptor bad = {.type = 6, .offset8 = 2, .length8 = 9};

	cr_assert_eq(fixture_init(&f, 1, false, 0), 0);
	fixture_scribble(&f, 0, &bad, sizeof(bad));
	f.control->in = 72;
	fetches_reset();
	cr_expect_eq(fixture_next(&f), VMBUS_FAULT_BAD_DESCRIPTOR);
	cr_expect_eq(count, 16);
	f.control->in = 16; /* not even that is shown */
	cr_assert_eq(vmbus_rx_init(&f.rx, &f.ring), 0);
	fetches_reset();
	cr_expect_eq(fixture_next(&f), VMBUS_FAULT_BAD_DESCRIPTOR);
	cr_expect_eq(count, 0);
	fixture_fini(&f);
}

Test(hostile, copies_fetch_each_byte_once)
{
	static const uint64_t pfns[] = {0x102, 0x100, 0x101};
	const struct vmbus_span span = {.pfns = pfns, .offset = 100, .len = 3 * 4096 - 100};
	static uint8_t copy[3 * 4096], before[FIXTURE_PAGES * VMBUS_PAGE_SIZE];
	struct vmbus_view *view;

	cr_assert_eq(fixture_memory(&f), 0);
	view = vmbus_mem_view(f.mem);
	for (size_t i = 0; i < sizeof(before); i++)
		before[i] = f.guest[i] = (uint8_t)(i * 7 + i / 4096);
	fetches_reset();
	cr_expect_eq(vmbus_view_read(view, FIXTURE_GPA + 4000, copy, 8000), 0);
	cr_expect_eq(twice, 0);
	cr_expect_eq(count, 8000);
	cr_expect_eq(memcmp(copy, before + 4000, 8000), 0);
	memcpy(f.guest, before, sizeof(before));
	fetches_reset();
	cr_expect_eq(vmbus_span_read(view, &span, 0, copy, span.len), 0);
	cr_expect_eq(twice, 0);
	cr_expect_eq(count, span.len);
	cr_expect_eq(memcmp(copy, before + 2 * 4096 + 100, 4096 - 100), 0);
	cr_expect_eq(memcmp(copy + 4096 - 100, before, 2 * 4096), 0);
	vmbus_view_unref(view);
}
