/* SPDX-License-Identifier: MIT */
/* Every field of a VHDX's identifier, headers, region table, metadata, block table, parent
 * locator and log. */
#include "malformed.h"

#include <stdio.h>

#include "bytes.h"
#include "crc32c.h"
#include "vhdx.h"

enum {
	MIB = 1 << 20,
	LOG = MIB,
	METADATA = 2 * MIB,
	ITEMS = METADATA + 65536,
	BAT = 3 * MIB,
	REGIONS = 192 << 10,
	FIRST = REGIONS + 16,	/* the region table's entry for the block table */
	SECOND = FIRST + 32,	/* for metadata */
	ENTRY = METADATA + 32,	/* the metadata table's first entry; file parameters */
};
#define MAX32 UINT64_C(0xffffffff)

static uint64_t header_at; /* of the one that counts */

static void checksum_put(uint8_t *bytes, uint64_t at, uint64_t field, size_t size)
{
	if (field >= at && field < at + size && (field < at + 4 || field >= at + 8))
		put_le32(bytes + at + 4, vhd_crc32c_structure(bytes + at, size));
}

/* The first region table is the one that counts; without the second, nothing replaces it. */
static void repair(uint8_t *bytes, size_t size, uint64_t at)
{
	(void)size;
	checksum_put(bytes, header_at, at, 4096);
	checksum_put(bytes, REGIONS, at, 65536);
	if (at >= REGIONS && at < REGIONS + 65536)
		memcpy(bytes + REGIONS + 65536, bytes + REGIONS, 65536);
	checksum_put(bytes, LOG, at, 8192);
}

/* Blocks 0 and 1 are there, at 4 and 5 MiB, or in a child partly. */
static void image_make(struct malformed *m, bool child)
{
	struct vhd_create_options options = VHD_CREATE_OPTIONS_INIT;
	struct vhd_image *image;
	static char data[MIB];

	*m = (struct malformed){ .repair = repair, .little = true };
	image_file_init(&m->file);
	options.format = VHD_FORMAT_VHDX;
	options.type = VHD_TYPE_DYNAMIC;
	options.virtual_size = 8 * MIB;
	options.block_size = MIB;
	if (child) {
		char path[96];

		snprintf(path, sizeof(path), "%s/parent.vhdx", m->file.dir);
		cr_assert_eq(vhd_create(path, &options, NULL), 0);
		options.type = VHD_TYPE_DIFFERENCING;
		options.parent = path;
		cr_assert_eq(vhd_create(m->file.path, &options, NULL), 0);
	} else {
		cr_assert_eq(vhd_create(m->file.path, &options, NULL), 0);
	}
	cr_assert_eq(vhd_open(m->file.path, NULL, &image, NULL), 0);
	cr_assert_eq(vhd_pwrite(image, data, MIB, 512 * 1024), 0);
	cr_assert_eq(vhd_close(image), 0);
	malformed_take(m);
	header_at = get_le64(m->good + 65536 + 8) > get_le64(m->good + 131072 + 8) ? 65536 : 131072;
}

#define RUN(m, rows) malformed_run(&(m), (rows), sizeof(rows) / sizeof((rows)[0]))

Test(malformed_vhdx, header_field_by_field)
{
	struct malformed m;
	uint64_t h;

	image_make(&m, false);
	h = header_at;
	{
		const struct malformed_row rows[] = {
			{ "identifier", 7, 'E', 1, VHD_FAULT_FOOTER_COOKIE, "cookie", 0 },
			{ "creator", 8, MAX32, 4, 0, NULL, 0 },
			{ "signature: the other", h, 'H', 1, 0, NULL, 0 },
			{ "checksum: the other", h + 4, 0, 4, 0, NULL, 0 },
			{ "sequence: the same header twice", h + 8, get_le64(m.good + h + 8) - 1,
			  8, 0, NULL, 0 },
			{ "sequence, highest", h + 8, UINT64_MAX, 8, 0, "sequence",
			  VHD_FAULT_VHDX_HEADER },
			{ "sequence: lower", h + 8, 0, 8, 0, NULL, 0 },
			{ "file write GUID", h + 16, 0, 8, 0, NULL, 0 },
			{ "data write GUID", h + 32, 0, 8, 0, NULL, 0 },
			{ "log GUID", h + 48, 1, 8, VHD_FAULT_VHDX_LOG, "log", 0 },
			{ "log version", h + 64, 1, 2, 0, NULL, 0 },
			{ "version 0", h + 66, 0, 2, VHD_FAULT_VHDX_VERSION, "version", 0 },
			{ "version 2", h + 66, 2, 2, VHD_FAULT_VHDX_VERSION, "version", 0 },
			{ "log length 0", h + 68, 0, 4, 0, "log", -ENOTSUP },
			{ "log length odd", h + 68, 4096, 4, VHD_FAULT_VHDX_LOG_PLACE, "log", 0 },
			{ "log over metadata", h + 68, 2 * MIB, 4, VHD_FAULT_BAT_OVERLAP,
			  "region", 0 },
			{ "log length huge", h + 68, 0xfff00000, 4, VHD_FAULT_VHDX_LOG_PLACE,
			  "log", 0 },
			{ "log at 0", h + 72, 0, 8, VHD_FAULT_VHDX_LOG_PLACE, "log", 0 },
			{ "log odd", h + 72, MIB + 4096, 8, VHD_FAULT_VHDX_LOG_PLACE, "log", 0 },
			{ "log over the table", h + 72, 3 * MIB, 8, VHD_FAULT_BAT_OVERLAP, "log",
			  0 },
			{ "log behind", h + 72, UINT64_C(1) << 40, 8, VHD_FAULT_VHDX_LOG_PLACE,
			  "log", 0 },
			{ "log, wrapping", h + 72, UINT64_MAX << 20, 8, VHD_FAULT_VHDX_LOG_PLACE,
			  "log", 0 },
			{ "reserved", h + 80, MAX32, 4, 0, NULL, 0 },
		};

		RUN(m, rows);
	}
	malformed_fini(&m);
}

Test(malformed_vhdx, region_table_field_by_field)
{
	static const struct malformed_row rows[] = {
		{ "signature", REGIONS, 'R', 1, VHD_FAULT_VHDX_REGION, "signature", 0 },
		{ "checksum", REGIONS + 4, 0, 4, VHD_FAULT_VHDX_REGION, "checksum", 0 },
		{ "no entries", REGIONS + 8, 0, 4, VHD_FAULT_VHDX_REGION, "no region", 0 },
		{ "one entry", REGIONS + 8, 1, 4, VHD_FAULT_VHDX_REGION, "metadata", 0 },
		{ "an entry of nothing", REGIONS + 8, 3, 4, VHD_FAULT_VHDX_REGION, "entry 2", 0 },
		{ "too many entries", REGIONS + 8, 2048, 4, VHD_FAULT_VHDX_REGION, "2048", 0 },
		{ "entries, all ones", REGIONS + 8, MAX32, 4, VHD_FAULT_VHDX_REGION, "entries", 0 },
		{ "reserved", REGIONS + 12, MAX32, 4, 0, NULL, 0 },
		{ "unknown, required", FIRST, 0, 4, VHD_FAULT_VHDX_REGION, "entry 0", 0 },
		{ "offset 0", FIRST + 16, 0, 8, VHD_FAULT_VHDX_REGION, "entry 0", 0 },
		{ "offset odd", FIRST + 16, BAT + 4096, 8, VHD_FAULT_VHDX_REGION, "entry 0", 0 },
		{ "offset behind", FIRST + 16, UINT64_C(1) << 40, 8, VHD_FAULT_VHDX_REGION,
		  "entry 0", 0 },
		{ "offset, wrapping", FIRST + 16, UINT64_MAX << 20, 8, VHD_FAULT_VHDX_REGION,
		  "entry 0", 0 },
		{ "over the log", FIRST + 16, LOG, 8, VHD_FAULT_BAT_ENTRY, "entry 0", 0 },
		{ "over metadata", FIRST + 16, METADATA, 8, VHD_FAULT_BAT_ENTRY, "entry 0", 0 },
		{ "length 0", FIRST + 24, 0, 4, VHD_FAULT_VHDX_REGION, "entry 0", 0 },
		{ "length odd", FIRST + 24, 4096, 4, VHD_FAULT_VHDX_REGION, "entry 0", 0 },
		{ "length over blocks", FIRST + 24, 2 * MIB, 4, VHD_FAULT_BAT_OVERLAP, "region",
		  0 },
		{ "length behind", FIRST + 24, 0xfff00000, 4, VHD_FAULT_VHDX_REGION, "entry 0", 0 },
		{ "not required", FIRST + 28, 0, 4, 0, NULL, 0 },
		{ "reserved flag", FIRST + 28, 3, 4, VHD_FAULT_VHDX_REGION, "entry 0", 0 },
		{ "second: unknown", SECOND, 0, 4, VHD_FAULT_VHDX_REGION, "entry 1", 0 },
		{ "second: offset", SECOND + 16, LOG, 8, VHD_FAULT_VHDX_METADATA, "metadata", 0 },
		{ "second: length", SECOND + 24, 0, 4, VHD_FAULT_VHDX_REGION, "entry 1", 0 },
	};
	struct malformed m;

	image_make(&m, false);
	RUN(m, rows);
	malformed_fini(&m);
}

Test(malformed_vhdx, metadata_field_by_field)
{
	static const struct malformed_row rows[] = {
		{ "signature", METADATA, 'M', 1, VHD_FAULT_VHDX_METADATA, "signature", 0 },
		{ "reserved", METADATA + 8, 0xffff, 2, 0, NULL, 0 },
		{ "no items", METADATA + 10, 0, 2, VHD_FAULT_VHDX_METADATA, "no item", 0 },
		{ "an item less", METADATA + 10, 4, 2, VHD_FAULT_VHDX_METADATA, "no item", 0 },
		{ "an item of nothing", METADATA + 10, 6, 2, VHD_FAULT_VHDX_METADATA, "item 5", 0 },
		{ "too many items", METADATA + 10, 2048, 2, VHD_FAULT_VHDX_METADATA, "2048", 0 },
		{ "unknown, required", ENTRY, 0, 4, VHD_FAULT_VHDX_METADATA, "item 0", 0 },
		{ "offset 0", ENTRY + 16, 0, 4, VHD_FAULT_VHDX_METADATA, "item 0", 0 },
		{ "offset in the table", ENTRY + 16, 65535, 4, VHD_FAULT_VHDX_METADATA, "item 0",
		  0 },
		{ "offset behind", ENTRY + 16, MIB, 4, VHD_FAULT_VHDX_METADATA, "item 0", 0 },
		{ "offset, all ones", ENTRY + 16, MAX32, 4, VHD_FAULT_VHDX_METADATA, "item 0", 0 },
		{ "offset of another", ENTRY + 16, 65536 + 8, 4, VHD_FAULT_VHDX_METADATA,
		  "items 0 and 1", 0 },
		{ "length 0", ENTRY + 20, 0, 4, VHD_FAULT_VHDX_METADATA, "file parameters", 0 },
		{ "length 16", ENTRY + 20, 16, 4, VHD_FAULT_VHDX_METADATA, "file parameters", 0 },
		{ "length, all ones", ENTRY + 20, MAX32, 4, VHD_FAULT_VHDX_METADATA, "item 0", 0 },
		{ "flags: user", ENTRY + 24, 5, 4, VHD_FAULT_VHDX_METADATA, "item 0", 0 },
		{ "flags: the disk's", ENTRY + 24, 6, 4, VHD_FAULT_VHDX_METADATA,
		  "file parameters", 0 },
		{ "flags: not required", ENTRY + 24, 0, 4, 0, NULL, 0 },
		{ "flags: reserved", ENTRY + 24, 0xc, 4, VHD_FAULT_VHDX_METADATA, "flags", 0 },
		{ "reserved of an item", ENTRY + 28, MAX32, 4, 0, NULL, 0 },
		{ "size: flags", ENTRY + 32 + 24, 4, 4, VHD_FAULT_VHDX_METADATA, "disk size", 0 },
		{ "id: length", ENTRY + 64 + 20, 8, 4, VHD_FAULT_VHDX_METADATA, "disk id", 0 },
		{ "logical: unknown", ENTRY + 96, 1, 4, VHD_FAULT_VHDX_METADATA, "item 3", 0 },
		{ "physical: twice", ENTRY + 128, 0x8141bf1d, 4, VHD_FAULT_VHDX_METADATA, "item 4",
		  0 },
		{ "block size 0", ITEMS, 0, 4, VHD_FAULT_BLOCK_SIZE, "block size", 0 },
		{ "block size 3 MiB", ITEMS, 3 * MIB, 4, VHD_FAULT_BLOCK_SIZE, "block size", 0 },
		{ "block size 512 KiB", ITEMS, MIB / 2, 4, VHD_FAULT_BLOCK_SIZE, "block size", 0 },
		{ "block size 512 MiB", ITEMS, 512 * MIB, 4, VHD_FAULT_BLOCK_SIZE, "block size",
		  0 },
		{ "block size 2 MiB", ITEMS, 2 * MIB, 4, VHD_FAULT_BAT_ENTRY, "entry", 0 },
		{ "fixed", ITEMS + 4, 1, 4, 0, NULL, 0 },
		{ "a parent", ITEMS + 4, 2, 4, VHD_FAULT_VHDX_METADATA, "parent locator", 0 },
		{ "reserved parameter", ITEMS + 4, 4, 4, VHD_FAULT_VHDX_METADATA, "parameters", 0 },
		{ "size 0", ITEMS + 8, 0, 8, VHD_FAULT_DISK_SIZE, "disk size", 0 },
		{ "size odd", ITEMS + 8, 513, 8, VHD_FAULT_DISK_SIZE, "disk size", 0 },
		{ "size over 64 TiB", ITEMS + 8, VHDX_MAX_SIZE + 512, 8, VHD_FAULT_DISK_SIZE,
		  "disk size", 0 },
		{ "size over the table", ITEMS + 8, UINT64_C(1) << 40, 8, VHD_FAULT_BAT_SIZE,
		  "table", 0 },
		{ "id", ITEMS + 16, 0, 8, 0, NULL, 0 },
		{ "logical 0", ITEMS + 32, 0, 4, VHD_FAULT_SECTOR_SIZE, "sector", 0 },
		{ "logical 1024", ITEMS + 32, 1024, 4, VHD_FAULT_SECTOR_SIZE, "sector", 0 },
		{ "physical 0", ITEMS + 36, 0, 4, VHD_FAULT_SECTOR_SIZE, "sector", 0 },
		{ "physical, all ones", ITEMS + 36, MAX32, 4, VHD_FAULT_SECTOR_SIZE, "sector", 0 },
	};
	struct malformed m;

	image_make(&m, false);
	RUN(m, rows);
	malformed_fini(&m);
}

Test(malformed_vhdx, table_entry_by_entry)
{
	static const struct malformed_row rows[] = {
		{ "undefined", BAT + 16, 1, 8, 0, NULL, 0 },
		{ "zero", BAT + 16, 2, 8, 0, NULL, 0 },
		{ "unmapped", BAT + 16, 3, 8, 0, NULL, 0 },
		{ "state 4", BAT + 16, 4, 8, VHD_FAULT_BAT_ENTRY, "entry 2", 0 },
		{ "state 5", BAT + 16, 5, 8, VHD_FAULT_BAT_ENTRY, "entry 2", 0 },
		{ "present nowhere", BAT + 16, 6, 8, VHD_FAULT_BAT_ENTRY, "entry 2", 0 },
		{ "partly present", BAT + 16, 7, 8, VHD_FAULT_BAT_ENTRY, "entry 2", 0 },
		{ "lowest reserved bit", BAT + 16, 8, 8, VHD_FAULT_BAT_ENTRY, "entry 2", 0 },
		{ "highest reserved bit", BAT + 16, 1 << 19, 8, VHD_FAULT_BAT_ENTRY, "entry 2", 0 },
		{ "behind the end", BAT + 16, 6 * MIB + 6, 8, VHD_FAULT_BAT_ENTRY, "entry 2", 0 },
		{ "highest", BAT + 16, UINT64_MAX << 20 | 6, 8, VHD_FAULT_BAT_ENTRY, "entry 2", 0 },
		{ "over the log", BAT + 16, LOG + 6, 8, VHD_FAULT_BAT_OVERLAP, "log", 0 },
		{ "over metadata", BAT + 16, METADATA + 6, 8, VHD_FAULT_BAT_OVERLAP, "region", 0 },
		{ "over the table", BAT + 16, BAT + 6, 8, VHD_FAULT_BAT_OVERLAP, "region", 0 },
		{ "over a block", BAT + 16, 4 * MIB + 6, 8, VHD_FAULT_BAT_OVERLAP, "entry 2", 0 },
		{ "unmapped over a block", BAT + 16, 4 * MIB + 3, 8, VHD_FAULT_BAT_OVERLAP,
		  "entry 2", 0 },
		{ "undefined behind", BAT + 16, 99 * MIB + 1, 8, VHD_FAULT_BAT_ENTRY, "entry 2",
		  0 },
		{ "what the disk has not", BAT + 64, UINT64_MAX, 8, 0, NULL, 0 },
	};
	struct malformed m;

	image_make(&m, false);
	RUN(m, rows);
	malformed_fini(&m);
}

/* The bitmap of the only chunk is entry 4096. */
Test(malformed_vhdx, bitmap_entry_and_locator)
{
	enum {
		CHUNK = BAT + 4096 * 8,
		LOCATOR = ITEMS + 40,
		KEYS = LOCATOR + 20,
		LINKAGE = KEYS + 36 + 28 + 2, /* behind the keys, its name and "{" */
	};
	static const struct malformed_row rows[] = {
		{ "no bitmap", CHUNK, 0, 8, VHD_FAULT_BAT_ENTRY, "bitmap", 0 },
		{ "bitmap of state 1", CHUNK, 1, 8, VHD_FAULT_BAT_ENTRY, "bitmap", 0 },
		{ "bitmap of state 7", CHUNK, 4 * MIB + 7, 8, VHD_FAULT_BAT_ENTRY, "bitmap", 0 },
		{ "bitmap nowhere", CHUNK, 6, 8, VHD_FAULT_BAT_ENTRY, "entry 4096", 0 },
		{ "bitmap behind", CHUNK, 99 * MIB + 6, 8, VHD_FAULT_BAT_ENTRY, "entry 4096", 0 },
		{ "bitmap over the table", CHUNK, BAT + 6, 8, VHD_FAULT_BAT_OVERLAP, "region", 0 },
		{ "no parent", ITEMS + 4, 0, 4, VHD_FAULT_VHDX_METADATA, "parent", 0 },
		{ "locator of nothing", ENTRY + 5 * 32 + 20, 0, 4, VHD_FAULT_VHDX_METADATA,
		  "parent locator", 0 },
		{ "locator short", ENTRY + 5 * 32 + 20, 19, 4, VHD_FAULT_LOCATOR, "type", 0 },
		{ "locator cut", ENTRY + 5 * 32 + 20, 100, 4, VHD_FAULT_LOCATOR, "key", 0 },
		{ "type", LOCATOR, 0, 1, VHD_FAULT_LOCATOR, "type", 0 },
		{ "reserved", LOCATOR + 16, 0xffff, 2, 0, NULL, 0 },
		{ "no keys", LOCATOR + 18, 0, 2, VHD_FAULT_LOCATOR, "parent_linkage", 0 },
		{ "one key", LOCATOR + 18, 1, 2, VHD_FAULT_LOCATOR, "path", 0 },
		{ "too many keys", LOCATOR + 18, 257, 2, VHD_FAULT_LOCATOR, "257", 0 },
		{ "key at 0", KEYS, 0, 4, VHD_FAULT_LOCATOR, "key 0", 0 },
		{ "key behind", KEYS, MAX32, 4, VHD_FAULT_LOCATOR, "key 0", 0 },
		{ "value behind", KEYS + 4, 1 << 20, 4, VHD_FAULT_LOCATOR, "key 0", 0 },
		{ "key of odd length", KEYS + 8, 3, 2, VHD_FAULT_LOCATOR, "key 0", 0 },
		{ "key of no length", KEYS + 8, 0, 2, VHD_FAULT_LOCATOR, "key 0", 0 },
		{ "key of another name", KEYS + 8, 10, 2, VHD_FAULT_LOCATOR, "parent_linkage", 0 },
		{ "value too long", KEYS + 10, 0xfffe, 2, VHD_FAULT_LOCATOR, "key 0", 0 },
		{ "value short", KEYS + 10, 20, 2, VHD_FAULT_LOCATOR, "GUID", 0 },
		/* Two digits at least are not what they were. */
		{ "linkage of another", LINKAGE, 0x0030003000300030, 8, VHD_FAULT_PARENT_ID,
		  "parent", 0 },
	};
	struct malformed m;

	image_make(&m, true);
	RUN(m, rows);
	malformed_fini(&m);
}

/* One entry with one page for the block table. */
static void log_make(struct malformed *m)
{
	static uint8_t page[4096];
	const uint8_t *contents = page;
	uint64_t offset = BAT;
	struct vhdx_header h;
	struct vhdx_log_entry e = { .sequence = 5, .pages = 1 };

	image_make(m, false);
	memcpy(page, m->good + BAT, sizeof(page));
	cr_assert(vhdx_header_parse(m->good + header_at, &h));
	memset(h.log_guid, 0xab, 16);
	vhdx_header_build(m->good + header_at, &h);
	e.guid = h.log_guid;
	e.offsets = &offset;
	e.contents = &contents;
	e.flushed_size = e.last_size = m->size;
	vhdx_log_entry_build(m->good + LOG, &e);
}

Test(malformed_vhdx, log_entry_field_by_field)
{
	enum { PAGE = LOG + 4096, DESCRIPTOR = LOG + 64 };
	static const struct malformed_row rows[] = {
		{ "as it was", LOG, 'l', 1, 0, NULL, 0 },
		{ "signature", LOG, 'L', 1, VHD_FAULT_VHDX_LOG, "log", 0 },
		{ "checksum", LOG + 4, 0, 4, VHD_FAULT_VHDX_LOG, "log", 0 },
		{ "length 0", LOG + 8, 0, 4, VHD_FAULT_VHDX_LOG, "log", 0 },
		{ "length odd", LOG + 8, 8191, 4, VHD_FAULT_VHDX_LOG, "log", 0 },
		{ "length of one page", LOG + 8, 4096, 4, VHD_FAULT_VHDX_LOG, "log", 0 },
		{ "length too long", LOG + 8, 12288, 4, VHD_FAULT_VHDX_LOG, "log", 0 },
		{ "length, all ones", LOG + 8, MAX32, 4, VHD_FAULT_VHDX_LOG, "log", 0 },
		{ "tail odd", LOG + 12, 512, 4, VHD_FAULT_VHDX_LOG, "log", 0 },
		{ "tail elsewhere", LOG + 12, 4096, 4, VHD_FAULT_VHDX_LOG, "log", 0 },
		{ "tail outside", LOG + 12, MIB, 4, VHD_FAULT_VHDX_LOG, "log", 0 },
		{ "sequence 0", LOG + 16, 0, 8, VHD_FAULT_VHDX_LOG, "log", 0 },
		{ "sequence of others", LOG + 16, 6, 8, VHD_FAULT_VHDX_LOG, "log", 0 },
		{ "no descriptor", LOG + 24, 0, 4, VHD_FAULT_VHDX_LOG, "log", 0 },
		{ "two descriptors", LOG + 24, 2, 4, VHD_FAULT_VHDX_LOG, "log", 0 },
		{ "descriptors, all ones", LOG + 24, MAX32, 4, VHD_FAULT_VHDX_LOG, "log", 0 },
		{ "reserved", LOG + 28, MAX32, 4, 0, NULL, 0 },
		{ "another log's GUID", LOG + 32, 0, 8, VHD_FAULT_VHDX_LOG, "log", 0 },
		{ "flushed size", LOG + 48, UINT64_C(1) << 40, 8, VHD_FAULT_FILE_SIZE, "log", 0 },
		{ "last size too small", LOG + 56, BAT, 8, VHD_FAULT_VHDX_LOG, "log", 0 },
		{ "descriptor's signature", DESCRIPTOR, 'D', 1, VHD_FAULT_VHDX_LOG, "log", 0 },
		{ "its place odd", DESCRIPTOR + 16, BAT + 512, 8, VHD_FAULT_VHDX_LOG, "log", 0 },
		{ "its place: headers", DESCRIPTOR + 16, 65536, 8, VHD_FAULT_VHDX_LOG, "log", 0 },
		{ "its place: the log", DESCRIPTOR + 16, LOG + 4096, 8, VHD_FAULT_VHDX_LOG, "log",
		  0 },
		{ "its place: behind", DESCRIPTOR + 16, UINT64_C(1) << 40, 8, VHD_FAULT_VHDX_LOG,
		  "log", 0 },
		{ "its place, wrapping", DESCRIPTOR + 16, UINT64_MAX - 4095, 8, VHD_FAULT_VHDX_LOG,
		  "log", 0 },
		{ "its sequence", DESCRIPTOR + 24, 4, 8, VHD_FAULT_VHDX_LOG, "log", 0 },
		{ "page's signature", PAGE, 'D', 1, VHD_FAULT_VHDX_LOG, "log", 0 },
		{ "page's sequence, high", PAGE + 4, 1, 4, VHD_FAULT_VHDX_LOG, "log", 0 },
		{ "page's sequence, low", PAGE + 4092, 4, 4, VHD_FAULT_VHDX_LOG, "log", 0 },
	};
	struct malformed m;

	log_make(&m);
	RUN(m, rows);
	for (uint64_t at = LOG; at < LOG + 8192; at += 512) {
		const struct malformed_row row = { "torn", 0, 0, 0, 0, "log", 0 };
		uint8_t sector[512];

		memcpy(sector, m.good + at, sizeof(sector));
		memset(m.good + at, 0, sizeof(sector));
		if (memcmp(sector, m.good + at, sizeof(sector)) != 0)
			malformed_try(&m, &row, VHD_OPEN_READ_ONLY, VHD_FAULT_VHDX_LOG);
		memcpy(m.good + at, sector, sizeof(sector));
	}
	malformed_fini(&m);
}
