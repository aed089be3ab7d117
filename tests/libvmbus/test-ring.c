/* SPDX-License-Identifier: MIT */
/* Both ends of a ring, one step at a time, in both forms of mapping. */
#include <errno.h>

#include <criterion/criterion.h>

#include "ring-fixture.h"

static const struct {
	const char *name;
	bool paged;
} forms[] = {{"mapped", false}, {"paged", true}};

#define EACH_FORM(i) (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)

static struct ring_fixture f;

Test(ring, carries_a_packet_across_the_end_at_every_position)
{
	for EACH_FORM (form)
		for (uint32_t start = 0; start < 3 * 4096; start += start == 4096 ? 4096 : 8) {
			/* the interesting starts are near the ends; a page's middle is like another's */
			static const uint32_t lens[] = {0, 1, 8, 33};

			if (start % 4096 >= 128 && start % 4096 < 4096 - 128)
				continue;
			cr_assert_eq(fixture_init(&f, 3, forms[form].paged, start), 0);
			for (uint32_t i = 0; i < 4; i++)
				cr_expect_eq(fixture_put(&f, i, lens[i]), 0, "%s %u", forms[form].name, start);
			cr_expect_eq(fixture_next(&f), -EAGAIN);
			vmbus_tx_publish(&f.tx);
			for (uint32_t i = 0; i < 4; i++) {
				cr_expect_eq(fixture_next(&f), 0, "%s %u", forms[form].name, start);
				cr_expect(fixture_is(&f, i, lens[i]), "%s %u: packet %u", forms[form].name, start, i);
			}
			cr_expect_eq(fixture_next(&f), -EAGAIN);
			fixture_fini(&f);
		}
}

Test(ring, wraps_a_large_packet_at_every_multiple_of_eight)
{
	for EACH_FORM (form) {
		cr_assert_eq(fixture_init(&f, 1, forms[form].paged, 0), 0);
		for (uint64_t id = 0; id < 2 * 512; id++) { /* 4096 - 8 - 32 + 8: starts step down by 8 */
			cr_assert_eq(fixture_put(&f, id, 4096 - 8 - 24), 0, "%s %u", forms[form].name, f.tx.in);
			vmbus_tx_publish(&f.tx);
			cr_assert_eq(fixture_next(&f), 0);
			cr_assert(fixture_is(&f, id, 4096 - 8 - 24), "%s %u", forms[form].name, f.rx.out);
			cr_assert_not(vmbus_rx_commit(&f.rx));
		}
		cr_expect_eq(f.rx.packets, 1024);
		cr_expect_eq(f.rx.bytes, 1024 * 4088);
		fixture_fini(&f);
	}
}

Test(ring, keeps_header_and_payload_apart)
{
	static const uint64_t header[3] = {0x1111, 0x2222, 0x3333};
	const struct vmbus_packet packet = {
		.type = VMBUS_PACKET_GPA_DIRECT,
		.flags = VMBUS_PACKET_COMPLETION_REQUESTED,
		.transaction_id = 0xfffffffffffffffd,
		.header = header,
		.header_len = sizeof(header),
		.payload = "request",
		.payload_len = 7,
	};

	for EACH_FORM (form) {
		cr_assert_eq(fixture_init(&f, 2, forms[form].paged, 4096 - 32), 0);
		cr_assert_eq(vmbus_tx_put(&f.tx, &packet, 0), 0);
		vmbus_tx_publish(&f.tx);
		cr_assert_eq(fixture_next(&f), 0);
		cr_expect_eq(f.packet.type, VMBUS_PACKET_GPA_DIRECT);
		cr_expect_eq(f.packet.flags, VMBUS_PACKET_COMPLETION_REQUESTED);
		cr_expect_eq(f.packet.transaction_id, 0xfffffffffffffffd);
		cr_expect_eq(f.packet.header_len, sizeof(header));
		cr_expect_eq((uintptr_t)f.packet.header % 8, 0);
		cr_expect_eq(memcmp(f.packet.header, header, sizeof(header)), 0);
		cr_expect_eq(f.packet.payload_len, 8);
		cr_expect_eq(memcmp(f.packet.payload, "request", 8), 0);
		fixture_fini(&f);
	}
}

Test(ring, writes_the_bytes_of_the_specification)
{
	static const uint8_t wire[] = {
		0x0b, 0, 2, 0, 3, 0, 0, 0, 0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01,
		'a', 'b', 'c', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xf8, 0x0f, 0, 0,
	};
	const struct vmbus_packet packet = {
		.type = VMBUS_PACKET_COMPLETION,
		.transaction_id = 0x0123456789abcdef,
		.payload = "abc",
		.payload_len = 3,
	};

	for EACH_FORM (form) {
		cr_assert_eq(fixture_init(&f, 3, forms[form].paged, 4096 - 8), 0);
		for (uint32_t i = 0; i < f.ring.size; i++)
			*fixture_byte(&f, i) = 0xee; /* what was there before must not show */
		cr_assert_eq(vmbus_tx_put(&f.tx, &packet, 0), 0);
		cr_expect_eq(f.control->in, 4096 - 8);
		vmbus_tx_publish(&f.tx);
		cr_expect_eq(f.control->in, 4096 - 8 + sizeof(wire));
		for (uint32_t i = 0; i < sizeof(wire); i++)
			cr_expect_eq(*fixture_byte(&f, 4096 - 8 + i), wire[i], "%s byte %u", forms[form].name, i);
		cr_expect_eq(*fixture_byte(&f, 4096 - 8 + (uint32_t)sizeof(wire)), 0xee);
		cr_expect_eq(f.control->feature_bits, 1);
		fixture_fini(&f);
	}
}

Test(ring, is_full_eight_bytes_before_it_would_look_empty)
{
	for EACH_FORM (form)
		for (uint32_t pages = 1; pages <= 3; pages += 2) {
			uint32_t size = pages * 4096, most = size - 8 - 24; /* payload that fills it */

			cr_assert_eq(fixture_init(&f, pages, forms[form].paged, 64), 0);
			cr_expect_eq(fixture_put(&f, 1, most + 1), -EMSGSIZE);
			cr_expect_eq(fixture_put(&f, 1, most), 0);
			cr_expect_eq(fixture_put(&f, 2, 0), -EAGAIN);
			vmbus_tx_publish(&f.tx);
			cr_expect_eq(fixture_next(&f), 0);
			cr_expect(fixture_is(&f, 1, most));
			cr_expect_eq(fixture_put(&f, 2, 0), -EAGAIN, "not committed: not free");
			cr_expect_not(vmbus_rx_commit(&f.rx));
			/* exactly full in two packets, then eight bytes too many */
			cr_expect_eq(fixture_put(&f, 2, most - 24 - 64), 0);
			cr_expect_eq(fixture_put(&f, 3, 64 + 8), -EAGAIN);
			cr_expect_eq(fixture_put(&f, 3, 64), 0);
			vmbus_tx_publish(&f.tx);
			cr_expect_eq(fixture_next(&f), 0);
			cr_expect(fixture_is(&f, 2, most - 24 - 64));
			cr_expect_eq(fixture_next(&f), 0);
			cr_expect(fixture_is(&f, 3, 64));
			cr_expect_eq(fixture_next(&f), -EAGAIN);
			fixture_fini(&f);
		}
}

Test(ring, refuses_to_write_what_no_descriptor_can_say)
{
	struct vmbus_packet packet = {.type = VMBUS_PACKET_INBAND, .payload = "", .header = ""};

	cr_assert_eq(fixture_init(&f, 8, false, 0), 0);
	packet.payload_len = UINT32_MAX;
	cr_expect_eq(vmbus_tx_put(&f.tx, &packet, 0), -EMSGSIZE);
	packet.header_len = UINT32_MAX - 7;
	cr_expect_eq(vmbus_tx_put(&f.tx, &packet, 0), -EMSGSIZE);
	packet.payload_len = 0;
	packet.header_len = 12;
	cr_expect_eq(vmbus_tx_put(&f.tx, &packet, 0), -EINVAL);
	cr_expect_eq(f.tx.in, 0);
	fixture_fini(&f);
}

Test(ring, writes_no_length_past_sixteen_bits)
{
	static uint8_t payload[0xffff * 8];
	struct vmbus_ring_control *control = calloc(1, sizeof(*control));
	struct vmbus_ring_memory mem = {.control = control, .size = 256 * 4096};
	struct vmbus_packet packet = {.type = VMBUS_PACKET_INBAND, .payload = payload};
	struct vmbus_tx tx;

	mem.data = malloc(mem.size);
	cr_assert(control && mem.data);
	cr_assert_eq(vmbus_tx_init(&tx, &mem), 0);
	packet.payload_len = sizeof(payload) - 16 + 1;
	cr_expect_eq(vmbus_tx_put(&tx, &packet, 0), -EMSGSIZE);
	packet.payload_len = sizeof(payload) - 16;
	cr_expect_eq(vmbus_tx_put(&tx, &packet, 0), 0);
	cr_expect_eq(((struct vmbus_packet_descriptor *)(void *)mem.data)->length8, 0xffff);
	free(mem.data);
	free(control);
}

Test(ring, says_what_a_packet_needs_and_keeps_it)
{
	uint64_t small[4];

	cr_assert_eq(fixture_init(&f, 1, false, 0), 0);
	cr_assert_eq(fixture_put(&f, 9, 100), 0);
	vmbus_tx_publish(&f.tx);
	cr_expect_eq(vmbus_rx_next(&f.rx, small, sizeof(small), &f.packet), -ENOBUFS);
	cr_expect_eq(f.packet.payload_len, 16 + 104);
	cr_expect_eq(f.packet.type, VMBUS_PACKET_INBAND);
	cr_expect_eq(f.packet.transaction_id, 9);
	cr_expect_eq(vmbus_rx_next(&f.rx, f.buf, 119, &f.packet), -ENOBUFS);
	cr_expect_eq(vmbus_rx_next(&f.rx, f.buf, 120, &f.packet), 0);
	cr_expect(fixture_is(&f, 9, 100));
	fixture_fini(&f);
}

Test(ring, goes_on_behind_a_packet_that_is_too_long)
{
	uint64_t small[4];

	for (uint32_t start = 0; start < 4096; start += 8) {
		cr_assert_eq(fixture_init(&f, 1, true, start), 0);
		cr_assert_eq(fixture_put(&f, 1, 100), 0);
		cr_assert_eq(fixture_put(&f, 2, 9), 0);
		vmbus_tx_publish(&f.tx);
		cr_expect_eq(vmbus_rx_next(&f.rx, small, sizeof(small), &f.packet), -ENOBUFS);
		vmbus_rx_skip(&f.rx, &f.packet);
		cr_expect_eq(f.rx.packets, 1);
		cr_expect_eq(f.rx.bytes, 16 + 104 + 8);
		cr_expect_eq(fixture_next(&f), 0);
		cr_expect(fixture_is(&f, 2, 9));
		cr_expect_eq(fixture_next(&f), -EAGAIN);
		fixture_fini(&f);
	}
}

Test(ring, returns_an_undone_packet_again)
{
	for (uint32_t start = 0; start < 4096; start += 8) {
		cr_assert_eq(fixture_init(&f, 1, true, start), 0);
		cr_assert_eq(fixture_put(&f, 1, 9), 0);
		cr_assert_eq(fixture_put(&f, 2, 9), 0);
		vmbus_tx_publish(&f.tx);
		cr_expect_eq(fixture_next(&f), 0);
		vmbus_rx_undo(&f.rx, &f.packet);
		cr_expect_eq(f.rx.out, start);
		cr_expect_eq(f.rx.packets, 0);
		cr_expect(vmbus_rx_pending(&f.rx));
		cr_expect_eq(fixture_next(&f), 0);
		cr_expect(fixture_is(&f, 1, 9));
		cr_expect_eq(fixture_next(&f), 0);
		cr_expect(fixture_is(&f, 2, 9));
		fixture_fini(&f);
	}
}

Test(ring, refuses_an_impossible_index)
{
	static const uint32_t bad[] = {3 * 4096, 3 * 4096 + 8, UINT32_MAX, 0x80000000, 4, 4097, 1};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vmbus_tx tx;
		struct vmbus_rx rx;

		cr_assert_eq(fixture_init(&f, 3, true, 0), 0);
		cr_assert_eq(fixture_put(&f, 1, 3 * 4096 - 8 - 24), 0);
		f.control->in = bad[i];
		cr_expect(vmbus_rx_pending(&f.rx));
		cr_expect(vmbus_rx_arm(&f.rx), "not asleep in front of a fault");
		cr_expect_eq(fixture_next(&f), VMBUS_FAULT_BAD_INDEX, "%#x", bad[i]);
		cr_expect_eq(vmbus_rx_init(&rx, &f.ring), VMBUS_FAULT_BAD_INDEX);
		cr_expect_eq(vmbus_tx_init(&tx, &f.ring), VMBUS_FAULT_BAD_INDEX);
		f.control->in = 0;
		f.control->out = bad[i];
		cr_expect_eq(fixture_put(&f, 2, 8), VMBUS_FAULT_BAD_INDEX, "%#x", bad[i]);
		cr_expect(vmbus_tx_reserve(&f.tx, 32), "the put will tell");
		cr_expect(vmbus_tx_wait_space(&f.tx, 32));
		cr_expect_eq(vmbus_rx_init(&rx, &f.ring), VMBUS_FAULT_BAD_INDEX);
		cr_expect_eq(vmbus_tx_init(&tx, &f.ring), VMBUS_FAULT_BAD_INDEX);
		fixture_fini(&f);
	}
}

/* What was promised is there or the index is at fault, however the guest moves it: a
 * promised packet is never told to try again. */
Test(ring, refuses_a_read_index_that_went_back_or_past_the_end)
{
	static const struct {
		uint32_t out;
		int ret;
	} rows[] = {
		{1024, -EAGAIN}, {2048, 0}, {3072, 0}, {1016, VMBUS_FAULT_BAD_INDEX},
		{0, VMBUS_FAULT_BAD_INDEX}, {3080, VMBUS_FAULT_BAD_INDEX}, {4088, VMBUS_FAULT_BAD_INDEX},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cr_assert_eq(fixture_init(&f, 1, true, 1024), 0);
		cr_assert_eq(fixture_put(&f, 1, 2048 - 24), 0);
		vmbus_tx_publish(&f.tx);
		cr_assert_eq(fixture_put(&f, 2, 1000 - 24), 0); /* not published */
		cr_assert(vmbus_tx_reserve(&f.tx, 1000));
		f.control->out = rows[i].out;
		cr_expect_eq(fixture_put(&f, 3, 1008), rows[i].ret, "out %u", rows[i].out);
		if (rows[i].ret == VMBUS_FAULT_BAD_INDEX)
			f.control->out = 1024; /* once impossible, for ever */
		cr_expect_eq(vmbus_tx_reserve(&f.tx, 3000), rows[i].ret == VMBUS_FAULT_BAD_INDEX);
		cr_expect_not(vmbus_tx_reserve(&f.tx, UINT32_MAX), "more than the ring is never promised");
		cr_expect_eq(fixture_put(&f, 4, 3000),
			     rows[i].ret == VMBUS_FAULT_BAD_INDEX ? VMBUS_FAULT_BAD_INDEX : -EAGAIN);
		fixture_fini(&f);
	}
}

Test(ring, survives_a_write_index_that_goes_back)
{
	for EACH_FORM (form) {
		unsigned int reads = 0;

		cr_assert_eq(fixture_init(&f, 1, forms[form].paged, 0), 0);
		cr_assert_eq(fixture_put(&f, 1, 8), 0);
		cr_assert_eq(fixture_put(&f, 2, 8), 0);
		vmbus_tx_publish(&f.tx);
		cr_assert_eq(fixture_next(&f), 0);
		cr_assert_eq(fixture_next(&f), 0);
		f.control->in = 32; /* behind us: an almost full ring of what lies there, zeros */
		cr_expect_eq(fixture_next(&f), VMBUS_FAULT_BAD_PACKET_TYPE, "%s", forms[form].name);
		/* the same, with packets there: as many as fit, not more */
		for (uint32_t at = 64; at < 4096; at += 32)
			fixture_scribble(&f, at, fixture_byte(&f, 0), 32);
		while (fixture_next(&f) == 0 && ++reads < 1000)
			;
		cr_expect_eq(reads, (4096 - 32) / 32, "%s: %u", forms[form].name, reads);
		fixture_fini(&f);
	}
}

Test(ring, takes_over_a_ring_with_old_wishes_in_it)
{
	struct vmbus_tx tx;
	struct vmbus_rx rx;

	cr_assert_eq(fixture_init(&f, 1, true, 0), 0);
	f.control->pending_send_size = 4095;
	f.control->interrupt_mask = 0;
	f.control->feature_bits = 0x80000000;
	f.control->in = 64;
	f.control->out = 32;
	cr_expect_eq(vmbus_tx_init(&tx, &f.ring), 0);
	cr_expect_eq(f.control->pending_send_size, 0);
	cr_expect_eq(f.control->feature_bits, 0x80000001);
	cr_expect_eq(tx.in, 64);
	cr_expect_eq(vmbus_rx_init(&rx, &f.ring), 0);
	cr_expect_eq(f.control->interrupt_mask, 1);
	cr_expect_eq(rx.out, 32);
	cr_expect_eq(f.control->in, 64, "the indices are the guest's doing");
	cr_expect_eq(f.control->out, 32);
	fixture_fini(&f);
}

/* What the host wrote last is not read back: the guest's scribbling does not move us. */
Test(ring, does_not_read_its_own_index_back)
{
	cr_assert_eq(fixture_init(&f, 1, true, 0), 0);
	cr_assert_eq(fixture_put(&f, 1, 8), 0);
	vmbus_tx_publish(&f.tx);
	f.control->out = 0x1234;
	cr_expect_eq(fixture_next(&f), 0);
	cr_expect_not(vmbus_rx_commit(&f.rx));
	cr_expect_eq(f.control->out, 32);
	f.control->in = 0x1234;
	cr_expect_eq(fixture_put(&f, 2, 8), 0);
	vmbus_tx_publish(&f.tx);
	cr_expect_eq(f.control->in, 64);
	fixture_fini(&f);
}

Test(ring, refuses_a_malformed_descriptor)
{
	enum { DESC = VMBUS_FAULT_BAD_DESCRIPTOR, TYPE = VMBUS_FAULT_BAD_PACKET_TYPE };
	static const struct {
		const char *name;
		struct vmbus_packet_descriptor desc;
		uint32_t shown; /* bytes that the index shows */
		int ret;
	} rows[] = {
		{"good", {6, 2, 2, 0, 0}, 24, 0},
		{"good completion", {11, 2, 3, 0, 0}, 32, 0},
		{"good with flag", {6, 2, 2, 1, 0}, 24, 0},
		{"good ranges", {9, 3, 3, 1, 0}, 32, 0},
		{"good transfer pages", {7, 3, 3, 1, 0}, 32, 0},
		{"less than a descriptor shown", {6, 2, 2, 0, 0}, 8, DESC},
		{"no trailer shown", {6, 2, 2, 0, 0}, 16, DESC},
		{"length past what is shown", {6, 2, 3, 0, 0}, 24, DESC},
		{"length one word past", {6, 2, 4, 0, 0}, 32, DESC},
		{"length 0xffff", {6, 2, 0xffff, 0, 0}, 4096, DESC},
		{"length 0", {6, 2, 0, 0, 0}, 64, DESC},
		{"length below offset", {6, 4, 3, 0, 0}, 64, DESC},
		{"offset in the descriptor", {6, 1, 3, 0, 0}, 64, DESC},
		{"offset 0", {6, 0, 3, 0, 0}, 64, DESC},
		{"offset 0xffff", {6, 0xffff, 0xffff, 0, 0}, 64, DESC},
		{"ranges without a count", {9, 2, 3, 0, 0}, 64, DESC},
		{"transfer pages without a count", {7, 2, 3, 0, 0}, 64, DESC},
		{"unknown flag", {6, 2, 3, 2, 0}, 64, DESC},
		{"all flags", {6, 2, 3, 0xffff, 0}, 64, DESC},
		{"type 0", {0, 2, 3, 0, 0}, 64, TYPE},
		{"type 1", {1, 2, 3, 0, 0}, 64, TYPE},
		{"type 8", {8, 3, 3, 0, 0}, 64, TYPE},
		{"type 10", {10, 2, 3, 0, 0}, 64, TYPE},
		{"type 12", {12, 2, 3, 0, 0}, 64, TYPE},
		{"type 0xffff", {0xffff, 2, 3, 0, 0}, 64, TYPE},
	};

	for EACH_FORM (form)
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
			for (uint32_t start = 4096; start <= 8192 - 8; start += 4096 - 8) {
				cr_assert_eq(fixture_init(&f, 2, forms[form].paged, start % 8192), 0);
				fixture_scribble(&f, start, &rows[i].desc, 16);
				f.control->in = (start + rows[i].shown) % 8192;
				cr_expect_eq(fixture_next(&f), rows[i].ret, "%s at %u: %s", forms[form].name,
					     start, rows[i].name);
				if (rows[i].ret)
					cr_expect_eq(f.rx.out, start, "nothing is consumed");
				fixture_fini(&f);
			}
}

Test(ring, promises_space_once)
{
	cr_assert_eq(fixture_init(&f, 1, false, 0), 0);
	cr_expect(vmbus_tx_reserve(&f.tx, 2000));
	cr_expect(vmbus_tx_reserve(&f.tx, 2088));
	cr_expect_not(vmbus_tx_reserve(&f.tx, 8));
	cr_expect_eq(fixture_put(&f, 1, 8), -EAGAIN, "all is promised");
	vmbus_tx_unreserve(&f.tx, 88);
	cr_expect_eq(fixture_put(&f, 1, 8), 0);
	cr_expect_eq(f.tx.reserved, 4000);
	for (uint32_t i = 0; i < 2; i++) { /* a promise is kept even when the ring is full otherwise */
		const struct vmbus_packet packet = {
			.type = VMBUS_PACKET_COMPLETION, .payload = f.guest, .payload_len = 2000 - 24};

		cr_expect_eq(vmbus_tx_put(&f.tx, &packet, 2000), 0);
	}
	cr_expect_eq(f.tx.reserved, 0);
	cr_expect_not(vmbus_tx_reserve(&f.tx, UINT32_MAX));
	vmbus_tx_unreserve(&f.tx, 1000);
	cr_expect_eq(f.tx.reserved, 0);
	vmbus_tx_publish(&f.tx);
	for (unsigned int i = 0; i < 3; i++)
		cr_assert_eq(fixture_next(&f), 0);
	cr_expect_not(vmbus_rx_commit(&f.rx));
	{
		const struct vmbus_packet packet = {.type = VMBUS_PACKET_COMPLETION};

		cr_expect_eq(vmbus_tx_put(&f.tx, &packet, 100), 0, "more than was promised");
		cr_expect_eq(f.tx.reserved, 0);
	}
	fixture_fini(&f);
}
