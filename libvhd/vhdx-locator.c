/* SPDX-License-Identifier: MIT */
/* The bytes of a parent locator ([MS-VHDX] 2.6.2.6): keys and values in UTF-16. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "utf16.h"
#include "vhdx.h"

enum {
	LOCATOR_HEADER = 20,
	LOCATOR_ENTRY = 12,
	LOCATOR_KEYS = 256,
	VALUE_MAX = 8192,
	OWN_KEYS = 3,
	LINKS = 2,
};

/* b04aefb7-d19e-4a81-b789-25b8e9445913 */
static const uint8_t locator_type[16] = { 0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a,
					  0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13 };

/* -- Reading ---------------------------------------------------------------------- */

static bool string_inside(uint32_t offset, uint16_t size, uint32_t length)
{
	return size > 0 && size % 2 == 0 && offset >= LOCATOR_HEADER && offset <= length &&
	       length - offset >= size;
}

/* Do all keys and values lie inside? */
static int locator_check(const uint8_t *bytes, uint32_t length, uint32_t count,
			 struct vhd_error *err)
{
	if (count > LOCATOR_KEYS || LOCATOR_HEADER + count * LOCATOR_ENTRY > length)
		return vhd_fail(err, VHD_FAULT_LOCATOR,
				"parent locator: %" PRIu32 " keys, expected at most %d in %" PRIu32
				" bytes",
				count, LOCATOR_KEYS, length);
	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *e = bytes + LOCATOR_HEADER + i * LOCATOR_ENTRY;

		if (!string_inside(get_le32(e), get_le16(e + 8), length) ||
		    !string_inside(get_le32(e + 4), get_le16(e + 10), length))
			return vhd_fail(err, VHD_FAULT_LOCATOR,
					"parent locator: key %" PRIu32 " lies outside its %" PRIu32
					" bytes",
					i, length);
	}
	return 0;
}

static bool key_is(const uint8_t *bytes, const uint8_t *entry, const char *key)
{
	char *name = vhd_utf16_decode(bytes + get_le32(entry), get_le16(entry + 8), UTF16_LE);
	bool same = name && strcmp(name, key) == 0;

	free(name);
	return same;
}

int vhdx_locator_find(const uint8_t *bytes, uint32_t length, const char *key, char **value,
		      struct vhd_error *err)
{
	const uint8_t *found = NULL;
	uint32_t count;
	int ret;

	*value = NULL;
	if (length < LOCATOR_HEADER || memcmp(bytes, locator_type, 16) != 0)
		return vhd_fail(err, VHD_FAULT_LOCATOR,
				"parent locator: its type is not that of VHDX");
	count = get_le16(bytes + 18);
	ret = locator_check(bytes, length, count, err);
	for (uint32_t i = 0; !ret && i < count; i++) {
		const uint8_t *entry = bytes + LOCATOR_HEADER + i * LOCATOR_ENTRY;

		if (!key_is(bytes, entry, key))
			continue;
		if (found)
			ret = vhd_fail(err, VHD_FAULT_LOCATOR,
				       "parent locator: key %s stands there twice", key);
		found = entry;
	}
	if (!ret && found)
		*value = vhd_utf16_decode(bytes + get_le32(found + 4), get_le16(found + 10),
					  UTF16_LE);
	return ret;
}

/* -- Making one --------------------------------------------------------------------- */

struct locator {
	uint8_t *bytes;
	uint32_t used;
	uint32_t count;
};

static void key_add(struct locator *l, const char *key, const uint8_t *value, size_t size)
{
	uint8_t *entry = l->bytes + LOCATOR_HEADER + l->count++ * LOCATOR_ENTRY;
	uint8_t *name = l->bytes + l->used;
	size_t length = vhd_utf16_encode(key, name, VALUE_MAX, UTF16_LE);

	memcpy(name + length, value, size);
	put_le32(entry, l->used);
	put_le32(entry + 4, l->used + (uint32_t)length);
	put_le16(entry + 8, (uint16_t)length);
	put_le16(entry + 10, (uint16_t)size);
	l->used += (uint32_t)(length + size);
}

static int path_add(const struct create_context *create, struct locator *l, const char *key,
		    const char *path)
{
	uint8_t value[VALUE_MAX];
	size_t size = vhd_windows_encode("", path, value, sizeof(value));

	if (size == 0)
		return vhd_fail(create->err, -EINVAL,
				"the way to the parent, %s, is not UTF-8 of at most %d characters",
				path, VALUE_MAX / 2);
	key_add(l, key, value, size);
	return 0;
}

int vhdx_locator_build(const struct create_context *create, uint8_t **bytes, uint32_t *length)
{
	struct locator l = { .used = LOCATOR_HEADER + OWN_KEYS * LOCATOR_ENTRY };
	uint8_t guid[16], value[2 * VHDX_GUID_TEXT];
	char text[VHDX_GUID_TEXT];
	int ret;

	l.bytes = calloc(OWN_KEYS + 1, 2 * VALUE_MAX);
	if (!l.bytes)
		return vhd_fail(create->err, -ENOMEM, "no memory for the parent locator");
	vhdx_guid_swap(guid, create->parent.data_id);
	vhdx_guid_print(guid, text);
	key_add(&l, "parent_linkage", value,
		vhd_utf16_encode(text, value, sizeof(value), UTF16_LE));
	ret = path_add(create, &l, "relative_path", create->parent.relative);
	if (!ret)
		ret = path_add(create, &l, "absolute_win32_path", create->parent.path);
	memcpy(l.bytes, locator_type, sizeof(locator_type));
	put_le16(l.bytes + 18, (uint16_t)l.count);
	*bytes = l.bytes;
	*length = l.used;
	if (ret)
		free(l.bytes);
	return ret;
}

/* -- Changing one ------------------------------------------------------------------- */

static const char *const link_keys[LINKS] = { "parent_linkage", "parent_linkage2" };

static bool is_link(const uint8_t *key, uint16_t size)
{
	char *name = vhd_utf16_decode(key, size, UTF16_LE);
	bool link = false;

	for (int i = 0; name && i < LINKS; i++)
		link |= strcmp(name, link_keys[i]) == 0;
	free(name);
	return link;
}

/* All other keys of the old locator, as they stand there. */
static void others_copy(struct locator *l, const uint8_t *old)
{
	for (uint32_t i = 0; i < get_le16(old + 18); i++) {
		const uint8_t *from = old + LOCATOR_HEADER + i * LOCATOR_ENTRY;
		uint16_t key = get_le16(from + 8), value = get_le16(from + 10);
		uint8_t *entry = l->bytes + LOCATOR_HEADER + l->count * LOCATOR_ENTRY;

		if (is_link(old + get_le32(from), key))
			continue;
		memcpy(l->bytes + l->used, old + get_le32(from), key);
		memcpy(l->bytes + l->used + key, old + get_le32(from + 4), value);
		put_le32(entry, l->used);
		put_le32(entry + 4, l->used + key);
		memcpy(entry + 8, from + 8, 4);
		l->used += (uint32_t)key + value;
		l->count++;
	}
}

int vhdx_locator_link(const uint8_t *old, const uint8_t *now, const uint8_t *next,
		      uint8_t **bytes, uint32_t *length)
{
	const uint8_t *const ids[LINKS] = { now, next };
	uint32_t room = get_le16(old + 18) + LINKS;
	struct locator l = { .used = LOCATOR_HEADER + room * LOCATOR_ENTRY };

	/* The old one was checked when it was opened; keys may share their bytes, though. */
	l.bytes = calloc(1, l.used + (size_t)room * 2 * UINT16_MAX);
	if (!l.bytes)
		return -ENOMEM;
	for (int i = 0; i < LINKS; i++) {
		uint8_t guid[16], value[2 * VHDX_GUID_TEXT];
		char text[VHDX_GUID_TEXT];

		vhdx_guid_swap(guid, ids[i]);
		vhdx_guid_print(guid, text);
		key_add(&l, link_keys[i], value,
			vhd_utf16_encode(text, value, sizeof(value), UTF16_LE));
	}
	others_copy(&l, old);
	memcpy(l.bytes, locator_type, sizeof(locator_type));
	put_le16(l.bytes + 18, (uint16_t)l.count);
	*bytes = l.bytes;
	*length = l.used;
	/* Nobody would read it, and so no child would find its parent. */
	if (l.count <= LOCATOR_KEYS && l.used <= VHDX_MAX_ITEM)
		return 0;
	free(l.bytes);
	return -EFBIG;
}
