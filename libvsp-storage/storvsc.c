/* SPDX-License-Identifier: MIT */
/* The guest's end of the storage protocol, with Linux' drivers/scsi/storvsc_drv.c as the
 * model: its packet sizes, transaction ids and order of messages. Freestanding. */
#include <errno.h>
#include <string.h>

#include <vsp/storvsc.h>

#define INIT_ID 0xfffffffffffffffdull /* every message of the initialisation, as Linux */

#define SRB_LENGTH_V1 0x24u
#define SRB_LENGTH_V2 0x34u
#define SRB_SENSE_V1 0x12u
#define SRB_STATUS_SENSE 0x80u /* autosense valid */
#define SRB_FLAG_DISABLE_SYNC_TRANSFER 0x08u
#define SRB_FLAG_DATA_IN 0x40u
#define SRB_FLAG_DATA_OUT 0x80u
#define SRB_TIMEOUT_SECONDS 60u

/* newest first; FreeBSD goes through all of them, Linux stops at 5.1 */
static const uint16_t versions[] = {VSP_STORVSP_WIN10, VSP_STORVSP_WIN8_1, VSP_STORVSP_WIN8,
				    VSP_STORVSP_WIN7, VSP_STORVSP_WIN6};

/* -- Sending -------------------------------------------------------------- */

/* Guests send 64 bytes before and after the negotiation, whatever the version; the host
 * answers with as many. */
static int packet_put(struct vsp_storvsc *storvsc, const struct vsp_storvsp_packet *body,
		      uint64_t id, uint32_t ranges_len)
{
	struct vmbus_packet packet = {
		.type = ranges_len ? VMBUS_PACKET_GPA_DIRECT : VMBUS_PACKET_INBAND,
		.flags = VMBUS_PACKET_COMPLETION_REQUESTED,
		.transaction_id = id,
		.header = storvsc->ranges,
		.header_len = ranges_len,
		.payload = body,
		.payload_len = sizeof(*body),
	};

	return vmbus_tx_put(&storvsc->channel->tx, &packet, 0);
}

static int init_send(struct vsp_storvsc *storvsc, uint32_t operation, uint16_t argument)
{
	struct vsp_storvsp_packet body;
	int err;

	memset(&body, 0, sizeof(body));
	body.operation = operation;
	body.flags = VSP_STORVSP_FLAG_COMPLETION;
	body.u.version.version = argument; /* the sub-channel count lies there, too */
	err = packet_put(storvsc, &body, INIT_ID, 0);
	if (err)
		return err;
	storvsc->waiting = true;
	vmbus_guest_signal(storvsc->channel);
	return 0;
}

int vsp_storvsc_init(struct vsp_storvsc *storvsc, struct vmbus_guest_channel *channel,
		     const struct vsp_storvsc *primary)
{
	memset(storvsc, 0, sizeof(*storvsc));
	storvsc->channel = channel;
	for (uint32_t i = 0; i < VSP_STORVSC_REQUESTS; i++)
		storvsc->free_slots[i] = VSP_STORVSC_REQUESTS - 1 - i;
	if (primary) {
		storvsc->state = VSP_STORVSC_READY;
		storvsc->version = primary->version;
		storvsc->max_transfer = primary->max_transfer;
		return 0;
	}
	storvsc->version = versions[0];
	return init_send(storvsc, VSP_STORVSP_BEGIN_INITIALIZATION, 0);
}

int vsp_storvsc_create_sub_channels(struct vsp_storvsc *storvsc, uint16_t count)
{
	if (storvsc->state != VSP_STORVSC_READY || storvsc->waiting)
		return -EINVAL;
	return init_send(storvsc, VSP_STORVSP_CREATE_SUB_CHANNELS, count);
}

static void srb_fill(const struct vsp_storvsc *storvsc, const struct vsp_storvsc_request *request,
		     struct vsp_storvsp_srb *srb)
{
	static const uint32_t direction_flags[] = {
		[VSP_SRB_WRITE] = SRB_FLAG_DATA_OUT,
		[VSP_SRB_READ] = SRB_FLAG_DATA_IN,
		[VSP_SRB_NONE] = 0,
	};
	bool v1 = storvsc->version < VSP_STORVSP_WIN8;

	srb->length = v1 ? SRB_LENGTH_V1 : SRB_LENGTH_V2;
	srb->path = request->path;
	srb->target = request->target;
	srb->lun = request->lun;
	srb->cdb_length = request->cdb_len;
	srb->sense_length = v1 ? SRB_SENSE_V1 : VSP_SENSE_SIZE;
	srb->direction = request->direction;
	srb->transfer_length = request->len;
	memcpy(srb->u.cdb, request->cdb, sizeof(request->cdb));
	if (v1)
		return;
	srb->srb_flags = SRB_FLAG_DISABLE_SYNC_TRANSFER | direction_flags[request->direction];
	srb->time_out = SRB_TIMEOUT_SECONDS;
}

/* One range, whatever the scatter: the form storvsc guests use. Returns its bytes. */
static uint32_t ranges_fill(struct vsp_storvsc *storvsc, const struct vsp_storvsc_request *request,
			    uint32_t pages)
{
	struct vmbus_gpa_direct direct = {.range_count = 1};
	struct vmbus_gpa_range range = {.byte_count = request->len, .byte_offset = request->offset};

	memcpy(&storvsc->ranges[0], &direct, sizeof(direct));
	memcpy(&storvsc->ranges[1], &range, sizeof(range));
	memcpy(&storvsc->ranges[2], request->pfns, 8 * pages);
	return (uint32_t)(sizeof(direct) + sizeof(range)) + 8 * pages;
}

int vsp_storvsc_submit(struct vsp_storvsc *storvsc, struct vsp_storvsc_request *request)
{
	uint64_t end = (uint64_t)request->offset + request->len;
	uint64_t pages = (end + VMBUS_PAGE_SIZE - 1) >> VMBUS_PAGE_SHIFT;
	struct vsp_storvsp_packet body;
	uint32_t slot, ranges_len = 0;
	int err;

	if (storvsc->state != VSP_STORVSC_READY || request->direction > VSP_SRB_NONE ||
	    request->offset >= VMBUS_PAGE_SIZE || pages > VSP_STORVSC_PAGES)
		return -EINVAL;
	if (storvsc->in_flight == VSP_STORVSC_REQUESTS)
		return -EAGAIN;
	memset(&body, 0, sizeof(body));
	body.operation = VSP_STORVSP_EXECUTE_SRB;
	body.flags = VSP_STORVSP_FLAG_COMPLETION;
	srb_fill(storvsc, request, &body.u.srb);
	if (request->len)
		ranges_len = ranges_fill(storvsc, request, (uint32_t)pages);
	slot = storvsc->free_slots[VSP_STORVSC_REQUESTS - 1 - storvsc->in_flight];
	err = packet_put(storvsc, &body, (uint64_t)slot + 1, ranges_len);
	if (err)
		return err == -EMSGSIZE ? -EINVAL : err;
	request->slot = slot;
	storvsc->requests[slot] = request;
	storvsc->in_flight++;
	return 0;
}

void vsp_storvsc_kick(struct vsp_storvsc *storvsc)
{
	vmbus_guest_signal(storvsc->channel);
}

/* -- Initialisation ------------------------------------------------------- */

static void init_end(struct vsp_storvsc *storvsc, enum vsp_storvsc_state state)
{
	storvsc->state = state;
	if (storvsc->ready)
		storvsc->ready(storvsc);
}

/* The next older version; 0 if there is none. */
static uint16_t version_below(uint16_t version)
{
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
		if (versions[i] < version)
			return versions[i];
	return 0;
}

static bool properties_take(struct vsp_storvsc *storvsc,
			    const struct vsp_storvsp_properties *properties)
{
	storvsc->max_transfer = properties->max_transfer & ~(VMBUS_PAGE_SIZE - 1);
	if (properties->flags & VSP_STORVSP_MULTI_CHANNEL)
		storvsc->max_sub_channels = properties->max_sub_channels;
	return storvsc->max_transfer != 0;
}

/* The answer to the message of storvsc->state: sends the next one and moves on, or ends. */
static void init_answered(struct vsp_storvsc *storvsc, const struct vsp_storvsp_packet *body)
{
	enum vsp_storvsc_state next = (enum vsp_storvsc_state)(storvsc->state + 1);
	bool ok = body->status == 0;
	uint32_t operation = 0;
	uint16_t argument = 0;

	switch (storvsc->state) {
	case VSP_STORVSC_BEGIN:
		operation = VSP_STORVSP_QUERY_VERSION;
		argument = storvsc->version;
		break;
	case VSP_STORVSC_VERSION:
		operation = VSP_STORVSP_QUERY_PROPERTIES;
		if (ok)
			break;
		storvsc->version = argument = version_below(storvsc->version);
		ok = argument != 0;
		next = VSP_STORVSC_VERSION;
		operation = VSP_STORVSP_QUERY_VERSION;
		break;
	case VSP_STORVSC_PROPERTIES:
		ok = ok && properties_take(storvsc, &body->u.properties);
		operation = VSP_STORVSP_END_INITIALIZATION;
		break;
	case VSP_STORVSC_END:
		init_end(storvsc, ok ? VSP_STORVSC_READY : VSP_STORVSC_FAILED);
		return;
	case VSP_STORVSC_READY: /* CREATE_SUB_CHANNELS: the status is all there is to know */
	case VSP_STORVSC_FAILED:
		return;
	}
	if (!ok || init_send(storvsc, operation, argument))
		init_end(storvsc, VSP_STORVSC_FAILED);
	else
		storvsc->state = next;
}

/* -- Receiving ------------------------------------------------------------ */

static void request_answered(struct vsp_storvsc *storvsc, uint32_t slot,
			     const struct vsp_storvsp_srb *srb)
{
	struct vsp_storvsc_request *request = storvsc->requests[slot];
	uint8_t sense_len = srb->sense_length < VSP_SENSE_SIZE ? srb->sense_length : VSP_SENSE_SIZE;

	storvsc->requests[slot] = NULL;
	storvsc->in_flight--;
	storvsc->free_slots[VSP_STORVSC_REQUESTS - 1 - storvsc->in_flight] = slot;
	request->srb_status = srb->srb_status;
	request->scsi_status = srb->scsi_status;
	request->sense_len = srb->srb_status & SRB_STATUS_SENSE ? sense_len : 0;
	memcpy(request->sense, srb->u.sense, sizeof(request->sense));
	request->transferred = srb->transfer_length;
	if (request->transferred > request->len)
		request->transferred = request->len;
	request->done(request);
}

/* Returns false if no host should send this. */
static bool answer_handle(struct vsp_storvsc *storvsc, uint64_t id,
			  const struct vsp_storvsp_packet *body)
{
	if (body->operation != VSP_STORVSP_COMPLETE_IO)
		return false;
	if (id == INIT_ID) {
		if (!storvsc->waiting)
			return false;
		storvsc->waiting = false;
		storvsc->status = body->status;
		init_answered(storvsc, body);
		return true;
	}
	if (id == 0 || id > VSP_STORVSC_REQUESTS || !storvsc->requests[id - 1])
		return false;
	request_answered(storvsc, (uint32_t)id - 1, &body->u.srb);
	return true;
}

static bool notice_handle(struct vsp_storvsc *storvsc, uint32_t operation)
{
	if (operation != VSP_STORVSP_ENUMERATE_BUS && operation != VSP_STORVSP_REMOVE_DEVICE)
		return false;
	storvsc->rescans++;
	return true;
}

static bool packet_handle(struct vsp_storvsc *storvsc, const struct vmbus_packet *packet)
{
	struct vsp_storvsp_packet body;

	memset(&body, 0, sizeof(body));
	memcpy(&body, packet->payload,
		  packet->payload_len < sizeof(body) ? packet->payload_len : sizeof(body));
	if (packet->type == VMBUS_PACKET_INBAND && packet->payload_len >= VSP_STORVSP_HEADER)
		return notice_handle(storvsc, body.operation);
	/* shorter answers are dropped by Linux as well */
	if (packet->type == VMBUS_PACKET_COMPLETION && packet->payload_len >= sizeof(body))
		return answer_handle(storvsc, packet->transaction_id, &body);
	return false;
}

int vsp_storvsc_poll(struct vsp_storvsc *storvsc, unsigned int *packets)
{
	uint64_t buf[64]; /* more than any packet of this protocol */
	struct vmbus_packet packet;
	unsigned int count = 0;
	int err = 0;

	while (count < VSP_STORVSC_BATCH) {
		err = vmbus_rx_next(&storvsc->channel->rx, buf, sizeof(buf), &packet);
		if (err)
			break;
		count++;
		if (!packet_handle(storvsc, &packet))
			storvsc->bad_packets++;
	}
	if (packets)
		*packets = count;
	if (count)
		vmbus_guest_commit(storvsc->channel);
	if (err == -ENOBUFS)
		return VMBUS_FAULT_OVERSIZED;
	return err == -EAGAIN ? 0 : err;
}
