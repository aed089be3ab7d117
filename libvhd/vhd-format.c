/* SPDX-License-Identifier: MIT */
#include "vhd-format.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"

enum {
	FOOTER_FEATURES = 8,
	FOOTER_VERSION = 12,
	FOOTER_DATA_OFFSET = 16,
	FOOTER_TIME = 24,
	FOOTER_CREATOR = 28,
	FOOTER_CREATOR_VERSION = 32,
	FOOTER_HOST_OS = 36,
	FOOTER_ORIGINAL_SIZE = 40,
	FOOTER_CURRENT_SIZE = 48,
	FOOTER_CYLINDERS = 56,
	FOOTER_HEADS = 58,
	FOOTER_SECTORS = 59,
	FOOTER_TYPE = 60,
	FOOTER_CHECKSUM = 64,
	FOOTER_ID = 68,
	FOOTER_SAVED_STATE = 84,

	HEADER_DATA_OFFSET = 8,
	HEADER_BAT_OFFSET = 16,
	HEADER_VERSION = 24,
	HEADER_BAT_ENTRIES = 28,
	HEADER_BLOCK_SIZE = 32,
	HEADER_CHECKSUM = 36,
	HEADER_PARENT_ID = 40,
	HEADER_PARENT_TIME = 56,
	HEADER_PARENT_NAME = 64,
	HEADER_LOCATORS = 576,

	LOCATOR_SIZE = 24,
	LOCATOR_CODE = 0,
	LOCATOR_SPACE = 4,
	LOCATOR_LENGTH = 8,
	LOCATOR_OFFSET = 16,
};

#define FORMAT_VERSION 0x00010000u

static const char footer_cookie[8] = "conectix";
static const char header_cookie[8] = "cxsparse";

/* The appendix "CHS calculation" of the specification. */
struct vhd_geometry vhd_geometry(uint64_t sectors)
{
	uint32_t total = (uint32_t)min_u64(sectors, 65535 * 16 * 255);
	uint32_t spt, heads, tracks;

	if (total >= 65535 * 16 * 63) {
		spt = 255;
		heads = 16;
		tracks = total / spt;
	} else {
		spt = 17;
		tracks = total / spt;
		heads = (tracks + 1023) / 1024;
		if (heads < 4)
			heads = 4;
		if (tracks >= heads * 1024 || heads > 16) {
			spt = 31;
			heads = 16;
			tracks = total / spt;
		}
		if (tracks >= heads * 1024) {
			spt = 63;
			heads = 16;
			tracks = total / spt;
		}
	}
	return (struct vhd_geometry){ (uint16_t)(tracks / heads), (uint8_t)heads, (uint8_t)spt };
}

uint32_t vhd_checksum(const uint8_t *bytes, size_t size, size_t skip)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < size; i++)
		if (i < skip || i >= skip + 4)
			sum += bytes[i];
	return ~sum;
}

/* Eight bytes of a file for a message: printable, or nothing to be hurt by. */
static const char *cookie_text(const uint8_t *bytes, char *text)
{
	for (int i = 0; i < 8; i++)
		text[i] = isprint(bytes[i]) ? (char)bytes[i] : '.';
	text[8] = '\0';
	return text;
}

static int footer_check_size(const struct vhd_footer *f, struct vhd_error *err)
{
	if (f->current_size == 0 || f->current_size % VHD_SECTOR || f->current_size > VHD_MAX_SIZE)
		return vhd_fail(err, VHD_FAULT_DISK_SIZE,
				"footer: current size is %" PRIu64
				", expected a multiple of 512 from 512 to %" PRIu64,
				f->current_size, VHD_MAX_SIZE);
	return 0;
}

static int footer_check(const uint8_t *bytes, struct vhd_error *err)
{
	uint32_t sum = vhd_checksum(bytes, VHD_FOOTER_SIZE, FOOTER_CHECKSUM);
	char text[9];

	if (memcmp(bytes, footer_cookie, sizeof(footer_cookie)) != 0)
		return vhd_fail(err, VHD_FAULT_FOOTER_COOKIE,
				"footer: cookie is \"%s\", expected \"conectix\"",
				cookie_text(bytes, text));
	if (get_be32(bytes + FOOTER_CHECKSUM) != sum)
		return vhd_fail(err, VHD_FAULT_FOOTER_CHECKSUM,
				"footer: checksum is 0x%08" PRIx32 ", expected 0x%08" PRIx32,
				get_be32(bytes + FOOTER_CHECKSUM), sum);
	if (get_be32(bytes + FOOTER_VERSION) != FORMAT_VERSION)
		return vhd_fail(err, VHD_FAULT_FOOTER_VERSION,
				"footer: file format version is 0x%08" PRIx32
				", expected 0x00010000",
				get_be32(bytes + FOOTER_VERSION));
	return 0;
}

int vhd_footer_parse(const uint8_t *bytes, struct vhd_footer *f, struct vhd_error *err)
{
	int ret = footer_check(bytes, err);

	if (ret)
		return ret;
	f->features = get_be32(bytes + FOOTER_FEATURES);
	f->data_offset = get_be64(bytes + FOOTER_DATA_OFFSET);
	f->time = get_be32(bytes + FOOTER_TIME);
	memcpy(f->creator, bytes + FOOTER_CREATOR, sizeof(f->creator));
	f->creator_version = get_be32(bytes + FOOTER_CREATOR_VERSION);
	memcpy(f->host_os, bytes + FOOTER_HOST_OS, sizeof(f->host_os));
	f->original_size = get_be64(bytes + FOOTER_ORIGINAL_SIZE);
	f->current_size = get_be64(bytes + FOOTER_CURRENT_SIZE);
	f->geometry.cylinders = get_be16(bytes + FOOTER_CYLINDERS);
	f->geometry.heads = bytes[FOOTER_HEADS];
	f->geometry.sectors = bytes[FOOTER_SECTORS];
	f->type = get_be32(bytes + FOOTER_TYPE);
	memcpy(f->id, bytes + FOOTER_ID, sizeof(f->id));
	f->saved_state = bytes[FOOTER_SAVED_STATE];

	if (f->type < VHD_DISK_FIXED || f->type > VHD_DISK_DIFFERENCING)
		return vhd_fail(err, VHD_FAULT_DISK_TYPE,
				"footer: disk type is %" PRIu32
				", expected 2 (fixed), 3 (dynamic) or 4 (differencing)",
				f->type);
	return footer_check_size(f, err);
}

void vhd_footer_build(uint8_t *bytes, const struct vhd_footer *f)
{
	memset(bytes, 0, VHD_FOOTER_SIZE);
	memcpy(bytes, footer_cookie, sizeof(footer_cookie));
	put_be32(bytes + FOOTER_FEATURES, f->features);
	put_be32(bytes + FOOTER_VERSION, FORMAT_VERSION);
	put_be64(bytes + FOOTER_DATA_OFFSET, f->data_offset);
	put_be32(bytes + FOOTER_TIME, f->time);
	memcpy(bytes + FOOTER_CREATOR, f->creator, sizeof(f->creator));
	put_be32(bytes + FOOTER_CREATOR_VERSION, f->creator_version);
	memcpy(bytes + FOOTER_HOST_OS, f->host_os, sizeof(f->host_os));
	put_be64(bytes + FOOTER_ORIGINAL_SIZE, f->original_size);
	put_be64(bytes + FOOTER_CURRENT_SIZE, f->current_size);
	put_be16(bytes + FOOTER_CYLINDERS, f->geometry.cylinders);
	bytes[FOOTER_HEADS] = f->geometry.heads;
	bytes[FOOTER_SECTORS] = f->geometry.sectors;
	put_be32(bytes + FOOTER_TYPE, f->type);
	memcpy(bytes + FOOTER_ID, f->id, sizeof(f->id));
	bytes[FOOTER_SAVED_STATE] = f->saved_state;
	put_be32(bytes + FOOTER_CHECKSUM, vhd_checksum(bytes, VHD_FOOTER_SIZE, FOOTER_CHECKSUM));
}

/* The space is in sectors by the specification and in bytes by most writers,
 * Microsoft's among them: a number below 512 can only be the first. */
static int locator_parse(const uint8_t *bytes, int index, struct vhd_locator *l,
			 struct vhd_error *err)
{
	uint32_t space = get_be32(bytes + LOCATOR_SPACE);

	l->code = get_be32(bytes + LOCATOR_CODE);
	l->length = get_be32(bytes + LOCATOR_LENGTH);
	l->offset = get_be64(bytes + LOCATOR_OFFSET);
	l->space = space < VHD_SECTOR ? space * VHD_SECTOR : space;
	if (l->code == VHD_LOCATOR_NONE)
		return 0;
	if (l->space % VHD_SECTOR || l->length > l->space || l->length > VHD_LOCATOR_MAX)
		return vhd_fail(err, VHD_FAULT_LOCATOR,
				"parent locator %d: %" PRIu32 " bytes in a space of %" PRIu32
				", expected at most %u in a multiple of 512",
				index, l->length, space, VHD_LOCATOR_MAX);
	return 0;
}

static int header_parse_parent(const uint8_t *bytes, struct vhd_header *h, struct vhd_error *err)
{
	int ret = 0;

	memcpy(h->parent_id, bytes + HEADER_PARENT_ID, sizeof(h->parent_id));
	h->parent_time = get_be32(bytes + HEADER_PARENT_TIME);
	memcpy(h->parent_name, bytes + HEADER_PARENT_NAME, sizeof(h->parent_name));
	for (int i = 0; !ret && i < VHD_LOCATORS; i++)
		ret = locator_parse(bytes + HEADER_LOCATORS + i * LOCATOR_SIZE, i,
				    &h->locators[i], err);
	return ret;
}

int vhd_header_parse(const uint8_t *bytes, bool differencing, struct vhd_header *h,
		     struct vhd_error *err)
{
	uint32_t sum = vhd_checksum(bytes, VHD_HEADER_SIZE, HEADER_CHECKSUM);
	char text[9];

	if (memcmp(bytes, header_cookie, sizeof(header_cookie)) != 0)
		return vhd_fail(err, VHD_FAULT_HEADER_COOKIE,
				"dynamic header: cookie is \"%s\", expected \"cxsparse\"",
				cookie_text(bytes, text));
	if (get_be32(bytes + HEADER_CHECKSUM) != sum)
		return vhd_fail(err, VHD_FAULT_HEADER_CHECKSUM,
				"dynamic header: checksum is 0x%08" PRIx32
				", expected 0x%08" PRIx32,
				get_be32(bytes + HEADER_CHECKSUM), sum);
	if (get_be32(bytes + HEADER_VERSION) != FORMAT_VERSION)
		return vhd_fail(err, VHD_FAULT_HEADER_VERSION,
				"dynamic header: version is 0x%08" PRIx32 ", expected 0x00010000",
				get_be32(bytes + HEADER_VERSION));
	memset(h, 0, sizeof(*h));
	h->bat_offset = get_be64(bytes + HEADER_BAT_OFFSET);
	h->bat_entries = get_be32(bytes + HEADER_BAT_ENTRIES);
	h->block_size = get_be32(bytes + HEADER_BLOCK_SIZE);
	if (h->block_size < VHD_MIN_BLOCK || h->block_size > VHD_MAX_BLOCK ||
	    (h->block_size & (h->block_size - 1)))
		return vhd_fail(err, VHD_FAULT_BLOCK_SIZE,
				"dynamic header: block size is %" PRIu32
				", expected a power of two from 512 to %u",
				h->block_size, VHD_MAX_BLOCK);
	return differencing ? header_parse_parent(bytes, h, err) : 0;
}

void vhd_header_build(uint8_t *bytes, const struct vhd_header *h)
{
	memset(bytes, 0, VHD_HEADER_SIZE);
	memcpy(bytes, header_cookie, sizeof(header_cookie));
	put_be64(bytes + HEADER_DATA_OFFSET, VHD_NO_OFFSET);
	put_be64(bytes + HEADER_BAT_OFFSET, h->bat_offset);
	put_be32(bytes + HEADER_VERSION, FORMAT_VERSION);
	put_be32(bytes + HEADER_BAT_ENTRIES, h->bat_entries);
	put_be32(bytes + HEADER_BLOCK_SIZE, h->block_size);
	memcpy(bytes + HEADER_PARENT_ID, h->parent_id, sizeof(h->parent_id));
	put_be32(bytes + HEADER_PARENT_TIME, h->parent_time);
	memcpy(bytes + HEADER_PARENT_NAME, h->parent_name, sizeof(h->parent_name));
	for (int i = 0; i < VHD_LOCATORS; i++) {
		uint8_t *l = bytes + HEADER_LOCATORS + i * LOCATOR_SIZE;

		put_be32(l + LOCATOR_CODE, h->locators[i].code);
		put_be32(l + LOCATOR_SPACE, h->locators[i].space);
		put_be32(l + LOCATOR_LENGTH, h->locators[i].length);
		put_be64(l + LOCATOR_OFFSET, h->locators[i].offset);
	}
	put_be32(bytes + HEADER_CHECKSUM, vhd_checksum(bytes, VHD_HEADER_SIZE, HEADER_CHECKSUM));
}

/* Where the creator is one whose images some readers measure by their geometry, that must
 * say "look at the size": cylinders, heads and sectors rarely come out even. */
void vhd_footer_resize(uint8_t *bytes, uint64_t size)
{
	static const struct vhd_geometry largest = { 65535, 16, 255 };
	struct vhd_geometry g = vhd_geometry(size / VHD_SECTOR);

	if ((uint64_t)g.cylinders * g.heads * g.sectors * VHD_SECTOR != size &&
	    memcmp(bytes + FOOTER_CREATOR, "win ", 4) != 0)
		g = largest;
	put_be64(bytes + FOOTER_CURRENT_SIZE, size);
	put_be16(bytes + FOOTER_CYLINDERS, g.cylinders);
	bytes[FOOTER_HEADS] = g.heads;
	bytes[FOOTER_SECTORS] = g.sectors;
	put_be32(bytes + FOOTER_CHECKSUM, vhd_checksum(bytes, VHD_FOOTER_SIZE, FOOTER_CHECKSUM));
}

void vhd_header_move_bat(uint8_t *bytes, uint64_t offset, uint32_t entries)
{
	put_be64(bytes + HEADER_BAT_OFFSET, offset);
	put_be32(bytes + HEADER_BAT_ENTRIES, entries);
	put_be32(bytes + HEADER_CHECKSUM, vhd_checksum(bytes, VHD_HEADER_SIZE, HEADER_CHECKSUM));
}

uint32_t vhd_bitmap_size(uint32_t block_size)
{
	return (uint32_t)round_up((block_size / VHD_SECTOR + 7) / 8, VHD_SECTOR);
}

uint32_t vhd_most_blocks(uint32_t block_size)
{
	return (uint32_t)min_u64((VHD_MAX_SIZE + block_size - 1) / block_size, VHD_MAX_BLOCKS);
}

uint64_t vhd_bat_size(uint32_t entries)
{
	return round_up((uint64_t)entries * 4, VHD_SECTOR);
}
