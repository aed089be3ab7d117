/* SPDX-License-Identifier: MIT */
/* RNDIS control messages: requests, their answers, and what the guest is told unasked. All go
 * through the control slots of the primary channel; each needs a free slot and room in the
 * ring, and waits for them without holding up the data. */
#include <errno.h>
#include <string.h>

#include "net-priv.h"

enum vsp_nvsp_status vsp_net_control_queue(struct net_channel *ch, const struct net_gather *g)
{
	struct vsp_net *net = ch->net;
	struct net_control *c;

	if (ch->index != 0 || g->total > VSP_RNDIS_REQUEST_MAX) {
		ch->stats.bad_messages++;
		return VSP_NVSP_STATUS_FAILURE;
	}
	if (net->control_count == NET_CONTROL_QUEUE)
		return VSP_NVSP_STATUS_FAILURE;
	c = &net->control[(net->control_first + net->control_count) % NET_CONTROL_QUEUE];
	if (vsp_net_gather_read(vmbus_channel_view(ch->channel), g, 0, c->bytes, g->total) ||
	    vsp_rndis_check(c->bytes, g->total)) {
		ch->stats.bad_messages++;
		return VSP_NVSP_STATUS_FAILURE;
	}
	c->len = g->total;
	net->control_count++;
	return VSP_NVSP_STATUS_SUCCESS;
}

static uint32_t control_bytes(const struct vsp_net *net)
{
	return vmbus_packet_ring_bytes(sizeof(struct vmbus_transfer_pages) +
					       sizeof(struct vmbus_transfer_range),
				       vsp_nvsp_size(&net->nvsp));
}

/* Whether a control message can be sent now: its ring bytes are then reserved. */
static bool control_reserve(struct net_channel *ch)
{
	struct vmbus_tx *tx = vmbus_channel_tx(ch->channel);
	uint32_t bytes = control_bytes(ch->net);

	if (!ch->net->control_slots || !ch->net->receive.gpadl)
		return false;
	return vmbus_tx_reserve(tx, bytes) ||
	       (vmbus_tx_wait_space(tx, bytes) && vmbus_tx_reserve(tx, bytes));
}

static void control_send(struct net_channel *ch, const struct vsp_rndis_reply *reply)
{
	struct vsp_net *net = ch->net;
	uint32_t slot = (uint32_t)__builtin_ctz(net->control_slots);
	const struct {
		struct vmbus_transfer_pages header;
		struct vmbus_transfer_range range;
	} ranges = {{.set_id = net->nvsp.receive_id, .range_count = 1},
		    {.byte_count = reply->len, .byte_offset = slot * net->slots.size}};
	const struct vsp_nvsp_message message = {
		.type = VSP_NVSP_RNDIS,
		.u.rndis = {VSP_NVSP_CHANNEL_CONTROL, VSP_NVSP_NO_SECTION, 0}};
	const struct vmbus_packet packet = {
		.type = VMBUS_PACKET_TRANSFER_PAGES,
		.flags = VMBUS_PACKET_COMPLETION_REQUESTED,
		.transaction_id = slot,
		.header = &ranges,
		.header_len = sizeof(ranges),
		.payload = &message,
		.payload_len = vsp_nvsp_size(&net->nvsp),
	};

	_Static_assert(VSP_RNDIS_REPLY_MAX <= VSP_NVSP_MTU_MIN, "a reply fits any slot");
	if (vmbus_span_write(vmbus_channel_view(ch->channel), &net->receive.span,
			     slot * net->slots.size, reply->bytes, reply->len) ||
	    vmbus_channel_send(ch->channel, &packet, control_bytes(net))) {
		vmbus_tx_unreserve(vmbus_channel_tx(ch->channel), control_bytes(net));
		return;
	}
	net->control_slots &= (uint16_t)~(1u << slot);
	net->slots.slots[slot].sent_on = 1;
}

/* No frame follows the answer that says there will be none, and none in a form that the guest
 * switched off: those under way wait for room in its ring. */
static void waiting_frames_discard(struct vsp_net *net)
{
	const struct vsp_adapter *a = &net->adapter;
	bool off = a->changed & VSP_CHANGED_OFFLOADS && !(a->offloads.rsc4 && a->offloads.rsc6);

	if (a->filter && !off)
		return;
	for (uint32_t i = 0; i < VSP_NET_CHANNELS; i++)
		if (net->channels[i])
			vsp_net_receive_discard(net->channels[i], a->filter != 0);
}

/* What a control message changed takes effect before its answer is sent. */
static void changes_apply(struct vsp_net *net)
{
	struct vsp_adapter *a = &net->adapter;
	uint32_t receive = VSP_NIC_CSUM;

	if (a->changed & (VSP_CHANGED_OFFLOADS | VSP_CHANGED_RESET)) {
		if (a->offloads.rsc4)
			receive |= VSP_NIC_TSO4;
		if (a->offloads.rsc6)
			receive |= VSP_NIC_TSO6;
		/* frames in a form that the guest does not take are dropped if this fails */
		(void)net->nic->ops->set_offloads(net->nic, receive & a->nic_offloads);
	}
	if (a->changed)
		waiting_frames_discard(net);
	if (a->changed & VSP_CHANGED_OFFLOADS)
		net->offloads_untold = true;
	if (a->changed & VSP_CHANGED_RESET) { /* a guest that starts asks for itself */
		net->offloads_untold = false;
		net->link_told = a->link_up;
		net->speed_told = a->speed_bps;
	}
	a->changed = 0;
}

static void stats_collect(struct vsp_net *net)
{
	net->adapter.stats = net->past;
	for (uint32_t i = 0; i < VSP_NET_CHANNELS; i++)
		if (net->channels[i])
			vsp_net_stats_add(&net->adapter.stats, &net->channels[i]->stats);
}

static void link_update(struct vsp_net *net)
{
	struct vsp_nic_info info = {0};

	net->nic->ops->get_info(net->nic, &info);
	net->adapter.link_up = info.link_up;
	if (info.speed_bps)
		net->adapter.speed_bps = info.speed_bps;
}

static void request_run(struct net_channel *ch)
{
	struct vsp_net *net = ch->net;
	struct net_control *c = &net->control[net->control_first];
	struct vsp_rndis_reply reply;

	stats_collect(net);
	link_update(net);
	if (vsp_rndis_control(&net->adapter, c->bytes, c->len, &reply))
		ch->stats.bad_messages++;
	changes_apply(net);
	net->control_first = (net->control_first + 1) % NET_CONTROL_QUEUE;
	net->control_count--;
	if (reply.len)
		control_send(ch, &reply);
	else
		vmbus_tx_unreserve(vmbus_channel_tx(ch->channel), control_bytes(net));
}

/* Speed changes are for guests that say they want them: Linux marks them "teaming". */
static bool speed_untold(const struct vsp_net *net)
{
	return net->speed_told != net->adapter.speed_bps && net->nvsp.capabilities & VSP_NVSP_CAP_TEAMING;
}

/* The next thing the guest should know. Returns false if there is none. */
static bool indication_next(struct vsp_net *net, struct vsp_rndis_reply *reply)
{
	struct vsp_ndis_offload offload;
	uint32_t speed;

	if (net->offloads_untold) {
		net->offloads_untold = false;
		vsp_offloads_describe(&net->adapter.offloads, &offload);
		vsp_rndis_indicate(reply, VSP_RNDIS_OFFLOAD_CURRENT_CONFIG, &offload, sizeof(offload));
		return true;
	}
	if (net->link_told != net->adapter.link_up) {
		net->link_told = net->adapter.link_up;
		vsp_rndis_indicate(reply, net->link_told ? VSP_RNDIS_MEDIA_CONNECT
							 : VSP_RNDIS_MEDIA_DISCONNECT, NULL, 0);
		return true;
	}
	if (speed_untold(net)) {
		uint64_t units = net->adapter.speed_bps / 100;

		net->speed_told = net->adapter.speed_bps;
		speed = units > 0xffffffff ? 0xffffffff : (uint32_t)units;
		vsp_rndis_indicate(reply, VSP_RNDIS_LINK_SPEED_CHANGE, &speed, sizeof(speed));
		return true;
	}
	return false;
}

/* Where guests send: all channels in turn. A table of 76 bytes at offset 12 is what every
 * version reads right: Linux before V6.1 looks elsewhere in a longer message. */
static void table_send(struct net_channel *ch)
{
	struct vsp_net *net = ch->net;
	struct vsp_nvsp_message message = {
		.type = VSP_NVSP_INDIRECTION_TABLE,
		.u.indirection = {.count = VSP_NVSP_INDIRECTION, .offset = 12},
	};
	const struct vmbus_packet packet = {
		.type = VMBUS_PACKET_INBAND,
		.payload = &message,
		.payload_len = 12 + VSP_NVSP_INDIRECTION * 4,
	};

	const uint32_t bytes = vmbus_packet_ring_bytes(0, packet.payload_len);

	for (uint32_t i = 0; i < VSP_NVSP_INDIRECTION; i++)
		message.u.indirection.table[i] = i % (net->nvsp.sub_channels + 1);
	do {
		net->table_sent = vmbus_channel_send(ch->channel, &packet, 0) == 0;
	} while (!net->table_sent && vmbus_tx_wait_space(vmbus_channel_tx(ch->channel), bytes));
}

static bool table_due(const struct vsp_net *net)
{
	return !net->table_sent && net->nvsp.sub_channels &&
	       net->sub_channels_open == net->nvsp.sub_channels;
}

bool vsp_net_control_waiting(const struct vsp_net *net)
{
	return net->control_count || net->offloads_untold || atomic_load(&net->link_changed) ||
	       table_due(net) ||
	       (net->adapter.initialized && (net->link_told != net->adapter.link_up || speed_untold(net)));
}

void vsp_net_control_run(struct net_channel *ch)
{
	struct vsp_net *net = ch->net;
	struct vsp_rndis_reply reply;

	vsp_net_change_begin(net);
	while (net->control_count && control_reserve(ch))
		request_run(ch);
	if (atomic_exchange(&net->link_changed, false))
		link_update(net);
	while (net->adapter.initialized && !net->control_count && control_reserve(ch)) {
		if (!indication_next(net, &reply)) {
			vmbus_tx_unreserve(vmbus_channel_tx(ch->channel), control_bytes(net));
			break;
		}
		control_send(ch, &reply);
	}
	if (table_due(net))
		table_send(ch);
	vsp_net_change_end(net);
}
