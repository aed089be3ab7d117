/* SPDX-License-Identifier: MIT */
/* What the formats tell vhd_check(). */
#ifndef LIBVHD_CHECK_H
#define LIBVHD_CHECK_H

#include <vhd/maintain.h>

#include "image.h"

/* Counts the finding and tells it. */
void vhd_check_found(struct vhd_check *check, enum vhd_finding finding, const char *text);
void vhd_check_tell(struct vhd_check *check, enum vhd_finding finding, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Tells a wrong entry of the block table, of which there may be millions. @opaque is the
 * struct vhd_check. */
void vhd_check_entry(void *opaque, const char *text);

/* Tells the leaks among the layer's spaces: the gaps that a block of @block_size bytes
 * (with what belongs to it) would find room in, and what lies between the last of them
 * and @file_end. -errno. */
int vhd_check_spaces(struct vhd_check *check, const struct vhd_layer *layer, uint64_t slot,
		     uint64_t file_end);

#endif
