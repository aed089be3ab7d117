/* SPDX-License-Identifier: MIT */
#include "message.h"
#include "server.h"

#define OFF STATE(CONNECTION_DISCONNECTED)
#define ON STATE(CONNECTION_CONNECTED)
#define BOTH (OFF | ON)
#define ANY (OFF | ON | STATE(CONNECTION_DISCONNECTING))

/* States of the channel that a message names. A revoked channel still takes the
 * messages that crossed its RESCIND. */
#define HELD                                                                             \
	(STATE(CHANNEL_CLOSED) | STATE(CHANNEL_OPEN) | STATE(CHANNEL_CLOSING) |          \
	 STATE(CHANNEL_REOPENING) | GONE)
#define GONE (STATE(CHANNEL_REVOKING) | STATE(CHANNEL_REVOKED))
#define OPENS (STATE(CHANNEL_CLOSED) | STATE(CHANNEL_CLOSING) | GONE)
#define CLOSES (STATE(CHANNEL_OPEN) | GONE)
#define MODIFIES STATE(CHANNEL_OPEN)
#define RELEASES (STATE(CHANNEL_CLOSED) | STATE(CHANNEL_CLOSING) | GONE)

#define F_CONN VMBUS_FEATURE_MODIFY_CONNECTION
#define F_PAUSE VMBUS_FEATURE_PAUSE_RESUME
#define PAUSED WHILE_PAUSED

#define V1_1 VMBUS_V1_1
#define V4_0 VMBUS_V4_0
#define V4_1 VMBUS_V4_1
#define V5_3 VMBUS_V5_3
#define V6_0 VMBUS_V6_0

/* clang-format off */
static const struct message_type message_types[VMBUS_MSG_COUNT] = {
#define TO_GUEST(type, size, version, feature)                                           \
	[VMBUS_MSG_##type] = {#type, size, HOST_TO_GUEST, version, feature, 0, 0, NULL}
#define TO_HOST(type, size, flags, version, feature, states, channel, handler)           \
	[VMBUS_MSG_##type] = {#type, size, GUEST_TO_HOST | (flags), version, feature,    \
			      states, channel, vmbus_on_##handler}
	/*       type                        size first feature */
	TO_GUEST(OFFER,                      190, 0,    0),
	TO_GUEST(RESCIND_OFFER,               12, 0,    0),
	TO_GUEST(ALLOFFERS_DELIVERED,          8, 0,    0),
	TO_GUEST(OPEN_RESULT,                 20, 0,    0),
	TO_GUEST(GPADL_CREATED,               20, 0,    0),
	TO_GUEST(GPADL_TORNDOWN,              12, 0,    0),
	TO_GUEST(VERSION_RESPONSE,            16, 0,    0),
	TO_GUEST(UNLOAD_COMPLETE,              8, V1_1, 0),
	TO_GUEST(CLOSE_RESERVED_RESPONSE,     12, V4_0, 0),
	TO_GUEST(TL_CONNECT_RESULT,           44, V4_1, 0),
	TO_GUEST(MODIFY_CHANNEL_RESPONSE,     16, V5_3, 0),
	TO_GUEST(MODIFY_CONNECTION_RESPONSE,   9, V6_0, F_CONN),
	TO_GUEST(PAUSE_RESPONSE,               8, V6_0, F_PAUSE),
	/*      type                size flags    first feature  conn. channel   handler */
	TO_HOST(REQUEST_OFFERS,       8, 0,       0,    0,       ON,   0,        request_offers),
	TO_HOST(OPEN_CHANNEL,       148, REPLIES, 0,    0,       ON,   OPENS,    open),
	TO_HOST(CLOSE_CHANNEL,       12, 0,       0,    0,       ON,   CLOSES,   close),
	TO_HOST(GPADL_HEADER,        20, REPLIES, 0,    0,       ON,   HELD,     gpadl_header),
	TO_HOST(GPADL_BODY,          16, REPLIES, 0,    0,       ON,   0,        gpadl_body),
	TO_HOST(GPADL_TEARDOWN,      16, 0,       0,    0,       ON,   HELD,     gpadl_teardown),
	TO_HOST(RELID_RELEASED,      12, 0,       0,    0,       ON,   RELEASES, relid_released),
	TO_HOST(INITIATE_CONTACT,    40, PAUSED,  0,    0,       ANY,  0,        initiate_contact),
	TO_HOST(UNLOAD,               8, PAUSED,  0,    0,       ON,   0,        unload),
	TO_HOST(OPEN_RESERVED,       28, REPLIES, V4_0, 0,       ON,   0,        open_reserved),
	TO_HOST(CLOSE_RESERVED,      20, REPLIES, V4_0, 0,       BOTH, 0,        close_reserved),
	TO_HOST(TL_CONNECT_REQUEST,  40, REPLIES, V4_0, 0,       ON,   0,        tl_connect),
	TO_HOST(MODIFY_CHANNEL,      16, REPLIES, V4_1, 0,       ON,   MODIFIES, modify_channel),
	TO_HOST(MODIFY_CONNECTION,   24, REPLIES, V6_0, F_CONN,  ON,   0,        modify_connection),
	TO_HOST(PAUSE,                8, REPLIES, V6_0, F_PAUSE, ON,   0,        pause),
	TO_HOST(RESUME,               8, PAUSED,  V6_0, F_PAUSE, ON,   0,        resume),
#undef TO_GUEST
#undef TO_HOST
};
/* clang-format on */

const struct message_type *vmbus_message_type(uint32_t type)
{
	return type < VMBUS_MSG_COUNT && message_types[type].name ? &message_types[type] : NULL;
}

const char *vmbus_message_name(uint32_t type)
{
	const struct message_type *row = vmbus_message_type(type);

	return row ? row->name : NULL;
}
