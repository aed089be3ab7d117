/* SPDX-License-Identifier: MIT */
/* The nic seam: where frames of a network VSP go to and come from. Implemented
 * here for tap devices and for an in-memory pair; a VMM may bring its own.
 *
 * A nic has queues, one a serving thread. Frames go both ways with the metadata
 * of a virtio-net header, so that checksums and segmentation stay undone as long as
 * possible. Sending and receiving never wait and are over when the call returns:
 * no frame memory is held in between. A queue that has nothing, or no room, says so
 * once and calls back, on the loop of its thread, when that changes: nobody
 * polls, and frames wait where they are. Frames of one queue stay in order.
 *
 * Threads: a queue's ops and events in the thread of its loop; the others in any,
 * one at a time. */
#ifndef VSP_NIC_H
#define VSP_NIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <vmbus/fault.h>
#include <vmbus/loop.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef VSP_API
#define VSP_API VMBUS_API
#endif

#define VSP_VNET_NEEDS_CSUM 1u /* the checksum at csum_start + csum_offset holds the seed only */
#define VSP_VNET_DATA_VALID 2u /* received: the checksum was verified */
#define VSP_VNET_GSO_NONE 0u
#define VSP_VNET_GSO_TCPV4 1u
#define VSP_VNET_GSO_TCPV6 4u
#define VSP_VNET_GSO_UDP_L4 5u
#define VSP_VNET_GSO_ECN 0x80u /* with one of the TCP types */

struct vsp_vnet_header { /* the 12-byte form, little-endian */
	uint8_t flags;    /* VSP_VNET_NEEDS_CSUM, ... */
	uint8_t gso_type;
	uint16_t header_len; /* of Ethernet to TCP; a hint */
	uint16_t gso_size;   /* payload of a segment */
	uint16_t csum_start; /* from the frame's first byte */
	uint16_t csum_offset;
	uint16_t buffers; /* 0 */
};

struct vsp_nic_frame {
	struct vsp_vnet_header header;
	/* iov[0] is header (12 bytes); the frame, Ethernet header first, is in the rest */
	struct iovec *iov;
	unsigned int iov_count;
	uint32_t len; /* of the frame without header. Received: filled in */
	int result;   /* 0; -errno: this frame was dropped, -EMSGSIZE: it was cut to len */
};

#define VSP_NIC_FRAME_MAX 65562u /* 64 KiB of IP, an Ethernet header and two tags */

/* What a nic can do, and with set_offloads what it may do in the receive direction. */
#define VSP_NIC_CSUM 0x1u
#define VSP_NIC_TSO4 0x2u
#define VSP_NIC_TSO6 0x4u
#define VSP_NIC_USO 0x8u

struct vsp_nic_info {
	uint32_t queues;    /* that can be open at a time, >= 1 */
	uint32_t mtu;       /* largest IP packet; 0: not known */
	uint32_t offloads;  /* VSP_NIC_*: accepted by send, possible in receive */
	uint64_t speed_bps; /* 0: not known */
	bool link_up;
};

/* Calls from a queue to its user, by way of its loop if it has one: never from inside of the queue's
 * own ops. @opaque is that of queue_new, which copies this struct. */
struct vsp_nic_events {
	size_t size; /* sizeof this struct */
	void (*readable)(void *opaque); /* receive() returned 0, and now there is something */
	void (*writable)(void *opaque); /* send() took fewer, and now there is room */
};

struct vsp_nic;
struct vsp_nic_queue;

struct vsp_nic_ops {
	size_t size; /* sizeof this struct */

	void (*get_info)(struct vsp_nic *nic, struct vsp_nic_info *info); /* any thread */

	/* Opens a queue for the calling thread, whose loop is @loop. @index < info.queues,
	 * each open once at a time. Returns 0 or < 0. */
	int (*queue_new)(struct vsp_nic *nic, uint32_t index, struct vmbus_loop *loop,
			 const struct vsp_nic_events *events, void *opaque,
			 struct vsp_nic_queue **queue);
	void (*queue_free)(struct vsp_nic_queue *queue); /* no event follows */

	/* Takes frames in order. Returns how many of @count it is done with (sent, or
	 * dropped with frame->result < 0), so their memory is free again. Fewer than
	 * @count: full, events->writable() will tell. */
	unsigned int (*send)(struct vsp_nic_queue *queue, struct vsp_nic_frame *frames,
			     unsigned int count);

	/* Fills up to @count frames (header, the iovecs' memory, len, result). Returns how
	 * many; 0: none there, events->readable() will tell. */
	unsigned int (*receive)(struct vsp_nic_queue *queue, struct vsp_nic_frame *frames,
				unsigned int count);

	/* What received frames may have left undone from now on; frames already queued may
	 * still come in the old form. Returns 0 or < 0. */
	int (*set_offloads)(struct vsp_nic *nic, uint32_t offloads);

	/* Calls @changed, in any thread, when the link went up or down or changed its speed
	 * (get_info tells). NULL: no more calls, also none still running on return. */
	void (*watch_link)(struct vsp_nic *nic, void (*changed)(void *opaque), void *opaque);

	void (*close)(struct vsp_nic *nic); /* no queue left */
};

struct vsp_nic { /* first in the nic's own struct */
	const struct vsp_nic_ops *ops;
};

struct vsp_nic_queue { /* first in the queue's own struct */
	struct vsp_nic *nic;
};

/* Two nics back to back in memory: what one sends the other receives, @depth frames
 * deep a queue; a full queue is not writable. Each side may be in its own thread; loops may
 * be NULL if it is one thread for all. Each is closed by its own ops, when the loops of its
 * queues have gone through what was posted to them. Returns 0; -EINVAL; -ENOMEM. */
VSP_API int vsp_nic_pair(uint32_t queues, uint32_t depth, struct vsp_nic *ends[2]) VMBUS_MUST_CHECK;

/* A nic whose frames come back, each on the queue that sent it, as with a plug that joins a port's
 * wires: with work left undone only as set_offloads allows it, and vsp_nic_pair_set_link() sets its
 * own link. Its queues need a loop each. Otherwise, and in what is returned, it is as a pair. */
VSP_API int vsp_nic_loopback(uint32_t queues, uint32_t depth, struct vsp_nic **nic) VMBUS_MUST_CHECK;

/* The link of the other end of a pair: what this end's user is told. Any thread. */
VSP_API void vsp_nic_pair_set_link(struct vsp_nic *end, bool up);

/* Writes all frames that pass through @inner into a pcap file (nanoseconds, Ethernet; open it
 * in Wireshark), as they are: before checksums are filled in and segments cut. The filter
 * takes @inner over, and is used instead of it. Returns 0; -ENOMEM; or the errno of the file,
 * with @err saying what is wrong; then @inner is still the caller's. */
VSP_API int vsp_nic_pcap(struct vsp_nic *inner, const char *path, struct vsp_nic **nic,
			 struct vmbus_error *err) VMBUS_MUST_CHECK;

/* A tap device, one fd a queue, non-blocking. Either it is made or attached to by name, in the
 * network namespace of the calling thread (CAP_NET_ADMIN, or an existing device that belongs
 * to the user), or its fds are handed in ready: IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, and
 * IFF_MULTI_QUEUE if there are several. With a limit for what is under way (TUNSETSNDBUF, before the
 * fds are handed in) frames go one by one and wait for room; without one, in batches. */
struct vsp_nic_tap_config {
	size_t size; /* sizeof this struct */
	const char *name; /* "": the kernel names it */
	uint32_t queues;  /* 1 to 64 */
	const int *fds;   /* @queues of them, the nic's from its success on; NULL: by name */

	/* By name only, and only what is set: by rtnetlink, needs CAP_NET_ADMIN. */
	uint32_t mtu;
	const uint8_t *mac; /* of the host's end, not the guest's */
	const char *bridge; /* to put it into */
	bool up;
	/* Follows the link (by name only): up while the device is up, and its bridge, if it is
	 * in one, has a carrier. The loop of the calling thread; NULL: up until the device is
	 * deleted, which a queue finds out. */
	struct vmbus_loop *loop;
};
#define VSP_NIC_TAP_CONFIG_INIT                                                          \
	{ .size = sizeof(struct vsp_nic_tap_config), .name = "", .queues = 1 }

/* Returns 0; -EINVAL; -ENOMEM; -errno of what failed, with @err saying what that is. The
 * nic has to be closed in the thread of config->loop, if there is one. */
VSP_API int vsp_nic_tap(const struct vsp_nic_tap_config *config, struct vsp_nic **nic,
			struct vmbus_error *err) VMBUS_MUST_CHECK;

/* The name of a nic made by vsp_nic_tap(); "" if its fds were handed in. */
VSP_API const char *vsp_nic_tap_name(const struct vsp_nic *nic);

#ifdef __cplusplus
}
#endif
#endif
