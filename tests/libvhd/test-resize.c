/* SPDX-License-Identifier: MIT */
/* Another size for a disk: what is allowed, and what the file holds then. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "image-file.h"
#include "vhd-format.h"
#include "vhdx-format.h"

#define MIB UINT64_C(1048576)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)

static void image_open(const char *path, enum vhd_format format, uint32_t flags,
		       struct vhd_image **image)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct vhd_error err = { 0, "" };

	options.format = format;
	options.flags = flags;
	options.io = &image_io_unsynced;
	cr_assert_eq(vhd_open(path, &options, image, &err), 0, "%s", err.text);
}

static uint64_t image_size(struct vhd_image *image)
{
	struct vhd_info info = VHD_INFO_INIT;

	cr_assert_eq(vhd_get_info(image, &info), 0);
	return info.virtual_size;
}

Test(resize, refuses_sizes_that_cannot_be)
{
	static const struct {
		const char *name;
		enum vhd_format format;
		enum vhd_type type;
		uint64_t size;
		uint32_t flags;
		int want;
	} rows[] = {
		{ "the same", VHD_FORMAT_VHD, VHD_TYPE_DYNAMIC, 8 * MIB, 0, 0 },
		{ "0", VHD_FORMAT_VHD, VHD_TYPE_DYNAMIC, 0, VHD_RESIZE_SHRINK, -EINVAL },
		{ "half a sector", VHD_FORMAT_VHD, VHD_TYPE_DYNAMIC, 9 * MIB + 256, 0, -EINVAL },
		{ "smaller by mistake", VHD_FORMAT_VHD, VHD_TYPE_DYNAMIC, 4 * MIB, 0, -EINVAL },
		{ "fixed VHD", VHD_FORMAT_VHD, VHD_TYPE_FIXED, 2041 * GIB, VHD_RESIZE_SPARSE,
		  -EFBIG },
		{ "dynamic VHD", VHD_FORMAT_VHD, VHD_TYPE_DYNAMIC, 2041 * GIB, 0, -EFBIG },
		{ "VHDX", VHD_FORMAT_VHDX, VHD_TYPE_DYNAMIC, 64 * TIB + 512, 0, -EFBIG },
		{ "half a byte of everything", VHD_FORMAT_RAW, VHD_TYPE_FIXED, UINT64_C(1) << 63,
		  0, -EINVAL },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vhd_image *image;
		struct vhd_error err;
		struct image_file f;
		uint8_t data[512] = { 0 };

		image_file_init(&f);
		image_file_create(&f, rows[i].format, rows[i].type, 8 * MIB, 0);
		image_open(f.path, rows[i].format, 0, &image);
		cr_expect_eq(vhd_resize(image, rows[i].size, rows[i].flags, &err), rows[i].want,
			     "%s: %s", rows[i].name, err.text);
		cr_expect_eq(image_size(image), 8 * MIB, "%s", rows[i].name);
		cr_expect_eq(vhd_pwrite(image, data, 512, 8 * MIB - 512), 0, "%s", rows[i].name);
		vhd_close(image);
		image_open(f.path, rows[i].format, VHD_OPEN_READ_ONLY, &image);
		cr_expect_eq(vhd_resize(image, 16 * MIB, 0, NULL), -EROFS);
		vhd_close(image);
		image_file_fini(&f);
	}
}

Test(resize, never_makes_a_child_smaller_than_its_parent)
{
	static const enum vhd_format formats[] = { VHD_FORMAT_VHD, VHD_FORMAT_VHDX };

	for (int i = 0; i < 2; i++) {
		struct vhd_create_options options = VHD_CREATE_OPTIONS_INIT;
		struct vhd_image *image;
		struct image_file f;
		char parent[96];

		image_file_init(&f);
		snprintf(parent, sizeof(parent), "%s/parent", f.dir);
		options.format = formats[i];
		options.type = VHD_TYPE_DYNAMIC;
		options.virtual_size = 4 * MIB;
		cr_assert_eq(vhd_create(parent, &options, NULL), 0);
		options.type = VHD_TYPE_DIFFERENCING;
		options.parent = parent;
		options.virtual_size = 6 * MIB;
		cr_assert_eq(vhd_create(f.path, &options, NULL), 0);
		image_open(f.path, VHD_FORMAT_AUTO, 0, &image);
		cr_expect_eq(vhd_resize(image, 3 * MIB, VHD_RESIZE_SHRINK, NULL), -EINVAL);
		cr_expect_eq(vhd_resize(image, 4 * MIB, VHD_RESIZE_SHRINK, NULL), 0);
		cr_expect_eq(vhd_resize(image, 40 * MIB, 0, NULL), 0);
		cr_expect_eq(vhd_close(image), 0);
		image_open(f.path, VHD_FORMAT_AUTO, 0, &image);
		cr_expect_eq(image_size(image), 40 * MIB);
		vhd_close(image);
		image_file_fini(&f);
	}
}

/* Blocks at both ends, before and behind. */
static void far_write(struct vhd_image *image, uint64_t offset, char value)
{
	char data[512];

	memset(data, value, sizeof(data));
	cr_assert_eq(vhd_pwrite(image, data, sizeof(data), offset), 0);
}

static char far_read(struct vhd_image *image, uint64_t offset)
{
	char data[512] = "?";

	cr_assert_eq(vhd_pread(image, data, sizeof(data), offset), 0);
	return data[511];
}

Test(resize, of_large_disks_moves_the_table_where_it_must)
{
	static const struct {
		enum vhd_format format;
		uint32_t block;
		uint64_t before, after;
	} rows[] = {
		{ VHD_FORMAT_VHD, 512 << 10, 10 * GIB, 2040 * GIB },
		{ VHD_FORMAT_VHD, 2 << 20, 1 * GIB, 2040 * GIB },
		{ VHD_FORMAT_VHDX, 1 << 20, 100 * GIB, 300 * GIB },
		{ VHD_FORMAT_VHDX, 32 << 20, 1 * GIB, 64 * TIB },
		{ VHD_FORMAT_VHDX, 256 << 20, 63 * TIB, 64 * TIB },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vhd_image *image;
		struct vhd_error err;
		struct image_file f;

		image_file_init(&f);
		image_file_create(&f, rows[i].format, VHD_TYPE_DYNAMIC, rows[i].before,
				  rows[i].block);
		image_open(f.path, VHD_FORMAT_AUTO, 0, &image);
		far_write(image, 0, 'a');
		far_write(image, rows[i].before - 512, 'b');
		cr_assert_eq(vhd_resize(image, rows[i].after, 0, &err), 0, "%zu: %s", i, err.text);
		cr_expect_eq(far_read(image, rows[i].before), 0);
		far_write(image, rows[i].before, 'c');
		far_write(image, rows[i].after - 512, 'd');
		cr_expect_eq(vhd_resize(image, rows[i].before + 512, VHD_RESIZE_SHRINK, &err), 0,
			     "%zu: %s", i, err.text);
		cr_expect_eq(vhd_resize(image, rows[i].after, 0, &err), 0, "%zu: %s", i, err.text);
		cr_assert_eq(vhd_close(image), 0);
		image_open(f.path, VHD_FORMAT_AUTO, 0, &image);
		cr_expect_eq(image_size(image), rows[i].after);
		cr_expect_eq(far_read(image, 0), 'a');
		cr_expect_eq(far_read(image, rows[i].before - 512), 'b');
		cr_expect_eq(far_read(image, rows[i].before), 'c');
		cr_expect_eq(far_read(image, rows[i].before + 512), 0);
		cr_expect_eq(far_read(image, rows[i].after - 512), 0, "it was cut off between");
		vhd_close(image);
		image_file_fini(&f);
	}
}

/* What QEMU measures by geometry, it must measure rightly. */
Test(resize, tells_readers_of_the_geometry_to_look_at_the_size)
{
	uint8_t footer[512] = { 0 };

	memcpy(footer + 28, "qemu", 4);
	vhd_footer_resize(footer, 40 * MIB);
	cr_expect_eq(get_be32(footer + 56), 0xffff10ff);
	cr_expect_eq(get_be64(footer + 48), 40 * MIB);
	vhd_footer_resize(footer, 41953280);
	cr_expect_eq(get_be32(footer + 56), 0x03c40511, "which comes out even");
	memcpy(footer + 28, "win ", 4);
	vhd_footer_resize(footer, 40 * MIB);
	cr_expect_neq(get_be32(footer + 56), 0xffff10ff);
}

/* A file that shrinks, and a fixed one that has all its space at once. */
Test(resize, changes_the_file_as_the_kind_says)
{
	static const struct {
		enum vhd_format format;
		enum vhd_type type;
		uint64_t full, half; /* of the file with 8 and with 4 MiB */
	} rows[] = {
		{ VHD_FORMAT_RAW, VHD_TYPE_FIXED, 8 * MIB, 4 * MIB },
		{ VHD_FORMAT_VHD, VHD_TYPE_FIXED, 8 * MIB + 512, 4 * MIB + 512 },
		{ VHD_FORMAT_VHDX, VHD_TYPE_FIXED, 12 * MIB, 8 * MIB },
		{ VHD_FORMAT_VHDX, VHD_TYPE_DYNAMIC, 12 * MIB, 8 * MIB },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		static char data[8 << 20];
		struct vhd_image *image;
		struct image_file f;

		image_file_init(&f);
		image_file_create(&f, rows[i].format, rows[i].type, 4 * MIB, MIB);
		image_open(f.path, rows[i].format, 0, &image);
		cr_expect_eq(vhd_resize(image, 8 * MIB, 0, NULL), 0);
		cr_expect_eq(vhd_pwrite(image, data, sizeof(data), 0), 0);
		cr_expect_eq(vhd_close(image), 0);
		cr_expect_eq(image_file_size(&f), rows[i].full, "%zu", i);
		image_open(f.path, rows[i].format, 0, &image);
		cr_expect_eq(vhd_resize(image, 4 * MIB, VHD_RESIZE_SHRINK, NULL), 0);
		cr_expect_eq(vhd_close(image), 0);
		cr_expect_eq(image_file_size(&f), rows[i].half, "%zu", i);
		image_file_fini(&f);
	}
}
