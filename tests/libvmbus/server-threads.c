/* SPDX-License-Identifier: MIT */
/* A server in one thread, its channels served in two others, and a guest that opens,
 * moves, closes, loses and forgets channels as fast as it can. A plain program, for
 * ThreadSanitizer. The devices see that nothing is called after closed(), the signals that
 * none goes to a VP after its MODIFY_CHANNEL_RESPONSE. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmbus/server.h>

#define CHANNELS   4u
#define WORKERS    2u
#define ROUNDS     100u
#define VPS        8u
#define RING_PAGES 8u
#define PAGES      (16 + (CHANNELS + 1) * RING_PAGES)

#define CHECK(condition)                                                                \
	do {                                                                            \
		if (!(condition)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			abort();                                                        \
		}                                                                       \
	} while (0)

static struct vmbus_server *server;
static struct vmbus_mem *mem;
static atomic_bool woken, over;
static _Atomic uint32_t forbidden[64];                     /* by event flag: a VP + 1 */
static atomic_uint served, signalled, subs_opened, waited; /* that the test does what it says */

/* Of the channel ids; the server's thread only. */
static struct {
	bool offered, open, rescinded;
	unsigned int created, torn, opened, modified;
} told[64];
static bool connected, unloaded, all_offered;

static struct worker {
	pthread_t thread;
	pthread_mutex_t lock; /* the list */
	struct vmbus_channel *channels[16];
} workers[WORKERS];

static struct device {
	atomic_bool in_use; /* between open and closed */
	atomic_int inside;  /* calls of serving threads */
	struct vmbus_channel *channel;
} devices[CHANNELS];

/* -- Backend -------------------------------------------------------------- */

static int bus_post(void *opaque, uint32_t vp, uint8_t sint, const void *message, size_t len)
{
	const struct vmbus_msg_open_result *m = message; /* id and handle lie alike in all */
	uint32_t id = len >= 12 ? m->channel_id : 0;

	(void)opaque, (void)vp, (void)sint;
	switch (m->header.type) {
	case VMBUS_MSG_OFFER:
		told[((const struct vmbus_msg_offer *)message)->channel_id].offered = true;
		break;
	case VMBUS_MSG_GPADL_CREATED:
		told[id].created++;
		break;
	case VMBUS_MSG_GPADL_TORNDOWN:
		told[id].torn++; /* handles are channel ids */
		break;
	case VMBUS_MSG_OPEN_RESULT:
		CHECK(m->status == 0);
		told[id].opened++;
		break;
	case VMBUS_MSG_MODIFY_CHANNEL_RESPONSE:
		told[id].modified++;
		break;
	case VMBUS_MSG_RESCIND_OFFER:
		told[id].rescinded = true;
		break;
	case VMBUS_MSG_ALLOFFERS_DELIVERED:
		all_offered = true;
		break;
	case VMBUS_MSG_VERSION_RESPONSE:
		connected = true;
		break;
	case VMBUS_MSG_UNLOAD_COMPLETE:
		unloaded = true;
		break;
	default:
		CHECK(m->header.type == VMBUS_MSG_INVALID); /* no other is expected */
	}
	return 0;
}

static void bus_signal(void *opaque, uint32_t vp, uint32_t flag, uint64_t interrupt_page)
{
	(void)opaque, (void)interrupt_page;
	sched_yield(); /* it takes its time */
	CHECK(atomic_load(&forbidden[flag]) != vp + 1);
	atomic_fetch_add(&signalled, 1);
}

static int bus_doorbell_add(void *opaque, uint32_t connection_id, int doorbell)
{
	(void)opaque, (void)connection_id, (void)doorbell;
	return 0;
}

static void bus_doorbell_remove(void *opaque, uint32_t connection_id, int doorbell)
{
	(void)opaque, (void)connection_id, (void)doorbell;
}

static void bus_opened(void *opaque, struct vmbus_channel *channel)
{
	struct worker *worker = &workers[vmbus_channel_id(channel) % WORKERS];
	unsigned int i = 0;

	(void)opaque;
	pthread_mutex_lock(&worker->lock);
	while (worker->channels[i])
		i++;
	worker->channels[i] = channel;
	pthread_mutex_unlock(&worker->lock);
}

static void bus_wake(void *opaque)
{
	(void)opaque;
	atomic_store(&woken, true);
}

static const struct vmbus_server_ops bus_ops = {
	.size = sizeof(bus_ops),
	.post_message = bus_post,
	.signal = bus_signal,
	.doorbell_add = bus_doorbell_add,
	.doorbell_remove = bus_doorbell_remove,
	.channel_opened = bus_opened,
	.wake = bus_wake,
};

/* -- Devices, shared by a primary and its sub-channel ------------------------ */

static int device_open(void *opaque, struct vmbus_channel *channel)
{
	struct device *device = opaque;

	if (vmbus_channel_subindex(channel) == 0)
		CHECK(!atomic_exchange(&device->in_use, true));
	else
		atomic_fetch_add(&subs_opened, 1);
	return 0;
}

static int device_service(void *opaque, struct vmbus_channel *channel, unsigned int budget)
{
	struct device *device = opaque;
	struct vmbus_packet packet;
	uint64_t buf[32];
	int ret = 0;

	atomic_fetch_add(&device->inside, 1);
	CHECK(atomic_load(&device->in_use));
	if (vmbus_channel_subindex(channel) == 0)
		CHECK(vmbus_channel_offer_sub(channel, 1) != -ENOSPC);
	while (budget-- > 0) {
		ret = vmbus_rx_next(vmbus_channel_rx(channel), buf, sizeof(buf), &packet);
		if (ret)
			break;
		atomic_fetch_add(&served, 1);
		packet.type = VMBUS_PACKET_COMPLETION;
		packet.flags = 0;
		ret = vmbus_channel_send(channel, &packet, 0);
		if (ret)
			break;
	}
	atomic_fetch_sub(&device->inside, 1);
	return ret == -EAGAIN ? 0 : ret;
}

static int device_stop(void *opaque, struct vmbus_channel *channel)
{
	struct device *device = opaque;
	bool done = vmbus_channel_get_user(channel) != NULL;

	CHECK(atomic_load(&device->in_use));
	vmbus_channel_set_user(channel, device); /* the second call finds nothing in flight */
	return done ? 0 : -EINPROGRESS;
}

static void device_closed(void *opaque, struct vmbus_channel *channel)
{
	struct device *device = opaque;

	CHECK(atomic_load(&device->in_use));
	if (vmbus_channel_subindex(channel) == 0) {
		CHECK(atomic_load(&device->inside) == 0);
		atomic_store(&device->in_use, false);
	}
}

static void device_released(void *opaque, struct vmbus_channel *channel)
{
	struct device *device = opaque;

	CHECK(!atomic_load(&device->in_use) && device->channel == channel);
	device->channel = NULL;
}

static const struct vmbus_channel_ops device_ops = {
	.size = sizeof(device_ops),
	.open = device_open,
	.service = device_service,
	.stop = device_stop,
	.closed = device_closed,
	.released = device_released,
};

static void device_offer(struct device *device)
{
	struct vmbus_guid scsi = VMBUS_GUID_SCSI;
	struct vmbus_offer offer = VMBUS_OFFER_INIT;

	offer.interface_id = scsi;
	offer.instance_id.b[0] = (uint8_t)(device - devices);
	offer.ops = &device_ops;
	offer.device = device;
	CHECK(vmbus_server_offer(server, &offer, &device->channel) == 0);
}

/* -- Serving threads -------------------------------------------------------- */

static void *worker_run(void *arg)
{
	struct worker *worker = arg;

	while (!atomic_load(&over)) {
		for (unsigned int i = 0; i < 16; i++) {
			struct vmbus_channel *channel;

			pthread_mutex_lock(&worker->lock);
			channel = worker->channels[i];
			pthread_mutex_unlock(&worker->lock);
			if (!channel)
				continue;
			(void)vmbus_channel_pending(channel);
			if (vmbus_channel_service(channel, 4) == -ESHUTDOWN) {
				pthread_mutex_lock(&worker->lock);
				worker->channels[i] = NULL;
				pthread_mutex_unlock(&worker->lock);
			} else {
				(void)!vmbus_channel_arm(channel);
			}
		}
		sched_yield();
	}
	return NULL;
}

/* -- The guest, in the server's thread ------------------------------------- */

static int send_message(uint32_t type, void *message, size_t len)
{
	struct vmbus_msg_header *header = message;

	header->type = type;
	return vmbus_server_message(server, VMBUS_CONN_MESSAGE, message, len);
}

static void channel_message(uint32_t type, uint32_t id)
{
	struct vmbus_msg_channel m = {.channel_id = id};

	(void)send_message(type, &m, sizeof(m));
}

static void poll_until(const bool *flag)
{
	while (!*flag) {
		if (atomic_exchange(&woken, false))
			vmbus_server_poll(server);
		else
			sched_yield();
	}
}

static void poll_for(unsigned int times)
{
	while (times-- > 0) {
		if (atomic_exchange(&woken, false))
			vmbus_server_poll(server);
		sched_yield();
	}
}

static void guest_connect(void)
{
	struct vmbus_msg_initiate_contact contact = {.version = VMBUS_V5_3};
	struct vmbus_msg_header request;

	connected = all_offered = unloaded = false;
	for (unsigned int i = 0; i < 64; i++)
		atomic_store(&forbidden[i], 0);
	CHECK(send_message(VMBUS_MSG_INITIATE_CONTACT, &contact, 40) == 0);
	poll_until(&connected);
	memset(told, 0, sizeof(told));
	CHECK(send_message(VMBUS_MSG_REQUEST_OFFERS, &request, sizeof(request)) == 0);
	poll_until(&all_offered);
}

static void guest_open(uint32_t id, uint8_t *ram)
{
	struct {
		struct vmbus_msg_gpadl_header h;
		uint64_t words[1 + RING_PAGES];
	} VMBUS_PACKED gpadl = {.h = {.channel_id = id,
				      .gpadl = id,
				      .range_buflen = 8 + 8 * RING_PAGES,
				      .range_count = 1}};
	struct vmbus_msg_open open = {.channel_id = id,
				      .open_id = id,
				      .ring_gpadl = id,
				      .target_vp = id % VPS,
				      .downstream_page_offset = RING_PAGES / 2};
	uint64_t first = 16 + (uint64_t)(id % (CHANNELS + 1)) * RING_PAGES;

	gpadl.words[0] = RING_PAGES * VMBUS_PAGE_SIZE;
	for (uint64_t i = 0; i < RING_PAGES; i++) {
		gpadl.words[1 + i] = first + i;
		if (i % (RING_PAGES / 2) == 0)
			memset(ram + (first + i) * VMBUS_PAGE_SIZE, 0, 128);
	}
	if (send_message(VMBUS_MSG_GPADL_HEADER, &gpadl, sizeof(gpadl)) == 0 &&
	    send_message(VMBUS_MSG_OPEN_CHANNEL, &open, VMBUS_OPEN_SIZE_BASE) == 0)
		told[id].open = true;
}

/* One of its two rings. */
static struct vmbus_ring_memory ring_of(uint32_t id, bool downstream)
{
	struct vmbus_view *view = vmbus_mem_view(mem);
	struct vmbus_ring_memory ring;
	uint64_t pfns[RING_PAGES / 2];

	for (uint64_t i = 0; i < RING_PAGES / 2; i++)
		pfns[i] = 16 + (uint64_t)(id % (CHANNELS + 1)) * RING_PAGES + i +
			  (downstream ? RING_PAGES / 2 : 0);
	CHECK(vmbus_ring_map(view, pfns, RING_PAGES / 2, true, &ring) == 0);
	vmbus_view_unref(view);
	return ring;
}

/* Packets, and moves while they are answered: after each answer the old VP is taboo. */
static void guest_use(uint32_t id)
{
	struct vmbus_packet packet = {.type = VMBUS_PACKET_INBAND,
				      .payload = "12345678",
				      .payload_len = 8},
			    in;
	struct vmbus_ring_memory up = ring_of(id, false), down = ring_of(id, true);
	uint64_t buf[32];
	struct vmbus_tx tx;
	struct vmbus_rx rx;

	CHECK(vmbus_tx_init(&tx, &up) == 0 && vmbus_rx_init(&rx, &down) == 0);
	(void)!vmbus_rx_arm(&rx);
	for (uint32_t i = 1; i <= 20; i++) {
		struct vmbus_msg_modify_channel modify = {.channel_id = id,
							  .target_vp = (id + i) % VPS};
		unsigned int before = told[id].modified;

		if (vmbus_tx_put(&tx, &packet, 0) == 0)
			vmbus_tx_publish(&tx);
		atomic_store(&forbidden[id], 0);
		CHECK(send_message(VMBUS_MSG_MODIFY_CHANNEL, &modify, sizeof(modify)) == 0);
		if (told[id].modified == before)
			atomic_fetch_add(&waited, 1);
		while (told[id].modified == before)
			poll_for(1);
		atomic_store(&forbidden[id], (id + i - 1) % VPS + 1);
		poll_for(3);
		while (vmbus_rx_next(&rx, buf, sizeof(buf), &in) == 0)
			(void)!vmbus_rx_commit(&rx);
		(void)!vmbus_rx_arm(&rx);
	}
	vmbus_ring_unmap(&up);
	vmbus_ring_unmap(&down);
}

/* Each round ends another way. */
static void guest_round(unsigned int round, uint8_t *ram)
{
	struct vmbus_msg_header unload;

	guest_connect();
	for (uint32_t id = 1; id <= CHANNELS; id++)
		guest_open(id, ram);
	for (uint32_t id = 1; id <= CHANNELS; id++)
		guest_use(id);
	poll_until(&told[CHANNELS + 1].offered);
	guest_open(CHANNELS + 1, ram); /* a sub-channel */
	if (round % 3 == 0)
		channel_message(VMBUS_MSG_CLOSE_CHANNEL, 1 + round % CHANNELS);
	poll_for(round % 50);
	if (round % 5 == 0) {
		struct device *device = &devices[round % CHANNELS];
		uint32_t id = vmbus_channel_id(device->channel);

		vmbus_channel_revoke(device->channel);
		poll_until(&told[id].rescinded);
		for (uint32_t sub = CHANNELS + 1; sub < 64; sub++)
			channel_message(VMBUS_MSG_RELID_RELEASED, sub);
		channel_message(VMBUS_MSG_RELID_RELEASED, id);
	}
	if (round % 2 == 0) {
		CHECK(send_message(VMBUS_MSG_UNLOAD, &unload, sizeof(unload)) == 0);
		poll_until(&unloaded);
	}
	for (unsigned int i = 0; i < CHANNELS; i++)
		if (!devices[i].channel)
			device_offer(&devices[i]);
}

static void memory_make(uint8_t **ram)
{
	struct vmbus_region region = VMBUS_REGION_INIT;

	*ram = mmap(NULL, PAGES * VMBUS_PAGE_SIZE, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(*ram != MAP_FAILED);
	mem = vmbus_mem_new();
	region.len = PAGES * VMBUS_PAGE_SIZE;
	region.host = *ram;
	CHECK(mem && vmbus_mem_add(mem, &region) == 0);
}

int main(void)
{
	struct vmbus_server_config config = VMBUS_SERVER_CONFIG_INIT;
	uint8_t *ram;

	memory_make(&ram);
	config.ops = &bus_ops;
	config.mem = mem;
	config.vp_count = VPS;
	CHECK(vmbus_server_new(&config, &server) == 0);
	for (unsigned int i = 0; i < CHANNELS; i++)
		device_offer(&devices[i]);
	for (unsigned int i = 0; i < WORKERS; i++) {
		pthread_mutex_init(&workers[i].lock, NULL);
		CHECK(pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]) == 0);
	}
	for (unsigned int round = 0; round < ROUNDS; round++)
		guest_round(round, ram);
	vmbus_server_shutdown(server);
	while (vmbus_server_resetting(server))
		poll_for(1);
	atomic_store(&over, true);
	for (unsigned int i = 0; i < WORKERS; i++)
		pthread_join(workers[i].thread, NULL);
	vmbus_server_free(server);
	printf("%u packets, %u signals, %u sub-channels, %u moves waited for a signal\n", served,
	       signalled, subs_opened, waited);
	CHECK(served > ROUNDS && signalled > ROUNDS && subs_opened == ROUNDS);
	vmbus_mem_unref(mem);
	munmap(ram, PAGES * VMBUS_PAGE_SIZE);
	return 0;
}
