/* SPDX-License-Identifier: MIT */
/* A new child's words for its parent: a relative Windows path, which everybody
 * understands, an absolute one, and a file URL for systems like this one. */
#include "vhd-locator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "utf16.h"

static void slashes_turn(char *path)
{
	for (; *path; path++)
		if (*path == '/')
			*path = '\\';
}

size_t vhd_windows_encode(const char *prefix, const char *path, uint8_t *bytes, size_t size)
{
	char *text = NULL;
	size_t length = 0;

	if (asprintf(&text, "%s%s", prefix, path) < 0)
		return 0;
	slashes_turn(text);
	length = vhd_utf16_encode(text, bytes, size, UTF16_LE);
	free(text);
	return length;
}

/* "../x" stands as ".\..\x": Windows wants the dot. */
static size_t relative_encode(const char *path, uint8_t *bytes)
{
	return vhd_windows_encode(path[0] == '.' && path[1] == '.' ? "./" : "", path, bytes,
				  VHD_LOCATOR_MAX);
}

static size_t url_encode(const char *path, uint8_t *bytes)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789/-._~";
	size_t used = (size_t)sprintf((char *)bytes, "file://");

	for (; *path; path++) {
		if (used + 4 > VHD_LOCATOR_MAX)
			return 0;
		if (strchr(plain, *path))
			bytes[used++] = (uint8_t)*path;
		else
			used += (size_t)sprintf((char *)bytes + used, "%%%02X",
						(unsigned char)*path);
	}
	return used;
}

/* Behind the *@used bytes that stand there already. */
static void locator_add(struct vhd_locator *l, enum vhd_locator_code code, size_t length,
			uint64_t place, uint8_t *bytes, size_t *used)
{
	if (length == 0) /* a name that has no such form */
		return;
	*l = (struct vhd_locator){
		.code = code,
		.length = (uint32_t)length,
		.space = (uint32_t)round_up(length, VHD_SECTOR),
		.offset = place + *used,
	};
	memset(bytes + *used + length, 0, l->space - length);
	*used += l->space;
}

size_t vhd_locators_build(const struct create_parent *parent, struct vhd_header *h,
			  uint64_t place, uint8_t *bytes)
{
	const char *name = strrchr(parent->path, '/') + 1;
	size_t used = 0;

	memset(h->locators, 0, sizeof(h->locators));
	memset(h->parent_name, 0, sizeof(h->parent_name));
	memcpy(h->parent_id, parent->id, sizeof(h->parent_id));
	h->parent_time = parent->time > VHD_EPOCH ? (uint32_t)(parent->time - VHD_EPOCH) : 0;
	if (vhd_utf16_encode(name, h->parent_name, sizeof(h->parent_name), UTF16_BE) == 0)
		return 0;
	locator_add(&h->locators[0], VHD_LOCATOR_W2RU,
		    relative_encode(parent->relative, bytes + used), place, bytes, &used);
	locator_add(&h->locators[1], VHD_LOCATOR_W2KU,
		    vhd_windows_encode("", parent->path, bytes + used, VHD_LOCATOR_MAX), place,
		    bytes, &used);
	locator_add(&h->locators[2], VHD_LOCATOR_MACX, url_encode(parent->path, bytes + used),
		    place, bytes, &used);
	return used;
}
