/* SPDX-License-Identifier: MIT */
/* Guest memory. The VMM names its regions; everything else reaches guest
 * bytes through the types of this header, of which none lets a parser look at
 * memory that the guest can still change:
 *
 *   struct vmbus_view   an immutable snapshot of the regions
 *   struct vmbus_span   guest bytes as a private list of page numbers: there
 *                       is no pointer in it
 *
 * Guest bytes are copied out (vmbus_view_read, vmbus_span_read), or pinned into
 * iovecs that go to the kernel unread (vmbus_span_pin).
 *
 * Threads: regions are added and removed in one thread; views are taken and
 * used in any. A reader holds a view while it works, so memory is never let go
 * under running I/O: vmbus_mem_remove() says when the last view of the old
 * layout is gone. */
#ifndef VMBUS_MEMORY_H
#define VMBUS_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <vmbus/fault.h>
#include <vmbus/ring.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmbus_mem;
struct vmbus_view;

#define VMBUS_REGION_READONLY 0x1u /* the guest may not write there: neither do we */

/* The memory stays the caller's; it must stay mapped until the region is
 * removed and the removal's done() was called. Page aligned throughout. A file
 * behind it must be mapped MAP_SHARED at @host, and must not get shorter (seal a
 * memfd with F_SEAL_SHRINK): touching a page that is gone is a SIGBUS. */
struct vmbus_region {
	size_t size; /* sizeof this struct */
	uint64_t gpa;
	uint64_t len; /* bytes */
	void *host;   /* where the caller has it mapped */
	int fd;       /* file behind it, or -1: with an fd rings are mapped contiguously */
	uint64_t fd_offset;
	uint32_t flags; /* VMBUS_REGION_* */
};
#define VMBUS_REGION_INIT { .size = sizeof(struct vmbus_region), .fd = -1 }

/* Counted; starts with one reference and no region. NULL when out of memory. */
VMBUS_API struct vmbus_mem *vmbus_mem_new(void);
VMBUS_API struct vmbus_mem *vmbus_mem_ref(struct vmbus_mem *mem);
VMBUS_API void vmbus_mem_unref(struct vmbus_mem *mem);

/* Adds a region. The fd is duplicated. A server on this memory must be told, here and
 * after a removal: vmbus_server_memory_changed() (backends/kvm does it). Returns 0; -EINVAL (not page aligned,
 * empty, past 2^52, no host address); -EEXIST (overlaps a region); -ENOSPC (more
 * than 64 regions); -ENOMEM; or the errno of dup(). */
VMBUS_API int vmbus_mem_add(struct vmbus_mem *mem, const struct vmbus_region *region) VMBUS_MUST_CHECK;

/* Removes the region that starts at @gpa: from here on nobody finds it. @done
 * (may be NULL) is called once, from the thread that lets go of the last view
 * of the old layout (this one, if there is none): then the memory may be
 * unmapped. An open channel holds its view while it sleeps: without
 * vmbus_server_memory_changed() that may be for ever. Returns 0; -ENOENT; -EBUSY (a GPADL that the guest still holds lies in
 * it: the guest must close first); -ENOMEM. */
VMBUS_API int vmbus_mem_remove(struct vmbus_mem *mem, uint64_t gpa, void (*done)(void *opaque),
			       void *opaque) VMBUS_MUST_CHECK;

/* Keep the pages of a GPADL from being removed, and let go of them again. Used
 * by the server. @pin returns 0, or VMBUS_FAULT_BAD_GPA if a page is not in
 * guest memory. */
VMBUS_API int vmbus_mem_pin_pages(struct vmbus_mem *mem, const uint64_t *pfns, size_t count)
	VMBUS_MUST_CHECK;
VMBUS_API void vmbus_mem_unpin_pages(struct vmbus_mem *mem, const uint64_t *pfns, size_t count);

/* Today's layout, with a reference. Any thread. Never NULL. */
VMBUS_API struct vmbus_view *vmbus_mem_view(struct vmbus_mem *mem);
VMBUS_API void vmbus_view_unref(struct vmbus_view *view);

/* Whether the regions changed since @view was taken: one atomic load. */
VMBUS_API bool vmbus_view_stale(const struct vmbus_view *view);

/* The host address of one guest page, or NULL if it is not in guest memory (or
 * read-only there and @write). Valid while @view is held. For the memory that
 * is shared by design (rings, SynIC pages): accesses there are atomic. */
VMBUS_API void *vmbus_view_page(const struct vmbus_view *view, uint64_t pfn, bool write);

/* Copies between guest memory and private memory; any alignment, across pages
 * and regions. Each guest byte is read at most once. Return 0, or
 * VMBUS_FAULT_BAD_GPA with nothing copied. */
VMBUS_API int vmbus_view_read(const struct vmbus_view *view, uint64_t gpa, void *dst, size_t len)
	VMBUS_MUST_CHECK;
VMBUS_API int vmbus_view_write(const struct vmbus_view *view, uint64_t gpa, const void *src, size_t len)
	VMBUS_MUST_CHECK;

/* Guest bytes: @len of them from @offset in the first page of @pfns on. The
 * list is private memory, already copied from the guest. */
struct vmbus_span {
	const uint64_t *pfns;
	uint32_t offset; /* < 4096 */
	uint32_t len;
};

/* Pages that a span touches. */
static inline uint32_t vmbus_span_pages(uint32_t offset, uint32_t len)
{
	return (uint32_t)(((uint64_t)offset + len + VMBUS_PAGE_SIZE - 1) >> VMBUS_PAGE_SHIFT);
}

/* Copy @len bytes from or to byte @at of the span. Return 0, or
 * VMBUS_FAULT_BAD_GPA (outside guest memory, or past the span's end) with nothing copied. */
VMBUS_API int vmbus_span_read(const struct vmbus_view *view, const struct vmbus_span *span, uint32_t at,
			      void *dst, size_t len) VMBUS_MUST_CHECK;
VMBUS_API int vmbus_span_write(const struct vmbus_view *view, const struct vmbus_span *span, uint32_t at,
			       const void *src, size_t len) VMBUS_MUST_CHECK;

/* Fills @iov with the @len bytes from byte @at of the span on, neighbouring
 * pages merged. @write: the host will write there. @iov needs room for
 * vmbus_span_pages() entries. Returns 0 and the number of iovecs in @count, or
 * VMBUS_FAULT_BAD_GPA. Nothing may branch on the bytes behind the iovecs; they
 * are valid while @view is held. */
VMBUS_API int vmbus_span_pin(const struct vmbus_view *view, const struct vmbus_span *span, uint32_t at,
			     uint32_t len, bool write, struct iovec *iov, unsigned int *count)
	VMBUS_MUST_CHECK;

/* Maps one ring: @pfns[0] is the control page, the rest the data. Where every
 * page lies in regions with an fd the data is mapped contiguously and twice in
 * a row (wrap-around costs nothing), otherwise it is reached page by page
 * where the caller has it: same behaviour. @paged forces the second form (tests).
 * No view is held, or no memory could be removed while a channel is open: the
 * pages must be pinned (vmbus_mem_pin_pages) until vmbus_ring_unmap(). Returns 0;
 * VMBUS_FAULT_BAD_RING (fewer than 2 pages, or more than 1 GiB), VMBUS_FAULT_BAD_GPA; -ENOMEM. */
VMBUS_API int vmbus_ring_map(const struct vmbus_view *view, const uint64_t *pfns, uint32_t pages, bool paged,
			     struct vmbus_ring_memory *ring) VMBUS_MUST_CHECK;
VMBUS_API void vmbus_ring_unmap(struct vmbus_ring_memory *ring);

#ifdef __cplusplus
}
#endif
#endif
