/* SPDX-License-Identifier: MIT */
/* vhdtool create, and what convert makes its new image by. */
#include <string.h>

#include "vhdtool-output.h"

void create_options(const struct tool_options *o, struct vhd_create_options *c)
{
	*c = (struct vhd_create_options)VHD_CREATE_OPTIONS_INIT;
	c->format = o->has_output_format ? o->output_format : VHD_FORMAT_VHD;
	c->type = o->type;
	if (!o->has_type && c->format == VHD_FORMAT_RAW)
		c->type = VHD_TYPE_FIXED;
	c->block_size = o->block_size;
	c->flags = o->force ? VHD_CREATE_OVERWRITE : 0;
	c->id = o->id;
	c->time = o->has_time ? &o->time : NULL;
}

int tool_create(const struct tool_options *o, char **arguments)
{
	struct vhd_create_options c;
	struct vhd_error err;

	create_options(o, &c);
	c.logical_sector_size = o->sector_size;
	if (o->sector_size && c.format != VHD_FORMAT_VHDX)
		return tool_usage("only a VHDX has a --sector-size; --output-format=vhdx makes one");
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
