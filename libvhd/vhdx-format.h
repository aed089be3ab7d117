/* SPDX-License-Identifier: MIT */
/* The bytes of a VHDX: headers, region table, metadata table, block allocation
 * table, log. Pure functions on memory; section numbers are those of [MS-VHDX].
 * Everything is little-endian; GUIDs are kept as they stand in the file. */
#ifndef LIBVHD_VHDX_FORMAT_H
#define LIBVHD_VHDX_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define VHDX_MIB	    (UINT64_C(1) << 20)
#define VHDX_PAGE	    4096u
#define VHDX_HEADER_SIZE    4096u
#define VHDX_HEADER_1	    (64u << 10)
#define VHDX_HEADER_2	    (128u << 10)
#define VHDX_REGIONS_1	    (192u << 10)
#define VHDX_REGIONS_2	    (256u << 10)
#define VHDX_TABLE_SIZE	    (64u << 10) /* of region table and metadata table */
#define VHDX_MAX_ENTRIES    2047u
#define VHDX_MAX_SIZE	    (UINT64_C(64) << 40)
#define VHDX_MIN_BLOCK	    (1u << 20)
#define VHDX_MAX_BLOCK	    (256u << 20)
#define VHDX_MAX_LOG	    (64u << 20) /* ours: bounds memory and the time of a replay */
#define VHDX_MAX_ITEM	    (1u << 20)
#define VHDX_BITMAP_SIZE    (1u << 20)

struct vhdx_header {
	uint64_t sequence;
	uint8_t file_write[16];
	uint8_t data_write[16];
	uint8_t log_guid[16];
	uint16_t log_version;
	uint16_t version;
	uint32_t log_length;
	uint64_t log_offset;
};

/* 2.2.2: signature and checksum. What the fields say is not looked at. */
bool vhdx_header_parse(const uint8_t *bytes, struct vhdx_header *header);
void vhdx_header_build(uint8_t *bytes, const struct vhdx_header *header);

/* Which of the two 4096-byte headers counts: *@which is 0 or 1. Checks what it says
 * against the file's size. 0 or enum vhd_fault. */
int vhdx_header_choose(const uint8_t *first, const uint8_t *second, uint64_t file_size,
		       struct vhdx_header *header, int *which, struct vhd_error *err);

static inline bool vhdx_guid_is_zero(const uint8_t *guid)
{
	uint8_t any = 0;

	for (int i = 0; i < 16; i++)
		any |= guid[i];
	return any == 0;
}

struct vhdx_region {
	uint64_t offset;
	uint32_t length;
};

struct vhdx_regions {
	uint32_t place; /* of the table they were found in */
	struct vhdx_region bat, metadata;
	struct vhdx_region all[VHDX_MAX_ENTRIES]; /* those two and unknown ones */
	uint32_t count;
};

/* 2.2.3: the 64 KiB at @bytes. @valid says whether signature and checksum are right;
 * the rest is only a fault if they are. 0 or enum vhd_fault. */
int vhdx_regions_parse(const uint8_t *bytes, uint64_t file_size, struct vhdx_regions *regions,
		       bool *valid, struct vhd_error *err);

struct vhdx_item {
	uint32_t offset; /* from the start of the metadata region */
	uint32_t length; /* 0: not there */
};

/* Of the table of items: where things stand in it, and in an entry. */
enum {
	VHDX_ITEM_COUNT_AT = 10,
	VHDX_ITEM_ENTRIES_AT = 32,
	VHDX_ITEM_ENTRY = 32, /* bytes of an entry */
	VHDX_ITEM_OFFSET_AT = 16,
	VHDX_ITEM_LENGTH_AT = 20,
	VHDX_ITEM_FLAGS_AT = 24,
};
enum { VHDX_ITEM_USER = 1, VHDX_ITEM_VIRTUAL_DISK = 2, VHDX_ITEM_REQUIRED = 4 };

enum vhdx_item_index {
	VHDX_FILE_PARAMETERS,
	VHDX_DISK_SIZE,
	VHDX_DISK_ID,
	VHDX_LOGICAL_SECTOR,
	VHDX_PHYSICAL_SECTOR,
	VHDX_PARENT_LOCATOR,
	VHDX_ITEMS,
};

extern const uint8_t vhdx_item_guid[VHDX_ITEMS][16];

/* Which item an entry of the table is; VHDX_ITEMS: none that we know. */
enum vhdx_item_index vhdx_item_find(const uint8_t *entry);
extern const uint8_t vhdx_region_bat[16], vhdx_region_metadata[16];

/* 2.6: the table of 64 KiB at @bytes, of a region of @length. 0 or enum vhd_fault. */
int vhdx_metadata_parse(const uint8_t *bytes, uint32_t length, struct vhdx_item *items,
			struct vhd_error *err);

struct vhdx_disk {
	uint32_t block_size;
	bool fixed;
	bool has_parent;
	uint64_t size;
	uint32_t logical, physical; /* sector sizes */
	uint8_t id[16];
	uint64_t blocks;
	uint64_t chunk_ratio; /* blocks to one sector bitmap block */
	uint64_t entries;     /* of the table */
};

/* 2.6.2: the items' contents, and what follows of them. 0 or enum vhd_fault. */
int vhdx_disk_parse(const uint8_t *const *contents, struct vhdx_disk *disk,
		    struct vhd_error *err);
void vhdx_disk_derive(struct vhdx_disk *disk);

enum vhdx_state {
	VHDX_NOT_PRESENT = 0,
	VHDX_UNDEFINED = 1,
	VHDX_ZERO = 2,
	VHDX_UNMAPPED = 3,
	VHDX_PRESENT = 6,
	VHDX_PARTIAL = 7,
	VHDX_STATE_MASK = 7,
};

/* Where the table has a block's entry, and the one of a chunk's bitmap. */
static inline uint64_t vhdx_block_index(const struct vhdx_disk *d, uint64_t block)
{
	return block + block / d->chunk_ratio;
}

static inline uint64_t vhdx_bitmap_index(const struct vhdx_disk *d, uint64_t chunk)
{
	return (chunk + 1) * d->chunk_ratio + chunk;
}

/* A piece of the file that belongs to somebody, for the check of overlaps. */
struct vhdx_space {
	uint64_t start, end; /* MiB */
	uint64_t owner;	     /* an entry of the table, or one of these */
};
#define VHDX_OWNER_HEADERS UINT64_MAX
#define VHDX_OWNER_LOG	   (UINT64_MAX - 1)
#define VHDX_OWNER_REGION  (UINT64_MAX - 2)

/* 2.5: every entry of @table (as in the file, disk->entries of them). @spaces has room
 * for them all behind the @count that are there already; *@end is where the last one
 * ends, in bytes. 0 or enum vhd_fault. */
int vhdx_bat_check(const struct vhdx_disk *disk, const uint64_t *table, uint64_t file_size,
		   struct vhdx_space *spaces, size_t count, uint64_t *end, struct vhd_error *err);

/* The same to its end: @found gets the text of each entry that is wrong. */
void vhdx_bat_check_all(const struct vhdx_disk *disk, const uint64_t *table, uint64_t file_size,
			struct vhdx_space *spaces, size_t count,
			void (*found)(void *opaque, const char *text), void *opaque);

/* 2.3: the log's ring, wholly in memory. */
struct vhdx_log {
	const uint8_t *ring;
	uint32_t length;
	const uint8_t *guid;
	uint32_t tail, head;	/* offsets of the first and last entry to replay */
	uint64_t sequence;	/* of the last one */
	uint64_t flushed_size;	/* the file was at least that long ... */
	uint64_t last_size;	/* ... and must be at least this */
};

/* Finds the newest whole sequence of entries. VHD_FAULT_VHDX_LOG: there is none. */
int vhdx_log_find(struct vhdx_log *log, struct vhd_error *err);

/* Calls @apply for each page to be written, in order: 4096 bytes at @bytes, or with
 * NULL zeros over @length. Stops at its first result that is not 0. 0, that, or
 * enum vhd_fault for a place where no page may go. */
int vhdx_log_replay(const struct vhdx_log *log, uint64_t log_offset,
		    int (*apply)(void *opaque, uint64_t offset, const uint8_t *bytes,
				 uint64_t length),
		    void *opaque, struct vhd_error *err);

/* The bytes an entry with @pages data pages takes. */
uint32_t vhdx_log_entry_size(uint32_t pages);

struct vhdx_log_entry {
	uint64_t sequence;
	uint32_t tail;
	const uint8_t *guid;
	uint64_t flushed_size, last_size;
	uint32_t pages;
	const uint64_t *offsets; /* where each page goes */
	const uint8_t *const *contents;
};

/* Fills the vhdx_log_entry_size() bytes at @bytes. */
void vhdx_log_entry_build(uint8_t *bytes, const struct vhdx_log_entry *entry);

#endif
