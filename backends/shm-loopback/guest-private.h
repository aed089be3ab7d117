/* SPDX-License-Identifier: MIT */
/* The inside of the guest: guest.c (its life, its RAM), guest-socket.c (what it says to the
 * host: the hypercalls), guest-wait.c (interrupts). */
#ifndef SHM_GUEST_PRIVATE_H
#define SHM_GUEST_PRIVATE_H

#include <sys/queue.h>

#include <vmbus/shm-loopback.h>
#include <vmbus/synic.h>

#include "protocol.h"
#include "spin.h"

struct guest_vp {
	struct vmbus_synic_message *simp;
	struct vmbus_synic_event_flags *siefp;
	int interrupt; /* eventfd */
};

struct guest_doorbell {
	uint32_t connection_id;
	int fd;
};

struct guest_mapping {
	SLIST_ENTRY(guest_mapping) link;
	void *address;
	size_t len;
};

struct vmbus_shm_guest {
	int socket, memfd;
	uint8_t *memory;
	uint64_t pages, next_page; /* handed out from page 1 on: 0 is no address */
	uint32_t vp_count, sequence;
	struct guest_vp *vps;
	struct guest_doorbell *doorbells;
	size_t doorbell_count;
	SLIST_HEAD(, guest_mapping) mappings;
	struct spin spin;
	uint64_t rung, sleeps, spin_ns;
	bool is_gone;
	char gone[SHM_TEXT + 32];
};

/* guest-socket.c. Those that return int return 0 or -EPIPE. */

/* The first reason counts. Returns -EPIPE. */
int vmbus_shm_host_gone(struct vmbus_shm_guest *guest, const char *why);
/* Receives a message, without waiting. Returns its length; -EAGAIN; or -EPIPE, also for BYE.
 * *@fd: what came with it, the caller's, or -1. */
ssize_t vmbus_shm_guest_receive(struct vmbus_shm_guest *guest, void *message, size_t size, int *fd);
int vmbus_shm_guest_send(struct vmbus_shm_guest *guest, struct shm_header *message, size_t len,
			 const int *fds, unsigned int fd_count);
/* The reply to @request, of exactly @size bytes. */
int vmbus_shm_guest_reply(struct vmbus_shm_guest *guest, const struct shm_header *request,
			  void *reply, size_t size, int *fd);
void vmbus_shm_guest_eom(struct vmbus_shm_guest *guest, uint32_t vp);
#endif
