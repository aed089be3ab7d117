/* SPDX-License-Identifier: MIT */
/* The server's insides, shared by server*.c and gpadl.c.
 *
 * Everything that a message, a poll or a device's call brings about is first
 * written into the state; vmbus_server_leave() then makes the messages of it
 * that the queue has room for and posts what the guest's slot takes. So the
 * queue is bounded however many answers, offers and rescinds are due. */
#ifndef LIBVMBUS_SERVER_H
#define LIBVMBUS_SERVER_H

#include <stdatomic.h>
#include <sys/queue.h>

#include <vmbus/server.h>

#include "channel.h"
#include "gpadl.h"
#include "message.h"

enum connection_state {
	CONNECTION_DISCONNECTED,
	CONNECTION_CONNECTED,
	CONNECTION_DISCONNECTING,
	CONNECTION_STATES
};

struct connection_state_row {
	const char *name, *comment;
	uint32_t to;
};
extern const struct connection_state_row vmbus_connection_states[CONNECTION_STATES];

/* What follows when everything of the old connection is let go. */
enum connection_next {
	NEXT_RESET,
	NEXT_UNLOAD_COMPLETE,
	NEXT_CONTACT,
};

/* An INITIATE_CONTACT, read and checked as far as its version goes. */
struct contact {
	uint32_t version, target_vp, features;
	uint64_t interrupt_page;
	bool monitor_mismatch;
};

/* A message on its way to the guest. */
struct outgoing {
	uint32_t vp;
	uint8_t sint;
	uint8_t len;
	union {
		uint8_t bytes[VMBUS_MESSAGE_MAX];
		struct vmbus_msg_header header;
	} u;
};

#define GPADL_BUCKETS 256u

struct vmbus_server {
	struct vmbus_server_config config;
	struct vmbus_server_ops ops;
	void *opaque;
	struct vmbus_mem *mem;

	enum connection_state state;
	enum connection_next next; /* while DISCONNECTING */
	struct contact contact;    /* for NEXT_CONTACT */
	uint32_t version, features, target_vp;
	uint64_t interrupt_page; /* before 2.4; pinned */
	bool offers_requested, all_offers_due;
	bool paused, down;
	unsigned int depth; /* public calls under way: ops may call back in */

	TAILQ_HEAD(channel_list, vmbus_channel) channels;
	struct vmbus_channel *by_id[VMBUS_CHANNEL_MAX + 1];
	atomic_int ids_left; /* not promised to any channel */
	bool channels_due;   /* one may have a message due */
	bool ends_due;       /* one may have to be freed */
	uint32_t closing;    /* asked to stop */

	LIST_HEAD(, vmbus_gpadl) gpadls[GPADL_BUCKETS];
	TAILQ_HEAD(, vmbus_gpadl) ending;
	uint32_t gpadl_count, gpadl_pages;

	struct outgoing *queue; /* a circle of config.max_messages */
	uint32_t queue_first, queue_count;
	uint32_t queue_pass; /* while paused: the first so many may still go */

	uint64_t messages_in, messages_out, contacts, unloads, bad_moves;
	uint64_t faults[VMBUS_FAULT_COUNT];
};

/* Brackets of each public call in the server's thread. */
void vmbus_server_enter(struct vmbus_server *server);
void vmbus_server_leave(struct vmbus_server *server);

/* Counts and logs what the guest did; returns @fault. */
int vmbus_server_fault(struct vmbus_server *server, int fault, uint32_t channel_id,
		       const char *text);

/* -- server-queue.c: messages to the guest --------------------------------- */

/* Whether the queue has a place for a message that answers none directly: one
 * place is always left to the guest's next request. */
bool vmbus_queue_has_room(const struct vmbus_server *server);
bool vmbus_queue_full(const struct vmbus_server *server);

/* Puts a message of @len bytes and @type behind the others. There must be a place. */
void vmbus_queue_add(struct vmbus_server *server, uint32_t type, void *message, size_t len);
void vmbus_queue_add_to(struct vmbus_server *server, uint32_t vp, uint8_t sint, uint32_t type,
			void *message, size_t len);
void vmbus_queue_clear(struct vmbus_server *server);
/* Returns whether the guest took any. */
bool vmbus_queue_post(struct vmbus_server *server);

/* -- server-contact.c: the connection --------------------------------------- */

/* Lets go of everything the guest had, then does @next. */
void vmbus_connection_release(struct vmbus_server *server, enum connection_next next);
/* Does it if nothing is left to wait for. */
void vmbus_connection_settle(struct vmbus_server *server);
/* Unpins the page of a guest before 2.4; nothing if there is none. */
void vmbus_interrupt_page_release(struct vmbus_server *server);

/* -- server-offer.c: offers, their ids and their end ------------------------ */

/* The channel that a message names and that is in a state to take it. Returns 0,
 * VMBUS_FAULT_BAD_CHANNEL or VMBUS_FAULT_WRONG_STATE. */
int vmbus_channel_of_message(struct vmbus_server *server, const struct message *m, uint32_t id,
			     struct vmbus_channel **result);

/* For the guest's signals, unless it chooses its own. */
uint32_t vmbus_channel_connection(const struct vmbus_channel *ch);

void vmbus_channel_move(struct vmbus_channel *ch, enum channel_state to);

/* The guest has let go of all channels. */
void vmbus_channels_release(struct vmbus_server *server);
/* A primary closes: its sub-channels go. */
void vmbus_channel_revoke_subs(struct vmbus_channel *primary);
void vmbus_channel_offer_subs(struct vmbus_channel *primary);
/* Frees the channels whose end has come. */
void vmbus_channels_reap(struct vmbus_server *server);
/* Messages that are due, as far as the queue has room. */
void vmbus_channels_announce(struct vmbus_server *server);
void vmbus_channels_free(struct vmbus_server *server);

/* -- server-open.c ----------------------------------------------------------- */

/* Asks the device to close and moves to a state that waits for it. */
void vmbus_channel_close(struct vmbus_channel *ch, enum channel_state to);
/* Finishes the closings whose device has let go. */
void vmbus_channels_finish(struct vmbus_server *server);
void vmbus_channels_poll(struct vmbus_server *server);
bool vmbus_channels_closing(const struct vmbus_server *server);

/* -- handlers, named in message.c ------------------------------------------- */

int vmbus_on_request_offers(struct vmbus_server *server, const struct message *m);
int vmbus_on_relid_released(struct vmbus_server *server, const struct message *m);
int vmbus_on_open(struct vmbus_server *server, const struct message *m);
int vmbus_on_close(struct vmbus_server *server, const struct message *m);
int vmbus_on_open_reserved(struct vmbus_server *server, const struct message *m);
int vmbus_on_close_reserved(struct vmbus_server *server, const struct message *m);
int vmbus_on_modify_channel(struct vmbus_server *server, const struct message *m);
int vmbus_on_gpadl_header(struct vmbus_server *server, const struct message *m);
int vmbus_on_gpadl_body(struct vmbus_server *server, const struct message *m);
int vmbus_on_gpadl_teardown(struct vmbus_server *server, const struct message *m);
int vmbus_on_initiate_contact(struct vmbus_server *server, const struct message *m);
int vmbus_on_unload(struct vmbus_server *server, const struct message *m);
int vmbus_on_modify_connection(struct vmbus_server *server, const struct message *m);
int vmbus_on_pause(struct vmbus_server *server, const struct message *m);
int vmbus_on_resume(struct vmbus_server *server, const struct message *m);
int vmbus_on_tl_connect(struct vmbus_server *server, const struct message *m);

/* In OPEN_RESULT, GPADL_CREATED and others: what is not 0 is a failure. */
#define VMBUS_STATUS_FAILED 0x8000ffffu

#endif
