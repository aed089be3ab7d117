/* SPDX-License-Identifier: MIT */
/* Sector bitmaps of differencing VHDs. A bit is set in memory when its sector has
 * been written, and on disk by the flush that follows: between its two syncs, so
 * that no bit is there without its data (the parent's would be lost). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "vhd-dynamic.h"

int vhd_bitmap_init(struct dynamic *d)
{
	d->bits = calloc(d->layout.blocks, sizeof(*d->bits));
	/* A block may stand there twice: staged, and marked again since. */
	d->marked = calloc(d->layout.blocks, 2 * sizeof(*d->marked));
	return d->bits && d->marked ? 0 : -ENOMEM;
}

void vhd_bitmap_fini(struct dynamic *d)
{
	if (d->bits)
		for (uint32_t i = 0; i < d->layout.blocks; i++)
			free(atomic_load_explicit(&d->bits[i], memory_order_relaxed));
	free(d->bits);
	free(d->marked);
}

static struct bits *bits_new(const struct dynamic *d)
{
	struct bits *b = calloc(1, sizeof(*b) + 2 * (size_t)d->layout.bitmap_size);

	if (b)
		b->staged = b->now + d->layout.bitmap_size;
	return b;
}

int vhd_bitmap_add(struct dynamic *d, uint32_t block)
{
	/* One may be left from an allocation that failed. */
	struct bits *b = atomic_load_explicit(&d->bits[block], memory_order_relaxed);

	if (!b)
		b = bits_new(d);
	atomic_store_explicit(&d->bits[block], b, memory_order_release);
	return b ? 0 : -ENOMEM;
}

static uint64_t block_data(const struct vhd_layer *layer, uint32_t block)
{
	return atomic_load_explicit(&layer->map[block], memory_order_relaxed) &
	       ~(uint64_t)MAP_STATE_MASK;
}

/* Reads the bitmap from the file, if nobody else has. */
static int bits_load(struct vhd_image *image, const struct vhd_layer *layer, uint32_t block,
		     struct bits **bits)
{
	struct dynamic *d = layer->state;
	uint32_t size = d->layout.bitmap_size;
	int ret = 0;

	pthread_mutex_lock(&image->lock);
	*bits = atomic_load_explicit(&d->bits[block], memory_order_relaxed);
	if (!*bits) {
		*bits = bits_new(d);
		ret = *bits ? vhd_file_read(image, layer->file, (*bits)->now, size,
					    block_data(layer, block) - size) :
			      -ENOMEM;
		if (!ret)
			atomic_store_explicit(&d->bits[block], *bits, memory_order_release);
		else
			free(*bits);
	}
	pthread_mutex_unlock(&image->lock);
	return ret;
}

static int bits_get(struct vhd_image *image, const struct vhd_layer *layer, uint32_t block,
		    struct bits **bits)
{
	const struct dynamic *d = layer->state;

	*bits = atomic_load_explicit(&d->bits[block], memory_order_acquire);
	return *bits ? 0 : bits_load(image, layer, block, bits);
}

static uint8_t byte_load(const struct bits *b, uint32_t sector)
{
	return __atomic_load_n(&b->now[sector / 8], __ATOMIC_ACQUIRE);
}

static bool bit_get(const struct bits *b, uint32_t sector)
{
	return byte_load(b, sector) >> (7 - sector % 8) & 1;
}

int vhd_bitmap_run(struct vhd_image *image, struct vhd_layer *layer, uint32_t block,
		   uint32_t sector, uint32_t count, bool *here)
{
	uint32_t at = sector, end = sector + count;
	struct bits *b;
	int ret = bits_get(image, layer, block, &b);

	if (ret)
		return ret;
	*here = bit_get(b, sector);
	while (at < end) {
		if (at % 8 == 0 && end - at >= 8 && byte_load(b, at) == (*here ? 0xff : 0))
			at += 8;
		else if (bit_get(b, at) == *here)
			at++;
		else
			break;
	}
	return (int)(at - sector);
}

/* Sets the bits; tells whether any was clear. */
static bool bits_set(struct bits *b, uint32_t sector, uint32_t count)
{
	bool changed = false;

	for (uint32_t at = sector, end = sector + count; at < end;) {
		uint32_t first = at % 8;
		uint32_t n = (uint32_t)min_u64(8 - first, end - at);
		uint8_t mask = (uint8_t)(0xff >> first & 0xff << (8 - first - n));
		uint8_t old = __atomic_fetch_or(&b->now[at / 8], mask, __ATOMIC_RELEASE);

		changed |= (old & mask) != mask;
		at += n;
	}
	return changed;
}

void vhd_bitmap_written(struct vhd_image *image, uint32_t block, uint32_t sector, uint32_t count)
{
	struct vhd_layer *layer = &image->layers[0];
	struct dynamic *d = layer->state;
	struct bits *b;
	bool here;

	/* A bit is staged by the flush that finds it set: nothing to add to that. */
	if (vhd_bitmap_run(image, layer, block, sector, count, &here) == (int)count && here)
		return;
	/* Cannot fail: the bitmap was loaded or made before the block was written. */
	b = atomic_load_explicit(&d->bits[block], memory_order_acquire);
	if (!b)
		return;
	pthread_mutex_lock(&image->lock);
	if (bits_set(b, sector, count) && !b->marked) {
		b->marked = true;
		d->marked[d->marked_count++] = block;
	}
	pthread_mutex_unlock(&image->lock);
}

void vhd_bitmap_stage(struct dynamic *d)
{
	for (uint32_t i = 0; i < d->marked_count; i++) {
		struct bits *b = atomic_load_explicit(&d->bits[d->marked[i]],
						      memory_order_relaxed);

		memcpy(b->staged, b->now, d->layout.bitmap_size);
		b->marked = false;
	}
	d->marked_staged = d->marked_count;
}

int vhd_bitmap_commit(struct vhd_image *image, struct vhd_layer *layer)
{
	struct dynamic *d = layer->state;
	uint32_t size = d->layout.bitmap_size;
	int ret = 0;

	for (uint32_t i = 0; !ret && i < d->marked_staged; i++) {
		uint32_t block = d->marked[i];
		const struct bits *b = atomic_load_explicit(&d->bits[block],
							    memory_order_relaxed);

		ret = vhd_file_write(image, layer->file, b->staged, size,
				     block_data(layer, block) - size);
	}
	if (ret)
		return ret;
	d->marked_count -= d->marked_staged;
	memmove(d->marked, d->marked + d->marked_staged, d->marked_count * sizeof(*d->marked));
	d->marked_staged = 0;
	return 0;
}
