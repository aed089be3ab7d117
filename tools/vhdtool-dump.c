/* SPDX-License-Identifier: MIT */
/* vhdtool dump: the structures of a file as they stand there, right or wrong. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vhdtool-dump.h"

static const struct field vhd_footer[] = {
	{ "cookie", 0, 8, TEXT },	      { "features", 8, 4, HEX },
	{ "version", 12, 4, HEX },	      { "data offset", 16, 8, HEX },
	{ "time stamp", 24, 4, NUMBER },      { "creator", 28, 4, TEXT },
	{ "creator version", 32, 4, HEX },    { "host os", 36, 4, TEXT },
	{ "original size", 40, 8, SIZE },     { "current size", 48, 8, SIZE },
	{ "cylinders", 56, 2, NUMBER },	      { "heads", 58, 1, NUMBER },
	{ "sectors per track", 59, 1, NUMBER }, { "disk type", 60, 4, NUMBER },
	{ "checksum", 64, 4, HEX },	      { "identity", 68, 16, UUID },
	{ "saved state", 84, 1, NUMBER },     { NULL, 0, 0, 0 },
};

static const struct field vhd_header[] = {
	{ "cookie", 0, 8, TEXT },	      { "data offset", 8, 8, HEX },
	{ "table offset", 16, 8, NUMBER },    { "version", 24, 4, HEX },
	{ "table entries", 28, 4, NUMBER },   { "block size", 32, 4, SIZE },
	{ "checksum", 36, 4, HEX },	      { "parent identity", 40, 16, UUID },
	{ "parent time stamp", 56, 4, NUMBER }, { NULL, 0, 0, 0 },
};

static const struct field vhd_locator[] = {
	{ "platform code", 0, 4, TEXT },      { "data space", 4, 4, NUMBER },
	{ "data length", 8, 4, NUMBER },      { "data offset", 16, 8, NUMBER },
	{ NULL, 0, 0, 0 },
};

uint64_t dump_number(const struct dump *d, const uint8_t *p, unsigned size)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < size; i++)
		v = v << 8 | p[d->little ? size - 1 - i : i];
	return v;
}

/* A GUID's first three fields are numbers in a file of little ones. */
static void uuid_text(const struct dump *d, const uint8_t *p, char *buf)
{
	static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
	uint8_t id[16];

	for (int i = 0; i < 16; i++)
		id[i] = p[d->little ? order[i] : i];
	tool_id_text(id, buf);
}

static const char *field_text(const struct dump *d, const struct field *f, const uint8_t *bytes,
			      char *buf, size_t length)
{
	const uint8_t *p = bytes + f->offset;
	uint64_t value = f->size <= 8 ? dump_number(d, p, f->size) : 0;
	char size[32];

	switch (f->kind) {
	case TEXT:
		for (unsigned i = 0; i < f->size; i++)
			buf[i] = isprint(p[i]) ? (char)p[i] : '.';
		buf[f->size] = '\0';
		break;
	case NUMBER:
		snprintf(buf, length, "%" PRIu64, value);
		break;
	case HEX:
		snprintf(buf, length, "0x%0*" PRIx64, 2 * f->size, value);
		break;
	case SIZE:
		snprintf(buf, length, "%" PRIu64 " (%s)", value,
			 tool_size_text(value, size, sizeof(size)));
		break;
	case UUID:
		uuid_text(d, p, buf);
		break;
	}
	return buf;
}

void dump_structure(struct dump *d, const char *name, uint64_t offset,
		    const struct field *fields, const uint8_t *bytes)
{
	char buf[64];

	if (d->as_json) {
		json_object(&d->json, NULL);
		json_string(&d->json, "structure", name);
		json_uint(&d->json, "offset", offset);
	} else {
		printf("%s at %" PRIu64 "\n", name, offset);
	}
	for (; fields->name; fields++) {
		field_text(d, fields, bytes, buf, sizeof(buf));
		if (d->as_json)
			json_string(&d->json, fields->name, buf);
		else
			printf("  %-18s %s\n", fields->name, buf);
	}
	if (d->as_json)
		json_object_end(&d->json);
}

static bool page_load(struct dump *d, uint64_t offset)
{
	ssize_t n = pread(d->fd, d->page, sizeof(d->page), (off_t)offset);

	d->page_at = offset;
	d->page_used = n > 0 ? (size_t)n : 0;
	return n > 0;
}

bool dump_bytes(struct dump *d, uint8_t *bytes, size_t size, uint64_t offset)
{
	if (offset > d->size || d->size - offset < size)
		return false;
	while (size > 0) {
		size_t n, at = (size_t)(offset % sizeof(d->page));

		if (d->page_at != offset - at || d->page_used <= at) {
			if (!page_load(d, offset - at) || d->page_used <= at)
				return false;
		}
		n = d->page_used - at < size ? d->page_used - at : size;
		memcpy(bytes, d->page + at, n);
		bytes += n;
		offset += n;
		size -= n;
	}
	return true;
}

void dump_table_begin(struct dump *d, uint64_t offset)
{
	if (!d->as_json) {
		printf("block allocation table at %" PRIu64 ", entry: offset in the file\n",
		       offset);
		return;
	}
	json_object(&d->json, NULL);
	json_string(&d->json, "structure", "block allocation table");
	json_uint(&d->json, "offset", offset);
	json_object(&d->json, "blocks");
}

void dump_table_entry(struct dump *d, uint64_t index, const char *what, uint64_t offset)
{
	char name[24];

	snprintf(name, sizeof(name), "%" PRIu64, index);
	if (d->as_json)
		json_uint(&d->json, name, offset);
	else
		printf("  %-18s %" PRIu64 "%s%s\n", name, offset, *what ? " " : "", what);
}

void dump_table_end(struct dump *d)
{
	if (d->as_json) {
		json_object_end(&d->json);
		json_object_end(&d->json);
	}
}

/* Used entries only; a file may say it has as many as it likes. */
static void table_print(struct dump *d, uint64_t offset, uint64_t entries)
{
	uint8_t bytes[4];

	dump_table_begin(d, offset);
	for (uint64_t i = 0; i < entries && dump_bytes(d, bytes, 4, offset + i * 4); i++) {
		uint64_t value = dump_number(d, bytes, 4);

		if (value != 0xffffffff)
			dump_table_entry(d, i, "", value * 512);
	}
	dump_table_end(d);
}

static void header_dump(struct dump *d, uint64_t offset)
{
	uint8_t bytes[1024];

	if (!dump_bytes(d, bytes, sizeof(bytes), offset))
		return;
	dump_structure(d, "dynamic header", offset, vhd_header, bytes);
	for (unsigned i = 0; i < 8; i++) {
		const uint8_t *l = bytes + 576 + 24 * i;
		char name[32];

		snprintf(name, sizeof(name), "parent locator %u", i);
		if (dump_number(d, l, 4))
			dump_structure(d, name, offset + 576 + 24 * i, vhd_locator, l);
	}
	table_print(d, dump_number(d, bytes + 16, 8), dump_number(d, bytes + 28, 4));
}

static bool vhd_dump(struct dump *d)
{
	uint8_t copy[512], end[512];
	bool has_end = d->size >= 512 && dump_bytes(d, end, 512, d->size - 512) &&
		       memcmp(end, "conectix", 8) == 0;
	bool fixed = has_end && dump_number(d, end + 60, 4) == 2;
	bool has_copy = !fixed && dump_bytes(d, copy, 512, 0) && memcmp(copy, "conectix", 8) == 0;

	if (has_copy)
		dump_structure(d, "footer copy", 0, vhd_footer, copy);
	if (has_copy || (has_end && !fixed))
		header_dump(d, dump_number(d, (has_copy ? copy : end) + 16, 8));
	if (has_end)
		dump_structure(d, "footer", d->size - 512, vhd_footer, end);
	return has_copy || has_end;
}

int tool_dump(const struct tool_options *o, char **arguments)
{
	struct dump d = { .as_json = o->json, .json = json_to(stdout) };
	off_t end;
	bool found;

	/* A FIFO without a writer is not waited for. */
	d.fd = open(arguments[0], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	end = d.fd < 0 ? -1 : lseek(d.fd, 0, SEEK_END);
	if (end < 0)
		return tool_fail("%s: %s", arguments[0], strerror(errno));
	d.size = (uint64_t)end;
	if (o->json)
		json_array(&d.json, NULL);
	found = vhdx_dump(&d) || vhd_dump(&d);
	if (o->json)
		json_array_end(&d.json);
	close(d.fd);
	return found ? TOOL_OK : tool_fail("%s: no structure of a known format", arguments[0]);
}
