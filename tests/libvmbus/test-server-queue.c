/* SPDX-License-Identifier: MIT */
/* The queue to a guest that does not read: bounded, in order, and no answer is lost. */
#include <errno.h>

#include "offering.h"

Test(queue, a_flood_of_offers_needs_no_room)
{
	mock_config(&m);
	m.config.max_messages = 3;
	start();
	for (unsigned int i = 0; i < MANY; i++)
		cr_assert_eq(mock_offer(&m, &devices[i], (uint8_t)i, NULL), 0);
	m.slot = 1;
	cr_assert_eq(mock_contact(&m, VMBUS_V5_3), 0);
	cr_assert_eq(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS), 0);
	mock_expect(&m, VMBUS_MSG_VERSION_RESPONSE);
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_RELID_RELEASED, MANY), VMBUS_FAULT_BAD_CHANNEL,
		     "it is not offered yet");
	for (uint32_t id = 1; id <= MANY; id++) {
		mock_expect_none(&m);
		cr_expect_lt(m.server->queue_count, 3);
		mock_slot_free(&m, 1);
		cr_expect_eq(offered(), id);
	}
	mock_slot_free(&m, 1);
	mock_expect(&m, VMBUS_MSG_ALLOFFERS_DELIVERED);
	mock_check_settled(&m);
	mock_fini(&m);
}

Test(queue, a_full_one_pushes_the_guest_back_but_never_its_contact)
{
	mock_config(&m);
	m.config.max_messages = 4;
	start();
	cr_assert_eq(mock_offer(&m, &devices[0], 1, NULL), 0);
	mock_open_first(&m, VMBUS_V5_3);
	m.slot = 0;
	for (uint32_t i = 0; i < 4; i++)
		cr_expect_eq(mock_gpadl(&m, 1, 10 + i, 100, 1), 0);
	cr_expect_eq(mock_gpadl(&m, 1, 20, 100, 1), -EAGAIN);
	cr_expect_eq(mock_modify(&m, 1, 1), -EAGAIN);
	cr_expect_eq(mock_open(&m, 1, 1, 0), -EAGAIN);
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, 1), 0); /* has no answer */
	cr_expect_eq(mock_teardown(&m, 1, 10), 0);                     /* its answer waits */
	mock_run(&m);
	mock_slot_free(&m, 1);
	cr_expect_eq(mock_gpadl(&m, 1, 20, 100, 1), 0);
	cr_expect_eq(mock_gpadl(&m, 1, 21, 100, 1), -EAGAIN);
	for (uint32_t i = 0; i < 4; i++) {
		mock_expect(&m, VMBUS_MSG_GPADL_CREATED);
		mock_slot_free(&m, 1);
	}
	mock_expect(&m, VMBUS_MSG_GPADL_CREATED);
	mock_slot_free(&m, 1);
	mock_expect(&m, VMBUS_MSG_GPADL_TORNDOWN);
	mock_check_settled(&m);
	m.slot = 0;
	for (uint32_t i = 0; i < 4; i++)
		cr_expect_eq(mock_gpadl(&m, 1, 30 + i, 100, 1), 0);
	cr_expect_eq(mock_contact(&m, VMBUS_V4_0), 0);
	mock_run(&m);
	mock_slot_free(&m, UINT32_MAX);
	mock_expect(&m, VMBUS_MSG_VERSION_RESPONSE);
	mock_expect_none(&m); /* of the old connection nothing is left */
	mock_check_settled(&m);
	mock_fini(&m);
}

/* The answer of a reopening comes from the host's side: it waits for its place. */
Test(queue, a_reopening_waits_for_a_place)
{
	mock_config(&m);
	m.config.max_messages = 2;
	start();
	cr_assert_eq(mock_offer(&m, &devices[0], 1, NULL), 0);
	mock_open_first(&m, VMBUS_V5_3);
	m.slot = 0;
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, 1), 0);
	cr_expect_eq(mock_open(&m, 1, 1, 0), 0);
	cr_expect_eq(mock_gpadl(&m, 1, 10, 100, 1), 0);
	cr_expect_eq(mock_gpadl(&m, 1, 11, 100, 1), 0);
	mock_run(&m);
	cr_expect_eq(devices[0].channel->state, CHANNEL_REOPENING);
	mock_slot_free(&m, 2);
	cr_expect_eq(devices[0].channel->state, CHANNEL_OPEN);
	mock_slot_free(&m, 2);
	mock_expect(&m, VMBUS_MSG_GPADL_CREATED);
	mock_expect(&m, VMBUS_MSG_GPADL_CREATED);
	mock_expect(&m, VMBUS_MSG_OPEN_RESULT);
	mock_check_settled(&m);
	mock_fini(&m);
}

/* OFFERs that the queue has no place for yet. */
static void offers_wait(void)
{
	mock_config(&m);
	m.config.max_messages = 2;
	start();
	for (uint8_t i = 0; i < 4; i++)
		cr_assert_eq(mock_offer(&m, &devices[i], i, NULL), 0);
	mock_connect(&m, VMBUS_V5_3);
	m.slot = 0;
	cr_assert_eq(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS), 0);
	cr_expect(devices[3].channel->offer_due);
}

Test(queue, what_was_not_offered_yet_is_taken_back_without_a_word)
{
	offers_wait();
	vmbus_channel_revoke(devices[3].channel);
	cr_expect_eq(devices[3].releases, 1);
	mock_slot_free(&m, UINT32_MAX);
	for (uint32_t id = 1; id <= 3; id++)
		cr_expect_eq(offered(), id);
	mock_expect(&m, VMBUS_MSG_ALLOFFERS_DELIVERED);
	mock_expect_none(&m);
	mock_fini(&m);
}

Test(queue, offers_that_wait_end_with_their_connection)
{
	offers_wait();
	cr_assert_eq(mock_contact(&m, VMBUS_V5_3), 0);
	mock_slot_free(&m, UINT32_MAX);
	mock_expect(&m, VMBUS_MSG_VERSION_RESPONSE);
	mock_expect_none(&m); /* it has not asked */
	cr_assert_eq(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS), 0);
	for (uint32_t id = 1; id <= 4; id++)
		cr_expect_eq(offered(), id);
	mock_expect(&m, VMBUS_MSG_ALLOFFERS_DELIVERED);
	mock_check_settled(&m);
	mock_fini(&m);
}

/* As many revoked channels as there are: their RESCINDs come one by one. */
Test(queue, rescinds_wait_for_a_place)
{
	offers_wait();
	mock_slot_free(&m, UINT32_MAX);
	quiet();
	m.slot = 0;
	for (uint8_t i = 0; i < 4; i++)
		vmbus_channel_revoke(devices[i].channel);
	for (unsigned int i = 0; i < 4; i++) {
		mock_expect_none(&m);
		mock_slot_free(&m, 1);
		mock_expect(&m, VMBUS_MSG_RESCIND_OFFER);
	}
	mock_slot_free(&m, UINT32_MAX);
	mock_expect_none(&m);
	mock_fini(&m);
}

/* Refused, and the connection is left alone. */
static const struct vmbus_msg_initiate_contact other_sint = {
	.header.type = VMBUS_MSG_INITIATE_CONTACT, .version = VMBUS_V5_3, .u.v5.sint = 3};

static int post_refuse(void *opaque, uint32_t vp, uint8_t sint, const void *message, size_t len)
{
	(void)opaque, (void)vp, (void)sint, (void)message, (void)len;
	return -EINVAL;
}

Test(queue, a_full_one_pushes_back_what_keeps_the_connection)
{
	mock_config(&m);
	m.config.max_messages = 2;
	start();
	cr_assert_eq(mock_offer(&m, &devices[0], 1, NULL), 0);
	mock_open_first(&m, VMBUS_V5_3);
	m.slot = 0;
	cr_expect_eq(mock_gpadl(&m, 1, 10, 100, 1), 0);
	cr_expect_eq(mock_gpadl(&m, 1, 11, 100, 1), 0);
	cr_expect_eq(mock_post(&m, VMBUS_CONN_MESSAGE_MULTI, &other_sint, 40), -EAGAIN);
	mock_slot_free(&m, UINT32_MAX);
	mock_fini(&m);
}

/* The answer comes when the devices have let go: refusals in between leave a place for it. */
Test(queue, a_flood_of_bad_contacts_takes_no_answer_its_place)
{
	mock_config(&m);
	m.config.max_messages = 4;
	start();
	cr_assert_eq(mock_offer(&m, &devices[0], 1, NULL), 0);
	mock_open_first(&m, VMBUS_V5_3);
	m.slot = 0;
	devices[0].stop_result = -EINPROGRESS;
	cr_expect_eq(mock_contact(&m, VMBUS_V5_3), 0);
	for (int i = 0; i < 3; i++)
		cr_expect_eq(mock_post(&m, VMBUS_CONN_MESSAGE_MULTI, &other_sint, 40), VMBUS_FAULT_BAD_SINT);
	cr_expect_eq(mock_post(&m, VMBUS_CONN_MESSAGE_MULTI, &other_sint, 40), -EAGAIN);
	devices[0].stop_result = 0;
	mock_run(&m);
	mock_slot_free(&m, UINT32_MAX);
	for (int i = 0; i < 3; i++)
		cr_expect_eq(mock_expect(&m, VMBUS_MSG_VERSION_RESPONSE)->sint, 3);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_VERSION_RESPONSE)->u.version.supported, 1);
	mock_check_settled(&m);
	mock_fini(&m);
}

Test(queue, a_message_the_backend_refuses_holds_up_no_other)
{
	struct vmbus_server_stats stats;

	start();
	m.server->ops.post_message = post_refuse;
	cr_expect_eq(mock_contact(&m, VMBUS_V5_3), 0);
	vmbus_server_get_stats(m.server, &stats);
	cr_expect_eq(stats.messages_waiting, 0);
	cr_expect_eq(stats.messages_out, 0);
	m.contacts_owed = 0;
	mock_fini(&m);
}
