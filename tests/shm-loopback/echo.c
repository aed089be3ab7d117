/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "echo.h"

#define WAIT_MS 60000
#define PAYLOAD 64u

/* -- Host ----------------------------------------------------------------- */

struct echo_device { /* of a guest */
	bool open;
	unsigned int opened, closed;
};

static int devices; /* that exist */

static int device_open(void *opaque, struct vmbus_channel *channel)
{
	struct echo_device *device = opaque;

	(void)channel;
	CHECK(!device->open);
	device->open = true;
	return 0;
}

static int device_service(void *opaque, struct vmbus_channel *channel, unsigned int budget)
{
	uint64_t buf[32];
	struct vmbus_packet packet;
	int r = 0;

	CHECK(((struct echo_device *)opaque)->open);
	for (unsigned int i = 0; i < budget; i++) {
		if (!vmbus_tx_reserve(vmbus_channel_tx(channel), vmbus_packet_ring_bytes(0, PAYLOAD))) {
			if (!vmbus_tx_wait_space(vmbus_channel_tx(channel),
						 vmbus_packet_ring_bytes(0, PAYLOAD)))
				return -EBUSY;
			continue;
		}
		r = vmbus_rx_next(vmbus_channel_rx(channel), buf, sizeof(buf), &packet);
		if (r || packet.payload_len != PAYLOAD) {
			vmbus_tx_unreserve(vmbus_channel_tx(channel), vmbus_packet_ring_bytes(0, PAYLOAD));
			return r == -EAGAIN ? 0 : r ? r : VMBUS_FAULT_BAD_REQUEST;
		}
		packet.type = VMBUS_PACKET_COMPLETION;
		packet.flags = 0;
		packet.header_len = 0;
		r = vmbus_channel_send(channel, &packet, vmbus_packet_ring_bytes(0, PAYLOAD));
		if (r)
			return r;
	}
	return -EAGAIN;
}

static struct vmbus_channel *stuck; /* does not stop */

static int device_stop(void *opaque, struct vmbus_channel *channel)
{
	(void)opaque;
	return channel == stuck ? -EINPROGRESS : 0;
}

static void device_closed(void *opaque, struct vmbus_channel *channel)
{
	struct echo_device *device = opaque;

	(void)channel;
	CHECK(device->open);
	device->open = false;
}

static void device_released(void *opaque, struct vmbus_channel *channel)
{
	struct echo_device *device = opaque;

	(void)channel;
	CHECK(!device->open);
	free(device);
	devices--;
}

static int echo_connected(void *opaque, struct vmbus_shm_peer *peer, void **user)
{
	static const struct vmbus_channel_ops ops = {
		.size = sizeof(ops),
		.open = device_open,
		.service = device_service,
		.stop = device_stop,
		.closed = device_closed,
		.released = device_released,
		.eager = true,
	};
	struct vmbus_offer offer = VMBUS_OFFER_INIT;
	struct echo_device *device = calloc(1, sizeof(*device));
	struct vmbus_channel *channel;

	(void)opaque;
	CHECK(device);
	offer.interface_id = (struct vmbus_guid)VMBUS_GUID_SCSI;
	offer.ops = &ops;
	offer.device = device;
	CHECK(vmbus_server_offer(vmbus_shm_peer_server(peer), &offer, &channel) == 0);
	devices++;
	*user = device;
	return 0;
}

static void echo_disconnected(void *opaque, struct vmbus_shm_peer *peer, void *user, const char *reason)
{
	(void)opaque, (void)peer, (void)user;
	CHECK(reason && *reason);
	CHECK(!((struct echo_device *)user)->open);
}

static void channel_stick(struct vmbus_channel *channel, void *arg)
{
	(void)arg;
	stuck = channel;
}

static int stuck_connected(void *opaque, struct vmbus_shm_peer *peer, void **user)
{
	int r = echo_connected(opaque, peer, user);

	vmbus_server_each_channel(vmbus_shm_peer_server(peer), channel_stick, NULL);
	return r;
}

/* The rings are a GPADL. */
static void stuck_log(const char *line)
{
	uint64_t one = 1;

	if (!strstr(line, "have not stopped: 1 channels, 1 GPADLs in use"))
		return;
	CHECK(write(vmbus_channel_doorbell(stuck), &one, sizeof(one)) == (ssize_t)sizeof(one));
	stuck = NULL;
}

static void echo_end(void)
{
	CHECK(devices == 0);
}

const struct test_device echo_device = {
	.connected = echo_connected,
	.disconnected = echo_disconnected,
	.end = echo_end,
};

const struct test_device stuck_device = {
	.connected = stuck_connected,
	.disconnected = echo_disconnected,
	.end = echo_end,
	.log = stuck_log,
};

/* -- Guest ---------------------------------------------------------------- */

static uint32_t bus_post(void *opaque, uint32_t connection_id, const void *message, size_t len)
{
	return vmbus_shm_guest_post(((struct echo_guest *)opaque)->shm, connection_id, message, len);
}

static void bus_signal(void *opaque, uint32_t connection_id)
{
	vmbus_shm_guest_signal(((struct echo_guest *)opaque)->shm, connection_id);
}

static void bus_connected(void *opaque, uint32_t version)
{
	((struct echo_guest *)opaque)->version = version;
}

static void bus_offered(void *opaque, struct vmbus_guest_channel *channel)
{
	((struct echo_guest *)opaque)->echo = channel;
}

static void bus_all_offered(void *opaque)
{
	((struct echo_guest *)opaque)->all_offered = true;
}

static void bus_gpadl_created(void *opaque, uint32_t gpadl, uint32_t status)
{
	struct echo_guest *guest = opaque;

	(void)gpadl;
	guest->gpadl_created = true;
	guest->gpadl_status = status;
}

static void bus_opened(void *opaque, struct vmbus_guest_channel *channel, uint32_t status)
{
	struct echo_guest *guest = opaque;

	(void)channel;
	guest->opened = true;
	guest->open_status = status;
}

static void bus_unloaded(void *opaque)
{
	((struct echo_guest *)opaque)->unloaded = true;
}

static const struct vmbus_guest_ops bus_ops = {
	.size = sizeof(bus_ops),
	.post = bus_post,
	.signal = bus_signal,
	.connected = bus_connected,
	.offered = bus_offered,
	.all_offered = bus_all_offered,
	.gpadl_created = bus_gpadl_created,
	.opened = bus_opened,
	.unloaded = bus_unloaded,
};

int echo_guest_wait(struct echo_guest *guest, const struct vmbus_shm_wait *wait)
{
	uint8_t message[VMBUS_MESSAGE_MAX];
	size_t len;
	int r = vmbus_shm_guest_wait(guest->shm, 0, WAIT_MS, wait, message, &len);

	if (!r && len)
		r = vmbus_guest_message(&guest->bus, message, len);
	(void)vmbus_guest_flush(&guest->bus);
	return r;
}

/* A request of the bus, and its answer. */
static int answer_until(struct echo_guest *guest, int r, const bool *done)
{
	while (!r && !*done)
		r = echo_guest_wait(guest, NULL);
	return r;
}

int echo_guest_connect(struct echo_guest *guest, const char *path, uint32_t spin_us)
{
	return echo_guest_connect_with(guest, path, spin_us, 1u << 20);
}

int echo_guest_connect_with(struct echo_guest *guest, const char *path, uint32_t spin_us,
			    uint64_t memory)
{
	struct vmbus_shm_guest_config config = VMBUS_SHM_GUEST_CONFIG_INIT;
	struct vmbus_guest_config bus = VMBUS_GUEST_CONFIG_INIT;
	struct vmbus_error err;
	int r;

	memset(guest, 0, sizeof(*guest));
	config.socket_path = path;
	config.memory = memory;
	config.spin_us = spin_us;
	r = vmbus_shm_guest_new(&config, &guest->shm, &err);
	if (r)
		return r;
	bus.ops = &bus_ops;
	bus.opaque = guest;
	bus.channels = guest->channels;
	bus.max_channels = 4;
	r = vmbus_guest_init(&guest->bus, &bus);
	if (!r)
		r = vmbus_guest_connect(&guest->bus);
	while (!r && !guest->version)
		r = echo_guest_wait(guest, NULL);
	return r;
}

int echo_guest_open(struct echo_guest *guest)
{
	uint32_t gpadl;
	int r = answer_until(guest, vmbus_guest_request_offers(&guest->bus), &guest->all_offered);

	if (!r)
		r = vmbus_shm_guest_alloc(guest->shm, 2 * RING_PAGES, guest->pfns);
	if (!r)
		r = vmbus_shm_guest_map_ring(guest->shm, guest->pfns, RING_PAGES, &guest->upstream);
	if (!r)
		r = vmbus_shm_guest_map_ring(guest->shm, guest->pfns + RING_PAGES, RING_PAGES, &guest->downstream);
	if (!r)
		r = vmbus_guest_gpadl_create(guest->echo, guest->pfns, 0, 2 * RING_PAGES * VMBUS_PAGE_SIZE,
					     &gpadl);
	r = answer_until(guest, r, &guest->gpadl_created);
	if (r || guest->gpadl_status)
		return r ? r : -EIO;
	r = answer_until(guest,
			 vmbus_guest_open(guest->echo, gpadl, &guest->upstream, &guest->downstream, 0, NULL),
			 &guest->opened);
	return r || guest->open_status == 0 ? r : -EIO;
}

static bool rings_idle(void *arg)
{
	return !vmbus_rx_pending(&((struct echo_guest *)arg)->echo->rx);
}

static bool rings_arm(void *arg)
{
	return vmbus_rx_arm(&((struct echo_guest *)arg)->echo->rx);
}

static void answers_take(struct echo_guest *guest)
{
	uint64_t buf[32], expected;
	struct vmbus_packet packet;

	vmbus_rx_disarm(&guest->echo->rx);
	while (vmbus_rx_next(&guest->echo->rx, buf, sizeof(buf), &packet) == 0) {
		expected = guest->received++;
		if (packet.transaction_id != expected || packet.payload_len != PAYLOAD ||
		    memcmp(packet.payload, &expected, sizeof(expected)))
			guest->wrong++;
	}
	vmbus_guest_commit(guest->echo);
}

int echo_guest_run(struct echo_guest *guest, uint64_t count, unsigned int depth)
{
	const struct vmbus_shm_wait wait = {.idle = rings_idle, .arm = rings_arm, .arg = guest};
	uint64_t payload[PAYLOAD / 8] = {0}, end = guest->sent + count;
	struct vmbus_packet packet = {
		.type = VMBUS_PACKET_INBAND,
		.flags = VMBUS_PACKET_COMPLETION_REQUESTED,
		.payload = payload,
		.payload_len = PAYLOAD,
	};
	uint64_t before;
	int r = 0;

	while (!r && guest->received < end) {
		while (guest->sent < end && guest->sent - guest->received < depth) {
			payload[0] = packet.transaction_id = guest->sent;
			if (vmbus_tx_put(&guest->echo->tx, &packet, 0))
				break;
			guest->sent++;
		}
		vmbus_guest_signal(guest->echo);
		before = guest->received;
		answers_take(guest);
		if (guest->received == before)
			r = echo_guest_wait(guest, &wait);
	}
	return r;
}

int echo_guest_close(struct echo_guest *guest)
{
	int r = guest->opened ? vmbus_guest_close(guest->echo) : 0;

	return answer_until(guest, r ? r : vmbus_guest_unload(&guest->bus), &guest->unloaded);
}

void echo_guest_free(struct echo_guest *guest)
{
	vmbus_shm_guest_free(guest->shm);
}
