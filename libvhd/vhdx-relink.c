/* SPDX-License-Identifier: MIT */
/* Another parent locator for a differencing VHDX: written to a free part of the metadata
 * region, with the entry that points there, by one entry of the log. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "vhdx.h"

enum { ENTRY_AT = 32, ENTRY_SIZE = 32, COUNT_AT = 10, OFFSET_AT = 16, LENGTH_AT = 20 };

static uint32_t entry_count(const uint8_t *table)
{
	uint32_t count = get_le16(table + COUNT_AT);

	return count < VHDX_MAX_ENTRIES ? count : VHDX_MAX_ENTRIES;
}

/* The first place behind the table that no item has a part of. 0: there is none. */
static uint32_t item_place(const uint8_t *table, uint32_t region, uint32_t length)
{
	uint32_t place = VHDX_TABLE_SIZE;
	bool moved = true;

	while (moved) {
		moved = false;
		for (uint32_t i = 0; i < entry_count(table); i++) {
			const uint8_t *e = table + ENTRY_AT + ENTRY_SIZE * i;
			uint32_t start = get_le32(e + OFFSET_AT), size = get_le32(e + LENGTH_AT);

			if (size && place < start + size && start < place + length) {
				place = (uint32_t)round_up(start + size, 8);
				moved = true;
			}
		}
	}
	return place <= region && region - place >= length ? place : 0;
}

/* @length bytes for @offset into the pages of the log's next entry. */
static int bytes_log(struct vhd_image *image, struct vhd_layer *layer, const uint8_t *bytes,
		     uint32_t length, uint64_t offset)
{
	int ret = 0;

	while (!ret && length > 0) {
		uint64_t start = round_down(offset, VHDX_PAGE);
		uint32_t n = (uint32_t)min_u64(length, start + VHDX_PAGE - offset);
		uint8_t *page;

		ret = vhdx_log_page(image, layer, start, &page);
		if (!ret)
			ret = vhd_file_read(image, layer->file, page, VHDX_PAGE, start);
		if (!ret)
			memcpy(page + (offset - start), bytes, n);
		bytes += n;
		offset += n;
		length -= n;
	}
	return ret;
}

static int locator_log(struct vhd_image *image, struct vhd_layer *layer, uint8_t *table,
		       const uint8_t *bytes, uint32_t length)
{
	struct vhdx *x = layer->state;
	uint64_t region = x->regions.metadata.offset;
	uint32_t place = item_place(table, x->regions.metadata.length, length), at = 0;
	int ret;

	if (place == 0)
		return -ENOSPC;
	for (uint32_t i = 0; i < entry_count(table); i++)
		if (memcmp(table + ENTRY_AT + ENTRY_SIZE * i, vhdx_item_guid[VHDX_PARENT_LOCATOR],
			   16) == 0)
			at = ENTRY_AT + ENTRY_SIZE * i;
	if (at == 0)
		return -EINVAL;
	put_le32(table + at + OFFSET_AT, place);
	put_le32(table + at + LENGTH_AT, length);
	ret = bytes_log(image, layer, bytes, length, region + place);
	/* An entry lies in one page: both are multiples of 32 bytes. */
	if (!ret)
		ret = bytes_log(image, layer, table + at, ENTRY_SIZE, region + at);
	if (!ret)
		ret = vhdx_log_write(image, layer, false);
	if (!ret)
		ret = vhdx_log_settle(image, layer);
	if (!ret)
		x->items[VHDX_PARENT_LOCATOR] = (struct vhdx_item){ place, length };
	return ret;
}

/* Takes @bytes over. */
static int locator_replace(struct vhd_image *image, uint8_t *bytes, uint32_t length)
{
	struct vhd_layer *layer = &image->layers[0];
	struct vhdx *x = layer->state;
	uint8_t *table = malloc(VHDX_TABLE_SIZE);
	int ret = table ? vhd_flush(image) : -ENOMEM;

	if (!ret)
		ret = vhd_session_begin(image);
	if (!ret)
		ret = vhd_file_sync(image, layer->file);
	if (!ret)
		ret = vhd_file_read(image, layer->file, table, VHDX_TABLE_SIZE,
				    x->regions.metadata.offset);
	if (!ret)
		ret = locator_log(image, layer, table, bytes, length);
	free(table);
	free(ret ? bytes : x->locator);
	if (!ret)
		x->locator = bytes;
	return ret;
}

int vhdx_relink(struct vhd_image *image, const struct create_context *create)
{
	struct vhd_layer *layer = &image->layers[0];
	uint8_t *bytes;
	uint32_t length;
	int ret = vhdx_locator_build(create, &bytes, &length);

	if (ret)
		return ret;
	ret = locator_replace(image, bytes, length);
	if (ret)
		return vhd_fail(create->err, ret, "cannot change the parent locator");
	memcpy(layer->parent_id, create->parent.data_id, sizeof(layer->parent_id));
	return 0;
}

int vhdx_link_both(struct vhd_image *image, const uint8_t *now, const uint8_t *next)
{
	const struct vhdx *x = image->layers[0].state;
	uint8_t *bytes;
	uint32_t length;
	int ret = vhdx_locator_link(x->locator, now, next, &bytes, &length);

	return ret ? ret : locator_replace(image, bytes, length);
}
