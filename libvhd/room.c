/* SPDX-License-Identifier: MIT */
#include "room.h"

#include <errno.h>
#include <sys/mman.h>

void *vhd_room_init(struct room *room, size_t size, size_t most)
{
	void *base = mmap(NULL, most, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			  0);

	if (base == MAP_FAILED)
		return NULL;
	*room = (struct room){ base, most };
	if (vhd_room_grow(room, size)) {
		vhd_room_fini(room);
		return NULL;
	}
	return base;
}

int vhd_room_grow(struct room *room, size_t size)
{
	if (size > room->reserved || mprotect(room->base, size, PROT_READ | PROT_WRITE) < 0)
		return -ENOMEM;
	return 0;
}

void vhd_room_fini(struct room *room)
{
	if (room->base)
		munmap(room->base, room->reserved);
	*room = (struct room){ 0 };
}
