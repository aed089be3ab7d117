/* SPDX-License-Identifier: MIT */
/* The server as its backend sees it: made, fed, polled, reset, freed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"

/* A struct of the caller's, as long as the caller knew it. */
static void struct_take(void *dst, size_t dst_size, const void *src, size_t src_size)
{
	memset(dst, 0, dst_size);
	memcpy(dst, src, src_size < dst_size ? src_size : dst_size);
}

static bool config_valid(const struct vmbus_server_config *config,
			 const struct vmbus_server_ops *ops)
{
	return config->mem && config->vp_count > 0 && config->min_version <= config->max_version &&
	       config->max_channels > 0 && config->max_channels <= VMBUS_CHANNEL_MAX &&
	       config->max_messages >= 2 && config->max_messages <= UINT32_MAX / 2 &&
	       ops->post_message && ops->signal && ops->doorbell_add && ops->doorbell_remove &&
	       ops->channel_opened && ops->wake;
}

int vmbus_server_new(const struct vmbus_server_config *config, struct vmbus_server **result)
{
	struct vmbus_server *server;

	if (!config->ops)
		return -EINVAL;
	server = calloc(1, sizeof(*server));
	if (!server)
		return -ENOMEM;
	struct_take(&server->config, sizeof(server->config), config, config->size);
	struct_take(&server->ops, sizeof(server->ops), config->ops, config->ops->size);
	if (!config_valid(&server->config, &server->ops)) {
		free(server);
		return -EINVAL;
	}
	server->queue = calloc(server->config.max_messages, sizeof(server->queue[0]));
	if (!server->queue) {
		free(server);
		return -ENOMEM;
	}
	server->opaque = config->opaque;
	server->mem = vmbus_mem_ref(config->mem);
	server->config.features &= VMBUS_FEATURE_GUEST_SIGNALS | VMBUS_FEATURE_MODIFY_CONNECTION |
				   VMBUS_FEATURE_CLIENT_ID | VMBUS_FEATURE_PAUSE_RESUME;
	TAILQ_INIT(&server->channels);
	TAILQ_INIT(&server->ending);
	atomic_store(&server->ids_left, (int)server->config.max_channels);
	*result = server;
	return 0;
}

void vmbus_server_free(struct vmbus_server *server)
{
	if (!server)
		return;
	server->depth++; /* what devices call from here on changes no more than the state */
	vmbus_channels_free(server);
	vmbus_gpadl_free_all(server);
	vmbus_interrupt_page_release(server);
	vmbus_mem_unref(server->mem);
	free(server->queue);
	free(server);
}

void vmbus_server_enter(struct vmbus_server *server)
{
	server->depth++;
}

/* What a call has brought about, in this order: closings, answers owed, RESCIND and
 * what becomes of the channels, offers, the end of the connection. Again while the
 * guest takes messages: each makes room for what is still due. */
void vmbus_server_leave(struct vmbus_server *server)
{
	if (server->depth == 1)
		do {
			vmbus_channels_finish(server);
			vmbus_gpadl_reap(server);
			vmbus_channels_reap(server);
			vmbus_channels_announce(server);
			vmbus_connection_settle(server);
		} while (vmbus_queue_post(server));
	server->depth--;
}

/* One guest must not fill the log: the first of a kind, then each power of two. */
int vmbus_server_fault(struct vmbus_server *server, int fault, uint32_t channel_id,
		       const char *text)
{
	uint64_t n;

	if (fault <= 0 || fault >= VMBUS_FAULT_COUNT)
		return fault;
	n = ++server->faults[fault];
	if ((n & (n - 1)) == 0 && server->ops.log)
		server->ops.log(server->opaque, (enum vmbus_fault)fault, channel_id, text);
	return fault;
}

/* -- From the guest ------------------------------------------------------- */

/* Whether the row takes the message here and now. */
static int message_check(const struct vmbus_server *server, const struct message_type *type,
			 size_t len)
{
	if (!(type->flags & GUEST_TO_HOST))
		return VMBUS_FAULT_WRONG_DIRECTION;
	if (!(type->states & STATE(server->state)))
		return VMBUS_FAULT_WRONG_STATE;
	if (server->state == CONNECTION_CONNECTED &&
	    (server->version < type->first_version || type->feature & ~server->features))
		return VMBUS_FAULT_WRONG_VERSION;
	if (len < type->min_size)
		return VMBUS_FAULT_TRUNCATED;
	if (server->paused && !(type->flags & WHILE_PAUSED))
		return VMBUS_FAULT_WRONG_STATE;
	return 0;
}

/* The channel that a message names, for the log; 0 where it names none. */
static uint32_t message_channel(const struct message *m)
{
	return m->type->channel_states ? m->u.channel.channel_id : 0;
}

static int message_handle(struct vmbus_server *server, struct message *m)
{
	int ret = message_check(server, m->type, m->len);

	if (!ret) {
		if (m->type->flags & REPLIES && vmbus_queue_full(server))
			return -EAGAIN;
		server->messages_in++;
		ret = m->type->handle(server, m);
	}
	if (ret < 0 && ret != -EAGAIN)
		ret = 0; /* the host's trouble; the guest got a failure reply */
	return vmbus_server_fault(server, ret, message_channel(m), m->type->name);
}

int vmbus_server_message(struct vmbus_server *server, uint32_t connection_id, const void *bytes,
			 size_t len)
{
	struct message m = {.len = len, .connection_id = connection_id};
	int ret;

	if (server->down ||
	    (connection_id != VMBUS_CONN_MESSAGE && connection_id != VMBUS_CONN_MESSAGE_MULTI))
		return vmbus_server_fault(server, VMBUS_FAULT_BAD_CONNECTION, 0, "message");
	if (len > VMBUS_MESSAGE_MAX)
		return vmbus_server_fault(server, VMBUS_FAULT_OVERSIZED, 0, "message");
	if (vmbus_server_resetting(server))
		return -EAGAIN;
	if (len < sizeof(m.u.header))
		return vmbus_server_fault(server, VMBUS_FAULT_TRUNCATED, 0, "message");
	memcpy(m.u.bytes, bytes, len);
	m.type = vmbus_message_type(m.u.header.type);
	if (!m.type)
		return vmbus_server_fault(server, VMBUS_FAULT_UNKNOWN_TYPE, 0, "message");
	vmbus_server_enter(server);
	ret = message_handle(server, &m);
	vmbus_server_leave(server);
	return ret;
}

/* -- From the backend ----------------------------------------------------- */

void vmbus_server_slot_free(struct vmbus_server *server)
{
	vmbus_server_enter(server);
	(void)vmbus_queue_post(server); /* makes room for what is due */
	vmbus_server_leave(server);
}

void vmbus_server_poll(struct vmbus_server *server)
{
	vmbus_server_enter(server);
	vmbus_channels_poll(server);
	vmbus_server_leave(server);
}

void vmbus_server_memory_changed(struct vmbus_server *server)
{
	struct vmbus_channel *ch;

	TAILQ_FOREACH(ch, &server->channels, link)
		if (ch->serving)
			vmbus_channel_ring_doorbell(ch);
}

void vmbus_server_reset(struct vmbus_server *server)
{
	vmbus_server_enter(server);
	vmbus_connection_release(server, NEXT_RESET);
	vmbus_server_leave(server);
}

bool vmbus_server_resetting(const struct vmbus_server *server)
{
	return server->state == CONNECTION_DISCONNECTING && server->next == NEXT_RESET;
}

void vmbus_server_shutdown(struct vmbus_server *server)
{
	server->down = true;
	vmbus_server_reset(server);
}

/* -- Facts ---------------------------------------------------------------- */

void vmbus_server_get_stats(const struct vmbus_server *server, struct vmbus_server_stats *stats)
{
	const struct vmbus_channel *ch;
	const struct vmbus_gpadl *gpadl;

	memset(stats, 0, sizeof(*stats));
	stats->version = server->version;
	stats->features = server->features;
	TAILQ_FOREACH(ch, &server->channels, link) {
		stats->channels++;
		stats->open_channels += ch->serving;
	}
	stats->gpadls = server->gpadl_count;
	stats->gpadl_pages = server->gpadl_pages;
	stats->messages_waiting = server->queue_count;
	stats->closing_channels = server->closing;
	TAILQ_FOREACH(gpadl, &server->ending, ending_link)
		stats->ending_gpadls++;
	stats->messages_in = server->messages_in;
	stats->messages_out = server->messages_out;
	stats->contacts = server->contacts;
	stats->unloads = server->unloads;
	memcpy(stats->faults, server->faults, sizeof(stats->faults));
}

/* Those the guest does not hold have no id and come first. */
void vmbus_server_each_channel(struct vmbus_server *server,
			       void (*fn)(struct vmbus_channel *channel, void *arg), void *arg)
{
	struct vmbus_channel *ch, *next;

	vmbus_server_enter(server);
	for (ch = TAILQ_FIRST(&server->channels); ch; ch = next) {
		next = TAILQ_NEXT(ch, link);
		if (!ch->held)
			fn(ch, arg);
	}
	for (uint32_t id = 1; id <= VMBUS_CHANNEL_MAX; id++)
		if (server->by_id[id])
			fn(server->by_id[id], arg);
	vmbus_server_leave(server);
}
