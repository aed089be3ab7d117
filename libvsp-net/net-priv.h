/* SPDX-License-Identifier: MIT */
/* The adapter on its channels. Who may touch what:
 *
 *   channel->lock   held by the serving thread while it serves the channel, and by
 *                   whoever changes what all channels read: the adapter, the NVSP state, the
 *                   buffers, net->channels. Uncontended but for such changes.
 *   net->lock       held around a change, taken before the channels' locks
 *                   (vsp_net_change_begin()); never while holding one of them.
 *   net->slot_lock, channel->inbox_lock   leaves, for a few instructions.
 *
 * NVSP messages other than RNDIS are handled in the server's thread, because GPADLs are
 * found there; the primary channel waits for the answer. RNDIS control messages are queued by
 * the data path and handled by the primary's serving thread between two turns of it. */
#ifndef VSP_NET_PRIV_H
#define VSP_NET_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include <vmbus/channel.h>
#include <vsp/net.h>

#include "adapter.h"
#include "nvsp.h"
#include "rndis.h"

#define NET_CONTROL_SLOTS 16u   /* the first of the receive buffer, for control messages */
#define NET_CONTROL_QUEUE 8u    /* control requests waiting for one */
#define NET_FRAME_OFFSET 126u   /* of a frame in its slot: IP headers get 4-byte aligned */
_Static_assert(VSP_RNDIS_RECEIVED_MAX <= NET_FRAME_OFFSET, "the message fits in front");
#define NET_SLOT_TAIL 36u       /* newer Windows guests cannot use the last bytes of a slot */
#define NET_LARGE_SLOT 8384u    /* for coalesced frames; no power of two: the heads of slots then */
#define NET_LARGE_SLOTS 1024u   /* share no cache set. Only where there are as many */
#define NET_NO_SLOT 0xffffffffu

#define NET_PACKET_MAX 8192u  /* bytes of a packet of the guest */
#define NET_TX_FRAMES 64u     /* in one batch for the nic */
#define NET_TX_MESSAGES 16u   /* in one packet; guests were told 8 */
#define NET_TX_PARTS 128u     /* GPA ranges of a packet */
#define NET_TX_TOTAL (256u << 10) /* bytes of a packet's messages */
#define NET_TX_PACKET_IOV 384u /* iovecs that such a packet can need */
#define NET_TX_IOV 1536u
#define NET_RX_IOV 512u
#define NET_RX_WINDOW 64u     /* slots ready to be received into */
#define NET_RX_BATCH 64u      /* frames received in one turn */
#define NET_RANGES 128u       /* slots in one packet */
#define NET_RANGES_NDIS5 64u
#define NET_CACHE 128u        /* free slots that a channel keeps for itself */

struct net_buffer { /* memory of the guest, from SEND_BUF or RECV_BUF */
	struct vmbus_gpadl *gpadl; /* a reference; NULL: none */
	uint32_t handle;
	struct vmbus_span span;
};

struct net_slot { /* private: nothing of it is in guest memory */
	uint32_t next;       /* of the free list, frame, or packet */
	uint32_t len;        /* bytes of the message in it */
	uint32_t frame_next; /* first slots: the next frame on its way to the guest */
	uint32_t last;       /* first slots: the frame's last slot */
	uint8_t pieces;      /* first slots: how many */
	uint8_t kind : 2;    /* first slots: VSP_NET_DIRECTED, ... */
	bool coalesced : 1;  /* first slots */
	uint16_t sent_on;    /* packet heads: channel + 1 that the guest answers on; 0: none */
};

struct net_slots {
	struct net_slot *slots;
	uint32_t count, size; /* size: bytes of one */
	uint32_t control;     /* of them, the first, for control messages */
	uint32_t room;        /* frame bytes that fit into one */
	uint32_t free, free_count;
};

struct net_tx {
	struct vsp_nic_frame frames[NET_TX_FRAMES];
	struct iovec iov[NET_TX_IOV];
	uint8_t heads[NET_TX_FRAMES][VSP_HEAD + VSP_VLAN_TAG];
	struct net_request {
		uint64_t transaction_id;
		uint32_t end; /* frames of the batch up to here make it complete */
		enum vsp_nvsp_status status;
		bool answer;
	} requests[NET_TX_FRAMES];
	unsigned int frame_count, sent, iov_count, request_count, answered;
	bool full; /* the nic is */
};

struct net_rx {
	uint8_t message[NET_FRAME_OFFSET + VSP_HEAD]; /* what goes in front of it, and its head */
	uint32_t cache[NET_CACHE];
	uint32_t cache_count;
	struct net_window { /* slots whose memory is in iov[] */
		uint32_t slot, iov_count;
	} window[NET_RX_WINDOW];
	uint32_t window_count, iov_count;
	struct iovec iov[NET_RX_IOV];
	struct iovec list[NET_RX_IOV + 2]; /* for the nic, of one frame */
	const struct vmbus_view *view;     /* that iov[] was made from */
	uint32_t ready_first, ready_last;  /* frames for the guest, by first slot */
	uint64_t dispatched;               /* other channels that got frames, as bits */
	bool nic_readable; /* receive() did not say 0 since it was */
	bool starved;      /* no free slot */
	bool ring_full;
};

struct net_channel {
	struct vsp_net *net;
	struct vmbus_channel *channel;
	uint16_t index;
	pthread_mutex_t lock;
	struct vmbus_loop *loop;
	bool loop_serves; /* the channel, too: its events need no doorbell */
	struct vsp_nic_queue *queue; /* NULL before the first service */
	bool started;    /* was served once */
	bool ring_waits; /* for room in the guest's ring */
	uint32_t room_wanted; /* bytes of it that something waits for; 0: nothing does */
	int fault;       /* of the guest's ring, found while answering */
	struct vmbus_timer timer; /* for guests that do not tell of space in their ring */

	pthread_mutex_t inbox_lock;
	uint32_t inbox_first, inbox_last; /* frames that other channels received for it */

	struct net_tx tx;
	struct net_rx rx;
	struct vsp_net_stats stats;
	uint8_t packet[NET_PACKET_MAX] __attribute__((aligned(8)));
};

struct net_control { /* an RNDIS control message waiting for its turn */
	uint32_t len;
	uint8_t bytes[VSP_RNDIS_REQUEST_MAX];
};

struct vsp_net {
	struct vsp_net_config config;
	struct vsp_nic *nic;
	struct vmbus_channel *primary;

	pthread_mutex_t lock;
	struct net_channel *channels[VSP_NET_CHANNELS]; /* that are open */
	struct vsp_adapter adapter;
	struct vsp_nvsp nvsp;
	struct net_buffer receive, send;
	struct net_slots slots;
	pthread_mutex_t slot_lock;
	_Atomic uint64_t starving; /* channels that found no free slot, as bits */
	uint32_t sub_channels_open;
	bool table_sent;
	struct vsp_net_stats past; /* of channels that were closed */

	/* An NVSP message on its way through the server's thread. */
	struct vmbus_channel_call call;
	struct {
		uint32_t len;
		uint64_t transaction_id;
		bool answer;
		uint8_t bytes[sizeof(struct vsp_nvsp_message)];
		struct vsp_nvsp_reply reply;
	} message;
	_Atomic enum net_message { NET_MESSAGE_NONE, NET_MESSAGE_ASKED, NET_MESSAGE_DONE } message_state;

	/* The primary's serving thread. */
	struct net_control control[NET_CONTROL_QUEUE];
	uint32_t control_first, control_count;
	uint16_t control_slots; /* free ones, as bits */
	bool link_told, offloads_untold;
	uint64_t speed_told;
	atomic_bool link_changed;
};

/* Around a change of what all channels read. */
void vsp_net_change_begin(struct vsp_net *net);
void vsp_net_change_end(struct vsp_net *net);

void vsp_net_stats_add(struct vsp_net_stats *sum, const struct vsp_net_stats *stats);

/* Has the channel served soon. Any thread that keeps it from closing. */
void vsp_net_kick(struct net_channel *ch);

/* Inside a change: forgets all that the guest driver set up. */
void vsp_net_session_reset(struct vsp_net *net);
void vsp_net_destroy(struct vsp_net *net);

/* -- Buffers (buffer.c); inside a change --------------------------------- */

extern const struct vsp_nvsp_ops vsp_net_nvsp_ops;
void vsp_net_buffer_drop(struct vsp_net *net, bool receive);
/* Whether guest and nic are both able to coalesce segments (RSC). */
bool vsp_net_coalesces(const struct vsp_net *net);

/* A free slot for frames, NET_NO_SLOT if there is none. The channel's lock is held. */
uint32_t vsp_net_slot_take(struct net_channel *ch);
/* Gives a chain of slots back; @first to the end of the next links. */
void vsp_net_slots_put(struct net_channel *ch, uint32_t first);
/* Gives all that the channel kept for itself back to the others. */
void vsp_net_slots_return(struct net_channel *ch);

/* -- Guest to nic (transmit.c); the channel's lock is held ---------------- */

/* The memory that a guest's RNDIS packet names. */
struct net_gather {
	struct vmbus_span parts[NET_TX_PARTS + 1];
	unsigned int count;
	uint32_t total;
};
/* Takes a data packet; NET_COMPLETION_BYTES are reserved for its answer, if it wants one. */
void vsp_net_transmit(struct net_channel *ch, const struct vmbus_packet *packet,
		      const struct net_gather *gather);
/* Whether the batch has room for any one packet. */
bool vsp_net_transmit_room(const struct net_channel *ch);
/* Hands the batch to the nic and answers what is finished. Returns false if the nic is
 * full. */
bool vsp_net_transmit_flush(struct net_channel *ch);
/* Forgets the frames that wait for the nic. Any thread. */
void vsp_net_transmit_drop(struct net_channel *ch);

int vsp_net_gather(struct vsp_net *net, const struct vmbus_packet *packet,
		   const struct vsp_nvsp_rndis *rndis, struct net_gather *gather);
int vsp_net_gather_read(const struct vmbus_view *view, const struct net_gather *gather, uint32_t at,
			void *dst, uint32_t len);

/* -- Nic to guest (receive.c); the channel's lock is held ----------------- */

/* Receives up to NET_RX_BATCH frames and shows them to the guest. Returns 0; -EINPROGRESS: there
 * is more; -EAGAIN: the guest's ring is full; or a fault of that ring. */
int vsp_net_receive(struct net_channel *ch);
/* Sends what is ready. Returns 0, -EAGAIN or a fault. */
int vsp_net_receive_deliver(struct net_channel *ch);
/* The guest is done with the slots of packet @id. Returns 0 or a fault. */
int vsp_net_receive_done(struct net_channel *ch, uint64_t id);
/* The receive buffer is going: forgets every slot. Any thread. */
void vsp_net_receive_drop(struct net_channel *ch);
/* The guest does not take the frames that wait for it any more: all, or the coalesced ones.
 * Inside a change. */
void vsp_net_receive_discard(struct net_channel *ch, bool coalesced_only);
/* The channel was closed: its slots are free again. Inside a change. */
void vsp_net_receive_end(struct net_channel *ch);

/* -- Control (control.c); the primary's serving thread -------------------- */

/* Queues a control message. Returns the status of its completion. */
enum vsp_nvsp_status vsp_net_control_queue(struct net_channel *ch, const struct net_gather *gather);
/* Handles what is queued and tells the guest of changes, as far as slots and ring allow. No
 * lock is held. */
void vsp_net_control_run(struct net_channel *ch);
bool vsp_net_control_waiting(const struct vsp_net *net);

/* -- Channels (channel.c) ------------------------------------------------- */

extern const struct vmbus_channel_ops vsp_net_channel_ops;

#define NET_COMPLETION_BYTES 32u /* ring bytes of an RNDIS completion */
#define NET_ANSWER_BYTES 64u     /* of any NVSP answer */

/* Something waits for so much room in the guest's ring until the next turn. */
void vsp_net_room_want(struct net_channel *ch, uint32_t bytes);

/* Completes a packet, from its reservation of @reserved bytes. */
void vsp_net_complete(struct net_channel *ch, uint64_t transaction_id, const struct vsp_nvsp_reply *reply,
		      uint32_t reserved);

#endif
