/* SPDX-License-Identifier: MIT */
/* A new child's words for its parent: a relative Windows path, which everybody
 * understands, an absolute one, and a file URL for systems like this one. */
#include "vhd-locator.h"

#include <errno.h>
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

static int locator_write(const struct create_context *create, struct vhd_locator *l,
			 enum vhd_locator_code code, uint8_t *bytes, size_t length, uint64_t *end)
{
	if (length == 0) /* a name that has no such form */
		return 0;
	*l = (struct vhd_locator){
		.code = code,
		.length = (uint32_t)length,
		.space = (uint32_t)round_up(length, VHD_SECTOR),
		.offset = *end,
	};
	*end += l->space;
	memset(bytes + length, 0, l->space - length);
	return vhd_create_write(create, bytes, l->space, l->offset);
}

int vhd_locators_create(const struct create_context *create, struct vhd_header *h, uint64_t *end)
{
	const struct create_parent *parent = &create->parent;
	const char *name = strrchr(parent->path, '/') + 1;
	uint8_t bytes[VHD_LOCATOR_MAX];
	int ret;

	memcpy(h->parent_id, parent->id, sizeof(h->parent_id));
	h->parent_time = parent->time > VHD_EPOCH ? (uint32_t)(parent->time - VHD_EPOCH) : 0;
	if (vhd_utf16_encode(name, h->parent_name, sizeof(h->parent_name), UTF16_BE) == 0)
		return vhd_fail(create->err, -EINVAL,
				"the parent's name %s is not UTF-8 of at most 256 characters",
				name);
	ret = locator_write(create, &h->locators[0], VHD_LOCATOR_W2RU, bytes,
			    relative_encode(parent->relative, bytes), end);
	if (!ret)
		ret = locator_write(create, &h->locators[1], VHD_LOCATOR_W2KU, bytes,
				    vhd_windows_encode("", parent->path, bytes,
						       VHD_LOCATOR_MAX),
				    end);
	if (!ret)
		ret = locator_write(create, &h->locators[2], VHD_LOCATOR_MACX, bytes,
				    url_encode(parent->path, bytes), end);
	return ret;
}
