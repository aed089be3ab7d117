/* SPDX-License-Identifier: MIT */
/* Printing structures field by field, as text or JSON. */
#ifndef VHDTOOL_DUMP_H
#define VHDTOOL_DUMP_H

#include "json.h"
#include "vhdtool.h"

enum kind { TEXT, NUMBER, HEX, SIZE, UUID };

struct field {
	const char *name;
	uint16_t offset, size;
	enum kind kind;
};

struct dump {
	int fd;
	uint64_t size;
	uint8_t page[4096]; /* of the file, what was read last: tables are read entry by entry */
	uint64_t page_at;
	size_t page_used;
	bool little; /* numbers begin with their lowest byte */
	bool as_json;
	struct json json;
};

uint64_t dump_number(const struct dump *d, const uint8_t *p, unsigned size);
/* @fields end with one without a name. */
void dump_structure(struct dump *d, const char *name, uint64_t offset, const struct field *fields,
		    const uint8_t *bytes);
/* False: they are not all in the file. */
bool dump_bytes(struct dump *d, uint8_t *bytes, size_t size, uint64_t offset);

/* The block allocation table, entry by entry. */
void dump_table_begin(struct dump *d, uint64_t offset);
void dump_table_entry(struct dump *d, uint64_t index, const char *what, uint64_t offset);
void dump_table_end(struct dump *d);

/* False: the file is none. */
bool vhdx_dump(struct dump *d);

#endif
