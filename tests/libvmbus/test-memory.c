/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <vmbus/memory.h>

#define PAGE 4096ull
#define HOST_PAGES 32u

static uint8_t *host; /* HOST_PAGES pages */
static int host_fd;
static struct vmbus_mem *mem;

static void set_up(void)
{
	host_fd = memfd_create("guest", MFD_CLOEXEC);
	cr_assert_eq(ftruncate(host_fd, HOST_PAGES * PAGE), 0);
	host = mmap(NULL, HOST_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, host_fd, 0);
	cr_assert_neq(host, MAP_FAILED);
	mem = vmbus_mem_new();
	cr_assert_not_null(mem);
}

static void tear_down(void)
{
	vmbus_mem_unref(mem);
	munmap(host, HOST_PAGES * PAGE);
	close(host_fd);
}

TestSuite(memory, .init = set_up, .fini = tear_down);

/* Pages [first, first + pages) of the host's memory at guest page @pfn. */
static int add(uint64_t pfn, uint32_t first, uint32_t pages, uint32_t flags)
{
	struct vmbus_region region = VMBUS_REGION_INIT;

	region.gpa = pfn * PAGE;
	region.len = pages * PAGE;
	region.host = host + first * PAGE;
	region.fd = host_fd;
	region.fd_offset = first * PAGE;
	region.flags = flags;
	return vmbus_mem_add(mem, &region);
}

static void *page(uint64_t pfn, bool write)
{
	struct vmbus_view *view = vmbus_mem_view(mem);
	void *at = vmbus_view_page(view, pfn, write);

	vmbus_view_unref(view);
	return at;
}

static void count_done(void *opaque)
{
	++*(unsigned int *)opaque;
}

Test(memory, refuses_what_is_no_region)
{
	struct vmbus_region good = VMBUS_REGION_INIT, bad;
	static const struct {
		const char *name;
		uint64_t gpa, len, fd_offset;
	} rows[] = {
		{"odd address", 1, PAGE, 0},
		{"odd length", 0, PAGE + 1, 0},
		{"empty", 0, 0, 0},
		{"odd offset", 0, PAGE, 512},
		{"ends past 2^52", (1ull << 52) - PAGE, 2 * PAGE, 0},
		{"starts at 2^52", 1ull << 52, PAGE, 0},
		{"address wraps", PAGE, 0ull - PAGE, 0},
		{"all of it", 0, 0ull - PAGE, 0},
		{"file offset overflows", 0, PAGE, (1ull << 63) - PAGE},
	};

	good.host = host;
	good.len = PAGE;
	good.fd = host_fd;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bad = good;
		bad.gpa = rows[i].gpa;
		bad.len = rows[i].len;
		bad.fd_offset = rows[i].fd_offset;
		cr_expect_eq(vmbus_mem_add(mem, &bad), -EINVAL, "%s", rows[i].name);
	}
	bad = good;
	bad.host = NULL;
	cr_expect_eq(vmbus_mem_add(mem, &bad), -EINVAL);
	bad.host = host + 8;
	cr_expect_eq(vmbus_mem_add(mem, &bad), -EINVAL);
	bad = good;
	bad.fd = 1000000;
	cr_expect_eq(vmbus_mem_add(mem, &bad), -EBADF);
	good.gpa = (1ull << 52) - PAGE;
	cr_expect_eq(vmbus_mem_add(mem, &good), 0);
	cr_expect_eq(page((1ull << 40) - 1, true), host);
	cr_expect_null(page(1ull << 40, false));
	cr_expect_null(page(~0ull, false));
}

Test(memory, regions_do_not_overlap)
{
	static const struct {
		const char *name;
		uint64_t pfn;
		uint32_t pages;
		int ret;
	} rows[] = {
		{"the same", 100, 4, -EEXIST},   {"inside", 101, 1, -EEXIST},
		{"around", 99, 6, -EEXIST},      {"over the start", 98, 3, -EEXIST},
		{"over the end", 103, 2, -EEXIST}, {"before", 98, 2, 0},
		{"behind", 104, 1, 0},           {"far behind", 1000, 1, 0},
		{"at 0", 0, 1, 0},               {"over two", 99, 10, -EEXIST},
	};

	cr_assert_eq(add(100, 0, 4, 0), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_expect_eq(add(rows[i].pfn, 8, rows[i].pages, 0), rows[i].ret, "%s", rows[i].name);
}

Test(memory, finds_every_page_among_many_regions_and_none_between)
{
	for (uint32_t i = 0; i < 64; i++) /* two pages, then a hole of one; added out of order */
		cr_assert_eq(add((i * 37 % 64) * 3 + 10, i * 37 % 16 * 2, 2, 0), 0);
	cr_expect_eq(add(1000, 0, 1, 0), -ENOSPC);
	for (uint32_t pfn = 0; pfn < 300; pfn++) {
		uint32_t i = (pfn - 10) / 3, in = (pfn - 10) % 3;
		bool there = pfn >= 10 && i < 64 && in < 2;

		cr_expect_eq(page(pfn, false), there ? host + (i % 16 * 2 + in) * PAGE : NULL, "%u", pfn);
	}
	for (uint32_t i = 0; i < 64; i += 2)
		cr_assert_eq(vmbus_mem_remove(mem, (i * 3 + 10) * PAGE, NULL, NULL), 0);
	for (uint32_t i = 0; i < 64; i++)
		cr_expect_eq(!page(i * 3 + 11, false), i % 2 == 0);
}

Test(memory, a_view_keeps_the_layout_it_was_taken_of)
{
	struct vmbus_view *before, *now;
	unsigned int done = 0;

	cr_assert_eq(add(100, 0, 4, 0), 0);
	before = vmbus_mem_view(mem);
	cr_expect_not(vmbus_view_stale(before));
	cr_expect_eq(vmbus_mem_remove(mem, 101 * PAGE, NULL, NULL), -ENOENT, "not where it starts");
	cr_expect_eq(vmbus_mem_remove(mem, 100 * PAGE + 1, NULL, NULL), -ENOENT);
	cr_expect_eq(vmbus_mem_remove(mem, 200 * PAGE, NULL, NULL), -ENOENT);
	cr_expect_not(vmbus_view_stale(before));
	cr_expect_eq(vmbus_mem_remove(mem, 100 * PAGE, count_done, &done), 0);
	cr_expect(vmbus_view_stale(before));
	cr_expect_eq(vmbus_view_page(before, 100, true), host);
	cr_expect_null(page(100, false));
	cr_expect_eq(done, 0, "a view still lists it");
	cr_expect_eq(add(100, 8, 4, 0), 0, "the place is free at once");
	now = vmbus_mem_view(mem);
	cr_expect_eq(vmbus_view_page(now, 100, true), host + 8 * PAGE);
	vmbus_view_unref(before);
	cr_expect_eq(done, 1);
	vmbus_view_unref(now);
	cr_expect_eq(done, 1);
	cr_expect_eq(vmbus_mem_remove(mem, 100 * PAGE, count_done, &done), 0);
	cr_expect_eq(done, 2, "nobody held it: at once");
}

Test(memory, a_view_outlives_the_memory_object)
{
	struct vmbus_view *view;

	cr_assert_eq(add(100, 0, 4, 0), 0);
	view = vmbus_mem_view(vmbus_mem_ref(mem));
	vmbus_mem_unref(mem);
	vmbus_mem_unref(mem);
	mem = NULL;
	cr_expect_eq(vmbus_view_page(view, 100, true), host);
	vmbus_view_unref(view);
}

/* The lowest fd that is not open: the one that the next dup() makes. */
static int fd_next(void)
{
	int fd = dup(host_fd);

	close(fd);
	return fd;
}

Test(memory, the_callers_fd_is_not_needed_later_and_ours_is_closed)
{
	static const uint64_t pfns[3] = {100, 101, 102};
	int fd = dup(host_fd), ours = fd_next();
	struct vmbus_region region = {
		.size = sizeof(region), .gpa = 100 * PAGE, .len = 4 * PAGE, .host = host, .fd = fd};
	struct vmbus_ring_memory ring;
	struct vmbus_view *view;

	cr_assert_eq(vmbus_mem_add(mem, &region), 0);
	cr_expect_eq(fcntl(ours, F_GETFD), FD_CLOEXEC);
	close(fd);
	view = vmbus_mem_view(mem);
	cr_expect_eq(vmbus_ring_map(view, pfns, 3, false, &ring), 0);
	cr_expect_not_null(ring.data);
	vmbus_ring_unmap(&ring);
	cr_expect_eq(vmbus_mem_remove(mem, 100 * PAGE, NULL, NULL), 0);
	cr_expect_eq(fcntl(ours, F_GETFD), FD_CLOEXEC, "a view still lists it");
	vmbus_view_unref(view);
	cr_expect_eq(fcntl(ours, F_GETFD), -1);
}

Test(memory, pinned_pages_keep_their_region)
{
	static const uint64_t pfns[] = {100, 103, 103, 200}, bad[] = {100, 200, 104};

	cr_assert_eq(add(100, 0, 4, 0), 0);
	cr_assert_eq(add(200, 4, 1, VMBUS_REGION_READONLY), 0);
	cr_expect_eq(vmbus_mem_pin_pages(mem, bad, 3), VMBUS_FAULT_BAD_GPA);
	cr_expect_eq(vmbus_mem_remove(mem, 200 * PAGE, NULL, NULL), 0, "a failed pin pins nothing");
	cr_assert_eq(add(200, 4, 1, 0), 0);
	cr_expect_eq(vmbus_mem_pin_pages(mem, pfns, 4), 0);
	cr_expect_eq(vmbus_mem_remove(mem, 100 * PAGE, NULL, NULL), -EBUSY);
	cr_expect_eq(vmbus_mem_remove(mem, 200 * PAGE, NULL, NULL), -EBUSY);
	cr_assert_eq(add(300, 5, 1, 0), 0); /* another layout: the pins stay */
	vmbus_mem_unpin_pages(mem, pfns, 2);
	cr_expect_eq(vmbus_mem_remove(mem, 100 * PAGE, NULL, NULL), -EBUSY);
	vmbus_mem_unpin_pages(mem, pfns + 2, 2);
	cr_expect_eq(vmbus_mem_remove(mem, 100 * PAGE, NULL, NULL), 0);
	cr_expect_eq(vmbus_mem_remove(mem, 200 * PAGE, NULL, NULL), 0);
}

/* Guest pages 100, 101 and 102, 103 are two regions that follow each other but lie
 * apart in the host; 104 is read-only; 105 is not there. */
static struct vmbus_view *straddle(void)
{
	cr_assert_eq(add(100, 8, 2, 0), 0);
	cr_assert_eq(add(102, 0, 2, 0), 0);
	cr_assert_eq(add(104, 20, 1, VMBUS_REGION_READONLY), 0);
	for (uint32_t i = 0; i < HOST_PAGES * PAGE; i++)
		host[i] = (uint8_t)(i * 31 ^ i >> 8);
	return vmbus_mem_view(mem);
}

/* The host's byte behind guest address @gpa of straddle(). */
static uint8_t *byte_at(uint64_t gpa)
{
	static const uint32_t first[] = {8, 9, 0, 1, 20};

	return host + first[gpa / PAGE - 100] * PAGE + gpa % PAGE;
}

Test(memory, copies_across_pages_and_regions)
{
	static const struct {
		uint64_t gpa;
		size_t len;
		bool readable, writable;
	} rows[] = {
		{100 * PAGE, 1, true, true},           {100 * PAGE + 4095, 2, true, true},
		{102 * PAGE - 1, 2, true, true},       {100 * PAGE + 7, 4 * PAGE - 7, true, true},
		{103 * PAGE, PAGE + 1, true, false},   {104 * PAGE, PAGE, true, false},
		{104 * PAGE + 1, PAGE, false, false},  {99 * PAGE + 4095, 2, false, false},
		{~0ull, 2, false, false},              {~0ull - 1, 1, false, false},
		{100 * PAGE, SIZE_MAX, false, false},  {0, 1, false, false},
		{105 * PAGE, 0, true, true},
	};
	struct vmbus_view *view = straddle();
	static uint8_t copy[8 * PAGE], out[8 * PAGE];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool ok = true;

		memset(copy, 0xee, sizeof(copy));
		cr_expect_eq(vmbus_view_read(view, rows[i].gpa, copy, rows[i].len),
			     rows[i].readable ? 0 : VMBUS_FAULT_BAD_GPA, "row %zu", i);
		for (size_t k = 0; k < sizeof(copy); k++)
			ok &= copy[k] == (rows[i].readable && k < rows[i].len ? *byte_at(rows[i].gpa + k) : 0xee);
		cr_expect(ok, "row %zu read", i);
		for (size_t k = 0; k < sizeof(out); k++)
			out[k] = (uint8_t)~copy[k];
		cr_expect_eq(vmbus_view_write(view, rows[i].gpa, out, rows[i].len),
			     rows[i].writable ? 0 : VMBUS_FAULT_BAD_GPA, "row %zu", i);
		if (!rows[i].readable)
			continue;
		for (size_t k = 0; k < rows[i].len; k++)
			ok &= *byte_at(rows[i].gpa + k) == (rows[i].writable ? out[k] : copy[k]);
		cr_expect(ok, "row %zu written", i);
	}
	vmbus_view_unref(view);
}

Test(memory, a_refused_write_changes_nothing)
{
	struct vmbus_view *view = straddle();
	static uint8_t before[HOST_PAGES * PAGE];
	static const uint8_t ones[2 * PAGE] = {1};

	memcpy(before, host, sizeof(before));
	cr_expect_eq(vmbus_view_write(view, 103 * PAGE, ones, 2 * PAGE), VMBUS_FAULT_BAD_GPA);
	cr_expect_eq(memcmp(before, host, sizeof(before)), 0);
	vmbus_view_unref(view);
}

Test(memory, spans_are_copied_in_the_order_of_their_pages)
{
	static const uint64_t pfns[] = {103, 100, 100, 104, 105}; /* twice; read-only; none */
	static const struct {
		uint32_t offset, span, at;
		size_t len;
		int ret;
	} rows[] = {
		{0, 4 * PAGE, 0, 4 * PAGE, 0},
		{100, 3 * PAGE, 0, 3 * PAGE, 0},
		{4095, 2, 0, 2, 0},
		{4095, 8194, 1, 8193, 0},
		{8, 100, 99, 1, 0},
		{8, 100, 100, 0, 0},
		{8, 100, 100, 1, VMBUS_FAULT_BAD_GPA},
		{8, 100, 101, 0, VMBUS_FAULT_BAD_GPA},
		{8, 100, 0, 101, VMBUS_FAULT_BAD_GPA},
		{8, UINT32_MAX, UINT32_MAX, SIZE_MAX, VMBUS_FAULT_BAD_GPA},
		{0, 5 * PAGE, 4 * PAGE, 1, VMBUS_FAULT_BAD_GPA},
		{0, 5 * PAGE, 4 * PAGE - 1, 2, VMBUS_FAULT_BAD_GPA},
	};
	struct vmbus_view *view = straddle();
	static uint8_t copy[5 * PAGE];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct vmbus_span span = {.pfns = pfns, .offset = rows[i].offset, .len = rows[i].span};
		bool ok = true;

		memset(copy, 0xee, sizeof(copy));
		cr_expect_eq(vmbus_span_read(view, &span, rows[i].at, copy, rows[i].len), rows[i].ret,
			     "row %zu", i);
		for (size_t k = 0; k < sizeof(copy); k++) {
			size_t at = rows[i].offset + rows[i].at + k;
			bool in = rows[i].ret == 0 && k < rows[i].len;

			ok &= copy[k] == (in ? *byte_at(pfns[at / PAGE] * PAGE + at % PAGE) : 0xee);
		}
		cr_expect(ok, "row %zu", i);
	}
	vmbus_view_unref(view);
}

Test(memory, spans_are_written_where_they_are_writable)
{
	static const uint64_t pfns[] = {101, 100, 104};
	const struct vmbus_span span = {.pfns = pfns, .offset = 4094, .len = 3 + PAGE};
	struct vmbus_view *view = straddle();
	uint8_t ro = *byte_at(104 * PAGE);

	cr_expect_eq(vmbus_span_write(view, &span, 1, "abc", 3), 0);
	cr_expect_eq(*byte_at(101 * PAGE + 4095), 'a');
	cr_expect_eq(*byte_at(100 * PAGE), 'b');
	cr_expect_eq(*byte_at(100 * PAGE + 1), 'c');
	cr_expect_eq(vmbus_span_write(view, &span, PAGE + 1, "xy", 2), VMBUS_FAULT_BAD_GPA);
	cr_expect_eq(*byte_at(100 * PAGE + 4095), (uint8_t)((9 * PAGE - 1) * 31 ^ (9 * PAGE - 1) >> 8));
	cr_expect_eq(*byte_at(104 * PAGE), ro);
	vmbus_view_unref(view);
}

Test(memory, spans_are_pinned_with_neighbours_merged)
{
	static const uint64_t pfns[] = {100, 101, 102, 103, 101, 104, 105};
	struct vmbus_view *view = straddle();
	struct vmbus_span span = {.pfns = pfns, .offset = 16, .len = 7 * PAGE - 16};
	struct iovec iov[7];
	unsigned int count;

	cr_expect_eq(vmbus_span_pin(view, &span, 0, 5 * PAGE, true, iov, &count), VMBUS_FAULT_BAD_GPA,
		     "16 bytes on the read-only page");
	cr_expect_eq(vmbus_span_pin(view, &span, 0, 5 * PAGE, false, iov, &count), 0);
	cr_assert_eq(count, 4);
	cr_expect_eq(iov[0].iov_base, host + 8 * PAGE + 16);
	cr_expect_eq(iov[0].iov_len, 2 * PAGE - 16);
	cr_expect_eq(iov[1].iov_base, host);
	cr_expect_eq(iov[1].iov_len, 2 * PAGE);
	cr_expect_eq(iov[2].iov_base, host + 9 * PAGE);
	cr_expect_eq(iov[2].iov_len, PAGE);
	cr_expect_eq(iov[3].iov_base, host + 20 * PAGE);
	cr_expect_eq(iov[3].iov_len, 16);
	cr_expect_eq(vmbus_span_pin(view, &span, 5 * PAGE, PAGE - 16, false, iov, &count), 0);
	cr_expect_eq(count, 1);
	cr_expect_eq(vmbus_span_pin(view, &span, 5 * PAGE, PAGE - 15, false, iov, &count), VMBUS_FAULT_BAD_GPA);
	cr_expect_eq(vmbus_span_pin(view, &span, 0, 0, true, iov, &count), 0);
	cr_expect_eq(count, 0);
	cr_expect_eq(vmbus_span_pin(view, &span, span.len, 1, false, iov, &count), VMBUS_FAULT_BAD_GPA);
	cr_expect_eq(vmbus_span_pin(view, &span, UINT32_MAX, UINT32_MAX, false, iov, &count),
		     VMBUS_FAULT_BAD_GPA);
	vmbus_view_unref(view);
}
