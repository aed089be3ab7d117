/* SPDX-License-Identifier: MIT */
/* Power cuts. A recorder under the image keeps every write, hole, truncation and
 * sync in the order they were done. The file is then built as it may be found
 * after a cut at each point: all that was done before the last sync, and of what
 * was done since any part, sector by sector. It must open, every sector must hold
 * what it held at the last confirmed flush or something written after that, and
 * no other sector may change.
 *
 * crash [FIRST-SEED [POINTS]] */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "image-file.h"

enum {
	SECTOR = 512,
	SECTORS = 160,
	IN_FLIGHT = 6,
	REQUESTS = 60,
	LOG_MAX = 4096,
	VERSIONS = 64,
	FILE_MAX = 16 << 20,
	GROUP = 20, /* a VHDX has so many of the sectors in each of its blocks of 1 MiB */
	LENGTH_MAX = 24, /* sectors of a request */
	SUBSETS = 12,	 /* random ones at each point */
	GRAIN = 4096,
	NEVER = LOG_MAX + 1,
};

struct entry {
	enum vhd_io_op op;
	uint64_t offset; /* sync: the length of the log when it began */
	uint64_t length;
	uint8_t *data;
};

struct version {
	uint32_t value;	   /* what the sector is filled with; 0: zeros */
	int submitted;	   /* at this length of the log */
	int durable;	   /* confirmed by a flush at this length of the log */
	bool done;
};

struct bytes {
	uint64_t size;
	uint8_t data[FILE_MAX];
};

struct slot {
	struct vhd_request request;
	struct iovec iov;
	struct test *test;
	uint32_t buf[LENGTH_MAX * SECTOR / 4];
	bool busy;
	unsigned covered[SECTORS]; /* flush: versions done when it was submitted */
};

struct test {
	unsigned seed;
	enum vhd_format format;
	enum vhd_type type;
	struct image_file file;
	char parent[96];
	struct entry log[LOG_MAX];
	int log_count;
	struct vhd_io *pending[IN_FLIGHT];
	int pending_count;
	struct slot slot[IN_FLIGHT];
	struct version version[SECTORS][VERSIONS];
	unsigned versions[SECTORS];
	uint32_t next_value;
	long points;
};

static struct bytes base, crashed;

static void fail(const struct test *t, const char *what, int point)
{
	printf("seed %u (%s %s): %s at point %d of %d; image left in %s\n", t->seed,
	       vhd_format_name(t->format), vhd_type_name(t->type), what, point, t->log_count,
	       t->file.dir);
	exit(1);
}

static unsigned random_below(unsigned limit)
{
	return (unsigned)random() % limit;
}

/* Where on the disk a sector is. */
static uint64_t sector_place(const struct test *t, unsigned sector)
{
	if (t->format == VHD_FORMAT_VHD)
		return (uint64_t)sector * SECTOR;
	return ((uint64_t)(sector / GROUP) << 20) + sector % GROUP * SECTOR;
}

static unsigned place_sector(const struct test *t, uint64_t place)
{
	if (t->format == VHD_FORMAT_VHD)
		return (unsigned)(place / SECTOR);
	return (unsigned)(place >> 20) * GROUP + (unsigned)(place % (1 << 20) / SECTOR);
}

/* -- The recorder ----------------------------------------------------------- */

static void record(struct test *t, const struct vhd_io *io, int result)
{
	struct entry *e = &t->log[t->log_count];
	size_t at = 0;

	if (io->op == VHD_IO_READ || result < 0)
		return;
	if (t->log_count == LOG_MAX)
		fail(t, "log is full", 0);
	*e = (struct entry){ .op = io->op, .offset = io->offset, .length = io->length };
	if (io->op == VHD_IO_DATASYNC)
		e->offset = (uint64_t)(uintptr_t)io->adapter[0];
	if (io->op == VHD_IO_WRITE) {
		e->length = (uint64_t)result;
		e->data = malloc(e->length);
		for (int i = 0; i < io->niov && at < e->length; i++) {
			size_t n = io->iov[i].iov_len;

			memcpy(e->data + at, io->iov[i].iov_base,
			       n < e->length - at ? n : e->length - at);
			at += n;
		}
	}
	t->log_count++;
}

/* A sync covers what was done before it began, not what was done before it ended. */
static void record_begin(const struct test *t, struct vhd_io *io)
{
	io->adapter[0] = (void *)(uintptr_t)t->log_count;
}

static int record_end(struct test *t, struct vhd_io *io)
{
	int result = vhd_io_sync.submit(NULL, io);

	record(t, io, result);
	return result;
}

static int record_now(void *opaque, struct vhd_io *io)
{
	record_begin(opaque, io);
	return record_end(opaque, io);
}

static int record_later(void *opaque, struct vhd_io *io)
{
	struct test *t = opaque;

	record_begin(t, io);
	t->pending[t->pending_count++] = io;
	return -EINPROGRESS;
}

static const struct vhd_io_ops now_ops = { sizeof(now_ops), record_now };
static const struct vhd_io_ops later_ops = { sizeof(later_ops), record_later };

static void io_finish_one(struct test *t)
{
	int which = (int)random_below((unsigned)t->pending_count);
	struct vhd_io *io = t->pending[which];

	t->pending[which] = t->pending[--t->pending_count];
	io->done(io, record_end(t, io));
}

/* -- What may be on the disk ------------------------------------------------- */

static void version_add(struct test *t, unsigned sector, uint32_t value)
{
	if (t->versions[sector] == VERSIONS)
		fail(t, "too many versions", 0);
	t->version[sector][t->versions[sector]++] =
		(struct version){ value, t->log_count, NEVER, false };
}

static void request_done(struct vhd_request *r, int result)
{
	struct slot *slot = r->user;
	struct test *t = slot->test;

	if (result)
		fail(t, "request failed", t->log_count);
	slot->busy = false;
	if (r->op == VHD_OP_FLUSH) {
		for (unsigned s = 0; s < SECTORS; s++)
			for (unsigned v = 0; v < slot->covered[s]; v++)
				if (t->version[s][v].durable == NEVER)
					t->version[s][v].durable = t->log_count;
		return;
	}
	for (unsigned s = place_sector(t, r->offset), n = 0; n < r->length / SECTOR; s++, n++)
		t->version[s][t->versions[s] - 1].done = true;
}

static void versions_confirm(struct test *t)
{
	for (unsigned s = 0; s < SECTORS; s++)
		for (unsigned v = 0; v < t->versions[s]; v++)
			if (t->version[s][v].durable == NEVER)
				t->version[s][v].durable = t->log_count;
}

static bool overlaps_busy(const struct test *t, uint64_t offset, uint64_t length)
{
	for (int i = 0; i < IN_FLIGHT; i++) {
		const struct vhd_request *r = &t->slot[i].request;

		if (t->slot[i].busy && r->op != VHD_OP_FLUSH && offset < r->offset + r->length &&
		    r->offset < offset + length)
			return true;
	}
	return false;
}

static void slot_fill(struct test *t, struct slot *slot)
{
	struct vhd_request *r = &slot->request;
	unsigned first = random_below(SECTORS), count = 1 + random_below(LENGTH_MAX);
	unsigned what = random_below(10);

	if (first + count > SECTORS)
		count = SECTORS - first;
	if (t->format == VHD_FORMAT_VHDX && first % GROUP + count > GROUP)
		count = GROUP - first % GROUP;
	memset(r, 0, sizeof(*r));
	r->op = what < 2 ? VHD_OP_FLUSH : what == 2 ? VHD_OP_WRITE_ZEROES :
		what == 3 ? VHD_OP_DISCARD : VHD_OP_WRITE;
	if (overlaps_busy(t, sector_place(t, first), count * SECTOR))
		r->op = VHD_OP_FLUSH;
	for (unsigned s = 0; s < SECTORS && r->op == VHD_OP_FLUSH; s++)
		for (slot->covered[s] = 0; slot->covered[s] < t->versions[s] &&
					   t->version[s][slot->covered[s]].done;)
			slot->covered[s]++;
	if (r->op != VHD_OP_FLUSH) {
		r->offset = sector_place(t, first);
		r->length = count * SECTOR;
		for (unsigned s = 0; s < count; s++) {
			uint32_t value = r->op == VHD_OP_WRITE ? t->next_value++ : 0;

			for (unsigned i = 0; i < SECTOR / 4; i++)
				slot->buf[s * SECTOR / 4 + i] = value;
			version_add(t, first + s, value);
		}
	}
	slot->iov = (struct iovec){ slot->buf, r->length };
	r->iov = &slot->iov;
	r->niov = 1;
	r->done = request_done;
	r->user = slot;
}

static void workload_run(struct test *t, struct vhd_queue *queue)
{
	for (int sent = 0; sent < REQUESTS || t->pending_count > 0;) {
		struct slot *slot = &t->slot[random_below(IN_FLIGHT)];
		int ret;

		if (sent == REQUESTS || slot->busy || random_below(3) == 0) {
			if (t->pending_count)
				io_finish_one(t);
			continue;
		}
		slot->test = t;
		slot_fill(t, slot);
		slot->busy = true;
		sent++;
		ret = vhd_submit(queue, &slot->request);
		if (ret != -EINPROGRESS)
			request_done(&slot->request, ret);
	}
}

/* -- Crashes ------------------------------------------------------------------ */

static void bytes_resize(struct bytes *b, uint64_t size)
{
	if (size > FILE_MAX)
		abort();
	if (size > b->size)
		memset(b->data + b->size, 0, size - b->size);
	b->size = size;
}

/* Does @e to the file; with @torn each sector of it by chance. */
static void entry_apply(const struct entry *e, struct bytes *b, bool torn)
{
	if (e->op == VHD_IO_DATASYNC)
		return;
	if (e->op == VHD_IO_TRUNCATE)
		bytes_resize(b, e->length);
	for (uint64_t at = 0; e->op != VHD_IO_TRUNCATE && at < e->length; at += SECTOR) {
		uint64_t n = e->length - at < SECTOR ? e->length - at : SECTOR;
		uint64_t end = e->offset + at + n;

		if (torn && random_below(2))
			continue;
		if (e->op == VHD_IO_WRITE) {
			if (end > b->size)
				bytes_resize(b, end);
			memcpy(b->data + e->offset + at, e->data + at, n);
		} else if (end <= b->size) {
			memset(b->data + e->offset + at, 0, n);
		}
	}
}

/* @chance of 4 that an entry since the last sync is there; 4: all of them. */
static void crash_build(const struct test *t, int synced, int point, unsigned chance)
{
	crashed.size = base.size;
	memcpy(crashed.data, base.data, base.size);
	for (int i = synced; i < point; i++)
		if (random_below(4) < chance)
			entry_apply(&t->log[i], &crashed, chance < 4 && random_below(2));
}

static bool sector_allowed(const struct test *t, unsigned sector, int point, const uint32_t *data)
{
	bool found = false;

	for (unsigned i = 1; i < SECTOR / 4; i++)
		if (data[i] != data[0])
			return false;
	for (unsigned v = 0; v < t->versions[sector]; v++) {
		const struct version *k = &t->version[sector][v];

		if (k->submitted > point)
			break;
		if (k->durable <= point)
			found = false; /* nothing older may be seen */
		found |= k->value == data[0];
	}
	return found;
}

/* Only what is not zero: a VHDX is mostly nothing. */
static void file_fill(int fd)
{
	for (uint64_t at = 0; at < crashed.size; at += GRAIN) {
		size_t n = crashed.size - at < GRAIN ? crashed.size - at : GRAIN;
		const uint8_t *p = crashed.data + at;

		if ((p[0] || memcmp(p, p + 1, n - 1) != 0) &&
		    pwrite(fd, p, n, (off_t)at) != (ssize_t)n)
			abort();
	}
}

static void crash_check(struct test *t, int point)
{
	static uint32_t disk[SECTORS * SECTOR / 4];
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct vhd_image *image;
	struct vhd_error err;
	int fd = open(t->file.path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)crashed.size) < 0)
		abort();
	file_fill(fd);
	close(fd);
	for (int writable = 0; writable < 2; writable++) {
		options.flags = writable ? 0 : VHD_OPEN_READ_ONLY;
		if (vhd_open(t->file.path, &options, &image, &err))
			fail(t, err.text, point);
		for (unsigned s = 0; s < SECTORS; s += GROUP)
			if (vhd_pread(image, disk + s * SECTOR / 4, GROUP * SECTOR,
				      sector_place(t, s)))
				fail(t, "read failed", point);
		for (unsigned s = 0; s < SECTORS; s++)
			if (!sector_allowed(t, s, point, disk + s * SECTOR / 4))
				fail(t, "a sector is wrong", point);
		if (vhd_close(image))
			fail(t, "close failed", point);
	}
	t->points++;
}

static void crashes_run(struct test *t)
{
	int synced = 0;

	for (int point = 0; point <= t->log_count; point++) {
		crash_build(t, synced, point, 4);
		crash_check(t, point);
		for (int i = 0; point > synced && i < SUBSETS; i++) {
			crash_build(t, synced, point, 1 + random_below(3));
			crash_check(t, point);
		}
		if (point < t->log_count && t->log[point].op == VHD_IO_DATASYNC) {
			for (; synced < (int)t->log[point].offset; synced++)
				entry_apply(&t->log[synced], &base, false);
		}
	}
}

/* -- One run ------------------------------------------------------------------- */

static void fill(struct test *t, const char *path, unsigned step)
{
	struct vhd_image *image;
	uint32_t buf[SECTOR / 4];

	if (vhd_open(path, NULL, &image, NULL))
		fail(t, "cannot open to fill", 0);
	for (unsigned s = random_below(step); s < SECTORS; s += 1 + random_below(step)) {
		for (unsigned i = 0; i < SECTOR / 4; i++)
			buf[i] = t->next_value;
		t->version[s][0].value = t->next_value++;
		if (vhd_pwrite(image, buf, SECTOR, sector_place(t, s)))
			fail(t, "cannot fill", 0);
	}
	if (vhd_close(image))
		fail(t, "cannot fill", 0);
}

static void test_create(struct test *t)
{
	static const uint32_t block_sizes[] = { 4096, 8192, 16384 };
	struct vhd_create_options options = VHD_CREATE_OPTIONS_INIT;

	options.format = t->format;
	options.type = VHD_TYPE_DYNAMIC;
	options.virtual_size = SECTORS * SECTOR;
	options.block_size = block_sizes[random_below(3)];
	if (t->format == VHD_FORMAT_VHDX) {
		options.virtual_size = SECTORS / GROUP << 20;
		options.block_size = 1 << 20;
	}
	if (t->type == VHD_TYPE_DIFFERENCING) {
		if (vhd_create(t->parent, &options, NULL))
			fail(t, "cannot create the parent", 0);
		fill(t, t->parent, 3);
		options.type = t->type;
		options.parent = t->parent;
		options.block_size = block_sizes[random_below(3)];
	}
	if (vhd_create(t->file.path, &options, NULL))
		fail(t, "cannot create", 0);
	if (random_below(2))
		fill(t, t->file.path, 40);
	base.size = image_file_size(&t->file);
	image_file_read(&t->file, base.data, base.size, 0);
}

static long test_run(unsigned seed, enum vhd_format format, enum vhd_type type)
{
	static struct test t;
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct vhd_queue *queue = NULL;
	struct vhd_image *image;

	memset(&t, 0, sizeof(t));
	t.seed = seed;
	t.format = format;
	t.type = type;
	t.next_value = 1;
	srandom(seed);
	image_file_init(&t.file);
	snprintf(t.parent, sizeof(t.parent), "%s/parent", t.file.dir);
	for (unsigned s = 0; s < SECTORS; s++)
		t.version[s][t.versions[s]++] = (struct version){ 0, 0, 0, true };
	test_create(&t);
	options.io = &now_ops;
	options.io_opaque = &t;
	if (vhd_open(t.file.path, &options, &image, NULL) ||
	    vhd_queue_new(image, &later_ops, &t, &queue))
		fail(&t, "cannot open", 0);
	workload_run(&t, queue);
	vhd_queue_free(queue);
	if (vhd_close(image))
		fail(&t, "cannot close", 0);
	versions_confirm(&t); /* closing is a flush too */
	crashes_run(&t);
	for (int i = 0; i < t.log_count; i++)
		free(t.log[i].data);
	image_file_fini(&t.file);
	return t.points;
}

int main(int argc, char **argv)
{
	static const struct {
		enum vhd_format format;
		enum vhd_type type;
	} kinds[] = {
		{ VHD_FORMAT_VHD, VHD_TYPE_DYNAMIC },
		{ VHD_FORMAT_VHD, VHD_TYPE_DIFFERENCING },
		{ VHD_FORMAT_VHDX, VHD_TYPE_DYNAMIC },
	};
	const char *points = getenv("VHD_CRASH_POINTS");
	unsigned seed = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
	long want = argc > 2 ? atol(argv[2]) : points ? atol(points) : 25000;
	long have = 0;
	unsigned first = seed;

	/* Thousands of small files: in memory, if the caller says nothing else. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	for (; have < want; seed++)
		have += test_run(seed, kinds[seed % 3].format, kinds[seed % 3].type);
	printf("%ld crash points, seeds %u to %u\n", have, first, seed - 1);
	return 0;
}
