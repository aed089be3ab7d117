/* SPDX-License-Identifier: MIT */
/* The storage protocol's states: every message in every state, every version. */
#include <string.h>

#include <criterion/criterion.h>

#include "storage-private.h"

static struct vsp_storage storage;

static void storage_setup(uint16_t sub_channels)
{
	memset(&storage, 0, sizeof(storage));
	storage.config.max_transfer = 256 << 10;
	storage.config.max_sub_channels = sub_channels;
}

/* Sends one message; returns the status of the answer, or 1 for "is an SRB". */
static uint32_t message(bool primary, uint32_t operation, uint16_t argument,
			struct vsp_storvsp_packet *p)
{
	struct vsp_storvsp_packet local;

	p = p ? p : &local;
	memset(p, 0, sizeof(*p));
	p->operation = operation;
	p->u.version.version = argument; /* or the count of sub-channels */
	if (vsp_storvsp_message(&storage, primary, p, sizeof(*p)))
		return 1;
	cr_expect_eq(p->operation, VSP_STORVSP_COMPLETE_IO);
	return p->status;
}

/* The messages that lead from BEGIN to each state. */
static void go_to(enum storvsp_state state)
{
	static const uint32_t path[] = {
		VSP_STORVSP_BEGIN_INITIALIZATION, VSP_STORVSP_QUERY_VERSION,
		VSP_STORVSP_QUERY_PROPERTIES, VSP_STORVSP_END_INITIALIZATION,
	};

	for (unsigned int i = 0; i < state; i++)
		cr_assert_eq(message(true, path[i], VSP_STORVSP_WIN8_1, NULL), 0);
	cr_assert_eq((enum storvsp_state)storage.state, state);
}

Test(storvsp, every_message_in_every_state)
{
	/* the states that accept it, as bits; what an accepted one answers */
	static const struct {
		uint32_t operation, states, status;
		bool anywhere; /* not on the first channel alone */
	} rows[] = {
		{VSP_STORVSP_EXECUTE_SRB, 1u << STORVSP_READY, 1, true},
		{VSP_STORVSP_RESET_LUN, 1u << STORVSP_READY, 0, true},
		{VSP_STORVSP_RESET_ADAPTER, 1u << STORVSP_READY, 0, true},
		{VSP_STORVSP_RESET_BUS, 1u << STORVSP_READY, 0, true},
		{VSP_STORVSP_BEGIN_INITIALIZATION, 1u << STORVSP_BEGIN, 0, false},
		{VSP_STORVSP_QUERY_VERSION, 1u << STORVSP_VERSION, 0, false},
		{VSP_STORVSP_QUERY_PROPERTIES, 1u << STORVSP_PROPERTIES, 0, false},
		{VSP_STORVSP_END_INITIALIZATION, 1u << STORVSP_END, 0, false},
	};

	for (size_t k = 0; k < 2 * sizeof(rows) / sizeof(rows[0]); k++)
		for (enum storvsp_state state = STORVSP_BEGIN; state < STORVSP_STATES; state++) {
			size_t i = k / 2;
			bool primary = k % 2;
			bool accepted = (rows[i].states & (1u << state)) &&
					(primary || rows[i].anywhere);
			uint32_t expected = accepted ? rows[i].status :
						       STORVSP_STATUS_INVALID_DEVICE_STATE;

			storage_setup(0);
			go_to(state);
			cr_expect_eq(message(primary, rows[i].operation, VSP_STORVSP_WIN8_1, NULL),
				     expected, "operation %u in state %d%s", rows[i].operation,
				     state, primary ? "" : ", sub-channel");
			if (!accepted)
				cr_expect_eq((enum storvsp_state)storage.state, state,
					     "a refusal changes nothing");
		}
}

Test(storvsp, a_version_that_is_cut_off_is_none)
{
	for (uint32_t len = VSP_STORVSP_HEADER; len < VSP_STORVSP_HEADER + 4; len++) {
		struct vsp_storvsp_packet p = {.operation = VSP_STORVSP_QUERY_VERSION};

		storage_setup(0);
		go_to(STORVSP_VERSION);
		p.u.version.version = VSP_STORVSP_WIN8_1;
		cr_expect_not(vsp_storvsp_message(&storage, true, &p, len));
		cr_expect_eq(p.status, STORVSP_STATUS_INVALID_PARAMETER, "%u bytes", len);
		cr_expect_eq((enum storvsp_state)storage.state, STORVSP_VERSION);
	}
}

Test(storvsp, what_no_guest_may_send_is_refused_and_nothing_else_happens)
{
	static const uint32_t operations[] = {
		0, VSP_STORVSP_COMPLETE_IO, VSP_STORVSP_REMOVE_DEVICE, VSP_STORVSP_ENUMERATE_BUS,
		VSP_STORVSP_FCHBA_DATA, 14, 99, 0xffffffff,
	};

	storage_setup(0);
	go_to(STORVSP_READY);
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		cr_expect_eq(message(true, operations[i], 0, NULL),
			     STORVSP_STATUS_INVALID_DEVICE_REQUEST, "operation %u", operations[i]);
	cr_expect_eq(message(true, VSP_STORVSP_EXECUTE_SRB, 0, NULL), 1);
}

Test(storvsp, versions_are_echoed_and_a_guest_may_go_down_until_one_is_known)
{
	static const struct {
		uint16_t version;
		bool known;
	} rows[] = {{0xffff, false}, {0x0700, false}, {0x0100, false}, {0x0001, false}, {0, false},
		    {VSP_STORVSP_WIN10, true}, {VSP_STORVSP_WIN8_1, true}, {VSP_STORVSP_WIN8, true},
		    {VSP_STORVSP_WIN7, true}, {VSP_STORVSP_WIN6, true}};
	struct vsp_storvsp_packet p;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		storage_setup(4);
		go_to(STORVSP_VERSION);
		cr_expect_eq(message(true, VSP_STORVSP_QUERY_VERSION, rows[i].version, &p),
			     rows[i].known ? 0 : STORVSP_STATUS_REVISION_MISMATCH, "%04x",
			     rows[i].version);
		cr_expect_eq(p.u.version.version, rows[i].version);
		if (!rows[i].known)
			cr_expect_eq(message(true, VSP_STORVSP_QUERY_VERSION, VSP_STORVSP_WIN8,
					     NULL),
				     0);
	}
}

/* The shortest that is whole, whatever lies in the rest. */
Test(storvsp, answers_hold_nothing_of_the_question)
{
	static const uint16_t versions[] = {VSP_STORVSP_WIN6, VSP_STORVSP_WIN7, VSP_STORVSP_WIN8,
					    VSP_STORVSP_WIN8_1, VSP_STORVSP_WIN10};
	struct vsp_storvsp_packet p, zero = {0};

	for (size_t i = 0; i < 2 * sizeof(versions) / sizeof(versions[0]); i++) {
		uint16_t version = versions[i / 2], subs = i % 2 ? 1 : 0;
		bool multi = version >= VSP_STORVSP_WIN8 && subs > 0;

		storage_setup(subs);
		p = (struct vsp_storvsp_packet){.operation = VSP_STORVSP_BEGIN_INITIALIZATION};
		cr_expect_not(vsp_storvsp_message(&storage, true, &p, VSP_STORVSP_HEADER));
		cr_expect_eq(p.status, 0);
		p = (struct vsp_storvsp_packet){.operation = VSP_STORVSP_QUERY_VERSION, .flags = 1,
						.u.version = {version, 0x1234}};
		cr_expect_not(vsp_storvsp_message(&storage, true, &p, VSP_STORVSP_HEADER + 4));
		cr_expect_eq(p.status | p.flags | p.u.version.revision, 0);
		memset(&p, 0xee, sizeof(p));
		p.operation = VSP_STORVSP_QUERY_PROPERTIES;
		cr_expect_not(vsp_storvsp_message(&storage, true, &p, sizeof(p)));
		cr_expect_eq(p.u.properties.max_sub_channels, multi ? subs : 0, "%x", version);
		cr_expect_eq(p.u.properties.flags, multi ? VSP_STORVSP_MULTI_CHANNEL : 0);
		p.u.properties.max_sub_channels = 0;
		p.u.properties.flags = p.u.properties.max_transfer = 0;
		cr_expect_eq(memcmp(&p.u, &zero.u, sizeof(p.u)), 0, "%x", version);
	}
}

Test(storvsp, sub_channels_from_8_on_within_what_was_allowed)
{
	struct vsp_storvsp_packet p;

	storage_setup(4);
	go_to(STORVSP_PROPERTIES);
	cr_expect_eq(message(true, VSP_STORVSP_QUERY_PROPERTIES, 0, &p), 0);
	cr_expect_eq(p.u.properties.max_sub_channels, 4);
	cr_expect_eq(p.u.properties.flags, VSP_STORVSP_MULTI_CHANNEL);
	cr_expect_eq(p.u.properties.max_transfer, 256 << 10);
	cr_expect_eq(message(true, VSP_STORVSP_CREATE_SUB_CHANNELS, 5, NULL),
		     STORVSP_STATUS_INVALID_PARAMETER);
	cr_expect_eq(message(true, VSP_STORVSP_CREATE_SUB_CHANNELS, 4, NULL), 0);
	cr_expect_eq(storage.sub_channels, 4);
	cr_expect_eq(message(true, VSP_STORVSP_END_INITIALIZATION, 0, NULL), 0);
	cr_expect_eq(message(true, VSP_STORVSP_CREATE_SUB_CHANNELS, 2, NULL), 0, "Linux asks here");
	cr_expect_eq(message(false, VSP_STORVSP_CREATE_SUB_CHANNELS, 2, NULL),
		     STORVSP_STATUS_INVALID_DEVICE_STATE, "not over a sub-channel");
	cr_expect_eq(message(false, VSP_STORVSP_EXECUTE_SRB, 0, NULL), 1);

	storage_setup(4);
	go_to(STORVSP_VERSION);
	cr_expect_eq(message(true, VSP_STORVSP_QUERY_VERSION, VSP_STORVSP_WIN7, NULL), 0);
	cr_expect_eq(message(true, VSP_STORVSP_QUERY_PROPERTIES, 0, &p), 0);
	cr_expect_eq(p.u.properties.max_sub_channels, 0, "4.2 has none");
	cr_expect_eq(p.u.properties.flags, 0);
	cr_expect_eq(message(true, VSP_STORVSP_CREATE_SUB_CHANNELS, 1, NULL),
		     STORVSP_STATUS_INVALID_DEVICE_STATE);
}
