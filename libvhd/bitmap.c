/* SPDX-License-Identifier: MIT */
/* Sector bitmaps. A bit is set in memory when its sector has
 * been written, and on disk by the flush that follows: between its two syncs, so
 * that no bit is there without its data (the parent's would be lost). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "alike.h"
#include "bitmap.h"
#include "bytes.h"

enum { READERS_MOST = 64 << 20 }; /* bytes of bitmaps that are only read, each image of a chain */

int vhd_bitmap_init(struct bitmaps *b, uint32_t most)
{
	b->limit = READERS_MOST / (2 * b->size);
	b->bits = vhd_room_init(&b->bits_room, b->blocks * sizeof(*b->bits),
				most * sizeof(*b->bits));
	/* A block may stand there twice: staged, and marked again since. */
	b->marked = vhd_room_init(&b->marked_room, b->blocks * 2 * sizeof(*b->marked),
				  most * 2 * sizeof(*b->marked));
	return b->bits && b->marked ? 0 : -ENOMEM;
}

static struct bits *bits_have(const struct bitmaps *b, uint32_t block, memory_order order)
{
	return atomic_load_explicit(&b->bits[block], order);
}

static void bits_free(struct bitmaps *b, uint32_t from)
{
	for (uint32_t i = from; b->bits && i < b->blocks; i++) {
		struct bits *bits = bits_have(b, i, memory_order_relaxed);

		if (!bits)
			continue;
		atomic_store_explicit(&b->bits[i], NULL, memory_order_relaxed);
		atomic_fetch_sub_explicit(&b->count, 1, memory_order_relaxed);
		free(bits);
	}
}

int vhd_bitmap_resize(struct bitmaps *b, uint32_t blocks)
{
	int ret = 0;

	if (blocks < b->blocks)
		bits_free(b, blocks);
	else
		ret = vhd_room_grow(&b->bits_room, blocks * sizeof(*b->bits));
	if (!ret && blocks > b->blocks)
		ret = vhd_room_grow(&b->marked_room, blocks * 2 * sizeof(*b->marked));
	if (!ret)
		b->blocks = blocks;
	return ret;
}

void vhd_bitmap_fini(struct bitmaps *b)
{
	bits_free(b, 0);
	vhd_room_fini(&b->bits_room);
	vhd_room_fini(&b->marked_room);
	free(b->passing);
}

static struct bits *bits_new(const struct bitmaps *b)
{
	struct bits *bits = calloc(1, sizeof(*bits) + 2 * (size_t)b->size);

	if (bits)
		bits->staged = bits->now + b->size;
	return bits;
}

/* Under image->lock */
static void bits_keep(struct bitmaps *b, uint32_t block, struct bits *bits)
{
	atomic_store_explicit(&b->bits[block], bits, memory_order_release);
	atomic_fetch_add_explicit(&b->count, 1, memory_order_relaxed);
}

int vhd_bitmap_add(struct bitmaps *b, uint32_t block)
{
	struct bits *bits;

	/* One may be left from an allocation that failed. */
	if (bits_have(b, block, memory_order_relaxed))
		return 0;
	bits = bits_new(b);
	if (!bits)
		return -ENOMEM;
	bits_keep(b, block, bits);
	return 0;
}

void vhd_bitmap_drop(struct bitmaps *b, uint32_t block)
{
	struct bits *bits = bits_have(b, block, memory_order_relaxed);

	if (!bits)
		return;
	atomic_store_explicit(&b->bits[block], NULL, memory_order_relaxed);
	atomic_fetch_sub_explicit(&b->count, 1, memory_order_relaxed);
	free(bits);
}

/* Reads the bitmap from the file, if nobody else has. */
static int bits_load(struct vhd_image *image, const struct vhd_layer *layer, uint32_t block,
		     struct bits **bits)
{
	struct bitmaps *b = layer->bitmaps;
	int ret = 0;

	pthread_mutex_lock(&image->lock);
	*bits = bits_have(b, block, memory_order_relaxed);
	if (!*bits) {
		*bits = bits_new(b);
		ret = *bits ? b->load(image, layer, block, (*bits)->now) : -ENOMEM;
		if (!ret)
			bits_keep(b, block, *bits);
		else
			free(*bits);
	}
	pthread_mutex_unlock(&image->lock);
	return ret;
}

static int bits_get(struct vhd_image *image, const struct vhd_layer *layer, uint32_t block,
		    struct bits **bits)
{
	*bits = bits_have(layer->bitmaps, block, memory_order_acquire);
	return *bits ? 0 : bits_load(image, layer, block, bits);
}

int vhd_bitmap_need(struct vhd_image *image, struct vhd_layer *layer, uint32_t block)
{
	struct bits *bits;

	return bits_get(image, layer, block, &bits);
}

static uint8_t byte_load(const uint8_t *bytes, uint32_t sector)
{
	return __atomic_load_n(&bytes[sector / 8], __ATOMIC_ACQUIRE);
}

static bool bit_get(const uint8_t *bytes, bool low_first, uint32_t sector)
{
	return byte_load(bytes, sector) >> (low_first ? sector % 8 : 7 - sector % 8) & 1;
}

/* How many sectors are like the first one: @here or not. */
static int run_find(const uint8_t *bytes, bool low, uint32_t sector, uint32_t count, bool *here)
{
	uint32_t at = sector, end = sector + count;

	*here = bit_get(bytes, low, sector);
	while (at < end) {
		if (at % 8 == 0 && end - at >= 8 && byte_load(bytes, at) == (*here ? 0xff : 0))
			at += 8;
		else if (bit_get(bytes, low, at) == *here)
			at++;
		else
			break;
	}
	return (int)(at - sector);
}

static int passing_load(struct vhd_image *image, const struct vhd_layer *layer, uint32_t block)
{
	struct bitmaps *b = layer->bitmaps;

	if (!b->passing)
		b->passing = malloc(b->size);
	if (!b->passing)
		return -ENOMEM;
	memset(b->passing, 0, b->size);
	return b->load(image, layer, block, b->passing);
}

/* There are too many in memory. This one is not, so that the file's is the newest. */
static int run_in_file(struct vhd_image *image, const struct vhd_layer *layer, uint32_t block,
		       uint32_t sector, uint32_t count, bool *here)
{
	struct bitmaps *b = layer->bitmaps;
	const struct bits *bits;
	int ret = 0;

	pthread_mutex_lock(&image->lock);
	bits = bits_have(b, block, memory_order_relaxed);
	if (!bits)
		ret = passing_load(image, layer, block);
	if (!ret)
		ret = run_find(bits ? bits->now : b->passing, b->low_first, sector, count, here);
	pthread_mutex_unlock(&image->lock);
	return ret;
}

int vhd_bitmap_run(struct vhd_image *image, struct vhd_layer *layer, uint32_t block,
		   uint32_t sector, uint32_t count, bool *here)
{
	struct bitmaps *b = layer->bitmaps;
	struct bits *bits = bits_have(b, block, memory_order_acquire);
	int ret = 0;

	if (!bits && atomic_load_explicit(&b->count, memory_order_relaxed) >= b->limit)
		return run_in_file(image, layer, block, sector, count, here);
	if (!bits)
		ret = bits_load(image, layer, block, &bits);
	return ret ? ret : run_find(bits->now, b->low_first, sector, count, here);
}

/* Sets the bits; tells whether any was clear. */
static bool bits_set(struct bits *b, bool low_first, uint32_t sector, uint32_t count)
{
	bool changed = false;

	for (uint32_t at = sector, end = sector + count; at < end;) {
		uint32_t first = at % 8;
		uint32_t n = (uint32_t)min_u64(8 - first, end - at);
		uint32_t shift = low_first ? first : 8 - first - n;
		uint8_t mask = (uint8_t)((0xffu >> (8 - n)) << shift);
		uint8_t old = __atomic_fetch_or(&b->now[at / 8], mask, __ATOMIC_RELEASE);

		changed |= (old & mask) != mask;
		at += n;
	}
	return changed;
}

void vhd_bitmap_written(struct vhd_image *image, uint32_t block, uint32_t sector, uint32_t count)
{
	struct vhd_layer *layer = &image->layers[0];
	struct bitmaps *all = layer->bitmaps;
	struct bits *b = bits_have(all, block, memory_order_acquire);
	bool here;

	/* There is one: it was needed or made before the block was written. */
	if (!b)
		return;
	/* A bit is staged by the flush that finds it set: nothing to add to that. */
	if (run_find(b->now, all->low_first, sector, count, &here) == (int)count && here)
		return;
	pthread_mutex_lock(&image->lock);
	if (bits_set(b, all->low_first, sector, count))
		vhd_bitmap_mark(all, block);
	pthread_mutex_unlock(&image->lock);
}

void vhd_bitmap_mark(struct bitmaps *b, uint32_t block)
{
	struct bits *bits = bits_have(b, block, memory_order_relaxed);

	if (bits->marked)
		return;
	bits->marked = true;
	b->marked[b->marked_count++] = block;
}

bool vhd_bitmap_is_full(const struct bitmaps *b, uint32_t block)
{
	return bytes_are(bits_have(b, block, memory_order_relaxed)->now, b->size, 0xff);
}

const uint8_t *vhd_bitmap_staged(const struct bitmaps *b, uint32_t block)
{
	return bits_have(b, block, memory_order_relaxed)->staged;
}

void vhd_bitmap_stage(struct bitmaps *b)
{
	for (uint32_t i = 0; i < b->marked_count; i++) {
		struct bits *bits = bits_have(b, b->marked[i], memory_order_relaxed);

		memcpy(bits->staged, bits->now, b->size);
		bits->marked = false;
	}
	b->marked_staged = b->marked_count;
}

int vhd_bitmap_commit(struct vhd_image *image, struct vhd_layer *layer,
		      int (*write)(struct vhd_image *image, struct vhd_layer *layer,
				   uint32_t block, const uint8_t *bytes))
{
	struct bitmaps *b = layer->bitmaps;
	int ret = 0;

	for (uint32_t i = 0; !ret && i < b->marked_staged; i++)
		ret = write(image, layer, b->marked[i], vhd_bitmap_staged(b, b->marked[i]));
	if (!ret)
		vhd_bitmap_forget(b);
	return ret;
}

void vhd_bitmap_forget(struct bitmaps *b)
{
	b->marked_count -= b->marked_staged;
	memmove(b->marked, b->marked + b->marked_staged, b->marked_count * sizeof(*b->marked));
	b->marked_staged = 0;
}
