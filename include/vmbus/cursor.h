/* SPDX-License-Identifier: MIT */
/* A cursor reads host-private bytes, and nothing else: parsers take cursors,
 * so no parser can look at guest memory. Getters advance; they return false
 * and leave the cursor alone when too little is left. */
#ifndef VMBUS_CURSOR_H
#define VMBUS_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmbus_cursor {
	const uint8_t *data;
	size_t len;
};

static inline struct vmbus_cursor vmbus_cursor_of(const void *data, size_t len)
{
	struct vmbus_cursor c = {(const uint8_t *)data, len};

	return c;
}

static inline bool vmbus_cursor_get(struct vmbus_cursor *c, void *out, size_t size)
{
	if (size > c->len)
		return false;
	__builtin_memcpy(out, c->data, size);
	c->data += size;
	c->len -= size;
	return true;
}

/* The next @size bytes as a cursor of their own, so that an inner parser
 * cannot see what follows them. */
static inline bool vmbus_cursor_child(struct vmbus_cursor *c, struct vmbus_cursor *child, size_t size)
{
	if (size > c->len)
		return false;
	child->data = c->data;
	child->len = size;
	c->data += size;
	c->len -= size;
	return true;
}

#ifdef __cplusplus
}
#endif
#endif
