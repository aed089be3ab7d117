/* SPDX-License-Identifier: MIT */
#include <string.h>

#include <criterion/criterion.h>

#include "guest-harness.h"

struct posted posts[POSTS];
uint32_t post_count, post_status, accepted, signalled, signals;
struct calls calls;

static uint32_t post(void *opaque, uint32_t connection_id, const void *message, size_t len)
{
	struct posted *posted = &posts[post_count];

	(void)opaque;
	if (post_status && accepted-- == 0) {
		accepted = 0;
		return post_status;
	}
	cr_assert_lt(post_count, POSTS);
	cr_assert_leq(len, VMBUS_MESSAGE_MAX);
	posted->connection_id = connection_id;
	posted->len = (uint32_t)len;
	memset(&posted->m, 0, sizeof(posted->m));
	memcpy(posted->m.bytes, message, len);
	post_count++;
	return HV_STATUS_SUCCESS;
}

static void signal_host(void *opaque, uint32_t connection_id)
{
	(void)opaque;
	signalled = connection_id;
	signals++;
}

static void on_connected(void *opaque, uint32_t version)
{
	(void)opaque;
	calls.connected++;
	calls.version = version;
}

static void on_offered(void *opaque, struct vmbus_guest_channel *channel)
{
	(void)opaque;
	calls.offered++;
	calls.channel = channel;
}

static void on_all_offered(void *opaque)
{
	(void)opaque;
	calls.all_offered++;
}

static void on_rescinded(void *opaque, struct vmbus_guest_channel *channel)
{
	(void)opaque;
	calls.rescinded++;
	calls.channel = channel;
}

static void on_created(void *opaque, uint32_t gpadl, uint32_t status)
{
	(void)opaque;
	calls.created++;
	calls.gpadl = gpadl;
	calls.status = status;
}

static void on_torndown(void *opaque, uint32_t gpadl)
{
	(void)opaque;
	calls.torndown++;
	calls.gpadl = gpadl;
}

static void on_opened(void *opaque, struct vmbus_guest_channel *channel, uint32_t status)
{
	(void)opaque;
	calls.opened++;
	calls.channel = channel;
	calls.status = status;
}

static void on_modified(void *opaque, struct vmbus_guest_channel *channel, uint32_t status)
{
	(void)opaque;
	calls.modified++;
	calls.channel = channel;
	calls.status = status;
}

static void on_unloaded(void *opaque)
{
	(void)opaque;
	calls.unloaded++;
}

static const struct vmbus_guest_ops all_ops = {
	.size = sizeof(all_ops), .post = post, .signal = signal_host, .connected = on_connected,
	.offered = on_offered, .all_offered = on_all_offered, .rescinded = on_rescinded,
	.gpadl_created = on_created, .gpadl_torndown = on_torndown, .opened = on_opened,
	.modified = on_modified, .unloaded = on_unloaded,
};
const struct vmbus_guest_ops bare_ops = {
	.size = sizeof(bare_ops), .post = post, .signal = signal_host,
};

struct vmbus_guest guest;
struct vmbus_guest_channel channels[CHANNELS];
uint64_t interrupt_page[VMBUS_PAGE_SIZE / 8];

struct vmbus_guest_config config_full(void)
{
	struct vmbus_guest_config config = VMBUS_GUEST_CONFIG_INIT;

	config.ops = &all_ops;
	config.channels = channels;
	config.max_channels = CHANNELS;
	config.interrupt_page = 0x5000;
	config.interrupt_memory = interrupt_page;
	config.monitor_page = 0x7000;
	return config;
}

void say(const void *message, size_t len, int expected)
{
	cr_assert_eq(vmbus_guest_message(&guest, message, len), expected);
}

void say_version(bool supported, uint32_t version)
{
	struct vmbus_msg_version_response m = {
		.header.type = VMBUS_MSG_VERSION_RESPONSE, .supported = supported,
		.version_or_connection_id = version >= VMBUS_V5_0 ? 77 : version,
		.features = 0xff,
	};
	bool features = version >= VMBUS_V6_0 && supported;

	say(&m, features ? sizeof(m) : VMBUS_VERSION_RESPONSE_SIZE_BASE, 0);
}

void connect_at(uint32_t version, uint32_t features)
{
	struct vmbus_guest_config config = config_full();

	config.min_version = config.max_version = version;
	config.features = features;
	cr_assert_eq(vmbus_guest_init(&guest, &config), 0);
	cr_assert_eq(vmbus_guest_connect(&guest), 0);
	say_version(true, version);
	cr_assert_eq(guest.state, VMBUS_GUEST_CONNECTED);
	cr_assert_eq(calls.version, version);
	post_count = 0;
}

int say_offer(uint32_t id)
{
	struct vmbus_msg_offer m = {
		.header.type = VMBUS_MSG_OFFER, .interface_id = VMBUS_GUID_SCSI, .channel_id = id,
		.connection_id = 0x2000 + id, .is_dedicated_interrupt = 1,
	};

	return vmbus_guest_message(&guest, &m, sizeof(m));
}

struct vmbus_guest_channel *offered(uint32_t id)
{
	cr_assert_eq(say_offer(id), 0);
	return vmbus_guest_find(&guest, id);
}

int say_channel(uint32_t type, uint32_t id)
{
	struct vmbus_msg_channel m = {.header.type = type, .channel_id = id};

	return vmbus_guest_message(&guest, &m, sizeof(m));
}

int say_three(uint32_t type, uint32_t a, uint32_t b, uint32_t c)
{
	uint32_t m[5] = {type, 0, a, b, c};

	return vmbus_guest_message(&guest, m, sizeof(m));
}

struct vmbus_ring_control controls[2];
static uint8_t data[2][3 * VMBUS_PAGE_SIZE] __attribute__((aligned(4096)));
static uint8_t *pages[2][3];

struct vmbus_ring_memory ring(int i)
{
	for (int k = 0; k < 3; k++)
		pages[i][k] = data[i] + k * (int)VMBUS_PAGE_SIZE;
	return (struct vmbus_ring_memory){.control = &controls[i], .pages = pages[i],
					  .size = sizeof(data[0])};
}

int open_now(struct vmbus_guest_channel *channel, uint32_t gpadl)
{
	struct vmbus_ring_memory up = ring(0), down = ring(1);

	memset(controls, 0xa5, sizeof(controls));
	return vmbus_guest_open(channel, gpadl, &up, &down, 3, NULL);
}

struct vmbus_guest_channel *opened(uint32_t id)
{
	struct vmbus_guest_channel *channel = offered(id);

	cr_assert_eq(open_now(channel, 9), 0);
	cr_assert_eq(say_three(VMBUS_MSG_OPEN_RESULT, id, id, 0), 0);
	cr_assert_eq(channel->state, VMBUS_GUEST_CHANNEL_OPEN);
	return channel;
}
