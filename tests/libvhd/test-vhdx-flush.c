/* SPDX-License-Identifier: MIT */
/* Flushes that change more pages of a VHDX than one entry of its log can hold, and end
 * half way. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "image-file.h"
#include "vhdx.h"

enum { MIB = 1 << 20, LOG = MIB, PARTS = 80, APART = 512 * MIB };
#define DISK (UINT64_C(40) << 30)

static int open_failing(const char *path, struct image_failing *f, struct vhd_image **image)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;

	options.io = &image_io_failing;
	options.io_opaque = f;
	return vhd_open(path, &options, image, NULL);
}

/* A sector in each page of the table, and with a parent in pages of bitmaps too. */
static void parts_write(struct vhd_image *image)
{
	char data[512];

	memset(data, 'p', sizeof(data));
	for (uint64_t i = 0; i < PARTS; i++)
		cr_assert_eq(vhd_pwrite(image, data, sizeof(data), i * APART), 0);
}

static void child_create(const struct image_file *parent, struct image_file *child)
{
	struct vhd_create_options options = VHD_CREATE_OPTIONS_INIT;

	*child = *parent;
	snprintf(child->path, sizeof(child->path), "%s/child", parent->dir);
	options.format = VHD_FORMAT_VHDX;
	options.type = VHD_TYPE_DIFFERENCING;
	options.block_size = MIB;
	options.parent = parent->path;
	options.flags = VHD_CREATE_OVERWRITE;
	cr_assert_eq(vhd_create(child->path, &options, NULL), 0);
}

Test(vhdx_flush, fails_whole_when_the_log_cannot_be_written)
{
	struct image_file f;

	image_file_init(&f);
	for (int first = 1; first <= 3; first++) {
		struct image_failing failing = { LOG, 2 * LOG, first, 0 };
		struct vhd_image *image;
		char data[512] = "";

		image_file_create(&f, VHD_FORMAT_VHDX, VHD_TYPE_DYNAMIC, DISK, MIB);
		cr_assert_eq(open_failing(f.path, &failing, &image), 0);
		parts_write(image);
		/* One write began the session, two are the flush's. */
		cr_expect_eq(vhd_flush(image), first < 3 ? -EIO : 0, "write %d", first);
		cr_expect_eq(vhd_pwrite(image, data, 512, 0), first < 3 ? -EIO : 0);
		cr_expect_eq(vhd_close(image), first < 3 ? -EIO : 0);
		cr_assert_eq(image_file_open(&f, 0, &image, NULL), 0, "write %d", first);
		cr_assert_eq(vhd_close(image), 0);
	}
	image_file_fini(&f);
}

/* An entry with a part of the pages is durable and the program ends: each page of the table
 * has to be good without those that were to follow. */
Test(vhdx_flush, ends_between_two_entries_of_the_log)
{
	struct image_failing failing = { 0, UINT64_MAX, -1, 0 };
	struct image_file f, child;
	struct vhd_image *image;
	int opened, all;
	unsigned step;

	image_file_init(&f);
	image_file_create(&f, VHD_FORMAT_VHDX, VHD_TYPE_DYNAMIC, DISK, MIB);
	child_create(&f, &child);
	cr_assert_eq(open_failing(child.path, &failing, &image), 0);
	parts_write(image);
	opened = failing.writes;
	cr_assert_eq(vhd_flush(image), 0);
	all = failing.writes - opened;
	cr_assert_gt(all, 2 * PARTS);
	cr_assert_eq(vhd_close(image), 0);
	step = image_cases("VHD_FLUSH_STEP", 7, 31);
	for (int ends = 0; ends <= all; ends += (int)step) {
		struct vhd_error err = { 0, "" };
		int ret;

		child_create(&f, &child);
		failing = (struct image_failing){ 0, UINT64_MAX, opened + ends, 0 };
		cr_assert_eq(open_failing(child.path, &failing, &image), 0);
		parts_write(image);
		cr_expect_eq(vhd_flush(image), ends < all ? -EIO : 0, "after %d writes", ends);
		cr_expect_eq(vhd_close(image), -EIO);
		ret = image_file_open(&child, VHD_OPEN_READ_ONLY, &image, &err);
		cr_expect_eq(ret, 0, "after %d writes: %s", ends, err.text);
		vhd_close(image);
	}
	image_file_fini(&f);
}
