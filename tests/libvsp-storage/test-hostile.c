/* SPDX-License-Identifier: MIT */
/* A guest that changes a request while the host works on it. Each fetch of shared bytes is
 * seen: none may be fetched twice for one request, and all are flipped as soon as they were
 * fetched, so that whoever looks at them again, by whatever way, gets something else. What
 * comes out must be what an honest guest gets. */
#include <stddef.h>

static void fetch_seen(const void *src, size_t len);
#define VMBUS_FETCH_HOOK(src, len) fetch_seen(src, len)
#include "memory-copy.c"
#include "ring-rx.c"

#include <criterion/criterion.h>

#include "channel.h"
#include "harness.h"

#define DATA_PAGES 20u

static struct harness h;
static struct held_disk disk;
static struct line *line;

/* -- The oracle ----------------------------------------------------------- */

static bool hostile;
static uint8_t fetched[MOCK_PAGES * VMBUS_PAGE_SIZE];
static unsigned int twice, count;

/* The place in the guest's memory of a byte that the host may have mapped elsewhere. */
static uint8_t *guest_byte(const uint8_t *byte)
{
	const struct vmbus_ring_memory *ring = &h.mock.served[0]->upstream;
	size_t at = (size_t)(byte - h.mock.ram);

	if (ring->data && byte >= ring->data && byte < ring->data + 2 * ring->size) {
		uint32_t offset = (uint32_t)(byte - ring->data) % ring->size;

		return line->pages[0][offset / VMBUS_PAGE_SIZE] + offset % VMBUS_PAGE_SIZE;
	}
	cr_assert_lt(at, sizeof(fetched));
	return h.mock.ram + at;
}

static void fetch_seen(const void *src, size_t len)
{
	if (!hostile)
		return;
	for (size_t i = 0; i < len; i++) {
		uint8_t *byte = guest_byte((const uint8_t *)src + i);

		twice += fetched[byte - h.mock.ram]++ != 0;
		*(volatile uint8_t *)byte ^= 0xff;
		count++;
	}
}

/* -- Each request from an honest guest, and from a hostile one ------------- */

struct outcome {
	struct answer answer;
	unsigned int ops[VSP_BLOCK_ZERO + 1];
	uint8_t data[HARNESS_DISK];
};

/* Eight blocks are alike. */
static uint8_t disk_byte(uint32_t at)
{
	return (uint8_t)(at % 512 * 7 + at / 4096);
}

static void request_run(const struct srb *srb, const uint8_t *memory, bool changing,
			struct outcome *out)
{
	for (uint32_t i = 0; i < HARNESS_DISK; i++)
		disk.data[i] = disk_byte(i);
	memset(disk.ops, 0, sizeof(disk.ops));
	memset(fetched, 0, sizeof(fetched));
	memcpy(harness_page(&h, HARNESS_DATA_PFN), memory, DATA_PAGES * VMBUS_PAGE_SIZE);
	twice = count = 0;
	MOCK_CHECK(srb_put(&h, line, 0x5afe, srb) == 0);
	hostile = changing;
	harness_run(&h);
	hostile = false;
	out->answer = answer_expect(line, 0x5afe);
	memcpy(out->ops, disk.ops, sizeof(disk.ops));
	memcpy(out->data, disk.data, HARNESS_DISK);
}

static void same_twice(const char *name, const struct srb *srb, const uint8_t *memory)
{
	static struct outcome honest, changing;

	request_run(srb, memory, false, &honest);
	request_run(srb, memory, true, &changing);
	cr_expect_eq(twice, 0, "%s: %u bytes were fetched twice", name, twice);
	cr_expect_gt(count, 16 + sizeof(struct vsp_storvsp_packet) - 1, "%s", name);
	cr_expect_eq(honest.answer.p.u.srb.srb_status, 1, "%s", name);
	cr_expect_eq(memcmp(&changing.answer.p, &honest.answer.p, sizeof(honest.answer.p)), 0,
		     "%s: another answer", name);
	cr_expect_eq(memcmp(changing.ops, honest.ops, sizeof(honest.ops)), 0,
		     "%s: the disk was asked otherwise", name);
	cr_expect_eq(memcmp(changing.data, honest.data, HARNESS_DISK), 0, "%s: other data", name);
}

/* A parameter list, or what lies on the disk from byte @disk_at on. */
static const struct row {
	const char *name;
	uint8_t direction;
	uint8_t cdb[16];
	uint32_t len;
	uint8_t list[40];
	uint32_t disk_at; /* 0: the list it is */
} rows[] = {
	{"TEST UNIT READY", VSP_SRB_NONE, {0x00}, 0, {0}, 0},
	{"INQUIRY", VSP_SRB_READ, {0x12, [4] = 96}, 96, {0}, 0},
	{"READ(10)", VSP_SRB_READ, {0x28, [5] = 3, [8] = 40}, 40 * 512, {0}, 0},
	{"WRITE(10)", VSP_SRB_WRITE, {0x2a, [5] = 3, [8] = 40}, 40 * 512, {0}, 0},
	{"UNMAP", VSP_SRB_WRITE, {0x42, [8] = 40}, 40,
	 {0, 38, 0, 32, [15] = 8, [19] = 4, [31] = 99, [35] = 1}, 0},
	{"MODE SELECT(6)", VSP_SRB_WRITE, {0x15, 0x10, [4] = 16}, 16, {[4] = 0x1c, 10}, 0},
	{"MODE SELECT(10)", VSP_SRB_WRITE, {0x55, 0x10, [8] = 20}, 20, {[8] = 0x01, 10}, 0},
	{"WRITE SAME(10)", VSP_SRB_WRITE, {0x41, [5] = 9, [8] = 70}, 512, {1, 2, 3}, 0},
	{"WRITE SAME(16) of zeros", VSP_SRB_WRITE, {0x93, 8, [9] = 9, [13] = 70}, 512, {0}, 0},
	{"VERIFY(10)", VSP_SRB_WRITE, {0x2f, 0x02, [5] = 5, [8] = 40}, 40 * 512, {0}, 5 * 512},
	{"VERIFY(10) with one block", VSP_SRB_WRITE, {0x2f, 0x06, [5] = 16, [8] = 8}, 512, {0},
	 8192},
	{"WRITE AND VERIFY(10)", VSP_SRB_WRITE, {0x2e, 0x02, [5] = 5, [8] = 40}, 40 * 512, {7}, 0},
};

static void row_try(const struct row *row, uint32_t offset)
{
	static uint8_t memory[DATA_PAGES * VMBUS_PAGE_SIZE];
	struct srb srb = {.direction = row->direction, .len = row->len, .offset = offset,
			  .pfn = HARNESS_DATA_PFN};

	memcpy(srb.cdb, row->cdb, sizeof(srb.cdb));
	memset(memory, 0, sizeof(memory));
	memcpy(memory + offset, row->list, sizeof(row->list));
	for (uint32_t i = 0; row->disk_at && i < row->len; i++)
		memory[offset + i] = disk_byte(row->disk_at + i);
	same_twice(row->name, &srb, memory);
}

static void setup(void)
{
	struct vsp_storage_config config = HARNESS_CONFIG;
	struct vsp_disk *ref = held_disk_init(&disk);

	harness_init(&h, config);
	cr_assert_eq(vsp_storage_add_disk(h.storage, 0, ref), 0);
	vsp_disk_unref(ref);
	line = harness_ready(&h, VSP_STORVSP_WIN8);
}

/* Wherever the list lies in its page, and the packet in its ring. */
Test(hostile, no_byte_of_a_request_is_looked_at_twice)
{
	setup();
	for (uint32_t offset = 0; offset < VMBUS_PAGE_SIZE; offset += 340)
		for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
			row_try(&rows[i], offset);
	harness_fini(&h);
}
