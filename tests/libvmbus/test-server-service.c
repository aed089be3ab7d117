/* SPDX-License-Identifier: MIT */
/* A channel that is served: packets, sleep, memory that changes, faults, stop. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "served.h"

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

Test(service, eager_is_a_device_that_says_so_after_packets_either_way)
{
	struct vmbus_packet packet = {
		.type = VMBUS_PACKET_COMPLETION, .payload = "12345678", .payload_len = 8};

	start();
	packets_send(1);
	cr_expect_eq(vmbus_channel_service(channel, 64), 0);
	cr_expect_not(vmbus_channel_eager(channel), "the device does not say so");
	channel->ops.eager = true;
	cr_expect_not(vmbus_channel_eager(channel), "nothing since the last call");
	packets_send(1);
	cr_expect_not(vmbus_channel_eager(channel), "not taken yet");
	cr_expect_eq(vmbus_channel_service(channel, 64), 0);
	cr_expect(vmbus_channel_eager(channel));
	cr_expect_not(vmbus_channel_eager(channel));
	cr_expect_eq(vmbus_channel_send(channel, &packet, 0), 0);
	cr_expect(vmbus_channel_eager(channel), "an answer that came later");
	cr_expect_not(vmbus_channel_eager(channel));
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
	cr_expect_not(vmbus_channel_pending(channel), "nor is it looked for");
	cr_expect_not(vmbus_channel_arm(channel));
	cr_expect_eq(vmbus_channel_view(channel), view);
	vmbus_channel_busy(channel, -1);
	cr_expect_eq(vmbus_channel_service(channel, 64), 0);
	cr_expect_eq(removals, 0);
	cr_expect_not(vmbus_channel_arm(channel));
	device.in_flight = 1; /* is answered from inside */
	cr_expect_eq(vmbus_channel_service(channel, 64), 1, "at once again");
	cr_expect(vmbus_channel_arm(channel));
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
