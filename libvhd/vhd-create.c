/* SPDX-License-Identifier: MIT */
/* The bytes of a new VHD. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "bytes.h"
#include "create.h"
#include "vhd-format.h"
#include "vhd-locator.h"

enum { FEATURES_RESERVED = 2, CREATOR_VERSION = 0x000a0000 };

static void footer_init(struct vhd_footer *f, const struct vhd_create_options *o)
{
	int64_t now = o->time ? *o->time : time(NULL);

	*f = (struct vhd_footer){
		.features = FEATURES_RESERVED,
		.data_offset = o->type == VHD_TYPE_FIXED ? VHD_NO_OFFSET : VHD_FOOTER_SIZE,
		.time = now > VHD_EPOCH ? (uint32_t)(now - VHD_EPOCH) : 0,
		.creator = { 'w', 'i', 'n', ' ' },
		.creator_version = CREATOR_VERSION,
		.host_os = { 'W', 'i', '2', 'k' },
		.original_size = o->virtual_size,
		.current_size = o->virtual_size,
		.geometry = vhd_geometry(o->virtual_size / VHD_SECTOR),
		.type = o->type == VHD_TYPE_FIXED   ? VHD_DISK_FIXED :
			o->type == VHD_TYPE_DYNAMIC ? VHD_DISK_DYNAMIC :
						      VHD_DISK_DIFFERENCING,
	};
	if (o->id)
		memcpy(f->id, o->id, sizeof(f->id));
	else
		vhd_random_id(f->id);
}

/* The locators stand from *@end on, which moves behind them. */
static int locators_write(const struct create_context *create, struct vhd_header *header,
			  uint64_t *end)
{
	uint8_t bytes[VHD_LOCATORS_MAX];
	size_t length = vhd_locators_build(&create->parent, header, *end, bytes);
	int ret;

	if (length == 0)
		return vhd_fail(create->err, -EINVAL,
				"the name of the parent %s is not UTF-8 of at most 256 characters",
				create->parent.path);
	ret = vhd_create_write(create, bytes, length, *end);
	*end += length;
	return ret;
}

/* Footer copy, header, table, locators, footer. */
static int dynamic_create(const struct create_context *create, const uint8_t *footer,
			  uint32_t block_size)
{
	const struct vhd_create_options *o = create->options;
	struct vhd_header header = {
		.bat_offset = VHD_FOOTER_SIZE + VHD_HEADER_SIZE,
		.bat_entries = (uint32_t)((o->virtual_size + block_size - 1) / block_size),
		.block_size = block_size,
	};
	uint64_t end = header.bat_offset + vhd_bat_size(header.bat_entries);
	uint8_t bytes[VHD_HEADER_SIZE];
	uint8_t unused[4096];
	int ret = vhd_create_write(create, footer, VHD_FOOTER_SIZE, 0);

	memset(unused, 0xff, sizeof(unused));
	for (uint64_t at = header.bat_offset; !ret && at < end; at += sizeof(unused))
		ret = vhd_create_write(create, unused, min_u64(sizeof(unused), end - at), at);
	if (!ret && o->type == VHD_TYPE_DIFFERENCING)
		ret = locators_write(create, &header, &end);
	vhd_header_build(bytes, &header);
	if (!ret)
		ret = vhd_create_write(create, bytes, sizeof(bytes), VHD_FOOTER_SIZE);
	return ret ? ret : vhd_create_write(create, footer, VHD_FOOTER_SIZE, end);
}

static int fixed_create(const struct create_context *create, const uint8_t *footer)
{
	const struct vhd_create_options *o = create->options;
	int ret = vhd_create_extend(create, o->virtual_size + VHD_FOOTER_SIZE,
				    !(o->flags & VHD_CREATE_SPARSE));

	return ret ? ret : vhd_create_write(create, footer, VHD_FOOTER_SIZE, o->virtual_size);
}

static int block_size_check(const struct create_context *create, uint32_t block_size)
{
	uint64_t size = create->options->virtual_size;

	if (block_size < VHD_MIN_BLOCK || block_size > VHD_MAX_BLOCK ||
	    block_size & (block_size - 1))
		return vhd_fail(create->err, -EINVAL,
				"block size is %" PRIu32
				", expected a power of two from 512 to %u",
				block_size, VHD_MAX_BLOCK);
	if ((size + block_size - 1) / block_size > VHD_MAX_BLOCKS)
		return vhd_fail(create->err, -EINVAL,
				"block size is %" PRIu32 ", too small for %" PRIu64
				" bytes in at most %u blocks",
				block_size, size, VHD_MAX_BLOCKS);
	return 0;
}

int vhd_vhd_create(const struct create_context *create)
{
	const struct vhd_create_options *o = create->options;
	uint32_t block_size = o->block_size ? o->block_size : VHD_DEFAULT_BLOCK;
	uint8_t bytes[VHD_FOOTER_SIZE];
	struct vhd_footer footer;
	int ret;

	if (o->virtual_size > VHD_MAX_SIZE)
		return vhd_fail(create->err, -EINVAL,
				"virtual size is %" PRIu64 ", a VHD has at most %" PRIu64,
				o->virtual_size, VHD_MAX_SIZE);
	footer_init(&footer, o);
	vhd_footer_build(bytes, &footer);
	if (o->type == VHD_TYPE_FIXED)
		return fixed_create(create, bytes);
	ret = block_size_check(create, block_size);
	return ret ? ret : dynamic_create(create, bytes, block_size);
}
