/* SPDX-License-Identifier: MIT */
/* A second reader of VHDX, for chains that no other program on Linux reads: as simple as
 * can be, from the specification's text, with nothing of libvhd in it. */
#ifndef TESTS_LIBVHD_PLAIN_VHDX_H
#define TESTS_LIBVHD_PLAIN_VHDX_H

#include <stddef.h>
#include <stdint.h>

/* Reads the first @size bytes of the disk in @paths[0], whose parent is @paths[1] and so
 * on, @count of them, all closed properly. What no image holds is zeros. NULL, or what
 * is wrong with a file. */
const char *plain_vhdx_read(const char *const *paths, unsigned count, uint8_t *buf, size_t size);

#endif
