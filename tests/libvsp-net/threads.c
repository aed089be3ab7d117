/* SPDX-License-Identifier: MIT */
/* Channels of one adapter served by threads of their own: each thread is the guest, the host
 * and the far end of one queue; frames for the guest cross between them by RSS. Meanwhile the
 * guest changes filter, offloads and the RSS table, the server's thread handles its messages,
 * asks for counters, and the link goes up and down. A plain program, for TSan. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vsp/net.h>
#include <vsp/netvsc.h>

#include "mock.h"

#define LINES 4u
#define HALF (MOCK_RING_PAGES / 2)
#define RECEIVE_PFN 1024u
#define RECEIVE_PAGES 128u
#define SEND_PFN (RECEIVE_PFN + RECEIVE_PAGES)
#define SEND_PAGES 32u
#define SECTIONS_EACH 4u
#define FLOWS 8u /* of each queue */
#define FRAME 200u

struct tag { /* at the end of every frame */
	uint32_t queue, flow, number;
};

struct line { /* a channel, the guest's end, and what one thread does with it */
	pthread_t thread;
	uint32_t index, id;
	struct vmbus_guest_channel guest;
	uint8_t *pages[2][HALF - 1];
	struct vmbus_channel *channel;
	struct vsp_nic_queue *far;
	struct vsp_netvsc vsc;
	unsigned int sections; /* in use, as bits */
	uint32_t out_put, out_seen, in_put, in_seen;
	uint32_t flows[LINES][FLOWS]; /* last number seen, + 1 */
	uint32_t answers, requests;
};

static struct mock m;
static struct vsp_net *net;
static struct vsp_nic *far;
static struct line lines[LINES];
static uint32_t granted, rounds = 3000;
static bool threaded;
static atomic_uint working, checks;

/* -- The bus: the guest's threads poll, nobody needs a signal -------------- */

static struct vmbus_server_ops bus_ops;

static void bus_signal(void *opaque, uint32_t vp, uint32_t flag, uint64_t page)
{
	(void)opaque, (void)vp, (void)flag, (void)page;
}

static void bus_wake(void *opaque)
{
	if (!threaded) /* then the server's thread polls without being asked */
		((struct mock *)opaque)->woken = true;
}

static uint8_t *page(uint64_t pfn)
{
	return m.ram + pfn * VMBUS_PAGE_SIZE;
}

static void line_open(uint32_t index, uint32_t id)
{
	struct line *l = &lines[index];
	uint64_t pfn = MOCK_RING_PFN + index * MOCK_RING_PAGES;
	struct vmbus_ring_memory mem[2];

	l->index = index;
	l->id = id;
	for (uint32_t i = 0; i < 2; i++) {
		uint64_t first = pfn + i * HALF;

		for (uint32_t k = 0; k < HALF - 1; k++)
			l->pages[i][k] = page(first + 1 + k);
		mem[i] = (struct vmbus_ring_memory){.control = (struct vmbus_ring_control *)(void *)page(first),
						    .pages = l->pages[i],
						    .size = (HALF - 1) * VMBUS_PAGE_SIZE};
	}
	MOCK_CHECK(vmbus_tx_init(&l->guest.tx, &mem[0]) == 0);
	MOCK_CHECK(vmbus_rx_init(&l->guest.rx, &mem[1]) == 0);
	MOCK_CHECK(mock_gpadl(&m, id, 1 + index, pfn, MOCK_RING_PAGES) == 0);
	(void)mock_expect(&m, VMBUS_MSG_GPADL_CREATED);
	MOCK_CHECK(mock_open(&m, id, 1 + index, 0) == 0);
	MOCK_CHECK(mock_expect(&m, VMBUS_MSG_OPEN_RESULT)->u.open_result.status == 0);
	for (uint32_t i = 0; i < MOCK_CHANNELS; i++)
		if (m.served[i] && vmbus_channel_id(m.served[i]) == id)
			l->channel = m.served[i];
}

/* -- The guest ------------------------------------------------------------ */

static struct line *line_of(struct vsp_netvsc *vsc)
{
	return vsc->user;
}

static void tag_put(uint8_t *frame, uint32_t queue, uint32_t flow, uint32_t number)
{
	const struct tag t = {queue, flow, number};

	memset(frame, 0, FRAME);
	memcpy(frame, "\x00\x15\x5d\x01\x02\x03\x02\x00\x00\x00\x00\x01\x08\x00\x45\x00", 16);
	frame[17] = FRAME - 14;
	memcpy(frame + 22, "\x40\xfd", 2);
	memcpy(frame + 26, "\x0a\x00\x00\x00\x0a\x00\x00\x02", 8);
	frame[29] = (uint8_t)(queue * FLOWS + flow); /* the source decides about the channel */
	for (uint32_t i = 34; i < FRAME - sizeof(t); i++)
		frame[i] = (uint8_t)(i * 7 + number);
	memcpy(frame + FRAME - sizeof(t), &t, sizeof(t));
}

static struct tag tag_check(const uint8_t *frame, uint32_t len)
{
	uint8_t right[FRAME];
	struct tag t;

	MOCK_CHECK(len == FRAME);
	memcpy(&t, frame + FRAME - sizeof(t), sizeof(t));
	tag_put(right, t.queue, t.flow, t.number);
	MOCK_CHECK(memcmp(frame, right, FRAME) == 0);
	return t;
}

/* A flow may move to another channel, but each channel has its frames in order. */
static void on_received(struct vsp_netvsc *vsc, const struct vsp_netvsc_frame *f)
{
	struct line *l = line_of(vsc);
	struct tag t;

	MOCK_CHECK(f->piece_count == 1);
	t = tag_check(f->pieces[0].data, f->len);
	MOCK_CHECK(t.queue < LINES && t.flow < FLOWS && t.number >= l->flows[t.queue][t.flow]);
	l->flows[t.queue][t.flow] = t.number + 1;
	l->in_seen++;
}

static void on_sent(struct vsp_netvsc *vsc, void *user, uint32_t status)
{
	MOCK_CHECK(status == VSP_NVSP_STATUS_SUCCESS);
	line_of(vsc)->sections &= ~(1u << (uintptr_t)user);
}

static void on_answered(struct vsp_netvsc *vsc, uint32_t status, const void *info, uint32_t len)
{
	(void)info, (void)len;
	MOCK_CHECK(status == VSP_RNDIS_SUCCESS);
	line_of(vsc)->answers++;
}

static void on_sub_channels(struct vsp_netvsc *vsc, uint32_t count)
{
	(void)vsc;
	granted = count;
}

static const struct vsp_netvsc_ops vsc_ops = {
	.size = sizeof(vsc_ops), .received = on_received, .sent = on_sent, .answered = on_answered,
	.sub_channels = on_sub_channels};

static void guest_poll(struct line *l)
{
	unsigned int packets;

	MOCK_CHECK(vsp_netvsc_poll(&l->vsc, 64, &packets) == 0);
	(void)!vmbus_rx_commit(&l->guest.rx);
	vmbus_tx_publish(&l->guest.tx);
}

static void guest_send(struct line *l)
{
	uint32_t section = (uint32_t)__builtin_ctz(~l->sections);
	const struct vsp_vnet_header none = {.flags = 0};
	uint8_t head[VSP_NETVSC_HEADER_MAX], *to;
	uint32_t at;

	if (section >= SECTIONS_EACH)
		return;
	to = vsp_netvsc_section(&l->vsc, 1 + l->index * SECTIONS_EACH + section);
	tag_put(to + sizeof(struct vsp_rndis_packet), l->index, 0, l->out_put);
	at = vsp_netvsc_header(to + sizeof(struct vsp_rndis_packet), FRAME, FRAME, &none, -1, head);
	MOCK_CHECK(at == sizeof(struct vsp_rndis_packet));
	memcpy(to, head, at);
	if (vsp_netvsc_send(&l->vsc, 1 + l->index * SECTIONS_EACH + section, at + FRAME, NULL, 0,
			    (void *)(uintptr_t)section))
		return;
	l->sections |= 1u << section;
	l->out_put++;
}

/* What the primary's driver asks for while all channels are at work. */
static void guest_request(struct line *l)
{
	uint32_t round = l->requests / 4;
	static const uint32_t filters[] = {VSP_FILTER_PROMISCUOUS, VSP_FILTER_PROMISCUOUS, 0};
	static const struct vsp_ndis_offload_parameters offloads = {
		.header = {VSP_NDIS_DEFAULT, 3, sizeof(offloads)}, .tcp_ipv4_checksum = 4};
	uint32_t table[VSP_RSS_ENTRIES];
	int ret;

	switch (l->requests % 4) {
	case 0:
		for (uint32_t i = 0; i < VSP_RSS_ENTRIES; i++)
			table[i] = (i + round) % LINES;
		ret = vsp_netvsc_set_rss(&l->vsc, table, VSP_RSS_ENTRIES);
		break;
	case 1:
		ret = vsp_netvsc_request(&l->vsc, VSP_RNDIS_SET, 0xfc01020c, &offloads,
					 sizeof(offloads));
		break;
	case 2:
		ret = vsp_netvsc_request(&l->vsc, VSP_RNDIS_QUERY, 0x00020101, NULL, 0);
		break;
	default:
		ret = vsp_netvsc_request(&l->vsc, VSP_RNDIS_SET, 0x0001010e, &filters[round % 3],
					 4);
		break;
	}
	l->requests += ret == 0;
}

/* -- The far end ---------------------------------------------------------- */

static void far_event(void *opaque)
{
	(void)opaque; /* it is looked at all the time */
}

static const struct vsp_nic_events far_events = {sizeof(far_events), far_event, far_event};

static void far_put(struct line *l)
{
	struct vsp_nic_frame f = {.len = FRAME};
	uint8_t bytes[FRAME];
	struct iovec iov[2] = {{&f.header, sizeof(f.header)}, {bytes, FRAME}};

	tag_put(bytes, l->index, l->in_put % FLOWS, l->in_put);
	f.iov = iov;
	f.iov_count = 2;
	if (far->ops->send(l->far, &f, 1) == 1)
		l->in_put++;
}

static void far_take(struct line *l)
{
	struct vsp_nic_frame f = {.len = 0};
	uint8_t bytes[FRAME + 1];
	struct iovec iov[2] = {{&f.header, sizeof(f.header)}, {bytes, sizeof(bytes)}};
	struct tag t;

	f.iov = iov;
	f.iov_count = 2;
	while (far->ops->receive(l->far, &f, 1) == 1) {
		t = tag_check(bytes, f.len);
		MOCK_CHECK(t.queue == l->index && t.number == l->out_seen);
		l->out_seen++;
		f.iov = iov;
	}
}

/* -- Threads -------------------------------------------------------------- */

static void turn(struct line *l)
{
	MOCK_CHECK(vmbus_channel_service(l->channel, 16) >= 0);
	guest_poll(l);
	far_take(l);
}

static void *line_run(void *arg)
{
	struct line *l = arg;

	for (uint32_t round = 0; round < rounds || atomic_load(&checks) < 100; round++) {
		for (uint32_t i = 0; i < 1 + round % 6; i++) {
			far_put(l);
			guest_send(l);
		}
		vmbus_tx_publish(&l->guest.tx);
		if (l->index == 0)
			guest_request(l);
		turn(l);
		if (round % 8 == 0)
			sched_yield();
	}
	atomic_fetch_sub(&working, 1);
	while (atomic_load(&working)) /* others may still wait for slots, or have frames for us */
		turn(l);
	return NULL;
}

static struct vmbus_loop *no_loop(void *opaque, struct vmbus_channel *channel)
{
	(void)opaque, (void)channel;
	return NULL;
}

/* Until nothing more comes: all threads are over, this one does it for each. */
static void settle(void)
{
	for (uint32_t i = 0; i < 200; i++) {
		for (uint32_t k = 0; k < LINES; k++)
			turn(&lines[k]);
		(void)vmbus_server_poll(m.server);
	}
}

static void nics_make(void)
{
	struct vsp_net_config config = VSP_NET_CONFIG_INIT;
	struct vsp_nic *ends[2];

	MOCK_CHECK(vsp_nic_pair(LINES, 64, ends) == 0);
	far = ends[1];
	for (uint32_t i = 0; i < LINES; i++)
		MOCK_CHECK(far->ops->queue_new(far, i, NULL, &far_events, NULL,
					       &lines[i].far) == 0);
	config.server = m.server;
	config.nic = ends[0];
	memcpy(config.mac, "\x00\x15\x5d\x01\x02\x03", 6);
	config.max_channels = LINES;
	config.loop_of = no_loop;
	MOCK_CHECK(vsp_net_new(&config, &net) == 0);
}

static uint32_t offer_take(void)
{
	const struct mock_message *in = mock_expect(&m, VMBUS_MSG_OFFER);

	return in->u.offer.channel_id;
}

static void primary_up(void)
{
	struct vsp_netvsc_config config = VSP_NETVSC_CONFIG_INIT;
	uint32_t id;

	mock_connect(&m, VMBUS_V5_2);
	MOCK_CHECK(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS) == 0);
	id = offer_take();
	(void)mock_expect(&m, VMBUS_MSG_ALLOFFERS_DELIVERED);
	line_open(0, id);
	MOCK_CHECK(mock_gpadl(&m, id, 100, RECEIVE_PFN, RECEIVE_PAGES) == 0);
	(void)mock_expect(&m, VMBUS_MSG_GPADL_CREATED);
	MOCK_CHECK(mock_gpadl(&m, id, 101, SEND_PFN, SEND_PAGES) == 0);
	(void)mock_expect(&m, VMBUS_MSG_GPADL_CREATED);
	config.ops = &vsc_ops;
	config.receive_gpadl = 100;
	config.send_gpadl = 101;
	config.receive = page(RECEIVE_PFN);
	config.send = page(SEND_PFN);
	config.receive_len = RECEIVE_PAGES * VMBUS_PAGE_SIZE;
	config.send_len = SEND_PAGES * VMBUS_PAGE_SIZE;
	MOCK_CHECK(vsp_netvsc_init(&lines[0].vsc, &config, &lines[0].guest) == 0);
	lines[0].vsc.user = &lines[0];
	for (uint32_t i = 0; i < 100 && lines[0].vsc.state < VSP_NETVSC_READY; i++) {
		vmbus_tx_publish(&lines[0].guest.tx);
		mock_run(&m);
		guest_poll(&lines[0]);
	}
	MOCK_CHECK(lines[0].vsc.state == VSP_NETVSC_READY);
}

static void sub_channels_up(void)
{
	uint32_t ids[LINES];

	MOCK_CHECK(vsp_netvsc_ask_channels(&lines[0].vsc, LINES - 1) == 0);
	vmbus_tx_publish(&lines[0].guest.tx);
	mock_run(&m);
	guest_poll(&lines[0]);
	MOCK_CHECK(granted == LINES - 1);
	for (uint32_t i = 1; i < LINES; i++)
		ids[i] = offer_take();
	for (uint32_t i = 1; i < LINES; i++) {
		line_open(i, ids[i]);
		vsp_netvsc_init_sub(&lines[i].vsc, &lines[0].vsc, &lines[i].guest);
		lines[i].vsc.user = &lines[i];
	}
	mock_run(&m);
}

int main(int argc, char **argv)
{
	struct vsp_net_stats stats;
	struct vsp_net_state state;
	uint64_t in_put = 0, in_seen = 0, out_seen = 0;

	if (argc > 1)
		rounds = (uint32_t)atoi(argv[1]);
	mock_config(&m);
	bus_ops = *m.config.ops;
	bus_ops.signal = bus_signal;
	bus_ops.wake = bus_wake;
	m.config.ops = &bus_ops;
	mock_start(&m);
	nics_make();
	primary_up();
	sub_channels_up();
	threaded = true;
	atomic_store(&working, LINES);
	for (uint32_t i = 0; i < LINES; i++)
		MOCK_CHECK(!pthread_create(&lines[i].thread, NULL, line_run, &lines[i]));
	while (atomic_load(&working)) {
		(void)vmbus_server_poll(m.server);
		vsp_net_get_stats(net, &stats);
		vsp_net_get_state(net, &state);
		MOCK_CHECK(state.channels == LINES && stats.tx_errors == 0);
		vsp_nic_pair_set_link(far, atomic_fetch_add(&checks, 1) % 2);
		sched_yield();
	}
	for (uint32_t i = 0; i < LINES; i++)
		MOCK_CHECK(!pthread_join(lines[i].thread, NULL));
	threaded = false;
	settle();
	for (uint32_t i = 0; i < LINES; i++) {
		MOCK_CHECK(lines[i].out_seen == lines[i].out_put && lines[i].sections == 0);
		MOCK_CHECK(lines[i].vsc.bad_packets == 0);
		in_put += lines[i].in_put;
		in_seen += lines[i].in_seen;
		out_seen += lines[i].out_seen;
	}
	vsp_net_get_stats(net, &stats);
	printf("%lu out, %lu in of %lu, filtered %lu, waits %lu %lu, %u requests\n", out_seen,
	       in_seen,
	       in_put, stats.rx_filtered, stats.tx_waits, stats.rx_waits, lines[0].answers);
	MOCK_CHECK(stats.rx_frames == in_seen && stats.tx_frames == out_seen &&
		   stats.rx_dropped == 0);
	MOCK_CHECK(in_put == in_seen + stats.rx_filtered && lines[0].answers == lines[0].requests);
	MOCK_CHECK(in_seen > 0 && out_seen > 0 && stats.rx_filtered > 0 && lines[0].answers > 3);
	mock_fini(&m); /* the far end goes last: the adapter's is closed with it */
	for (uint32_t i = 0; i < LINES; i++)
		far->ops->queue_free(lines[i].far);
	far->ops->close(far);
	return 0;
}
