/* SPDX-License-Identifier: MIT */
/* The parent locator of a differencing VHDX ([MS-VHDX] 2.6.2.6). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "utf16.h"
#include "vhdx.h"

enum { LOCATOR_HEADER = 20, LOCATOR_ENTRY = 12, LOCATOR_KEYS = 256 };

/* b04aefb7-d19e-4a81-b789-25b8e9445913 */
static const uint8_t locator_type[16] = { 0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a,
					  0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13 };

static bool string_inside(uint32_t offset, uint16_t size, uint32_t length)
{
	return size > 0 && size % 2 == 0 && offset >= LOCATOR_HEADER && offset <= length &&
	       length - offset >= size;
}

int vhdx_locator_find(const uint8_t *bytes, uint32_t length, const char *key, char **value,
		      struct vhd_error *err)
{
	uint32_t count;

	*value = NULL;
	if (length < LOCATOR_HEADER || memcmp(bytes, locator_type, 16) != 0)
		return vhd_fail(err, VHD_FAULT_LOCATOR,
				"parent locator: its type is not that of VHDX");
	count = get_le16(bytes + 18);
	if (count > LOCATOR_KEYS || LOCATOR_HEADER + count * LOCATOR_ENTRY > length)
		return vhd_fail(err, VHD_FAULT_LOCATOR,
				"parent locator: %" PRIu32 " keys, expected at most %d in %" PRIu32
				" bytes",
				count, LOCATOR_KEYS, length);
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *e = bytes + LOCATOR_HEADER + i * LOCATOR_ENTRY;
		uint32_t key_at = get_le32(e), value_at = get_le32(e + 4);
		uint16_t key_size = get_le16(e + 8), value_size = get_le16(e + 10);
		char *name;

		if (!string_inside(key_at, key_size, length) ||
		    !string_inside(value_at, value_size, length))
			return vhd_fail(err, VHD_FAULT_LOCATOR,
					"parent locator: key %" PRIu32 " lies outside its %" PRIu32
					" bytes",
					i, length);
		name = vhd_utf16_decode(bytes + key_at, key_size, UTF16_LE);
		if (name && !*value && strcmp(name, key) == 0)
			*value = vhd_utf16_decode(bytes + value_at, value_size, UTF16_LE);
		free(name);
	}
	return 0;
}

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

static int locator_value(const struct open_context *ctx, const struct vhd_layer *layer,
			 const char *key, char **value)
{
	const struct vhdx *x = layer->state;

	return vhdx_locator_find(x->locator, x->items[VHDX_PARENT_LOCATOR].length, key, value,
				 ctx->err);
}

int vhd_vhdx_parent_paths(const struct open_context *ctx, const struct vhd_layer *layer,
			  struct parent_paths *paths)
{
	char *relative, *absolute;
	int ret = locator_value(ctx, layer, "relative_path", &relative);

	if (ret)
		return ret;
	vhd_parent_paths_add(paths, vhd_windows_relative(relative));
	ret = locator_value(ctx, layer, "absolute_win32_path", &absolute);
	if (!ret)
		vhd_parent_paths_add(paths, vhd_windows_name(absolute));
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
