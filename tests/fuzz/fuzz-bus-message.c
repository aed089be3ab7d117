/* SPDX-License-Identifier: MIT */
/* The input is a script: messages of a guest that keeps no rule, its slot busy and
 * free, devices that dawdle, refuse and are taken away, polls and resets in
 * between. The mock checks each word the guest is told; what is left at the end must
 * be settled and freed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vmbus/cursor.h>

#include "../libvmbus/mock.h"
#include "server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEVICES 4u

static struct mock m;
static struct mock_device devices[DEVICES];
static bool unplugged;

static uint8_t byte_next(struct vmbus_cursor *script)
{
	uint8_t byte = 0;

	(void)!vmbus_cursor_get(script, &byte, 1);
	return byte;
}

static uint32_t version_next(struct vmbus_cursor *script)
{
	static const uint32_t versions[] = {
#define X(constant, major, minor, host) VMBUS_##constant,
		VMBUS_VERSIONS(X)
#undef X
			0,
		UINT32_MAX};

	return versions[byte_next(script) % (sizeof(versions) / sizeof(versions[0]))];
}

/* Range heads and page numbers as a good guest would write them, unless @odd. */
static void words_fill(uint8_t *at, size_t words, uint32_t ranges, uint8_t odd)
{
	uint32_t pages = words > ranges && ranges > 0 ? (uint32_t)(words - ranges) / ranges : 1;

	for (size_t i = 0; i < words; i++) {
		bool head = ranges > 0 && i % (pages + 1) == 0;
		uint64_t word = head ? pages * VMBUS_PAGE_SIZE : MOCK_RING_PFN + i - 1;

		if (odd && i == odd % words)
			word ^= 1ull << odd % 64;
		memcpy(at + 8 * i, &word, 8);
	}
}

/* Each field of 32 bits is a small number out of the script, 255 is all ones. */
static void message_send(struct vmbus_cursor *script)
{
	union {
		struct message m;
		uint8_t bytes[sizeof(struct message)];
	} msg = {.bytes = {0}};
	uint32_t type = byte_next(script) % 32, connection = byte_next(script);
	const struct message_type *row = vmbus_message_type(type);
	size_t len = row ? row->min_size : 24, words = 0;
	uint8_t *bytes = msg.m.u.bytes;

	for (size_t at = 8; at + 4 <= len && at < 44; at += 4) {
		uint32_t field = byte_next(script);

		field = field == 255 ? UINT32_MAX : field;
		memcpy(bytes + at, &field, 4);
	}
	msg.m.u.header.type = type;
	if (type == VMBUS_MSG_INITIATE_CONTACT) {
		msg.m.u.contact.version = version_next(script);
		if (msg.m.u.contact.version < VMBUS_V5_0)
			msg.m.u.contact.u.interrupt_page <<= VMBUS_PAGE_SHIFT;
		len = byte_next(script) % 2 ? 56 : 40;
	} else if (type == VMBUS_MSG_GPADL_HEADER) {
		words = byte_next(script) % 28;
		msg.m.u.gpadl_header.range_buflen = (uint16_t)(8 * byte_next(script));
		msg.m.u.gpadl_header.range_count = byte_next(script) % 4;
		words_fill(bytes + len, words, msg.m.u.gpadl_header.range_count, byte_next(script));
	} else if (type == VMBUS_MSG_GPADL_BODY) {
		words = byte_next(script) % 29;
		words_fill(bytes + len, words, 0, byte_next(script));
	} else if (type == VMBUS_MSG_OPEN_CHANNEL) {
		msg.m.u.open.open_id |= 1; /* 0 answers OPEN_RESERVED */
	}
	if (type == VMBUS_MSG_OPEN_CHANNEL && m.features & VMBUS_FEATURE_GUEST_SIGNALS) {
		len = sizeof(msg.m.u.open);
		msg.m.u.open.connection_id = 5u + byte_next(script);
		msg.m.u.open.event_flag = byte_next(script);
	}
	len += 8 * words;
	if (connection >= 128)
		len -= connection % 16;
	(void)!mock_post(&m, connection % 8 == 7 ? connection : connection % 2 ? 1 : 4, bytes, len);
}

static void ring_scribble(struct vmbus_cursor *script)
{
	struct vmbus_ring_control *control =
		(void *)(m.ram + (MOCK_RING_PFN + byte_next(script) % 8) * VMBUS_PAGE_SIZE);

	control->in = byte_next(script) * 8u;
	control->out = byte_next(script) * 8u;
	for (unsigned int i = 0; i < MOCK_CHANNELS; i++)
		if (m.served[i])
			vmbus_channel_ring_doorbell(m.served[i]);
}

static void memory_plug(void)
{
	struct vmbus_region region = {
		.size = sizeof(region), .gpa = 1ull << 30, .len = 4096, .fd = -1};
	static uint8_t page[4096] __attribute__((aligned(4096)));

	region.host = page;
	MOCK_CHECK((unplugged ? vmbus_mem_remove(m.mem, region.gpa, NULL, NULL) :
				vmbus_mem_add(m.mem, &region)) == 0);
	unplugged = !unplugged;
	vmbus_server_memory_changed(m.server);
}

static void device_act(struct vmbus_cursor *script)
{
	uint8_t act = byte_next(script), arg = byte_next(script);
	struct mock_device *device = &devices[act % DEVICES];
	struct vmbus_channel *ch = device->channel;

	switch (act / DEVICES % 8) {
	case 0:
		device->stop_result = arg % 2 ? -EINPROGRESS : 0;
		device->sub_stop_result = arg % 4 / 2 ? -EINPROGRESS : 0;
		break;
	case 1:
		device->open_result = arg % 2 ? -ENOMEM : 0;
		break;
	case 2:
		device->service_result = arg % 4 == 1 ? -EAGAIN : arg % 4 == 2 ? -EBUSY : arg % 4;
		break;
	case 3:
		if (ch)
			vmbus_channel_revoke(ch);
		break;
	case 4:
		if (!ch)
			(void)mock_offer(&m, device, (uint8_t)(act % DEVICES), NULL);
		break;
	case 5:
		if (ch)
			(void)!vmbus_channel_offer_sub(ch, arg % 4);
		break;
	case 6:
		if (device->held)
			vmbus_gpadl_unref(device->held);
		device->held = ch ? vmbus_channel_gpadl(ch, arg) : NULL;
		break;
	default:
		device->revoke_in_closed = arg % 2;
		device->let_go = arg % 4 / 2;
		break;
	}
}

static void script_step(struct vmbus_cursor *script)
{
	uint8_t op = byte_next(script);

	switch (op % 16) {
	case 0:
		mock_slot_free(&m, op / 16);
		break;
	case 1:
		mock_slot_free(&m, UINT32_MAX);
		break;
	case 2:
		mock_step(&m);
		break;
	case 3:
		mock_run(&m);
		break;
	case 4:
	case 5:
		device_act(script);
		break;
	case 6:
		ring_scribble(script);
		break;
	case 7:
		memory_plug();
		break;
	case 8:
		if (op / 16 == 0)
			mock_reset(&m);
		break;
	case 9:
		m.doorbell_result = op / 16 % 2 ? -ENOSPC : 0;
		break;
	default:
		message_send(script);
		break;
	}
}

static void script_end(void)
{
	struct vmbus_server_stats stats;

	for (unsigned int i = 0; i < DEVICES; i++) {
		devices[i].stop_result = devices[i].sub_stop_result = 0;
		if (devices[i].held)
			vmbus_gpadl_unref(devices[i].held);
		devices[i].held = NULL;
		devices[i].service_result = 0;
	}
	mock_slot_free(&m, UINT32_MAX);
	mock_run(&m);
	(void)mock_simple(&m, VMBUS_MSG_RESUME);
	mock_run(&m);
	mock_check_settled(&m);
	vmbus_server_get_stats(m.server, &stats);
	MOCK_CHECK(stats.messages_waiting == 0);
	mock_fini(&m);
	for (unsigned int i = 0; i < DEVICES; i++)
		MOCK_CHECK(devices[i].opens == devices[i].closes && !devices[i].channel);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmbus_cursor script = vmbus_cursor_of(data, size < 4096 ? size : 4096);

	mock_config(&m);
	memset(devices, 0, sizeof(devices));
	unplugged = false;
	m.config.max_messages = 2 + byte_next(&script) % 32;
	m.config.max_gpadls = 1 + byte_next(&script) % 32;
	m.config.max_gpadl_pages = 4 * byte_next(&script);
	m.config.max_channels = 1 + byte_next(&script) % 16;
	m.features = byte_next(&script);
	mock_start(&m);
	MOCK_CHECK(mock_offer(&m, &devices[0], 0, NULL) == 0);
	while (script.len > 0) {
		script_step(&script);
		MOCK_CHECK(m.server->bad_moves == 0);
	}
	script_end();
	return 0;
}
