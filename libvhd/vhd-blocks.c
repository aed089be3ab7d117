/* SPDX-License-Identifier: MIT */
/* The blocks of a VHD as compacting and checking see them: bitmap and data in one
 * space, to be moved, given up, or found lost. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "alike.h"
#include "bytes.h"
#include "check.h"
#include "space.h"
#include "vhd-dynamic.h"

enum { DATA_ALIGN = 4096 };

static uint64_t slot_size(const struct dynamic *d)
{
	return d->layout.bitmap_size + (uint64_t)d->layout.block_size;
}

void vhd_dynamic_spaces(const struct vhd_layer *layer, struct spaces *s)
{
	const struct dynamic *d = layer->state;
	const struct vhd_layout *l = &d->layout;

	vhd_spaces_add(s, 0, VHD_FOOTER_SIZE, SPACE_FIXED);
	vhd_spaces_add(s, l->header_offset, l->header_offset + VHD_HEADER_SIZE, SPACE_FIXED);
	vhd_spaces_add(s, l->bat_offset, l->bat_offset + vhd_bat_size(l->bat_entries),
		       SPACE_FIXED);
	for (int i = 0; i < VHD_LOCATORS; i++)
		if (l->locators[i].code != VHD_LOCATOR_NONE)
			vhd_spaces_add(s, l->locators[i].offset,
				       l->locators[i].offset + l->locators[i].space, SPACE_FIXED);
	for (uint32_t i = 0; i < l->blocks; i++) {
		uint64_t word = atomic_load_explicit(&layer->map[i], memory_order_relaxed);
		uint64_t start = (word & ~(uint64_t)MAP_STATE_MASK) - l->bitmap_size;

		if (word != MAP_NONE)
			vhd_spaces_add(s, start, start + slot_size(d), i);
	}
}

uint64_t vhd_dynamic_fit(const struct vhd_layer *layer, uint64_t start, uint64_t end)
{
	const struct dynamic *d = layer->state;
	uint64_t aligned = round_up(start + d->layout.bitmap_size, DATA_ALIGN) -
			   d->layout.bitmap_size;

	if (aligned < end && end - aligned >= slot_size(d))
		return aligned;
	/* Other writers' blocks lie on any sector, and so do the gaps among them. */
	return end - start >= slot_size(d) ? start : UINT64_MAX;
}

static void map_change(struct vhd_layer *layer, uint32_t block, uint64_t word)
{
	struct dynamic *d = layer->state;

	d->kept[d->kept_count++] = block;
	atomic_store_explicit(&layer->map[block], word, memory_order_release);
}

int vhd_dynamic_release(struct vhd_image *image, uint32_t block)
{
	struct vhd_layer *layer = &image->layers[0];

	if (layer->bitmaps)
		vhd_bitmap_drop(layer->bitmaps, block);
	map_change(layer, block, MAP_NONE);
	return 0;
}

int vhd_dynamic_moved(struct vhd_image *image, uint32_t block, uint64_t place)
{
	struct vhd_layer *layer = &image->layers[0];
	const struct dynamic *d = layer->state;

	map_change(layer, block,
		   (place + d->layout.bitmap_size) | (layer->bitmaps ? MAP_PART : MAP_DATA));
	return 0;
}

/* The footer first gets its new place, then the file ends there: at any moment it has
 * a good one, at the old end, at the new one, or in front. */
int vhd_dynamic_cut(struct vhd_image *image)
{
	struct vhd_layer *layer = &image->layers[0];
	struct dynamic *d = layer->state;
	uint64_t size = 0;
	int ret = vhd_file_size(layer->file, &size);

	if (!ret)
		ret = vhd_spaces_end(layer, &d->end);
	if (ret || size == d->end + VHD_FOOTER_SIZE)
		return ret;
	ret = vhd_file_write(image, layer->file, d->footer, VHD_FOOTER_SIZE, d->end);
	if (!ret)
		ret = vhd_file_sync(image, layer->file);
	if (!ret)
		ret = vhd_file_truncate(image, layer->file, d->end + VHD_FOOTER_SIZE);
	return ret ? ret : vhd_file_sync(image, layer->file);
}

/* -- Checking ------------------------------------------------------------------------- */

/* Readers disagree about a dynamic image's sector whose bit is not set: zeros, or what
 * stands there. Are there such? 1 yes, 0 no, -errno. */
static int bits_hide_data(struct vhd_image *image, const struct vhd_layer *layer,
			  uint32_t block, const uint8_t *bits, uint8_t *sector)
{
	const struct dynamic *d = layer->state;
	uint64_t word = atomic_load_explicit(&layer->map[block], memory_order_relaxed);

	for (uint32_t i = 0; i < d->layout.block_size / VHD_SECTOR; i++) {
		int ret;

		if (bits[i / 8] >> (7 - i % 8) & 1)
			continue;
		ret = vhd_file_read(image, layer->file, sector, VHD_SECTOR,
				    (word & ~(uint64_t)MAP_STATE_MASK) + (uint64_t)i * VHD_SECTOR);
		if (ret || !bytes_are(sector, VHD_SECTOR, 0))
			return ret ? ret : 1;
	}
	return 0;
}

struct bitmap_counts {
	uint64_t empty; /* differencing: no sector is here */
	uint64_t hidden;
	uint32_t first_hidden;
};

static int bitmaps_look(struct vhd_image *image, const struct vhd_layer *layer, uint8_t *bits,
			struct bitmap_counts *n)
{
	const struct dynamic *d = layer->state;
	size_t used = (d->layout.block_size / VHD_SECTOR + 7) / 8;
	uint8_t sector[VHD_SECTOR];
	int ret = 0;

	for (uint32_t i = 0; ret >= 0 && i < d->layout.blocks; i++) {
		uint64_t word = atomic_load_explicit(&layer->map[i], memory_order_relaxed);
		uint64_t data = word & ~(uint64_t)MAP_STATE_MASK;

		if (word == MAP_NONE)
			continue;
		ret = vhd_file_read(image, layer->file, bits, d->layout.bitmap_size,
				    data - d->layout.bitmap_size);
		if (ret || (!layer->bitmaps && bytes_are(bits, used, 0xff)))
			continue;
		if (layer->bitmaps)
			n->empty += bytes_are(bits, used, 0);
		else
			ret = bits_hide_data(image, layer, i, bits, sector);
		if (ret > 0 && n->hidden++ == 0)
			n->first_hidden = i;
	}
	return ret < 0 ? ret : 0;
}

static int bitmaps_check(struct vhd_image *image, struct vhd_check *check)
{
	const struct vhd_layer *layer = &image->layers[0];
	const struct dynamic *d = layer->state;
	struct bitmap_counts n = { 0, 0, 0 };
	uint8_t *bits = malloc(d->layout.bitmap_size);
	int ret = bits ? bitmaps_look(image, layer, bits, &n) : -ENOMEM;

	free(bits);
	if (n.hidden)
		vhd_check_tell(check, VHD_FINDING_NOTE,
			       "bitmaps of %" PRIu64 " blocks, the first is block %" PRIu32
			       ", leave out sectors that hold data: here they read as data, "
			       "elsewhere perhaps as zeros",
			       n.hidden, n.first_hidden);
	if (n.empty)
		vhd_check_tell(check, VHD_FINDING_NOTE,
			       "%" PRIu64 " blocks hold no sector; compacting frees them",
			       n.empty);
	return ret;
}

int vhd_dynamic_check(struct vhd_image *image, struct vhd_check *check)
{
	const struct vhd_layer *layer = &image->layers[0];
	const struct dynamic *d = layer->state;
	uint64_t size;
	int ret = vhd_file_size(layer->file, &size);

	if (!ret)
		ret = bitmaps_check(image, check);
	if (!ret)
		ret = vhd_check_spaces(check, layer, slot_size(d),
				       min_u64(size, max_u64(d->layout.space_end, d->end)));
	return ret;
}

void vhd_dynamic_check_table(const struct vhd_layer *layer, struct vhd_check *check)
{
	const struct dynamic *d = layer->state;
	uint64_t *sorted = calloc(d->layout.blocks, sizeof(*sorted));

	if (sorted)
		vhd_bat_check_all(&d->layout, d->table, sorted, vhd_check_entry, check);
	free(sorted);
}
