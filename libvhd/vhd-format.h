/* SPDX-License-Identifier: MIT */
/* The bytes of a VHD: footer, dynamic header, block allocation table. Pure
 * functions on memory; section numbers are those of "Virtual Hard Disk Image
 * Format Specification" 1.0. */
#ifndef LIBVHD_VHD_FORMAT_H
#define LIBVHD_VHD_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define VHD_SECTOR	     512u
#define VHD_FOOTER_SIZE	     512u
#define VHD_HEADER_SIZE	     1024u
#define VHD_BAT_UNUSED	     0xffffffffu
#define VHD_NO_OFFSET	     UINT64_MAX
#define VHD_EPOCH	     946684800 /* 2000-01-01 in Unix time */
#define VHD_MAX_SIZE	     (UINT64_C(0xff000000) * VHD_SECTOR) /* 2040 GiB */
#define VHD_MIN_BLOCK	     512u
#define VHD_MAX_BLOCK	     (256u << 20)
#define VHD_DEFAULT_BLOCK    (2u << 20)
#define VHD_MAX_BLOCKS	     (1u << 22) /* bounds the memory a file can ask for */
#define VHD_LOCATORS	     8
#define VHD_LOCATOR_MAX	     4096u /* bytes of a path in a locator */
#define VHD_NAME_SIZE	     512u  /* bytes of the parent's name in the header */

enum vhd_disk_type {
	VHD_DISK_FIXED = 2,
	VHD_DISK_DYNAMIC = 3,
	VHD_DISK_DIFFERENCING = 4,
};

struct vhd_geometry {
	uint16_t cylinders;
	uint8_t heads;
	uint8_t sectors;
};

struct vhd_footer {
	uint32_t features;
	uint64_t data_offset;
	uint32_t time;
	char creator[4];
	uint32_t creator_version;
	char host_os[4];
	uint64_t original_size;
	uint64_t current_size;
	struct vhd_geometry geometry;
	uint32_t type;
	uint8_t id[16];
	uint8_t saved_state;
};

/* What a parent locator's platform code says its bytes are. */
enum vhd_locator_code {
	VHD_LOCATOR_NONE = 0,
	VHD_LOCATOR_W2RU = 0x57327275, /* relative Windows path, UTF-16LE */
	VHD_LOCATOR_W2KU = 0x57326b75, /* absolute Windows path, UTF-16LE */
	VHD_LOCATOR_MACX = 0x4d616358, /* file URL, UTF-8 */
};

struct vhd_locator {
	uint32_t code;
	uint32_t space; /* bytes reserved in the file */
	uint32_t length;
	uint64_t offset;
};

struct vhd_header {
	uint64_t bat_offset;
	uint32_t bat_entries;
	uint32_t block_size;
	uint8_t parent_id[16];
	uint32_t parent_time;
	uint8_t parent_name[VHD_NAME_SIZE]; /* UTF-16BE */
	struct vhd_locator locators[VHD_LOCATORS];
};

/* Cylinders, heads and sectors for a disk of @sectors sectors. */
struct vhd_geometry vhd_geometry(uint64_t sectors);

/* One's complement of the byte sum of @size bytes, those at @skip..@skip+3 (the
 * checksum itself) not counted. */
uint32_t vhd_checksum(const uint8_t *bytes, size_t size, size_t skip);

/* Reads and checks the 512 bytes at @bytes. 0 or enum vhd_fault. */
int vhd_footer_parse(const uint8_t *bytes, struct vhd_footer *footer, struct vhd_error *err);
void vhd_footer_build(uint8_t *bytes, const struct vhd_footer *footer);

/* Reads and checks the 1024 bytes at @bytes, the fields of a parent if there is one
 * (@differencing). 0 or enum vhd_fault. */
int vhd_header_parse(const uint8_t *bytes, bool differencing, struct vhd_header *header,
		     struct vhd_error *err);
void vhd_header_build(uint8_t *bytes, const struct vhd_header *header);

/* Changes the fields of a valid footer or dynamic header, and its checksum, nothing else. Of
 * the header only the first sector changes. */
void vhd_footer_resize(uint8_t *bytes, uint64_t size);
void vhd_header_move_bat(uint8_t *bytes, uint64_t offset, uint32_t entries);

/* Bytes of the sector bitmap in front of each block. */
uint32_t vhd_bitmap_size(uint32_t block_size);

/* The most blocks of that size a disk can have. */
uint32_t vhd_most_blocks(uint32_t block_size);

/* Bytes a table of @entries takes in the file. */
uint64_t vhd_bat_size(uint32_t entries);

/* Where things lie in a file with blocks; filled by vhd_layout_check(). */
struct vhd_layout {
	uint64_t header_offset;
	uint64_t bat_offset;
	uint32_t bat_entries;	/* in the file */
	uint32_t blocks;	/* that the disk's size needs */
	uint32_t block_size;
	uint32_t bitmap_size;
	uint64_t space_end;	/* blocks must end here: the footer's place or the file's end */
	struct vhd_locator locators[VHD_LOCATORS];
};

/* Checks that header, table and locators lie inside the file, apart from each other, and
 * cover the disk. 0 or enum vhd_fault. */
int vhd_layout_check(const struct vhd_footer *footer, const struct vhd_header *header,
		     uint64_t space_end, struct vhd_layout *layout, struct vhd_error *err);

/* Checks the first layout->blocks entries of @bat (as in the file): inside the
 * file, off the metadata, no two over each other. @sorted is room for as many
 * numbers. *@end is where the last of blocks and metadata ends.
 * 0 or enum vhd_fault. */
int vhd_bat_check(const struct vhd_layout *layout, const uint32_t *bat, uint64_t *sorted,
		  uint64_t *end, struct vhd_error *err);

/* The same to its end: @found gets the text of each entry that is wrong. */
void vhd_bat_check_all(const struct vhd_layout *layout, const uint32_t *bat, uint64_t *sorted,
		       void (*found)(void *opaque, const char *text), void *opaque);

#endif
