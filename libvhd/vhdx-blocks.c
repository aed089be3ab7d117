/* SPDX-License-Identifier: MIT */
/* The blocks of a VHDX as compacting and checking see them, and the copies that a check
 * compares: headers, region tables. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "check.h"
#include "space.h"
#include "vhdx.h"

static uint64_t map_get(const struct vhd_layer *layer, uint64_t block)
{
	return atomic_load_explicit(&layer->map[block], memory_order_relaxed);
}

void vhdx_spaces(const struct vhd_layer *layer, struct spaces *s)
{
	const struct vhdx *x = layer->state;
	uint64_t chunks = x->chunks ? x->disk.entries / (x->disk.chunk_ratio + 1) : 0;

	vhd_spaces_add(s, 0, VHDX_MIB, SPACE_FIXED);
	vhd_spaces_add(s, x->header.log_offset, x->header.log_offset + x->header.log_length,
		       SPACE_FIXED);
	for (uint32_t i = 0; i < x->regions.count; i++)
		vhd_spaces_add(s, x->regions.all[i].offset,
			       x->regions.all[i].offset + x->regions.all[i].length, SPACE_FIXED);
	for (uint64_t i = 0; i < chunks; i++)
		if (x->chunks[i])
			vhd_spaces_add(s, x->chunks[i], x->chunks[i] + VHDX_BITMAP_SIZE,
				       SPACE_FIXED);
	for (uint32_t i = 0; i < layer->blocks; i++) {
		uint64_t place = map_get(layer, i) & ~(uint64_t)MAP_STATE_MASK;

		if (place)
			vhd_spaces_add(s, place, place + x->disk.block_size, i);
	}
}

uint64_t vhdx_fit(const struct vhd_layer *layer, uint64_t start, uint64_t end)
{
	const struct vhdx *x = layer->state;

	start = round_up(start, VHDX_MIB);
	return start < end && end - start >= x->disk.block_size ? start : UINT64_MAX;
}

int vhdx_release(struct vhd_image *image, uint32_t block)
{
	struct vhd_layer *layer = &image->layers[0];
	struct vhdx *x = layer->state;
	bool part = (map_get(layer, block) & MAP_STATE_MASK) == MAP_PART;
	int ret = vhdx_change_keep(x, vhdx_block_index(&x->disk, block));

	if (ret)
		return ret;
	if (part)
		vhd_bitmap_drop(&x->bitmaps, block);
	atomic_store_explicit(&layer->map[block], part ? MAP_NONE : MAP_ZERO,
			      memory_order_release);
	return 0;
}

int vhdx_moved(struct vhd_image *image, uint32_t block, uint64_t place)
{
	struct vhd_layer *layer = &image->layers[0];
	struct vhdx *x = layer->state;
	int ret = vhdx_change_keep(x, vhdx_block_index(&x->disk, block));

	if (!ret)
		atomic_store_explicit(&layer->map[block],
				      place | (map_get(layer, block) & MAP_STATE_MASK),
				      memory_order_release);
	return ret;
}

/* The log knows how long the file is, so it must be empty before the file gets shorter:
 * the session ends here, and the next write begins another. */
int vhdx_cut(struct vhd_image *image)
{
	struct vhd_layer *layer = &image->layers[0];
	struct vhdx *x = layer->state;
	uint64_t end, size = 0;
	int ret = vhd_spaces_end(layer, &end);

	if (!ret)
		ret = vhd_file_size(layer->file, &size);
	if (ret || size == end)
		return ret;
	if (atomic_load(&image->begun))
		ret = vhdx_end(image);
	atomic_store(&image->begun, false);
	if (!ret)
		ret = vhd_file_truncate(image, layer->file, end);
	if (!ret)
		ret = vhd_file_sync(image, layer->file);
	x->end = x->file_size = end;
	return ret;
}

/* -- Checking ------------------------------------------------------------------------- */

static int headers_check(struct vhd_image *image, struct vhd_check *check)
{
	static const uint64_t places[] = { VHDX_HEADER_1, VHDX_HEADER_2 };
	const struct vhd_layer *layer = &image->layers[0];
	uint8_t bytes[VHDX_HEADER_SIZE];
	struct vhdx_header header;
	int ret = 0;

	for (int i = 0; !ret && i < 2; i++) {
		ret = vhd_file_read(image, layer->file, bytes, sizeof(bytes), places[i]);
		if (!ret && !vhdx_header_parse(bytes, &header))
			vhd_check_tell(check, VHD_FINDING_STALE,
				       "header %d of 2 is damaged, the other one is used", i + 1);
	}
	return ret;
}

/* Both region tables, one behind the other, for free(). NULL: no memory, or -errno. */
static uint8_t *tables_read(struct vhd_image *image, const struct vhd_layer *layer, int *ret)
{
	uint8_t *bytes = malloc(2 * VHDX_TABLE_SIZE);

	*ret = bytes ? vhdx_read(image, layer, bytes, VHDX_TABLE_SIZE, VHDX_REGIONS_1) : -ENOMEM;
	if (!*ret)
		*ret = vhdx_read(image, layer, bytes + VHDX_TABLE_SIZE, VHDX_TABLE_SIZE,
				 VHDX_REGIONS_2);
	if (!*ret)
		return bytes;
	free(bytes);
	return NULL;
}

/* Which of the two tables is no good: 0 or 1; the second one if they only differ; -1: none. */
static int table_bad(const struct vhdx *x, const uint8_t *bytes)
{
	struct vhdx_regions *regions = malloc(sizeof(*regions));
	bool valid = false;
	int bad = memcmp(bytes, bytes + VHDX_TABLE_SIZE, VHDX_TABLE_SIZE) ? 1 : -1;

	if (bad == 1 && regions)
		vhdx_regions_parse(bytes, x->file_size, regions, &valid, NULL);
	free(regions);
	return bad == 1 && !valid ? 0 : bad;
}

static int tables_check(struct vhd_image *image, struct vhd_check *check)
{
	const struct vhd_layer *layer = &image->layers[0];
	int ret;
	uint8_t *bytes = tables_read(image, layer, &ret);

	/* That the first one is bad was told when the image was opened. */
	if (bytes && table_bad(layer->state, bytes) == 1)
		vhd_check_tell(check, VHD_FINDING_STALE,
			       "the second region table differs from the first, which is used");
	free(bytes);
	return ret;
}

static void entries_check(const struct vhd_layer *layer, struct vhd_check *check)
{
	const struct vhdx *x = layer->state;
	uint64_t idle = 0, placed = 0, absent = 0;

	for (uint64_t i = 0; i < x->disk.blocks; i++) {
		uint64_t entry = le64toh(x->table[vhdx_block_index(&x->disk, i)]);
		uint64_t state = entry & VHDX_STATE_MASK;

		idle += (map_get(layer, i) & MAP_STATE_MASK) == MAP_IDLE;
		placed += state == VHDX_ZERO && entry >= VHDX_MIB;
		absent += state != VHDX_PRESENT;
	}
	if (idle)
		vhd_check_tell(check, VHD_FINDING_NOTE,
			       "%" PRIu64 " discarded blocks keep their space; compacting frees it",
			       idle);
	if (placed)
		vhd_check_tell(check, VHD_FINDING_NOTE,
			       "%" PRIu64 " blocks of zeros name a place, which Windows refuses",
			       placed);
	if (x->disk.fixed && absent)
		vhd_check_tell(check, VHD_FINDING_NOTE,
			       "%" PRIu64 " blocks of a fixed image have no space", absent);
}

int vhdx_check(struct vhd_image *image, struct vhd_check *check)
{
	const struct vhd_layer *layer = &image->layers[0];
	const struct vhdx *x = layer->state;
	uint64_t size;
	int ret = headers_check(image, check);

	if (!ret)
		ret = tables_check(image, check);
	if (!ret)
		ret = vhd_file_size(layer->file, &size);
	if (ret)
		return ret;
	entries_check(layer, check);
	return vhd_check_spaces(check, layer, x->disk.block_size, size);
}

/* Headers are written by each session; of the region tables the good one stays as it
 * is, so nothing is lost whenever this is cut off. */
int vhdx_repair(struct vhd_image *image)
{
	static const uint64_t places[] = { VHDX_REGIONS_1, VHDX_REGIONS_2 };
	struct vhd_layer *layer = &image->layers[0];
	int bad, ret;
	uint8_t *bytes = tables_read(image, layer, &ret);

	if (!bytes)
		return ret;
	image->same_data = true;
	ret = vhd_session_begin(image);
	bad = table_bad(layer->state, bytes);
	if (!ret && bad >= 0)
		ret = vhd_file_write(image, layer->file, bytes + !bad * VHDX_TABLE_SIZE,
				     VHDX_TABLE_SIZE, places[bad]);
	if (!ret)
		ret = vhd_file_sync(image, layer->file);
	free(bytes);
	return ret;
}
