/* SPDX-License-Identifier: MIT */
/* Another parent locator for a differencing VHDX: written to a free part of the metadata
 * region, with the entry that points there, by one entry of the log. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "vhdx.h"

/* Where in the table the locator's entry is. 0: nowhere. */
static uint32_t locator_entry(const uint8_t *table)
{
	for (uint32_t i = 0; i < get_le16(table + VHDX_ITEM_COUNT_AT); i++) {
		uint32_t at = VHDX_ITEM_ENTRIES_AT + VHDX_ITEM_ENTRY * i;

		if (vhdx_item_find(table + at) == VHDX_PARENT_LOCATOR)
			return at;
	}
	return 0;
}

static int locator_log(struct vhd_image *image, struct vhd_layer *layer, uint8_t *table,
		       const uint8_t *bytes, uint32_t length)
{
	struct vhdx *x = layer->state;
	uint64_t region = x->regions.metadata.offset;
	uint32_t place = vhdx_item_place(table, x->regions.metadata.length, length);
	uint32_t at = locator_entry(table);
	int ret;

	if (place == 0)
		return -ENOSPC;
	if (at == 0)
		return -EINVAL;
	put_le32(table + at + VHDX_ITEM_OFFSET_AT, place);
	put_le32(table + at + VHDX_ITEM_LENGTH_AT, length);
	ret = vhdx_log_bytes(image, layer, bytes, length, region + place);
	/* An entry lies in one page: both are multiples of 32 bytes. */
	if (!ret)
		ret = vhdx_log_bytes(image, layer, table + at, VHDX_ITEM_ENTRY, region + at);
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
