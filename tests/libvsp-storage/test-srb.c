/* SPDX-License-Identifier: MIT */
/* Requests over real rings: data pages in any layout, answers to every outcome, the
 * limits of the pool and of the answer ring, stop. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "harness.h"

static struct harness h;
static struct held_disk disk;
static struct vsp_disk *ref;
static struct line *line;

static void setup(uint32_t max_transfer)
{
	struct vsp_storage_config config = HARNESS_CONFIG;

	if (max_transfer)
		config.max_transfer = max_transfer;
	ref = held_disk_init(&disk);
	harness_init(&h, config);
	cr_assert_eq(vsp_storage_add_disk(h.storage, 0, ref), 0);
	line = harness_ready(&h, VSP_STORVSP_WIN8);
}

static void teardown(void)
{
	vsp_disk_unref(ref);
	harness_fini(&h);
	cr_expect_eq(disk.closes, 1);
}

static void expect_success(const struct srb *srb, const char *name)
{
	struct answer a = srb_exchange(&h, line, srb);

	cr_expect_eq(a.p.status, 0, "%s: %08x", name, a.p.status);
	cr_expect_eq(a.p.u.srb.srb_status, 1, "%s", name);
	cr_expect_eq(a.p.u.srb.scsi_status, 0, "%s", name);
	cr_expect_eq(a.p.u.srb.transfer_length, srb->len, "%s", name);
	cr_expect_eq(a.p.u.srb.sense_length, 0, "%s", name);
}

/* -- Data pages ----------------------------------------------------------- */

static uint8_t *guest_byte(const struct srb *srb, uint32_t at)
{
	uint32_t page = (srb->offset + at) / VMBUS_PAGE_SIZE;
	uint64_t pfn = srb->pfns ? srb->pfns[page] : srb->pfn + page;

	return harness_page(&h, pfn) + (srb->offset + at) % VMBUS_PAGE_SIZE;
}

static uint8_t pattern(uint32_t seed, uint32_t at)
{
	return (uint8_t)((seed * 2654435761u + at * 40503u) >> 7);
}

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

/* -- More than one operation ---------------------------------------------- */

Test(srb, a_write_with_fua_is_answered_after_the_flush)
{
	struct srb srb = srb_rw(true, 0, 1);
	struct answer a;

	setup(0);
	srb.cdb[1] = 0x08;
	disk.hold = true;
	cr_assert_eq(srb_put(&h, line, 1, &srb), 0);
	harness_run(&h);
	cr_expect_eq(disk.ops[VSP_BLOCK_WRITE], 1);
	held_disk_finish(&disk, 0);
	harness_run(&h);
	cr_expect_not(answer_take(line, &a));
	cr_expect_eq(disk.ops[VSP_BLOCK_FLUSH], 1);
	held_disk_finish(&disk, -EIO);
	harness_run(&h);
	a = answer_expect(line, 1);
	cr_expect_eq(a.p.u.srb.srb_status, 0x84);
	cr_expect_eq(a.p.u.srb.u.sense[12], 0x0c);
	cr_assert_eq(srb_put(&h, line, 2, &srb), 0);
	harness_run(&h);
	held_disk_finish(&disk, -EIO);
	harness_run(&h);
	cr_expect_eq(answer_expect(line, 2).p.u.srb.srb_status, 0x84);
	cr_expect_eq(disk.ops[VSP_BLOCK_FLUSH], 1, "a failed write is not flushed");
	teardown();
}

static uint8_t compare(uint8_t opcode, uint8_t bytchk, uint32_t lba, uint16_t blocks, uint32_t len)
{
	struct srb srb = srb_rw(true, lba, blocks);

	srb.cdb[0] = opcode;
	srb.cdb[1] = (uint8_t)(bytchk << 1);
	srb.len = len;
	srb.offset = 20;
	return srb_exchange(&h, line, &srb).p.u.srb.u.sense[2];
}

Test(srb, verify_compares_each_byte)
{
	struct srb at = srb_rw(true, 0, 0);
	uint32_t len = 40 * 512;

	setup(0);
	at.offset = 20;
	for (uint32_t i = 0; i < len; i++) {
		disk.data[7 * 512 + i] = pattern(5, i);
		*guest_byte(&at, i) = pattern(5, i);
	}
	cr_expect_eq(compare(0x2f, 1, 7, 40, len), 0);
	cr_expect_gt(disk.ops[VSP_BLOCK_READ], 1);
	for (uint32_t i = 0; i < len; i += 4095) {
		*guest_byte(&at, i) ^= 1;
		cr_expect_eq(compare(0x2f, 1, 7, 40, len), 0x0e, "byte %u", i);
		cr_expect_eq(compare(0x2f, 0, 7, 40, len), 0, "not to be compared");
		*guest_byte(&at, i) ^= 1;
	}
	*guest_byte(&at, len - 1) ^= 1;
	cr_expect_eq(compare(0x2f, 1, 7, 40, len), 0x0e);
	cr_expect_eq(compare(0x2f, 1, 7, 40, len - 1), 5, "too little to compare with");
	cr_expect_eq(compare(0x2f, 2, 7, 40, len), 5);
	/* each block with one */
	for (uint32_t i = 0; i < 9 * 512; i++)
		disk.data[100 * 512 + i] = pattern(5, i % 512);
	cr_expect_eq(compare(0x2f, 3, 100, 9, 512), 0);
	disk.data[108 * 512] ^= 1;
	cr_expect_eq(compare(0x2f, 3, 100, 9, 512), 0x0e);
	cr_expect_eq(compare(0x2f, 3, 100, 8, 512), 0);
	cr_expect_eq(disk.ops[VSP_BLOCK_WRITE], 0);
	teardown();
}

Test(srb, write_and_verify_writes_compares_and_flushes)
{
	struct srb at = srb_rw(true, 0, 0);

	setup(0);
	at.offset = 20;
	for (uint32_t i = 0; i < 20 * 512; i++)
		*guest_byte(&at, i) = pattern(6, i);
	cr_expect_eq(compare(0x2e, 0, 50, 20, 20 * 512), 0);
	cr_expect_eq(disk.ops[VSP_BLOCK_WRITE], 1);
	cr_expect_eq(disk.ops[VSP_BLOCK_FLUSH], 1);
	cr_expect_eq(disk.data[50 * 512 + 3], pattern(6, 3));
	cr_expect_eq(compare(0x2e, 1, 90, 20, 20 * 512), 0);
	cr_expect_eq(disk.ops[VSP_BLOCK_FLUSH], 2);
	cr_expect_gt(disk.ops[VSP_BLOCK_READ], 0);
	cr_expect_eq(disk.data[109 * 512 + 3], pattern(6, 19 * 512 + 3));
	cr_expect_eq(compare(0x2e, 3, 90, 20, 20 * 512), 5);
	teardown();
}

static struct answer write_same(uint8_t opcode, uint8_t flags, uint32_t lba, uint16_t blocks)
{
	struct srb srb = srb_rw(true, lba, 0);

	srb.cdb[0] = opcode;
	srb.cdb[1] = flags;
	if (opcode == 0x93) {
		memset(srb.cdb + 2, 0, 14);
		srb.cdb[8] = (uint8_t)(lba >> 8);
		srb.cdb[9] = (uint8_t)lba;
		srb.cdb[12] = (uint8_t)(blocks >> 8);
		srb.cdb[13] = (uint8_t)blocks;
	} else {
		srb.cdb[7] = (uint8_t)(blocks >> 8);
		srb.cdb[8] = (uint8_t)blocks;
	}
	srb.len = flags & 1 ? 0 : 512;
	srb.offset = 3000;
	return srb_exchange(&h, line, &srb);
}

/* Blocks [@lba, @lba + @blocks) hold the block at @block, the ones around do not. */
static bool disk_holds(uint32_t lba, uint32_t blocks, const uint8_t *block)
{
	bool same = lba == 0 || memcmp(disk.data + (lba - 1) * 512, block, 512) != 0;

	for (uint32_t i = 0; i < blocks; i++)
		same &= memcmp(disk.data + (lba + i) * 512, block, 512) == 0;
	if (lba + blocks < HARNESS_DISK / 512)
		same &= memcmp(disk.data + (lba + blocks) * 512, block, 512) != 0;
	return same;
}

Test(srb, write_same_writes_one_block_all_over)
{
	static const uint8_t zeros[512];
	uint8_t block[512];
	struct answer a;

	setup(0);
	memset(disk.data, 0x99, HARNESS_DISK);
	for (uint32_t i = 0; i < 512; i++)
		block[i] = pattern(8, i);
	memcpy(harness_page(&h, HARNESS_DATA_PFN) + 3000, block, 512);
	a = write_same(0x41, 0, 100, 1);
	cr_expect_eq(a.p.u.srb.srb_status, 1);
	cr_expect_eq(a.p.u.srb.transfer_length, 512);
	cr_expect(disk_holds(100, 1, block));
	cr_expect_eq(write_same(0x93, 0, 200, 1000).p.u.srb.srb_status, 1);
	cr_expect(disk_holds(200, 1000, block));
	cr_expect_eq(write_same(0x93, 0x08, 1300, 13).p.u.srb.srb_status, 1);
	cr_expect(disk_holds(1300, 13, block), "UNMAP, but not of zeros");
	cr_expect_eq(disk.ops[VSP_BLOCK_UNMAP] + disk.ops[VSP_BLOCK_ZERO], 0);
	memset(harness_page(&h, HARNESS_DATA_PFN) + 3000, 0, 512);
	cr_expect_eq(write_same(0x41, 0, 220, 100).p.u.srb.srb_status, 1);
	cr_expect(disk_holds(220, 100, zeros));
	cr_expect_eq(disk.ops[VSP_BLOCK_ZERO], 1);
	a = write_same(0x93, 0x09, 400, 100);
	cr_expect_eq(a.p.u.srb.srb_status, 1);
	cr_expect_eq(a.p.u.srb.transfer_length, 0);
	cr_expect(disk_holds(400, 100, zeros), "without data-out");
	cr_expect_eq(disk.ops[VSP_BLOCK_UNMAP], 1);
	cr_expect_eq(write_same(0x41, 0, 1800, 0).p.u.srb.srb_status, 1);
	cr_expect(disk_holds(1800, 248, zeros), "to the end");
	disk.result = -EOPNOTSUPP;
	cr_expect_eq(write_same(0x41, 0, 600, 1).p.u.srb.srb_status, 0x84, "nor can it be written");
	teardown();
}

Test(srb, unmap_goes_through_its_list)
{
	uint8_t *list = NULL;
	struct srb srb = {.direction = VSP_SRB_WRITE,
			  .cdb = {0x42, [8] = 8 + 3 * 16},
			  .len = 8 + 3 * 16,
			  .pfn = HARNESS_DATA_PFN};

	setup(0);
	memset(disk.data, 0x99, HARNESS_DISK);
	list = harness_page(&h, HARNESS_DATA_PFN);
	memset(list, 0, 64);
	list[1] = 6 + 48;
	list[3] = 48;
	list[8 + 7] = 10; /* 10 + 2, nothing, 20 + 1 */
	list[8 + 11] = 2;
	list[24 + 7] = 15;
	list[40 + 7] = 20;
	list[40 + 11] = 1;
	expect_success(&srb, "two ranges and an empty one");
	cr_expect_eq(disk.ops[VSP_BLOCK_UNMAP], 2);
	cr_expect_eq(disk.data[10 * 512], 0);
	cr_expect_eq(disk.data[12 * 512], 0x99);
	cr_expect_eq(disk.data[20 * 512], 0);
	disk.result = -EIO;
	cr_expect_eq(srb_exchange(&h, line, &srb).p.u.srb.srb_status, 0x84, "zeros were promised");
	teardown();
}

/* -- Limits --------------------------------------------------------------- */

Test(srb, a_pool_that_is_empty_makes_the_guest_wait)
{
	struct srb srb = srb_rw(false, 0, 1);
	struct answer a;

	setup(0); /* 8 requests */
	disk.hold = true;
	for (uint64_t i = 1; i <= 30; i++)
		cr_assert_eq(srb_put(&h, line, i, &srb), 0);
	harness_run(&h);
	cr_expect_eq(disk.held_count, 8);
	cr_expect_not(vmbus_rx_pending(&line->rx));
	for (uint64_t i = 1; i <= 30; i++) {
		held_disk_finish(&disk, 0);
		harness_run(&h);
		cr_expect_eq(answer_expect(line, i).p.u.srb.srb_status, 1);
		cr_expect_eq(disk.held_count, i <= 22 ? 8 : 30 - i);
	}
	cr_expect_not(answer_take(line, &a));
	teardown();
}

Test(srb, two_requests_with_one_id_are_both_answered)
{
	struct srb srb = srb_rw(false, 0, 1);

	setup(0);
	disk.hold = true;
	cr_assert_eq(srb_put(&h, line, 42, &srb), 0);
	cr_assert_eq(srb_put(&h, line, 42, &srb), 0);
	harness_run(&h);
	held_disk_finish(&disk, 0);
	held_disk_finish(&disk, 0);
	harness_run(&h);
	answer_expect(line, 42);
	answer_expect(line, 42);
	teardown();
}

/* Puts until nothing more is taken; returns how many were put. */
static uint64_t flood(void)
{
	struct srb srb = {.direction = VSP_SRB_NONE};
	uint64_t put = 0;

	for (unsigned int tries = 0; tries < 2;) {
		if (srb_put(&h, line, put, &srb) == 0) {
			put++;
			tries = 0;
			continue;
		}
		tries++;
		harness_run(&h);
	}
	return put;
}

Test(srb, a_guest_that_takes_no_answers_is_not_served_until_it_does)
{
	uint64_t put, taken = 0;
	struct answer a;

	setup(0);
	put = flood();
	cr_expect_lt(put, 300, "both rings are full");
	cr_expect_gt(line->controls[1]->pending_send_size, 0, "the host asks to be told");
	while (answer_take(line, &a)) {
		cr_expect_eq(a.id, taken);
		taken++;
		harness_run(&h);
	}
	cr_expect_eq(taken, put);
	teardown();
}

/* An old guest promises no signal when space comes free. */
Test(srb, a_guest_that_cannot_tell_of_free_space_is_looked_after)
{
	uint64_t put, taken = 0;
	struct answer a;

	setup(0);
	harness_close(&h);
	harness_run(&h);
	cr_assert_eq(vmbus_loop_new(NULL, &h.loop, NULL), 0);
	line = harness_ready(&h, VSP_STORVSP_WIN8);
	line->controls[0]->feature_bits = 0;
	put = flood();
	while (answer_take(line, &a))
		taken++;
	cr_expect_lt(taken, put);
	/* nobody rings: only the timer */
	for (int i = 0; i < 100 && taken < put; i++) {
		uint64_t rung;

		(void)!vmbus_loop_step(h.loop, 20000000);
		for (unsigned int k = 0; k < h.mock.doorbell_count; k++)
			if (read(h.mock.doorbells[k].fd, &rung, sizeof(rung)) == sizeof(rung))
				harness_run(&h);
		while (answer_take(line, &a))
			taken++;
	}
	cr_expect_eq(taken, put);
	vsp_disk_unref(ref);
	harness_fini(&h);
	vmbus_loop_free(h.loop);
}

/* -- Stop ----------------------------------------------------------------- */

Test(srb, a_reset_is_acknowledged_and_what_runs_goes_on)
{
	struct srb srb = srb_rw(true, 0, 1);

	setup(0);
	disk.hold = true;
	cr_assert_eq(srb_put(&h, line, 1, &srb), 0);
	harness_run(&h);
	for (uint32_t op = VSP_STORVSP_RESET_LUN; op <= VSP_STORVSP_RESET_BUS; op++)
		cr_expect_eq(message_exchange(&h, line, op, 0), 0);
	held_disk_finish(&disk, 0);
	harness_run(&h);
	cr_expect_eq(answer_expect(line, 1).p.u.srb.srb_status, 1);
	teardown();
}

Test(srb, a_channel_closes_after_its_last_request)
{
	struct srb srb = srb_rw(true, 0, 16);

	setup(0);
	disk.hold = true;
	for (uint64_t i = 0; i < 5; i++)
		cr_assert_eq(srb_put(&h, line, i, &srb), 0);
	harness_run(&h);
	harness_close(&h);
	for (int i = 0; i < 5; i++) {
		harness_run(&h);
		cr_expect_eq(disk.queues, 1, "still open");
		held_disk_finish(&disk, i % 2 ? -EIO : 0);
	}
	harness_run(&h);
	cr_expect_eq(disk.queues, 0);
	disk.hold = false;
	line = harness_ready(&h, VSP_STORVSP_WIN10);
	expect_success(&srb, "opened again");
	teardown();
}

Test(srb, counts_what_it_did)
{
	struct srb read = srb_rw(false, 0, 2), write = srb_rw(true, 0, 4),
		   bad = srb_rw(false, 0xffffffff, 1);
	struct srb flush = {.direction = VSP_SRB_NONE, .cdb = {0x35}};
	struct srb ready = {.direction = VSP_SRB_NONE};
	struct vsp_storage_stats s;

	setup(0);
	for (int i = 0; i < 3; i++)
		expect_success(&read, "read");
	expect_success(&write, "write");
	expect_success(&flush, "flush");
	expect_success(&ready, "ready");
	(void)srb_exchange(&h, line, &bad);
	for (int i = 0; i < 2; i++) { /* open, and closed */
		vsp_storage_get_stats(h.storage, &s);
		cr_expect_eq(s.reads, 3);
		cr_expect_eq(s.read_bytes, 3 * 1024);
		cr_expect_eq(s.writes, 1);
		cr_expect_eq(s.write_bytes, 2048);
		cr_expect_eq(s.flushes, 1);
		cr_expect_eq(s.other, 2);
		cr_expect_eq(s.errors, 1);
		cr_expect_eq(s.bad_requests, 0);
		if (i == 0)
			harness_close(&h);
		harness_run(&h);
	}
	teardown();
}

/* -- The RAM disk --------------------------------------------------------- */

Test(srb, a_ram_disk_keeps_what_was_written_and_forgets_what_was_unmapped)
{
	static const struct {
		uint16_t lba, blocks;
	} rows[] = {{0, 1}, {9, 130}, {8, 127}, {3, 128}, {1000, 1048}, {0, 2048}};
	struct srb rw = srb_rw(true, 0, 128);
	uint8_t *page;
	struct vsp_disk *ram;

	setup(0);
	page = harness_page(&h, HARNESS_DATA_PFN);
	cr_expect_eq(vsp_disk_ram(100, &ram), -EINVAL);
	cr_assert_eq(vsp_disk_ram(HARNESS_DISK, &ram), 0);
	cr_assert_eq(vsp_storage_remove_disk(h.storage, 0), 0);
	cr_assert_eq(vsp_storage_add_disk(h.storage, 0, ram), 0);
	vsp_disk_unref(ram);
	harness_run(&h);
	{
		struct answer a;

		cr_assert(answer_take(line, &a)); /* ENUMERATE_BUS */
	}
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t lba = rows[i].lba, end = lba + rows[i].blocks;

		memset(page, 0x66, 128 * 512);
		for (uint16_t at = 0; at < 2048; at += 128) {
			rw = srb_rw(true, at, 128);
			expect_success(&rw, "write");
		}
		cr_expect_eq(write_same(0x93, 0x09, lba, rows[i].blocks).p.u.srb.srb_status, 1);
		for (uint32_t at = 0; at < 2048; at++) {
			rw = srb_rw(false, at, 1);
			memset(page, 0x11, 512);
			expect_success(&rw, "read");
			cr_assert_eq(page[0], at >= lba && at < end ? 0 : 0x66, "row %zu, %u", i, at);
			cr_assert_eq(page[511], page[0], "row %zu, %u", i, at);
		}
	}
	teardown();
}
