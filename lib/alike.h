/* SPDX-License-Identifier: MIT */
/* Is memory all one byte? */
#ifndef LIB_ALIKE_H
#define LIB_ALIKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* @length is not 0. Each byte is compared with the one before it, by memcmp()'s speed. */
static inline bool bytes_are(const void *p, size_t length, uint8_t value)
{
	const uint8_t *bytes = p;

	return bytes[0] == value && memcmp(bytes, bytes + 1, length - 1) == 0;
}

#endif
