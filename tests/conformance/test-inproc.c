/* SPDX-License-Identifier: MIT */
/* The fixture finds what is wrong: each row breaks one thing behind its back. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "inproc-private.h"
#include "world.h"

static struct world world;

static struct vmbus_guest_channel *channel(void)
{
	return world_channel(&world, 0);
}

static struct inproc_rings *rings(void)
{
	return &world.bus->rings[world_slot(&world, channel())];
}

static struct vmbus_channel *host_channel(void)
{
	return world.devices[0].channel;
}

/* A request that the driver does not know of. */
static void put(uint64_t id)
{
	struct echo_request request = {.number = id};
	struct vmbus_packet packet = {
		.type = VMBUS_PACKET_INBAND,
		.flags = VMBUS_PACKET_COMPLETION_REQUESTED,
		.transaction_id = id,
		.payload = &request,
		.payload_len = sizeof(request),
	};

	cr_assert_eq(vmbus_tx_put(&channel()->tx, &packet, 0), 0);
	vmbus_tx_publish(&channel()->tx);
}

static void complete(uint64_t id)
{
	struct vmbus_packet packet = {.type = VMBUS_PACKET_COMPLETION, .transaction_id = id};

	cr_assert_eq(vmbus_channel_send(host_channel(), &packet, 0), 0);
}

static void answered(const void *message, size_t len)
{
	vmbus_inproc_messages_answered(world.bus, world.bus->messages.vp, message, len);
}

static void index_past_the_other(void)
{
	rings()->up.control->out += 8;
}

static void index_backwards(void)
{
	world_ask(&world, channel(), 3);
	cr_assert_eq(world_traffic(&world), 0);
	rings()->down.control->out -= 8;
}

static void index_unaligned(void)
{
	rings()->down.control->in += 4;
}

static void index_too_large(void)
{
	rings()->down.control->in = rings()->down.size;
}

static void half_a_packet(void)
{
	put(1);
	rings()->up.control->in -= 8;
}

static void read_half_a_packet(void)
{
	put(1);
	vmbus_inproc_check(world.bus);
	rings()->up.control->out += 16;
}

static void completed_twice(void)
{
	complete(7);
}

static void packet_not_counted(void)
{
	channel()->tx.packets++;
}

static void doorbell_forgotten(void)
{
	put(1);
	channel()->tx.unsignaled = 0;
}

static void flag_forgotten(void)
{
	struct vmbus_packet packet = {.type = VMBUS_PACKET_INBAND};

	cr_assert_eq(vmbus_channel_send(host_channel(), &packet, 0), 0);
	vmbus_channel_tx(host_channel())->unsignaled = 0;
}

/* The wish is for all that an empty ring has. */
static void space_not_told_to_the_host(void)
{
	rings()->down.control->pending_send_size = rings()->down.size - 8;
}

static void space_not_told_to_the_guest(void)
{
	rings()->up.control->pending_send_size = rings()->up.size - 8;
	channel()->tx.waiting = true;
}

static void interrupt_lost(void)
{
	world.bus->vps[0].slices[VMBUS_SINT].flags[0] |= 2;
}

static void message_lost(void)
{
	world.bus->vps[0].slots[VMBUS_SINT].type = VMBUS_MESSAGE_TYPE;
}

static void written_after_it_was_taken_back(void)
{
	uint64_t pfn;

	cr_assert_eq(vmbus_inproc_alloc(world.bus, 1, &pfn), 0);
	vmbus_inproc_release(world.bus, 1, &pfn);
	((uint8_t *)vmbus_inproc_page(world.bus, pfn))[77]++;
}

static void never_completed(void)
{
	echo_driver_abandon(&world.drivers[world_slot(&world, channel())]);
	put(99);
	vmbus_inproc_check(world.bus);
	/* the host's end forgets it */
	vmbus_channel_rx(host_channel())->out = vmbus_channel_rx(host_channel())->committed =
		channel()->tx.in;
	rings()->up.control->out = channel()->tx.in;
}

static void offered_twice(void)
{
	answered(&channel()->offer, sizeof(channel()->offer));
}

static void sub_channel_without_primary(void)
{
	struct vmbus_msg_offer offer = channel()->offer;

	offer.channel_id = 100;
	offer.instance_id.b[0] = 77;
	offer.subchannel_index = 1;
	answered(&offer, sizeof(offer));
}

static void rescinded_twice(void)
{
	struct vmbus_msg_channel m = {.header.type = VMBUS_MSG_RESCIND_OFFER, .channel_id = 1};

	answered(&m, sizeof(m));
	answered(&m, sizeof(m));
}

static void answer_to_nothing(void)
{
	struct vmbus_msg_open_result m = {.header.type = VMBUS_MSG_OPEN_RESULT, .channel_id = 1};

	answered(&m, sizeof(m));
}

static void created_too_early(void)
{
	struct vmbus_msg_gpadl_header header = {.header.type = VMBUS_MSG_GPADL_HEADER,
						.channel_id = 1,
						.gpadl = 5,
						.range_buflen = 800,
						.range_count = 1};
	struct vmbus_msg_gpadl_created m = {
		.header.type = VMBUS_MSG_GPADL_CREATED, .channel_id = 1, .gpadl = 5};

	vmbus_inproc_messages_posted(world.bus, &header, sizeof(header));
	answered(&m, sizeof(m));
}

static void never_answered(void)
{
	uint32_t m[3] = {VMBUS_MSG_GPADL_TEARDOWN, 0, 1};

	vmbus_inproc_messages_posted(world.bus, m, sizeof(m));
}

static void wrong_vp(void)
{
	uint32_t m[2] = {VMBUS_MSG_ALLOFFERS_DELIVERED, 0};

	vmbus_inproc_messages_answered(world.bus, world.bus->messages.vp + 1, m, sizeof(m));
}

static void signalled_on_another_vp(void)
{
	vmbus_inproc_messages_signal(world.bus, 7, vmbus_channel_id(host_channel()));
}

static void of_the_connection_before(void)
{
	struct vmbus_msg_initiate_contact m = {.header.type = VMBUS_MSG_INITIATE_CONTACT,
					       .version = VMBUS_V0_13};

	vmbus_inproc_messages_posted(world.bus, &m, sizeof(m));
	answered(&channel()->offer, sizeof(channel()->offer));
}

Test(inproc, finds_what_is_wrong)
{
	static const struct {
		const char *name;
		void (*sabotage)(void);
		const char *said;
	} rows[] = {
		{"index past the other", index_past_the_other, "past the other"},
		{"index backwards", index_backwards, "went back"},
		{"index unaligned", index_unaligned, "in 4, out"},
		{"index too large", index_too_large, "of 126976"},
		{"half a packet", half_a_packet, "no whole packet"},
		{"read half a packet", read_half_a_packet, "middle of packet"},
		{"completed twice", completed_twice, "not in flight"},
		{"packet not counted", packet_not_counted, "guest wrote"},
		{"doorbell forgotten", doorbell_forgotten, "host sleeps in front"},
		{"flag forgotten", flag_forgotten, "guest sleeps in front"},
		{"host waits", space_not_told_to_the_host, "host waits for space"},
		{"guest waits", space_not_told_to_the_guest, "guest waits for space"},
		{"interrupt lost", interrupt_lost, "flag without an interrupt"},
		{"message lost", message_lost, "slot without an interrupt"},
		{"page written", written_after_it_was_taken_back, "after the guest took it back"},
		{"never completed", never_completed, "0x63 was never completed"},
		{"offered twice", offered_twice, "before its release"},
		{"sub-channel first", sub_channel_without_primary, "without its primary"},
		{"rescinded twice", rescinded_twice, "not offered"},
		{"answer to nothing", answer_to_nothing, "nobody asked for"},
		{"created too early", created_too_early, "before its last page"},
		{"never answered", never_answered, "never came"},
		{"wrong VP", wrong_vp, "in the slot of VP"},
		{"signalled elsewhere", signalled_on_another_vp, "signalled on VP 7"},
		{"old message", of_the_connection_before, "connection before"},
	};
	struct seeds seeds = {.traced = false};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *violation;
		int err;

		world_make(&world, &flavours[0], 4, VMBUS_V6_0, 0, &seeds);
		cr_assert_eq(world_connect(&world), 0);
		cr_assert_eq(world_open(&world, channel(), 32, 0), 0);
		cr_assert_eq(vmbus_inproc_settle(world.bus), 0);
		rows[i].sabotage();
		vmbus_inproc_check(world.bus);
		err = vmbus_inproc_finish(world.bus);
		violation = vmbus_inproc_violation(world.bus);
		cr_expect_eq(err, -EPROTO, "%s", rows[i].name);
		cr_expect(violation && strstr(violation, rows[i].said), "%s: %s", rows[i].name,
			  violation ? violation : "nothing found");
		vmbus_inproc_free(world.bus);
	}
}

Test(inproc, a_seed_is_an_interleaving)
{
	struct seeds seeds = {.traced = false};
	uint64_t steps[3];

	for (int i = 0; i < 3; i++) {
		world_make(&world, &flavours[0], i == 2 ? 6 : 5, VMBUS_V6_0, 0, &seeds);
		cr_assert_eq(world_connect(&world), 0);
		cr_assert_eq(world_open_all(&world, 20), 0);
		cr_assert_eq(world_traffic(&world), 0);
		steps[i] = vmbus_inproc_steps(world.bus);
		cr_assert_eq(vmbus_inproc_finish(world.bus), 0);
		vmbus_inproc_free(world.bus);
	}
	cr_assert_eq(steps[0], steps[1]);
	cr_assert_neq(steps[0], steps[2]);
}

Test(inproc, refuses_a_config_that_makes_no_sense)
{
	struct vmbus_inproc_config config;
	struct vmbus_inproc *bus;

	config = flavour_config(&flavours[0], 1), config.vp_count = 0;
	cr_expect_eq(vmbus_inproc_new(&config, &bus), -EINVAL);
	config = flavour_config(&flavours[0], 1), config.threads = 100;
	cr_expect_eq(vmbus_inproc_new(&config, &bus), -EINVAL);
	config = flavour_config(&flavours[0], 1), config.memory = 4096;
	cr_expect_eq(vmbus_inproc_new(&config, &bus), -EINVAL);
	config = flavour_config(&flavours[0], 1), config.push_back = 256;
	cr_expect_eq(vmbus_inproc_new(&config, &bus), -EINVAL);
	config = flavour_config(&flavours[0], 1), config.guest.min_version = VMBUS_V6_0;
	cr_expect_eq(vmbus_inproc_new(&config, &bus), -EINVAL);
}

/* Nothing goes on by itself: each side only by its own steps. */
Test(inproc, steps_one_side_at_a_time)
{
	struct seeds seeds = {.traced = false};
	struct vmbus_guest *guest;

	world_make(&world, &flavours[0], 4, VMBUS_V6_0, 0, &seeds);
	guest = vmbus_inproc_guest(world.bus);
	cr_assert_eq(vmbus_guest_connect(guest), 0);
	while (vmbus_inproc_step_host(world.bus))
		;
	cr_assert_eq(guest->state, VMBUS_GUEST_CONNECTING);
	while (vmbus_inproc_step_guest(world.bus))
		;
	cr_assert_eq(guest->state, VMBUS_GUEST_CONNECTED);
	cr_assert_eq(vmbus_guest_request_offers(guest), 0);
	cr_assert_null(channel());
	/* one message a slot: the guest alone gets the first offer, and no more */
	while (vmbus_inproc_step_guest(world.bus))
		;
	cr_assert_eq(guest->config.channels[0].state, VMBUS_GUEST_CHANNEL_OFFERED);
	cr_assert_eq(guest->config.channels[1].state, VMBUS_GUEST_CHANNEL_NONE);
	cr_assert_eq(vmbus_inproc_settle(world.bus), 0);
	cr_assert_eq(guest->config.channels[WORLD_DEVICES - 1].state, VMBUS_GUEST_CHANNEL_OFFERED);
	cr_assert_eq(vmbus_inproc_finish(world.bus), 0);
	vmbus_inproc_free(world.bus);
}
