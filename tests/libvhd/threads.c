/* SPDX-License-Identifier: MIT */
/* Threads that write, zero, read and flush one image at once, all of them in the same
 * blocks, while another one makes the disk larger: each must find its own sectors as it
 * wrote them, then and after the image was opened again. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "image-file.h"

enum {
	THREADS = 4,
	ROUNDS = 2000,
	SECTOR = 512,
	MIB = 1 << 20,
	SIZE = 24 * MIB,
	STEPS = 40, /* of growing */
	PER_WORKER = SIZE / SECTOR / THREADS,
};

static const struct kind {
	enum vhd_format format;
	enum vhd_type type;
	uint32_t block;
} kinds[] = {
	{ VHD_FORMAT_VHD, VHD_TYPE_DYNAMIC, 64 << 10 },
	{ VHD_FORMAT_VHD, VHD_TYPE_DIFFERENCING, 16 << 10 },
	{ VHD_FORMAT_VHD, VHD_TYPE_FIXED, 0 },
	{ VHD_FORMAT_VHDX, VHD_TYPE_DYNAMIC, MIB },
	{ VHD_FORMAT_VHDX, VHD_TYPE_DIFFERENCING, MIB },
	{ VHD_FORMAT_RAW, VHD_TYPE_FIXED, 0 },
};

struct worker {
	struct vhd_image *image;
	_Atomic uint64_t *size; /* the disk's, as far as it has grown */
	unsigned id;
	unsigned failed;
	uint8_t value[PER_WORKER];
};

/* Sector number @n of this worker: the workers' sectors lie in turns. */
static uint64_t worker_sector(const struct worker *w, unsigned n)
{
	return ((uint64_t)n * THREADS + w->id) * SECTOR;
}

static void worker_check(struct worker *w, unsigned n)
{
	uint8_t buf[SECTOR];

	if (vhd_pread(w->image, buf, SECTOR, worker_sector(w, n)) || buf[0] != w->value[n] ||
	    buf[SECTOR - 1] != w->value[n])
		w->failed++;
}

static void worker_write(struct worker *w, unsigned n, unsigned *state)
{
	uint8_t buf[SECTOR];
	int ret;

	w->value[n] = (uint8_t)(rand_r(state) % 256);
	memset(buf, w->value[n], sizeof(buf));
	if (w->value[n] == 0)
		ret = vhd_write_zeroes(w->image, worker_sector(w, n), SECTOR);
	else
		ret = vhd_pwrite(w->image, buf, SECTOR, worker_sector(w, n));
	if (ret)
		w->failed++;
}

static void *worker_main(void *opaque)
{
	struct worker *w = opaque;
	unsigned state = w->id + 1;

	for (int i = 0; i < ROUNDS; i++) {
		unsigned most = (unsigned)(atomic_load(w->size) / SECTOR / THREADS);

		worker_write(w, (unsigned)rand_r(&state) % most, &state);
		worker_check(w, (unsigned)rand_r(&state) % most);
		if (i % 64 == 0 && vhd_flush(w->image))
			w->failed++;
	}
	return NULL;
}

static unsigned workers_check(struct worker *w, struct vhd_image *image)
{
	unsigned failed = 0;

	for (unsigned i = 0; i < THREADS; i++) {
		w[i].image = image;
		for (unsigned n = 0; n < PER_WORKER; n++)
			worker_check(&w[i], n);
		failed += w[i].failed;
	}
	return failed;
}

static unsigned disk_grow(struct vhd_image *image, _Atomic uint64_t *size)
{
	uint64_t first = *size;
	unsigned failed = 0;

	for (int i = 1; i <= STEPS; i++) {
		uint64_t next = first + (SIZE - first) * (unsigned)i / STEPS / SECTOR * SECTOR;

		failed += vhd_resize(image, next, 0, NULL) != 0;
		atomic_store(size, next);
	}
	return failed;
}

static unsigned workers_run(struct worker *w, struct vhd_image *image)
{
	_Atomic uint64_t size = MIB;
	pthread_t thread[THREADS];
	unsigned failed;

	for (unsigned i = 0; i < THREADS; i++) {
		w[i] = (struct worker){ .image = image, .size = &size, .id = i };
		pthread_create(&thread[i], NULL, worker_main, &w[i]);
	}
	failed = disk_grow(image, &size);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	return failed + workers_check(w, image);
}

static void kind_create(const struct kind *k, struct image_file *file)
{
	struct vhd_create_options options = VHD_CREATE_OPTIONS_INIT;
	char parent[96];

	image_file_init(file);
	snprintf(parent, sizeof(parent), "%s/parent", file->dir);
	options.format = k->format;
	options.type = k->type;
	options.block_size = k->block;
	options.virtual_size = MIB;
	options.flags = VHD_CREATE_SPARSE;
	if (k->type == VHD_TYPE_DIFFERENCING) {
		options.type = VHD_TYPE_DYNAMIC;
		if (vhd_create(parent, &options, NULL))
			abort();
		options.type = k->type;
		options.parent = parent;
	}
	if (vhd_create(file->path, &options, NULL))
		abort();
}

static unsigned kind_run(const struct kind *k)
{
	static struct worker w[THREADS];
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct vhd_image *image;
	struct image_file file;
	unsigned failed;

	kind_create(k, &file);
	options.format = k->format;
	options.io = &image_io_unsynced;
	if (vhd_open(file.path, &options, &image, NULL))
		return 1;
	failed = workers_run(w, image);
	if (vhd_close(image) || vhd_open(file.path, &options, &image, NULL))
		return 1;
	failed += workers_check(w, image);
	vhd_close(image);
	image_file_fini(&file);
	printf("%s %s: %u failed\n", vhd_format_name(k->format), vhd_type_name(k->type), failed);
	return failed;
}

int main(void)
{
	unsigned failed = 0;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		failed += kind_run(&kinds[i]);
	return failed ? 1 : 0;
}
