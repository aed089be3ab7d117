/* SPDX-License-Identifier: MIT */
/* The plain system calls as a struct vhd_io_ops. */
#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <vhd/io.h>

static ssize_t io_call(const struct vhd_io *io)
{
	off_t offset = (off_t)io->offset;
	off_t length = (off_t)io->length;

	switch (io->op) {
	/* The kernel fetches an array of one as an array: the plain calls are cheaper. */
	case VHD_IO_READ:
		return io->niov == 1 ? pread(io->file->fd, io->iov->iov_base, io->length, offset) :
				       preadv(io->file->fd, io->iov, io->niov, offset);
	case VHD_IO_WRITE:
		return io->niov == 1 ? pwrite(io->file->fd, io->iov->iov_base, io->length, offset) :
				       pwritev(io->file->fd, io->iov, io->niov, offset);
	case VHD_IO_DATASYNC:
		return fdatasync(io->file->fd);
	case VHD_IO_PUNCH:
		return fallocate(io->file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
				 length);
	case VHD_IO_TRUNCATE:
		return ftruncate(io->file->fd, length);
	}
	errno = EINVAL;
	return -1;
}

static int io_sync_submit(void *opaque, struct vhd_io *io)
{
	ssize_t ret;

	(void)opaque;
	do {
		ret = io_call(io);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : (int)ret;
}

const struct vhd_io_ops vhd_io_sync = {
	.size = sizeof(vhd_io_sync),
	.submit = io_sync_submit,
};
