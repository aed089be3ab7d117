/* SPDX-License-Identifier: MIT */
/* The input is the header of a GPA-direct packet. What its ranges name is pinned and
 * read. */
#include <stdlib.h>
#include <string.h>

#include <vmbus/memory.h>

#define PAGES 16u
#define CHECK(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Three regions: 4 pages at 0, 4 at 5 (read-only), 8 at 0x100000, the last in the host's
 * memory in front of the first. */
static struct vmbus_view *view_make(void)
{
	static _Alignas(4096) uint8_t host[PAGES * VMBUS_PAGE_SIZE];
	static const struct {
		uint64_t pfn;
		uint32_t first, pages, flags;
	} parts[] = {{0, 8, 4, 0}, {5, 12, 4, VMBUS_REGION_READONLY}, {0x100000, 0, 8, 0}};
	struct vmbus_mem *mem = vmbus_mem_new();
	struct vmbus_view *view;

	CHECK(mem);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		struct vmbus_region region = VMBUS_REGION_INIT;

		region.gpa = parts[i].pfn << VMBUS_PAGE_SHIFT;
		region.len = parts[i].pages * VMBUS_PAGE_SIZE;
		region.host = host + parts[i].first * VMBUS_PAGE_SIZE;
		region.flags = parts[i].flags;
		CHECK(vmbus_mem_add(mem, &region) == 0);
	}
	view = vmbus_mem_view(mem);
	vmbus_mem_unref(mem);
	return view;
}

static void range_use(const struct vmbus_view *view, const struct vmbus_range *range)
{
	const struct vmbus_span span = {range->pfns, range->offset, range->len};
	struct iovec *iov = malloc(range->pages * sizeof(*iov));
	uint8_t *copy = malloc(range->len < 1 << 20 ? range->len : 1 << 20);
	unsigned int count;
	size_t sum = 0;

	CHECK(iov && copy && range->pages == vmbus_span_pages(range->offset, range->len));
	if (vmbus_span_pin(view, &span, 0, range->len, false, iov, &count) == 0) {
		CHECK(count <= range->pages);
		for (unsigned int i = 0; i < count; i++) {
			sum += iov[i].iov_len;
			CHECK(((uint8_t *)iov[i].iov_base)[iov[i].iov_len - 1] == 0);
		}
		CHECK(sum == range->len);
		CHECK(sum >= 1 << 20 || vmbus_span_read(view, &span, 0, copy, sum) == 0);
		CHECK(vmbus_span_read(view, &span, 1, copy, sum) == VMBUS_FAULT_BAD_GPA);
	}
	free(copy);
	free(iov);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmbus_packet packet = {.type = VMBUS_PACKET_GPA_DIRECT};
	struct vmbus_range_iter iter;
	struct vmbus_range range;
	struct vmbus_view *view;
	uint64_t *header;

	size &= ~(size_t)7;
	if (size == 0 || size > 65535 * 8)
		return 0;
	header = malloc(size);
	view = view_make();
	CHECK(header && view);
	memcpy(header, data, size);
	packet.header = header;
	packet.header_len = (uint32_t)size;
	if (vmbus_range_first(&packet, &iter) == 0)
		while (vmbus_range_next(&iter, &range) == 0)
			range_use(view, &range);
	vmbus_view_unref(view);
	free(header);
	return 0;
}
