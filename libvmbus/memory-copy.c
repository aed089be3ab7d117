/* SPDX-License-Identifier: MIT */
/* Guest bytes: copied between guest and private memory, or listed as iovecs.
 * Everything is looked up before the first byte moves, so that a bad address
 * leaves nothing half done; views do not change, so both walks see the same. */
#include <string.h>

#include <vmbus/memory.h>

#include "barrier.h"

/* The part of @len bytes at @at that lies in one page. */
static size_t page_part(uint64_t at, uint64_t len)
{
	uint64_t room = VMBUS_PAGE_SIZE - at % VMBUS_PAGE_SIZE;

	return (size_t)(len < room ? len : room);
}

static int gpa_check(const struct vmbus_view *view, uint64_t gpa, size_t len, bool write)
{
	uint64_t pfn = gpa >> VMBUS_PAGE_SHIFT, last;

	if (len == 0)
		return 0;
	if (len - 1 > UINT64_MAX - gpa)
		return VMBUS_FAULT_BAD_GPA;
	/* ends at the first page that is missing, so at most at the end of guest memory */
	for (last = (gpa + (len - 1)) >> VMBUS_PAGE_SHIFT; pfn <= last; pfn++)
		if (!vmbus_view_page(view, pfn, write))
			return VMBUS_FAULT_BAD_GPA;
	return 0;
}

int vmbus_view_read(const struct vmbus_view *view, uint64_t gpa, void *dst, size_t len)
{
	uint8_t *next = dst;

	if (gpa_check(view, gpa, len, false))
		return VMBUS_FAULT_BAD_GPA;
	while (len > 0) {
		const uint8_t *page = vmbus_view_page(view, gpa >> VMBUS_PAGE_SHIFT, false);
		size_t part = page_part(gpa, len);

		shared_copy_out(next, page + gpa % VMBUS_PAGE_SIZE, part);
		next += part;
		gpa += part;
		len -= part;
	}
	return 0;
}

int vmbus_view_write(const struct vmbus_view *view, uint64_t gpa, const void *src, size_t len)
{
	const uint8_t *next = src;

	if (gpa_check(view, gpa, len, true))
		return VMBUS_FAULT_BAD_GPA;
	while (len > 0) {
		uint8_t *page = vmbus_view_page(view, gpa >> VMBUS_PAGE_SHIFT, true);
		size_t part = page_part(gpa, len);

		memcpy(page + gpa % VMBUS_PAGE_SIZE, next, part);
		next += part;
		gpa += part;
		len -= part;
	}
	return 0;
}

static int span_check(const struct vmbus_view *view, const struct vmbus_span *span, uint64_t at,
		      uint64_t len, bool write)
{
	if (at > span->len || len > span->len - at)
		return VMBUS_FAULT_BAD_GPA;
	if (len == 0)
		return 0;
	at += span->offset;
	for (uint64_t i = at >> VMBUS_PAGE_SHIFT; i <= (at + len - 1) >> VMBUS_PAGE_SHIFT; i++)
		if (!vmbus_view_page(view, span->pfns[i], write))
			return VMBUS_FAULT_BAD_GPA;
	return 0;
}

/* The bytes of a span that are @at bytes behind the start of its first page. */
static uint8_t *span_bytes(const struct vmbus_view *view, const struct vmbus_span *span, uint64_t at,
			   bool write)
{
	uint8_t *page = vmbus_view_page(view, span->pfns[at >> VMBUS_PAGE_SHIFT], write);

	return page + at % VMBUS_PAGE_SIZE;
}

int vmbus_span_read(const struct vmbus_view *view, const struct vmbus_span *span, uint32_t at,
		    void *dst, size_t len)
{
	uint64_t from = (uint64_t)span->offset + at;
	uint8_t *next = dst;

	if (span_check(view, span, at, len, false))
		return VMBUS_FAULT_BAD_GPA;
	while (len > 0) {
		size_t part = page_part(from, len);

		shared_copy_out(next, span_bytes(view, span, from, false), part);
		next += part;
		from += part;
		len -= part;
	}
	return 0;
}

int vmbus_span_write(const struct vmbus_view *view, const struct vmbus_span *span, uint32_t at,
		     const void *src, size_t len)
{
	uint64_t to = (uint64_t)span->offset + at;
	const uint8_t *next = src;

	if (span_check(view, span, at, len, true))
		return VMBUS_FAULT_BAD_GPA;
	while (len > 0) {
		size_t part = page_part(to, len);

		memcpy(span_bytes(view, span, to, true), next, part);
		next += part;
		to += part;
		len -= part;
	}
	return 0;
}

int vmbus_span_pin(const struct vmbus_view *view, const struct vmbus_span *span, uint32_t at,
		   uint32_t len, bool write, struct iovec *iov, unsigned int *count)
{
	uint64_t from = (uint64_t)span->offset + at, left = len;
	unsigned int n = 0;

	*count = 0;
	if (at > span->len || len > span->len - at)
		return VMBUS_FAULT_BAD_GPA;
	while (left > 0) {
		uint8_t *page = vmbus_view_page(view, span->pfns[from >> VMBUS_PAGE_SHIFT], write);
		size_t part = page_part(from, left);
		uint8_t *bytes;

		if (!page)
			return VMBUS_FAULT_BAD_GPA;
		bytes = page + from % VMBUS_PAGE_SIZE;
		if (n > 0 && (uint8_t *)iov[n - 1].iov_base + iov[n - 1].iov_len == bytes)
			iov[n - 1].iov_len += part;
		else
			iov[n++] = (struct iovec){.iov_base = bytes, .iov_len = part};
		from += part;
		left -= part;
	}
	*count = n;
	return 0;
}
