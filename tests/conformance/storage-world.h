/* SPDX-License-Identifier: MIT */
/* A host with a SCSI controller and two slow disks, and a guest of some flavour. */
#ifndef CONFORMANCE_STORAGE_WORLD_H
#define CONFORMANCE_STORAGE_WORLD_H

#include <vsp/storage.h>

#include "disk-driver.h"
#include "flavour.h"

#define STORAGE_CHANNELS 6u /* slots */
#define STORAGE_SUBS 3u

struct storage_world {
	const struct flavour *flavour;
	uint64_t seed;
	uint32_t vp_count;
	struct vmbus_inproc *bus;
	struct vsp_storage *storage; /* NULL: taken away */
	struct slow_disk disks[DISK_LUNS];
	struct vsp_disk *disk_refs[DISK_LUNS];
	struct disk_book book;
	struct disk_driver drivers[STORAGE_CHANNELS]; /* by the channel's slot */
	bool driven[STORAGE_CHANNELS];
	/* in place of the drivers: what raw packets are answered with */
	void (*event)(struct storage_world *world, struct vmbus_guest_channel *channel);
	uint64_t target;
};

void storage_world_make(struct storage_world *world, const struct flavour *flavour, uint64_t seed,
			const struct seeds *seeds);
/* Ends it all, tells of violations, frees. */
bool storage_world_end(struct storage_world *world, const char *script, int err);

struct vmbus_guest_channel *storage_channel(struct storage_world *world, uint16_t subindex);
/* The host's end of it. */
struct vmbus_channel *storage_host_channel(struct storage_world *world, uint16_t subindex);
uint32_t storage_slot(struct storage_world *world, const struct vmbus_guest_channel *channel);

/* Connected and the channel opened, nothing said on it yet. */
int storage_open(struct storage_world *world, uint16_t subindex);
/* Opened and initialised, at protocol @version or below. */
int storage_start(struct storage_world *world, uint16_t version);
/* Sub-channels asked for, offered, opened, each with a driver. */
int storage_start_subs(struct storage_world *world, uint16_t count);
/* Gives every driver so many requests. */
void storage_ask(struct storage_world *world, uint32_t requests);
int storage_traffic(struct storage_world *world);
int storage_steps(struct storage_world *world, uint32_t steps);
/* All that the guest knows of the channels is void. */
void storage_abandon(struct storage_world *world);

#endif
