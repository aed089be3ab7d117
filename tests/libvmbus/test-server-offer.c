/* SPDX-License-Identifier: MIT */
/* Offers: order, ids, hot-add, sub-channels, limits. */
#include <errno.h>
#include <fcntl.h>

#include "offering.h"

/* Ids follow the sorted order, whatever the order of making; so they are the same at the
 * next boot. */
Test(offers, are_sorted_and_their_ids_stable)
{
	static const uint8_t made[] = {9, 3, 7, 1, 5};
	struct vmbus_guid net = VMBUS_GUID_NET, scsi = VMBUS_GUID_SCSI, ide = VMBUS_GUID_IDE;
	struct mock_device net_device = {0}, ide_device = {0}, late = {0};

	start();
	for (size_t i = 0; i < sizeof(made); i++)
		cr_assert_eq(mock_offer(&m, &devices[i], made[i], NULL), 0);
	cr_assert_eq(mock_offer_as(&m, &net_device, net, 8, 0, NULL), 0);
	cr_assert_eq(mock_offer_as(&m, &ide_device, ide, 8, 0, NULL), 0);
	cr_assert_eq(mock_offer_as(&m, &late, scsi, 0, 5, NULL), 0);
	for (unsigned int boot = 0; boot < 3; boot++) {
		static const uint8_t instances[] = {8, 8, 1, 3, 5, 7, 9, 0}; /* ide, net, scsi */

		mock_connect(&m, VMBUS_V5_3 - boot);
		cr_expect_eq(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS), 0);
		for (uint32_t id = 1; id <= sizeof(instances); id++) {
			const struct mock_message *in = mock_expect(&m, VMBUS_MSG_OFFER);

			cr_expect_eq(in->u.offer.channel_id, id);
			cr_expect_eq(in->u.offer.connection_id, 0x2000 + id);
			cr_expect_eq(in->u.offer.instance_id.b[0], instances[id - 1], "id %u", id);
		}
		mock_expect(&m, VMBUS_MSG_ALLOFFERS_DELIVERED);
		mock_expect_none(&m);
		mock_check_settled(&m);
	}
	mock_fini(&m);
}

Test(offers, carry_what_the_device_says)
{
	struct vmbus_channel_ops ops = *mock_device_ops();
	struct vmbus_offer offer = VMBUS_OFFER_INIT;
	const struct mock_message *in;
	struct vmbus_channel *channel;

	start();
	offer.ops = &ops;
	offer.device = &devices[0];
	offer.flags = 0xffff;
	offer.mmio_megabytes = 64;
	memset(offer.user_defined, 0x5a, sizeof(offer.user_defined));
	cr_assert_eq(vmbus_server_offer(m.server, &offer, &channel), 0);
	mock_connect(&m, VMBUS_V5_3);
	cr_assert_eq(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS), 0);
	in = mock_expect(&m, VMBUS_MSG_OFFER);
	cr_expect_eq(in->u.offer.flags, 0xfff1, "flags of features that are not granted are clear");
	cr_expect_eq(in->u.offer.mmio_megabytes, 64);
	cr_expect_eq(
		memcmp(in->u.offer.user_defined, offer.user_defined, sizeof(offer.user_defined)),
		0);
	ops.stop = NULL;
	offer.instance_id.b[0] = 1;
	cr_expect_eq(vmbus_server_offer(m.server, &offer, &channel), -EINVAL);
	offer.ops = NULL;
	cr_expect_eq(vmbus_server_offer(m.server, &offer, &channel), -EINVAL);
	mock_fini(&m);
}

Test(offers, none_is_fine_and_asking_twice_is_not)
{
	start();
	mock_connect(&m, VMBUS_V5_3);
	cr_expect_eq(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS), 0);
	mock_expect(&m, VMBUS_MSG_ALLOFFERS_DELIVERED);
	cr_expect_eq(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS), VMBUS_FAULT_WRONG_STATE);
	mock_expect_none(&m);
	mock_fini(&m);
}

Test(offers, hot_add_waits_for_the_guest_to_ask)
{
	start();
	cr_assert_eq(mock_offer(&m, &devices[0], 1, NULL), 0);
	mock_connect(&m, VMBUS_V5_3);
	cr_assert_eq(mock_offer(&m, &devices[1], 2, NULL), 0);
	mock_expect_none(&m);
	cr_expect_eq(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS), 0);
	cr_expect_eq(offered(), 1);
	cr_expect_eq(offered(), 2);
	mock_expect(&m, VMBUS_MSG_ALLOFFERS_DELIVERED);
	cr_assert_eq(mock_offer(&m, &devices[2], 0, NULL), 0);
	cr_expect_eq(offered(), 3);
	cr_assert_eq(mock_simple(&m, VMBUS_MSG_UNLOAD), 0);
	mock_expect(&m, VMBUS_MSG_UNLOAD_COMPLETE);
	cr_assert_eq(mock_offer(&m, &devices[3], 4, NULL), 0);
	mock_expect_none(&m);
	mock_fini(&m);
}

Test(offers, the_channel_limit_counts_what_the_guest_still_holds)
{
	mock_config(&m);
	m.config.max_channels = 2;
	start();
	cr_assert_eq(mock_offer(&m, &devices[0], 1, NULL), 0);
	cr_assert_eq(mock_offer(&m, &devices[1], 2, NULL), 0);
	cr_expect_eq(mock_offer(&m, &devices[2], 3, NULL), -ENOSPC);
	mock_connect(&m, VMBUS_V5_3);
	cr_assert_eq(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS), 0);
	quiet();
	vmbus_channel_revoke(devices[0].channel);
	mock_expect(&m, VMBUS_MSG_RESCIND_OFFER);
	cr_expect_eq(mock_offer(&m, &devices[2], 3, NULL), -ENOSPC);
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_RELID_RELEASED, 1), 0);
	cr_expect_eq(mock_offer(&m, &devices[2], 3, NULL), 0);
	cr_expect_eq(offered(), 1);
	mock_fini(&m);
}

static void channel_count(struct vmbus_channel *channel, void *arg)
{
	uint32_t *last = arg;

	cr_expect_gt(vmbus_channel_id(channel), *last, "ascending");
	*last = vmbus_channel_id(channel);
}

Test(offers, every_id_there_is)
{
	static struct mock_device most[VMBUS_CHANNEL_MAX];
	struct vmbus_guid guid = VMBUS_GUID_SCSI;
	struct mock_device more = {0};
	uint32_t last = 0;

	start();
	for (uint32_t i = 0; i < VMBUS_CHANNEL_MAX; i++)
		cr_assert_eq(mock_offer_as(&m, &most[i], guid, (uint16_t)i, 0, NULL), 0);
	cr_expect_eq(mock_offer_as(&m, &more, guid, 2047, 0, NULL), -ENOSPC);
	mock_connect(&m, VMBUS_V5_3);
	cr_assert_eq(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS), 0);
	for (uint32_t id = 1; id <= VMBUS_CHANNEL_MAX; id++)
		cr_assert_eq(offered(), id);
	mock_expect(&m, VMBUS_MSG_ALLOFFERS_DELIVERED);
	cr_expect_eq(mock_gpadl(&m, VMBUS_CHANNEL_MAX, 1, 100, 1), 0);
	cr_expect_eq(mock_gpadl(&m, VMBUS_CHANNEL_MAX + 1, 2, 100, 1), VMBUS_FAULT_BAD_CHANNEL);
	vmbus_server_each_channel(m.server, channel_count, &last);
	cr_expect_eq(last, VMBUS_CHANNEL_MAX);
	mock_fini(&m);
}

Test(offers, need_a_device_that_can_be_served)
{
	const struct vmbus_channel_ops good = *mock_device_ops();
	struct vmbus_offer offer = VMBUS_OFFER_INIT;
	struct vmbus_channel_ops ops = good;
	struct vmbus_channel *channel;

	start();
	cr_expect_eq(vmbus_server_offer(m.server, &offer, &channel), -EINVAL);
	offer.ops = &ops;
	offer.device = &devices[0];
	ops.open = NULL;
	cr_expect_eq(vmbus_server_offer(m.server, &offer, &channel), -EINVAL);
	ops = good;
	ops.service = NULL;
	cr_expect_eq(vmbus_server_offer(m.server, &offer, &channel), -EINVAL);
	ops = good;
	ops.stop = NULL;
	cr_expect_eq(vmbus_server_offer(m.server, &offer, &channel), -EINVAL);
	ops = good;
	ops.closed = NULL;
	cr_expect_eq(vmbus_server_offer(m.server, &offer, &channel), -EINVAL);
	ops = good;
	ops.gpadl_teardown = NULL;
	ops.released = NULL;
	cr_expect_eq(vmbus_server_offer(m.server, &offer, &channel), 0);
	vmbus_server_shutdown(m.server);
	offer.instance_id.b[0] = 1;
	cr_expect_eq(vmbus_server_offer(m.server, &offer, &channel), -EINVAL, "it is going");
	mock_fini(&m);
}

/* All channels are closed: that is enough. What the guest still has ends with the server;
 * descriptors of nobody's are left alone. */
Test(offers, a_server_may_be_freed_with_a_guest_at_it)
{
	int input = fcntl(0, F_GETFD), doorbell;

	start();
	for (uint8_t i = 0; i < 3; i++)
		cr_assert_eq(mock_offer(&m, &devices[i], i, NULL), 0);
	mock_open_first(&m, VMBUS_V5_3);
	cr_assert_eq(mock_gpadl(&m, 2, 2, 100, 60), 0);
	doorbell = vmbus_channel_doorbell(devices[0].channel);
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, 1), 0);
	mock_run(&m);
	vmbus_server_free(m.server);
	for (uint8_t i = 0; i < 3; i++)
		cr_expect_eq(devices[i].releases, 1);
	cr_expect_eq(fcntl(doorbell, F_GETFD), -1);
	cr_expect_eq(fcntl(0, F_GETFD), input);
	cr_expect_eq(vmbus_mem_remove(m.mem, 0, NULL, NULL), 0, "no page is pinned");
}

/* -- Revoke --------------------------------------------------------------- */

Test(offers, taken_back_before_the_guest_hears_of_it)
{
	start();
	m.slot = 0;
	cr_assert_eq(mock_offer(&m, &devices[0], 1, NULL), 0);
	cr_assert_eq(mock_offer(&m, &devices[1], 2, NULL), 0);
	vmbus_channel_revoke(devices[0].channel); /* not even connected */
	cr_expect_eq(devices[0].releases, 1);
	cr_assert_eq(mock_contact(&m, VMBUS_V5_3), 0);
	mock_slot_free(&m, UINT32_MAX);
	mock_expect(&m, VMBUS_MSG_VERSION_RESPONSE);
	cr_assert_eq(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS), 0);
	cr_expect_eq(offered(), 1);
	mock_expect(&m, VMBUS_MSG_ALLOFFERS_DELIVERED);
	mock_fini(&m);
}

/* The answers the guest waits for go before the RESCIND, which wakes only one waiter. */
Test(offers, answers_go_before_the_rescind)
{
	start();
	cr_assert_eq(mock_offer(&m, &devices[0], 1, NULL), 0);
	mock_open_first(&m, VMBUS_V5_3);
	cr_assert_eq(mock_gpadl(&m, 1, 2, 100, 4), 0);
	devices[0].held = vmbus_channel_gpadl(devices[0].channel, 2);
	devices[0].stop_result = -EINPROGRESS;
	cr_assert_eq(mock_teardown(&m, 1, 1), 0);
	cr_assert_eq(mock_teardown(&m, 1, 2), 0);
	quiet();
	vmbus_channel_revoke(devices[0].channel);
	mock_run(&m);
	mock_expect_none(&m);
	devices[0].stop_result = 0;
	mock_run(&m);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_GPADL_TORNDOWN)->u.torndown.gpadl, 1);
	mock_expect_none(&m); /* the device still holds the other */
	vmbus_gpadl_unref(devices[0].held);
	mock_run(&m);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_GPADL_TORNDOWN)->u.torndown.gpadl, 2);
	mock_expect(&m, VMBUS_MSG_RESCIND_OFFER);
	mock_fini(&m);
}

/* -- Sub-channels ---------------------------------------------------------- */

static void open_sub(uint32_t id)
{
	cr_assert_eq(mock_gpadl(&m, id, id, MOCK_RING_PFN + 8 * id, MOCK_RING_PAGES), 0);
	cr_assert_eq(mock_open(&m, id, id, 0), 0);
	quiet();
}

static void start_with_subs(uint16_t count)
{
	start();
	cr_assert_eq(mock_offer(&m, &devices[0], 1, NULL), 0);
	mock_open_first(&m, VMBUS_V5_3);
	quiet();
	cr_assert_eq(vmbus_channel_offer_sub(devices[0].channel, count), 0);
	mock_run(&m);
}

Test(sub_channels, have_the_guids_and_the_device_of_their_primary)
{
	start_with_subs(3);
	for (uint16_t i = 1; i <= 3; i++) {
		const struct mock_message *in = mock_expect(&m, VMBUS_MSG_OFFER);

		cr_expect_eq(in->u.offer.subchannel_index, i);
		cr_expect_eq(in->u.offer.channel_id, 1u + i);
		cr_expect_eq(in->u.offer.instance_id.b[0], 1);
		cr_expect_eq(vmbus_channel_primary(m.server->by_id[1 + i]), devices[0].channel);
		cr_expect_eq(vmbus_channel_subindex(m.server->by_id[1 + i]), i);
	}
	/* those that exist are left alone */
	cr_assert_eq(vmbus_channel_offer_sub(devices[0].channel, 4), 0);
	cr_assert_eq(vmbus_channel_offer_sub(devices[0].channel, 2), 0);
	mock_run(&m);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_OFFER)->u.offer.subchannel_index, 4);
	mock_expect_none(&m);
	open_sub(2);
	cr_expect_eq(devices[0].opens, 2);
	cr_expect_eq(vmbus_channel_offer_sub(m.server->by_id[2], 1), -EINVAL);
	mock_fini(&m);
}

Test(sub_channels, go_when_their_primary_closes_and_come_again)
{
	start_with_subs(2);
	open_sub(2);
	m.inbox_read = m.inbox_count;
	devices[0].sub_stop_result = -EINPROGRESS;
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, 1), 0);
	cr_expect_eq(vmbus_channel_offer_sub(devices[0].channel, 2), -EINVAL);
	mock_run(&m);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_RESCIND_OFFER)->u.channel.channel_id,
		     3); /* was not open */
	mock_expect_none(&m);
	cr_expect_eq(devices[0].closes, 0, "the primary closes last");
	devices[0].sub_stop_result = 0;
	mock_run(&m);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_RESCIND_OFFER)->u.channel.channel_id, 2);
	cr_expect_eq(devices[0].closes, 2);
	/* the primary opens again; a sub-channel comes when the guest has released the old one */
	cr_assert_eq(mock_open(&m, 1, 1, 0), 0);
	mock_expect(&m, VMBUS_MSG_OPEN_RESULT);
	cr_assert_eq(vmbus_channel_offer_sub(devices[0].channel, 2), 0);
	mock_run(&m);
	mock_expect_none(&m);
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_RELID_RELEASED, 3), 0);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_OFFER)->u.offer.subchannel_index, 2);
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_RELID_RELEASED, 2), 0);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_OFFER)->u.offer.subchannel_index, 1);
	cr_expect_eq(devices[0].releases, 0);
	mock_fini(&m);
	cr_expect_eq(devices[0].releases, 1);
}

/* Their devices share state: sub-channels close before it, and it goes last. */
Test(sub_channels, are_rescinded_before_their_primary_and_released_before_it)
{
	start_with_subs(2);
	open_sub(2);
	open_sub(3);
	vmbus_channel_revoke(devices[0].channel);
	mock_run(&m);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_RESCIND_OFFER)->u.channel.channel_id, 3);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_RESCIND_OFFER)->u.channel.channel_id, 2);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_RESCIND_OFFER)->u.channel.channel_id, 1);
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_RELID_RELEASED, 1), 0);
	cr_expect_eq(devices[0].releases, 0);
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_RELID_RELEASED, 2), 0);
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_RELID_RELEASED, 3), 0);
	cr_expect_eq(devices[0].releases, 1);
	mock_fini(&m);
}

Test(sub_channels, do_not_outlive_the_connection)
{
	start_with_subs(2);
	open_sub(2);
	cr_assert_eq(mock_contact(&m, VMBUS_V5_3), 0);
	quiet();
	cr_expect_eq(devices[0].closes, 2);
	cr_expect_eq(devices[0].channel->sub_count, 0);
	cr_assert_eq(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS), 0);
	cr_expect_eq(offered(), 1);
	mock_expect(&m, VMBUS_MSG_ALLOFFERS_DELIVERED);
	mock_expect_none(&m);
	mock_fini(&m);
}

Test(sub_channels, count_against_the_limit)
{
	mock_config(&m);
	m.config.max_channels = 4;
	start_with_subs(2);
	cr_expect_eq(vmbus_channel_offer_sub(devices[0].channel, 4), -ENOSPC);
	cr_expect_eq(vmbus_channel_offer_sub(devices[0].channel, 2), 0);
	cr_expect_eq(mock_offer(&m, &devices[1], 2, NULL), 0);
	cr_expect_eq(vmbus_channel_offer_sub(devices[0].channel, 3), -ENOSPC);
	cr_expect_eq(mock_offer(&m, &devices[2], 3, NULL), -ENOSPC);
	/* a primary keeps the ids of its sub-channels to its end */
	vmbus_channel_revoke(devices[0].channel);
	quiet();
	for (uint32_t id = 1; id <= 3; id++)
		cr_expect_eq(mock_channel(&m, VMBUS_MSG_RELID_RELEASED, id), 0);
	for (uint8_t i = 2; i < 5; i++)
		cr_expect_eq(mock_offer(&m, &devices[i], 1 + i, NULL), 0);
	cr_expect_eq(mock_offer(&m, &devices[5], 6, NULL), -ENOSPC);
	mock_fini(&m);
}

static struct vmbus_channel *next_to_go;

static void released_takes_another(void *device, struct vmbus_channel *channel)
{
	struct vmbus_channel *next = next_to_go;

	(void)channel;
	((struct mock_device *)device)->releases++;
	next_to_go = NULL;
	if (next)
		vmbus_channel_revoke(next);
}

Test(offers, a_device_may_take_back_another_channel_when_its_own_is_released)
{
	struct vmbus_channel_ops ops = *mock_device_ops();
	struct vmbus_offer offer = VMBUS_OFFER_INIT;
	struct vmbus_channel *first;

	start();
	ops.released = released_takes_another;
	offer.ops = &ops;
	offer.device = &devices[0];
	cr_assert_eq(vmbus_server_offer(m.server, &offer, &first), 0);
	offer.instance_id.b[0] = 1;
	offer.device = &devices[1];
	cr_assert_eq(vmbus_server_offer(m.server, &offer, &next_to_go), 0);
	vmbus_channel_revoke(first);
	cr_expect_eq(devices[0].releases, 1);
	cr_expect_eq(devices[1].releases, 1);
	mock_fini(&m);
}

Test(facts, are_counted)
{
	struct vmbus_server_stats stats;

	start();
	cr_assert_eq(mock_offer(&m, &devices[0], 1, NULL), 0);
	cr_assert_eq(mock_offer(&m, &devices[1], 2, NULL), 0);
	mock_open_first(&m, VMBUS_V5_3);
	m.slot = 0;
	cr_assert_eq(mock_gpadl(&m, 2, 5, 100, 7), 0);
	vmbus_server_get_stats(m.server, &stats);
	cr_expect_eq(stats.version, VMBUS_V5_3);
	cr_expect_eq(stats.channels, 2);
	cr_expect_eq(stats.open_channels, 1);
	cr_expect_eq(stats.gpadls, 2);
	cr_expect_eq(stats.gpadl_pages, MOCK_RING_PAGES + 7);
	cr_expect_eq(stats.messages_waiting, 1);
	cr_expect_eq(stats.messages_in, 5);
	cr_expect_eq(stats.messages_out, 6);
	cr_expect_eq(stats.contacts, 1);
	cr_expect_eq(mock_simple(&m, VMBUS_MSG_UNLOAD), 0);
	mock_run(&m);
	vmbus_server_get_stats(m.server, &stats);
	cr_expect_eq(stats.version, 0);
	cr_expect_eq(stats.unloads, 1);
	cr_expect_eq(stats.gpadls, 0);
	mock_fini(&m);
}
