/* SPDX-License-Identifier: MIT */
/* Who owns what of an image's file. */
#ifndef LIBVHD_SPACE_H
#define LIBVHD_SPACE_H

#include "image.h"

enum { SPACE_FIXED = 0xffffffff }; /* not a block of the disk: it stays where it is */

struct space {
	uint64_t start, end;
	uint32_t block; /* or SPACE_FIXED */
};

struct spaces {
	struct space *all; /* by start */
	size_t count, room;
	bool failed; /* there was no memory for one */
};

/* All spaces of a layer that has blocks. -ENOMEM. */
int vhd_spaces_init(struct spaces *spaces, const struct vhd_layer *layer);
void vhd_spaces_fini(struct spaces *spaces);

/* Where the last of them ends; *@end stays as it is on failure. -ENOMEM. */
int vhd_spaces_end(const struct vhd_layer *layer, uint64_t *end);

/* For struct layer_ops' spaces(). */
void vhd_spaces_add(struct spaces *spaces, uint64_t start, uint64_t end, uint32_t block);

#endif
