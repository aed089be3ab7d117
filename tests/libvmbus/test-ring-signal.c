/* SPDX-License-Identifier: MIT */
/* When a ring's end signals the other, one step at a time. The interleavings are
 * ring-model.c's. */
#include <errno.h>

#include <criterion/criterion.h>

#include "ring-fixture.h"

static struct ring_fixture f;

/* Reads @n packets and says so. */
static bool read_some(unsigned int n)
{
	while (n-- > 0)
		cr_assert_eq(fixture_next(&f), 0);
	return vmbus_rx_commit(&f.rx);
}

static void publish_one(void)
{
	cr_assert_eq(fixture_put(&f, 0, 8), 0); /* 32 bytes */
	vmbus_tx_publish(&f.tx);
}

Test(ring_signal, is_due_when_the_reader_sleeps_at_what_was_new)
{
	cr_assert_eq(fixture_init(&f, 1, false, 0), 0);
	cr_expect_not(vmbus_tx_signal_due(&f.tx), "nothing written");
	publish_one();
	cr_expect_not(vmbus_tx_signal_due(&f.tx), "masked since init");
	cr_expect(vmbus_rx_arm(&f.rx), "something is there");
	cr_expect_eq(f.control->interrupt_mask, 1);
	cr_expect_not(read_some(1));
	cr_expect_not(vmbus_rx_arm(&f.rx));
	cr_expect_eq(f.control->interrupt_mask, 0);
	publish_one();
	cr_expect(vmbus_tx_signal_due(&f.tx));
	cr_expect_not(vmbus_tx_signal_due(&f.tx), "once");
	publish_one();
	cr_expect_not(vmbus_tx_signal_due(&f.tx), "signalled, not yet read");
	vmbus_rx_disarm(&f.rx);
	cr_expect_not(read_some(2));
	publish_one();
	cr_expect_not(vmbus_tx_signal_due(&f.tx), "masked");
	fixture_fini(&f);
}

/* Of one batch: how many packets the reader had read when it went to sleep. */
Test(ring_signal, is_due_wherever_in_a_batch_the_reader_fell_asleep)
{
	for (unsigned int read = 0; read <= 4; read++) {
		cr_assert_eq(fixture_init(&f, 1, false, 4096 - 64), 0);
		cr_assert_not(vmbus_rx_arm(&f.rx));
		for (unsigned int i = 0; i < read; i++)
			publish_one();
		if (read > 0)
			cr_expect_not(read_some(read));
		cr_expect_not(vmbus_rx_arm(&f.rx));
		for (unsigned int i = read; i < 4; i++)
			publish_one();
		cr_expect_eq(vmbus_tx_signal_due(&f.tx), read < 4, "read %u of 4", read);
		fixture_fini(&f);
	}
}

Test(ring_signal, is_due_when_more_than_a_ring_went_through_since_the_last_time)
{
	cr_assert_eq(fixture_init(&f, 1, false, 0), 0);
	for (unsigned int i = 0; i < 4096 / 32; i++) { /* once round: positions are as they were */
		publish_one();
		(void)read_some(1);
	}
	cr_assert_eq(f.tx.in, 0);
	cr_expect_not(vmbus_rx_arm(&f.rx));
	cr_expect_not(vmbus_tx_signal_due(&f.tx), "all read");
	for (unsigned int i = 0; i < 3 * 4096 / 32; i++) {
		publish_one();
		(void)read_some(1);
	}
	cr_expect_not(vmbus_rx_arm(&f.rx));
	publish_one();
	cr_expect(vmbus_tx_signal_due(&f.tx));
	fixture_fini(&f);
}

Test(ring_signal, publishes_what_was_only_put)
{
	cr_assert_eq(fixture_init(&f, 1, false, 0), 0);
	cr_assert_not(vmbus_rx_arm(&f.rx));
	cr_assert_eq(fixture_put(&f, 0, 8), 0);
	cr_expect(vmbus_tx_signal_due(&f.tx));
	cr_expect_eq(f.control->in, 32);
	fixture_fini(&f);
	/* no room: what was put must be seen, or the reader makes none */
	cr_assert_eq(fixture_init(&f, 1, false, 0), 0);
	cr_assert_eq(fixture_put(&f, 0, 4000), 0);
	cr_expect_not(vmbus_tx_wait_space(&f.tx, 200));
	cr_expect_eq(f.control->in, 4024);
	fixture_fini(&f);
}

Test(ring_signal, is_due_rather_too_often_behind_a_bad_index)
{
	cr_assert_eq(fixture_init(&f, 1, false, 0), 0);
	cr_assert_not(vmbus_rx_arm(&f.rx));
	f.control->out = 4;
	publish_one();
	cr_expect(vmbus_tx_signal_due(&f.tx));
	fixture_fini(&f);
}

Test(ring_signal, no_sleep_before_what_was_read_is_committed)
{
	cr_assert_eq(fixture_init(&f, 1, false, 0), 0);
	publish_one();
	cr_assert_eq(fixture_next(&f), 0);
	cr_expect(vmbus_rx_arm(&f.rx));
	cr_expect_not(vmbus_rx_commit(&f.rx));
	cr_expect_not(vmbus_rx_arm(&f.rx));
	fixture_fini(&f);
}

/* A full ring of 32-byte packets: 127 of them, 24 bytes stay free. */
static void fill(void)
{
	for (unsigned int i = 0; i < 127; i++)
		publish_one();
	cr_assert_eq(fixture_put(&f, 0, 8), -EAGAIN);
}

Test(ring_signal, tells_of_space_when_it_passes_what_was_asked_for)
{
	static const struct {
		const char *name;
		uint32_t wanted;
		unsigned int first; /* the packet, from 1, whose reading signals; 0: none */
	} rows[] = {
		{"nobody waits", 0, 0},
		{"free already", 24, 0},
		{"one packet", 32, 1},
		{"a byte more than two leave", 96, 3},
		{"exactly what two leave", 88, 2},
		{"hvsock's constant in a larger ring", 4120, 0},
		{"all of it", 4088, 127},
		{"size minus one means all of it", 4095, 127},
		{"low bits are ignored", 7, 0},
		{"nonsense", UINT32_MAX, 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cr_assert_eq(fixture_init(&f, 1, true, 256), 0);
		fill();
		f.control->pending_send_size = rows[i].wanted;
		for (unsigned int n = 1; n <= 127; n++)
			cr_expect_eq(read_some(1), n == rows[i].first, "%s: packet %u", rows[i].name, n);
		fixture_fini(&f);
	}
}

Test(ring_signal, a_commit_of_many_passes_the_mark_as_well)
{
	cr_assert_eq(fixture_init(&f, 1, false, 0), 0);
	fill();
	f.control->pending_send_size = 1024;
	cr_expect_not(read_some(20));
	cr_expect(read_some(100));
	cr_expect_not(read_some(7));
	cr_expect_not(vmbus_rx_commit(&f.rx), "nothing new");
	fixture_fini(&f);
}

Test(ring_signal, a_bad_index_gives_no_signal_for_space)
{
	cr_assert_eq(fixture_init(&f, 1, false, 0), 0);
	fill();
	f.control->pending_send_size = 32;
	cr_assert_eq(fixture_next(&f), 0);
	f.control->in = 4096;
	cr_expect_not(vmbus_rx_commit(&f.rx));
	fixture_fini(&f);
}

Test(ring_signal, a_blocked_writer_asks_for_a_quarter_and_takes_its_wish_back)
{
	cr_assert_eq(fixture_init(&f, 1, false, 0), 0);
	fill();
	cr_expect_not(vmbus_tx_wait_space(&f.tx, 32));
	cr_expect_eq(f.control->pending_send_size, 1024);
	cr_expect_not(vmbus_tx_wait_space(&f.tx, 2001));
	cr_expect_eq(f.control->pending_send_size, 2008);
	cr_expect_not(vmbus_tx_wait_space(&f.tx, 4096));
	cr_expect_eq(f.control->pending_send_size, 4088);
	cr_expect_not(read_some(1));
	publish_one();
	cr_expect_eq(f.control->pending_send_size, 0);
	cr_expect_not(vmbus_tx_wait_space(&f.tx, 32));
	cr_expect_not(read_some(1));
	cr_expect(vmbus_tx_reserve(&f.tx, 32));
	cr_expect_eq(f.control->pending_send_size, 0);
	/* what is reserved is not free for others */
	cr_expect_not(vmbus_tx_wait_space(&f.tx, 1024));
	cr_expect_eq(f.control->pending_send_size, 1056);
	cr_expect(read_some(33));
	cr_expect(vmbus_tx_wait_space(&f.tx, 1024));
	cr_expect_eq(f.control->pending_send_size, 0);
	fixture_fini(&f);
}

Test(ring_signal, knows_whether_the_peer_tells_of_space)
{
	cr_assert_eq(fixture_init(&f, 1, false, 0), 0);
	cr_expect(vmbus_rx_peer_frees(&f.rx));
	f.control->feature_bits = 0xfffffffe;
	cr_expect_not(vmbus_rx_peer_frees(&f.rx));
	fixture_fini(&f);
}
