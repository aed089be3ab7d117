/* SPDX-License-Identifier: MIT */
/* A disk in memory that takes its time: requests are finished one at a time, in any order,
 * some of them with an error, when the fixture says so. */
#ifndef CONFORMANCE_SLOW_DISK_H
#define CONFORMANCE_SLOW_DISK_H

#include <vmbus/inproc.h>
#include <vsp/block.h>

#define SLOW_DISK_SIZE (512u << 10)
#define SLOW_DISK_HELD 1024u

struct slow_disk {
	struct vmbus_inproc *bus;
	uint8_t *data;
	struct vsp_block_request *held[SLOW_DISK_HELD];
	uint32_t held_count, queues;
	uint32_t failures;  /* of 256 requests so many fail with EIO */
	uint32_t immediate; /* of 256 requests so many are finished at once */
	uint64_t failed, finished;
	bool closed;
};

/* The disk and a reference on it; NULL if there is no memory. */
struct vsp_disk *slow_disk_new(struct slow_disk *disk, struct vmbus_inproc *bus);
/* Finishes one request; false if none is held. */
bool slow_disk_step(struct slow_disk *disk);

#endif
