/* SPDX-License-Identifier: MIT */
/* The guest's end of the echo device. */
#include <errno.h>
#include <string.h>

#include "echo.h"

#define RUBBISH 2048u

void echo_driver_init(struct echo_driver *driver, struct vmbus_inproc *bus,
		      struct vmbus_guest_channel *channel, uint32_t requests)
{
	memset(driver, 0, sizeof(*driver));
	driver->bus = bus;
	driver->channel = channel;
	driver->to_send = requests;
	driver->size_max = 256;
}

static uint8_t *byte_at(struct echo_driver *driver, const struct echo_sent *sent, uint32_t i)
{
	uint32_t at = sent->offset + i;
	uint8_t *page = vmbus_inproc_page(driver->bus, sent->pfns[at / VMBUS_PAGE_SIZE]);

	return page + at % VMBUS_PAGE_SIZE;
}

/* Pages with something in them, starting anywhere. */
static void pages_fill(struct echo_driver *driver, struct echo_sent *sent)
{
	bool large = vmbus_inproc_random(driver->bus, 32) == 0;
	uint32_t bytes = 1 + vmbus_inproc_random(driver->bus, large ? 3 * VMBUS_PAGE_SIZE : 64);

	sent->offset = vmbus_inproc_random(driver->bus, VMBUS_PAGE_SIZE);
	sent->pages = (sent->offset + bytes + VMBUS_PAGE_SIZE - 1) / VMBUS_PAGE_SIZE;
	if (vmbus_inproc_alloc(driver->bus, sent->pages, sent->pfns)) {
		sent->pages = 0;
		return;
	}
	sent->request.bytes = bytes;
	sent->request.key = 1 + vmbus_inproc_random(driver->bus, 255);
	sent->sum = 0;
	for (uint32_t i = 0; i < bytes; i++) {
		uint8_t value = (uint8_t)(i * 7 + sent->request.number);

		*byte_at(driver, sent, i) = value;
		sent->sum += value;
	}
}

static void sent_free(struct echo_driver *driver, struct echo_sent *sent)
{
	vmbus_inproc_release(driver->bus, sent->pages, sent->pfns);
	memset(sent, 0, sizeof(*sent));
	driver->in_flight--;
}

static void answer_check(struct echo_driver *driver, const struct vmbus_packet *packet)
{
	uint64_t slot = packet->transaction_id - 1;
	struct echo_answer answer = {0, 0};
	struct echo_sent *sent;

	if (packet->payload_len == sizeof(answer))
		memcpy(&answer, packet->payload, sizeof(answer));
	if (slot >= ECHO_DEPTH || !driver->sent[slot].used) {
		vmbus_inproc_fail(driver->bus, "echo: an answer to nothing");
		return;
	}
	sent = &driver->sent[slot];
	if (answer.number != sent->request.number || answer.sum != sent->sum)
		vmbus_inproc_fail(
			driver->bus, "echo: request %llu was answered as %llu, sum %llu not %llu",
			(unsigned long long)sent->request.number, (unsigned long long)answer.number,
			(unsigned long long)answer.sum, (unsigned long long)sent->sum);
	for (uint32_t i = 0; i < sent->request.bytes; i++) {
		uint8_t expected = (uint8_t)(i * 7 + sent->request.number + sent->request.key);

		if (*byte_at(driver, sent, i) == expected)
			continue;
		vmbus_inproc_fail(driver->bus, "echo: byte %u of request %llu is wrong", i,
				  (unsigned long long)sent->request.number);
		break;
	}
	sent_free(driver, sent);
	driver->answered++;
}

/* Returns false if the ring is full: the host will say when it is not. */
static bool request_send(struct echo_driver *driver, uint32_t slot)
{
	static const uint8_t rubbish[RUBBISH];
	struct echo_sent *sent = &driver->sent[slot];
	uint64_t ranges[2 + 8];
	uint8_t payload[sizeof(sent->request) + RUBBISH];
	struct vmbus_packet packet = {
		.type = VMBUS_PACKET_INBAND,
		.flags = VMBUS_PACKET_COMPLETION_REQUESTED,
		.transaction_id = slot + 1,
		.header = ranges,
		.payload = payload,
	};
	uint32_t extra = vmbus_inproc_random(driver->bus, driver->size_max);
	int err;

	memset(sent, 0, sizeof(*sent));
	sent->request.number = driver->next_number;
	if (vmbus_inproc_random(driver->bus, 2))
		pages_fill(driver, sent);
	if (sent->pages) {
		struct vmbus_gpa_direct direct = {.range_count = 1};
		struct vmbus_gpa_range range = {.byte_count = sent->request.bytes,
						.byte_offset = sent->offset};

		packet.type = VMBUS_PACKET_GPA_DIRECT;
		packet.header_len = 16 + 8 * sent->pages;
		memcpy(&ranges[0], &direct, 8);
		memcpy(&ranges[1], &range, 8);
		memcpy(&ranges[2], sent->pfns, 8 * sent->pages);
	}
	memcpy(payload, &sent->request, sizeof(sent->request));
	memcpy(payload + sizeof(sent->request), rubbish, extra);
	packet.payload_len = (uint32_t)sizeof(sent->request) + extra;
	err = vmbus_tx_put(&driver->channel->tx, &packet, 0);
	driver->in_flight++;
	if (err) {
		sent_free(driver, sent);
		if (err != -EAGAIN)
			vmbus_inproc_fail(driver->bus, "echo: put says %d", err);
		/* room came free in between: the caller tries again */
		return vmbus_tx_wait_space(
			&driver->channel->tx,
			vmbus_packet_ring_bytes(packet.header_len, packet.payload_len));
	}
	sent->used = true;
	driver->next_number++;
	driver->to_send--;
	return true;
}

static void answers_read(struct echo_driver *driver)
{
	uint64_t buf[512];
	struct vmbus_packet packet;
	int err;

	while ((err = vmbus_rx_next(&driver->channel->rx, buf, sizeof(buf), &packet)) == 0) {
		if (packet.type == VMBUS_PACKET_COMPLETION)
			answer_check(driver, &packet);
		else
			driver->notices++;
		/* now and then the host is told in between */
		if (vmbus_inproc_random(driver->bus, 8) == 0)
			vmbus_guest_commit(driver->channel);
	}
	if (err != -EAGAIN)
		vmbus_inproc_fail(driver->bus, "echo: the host's ring is corrupt (%d)", err);
	vmbus_guest_commit(driver->channel);
}

void echo_driver_event(struct echo_driver *driver)
{
	if (driver->asleep) { /* and is not told twice */
		vmbus_inproc_kick(driver->bus, driver->channel);
		return;
	}
	answers_read(driver);
	while (driver->to_send && driver->in_flight < ECHO_DEPTH) {
		uint32_t slot = 0;

		while (driver->sent[slot].used)
			slot++;
		if (!request_send(driver, slot))
			break;
		if (vmbus_inproc_random(driver->bus, 4) == 0)
			vmbus_guest_signal(driver->channel);
	}
	vmbus_guest_signal(driver->channel);
}

bool echo_driver_done(const struct echo_driver *driver)
{
	return !driver->to_send && !driver->in_flight;
}

void echo_driver_abandon(struct echo_driver *driver)
{
	memset(driver->sent, 0, sizeof(driver->sent));
	driver->in_flight = 0;
	driver->to_send = 0;
	driver->asleep = true;
}
