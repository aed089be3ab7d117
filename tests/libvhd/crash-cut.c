/* SPDX-License-Identifier: MIT */
#include "crash.h"

#include <string.h>

#include <vhd/maintain.h>

enum { CHECK_EVERY = 4 };

static int cut_io(void *opaque, struct vhd_io *io)
{
	struct test *t = opaque;

	return crash_is_parent(io) ? vhd_io_sync.submit(NULL, io) : crash_file_io(&t->cut, io);
}

static const struct vhd_io_ops cut_ops = { sizeof(cut_ops), cut_io };

/* All sectors the disk has, with the given one written to as said. */
static void disk_check(const struct test *t, struct vhd_image *image, int point,
		       unsigned written, uint32_t value)
{
	static uint32_t disk[GROUP * SECTOR / 4];
	struct vhd_info info = VHD_INFO_INIT;
	unsigned sectors;

	if (vhd_get_info(image, &info) ||
	    !crash_history_allows(&t->model.size, point, info.virtual_size))
		crash_fail(t, "the size is wrong", point);
	sectors = crash_sectors(&t->model, info.virtual_size);
	for (unsigned s = 0; s < sectors; s++) {
		const uint32_t *data = disk + s % GROUP * SECTOR / 4;
		unsigned count = sectors - s < GROUP ? sectors - s : GROUP;

		if (s % GROUP == 0 && vhd_pread(image, disk, count * SECTOR,
						crash_sector_place(&t->model, s)))
			crash_fail(t, "read failed", point);
		if (memcmp(data, data + 1, SECTOR - 4) != 0)
			crash_fail(t, "a sector is mixed", point);
		if (s == written ? data[0] != value :
				   !crash_history_allows(&t->model.sector[s], point, data[0]))
			crash_fail(t, "a sector is wrong", point);
	}
}

/* Whatever was left behind, another sector must not notice. */
static void disk_write(const struct test *t, struct vhd_image *image, int point)
{
	static uint32_t data[SECTOR / 4];
	struct vhd_info info = VHD_INFO_INIT;
	unsigned sector;

	if (vhd_get_info(image, &info))
		crash_fail(t, "no info", point);
	sector = crash_random(crash_sectors(&t->model, info.virtual_size));
	memset(data, 0xee, sizeof(data));
	if (vhd_pwrite(image, data, SECTOR, crash_sector_place(&t->model, sector)))
		crash_fail(t, "write failed", point);
	disk_check(t, image, point, sector, data[0]);
}

/* What no repair would bring back is damage; leaks and stale copies are not. */
static void structure_check(struct test *t, int point)
{
	struct vhd_check check = VHD_CHECK_INIT;
	struct vhd_task task = VHD_TASK_INIT;
	struct vhd_open_options options;
	struct vhd_error err;

	crash_options(t, &options, &cut_ops, 0);
	task.open = &options;
	if (vhd_check(t->cut.path, &task, &check, &err))
		crash_fail(t, err.text, point);
	if (check.count[VHD_FINDING_DAMAGE])
		crash_fail(t, "check finds damage", point);
}

/* What is in t->cut, as a reader and as a writer find it. */
static void crash_check(struct test *t, int point)
{
	struct vhd_open_options options;
	struct vhd_image *image;
	struct vhd_error err;

	if (point % CHECK_EVERY == 0)
		structure_check(t, point);
	for (int writable = 0; writable < 2; writable++) {
		crash_options(t, &options, &cut_ops, writable ? 0 : VHD_OPEN_READ_ONLY);
		if (vhd_open(t->cut.path, &options, &image, &err))
			crash_fail(t, err.text, point);
		disk_check(t, image, point, SECTORS, 0);
		if (writable)
			disk_write(t, image, point);
		if (vhd_close(image))
			crash_fail(t, "close failed", point);
	}
	t->points++;
}

/* @chance of 4 that an entry since the last sync is there; 4: all of them. */
static void crash_run(struct test *t, int synced, int point, unsigned chance)
{
	crash_file_begin(&t->cut);
	for (int i = synced; i < point; i++)
		if (crash_random(4) < chance)
			crash_entry_apply(&t->log.entry[i], &t->cut,
					  chance < 4 && crash_random(2));
	crash_check(t, point);
	crash_file_undo(&t->cut);
}

void crash_cut(struct test *t, int subsets)
{
	int synced = 0;

	for (int point = 0; point <= t->log.count; point++) {
		crash_run(t, synced, point, 4);
		for (int i = 0; point > synced && i < subsets; i++)
			crash_run(t, synced, point, 1 + crash_random(3));
		if (point < t->log.count && t->log.entry[point].op == VHD_IO_DATASYNC)
			for (; synced < (int)t->log.entry[point].offset; synced++)
				crash_entry_apply(&t->log.entry[synced], &t->cut, false);
	}
}
