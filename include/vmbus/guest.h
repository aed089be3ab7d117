/* SPDX-License-Identifier: MIT */
/* The guest's end of a VMBus connection: what tests, tools, fuzzers, benchmarks
 * and the bare-metal guest use. Sans I/O and freestanding: no allocation, no libc
 * beyond memcpy and memset; all storage is the caller's.
 *
 * A request of the caller's (connect, create a GPADL, open, ...) posts messages;
 * the answer arrives later through vmbus_guest_message() as a call of struct
 * vmbus_guest_ops. When the host pushes back (HV_STATUS_INSUFFICIENT_BUFFERS) the
 * rest is kept and vmbus_guest_flush() goes on.
 *
 * Threads: one at a time for the connection; one at a time for each channel's
 * rings. */
#ifndef VMBUS_GUEST_H
#define VMBUS_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmbus/fault.h>
#include <vmbus/ring.h>
#include <vmbus/wire.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmbus_guest;
struct vmbus_guest_channel;

enum vmbus_guest_state {
	VMBUS_GUEST_DISCONNECTED,
	VMBUS_GUEST_CONNECTING,
	VMBUS_GUEST_CONNECTED,
	VMBUS_GUEST_UNLOADING,
};

enum vmbus_guest_channel_state {
	VMBUS_GUEST_CHANNEL_NONE, /* slot not in use */
	VMBUS_GUEST_CHANNEL_OFFERED,
	VMBUS_GUEST_CHANNEL_OPENING,
	VMBUS_GUEST_CHANNEL_OPEN,
	VMBUS_GUEST_CHANNEL_RESCINDED, /* until vmbus_guest_release() */
};

/* Called from inside vmbus_guest_message(), and from vmbus_guest_flush() where a pushed
 * back INITIATE_CONTACT or UNLOAD goes out; unloaded() also from vmbus_guest_unload() with a
 * 0.13 host. They may call the guest again. Any but post and signal may be NULL. @status is
 * the host's: 0, or any other for a failure. */
struct vmbus_guest_ops {
	size_t size; /* sizeof this struct */

	/* HvCallPostMessage; returns the HV_STATUS_*. */
	uint32_t (*post)(void *opaque, uint32_t connection_id, const void *message, size_t len);
	/* HvCallSignalEvent, flag 0. */
	void (*signal)(void *opaque, uint32_t connection_id);

	void (*connected)(void *opaque, uint32_t version); /* 0: every version was refused */
	void (*offered)(void *opaque, struct vmbus_guest_channel *channel);
	void (*all_offered)(void *opaque);
	void (*rescinded)(void *opaque, struct vmbus_guest_channel *channel);
	void (*gpadl_created)(void *opaque, uint32_t gpadl, uint32_t status);
	void (*gpadl_torndown)(void *opaque, uint32_t gpadl);
	void (*opened)(void *opaque, struct vmbus_guest_channel *channel, uint32_t status);
	void (*modified)(void *opaque, struct vmbus_guest_channel *channel, uint32_t status);
	void (*unloaded)(void *opaque);
};

struct vmbus_guest_channel {
	enum vmbus_guest_channel_state state;
	struct vmbus_guest *guest;
	struct vmbus_msg_offer offer; /* a private copy; of a 0.13 host without its tail */
	uint32_t gpadl;               /* of the rings while opening or open, else 0 */
	struct vmbus_tx tx;           /* upstream: guest to host */
	struct vmbus_rx rx;           /* downstream: host to guest */
	uint64_t signals;             /* sent to the host */
	void *user;                   /* the caller's */
};

struct vmbus_guest_config {
	size_t size; /* sizeof this struct */
	const struct vmbus_guest_ops *ops;
	void *opaque;
	struct vmbus_guest_channel *channels; /* the caller's, max_channels of them */
	uint32_t max_channels;                /* further offers are ignored and counted */
	uint32_t target_vp;                   /* takes control messages */
	uint32_t max_version;                 /* first to try; then each older one */
	uint32_t min_version;
	uint32_t features;     /* VMBUS_FEATURE_* to ask for (6.0) */
	uint64_t monitor_page; /* GPA of two pages to name as monitor pages; 0: none */
	uint64_t interrupt_page;     /* GPA; named before 5.0, in use before 2.4; 0: none */
	void *interrupt_memory;      /* the same page as the guest sees it; 8-byte aligned */
	struct vmbus_guid client_id; /* sent with VMBUS_FEATURE_CLIENT_ID */
};
#define VMBUS_GUEST_CONFIG_INIT                                                          \
	{ .size = sizeof(struct vmbus_guest_config), .max_version = VMBUS_V6_0,          \
	  .min_version = VMBUS_V0_13 }

#define VMBUS_GUEST_GPADLS 8u /* creations whose messages are not all posted yet */

struct vmbus_guest {
	struct vmbus_guest_config config;
	enum vmbus_guest_state state;
	uint32_t version, features; /* negotiated, or being tried */
	uint32_t connection_id;     /* for messages to the host */
	uint32_t next_gpadl;
	uint64_t ignored_offers, bad_messages;
	struct vmbus_guest_gpadl { /* a list that is being sent */
		uint32_t channel_id, gpadl, count, sent, offset, len;
		const uint64_t *pfns; /* NULL: free slot */
	} gpadls[VMBUS_GUEST_GPADLS];
	uint8_t unsent[VMBUS_MESSAGE_MAX]; /* the message the host pushed back */
	uint32_t unsent_len;
};

/* Takes the caller's storage; posts nothing. Returns 0; -22 (EINVAL): an op or the
 * channels are missing, or min_version is above max_version. Versions before 2.4 are not
 * tried without an interrupt page. */
VMBUS_API int vmbus_guest_init(struct vmbus_guest *guest, const struct vmbus_guest_config *config)
	VMBUS_MUST_CHECK;

/* A control message from the host (SIMP slot 2), private bytes. Returns 0, or the
 * fault of a host that breaks the protocol (the message is ignored). */
VMBUS_API int vmbus_guest_message(struct vmbus_guest *guest, const void *message, size_t len)
	VMBUS_MUST_CHECK;

/* Posts what the host pushed back: the message first, then GPADL lists, a message of each in
 * turn. Returns 0 if all is posted; -11 (EAGAIN) if the host still pushes back; -5 (EIO) if
 * the hypervisor refused a message for good: that one is dropped. */
VMBUS_API int vmbus_guest_flush(struct vmbus_guest *guest);

/* All of the following return 0 (then the message is posted, or kept for
 * vmbus_guest_flush()); -11 (EAGAIN) if an earlier message waits to be posted (flush
 * first); -22 (EINVAL) if this is not the state for it; -5 (EIO) if the hypervisor refused
 * the message. After an error nothing has changed, but for what is said. */

/* Negotiates: max_version first, each older one until the host accepts ->
 * ops->connected(). Legal at any moment (kexec): channels, GPADLs and unposted messages of
 * the old connection are forgotten, whatever it returns. Never -11 or -22; -5 if no version
 * could be asked for. */
VMBUS_API int vmbus_guest_connect(struct vmbus_guest *guest) VMBUS_MUST_CHECK;
/* -> ops->offered() each, ops->all_offered() */
VMBUS_API int vmbus_guest_request_offers(struct vmbus_guest *guest) VMBUS_MUST_CHECK;
/* -> ops->unloaded(): the host has let go of everything. Then all channels are gone. A 0.13
 * host does not answer: it is over as soon as it is posted. */
VMBUS_API int vmbus_guest_unload(struct vmbus_guest *guest) VMBUS_MUST_CHECK;

/* Hands @len bytes of guest memory, from byte @offset of the first page on, to the
 * host under the channel's name -> ops->gpadl_created(). @pfns must stay valid until
 * then. The handle is returned in @gpadl before the first message is posted. Also -28
 * (ENOSPC): more than 8190 pages, or too many creations at a time. After -5 the handle is
 * used up: the host may have part of the list, for as long as the channel is held. */
VMBUS_API int vmbus_guest_gpadl_create(struct vmbus_guest_channel *channel, const uint64_t *pfns,
				       uint32_t offset, uint32_t len, uint32_t *gpadl)
	VMBUS_MUST_CHECK;
/* -> ops->gpadl_torndown(). -22 as well while the list is still being posted. */
VMBUS_API int vmbus_guest_gpadl_teardown(struct vmbus_guest_channel *channel, uint32_t gpadl)
	VMBUS_MUST_CHECK;

/* Opens: rings zeroed and taken over, then OPEN_CHANNEL -> ops->opened(). @gpadl is the
 * created GPADL of both rings, upstream first; @upstream and @downstream are the same
 * memory as the guest sees it, valid while the channel is open; @target_vp takes its
 * interrupts (VMBUS_VP_NONE: there are none); @user_data is 120 bytes or NULL. After an
 * error the rings may have been zeroed. */
VMBUS_API int vmbus_guest_open(struct vmbus_guest_channel *channel, uint32_t gpadl,
			       const struct vmbus_ring_memory *upstream,
			       const struct vmbus_ring_memory *downstream, uint32_t target_vp,
			       const void *user_data) VMBUS_MUST_CHECK;
/* No answer; the ring's GPADL can be torn down next, and the rings are the guest's again
 * when that is done. Also right for a channel that was rescinded while it was opening or
 * open, before it is released. */
VMBUS_API int vmbus_guest_close(struct vmbus_guest_channel *channel) VMBUS_MUST_CHECK;
/* From 4.1 on -> ops->modified() from 5.3 on. */
VMBUS_API int vmbus_guest_modify(struct vmbus_guest_channel *channel, uint32_t target_vp)
	VMBUS_MUST_CHECK;
/* After a rescind: RELID_RELEASED, and the slot is free for another offer. The host drops
 * the channel's GPADLs. */
VMBUS_API int vmbus_guest_release(struct vmbus_guest_channel *channel) VMBUS_MUST_CHECK;

/* Shows the host what was put into channel->tx and signals it if that is due. */
VMBUS_API void vmbus_guest_signal(struct vmbus_guest_channel *channel);
/* Commits what was read from channel->rx and signals the host if it waits for space. */
VMBUS_API void vmbus_guest_commit(struct vmbus_guest_channel *channel);

/* The channel with this id, NULL if there is none. */
VMBUS_API struct vmbus_guest_channel *vmbus_guest_find(struct vmbus_guest *guest,
						       uint32_t channel_id);

#ifdef __cplusplus
}
#endif
#endif
