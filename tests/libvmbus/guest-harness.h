/* SPDX-License-Identifier: MIT */
/* A guest whose posts are recorded, and a host whose answers are made by hand. */
#ifndef GUEST_HARNESS_H
#define GUEST_HARNESS_H

#include <vmbus/guest.h>

#define CHANNELS 4u
#define POSTS 512u

struct posted {
	uint32_t connection_id, len;
	union {
		uint8_t bytes[VMBUS_MESSAGE_MAX];
		uint64_t words[VMBUS_MESSAGE_MAX / 8];
		struct vmbus_msg_header header;
		struct vmbus_msg_channel channel;
		struct vmbus_msg_open open;
		struct vmbus_msg_initiate_contact contact;
		struct vmbus_msg_gpadl_header gpadl;
		struct vmbus_msg_gpadl_body body;
		struct vmbus_msg_modify_channel modify;
	} m;
};
extern struct posted posts[POSTS];
extern uint32_t post_count, post_status, accepted; /* after @accepted posts, post_status */
extern uint32_t signalled, signals; /* connection id of the last one; how many */

extern struct calls {
	uint32_t connected, offered, all_offered, rescinded, created, torndown, opened, modified,
		unloaded;
	uint32_t version, gpadl, status;
	struct vmbus_guest_channel *channel;
} calls;

extern struct vmbus_guest guest;
extern struct vmbus_guest_channel channels[CHANNELS];
extern uint64_t interrupt_page[VMBUS_PAGE_SIZE / 8];
extern struct vmbus_ring_control controls[2]; /* upstream, downstream */
extern const struct vmbus_guest_ops bare_ops; /* post and signal alone */

struct vmbus_guest_config config_full(void);

/* Gives the guest a message, which is to be taken like this. */
void say(const void *message, size_t len, int expected);
void say_version(bool supported, uint32_t version);
int say_channel(uint32_t type, uint32_t id);
int say_three(uint32_t type, uint32_t a, uint32_t b, uint32_t c); /* OPEN_RESULT, GPADL_CREATED */
int say_offer(uint32_t id);

/* Shorthand for what came before. */
void connect_at(uint32_t version, uint32_t features);
struct vmbus_guest_channel *offered(uint32_t id);
struct vmbus_guest_channel *opened(uint32_t id);

/* Rings of three data pages, reached page by page. */
struct vmbus_ring_memory ring(int i);
int open_now(struct vmbus_guest_channel *channel, uint32_t gpadl);

#endif
