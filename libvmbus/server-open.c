/* SPDX-License-Identifier: MIT */
/* Channels opened, moved to another VP, and closed. A close is a request to the
 * serving thread; what was waiting for it goes on in vmbus_server_poll(). */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "server.h"

/* -- Opening -------------------------------------------------------------- */

/* What the guest chooses with GUEST_SIGNALS, otherwise comes from the offer. Before 1.1
 * all channels share one event connection; before 2.4 interrupts go to the first VP. */
static struct open_request open_request_of(const struct vmbus_channel *ch,
					   const struct vmbus_msg_open *open)
{
	const struct vmbus_server *server = ch->server;
	bool own = server->features & VMBUS_FEATURE_GUEST_SIGNALS;
	struct open_request request = {
		.open_id = open->open_id,
		.gpadl = open->ring_gpadl,
		.target_vp = server->version >= VMBUS_V2_4 ? open->target_vp : 0,
		.page_offset = open->downstream_page_offset,
		.connection_id = own ? open->connection_id : vmbus_channel_connection(ch),
		.event_flag = own ? open->event_flag : ch->id,
	};

	memcpy(request.user_data, open->user_defined, sizeof(request.user_data));
	return request;
}

/* A connection id has 24 bits, the first few have their own use, and two channels cannot
 * share one. */
static int signals_check(const struct vmbus_channel *ch)
{
	const struct open_request *open = &ch->open;
	const struct vmbus_channel *other;

	if (!(ch->server->features & VMBUS_FEATURE_GUEST_SIGNALS))
		return 0;
	if (open->event_flag == 0 || open->event_flag >= VMBUS_EVENT_FLAGS ||
	    open->connection_id <= VMBUS_CONN_MESSAGE_MULTI || open->connection_id >> 24 != 0)
		return VMBUS_FAULT_BAD_SIGNAL;
	TAILQ_FOREACH(other, &ch->server->channels, link)
		if (other->serving && other->open.connection_id == open->connection_id)
			return VMBUS_FAULT_BAD_SIGNAL;
	return 0;
}

static int open_check(struct vmbus_channel *ch, struct vmbus_gpadl **gpadl)
{
	const struct open_request *open = &ch->open;
	const struct gpadl_range *range;
	uint32_t pages;

	if (open->target_vp != VMBUS_VP_NONE && open->target_vp >= ch->server->config.vp_count)
		return VMBUS_FAULT_BAD_VP;
	*gpadl = vmbus_gpadl_find(ch, open->gpadl);
	if (!*gpadl)
		return VMBUS_FAULT_BAD_GPADL;
	range = &(*gpadl)->ranges[0];
	pages = range->len / VMBUS_PAGE_SIZE;
	if ((*gpadl)->range_count != 1 || range->offset != 0 || range->len % VMBUS_PAGE_SIZE != 0 ||
	    pages < 4 || open->page_offset < 2 || open->page_offset > pages - 2)
		return VMBUS_FAULT_BAD_RING;
	return signals_check(ch);
}

static int rings_map(struct vmbus_channel *ch, const struct vmbus_gpadl *gpadl)
{
	const uint64_t *pfns = gpadl->ranges[0].pfns;
	uint32_t pages = gpadl->ranges[0].len / VMBUS_PAGE_SIZE, up = ch->open.page_offset;
	bool paged = ch->server->config.paged_rings;
	int ret = vmbus_ring_map(ch->view, pfns, up, paged, &ch->upstream);

	if (ret)
		return ret;
	ret = vmbus_ring_map(ch->view, pfns + up, pages - up, paged, &ch->downstream);
	if (!ret)
		ret = vmbus_rx_init(&ch->rx, &ch->upstream);
	if (!ret)
		ret = vmbus_tx_init(&ch->tx, &ch->downstream);
	if (ret) {
		vmbus_ring_unmap(&ch->upstream);
		vmbus_ring_unmap(&ch->downstream);
	}
	return ret;
}

/* The old one may still have been watched until now (channel.h says how long). */
static int doorbell_renew(struct vmbus_channel *ch)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (ch->doorbell >= 0)
		close(ch->doorbell);
	ch->doorbell = fd;
	return 0;
}

/* Rings, then the signal path, then the device: the guest may signal as soon as it
 * knows, and the device answer. */
static int channel_open(struct vmbus_channel *ch)
{
	struct vmbus_server *server = ch->server;
	struct vmbus_gpadl *gpadl;
	int ret = open_check(ch, &gpadl);

	if (ret)
		return ret;
	vmbus_channel_start(ch);
	ch->version = server->version;
	ch->interrupt_page = server->interrupt_page;
	atomic_store(&ch->target_vp, ch->open.target_vp);
	ret = rings_map(ch, gpadl);
	if (ret)
		goto out_view;
	ret = doorbell_renew(ch);
	if (ret)
		goto out_rings;
	ret = server->ops.doorbell_add(server->opaque, ch->open.connection_id, ch->doorbell);
	if (ret)
		goto out_rings;
	ret = ch->ops.open(ch->offer.device, ch);
	if (ret)
		goto out_doorbell;
	vmbus_gpadl_ref(gpadl);
	ch->ring_gpadl = gpadl;
	ch->serving = true;
	vmbus_channel_move(ch, CHANNEL_OPEN);
	return 0;
out_doorbell:
	server->ops.doorbell_remove(server->opaque, ch->open.connection_id, ch->doorbell);
out_rings:
	vmbus_ring_unmap(&ch->upstream);
	vmbus_ring_unmap(&ch->downstream);
out_view:
	vmbus_view_unref(ch->view);
	ch->view = NULL;
	return ret;
}

/* Opens with ch->open and says how it went. */
static int channel_open_answer(struct vmbus_channel *ch)
{
	struct vmbus_server *server = ch->server;
	int ret = channel_open(ch);
	struct vmbus_msg_open_result result = {
		.channel_id = ch->id,
		.open_id = ch->open.open_id,
		.status = ret ? VMBUS_STATUS_FAILED : 0,
	};

	vmbus_queue_add(server, VMBUS_MSG_OPEN_RESULT, &result, sizeof(result));
	if (!ret)
		server->ops.channel_opened(server->opaque, ch);
	return ret;
}

/* To a channel that the host has taken back there is no answer: the RESCIND is one. */
int vmbus_on_open(struct vmbus_server *server, const struct message *m)
{
	struct vmbus_channel *ch;
	int ret;

	if (server->features & VMBUS_FEATURE_GUEST_SIGNALS && m->len < sizeof(m->u.open))
		return VMBUS_FAULT_TRUNCATED;
	ret = vmbus_channel_of_message(server, m, m->u.open.channel_id, &ch);
	if (ret)
		return ret;
	switch (ch->state) {
	case CHANNEL_CLOSED:
		ch->open = open_request_of(ch, &m->u.open);
		return channel_open_answer(ch);
	case CHANNEL_CLOSING:
		ch->reopen = open_request_of(ch, &m->u.open);
		vmbus_channel_move(ch, CHANNEL_REOPENING);
		return 0;
	default:
		return 0;
	}
}

/* -- Reserved channels ---------------------------------------------------- */

static int reserved_target_check(const struct vmbus_server *server, uint32_t vp, uint32_t sint)
{
	if (vp >= server->config.vp_count)
		return VMBUS_FAULT_BAD_VP;
	return sint < VMBUS_SINT_COUNT ? 0 : VMBUS_FAULT_BAD_SINT;
}

/* A reserved channel would go on using guest memory after UNLOAD_COMPLETE. None is given;
 * a guest that asks is told so. */
int vmbus_on_open_reserved(struct vmbus_server *server, const struct message *m)
{
	const struct vmbus_msg_open_reserved *open = &m->u.open_reserved;
	struct vmbus_msg_open_result result = {
		.channel_id = open->channel_id,
		.status = VMBUS_STATUS_FAILED,
	};
	int ret = reserved_target_check(server, open->target_vp, open->target_sint);

	if (!ret)
		vmbus_queue_add_to(server, open->target_vp, (uint8_t)open->target_sint,
				   VMBUS_MSG_OPEN_RESULT, &result, sizeof(result));
	return ret;
}

int vmbus_on_close_reserved(struct vmbus_server *server, const struct message *m)
{
	const struct vmbus_msg_close_reserved *close = &m->u.close_reserved;
	struct vmbus_msg_channel response = {.channel_id = close->channel_id};
	int ret = reserved_target_check(server, close->target_vp, close->target_sint);

	if (!ret)
		vmbus_queue_add_to(server, close->target_vp, (uint8_t)close->target_sint,
				   VMBUS_MSG_CLOSE_RESERVED_RESPONSE, &response, sizeof(response));
	return ret;
}

/* -- Moving --------------------------------------------------------------- */

static void modify_answer(struct vmbus_server *server, uint32_t channel_id, uint32_t status)
{
	struct vmbus_msg_modify_channel_response response = {.channel_id = channel_id,
							     .status = status};

	vmbus_queue_add(server, VMBUS_MSG_MODIFY_CHANNEL_RESPONSE, &response, sizeof(response));
}

/* channel_signal() in channel.c is the other half: if it was not under way when @moved
 * was seen by all, the next one reads the new target; if it was, it wakes us when it is
 * over. */
static void channel_modify(struct vmbus_channel *ch, uint32_t vp)
{
	atomic_store(&ch->target_vp, vp);
	if (ch->version < VMBUS_V5_3)
		return;
	atomic_store(&ch->moved, true);
	ch->modify_signals = atomic_load(&ch->signals);
	if (ch->modify_signals % 2 != 0) {
		ch->modify_waits = true;
		return;
	}
	atomic_store(&ch->moved, false);
	modify_answer(ch->server, ch->id, 0);
}

static void channel_modify_finish(struct vmbus_channel *ch)
{
	if (!ch->modify_waits || (ch->serving && atomic_load(&ch->signals) == ch->modify_signals))
		return;
	atomic_store(&ch->moved, false);
	ch->modify_waits = false;
	ch->modify_due = true;
	ch->server->channels_due = true;
}

/* From 5.3 on the guest waits for an answer to each, but may have only one under way. */
int vmbus_on_modify_channel(struct vmbus_server *server, const struct message *m)
{
	const struct vmbus_msg_modify_channel *modify = &m->u.modify_channel;
	struct vmbus_channel *ch;
	int ret = vmbus_channel_of_message(server, m, modify->channel_id, &ch);

	if (!ret && (ch->modify_waits || ch->modify_due))
		return VMBUS_FAULT_WRONG_STATE;
	if (!ret &&
	    (modify->target_vp >= server->config.vp_count || ch->open.target_vp == VMBUS_VP_NONE))
		ret = VMBUS_FAULT_BAD_VP;
	if (!ret)
		channel_modify(ch, modify->target_vp);
	else if (server->version >= VMBUS_V5_3)
		modify_answer(server, modify->channel_id, VMBUS_STATUS_FAILED);
	return ret;
}

/* -- Closing -------------------------------------------------------------- */

void vmbus_channel_close(struct vmbus_channel *ch, enum channel_state to)
{
	vmbus_channel_move(ch, to);
	vmbus_channel_revoke_subs(ch);
	if (!atomic_load(&ch->stop))
		ch->server->closing++;
	vmbus_channel_request_stop(ch);
}

int vmbus_on_close(struct vmbus_server *server, const struct message *m)
{
	struct vmbus_channel *ch;
	int ret = vmbus_channel_of_message(server, m, m->u.channel.channel_id, &ch);

	if (!ret && ch->state == CHANNEL_OPEN)
		vmbus_channel_close(ch, CHANNEL_CLOSING);
	return ret;
}

/* The device has let go of the rings. */
static void channel_closed(struct vmbus_channel *ch)
{
	struct vmbus_server *server = ch->server;

	server->ops.doorbell_remove(server->opaque, ch->open.connection_id, ch->doorbell);
	vmbus_ring_unmap(&ch->upstream);
	vmbus_ring_unmap(&ch->downstream);
	vmbus_gpadl_put(ch->ring_gpadl);
	ch->ring_gpadl = NULL;
	ch->serving = false;
	server->closing--;
	server->channels_due = true;
	server->ends_due = true;
	channel_modify_finish(ch);
	if (!ch->held)
		ch->id = 0;
	ch->ops.closed(ch->offer.device, ch);
}

static void channel_finish(struct vmbus_channel *ch)
{
	channel_closed(ch);
	switch (ch->state) {
	case CHANNEL_CLOSING:
		vmbus_channel_move(ch, CHANNEL_CLOSED);
		break;
	case CHANNEL_REOPENING:
		vmbus_channel_move(ch, CHANNEL_CLOSED);
		ch->open = ch->reopen;
		vmbus_server_fault(ch->server, channel_open_answer(ch), ch->id, "OPEN_CHANNEL");
		break;
	case CHANNEL_RELEASING:
		vmbus_channel_move(ch, CHANNEL_RELEASED);
		break;
	case CHANNEL_REVOKING:
		vmbus_channel_move(ch, CHANNEL_REVOKED);
		ch->rescind_due = true;
		break;
	default:
		break; /* DELETING: vmbus_channels_reap() */
	}
}

/* A device's state is shared by a primary and its sub-channels: they close before it.
 * A reopening ends with an answer, for which there must be a place. */
static bool channel_can_finish(const struct vmbus_channel *ch)
{
	const struct vmbus_channel *other;

	if (!ch->serving || !atomic_load_explicit(&ch->stopped, memory_order_acquire))
		return false;
	if (ch->state == CHANNEL_REOPENING && !vmbus_queue_has_room(ch->server))
		return false;
	if (ch->sub_count > 0)
		TAILQ_FOREACH(other, &ch->server->channels, link)
			if (other->primary == ch && other != ch && other->serving)
				return false;
	return true;
}

/* Backwards: sub-channels first. */
void vmbus_channels_finish(struct vmbus_server *server)
{
	struct vmbus_channel *ch;

	if (server->closing == 0)
		return;
	TAILQ_FOREACH_REVERSE(ch, &server->channels, channel_list, link)
		if (channel_can_finish(ch))
			channel_finish(ch);
}

bool vmbus_channels_closing(const struct vmbus_server *server)
{
	return server->closing > 0;
}

/* What serving threads have left to this one. */
void vmbus_channels_poll(struct vmbus_server *server)
{
	struct vmbus_channel_call *call;
	struct vmbus_channel *ch;

	TAILQ_FOREACH(ch, &server->channels, link) {
		if (!ch->serving)
			continue;
		call = atomic_exchange(&ch->call, NULL);
		if (call)
			call->fn(call);
		if (!ch->halt_told &&
		    atomic_load_explicit(&ch->halted, memory_order_acquire) != 0) {
			ch->halt_told = true;
			vmbus_server_fault(server, (int)vmbus_channel_fault(ch), ch->id,
					   "channel stopped");
		}
		if (ch->state == CHANNEL_OPEN && atomic_load(&ch->sub_wanted) > 0)
			vmbus_channel_offer_subs(ch);
		channel_modify_finish(ch);
	}
}
