/* SPDX-License-Identifier: MIT */
/* VHDs with blocks: the block allocation table and the bitmaps, in memory and on
 * disk. */
#ifndef LIBVHD_VHD_DYNAMIC_H
#define LIBVHD_VHD_DYNAMIC_H

#include "bitmap.h"
#include "vhd-format.h"

struct dynamic {
	struct vhd_layout layout;
	struct vhd_header header;
	uint8_t footer[VHD_FOOTER_SIZE];
	uint64_t end;	    /* of metadata and blocks */
	bool tail_fresh;    /* behind end is nothing but the footer, or zeros */
	uint32_t *table;    /* as it stands, or may stand, on disk: big-endian */
	uint32_t *kept;	    /* blocks whose entry is not on disk yet */
	uint32_t kept_count;
	uint32_t staged;    /* the first so many of kept belong to the running flush */
	struct bitmaps bitmaps; /* differencing */
};

/* Reads and checks the table, makes the layer's map of it. @footer: the 512
 * bytes that stand at the end of the file. 0, -errno or enum vhd_fault. */
int vhd_dynamic_load(const struct open_context *ctx, struct vhd_layer *layer,
		     const struct vhd_layout *layout, const struct vhd_header *header,
		     const uint8_t *footer);

/* Where the file's last footer belongs. */
uint64_t vhd_dynamic_end(const struct vhd_layer *layer);
const struct vhd_header *vhd_dynamic_header(const struct vhd_layer *layer);

/* -- vhd-blocks.c: of struct layer_ops ----------------------------------------------- */

void vhd_dynamic_spaces(const struct vhd_layer *layer, struct spaces *spaces);
int vhd_dynamic_check(struct vhd_image *image, struct vhd_check *check);
void vhd_dynamic_check_table(const struct vhd_layer *layer, struct vhd_check *check);
uint64_t vhd_dynamic_fit(const struct vhd_layer *layer, uint64_t start, uint64_t end);
int vhd_dynamic_release(struct vhd_image *image, uint32_t block);
int vhd_dynamic_moved(struct vhd_image *image, uint32_t block, uint64_t place);
int vhd_dynamic_cut(struct vhd_image *image);

/* -- vhd-relink.c */
int vhd_dynamic_relink(struct vhd_image *image, const struct create_context *create);
/* -- Under image->lock, for the image that is written to ------------------------ */

/* Another writer, or a crash, may have left anything behind the last block: cuts it off,
 * with the footer, so that what grows there reads as zeros. */
int vhd_dynamic_cut_tail(struct vhd_image *image, const struct vhd_layer *layer);

/* The file's space up to @end is used from now on, zeros so far; a footer is behind it. Or
 * all is as it was: -ENOSPC and the like. */
int vhd_dynamic_extend(struct vhd_image *image, const struct vhd_layer *layer, uint64_t end);
/* Takes that back after another failure. */
void vhd_dynamic_retract(struct vhd_image *image, const struct vhd_layer *layer, uint64_t end);

/* Writes the table's entries @first to @last, as they are in memory. */
int vhd_dynamic_write_table(struct vhd_image *image, const struct vhd_layer *layer, uint32_t first,
			    uint32_t last);

#endif
