/* SPDX-License-Identifier: MIT */
/* Flushes: a sync; where there is metadata to be written, that, between two syncs. */
#include <errno.h>

#include "request.h"

/* After FLUSH_BEGIN, which looks whether there is metadata to write. */
enum flush_step {
	FLUSH_PLAIN = FLUSH_BEGIN + 1, /* a sync is under way, and all there is to do */
	FLUSH_WAIT,   /* a sync is under way while another flush commits */
	FLUSH_DATA,   /* the sync before the metadata is under way */
	FLUSH_TABLES, /* the sync after the metadata is under way */
};

static int flush_sync(struct vhd_request *r)
{
	r->io.op = VHD_IO_DATASYNC;
	r->io.file = r->queue->image->layers[0].file;
	return vhd_request_io(r);
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

int vhd_flush_result(struct vhd_request *r, int result)
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

int vhd_flush_run(struct vhd_request *r)
{
	int ret;

	do {
		ret = r->at.step == FLUSH_BEGIN ? flush_begin(r) : flush_sync(r);
		if (ret != -EINPROGRESS)
			ret = vhd_flush_result(r, ret);
	} while (ret == FLUSH_AGAIN);
	return ret;
}
