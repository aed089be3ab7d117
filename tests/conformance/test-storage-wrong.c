/* SPDX-License-Identifier: MIT */
/* Guests that do not keep to the storage protocol, packet by packet: each gets the answer
 * that Microsoft's host would give, or none, and the controller works on. And those that
 * keep to it in an order of their own. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "storage-world.h"

#define ANSWERS 512u
#define ALIVE_ID 0xa11fe

#define INVALID_PARAMETER 0xc000000du
#define INVALID_DEVICE_REQUEST 0xc0000010u
#define REVISION_MISMATCH 0xc0000059u
#define INVALID_DEVICE_STATE 0xc0000184u

static struct storage_world world;
static uint64_t next_id;

/* What came back, on any channel. */
static struct answer {
	uint64_t id;
	uint32_t len;
	struct vsp_storvsp_packet body;
} answers[ANSWERS];
static uint32_t answer_count;
static bool reading;

static void answers_read(struct storage_world *w, struct vmbus_guest_channel *channel)
{
	uint64_t buf[32];
	struct vmbus_packet packet;

	if (!reading) { /* and nobody can sleep over it */
		vmbus_inproc_kick(w->bus, channel);
		return;
	}
	while (vmbus_rx_next(&channel->rx, buf, sizeof(buf), &packet) == 0) {
		struct answer *answer = &answers[answer_count % ANSWERS];

		if (packet.type != VMBUS_PACKET_COMPLETION)
			continue;
		memset(answer, 0, sizeof(*answer));
		answer->id = packet.transaction_id;
		answer->len = packet.payload_len;
		memcpy(&answer->body, packet.payload,
		       packet.payload_len < 64 ? packet.payload_len : 64);
		answer_count++;
	}
	vmbus_guest_commit(channel);
}

static struct vmbus_guest_channel *channel_of(uint16_t subindex)
{
	return storage_channel(&world, subindex);
}

static void world_open(uint64_t seed)
{
	struct seeds seeds = {.traced = false};

	storage_world_make(&world, &flavours[0], seed, &seeds);
	world.disks[0].failures = 0;
	world.event = answers_read;
	answer_count = 0;
	next_id = 1;
	reading = true;
	cr_assert_eq(flavour_connect(world.flavour, world.bus), 0);
	cr_assert_eq(storage_open(&world, 0), 0);
}

static void world_close(void)
{
	cr_assert(storage_world_end(&world, "wrong", 0));
}

/* -- Packets -------------------------------------------------------------- */

static int put(uint16_t subindex, struct vmbus_packet packet)
{
	struct vmbus_guest_channel *channel = channel_of(subindex);
	int err = vmbus_tx_put(&channel->tx, &packet, 0);

	vmbus_guest_signal(channel);
	return err;
}

/* Sends @len bytes of it and returns the answer, NULL if none came. */
static struct answer *ask_long(uint16_t subindex, const void *body, uint32_t len)
{
	uint32_t before = answer_count;
	struct vmbus_packet packet = {
		.type = VMBUS_PACKET_INBAND,
		.flags = VMBUS_PACKET_COMPLETION_REQUESTED,
		.transaction_id = next_id,
		.payload = body,
		.payload_len = len,
	};

	cr_assert_eq(put(subindex, packet), 0);
	cr_assert_eq(vmbus_inproc_settle(world.bus), 0, "%s", vmbus_inproc_violation(world.bus));
	if (answer_count == before)
		return NULL;
	cr_assert_eq(answer_count, before + 1);
	cr_assert_eq(answers[before % ANSWERS].id, next_id);
	next_id++;
	return &answers[before % ANSWERS];
}

static struct answer *ask(uint16_t subindex, uint32_t operation, uint16_t argument)
{
	struct vsp_storvsp_packet body = {.operation = operation,
					  .flags = VSP_STORVSP_FLAG_COMPLETION};
	struct answer *answer;

	body.u.version.version = argument;
	answer = ask_long(subindex, &body, sizeof(body));
	cr_assert_not_null(answer);
	cr_assert_eq(answer->body.operation, VSP_STORVSP_COMPLETE_IO);
	cr_assert_eq(answer->body.flags, 0);
	return answer;
}

static uint32_t status_of(uint16_t subindex, uint32_t operation, uint16_t argument)
{
	return ask(subindex, operation, argument)->body.status;
}

static void initialise(uint16_t version)
{
	cr_assert_eq(status_of(0, VSP_STORVSP_BEGIN_INITIALIZATION, 0), 0);
	cr_assert_eq(status_of(0, VSP_STORVSP_QUERY_VERSION, version), 0);
	cr_assert_eq(status_of(0, VSP_STORVSP_QUERY_PROPERTIES, 0), 0);
	cr_assert_eq(status_of(0, VSP_STORVSP_END_INITIALIZATION, 0), 0);
}

/* A command without data: TEST UNIT READY. */
static struct vsp_storvsp_packet test_unit_ready(void)
{
	return (struct vsp_storvsp_packet){
		.operation = VSP_STORVSP_EXECUTE_SRB,
		.flags = VSP_STORVSP_FLAG_COMPLETION,
		.u.srb = {.length = 0x34, .cdb_length = 6, .direction = VSP_SRB_NONE},
	};
}

static void expect_alive(uint16_t subindex)
{
	struct vsp_storvsp_packet body = test_unit_ready();
	struct answer *answer = ask_long(subindex, &body, sizeof(body));

	cr_assert_not_null(answer);
	cr_assert_eq(answer->body.status, 0);
	cr_assert_eq(answer->body.u.srb.srb_status, 0x01);
}

/* -- Order ---------------------------------------------------------------- */

Test(conformance_wrong, messages_out_of_order_are_refused_and_change_nothing)
{
	static const uint16_t not_first[] = {
		VSP_STORVSP_EXECUTE_SRB,        VSP_STORVSP_RESET_LUN,
		VSP_STORVSP_RESET_ADAPTER,      VSP_STORVSP_RESET_BUS,
		VSP_STORVSP_END_INITIALIZATION, VSP_STORVSP_QUERY_VERSION,
		VSP_STORVSP_QUERY_PROPERTIES,   VSP_STORVSP_CREATE_SUB_CHANNELS,
	};
	static const uint16_t not_when_ready[] = {
		VSP_STORVSP_BEGIN_INITIALIZATION,
		VSP_STORVSP_END_INITIALIZATION,
		VSP_STORVSP_QUERY_VERSION,
		VSP_STORVSP_QUERY_PROPERTIES,
	};

	for (uint64_t seed = 1; seed < 9; seed++) {
		world_open(seed);
		for (size_t i = 0; i < sizeof(not_first) / sizeof(not_first[0]); i++)
			cr_expect_eq(status_of(0, not_first[i], 0x0600), INVALID_DEVICE_STATE,
				     "operation %u first", not_first[i]);
		initialise(VSP_STORVSP_WIN10);
		for (size_t i = 0; i < sizeof(not_when_ready) / sizeof(not_when_ready[0]); i++)
			cr_expect_eq(status_of(0, not_when_ready[i], 0x0600), INVALID_DEVICE_STATE,
				     "operation %u when ready", not_when_ready[i]);
		for (uint32_t i = VSP_STORVSP_RESET_LUN; i <= VSP_STORVSP_RESET_BUS; i++)
			cr_expect_eq(status_of(0, i, 0), 0);
		expect_alive(0);
		world_close();
	}
}

Test(conformance_wrong, an_unknown_version_is_echoed_and_another_is_taken)
{
	static const uint16_t unknown[] = {0xffff, 0,      0x0001, 0x0100,
					   0x0500, 0x0601, 0x0603, 0x0700};

	world_open(1);
	cr_assert_eq(status_of(0, VSP_STORVSP_BEGIN_INITIALIZATION, 0), 0);
	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		struct answer *answer = ask(0, VSP_STORVSP_QUERY_VERSION, unknown[i]);

		cr_expect_eq(answer->body.status, REVISION_MISMATCH, "%04x", unknown[i]);
		cr_expect_eq(answer->body.u.version.version, unknown[i]);
		cr_expect_eq(answer->body.u.version.revision, 0);
	}
	cr_expect_eq(status_of(0, VSP_STORVSP_QUERY_VERSION, 0x0600), 0);
	cr_expect_eq(status_of(0, VSP_STORVSP_QUERY_PROPERTIES, 0), 0);
	cr_expect_eq(status_of(0, VSP_STORVSP_END_INITIALIZATION, 0), 0);
	expect_alive(0);
	world_close();
}

Test(conformance_wrong, an_answer_is_as_long_as_its_question)
{
	static const uint32_t rows[][2] = {{48, 48}, {50, 56}, {56, 56},
					   {64, 64}, {72, 64}, {120, 64}};
	uint8_t bytes[120] = {0};
	struct vsp_storvsp_packet body = test_unit_ready();

	memcpy(bytes, &body, sizeof(body));
	for (int ready = 0; ready < 2; ready++) {
		world_open(1);
		if (ready)
			initialise(VSP_STORVSP_WIN10);
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
			struct answer *answer = ask_long(0, bytes, rows[i][0]);

			cr_assert_not_null(answer);
			cr_expect_eq(answer->len, rows[i][1], "%u bytes", rows[i][0]);
			cr_expect_eq(answer->body.status, ready ? 0 : INVALID_DEVICE_STATE);
		}
		world_close();
	}
}

/* -- Sub-channels --------------------------------------------------------- */

static bool subs_are_offered(void *user)
{
	(void)user;
	return channel_of(1) && channel_of(2) && channel_of(3);
}

Test(conformance_wrong, sub_channels_have_their_limits)
{
	world_open(1);
	initialise(VSP_STORVSP_WIN7);
	cr_expect_eq(status_of(0, VSP_STORVSP_CREATE_SUB_CHANNELS, 1), INVALID_DEVICE_STATE);
	world_close();

	world_open(2);
	initialise(VSP_STORVSP_WIN8);
	cr_expect_eq(status_of(0, VSP_STORVSP_CREATE_SUB_CHANNELS, 4), INVALID_PARAMETER);
	cr_expect_eq(status_of(0, VSP_STORVSP_CREATE_SUB_CHANNELS, 0xffff), INVALID_PARAMETER);
	cr_expect_eq(status_of(0, VSP_STORVSP_CREATE_SUB_CHANNELS, 0), 0);
	cr_expect_null(channel_of(1));
	cr_expect_eq(status_of(0, VSP_STORVSP_CREATE_SUB_CHANNELS, 3), 0);
	cr_expect_eq(status_of(0, VSP_STORVSP_CREATE_SUB_CHANNELS, 2), 0); /* there already */
	cr_assert_eq(vmbus_inproc_run(world.bus, subs_are_offered), 0);
	for (uint16_t i = 1; i <= 3; i++) {
		cr_assert_eq(storage_open(&world, i), 0);
		expect_alive(i);
		cr_expect_eq(status_of(i, VSP_STORVSP_CREATE_SUB_CHANNELS, 1),
			     INVALID_DEVICE_STATE);
		cr_expect_eq(status_of(i, VSP_STORVSP_BEGIN_INITIALIZATION, 0),
			     INVALID_DEVICE_STATE);
		cr_expect_eq(status_of(i, VSP_STORVSP_RESET_LUN, 0), 0);
	}
	expect_alive(0);
	world_close();
}

/* CREATE_SUB_CHANNELS may come before END_INITIALIZATION; what the guest asks on them then
 * waits for it. */
Test(conformance_wrong, a_request_before_the_end_of_the_initialisation_waits)
{
	for (uint64_t seed = 1; seed < 9; seed++) {
		struct vsp_storvsp_packet body = test_unit_ready();
		struct vmbus_packet packet = {
			.type = VMBUS_PACKET_INBAND,
			.flags = VMBUS_PACKET_COMPLETION_REQUESTED,
			.payload_len = sizeof(body),
		};

		world_open(seed);
		cr_assert_eq(status_of(0, VSP_STORVSP_BEGIN_INITIALIZATION, 0), 0);
		cr_assert_eq(status_of(0, VSP_STORVSP_QUERY_VERSION, VSP_STORVSP_WIN10), 0);
		cr_assert_eq(status_of(0, VSP_STORVSP_QUERY_PROPERTIES, 0), 0);
		cr_assert_eq(status_of(0, VSP_STORVSP_CREATE_SUB_CHANNELS, 3), 0);
		cr_assert_eq(vmbus_inproc_run(world.bus, subs_are_offered), 0);
		for (uint16_t i = 1; i <= 3; i++) {
			cr_assert_eq(storage_open(&world, i), 0);
			for (int k = 0; k < 5; k++)
				cr_assert_null(ask_long(i, &body, sizeof(body)));
		}
		answer_count = 0;
		body = (struct vsp_storvsp_packet){.operation = VSP_STORVSP_END_INITIALIZATION,
						   .flags = VSP_STORVSP_FLAG_COMPLETION};
		packet.transaction_id = next_id++;
		packet.payload = &body;
		cr_assert_eq(put(0, packet), 0);
		cr_assert_eq(vmbus_inproc_settle(world.bus), 0);
		cr_assert_eq(answer_count, 1 + 3 * 5, "the end, and all that waited for it");
		world_close();
	}
}

/* -- Malformed ------------------------------------------------------------ */

Test(conformance_wrong, operations_that_are_none_are_refused)
{
	static const uint32_t operations[] = {0, 1, 2, 11, 12, 14, 99, 0x7fffffff, 0xffffffff};

	world_open(1);
	for (int ready = 0; ready < 2; ready++) {
		for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
			cr_expect_eq(status_of(0, operations[i], 0), INVALID_DEVICE_REQUEST, "%u",
				     operations[i]);
		if (!ready)
			initialise(VSP_STORVSP_WIN10);
	}
	expect_alive(0);
	world_close();
}

Test(conformance_wrong, short_packets_are_refused)
{
	struct vsp_storvsp_packet body = test_unit_ready();

	world_open(1);
	initialise(VSP_STORVSP_WIN10);
	for (uint32_t len = 0; len < 48; len += 8) {
		struct answer *answer = ask_long(0, &body, len);

		cr_assert_not_null(answer, "%u bytes", len);
		cr_expect_neq(answer->body.status, 0, "%u bytes", len);
		cr_expect_leq(answer->len, 48u);
	}
	expect_alive(0);
	world_close();
}

Test(conformance_wrong, what_asks_for_no_answer_gets_none)
{
	struct vsp_storvsp_packet body = test_unit_ready();
	struct vmbus_packet packet = {.payload = &body, .payload_len = sizeof(body)};
	struct vsp_storage_stats stats;

	world_open(1);
	initialise(VSP_STORVSP_WIN10);
	answer_count = 0;
	packet.type = VMBUS_PACKET_INBAND;
	cr_assert_eq(put(0, packet), 0);
	packet.type = VMBUS_PACKET_COMPLETION;
	cr_assert_eq(put(0, packet), 0);
	cr_assert_eq(vmbus_inproc_settle(world.bus), 0);
	cr_expect_eq(answer_count, 0u);
	vsp_storage_get_stats(world.storage, &stats);
	cr_expect_eq(stats.bad_requests, 2u);
	expect_alive(0);
	world_close();
}

/* -- Data ----------------------------------------------------------------- */

#define RANGE(bytes, offset) ((uint64_t)(offset) << 32 | (bytes))

/* Reads one sector into what the words describe; they begin behind the range count. */
static struct answer *read_into(uint32_t count, const uint64_t *words, uint32_t words_len,
				uint32_t transfer)
{
	uint64_t header[24] = {(uint64_t)count << 32};
	struct vsp_storvsp_packet body = test_unit_ready();
	uint32_t before = answer_count;
	struct vmbus_packet packet = {
		.type = VMBUS_PACKET_GPA_DIRECT,
		.flags = VMBUS_PACKET_COMPLETION_REQUESTED,
		.transaction_id = next_id++,
		.header = header,
		.header_len = 8 + 8 * words_len,
		.payload = &body,
		.payload_len = sizeof(body),
	};

	memcpy(header + 1, words, 8 * words_len);
	body.u.srb.direction = VSP_SRB_READ;
	body.u.srb.transfer_length = transfer;
	disk_cdb(body.u.srb.u.cdb, &body.u.srb.cdb_length, false, 1, 5, 1);
	cr_assert_eq(put(0, packet), 0);
	cr_assert_eq(vmbus_inproc_settle(world.bus), 0, "%s", vmbus_inproc_violation(world.bus));
	cr_assert_eq(answer_count, before + 1);
	return &answers[before % ANSWERS];
}

Test(conformance_wrong, data_in_pages_that_are_none_fails_and_touches_nothing)
{
	uint64_t a, b;

	world_open(1);
	initialise(VSP_STORVSP_WIN10);
	memset(world.disks[0].data, 0x77, SLOW_DISK_SIZE);
	cr_assert_eq(vmbus_inproc_alloc(world.bus, 1, &a), 0);
	cr_assert_eq(vmbus_inproc_alloc(world.bus, 1, &b), 0);
	const struct {
		const char *name;
		uint32_t count, words;
		uint64_t list[6];
		uint32_t transfer;
		bool good;
	} rows[] = {
		{"as it should be", 1, 2, {RANGE(512, 0), a}, 512, true},
		{"longer than the transfer", 1, 2, {RANGE(4096, 0), a}, 512, true},
		{"at the end of the page", 1, 2, {RANGE(512, 3584), a}, 512, true},
		{"over two pages", 1, 3, {RANGE(512, 3840), a, b}, 512, true},
		{"the same page twice", 1, 3, {RANGE(512, 3840), a, a}, 512, true},
		{"words behind the list", 1, 5, {RANGE(512, 0), a, 7, 7, 7}, 512, true},
		{"shorter than the transfer", 1, 2, {RANGE(511, 0), a}, 512, false},
		{"two ranges", 2, 4, {RANGE(256, 0), a, RANGE(256, 0), b}, 512, false},
		{"no range", 0, 2, {RANGE(512, 0), a}, 512, false},
		{"an empty range", 1, 2, {RANGE(0, 0), a}, 512, false},
		{"an offset past the page", 1, 2, {RANGE(512, 4096), a}, 512, false},
		{"an offset far past it", 1, 3, {RANGE(512, 0xffffffff), a, b}, 512, false},
		{"a list that ends early", 1, 2, {RANGE(512, 3840), a}, 512, false},
		{"four GiB", 1, 3, {RANGE(0xffffffff, 4095), a, b}, 0xffffffff, false},
		{"a page that is no RAM", 1, 2, {RANGE(512, 0), 0x50}, 512, false},
		{"a page past all memory", 1, 2, {RANGE(512, 0), 1ull << 52}, 512, false},
		{"a page that wraps around", 1, 2, {RANGE(512, 0), ~0ull}, 512, false},
		{"the second page is no RAM", 1, 3, {RANGE(512, 3840), a, 0x50}, 512, false},
		{"many ranges", 0xffffffff, 2, {RANGE(512, 0), a}, 512, false},
		{"less than the command moves", 1, 2, {RANGE(256, 0), a}, 256, false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const uint8_t *page = vmbus_inproc_page(world.bus, a);
		struct answer *answer;
		uint32_t touched = 0;

		memset(vmbus_inproc_page(world.bus, a), 0, VMBUS_PAGE_SIZE);
		memset(vmbus_inproc_page(world.bus, b), 0, VMBUS_PAGE_SIZE);
		answer = read_into(rows[i].count, rows[i].list, rows[i].words, rows[i].transfer);
		cr_expect_eq(answer->body.status == 0, rows[i].good, "%s", rows[i].name);
		cr_expect_eq(answer->body.u.srb.srb_status == 1, rows[i].good, "%s", rows[i].name);
		for (uint32_t k = 0; k < VMBUS_PAGE_SIZE; k++)
			touched += page[k] != 0;
		cr_expect_eq(touched != 0, rows[i].good, "%s", rows[i].name);
		cr_expect_leq(touched, 512u);
	}
	expect_alive(0);
	world_close();
}

Test(conformance_wrong, ids_are_not_the_hosts_business)
{
	struct vsp_storvsp_packet body = test_unit_ready();
	static const uint64_t ids[] = {
		0, 1, 1, 1, 0xfffffffffffffffd, 0xffffffffffffffff, 0, 0x8000000000000000};
	uint32_t count = sizeof(ids) / sizeof(ids[0]);

	world_open(1);
	initialise(VSP_STORVSP_WIN10);
	answer_count = 0;
	for (uint32_t i = 0; i < count; i++) {
		struct vmbus_packet packet = {
			.type = VMBUS_PACKET_INBAND,
			.flags = VMBUS_PACKET_COMPLETION_REQUESTED,
			.transaction_id = ids[i],
			.payload = &body,
			.payload_len = sizeof(body),
		};

		cr_assert_eq(put(0, packet), 0);
	}
	cr_assert_eq(vmbus_inproc_settle(world.bus), 0); /* the fixture compares the ids */
	cr_expect_eq(answer_count, count);
	world_close();
}

/* -- Rings ---------------------------------------------------------------- */

/* The guest asks and does not read: the host stops taking, and goes on when there is room
 * again. */
Test(conformance_wrong, an_answer_ring_that_stays_full_stops_the_host)
{
	for (uint64_t seed = 1; seed < 9; seed++) {
		struct vsp_storvsp_packet body = test_unit_ready();
		uint32_t sent = 0;
		int err = 0;

		world_open(seed);
		initialise(VSP_STORVSP_WIN10);
		reading = false;
		answer_count = 0;
		for (int round = 0; round < 40; round++) {
			struct vmbus_packet packet = {
				.type = VMBUS_PACKET_INBAND,
				.flags = VMBUS_PACKET_COMPLETION_REQUESTED,
				.transaction_id = 1,
				.payload = &body,
				.payload_len = sizeof(body),
			};

			while ((err = put(0, packet)) == 0)
				sent++;
			cr_assert_eq(err, -EAGAIN);
			cr_assert_eq(storage_steps(&world, 300), 0);
		}
		/* two rings of 124 KiB hold no more, whatever was taken in between */
		cr_assert_lt(sent, 2 * 126976 / 88 + 600);
		reading = true;
		cr_assert_eq(vmbus_inproc_settle(world.bus), 0, "%s",
			     vmbus_inproc_violation(world.bus));
		cr_assert_eq(answer_count, sent);
		expect_alive(0);
		world_close();
	}
}

/* What a guest may scribble over its own ring. */
static void scribble_index(struct vmbus_guest_channel *channel)
{
	channel->tx.mem.control->in = channel->tx.mem.size;
}

static void scribble_index_odd(struct vmbus_guest_channel *channel)
{
	channel->tx.mem.control->in += 4;
}

static void descriptor_put(struct vmbus_guest_channel *channel,
			   const struct vmbus_packet_descriptor *desc)
{
	const struct vmbus_ring_memory *mem = &channel->tx.mem;
	uint32_t at = channel->tx.in;

	/* far from the end of a page: little was sent so far */
	memcpy(mem->data ? mem->data + at : mem->pages[0] + at, desc, sizeof(*desc));
}

static void scribble_length(struct vmbus_guest_channel *channel)
{
	struct vmbus_packet_descriptor desc = {
		.type = VMBUS_PACKET_INBAND, .offset8 = 2, .length8 = 0xffff};

	descriptor_put(channel, &desc);
	channel->tx.mem.control->in = (channel->tx.in + 128) % channel->tx.mem.size;
}

static void scribble_type(struct vmbus_guest_channel *channel)
{
	struct vmbus_packet_descriptor desc = {.type = 3, .offset8 = 2, .length8 = 10};

	descriptor_put(channel, &desc);
	channel->tx.mem.control->in = (channel->tx.in + 128) % channel->tx.mem.size;
}

static void scribble_their_index(struct vmbus_guest_channel *channel)
{
	struct vsp_storvsp_packet body = test_unit_ready();
	struct vmbus_packet packet = {
		.type = VMBUS_PACKET_INBAND,
		.flags = VMBUS_PACKET_COMPLETION_REQUESTED,
		.payload = &body,
		.payload_len = sizeof(body),
	};

	reading = false; /* or the index would be made good again */
	channel->rx.mem.control->out = channel->rx.mem.size + 8;
	/* it is looked at when the room that was known of is used up */
	for (int i = 0; i < 100; i++) {
		while (vmbus_tx_put(&channel->tx, &packet, 0) == 0)
			;
		vmbus_guest_signal(channel);
		cr_assert_eq(storage_steps(&world, 100), 0);
	}
	reading = true;
}

static void signal_host(struct vmbus_guest_channel *channel)
{
	channel->guest->config.ops->signal(channel->guest->config.opaque,
					   channel->offer.connection_id);
}

/* That channel is stopped, and can be closed and opened again; the others work on. */
Test(conformance_wrong, a_broken_ring_costs_its_channel_alone)
{
	static const struct {
		const char *name;
		void (*scribble)(struct vmbus_guest_channel *channel);
		enum vmbus_fault fault;
	} rows[] = {
		{"index past the ring", scribble_index, VMBUS_FAULT_BAD_INDEX},
		{"index not a multiple of 8", scribble_index_odd, VMBUS_FAULT_BAD_INDEX},
		{"packet longer than the ring", scribble_length, VMBUS_FAULT_BAD_DESCRIPTOR},
		{"packet of no type", scribble_type, VMBUS_FAULT_BAD_PACKET_TYPE},
		{"the answer ring's index", scribble_their_index, VMBUS_FAULT_BAD_INDEX},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vmbus_guest_channel *channel;

		world_open(2);
		initialise(VSP_STORVSP_WIN10);
		cr_assert_eq(status_of(0, VSP_STORVSP_CREATE_SUB_CHANNELS, 3), 0);
		cr_assert_eq(vmbus_inproc_run(world.bus, subs_are_offered), 0);
		cr_assert_eq(storage_open(&world, 1), 0);
		cr_assert_eq(storage_open(&world, 2), 0);
		channel = channel_of(1);
		expect_alive(1);
		vmbus_inproc_distrust(world.bus, channel);
		rows[i].scribble(channel);
		signal_host(channel);
		cr_assert_eq(storage_steps(&world, 400), 0);
		cr_expect_eq(vmbus_channel_fault(storage_host_channel(&world, 1)), rows[i].fault,
			     "%s", rows[i].name);
		expect_alive(0);
		expect_alive(2);
		cr_assert_eq(vmbus_inproc_close(world.bus, channel), 0);
		cr_assert_eq(storage_open(&world, 1), 0);
		expect_alive(1);
		world_close();
	}
}
