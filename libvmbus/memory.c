/* SPDX-License-Identifier: MIT */
/* The layout of guest memory. A view is an immutable sorted array, replaced as a
 * whole; what is behind a region (its fd, the caller's wish to hear of its end)
 * is counted by the views that list it. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory-view.h"

#define REGIONS_MAX 64u
#define GPA_LIMIT (1ull << 52)

/* What outlives a view. */
struct backing {
	unsigned int refs; /* views that list it */
	int fd;            /* ours, or -1 */
	uint64_t fd_offset;
	uint64_t pins; /* under the mem's lock */
	void (*done)(void *opaque);
	void *opaque;
};

struct region {
	uint64_t pfn, pages;
	uint8_t *host;
	uint32_t flags;
	struct backing *backing;
};

struct vmbus_view {
	unsigned int refs;
	bool stale;
	unsigned int count;
	struct region regions[]; /* by pfn, ascending; they do not overlap */
};

struct vmbus_mem {
	unsigned int refs;
	pthread_mutex_t lock; /* the two below, and the pins of all backings */
	struct vmbus_view *view;
};

/* -- Counting ------------------------------------------------------------- */

static void ref_get(unsigned int *refs)
{
	(void)__atomic_add_fetch(refs, 1, __ATOMIC_RELAXED);
}

/* Whether it was the last one. */
static bool ref_put(unsigned int *refs)
{
	return __atomic_sub_fetch(refs, 1, __ATOMIC_ACQ_REL) == 0;
}

static void backing_put(struct backing *backing)
{
	if (!ref_put(&backing->refs))
		return;
	if (backing->fd >= 0)
		close(backing->fd);
	if (backing->done)
		backing->done(backing->opaque);
	free(backing);
}

static struct vmbus_view *view_get(struct vmbus_view *view)
{
	ref_get(&view->refs);
	return view;
}

void vmbus_view_unref(struct vmbus_view *view)
{
	if (!view || !ref_put(&view->refs))
		return;
	for (unsigned int i = 0; i < view->count; i++)
		backing_put(view->regions[i].backing);
	free(view);
}

bool vmbus_view_stale(const struct vmbus_view *view)
{
	return __atomic_load_n(&view->stale, __ATOMIC_ACQUIRE);
}

struct vmbus_mem *vmbus_mem_new(void)
{
	struct vmbus_mem *mem = calloc(1, sizeof(*mem));
	struct vmbus_view *view = calloc(1, sizeof(*view));

	if (!mem || !view) {
		free(mem);
		free(view);
		return NULL;
	}
	view->refs = 1;
	mem->refs = 1;
	mem->view = view;
	pthread_mutex_init(&mem->lock, NULL);
	return mem;
}

struct vmbus_mem *vmbus_mem_ref(struct vmbus_mem *mem)
{
	ref_get(&mem->refs);
	return mem;
}

void vmbus_mem_unref(struct vmbus_mem *mem)
{
	if (!mem || !ref_put(&mem->refs))
		return;
	vmbus_view_unref(mem->view);
	pthread_mutex_destroy(&mem->lock);
	free(mem);
}

struct vmbus_view *vmbus_mem_view(struct vmbus_mem *mem)
{
	struct vmbus_view *view;

	pthread_mutex_lock(&mem->lock);
	view = view_get(mem->view);
	pthread_mutex_unlock(&mem->lock);
	return view;
}

/* -- Changing the layout -------------------------------------------------- */

/* The number of regions that lie wholly in front of @pfn. */
static unsigned int region_index(const struct vmbus_view *view, uint64_t pfn)
{
	unsigned int low = 0, high = view->count;

	while (low < high) {
		unsigned int middle = low + (high - low) / 2;
		const struct region *region = &view->regions[middle];

		if (region->pfn + region->pages <= pfn)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* A copy of @old without its regions [@at, @at + @skip), with @insert empty ones in
 * their place. */
static struct vmbus_view *view_edit(const struct vmbus_view *old, unsigned int at, unsigned int skip,
				    unsigned int insert)
{
	unsigned int count = old->count - skip + insert;
	struct vmbus_view *view = calloc(1, sizeof(*view) + count * sizeof(struct region));

	if (!view)
		return NULL;
	view->refs = 1;
	view->count = count;
	memcpy(view->regions, old->regions, at * sizeof(struct region));
	memcpy(view->regions + at + insert, old->regions + at + skip,
	       (old->count - at - skip) * sizeof(struct region));
	for (unsigned int i = 0; i < count; i++)
		if (view->regions[i].backing)
			ref_get(&view->regions[i].backing->refs);
	return view;
}

/* Puts @view in the place of today's. Returns the old one with its reference, to be
 * dropped without the lock: that may call done(). */
static struct vmbus_view *view_replace(struct vmbus_mem *mem, struct vmbus_view *view)
{
	struct vmbus_view *old = mem->view;

	mem->view = view;
	__atomic_store_n(&old->stale, true, __ATOMIC_RELEASE);
	return old;
}

static bool region_valid(const struct vmbus_region *region)
{
	uint64_t odd = region->gpa | region->len | (uintptr_t)region->host;

	if (region->fd >= 0)
		odd |= region->fd_offset;
	return region->host && region->len > 0 && odd % VMBUS_PAGE_SIZE == 0 &&
	       region->gpa < GPA_LIMIT && region->len <= GPA_LIMIT - region->gpa &&
	       (region->fd < 0 || region->fd_offset <= INT64_MAX - region->len);
}

static int backing_new(const struct vmbus_region *region, struct backing **result)
{
	struct backing *backing = calloc(1, sizeof(*backing));

	if (!backing)
		return -ENOMEM;
	backing->refs = 1;
	backing->fd = -1;
	backing->fd_offset = region->fd_offset;
	if (region->fd >= 0) {
		backing->fd = fcntl(region->fd, F_DUPFD_CLOEXEC, 0);
		if (backing->fd < 0) {
			int ret = -errno;

			free(backing);
			return ret;
		}
	}
	*result = backing;
	return 0;
}

/* Makes the view with the region in it. */
static int region_insert(const struct vmbus_view *old, const struct region *region,
			 struct vmbus_view **view)
{
	unsigned int at = region_index(old, region->pfn);

	if (at < old->count && old->regions[at].pfn < region->pfn + region->pages)
		return -EEXIST;
	if (old->count >= REGIONS_MAX)
		return -ENOSPC;
	*view = view_edit(old, at, 0, 1);
	if (!*view)
		return -ENOMEM;
	(*view)->regions[at] = *region;
	return 0;
}

int vmbus_mem_add(struct vmbus_mem *mem, const struct vmbus_region *region)
{
	struct region entry = {
		.pfn = region->gpa >> VMBUS_PAGE_SHIFT,
		.pages = region->len >> VMBUS_PAGE_SHIFT,
		.host = region->host,
		.flags = region->flags,
	};
	struct vmbus_view *view = NULL, *old = NULL;
	int ret;

	if (!region_valid(region))
		return -EINVAL;
	ret = backing_new(region, &entry.backing);
	if (ret)
		return ret;
	pthread_mutex_lock(&mem->lock);
	ret = region_insert(mem->view, &entry, &view);
	if (!ret)
		old = view_replace(mem, view);
	pthread_mutex_unlock(&mem->lock);
	vmbus_view_unref(old);
	if (ret)
		backing_put(entry.backing);
	return ret;
}

static int region_take_out(struct vmbus_mem *mem, uint64_t gpa, void (*done)(void *), void *opaque,
			   struct vmbus_view **old)
{
	unsigned int at = region_index(mem->view, gpa >> VMBUS_PAGE_SHIFT);
	struct region *region = &mem->view->regions[at];
	struct vmbus_view *view;

	if (at == mem->view->count || region->pfn << VMBUS_PAGE_SHIFT != gpa)
		return -ENOENT;
	if (region->backing->pins > 0)
		return -EBUSY;
	view = view_edit(mem->view, at, 1, 0);
	if (!view)
		return -ENOMEM;
	region->backing->done = done;
	region->backing->opaque = opaque;
	*old = view_replace(mem, view);
	return 0;
}

int vmbus_mem_remove(struct vmbus_mem *mem, uint64_t gpa, void (*done)(void *opaque), void *opaque)
{
	struct vmbus_view *old = NULL;
	int ret;

	pthread_mutex_lock(&mem->lock);
	ret = region_take_out(mem, gpa, done, opaque, &old);
	pthread_mutex_unlock(&mem->lock);
	vmbus_view_unref(old);
	return ret;
}

/* -- Looking up ----------------------------------------------------------- */

/* Guests have one or two large regions; the rest are looked for by halving. */
static inline const struct region *region_find(const struct vmbus_view *view, uint64_t pfn)
{
	const struct region *region = view->regions;
	unsigned int at;

	for (at = 0; at < view->count && at < 2; at++, region++)
		if (pfn - region->pfn < region->pages)
			return region;
	if (at == view->count)
		return NULL;
	at = region_index(view, pfn);
	region = &view->regions[at];
	return at < view->count && pfn >= region->pfn ? region : NULL;
}

static inline bool region_allows(const struct region *region, bool write)
{
	return !(write && region->flags & VMBUS_REGION_READONLY);
}

void *vmbus_view_page(const struct vmbus_view *view, uint64_t pfn, bool write)
{
	const struct region *region = region_find(view, pfn);

	if (!region || !region_allows(region, write))
		return NULL;
	return region->host + ((pfn - region->pfn) << VMBUS_PAGE_SHIFT);
}

bool vmbus_view_file(const struct vmbus_view *view, uint64_t pfn, int *fd, uint64_t *offset)
{
	const struct region *region = region_find(view, pfn);

	if (!region || region->backing->fd < 0)
		return false;
	*fd = region->backing->fd;
	*offset = region->backing->fd_offset + ((pfn - region->pfn) << VMBUS_PAGE_SHIFT);
	return true;
}

/* -- Pins ----------------------------------------------------------------- */

static void pages_unpin(const struct vmbus_view *view, const uint64_t *pfns, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct region *region = region_find(view, pfns[i]);

		if (region)
			region->backing->pins--;
	}
}

int vmbus_mem_pin_pages(struct vmbus_mem *mem, const uint64_t *pfns, size_t count)
{
	int ret = 0;

	pthread_mutex_lock(&mem->lock);
	for (size_t i = 0; i < count; i++) {
		const struct region *region = region_find(mem->view, pfns[i]);

		if (!region) {
			pages_unpin(mem->view, pfns, i);
			ret = VMBUS_FAULT_BAD_GPA;
			break;
		}
		region->backing->pins++;
	}
	pthread_mutex_unlock(&mem->lock);
	return ret;
}

void vmbus_mem_unpin_pages(struct vmbus_mem *mem, const uint64_t *pfns, size_t count)
{
	pthread_mutex_lock(&mem->lock);
	pages_unpin(mem->view, pfns, count);
	pthread_mutex_unlock(&mem->lock);
}
