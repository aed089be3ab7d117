/* SPDX-License-Identifier: MIT */
/* Who is signalled, when and how; and that a channel which is opened again begins anew. */
#include <errno.h>
#include <unistd.h>

#include "served.h"

/* -- Moving to another VP ---------------------------------------------------- */

Test(modify, takes_effect_with_the_next_signal)
{
	start();
	cr_expect_eq(mock_modify(&m, 1, 3), 0);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_MODIFY_CHANNEL_RESPONSE)->u.modified.status, 0);
	cr_expect_eq(vmbus_channel_target_vp(channel), 3);
	m.woken = false;
	packets_send(1);
	(void)vmbus_channel_service(channel, 64);
	cr_expect_eq(m.signal_vp, 3);
	cr_expect_not(m.woken, "nobody waits for the end of this signal");
	cr_expect_eq(mock_modify(&m, 1, 4), VMBUS_FAULT_BAD_VP);
	cr_expect_neq(mock_expect(&m, VMBUS_MSG_MODIFY_CHANNEL_RESPONSE)->u.modified.status, 0);
	cr_expect_eq(mock_modify(&m, 1, VMBUS_VP_NONE), VMBUS_FAULT_BAD_VP);
	mock_expect(&m, VMBUS_MSG_MODIFY_CHANNEL_RESPONSE);
	cr_expect_eq(vmbus_channel_target_vp(channel), 3);
	finish();
}

/* The guest's message comes in while a signal to the old VP is under way. */
static void modify_now(struct mock *mock)
{
	mock->on_signal = NULL;
	cr_expect_eq(mock->signal_vp, 2);
	cr_expect_eq(mock_modify(mock, 1, 3), 0);
	cr_expect_eq(mock_modify(mock, 1, 1), VMBUS_FAULT_WRONG_STATE, "one at a time");
	vmbus_server_poll(mock->server);
	mock_expect_none(mock);
	mock->woken = false;
}

Test(modify, is_answered_when_no_signal_to_the_old_vp_can_come)
{
	start();
	m.on_signal = modify_now;
	packets_send(1);
	(void)vmbus_channel_service(channel, 64);
	cr_expect(m.woken, "the end of the signal is told");
	mock_expect_none(&m);
	vmbus_server_poll(m.server);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_MODIFY_CHANNEL_RESPONSE)->u.modified.status, 0);
	m.woken = false;
	packets_take();
	packets_send(1);
	(void)vmbus_channel_service(channel, 64);
	cr_expect_eq(m.signal_vp, 3);
	cr_expect_not(m.woken);
	mock_check_settled(&m);
	finish();
}

static void modify_then_close(struct mock *mock)
{
	mock->on_signal = NULL;
	cr_expect_eq(mock_modify(mock, 1, 3), 0);
	cr_expect_eq(mock_channel(mock, VMBUS_MSG_CLOSE_CHANNEL, 1), 0);
}

Test(modify, is_answered_even_if_the_channel_closes)
{
	start();
	m.on_signal = modify_then_close;
	packets_send(1);
	mock_run(&m);
	mock_expect(&m, VMBUS_MSG_MODIFY_CHANNEL_RESPONSE);
	cr_expect_eq(channel->state, CHANNEL_CLOSED);
	mock_check_settled(&m);
	finish();
}

/* The closing may be finished by any call, before a poll looks at the signal. */
Test(modify, is_answered_by_the_closing_itself)
{
	start();
	m.on_signal = modify_then_close;
	packets_send(1);
	(void)vmbus_channel_service(channel, 64);
	cr_expect_eq(vmbus_channel_service(channel, 64), -ESHUTDOWN);
	m.served[0] = NULL;
	mock_expect_none(&m);
	cr_expect_eq(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS), VMBUS_FAULT_WRONG_STATE);
	mock_expect(&m, VMBUS_MSG_MODIFY_CHANNEL_RESPONSE);
	cr_expect_eq(channel->state, CHANNEL_CLOSED);
	finish();
}

/* It comes from the host's side: it waits for its place. */
Test(modify, its_answer_waits_for_a_place)
{
	mock_config(&m);
	m.config.max_messages = 2;
	start();
	m.slot = 0;
	m.on_signal = modify_now;
	packets_send(1);
	(void)vmbus_channel_service(channel, 64);
	cr_assert_eq(mock_gpadl(&m, 1, 5, 100, 1), 0);
	vmbus_server_poll(m.server);
	cr_expect_eq(m.server->queue_count, 1, "the last place is the guest's");
	mock_slot_free(&m, 2);
	mock_expect(&m, VMBUS_MSG_GPADL_CREATED);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_MODIFY_CHANNEL_RESPONSE)->u.modified.channel_id, 1);
	mock_slot_free(&m, UINT32_MAX);
	mock_expect_none(&m); /* once */
	mock_check_settled(&m);
	finish();
}

Test(modify, a_burst)
{
	/* before 5.3 there is no answer: the last one counts */
	start_at(VMBUS_V5_2, 2);
	for (uint32_t i = 0; i < 30; i++)
		cr_expect_eq(mock_modify(&m, 1, i % 4), 0);
	mock_expect_none(&m);
	cr_expect_eq(vmbus_channel_target_vp(channel), 1);
	finish();
	mock_config(&m);
	start_at(VMBUS_V5_3, 2);
	for (uint32_t i = 0; i < 30; i++) {
		cr_expect_eq(mock_modify(&m, 1, i % 4), 0);
		mock_expect(&m, VMBUS_MSG_MODIFY_CHANNEL_RESPONSE);
	}
	finish();
}

/* -- Old guests --------------------------------------------------------------- */

/* A 0.13 guest also sets its channel's bit, and may not signal again until it is clear. */
Test(signal, bits_of_the_interrupt_page_are_cleared)
{
	uint8_t *page;

	start_at(VMBUS_V0_13, 2);
	page = m.ram + 0x3000;
	memset(page, 0xff, VMBUS_PAGE_SIZE);
	packets_send(1);
	(void)vmbus_channel_service(channel, 64);
	cr_expect_eq(page[2048], 0xfd);
	cr_expect_eq(page[2049], 0xff);
	cr_expect_eq(page[0], 0xff, "the other half is not ours to clear");
	cr_expect_eq(device.packets, 1);
	finish();
}

/* At 0.13 alone, and whatever the channel's number. */
Test(signal, bits_are_those_of_the_channel)
{
	static struct mock_device many[12];

	for (uint32_t version = VMBUS_V0_13; version <= VMBUS_V1_1;
	     version += VMBUS_V1_1 - VMBUS_V0_13) {
		uint8_t *page;

		mock_init(&m);
		for (uint8_t i = 0; i < 12; i++)
			cr_assert_eq(mock_offer(&m, &many[i], i, NULL), 0);
		mock_connect(&m, version);
		cr_assert_eq(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS), 0);
		cr_assert_eq(mock_gpadl(&m, 11, 1, MOCK_RING_PFN, MOCK_RING_PAGES), 0);
		cr_assert_eq(mock_open(&m, 11, 1, 0), 0);
		page = m.ram + 0x3000;
		memset(page, 0xff, VMBUS_PAGE_SIZE);
		mock_run(&m);
		for (unsigned int i = 0; i < VMBUS_PAGE_SIZE; i++)
			cr_expect_eq(page[i], version == VMBUS_V0_13 && i == 2049 ? 0xf7 : 0xff,
				     "%u", i);
		mock_fini(&m);
	}
}

/* Nothing of it can be written: it is the guest's loss. */
Test(signal, an_interrupt_page_that_is_read_only_is_left_alone)
{
	static uint8_t rom[4096] __attribute__((aligned(4096)));
	struct vmbus_msg_initiate_contact contact = {.version = VMBUS_V0_13,
						     .u.interrupt_page = 1ull << 32};
	struct vmbus_region region = VMBUS_REGION_INIT;

	memset(&device, 0, sizeof(device));
	mock_init(&m);
	region.gpa = 1ull << 32;
	region.len = sizeof(rom);
	region.host = rom;
	region.flags = VMBUS_REGION_READONLY;
	cr_assert_eq(vmbus_mem_add(m.mem, &region), 0);
	cr_assert_eq(mock_offer(&m, &device, 1, NULL), 0);
	cr_expect_eq(mock_send(&m, VMBUS_MSG_INITIATE_CONTACT, &contact, 40), 0);
	mock_expect(&m, VMBUS_MSG_VERSION_RESPONSE);
	cr_assert_eq(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS), 0);
	cr_assert_eq(mock_gpadl(&m, 1, 1, MOCK_RING_PFN, MOCK_RING_PAGES), 0);
	cr_assert_eq(mock_open(&m, 1, 1, 0), 0);
	memset(rom, 0xff, sizeof(rom));
	mock_run(&m);
	cr_expect_eq(rom[2048], 0xff);
	mock_fini(&m);
}

/* -- What is answered outside of service ------------------------------------ */

static void answer_send(uint64_t id)
{
	struct vmbus_packet packet = {.type = VMBUS_PACKET_COMPLETION,
				      .transaction_id = id,
				      .payload = "1234567",
				      .payload_len = 8};

	cr_assert_eq(vmbus_channel_send(channel, &packet, 0), 0);
}

/* A guest that polls goes on at once; one that sleeps is woken by the next call, whatever
 * that is about. */
Test(signal, an_answer_is_shown_at_once_and_signalled_by_the_next_call)
{
	struct vmbus_channel_stats stats;

	start();
	answer_send(0);
	cr_expect_eq(down_control->in, 32);
	cr_expect_eq(m.signals, 0);
	(void)vmbus_channel_service(channel, 64);
	cr_expect_eq(m.signals, 1);
	cr_expect_eq(packets_take(), 1);
	vmbus_channel_get_stats(channel, &stats);
	cr_expect_eq(stats.bytes_out, 32);
	up_control->in = 12;
	(void)vmbus_channel_service(channel, 64);
	cr_expect_eq(vmbus_channel_fault(channel), VMBUS_FAULT_BAD_INDEX);
	answer_send(0);
	(void)vmbus_channel_service(channel, 64);
	cr_expect_eq(m.signals, 2, "of a channel that a fault has stopped");
	cr_expect_eq(packets_take(), 1);
	device.stop_result = -EINPROGRESS;
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, 1), 0);
	answer_send(0);
	(void)vmbus_channel_service(channel, 64);
	cr_expect_eq(m.signals, 3, "of a channel that closes");
	device.stop_result = 0;
	finish();
}

/* -- Progress ------------------------------------------------------------------ */

static struct {
	unsigned int at[8], count; /* packets that were done when a signal came */
	bool prompt;		   /* the guest takes what is there and sleeps again at once */
} seen;

static void signal_note(struct mock *mock)
{
	struct vmbus_packet packet;
	uint64_t buf[16];

	(void)mock;
	cr_assert_lt(seen.count, 8);
	seen.at[seen.count++] = device.packets;
	if (!seen.prompt)
		return;
	while (vmbus_rx_next(&rx, buf, sizeof(buf), &packet) == 0)
		;
	(void)!vmbus_rx_commit(&rx);
	cr_assert_not(vmbus_rx_arm(&rx));
}

Test(progress, wakes_the_guest_while_there_is_more_to_do)
{
	static const struct {
		unsigned int packets;
		bool progress, awake, prompt;
		unsigned int at[5], count;
	} rows[] = {
		{1, true, false, false, {1}, 1},
		{4, true, false, false, {4}, 1},
		{5, true, false, false, {4}, 1},
		{5, true, false, true, {4, 5}, 2},
		{13, true, false, false, {4}, 1},
		{30, true, false, false, {14}, 1},
		{30, true, false, true, {14, 18, 22, 26, 30}, 5},
		{30, true, true, false, {0}, 0},
		{30, false, false, true, {30}, 1},
		{64, true, false, false, {48}, 1},
		{64, true, false, true, {48, 52, 56, 60, 64}, 5},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		mock_config(&m);
		start();
		device.progress = rows[i].progress;
		down_control->interrupt_mask = rows[i].awake;
		memset(&seen, 0, sizeof(seen));
		seen.prompt = rows[i].prompt;
		m.on_signal = signal_note;
		packets_send(rows[i].packets);
		cr_expect_eq(vmbus_channel_service(channel, 64), 0);
		cr_expect_eq(seen.count, rows[i].count, "row %zu: %u", i, seen.count);
		for (unsigned int k = 0; k < rows[i].count; k++)
			cr_expect_eq(seen.at[k], rows[i].at[k], "row %zu: %u", i, seen.at[k]);
		m.on_signal = NULL;
		finish();
	}
}

/* What was counted begins anew, whether the batch or the budget came to its end. */
Test(progress, goes_on_with_the_next_call)
{
	start();
	device.progress = true;
	memset(&seen, 0, sizeof(seen));
	seen.prompt = true;
	m.on_signal = signal_note;
	packets_send(12);
	cr_expect_eq(vmbus_channel_service(channel, 6), 1);
	cr_expect_eq(vmbus_channel_service(channel, 6), 0);
	packets_send(3);
	cr_expect_eq(vmbus_channel_service(channel, 64), 0);
	cr_expect_eq(seen.count, 5);
	for (unsigned int k = 0; k < 5; k++)
		cr_expect_eq(seen.at[k], ((unsigned int[]){4, 6, 10, 12, 15})[k], "%u", seen.at[k]);
	m.on_signal = NULL;
	finish();
}

/* -- Again -------------------------------------------------------------------- */

static void called(struct vmbus_channel_call *call)
{
	(void)call;
	cr_expect(false, "a call of the one before");
}

static void open_again(void)
{
	memset(up_control, 0, sizeof(*up_control));
	memset(down_control, 0, sizeof(*down_control));
	cr_assert_eq(vmbus_tx_init(&tx, &up), 0);
	cr_assert_eq(vmbus_rx_init(&rx, &down), 0);
	cr_assert_eq(mock_open(&m, 1, 1, 2), 0);
}

/* Whatever was going on when it closed. */
Test(again, nothing_of_the_one_before_is_left)
{
	static struct vmbus_channel_call call = {.fn = called};
	struct vmbus_channel_stats stats;

	start();
	packets_send(3);
	device.service_result = -EBUSY;
	(void)vmbus_channel_service(channel, 64);
	vmbus_channel_set_user(channel, &call);
	cr_expect_eq(vmbus_channel_get_user(channel), &call);
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, 1), 0);
	mock_run(&m);
	cr_expect_eq(device.closes, 1);
	channel->call = &call; /* too late for its poll */
	device.service_result = 0;
	open_again();
	cr_expect_null(vmbus_channel_get_user(channel));
	vmbus_channel_get_stats(channel, &stats);
	cr_expect_eq(stats.services + stats.packets_in + stats.bytes_in + stats.doorbells, 0);
	cr_expect_not(vmbus_channel_pending(channel));
	packets_send(1);
	cr_expect(vmbus_channel_pending(channel), "no longer blocked");
	mock_run(&m);
	vmbus_server_poll(m.server);
	cr_expect_eq(packets_take(), 1);
	vmbus_channel_get_stats(channel, &stats);
	cr_expect_gt(stats.services, 0);
	finish();
}

/* That the device let go once does not mean that it has again. */
Test(again, the_second_close_waits_too)
{
	uint64_t count;

	start();
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, 1), 0);
	mock_run(&m);
	open_again();
	mock_run(&m);
	device.stop_result = -EINPROGRESS;
	(void)!read(vmbus_channel_doorbell(channel), &count, sizeof(count));
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, 1), 0);
	cr_expect_eq(read(vmbus_channel_doorbell(channel), &count, sizeof(count)), sizeof(count),
		     "the serving thread is woken");
	cr_expect(vmbus_channel_pending(channel), "a stop to begin");
	cr_expect(vmbus_channel_arm(channel));
	vmbus_server_poll(m.server);
	cr_expect_eq(device.closes, 1);
	mock_run(&m);
	cr_expect_eq(device.closes, 1);
	device.stop_result = 0;
	mock_run(&m);
	cr_expect_eq(device.closes, 2);
	finish();
}

/* A fault of each opening is told, once. */
Test(again, a_fault_is_told_again)
{
	start();
	for (unsigned int i = 1; i <= 2; i++) {
		up_control->in = 12;
		mock_run(&m);
		mock_run(&m);
		cr_expect_eq(m.server->faults[VMBUS_FAULT_BAD_INDEX], i);
		cr_expect_eq(mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, 1), 0);
		mock_run(&m);
		open_again();
		mock_run(&m);
	}
	finish();
}

/* They were asked of the server, and the guest has closed before they were offered. */
Test(again, sub_channels_that_were_wanted_are_not_any_more)
{
	mock_config(&m);
	m.config.max_channels = 4; /* two are offered */
	start();
	cr_expect_eq(vmbus_channel_offer_sub(channel, 3), -ENOSPC);
	cr_expect_eq(vmbus_channel_offer_sub(channel, 2), 0);
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, 1), 0);
	mock_run(&m);
	open_again();
	mock_run(&m);
	mock_expect(&m, VMBUS_MSG_OPEN_RESULT);
	mock_expect_none(&m);
	cr_expect_eq(vmbus_channel_offer_sub(channel, 2), 0);
	mock_run(&m);
	mock_expect(&m, VMBUS_MSG_OFFER);
	mock_expect(&m, VMBUS_MSG_OFFER);
	mock_expect_none(&m);
	finish();
}
