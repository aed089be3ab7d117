/* SPDX-License-Identifier: MIT */
/* A controller that is ready, with a held disk at LUN 0. */
#ifndef TESTS_SRB_FIXTURE_H
#define TESTS_SRB_FIXTURE_H

#include <errno.h>
#include <string.h>

#include <criterion/criterion.h>

#include "harness.h"

static struct harness h;
static struct held_disk disk;
static struct vsp_disk *ref;
static struct line *line;

static inline void setup(uint32_t max_transfer)
{
	struct vsp_storage_config config = HARNESS_CONFIG;

	if (max_transfer)
		config.max_transfer = max_transfer;
	ref = held_disk_init(&disk);
	harness_init(&h, config);
	cr_assert_eq(vsp_storage_add_disk(h.storage, 0, ref), 0);
	line = harness_ready(&h, VSP_STORVSP_WIN8);
}

static inline void teardown(void)
{
	vsp_disk_unref(ref);
	harness_fini(&h);
	cr_expect_eq(disk.closes, 1);
}

static inline void expect_success(const struct srb *srb, const char *name)
{
	struct answer a = srb_exchange(&h, line, srb);

	cr_expect_eq(a.p.status, 0, "%s: %08x", name, a.p.status);
	cr_expect_eq(a.p.u.srb.srb_status, 1, "%s", name);
	cr_expect_eq(a.p.u.srb.scsi_status, 0, "%s", name);
	cr_expect_eq(a.p.u.srb.transfer_length, srb->len, "%s", name);
	cr_expect_eq(a.p.u.srb.sense_length, 0, "%s", name);
}

static inline uint8_t *guest_byte(const struct srb *srb, uint32_t at)
{
	uint32_t page = (srb->offset + at) / VMBUS_PAGE_SIZE;
	uint64_t pfn = srb->pfns ? srb->pfns[page] : srb->pfn + page;

	return harness_page(&h, pfn) + (srb->offset + at) % VMBUS_PAGE_SIZE;
}

static inline uint8_t pattern(uint32_t seed, uint32_t at)
{
	return (uint8_t)((seed * 2654435761u + at * 40503u) >> 7);
}

#endif
