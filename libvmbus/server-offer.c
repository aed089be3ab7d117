/* SPDX-License-Identifier: MIT */
/* Offers: their order, their ids, their end. A channel's id is its own from the
 * OFFER until the guest says that it has let go. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server.h"

#define EVENT_CONNECTION_BASE 0x2000u /* clear of the connections 1 to 4 */

/* Offer flags that say something only about features that are never granted. */
#define OFFER_FLAGS_UNKNOWN 0x000eu

void vmbus_channel_move(struct vmbus_channel *ch, enum channel_state to)
{
	if (!(vmbus_channel_states[ch->state].to & STATE(to)))
		ch->server->bad_moves++;
	ch->state = to;
	if (to == CHANNEL_DELETING)
		ch->server->ends_due = true;
}

int vmbus_channel_of_message(struct vmbus_server *server, const struct message *m, uint32_t id,
			     struct vmbus_channel **result)
{
	struct vmbus_channel *ch = id <= VMBUS_CHANNEL_MAX ? server->by_id[id] : NULL;

	if (!ch || ch->offer_due)
		return VMBUS_FAULT_BAD_CHANNEL;
	*result = ch;
	return m->type->channel_states & STATE(ch->state) ? 0 : VMBUS_FAULT_WRONG_STATE;
}

uint32_t vmbus_channel_connection(const struct vmbus_channel *ch)
{
	return ch->server->version >= VMBUS_V1_1 ? EVENT_CONNECTION_BASE + ch->id :
						   VMBUS_CONN_EVENT;
}

/* -- Ids ------------------------------------------------------------------ */

/* Every channel has been promised one, so one is free. */
static void channel_hold(struct vmbus_channel *ch)
{
	struct vmbus_server *server = ch->server;
	uint32_t id = 1;

	while (id < VMBUS_CHANNEL_MAX && server->by_id[id])
		id++;
	server->by_id[id] = ch;
	ch->id = id;
	ch->held = true;
	ch->offer_due = true;
	server->channels_due = true;
	vmbus_channel_move(ch, CHANNEL_CLOSED);
}

/* The guest knows the channel no more. The device may still ask for the id until it
 * has closed. */
static void channel_unhold(struct vmbus_channel *ch)
{
	if (ch->held)
		ch->server->by_id[ch->id] = NULL;
	if (!ch->serving)
		ch->id = 0;
	ch->held = false;
	ch->offer_due = false;
	ch->rescind_due = false;
	ch->modify_due = false;
	ch->modify_waits = false;
	vmbus_gpadl_drop_all(ch);
	ch->server->channels_due = true;
}

static int id_promise(struct vmbus_server *server)
{
	int left = atomic_load(&server->ids_left);

	do {
		if (left < 1)
			return -ENOSPC;
	} while (!atomic_compare_exchange_weak(&server->ids_left, &left, left - 1));
	return 0;
}

/* -- Making --------------------------------------------------------------- */

static int channel_order(const struct vmbus_channel *a, const struct vmbus_channel *b)
{
	int order =
		memcmp(&a->offer.interface_id, &b->offer.interface_id, sizeof(struct vmbus_guid));

	if (order == 0)
		order = (a->offer.order > b->offer.order) - (a->offer.order < b->offer.order);
	if (order == 0)
		order = memcmp(&a->offer.instance_id, &b->offer.instance_id,
			       sizeof(struct vmbus_guid));
	return order ? order : (int)a->subindex - (int)b->subindex;
}

static bool channel_same(const struct vmbus_channel *ch, const struct vmbus_offer *offer,
			 uint16_t subindex)
{
	return ch->subindex == subindex &&
	       vmbus_guid_equal(ch->offer.interface_id, offer->interface_id) &&
	       vmbus_guid_equal(ch->offer.instance_id, offer->instance_id);
}

/* The host has taken it back. */
static bool channel_withdrawn(const struct vmbus_channel *ch)
{
	return ch->state == CHANNEL_REVOKING || ch->state == CHANNEL_REVOKED ||
	       ch->state == CHANNEL_DELETING;
}

static void channel_insert(struct vmbus_channel *ch)
{
	struct vmbus_channel *at;

	TAILQ_FOREACH(at, &ch->server->channels, link)
		if (channel_order(ch, at) < 0)
			break;
	if (at)
		TAILQ_INSERT_BEFORE(at, ch, link);
	else
		TAILQ_INSERT_TAIL(&ch->server->channels, ch, link);
}

/* Offers it now if the guest has asked for offers and holds none of the same GUIDs:
 * Linux takes a second one for a resume from hibernation. */
static void channel_offer(struct vmbus_channel *ch)
{
	if (ch->server->offers_requested && ch->state == CHANNEL_RELEASED && !ch->behind)
		channel_hold(ch);
}

/* Finds what a new channel of these GUIDs has to wait for: @behind is a withdrawn one,
 * or NULL. Returns -EEXIST if there is one that is not withdrawn. */
static int channel_predecessor(const struct vmbus_server *server, const struct vmbus_offer *offer,
			       uint16_t subindex, struct vmbus_channel **behind)
{
	struct vmbus_channel *ch;

	*behind = NULL;
	TAILQ_FOREACH(ch, &server->channels, link) {
		if (!channel_same(ch, offer, subindex))
			continue;
		if (!channel_withdrawn(ch))
			return -EEXIST;
		*behind = ch;
	}
	return 0;
}

static struct vmbus_channel *channel_new(struct vmbus_server *server,
					 const struct vmbus_offer *offer,
					 struct vmbus_channel *primary, uint16_t subindex)
{
	struct vmbus_channel *ch = calloc(1, sizeof(*ch));

	if (!ch)
		return NULL;
	ch->server = server;
	ch->offer = *offer;
	ch->offer.flags &= (uint16_t)~OFFER_FLAGS_UNKNOWN;
	ch->primary = primary ? primary : ch;
	ch->subindex = subindex;
	ch->doorbell = -1;
	LIST_INIT(&ch->gpadls);
	if (primary)
		primary->sub_count++;
	return ch;
}

int vmbus_server_offer(struct vmbus_server *server, const struct vmbus_offer *offer,
		       struct vmbus_channel **result)
{
	struct vmbus_offer copy = VMBUS_OFFER_INIT;
	struct vmbus_channel_ops ops = {.size = sizeof(ops)};
	struct vmbus_channel *ch, *behind;
	int ret;

	if (!offer->ops || server->down)
		return -EINVAL;
	memcpy(&copy, offer, offer->size < sizeof(copy) ? offer->size : sizeof(copy));
	memcpy(&ops, offer->ops, offer->ops->size < sizeof(ops) ? offer->ops->size : sizeof(ops));
	if (!ops.open || !ops.service || !ops.stop || !ops.closed)
		return -EINVAL;
	ret = channel_predecessor(server, &copy, 0, &behind);
	if (!ret)
		ret = id_promise(server);
	if (ret)
		return ret;
	ch = channel_new(server, &copy, NULL, 0);
	if (!ch) {
		atomic_fetch_add(&server->ids_left, 1);
		return -ENOMEM;
	}
	ch->ops = ops;
	ch->behind = behind;
	vmbus_server_enter(server);
	channel_insert(ch);
	channel_offer(ch);
	*result = ch;
	vmbus_server_leave(server);
	return 0;
}

/* The ids were promised to the primary. */
static void sub_offer(struct vmbus_channel *primary, uint16_t subindex)
{
	struct vmbus_channel *ch, *behind;

	if (channel_predecessor(primary->server, &primary->offer, subindex, &behind))
		return;
	ch = channel_new(primary->server, &primary->offer, primary, subindex);
	if (!ch)
		return; /* as if the host had fewer to give: guests work with what is offered */
	ch->ops = primary->ops;
	ch->behind = behind;
	channel_insert(ch);
	channel_offer(ch);
}

void vmbus_channel_offer_subs(struct vmbus_channel *primary)
{
	uint32_t wanted = atomic_exchange(&primary->sub_wanted, 0);

	for (uint32_t i = 1; i <= wanted; i++)
		sub_offer(primary, (uint16_t)i);
}

/* -- Taking back ---------------------------------------------------------- */

static void channel_revoke(struct vmbus_channel *ch)
{
	ch->server->channels_due = true;
	switch (ch->state) {
	case CHANNEL_OPEN:
	case CHANNEL_CLOSING:
	case CHANNEL_REOPENING:
		/* the guest is told when the device has let go: it may free the rings then */
		vmbus_channel_close(ch, CHANNEL_REVOKING);
		break;
	case CHANNEL_CLOSED:
		if (!ch->offer_due) {
			ch->rescind_due = true;
			vmbus_channel_move(ch, CHANNEL_REVOKED);
			break;
		}
		channel_unhold(ch);
		vmbus_channel_move(ch, CHANNEL_DELETING);
		break;
	case CHANNEL_RELEASED:
	case CHANNEL_RELEASING:
		vmbus_channel_move(ch, CHANNEL_DELETING);
		break;
	case CHANNEL_REVOKING:
	case CHANNEL_REVOKED:
	case CHANNEL_DELETING:
	case CHANNEL_STATES:
		break;
	}
}

void vmbus_channel_revoke_subs(struct vmbus_channel *primary)
{
	struct vmbus_channel *ch;

	if (primary->sub_count == 0)
		return;
	TAILQ_FOREACH(ch, &primary->server->channels, link)
		if (ch->primary == primary && ch != primary)
			channel_revoke(ch);
}

void vmbus_channel_revoke(struct vmbus_channel *ch)
{
	struct vmbus_server *server = ch->server;

	vmbus_server_enter(server);
	channel_revoke(ch);
	vmbus_server_leave(server);
}

/* What the guest no longer holds. Sub-channels do not outlive its grip. */
static void channel_release(struct vmbus_channel *ch)
{
	bool keep = ch->primary == ch && !channel_withdrawn(ch);

	if (ch->state == CHANNEL_RELEASED && keep)
		return;
	if (ch->serving && ch->state != CHANNEL_RELEASING && ch->state != CHANNEL_DELETING)
		vmbus_channel_close(ch, keep ? CHANNEL_RELEASING : CHANNEL_DELETING);
	else if (ch->state != CHANNEL_DELETING && !(ch->state == CHANNEL_RELEASING && keep))
		vmbus_channel_move(ch, keep ? CHANNEL_RELEASED : CHANNEL_DELETING);
	channel_unhold(ch);
}

void vmbus_channels_release(struct vmbus_server *server)
{
	struct vmbus_channel *ch;

	TAILQ_FOREACH(ch, &server->channels, link)
		channel_release(ch);
}

int vmbus_on_relid_released(struct vmbus_server *server, const struct message *m)
{
	struct vmbus_channel *ch;
	int ret = vmbus_channel_of_message(server, m, m->u.channel.channel_id, &ch);

	if (!ret)
		channel_release(ch);
	return ret;
}

/* -- The end -------------------------------------------------------------- */

static void channel_free(struct vmbus_channel *ch)
{
	struct vmbus_server *server = ch->server;
	struct vmbus_channel *other;

	TAILQ_REMOVE(&server->channels, ch, link);
	if (ch->doorbell >= 0)
		close(ch->doorbell);
	if (ch->primary != ch)
		ch->primary->sub_count--;
	else
		atomic_fetch_add(&server->ids_left, 1 + (int)atomic_load(&ch->sub_ids));
	if (ch->primary == ch && ch->ops.released)
		ch->ops.released(ch->offer.device, ch);
	TAILQ_FOREACH(other, &server->channels, link)
		if (other->behind == ch) {
			other->behind = NULL;
			channel_offer(other);
		}
	free(ch);
}

/* Backwards, so that sub-channels go before their primary. */
void vmbus_channels_reap(struct vmbus_server *server)
{
	struct vmbus_channel *ch, *prev;

	while (server->ends_due) { /* again, if ops->released() has taken back others */
		server->ends_due = false;
		for (ch = TAILQ_LAST(&server->channels, channel_list); ch; ch = prev) {
			prev = TAILQ_PREV(ch, channel_list, link);
			if (ch->state == CHANNEL_DELETING && !ch->serving && ch->sub_count == 0)
				channel_free(ch);
		}
	}
}

void vmbus_channels_free(struct vmbus_server *server)
{
	struct vmbus_channel *ch;

	TAILQ_FOREACH(ch, &server->channels, link)
		vmbus_gpadl_drop_all(ch);
	while ((ch = TAILQ_LAST(&server->channels, channel_list)))
		channel_free(ch);
}

/* -- Messages ------------------------------------------------------------- */

static void offer_send(struct vmbus_channel *ch)
{
	const struct vmbus_server *server = ch->server;
	struct vmbus_msg_offer offer = {
		.interface_id = ch->offer.interface_id,
		.instance_id = ch->offer.instance_id,
		.flags = ch->offer.flags,
		.mmio_megabytes = ch->offer.mmio_megabytes,
		.subchannel_index = ch->subindex,
		.channel_id = ch->id,
		.monitor_id = 255,
		.is_dedicated_interrupt = 1,
		.connection_id = vmbus_channel_connection(ch),
	};

	memcpy(offer.user_defined, ch->offer.user_defined, sizeof(offer.user_defined));
	vmbus_queue_add(ch->server, VMBUS_MSG_OFFER, &offer,
			server->version >= VMBUS_V1_1 ? sizeof(offer) : VMBUS_OFFER_SIZE_V0);
}

static void modify_send(struct vmbus_channel *ch)
{
	struct vmbus_msg_modify_channel_response response = {.channel_id = ch->id};

	vmbus_queue_add(ch->server, VMBUS_MSG_MODIFY_CHANNEL_RESPONSE, &response, sizeof(response));
}

/* Answers first: a RESCIND wakes only one of the guest's waiters. Returns false if the
 * queue has no room. */
static bool channel_announce_end(struct vmbus_channel *ch)
{
	if (ch->modify_due) {
		if (!vmbus_queue_has_room(ch->server))
			return false;
		ch->modify_due = false;
		modify_send(ch);
	}
	if (ch->rescind_due && !vmbus_gpadl_owed(ch)) {
		struct vmbus_msg_channel rescind = {.channel_id = ch->id};

		if (!vmbus_queue_has_room(ch->server))
			return false;
		ch->rescind_due = false;
		vmbus_queue_add(ch->server, VMBUS_MSG_RESCIND_OFFER, &rescind, sizeof(rescind));
	}
	return true;
}

/* A primary's OFFER goes before its sub-channels', its RESCIND behind theirs. What the
 * queue has no room for now is found again when the guest's slot came free. */
void vmbus_channels_announce(struct vmbus_server *server)
{
	struct vmbus_msg_header all;
	struct vmbus_channel *ch;

	if (!server->channels_due || server->state != CONNECTION_CONNECTED)
		return;
	TAILQ_FOREACH_REVERSE(ch, &server->channels, channel_list, link)
		if (!channel_announce_end(ch))
			return;
	TAILQ_FOREACH(ch, &server->channels, link) {
		if (!ch->offer_due)
			continue;
		if (!vmbus_queue_has_room(server))
			return;
		ch->offer_due = false;
		offer_send(ch);
	}
	if (server->all_offers_due) {
		if (!vmbus_queue_has_room(server))
			return;
		server->all_offers_due = false;
		vmbus_queue_add(server, VMBUS_MSG_ALLOFFERS_DELIVERED, &all, sizeof(all));
	}
	server->channels_due = false;
}

int vmbus_on_request_offers(struct vmbus_server *server, const struct message *m)
{
	struct vmbus_channel *ch;

	(void)m;
	if (server->offers_requested)
		return VMBUS_FAULT_WRONG_STATE;
	server->offers_requested = true;
	server->all_offers_due = true;
	server->channels_due = true;
	TAILQ_FOREACH(ch, &server->channels, link)
		channel_offer(ch);
	return 0;
}
