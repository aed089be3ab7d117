/* SPDX-License-Identifier: MIT */
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { DIRECT_ALIGN = 4096, LOCK_TRIES = 50, LOCK_WAIT_NS = 10000000 };

/* Whole-file lock of the open file description: it lives until the last
 * descriptor is closed and keeps out other processes as well as a second
 * vhd_open() in this one.
 *
 * The kernel may let go of a killed process's io_uring, and of the files its
 * requests held, a little after the process is gone: whoever starts anew at once
 * must not be told that the image is in use. */
int vhd_file_lock(int fd, bool shared)
{
	const struct timespec wait = { .tv_nsec = LOCK_WAIT_NS };
	struct flock lock = {
		.l_type = shared ? F_RDLCK : F_WRLCK,
		.l_whence = SEEK_SET,
	};

	for (int i = 0; i < LOCK_TRIES; i++) {
		if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
			return 0;
		if (errno != EACCES && errno != EAGAIN)
			return -errno;
		nanosleep(&wait, NULL);
	}
	return -EAGAIN;
}

static int file_check_kind(const struct open_context *ctx, int fd, uint32_t *flags)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return vhd_fail(ctx->err, -errno, "cannot examine the file");
	if (S_ISBLK(st.st_mode))
		*flags |= VHD_FILE_BLOCK_DEVICE;
	else if (!S_ISREG(st.st_mode))
		return vhd_fail(ctx->err, -EINVAL,
				"file is of type 0%o, expected a regular file or a block device",
				st.st_mode & S_IFMT);
	return 0;
}

static const struct vhd_file *file_add(struct vhd_image *image, int fd, uint32_t flags)
{
	struct vhd_file *file = &image->files[image->file_count];

	*file = (struct vhd_file){ .fd = fd, .index = image->file_count++, .flags = flags };
	return file;
}

/* The same file once more, O_DIRECT, by its descriptor: not by a name that may
 * mean another file by now. Without it everything is buffered. */
static void file_add_direct(const struct open_context *ctx, struct vhd_layer *layer)
{
	const struct vhd_file *file = layer->file;
	int mode = file->flags & VHD_FILE_READ_ONLY ? O_RDONLY : O_RDWR;
	char name[40];
	int fd;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", file->fd);
	fd = open(name, mode | O_DIRECT | O_CLOEXEC);
	if (fd < 0) {
		vhd_warn(ctx, "direct I/O is not possible here, I/O is buffered");
		return;
	}
	layer->direct = file_add(ctx->image, fd, file->flags | VHD_FILE_DIRECT);
	ctx->image->direct_align = DIRECT_ALIGN;
}

static int file_prepare(const struct open_context *ctx, int fd, uint32_t *flags)
{
	int ret = file_check_kind(ctx, fd, flags);

	if (ret)
		return ret;
	/* O_NONBLOCK was only there to pass FIFOs by; io_uring would obey it. Nobody looks
	 * at an image's access time, and each read pays for it (owners may choose). */
	if (fcntl(fd, F_SETFL, O_NOATIME) < 0 && fcntl(fd, F_SETFL, 0) < 0)
		return vhd_fail(ctx->err, -errno, "cannot set the file's flags");
	if (ctx->options->flags & VHD_OPEN_NO_LOCK)
		return 0;
	ret = vhd_file_lock(fd, *flags & VHD_FILE_READ_ONLY);
	if (ret == -EAGAIN)
		return vhd_fail(ctx->err, ret,
				"another process has the image open, no %s lock",
				*flags & VHD_FILE_READ_ONLY ? "shared" : "exclusive");
	if (ret)
		return vhd_fail(ctx->err, ret, "cannot lock the file");
	return 0;
}

int vhd_file_open(const struct open_context *ctx, struct vhd_layer *layer)
{
	bool read_only = ctx->read_only;
	uint32_t flags = read_only ? VHD_FILE_READ_ONLY : 0;
	int mode = read_only ? O_RDONLY : O_RDWR;
	int fd = open(ctx->path, mode | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int ret;

	if (fd < 0)
		return vhd_fail(ctx->err, -errno, "cannot open for %s",
				read_only ? "reading" : "writing");
	ret = file_prepare(ctx, fd, &flags);
	if (ret) {
		close(fd);
		return ret;
	}
	layer->file = file_add(ctx->image, fd, flags);
	if (ctx->options->flags & VHD_OPEN_DIRECT)
		file_add_direct(ctx, layer);
	return 0;
}

void vhd_file_close_all(struct vhd_image *image)
{
	for (uint32_t i = 0; i < image->file_count; i++)
		close(image->files[i].fd);
	image->file_count = 0;
}

int vhd_file_size(const struct vhd_file *file, uint64_t *size)
{
	off_t end = lseek(file->fd, 0, SEEK_END);

	if (end < 0)
		return -errno;
	*size = (uint64_t)end;
	return 0;
}

static int file_io(struct vhd_image *image, struct vhd_io *io, void *buf, size_t length)
{
	struct iovec iov = { buf, length };

	io->iov = &iov;
	io->niov = 1;
	while (iov.iov_len > 0) {
		int ret;

		io->length = iov.iov_len;
		ret = image->io->submit(image->io_opaque, io);
		if (ret <= 0)
			return ret < 0 ? ret : -EIO;
		iov.iov_base = (char *)iov.iov_base + ret;
		iov.iov_len -= (size_t)ret;
		io->offset += (uint64_t)ret;
	}
	return 0;
}

int vhd_file_read(struct vhd_image *image, const struct vhd_file *file, void *buf, size_t length,
		  uint64_t offset)
{
	struct vhd_io io = { .file = file, .op = VHD_IO_READ, .offset = offset };

	return file_io(image, &io, buf, length);
}

int vhd_file_write(struct vhd_image *image, const struct vhd_file *file, const void *buf,
		   size_t length, uint64_t offset)
{
	struct vhd_io io = { .file = file, .op = VHD_IO_WRITE, .offset = offset };

	return file_io(image, &io, (void *)(uintptr_t)buf, length);
}

int vhd_file_sync(struct vhd_image *image, const struct vhd_file *file)
{
	struct vhd_io io = { .file = file, .op = VHD_IO_DATASYNC };

	return image->io->submit(image->io_opaque, &io);
}

int vhd_file_truncate(struct vhd_image *image, const struct vhd_file *file, uint64_t length)
{
	struct vhd_io io = { .file = file, .op = VHD_IO_TRUNCATE, .length = length };

	return image->io->submit(image->io_opaque, &io);
}
