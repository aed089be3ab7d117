/* SPDX-License-Identifier: MIT */
/* Parents of differencing VHDs: the header's locators, and who the parent is. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "utf16.h"
#include "vhd-dynamic.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "file:///a/b%20c", "file://localhost/a", XenServer's "file://./a". */
static char *url_path(const uint8_t *bytes, size_t length)
{
	static const char scheme[] = "file://";
	char *text = strndup((const char *)bytes, length);
	char *from, *to;

	if (!text || strncmp(text, scheme, sizeof(scheme) - 1) != 0) {
		free(text);
		return NULL;
	}
	from = text + sizeof(scheme) - 1;
	if (strncmp(from, "localhost/", 10) == 0)
		from += 9;
	for (to = text; *from; from++, to++) {
		int high = *from == '%' ? hex_digit(from[1]) : -1;
		int low = high >= 0 ? hex_digit(from[2]) : -1;

		*to = *from;
		if (low >= 0 && (high || low)) {
			*to = (char)(high << 4 | low);
			from += 2;
		}
	}
	*to = '\0';
	return text;
}

static char *locator_path(const struct vhd_locator *l, const uint8_t *bytes)
{
	switch (l->code) {
	case VHD_LOCATOR_W2RU:
		return vhd_windows_relative(vhd_utf16_decode(bytes, l->length, UTF16_LE));
	case VHD_LOCATOR_W2KU:
		return vhd_windows_name(vhd_utf16_decode(bytes, l->length, UTF16_LE));
	default:
		return url_path(bytes, l->length);
	}
}

/* All locators of one kind; writers use any of the eight. */
static int locators_add(const struct open_context *ctx, const struct vhd_layer *layer,
			const struct vhd_header *h, enum vhd_locator_code code,
			struct parent_paths *paths)
{
	uint8_t bytes[VHD_LOCATOR_MAX];

	for (int i = 0; i < VHD_LOCATORS; i++) {
		const struct vhd_locator *l = &h->locators[i];
		int ret;

		if (l->code != code)
			continue;
		ret = vhd_file_read(ctx->image, layer->file, bytes, l->length, l->offset);
		if (ret)
			return vhd_fail(ctx->err, ret, "cannot read parent locator %d at %" PRIu64,
					i, l->offset);
		vhd_parent_paths_add(paths, locator_path(l, bytes));
	}
	return 0;
}

int vhd_vhd_parent_paths(const struct open_context *ctx, const struct vhd_layer *layer,
			 struct parent_paths *paths)
{
	static const enum vhd_locator_code order[] = { VHD_LOCATOR_W2RU, VHD_LOCATOR_MACX,
						       VHD_LOCATOR_W2KU };
	const struct vhd_header *h = vhd_dynamic_header(layer);

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		int ret = locators_add(ctx, layer, h, order[i], paths);

		if (ret)
			return ret;
	}
	vhd_parent_paths_add(paths, vhd_windows_name(vhd_utf16_decode(
					h->parent_name, sizeof(h->parent_name), UTF16_BE)));
	return 0;
}

static int parent_check_time(const struct open_context *ctx, const struct vhd_layer *parent,
			     uint32_t want)
{
	struct stat st;
	int64_t have;

	if (fstat(parent->file->fd, &st) < 0)
		return vhd_fail(ctx->err, -errno, "cannot examine its parent");
	have = (int64_t)st.st_mtim.tv_sec - VHD_EPOCH;
	if (have == want)
		return 0;
	if (ctx->options->flags & VHD_OPEN_STRICT)
		return vhd_fail(ctx->err, VHD_FAULT_PARENT_TIME,
				"its parent was modified at %" PRId64 ", expected %" PRIu32
				" (seconds since 2000)",
				have, want);
	vhd_warn(ctx,
		 "its parent's time of modification is %" PRId64 " s later than when it was made",
		 have - (int64_t)want);
	return 0;
}

int vhd_vhd_parent_check(const struct open_context *ctx, const struct vhd_layer *child,
			 const struct vhd_layer *parent)
{
	const struct vhd_header *h = vhd_dynamic_header(child);

	if (memcmp(parent->id, h->parent_id, sizeof(parent->id)) != 0) {
		if (!(ctx->options->flags & VHD_OPEN_ANY_PARENT))
			return vhd_fail(ctx->err, VHD_FAULT_PARENT_ID,
					"its parent %s has the identity %02x%02x%02x%02x..., "
					"expected %02x%02x%02x%02x...",
					parent->path, parent->id[0], parent->id[1], parent->id[2],
					parent->id[3], h->parent_id[0], h->parent_id[1],
					h->parent_id[2], h->parent_id[3]);
		vhd_warn(ctx, "its parent has another identity");
	}
	if (parent->size > child->size)
		return vhd_fail(ctx->err, VHD_FAULT_PARENT_SIZE,
				"its parent %s has %" PRIu64
				" bytes, expected at most its own %" PRIu64,
				parent->path, parent->size, child->size);
	return parent_check_time(ctx, parent, h->parent_time);
}
