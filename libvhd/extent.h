/* SPDX-License-Identifier: MIT */
/* Where in which file a range of the disk is. */
#ifndef LIBVHD_EXTENT_H
#define LIBVHD_EXTENT_H

#include "image.h"

struct extent {
	const struct vhd_layer *layer; /* NULL: nowhere, it reads as zeros */
	uint64_t offset;	       /* in the layer's file */
	uint64_t length;	       /* > 0, at most what was asked for */
	bool part; /* once written, the layer must be told */
};

/* The beginning of the range, as far as it is one piece. The range lies inside
 * the disk. Takes no lock, except to read a bitmap for the first time. -errno. */
int vhd_extent_find(struct vhd_image *image, uint64_t offset, uint64_t length,
		     struct extent *extent);

/* The same for writing: in the top layer, where space that is not there is
 * allocated. -errno. */
int vhd_extent_make(struct vhd_image *image, uint64_t offset, uint64_t length,
		    struct extent *extent);

/* Does the range begin with a whole block of the top layer (the last one may end behind the
 * disk)? Then which one, and where its data is; @extent->layer NULL: it has no space. */
bool vhd_extent_block(const struct vhd_image *image, uint64_t offset, uint64_t length,
		      uint32_t *block, struct extent *extent);

enum vhd_own {
	VHD_OWN_NOTHING, /* the parent's */
	VHD_OWN_DATA,
	VHD_OWN_ZEROS, /* whatever the parent holds */
};

/* What the top layer itself has of the beginning of the range, and how much of it is
 * alike. -errno. */
int vhd_extent_own(struct vhd_image *image, uint64_t offset, uint64_t length, uint64_t *alike,
		   enum vhd_own *own);

/* The disk's bytes from @offset to @end, all in one block, were written to an
 * extent with ->part set. */
void vhd_extent_written(struct vhd_image *image, uint64_t offset, uint64_t end);

#endif
