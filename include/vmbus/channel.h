/* SPDX-License-Identifier: MIT */
/* A channel on the host side, as a device (VSP) sees it.
 *
 * Life: vmbus_server_offer() makes it; the guest opens and closes it any number of
 * times; the device takes it back with vmbus_channel_revoke(). While it is open
 * exactly one thread serves it by calling vmbus_channel_service() after anything
 * happened: the doorbell rang, an I/O completed, memory was hot-plugged.
 *
 *   server's thread                 serving thread
 *   ops->open()
 *   server ops->channel_opened() -> starts watching the doorbell
 *                                   vmbus_channel_service() -> ops->service() ...
 *   guest closes: stop is asked,
 *   doorbell is rung             -> vmbus_channel_service() -> ops->stop() until it
 *                                   returns 0; then -ESHUTDOWN: stop watching
 *   ops->closed()
 *
 * Stop and reset are therefore requests with a later completion, and guest
 * memory is never touched after the last. */
#ifndef VMBUS_CHANNEL_H
#define VMBUS_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmbus/fault.h>
#include <vmbus/memory.h>
#include <vmbus/ring.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmbus_channel;
struct vmbus_gpadl;

/* What a device does. @device is offer->device. */
struct vmbus_channel_ops {
	size_t size; /* sizeof this struct */

	/* The guest opens the channel: rings are mapped, nothing was read yet.
	 * Allocate what the data path needs. Returns 0, or < 0 to refuse.
	 * Server's thread. */
	int (*open)(void *device, struct vmbus_channel *channel);

	/* Takes up to @budget packets off the ring, answers what is finished.
	 * @budget is 0 while requests in flight keep an old memory layout: then
	 * only answer. Returns 0 if the ring was seen empty; -EAGAIN if more is
	 * waiting; -EBUSY if more is waiting that cannot be taken until a request
	 * has finished or the guest has made room (vmbus_tx_wait_space()): the
	 * channel then sleeps although its ring is not empty; or a fault, which
	 * stops this channel alone. Any other error stops it too. Old guests do not
	 * tell when they have made room (vmbus_rx_peer_frees()): for those the device
	 * rings the doorbell from a timer, say every millisecond. Serving thread. */
	int (*service)(void *device, struct vmbus_channel *channel, unsigned int budget);

	/* Take no more packets. Returns 0 once no I/O on guest memory is in
	 * flight, else -EINPROGRESS: it is called again. It must end: until it does,
	 * the guest waits for its UNLOAD_COMPLETE, VERSION_RESPONSE or
	 * GPADL_TORNDOWN, and a reset or shutdown for its end, as memory that I/O
	 * still writes cannot be given back. The server has no clock; see
	 * vmbus_server_stats.closing_channels. Serving thread. */
	int (*stop)(void *device, struct vmbus_channel *channel);

	/* Closed: free what open() allocated. Called once for each open() that
	 * returned 0, and for no other. Server's thread. */
	void (*closed)(void *device, struct vmbus_channel *channel);

	/* The guest tears down a GPADL that the device holds a reference on:
	 * let go of it soon (as with stop(): vmbus_server_stats.ending_gpadls). May be NULL. Server's thread. */
	void (*gpadl_teardown)(void *device, struct vmbus_channel *channel, uint32_t gpadl);

	/* The last message about this channel and its sub-channels is over: the
	 * channel was revoked and the guest has released it (or the server is
	 * freed). The pointer dies after this call, which may come from inside
	 * vmbus_channel_revoke(). Not called for sub-channels. May be NULL.
	 * Server's thread. */
	void (*released)(void *device, struct vmbus_channel *channel);

	/* The guest waits for answers, and asks again as soon as it has one: a disk. A loop
	 * then looks for the next request a while before it sleeps. Not so where packets come
	 * in a time of their own, as with a network card. */
	bool eager;
};

/* -- Control: server's thread --------------------------------------------- */

/* Takes the offer back: no I/O is taken from now on, running I/O is finished,
 * the guest is told, and ops->released() is called when it let go. */
VMBUS_API void vmbus_channel_revoke(struct vmbus_channel *channel);

/* Offers sub-channels 1 to @count of an open primary channel, those that exist
 * already left alone. They have the primary's ops and device, and are taken back
 * when it closes. Server's thread, or the thread that serves @primary: the offers
 * are made by the next vmbus_server_poll(), which is asked for. Returns 0; -EINVAL
 * (not an open primary); -ENOSPC (no channel ids left: none will be offered). */
VMBUS_API int vmbus_channel_offer_sub(struct vmbus_channel *primary, uint16_t count) VMBUS_MUST_CHECK;

/* A call that a device makes of itself in the server's thread, where it may look for
 * GPADLs. The device's storage, until fn was called. */
struct vmbus_channel_call {
	void (*fn)(struct vmbus_channel_call *call);
};
/* Has @call->fn called once by the next vmbus_server_poll(), which is asked for. One call of
 * a channel at a time; ops->stop() says -EINPROGRESS while it is outstanding, and fn rings
 * the doorbell. The thread that serves @channel, while it is open. */
VMBUS_API void vmbus_channel_call(struct vmbus_channel *channel, struct vmbus_channel_call *call);

/* -- Facts: any thread while the channel is open -------------------------- */

VMBUS_API uint32_t vmbus_channel_id(const struct vmbus_channel *channel);
VMBUS_API uint16_t vmbus_channel_subindex(const struct vmbus_channel *channel); /* 0: primary */
VMBUS_API struct vmbus_channel *vmbus_channel_primary(struct vmbus_channel *channel);
VMBUS_API uint32_t vmbus_channel_version(const struct vmbus_channel *channel); /* of the connection */
VMBUS_API uint32_t vmbus_channel_target_vp(const struct vmbus_channel *channel);
VMBUS_API const uint8_t *vmbus_channel_open_data(const struct vmbus_channel *channel); /* 120 bytes */

/* A pointer of the device's own, kept with the channel (its per-open state). */
VMBUS_API void vmbus_channel_set_user(struct vmbus_channel *channel, void *user);
VMBUS_API void *vmbus_channel_get_user(const struct vmbus_channel *channel);

/* -- Data path: the serving thread ---------------------------------------- */

/* An eventfd that becomes readable when the guest signals the channel. Borrowed; a
 * new one with each open, valid until the channel is opened again or released: a
 * loop that stops watching later than vmbus_channel_service() says -ESHUTDOWN
 * watches a dup() of it. Level-safe: read it, then service. */
VMBUS_API int vmbus_channel_doorbell(const struct vmbus_channel *channel);

/* Does what is there to do: calls ops->service() or ops->stop(), and signals the
 * guest if that is due. Returns 1 if there is more to do at once; 0 if not;
 * -ESHUTDOWN: the channel is closed, stop watching its doorbell and do not call
 * again. */
VMBUS_API int vmbus_channel_service(struct vmbus_channel *channel, unsigned int budget);

/* Whether a service call would find something: one load of shared memory. For
 * spinning before sleep. */
VMBUS_API bool vmbus_channel_pending(const struct vmbus_channel *channel);

/* Whether packets went through an eager device's channel, either way, since the last call:
 * then it is worth spinning. */
VMBUS_API bool vmbus_channel_eager(struct vmbus_channel *channel);

/* Before sleeping on the doorbell: asks the guest to signal. Returns true if
 * something came in between (serve again, do not sleep). While serving, the
 * guest's signals are masked. */
VMBUS_API bool vmbus_channel_arm(struct vmbus_channel *channel) VMBUS_MUST_CHECK;

/* For ops->service(): the two rings, and guest memory. The view is the same
 * through one call of service(), and for as long as the device says it has I/O
 * in flight (vmbus_channel_busy()). */
VMBUS_API struct vmbus_rx *vmbus_channel_rx(struct vmbus_channel *channel);
VMBUS_API struct vmbus_tx *vmbus_channel_tx(struct vmbus_channel *channel);
VMBUS_API const struct vmbus_view *vmbus_channel_view(const struct vmbus_channel *channel);

/* Requests that hold pointers into guest memory: +n when started, -n when done.
 * While the sum is not 0 the view is kept. */
VMBUS_API void vmbus_channel_busy(struct vmbus_channel *channel, int n);

/* Writes a packet into the guest's ring and shows it to the guest; the signal is
 * left to the end of vmbus_channel_service(), or to vmbus_channel_progress(). Returns as
 * vmbus_tx_put(). */
VMBUS_API int vmbus_channel_send(struct vmbus_channel *channel, const struct vmbus_packet *packet,
				 uint32_t from_reserve) VMBUS_MUST_CHECK;

/* For ops->service() of a device that works on each packet for a while (an I/O), called after
 * each: a guest that sleeps is signalled when about sixteen packets of a long batch are left,
 * and wakes up while the device does those, instead of after them. It may cost some signals
 * more a batch; nothing with a guest that is awake, or with less than five packets at a time. */
VMBUS_API void vmbus_channel_progress(struct vmbus_channel *channel);

/* What stopped the channel, VMBUS_FAULT_NONE if nothing did, or an error of the device's own
 * (stats.faults tells). Any thread. */
VMBUS_API enum vmbus_fault vmbus_channel_fault(const struct vmbus_channel *channel);

struct vmbus_channel_stats {
	uint64_t packets_in, packets_out, bytes_in, bytes_out;
	uint64_t doorbells; /* service calls that the doorbell caused */
	uint64_t signals;   /* sent to the guest */
	uint64_t services, faults;
};
VMBUS_API void vmbus_channel_get_stats(const struct vmbus_channel *channel, struct vmbus_channel_stats *stats);

/* -- GPADLs --------------------------------------------------------------- */

/* The accepted GPADL @handle of @channel with a reference, or NULL. While it is
 * held the guest's teardown is not answered. Server's thread; _unref in any. */
VMBUS_API struct vmbus_gpadl *vmbus_channel_gpadl(struct vmbus_channel *channel, uint32_t handle);
VMBUS_API void vmbus_gpadl_unref(struct vmbus_gpadl *gpadl);

/* Its ranges. Return the number of ranges; range @i (0 if there is no such). */
VMBUS_API uint32_t vmbus_gpadl_ranges(const struct vmbus_gpadl *gpadl);
VMBUS_API struct vmbus_span vmbus_gpadl_range(const struct vmbus_gpadl *gpadl, uint32_t i);

#ifdef __cplusplus
}
#endif
#endif
