/* SPDX-License-Identifier: MIT */
/* A ring's pages made reachable: mapped twice in a row from the files behind
 * them, or listed page by page. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "memory-view.h"

/* Positions in a ring mapped twice are below 2 * size and have 32 bits. */
#define RING_PAGES_MAX (1u << 18)

/* A guest with scattered rings must not use up the process' mappings (65530 by
 * default): one with more runs than this is reached page by page. */
#define RING_RUNS_MAX 8u

struct ring_map {
	uint8_t *base; /* 2 * size bytes, or NULL */
	size_t size;
	uint8_t *pages[]; /* of the data */
};

/* The length of the run of pages from @pfns on that follow each other in one file;
 * 0 if the first has no file. */
static uint32_t run_length(const struct vmbus_view *view, const uint64_t *pfns, uint32_t pages, int *fd,
			   uint64_t *offset)
{
	uint64_t next;
	uint32_t n;
	int other;

	if (!vmbus_view_file(view, pfns[0], fd, offset))
		return 0;
	for (n = 1; n < pages; n++)
		if (!vmbus_view_file(view, pfns[n], &other, &next) || other != *fd ||
		    next != *offset + (uint64_t)n * VMBUS_PAGE_SIZE)
			break;
	return n;
}

static bool run_map(uint8_t *at, size_t len, int fd, uint64_t offset)
{
	return mmap(at, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, (off_t)offset) !=
	       MAP_FAILED;
}

static bool runs_map(const struct vmbus_view *view, struct ring_map *map, const uint64_t *pfns,
		     uint32_t pages)
{
	uint32_t done = 0;

	for (uint32_t runs = 0; done < pages && runs < RING_RUNS_MAX; runs++) {
		uint64_t offset;
		int fd;
		uint32_t n = run_length(view, pfns + done, pages - done, &fd, &offset);
		uint8_t *at = map->base + (size_t)done * VMBUS_PAGE_SIZE;
		size_t len = (size_t)n * VMBUS_PAGE_SIZE;

		if (n == 0 || !run_map(at, len, fd, offset) || !run_map(at + map->size, len, fd, offset))
			return false;
		done += n;
	}
	return done == pages;
}

/* Maps the data twice in a row if that can be done; only a lack of address space
 * is an error. */
static int data_map(const struct vmbus_view *view, struct ring_map *map, const uint64_t *pfns, uint32_t pages)
{
	void *base = mmap(NULL, 2 * map->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (base == MAP_FAILED)
		return -ENOMEM;
	map->base = base;
	if (!runs_map(view, map, pfns, pages)) {
		munmap(base, 2 * map->size);
		map->base = NULL;
	}
	return 0;
}

int vmbus_ring_map(const struct vmbus_view *view, const uint64_t *pfns, uint32_t pages, bool paged,
		   struct vmbus_ring_memory *ring)
{
	uint32_t data_pages = pages - 1;
	struct ring_map *map;
	void *control;

	if (pages < 2 || data_pages > RING_PAGES_MAX)
		return VMBUS_FAULT_BAD_RING;
	control = vmbus_view_page(view, pfns[0], true);
	if (!control)
		return VMBUS_FAULT_BAD_GPA;
	map = calloc(1, sizeof(*map) + data_pages * sizeof(map->pages[0]));
	if (!map)
		return -ENOMEM;
	map->size = (size_t)data_pages * VMBUS_PAGE_SIZE;
	for (uint32_t i = 0; i < data_pages; i++) {
		map->pages[i] = vmbus_view_page(view, pfns[i + 1], true);
		if (!map->pages[i]) {
			free(map);
			return VMBUS_FAULT_BAD_GPA;
		}
	}
	if (!paged && data_map(view, map, pfns + 1, data_pages)) {
		free(map);
		return -ENOMEM;
	}
	*ring = (struct vmbus_ring_memory){
		.control = control,
		.data = map->base,
		.pages = map->pages,
		.size = (uint32_t)map->size,
		.owner = map,
	};
	return 0;
}

void vmbus_ring_unmap(struct vmbus_ring_memory *ring)
{
	struct ring_map *map = ring->owner;

	if (!map)
		return;
	if (map->base)
		munmap(map->base, 2 * map->size);
	free(map);
	memset(ring, 0, sizeof(*ring));
}
