/* SPDX-License-Identifier: MIT */
/* vhdtool check. */
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "vhdtool.h"

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
	struct findings f = { .json = json_to(stdout), .print = !o->json };
	struct vhd_error err = { 0, "" };
	struct vhd_image *image;
	uint64_t data = 0;
	char size[32];
	int ret;

	if (o->json) {
		json_object(&f.json, NULL);
		json_array(&f.json, "warnings");
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
		json_array_end(&f.json);
		if (ret)
			json_string(&f.json, "error", err.text);
		else
			json_uint(&f.json, "data", data);
		json_bool(&f.json, "repaired", !ret && o->repair && f.warnings > 0);
		json_object_end(&f.json);
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
