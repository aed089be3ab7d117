/* SPDX-License-Identifier: MIT */
#include "extent.h"

#include "bytes.h"

static uint64_t map_load(const struct vhd_layer *layer, uint32_t block)
{
	return atomic_load_explicit(&layer->map[block], memory_order_acquire);
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

void vhd_extent_find(const struct vhd_image *image, uint64_t offset, uint64_t length,
		     struct extent *extent)
{
	const struct vhd_layer *layer = &image->layers[0];
	uint64_t size, inside, word;
	uint32_t block;

	if (!layer->map) {
		*extent = (struct extent){ layer, offset, length };
		return;
	}
	size = UINT64_C(1) << layer->block_shift;
	block = (uint32_t)(offset >> layer->block_shift);
	inside = offset & (size - 1);
	word = map_load(layer, block);
	length = extent_grow(layer, block, word, size - inside, length);
	if ((word & MAP_STATE_MASK) == MAP_DATA)
		*extent = (struct extent){ layer, (word & ~(uint64_t)MAP_STATE_MASK) + inside,
					   length };
	else
		*extent = (struct extent){ NULL, 0, length };
}

int vhd_extent_make(struct vhd_image *image, uint64_t offset, uint64_t length,
		    struct extent *extent)
{
	const struct vhd_layer *layer = &image->layers[0];
	uint32_t block;
	int ret = 0;

	vhd_extent_find(image, offset, length, extent);
	if (extent->layer)
		return 0;
	block = (uint32_t)(offset >> layer->block_shift);
	pthread_mutex_lock(&image->lock);
	/* Another write may have been first. */
	if ((map_load(layer, block) & MAP_STATE_MASK) == MAP_NONE)
		ret = layer->ops->allocate(image, block);
	pthread_mutex_unlock(&image->lock);
	if (!ret)
		vhd_extent_find(image, offset, length, extent);
	return ret;
}
