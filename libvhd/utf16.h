/* SPDX-License-Identifier: MIT */
/* Windows names in files: UTF-16 of either byte order, to and from UTF-8. */
#ifndef LIBVHD_UTF16_H
#define LIBVHD_UTF16_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum utf16_order { UTF16_LE, UTF16_BE };

/* The text in UTF-8, for free(). It ends at @size bytes or at a zero unit. NULL when
 * it is empty, not valid UTF-16, or memory is out. */
char *vhd_utf16_decode(const uint8_t *bytes, size_t size, enum utf16_order order);

/* Writes @text without a terminator into the @size bytes at @bytes. Returns the
 * number of bytes, 0 when it does not fit or @text is not valid UTF-8. */
size_t vhd_utf16_encode(const char *text, uint8_t *bytes, size_t size, enum utf16_order order);

#endif
