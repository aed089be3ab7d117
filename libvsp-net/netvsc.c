/* SPDX-License-Identifier: MIT */
/* The guest role: set-up and control requests. */
#include <string.h>

#include "netvsc.h"

#define RECEIVE_ID 0xcafeu

int vsp_netvsc_put(struct vsp_netvsc *n, const struct vsp_nvsp_message *message, uint64_t id, bool answer)
{
	const struct vmbus_packet packet = {
		.type = VMBUS_PACKET_INBAND,
		.flags = answer ? VMBUS_PACKET_COMPLETION_REQUESTED : 0,
		.transaction_id = id,
		.payload = message,
		.payload_len = VSP_NVSP_SIZE_V61, /* whatever the message, as Linux does */
	};

	return vmbus_tx_put(&n->channel->tx, &packet, 0);
}

static void setup_end(struct vsp_netvsc *n, enum vsp_netvsc_state state)
{
	n->state = state;
	if (n->config.ops->ready)
		n->config.ops->ready(n);
}

static void setup_put(struct vsp_netvsc *n, const struct vsp_nvsp_message *message, bool answer)
{
	if (vsp_netvsc_put(n, message, NETVSC_ID_SETUP, answer))
		setup_end(n, VSP_NETVSC_FAILED);
}

/* -- Control requests ------------------------------------------------------ */

static int control_send(struct vsp_netvsc *n, uint32_t len)
{
	const struct vsp_nvsp_message message = {
		.type = VSP_NVSP_RNDIS,
		.u.rndis = {VSP_NVSP_CHANNEL_CONTROL, 0, len},
	};
	int ret = vsp_netvsc_put(n, &message, NETVSC_ID_CONTROL, true);

	n->request_sent = n->request_answered = false;
	return ret;
}

static int control_request(struct vsp_netvsc *n, uint32_t type, uint32_t oid, const void *info,
			   uint32_t len)
{
	const struct vsp_rndis_oid_request m = {
		.header = {type, (uint32_t)sizeof(m) + len},
		.request_id = ++n->request_id,
		.oid = oid,
		.info_length = len,
		.info_offset = (uint32_t)sizeof(m) - VSP_RNDIS_OFFSET_BASE,
	};

	memcpy(n->config.send, &m, sizeof(m));
	if (len)
		memcpy(n->config.send + sizeof(m), info, len);
	n->request_oid = oid;
	return control_send(n, (uint32_t)sizeof(m) + len);
}

int vsp_netvsc_request(struct vsp_netvsc *n, uint32_t type, uint32_t oid, const void *info, uint32_t len)
{
	if (n->state != VSP_NETVSC_READY || n->primary != n ||
	    len > n->section_size - sizeof(struct vsp_rndis_oid_request))
		return NETVSC_EINVAL;
	if (!n->request_sent || !n->request_answered)
		return NETVSC_EAGAIN;
	return control_request(n, type, oid, info, len);
}

static void initialize_send(struct vsp_netvsc *n)
{
	const struct vsp_rndis_initialize m = {
		.header = {VSP_RNDIS_INITIALIZE, sizeof(m)},
		.request_id = ++n->request_id,
		.major = VSP_RNDIS_VERSION_MAJOR,
		.max_transfer = 0x4000,
	};

	memcpy(n->config.send, &m, sizeof(m));
	if (control_send(n, sizeof(m)))
		setup_end(n, VSP_NETVSC_FAILED);
}

int vsp_netvsc_halt(struct vsp_netvsc *n)
{
	const struct vsp_rndis_request m = {
		.header = {VSP_RNDIS_HALT, sizeof(m)}, .request_id = ++n->request_id};
	const struct vsp_nvsp_message revoke_receive = {
		.type = VSP_NVSP_REVOKE_RECV_BUF, .u.revoke = {RECEIVE_ID}};
	const struct vsp_nvsp_message revoke_send = {.type = VSP_NVSP_REVOKE_SEND_BUF};
	int ret;

	memcpy(n->config.send, &m, sizeof(m));
	ret = control_send(n, sizeof(m));
	if (!ret)
		ret = vsp_netvsc_put(n, &revoke_receive, 0, false);
	if (!ret)
		ret = vsp_netvsc_put(n, &revoke_send, 0, false);
	return ret;
}

int vsp_netvsc_ask_channels(struct vsp_netvsc *n, uint32_t count)
{
	const struct vsp_nvsp_message message = {
		.type = VSP_NVSP_SUBCHANNEL, .u.subchannel = {VSP_NVSP_SUBCHANNEL_ALLOCATE, count}};

	if (n->state != VSP_NETVSC_READY || n->version < VSP_NVSP_V5)
		return NETVSC_EINVAL;
	return vsp_netvsc_put(n, &message, NETVSC_ID_SETUP, true);
}

/* -- The set-up, a step an answer ----------------------------------------- */

static void version_try(struct vsp_netvsc *n, uint32_t version)
{
	const struct vsp_nvsp_message message = {.type = VSP_NVSP_INIT, .u.init = {version, version}};

	n->version = version;
	setup_put(n, &message, true);
}

static void version_next(struct vsp_netvsc *n)
{
	static const uint32_t versions[] = {VSP_NVSP_V61, VSP_NVSP_V6, VSP_NVSP_V5,
					    VSP_NVSP_V4,  VSP_NVSP_V2, VSP_NVSP_V1};

	for (unsigned int i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		if (versions[i] < n->version) {
			version_try(n, versions[i]);
			return;
		}
	}
	setup_end(n, VSP_NETVSC_FAILED);
}

static void version_done(struct vsp_netvsc *n)
{
	const struct vsp_nvsp_message ndis_config = {
		.type = VSP_NVSP_NDIS_CONFIG,
		.u.ndis_config = {.mtu = n->config.mtu + 14, .capabilities = n->config.capabilities}};
	const struct vsp_nvsp_message ndis_version = {
		.type = VSP_NVSP_NDIS_VERSION,
		.u.ndis_version = {6, n->version > VSP_NVSP_V4 ? 30 : 1}};
	const struct vsp_nvsp_message buffer = {
		.type = VSP_NVSP_RECV_BUF, .u.buffer = {n->config.receive_gpadl, RECEIVE_ID, 0}};

	if (n->version >= VSP_NVSP_V2)
		setup_put(n, &ndis_config, false);
	setup_put(n, &ndis_version, false);
	n->state = VSP_NETVSC_RECEIVE;
	setup_put(n, &buffer, true);
}

static void receive_done(struct vsp_netvsc *n, const struct vsp_nvsp_recv_buf_complete *c)
{
	const struct vsp_nvsp_message buffer = {
		.type = VSP_NVSP_SEND_BUF, .u.buffer = {n->config.send_gpadl, 0, 0}};

	if (c->status != VSP_NVSP_STATUS_SUCCESS || c->sections != 1 || c->offset != 0 ||
	    c->slot_size < VSP_NVSP_SLOT_MIN ||
	    (uint64_t)c->slot_size * c->slots > n->config.receive_len) {
		setup_end(n, VSP_NETVSC_FAILED);
		return;
	}
	n->slot_size = c->slot_size;
	n->slot_count = c->slots;
	n->state = VSP_NETVSC_SEND;
	setup_put(n, &buffer, true);
}

void vsp_netvsc_setup_answered(struct vsp_netvsc *n, const struct vsp_nvsp_message *m)
{
	if (m->type == VSP_NVSP_INIT_COMPLETE && n->state == VSP_NETVSC_VERSION) {
		if (m->u.init_complete.status == VSP_NVSP_STATUS_SUCCESS)
			version_done(n);
		else
			version_next(n);
	} else if (m->type == VSP_NVSP_RECV_BUF_COMPLETE && n->state == VSP_NETVSC_RECEIVE) {
		receive_done(n, &m->u.recv_buf_complete);
	} else if (m->type == VSP_NVSP_SEND_BUF_COMPLETE && n->state == VSP_NETVSC_SEND) {
		n->section_size = m->u.send_buf_complete.section_size;
		if (m->u.send_buf_complete.status != VSP_NVSP_STATUS_SUCCESS || n->section_size < 128) {
			setup_end(n, VSP_NETVSC_FAILED);
			return;
		}
		n->section_count = n->config.send_len / n->section_size;
		n->state = VSP_NETVSC_INITIALIZE;
		initialize_send(n);
	} else if (m->type == VSP_NVSP_SUBCHANNEL && n->state == VSP_NETVSC_READY) {
		if (n->config.ops->sub_channels)
			n->config.ops->sub_channels(n, m->u.subchannel.operation == VSP_NVSP_STATUS_SUCCESS
							       ? m->u.subchannel.count : 0);
	} else {
		n->bad_packets++;
	}
}

static int parameters_send(struct vsp_netvsc *n)
{
	const uint8_t rsc = n->config.rsc && n->offload.rsc_ipv4 ? 2 : 1;
	const struct vsp_ndis_offload_parameters p = {
		.header = {VSP_NDIS_DEFAULT, 3, sizeof(p)},
		.ipv4_checksum = 1,
		.tcp_ipv4_checksum = 4,
		.udp_ipv4_checksum = 4,
		.tcp_ipv6_checksum = 4,
		.udp_ipv6_checksum = 4,
		.lso_v2_ipv4 = 2,
		.lso_v2_ipv6 = 2,
		.rsc_ipv4 = n->offload.rsc_ipv4 ? rsc : 0,
		.rsc_ipv6 = n->offload.rsc_ipv6 ? rsc : 0,
	};

	return control_request(n, VSP_RNDIS_SET, 0xfc01020c, &p, sizeof(p));
}

static int step_send(struct vsp_netvsc *n)
{
	const struct vsp_ndis_object offload = {VSP_NDIS_OFFLOAD, 3, sizeof(struct vsp_ndis_offload)};

	switch (n->state) {
	case VSP_NETVSC_MAC:
		return control_request(n, VSP_RNDIS_QUERY, 0x01010101, NULL, 0);
	case VSP_NETVSC_OFFLOAD:
		return control_request(n, VSP_RNDIS_QUERY, 0xfc01020d, &offload, sizeof(offload));
	case VSP_NETVSC_PARAMETERS:
		return parameters_send(n);
	case VSP_NETVSC_LINK:
		return control_request(n, VSP_RNDIS_QUERY, 0x00010114, NULL, 0);
	case VSP_NETVSC_RSS:
		return control_request(n, VSP_RNDIS_QUERY, 0x00010203, NULL, 0);
	default:
		return control_request(n, VSP_RNDIS_SET, 0x0001010e, &n->config.filter, 4);
	}
}

/* Takes what a step's answer says. Returns false if the set-up cannot go on without it. */
static bool step_take(struct vsp_netvsc *n, uint32_t status, const uint8_t *info, uint32_t len)
{
	struct vsp_ndis_rss_capabilities rss;
	uint32_t down = 0;

	switch (n->state) {
	case VSP_NETVSC_MAC:
		if (len == sizeof(n->mac))
			memcpy(n->mac, info, sizeof(n->mac));
		return len == sizeof(n->mac);
	case VSP_NETVSC_OFFLOAD:
		if (len == sizeof(n->offload))
			memcpy(&n->offload, info, sizeof(n->offload));
		return len == sizeof(n->offload);
	case VSP_NETVSC_LINK:
		if (len == sizeof(down))
			memcpy(&down, info, sizeof(down));
		n->link_up = !down;
		return len == sizeof(down);
	case VSP_NETVSC_RSS:
		n->max_queues = 1;
		n->rss_entries = 0;
		if (status == VSP_RNDIS_SUCCESS && len == sizeof(rss)) {
			memcpy(&rss, info, sizeof(rss));
			n->max_queues = rss.queues;
			n->rss_entries = rss.entries < VSP_RSS_ENTRIES ? rss.entries : VSP_RSS_ENTRIES;
		}
		return true;
	default: /* INITIALIZE, PARAMETERS, FILTER */
		return status == VSP_RNDIS_SUCCESS;
	}
}

static void step_next(struct vsp_netvsc *n)
{
	if (n->state == VSP_NETVSC_FILTER) {
		setup_end(n, VSP_NETVSC_READY);
		return;
	}
	n->state++;
	if (step_send(n))
		setup_end(n, VSP_NETVSC_FAILED);
}

/* A step is over with both its completion and its answer: then section 0 is free. */
static void control_over(struct vsp_netvsc *n, uint32_t status, const uint8_t *info, uint32_t len)
{
	n->request_answered = true;
	if (n->state == VSP_NETVSC_READY) {
		if (n->config.ops->answered)
			n->config.ops->answered(n, status, info, len);
		return;
	}
	if (!step_take(n, status, info, len))
		setup_end(n, VSP_NETVSC_FAILED);
	else if (n->request_sent)
		step_next(n);
}

void vsp_netvsc_control_sent(struct vsp_netvsc *n, uint32_t status)
{
	n->request_sent = true;
	if (n->state >= VSP_NETVSC_READY)
		return;
	if (status != VSP_NVSP_STATUS_SUCCESS)
		setup_end(n, VSP_NETVSC_FAILED);
	else if (n->request_answered)
		step_next(n);
}

void vsp_netvsc_control_received(struct vsp_netvsc *n, const uint8_t *slot, uint32_t len)
{
	struct vsp_rndis_query_complete c = {.info_length = 0};
	uint32_t at = 0;

	if (len > sizeof(n->control))
		len = sizeof(n->control);
	memcpy(n->control, slot, len); /* once: the slot is shared memory */
	memcpy(&c, n->control, len < sizeof(c) ? len : sizeof(c));
	if (len < sizeof(struct vsp_rndis_complete) || c.header.length > len) {
		n->bad_packets++;
		return;
	}
	if (c.header.type == VSP_RNDIS_INDICATE) {
		uint32_t what = c.request_id; /* the status stands there */

		if (what != VSP_RNDIS_MEDIA_CONNECT && what != VSP_RNDIS_MEDIA_DISCONNECT)
			return;
		n->link_up = what == VSP_RNDIS_MEDIA_CONNECT;
		if (n->config.ops->link)
			n->config.ops->link(n, n->link_up);
		return;
	}
	if (c.request_id != n->request_id || n->request_answered) {
		n->bad_packets++;
		return;
	}
	if (c.header.type != (VSP_RNDIS_QUERY | VSP_RNDIS_COMPLETE))
		c.info_length = 0;
	else
		at = c.info_offset + VSP_RNDIS_OFFSET_BASE;
	if (c.info_length && (at < sizeof(c) || at > len || c.info_length > len - at)) {
		n->bad_packets++;
		c.info_length = 0;
	}
	control_over(n, c.status, n->control + at, c.info_length);
}

int vsp_netvsc_init(struct vsp_netvsc *n, const struct vsp_netvsc_config *config,
		    struct vmbus_guest_channel *channel)
{
	if (config->size != sizeof(*config) || !config->ops || !config->send ||
	    config->send_len < 2 * VSP_NVSP_SECTION_SIZE)
		return NETVSC_EINVAL;
	memset(n, 0, sizeof(*n));
	n->config = *config;
	n->primary = n;
	n->channel = channel;
	for (uint32_t i = 0; i < VSP_NETVSC_SENDS; i++)
		n->free_ids[i] = i;
	version_try(n, config->max_version);
	return n->state == VSP_NETVSC_FAILED ? NETVSC_EAGAIN : 0;
}

void vsp_netvsc_init_sub(struct vsp_netvsc *n, struct vsp_netvsc *primary,
			 struct vmbus_guest_channel *channel)
{
	*n = *primary;
	n->primary = primary;
	n->channel = channel;
	n->return_count = 0;
	n->in_flight = 0;
	n->bad_packets = n->received_packets = n->received_frames = 0;
	memset(n->sends, 0, sizeof(n->sends));
	for (uint32_t i = 0; i < VSP_NETVSC_SENDS; i++)
		n->free_ids[i] = i;
}
