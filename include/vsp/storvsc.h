/* SPDX-License-Identifier: MIT */
/* The guest's end of the storage protocol: initialisation, SCSI requests and their
 * completions, over a channel of vmbus/guest.h. Sans I/O and freestanding like it.
 *
 * Threads: one at a time for a channel. */
#ifndef VSP_STORVSC_H
#define VSP_STORVSC_H

#include <stdbool.h>
#include <stdint.h>

#include <vmbus/guest.h>
#include <vsp/storvsp-wire.h>

#define VSP_API VMBUS_API

#ifdef __cplusplus
extern "C" {
#endif

/* One SCSI command. The caller fills the first part and keeps the storage until done(). */
struct vsp_storvsc_request {
	uint8_t path, target, lun;
	uint8_t cdb_len;
	uint8_t cdb[16];
	uint8_t direction;     /* enum vsp_srb_direction: write, read, none */
	uint32_t len;          /* bytes of data */
	uint32_t offset;       /* of the data in its first page */
	const uint64_t *pfns;  /* guest pages of the data, vmbus_span_pages(offset, len) of them */
	void (*done)(struct vsp_storvsc_request *request);
	void *user;
	/* filled before done() */
	uint8_t srb_status, scsi_status; /* as the host gave them, flag bits included */
	uint8_t sense_len;               /* 0 unless the host says that there is sense */
	uint8_t sense[20];
	uint32_t transferred; /* bytes, never above len */
	uint32_t slot;        /* ours: transaction id - 1 */
};

#define VSP_STORVSC_REQUESTS 512u /* in flight a channel */
#define VSP_STORVSC_PAGES 2049u   /* a request: 8 MiB that start inside a page */
#define VSP_STORVSC_BATCH 1024u   /* packets a poll: the host cannot keep us in it */

struct vsp_storvsc {
	struct vmbus_guest_channel *channel;
	enum vsp_storvsc_state { VSP_STORVSC_BEGIN, VSP_STORVSC_VERSION, VSP_STORVSC_PROPERTIES,
		VSP_STORVSC_END, VSP_STORVSC_READY, VSP_STORVSC_FAILED } state;
	uint16_t version;       /* negotiated, or being tried */
	uint16_t max_sub_channels;
	uint32_t max_transfer;  /* bytes, a multiple of 4096 */
	uint32_t status;        /* NTSTATUS of the last initialisation message's answer */
	bool waiting;           /* for the answer to an initialisation message */
	uint32_t in_flight;
	uint64_t rescans;       /* ENUMERATE_BUS and REMOVE_DEVICE seen */
	uint64_t bad_packets;   /* that no host should send */
	/* Called by vsp_storvsc_poll() when the initialisation ended; state tells how. Set it
	 * after vsp_storvsc_init(). May be NULL. */
	void (*ready)(struct vsp_storvsc *storvsc);
	void *user;
	struct vsp_storvsc_request *requests[VSP_STORVSC_REQUESTS]; /* in flight, by slot */
	uint32_t free_slots[VSP_STORVSC_REQUESTS];
	uint64_t ranges[2 + VSP_STORVSC_PAGES]; /* of the packet being put */
};

/* Takes an open channel (VMBUS_GUEST_CHANNEL_OPEN; the caller keeps it open) into the
 * caller's storage, and starts the initialisation -> ready(). It begins with protocol 6.2 and
 * goes down to 2.0; an older one may be stored in storvsc->version before the first poll. For
 * a sub-channel pass the initialised primary: it is ready at once and ready() is not called.
 * Returns 0 or the error of the ring (vmbus_tx_put()). */
VSP_API int vsp_storvsc_init(struct vsp_storvsc *storvsc, struct vmbus_guest_channel *channel,
			     const struct vsp_storvsc *primary) VMBUS_MUST_CHECK;

/* Asks for @count sub-channels; they arrive as offers, the host's answer in
 * storvsc->status. Returns 0; -EINVAL (not ready, or the answer to the last one is missing);
 * or the ring's error. */
VSP_API int vsp_storvsc_create_sub_channels(struct vsp_storvsc *storvsc, uint16_t count)
	VMBUS_MUST_CHECK;

/* Puts a request into the ring; the host sees it with the next vsp_storvsc_kick() at the
 * latest. Returns 0; -EAGAIN (ring full, or 512 in flight); -EINVAL (not ready, no such
 * direction, an offset past the page, or more pages than a request or the ring's packets
 * have room for); or a fault of the host's ring, which must not be used further. How much
 * the host takes (max_transfer) is the caller's to keep to. */
VSP_API int vsp_storvsc_submit(struct vsp_storvsc *storvsc, struct vsp_storvsc_request *request)
	VMBUS_MUST_CHECK;
/* Shows the host what was submitted, and signals it if that is due. */
VSP_API void vsp_storvsc_kick(struct vsp_storvsc *storvsc);

/* Handles what the host has sent: calls done(), which may submit, and ready(). Returns 0, or
 * a fault of the host's ring, which must not be used further; @packets (may be NULL) is the
 * number of packets taken. Answers to nothing that was asked, too short, or with another
 * operation than COMPLETE_IO are dropped and counted in bad_packets. Arm the ring afterwards
 * (vmbus_rx_arm()): it says if there is more. */
VSP_API int vsp_storvsc_poll(struct vsp_storvsc *storvsc, unsigned int *packets) VMBUS_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
