/* SPDX-License-Identifier: MIT */
/* Control messages from the host. The host is not trusted either: a message is taken
 * only if the table allows it, and nothing here can be driven into a loop or out of
 * its arrays by what it says. */
#include "guest-private.h"

#define IN(state) (1u << (VMBUS_GUEST_##state))

struct message {
	const uint8_t *bytes;
	size_t len;
};

/* As much of the message as there is, the rest 0. */
static void message_copy(const struct message *message, void *to, size_t size)
{
	memset(to, 0, size);
	memcpy(to, message->bytes, message->len < size ? message->len : size);
}

static struct vmbus_guest_channel *channel_slot(struct vmbus_guest *guest)
{
	for (uint32_t i = 0; i < guest->config.max_channels; i++)
		if (guest->config.channels[i].state == VMBUS_GUEST_CHANNEL_NONE)
			return &guest->config.channels[i];
	return NULL;
}

static int on_offer(struct vmbus_guest *guest, const struct message *message)
{
	struct vmbus_guest_channel *channel;
	struct vmbus_msg_offer offer;

	/* hosts before 1.1 end the message early: the rest is 0 then */
	message_copy(message, &offer, sizeof(offer));
	if (message->len < sizeof(offer) && guest->version >= VMBUS_V1_1)
		return VMBUS_FAULT_TRUNCATED;
	if (!offer.channel_id || offer.channel_id > VMBUS_CHANNEL_MAX)
		return VMBUS_FAULT_BAD_CHANNEL;
	if (vmbus_guest_find(guest, offer.channel_id))
		return VMBUS_FAULT_WRONG_STATE;
	channel = channel_slot(guest);
	if (!channel) {
		guest->ignored_offers++;
		return 0;
	}
	memset(channel, 0, sizeof(*channel));
	channel->state = VMBUS_GUEST_CHANNEL_OFFERED;
	channel->guest = guest;
	channel->offer = offer;
	GUEST_CALL(guest, offered, channel);
	return 0;
}

static int on_rescind(struct vmbus_guest *guest, const struct message *message)
{
	struct vmbus_guest_channel *channel;
	struct vmbus_msg_channel rescind;

	message_copy(message, &rescind, sizeof(rescind));
	channel = vmbus_guest_find(guest, rescind.channel_id);
	if (!channel)
		return VMBUS_FAULT_BAD_CHANNEL;
	if (channel->state == VMBUS_GUEST_CHANNEL_RESCINDED)
		return VMBUS_FAULT_WRONG_STATE;
	channel->state = VMBUS_GUEST_CHANNEL_RESCINDED;
	GUEST_CALL(guest, rescinded, channel);
	return 0;
}

static int on_all_offers(struct vmbus_guest *guest, const struct message *message)
{
	(void)message;
	GUEST_CALL(guest, all_offered);
	return 0;
}

static int on_open_result(struct vmbus_guest *guest, const struct message *message)
{
	struct vmbus_guest_channel *channel;
	struct vmbus_msg_open_result result;

	message_copy(message, &result, sizeof(result));
	channel = vmbus_guest_find(guest, result.channel_id);
	if (!channel || result.open_id != result.channel_id)
		return VMBUS_FAULT_BAD_CHANNEL;
	if (channel->state != VMBUS_GUEST_CHANNEL_OPENING)
		return VMBUS_FAULT_WRONG_STATE;
	if (result.status)
		channel->gpadl = 0;
	channel->state = result.status ? VMBUS_GUEST_CHANNEL_OFFERED : VMBUS_GUEST_CHANNEL_OPEN;
	GUEST_CALL(guest, opened, channel, result.status);
	return 0;
}

static int on_gpadl_created(struct vmbus_guest *guest, const struct message *message)
{
	struct vmbus_msg_gpadl_created created;
	struct vmbus_guest_gpadl *sending;

	message_copy(message, &created, sizeof(created));
	if (!vmbus_guest_find(guest, created.channel_id))
		return VMBUS_FAULT_BAD_CHANNEL;
	sending = vmbus_guest_gpadl_sending(guest, created.gpadl);
	if (sending && !created.status)
		return VMBUS_FAULT_BAD_GPADL;
	if (sending)
		sending->pfns = NULL; /* refused half way: the rest is not wanted */
	GUEST_CALL(guest, gpadl_created, created.gpadl, created.status);
	return 0;
}

static int on_gpadl_torndown(struct vmbus_guest *guest, const struct message *message)
{
	struct vmbus_msg_gpadl_torndown torndown;

	message_copy(message, &torndown, sizeof(torndown));
	if (vmbus_guest_gpadl_sending(guest, torndown.gpadl))
		return VMBUS_FAULT_BAD_GPADL;
	GUEST_CALL(guest, gpadl_torndown, torndown.gpadl);
	return 0;
}

static int on_version_response(struct vmbus_guest *guest, const struct message *message)
{
	struct vmbus_msg_version_response response;

	message_copy(message, &response, sizeof(response));
	if (!response.supported) {
		vmbus_guest_contact_refused(guest);
		return 0;
	}
	if (guest->version >= VMBUS_V2_4 && response.connection_state) {
		guest->state = VMBUS_GUEST_DISCONNECTED; /* an older version would not help */
		GUEST_CALL(guest, connected, 0);
		return 0;
	}
	if (guest->version >= VMBUS_V6_0 && message->len < sizeof(response))
		return VMBUS_FAULT_TRUNCATED;
	if (guest->version >= VMBUS_V5_0)
		guest->connection_id = response.version_or_connection_id;
	guest->features &= response.features;
	guest->state = VMBUS_GUEST_CONNECTED;
	GUEST_CALL(guest, connected, guest->version);
	return 0;
}

static int on_unload_complete(struct vmbus_guest *guest, const struct message *message)
{
	(void)message;
	vmbus_guest_over(guest);
	return 0;
}

static int on_modify_response(struct vmbus_guest *guest, const struct message *message)
{
	struct vmbus_msg_modify_channel_response response;
	struct vmbus_guest_channel *channel;

	message_copy(message, &response, sizeof(response));
	channel = vmbus_guest_find(guest, response.channel_id);
	if (!channel)
		return VMBUS_FAULT_BAD_CHANNEL;
	GUEST_CALL(guest, modified, channel, response.status);
	return 0;
}

/* What only a host sends; the rest of the types is for the guest to send. Rows without a
 * handler are the answers to requests that this guest does not make. */
static const struct message_row {
	int (*handle)(struct vmbus_guest *guest, const struct message *message);
	uint32_t min_version;
	uint16_t min_size;
	uint8_t states;
	bool known;
} rows[VMBUS_MSG_COUNT] = {
#define ROW(type, size, version, in, handler)                                            \
	[VMBUS_MSG_##type] = {handler, version, size, in, true}
	ROW(OFFER, 190, 0, IN(CONNECTED), on_offer),
	ROW(RESCIND_OFFER, 12, 0, IN(CONNECTED), on_rescind),
	ROW(ALLOFFERS_DELIVERED, 8, 0, IN(CONNECTED), on_all_offers),
	ROW(OPEN_RESULT, 20, 0, IN(CONNECTED), on_open_result),
	ROW(GPADL_CREATED, 20, 0, IN(CONNECTED), on_gpadl_created),
	ROW(GPADL_TORNDOWN, 12, 0, IN(CONNECTED), on_gpadl_torndown),
	ROW(VERSION_RESPONSE, 16, 0, IN(CONNECTING), on_version_response),
	ROW(UNLOAD_COMPLETE, 8, VMBUS_V1_1, IN(UNLOADING), on_unload_complete),
	ROW(CLOSE_RESERVED_RESPONSE, 12, VMBUS_V4_0, IN(CONNECTED), NULL),
	ROW(TL_CONNECT_RESULT, 44, VMBUS_V4_1, IN(CONNECTED), NULL),
	ROW(MODIFY_CHANNEL_RESPONSE, 16, VMBUS_V5_3, IN(CONNECTED), on_modify_response),
	ROW(MODIFY_CONNECTION_RESPONSE, 9, VMBUS_V6_0, IN(CONNECTED), NULL),
	ROW(PAUSE_RESPONSE, 8, VMBUS_V6_0, IN(CONNECTED), NULL),
#undef ROW
};

/* Sent before the host had read our UNLOAD or INITIATE_CONTACT, or meant for the kernel
 * before us. One that was pushed back has not been read at all. */
static bool message_is_left_over(const struct vmbus_guest *guest, const struct message_row *row)
{
	switch (guest->state) {
	case VMBUS_GUEST_DISCONNECTED:
		return true;
	case VMBUS_GUEST_CONNECTING:
		return guest->unsent_len || !(row->states & IN(CONNECTING));
	case VMBUS_GUEST_UNLOADING:
		return guest->unsent_len || row->states & IN(CONNECTED);
	default:
		return false;
	}
}

static int message_handle(struct vmbus_guest *guest, const struct message *message)
{
	struct vmbus_msg_header header;
	const struct message_row *row;

	if (message->len < sizeof(header))
		return VMBUS_FAULT_TRUNCATED;
	if (message->len > VMBUS_MESSAGE_MAX)
		return VMBUS_FAULT_OVERSIZED;
	memcpy(&header, message->bytes, sizeof(header));
	if (header.type == VMBUS_MSG_INVALID || header.type >= VMBUS_MSG_COUNT)
		return VMBUS_FAULT_UNKNOWN_TYPE;
	row = &rows[header.type];
	if (!row->known)
		return VMBUS_FAULT_WRONG_DIRECTION;
	if (message->len < row->min_size)
		return VMBUS_FAULT_TRUNCATED;
	if (message_is_left_over(guest, row))
		return 0;
	if (!(row->states & 1u << guest->state))
		return VMBUS_FAULT_WRONG_STATE;
	if (guest->version < row->min_version)
		return VMBUS_FAULT_WRONG_VERSION;
	return row->handle ? row->handle(guest, message) : 0;
}

int vmbus_guest_message(struct vmbus_guest *guest, const void *bytes, size_t len)
{
	struct message message = {.bytes = bytes, .len = len};
	int fault = message_handle(guest, &message);

	if (fault)
		guest->bad_messages++;
	return fault;
}
