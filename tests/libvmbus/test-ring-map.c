/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include <criterion/criterion.h>

#include "ring-fixture.h"

#define FIRST (FIXTURE_GPA >> VMBUS_PAGE_SHIFT)

static struct ring_fixture f;
static struct vmbus_view *view;

static void set_up(void)
{
	cr_assert_eq(fixture_memory(&f), 0);
	view = vmbus_mem_view(f.mem);
	for (uint32_t i = 0; i < FIXTURE_PAGES; i++)
		memset(f.guest + i * VMBUS_PAGE_SIZE, (int)i + 1, VMBUS_PAGE_SIZE);
}

static void tear_down(void)
{
	vmbus_view_unref(view);
	vmbus_mem_unref(f.mem);
}

TestSuite(ring_map, .init = set_up, .fini = tear_down);

/* Pages 0, @step, 2 * @step ... of the fixture. */
static int map(uint32_t pages, uint32_t step, bool paged)
{
	uint64_t pfns[FIXTURE_PAGES];

	for (uint32_t i = 0; i < FIXTURE_PAGES; i++)
		pfns[i] = FIRST + (uint64_t)i * step;
	return vmbus_ring_map(view, pfns, pages, paged, &f.ring);
}

Test(ring_map, shows_the_data_twice_in_a_row)
{
	uint8_t *data;

	for (uint32_t step = 1; step <= 3; step++) {
		cr_assert_eq(map(6, step, false), 0);
		cr_assert_not_null(f.ring.data);
		cr_expect_eq((uint8_t *)f.ring.control, f.guest);
		cr_expect_eq(f.ring.size, 5 * 4096);
		for (uint32_t i = 0; i < 10; i++) {
			cr_expect_eq(f.ring.data[i * 4096], (i % 5 + 1) * step + 1, "step %u page %u", step, i);
			cr_expect_eq(f.ring.pages[i % 5], f.guest + (i % 5 + 1) * step * 4096);
		}
		/* volatile: the compiler takes the two places for different ones */
		data = f.ring.data;
		*(volatile uint8_t *)&f.ring.data[6 * 4096 + 5] = 0xaa;
		cr_expect_eq(*(volatile uint8_t *)&f.ring.data[1 * 4096 + 5], 0xaa);
		cr_expect_eq(*(volatile uint8_t *)&f.guest[2 * step * 4096 + 5], 0xaa);
		vmbus_ring_unmap(&f.ring);
		cr_expect_eq(msync(data, 10 * 4096, MS_ASYNC), -1, "nothing is mapped there");
	}
	cr_expect_null(f.ring.owner);
	vmbus_ring_unmap(&f.ring);
}

Test(ring_map, reaches_it_page_by_page_when_it_must)
{
	struct vmbus_region plain = VMBUS_REGION_INIT;
	uint64_t pfns[3] = {1, 2, 3};
	static _Alignas(4096) uint8_t bytes[4 * 4096];

	cr_assert_eq(map(6, 1, true), 0);
	cr_expect_null(f.ring.data);
	cr_expect_eq(f.ring.pages[4], f.guest + 5 * 4096);
	vmbus_ring_unmap(&f.ring);
	cr_assert_eq(map(12, 3, false), 0);
	cr_expect_null(f.ring.data, "too scattered to spend mappings on");
	cr_expect_eq(f.ring.pages[10], f.guest + 33 * 4096);
	vmbus_ring_unmap(&f.ring);
	/* memory without a file */
	plain.gpa = 4096;
	plain.len = sizeof(bytes);
	plain.host = bytes;
	cr_assert_eq(vmbus_mem_add(f.mem, &plain), 0);
	vmbus_view_unref(view);
	view = vmbus_mem_view(f.mem);
	cr_assert_eq(vmbus_ring_map(view, pfns, 3, false, &f.ring), 0);
	cr_expect_null(f.ring.data);
	cr_expect_eq(f.ring.pages[1], bytes + 2 * 4096);
	vmbus_ring_unmap(&f.ring);
	/* part with, part without */
	pfns[2] = FIRST;
	cr_assert_eq(vmbus_ring_map(view, pfns, 3, false, &f.ring), 0);
	cr_expect_null(f.ring.data);
	vmbus_ring_unmap(&f.ring);
}

Test(ring_map, falls_back_when_the_file_cannot_be_mapped_writable)
{
	struct vmbus_region region = VMBUS_REGION_INIT;
	uint64_t pfns[2] = {1, 2};
	static _Alignas(4096) uint8_t bytes[2 * 4096];
	int pipe_fds[2];

	cr_assert_eq(pipe(pipe_fds), 0); /* a file that mmap refuses */
	region.gpa = 4096;
	region.len = sizeof(bytes);
	region.host = bytes;
	region.fd = pipe_fds[0];
	cr_assert_eq(vmbus_mem_add(f.mem, &region), 0);
	vmbus_view_unref(view);
	view = vmbus_mem_view(f.mem);
	cr_assert_eq(vmbus_ring_map(view, pfns, 2, false, &f.ring), 0);
	cr_expect_null(f.ring.data);
	cr_expect_eq(f.ring.pages[0], bytes + 4096);
	vmbus_ring_unmap(&f.ring);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

/* Two files whose offsets follow each other are no run. */
Test(ring_map, tells_files_apart)
{
	struct vmbus_region region = VMBUS_REGION_INIT;
	static const uint64_t pfns[] = {FIRST, FIRST + 1, 2, FIRST + 3};
	int fd = memfd_create("other", MFD_CLOEXEC);

	cr_assert_eq(ftruncate(fd, 4 * 4096), 0);
	region.gpa = 4096;
	region.len = 3 * 4096;
	region.fd = fd;
	region.fd_offset = 4096;
	region.host = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096);
	cr_assert_neq(region.host, MAP_FAILED);
	cr_assert_eq(vmbus_mem_add(f.mem, &region), 0);
	vmbus_view_unref(view);
	view = vmbus_mem_view(f.mem);
	((uint8_t *)region.host)[4096] = 0x99; /* page 2: offset 8192, as FIRST + 2 has in its file */
	cr_assert_eq(vmbus_ring_map(view, pfns, 4, false, &f.ring), 0);
	cr_assert_not_null(f.ring.data);
	cr_expect_eq(f.ring.data[0], 2);
	cr_expect_eq(f.ring.data[4096], 0x99);
	cr_expect_eq(f.ring.data[2 * 4096], 4);
	vmbus_ring_unmap(&f.ring);
	close(fd);
}

Test(ring_map, refuses_what_is_no_ring)
{
	static uint8_t rom[4096] __attribute__((aligned(4096)));
	struct vmbus_region region = VMBUS_REGION_INIT;
	uint64_t pfns[3] = {FIRST, FIRST + 1, FIRST + 2};

	cr_expect_eq(map(0, 1, false), VMBUS_FAULT_BAD_RING);
	cr_expect_eq(map(1, 1, false), VMBUS_FAULT_BAD_RING);
	cr_expect_eq(map(UINT32_MAX, 1, false), VMBUS_FAULT_BAD_RING);
	cr_expect_eq(map((1u << 18) + 2, 1, false), VMBUS_FAULT_BAD_RING);
	for (uint32_t i = 0; i < 3; i++) {
		pfns[i] = 5;
		cr_expect_eq(vmbus_ring_map(view, pfns, 3, false, &f.ring), VMBUS_FAULT_BAD_GPA, "page %u", i);
		pfns[i] = FIRST + i;
	}
	region.gpa = 4096;
	region.len = 4096;
	region.host = rom;
	region.flags = VMBUS_REGION_READONLY;
	cr_assert_eq(vmbus_mem_add(f.mem, &region), 0);
	vmbus_view_unref(view);
	view = vmbus_mem_view(f.mem);
	pfns[2] = 1;
	cr_expect_eq(vmbus_ring_map(view, pfns, 3, false, &f.ring), VMBUS_FAULT_BAD_GPA, "read-only");
}

Test(ring_map, one_page_may_be_all_of_a_ring)
{
	uint64_t pfns[4] = {FIRST, FIRST, FIRST, FIRST};

	cr_assert_eq(vmbus_ring_map(view, pfns, 4, false, &f.ring), 0);
	cr_expect_not_null(f.ring.data);
	*(volatile uint8_t *)&f.ring.data[3 * 4096] = 0x77;
	cr_expect_eq(*(volatile uint8_t *)f.ring.control, 0x77);
	vmbus_ring_unmap(&f.ring);
}
