/* SPDX-License-Identifier: MIT */
/* The parent locator of a differencing VHDX ([MS-VHDX] 2.6.2.6): who and where the
 * parent is. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vhdx.h"

bool vhdx_guid_parse(const char *text, uint8_t *guid)
{
	unsigned b[16];
	uint8_t bytes[16];
	int used = 0;

	if (sscanf(text,
		   "{%2x%2x%2x%2x-%2x%2x-%2x%2x-%2x%2x-%2x%2x%2x%2x%2x%2x}%n", &b[0], &b[1],
		   &b[2], &b[3], &b[4], &b[5], &b[6], &b[7], &b[8], &b[9], &b[10], &b[11], &b[12],
		   &b[13], &b[14], &b[15], &used) != 16 ||
	    used != 38 || text[38])
		return false;
	for (int i = 0; i < 16; i++)
		bytes[i] = (uint8_t)b[i];
	vhdx_guid_swap(guid, bytes);
	return true;
}

void vhdx_guid_print(const uint8_t *guid, char *text)
{
	uint8_t b[16];

	vhdx_guid_swap(b, guid);
	snprintf(text, VHDX_GUID_TEXT,
		 "{%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x}", b[0],
		 b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
		 b[14], b[15]);
}

static int locator_value(const struct open_context *ctx, const struct vhd_layer *layer,
			 const char *key, char **value)
{
	const struct vhdx *x = layer->state;

	return vhdx_locator_find(x->locator, x->items[VHDX_PARENT_LOCATOR].length, key, value,
				 ctx->err);
}

int vhdx_linkage_load(const struct open_context *ctx, struct vhd_layer *layer)
{
	uint8_t guid[16];
	char *text;
	int ret = locator_value(ctx, layer, "parent_linkage", &text);

	if (ret)
		return ret;
	if (text && vhdx_guid_parse(text, guid))
		vhdx_guid_swap(layer->parent_id, guid);
	else
		ret = vhd_fail(ctx->err, VHD_FAULT_LOCATOR,
			       "parent locator: parent_linkage is %s, expected a GUID",
			       text ? text : "missing");
	free(text);
	return ret;
}

/* What a path of Windows's can mean here: our own children have one that begins with a
 * single backslash; of others, only the name of the file. */
static char *absolute_path(char *path)
{
	if (!path || path[0] != '\\' || path[1] == '\\')
		return vhd_windows_name(path);
	for (char *p = path; *p; p++)
		if (*p == '\\')
			*p = '/';
	return path;
}

int vhd_vhdx_parent_paths(const struct open_context *ctx, const struct vhd_layer *layer,
			  struct parent_paths *paths)
{
	static const char *const keys[] = { "volume_path", "absolute_win32_path" };
	char *path;
	int ret = locator_value(ctx, layer, "relative_path", &path);

	if (ret)
		return ret;
	vhd_parent_paths_add(paths, vhd_windows_relative(path));
	for (size_t i = 0; !ret && i < sizeof(keys) / sizeof(keys[0]); i++) {
		ret = locator_value(ctx, layer, keys[i], &path);
		if (!ret)
			vhd_parent_paths_add(paths, absolute_path(path));
	}
	if (!ret && paths->count == 0)
		ret = vhd_fail(ctx->err, VHD_FAULT_LOCATOR,
			       "parent locator: no path that could be the parent's");
	return ret;
}

/* Is the parent's GUID of its data the one under @key? */
static int linkage_check(const struct open_context *ctx, const struct vhd_layer *child,
			 const struct vhdx *parent, const char *key, bool *same)
{
	uint8_t guid[16];
	char *text;
	int ret = locator_value(ctx, child, key, &text);

	*same = !ret && text && vhdx_guid_parse(text, guid) &&
		memcmp(guid, parent->header.data_write, sizeof(guid)) == 0;
	free(ret ? NULL : text);
	return ret;
}

int vhd_vhdx_parent_check(const struct open_context *ctx, const struct vhd_layer *child,
			  const struct vhd_layer *parent)
{
	bool same;
	int ret = linkage_check(ctx, child, parent->state, "parent_linkage", &same);

	if (!ret && !same)
		ret = linkage_check(ctx, child, parent->state, "parent_linkage2", &same);
	if (ret)
		return ret;
	if (!same && !(ctx->options->flags & VHD_OPEN_ANY_PARENT))
		return vhd_fail(ctx->err, VHD_FAULT_PARENT_ID,
				"its parent %s holds other data than when it was made: the GUID of "
				"its data is not the parent linkage",
				parent->path);
	if (!same)
		vhd_warn(ctx, "its parent holds other data than when it was made");
	if (parent->logical != child->logical)
		return vhd_fail(ctx->err, VHD_FAULT_SECTOR_SIZE,
				"its parent %s has sectors of %" PRIu32 " bytes, expected %" PRIu32,
				parent->path, parent->logical, child->logical);
	return 0;
}
