/* SPDX-License-Identifier: MIT */
/* A VHD's other parent. The dynamic header has no copy, and a torn one is the end of the
 * image: so a new one is written where nothing is, and the footers then point to it,
 * first the copy, then the last one, which counts until it is changed itself. The old
 * header's place is free by then; the new one moves there in the same way, so that the
 * file's end is left to the blocks. */
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "space.h"
#include "vhd-dynamic.h"
#include "vhd-locator.h"

enum { FOOTER_OFFSET_AT = 16, FOOTER_SUM_AT = 64 };

/* Where the header and the locators go; and what they are there. */
struct metadata {
	uint64_t header_at, locators_at;
	struct vhd_header header;
	uint8_t bytes[VHD_HEADER_SIZE];
	uint8_t locators[VHD_LOCATORS_MAX];
	size_t length; /* of the locators; 0: the parent's name has no form in them */
};

static void metadata_build(struct metadata *m, const struct dynamic *d,
			   const struct create_parent *parent, uint64_t header_at,
			   uint64_t locators_at)
{
	m->header_at = header_at;
	m->locators_at = locators_at;
	m->header = d->header;
	m->length = vhd_locators_build(parent, &m->header, locators_at, m->locators);
	vhd_header_build(m->bytes, &m->header);
}

static void footer_point(uint8_t *footer, uint64_t header)
{
	put_be64(footer + FOOTER_OFFSET_AT, header);
	put_be32(footer + FOOTER_SUM_AT, vhd_checksum(footer, VHD_FOOTER_SIZE, FOOTER_SUM_AT));
}

/* The new metadata is durable at @place: makes it count. */
static int footers_switch(struct vhd_image *image, const struct vhd_layer *layer, uint64_t place)
{
	struct dynamic *d = layer->state;
	uint8_t footer[VHD_FOOTER_SIZE];
	int ret;

	memcpy(footer, d->footer, sizeof(footer));
	footer_point(footer, place);
	ret = vhd_file_write(image, layer->file, footer, sizeof(footer), 0);
	if (!ret)
		ret = vhd_file_sync(image, layer->file);
	if (!ret)
		ret = vhd_file_write(image, layer->file, footer, sizeof(footer),
				     vhd_dynamic_end(layer));
	if (!ret)
		ret = vhd_file_sync(image, layer->file);
	memcpy(d->footer, footer, sizeof(footer));
	return ret;
}

static int metadata_put(struct vhd_image *image, const struct metadata *m)
{
	struct vhd_layer *layer = &image->layers[0];
	struct dynamic *d = layer->state;
	uint64_t end = max_u64(m->header_at + VHD_HEADER_SIZE, m->locators_at + m->length);
	int ret = vhd_file_write(image, layer->file, m->bytes, VHD_HEADER_SIZE, m->header_at);

	if (!ret)
		ret = vhd_file_write(image, layer->file, m->locators, m->length, m->locators_at);
	/* Behind the last block the footer makes way; its copy counts meanwhile. */
	if (!ret && end > d->end) {
		d->end = end;
		ret = vhd_file_write(image, layer->file, d->footer, VHD_FOOTER_SIZE, d->end);
	}
	if (!ret)
		ret = vhd_file_sync(image, layer->file);
	if (!ret)
		ret = footers_switch(image, layer, m->header_at);
	if (ret)
		return ret;
	d->header = m->header;
	d->layout.header_offset = m->header_at;
	memcpy(d->layout.locators, m->header.locators, sizeof(d->layout.locators));
	memcpy(layer->parent_id, m->header.parent_id, sizeof(layer->parent_id));
	return 0;
}

/* The first gap in front of the last space that has room for @length bytes, not those
 * from @taken on (0: it may be any), which are as many as a header has. 0: none. */
static uint64_t gap_find(const struct spaces *s, size_t length, uint64_t taken)
{
	uint64_t end = 0;

	for (size_t i = 0; i < s->count; i++) {
		uint64_t start = round_up(end, VHD_SECTOR);

		if (taken && start < taken + VHD_HEADER_SIZE && taken < start + length)
			start = taken + VHD_HEADER_SIZE;
		if (s->all[i].start > start && s->all[i].start - start >= length)
			return start;
		end = max_u64(end, s->all[i].end);
	}
	return 0;
}

/* To the front, where the old ones were. */
static int metadata_move(struct vhd_image *image, struct metadata *m,
			 const struct create_parent *parent)
{
	struct vhd_layer *layer = &image->layers[0];
	uint64_t header, locators = 0;
	struct spaces s;
	int ret = vhd_spaces_init(&s, layer);

	if (ret)
		return ret;
	header = gap_find(&s, VHD_HEADER_SIZE, 0);
	if (header)
		locators = gap_find(&s, m->length, header);
	vhd_spaces_fini(&s);
	if (!locators)
		return 0;
	metadata_build(m, layer->state, parent, header, locators);
	return metadata_put(image, m);
}

int vhd_dynamic_relink(struct vhd_image *image, const struct create_context *create)
{
	struct vhd_layer *layer = &image->layers[0];
	const struct dynamic *d = layer->state;
	struct metadata m;
	uint64_t end;
	int ret = vhd_flush(image);

	/* The last footer must stand where it is looked for. */
	if (!ret)
		ret = vhd_dynamic_cut(image);
	end = round_up(d->end, VHD_SECTOR);
	metadata_build(&m, d, &create->parent, end, end + VHD_HEADER_SIZE);
	if (m.length == 0)
		return vhd_fail(create->err, -EINVAL,
				"the parent's name is not UTF-8 of at most 256 characters");
	if (!ret)
		ret = metadata_put(image, &m);
	if (!ret)
		ret = metadata_move(image, &m, &create->parent);
	if (!ret)
		ret = vhd_dynamic_cut(image);
	return ret ? vhd_fail(create->err, ret, "cannot change the link to the parent") : 0;
}
