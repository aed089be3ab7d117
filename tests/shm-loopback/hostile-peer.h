/* SPDX-License-Identifier: MIT */
/* A peer on the socket that speaks for itself, without the library. */
#ifndef HOSTILE_PEER_H
#define HOSTILE_PEER_H

#include <stdbool.h>

#include "protocol.h"

#define MEMORY (1u << 20)

extern const char *peer_socket; /* where the host listens */

int peer_connect(void);

#define PEER_FDS_MAX 253u /* the kernel's limit of a message */
/* Sends what the library would not. Returns 0 or -errno. */
int peer_send(int peer, const void *message, size_t len, const int *fds, unsigned int count);
struct shm_hello good_hello(void); /* with one processor */

enum memory_kind {
	SEALED,
	UNSEALED,
	SHRINKS,
	GROWS,
	UNWRITABLE,
	HUGE,
	SHORT,
	A_FILE,
	A_TMPFS_FILE,
	A_PIPE,
	NONE,
};
int memory_make(enum memory_kind kind);

/* Waits for the host's word, and returns whether it says @text (NULL: anything, or
 * nothing) before it hangs up. */
bool turned_away(int fd, const char *text);

struct raw_guest { /* has said hello */
	int peer, memory, interrupt;
};
struct raw_guest raw_guest(void);
void raw_guest_close(struct raw_guest *g);
#endif
