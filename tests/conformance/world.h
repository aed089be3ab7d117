/* SPDX-License-Identifier: MIT */
/* A host with echo devices and a guest of some flavour with drivers for them. */
#ifndef CONFORMANCE_WORLD_H
#define CONFORMANCE_WORLD_H

#include "echo.h"
#include "flavour.h"

#define WORLD_DEVICES 3u

struct world {
	const struct flavour *flavour;
	uint32_t vp_count;
	struct vmbus_inproc *bus;
	struct echo_device devices[WORLD_DEVICES];
	struct echo_driver drivers[ECHO_CHANNELS]; /* by the channel's slot */
	uint64_t target;                           /* of world_run_steps() */
};

/* Connected already, unless that is the test's own business. */
void world_make(struct world *world, const struct flavour *flavour, uint64_t seed,
		uint32_t host_version, uint32_t extra_flags, const struct seeds *seeds);
int world_connect(struct world *world);

uint32_t world_slot(struct world *world, const struct vmbus_guest_channel *channel);
/* The primary channel of a device as the guest knows it, or NULL. */
struct vmbus_guest_channel *world_channel(struct world *world, uint32_t device);
uint32_t world_vp(struct world *world);

/* Opens with rings of so many pages and a driver that has so many requests to make. */
int world_open(struct world *world, struct vmbus_guest_channel *channel, uint32_t pages,
	       uint32_t requests);
int world_open_all(struct world *world, uint32_t requests);
/* Gives the driver more to do. */
void world_ask(struct world *world, struct vmbus_guest_channel *channel, uint32_t requests);
/* Until all drivers have all their answers. */
int world_traffic(struct world *world);
/* So many steps, or until nothing is left to do. */
int world_run_steps(struct world *world, uint32_t steps);

#endif
