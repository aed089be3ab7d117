/* SPDX-License-Identifier: MIT */
/* An open VHDX. */
#ifndef LIBVHD_VHDX_H
#define LIBVHD_VHDX_H

#include "bitmap.h"
#include "image.h"
#include "vhdx-format.h"

/* A piece of the file as the log would have it; bytes NULL: zeros. */
struct vhdx_patch {
	uint64_t offset, length;
	uint8_t *bytes;
};

struct vhdx {
	struct vhdx_header header;
	int current; /* which of the two headers that is */
	uint64_t file_size;
	uint64_t end; /* of all that is in the file */
	struct vhdx_regions regions;
	struct vhdx_item items[VHDX_ITEMS];
	struct vhdx_disk disk;
	uint64_t *table; /* as in the file, whole pages */
	uint8_t *locator;
	struct bitmaps bitmaps;

	/* A file with a log, opened read-only, is read through what is in the log. */
	struct vhdx_patch *patches;
	size_t patch_count;

	/* Writing. */
	uint32_t *kept; /* blocks whose entry is not logged yet */
	uint32_t kept_count;
	uint32_t staged;      /* the first so many of kept belong to the running flush */
	uint64_t staged_size; /* the file's, when that flush began */
	uint32_t *home;	      /* pages of the table that are logged and go home next */
	uint32_t home_count;
	uint32_t log_at; /* where in the ring the next entry goes */
	uint64_t log_sequence;
	uint8_t *log_buffer;
};

/* Metadata as it would stand after a replay; zeros behind the end of the file. */
int vhdx_read(struct vhd_image *image, const struct vhd_layer *layer, void *buf, size_t length,
	      uint64_t offset);

/* Writes x->header, with the next sequence number, over the older of the two and
 * syncs. */
int vhdx_header_update(struct vhd_image *image, struct vhd_layer *layer);

/* -- vhdx-write.c ---------------------------------------------------------------- */

extern const struct layer_ops vhdx_ops;

/* What an image opened for writing needs besides. 0, -errno or enum vhd_fault. */
int vhdx_write_init(const struct open_context *ctx, struct vhd_layer *layer);

/* -- vhdx-metadata.c ------------------------------------------------------------ */

/* Region tables, metadata items, and what they say of the disk. */
int vhdx_metadata_load(const struct open_context *ctx, struct vhd_layer *layer);

/* The table, checked, and the layer's map of it. */
int vhdx_table_load(const struct open_context *ctx, struct vhd_layer *layer);

/* A GUID's 16 bytes from the file's order to that of its text, or back. */
void vhdx_guid_swap(uint8_t *to, const uint8_t *from);

/* -- vhdx-parent.c -------------------------------------------------------------- */

/* Checks the locator's bytes and finds a key's value, in UTF-8 for free(). *@value is
 * NULL when it is not there. 0 or enum vhd_fault. */
int vhdx_locator_find(const uint8_t *bytes, uint32_t length, const char *key, char **value,
		      struct vhd_error *err);

/* "{xxxxxxxx-...}" in the order of the file. */
bool vhdx_guid_parse(const char *text, uint8_t *guid);

#endif
