/* SPDX-License-Identifier: MIT */
/* How libvhd reaches the disk: the caller's loop, or plain system calls.
 *
 * libvhd never waits on the data path. It describes one operation on one file
 * in a struct vhd_io and hands it to the queue's struct vhd_io_ops. An adapter
 * for an event loop (io_uring, a thread pool) implements the single submit();
 * vhd_io_sync is the one libvhd ships, for tools and tests. */
#ifndef VHD_IO_H
#define VHD_IO_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <vhd/fault.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
	VHD_FILE_READ_ONLY = 1u << 0,	 /* opened O_RDONLY */
	VHD_FILE_DIRECT = 1u << 1,	 /* opened O_DIRECT; libvhd sends aligned I/O only */
	VHD_FILE_BLOCK_DEVICE = 1u << 2, /* not a regular file */
};

/* One open file of an image. Lives, unchanged and at the same address, from
 * vhd_open() to vhd_close(). @index is its place among the image's files, from
 * 0 to vhd_get_file_count() - 1: an adapter keeps what it knows of the file
 * (registered slot, "answers inline") in an array of its own by this index.
 * Two files of one image may be the same inode (buffered and O_DIRECT). */
struct vhd_file {
	int fd;
	uint32_t index;
	uint32_t flags;
};

enum vhd_io_op {
	VHD_IO_READ,	 /* preadv(): @iov, @niov, @offset */
	VHD_IO_WRITE,	 /* pwritev(): @iov, @niov, @offset */
	VHD_IO_DATASYNC, /* fdatasync() */
	VHD_IO_PUNCH,	 /* fallocate(PUNCH_HOLE | KEEP_SIZE): @offset, @length */
	VHD_IO_TRUNCATE, /* ftruncate() to @length; blocking metadata I/O only */
};

/* One operation. The storage belongs to libvhd (it lies in the caller's
 * vhd_request) and stays valid until the operation is finished. */
struct vhd_io {
	const struct vhd_file *file;
	enum vhd_io_op op;
	int niov;
	const struct iovec *iov;
	uint64_t offset;
	uint64_t length;  /* bytes, all operations; sum of @iov for READ and WRITE */
	void *adapter[2]; /* for the adapter alone, while it owns the operation */

	/* Called by the adapter when an operation that was not finished by
	 * submit() is: on the thread that called submit(), not from inside
	 * submit(). @result as submit() returns it. May submit again. */
	void (*done)(struct vhd_io *io, int result);
};

struct vhd_io_ops {
	size_t size; /* sizeof(struct vhd_io_ops) */

	/* Starts @io. Returns the result when it is finished at once: the
	 * number of bytes read or written (short counts are fine, libvhd goes
	 * on from there), 0 for the other operations, or -errno; EINTR and
	 * EAGAIN are the adapter's to repeat. Returns -EINPROGRESS when io->done() will be called
	 * later. @opaque is what was given to vhd_queue_new(). */
	int (*submit)(void *opaque, struct vhd_io *io);
};

/* preadv, pwritev, fdatasync and fallocate, always finished at once. @opaque
 * is not used. Any thread. */
VHD_API extern const struct vhd_io_ops vhd_io_sync;

#ifdef __cplusplus
}
#endif

#endif
