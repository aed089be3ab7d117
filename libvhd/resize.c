/* SPDX-License-Identifier: MIT */
/* Another size for the disk: what all formats have in common, and raw images. */
#include "resize.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>

#include "bytes.h"
#include "queue.h"

enum { ZERO_CHUNK = 65536 };

int vhd_resize_reserve(const struct resize *r, uint64_t from, uint64_t to)
{
	int fd = r->layer->file->fd;

	if (r->flags & VHD_RESIZE_SPARSE || from >= to)
		return 0;
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(to - from)) == 0 ||
	    errno == EOPNOTSUPP)
		return 0;
	return vhd_fail(r->err, -errno, "cannot reserve %" PRIu64 " bytes", to - from);
}

int vhd_resize_sync(struct resize *r)
{
	int ret = vhd_file_sync(r->image, r->layer->file);

	r->begun |= ret != 0;
	return ret;
}

/* A hole, if it is worth one. */
static bool zero_punch(const struct resize *r, uint64_t from, uint64_t to)
{
	struct vhd_io io = {
		.file = r->layer->file,
		.op = VHD_IO_PUNCH,
		.offset = from,
		.length = to - from,
	};

	return r->image->can_discard && to - from >= ZERO_CHUNK &&
	       r->image->io->submit(r->image->io_opaque, &io) == 0;
}

int vhd_resize_zero(const struct resize *r, uint64_t from, uint64_t to)
{
	static const uint8_t zeros[ZERO_CHUNK];
	int ret = 0;

	if (from >= to || zero_punch(r, from, to))
		return 0;
	for (; !ret && from < to; from += min_u64(sizeof(zeros), to - from))
		ret = vhd_file_write(r->image, r->layer->file, zeros,
				     min_u64(sizeof(zeros), to - from), from);
	return ret;
}

int vhd_resize_zero_tail(struct resize *r, uint64_t place)
{
	uint64_t block = UINT64_C(1) << r->layer->block_shift;
	uint64_t inside = r->layer->size & (block - 1);
	int ret = 0;

	if (inside)
		ret = vhd_resize_zero(r, place + inside, place + block);
	return ret || !inside ? ret : vhd_resize_sync(r);
}

int vhd_raw_resize(struct resize *r)
{
	int ret = vhd_resize_reserve(r, r->layer->size, r->size);

	if (!ret)
		ret = vhd_file_truncate(r->image, r->layer->file, r->size);
	if (ret)
		return ret;
	r->begun = true;
	ret = vhd_resize_sync(r);
	if (!ret)
		r->layer->size = r->size;
	return ret;
}

static int resize_check(const struct vhd_image *image, uint64_t size, uint32_t flags,
			struct vhd_error *err)
{
	const struct vhd_layer *top = &image->layers[0];

	if (image->read_only)
		return vhd_fail(err, -EROFS, "cannot resize it");
	if (top->file->flags & VHD_FILE_BLOCK_DEVICE)
		return vhd_fail(err, -ENOTSUP, "a block device has the size it has");
	if (size == 0 || size % top->logical || size > INT64_MAX / 2)
		return vhd_fail(err, -EINVAL,
				"virtual size is %" PRIu64 ", expected a multiple of %" PRIu32
				" above 0",
				size, top->logical);
	if (size < top->size && !(flags & VHD_RESIZE_SHRINK))
		return vhd_fail(err, -EINVAL,
				"virtual size is %" PRIu64 ", less than the %" PRIu64
				" it has: what is behind would be lost",
				size, top->size);
	if (size < top->size && image->layer_count > 1 && size < image->layers[1].size)
		return vhd_fail(err, -EINVAL,
				"virtual size is %" PRIu64 ", the parent's is %" PRIu64, size,
				image->layers[1].size);
	return 0;
}

static int layer_resize(struct resize *r)
{
	switch (r->layer->format) {
	case VHD_FORMAT_RAW:
		return vhd_raw_resize(r);
	case VHD_FORMAT_VHD:
		return r->layer->map ? vhd_dynamic_resize(r) : vhd_fixed_resize(r);
	default:
		return vhd_vhdx_resize(r);
	}
}

/* If it went wrong half way, nobody knows what the next write would find. */
static int resize_run(struct resize *r)
{
	int none = 0;
	int ret;

	pthread_mutex_lock(&r->image->lock);
	ret = atomic_load(&r->image->sync_error);
	if (!ret)
		ret = layer_resize(r);
	if (ret && r->begun)
		atomic_compare_exchange_strong(&r->image->sync_error, &none, ret);
	pthread_mutex_unlock(&r->image->lock);
	return ret;
}

int vhd_resize(struct vhd_image *image, uint64_t size, uint32_t flags, struct vhd_error *err)
{
	struct resize r = { image, &image->layers[0], size, flags, err, false };
	struct vhd_error own;
	uint64_t old = r.layer->size;
	int ret;

	if (!err)
		r.err = &own;
	r.err->code = 0;
	ret = resize_check(image, size, flags, r.err);
	if (!ret && size < old)
		ret = vhd_flush(image);
	if (!ret && size != old)
		ret = vhd_session_begin(image);
	if (!ret && size != old)
		ret = resize_run(&r);
	if (ret && r.err->code != ret)
		vhd_fail(r.err, ret, "cannot change the size to %" PRIu64, size);
	if (ret)
		vhd_error_prefix(r.err, r.layer->path);
	return ret;
}
