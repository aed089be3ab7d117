/* SPDX-License-Identifier: MIT */
#include <string.h>

#include <criterion/criterion.h>

#include "nvsp.h"

static uint32_t calls_receive, calls_send, calls_revoke, calls_sub, granted_limit;

static int fake_receive(void *opaque, uint32_t gpadl, uint16_t id, uint32_t mtu,
			struct vsp_nvsp_recv_buf_complete *layout)
{
	(void)opaque;
	(void)id;
	(void)mtu;
	calls_receive++;
	layout->slot_size = 1728;
	layout->slots = 9;
	layout->end = 9 * 1728;
	return gpadl == 666;
}

static int fake_send(void *opaque, uint32_t gpadl)
{
	(void)opaque;
	calls_send++;
	return gpadl == 666;
}

static void fake_revoke(void *opaque, bool receive)
{
	(void)opaque;
	(void)receive;
	calls_revoke++;
}

static uint32_t fake_subs(void *opaque, uint32_t count)
{
	(void)opaque;
	calls_sub++;
	return count < granted_limit ? count : granted_limit;
}

static const struct vsp_nvsp_ops ops = {fake_receive, fake_send, fake_revoke, fake_subs};

static void fresh(struct vsp_nvsp *n)
{
	memset(n, 0, sizeof(*n));
	n->ops = &ops;
	n->max_version = VSP_NVSP_V61;
	vsp_nvsp_reset(n);
	calls_receive = calls_send = calls_revoke = calls_sub = 0;
	granted_limit = 7;
}

/* Sends words behind a type; returns the fault. */
static int say(struct vsp_nvsp *n, struct vsp_nvsp_reply *r, uint32_t type, uint32_t a, uint32_t b,
	       uint32_t c, uint32_t d)
{
	const uint32_t words[10] = {type, a, b, c, d};

	return vsp_nvsp_message(n, words, sizeof(words), false, r);
}

static void to_setup(struct vsp_nvsp *n, uint32_t version)
{
	struct vsp_nvsp_reply r;

	fresh(n);
	cr_assert_eq(say(n, &r, VSP_NVSP_INIT, version, version, 0, 0), 0);
	cr_assert_eq(r.message.u.init_complete.status, VSP_NVSP_STATUS_SUCCESS);
}

static void to_ready(struct vsp_nvsp *n, uint32_t version)
{
	struct vsp_nvsp_reply r;

	to_setup(n, version);
	if (version >= VSP_NVSP_V2)
		cr_assert_eq(say(n, &r, VSP_NVSP_NDIS_CONFIG, 1514, 0, 0x28, 0), 0);
	cr_assert_eq(say(n, &r, VSP_NVSP_NDIS_VERSION, 6, 30, 0, 0), 0);
	cr_assert_eq(say(n, &r, VSP_NVSP_RECV_BUF, 1, 0xcafe, 0, 0), 0);
	cr_assert_eq(n->state, VSP_NVSP_STATE_READY);
}

Test(nvsp, version_ladder_ends_at_the_newest_the_host_was_allowed)
{
	static const uint32_t ladder[] = {0x00070000, VSP_NVSP_V61, VSP_NVSP_V6, VSP_NVSP_V5,
					  VSP_NVSP_V4, 0x00030001, VSP_NVSP_V2, VSP_NVSP_V1};
	static const uint32_t limits[] = {VSP_NVSP_V61, VSP_NVSP_V6, VSP_NVSP_V5,
					  VSP_NVSP_V4, VSP_NVSP_V2, VSP_NVSP_V1};
	struct vsp_nvsp_reply r;
	struct vsp_nvsp n;

	for (size_t l = 0; l < 6; l++) {
		fresh(&n);
		n.max_version = limits[l];
		for (size_t i = 0; i < 8 && !n.version; i++) {
			cr_expect_eq(say(&n, &r, VSP_NVSP_INIT, ladder[i], ladder[i], 0, 0), 0);
			cr_expect_eq(r.len, VSP_NVSP_SIZE, "Linux refuses a shorter one");
			cr_expect_eq(r.message.type, VSP_NVSP_INIT_COMPLETE);
			cr_expect_eq(r.message.u.init_complete.status, n.version ? 1u : 0u);
		}
		cr_expect_eq(n.version, limits[l], "limit %#x", limits[l]);
	}
}

Test(nvsp, every_order_of_the_set_up_gets_ready_but_buffer_before_config)
{
	/* 1 config, 2 version, 3 receive, 4 send */
	static const struct {
		const char *who;
		uint8_t order[5];
		bool ready;
	} rows[] = {
		{"Linux", {1, 2, 3, 4}, true},        {"version first", {2, 1, 3, 4}, true},
		{"UEFI", {1, 2, 3}, true},            {"send first", {4, 1, 2, 3}, true},
		{"version last", {1, 3, 4, 2}, true}, {"no config", {2, 3, 4}, false},
		{"no version", {1, 3, 4}, false},     {"late config", {2, 3, 1}, false},
	};
	struct vsp_nvsp_reply r;
	struct vsp_nvsp n;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		to_setup(&n, VSP_NVSP_V5);
		for (const uint8_t *step = rows[i].order; *step; step++)
			(void)(*step == 1   ? say(&n, &r, VSP_NVSP_NDIS_CONFIG, 1514, 0, 0, 0)
			       : *step == 2 ? say(&n, &r, VSP_NVSP_NDIS_VERSION, 6, 30, 0, 0)
			       : *step == 3 ? say(&n, &r, VSP_NVSP_RECV_BUF, 1, 0xcafe, 0, 0)
					    : say(&n, &r, VSP_NVSP_SEND_BUF, 2, 0, 0, 0));
		cr_expect_eq(n.state == VSP_NVSP_STATE_READY, rows[i].ready, "%s", rows[i].who);
	}
}

Test(nvsp, answers_have_the_length_of_the_version_and_echo_nothing)
{
	static const struct {
		uint32_t version, size;
	} rows[] = {{VSP_NVSP_V1, 28}, {VSP_NVSP_V5, 28}, {VSP_NVSP_V6, 28}, {VSP_NVSP_V61, 40}};
	struct vsp_nvsp_reply r;
	struct vsp_nvsp n;

	for (size_t i = 0; i < 4; i++) {
		to_setup(&n, rows[i].version);
		say(&n, &r, VSP_NVSP_NDIS_CONFIG, 1514, 0, 0, 0);
		cr_expect_eq(say(&n, &r, VSP_NVSP_RECV_BUF, 1, 0xcafe, 0, 0), 0);
		cr_expect_eq(r.len, rows[i].size);
		cr_expect_eq(r.message.type, VSP_NVSP_RECV_BUF_COMPLETE);
		cr_expect_eq(r.message.u.recv_buf_complete.sections, 1);
		cr_expect_eq(r.message.u.recv_buf_complete.slot_size, 1728);
		cr_expect_eq(say(&n, &r, VSP_NVSP_SEND_BUF, 2, 0, 0, 0), 0);
		cr_expect_eq(r.message.u.send_buf_complete.section_size, VSP_NVSP_SECTION_SIZE);
	}
}

/* The rules once more, as the protocol says them: what a guest may send, when, and how long it
 * is at least; what answers it, where in that the status stands, and what says "no". */
#define IN(state) (1u << VSP_NVSP_STATE_##state)
#define LATER (IN(SETUP) | IN(READY) | IN(REVOKED))
static const struct rule {
	uint32_t type, version, states, need, answer, status_word, failure;
} rules[] = {
	{1, VSP_NVSP_V1, IN(WAIT), 12, 2, 2, 2},               /* INIT */
	{100, VSP_NVSP_V1, IN(SETUP), 12, 0, 0, 0},            /* NDIS version */
	{101, VSP_NVSP_V1, IN(SETUP) | IN(REVOKED), 10, 102, 0, 2}, /* receive buffer */
	{103, VSP_NVSP_V1, LATER, 6, 0, 0, 0},                 /* its end */
	{104, VSP_NVSP_V1, IN(SETUP) | IN(READY), 10, 105, 0, 2}, /* send buffer */
	{106, VSP_NVSP_V1, LATER, 6, 0, 0, 0},
	{125, VSP_NVSP_V2, IN(SETUP), 20, 0, 0, 0},            /* NDIS config */
	{129, VSP_NVSP_V4, LATER, 8, 0, 0, 0},                 /* switch of the data path */
	{131, VSP_NVSP_V5, LATER, 12, 132, 0, 0xc00000bb},     /* OID query */
	{133, VSP_NVSP_V5, IN(READY), 12, 133, 0, 2},          /* sub-channels */
};
static const uint32_t versions[] = {VSP_NVSP_V1, VSP_NVSP_V2, VSP_NVSP_V4,
				    VSP_NVSP_V5, VSP_NVSP_V6, VSP_NVSP_V61};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct rule *rule_of(uint32_t type)
{
	for (size_t i = 0; i < COUNT(rules); i++)
		if (rules[i].type == type)
			return &rules[i];
	return NULL;
}

/* Answers, and what only hosts send. */
static bool is_hosts(uint32_t type)
{
	return type == 2 || type == 102 || type == 105 || type == 128 || type == 130 || type == 132 ||
	       type == 134;
}

static int fault_of(const struct vsp_nvsp *n, uint32_t type, uint32_t len, bool sub)
{
	const struct rule *rule = rule_of(type);

	if (len < 4)
		return VMBUS_FAULT_TRUNCATED;
	if (!rule)
		return is_hosts(type) ? VMBUS_FAULT_WRONG_DIRECTION : VMBUS_FAULT_UNKNOWN_TYPE;
	if (type != 1 && n->version && rule->version > n->version)
		return VMBUS_FAULT_WRONG_VERSION;
	if (sub || !(rule->states & 1u << n->state))
		return VMBUS_FAULT_WRONG_STATE;
	return len < rule->need ? VMBUS_FAULT_TRUNCATED : VMBUS_FAULT_NONE;
}

static void to_state(struct vsp_nvsp *n, uint32_t version, enum vsp_nvsp_state state)
{
	struct vsp_nvsp_reply r;

	if (state == VSP_NVSP_STATE_WAIT) {
		fresh(n);
	} else if (state == VSP_NVSP_STATE_SETUP) {
		to_setup(n, version);
	} else {
		to_ready(n, version);
		if (state == VSP_NVSP_STATE_REVOKED)
			cr_assert_eq(say(n, &r, VSP_NVSP_REVOKE_RECV_BUF, 0xcafe, 0, 0, 0), 0);
	}
	cr_assert_eq(n->state, state);
	calls_receive = calls_send = calls_revoke = calls_sub = 0;
}

/* One message in a state: a fault answers in its own form and changes nothing. */
static void message_check(const struct vsp_nvsp *at, const uint32_t *words, uint32_t len, bool sub)
{
	const struct rule *rule = len < 4 ? NULL : rule_of(words[0]);
	struct vsp_nvsp n = *at;
	struct vsp_nvsp_reply r;
	uint32_t value;
	int expected = fault_of(at, words[0], len, sub), fault;

	calls_receive = calls_send = calls_revoke = calls_sub = 0;
	fault = vsp_nvsp_message(&n, words, len, sub, &r);
	if (expected)
		cr_expect_eq(fault, expected, "type %u, %u bytes, state %d, version %#x, sub %d: %d",
			     words[0], len, (int)at->state, at->version, sub, fault);
	cr_expect_eq(r.len, rule && rule->answer ? (words[0] == 1 || at->version < VSP_NVSP_V61 ? 28 : 40) : 0,
		     "type %u, %u bytes: %u", words[0], len, r.len);
	if (!fault)
		return;
	cr_expect_eq(memcmp(&n, at, sizeof(n)), 0, "type %u, %u bytes, state %d", words[0], len,
		     (int)at->state);
	if (expected)
		cr_expect_eq(calls_receive + calls_send + calls_revoke + calls_sub, 0);
	if (!rule || !rule->answer)
		return;
	cr_expect_eq(r.message.type, rule->answer);
	memcpy(&value, r.message.u.bytes + rule->status_word * 4, 4);
	cr_expect_eq(value, rule->failure, "type %u, %u bytes: status %#x", words[0], len, value);
}

Test(nvsp, messages_of_every_type_length_state_and_version_fail_alone)
{
	struct vsp_nvsp n;

	for (size_t i = 0; i < COUNT(versions) * 4 * 2; i++) {
		enum vsp_nvsp_state state = (enum vsp_nvsp_state)(i / 2 % 4);

		to_state(&n, versions[i / 8], state);
		for (uint32_t type = 0; type < 145; type++) {
			uint32_t words[20] = {type < 140 ? type : 1u << (type - 140) * 6 << 7, 1, 1, 1, 1, 1};

			for (uint32_t len = 0; len <= sizeof(words); len++)
				message_check(&n, words, len, i % 2);
		}
	}
}

/* What is right is taken at its shortest, and its answer is right in every byte. */
Test(nvsp, right_messages_of_the_least_length_are_answered_exactly)
{
	static const struct {
		uint32_t version, state, words[6], answer[10];
	} rows[] = {
		{0, VSP_NVSP_STATE_WAIT, {1, VSP_NVSP_V1, VSP_NVSP_V1}, {2, 2, 34, 1}},
		{0, VSP_NVSP_STATE_WAIT, {1, VSP_NVSP_V61, VSP_NVSP_V61}, {2, 0xffffffff, 34, 1}},
		{0, VSP_NVSP_STATE_WAIT, {1, 0x00030003, 0x00030003}, {2, 0xffffffff, 34, 0}},
		{0, VSP_NVSP_STATE_WAIT, {1, VSP_NVSP_V5, VSP_NVSP_V6}, {2, 0xffffffff, 34, 0}},
		{VSP_NVSP_V1, VSP_NVSP_STATE_SETUP, {100, 5, 1}, {0}},
		{VSP_NVSP_V1, VSP_NVSP_STATE_SETUP, {101, 1, 0xcafe}, {102, 1, 1, 0, 1728, 9, 9 * 1728}},
		{VSP_NVSP_V61, VSP_NVSP_STATE_REVOKED, {101, 1, 0xcafe}, {102, 1, 1, 0, 1728, 9, 9 * 1728}},
		{VSP_NVSP_V4, VSP_NVSP_STATE_READY, {103, 0xcafe}, {0}},
		{VSP_NVSP_V2, VSP_NVSP_STATE_READY, {104, 2, 0xface}, {105, 1, 6144}},
		{VSP_NVSP_V2, VSP_NVSP_STATE_SETUP, {125, 1514, 0, 8, 0}, {0}},
		{VSP_NVSP_V4, VSP_NVSP_STATE_READY, {129, 0}, {0}},
		{VSP_NVSP_V61, VSP_NVSP_STATE_READY, {129, 1}, {0}},
		{VSP_NVSP_V5, VSP_NVSP_STATE_READY, {131, 0x000c0196, 0x00010106}, {132, 0xc00000bb, 0}},
		{VSP_NVSP_V5, VSP_NVSP_STATE_READY, {133, 1, 3}, {133, 1, 3}},
	};
	struct vsp_nvsp_reply r;
	struct vsp_nvsp n;

	for (size_t i = 0; i < COUNT(rows); i++) {
		to_state(&n, rows[i].version, rows[i].state);
		cr_expect_eq(vsp_nvsp_message(&n, rows[i].words, rule_of(rows[i].words[0])->need, false, &r), 0,
			     "row %zu", i);
		cr_expect_eq(memcmp(&r.message, rows[i].answer, r.len), 0, "row %zu", i);
		cr_expect_eq(r.len == 0, rows[i].answer[0] == 0, "row %zu", i);
	}
}

/* Long enough and at the right time, but with any of its words at an edge. */
Test(nvsp, messages_with_every_word_at_every_edge_fail_alone)
{
	static const uint32_t edges[] = {0, 1, 2, 15, 16, 1513, 1514, 9216, 9217, 0xcafe, 0xffff, 0x10000,
					 VSP_NVSP_V1, VSP_NVSP_V61, VSP_NVSP_V61 + 1, 0x7fffffff, 0x80000000,
					 0xffffffff};
	struct vsp_nvsp n;

	for (size_t i = 0; i < COUNT(rules) * COUNT(versions) * 4; i++) {
		const struct rule *rule = &rules[i % COUNT(rules)];

		to_state(&n, versions[i / COUNT(rules) / 4], (enum vsp_nvsp_state)(i / COUNT(rules) % 4));
		for (size_t k = 0; k < 4 * COUNT(edges) * COUNT(edges); k++) {
			uint32_t words[10] = {rule->type, 1, 1, 1, 1};

			words[1 + k % 4] = edges[k / 4 % COUNT(edges)];
			words[1 + (k + 1) % 4] = edges[k / 4 / COUNT(edges)];
			message_check(&n, words, sizeof(words), false);
		}
	}
}

Test(nvsp, wrong_type_direction_version_and_state_are_told_apart)
{
	struct vsp_nvsp_reply r;
	struct vsp_nvsp n;

	for (uint32_t type = 0; type < 300; type++) {
		const char *name = vsp_nvsp_name(type);
		int fault;

		fresh(&n);
		fault = say(&n, &r, type, 0, 0, 0, 0);
		if (!name)
			cr_expect_eq(fault, VMBUS_FAULT_UNKNOWN_TYPE, "%u", type);
		else if (type != VSP_NVSP_INIT)
			cr_expect(fault == VMBUS_FAULT_WRONG_STATE || fault == VMBUS_FAULT_WRONG_DIRECTION ||
					  fault == VMBUS_FAULT_UNKNOWN_TYPE, "%s: %d", name, fault);
		cr_expect_eq(n.state, VSP_NVSP_STATE_WAIT, "%u", type);
	}
	to_ready(&n, VSP_NVSP_V4);
	cr_expect_eq(say(&n, &r, VSP_NVSP_SUBCHANNEL, 1, 3, 0, 0), VMBUS_FAULT_WRONG_VERSION);
	cr_expect_eq(say(&n, &r, VSP_NVSP_OID_QUERY_EX, 1, 3, 0, 0), VMBUS_FAULT_WRONG_VERSION);
	cr_expect_eq(say(&n, &r, VSP_NVSP_RECV_BUF_COMPLETE, 1, 1, 0, 0), VMBUS_FAULT_WRONG_DIRECTION);
	cr_expect_eq(say(&n, &r, VSP_NVSP_VF_ASSOCIATION, 1, 1, 0, 0), VMBUS_FAULT_WRONG_DIRECTION);
	to_setup(&n, VSP_NVSP_V1);
	cr_expect_eq(say(&n, &r, VSP_NVSP_NDIS_CONFIG, 1514, 0, 0, 0), VMBUS_FAULT_WRONG_VERSION);
}

Test(nvsp, doubles_and_failures_of_buffers_are_refused_and_can_be_mended)
{
	struct vsp_nvsp_reply r;
	struct vsp_nvsp n;

	to_setup(&n, VSP_NVSP_V61);
	cr_expect_eq(say(&n, &r, VSP_NVSP_INIT, VSP_NVSP_V61, VSP_NVSP_V61, 0, 0), VMBUS_FAULT_WRONG_STATE);
	cr_expect_eq(r.message.u.init_complete.status, VSP_NVSP_STATUS_FAILURE);
	cr_expect_eq(say(&n, &r, VSP_NVSP_RECV_BUF, 1, 1, 0, 0), VMBUS_FAULT_WRONG_STATE, "before config");
	cr_expect_eq(say(&n, &r, VSP_NVSP_NDIS_CONFIG, 9014, 0, 0, 0), 0);
	cr_expect_eq(say(&n, &r, VSP_NVSP_NDIS_CONFIG, 9014, 0, 0, 0), VMBUS_FAULT_WRONG_STATE);
	cr_expect_eq(say(&n, &r, VSP_NVSP_RECV_BUF, 666, 1, 0, 0), VMBUS_FAULT_BAD_GPADL);
	cr_expect_eq(r.message.u.recv_buf_complete.status, VSP_NVSP_STATUS_FAILURE);
	cr_expect_eq(say(&n, &r, VSP_NVSP_RECV_BUF, 1, 0xcafe, 0, 0), 0);
	cr_expect_eq(say(&n, &r, VSP_NVSP_RECV_BUF, 1, 0xcafe, 0, 0), VMBUS_FAULT_WRONG_STATE);
	cr_expect_eq(calls_receive, 2, "a double does not reach the device");
	cr_expect_eq(say(&n, &r, VSP_NVSP_SEND_BUF, 666, 0, 0, 0), VMBUS_FAULT_BAD_GPADL);
	cr_expect_eq(say(&n, &r, VSP_NVSP_SEND_BUF, 2, 0, 0, 0), 0);
	cr_expect_eq(say(&n, &r, VSP_NVSP_SEND_BUF, 2, 0, 0, 0), VMBUS_FAULT_WRONG_STATE);
	cr_expect_eq(say(&n, &r, VSP_NVSP_NDIS_VERSION, 6, 30, 0, 0), 0);
	cr_expect_eq(say(&n, &r, VSP_NVSP_REVOKE_RECV_BUF, 0xbabe, 0, 0, 0), VMBUS_FAULT_WRONG_STATE);
	cr_expect_eq(n.state, VSP_NVSP_STATE_READY);
	cr_expect_eq(say(&n, &r, VSP_NVSP_REVOKE_RECV_BUF, 0xcafe, 0, 0, 0), 0);
	cr_expect_eq(say(&n, &r, VSP_NVSP_REVOKE_RECV_BUF, 0xcafe, 0, 0, 0), VMBUS_FAULT_WRONG_STATE);
	cr_expect_eq(say(&n, &r, VSP_NVSP_REVOKE_SEND_BUF, 0, 0, 0, 0), 0);
	cr_expect_eq(calls_revoke, 2);
	cr_expect_eq(n.state, VSP_NVSP_STATE_REVOKED);
	cr_expect_eq(say(&n, &r, VSP_NVSP_RECV_BUF, 1, 0xcafe, 0, 0), 0, "a new one");
	cr_expect_eq(n.state, VSP_NVSP_STATE_READY);
}

Test(nvsp, mtu_out_of_bounds_is_the_smallest)
{
	static const struct {
		uint32_t asked, taken;
	} rows[] = {{0, 1514},    {1513, 1514}, {1514, 1514},     {1515, 1515},
		    {9014, 9014}, {9216, 9216}, {9217, 1514}, {0xffffffff, 1514}};
	struct vsp_nvsp_reply r;
	struct vsp_nvsp n;

	for (size_t i = 0; i < 8; i++) {
		to_setup(&n, VSP_NVSP_V61);
		cr_expect_eq(say(&n, &r, VSP_NVSP_NDIS_CONFIG, rows[i].asked, 0, 0x80, 1), 0);
		cr_expect_eq(n.mtu, rows[i].taken, "%u", rows[i].asked);
		cr_expect_eq(n.capabilities, 0x100000080ull, "64 bits, not aligned");
	}
}

Test(nvsp, sub_channels_are_granted_once_and_never_more_than_asked)
{
	static const struct {
		uint32_t operation, count, limit, status, granted;
	} rows[] = {{1, 3, 7, 1, 3}, {1, 8, 7, 1, 7}, {1, 0, 7, 2, 0}, {0, 3, 7, 2, 0},
		    {2, 3, 7, 2, 0}, {1, 3, 0, 2, 0}, {1, 0xffffffff, 7, 1, 7}};
	struct vsp_nvsp_reply r;
	struct vsp_nvsp n;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		to_ready(&n, VSP_NVSP_V5);
		granted_limit = rows[i].limit;
		(void)say(&n, &r, VSP_NVSP_SUBCHANNEL, rows[i].operation, rows[i].count, 0, 0);
		cr_expect_eq(r.message.type, VSP_NVSP_SUBCHANNEL);
		cr_expect_eq(r.message.u.subchannel.operation, rows[i].status, "row %zu", i);
		cr_expect_eq(r.message.u.subchannel.count, rows[i].granted, "row %zu", i);
	}
	cr_expect_eq(say(&n, &r, VSP_NVSP_SUBCHANNEL, 1, 1, 0, 0), VMBUS_FAULT_WRONG_STATE);
}

Test(nvsp, sub_channels_carry_nothing_but_rndis)
{
	const uint32_t words[10] = {VSP_NVSP_SEND_BUF, 2, 0};
	struct vsp_nvsp_rndis rndis;
	struct vsp_nvsp_reply r;
	struct vsp_nvsp n;

	to_ready(&n, VSP_NVSP_V61);
	cr_expect_eq(vsp_nvsp_message(&n, words, 40, true, &r), VMBUS_FAULT_WRONG_STATE);
	cr_expect_eq(calls_send, 0);
	for (uint32_t len = 0; len < 16; len++)
		cr_expect_eq(vsp_nvsp_rndis(&n, words, len, &rndis), VMBUS_FAULT_TRUNCATED);
	cr_expect_eq(vsp_nvsp_rndis(&n, words, 16, &rndis), 0);
	to_setup(&n, VSP_NVSP_V61);
	cr_expect_eq(vsp_nvsp_rndis(&n, words, 40, &rndis), VMBUS_FAULT_WRONG_STATE);
}
