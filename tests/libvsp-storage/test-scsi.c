/* SPDX-License-Identifier: MIT */
/* SCSI commands as a table: a CDB in, status, sense and data out. Expected values are
 * those of SPC-4 and SBC-3, and what Linux and Windows guests insist on. */
#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>

#include "scsi-fixture.h"

/* -- Reads and writes ----------------------------------------------------- */

Test(scsi, reads_and_writes_of_every_length_name_the_right_bytes)
{
	static const struct {
		const char *name;
		uint8_t cdb[16];
		enum vsp_block_op op;
		uint64_t lba, blocks;
		bool fua;
	} rows[] = {
		{"READ(6)", {0x08, 0xe0, 0x01, 0x02, 3}, VSP_BLOCK_READ, 0x102, 3, false},
		{"READ(6) of 256", {0x08, 0, 0, 0, 0}, VSP_BLOCK_READ, 0, 256, false},
		{"WRITE(6)", {0x0a, 0, 0x02, 0x01, 4}, VSP_BLOCK_WRITE, 0x201, 4, false},
		{"READ(10)", {0x28, 0, 0, 0, 7, 0xff, 0, 0, 1}, VSP_BLOCK_READ, 2047, 1, false},
		{"READ(10) DPO", {0x28, 0x10, 0, 0, 0, 1, 0, 0, 1}, VSP_BLOCK_READ, 1, 1, false},
		{"WRITE(10)", {0x2a, 0, 0, 0, 1, 0, 0, 1, 2}, VSP_BLOCK_WRITE, 256, 258, false},
		{"WRITE(10) FUA", {0x2a, 0x08, 0, 0, 1, 0, 0, 0, 2}, VSP_BLOCK_WRITE, 256, 2, true},
		{"READ(12)", {0xa8, 0, 0, 0, 2, 0, 0, 0, 1, 1}, VSP_BLOCK_READ, 512, 257, false},
		{"WRITE(12)", {0xaa, 0, 0, 0, 2, 0, 0, 0, 0, 1}, VSP_BLOCK_WRITE, 512, 1, false},
		{"READ(16)", {0x88, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 8}, VSP_BLOCK_READ, 9, 8,
		 false},
		{"WRITE(16) FUA", {0x8a, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0}, VSP_BLOCK_WRITE,
		 0,
		 2048, true},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool write = rows[i].op == VSP_BLOCK_WRITE;
		struct scsi_command cmd = command(rows[i].cdb, write ? OUT : IN, MIB);

		cr_expect_eq(vsp_scsi_execute(&cmd), SCSI_BLOCK, "%s", rows[i].name);
		cr_expect_eq(cmd.op, rows[i].op, "%s", rows[i].name);
		cr_expect_eq(cmd.offset, rows[i].lba * 512, "%s: %lu", rows[i].name, cmd.offset);
		cr_expect_eq(cmd.len, rows[i].blocks * 512, "%s: %lu", rows[i].name, cmd.len);
		cr_expect_eq(cmd.fua, rows[i].fua, "%s", rows[i].name);
	}
}

Test(scsi, nothing_at_the_very_end_is_good)
{
	static const uint8_t cdb[16] = {0x28, 0, 0, 0, 8, 0, 0, 0, 0};
	struct scsi_command cmd = command(cdb, NONE, 0);

	cr_expect_eq(vsp_scsi_execute(&cmd), SCSI_DONE);
	cr_expect_eq(cmd.status, SCSI_GOOD);
}

Test(scsi, a_read_only_disk_says_so)
{
	static const uint8_t mode[16] = {0x1a, 0, 0x3f, 0, 255};
	struct vsp_block_info info = writable;
	struct scsi_command cmd;

	info.read_only = true;
	cmd = command(mode, IN, 255);
	cmd.disk = &info;
	cr_expect_eq(vsp_scsi_execute(&cmd), SCSI_DONE);
	cr_expect(data[2] & 0x80, "the write-protect bit");
}

/* -- Data ----------------------------------------------------------------- */

static uint32_t run_in(const uint8_t *cdb, uint32_t buffer)
{
	struct scsi_command cmd = command(cdb, IN, buffer);

	memset(data, 0xee, sizeof(data));
	cr_expect_eq(vsp_scsi_execute(&cmd), SCSI_DONE);
	cr_expect_eq(cmd.status, SCSI_GOOD, "opcode %02x", cdb[0]);
	return cmd.data_len;
}

Test(scsi, inquiry_says_what_guests_look_for)
{
	static const uint8_t full[16] = {0x12, 0, 0, 0x01, 0xff}, cut[16] = {0x12, 0, 0, 0, 36};

	cr_expect_eq(run_in(full, 4096), 104);
	cr_expect_eq(data[0], 0);
	cr_expect_eq(data[2], 5);
	cr_expect_eq(data[4], 104 - 5, "additional length");
	cr_expect_eq(data[7], 0x02, "command queueing");
	cr_expect_eq(memcmp(data + 8, "Msft    Virtual Disk    1.0 ", 28), 0);
	cr_expect_eq(run_in(cut, 4096), 36);
	cr_expect_eq(data[4], 104 - 5, "truncation changes no length");
	cr_expect_eq(run_in(full, 5), 5, "the buffer limits too");
}

Test(scsi, every_listed_vital_product_data_page_is_there)
{
	uint8_t cdb[16] = {0x12, 0x01, 0x00, 0, 0xff};
	uint8_t list[16];
	uint32_t n;

	cr_assert_eq(run_in(cdb, 255), 4 + 8);
	n = data[3];
	memcpy(list, data + 4, n);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t len;

		cr_expect(i == 0 || list[i] > list[i - 1], "ascending");
		cdb[2] = list[i];
		len = run_in(cdb, 255);
		cr_expect_eq(data[1], list[i]);
		cr_expect_eq(scsi_get16(data + 2) + 4, len, "page %02x", list[i]);
		cr_expect_gt(scsi_get16(data + 2), 0, "Linux ignores an empty page");
	}
	cdb[2] = 0x83;
	run_in(cdb, 255);
	cr_expect_eq(memcmp(data + 4, "\x01\x01\x00\x18Msft    ", 12), 0);
	cr_expect_eq(memcmp(data + 32, "\x01\x03\x00\x10\x60\x02\x24\x80\x10\x11\x12\x13\x14\x15"
				       "\x1a\x1b\x1c\x1d\x1e\x1f", 20), 0, "NAA of the GUID");
	cdb[2] = 0xb0;
	run_in(cdb, 255);
	cr_expect_eq(scsi_get32(data + 28), 128, "unmap granularity in blocks");
	cdb[2] = 0xb2;
	run_in(cdb, 255);
	cr_expect_eq(data[5], 0xe4, "UNMAP, WRITE SAME with it, and zeros after it");
	cr_expect_eq(data[6], 2, "thin");
}

Test(scsi, an_absent_lun_is_no_device_and_no_error)
{
	static const uint8_t cdb[16] = {0x12, 0, 0, 0, 36}, evpd[16] = {0x12, 1, 0x80, 0, 36};
	struct scsi_command cmd = command(cdb, IN, 36);

	cr_expect_eq(vsp_scsi_inquiry_absent(&cmd, 1), SCSI_DONE);
	cr_expect_eq(cmd.status, SCSI_GOOD);
	cr_expect_eq(data[0], 0x7f);
	cr_expect_eq(cmd.data_len, 36);
	cmd = command(evpd, IN, 36);
	cr_expect_eq(vsp_scsi_inquiry_absent(&cmd, 1), SCSI_DONE);
	cr_expect_eq(cmd.sense, SCSI_SENSE_INVALID_CDB);
}

Test(scsi, capacity_of_small_and_of_huge_disks)
{
	static const uint8_t ten[16] = {0x25}, sixteen[16] = {0x9e, 0x10, [13] = 32};
	struct vsp_block_info huge = writable;
	struct scsi_command cmd;

	cr_expect_eq(run_in(ten, 8), 8);
	cr_expect_eq(scsi_get32(data), BLOCKS - 1);
	cr_expect_eq(scsi_get32(data + 4), 512);
	cr_expect_eq(run_in(sixteen, 32), 32);
	cr_expect_eq(scsi_get64(data), BLOCKS - 1);
	cr_expect_eq(data[13], 3, "512e");
	cr_expect_eq(data[14], 0xc0, "LBPME, LBPRZ");
	huge.size = 4ull << 40;
	cmd = command(ten, IN, 8);
	cmd.disk = &huge;
	cr_expect_eq(vsp_scsi_execute(&cmd), SCSI_DONE);
	cr_expect_eq(scsi_get32(data), 0xffffffff, "says: ask READ CAPACITY(16)");
}

Test(scsi, mode_pages_alone_equal_their_copy_among_all)
{
	static const uint8_t codes[] = {0x01, 0x08, 0x0a, 0x1c};
	uint8_t all_cdb[16] = {0x5a, 0, 0x3f, 0, 0, 0, 0, 1, 0}, one_cdb[16] = {0x1a, 0, 0, 0, 255};
	uint8_t all[256];
	uint32_t len = run_in(all_cdb, 256), at = 8;

	memcpy(all, data, len);
	cr_expect_eq(scsi_get16(all) + 2, len, "mode data length");
	cr_expect_eq(all[3], 0x10, "DPOFUA, not write protected");
	for (size_t i = 0; i < sizeof(codes); i++) {
		uint32_t one;

		one_cdb[2] = codes[i];
		one = run_in(one_cdb, 255);
		cr_expect_eq(data[0] + 1u, one);
		cr_expect_eq(memcmp(data + 4, all + at, one - 4), 0, "page %02x", codes[i]);
		at += one - 4;
	}
	cr_expect_eq(at, len);
	one_cdb[2] = 0x08;
	run_in(one_cdb, 255);
	cr_expect_eq(data[6], 0x04, "the write cache is on: flush");
	one_cdb[2] = 0x48;
	run_in(one_cdb, 255);
	cr_expect_eq(data[6], 0, "nothing is changeable");
	one_cdb[2] = 0x3f;
	one_cdb[4] = 4;
	cr_expect_eq(run_in(one_cdb, 255), 4, "Linux asks for 4 bytes first");
}

/* -- UNMAP, attention, errors --------------------------------------------- */

static void unmap_list(uint32_t n, uint64_t lba, uint32_t count)
{
	memset(data, 0, sizeof(data));
	scsi_put16(data, 6 + 16 * n);
	scsi_put16(data + 2, 16 * n);
	for (uint32_t i = 0; i < n; i++) {
		scsi_put64(data + 8 + 16 * i, lba + i * count);
		scsi_put32(data + 16 + 16 * i, count);
	}
}

Test(scsi, unmap_checks_all_ranges_before_it_does_any)
{
	static const uint8_t cdb[16] = {0x42, [8] = 8 + 16 * 2};
	struct scsi_command cmd = command(cdb, OUT, 40);

	cr_expect_eq(vsp_scsi_wants(cdb), 40);
	unmap_list(2, 16, 8);
	for (uint64_t i = 0; i < 2; i++) {
		cr_expect_eq(i == 0 ? vsp_scsi_execute(&cmd) : vsp_scsi_next(&cmd, 0), SCSI_BLOCK);
		cr_expect_eq(cmd.op, VSP_BLOCK_UNMAP);
		cr_expect_eq(cmd.offset, (16 + 8 * i) * 512);
		cr_expect_eq(cmd.len, 8 * 512);
	}
	cr_expect_eq(vsp_scsi_next(&cmd, 0), SCSI_DONE);
	cr_expect_eq(cmd.status, SCSI_GOOD);
	cr_expect_eq(cmd.moved, 40);

	scsi_put32(data + 32, BLOCKS); /* the second range reaches past the end */
	cr_expect_eq(vsp_scsi_execute(&cmd), SCSI_DONE);
	cr_expect_eq(cmd.sense, SCSI_SENSE_LBA_RANGE);

	unmap_list(2, 16, 8);
	scsi_put16(data, 7);
	cr_expect_eq(vsp_scsi_execute(&cmd), SCSI_DONE);
	cr_expect_eq(cmd.sense, SCSI_SENSE_INVALID_PARAMETER, "the list's own length");

	unmap_list(2, 16, 8);
	scsi_put16(data + 2, 64);
	cr_expect_eq(vsp_scsi_execute(&cmd), SCSI_DONE);
	cr_expect_eq(cmd.sense, SCSI_SENSE_PARAMETER_LENGTH, "more descriptors than list");

	unmap_list(2, 16, 8);
	scsi_put16(data + 2, 0);
	cr_expect_eq(vsp_scsi_execute(&cmd), SCSI_DONE);
	cr_expect_eq(cmd.status, SCSI_GOOD, "no descriptors are nothing to do");
}

Test(scsi, unit_attention_is_reported_once_and_not_by_inquiry)
{
	static const uint8_t inquiry[16] = {0x12, 0, 0, 0, 36}, ready[16] = {0x00},
			     sense[16] = {0x03, 0, 0, 0, 18},
			     descriptors[16] = {0x03, 1, 0, 0, 18};
	struct scsi_command cmd = command(inquiry, IN, 36);

	cmd.attention = SCSI_SENSE_CAPACITY_CHANGED;
	vsp_scsi_execute(&cmd);
	cr_expect_eq(cmd.status, SCSI_GOOD);
	cr_expect_not(cmd.took_attention);

	cmd = command(ready, NONE, 0);
	cmd.attention = SCSI_SENSE_CAPACITY_CHANGED;
	vsp_scsi_execute(&cmd);
	cr_expect_eq(cmd.sense, SCSI_SENSE_CAPACITY_CHANGED);
	cr_expect(cmd.took_attention);

	cmd = command(sense, IN, 18);
	cmd.attention = SCSI_SENSE_CAPACITY_CHANGED;
	vsp_scsi_execute(&cmd);
	cr_expect_eq(cmd.status, SCSI_GOOD);
	cr_expect(cmd.took_attention);
	cr_expect_eq(memcmp(data, "\x70\x00\x06\0\0\0\0\x0a\0\0\0\0\x2a\x09", 14), 0);

	cmd = command(descriptors, IN, 18);
	cmd.attention = SCSI_SENSE_CAPACITY_CHANGED;
	vsp_scsi_execute(&cmd);
	cr_expect(cmd.took_attention);
	cr_expect_eq(cmd.data_len, 8);
	cr_expect_eq(memcmp(data, "\x72\x06\x2a\x09\0\0\0\0", 8), 0);
}

Test(scsi, the_hosts_errors_become_sense)
{
	static const struct {
		int error;
		enum vsp_block_op op;
		uint8_t status;
		enum scsi_sense sense;
	} rows[] = {
		{0, VSP_BLOCK_READ, SCSI_GOOD, SCSI_SENSE_NONE},
		{-EIO, VSP_BLOCK_READ, SCSI_CHECK_CONDITION, SCSI_SENSE_READ_ERROR},
		{-EIO, VSP_BLOCK_WRITE, SCSI_CHECK_CONDITION, SCSI_SENSE_WRITE_ERROR},
		{-EIO, VSP_BLOCK_FLUSH, SCSI_CHECK_CONDITION, SCSI_SENSE_WRITE_ERROR},
		{-ENOSPC, VSP_BLOCK_WRITE, SCSI_CHECK_CONDITION, SCSI_SENSE_NO_SPACE},
		{-EROFS, VSP_BLOCK_WRITE, SCSI_CHECK_CONDITION, SCSI_SENSE_WRITE_PROTECTED},
		{-EDQUOT, VSP_BLOCK_WRITE, SCSI_CHECK_CONDITION, SCSI_SENSE_NO_SPACE},
		{-EFBIG, VSP_BLOCK_WRITE, SCSI_CHECK_CONDITION, SCSI_SENSE_NO_SPACE},
		{-EINVAL, VSP_BLOCK_READ, SCSI_CHECK_CONDITION, SCSI_SENSE_INVALID_CDB},
		{-EFAULT, VSP_BLOCK_WRITE, SCSI_CHECK_CONDITION, SCSI_SENSE_INVALID_CDB},
		{-ESHUTDOWN, VSP_BLOCK_READ, SCSI_CHECK_CONDITION, SCSI_SENSE_NONE},
		{-ENOMEM, VSP_BLOCK_READ, SCSI_BUSY, SCSI_SENSE_NONE},
		{-EAGAIN, VSP_BLOCK_WRITE, SCSI_BUSY, SCSI_SENSE_NONE},
		{-EINTR, VSP_BLOCK_WRITE, SCSI_BUSY, SCSI_SENSE_NONE},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct scsi_command cmd = {.op = rows[i].op, .moved = 512};

		vsp_scsi_end(&cmd, rows[i].error);
		cr_expect_eq(cmd.status, rows[i].status, "%s", strerror(-rows[i].error));
		cr_expect_eq(cmd.sense, rows[i].sense, "%s", strerror(-rows[i].error));
		cr_expect_eq(cmd.gone, rows[i].error == -ESHUTDOWN, "%s",
			     strerror(-rows[i].error));
		cr_expect_eq(cmd.moved, rows[i].error ? 0 : 512, "%s", strerror(-rows[i].error));
	}
}
