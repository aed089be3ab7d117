/* SPDX-License-Identifier: MIT */
/* The guest's end of a connection: negotiation, unload, and a host that is wrong. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "guest-harness.h"

/* -- Connecting ----------------------------------------------------------- */

Test(guest, goes_down_through_every_version)
{
	static const uint32_t order[] = {VMBUS_V6_0, VMBUS_V5_3, VMBUS_V5_2, VMBUS_V5_1,
					 VMBUS_V5_0, VMBUS_V4_1, VMBUS_V4_0, VMBUS_V3_0,
					 VMBUS_V2_4, VMBUS_V1_1, VMBUS_V0_13};
	struct vmbus_guest_config config = config_full();
	uint32_t count = sizeof(order) / sizeof(order[0]);

	config.target_vp = 5;
	cr_assert_eq(vmbus_guest_init(&guest, &config), 0);
	cr_assert_eq(post_count, 0);
	cr_assert_eq(vmbus_guest_connect(&guest), 0);
	for (uint32_t i = 0; i < count; i++) {
		struct vmbus_msg_initiate_contact *m = &posts[i].m.contact;

		cr_assert_eq(post_count, i + 1);
		cr_expect_eq(posts[i].len, 40u);
		cr_expect_eq(m->version, order[i]);
		cr_expect_eq(m->target_vp, 5u);
		cr_expect_eq(m->monitor_page_parent, 0x7000u);
		cr_expect_eq(m->monitor_page_child, 0x8000u);
		cr_expect_eq(posts[i].connection_id, order[i] >= VMBUS_V5_0 ? 4u : 1u);
		if (order[i] >= VMBUS_V5_0)
			cr_expect(m->u.v5.sint == 2 && m->u.v5.vtl == 0 && m->u.v5.features == 0);
		else
			cr_expect_eq(m->u.interrupt_page, 0x5000u);
		say_version(false, order[i]);
	}
	cr_assert_eq(post_count, count);
	cr_assert_eq(calls.connected, 1);
	cr_assert_eq(calls.version, 0);
	cr_assert_eq(guest.state, VMBUS_GUEST_DISCONNECTED);
}

Test(guest, without_an_interrupt_page_stops_at_2_4)
{
	struct vmbus_guest_config config = config_full();

	config.interrupt_page = 0;
	config.max_version = VMBUS_V3_0;
	cr_assert_eq(vmbus_guest_init(&guest, &config), 0);
	cr_assert_eq(vmbus_guest_connect(&guest), 0);
	say_version(false, VMBUS_V3_0);
	say_version(false, VMBUS_V2_4);
	cr_assert_eq(post_count, 2);
	cr_assert_eq(calls.connected, 1);
}

Test(guest, no_connection_4_rules_out_5_0_and_later)
{
	struct vmbus_guest_config config = config_full();

	/* the hypervisor refuses the message itself, as one without connection 4 does */
	post_status = HV_STATUS_INVALID_CONNECTION_ID;
	cr_assert_eq(vmbus_guest_init(&guest, &config), 0);
	cr_assert_eq(vmbus_guest_connect(&guest), -EIO);
	cr_assert_eq(guest.state, VMBUS_GUEST_DISCONNECTED);
	cr_assert_eq(calls.connected, 0);

	/* pushed back first, refused when flushed: the next one goes out */
	post_status = HV_STATUS_INSUFFICIENT_BUFFERS;
	cr_assert_eq(vmbus_guest_connect(&guest), 0);
	cr_assert_eq(vmbus_guest_flush(&guest), -EAGAIN);
	cr_assert_eq(guest.version, VMBUS_V6_0);
	post_status = HV_STATUS_INVALID_CONNECTION_ID;
	cr_assert_eq(vmbus_guest_flush(&guest), 0);
	cr_assert_eq(calls.connected, 1);
	cr_assert_eq(calls.version, 0);
}

Test(guest, takes_what_the_host_grants_and_no_more)
{
	struct vmbus_guest_config config = config_full();
	struct vmbus_msg_version_response m = {
		.header.type = VMBUS_MSG_VERSION_RESPONSE, .supported = 1,
		.version_or_connection_id = 1, .features = ~VMBUS_FEATURE_MODIFY_CONNECTION,
	};

	config.features = VMBUS_FEATURE_CLIENT_ID | VMBUS_FEATURE_MODIFY_CONNECTION;
	memset(&config.client_id, 0xcd, sizeof(config.client_id));
	cr_assert_eq(vmbus_guest_init(&guest, &config), 0);
	cr_assert_eq(vmbus_guest_connect(&guest), 0);
	cr_assert_eq(posts[0].len, 56);
	cr_assert_eq(posts[0].m.contact.u.v5.features, config.features);
	cr_assert_eq(posts[0].m.contact.client_id.b[15], 0xcd);
	say(&m, 16, VMBUS_FAULT_TRUNCATED); /* 6.0 has features */
	say(&m, sizeof(m), 0);
	cr_assert_eq(guest.features, VMBUS_FEATURE_CLIENT_ID);
	cr_assert_eq(vmbus_guest_request_offers(&guest), 0);
	cr_assert_eq(posts[1].connection_id, 1); /* the one of the response */
}

Test(guest, a_host_that_accepts_and_fails_is_not_asked_for_less)
{
	struct vmbus_guest_config config = config_full();
	struct vmbus_msg_version_response m = {
		.header.type = VMBUS_MSG_VERSION_RESPONSE, .supported = 1, .connection_state = 2,
	};

	cr_assert_eq(vmbus_guest_init(&guest, &config), 0);
	cr_assert_eq(vmbus_guest_connect(&guest), 0);
	say(&m, sizeof(m), 0);
	cr_assert_eq(calls.connected, 1);
	cr_assert_eq(calls.version, 0);
	cr_assert_eq(post_count, 1);
	cr_assert_eq(guest.state, VMBUS_GUEST_DISCONNECTED);
}

Test(guest, refuses_a_config_that_lacks_something)
{
	struct vmbus_guest_config config;
	struct vmbus_guest_ops ops = *config_full().ops;

	config = config_full(), config.ops = NULL;
	cr_expect_eq(vmbus_guest_init(&guest, &config), -EINVAL);
	config = config_full(), config.size = 8;
	cr_expect_eq(vmbus_guest_init(&guest, &config), -EINVAL);
	config = config_full(), config.channels = NULL;
	cr_expect_eq(vmbus_guest_init(&guest, &config), -EINVAL);
	config = config_full(), config.min_version = VMBUS_V6_0 + 1;
	cr_expect_eq(vmbus_guest_init(&guest, &config), -EINVAL);
	config = config_full(), config.ops = &ops;
	ops.signal = NULL;
	cr_expect_eq(vmbus_guest_init(&guest, &config), -EINVAL);
}

Test(guest, connecting_again_forgets_the_old_connection)
{
	static uint64_t list[100];
	uint32_t gpadl;

	connect_at(VMBUS_V5_3, 0);
	(void)opened(1);
	post_status = HV_STATUS_INSUFFICIENT_BUFFERS;
	cr_assert_eq(vmbus_guest_gpadl_create(offered(2), list, 0, 100 * 4096, &gpadl), 0);
	cr_assert_eq(vmbus_guest_request_offers(&guest), 0); /* kept for the flush */
	post_status = 0;
	cr_assert_eq(vmbus_guest_connect(&guest), 0);
	cr_assert_eq(post_count, 2); /* OPEN and the new INITIATE_CONTACT */
	cr_assert_eq(vmbus_guest_flush(&guest), 0);
	cr_assert_eq(post_count, 2);
	cr_assert_null(vmbus_guest_find(&guest, 1));
	/* what still lay in the slot from before is no fault */
	cr_assert_eq(say_offer(3), 0);
	cr_assert_eq(say_channel(VMBUS_MSG_UNLOAD_COMPLETE, 0), 0);
	cr_assert_null(vmbus_guest_find(&guest, 3));
	say_version(true, VMBUS_V5_3);
	cr_assert_eq(guest.state, VMBUS_GUEST_CONNECTED);
	cr_assert_eq(guest.bad_messages, 0);
}

/* What lies in the slot from before cannot answer a message that the host has not taken. */
Test(guest, no_answer_counts_before_its_request_was_taken)
{
	connect_at(VMBUS_V4_0, 0);
	post_status = HV_STATUS_INSUFFICIENT_BUFFERS;
	cr_assert_eq(vmbus_guest_connect(&guest), 0);
	say_version(false, VMBUS_V6_0);
	say_version(true, VMBUS_V6_0);
	cr_assert_eq(guest.state, VMBUS_GUEST_CONNECTING);
	cr_assert_eq(calls.connected, 1);
	post_status = 0;
	cr_assert_eq(vmbus_guest_flush(&guest), 0);
	say_version(true, VMBUS_V4_0);
	cr_assert_eq(guest.state, VMBUS_GUEST_CONNECTED);

	post_status = HV_STATUS_INSUFFICIENT_BUFFERS;
	cr_assert_eq(vmbus_guest_unload(&guest), 0);
	cr_assert_eq(say_channel(VMBUS_MSG_UNLOAD_COMPLETE, 0), 0);
	cr_assert_eq(guest.state, VMBUS_GUEST_UNLOADING);
	post_status = 0;
	cr_assert_eq(vmbus_guest_flush(&guest), 0);
	cr_assert_eq(say_channel(VMBUS_MSG_UNLOAD_COMPLETE, 0), 0);
	cr_assert_eq(calls.unloaded, 1);
	cr_assert_eq(guest.bad_messages, 0);
}

Test(guest, unloads_and_may_connect_again)
{
	connect_at(VMBUS_V4_0, 0);
	(void)offered(1);
	cr_assert_eq(vmbus_guest_unload(&guest), 0);
	cr_assert_eq(posts[0].m.header.type, VMBUS_MSG_UNLOAD);
	cr_assert_eq(vmbus_guest_unload(&guest), -EINVAL);
	cr_assert_eq(say_offer(2), 0); /* was under way */
	cr_assert_eq(calls.offered, 1);
	cr_assert_eq(say_channel(VMBUS_MSG_UNLOAD_COMPLETE, 0), 0);
	cr_assert_eq(calls.unloaded, 1);
	cr_assert_null(vmbus_guest_find(&guest, 1));
	cr_assert_eq(say_channel(VMBUS_MSG_UNLOAD_COMPLETE, 0), 0); /* nobody waits for it */
	cr_assert_eq(calls.unloaded, 1);
	cr_assert_eq(vmbus_guest_connect(&guest), 0);
	say_version(true, VMBUS_V4_0);
	cr_assert_eq(calls.connected, 2);
}

Test(guest, does_not_wait_for_a_0_13_host_to_unload)
{
	connect_at(VMBUS_V0_13, 0);
	post_status = HV_STATUS_INSUFFICIENT_BUFFERS;
	cr_assert_eq(vmbus_guest_unload(&guest), 0);
	cr_assert_eq(calls.unloaded, 0);
	post_status = 0;
	cr_assert_eq(vmbus_guest_flush(&guest), 0);
	cr_assert_eq(calls.unloaded, 1);
	connect_at(VMBUS_V0_13, 0);
	cr_assert_eq(vmbus_guest_unload(&guest), 0);
	cr_assert_eq(calls.unloaded, 2);
	cr_assert_eq(guest.state, VMBUS_GUEST_DISCONNECTED);
}

/* -- A host that is wrong ------------------------------------------------- */

Test(guest, every_message_row_is_checked)
{
	static const struct {
		const char *name;
		uint32_t type, min_len, since;
	} rows[] = {
		{"OFFER", 1, 196, VMBUS_V0_13},
		{"RESCIND_OFFER", 2, 12, VMBUS_V0_13},
		{"ALLOFFERS_DELIVERED", 4, 8, VMBUS_V0_13},
		{"OPEN_RESULT", 6, 20, VMBUS_V0_13},
		{"GPADL_CREATED", 10, 20, VMBUS_V0_13},
		{"GPADL_TORNDOWN", 12, 12, VMBUS_V0_13},
		{"CLOSE_RESERVED_RESPONSE", 20, 12, VMBUS_V4_0},
		{"TL_CONNECT_RESULT", 23, 44, VMBUS_V4_1},
		{"MODIFY_CHANNEL_RESPONSE", 24, 16, VMBUS_V5_3},
		{"MODIFY_CONNECTION_RESPONSE", 26, 9, VMBUS_V6_0},
		{"PAUSE_RESPONSE", 28, 8, VMBUS_V6_0},
	};
	uint32_t m[VMBUS_MESSAGE_MAX / 4 + 1] = {0};
	struct vmbus_guest_config config = config_full();

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		m[0] = rows[i].type;
		connect_at(VMBUS_V6_0, 0);
		cr_expect_eq(vmbus_guest_message(&guest, m, rows[i].min_len - 1),
			     VMBUS_FAULT_TRUNCATED, "%s", rows[i].name);
		cr_expect_neq(vmbus_guest_message(&guest, m, rows[i].min_len),
			      VMBUS_FAULT_TRUNCATED, "%s", rows[i].name);
		cr_expect_eq(vmbus_guest_message(&guest, m, 241), VMBUS_FAULT_OVERSIZED);
		if (rows[i].since > VMBUS_V0_13) {
			connect_at(VMBUS_V3_0, 0);
			cr_expect_eq(vmbus_guest_message(&guest, m, 240),
				     VMBUS_FAULT_WRONG_VERSION, "%s", rows[i].name);
		}
		cr_assert_eq(vmbus_guest_init(&guest, &config), 0);
		/* for the kernel before this one */
		cr_expect_eq(vmbus_guest_message(&guest, m, 240), 0, "%s", rows[i].name);
		cr_expect_eq(guest.state, VMBUS_GUEST_DISCONNECTED);
	}
	connect_at(VMBUS_V6_0, 0);
	for (m[0] = 0; m[0] < 40; m[0]++) {
		bool from_host = m[0] == VMBUS_MSG_VERSION_RESPONSE ||
				 m[0] == VMBUS_MSG_UNLOAD_COMPLETE;

		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
			from_host |= rows[i].type == m[0];
		if (from_host)
			continue;
		cr_expect_eq(vmbus_guest_message(&guest, m, 240),
			     m[0] == 0 || m[0] >= VMBUS_MSG_COUNT ? VMBUS_FAULT_UNKNOWN_TYPE :
			     VMBUS_FAULT_WRONG_DIRECTION, "type %u", m[0]);
	}
	m[0] = VMBUS_MSG_VERSION_RESPONSE;
	cr_expect_eq(vmbus_guest_message(&guest, m, 240), VMBUS_FAULT_WRONG_STATE);
	m[0] = VMBUS_MSG_UNLOAD_COMPLETE;
	cr_expect_eq(vmbus_guest_message(&guest, m, 240), VMBUS_FAULT_WRONG_STATE);
	cr_expect_eq(vmbus_guest_message(&guest, m, 7), VMBUS_FAULT_TRUNCATED);
	cr_expect_eq(vmbus_guest_message(&guest, m, 0), VMBUS_FAULT_TRUNCATED);
}

/* Whatever the host says: the guest answers only what it was told to, and its arrays
 * stay its own (the sanitizers look). */
Test(guest, survives_a_host_that_says_anything)
{
	struct vmbus_guest_config config = config_full();
	unsigned int seed = 1, errors = 0;

	config.ops = &bare_ops;
	cr_assert_eq(vmbus_guest_init(&guest, &config), 0);
	for (int i = 0; i < 200000; i++) {
		uint32_t m[VMBUS_MESSAGE_MAX / 4];
		size_t len = (size_t)rand_r(&seed) % (sizeof(m) + 1);

		for (size_t k = 0; k < sizeof(m) / 4; k++)
			m[k] = (uint32_t)rand_r(&seed) % 4;
		m[0] = (uint32_t)rand_r(&seed) % 31;
		m[46] = 1 + (uint32_t)rand_r(&seed) % 6; /* a channel id of an offer */
		if (guest.state == VMBUS_GUEST_DISCONNECTED)
			cr_assert_eq(vmbus_guest_connect(&guest), 0);
		errors += vmbus_guest_message(&guest, m, len) != 0;
		post_count = 0;
		for (uint32_t k = 0; k < CHANNELS; k++) {
			if (i % 5 == 0 && channels[k].state == VMBUS_GUEST_CHANNEL_OFFERED)
				errors += open_now(&channels[k], 5) != 0;
			if (i % 50 == 0)
				errors += vmbus_guest_release(&channels[k]) != 0;
		}
		if (i % 1000 == 0)
			errors += vmbus_guest_unload(&guest) != 0;
	}
	cr_assert_gt(errors, 1000);
	cr_assert_gt(guest.bad_messages, 1000);
	cr_assert_gt(guest.ignored_offers, 0);
}
