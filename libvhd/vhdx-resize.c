/* SPDX-License-Identifier: MIT */
/* Another size for a VHDX: one entry of the log changes the size, the page of the table that
 * old and new blocks share, and, when the table has outgrown its region, where that is.
 * Entries behind the end of the disk mean nothing ([MS-VHDX] 2.5), so those of new
 * blocks are written where they are to be before that. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "crc32c.h"
#include "resize.h"
#include "space.h"
#include "vhdx.h"

enum { ENTRIES_PER_PAGE = VHDX_PAGE / 8 };

/* The disk as it is to be. */
struct plan {
	struct resize *r;
	struct vhdx_disk disk;
	uint64_t bat_offset; /* where the table is to be */
	uint32_t bat_length;
	uint64_t data; /* fixed: where the new blocks are */
};

static uint64_t table_size(const struct vhdx_disk *d)
{
	return round_up(d->entries * sizeof(uint64_t), VHDX_PAGE);
}

/* -- The log entry ---------------------------------------------------------------- */

static int log_bytes(const struct resize *r, const void *bytes, uint64_t size, uint64_t offset)
{
	return vhdx_log_bytes(r->image, r->layer, bytes, size, offset);
}

static int log_size(const struct resize *r)
{
	const struct vhdx *x = r->layer->state;
	uint8_t bytes[8];

	put_le64(bytes, r->size);
	return log_bytes(r, bytes, sizeof(bytes),
			 x->regions.metadata.offset + x->items[VHDX_DISK_SIZE].offset);
}

/* Both region tables, the second one made the same as the first. */
static int log_regions(const struct plan *p)
{
	const struct resize *r = p->r;
	const struct vhdx *x = r->layer->state;
	uint8_t *bytes = malloc(VHDX_TABLE_SIZE);
	uint8_t *entry;
	int ret;

	if (!bytes)
		return -ENOMEM;
	ret = vhd_file_read(r->image, r->layer->file, bytes, VHDX_TABLE_SIZE, x->regions.place);
	for (entry = bytes + 16; !ret && memcmp(entry, vhdx_region_bat, 16) != 0; entry += 32)
		if (entry + 64 > bytes + VHDX_TABLE_SIZE)
			ret = -EIO;
	if (!ret) {
		put_le64(entry + 16, p->bat_offset);
		put_le32(entry + 24, p->bat_length);
		put_le32(bytes + 4, vhd_crc32c_structure(bytes, VHDX_TABLE_SIZE));
		ret = log_bytes(r, bytes, VHDX_TABLE_SIZE, VHDX_REGIONS_1);
	}
	if (!ret)
		ret = log_bytes(r, bytes, VHDX_TABLE_SIZE, VHDX_REGIONS_2);
	free(bytes);
	return ret;
}

/* -- The table -------------------------------------------------------------------- */

/* Puts the new blocks' entries into the table in memory. Those that a child has for the
 * rest of its last chunk may hold anything so far. */
static void entries_put(const struct plan *p)
{
	struct vhdx *x = p->r->layer->state;

	memset(x->table + x->disk.entries, 0,
	       table_size(&p->disk) - x->disk.entries * sizeof(*x->table));
	for (uint64_t i = x->disk.blocks; i < p->disk.blocks; i++) {
		uint64_t place = p->data + (i - x->disk.blocks) * p->disk.block_size;

		x->table[vhdx_block_index(&p->disk, i)] =
			x->disk.fixed ? htole64(place | VHDX_PRESENT) : 0;
	}
}

/* The pages of @old entries of which some change, from that of the first new block on. */
static int log_table(const struct plan *p, uint64_t first, uint64_t old)
{
	const struct vhdx *x = p->r->layer->state;
	uint64_t last = (old - 1) / ENTRIES_PER_PAGE;
	int ret = 0;

	for (uint64_t page = first / ENTRIES_PER_PAGE; !ret && page <= last; page++)
		ret = log_bytes(p->r, x->table + page * ENTRIES_PER_PAGE, VHDX_PAGE,
				p->bat_offset + page * VHDX_PAGE);
	return ret;
}

/* More room in memory, where other threads are reading. */
static int memory_grow(const struct plan *p)
{
	struct vhd_layer *layer = p->r->layer;
	struct vhdx *x = layer->state;
	size_t have = x->disk.entries / 8 + 1, want = p->disk.entries / 8 + 1;
	uint64_t *table = realloc(x->table, table_size(&p->disk));
	uint8_t *marked = realloc(x->changes.marked, want);

	x->table = table ? table : x->table;
	x->changes.marked = marked ? marked : x->changes.marked;
	if (!table || !marked ||
	    vhd_room_grow(&layer->map_room, p->disk.blocks * sizeof(*layer->map)))
		return -ENOMEM;
	memset(marked + have, 0, want - have);
	if (!layer->bitmaps)
		return 0;
	have = x->disk.entries / (x->disk.chunk_ratio + 1);
	want = p->disk.entries / (x->disk.chunk_ratio + 1);
	table = realloc(x->chunks, want * sizeof(*x->chunks));
	if (!table)
		return -ENOMEM;
	x->chunks = table;
	memset(x->chunks + have, 0, (want - have) * sizeof(*x->chunks));
	return vhd_bitmap_resize(layer->bitmaps, (uint32_t)p->disk.blocks);
}

/* Pages @from and up to the end of the table, where nobody looks yet. */
static int pages_write(const struct plan *p, uint64_t from)
{
	const struct vhdx *x = p->r->layer->state;
	uint64_t size = table_size(&p->disk);

	from *= VHDX_PAGE;
	if (from >= size)
		return 0;
	return vhd_file_write(p->r->image, p->r->layer->file, (const uint8_t *)x->table + from,
			      size - from, p->bat_offset + from);
}

/* -- Growing ---------------------------------------------------------------------- */

static int tail_zero(struct resize *r)
{
	const struct vhd_layer *layer = r->layer;
	uint32_t block = (uint32_t)((layer->size - 1) >> layer->block_shift);
	uint64_t word = atomic_load_explicit(&layer->map[block], memory_order_relaxed);
	uint64_t state = word & MAP_STATE_MASK;

	return state != MAP_DATA && state != MAP_PART ?
		       0 :
		       vhd_resize_zero_tail(r, word & ~(uint64_t)MAP_STATE_MASK);
}

/* Space for a table that has outgrown its region, and for the blocks of a fixed image. */
static int space_take(struct plan *p)
{
	const struct resize *r = p->r;
	struct vhdx *x = r->layer->state;
	uint64_t end = x->end;
	int ret;

	p->bat_offset = x->regions.bat.offset;
	p->bat_length = x->regions.bat.length;
	if (table_size(&p->disk) > p->bat_length) {
		p->bat_offset = end;
		p->bat_length = (uint32_t)round_up(table_size(&p->disk), VHDX_MIB);
		end += p->bat_length;
	}
	p->data = end;
	if (x->disk.fixed)
		end += (p->disk.blocks - x->disk.blocks) * x->disk.block_size;
	ret = x->disk.fixed ? vhd_resize_reserve(r, p->data, end) : 0;
	if (!ret && end > x->end)
		ret = vhd_file_truncate(r->image, r->layer->file, end);
	if (!ret)
		x->end = x->file_size = end;
	return ret;
}

/* Everything that the entry of the log will make true, and that is not seen before. */
static int grow_prepare(struct plan *p)
{
	struct vhdx *x = p->r->layer->state;
	bool moves;
	int ret = memory_grow(p);

	if (!ret)
		ret = tail_zero(p->r);
	if (!ret)
		ret = space_take(p);
	if (ret)
		return ret;
	entries_put(p);
	moves = p->bat_offset != x->regions.bat.offset;
	ret = pages_write(p, moves ? 0 : (x->disk.entries - 1) / ENTRIES_PER_PAGE + 1);
	if (!ret)
		ret = vhd_resize_sync(p->r);
	x->log.flushed_size = x->file_size;
	return ret;
}

/* The size comes last: if one entry cannot hold it all, the others may do no harm alone. */
static int grow_log(const struct plan *p)
{
	const struct vhdx *x = p->r->layer->state;
	int ret;

	if (p->bat_offset != x->regions.bat.offset)
		ret = log_regions(p);
	else
		ret = log_table(p,
				min_u64(vhdx_block_index(&x->disk, x->disk.blocks),
					x->disk.entries),
				x->disk.entries);
	return ret ? ret : log_size(p->r);
}

static void grow_publish(const struct plan *p)
{
	struct vhd_layer *layer = p->r->layer;
	struct vhdx *x = layer->state;

	for (uint64_t i = x->disk.blocks; x->disk.fixed && i < p->disk.blocks; i++)
		atomic_store_explicit(
			&layer->map[i],
			(p->data + (i - x->disk.blocks) * p->disk.block_size) | MAP_DATA,
			memory_order_relaxed);
	for (uint32_t i = 0; i < x->regions.count; i++)
		if (x->regions.all[i].offset == x->regions.bat.offset)
			x->regions.all[i] = (struct vhdx_region){ p->bat_offset, p->bat_length };
	x->regions.bat = (struct vhdx_region){ p->bat_offset, p->bat_length };
}

static int vhdx_grow(struct plan *p)
{
	struct resize *r = p->r;
	int ret = grow_prepare(p);

	if (ret)
		return ret;
	r->begun = true;
	ret = grow_log(p);
	if (!ret)
		ret = vhdx_log_write(r->image, r->layer, false);
	if (!ret)
		ret = vhdx_log_settle(r->image, r->layer);
	if (!ret)
		grow_publish(p);
	return ret;
}

/* -- Shrinking -------------------------------------------------------------------- */

/* The log says how long the file is at least: it must say less before the file is cut. */
static int file_cut(const struct plan *p)
{
	struct resize *r = p->r;
	struct vhdx *x = r->layer->state;
	int ret = vhd_spaces_end(r->layer, &x->end);

	x->file_size = x->log.flushed_size = x->end;
	if (!ret)
		ret = vhdx_log_write(r->image, r->layer, true);
	if (!ret)
		ret = vhd_resize_sync(r);
	if (!ret)
		ret = vhd_file_truncate(r->image, r->layer->file, x->end);
	return ret ? ret : vhd_resize_sync(r);
}

/* Entries that the disk has no more, and in a child those for the rest of its last
 * chunk. */
static void entries_clear(const struct plan *p)
{
	struct vhdx *x = p->r->layer->state;

	for (uint64_t i = p->disk.entries; i < x->disk.entries; i++)
		x->table[i] = 0;
	for (uint64_t i = p->disk.blocks; i < x->disk.blocks; i++)
		x->table[vhdx_block_index(&x->disk, i)] = 0;
}

static void blocks_forget(const struct plan *p)
{
	struct vhd_layer *layer = p->r->layer;
	const struct vhdx *x = layer->state;

	for (uint64_t i = p->disk.blocks; i < x->disk.blocks; i++)
		atomic_store_explicit(&layer->map[i], MAP_NONE, memory_order_relaxed);
	if (layer->bitmaps)
		(void)vhd_bitmap_resize(layer->bitmaps, (uint32_t)p->disk.blocks);
}

/* The size comes first: what entries say behind the end of the disk means nothing. */
static int vhdx_shrink(struct plan *p)
{
	struct resize *r = p->r;
	struct vhdx *x = r->layer->state;
	int ret;

	r->begun = true;
	entries_clear(p);
	ret = log_size(r);
	if (!ret)
		ret = log_table(p, vhdx_block_index(&x->disk, p->disk.blocks), x->disk.entries);
	if (!ret)
		ret = vhdx_log_write(r->image, r->layer, false);
	if (!ret)
		ret = vhdx_log_settle(r->image, r->layer);
	if (ret)
		return ret;
	blocks_forget(p);
	x->disk = p->disk;
	return file_cut(p);
}

int vhd_vhdx_resize(struct resize *r)
{
	struct vhd_layer *layer = r->layer;
	struct vhdx *x = layer->state;
	struct plan p = { .r = r, .disk = x->disk, .bat_offset = x->regions.bat.offset };
	int ret;

	if (r->size > VHDX_MAX_SIZE)
		return vhd_fail(r->err, -EFBIG,
				"virtual size is %" PRIu64 ", a VHDX has at most 64 TiB", r->size);
	p.disk.size = r->size;
	vhdx_disk_derive(&p.disk);
	/* What a flush has logged goes home first: the next entry is the only one needed. */
	ret = vhdx_log_settle(r->image, layer);
	r->begun = ret != 0;
	if (!ret)
		ret = r->size < layer->size ? vhdx_shrink(&p) : vhdx_grow(&p);
	if (ret)
		return ret;
	x->disk = p.disk;
	layer->blocks = (uint32_t)p.disk.blocks;
	layer->size = r->size;
	return 0;
}
