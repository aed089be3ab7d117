/* SPDX-License-Identifier: MIT */
/* Threads that write, read and flush one dynamic image at once, all of them in
 * the same blocks: each must find its own sectors as it wrote them. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "image-file.h"

enum { THREADS = 4, ROUNDS = 3000, BLOCK = 64 << 10, SIZE = 32 << 20 };

struct worker {
	struct vhd_image *image;
	unsigned id;
	unsigned failed;
	uint8_t value[SIZE / 512 / THREADS];
};

/* Sector number @n of this worker: the workers' sectors lie in turns. */
static uint64_t worker_sector(const struct worker *w, unsigned n)
{
	return ((uint64_t)n * THREADS + w->id) * 512;
}

static void worker_check(struct worker *w, unsigned n)
{
	uint8_t buf[512];

	if (vhd_pread(w->image, buf, 512, worker_sector(w, n)) || buf[0] != w->value[n] ||
	    buf[511] != w->value[n])
		w->failed++;
}

static void *worker_main(void *opaque)
{
	struct worker *w = opaque;
	unsigned state = w->id + 1;
	uint8_t buf[512];

	for (int i = 0; i < ROUNDS; i++) {
		unsigned n = (unsigned)rand_r(&state) % (SIZE / 512 / THREADS);

		w->value[n] = (uint8_t)(1 + rand_r(&state) % 255);
		memset(buf, w->value[n], sizeof(buf));
		if (vhd_pwrite(w->image, buf, 512, worker_sector(w, n)))
			w->failed++;
		worker_check(w, (unsigned)rand_r(&state) % (SIZE / 512 / THREADS));
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
		for (unsigned n = 0; n < SIZE / 512 / THREADS; n++)
			worker_check(&w[i], n);
		failed += w[i].failed;
	}
	return failed;
}

int main(void)
{
	static struct worker w[THREADS];
	pthread_t thread[THREADS];
	struct vhd_image *image;
	struct image_file file;
	unsigned failed;

	image_file_init(&file);
	image_file_create(&file, VHD_FORMAT_VHD, VHD_TYPE_DYNAMIC, SIZE, BLOCK);
	if (vhd_open(file.path, NULL, &image, NULL))
		return 1;
	for (unsigned i = 0; i < THREADS; i++) {
		w[i].image = image;
		w[i].id = i;
		pthread_create(&thread[i], NULL, worker_main, &w[i]);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	failed = workers_check(w, image);
	if (vhd_close(image) || vhd_open(file.path, NULL, &image, NULL))
		return 1;
	failed += workers_check(w, image);
	vhd_close(image);
	image_file_fini(&file);
	printf("%u failed\n", failed);
	return failed ? 1 : 0;
}
