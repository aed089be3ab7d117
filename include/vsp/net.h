/* SPDX-License-Identifier: MIT */
/* A synthetic network adapter: NVSP and RNDIS over a VMBus channel and its
 * sub-channels, frames to and from a nic of nic.h.
 *
 * The guest's receive and send buffers are GPADLs of one range; one of several is refused with
 * a failure in the answer. No driver has such: Linux (and through it DPDK), FreeBSD, OpenBSD and
 * UEFI make one range of any buffer, and OpenVMM's host looks at the first only.
 *
 * Threads: everything here in the server's thread, unless said otherwise; the data
 * path runs in the threads that serve the channels, channel n on the nic's queue n. */
#ifndef VSP_NET_H
#define VSP_NET_H

#include <stdint.h>

#include <vmbus/server.h>
#include <vsp/nic.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VSP_NET_CHANNELS 64u /* that guests take of one adapter */

struct vsp_net;

struct vsp_net_config {
	size_t size; /* sizeof this struct */
	struct vmbus_server *server;
	struct vsp_nic *nic; /* taken over: closed when the adapter is freed */
	struct vmbus_guid instance_id; /* stable across boots: guests name the interface by it */
	uint8_t mac[6];
	uint32_t max_version;          /* newest VSP_NVSP_V* offered */
	uint32_t max_channels;         /* 1 to 64; never more than the nic has queues */
	bool allow_mac_change;         /* by the guest */
	const char *friendly_name;     /* ASCII; NULL: "Network Adapter" */

	/* The loop of the thread that serves @channel, for the nic's queue. Called in that
	 * thread, at the channel's first service. It may return NULL where the nic needs no
	 * loop and the guest tells of space in its ring: in tests. */
	struct vmbus_loop *(*loop_of)(void *opaque, struct vmbus_channel *channel);
	void *opaque;
};
#define VSP_NET_CONFIG_INIT                                                              \
	{ .size = sizeof(struct vsp_net_config), .max_version = 0x00060001,              \
	  .max_channels = 1, .allow_mac_change = true }

/* Makes the adapter and offers its channel. Returns 0; -EINVAL; what
 * vmbus_server_offer() says (the nic is then still the caller's). */
VSP_API int vsp_net_new(const struct vsp_net_config *config, struct vsp_net **net) VMBUS_MUST_CHECK;

/* Revokes the offer; the adapter is freed and its nic closed when the guest has let
 * go, at the latest with the server. @net is dead to the caller after this. NULL is
 * fine. */
VSP_API void vsp_net_free(struct vsp_net *net);

/* By destination: to one, to several, to all. */
#define VSP_NET_DIRECTED 0
#define VSP_NET_MULTICAST 1
#define VSP_NET_BROADCAST 2
#define VSP_NET_KINDS 3
struct vsp_net_traffic {
	uint64_t bytes, frames;
};

struct vsp_net_stats {
	uint64_t tx_frames, tx_bytes; /* guest to nic */
	uint64_t tx_errors;           /* refused: malformed, or too long */
	uint64_t tx_dropped;          /* by the nic */
	uint64_t tx_waits;            /* the nic was full */
	uint64_t rx_frames, rx_bytes; /* nic to guest */
	uint64_t rx_filtered;         /* the guest's packet filter refused them */
	uint64_t rx_dropped;          /* no form the guest takes */
	uint64_t rx_waits;            /* the guest gave no slots, or its ring was full */
	uint64_t bad_messages;        /* NVSP and RNDIS control messages that broke the rules */
	/* tx_frames and rx_frames once more */
	struct vsp_net_traffic tx_to[VSP_NET_KINDS], rx_to[VSP_NET_KINDS];
};
/* Sums over all channels since the adapter was made. Any thread. */
VSP_API void vsp_net_get_stats(struct vsp_net *net, struct vsp_net_stats *stats);

/* What the guest has set up. Any thread. */
struct vsp_net_state {
	uint32_t version; /* VSP_NVSP_V*; 0: not negotiated */
	uint32_t mtu;     /* of IP */
	uint32_t channels;
	uint32_t filter; /* VSP_FILTER_* */
	uint8_t mac[6];  /* now in use */
};
VSP_API void vsp_net_get_state(struct vsp_net *net, struct vsp_net_state *state);

#ifdef __cplusplus
}
#endif
#endif
