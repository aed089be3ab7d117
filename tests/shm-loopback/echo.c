/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "echo.h"

#define WAIT_MS 10000
#define PAYLOAD 64u

void check_that(bool ok, const char *what, const char *file, int line)
{
	if (ok)
		return;
	fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
	exit(1);
}

static char socket_dir[] = "/tmp/vmbus-shm-test-XXXXXX";
static char socket_name[64];
static pid_t socket_owner;

static void socket_remove(void)
{
	if (getpid() != socket_owner)
		return;
	unlink(socket_name);
	rmdir(socket_dir);
}

const char *socket_path(void)
{
	if (!socket_owner) {
		CHECK(mkdtemp(socket_dir));
		socket_owner = getpid();
		atexit(socket_remove);
		snprintf(socket_name, sizeof(socket_name), "%s/bus", socket_dir);
	}
	return socket_name;
}

/* -- Host ----------------------------------------------------------------- */

struct echo_device { /* of a guest */
	bool open;
	unsigned int opened, closed;
};

static struct vmbus_loop *loop;
static struct vmbus_shm_host *host;
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

static int device_stop(void *opaque, struct vmbus_channel *channel)
{
	(void)opaque, (void)channel;
	return 0;
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

static int guest_connected(void *opaque, struct vmbus_shm_peer *peer, void **user)
{
	static const struct vmbus_channel_ops ops = {
		.size = sizeof(ops),
		.open = device_open,
		.service = device_service,
		.stop = device_stop,
		.closed = device_closed,
		.released = device_released,
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

static void guest_disconnected(void *opaque, struct vmbus_shm_peer *peer, void *user, const char *reason)
{
	(void)opaque, (void)peer, (void)user;
	CHECK(reason && *reason);
	CHECK(!((struct echo_device *)user)->open);
}

static void host_log(void *opaque, const char *line)
{
	(void)opaque;
	if (getenv("VERBOSE"))
		fprintf(stderr, "host: %s\n", line);
}

static void host_stopped(void *opaque)
{
	(void)opaque;
	vmbus_loop_stop(loop);
}

static void signal_came(struct vmbus_watch *watch, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)events;
	CHECK(read(watch->fd, &info, sizeof(info)) == (ssize_t)sizeof(info));
	vmbus_loop_unwatch(loop, watch, NULL);
	vmbus_shm_host_stop(host, host_stopped, NULL);
}

static int fds_open(void)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void host_run(const char *path, uint32_t spin_us, uint32_t max_guests, int ready)
{
	static const struct vmbus_shm_host_ops ops = {
		.size = sizeof(ops),
		.connected = guest_connected,
		.disconnected = guest_disconnected,
		.log = host_log,
	};
	struct vmbus_shm_host_config config = VMBUS_SHM_HOST_CONFIG_INIT;
	struct vmbus_loop_config loop_config = VMBUS_LOOP_CONFIG_INIT;
	struct vmbus_watch watch = {.ready = signal_came, .events = POLLIN};
	struct vmbus_error err;
	sigset_t term;
	int fds = fds_open();

	loop_config.spin_us = spin_us;
	CHECK(vmbus_loop_new(&loop_config, &loop, &err) == 0);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	watch.fd = signalfd(-1, &term, SFD_CLOEXEC);
	CHECK(watch.fd >= 0 && vmbus_loop_watch(loop, &watch) == 0);

	config.socket_path = path;
	config.loop = loop;
	config.ops = &ops;
	config.max_guests = max_guests;
	config.max_memory = 64u << 20;
	CHECK(vmbus_shm_host_new(&config, &host, &err) == 0);
	CHECK(write(ready, "r", 1) == 1);
	close(ready);
	CHECK(vmbus_loop_run(loop) == 0);

	vmbus_shm_host_free(host);
	CHECK(vmbus_loop_step(loop, 0) >= 0);
	vmbus_loop_free(loop);
	close(watch.fd);
	CHECK(devices == 0);
	CHECK(fds_open() == fds - 1); /* @ready */
	exit(0);
}

pid_t echo_host_start(const char *path, uint32_t spin_us, uint32_t max_guests)
{
	int ready[2];
	char byte;
	pid_t pid;

	CHECK(pipe(ready) == 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ready[0]);
		host_run(path, spin_us, max_guests, ready[1]);
	}
	close(ready[1]);
	CHECK(read(ready[0], &byte, 1) == 1);
	close(ready[0]);
	return pid;
}

int echo_host_stop(pid_t pid)
{
	int status;

	CHECK(kill(pid, SIGTERM) == 0);
	CHECK(waitpid(pid, &status, 0) == pid);
	return status;
}

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

static int answer_waits(struct echo_guest *guest, const struct vmbus_shm_wait *wait)
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
		r = answer_waits(guest, NULL);
	return r;
}

int echo_guest_connect(struct echo_guest *guest, const char *path, uint32_t spin_us)
{
	struct vmbus_shm_guest_config config = VMBUS_SHM_GUEST_CONFIG_INIT;
	struct vmbus_guest_config bus = VMBUS_GUEST_CONFIG_INIT;
	struct vmbus_error err;
	int r;

	memset(guest, 0, sizeof(*guest));
	config.socket_path = path;
	config.memory = 1u << 20;
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
		r = answer_waits(guest, NULL);
	return r;
}

int echo_guest_open(struct echo_guest *guest)
{
	uint32_t gpadl;
	int r = answer_until(guest, vmbus_guest_request_offers(&guest->bus), &guest->all_offered);

	if (!r)
		r = vmbus_shm_guest_alloc(guest->shm, 16, guest->pfns);
	if (!r)
		r = vmbus_shm_guest_map_ring(guest->shm, guest->pfns, 8, &guest->upstream);
	if (!r)
		r = vmbus_shm_guest_map_ring(guest->shm, guest->pfns + 8, 8, &guest->downstream);
	if (!r)
		r = vmbus_guest_gpadl_create(guest->echo, guest->pfns, 0, 16 * VMBUS_PAGE_SIZE, &gpadl);
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
			r = answer_waits(guest, &wait);
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
