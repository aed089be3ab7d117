/* SPDX-License-Identifier: MIT */
/* The host's end of a VMBus connection, one a guest. A pure state machine: bytes
 * and calls in, calls of struct vmbus_server_ops out; no system call but
 * eventfd, no thread, no clock.
 *
 * Threads: all calls of one server come one at a time (one thread, or a lock of
 * the backend's), except vmbus_channel_service() and what channel.h says of it.
 * The ops are called from inside these calls, and never re-enter the server
 * except where said. */
#ifndef VMBUS_SERVER_H
#define VMBUS_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmbus/channel.h>
#include <vmbus/fault.h>
#include <vmbus/guid.h>
#include <vmbus/memory.h>
#include <vmbus/wire.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmbus_server;

/* The bus backend's side. @opaque is config->opaque. */
struct vmbus_server_ops {
	size_t size; /* sizeof this struct */

	/* Delivers a control message to slot @sint of @vp. Returns 0 if it is in
	 * the slot; -EAGAIN if the slot is taken or not enabled: the server keeps
	 * the message, and all behind it, until vmbus_server_slot_free(); any other
	 * -errno if it can never be delivered: it is dropped. */
	int (*post_message)(void *opaque, uint32_t vp, uint8_t sint, const void *message, size_t len);

	/* Interrupts the guest for a channel: event flag @flag of VMBUS_SINT on
	 * @vp. From 2.4 on the flag is the channel's own; before, @interrupt_page is
	 * not 0 and bit @flag of its first half is set instead, then flag 0.
	 * Called in the serving threads, concurrently. */
	void (*signal)(void *opaque, uint32_t vp, uint32_t flag, uint64_t interrupt_page);

	/* From here on HvCallSignalEvent on @connection_id (flag 0) writes the
	 * eventfd @doorbell. Before 1.1 all channels share VMBUS_CONN_EVENT: it is
	 * added once for each, and writes them all. Returns 0 or -errno: the open
	 * fails. */
	int (*doorbell_add)(void *opaque, uint32_t connection_id, int doorbell);
	void (*doorbell_remove)(void *opaque, uint32_t connection_id, int doorbell);

	/* @channel was opened: have one thread serve it from now on, beginning
	 * with one call of vmbus_channel_service(). */
	void (*channel_opened)(void *opaque, struct vmbus_channel *channel);

	/* Something is to do for the server: call vmbus_server_poll() soon, in
	 * the server's thread. Called in any thread, at the latest just before
	 * vmbus_channel_service() returns -ESHUTDOWN. */
	void (*wake)(void *opaque);

	/* May be NULL. @fault with what the guest did, for the log; rate limited
	 * by the server (the first of its kind, then each power of two). */
	void (*log)(void *opaque, enum vmbus_fault fault, uint32_t channel_id, const char *text);
};

struct vmbus_server_config {
	size_t size; /* sizeof this struct */
	const struct vmbus_server_ops *ops;
	void *opaque;
	struct vmbus_mem *mem; /* a reference is taken */
	uint32_t vp_count;
	uint32_t min_version; /* oldest and newest version accepted */
	uint32_t max_version;
	uint32_t features;     /* VMBUS_FEATURE_* granted on request (6.0) */
	uint32_t max_channels; /* offered at a time; <= 2047 */
	uint32_t max_gpadls;
	uint32_t max_gpadl_pages; /* all GPADLs together */
	uint32_t max_messages;    /* to the guest, waiting for its slot; >= 2 */
	bool paged_rings;         /* never map rings contiguously (tests) */
};
#define VMBUS_SERVER_CONFIG_INIT                                                         \
	{ .size = sizeof(struct vmbus_server_config), .vp_count = 1,                     \
	  .min_version = VMBUS_V0_13, .max_version = VMBUS_V6_0,                         \
	  .features = VMBUS_FEATURE_GUEST_SIGNALS | VMBUS_FEATURE_MODIFY_CONNECTION |    \
		      VMBUS_FEATURE_CLIENT_ID | VMBUS_FEATURE_PAUSE_RESUME,              \
	  .max_channels = 2047, .max_gpadls = 4096, .max_gpadl_pages = 1u << 20,         \
	  .max_messages = 4096 }

/* Returns 0; -EINVAL (a missing op, bad limits); -ENOMEM. */
VMBUS_API int vmbus_server_new(const struct vmbus_server_config *config, struct vmbus_server **server)
	VMBUS_MUST_CHECK;

/* All channels must be closed: see vmbus_server_shutdown(). Revokes and releases
 * all offers. NULL is fine. */
VMBUS_API void vmbus_server_free(struct vmbus_server *server);

/* -- What comes from the guest -------------------------------------------- */

/* HvCallPostMessage with SynIC message type 1: @len bytes of payload, already
 * private. Returns 0; -EAGAIN: too much waits for the guest's slot, answer
 * HV_STATUS_INSUFFICIENT_BUFFERS; VMBUS_FAULT_BAD_CONNECTION: answer
 * HV_STATUS_INVALID_CONNECTION_ID; VMBUS_FAULT_OVERSIZED: answer
 * HV_STATUS_INVALID_PARAMETER; any other fault: the message was dropped or
 * answered with the protocol's failure reply, the hypercall succeeded. During a
 * reset -EAGAIN, after a shutdown VMBUS_FAULT_BAD_CONNECTION. */
VMBUS_API int vmbus_server_message(struct vmbus_server *server, uint32_t connection_id,
				   const void *message, size_t len) VMBUS_MUST_CHECK;

/* A message slot came free (EOM), or SIMP, SCONTROL or the SINT were written:
 * posts what waits. */
VMBUS_API void vmbus_server_slot_free(struct vmbus_server *server);

/* What ops->wake() asked for: finishes closings, answers teardowns. */
VMBUS_API void vmbus_server_poll(struct vmbus_server *server);

/* Regions were added to or removed from guest memory: has every open channel
 * served once, so that idle ones let go of the old layout. To be called after each
 * vmbus_mem_add() and vmbus_mem_remove(), or the removed memory stays in use. */
VMBUS_API void vmbus_server_memory_changed(struct vmbus_server *server);

/* The VM was reset: every channel is closed and every message dropped without a
 * word to the guest; messages from the guest are pushed back until it is done.
 * vmbus_server_resetting() tells. */
VMBUS_API void vmbus_server_reset(struct vmbus_server *server);
VMBUS_API bool vmbus_server_resetting(const struct vmbus_server *server);

/* As reset, for good: when vmbus_server_resetting() is false again the server may
 * be freed. */
VMBUS_API void vmbus_server_shutdown(struct vmbus_server *server);

/* -- Offers --------------------------------------------------------------- */

struct vmbus_offer {
	size_t size; /* sizeof this struct */
	struct vmbus_guid interface_id;
	struct vmbus_guid instance_id; /* unique for its interface */
	uint16_t flags;                /* VMBUS_OFFER_* */
	uint16_t mmio_megabytes;
	uint8_t user_defined[VMBUS_USER_DEFINED];
	uint32_t order; /* offers are sent by (interface, order, instance) */
	const struct vmbus_channel_ops *ops;
	void *device;
};
#define VMBUS_OFFER_INIT { .size = sizeof(struct vmbus_offer) }

/* Offers a channel, at once if the guest has asked for offers (hot-add). If the
 * guest still holds a revoked channel of the same GUIDs the offer is made when it
 * lets go. Returns 0; -EINVAL; -EEXIST (offered already); -ENOSPC (no id
 * left); -ENOMEM. */
VMBUS_API int vmbus_server_offer(struct vmbus_server *server, const struct vmbus_offer *offer,
				 struct vmbus_channel **channel) VMBUS_MUST_CHECK;

/* -- Facts ---------------------------------------------------------------- */

struct vmbus_server_stats {
	uint32_t version; /* negotiated; 0 while disconnected */
	uint32_t features;
	uint32_t channels, open_channels, gpadls, gpadl_pages, messages_waiting;
	/* What holds up an answer, a reset or a shutdown: channels whose devices were asked
	 * to stop and have not, GPADLs that are torn down and still in use (a closing
	 * channel's rings among them). */
	uint32_t closing_channels, ending_gpadls;
	uint64_t messages_in, messages_out, contacts, unloads;
	uint64_t faults[VMBUS_FAULT_COUNT];
};
VMBUS_API void vmbus_server_get_stats(const struct vmbus_server *server, struct vmbus_server_stats *stats);

/* Calls @fn for each channel that exists, ascending by id. */
VMBUS_API void vmbus_server_each_channel(struct vmbus_server *server,
					 void (*fn)(struct vmbus_channel *channel, void *arg), void *arg);

/* A control message's facts, for tools and tests: name ("OPEN_CHANNEL"), or NULL. */
VMBUS_API const char *vmbus_message_name(uint32_t type);

#ifdef __cplusplus
}
#endif
#endif
