/* SPDX-License-Identifier: MIT */
/* Arrays that grow where they are: their largest size is reserved as address space only, so
 * that who reads them without a lock never sees them move. */
#ifndef LIBVHD_ROOM_H
#define LIBVHD_ROOM_H

#include <stddef.h>

struct room {
	void *base; /* NULL: none */
	size_t reserved;
};

/* @size bytes of zeros, which can become @most. NULL: no memory. */
void *vhd_room_init(struct room *room, size_t size, size_t most);

/* From now on @size bytes, new ones zero. -ENOMEM. */
int vhd_room_grow(struct room *room, size_t size);

void vhd_room_fini(struct room *room);

#endif
