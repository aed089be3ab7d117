/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "rndis.h"

typedef int handler(struct vsp_adapter *a, const uint8_t *message, uint32_t len,
		    struct vsp_rndis_reply *reply);

static handler on_initialize, on_halt, on_query, on_set, on_set_ex, on_reset, on_keepalive;

static const struct row {
	uint32_t type;
	uint32_t size;
	bool before_initialize; /* also legal then */
	handler *handle;
} rows[] = {
	{VSP_RNDIS_INITIALIZE, sizeof(struct vsp_rndis_initialize), true, on_initialize},
	{VSP_RNDIS_HALT, sizeof(struct vsp_rndis_request), true, on_halt},
	{VSP_RNDIS_QUERY, sizeof(struct vsp_rndis_oid_request), false, on_query},
	{VSP_RNDIS_SET, sizeof(struct vsp_rndis_oid_request), false, on_set},
	{VSP_RNDIS_SET_EX, sizeof(struct vsp_rndis_oid_request), false, on_set_ex},
	{VSP_RNDIS_RESET, sizeof(struct vsp_rndis_request), false, on_reset},
	{VSP_RNDIS_KEEPALIVE, sizeof(struct vsp_rndis_request), false, on_keepalive},
};

static void reply_put(struct vsp_rndis_reply *reply, const void *bytes, uint32_t len)
{
	memcpy(reply->bytes, bytes, len);
	reply->len = len;
}

static void status_put(struct vsp_rndis_reply *reply, uint32_t type, const uint8_t *message,
		       uint32_t status)
{
	struct vsp_rndis_complete c = {.header = {type | VSP_RNDIS_COMPLETE, sizeof(c)},
				       .status = status};

	memcpy(&c.request_id, message + sizeof(c.header), sizeof(c.request_id));
	reply_put(reply, &c, sizeof(c));
}

/* A guest that starts over is told so: nothing it set before holds. */
static int on_initialize(struct vsp_adapter *a, const uint8_t *message, uint32_t len,
			 struct vsp_rndis_reply *reply)
{
	struct vsp_rndis_initialize m;
	struct vsp_rndis_initialize_complete c = {
		.header = {VSP_RNDIS_INITIALIZE | VSP_RNDIS_COMPLETE, sizeof(c)},
		.status = VSP_RNDIS_SUCCESS,
		.major = VSP_RNDIS_VERSION_MAJOR,
		.device_flags = 1,
		.max_packets = VSP_RNDIS_MAX_PACKETS,
		.max_transfer = VSP_RNDIS_MAX_TRANSFER,
		.alignment = VSP_RNDIS_ALIGNMENT,
	};

	(void)len;
	memcpy(&m, message, sizeof(m));
	c.request_id = m.request_id;
	if (m.major != VSP_RNDIS_VERSION_MAJOR) {
		c.status = VSP_RNDIS_BAD_VERSION;
	} else {
		vsp_adapter_restart(a);
		a->initialized = true;
	}
	reply_put(reply, &c, sizeof(c));
	return VMBUS_FAULT_NONE;
}

static int on_halt(struct vsp_adapter *a, const uint8_t *message, uint32_t len,
		   struct vsp_rndis_reply *reply)
{
	(void)message;
	(void)len;
	(void)reply;
	vsp_adapter_restart(a);
	return VMBUS_FAULT_NONE;
}

/* The information buffer of a request, if it lies behind the fixed part of the message. */
static bool info_find(const struct vsp_rndis_oid_request *m, const uint8_t *message, uint32_t len,
		      struct vmbus_cursor *info)
{
	uint64_t at = (uint64_t)m->info_offset + VSP_RNDIS_OFFSET_BASE;

	*info = vmbus_cursor_of(message, 0);
	if (!m->info_length)
		return true;
	if (at < sizeof(*m) || at + m->info_length > len)
		return false;
	*info = vmbus_cursor_of(message + at, m->info_length);
	return true;
}

static int on_query(struct vsp_adapter *a, const uint8_t *message, uint32_t len,
		    struct vsp_rndis_reply *reply)
{
	struct vsp_rndis_oid_request m;
	struct vsp_rndis_query_complete c = {
		.header = {VSP_RNDIS_QUERY | VSP_RNDIS_COMPLETE, sizeof(c)},
		.info_offset = sizeof(c) - VSP_RNDIS_OFFSET_BASE,
	};
	struct vmbus_cursor info;

	_Static_assert(sizeof(c) + VSP_OID_ANSWER_MAX <= VSP_RNDIS_REPLY_MAX,
		       "an answer has to fit");
	memcpy(&m, message, sizeof(m));
	c.request_id = m.request_id;
	if (info_find(&m, message, len, &info))
		c.status = vsp_oid_query(a, m.oid, m.info_length, reply->bytes + sizeof(c),
					 &c.info_length);
	else
		c.status = VSP_RNDIS_INVALID_DATA;
	c.header.length += c.info_length;
	memcpy(reply->bytes, &c, sizeof(c));
	reply->len = c.header.length;
	return c.status == VSP_RNDIS_INVALID_DATA ? VMBUS_FAULT_BAD_REQUEST : VMBUS_FAULT_NONE;
}

static int on_set(struct vsp_adapter *a, const uint8_t *message, uint32_t len,
		  struct vsp_rndis_reply *reply)
{
	struct vsp_rndis_oid_request m;
	uint32_t status = VSP_RNDIS_INVALID_DATA;
	struct vmbus_cursor info;

	memcpy(&m, message, sizeof(m));
	if (info_find(&m, message, len, &info))
		status = vsp_oid_set(a, m.oid, info);
	status_put(reply, VSP_RNDIS_SET, message, status);
	return status == VSP_RNDIS_INVALID_DATA ? VMBUS_FAULT_BAD_REQUEST : VMBUS_FAULT_NONE;
}

static int on_set_ex(struct vsp_adapter *a, const uint8_t *message, uint32_t len,
		     struct vsp_rndis_reply *reply)
{
	struct vsp_rndis_oid_request m;
	struct vsp_rndis_query_complete c = {
		.header = {VSP_RNDIS_SET_EX | VSP_RNDIS_COMPLETE, sizeof(c)},
		.status = VSP_RNDIS_NOT_SUPPORTED,
		.info_offset = sizeof(c) - VSP_RNDIS_OFFSET_BASE,
	};

	(void)a;
	(void)len;
	memcpy(&m, message, sizeof(m));
	c.request_id = m.request_id;
	reply_put(reply, &c, sizeof(c));
	return VMBUS_FAULT_NONE;
}

/* The filter and the addresses stay as they are: the guest need not set them again. */
static int on_reset(struct vsp_adapter *a, const uint8_t *message, uint32_t len,
		    struct vsp_rndis_reply *reply)
{
	const struct vsp_rndis_reset_complete c = {
		.header = {VSP_RNDIS_RESET | VSP_RNDIS_COMPLETE, sizeof(c)},
		.status = VSP_RNDIS_SUCCESS,
	};

	(void)a;
	(void)message;
	(void)len;
	reply_put(reply, &c, sizeof(c));
	return VMBUS_FAULT_NONE;
}

static int on_keepalive(struct vsp_adapter *a, const uint8_t *message, uint32_t len,
			struct vsp_rndis_reply *reply)
{
	(void)a;
	(void)len;
	status_put(reply, VSP_RNDIS_KEEPALIVE, message, VSP_RNDIS_SUCCESS);
	return VMBUS_FAULT_NONE;
}

static int row_find(const void *message, uint32_t len, struct vsp_rndis_header *h, const struct row **row)
{
	if (len < sizeof(*h))
		return VMBUS_FAULT_TRUNCATED;
	memcpy(h, message, sizeof(*h));
	if (h->length > len)
		return VMBUS_FAULT_BAD_REQUEST;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (rows[i].type != h->type)
			continue;
		*row = &rows[i];
		return h->length < rows[i].size ? VMBUS_FAULT_TRUNCATED : VMBUS_FAULT_NONE;
	}
	return VMBUS_FAULT_UNKNOWN_TYPE;
}

int vsp_rndis_check(const void *message, uint32_t len)
{
	struct vsp_rndis_header h;
	const struct row *row;

	return row_find(message, len, &h, &row);
}

int vsp_rndis_control(struct vsp_adapter *a, const void *message, uint32_t len,
		      struct vsp_rndis_reply *reply)
{
	struct vsp_rndis_header h;
	const struct row *row;
	int fault = row_find(message, len, &h, &row);

	reply->len = 0;
	if (fault)
		return fault;
	if (!a->initialized && !row->before_initialize)
		return VMBUS_FAULT_WRONG_STATE;
	return row->handle(a, message, h.length, reply);
}

void vsp_rndis_indicate(struct vsp_rndis_reply *reply, uint32_t status, const void *buffer,
			uint32_t len)
{
	const struct vsp_rndis_indicate m = {
		.header = {VSP_RNDIS_INDICATE, (uint32_t)sizeof(m) + len},
		.status = status,
		.buffer_length = len,
		.buffer_offset = len ? (uint32_t)sizeof(m) - VSP_RNDIS_OFFSET_BASE : 0,
	};

	reply_put(reply, &m, sizeof(m));
	if (len)
		memcpy(reply->bytes + sizeof(m), buffer, len);
	reply->len += len;
}
