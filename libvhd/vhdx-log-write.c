/* SPDX-License-Identifier: MIT */
/* Writing the log of a VHDX. One entry at a time is needed: pages are gathered, the
 * entry is written and synced, the pages go home, and the sync that the next entry's
 * data needs anyway covers that. So each entry can be its own tail. */
#include <string.h>

#include "bytes.h"
#include "vhdx.h"

/* How many pages one entry may have, so that it never overwrites the one before it,
 * which counts until the new one is whole. */
static uint32_t pages_limit(const struct vhdx *x)
{
	uint32_t half = x->header.log_length / VHDX_PAGE / 2 - 2;

	return half < VHDX_LOG_PAGES ? half : VHDX_LOG_PAGES;
}

/* @size bytes into the ring from where the last entry ends. */
static int ring_write(struct vhd_image *image, struct vhd_layer *layer, const uint8_t *bytes,
		      uint32_t size)
{
	struct vhdx *x = layer->state;
	uint32_t first = (uint32_t)min_u64(size, x->header.log_length - x->log.at);
	int ret = vhd_file_write(image, layer->file, bytes, first,
				 x->header.log_offset + x->log.at);

	if (!ret && first < size)
		ret = vhd_file_write(image, layer->file, bytes + first, size - first,
				     x->header.log_offset);
	x->log.at = (uint32_t)(((uint64_t)x->log.at + size) % x->header.log_length);
	return ret;
}

int vhdx_log_write(struct vhd_image *image, struct vhd_layer *layer, bool force)
{
	struct vhdx *x = layer->state;
	struct vhdx_log_writer *log = &x->log;
	const uint8_t *contents[VHDX_LOG_PAGES];
	struct vhdx_log_entry entry = {
		.tail = log->at,
		.guid = x->header.log_guid,
		.flushed_size = log->flushed_size,
		.last_size = x->file_size,
		.pages = log->count,
		.offsets = log->offsets,
		.contents = contents,
	};

	if (log->count == 0 && !force)
		return 0;
	entry.sequence = ++log->sequence;
	for (uint32_t i = 0; i < log->count; i++)
		contents[i] = log->pages + (size_t)i * VHDX_PAGE;
	vhdx_log_entry_build(log->entry, &entry);
	return ring_write(image, layer, log->entry, vhdx_log_entry_size(log->count));
}

int vhdx_log_home(struct vhd_image *image, struct vhd_layer *layer)
{
	struct vhdx *x = layer->state;
	struct vhdx_log_writer *log = &x->log;
	int ret = 0;

	for (uint32_t i = 0; !ret && i < log->count; i++)
		ret = vhd_file_write(image, layer->file, log->pages + (size_t)i * VHDX_PAGE,
				     VHDX_PAGE, log->offsets[i]);
	log->count = 0;
	return ret;
}

int vhdx_log_settle(struct vhd_image *image, struct vhd_layer *layer)
{
	int ret = vhd_file_sync(image, layer->file);

	if (!ret)
		ret = vhdx_log_home(image, layer);
	return ret ? ret : vhd_file_sync(image, layer->file);
}

int vhdx_log_page(struct vhd_image *image, struct vhd_layer *layer, uint64_t offset,
		  uint8_t **page)
{
	struct vhdx *x = layer->state;
	struct vhdx_log_writer *log = &x->log;
	int ret = 0;

	if (log->count == pages_limit(x)) {
		ret = vhdx_log_write(image, layer, false);
		if (!ret)
			ret = vhdx_log_settle(image, layer);
	}
	if (ret)
		return ret;
	*page = log->pages + (size_t)log->count * VHDX_PAGE;
	log->offsets[log->count++] = offset;
	return 0;
}

/* A page as it is in the file, with the part of the @size bytes for @offset that lies in it. */
static int page_patch(struct vhd_image *image, struct vhd_layer *layer, uint64_t place,
		      const uint8_t *bytes, uint64_t size, uint64_t offset)
{
	uint64_t start = max_u64(place, offset);
	uint64_t end = min_u64(place + VHDX_PAGE, offset + size);
	uint8_t *page;
	int ret = vhdx_log_page(image, layer, place, &page);

	if (!ret)
		ret = vhd_file_read(image, layer->file, page, VHDX_PAGE, place);
	if (!ret)
		memcpy(page + (start - place), bytes + (start - offset), end - start);
	return ret;
}

int vhdx_log_bytes(struct vhd_image *image, struct vhd_layer *layer, const void *bytes,
		   uint64_t size, uint64_t offset)
{
	int ret = 0;

	for (uint64_t at = round_down(offset, VHDX_PAGE); !ret && at < offset + size;
	     at += VHDX_PAGE)
		ret = page_patch(image, layer, at, bytes, size, offset);
	return ret;
}
