/* SPDX-License-Identifier: MIT */
/* VHDs with blocks: the block allocation table in memory and on disk. */
#ifndef LIBVHD_VHD_DYNAMIC_H
#define LIBVHD_VHD_DYNAMIC_H

#include "image.h"
#include "vhd-format.h"

/* Reads and checks the table, makes the layer's map of it. @footer: the 512
 * bytes that stand at the end of the file. 0, -errno or enum vhd_fault. */
int vhd_dynamic_load(const struct open_context *ctx, struct vhd_layer *layer,
		     const struct vhd_layout *layout, const uint8_t *footer);

/* Where the file's last footer belongs. */
uint64_t vhd_dynamic_end(const struct vhd_layer *layer);

#endif
