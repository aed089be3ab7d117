/* SPDX-License-Identifier: MIT */
/* Requests: a read or write is one I/O after the other until its range is done; mostly one.
 * Zeros and flushes have files of their own. Everything that can finish at once runs in the
 * caller's stack; an I/O that cannot comes back through request_io_done(), which goes on. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "extent.h"
#include "request.h"

/* -- The caller's iovecs --------------------------------------------------- */

static int iov_check(const struct vhd_request *r)
{
	uint64_t sum = 0;

	for (int i = 0; i < r->niov; i++)
		if (__builtin_add_overflow(sum, r->iov[i].iov_len, &sum))
			return -EINVAL;
	return sum == r->length ? 0 : -EINVAL;
}

static void iov_advance(struct vhd_request *r, uint64_t length)
{
	r->position += length;
	while (length > 0) {
		size_t left = r->iov[r->at.iov].iov_len - r->at.skip;

		if (length < left) {
			r->at.skip += length;
			return;
		}
		length -= left;
		r->at.iov++;
		r->at.skip = 0;
	}
}

/* Copies the next iovecs, @length bytes of them, into the request's slice.
 * Returns how many bytes found room. */
static uint64_t iov_slice(struct vhd_request *r, uint64_t length, int *niov)
{
	uint64_t done = 0;
	size_t skip = r->at.skip;
	int n = 0;

	for (int i = r->at.iov; done < length && n < VHD_REQUEST_IOVS; i++) {
		size_t part = min_u64(r->iov[i].iov_len - skip, length - done);

		if (part > 0)
			r->slice[n++] = (struct iovec){ (char *)r->iov[i].iov_base + skip, part };
		done += part;
		skip = 0;
	}
	*niov = n;
	return done;
}

static void iov_zero(struct vhd_request *r, uint64_t length)
{
	while (length > 0) {
		int n;
		uint64_t part = iov_slice(r, length, &n);

		for (int i = 0; i < n; i++)
			memset(r->slice[i].iov_base, 0, r->slice[i].iov_len);
		iov_advance(r, part);
		length -= part;
	}
}

static bool iov_aligned(const struct vhd_io *io, uint32_t align)
{
	uint64_t bits = io->offset | io->length;

	for (int i = 0; i < io->niov; i++)
		bits |= (uintptr_t)io->iov[i].iov_base | io->iov[i].iov_len;
	return (bits & (align - 1)) == 0;
}

/* -- Reads and writes ----------------------------------------------------- */

int vhd_request_io(struct vhd_request *r)
{
	struct vhd_queue *queue = r->queue;

	return queue->ops->submit(queue->opaque, &r->io);
}

static void transfer_prepare(struct vhd_request *r, const struct extent *e)
{
	const struct vhd_layer *layer = e->layer;
	struct vhd_io *io = &r->io;

	r->at.part = e->part;
	io->op = r->op == VHD_OP_READ ? VHD_IO_READ : VHD_IO_WRITE;
	io->offset = e->offset;
	io->length = e->length;
	if (r->position == 0 && e->length == r->length && r->niov <= IOV_MAX) {
		io->iov = r->iov;
		io->niov = r->niov;
	} else {
		io->length = iov_slice(r, e->length, &io->niov);
		io->iov = r->slice;
	}
	io->file = layer->file;
	if (layer->direct && iov_aligned(io, r->queue->image->direct_align))
		io->file = layer->direct;
}

void vhd_request_written(const struct vhd_request *r, uint64_t length)
{
	uint64_t start = r->offset + r->position;

	if (r->at.part)
		vhd_extent_written(r->queue->image, start, start + length);
}

/* What an I/O gave: 0 when the request goes on behind it. */
static int transfer_result(struct vhd_request *r, int result)
{
	if (result <= 0)
		return result < 0 ? result : -EIO; /* the file ends inside the disk */
	if ((uint64_t)result > r->io.length)
		return -EIO;
	vhd_request_written(r, (uint64_t)result);
	if ((uint64_t)result == r->length) /* mostly all of it at once */
		r->position = r->length;
	else
		iov_advance(r, (uint64_t)result);
	return 0;
}

static int transfer_run(struct vhd_request *r)
{
	struct vhd_image *image = r->queue->image;
	int ret = 0;

	while (!ret && r->position < r->length) {
		uint64_t left = r->length - r->position;
		struct extent e;

		if (r->op == VHD_OP_READ) {
			ret = vhd_extent_find(image, r->offset + r->position, left, &e);
			if (!ret && !e.layer) {
				iov_zero(r, e.length);
				continue;
			}
		} else {
			ret = vhd_extent_make(image, r->offset + r->position, left, &e);
		}
		if (ret)
			break;
		transfer_prepare(r, &e);
		ret = vhd_request_io(r);
		if (ret != -EINPROGRESS)
			ret = transfer_result(r, ret);
	}
	return ret;
}

/* -- All of them ----------------------------------------------------------- */

static int request_run(struct vhd_request *r)
{
	switch (r->op) {
	case VHD_OP_FLUSH:
		return vhd_flush_run(r);
	case VHD_OP_DISCARD:
	case VHD_OP_WRITE_ZEROES:
		return vhd_zero_run(r);
	default:
		return transfer_run(r);
	}
}

static void request_io_done(struct vhd_io *io, int result)
{
	struct vhd_request *r =
		(struct vhd_request *)((char *)io - offsetof(struct vhd_request, io));
	int ret;

	switch (r->op) {
	case VHD_OP_FLUSH:
		ret = vhd_flush_result(r, result);
		if (ret == FLUSH_AGAIN)
			ret = vhd_flush_run(r);
		break;
	case VHD_OP_DISCARD:
	case VHD_OP_WRITE_ZEROES:
		ret = vhd_zero_result(r, result);
		if (!ret)
			ret = vhd_zero_run(r);
		break;
	default:
		ret = transfer_result(r, result);
		if (!ret)
			ret = transfer_run(r);
	}
	if (ret != -EINPROGRESS)
		r->done(r, ret);
}

static int request_check(const struct vhd_image *image, const struct vhd_request *r)
{
	uint64_t size = image->layers[0].size;
	uint64_t sector = image->layers[0].logical;

	if (r->op == VHD_OP_FLUSH)
		return 0;
	if (r->op != VHD_OP_READ && image->read_only)
		return -EROFS;
	if (((r->offset | r->length) & (sector - 1)) || r->offset > size ||
	    r->length > size - r->offset)
		return -EINVAL;
	return r->op == VHD_OP_READ || r->op == VHD_OP_WRITE ? iov_check(r) : 0;
}

/* The first write of all. If that goes wrong nobody knows what the file holds. */
static int session_start(struct vhd_image *image)
{
	const struct layer_ops *ops = image->layers[0].ops;
	int none = 0, ret = 0;

	pthread_mutex_lock(&image->lock);
	if (!atomic_load(&image->begun) && ops && ops->begin)
		ret = ops->begin(image);
	if (ret)
		atomic_compare_exchange_strong(&image->sync_error, &none, ret);
	else
		atomic_store(&image->begun, true);
	pthread_mutex_unlock(&image->lock);
	return ret;
}

int vhd_session_begin(struct vhd_image *image)
{
	int ret = atomic_load_explicit(&image->sync_error, memory_order_relaxed);

	if (ret || atomic_load_explicit(&image->begun, memory_order_acquire))
		return ret;
	return session_start(image);
}

int vhd_submit(struct vhd_queue *queue, struct vhd_request *r)
{
	struct vhd_image *image = queue->image;
	int ret = request_check(image, r);

	if (ret)
		return ret;
	if (r->op == VHD_OP_FLUSH && image->read_only)
		return 0;
	if (r->op == VHD_OP_DISCARD && !image->can_discard)
		return 0;
	if (r->op != VHD_OP_READ && r->op != VHD_OP_FLUSH) {
		ret = vhd_session_begin(image);
		if (ret)
			return ret;
	}
	r->queue = queue;
	r->io.done = request_io_done;
	r->position = 0;
	r->at.iov = 0;
	r->at.skip = 0;
	/* For zeroes the step says whether holes may still be tried. */
	r->at.step = r->op == VHD_OP_FLUSH ? FLUSH_BEGIN : 1;
	return request_run(r);
}

int vhd_queue_new(struct vhd_image *image, const struct vhd_io_ops *ops, void *opaque,
		  struct vhd_queue **queue)
{
	*queue = NULL;
	if (ops->size < sizeof(*ops) || !ops->submit)
		return -EINVAL;
	*queue = malloc(sizeof(**queue));
	if (!*queue)
		return -ENOMEM;
	**queue = (struct vhd_queue){ image, ops, opaque };
	return 0;
}

void vhd_queue_free(struct vhd_queue *queue)
{
	free(queue);
}
