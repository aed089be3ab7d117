/* SPDX-License-Identifier: MIT */
/* An adapter, a guest's driver and a nic pair in one process, on the stepped bus. The far end
 * of the pair is the test's: what the guest sends arrives there, what the test puts in there
 * arrives at the guest. */
#ifndef TEST_NET_WORLD_H
#define TEST_NET_WORLD_H

#include <vmbus/inproc.h>
#include <vsp/net.h>
#include <vsp/netvsc.h>

#include "world-sum.h"

#define WORLD_CHANNELS 8u
#define WORLD_LOG 4096u
#define WORLD_UNANSWERED 0xffffu /* no status: for sent_status[], before a send */
#define WORLD_RECEIVE_MAX 2100u /* pages */

struct world_options {
	uint64_t seed;
	uint32_t version; /* newest the host offers; 0: all */
	uint32_t mtu;     /* 0: 1500 */
	uint32_t queues;  /* 0: 1 */
	uint32_t depth;   /* of the pair; 0: 1024 */
	uint32_t receive_pages, send_pages; /* 0: 256 and 32 */
	uint32_t receive_offset, receive_len, send_offset, send_len; /* len 0: all of the pages */
	uint32_t ring_pages; /* 0: 9 */
	bool rsc;
	uint64_t capabilities; /* of the guest; 0: the usual ones */
};

struct world_frame {
	uint32_t len, checksum, vlan, hash;
	uint32_t hash_info;
	bool coalesced, has_vlan, has_hash;
	uint8_t channel;
	uint8_t bytes[2048]; /* the first of them */
	uint64_t sum;        /* of all */
};

struct world {
	struct world_options options;
	struct vmbus_inproc *bus;
	struct vsp_nic *peer;
	struct vsp_nic_queue *peer_queues[WORLD_CHANNELS];
	struct vsp_net *net;
	struct vmbus_guest_channel *channels[WORLD_CHANNELS];
	struct vsp_netvsc vsc[WORLD_CHANNELS];
	uint32_t open_channels;
	uint64_t receive_pfns[WORLD_RECEIVE_MAX], send_pfns[64], page_pfns[64];
	uint8_t *receive, *send, *pages; /* as the guest sees them, in a row */
	uint32_t gpadls_created, gpadls_torn;
	/* what happened */
	uint32_t readable, writable;
	uint32_t received, sent, answered, links, granted;
	uint32_t unreturned; /* received frames whose memory the guest still has */
	uint32_t sent_status[WORLD_LOG]; /* by the number given as user */
	uint32_t answer_status, answer_len;
	uint32_t received_before_answer;
	uint8_t answer[1024];
	struct world_frame frames[WORLD_LOG]; /* received, at number % WORLD_LOG */
	bool deaf; /* the driver does not look at its rings */
	void (*raw)(struct world *w); /* a driver of the test's own, instead: reads channel 0 */
	void *raw_user;
	void (*opened)(struct world *w); /* the channel is; nothing was said on it yet */
};

struct world *world_new(const struct world_options *options);
/* Opens the channel, hands buffers over, sets the driver up. */
void world_up(struct world *w);
/* Halts, closes, takes the buffers back. */
void world_down(struct world *w);
/* Closes without a word of the driver's. */
void world_crash(struct world *w);
void world_end(struct world *w);

/* Asks for so many sub-channels and opens them. One of them alone. */
void world_channels_up(struct world *w, uint32_t count);
void world_channel_up(struct world *w, uint32_t index);
void world_channel_down(struct world *w, uint32_t index);

/* Takes the buffers back and hands them over anew, the channels stay open. Only after it the
 * guest writes into them again. */
void world_buffers_renew(struct world *w);

/* Lets everything happen that can. */
void world_settle(struct world *w);

/* Shows the host what was put into the ring. */
void world_signal(struct world *w, uint32_t channel);

/* Sends a packet of the test's own on the primary, which wants an answer. Returns its status. */
uint32_t world_packet_send(struct world *w, struct vmbus_packet *packet);

/* Puts a frame in at the far end. Returns false if the pair is full. */
bool world_put(struct world *w, uint32_t queue, const void *frame, uint32_t len,
	       const struct vsp_vnet_header *header);
/* Takes one out: its length, 0 if there is none. */
uint32_t world_take(struct world *w, uint32_t queue, uint8_t *frame, uint32_t size,
		    struct vsp_vnet_header *header);

/* A control request and its answer. Returns the status. */
uint32_t world_request(struct world *w, uint32_t type, uint32_t oid, const void *info, uint32_t len);

/* Builds an Ethernet + IPv4 + UDP frame of @len bytes, its content by @number. */
void world_frame(uint8_t *frame, uint32_t len, uint32_t number);
#endif
