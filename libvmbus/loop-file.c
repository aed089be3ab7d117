/* SPDX-License-Identifier: MIT */
/* File I/O: by the cheapest call that does not make the loop wait.
 *
 * io_uring does a buffered read inline if the page cache has it, but on tmpfs (no
 * RWF_NOWAIT there) it hands every request to a worker thread: twice the cost. So:
 *
 *   file                 read                          write
 *   O_DIRECT             io_uring                      io_uring
 *   in memory (tmpfs)    preadv                        pwritev
 *   answers RWF_NOWAIT   with it; a miss to io_uring   with it, or pwritev, watched
 *   anything else        io_uring                      io_uring
 *
 * Anything else is, say, NFS or FUSE, where a call may wait for a network.
 *
 * Buffered writes: ext4 refuses RWF_NOWAIT, and io_uring punts every write to a worker.
 * Measured there (4 KiB random overwrites of cached blocks, Linux 6.18): pwrite takes 5.5 to
 * 7 us of CPU, io_uring at depth 32 10 to 12 us and twice the time. So writes are done inline,
 * by the clock: one that took long (dirty throttling, a page to be read first) sends the
 * following ones to io_uring for a while, so that the loop is held up once, not
 * for as long as the disk is behind. Flushes and hole punching may always take
 * long: they go to io_uring. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "loop-priv.h"

enum file_class { /* state[0], low byte */
	FILE_UNKNOWN,
	FILE_RING,
	FILE_MEMORY,
	FILE_NOWAIT,
};
#define FILE_CLASS 0xffu
#define FILE_WRITE_BLOCKS 0x100u /* writes refuse RWF_NOWAIT */
#define FILE_NO_ZERO 0x200u	 /* no FALLOC_FL_ZERO_RANGE: punch instead */

/* state[1] reads, state[2] writes: misses in a row, then how many requests go to
 * io_uring before the call is tried again */
#define MISSES_MAX 4u
#define SKIP_READS 64u
#define SKIP_WRITES 256u
#define SLOW_NS 1000000u

static bool file_in_memory(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

/* Asks the file, with a read of one byte that may not wait. */
static uint32_t file_probe(int fd)
{
	char byte;
	struct iovec iov = {&byte, 1};
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || (flags & O_DIRECT))
		return FILE_RING;
	if (preadv2(fd, &iov, 1, 0, RWF_NOWAIT) >= 0 || errno == EAGAIN)
		return FILE_NOWAIT;
	return errno == EOPNOTSUPP && file_in_memory(fd) ? FILE_MEMORY : FILE_RING;
}

static bool skip_take(uint32_t *state)
{
	if (*state <= MISSES_MAX)
		return false;
	--*state;
	if (*state == MISSES_MAX)
		*state = 0;
	return true;
}

static void skip_miss(uint32_t *state, uint32_t skip)
{
	if (++*state >= MISSES_MAX)
		*state = MISSES_MAX + skip;
}

static int64_t result_of(ssize_t r)
{
	return r < 0 ? -errno : r;
}

/* One iovec, the most there is mostly, is cheaper without the vector. */
static int64_t read_plain(const struct vmbus_io *io)
{
	int fd = io->file->fd;

	if (io->iov_count == 1)
		return result_of(pread(fd, io->iov->iov_base, io->iov->iov_len, (off_t)io->offset));
	return result_of(preadv(fd, io->iov, (int)io->iov_count, (off_t)io->offset));
}

static int64_t write_plain(const struct vmbus_io *io)
{
	int fd = io->file->fd;

	if (io->iov_count == 1)
		return result_of(pwrite(fd, io->iov->iov_base, io->iov->iov_len, (off_t)io->offset));
	return result_of(pwritev(fd, io->iov, (int)io->iov_count, (off_t)io->offset));
}

/* These return a result, or -EINPROGRESS: not like this, use io_uring. */
static int64_t read_inline(struct vmbus_io *io)
{
	struct vmbus_file *file = io->file;
	int64_t r;

	if ((file->state[0] & FILE_CLASS) == FILE_MEMORY)
		return read_plain(io);
	if (skip_take(&file->state[1]))
		return -EINPROGRESS;
	r = result_of(preadv2(file->fd, io->iov, (int)io->iov_count, (off_t)io->offset, RWF_NOWAIT));
	if (r == -EAGAIN) {
		skip_miss(&file->state[1], SKIP_READS);
		return -EINPROGRESS;
	}
	file->state[1] = 0;
	return r;
}

static int64_t write_watched(struct vmbus_io *io)
{
	struct vmbus_file *file = io->file;
	uint64_t start = spin_clock();
	int64_t r = write_plain(io);

	if (spin_clock() - start > SLOW_NS)
		file->state[2] = MISSES_MAX + SKIP_WRITES;
	return r;
}

static int64_t write_inline(struct vmbus_io *io)
{
	struct vmbus_file *file = io->file;
	int64_t r;

	if ((file->state[0] & FILE_CLASS) == FILE_MEMORY)
		return write_plain(io);
	if (skip_take(&file->state[2]))
		return -EINPROGRESS;
	if (file->state[0] & FILE_WRITE_BLOCKS)
		return write_watched(io);
	r = result_of(pwritev2(file->fd, io->iov, (int)io->iov_count, (off_t)io->offset, RWF_NOWAIT));
	if (r == -EOPNOTSUPP) {
		file->state[0] |= FILE_WRITE_BLOCKS;
		return write_watched(io);
	}
	if (r == -EAGAIN) {
		skip_miss(&file->state[2], SKIP_WRITES);
		return -EINPROGRESS;
	}
	file->state[2] = 0;
	return r;
}

static void fallocate_prep(struct io_uring_sqe *sqe, const struct vmbus_io *io)
{
	int mode = FALLOC_FL_KEEP_SIZE;

	if (io->op == VMBUS_IO_ZERO && !(io->file->state[0] & FILE_NO_ZERO))
		mode |= FALLOC_FL_ZERO_RANGE;
	else
		mode |= FALLOC_FL_PUNCH_HOLE;
	io_uring_prep_fallocate(sqe, io->file->fd, mode, (off_t)io->offset, (off_t)io->len);
}

static bool io_start(struct vmbus_loop *loop, struct vmbus_io *io)
{
	struct io_uring_sqe *sqe = loop->in_flight < loop->entries ? vmbus_loop_sqe(loop) : NULL;
	int fd = io->file->fd;

	if (!sqe)
		return false;
	switch (io->op) {
	case VMBUS_IO_READ:
		io_uring_prep_readv(sqe, fd, io->iov, io->iov_count, io->offset);
		break;
	case VMBUS_IO_WRITE:
		io_uring_prep_writev(sqe, fd, io->iov, io->iov_count, io->offset);
		break;
	case VMBUS_IO_DATASYNC:
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		break;
	case VMBUS_IO_DISCARD:
	case VMBUS_IO_ZERO:
		fallocate_prep(sqe, io);
		break;
	}
	io_uring_sqe_set_data64(sqe, loop_user_data(io, LOOP_TAG_IO));
	loop->in_flight++;
	return true;
}

static void io_queue(struct vmbus_loop *loop, struct vmbus_io *io)
{
	io->next = NULL;
	if (loop->waiting)
		loop->waiting_last->next = io;
	else
		loop->waiting = io;
	loop->waiting_last = io;
}

void vmbus_loop_start_waiting(struct vmbus_loop *loop)
{
	while (loop->waiting && io_start(loop, loop->waiting))
		loop->waiting = loop->waiting->next;
}

int64_t vmbus_loop_submit(struct vmbus_loop *loop, struct vmbus_io *io)
{
	struct vmbus_file *file = io->file;
	int64_t r = -EINPROGRESS;

	if ((file->state[0] & FILE_CLASS) == FILE_UNKNOWN)
		file->state[0] |= file_probe(file->fd);
	if ((file->state[0] & FILE_CLASS) != FILE_RING) {
		if (io->op == VMBUS_IO_READ)
			r = read_inline(io);
		else if (io->op == VMBUS_IO_WRITE)
			r = write_inline(io);
	}
	if (r != -EINPROGRESS) {
		loop->stats.io_inline++;
		return r;
	}
	loop->stats.io_async++;
	if (loop->waiting || !io_start(loop, io))
		io_queue(loop, io);
	vmbus_loop_kick(loop);
	return -EINPROGRESS;
}

void vmbus_loop_io_event(struct vmbus_loop *loop, struct vmbus_io *io, int32_t res)
{
	loop->in_flight--;
	/* tmpfs knows no ZERO_RANGE; a hole reads as zeros, too */
	if (res == -EOPNOTSUPP && io->op == VMBUS_IO_ZERO && !(io->file->state[0] & FILE_NO_ZERO)) {
		io->file->state[0] |= FILE_NO_ZERO;
		io_queue(loop, io);
		return;
	}
	io->done(io, res);
}
