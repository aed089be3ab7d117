/* SPDX-License-Identifier: MIT */
/* Differencing VHDX: what a child says of its parent, blocks that are partly here, and what
 * of a file is not ours to touch. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "crc32c.h"
#include "image-file.h"
#include "utf16.h"
#include "vhdx.h"

enum { MIB = 1 << 20, BAT = 3 * MIB, METADATA = 2 * MIB, ITEMS = METADATA + 65536 };
#define GIB (UINT64_C(1024) * MIB)

static void put(const struct image_file *f, uint64_t value, size_t size, uint64_t offset)
{
	uint8_t bytes[8];

	put_le64(bytes, value);
	image_file_write(f, bytes, size, offset);
}

/* -- Made by hand ------------------------------------------------------------------------ */

static uint32_t string_put(uint8_t *bytes, uint32_t at, const char *text, uint8_t *offset,
			   uint8_t *size)
{
	uint32_t length = (uint32_t)vhd_utf16_encode(text, bytes + at, 256, UTF16_LE);

	put_le32(offset, at);
	put_le16(size, (uint16_t)length);
	return at + length;
}

/* Makes a child of @parent out of an empty image: sector 1025 is the child's, block 1
 * is zeros, all else the parent's. */
static void child_make(const struct image_file *f, const struct image_file *parent)
{
	static const uint8_t type[16] = { 0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a,
					  0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13 };
	uint8_t locator[512] = { 0 }, header[4096], data[512], item[32] = { 0 };
	char linkage[VHDX_GUID_TEXT];
	uint32_t at = 64;

	image_file_read(parent, header, 4096, VHDX_HEADER_2);
	vhdx_guid_print(header + 32, linkage);
	memcpy(locator, type, 16);
	put_le16(locator + 18, 2);
	at = string_put(locator, at, "parent_linkage", locator + 20, locator + 28);
	at = string_put(locator, at, linkage, locator + 24, locator + 30);
	at = string_put(locator, at, "relative_path", locator + 32, locator + 40);
	string_put(locator, at, ".\\image", locator + 36, locator + 42);

	memcpy(item, vhdx_item_guid[VHDX_PARENT_LOCATOR], 16);
	put_le32(item + 16, 65536 + 64);
	put_le32(item + 20, sizeof(locator));
	put_le32(item + 24, 4);
	image_file_create(f, VHD_FORMAT_VHDX, VHD_TYPE_DYNAMIC, 8 * MIB, MIB);
	image_file_truncate(f, 6 * MIB);
	image_file_write(f, item, 32, METADATA + 32 + 32 * 5);
	image_file_write(f, locator, sizeof(locator), ITEMS + 64);
	put(f, 6, 2, METADATA + 10);
	put(f, 2, 4, ITEMS + 4);
	put(f, 4 * MIB | VHDX_PARTIAL, 8, BAT);
	put(f, VHDX_ZERO, 8, BAT + 8);
	put(f, 5 * MIB | VHDX_PRESENT, 8, BAT + 4096 * 8);
	put(f, 1 << 1, 1, 5 * MIB + 1025 / 8);
	memset(data, 'c', sizeof(data));
	image_file_write(f, data, 512, 4 * MIB + 1025 * 512);
}

Test(vhdx, child_shows_its_own_sectors_and_its_parents)
{
	static const struct {
		uint32_t sector;
		char want;
	} rows[] = { { 0, 0 },	    { 1023, 0 },   { 1024, 'x' }, { 1025, 'c' }, { 1026, 'x' },
		     { 2047, 'x' }, { 2048, 0 },   { 3071, 0 },	  { 4096, 0 } };
	struct image_file f, child;
	struct vhd_image *image;
	struct vhd_error err = { 0, "" };
	char data[512] = "z";

	image_file_make_vhdx(&f);
	child = f;
	snprintf(child.path, sizeof(child.path), "%s/child", f.dir);
	child_make(&child, &f);
	cr_assert_eq(image_file_open(&child, VHD_OPEN_READ_ONLY, &image, &err), 0, "%s", err.text);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cr_expect_eq(vhd_pread(image, data, 512, (uint64_t)rows[i].sector * 512), 0);
		cr_expect_eq(data[0], rows[i].want, "sector %u", rows[i].sector);
	}
	vhd_close(image);
	put(&child, VHDX_NOT_PRESENT, 8, BAT + 4096 * 8);
	cr_expect_eq(image_file_open(&child, VHD_OPEN_READ_ONLY, &image, NULL), VHD_FAULT_BAT_ENTRY,
		     "partly present without its bitmap");
	put(&child, 5 * MIB | VHDX_PRESENT, 8, BAT + 4096 * 8);
	cr_assert_eq(image_file_open(&f, 0, &image, NULL), 0);
	cr_assert_eq(vhd_pwrite(image, data, 512, 0), 0);
	cr_assert_eq(vhd_close(image), 0);
	cr_expect_eq(image_file_open(&child, VHD_OPEN_READ_ONLY, &image, NULL), VHD_FAULT_PARENT_ID,
		     "parent was written to");
	cr_expect_eq(image_file_open(&child, VHD_OPEN_READ_ONLY | VHD_OPEN_ANY_PARENT, &image,
				     NULL),
		     0);
	vhd_close(image);
	image_file_fini(&f);
}

/* -- Our own ----------------------------------------------------------------------------- */

struct family {
	struct image_file f; /* the parent */
	struct image_file child;
};

static int child_create(const char *path, const char *parent, uint32_t block, uint32_t sector)
{
	struct vhd_create_options options = VHD_CREATE_OPTIONS_INIT;

	options.format = VHD_FORMAT_VHDX;
	options.type = VHD_TYPE_DIFFERENCING;
	options.parent = parent;
	options.block_size = block;
	options.logical_sector_size = sector;
	return vhd_create(path, &options, NULL);
}

static void family_make(struct family *x)
{
	image_file_make_vhdx(&x->f);
	x->child = x->f;
	snprintf(x->child.path, sizeof(x->child.path), "%s/child", x->f.dir);
	cr_assert_eq(child_create(x->child.path, x->f.path, MIB, 0), 0);
}

static char byte_at(struct vhd_image *image, uint64_t offset)
{
	char data[4096];

	cr_assert_eq(vhd_pread(image, data, sizeof(data), round_down(offset, 4096)), 0);
	return data[offset % 4096];
}

static void fill(struct vhd_image *image, int value, size_t length, uint64_t offset)
{
	char *data = malloc(length);

	memset(data, value, length);
	cr_assert_eq(vhd_pwrite(image, data, length, offset), 0);
	free(data);
}

Test(vhdx_child, names_its_parent_in_all_the_ways_there_are)
{
	struct vhd_info info = VHD_INFO_INIT, parents = VHD_INFO_INIT;
	static const char *const keys[] = { "parent_linkage", "relative_path",
					    "absolute_win32_path" };
	uint8_t bytes[4096], table[32];
	struct vhd_image *image;
	struct family x;
	char *value;

	family_make(&x);
	cr_assert_eq(image_file_open(&x.f, VHD_OPEN_READ_ONLY, &image, NULL), 0);
	vhd_get_info(image, &parents);
	vhd_close(image);
	cr_assert_eq(image_file_open(&x.child, VHD_OPEN_READ_ONLY, &image, NULL), 0);
	vhd_get_info(image, &info);
	cr_expect_arr_eq(info.parent_id, parents.data_id, 16);
	cr_expect_arr_eq(info.id, parents.id, 16, "it is the same disk");
	cr_expect_eq(info.chain_depth, 2);
	vhd_close(image);
	image_file_read(&x.child, table, 32, METADATA + 32 + 5 * 32);
	image_file_read(&x.child, bytes, sizeof(bytes), METADATA + get_le32(table + 16));
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(vhdx_locator_find(bytes, get_le32(table + 20), keys[i], &value, NULL),
			     0);
		cr_assert(value != NULL, "%s", keys[i]);
		if (i == 1)
			cr_expect_str_eq(value, ".\\image");
		if (i == 2)
			cr_expect(value[0] == '\\' && value[1] != '\\', "%s", value);
		free(value);
	}
	image_file_fini(&x.f);
}

Test(vhdx_child, finds_a_parent_that_moved_with_it_and_knows_a_changed_one)
{
	struct vhd_image *image;
	struct family x;
	char name[96], data[512] = "";

	family_make(&x);
	snprintf(name, sizeof(name), "%s/other", x.f.dir);
	cr_assert_eq(rename(x.f.path, name), 0);
	cr_expect_eq(image_file_open(&x.child, 0, &image, NULL), VHD_FAULT_PARENT_MISSING);
	cr_assert_eq(rename(name, x.f.path), 0);
	cr_assert_eq(image_file_open(&x.child, 0, &image, NULL), 0);
	cr_assert_eq(vhd_pwrite(image, data, 512, 0), 0);
	cr_assert_eq(vhd_close(image), 0);
	cr_assert_eq(image_file_open(&x.f, 0, &image, NULL), 0);
	cr_assert_eq(vhd_pwrite(image, data, 512, 0), 0);
	cr_assert_eq(vhd_close(image), 0);
	cr_expect_eq(image_file_open(&x.child, 0, &image, NULL), VHD_FAULT_PARENT_ID);
	cr_expect_eq(image_file_open(&x.child, VHD_OPEN_ANY_PARENT, &image, NULL), 0);
	vhd_close(image);
	image_file_fini(&x.f);
}

/* Block 1, of which the parent has the first half: partly here, all here, nothing, partly. */
Test(vhdx_child, block_comes_and_goes_without_old_bits)
{
	struct vhd_image *image;
	struct family x;

	family_make(&x);
	for (int reopen = 0; reopen < 2; reopen++) {
		cr_assert_eq(image_file_open(&x.child, 0, &image, NULL), 0);
		fill(image, 'a', 4096, MIB + 8192);
		cr_assert_eq(vhd_flush(image), 0);
		cr_expect_eq(byte_at(image, MIB), reopen ? 0 : 'x');
		fill(image, 'b', MIB, MIB);
		if (reopen) {
			cr_assert_eq(vhd_close(image), 0);
			cr_assert_eq(image_file_open(&x.child, 0, &image, NULL), 0);
		}
		cr_expect_eq(byte_at(image, MIB), 'b');
		cr_assert_eq(vhd_discard(image, MIB, MIB), 0);
		cr_assert_eq(vhd_flush(image), 0);
		if (reopen) {
			cr_assert_eq(vhd_close(image), 0);
			cr_assert_eq(image_file_open(&x.child, 0, &image, NULL), 0);
		}
		cr_expect_eq(byte_at(image, MIB), 0, "not the parent's");
		fill(image, 'c', 4096, MIB + 16384);
		cr_assert_eq(vhd_close(image), 0);
		cr_assert_eq(image_file_open(&x.child, 0, &image, NULL), 0);
		cr_expect_eq(byte_at(image, MIB), 0);
		cr_expect_eq(byte_at(image, MIB + 8192), 0);
		cr_expect_eq(byte_at(image, MIB + 16384), 'c');
		cr_assert_eq(vhd_close(image), 0);
	}
	image_file_fini(&x.f);
}

Test(vhdx_child, blocks_share_a_page_of_bits)
{
	struct vhd_image *image;
	struct family x;

	family_make(&x);
	for (uint64_t i = 0; i < 4; i++) {
		cr_assert_eq(image_file_open(&x.child, 0, &image, NULL), 0);
		fill(image, 'a' + (int)i, 4096, i * MIB + 8192);
		cr_assert_eq(vhd_close(image), 0);
	}
	cr_assert_eq(image_file_open(&x.child, VHD_OPEN_READ_ONLY, &image, NULL), 0);
	for (uint64_t i = 0; i < 4; i++)
		cr_expect_eq(byte_at(image, i * MIB + 8192), 'a' + (char)i);
	cr_expect_eq(byte_at(image, MIB), 'x', "the parent's");
	vhd_close(image);
	image_file_fini(&x.f);
}

/* A block that has space in the parent only becomes zeros without taking any. */
Test(vhdx_child, zeros_of_whole_blocks_take_no_space)
{
	struct vhd_image *image;
	struct family x;
	uint64_t before;

	family_make(&x);
	before = image_file_size(&x.child);
	cr_assert_eq(image_file_open(&x.child, 0, &image, NULL), 0);
	cr_assert_eq(vhd_write_zeroes(image, 0, 8 * MIB), 0);
	cr_expect_eq(byte_at(image, MIB), 0);
	cr_assert_eq(vhd_close(image), 0);
	cr_expect_eq(image_file_size(&x.child), before);
	cr_assert_eq(image_file_open(&x.child, 0, &image, NULL), 0);
	cr_expect_eq(byte_at(image, MIB), 0);
	fill(image, 'n', 4096, MIB + 4096);
	cr_expect_eq(byte_at(image, MIB), 0);
	cr_expect_eq(byte_at(image, MIB + 4096), 'n');
	cr_assert_eq(vhd_close(image), 0);
	image_file_fini(&x.f);
}

/* Around the last block of a chunk and the first of the next, with all block sizes. */
Test(vhdx_child, has_bitmaps_on_both_sides_of_a_chunk)
{
	for (unsigned shift = 0; shift <= 8; shift += 2)
		for (uint32_t sector = 512; sector <= 4096; sector *= 8) {
			struct vhd_create_options options = VHD_CREATE_OPTIONS_INIT;
			uint64_t chunk = (UINT64_C(1) << 23) * sector;
			struct vhd_image *image;
			struct image_file f;
			char child[96], data[512] = "";

			image_file_init(&f);
			snprintf(child, sizeof(child), "%s/child", f.dir);
			options.format = VHD_FORMAT_VHDX;
			options.type = VHD_TYPE_DYNAMIC;
			options.virtual_size = 2 * chunk + 4096;
			options.block_size = 32 * MIB;
			options.logical_sector_size = sector;
			cr_assert_eq(vhd_create(f.path, &options, NULL), 0);
			cr_assert_eq(vhd_open(f.path, NULL, &image, NULL), 0);
			fill(image, 'p', 16384, chunk - 8192);
			cr_assert_eq(vhd_close(image), 0);
			cr_assert_eq(child_create(child, f.path, (uint32_t)MIB << shift, 0), 0);
			cr_assert_eq(vhd_open(child, NULL, &image, NULL), 0);
			cr_expect_eq(vhd_pwrite(image, data, 512, chunk),
				     sector == 512 ? 0 : -EINVAL);
			fill(image, 'c', 8192, chunk - 4096);
			fill(image, 'e', 4096, 2 * chunk);
			cr_assert_eq(vhd_close(image), 0);
			cr_assert_eq(vhd_open(child, NULL, &image, NULL), 0);
			cr_expect_eq(byte_at(image, chunk - 8192), 'p');
			cr_expect_eq(byte_at(image, chunk - 1), 'c');
			cr_expect_eq(byte_at(image, chunk), 'c');
			cr_expect_eq(byte_at(image, chunk + 4096), 'p');
			cr_expect_eq(byte_at(image, 2 * chunk), 'e');
			cr_assert_eq(vhd_close(image), 0);
			cr_expect_eq(child_create(child, f.path, 0, 4608 - sector), -EEXIST);
			cr_expect_eq(unlink(child), 0);
			cr_expect_eq(child_create(child, f.path, 0, 4608 - sector), -EINVAL,
				     "sectors of another size");
			image_file_fini(&f);
		}
}

/* Two I/Os that are done in the order in which they did not come. */
struct pair {
	struct vhd_io *io[2];
	int count;
};

static int pair_submit(void *opaque, struct vhd_io *io)
{
	struct pair *pair = opaque;

	pair->io[pair->count++] = io;
	return -EINPROGRESS;
}

static void pair_done(struct vhd_request *r, int result)
{
	*(int *)r->user = result;
}

Test(vhdx_child, block_is_made_once_for_two_writes_in_flight)
{
	static const struct vhd_io_ops ops = { sizeof(ops), pair_submit };
	struct vhd_request r[2];
	struct vhd_image *image;
	struct vhd_queue *queue;
	struct pair pair = { .count = 0 };
	int result[2] = { 1, 1 };
	struct iovec iov[2];
	char data[2][4096];
	struct family x;
	uint64_t size;

	family_make(&x);
	size = image_file_size(&x.child);
	cr_assert_eq(image_file_open(&x.child, 0, &image, NULL), 0);
	cr_assert_eq(vhd_queue_new(image, &ops, &pair, &queue), 0);
	for (int i = 0; i < 2; i++) {
		memset(data[i], 'a' + i, sizeof(data[i]));
		iov[i] = (struct iovec){ data[i], sizeof(data[i]) };
		r[i] = (struct vhd_request){
			.op = VHD_OP_WRITE, .niov = 1, .iov = &iov[i], .length = 4096,
			.offset = MIB + (uint64_t)i * 8192, .done = pair_done, .user = &result[i],
		};
		cr_assert_eq(vhd_submit(queue, &r[i]), -EINPROGRESS);
	}
	for (int i = 2; i-- > 0;)
		pair.io[i]->done(pair.io[i], vhd_io_sync.submit(NULL, pair.io[i]));
	cr_expect(result[0] == 0 && result[1] == 0);
	vhd_queue_free(queue);
	cr_assert_eq(vhd_close(image), 0);
	cr_expect_eq(image_file_size(&x.child), size + 2 * MIB, "a block and a bitmap block");
	cr_assert_eq(image_file_open(&x.child, 0, &image, NULL), 0);
	cr_expect_eq(byte_at(image, MIB), 'a');
	cr_expect_eq(byte_at(image, MIB + 4096), 'x', "the parent's");
	cr_expect_eq(byte_at(image, MIB + 8192), 'b');
	vhd_close(image);
	image_file_fini(&x.f);
}

/* -- What we do not know -------------------------------------------------------------- */

static void unknown_add(const struct image_file *f)
{
	uint8_t regions[65536], region[32], item[32];

	memset(region, 'R', 16);
	put_le64(region + 16, 8 * MIB);
	put_le32(region + 24, MIB);
	put_le32(region + 28, 0);
	memset(item, 'I', 16);
	put_le32(item + 16, 65536 + 4096);
	put_le32(item + 20, 8);
	put_le32(item + 24, 2);
	put_le32(item + 28, 0);
	image_file_truncate(f, 9 * MIB);
	image_file_write(f, "unknown region", 14, 8 * MIB);
	image_file_write(f, "an item!", 8, ITEMS + 4096);
	image_file_write(f, item, 32, METADATA + 32 + 5 * 32);
	put(f, 6, 2, METADATA + 10);
	for (int i = 0; i < 2; i++) {
		uint64_t at = i ? VHDX_REGIONS_2 : VHDX_REGIONS_1;

		image_file_read(f, regions, sizeof(regions), at);
		memcpy(regions + 16 + 64, region, 32);
		put_le32(regions + 8, 3);
		put_le32(regions + 4, vhd_crc32c_structure(regions, sizeof(regions)));
		image_file_write(f, regions, sizeof(regions), at);
	}
}

Test(vhdx, keeps_regions_and_items_that_it_does_not_know)
{
	uint8_t region[32], entry[32], bytes[16];
	struct vhd_image *image;
	struct image_file f;

	image_file_make_vhdx(&f);
	unknown_add(&f);
	image_file_read(&f, region, 32, VHDX_REGIONS_1 + 80);
	image_file_read(&f, entry, 32, METADATA + 32 + 5 * 32);
	cr_assert_eq(vhd_open(f.path, NULL, &image, NULL), 0);
	fill(image, 'y', MIB, 4 * MIB);
	/* The table moves, and with it both region tables are new. */
	cr_assert_eq(vhd_resize(image, 200 * GIB, 0, NULL), 0);
	fill(image, 'z', 4096, 200 * GIB - 4096);
	cr_assert_eq(vhd_close(image), 0);
	for (int i = 0; i < 2; i++) {
		uint8_t after[32];

		image_file_read(&f, after, 32, (i ? VHDX_REGIONS_2 : VHDX_REGIONS_1) + 80);
		cr_expect_arr_eq(after, region, 32, "table %d", i + 1);
	}
	image_file_read(&f, bytes, 14, 8 * MIB);
	cr_expect_arr_eq(bytes, "unknown region", 14, "its space was not taken");
	image_file_read(&f, bytes, 8, ITEMS + 4096);
	cr_expect_arr_eq(bytes, "an item!", 8);
	cr_assert_eq(vhd_open(f.path, NULL, &image, NULL), 0);
	cr_expect_eq(byte_at(image, 4 * MIB), 'y');
	cr_expect_eq(byte_at(image, 200 * GIB - 1), 'z');
	vhd_close(image);
	put(&f, 6, 4, METADATA + 32 + 5 * 32 + 24);
	cr_expect_eq(vhd_open(f.path, NULL, &image, NULL), VHD_FAULT_VHDX_METADATA, "required");
	image_file_fini(&f);
}

/* -- The same bytes again ---------------------------------------------------------------- */

Test(create, of_every_kind_makes_the_same_bytes_again)
{
	static const uint8_t id[16] = { 1 }, data_id[16] = { 2 }, file_id[16] = { 3 };
	static const int64_t now = 1000000000;
	static const struct timespec times[2] = { { now, 0 }, { now, 0 } };

	for (int format = VHD_FORMAT_VHD; format <= VHD_FORMAT_VHDX; format++)
		for (int type = VHD_TYPE_FIXED; type <= VHD_TYPE_DIFFERENCING; type++) {
			struct vhd_create_options options = VHD_CREATE_OPTIONS_INIT;
			uint8_t *bytes[2];
			struct image_file f;
			char parent[96];

			image_file_init(&f);
			snprintf(parent, sizeof(parent), "%s/parent", f.dir);
			options.format = (enum vhd_format)format;
			options.virtual_size = 2 * MIB;
			options.block_size = MIB;
			options.flags = VHD_CREATE_OVERWRITE;
			options.id = id;
			options.data_id = data_id;
			options.file_id = file_id;
			options.time = &now;
			for (int i = 0; i < 2; i++) {
				options.type = VHD_TYPE_DYNAMIC;
				options.parent = NULL;
				cr_assert_eq(vhd_create(parent, &options, NULL), 0);
				cr_assert_eq(utimensat(AT_FDCWD, parent, times, 0), 0);
				options.type = (enum vhd_type)type;
				options.parent = type == VHD_TYPE_DIFFERENCING ? parent : NULL;
				cr_assert_eq(vhd_create(f.path, &options, NULL), 0);
				bytes[i] = malloc(image_file_size(&f));
				image_file_read(&f, bytes[i], image_file_size(&f), 0);
			}
			cr_expect_eq(memcmp(bytes[0], bytes[1], image_file_size(&f)), 0, "%s %s",
				     vhd_format_name(options.format), vhd_type_name(options.type));
			free(bytes[0]);
			free(bytes[1]);
			image_file_fini(&f);
		}
}
