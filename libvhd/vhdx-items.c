/* SPDX-License-Identifier: MIT */
/* Metadata that belongs to the virtual disk, not to the file ([MS-VHDX] 2.6.1.2), known to us or
 * not: a child begins with what its parent has, and a parent that a child is merged into ends
 * with what the child has. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "vhdx.h"

enum { ALIGN = 8 };

static uint32_t entry_count(const uint8_t *table)
{
	uint32_t count = get_le16(table + VHDX_ITEM_COUNT_AT);

	return count < VHDX_MAX_ENTRIES ? count : VHDX_MAX_ENTRIES;
}

static const uint8_t *entry_at(const uint8_t *entries, uint32_t i)
{
	return entries + (size_t)VHDX_ITEM_ENTRY * i;
}

static bool is_disks(const uint8_t *entry)
{
	return get_le32(entry + VHDX_ITEM_FLAGS_AT) & VHDX_ITEM_VIRTUAL_DISK;
}

uint32_t vhdx_item_place(const uint8_t *table, uint32_t region, uint32_t length)
{
	uint32_t place = VHDX_TABLE_SIZE;
	bool moved = true;

	while (moved) {
		moved = false;
		for (uint32_t i = 0; i < entry_count(table); i++) {
			const uint8_t *e = entry_at(table + VHDX_ITEM_ENTRIES_AT, i);
			uint64_t start = get_le32(e + VHDX_ITEM_OFFSET_AT);
			uint64_t end = start + get_le32(e + VHDX_ITEM_LENGTH_AT);

			if (start < end && place < end && start < (uint64_t)place + length) {
				place = (uint32_t)round_up(end, ALIGN);
				moved = true;
			}
		}
	}
	return place <= region && region - place >= length ? place : 0;
}

/* The region's table, for free(). NULL: no memory, or -errno. */
static uint8_t *table_read(struct vhd_image *image, const struct vhd_layer *layer, int *ret)
{
	const struct vhdx *x = layer->state;
	uint8_t *table = malloc(VHDX_TABLE_SIZE);

	*ret = table ? vhdx_read(image, layer, table, VHDX_TABLE_SIZE, x->regions.metadata.offset) :
		       -ENOMEM;
	if (!*ret)
		return table;
	free(table);
	return NULL;
}

/* -- Loading -------------------------------------------------------------------------- */

static int item_load(struct vhd_image *image, const struct vhd_layer *layer,
		     const uint8_t *from, struct vhdx_items *items)
{
	const struct vhdx *x = layer->state;
	uint32_t length = get_le32(from + VHDX_ITEM_LENGTH_AT);
	uint8_t *entry = items->entries + (size_t)VHDX_ITEM_ENTRY * items->count;
	uint8_t *bytes;

	if (items->length + (uint64_t)length > VHDX_MAX_ITEMS)
		return -EFBIG;
	memcpy(entry, from, VHDX_ITEM_ENTRY);
	put_le32(entry + VHDX_ITEM_OFFSET_AT, items->length);
	items->count++;
	if (length == 0)
		return 0;
	bytes = realloc(items->bytes, items->length + (size_t)length);
	if (!bytes)
		return -ENOMEM;
	items->bytes = bytes;
	bytes += items->length;
	items->length += length;
	return vhdx_read(image, layer, bytes, length,
			 x->regions.metadata.offset + get_le32(from + VHDX_ITEM_OFFSET_AT));
}

int vhdx_items_load(struct vhd_image *image, const struct vhd_layer *layer, bool known,
		    struct vhdx_items *items)
{
	int ret;
	uint8_t *table = table_read(image, layer, &ret);

	*items = (struct vhdx_items){ .count = 0 };
	if (!table)
		return ret;
	items->entries = malloc(VHDX_TABLE_SIZE);
	ret = items->entries ? 0 : -ENOMEM;
	for (uint32_t i = 0; !ret && i < entry_count(table); i++) {
		const uint8_t *e = entry_at(table + VHDX_ITEM_ENTRIES_AT, i);

		if (is_disks(e) && (known || vhdx_item_find(e) == VHDX_ITEMS))
			ret = item_load(image, layer, e, items);
	}
	free(table);
	if (ret)
		vhdx_items_free(items);
	return ret;
}

void vhdx_items_free(struct vhdx_items *items)
{
	free(items->entries);
	free(items->bytes);
	*items = (struct vhdx_items){ .count = 0 };
}

/* -- Taking over ---------------------------------------------------------------------- */

static bool items_same(const struct vhdx_items *a, const struct vhdx_items *b)
{
	return a->count == b->count && a->length == b->length &&
	       memcmp(a->entries, b->entries, (size_t)VHDX_ITEM_ENTRY * a->count) == 0 &&
	       (a->length == 0 || memcmp(a->bytes, b->bytes, a->length) == 0);
}

void vhdx_items_put(const struct vhdx_items *items, uint32_t place, uint8_t *table)
{
	uint32_t count = get_le16(table + VHDX_ITEM_COUNT_AT);
	uint8_t *e = table + VHDX_ITEM_ENTRIES_AT + (size_t)VHDX_ITEM_ENTRY * count;

	memcpy(e, items->entries, (size_t)VHDX_ITEM_ENTRY * items->count);
	for (uint32_t i = 0; i < items->count; i++, e += VHDX_ITEM_ENTRY)
		if (get_le32(e + VHDX_ITEM_LENGTH_AT))
			put_le32(e + VHDX_ITEM_OFFSET_AT,
				 get_le32(e + VHDX_ITEM_OFFSET_AT) + place);
		else
			put_le32(e + VHDX_ITEM_OFFSET_AT, 0);
	put_le16(table + VHDX_ITEM_COUNT_AT, (uint16_t)(count + items->count));
}

/* Only the file's own entries stay in the table. */
static void table_clear(uint8_t *table)
{
	uint8_t *entries = table + VHDX_ITEM_ENTRIES_AT;
	uint32_t count = entry_count(table), kept = 0;

	for (uint32_t i = 0; i < count; i++)
		if (!is_disks(entry_at(entries, i)))
			memmove(entries + (size_t)VHDX_ITEM_ENTRY * kept++, entry_at(entries, i),
				VHDX_ITEM_ENTRY);
	memset(entries + (size_t)VHDX_ITEM_ENTRY * kept, 0,
	       (size_t)VHDX_ITEM_ENTRY * (count - kept));
	put_le16(table + VHDX_ITEM_COUNT_AT, (uint16_t)kept);
}

/* The contents go where no entry points to; then one entry of the log changes the table. */
static int items_log(struct vhd_image *image, const struct vhdx_items *items, uint32_t place,
		     const uint8_t *table)
{
	struct vhd_layer *layer = &image->layers[0];
	const struct vhdx *x = layer->state;
	uint64_t region = x->regions.metadata.offset;
	int ret = vhdx_log_bytes(image, layer, items->bytes, items->length, region + place);

	if (!ret)
		ret = vhdx_log_write(image, layer, false);
	if (!ret)
		ret = vhdx_log_settle(image, layer);
	if (!ret)
		ret = vhdx_log_bytes(image, layer, table, VHDX_TABLE_SIZE, region);
	if (!ret)
		ret = vhdx_log_write(image, layer, false);
	return ret ? ret : vhdx_log_settle(image, layer);
}

static int items_replace(struct vhd_image *image, const struct vhdx_items *items)
{
	struct vhd_layer *layer = &image->layers[0];
	struct vhdx *x = layer->state;
	struct vhdx_item known[VHDX_ITEMS];
	uint32_t place;
	int ret;
	uint8_t *table = table_read(image, layer, &ret);

	if (!table)
		return ret;
	place = vhdx_item_place(table, x->regions.metadata.length, items->length);
	table_clear(table);
	if (place == 0 || entry_count(table) + items->count > VHDX_MAX_ENTRIES)
		ret = -ENOSPC;
	if (!ret) {
		vhdx_items_put(items, place, table);
		if (vhdx_metadata_parse(table, x->regions.metadata.length, known, NULL))
			ret = -EINVAL;
	}
	if (!ret)
		ret = items_log(image, items, place, table);
	if (!ret)
		memcpy(x->items, known, sizeof(known));
	free(table);
	return ret;
}

int vhdx_take_items(struct vhd_image *image, struct vhd_image *from)
{
	struct vhdx_items mine, theirs;
	int ret = vhdx_items_load(from, &from->layers[0], true, &theirs);

	if (ret)
		return ret;
	ret = vhdx_items_load(image, &image->layers[0], true, &mine);
	if (!ret && !items_same(&mine, &theirs)) {
		ret = vhd_flush(image);
		if (!ret)
			ret = vhd_session_begin(image);
		if (!ret)
			ret = vhd_file_sync(image, image->layers[0].file);
		if (!ret)
			ret = items_replace(image, &theirs);
	}
	vhdx_items_free(&mine);
	vhdx_items_free(&theirs);
	return ret;
}
