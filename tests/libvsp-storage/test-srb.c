/* SPDX-License-Identifier: MIT */
/* Requests over real rings: data pages in any layout, answers to every outcome. */
#include "srb-fixture.h"

/* -- Data pages ----------------------------------------------------------- */

Test(srb, data_may_begin_anywhere_in_a_page)
{
	setup(0);
	for (uint32_t offset = 0; offset < VMBUS_PAGE_SIZE; offset += 4) {
		uint16_t blocks = (uint16_t)(1 + offset / 4 % 17);
		struct srb write = srb_rw(true, offset / 4, blocks),
			   read = srb_rw(false, offset / 4, blocks);
		bool same = true, around = true;

		write.offset = offset;
		read.pfn += 64;
		read.offset = VMBUS_PAGE_SIZE - 4 - offset;
		for (uint32_t i = 0; i < write.len; i++)
			*guest_byte(&write, i) = pattern(offset, i);
		memset(harness_page(&h, read.pfn), 0xa5, 8 * VMBUS_PAGE_SIZE);
		expect_success(&write, "write");
		expect_success(&read, "read");
		for (uint32_t i = 0; i < read.len; i++) {
			same &= disk.data[disk.offset + i] == pattern(offset, i);
			same &= *guest_byte(&read, i) == pattern(offset, i);
		}
		for (uint32_t i = 0; i < 8 * VMBUS_PAGE_SIZE; i++)
			around &= (i >= read.offset && i < read.offset + read.len) ||
				  harness_page(&h, read.pfn)[i] == 0xa5;
		cr_assert(same, "offset %u", offset);
		cr_assert(around, "offset %u: nothing else was touched", offset);
	}
	teardown();
}

Test(srb, pages_may_be_scattered_and_may_repeat)
{
	static const uint64_t scattered[] = {1900, 1024, 1700, 1025, 1501, 1500, 1499, 2047, 1100};
	static const uint64_t repeated[] = {1300, 1300, 1301, 1300, 1301, 1300, 1302, 1302, 1302};
	struct srb write = srb_rw(true, 3, 64), read = srb_rw(false, 3, 64);
	bool same = true;

	setup(0);
	write.pfns = scattered;
	write.offset = 700;
	for (uint32_t i = 0; i < write.len; i++)
		*guest_byte(&write, i) = pattern(1, i);
	expect_success(&write, "scattered");
	for (uint32_t i = 0; i < write.len; i++)
		same &= disk.data[3 * 512 + i] == pattern(1, i);
	cr_expect(same);
	read.pfns = repeated;
	read.offset = 700;
	expect_success(&read, "a page for throwing away, several times");
	write.pfns = repeated;
	expect_success(&write, "the same page again and again");
	cr_expect_eq(memcmp(disk.data + 3 * 512 + 4096 - 700,
			    disk.data + 3 * 512 + 3 * 4096 - 700, 4096),
		     0);
	teardown();
}

/* Every byte of guest memory but the rings. */
static uint64_t memory_sum(void)
{
	uint64_t sum = 0;

	for (uint64_t pfn = MOCK_RING_PFN + HARNESS_LINES * MOCK_RING_PAGES;
	     pfn < MOCK_PAGES; pfn++)
		for (uint32_t i = 0; i < VMBUS_PAGE_SIZE; i++)
			sum = sum * 31 + harness_page(&h, pfn)[i];
	return sum;
}

Test(srb, bad_ranges_fail_that_request_alone_and_touch_nothing)
{
	static const uint64_t outside[] = {1024, MOCK_PAGES, 1025}, far[] = {1ull << 52, 1, 2},
			      huge[] = {UINT64_MAX, 1, 2};
	static const struct {
		const char *name;
		bool write;
		struct srb with; /* what differs from READ(10) of 16 blocks */
	} rows[] = {
		{"page behind memory", false, {.pfns = outside}},
		{"page behind memory, write", true, {.pfns = outside}},
		{"page far outside", false, {.pfns = far}},
		{"page whose address overflows", true, {.pfns = huge}},
		{"range too short", false, {.range_len = 16 * 512 - 1}},
		{"two ranges", false, {.ranges = 2}},
		{"offset beyond the page", false, {.offset = 4096}},
		{"offset far beyond", true, {.offset = 0xfffff000, .range_len = 4096}},
		{"empty range", false, {.ranges = 1, .len = 0xffffffff}},
	};
	struct vsp_storage_stats stats;
	struct srb fine = srb_rw(false, 0, 16);
	uint64_t sum;

	setup(0);
	memset(disk.data, 0x77, 64 * 512);
	sum = memory_sum();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct srb srb = srb_rw(rows[i].write, 0, 16);
		struct answer a;

		srb.pfns = rows[i].with.pfns;
		srb.offset = rows[i].with.offset;
		srb.range_len = rows[i].with.range_len;
		srb.ranges = rows[i].with.ranges;
		if (rows[i].with.len) /* means none */
			srb.len = 0;
		a = srb_exchange(&h, line, &srb);
		cr_expect_eq(a.p.u.srb.srb_status, 0x86, "%s: %02x", rows[i].name,
			     a.p.u.srb.srb_status);
		cr_expect_eq(a.p.u.srb.scsi_status, 2, "%s", rows[i].name);
		cr_expect_eq(a.p.u.srb.transfer_length, 0, "%s", rows[i].name);
		cr_expect_eq(a.p.status, 0xc0000185, "%s", rows[i].name);
		vsp_storage_get_stats(h.storage, &stats);
		cr_expect_eq(stats.bad_requests, i + 1, "%s is counted", rows[i].name);
	}
	cr_expect_eq(memory_sum(), sum);
	cr_expect_eq(held_disk_requests(&disk), 0, "the disk was never asked");
	expect_success(&fine, "the next one");
	teardown();
}

Test(srb, parameter_lists_outside_memory_fail)
{
	static const uint64_t outside[] = {MOCK_PAGES};
	struct srb srb = {.direction = VSP_SRB_WRITE,
			  .cdb = {0x42, [8] = 24},
			  .len = 24,
			  .pfns = outside};

	setup(0);
	cr_expect_eq(srb_exchange(&h, line, &srb).p.u.srb.srb_status, 0x86);
	srb = (struct srb){.direction = VSP_SRB_READ,
			   .cdb = {0x12, [4] = 36},
			   .len = 36,
			   .pfns = outside};
	cr_expect_eq(srb_exchange(&h, line, &srb).p.u.srb.srb_status, 0x86);
	srb = (struct srb){.direction = VSP_SRB_READ,
			   .cdb = {0xa0, [9] = 36},
			   .len = 36,
			   .pfns = outside};
	cr_expect_eq(srb_exchange(&h, line, &srb).p.u.srb.srb_status, 0x86);
	teardown();
}

Test(srb, a_packet_larger_than_any_request_stops_the_channel)
{
	struct srb srb = srb_rw(false, 0, 1);
	struct answer a;

	setup(0);
	srb.range_len = 40 * VMBUS_PAGE_SIZE;
	cr_assert_eq(srb_put(&h, line, 1, &srb), 0);
	harness_run(&h);
	cr_expect_not(answer_take(line, &a));
	cr_expect_gt(h.mock.logs, 0);
	harness_close(&h);
	harness_run(&h);
	line = harness_ready(&h, VSP_STORVSP_WIN8);
	srb.range_len = 0;
	expect_success(&srb, "after it was opened again");
	teardown();
}

Test(srb, the_largest_transfer_that_was_offered_works_from_any_offset)
{
	setup(256 << 10);
	for (uint32_t offset = 0; offset < VMBUS_PAGE_SIZE; offset += 1364) {
		struct srb srb = srb_rw(offset % 8 == 0, 1, 512);

		srb.offset = offset;
		expect_success(&srb, "256 KiB");
	}
	cr_expect_eq(disk.len, 256 << 10);
	teardown();
}

/* -- Outcomes ------------------------------------------------------------- */

Test(srb, every_outcome_has_its_statuses_and_sense)
{
	static const struct {
		const char *name;
		int result;
		bool write, read_only;
		uint8_t cdb0; /* 0: a read or write */
		uint8_t srb, scsi, key, asc, ascq;
		uint32_t status;
	} rows[] = {
		{"read error", -EIO, false, false, 0, 0x84, 2, 3, 0x11, 0, 0xc0000185},
		{"write error", -EIO, true, false, 0, 0x84, 2, 3, 0x0c, 0, 0xc0000185},
		{"no space", -ENOSPC, true, false, 0, 0x84, 2, 7, 0x27, 7, 0xc0000185},
		{"quota", -EDQUOT, true, false, 0, 0x84, 2, 7, 0x27, 7, 0xc0000185},
		{"file limit", -EFBIG, true, false, 0, 0x84, 2, 7, 0x27, 7, 0xc0000185},
		{"read-only file", -EROFS, true, false, 0, 0x84, 2, 7, 0x27, 0, 0xc0000185},
		{"read-only disk", 0, true, true, 0, 0x84, 2, 7, 0x27, 0, 0xc0000185},
		{"out of memory", -ENOMEM, false, false, 0, 0x05, 8, 0, 0, 0, 0x80000011},
		{"again", -EAGAIN, true, false, 0, 0x05, 8, 0, 0, 0, 0x80000011},
		{"invalid", -EINVAL, false, false, 0, 0x86, 2, 5, 0x24, 0, 0xc0000185},
		{"gone", -ESHUTDOWN, false, false, 0, 0x20, 2, 0, 0, 0, 0xc00000c0},
		{"unknown opcode", 0, false, false, 0xff, 0x86, 2, 5, 0x20, 0, 0xc0000185},
	};

	setup(0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct srb srb = srb_rw(rows[i].write, 1, 1), again = srb_rw(false, 1, 1);
		const struct vsp_storvsp_srb *s;
		struct answer a;

		/* what is read-only is found out when the disk is put in */
		disk.info.read_only = rows[i].read_only;
		cr_assert_eq(vsp_storage_remove_disk(h.storage, 0), 0);
		cr_assert_eq(vsp_storage_add_disk(h.storage, 0, ref), 0);
		disk.result = rows[i].result;
		if (rows[i].cdb0)
			srb.cdb[0] = rows[i].cdb0;
		harness_run(&h);
		cr_assert(answer_take(line, &a)); /* ENUMERATE_BUS */
		a = srb_exchange(&h, line, &srb);
		s = &a.p.u.srb;
		cr_expect_eq(s->srb_status, rows[i].srb, "%s: %02x", rows[i].name, s->srb_status);
		cr_expect_eq(s->scsi_status, rows[i].scsi, "%s", rows[i].name);
		cr_expect_eq(s->u.sense[2], rows[i].key, "%s", rows[i].name);
		cr_expect_eq(s->u.sense[12], rows[i].asc, "%s", rows[i].name);
		cr_expect_eq(s->u.sense[13], rows[i].ascq, "%s", rows[i].name);
		cr_expect_eq(s->sense_length, rows[i].srb & 0x80 ? 18 : 0, "%s", rows[i].name);
		cr_expect_eq(s->transfer_length, 0, "%s", rows[i].name);
		cr_expect_eq(a.p.status, rows[i].status, "%s", rows[i].name);
		disk.result = 0;
		cr_expect_eq(srb_exchange(&h, line, &again).p.u.srb.srb_status, 1, "%s",
			     rows[i].name);
	}
	teardown();
}

/* Requests' memory is used again and again: no outcome may shine through the next. */
Test(srb, an_outcome_is_not_the_one_before)
{
	struct srb fine = srb_rw(false, 1, 1), malformed = srb_rw(false, 1, 1),
		   unknown = {.cdb = {0xff}};
	struct answer a;

	setup(0);
	malformed.ranges = 2;
	disk.result = -ESHUTDOWN;
	cr_expect_eq(srb_exchange(&h, line, &fine).p.u.srb.srb_status, 0x20);
	cr_expect_eq(srb_exchange(&h, line, &malformed).p.u.srb.srb_status, 0x86);
	disk.result = 0;
	cr_assert_eq(vsp_storage_add_disk(h.storage, 1, ref), 0);
	harness_run(&h);
	cr_assert(answer_take(line, &a)); /* ENUMERATE_BUS */
	cr_expect_eq(srb_exchange(&h, line, &unknown).p.u.srb.u.sense[12], 0x20);
	disk.queue_result = -ENOMEM;
	fine.lun = 1;
	a = srb_exchange(&h, line, &fine);
	cr_expect_eq(a.p.u.srb.srb_status, 5);
	cr_expect_eq(a.p.u.srb.scsi_status, 8);
	cr_expect_eq(a.p.u.srb.sense_length, 0);
	for (unsigned int i = 0; i < sizeof(a.p.u.srb.u.sense); i++)
		cr_expect_eq(a.p.u.srb.u.sense[i], 0);
	disk.queue_result = 0;
	teardown();
}

Test(srb, a_capacity_that_has_no_room_is_an_overrun)
{
	struct srb srb = {
	    .direction = VSP_SRB_READ, .cdb = {0x25}, .len = 4, .pfn = HARNESS_DATA_PFN};
	struct answer a;

	setup(0);
	a = srb_exchange(&h, line, &srb);
	cr_expect_eq(a.p.u.srb.srb_status, 0x92);
	cr_expect_eq(a.p.status, 0x80000005);
	cr_expect_eq(a.p.u.srb.transfer_length, 0);
	teardown();
}

/* Linux turns a failed INQUIRY or MODE SENSE into a success. */
Test(srb, a_failed_inquiry_or_mode_sense_moves_nothing)
{
	static const uint8_t cdbs[][16] = {
		{0x12, 1, 0x55, 0, 255}, {0x12, 0, 0x80, 0, 255}, {0x1a, 0, 0x2a, 0, 255},
		{0x1a, 0, 0xff, 0, 255}, {0x5a, 0, 0x11, [8] = 255},
	};

	setup(0);
	for (size_t i = 0; i < sizeof(cdbs) / sizeof(cdbs[0]); i++) {
		struct srb srb = {.direction = VSP_SRB_READ, .len = 255, .pfn = HARNESS_DATA_PFN};
		uint8_t *page = harness_page(&h, HARNESS_DATA_PFN);
		struct answer a;

		memcpy(srb.cdb, cdbs[i], 16);
		memset(page, 0x5a, 256);
		a = srb_exchange(&h, line, &srb);
		cr_expect_eq(a.p.u.srb.srb_status, 0x86, "row %zu", i);
		cr_expect_eq(a.p.u.srb.transfer_length, 0, "row %zu", i);
		cr_expect(page[0] == 0x5a && memcmp(page, page + 1, 255) == 0, "row %zu", i);
	}
	teardown();
}

static uint32_t luns_reported(uint8_t target, uint8_t *luns)
{
	struct srb srb = {.direction = VSP_SRB_READ, .target = target, .cdb = {0xa0, [8] = 0x10},
			  .len = 4096, .pfn = HARNESS_DATA_PFN};
	struct answer a = srb_exchange(&h, line, &srb);
	const uint8_t *list = harness_page(&h, HARNESS_DATA_PFN);
	uint32_t n = ((uint32_t)list[2] << 8 | list[3]) / 8;

	cr_expect_eq(a.p.u.srb.srb_status, 1);
	cr_expect_eq(a.p.u.srb.transfer_length, 8 + 8 * n);
	for (uint32_t i = 0; i < n; i++)
		luns[i] = list[8 + 8 * i + 1];
	return n;
}

Test(srb, the_controller_answers_where_no_disk_is)
{
	struct srb inquiry = {.direction = VSP_SRB_READ,
			      .lun = 3,
			      .cdb = {0x12, [4] = 36},
			      .len = 36,
			      .pfn = HARNESS_DATA_PFN};
	struct srb ready = {.direction = VSP_SRB_NONE, .lun = 3};
	uint8_t luns[8] = {0};

	setup(0);
	cr_assert_eq(vsp_storage_add_disk(h.storage, 63, ref), 0);
	cr_assert_eq(vsp_storage_add_disk(h.storage, 255, ref), 0);
	harness_run(&h);
	{
		struct answer a;

		cr_assert(answer_take(line, &a));
	}
	cr_expect_eq(luns_reported(0, luns), 3);
	cr_expect_eq(memcmp(luns, (uint8_t[]){0, 63, 255}, 3), 0);
	cr_expect_eq(luns_reported(1, luns), 0);
	expect_success(&inquiry, "INQUIRY of no LUN");
	cr_expect_eq(*harness_page(&h, HARNESS_DATA_PFN), 0x7f);
	cr_expect_eq(srb_exchange(&h, line, &ready).p.u.srb.srb_status, 0x20);
	inquiry.lun = ready.lun = 0;
	inquiry.path = ready.path = 1;
	expect_success(&inquiry, "INQUIRY on another path");
	cr_expect_eq(*harness_page(&h, HARNESS_DATA_PFN), 0x7f);
	cr_expect_eq(srb_exchange(&h, line, &ready).p.u.srb.srb_status, 0x20);
	inquiry.path = 0;
	expect_success(&inquiry, "INQUIRY of the disk");
	cr_expect_eq(*harness_page(&h, HARNESS_DATA_PFN), 0);
	teardown();
}
