/* SPDX-License-Identifier: MIT */
/* vhdtool info, map and check. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "vhdtool.h"

/* -- info ----------------------------------------------------------------------- */

static bool id_is_set(const uint8_t *id)
{
	static const uint8_t zero[16];

	return memcmp(id, zero, sizeof(zero)) != 0;
}

static void info_json(const struct vhd_image *image, const struct vhd_info *i)
{
	struct json j = { .out = stdout };
	char id[37];

	json_begin(&j, NULL, '{');
	json_string(&j, "path", vhd_get_path(image, 0));
	json_string(&j, "format", vhd_format_name(i->format));
	json_string(&j, "type", vhd_type_name(i->type));
	json_number(&j, "virtual-size", i->virtual_size);
	json_number(&j, "file-size", i->file_size);
	json_number(&j, "block-size", i->block_size);
	json_number(&j, "logical-sector-size", i->logical_sector_size);
	json_number(&j, "physical-sector-size", i->physical_sector_size);
	if (id_is_set(i->id))
		json_string(&j, "id", tool_id_text(i->id, id));
	if (id_is_set(i->parent_id))
		json_string(&j, "parent-id", tool_id_text(i->parent_id, id));
	json_string(&j, "creator", i->creator);
	json_begin(&j, "parents", '[');
	for (uint32_t depth = 1; depth < i->chain_depth; depth++)
		json_string(&j, NULL, vhd_get_path(image, depth));
	json_end(&j, ']');
	json_end(&j, '}');
}

static void info_text(const struct vhd_image *image, const struct vhd_info *i)
{
	char size[32], id[37];

	printf("image:        %s\n", vhd_get_path(image, 0));
	printf("format:       %s, %s\n", vhd_format_name(i->format), vhd_type_name(i->type));
	printf("virtual size: %s (%" PRIu64 " bytes)\n",
	       tool_size_text(i->virtual_size, size, sizeof(size)), i->virtual_size);
	printf("file size:    %s (%" PRIu64 " bytes)\n",
	       tool_size_text(i->file_size, size, sizeof(size)), i->file_size);
	if (i->block_size)
		printf("block size:   %s\n", tool_size_text(i->block_size, size, sizeof(size)));
	printf("sector size:  %" PRIu32 " logical, %" PRIu32 " physical\n", i->logical_sector_size,
	       i->physical_sector_size);
	if (id_is_set(i->id))
		printf("identity:     %s\n", tool_id_text(i->id, id));
	if (i->creator[0])
		printf("creator:      %s\n", i->creator);
	if (id_is_set(i->parent_id))
		printf("parent:       %s\n", tool_id_text(i->parent_id, id));
	for (uint32_t depth = 1; depth < i->chain_depth; depth++)
		printf("%s%s\n", depth == 1 ? "parents:      " : "              ",
		       vhd_get_path(image, depth));
}

int tool_info(const struct tool_options *o, char **arguments)
{
	struct vhd_image *image = tool_open(o, arguments[0], o->format, VHD_OPEN_READ_ONLY);
	struct vhd_info info = VHD_INFO_INIT;
	int ret;

	if (!image)
		return TOOL_FAILED;
	ret = vhd_get_info(image, &info);
	if (ret == 0 && o->json)
		info_json(image, &info);
	else if (ret == 0)
		info_text(image, &info);
	else
		tool_fail("%s: %s", arguments[0], strerror(-ret));
	vhd_close(image);
	return ret ? TOOL_FAILED : TOOL_OK;
}

/* -- map ------------------------------------------------------------------------ */

static void map_json(struct json *j, const struct vhd_extent *e, uint32_t chain)
{
	json_begin(j, NULL, '{');
	json_number(j, "start", e->offset);
	json_number(j, "length", e->length);
	json_bool(j, "zero", !e->data);
	if (e->depth < chain) {
		json_number(j, "depth", e->depth);
		json_number(j, "offset", e->file_offset);
	}
	json_end(j, '}');
}

static void map_text(const struct vhd_image *image, const struct vhd_extent *e, uint32_t chain)
{
	if (e->depth < chain)
		printf("%15" PRIu64 " %15" PRIu64 " %-5s %15" PRIu64 " %s\n", e->offset, e->length,
		       e->data ? "data" : "zero", e->file_offset, vhd_get_path(image, e->depth));
	else
		printf("%15" PRIu64 " %15" PRIu64 " zero\n", e->offset, e->length);
}

int tool_map(const struct tool_options *o, char **arguments)
{
	struct vhd_image *image = tool_open(o, arguments[0], o->format, VHD_OPEN_READ_ONLY);
	struct vhd_info info = VHD_INFO_INIT;
	struct json j = { .out = stdout };
	struct vhd_extent e;
	int ret;

	if (!image)
		return TOOL_FAILED;
	ret = vhd_get_info(image, &info);
	if (o->json)
		json_begin(&j, NULL, '[');
	else
		printf("%15s %15s %-5s %15s %s\n", "offset", "length", "kind", "in file", "file");
	for (uint64_t at = 0; !ret && at < info.virtual_size; at += e.length) {
		ret = vhd_get_extent(image, at, info.virtual_size - at, &e);
		if (!ret && o->json)
			map_json(&j, &e, info.chain_depth);
		else if (!ret)
			map_text(image, &e, info.chain_depth);
	}
	if (o->json)
		json_end(&j, ']');
	vhd_close(image);
	return ret ? tool_fail("%s: %s", arguments[0], strerror(-ret)) : TOOL_OK;
}

/* -- check ------------------------------------------------------------------------ */

struct findings {
	struct json json;
	bool print;
	int warnings;
};

static void finding_add(void *opaque, const char *text)
{
	struct findings *f = opaque;

	f->warnings++;
	if (f->print)
		fprintf(stderr, "warning: %s\n", text);
	else
		json_string(&f->json, NULL, text);
}

/* Where the last byte that the tables know ends, and how many bytes of data there
 * are; reading every block's bitmap on the way. */
static int blocks_check(struct vhd_image *image, uint64_t *data)
{
	struct vhd_info info = VHD_INFO_INIT;
	struct vhd_extent e;
	int ret = vhd_get_info(image, &info);

	*data = 0;
	for (uint64_t at = 0; !ret && at < info.virtual_size; at += e.length) {
		ret = vhd_get_extent(image, at, info.virtual_size - at, &e);
		if (!ret && e.data && e.depth == 0)
			*data += e.length;
	}
	return ret;
}

static int check_open(const struct tool_options *o, const char *path, struct findings *f,
		      struct vhd_image **image, struct vhd_error *err)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;

	options.format = o->format;
	options.flags = (o->repair ? 0 : VHD_OPEN_READ_ONLY) |
			(o->any_parent ? VHD_OPEN_ANY_PARENT : 0);
	options.parent = o->backing;
	options.warn = finding_add;
	options.warn_opaque = f;
	return vhd_open(path, &options, image, err);
}

int tool_check(const struct tool_options *o, char **arguments)
{
	struct findings f = { .json = { .out = stdout }, .print = !o->json };
	struct vhd_error err = { 0, "" };
	struct vhd_image *image;
	uint64_t data = 0;
	char size[32];
	int ret;

	if (o->json) {
		json_begin(&f.json, NULL, '{');
		json_begin(&f.json, "warnings", '[');
	}
	ret = check_open(o, arguments[0], &f, &image, &err);
	if (!ret) {
		ret = blocks_check(image, &data);
		if (ret)
			snprintf(err.text, sizeof(err.text), "%s: %s", arguments[0],
				 strerror(-ret));
		vhd_close(image);
	}
	if (o->json) {
		json_end(&f.json, ']');
		if (ret)
			json_string(&f.json, "error", err.text);
		else
			json_number(&f.json, "data", data);
		json_bool(&f.json, "repaired", !ret && o->repair && f.warnings > 0);
		json_end(&f.json, '}');
	} else if (ret) {
		tool_fail("%s", err.text);
	} else {
		printf("%s: %s, %s of data\n", arguments[0],
		       f.warnings == 0 ? "good"
		       : o->repair     ? "repaired"
				       : "usable, see the warnings",
		       tool_size_text(data, size, sizeof(size)));
	}
	if (ret)
		return ret > 0 ? TOOL_FOUND : TOOL_FAILED;
	return f.warnings && !o->repair ? TOOL_WARNED : TOOL_OK;
}
