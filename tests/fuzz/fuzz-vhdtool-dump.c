/* SPDX-License-Identifier: MIT */
/* What vhdtool dump says of a file: a good image of any kind with some of its structures changed by
 * the input, or (how & 16) the input's own bytes. It is printed to nowhere, as text and as JSON. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz-image.h"

#define STRUCTURES (3u * FUZZ_MIB + (128u << 10)) /* and a bit of its table */

static FILE *nowhere;
static const uint8_t *file;
static size_t file_size;

static ssize_t file_read(void *buf, size_t size, off_t offset)
{
	size_t left = (uint64_t)offset < file_size ? file_size - (size_t)offset : 0;

	memcpy(buf, file + file_size - left, size < left ? size : left);
	return (ssize_t)(size < left ? size : left);
}

#define printf(...) fprintf(nowhere, __VA_ARGS__)
#define pread(fd, buf, size, offset) file_read(buf, size, offset)
#define header_dump vhd_header_dump /* each file has one */
#include "vhdtool-dump.c"
#undef header_dump
#include "vhdtool-dump-vhdx.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void dump(bool as_json)
{
	struct dump d = {.fd = -1, .size = file_size, .as_json = as_json, .json = json_to(nowhere)};

	if (as_json)
		json_array(&d.json, NULL);
	if (!vhdx_dump(&d))
		(void)vhd_dump(&d);
	if (as_json)
		json_array_end(&d.json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	uint8_t how = fuzz_byte(&in);

	if (!nowhere)
		nowhere = fopen("/dev/null", "w");
	if (!nowhere)
		abort();
	fuzz_image_begin(how % FUZZ_KINDS);
	if (!(how & 16))
		fuzz_image_change(&in);
	file = fuzz_image_bytes(&file_size);
	if (file_size > STRUCTURES)
		file_size = STRUCTURES; /* a VHDX: what follows are its blocks */
	if (how & 16) {
		file = in.bytes;
		file_size = in.size;
	}
	dump(how & 32);
	fuzz_image_end();
	return 0;
}
