/* SPDX-License-Identifier: MIT */
/* The pure functions on a VHD's bytes. */
#include <criterion/criterion.h>

#include "bytes.h"
#include "vhd-format.h"

Test(geometry, follows_the_specification)
{
	static const struct {
		uint64_t bytes;
		struct vhd_geometry want;
	} rows[] = {
		/* First row: as qemu-img 7.2 writes it for 40 MiB. */
		{ 41953280, { 0x3c4, 5, 17 } },
		{ 512, { 0, 4, 17 } },
		{ 4 * 17 * 512, { 1, 4, 17 } },
		/* 1023 * 16 * 17 and more: heads would pass 16. */
		{ UINT64_C(16) * 17 * 1023 * 512, { 1023, 16, 17 } },
		{ UINT64_C(16) * 17 * 1024 * 512, { 561, 16, 31 } },
		{ UINT64_C(16) * 31 * 1024 * 512, { 503, 16, 63 } },
		{ UINT64_C(65535) * 16 * 63 * 512 - 512, { 65534, 16, 63 } },
		{ UINT64_C(65535) * 16 * 63 * 512, { 16191, 16, 255 } },
		{ UINT64_C(65535) * 16 * 255 * 512, { 65535, 16, 255 } },
		{ VHD_MAX_SIZE, { 65535, 16, 255 } },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vhd_geometry g = vhd_geometry(rows[i].bytes / 512);

		cr_expect(g.cylinders == rows[i].want.cylinders && g.heads == rows[i].want.heads &&
				  g.sectors == rows[i].want.sectors,
			  "%llu bytes: %u/%u/%u", (unsigned long long)rows[i].bytes, g.cylinders,
			  g.heads, g.sectors);
	}
}

Test(checksum, is_the_inverted_sum_without_its_own_bytes)
{
	uint8_t bytes[16] = { 1, 2, 3, 4, 0xff, 0xff, 0xff, 0xff, 5 };

	cr_expect_eq(vhd_checksum(bytes, sizeof(bytes), 4), UINT32_MAX - 15);
	cr_expect_eq(vhd_checksum(bytes, sizeof(bytes), 12), UINT32_MAX - (15 + 4 * 255));
}

static struct vhd_footer some_footer(void)
{
	return (struct vhd_footer){
		.features = 2,
		.data_offset = 512,
		.time = 0x12345678,
		.creator = { 'w', 'i', 'n', ' ' },
		.creator_version = 0x000a0000,
		.host_os = { 'W', 'i', '2', 'k' },
		.original_size = 4096,
		.current_size = UINT64_C(40) << 30,
		.geometry = { 0x1234, 0x10, 0x3f },
		.type = VHD_DISK_DYNAMIC,
		.id = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 },
		.saved_state = 1,
	};
}

Test(footer, reads_what_was_built)
{
	struct vhd_footer in = some_footer(), out;
	uint8_t bytes[512];

	memset(&out, 0, sizeof(out));
	vhd_footer_build(bytes, &in);
	cr_assert_eq(vhd_footer_parse(bytes, &out, NULL), 0);
	cr_expect_eq(out.features, in.features);
	cr_expect_eq(out.data_offset, in.data_offset);
	cr_expect_eq(out.time, in.time);
	cr_expect_arr_eq(out.creator, in.creator, 4);
	cr_expect_eq(out.creator_version, in.creator_version);
	cr_expect_arr_eq(out.host_os, in.host_os, 4);
	cr_expect_eq(out.original_size, in.original_size);
	cr_expect_eq(out.current_size, in.current_size);
	cr_expect_eq(out.geometry.cylinders, in.geometry.cylinders);
	cr_expect_eq(out.geometry.heads, in.geometry.heads);
	cr_expect_eq(out.geometry.sectors, in.geometry.sectors);
	cr_expect_eq(out.type, in.type);
	cr_expect_arr_eq(out.id, in.id, 16);
	cr_expect_eq(out.saved_state, in.saved_state);
	cr_expect_arr_eq(bytes, "conectix\0\0\0\2\0\1\0\0", 16);
}

Test(footer, names_what_is_wrong)
{
	static const struct {
		const char *name;
		size_t field, size;
		uint64_t value;
		bool fix_checksum;
		int fault;
		const char *text;
	} rows[] = {
		{ "cookie", 0, 1, 'C', true, VHD_FAULT_FOOTER_COOKIE, "\"Conectix\"" },
		{ "checksum", 67, 1, 0x55, false, VHD_FAULT_FOOTER_CHECKSUM, "checksum is 0x" },
		{ "reserved byte", 511, 1, 1, false, VHD_FAULT_FOOTER_CHECKSUM, "checksum is 0x" },
		{ "version", 12, 4, 0x20000, true, VHD_FAULT_FOOTER_VERSION, "0x00020000" },
		{ "type 0", 60, 4, 0, true, VHD_FAULT_DISK_TYPE, "type is 0" },
		{ "type 1", 60, 4, 1, true, VHD_FAULT_DISK_TYPE, "type is 1" },
		{ "type 5", 60, 4, 5, true, VHD_FAULT_DISK_TYPE, "type is 5" },
		{ "size 0", 48, 8, 0, true, VHD_FAULT_DISK_SIZE, "size is 0" },
		{ "size 513", 48, 8, 513, true, VHD_FAULT_DISK_SIZE, "size is 513" },
		{ "size too large", 48, 8, VHD_MAX_SIZE + 512, true, VHD_FAULT_DISK_SIZE,
		  "2190433321472" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vhd_footer footer = some_footer();
		struct vhd_error err;
		uint8_t bytes[512];
		int fault;

		vhd_footer_build(bytes, &footer);
		for (size_t k = 0; k < rows[i].size; k++)
			bytes[rows[i].field + k] =
				(uint8_t)(rows[i].value >> 8 * (rows[i].size - 1 - k));
		if (rows[i].fix_checksum)
			put_be32(bytes + 64, vhd_checksum(bytes, 512, 64));
		fault = vhd_footer_parse(bytes, &footer, &err);
		cr_expect_eq(fault, rows[i].fault, "%s: %s", rows[i].name, vhd_fault_text(fault));
		cr_expect(strstr(err.text, rows[i].text), "%s: %s", rows[i].name, err.text);
		cr_expect_eq(err.code, fault, "%s", rows[i].name);
	}
}

Test(header, names_what_is_wrong)
{
	static const struct {
		const char *name;
		size_t field;
		uint32_t value;
		bool fix_checksum;
		int fault;
	} rows[] = {
		{ "good", 28, 16, true, 0 },
		{ "cookie", 0, 0, true, VHD_FAULT_HEADER_COOKIE },
		{ "checksum", 36, 0, false, VHD_FAULT_HEADER_CHECKSUM },
		{ "reserved byte", 1020, 1, false, VHD_FAULT_HEADER_CHECKSUM },
		{ "version", 24, 0x10001, true, VHD_FAULT_HEADER_VERSION },
		{ "block size 0", 32, 0, true, VHD_FAULT_BLOCK_SIZE },
		{ "block size 1", 32, 1, true, VHD_FAULT_BLOCK_SIZE },
		{ "block size 3 MiB", 32, 3 << 20, true, VHD_FAULT_BLOCK_SIZE },
		{ "block size 512 MiB", 32, 512 << 20, true, VHD_FAULT_BLOCK_SIZE },
		{ "block size 2^31", 32, 1u << 31, true, VHD_FAULT_BLOCK_SIZE },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vhd_header h = { .bat_offset = 1536, .bat_entries = 8, .block_size = 4096 };
		uint8_t bytes[1024];
		int fault;

		vhd_header_build(bytes, &h);
		put_be32(bytes + rows[i].field, rows[i].value);
		if (rows[i].fix_checksum)
			put_be32(bytes + 36, vhd_checksum(bytes, 1024, 36));
		fault = vhd_header_parse(bytes, false, &h, NULL);
		cr_expect_eq(fault, rows[i].fault, "%s: %s", rows[i].name, vhd_fault_text(fault));
	}
}

Test(layout, refuses_what_overlaps_or_leaves_the_file)
{
	static const struct {
		const char *name;
		uint64_t data_offset, bat_offset, size, space_end;
		uint32_t entries, block_size;
		int fault;
	} rows[] = {
		{ "good", 512, 1536, 1 << 20, 2048, 1, 1 << 20, 0 },
		{ "more entries than needed", 512, 1536, 1 << 20, 2048, 128, 1 << 20, 0 },
		{ "table first", 1024, 512, 1 << 20, 2048, 1, 1 << 20, 0 },
		{ "header unaligned", 513, 2048, 512, 8192, 1, 512, VHD_FAULT_HEADER_OFFSET },
		{ "header over footer", 0, 2048, 512, 8192, 1, 512, VHD_FAULT_HEADER_OFFSET },
		{ "header at end", 1536, 512, 512, 2048, 1, 512, VHD_FAULT_HEADER_OFFSET },
		{ "header nowhere", UINT64_MAX, 512, 512, 2048, 1, 512, VHD_FAULT_HEADER_OFFSET },
		{ "no entries", 512, 1536, 512, 2048, 0, 512, VHD_FAULT_BAT_SIZE },
		{ "one too few", 512, 1536, 4608, 4096, 1, 4096, VHD_FAULT_BAT_SIZE },
		{ "far too many blocks", 512, 1536, VHD_MAX_SIZE, UINT64_MAX, UINT32_MAX, 512,
		  VHD_FAULT_BAT_SIZE },
		{ "table unaligned", 512, 1537, 512, 8192, 1, 512, VHD_FAULT_BAT_OFFSET },
		{ "table over footer", 512, 0, 512, 8192, 1, 512, VHD_FAULT_BAT_OFFSET },
		{ "table over header", 512, 1024, 512, 8192, 1, 512, VHD_FAULT_BAT_OFFSET },
		{ "table into header", 1024, 512, 1 << 20, 8192, 129, 1 << 20,
		  VHD_FAULT_BAT_OFFSET },
		{ "table past the end", 512, 1536, 512, 2048, 129, 512, VHD_FAULT_BAT_OFFSET },
		{ "huge table", 512, 1536, 512, 4096, UINT32_MAX, 512, VHD_FAULT_BAT_OFFSET },
		{ "table nowhere", 512, UINT64_MAX - 511, 512, 4096, 1, 512, VHD_FAULT_BAT_OFFSET },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vhd_footer f = { .data_offset = rows[i].data_offset,
					.current_size = rows[i].size };
		struct vhd_header h = { .bat_offset = rows[i].bat_offset,
					.bat_entries = rows[i].entries,
					.block_size = rows[i].block_size };
		struct vhd_layout layout;
		int fault = vhd_layout_check(&f, &h, rows[i].space_end, &layout, NULL);

		cr_expect_eq(fault, rows[i].fault, "%s: %s", rows[i].name, vhd_fault_text(fault));
	}
}

Test(bat, refuses_entries_that_cannot_be)
{
	/* Footer 0, header 1, table 3, then blocks of 9 sectors from 4 on; the file
	 * has room for four blocks. */
	static const struct {
		const char *name;
		uint32_t entry[3];
		int fault;
		uint64_t end;
	} rows[] = {
		{ "empty", { ~0u, ~0u, ~0u }, 0, 4 * 512 },
		{ "in order", { 4, 13, 22 }, 0, 31 * 512 },
		{ "out of order with gaps", { 31, ~0u, 5 }, 0, 40 * 512 },
		{ "at 0", { 0, ~0u, ~0u }, VHD_FAULT_BAT_ENTRY, 0 },
		{ "over the header", { 1, ~0u, ~0u }, VHD_FAULT_BAT_ENTRY, 0 },
		{ "over the table", { 3, ~0u, ~0u }, VHD_FAULT_BAT_ENTRY, 0 },
		{ "one sector past the end", { ~0u, 32, ~0u }, VHD_FAULT_BAT_ENTRY, 0 },
		{ "far past the end", { ~0u, ~0u, 0xfffffffe }, VHD_FAULT_BAT_ENTRY, 0 },
		{ "the same twice", { 13, ~0u, 13 }, VHD_FAULT_BAT_OVERLAP, 0 },
		{ "one sector over another", { 13, 5, ~0u }, VHD_FAULT_BAT_OVERLAP, 0 },
	};
	const struct vhd_layout layout = {
		.header_offset = 512,
		.bat_offset = 1536,
		.bat_entries = 3,
		.blocks = 3,
		.block_size = 4096,
		.bitmap_size = 512,
		.space_end = 40 * 512,
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t sorted[3], end = 0;
		uint32_t bat[3];
		int fault;

		for (int k = 0; k < 3; k++)
			bat[k] = htobe32(rows[i].entry[k]);
		fault = vhd_bat_check(&layout, bat, sorted, &end, NULL);
		cr_expect_eq(fault, rows[i].fault, "%s: %s", rows[i].name, vhd_fault_text(fault));
		if (!fault)
			cr_expect_eq(end, rows[i].end, "%s: end %llu", rows[i].name,
				     (unsigned long long)end);
	}
}
