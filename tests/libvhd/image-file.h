/* SPDX-License-Identifier: MIT */
/* Image files for tests: made in a directory of their own, changed byte by byte. */
#ifndef TESTS_LIBVHD_IMAGE_FILE_H
#define TESTS_LIBVHD_IMAGE_FILE_H

#include <stdint.h>
#include <stdlib.h>

#include <vhd/vhd.h>

/* vhd_io_sync without the syncs, for tests that make thousands of them. */
extern const struct vhd_io_ops image_io_unsynced;

/* The same, with a struct image_failing as its opaque, until one of the writes that count
 * fails. If all of them do, nothing works after that: as when the program ends there. */
struct image_failing {
	uint64_t from, to; /* in the file, where those begin; 0 to UINT64_MAX: all */
	int writes_left;   /* so many of them can be done; < 0: all */
	int writes;	   /* were done */
};
extern const struct vhd_io_ops image_io_failing;

/* How many random cases a test runs: what the environment's @variable says, or @plain, or
 * with sanitizers, which are slow, @sanitized. */
unsigned image_cases(const char *variable, unsigned plain, unsigned sanitized);

struct image_file {
	char dir[64];
	char path[80];
};

/* A new directory and the name of an image in it that does not exist yet. */
void image_file_init(struct image_file *f);
/* Removes the directory and what is in it. */
void image_file_fini(struct image_file *f);

/* Makes the image; ends the program when that fails. */
void image_file_create(const struct image_file *f, enum vhd_format format, enum vhd_type type,
		       uint64_t size, uint32_t block_size);

/* Opens it with these VHD_OPEN_* flags: vhd_open()'s result. */
int image_file_open(const struct image_file *f, uint32_t flags, struct vhd_image **image,
		    struct vhd_error *err);

/* image_file_init(), and there a dynamic VHDX of 8 blocks of 1 MiB, which holds "x" from the
 * middle of the first to the middle of the second. */
void image_file_make_vhdx(struct image_file *f);

uint64_t image_file_size(const struct image_file *f);
void image_file_read(const struct image_file *f, void *buf, size_t length, uint64_t offset);
void image_file_write(const struct image_file *f, const void *buf, size_t length, uint64_t offset);
void image_file_truncate(const struct image_file *f, uint64_t length);

/* Changes a VHD footer or dynamic header at @offset and puts its checksum right. */
void image_file_put_footer(const struct image_file *f, uint64_t offset, size_t field,
			   uint64_t value, size_t size);
void image_file_put_header(const struct image_file *f, uint64_t offset, size_t field,
			   uint64_t value, size_t size);

#endif
