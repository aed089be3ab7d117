/* SPDX-License-Identifier: MIT */
/* Power cuts. A recorder under the image keeps every write, hole, truncation and
 * sync in the order they were done. The file is then built as it may be found
 * after a cut at each point: all that was done before the last sync, and of what
 * was done since any part, sector by sector. It must open, every sector must hold
 * what it held at the last confirmed flush or something written after that, no other
 * sector may change, and the disk's size must be that of the last resize or of one that
 * was under way. Then it must bear being written to.
 *
 * crash [FIRST-SEED [POINTS]] */
#include "crash.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct kind kinds[] = {
	{ "VHD dynamic", VHD_FORMAT_VHD, VHD_TYPE_DYNAMIC, false, 0 },
	{ "VHD differencing", VHD_FORMAT_VHD, VHD_TYPE_DIFFERENCING, false, 0 },
	{ "VHDX dynamic", VHD_FORMAT_VHDX, VHD_TYPE_DYNAMIC, false, 0 },
	{ "VHDX differencing", VHD_FORMAT_VHDX, VHD_TYPE_DIFFERENCING, false, 0 },
	{ "raw, resized", VHD_FORMAT_RAW, VHD_TYPE_FIXED, true, 0 },
	{ "VHD fixed, resized", VHD_FORMAT_VHD, VHD_TYPE_FIXED, true, 0 },
	{ "VHD dynamic, resized", VHD_FORMAT_VHD, VHD_TYPE_DYNAMIC, true, 0 },
	{ "VHD differencing, resized", VHD_FORMAT_VHD, VHD_TYPE_DIFFERENCING, true, 0 },
	{ "VHDX fixed, resized", VHD_FORMAT_VHDX, VHD_TYPE_FIXED, true, 0 },
	{ "VHDX dynamic, resized", VHD_FORMAT_VHDX, VHD_TYPE_DYNAMIC, true, 0 },
	{ "VHDX differencing, resized", VHD_FORMAT_VHDX, VHD_TYPE_DIFFERENCING, true, 0 },
	{ "VHDX dynamic, its table moved", VHD_FORMAT_VHDX, VHD_TYPE_DYNAMIC, true, 131041 },
	{ "VHDX differencing, its table moved", VHD_FORMAT_VHDX, VHD_TYPE_DIFFERENCING, true,
	  126976 },
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

/* Random ones at each point; few, so that a short run comes to all kinds. */
enum { SUBSETS = 12, FEW_SUBSETS = 2 };

void crash_fail(const struct test *t, const char *what, int point)
{
	printf("seed %u (%s): %s at point %d of %d\n", t->seed, t->kind->name, what, point,
	       t->log.count);
	exit(1);
}

unsigned crash_random(unsigned limit)
{
	return (unsigned)random() % limit;
}

void crash_options(struct test *t, struct vhd_open_options *options, const struct vhd_io_ops *io,
		   uint32_t flags)
{
	*options = (struct vhd_open_options)VHD_OPEN_OPTIONS_INIT;
	options->format = t->kind->format;
	options->flags = flags;
	options->io = io;
	options->io_opaque = t;
	options->parent = t->kind->type == VHD_TYPE_DIFFERENCING ? t->parent : NULL;
}

static void fill(struct test *t, const char *path, unsigned step)
{
	uint64_t size = crash_history_last(&t->model.size);
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct vhd_image *image;
	uint32_t buf[SECTOR / 4];

	options.format = t->kind->format;
	options.io = &image_io_unsynced;
	if (vhd_open(path, &options, &image, NULL))
		crash_fail(t, "cannot open to fill", 0);
	for (unsigned s = crash_random(step); s < crash_sectors(&t->model, size);
	     s += 1 + crash_random(step)) {
		for (unsigned i = 0; i < SECTOR / 4; i++)
			buf[i] = t->next_value;
		t->model.sector[s].version[0].value = t->next_value++;
		if (vhd_pwrite(image, buf, SECTOR, crash_sector_place(&t->model, s)))
			crash_fail(t, "cannot fill", 0);
	}
	if (vhd_close(image))
		crash_fail(t, "cannot fill", 0);
}

/* Small blocks of a VHD lie close together, the smallest make a table of two sectors; those
 * of a VHDX are 1 MiB at least, with a group in each. */
static void groups_place(struct test *t)
{
	for (unsigned g = 0; g < CRASH_GROUPS; g++) {
		uint64_t place = g * GROUP * (uint64_t)SECTOR;

		if (t->kind->format == VHD_FORMAT_VHDX)
			place = g * (uint64_t)MIB;
		if (t->kind->far && g > 4)
			place += (t->kind->far - 6) * (uint64_t)MIB;
		t->model.group_place[g] = place;
	}
}

static void test_create(struct test *t)
{
	static const uint32_t block_sizes[] = { 512, 4096, 8192, 16384 };
	struct vhd_create_options options = VHD_CREATE_OPTIONS_INIT;
	bool child = t->kind->type == VHD_TYPE_DIFFERENCING;
	unsigned sector = t->kind->resize ? crash_random(SECTORS) : SECTORS - 1;

	options.format = t->kind->format;
	options.flags = VHD_CREATE_SPARSE;
	options.type = child ? VHD_TYPE_DYNAMIC : t->kind->type;
	options.virtual_size = crash_sector_place(&t->model, sector) + SECTOR;
	options.block_size = block_sizes[crash_random(4)];
	if (t->kind->format == VHD_FORMAT_VHDX)
		options.block_size = MIB;
	crash_history_add(&t->model.size, options.virtual_size, 0);
	crash_history_done(&t->model.size);
	crash_history_confirm(&t->model.size, 1, 0);
	if (child) {
		if (vhd_create(t->parent, &options, NULL))
			crash_fail(t, "cannot create the parent", 0);
		fill(t, t->parent, 3);
		options.type = t->kind->type;
		options.parent = t->parent;
		if (t->kind->format == VHD_FORMAT_VHD)
			options.block_size = block_sizes[crash_random(4)];
	}
	if (vhd_create(t->file.path, &options, NULL))
		crash_fail(t, "cannot create", 0);
	if (crash_random(2))
		fill(t, t->file.path, 40);
	crash_file_load(&t->live, t->file.path);
	crash_file_load(&t->cut, t->file.path);
}

static void test_init(struct test *t, unsigned seed)
{
	memset(t, 0, sizeof(*t));
	t->seed = seed;
	t->kind = &kinds[seed % KINDS];
	t->next_value = 1;
	srandom(seed);
	image_file_init(&t->file);
	crash_file_init(&t->live);
	crash_file_init(&t->cut);
	snprintf(t->parent, sizeof(t->parent), "%s/parent", t->file.dir);
	groups_place(t);
	for (unsigned s = 0; s < SECTORS; s++) {
		crash_history_add(&t->model.sector[s], 0, 0);
		crash_history_done(&t->model.sector[s]);
	}
	test_create(t);
}

static void test_fini(struct test *t)
{
	crash_log_free(&t->log);
	crash_file_fini(&t->live);
	crash_file_fini(&t->cut);
	image_file_fini(&t->file);
}

/* A table of 1 MiB takes its time to be read: fewer points. */
static long test_run(unsigned seed, int subsets)
{
	static struct test t;

	test_init(&t, seed);
	crash_work(&t, t.kind->far ? 20 : 60);
	crash_cut(&t, t.kind->far ? FEW_SUBSETS : subsets);
	test_fini(&t);
	return t.points;
}

int main(int argc, char **argv)
{
	unsigned seed = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
	long want = argc > 2 ? atol(argv[2]) : image_cases("VHD_CRASH_POINTS", 100000, 15000);
	long have = 0;
	unsigned first = seed;

	/* Memory that goes back to the kernel with each of 100,000 images comes as slowly. */
	mallopt(M_MMAP_THRESHOLD, CRASH_FILE_MAX);
	mallopt(M_TRIM_THRESHOLD, CRASH_FILE_MAX);
	for (; have < want; seed++)
		have += test_run(seed, want < 50000 ? FEW_SUBSETS : SUBSETS);
	printf("%ld crash points, seeds %u to %u\n", have, first, seed - 1);
	return 0;
}
