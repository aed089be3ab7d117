/* SPDX-License-Identifier: MIT */
#ifndef LIBVHD_VHD_LOCATOR_H
#define LIBVHD_VHD_LOCATOR_H

#include "create.h"
#include "vhd-format.h"

/* Room for all the locators' paths. */
enum { VHD_LOCATORS_MAX = 3 * VHD_LOCATOR_MAX };

/* Fills the fields of @header that tell the parent, its paths being at @place in the
 * file: the VHD_LOCATORS_MAX bytes at @bytes get them. Returns their length; 0: the
 * parent's name has no form in UTF-16, or is too long. */
size_t vhd_locators_build(const struct create_parent *parent, struct vhd_header *header,
			  uint64_t place, uint8_t *bytes);

#endif
