/* SPDX-License-Identifier: MIT */
/* Differencing VHDs: finding parents, reading through them, writing above them. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bitmap.h"
#include "image-file.h"
#include "utf16.h"

enum { MIB = 1 << 20, SIZE = 16 * MIB };

struct chain {
	struct image_file f;	/* the oldest parent */
	char path[4][112];	/* [0] is the oldest one */
};

static void child_make(const char *path, const char *parent)
{
	struct vhd_create_options options = VHD_CREATE_OPTIONS_INIT;
	struct vhd_error err = { 0, "" };
	int ret;

	options.format = VHD_FORMAT_VHD;
	options.type = VHD_TYPE_DIFFERENCING;
	options.parent = parent;
	ret = vhd_create(path, &options, &err);
	cr_assert_eq(ret, 0, "%s", err.text);
}

static void write_byte(const char *path, int byte, size_t length, uint64_t offset)
{
	struct vhd_image *image;
	struct vhd_error err = { 0, "" };
	char *buf = malloc(length);
	int ret = vhd_open(path, NULL, &image, &err);

	cr_assert_eq(ret, 0, "%s", err.text);
	memset(buf, byte, length);
	cr_assert_eq(vhd_pwrite(image, buf, length, offset), 0);
	cr_assert_eq(vhd_close(image), 0);
	free(buf);
}

static void chain_init(struct chain *c, enum vhd_type type)
{
	image_file_init(&c->f);
	for (int i = 0; i < 4; i++)
		snprintf(c->path[i], sizeof(c->path[i]), "%s/%c%s.vhd", c->f.dir, 'a' + i,
			 i == 1 ? " Größe" : "");
	strcpy(c->f.path, c->path[0]);
	image_file_create(&c->f, VHD_FORMAT_VHD, type, SIZE, 0);
	write_byte(c->path[0], 'a', 3 * MIB, MIB);
	for (int i = 1; i < 4; i++)
		child_make(c->path[i], c->path[i - 1]);
}

static char byte_at(struct vhd_image *image, uint64_t offset)
{
	char buf[512];
	int ret = vhd_pread(image, buf, 512, offset);

	cr_expect_eq(ret, 0);
	cr_expect_eq(buf[0], buf[511]);
	return buf[0];
}

static int open_with(const char *path, uint32_t flags, const char *parent, const char *below,
		     struct vhd_image **image, struct vhd_error *err)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;

	options.flags = flags;
	options.parent = parent;
	options.parent_directory = below;
	return vhd_open(path, &options, image, err);
}

static void expect_open(const char *path, uint32_t flags, const char *parent, const char *below,
			int want, const char *what)
{
	struct vhd_error err = { 0, "" };
	struct vhd_image *image;
	int ret = open_with(path, flags, parent, below, &image, &err);

	cr_expect_eq(ret, want, "%s: %d %s", what, ret, err.text);
	vhd_close(image);
}

Test(chain, reads_each_sector_from_the_youngest_that_has_it)
{
	static const enum vhd_type types[] = { VHD_TYPE_FIXED, VHD_TYPE_DYNAMIC };

	for (int t = 0; t < 2; t++) {
		struct vhd_info info = VHD_INFO_INIT;
		struct vhd_image *image;
		struct chain c;
		static char buf[4 * MIB];

		chain_init(&c, types[t]);
		/* The children wait: a parent is closed before its child is opened. */
		write_byte(c.path[3], 'd', 512, 2 * MIB + 1024);
		cr_assert_eq(vhd_open(c.path[3], NULL, &image, NULL), 0);
		cr_assert_eq(vhd_get_info(image, &info), 0);
		cr_expect_eq(info.chain_depth, 4);
		cr_expect_str_eq(vhd_get_path(image, 0), c.path[3]);
		cr_expect_null(vhd_get_path(image, 4));
		cr_assert_eq(vhd_pread(image, buf, sizeof(buf), 0), 0);
		for (int i = 0; i < 4 * MIB; i++) {
			char want = i < MIB ? 0 : 'a';

			if (i >= 2 * MIB + 1024 && i < 2 * MIB + 1536)
				want = 'd';
			cr_assert_eq(buf[i], want, "at %d", i);
		}
		vhd_close(image);
		image_file_fini(&c.f);
	}
}

Test(chain, keeps_what_was_written_over_two_sessions)
{
	struct vhd_image *image;
	struct chain c;

	chain_init(&c, VHD_TYPE_DYNAMIC);
	write_byte(c.path[3], 'x', 512, 512);
	write_byte(c.path[3], 'y', 512, 1536);
	write_byte(c.path[3], 'z', 4096, 2 * MIB - 2048);
	write_byte(c.path[3], 'w', 512, SIZE - 512);
	cr_assert_eq(vhd_open(c.path[3], NULL, &image, NULL), 0);
	cr_expect_eq(byte_at(image, 0), 0);
	cr_expect_eq(byte_at(image, 512), 'x');
	cr_expect_eq(byte_at(image, 1024), 0);
	cr_expect_eq(byte_at(image, 1536), 'y');
	cr_expect_eq(byte_at(image, 2 * MIB - 2560), 'a');
	cr_expect_eq(byte_at(image, 2 * MIB - 2048), 'z');
	cr_expect_eq(byte_at(image, 2 * MIB + 1536), 'z');
	cr_expect_eq(byte_at(image, 2 * MIB + 2048), 'a');
	cr_expect_eq(byte_at(image, SIZE - 512), 'w');
	vhd_close(image);
	/* The parents hold what they held. */
	cr_assert_eq(open_with(c.path[2], VHD_OPEN_READ_ONLY, NULL, NULL, &image, NULL), 0);
	cr_expect_eq(byte_at(image, 512), 0);
	cr_expect_eq(byte_at(image, 2 * MIB - 512), 'a');
	vhd_close(image);
	image_file_fini(&c.f);
}

Test(chain, hides_the_parent_behind_zeros)
{
	struct vhd_image *image;
	struct chain c;

	chain_init(&c, VHD_TYPE_DYNAMIC);
	for (int round = 0; round < 2; round++) {
		cr_assert_eq(vhd_open(c.path[3], NULL, &image, NULL), 0);
		if (round == 0) {
			cr_expect_eq(vhd_write_zeroes(image, MIB + 512, MIB), 0);
			cr_expect_eq(vhd_discard(image, 3 * MIB, 512), 0);
		}
		cr_expect_eq(byte_at(image, MIB), 'a');
		cr_expect_eq(byte_at(image, MIB + 512), 0);
		cr_expect_eq(byte_at(image, 2 * MIB), 0);
		cr_expect_eq(byte_at(image, 2 * MIB + 512), 'a');
		cr_expect_eq(byte_at(image, 3 * MIB), 0);
		cr_expect_eq(byte_at(image, 3 * MIB + 512), 'a');
		vhd_close(image);
	}
	image_file_fini(&c.f);
}

/* Sectors by sectors in many blocks, the bitmaps of hardly any in memory. */
Test(chain, reads_and_writes_with_few_bitmaps_in_memory)
{
	static char want[SIZE], got[SIZE];
	struct vhd_image *image;
	struct bitmaps *b;
	struct chain c;

	chain_init(&c, VHD_TYPE_DYNAMIC);
	memset(want + MIB, 'a', 3 * MIB);
	for (uint64_t at = 0; at < SIZE; at += 777 * 512) {
		write_byte(c.path[1], 'b', 512, at);
		memset(want + at, 'b', 512);
	}
	for (uint64_t at = 512; at < SIZE; at += 3 * MIB) {
		write_byte(c.path[2], 'c', 1024, at);
		memset(want + at, 'c', 1024);
	}
	for (int session = 0; session < 2; session++) {
		cr_assert_eq(vhd_open(c.path[2], NULL, &image, NULL), 0);
		for (uint32_t i = 0; i < 2; i++)
			image->layers[i].bitmaps->limit = 2;
		cr_assert_eq(vhd_pread(image, got, SIZE, 0), 0);
		cr_expect_arr_eq(got, want, SIZE, "session %d", session);
		for (uint32_t i = 0; i < 2; i++)
			cr_expect_eq(image->layers[i].bitmaps->count, 2, "layer %u", i);
		for (uint64_t at = 5 * MIB; at < SIZE; at += MIB + 512) {
			memset(want + at, 'd' + session, 512);
			cr_assert_eq(vhd_pwrite(image, want + at, 512, at), 0);
		}
		cr_assert_eq(vhd_pread(image, got, SIZE, 0), 0);
		cr_expect_arr_eq(got, want, SIZE, "session %d, written", session);
		b = image->layers[0].bitmaps;
		cr_expect_gt(b->count, 2, "what is written stays");
		cr_assert_eq(vhd_close(image), 0);
	}
	image_file_fini(&c.f);
}

Test(parent, is_found_and_refused_by_what_it_is)
{
	char other[128], sub[128], moved[160];
	struct timespec times[2] = { { 1000000000, 0 }, { 1000000000, 0 } };
	struct image_file o;
	struct chain c;

	chain_init(&c, VHD_TYPE_DYNAMIC);
	snprintf(other, sizeof(other), "%s/other.vhd", c.f.dir);
	snprintf(sub, sizeof(sub), "%s/sub", c.f.dir);
	snprintf(moved, sizeof(moved), "%s/moved.vhd", sub);
	o = c.f;
	strcpy(o.path, other);
	image_file_create(&o, VHD_FORMAT_VHD, VHD_TYPE_DYNAMIC, SIZE, 0);

	expect_open(c.path[1], 0, NULL, NULL, 0, "in place");
	expect_open(c.path[1], 0, NULL, c.f.dir, 0, "below the directory");
	expect_open(c.path[1], 0, other, NULL, VHD_FAULT_PARENT_ID, "another parent");
	expect_open(c.path[1], VHD_OPEN_ANY_PARENT, other, NULL, 0, "another parent, forced");
	utimensat(AT_FDCWD, c.path[0], times, 0);
	expect_open(c.path[1], 0, NULL, NULL, 0, "modified parent");
	expect_open(c.path[1], VHD_OPEN_STRICT, NULL, NULL, VHD_FAULT_PARENT_TIME,
		    "modified parent, strictly");
	cr_assert_eq(mkdir(sub, 0700), 0);
	expect_open(c.path[1], 0, NULL, sub, VHD_FAULT_PARENT_MISSING, "outside the directory");
	cr_assert_eq(rename(c.path[0], moved), 0);
	expect_open(c.path[1], 0, NULL, NULL, VHD_FAULT_PARENT_MISSING, "moved parent");
	expect_open(c.path[1], 0, moved, NULL, 0, "moved parent, told");
	expect_open(c.path[1], VHD_OPEN_READ_ONLY | VHD_OPEN_NO_PARENT, NULL, NULL, 0, "alone");
	expect_open(c.path[1], VHD_OPEN_NO_PARENT, NULL, NULL, -EINVAL, "alone, for writing");
	unlink(moved);
	cr_assert_eq(symlink("../other.vhd", moved), 0);
	expect_open(c.path[1], VHD_OPEN_ANY_PARENT, moved, sub, 0, "told, whatever the directory");
	unlink(moved);
	cr_assert_eq(rmdir(sub), 0);
	cr_assert_eq(symlink("/dev/null", c.path[0]), 0);
	expect_open(c.path[1], 0, NULL, NULL, VHD_FAULT_PARENT_MISSING, "a device as parent");
	unlink(c.path[0]);
	o = c.f;
	image_file_create(&o, VHD_FORMAT_RAW, VHD_TYPE_FIXED, SIZE, 0);
	expect_open(c.path[1], 0, NULL, NULL, VHD_FAULT_PARENT_FORMAT, "a raw parent");
	image_file_create(&o, VHD_FORMAT_VHD, VHD_TYPE_DYNAMIC, SIZE + 512, 0);
	expect_open(c.path[1], VHD_OPEN_ANY_PARENT, NULL, NULL, VHD_FAULT_PARENT_SIZE,
		    "a larger parent");
	image_file_fini(&c.f);
}

Test(parent, in_a_loop_is_refused)
{
	struct chain c;

	chain_init(&c, VHD_TYPE_DYNAMIC);
	expect_open(c.path[3], VHD_OPEN_ANY_PARENT, c.path[3], NULL, VHD_FAULT_CHAIN_LOOP,
		    "itself");
	/* b -> a, and a becomes a link to d -> c -> b. */
	unlink(c.path[0]);
	cr_assert_eq(symlink(c.path[3], c.path[0]), 0);
	expect_open(c.path[3], VHD_OPEN_ANY_PARENT, NULL, NULL, VHD_FAULT_CHAIN_LOOP, "a ring");
	image_file_fini(&c.f);
}

Test(parent, that_is_open_for_writing_is_not_taken)
{
	struct vhd_image *parent, *child;
	struct chain c;

	chain_init(&c, VHD_TYPE_DYNAMIC);
	cr_assert_eq(vhd_open(c.path[0], NULL, &parent, NULL), 0);
	expect_open(c.path[1], 0, NULL, NULL, -EAGAIN, "child of a written parent");
	vhd_close(parent);
	cr_assert_eq(vhd_open(c.path[1], NULL, &child, NULL), 0);
	expect_open(c.path[0], 0, NULL, NULL, -EAGAIN, "writing under a child");
	vhd_close(child);
	image_file_fini(&c.f);
}

/* The child's header: its locators at 576, 24 bytes each. */
Test(locator, that_cannot_be_is_refused)
{
	static const struct {
		const char *name;
		size_t field, size;
		uint64_t value;
		int fault;
	} rows[] = {
		{ "offset in the table", 576 + 16, 8, 1536, VHD_FAULT_LOCATOR },
		{ "offset in the header", 576 + 16, 8, 1024, VHD_FAULT_LOCATOR },
		{ "offset past the end", 576 + 16, 8, 1 << 30, VHD_FAULT_LOCATOR },
		{ "offset at all ones", 576 + 16, 8, UINT64_MAX, VHD_FAULT_LOCATOR },
		{ "length over the space", 576 + 8, 4, 513, VHD_FAULT_LOCATOR },
		{ "length of 4 GiB", 576 + 8, 4, UINT32_MAX, VHD_FAULT_LOCATOR },
		{ "space of no whole sectors", 576 + 4, 4, 1025, VHD_FAULT_LOCATOR },
		{ "space in sectors", 576 + 4, 4, 1, 0 },
		{ "unknown code", 576, 4, 0x12345678, 0 },
		{ "none of them, name only", 576, 4, 0, 0 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct image_file child;
		struct chain c;

		chain_init(&c, VHD_TYPE_DYNAMIC);
		child = c.f;
		strcpy(child.path, c.path[1]);
		image_file_put_header(&child, 512, rows[i].field, rows[i].value, rows[i].size);
		expect_open(c.path[1], 0, NULL, NULL, rows[i].fault, rows[i].name);
		image_file_fini(&c.f);
	}
}

/* Clears the screen, rings, and begins a line of its own. */
Test(locator, says_nothing_to_the_terminal)
{
	static const char name[] = ".\\\x1b[2J\n\a";
	uint8_t path[64] = { 0 };
	struct vhd_image *image;
	struct vhd_error err;
	struct image_file child;
	struct chain c;

	chain_init(&c, VHD_TYPE_DYNAMIC);
	child = c.f;
	strcpy(child.path, c.path[1]);
	vhd_utf16_encode(name, path, sizeof(path), UTF16_LE);
	image_file_write(&child, path, sizeof(path), 2048);
	image_file_put_header(&child, 512, 576 + 8, 2 * (sizeof(name) - 1), 4);
	unlink(c.path[0]);
	cr_expect_eq(open_with(c.path[1], 0, NULL, NULL, &image, &err), VHD_FAULT_PARENT_MISSING);
	cr_expect(strstr(err.text, "./?[2J??"), "%s", err.text);
	for (const char *p = err.text; *p; p++)
		cr_expect_geq((unsigned char)*p, ' ');
	image_file_fini(&c.f);
}

Test(locator, is_found_by_name_in_another_case)
{
	struct chain c;
	char upper[128];

	chain_init(&c, VHD_TYPE_DYNAMIC);
	snprintf(upper, sizeof(upper), "%s/A.VHD", c.f.dir);
	cr_assert_eq(rename(c.path[0], upper), 0);
	expect_open(c.path[1], 0, NULL, NULL, 0, "upper case");
	image_file_fini(&c.f);
}

Test(utf16, goes_both_ways)
{
	static const char text[] = "aß€\xf0\x9f\x92\xbe";
	uint8_t bytes[32];
	size_t size = vhd_utf16_encode(text, bytes, sizeof(bytes), UTF16_LE);
	char *back = vhd_utf16_decode(bytes, size, UTF16_LE);

	cr_expect_eq(size, 10);
	cr_expect_arr_eq(bytes, "a\0\xdf\0\xac\x20\x3d\xd8\xbe\xdc", 10);
	cr_expect_str_eq(back, text);
	free(back);
	cr_expect_null(vhd_utf16_decode((const uint8_t *)"\x3d\xd8x\0", 4, UTF16_LE),
		       "half a pair");
	cr_expect_null(vhd_utf16_decode((const uint8_t *)"\x3d\xd8", 2, UTF16_LE), "cut pair");
	cr_expect_null(vhd_utf16_decode((const uint8_t *)"\xdc\x01", 2, UTF16_BE), "second half");
	cr_expect_null(vhd_utf16_decode(bytes, 0, UTF16_LE), "empty");
	cr_expect_eq(vhd_utf16_encode("abc", bytes, 5, UTF16_BE), 0, "no room");
	cr_expect_eq(vhd_utf16_encode("\xff", bytes, 32, UTF16_BE), 0, "not UTF-8");
	cr_expect_eq(vhd_utf16_encode("\xc0\x80", bytes, 32, UTF16_BE), 0, "overlong");
	cr_expect_eq(vhd_utf16_encode("\xe2\x82", bytes, 32, UTF16_BE), 0, "cut");
}
