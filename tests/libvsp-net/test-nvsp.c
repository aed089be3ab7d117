/* SPDX-License-Identifier: MIT */
#include <string.h>

#include <criterion/criterion.h>

#include "nvsp.h"

static uint32_t calls_receive, calls_send, calls_revoke, granted_limit;

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
	return count < granted_limit ? count : granted_limit;
}

static const struct vsp_nvsp_ops ops = {fake_receive, fake_send, fake_revoke, fake_subs};

static void fresh(struct vsp_nvsp *n)
{
	memset(n, 0, sizeof(*n));
	n->ops = &ops;
	n->max_version = VSP_NVSP_V61;
	vsp_nvsp_reset(n);
	calls_receive = calls_send = calls_revoke = 0;
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

Test(nvsp, each_message_too_short_gets_its_own_failure_and_changes_nothing)
{
	static const struct {
		const char *name;
		uint32_t type, need, answer, status_word, failure;
		bool setup; /* in SETUP, else READY */
	} rows[] = {
		{"INIT", VSP_NVSP_INIT, 12, VSP_NVSP_INIT_COMPLETE, 2, 2, true},
		{"NDIS_VERSION", VSP_NVSP_NDIS_VERSION, 12, 0, 0, 0, true},
		{"NDIS_CONFIG", VSP_NVSP_NDIS_CONFIG, 20, 0, 0, 0, true},
		{"RECV_BUF", VSP_NVSP_RECV_BUF, 10, VSP_NVSP_RECV_BUF_COMPLETE, 0, 2, true},
		{"SEND_BUF", VSP_NVSP_SEND_BUF, 10, VSP_NVSP_SEND_BUF_COMPLETE, 0, 2, false},
		{"REVOKE_RECV_BUF", VSP_NVSP_REVOKE_RECV_BUF, 6, 0, 0, 0, false},
		{"SWITCH_DATA_PATH", VSP_NVSP_SWITCH_DATA_PATH, 8, 0, 0, 0, false},
		{"OID_QUERY_EX", VSP_NVSP_OID_QUERY_EX, 12, VSP_NVSP_OID_QUERY_EX_COMPLETE, 0,
		 0xc00000bb, false},
		{"SUBCHANNEL", VSP_NVSP_SUBCHANNEL, 12, VSP_NVSP_SUBCHANNEL, 0, 2, false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (uint32_t len = 0; len < rows[i].need; len++) {
			uint32_t words[10] = {rows[i].type, 1, 1, 1, 1};
			struct vsp_nvsp_reply r;
			struct vsp_nvsp n, before;
			uint32_t status;

			if (rows[i].type == VSP_NVSP_INIT)
				fresh(&n);
			else if (rows[i].setup)
				to_setup(&n, VSP_NVSP_V61);
			else
				to_ready(&n, VSP_NVSP_V61);
			before = n;
			cr_expect_eq(vsp_nvsp_message(&n, words, len, false, &r),
				     VMBUS_FAULT_TRUNCATED, "%s, %u bytes", rows[i].name, len);
			cr_expect_eq(memcmp(&n, &before, sizeof(n)), 0, "%s", rows[i].name);
			if (len < 4)
				continue;
			cr_expect_eq(r.message.type, rows[i].answer, "%s", rows[i].name);
			cr_expect_eq(r.len == 0, rows[i].answer == 0);
			memcpy(&status, &r.message.u.bytes[rows[i].status_word * 4], 4);
			cr_expect_eq(status, rows[i].failure, "%s: %#x", rows[i].name, status);
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
