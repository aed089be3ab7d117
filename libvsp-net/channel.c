/* SPDX-License-Identifier: MIT */
/* A channel's turn: packets of the guest in, frames and answers out. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net-priv.h"

#define RING_POLL_NS 10000000ull /* where the guest does not tell of space */

void vsp_net_kick(struct net_channel *ch)
{
	const uint64_t one = 1;
	ssize_t n;

	if (!ch)
		return;
	n = write(vmbus_channel_doorbell(ch->channel), &one, sizeof(one));
	(void)n; /* EAGAIN: it is rung as often as can be */
}

void vsp_net_change_begin(struct vsp_net *net)
{
	pthread_mutex_lock(&net->lock);
	for (uint32_t i = 0; i < VSP_NET_CHANNELS; i++)
		if (net->channels[i])
			pthread_mutex_lock(&net->channels[i]->lock);
}

void vsp_net_change_end(struct vsp_net *net)
{
	for (uint32_t i = VSP_NET_CHANNELS; i-- > 0;)
		if (net->channels[i])
			pthread_mutex_unlock(&net->channels[i]->lock);
	pthread_mutex_unlock(&net->lock);
}

void vsp_net_complete(struct net_channel *ch, uint64_t transaction_id, const struct vsp_nvsp_reply *reply,
		      uint32_t reserved)
{
	const struct vmbus_packet packet = {
		.type = VMBUS_PACKET_COMPLETION,
		.transaction_id = transaction_id,
		.payload = &reply->message,
		.payload_len = reply->len,
	};

	/* the space is reserved: this fails only if the guest broke its ring */
	ch->fault = vmbus_channel_send(ch->channel, &packet, reserved);
}

void vsp_net_room_want(struct net_channel *ch, uint32_t bytes)
{
	if (bytes > ch->room_wanted)
		ch->room_wanted = bytes;
}

/* -- NVSP messages, by way of the server's thread -------------------------- */

static void message_handle(struct vmbus_channel_call *call)
{
	struct vsp_net *net = (struct vsp_net *)((char *)call - offsetof(struct vsp_net, call));
	struct vsp_nvsp *nvsp = &net->nvsp;

	vsp_net_change_begin(net);
	if (vsp_nvsp_message(nvsp, net->message.bytes, net->message.len, false, &net->message.reply))
		net->past.bad_messages++;
	net->adapter.mtu = nvsp->mtu ? nvsp->mtu : VSP_NVSP_MTU_MIN;
	net->adapter.ndis_major = nvsp->ndis_major;
	net->adapter.ndis_minor = nvsp->ndis_minor;
	/* each channel keeps a run of slots ready for coalesced frames */
	net->adapter.rsc_allowed = vsp_net_coalesces(net) &&
				   net->slots.count >= 2 * NET_RX_WINDOW * net->adapter.max_channels;
	atomic_store(&net->message_state, NET_MESSAGE_DONE);
	/* the first has the answer to give, the others may have frames for a new buffer */
	for (uint32_t i = 0; i < VSP_NET_CHANNELS; i++)
		vsp_net_kick(net->channels[i]);
	vsp_net_change_end(net);
}

static void message_ask(struct net_channel *ch, const struct vmbus_packet *packet)
{
	struct vsp_net *net = ch->net;
	uint32_t len = packet->payload_len;

	net->message.len = len < sizeof(net->message.bytes) ? len : sizeof(net->message.bytes);
	memcpy(net->message.bytes, packet->payload, net->message.len);
	net->message.transaction_id = packet->transaction_id;
	net->message.answer = packet->flags & VMBUS_PACKET_COMPLETION_REQUESTED;
	atomic_store(&net->message_state, NET_MESSAGE_ASKED);
	net->call.fn = message_handle;
	vmbus_channel_call(ch->channel, &net->call);
}

/* Returns false while the answer is outstanding: nothing more is taken from the guest. */
static bool message_answer(struct net_channel *ch)
{
	struct vsp_net *net = ch->net;
	struct vmbus_tx *tx = vmbus_channel_tx(ch->channel);

	if (ch->index != 0 || atomic_load(&net->message_state) == NET_MESSAGE_NONE)
		return true;
	if (atomic_load(&net->message_state) == NET_MESSAGE_ASKED)
		return false;
	atomic_store(&net->message_state, NET_MESSAGE_NONE);
	if (net->message.answer)
		vsp_net_complete(ch, net->message.transaction_id, &net->message.reply, NET_ANSWER_BYTES);
	vmbus_tx_unreserve(tx, net->message.answer ? NET_ANSWER_BYTES - vmbus_packet_ring_bytes(
							     0, net->message.reply.len)
						   : NET_ANSWER_BYTES);
	return true;
}

/* -- Packets of the guest ------------------------------------------------- */

static void status_answer(struct net_channel *ch, const struct vmbus_packet *packet,
			  enum vsp_nvsp_status status)
{
	struct vsp_nvsp_reply reply;

	if (!(packet->flags & VMBUS_PACKET_COMPLETION_REQUESTED)) {
		vmbus_tx_unreserve(vmbus_channel_tx(ch->channel), NET_COMPLETION_BYTES);
		return;
	}
	vsp_nvsp_rndis_complete(&reply, status);
	vsp_net_complete(ch, packet->transaction_id, &reply, NET_COMPLETION_BYTES);
}

/* Data or control is told by the RNDIS message: UEFI says neither in the channel type. */
static void rndis_take(struct net_channel *ch, const struct vmbus_packet *packet)
{
	const struct vmbus_view *view = vmbus_channel_view(ch->channel);
	struct vsp_nvsp_rndis rndis;
	struct net_gather gather;
	uint32_t type = 0;
	int ret = vsp_nvsp_rndis(&ch->net->nvsp, packet->payload, packet->payload_len, &rndis);

	vmbus_tx_unreserve(vmbus_channel_tx(ch->channel), NET_ANSWER_BYTES - NET_COMPLETION_BYTES);
	if (!ret)
		ret = vsp_net_gather(ch->net, packet, &rndis, &gather);
	if (!ret)
		ret = vsp_net_gather_read(view, &gather, 0, &type, sizeof(type));
	if (!ret && type == VSP_RNDIS_PACKET && !ch->net->adapter.initialized)
		ret = VMBUS_FAULT_WRONG_STATE;
	if (ret) {
		ch->stats.tx_errors++;
		status_answer(ch, packet, VSP_NVSP_STATUS_FAILURE);
	} else if (type == VSP_RNDIS_PACKET) {
		if (!(packet->flags & VMBUS_PACKET_COMPLETION_REQUESTED))
			vmbus_tx_unreserve(vmbus_channel_tx(ch->channel), NET_COMPLETION_BYTES);
		vsp_net_transmit(ch, packet, &gather);
	} else {
		status_answer(ch, packet, vsp_net_control_queue(ch, &gather));
	}
}

static void sub_refuse(struct net_channel *ch, const struct vmbus_packet *packet)
{
	struct vmbus_tx *tx = vmbus_channel_tx(ch->channel);
	struct vsp_nvsp nvsp = ch->net->nvsp; /* nothing comes of it */
	struct vsp_nvsp_reply reply;

	(void)vsp_nvsp_message(&nvsp, packet->payload, packet->payload_len, true, &reply);
	ch->stats.bad_messages++;
	if (packet->flags & VMBUS_PACKET_COMPLETION_REQUESTED) {
		uint32_t bytes = vmbus_packet_ring_bytes(0, reply.len);

		vsp_net_complete(ch, packet->transaction_id, &reply, bytes);
		vmbus_tx_unreserve(tx, NET_ANSWER_BYTES - bytes);
	} else {
		vmbus_tx_unreserve(tx, NET_ANSWER_BYTES);
	}
}

/* One that is longer than any right one, or of a type that guests do not send. */
static void packet_refuse(struct net_channel *ch, const struct vmbus_packet *packet)
{
	struct vmbus_tx *tx = vmbus_channel_tx(ch->channel);

	ch->stats.bad_messages++;
	if (packet->type == VMBUS_PACKET_COMPLETION) {
		vmbus_tx_unreserve(tx, NET_ANSWER_BYTES);
	} else {
		vmbus_tx_unreserve(tx, NET_ANSWER_BYTES - NET_COMPLETION_BYTES);
		status_answer(ch, packet, VSP_NVSP_STATUS_FAILURE);
	}
}

/* One packet; NET_ANSWER_BYTES are reserved for its answer. */
static void packet_take(struct net_channel *ch, const struct vmbus_packet *packet)
{
	struct vmbus_tx *tx = vmbus_channel_tx(ch->channel);
	uint32_t type = 0;

	switch (packet->type) {
	case VMBUS_PACKET_COMPLETION:
		vmbus_tx_unreserve(tx, NET_ANSWER_BYTES);
		if (vsp_net_receive_done(ch, packet->transaction_id))
			ch->stats.bad_messages++;
		break;
	case VMBUS_PACKET_INBAND:
	case VMBUS_PACKET_GPA_DIRECT:
		if (packet->payload_len >= sizeof(type))
			memcpy(&type, packet->payload, sizeof(type));
		if (type == VSP_NVSP_RNDIS)
			rndis_take(ch, packet);
		else if (ch->index == 0)
			message_ask(ch, packet);
		else
			sub_refuse(ch, packet);
		break;
	default:
		packet_refuse(ch, packet);
		break;
	}
}

static bool answer_reserve(struct net_channel *ch)
{
	struct vmbus_tx *tx = vmbus_channel_tx(ch->channel);

	return vmbus_tx_reserve(tx, NET_ANSWER_BYTES) ||
	       (vmbus_tx_wait_space(tx, NET_ANSWER_BYTES) && vmbus_tx_reserve(tx, NET_ANSWER_BYTES));
}

/* Without a queue all frames are lost: a guest may wait for their answers before it goes. */
static bool batch_flush(struct net_channel *ch)
{
	if (!ch->queue)
		vsp_net_transmit_drop(ch);
	return vsp_net_transmit_flush(ch);
}

/* Returns 0: the ring is empty; -EAGAIN: there is more; -EBUSY: there is more for which there
 * is no room; or a fault. */
static int packets_take(struct net_channel *ch, unsigned int budget)
{
	struct vmbus_packet packet;
	int ret;

	for (; budget && !ch->fault; budget--) {
		if (!vsp_net_transmit_room(ch) && !batch_flush(ch))
			return -EBUSY;
		if (!message_answer(ch))
			return -EBUSY;
		if (!answer_reserve(ch)) {
			ch->ring_waits = true;
			vsp_net_room_want(ch, NET_ANSWER_BYTES);
			return -EBUSY;
		}
		ret = vmbus_rx_next(vmbus_channel_rx(ch->channel), ch->packet, sizeof(ch->packet), &packet);
		if (ret == 0) {
			packet_take(ch, &packet);
		} else if (ret == -ENOBUFS) {
			vmbus_rx_skip(vmbus_channel_rx(ch->channel), &packet);
			packet_refuse(ch, &packet);
		} else {
			vmbus_tx_unreserve(vmbus_channel_tx(ch->channel), NET_ANSWER_BYTES);
			return ret == -EAGAIN ? 0 : ret;
		}
	}
	return ch->fault ? ch->fault : -EAGAIN;
}

/* -- Serving -------------------------------------------------------------- */

/* An event of the channel's own loop: it is served next, or has to be told. */
static void event_happened(struct net_channel *ch)
{
	if (!ch->loop_serves)
		vsp_net_kick(ch);
}

static void nic_readable(void *opaque)
{
	struct net_channel *ch = opaque;

	ch->rx.nic_readable = true;
	event_happened(ch);
}

static void nic_writable(void *opaque)
{
	event_happened(opaque);
}

static void timer_fire(struct vmbus_timer *timer)
{
	event_happened((struct net_channel *)((char *)timer - offsetof(struct net_channel, timer)));
}

/* Frames have nowhere to go if this fails: they are dropped. */
static void queue_open(struct net_channel *ch)
{
	static const struct vsp_nic_events events = {
		.size = sizeof(events), .readable = nic_readable, .writable = nic_writable};
	struct vsp_net *net = ch->net;

	ch->started = true;
	ch->loop = net->config.loop_of(net->config.opaque, ch->channel);
	ch->loop_serves = ch->loop && vmbus_loop_serves(ch->loop, ch->channel);
	if (net->nic->ops->queue_new(net->nic, ch->index, ch->loop, &events, ch, &ch->queue))
		ch->queue = NULL;
	ch->rx.nic_readable = ch->queue != NULL;
}

static int data_serve(struct net_channel *ch, unsigned int budget)
{
	int took, received = 0;

	ch->ring_waits = false;
	ch->room_wanted = 0;
	(void)message_answer(ch);
	took = packets_take(ch, budget);
	if (!batch_flush(ch) && took == 0)
		took = -EBUSY;
	if (budget && took <= 0)
		received = vsp_net_receive(ch);
	if (received > 0 || ch->fault)
		return received > 0 ? received : ch->fault;
	if (received == -EINPROGRESS && (took == 0 || took == -EBUSY))
		took = -EAGAIN;
	if (received == -EAGAIN)
		ch->ring_waits = true;
	return took;
}

static int channel_service(void *device, struct vmbus_channel *channel, unsigned int budget)
{
	struct vsp_net *net = device;
	struct net_channel *ch = vmbus_channel_get_user(channel);
	bool control;
	int ret;

	if (!ch->started)
		queue_open(ch);
	pthread_mutex_lock(&ch->lock);
	ret = data_serve(ch, budget);
	control = ch->index == 0 && vsp_net_control_waiting(net);
	pthread_mutex_unlock(&ch->lock);
	if (control)
		vsp_net_control_run(ch);
	/* what was put into the ring since has taken the wish for more room back */
	if (ch->room_wanted && (ret == 0 || ret == -EBUSY) &&
	    vmbus_tx_wait_space(vmbus_channel_tx(channel), ch->room_wanted))
		ret = -EAGAIN;
	if (ch->ring_waits && ch->loop && !vmbus_rx_peer_frees(vmbus_channel_rx(channel)))
		vmbus_loop_timer(ch->loop, &ch->timer, RING_POLL_NS);
	return ret;
}

static int channel_stop(void *device, struct vmbus_channel *channel)
{
	struct net_channel *ch = vmbus_channel_get_user(channel);
	struct vsp_net *net = device;

	/* the server's thread still holds what was asked of it */
	if (ch->index == 0 && atomic_load(&net->message_state) == NET_MESSAGE_ASKED)
		return -EINPROGRESS;
	pthread_mutex_lock(&ch->lock);
	vsp_net_transmit_drop(ch);
	(void)vsp_net_transmit_flush(ch);
	pthread_mutex_unlock(&ch->lock);
	if (ch->loop)
		vmbus_loop_timer_cancel(ch->loop, &ch->timer);
	if (ch->queue)
		net->nic->ops->queue_free(ch->queue);
	ch->queue = NULL;
	return 0;
}

/* -- Opening and closing: the server's thread ------------------------------ */

static int channel_open(void *device, struct vmbus_channel *channel)
{
	struct vsp_net *net = device;
	uint16_t index = vmbus_channel_subindex(channel);
	struct net_channel *ch;

	if (index >= VSP_NET_CHANNELS || net->channels[index])
		return -EINVAL;
	ch = calloc(1, sizeof(*ch));
	if (!ch)
		return -ENOMEM;
	ch->net = net;
	ch->channel = channel;
	ch->index = index;
	ch->timer.fire = timer_fire;
	pthread_mutex_init(&ch->lock, NULL);
	pthread_mutex_init(&ch->inbox_lock, NULL);
	vsp_net_receive_drop(ch);
	vmbus_channel_set_user(channel, ch);
	vsp_net_change_begin(net);
	if (index == 0) {
		vsp_net_session_reset(net);
	} else {
		net->sub_channels_open++;
		vsp_net_kick(net->channels[0]); /* it may be the last one waited for */
	}
	/* as the end of the change expects; it is free, and waiting would be out of order */
	(void)pthread_mutex_trylock(&ch->lock);
	net->channels[index] = ch;
	vsp_net_change_end(net);
	return 0;
}

static void channel_closed(void *device, struct vmbus_channel *channel)
{
	struct vsp_net *net = device;
	struct net_channel *ch = vmbus_channel_get_user(channel);

	vsp_net_change_begin(net);
	vsp_net_receive_end(ch);
	vsp_net_stats_add(&net->past, &ch->stats);
	if (ch->index == 0)
		vsp_net_session_reset(net);
	else if (net->sub_channels_open)
		net->sub_channels_open--;
	net->channels[ch->index] = NULL;
	pthread_mutex_unlock(&ch->lock);
	vsp_net_change_end(net);
	pthread_mutex_destroy(&ch->lock);
	pthread_mutex_destroy(&ch->inbox_lock);
	free(ch);
}

static void gpadl_teardown(void *device, struct vmbus_channel *channel, uint32_t gpadl)
{
	struct vsp_net *net = device;

	(void)channel;
	vsp_net_change_begin(net);
	if (net->receive.gpadl && net->receive.handle == gpadl) {
		vsp_net_buffer_drop(net, true);
		vsp_nvsp_lost(&net->nvsp, true);
	}
	if (net->send.gpadl && net->send.handle == gpadl) {
		vsp_net_buffer_drop(net, false);
		vsp_nvsp_lost(&net->nvsp, false);
	}
	vsp_net_change_end(net);
}

static void channel_released(void *device, struct vmbus_channel *channel)
{
	(void)channel;
	vsp_net_destroy(device);
}

const struct vmbus_channel_ops vsp_net_channel_ops = {
	.size = sizeof(vsp_net_channel_ops),
	.open = channel_open,
	.service = channel_service,
	.stop = channel_stop,
	.closed = channel_closed,
	.gpadl_teardown = gpadl_teardown,
	.released = channel_released,
};
