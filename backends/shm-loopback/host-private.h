/* SPDX-License-Identifier: MIT */
/* The inside of the host: host.c (listening), peer.c (the life of one guest), peer-hello.c
 * and peer-request.c (what it asks), peer-bus.c (its interrupts and doorbells). All of it in
 * the loop's thread, but for what is said to be called in any. */
#ifndef SHM_HOST_PRIVATE_H
#define SHM_HOST_PRIVATE_H

#include <liburing.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/queue.h>

#include <vmbus/shm-loopback.h>
#include <vmbus/synic.h>

#include "protocol.h"

#define container_of(pointer, type, member)                                              \
	((type *)((char *)(pointer) - offsetof(type, member)))

LIST_HEAD(shm_peer_list, vmbus_shm_peer);
LIST_HEAD(shm_doorbell_list, shm_doorbell);

struct vmbus_shm_host {
	struct vmbus_shm_host_config config;
	char *path;
	uint64_t dev, ino; /* of the socket, to unlink no other */
	struct vmbus_watch watch;
	struct vmbus_timer retry; /* after accept() ran out of something */
	struct shm_peer_list peers;
	uint32_t peer_count, connected; /* of them, those not being closed */
	uint64_t log_credit_ns, log_seen_ns; /* for more lines; when it was last brought up to date */
	uint32_t log_left_out;
	bool watching, stopping, told;
	void (*stopped)(void *opaque);
	void *stopped_opaque;
	struct vmbus_task stopped_task;
};

/* A processor of the guest: its SynIC pages, and its interrupt. The interrupt's eventfd
 * is the guest's, who may make writes to it block: so it is never written. It is
 * registered with a ring of its own, and the kernel signals it for each completion of a
 * no-op: that never waits, and only takes eventfds. */
struct shm_peer_vp {
	struct vmbus_synic_message *simp;
	struct vmbus_synic_event_flags *siefp;
	struct io_uring interrupt;
	bool ready;
};

/* The guest is given an eventfd of our own for each connection id, not the channel's: we
 * never read or write it, so it does not matter what the guest makes of it. It stays for
 * the guest's life, as the guest keeps it, too. */
struct shm_doorbell {
	LIST_ENTRY(shm_doorbell) link;
	struct vmbus_watch watch;
	struct vmbus_shm_peer *peer;
	uint32_t connection_id;
	uint32_t channels; /* open ones that it is for */
};

enum shm_peer_state {
	SHM_PEER_HELLO,	    /* connected; nothing is known of it yet */
	SHM_PEER_CONNECTED, /* has a server */
	SHM_PEER_CLOSING,   /* the server is being shut down */
	SHM_PEER_GONE,	    /* waits for the last callback */
};

struct vmbus_shm_peer {
	LIST_ENTRY(vmbus_shm_peer) link;
	struct vmbus_shm_host *host;
	enum shm_peer_state state;
	uint32_t refs; /* of what will call back: watches, the memory */
	struct vmbus_watch watch;
	struct vmbus_timer late; /* until then it must say hello; once closing, its devices stop */
	uint64_t closing_ns;     /* before the log is told again */
	uint32_t pid;
	const char *reason; /* why it is closed */

	struct vmbus_mem *mem;
	uint8_t *memory;
	uint64_t memory_size;
	uint32_t vp_count;
	struct shm_peer_vp *vps;

	struct vmbus_server *server;
	struct vmbus_task poll;
	atomic_bool poll_posted;
	struct shm_doorbell_list doorbells;
	uint32_t doorbell_count;
	void *user;
	uint64_t interrupts;
};

/* host.c */
void vmbus_shm_host_log(struct vmbus_shm_host *host, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The last of @peer is over: it is freed. */
void vmbus_shm_host_forget(struct vmbus_shm_host *host, struct vmbus_shm_peer *peer);

/* peer.c */
/* Takes @fd over. Returns 0 or -errno (then @fd is closed). */
int vmbus_shm_peer_new(struct vmbus_shm_host *host, int fd);
/* Begins the end. @reason is for the log, and lives for ever. */
void vmbus_shm_peer_close(struct vmbus_shm_peer *peer, const char *reason);
void vmbus_shm_peer_unref(struct vmbus_shm_peer *peer);

/* peer-hello.c: makes the guest's memory, processors and server out of it. Returns NULL, or
 * why the guest is turned away; the fds stay the caller's. */
const char *vmbus_shm_hello_take(struct vmbus_shm_peer *peer, const struct shm_hello *hello,
				 const int *fds, unsigned int fd_count);

/* peer-request.c: watch->ready of a guest's socket. */
void vmbus_shm_request_waits(struct vmbus_watch *watch, uint32_t events);

/* peer-bus.c */
extern const struct vmbus_server_ops vmbus_shm_server_ops;
/* Returns 0; -EINVAL (no eventfd); or what io_uring says. */
int vmbus_shm_vp_init(struct vmbus_shm_peer *peer, struct shm_peer_vp *vp,
		      const struct shm_vp *pages, int interrupt);
void vmbus_shm_vp_fini(struct shm_peer_vp *vp);
/* The eventfd for @connection_id, borrowed; -1 if there is none. */
int vmbus_shm_doorbell_get(struct vmbus_shm_peer *peer, uint32_t connection_id);
void vmbus_shm_doorbells_drop(struct vmbus_shm_peer *peer);
#endif
