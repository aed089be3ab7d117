/* SPDX-License-Identifier: MIT */
/* What a flush writes of a VHDX: the pages of the sector bitmaps and of the table that
 * have changed since the last one. They may take more than one entry of the log, and the
 * power may go between two: so bitmaps come first, that the table never says "partly
 * present" before the bits of its block are in the log; and of the table the last pages,
 * since where a chunk's bitmap is stands behind the chunk's blocks. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "vhdx.h"

enum { ENTRIES_PER_PAGE = VHDX_PAGE / 8, FIRST_ROOM = 64 };

int vhdx_change_keep(struct vhdx *x, uint64_t index)
{
	struct vhdx_changes *c = &x->changes;

	if (c->marked[index / 8] >> index % 8 & 1)
		return 0;
	if (c->count == c->room) {
		uint32_t room = c->room ? 2 * c->room : FIRST_ROOM;
		struct vhdx_change *all = realloc(c->all, room * sizeof(*all));

		if (!all)
			return -ENOMEM;
		c->all = all;
		c->room = room;
	}
	c->all[c->count++].index = (uint32_t)index;
	c->marked[index / 8] |= (uint8_t)(1 << index % 8);
	return 0;
}

bool vhdx_dirty(const struct vhd_layer *layer)
{
	const struct vhdx *x = layer->state;

	return x->changes.count > 0 || x->bitmaps.marked_count > 0;
}

/* -- Staging ---------------------------------------------------------------------- */

/* An entry as the map has it now. */
static uint64_t entry_now(const struct vhd_layer *layer, uint64_t index)
{
	const struct vhdx *x = layer->state;
	uint64_t chunk = index / (x->disk.chunk_ratio + 1);
	uint64_t inside = index % (x->disk.chunk_ratio + 1);
	uint64_t word, offset;

	if (inside == x->disk.chunk_ratio)
		return x->chunks[chunk] | VHDX_PRESENT;
	word = atomic_load_explicit(&layer->map[chunk * x->disk.chunk_ratio + inside],
				    memory_order_relaxed);
	offset = word & ~(uint64_t)MAP_STATE_MASK;
	switch (word & MAP_STATE_MASK) {
	case MAP_DATA:
		return offset | VHDX_PRESENT;
	case MAP_PART:
		return offset | VHDX_PARTIAL;
	case MAP_IDLE:
		return offset | VHDX_UNMAPPED;
	case MAP_ZERO:
		return VHDX_ZERO;
	default:
		return VHDX_NOT_PRESENT;
	}
}

/* A partly present block whose sectors are all here needs its bitmap no more. */
static void blocks_complete(struct vhd_layer *layer)
{
	struct vhdx *x = layer->state;

	for (uint32_t i = 0; i < x->bitmaps.marked_count; i++) {
		uint32_t block = x->bitmaps.marked[i];
		uint64_t word = atomic_load_explicit(&layer->map[block], memory_order_relaxed);

		if ((word & MAP_STATE_MASK) == MAP_PART && vhd_bitmap_is_full(&x->bitmaps, block) &&
		    vhdx_change_keep(x, vhdx_block_index(&x->disk, block)) == 0)
			atomic_store_explicit(&layer->map[block],
					      (word & ~(uint64_t)MAP_STATE_MASK) | MAP_DATA,
					      memory_order_release);
	}
}

void vhdx_stage(struct vhd_layer *layer)
{
	struct vhdx *x = layer->state;
	struct vhdx_changes *c = &x->changes;

	if (layer->bitmaps) {
		blocks_complete(layer);
		vhd_bitmap_stage(&x->bitmaps);
	}
	for (uint32_t i = 0; i < c->count; i++) {
		uint32_t index = c->all[i].index;

		c->all[i].value = entry_now(layer, index);
		c->marked[index / 8] &= (uint8_t)~(1 << index % 8);
	}
	c->staged = c->count;
	x->log.flushed_size = x->file_size;
}

/* -- Bitmaps ---------------------------------------------------------------------- */

static int number_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* The piece of the page at @offset that is the bitmap of @block. */
static void bits_put(const struct vhdx *x, uint32_t block, uint64_t offset, uint8_t *page)
{
	uint64_t place = vhdx_bits_place(x, block);
	uint64_t start = max_u64(place, offset);
	uint64_t end = min_u64(place + x->bitmaps.size, offset + VHDX_PAGE);

	memcpy(page + (start - offset), vhd_bitmap_staged(&x->bitmaps, block) + (start - place),
	       end - start);
}

/* The page at @offset: as it is in the file, with the bits of @count blocks put in. */
static int bits_page(struct vhd_image *image, struct vhd_layer *layer, uint64_t offset,
		     const uint32_t *blocks, uint32_t count)
{
	const struct vhdx *x = layer->state;
	uint8_t *page;
	int ret = vhdx_log_page(image, layer, offset, &page);

	if (!ret)
		ret = vhd_file_read(image, layer->file, page, VHDX_PAGE, offset);
	for (uint32_t i = 0; !ret && i < count; i++)
		bits_put(x, blocks[i], offset, page);
	return ret;
}

/* Blocks that are neighbours can share a page, and one block can have several. */
static int bits_commit(struct vhd_image *image, struct vhd_layer *layer)
{
	struct vhdx *x = layer->state;
	struct bitmaps *b = &x->bitmaps;
	uint32_t next;
	int ret = 0;

	qsort(b->marked, b->marked_staged, sizeof(*b->marked), number_compare);
	for (uint32_t i = 0; !ret && i < b->marked_staged; i = next) {
		uint64_t place = vhdx_bits_place(x, b->marked[i]);
		uint64_t page = round_down(place, VHDX_PAGE);

		for (next = i + 1; next < b->marked_staged; next++)
			if (round_down(vhdx_bits_place(x, b->marked[next]), VHDX_PAGE) != page)
				break;
		for (; !ret && page < place + b->size; page += VHDX_PAGE)
			ret = bits_page(image, layer, page, b->marked + i, next - i);
	}
	if (!ret)
		vhd_bitmap_forget(b);
	return ret;
}

/* -- The table -------------------------------------------------------------------- */

static int change_compare(const void *a, const void *b)
{
	const struct vhdx_change *x = a, *y = b;

	return (x->index > y->index) - (x->index < y->index);
}

static int table_page(struct vhd_image *image, struct vhd_layer *layer, uint64_t number)
{
	const struct vhdx *x = layer->state;
	uint8_t *page;
	int ret = vhdx_log_page(image, layer, x->regions.bat.offset + number * VHDX_PAGE, &page);

	if (!ret)
		memcpy(page, (const uint8_t *)x->table + number * VHDX_PAGE, VHDX_PAGE);
	return ret;
}

static int table_commit(struct vhd_image *image, struct vhd_layer *layer)
{
	struct vhdx *x = layer->state;
	struct vhdx_changes *c = &x->changes;
	int ret = 0;

	if (c->staged == 0)
		return 0;
	qsort(c->all, c->staged, sizeof(*c->all), change_compare);
	for (uint32_t i = c->staged; !ret && i-- > 0;) {
		uint64_t page = c->all[i].index / ENTRIES_PER_PAGE;

		x->table[c->all[i].index] = htole64(c->all[i].value);
		if (i == 0 || c->all[i - 1].index / ENTRIES_PER_PAGE != page)
			ret = table_page(image, layer, page);
	}
	if (ret)
		return ret;
	c->count -= c->staged;
	memmove(c->all, c->all + c->staged, c->count * sizeof(*c->all));
	c->staged = 0;
	return 0;
}

int vhdx_commit(struct vhd_image *image)
{
	struct vhd_layer *layer = &image->layers[0];
	int ret = layer->bitmaps ? bits_commit(image, layer) : 0;

	if (!ret)
		ret = table_commit(image, layer);
	return ret ? ret : vhdx_log_write(image, layer, false);
}
