/* SPDX-License-Identifier: MIT */
/* vhd-io WHAT FILE OP SIZE SECONDS: one short measurement for bench/vhd, in operations
 * a second. WHAT is "image" (libvhd's queue, 32 requests in flight over plain system
 * calls), "pread" (a bare loop of pread or pwrite on the raw file) or "uring" (a bare
 * io_uring loop, 32 in flight). OP is read, write (at random places), seqread, seqwrite, or
 * first: one write to each 2 MiB of a new image, and a flush. */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <vhd/vhd.h>

enum { DEPTH = 32, BLOCK = 2 << 20, BATCH = 256 };

struct run {
	const char *path;
	bool write, random, first;
	size_t size;
	double seconds;
	uint64_t places, next, seed;
	char *buf;
	uint64_t done;
};

static void fail(const char *what, int error)
{
	fprintf(stderr, "vhd-io: %s: %s\n", what, strerror(error));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* xorshift64: plenty for places, a few cycles */
static uint64_t place_next(struct run *r)
{
	if (r->first)
		return r->next++ * BLOCK;
	if (!r->random)
		return r->next++ % r->places * r->size;
	r->seed ^= r->seed << 13;
	r->seed ^= r->seed >> 7;
	r->seed ^= r->seed << 17;
	return r->seed % r->places * r->size;
}

static bool run_over(const struct run *r, double end)
{
	return r->first ? r->next == r->places : now() >= end;
}

static unsigned batch(const struct run *r)
{
	return r->first ? 1 : BATCH;
}

/* -- libvhd --------------------------------------------------------------------------- */

struct slot {
	struct vhd_request request;
	struct iovec iov;
};

static void slot_run(struct run *r, struct vhd_queue *queue, struct slot *s)
{
	int ret;

	s->request.op = r->write ? VHD_OP_WRITE : VHD_OP_READ;
	s->request.iov = &s->iov;
	s->request.niov = 1;
	s->request.offset = place_next(r);
	s->request.length = r->size;
	ret = vhd_submit(queue, &s->request);
	if (ret)
		fail("submit", -ret);
	r->done++;
}

static void image_run(struct run *r)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct vhd_info info = VHD_INFO_INIT;
	struct vhd_image *image;
	struct vhd_queue *queue;
	struct vhd_error err;
	static struct slot slots[DEPTH];
	double start;

	options.flags = r->write ? 0 : VHD_OPEN_READ_ONLY;
	if (vhd_open(r->path, &options, &image, &err) || vhd_get_info(image, &info) ||
	    vhd_queue_new(image, &vhd_io_sync, NULL, &queue))
		fail(err.text, 0);
	r->places = info.virtual_size / (r->first ? BLOCK : r->size);
	for (unsigned i = 0; i < DEPTH; i++)
		slots[i].iov = (struct iovec){ r->buf + i * r->size, r->size };
	start = now();
	while (!run_over(r, start + r->seconds))
		for (unsigned i = 0; i < batch(r); i++)
			slot_run(r, queue, &slots[i % DEPTH]);
	if (r->first && vhd_flush(image))
		fail("flush", EIO);
	printf("%.6g\n", (double)r->done / (now() - start));
	vhd_queue_free(queue);
	if (vhd_close(image))
		fail("close", EIO);
}

/* -- The bare loops ---------------------------------------------------------------------- */

static int raw_open(struct run *r)
{
	int fd = open(r->path, r->write ? O_RDWR : O_RDONLY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		fail(r->path, errno);
	r->places = (uint64_t)st.st_size / (r->first ? BLOCK : r->size);
	return fd;
}

static void pread_run(struct run *r)
{
	int fd = raw_open(r);
	double start = now();

	while (!run_over(r, start + r->seconds))
		for (unsigned i = 0; i < batch(r); i++) {
			char *buf = r->buf + i % DEPTH * r->size;
			off_t at = (off_t)place_next(r);
			ssize_t n = r->write ? pwrite(fd, buf, r->size, at) :
					       pread(fd, buf, r->size, at);

			if (n != (ssize_t)r->size)
				fail("i/o", errno);
			r->done++;
		}
	if (r->first && fdatasync(fd) < 0)
		fail("sync", errno);
	printf("%.6g\n", (double)r->done / (now() - start));
	close(fd);
}

static void uring_prepare(struct run *r, struct io_uring *ring, int fd, unsigned i)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	char *buf = r->buf + i * r->size;
	uint64_t at = place_next(r);

	if (r->write)
		io_uring_prep_write(sqe, fd, buf, (unsigned)r->size, at);
	else
		io_uring_prep_read(sqe, fd, buf, (unsigned)r->size, at);
	io_uring_sqe_set_data64(sqe, i);
}

static void uring_run(struct run *r)
{
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	int fd = raw_open(r), ret = io_uring_queue_init(DEPTH, &ring, 0);
	double start = now();

	if (ret)
		fail("io_uring", -ret);
	for (unsigned i = 0; i < DEPTH; i++)
		uring_prepare(r, &ring, fd, i);
	while (!run_over(r, start + r->seconds)) {
		unsigned head, n = 0;

		if (io_uring_submit_and_wait(&ring, 1) < 0)
			fail("io_uring_submit", EIO);
		io_uring_for_each_cqe(&ring, head, cqe) {
			if (cqe->res != (int)r->size)
				fail("i/o", cqe->res < 0 ? -cqe->res : EIO);
			uring_prepare(r, &ring, fd, (unsigned)cqe->user_data);
			n++;
		}
		io_uring_cq_advance(&ring, n);
		r->done += n;
	}
	printf("%.6g\n", (double)r->done / (now() - start));
	io_uring_queue_exit(&ring);
	close(fd);
}

int main(int argc, char **argv)
{
	struct run r = { .seed = 88172645463325252u };
	const char *op;

	if (argc != 6)
		return fprintf(stderr, "usage: vhd-io WHAT FILE OP SIZE SECONDS\n"), 2;
	op = argv[3];
	r.path = argv[2];
	r.first = strcmp(op, "first") == 0;
	r.random = strcmp(op, "read") == 0 || strcmp(op, "write") == 0;
	r.write = r.first || strstr(op, "write");
	r.size = (size_t)atol(argv[4]);
	r.seconds = atof(argv[5]);
	if (r.size < 512 || posix_memalign((void **)&r.buf, 4096, DEPTH * r.size))
		return fprintf(stderr, "vhd-io: SIZE\n"), 2;
	memset(r.buf, 0x5a, DEPTH * r.size);
	if (strcmp(argv[1], "image") == 0)
		image_run(&r);
	else if (strcmp(argv[1], "pread") == 0)
		pread_run(&r);
	else if (strcmp(argv[1], "uring") == 0)
		uring_run(&r);
	else
		return fprintf(stderr, "vhd-io: WHAT\n"), 2;
	free(r.buf);
	return 0;
}
