/* SPDX-License-Identifier: MIT */
#ifndef LIBVHD_VHD_LOCATOR_H
#define LIBVHD_VHD_LOCATOR_H

#include "create.h"
#include "vhd-format.h"

/* Fills the fields of @header that tell the parent, and writes the locators' paths
 * to the new file from *@end on, which moves behind them. 0 or -errno. */
int vhd_locators_create(const struct create_context *create, struct vhd_header *header,
			uint64_t *end);

#endif
