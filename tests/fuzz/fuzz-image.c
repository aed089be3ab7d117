/* SPDX-License-Identifier: MIT */
#include "fuzz-image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "crash-file.h"
#include "crc32c.h"
#include "image-file.h"
#include "vhd-format.h"
#include "vhdx-format.h"

/* Where structures lie in the images that we make. */
static const struct area {
	uint32_t offset, size;
} vhd_areas[] = {
	{ 0, 512 },    { 512, 64 },   { 1088, 192 }, { 1536, 512 },
	{ 2048, 512 }, { 2560, 512 }, { 3072, 512 }, { 3584, 512 },
}, vhdx_areas[] = {
	{ VHDX_HEADER_1, 80 },	      { VHDX_HEADER_2, 80 },
	{ VHDX_REGIONS_1, 112 },      { VHDX_REGIONS_2, 112 },
	{ 2 * FUZZ_MIB, 256 },	      { 2 * FUZZ_MIB + 65536, 512 },
	{ 3 * FUZZ_MIB, 64 },	      { 3 * FUZZ_MIB + 4096 * 8, 8 },
};
enum { AREAS = 8, PATCHES_MAX = 16 };

/* [0]: the image, [1]: its parent, if it has one. */
static struct set {
	bool made;
	struct crash_file file[2];
} sets[FUZZ_KINDS];
static enum fuzz_kind now;

static bool is_child(enum fuzz_kind kind)
{
	return kind == FUZZ_VHD_CHILD || kind == FUZZ_VHDX_CHILD;
}

static bool is_vhdx(enum fuzz_kind kind)
{
	return kind == FUZZ_VHDX || kind == FUZZ_VHDX_CHILD;
}

uint8_t fuzz_byte(struct fuzz_input *in)
{
	if (in->size == 0)
		return 0;
	in->size--;
	return *in->bytes++;
}

/* -- Making them ---------------------------------------------------------------- */

static void write_some(const char *path, uint64_t offset, size_t length)
{
	static uint8_t data[2 * FUZZ_MIB];
	struct vhd_image *image;

	memset(data, 'x', length);
	if (vhd_open(path, NULL, &image, NULL) || vhd_pwrite(image, data, length, offset) ||
	    vhd_close(image))
		abort();
}

/* The same bytes in each run: findings must come again. */
static void set_make(enum fuzz_kind kind, const char *path, const char *parent)
{
	static const uint8_t id[16] = { 1, 2, 3 }, data_id[16] = { 4, 5, 6 };
	static const int64_t time = 1000000000;
	struct vhd_create_options options = VHD_CREATE_OPTIONS_INIT;
	uint32_t block = is_vhdx(kind) ? FUZZ_MIB : FUZZ_VHD_BLOCK;

	options.format = is_vhdx(kind) ? VHD_FORMAT_VHDX : VHD_FORMAT_VHD;
	options.type = VHD_TYPE_DYNAMIC;
	options.virtual_size = FUZZ_DISK;
	options.block_size = block;
	options.id = id;
	options.data_id = options.file_id = data_id;
	options.time = &time;
	if (is_child(kind)) {
		if (vhd_create(parent, &options, NULL))
			abort();
		write_some(parent, 3 * block, block);
		options.type = VHD_TYPE_DIFFERENCING;
		options.parent = parent;
	}
	if (vhd_create(path, &options, NULL))
		abort();
	write_some(path, is_child(kind) ? block + 4096 : block, 2 * block - 8192);
}

static void set_init(struct set *s, enum fuzz_kind kind)
{
	struct image_file dir;
	char parent[96];

	image_file_init(&dir);
	snprintf(parent, sizeof(parent), "%s/parent", dir.dir);
	set_make(kind, dir.path, parent);
	crash_file_init(&s->file[0]);
	crash_file_load(&s->file[0], dir.path);
	if (is_child(kind)) {
		crash_file_init(&s->file[1]);
		crash_file_load(&s->file[1], parent);
	}
	image_file_fini(&dir);
	s->made = true;
}

void fuzz_image_begin(enum fuzz_kind kind)
{
	struct set *s = &sets[kind];

	now = kind;
	if (!s->made)
		set_init(s, kind);
	crash_file_begin(&s->file[0]);
}

void fuzz_image_end(void)
{
	crash_file_undo(&sets[now].file[0]);
}

/* -- Changing them --------------------------------------------------------------- */

void fuzz_image_put(const void *bytes, size_t size, uint64_t offset)
{
	const struct iovec iov = { (void *)(uintptr_t)bytes, size };
	const struct vhd_io io = {
		.op = VHD_IO_WRITE,
		.iov = &iov,
		.niov = 1,
		.offset = offset,
		.length = size,
	};

	crash_file_io(&sets[now].file[0], &io);
}

/* @size bytes at @at whose CRC stands at @at + 4. */
static void crc_put(uint64_t at, uint32_t size)
{
	const uint8_t *bytes = sets[now].file[0].bytes + at;
	uint8_t crc[4];

	put_le32(crc, vhd_crc32c_structure(bytes, size));
	fuzz_image_put(crc, sizeof(crc), at + 4);
}

static void sum_put(uint64_t at, uint32_t size, uint32_t field)
{
	uint8_t sum[4];

	put_be32(sum, vhd_checksum(sets[now].file[0].bytes + at, size, field));
	fuzz_image_put(sum, sizeof(sum), at + field);
}

static void checksums_repair(void)
{
	const struct crash_file *f = &sets[now].file[0];

	if (is_vhdx(now)) {
		crc_put(VHDX_HEADER_1, VHDX_HEADER_SIZE);
		crc_put(VHDX_HEADER_2, VHDX_HEADER_SIZE);
		crc_put(VHDX_REGIONS_1, VHDX_TABLE_SIZE);
		crc_put(VHDX_REGIONS_2, VHDX_TABLE_SIZE);
		return;
	}
	sum_put(0, 512, 64);
	sum_put(512, 1024, 36);
	fuzz_image_put(f->bytes, 512, f->size - 512);
}

void fuzz_log_repair(void)
{
	const struct crash_file *f = &sets[now].file[0];

	for (uint32_t at = 0; at < 16 * VHDX_PAGE; at += VHDX_PAGE) {
		uint32_t length = get_le32(f->bytes + FUZZ_LOG + at + 8);

		if (length >= VHDX_PAGE && length <= (uint32_t)FUZZ_MIB - at)
			crc_put(FUZZ_LOG + at, length);
	}
}

void fuzz_image_change(struct fuzz_input *in)
{
	const struct area *areas = is_vhdx(now) ? vhdx_areas : vhd_areas;
	unsigned count = fuzz_byte(in);
	bool repair = count & 0x80;

	for (unsigned i = 0; i < count % PATCHES_MAX && in->size > 0; i++) {
		const struct area *a = &areas[fuzz_byte(in) % AREAS];
		uint32_t offset = (fuzz_byte(in) | (uint32_t)fuzz_byte(in) << 8) % a->size;
		size_t size = fuzz_byte(in) % 32;

		size = min_u64(min_u64(size, in->size), a->size - offset);
		fuzz_image_put(in->bytes, size, a->offset + offset);
		in->bytes += size;
		in->size -= size;
	}
	if (repair)
		checksums_repair();
}

/* -- Using them ------------------------------------------------------------------ */

static int image_io(void *opaque, struct vhd_io *io)
{
	struct set *s = opaque;

	return crash_file_io(&s->file[io->file->index], io);
}

static const struct vhd_io_ops image_ops = { sizeof(image_ops), image_io };

const uint8_t *fuzz_image_bytes(size_t *size)
{
	*size = sets[now].file[0].size;
	return sets[now].file[0].bytes;
}

const char *fuzz_image_options(uint32_t flags, struct vhd_open_options *options)
{
	*options = (struct vhd_open_options)VHD_OPEN_OPTIONS_INIT;
	options->flags = flags;
	options->io = &image_ops;
	options->io_opaque = &sets[now];
	options->parent = is_child(now) ? sets[now].file[1].path : NULL;
	options->parent_directory = "/nowhere"; /* none that an image names is looked at */
	return sets[now].file[0].path;
}

int fuzz_image_open(uint32_t flags, struct vhd_image **image)
{
	struct vhd_open_options options;
	struct vhd_error err = { 0, "" };
	const char *path = fuzz_image_options(flags, &options);
	int ret = vhd_open(path, &options, image, &err);

	if ((ret < 0 && ret != -ENOTSUP && ret != -EFBIG) || (ret && err.text[0] == '\0'))
		abort();
	return ret;
}

void fuzz_image_use(struct vhd_image *image)
{
	struct vhd_info info = VHD_INFO_INIT;
	static uint8_t buf[65536];
	uint64_t length;

	if (vhd_get_info(image, &info) || info.virtual_size % 512)
		abort();
	length = min_u64(info.virtual_size, sizeof(buf));
	for (unsigned i = 0; i < 5; i++) {
		uint64_t offset = (info.virtual_size - length) / 4 * i / 4096 * 4096;

		if (vhd_pread(image, buf, length, offset) < 0 || info.read_only)
			continue;
		if (i == 1)
			(void)!vhd_discard(image, offset, length);
		if (vhd_pwrite(image, buf, length, offset) == 0 && i == 3)
			(void)!vhd_flush(image);
	}
}
