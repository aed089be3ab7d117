/* SPDX-License-Identifier: MIT */
/* What travels over the socket between host and guest: docs/shm-loopback.md in C.
 * SOCK_SEQPACKET keeps messages apart; both ends are on one machine, so integers are the
 * machine's own. */
#ifndef SHM_PROTOCOL_H
#define SHM_PROTOCOL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <vmbus/wire.h>

#define SHM_MAGIC 0x4d48535355424d56ull /* "VMBUSSHM" */
#define SHM_VERSION 1u
#define SHM_VPS_MAX 64u
#define SHM_FDS_MAX (1u + SHM_VPS_MAX)
#define SHM_TEXT 120u

enum shm_type {
	SHM_HELLO = 1,
	SHM_POST_MESSAGE,
	SHM_EOM, /* no reply */
	SHM_DOORBELL_GET,
	SHM_USAGE,
	SHM_BYE = 0x40,	  /* host to guest, unasked: the last message */
	SHM_REPLY = 0x80, /* | the request's type */
};

struct shm_header {
	uint32_t type;
	uint32_t sequence; /* of the request; the reply has the same. 0 in BYE */
};

struct shm_vp { /* guest addresses of a processor's SynIC pages */
	uint64_t simp, siefp;
};

struct shm_hello { /* with the memfd, then an eventfd for each processor */
	struct shm_header header;
	uint64_t magic;
	uint32_t version;
	uint32_t vp_count;
	uint64_t memory; /* bytes */
	struct shm_vp vps[SHM_VPS_MAX];
};

struct shm_post_message {
	struct shm_header header;
	struct vmbus_post_message call; /* input of HvCallPostMessage */
};

struct shm_eom {
	struct shm_header header;
	uint32_t vp;
	uint32_t reserved;
};

struct shm_doorbell_get {
	struct shm_header header;
	uint32_t connection_id;
	uint32_t reserved;
};

struct shm_reply { /* to all but USAGE; with the eventfd for DOORBELL_GET; also BYE */
	struct shm_header header;
	uint32_t status; /* HV_STATUS_*; HELLO: 0 or an errno */
	char text[SHM_TEXT]; /* HELLO, BYE: why */
	uint32_t reserved;
};

struct shm_usage_reply {
	struct shm_header header;
	uint64_t host_cpu_ns, host_enters, host_sleeps, host_spin_ns, interrupts;
};

/* Sends one message, without waiting. Returns 0 or -errno (-EAGAIN: the peer does not
 * read). */
int vmbus_shm_send(int fd, const void *data, size_t len, const int *fds, unsigned int fd_count);

/* Receives one message, without waiting. @fds has room for SHM_FDS_MAX; *@fd_count of them
 * were sent along, the caller's now. Returns its length; 0: the peer is gone; -EAGAIN:
 * there is none; -EPROTO: longer than @size, or with more than it may have (nothing is
 * left open); -errno. */
ssize_t vmbus_shm_recv(int fd, void *data, size_t size, int *fds, unsigned int *fd_count);

/* Closes what came from the peer: at once, even a socket that the peer made linger. */
void vmbus_shm_fds_close(const int *fds, unsigned int count);
#endif
