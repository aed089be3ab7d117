/* SPDX-License-Identifier: MIT */
/* VHDX: checksums, headers, what is refused, and the log. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "crc32c.h"
#include "image-file.h"
#include "vhdx.h"

enum { MIB = 1 << 20, BAT = 3 * MIB };

Test(crc32c, has_its_check_value_both_ways)
{
	static uint8_t bytes[1027];

	cr_expect_eq(vhd_crc32c(0, "123456789", 9), 0xe3069283);
	cr_expect_eq(vhd_crc32c_plain(0, "123456789", 9), 0xe3069283);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * i + 3 * i);
	for (size_t n = 0; n < sizeof(bytes); n += 13)
		cr_expect_eq(vhd_crc32c(7, bytes + 3, n - n % 2),
			     vhd_crc32c_plain(7, bytes + 3, n - n % 2));
}

static void header_put(uint8_t *bytes, uint64_t sequence, uint16_t version)
{
	struct vhdx_header h = { .sequence = sequence, .version = version };

	vhdx_header_build(bytes, &h);
}

Test(header, the_newer_valid_one_counts)
{
	static const struct {
		const char *name;
		uint64_t first, second; /* sequence numbers; 0: damaged */
		int which;
		int fault;
	} rows[] = {
		{ "first newer", 9, 8, 0, 0 },
		{ "second newer", 8, 9, 1, 0 },
		{ "first damaged", 0, 1, 1, 0 },
		{ "second damaged", 1, 0, 0, 0 },
		{ "the same twice", 5, 5, 0, 0 },
		{ "both damaged", 0, 0, 0, VHD_FAULT_VHDX_HEADER },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t first[4096], second[4096];
		struct vhdx_header h;
		int which = -1, fault;

		header_put(first, rows[i].first, 1);
		header_put(second, rows[i].second, 1);
		first[4000] ^= rows[i].first == 0;
		second[4000] ^= rows[i].second == 0;
		fault = vhdx_header_choose(first, second, 1 << 30, &h, &which, NULL);
		cr_expect_eq(fault, rows[i].fault, "%s", rows[i].name);
		cr_expect(fault || which == rows[i].which, "%s: %d", rows[i].name, which);
	}
	{
		uint8_t first[4096], second[4096];
		struct vhdx_header h = { .sequence = 5, .version = 1, .log_offset = MIB };
		int which;

		header_put(first, 5, 1);
		vhdx_header_build(second, &h);
		cr_expect_eq(vhdx_header_choose(first, second, 1 << 30, &h, &which, NULL),
			     VHD_FAULT_VHDX_HEADER, "equal numbers, different contents");
		header_put(first, 6, 2);
		cr_expect_eq(vhdx_header_choose(first, second, 1 << 30, &h, &which, NULL),
			     VHD_FAULT_VHDX_VERSION, "the current one counts, good or not");
	}
}

/* -- Files --------------------------------------------------------------------------- */

Test(vhdx, that_could_be_a_vhd_too_is_not_guessed)
{
	struct image_file f;
	struct vhd_image *image;

	image_file_make_vhdx(&f);
	image_file_write(&f, "conectix", 8, image_file_size(&f) - 512);
	cr_expect_eq(image_file_open(&f, VHD_OPEN_READ_ONLY, &image, NULL), VHD_FAULT_AMBIGUOUS);
	image_file_fini(&f);
}

Test(vhdx, gets_new_guids_with_the_first_write_only)
{
	uint8_t before[2][4096], after[2][4096];
	struct vhd_image *image;
	struct image_file f;
	char data[512] = "y";

	image_file_make_vhdx(&f);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 2; i++)
			image_file_read(&f, before[i], 4096, 65536u << i);
		cr_assert_eq(vhd_open(f.path, NULL, &image, NULL), 0);
		cr_assert_eq(vhd_pread(image, data, 512, 0), 0);
		if (round)
			cr_assert_eq(vhd_pwrite(image, data, 512, 0), 0);
		cr_assert_eq(vhd_close(image), 0);
		for (int i = 0; i < 2; i++) {
			image_file_read(&f, after[i], 4096, 65536u << i);
			cr_expect_eq(memcmp(before[i], after[i], 4096) != 0, round == 1);
			/* Data write GUID; and the log is empty. */
			cr_expect_eq(memcmp(before[i] + 32, after[i] + 32, 16) != 0, round == 1);
			cr_expect(vhdx_guid_is_zero(after[i] + 48));
		}
	}
	image_file_fini(&f);
}

/* -- The log ------------------------------------------------------------------------- */

enum { RING = 1 << 20 };

struct ring {
	uint8_t bytes[RING];
	uint8_t guid[16];
	uint32_t at;
};

/* Appends an entry of @pages pages of @fill, for 4 MiB and on. */
static void ring_add(struct ring *r, uint64_t sequence, uint32_t pages, uint8_t fill, int64_t tail)
{
	static uint8_t entry[RING], page[4096];
	uint64_t offsets[200];
	const uint8_t *contents[200];
	struct vhdx_log_entry e = {
		.sequence = sequence,
		.tail = tail < 0 ? r->at : (uint32_t)tail,
		.guid = r->guid,
		.flushed_size = 5 * MIB,
		.last_size = 8 * MIB,
		.pages = pages,
		.offsets = offsets,
		.contents = contents,
	};
	uint32_t size = vhdx_log_entry_size(pages);

	memset(page, fill, sizeof(page));
	for (uint32_t i = 0; i < pages; i++) {
		offsets[i] = 4 * MIB + i * 4096;
		contents[i] = page;
	}
	vhdx_log_entry_build(entry, &e);
	for (uint32_t i = 0; i < size; i++)
		r->bytes[(r->at + i) % RING] = entry[i];
	r->at = (r->at + size) % RING;
}

struct replayed {
	uint8_t page[200][4096];
	int count;
};

static int replay_page(void *opaque, uint64_t offset, const uint8_t *bytes, uint64_t length)
{
	struct replayed *r = opaque;

	cr_assert(length == 4096 && bytes);
	memcpy(r->page[(offset - 4 * MIB) / 4096], bytes, 4096);
	r->count++;
	return 0;
}

static int ring_replay(const struct ring *r, struct replayed *out, struct vhdx_log *log)
{
	int ret;

	*log = (struct vhdx_log){ .ring = r->bytes, .length = RING, .guid = r->guid };
	memset(out, 0, sizeof(*out));
	ret = vhdx_log_find(log, NULL);
	return ret ? ret : vhdx_log_replay(log, MIB, replay_page, out, NULL);
}

Test(log, replays_from_the_tail_of_the_newest_entry)
{
	static struct ring r;
	static struct replayed out;
	struct vhdx_log log;
	uint32_t second;

	memset(r.guid, 7, 16);
	cr_expect_eq(ring_replay(&r, &out, &log), VHD_FAULT_VHDX_LOG, "empty ring");
	ring_add(&r, 1, 0, 0, -1);
	cr_expect_eq(ring_replay(&r, &out, &log), 0, "an empty entry alone");
	cr_expect_eq(out.count, 0);
	second = r.at;
	ring_add(&r, 2, 3, 'a', -1);
	ring_add(&r, 3, 1, 'b', second);
	cr_expect_eq(ring_replay(&r, &out, &log), 0);
	cr_expect_eq(out.count, 4);
	cr_expect(out.page[0][0] == 'b' && out.page[0][4095] == 'b' && out.page[2][8] == 'a');
	ring_add(&r, 4, 2, 'c', -1);
	cr_expect_eq(ring_replay(&r, &out, &log), 0);
	cr_expect_eq(out.count, 2, "only from its own tail on");
	cr_expect_eq(log.sequence, 4);
}

Test(log, takes_the_entry_before_a_torn_one)
{
	static struct ring r, torn;
	static struct replayed out;
	struct vhdx_log log;
	uint32_t start;

	memset(r.guid, 9, 16);
	ring_add(&r, 1, 1, 'a', -1);
	start = r.at;
	ring_add(&r, 2, 2, 'b', -1);
	for (uint32_t at = start; at < r.at; at += 512) {
		torn = r;
		memset(torn.bytes + at, 0, 512);
		if (memcmp(torn.bytes, r.bytes, RING) == 0)
			continue;
		cr_expect_eq(ring_replay(&torn, &out, &log), 0, "torn at %u", at);
		cr_expect_eq(log.sequence, 1, "torn at %u", at);
		cr_expect_eq(out.page[0][100], 'a');
	}
	torn = r;
	memset(torn.guid, 1, 16);
	cr_expect_eq(ring_replay(&torn, &out, &log), VHD_FAULT_VHDX_LOG, "another file's log");
}

Test(log, goes_over_the_end_of_the_ring)
{
	static const uint32_t sizes[] = { 0, 1, 125, 126, 127, 150 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		for (uint32_t before = 0; before < 5; before++) {
			static struct ring r;
			static struct replayed out;
			struct vhdx_log log;

			memset(&r, 0, sizeof(r));
			memset(r.guid, 3, 16);
			r.at = RING - before * 4096;
			r.at %= RING;
			ring_add(&r, 77, sizes[i], 'w', -1);
			cr_expect_eq(ring_replay(&r, &out, &log), 0, "%u pages, %u before the end",
				     sizes[i], before);
			cr_expect_eq(out.count, (int)sizes[i]);
		}
}

/* A file that was not closed: its log changes the table's first entry. */
static void file_make_dirty(struct image_file *f, uint64_t entry)
{
	static uint8_t page[4096], log[8192], header[4096];
	const uint8_t *contents = page;
	uint64_t offset = BAT;
	struct vhdx_header h = {.version = 1, .log_length = MIB, .log_offset = MIB, .sequence = 99};
	struct vhdx_log_entry e = {
		.sequence = 5,
		.guid = h.log_guid,
		.pages = 1,
		.offsets = &offset,
		.contents = &contents,
	};

	image_file_make_vhdx(f);
	e.flushed_size = e.last_size = image_file_size(f);
	memset(h.log_guid, 0xab, 16);
	image_file_read(f, page, 4096, BAT);
	put_le64(page, entry);
	vhdx_log_entry_build(log, &e);
	image_file_write(f, log, sizeof(log), MIB);
	vhdx_header_build(header, &h);
	image_file_write(f, header, 4096, VHDX_HEADER_1);
}

Test(vhdx, with_a_log_is_read_through_it_and_replayed_to_be_written)
{
	static uint8_t before[6 * MIB], after[6 * MIB];
	struct vhd_image *image;
	struct image_file f;
	char data[512];

	file_make_dirty(&f, VHDX_ZERO);
	image_file_read(&f, before, sizeof(before), 0);
	cr_assert_eq(image_file_open(&f, VHD_OPEN_READ_ONLY, &image, NULL), 0);
	cr_expect_eq(vhd_pread(image, data, 512, 600 * 1024), 0);
	cr_expect_eq(data[0], 0, "as the log has it");
	cr_expect_eq(vhd_pread(image, data, 512, MIB), 0);
	cr_expect_eq(data[0], 'x');
	vhd_close(image);
	image_file_read(&f, after, sizeof(after), 0);
	cr_expect_eq(memcmp(before, after, sizeof(before)), 0, "reading changed the file");

	cr_assert_eq(vhd_open(f.path, NULL, &image, NULL), 0);
	vhd_close(image);
	image_file_read(&f, after, sizeof(after), 0);
	cr_expect_eq(get_le64(after + BAT), VHDX_ZERO);
	cr_expect_eq(get_le64(after + VHDX_HEADER_1 + 8), 101);
	cr_expect(vhdx_guid_is_zero(after + VHDX_HEADER_1 + 48), "the log is empty now");
	cr_expect(!vhdx_guid_is_zero(after + VHDX_HEADER_1 + 16), "the file's GUID is new");
	cr_expect(vhdx_guid_is_zero(after + VHDX_HEADER_1 + 32), "the data's is not");
	cr_expect_arr_eq(after + VHDX_HEADER_1 + 16, after + VHDX_HEADER_2 + 16, 16,
			 "it was new before the replay");
	cr_expect(!vhdx_guid_is_zero(after + VHDX_HEADER_2 + 48));
	image_file_fini(&f);
}

Test(vhdx, with_a_log_that_knows_it_longer_is_refused)
{
	struct vhd_image *image;
	struct image_file f;

	file_make_dirty(&f, VHDX_ZERO);
	image_file_truncate(&f, image_file_size(&f) - MIB);
	cr_expect_eq(image_file_open(&f, VHD_OPEN_READ_ONLY, &image, NULL), VHD_FAULT_FILE_SIZE);
	cr_expect_eq(image_file_open(&f, 0, &image, NULL), VHD_FAULT_FILE_SIZE);
	image_file_fini(&f);
}

Test(guid, is_read_in_its_mixed_order)
{
	uint8_t guid[16];

	cr_assert(vhdx_guid_parse("{2DC27766-f623-4200-9d64-115e9bfd4a08}", guid));
	cr_expect_arr_eq(guid, vhdx_region_bat, 16);
	cr_expect_not(vhdx_guid_parse("2dc27766-f623-4200-9d64-115e9bfd4a08", guid));
	cr_expect_not(vhdx_guid_parse("{2dc27766-f623-4200-9d64-115e9bfd4a08}x", guid));
	cr_expect_not(vhdx_guid_parse("{2dc27766-f623-4200-9d64-115e9bfd4a0}", guid));
}
