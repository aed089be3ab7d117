/* SPDX-License-Identifier: MIT */
/* Requests over an I/O that is finished later, cut short, or fails. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "image-file.h"

enum { MIB = 1 << 20, PENDING_MAX = 64 };

/* An asynchronous disk: keeps each I/O until disk_step() does it, with every
 * result cut to @most bytes and @fail given instead of the @fail_at th. */
struct disk {
	struct vhd_io *pending[PENDING_MAX];
	int count;
	int submitted;
	int most;
	int fail_at;
	int fail;
};

static int disk_submit(void *opaque, struct vhd_io *io)
{
	struct disk *disk = opaque;

	disk->submitted++;
	cr_assert_lt(disk->count, PENDING_MAX);
	disk->pending[disk->count++] = io;
	return -EINPROGRESS;
}

static const struct vhd_io_ops disk_ops = { sizeof(disk_ops), disk_submit };

static int disk_do(struct disk *disk, struct vhd_io *io)
{
	struct iovec iov[4];
	int left = disk->most, n = 0;

	if (disk->fail && disk->submitted >= disk->fail_at)
		return disk->fail;
	if (io->op > VHD_IO_WRITE || !disk->most)
		return vhd_io_sync.submit(NULL, io);
	for (; n < io->niov && n < 4 && left > 0; n++) {
		iov[n] = io->iov[n];
		if (iov[n].iov_len > (size_t)left)
			iov[n].iov_len = (size_t)left;
		left -= (int)iov[n].iov_len;
	}
	io->iov = iov;
	io->niov = n;
	return vhd_io_sync.submit(NULL, io);
}

/* Does the oldest (or with @newest the newest) pending I/O. */
static bool disk_step(struct disk *disk, bool newest)
{
	struct vhd_io *io;
	int which = newest ? disk->count - 1 : 0;

	if (disk->count == 0)
		return false;
	io = disk->pending[which];
	memmove(&disk->pending[which], &disk->pending[which + 1],
		(size_t)(disk->count - which - 1) * sizeof(io));
	disk->count--;
	io->done(io, disk_do(disk, io));
	return true;
}

struct fixture {
	struct image_file file;
	struct vhd_image *image;
	struct vhd_queue *queue;
	struct disk disk;
};

static void fixture_init(struct fixture *x, enum vhd_type type, uint64_t size, uint32_t block)
{
	memset(x, 0, sizeof(*x));
	image_file_init(&x->file);
	image_file_create(&x->file, VHD_FORMAT_VHD, type, size, block);
	cr_assert_eq(vhd_open(x->file.path, NULL, &x->image, NULL), 0);
	cr_assert_eq(vhd_queue_new(x->image, &disk_ops, &x->disk, &x->queue), 0);
}

static void fixture_fini(struct fixture *x)
{
	vhd_queue_free(x->queue);
	vhd_close(x->image);
	image_file_fini(&x->file);
}

static void request_done(struct vhd_request *r, int result)
{
	*(int *)r->user = result;
}

static int request_go(struct fixture *x, struct vhd_request *r)
{
	int result = 1;
	int ret;

	r->done = request_done;
	r->user = &result;
	ret = vhd_submit(x->queue, r);
	if (ret != -EINPROGRESS)
		return ret;
	while (disk_step(&x->disk, false))
		;
	cr_assert_neq(result, 1, "request was never done");
	return result;
}

static int rw(struct fixture *x, enum vhd_op op, void *buf, size_t length, uint64_t offset)
{
	struct iovec iov = { buf, length };
	struct vhd_request r = {
	    .op = op, .niov = 1, .iov = &iov, .offset = offset, .length = length};

	return request_go(x, &r);
}

Test(request, in_one_piece_is_the_callers_own_iovec)
{
	static char buf[2][4096];
	struct iovec iov[2] = { { buf[0], 4096 }, { buf[1], 4096 } };
	struct vhd_request r = { .op = VHD_OP_READ, .niov = 2, .iov = iov, .length = 8192 };
	struct fixture x;
	int result;

	fixture_init(&x, VHD_TYPE_FIXED, MIB, 0);
	r.done = request_done;
	r.user = &result;
	cr_assert_eq(vhd_submit(x.queue, &r), -EINPROGRESS);
	cr_expect_eq(x.disk.count, 1);
	cr_expect_eq(x.disk.pending[0]->iov, iov);
	cr_expect_eq(x.disk.pending[0]->niov, 2);
	disk_step(&x.disk, false);
	cr_expect_eq(result, 0);
	fixture_fini(&x);
}

Test(request, goes_on_after_short_results)
{
	struct fixture x;
	uint8_t out[16384], in[16384];

	fixture_init(&x, VHD_TYPE_DYNAMIC, MIB, 4096);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + i / 256);
	x.disk.most = 700;
	cr_expect_eq(rw(&x, VHD_OP_WRITE, out, sizeof(out), 2048), 0);
	memset(in, 0xee, sizeof(in));
	cr_expect_eq(rw(&x, VHD_OP_READ, in, sizeof(in), 2048), 0);
	cr_expect_arr_eq(in, out, sizeof(in));
	fixture_fini(&x);
}

Test(request, spanning_many_blocks_and_iovecs_reads_zeros_between)
{
	enum { PIECES = 100, PIECE = 512 };
	static uint8_t out[512], in[PIECES][PIECE];
	struct iovec iov[PIECES];
	struct vhd_request r = { .op = VHD_OP_READ, .niov = PIECES, .iov = iov };
	struct fixture x;

	fixture_init(&x, VHD_TYPE_DYNAMIC, MIB, 1024);
	memset(out, 'A', sizeof(out));
	memset(in, 0xee, sizeof(in));
	for (int i = 0; i < PIECES; i++)
		iov[i] = (struct iovec){ in[i], PIECE };
	for (uint64_t i = 0; i < PIECES; i += 3)
		cr_assert_eq(rw(&x, VHD_OP_WRITE, out, 512, 512 + i * 512), 0);
	r.offset = 512;
	r.length = sizeof(in);
	cr_expect_eq(request_go(&x, &r), 0);
	for (int i = 0; i < PIECES; i++)
		cr_expect(in[i][0] == (i % 3 ? 0 : 'A') && in[i][511] == in[i][0], "piece %d", i);
	fixture_fini(&x);
}

Test(request, allocates_a_block_once_for_two_writes_in_flight)
{
	static uint8_t a[512], b[512], in[1024];
	struct iovec iov[2] = { { a, 512 }, { b, 512 } };
	struct vhd_request r[2];
	struct fixture x;
	uint64_t size;
	int result[2] = { 1, 1 };

	fixture_init(&x, VHD_TYPE_DYNAMIC, 64 * MIB, 0);
	size = image_file_size(&x.file);
	memset(a, 'a', 512);
	memset(b, 'b', 512);
	for (int i = 0; i < 2; i++) {
		r[i] = (struct vhd_request){
			.op = VHD_OP_WRITE, .niov = 1, .iov = &iov[i], .length = 512,
			.offset = 10 * MIB + (uint64_t)i * 512, .done = request_done,
			.user = &result[i],
		};
		cr_assert_eq(vhd_submit(x.queue, &r[i]), -EINPROGRESS);
	}
	while (disk_step(&x.disk, true))
		;
	cr_expect(result[0] == 0 && result[1] == 0);
	/* The next aligned place, one block, the footer. */
	cr_expect_eq(image_file_size(&x.file), round_up(size, 4096) + 2 * MIB + 512);
	cr_expect_eq(vhd_pread(x.image, in, 1024, 10 * MIB), 0);
	cr_expect(in[0] == 'a' && in[511] == 'a' && in[512] == 'b' && in[1023] == 'b');
	fixture_fini(&x);
}

static uint32_t table_entry(const struct fixture *x, uint32_t block)
{
	uint8_t b[4];

	image_file_read(&x->file, b, 4, 1536 + 4 * block);
	return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

/* The table may name a block only between two syncs; and not one that was added
 * after the first of them began. */
/* All blocks of the largest disk must lie where its table can point to. */
Test(request, lays_blocks_apart_where_there_is_room_for_that)
{
	static const struct {
		uint64_t size;
		uint32_t block, gap;
	} rows[] = {
		{ UINT64_C(2040) << 30, 2 * MIB, 4096 },
		{ UINT64_C(2040) << 30, MIB / 2, 512 },
		{ UINT64_C(1020) << 30, MIB / 2, 4096 },
		{ UINT64_C(1020) << 30, MIB / 4, 4096 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t block = rows[i].block, first, blocks = rows[i].size / block;
		struct vhd_extent e = { .file_offset = 0 };
		struct vhd_image *image;
		struct image_file f;
		char data[512] = "x";

		image_file_init(&f);
		image_file_create(&f, VHD_FORMAT_VHD, VHD_TYPE_DYNAMIC, rows[i].size,
				  rows[i].block);
		cr_assert_eq(vhd_open(f.path, NULL, &image, NULL), 0);
		cr_assert_eq(vhd_pwrite(image, data, 512, 0), 0);
		cr_assert_eq(vhd_pwrite(image, data, 512, rows[i].size - 512), 0);
		cr_assert_eq(vhd_get_extent(image, 0, 512, &e), 0);
		first = e.file_offset;
		cr_assert_eq(vhd_get_extent(image, rows[i].size - block, 512, &e), 0);
		cr_expect_eq(e.file_offset - first, block + rows[i].gap, "row %zu", i);
		cr_expect_lt(first + blocks * (block + rows[i].gap), UINT64_C(0xffffffff) * 512,
			     "row %zu", i);
		vhd_close(image);
		image_file_fini(&f);
	}
}

Test(flush, writes_the_table_between_two_syncs)
{
	static uint8_t buf[512] = "x";
	struct vhd_request flush = { .op = VHD_OP_FLUSH, .done = request_done };
	struct vhd_request second = { .op = VHD_OP_FLUSH, .done = request_done };
	struct fixture x;
	int result = 1, result2 = 1;

	fixture_init(&x, VHD_TYPE_DYNAMIC, 64 * MIB, 0);
	cr_assert_eq(rw(&x, VHD_OP_WRITE, buf, 512, 0), 0);
	flush.user = &result;
	second.user = &result2;
	cr_assert_eq(vhd_submit(x.queue, &flush), -EINPROGRESS);
	cr_expect_eq(x.disk.pending[0]->op, VHD_IO_DATASYNC);
	cr_expect_eq(table_entry(&x, 0), 0xffffffff);
	cr_assert_eq(vhd_pwrite(x.image, buf, 512, 2 * MIB), 0);
	/* This one must wait until the first has written its part. */
	cr_assert_eq(vhd_submit(x.queue, &second), -EINPROGRESS);
	disk_step(&x.disk, false);
	cr_expect_eq(table_entry(&x, 0), 7);
	cr_expect_eq(table_entry(&x, 1), 0xffffffff);
	cr_expect_eq(result, 1);
	while (disk_step(&x.disk, false))
		;
	cr_expect_eq(result, 0);
	cr_expect_eq(result2, 0);
	cr_expect_neq(table_entry(&x, 1), 0xffffffff);
	fixture_fini(&x);
}

Test(flush, fails_for_good_after_a_failed_sync)
{
	static uint8_t buf[512] = "x";
	struct vhd_request flush = { .op = VHD_OP_FLUSH };
	struct fixture x;

	fixture_init(&x, VHD_TYPE_DYNAMIC, 64 * MIB, 0);
	cr_assert_eq(rw(&x, VHD_OP_WRITE, buf, 512, 0), 0);
	x.disk.fail = -EIO;
	cr_expect_eq(request_go(&x, &flush), -EIO);
	x.disk.fail = 0;
	cr_expect_eq(request_go(&x, &flush), -EIO);
	cr_expect_eq(table_entry(&x, 0), 0xffffffff);
	cr_expect_eq(rw(&x, VHD_OP_READ, buf, 512, 0), 0);
	fixture_fini(&x);
}

Test(request, passes_on_what_the_disk_says)
{
	static uint8_t buf[4096];
	struct fixture x;

	fixture_init(&x, VHD_TYPE_FIXED, MIB, 0);
	x.disk.fail = -ENOSPC;
	cr_expect_eq(rw(&x, VHD_OP_WRITE, buf, 4096, 0), -ENOSPC);
	x.disk.fail = -EIO;
	cr_expect_eq(rw(&x, VHD_OP_READ, buf, 4096, 0), -EIO);
	x.disk.fail = 0;
	image_file_truncate(&x.file, 8192);
	cr_expect_eq(rw(&x, VHD_OP_READ, buf, 4096, 4096), 0);
	cr_expect_eq(rw(&x, VHD_OP_READ, buf, 4096, 8192), -EIO, "file shorter than the disk");
	fixture_fini(&x);
}

Test(request, refuses_what_is_not_on_the_disk)
{
	static uint8_t buf[4096];
	struct iovec iov = { buf, 4096 };
	struct vhd_request r = { .op = VHD_OP_READ, .niov = 1, .iov = &iov, .length = 1024 };
	struct fixture x;

	fixture_init(&x, VHD_TYPE_DYNAMIC, MIB, 0);
	cr_expect_eq(rw(&x, VHD_OP_READ, buf, 512, MIB), -EINVAL);
	cr_expect_eq(rw(&x, VHD_OP_READ, buf, 1024, MIB - 512), -EINVAL);
	cr_expect_eq(rw(&x, VHD_OP_READ, buf, 512, UINT64_MAX - 511), -EINVAL);
	cr_expect_eq(rw(&x, VHD_OP_READ, buf, 512, 100), -EINVAL);
	cr_expect_eq(rw(&x, VHD_OP_READ, buf, 100, 0), -EINVAL);
	cr_expect_eq(request_go(&x, &r), -EINVAL, "iovecs longer than the request");
	cr_expect_eq(rw(&x, VHD_OP_READ, buf, 0, 0), 0);
	cr_expect_eq(vhd_write_zeroes(x.image, MIB, 512), -EINVAL);
	fixture_fini(&x);
}

Test(request, makes_zeros_of_what_is_there)
{
	static uint8_t buf[8 * 4096], in[8 * 4096];
	struct vhd_request r = { .op = VHD_OP_WRITE_ZEROES };
	struct fixture x;

	for (int unsupported = 0; unsupported < 2; unsupported++) {
		fixture_init(&x, VHD_TYPE_DYNAMIC, MIB, 4096);
		memset(buf, 'x', sizeof(buf));
		cr_assert_eq(rw(&x, VHD_OP_WRITE, buf, sizeof(buf), 0), 0);
		r.offset = 512;
		r.length = sizeof(buf) - 1024;
		if (unsupported) {
			/* Only the first I/O, the hole, is refused. */
			int result = 1;

			r.done = request_done;
			r.user = &result;
			cr_assert_eq(vhd_submit(x.queue, &r), -EINPROGRESS);
			cr_assert_eq(x.disk.pending[0]->op, VHD_IO_PUNCH);
			x.disk.count = 0;
			r.io.done(&r.io, -EOPNOTSUPP);
			while (disk_step(&x.disk, false))
				cr_expect(x.disk.count == 0 || r.io.op == VHD_IO_WRITE);
			cr_expect_eq(result, 0);
		} else {
			cr_expect_eq(request_go(&x, &r), 0);
		}
		cr_expect_eq(rw(&x, VHD_OP_READ, in, sizeof(in), 0), 0);
		for (size_t i = 0; i < sizeof(in); i++)
			cr_assert_eq(in[i], i < 512 || i >= sizeof(in) - 512 ? 'x' : 0, "at %zu",
				     i);
		fixture_fini(&x);
	}
}

Test(request, writes_nothing_to_a_read_only_image)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	static uint8_t buf[512];
	struct fixture x;

	fixture_init(&x, VHD_TYPE_DYNAMIC, MIB, 0);
	vhd_queue_free(x.queue);
	vhd_close(x.image);
	options.flags = VHD_OPEN_READ_ONLY;
	cr_assert_eq(vhd_open(x.file.path, &options, &x.image, NULL), 0);
	cr_assert_eq(vhd_queue_new(x.image, &disk_ops, &x.disk, &x.queue), 0);
	cr_expect_eq(rw(&x, VHD_OP_WRITE, buf, 512, 0), -EROFS);
	cr_expect_eq(vhd_discard(x.image, 0, 512), -EROFS);
	cr_expect_eq(vhd_write_zeroes(x.image, 0, 512), -EROFS);
	cr_expect_eq(vhd_flush(x.image), 0);
	fixture_fini(&x);
}
