/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mock.h"
#include "server.h"

void mock_fail(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, what);
	abort();
}

const uint32_t mock_versions[] = {
#define X(constant, major, minor, host) VMBUS_##constant,
	VMBUS_VERSIONS(X)
#undef X
};

_Static_assert(sizeof(mock_versions) / sizeof(mock_versions[0]) == MOCK_VERSIONS, "count");

/* -- Backend -------------------------------------------------------------- */

static int backend_post(void *opaque, uint32_t vp, uint8_t sint, const void *message, size_t len)
{
	struct mock *m = opaque;
	struct mock_message *in = &m->inbox[m->inbox_count % MOCK_INBOX];

	MOCK_CHECK(vp < m->config.vp_count && sint < VMBUS_SINT_COUNT);
	if (m->slot == 0)
		return -EAGAIN;
	m->slot--;
	m->inbox_count++;
	memset(in, 0, sizeof(*in));
	in->vp = vp;
	in->sint = sint;
	in->len = (uint8_t)len;
	memcpy(in->u.bytes, message, len);
	if (m->trace)
		fprintf(stderr, "  <- %s %u\n", vmbus_message_name(in->u.header.type),
			in->u.header.type == VMBUS_MSG_OFFER ? in->u.offer.channel_id :
							       in->u.channel.channel_id);
	mock_told(m, in);
	return 0;
}

static void backend_signal(void *opaque, uint32_t vp, uint32_t flag, uint64_t interrupt_page)
{
	struct mock *m = opaque;

	m->signals++;
	m->signal_vp = vp;
	m->signal_flag = flag;
	m->signal_page = interrupt_page;
	if (m->on_signal)
		m->on_signal(m);
}

static int backend_doorbell_add(void *opaque, uint32_t connection_id, int fd)
{
	struct mock *m = opaque;

	if (m->doorbell_result)
		return m->doorbell_result;
	MOCK_CHECK(m->doorbell_count < MOCK_CHANNELS);
	for (unsigned int i = 0; i < m->doorbell_count; i++)
		MOCK_CHECK(m->doorbells[i].connection_id != connection_id ||
			   m->version < VMBUS_V1_1);
	m->doorbells[m->doorbell_count].connection_id = connection_id;
	m->doorbells[m->doorbell_count++].fd = fd;
	return 0;
}

static void backend_doorbell_remove(void *opaque, uint32_t connection_id, int fd)
{
	struct mock *m = opaque;

	for (unsigned int i = 0; i < m->doorbell_count; i++) {
		if (m->doorbells[i].connection_id != connection_id || m->doorbells[i].fd != fd)
			continue;
		m->doorbells[i] = m->doorbells[--m->doorbell_count];
		return;
	}
	mock_fail(__FILE__, __LINE__, "doorbell removed that was not there");
}

static void backend_opened(void *opaque, struct vmbus_channel *channel)
{
	struct mock *m = opaque;

	for (unsigned int i = 0; i < MOCK_CHANNELS; i++) {
		MOCK_CHECK(m->served[i] != channel);
		if (!m->served[i]) {
			m->served[i] = channel;
			return;
		}
	}
	mock_fail(__FILE__, __LINE__, "too many open channels");
}

static void backend_wake(void *opaque)
{
	struct mock *m = opaque;

	m->woken = true;
}

static void backend_log(void *opaque, enum vmbus_fault fault, uint32_t channel_id, const char *text)
{
	struct mock *m = opaque;

	MOCK_CHECK(fault > VMBUS_FAULT_NONE && fault < VMBUS_FAULT_COUNT && text);
	(void)channel_id;
	m->logs++;
}

static const struct vmbus_server_ops backend_ops = {
	.size = sizeof(backend_ops),
	.post_message = backend_post,
	.signal = backend_signal,
	.doorbell_add = backend_doorbell_add,
	.doorbell_remove = backend_doorbell_remove,
	.channel_opened = backend_opened,
	.wake = backend_wake,
	.log = backend_log,
};

/* -- Device --------------------------------------------------------------- */

static int device_open(void *opaque, struct vmbus_channel *channel)
{
	struct mock_device *device = opaque;

	if (device->open_result == 0)
		device->opens++;
	MOCK_CHECK(vmbus_channel_id(channel) != 0 && vmbus_channel_doorbell(channel) >= 0);
	return device->open_result;
}

/* Echoes what comes in. */
static int device_service(void *opaque, struct vmbus_channel *channel, unsigned int budget)
{
	struct mock_device *device = opaque;
	struct vmbus_packet packet;
	uint64_t buf[32];
	int ret = 0;

	device->services++;
	device->budget = budget;
	vmbus_channel_busy(channel, -(int)device->in_flight);
	device->in_flight = 0;
	ret = device->service_result;
	if (ret == -EAGAIN)
		device->service_result = 0;
	if (ret)
		return ret;
	while (budget-- > 0) {
		ret = vmbus_rx_next(vmbus_channel_rx(channel), buf, sizeof(buf), &packet);
		if (ret)
			return ret == -EAGAIN ? 0 : ret;
		device->packets++;
		packet.type = VMBUS_PACKET_COMPLETION;
		packet.header_len = 0;
		packet.flags = 0;
		ret = vmbus_channel_send(channel, &packet, 0);
		if (ret)
			return ret == -EAGAIN ? -EBUSY : ret;
		if (device->progress)
			vmbus_channel_progress(channel);
	}
	return vmbus_rx_pending(vmbus_channel_rx(channel)) ? -EAGAIN : 0;
}

static int device_stop(void *opaque, struct vmbus_channel *channel)
{
	struct mock_device *device = opaque;

	device->stops++;
	return vmbus_channel_subindex(channel) ? device->sub_stop_result : device->stop_result;
}

static void device_closed(void *opaque, struct vmbus_channel *channel)
{
	struct mock_device *device = opaque;

	device->closes++;
	MOCK_CHECK(device->closes <= device->opens);
	if (device->revoke_in_closed && vmbus_channel_subindex(channel) == 0)
		vmbus_channel_revoke(channel);
}

static void device_gpadl_teardown(void *opaque, struct vmbus_channel *channel, uint32_t gpadl)
{
	struct mock_device *device = opaque;

	MOCK_CHECK(!vmbus_channel_gpadl(channel, gpadl));
	device->teardowns++;
	if (device->let_go && device->held) {
		vmbus_gpadl_unref(device->held);
		device->held = NULL;
	}
}

static void device_released(void *opaque, struct vmbus_channel *channel)
{
	struct mock_device *device = opaque;

	MOCK_CHECK(device->channel == NULL || device->channel == channel);
	device->channel = NULL;
	device->releases++;
}

static const struct vmbus_channel_ops device_ops = {
	.size = sizeof(device_ops),
	.open = device_open,
	.service = device_service,
	.stop = device_stop,
	.closed = device_closed,
	.gpadl_teardown = device_gpadl_teardown,
	.released = device_released,
};

/* -- Life ----------------------------------------------------------------- */

void mock_config(struct mock *m)
{
	struct vmbus_server_config config = VMBUS_SERVER_CONFIG_INIT;

	memset(m, 0, sizeof(*m));
	m->config = config;
	m->config.ops = &backend_ops;
	m->config.opaque = m;
	m->config.vp_count = 4;
	m->slot = UINT32_MAX;
	m->trace = getenv("MOCK_TRACE") != NULL;
	m->known = calloc(2 * (VMBUS_CHANNEL_MAX + 1), sizeof(m->known[0]));
	MOCK_CHECK(m->known);
	m->spare = m->known + VMBUS_CHANNEL_MAX + 1;
}

void mock_start(struct mock *m)
{
	struct vmbus_region region = VMBUS_REGION_INIT;

	m->ram_fd = memfd_create("ram", MFD_CLOEXEC);
	MOCK_CHECK(m->ram_fd >= 0 && ftruncate(m->ram_fd, MOCK_PAGES * VMBUS_PAGE_SIZE) == 0);
	m->ram = mmap(NULL, MOCK_PAGES * VMBUS_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		      m->ram_fd, 0);
	MOCK_CHECK(m->ram != MAP_FAILED);
	m->mem = vmbus_mem_new();
	region.len = MOCK_PAGES * VMBUS_PAGE_SIZE;
	region.host = m->ram;
	region.fd = m->ram_fd;
	MOCK_CHECK(m->mem && vmbus_mem_add(m->mem, &region) == 0);
	m->config.mem = m->mem;
	MOCK_CHECK(vmbus_server_new(&m->config, &m->server) == 0);
}

void mock_init(struct mock *m)
{
	mock_config(m);
	mock_start(m);
}

void mock_init_with(struct mock *m, struct mock_device *device)
{
	memset(device, 0, sizeof(*device));
	mock_init(m);
	MOCK_CHECK(mock_offer(m, device, 1, NULL) == 0);
}

void mock_fini(struct mock *m)
{
	struct vmbus_server_stats stats;

	vmbus_server_shutdown(m->server);
	mock_run(m);
	MOCK_CHECK(!vmbus_server_resetting(m->server));
	MOCK_CHECK(m->server->bad_moves == 0 && m->doorbell_count == 0);
	vmbus_server_get_stats(m->server, &stats);
	MOCK_CHECK(stats.gpadls == 0 && stats.gpadl_pages == 0 && stats.open_channels == 0);
	MOCK_CHECK(mock_simple(m, VMBUS_MSG_UNLOAD) == VMBUS_FAULT_BAD_CONNECTION);
	vmbus_server_free(m->server);
	/* no page is pinned any more */
	MOCK_CHECK(vmbus_mem_remove(m->mem, 0, NULL, NULL) == 0);
	vmbus_mem_unref(m->mem);
	munmap(m->ram, MOCK_PAGES * VMBUS_PAGE_SIZE);
	close(m->ram_fd);
	free(m->known < m->spare ? m->known : m->spare);
}

const struct vmbus_channel_ops *mock_device_ops(void)
{
	return &device_ops;
}

int mock_offer(struct mock *m, struct mock_device *device, uint8_t instance,
	       struct vmbus_channel **channel)
{
	struct vmbus_guid scsi = VMBUS_GUID_SCSI;

	return mock_offer_as(m, device, scsi, instance, 0, channel);
}

int mock_offer_as(struct mock *m, struct mock_device *device, struct vmbus_guid interface_id,
		  uint16_t instance, uint32_t order, struct vmbus_channel **channel)
{
	struct vmbus_offer offer = VMBUS_OFFER_INIT;

	offer.interface_id = interface_id;
	offer.order = order;
	offer.instance_id.b[0] = (uint8_t)instance;
	offer.instance_id.b[1] = (uint8_t)(instance >> 8);
	offer.ops = &device_ops;
	offer.device = device;
	device->mock = m;
	return vmbus_server_offer(m->server, &offer, channel ? channel : &device->channel);
}

/* -- Running -------------------------------------------------------------- */

static bool channel_step(struct mock *m, struct vmbus_channel **served)
{
	uint64_t count;
	bool rang = read(vmbus_channel_doorbell(*served), &count, sizeof(count)) == sizeof(count);
	int ret = vmbus_channel_service(*served, 64);

	(void)m;
	if (ret == -ESHUTDOWN) {
		*served = NULL;
		return true;
	}
	return ret > 0 || rang || vmbus_channel_arm(*served);
}

bool mock_step(struct mock *m)
{
	bool moved = false;

	for (unsigned int i = 0; i < MOCK_CHANNELS; i++)
		if (m->served[i])
			moved |= channel_step(m, &m->served[i]);
	if (m->woken) {
		m->woken = false;
		vmbus_server_poll(m->server);
		moved = true;
	}
	return moved;
}

void mock_run(struct mock *m)
{
	unsigned int rounds = 0;

	while (mock_step(m))
		MOCK_CHECK(++rounds < 10000);
}

void mock_slot_free(struct mock *m, unsigned int n)
{
	m->slot = n;
	vmbus_server_slot_free(m->server);
}
