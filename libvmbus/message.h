/* SPDX-License-Identifier: MIT */
/* The one table of control messages: what each is, who may send it, how long it
 * must be, where it is legal, and who handles it. */
#ifndef LIBVMBUS_MESSAGE_H
#define LIBVMBUS_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include <vmbus/server.h>

/* A control message from the guest: a private copy, zeroed behind its end. */
struct message {
	const struct message_type *type;
	size_t len;
	uint32_t connection_id;
	union {
		uint8_t bytes[VMBUS_MESSAGE_MAX];
		uint64_t words[VMBUS_MESSAGE_MAX / 8];
		struct vmbus_msg_header header;
		struct vmbus_msg_channel channel;
		struct vmbus_msg_open open;
		struct vmbus_msg_gpadl_header gpadl_header;
		struct vmbus_msg_gpadl_body gpadl_body;
		struct vmbus_msg_gpadl_teardown gpadl_teardown;
		struct vmbus_msg_initiate_contact contact;
		struct vmbus_msg_open_reserved open_reserved;
		struct vmbus_msg_close_reserved close_reserved;
		struct vmbus_msg_tl_connect tl_connect;
		struct vmbus_msg_modify_channel modify_channel;
		struct vmbus_msg_modify_connection modify_connection;
	} u;
};

#define GUEST_TO_HOST 0x1u
#define HOST_TO_GUEST 0x2u
#define REPLIES       0x4u /* answered from inside its handler: needs a place in the queue */
#define WHILE_PAUSED  0x8u /* legal between PAUSE and RESUME */

struct message_type {
	const char *name;
	uint16_t min_size;
	uint16_t flags;          /* the direction, REPLIES, WHILE_PAUSED */
	uint32_t first_version;  /* negotiated; 0: any */
	uint32_t feature;        /* granted; 0: none needed */
	uint32_t states;         /* of the connection, that accept it */
	uint32_t channel_states; /* of the channel it names; 0: it names none */
	int (*handle)(struct vmbus_server *server, const struct message *m);
};

/* The row of @type, or NULL. */
const struct message_type *vmbus_message_type(uint32_t type);

#endif
