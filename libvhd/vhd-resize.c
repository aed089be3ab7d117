/* SPDX-License-Identifier: MIT */
/* Another size for a VHD. At each moment one valid footer is found at the end of the file
 * or, in images with blocks, in the copy at 0; both ways lead to a whole image. What must
 * change at once is changed by writing one sector.
 *
 * A block table that has become too small is not made longer where it is: blocks and
 * locators stand behind it, and a locator cannot move without two sectors of the header
 * changing. The whole table goes behind all that is there; the header's first sector
 * then names the new one. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "resize.h"
#include "vhd-dynamic.h"

static int size_check(const struct resize *r)
{
	if (r->size > VHD_MAX_SIZE)
		return vhd_fail(r->err, -EFBIG,
				"virtual size is %" PRIu64 ", a VHD has at most %" PRIu64, r->size,
				VHD_MAX_SIZE);
	return 0;
}

static int write_synced(struct resize *r, const void *bytes, size_t length, uint64_t offset)
{
	int ret = vhd_file_write(r->image, r->layer->file, bytes, length, offset);

	return ret ? ret : vhd_resize_sync(r);
}

/* -- Fixed ---------------------------------------------------------------------- */

/* The file becomes longer by a footer of the old size, then what is between becomes zeros,
 * among it the footer that was the last one. */
static int fixed_extend(struct resize *r, const uint8_t *footer, uint64_t *at)
{
	uint64_t old_end = *at + VHD_FOOTER_SIZE;
	int ret = vhd_resize_reserve(r, old_end, r->size + VHD_FOOTER_SIZE);

	if (ret)
		return ret;
	if (r->size > *at) {
		*at = r->size;
		ret = vhd_file_write(r->image, r->layer->file, footer, VHD_FOOTER_SIZE, *at);
		if (ret)
			return ret;
	}
	r->begun = true;
	ret = vhd_resize_sync(r);
	if (!ret)
		ret = vhd_resize_zero(r, r->layer->size, min_u64(old_end, r->size));
	return ret ? ret : vhd_resize_sync(r);
}

/* A footer where the disk ends now, then nothing behind it. */
static int fixed_cut(struct resize *r, const uint8_t *footer)
{
	int ret = write_synced(r, footer, VHD_FOOTER_SIZE, r->size);

	if (!ret)
		ret = vhd_file_truncate(r->image, r->layer->file, r->size + VHD_FOOTER_SIZE);
	return ret ? ret : vhd_resize_sync(r);
}

int vhd_fixed_resize(struct resize *r)
{
	uint8_t footer[VHD_FOOTER_SIZE];
	uint64_t at;
	int ret = size_check(r);

	if (!ret)
		ret = vhd_file_size(r->layer->file, &at);
	if (ret)
		return ret;
	at -= VHD_FOOTER_SIZE;
	if (at % VHD_SECTOR)
		return vhd_fail(r->err, -ENOTSUP, "footer at %" PRIu64 " is not on a sector", at);
	ret = vhd_file_read(r->image, r->layer->file, footer, sizeof(footer), at);
	if (!ret && r->size > r->layer->size)
		ret = fixed_extend(r, footer, &at);
	if (ret)
		return ret;
	r->begun = true;
	vhd_footer_resize(footer, r->size);
	ret = write_synced(r, footer, sizeof(footer), at);
	if (!ret && at > r->size)
		ret = fixed_cut(r, footer);
	if (!ret)
		r->layer->size = r->size;
	return ret;
}

/* -- With blocks ------------------------------------------------------------------ */

/* Both footers, the copy first. */
static int footers_write(struct resize *r)
{
	struct dynamic *d = r->layer->state;
	int ret;

	vhd_footer_resize(d->footer, r->size);
	ret = write_synced(r, d->footer, VHD_FOOTER_SIZE, 0);
	if (!ret)
		ret = vhd_dynamic_cut_tail(r->image, r->layer);
	if (!ret)
		ret = write_synced(r, d->footer, VHD_FOOTER_SIZE, d->end);
	return ret;
}

/* More room in memory, where other threads are reading. New entries are unused. */
static int memory_grow(const struct resize *r, uint32_t blocks)
{
	struct vhd_layer *layer = r->layer;
	struct dynamic *d = layer->state;
	uint32_t *table = realloc(d->table, vhd_bat_size(blocks));
	uint32_t *kept;

	if (!table)
		return -ENOMEM;
	d->table = table;
	memset(table + d->layout.blocks, 0xff,
	       vhd_bat_size(blocks) - d->layout.blocks * sizeof(*table));
	kept = realloc(d->kept, blocks * sizeof(*kept));
	if (!kept)
		return -ENOMEM;
	d->kept = kept;
	if (layer->bitmaps && vhd_bitmap_resize(layer->bitmaps, blocks))
		return -ENOMEM;
	return vhd_room_grow(&layer->map_room, blocks * sizeof(*layer->map));
}

static int header_write(struct resize *r, uint64_t bat_offset, uint32_t entries)
{
	struct dynamic *d = r->layer->state;
	uint8_t bytes[VHD_HEADER_SIZE];
	int ret = vhd_file_read(r->image, r->layer->file, bytes, sizeof(bytes),
				d->layout.header_offset);

	if (ret)
		return ret;
	vhd_header_move_bat(bytes, bat_offset, entries);
	r->begun = true;
	ret = write_synced(r, bytes, VHD_SECTOR, d->layout.header_offset);
	d->layout.bat_entries = d->header.bat_entries = entries;
	return ret;
}

/* The entries that are new, in the table where it is. */
static int table_extend(struct resize *r, uint32_t blocks)
{
	struct dynamic *d = r->layer->state;
	int ret = vhd_dynamic_write_table(r->image, r->layer, d->layout.blocks, blocks - 1);

	if (!ret)
		ret = vhd_resize_sync(r);
	if (ret || blocks <= d->layout.bat_entries)
		return ret;
	return header_write(r, d->layout.bat_offset, blocks);
}

static int table_move(struct resize *r, uint32_t blocks)
{
	struct dynamic *d = r->layer->state;
	uint64_t old_offset = d->layout.bat_offset, old_end = d->end;
	uint64_t place = round_up(d->end, VHD_SECTOR);
	int ret = vhd_dynamic_extend(r->image, r->layer, place + vhd_bat_size(blocks));

	if (ret)
		return ret;
	d->layout.bat_offset = d->header.bat_offset = place;
	ret = vhd_dynamic_write_table(r->image, r->layer, 0, blocks - 1);
	if (!ret)
		ret = vhd_resize_sync(r);
	if (ret) {
		d->layout.bat_offset = d->header.bat_offset = old_offset;
		vhd_dynamic_retract(r->image, r->layer, old_end);
		return ret;
	}
	return header_write(r, place, blocks);
}

/* Whatever stands in the file behind the old end of its last block. */
static int tail_zero(struct resize *r)
{
	const struct vhd_layer *layer = r->layer;
	uint32_t block = (uint32_t)((layer->size - 1) >> layer->block_shift);
	uint64_t word = atomic_load_explicit(&layer->map[block], memory_order_relaxed);

	return word == MAP_NONE ? 0 :
				  vhd_resize_zero_tail(r, word & ~(uint64_t)MAP_STATE_MASK);
}

static int dynamic_grow(struct resize *r, uint32_t blocks)
{
	struct dynamic *d = r->layer->state;
	bool fits = vhd_bat_size(blocks) <= vhd_bat_size(d->layout.bat_entries);
	int ret = memory_grow(r, blocks);

	if (!ret)
		ret = tail_zero(r);
	if (!ret && blocks > d->layout.blocks)
		ret = fits ? table_extend(r, blocks) : table_move(r, blocks);
	if (ret)
		return ret;
	r->begun = true;
	ret = footers_write(r);
	if (ret)
		return ret;
	d->layout.blocks = r->layer->blocks = blocks;
	r->layer->size = r->size;
	return 0;
}

/* First the size, so that nobody needs the blocks any more; then their entries, and at last
 * their space, as far as it is the file's end. */
static int dynamic_shrink(struct resize *r, uint32_t blocks)
{
	struct vhd_layer *layer = r->layer;
	struct dynamic *d = layer->state;
	uint32_t old = d->layout.blocks;
	int ret;

	r->begun = true;
	ret = footers_write(r);
	for (uint32_t i = blocks; i < old; i++) {
		d->table[i] = VHD_BAT_UNUSED;
		atomic_store_explicit(&layer->map[i], MAP_NONE, memory_order_relaxed);
	}
	if (!ret && blocks < old)
		ret = vhd_dynamic_write_table(r->image, layer, blocks, old - 1);
	if (!ret)
		ret = vhd_resize_sync(r);
	if (ret)
		return ret;
	layer->size = r->size;
	d->layout.blocks = layer->blocks = blocks;
	if (layer->bitmaps)
		(void)vhd_bitmap_resize(layer->bitmaps, blocks);
	return vhd_dynamic_cut(r->image);
}

int vhd_dynamic_resize(struct resize *r)
{
	const struct dynamic *d = r->layer->state;
	uint64_t blocks = (r->size + d->layout.block_size - 1) / d->layout.block_size;
	int ret = size_check(r);

	if (ret)
		return ret;
	if (blocks > VHD_MAX_BLOCKS)
		return vhd_fail(r->err, -EFBIG,
				"virtual size is %" PRIu64 ", too much for %u blocks of %" PRIu32,
				r->size, VHD_MAX_BLOCKS, d->layout.block_size);
	return r->size < r->layer->size ? dynamic_shrink(r, (uint32_t)blocks) :
					  dynamic_grow(r, (uint32_t)blocks);
}
