/* SPDX-License-Identifier: MIT */
/* vhdtool info and map. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "vhdtool.h"

/* -- info ----------------------------------------------------------------------- */

static void info_json(const struct vhd_image *image, const struct vhd_info *i)
{
	struct json j = json_to(stdout);
	char id[37];

	json_object(&j, NULL);
	json_string(&j, "path", vhd_get_path(image, 0));
	json_string(&j, "format", vhd_format_name(i->format));
	json_string(&j, "type", vhd_type_name(i->type));
	json_uint(&j, "virtual-size", i->virtual_size);
	json_uint(&j, "file-size", i->file_size);
	json_uint(&j, "block-size", i->block_size);
	json_uint(&j, "logical-sector-size", i->logical_sector_size);
	json_uint(&j, "physical-sector-size", i->physical_sector_size);
	if (tool_id_is_set(i->id))
		json_string(&j, "id", tool_id_text(i->id, id));
	if (tool_id_is_set(i->parent_id))
		json_string(&j, "parent-id", tool_id_text(i->parent_id, id));
	json_string(&j, "creator", i->creator);
	json_array(&j, "parents");
	for (uint32_t depth = 1; depth < i->chain_depth; depth++)
		json_string(&j, NULL, vhd_get_path(image, depth));
	json_array_end(&j);
	json_object_end(&j);
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
	if (tool_id_is_set(i->id))
		printf("identity:     %s\n", tool_id_text(i->id, id));
	if (i->creator[0])
		printf("creator:      %s\n", i->creator);
	if (tool_id_is_set(i->parent_id))
		printf("parent:       %s\n", tool_id_text(i->parent_id, id));
	for (uint32_t depth = 1; depth < i->chain_depth; depth++)
		printf("%s%s\n", depth == 1 ? "parents:      " : "              ",
		       vhd_get_path(image, depth));
}

int tool_info(const struct tool_options *o, char **arguments)
{
	struct vhd_info info = VHD_INFO_INIT;
	struct vhd_image *image;
	int ret = tool_open(o, arguments[0], o->format, VHD_OPEN_READ_ONLY, &image);

	if (ret)
		return ret;
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
	json_object(j, NULL);
	json_uint(j, "start", e->offset);
	json_uint(j, "length", e->length);
	json_bool(j, "zero", !e->data);
	if (e->depth < chain) {
		json_uint(j, "depth", e->depth);
		json_uint(j, "offset", e->file_offset);
	}
	json_object_end(j);
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
	struct vhd_info info = VHD_INFO_INIT;
	struct json j = json_to(stdout);
	struct vhd_image *image;
	struct vhd_extent e;
	int ret = tool_open(o, arguments[0], o->format, VHD_OPEN_READ_ONLY, &image);

	if (ret)
		return ret;
	ret = vhd_get_info(image, &info);
	if (o->json)
		json_array(&j, NULL);
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
		json_array_end(&j);
	vhd_close(image);
	return ret ? tool_fail("%s: %s", arguments[0], strerror(-ret)) : TOOL_OK;
}

