/* SPDX-License-Identifier: MIT */
#ifndef LIBVHD_CREATE_H
#define LIBVHD_CREATE_H

#include <vhd/vhd.h>

#include "error.h"

struct create_context {
	const char *path; /* of the image to be */
	const struct vhd_create_options *options;
	int fd;	    /* the new file, empty, under a name of its own */
	int old_fd; /* the file that it replaces, locked; -1: none that can be opened */
	struct create_parent {
		char *path;	/* without symbolic links */
		char *relative; /* from the new file's directory, "./..." or "../..." */
		uint8_t id[16];
		int64_t time;	/* of its last modification, since 1970 */
		uint64_t size;
		uint32_t block_size;
		uint32_t logical, physical; /* sector sizes */
		uint8_t data_id[16];	    /* VHDX: of its contents */
		struct vhdx_items *items;   /* VHDX: its disk's own that we do not know; or NULL */
	} parent; /* differencing only */
	struct vhd_error *err;
};

/* All of @length bytes at @offset, or fills err and returns -errno. */
int vhd_create_write(const struct create_context *create, const void *bytes, size_t length,
		     uint64_t offset);

/* Makes the file @length bytes long, with space reserved if that is wanted. */
int vhd_create_extend(const struct create_context *create, uint64_t length, bool reserve);

/* What a child takes from its parent, which is opened for that: fills create->parent and,
 * where they are not given, size and block size of @options. 0, -errno or enum vhd_fault. */
int vhd_create_parent_find(struct create_context *create, struct vhd_create_options *options);
void vhd_create_parent_free(struct create_context *create);

/* A random UUID (version 4), bytes in RFC 4122 order. */
void vhd_random_id(uint8_t *id);

/* @prefix and @path the way Windows writes them, "/" turned round: UTF-16LE in the
 * @size bytes, how many of them; 0: it does not fit or is not UTF-8. */
size_t vhd_windows_encode(const char *prefix, const char *path, uint8_t *bytes, size_t size);

/* Each fills the new file. 0 or -errno. */
int vhd_raw_create(const struct create_context *create);
int vhd_vhd_create(const struct create_context *create);
int vhd_vhdx_create(const struct create_context *create);

#endif
