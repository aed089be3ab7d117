/* SPDX-License-Identifier: MIT */
/* For ring-map.c: what lies behind a page of a view. */
#ifndef LIBVMBUS_MEMORY_VIEW_H
#define LIBVMBUS_MEMORY_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include <vmbus/memory.h>

/* The file and the place in it of a page of guest memory; false if there is no
 * such page, or no file behind it. The fd is borrowed while @view is held. */
bool vmbus_view_file(const struct vmbus_view *view, uint64_t pfn, int *fd, uint64_t *offset);

#endif
