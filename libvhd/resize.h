/* SPDX-License-Identifier: MIT */
#ifndef LIBVHD_RESIZE_H
#define LIBVHD_RESIZE_H

#include "image.h"

/* A change of the top layer's size, under image->lock, with the session begun and, when it
 * becomes smaller, nothing to be flushed and no request in flight. */
struct resize {
	struct vhd_image *image;
	struct vhd_layer *layer;
	uint64_t size;
	uint32_t flags;
	struct vhd_error *err;
	bool begun; /* set before the first step that cannot be taken back */
};

/* Each by its format: the file and layer->size are changed, in an order that leaves a
 * whole image, of the old or the new size, wherever the power goes; the new part reads
 * as zeros. 0 or -errno. */
int vhd_raw_resize(struct resize *r);
int vhd_fixed_resize(struct resize *r);
int vhd_dynamic_resize(struct resize *r);
int vhd_vhdx_resize(struct resize *r);

/* Space on the disk for the file from @from to @to, which may be behind its end, if the
 * caller wants that and the file system can. -ENOSPC and the like. */
int vhd_resize_reserve(const struct resize *r, uint64_t from, uint64_t to);

/* A sync; when it fails nobody knows what the file holds. */
int vhd_resize_sync(struct resize *r);

/* The file is made zeros there. */
int vhd_resize_zero(const struct resize *r, uint64_t from, uint64_t to);

/* What the last block of a growing disk holds behind its old end must not be seen: makes
 * it zeros, durably. @place is where the block's data is. */
int vhd_resize_zero_tail(struct resize *r, uint64_t place);

#endif
