/* SPDX-License-Identifier: MIT */
/* Power cuts while a whole image is worked on: compact, merge, rebase, repair. Every write
 * to any of the files is recorded; the files are then built as they may be found
 * after a cut at each point: of each file all that was done before its last sync, and
 * of what was done since any part, sector by sector. The image must open, show no
 * damage, and read as it did; and the job must work when it is started again.
 *
 * maintain-crash [FIRST-SEED [POINTS]] */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vhd/maintain.h>

#include "image-file.h"

enum {
	SECTOR = 512,
	PER_BLOCK = 8, /* sectors of a block that are ever written to */
	SECTORS = 160,
	LOG_MAX = 4096,
	FILE_MAX = 12 << 20,
	FILES = 3,
	SUBSETS = 6, /* random ones at each point */
	GRAIN = 4096,
};

enum job { COMPACT, COMPACT_CHILD, MERGE, REBASE, REBASE_UNSAFE, REPAIR, JOBS };

static const char *const job_names[JOBS] = { "compact", "compact a child", "merge",
					     "rebase",	"rebase --unsafe", "check --repair" };

struct entry {
	int file;
	enum vhd_io_op op;
	uint64_t offset, length;
	uint8_t *data;
};

struct bytes {
	uint64_t size;
	uint8_t data[FILE_MAX];
};

struct test {
	unsigned seed;
	enum job job;
	enum vhd_format format;
	uint32_t block_size;
	unsigned sectors;
	struct image_file dir;
	char path[FILES][80]; /* the parent, the other parent, the image */
	ino_t inode[FILES];
	struct entry log[LOG_MAX];
	int log_count;
	uint32_t want[2][SECTORS]; /* what the image reads; unsafe: or that */
	uint32_t next_value;
	long points;
};

enum { PARENT, OTHER, IMAGE };

static struct bytes base[FILES], crashed[FILES];

static void fail(const struct test *t, const char *what, int point)
{
	printf("seed %u (%s %s): %s at point %d of %d; images left in %s\n", t->seed,
	       vhd_format_name(t->format), job_names[t->job], what, point, t->log_count,
	       t->dir.dir);
	exit(1);
}

static unsigned random_below(unsigned limit)
{
	return (unsigned)random() % limit;
}

static uint64_t sector_place(const struct test *t, unsigned sector)
{
	return (uint64_t)(sector / PER_BLOCK) * t->block_size + sector % PER_BLOCK * SECTOR;
}

/* -- The recorder ------------------------------------------------------------------- */

static int file_of(const struct test *t, const struct vhd_io *io)
{
	struct stat st;

	if (fstat(io->file->fd, &st) < 0)
		abort();
	for (int i = 0; i < FILES; i++)
		if (t->inode[i] == st.st_ino)
			return i;
	abort();
}

static int record(void *opaque, struct vhd_io *io)
{
	struct test *t = opaque;
	struct entry *e = &t->log[t->log_count];
	int result = vhd_io_sync.submit(NULL, io);
	size_t at = 0;

	if (io->op == VHD_IO_READ || result < 0)
		return result;
	if (t->log_count == LOG_MAX)
		fail(t, "log is full", 0);
	*e = (struct entry){ file_of(t, io), io->op, io->offset, io->length, NULL };
	if (io->op == VHD_IO_WRITE) {
		e->length = (uint64_t)result;
		e->data = malloc(e->length + 1);
		for (int i = 0; i < io->niov && at < e->length; i++) {
			size_t n = io->iov[i].iov_len;

			n = n < e->length - at ? n : e->length - at;
			memcpy(e->data + at, io->iov[i].iov_base, n);
			at += n;
		}
	}
	t->log_count++;
	return result;
}

static const struct vhd_io_ops record_ops = { sizeof(record_ops), record };

/* -- The images ---------------------------------------------------------------------- */

/* Writes new values to about one sector of @of, and zeros to as many. */
static void fill(struct test *t, const char *path, uint32_t *want, unsigned of)
{
	struct vhd_image *image;
	uint32_t buf[SECTOR / 4];

	if (vhd_open(path, NULL, &image, NULL))
		fail(t, "cannot open to fill", 0);
	for (unsigned s = 0; s < t->sectors; s++) {
		unsigned what = random_below(2 * of);

		if (what > 1)
			continue;
		want[s] = what ? t->next_value++ : 0;
		for (unsigned i = 0; i < SECTOR / 4; i++)
			buf[i] = want[s];
		if (vhd_pwrite(image, buf, SECTOR, sector_place(t, s)))
			fail(t, "cannot fill", 0);
	}
	/* And a block that is all zeros again. */
	if (vhd_write_zeroes(image, 0, t->block_size))
		fail(t, "cannot fill", 0);
	memset(want, 0, PER_BLOCK * sizeof(*want));
	if (vhd_close(image))
		fail(t, "cannot fill", 0);
}

static void image_create(struct test *t, int which, const char *parent)
{
	struct vhd_create_options options = VHD_CREATE_OPTIONS_INIT;
	struct vhd_error err;

	options.format = t->format;
	options.type = parent ? VHD_TYPE_DIFFERENCING : VHD_TYPE_DYNAMIC;
	options.virtual_size = (uint64_t)t->sectors / PER_BLOCK * t->block_size;
	options.block_size = t->block_size;
	options.parent = parent;
	if (vhd_create(t->path[which], &options, &err))
		fail(t, err.text, 0);
}

static void file_load(const struct test *t, int which, struct bytes *b)
{
	struct image_file f;

	snprintf(f.path, sizeof(f.path), "%s", t->path[which]);
	b->size = image_file_size(&f);
	if (b->size > FILE_MAX)
		abort();
	image_file_read(&f, b->data, b->size, 0);
}

/* What a crash of its own may have left behind. */
static void spoil(const struct test *t)
{
	struct image_file f;
	uint8_t junk[4096];

	memset(junk, 0xa5, sizeof(junk));
	snprintf(f.path, sizeof(f.path), "%s", t->path[IMAGE]);
	image_file_write(&f, junk, sizeof(junk), image_file_size(&f));
}

static void images_create(struct test *t)
{
	bool child = t->job != COMPACT && t->job != REPAIR;
	uint32_t other[SECTORS] = { 0 };
	struct stat st;

	image_create(t, PARENT, NULL);
	fill(t, t->path[PARENT], t->want[0], 3);
	image_create(t, OTHER, NULL);
	fill(t, t->path[OTHER], other, 3);
	if (!child)
		memset(t->want, 0, sizeof(t->want));
	image_create(t, IMAGE, child ? t->path[PARENT] : NULL);
	fill(t, t->path[IMAGE], t->want[0], child ? 10 : 3);
	if (t->job == REPAIR)
		spoil(t);
	for (int i = 0; i < FILES; i++) {
		if (stat(t->path[i], &st) < 0)
			abort();
		t->inode[i] = st.st_ino;
		file_load(t, i, &base[i]);
	}
}

/* -- The jobs ------------------------------------------------------------------------- */

static int job_run(struct test *t, const struct vhd_io_ops *ops, struct vhd_error *err)
{
	struct vhd_open_options open = VHD_OPEN_OPTIONS_INIT;
	struct vhd_task task = VHD_TASK_INIT;
	struct vhd_check check = VHD_CHECK_INIT;

	open.io = ops;
	open.io_opaque = t;
	task.open = &open;
	switch (t->job) {
	case COMPACT:
	case COMPACT_CHILD:
		return vhd_compact(t->path[IMAGE], &task, NULL, err);
	case MERGE:
		return vhd_merge(t->path[IMAGE], &task, err);
	case REBASE:
		return vhd_rebase(t->path[IMAGE], t->path[OTHER], 0, &task, err);
	case REBASE_UNSAFE:
		return vhd_rebase(t->path[IMAGE], t->path[OTHER], VHD_REBASE_UNSAFE, &task, err);
	default:
		check.flags = VHD_CHECK_REPAIR;
		return vhd_check(t->path[IMAGE], &task, &check, err);
	}
}

static bool image_reads(const struct test *t, const char *path, const uint32_t *want)
{
	uint32_t buf[PER_BLOCK * SECTOR / 4];
	struct vhd_image *image;
	struct vhd_error err;
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	bool same = true;

	options.flags = VHD_OPEN_READ_ONLY;
	if (vhd_open(path, &options, &image, &err)) {
		printf("%s\n", err.text);
		return false;
	}
	for (unsigned s = 0; same && s < t->sectors; s += PER_BLOCK) {
		same = vhd_pread(image, buf, sizeof(buf), sector_place(t, s)) == 0;
		for (unsigned i = 0; i < PER_BLOCK * SECTOR / 4; i++)
			same &= buf[i] == want[s + i / (SECTOR / 4)];
	}
	vhd_close(image);
	return same;
}

static bool image_sound(const char *path)
{
	struct vhd_check check = VHD_CHECK_INIT;
	struct vhd_error err;

	if (vhd_check(path, NULL, &check, &err))
		return false;
	return check.count[VHD_FINDING_DAMAGE] == 0;
}

static void result_check(struct test *t, int point)
{
	if (!image_reads(t, t->path[IMAGE], t->want[0]) &&
	    (t->job != REBASE_UNSAFE || !image_reads(t, t->path[IMAGE], t->want[1])))
		fail(t, "the image reads otherwise", point);
	if (!image_sound(t->path[IMAGE]))
		fail(t, "the image is damaged", point);
	if (t->job == MERGE && !image_sound(t->path[PARENT]))
		fail(t, "the parent is damaged", point);
}

static void again_check(struct test *t, int point)
{
	struct vhd_error err;

	if (job_run(t, &vhd_io_sync, &err))
		fail(t, err.text, point);
	result_check(t, point);
	if (t->job == MERGE && !image_reads(t, t->path[PARENT], t->want[0]))
		fail(t, "the parent does not read as its child", point);
}

/* -- Crashes --------------------------------------------------------------------------- */

static void bytes_resize(struct bytes *b, uint64_t size)
{
	if (size > FILE_MAX)
		abort();
	if (size > b->size)
		memset(b->data + b->size, 0, size - b->size);
	b->size = size;
}

/* Does @e to its file; with @torn each sector of it by chance. */
static void entry_apply(const struct entry *e, struct bytes *b, bool torn)
{
	if (e->op == VHD_IO_TRUNCATE)
		bytes_resize(b, e->length);
	if (e->op != VHD_IO_WRITE && e->op != VHD_IO_PUNCH)
		return;
	for (uint64_t at = 0, n; at < e->length; at += n) {
		uint64_t end;

		n = e->length - at < SECTOR ? e->length - at : SECTOR;
		end = e->offset + at + n;
		if (torn && random_below(2))
			continue;
		if (e->op == VHD_IO_WRITE && end > b->size)
			bytes_resize(b, end);
		if (e->op == VHD_IO_WRITE)
			memcpy(b->data + e->offset + at, e->data + at, n);
		else if (end <= b->size)
			memset(b->data + e->offset + at, 0, n);
	}
}

static void file_store(const struct test *t, int which, const struct bytes *b)
{
	int fd = open(t->path[which], O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)b->size) < 0)
		abort();
	for (uint64_t at = 0; at < b->size; at += GRAIN) {
		size_t n = b->size - at < GRAIN ? b->size - at : GRAIN;
		const uint8_t *p = b->data + at;

		if ((p[0] || memcmp(p, p + 1, n - 1) != 0) &&
		    pwrite(fd, p, n, (off_t)at) != (ssize_t)n)
			abort();
	}
	close(fd);
}

/* @chance of 4 that an entry that no sync has confirmed is there; 4: all of them. */
static void crash_build(struct test *t, const int *synced, int point, unsigned chance)
{
	for (int f = 0; f < FILES; f++) {
		crashed[f].size = base[f].size;
		memcpy(crashed[f].data, base[f].data, base[f].size);
	}
	for (int i = 0; i < point; i++) {
		const struct entry *e = &t->log[i];

		if (i >= synced[e->file] && random_below(4) < chance)
			entry_apply(e, &crashed[e->file], chance < 4 && random_below(2));
	}
	for (int f = 0; f < FILES; f++)
		file_store(t, f, &crashed[f]);
}

static void crashes_run(struct test *t)
{
	int synced[FILES] = { 0 };

	for (int point = 0; point <= t->log_count; point++) {
		const struct entry *e = &t->log[point];

		for (int i = 0; i <= SUBSETS; i++) {
			crash_build(t, synced, point, i == 0 ? 4 : 1 + random_below(3));
			result_check(t, point);
			if (i == 1 && random_below(4) == 0)
				again_check(t, point);
			t->points++;
		}
		if (point == t->log_count || e->op != VHD_IO_DATASYNC)
			continue;
		for (; synced[e->file] < point; synced[e->file]++)
			if (t->log[synced[e->file]].file == e->file)
				entry_apply(&t->log[synced[e->file]], &base[e->file], false);
	}
}

/* An unsafe rebase shows what the other parent has, where the image has nothing. */
static void unsafe_expect(struct test *t)
{
	uint32_t buf[SECTOR / 4];
	struct vhd_image *image;

	if (vhd_open(t->path[IMAGE], NULL, &image, NULL))
		fail(t, "cannot open after the job", 0);
	for (unsigned s = 0; s < t->sectors; s++) {
		if (vhd_pread(image, buf, SECTOR, sector_place(t, s)))
			fail(t, "cannot read after the job", 0);
		t->want[1][s] = buf[0];
	}
	vhd_close(image);
}

static long test_run(unsigned seed, enum job job, enum vhd_format format)
{
	static struct test t;
	struct vhd_error err;

	memset(&t, 0, sizeof(t));
	t.seed = seed;
	t.job = job;
	t.format = format;
	t.next_value = 1;
	srandom(seed);
	t.block_size = format == VHD_FORMAT_VHD ? 4096u << random_below(2) : 1u << 20;
	t.sectors = format == VHD_FORMAT_VHD ? SECTORS : 4 * PER_BLOCK;
	image_file_init(&t.dir);
	for (int i = 0; i < FILES; i++)
		snprintf(t.path[i], sizeof(t.path[i]), "%s/%s", t.dir.dir,
			 i == PARENT ? "parent" : i == OTHER ? "other" : "image");
	images_create(&t);
	if (job_run(&t, &record_ops, &err))
		fail(&t, err.text, 0);
	if (job == REBASE_UNSAFE)
		unsafe_expect(&t);
	crashes_run(&t);
	again_check(&t, t.log_count);
	for (int i = 0; i < t.log_count; i++)
		free(t.log[i].data);
	image_file_fini(&t.dir);
	return t.points;
}

int main(int argc, char **argv)
{
	const char *points = getenv("VHD_MAINTAIN_CRASH_POINTS");
	unsigned seed = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
	long want = argc > 2 ? atol(argv[2]) : points ? atol(points) : 3000;
	long have = 0;
	unsigned first = seed;

	/* Thousands of small files: in memory, if the caller says nothing else. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	for (; have < want; seed++)
		have += test_run(seed, seed % JOBS,
				 seed / JOBS % 2 ? VHD_FORMAT_VHDX : VHD_FORMAT_VHD);
	printf("%ld crash points, seeds %u to %u\n", have, first, seed - 1);
	return 0;
}
