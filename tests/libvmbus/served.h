/* SPDX-License-Identifier: MIT */
/* A channel that is served, with the guest's ends of its rings in the test's hands. */
#ifndef TESTS_SERVED_H
#define TESTS_SERVED_H

#include <string.h>

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

static inline void rings_take(void)
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
static inline void start_at(uint32_t version, uint32_t vp)
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

static inline void start(void)
{
	start_at(VMBUS_V5_3, 2);
}

static inline void finish(void)
{
	vmbus_ring_unmap(&up);
	vmbus_ring_unmap(&down);
	mock_fini(&m);
}

/* Puts @n packets into the upstream ring. Returns whether the host must be signalled. */
static inline bool packets_send(unsigned int n)
{
	struct vmbus_packet packet = {
		.type = VMBUS_PACKET_INBAND, .payload = "12345678", .payload_len = 8};

	for (unsigned int i = 0; i < n; i++) {
		packet.transaction_id = i;
		cr_assert_eq(vmbus_tx_put(&tx, &packet, 0), 0);
	}
	return vmbus_tx_signal_due(&tx);
}

static inline unsigned int packets_take(void)
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

#endif
