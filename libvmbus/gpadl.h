/* SPDX-License-Identifier: MIT */
/* GPADLs: lists of guest pages that the guest names by a handle, assembled from
 * messages, kept private, and pinned for as long as anything uses them. */
#ifndef LIBVMBUS_GPADL_H
#define LIBVMBUS_GPADL_H

#include <stdatomic.h>
#include <sys/queue.h>

#include <vmbus/server.h>

enum gpadl_state {
	GPADL_ASSEMBLING, /* more GPADL_BODY to come */
	GPADL_ACCEPTED,
	GPADL_TEARDOWN, /* GPADL_TORNDOWN is owed when the last reference is gone */
	GPADL_DROPPED,  /* forgotten by the guest; nothing is owed */
};

struct gpadl_range {
	uint32_t offset, len;
	const uint64_t *pfns; /* into words[] */
};

struct vmbus_gpadl {
	LIST_ENTRY(vmbus_gpadl) hash_link;    /* all but DROPPED, by handle */
	LIST_ENTRY(vmbus_gpadl) channel_link; /* all but DROPPED */
	TAILQ_ENTRY(vmbus_gpadl) ending_link; /* TEARDOWN and DROPPED */
	struct vmbus_server *server;
	struct vmbus_channel *channel; /* NULL once DROPPED */
	enum gpadl_state state;
	uint32_t handle;
	atomic_uint refs;          /* the guest's, the ring's, the device's */
	uint32_t word_count, have; /* announced, received */
	uint32_t pages;            /* charged to the server */
	uint32_t range_count;
	bool pinned;
	struct gpadl_range *ranges; /* once ACCEPTED */
	uint64_t words[];
};

/* The accepted GPADL of a channel, or NULL. No reference is taken. */
struct vmbus_gpadl *vmbus_gpadl_find(struct vmbus_channel *ch, uint32_t handle);
void vmbus_gpadl_ref(struct vmbus_gpadl *gpadl);

/* Drops a reference in the server's thread, where nobody need be woken. */
void vmbus_gpadl_put(struct vmbus_gpadl *gpadl);

/* Ends all GPADLs of a channel without a word to the guest. */
void vmbus_gpadl_drop_all(struct vmbus_channel *ch);

/* Frees what ended and is no longer referenced, answering where that is owed and
 * the queue has room. */
void vmbus_gpadl_reap(struct vmbus_server *server);

/* Whether an answer about a GPADL of @ch is still owed. */
bool vmbus_gpadl_owed(const struct vmbus_channel *ch);

/* All of them, referenced or not: for vmbus_server_free(). */
void vmbus_gpadl_free_all(struct vmbus_server *server);

#endif
