/* SPDX-License-Identifier: MIT */
/* vhdtool compare: the first byte that differs, whatever the formats. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "vhdtool.h"

enum { PIECE = 256 << 10, SECTOR_MAX = 4096 };

struct comparison {
	struct vhd_image *image[2];
	uint64_t size[2];
	char *buf[2];
};

static int side_fail(const struct comparison *c, int which, int error)
{
	return tool_fail("%s: %s", vhd_get_path(c->image[which], 0), strerror(-error));
}

static uint64_t side_left(const struct comparison *c, int which, uint64_t offset)
{
	return offset < c->size[which] ? c->size[which] - offset : 0;
}

static int side_read(const struct comparison *c, int which, uint64_t offset, uint64_t length)
{
	uint64_t have = side_left(c, which, offset);
	int ret = 0;

	if (have >= length)
		have = length;
	else
		memset(c->buf[which] + have, 0, length - have);
	if (have)
		ret = vhd_pread(c->image[which], c->buf[which], have, offset);
	return ret ? side_fail(c, which, ret) : TOOL_OK;
}

/* One of them may have larger sectors than the other: pieces end where both can go on. */
static bool sectors_whole(uint64_t *length, uint64_t left)
{
	uint64_t whole = (*length + SECTOR_MAX - 1) & ~(uint64_t)(SECTOR_MAX - 1);

	if (*length == whole || *length == left)
		return true;
	*length = whole < left ? whole : left;
	return false;
}

/* Cuts @length to what both images hold in one piece each; zeros by what both say need
 * not be read. */
static int pieces_find(const struct comparison *c, uint64_t offset, uint64_t *length, bool *zeros)
{
	uint64_t left = *length;
	struct vhd_extent e;

	*zeros = true;
	for (int i = 0; i < 2; i++) {
		uint64_t have = side_left(c, i, offset);
		int ret;

		if (have == 0)
			continue;
		ret = vhd_get_extent(c->image[i], offset, have < *length ? have : *length, &e);
		if (ret)
			return side_fail(c, i, ret);
		*length = e.length;
		*zeros &= !e.data;
	}
	*zeros &= sectors_whole(length, left);
	if (!*zeros && *length > PIECE)
		*length = PIECE;
	return 0;
}

static uint64_t first_difference(const struct comparison *c, uint64_t length)
{
	uint64_t at = 0;

	while (at < length && c->buf[0][at] == c->buf[1][at])
		at++;
	return at;
}

/* TOOL_OK: the same; TOOL_FOUND: different from *@at on. */
static int compare_run(const struct comparison *c, const struct tool_options *o, uint64_t *at)
{
	uint64_t size = c->size[0] > c->size[1] ? c->size[0] : c->size[1];
	struct progress progress;
	int ret = TOOL_OK;

	progress_begin(&progress, "compare", size, o);
	for (uint64_t length; !ret && *at < size; *at += length) {
		bool zeros;

		length = size - *at;
		ret = pieces_find(c, *at, &length, &zeros);
		if (ret || zeros)
			continue;
		for (int i = 0; !ret && i < 2; i++)
			ret = side_read(c, i, *at, length);
		if (!ret && memcmp(c->buf[0], c->buf[1], length) != 0) {
			length = first_difference(c, length);
			ret = TOOL_FOUND;
		}
		progress_show(&progress, *at);
	}
	progress_end(&progress);
	return ret;
}

static void result_print(const struct tool_options *o, const struct comparison *c, bool same,
			 uint64_t at)
{
	struct json j = json_to(stdout);

	if (!o->json) {
		if (!same)
			printf("different at %" PRIu64 "\n", at);
		else if (!o->quiet)
			printf("identical%s\n",
			       c->size[0] == c->size[1] ? "" : ", but for zeros at the end of one");
		return;
	}
	json_object(&j, NULL);
	json_bool(&j, "identical", same);
	json_bool(&j, "same-size", c->size[0] == c->size[1]);
	if (!same)
		json_uint(&j, "offset", at);
	json_object_end(&j);
}

static int side_open(const struct tool_options *o, const char *path, enum vhd_format format,
		     struct comparison *c, int which)
{
	struct vhd_info info = VHD_INFO_INIT;
	int ret = tool_open(o, path, format, VHD_OPEN_READ_ONLY, &c->image[which]);

	if (ret)
		return ret;
	c->buf[which] = malloc(PIECE);
	if (!c->buf[which] || vhd_get_info(c->image[which], &info))
		return tool_fail("%s: cannot be examined", path);
	c->size[which] = info.virtual_size;
	return TOOL_OK;
}

int tool_compare(const struct tool_options *o, char **arguments)
{
	struct comparison c = { .size = { 0, 0 } };
	struct tool_options second = *o;
	uint64_t at = 0;
	int ret = side_open(o, arguments[0], o->format, &c, 0);

	second.backing = NULL;
	if (!ret)
		ret = side_open(&second, arguments[1], o->second_format, &c, 1);
	if (!ret)
		ret = compare_run(&c, o, &at);
	if (ret == TOOL_OK || ret == TOOL_FOUND)
		result_print(o, &c, ret == TOOL_OK, at);
	for (int i = 0; i < 2; i++) {
		free(c.buf[i]);
		vhd_close(c.image[i]);
	}
	return ret;
}
