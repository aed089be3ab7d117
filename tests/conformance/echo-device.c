/* SPDX-License-Identifier: MIT */
/* The host's end of the echo device. */
#include <errno.h>
#include <string.h>

#include "echo.h"

#define ANSWER_BYTES vmbus_packet_ring_bytes(0, sizeof(struct echo_answer))
#define PACKET_MAX 4096u

static struct echo_open *open_of(struct echo_device *device, const struct vmbus_channel *channel)
{
	for (uint32_t i = 0; i < ECHO_CHANNELS; i++)
		if (device->opens[i].channel == channel)
			return &device->opens[i];
	return NULL;
}

static int echo_open(void *opaque, struct vmbus_channel *channel)
{
	struct echo_device *device = opaque;
	struct echo_open *open = open_of(device, NULL);

	if (device->refuse_open || !open)
		return -EBUSY;
	memset(open, 0, sizeof(*open));
	open->channel = channel;
	device->opened++;
	return 0;
}

/* Sums up the bytes of the guest's pages and adds the key to each, in place. */
static int pages_change(struct vmbus_channel *channel, struct echo_held *held, uint64_t *sum)
{
	const struct vmbus_view *view = vmbus_channel_view(channel);
	uint8_t bytes[512];
	uint32_t at, n;

	*sum = 0;
	for (at = 0; at < held->span.len; at += n) {
		n = held->span.len - at < sizeof(bytes) ? held->span.len - at : sizeof(bytes);
		if (vmbus_span_read(view, &held->span, at, bytes, n))
			return VMBUS_FAULT_BAD_GPA;
		for (uint32_t i = 0; i < n; i++) {
			*sum += bytes[i];
			bytes[i] = (uint8_t)(bytes[i] + held->request.key);
		}
		if (vmbus_span_write(view, &held->span, at, bytes, n))
			return VMBUS_FAULT_BAD_GPA;
	}
	return 0;
}

static void notice_send(struct echo_device *device, struct vmbus_channel *channel)
{
	struct vmbus_packet packet = {
		.type = VMBUS_PACKET_INBAND, .payload = "notice", .payload_len = 6};

	if (vmbus_inproc_random(device->bus, 256) >= device->chatter)
		return;
	if (vmbus_channel_send(channel, &packet, 0) == 0)
		device->notices++;
}

/* A request held since it was read is done, and answered from the space kept for that. */
static void held_finish(struct echo_device *device, struct echo_open *open, uint32_t i)
{
	struct echo_held *held = &open->held[i];
	struct echo_answer answer = {.number = held->request.number};
	struct vmbus_packet packet = {
		.type = VMBUS_PACKET_COMPLETION,
		.transaction_id = held->id,
		.payload = &answer,
		.payload_len = sizeof(answer),
	};

	if (pages_change(open->channel, held, &answer.sum))
		vmbus_inproc_fail(device->bus, "echo: request %llu names pages that are none",
				  (unsigned long long)answer.number);
	if (vmbus_channel_send(open->channel, &packet, ANSWER_BYTES))
		vmbus_inproc_fail(device->bus,
				  "echo: no room for an answer in spite of the reservation");
	open->held[i] = open->held[--open->held_count];
	vmbus_channel_busy(open->channel, -1);
	notice_send(device, open->channel);
}

/* Keeps the request; the page list is copied, for the packet's copy goes. */
static int held_add(struct echo_open *open, const struct vmbus_packet *packet)
{
	struct echo_held *held = &open->held[open->held_count];
	struct vmbus_range_iter iter;
	struct vmbus_range range;
	int err;

	memset(held, 0, sizeof(*held));
	if (packet->payload_len < sizeof(held->request))
		return VMBUS_FAULT_TRUNCATED;
	held->id = packet->transaction_id;
	memcpy(&held->request, packet->payload, sizeof(held->request));
	if (packet->type == VMBUS_PACKET_GPA_DIRECT) {
		err = vmbus_range_first(packet, &iter);
		if (!err)
			err = vmbus_range_next(&iter, &range);
		if (err || range.pages > 8 || range.len != held->request.bytes)
			return VMBUS_FAULT_BAD_RANGES;
		memcpy(held->pfns, range.pfns, 8 * range.pages);
		held->span = (struct vmbus_span){.offset = range.offset, .len = range.len};
	}
	open->held_count++;
	return 0;
}

/* The span's list has to follow the request when it moves in the table. */
static void spans_settle(struct echo_open *open)
{
	for (uint32_t i = 0; i < open->held_count; i++)
		open->held[i].span.pfns = open->held[i].pfns;
}

static int request_take(struct echo_device *device, struct echo_open *open)
{
	struct vmbus_rx *rx = vmbus_channel_rx(open->channel);
	struct vmbus_tx *tx = vmbus_channel_tx(open->channel);
	uint64_t buf[PACKET_MAX / 8];
	struct vmbus_packet packet;
	int err;

	if (open->held_count == ECHO_DEPTH)
		return -EBUSY;
	if (!vmbus_tx_reserve(tx, ANSWER_BYTES)) {
		if (!vmbus_tx_wait_space(tx, ANSWER_BYTES))
			return -EBUSY;
		if (!vmbus_tx_reserve(tx, ANSWER_BYTES))
			return -EIO; /* the wait has just said that there is room */
	}
	err = vmbus_rx_next(rx, buf, sizeof(buf), &packet);
	if (!err)
		err = held_add(open, &packet);
	if (err) {
		vmbus_tx_unreserve(tx, ANSWER_BYTES);
		return err;
	}
	vmbus_channel_busy(open->channel, 1);
	spans_settle(open);
	if (vmbus_inproc_random(device->bus, 3) == 0) {
		held_finish(device, open, open->held_count - 1);
		spans_settle(open);
	}
	return 0;
}

static int echo_service(void *opaque, struct vmbus_channel *channel, unsigned int budget)
{
	struct echo_device *device = opaque;
	struct echo_open *open = open_of(device, channel);
	uint16_t subs = device->subs_wanted;
	int err = 0;

	if (subs && vmbus_channel_subindex(channel) == 0) {
		device->subs_wanted = 0;
		if (vmbus_channel_offer_sub(channel, subs))
			vmbus_inproc_fail(device->bus, "echo: no sub-channels");
	}
	while (!err && budget-- > 0)
		err = request_take(device, open);
	if (err == -EAGAIN)
		return 0;
	return err ? err : -EAGAIN;
}

static int echo_stop(void *opaque, struct vmbus_channel *channel)
{
	return open_of(opaque, channel)->held_count ? -EINPROGRESS : 0;
}

static void echo_closed(void *opaque, struct vmbus_channel *channel)
{
	struct echo_device *device = opaque;
	struct echo_open *open = open_of(device, channel);

	if (open->held_count)
		vmbus_inproc_fail(device->bus, "echo: closed with requests in flight");
	open->channel = NULL;
	device->closed++;
}

static void echo_released(void *opaque, struct vmbus_channel *channel)
{
	struct echo_device *device = opaque;

	device->released++;
	if (channel == device->channel)
		device->channel = NULL;
}

bool echo_device_step(struct echo_device *device)
{
	uint32_t start = vmbus_inproc_random(device->bus, ECHO_CHANNELS);

	for (uint32_t i = 0; i < ECHO_CHANNELS; i++) {
		struct echo_open *open = &device->opens[(start + i) % ECHO_CHANNELS];

		if (!open->channel || !open->held_count)
			continue;
		held_finish(device, open, vmbus_inproc_random(device->bus, open->held_count));
		spans_settle(open);
		return true;
	}
	return false;
}

int echo_offer(struct echo_device *device, struct vmbus_inproc *bus, uint32_t instance)
{
	static const struct vmbus_channel_ops ops = {
		.size = sizeof(ops),
		.open = echo_open,
		.service = echo_service,
		.stop = echo_stop,
		.closed = echo_closed,
		.released = echo_released,
	};
	struct vmbus_offer offer = VMBUS_OFFER_INIT;

	device->bus = bus;
	offer.interface_id =
		(struct vmbus_guid)VMBUS_GUID(0xec400000, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10);
	offer.instance_id = (struct vmbus_guid)VMBUS_GUID(instance, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	offer.ops = &ops;
	offer.device = device;
	return vmbus_server_offer(vmbus_inproc_server(bus), &offer, &device->channel);
}
