/* SPDX-License-Identifier: MIT */
/* The controller over real rings: initialisation, channels, LUNs that come and go, stop.
 * storvsp.md's negative list is here and in test-srb.c. */
#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>

#include "harness.h"

static struct harness h;
static struct held_disk disk;

static struct vsp_disk *setup(struct vsp_storage_config config)
{
	struct vsp_disk *d = held_disk_init(&disk);

	harness_init(&h, config);
	cr_assert_eq(vsp_storage_add_disk(h.storage, 0, d), 0);
	return d;
}

static void teardown(struct vsp_disk *d)
{
	vsp_disk_unref(d);
	harness_fini(&h);
	cr_expect_eq(disk.closes, 1, "the disk is let go of");
}

/* -- Initialisation ------------------------------------------------------- */

Test(storage, is_ready_with_every_version)
{
	static const uint16_t versions[] = {VSP_STORVSP_WIN6, VSP_STORVSP_WIN7, VSP_STORVSP_WIN8,
					    VSP_STORVSP_WIN8_1, VSP_STORVSP_WIN10};

	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		struct vsp_storage_config config = HARNESS_CONFIG;
		struct vsp_disk *d = setup(config);
		struct line *line = harness_ready(&h, versions[i]);
		struct srb srb = {.direction = VSP_SRB_NONE};

		cr_expect_eq(srb_exchange(&h, line, &srb).p.u.srb.srb_status, 1, "%04x",
			     versions[i]);
		teardown(d);
	}
}

Test(storage, answers_are_as_long_as_questions_and_never_longer_than_64)
{
	static const struct {
		uint32_t sent, answered;
	} rows[] = {{48, 48}, {50, 56},	 {56, 56}, {64, 64},
		    {72, 64}, {128, 64}, {16, 16}, {12, 16}};
	static const struct vsp_storvsp_packet p = {.operation = VSP_STORVSP_RESET_BUS};
	struct vsp_storage_config config = HARNESS_CONFIG;
	struct vsp_disk *d = setup(config);
	struct line *line = harness_ready(&h, VSP_STORVSP_WIN8);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct answer a;

		message_put(line, 7, &p, rows[i].sent);
		harness_run(&h);
		a = answer_expect(line, 7);
		cr_expect_eq(a.len, rows[i].answered, "%u: %u", rows[i].sent, a.len);
		cr_expect_eq(a.p.status, 0, "%u", rows[i].sent);
	}
	teardown(d);
}

Test(storage, messages_shorter_than_they_must_be_are_refused)
{
	static const struct {
		uint32_t operation, len, status;
	} rows[] = {
		{VSP_STORVSP_RESET_BUS, 0, 0xc0000010},
		{VSP_STORVSP_RESET_BUS, 8, 0xc0000010},
		{VSP_STORVSP_EXECUTE_SRB, 16, 0xc000000d},
		{VSP_STORVSP_EXECUTE_SRB, 40, 0xc000000d},
		{VSP_STORVSP_EXECUTE_SRB, 48, 0},
	};
	struct vsp_storage_config config = HARNESS_CONFIG;
	struct vsp_disk *d = setup(config);
	struct line *line = harness_ready(&h, VSP_STORVSP_WIN7);

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vsp_storvsp_packet p = {.operation = rows[i].operation,
					       .u.srb.direction = VSP_SRB_NONE};

		message_put(line, i, &p, rows[i].len);
		harness_run(&h);
		cr_expect_eq(answer_expect(line, i).p.status, rows[i].status, "row %zu", i);
	}
	teardown(d);
}

Test(storage, what_cannot_be_answered_is_dropped_and_counted)
{
	static const struct vsp_storvsp_packet p = {.operation = VSP_STORVSP_RESET_BUS};
	struct vmbus_packet packet = {
	    .type = VMBUS_PACKET_INBAND, .payload = &p, .payload_len = 64};
	struct vsp_storage_config config = HARNESS_CONFIG;
	struct vsp_disk *d = setup(config);
	struct line *line = harness_ready(&h, VSP_STORVSP_WIN8);
	struct vsp_storage_stats stats;
	struct answer a;

	/* more often than there are requests and places for answers */
	for (int i = 0; i < 500; i++) {
		packet.type = (uint16_t)(i % 2 ? VMBUS_PACKET_INBAND : VMBUS_PACKET_COMPLETION);
		packet.flags = (uint16_t)(i % 2 ? 0 : VMBUS_PACKET_COMPLETION_REQUESTED);
		cr_assert_eq(vmbus_tx_put(&line->tx, &packet, 0), 0);
		vmbus_tx_publish(&line->tx);
		harness_run(&h);
	}
	cr_expect_not(answer_take(line, &a));
	vsp_storage_get_stats(h.storage, &stats);
	cr_expect_eq(stats.bad_requests, 500);
	cr_expect_eq(message_exchange(&h, line, VSP_STORVSP_RESET_BUS, 0), 0, "it goes on");
	teardown(d);
}

Test(storage, a_guest_that_comes_again_begins_anew)
{
	struct vsp_storage_config config = HARNESS_CONFIG;
	struct vsp_disk *d = setup(config);
	struct line *line = harness_ready(&h, VSP_STORVSP_WIN8);

	for (int i = 0; i < 3; i++) {
		harness_close(&h);
		harness_run(&h);
		line = harness_open(&h);
		cr_expect_eq(message_exchange(&h, line, VSP_STORVSP_EXECUTE_SRB, 0), 0xc0000184);
		line = NULL;
		harness_close(&h);
		harness_run(&h);
		line = harness_ready(&h, VSP_STORVSP_WIN7);
		cr_expect_eq(message_exchange(&h, line, VSP_STORVSP_RESET_LUN, 0), 0);
	}
	teardown(d);
}

/* -- Sub-channels --------------------------------------------------------- */

static struct line *setup_subs(uint16_t count)
{
	struct line *line = harness_open(&h);

	cr_assert_eq(message_exchange(&h, line, VSP_STORVSP_BEGIN_INITIALIZATION, 0), 0);
	cr_assert_eq(message_exchange(&h, line, VSP_STORVSP_QUERY_VERSION, VSP_STORVSP_WIN10), 0);
	cr_assert_eq(message_exchange(&h, line, VSP_STORVSP_QUERY_PROPERTIES, 0), 0);
	cr_assert_eq(message_exchange(&h, line, VSP_STORVSP_CREATE_SUB_CHANNELS, count), 0);
	harness_open_subs(&h);
	cr_assert_eq(h.line_count, 1u + count);
	return line;
}

Test(storage, sub_channels_hold_requests_back_until_ready_and_lose_none)
{
	struct vsp_storage_config config = HARNESS_CONFIG;
	struct srb srb = srb_rw(false, 0, 1);
	struct vsp_disk *d;
	struct line *line;
	struct answer a;

	config.max_sub_channels = 3;
	d = setup(config);
	line = setup_subs(2);
	for (uint64_t i = 0; i < 20; i++)
		cr_assert_eq(srb_put(&h, &h.lines[1 + i % 2], i, &srb), 0);
	harness_run(&h);
	cr_expect_not(answer_take(&h.lines[1], &a));
	cr_expect_eq(held_disk_requests(&disk), 0);
	cr_expect_eq(message_exchange(&h, line, VSP_STORVSP_END_INITIALIZATION, 0), 0);
	harness_run(&h);
	for (uint64_t i = 0; i < 20; i++)
		cr_expect_eq(answer_expect(&h.lines[1 + i % 2], i).p.u.srb.srb_status, 1);
	cr_expect_not(answer_take(line, &a), "answered where it was asked");
	cr_expect_eq(disk.queues, 2, "one a channel that used it");
	cr_expect_eq(
	    message_exchange(&h, &h.lines[1], VSP_STORVSP_CREATE_SUB_CHANNELS, 3),
	    0xc0000184);
	cr_expect_eq(message_exchange(&h, &h.lines[2], VSP_STORVSP_RESET_BUS, 0), 0);
	cr_expect_eq(message_exchange(&h, line, VSP_STORVSP_CREATE_SUB_CHANNELS, 4), 0xc000000d);
	cr_expect_eq(message_exchange(&h, line, VSP_STORVSP_CREATE_SUB_CHANNELS, 3), 0);
	harness_open_subs(&h);
	cr_expect_eq(h.line_count, 4, "one more");
	teardown(d);
}

/* -- LUNs ----------------------------------------------------------------- */

static unsigned int rescans_take(struct line *line, uint32_t len)
{
	unsigned int n = 0;
	struct answer a;

	while (answer_take(line, &a)) {
		cr_expect_eq(a.type, VMBUS_PACKET_INBAND);
		cr_expect_eq(a.id, 0);
		cr_expect_eq(a.p.operation, VSP_STORVSP_ENUMERATE_BUS);
		cr_expect_eq(a.p.status, 0);
		cr_expect_eq(a.len, len);
		n++;
	}
	return n;
}

Test(storage, tells_the_guest_once_that_disks_came_or_went)
{
	static const struct {
		uint16_t version;
		unsigned int told;
		uint32_t len;
	} rows[] = {
		{VSP_STORVSP_WIN6, 0, 0}, {VSP_STORVSP_WIN7, 1, 48}, {VSP_STORVSP_WIN8, 1, 64},
		{VSP_STORVSP_WIN10, 1, 64},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vsp_storage_config config = HARNESS_CONFIG;
		struct vsp_disk *d = setup(config);
		struct line *line = harness_ready(&h, rows[i].version);

		harness_run(&h);
		cr_expect_eq(rescans_take(line, 0), 0, "not of what was there before it was ready");
		cr_expect_eq(vsp_storage_add_disk(h.storage, 1, d), 0);
		cr_expect_eq(vsp_storage_add_disk(h.storage, 2, d), 0);
		cr_expect_eq(vsp_storage_remove_disk(h.storage, 1), 0);
		harness_run(&h);
		cr_expect_eq(rescans_take(line, rows[i].len), rows[i].told, "%04x",
			     rows[i].version);
		harness_run(&h);
		cr_expect_eq(rescans_take(line, 0), 0);
		teardown(d);
	}
}

Test(storage, a_full_ring_delays_the_call_to_rescan_and_loses_it_not)
{
	struct vsp_storage_config config = HARNESS_CONFIG;
	struct vsp_disk *d = setup(config);
	struct line *line = harness_ready(&h, VSP_STORVSP_WIN8);
	struct srb srb = {.direction = VSP_SRB_NONE};
	unsigned int put = 0, taken = 0, rescans = 0;
	struct answer a;

	/* far more than answers fit */
	while (put < 400) {
		if (srb_put(&h, line, put, &srb) == 0) {
			put++;
			continue;
		}
		harness_run(&h);
		if (srb_put(&h, line, put, &srb) != 0)
			break;
		put++;
	}
	harness_run(&h);
	cr_expect_eq(vsp_storage_add_disk(h.storage, 3, d), 0);
	harness_run(&h);
	while (answer_take(line, &a)) {
		if (a.type == VMBUS_PACKET_INBAND)
			rescans++;
		else
			cr_expect_eq(a.id, taken++, "in order, as the disk is not asked");
		harness_run(&h);
	}
	cr_expect_eq(taken, put);
	cr_expect_eq(rescans, 1);
	teardown(d);
}

Test(storage, a_removed_lun_is_no_device_and_its_disk_is_let_go)
{
	static struct held_disk other;
	struct vsp_storage_config config = HARNESS_CONFIG;
	struct srb srb = srb_rw(false, 0, 1);
	struct vsp_disk *d, *second;
	struct line *line;
	struct answer a;

	config.max_sub_channels = 1;
	d = setup(config);
	second = held_disk_init(&other);
	line = setup_subs(1);
	cr_assert_eq(message_exchange(&h, line, VSP_STORVSP_END_INITIALIZATION, 0), 0);
	cr_assert_eq(vsp_storage_add_disk(h.storage, 5, second), 0);
	vsp_disk_unref(second);
	cr_expect_eq(vsp_storage_add_disk(h.storage, 5, d), -EEXIST);
	srb.lun = 5;
	harness_run(&h);
	cr_expect_eq(rescans_take(line, 64), 1);
	/* both channels have used it, one request is running */
	cr_expect_eq(srb_exchange(&h, line, &srb).p.u.srb.srb_status, 1);
	other.hold = true;
	cr_expect_eq(srb_put(&h, &h.lines[1], 1, &srb), 0);
	harness_run(&h);
	cr_expect_eq(vsp_storage_remove_disk(h.storage, 5), 0);
	cr_expect_eq(vsp_storage_remove_disk(h.storage, 5), -ENOENT);
	cr_expect_eq(srb_put(&h, &h.lines[1], 2, &srb), 0);
	harness_run(&h);
	a = answer_expect(&h.lines[1], 2);
	cr_expect_eq(a.p.u.srb.srb_status, 0x20, "invalid LUN, from now on");
	cr_expect_eq(a.p.u.srb.scsi_status, 2);
	cr_expect_eq(a.p.status, 0xc00000c0);
	cr_expect_eq(other.closes, 0);
	cr_expect_eq(other.queues, 1, "the idle channel has let go without being asked");
	held_disk_finish(&other, 0);
	cr_expect_eq(other.closes, 1);
	harness_run(&h);
	cr_expect_eq(answer_expect(&h.lines[1], 1).p.u.srb.srb_status, 1, "finished normally");
	teardown(d);
}

Test(storage, another_disk_at_the_same_lun_is_another_disk)
{
	static struct held_disk other;
	struct vsp_storage_config config = HARNESS_CONFIG;
	struct srb srb = srb_rw(false, 0, 1);
	struct vsp_disk *d = setup(config), *second = held_disk_init(&other);
	struct line *line = harness_ready(&h, VSP_STORVSP_WIN6);

	disk.data[0] = 1;
	other.data[0] = 2;
	cr_expect_eq(srb_exchange(&h, line, &srb).p.u.srb.srb_status, 1);
	cr_expect_eq(*harness_page(&h, HARNESS_DATA_PFN), 1);
	cr_assert_eq(vsp_storage_remove_disk(h.storage, 0), 0);
	cr_assert_eq(vsp_storage_add_disk(h.storage, 0, second), 0);
	cr_expect_eq(srb_exchange(&h, line, &srb).p.u.srb.srb_status, 1);
	cr_expect_eq(*harness_page(&h, HARNESS_DATA_PFN), 2);
	vsp_disk_unref(second);
	teardown(d);
	cr_expect_eq(other.closes, 1);
}

Test(storage, a_queue_that_cannot_be_made_is_busy_not_gone)
{
	struct vsp_storage_config config = HARNESS_CONFIG;
	struct vsp_disk *d = setup(config);
	struct line *line = harness_ready(&h, VSP_STORVSP_WIN8);
	struct srb srb = srb_rw(false, 0, 1);
	struct answer a;

	disk.queue_result = -ENOMEM;
	a = srb_exchange(&h, line, &srb);
	cr_expect_eq(a.p.u.srb.srb_status, 5);
	cr_expect_eq(a.p.u.srb.scsi_status, 8);
	cr_expect_eq(a.p.status, 0x80000011);
	disk.queue_result = 0;
	cr_expect_eq(srb_exchange(&h, line, &srb).p.u.srb.srb_status, 1);
	teardown(d);
}

static bool attention(struct line *line)
{
	struct srb srb = {.direction = VSP_SRB_NONE};
	struct answer a = srb_exchange(&h, line, &srb);

	if (a.p.u.srb.srb_status == 1)
		return false;
	cr_expect_eq(a.p.u.srb.srb_status, 0x84);
	cr_expect_eq(a.p.u.srb.u.sense[2], 6);
	cr_expect_eq(a.p.u.srb.u.sense[12], 0x2a);
	cr_expect_eq(a.p.u.srb.u.sense[13], 0x09);
	return true;
}

Test(storage, a_new_size_is_told_once_and_then_used)
{
	struct vsp_storage_config config = HARNESS_CONFIG;
	struct srb srb = srb_rw(false, HARNESS_DISK / 512 - 1, 1);
	struct vsp_disk *d;
	struct line *line;

	config.max_sub_channels = 1;
	d = setup(config);
	line = setup_subs(1);
	cr_assert_eq(message_exchange(&h, line, VSP_STORVSP_END_INITIALIZATION, 0), 0);
	vsp_storage_resized(h.storage, 0); /* it was not */
	harness_run(&h);
	cr_expect_not(attention(line));
	disk.info.size /= 2;
	vsp_storage_resized(h.storage, 0);
	harness_run(&h);
	cr_expect_eq(rescans_take(line, 64), 1, "or an idle guest would not notice");
	cr_expect(attention(line));
	cr_expect_not(attention(line));
	cr_expect_not(attention(&h.lines[1]), "one for both channels");
	cr_expect_eq(srb_exchange(&h, line, &srb).p.u.srb.u.sense[12], 0x21);
	disk.info.size *= 2;
	vsp_storage_resized(h.storage, 0);
	harness_run(&h);
	cr_expect_eq(rescans_take(line, 64), 1);
	cr_expect(attention(&h.lines[1]));
	cr_expect_not(attention(line));
	cr_expect_eq(srb_exchange(&h, line, &srb).p.u.srb.srb_status, 1);
	vsp_storage_resized(h.storage, 9);
	teardown(d);
}

/* -- The offer ------------------------------------------------------------ */

Test(storage, ide_is_one_disk_on_any_path)
{
	struct vsp_storage_config config = HARNESS_CONFIG;
	struct srb srb = srb_rw(false, 0, 1);
	const struct vmbus_msg_offer *offer;
	struct vsp_disk *d;
	struct line *line;

	config.ide = true;
	config.ide_channel = 1;
	config.ide_device = 1;
	config.max_sub_channels = 5;
	d = setup(config);
	cr_expect_eq(vsp_storage_add_disk(h.storage, 1, d), -EINVAL, "there is but one");
	line = harness_ready(&h, VSP_STORVSP_WIN8);
	offer = &h.mock.known[line->id].offer;
	cr_expect_eq(offer->user_defined[2], 1);
	cr_expect_eq(offer->user_defined[3], 1);
	cr_expect_eq(offer->user_defined[8], 2);
	cr_expect_eq(memcmp(offer->instance_id.b, "\1\0\0\0\1\0\x99\x88\0\0\0\0\0\0\0\0", 16), 0);
	srb.target = 1;
	for (uint8_t path = 0; path < 3; path++) {
		srb.path = path;
		cr_expect_eq(srb_exchange(&h, line, &srb).p.u.srb.srb_status, 1);
	}
	srb.target = 0;
	cr_expect_eq(srb_exchange(&h, line, &srb).p.u.srb.srb_status, 0x20);
	cr_expect_eq(message_exchange(&h, line, VSP_STORVSP_CREATE_SUB_CHANNELS, 1), 0xc000000d);
	teardown(d);
}

Test(storage, refuses_a_configuration_that_cannot_work)
{
	struct vsp_storage_config good = HARNESS_CONFIG, c;
	struct vsp_storage *storage;
	struct mock m;

	mock_init(&m);
	good.server = m.server;
	good.loop_of = (struct vmbus_loop * (*)(void *, struct vmbus_channel *))1;
#define REFUSED(change)                                                                  \
	do {                                                                             \
		c = good;                                                                \
		change;                                                                  \
		cr_expect_eq(vsp_storage_new(&c, &storage), -EINVAL, #change);           \
	} while (0)
	REFUSED(c.size--);
	REFUSED(c.server = NULL);
	REFUSED(c.loop_of = NULL);
	REFUSED(c.max_sub_channels = 257);
	REFUSED(c.max_transfer = 60 << 10);
	REFUSED(c.max_transfer += 512);
	REFUSED(c.queue_depth = 0);
	REFUSED(c.ide_channel = 2);
	mock_fini(&m);
}

Test(storage, freed_while_requests_run)
{
	struct vsp_storage_config config = HARNESS_CONFIG;
	struct vsp_disk *d = setup(config);
	struct line *line = harness_ready(&h, VSP_STORVSP_WIN8);
	struct srb srb = srb_rw(true, 0, 1);

	disk.hold = true;
	cr_assert_eq(srb_put(&h, line, 1, &srb), 0);
	harness_run(&h);
	vsp_storage_free(h.storage);
	vsp_storage_free(NULL);
	harness_run(&h);
	cr_expect_eq(disk.queues, 1, "nothing is let go of under running I/O");
	vsp_disk_unref(d);
	held_disk_finish(&disk, 0);
	harness_run(&h);
	cr_expect_eq(disk.queues, 0);
	harness_fini(&h);
	cr_expect_eq(disk.closes, 1);
}
