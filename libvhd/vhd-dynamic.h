/* SPDX-License-Identifier: MIT */
/* VHDs with blocks: the block allocation table and the bitmaps, in memory and on
 * disk. */
#ifndef LIBVHD_VHD_DYNAMIC_H
#define LIBVHD_VHD_DYNAMIC_H

#include "image.h"
#include "vhd-format.h"

/* A block's bitmap, in the order of the file (the highest bit of a byte is the
 * first sector). Bits are set under image->lock and read without it; none is
 * ever cleared. */
struct bits {
	bool marked;	 /* there are bits that no flush has staged yet */
	uint8_t *staged; /* as the running flush will write them */
	uint8_t now[];
};

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

	/* Differencing only. */
	_Atomic(struct bits *) *bits; /* by block, NULL until somebody needs it */
	uint32_t *marked;	      /* blocks with bits->marked, after those staged */
	uint32_t marked_count;
	uint32_t marked_staged;
};

/* Reads and checks the table, makes the layer's map of it. @footer: the 512
 * bytes that stand at the end of the file. 0, -errno or enum vhd_fault. */
int vhd_dynamic_load(const struct open_context *ctx, struct vhd_layer *layer,
		     const struct vhd_layout *layout, const struct vhd_header *header,
		     const uint8_t *footer);

/* Where the file's last footer belongs. */
uint64_t vhd_dynamic_end(const struct vhd_layer *layer);
const struct vhd_header *vhd_dynamic_header(const struct vhd_layer *layer);

/* -- vhd-bitmap.c: differencing images -------------------------------------- */

int vhd_bitmap_init(struct dynamic *d);
void vhd_bitmap_fini(struct dynamic *d);
/* Under image->lock: an empty bitmap for a new block. -ENOMEM. */
int vhd_bitmap_add(struct dynamic *d, uint32_t block);
/* struct layer_ops' run, written, and parts of stage and commit. */
int vhd_bitmap_run(struct vhd_image *image, struct vhd_layer *layer, uint32_t block,
		   uint32_t sector, uint32_t count, bool *here);
void vhd_bitmap_written(struct vhd_image *image, uint32_t block, uint32_t sector, uint32_t count);
void vhd_bitmap_stage(struct dynamic *d);
int vhd_bitmap_commit(struct vhd_image *image, struct vhd_layer *layer);

#endif
