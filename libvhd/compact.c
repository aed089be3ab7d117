/* SPDX-License-Identifier: MIT */
/* Making an image's file short: blocks of zeros go, the last blocks move into the gaps.
 *
 * Blocks are copied before the table says so, into space that no table on disk has
 * ever named since it was last synced; the flush syncs the copies before the table,
 * and the table before the file is cut. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "alike.h"
#include "bytes.h"
#include "maintain.h"
#include "space.h"

enum { PIECE = 64 << 10 };

/* -- Moving ------------------------------------------------------------------------ */

struct move {
	uint32_t block;
	uint64_t from, to, length;
};

/* Which of the last blocks goes into which gap. The gaps are taken from the front, so a
 * block that has moved leaves nothing behind that is needed. */
static size_t moves_plan(const struct vhd_layer *layer, const struct spaces *s,
			 struct move *moves)
{
	size_t last = s->count, n = 0;
	uint64_t end = 0;

	for (size_t i = 0; i < last; i++) {
		while (last > i && s->all[i].start > end) {
			const struct space *source = &s->all[last - 1];
			uint64_t size = source->end - source->start, place;

			if (source->block == SPACE_FIXED) {
				last--;
				continue;
			}
			place = layer->ops->fit(layer, end, s->all[i].start);
			if (place == UINT64_MAX || last - 1 < i)
				break;
			moves[n++] = (struct move){ source->block, source->start, place, size };
			end = place + size;
			last--;
		}
		end = max_u64(end, s->all[i].end);
	}
	return n;
}

/* Zeros stay a hole, if the file system has any. */
static int piece_put(struct vhd_image *image, const struct vhd_file *file, const uint8_t *buf,
		     size_t length, uint64_t offset)
{
	struct vhd_io io = {
		.file = file, .op = VHD_IO_PUNCH, .offset = offset, .length = length
	};
	int ret = -EOPNOTSUPP;

	if (bytes_are(buf, length, 0))
		ret = image->io->submit(image->io_opaque, &io);
	return ret == -EOPNOTSUPP ? vhd_file_write(image, file, buf, length, offset) : ret;
}

static int space_copy(struct vhd_image *image, const struct move *m, uint8_t *buf)
{
	const struct vhd_file *file = image->layers[0].file;
	int ret = 0;

	for (uint64_t at = 0; !ret && at < m->length; at += PIECE) {
		size_t n = min_u64(PIECE, m->length - at);

		ret = vhd_file_read(image, file, buf, n, m->from + at);
		if (!ret)
			ret = piece_put(image, file, buf, n, m->to + at);
	}
	return ret;
}

static int moves_run(struct vhd_image *image, const struct move *moves, size_t count,
		     const struct vhd_task *task)
{
	const struct vhd_layer *layer = &image->layers[0];
	uint64_t half = (uint64_t)layer->blocks << layer->block_shift;
	uint8_t *buf = malloc(PIECE);
	int ret = buf ? 0 : -ENOMEM;

	for (size_t i = 0; !ret && i < count; i++) {
		ret = space_copy(image, &moves[i], buf);
		/* The first half of the way is looking for zeros. */
		if (!ret)
			ret = vhd_task_progress(task, half + half / count * (i + 1), 2 * half);
	}
	free(buf);
	if (ret)
		return ret;
	pthread_mutex_lock(&image->lock);
	for (size_t i = 0; !ret && i < count; i++)
		ret = layer->ops->moved(image, moves[i].block, moves[i].to);
	pthread_mutex_unlock(&image->lock);
	return ret ? ret : vhd_flush(image);
}

int vhd_pack(struct vhd_image *image, const struct vhd_task *task, uint64_t *moved)
{
	const struct vhd_layer *layer = &image->layers[0];
	struct move *moves = NULL;
	struct spaces s = { .failed = false };
	size_t count;
	int ret;

	if (!layer->map || !layer->ops->cut)
		return 0;
	image->same_data = true;
	ret = vhd_flush(image);
	if (!ret)
		ret = vhd_session_begin(image);
	if (!ret)
		ret = vhd_spaces_init(&s, layer);
	if (!ret)
		moves = calloc(s.count, sizeof(*moves));
	if (!ret && !moves)
		ret = -ENOMEM;
	if (!ret) {
		count = moves_plan(layer, &s, moves);
		if (moved)
			*moved = count;
		ret = moves_run(image, moves, count, task);
	}
	free(moves);
	vhd_spaces_fini(&s);
	return ret ? ret : layer->ops->cut(image);
}

/* -- Giving up ---------------------------------------------------------------------- */

/* Does the block hold anything? 0 no, 1 yes, -errno. */
static int block_looks_used(struct vhd_image *image, uint32_t block, uint8_t *buf)
{
	struct vhd_layer *layer = &image->layers[0];
	uint64_t word = atomic_load_explicit(&layer->map[block], memory_order_relaxed);
	uint64_t size = UINT64_C(1) << layer->block_shift;
	uint64_t data = word & ~(uint64_t)MAP_STATE_MASK;
	uint32_t sectors = (uint32_t)(size / layer->logical);
	bool here = true;
	int ret;

	if ((word & MAP_STATE_MASK) == MAP_IDLE)
		return 0;
	if ((word & MAP_STATE_MASK) == MAP_PART) {
		ret = layer->ops->run(image, layer, block, 0, sectors, &here);
		return ret < 0 ? ret : here || (uint32_t)ret < sectors;
	}
	for (uint64_t at = 0; at < size; at += JOB_CHUNK) {
		size_t n = min_u64(JOB_CHUNK, size - at);

		ret = vhd_file_read(image, layer->file, buf, n, data + at);
		if (ret || !bytes_are(buf, n, 0))
			return ret ? ret : 1;
	}
	return 0;
}

static int blocks_release(struct vhd_image *image, const struct vhd_task *task, uint64_t *freed)
{
	const struct vhd_layer *layer = &image->layers[0];
	uint8_t *buf = malloc(JOB_CHUNK);
	int ret = buf ? 0 : -ENOMEM;

	for (uint32_t i = 0; !ret && i < layer->blocks; i++) {
		uint64_t state = atomic_load_explicit(&layer->map[i], memory_order_relaxed) &
				 MAP_STATE_MASK;

		if (state == MAP_NONE || state == MAP_ZERO)
			continue;
		ret = block_looks_used(image, i, buf);
		if (ret == 0) {
			pthread_mutex_lock(&image->lock);
			ret = layer->ops->release(image, i);
			pthread_mutex_unlock(&image->lock);
			*freed += ret == 0;
		}
		ret = ret < 0 ? ret : vhd_task_progress(task, (uint64_t)i << layer->block_shift,
							   (uint64_t)layer->blocks
								   << (layer->block_shift + 1));
	}
	free(buf);
	/* What was given up so far is given up; only the rest is not done. */
	if (*freed) {
		int flushed = vhd_flush(image);

		ret = ret ? ret : flushed;
	}
	return ret;
}

static int image_compact(struct vhd_image *image, const struct vhd_task *task,
			 struct vhd_compact_result *result)
{
	int ret = vhd_file_size(image->layers[0].file, &result->file_size_before);

	image->same_data = true;
	if (!ret)
		ret = vhd_session_begin(image);
	if (!ret)
		ret = blocks_release(image, task, &result->blocks_freed);
	if (!ret)
		ret = vhd_pack(image, task, &result->blocks_moved);
	if (!ret)
		ret = vhd_file_size(image->layers[0].file, &result->file_size_after);
	return ret;
}

int vhd_compact(const char *path, const struct vhd_task *task, struct vhd_compact_result *result,
		struct vhd_error *err)
{
	struct vhd_compact_result all = VHD_COMPACT_RESULT_INIT;
	struct vhd_open_options options;
	struct vhd_image *image;
	struct vhd_task job;
	int closed, ret = vhd_task_copy(&job, &options, task, err);

	if (result && result->size != sizeof(*result))
		return vhd_fail(err, -EINVAL, "result of %zu bytes, expected %zu", result->size,
				sizeof(*result));
	options.flags &= ~(uint32_t)VHD_OPEN_READ_ONLY;
	if (!ret)
		ret = vhd_open(path, &options, &image, err);
	if (ret)
		return ret;
	if (!image->layers[0].map || image->layers[0].type == VHD_TYPE_FIXED)
		ret = -ENOTSUP;
	else
		ret = image_compact(image, &job, &all);
	closed = vhd_close(image);
	ret = ret ? ret : closed;
	if (result)
		*result = all;
	if (ret == -ENOTSUP)
		return vhd_fail(err, ret, "%s: only dynamic and differencing images are compacted",
				path);
	return ret ? vhd_fail(err, ret, "%s: cannot be compacted", path) : 0;
}
