/* SPDX-License-Identifier: MIT */
/* Headers, region table, metadata. */
#include "vhdx-format.h"

#include <inttypes.h>
#include <string.h>

#include "bytes.h"
#include "crc32c.h"

const uint8_t vhdx_region_bat[16] = { 0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
				      0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08 };
const uint8_t vhdx_region_metadata[16] = { 0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
					   0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e };
const uint8_t vhdx_item_guid[VHDX_ITEMS][16] = {
	[VHDX_FILE_PARAMETERS] = { 0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6,
				   0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b },
	[VHDX_DISK_SIZE] = { 0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d,
			     0xbe, 0xd8, 0x3b, 0xf4, 0xb8 },
	[VHDX_DISK_ID] = { 0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3, 0x09,
			   0xe0, 0x00, 0xc7, 0x46 },
	[VHDX_LOGICAL_SECTOR] = { 0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2,
				  0x33, 0xa8, 0xfa, 0xab, 0x5f },
	[VHDX_PHYSICAL_SECTOR] = { 0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9,
				   0x88, 0x52, 0x51, 0xc5, 0x56 },
	[VHDX_PARENT_LOCATOR] = { 0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3,
				  0xd8, 0x48, 0x34, 0xab, 0x0c },
};
static const uint8_t item_incomplete[16] = { 0xf0, 0x85, 0xcc, 0x71, 0x69, 0x1b, 0x28, 0x4e,
					     0x95, 0x58, 0xc3, 0xbf, 0x83, 0xae, 0x75, 0xd3 };

static const char header_signature[4] = "head";
static const char regions_signature[4] = "regi";
static const char metadata_signature[8] = "metadata";

/* -- Headers ---------------------------------------------------------------------- */

bool vhdx_header_parse(const uint8_t *bytes, struct vhdx_header *h)
{
	if (memcmp(bytes, header_signature, sizeof(header_signature)) != 0 ||
	    get_le32(bytes + 4) != vhd_crc32c_structure(bytes, VHDX_HEADER_SIZE))
		return false;
	h->sequence = get_le64(bytes + 8);
	memcpy(h->file_write, bytes + 16, 16);
	memcpy(h->data_write, bytes + 32, 16);
	memcpy(h->log_guid, bytes + 48, 16);
	h->log_version = get_le16(bytes + 64);
	h->version = get_le16(bytes + 66);
	h->log_length = get_le32(bytes + 68);
	h->log_offset = get_le64(bytes + 72);
	return true;
}

void vhdx_header_build(uint8_t *bytes, const struct vhdx_header *h)
{
	memset(bytes, 0, VHDX_HEADER_SIZE);
	memcpy(bytes, header_signature, sizeof(header_signature));
	put_le64(bytes + 8, h->sequence);
	memcpy(bytes + 16, h->file_write, 16);
	memcpy(bytes + 32, h->data_write, 16);
	memcpy(bytes + 48, h->log_guid, 16);
	put_le16(bytes + 64, h->log_version);
	put_le16(bytes + 66, h->version);
	put_le32(bytes + 68, h->log_length);
	put_le64(bytes + 72, h->log_offset);
	put_le32(bytes + 4, vhd_crc32c_structure(bytes, VHDX_HEADER_SIZE));
}

static int header_check(const struct vhdx_header *h, uint64_t file_size, struct vhd_error *err)
{
	bool has_log = !vhdx_guid_is_zero(h->log_guid);

	if (h->version != 1 || (has_log && h->log_version != 0))
		return vhd_fail(err, VHD_FAULT_VHDX_VERSION,
				"header: version is %u, log version %u, expected 1 and 0",
				h->version, h->log_version);
	if (h->log_offset % VHDX_MIB || h->log_length % VHDX_MIB ||
	    (h->log_length > 0 && h->log_offset < VHDX_MIB) || (has_log && h->log_length == 0) ||
	    h->log_length > VHDX_MAX_LOG || h->log_offset > file_size ||
	    file_size - h->log_offset < h->log_length)
		return vhd_fail(
		    err, VHD_FAULT_VHDX_LOG_PLACE,
		    "header: log of %" PRIu32 " bytes at %" PRIu64
		    ", expected whole MiB, at most %u, behind the first and before %" PRIu64,
		    h->log_length, h->log_offset, VHDX_MAX_LOG, file_size);
	return 0;
}

int vhdx_header_choose(const uint8_t *first, const uint8_t *second, uint64_t file_size,
		       struct vhdx_header *h, int *which, struct vhd_error *err)
{
	struct vhdx_header a, b;
	bool has_a = vhdx_header_parse(first, &a);
	bool has_b = vhdx_header_parse(second, &b);

	if (!has_a && !has_b)
		return vhd_fail(err, VHD_FAULT_VHDX_HEADER,
				"signature or checksum of both headers is wrong");
	if (has_a && has_b && a.sequence == b.sequence &&
	    memcmp(first, second, VHDX_HEADER_SIZE) != 0)
		return vhd_fail(err, VHD_FAULT_VHDX_HEADER,
				"both headers have the sequence number %" PRIu64 " but differ",
				a.sequence);
	*which = !has_a || (has_b && b.sequence > a.sequence);
	*h = *which ? b : a;
	return header_check(h, file_size, err);
}

/* -- Regions ------------------------------------------------------------------------ */

static int region_check(const struct vhdx_region *r, uint32_t index, uint64_t file_size,
			struct vhd_error *err)
{
	if (r->offset % VHDX_MIB || r->offset < VHDX_MIB || r->length % VHDX_MIB ||
	    r->length == 0 || r->offset > file_size || file_size - r->offset < r->length)
		return vhd_fail(err, VHD_FAULT_VHDX_REGION,
				"region table: entry %" PRIu32 " has %" PRIu32 " bytes at %" PRIu64
				", expected whole MiB behind the first and before %" PRIu64,
				index, r->length, r->offset, file_size);
	return 0;
}

static int region_add(struct vhdx_regions *regions, const uint8_t *entry, uint64_t file_size,
		      struct vhd_error *err)
{
	struct vhdx_region *known = NULL;
	struct vhdx_region *r = &regions->all[regions->count];
	uint32_t flags = get_le32(entry + 28);

	*r = (struct vhdx_region){ get_le64(entry + 16), get_le32(entry + 24) };
	if (memcmp(entry, vhdx_region_bat, 16) == 0)
		known = &regions->bat;
	else if (memcmp(entry, vhdx_region_metadata, 16) == 0)
		known = &regions->metadata;
	else if (flags & 1)
		return vhd_fail(err, VHD_FAULT_VHDX_REGION,
				"region table: entry %" PRIu32 " is required but not known",
				regions->count);
	if (flags & ~1u)
		return vhd_fail(err, VHD_FAULT_VHDX_REGION,
				"region table: flags of entry %" PRIu32 " are 0x%" PRIx32
				", expected 0 or 1",
				regions->count, flags);
	if (known && known->length)
		return vhd_fail(err, VHD_FAULT_VHDX_REGION,
				"region table: entry %" PRIu32 " stands there twice",
				regions->count);
	if (known)
		*known = *r;
	return region_check(r, regions->count++, file_size, err);
}

int vhdx_regions_parse(const uint8_t *bytes, uint64_t file_size, struct vhdx_regions *regions,
		       bool *valid, struct vhd_error *err)
{
	uint32_t count = get_le32(bytes + 8);
	int ret = 0;

	*valid = memcmp(bytes, regions_signature, sizeof(regions_signature)) == 0 &&
		 get_le32(bytes + 4) == vhd_crc32c_structure(bytes, VHDX_TABLE_SIZE);
	if (!*valid)
		return vhd_fail(err, VHD_FAULT_VHDX_REGION,
				"region table: signature or checksum is wrong");
	if (count > VHDX_MAX_ENTRIES)
		return vhd_fail(err, VHD_FAULT_VHDX_REGION,
				"region table: %" PRIu32 " entries, expected at most %u", count,
				VHDX_MAX_ENTRIES);
	memset(regions, 0, sizeof(*regions));
	for (uint32_t i = 0; !ret && i < count; i++)
		ret = region_add(regions, bytes + 16 + 32 * i, file_size, err);
	if (ret)
		return ret;
	if (!regions->bat.length || !regions->metadata.length)
		return vhd_fail(err, VHD_FAULT_VHDX_REGION, "region table: no region for %s",
				regions->bat.length ? "metadata" : "the block allocation table");
	return 0;
}

/* -- Metadata ----------------------------------------------------------------------- */

enum { ITEM_FLAGS = VHDX_ITEM_USER | VHDX_ITEM_VIRTUAL_DISK | VHDX_ITEM_REQUIRED };

enum vhdx_item_index vhdx_item_find(const uint8_t *entry)
{
	int known = 0;

	if (get_le32(entry + VHDX_ITEM_FLAGS_AT) & VHDX_ITEM_USER)
		return VHDX_ITEMS;
	while (known < VHDX_ITEMS && memcmp(entry, vhdx_item_guid[known], 16) != 0)
		known++;
	return (enum vhdx_item_index)known;
}

/* What each item must be; the locator's length is its own affair. */
static const struct {
	const char *name;
	uint32_t length;
	bool virtual_disk;
} item_rows[VHDX_ITEMS] = {
	[VHDX_FILE_PARAMETERS] = { "file parameters", 8, false },
	[VHDX_DISK_SIZE] = { "virtual disk size", 8, true },
	[VHDX_DISK_ID] = { "virtual disk id", 16, true },
	[VHDX_LOGICAL_SECTOR] = { "logical sector size", 4, true },
	[VHDX_PHYSICAL_SECTOR] = { "physical sector size", 4, true },
	[VHDX_PARENT_LOCATOR] = { "parent locator", 0, false },
};

static int item_add(const uint8_t *entry, uint32_t index, uint32_t region, struct vhdx_item *items,
		    struct vhd_error *err)
{
	struct vhdx_item item = { get_le32(entry + VHDX_ITEM_OFFSET_AT),
				  get_le32(entry + VHDX_ITEM_LENGTH_AT) };
	uint32_t flags = get_le32(entry + VHDX_ITEM_FLAGS_AT);
	enum vhdx_item_index known = vhdx_item_find(entry);

	if (vhdx_guid_is_zero(entry) || flags & ~(uint32_t)ITEM_FLAGS)
		return vhd_fail(err, VHD_FAULT_VHDX_METADATA,
				"metadata: item %" PRIu32 " has no name, or flags 0x%" PRIx32
				", expected at most 7",
				index, flags);
	if (memcmp(entry, item_incomplete, 16) == 0 && !(flags & VHDX_ITEM_USER))
		return vhd_fail(err, VHD_FAULT_VHDX_INCOMPLETE,
				"metadata: the file's maker has not finished it");
	if (item.length > VHDX_MAX_ITEM || item.offset > region ||
	    region - item.offset < item.length || (item.length && item.offset < VHDX_TABLE_SIZE))
		return vhd_fail(err, VHD_FAULT_VHDX_METADATA,
				"metadata: item %" PRIu32 " has %" PRIu32 " bytes at %" PRIu32
				", expected it in the region of %" PRIu32 " behind the table",
				index, item.length, item.offset, region);
	if (known == VHDX_ITEMS) {
		if (flags & VHDX_ITEM_REQUIRED)
			return vhd_fail(err, VHD_FAULT_VHDX_METADATA,
					"metadata: item %" PRIu32 " is required but not known",
					index);
		return 0;
	}
	if (items[known].length || item.length == 0 ||
	    (item_rows[known].length && item.length != item_rows[known].length) ||
	    !(flags & VHDX_ITEM_VIRTUAL_DISK) == item_rows[known].virtual_disk)
		return vhd_fail(err, VHD_FAULT_VHDX_METADATA,
				"metadata: item %" PRIu32 " (%s) has %" PRIu32
				" bytes and flags 0x%" PRIx32 ", or stands there twice",
				index, item_rows[known].name, item.length, flags);
	items[known] = item;
	return 0;
}

static bool item_is_same(const uint8_t *a, const uint8_t *b)
{
	uint32_t differ = get_le32(a + VHDX_ITEM_FLAGS_AT) ^ get_le32(b + VHDX_ITEM_FLAGS_AT);

	return memcmp(a, b, 16) == 0 && !(differ & VHDX_ITEM_USER);
}

static bool item_overlaps(const uint8_t *a, const uint8_t *b)
{
	uint64_t start_a = get_le32(a + VHDX_ITEM_OFFSET_AT);
	uint64_t start_b = get_le32(b + VHDX_ITEM_OFFSET_AT);

	return start_a < start_b + get_le32(b + VHDX_ITEM_LENGTH_AT) &&
	       start_b < start_a + get_le32(a + VHDX_ITEM_LENGTH_AT);
}

/* Known or not: no two of the same name, no two in the same place. */
static int items_check_apart(const uint8_t *entries, uint32_t count, struct vhd_error *err)
{
	for (uint32_t i = 0; i < count; i++)
		for (uint32_t k = 0; k < i; k++) {
			const uint8_t *a = entries + VHDX_ITEM_ENTRY * i;
			const uint8_t *b = entries + VHDX_ITEM_ENTRY * k;

			if (item_is_same(a, b) || item_overlaps(a, b))
				return vhd_fail(err, VHD_FAULT_VHDX_METADATA,
						"metadata: items %" PRIu32 " and %" PRIu32
						" have the same name or place",
						k, i);
		}
	return 0;
}

int vhdx_metadata_parse(const uint8_t *bytes, uint32_t length, struct vhdx_item *items,
			struct vhd_error *err)
{
	const uint8_t *entries = bytes + VHDX_ITEM_ENTRIES_AT;
	uint32_t count = get_le16(bytes + VHDX_ITEM_COUNT_AT);
	int ret = 0;

	if (memcmp(bytes, metadata_signature, sizeof(metadata_signature)) != 0 ||
	    count > VHDX_MAX_ENTRIES)
		return vhd_fail(err, VHD_FAULT_VHDX_METADATA,
				"metadata: signature is wrong, or %" PRIu32
				" items, expected at most %u",
				count, VHDX_MAX_ENTRIES);
	memset(items, 0, VHDX_ITEMS * sizeof(*items));
	for (uint32_t i = 0; !ret && i < count; i++)
		ret = item_add(entries + VHDX_ITEM_ENTRY * i, i, length, items, err);
	for (int i = 0; !ret && i < VHDX_PARENT_LOCATOR; i++)
		if (items[i].length == 0)
			ret = vhd_fail(err, VHD_FAULT_VHDX_METADATA, "metadata: no item %s",
				       item_rows[i].name);
	return ret ? ret : items_check_apart(entries, count, err);
}

void vhdx_disk_derive(struct vhdx_disk *d)
{
	d->chunk_ratio = (UINT64_C(1) << 23) * d->logical / d->block_size;
	d->blocks = (d->size + d->block_size - 1) / d->block_size;
	if (d->has_parent)
		d->entries = (d->blocks + d->chunk_ratio - 1) / d->chunk_ratio *
			     (d->chunk_ratio + 1);
	else
		d->entries = d->blocks + (d->blocks - 1) / d->chunk_ratio;
}

int vhdx_disk_parse(const uint8_t *const *contents, struct vhdx_disk *d, struct vhd_error *err)
{
	uint32_t flags = get_le32(contents[VHDX_FILE_PARAMETERS] + 4);

	d->block_size = get_le32(contents[VHDX_FILE_PARAMETERS]);
	d->has_parent = flags & 2;
	d->fixed = flags & 1 && !d->has_parent;
	d->size = get_le64(contents[VHDX_DISK_SIZE]);
	memcpy(d->id, contents[VHDX_DISK_ID], 16);
	d->logical = get_le32(contents[VHDX_LOGICAL_SECTOR]);
	d->physical = get_le32(contents[VHDX_PHYSICAL_SECTOR]);
	if (d->block_size < VHDX_MIN_BLOCK || d->block_size > VHDX_MAX_BLOCK ||
	    d->block_size & (d->block_size - 1))
		return vhd_fail(err, VHD_FAULT_BLOCK_SIZE,
				"metadata: block size is %" PRIu32
				", expected a power of two from 1 to 256 MiB",
				d->block_size);
	if (flags & ~3u)
		return vhd_fail(err, VHD_FAULT_VHDX_METADATA,
				"metadata: file parameters are 0x%" PRIx32 ", expected 0 to 3",
				flags);
	if ((d->logical != 512 && d->logical != 4096) ||
	    (d->physical != 512 && d->physical != 4096))
		return vhd_fail(err, VHD_FAULT_SECTOR_SIZE,
				"metadata: sector sizes are %" PRIu32 " and %" PRIu32
				", expected 512 or 4096",
				d->logical, d->physical);
	if (d->size == 0 || d->size % d->logical || d->size > VHDX_MAX_SIZE)
		return vhd_fail(err, VHD_FAULT_DISK_SIZE,
				"metadata: virtual disk size is %" PRIu64
				", expected a multiple of %" PRIu32 " up to 64 TiB",
				d->size, d->logical);
	vhdx_disk_derive(d);
	return 0;
}
