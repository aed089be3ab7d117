/* SPDX-License-Identifier: MIT */
/* A host with one device that answers each packet with its payload, in a process of its
 * own, and a guest that talks to it. */
#ifndef ECHO_H
#define ECHO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <vmbus/shm-loopback.h>

#define CHECK(condition) check_that(condition, #condition, __FILE__, __LINE__)
void check_that(bool ok, const char *what, const char *file, int line); /* exits with 1 */

/* Forks a host that serves up to @max_guests at @path, and waits until it listens. On
 * SIGTERM it stops, and exits with 0 if every guest and thing of theirs is gone. */
pid_t echo_host_start(const char *path, uint32_t spin_us, uint32_t max_guests);
/* Ends it with SIGTERM; returns its exit status. */
int echo_host_stop(pid_t pid);

struct echo_guest {
	struct vmbus_shm_guest *shm;
	struct vmbus_guest bus;
	struct vmbus_guest_channel channels[4], *echo;
	uint32_t version;
	uint32_t gpadl_status, open_status;
	bool all_offered, gpadl_created, opened, unloaded;
	uint64_t pfns[16];
	struct vmbus_ring_memory upstream, downstream;
	uint64_t sent, received, wrong;
};

/* Connect and open the channel. Return 0, or what the failing call said. */
int echo_guest_connect(struct echo_guest *guest, const char *path, uint32_t spin_us);
int echo_guest_open(struct echo_guest *guest);
/* Sends @count packets, up to @depth of them unanswered, and checks the answers. Returns 0,
 * or what vmbus_shm_guest_wait() said. */
int echo_guest_run(struct echo_guest *guest, uint64_t count, unsigned int depth);
int echo_guest_close(struct echo_guest *guest); /* channel, and the connection in good order */
void echo_guest_free(struct echo_guest *guest);

/* A fresh path for a socket in a directory of its own; freed with the process. */
const char *socket_path(void);
#endif
