/* SPDX-License-Identifier: MIT */
/* The guest's end of a network adapter, up and down: its channels, buffers and lanes. It is
 * closed and opened anew for another MTU, as guests do. */
#include <errno.h>

#include "loopback-bridge.h"

#define RING_PAGES 128u /* each direction, as Linux has them */
#define OID_FILTER 0x0001010eu
#define OID_RSS 0x00010204u

static void adapter_ready(struct vsp_netvsc *netvsc)
{
	struct lane *l = netvsc->user;
	struct session *s = l->port.user;

	s->status = netvsc->state == VSP_NETVSC_READY ? 0 : 1;
	s->answered = true;
}

static void adapter_link(struct vsp_netvsc *netvsc, bool up)
{
	(void)netvsc;
	bridge_rates_clear();
	loopback_fail(0, "the host says that the link is %s", up ? "up" : "down");
}

static void adapter_granted(struct vsp_netvsc *netvsc, uint32_t granted)
{
	struct lane *l = netvsc->user;
	struct session *s = l->port.user;

	s->status = 0;
	s->answered = true;
	((struct bridge *)s->user)->granted = granted;
}

static void adapter_answered(struct vsp_netvsc *netvsc, uint32_t status, const void *info,
			     uint32_t len)
{
	struct lane *l = netvsc->user;
	struct session *s = l->port.user;

	(void)info, (void)len;
	s->status = status;
	if (status && netvsc->request_oid == OID_RSS) { /* frames then come on channels of its choice */
		loopback_fail(0, "the host does not spread flows over the channels");
		s->status = 0;
	}
	s->answered = true;
}

static const struct vsp_netvsc_ops adapter_ops = {
	.size = sizeof(adapter_ops),
	.ready = adapter_ready,
	.answered = adapter_answered,
	.received = lane_received,
	.returning = lane_returning,
	.sent = lane_sent,
	.link = adapter_link,
	.sub_channels = adapter_granted,
};

static int lane_make(struct bridge *b, uint32_t index)
{
	if (!b->lanes[index])
		b->lanes[index] = lane_new(b->s);
	if (!b->lanes[index])
		return b->s->error;
	b->lanes[index]->port.user = b->s;
	return LOOPBACK_OK;
}

static int adapter_setup(struct bridge *b)
{
	struct vsp_netvsc_config config = VSP_NETVSC_CONFIG_INIT;
	struct lane *l = b->lanes[0];
	struct session *s = b->s;
	int ret;

	config.ops = &adapter_ops;
	config.mtu = b->mtu;
	config.rsc = true;
	config.filter = 0; /* nothing before the lanes run */
	config.receive_gpadl = b->receive_gpadl;
	config.send_gpadl = b->send_gpadl;
	config.receive = vmbus_shm_guest_page(s->shm, b->receive_pfns[0]);
	config.send = vmbus_shm_guest_page(s->shm, b->send_pfns[0]);
	config.receive_len = BRIDGE_RECEIVE_PAGES * VMBUS_PAGE_SIZE;
	config.send_len = BRIDGE_SEND_PAGES * VMBUS_PAGE_SIZE;
	ret = vsp_netvsc_init(&l->netvsc, &config, b->primary);
	l->netvsc.user = l;
	vmbus_guest_signal(b->primary);
	return session_answer(s, ret, "the network card refused its initialisation");
}

/* Waits for the offer. */
static struct vmbus_guest_channel *sub_wait(struct bridge *b, uint32_t index)
{
	const struct vmbus_msg_offer *primary = &b->primary->offer;
	struct vmbus_guest_channel *c;

	do {
		for (c = NULL; (c = session_next(b->s, c));)
			if (c->state == VMBUS_GUEST_CHANNEL_OFFERED &&
			    c->offer.subchannel_index == index &&
			    vmbus_guid_equal(c->offer.instance_id, primary->instance_id))
				return c;
	} while (session_step(b->s));
	return NULL;
}

/* Flows from the host come on all lanes in turn. Those to it need no such choice: the tap's
 * queue that the kernel picked, the one that it saw the flow come from, is the lane's. */
static int flows_spread(struct bridge *b)
{
	struct vsp_netvsc *primary = &b->lanes[0]->netvsc;
	uint32_t table[VSP_RSS_ENTRIES];
	int ret;

	if (!primary->rss_entries)
		return LOOPBACK_OK;
	for (uint32_t i = 0; i < primary->rss_entries; i++)
		table[i] = i % b->lane_count;
	ret = vsp_netvsc_set_rss(primary, table, primary->rss_entries);
	vmbus_guest_signal(b->primary);
	return session_answer(b->s, ret, "cannot ask the host to spread flows");
}

static int subs_open(struct bridge *b)
{
	struct vsp_netvsc *primary = &b->lanes[0]->netvsc;
	uint32_t want = b->spec.queues < primary->max_queues ? b->spec.queues : primary->max_queues;
	struct session *s = b->s;

	if (want < 2)
		return LOOPBACK_OK;
	if (vsp_netvsc_ask_channels(primary, want - 1))
		return session_fail(s, LOOPBACK_FAILED, "cannot ask for more channels");
	vmbus_guest_signal(b->primary);
	if (session_answer(s, 0, "the host gave no more channels"))
		return s->error;
	for (uint32_t i = 1; i <= b->granted && i < want; i++) {
		struct vmbus_guest_channel *channel = sub_wait(b, i);

		if (!channel || lane_make(b, i) ||
		    session_port_open(s, &b->lanes[i]->port, channel, RING_PAGES))
			return s->error;
		b->lane_count++;
		vsp_netvsc_init_sub(&b->lanes[i]->netvsc, primary, channel);
		b->lanes[i]->netvsc.user = b->lanes[i];
	}
	return flows_spread(b);
}

/* What frames from the tap may leave undone: what the host said that it does. */
static uint32_t offloads_of(const struct vsp_ndis_offload *o)
{
	uint32_t offloads = VSP_NIC_CSUM;

	if (o->lso_ipv4.max_size)
		offloads |= VSP_NIC_TSO4;
	if (o->lso_ipv6.max_size)
		offloads |= VSP_NIC_TSO6;
	return offloads;
}

static int filter_set(struct bridge *b, uint32_t filter)
{
	struct vsp_netvsc *n = &b->lanes[0]->netvsc;
	int ret;

	while ((ret = vsp_netvsc_request(n, VSP_RNDIS_SET, OID_FILTER, &filter,
					 sizeof(filter))) == -EAGAIN &&
	       session_step(b->s))
		; /* the ring is full of frames */
	vmbus_guest_signal(b->primary);
	return session_answer(b->s, ret, "the network card refused its filter");
}

static int frames_start(struct bridge *b)
{
	int ret = b->tap->ops->set_offloads(b->tap, offloads_of(&b->lanes[0]->netvsc.offload));

	for (uint32_t i = 0; !ret && i < b->lane_count; i++)
		ret = lane_start(b->lanes[i], b->tap, i, b->loop, b->mtu);
	/* A tap tells of frames only when it was found empty: of a first one it does not. */
	for (uint32_t i = 0; !ret && i < b->lane_count; i++)
		ret = b->lanes[i]->port.poll(&b->lanes[i]->port);
	if (ret)
		return session_fail(b->s, LOOPBACK_FAILED, "the tap does not work");
	/* whoever is behind the tap has other addresses */
	return filter_set(b, VSP_FILTER_PROMISCUOUS);
}

int bridge_up(struct bridge *b)
{
	struct session *s = b->s;
	int ret = lane_make(b, 0);

	if (!ret)
		ret = session_port_open(s, &b->lanes[0]->port, b->primary, RING_PAGES);
	if (ret)
		return ret;
	b->lane_count = 1;
	ret = session_gpadl(s, b->primary, b->receive_pfns, BRIDGE_RECEIVE_PAGES,
			    &b->receive_gpadl);
	if (!ret)
		ret = session_gpadl(s, b->primary, b->send_pfns, BRIDGE_SEND_PAGES, &b->send_gpadl);
	if (!ret)
		ret = adapter_setup(b);
	if (!ret)
		ret = subs_open(b);
	return ret ? ret : frames_start(b);
}

static bool lanes_pending(const struct bridge *b)
{
	for (uint32_t i = 0; i < b->lane_count; i++)
		if (vmbus_rx_pending(&b->lanes[i]->port.channel->rx))
			return true;
	return false;
}

/* The host sends no more, and what it sent is taken: no frame is in the memory that it then has to
 * let go. */
static void frames_end(struct bridge *b)
{
	if (b->lanes[0]->netvsc.state != VSP_NETVSC_READY || filter_set(b, 0))
		return;
	while (lanes_pending(b) && session_poll(b->s))
		;
}

static void adapter_halt(struct bridge *b)
{
	struct vsp_netvsc *n = &b->lanes[0]->netvsc;
	int ret;

	while ((ret = vsp_netvsc_halt(n)) == -EAGAIN && session_step(b->s))
		;
	if (ret && !b->s->error)
		session_fail(b->s, LOOPBACK_FAILED, "cannot halt the network card");
	vmbus_guest_signal(b->primary);
	(void)session_wait(b->s, &n->request_sent);
}

int bridge_down(struct bridge *b)
{
	struct session *s = b->s;

	if (b->lane_count == 0)
		return s->error;
	if (!s->error)
		frames_end(b);
	for (uint32_t i = 0; i < b->lane_count; i++)
		lane_stop(b->lanes[i]);
	if (!s->error)
		adapter_halt(b);
	while (b->lane_count > 0) {
		struct lane *l = b->lanes[--b->lane_count];

		(void)session_port_close(s, &l->port);
		lane_reset(l);
	}
	if (!s->error && !session_gpadl_drop(s, b->primary, b->receive_gpadl))
		(void)session_gpadl_drop(s, b->primary, b->send_gpadl);
	return s->error;
}
