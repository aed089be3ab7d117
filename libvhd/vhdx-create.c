/* SPDX-License-Identifier: MIT */
/* The bytes of a new VHDX: headers, an empty log at 1 MiB, metadata at 2 MiB, the
 * table at 3 MiB, and for a fixed image all its blocks. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "crc32c.h"
#include "create.h"
#include "utf16.h"
#include "vhdx.h"

enum {
	LOG_MIB = 1,
	METADATA_MIB = 2,
	BAT_MIB = 3,
	ITEMS_AT = 64 << 10,
	DEFAULT_BLOCK = 32 << 20,
	CHILD_BLOCK = 2 << 20,
	LOGICAL_SECTOR = 512,
	PHYSICAL_SECTOR = 4096,
};

/* A GUID for the file: the caller's or a random one. */
static void guid_choose(const uint8_t *wanted, uint8_t *guid)
{
	if (wanted)
		vhdx_guid_swap(guid, wanted);
	else
		vhd_random_id(guid);
}

static int identifier_write(const struct create_context *create)
{
	uint8_t bytes[8 + 512] = "vhdxfile";

	vhd_utf16_encode("libvhd", bytes + 8, 512, UTF16_LE);
	return vhd_create_write(create, bytes, sizeof(bytes), 0);
}

static int headers_write(const struct create_context *create)
{
	struct vhdx_header h = {
		.version = 1,
		.log_length = (uint32_t)VHDX_MIB,
		.log_offset = LOG_MIB * VHDX_MIB,
	};
	uint8_t bytes[VHDX_HEADER_SIZE];
	int ret;

	guid_choose(create->options->file_id, h.file_write);
	guid_choose(create->options->data_id, h.data_write);
	vhdx_header_build(bytes, &h);
	ret = vhd_create_write(create, bytes, sizeof(bytes), VHDX_HEADER_1);
	h.sequence = 1;
	vhdx_header_build(bytes, &h);
	return ret ? ret : vhd_create_write(create, bytes, sizeof(bytes), VHDX_HEADER_2);
}

static void region_put(uint8_t *entry, const uint8_t *guid, uint64_t offset, uint64_t length)
{
	memcpy(entry, guid, 16);
	put_le64(entry + 16, offset);
	put_le32(entry + 24, (uint32_t)length);
	put_le32(entry + 28, 1);
}

static int regions_write(const struct create_context *create, uint64_t bat_length)
{
	uint8_t *bytes = calloc(1, VHDX_TABLE_SIZE);
	int ret;

	if (!bytes)
		return vhd_fail(create->err, -ENOMEM, "no memory for the region table");
	memcpy(bytes, "regi", 4);
	put_le32(bytes + 8, 2);
	region_put(bytes + 16, vhdx_region_bat, BAT_MIB * VHDX_MIB, bat_length);
	region_put(bytes + 48, vhdx_region_metadata, METADATA_MIB * VHDX_MIB, VHDX_MIB);
	put_le32(bytes + 4, vhd_crc32c_structure(bytes, VHDX_TABLE_SIZE));
	ret = vhd_create_write(create, bytes, VHDX_TABLE_SIZE, VHDX_REGIONS_1);
	if (!ret)
		ret = vhd_create_write(create, bytes, VHDX_TABLE_SIZE, VHDX_REGIONS_2);
	free(bytes);
	return ret;
}

/* The items in front of the parent locator. */
static uint32_t items_build(uint8_t *items, const struct vhdx_disk *d)
{
	put_le32(items, d->block_size);
	put_le32(items + 4, (uint32_t)d->fixed | (uint32_t)d->has_parent << 1);
	put_le64(items + 8, d->size);
	memcpy(items + 16, d->id, 16);
	put_le32(items + 32, d->logical);
	put_le32(items + 36, d->physical);
	return 40;
}

/* The table of our own items: those of items_build(), then the locator. */
static void table_build(uint8_t *table, const struct vhdx_disk *d, uint32_t locator)
{
	const struct {
		uint32_t length, flags;
	} rows[VHDX_ITEMS] = {
		{ 8, VHDX_ITEM_REQUIRED },
		{ 8, VHDX_ITEM_REQUIRED | VHDX_ITEM_VIRTUAL_DISK },
		{ 16, VHDX_ITEM_REQUIRED | VHDX_ITEM_VIRTUAL_DISK },
		{ 4, VHDX_ITEM_REQUIRED | VHDX_ITEM_VIRTUAL_DISK },
		{ 4, VHDX_ITEM_REQUIRED | VHDX_ITEM_VIRTUAL_DISK },
		{ locator, VHDX_ITEM_REQUIRED },
	};
	int count = d->has_parent ? VHDX_ITEMS : VHDX_PARENT_LOCATOR;
	uint32_t at = ITEMS_AT;

	memcpy(table, "metadata", 8);
	put_le16(table + VHDX_ITEM_COUNT_AT, (uint16_t)count);
	for (int i = 0; i < count; i++) {
		uint8_t *entry = table + VHDX_ITEM_ENTRIES_AT + VHDX_ITEM_ENTRY * i;

		memcpy(entry, vhdx_item_guid[i], 16);
		put_le32(entry + VHDX_ITEM_OFFSET_AT, at);
		put_le32(entry + VHDX_ITEM_LENGTH_AT, rows[i].length);
		put_le32(entry + VHDX_ITEM_FLAGS_AT, rows[i].flags);
		at += rows[i].length;
	}
}

/* The virtual disk's items that are not ours to know come from the parent. */
static int foreign_put(const struct create_context *create, uint8_t *table)
{
	const struct vhdx_items *items = create->parent.items;
	uint32_t place = vhdx_item_place(table, VHDX_MIB, items->length);

	if (place == 0 || VHDX_ITEMS + items->count > VHDX_MAX_ENTRIES)
		return vhd_fail(create->err, -EFBIG, "%" PRIu32 " metadata items of the parent",
				items->count);
	vhdx_items_put(items, place, table);
	return vhd_create_write(create, items->bytes, items->length,
				METADATA_MIB * VHDX_MIB + place);
}

static int metadata_write(const struct create_context *create, const struct vhdx_disk *d)
{
	uint64_t region = METADATA_MIB * VHDX_MIB;
	uint8_t items[40] = { 0 }, *locator = NULL, *table;
	uint32_t length = 0;
	int ret = d->has_parent ? vhdx_locator_build(create, &locator, &length) : 0;

	if (ret)
		return ret;
	table = calloc(1, VHDX_TABLE_SIZE);
	if (!table)
		ret = vhd_fail(create->err, -ENOMEM, "no memory for metadata");
	else
		table_build(table, d, length);
	if (!ret)
		ret = vhd_create_write(create, items, items_build(items, d), region + ITEMS_AT);
	if (!ret && locator)
		ret = vhd_create_write(create, locator, length,
				       region + ITEMS_AT + sizeof(items));
	if (!ret && create->parent.items)
		ret = foreign_put(create, table);
	if (!ret)
		ret = vhd_create_write(create, table, VHDX_TABLE_SIZE, region);
	free(table);
	free(locator);
	return ret;
}

/* A fixed image's blocks stand in order behind the table. */
static int table_write(const struct create_context *create, const struct vhdx_disk *d,
		       uint64_t data)
{
	uint64_t entries[VHDX_PAGE / 8];
	size_t per_page = VHDX_PAGE / 8;
	int ret = 0;

	for (uint64_t i = 0; !ret && d->fixed && i < d->entries; i += per_page) {
		for (size_t k = 0; k < per_page; k++) {
			uint64_t index = i + k;
			uint64_t chunk = index / (d->chunk_ratio + 1);
			bool block = index < d->entries &&
				     index % (d->chunk_ratio + 1) != d->chunk_ratio;

			entries[k] = block ? htole64((data + (index - chunk) * d->block_size) |
						     VHDX_PRESENT) :
					     0;
		}
		ret = vhd_create_write(create, entries, sizeof(entries),
				       BAT_MIB * VHDX_MIB + i * 8);
	}
	return ret;
}

static int disk_check(const struct create_context *create, const struct vhdx_disk *d)
{
	if (d->block_size < VHDX_MIN_BLOCK || d->block_size > VHDX_MAX_BLOCK ||
	    d->block_size & (d->block_size - 1))
		return vhd_fail(create->err, -EINVAL,
				"block size is %" PRIu32
				", expected a power of two from 1 to 256 MiB",
				d->block_size);
	if ((d->logical != 512 && d->logical != 4096) ||
	    (d->physical != 512 && d->physical != 4096))
		return vhd_fail(create->err, -EINVAL,
				"sector sizes are %" PRIu32 " and %" PRIu32
				", expected 512 or 4096",
				d->logical, d->physical);
	if (d->has_parent && d->logical != create->parent.logical)
		return vhd_fail(create->err, -EINVAL,
				"logical sector size is %" PRIu32 ", the parent's is %" PRIu32,
				d->logical, create->parent.logical);
	if (d->size > VHDX_MAX_SIZE || d->size % d->logical)
		return vhd_fail(create->err, -EINVAL,
				"virtual size is %" PRIu64 ", expected a multiple of %" PRIu32
				" up to 64 TiB",
				d->size, d->logical);
	return 0;
}

/* @given, or what the parent has, or else the default. */
static uint32_t choose(uint32_t given, uint32_t parents, uint32_t otherwise)
{
	return given ? given : parents ? parents : otherwise;
}

static int disk_init(const struct create_context *create, struct vhdx_disk *d)
{
	const struct vhd_create_options *o = create->options;
	const struct create_parent *parent = &create->parent;
	bool child = o->type == VHD_TYPE_DIFFERENCING;
	int ret;

	*d = (struct vhdx_disk){
		.block_size = choose(o->block_size, 0, child ? CHILD_BLOCK : DEFAULT_BLOCK),
		.fixed = o->type == VHD_TYPE_FIXED,
		.has_parent = child,
		.size = o->virtual_size,
		.logical = choose(o->logical_sector_size, parent->logical, LOGICAL_SECTOR),
		.physical = choose(o->physical_sector_size, parent->physical, PHYSICAL_SECTOR),
	};
	/* 2.6.1.2: the disk stays the same one. */
	guid_choose(o->id || !child ? o->id : parent->id, d->id);
	ret = disk_check(create, d);
	if (!ret)
		vhdx_disk_derive(d);
	return ret;
}

int vhd_vhdx_create(const struct create_context *create)
{
	const struct vhd_create_options *o = create->options;
	struct vhdx_disk disk;
	uint64_t bat_length, data, size;
	int ret = disk_init(create, &disk);

	if (ret)
		return ret;
	bat_length = round_up(disk.entries * 8, VHDX_MIB);
	data = BAT_MIB * VHDX_MIB + bat_length;
	size = data + (disk.fixed ? disk.blocks * disk.block_size : 0);
	ret = vhd_create_extend(create, size, disk.fixed && !(o->flags & VHD_CREATE_SPARSE));
	if (!ret)
		ret = identifier_write(create);
	if (!ret)
		ret = headers_write(create);
	if (!ret)
		ret = regions_write(create, bat_length);
	if (!ret)
		ret = metadata_write(create, &disk);
	return ret ? ret : table_write(create, &disk, data);
}
