/* SPDX-License-Identifier: MIT */
#include "extent.h"

#include <errno.h>
#include <unistd.h>

#include "bitmap.h"
#include "bytes.h"

enum { SECTOR = 512 };

static uint64_t map_load(const struct vhd_layer *layer, uint32_t block)
{
	return atomic_load_explicit(&layer->map[block], memory_order_acquire);
}

static bool map_has_space(uint64_t word)
{
	uint64_t state = word & MAP_STATE_MASK;

	return state == MAP_DATA || state == MAP_PART;
}

/* Neighbouring blocks that are neighbours in the file make one extent. */
static uint64_t extent_grow(const struct vhd_layer *layer, uint32_t block, uint64_t word,
			    uint64_t have, uint64_t want)
{
	uint64_t size = UINT64_C(1) << layer->block_shift;
	bool data = (word & MAP_STATE_MASK) == MAP_DATA;

	while (have < want) {
		if (data)
			word += size;
		if (map_load(layer, ++block) != word)
			break;
		have += size;
	}
	return min_u64(have, want);
}

enum { IN_PARENT, FOUND }; /* FOUND may be zeros: no layer then */

/* One layer's part in it: FOUND, or IN_PARENT with the length it holds for. */
static int extent_in_layer(struct vhd_image *image, struct vhd_layer *layer, uint64_t offset,
			   struct extent *e)
{
	uint64_t size = UINT64_C(1) << layer->block_shift;
	uint64_t inside = offset & (size - 1);
	uint32_t block = (uint32_t)(offset >> layer->block_shift);
	uint64_t word = map_load(layer, block);
	bool here = (word & MAP_STATE_MASK) == MAP_DATA;
	int run;

	if ((word & MAP_STATE_MASK) == MAP_PART) {
		uint64_t length = min_u64(e->length, size - inside);

		run = layer->ops->run(image, layer, block, (uint32_t)(inside / layer->logical),
				      (uint32_t)(length / layer->logical), &here);
		if (run < 0)
			return run;
		e->length = (uint64_t)run * layer->logical;
	} else {
		e->length = extent_grow(layer, block, word, size - inside, e->length);
	}
	if ((word & MAP_STATE_MASK) == MAP_ZERO || (word & MAP_STATE_MASK) == MAP_IDLE)
		return FOUND;
	if (!here)
		return IN_PARENT;
	e->layer = layer;
	e->offset = (word & ~(uint64_t)MAP_STATE_MASK) + inside;
	return FOUND;
}

int vhd_extent_find(struct vhd_image *image, uint64_t offset, uint64_t length, struct extent *e)
{
	*e = (struct extent){ .length = length };
	for (uint32_t i = 0; i < image->layer_count; i++) {
		struct vhd_layer *layer = &image->layers[i];
		int ret;

		if (offset >= layer->size)
			break; /* a parent smaller than its child */
		e->length = min_u64(e->length, layer->size - offset);
		if (!layer->map) {
			e->layer = layer;
			e->offset = offset;
			return 0;
		}
		ret = extent_in_layer(image, layer, offset, e);
		if (ret != IN_PARENT)
			return ret < 0 ? ret : 0;
	}
	return 0;
}

int vhd_extent_own(struct vhd_image *image, uint64_t offset, uint64_t length, uint64_t *alike,
		   enum vhd_own *own)
{
	struct vhd_layer *layer = &image->layers[0];
	struct extent e = { .length = length };
	int ret = FOUND;

	if (layer->map)
		ret = extent_in_layer(image, layer, offset, &e);
	if (ret < 0)
		return ret;
	*alike = e.length;
	*own = ret == IN_PARENT ? VHD_OWN_NOTHING :
	       e.layer || !layer->map ? VHD_OWN_DATA : VHD_OWN_ZEROS;
	return 0;
}

static int block_allocate(struct vhd_image *image, const struct vhd_layer *layer, uint32_t block)
{
	int ret = 0;

	pthread_mutex_lock(&image->lock);
	/* Another write may have been first. */
	if (!map_has_space(map_load(layer, block)))
		ret = layer->ops->allocate(image, block);
	pthread_mutex_unlock(&image->lock);
	return ret;
}

int vhd_extent_make(struct vhd_image *image, uint64_t offset, uint64_t length, struct extent *e)
{
	struct vhd_layer *layer = &image->layers[0];
	uint64_t size, inside, word;
	uint32_t block;
	int ret;

	*e = (struct extent){ layer, offset, length, false };
	if (!layer->map)
		return 0;
	size = UINT64_C(1) << layer->block_shift;
	inside = offset & (size - 1);
	block = (uint32_t)(offset >> layer->block_shift);
	word = map_load(layer, block);
	if (!map_has_space(word)) {
		ret = block_allocate(image, layer, block);
		if (ret)
			return ret;
		word = map_load(layer, block);
	}
	e->offset = (word & ~(uint64_t)MAP_STATE_MASK) + inside;
	e->part = (word & MAP_STATE_MASK) == MAP_PART;
	if (e->part) {
		/* After the write it would be too late to fail for the bitmap. */
		e->length = min_u64(length, size - inside);
		return vhd_bitmap_need(image, layer, block);
	}
	e->length = extent_grow(layer, block, word, size - inside, length);
	return 0;
}

bool vhd_extent_block(const struct vhd_image *image, uint64_t offset, uint64_t length,
		      uint32_t *block, struct extent *e)
{
	const struct vhd_layer *layer = &image->layers[0];
	uint64_t size = UINT64_C(1) << layer->block_shift;
	uint64_t inside = min_u64(size, layer->size - offset);
	uint64_t word;

	if (!layer->map || offset & (size - 1) || length < inside)
		return false;
	*block = (uint32_t)(offset >> layer->block_shift);
	word = map_load(layer, *block);
	*e = (struct extent){ .offset = word & ~(uint64_t)MAP_STATE_MASK, .length = inside };
	e->layer = map_has_space(word) ? layer : NULL;
	return true;
}

void vhd_extent_written(struct vhd_image *image, uint64_t offset, uint64_t end)
{
	const struct vhd_layer *layer = &image->layers[0];
	uint64_t mask = (UINT64_C(1) << layer->block_shift) - 1;
	/* A short write may have ended inside a sector: that one counts when the
	 * rest of it is there. */
	uint64_t first = offset / layer->logical;
	uint64_t count = end / layer->logical - first;

	if (count > 0)
		layer->ops->written(image, (uint32_t)(offset >> layer->block_shift),
				    (uint32_t)((offset & mask) / layer->logical), (uint32_t)count);
}

/* Files without a map are sparse where nothing was written: the file system knows. */
static void extent_find_hole(const struct vhd_layer *layer, struct vhd_extent *e)
{
	off_t start = (off_t)e->file_offset;
	off_t end = start + (off_t)e->length;
	off_t data = lseek(layer->file->fd, start, SEEK_DATA);
	off_t hole;

	if (data < 0 && errno != ENXIO)
		return;
	if (data < 0 || data > end)
		data = end;
	data = (off_t)round_down((uint64_t)data, SECTOR);
	if (data > start) {
		e->data = false;
		e->length = (uint64_t)(data - start);
		return;
	}
	hole = lseek(layer->file->fd, start, SEEK_HOLE);
	if (hole > start && hole < end)
		e->length = min_u64(e->length, round_up((uint64_t)(hole - start), SECTOR));
}

int vhd_get_extent(struct vhd_image *image, uint64_t offset, uint64_t length,
		   struct vhd_extent *extent)
{
	uint64_t size = image->layers[0].size;
	struct extent e;
	int ret;

	if (length == 0 || (offset | length) % SECTOR || offset > size || length > size - offset)
		return -EINVAL;
	ret = vhd_extent_find(image, offset, length, &e);
	if (ret)
		return ret;
	*extent = (struct vhd_extent){
		.offset = offset,
		.length = e.length,
		.depth = e.layer ? (uint32_t)(e.layer - image->layers) : image->layer_count,
		.data = e.layer != NULL,
		.file_offset = e.offset,
	};
	if (e.layer && !e.layer->map)
		extent_find_hole(e.layer, extent);
	return 0;
}
