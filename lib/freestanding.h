/* SPDX-License-Identifier: MIT */
/* What code that also runs on bare metal takes instead of <errno.h> and
 * <string.h>: Linux' error numbers, and the two calls every compiler expects. */
#ifndef FREESTANDING_H
#define FREESTANDING_H

#include <stddef.h>

enum {
	FREE_EIO = 5,
	FREE_EAGAIN = 11,
	FREE_EINVAL = 22,
	FREE_ENOSPC = 28,
	FREE_EMSGSIZE = 90,
	FREE_ENOBUFS = 105,
};

static inline void free_copy(void *to, const void *from, size_t len)
{
	(void)__builtin_memcpy(to, from, len);
}

static inline void free_zero(void *to, size_t len)
{
	(void)__builtin_memset(to, 0, len);
}

#endif
