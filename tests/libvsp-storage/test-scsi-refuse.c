/* SPDX-License-Identifier: MIT */
/* Every command against every field that can be wrong: the sense is the one that SPC-4 and
 * SBC-3 name, nothing is moved, and the disk is not asked. */
#include <criterion/criterion.h>

#include "scsi-fixture.h"

static const struct vsp_block_info
	read_only = DISK(MIB, .can_unmap = true, .unmap_zeroes = true, .read_only = true),
	plain = DISK(MIB, .can_unmap = false),
	huge = DISK(8ull << 40, .can_unmap = true, .unmap_zeroes = true);

#define OPCODE SCSI_SENSE_INVALID_OPCODE
#define CDB SCSI_SENSE_INVALID_CDB
#define RANGE SCSI_SENSE_LBA_RANGE
#define LENGTH SCSI_SENSE_PARAMETER_LENGTH
#define PARAMETER SCSI_SENSE_INVALID_PARAMETER
#define PROTECTED SCSI_SENSE_WRITE_PROTECTED

struct row {
	const char *name;
	const struct vsp_block_info *disk;
	uint8_t cdb[16];
	enum direction direction;
	uint32_t buffer;
	enum scsi_sense sense;
	uint8_t list[48];
};

static void row_try(const struct row *row)
{
	struct scsi_command cmd = command(row->cdb, row->direction, row->buffer);

	cmd.disk = row->disk;
	memset(data, 0, sizeof(data));
	memcpy(data, row->list, sizeof(row->list));
	cr_expect_eq(vsp_scsi_execute(&cmd), SCSI_DONE, "%s", row->name);
	cr_expect_eq(cmd.status, SCSI_CHECK_CONDITION, "%s", row->name);
	cr_expect_eq(cmd.sense, row->sense, "%s: sense %d", row->name, cmd.sense);
	cr_expect_eq(cmd.data_len + cmd.moved, 0, "%s moves nothing", row->name);
	cr_expect_not(cmd.gone || cmd.took_attention, "%s", row->name);
	cr_expect_eq(cmd.overrun, row->cdb[0] == SCSI_READ_CAPACITY_10 && row->buffer < 8, "%s",
		     row->name);
}

#define TRY(table)                                                                       \
	for (size_t i = 0; i < sizeof(table) / sizeof((table)[0]); i++)                  \
	row_try(&(table)[i])

Test(scsi_refuse, what_there_is_not)
{
	static const struct row rows[] = {
		{"unknown opcode", &writable, {0xff}, NONE, 0, OPCODE, {0}},
		{"FORMAT UNIT", &writable, {0x04}, NONE, 0, OPCODE, {0}},
		{"COMPARE AND WRITE", &writable, {0x89, [13] = 1}, OUT, 1024, OPCODE, {0}},
		{"UNMAP of a disk that cannot", &plain, {0x42, [8] = 24}, OUT, 24, OPCODE, {0}},
		{"service action that is none", &writable, {0x9e, 0x1f}, IN, 32, CDB, {0}},
		{"START STOP ejects", &writable, {0x1b, [4] = 0x02}, NONE, 0, CDB, {0}},
		{"SEND DIAGNOSTIC, a self-test of its own", &writable, {0x1d, 0x20}, NONE, 0, CDB,
		 {0}},
		{"SEND DIAGNOSTIC with PF", &writable, {0x1d, 0x10}, NONE, 0, CDB, {0}},
		{"SEND DIAGNOSTIC with a list", &writable, {0x1d, 0x04, 0, 0, 4}, OUT, 4, CDB, {0}},
	};

	TRY(rows);
}

Test(scsi_refuse, reads_and_writes)
{
	static const struct row rows[] = {
		{"READ(6) across the end", &writable, {0x08, 0, 7, 0xff, 2}, IN, 1024, RANGE, {0}},
		{"WRITE(6) across the end", &writable, {0x0a, 0, 7, 0xff, 2}, OUT, 1024, RANGE,
		 {0}},
		{"READ(6) of 256, buffer of 255", &writable, {0x08}, IN, 255 * 512, CDB, {0}},
		{"READ(10) with protection", &writable, {0x28, 0x20, [8] = 1}, IN, 512, CDB, {0}},
		{"READ(12) with protection", &writable, {0xa8, 0x40, [9] = 1}, IN, 512, CDB, {0}},
		{"READ(16) with protection", &writable, {0x88, 0x80, [13] = 1}, IN, 512, CDB, {0}},
		{"WRITE(10) with protection", &writable, {0x2a, 0x20, [8] = 1}, OUT, 512, CDB, {0}},
		{"WRITE(12) with protection", &writable, {0xaa, 0x80, [9] = 1}, OUT, 512, CDB, {0}},
		{"WRITE(16) with protection", &writable, {0x8a, 0xe0, [13] = 1}, OUT, 512, CDB,
		 {0}},
		{"READ(10) relative", &writable, {0x28, 0x01, [8] = 1}, IN, 512, CDB, {0}},
		{"WRITE(12) relative", &writable, {0xaa, 0x01, [9] = 1}, OUT, 512, CDB, {0}},
		{"READ(10) at the end", &writable, {0x28, [4] = 8, [8] = 1}, IN, 512, RANGE, {0}},
		{"READ(10) across the end", &writable, {0x28, [4] = 7, 0xff, [8] = 2}, IN, 1024,
		 RANGE, {0}},
		{"READ(10) of nothing behind the end", &writable, {0x28, [4] = 8, 1}, IN, 0, RANGE,
		 {0}},
		{"READ(12) beyond", &writable, {0xa8, 0, 0xff, 0xff, 0xff, 0xff, [9] = 1}, IN, 512,
		 RANGE, {0}},
		{"READ(12) of the most blocks", &writable, {0xa8, [6] = 0xff, 0xff, 0xff, 0xff}, IN,
		 512, RANGE, {0}},
		{"WRITE(12) of nothing behind the end", &writable, {0xaa, [4] = 8, 1}, NONE, 0,
		 RANGE, {0}},
		{"READ(16) at 2^63", &writable, {0x88, 0, 0x80, [13] = 1}, IN, 512, RANGE, {0}},
		{"READ(16) of nothing at 2^63", &writable, {0x88, 0, 0x80}, IN, 0, RANGE, {0}},
		{"READ(16) whose end overflows", &writable,
		 {0x88, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, [13] = 1}, IN, 512,
		 RANGE, {0}},
		{"READ(16) whose bytes overflow", &writable, {0x88, [3] = 0x80, [13] = 1}, IN, 512,
		 RANGE, {0}},
		{"WRITE(16) whose bytes overflow", &writable, {0x8a, [3] = 0x80, [13] = 1}, OUT,
		 512, RANGE, {0}},
		{"READ with too short a buffer", &writable, {0x28, [8] = 2}, IN, 1023, CDB, {0}},
		{"READ the wrong way", &writable, {0x28, [8] = 1}, OUT, 512, CDB, {0}},
		{"READ without data", &writable, {0x28, [8] = 1}, NONE, 512, CDB, {0}},
		{"WRITE with too short a buffer", &writable, {0x2a, [8] = 2}, OUT, 1023, CDB, {0}},
		{"WRITE the wrong way", &writable, {0x2a, [8] = 1}, IN, 512, CDB, {0}},
		{"WRITE without data", &writable, {0x2a, [8] = 1}, NONE, 0, CDB, {0}},
	};

	TRY(rows);
}

Test(scsi_refuse, verifying_and_caches)
{
	static const struct row rows[] = {
		{"VERIFY(10) with protection", &writable, {0x2f, 0x20, [8] = 1}, NONE, 0, CDB, {0}},
		{"VERIFY(16) with protection", &writable, {0x8f, 0x20, [13] = 1}, NONE, 0, CDB,
		 {0}},
		{"VERIFY(10) BYTCHK 2", &writable, {0x2f, 0x04, [8] = 1}, OUT, 512, CDB, {0}},
		{"VERIFY(10) across the end", &writable, {0x2f, [4] = 7, 0xff, [8] = 2}, NONE, 0,
		 RANGE, {0}},
		{"VERIFY(12) across the end", &writable, {0xaf, [4] = 7, 0xff, [9] = 2}, NONE, 0,
		 RANGE, {0}},
		{"VERIFY(16) at the end", &writable, {0x8f, [8] = 8, [13] = 1}, NONE, 0, RANGE,
		 {0}},
		{"VERIFY(10) with too little to compare", &writable, {0x2f, 0x02, [8] = 2}, OUT,
		 1023, CDB, {0}},
		{"VERIFY(10) the wrong way", &writable, {0x2f, 0x02, [8] = 1}, IN, 512, CDB, {0}},
		{"VERIFY(10) with less than a block", &writable, {0x2f, 0x06, [8] = 9}, OUT, 511,
		 CDB, {0}},
		{"WRITE AND VERIFY(10) BYTCHK 2", &writable, {0x2e, 0x04, [8] = 1}, OUT, 512, CDB,
		 {0}},
		{"WRITE AND VERIFY(12) BYTCHK 3", &writable, {0xae, 0x06, [9] = 1}, OUT, 512, CDB,
		 {0}},
		{"WRITE AND VERIFY(16) with protection", &writable, {0x8e, 0x20, [13] = 1}, OUT,
		 512, CDB, {0}},
		{"WRITE AND VERIFY(10) at the end", &writable, {0x2e, [4] = 8, [8] = 1}, OUT, 512,
		 RANGE, {0}},
		{"WRITE AND VERIFY(16) too short", &writable, {0x8e, [13] = 2}, OUT, 1023, CDB,
		 {0}},
		{"WRITE AND VERIFY(10) the wrong way", &writable, {0x2e, [8] = 1}, IN, 512, CDB,
		 {0}},
		{"PRE-FETCH(10) beyond", &writable, {0x34, [4] = 8, 1}, NONE, 0, RANGE, {0}},
		{"PRE-FETCH(16) beyond", &writable, {0x90, 0, 1}, NONE, 0, RANGE, {0}},
		{"SYNCHRONIZE CACHE(10) beyond", &writable, {0x35, [3] = 1, [8] = 1}, NONE, 0,
		 RANGE, {0}},
		{"SYNCHRONIZE CACHE(16) across the end", &writable, {0x91, [8] = 7, 0xff, [13] = 2},
		 NONE, 0, RANGE, {0}},
		{"GET LBA STATUS at the end", &writable, {0x9e, 0x12, [8] = 8, [13] = 24}, IN, 24,
		 RANGE, {0}},
		{"GET LBA STATUS at 2^63", &writable, {0x9e, 0x12, 0x80, [13] = 24}, IN, 24, RANGE,
		 {0}},
	};

	TRY(rows);
}

Test(scsi_refuse, write_same)
{
	static const struct row rows[] = {
		{"(10) with protection", &writable, {0x41, 0x20, [8] = 1}, OUT, 512, CDB, {0}},
		{"(10) anchored", &writable, {0x41, 0x10, [8] = 1}, OUT, 512, CDB, {0}},
		{"(16) anchored and unmapping", &writable, {0x93, 0x18, [13] = 1}, OUT, 512, CDB,
		 {0}},
		{"(10) with PBDATA", &writable, {0x41, 0x04, [8] = 1}, OUT, 512, CDB, {0}},
		{"(16) with LBDATA", &writable, {0x93, 0x02, [13] = 1}, OUT, 512, CDB, {0}},
		{"(10) relative", &writable, {0x41, 0x01, [8] = 1}, OUT, 512, CDB, {0}},
		{"(16) unmapping a disk that cannot", &plain, {0x93, 0x08, [13] = 1}, OUT, 512, CDB,
		 {0}},
		{"(10) at the end", &writable, {0x41, [4] = 8, [8] = 1}, OUT, 512, RANGE, {0}},
		{"(10) to the end, from behind it", &writable, {0x41, [4] = 8, 1}, OUT, 512, RANGE,
		 {0}},
		{"(16) to the end, from the end", &writable, {0x93, [8] = 8}, OUT, 512, RANGE, {0}},
		{"(16) across the end", &writable, {0x93, [8] = 7, 0xff, [13] = 2}, OUT, 512, RANGE,
		 {0}},
		{"(16) of one block too many", &huge, {0x93, [12] = 0x40, 1}, OUT, 512, CDB, {0}},
		{"(10) to the end, too far", &huge, {0x41}, OUT, 512, CDB, {0}},
		{"(16) the most blocks", &huge, {0x93, [10] = 0xff, 0xff, 0xff, 0xff}, OUT, 512,
		 CDB, {0}},
		{"(10) of half a block", &writable, {0x41, [8] = 1}, OUT, 256, CDB, {0}},
		{"(10) of two blocks", &writable, {0x41, [8] = 1}, OUT, 1024, CDB, {0}},
		{"(16) the wrong way", &writable, {0x93, [13] = 1}, IN, 512, CDB, {0}},
		{"(16) without data", &writable, {0x93, [13] = 1}, NONE, 0, CDB, {0}},
	};

	TRY(rows);
}

Test(scsi_refuse, unmap)
{
	static const struct row rows[] = {
		{"anchored", &writable, {0x42, 0x01, [8] = 24}, OUT, 24, CDB, {0}},
		{"list shorter than its header", &writable, {0x42, [8] = 7}, OUT, 24, LENGTH, {0}},
		{"list longer than the data", &writable, {0x42, [8] = 40}, OUT, 24, LENGTH, {0}},
		{"list the wrong way", &writable, {0x42, [8] = 24}, IN, 24, LENGTH, {0, 22, 0, 16}},
		{"list longer than we take", &writable, {0x42, [7] = 0x20}, OUT, 8192, PARAMETER,
		 {0x1f, 0xfe}},
		{"list that says it is longer", &writable, {0x42, [8] = 24}, OUT, 24, PARAMETER,
		 {0, 23, 0, 16}},
		{"list that says it is shorter", &writable, {0x42, [8] = 24}, OUT, 24, PARAMETER,
		 {0, 21, 0, 16}},
		{"more descriptors than list", &writable, {0x42, [8] = 24}, OUT, 24, LENGTH,
		 {0, 22, 0, 17}},
		{"one range past the end", &writable, {0x42, [8] = 24}, OUT, 24, RANGE,
		 {0, 22, 0, 16, [14] = 7, 0xff, [19] = 2}},
		{"the second range past the end", &writable, {0x42, [8] = 40}, OUT, 40, RANGE,
		 {0, 38, 0, 32, [19] = 1, [30] = 8, 0, [35] = 1}},
		{"nothing behind the end", &writable, {0x42, [8] = 24}, OUT, 24, RANGE,
		 {0, 22, 0, 16, [14] = 8, 1}},
		{"range that overflows", &writable, {0x42, [8] = 24}, OUT, 24, RANGE,
		 {0, 22, 0, 16, [8] = 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, [19] = 1}},
	};

	TRY(rows);
}

Test(scsi_refuse, inquiry_capacity_and_modes)
{
	static const struct row rows[] = {
		{"INQUIRY CMDDT", &writable, {0x12, 0x02, 0, 0, 36}, IN, 36, CDB, {0}},
		{"INQUIRY page without EVPD", &writable, {0x12, 0, 0x80, 0, 36}, IN, 36, CDB, {0}},
		{"INQUIRY page that is none", &writable, {0x12, 0x01, 0x42, 0, 36}, IN, 36, CDB,
		 {0}},
		{"READ CAPACITY(10) with an LBA", &writable, {0x25, [5] = 1}, IN, 8, CDB, {0}},
		{"READ CAPACITY(10) without room", &writable, {0x25}, IN, 7, CDB, {0}},
		{"MODE SENSE(6) of saved values", &writable, {0x1a, 0, 0xff, 0, 255}, IN, 255,
		 SCSI_SENSE_NO_SAVED_PAGES, {0}},
		{"MODE SENSE(10) of saved values", &writable, {0x5a, 0, 0xc8, [8] = 255}, IN, 255,
		 SCSI_SENSE_NO_SAVED_PAGES, {0}},
		{"MODE SENSE page that is none", &writable, {0x1a, 0, 0x11, 0, 255}, IN, 255, CDB,
		 {0}},
		{"MODE SENSE subpage", &writable, {0x5a, 0, 0x08, 0x01, [8] = 255}, IN, 255, CDB,
		 {0}},
		{"MODE SENSE subpages of one page", &writable, {0x5a, 0, 0x08, 0xff, [8] = 255}, IN,
		 255, CDB, {0}},
		{"MODE SENSE one subpage of all", &writable, {0x5a, 0, 0x3f, 0x01, [8] = 255}, IN,
		 255, CDB, {0}},
	};

	TRY(rows);
}

/* The list's header, then the page 1C as it is. */
#define LIST6 {[4] = 0x1c, 10}

Test(scsi_refuse, mode_select)
{
	static const struct row rows[] = {
		{"(6) saving", &writable, {0x15, 0x11, [4] = 16}, OUT, 16, CDB, LIST6},
		{"(6) saving nothing", &writable, {0x15, 0x11}, OUT, 16, CDB, LIST6},
		{"(6) without PF", &writable, {0x15, 0, [4] = 16}, OUT, 16, CDB, LIST6},
		{"(6) without PF, a byte", &writable, {0x15, 0, [4] = 1}, OUT, 16, CDB, LIST6},
		{"(6) the wrong way", &writable, {0x15, 0x10, [4] = 16}, IN, 16, LENGTH, LIST6},
		{"(6) list longer than the data", &writable, {0x15, 0x10, [4] = 16}, OUT, 15,
		 LENGTH, LIST6},
		{"(6) list shorter than its header", &writable, {0x15, 0x10, [4] = 3}, OUT, 16,
		 LENGTH, LIST6},
		{"(10) list shorter than its header", &writable, {0x55, 0x10, [8] = 7}, OUT, 16,
		 LENGTH, {0}},
		{"(10) list longer than we take", &writable, {0x55, 0x10, [7] = 0x20, 1}, OUT,
		 16384, LENGTH, {0}},
		{"(6) descriptors past the list", &writable, {0x15, 0x10, [4] = 16}, OUT, 16,
		 LENGTH, {[3] = 13}},
		{"(10) descriptors past the list", &writable, {0x55, 0x10, [8] = 16}, OUT, 16,
		 LENGTH, {[6] = 1}},
		{"(6) page cut in its header", &writable, {0x15, 0x10, [4] = 5}, OUT, 16, LENGTH,
		 LIST6},
		{"(6) page cut", &writable, {0x15, 0x10, [4] = 15}, OUT, 16, LENGTH, LIST6},
		{"(6) page that is none", &writable, {0x15, 0x10, [4] = 16}, OUT, 16, PARAMETER,
		 {[4] = 0x11, 10}},
		{"(6) page of another length", &writable, {0x15, 0x10, [4] = 16}, OUT, 16,
		 PARAMETER, {[4] = 0x1c, 9}},
		{"(6) another value", &writable, {0x15, 0x10, [4] = 16}, OUT, 16, PARAMETER,
		 {[4] = 0x1c, 10, 1}},
		{"(6) another last value", &writable, {0x15, 0x10, [4] = 16}, OUT, 16, PARAMETER,
		 {[4] = 0x1c, 10, [15] = 1}},
		{"(6) the cache switched off", &writable, {0x15, 0x10, [4] = 24}, OUT, 24,
		 PARAMETER, {[4] = 0x08, 18}},
		{"(10) second page wrong", &writable, {0x55, 0x10, [8] = 32}, OUT, 32, PARAMETER,
		 {[8] = 0x1c, 10, [20] = 0x01, 10, 1}},
	};

	TRY(rows);
}

/* Before the range is looked at, and before the data. */
Test(scsi_refuse, whatever_would_change_a_read_only_disk)
{
	static const struct row rows[] = {
		{"WRITE(6)", &read_only, {0x0a, [4] = 1}, OUT, 512, PROTECTED, {0}},
		{"WRITE(10)", &read_only, {0x2a, [8] = 1}, OUT, 512, PROTECTED, {0}},
		{"WRITE(10) past the end", &read_only, {0x2a, 0xff & 0x08, 0xff, [8] = 1}, OUT, 512,
		 PROTECTED, {0}},
		{"WRITE(12)", &read_only, {0xaa, [9] = 1}, OUT, 512, PROTECTED, {0}},
		{"WRITE(16)", &read_only, {0x8a, [13] = 1}, OUT, 512, PROTECTED, {0}},
		{"WRITE AND VERIFY(10)", &read_only, {0x2e, [8] = 1}, OUT, 512, PROTECTED, {0}},
		{"WRITE AND VERIFY(12)", &read_only, {0xae, [9] = 1}, OUT, 512, PROTECTED, {0}},
		{"WRITE AND VERIFY(16)", &read_only, {0x8e, [13] = 1}, OUT, 512, PROTECTED, {0}},
		{"WRITE SAME(10)", &read_only, {0x41, [8] = 1}, OUT, 512, PROTECTED, {0}},
		{"WRITE SAME(16)", &read_only, {0x93, 0x09, [13] = 1}, NONE, 0, PROTECTED, {0}},
		{"UNMAP", &read_only, {0x42, [8] = 24}, OUT, 24, PROTECTED, {0, 22, 0, 16}},
	};

	TRY(rows);
}

/* A pending unit attention goes before all but an unknown opcode. */
Test(scsi_refuse, with_the_unit_attention_first)
{
	static const uint8_t unknown[16] = {0xff}, wrong[16] = {0x28, 0xe0};
	struct scsi_command cmd = command(unknown, NONE, 0);

	cmd.attention = SCSI_SENSE_CAPACITY_CHANGED;
	vsp_scsi_execute(&cmd);
	cr_expect_eq(cmd.sense, OPCODE);
	cr_expect_not(cmd.took_attention);
	cmd = command(wrong, IN, 512);
	cmd.attention = SCSI_SENSE_CAPACITY_CHANGED;
	vsp_scsi_execute(&cmd);
	cr_expect_eq(cmd.sense, SCSI_SENSE_CAPACITY_CHANGED);
	cr_expect(cmd.took_attention);
	for (unsigned int opcode = 0; opcode < 256; opcode++) {
		const uint8_t cdb[16] = {(uint8_t)opcode};

		/* REPORT LUNS is the target's, not the unit's */
		if (!vsp_scsi_name((uint8_t)opcode) || opcode == SCSI_INQUIRY ||
		    opcode == SCSI_REQUEST_SENSE || opcode == SCSI_REPORT_LUNS)
			continue;
		cmd = command(cdb, NONE, 0);
		cmd.attention = SCSI_SENSE_CAPACITY_CHANGED;
		cr_expect_eq(vsp_scsi_execute(&cmd), SCSI_DONE, "%02x", opcode);
		cr_expect_eq(cmd.sense, SCSI_SENSE_CAPACITY_CHANGED, "%02x", opcode);
		cr_expect(cmd.took_attention, "%02x", opcode);
	}
}
