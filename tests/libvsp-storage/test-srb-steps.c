/* SPDX-License-Identifier: MIT */
/* Requests that ask the disk more than once, and what a disk in memory makes of them. */
#include "srb-fixture.h"

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
			cr_assert_eq(page[0], at >= lba && at < end ? 0 : 0x66, "row %zu, %u", i,
				     at);
			cr_assert_eq(page[511], page[0], "row %zu, %u", i, at);
		}
	}
	teardown();
}
