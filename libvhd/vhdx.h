/* SPDX-License-Identifier: MIT */
/* An open VHDX. */
#ifndef LIBVHD_VHDX_H
#define LIBVHD_VHDX_H

#include "bitmap.h"
#include "create.h"
#include "image.h"
#include "vhdx-format.h"

enum {
	VHDX_LOG_PAGES = 64,	  /* of one entry of ours, at most */
	VHDX_MAX_ITEMS = 512 << 10, /* bytes of a virtual disk's metadata that we take along */
};

/* A piece of the file as the log would have it; bytes NULL: zeros. */
struct vhdx_patch {
	uint64_t offset, length;
	uint8_t *bytes;
};

/* Entries of the table that are not logged yet: their index, and from stage() on the
 * value to be logged. */
struct vhdx_change {
	uint64_t value;
	uint32_t index;
};

struct vhdx_changes {
	struct vhdx_change *all; /* those staged first */
	uint32_t count, room, staged;
	uint8_t *marked; /* a bit an entry: it stands among those not staged */
};

/* Pages on their way into the log and from there to their place. */
struct vhdx_log_writer {
	uint64_t offsets[VHDX_LOG_PAGES];
	uint8_t *pages; /* 4096 bytes for each */
	uint8_t *entry; /* room to build one in */
	uint32_t count; /* of offsets and pages */
	uint32_t at;	/* where in the ring the next entry goes */
	uint64_t sequence;
	uint64_t flushed_size; /* the file was synced when it was that long */
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
	uint64_t *chunks; /* where each chunk's bitmap block is, 0: nowhere; differencing */
	struct bitmaps bitmaps;

	/* A file with a log, opened read-only, is read through what is in the log. */
	struct vhdx_patch *patches;
	size_t patch_count;

	struct vhdx_changes changes; /* of the table */
	struct vhdx_log_writer log;
};

/* Where in the file the bitmap of @block is, whose chunk has one. Under image->lock. */
static inline uint64_t vhdx_bits_place(const struct vhdx *x, uint32_t block)
{
	return x->chunks[block / x->disk.chunk_ratio] +
	       block % x->disk.chunk_ratio * x->bitmaps.size;
}

/* Metadata as it would stand after a replay; zeros behind the end of the file. */
int vhdx_read(struct vhd_image *image, const struct vhd_layer *layer, void *buf, size_t length,
	      uint64_t offset);

/* Writes x->header, with the next sequence number, over the older of the two and
 * syncs. */
int vhdx_header_update(struct vhd_image *image, struct vhd_layer *layer);

/* -- vhdx-log-write.c ------------------------------------------------------------- */

/* Makes a page, to go to @offset, part of the next entry: the 4096 bytes at *@page are the
 * caller's to fill until the next call. If the entry is full it is written first and
 * its pages go home. Never the same page twice between two vhdx_log_settle(). -errno. */
int vhdx_log_page(struct vhd_image *image, struct vhd_layer *layer, uint64_t offset,
		  uint8_t **page);

/* The @size bytes for @offset, in the pages that they are a part of; no two calls for the same
 * page between two vhdx_log_settle(). -errno. */
int vhdx_log_bytes(struct vhd_image *image, struct vhd_layer *layer, const void *bytes,
		   uint64_t size, uint64_t offset);

/* Writes the entry; it is durable after the next sync. @force: even with no pages. */
int vhdx_log_write(struct vhd_image *image, struct vhd_layer *layer, bool force);

/* The entry is durable: its pages may go to their places. */
int vhdx_log_home(struct vhd_image *image, struct vhd_layer *layer);

/* Sync, home, sync: nothing of the log is needed any more. */
int vhdx_log_settle(struct vhd_image *image, struct vhd_layer *layer);

/* -- vhdx-changes.c --------------------------------------------------------------- */

/* The entry @index of the table is to be logged with what the map says. -ENOMEM: there
 * is no room to remember it. */
int vhdx_change_keep(struct vhdx *x, uint64_t index);

/* struct layer_ops' dirty, stage and commit. */
bool vhdx_dirty(const struct vhd_layer *layer);
void vhdx_stage(struct vhd_layer *layer);
int vhdx_commit(struct vhd_image *image);

/* -- vhdx-write.c ---------------------------------------------------------------- */

extern const struct layer_ops vhdx_ops;

/* What an image opened for writing needs besides. 0, -errno or enum vhd_fault. */
int vhdx_write_init(const struct open_context *ctx, struct vhd_layer *layer);

/* struct layer_ops' end. */
int vhdx_end(struct vhd_image *image);

/* -- vhdx-blocks.c: of struct layer_ops --------------------------------------------- */

void vhdx_spaces(const struct vhd_layer *layer, struct spaces *spaces);
int vhdx_check(struct vhd_image *image, struct vhd_check *check);
void vhdx_check_table(const struct vhd_layer *layer, struct vhd_check *check);
int vhdx_repair(struct vhd_image *image);
uint64_t vhdx_fit(const struct vhd_layer *layer, uint64_t start, uint64_t end);
int vhdx_release(struct vhd_image *image, uint32_t block);
int vhdx_moved(struct vhd_image *image, uint32_t block, uint64_t place);
int vhdx_cut(struct vhd_image *image);

/* -- vhdx-items.c ------------------------------------------------------------------- */

/* Items of the metadata that are the virtual disk's ([MS-VHDX] 2.6.1.2). */
struct vhdx_items {
	uint8_t *entries; /* as in the table, 32 bytes each, but offsets are into bytes */
	uint8_t *bytes;
	uint32_t count, length;
};

/* Those of @layer, with those that we know (@known) or without. -EFBIG: more than
 * VHDX_MAX_ITEMS; other -errno. On success vhdx_items_free() them. */
int vhdx_items_load(struct vhd_image *image, const struct vhd_layer *layer, bool known,
		    struct vhdx_items *items);
void vhdx_items_free(struct vhdx_items *items);

/* Appends them to the table, which has room for their entries; their bytes are at @place in
 * the region. */
void vhdx_items_put(const struct vhdx_items *items, uint32_t place, uint8_t *table);

/* The first place behind the table of a region of @region bytes where @length bytes are
 * nobody's. 0: there is none. */
uint32_t vhdx_item_place(const uint8_t *table, uint32_t region, uint32_t length);

/* struct layer_ops' take_items. */
int vhdx_take_items(struct vhd_image *image, struct vhd_image *from);

/* -- vhdx-relink.c ------------------------------------------------------------------ */

/* struct layer_ops' relink and link_both. */
int vhdx_relink(struct vhd_image *image, const struct create_context *create);
int vhdx_link_both(struct vhd_image *image, const uint8_t *now, const uint8_t *next);

/* -- vhdx-metadata.c ------------------------------------------------------------ */

/* Region tables, metadata items, and what they say of the disk. */
int vhdx_metadata_load(const struct open_context *ctx, struct vhd_layer *layer);

/* The table, checked, and the layer's map of it. */
int vhdx_table_load(const struct open_context *ctx, struct vhd_layer *layer);

/* A GUID's 16 bytes from the file's order to that of its text, or back. */
void vhdx_guid_swap(uint8_t *to, const uint8_t *from);

/* -- vhdx-locator.c and vhdx-parent.c -------------------------------------------- */

/* Checks the locator's bytes and finds a key's value, in UTF-8 for free(). *@value is
 * NULL when it is not there. 0 or enum vhd_fault. */
int vhdx_locator_find(const uint8_t *bytes, uint32_t length, const char *key, char **value,
		      struct vhd_error *err);

/* Reads the number of the parent's contents into layer->parent_id. */
int vhdx_linkage_load(const struct open_context *ctx, struct vhd_layer *layer);

/* "{xxxxxxxx-...}", and the 16 bytes in the order of the file. */
enum { VHDX_GUID_TEXT = 39 };
bool vhdx_guid_parse(const char *text, uint8_t *guid);
void vhdx_guid_print(const uint8_t *guid, char *text);

/* Makes a locator of @create's parent: *@bytes of *@length for free(). -errno. */
int vhdx_locator_build(const struct create_context *create, uint8_t **bytes, uint32_t *length);

/* The locator at @old, found good before, with two ids (as in struct vhd_layer) of the
 * parent's contents in place of those it has: *@bytes for free(). -EFBIG: no room for another
 * key; -ENOMEM. */
int vhdx_locator_link(const uint8_t *old, const uint8_t *now, const uint8_t *next,
		      uint8_t **bytes, uint32_t *length);

#endif
