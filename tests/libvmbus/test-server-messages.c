/* SPDX-License-Identifier: MIT */
/* The message table itself says what must be refused: each row too short, from the wrong
 * side, in the wrong state, in the wrong version. What is refused changes nothing. */
#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>

#include "mock.h"
#include "server.h"

static struct mock m;
static struct mock_device device;

static void start(void)
{
	mock_init_with(&m, &device);
}

/* Sends @len bytes of @type and expects @fault and nothing else to come of it. */
static void refused(uint32_t type, size_t len, int fault, const char *why)
{
	uint64_t bytes[VMBUS_MESSAGE_MAX / 8] = {type};
	struct vmbus_server_stats before, after;
	const char *name = vmbus_message_name(type);
	int ret;

	vmbus_server_get_stats(m.server, &before);
	ret = mock_post(&m, VMBUS_CONN_MESSAGE, bytes, len);
	vmbus_server_get_stats(m.server, &after);
	cr_expect_eq(ret, fault, "%s of %zu bytes at %x, %s: %d", name ? name : "?", len,
		     before.version, why, ret);
	before.faults[fault]++;
	cr_expect_eq(memcmp(&before, &after, sizeof(before)), 0, "%s, %s: stats", name ? name : "?",
		     why);
	mock_expect_none(&m);
}

#define G2H GUEST_TO_HOST
#define H2G HOST_TO_GUEST

/* As the protocol has them: what is tried below follows the table, right or wrong. */
static const struct {
	uint32_t type, direction, size, version, feature;
} specified[] = {
	{1, H2G, 190, 0, 0},           {2, H2G, 12, 0, 0},            {3, G2H, 8, 0, 0},
	{4, H2G, 8, 0, 0},             {5, G2H, 148, 0, 0},           {6, H2G, 20, 0, 0},
	{7, G2H, 12, 0, 0},            {8, G2H, 20, 0, 0},            {9, G2H, 16, 0, 0},
	{10, H2G, 20, 0, 0},           {11, G2H, 16, 0, 0},           {12, H2G, 12, 0, 0},
	{13, G2H, 12, 0, 0},           {14, G2H, 40, 0, 0},           {15, H2G, 16, 0, 0},
	{16, G2H, 8, 0, 0},            {17, H2G, 8, 0x10001, 0},      {18, G2H, 28, 0x40000, 0},
	{19, G2H, 20, 0x40000, 0},     {20, H2G, 12, 0x40000, 0},     {21, G2H, 40, 0x40000, 0},
	{22, G2H, 16, 0x40001, 0},     {23, H2G, 44, 0x40001, 0},     {24, H2G, 16, 0x50003, 0},
	{25, G2H, 24, 0x60000, 0x04},  {26, H2G, 9, 0x60000, 0x04},   {27, G2H, 8, 0x60000, 0x20},
	{28, H2G, 8, 0x60000, 0x20},   {29, G2H, 8, 0x60000, 0x20},
};
#define SPECIFIED (sizeof(specified) / sizeof(specified[0]))

Test(messages, the_table_is_the_protocols)
{
	cr_assert_eq(SPECIFIED, VMBUS_MSG_COUNT - 1);
	for (size_t i = 0; i < SPECIFIED; i++) {
		const struct message_type *row = vmbus_message_type(specified[i].type);

		cr_assert_not_null(row, "%u", specified[i].type);
		cr_expect_eq(row->flags & (G2H | H2G), specified[i].direction, "%s", row->name);
		cr_expect_eq(row->min_size, specified[i].size, "%s", row->name);
		cr_expect_eq(row->first_version, specified[i].version, "%s", row->name);
		cr_expect_eq(row->feature, specified[i].feature, "%s", row->name);
		cr_expect_eq(row->handle != NULL, specified[i].direction == G2H, "%s", row->name);
	}
}

static bool version_has(const struct message_type *row, uint32_t version)
{
	return version >= row->first_version && row->feature == 0;
}

static void row_refuse(uint32_t type, uint32_t version, enum connection_state state)
{
	const struct message_type *row = vmbus_message_type(type);

	if (!row) {
		refused(type, 240, VMBUS_FAULT_UNKNOWN_TYPE, "unknown");
		refused(type, 8, VMBUS_FAULT_UNKNOWN_TYPE, "unknown");
	} else if (row->flags & HOST_TO_GUEST) {
		refused(type, row->min_size, VMBUS_FAULT_WRONG_DIRECTION, "direction");
		refused(type, 8, VMBUS_FAULT_WRONG_DIRECTION, "direction, short");
	} else if (!(row->states & STATE(state))) {
		refused(type, row->min_size, VMBUS_FAULT_WRONG_STATE, "state");
	} else if (state == CONNECTION_CONNECTED && !version_has(row, version)) {
		refused(type, row->min_size, VMBUS_FAULT_WRONG_VERSION, "version");
	} else {
		for (size_t len = 8; len < row->min_size; len++)
			refused(type, len, VMBUS_FAULT_TRUNCATED, "short");
	}
}

Test(messages, every_row_at_every_version)
{
	for (size_t i = 0; i < MOCK_VERSIONS; i++) {
		start();
		mock_connect(&m, mock_versions[i]);
		for (uint32_t type = 0; type < VMBUS_MSG_COUNT + 3; type++)
			row_refuse(type, mock_versions[i], CONNECTION_CONNECTED);
		row_refuse(UINT32_MAX, mock_versions[i], CONNECTION_CONNECTED);
		mock_fini(&m);
	}
}

Test(messages, every_row_without_a_connection)
{
	start();
	for (uint32_t type = 0; type < VMBUS_MSG_COUNT + 3; type++)
		row_refuse(type, 0, CONNECTION_DISCONNECTED);
	mock_fini(&m);
}

Test(messages, every_row_while_disconnecting)
{
	start();
	mock_open_first(&m, VMBUS_V5_3);
	device.stop_result = -EINPROGRESS;
	cr_assert_eq(mock_simple(&m, VMBUS_MSG_UNLOAD), 0);
	mock_run(&m);
	cr_assert_eq(m.server->state, CONNECTION_DISCONNECTING);
	for (uint32_t type = 0; type < VMBUS_MSG_COUNT; type++)
		row_refuse(type, VMBUS_V5_3, CONNECTION_DISCONNECTING);
	device.stop_result = 0;
	mock_run(&m);
	mock_expect(&m, VMBUS_MSG_UNLOAD_COMPLETE);
	mock_fini(&m);
}

/* Features are asked for one by one: each lets in its rows and no others. */
Test(messages, every_feature_lets_in_its_own_rows)
{
	for (uint32_t feature = 1; feature <= VMBUS_FEATURE_GPA_PINNING; feature <<= 1) {
		start();
		m.features = feature;
		mock_connect(&m, VMBUS_V6_0);
		cr_expect_eq(m.server->features & ~feature, 0);
		for (uint32_t type = 0; type < VMBUS_MSG_COUNT; type++) {
			const struct message_type *row = vmbus_message_type(type);

			if (row && row->feature == feature && row->flags & GUEST_TO_HOST) {
				uint64_t bytes[VMBUS_MESSAGE_MAX / 8] = {type};

				cr_expect_eq(mock_post(&m, 1, bytes, row->min_size), 0, "%s",
					     row->name);
			} else if (row && row->feature) {
				refused(type, row->min_size,
					row->flags & HOST_TO_GUEST ? VMBUS_FAULT_WRONG_DIRECTION :
								     VMBUS_FAULT_WRONG_VERSION,
					"feature");
			}
			while (mock_next(&m))
				;
		}
		(void)mock_simple(&m, VMBUS_MSG_RESUME);
		mock_fini(&m);
	}
}

/* Microsoft's UEFI posts every message with 240 bytes. */
Test(messages, a_tail_is_no_fault)
{
	union {
		uint64_t words[VMBUS_MESSAGE_MAX / 8];
		struct vmbus_msg_header header;
	} full = {{0}};

	start();
	mock_connect(&m, VMBUS_V5_3);
	memset(full.words, 0xee, sizeof(full));
	full.header.type = VMBUS_MSG_REQUEST_OFFERS;
	cr_expect_eq(mock_post(&m, 1, &full, sizeof(full)), 0);
	mock_expect(&m, VMBUS_MSG_OFFER);
	mock_expect(&m, VMBUS_MSG_ALLOFFERS_DELIVERED);
	full.header.type = VMBUS_MSG_UNLOAD;
	cr_expect_eq(mock_post(&m, 1, &full, sizeof(full)), 0);
	mock_expect(&m, VMBUS_MSG_UNLOAD_COMPLETE);
	mock_fini(&m);
}

Test(messages, connection_ids_and_lengths_of_the_hypercall)
{
	uint64_t bytes[32] = {VMBUS_MSG_REQUEST_OFFERS};

	start();
	mock_connect(&m, VMBUS_V5_3);
	cr_expect_eq(vmbus_server_message(m.server, 0, bytes, 8), VMBUS_FAULT_BAD_CONNECTION);
	cr_expect_eq(vmbus_server_message(m.server, 2, bytes, 8), VMBUS_FAULT_BAD_CONNECTION);
	cr_expect_eq(vmbus_server_message(m.server, 0x800074, bytes, 8),
		     VMBUS_FAULT_BAD_CONNECTION);
	cr_expect_eq(vmbus_server_message(m.server, 1, bytes, 241), VMBUS_FAULT_OVERSIZED);
	for (size_t len = 0; len < 8; len++)
		cr_expect_eq(vmbus_server_message(m.server, 1, bytes, len), VMBUS_FAULT_TRUNCATED);
	mock_expect_none(&m);
	cr_expect_eq(mock_post(&m, VMBUS_CONN_MESSAGE_MULTI, bytes, 8), 0);
	mock_fini(&m);
}

/* What a handler returns must not look like one of the two that the backend answers with a
 * hypercall status. */
Test(messages, faults_of_handlers_are_not_those_of_the_hypercall)
{
	struct mock_device other = {0};
	struct vmbus_msg_open open = {
		.channel_id = 1, .open_id = 1, .ring_gpadl = 1, .downstream_page_offset = 4};

	start();
	m.features = VMBUS_FEATURE_GUEST_SIGNALS;
	mock_connect(&m, VMBUS_V6_0);
	cr_assert_eq(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS), 0);
	cr_assert_eq(mock_gpadl(&m, 1, 1, MOCK_RING_PFN, MOCK_RING_PAGES), 0);
	for (uint32_t id = 0; id <= VMBUS_CONN_MESSAGE_MULTI; id++) {
		open.connection_id = id;
		open.event_flag = 1;
		cr_expect_eq(mock_send(&m, VMBUS_MSG_OPEN_CHANNEL, &open, sizeof(open)),
			     VMBUS_FAULT_BAD_SIGNAL);
	}
	open.connection_id = 1u << 24;
	cr_expect_eq(mock_send(&m, VMBUS_MSG_OPEN_CHANNEL, &open, sizeof(open)),
		     VMBUS_FAULT_BAD_SIGNAL);
	open.connection_id = 0xffffff;
	open.event_flag = 0;
	cr_expect_eq(mock_send(&m, VMBUS_MSG_OPEN_CHANNEL, &open, sizeof(open)),
		     VMBUS_FAULT_BAD_SIGNAL);
	open.event_flag = VMBUS_EVENT_FLAGS;
	cr_expect_eq(mock_send(&m, VMBUS_MSG_OPEN_CHANNEL, &open, sizeof(open)),
		     VMBUS_FAULT_BAD_SIGNAL);
	cr_expect_eq(mock_send(&m, VMBUS_MSG_OPEN_CHANNEL, &open, VMBUS_OPEN_SIZE_BASE),
		     VMBUS_FAULT_TRUNCATED);
	open.event_flag = VMBUS_EVENT_FLAGS - 1;
	cr_expect_eq(mock_send(&m, VMBUS_MSG_OPEN_CHANNEL, &open, sizeof(open)), 0);
	cr_expect_eq(m.doorbells[0].connection_id, 0xffffff);
	/* one connection, one channel */
	cr_assert_eq(mock_offer(&m, &other, 2, NULL), 0);
	cr_assert_eq(mock_gpadl(&m, 2, 2, MOCK_RING_PFN, MOCK_RING_PAGES), 0);
	open.channel_id = open.ring_gpadl = 2;
	cr_expect_eq(mock_send(&m, VMBUS_MSG_OPEN_CHANNEL, &open, sizeof(open)),
		     VMBUS_FAULT_BAD_SIGNAL);
	open.connection_id = 0xfffffe;
	cr_expect_eq(mock_send(&m, VMBUS_MSG_OPEN_CHANNEL, &open, sizeof(open)), 0);
	mock_fini(&m);
}

Test(messages, logging_of_one_kind_slows_down)
{
	start();
	for (unsigned int i = 0; i < 1000; i++)
		(void)mock_simple(&m, VMBUS_MSG_UNLOAD);
	cr_expect_eq(m.logs, 10); /* 1, 2, 4, ... 512 */
	(void)mock_simple(&m, VMBUS_MSG_OFFER);
	cr_expect_eq(m.logs, 11);
	mock_fini(&m);
}

Test(messages, names_are_those_of_the_table)
{
	cr_expect_str_eq(vmbus_message_name(VMBUS_MSG_OPEN_CHANNEL), "OPEN_CHANNEL");
	cr_expect_null(vmbus_message_name(VMBUS_MSG_INVALID));
	cr_expect_null(vmbus_message_name(VMBUS_MSG_COUNT));
	for (uint32_t type = 1; type < VMBUS_MSG_COUNT; type++) {
		const struct message_type *row = vmbus_message_type(type);

		cr_assert_not_null(row, "%u", type);
		cr_expect_eq(!row->handle, !(row->flags & GUEST_TO_HOST), "%s", row->name);
		cr_expect_eq(!row->states, !(row->flags & GUEST_TO_HOST), "%s", row->name);
	}
}
