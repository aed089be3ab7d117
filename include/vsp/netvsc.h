/* SPDX-License-Identifier: MIT */
/* The guest's end of the network protocol: set-up, control requests, frames both ways, over
 * a channel of vmbus/guest.h. Sans I/O and freestanding like it.
 *
 * Threads: one at a time for a channel; the primary is set up before its sub-channels. */
#ifndef VSP_NETVSC_H
#define VSP_NETVSC_H

#include <stdbool.h>
#include <stdint.h>

#include <vmbus/guest.h>
#include <vsp/nic.h>
#include <vsp/nvsp-wire.h>
#include <vsp/rndis-wire.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vsp_netvsc;

#define VSP_NETVSC_PIECES 64u  /* of a coalesced frame */
#define VSP_NETVSC_RANGES 32u  /* of guest pages in one send */
#define VSP_NETVSC_PAGES 64u   /* in them together */
#define VSP_NETVSC_SENDS 256u  /* in flight a channel */
#define VSP_NETVSC_RETURNS 64u /* received packets whose memory goes back together */

struct vsp_netvsc_frame { /* received; the pieces are the host's again after ops->returning() */
	struct {
		const uint8_t *data;
		uint32_t len;
	} pieces[VSP_NETVSC_PIECES];
	uint32_t piece_count;
	uint32_t len;      /* of all pieces */
	bool coalesced;    /* several segments of a TCP stream in one frame */
	uint32_t checksum; /* VSP_CSUM_RX_* */
	bool has_vlan, has_hash;
	uint32_t vlan; /* as in VSP_INFO_8021Q */
	uint32_t hash;
	uint32_t hash_info; /* VSP_RSS_TOEPLITZ | VSP_RSS_IPV4, ...; 0: not told */
};

struct vsp_netvsc_ops { /* called from inside vsp_netvsc_poll(); any may be NULL */
	size_t size; /* sizeof this struct */
	void (*ready)(struct vsp_netvsc *netvsc); /* set up, or failed: see state */
	/* @frame itself is gone after the call. */
	void (*received)(struct vsp_netvsc *netvsc, const struct vsp_netvsc_frame *frame);
	void (*returning)(struct vsp_netvsc *netvsc); /* the memory of all frames received so far */
	void (*sent)(struct vsp_netvsc *netvsc, void *user, uint32_t status); /* VSP_NVSP_STATUS_* */
	/* Answer to vsp_netvsc_request(); private bytes. */
	void (*answered)(struct vsp_netvsc *netvsc, uint32_t status, const void *info, uint32_t len);
	void (*link)(struct vsp_netvsc *netvsc, bool up);
	void (*sub_channels)(struct vsp_netvsc *netvsc, uint32_t granted); /* they arrive as offers */
};

struct vsp_netvsc_config {
	size_t size; /* sizeof this struct */
	const struct vsp_netvsc_ops *ops;
	uint32_t max_version; /* first to try; then each older one */
	uint32_t mtu;         /* of IP */
	uint32_t filter;      /* VSP_FILTER_*, set at the end of the set-up */
	bool rsc;             /* take coalesced frames, if the host has them */
	uint64_t capabilities;
	/* The buffers: created GPADLs, and the same memory as the guest sees it. */
	uint32_t receive_gpadl, send_gpadl;
	uint8_t *receive, *send;
	uint32_t receive_len, send_len;
};
#define VSP_NETVSC_CONFIG_INIT                                                           \
	{ .size = sizeof(struct vsp_netvsc_config), .max_version = VSP_NVSP_V61,         \
	  .mtu = 1500, .filter = VSP_FILTER_DIRECTED | VSP_FILTER_BROADCAST | VSP_FILTER_ALL_MULTICAST, \
	  .capabilities = VSP_NVSP_CAP_8021Q | VSP_NVSP_CAP_TEAMING | VSP_NVSP_CAP_RSC }

enum vsp_netvsc_state {
	VSP_NETVSC_VERSION, VSP_NETVSC_RECEIVE, VSP_NETVSC_SEND, VSP_NETVSC_INITIALIZE,
	VSP_NETVSC_MAC, VSP_NETVSC_OFFLOAD, VSP_NETVSC_PARAMETERS, VSP_NETVSC_LINK,
	VSP_NETVSC_RSS, VSP_NETVSC_FILTER,
	VSP_NETVSC_READY, VSP_NETVSC_FAILED,
};

struct vsp_netvsc {
	struct vmbus_guest_channel *channel;
	struct vsp_netvsc_config config;
	struct vsp_netvsc *primary; /* itself, if it is one */
	enum vsp_netvsc_state state;
	/* what the host said */
	uint32_t version;
	uint32_t slot_size, slot_count, section_size, section_count;
	uint32_t max_queues;
	uint32_t rss_entries; /* of the table that vsp_netvsc_set_rss() takes; 0: no RSS */
	uint8_t mac[6];
	bool link_up;
	struct vsp_ndis_offload offload;
	uint32_t send_table[VSP_NVSP_INDIRECTION]; /* channel of hash & 15 */
	uint32_t tables; /* that arrived */
	/* counters; bad_packets: that no host should send */
	uint64_t bad_packets, received_packets, received_frames;
	/* ours */
	uint32_t request_id, request_oid;
	bool request_sent, request_answered;
	struct {
		uint64_t id;
		uint32_t status;
	} returns[VSP_NETVSC_RETURNS];
	uint32_t return_count;
	uint32_t in_flight;
	uint32_t free_ids[VSP_NETVSC_SENDS];
	struct {
		void *user;
		bool busy;
	} sends[VSP_NETVSC_SENDS];
	void *user; /* the caller's */
	uint8_t packet[8192] __attribute__((aligned(8)));
	uint8_t control[2048];
};

/* Takes an open primary channel and starts the set-up -> ready(). Section 0 of the send
 * buffer, which has at least two, is for control messages. Returns 0; -22 (EINVAL); or the
 * error of the ring. */
VSP_API int vsp_netvsc_init(struct vsp_netvsc *netvsc, const struct vsp_netvsc_config *config,
			    struct vmbus_guest_channel *channel) VMBUS_MUST_CHECK;
/* A sub-channel of a primary that is set up; ready at once. */
VSP_API void vsp_netvsc_init_sub(struct vsp_netvsc *netvsc, struct vsp_netvsc *primary,
				 struct vmbus_guest_channel *channel);

/* One control request at a time -> answered(): @type is VSP_RNDIS_QUERY or _SET. Returns 0;
 * -11 (EAGAIN): one is under way, or the ring is full; -22: not set up, or too long. */
VSP_API int vsp_netvsc_request(struct vsp_netvsc *netvsc, uint32_t type, uint32_t oid, const void *info,
			       uint32_t len) VMBUS_MUST_CHECK;
/* -> sub_channels() */
VSP_API int vsp_netvsc_ask_channels(struct vsp_netvsc *netvsc, uint32_t count) VMBUS_MUST_CHECK;
/* Has the host spread what it receives over the channels (RSS): the Toeplitz hash of a packet's
 * addresses, and ports of TCP, picks one of the @entries channel numbers in @table; what has no
 * hash comes on channel 0. A flow stays in order as long as the table stays. No entries: RSS
 * is off, and the host chooses. A control request -> answered(); returns as
 * vsp_netvsc_request(). */
VSP_API int vsp_netvsc_set_rss(struct vsp_netvsc *netvsc, const uint32_t *table, uint32_t entries)
	VMBUS_MUST_CHECK;
/* The channel, below @channels, for a flow with this hash to the host: by the table that the
 * host sent. For guests with no reason of their own to choose: a queue that the flow came
 * from, or was on before, is a better one. */
VSP_API uint32_t vsp_netvsc_send_channel(const struct vsp_netvsc *netvsc, uint32_t hash,
					 uint32_t channels);
/* Stops the frames (HALT) and takes the buffers back; then the channel can be closed. */
VSP_API int vsp_netvsc_halt(struct vsp_netvsc *netvsc) VMBUS_MUST_CHECK;

/* Writes the RNDIS message in front of a frame of @len bytes, whose first @head_len bytes
 * are in @head: offloads of @header and the tag @vlan (VSP_INFO_8021Q; < 0: none) become
 * per-packet information; lengths and seed of a frame to be segmented are changed to what
 * hosts expect. Returns the message's length without the frame; the frame follows. 0: there is no
 * way to say this. */
#define VSP_NETVSC_HEADER_MAX (sizeof(struct vsp_rndis_packet) + 48u)
VSP_API uint32_t vsp_netvsc_header(uint8_t *head, uint32_t head_len, uint32_t len,
				   const struct vsp_vnet_header *header, int64_t vlan,
				   uint8_t out[VSP_NETVSC_HEADER_MAX]);

struct vsp_netvsc_range {
	const uint64_t *pfns;
	uint32_t offset, len;
};
/* Sends RNDIS messages: @section_len bytes of section @section (or VSP_NVSP_NO_SECTION), then
 * the bytes of @ranges -> sent(). The host sees it with the next vmbus_guest_signal(). Returns
 * 0; -11 (EAGAIN): the ring is full, or too many are in flight; -22 (EINVAL). */
VSP_API int vsp_netvsc_send(struct vsp_netvsc *netvsc, uint32_t section, uint32_t section_len,
			    const struct vsp_netvsc_range *ranges, uint32_t count, void *user)
	VMBUS_MUST_CHECK;
/* The other way: what a nic is to send for a received frame. Fills @header and writes the
 * frame's first bytes into @head, with its VLAN tag put in; they stand for the first *@taken
 * bytes of the pieces. A coalesced frame becomes one to be segmented for @mtu. Returns the
 * bytes in @head; 0: this is no Ethernet frame. */
#define VSP_NETVSC_HEAD_MAX 196u
VSP_API uint32_t vsp_netvsc_nic_head(const struct vsp_netvsc_frame *frame, uint32_t mtu,
				     uint8_t head[VSP_NETVSC_HEAD_MAX], uint32_t *taken,
				     struct vsp_vnet_header *header);
/* The memory of a section of the send buffer. */
VSP_API uint8_t *vsp_netvsc_section(const struct vsp_netvsc *netvsc, uint32_t section);

/* Handles up to @budget packets of the host. Returns how many in @packets, and 0, or the
 * fault of its ring. Show the answers with vmbus_guest_signal() and commit. */
VSP_API int vsp_netvsc_poll(struct vsp_netvsc *netvsc, unsigned int budget, unsigned int *packets)
	VMBUS_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
