/* SPDX-License-Identifier: MIT */
/* A channel that is served: packets, signals, sleep, memory that changes, faults, stop. The
 * guest's ends of the rings are ours here. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "mock.h"
#include "server.h"

static struct mock m;
static struct mock_device device, other;
static struct vmbus_channel *channel;
static struct vmbus_ring_memory up, down;
static struct vmbus_tx tx;
static struct vmbus_rx rx;
static struct vmbus_ring_control *up_control, *down_control;

static void rings_take(void)
{
	struct vmbus_view *view = vmbus_mem_view(m.mem);
	uint64_t pfns[MOCK_RING_PAGES];

	for (uint32_t i = 0; i < MOCK_RING_PAGES; i++)
		pfns[i] = MOCK_RING_PFN + i;
	cr_assert_eq(vmbus_ring_map(view, pfns, MOCK_RING_PAGES / 2, true, &up), 0);
	cr_assert_eq(
		vmbus_ring_map(view, pfns + MOCK_RING_PAGES / 2, MOCK_RING_PAGES / 2, true, &down),
		0);
	vmbus_view_unref(view);
	up_control = up.control;
	down_control = down.control;
	memset(up_control, 0, sizeof(*up_control));
	memset(down_control, 0, sizeof(*down_control));
	cr_assert_eq(vmbus_tx_init(&tx, &up), 0);
	cr_assert_eq(vmbus_rx_init(&rx, &down), 0);
	down_control->interrupt_mask = 0;
}

/* Channel 1 is open and at rest. */
static void start_at(uint32_t version, uint32_t vp)
{
	memset(&device, 0, sizeof(device));
	memset(&other, 0, sizeof(other));
	if (!m.config.ops)
		mock_config(&m);
	mock_start(&m);
	cr_assert_eq(mock_offer(&m, &device, 1, NULL), 0);
	cr_assert_eq(mock_offer(&m, &other, 2, NULL), 0);
	mock_connect(&m, version);
	cr_assert_eq(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS), 0);
	cr_assert_eq(mock_gpadl(&m, 1, 1, MOCK_RING_PFN, MOCK_RING_PAGES), 0);
	rings_take();
	cr_assert_eq(mock_open(&m, 1, 1, vp), 0);
	mock_run(&m);
	channel = device.channel;
	m.inbox_read = m.inbox_count;
	device.services = 0;
}

static void start(void)
{
	start_at(VMBUS_V5_3, 2);
}

static void finish(void)
{
	vmbus_ring_unmap(&up);
	vmbus_ring_unmap(&down);
	mock_fini(&m);
}

/* Puts @n packets into the upstream ring. Returns whether the host must be signalled. */
static bool packets_send(unsigned int n)
{
	struct vmbus_packet packet = {
		.type = VMBUS_PACKET_INBAND, .payload = "12345678", .payload_len = 8};

	for (unsigned int i = 0; i < n; i++) {
		packet.transaction_id = i;
		cr_assert_eq(vmbus_tx_put(&tx, &packet, 0), 0);
	}
	return vmbus_tx_signal_due(&tx);
}

static unsigned int packets_take(void)
{
	struct vmbus_packet packet;
	uint64_t buf[16];
	unsigned int n = 0;

	while (vmbus_rx_next(&rx, buf, sizeof(buf), &packet) == 0) {
		cr_expect_eq(packet.type, VMBUS_PACKET_COMPLETION);
		cr_expect_eq(packet.transaction_id, n++);
	}
	(void)!vmbus_rx_commit(&rx);
	return n;
}

Test(service, a_batch_costs_one_signal_each_way)
{
	struct vmbus_channel_stats stats;

	start();
	cr_expect_eq(up_control->interrupt_mask, 0, "armed at rest");
	cr_expect_not(vmbus_channel_pending(channel));
	cr_expect(packets_send(10), "the host sleeps");
	cr_expect(vmbus_channel_pending(channel));
	cr_expect_eq(vmbus_channel_service(channel, 64), 0);
	cr_expect_eq(up_control->interrupt_mask, 1, "masked while awake");
	cr_expect_eq(m.signals, 1);
	cr_expect_eq(m.signal_vp, 2);
	cr_expect_eq(packets_take(), 10);
	cr_expect_not(packets_send(1), "the host is awake");
	cr_expect(vmbus_channel_arm(channel), "something came in between");
	cr_expect_eq(vmbus_channel_service(channel, 64), 0);
	cr_expect_not(vmbus_channel_arm(channel));
	vmbus_channel_get_stats(channel, &stats);
	cr_expect_eq(stats.packets_in, 11);
	cr_expect_eq(stats.packets_out, 11);
	cr_expect_eq(stats.doorbells, 1);
	cr_expect_eq(stats.signals, 2);
	cr_expect_eq(stats.bytes_in, 11 * 32);
	finish();
}

Test(service, the_budget_is_kept)
{
	start();
	packets_send(10);
	cr_expect_eq(vmbus_channel_service(channel, 4), 1);
	cr_expect_eq(device.packets, 4);
	cr_expect_eq(vmbus_channel_service(channel, 4), 1);
	cr_expect_eq(vmbus_channel_service(channel, 4), 0);
	cr_expect_eq(device.packets, 10);
	finish();
}

/* Or its loop would find the ring not empty for ever. */
Test(service, a_device_that_can_take_no_more_lets_the_channel_sleep)
{
	start();
	packets_send(3);
	device.service_result = -EBUSY;
	cr_expect_eq(vmbus_channel_service(channel, 64), 0);
	cr_expect_not(vmbus_channel_pending(channel));
	cr_expect_not(vmbus_channel_arm(channel));
	device.service_result = 0;
	cr_expect_eq(vmbus_channel_service(channel, 64), 0);
	cr_expect_eq(device.packets, 3);
	cr_expect_not(vmbus_channel_arm(channel));
	cr_expect_eq(up_control->interrupt_mask, 0);
	finish();
}

Test(service, a_guest_that_wants_no_interrupts_gets_none)
{
	start_at(VMBUS_V5_3, VMBUS_VP_NONE);
	packets_send(1);
	cr_expect_eq(vmbus_channel_service(channel, 64), 0);
	cr_expect_eq(packets_take(), 1);
	cr_expect_eq(m.signals, 0);
	cr_expect_eq(mock_modify(&m, 1, 1), VMBUS_FAULT_BAD_VP);
	cr_expect_neq(mock_expect(&m, VMBUS_MSG_MODIFY_CHANNEL_RESPONSE)->u.modified.status, 0);
	finish();
}

/* -- Faults --------------------------------------------------------------- */

Test(service, a_corrupt_ring_stops_its_channel_alone)
{
	struct vmbus_channel_stats stats;

	start();
	cr_assert_eq(mock_gpadl(&m, 2, 2, 40, MOCK_RING_PAGES), 0);
	cr_assert_eq(mock_open(&m, 2, 2, 1), 0);
	mock_run(&m);
	packets_send(2);
	up_control->in = 12; /* no multiple of 8 */
	cr_expect_eq(vmbus_channel_service(channel, 64), 0);
	cr_expect_eq(vmbus_channel_fault(channel), VMBUS_FAULT_BAD_INDEX);
	mock_run(&m);
	cr_expect_eq(m.server->faults[VMBUS_FAULT_BAD_INDEX], 1);
	cr_expect_eq(m.logs, 1);
	/* it stays open, asleep, and answers nothing */
	up_control->in = 64;
	device.services = 0;
	cr_expect_not(vmbus_channel_pending(channel));
	cr_expect_not(vmbus_channel_arm(channel));
	cr_expect_eq(vmbus_channel_service(channel, 64), 0);
	cr_expect_eq(device.services, 0);
	vmbus_channel_get_stats(channel, &stats);
	cr_expect_eq(stats.faults, 1);
	cr_expect_eq(vmbus_channel_fault(other.channel), VMBUS_FAULT_NONE);
	/* until the guest closes it and opens it again */
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, 1), 0);
	mock_run(&m);
	memset(up_control, 0, sizeof(*up_control));
	cr_expect_eq(mock_open(&m, 1, 1, 0), 0);
	mock_run(&m);
	cr_expect_eq(vmbus_channel_fault(channel), VMBUS_FAULT_NONE);
	cr_expect_eq(m.logs, 1);
	finish();
}

Test(service, what_was_answered_before_the_fault_is_still_shown)
{
	struct vmbus_packet_descriptor *second;

	start();
	packets_send(2);
	second = (void *)(up.pages[0] + 32);
	second->type = 99;
	cr_expect_eq(vmbus_channel_service(channel, 64), 0);
	cr_expect_eq(vmbus_channel_fault(channel), VMBUS_FAULT_BAD_PACKET_TYPE);
	cr_expect_eq(packets_take(), 1);
	cr_expect_eq(m.signals, 1);
	cr_expect_eq(up_control->out, 0, "nothing is taken off a corrupt ring");
	finish();
}

Test(service, the_hosts_trouble_stops_it_too)
{
	start();
	device.service_result = -EIO;
	cr_expect_eq(vmbus_channel_service(channel, 64), 0);
	cr_expect_eq(vmbus_channel_fault(channel), VMBUS_FAULT_NONE);
	mock_run(&m);
	device.services = 0;
	device.service_result = 0;
	cr_expect_eq(vmbus_channel_service(channel, 64), 0);
	cr_expect_eq(device.services, 0);
	cr_expect_eq(m.logs, 0, "it is not the guest's doing");
	finish();
}

/* -- Stop ----------------------------------------------------------------- */

Test(service, a_stop_is_asked_until_the_device_is_done)
{
	start();
	packets_send(5);
	device.stop_result = -EINPROGRESS;
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, 1), 0);
	cr_expect(vmbus_channel_pending(channel));
	cr_expect(vmbus_channel_arm(channel));
	cr_expect_eq(vmbus_channel_service(channel, 64), 0);
	cr_expect_eq(device.services, 0);
	/* from here on the requests in flight bring the next call */
	cr_expect_not(vmbus_channel_pending(channel));
	cr_expect_not(vmbus_channel_arm(channel));
	cr_expect_eq(vmbus_channel_service(channel, 64), 0);
	cr_expect_eq(device.stops, 2);
	m.woken = false;
	device.stop_result = 0;
	cr_expect_eq(vmbus_channel_service(channel, 64), -ESHUTDOWN);
	cr_expect(m.woken);
	m.served[0] = NULL;
	cr_expect_eq(device.closes, 0);
	mock_run(&m);
	cr_expect_eq(device.closes, 1);
	finish();
}

Test(service, a_doorbell_outlives_its_close)
{
	int first;

	start();
	first = vmbus_channel_doorbell(channel);
	cr_expect_eq(m.doorbells[0].fd, first);
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, 1), 0);
	mock_run(&m);
	cr_expect_eq(m.doorbell_count, 0);
	cr_expect_neq(fcntl(first, F_GETFD), -1, "who watches it late watches no other file");
	cr_expect_eq(mock_open(&m, 1, 1, 0), 0);
	cr_expect_neq(vmbus_channel_doorbell(channel), first);
	cr_expect_eq(fcntl(first, F_GETFD), -1);
	finish();
}

/* -- Memory that changes ---------------------------------------------------- */

static unsigned int removals;

static void removed(void *opaque)
{
	(void)opaque;
	removals++;
}

static void plug(bool in)
{
	static uint8_t page[4096] __attribute__((aligned(4096)));
	struct vmbus_region region = VMBUS_REGION_INIT;

	region.gpa = 1ull << 30;
	region.len = sizeof(page);
	region.host = page;
	if (in)
		cr_assert_eq(vmbus_mem_add(m.mem, &region), 0);
	else
		cr_assert_eq(vmbus_mem_remove(m.mem, region.gpa, removed, NULL), 0);
	vmbus_server_memory_changed(m.server);
}

Test(service, an_idle_channel_lets_go_of_an_old_layout)
{
	uint64_t count;

	start();
	plug(true);
	cr_expect_eq(read(vmbus_channel_doorbell(channel), &count, sizeof(count)), sizeof(count));
	cr_expect(vmbus_channel_arm(channel), "there is something to do");
	cr_expect_eq(vmbus_channel_service(channel, 64), 0);
	cr_expect_not_null(vmbus_view_page(vmbus_channel_view(channel), 1 << 18, true));
	plug(false);
	cr_expect_eq(removals, 0);
	cr_expect_eq(vmbus_channel_service(channel, 64), 0);
	cr_expect_eq(removals, 1);
	finish();
}

Test(service, requests_in_flight_keep_the_layout_and_no_new_ones_are_taken)
{
	const struct vmbus_view *view;

	start();
	plug(true);
	mock_run(&m);
	view = vmbus_channel_view(channel);
	vmbus_channel_busy(channel, 2);
	plug(false);
	packets_send(3);
	cr_expect_eq(vmbus_channel_service(channel, 64), 0);
	cr_expect_eq(device.budget, 0);
	cr_expect_eq(device.packets, 0);
	cr_expect_eq(vmbus_channel_view(channel), view);
	vmbus_channel_busy(channel, -1);
	cr_expect_eq(vmbus_channel_service(channel, 64), 0);
	cr_expect_eq(removals, 0);
	device.in_flight = 1; /* is answered from inside */
	cr_expect_eq(vmbus_channel_service(channel, 64), 1, "at once again");
	cr_expect_eq(device.packets, 0);
	cr_expect_eq(vmbus_channel_service(channel, 64), 0);
	cr_expect_eq(removals, 1);
	cr_expect_eq(device.packets, 3);
	finish();
}

Test(service, a_stopped_channel_holds_no_layout)
{
	start();
	plug(true);
	mock_run(&m);
	up_control->in = 4;
	(void)vmbus_channel_service(channel, 64);
	cr_expect_eq(vmbus_channel_fault(channel), VMBUS_FAULT_BAD_INDEX);
	plug(false);
	mock_run(&m);
	cr_expect_eq(removals, 1, "nor does one that a fault has stopped");
	finish();
}

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
Test(service, bits_of_the_interrupt_page_are_cleared)
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

Test(service, both_forms_of_mapping_serve_alike)
{
	for (int paged = 0; paged < 2; paged++) {
		mock_config(&m);
		m.config.paged_rings = paged;
		start();
		cr_expect_eq(!channel->upstream.data, paged);
		for (unsigned int round = 0; round < 100; round++) {
			packets_send(50);
			mock_run(&m);
			cr_expect_eq(packets_take(), 50);
		}
		finish();
	}
}

/* -- Calls in the server's thread ---------------------------------------------- */

static unsigned int calls;

static void called(struct vmbus_channel_call *call)
{
	(void)call;
	calls++;
}

Test(service, a_call_is_made_once_by_the_next_poll)
{
	struct vmbus_channel_call call = {.fn = called};

	start();
	vmbus_channel_call(channel, &call);
	cr_expect(m.woken);
	cr_expect_eq(calls, 0);
	mock_run(&m);
	vmbus_server_poll(m.server);
	cr_expect_eq(calls, 1);
	/* also while the device closes: it waits for it */
	device.stop_result = -EINPROGRESS;
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, 1), 0);
	vmbus_channel_call(channel, &call);
	mock_run(&m);
	cr_expect_eq(calls, 2);
	device.stop_result = 0;
	finish();
}
