/* SPDX-License-Identifier: MIT */
/* Every field of a VHD's footer, dynamic header, block table and parent locators. */
#include "malformed.h"

#include <stdio.h>

#include "bytes.h"
#include "vhd-format.h"

enum {
	SIZE = 8 << 20,
	BLOCK = 64 << 10,
	HEADER = 512,
	BAT = 1536,
	LOCATORS = HEADER + 576,
};
#define MAX32 UINT64_C(0xffffffff)

/* A field of the copy is meant to be that of the last footer too. */
static void repair(uint8_t *bytes, size_t size, uint64_t at)
{
	if (at < 512) {
		if (at < 64 || at >= 68)
			put_be32(bytes + 64, vhd_checksum(bytes, 512, 64));
		memcpy(bytes + size - 512, bytes, 512);
	}
	if (at >= HEADER && at < BAT && (at < HEADER + 36 || at >= HEADER + 40))
		put_be32(bytes + HEADER + 36, vhd_checksum(bytes + HEADER, 1024, 36));
}

/* Blocks 1, 2 and 3 are there. */
static void image_make(struct malformed *m, const char *parent)
{
	struct vhd_create_options options = VHD_CREATE_OPTIONS_INIT;
	struct vhd_image *image;
	static char data[3 * BLOCK];

	*m = (struct malformed){ .repair = repair };
	image_file_init(&m->file);
	options.format = VHD_FORMAT_VHD;
	options.type = VHD_TYPE_DYNAMIC;
	options.virtual_size = SIZE;
	options.block_size = BLOCK;
	if (parent) {
		char path[96];

		snprintf(path, sizeof(path), "%s/%s", m->file.dir, parent);
		cr_assert_eq(vhd_create(path, &options, NULL), 0);
		options.type = VHD_TYPE_DIFFERENCING;
		options.parent = path;
		cr_assert_eq(vhd_create(m->file.path, &options, NULL), 0);
	} else {
		cr_assert_eq(vhd_create(m->file.path, &options, NULL), 0);
	}
	cr_assert_eq(vhd_open(m->file.path, NULL, &image, NULL), 0);
	cr_assert_eq(vhd_pwrite(image, data, sizeof(data), BLOCK), 0);
	cr_assert_eq(vhd_close(image), 0);
	malformed_take(m);
}

#define RUN(m, rows) malformed_run(&(m), (rows), sizeof(rows) / sizeof((rows)[0]))

Test(malformed_vhd, footer_field_by_field)
{
	static const struct malformed_row rows[] = {
		{ "as it was", 0, 'c', 1, 0, NULL, 0 },
		{ "cookie", 0, 'C', 1, VHD_FAULT_FOOTER_COOKIE, "cookie", 0 },
		{ "cookie's end", 7, 0, 1, VHD_FAULT_FOOTER_COOKIE, "cookie", 0 },
		{ "features", 8, 0, 4, 0, NULL, 0 },
		{ "features, unknown", 8, MAX32, 4, 0, NULL, 0 },
		{ "version 0", 12, 0, 4, VHD_FAULT_FOOTER_VERSION, "version", 0 },
		{ "version 2", 12, 0x20000, 4, VHD_FAULT_FOOTER_VERSION, "version", 0 },
		{ "data offset 0", 16, 0, 8, VHD_FAULT_HEADER_OFFSET, "data offset", 0 },
		{ "data offset odd", 16, 513, 8, VHD_FAULT_HEADER_OFFSET, "data offset", 0 },
		{ "data offset none", 16, UINT64_MAX, 8, VHD_FAULT_HEADER_OFFSET, "data offset",
		  0 },
		{ "data offset behind", 16, UINT64_C(1) << 40, 8, VHD_FAULT_HEADER_OFFSET,
		  "data offset", 0 },
		{ "data offset in the table", 16, 1536, 8, VHD_FAULT_HEADER_COOKIE, "header", 0 },
		{ "time", 24, MAX32, 4, 0, NULL, 0 },
		{ "creator", 28, 0, 4, 0, NULL, 0 },
		{ "creator version", 32, MAX32, 4, 0, NULL, 0 },
		{ "host", 36, 0, 4, 0, NULL, 0 },
		{ "original size", 40, 0, 8, 0, NULL, 0 },
		{ "size 0", 48, 0, 8, VHD_FAULT_DISK_SIZE, "current size", 0 },
		{ "size odd", 48, 513, 8, VHD_FAULT_DISK_SIZE, "current size", 0 },
		{ "size over the limit", 48, VHD_MAX_SIZE + 512, 8, VHD_FAULT_DISK_SIZE,
		  "current size", 0 },
		{ "size over the table", 48, SIZE + 512, 8, VHD_FAULT_BAT_SIZE, "table", 0 },
		{ "size, highest bit", 48, UINT64_C(1) << 63, 8, VHD_FAULT_DISK_SIZE,
		  "current size", 0 },
		{ "geometry", 56, 0, 4, 0, NULL, 0 },
		{ "geometry, all ones", 56, MAX32, 4, 0, NULL, 0 },
		{ "type 0", 60, 0, 4, VHD_FAULT_DISK_TYPE, "type", 0 },
		{ "type 1", 60, 1, 4, VHD_FAULT_DISK_TYPE, "type", 0 },
		{ "type fixed", 60, 2, 4, VHD_FAULT_FILE_SIZE, "current size", 0 },
		{ "type differencing", 60, 4, 4, VHD_FAULT_PARENT_MISSING, "parent", 0 },
		{ "type 5", 60, 5, 4, VHD_FAULT_DISK_TYPE, "type", 0 },
		{ "type, all ones", 60, MAX32, 4, VHD_FAULT_DISK_TYPE, "type", 0 },
		{ "checksum", 64, 0, 4, VHD_FAULT_FOOTER_CHECKSUM, "checksum", 0 },
		{ "id", 68, 0, 8, 0, NULL, 0 },
		{ "saved state", 84, 1, 1, 0, "saved state", VHD_FAULT_SAVED_STATE },
		{ "reserved", 85, 0xff, 1, 0, NULL, 0 },
		{ "reserved, last", 511, 0xff, 1, 0, NULL, 0 },
	};
	struct malformed m;

	image_make(&m, NULL);
	RUN(m, rows);
	malformed_fini(&m);
}

Test(malformed_vhd, header_field_by_field)
{
	static const struct malformed_row rows[] = {
		{ "cookie", HEADER, 'C', 1, VHD_FAULT_HEADER_COOKIE, "cookie", 0 },
		{ "data offset", HEADER + 8, 0, 8, 0, NULL, 0 },
		{ "table at 0", HEADER + 16, 0, 8, VHD_FAULT_BAT_OFFSET, "table", 0 },
		{ "table odd", HEADER + 16, 1537, 8, VHD_FAULT_BAT_OFFSET, "table", 0 },
		{ "table over the header", HEADER + 16, 1024, 8, VHD_FAULT_BAT_OFFSET, "header",
		  0 },
		{ "table behind", HEADER + 16, UINT64_C(1) << 41, 8, VHD_FAULT_BAT_OFFSET, "table",
		  0 },
		{ "table, wrapping", HEADER + 16, UINT64_MAX - 511, 8, VHD_FAULT_BAT_OFFSET,
		  "table", 0 },
		{ "version", HEADER + 24, 0x10001, 4, VHD_FAULT_HEADER_VERSION, "version", 0 },
		{ "no entries", HEADER + 28, 0, 4, VHD_FAULT_BAT_SIZE, "entries", 0 },
		{ "too few entries", HEADER + 28, 127, 4, VHD_FAULT_BAT_SIZE, "entries", 0 },
		{ "entries over blocks", HEADER + 28, 1024, 4, VHD_FAULT_BAT_ENTRY, "block", 0 },
		{ "entries, all ones", HEADER + 28, MAX32, 4, VHD_FAULT_BAT_OFFSET, "table", 0 },
		{ "block size 0", HEADER + 32, 0, 4, VHD_FAULT_BLOCK_SIZE, "block size", 0 },
		{ "block size 1", HEADER + 32, 1, 4, VHD_FAULT_BLOCK_SIZE, "block size", 0 },
		{ "block size 3", HEADER + 32, 3 << 16, 4, VHD_FAULT_BLOCK_SIZE, "block size", 0 },
		{ "block size huge", HEADER + 32, 1u << 31, 4, VHD_FAULT_BLOCK_SIZE, "block size",
		  0 },
		{ "block size half", HEADER + 32, BLOCK / 2, 4, VHD_FAULT_BAT_SIZE, "blocks of",
		  0 },
		{ "block size double", HEADER + 32, BLOCK * 2, 4, VHD_FAULT_BAT_ENTRY, "block 3",
		  0 },
		{ "checksum", HEADER + 36, 0, 4, VHD_FAULT_HEADER_CHECKSUM, "checksum", 0 },
		{ "parent's id", HEADER + 40, MAX32, 4, 0, NULL, 0 },
		{ "parent's time", HEADER + 56, MAX32, 4, 0, NULL, 0 },
		{ "reserved", HEADER + 60, MAX32, 4, 0, NULL, 0 },
		{ "parent's name", HEADER + 64, MAX32, 4, 0, NULL, 0 },
		{ "locator", LOCATORS, VHD_LOCATOR_W2RU, 4, 0, NULL, 0 },
		{ "reserved, last", HEADER + 1023, 0xff, 1, 0, NULL, 0 },
	};
	struct malformed m;

	image_make(&m, NULL);
	RUN(m, rows);
	malformed_fini(&m);
}

Test(malformed_vhd, table_entry_by_entry)
{
	struct malformed m;
	uint32_t first, last;

	image_make(&m, NULL);
	first = get_be32(m.good + BAT + 4);
	last = (uint32_t)(m.size / 512 - 1);
	{
		const struct malformed_row rows[] = {
			{ "0", BAT + 8, 0, 4, VHD_FAULT_BAT_ENTRY, "block 2", 0 },
			{ "1", BAT + 8, 1, 4, VHD_FAULT_BAT_ENTRY, "block 2", 0 },
			{ "the table", BAT + 8, 3, 4, VHD_FAULT_BAT_ENTRY, "table", 0 },
			{ "the first block", BAT + 8, first, 4, VHD_FAULT_BAT_OVERLAP, "block 2",
			  0 },
			{ "a sector behind it", BAT + 8, first + 1, 4, VHD_FAULT_BAT_OVERLAP,
			  "block 2", 0 },
			{ "its last sector", BAT + 8, first + BLOCK / 512, 4,
			  VHD_FAULT_BAT_OVERLAP, "block 2", 0 },
			{ "a sector in front", BAT + 8, first - 1, 4, VHD_FAULT_BAT_OVERLAP,
			  "block 1", 0 },
			{ "the footer", BAT + 8, last, 4, VHD_FAULT_BAT_ENTRY, "block 2", 0 },
			{ "behind the end", BAT + 8, last + 1, 4, VHD_FAULT_BAT_ENTRY, "block 2",
			  0 },
			{ "highest", BAT + 8, 0xfffffffe, 4, VHD_FAULT_BAT_ENTRY, "block 2", 0 },
			{ "none", BAT + 8, MAX32, 4, 0, NULL, 0 },
			{ "another block's", BAT + 4 * 127, first, 4, VHD_FAULT_BAT_OVERLAP,
			  "block 127", 0 },
		};

		RUN(m, rows);
	}
	malformed_fini(&m);
}

Test(malformed_vhd, locator_field_by_field)
{
	static const struct malformed_row rows[] = {
		{ "as it was", LOCATORS, VHD_LOCATOR_W2RU, 4, 0, NULL, 0 },
		{ "parent's id", HEADER + 40, 0, 4, VHD_FAULT_PARENT_ID, "identity", 0 },
		{ "parent's time", HEADER + 56, 1, 4, VHD_FAULT_PARENT_TIME, "modified", 0 },
		{ "parent's name", HEADER + 64, 0xd800d800, 4, 0, NULL, 0 },
		{ "unknown code", LOCATORS, 0x78787878, 4, 0, NULL, 0 },
		{ "none", LOCATORS, 0, 4, 0, NULL, 0 },
		{ "space 0", LOCATORS + 4, 0, 4, VHD_FAULT_LOCATOR, "locator 0", 0 },
		{ "space odd", LOCATORS + 4, 513, 4, VHD_FAULT_LOCATOR, "locator 0", 0 },
		{ "space in sectors", LOCATORS + 4, 1, 4, 0, NULL, 0 },
		{ "space huge", LOCATORS + 4, 0xfffffe00, 4, VHD_FAULT_LOCATOR, "locator 0", 0 },
		{ "length over space", LOCATORS + 8, 1024, 4, VHD_FAULT_LOCATOR, "locator 0", 0 },
		{ "length, all ones", LOCATORS + 8, MAX32, 4, VHD_FAULT_LOCATOR, "locator 0", 0 },
		{ "offset 0", LOCATORS + 16, 0, 8, VHD_FAULT_LOCATOR, "locator 0", 0 },
		{ "offset in the header", LOCATORS + 16, 1024, 8, VHD_FAULT_LOCATOR, "header", 0 },
		{ "offset in the table", LOCATORS + 16, BAT, 8, VHD_FAULT_LOCATOR, "table", 0 },
		{ "offset behind", LOCATORS + 16, UINT64_C(1) << 40, 8, VHD_FAULT_LOCATOR,
		  "locator 0", 0 },
		{ "offset, wrapping", LOCATORS + 16, UINT64_MAX - 511, 8, VHD_FAULT_LOCATOR,
		  "locator 0", 0 },
		{ "offset in a block", LOCATORS + 16, 65536, 8, VHD_FAULT_BAT_ENTRY, "locator",
		  0 },
		{ "second: offset", LOCATORS + 24 + 16, 0, 8, VHD_FAULT_LOCATOR, "locator 1", 0 },
		{ "eighth: of nothing", LOCATORS + 7 * 24, VHD_LOCATOR_W2KU, 4, 0, NULL, 0 },
	};
	struct malformed m;

	image_make(&m, "parent.vhd");
	m.flags = VHD_OPEN_STRICT;
	RUN(m, rows);
	malformed_fini(&m);
}
