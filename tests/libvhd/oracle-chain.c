/* SPDX-License-Identifier: MIT */
/* Random chains of differencing images against what others read of them: libvhdi of
 * VHDs, a plain reader of ours of VHDXs.
 *
 * oracle-chain [FIRST-SEED [CASES]] */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image-file.h"
#include "plain-vhdx.h"

enum { LEVELS = 4, MIB = 1 << 20, SIZE_MAX_ = 24 * MIB };

struct chain {
	unsigned seed;
	enum vhd_format format;
	uint32_t sector; /* logical */
	/* libvhdi 20210425 misreads a bitmap byte with both bits in it, where ones
	 * come first, and small blocks: for it, children are written in units of eight
	 * sectors and have the usual block sizes. */
	size_t unit;
	struct image_file file;
	char path[LEVELS][96];
	unsigned levels;
	size_t size[LEVELS];
	size_t shown[LEVELS]; /* by libvhdi: at most the size it was made with */
	uint8_t *model[LEVELS]; /* the disk as each level should show it */
};

static void fail(const struct chain *c, const char *what, unsigned level)
{
	printf("seed %u, level %u of %u, %zu bytes: %s; images left in %s\n", c->seed, level,
	       c->levels, c->size[level], what, c->file.dir);
	exit(1);
}

static size_t random_below(size_t limit)
{
	return (size_t)random() % limit;
}

static void level_create(struct chain *c, unsigned level)
{
	static const uint32_t block_sizes[] = { 0, 512 << 10, 2 << 20, 64 << 10 };
	struct vhd_create_options options = VHD_CREATE_OPTIONS_INIT;

	options.format = c->format;
	options.flags = VHD_CREATE_SPARSE;
	options.block_size = block_sizes[random_below(c->unit == 4096 ? 3 : 4)];
	if (c->format == VHD_FORMAT_VHDX) {
		options.block_size = (uint32_t)MIB << random_below(9);
		options.logical_sector_size = c->sector;
	}
	options.type = random_below(3) ? VHD_TYPE_DYNAMIC : VHD_TYPE_FIXED;
	options.virtual_size = c->size[level];
	if (level > 0) {
		options.type = VHD_TYPE_DIFFERENCING;
		options.parent = c->path[level - 1];
	}
	if (vhd_create(c->path[level], &options, NULL))
		fail(c, "cannot create", level);
}

static void level_write(struct chain *c, unsigned level, struct vhd_image *image)
{
	uint8_t *model = c->model[level];
	size_t size = c->size[level];

	for (size_t i = random_below(40); i > 0; i--) {
		size_t offset = random_below((size - 1) / c->unit + 1) * c->unit;
		size_t length = c->unit * (1 + random_below(random_below(5) ? 20 : 6000));
		bool whole = random_below(3) == 0;
		size_t what = random_below(10);
		int ret;

		/* Whole blocks of a VHDX can be without space and yet not the parent's. */
		if (whole && size > MIB) {
			offset = offset / MIB * MIB;
			length = (size_t)MIB << random_below(4);
		}
		if (length > size - offset)
			length = size - offset;
		memset(model + offset, what < 2 ? 0 : (int)random_below(256), length);
		ret = what == 0 ? vhd_write_zeroes(image, offset, length) :
		      what == 1 ? vhd_discard(image, offset, length) :
				  vhd_pwrite(image, model + offset, length, offset);
		if (ret || (random_below(6) == 0 && vhd_flush(image)))
			fail(c, "write failed", level);
	}
}

/* Never below the parent. */
static void level_resize(struct chain *c, unsigned level, struct vhd_image *image)
{
	size_t old = c->size[level], least = level ? c->size[level - 1] : c->sector;
	size_t size;

	/* libvhdi reads a fixed image with the size it was made with. */
	if (level == 0 && c->format == VHD_FORMAT_VHD && c->unit == 4096)
		least = c->shown[0];
	size = least + random_below((SIZE_MAX_ - least) / c->sector + 1) * c->sector;

	if (vhd_resize(image, size, VHD_RESIZE_SHRINK, NULL))
		fail(c, "cannot be resized", level);
	c->size[level] = size;
	c->model[level] = realloc(c->model[level], size);
	if (size > old)
		memset(c->model[level] + old, 0, size - old);
}

static void level_compare(const struct chain *c, unsigned level, struct vhd_image *image)
{
	uint8_t *buf = malloc(c->size[level]);

	if (vhd_pread(image, buf, c->size[level], 0))
		fail(c, "read failed", level);
	if (memcmp(buf, c->model[level], c->size[level]) != 0)
		fail(c, "we read something else", level);
	free(buf);
}

static void level_make(struct chain *c, unsigned level)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct vhd_image *image;

	if (level > 0)
		c->size[level] = c->size[level - 1];
	level_create(c, level);
	c->shown[level] = c->size[level];
	c->model[level] = calloc(1, c->size[level]);
	if (level > 0)
		memcpy(c->model[level], c->model[level - 1], c->size[level]);
	options.io = &image_io_unsynced;
	for (int session = 0; session < 2; session++) {
		if (vhd_open(c->path[level], &options, &image, NULL))
			fail(c, "open failed", level);
		level_compare(c, level, image);
		level_write(c, level, image);
		if (random_below(3) == 0)
			level_resize(c, level, image);
		level_write(c, level, image);
		level_compare(c, level, image);
		if (vhd_close(image))
			fail(c, "close failed", level);
	}
}

/* Of a VHD it knows the size that it was made with. Of a VHDX it cannot read what a child has
 * not, behind the end of its parent; and the kernel asks it for whole pages. */
static size_t size_for_libvhdi(const struct chain *c, unsigned level)
{
	if (c->format == VHD_FORMAT_VHDX)
		return c->size[0] / 4096 * 4096;
	return c->shown[level] < c->size[level] ? c->shown[level] : c->size[level];
}

/* vhdimount shows the chain as vhdi1 (the oldest) to vhdiN. */
static void compare_by_libvhdi(const struct chain *c)
{
	char command[512], name[96];
	uint8_t *buf = malloc(SIZE_MAX_);

	snprintf(command, sizeof(command), "mkdir %s/m && vhdimount %s %s/m >%s/out 2>&1",
		 c->file.dir, c->path[c->levels - 1], c->file.dir, c->file.dir);
	if (system(command))
		fail(c, "vhdimount refuses it", c->levels - 1);
	for (unsigned level = 0; level < c->levels; level++) {
		size_t size = size_for_libvhdi(c, level);
		FILE *f;

		snprintf(name, sizeof(name), "%s/m/vhdi%u", c->file.dir, level + 1);
		f = fopen(name, "r");
		if (!f || fread(buf, 1, size, f) != size)
			fail(c, "libvhdi cannot read it", level);
		fclose(f);
		if (memcmp(buf, c->model[level], size) != 0)
			fail(c, "libvhdi reads something else", level);
	}
	free(buf);
	snprintf(command, sizeof(command), "fusermount -u %s/m && rmdir %s/m", c->file.dir,
		 c->file.dir);
	if (system(command))
		fail(c, "cannot unmount", 0);
}

static void compare_by_plain_reader(const struct chain *c)
{
	const char *paths[LEVELS];
	uint8_t *buf = malloc(SIZE_MAX_);

	for (unsigned level = 0; level < c->levels; level++) {
		const char *error;

		for (unsigned i = 0; i <= level; i++)
			paths[i] = c->path[level - i];
		error = plain_vhdx_read(paths, level + 1, buf, c->size[level]);
		if (error)
			fail(c, error, level);
		if (memcmp(buf, c->model[level], c->size[level]) != 0)
			fail(c, "the plain reader reads something else", level);
	}
	free(buf);
}

static void chain_run(unsigned seed, bool mount)
{
	struct chain c = { .seed = seed };

	srandom(seed);
	image_file_init(&c.file);
	c.format = seed / 2 % 2 ? VHD_FORMAT_VHDX : VHD_FORMAT_VHD;
	c.unit = seed % 2 ? 512 : 4096;
	c.sector = c.unit == 4096 && random_below(2) ? 4096 : 512;
	c.size[0] = (1 + random_below(SIZE_MAX_ / c.sector)) * c.sector;
	c.levels = 1 + (unsigned)random_below(LEVELS);
	for (unsigned level = 0; level < c.levels; level++) {
		snprintf(c.path[level], sizeof(c.path[level]), "%s/%u.%s", c.file.dir, level,
			 vhd_format_name(c.format));
		level_make(&c, level);
	}
	if (c.format == VHD_FORMAT_VHDX)
		compare_by_plain_reader(&c);
	if (mount && c.unit == 4096)
		compare_by_libvhdi(&c);
	for (unsigned level = 0; level < c.levels; level++)
		free(c.model[level]);
	image_file_fini(&c.file);
}

int main(int argc, char **argv)
{
	unsigned first = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
	unsigned count = argc > 2 ? (unsigned)atoi(argv[2]) :
				    image_cases("VHD_ORACLE_CASES", 150, 40);
	bool mount = access("/dev/fuse", R_OK | W_OK) == 0 &&
		     system("vhdimount -V >/dev/null 2>&1 && fusermount -V >/dev/null 2>&1") == 0;

	for (unsigned i = 0; i < count; i++)
		chain_run(first + i, mount);
	printf("%u random chains, seeds %u to %u%s\n", count, first, first + count - 1,
	       mount ? "" : "; not read by libvhdi (no vhdimount or no /dev/fuse)");
	return 0;
}
