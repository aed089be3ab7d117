/* SPDX-License-Identifier: MIT */
/* Every event in every state of a channel: what comes back, what the guest is told, where
 * it leads at once, and where when the device is done. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include <criterion/criterion.h>

#include "mock.h"
#include "server.h"

enum event {
	OPEN,
	CLOSE,
	HEADER,
	TEARDOWN,
	MODIFY,
	RELID,
	REVOKE,
	OFFER,
	END, /* UNLOAD, INITIATE_CONTACT or a reset */
	EVENTS
};

static const char *const event_names[EVENTS] = {"OPEN",           "CLOSE",  "GPADL_HEADER",
						"GPADL_TEARDOWN", "MODIFY", "RELID_RELEASED",
						"revoke",         "offer",  "end"};

#define GONE CHANNEL_STATES /* freed */

#define BAD VMBUS_FAULT_BAD_CHANNEL
#define NOT VMBUS_FAULT_WRONG_STATE

static const struct row {
	enum channel_state from;
	enum event event;
	int ret;
	enum channel_state to; /* at once, the device is slow */
	const char *told;
	enum channel_state then; /* when it is done */
	const char *told_then;
} rows[] = {
	/* told: O, F = OPEN_RESULT, good or failed; C, c = GPADL_CREATED; T = GPADL_TORNDOWN;
	 * M, m = MODIFY_CHANNEL_RESPONSE; R = RESCIND_OFFER; N = OFFER; U = the end's answer */
	{CHANNEL_RELEASED, OPEN, BAD, CHANNEL_RELEASED, "", CHANNEL_RELEASED, ""},
	{CHANNEL_RELEASED, CLOSE, BAD, CHANNEL_RELEASED, "", CHANNEL_RELEASED, ""},
	{CHANNEL_RELEASED, HEADER, BAD, CHANNEL_RELEASED, "c", CHANNEL_RELEASED, ""},
	{CHANNEL_RELEASED, TEARDOWN, BAD, CHANNEL_RELEASED, "", CHANNEL_RELEASED, ""},
	{CHANNEL_RELEASED, MODIFY, BAD, CHANNEL_RELEASED, "m", CHANNEL_RELEASED, ""},
	{CHANNEL_RELEASED, RELID, BAD, CHANNEL_RELEASED, "", CHANNEL_RELEASED, ""},
	{CHANNEL_RELEASED, REVOKE, 0, GONE, "", GONE, ""},
	{CHANNEL_RELEASED, OFFER, -EEXIST, CHANNEL_RELEASED, "", CHANNEL_RELEASED, ""},
	{CHANNEL_RELEASED, END, 0, CHANNEL_RELEASED, "U", CHANNEL_RELEASED, ""},

	{CHANNEL_CLOSED, OPEN, 0, CHANNEL_OPEN, "O", CHANNEL_OPEN, ""},
	{CHANNEL_CLOSED, CLOSE, NOT, CHANNEL_CLOSED, "", CHANNEL_CLOSED, ""},
	{CHANNEL_CLOSED, HEADER, 0, CHANNEL_CLOSED, "C", CHANNEL_CLOSED, ""},
	{CHANNEL_CLOSED, TEARDOWN, 0, CHANNEL_CLOSED, "T", CHANNEL_CLOSED, ""},
	{CHANNEL_CLOSED, MODIFY, NOT, CHANNEL_CLOSED, "m", CHANNEL_CLOSED, ""},
	{CHANNEL_CLOSED, RELID, 0, CHANNEL_RELEASED, "", CHANNEL_RELEASED, ""},
	{CHANNEL_CLOSED, REVOKE, 0, CHANNEL_REVOKED, "R", CHANNEL_REVOKED, ""},
	{CHANNEL_CLOSED, OFFER, -EEXIST, CHANNEL_CLOSED, "", CHANNEL_CLOSED, ""},
	{CHANNEL_CLOSED, END, 0, CHANNEL_RELEASED, "U", CHANNEL_RELEASED, ""},

	{CHANNEL_OPEN, OPEN, NOT, CHANNEL_OPEN, "", CHANNEL_OPEN, ""},
	{CHANNEL_OPEN, CLOSE, 0, CHANNEL_CLOSING, "", CHANNEL_CLOSED, ""},
	{CHANNEL_OPEN, HEADER, 0, CHANNEL_OPEN, "C", CHANNEL_OPEN, ""},
	{CHANNEL_OPEN, TEARDOWN, 0, CHANNEL_OPEN, "", CHANNEL_OPEN, ""},
	{CHANNEL_OPEN, MODIFY, 0, CHANNEL_OPEN, "M", CHANNEL_OPEN, ""},
	{CHANNEL_OPEN, RELID, NOT, CHANNEL_OPEN, "", CHANNEL_OPEN, ""},
	{CHANNEL_OPEN, REVOKE, 0, CHANNEL_REVOKING, "", CHANNEL_REVOKED, "R"},
	{CHANNEL_OPEN, OFFER, -EEXIST, CHANNEL_OPEN, "", CHANNEL_OPEN, ""},
	{CHANNEL_OPEN, END, 0, CHANNEL_RELEASING, "", CHANNEL_RELEASED, "U"},

	{CHANNEL_CLOSING, OPEN, 0, CHANNEL_REOPENING, "", CHANNEL_OPEN, "O"},
	{CHANNEL_CLOSING, CLOSE, NOT, CHANNEL_CLOSING, "", CHANNEL_CLOSED, ""},
	{CHANNEL_CLOSING, HEADER, 0, CHANNEL_CLOSING, "C", CHANNEL_CLOSED, ""},
	{CHANNEL_CLOSING, TEARDOWN, 0, CHANNEL_CLOSING, "", CHANNEL_CLOSED, "T"},
	{CHANNEL_CLOSING, MODIFY, NOT, CHANNEL_CLOSING, "m", CHANNEL_CLOSED, ""},
	{CHANNEL_CLOSING, RELID, 0, CHANNEL_RELEASING, "", CHANNEL_RELEASED, ""},
	{CHANNEL_CLOSING, REVOKE, 0, CHANNEL_REVOKING, "", CHANNEL_REVOKED, "R"},
	{CHANNEL_CLOSING, OFFER, -EEXIST, CHANNEL_CLOSING, "", CHANNEL_CLOSED, ""},
	{CHANNEL_CLOSING, END, 0, CHANNEL_RELEASING, "", CHANNEL_RELEASED, "U"},

	{CHANNEL_REOPENING, OPEN, NOT, CHANNEL_REOPENING, "", CHANNEL_OPEN, "O"},
	{CHANNEL_REOPENING, CLOSE, NOT, CHANNEL_REOPENING, "", CHANNEL_OPEN, "O"},
	{CHANNEL_REOPENING, HEADER, 0, CHANNEL_REOPENING, "C", CHANNEL_OPEN, "O"},
	{CHANNEL_REOPENING, TEARDOWN, 0, CHANNEL_REOPENING, "", CHANNEL_CLOSED, "FT"},
	{CHANNEL_REOPENING, MODIFY, NOT, CHANNEL_REOPENING, "m", CHANNEL_OPEN, "O"},
	{CHANNEL_REOPENING, RELID, NOT, CHANNEL_REOPENING, "", CHANNEL_OPEN, "O"},
	{CHANNEL_REOPENING, REVOKE, 0, CHANNEL_REVOKING, "", CHANNEL_REVOKED, "R"},
	{CHANNEL_REOPENING, OFFER, -EEXIST, CHANNEL_REOPENING, "", CHANNEL_OPEN, "O"},
	{CHANNEL_REOPENING, END, 0, CHANNEL_RELEASING, "", CHANNEL_RELEASED, "U"},

	{CHANNEL_RELEASING, OPEN, BAD, CHANNEL_RELEASING, "", CHANNEL_RELEASED, ""},
	{CHANNEL_RELEASING, CLOSE, BAD, CHANNEL_RELEASING, "", CHANNEL_RELEASED, ""},
	{CHANNEL_RELEASING, HEADER, BAD, CHANNEL_RELEASING, "c", CHANNEL_RELEASED, ""},
	{CHANNEL_RELEASING, TEARDOWN, BAD, CHANNEL_RELEASING, "", CHANNEL_RELEASED, ""},
	{CHANNEL_RELEASING, MODIFY, BAD, CHANNEL_RELEASING, "m", CHANNEL_RELEASED, ""},
	{CHANNEL_RELEASING, RELID, BAD, CHANNEL_RELEASING, "", CHANNEL_RELEASED, ""},
	{CHANNEL_RELEASING, REVOKE, 0, CHANNEL_DELETING, "", GONE, ""},
	{CHANNEL_RELEASING, OFFER, -EEXIST, CHANNEL_RELEASING, "", CHANNEL_RELEASED, ""},
	{CHANNEL_RELEASING, END, 0, CHANNEL_RELEASING, "", CHANNEL_RELEASED, "U"},

	{CHANNEL_REVOKING, OPEN, 0, CHANNEL_REVOKING, "", CHANNEL_REVOKED, "R"},
	{CHANNEL_REVOKING, CLOSE, 0, CHANNEL_REVOKING, "", CHANNEL_REVOKED, "R"},
	{CHANNEL_REVOKING, HEADER, 0, CHANNEL_REVOKING, "C", CHANNEL_REVOKED, "R"},
	{CHANNEL_REVOKING, TEARDOWN, 0, CHANNEL_REVOKING, "", CHANNEL_REVOKED, "TR"},
	{CHANNEL_REVOKING, MODIFY, NOT, CHANNEL_REVOKING, "m", CHANNEL_REVOKED, "R"},
	{CHANNEL_REVOKING, RELID, 0, CHANNEL_DELETING, "", GONE, ""},
	{CHANNEL_REVOKING, REVOKE, 0, CHANNEL_REVOKING, "", CHANNEL_REVOKED, "R"},
	{CHANNEL_REVOKING, OFFER, 0, CHANNEL_REVOKING, "", CHANNEL_REVOKED, "R"},
	{CHANNEL_REVOKING, END, 0, CHANNEL_DELETING, "", GONE, "U"},

	{CHANNEL_REVOKED, OPEN, 0, CHANNEL_REVOKED, "", CHANNEL_REVOKED, ""},
	{CHANNEL_REVOKED, CLOSE, 0, CHANNEL_REVOKED, "", CHANNEL_REVOKED, ""},
	{CHANNEL_REVOKED, HEADER, 0, CHANNEL_REVOKED, "C", CHANNEL_REVOKED, ""},
	{CHANNEL_REVOKED, TEARDOWN, 0, CHANNEL_REVOKED, "T", CHANNEL_REVOKED, ""},
	{CHANNEL_REVOKED, MODIFY, NOT, CHANNEL_REVOKED, "m", CHANNEL_REVOKED, ""},
	{CHANNEL_REVOKED, RELID, 0, GONE, "", GONE, ""},
	{CHANNEL_REVOKED, REVOKE, 0, CHANNEL_REVOKED, "", CHANNEL_REVOKED, ""},
	{CHANNEL_REVOKED, OFFER, 0, CHANNEL_REVOKED, "", CHANNEL_REVOKED, ""},
	{CHANNEL_REVOKED, END, 0, GONE, "U", GONE, ""},

	{CHANNEL_DELETING, OPEN, BAD, CHANNEL_DELETING, "", GONE, ""},
	{CHANNEL_DELETING, CLOSE, BAD, CHANNEL_DELETING, "", GONE, ""},
	{CHANNEL_DELETING, HEADER, BAD, CHANNEL_DELETING, "c", GONE, ""},
	{CHANNEL_DELETING, TEARDOWN, BAD, CHANNEL_DELETING, "", GONE, ""},
	{CHANNEL_DELETING, MODIFY, BAD, CHANNEL_DELETING, "m", GONE, ""},
	{CHANNEL_DELETING, RELID, BAD, CHANNEL_DELETING, "", GONE, ""},
	{CHANNEL_DELETING, REVOKE, 0, CHANNEL_DELETING, "", GONE, ""},
	{CHANNEL_DELETING, OFFER, 0, CHANNEL_DELETING, "", GONE, "N"},
	{CHANNEL_DELETING, END, 0, CHANNEL_DELETING, "", GONE, "U"},
};

static struct mock m;
static struct mock_device device, again;

/* Brings channel 1, with ring GPADL 1, into the state; the device is slow. */
static void reach(enum channel_state state)
{
	bool opened =
		state != CHANNEL_RELEASED && state != CHANNEL_CLOSED && state != CHANNEL_REVOKED;

	mock_init(&m);
	memset(&device, 0, sizeof(device));
	memset(&again, 0, sizeof(again));
	device.stop_result = -EINPROGRESS;
	cr_assert_eq(mock_offer(&m, &device, 1, NULL), 0);
	mock_connect(&m, VMBUS_V5_3);
	cr_assert_eq(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS), 0);
	cr_assert_eq(mock_gpadl(&m, 1, 1, MOCK_RING_PFN, MOCK_RING_PAGES), 0);
	if (opened)
		cr_assert_eq(mock_open(&m, 1, 1, 0), 0);
	if (state == CHANNEL_CLOSING || state == CHANNEL_REOPENING || state == CHANNEL_RELEASING ||
	    state == CHANNEL_DELETING)
		cr_assert_eq(mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, 1), 0);
	if (state == CHANNEL_REOPENING)
		cr_assert_eq(mock_open(&m, 1, 1, 0), 0);
	if (state == CHANNEL_RELEASED || state == CHANNEL_RELEASING || state == CHANNEL_DELETING)
		cr_assert_eq(mock_channel(&m, VMBUS_MSG_RELID_RELEASED, 1), 0);
	if (state == CHANNEL_REVOKING || state == CHANNEL_REVOKED || state == CHANNEL_DELETING)
		vmbus_channel_revoke(device.channel);
	mock_run(&m);
	cr_assert_eq(device.channel->state, state);
	m.inbox_read = m.inbox_count;
}

static int end(unsigned int how)
{
	if (how == 0)
		return mock_simple(&m, VMBUS_MSG_UNLOAD);
	if (how == 1)
		return mock_contact(&m, VMBUS_V4_0);
	mock_reset(&m);
	return 0;
}

static int happen(enum event event, unsigned int how)
{
	switch (event) {
	case OPEN:
		return mock_open(&m, 1, 1, 0);
	case CLOSE:
		return mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, 1);
	case HEADER:
		return mock_gpadl(&m, 1, 2, 100, 1);
	case TEARDOWN:
		return mock_teardown(&m, 1, 1);
	case MODIFY:
		return mock_modify(&m, 1, 3);
	case RELID:
		return mock_channel(&m, VMBUS_MSG_RELID_RELEASED, 1);
	case REVOKE:
		vmbus_channel_revoke(device.channel);
		return 0;
	case OFFER:
		return mock_offer(&m, &again, 1, NULL);
	case END:
	case EVENTS:
		break;
	}
	return end(how);
}

static char letter(const struct mock_message *in)
{
	switch (in->u.header.type) {
	case VMBUS_MSG_OPEN_RESULT:
		return in->u.open_result.status ? 'F' : 'O';
	case VMBUS_MSG_GPADL_CREATED:
		return in->u.created.status ? 'c' : 'C';
	case VMBUS_MSG_MODIFY_CHANNEL_RESPONSE:
		return in->u.modified.status ? 'm' : 'M';
	case VMBUS_MSG_GPADL_TORNDOWN:
		return 'T';
	case VMBUS_MSG_RESCIND_OFFER:
		return 'R';
	case VMBUS_MSG_OFFER:
		return 'N';
	case VMBUS_MSG_UNLOAD_COMPLETE:
	case VMBUS_MSG_VERSION_RESPONSE:
		return 'U';
	default:
		return '?';
	}
}

static void check(const struct row *row, unsigned int how, const char *when,
		  enum channel_state state, const char *told)
{
	enum channel_state is = device.releases ? GONE : device.channel->state;
	const struct mock_message *in;
	char got[16];
	size_t n = 0;

	while ((in = mock_next(&m)) && n < sizeof(got) - 1)
		got[n++] = letter(in);
	got[n] = '\0';
	if (row->event == END && how == 2)
		told = "";
	cr_expect_str_eq(got, told, "%s, %s (%u), %s", vmbus_channel_states[row->from].name,
			 event_names[row->event], how, when);
	cr_expect_eq(is, state, "%s, %s (%u), %s: %d", vmbus_channel_states[row->from].name,
		     event_names[row->event], how, when, is);
}

static void row_try(const struct row *row, unsigned int how)
{
	int ret;

	reach(row->from);
	ret = happen(row->event, how);
	cr_expect_eq(ret, row->ret, "%s, %s: %d", vmbus_channel_states[row->from].name,
		     event_names[row->event], ret);
	mock_run(&m);
	check(row, how, "at once", row->to, row->told);
	device.stop_result = 0;
	mock_run(&m);
	check(row, how, "then", row->then, row->told_then);
	mock_check_settled(&m);
	mock_fini(&m);
	cr_expect_eq(device.opens, device.closes);
	cr_expect_eq(device.releases, 1);
}

/* A message that names a channel is an event above. */
static bool message_tried(uint32_t type)
{
	static const uint32_t tried[] = {
		[OPEN] = VMBUS_MSG_OPEN_CHANNEL,       [CLOSE] = VMBUS_MSG_CLOSE_CHANNEL,
		[HEADER] = VMBUS_MSG_GPADL_HEADER,     [TEARDOWN] = VMBUS_MSG_GPADL_TEARDOWN,
		[MODIFY] = VMBUS_MSG_MODIFY_CHANNEL,   [RELID] = VMBUS_MSG_RELID_RELEASED,
	};

	for (size_t i = 0; i < sizeof(tried) / sizeof(tried[0]); i++)
		if (tried[i] == type)
			return true;
	return false;
}

Test(channel, every_event_in_every_state)
{
	unsigned int seen[CHANNEL_STATES] = {0};

	for (uint32_t type = 0; type < VMBUS_MSG_COUNT; type++)
		if (vmbus_message_type(type) && vmbus_message_type(type)->channel_states)
			cr_expect(message_tried(type), "%s", vmbus_message_name(type));

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		seen[rows[i].from] |= 1u << rows[i].event;
		for (unsigned int how = 0; how < (rows[i].event == END ? 3 : 1); how++)
			row_try(&rows[i], how);
	}
	for (int state = 0; state < CHANNEL_STATES; state++)
		cr_expect_eq(seen[state], (1u << EVENTS) - 1, "%s",
			     vmbus_channel_states[state].name);
}

Test(channel, a_revoked_one_is_offered_again_when_the_guest_lets_go)
{
	struct mock_device third = {0};

	reach(CHANNEL_REVOKED);
	cr_expect_eq(mock_offer(&m, &again, 1, NULL), 0);
	cr_expect_eq(mock_offer(&m, &third, 1, NULL), -EEXIST);
	mock_expect_none(&m);
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_RELID_RELEASED, 1), 0);
	cr_expect_eq(device.releases, 1);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_OFFER)->u.offer.channel_id, 1);
	cr_expect_eq(vmbus_channel_id(again.channel), 1);
	/* taken back before it was offered: nobody hears of it */
	vmbus_channel_revoke(again.channel);
	mock_expect(&m, VMBUS_MSG_RESCIND_OFFER);
	cr_expect_eq(mock_offer(&m, &third, 1, NULL), 0);
	vmbus_channel_revoke(third.channel);
	cr_expect_eq(third.releases, 1);
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_RELID_RELEASED, 1), 0);
	mock_expect_none(&m);
	mock_fini(&m);
}

Test(channel, an_id_is_not_used_again_before_the_guest_has_released_it)
{
	struct mock_device other = {0};

	reach(CHANNEL_REVOKED);
	cr_assert_eq(mock_offer(&m, &other, 2, NULL), 0);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_OFFER)->u.offer.channel_id, 2);
	cr_expect_eq(mock_channel(&m, VMBUS_MSG_RELID_RELEASED, 1), 0);
	cr_assert_eq(mock_offer(&m, &again, 3, NULL), 0);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_OFFER)->u.offer.channel_id, 1);
	mock_fini(&m);
}

Test(channel, a_device_may_take_its_channel_back_when_it_closes)
{
	reach(CHANNEL_CLOSING);
	device.revoke_in_closed = true;
	device.stop_result = 0;
	mock_run(&m);
	mock_expect(&m, VMBUS_MSG_RESCIND_OFFER);
	cr_expect_eq(device.channel->state, CHANNEL_REVOKED);
	mock_fini(&m);
}

/* Lines of /proc/self/maps: a ring is mapped in pieces of its own. */
static unsigned int mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned int lines = 0;
	int c;

	cr_assert_not_null(maps);
	while ((c = getc(maps)) != EOF)
		lines += c == '\n';
	(void)fclose(maps);
	return lines;
}

static void open_and_close(void)
{
	(void)mock_open(&m, 1, 1, 0);
	mock_run(&m);
	(void)mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, 1);
	mock_run(&m);
}

Test(channel, rings_are_mapped_while_they_are_open_and_no_longer)
{
	unsigned int before;

	reach(CHANNEL_CLOSED);
	device.stop_result = 0;
	open_and_close();
	before = mappings();
	for (unsigned int i = 0; i < 50; i++) {
		device.open_result = i % 3 == 1 ? -ENOMEM : 0;
		m.doorbell_result = i % 3 == 2 ? -ENOSPC : 0;
		open_and_close();
	}
	((struct vmbus_ring_control *)(void *)(m.ram + 20 * 4096))->in = 12; /* the second ring's */
	for (unsigned int i = 0; i < 50; i++)
		open_and_close();
	cr_expect_lt(mappings(), before + 50);
	mock_fini(&m);
}

Test(channel, no_descriptor_left_fails_that_open_alone)
{
	struct rlimit old, none;

	reach(CHANNEL_CLOSED);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 0;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	cr_expect_eq(mock_open(&m, 1, 1, 0), 0);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	cr_expect_neq(mock_expect(&m, VMBUS_MSG_OPEN_RESULT)->u.open_result.status, 0);
	cr_expect_eq(device.opens, 0);
	device.stop_result = 0;
	cr_expect_eq(mock_open(&m, 1, 1, 0), 0);
	cr_expect_eq(mock_expect(&m, VMBUS_MSG_OPEN_RESULT)->u.open_result.status, 0);
	mock_fini(&m);
}

/* The second OPEN is kept whole. */
Test(channel, a_reopening_is_the_one_that_was_asked_for)
{
	struct vmbus_msg_open open = {.channel_id = 1,
				      .open_id = 77,
				      .ring_gpadl = 1,
				      .target_vp = 3,
				      .downstream_page_offset = 5,
				      .user_defined = "again"};
	const struct mock_message *in;

	reach(CHANNEL_CLOSING);
	cr_expect_eq(mock_send(&m, VMBUS_MSG_OPEN_CHANNEL, &open, VMBUS_OPEN_SIZE_BASE), 0);
	device.stop_result = 0;
	mock_run(&m);
	in = mock_expect(&m, VMBUS_MSG_OPEN_RESULT);
	cr_expect_eq(in->u.open_result.open_id, 77);
	cr_expect_eq(in->u.open_result.status, 0);
	cr_expect_eq(vmbus_channel_target_vp(device.channel), 3);
	cr_expect_eq(device.channel->upstream.size, 4 * 4096);
	cr_expect_str_eq((const char *)vmbus_channel_open_data(device.channel), "again");
	mock_fini(&m);
}

Test(channel, a_device_that_refuses_leaves_nothing_behind)
{
	reach(CHANNEL_CLOSED);
	device.open_result = -ENOMEM;
	cr_expect_eq(mock_open(&m, 1, 1, 0), 0);
	cr_expect_neq(mock_expect(&m, VMBUS_MSG_OPEN_RESULT)->u.open_result.status, 0);
	cr_expect_eq(m.doorbell_count, 0);
	device.open_result = 0;
	m.doorbell_result = -ENOSPC;
	cr_expect_eq(mock_open(&m, 1, 1, 0), 0);
	cr_expect_neq(mock_expect(&m, VMBUS_MSG_OPEN_RESULT)->u.open_result.status, 0);
	cr_expect_eq(device.opens + device.closes, 0);
	m.doorbell_result = 0;
	cr_expect_eq(mock_teardown(&m, 1, 1), 0);
	mock_expect(&m, VMBUS_MSG_GPADL_TORNDOWN);
	mock_fini(&m);
}

static const struct open_row {
	const char *name;
	uint32_t gpadl, vp, offset;
	int fault;
} open_rows[] = {
	{"no such GPADL", 9, 0, 4, VMBUS_FAULT_BAD_GPADL},
	{"two ranges", 2, 0, 4, VMBUS_FAULT_BAD_RING},
	{"odd length", 3, 0, 4, VMBUS_FAULT_BAD_RING},
	{"odd offset", 4, 0, 4, VMBUS_FAULT_BAD_RING},
	{"three pages", 5, 0, 2, VMBUS_FAULT_BAD_RING},
	{"one page", 7, 0, 2, VMBUS_FAULT_BAD_RING},
	{"upstream ring of one page", 1, 0, 1, VMBUS_FAULT_BAD_RING},
	{"downstream ring of one page", 1, 0, 7, VMBUS_FAULT_BAD_RING},
	{"offset at the end", 1, 0, 8, VMBUS_FAULT_BAD_RING},
	{"offset past the end", 1, 0, UINT32_MAX, VMBUS_FAULT_BAD_RING},
	{"no such VP", 1, 4, 4, VMBUS_FAULT_BAD_VP},
	{"another channel's GPADL", 6, 0, 4, VMBUS_FAULT_BAD_GPADL},
	{"read-only memory", 8, 0, 4, VMBUS_FAULT_BAD_GPA},
	{"smallest rings", 10, 0, 2, 0},
	{"smallest upstream ring", 1, 0, 2, 0},
	{"smallest downstream ring", 1, 3, 6, 0},
	{"no interrupts", 1, VMBUS_VP_NONE, 4, 0},
};

static int range(uint32_t handle, uint16_t count, const uint64_t *words, uint16_t n)
{
	struct {
		struct vmbus_msg_gpadl_header h;
		uint64_t words[16];
	} VMBUS_PACKED msg = {.h = {.channel_id = 1,
				    .gpadl = handle,
				    .range_buflen = (uint16_t)(8 * n),
				    .range_count = count}};

	memcpy(msg.words, words, n * 8u);
	return mock_send(&m, VMBUS_MSG_GPADL_HEADER, &msg, sizeof(msg.h) + n * 8u);
}

Test(channel, every_field_of_an_open_is_checked)
{
	/* each but for one thing as it should be */
	static const uint64_t two[] = {8 * 4096, 20, 21, 22, 23, 24, 25, 26, 27, 4096, 28};
	static const uint64_t odd[] = {8 * 4096 - 8, 20, 21, 22, 23, 24, 25, 26, 27};
	static const uint64_t moved[] = {8 * 4096 | 8ull << 32, 20, 21, 22, 23, 24, 25, 26, 27, 28};
	static const uint64_t three[] = {3 * 4096, 20, 21, 22}, one[] = {4096, 20};
	static const uint64_t four[] = {4 * 4096, 20, 21, 22, 23};
	static uint8_t rom[8 * 4096] __attribute__((aligned(4096)));
	struct vmbus_region region = VMBUS_REGION_INIT;
	struct mock_device other = {0};

	reach(CHANNEL_CLOSED);
	cr_assert_eq(mock_offer(&m, &other, 2, NULL), 0);
	region.gpa = 1ull << 32;
	region.len = sizeof(rom);
	region.host = rom;
	region.flags = VMBUS_REGION_READONLY;
	cr_assert_eq(vmbus_mem_add(m.mem, &region), 0);
	cr_assert_eq(range(2, 2, two, 11), 0);
	cr_assert_eq(range(3, 1, odd, 9), 0);
	cr_assert_eq(range(4, 1, moved, 10), 0);
	cr_assert_eq(range(5, 1, three, 4), 0);
	cr_assert_eq(range(7, 1, one, 2), 0);
	cr_assert_eq(mock_gpadl(&m, 1, 8, region.gpa >> VMBUS_PAGE_SHIFT, 8), 0);
	cr_assert_eq(range(10, 1, four, 5), 0);
	cr_assert_eq(mock_gpadl(&m, 2, 6, MOCK_RING_PFN, MOCK_RING_PAGES), 0);
	m.inbox_read = m.inbox_count;
	device.stop_result = 0;
	for (size_t i = 0; i < sizeof(open_rows) / sizeof(open_rows[0]); i++) {
		const struct open_row *row = &open_rows[i];
		struct vmbus_msg_open open = {.channel_id = 1,
					      .open_id = 77,
					      .ring_gpadl = row->gpadl,
					      .target_vp = row->vp,
					      .downstream_page_offset = row->offset};
		const struct mock_message *in;

		cr_expect_eq(mock_send(&m, VMBUS_MSG_OPEN_CHANNEL, &open, VMBUS_OPEN_SIZE_BASE),
			     row->fault, "%s", row->name);
		in = mock_expect(&m, VMBUS_MSG_OPEN_RESULT);
		cr_expect_eq(in->u.open_result.open_id, 77);
		cr_expect_eq(in->u.open_result.status != 0, row->fault != 0, "%s", row->name);
		if (!row->fault)
			cr_expect_eq(mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, 1), 0);
		mock_run(&m);
		cr_expect_eq(device.channel->state, CHANNEL_CLOSED, "%s", row->name);
	}
	mock_fini(&m);
}

Test(channel, ring_indices_are_checked_at_open)
{
	struct vmbus_ring_control *upstream, *downstream;

	reach(CHANNEL_CLOSED);
	upstream = (void *)(m.ram + MOCK_RING_PFN * VMBUS_PAGE_SIZE);
	downstream = (void *)(m.ram + (MOCK_RING_PFN + MOCK_RING_PAGES / 2) * VMBUS_PAGE_SIZE);
	upstream->in = 3 * 4096;
	cr_expect_eq(mock_open(&m, 1, 1, 0), VMBUS_FAULT_BAD_INDEX);
	upstream->in = 0;
	downstream->out = 4;
	cr_expect_eq(mock_open(&m, 1, 1, 0), VMBUS_FAULT_BAD_INDEX);
	downstream->out = 0;
	device.stop_result = 0;
	cr_expect_eq(mock_open(&m, 1, 1, 0), 0);
	mock_fini(&m);
}
