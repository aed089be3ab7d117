/* SPDX-License-Identifier: MIT */
/* The soak with channels that are served in parallel: two loops in threads of their own share
 * four of them, this thread is the guest, the far end and the server's. A plain program, for TSan.
 *
 *   soak-threads [FRAMES]   each way; or VSP_NET_SOAK */
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mock.h"
#include "net-priv.h"
#include "netvsc.h"
#include "soak-guest.h"

#define FRAMES 30000u /* by default */
#define CHANNELS 4u
#define SERVERS 2u
#define DEPTH 64u
#define AHEAD 1000u /* frames to the guest before those from it */
#define HALF (MOCK_RING_PAGES / 2)
#define RECEIVE_PFN 256u
#define RECEIVE_PAGES 700u
#define SEND_PFN (RECEIVE_PFN + RECEIVE_PAGES)
#define SEND_PAGES 32u
#define LIST_PFN (SEND_PFN + SEND_PAGES) /* pages to send from */
#define LIST_PAGES (SOAK_DIRECTS * SOAK_DIRECT_PAGES)
#define HANG_S 300 /* nothing takes as long, on however busy a machine */

struct server_thread {
	pthread_t thread;
	struct vmbus_loop *loop;
	struct vmbus_task end;
};

struct line { /* a channel: the guest's end of it */
	uint32_t id, gpadl; /* id: 0: it is not offered */
	bool open;
	struct vmbus_guest_channel guest;
	uint8_t *pages[2][HALF - 1];
	struct vsp_netvsc vsc;
	struct vmbus_channel *channel; /* the host's end: for its doorbell */
	struct vmbus_loop *loop;
	struct vsp_nic_queue *far;
};

static struct mock m;
static struct vsp_net *net;
static struct vsp_nic *far;
static struct line lines[CHANNELS];
static struct server_thread servers[SERVERS];
static pthread_barrier_t servers_meet;
static struct soak_guest g;
static uint64_t list_pfns[LIST_PAGES];
static uint8_t got[VSP_NIC_FRAME_MAX + 8];

static struct {
	uint32_t next_gpadl, created, opened, torn, granted; /* answers of the server's */
	bool threaded, deaf, link, answered;
	uint32_t status;
	uint64_t received, taken, lost;
	uint32_t sub_closes, downs, crashes, renewals, links;
} now = {.next_gpadl = 1, .link = true};

static uint32_t below(uint32_t n)
{
	return soak_below(&g, n);
}

static uint8_t *page(uint64_t pfn)
{
	return m.ram + pfn * VMBUS_PAGE_SIZE;
}

/* -- The host ---------------------------------------------------------------- */

static struct vmbus_server_ops bus_ops;

static void bus_signal(void *opaque, uint32_t vp, uint32_t flag, uint64_t interrupt_page)
{
	(void)opaque, (void)vp, (void)flag, (void)interrupt_page; /* the guest looks all the time */
}

static void bus_wake(void *opaque)
{
	if (!now.threaded) /* later the server is polled all the time */
		((struct mock *)opaque)->woken = true;
}

static void bus_opened(void *opaque, struct vmbus_channel *channel)
{
	struct line *l = &lines[vmbus_channel_subindex(channel)];

	(void)opaque;
	l->channel = channel;
	l->loop = servers[vmbus_channel_subindex(channel) % SERVERS].loop;
	MOCK_CHECK(vmbus_loop_attach(l->loop, channel) == 0);
}

static struct vmbus_loop *loop_of(void *opaque, struct vmbus_channel *channel)
{
	(void)opaque;
	return lines[vmbus_channel_subindex(channel)].loop;
}

static void *server_run(void *arg)
{
	struct server_thread *t = arg;
	struct vmbus_error err;

	MOCK_CHECK(vmbus_loop_new(NULL, &t->loop, &err) == 0);
	pthread_barrier_wait(&servers_meet);
	MOCK_CHECK(vmbus_loop_run(t->loop) == 0);
	pthread_barrier_wait(&servers_meet); /* whoever posted the end is still at it */
	vmbus_loop_free(t->loop);
	return NULL;
}

static void server_end(struct vmbus_task *task)
{
	struct server_thread *t = (struct server_thread *)((char *)task - offsetof(struct server_thread, end));

	vmbus_loop_stop(t->loop);
}

static void servers_start(void)
{
	pthread_barrier_init(&servers_meet, NULL, SERVERS + 1);
	for (uint32_t i = 0; i < SERVERS; i++)
		MOCK_CHECK(!pthread_create(&servers[i].thread, NULL, server_run, &servers[i]));
	pthread_barrier_wait(&servers_meet);
}

/* Behind all that was posted before. */
static void servers_stop(void)
{
	for (uint32_t i = 0; i < SERVERS; i++) {
		servers[i].end.fn = server_end;
		vmbus_loop_post(servers[i].loop, &servers[i].end);
	}
	pthread_barrier_wait(&servers_meet);
	for (uint32_t i = 0; i < SERVERS; i++)
		MOCK_CHECK(!pthread_join(servers[i].thread, NULL));
	pthread_barrier_destroy(&servers_meet);
}

/* -- The guest's driver -------------------------------------------------------- */

static void line_ring(struct line *l)
{
	const uint64_t one = 1;

	(void)!write(vmbus_channel_doorbell(l->channel), &one, sizeof(one));
}

static void on_signal(void *opaque, uint32_t channel)
{
	(void)opaque;
	if (vmbus_tx_signal_due(&lines[channel].guest.tx))
		line_ring(&lines[channel]);
}

static void on_received(struct vsp_netvsc *vsc, const struct vsp_netvsc_frame *f)
{
	struct line *l = vsc->user;
	struct soak_arrival a = {
		.bytes = f->pieces[0].data, .len = f->len, .channel = (uint32_t)(l - lines), .vlan = f->vlan,
		.hash = f->hash, .coalesced = f->coalesced, .has_vlan = f->has_vlan, .has_hash = f->has_hash};

	MOCK_CHECK(f->pieces[0].len >= SOAK_HEAD - 4);
	for (uint32_t i = 0; i < f->piece_count; i++)
		a.sum = world_sum(a.sum, f->pieces[i].data, f->pieces[i].len);
	soak_arrived(&g.in, &a);
	now.received++;
}

static void on_sent(struct vsp_netvsc *vsc, void *user, uint32_t status)
{
	(void)vsc;
	soak_sent(&g, user, status);
}

static void on_answered(struct vsp_netvsc *vsc, uint32_t status, const void *info, uint32_t len)
{
	(void)vsc, (void)info, (void)len;
	now.answered = true; /* it counts when all that other channels have was looked at */
	now.status = status;
}

static void on_sub_channels(struct vsp_netvsc *vsc, uint32_t count)
{
	(void)vsc;
	now.granted = count;
}

static const struct vsp_netvsc_ops vsc_ops = {
	.size = sizeof(vsc_ops), .received = on_received, .sent = on_sent, .answered = on_answered,
	.sub_channels = on_sub_channels};

static void line_poll(struct line *l)
{
	unsigned int packets;

	MOCK_CHECK(vsp_netvsc_poll(&l->vsc, 64, &packets) == 0);
	if (vmbus_rx_commit(&l->guest.rx) || vmbus_tx_signal_due(&l->guest.tx))
		line_ring(l);
}

/* -- The far end ----------------------------------------------------------------- */

static void far_event(void *opaque)
{
	(void)opaque; /* it is looked at all the time */
}

static const struct vsp_nic_events far_events = {sizeof(far_events), far_event, far_event};

static void far_put(void)
{
	uint32_t flow = below(soak_flow_count(&g.in));
	struct vsp_nic_frame f = {.iov_count = 2};
	struct iovec iov[2] = {{&f.header, sizeof(f.header)}, {g.frame.bytes, 0}};
	struct soak_expected e;

	if (!soak_flow_room(&g.in, flow))
		return;
	soak_frame_make(&g.frame, &g.random, flow, g.in.flows[flow].put, below(16) == 0,
			lines[0].vsc.config.mtu, UINT32_MAX);
	f.header = g.frame.header;
	f.iov = iov;
	f.len = g.frame.len;
	iov[1].iov_len = f.len;
	if (far->ops->send(lines[flow / SOAK_FLOWS].far, &f, 1) != 1 || f.result)
		return; /* it is full, or the guest wants no segments */
	e = soak_to_guest(&g.frame);
	soak_flow_put(&g.in, flow, &e);
}

static void far_take(void)
{
	struct vsp_nic_frame f = {.iov_count = 2};
	struct iovec iov[2] = {{&f.header, sizeof(f.header)}, {got, sizeof(got)}};

	for (uint32_t c = 0; c < CHANNELS; c++) {
		f.iov = iov;
		while (far->ops->receive(lines[c].far, &f, 1) == 1) {
			MOCK_CHECK(f.result == 0);
			soak_taken(&g.out[c], got, f.len, &f.header);
			now.taken++;
		}
	}
}

/* -- Turns -------------------------------------------------------------------------- */

static void messages_take(void)
{
	const struct mock_message *in;

	while ((in = mock_next(&m))) {
		switch (in->u.header.type) {
		case VMBUS_MSG_OFFER:
			MOCK_CHECK(in->u.offer.subchannel_index < CHANNELS);
			lines[in->u.offer.subchannel_index].id = in->u.offer.channel_id;
			break;
		case VMBUS_MSG_GPADL_CREATED:
			MOCK_CHECK(in->u.created.status == 0);
			now.created++;
			break;
		case VMBUS_MSG_GPADL_TORNDOWN:
			now.torn++;
			break;
		case VMBUS_MSG_OPEN_RESULT:
			MOCK_CHECK(in->u.open_result.status == 0);
			now.opened++;
			break;
		case VMBUS_MSG_RESCIND_OFFER:
			for (uint32_t i = 0; i < CHANNELS; i++)
				if (lines[i].id == in->u.channel.channel_id)
					lines[i].id = 0;
			MOCK_CHECK(mock_channel(&m, VMBUS_MSG_RELID_RELEASED,
						in->u.channel.channel_id) == 0);
			break;
		default:
			MOCK_CHECK(in->u.header.type == VMBUS_MSG_ALLOFFERS_DELIVERED);
		}
	}
}

static void turn(void)
{
	(void)vmbus_server_poll(m.server);
	messages_take();
	for (uint32_t i = 0; i < CHANNELS; i++)
		if (lines[i].open && !now.deaf)
			line_poll(&lines[i]);
	if (now.answered && g.asked) {
		now.answered = false;
		soak_answered(&g, now.status);
	}
}

static time_t seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

/* The servers may need this processor. */
static void pause_briefly(void)
{
	const struct timespec t = {.tv_nsec = 10000};

	nanosleep(&t, NULL);
}

#define WAIT_UNTIL(condition)                                                    \
	for (time_t began = seconds(); !(condition); pause_briefly()) {          \
		turn();                                                          \
		far_take();                                                      \
		SOAK_CHECK(seconds() - began < HANG_S, "it never comes to that"); \
	}

/* -- At rest ------------------------------------------------------------------------ */

/* Nothing of the nic's lies between it and the guest's rings, or in those. */
static bool host_is_idle(void)
{
	bool idle;
	uint32_t slots;

	vsp_net_change_begin(net);
	slots = net->slots.free_count;
	for (uint32_t i = 0; i < CHANNELS; i++)
		if (net->channels[i])
			slots += net->channels[i]->rx.cache_count + net->channels[i]->rx.window_count;
	idle = slots == net->slots.count - net->slots.control &&
	       net->control_slots == (1u << net->slots.control) - 1;
	vsp_net_change_end(net);
	return idle;
}

static bool all_taken(void)
{
	for (uint32_t c = 0; c < CHANNELS; c++)
		if (g.out[c].put != g.out[c].seen)
			return false;
	return soak_all_answered(&g);
}

static bool all_counted(void)
{
	struct vsp_net_stats stats;

	vsp_net_get_stats(net, &stats);
	return g.in.put == stats.rx_frames + stats.rx_filtered + stats.rx_dropped && host_is_idle();
}

/* All channels are open and nothing is under way. @rude: since the last time some were closed
 * rudely. */
static void rest(bool rude)
{
	struct vsp_net_stats stats;

	now.deaf = false;
	WAIT_UNTIL(!g.asked && all_taken() && all_counted());
	vsp_net_get_stats(net, &stats);
	SOAK_CHECK(stats.rx_frames == now.received + now.lost ||
		   (rude && stats.rx_frames > now.received + now.lost),
		   "%lu frames given to the guest, which saw %lu and missed %lu", stats.rx_frames, now.received,
		   now.lost);
	now.lost = stats.rx_frames - now.received;
	soak_flows_settle(&g.in, stats.rx_filtered + stats.rx_dropped);
	SOAK_CHECK(stats.tx_frames == now.taken && g.refused == 0,
		   "%lu sent, %lu taken, %lu refused",
		   stats.tx_frames, now.taken, g.refused);
}

/* -- Closing and opening --------------------------------------------------------------- */

static uint32_t gpadl_make(uint64_t pfn, uint32_t pages)
{
	uint32_t handle = now.next_gpadl++, before = now.created;

	MOCK_CHECK(mock_gpadl(&m, lines[0].id, handle, pfn, pages) == 0);
	WAIT_UNTIL(now.created != before);
	return handle;
}

static void gpadl_drop(uint32_t id, uint32_t handle)
{
	uint32_t before = now.torn;

	MOCK_CHECK(mock_teardown(&m, id, handle) == 0);
	WAIT_UNTIL(now.torn != before);
}

static void rings_make(struct line *l)
{
	uint64_t pfn = MOCK_RING_PFN + (uint64_t)(l - lines) * MOCK_RING_PAGES;
	struct vmbus_ring_memory mem[2];

	memset(page(pfn), 0, MOCK_RING_PAGES * VMBUS_PAGE_SIZE);
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
	l->gpadl = now.next_gpadl++;
	MOCK_CHECK(mock_gpadl(&m, l->id, l->gpadl, pfn, MOCK_RING_PAGES) == 0);
}

static void line_open(struct line *l)
{
	uint32_t before = now.created;

	rings_make(l);
	WAIT_UNTIL(now.created != before);
	before = now.opened;
	MOCK_CHECK(mock_open(&m, l->id, l->gpadl, 0) == 0);
	WAIT_UNTIL(now.opened != before);
	if (l != lines) {
		vsp_netvsc_init_sub(&l->vsc, &lines[0].vsc, &l->guest);
		l->vsc.user = l;
		l->open = true;
	}
}

static void line_close(struct line *l)
{
	l->open = false;
	MOCK_CHECK(mock_channel(&m, VMBUS_MSG_CLOSE_CHANNEL, l->id) == 0);
	gpadl_drop(l->id, l->gpadl);
}

static void buffers_share(struct vsp_netvsc_config *config)
{
	config->receive_gpadl = gpadl_make(RECEIVE_PFN, RECEIVE_PAGES);
	config->send_gpadl = gpadl_make(SEND_PFN, SEND_PAGES);
}

static void buffers_take(void)
{
	gpadl_drop(lines[0].id, lines[0].vsc.config.receive_gpadl);
	gpadl_drop(lines[0].id, lines[0].vsc.config.send_gpadl);
}

static bool subs_offered(void)
{
	for (uint32_t i = 1; i < CHANNELS; i++)
		if (!lines[i].id)
			return false;
	return true;
}

static bool subs_gone(void)
{
	for (uint32_t i = 1; i < CHANNELS; i++)
		if (lines[i].id)
			return false;
	return true;
}

static void subs_open(void)
{
	now.granted = 0;
	MOCK_CHECK(vsp_netvsc_ask_channels(&lines[0].vsc, CHANNELS - 1) == 0);
	on_signal(NULL, 0);
	WAIT_UNTIL(now.granted == CHANNELS - 1 && subs_offered());
	for (uint32_t i = 1; i < CHANNELS; i++)
		line_open(&lines[i]);
	WAIT_UNTIL(lines[0].vsc.tables == 1);
}

static void session_begin(void)
{
	struct vsp_netvsc_config config = VSP_NETVSC_CONFIG_INIT;

	line_open(&lines[0]);
	buffers_share(&config);
	config.ops = &vsc_ops;
	config.mtu = below(3) ? 1500 : 9000;
	config.rsc = below(3) != 0;
	config.filter = VSP_FILTER_PROMISCUOUS;
	config.receive = page(RECEIVE_PFN);
	config.send = page(SEND_PFN);
	config.receive_len = RECEIVE_PAGES * VMBUS_PAGE_SIZE;
	config.send_len = SEND_PAGES * VMBUS_PAGE_SIZE;
	MOCK_CHECK(vsp_netvsc_init(&lines[0].vsc, &config, &lines[0].guest) == 0);
	lines[0].vsc.user = &lines[0];
	lines[0].open = true;
	on_signal(NULL, 0);
	WAIT_UNTIL(lines[0].vsc.state >= VSP_NETVSC_READY);
	MOCK_CHECK(lines[0].vsc.state == VSP_NETVSC_READY);
	subs_open();
	now.answered = false;
	soak_session(&g);
}

static void halt(void)
{
	WAIT_UNTIL(vsp_netvsc_halt(&lines[0].vsc) == 0);
	on_signal(NULL, 0);
}

static void losses_take(uint32_t closed)
{
	far_take();
	soak_losses(&g, closed);
}

static void session_end(void)
{
	bool polite = below(2);

	now.deaf = false;
	if (polite) {
		rest(false);
		halt();
		WAIT_UNTIL(lines[0].vsc.request_sent);
	}
	soak_change_begin(&g.in);
	for (uint32_t i = CHANNELS; i-- > 0;)
		line_close(&lines[i]);
	buffers_take();
	WAIT_UNTIL(subs_gone());
	losses_take(SOAK_ALL);
	now.downs += polite;
	now.crashes += !polite;
}

static void session_change(void)
{
	session_end();
	session_begin();
	rest(true);
}

/* One alone, politely or not, and opened again; the others go on. */
static void sub_channel_change(void)
{
	uint32_t c = 1 + below(CHANNELS - 1);
	bool polite = below(2);

	now.deaf = false;
	if (polite)
		rest(false);
	WAIT_UNTIL(!g.asked);
	soak_change_begin(&g.in);
	line_close(&lines[c]);
	losses_take(1u << c);
	g.in.open &= ~(1u << c);
	soak_change_end(&g.in);
	for (uint32_t i = below(200); i; i--) {
		far_put();
		soak_send(&g);
		turn();
	}
	soak_change_begin(&g.in);
	line_open(&lines[c]);
	g.in.open |= 1u << c;
	soak_change_end(&g.in);
	rest(!polite);
	now.sub_closes++;
}

/* The guest takes its buffers back under way, and gives others. */
static void buffers_renew(void)
{
	struct vsp_nvsp_message buffer = {.type = VSP_NVSP_RECV_BUF};
	struct vsp_netvsc *n = &lines[0].vsc;

	now.deaf = false;
	WAIT_UNTIL(!g.asked);
	soak_change_begin(&g.in);
	halt();
	buffers_take();
	WAIT_UNTIL(soak_all_answered(&g) && n->request_sent);
	losses_take(SOAK_ALL);
	buffers_share(&n->config);
	buffer.u.buffer.gpadl = n->config.receive_gpadl;
	buffer.u.buffer.id = 0xcafe;
	n->state = VSP_NETVSC_RECEIVE;
	WAIT_UNTIL(vsp_netvsc_put(n, &buffer, NETVSC_ID_SETUP, true) == 0);
	on_signal(NULL, 0);
	WAIT_UNTIL(n->state >= VSP_NETVSC_READY);
	MOCK_CHECK(n->state == VSP_NETVSC_READY);
	for (uint32_t i = 1; i < CHANNELS; i++)
		lines[i].vsc.config = n->config;
	g.in.rss = g.filtered = false; /* it is set up anew */
	soak_change_end(&g.in);
	rest(true);
	now.renewals++;
}

/* -- All of it ------------------------------------------------------------------------- */

static void something_happens(void)
{
	uint32_t what = below(100);

	if (what < 45) {
		soak_ask(&g);
	} else if (what < 60) { /* it holds all that it was given */
		now.deaf = !now.deaf;
	} else if (what < 80) {
		now.link = !now.link;
		vsp_nic_pair_set_link(far, now.link);
		now.links++;
	} else if (what < 88) {
		sub_channel_change();
	} else if (what < 92) {
		buffers_renew();
	} else if (what < 95) {
		session_change();
	} else {
		rest(false);
	}
}

static void soak_run(uint64_t frames)
{
	while (g.in.put < frames || g.sent < frames) {
		uint64_t before = g.in.put + g.sent;

		for (uint32_t i = 1 + below(8); i; i--) {
			if (g.in.put < g.sent + AHEAD)
				far_put();
			soak_send(&g);
		}
		turn();
		if (below(4) == 0) /* so that it is full at times */
			far_take();
		if (g.in.put + g.sent == before)
			pause_briefly();
		if (now.deaf && below(100) == 0)
			now.deaf = false;
		if (g.in.put + g.sent - before > below(1000))
			something_happens();
	}
	rest(false);
}

static void nics_make(void)
{
	struct vsp_net_config config = VSP_NET_CONFIG_INIT;
	struct vsp_nic *ends[2];

	MOCK_CHECK(vsp_nic_pair(CHANNELS, DEPTH, ends) == 0);
	far = ends[1];
	MOCK_CHECK(far->ops->set_offloads(far, VSP_NIC_CSUM | VSP_NIC_TSO4 | VSP_NIC_TSO6) == 0);
	for (uint32_t i = 0; i < CHANNELS; i++)
		MOCK_CHECK(far->ops->queue_new(far, i, NULL, &far_events, NULL,
					       &lines[i].far) == 0);
	config.server = m.server;
	config.nic = ends[0];
	memcpy(config.mac, "\x00\x15\x5d\x01\x02\x03", 6);
	config.max_channels = CHANNELS;
	config.loop_of = loop_of;
	MOCK_CHECK(vsp_net_new(&config, &net) == 0);
}

static void guest_make(void)
{
	mock_connect(&m, VMBUS_V5_2);
	MOCK_CHECK(mock_simple(&m, VMBUS_MSG_REQUEST_OFFERS) == 0);
	g.random = 46;
	g.in.channels = CHANNELS;
	g.pages = page(LIST_PFN);
	g.pfns = list_pfns;
	g.signal = on_signal;
	for (uint32_t i = 0; i < LIST_PAGES; i++)
		list_pfns[i] = LIST_PFN + i;
	for (uint32_t i = 0; i < CHANNELS; i++)
		g.vsc[i] = &lines[i].vsc;
	now.threaded = true;
	WAIT_UNTIL(lines[0].id);
}

static void totals_tell(time_t began)
{
	struct vsp_net_stats stats;

	vsp_net_get_stats(net, &stats);
	SOAK_CHECK(g.in.put == now.received + now.lost + stats.rx_filtered + stats.rx_dropped,
		   "%lu put", g.in.put);
	SOAK_CHECK(g.sent == now.taken + g.lost, "%lu sent, %lu taken, %lu lost", g.sent,
		   now.taken, g.lost);
	for (uint32_t i = 0; i < CHANNELS; i++)
		MOCK_CHECK(lines[i].vsc.bad_packets == 0);
	printf("%lu s: %lu out, %lu in; lost out %lu, in %lu, dropped %lu, filtered %lu; %lu overtook in %u "
	       "changes; %u polite ends, %u crashes, %u sub-channels closed, %u renewals, %u links; waits "
	       "%lu %lu\n", (unsigned long)(seconds() - began), now.taken, now.received, g.lost, now.lost,
	       stats.rx_dropped, stats.rx_filtered, g.in.moved, g.tables, now.downs, now.crashes,
	       now.sub_closes, now.renewals, now.links, stats.tx_waits, stats.rx_waits);
}

int main(int argc, char **argv)
{
	const char *wanted = argc > 1 ? argv[1] : getenv("VSP_NET_SOAK");
	time_t began = seconds();

	mock_config(&m);
	bus_ops = *m.config.ops;
	bus_ops.signal = bus_signal;
	bus_ops.wake = bus_wake;
	bus_ops.channel_opened = bus_opened;
	m.config.ops = &bus_ops;
	mock_start(&m);
	servers_start();
	nics_make();
	guest_make();
	session_begin();
	soak_run(wanted ? strtoull(wanted, NULL, 10) : FRAMES);
	totals_tell(began);
	session_end();
	servers_stop();
	now.threaded = false;
	mock_fini(&m); /* the far end goes last: the adapter's is closed with it */
	for (uint32_t i = 0; i < CHANNELS; i++)
		far->ops->queue_free(lines[i].far);
	far->ops->close(far);
	return 0;
}
