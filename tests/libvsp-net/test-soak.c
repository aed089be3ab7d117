/* SPDX-License-Identifier: MIT */
/* Frames of random sizes and offloads, both ways at once, over one channel or several, in random
 * interleavings. Meanwhile the guest changes RSS table, offloads and filter, closes and opens one
 * channel or all, politely or not, with another MTU, takes its buffers back and sets them up
 * anew, or lies idle with all its memory; and the link goes up and down.
 *
 * Everything that arrives is what was sent, and once; in order, as long as the table of
 * channels is the same. Everything else is in the counters, or was in flight on what was
 * closed rudely. No slot is lost. VSP_NET_SOAK: how many frames each way. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "net-priv.h"
#include "net-world.h"
#include "soak-guest.h"

#define FRAMES 80000u /* by default */

struct soak {
	struct world *w;
	struct soak_guest g;
	uint32_t answered;
	bool link;
	/* since the start */
	uint64_t received, taken, lost;
	uint64_t refused; /* packets of the guest's, when the buffers had gone */
	uint32_t sub_closes, downs, crashes, renewals, links;
};

static uint8_t got[VSP_NIC_FRAME_MAX + 8];

_Static_assert(SOAK_CHANNELS == WORLD_CHANNELS, "one for each");

static uint32_t below(struct soak *s, uint32_t n)
{
	return soak_below(&s->g, n);
}

static void on_signal(void *opaque, uint32_t channel)
{
	world_signal(opaque, channel);
}

/* -- What has arrived ------------------------------------------------------ */

static void guest_arrived(struct soak *s, const struct world_frame *log)
{
	const struct soak_arrival a = {
		.bytes = log->bytes, .len = log->len, .channel = log->channel, .vlan = log->vlan,
		.hash = log->hash, .sum = log->sum, .coalesced = log->coalesced,
		.has_vlan = log->has_vlan, .has_hash = log->has_hash};

	soak_arrived(&s->g.in, &a);
}

static void guest_check(struct soak *s)
{
	cr_assert_leq(s->w->received - (uint32_t)s->received, WORLD_LOG);
	for (; (uint32_t)s->received != s->w->received; s->received++)
		guest_arrived(s, &s->w->frames[s->received % WORLD_LOG]);
	if (s->w->answered != s->answered)
		soak_answered(&s->g, s->w->answer_status);
	s->answered = s->w->answered;
	for (uint32_t i = 0; i < SOAK_PLACES; i++) {
		if (s->w->sent_status[i] != WORLD_UNANSWERED)
			soak_sent(&s->g, (void *)(uintptr_t)i, s->w->sent_status[i]);
		s->w->sent_status[i] = WORLD_UNANSWERED;
	}
}

static void nic_check(struct soak *s)
{
	struct vsp_vnet_header h;

	for (uint32_t c = 0; c < s->g.in.channels; c++)
		for (uint32_t n; (n = world_take(s->w, c, got, sizeof(got), &h)) > 0; s->taken++)
			soak_taken(&s->g.out[c], got, n, &h);
}

static void frame_put(struct soak *s)
{
	uint32_t flow = below(s, soak_flow_count(&s->g.in));
	struct soak_frame *f = &s->g.frame;
	struct soak_expected e;

	if (!soak_flow_room(&s->g.in, flow) ||
	    s->w->received - (uint32_t)s->received > WORLD_LOG / 2)
		return;
	soak_frame_make(f, &s->g.random, flow, s->g.in.flows[flow].put, below(s, 16) == 0,
			s->w->vsc[0].config.mtu, UINT32_MAX);
	if (!world_put(s->w, flow / SOAK_FLOWS, f->bytes, f->len, &f->header))
		return; /* it is full, or the guest wants no segments */
	e = soak_to_guest(f);
	soak_flow_put(&s->g.in, flow, &e);
}

/* -- Coming to rest -------------------------------------------------------- */

static void wake(struct soak *s)
{
	if (!s->w->deaf)
		return;
	s->w->deaf = false;
	for (uint32_t c = 0; c < s->g.in.channels; c++)
		if (s->g.in.open & 1u << c)
			vmbus_inproc_kick(s->w->bus, s->w->channels[c]);
}

/* All that can arrive has. */
static void settle(struct soak *s)
{
	wake(s);
	for (uint32_t i = 0; i < 2; i++) { /* taking may make room, and let more come */
		world_settle(s->w);
		nic_check(s);
		guest_check(s);
	}
}

static void slots_check(struct soak *s)
{
	const struct vsp_net *net = s->w->net;
	uint32_t free_slots = net->slots.free_count;

	for (uint32_t c = 0; c < s->g.in.channels; c++)
		if (net->channels[c])
			free_slots += net->channels[c]->rx.cache_count + net->channels[c]->rx.window_count;
	cr_assert_eq(free_slots, net->slots.count - net->slots.control,
		     "slots are stuck: %u of %u free",
		     free_slots, net->slots.count - net->slots.control);
	cr_assert_eq(net->control_slots, (1u << net->slots.control) - 1, "a control slot is stuck");
}

/* Nothing is under way, and nothing was lost in peace: every slot is where it belongs, every
 * send was answered, every frame is in one counter. */
static void rest(struct soak *s)
{
	struct vsp_net_stats stats;

	settle(s);
	slots_check(s);
	cr_assert(soak_all_answered(&s->g), "a send was never answered");
	cr_assert_eq(s->g.refused, 0, "a send was refused");
	for (uint32_t c = 0; c < s->g.in.channels; c++)
		cr_assert_eq(s->g.out[c].put, s->g.out[c].seen,
			     "channel %u: the last of %lu never came", c,
			     s->g.out[c].put);
	vsp_net_get_stats(s->w->net, &stats);
	soak_flows_settle(&s->g.in, stats.rx_filtered + stats.rx_dropped);
	cr_assert_eq(stats.rx_frames, s->received + s->lost, "lost in peace");
	cr_assert_eq(stats.tx_frames, s->taken);
	cr_assert_eq(stats.tx_errors, s->refused);
	if (soak_all_open(&s->g.in))
		cr_assert_eq(s->g.in.put, stats.rx_frames + stats.rx_filtered + stats.rx_dropped);
}

/* The channels of @closed, or their buffers, went with all that was in flight there. */
static void losses_take(struct soak *s, uint32_t closed)
{
	struct vsp_net_stats stats;

	nic_check(s);
	guest_check(s);
	soak_losses(&s->g, closed);
	vsp_net_get_stats(s->w->net, &stats);
	cr_assert_geq(stats.rx_frames, s->received + s->lost);
	s->lost = stats.rx_frames - s->received;
	if (closed == SOAK_ALL)
		s->refused = stats.tx_errors;
}

/* -- Closing and opening ----------------------------------------------------- */

static void session_end(struct soak *s)
{
	uint32_t way = below(s, 3);

	if (way == 0)
		rest(s);
	soak_change_begin(&s->g.in);
	wake(s);
	if (way < 2)
		world_down(s->w);
	else
		world_crash(s->w);
	if (way)
		losses_take(s, SOAK_ALL);
	s->g.in.open = 0;
	s->downs += way == 0;
	s->crashes += way != 0;
}

static void session_begin(struct soak *s)
{
	s->w->options.mtu = below(s, 3) ? 1500 : 9000;
	s->w->options.rsc = below(s, 3) != 0;
	world_up(s->w);
	if (s->g.in.channels > 1)
		world_channels_up(s->w, s->g.in.channels - 1);
	guest_check(s);
	s->answered = s->w->answered; /* to the one before */
	soak_session(&s->g);
}

/* One alone: closed, or opened again. */
static void sub_channel_change(struct soak *s)
{
	uint32_t c = 1 + below(s, s->g.in.channels - 1);
	bool polite = below(s, 2);
	struct vsp_net_stats stats;

	if (s->g.asked)
		return; /* one change at a time */
	if (s->g.in.open & 1u << c && polite)
		rest(s);
	soak_change_begin(&s->g.in);
	if (s->g.in.open & 1u << c) {
		world_channel_down(s->w, c);
		s->g.in.open &= ~(1u << c);
		s->sub_closes++;
		if (!polite) {
			settle(s);
			losses_take(s, 1u << c);
			vsp_net_get_stats(s->w->net, &stats);
			soak_flows_settle(&s->g.in, stats.rx_filtered + stats.rx_dropped);
		}
	} else {
		world_channel_up(s->w, c);
		s->g.in.open |= 1u << c;
	}
	guest_check(s);
	soak_change_end(&s->g.in);
}

static void sub_channels_open(struct soak *s)
{
	soak_change_begin(&s->g.in);
	for (uint32_t c = 1; c < s->g.in.channels; c++)
		if (!(s->g.in.open & 1u << c))
			world_channel_up(s->w, c);
	s->g.in.open = (1u << s->g.in.channels) - 1;
	guest_check(s);
	soak_change_end(&s->g.in);
}

/* The guest takes its buffers back under way, and gives others. */
static void buffers_renew(struct soak *s)
{
	if (s->g.asked)
		return;
	soak_change_begin(&s->g.in);
	wake(s);
	world_buffers_renew(s->w); /* it sets up anew: RSS is off */
	losses_take(s, SOAK_ALL);
	s->g.in.rss = s->g.filtered = false;
	soak_change_end(&s->g.in);
	s->renewals++;
}

static void something_happens(struct soak *s)
{
	uint32_t what = below(s, 100);

	if (what < 40) {
		soak_ask(&s->g);
	} else if (what < 60 && s->g.in.channels > 1) {
		sub_channel_change(s);
	} else if (what < 75) { /* it holds all that it was given */
		if (s->w->deaf)
			wake(s);
		else
			s->w->deaf = true;
	} else if (what < 85) {
		s->link = !s->link;
		vsp_nic_pair_set_link(s->w->peer, s->link);
		s->links++;
	} else if (what < 90) {
		buffers_renew(s);
	} else if (what < 95) {
		rest(s);
	} else {
		session_end(s);
		session_begin(s);
	}
}

/* -- All of it -------------------------------------------------------------- */

static void totals_check(struct soak *s)
{
	struct vsp_net_stats stats;

	sub_channels_open(s);
	rest(s);
	vsp_net_get_stats(s->w->net, &stats);
	cr_expect_eq(s->g.in.put, s->received + s->lost + stats.rx_filtered + stats.rx_dropped);
	cr_expect_eq(s->g.sent, s->taken + s->g.lost);
	cr_expect_eq(s->w->vsc[0].link_up, s->link);
	for (uint32_t c = 0; c < s->g.in.channels; c++)
		cr_expect_eq(s->w->vsc[c].bad_packets, 0);
	cr_log_info("%u channels: %lu out, %lu in; lost out %lu, in %lu, dropped %lu, filtered %lu; %lu "
		    "overtook in %u changes; %u polite ends, %u crashes, %u sub-channels closed, %u "
		    "renewals, %u links; waits %lu %lu", s->g.in.channels, s->taken, s->received, s->g.lost,
		    s->lost, stats.rx_dropped, stats.rx_filtered, s->g.in.moved, s->g.tables, s->downs,
		    s->crashes, s->sub_closes, s->renewals, s->links, stats.tx_waits, stats.rx_waits);
}

static void soak_step(struct soak *s, uint32_t *steps)
{
	frame_put(s);
	soak_send(&s->g);
	if (below(s, 50) == 0) /* for a while the bus is slower, or faster */
		*steps = 1 + below(s, 14);
	for (uint32_t i = below(s, *steps); i; i--)
		vmbus_inproc_step(s->w->bus);
	guest_check(s);
	if (below(s, 4) == 0) /* so that it is full at times */
		nic_check(s);
	cr_assert_null(vmbus_inproc_violation(s->w->bus), "%s", vmbus_inproc_violation(s->w->bus));
	if (below(s, 60) == 0)
		something_happens(s);
}

static void soak_run(uint64_t frames, const struct world_options *options)
{
	struct soak *s = calloc(1, sizeof(*s));
	uint32_t steps = 1;

	cr_assert_not_null(s);
	s->w = world_new(options);
	s->g.random = options->seed;
	s->g.in.channels = options->queues;
	s->g.pages = s->w->pages;
	s->g.pfns = s->w->page_pfns;
	s->g.signal = on_signal;
	s->g.opaque = s->w;
	for (uint32_t i = 0; i < WORLD_CHANNELS; i++)
		s->g.vsc[i] = &s->w->vsc[i];
	for (uint32_t i = 0; i < SOAK_PLACES; i++)
		s->w->sent_status[i] = WORLD_UNANSWERED;
	s->link = true;
	session_begin(s);
	while (s->g.in.put < frames || s->g.sent < frames)
		soak_step(s, &steps);
	totals_check(s);
	world_down(s->w);
	world_end(s->w);
	free(s);
}

Test(soak, everything_arrives_once_and_in_order_whatever_the_guest_does)
{
	static const struct world_options worlds[] = {
		{.seed = 40, .queues = 1, .depth = 50, .receive_pages = 200},
		/* few slots, a small ring */
		{.seed = 41, .queues = 1, .depth = 200, .receive_pages = 24, .ring_pages = 3},
		{.seed = 42, .queues = 2, .depth = 50, .receive_pages = 200},
		{.seed = 43, .queues = 4, .depth = 50, .receive_pages = 200},
		/* large slots */
		{.seed = 44, .queues = 4, .depth = 50, .receive_pages = WORLD_RECEIVE_MAX},
		{.seed = 45, .queues = 8, .depth = 20, .receive_pages = 60, .ring_pages = 3},
	};
	const uint32_t count = sizeof(worlds) / sizeof(worlds[0]);
	const char *wanted = getenv("VSP_NET_SOAK");
	uint64_t frames = wanted ? strtoull(wanted, NULL, 10) : FRAMES;

	for (uint32_t i = 0; i < count; i++)
		soak_run(frames / count, &worlds[i]);
}
