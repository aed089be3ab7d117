/* SPDX-License-Identifier: MIT */
#include "crash.h"

#include <errno.h>
#include <string.h>

/* -- The recorder ----------------------------------------------------------- */

/* A sync covers what was done before it began, not what was done before it ended. */
static void record_begin(const struct test *t, struct vhd_io *io)
{
	io->adapter[0] = (void *)(uintptr_t)t->log.count;
}

static int record_end(struct test *t, struct vhd_io *io)
{
	int result = crash_file_io(&t->live, io);

	if (!crash_log_add(&t->log, io, result, (int)(uintptr_t)io->adapter[0]))
		crash_fail(t, "log is full", t->log.count);
	return result;
}

static int record_now(void *opaque, struct vhd_io *io)
{
	if (crash_is_parent(io))
		return vhd_io_sync.submit(NULL, io);
	record_begin(opaque, io);
	return record_end(opaque, io);
}

static int record_later(void *opaque, struct vhd_io *io)
{
	struct test *t = opaque;

	record_begin(t, io);
	t->pending[t->pending_count++] = io;
	return -EINPROGRESS;
}

static const struct vhd_io_ops now_ops = { sizeof(now_ops), record_now };
static const struct vhd_io_ops later_ops = { sizeof(later_ops), record_later };

static void io_finish_one(struct test *t)
{
	int which = (int)crash_random((unsigned)t->pending_count);
	struct vhd_io *io = t->pending[which];

	t->pending[which] = t->pending[--t->pending_count];
	io->done(io, crash_is_parent(io) ? vhd_io_sync.submit(NULL, io) : record_end(t, io));
}

/* -- Requests ----------------------------------------------------------------- */

static void sector_add(struct test *t, unsigned sector, uint32_t value)
{
	if (!crash_history_add(&t->model.sector[sector], value, t->log.count))
		crash_fail(t, "too many versions", t->log.count);
}

static unsigned request_sector(const struct test *t, const struct vhd_request *r)
{
	unsigned s = 0;

	while (crash_sector_place(&t->model, s) != r->offset)
		s++;
	return s;
}

static void request_done(struct vhd_request *r, int result)
{
	struct slot *slot = r->user;
	struct test *t = slot->test;
	unsigned first;

	if (result)
		crash_fail(t, "request failed", t->log.count);
	slot->busy = false;
	if (r->op == VHD_OP_FLUSH) {
		for (unsigned s = 0; s < SECTORS; s++)
			crash_history_confirm(&t->model.sector[s], slot->covered[s],
					      t->log.count);
		return;
	}
	first = request_sector(t, r);
	for (unsigned s = 0; s < SECTORS; s++)
		if (s >= first && crash_sector_place(&t->model, s) < r->offset + r->length)
			crash_history_done(&t->model.sector[s]);
}

static bool overlaps_busy(const struct test *t, uint64_t offset, uint64_t length)
{
	for (int i = 0; i < IN_FLIGHT; i++) {
		const struct vhd_request *r = &t->slot[i].request;

		if (t->slot[i].busy && r->op != VHD_OP_FLUSH && offset < r->offset + r->length &&
		    r->offset < offset + length)
			return true;
	}
	return false;
}

static void flush_fill(struct test *t, struct slot *slot)
{
	slot->request.op = VHD_OP_FLUSH;
	for (unsigned s = 0; s < SECTORS; s++)
		slot->covered[s] = crash_history_covered(&t->model.sector[s]);
}

/* A range of one group; a discard or zeroing may be that of all its megabyte. */
static uint64_t range_choose(const struct test *t, enum vhd_op op, unsigned *first,
			     unsigned *count)
{
	uint64_t size = crash_history_last(&t->model.size);
	unsigned sectors = crash_sectors(&t->model, size);
	uint64_t place;

	*first = crash_random(sectors);
	*count = 1 + crash_random(LENGTH_MAX);
	if (*count > GROUP - *first % GROUP)
		*count = GROUP - *first % GROUP;
	if (*count > sectors - *first)
		*count = sectors - *first;
	if (t->kind->format != VHD_FORMAT_VHDX || op == VHD_OP_WRITE || crash_random(2))
		return *count * SECTOR;
	*first -= *first % GROUP;
	place = crash_sector_place(&t->model, *first);
	*count = sectors - *first < GROUP ? sectors - *first : GROUP;
	return size - place < MIB ? size - place : MIB;
}

static void slot_fill(struct test *t, struct slot *slot)
{
	struct vhd_request *r = &slot->request;
	unsigned first, count, what = crash_random(10);

	memset(r, 0, sizeof(*r));
	r->op = what == 2 ? VHD_OP_WRITE_ZEROES : what == 3 ? VHD_OP_DISCARD : VHD_OP_WRITE;
	r->length = range_choose(t, r->op, &first, &count);
	r->offset = crash_sector_place(&t->model, first);
	if (what < 2 || overlaps_busy(t, r->offset, r->length)) {
		flush_fill(t, slot);
	} else {
		for (unsigned s = 0; s < count; s++) {
			uint32_t value = r->op == VHD_OP_WRITE ? t->next_value++ : 0;

			for (unsigned i = 0; i < SECTOR / 4; i++)
				slot->buf[s * SECTOR / 4 + i] = value;
			sector_add(t, first + s, value);
		}
	}
	slot->iov = (struct iovec){ slot->buf, count * SECTOR };
	r->iov = &slot->iov;
	r->niov = 1;
	r->done = request_done;
	r->user = slot;
}

/* -- Resizing ------------------------------------------------------------------- */

/* A child never becomes smaller than its parent, which has the size it began with. */
static uint64_t size_choose(const struct test *t)
{
	uint64_t least = t->kind->type == VHD_TYPE_DIFFERENCING ? t->model.size.version[0].value :
								  SECTOR;
	uint64_t size = crash_sector_place(&t->model, crash_random(SECTORS)) +
			SECTOR * (1 + crash_random(crash_random(2) ? 1 : MIB / SECTOR));

	return size < least ? least : size;
}

/* Sectors that go come back as zeros, if at all. */
static void resize_run(struct test *t, struct vhd_image *image)
{
	struct crash_history *h = &t->model.size;
	uint64_t old = crash_history_last(h), size = size_choose(t);
	unsigned first = crash_sectors(&t->model, size < old ? size : old);

	if (size == old)
		return;
	while (size < old && t->pending_count > 0)
		io_finish_one(t);
	if (!crash_history_add(h, size, t->log.count))
		crash_fail(t, "too many sizes", t->log.count);
	for (unsigned s = first; s < SECTORS; s++)
		sector_add(t, s, 0);
	if (vhd_resize(image, size, VHD_RESIZE_SHRINK | VHD_RESIZE_SPARSE, NULL))
		crash_fail(t, "resize failed", t->log.count);
	crash_history_done(h);
	crash_history_confirm(h, h->count, t->log.count);
	for (unsigned s = first; s < SECTORS; s++) {
		crash_history_done(&t->model.sector[s]);
		crash_history_confirm(&t->model.sector[s], t->model.sector[s].count,
				      t->log.count);
	}
}

static void workload_run(struct test *t, struct vhd_image *image, struct vhd_queue *queue,
			 int requests)
{
	for (int sent = 0; sent < requests || t->pending_count > 0;) {
		struct slot *slot = &t->slot[crash_random(IN_FLIGHT)];
		int ret;

		if (sent == requests || slot->busy || crash_random(3) == 0) {
			if (t->pending_count)
				io_finish_one(t);
			continue;
		}
		sent++;
		if (t->kind->resize && crash_random(8) == 0) {
			resize_run(t, image);
			continue;
		}
		slot->test = t;
		slot_fill(t, slot);
		slot->busy = true;
		ret = vhd_submit(queue, &slot->request);
		if (ret != -EINPROGRESS)
			request_done(&slot->request, ret);
	}
}

void crash_work(struct test *t, int requests)
{
	struct vhd_open_options options;
	struct vhd_queue *queue = NULL;
	struct vhd_image *image;

	crash_options(t, &options, &now_ops, 0);
	if (vhd_open(t->live.path, &options, &image, NULL) ||
	    vhd_queue_new(image, &later_ops, t, &queue))
		crash_fail(t, "cannot open", 0);
	workload_run(t, image, queue, requests);
	vhd_queue_free(queue);
	if (vhd_close(image))
		crash_fail(t, "cannot close", 0);
	for (unsigned s = 0; s < SECTORS; s++) /* closing is a flush too */
		crash_history_confirm(&t->model.sector[s], t->model.sector[s].count,
				      t->log.count);
}
