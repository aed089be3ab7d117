/* SPDX-License-Identifier: MIT */
/* Requests for zeros, and to forget what a range holds: a hole after the other, or zeros where
 * the file system makes none. */
#include <errno.h>

#include "bytes.h"
#include "extent.h"
#include "request.h"

enum { ZERO_CHUNK = 65536 };

static const uint8_t zeros[ZERO_CHUNK];

/* Zeros by a hole where the file system makes them, else written. */
static void zero_prepare(struct vhd_request *r, const struct extent *e)
{
	struct vhd_io *io = &r->io;
	int n = 0;

	r->at.part = e->part;
	r->at.unmap = false;
	io->file = e->layer->file;
	io->offset = e->offset;
	io->length = e->length;
	io->op = VHD_IO_PUNCH;
	if (r->at.step)
		return;
	io->op = VHD_IO_WRITE;
	io->iov = r->slice;
	for (io->length = 0; io->length < e->length && n < VHD_REQUEST_IOVS; n++) {
		size_t part = min_u64(ZERO_CHUNK, e->length - io->length);

		r->slice[n] = (struct iovec){ (void *)(uintptr_t)zeros, part };
		io->length += part;
	}
	io->niov = n;
}

/* The hole is there. Returns how much of the disk the block is. */
static uint64_t block_unmap(struct vhd_request *r)
{
	struct vhd_image *image = r->queue->image;
	struct vhd_layer *top = &image->layers[0];
	uint64_t offset = r->offset + r->position;

	pthread_mutex_lock(&image->lock);
	top->ops->unmap(image, (uint32_t)(offset >> top->block_shift));
	pthread_mutex_unlock(&image->lock);
	return min_u64(UINT64_C(1) << top->block_shift, r->length - r->position);
}

int vhd_zero_result(struct vhd_request *r, int result)
{
	uint64_t length = (uint64_t)result;

	if (r->io.op == VHD_IO_PUNCH) {
		if (result == -EOPNOTSUPP && r->op == VHD_OP_WRITE_ZEROES) {
			r->at.step = 0;
			return 0;
		}
		if (result < 0)
			return result;
		length = r->io.length;
	} else if (result <= 0) {
		return result < 0 ? result : -EIO;
	}
	if (r->at.unmap)
		length = block_unmap(r);
	vhd_request_written(r, length);
	r->position += length;
	return 0;
}

/* The parent's data under a whole block is hidden by the block's state, if the format has
 * one for that. */
static bool block_zero(struct vhd_request *r, struct extent *e)
{
	struct vhd_image *image = r->queue->image;
	const struct layer_ops *ops = image->layers[0].ops;
	struct extent whole;
	uint32_t block;
	bool done;

	if (!ops || !ops->zero ||
	    !vhd_extent_block(image, r->offset + r->position, r->length - r->position, &block,
			      &whole))
		return false;
	pthread_mutex_lock(&image->lock);
	done = ops->zero(image, block);
	pthread_mutex_unlock(&image->lock);
	if (done)
		*e = (struct extent){ .length = whole.length };
	return done;
}

/* Where there is something to make zeros of. Nowhere is zero already; what a
 * parent holds must be hidden by zeros in the top layer. */
static int zero_extent(struct vhd_request *r, struct extent *e)
{
	struct vhd_image *image = r->queue->image;
	uint64_t offset = r->offset + r->position;
	int ret = vhd_extent_find(image, offset, r->length - r->position, e);

	if (ret || !e->layer || (e->layer != image->layers && block_zero(r, e)))
		return ret;
	return vhd_extent_make(image, offset, e->length, e);
}

/* A discarded block gives its space back as a whole, whatever part of it is in use. */
static bool unmap_prepare(struct vhd_request *r)
{
	const struct vhd_image *image = r->queue->image;
	const struct vhd_layer *top = &image->layers[0];
	struct extent e;
	uint32_t block;

	if (r->op != VHD_OP_DISCARD || !top->ops || !top->ops->unmap ||
	    !vhd_extent_block(image, r->offset + r->position, r->length - r->position, &block,
			      &e) ||
	    !e.layer)
		return false;
	e.length = UINT64_C(1) << top->block_shift;
	zero_prepare(r, &e);
	r->at.unmap = true;
	return true;
}

int vhd_zero_run(struct vhd_request *r)
{
	int ret = 0;

	while (!ret && r->position < r->length) {
		struct extent e = { .length = 0 };

		if (!unmap_prepare(r)) {
			ret = zero_extent(r, &e);
			if (ret)
				break;
			if (!e.layer) {
				r->position += e.length;
				continue;
			}
			zero_prepare(r, &e);
		}
		ret = vhd_request_io(r);
		if (ret != -EINPROGRESS)
			ret = vhd_zero_result(r, ret);
	}
	return ret;
}
