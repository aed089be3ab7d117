/* SPDX-License-Identifier: MIT */
/* The order of control messages, seen from outside: what the guest asks for is owed one
 * answer, and channels are offered, rescinded and named again in a legal order. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inproc-private.h"

union message {
	uint8_t bytes[VMBUS_MESSAGE_MAX];
	struct vmbus_msg_header header;
	struct vmbus_msg_offer offer;
	struct vmbus_msg_channel channel;
	struct vmbus_msg_initiate_contact contact;
	struct vmbus_msg_open open;
	struct vmbus_msg_open_result open_result;
	struct vmbus_msg_gpadl_header gpadl_header;
	struct vmbus_msg_gpadl_body gpadl_body;
	struct vmbus_msg_gpadl_created created;
	struct vmbus_msg_gpadl_teardown teardown;
	struct vmbus_msg_gpadl_torndown torndown;
	struct vmbus_msg_modify_channel modify;
	struct vmbus_msg_modify_channel_response modify_response;
};

enum { NONE, OFFERED, RESCINDED }; /* inproc_offered.state */

static const char *name_of(uint32_t type)
{
	const char *name = vmbus_message_name(type);

	return name ? name : "?";
}

/* -- What is owed --------------------------------------------------------- */

static struct inproc_owed *owed_add(struct vmbus_inproc *bus, uint32_t type, uint32_t channel,
				    uint32_t gpadl)
{
	struct inproc_messages *messages = &bus->messages;
	struct inproc_owed *owed;

	if (messages->owed_count == messages->owed_size) {
		uint32_t size = messages->owed_size ? 2 * messages->owed_size : 64;

		owed = realloc(messages->owed, size * sizeof(*owed));
		if (!owed) {
			vmbus_inproc_fail(bus, "out of memory");
			return NULL;
		}
		messages->owed = owed;
		messages->owed_size = size;
	}
	owed = &messages->owed[messages->owed_count++];
	*owed = (struct inproc_owed){.type = type, .channel = channel, .gpadl = gpadl};
	return owed;
}

/* @channel 0, @gpadl 0: any. */
static struct inproc_owed *owed_find(const struct vmbus_inproc *bus, uint32_t type,
				     uint32_t channel, uint32_t gpadl)
{
	const struct inproc_messages *messages = &bus->messages;

	for (uint32_t i = 0; i < messages->owed_count; i++) {
		struct inproc_owed *owed = &messages->owed[i];

		if (owed->type == type && (!channel || owed->channel == channel) &&
		    (!gpadl || owed->gpadl == gpadl))
			return owed;
	}
	return NULL;
}

static void owed_remove(struct vmbus_inproc *bus, struct inproc_owed *owed)
{
	*owed = bus->messages.owed[--bus->messages.owed_count];
}

static void owed_drop_channel(struct vmbus_inproc *bus, uint32_t channel)
{
	struct inproc_messages *messages = &bus->messages;

	for (uint32_t i = messages->owed_count; i-- > 0;)
		if (messages->owed[i].channel == channel)
			owed_remove(bus, &messages->owed[i]);
}

void vmbus_inproc_messages_idle(struct vmbus_inproc *bus)
{
	if (bus->messages.owed_count && !(bus->config.flags & VMBUS_INPROC_HOSTILE))
		vmbus_inproc_fail(bus, "%s (channel %u, GPADL 0x%x) never came",
				  name_of(bus->messages.owed[0].type),
				  bus->messages.owed[0].channel, bus->messages.owed[0].gpadl);
}

/* -- From the guest ------------------------------------------------------- */

/* Before 3.0 everything goes to the first VP. */
static void contacted(struct vmbus_inproc *bus, const struct vmbus_msg_initiate_contact *contact)
{
	struct inproc_messages *messages = &bus->messages;

	messages->owed_count = 0;
	memset(messages->offered, 0, sizeof(messages->offered));
	messages->only = VMBUS_MSG_VERSION_RESPONSE;
	messages->vp = contact->version >= VMBUS_V3_0 ? contact->target_vp : 0;
	(void)owed_add(bus, VMBUS_MSG_VERSION_RESPONSE, 0, 0);
}

static void unloaded(struct vmbus_inproc *bus)
{
	struct inproc_messages *messages = &bus->messages;

	messages->owed_count = 0;
	memset(messages->offered, 0, sizeof(messages->offered));
	messages->only = VMBUS_MSG_UNLOAD_COMPLETE;
	if (bus->guest.version >= VMBUS_V1_1)
		(void)owed_add(bus, VMBUS_MSG_UNLOAD_COMPLETE, 0, 0);
}

static void opened(struct vmbus_inproc *bus, const struct vmbus_msg_open *open)
{
	struct inproc_offered *offered = &bus->messages.offered[open->channel_id];
	uint32_t vp = bus->guest.version < VMBUS_V2_4 ? 0 : open->target_vp;

	offered->vps = vp < INPROC_VPS ? (uint8_t)(1u << vp) : 0;
	if (offered->state == OFFERED)
		(void)owed_add(bus, VMBUS_MSG_OPEN_RESULT, open->channel_id, 0);
}

static void modified(struct vmbus_inproc *bus, const struct vmbus_msg_modify_channel *modify)
{
	struct inproc_offered *offered = &bus->messages.offered[modify->channel_id];
	struct inproc_owed *owed;

	offered->vps |= (uint8_t)(1u << modify->target_vp);
	if (bus->guest.version < VMBUS_V5_3)
		return;
	owed = owed_add(bus, VMBUS_MSG_MODIFY_CHANNEL_RESPONSE, modify->channel_id, 0);
	if (owed)
		owed->target = modify->target_vp;
}

static void gpadl_sent(struct vmbus_inproc *bus, const struct vmbus_msg_gpadl_header *header,
		       size_t len)
{
	struct inproc_owed *owed =
		owed_add(bus, VMBUS_MSG_GPADL_CREATED, header->channel_id, header->gpadl);
	uint32_t words = (uint32_t)(len - sizeof(*header)) / 8, total = header->range_buflen / 8u;

	if (owed)
		owed->words = words < total ? total - words : 0;
}

static void gpadl_continued(struct vmbus_inproc *bus, const struct vmbus_msg_gpadl_body *body,
			    size_t len)
{
	struct inproc_owed *owed = owed_find(bus, VMBUS_MSG_GPADL_CREATED, 0, body->gpadl);
	uint32_t words = (uint32_t)(len - sizeof(*body)) / 8;

	if (owed)
		owed->words -= words < owed->words ? words : owed->words;
}

static void released(struct vmbus_inproc *bus, uint32_t channel)
{
	owed_drop_channel(bus, channel);
	memset(&bus->messages.offered[channel], 0, sizeof(bus->messages.offered[channel]));
}

/* A message that the host has taken. */
void vmbus_inproc_messages_posted(struct vmbus_inproc *bus, const void *bytes, size_t len)
{
	union message m;

	memset(&m, 0, sizeof(m));
	memcpy(&m, bytes, len);
	if (bus->config.flags & VMBUS_INPROC_HOSTILE)
		return;
	switch (m.header.type) {
	case VMBUS_MSG_INITIATE_CONTACT:
		contacted(bus, &m.contact);
		break;
	case VMBUS_MSG_UNLOAD:
		unloaded(bus);
		break;
	case VMBUS_MSG_REQUEST_OFFERS:
		(void)owed_add(bus, VMBUS_MSG_ALLOFFERS_DELIVERED, 0, 0);
		break;
	case VMBUS_MSG_OPEN_CHANNEL:
		opened(bus, &m.open);
		break;
	case VMBUS_MSG_MODIFY_CHANNEL:
		modified(bus, &m.modify);
		break;
	case VMBUS_MSG_GPADL_HEADER:
		gpadl_sent(bus, &m.gpadl_header, len);
		break;
	case VMBUS_MSG_GPADL_BODY:
		gpadl_continued(bus, &m.gpadl_body, len);
		break;
	case VMBUS_MSG_GPADL_TEARDOWN:
		(void)owed_add(bus, VMBUS_MSG_GPADL_TORNDOWN, m.teardown.channel_id,
			       m.teardown.gpadl);
		break;
	case VMBUS_MSG_RELID_RELEASED:
		released(bus, m.channel.channel_id);
		break;
	default:
		break;
	}
}

/* -- From the host -------------------------------------------------------- */

static bool same_device(const struct inproc_offered *a, const struct vmbus_msg_offer *b)
{
	return vmbus_guid_equal(a->interface_id, b->interface_id) &&
	       vmbus_guid_equal(a->instance_id, b->instance_id);
}

/* vmbus.md 8.2: ids are used again only after the release, a device is offered again only
 * when the guest has let go of it, a primary comes before its sub-channels. */
static void offer_check(struct vmbus_inproc *bus, const struct vmbus_msg_offer *offer)
{
	struct inproc_offered *offered = bus->messages.offered;
	bool primary = offer->subchannel_index == 0;

	for (uint32_t id = 1; id <= VMBUS_CHANNEL_MAX; id++) {
		if (!offered[id].state || !same_device(&offered[id], offer))
			continue;
		if (offered[id].subindex == offer->subchannel_index)
			vmbus_inproc_fail(bus, "channel %u offered while %u is the same",
					  offer->channel_id, id);
		primary |= offered[id].subindex == 0 && offered[id].state == OFFERED;
	}
	if (!primary)
		vmbus_inproc_fail(bus, "sub-channel %u offered without its primary",
				  offer->channel_id);
}

static void offer_came(struct vmbus_inproc *bus, const struct vmbus_msg_offer *offer)
{
	struct inproc_offered *offered;

	if (offer->channel_id == 0 || offer->channel_id > VMBUS_CHANNEL_MAX) {
		vmbus_inproc_fail(bus, "channel %u offered", offer->channel_id);
		return;
	}
	offered = &bus->messages.offered[offer->channel_id];
	if (offered->state)
		vmbus_inproc_fail(bus, "channel %u offered again before its release",
				  offer->channel_id);
	offer_check(bus, offer);
	*offered = (struct inproc_offered){
		.state = OFFERED,
		.subindex = offer->subchannel_index,
		.interface_id = offer->interface_id,
		.instance_id = offer->instance_id,
	};
}

/* A RESCIND is the answer to an OPEN that it crossed. The other answers owed come before it,
 * or after it for what the guest asked later. */
static void rescind_came(struct vmbus_inproc *bus, uint32_t channel)
{
	struct inproc_offered *offered = &bus->messages.offered[channel];
	struct inproc_owed *owed;

	if (offered->state != OFFERED)
		vmbus_inproc_fail(bus, "channel %u rescinded that is not offered", channel);
	offered->state = RESCINDED;
	while ((owed = owed_find(bus, VMBUS_MSG_OPEN_RESULT, channel, 0)))
		owed_remove(bus, owed);
}

static void answer_came(struct vmbus_inproc *bus, uint32_t type, uint32_t channel, uint32_t gpadl,
			uint32_t status)
{
	struct inproc_owed *owed = owed_find(bus, type, channel, gpadl);

	if (!owed) {
		vmbus_inproc_fail(bus, "%s (channel %u, GPADL 0x%x) that nobody asked for",
				  name_of(type), channel, gpadl);
		return;
	}
	if (owed->words && !status)
		vmbus_inproc_fail(bus, "GPADL 0x%x created before its last page was named", gpadl);
	if (type == VMBUS_MSG_MODIFY_CHANNEL_RESPONSE && !status)
		bus->messages.offered[channel].vps = (uint8_t)(1u << owed->target);
	owed_remove(bus, owed);
}

static void version_came(struct vmbus_inproc *bus)
{
	bus->messages.only = 0;
	answer_came(bus, VMBUS_MSG_VERSION_RESPONSE, 0, 0, 0);
	vmbus_inproc_memory_limbo_end(bus);
}

/* A message that is in the guest's slot now. */
void vmbus_inproc_messages_answered(struct vmbus_inproc *bus, uint32_t vp, const void *bytes,
				    size_t len)
{
	union message m;

	memset(&m, 0, sizeof(m));
	memcpy(&m, bytes, len);
	if (bus->config.flags & VMBUS_INPROC_HOSTILE) {
		vmbus_inproc_memory_limbo_end(bus);
		return;
	}
	if (vp != bus->messages.vp)
		vmbus_inproc_fail(bus, "message for VP %u in the slot of VP %u", bus->messages.vp,
				  vp);
	if (bus->messages.only && m.header.type != bus->messages.only)
		vmbus_inproc_fail(bus, "%s of the connection before", name_of(m.header.type));
	switch (m.header.type) {
	case VMBUS_MSG_OFFER:
		offer_came(bus, &m.offer);
		break;
	case VMBUS_MSG_RESCIND_OFFER:
		rescind_came(bus, m.channel.channel_id % (VMBUS_CHANNEL_MAX + 1));
		break;
	case VMBUS_MSG_VERSION_RESPONSE:
		version_came(bus);
		break;
	case VMBUS_MSG_ALLOFFERS_DELIVERED:
	case VMBUS_MSG_UNLOAD_COMPLETE:
		answer_came(bus, m.header.type, 0, 0, 0);
		break;
	case VMBUS_MSG_OPEN_RESULT:
		answer_came(bus, m.header.type, m.open_result.channel_id, 0, m.open_result.status);
		break;
	case VMBUS_MSG_GPADL_CREATED:
		answer_came(bus, m.header.type, m.created.channel_id, m.created.gpadl,
			    m.created.status);
		break;
	case VMBUS_MSG_GPADL_TORNDOWN:
		answer_came(bus, m.header.type, 0, m.torndown.gpadl, 0);
		break;
	case VMBUS_MSG_MODIFY_CHANNEL_RESPONSE:
		answer_came(bus, m.header.type, m.modify_response.channel_id, 0,
			    m.modify_response.status);
		break;
	default:
		vmbus_inproc_fail(bus, "%s that this guest never asks for", name_of(m.header.type));
	}
}

/* The host signals a channel. One that the guest has just let go of may be signalled once
 * more. */
void vmbus_inproc_messages_signal(struct vmbus_inproc *bus, uint32_t vp, uint32_t flag)
{
	const struct inproc_offered *offered = &bus->messages.offered[flag];

	if (bus->config.flags & VMBUS_INPROC_HOSTILE || !offered->state)
		return;
	if (!(offered->vps & 1u << vp))
		vmbus_inproc_fail(bus, "channel %u signalled on VP %u", flag, vp);
}
