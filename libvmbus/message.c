/* SPDX-License-Identifier: MIT */
#include "message.h"
#include "server.h"

#define G2H GUEST_TO_HOST
#define H2G HOST_TO_GUEST

#define OFF STATE(CONNECTION_DISCONNECTED)
#define ON STATE(CONNECTION_CONNECTED)
#define LEAVING STATE(CONNECTION_DISCONNECTING)

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

#define F_MODIFY VMBUS_FEATURE_MODIFY_CONNECTION
#define F_PAUSE VMBUS_FEATURE_PAUSE_RESUME
#define PAUSED WHILE_PAUSED

/* clang-format off */
static const struct message_type message_types[VMBUS_MSG_COUNT] = {
#define ROW(type, size, flags, version, feature, states, channel, handler)               \
	[VMBUS_MSG_##type] = {#type, size, flags, version, feature, states, channel, handler}
	/*  type                 size  flags          first version feature  connection    channel   handler */
	ROW(OFFER,                190, H2G,           0,          0,        0,            0,        NULL),
	ROW(RESCIND_OFFER,         12, H2G,           0,          0,        0,            0,        NULL),
	ROW(REQUEST_OFFERS,         8, G2H,           0,          0,        ON,           0,        vmbus_on_request_offers),
	ROW(ALLOFFERS_DELIVERED,    8, H2G,           0,          0,        0,            0,        NULL),
	ROW(OPEN_CHANNEL,         148, G2H | REPLIES, 0,          0,        ON,           OPENS,    vmbus_on_open),
	ROW(OPEN_RESULT,           20, H2G,           0,          0,        0,            0,        NULL),
	ROW(CLOSE_CHANNEL,         12, G2H,           0,          0,        ON,           CLOSES,   vmbus_on_close),
	ROW(GPADL_HEADER,          20, G2H | REPLIES, 0,          0,        ON,           HELD,     vmbus_on_gpadl_header),
	ROW(GPADL_BODY,            16, G2H | REPLIES, 0,          0,        ON,           0,        vmbus_on_gpadl_body),
	ROW(GPADL_CREATED,         20, H2G,           0,          0,        0,            0,        NULL),
	ROW(GPADL_TEARDOWN,        16, G2H,           0,          0,        ON,           HELD,     vmbus_on_gpadl_teardown),
	ROW(GPADL_TORNDOWN,        12, H2G,           0,          0,        0,            0,        NULL),
	ROW(RELID_RELEASED,        12, G2H,           0,          0,        ON,           RELEASES, vmbus_on_relid_released),
	ROW(INITIATE_CONTACT,      40, G2H | PAUSED,  0,          0,        OFF | ON | LEAVING, 0,  vmbus_on_initiate_contact),
	ROW(VERSION_RESPONSE,      16, H2G,           0,          0,        0,            0,        NULL),
	ROW(UNLOAD,                 8, G2H | PAUSED,  0,          0,        ON,           0,        vmbus_on_unload),
	ROW(UNLOAD_COMPLETE,        8, H2G,           VMBUS_V1_1, 0,        0,            0,        NULL),
	ROW(OPEN_RESERVED,         28, G2H | REPLIES, VMBUS_V4_0, 0,        ON,           0,        vmbus_on_open_reserved),
	ROW(CLOSE_RESERVED,        20, G2H | REPLIES, VMBUS_V4_0, 0,        OFF | ON,     0,        vmbus_on_close_reserved),
	ROW(CLOSE_RESERVED_RESPONSE, 12, H2G,         VMBUS_V4_0, 0,        0,            0,        NULL),
	ROW(TL_CONNECT_REQUEST,    40, G2H | REPLIES, VMBUS_V4_0, 0,        ON,           0,        vmbus_on_tl_connect),
	ROW(MODIFY_CHANNEL,        16, G2H | REPLIES, VMBUS_V4_1, 0,        ON,           MODIFIES, vmbus_on_modify_channel),
	ROW(TL_CONNECT_RESULT,     44, H2G,           VMBUS_V4_1, 0,        0,            0,        NULL),
	ROW(MODIFY_CHANNEL_RESPONSE, 16, H2G,         VMBUS_V5_3, 0,        0,            0,        NULL),
	ROW(MODIFY_CONNECTION,     24, G2H | REPLIES, VMBUS_V6_0, F_MODIFY, ON,           0,        vmbus_on_modify_connection),
	ROW(MODIFY_CONNECTION_RESPONSE, 9, H2G,       VMBUS_V6_0, F_MODIFY, 0,            0,        NULL),
	ROW(PAUSE,                  8, G2H | REPLIES, VMBUS_V6_0, F_PAUSE,  ON,           0,        vmbus_on_pause),
	ROW(PAUSE_RESPONSE,         8, H2G,           VMBUS_V6_0, F_PAUSE,  0,            0,        NULL),
	ROW(RESUME,                 8, G2H | PAUSED,  VMBUS_V6_0, F_PAUSE,  ON,           0,        vmbus_on_resume),
#undef ROW
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
