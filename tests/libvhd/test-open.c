/* SPDX-License-Identifier: MIT */
/* Opening good and bad files: what is refused, what is repaired. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image-file.h"

enum { MIB = 1 << 20, FOOTER_COPY = 0, HEADER = 512, BAT = 1536 };

/* A dynamic disk of 8 MiB with data in the blocks 0 and 2. Returns where its
 * footer is. */
static uint64_t dynamic_make(struct image_file *f)
{
	struct vhd_image *image;
	char data[512];

	memset(data, 'x', sizeof(data));
	image_file_create(f, VHD_FORMAT_VHD, VHD_TYPE_DYNAMIC, 8 * MIB, 0);
	cr_assert_eq(vhd_open(f->path, NULL, &image, NULL), 0);
	cr_assert_eq(vhd_pwrite(image, data, 512, 0), 0);
	cr_assert_eq(vhd_pwrite(image, data, 512, 4 * MIB + 512), 0);
	cr_assert_eq(vhd_close(image), 0);
	return image_file_size(f) - 512;
}

static void expect_data(struct vhd_image *image, uint64_t offset, char want)
{
	char data[512];

	cr_expect_eq(vhd_pread(image, data, 512, offset), 0);
	cr_expect_eq(data[0], want, "at %llu", (unsigned long long)offset);
	cr_expect_eq(data[511], want, "at %llu", (unsigned long long)offset);
}

static void expect_open(const struct image_file *f, uint32_t flags, int want, const char *name)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct vhd_image *image;
	struct vhd_error err = { 0, "" };
	int ret;

	options.flags = flags;
	ret = vhd_open(f->path, &options, &image, &err);
	cr_expect_eq(ret, want, "%s: %d, %s", name, ret, err.text);
	if (ret) {
		cr_expect_eq(err.code, ret, "%s", name);
		cr_expect(strstr(err.text, "/image: "), "%s: %s", name, err.text);
		cr_expect_null(image, "%s", name);
	}
	if (!ret)
		cr_expect_eq(vhd_close(image), 0, "%s", name);
}

enum place { COPY, END, BOTH, HEAD, TABLE, ENTRY };

/* Every row breaks one field of a good image; a wrong footer stands at both
 * places, or the other one would be used. */
Test(open, refuses_each_corruption_by_name)
{
	static const struct {
		const char *name;
		enum place place;
		size_t field, size;
		uint64_t value;
		int fault;
	} rows[] = {
		{ "footer version", BOTH, 12, 4, 0x20000, VHD_FAULT_FOOTER_VERSION },
		{ "disk type 0", BOTH, 60, 4, 0, VHD_FAULT_DISK_TYPE },
		{ "disk type 6", BOTH, 60, 4, 6, VHD_FAULT_DISK_TYPE },
		{ "size 0", BOTH, 48, 8, 0, VHD_FAULT_DISK_SIZE },
		{ "size odd", BOTH, 48, 8, 8 * MIB - 1, VHD_FAULT_DISK_SIZE },
		{ "size over the limit", BOTH, 48, 8, UINT64_C(1) << 41, VHD_FAULT_DISK_SIZE },
		{ "size over the table", BOTH, 48, 8, 8 * MIB + 512, VHD_FAULT_BAT_SIZE },
		{ "saved state", BOTH, 84, 1, 1, VHD_FAULT_SAVED_STATE },
		{ "header past the end", BOTH, 16, 8, 1 << 30, VHD_FAULT_HEADER_OFFSET },
		{ "header at all ones", BOTH, 16, 8, UINT64_MAX, VHD_FAULT_HEADER_OFFSET },
		{ "header in the table", BOTH, 16, 8, BAT, VHD_FAULT_HEADER_COOKIE },
		{ "fixed, but too short", BOTH, 60, 4, 2, VHD_FAULT_FILE_SIZE },
		{ "header cookie", HEAD, 0, 1, 'X', VHD_FAULT_HEADER_COOKIE },
		{ "header version", HEAD, 24, 4, 1, VHD_FAULT_HEADER_VERSION },
		{ "block size 3", HEAD, 32, 4, 3, VHD_FAULT_BLOCK_SIZE },
		{ "block size 0", HEAD, 32, 4, 0, VHD_FAULT_BLOCK_SIZE },
		{ "block size 2^31", HEAD, 32, 4, 1u << 31, VHD_FAULT_BLOCK_SIZE },
		{ "no entries", HEAD, 28, 4, 0, VHD_FAULT_BAT_SIZE },
		{ "entries over the file", HEAD, 28, 4, UINT32_MAX, VHD_FAULT_BAT_OFFSET },
		{ "table over the header", HEAD, 16, 8, 1024, VHD_FAULT_BAT_OFFSET },
		{ "table past the end", HEAD, 16, 8, UINT64_C(1) << 40, VHD_FAULT_BAT_OFFSET },
		{ "table in a block", HEAD, 16, 8, 4096, VHD_FAULT_BAT_ENTRY },
		{ "block at 0", TABLE, 0, 4, 0, VHD_FAULT_BAT_ENTRY },
		{ "block over the header", TABLE, 0, 4, 1, VHD_FAULT_BAT_ENTRY },
		{ "block over the table", TABLE, 0, 4, 3, VHD_FAULT_BAT_ENTRY },
		{ "block past the end", TABLE, 12, 4, 0xfffffffe, VHD_FAULT_BAT_ENTRY },
		{ "block twice", TABLE, 12, 4, 7, VHD_FAULT_BAT_OVERLAP },
		{ "block over another", TABLE, 12, 4, 8, VHD_FAULT_BAT_OVERLAP },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct image_file f;
		uint64_t end;

		image_file_init(&f);
		end = dynamic_make(&f);
		if (rows[i].place == BOTH) {
			image_file_put_footer(&f, 0, rows[i].field, rows[i].value, rows[i].size);
			image_file_put_footer(&f, end, rows[i].field, rows[i].value, rows[i].size);
		} else if (rows[i].place == HEAD) {
			image_file_put_header(&f, HEADER, rows[i].field, rows[i].value,
					      rows[i].size);
		} else {
			uint8_t entry[4] = {(uint8_t)(rows[i].value >> 24),
					    (uint8_t)(rows[i].value >> 16),
					    (uint8_t)(rows[i].value >> 8), (uint8_t)rows[i].value};

			image_file_write(&f, entry, 4, BAT + rows[i].field);
		}
		expect_open(&f, 0, rows[i].fault, rows[i].name);
		image_file_fini(&f);
	}
}

Test(open, refuses_a_file_cut_anywhere)
{
	struct image_file f;
	uint64_t end;

	image_file_init(&f);
	end = dynamic_make(&f);
	/* Down to the metadata the footer's copy is there, but blocks are not. */
	for (uint64_t cut = end - 512; cut > 4096;
	     cut -= 512 * 127 > cut - 4096 ? cut - 4096 : 512 * 127) {
		struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
		struct vhd_image *image;
		struct vhd_error err;
		int ret;

		image_file_truncate(&f, cut);
		options.flags = VHD_OPEN_READ_ONLY;
		ret = vhd_open(f.path, &options, &image, &err);
		cr_expect_eq(ret, VHD_FAULT_BAT_ENTRY, "cut to %llu: %d", (unsigned long long)cut,
			     ret);
	}
	for (uint64_t cut = 4096; cut > 0; cut -= 512) {
		int want = cut >= 2048 ? VHD_FAULT_BAT_ENTRY :
			   cut >= 1536 ? VHD_FAULT_BAT_OFFSET :
					 VHD_FAULT_HEADER_OFFSET;

		image_file_truncate(&f, cut);
		expect_open(&f, VHD_OPEN_READ_ONLY, want, "cut metadata");
	}
	image_file_truncate(&f, 511);
	expect_open(&f, VHD_OPEN_READ_ONLY, VHD_FAULT_NOT_AN_IMAGE, "cut to 511");
	image_file_truncate(&f, 0);
	expect_open(&f, VHD_OPEN_READ_ONLY, VHD_FAULT_NOT_AN_IMAGE, "cut to 0");
	image_file_fini(&f);
}

static void count_warning(void *opaque, const char *text)
{
	(void)text;
	++*(int *)opaque;
}

/* One footer lost: readable, told, and whole again after opening for writing. */
Test(open, repairs_a_lost_footer_from_the_other)
{
	static const struct {
		const char *name;
		bool at_end;
		int truncate_by;
	} rows[] = {
		{ "copy overwritten", false, 0 },
		{ "end overwritten", true, 0 },
		{ "end cut off", true, 512 },
		{ "end half cut off", true, 200 },
		{ "end of 511 bytes", true, 1 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
		struct vhd_image *image;
		struct vhd_error err;
		struct image_file f;
		uint8_t first[512], last[512];
		uint64_t end;
		int warnings = 0;

		image_file_init(&f);
		end = dynamic_make(&f);
		image_file_read(&f, first, 512, 0);
		if (rows[i].truncate_by)
			image_file_truncate(&f, end + 512 - (uint64_t)rows[i].truncate_by);
		else
			image_file_write(&f, "broken", 6, rows[i].at_end ? end : 0);
		options.warn = count_warning;
		options.warn_opaque = &warnings;
		options.flags = VHD_OPEN_READ_ONLY;
		cr_assert_eq(vhd_open(f.path, &options, &image, &err), 0, "%s: %s", rows[i].name,
			     err.text);
		expect_data(image, 4 * MIB + 512, 'x');
		vhd_close(image);
		cr_expect_eq(warnings, rows[i].truncate_by == 1 ? 0 : 1, "%s", rows[i].name);
		expect_open(&f, 0, 0, rows[i].name);
		cr_expect_eq(image_file_size(&f), end + 512, "%s", rows[i].name);
		image_file_read(&f, last, 512, end);
		cr_expect_arr_eq(first, last, 512, "%s", rows[i].name);
		image_file_read(&f, last, 512, 0);
		cr_expect_arr_eq(first, last, 512, "%s", rows[i].name);
		image_file_fini(&f);
	}
}

Test(open, takes_no_dynamic_footer_in_a_fixed_disks_first_sector)
{
	struct image_file f;
	struct vhd_image *image;
	uint8_t footer[512];
	uint64_t end;

	image_file_init(&f);
	end = dynamic_make(&f);
	image_file_read(&f, footer, 512, end);
	image_file_create(&f, VHD_FORMAT_VHD, VHD_TYPE_FIXED, MIB, 0);
	cr_assert_eq(vhd_open(f.path, NULL, &image, NULL), 0);
	cr_assert_eq(vhd_pwrite(image, footer, 512, 0), 0);
	cr_assert_eq(vhd_close(image), 0);
	cr_assert_eq(vhd_open(f.path, NULL, &image, NULL), 0);
	{
		struct vhd_info info = VHD_INFO_INIT;

		cr_assert_eq(vhd_get_info(image, &info), 0);
		cr_expect_eq(info.type, VHD_TYPE_FIXED);
		cr_expect_eq(info.virtual_size, MIB);
	}
	vhd_close(image);
	image_file_fini(&f);
}

Test(open, honours_the_geometry_when_asked)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct vhd_info info = VHD_INFO_INIT;
	struct vhd_image *image;
	struct image_file f;

	image_file_init(&f);
	image_file_create(&f, VHD_FORMAT_VHD, VHD_TYPE_DYNAMIC, 8 * MIB, 0);
	cr_assert_eq(vhd_open(f.path, NULL, &image, NULL), 0);
	cr_assert_eq(vhd_get_info(image, &info), 0);
	cr_expect_eq(info.virtual_size, 8 * MIB);
	vhd_close(image);
	options.flags = VHD_OPEN_CHS_SIZE;
	cr_assert_eq(vhd_open(f.path, &options, &image, NULL), 0);
	cr_assert_eq(vhd_get_info(image, &info), 0);
	/* 16384 sectors: 240 cylinders of 4 * 17. */
	cr_expect_eq(info.virtual_size, 240 * 4 * 17 * 512);
	vhd_close(image);
	image_file_fini(&f);
}

Test(open, keeps_a_second_writer_out)
{
	struct vhd_image *writer, *reader, *reader2;
	struct vhd_open_options ro = VHD_OPEN_OPTIONS_INIT;
	struct image_file f;

	image_file_init(&f);
	image_file_create(&f, VHD_FORMAT_VHD, VHD_TYPE_DYNAMIC, MIB, 0);
	cr_assert_eq(vhd_open(f.path, NULL, &writer, NULL), 0);
	expect_open(&f, 0, -EAGAIN, "second writer");
	expect_open(&f, VHD_OPEN_READ_ONLY, -EAGAIN, "reader beside a writer");
	expect_open(&f, VHD_OPEN_READ_ONLY | VHD_OPEN_NO_LOCK, 0, "reader without a lock");
	vhd_close(writer);
	ro.flags = VHD_OPEN_READ_ONLY;
	cr_assert_eq(vhd_open(f.path, &ro, &reader, NULL), 0);
	cr_assert_eq(vhd_open(f.path, &ro, &reader2, NULL), 0);
	expect_open(&f, 0, -EAGAIN, "writer beside readers");
	vhd_close(reader);
	vhd_close(reader2);
	expect_open(&f, 0, 0, "writer afterwards");
	image_file_fini(&f);
}

Test(open, refuses_what_is_no_image)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct vhd_image *image;
	struct vhd_error err;
	struct image_file f;
	char zeros[8192] = "";
	int fd;

	image_file_init(&f);
	expect_open(&f, 0, -ENOENT, "no file");
	fd = open(f.path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	cr_assert(fd >= 0);
	close(fd);
	image_file_write(&f, zeros, sizeof(zeros), 0);
	expect_open(&f, 0, VHD_FAULT_FOOTER_COOKIE, "zeros");
	options.format = VHD_FORMAT_RAW;
	cr_expect_eq(vhd_open(f.path, &options, &image, &err), 0, "%s", err.text);
	vhd_close(image);
	image_file_truncate(&f, 8191);
	cr_expect_eq(vhd_open(f.path, &options, &image, &err), VHD_FAULT_FILE_SIZE);
	cr_expect_eq(vhd_open(f.dir, NULL, &image, &err), -EISDIR);
	options.flags = VHD_OPEN_READ_ONLY;
	cr_expect_eq(vhd_open(f.dir, &options, &image, &err), -EINVAL, "%s", err.text);
	image_file_fini(&f);
}

Test(create, leaves_an_existing_file_alone)
{
	struct vhd_create_options options = VHD_CREATE_OPTIONS_INIT;
	struct vhd_error err;
	struct image_file f;

	image_file_init(&f);
	image_file_create(&f, VHD_FORMAT_RAW, VHD_TYPE_FIXED, 4096, 0);
	options.format = VHD_FORMAT_VHD;
	options.type = VHD_TYPE_DYNAMIC;
	options.virtual_size = MIB;
	cr_expect_eq(vhd_create(f.path, &options, &err), -EEXIST);
	cr_expect_eq(image_file_size(&f), 4096);
	options.virtual_size = 1000;
	options.flags = VHD_CREATE_OVERWRITE;
	cr_expect_eq(vhd_create(f.path, &options, &err), -EINVAL);
	cr_expect(strstr(err.text, "1000"), "%s", err.text);
	options.virtual_size = 0;
	cr_expect_eq(vhd_create(f.path, &options, &err), -EINVAL);
	cr_expect_eq(image_file_size(&f), 4096);
	cr_assert_eq(unlink(f.path), 0);
	cr_expect_eq(rmdir(f.dir), 0, "a temporary file is left");
}

/* A child over its own parent, or over the parent's parent; a file that somebody has open; what
 * is no file. All are there afterwards as they were. */
Test(create, replaces_nothing_that_would_be_missed)
{
	struct vhd_create_options options = VHD_CREATE_OPTIONS_INIT;
	char fifo[96], child[96];
	struct vhd_image *image;
	struct vhd_error err;
	struct image_file f;
	struct stat st;

	image_file_init(&f);
	snprintf(fifo, sizeof(fifo), "%s/fifo", f.dir);
	snprintf(child, sizeof(child), "%s/child", f.dir);
	cr_assert_eq(mkfifo(fifo, 0600), 0);
	options.flags = VHD_CREATE_OVERWRITE;
	for (int format = VHD_FORMAT_VHD; format <= VHD_FORMAT_VHDX; format++) {
		options.format = (enum vhd_format)format;
		options.type = VHD_TYPE_DYNAMIC;
		options.virtual_size = MIB;
		options.parent = NULL;
		cr_assert_eq(vhd_create(f.path, &options, &err), 0);
		cr_expect_eq(vhd_create(fifo, &options, &err), -EINVAL);
		cr_expect(stat(fifo, &st) == 0 && S_ISFIFO(st.st_mode));
		cr_expect_eq(vhd_create(f.dir, &options, &err), -EINVAL);
		for (int read_only = 0; read_only <= 1; read_only++) {
			cr_assert_eq(image_file_open(&f, read_only ? VHD_OPEN_READ_ONLY : 0,
						     &image, NULL),
				     0);
			cr_expect_eq(vhd_create(f.path, &options, &err), -EAGAIN);
			cr_expect_eq(vhd_close(image), 0);
		}

		options.type = VHD_TYPE_DIFFERENCING;
		options.virtual_size = 0;
		options.parent = f.path;
		cr_expect_eq(vhd_create(f.path, &options, &err), -EINVAL);
		cr_expect(strstr(err.text, "it is the parent:"), "%s", err.text);
		cr_expect_eq(vhd_create(child, &options, &err), 0);
		options.parent = child;
		cr_expect_eq(vhd_create(f.path, &options, &err), -EINVAL);
		cr_expect(strstr(err.text, "parent of its parent"), "%s", err.text);
		cr_expect_eq(vhd_open(child, NULL, &image, NULL), 0);
		cr_expect_eq(vhd_close(image), 0);
	}
	image_file_fini(&f);
}

Test(create, makes_the_same_bytes_of_the_same_id_and_time)
{
	static const uint8_t id[16] = { 0xab, 1, 2, 3 };
	struct vhd_create_options options = VHD_CREATE_OPTIONS_INIT;
	int64_t time = 946684800 + 77;
	struct image_file f;
	uint8_t bytes[512];

	options.format = VHD_FORMAT_VHD;
	options.type = VHD_TYPE_DYNAMIC;
	options.virtual_size = MIB;
	options.id = id;
	options.time = &time;
	image_file_init(&f);
	cr_assert_eq(vhd_create(f.path, &options, NULL), 0);
	image_file_read(&f, bytes, 512, 0);
	cr_expect_arr_eq(bytes + 68, id, 16);
	cr_expect_arr_eq(bytes + 24, "\0\0\0\x4d", 4);
	image_file_fini(&f);
}
