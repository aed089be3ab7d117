/* SPDX-License-Identifier: MIT */
/* A bridge between the guest's end of a network adapter and a tap: a lane for each channel. */
#ifndef TOOLS_LOOPBACK_BRIDGE_H
#define TOOLS_LOOPBACK_BRIDGE_H

#include <vsp/netvsc.h>

#include "loopback.h"

struct bridge_stats {
	uint64_t to_host_frames, to_host_bytes;
	uint64_t to_host_lost; /* cut, in no form the host takes, or refused by it */
	uint64_t from_host_frames, from_host_bytes;
	uint64_t from_host_lost; /* no Ethernet, or not taken by the tap */
};

/* -- Lanes (loopback-lane.c): the data path -------------------------------- */

#define LANE_BUFFERS 128u /* frames on their way to the host */

struct lane_buffer {
	uint64_t *pfns;
	uint8_t *memory;
};

#define LANE_BATCH 64u /* frames from the host that go to the tap together */
#define LANE_IOV 512u  /* of all of them */

/* One channel and the tap's queue of the same number. */
struct lane {
	struct session_port port; /* first */
	struct vsp_netvsc netvsc;
	struct vsp_nic_queue *queue; /* NULL: no frames either way */
	uint32_t mtu;
	bool readable; /* the queue may have frames */
	struct bridge_stats stats;
	struct lane_buffer buffers[LANE_BUFFERS];
	struct lane_buffer *free[LANE_BUFFERS];
	uint32_t free_count;
	/* from the host, for the tap */
	struct vsp_nic_frame frames[LANE_BATCH];
	uint8_t heads[LANE_BATCH][VSP_NETVSC_HEAD_MAX];
	struct iovec iov[LANE_IOV];
	uint32_t frame_count, iov_count;
};

/* With guest memory for its buffers. NULL: the session is over. */
struct lane *lane_new(struct session *s);
void lane_free(struct lane *lane);

/* Frames run from now on, as the tap and the host are able to; until lane_stop(). Returns 0
 * or < 0. */
int lane_start(struct lane *lane, struct vsp_nic *tap, uint32_t index, struct vmbus_loop *loop,
	       uint32_t mtu);
void lane_stop(struct lane *lane);
/* The channel is closed: the host has let go of all buffers. */
void lane_reset(struct lane *lane);

/* For struct vsp_netvsc_ops. */
void lane_received(struct vsp_netvsc *netvsc, const struct vsp_netvsc_frame *frame);
void lane_returning(struct vsp_netvsc *netvsc);
void lane_sent(struct vsp_netvsc *netvsc, void *buffer, uint32_t status);

/* -- The whole (loopback-bridge.c, loopback-adapter.c) ------------------------ */

#define BRIDGE_RECEIVE_PAGES 4096u /* 16 MiB */
#define BRIDGE_SEND_PAGES 8u       /* control messages; frames lie in their own pages */

struct bridge {
	struct session *s;
	const struct loopback_options *options;
	struct loopback_tap spec;
	struct vmbus_loop *loop;
	struct vsp_nic *tap;
	struct vmbus_guest_channel *primary;
	struct lane *lanes[LOOPBACK_QUEUES];
	uint32_t lane_count; /* whose channels are open */
	uint32_t mtu;
	uint64_t receive_pfns[BRIDGE_RECEIVE_PAGES], send_pfns[BRIDGE_SEND_PAGES];
	uint32_t receive_gpadl, send_gpadl;
	uint32_t granted;
	bool stop; /* a signal came */
	struct vmbus_watch interrupt, signals;
	struct vmbus_timer tick;
	uint32_t ticks;
	struct bridge_stats shown;
	int control; /* a socket: the way to ask an interface for its MTU */
};

/* Opens the adapter with the MTU b->mtu and starts the lanes. Frames stop first, then the
 * adapter, then the memory is ours again. Return an exit code; after an error of the session there is
 * nothing left to close. */
int bridge_up(struct bridge *b);
int bridge_down(struct bridge *b);

void bridge_rates_clear(void); /* before something else is said on a terminal */

#endif
