/* SPDX-License-Identifier: MIT */
/* Do the parts of a VHD with blocks lie where they may? */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "vhd-format.h"

struct region {
	const char *name;
	uint64_t start;
	uint64_t end;
};

enum { REGIONS = 3 + VHD_LOCATORS };

static void layout_regions(const struct vhd_layout *l, struct region *r)
{
	r[0] = (struct region){ "footer copy", 0, VHD_FOOTER_SIZE };
	r[1] = (struct region){ "dynamic header", l->header_offset,
				l->header_offset + VHD_HEADER_SIZE };
	r[2] = (struct region){ "block allocation table", l->bat_offset,
				l->bat_offset + vhd_bat_size(l->bat_entries) };
	for (int i = 0; i < VHD_LOCATORS; i++) {
		const struct vhd_locator *k = &l->locators[i];

		r[3 + i] = (struct region){ "parent locator", k->offset, k->offset + k->space };
		if (k->code == VHD_LOCATOR_NONE)
			r[3 + i] = (struct region){ "nothing", 0, 0 };
	}
}

static const struct region *region_hit(const struct region *regions, uint64_t start, uint64_t end)
{
	for (int i = 0; i < REGIONS; i++)
		if (start < regions[i].end && regions[i].start < end)
			return &regions[i];
	return NULL;
}

static int layout_check_locators(const struct vhd_header *h, const struct vhd_layout *l,
				 struct vhd_error *err)
{
	for (int i = 0; i < VHD_LOCATORS; i++) {
		const struct vhd_locator *k = &h->locators[i];
		struct region fixed[REGIONS];
		const struct region *hit;

		if (k->code == VHD_LOCATOR_NONE)
			continue;
		if (k->offset > l->space_end || l->space_end - k->offset < k->space)
			return vhd_fail(err, VHD_FAULT_LOCATOR,
					"parent locator %d: offset is %" PRIu64
					", expected %" PRIu32 " bytes before %" PRIu64,
					i, k->offset, k->space, l->space_end);
		layout_regions(l, fixed);
		hit = region_hit(fixed, k->offset, k->offset + k->space);
		if (hit)
			return vhd_fail(err, VHD_FAULT_LOCATOR,
					"parent locator %d at %" PRIu64
					" lies over the %s at %" PRIu64,
					i, k->offset, hit->name, hit->start);
	}
	return 0;
}

static int layout_check_header(const struct vhd_footer *f, uint64_t space_end,
			       struct vhd_error *err)
{
	if (f->data_offset % VHD_SECTOR || f->data_offset < VHD_FOOTER_SIZE ||
	    f->data_offset > space_end || space_end - f->data_offset < VHD_HEADER_SIZE)
		return vhd_fail(err, VHD_FAULT_HEADER_OFFSET,
				"footer: data offset is %" PRIu64
				", expected a multiple of 512 with 1024 bytes before %" PRIu64,
				f->data_offset, space_end);
	return 0;
}

static int layout_check_bat(const struct vhd_footer *f, const struct vhd_header *h,
			    uint64_t space_end, struct vhd_error *err)
{
	uint64_t size = vhd_bat_size(h->bat_entries);
	uint64_t header_end = f->data_offset + VHD_HEADER_SIZE;

	if (h->bat_offset % VHD_SECTOR || h->bat_offset < VHD_FOOTER_SIZE ||
	    h->bat_offset > space_end || space_end - h->bat_offset < size)
		return vhd_fail(err, VHD_FAULT_BAT_OFFSET,
				"dynamic header: table offset is %" PRIu64
				", expected a multiple of 512 with %" PRIu64
				" bytes (%" PRIu32 " entries) before %" PRIu64,
				h->bat_offset, size, h->bat_entries, space_end);
	if (h->bat_offset < header_end && f->data_offset < h->bat_offset + size)
		return vhd_fail(err, VHD_FAULT_BAT_OFFSET,
				"dynamic header: table at %" PRIu64 " to %" PRIu64
				" lies over the dynamic header at %" PRIu64 " to %" PRIu64,
				h->bat_offset, h->bat_offset + size, f->data_offset, header_end);
	return 0;
}

int vhd_layout_check(const struct vhd_footer *f, const struct vhd_header *h, uint64_t space_end,
		     struct vhd_layout *l, struct vhd_error *err)
{
	uint64_t blocks = (f->current_size + h->block_size - 1) / h->block_size;
	int ret = layout_check_header(f, space_end, err);

	if (ret)
		return ret;
	if (blocks > h->bat_entries || blocks > VHD_MAX_BLOCKS)
		return vhd_fail(err, VHD_FAULT_BAT_SIZE,
				"dynamic header: table has %" PRIu32
				" entries, a disk of %" PRIu64 " bytes in blocks of %" PRIu32
				" needs %" PRIu64 ", at most %u are supported",
				h->bat_entries, f->current_size, h->block_size, blocks,
				VHD_MAX_BLOCKS);
	ret = layout_check_bat(f, h, space_end, err);
	if (ret)
		return ret;
	*l = (struct vhd_layout){
		.header_offset = f->data_offset,
		.bat_offset = h->bat_offset,
		.bat_entries = h->bat_entries,
		.blocks = (uint32_t)blocks,
		.block_size = h->block_size,
		.bitmap_size = vhd_bitmap_size(h->block_size),
		.space_end = space_end,
	};
	ret = layout_check_locators(h, l, err);
	memcpy(l->locators, h->locators, sizeof(l->locators));
	return ret;
}

/* The table's sector in the upper half, the block's number in the lower. */
static int place_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Of the sorted places, from the one at @i on. */
static int bat_check_overlap(const struct vhd_layout *l, const uint64_t *places, size_t i,
			     size_t count, struct vhd_error *err)
{
	uint64_t size = l->bitmap_size + (uint64_t)l->block_size;

	for (; i < count; i++) {
		uint64_t before = (places[i - 1] >> 32) * VHD_SECTOR;
		uint64_t start = (places[i] >> 32) * VHD_SECTOR;

		if (start - before < size)
			return vhd_fail(err, VHD_FAULT_BAT_OVERLAP,
					"block %" PRIu32 " at %" PRIu64 " and block %" PRIu32
					" at %" PRIu64 " overlap, each takes %" PRIu64 " bytes",
					(uint32_t)places[i - 1], before, (uint32_t)places[i],
					start, size);
	}
	return 0;
}

static int bat_check_entry(const struct vhd_layout *l, const struct region *regions,
			   uint32_t block, uint64_t start, struct vhd_error *err)
{
	uint64_t end = start + l->bitmap_size + l->block_size;
	const struct region *hit = region_hit(regions, start, end);

	if (hit)
		return vhd_fail(err, VHD_FAULT_BAT_ENTRY,
				"block %" PRIu32 " at %" PRIu64 " to %" PRIu64
				" lies over the %s at %" PRIu64 " to %" PRIu64,
				block, start, end, hit->name, hit->start, hit->end);
	if (end > l->space_end)
		return vhd_fail(err, VHD_FAULT_BAT_ENTRY,
				"block %" PRIu32 " at %" PRIu64 " to %" PRIu64
				" passes the end of the file's space at %" PRIu64,
				block, start, end, l->space_end);
	return 0;
}

int vhd_bat_check(const struct vhd_layout *l, const uint32_t *bat, uint64_t *sorted, uint64_t *end,
		  struct vhd_error *err)
{
	struct region regions[REGIONS];
	size_t count = 0;
	int ret;

	layout_regions(l, regions);
	*end = 0;
	for (int i = 0; i < REGIONS; i++)
		*end = max_u64(*end, regions[i].end);
	for (uint32_t block = 0; block < l->blocks; block++) {
		uint64_t sector = be32toh(bat[block]);

		if (sector == VHD_BAT_UNUSED)
			continue;
		ret = bat_check_entry(l, regions, block, sector * VHD_SECTOR, err);
		if (ret)
			return ret;
		sorted[count++] = sector << 32 | block;
	}
	qsort(sorted, count, sizeof(*sorted), place_compare);
	ret = bat_check_overlap(l, sorted, 1, count, err);
	if (ret)
		return ret;
	if (count)
		*end = max_u64(*end, (sorted[count - 1] >> 32) * VHD_SECTOR + l->bitmap_size +
					     l->block_size);
	return 0;
}

void vhd_bat_check_all(const struct vhd_layout *l, const uint32_t *bat, uint64_t *sorted,
		       void (*found)(void *opaque, const char *text), void *opaque)
{
	struct region regions[REGIONS];
	struct vhd_error err;
	size_t count = 0;

	layout_regions(l, regions);
	for (uint32_t block = 0; block < l->blocks; block++) {
		uint64_t sector = be32toh(bat[block]);

		if (sector == VHD_BAT_UNUSED)
			continue;
		if (bat_check_entry(l, regions, block, sector * VHD_SECTOR, &err))
			found(opaque, err.text);
		sorted[count++] = sector << 32 | block;
	}
	qsort(sorted, count, sizeof(*sorted), place_compare);
	for (size_t i = 1; i < count; i++)
		if (bat_check_overlap(l, sorted, i, i + 1, &err))
			found(opaque, err.text);
}
