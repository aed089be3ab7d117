/* SPDX-License-Identifier: MIT */
/* storage-bare call|uring FILE read|write DEPTH SECONDS BYTES: 4 KiB at random places of a file
 * by nothing but the kernel's own calls: pread() and pwrite(), or an io_uring with registered
 * file and buffers that is kept DEPTH deep. The limit of what can be built on them. */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <unistd.h>

#include "load.h"

static struct load load;
static uint8_t *memory;
static int file;

static int die(const char *what, int error)
{
	fprintf(stderr, "storage-bare: %s: %s\n", what, strerror(error));
	exit(1);
}

static void call_run(void)
{
	do {
		for (uint32_t i = 0; i < load.depth; i++) {
			off_t place = (off_t)load_place(&load);
			ssize_t n;

			load.started[i] = load.now;
			n = load.write ? pwrite(file, memory, LOAD_BYTES, place)
				       : pread(file, memory + i * LOAD_BYTES, LOAD_BYTES, place);
			if (n != LOAD_BYTES)
				die("I/O", n < 0 ? errno : EIO);
		}
		load.now = load_clock(CLOCK_MONOTONIC);
		for (uint32_t i = 0; i < load.depth; i++)
			load_done(&load, i);
	} while (load_going(&load));
}

static void slot_start(struct io_uring *ring, uint32_t slot)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	uint8_t *data = memory + slot * LOAD_BYTES;

	if (load.write)
		io_uring_prep_write_fixed(sqe, 0, data, LOAD_BYTES, load_place(&load), 0);
	else
		io_uring_prep_read_fixed(sqe, 0, data, LOAD_BYTES, load_place(&load), 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	sqe->user_data = slot;
	load.started[slot] = load.now;
}

static uint32_t completions_take(struct io_uring *ring, uint32_t *slots)
{
	struct io_uring_cqe *cqe;
	uint32_t n = 0, head;

	io_uring_for_each_cqe(ring, head, cqe) {
		if (cqe->res != (int)LOAD_BYTES)
			die("I/O", cqe->res < 0 ? -cqe->res : EIO);
		slots[n++] = (uint32_t)cqe->user_data;
	}
	io_uring_cq_advance(ring, n);
	return n;
}

static void uring_run(void)
{
	struct iovec all = {memory, LOAD_DEPTH_MAX * LOAD_BYTES};
	uint32_t slots[LOAD_DEPTH_MAX], in_flight = load.depth;
	struct io_uring ring;
	int ret = io_uring_queue_init(LOAD_DEPTH_MAX, &ring,
				      IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);

	if (ret == -EINVAL)
		ret = io_uring_queue_init(LOAD_DEPTH_MAX, &ring, 0);
	if (!ret)
		ret = io_uring_register_buffers(&ring, &all, 1);
	if (!ret)
		ret = io_uring_register_files(&ring, &file, 1);
	if (ret)
		die("io_uring", -ret);
	for (uint32_t i = 0; i < load.depth; i++)
		slot_start(&ring, i);
	while (in_flight) {
		uint32_t n;
		bool going;

		ret = io_uring_submit_and_wait(&ring, 1);
		if (ret < 0 && ret != -EINTR)
			die("io_uring", -ret);
		load.now = load_clock(CLOCK_MONOTONIC);
		n = completions_take(&ring, slots);
		for (uint32_t i = 0; i < n; i++)
			load_done(&load, slots[i]);
		going = load_going(&load);
		for (uint32_t i = 0; i < n; i++)
			if (going)
				slot_start(&ring, slots[i]);
			else
				in_flight--;
	}
}

int main(int argc, char **argv)
{
	if (argc != 7)
		return fprintf(stderr, "usage: storage-bare call|uring FILE read|write DEPTH SECONDS "
				       "BYTES\n"), 2;
	load_begin(&load, argv + 3);
	file = open(argv[2], load.write ? O_RDWR : O_RDONLY);
	if (file < 0)
		die(argv[2], errno);
	memory = aligned_alloc(4096, LOAD_DEPTH_MAX * LOAD_BYTES);
	if (!memory)
		die("memory", ENOMEM);
	memset(memory, 0x5a, LOAD_DEPTH_MAX * LOAD_BYTES);
	if (strcmp(argv[1], "uring") == 0)
		uring_run();
	else
		call_run();
	load_report(&load);
	return 0;
}
