/* SPDX-License-Identifier: MIT */
/* What the host knows of one channel. The server's thread owns the control part,
 * the serving thread the data part; between them there are a few atomic words and
 * no lock:
 *
 *   stop       server -> serving: take no more packets
 *   stopped    serving -> server: the last access to guest memory is over
 *   halted     serving -> server: a fault stopped this channel
 *   target_vp  server -> serving: where the guest wants its interrupts
 *   signals    serving -> server: odd while a signal is under way
 *   moved      server -> serving: somebody waits for the end of that signal
 *   sub_wanted serving -> server: sub-channels to offer
 *   call       serving -> server: a function to call */
#ifndef LIBVMBUS_CHANNEL_H
#define LIBVMBUS_CHANNEL_H

#include <stdatomic.h>
#include <sys/queue.h>

#include <vmbus/server.h>

#define STATE(state) (1u << (state))

enum channel_state {
	CHANNEL_RELEASED,
	CHANNEL_CLOSED,
	CHANNEL_OPEN,
	CHANNEL_CLOSING,
	CHANNEL_REOPENING,
	CHANNEL_RELEASING,
	CHANNEL_REVOKING,
	CHANNEL_REVOKED,
	CHANNEL_DELETING,
	CHANNEL_STATES
};

struct channel_state_row {
	const char *name, *comment;
	uint32_t to; /* states that may follow */
};
extern const struct channel_state_row vmbus_channel_states[CHANNEL_STATES];

/* What an OPEN_CHANNEL asked for. */
struct open_request {
	uint32_t open_id, gpadl, target_vp, page_offset;
	uint32_t connection_id, event_flag;
	uint8_t user_data[VMBUS_USER_DEFINED];
};

struct vmbus_channel {
	/* made with the channel, never changed */
	struct vmbus_server *server;
	struct vmbus_channel *primary; /* itself, if it is one */
	struct vmbus_offer offer;
	struct vmbus_channel_ops ops;
	uint16_t subindex;

	/* -- the server's thread -- */
	TAILQ_ENTRY(vmbus_channel) link; /* by (interface, order, instance, subindex) */
	enum channel_state state;
	uint32_t id;                  /* stays for the device until it has closed */
	bool held;                    /* the guest knows it by that id */
	struct vmbus_channel *behind; /* same GUIDs, still held by the guest: wait for its end */
	uint32_t sub_count;           /* sub-channels that exist */
	bool offer_due, rescind_due;  /* messages the queue has no place for yet */
	bool modify_due, modify_waits;
	bool halt_told;
	uint32_t modify_signals; /* the signal that must be over before the answer */
	LIST_HEAD(, vmbus_gpadl) gpadls;

	/* -- from open to close: set by the server's thread, read by both -- */
	bool serving; /* the device has it open */
	struct open_request open, reopen;
	struct vmbus_gpadl *ring_gpadl;
	struct vmbus_ring_memory upstream, downstream;
	uint32_t version;
	uint64_t interrupt_page; /* before 2.4 */
	int doorbell;            /* -1: never opened */

	/* -- the serving thread -- */
	struct vmbus_rx rx;
	struct vmbus_tx tx;
	struct vmbus_view *view;
	void *user;
	int busy;
	bool armed;    /* asleep, until the guest signals */
	bool blocked;  /* a request has to end before more can be taken */
	bool stopping; /* ops->stop() was called */
	struct {
		uint64_t packets, bytes; /* taken when a signal was last considered */
	} progress;
	uint64_t eager_packets; /* read and written when vmbus_channel_eager() was asked last */

	/* -- between them -- */
	atomic_bool stop, stopped, moved;
	atomic_int halted; /* a fault, or -errno of the device */
	_Atomic uint32_t target_vp, signals;
	_Atomic(struct vmbus_channel_call *) call;
	_Atomic uint32_t sub_wanted, sub_ids; /* sub_ids: reserved, the primary keeps them */

	/* written by the serving thread, read by any */
	struct {
		_Atomic uint64_t packets_in, packets_out, bytes_in, bytes_out;
		_Atomic uint64_t doorbells, signals, services, faults;
	} stats;
};

/* Before the device and the guest learn of an open channel; asks it to stop. */
void vmbus_channel_start(struct vmbus_channel *ch);
void vmbus_channel_request_stop(struct vmbus_channel *ch);

/* Wakes the serving thread. */
void vmbus_channel_ring_doorbell(const struct vmbus_channel *ch);

#endif
