/* SPDX-License-Identifier: MIT */
/* A ring in guest memory with both its ends, mapped in either form. */
#ifndef TESTS_LIBVMBUS_RING_FIXTURE_H
#define TESTS_LIBVMBUS_RING_FIXTURE_H

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmbus/memory.h>
#include <vmbus/ring.h>

#define FIXTURE_GPA 0x100000u
#define FIXTURE_PAGES 64u

struct ring_fixture {
	uint8_t *guest; /* FIXTURE_PAGES at FIXTURE_GPA; the ring's pages in reverse pairs */
	struct vmbus_mem *mem;
	struct vmbus_ring_memory ring;
	struct vmbus_ring_control *control;
	struct vmbus_tx tx;
	struct vmbus_rx rx;
	uint64_t buf[65536 / 8];
	struct vmbus_packet packet;
};

/* The ring's pages, in an order that is neither contiguous nor wholly scattered:
 * control page 0, then data 2 1 4 3 6 5 ... */
static inline uint64_t fixture_pfn(uint32_t page)
{
	uint64_t first = FIXTURE_GPA >> VMBUS_PAGE_SHIFT;

	return page == 0 ? first : first + ((page - 1) ^ 1) + 1;
}

static inline int fixture_memory(struct ring_fixture *f)
{
	struct vmbus_region region = VMBUS_REGION_INIT;
	int fd = memfd_create("guest", MFD_CLOEXEC), ret;
	const size_t len = (size_t)FIXTURE_PAGES * VMBUS_PAGE_SIZE;

	memset(f, 0, sizeof(*f));
	if (fd < 0 || ftruncate(fd, (off_t)len))
		return -1;
	f->guest = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	f->mem = vmbus_mem_new();
	if (f->guest == MAP_FAILED || !f->mem)
		return -1;
	region.gpa = FIXTURE_GPA;
	region.len = len;
	region.host = f->guest;
	region.fd = fd;
	ret = vmbus_mem_add(f->mem, &region);
	close(fd);
	return ret;
}

/* A ring of @data_pages, empty, its indices at @start. Returns 0. */
static inline int fixture_init(struct ring_fixture *f, uint32_t data_pages, bool paged, uint32_t start)
{
	uint64_t pfns[FIXTURE_PAGES];
	struct vmbus_view *view;
	int ret = fixture_memory(f);

	if (ret)
		return ret;
	for (uint32_t i = 0; i < FIXTURE_PAGES; i++)
		pfns[i] = fixture_pfn(i);
	view = vmbus_mem_view(f->mem);
	ret = vmbus_ring_map(view, pfns, data_pages + 1, paged, &f->ring);
	vmbus_view_unref(view);
	if (ret || !f->ring.data != paged)
		return -1;
	f->control = f->ring.control;
	f->control->in = f->control->out = start;
	ret = vmbus_tx_init(&f->tx, &f->ring);
	return ret ? ret : vmbus_rx_init(&f->rx, &f->ring);
}

static inline void fixture_fini(struct ring_fixture *f)
{
	vmbus_ring_unmap(&f->ring);
	vmbus_mem_unref(f->mem);
	munmap(f->guest, (size_t)FIXTURE_PAGES * VMBUS_PAGE_SIZE);
}

/* The ring's byte at @at, by way of the guest's memory. */
static inline uint8_t *fixture_byte(struct ring_fixture *f, uint32_t at)
{
	uint64_t pfn = fixture_pfn(at / VMBUS_PAGE_SIZE + 1) - (FIXTURE_GPA >> VMBUS_PAGE_SHIFT);

	return f->guest + (pfn << VMBUS_PAGE_SHIFT) + at % VMBUS_PAGE_SIZE;
}

/* Guest's doing: writes bytes over the ring from @at on, wrapping. */
static inline void fixture_scribble(struct ring_fixture *f, uint32_t at, const void *bytes, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		*fixture_byte(f, (at + i) % f->ring.size) = ((const uint8_t *)bytes)[i];
}

/* Puts a packet with @len bytes of payload that tell @id. */
static inline int fixture_put(struct ring_fixture *f, uint64_t id, uint32_t len)
{
	static uint8_t payload[65536];
	struct vmbus_packet packet = {
		.type = VMBUS_PACKET_INBAND,
		.transaction_id = id,
		.payload = payload,
		.payload_len = len,
	};

	memset(payload, (int)(id * 7 + 1), len);
	return vmbus_tx_put(&f->tx, &packet, 0);
}

static inline int fixture_next(struct ring_fixture *f)
{
	return vmbus_rx_next(&f->rx, f->buf, sizeof(f->buf), &f->packet);
}

/* Whether the packet last read is fixture_put(id, len). */
static inline bool fixture_is(const struct ring_fixture *f, uint64_t id, uint32_t len)
{
	const uint8_t *payload = f->packet.payload;

	if (f->packet.type != VMBUS_PACKET_INBAND || f->packet.transaction_id != id ||
	    f->packet.header_len != 0 || f->packet.payload_len != ((len + 7) & ~7u))
		return false;
	for (uint32_t i = 0; i < f->packet.payload_len; i++)
		if (payload[i] != (i < len ? (uint8_t)(id * 7 + 1) : 0))
			return false;
	return true;
}

#endif
