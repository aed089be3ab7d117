/* SPDX-License-Identifier: MIT */
#include <string.h>

#include <vmbus/cursor.h>

#include "nvsp.h"

#define IN(state) (1u << VSP_NVSP_STATE_##state)
#define ANY (IN(WAIT) | IN(SETUP) | IN(READY) | IN(REVOKED))

#define G 1u
#define H 2u
#define B (G | H)
#define C 4u /* the host's, as a completion */

typedef int handler(struct vsp_nvsp *nvsp, const struct vsp_nvsp_message *message,
		    struct vsp_nvsp_reply *reply);

static handler on_init, on_ndis_version, on_ndis_config, on_receive_buffer, on_send_buffer,
	on_revoke_receive, on_revoke_send, on_data_path, on_oid_query_ex, on_subchannel;

static const struct row {
	const char *name;
	uint32_t version; /* first that has it */
	uint8_t direction;
} rows[VSP_NVSP_TYPE_END] = {
#define X(constant, number, version, direction)                                          \
	[number] = {#constant, VSP_NVSP_##version, direction},
	VSP_NVSP_TYPES(X)
#undef X
};

/* What a guest may send. @answer: the completion's type, 0: an empty one; @status: where
 * its status stands, in 32-bit words behind the type; @failure: its value. */
static const struct request {
	uint32_t states;
	uint16_t size; /* the fields that are read */
	uint8_t answer;
	uint8_t status;
	uint32_t failure;
	handler *handle;
} requests[VSP_NVSP_TYPE_END] = {
	[VSP_NVSP_INIT] = {IN(WAIT), 12, VSP_NVSP_INIT_COMPLETE, 2, VSP_NVSP_STATUS_FAILURE, on_init},
	[VSP_NVSP_NDIS_VERSION] = {IN(SETUP), 12, 0, 0, 0, on_ndis_version},
	[VSP_NVSP_RECV_BUF] = {IN(SETUP) | IN(REVOKED), 10, VSP_NVSP_RECV_BUF_COMPLETE, 0,
			       VSP_NVSP_STATUS_FAILURE, on_receive_buffer},
	[VSP_NVSP_REVOKE_RECV_BUF] = {ANY & ~IN(WAIT), 6, 0, 0, 0, on_revoke_receive},
	[VSP_NVSP_SEND_BUF] = {IN(SETUP) | IN(READY), 10, VSP_NVSP_SEND_BUF_COMPLETE, 0,
			       VSP_NVSP_STATUS_FAILURE, on_send_buffer},
	[VSP_NVSP_REVOKE_SEND_BUF] = {ANY & ~IN(WAIT), 6, 0, 0, 0, on_revoke_send},
	[VSP_NVSP_NDIS_CONFIG] = {IN(SETUP), 20, 0, 0, 0, on_ndis_config},
	[VSP_NVSP_SWITCH_DATA_PATH] = {ANY & ~IN(WAIT), 8, 0, 0, 0, on_data_path},
	[VSP_NVSP_OID_QUERY_EX] = {ANY & ~IN(WAIT), 12, VSP_NVSP_OID_QUERY_EX_COMPLETE, 0,
				   0xc00000bbu, on_oid_query_ex},
	[VSP_NVSP_SUBCHANNEL] = {IN(READY), 12, VSP_NVSP_SUBCHANNEL, 0, VSP_NVSP_STATUS_FAILURE,
				 on_subchannel},
};

static const uint32_t moves[VSP_NVSP_STATE_COUNT] = {
	[VSP_NVSP_STATE_WAIT] = IN(SETUP),
	[VSP_NVSP_STATE_SETUP] = IN(READY) | IN(REVOKED),
	[VSP_NVSP_STATE_READY] = IN(REVOKED),
	[VSP_NVSP_STATE_REVOKED] = IN(READY),
};

static void state_move(struct vsp_nvsp *nvsp, enum vsp_nvsp_state state)
{
	if (moves[nvsp->state] & (1u << state))
		nvsp->state = state;
}

static void state_settle(struct vsp_nvsp *nvsp)
{
	if (nvsp->has_receive && nvsp->has_ndis_version &&
	    (nvsp->has_config || nvsp->version < VSP_NVSP_V2))
		state_move(nvsp, VSP_NVSP_STATE_READY);
}

static bool version_known(uint32_t version)
{
	static const uint32_t known[] = {VSP_NVSP_V1, VSP_NVSP_V2, VSP_NVSP_V4,
					 VSP_NVSP_V5, VSP_NVSP_V6, VSP_NVSP_V61};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (version == known[i])
			return true;
	return false;
}

/* Several versions in one message were once meant as a range; every guest sends the
 * same number twice. */
static int on_init(struct vsp_nvsp *nvsp, const struct vsp_nvsp_message *message,
		   struct vsp_nvsp_reply *reply)
{
	uint32_t version = message->u.init.version;
	struct vsp_nvsp_init_complete *c = &reply->message.u.init_complete;

	c->max_mdls = 34;
	c->version = version == VSP_NVSP_V1 ? VSP_NVSP_V1 : 0xffffffffu;
	if (!version_known(version) || version > nvsp->max_version ||
	    message->u.init.version_again != version) {
		c->status = VSP_NVSP_STATUS_NONE; /* the guest tries an older one */
		return VMBUS_FAULT_NONE;
	}
	c->status = VSP_NVSP_STATUS_SUCCESS;
	nvsp->version = version;
	nvsp->mtu = VSP_NVSP_MTU_MIN;
	state_move(nvsp, VSP_NVSP_STATE_SETUP);
	return VMBUS_FAULT_NONE;
}

static int on_ndis_version(struct vsp_nvsp *nvsp, const struct vsp_nvsp_message *message,
			   struct vsp_nvsp_reply *reply)
{
	(void)reply;
	if (nvsp->has_ndis_version)
		return VMBUS_FAULT_WRONG_STATE;
	nvsp->has_ndis_version = true;
	nvsp->ndis_major = message->u.ndis_version.major;
	nvsp->ndis_minor = message->u.ndis_version.minor;
	state_settle(nvsp);
	return VMBUS_FAULT_NONE;
}

/* Slots are cut by the MTU, so this comes before the receive buffer. A MTU out of
 * bounds is taken as the smallest, as Hyper-V does. */
static int on_ndis_config(struct vsp_nvsp *nvsp, const struct vsp_nvsp_message *message,
			  struct vsp_nvsp_reply *reply)
{
	uint32_t mtu = message->u.ndis_config.mtu;

	(void)reply;
	if (nvsp->has_config || nvsp->has_receive)
		return VMBUS_FAULT_WRONG_STATE;
	nvsp->has_config = true;
	nvsp->mtu = mtu < VSP_NVSP_MTU_MIN || mtu > VSP_NVSP_MTU_MAX ? VSP_NVSP_MTU_MIN : mtu;
	nvsp->capabilities = message->u.ndis_config.capabilities;
	state_settle(nvsp);
	return VMBUS_FAULT_NONE;
}

static int on_receive_buffer(struct vsp_nvsp *nvsp, const struct vsp_nvsp_message *message,
			     struct vsp_nvsp_reply *reply)
{
	struct vsp_nvsp_recv_buf_complete *c = &reply->message.u.recv_buf_complete;
	uint16_t id = message->u.buffer.id;

	c->status = VSP_NVSP_STATUS_FAILURE;
	if (nvsp->has_receive || (!nvsp->has_config && nvsp->version >= VSP_NVSP_V2))
		return VMBUS_FAULT_WRONG_STATE;
	if (nvsp->ops->receive_buffer(nvsp->opaque, message->u.buffer.gpadl, id, nvsp->mtu, c))
		return VMBUS_FAULT_BAD_GPADL;
	c->status = VSP_NVSP_STATUS_SUCCESS;
	c->sections = 1;
	nvsp->has_receive = true;
	nvsp->receive_id = id;
	state_settle(nvsp);
	return VMBUS_FAULT_NONE;
}

static int on_send_buffer(struct vsp_nvsp *nvsp, const struct vsp_nvsp_message *message,
			  struct vsp_nvsp_reply *reply)
{
	struct vsp_nvsp_send_buf_complete *c = &reply->message.u.send_buf_complete;

	c->status = VSP_NVSP_STATUS_FAILURE;
	if (nvsp->has_send)
		return VMBUS_FAULT_WRONG_STATE;
	if (nvsp->ops->send_buffer(nvsp->opaque, message->u.buffer.gpadl))
		return VMBUS_FAULT_BAD_GPADL;
	c->status = VSP_NVSP_STATUS_SUCCESS;
	c->section_size = VSP_NVSP_SECTION_SIZE;
	nvsp->has_send = true;
	return VMBUS_FAULT_NONE;
}

static int on_revoke_receive(struct vsp_nvsp *nvsp, const struct vsp_nvsp_message *message,
			     struct vsp_nvsp_reply *reply)
{
	(void)reply;
	if (!nvsp->has_receive || message->u.revoke.id != nvsp->receive_id)
		return VMBUS_FAULT_WRONG_STATE;
	vsp_nvsp_lost(nvsp, true);
	nvsp->ops->revoke(nvsp->opaque, true);
	return VMBUS_FAULT_NONE;
}

/* There is only one send buffer: its id names nothing. */
static int on_revoke_send(struct vsp_nvsp *nvsp, const struct vsp_nvsp_message *message,
			  struct vsp_nvsp_reply *reply)
{
	(void)message;
	(void)reply;
	if (!nvsp->has_send)
		return VMBUS_FAULT_WRONG_STATE;
	vsp_nvsp_lost(nvsp, false);
	nvsp->ops->revoke(nvsp->opaque, false);
	return VMBUS_FAULT_NONE;
}

/* No VF is ever offered, so the path stays the synthetic one; guests only wait for an
 * answer. */
static int on_data_path(struct vsp_nvsp *nvsp, const struct vsp_nvsp_message *message,
			struct vsp_nvsp_reply *reply)
{
	(void)nvsp;
	(void)reply;
	return message->u.data_path.path > 1 ? VMBUS_FAULT_BAD_REQUEST : VMBUS_FAULT_NONE;
}

static int on_oid_query_ex(struct vsp_nvsp *nvsp, const struct vsp_nvsp_message *message,
			   struct vsp_nvsp_reply *reply)
{
	(void)nvsp;
	(void)message;
	reply->message.u.oid_query_ex_complete.status = 0xc00000bbu;
	return VMBUS_FAULT_NONE;
}

/* Fewer than asked for is a success: guests go on with what they get. */
static int on_subchannel(struct vsp_nvsp *nvsp, const struct vsp_nvsp_message *message,
			 struct vsp_nvsp_reply *reply)
{
	struct vsp_nvsp_subchannel *c = &reply->message.u.subchannel;

	c->operation = VSP_NVSP_STATUS_FAILURE;
	if (message->u.subchannel.operation != VSP_NVSP_SUBCHANNEL_ALLOCATE ||
	    message->u.subchannel.count == 0)
		return VMBUS_FAULT_BAD_REQUEST;
	if (nvsp->sub_channels)
		return VMBUS_FAULT_WRONG_STATE;
	nvsp->sub_channels = nvsp->ops->sub_channels(nvsp->opaque, message->u.subchannel.count);
	if (!nvsp->sub_channels)
		return VMBUS_FAULT_LIMIT;
	c->operation = VSP_NVSP_STATUS_SUCCESS;
	c->count = nvsp->sub_channels;
	return VMBUS_FAULT_NONE;
}

void vsp_nvsp_reset(struct vsp_nvsp *nvsp)
{
	struct vsp_nvsp fresh = {
		.ops = nvsp->ops, .opaque = nvsp->opaque, .max_version = nvsp->max_version};

	*nvsp = fresh;
}

void vsp_nvsp_lost(struct vsp_nvsp *nvsp, bool receive)
{
	if (receive) {
		nvsp->has_receive = false;
		state_move(nvsp, VSP_NVSP_STATE_REVOKED);
	} else {
		nvsp->has_send = false;
	}
}

uint32_t vsp_nvsp_size(const struct vsp_nvsp *nvsp)
{
	return nvsp->version >= VSP_NVSP_V61 ? VSP_NVSP_SIZE_V61 : VSP_NVSP_SIZE;
}

static int message_check(const struct vsp_nvsp *nvsp, uint32_t type, uint32_t len, bool sub)
{
	const struct request *request;

	if (type >= VSP_NVSP_TYPE_END || !rows[type].name)
		return VMBUS_FAULT_UNKNOWN_TYPE;
	if (!(rows[type].direction & G))
		return VMBUS_FAULT_WRONG_DIRECTION;
	request = &requests[type];
	if (!request->handle)
		return VMBUS_FAULT_UNKNOWN_TYPE;
	if (type != VSP_NVSP_INIT && nvsp->version && rows[type].version > nvsp->version)
		return VMBUS_FAULT_WRONG_VERSION;
	if (sub || !(request->states & (1u << nvsp->state)))
		return VMBUS_FAULT_WRONG_STATE;
	return len < request->size ? VMBUS_FAULT_TRUNCATED : VMBUS_FAULT_NONE;
}

/* The answer's frame, with the failure already in it. */
static void reply_start(const struct vsp_nvsp *nvsp, uint32_t type, struct vsp_nvsp_reply *reply)
{
	const struct request *request = &requests[type];

	reply->message.type = request->answer;
	memcpy(&reply->message.u.bytes[request->status * 4u], &request->failure, 4);
	/* Linux checks the answer to INIT against the length of the one to RECV_BUF */
	reply->len = type == VSP_NVSP_INIT ? VSP_NVSP_SIZE : vsp_nvsp_size(nvsp);
}

int vsp_nvsp_message(struct vsp_nvsp *nvsp, const void *bytes, uint32_t len, bool sub,
		     struct vsp_nvsp_reply *reply)
{
	struct vsp_nvsp_message message = {0};
	int fault;

	memset(reply, 0, sizeof(*reply));
	if (len < sizeof(message.type))
		return VMBUS_FAULT_TRUNCATED;
	memcpy(&message, bytes, len < sizeof(message) ? len : sizeof(message));
	if (message.type < VSP_NVSP_TYPE_END && requests[message.type].answer)
		reply_start(nvsp, message.type, reply);
	fault = message_check(nvsp, message.type, len, sub);
	if (fault)
		return fault;
	return requests[message.type].handle(nvsp, &message, reply);
}

int vsp_nvsp_rndis(const struct vsp_nvsp *nvsp, const void *bytes, uint32_t len,
		   struct vsp_nvsp_rndis *rndis)
{
	if (len < 4 + sizeof(*rndis))
		return VMBUS_FAULT_TRUNCATED;
	if (nvsp->state != VSP_NVSP_STATE_READY)
		return VMBUS_FAULT_WRONG_STATE;
	memcpy(rndis, (const uint8_t *)bytes + 4, sizeof(*rndis));
	return VMBUS_FAULT_NONE;
}

void vsp_nvsp_rndis_complete(struct vsp_nvsp_reply *reply, enum vsp_nvsp_status status)
{
	memset(reply, 0, sizeof(*reply));
	reply->message.type = VSP_NVSP_RNDIS_COMPLETE;
	reply->message.u.rndis_complete.status = status;
	reply->len = 8;
}

const char *vsp_nvsp_name(uint32_t type)
{
	return type < VSP_NVSP_TYPE_END ? rows[type].name : NULL;
}
