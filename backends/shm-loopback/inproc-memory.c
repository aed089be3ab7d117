/* SPDX-License-Identifier: MIT */
/* Guest RAM of the in-process fixture: one memfd, seen by the guest in two pieces
 * below and above 4 GiB. Pages are handed out from anywhere, so that lists of them
 * are never in order; a page taken back is filled with a pattern that must stay. */
#define _GNU_SOURCE /* memfd_create */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "inproc-private.h"

#define LOW_PFN 0x100ull     /* 1 MiB */
#define HIGH_PFN 0x100000ull /* 4 GiB */
#define PATTERN 0xdb

static uint64_t page_pfn(const struct vmbus_inproc *bus, uint32_t page)
{
	return page < bus->low_pages ? LOW_PFN + page : HIGH_PFN + (page - bus->low_pages);
}

/* Returns bus->pages if it is not RAM. */
static uint32_t pfn_page(const struct vmbus_inproc *bus, uint64_t pfn)
{
	if (pfn >= LOW_PFN && pfn - LOW_PFN < bus->low_pages)
		return (uint32_t)(pfn - LOW_PFN);
	if (pfn >= HIGH_PFN && pfn - HIGH_PFN < bus->pages - bus->low_pages)
		return (uint32_t)(pfn - HIGH_PFN) + bus->low_pages;
	return bus->pages;
}

static int region_add(struct vmbus_inproc *bus, uint32_t first, uint32_t count)
{
	struct vmbus_region region = VMBUS_REGION_INIT;

	region.gpa = page_pfn(bus, first) << VMBUS_PAGE_SHIFT;
	region.len = (uint64_t)count << VMBUS_PAGE_SHIFT;
	region.fd_offset = (uint64_t)first << VMBUS_PAGE_SHIFT;
	region.host = bus->ram + region.fd_offset;
	region.fd = bus->ram_fd;
	return vmbus_mem_add(bus->mem, &region);
}

int vmbus_inproc_memory_init(struct vmbus_inproc *bus)
{
	size_t size = bus->config.memory & ~(uint64_t)(2 * VMBUS_PAGE_SIZE - 1);
	int err;

	bus->pages = (uint32_t)(size >> VMBUS_PAGE_SHIFT);
	bus->low_pages = bus->pages / 2;
	bus->ram_fd = memfd_create("vmbus-inproc", MFD_CLOEXEC);
	if (bus->ram_fd < 0 || ftruncate(bus->ram_fd, (off_t)size))
		return -errno;
	bus->ram = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bus->ram_fd, 0);
	if (bus->ram == MAP_FAILED) {
		bus->ram = NULL;
		return -errno;
	}
	bus->page_states = calloc(bus->pages, 1);
	bus->mem = vmbus_mem_new();
	if (!bus->page_states || !bus->mem)
		return -ENOMEM;
	err = region_add(bus, 0, bus->low_pages);
	if (!err)
		err = region_add(bus, bus->low_pages, bus->pages - bus->low_pages);
	if (!err)
		bus->view = vmbus_mem_view(bus->mem);
	return err;
}

void vmbus_inproc_memory_fini(struct vmbus_inproc *bus)
{
	if (bus->view)
		vmbus_view_unref(bus->view);
	if (bus->mem)
		vmbus_mem_unref(bus->mem);
	if (bus->ram)
		(void)munmap(bus->ram, (size_t)bus->pages << VMBUS_PAGE_SHIFT);
	if (bus->ram_fd >= 0)
		(void)close(bus->ram_fd);
	free(bus->page_states);
}

static uint8_t *page_bytes(const struct vmbus_inproc *bus, uint32_t page)
{
	return bus->ram + ((size_t)page << VMBUS_PAGE_SHIFT);
}

void *vmbus_inproc_page(struct vmbus_inproc *bus, uint64_t pfn)
{
	uint32_t page = pfn_page(bus, pfn);

	return page < bus->pages ? page_bytes(bus, page) : NULL;
}

/* The pattern must still be whole. */
static void page_check(struct vmbus_inproc *bus, uint32_t page)
{
	const uint8_t *bytes = page_bytes(bus, page);

	if (bus->page_states[page] != PAGE_TAKEN_BACK)
		return;
	if (bytes[0] != PATTERN || memcmp(bytes, bytes + 1, VMBUS_PAGE_SIZE - 1) != 0)
		vmbus_inproc_fail(bus, "page 0x%llx was written after the guest took it back",
				  (unsigned long long)page_pfn(bus, page));
}

static bool page_is_free(const struct vmbus_inproc *bus, uint32_t page)
{
	return bus->page_states[page] == PAGE_FREE || bus->page_states[page] == PAGE_TAKEN_BACK;
}

/* Any free page, the next one up from a random place. Returns bus->pages if all are used. */
static uint32_t page_find(struct vmbus_inproc *bus)
{
	uint32_t start = vmbus_inproc_random(bus, bus->pages);

	for (uint32_t i = 0; i < bus->pages; i++)
		if (page_is_free(bus, (start + i) % bus->pages))
			return (start + i) % bus->pages;
	return bus->pages;
}

static uint64_t page_take(struct vmbus_inproc *bus, uint32_t page, enum page_state state)
{
	page_check(bus, page);
	memset(page_bytes(bus, page), 0, VMBUS_PAGE_SIZE);
	bus->page_states[page] = (uint8_t)state;
	return page_pfn(bus, page);
}

int vmbus_inproc_memory_alloc(struct vmbus_inproc *bus, uint32_t pages, uint64_t *pfns,
			      enum page_state state)
{
	for (uint32_t i = 0; i < pages; i++) {
		uint32_t page = page_find(bus);

		if (page == bus->pages) {
			vmbus_inproc_release(bus, i, pfns);
			return -ENOMEM;
		}
		pfns[i] = page_take(bus, page, state);
	}
	return 0;
}

/* The start of @pages free ones in a row; bus->pages if there are none. */
static uint32_t run_find(const struct vmbus_inproc *bus, uint32_t pages)
{
	uint32_t run = 0;

	for (uint32_t i = 0; i < bus->pages; i++) {
		run = page_is_free(bus, i) ? run + 1 : 0;
		if (run == pages)
			return i + 1 - pages;
	}
	return bus->pages;
}

int vmbus_inproc_memory_alloc_run(struct vmbus_inproc *bus, uint32_t pages, uint64_t *pfns)
{
	uint32_t start = run_find(bus, pages);

	if (start == bus->pages)
		return vmbus_inproc_alloc(bus, pages, pfns);
	for (uint32_t i = 0; i < pages; i++)
		pfns[i] = page_take(bus, start + i, PAGE_USED);
	return 0;
}

int vmbus_inproc_alloc(struct vmbus_inproc *bus, uint32_t pages, uint64_t *pfns)
{
	return vmbus_inproc_memory_alloc(bus, pages, pfns, PAGE_USED);
}

static void page_take_back(struct vmbus_inproc *bus, uint32_t page)
{
	memset(page_bytes(bus, page), PATTERN, VMBUS_PAGE_SIZE);
	bus->page_states[page] = PAGE_TAKEN_BACK;
}

void vmbus_inproc_release(struct vmbus_inproc *bus, uint32_t pages, const uint64_t *pfns)
{
	for (uint32_t i = 0; i < pages; i++) {
		uint32_t page = pfn_page(bus, pfns[i]);

		if (page < bus->pages && bus->page_states[page] == PAGE_USED)
			page_take_back(bus, page);
	}
}

void vmbus_inproc_memory_limbo(struct vmbus_inproc *bus)
{
	for (uint32_t i = 0; i < bus->pages; i++)
		if (bus->page_states[i] == PAGE_USED)
			bus->page_states[i] = PAGE_LIMBO;
	bus->limbo = true;
}

void vmbus_inproc_memory_limbo_end(struct vmbus_inproc *bus)
{
	if (!bus->limbo)
		return;
	bus->limbo = false;
	for (uint32_t i = 0; i < bus->pages; i++)
		if (bus->page_states[i] == PAGE_LIMBO)
			page_take_back(bus, i);
}

void vmbus_inproc_memory_check(struct vmbus_inproc *bus)
{
	for (uint32_t i = 0; i < bus->pages; i++)
		page_check(bus, i);
}
