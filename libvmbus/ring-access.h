/* SPDX-License-Identifier: MIT */
/* What both ends of a ring share: index arithmetic, and reaching the bytes at
 * a position whether the ring is mapped twice in a row or page by page. */
#ifndef LIBVMBUS_RING_ACCESS_H
#define LIBVMBUS_RING_ACCESS_H

#include <errno.h>

#include <vmbus/ring.h>

#include "barrier.h"

/* A ring with no byte left would look empty. */
#define RING_GAP 8u

/* Bytes from @out to @in, going up; both are < @size. */
static inline uint32_t ring_distance(uint32_t size, uint32_t out, uint32_t in)
{
	return in >= out ? in - out : size - (out - in);
}

static inline uint32_t ring_advance(uint32_t size, uint32_t at, uint32_t bytes)
{
	at += bytes;
	return at >= size ? at - size : at;
}

/* Loads the peer's index once, and checks what was loaded. */
static inline int ring_load_index(const uint32_t *word, uint32_t size, uint32_t *index)
{
	uint32_t raw = shared_load_acquire(word);

	if (__builtin_expect(raw >= size || raw % 8 != 0, 0))
		return VMBUS_FAULT_BAD_INDEX;
	*index = raw;
	return 0;
}

/* Where the 8 bytes at @at lie; @at is a multiple of 8, so they are in one page. */
static inline uint8_t *ring_word(const struct vmbus_ring_memory *mem, uint32_t at)
{
	if (mem->data)
		return mem->data + at;
	return mem->pages[at >> VMBUS_PAGE_SHIFT] + at % VMBUS_PAGE_SIZE;
}

/* The part of @len bytes at @at that lies in one page. */
static inline uint32_t ring_chunk(uint32_t at, uint32_t len)
{
	uint32_t room = VMBUS_PAGE_SIZE - at % VMBUS_PAGE_SIZE;

	return len < room ? len : room;
}

#endif
