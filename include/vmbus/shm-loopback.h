/* SPDX-License-Identifier: MIT */
/* The bus between two processes over shared memory, without a hypervisor: guest
 * RAM is a sealed memfd passed over a UNIX socket; SynIC pages lie in it with
 * their real layout; doorbells and interrupts are eventfds; HvCallPostMessage and
 * the EOM travel over the socket. See docs/shm-loopback.md for its messages. */
#ifndef VMBUS_SHM_LOOPBACK_H
#define VMBUS_SHM_LOOPBACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmbus/guest.h>
#include <vmbus/loop.h>
#include <vmbus/server.h>

#ifdef __cplusplus
extern "C" {
#endif

/* -- Host ----------------------------------------------------------------- */

struct vmbus_shm_host;  /* a listening socket */
struct vmbus_shm_peer;  /* one connected guest: its memory, its server */

struct vmbus_shm_host_ops {
	size_t size; /* sizeof this struct */

	/* A guest has connected and handed over its memory: offer devices on
	 * vmbus_shm_peer_server(). Returns 0, or < 0 to turn it away; @user is kept
	 * for it. Loop's thread. */
	int (*connected)(void *opaque, struct vmbus_shm_peer *peer, void **user);

	/* The guest is gone (closed or killed) and everything of it is closed:
	 * the server is freed next. @reason is for the log. Loop's thread. */
	void (*disconnected)(void *opaque, struct vmbus_shm_peer *peer, void *user, const char *reason);

	/* May be NULL: one line for the log. However many peers come and go, it is called for
	 * 200 lines at a time at most and one a second in the long run; a line says how many
	 * were left out. */
	void (*log)(void *opaque, const char *line);
};

struct vmbus_shm_host_config {
	size_t size; /* sizeof this struct */
	const char *socket_path;
	struct vmbus_loop *loop; /* serves sockets, servers and channels */
	const struct vmbus_shm_host_ops *ops;
	void *opaque;
	uint32_t max_guests; /* at a time; if they are there, who has not said hello gives way */
	uint64_t max_memory; /* of one guest, bytes */
	struct vmbus_server_config server; /* ops, opaque, mem, vp_count are filled in by us */
};
#define VMBUS_SHM_HOST_CONFIG_INIT                                                       \
	{ .size = sizeof(struct vmbus_shm_host_config), .max_guests = 16,                \
	  .max_memory = 16ull << 30, .server = VMBUS_SERVER_CONFIG_INIT }

/* Listens on the socket (mode 0600; a stale one is replaced, a live one is not).
 * Returns 0; -EADDRINUSE; -EINVAL; -errno of socket calls; @err says what to do. */
VMBUS_API int vmbus_shm_host_new(const struct vmbus_shm_host_config *config, struct vmbus_shm_host **host,
				 struct vmbus_error *err) VMBUS_MUST_CHECK;

/* Takes no more guests and asks those there to leave; @done in the loop's thread when
 * the last one's channels are closed; then free. Once; in the loop's thread, and not from
 * inside the host's ops. */
VMBUS_API void vmbus_shm_host_stop(struct vmbus_shm_host *host, void (*done)(void *opaque),
				   void *opaque);
/* After vmbus_shm_host_stop() is done. NULL is fine. */
VMBUS_API void vmbus_shm_host_free(struct vmbus_shm_host *host);

/* The guest's server, from ops->connected() to ops->disconnected(). Loop's thread. */
VMBUS_API struct vmbus_server *vmbus_shm_peer_server(struct vmbus_shm_peer *peer);
/* Who connected, as the kernel says. */
VMBUS_API uint32_t vmbus_shm_peer_pid(const struct vmbus_shm_peer *peer);

/* -- Guest: one thread at a time ------------------------------------------ */

struct vmbus_shm_guest; /* a connection to a host, with memory of its own */

struct vmbus_shm_guest_config {
	size_t size; /* sizeof this struct */
	const char *socket_path;
	uint64_t memory;   /* bytes of guest RAM to make; page aligned */
	uint32_t vp_count; /* virtual processors: each has SynIC pages and an interrupt */
	uint32_t spin_us;  /* vmbus_shm_guest_wait() spins that long before it sleeps */
};
#define VMBUS_SHM_GUEST_CONFIG_INIT                                                      \
	{ .size = sizeof(struct vmbus_shm_guest_config), .memory = 64ull << 20,          \
	  .vp_count = 1, .spin_us = 50 }

/* Makes memory and processors, and connects. Returns 0; -EINVAL (no path, 1 to 64 processors,
 * whole pages of memory); -ECONNREFUSED, -ENOENT (nobody listens); -EPROTO (the host speaks
 * otherwise, turned us away, or does not answer for 30 s); -ENOMEM; or the errno of a system
 * call; @err says what to do. */
VMBUS_API int vmbus_shm_guest_new(const struct vmbus_shm_guest_config *config, struct vmbus_shm_guest **guest,
				  struct vmbus_error *err) VMBUS_MUST_CHECK;
/* Leaves; the rings it mapped are gone. NULL is fine. */
VMBUS_API void vmbus_shm_guest_free(struct vmbus_shm_guest *guest);

/* The hypercalls: for struct vmbus_guest_ops, with the shm guest as opaque. post waits for the
 * host's reply and returns HV_STATUS_*; once the host is gone
 * HV_STATUS_INVALID_CONNECTION_ID. A signal nobody listens to is dropped. */
VMBUS_API uint32_t vmbus_shm_guest_post(struct vmbus_shm_guest *guest, uint32_t connection_id,
					const void *message, size_t len);
VMBUS_API void vmbus_shm_guest_signal(struct vmbus_shm_guest *guest, uint32_t connection_id);

/* Guest RAM: page @pfn as the guest sees it; pages are handed out from a simple
 * allocator, neighbours, zeroed (never given back singly). Return NULL (no such page);
 * 0 or -ENOMEM. */
VMBUS_API void *vmbus_shm_guest_page(struct vmbus_shm_guest *guest, uint64_t pfn);
VMBUS_API int vmbus_shm_guest_alloc(struct vmbus_shm_guest *guest, uint32_t pages, uint64_t *pfns)
	VMBUS_MUST_CHECK;
/* Maps a ring for the guest: pfns[0] control, then data, contiguously and twice; until
 * the guest is freed. Returns 0; -EINVAL (no such pages, or fewer than 2); -ENOMEM. */
VMBUS_API int vmbus_shm_guest_map_ring(struct vmbus_shm_guest *guest, const uint64_t *pfns, uint32_t pages,
				       struct vmbus_ring_memory *ring) VMBUS_MUST_CHECK;

/* What vmbus_shm_guest_wait() asks and tells; any may be NULL. */
struct vmbus_shm_wait {
	/* While spinning: whether nothing has come. Memory only: signals are masked. */
	bool (*idle)(void *arg);
	/* Before sleeping: asks the host for signals (vmbus_rx_arm() of each ring). Returns
	 * true if something came in between: do not sleep. */
	bool (*arm)(void *arg);
	/* A channel's event flag was set, and is cleared now. */
	void (*event)(void *arg, uint32_t flag);
	void *arg;
};

/* Waits for an interrupt on @vp: first spins (while that pays, see lib/spin.h), then
 * sleeps up to @timeout_ms (-1: for ever; 0: only looks, and does not spin either). Takes
 * one message, if there is one, into @message (240 bytes; *@len = 0: none), and all event
 * flags. Returns 0: something came, or idle() or arm() say so; -ETIMEDOUT; -EPIPE: the
 * host is gone, see vmbus_shm_guest_gone(); -EINVAL: no such processor. */
VMBUS_API int vmbus_shm_guest_wait(struct vmbus_shm_guest *guest, uint32_t vp, int timeout_ms,
				   const struct vmbus_shm_wait *wait, void *message, size_t *len)
	VMBUS_MUST_CHECK;

/* Readable when an interrupt of @vp came: for guests that wait for other things as well, and then
 * call vmbus_shm_guest_wait() with a timeout of 0 until it says -ETIMEDOUT. Borrowed. -EINVAL: no
 * such processor. */
VMBUS_API int vmbus_shm_guest_fd(const struct vmbus_shm_guest *guest, uint32_t vp);

/* Why the host is gone, for people; NULL while it is there. */
VMBUS_API const char *vmbus_shm_guest_gone(const struct vmbus_shm_guest *guest);

/* What host and guest used so far, for benchmarks: the host answers for itself. */
struct vmbus_shm_usage {
	uint64_t host_cpu_ns, host_enters, host_sleeps, host_spin_ns;
	uint64_t interrupts; /* raised by the host for this guest */
	uint64_t doorbells;  /* rung by this guest */
	uint64_t guest_sleeps, guest_spin_ns;
};
/* Returns 0 or -EPIPE. */
VMBUS_API int vmbus_shm_guest_usage(struct vmbus_shm_guest *guest, struct vmbus_shm_usage *usage)
	VMBUS_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
