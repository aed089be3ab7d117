/* SPDX-License-Identifier: MIT */
/* vhdtool create, and what convert makes its new image by. */
#include <string.h>
#include <strings.h>

#include "vhdtool-output.h"

/* What others will take a file of that name for. */
static enum vhd_format name_format(const char *path, enum vhd_format otherwise)
{
	static const struct {
		const char *end;
		enum vhd_format format;
	} rows[] = {
		{ ".vhd", VHD_FORMAT_VHD },   { ".avhd", VHD_FORMAT_VHD },
		{ ".vhdx", VHD_FORMAT_VHDX }, { ".avhdx", VHD_FORMAT_VHDX },
		{ ".raw", VHD_FORMAT_RAW },
	};
	const char *end = strrchr(path, '.');

	for (size_t i = 0; end && i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcasecmp(end, rows[i].end) == 0)
			return rows[i].format;
	return otherwise;
}

void create_options(const struct tool_options *o, const char *path, enum vhd_format otherwise,
		    struct vhd_create_options *c)
{
	*c = (struct vhd_create_options)VHD_CREATE_OPTIONS_INIT;
	c->format = o->has_output_format ? o->output_format : name_format(path, otherwise);
	c->type = o->type;
	if (!o->has_type && c->format == VHD_FORMAT_RAW)
		c->type = VHD_TYPE_FIXED;
	c->block_size = o->block_size;
	c->flags = o->force ? VHD_CREATE_OVERWRITE : 0;
	c->id = o->id;
	c->time = o->has_time ? &o->time : NULL;
}

/* A child is of its parent's format, which need not be said again. */
static int parent_format(const char *path, enum vhd_format *format)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct vhd_info info = VHD_INFO_INIT;
	struct vhd_image *parent;
	struct vhd_error err;
	int ret;

	options.flags = VHD_OPEN_READ_ONLY | VHD_OPEN_NO_PARENT;
	if (vhd_open(path, &options, &parent, &err))
		return tool_fail_error(&err);
	ret = vhd_get_info(parent, &info);
	vhd_close(parent);
	*format = info.format;
	return ret ? tool_fail("%s: cannot be examined", path) : TOOL_OK;
}

int tool_create(const struct tool_options *o, char **arguments)
{
	enum vhd_format format = VHD_FORMAT_VHD;
	struct vhd_create_options c;
	struct vhd_error err;
	int ret = o->backing ? parent_format(o->backing, &format) : TOOL_OK;

	if (ret)
		return ret;
	create_options(o, arguments[0], format, &c);
	c.logical_sector_size = o->sector_size;
	if (o->sector_size && c.format != VHD_FORMAT_VHDX)
		return tool_usage("only a VHDX has a --sector-size; --output-format=vhdx makes "
				  "one");
	if (o->backing) {
		if (o->has_type && o->type != VHD_TYPE_DIFFERENCING)
			return tool_usage("a %s image has no --parent", vhd_type_name(o->type));
		c.type = VHD_TYPE_DIFFERENCING;
		c.parent = o->backing;
	}
	if (arguments[1] && !tool_parse_size(arguments[1], &c.virtual_size))
		return tool_usage("\"%s\" is not a size; sizes are like 512, 40M, 1.5T",
				  arguments[1]);
	if (c.type == VHD_TYPE_DIFFERENCING && !o->backing)
		return tool_usage("a differencing image needs a --parent");
	if (!arguments[1] && c.type != VHD_TYPE_DIFFERENCING)
		return tool_usage("a %s image needs a SIZE", vhd_type_name(c.type));
	if (vhd_create(arguments[0], &c, &err))
		return tool_fail_error(&err);
	return tool_report(o, arguments[0], c.format);
}
