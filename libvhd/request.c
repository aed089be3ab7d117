/* SPDX-License-Identifier: MIT */
/* Requests: a read or write is one I/O after the other until its range is done;
 * mostly one. Everything that can finish at once runs in the caller's stack; an
 * I/O that cannot comes back through request_io_done(), which goes on. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "extent.h"
#include "queue.h"

enum { ZERO_CHUNK = 65536 };

static const uint8_t zeros[ZERO_CHUNK];

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

/* -- Reads, writes, zeroes ------------------------------------------------- */

static int request_io(struct vhd_request *r)
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

static void request_written(const struct vhd_request *r, uint64_t length)
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
	request_written(r, (uint64_t)result);
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
		ret = request_io(r);
		if (ret != -EINPROGRESS)
			ret = transfer_result(r, ret);
	}
	return ret;
}

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

static int zero_result(struct vhd_request *r, int result)
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
	request_written(r, length);
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

static int zero_run(struct vhd_request *r)
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
		ret = request_io(r);
		if (ret != -EINPROGRESS)
			ret = zero_result(r, ret);
	}
	return ret;
}

/* -- Flush ----------------------------------------------------------------- */

enum flush_step {
	FLUSH_BEGIN,  /* look whether there is metadata to write */
	FLUSH_PLAIN,  /* a sync is under way, and all there is to do */
	FLUSH_WAIT,   /* a sync is under way while another flush commits */
	FLUSH_DATA,   /* the sync before the metadata is under way */
	FLUSH_TABLES, /* the sync after the metadata is under way */
};

static int flush_sync(struct vhd_request *r)
{
	r->io.op = VHD_IO_DATASYNC;
	r->io.file = r->queue->image->layers[0].file;
	return request_io(r);
}

static int flush_begin(struct vhd_request *r)
{
	struct vhd_image *image = r->queue->image;
	struct vhd_layer *top = &image->layers[0];
	int ret = atomic_load(&image->sync_error);

	if (ret)
		return ret;
	pthread_mutex_lock(&image->lock);
	if (image->committing) {
		r->at.step = FLUSH_WAIT;
	} else if (top->ops && top->ops->dirty(top)) {
		image->committing = true;
		top->ops->stage(top);
		r->at.step = FLUSH_DATA;
	} else {
		r->at.step = FLUSH_PLAIN;
	}
	pthread_mutex_unlock(&image->lock);
	return flush_sync(r);
}

static void flush_leave(struct vhd_image *image)
{
	pthread_mutex_lock(&image->lock);
	image->committing = false;
	pthread_mutex_unlock(&image->lock);
}

/* After a failed sync the kernel holds the pages for clean: nothing after it can
 * be trusted, so no later flush may say that it is. */
static int flush_fail(struct vhd_request *r, int error)
{
	struct vhd_image *image = r->queue->image;
	int none = 0;

	atomic_compare_exchange_strong(&image->sync_error, &none, error);
	if (r->at.step == FLUSH_DATA || r->at.step == FLUSH_TABLES)
		flush_leave(image);
	return error;
}

static int flush_finish(struct vhd_image *image)
{
	const struct layer_ops *ops = image->layers[0].ops;
	int ret = 0;

	pthread_mutex_lock(&image->lock);
	if (ops->finish)
		ret = ops->finish(image);
	pthread_mutex_unlock(&image->lock);
	return ret;
}

/* A sync is done. 0: the flush is; FLUSH_AGAIN: it goes on with flush_begin(). */
enum { FLUSH_AGAIN = 1 };

static int flush_result(struct vhd_request *r, int result)
{
	struct vhd_image *image = r->queue->image;

	if (result < 0)
		return flush_fail(r, result);
	switch ((enum flush_step)r->at.step) {
	case FLUSH_DATA:
		pthread_mutex_lock(&image->lock);
		result = image->layers[0].ops->commit(image);
		pthread_mutex_unlock(&image->lock);
		if (result)
			return flush_fail(r, result);
		r->at.step = FLUSH_TABLES;
		return FLUSH_AGAIN;
	case FLUSH_TABLES:
		result = flush_finish(image);
		if (result)
			return flush_fail(r, result);
		flush_leave(image);
		return 0;
	case FLUSH_WAIT:
		r->at.step = FLUSH_BEGIN;
		return FLUSH_AGAIN;
	default:
		return 0;
	}
}

static int flush_run(struct vhd_request *r)
{
	int ret;

	do {
		ret = r->at.step == FLUSH_BEGIN ? flush_begin(r) : flush_sync(r);
		if (ret != -EINPROGRESS)
			ret = flush_result(r, ret);
	} while (ret == FLUSH_AGAIN);
	return ret;
}

/* -- All of them ----------------------------------------------------------- */

static int request_run(struct vhd_request *r)
{
	switch (r->op) {
	case VHD_OP_FLUSH:
		return flush_run(r);
	case VHD_OP_DISCARD:
	case VHD_OP_WRITE_ZEROES:
		return zero_run(r);
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
		ret = flush_result(r, result);
		if (ret == FLUSH_AGAIN)
			ret = flush_run(r);
		break;
	case VHD_OP_DISCARD:
	case VHD_OP_WRITE_ZEROES:
		ret = zero_result(r, result);
		if (!ret)
			ret = zero_run(r);
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
