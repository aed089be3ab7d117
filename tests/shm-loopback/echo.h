/* SPDX-License-Identifier: MIT */
/* A device that answers each packet with its payload, and a guest that talks to it. */
#ifndef ECHO_H
#define ECHO_H

#include "test-host.h"

extern const struct test_device echo_device;
/* The same, but it does not stop before the host's log has said so. */
extern const struct test_device stuck_device;

#define RING_PAGES 9 /* of each ring, its control page included */

struct echo_guest {
	struct vmbus_shm_guest *shm;
	struct vmbus_guest bus;
	struct vmbus_guest_channel channels[4], *echo;
	uint32_t version;
	uint32_t gpadl_status, open_status;
	bool all_offered, gpadl_created, opened, unloaded;
	uint64_t pfns[2 * RING_PAGES];
	struct vmbus_ring_memory upstream, downstream;
	uint64_t sent, received, wrong;
};

/* Connect and open the channel. Return 0, or what the failing call said. */
int echo_guest_connect(struct echo_guest *guest, const char *path, uint32_t spin_us);
int echo_guest_connect_with(struct echo_guest *guest, const char *path, uint32_t spin_us,
			    uint64_t memory);
int echo_guest_open(struct echo_guest *guest);
/* Sends @count packets, up to @depth of them unanswered, and checks the answers. Returns 0,
 * or what vmbus_shm_guest_wait() said. */
int echo_guest_run(struct echo_guest *guest, uint64_t count, unsigned int depth);
/* One vmbus_shm_guest_wait(), its message handled. */
int echo_guest_wait(struct echo_guest *guest, const struct vmbus_shm_wait *wait);
int echo_guest_close(struct echo_guest *guest); /* channel, and the connection in good order */
void echo_guest_free(struct echo_guest *guest);
#endif
