/* SPDX-License-Identifier: MIT */
/* Writing a VHDX. A block goes behind all that is there, in space that the file has
 * just grown by and that reads as zeros; its entry is kept. The flush syncs (blocks
 * and the file's length are durable), logs the pages of the table that change,
 * syncs (now they are durable too), and writes them home. The sync that the next
 * flush begins with covers the home writes, so each entry of the log can be its own
 * tail: never is more than the newest one needed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "create.h"
#include "vhdx.h"

enum { PAGES_MAX = 64, ENTRIES_PER_PAGE = VHDX_PAGE / 8 };

/* How many pages one entry may have, so that it never overwrites the one before it,
 * which counts until the new one is whole. */
static uint32_t pages_limit(const struct vhdx *x)
{
	uint32_t half = x->header.log_length / VHDX_PAGE / 2 - 2;

	return half < PAGES_MAX ? half : PAGES_MAX;
}

/* @size bytes into the ring from where the last entry ends. */
static int ring_write(struct vhd_image *image, struct vhd_layer *layer, const uint8_t *bytes,
		      uint32_t size)
{
	struct vhdx *x = layer->state;
	uint32_t first = (uint32_t)min_u64(size, x->header.log_length - x->log_at);
	int ret = vhd_file_write(image, layer->file, bytes, first,
				 x->header.log_offset + x->log_at);

	if (!ret && first < size)
		ret = vhd_file_write(image, layer->file, bytes + first, size - first,
				     x->header.log_offset);
	x->log_at = (uint32_t)(((uint64_t)x->log_at + size) % x->header.log_length);
	return ret;
}

static int log_write(struct vhd_image *image, struct vhd_layer *layer, const uint32_t *pages,
		     uint32_t count)
{
	struct vhdx *x = layer->state;
	uint64_t offsets[PAGES_MAX];
	const uint8_t *contents[PAGES_MAX];
	struct vhdx_log_entry entry = {
		.sequence = ++x->log_sequence,
		.tail = x->log_at,
		.guid = x->header.log_guid,
		.flushed_size = x->staged_size,
		.last_size = x->staged_size,
		.pages = count,
		.offsets = offsets,
		.contents = contents,
	};

	for (uint32_t i = 0; i < count; i++) {
		offsets[i] = x->regions.bat.offset + (uint64_t)pages[i] * VHDX_PAGE;
		contents[i] = (const uint8_t *)x->table + (size_t)pages[i] * VHDX_PAGE;
	}
	vhdx_log_entry_build(x->log_buffer, &entry);
	return ring_write(image, layer, x->log_buffer, vhdx_log_entry_size(count));
}

/* -- The session -------------------------------------------------------------------- */

/* 2.2.2.1: before anything changes, data included, the file gets new GUIDs; before
 * anything is logged, an entry to find the log by. The tail that a crash may have
 * left is cut off first: the log tells the file's length from now on. */
static int vhdx_begin(struct vhd_image *image)
{
	struct vhd_layer *layer = &image->layers[0];
	struct vhdx *x = layer->state;
	int ret = 0;

	if (x->file_size > x->end)
		ret = vhd_file_truncate(image, layer->file, x->end);
	x->file_size = x->staged_size = x->end;
	vhd_random_id(x->header.file_write);
	vhd_random_id(x->header.data_write);
	vhd_random_id(x->header.log_guid);
	if (!ret)
		ret = log_write(image, layer, NULL, 0);
	if (!ret)
		ret = vhd_file_sync(image, layer->file);
	for (int round = 0; !ret && round < 2; round++)
		ret = vhdx_header_update(image, layer);
	return ret;
}

/* All is flushed: nothing of the log is needed once the pages at home are durable. */
static int vhdx_end(struct vhd_image *image)
{
	struct vhd_layer *layer = &image->layers[0];
	struct vhdx *x = layer->state;
	int ret = vhd_file_sync(image, layer->file);

	memset(x->header.log_guid, 0, sizeof(x->header.log_guid));
	for (int round = 0; !ret && round < 2; round++)
		ret = vhdx_header_update(image, layer);
	return ret;
}

/* -- Blocks ------------------------------------------------------------------------- */

static int vhdx_allocate(struct vhd_image *image, uint32_t block)
{
	struct vhd_layer *layer = &image->layers[0];
	struct vhdx *x = layer->state;
	uint64_t place = x->end;
	int ret = vhd_file_truncate(image, layer->file, place + x->disk.block_size);

	if (ret)
		return ret;
	x->end = x->file_size = place + x->disk.block_size;
	x->kept[x->kept_count++] = block;
	atomic_store_explicit(&layer->map[block], place | MAP_DATA, memory_order_release);
	return 0;
}

static bool vhdx_dirty(const struct vhd_layer *layer)
{
	const struct vhdx *x = layer->state;

	return x->kept_count > 0;
}

static void vhdx_stage(struct vhd_layer *layer)
{
	struct vhdx *x = layer->state;

	x->staged = x->kept_count;
	x->staged_size = x->file_size;
}

static int block_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Puts the staged blocks' entries into the table, from @from on until the pages that
 * changes are as many as one log entry takes. Returns how far it came. */
static uint32_t entries_put(const struct vhd_layer *layer, uint32_t from, uint32_t *pages,
			    uint32_t *count)
{
	struct vhdx *x = layer->state;

	for (*count = 0; from < x->staged; from++) {
		uint32_t block = x->kept[from];
		uint64_t index = vhdx_block_index(&x->disk, block);
		uint64_t word = atomic_load_explicit(&layer->map[block], memory_order_relaxed);
		uint32_t page = (uint32_t)(index / ENTRIES_PER_PAGE);

		if (*count == 0 || pages[*count - 1] != page) {
			if (*count == pages_limit(x))
				break;
			pages[(*count)++] = page;
		}
		x->table[index] = htole64((word & ~(uint64_t)MAP_STATE_MASK) | VHDX_PRESENT);
	}
	return from;
}

static int home_write(struct vhd_image *image, struct vhd_layer *layer)
{
	struct vhdx *x = layer->state;
	int ret = 0;

	for (uint32_t i = 0; !ret && i < x->home_count; i++)
		ret = vhd_file_write(image, layer->file,
				     (const uint8_t *)x->table + (size_t)x->home[i] * VHDX_PAGE,
				     VHDX_PAGE,
				     x->regions.bat.offset + (uint64_t)x->home[i] * VHDX_PAGE);
	x->home_count = 0;
	return ret;
}

static int vhdx_commit(struct vhd_image *image)
{
	struct vhd_layer *layer = &image->layers[0];
	struct vhdx *x = layer->state;
	int ret = 0;

	qsort(x->kept, x->staged, sizeof(*x->kept), block_compare);
	for (uint32_t at = 0; !ret && at < x->staged;) {
		/* More than one entry holds, which is rare: the one before it goes home. */
		if (x->home_count > 0) {
			ret = vhd_file_sync(image, layer->file);
			if (!ret)
				ret = home_write(image, layer);
			if (!ret)
				ret = vhd_file_sync(image, layer->file);
		}
		at = entries_put(layer, at, x->home, &x->home_count);
		if (!ret)
			ret = log_write(image, layer, x->home, x->home_count);
	}
	if (ret)
		return ret;
	x->kept_count -= x->staged;
	memmove(x->kept, x->kept + x->staged, x->kept_count * sizeof(*x->kept));
	x->staged = 0;
	return 0;
}

static int vhdx_finish(struct vhd_image *image)
{
	return home_write(image, &image->layers[0]);
}

/* -- Opening and closing -------------------------------------------------------------- */

static void vhdx_free(struct vhd_layer *layer)
{
	struct vhdx *x = layer->state;

	for (size_t i = 0; i < x->patch_count; i++)
		free(x->patches[i].bytes);
	free(x->patches);
	vhd_bitmap_fini(&x->bitmaps);
	free(x->table);
	free(x->locator);
	free(x->kept);
	free(x->home);
	free(x->log_buffer);
	free(layer->map);
	free(x);
}

const struct layer_ops vhdx_ops = {
	.run = vhd_bitmap_run,
	.written = vhd_bitmap_written,
	.begin = vhdx_begin,
	.allocate = vhdx_allocate,
	.dirty = vhdx_dirty,
	.stage = vhdx_stage,
	.commit = vhdx_commit,
	.finish = vhdx_finish,
	.end = vhdx_end,
	.free = vhdx_free,
};

int vhdx_write_init(const struct open_context *ctx, struct vhd_layer *layer)
{
	struct vhdx *x = layer->state;

	if (layer->type == VHD_TYPE_DIFFERENCING)
		return vhd_fail(ctx->err, -ENOTSUP, "a differencing VHDX can only be read");
	if (layer->file->flags & VHD_FILE_BLOCK_DEVICE)
		return vhd_fail(ctx->err, -ENOTSUP, "a VHDX on a block device can only be read");
	if (x->header.log_length == 0)
		return vhd_fail(ctx->err, -ENOTSUP, "a VHDX without a log can only be read");
	if (x->header.sequence > UINT64_MAX - 16)
		return vhd_fail(ctx->err, VHD_FAULT_VHDX_HEADER,
				"header: the sequence number has come to its end");
	x->kept = calloc(x->disk.blocks, sizeof(*x->kept));
	x->home = calloc(PAGES_MAX, sizeof(*x->home));
	x->log_buffer = malloc(vhdx_log_entry_size(PAGES_MAX));
	if (!x->kept || !x->home || !x->log_buffer)
		return vhd_fail(ctx->err, -ENOMEM, "no memory to write to the image");
	return 0;
}
