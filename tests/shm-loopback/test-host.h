/* SPDX-License-Identifier: MIT */
/* A host in a process of its own, for programs that play its guests. */
#ifndef TEST_HOST_H
#define TEST_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <vmbus/shm-loopback.h>

#define CHECK(condition) check_that(condition, #condition, __FILE__, __LINE__)
void check_that(bool ok, const char *what, const char *file, int line); /* exits with 1 */

/* The socket, in a directory of its own; gone with the process. */
const char *socket_path(void);

#define TEST_HOST_MEMORY (64ull << 20) /* that a guest may have */

struct test_device { /* what the host offers; called in its process */
	int (*connected)(void *opaque, struct vmbus_shm_peer *peer, void **user);
	void (*disconnected)(void *opaque, struct vmbus_shm_peer *peer, void *user, const char *reason);
	void (*begin)(struct vmbus_loop *loop); /* before it listens; may be NULL */
	void (*end)(void); /* when every guest is gone: checks that nothing of them is left */
	void (*log)(const char *line); /* may be NULL */
};

/* Forks a host and waits until it listens. On SIGTERM it stops, and exits with 0 if all of
 * its guests' things are gone, descriptors included. */
pid_t test_host_start(const struct test_device *device, uint32_t spin_us, uint32_t max_guests);
/* Ends it with SIGTERM; returns its exit status. */
int test_host_stop(pid_t pid);
#endif
