/* SPDX-License-Identifier: MIT */
/* Versions, the connection, and everything of it let go. */
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

/* What differs between versions on the wire and in the signal path. */
static void version_facts(uint32_t version, uint32_t id)
{
	uint32_t flag = m.features & VMBUS_FEATURE_GUEST_SIGNALS ? 100 + id : id;
	uint32_t connection = m.features & VMBUS_FEATURE_GUEST_SIGNALS ? 0x9000 + id : 0x2000 + id;
	struct vmbus_packet packet = {
		.type = VMBUS_PACKET_INBAND, .payload = "x", .payload_len = 1};

	cr_assert_eq(m.doorbell_count, 1);
	cr_expect_eq(m.doorbells[0].connection_id,
		     version >= VMBUS_V1_1 ? connection : VMBUS_CONN_EVENT);
	cr_expect_eq(vmbus_channel_version(device.channel), version);
	cr_expect_eq(vmbus_channel_send(device.channel, &packet, 0), 0);
	mock_run(&m);
	cr_expect_eq(m.signals, 1);
	cr_expect_eq(m.signal_vp, version >= VMBUS_V2_4 ? 2 : 0, "%x", version);
	cr_expect_eq(m.signal_flag, flag);
	cr_expect_eq(m.signal_page, version >= VMBUS_V2_4 ? 0 : 0x3000);
}

static void version_try(uint32_t version, uint32_t features)
{
	uint32_t id;

	start();
	m.features = features;
	id = mock_open_first(&m, version);
	mock_run(&m);
	cr_expect_eq(device.opens, 1);
	cr_expect_gt(device.services, 0);
	version_facts(version, id);
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, id), 0);
	cr_expect_eq(mock_teardown(&m, id, 1), 0);
	mock_expect_none(&m);
	mock_run(&m);
	mock_expect(&m, VMBUS_MSG_GPADL_TORNDOWN);
	cr_expect_eq(mock_simple(&m, VMBUS_MSG_UNLOAD), 0);
	mock_run(&m);
	if (version >= VMBUS_V1_1)
		cr_expect_eq(mock_expect(&m, VMBUS_MSG_UNLOAD_COMPLETE)->vp,
			     version >= VMBUS_V3_0 ? 1 : 0);
	mock_expect_none(&m);
	mock_check_settled(&m);
	mock_fini(&m);
	cr_expect_eq(device.releases, 1);
}

Test(connection, every_version_connects_opens_signals_and_unloads)
{
	for (size_t i = 0; i < MOCK_VERSIONS; i++)
		version_try(mock_versions[i], 0);
	version_try(VMBUS_V6_0, VMBUS_FEATURE_GUEST_SIGNALS | VMBUS_FEATURE_CLIENT_ID);
}

Test(connection, the_answer_has_the_form_of_its_version)
{
	for (size_t i = 0; i < MOCK_VERSIONS; i++) {
		const struct mock_message *in;
		uint32_t v = mock_versions[i];

		start();
		m.features = UINT32_MAX;
		cr_expect_eq(mock_contact(&m, v), 0);
		in = mock_expect(&m, VMBUS_MSG_VERSION_RESPONSE);
		cr_expect_eq(in->len, v >= VMBUS_V6_0 ? 20 : 16);
		cr_expect_eq(in->u.version.version_or_connection_id,
			     v >= VMBUS_V5_0 ? VMBUS_CONN_MESSAGE : v);
		cr_expect_eq(in->u.version.features, v >= VMBUS_V6_0 ? 0x2du : 0,
			     "what is supported, no more");
		mock_fini(&m);
	}
}

/* Versions match exactly; a refusal has 16 bytes and goes where the guest listens. */
Test(connection, unknown_versions_are_refused)
{
	static const uint32_t unknown[] = {0,       0xc,     0xe,     0x10000, 0x10002, 0x20003,
					   0x30001, 0x40002, 0x50004, 0x60001, 0x70000, UINT32_MAX};

	start();
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		const struct mock_message *in;

		cr_expect_eq(mock_contact(&m, unknown[i]), 0);
		in = mock_expect(&m, VMBUS_MSG_VERSION_RESPONSE);
		cr_expect_eq(in->u.version.supported, 0);
		cr_expect_eq(in->len, 16);
		cr_expect_eq(in->vp, unknown[i] >= VMBUS_V3_0 ? 1 : 0);
		cr_expect_eq(m.server->state, CONNECTION_DISCONNECTED);
	}
	mock_connect(&m, VMBUS_V3_0);
	mock_fini(&m);
}

Test(connection, the_config_bounds_the_versions)
{
	mock_config(&m);
	m.config.min_version = VMBUS_V3_0;
	m.config.max_version = VMBUS_V5_2;
	mock_start(&m);
	for (size_t i = 0; i < MOCK_VERSIONS; i++) {
		cr_expect_eq(mock_contact(&m, mock_versions[i]), 0);
		cr_expect_eq(mock_expect(&m, VMBUS_MSG_VERSION_RESPONSE)->u.version.supported,
			     mock_versions[i] >= VMBUS_V3_0 && mock_versions[i] <= VMBUS_V5_2, "%x",
			     mock_versions[i]);
	}
	mock_fini(&m);
}

#define MONITOR VMBUS_FAULT_BAD_MONITOR
#define GPA VMBUS_FAULT_BAD_GPA

static const struct contact_row {
	const char *name;
	uint32_t version, vp;
	uint8_t sint, vtl;
	uint64_t parent, child, page;
	uint32_t connection;
	int ret;
	int supported, state; /* of the answer; supported -1: none */
	uint32_t answer_vp;
	uint8_t answer_sint;
	int fault; /* that is counted, where @ret is 0 */
} contact_rows[] = {
	{"usual", VMBUS_V5_3, 3, 2, 0, 1, 2, 0, 4, 0, 1, 0, 3, 2, 0},
	{"no monitor pages", VMBUS_V5_3, 3, 2, 0, 0, 0, 0, 4, 0, 1, 0, 3, 2, 0},
	{"one monitor page", VMBUS_V5_3, 3, 2, 0, 1, 0, 0, 4, 0, 1, 2, 3, 2, MONITOR},
	{"the other monitor page", VMBUS_V2_4, 3, 0, 0, 0, 1, 0, 1, 0, 1, 2, 0, 2, MONITOR},
	{"one monitor page before 2.4", VMBUS_V1_1, 3, 0, 0, 0, 1, 0x3000, 1, 0, 0, 0, 0, 2, MONITOR},
	{"no such VP", VMBUS_V5_3, 4, 2, 0, 1, 2, 0, 4, 0, 0, 0, 0, 2, VMBUS_FAULT_BAD_VP},
	{"unknown version", 0x70000, 3, 2, 0, 1, 2, 0, 4, 0, 0, 0, 3, 2, 0},
	{"unknown version, no such VP", 0x70000, 4, 2, 0, 1, 2, 0, 4, 0, 0, 0, 0, 2, 0},
	{"any VP before 3.0", VMBUS_V2_4, UINT32_MAX, 0, 0, 1, 2, 0, 1, 0, 1, 0, 0, 2, 0},
	{"other SINT", VMBUS_V5_0, 3, 5, 0, 1, 2, 0, 4, VMBUS_FAULT_BAD_SINT, 0, 0, 3, 5, 0},
	{"impossible SINT", VMBUS_V5_0, 3, 16, 0, 1, 2, 0, 4, VMBUS_FAULT_BAD_SINT, -1, 0, 0, 0, 0},
	{"other SINT, no such VP", VMBUS_V5_0, 4, 5, 0, 1, 2, 0, 4, VMBUS_FAULT_BAD_SINT, -1, 0, 0,
	 0, 0},
	{"other SINT on connection 1", VMBUS_V5_0, 3, 5, 0, 1, 2, 0, 1, 0, 1, 0, 3, 2, 0},
	{"other VTL", VMBUS_V5_1, 3, 2, 1, 1, 2, 0, 4, VMBUS_FAULT_BAD_VTL, -1, 0, 0, 0, 0},
	{"VTL field before 5.1", VMBUS_V5_0, 3, 2, 1, 1, 2, 0, 4, 0, 1, 0, 3, 2, 0},
	{"VTL field on connection 1", VMBUS_V5_3, 3, 2, 1, 1, 2, 0, 1, 0, 1, 0, 3, 2, 0},
	{"no interrupt page at 1.1", VMBUS_V1_1, 0, 0, 0, 1, 2, 0, 1, 0, 0, 0, 0, 2, GPA},
	{"odd interrupt page", VMBUS_V0_13, 0, 0, 0, 1, 2, 0x3001, 1, 0, 0, 0, 0, 2, GPA},
	{"interrupt page outside memory", VMBUS_V0_13, 0, 0, 0, 1, 2, 1ull << 40, 1, 0, 0, 0, 0, 2, GPA},
	{"interrupt page not used", VMBUS_V4_1, 1, 0, 0, 1, 2, 1ull << 40, 1, 0, 1, 0, 1, 2, 0},
};

static uint64_t faults_counted(void)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < VMBUS_FAULT_COUNT; i++)
		sum += m.server->faults[i];
	return sum;
}

Test(connection, every_field_of_a_contact_is_checked)
{
	for (size_t i = 0; i < sizeof(contact_rows) / sizeof(contact_rows[0]); i++) {
		const struct contact_row *row = &contact_rows[i];
		struct vmbus_msg_initiate_contact c = {.header.type = VMBUS_MSG_INITIATE_CONTACT,
						       .version = row->version,
						       .target_vp = row->vp,
						       .monitor_page_parent = row->parent,
						       .monitor_page_child = row->child};
		const struct mock_message *in;

		start();
		c.u.interrupt_page = row->page;
		if (row->version >= VMBUS_V5_0) {
			c.u.v5.sint = row->sint;
			c.u.v5.vtl = row->vtl;
		}
		cr_expect_eq(mock_post(&m, row->connection, &c, 40), row->ret, "%s", row->name);
		in = mock_next(&m);
		cr_expect_eq(in != NULL, row->supported >= 0, "%s", row->name);
		if (in) {
			cr_expect_eq(in->u.version.supported, row->supported, "%s", row->name);
			cr_expect_eq(in->u.version.connection_state, row->state, "%s", row->name);
			cr_expect_eq(in->vp, row->answer_vp, "%s", row->name);
			cr_expect_eq(in->sint, row->answer_sint, "%s", row->name);
		}
		cr_expect_eq(m.server->state == CONNECTION_CONNECTED,
			     row->supported == 1 && row->state == 0, "%s", row->name);
		cr_expect_eq(faults_counted(), (row->ret | row->fault) != 0, "%s", row->name);
		cr_expect_eq(m.server->faults[row->ret | row->fault], faults_counted(), "%s",
			     row->name);
		mock_expect_none(&m);
		mock_fini(&m);
	}
}

Test(connection, other_sints_and_vtls_leave_a_connection_alone)
{
	struct vmbus_msg_initiate_contact c = {
		.header.type = VMBUS_MSG_INITIATE_CONTACT, .version = VMBUS_V5_3, .u.v5.sint = 3};

	start();
	mock_open_first(&m, VMBUS_V5_2);
	cr_expect_eq(mock_post(&m, VMBUS_CONN_MESSAGE_MULTI, &c, 40), VMBUS_FAULT_BAD_SINT);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_VERSION_RESPONSE)->u.version.supported, 0);
	c.u.v5.sint = 2;
	c.u.v5.vtl = 2;
	cr_expect_eq(mock_post(&m, VMBUS_CONN_MESSAGE_MULTI, &c, 40), VMBUS_FAULT_BAD_VTL);
	cr_expect_eq(device.channel->state, CHANNEL_OPEN);
	cr_expect_eq(m.server->version, VMBUS_V5_2);
	mock_fini(&m);
}

Test(connection, a_client_id_must_be_there_when_announced)
{
	struct vmbus_msg_initiate_contact c = {
		.header.type = VMBUS_MSG_INITIATE_CONTACT,
		.version = VMBUS_V6_0,
		.u.v5 = {.sint = 2, .features = VMBUS_FEATURE_CLIENT_ID}};

	start();
	cr_expect_eq(mock_post(&m, 1, &c, 40), VMBUS_FAULT_TRUNCATED);
	cr_expect_eq(mock_post(&m, 1, &c, 55), VMBUS_FAULT_TRUNCATED);
	cr_expect_eq(mock_post(&m, 1, &c, 56), 0);
	mock_expect(&m, VMBUS_MSG_VERSION_RESPONSE);
	cr_expect_eq(m.server->features, VMBUS_FEATURE_CLIENT_ID);
	mock_fini(&m);
}

/* The page stays the guest's, and ours, until the connection is over. */
Test(connection, an_interrupt_page_is_pinned)
{
	start();
	mock_connect(&m, VMBUS_V1_1);
	cr_expect_eq(vmbus_mem_remove(m.mem, 0, NULL, NULL), -EBUSY);
	mock_connect(&m, VMBUS_V0_13);
	cr_expect_eq(mock_simple(&m, VMBUS_MSG_UNLOAD), 0);
	mock_expect_none(&m);
	mock_fini(&m); /* removes the region */
}

/* A VMM may end without a word to its guest, and keep the memory. */
Test(connection, the_end_of_a_server_unpins_the_interrupt_page)
{
	struct vmbus_server *server;

	start();
	cr_assert_eq(vmbus_server_new(&m.config, &server), 0);
	m.contacts_owed = 1;
	cr_assert_eq(vmbus_server_message(server, VMBUS_CONN_MESSAGE,
					  &(struct vmbus_msg_initiate_contact){
						  .header.type = VMBUS_MSG_INITIATE_CONTACT,
						  .version = VMBUS_V1_1,
						  .u.interrupt_page = 0x3000},
					  VMBUS_INITIATE_CONTACT_SIZE_BASE), 0);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_VERSION_RESPONSE)->u.version.supported, 1);
	cr_expect_eq(vmbus_mem_remove(m.mem, 0, NULL, NULL), -EBUSY);
	vmbus_server_free(server);
	mock_fini(&m); /* removes the region */
}

/* -- Unload, kexec, reset ------------------------------------------------- */

Test(connection, unload_waits_for_a_busy_device)
{
	struct vmbus_server_stats stats;
	uint32_t id;

	start();
	id = mock_open_first(&m, VMBUS_V5_3);
	device.stop_result = -EINPROGRESS;
	cr_expect_eq(mock_simple(&m, VMBUS_MSG_UNLOAD), 0);
	mock_run(&m);
	mock_expect_none(&m);
	cr_expect_gt(device.stops, 0);
	vmbus_server_get_stats(m.server, &stats);
	cr_expect_eq(stats.closing_channels, 1, "the VMM can see what holds it up");
	cr_expect_eq(vmbus_channel_id(device.channel), id, "the device may still ask");
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, id), VMBUS_FAULT_WRONG_STATE);
	device.stop_result = 0;
	mock_run(&m);
	mock_expect(&m, VMBUS_MSG_UNLOAD_COMPLETE);
	cr_expect_eq(device.closes, 1);
	vmbus_server_get_stats(m.server, &stats);
	cr_expect_eq(stats.closing_channels, 0);
	cr_expect_eq(vmbus_channel_id(device.channel), 0);
	cr_expect_eq(mock_simple(&m, VMBUS_MSG_UNLOAD), VMBUS_FAULT_WRONG_STATE);
	mock_check_settled(&m);
	mock_fini(&m);
}

Test(connection, unload_waits_for_a_gpadl_that_a_device_holds)
{
	struct vmbus_server_stats stats;

	start();
	mock_open_first(&m, VMBUS_V5_3);
	device.held = vmbus_channel_gpadl(device.channel, 1);
	cr_assert_not_null(device.held);
	cr_expect_eq(mock_simple(&m, VMBUS_MSG_UNLOAD), 0);
	mock_run(&m);
	cr_expect_eq(device.closes, 1);
	cr_expect_eq(device.teardowns, 1);
	mock_expect_none(&m);
	vmbus_server_get_stats(m.server, &stats);
	cr_expect_eq(stats.ending_gpadls, 1, "the VMM can see what holds it up");
	vmbus_gpadl_unref(device.held);
	mock_run(&m);
	mock_expect(&m, VMBUS_MSG_UNLOAD_COMPLETE);
	vmbus_server_get_stats(m.server, &stats);
	cr_expect_eq(stats.ending_gpadls, 0);
	mock_fini(&m);
}

/* A crash kernel negotiates again while the old kernel's unload is still under way: only
 * the last contact is answered, when all devices have let go. */
Test(connection, a_new_contact_takes_the_place_of_what_was_pending)
{
	start();
	mock_open_first(&m, VMBUS_V5_3);
	device.stop_result = -EINPROGRESS;
	cr_expect_eq(mock_simple(&m, VMBUS_MSG_UNLOAD), 0);
	cr_expect_eq(mock_contact(&m, VMBUS_V4_0), 0);
	mock_run(&m);
	cr_expect_eq(mock_contact(&m, VMBUS_V3_0), 0);
	mock_run(&m);
	mock_expect_none(&m);
	device.stop_result = 0;
	mock_run(&m);
	cr_expect_eq(
		mock_expect(&m, VMBUS_MSG_VERSION_RESPONSE)->u.version.version_or_connection_id,
		VMBUS_V3_0);
	mock_expect_none(&m);
	cr_expect_eq(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS), 0);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_OFFER)->u.offer.channel_id, 1);
	mock_check_settled(&m);
	mock_fini(&m);
}

Test(connection, a_refused_version_lets_go_of_the_old_connection_too)
{
	start();
	mock_open_first(&m, VMBUS_V5_3);
	cr_expect_eq(mock_contact(&m, 0x70000), 0);
	mock_run(&m);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_VERSION_RESPONSE)->u.version.supported, 0);
	cr_expect_eq(device.closes, 1);
	cr_expect_eq(m.server->gpadl_count, 0);
	cr_expect_eq(m.server->state, CONNECTION_DISCONNECTED);
	mock_fini(&m);
}

/* kexec at every step of a guest's life. */
Test(connection, a_new_contact_is_legal_at_any_moment)
{
	for (unsigned int steps = 0; steps < 8; steps++) {
		start();
		mock_connect(&m, VMBUS_V5_3);
		if (steps > 0)
			cr_assert_eq(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS), 0);
		if (steps > 1)
			cr_assert_eq(mock_gpadl(&m, 1, 1, MOCK_RING_PFN,
						steps > 2 ? MOCK_RING_PAGES : 100),
				     0);
		if (steps > 3)
			cr_assert_eq(mock_open(&m, 1, 1, 0), 0);
		if (steps > 4)
			mock_run(&m);
		if (steps > 5)
			cr_assert_eq(mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, 1), 0);
		if (steps > 6)
			cr_assert_eq(mock_teardown(&m, 1, 1), 0);
		m.inbox_read = m.inbox_count;
		mock_connect(&m, VMBUS_V4_1);
		cr_expect_eq(m.server->gpadl_count, 0);
		cr_assert_eq(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS), 0);
		mock_expect(&m, VMBUS_MSG_OFFER);
		mock_expect(&m, VMBUS_MSG_ALLOFFERS_DELIVERED);
		cr_assert_eq(mock_gpadl(&m, 1, 1, MOCK_RING_PFN, MOCK_RING_PAGES), 0);
		cr_expect_eq(mock_open(&m, 1, 1, 0), 0);
		mock_run(&m);
		mock_check_settled(&m);
		mock_fini(&m);
	}
}

Test(connection, a_reset_says_nothing_and_pushes_back_until_it_is_done)
{
	start();
	mock_open_first(&m, VMBUS_V5_3);
	device.stop_result = -EINPROGRESS;
	mock_reset(&m);
	mock_run(&m);
	cr_expect(vmbus_server_resetting(m.server));
	cr_expect_eq(mock_contact(&m, VMBUS_V5_3), -EAGAIN);
	device.stop_result = 0;
	mock_run(&m);
	cr_expect_not(vmbus_server_resetting(m.server));
	mock_expect_none(&m);
	mock_connect(&m, VMBUS_V5_3);
	mock_fini(&m);
}

/* What the old connection was owed is not said in the new one. */
static void modify_then_unload(struct mock *mock)
{
	mock->on_signal = NULL;
	cr_expect_eq(mock_modify(mock, 1, 3), 0);
	cr_expect_eq(mock_simple(mock, VMBUS_MSG_UNLOAD), 0);
}

Test(connection, an_answer_that_is_owed_ends_with_it)
{
	struct vmbus_packet packet = {
		.type = VMBUS_PACKET_INBAND, .payload = "x", .payload_len = 1};

	start();
	mock_open_first(&m, VMBUS_V5_3);
	mock_run(&m);
	m.on_signal = modify_then_unload;
	cr_expect_eq(vmbus_channel_send(device.channel, &packet, 0), 0);
	(void)vmbus_channel_service(device.channel, 1);
	mock_run(&m);
	mock_expect(&m, VMBUS_MSG_UNLOAD_COMPLETE);
	mock_connect(&m, VMBUS_V5_3);
	mock_run(&m);
	mock_expect_none(&m);
	mock_fini(&m);
}

Test(connection, a_reset_takes_the_place_of_an_unload)
{
	start();
	mock_open_first(&m, VMBUS_V5_3);
	device.stop_result = -EINPROGRESS;
	cr_expect_eq(mock_simple(&m, VMBUS_MSG_UNLOAD), 0);
	mock_reset(&m);
	device.stop_result = 0;
	mock_run(&m);
	mock_expect_none(&m);
	mock_fini(&m);
}

/* -- 6.0 ------------------------------------------------------------------ */

Test(connection, paused_means_silent)
{
	struct mock_device other = {0}, third = {0};

	start();
	m.features = VMBUS_FEATURE_PAUSE_RESUME;
	mock_open_first(&m, VMBUS_V6_0);
	m.slot = 0;
	cr_assert_eq(mock_offer(&m, &other, 2, NULL), 0);
	cr_expect_eq(mock_simple(&m, VMBUS_MSG_PAUSE), 0);
	cr_assert_eq(mock_offer(&m, &third, 3, NULL), 0);
	mock_slot_free(&m, UINT32_MAX);
	mock_expect(&m, VMBUS_MSG_OFFER); /* was there before */
	mock_expect(&m, VMBUS_MSG_PAUSE_RESPONSE);
	mock_expect_none(&m);
	cr_expect_eq(mock_simple(&m, VMBUS_MSG_PAUSE), VMBUS_FAULT_WRONG_STATE);
	cr_expect_eq(mock_gpadl(&m, 1, 5, 100, 1), VMBUS_FAULT_WRONG_STATE);
	cr_expect_eq(mock_simple(&m, VMBUS_MSG_RESUME), 0);
	mock_expect(&m, VMBUS_MSG_OFFER);
	cr_expect_eq(mock_simple(&m, VMBUS_MSG_PAUSE), 0);
	mock_expect(&m, VMBUS_MSG_PAUSE_RESPONSE);
	vmbus_channel_revoke(third.channel);
	cr_expect_eq(mock_simple(&m, VMBUS_MSG_UNLOAD), 0);
	mock_run(&m);
	mock_expect(&m, VMBUS_MSG_UNLOAD_COMPLETE);
	mock_expect_none(&m);
	mock_check_settled(&m);
	mock_fini(&m);
}

Test(connection, monitor_pages_may_be_changed_both_or_none)
{
	struct vmbus_msg_modify_connection modify = {.monitor_page_parent = 0x1000,
						     .monitor_page_child = 0x2000};

	start();
	m.features = VMBUS_FEATURE_MODIFY_CONNECTION;
	mock_connect(&m, VMBUS_V6_0);
	cr_expect_eq(mock_send(&m, VMBUS_MSG_MODIFY_CONNECTION, &modify, sizeof(modify)), 0);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_MODIFY_CONNECTION_RESPONSE)
			     ->u.connection.connection_state,
		     0);
	modify.monitor_page_child = 0;
	cr_expect_eq(mock_send(&m, VMBUS_MSG_MODIFY_CONNECTION, &modify, sizeof(modify)),
		     VMBUS_FAULT_BAD_MONITOR);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_MODIFY_CONNECTION_RESPONSE)
			     ->u.connection.connection_state,
		     2);
	mock_fini(&m);
}

/* -- What is refused politely ---------------------------------------------- */

Test(connection, hvsock_connects_are_refused)
{
	struct vmbus_msg_tl_connect connect = {.endpoint_id.b = {1}, .service_id.b = {2}};
	const struct mock_message *in;

	start();
	mock_connect(&m, VMBUS_V4_0);
	cr_expect_eq(mock_send(&m, VMBUS_MSG_TL_CONNECT_REQUEST, &connect, 40), 0);
	mock_expect_none(&m); /* 4.0 has no answer */
	mock_connect(&m, VMBUS_V4_1);
	cr_expect_eq(mock_send(&m, VMBUS_MSG_TL_CONNECT_REQUEST, &connect, 40), 0);
	mock_expect(&m, VMBUS_MSG_TL_CONNECT_RESULT);
	mock_connect(&m, VMBUS_V5_3);
	cr_expect_eq(mock_send(&m, VMBUS_MSG_TL_CONNECT_REQUEST, &connect, 56), 0);
	in = mock_expect(&m, VMBUS_MSG_TL_CONNECT_RESULT);
	cr_expect_eq(in->len, 44);
	cr_expect_eq(in->u.tl_result.status, 0xc0000236u);
	cr_expect(vmbus_guid_equal(in->u.tl_result.endpoint_id, connect.endpoint_id));
	cr_expect(vmbus_guid_equal(in->u.tl_result.service_id, connect.service_id));
	mock_fini(&m);
}

Test(connection, reserved_channels_are_refused_where_the_guest_listens)
{
	struct vmbus_msg_open_reserved open = {.channel_id = 1, .target_vp = 3, .target_sint = 5};
	struct vmbus_msg_close_reserved close = {.channel_id = 1, .target_vp = 3, .target_sint = 5};
	const struct mock_message *in;

	start();
	cr_expect_eq(mock_send(&m, VMBUS_MSG_CLOSE_RESERVED, &close, sizeof(close)), 0);
	in = mock_expect(&m, VMBUS_MSG_CLOSE_RESERVED_RESPONSE);
	cr_expect(in->vp == 3 && in->sint == 5 && in->u.channel.channel_id == 1);
	mock_connect(&m, VMBUS_V4_0);
	cr_expect_eq(mock_send(&m, VMBUS_MSG_OPEN_RESERVED, &open, sizeof(open)), 0);
	in = mock_expect(&m, VMBUS_MSG_OPEN_RESULT);
	cr_expect(in->vp == 3 && in->sint == 5 && in->u.open_result.status != 0);
	open.target_vp = 4;
	cr_expect_eq(mock_send(&m, VMBUS_MSG_OPEN_RESERVED, &open, sizeof(open)),
		     VMBUS_FAULT_BAD_VP);
	close.target_sint = 16;
	cr_expect_eq(mock_send(&m, VMBUS_MSG_CLOSE_RESERVED, &close, sizeof(close)),
		     VMBUS_FAULT_BAD_SINT);
	mock_expect_none(&m);
	mock_fini(&m);
}

/* -- The caller's side ----------------------------------------------------- */

Test(server, bad_configs_are_refused)
{
	struct vmbus_server_ops ops;
	struct vmbus_server *server;
	struct vmbus_server_config good;

	start();
	good = m.config;
	ops = *good.ops;
#define BAD_CONFIG(change)                                                          \
	do {                                                                        \
		struct vmbus_server_config config = good;                           \
		config.ops = &ops;                                                  \
		change;                                                             \
		cr_expect_eq(vmbus_server_new(&config, &server), -EINVAL, #change); \
		ops = *good.ops;                                                    \
	} while (0)
	BAD_CONFIG(config.ops = NULL);
	BAD_CONFIG(config.mem = NULL);
	BAD_CONFIG(config.vp_count = 0);
	BAD_CONFIG(config.max_channels = 0);
	BAD_CONFIG(config.max_channels = 2048);
	BAD_CONFIG(config.max_messages = 1);
	BAD_CONFIG(config.min_version = config.max_version + 1);
	BAD_CONFIG(ops.post_message = NULL);
	BAD_CONFIG(ops.signal = NULL);
	BAD_CONFIG(ops.doorbell_add = NULL);
	BAD_CONFIG(ops.doorbell_remove = NULL);
	BAD_CONFIG(ops.channel_opened = NULL);
	BAD_CONFIG(ops.wake = NULL);
	/* a caller built before the last op was added */
	ops.size = offsetof(struct vmbus_server_ops, log);
	good.ops = &ops;
	cr_assert_eq(vmbus_server_new(&good, &server), 0);
	cr_expect_eq(vmbus_server_message(server, 9, &ops, 8), VMBUS_FAULT_BAD_CONNECTION);
	vmbus_server_free(server);
	vmbus_server_free(NULL);
	mock_fini(&m);
}
