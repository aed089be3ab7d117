/* SPDX-License-Identifier: MIT */
/* Messages to the guest, first in, first out, until its slot takes them. */
#include <errno.h>
#include <string.h>

#include "server.h"

bool vmbus_queue_full(const struct vmbus_server *server)
{
	return server->queue_count >= server->config.max_messages;
}

bool vmbus_queue_has_room(const struct vmbus_server *server)
{
	return server->queue_count + 1 < server->config.max_messages;
}

void vmbus_queue_add_to(struct vmbus_server *server, uint32_t vp, uint8_t sint, uint32_t type,
			void *message, size_t len)
{
	struct vmbus_msg_header *header = message;
	uint32_t at = (server->queue_first + server->queue_count) % server->config.max_messages;
	struct outgoing *out = &server->queue[at];

	if (vmbus_queue_full(server)) {
		server->bad_moves++; /* never: places are counted before */
		return;
	}
	header->type = type;
	header->padding = 0;
	out->vp = vp;
	out->sint = sint;
	out->len = (uint8_t)len;
	memcpy(out->u.bytes, message, len);
	server->queue_count++;
}

void vmbus_queue_add(struct vmbus_server *server, uint32_t type, void *message, size_t len)
{
	vmbus_queue_add_to(server, server->target_vp, VMBUS_SINT, type, message, len);
}

void vmbus_queue_clear(struct vmbus_server *server)
{
	server->queue_first = 0;
	server->queue_count = 0;
	server->queue_pass = 0;
	server->paused = false;
}

/* A message that the backend refuses for good is dropped: the rest must not wait
 * behind it. */
bool vmbus_queue_post(struct vmbus_server *server)
{
	bool posted = false;

	while (server->queue_count > 0 && (!server->paused || server->queue_pass > 0)) {
		struct outgoing *out = &server->queue[server->queue_first];
		int ret = server->ops.post_message(server->opaque, out->vp, out->sint, out->u.bytes,
						   out->len);

		if (ret == -EAGAIN)
			break;
		posted = true;
		if (ret == 0)
			server->messages_out++;
		server->queue_first = (server->queue_first + 1) % server->config.max_messages;
		server->queue_count--;
		if (server->queue_pass > 0)
			server->queue_pass--;
	}
	return posted;
}
