/* SPDX-License-Identifier: MIT */
/* What commands answer with, byte by byte, and how much of it: never more than the CDB
 * allows or the buffer holds, and what is cut changes no length inside. */
#include <errno.h>

#include <criterion/criterion.h>

#include "scsi-fixture.h"

static const struct vsp_block_info
	plain = DISK(MIB, .can_unmap = false),
	keeps = DISK(MIB, .can_unmap = true), /* what was unmapped need not be zero */
	large = DISK(4ull << 40, .can_unmap = true, .unmap_zeroes = true);
static const struct vsp_block_info native = {.size = 8ull << 40, .logical_sector = 4096,
					     .physical_sector = 4096, .can_unmap = true,
					     .unmap_zeroes = true, .id = {1}};

#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

struct row {
	const char *name;
	const struct vsp_block_info *disk;
	uint8_t cdb[16];
	const uint8_t *bytes; /* zeros behind them */
	size_t given;
	uint32_t len;
	uint8_t allocation_at, allocation_bytes; /* in the CDB; 0: there is none */
};

#define NAA 0x01, 0x03, 0x00, 0x10, 0x60, 0x02, 0x24, 0x80
#define ID6(from) (from), (from) + 1, (from) + 2, (from) + 3, (from) + 4, (from) + 5
#define PAGE_01 0x01, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
#define PAGE_08 0x08, 18, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
#define PAGE_0A 0x0a, 10, 0x02, 0x10, 0, 0, 0, 0, 0xff, 0xff, 0, 0
#define PAGE_1C 0x1c, 10

static const struct row rows[] = {
	{"standard INQUIRY", &writable, {0x12},
	 BYTES(0, 0, 5, 2, 99, 0, 0, 2, 'M', 's', 'f', 't', ' ', ' ', ' ', ' ', 'V', 'i', 'r', 't',
	       'u', 'a', 'l', ' ', 'D', 'i', 's', 'k', ' ', ' ', ' ', ' ', '1', '.', '0', ' ',
	       0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	       0x00, 0xa0, 0x03, 0x00, 0x04, 0xc0),
	 104, 3, 2},
	{"VPD 00", &writable, {0x12, 1},
	 BYTES(0, 0, 0, 8, 0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2, 0xce, 0xcf), 12, 3, 2},
	{"VPD 80", &writable, {0x12, 1, 0x80},
	 BYTES(0, 0x80, 0, 32, '1', '0', '1', '1', '1', '2', '1', '3', '1', '4', '1', '5', '1', '6',
	       '1', '7', '1', '8', '1', '9', '1', 'a', '1', 'b', '1', 'c', '1', 'd', '1', 'e',
	       '1', 'f'),
	 36, 3, 2},
	{"VPD 83", &writable, {0x12, 1, 0x83},
	 BYTES(0, 0x83, 0, 48, 0x01, 0x01, 0x00, 0x18, 'M', 's', 'f', 't', ' ', ' ', ' ', ' ',
	       ID6(0x10), ID6(0x16), 0x1c, 0x1d, 0x1e, 0x1f, NAA, ID6(0x10), ID6(0x1a)),
	 52, 3, 2},
	{"VPD B0", &writable, {0x12, 1, 0xb0},
	 BYTES(0, 0xb0, 0, 60, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	       0xff, 0xff, 0xff, 0xff, 0, 0, 1, 0, 0, 0, 0, 128, 0x80, 0, 0, 0,
	       0, 0, 0, 0, 0, 0, 0x40, 0),
	 64, 3, 2},
	{"VPD B0 without UNMAP", &plain, {0x12, 1, 0xb0},
	 BYTES(0, 0xb0, 0, 60, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	       0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0),
	 64, 3, 2},
	{"VPD B0 of blocks of 4096, granularity unknown", &native, {0x12, 1, 0xb0},
	 BYTES(0, 0xb0, 0, 60, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	       0xff, 0xff, 0xff, 0xff, 0, 0, 1, 0, 0, 0, 0, 1, 0x80, 0, 0, 0,
	       0, 0, 0, 0, 0, 0, 8, 0),
	 64, 3, 2},
	{"VPD B1", &writable, {0x12, 1, 0xb1}, BYTES(0, 0xb1, 0, 60, 0, 1), 64, 3, 2},
	{"VPD B2", &writable, {0x12, 1, 0xb2}, BYTES(0, 0xb2, 0, 4, 1, 0xe4, 2), 8, 3, 2},
	{"VPD B2, not zeros", &keeps, {0x12, 1, 0xb2}, BYTES(0, 0xb2, 0, 4, 1, 0xe0, 2), 8, 3, 2},
	{"VPD B2 without UNMAP", &plain, {0x12, 1, 0xb2}, BYTES(0, 0xb2, 0, 4, 1), 8, 3, 2},
	{"VPD B2, 2^33 blocks", &large, {0x12, 1, 0xb2}, BYTES(0, 0xb2, 0, 4, 2, 0xe4, 2), 8, 3, 2},
	{"VPD CE", &writable, {0x12, 1, 0xce}, BYTES(0, 0xce, 0, 4, 1, 1), 8, 3, 2},
	{"VPD CF", &writable, {0x12, 1, 0xcf},
	 BYTES(0, 0xcf, 0, 20, 1, 1, 0, 0, 0x15, 0x8f, 0xa9, 0x89, 0x28, 0xc9, 0x8b, 0x4d, 0x94,
	       0xcd, 0xef, 0x51, 0xfa, 0xa9, 0x9d, 0x33),
	 24, 3, 2},
	{"VPD CF, not zeros", &keeps, {0x12, 1, 0xcf},
	 BYTES(0, 0xcf, 0, 20, 1, 0, 0, 0, 0x15, 0x8f, 0xa9, 0x89, 0x28, 0xc9, 0x8b, 0x4d, 0x94,
	       0xcd, 0xef, 0x51, 0xfa, 0xa9, 0x9d, 0x33),
	 24, 3, 2},
	{"READ CAPACITY(10)", &writable, {0x25}, BYTES(0, 0, 7, 0xff, 0, 0, 2, 0), 8, 0, 0},
	{"READ CAPACITY(10) with PMI", &writable, {0x25, [5] = 1, [8] = 1},
	 BYTES(0, 0, 7, 0xff, 0, 0, 2, 0), 8, 0, 0},
	{"READ CAPACITY(10) of 2^33 blocks", &large, {0x25},
	 BYTES(0xff, 0xff, 0xff, 0xff, 0, 0, 2, 0), 8, 0, 0},
	{"READ CAPACITY(10) of blocks of 4096", &native, {0x25},
	 BYTES(0x7f, 0xff, 0xff, 0xff, 0, 0, 16, 0), 8, 0, 0},
	{"READ CAPACITY(16)", &writable, {0x9e, 0x10},
	 BYTES(0, 0, 0, 0, 0, 0, 7, 0xff, 0, 0, 2, 0, 0, 3, 0xc0), 32, 10, 4},
	{"READ CAPACITY(16) without UNMAP", &plain, {0x9e, 0x10},
	 BYTES(0, 0, 0, 0, 0, 0, 7, 0xff, 0, 0, 2, 0, 0, 3), 32, 10, 4},
	{"READ CAPACITY(16), not zeros", &keeps, {0x9e, 0x10},
	 BYTES(0, 0, 0, 0, 0, 0, 7, 0xff, 0, 0, 2, 0, 0, 3, 0x80), 32, 10, 4},
	{"READ CAPACITY(16) of blocks of 4096", &native, {0x9e, 0x10},
	 BYTES(0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 16, 0, 0, 0, 0xc0), 32, 10, 4},
	{"GET LBA STATUS", &writable, {0x9e, 0x12, [9] = 5},
	 BYTES(0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 7, 0xfb), 24, 10, 4},
	{"GET LBA STATUS of 2^33 blocks", &large, {0x9e, 0x12},
	 BYTES(0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff), 24, 10, 4},
	{"MODE SENSE(6), all", &writable, {0x1a, 0, 0x3f},
	 BYTES(59, 0, 0x10, 0, PAGE_01, PAGE_08, PAGE_0A, PAGE_1C), 60, 4, 1},
	{"MODE SENSE(6), all and their subpages", &writable, {0x1a, 0, 0x3f, 0xff},
	 BYTES(59, 0, 0x10, 0, PAGE_01, PAGE_08, PAGE_0A, PAGE_1C), 60, 4, 1},
	{"MODE SENSE(10), all, defaults", &writable, {0x5a, 0, 0xbf},
	 BYTES(0, 62, 0, 0x10, 0, 0, 0, 0, PAGE_01, PAGE_08, PAGE_0A, PAGE_1C), 64, 7, 2},
	{"MODE SENSE(10), what can be changed", &writable, {0x5a, 0, 0x48},
	 BYTES(0, 26, 0, 0x10, 0, 0, 0, 0, 8, 18), 28, 7, 2},
	{"MODE SENSE(6), 0A", &writable, {0x1a, 0, 0x0a}, BYTES(15, 0, 0x10, 0, PAGE_0A), 16, 4, 1},
	{"REQUEST SENSE", &writable, {0x03}, BYTES(0x70, 0, 0, 0, 0, 0, 0, 10), 18, 4, 1},
	{"REQUEST SENSE, descriptors", &writable, {0x03, 1}, BYTES(0x72), 8, 4, 1},
	{"READ DEFECT DATA(10)", &writable, {0x37, 0, 0x1d}, BYTES(0, 0x1d), 4, 7, 2},
	{"READ DEFECT DATA(12)", &writable, {0xb7, 0x0d}, BYTES(0, 0x0d), 8, 6, 4},
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

static uint32_t run(const struct row *row, uint32_t allocation, enum direction direction,
		    uint32_t buffer)
{
	struct scsi_command cmd;
	uint8_t cdb[16];

	memcpy(cdb, row->cdb, sizeof(cdb));
	for (unsigned int i = 0; i < row->allocation_bytes; i++)
		cdb[row->allocation_at + i] =
			(uint8_t)(allocation >> 8 * (row->allocation_bytes - 1u - i));
	cmd = command(cdb, direction, buffer);
	cmd.disk = row->disk;
	memset(data, 0xee, sizeof(data));
	cr_expect_eq(vsp_scsi_execute(&cmd), SCSI_DONE, "%s", row->name);
	cr_expect_eq(cmd.status, SCSI_GOOD, "%s", row->name);
	cr_expect_eq(cmd.sense, SCSI_SENSE_NONE, "%s", row->name);
	cr_expect_eq(cmd.moved, 0, "%s", row->name);
	cr_expect_not(cmd.took_attention || cmd.overrun || cmd.gone, "%s", row->name);
	return cmd.data_len;
}

static bool data_is(const struct row *row, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		if (data[i] != (i < row->given ? row->bytes[i] : 0))
			return false;
	return true;
}

Test(scsi_data, is_what_guests_expect_byte_by_byte)
{
	for (size_t i = 0; i < ROWS; i++) {
		cr_expect_eq(run(&rows[i], 255, IN, 4096), rows[i].len, "%s", rows[i].name);
		cr_expect(data_is(&rows[i], rows[i].len), "%s", rows[i].name);
	}
}

Test(scsi_data, is_cut_to_what_was_allowed_and_to_the_buffer)
{
	for (size_t i = 0; i < ROWS; i++)
		for (uint32_t n = 0; n <= rows[i].len + 1; n++) {
			uint32_t expected = n < rows[i].len ? n : rows[i].len;

			if (rows[i].allocation_bytes) {
				cr_expect_eq(run(&rows[i], n, IN, 4096), expected, "%s, %u",
					     rows[i].name, n);
				cr_expect(data_is(&rows[i], expected), "%s, %u", rows[i].name, n);
				cr_expect_eq(run(&rows[i], 255, IN, n), expected, "%s, %u",
					     rows[i].name, n);
			}
			cr_expect_eq(run(&rows[i], 255, NONE, 4096), 0, "%s", rows[i].name);
		}
}

/* A LUN's list is the target's: cut like the others. */
Test(scsi_data, luns_are_listed_ascending)
{
	static const uint64_t luns[4] = {1, 1ull << 63, 0, 1ull << 63};
	static const uint8_t expected[32] = {[3] = 24, [9] = 0, [17] = 127, [25] = 255};
	uint8_t cdb[16] = {0xa0};

	for (uint32_t n = 0; n < 40; n++) {
		struct scsi_command cmd = command(cdb, IN, 4096);

		cdb[9] = (uint8_t)n;
		cr_expect_eq(vsp_scsi_report_luns(&cmd, luns), SCSI_DONE);
		cr_expect_eq(cmd.data_len, n < 32 ? n : 32);
		cr_expect_eq(memcmp(data, expected, 32), 0);
	}
	for (uint8_t select = 0; select < 5; select++) {
		struct scsi_command cmd = command(cdb, IN, 4096);

		cdb[2] = select;
		cdb[9] = 255;
		(void)vsp_scsi_report_luns(&cmd, luns);
		cr_expect_eq(cmd.status, select > 2 ? SCSI_CHECK_CONDITION : SCSI_GOOD);
		cr_expect_eq(cmd.sense, select > 2 ? SCSI_SENSE_INVALID_CDB : SCSI_SENSE_NONE);
		cr_expect_eq(cmd.data_len, select > 2 ? 0 : select == 1 ? 8 : 32);
	}
}

Test(scsi_data, an_absent_lun_shows_whose_it_would_be_at_0_alone)
{
	static const uint8_t cdb[16] = {0x12, 0, 0, 0, 104}, cmddt[16] = {0x12, 2, 0, 0, 104};
	static const uint8_t nothing[28];

	for (uint8_t lun = 0; lun < 2; lun++) {
		struct scsi_command cmd = command(cdb, IN, 4096);

		(void)vsp_scsi_inquiry_absent(&cmd, lun);
		cr_expect_eq(cmd.data_len, 104);
		cr_expect_eq(data[0], 0x7f);
		cr_expect_eq(memcmp(data + 8, nothing, 28) == 0, lun != 0);
	}
	{
		struct scsi_command cmd = command(cmddt, IN, 4096);

		(void)vsp_scsi_inquiry_absent(&cmd, 0);
		cr_expect_eq(cmd.sense, SCSI_SENSE_INVALID_CDB);
		cr_expect_eq(cmd.data_len, 0);
	}
}

/* -- GOOD without data ---------------------------------------------------- */

Test(scsi_data, nothing_to_do_is_good)
{
	static const struct {
		const char *name;
		uint8_t cdb[16], list[32];
		uint32_t moved;
	} good[] = {
		{"TEST UNIT READY", {0x00}, {0}, 0},
		{"READ(10) of nothing at the end", {0x28, [4] = 8}, {0}, 0},
		{"READ(12) of nothing at the end", {0xa8, [4] = 8}, {0}, 0},
		{"READ(16) of nothing at the end", {0x88, [8] = 8}, {0}, 0},
		{"WRITE(10) of nothing at the end", {0x2a, [4] = 8}, {0}, 0},
		{"WRITE(16) of nothing, with FUA", {0x8a, 0x08}, {0}, 0},
		{"WRITE AND VERIFY(10) of nothing", {0x2e, 0x02}, {0}, 0},
		{"VERIFY(10) of nothing", {0x2f, 0x02}, {0}, 0},
		{"VERIFY(16) of the medium alone", {0x8f, [13] = 9}, {0}, 0},
		{"PRE-FETCH(10) to the end", {0x34, [5] = 1, [7] = 7, 0xff}, {0}, 0},
		{"PRE-FETCH(16)", {0x90, 0x02, [13] = 1}, {0}, 0},
		{"START", {0x1b, 0x01, [4] = 0x01}, {0}, 0},
		{"STOP without flush", {0x1b, [4] = 0x04}, {0}, 0},
		{"a power condition", {0x1b, [4] = 0x30}, {0}, 0},
		{"a power condition, whatever LOEJ", {0x1b, [4] = 0x32}, {0}, 0},
		{"SEND DIAGNOSTIC, the self-test", {0x1d, 0x04}, {0}, 0},
		{"PREVENT", {0x1e, [4] = 1}, {0}, 0},
		{"UNMAP without a list", {0x42}, {0}, 0},
		{"UNMAP of a header", {0x42, [8] = 8}, {0, 6}, 8},
		{"UNMAP of no ranges", {0x42, [8] = 24}, {0, 22}, 24},
		{"UNMAP of nothing at the end", {0x42, [8] = 24}, {0, 22, 0, 16, [14] = 8}, 24},
		{"MODE SELECT(6) of nothing", {0x15}, {0}, 0},
		{"MODE SELECT(6) of a header", {0x15, 0x10, [4] = 4}, {0}, 4},
		{"MODE SELECT(6) of what is", {0x15, 0x10, [4] = 16}, {[4] = 0x1c, 10}, 16},
		{"MODE SELECT(6) of a saveable page", {0x15, 0x10, [4] = 16}, {[4] = 0x9c, 10}, 16},
		{"MODE SELECT(6) behind a descriptor", {0x15, 0x10, [4] = 24},
		 {[3] = 8, [12] = 0x1c, 10}, 24},
		{"MODE SELECT(10) of two pages", {0x55, 0x10, [8] = 32},
		 {[8] = 0x0a, 10, 0x02, 0x10, [16] = 0xff, 0xff, [20] = 0x01, 10}, 32},
		{"MODE SELECT(10) behind a descriptor", {0x55, 0x10, [8] = 16}, {[7] = 8}, 16},
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct scsi_command cmd = command(good[i].cdb, OUT, 4096);

		memset(data, 0, sizeof(data));
		memcpy(data, good[i].list, sizeof(good[i].list));
		cr_expect_eq(vsp_scsi_execute(&cmd), SCSI_DONE, "%s", good[i].name);
		cr_expect_eq(cmd.status, SCSI_GOOD, "%s: sense %d", good[i].name, cmd.sense);
		cr_expect_eq(cmd.data_len, 0, "%s", good[i].name);
		cr_expect_eq(cmd.moved, good[i].moved, "%s: %u", good[i].name, cmd.moved);
		cr_expect_eq(cmd.sense, SCSI_SENSE_NONE, "%s", good[i].name);
	}
}

Test(scsi_data, lists_are_fetched_as_long_as_the_cdb_says)
{
	static const struct {
		uint8_t cdb[16];
		uint32_t wants;
	} wanted[] = {
		{{0x42, [7] = 1, 2}, 0x102}, {{0x55, [7] = 2, 1}, 0x201}, {{0x15, [4] = 9}, 9},
		{{0x41}, SCSI_CHUNK}, {{0x93}, SCSI_CHUNK}, {{0x2a, [8] = 9}, 0},
		{{0x12, [4] = 9}, 0},
	};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		cr_expect_eq(vsp_scsi_wants(wanted[i].cdb), wanted[i].wants, "%02x",
			     wanted[i].cdb[0]);
}

/* -- Limits that are still allowed ---------------------------------------- */

Test(scsi_data, the_most_that_is_offered_is_taken)
{
	static const uint8_t descriptors[16] = {0x42, [7] = 0x10, 8}, blocks[16] = {0x42, [8] = 40},
			     same[16] = {0x93, [12] = 0x40, 0},
			     select[16] = {0x55, 0x10, [7] = 0x20};
	struct scsi_command cmd = command(descriptors, OUT, 8192);

	memset(data, 0, sizeof(data)); /* 256 descriptors */
	scsi_put16(data, 8 + 256 * 16 - 2);
	scsi_put16(data + 2, 256 * 16);
	for (uint32_t i = 0; i < 256; i++)
		scsi_put32(data + 8 + 16 * i + 8, 1);
	for (uint32_t i = 0; i < 256; i++)
		cr_assert_eq(i ? vsp_scsi_next(&cmd, 0) : vsp_scsi_execute(&cmd), SCSI_BLOCK);
	cr_expect_eq(vsp_scsi_next(&cmd, 0), SCSI_DONE);
	cr_expect_eq(cmd.status, SCSI_GOOD);
	cmd = command(blocks, OUT, 40);
	cmd.disk = &large;
	memset(data, 0, sizeof(data));
	scsi_put16(data, 38);
	scsi_put16(data + 2, 32);
	for (uint32_t i = 0; i < 2; i++)
		scsi_put32(data + 8 + 16 * i + 8, UINT32_MAX);
	memset(data + 40, 0xff, 16); /* is no descriptor */
	for (uint32_t i = 0; i < 2; i++) {
		cr_expect_eq(i ? vsp_scsi_next(&cmd, 0) : vsp_scsi_execute(&cmd), SCSI_BLOCK);
		cr_expect_eq(cmd.len, UINT32_MAX * 512ull);
	}
	cmd = command(same, OUT, 512);
	cmd.disk = &large;
	memset(data, 0, sizeof(data));
	cr_expect_eq(vsp_scsi_execute(&cmd), SCSI_BLOCK);
	cr_expect_eq(cmd.len, 8 * MIB);
	data[0] = 1; /* no zeros: they are written */
	cr_expect_eq(vsp_scsi_execute(&cmd), SCSI_BLOCK);
	cr_expect_eq(vsp_scsi_next(&cmd, -EIO), SCSI_DONE);
	cr_expect_eq(cmd.status, SCSI_CHECK_CONDITION);
	cr_expect_eq(cmd.sense, SCSI_SENSE_WRITE_ERROR);
	cmd = command(select, OUT, SCSI_DATA_MAX);
	memset(data, 0, sizeof(data)); /* the page 1C again and again */
	for (uint32_t at = 8; at < SCSI_DATA_MAX; at += 12) {
		data[at] = 0x1c;
		data[at + 1] = 10;
	}
	cr_expect_eq(vsp_scsi_execute(&cmd), SCSI_DONE);
	cr_expect_eq(cmd.status, SCSI_GOOD);
	cr_expect_eq(cmd.moved, SCSI_DATA_MAX);
}

/* -- Zeros ---------------------------------------------------------------- */

/* A disk may know no faster way; what lay in the request's memory before is not written. */
Test(scsi_data, zeros_are_made_the_fastest_way_there_is)
{
	static const uint8_t cdbs[][16] = {{0x93, 0x01, [13] = 9}, {0x93, 0x09, [13] = 9}};
	static const enum vsp_block_op ops[] = {VSP_BLOCK_ZERO, VSP_BLOCK_UNMAP};
	static const uint8_t zeros[SCSI_CHUNK];

	for (size_t i = 0; i < 4; i++) {
		struct scsi_command cmd = command(cdbs[i / 2], NONE, 0);

		memset(data, 0xaa, sizeof(data));
		cr_expect_eq(vsp_scsi_execute(&cmd), SCSI_BLOCK);
		cr_expect_eq(cmd.op, ops[i / 2]);
		cr_expect_eq(cmd.len, 9 * 512);
		if (i % 2 == 0) {
			cr_expect_eq(vsp_scsi_next(&cmd, 0), SCSI_DONE);
		} else {
			cr_expect_eq(vsp_scsi_next(&cmd, -EOPNOTSUPP), SCSI_BLOCK);
			cr_expect_eq(cmd.op, VSP_BLOCK_WRITE);
			cr_expect_eq(cmd.len, 9 * 512);
			cr_expect_eq(cmd.unit, SCSI_CHUNK);
			cr_expect_eq(memcmp(data, zeros, SCSI_CHUNK), 0);
			cr_expect_eq(vsp_scsi_next(&cmd, 0), SCSI_DONE);
		}
		cr_expect_eq(cmd.status, SCSI_GOOD);
		cr_expect_eq(cmd.moved, 0);
	}
	for (size_t at = 0; at < 512; at += 511) { /* one byte is enough to be no zeros */
		static const uint8_t cdb[16] = {0x41, [8] = 1};
		struct scsi_command cmd = command(cdb, OUT, 512);

		memset(data, 0, sizeof(data));
		data[at] = 1;
		cr_expect_eq(vsp_scsi_execute(&cmd), SCSI_BLOCK);
		cr_expect_eq(cmd.op, VSP_BLOCK_WRITE);
	}
}

/* -- Flushes -------------------------------------------------------------- */

Test(scsi_data, what_flushes_asks_the_disk_once)
{
	static const uint8_t cdbs[][16] = {
		{0x35}, {0x35, 0x02, [4] = 8}, {0x91}, {0x1b}, {0x1b, 0x01},
	};

	for (size_t i = 0; i < sizeof(cdbs) / sizeof(cdbs[0]); i++) {
		struct scsi_command cmd = command(cdbs[i], NONE, 0);

		cr_expect_eq(vsp_scsi_execute(&cmd), SCSI_BLOCK, "row %zu", i);
		cr_expect_eq(cmd.op, VSP_BLOCK_FLUSH, "row %zu", i);
		cr_expect_eq(cmd.offset + cmd.len + cmd.fetch, 0, "row %zu", i);
		cr_expect_eq(vsp_scsi_next(&cmd, 0), SCSI_DONE, "row %zu", i);
		cr_expect_eq(cmd.status, SCSI_GOOD, "row %zu", i);
	}
}

Test(scsi_data, every_command_has_a_name)
{
	cr_expect_str_eq(vsp_scsi_name(0x28), "READ(10)");
	cr_expect_str_eq(vsp_scsi_name(0xa0), "REPORT LUNS");
	cr_expect_null(vsp_scsi_name(0xff));
}
