/* SPDX-License-Identifier: MIT */
/* Sector bitmaps of differencing images, of either format. */
#ifndef LIBVHD_BITMAP_H
#define LIBVHD_BITMAP_H

#include "image.h"

/* A block's bitmap, in the order of the file. Bits are set under image->lock and
 * read without it; none is ever cleared. */
struct bits {
	bool marked;	 /* there are bits that no flush has staged yet */
	uint8_t *staged; /* as the running flush will write them */
	uint8_t now[];
};

struct bitmaps {
	uint32_t blocks;
	uint32_t size;	/* bytes of each */
	bool low_first; /* the lowest bit of a byte is the first sector, else the highest */
	_Atomic(struct bits *) *bits; /* by block, NULL until somebody needs it */
	uint32_t *marked;	      /* blocks with bits->marked, after those staged */
	struct room bits_room, marked_room; /* where they lie */
	uint32_t marked_count;
	uint32_t marked_staged;

	/* Readers bring none into memory while there are @limit or more. What is written
	 * has its bitmap there until the image is closed: that takes a 2048th of the space that
	 * the blocks take in the file. */
	uint32_t limit;
	_Atomic uint32_t count;
	uint8_t *passing; /* one bitmap, under image->lock: read, looked at, forgotten */

	/* Reads the bitmap of @block from the file. -errno. */
	int (*load)(struct vhd_image *image, const struct vhd_layer *layer, uint32_t block,
		    uint8_t *bytes);
};

/* @b has blocks, size, low_first and load set; there may be @most blocks later. -ENOMEM. */
int vhd_bitmap_init(struct bitmaps *b, uint32_t most);
/* Under image->lock, which nobody need hold to read: another number of blocks. For fewer, no
 * request is in flight and nothing marked. -ENOMEM: only for more. */
int vhd_bitmap_resize(struct bitmaps *b, uint32_t blocks);
void vhd_bitmap_fini(struct bitmaps *b);

/* Brings the bitmap of @block into memory, where it stays: it is going to be changed.
 * -errno. */
int vhd_bitmap_need(struct vhd_image *image, struct vhd_layer *layer, uint32_t block);

/* Under image->lock: an empty bitmap for a new block. -ENOMEM. */
int vhd_bitmap_add(struct bitmaps *b, uint32_t block);

/* Under image->lock, no request in flight and nothing marked: forgets the block's. */
void vhd_bitmap_drop(struct bitmaps *b, uint32_t block);

/* struct layer_ops' run and written, by layer->bitmaps. */
int vhd_bitmap_run(struct vhd_image *image, struct vhd_layer *layer, uint32_t block,
		   uint32_t sector, uint32_t count, bool *here);
void vhd_bitmap_written(struct vhd_image *image, uint32_t block, uint32_t sector, uint32_t count);

/* Under image->lock: the next flush writes the bitmap of @block, which is in memory. */
void vhd_bitmap_mark(struct bitmaps *b, uint32_t block);
/* Are all of its sectors here? The bitmap is in memory. */
bool vhd_bitmap_is_full(const struct bitmaps *b, uint32_t block);

/* Under image->lock: what is marked becomes staged; then each staged one is to be
 * written, and they are forgotten. vhd_bitmap_commit() does the last two by @write. */
void vhd_bitmap_stage(struct bitmaps *b);
const uint8_t *vhd_bitmap_staged(const struct bitmaps *b, uint32_t block);
void vhd_bitmap_forget(struct bitmaps *b);
int vhd_bitmap_commit(struct vhd_image *image, struct vhd_layer *layer,
		      int (*write)(struct vhd_image *image, struct vhd_layer *layer,
				   uint32_t block, const uint8_t *bytes));

#endif
