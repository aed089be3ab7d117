/* SPDX-License-Identifier: MIT */
/* The guest's end of storage against a host made by hand over real rings. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include <vsp/storvsc.h>

#define INIT_ID 0xfffffffffffffffdull
#define DATA_PAGES 16u

static struct vmbus_guest guest;
static struct vmbus_guest_channel channel;
static struct vsp_storvsc storvsc;
static struct vmbus_rx host_rx;
static struct vmbus_tx host_tx;
static struct vmbus_ring_control controls[2];
static uint8_t data[2][DATA_PAGES * VMBUS_PAGE_SIZE] __attribute__((aligned(4096)));
static uint8_t *pages[2][DATA_PAGES];
static uint32_t ready_calls, done_calls;

/* the packet the host took last */
static uint64_t received[16 * 1024];
static struct vmbus_packet last;
static struct vsp_storvsp_packet last_body;

static uint32_t post(void *opaque, uint32_t connection_id, const void *message, size_t len)
{
	(void)opaque, (void)connection_id, (void)message, (void)len;
	return HV_STATUS_SUCCESS;
}

static void signal_host(void *opaque, uint32_t connection_id)
{
	(void)opaque, (void)connection_id;
}

static void on_ready(struct vsp_storvsc *s)
{
	cr_assert_eq(s, &storvsc);
	ready_calls++;
}

static void on_done(struct vsp_storvsc_request *request)
{
	(void)request;
	done_calls++;
}

/* An open channel, without a bus. */
static void channel_open(void)
{
	static const struct vmbus_guest_ops ops = {
		.size = sizeof(ops), .post = post, .signal = signal_host,
	};
	struct vmbus_ring_memory mem[2];

	memset(controls, 0, sizeof(controls));
	for (int i = 0; i < 2; i++) {
		for (uint32_t k = 0; k < DATA_PAGES; k++)
			pages[i][k] = data[i] + k * VMBUS_PAGE_SIZE;
		mem[i] = (struct vmbus_ring_memory){.control = &controls[i], .pages = pages[i],
						    .size = sizeof(data[i])};
	}
	guest.config.ops = &ops;
	guest.version = VMBUS_V5_3;
	channel.guest = &guest;
	channel.state = VMBUS_GUEST_CHANNEL_OPEN;
	cr_assert_eq(vmbus_tx_init(&channel.tx, &mem[0]), 0);
	cr_assert_eq(vmbus_rx_init(&channel.rx, &mem[1]), 0);
	cr_assert_eq(vmbus_rx_init(&host_rx, &mem[0]), 0);
	cr_assert_eq(vmbus_tx_init(&host_tx, &mem[1]), 0);
}

/* The host takes the next packet; false: there is none. */
static bool take(void)
{
	int err = vmbus_rx_next(&host_rx, received, sizeof(received), &last);

	if (err == -EAGAIN)
		return false;
	cr_assert_eq(err, 0);
	(void)!vmbus_rx_commit(&host_rx);
	cr_assert_eq(last.payload_len, 64);
	cr_assert_eq(last.flags, VMBUS_PACKET_COMPLETION_REQUESTED);
	memcpy(&last_body, last.payload, sizeof(last_body));
	cr_assert_eq(last_body.flags, VSP_STORVSP_FLAG_COMPLETION);
	cr_assert_eq(last_body.status, 0);
	return true;
}

static void send_raw(uint16_t type, uint64_t id, const void *body, uint32_t len)
{
	struct vmbus_packet packet = {.type = type, .transaction_id = id, .payload = body,
				      .payload_len = len};

	cr_assert_eq(vmbus_tx_put(&host_tx, &packet, 0), 0);
	vmbus_tx_publish(&host_tx);
}

static unsigned int poll_now(void)
{
	unsigned int packets;

	cr_assert_eq(vsp_storvsc_poll(&storvsc, &packets), 0);
	return packets;
}

static void answer(uint64_t id, struct vsp_storvsp_packet body)
{
	body.operation = VSP_STORVSP_COMPLETE_IO;
	send_raw(VMBUS_PACKET_COMPLETION, id, &body, sizeof(body));
	(void)poll_now();
}

static void expect_init(uint32_t operation)
{
	cr_assert(take());
	cr_assert_eq(last.type, VMBUS_PACKET_INBAND);
	cr_assert_eq(last.transaction_id, INIT_ID);
	cr_assert_eq(last_body.operation, operation);
}

static const struct vsp_storvsp_packet success;
static const struct vsp_storvsp_packet refusal = {.status = 0xc0000059};

/* @refused versions are turned down before one is taken. */
static void initialise(uint32_t refused, struct vsp_storvsp_properties properties)
{
	struct vsp_storvsp_packet body = {.u.properties = properties};

	channel_open();
	cr_assert_eq(vsp_storvsc_init(&storvsc, &channel, NULL), 0);
	storvsc.ready = on_ready;
	expect_init(VSP_STORVSP_BEGIN_INITIALIZATION);
	answer(INIT_ID, success);
	for (; refused; refused--) {
		expect_init(VSP_STORVSP_QUERY_VERSION);
		answer(INIT_ID, refusal);
	}
	expect_init(VSP_STORVSP_QUERY_VERSION);
	answer(INIT_ID, success);
	expect_init(VSP_STORVSP_QUERY_PROPERTIES);
	answer(INIT_ID, body);
	if (storvsc.state == VSP_STORVSC_FAILED)
		return;
	expect_init(VSP_STORVSP_END_INITIALIZATION);
	cr_assert_eq(ready_calls, 0);
	answer(INIT_ID, success);
	cr_assert_eq(ready_calls, 1);
	cr_assert_eq(storvsc.state, VSP_STORVSC_READY);
	cr_assert_not(take());
	ready_calls = 0;
}

static const struct vsp_storvsp_properties usual = {
	.max_sub_channels = 7, .flags = VSP_STORVSP_MULTI_CHANNEL, .max_transfer = 0x40000 + 17,
};

Test(storvsc, initialises_with_each_version_a_host_may_take)
{
	static const uint16_t versions[] = {VSP_STORVSP_WIN10, VSP_STORVSP_WIN8_1, VSP_STORVSP_WIN8,
					    VSP_STORVSP_WIN7, VSP_STORVSP_WIN6};

	for (uint32_t i = 0; i < 5; i++) {
		initialise(i, usual);
		cr_expect_eq(storvsc.version, versions[i]);
		cr_expect_eq(storvsc.max_transfer, 0x40000u);
		cr_expect_eq(storvsc.max_sub_channels, 7);
		cr_expect_eq(storvsc.bad_packets, 0u);
	}
}

Test(storvsc, may_start_lower)
{
	channel_open();
	cr_assert_eq(vsp_storvsc_init(&storvsc, &channel, NULL), 0);
	storvsc.version = VSP_STORVSP_WIN7;
	expect_init(VSP_STORVSP_BEGIN_INITIALIZATION);
	answer(INIT_ID, success);
	expect_init(VSP_STORVSP_QUERY_VERSION);
	cr_assert_eq(last_body.u.version.version, VSP_STORVSP_WIN7);
}

Test(storvsc, fails_when_the_host_refuses)
{
	for (uint32_t step = 0; step < 4; step++) {
		uint32_t refusals = step == 1 ? 5 : 1;

		channel_open();
		cr_assert_eq(vsp_storvsc_init(&storvsc, &channel, NULL), 0);
		storvsc.ready = on_ready;
		for (uint32_t i = 0; i < step; i++) {
			struct vsp_storvsp_packet body = {.u.properties = usual};

			cr_assert(take());
			answer(INIT_ID, body);
		}
		while (refusals--) {
			cr_assert(take());
			answer(INIT_ID, refusal);
		}
		cr_expect_eq(storvsc.state, VSP_STORVSC_FAILED, "step %u", step);
		cr_expect_eq(storvsc.status, refusal.status);
		cr_expect_eq(ready_calls, step + 1);
		cr_expect_not(take());
	}
}

Test(storvsc, needs_room_to_transfer_and_the_flag_for_sub_channels)
{
	struct vsp_storvsp_properties properties = usual;

	properties.flags = 0;
	initialise(0, properties);
	cr_assert_eq(storvsc.max_sub_channels, 0);
	properties.max_transfer = 4095;
	initialise(0, properties);
	cr_assert_eq(storvsc.state, VSP_STORVSC_FAILED);
}

Test(storvsc, asks_for_sub_channels_once_at_a_time)
{
	initialise(0, usual);
	cr_assert_eq(vsp_storvsc_create_sub_channels(&storvsc, 3), 0);
	cr_assert_eq(vsp_storvsc_create_sub_channels(&storvsc, 3), -EINVAL);
	expect_init(VSP_STORVSP_CREATE_SUB_CHANNELS);
	cr_assert_eq(last_body.u.sub_channels, 3);
	answer(INIT_ID, refusal);
	cr_assert_eq(storvsc.status, refusal.status);
	cr_assert_eq(storvsc.state, VSP_STORVSC_READY);
	cr_assert_eq(ready_calls, 0);
	answer(INIT_ID, success); /* to nothing */
	cr_assert_eq(storvsc.bad_packets, 1);
}

Test(storvsc, a_sub_channel_is_ready_at_once)
{
	static struct vsp_storvsc primary;

	initialise(1, usual);
	primary = storvsc;
	cr_assert_eq(vsp_storvsc_init(&storvsc, &channel, &primary), 0);
	cr_assert_eq(storvsc.state, VSP_STORVSC_READY);
	cr_assert_eq(storvsc.version, VSP_STORVSP_WIN8_1);
	cr_assert_eq(storvsc.max_transfer, 0x40000);
	cr_assert_not(take());
}

/* -- Requests ------------------------------------------------------------- */

static uint64_t pfns[VSP_STORVSC_PAGES + 1];

static struct vsp_storvsc_request read_request(uint32_t offset, uint32_t len)
{
	struct vsp_storvsc_request request = {
		.path = 1, .target = 2, .lun = 3, .cdb_len = 10, .cdb = {0x28, 1, 2, 3},
		.direction = VSP_SRB_READ, .len = len, .offset = offset, .pfns = pfns,
		.done = on_done,
	};

	for (uint32_t i = 0; i <= VSP_STORVSC_PAGES; i++)
		pfns[i] = 1000 - i % 7;
	return request;
}

Test(storvsc, describes_data_with_one_range)
{
	static const struct {
		uint32_t offset, len, pages;
	} rows[] = {
		{0, 4096, 1}, {4095, 2, 2}, {512, 8192, 3}, {4, 262144, 65},
		{4092, 2047 * 4096 + 5, 2049},
	};

	initialise(0, usual);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vsp_storvsc_request request = read_request(rows[i].offset, rows[i].len);
		struct vmbus_range_iter iter;
		struct vmbus_range range;

		cr_assert_eq(vsp_storvsc_submit(&storvsc, &request), 0);
		vsp_storvsc_kick(&storvsc);
		cr_assert(take());
		cr_expect_eq(last.type, VMBUS_PACKET_GPA_DIRECT);
		cr_assert_eq(vmbus_range_first(&last, &iter), 0);
		cr_assert_eq(vmbus_range_next(&iter, &range), 0);
		cr_expect(range.offset == rows[i].offset && range.len == rows[i].len);
		cr_assert_eq(range.pages, rows[i].pages);
		cr_expect_eq(memcmp(range.pfns, pfns, 8ull * range.pages), 0);
		cr_assert_eq(vmbus_range_next(&iter, &range), -ENOENT);
		answer(last.transaction_id, success);
	}
	cr_expect_eq(done_calls, sizeof(rows) / sizeof(rows[0]));
}

Test(storvsc, fills_the_request_of_its_version)
{
	static const struct {
		uint32_t refused;
		uint16_t length;
		uint8_t sense;
		uint32_t flags, time_out;
	} rows[] = {{0, 0x34, 20, 0x48, 60}, {2, 0x34, 20, 0x48, 60}, {3, 0x24, 18, 0, 0}};

	for (size_t i = 0; i < 3; i++) {
		struct vsp_storvsc_request request = read_request(0, 4096);
		const struct vsp_storvsp_srb *srb = &last_body.u.srb;

		initialise(rows[i].refused, usual);
		cr_assert_eq(vsp_storvsc_submit(&storvsc, &request), 0);
		vsp_storvsc_kick(&storvsc);
		cr_assert(take());
		cr_expect_eq(last_body.operation, VSP_STORVSP_EXECUTE_SRB);
		cr_expect(srb->length == rows[i].length && srb->sense_length == rows[i].sense);
		cr_expect(srb->srb_flags == rows[i].flags && srb->time_out == rows[i].time_out);
		cr_expect(srb->path == 1 && srb->target == 2 && srb->lun == 3);
		cr_expect(srb->cdb_length == 10 && srb->direction == VSP_SRB_READ);
		cr_expect_eq(srb->transfer_length, 4096u);
		cr_expect_eq(memcmp(srb->u.cdb, request.cdb, 16), 0);
	}
}

Test(storvsc, sends_no_range_without_data)
{
	struct vsp_storvsc_request request = read_request(0, 0);

	initialise(0, usual);
	request.direction = VSP_SRB_NONE;
	cr_assert_eq(vsp_storvsc_submit(&storvsc, &request), 0);
	vsp_storvsc_kick(&storvsc);
	cr_assert(take());
	cr_assert_eq(last.type, VMBUS_PACKET_INBAND);
	cr_assert_eq(last.header_len, 0);
	cr_assert_eq(last_body.u.srb.srb_flags, 0x08);
}

Test(storvsc, refuses_what_it_cannot_send)
{
	struct vsp_storvsc_request request = read_request(0, 4096);

	channel_open();
	cr_assert_eq(vsp_storvsc_init(&storvsc, &channel, NULL), 0);
	cr_expect_eq(vsp_storvsc_submit(&storvsc, &request), -EINVAL); /* not ready */
	cr_expect_eq(vsp_storvsc_create_sub_channels(&storvsc, 1), -EINVAL);
	initialise(0, usual);
	request.offset = 4096;
	cr_expect_eq(vsp_storvsc_submit(&storvsc, &request), -EINVAL);
	request = read_request(1, VSP_STORVSC_PAGES * VMBUS_PAGE_SIZE);
	cr_expect_eq(vsp_storvsc_submit(&storvsc, &request), -EINVAL);
	request = read_request(4095, 0xffffffff);
	cr_expect_eq(vsp_storvsc_submit(&storvsc, &request), -EINVAL);
	request = read_request(0, 512);
	request.direction = 3;
	cr_expect_eq(vsp_storvsc_submit(&storvsc, &request), -EINVAL);
	cr_expect_eq(storvsc.in_flight, 0u);
	cr_expect_not(take());
}

Test(storvsc, a_full_ring_pushes_back_and_loses_nothing)
{
	static struct vsp_storvsc_request requests[VSP_STORVSC_REQUESTS];
	static bool seen[VSP_STORVSC_REQUESTS + 1];
	uint32_t taken = 0, round = 0;

	initialise(0, usual);
	for (uint32_t i = 0; i < VSP_STORVSC_REQUESTS;) {
		int err;

		requests[i] = read_request(0, 64 * 4096);
		err = vsp_storvsc_submit(&storvsc, &requests[i]);
		if (!err) {
			i++;
			continue;
		}
		cr_assert_eq(err, -EAGAIN);
		vsp_storvsc_kick(&storvsc);
		for (round++; take(); taken++) {
			cr_assert_leq(last.transaction_id, VSP_STORVSC_REQUESTS);
			cr_assert_not(seen[last.transaction_id]);
			seen[last.transaction_id] = true;
		}
	}
	cr_assert_gt(round, 1);
	vsp_storvsc_kick(&storvsc);
	while (take())
		taken++;
	cr_assert_eq(taken, VSP_STORVSC_REQUESTS);
	cr_assert_eq(vsp_storvsc_submit(&storvsc, &requests[0]), -EAGAIN); /* 512 in flight */
	/* answered in another order than asked */
	for (uint32_t i = 0; i < VSP_STORVSC_REQUESTS; i++)
		answer((i * 203) % VSP_STORVSC_REQUESTS + 1, success);
	cr_assert_eq(done_calls, VSP_STORVSC_REQUESTS);
	cr_assert_eq(storvsc.in_flight, 0);
	cr_assert_eq(storvsc.bad_packets, 0);
	for (uint32_t i = 0; i < VSP_STORVSC_REQUESTS; i++)
		cr_assert_null(storvsc.requests[i]);
}

/* -- Answers -------------------------------------------------------------- */

Test(storvsc, takes_over_what_the_answer_says)
{
	static const struct {
		uint8_t srb_status, sense_length;
		uint32_t transferred, expected;
		uint8_t sense_len;
	} rows[] = {
		{0x01, 20, 4096, 4096, 0},
		{0x01, 20, 100, 100, 0},
		{0x12, 20, 0xffffffff, 4096, 0},
		{0x84, 18, 0, 0, 18},
		{0x84, 255, 0, 0, 20},
		{0x04, 18, 0, 0, 0},
	};

	initialise(0, usual);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vsp_storvsc_request request = read_request(0, 4096);
		struct vsp_storvsp_packet body = {.u.srb = {
			.srb_status = rows[i].srb_status, .scsi_status = 2,
			.sense_length = rows[i].sense_length,
			.transfer_length = rows[i].transferred,
		}};

		memset(body.u.srb.u.sense, 0x5e, sizeof(body.u.srb.u.sense));
		cr_assert_eq(vsp_storvsc_submit(&storvsc, &request), 0);
		vsp_storvsc_kick(&storvsc);
		cr_assert(take());
		answer(last.transaction_id, body);
		cr_expect_eq(request.srb_status, rows[i].srb_status);
		cr_expect_eq(request.scsi_status, 2);
		cr_expect_eq(request.transferred, rows[i].expected);
		cr_expect_eq(request.sense_len, rows[i].sense_len);
		cr_expect_eq(request.sense[19], 0x5e);
	}
}

Test(storvsc, drops_answers_that_no_host_should_send)
{
	struct vsp_storvsc_request request = read_request(0, 4096);
	struct vsp_storvsp_packet body = {.operation = VSP_STORVSP_COMPLETE_IO};
	uint64_t id, bad;

	initialise(0, usual);
	cr_assert_eq(vsp_storvsc_submit(&storvsc, &request), 0);
	vsp_storvsc_kick(&storvsc);
	cr_assert(take());
	id = last.transaction_id;
	send_raw(VMBUS_PACKET_COMPLETION, id, &body, 56);             /* short */
	send_raw(VMBUS_PACKET_COMPLETION, id, NULL, 0);               /* empty */
	send_raw(VMBUS_PACKET_COMPLETION, 0, &body, 64);              /* id of a notice */
	send_raw(VMBUS_PACKET_COMPLETION, id - 1, &body, 64);         /* not in flight */
	send_raw(VMBUS_PACKET_COMPLETION, 513, &body, 64);            /* past the table */
	send_raw(VMBUS_PACKET_COMPLETION, 1ull << 32 | id, &body, 64);
	send_raw(VMBUS_PACKET_COMPLETION, INIT_ID, &body, 64);        /* nothing asked */
	send_raw(VMBUS_PACKET_INBAND, 0, &body, 64);                  /* not a notice */
	body.operation = VSP_STORVSP_EXECUTE_SRB;
	send_raw(VMBUS_PACKET_COMPLETION, id, &body, 64);             /* wrong operation */
	bad = 9;
	cr_assert_eq(poll_now(), 9);
	cr_assert_eq(storvsc.bad_packets, bad);
	cr_assert_eq(done_calls, 0);
	answer(id, success);
	cr_assert_eq(done_calls, 1);
	answer(id, success); /* twice */
	cr_assert_eq(done_calls, 1);
	cr_assert_eq(storvsc.bad_packets, bad + 1);
}

Test(storvsc, counts_calls_to_scan_again)
{
	struct vsp_storvsp_packet body = {.operation = VSP_STORVSP_ENUMERATE_BUS};

	initialise(3, usual);
	send_raw(VMBUS_PACKET_INBAND, 0, &body, 48);
	body.operation = VSP_STORVSP_REMOVE_DEVICE;
	send_raw(VMBUS_PACKET_INBAND, 0, &body, 64);
	cr_assert_eq(poll_now(), 2);
	cr_assert_eq(storvsc.rescans, 2);
	cr_assert_eq(storvsc.bad_packets, 0);
}

Test(storvsc, a_ring_that_is_broken_is_told)
{
	static uint8_t big[1024];

	initialise(0, usual);
	send_raw(VMBUS_PACKET_INBAND, 0, big, sizeof(big));
	cr_assert_eq(vsp_storvsc_poll(&storvsc, NULL), VMBUS_FAULT_OVERSIZED);
	initialise(0, usual);
	controls[1].in = 4;
	cr_assert_eq(vsp_storvsc_poll(&storvsc, NULL), VMBUS_FAULT_BAD_INDEX);
}

static struct vsp_storvsc_request again;

static void resubmit(struct vsp_storvsc_request *request)
{
	done_calls++;
	cr_assert_eq(vsp_storvsc_submit(&storvsc, request), 0);
}

Test(storvsc, done_may_submit)
{
	again = read_request(0, 512);
	again.done = resubmit;
	initialise(0, usual);
	cr_assert_eq(vsp_storvsc_submit(&storvsc, &again), 0);
	for (uint32_t i = 1; i <= 1000; i++) {
		vsp_storvsc_kick(&storvsc);
		cr_assert(take());
		answer(last.transaction_id, success);
		cr_assert_eq(done_calls, i);
	}
	cr_assert_eq(storvsc.in_flight, 1);
}

Test(storvsc, a_poll_takes_so_many_packets_and_no_more)
{
	struct vsp_storvsp_packet body = {.operation = VSP_STORVSP_ENUMERATE_BUS};

	initialise(0, usual);
	for (uint32_t i = 0; i < VSP_STORVSC_BATCH + 100; i++)
		send_raw(VMBUS_PACKET_INBAND, 0, &body, VSP_STORVSP_HEADER);
	cr_assert_eq(poll_now(), VSP_STORVSC_BATCH);
	cr_assert(vmbus_rx_arm(&channel.rx)); /* says that there is more */
	cr_assert_eq(poll_now(), 100);
	cr_assert_not(vmbus_rx_arm(&channel.rx));
}
