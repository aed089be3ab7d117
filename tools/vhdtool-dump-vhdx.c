/* SPDX-License-Identifier: MIT */
/* vhdtool dump: a VHDX, as it stands there: what a log would change is not applied. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vhdtool-dump.h"

enum {
	HEADER_1 = 64 << 10,
	HEADER_2 = 128 << 10,
	REGIONS_1 = 192 << 10,
	REGIONS_2 = 256 << 10,
	SECTOR = 4096,
	ENTRIES_MAX = 2047,
	TEXT_MAX = 64,
};
#define MIB (UINT64_C(1) << 20)

static const struct field header[] = {
	{ "signature", 0, 4, TEXT },	   { "checksum", 4, 4, HEX },
	{ "sequence number", 8, 8, NUMBER }, { "file write guid", 16, 16, UUID },
	{ "data write guid", 32, 16, UUID }, { "log guid", 48, 16, UUID },
	{ "log version", 64, 2, NUMBER },  { "version", 66, 2, NUMBER },
	{ "log length", 68, 4, SIZE },	   { "log offset", 72, 8, NUMBER },
	{ NULL, 0, 0, 0 },
};

static const struct field region_table[] = {
	{ "signature", 0, 4, TEXT },
	{ "checksum", 4, 4, HEX },
	{ "entries", 8, 4, NUMBER },
	{ NULL, 0, 0, 0 },
};

static const struct field region[] = {
	{ "guid", 0, 16, UUID },
	{ "file offset", 16, 8, NUMBER },
	{ "length", 24, 4, SIZE },
	{ "required", 28, 4, NUMBER },
	{ NULL, 0, 0, 0 },
};

static const struct field item[] = {
	{ "guid", 0, 16, UUID },
	{ "offset", 16, 4, NUMBER },
	{ "length", 20, 4, NUMBER },
	{ "flags", 24, 4, HEX },
	{ NULL, 0, 0, 0 },
};

static const struct field log_entry[] = {
	{ "signature", 0, 4, TEXT },	      { "checksum", 4, 4, HEX },
	{ "entry length", 8, 4, NUMBER },     { "tail", 12, 4, NUMBER },
	{ "sequence number", 16, 8, NUMBER }, { "descriptors", 24, 4, NUMBER },
	{ "log guid", 32, 16, UUID },	      { "flushed file offset", 48, 8, SIZE },
	{ "last file offset", 56, 8, SIZE },  { NULL, 0, 0, 0 },
};

static const struct field file_parameters[] = {
	{ "block size", 0, 4, SIZE },
	{ "flags", 4, 4, HEX },
	{ NULL, 0, 0, 0 },
};
static const struct field disk_size[] = { { "size", 0, 8, SIZE }, { NULL, 0, 0, 0 } };
static const struct field disk_id[] = { { "identity", 0, 16, UUID }, { NULL, 0, 0, 0 } };
static const struct field sector_size[] = { { "bytes", 0, 4, NUMBER }, { NULL, 0, 0, 0 } };
static const struct field locator[] = {
	{ "type", 0, 16, UUID },
	{ "keys", 18, 2, NUMBER },
	{ NULL, 0, 0, 0 },
};

/* By the first number of their GUID. */
static const struct known_item {
	uint32_t guid;
	const char *name;
	const struct field *fields;
} items[] = {
	{ 0xcaa16737, "file parameters", file_parameters },
	{ 0x2fa54224, "virtual disk size", disk_size },
	{ 0xbeca12ab, "virtual disk identity", disk_id },
	{ 0x8141bf1d, "logical sector size", sector_size },
	{ 0xcda348c7, "physical sector size", sector_size },
	{ 0xa8d35f2d, "parent locator", locator },
};

struct layout {
	uint64_t bat, bat_length, metadata;
};

static void header_dump(struct dump *d, const char *name, uint64_t offset, uint8_t *bytes)
{
	if (dump_bytes(d, bytes, 80, offset))
		dump_structure(d, name, offset, header, bytes);
}

static void regions_dump(struct dump *d, const char *name, uint64_t offset, struct layout *l)
{
	uint8_t bytes[32];
	uint64_t count;

	if (!dump_bytes(d, bytes, 16, offset))
		return;
	dump_structure(d, name, offset, region_table, bytes);
	count = dump_number(d, bytes + 8, 4);
	for (uint64_t i = 0; i < count && i < ENTRIES_MAX; i++) {
		uint64_t at = offset + 16 + 32 * i, first;

		if (!dump_bytes(d, bytes, 32, at))
			break;
		dump_structure(d, "region", at, region, bytes);
		first = dump_number(d, bytes, 4);
		if (first == 0x2dc27766) {
			l->bat = dump_number(d, bytes + 16, 8);
			l->bat_length = dump_number(d, bytes + 24, 4);
		} else if (first == 0x8b7ca206) {
			l->metadata = dump_number(d, bytes + 16, 8);
		}
	}
}

/* Keys and values are UTF-16; what is not ASCII is shown as "?". */
static void utf16_text(const uint8_t *p, uint64_t size, char *buf)
{
	uint64_t n = 0;

	for (; n < size / 2 && n < TEXT_MAX * 4 - 1; n++)
		buf[n] = p[2 * n + 1] == 0 && p[2 * n] >= 32 && p[2 * n] < 127 ? (char)p[2 * n] :
										 '?';
	buf[n] = '\0';
}

static bool utf16_read(struct dump *d, uint64_t offset, uint64_t size, char *buf)
{
	uint8_t bytes[TEXT_MAX * 8];

	size = size < sizeof(bytes) ? size : sizeof(bytes);
	if (!dump_bytes(d, bytes, size, offset))
		return false;
	utf16_text(bytes, size, buf);
	return true;
}

static void locator_dump(struct dump *d, uint64_t offset, uint64_t count)
{
	char key[TEXT_MAX * 4], value[TEXT_MAX * 4];
	uint8_t e[12];

	if (d->as_json)
		json_object(&d->json, NULL);
	for (uint64_t i = 0; i < count && i < ENTRIES_MAX; i++) {
		if (!dump_bytes(d, e, 12, offset + 20 + 12 * i) ||
		    !utf16_read(d, offset + dump_number(d, e, 4), dump_number(d, e + 8, 2), key) ||
		    !utf16_read(d, offset + dump_number(d, e + 4, 4), dump_number(d, e + 10, 2),
				value))
			break;
		if (d->as_json)
			json_string(&d->json, key, value);
		else
			printf("    %-18s %s\n", key, value);
	}
	if (d->as_json)
		json_object_end(&d->json);
}

static void item_dump(struct dump *d, uint64_t guid, uint64_t offset)
{
	uint8_t bytes[32] = { 0 };

	for (size_t i = 0; i < sizeof(items) / sizeof(items[0]); i++) {
		if (items[i].guid != guid || !dump_bytes(d, bytes, 4, offset))
			continue;
		for (size_t n = sizeof(bytes); n > 4 && !dump_bytes(d, bytes, n, offset); n--)
			;
		dump_structure(d, items[i].name, offset, items[i].fields, bytes);
		if (items[i].fields == locator)
			locator_dump(d, offset, dump_number(d, bytes + 18, 2));
	}
}

static void metadata_dump(struct dump *d, uint64_t offset)
{
	uint8_t bytes[32];
	uint64_t count;

	if (!offset || !dump_bytes(d, bytes, 32, offset) || memcmp(bytes, "metadata", 8) != 0)
		return;
	count = dump_number(d, bytes + 10, 2);
	for (uint64_t i = 0; i < count && i < ENTRIES_MAX; i++) {
		uint64_t at = offset + 32 + 32 * i;

		if (!dump_bytes(d, bytes, 32, at))
			break;
		dump_structure(d, "metadata item", at, item, bytes);
		item_dump(d, dump_number(d, bytes, 4), offset + dump_number(d, bytes + 16, 4));
	}
}

static void bat_dump(struct dump *d, const struct layout *l)
{
	static const char *const states[] = { "not present", "undefined", "zero", "unmapped",
					      "state 4",     "state 5",	  "",	  "partly" };
	uint8_t bytes[8];

	if (!l->bat)
		return;
	dump_table_begin(d, l->bat);
	for (uint64_t i = 0; i < l->bat_length / 8; i++) {
		uint64_t entry;

		if (!dump_bytes(d, bytes, 8, l->bat + 8 * i))
			break;
		entry = dump_number(d, bytes, 8);
		if (entry)
			dump_table_entry(d, i, states[entry & 7], entry & ~(MIB - 1));
	}
	dump_table_end(d);
}

/* Whatever begins like an entry, of this session or an earlier one. */
static void log_dump(struct dump *d, uint64_t offset, uint64_t length)
{
	uint8_t bytes[64];

	for (uint64_t at = 0; at < length && dump_bytes(d, bytes, 64, offset + at); at += SECTOR)
		if (memcmp(bytes, "loge", 4) == 0)
			dump_structure(d, "log entry", offset + at, log_entry, bytes);
}

bool vhdx_dump(struct dump *d)
{
	struct layout l = { 0, 0, 0 };
	uint8_t first[80] = { 0 }, second[80] = { 0 };
	const uint8_t *newer;

	if (!dump_bytes(d, first, 8, 0) || memcmp(first, "vhdxfile", 8) != 0)
		return false;
	d->little = true;
	header_dump(d, "header 1", HEADER_1, first);
	header_dump(d, "header 2", HEADER_2, second);
	regions_dump(d, "region table 2", REGIONS_2, &l);
	regions_dump(d, "region table 1", REGIONS_1, &l);
	metadata_dump(d, l.metadata);
	bat_dump(d, &l);
	newer = dump_number(d, first + 8, 8) > dump_number(d, second + 8, 8) ? first : second;
	log_dump(d, dump_number(d, newer + 72, 8), dump_number(d, newer + 68, 4));
	return true;
}
