/* SPDX-License-Identifier: MIT */
/* One request at a time, for tools: by the image's blocking I/O. */
#include "queue.h"

static int request_wait(struct vhd_image *image, struct vhd_request *r)
{
	struct vhd_queue queue = { image, image->io, image->io_opaque };

	return vhd_submit(&queue, r);
}

int vhd_pread(struct vhd_image *image, void *buf, size_t length, uint64_t offset)
{
	struct iovec iov = { buf, length };
	struct vhd_request r = {
		.op = VHD_OP_READ,
		.iov = &iov,
		.niov = 1,
		.offset = offset,
		.length = length,
	};

	return request_wait(image, &r);
}

int vhd_pwrite(struct vhd_image *image, const void *buf, size_t length, uint64_t offset)
{
	struct iovec iov = { (void *)(uintptr_t)buf, length };
	struct vhd_request r = {
		.op = VHD_OP_WRITE,
		.iov = &iov,
		.niov = 1,
		.offset = offset,
		.length = length,
	};

	return request_wait(image, &r);
}

int vhd_flush(struct vhd_image *image)
{
	struct vhd_request r = { .op = VHD_OP_FLUSH };

	return request_wait(image, &r);
}

int vhd_discard(struct vhd_image *image, uint64_t offset, uint64_t length)
{
	struct vhd_request r = { .op = VHD_OP_DISCARD, .offset = offset, .length = length };

	return request_wait(image, &r);
}

int vhd_write_zeroes(struct vhd_image *image, uint64_t offset, uint64_t length)
{
	struct vhd_request r = { .op = VHD_OP_WRITE_ZEROES, .offset = offset, .length = length };

	return request_wait(image, &r);
}
