/* SPDX-License-Identifier: MIT */
/* The limits of the pool and of the answer ring, stop, and what is counted. */
#include <unistd.h>

#include "srb-fixture.h"

/* -- Limits --------------------------------------------------------------- */

Test(srb, a_pool_that_is_empty_makes_the_guest_wait)
{
	struct srb srb = srb_rw(false, 0, 1);
	struct answer a;

	setup(0); /* 8 requests */
	disk.hold = true;
	for (uint64_t i = 1; i <= 30; i++)
		cr_assert_eq(srb_put(&h, line, i, &srb), 0);
	harness_run(&h);
	cr_expect_eq(disk.held_count, 8);
	cr_expect_not(vmbus_rx_pending(&line->rx));
	for (uint64_t i = 1; i <= 30; i++) {
		held_disk_finish(&disk, 0);
		harness_run(&h);
		cr_expect_eq(answer_expect(line, i).p.u.srb.srb_status, 1);
		cr_expect_eq(disk.held_count, i <= 22 ? 8 : 30 - i);
	}
	cr_expect_not(answer_take(line, &a));
	teardown();
}

Test(srb, two_requests_with_one_id_are_both_answered)
{
	struct srb srb = srb_rw(false, 0, 1);

	setup(0);
	disk.hold = true;
	cr_assert_eq(srb_put(&h, line, 42, &srb), 0);
	cr_assert_eq(srb_put(&h, line, 42, &srb), 0);
	harness_run(&h);
	held_disk_finish(&disk, 0);
	held_disk_finish(&disk, 0);
	harness_run(&h);
	answer_expect(line, 42);
	answer_expect(line, 42);
	teardown();
}

static unsigned int signalled_after; /* reads */

static void signal_note(struct mock *mock)
{
	(void)mock;
	signalled_after = disk.ops[VSP_BLOCK_READ];
}

/* It wakes up while the disk reads on. */
Test(srb, a_guest_that_sleeps_is_signalled_before_the_end_of_a_long_batch)
{
	struct srb srb = srb_rw(false, 0, 1);

	setup(0);
	cr_assert_not(vmbus_rx_arm(&line->rx));
	h.mock.signals = 0;
	h.mock.on_signal = signal_note;
	for (uint64_t i = 1; i <= 30; i++)
		cr_assert_eq(srb_put(&h, line, i, &srb), 0);
	harness_run(&h);
	h.mock.on_signal = NULL;
	cr_expect_eq(h.mock.signals, 1, "%u", h.mock.signals);
	cr_expect_eq(signalled_after, 14, "%u", signalled_after);
	for (uint64_t i = 1; i <= 30; i++)
		cr_expect_eq(answer_expect(line, i).p.u.srb.srb_status, 1);
	teardown();
}

/* Puts until nothing more is taken; returns how many were put. */
static uint64_t flood(void)
{
	struct srb srb = {.direction = VSP_SRB_NONE};
	uint64_t put = 0;

	for (unsigned int tries = 0; tries < 2;) {
		if (srb_put(&h, line, put, &srb) == 0) {
			put++;
			tries = 0;
			continue;
		}
		tries++;
		harness_run(&h);
	}
	return put;
}

Test(srb, a_guest_that_takes_no_answers_is_not_served_until_it_does)
{
	uint64_t put, taken = 0;
	struct answer a;

	setup(0);
	put = flood();
	cr_expect_lt(put, 300, "both rings are full");
	cr_expect_gt(line->controls[1]->pending_send_size, 0, "the host asks to be told");
	while (answer_take(line, &a)) {
		cr_expect_eq(a.id, taken);
		taken++;
		harness_run(&h);
	}
	cr_expect_eq(taken, put);
	teardown();
}

/* An old guest promises no signal when space comes free. */
Test(srb, a_guest_that_cannot_tell_of_free_space_is_looked_after)
{
	uint64_t put, taken = 0;
	struct answer a;

	setup(0);
	harness_close(&h);
	harness_run(&h);
	cr_assert_eq(vmbus_loop_new(NULL, &h.loop, NULL), 0);
	line = harness_ready(&h, VSP_STORVSP_WIN8);
	line->controls[0]->feature_bits = 0;
	put = flood();
	while (answer_take(line, &a))
		taken++;
	cr_expect_lt(taken, put);
	/* nobody rings: only the timer */
	for (int i = 0; i < 100 && taken < put; i++) {
		uint64_t rung;

		(void)!vmbus_loop_step(h.loop, 20000000);
		for (unsigned int k = 0; k < h.mock.doorbell_count; k++)
			if (read(h.mock.doorbells[k].fd, &rung, sizeof(rung)) == sizeof(rung))
				harness_run(&h);
		while (answer_take(line, &a))
			taken++;
	}
	cr_expect_eq(taken, put);
	vsp_disk_unref(ref);
	harness_fini(&h);
	vmbus_loop_free(h.loop);
}

/* Without a loop there is no timer: it goes on when the guest asks for more. */
Test(srb, a_guest_that_cannot_tell_of_free_space_needs_no_loop)
{
	uint64_t put, taken = 0;
	struct answer a;

	setup(0);
	line->controls[0]->feature_bits = 0;
	put = flood();
	while (taken < put && answer_take(line, &a)) {
		taken++;
		harness_run(&h);
	}
	cr_expect_eq(taken, put);
	teardown();
}

/* -- Guest memory that comes and goes ------------------------------------- */

static uint8_t plugged[16 * VMBUS_PAGE_SIZE] __attribute__((aligned(4096)));
#define PLUGGED_GPA (1ull << 32)
static unsigned int unplugged;

static void memory_gone(void *opaque)
{
	(void)opaque;
	unplugged++;
}

static void memory_plug(bool in)
{
	struct vmbus_region region = VMBUS_REGION_INIT;

	region.gpa = PLUGGED_GPA;
	region.len = sizeof(plugged);
	region.host = plugged;
	if (in)
		cr_assert_eq(vmbus_mem_add(h.mock.mem, &region), 0);
	else
		cr_assert_eq(vmbus_mem_remove(h.mock.mem, region.gpa, memory_gone, NULL), 0);
	vmbus_server_memory_changed(h.mock.server);
}

/* What runs goes on in the memory that it began in, which is let go of with its last
 * request; what comes meanwhile waits, and finds the new layout. */
Test(srb, memory_may_go_while_requests_run)
{
	struct srb in = srb_rw(false, 3, 16), elsewhere = srb_rw(false, 3, 16);
	struct answer a;

	setup(0);
	memset(disk.data, 0x42, HARNESS_DISK);
	in.pfn = PLUGGED_GPA >> VMBUS_PAGE_SHIFT;
	cr_expect_eq(srb_exchange(&h, line, &in).p.u.srb.srb_status, 0x86, "not there yet");
	for (unsigned int round = 0; round < 20; round++) {
		memset(plugged, 0, sizeof(plugged));
		memory_plug(true);
		disk.hold = true;
		cr_assert_eq(srb_put(&h, line, 1, &in), 0);
		cr_assert_eq(srb_put(&h, line, 2, &in), 0);
		harness_run(&h);
		cr_expect_eq(disk.held_count, 2);
		memory_plug(false);
		cr_assert_eq(srb_put(&h, line, 3, &in), 0);
		cr_assert_eq(srb_put(&h, line, 4, &elsewhere), 0);
		harness_run(&h);
		cr_expect_eq(disk.held_count, 2, "nothing new is begun");
		held_disk_finish(&disk, 0);
		harness_run(&h);
		cr_expect_eq(unplugged, round);
		cr_expect_eq(answer_expect(line, 1).p.u.srb.srb_status, 1);
		held_disk_finish(&disk, 0);
		disk.hold = false;
		harness_run(&h);
		cr_expect_eq(unplugged, round + 1);
		cr_expect_eq(answer_expect(line, 2).p.u.srb.srb_status, 1);
		cr_expect_eq(plugged[16 * 512 - 1], 0x42, "it was still written");
		while (disk.held_count > 0) {
			held_disk_finish(&disk, 0);
			harness_run(&h);
		}
		cr_expect_eq(answer_expect(line, 3).p.u.srb.srb_status, 0x86, "it is gone");
		cr_expect_eq(answer_expect(line, 4).p.u.srb.srb_status, 1);
		cr_expect_not(answer_take(line, &a));
	}
	teardown();
}

/* -- Stop ----------------------------------------------------------------- */

Test(srb, a_reset_is_acknowledged_and_what_runs_goes_on)
{
	struct srb srb = srb_rw(true, 0, 1);

	setup(0);
	disk.hold = true;
	cr_assert_eq(srb_put(&h, line, 1, &srb), 0);
	harness_run(&h);
	for (uint32_t op = VSP_STORVSP_RESET_LUN; op <= VSP_STORVSP_RESET_BUS; op++)
		cr_expect_eq(message_exchange(&h, line, op, 0), 0);
	held_disk_finish(&disk, 0);
	harness_run(&h);
	cr_expect_eq(answer_expect(line, 1).p.u.srb.srb_status, 1);
	teardown();
}

Test(srb, a_channel_closes_after_its_last_request)
{
	struct srb srb = srb_rw(true, 0, 16);

	setup(0);
	disk.hold = true;
	for (uint64_t i = 0; i < 5; i++)
		cr_assert_eq(srb_put(&h, line, i, &srb), 0);
	harness_run(&h);
	harness_close(&h);
	for (int i = 0; i < 5; i++) {
		harness_run(&h);
		cr_expect_eq(disk.queues, 1, "still open");
		held_disk_finish(&disk, i % 2 ? -EIO : 0);
	}
	harness_run(&h);
	cr_expect_eq(disk.queues, 0);
	disk.hold = false;
	line = harness_ready(&h, VSP_STORVSP_WIN10);
	expect_success(&srb, "opened again");
	teardown();
}

Test(srb, counts_what_it_did)
{
	struct srb read = srb_rw(false, 0, 2), write = srb_rw(true, 0, 4),
		   bad = srb_rw(false, 0xffffffff, 1);
	struct srb flush = {.direction = VSP_SRB_NONE, .cdb = {0x35}};
	struct srb ready = {.direction = VSP_SRB_NONE};
	struct vsp_storage_stats s;

	setup(0);
	for (int i = 0; i < 3; i++)
		expect_success(&read, "read");
	expect_success(&write, "write");
	expect_success(&flush, "flush");
	expect_success(&ready, "ready");
	(void)srb_exchange(&h, line, &bad);
	for (int i = 0; i < 2; i++) { /* open, and closed */
		vsp_storage_get_stats(h.storage, &s);
		cr_expect_eq(s.reads, 3);
		cr_expect_eq(s.read_bytes, 3 * 1024);
		cr_expect_eq(s.writes, 1);
		cr_expect_eq(s.write_bytes, 2048);
		cr_expect_eq(s.flushes, 1);
		cr_expect_eq(s.other, 2);
		cr_expect_eq(s.errors, 1);
		cr_expect_eq(s.bad_requests, 0);
		if (i == 0)
			harness_close(&h);
		harness_run(&h);
	}
	teardown();
}
