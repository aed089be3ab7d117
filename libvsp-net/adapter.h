/* SPDX-License-Identifier: MIT */
/* What the guest sees of its adapter and sets in it: the state behind the OIDs. Pure. */
#ifndef VSP_ADAPTER_H
#define VSP_ADAPTER_H

#include <stdbool.h>
#include <stdint.h>

#include <vmbus/cursor.h>
#include <vsp/net.h>
#include <vsp/rndis-wire.h>

#include "rss.h"

#define VSP_MULTICAST_MAX 32u
#define VSP_OID_ANSWER_MAX 768u
#define VSP_FRIENDLY_NAME 512u /* bytes of UTF-16LE, terminator included */

enum vsp_adapter_change {
	VSP_CHANGED_FILTER = 1,
	VSP_CHANGED_OFFLOADS = 2,
	VSP_CHANGED_RSS = 4,
	VSP_CHANGED_MAC = 8,
	VSP_CHANGED_RESET = 16, /* INITIALIZE or HALT: no frame flows any more */
};

/* What is computed for the guest (tx) or told to it (rx). */
struct vsp_offloads {
	bool ip4_tx, tcp4_tx, udp4_tx, tcp6_tx, udp6_tx;
	bool ip4_rx, tcp4_rx, udp4_rx, tcp6_rx, udp6_rx;
	bool lso4, lso6;
	bool rsc4, rsc6;
};

struct vsp_adapter {
	/* for the life of the device */
	uint8_t permanent_mac[6];
	bool allow_mac_change;
	char friendly_name[VSP_FRIENDLY_NAME / 2];
	uint32_t max_channels;
	uint32_t nic_offloads; /* VSP_NIC_* */
	/* The last that a guest chose. Linux goes on with it when it opens the channel again for
	 * another MTU, and does not say so. */
	bool mac_chosen;
	uint8_t chosen_mac[6];

	/* since the channel was opened */
	uint32_t mtu; /* Ethernet header included */
	uint32_t ndis_major, ndis_minor;
	bool rsc_allowed; /* by version and capabilities */
	bool initialized; /* RNDIS */
	uint8_t mac[6];
	uint32_t filter;
	uint8_t multicast[VSP_MULTICAST_MAX][6];
	uint32_t multicast_count;
	struct vsp_offloads offloads; /* now on */
	struct vsp_rss rss;

	/* kept up to date by the device */
	bool link_up;
	uint64_t speed_bps;
	struct vsp_net_stats stats; /* brought up to date before a control message */

	uint32_t changed; /* VSP_CHANGED_*, by control messages; whoever acts clears it */
};

/* Forgets what the last guest driver set up; the channel was opened. */
void vsp_adapter_reset(struct vsp_adapter *adapter);

/* INITIALIZE or HALT: forgets what was set by control messages, but for the MAC. */
void vsp_adapter_restart(struct vsp_adapter *adapter);

/* All that is possible: what the nic can do, and what is done in software. */
struct vsp_offloads vsp_adapter_possible(const struct vsp_adapter *adapter);

/* The NDIS structure that tells the guest of @offloads. */
void vsp_offloads_describe(const struct vsp_offloads *offloads, struct vsp_ndis_offload *out);

/* Whether a NDIS structure from the guest, @len bytes with this header, is of @type and has at
 * least the first @least bytes of it. A newer revision may have more. */
bool vsp_ndis_object_valid(struct vsp_ndis_object header, uint8_t type, size_t least, size_t len);

/* OID_TCP_OFFLOAD_PARAMETERS: switches on what is possible and off what is not. Returns
 * an RNDIS status. */
uint32_t vsp_offloads_set(struct vsp_adapter *adapter, struct vmbus_cursor in);

/* OID_GEN_RNDIS_CONFIG_PARAMETER. Returns an RNDIS status. */
uint32_t vsp_adapter_configure(struct vsp_adapter *adapter, struct vmbus_cursor in);

/* VSP_NET_DIRECTED, ... */
unsigned int vsp_traffic_kind(const uint8_t destination[6]);

/* Adds a frame with this destination to its kind. */
void vsp_traffic_add(struct vsp_net_traffic kinds[VSP_NET_KINDS], const uint8_t destination[6],
		     uint32_t len);

/* Whether the packet filter lets a frame with this destination through. */
bool vsp_adapter_wants(const struct vsp_adapter *adapter, const uint8_t destination[6]);

/* The answer to a query goes to @out, its length to @len. @room: the guest's own buffer
 * (0: not told). Return an RNDIS status. */
uint32_t vsp_oid_query(struct vsp_adapter *adapter, uint32_t oid, uint32_t room,
		       uint8_t out[VSP_OID_ANSWER_MAX], uint32_t *len);
uint32_t vsp_oid_set(struct vsp_adapter *adapter, uint32_t oid, struct vmbus_cursor in);

/* Row @i of the table of OIDs, in the order of the supported list; 0 behind the last. */
uint32_t vsp_oid_row(unsigned int i);

#endif
