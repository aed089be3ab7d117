/* SPDX-License-Identifier: MIT */
/* A guest with a disk: the connection of echo.h, and storvsc on its channel. */
#ifndef DISK_GUEST_H
#define DISK_GUEST_H

#include <vsp/storvsc.h>

#include "echo.h"

struct disk_guest {
	struct echo_guest bus; /* guest memory, connection, channel */
	struct vsp_storvsc storvsc;
};

/* Connects, opens the first channel and initialises it. Returns 0, or what failed. */
int disk_guest_connect(struct disk_guest *guest, const char *path, uint32_t spin_us, uint64_t memory);

/* A READ or WRITE of @sectors of 512 bytes at @lba of LUN 0; the data is at @pfns. Shown to the
 * host by the next disk_guest_poll(). Returns as vsp_storvsc_submit(). */
int disk_guest_transfer(struct disk_guest *guest, struct vsp_storvsc_request *request, bool write,
			uint64_t lba, uint16_t sectors, const uint64_t *pfns);
int disk_guest_flush(struct disk_guest *guest, struct vsp_storvsc_request *request);

/* Takes answers, calling done(); waits for them if there are none. Returns 0, or what
 * vmbus_shm_guest_wait() said. */
int disk_guest_poll(struct disk_guest *guest);

void disk_guest_free(struct disk_guest *guest);
#endif
