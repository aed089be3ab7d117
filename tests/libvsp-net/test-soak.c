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
#include "soak-frame.h"

#define FRAMES 80000u     /* by default */
#define UNDER_WAY 128u    /* of a flow */
#define UNTAKEN 1024u     /* of a channel of the guest's */
#define SECTIONS 17u
#define DIRECTS 3u        /* sends from 20 pages and a section each */
#define PLACES (SECTIONS + DIRECTS)
#define DIRECT_PAGES 20u
#define UNANSWERED 0xffffu
#define ALL 0xffffffffu   /* channels */

enum asked { NOTHING, TABLE, NO_RSS, OFFLOADS, FILTER, COUNTER, ASKED };

struct flow { /* to the guest; numbers of its frames */
	struct soak_expected frames[UNDER_WAY];
	uint64_t put, first, highest; /* first: that may still come */
	uint64_t stable;              /* since the table is this */
	uint64_t excused;             /* up to here some may have been on what was closed rudely */
	uint64_t last[WORLD_CHANNELS];
	bool hashed;
	uint32_t hash;
	uint32_t touched; /* channels that its frames under way may be on */
};

struct out { /* a channel and queue to the nic */
	struct soak_expected frames[UNTAKEN];
	uint64_t put, seen;
};

struct soak {
	struct world *w;
	uint64_t random;
	uint32_t channels, open; /* open: as bits */
	struct flow in[WORLD_CHANNELS * SOAK_FLOWS];
	struct out out[WORLD_CHANNELS];
	struct place {
		uint32_t frames, channel; /* frames: 0: nothing is under way */
	} places[PLACES];
	enum asked asked;
	uint32_t answered;
	bool changing, rss, filtered, link;
	uint32_t table[VSP_RSS_ENTRIES], next[VSP_RSS_ENTRIES];
	/* since the start */
	uint64_t put, received, sent, taken, moved, lost_in, lost_out, counted;
	uint64_t refused; /* packets, when the buffers had gone */
	uint32_t tables, sub_closes, downs, crashes, renewals, links;
	struct soak_frame frame;
};

static uint8_t got[VSP_NIC_FRAME_MAX + 8];

static uint32_t below(struct soak *s, uint32_t n)
{
	return soak_random(&s->random, n);
}

static bool all_open(const struct soak *s)
{
	return s->open == (1u << s->channels) - 1;
}

static uint32_t flows(const struct soak *s)
{
	return s->channels * SOAK_FLOWS;
}

/* -- Which channel a flow comes on ----------------------------------------- */

/* -1: its hash is not known yet */
static int channel_of(const struct soak *s, uint32_t flow)
{
	const struct flow *f = &s->in[flow];
	uint32_t queue = flow / SOAK_FLOWS, to;

	if (!s->rss)
		return (int)queue;
	if (!f->hashed)
		return -1;
	to = s->table[f->hash % VSP_RSS_ENTRIES];
	return (int)(s->open & 1u << to ? to : queue);
}

static void touch(struct soak *s)
{
	for (uint32_t i = 0; i < flows(s); i++) {
		int channel = channel_of(s, i);

		s->in[i].touched |= channel < 0 ? ~0u : 1u << channel;
	}
}

/* Between these two frames may overtake each other. */
static void change_begin(struct soak *s)
{
	touch(s);
	s->changing = true;
}

static void change_end(struct soak *s)
{
	touch(s);
	s->changing = false;
	for (uint32_t i = 0; i < flows(s); i++)
		s->in[i].stable = s->in[i].put;
}

/* -- What has arrived ------------------------------------------------------ */

static void order_check(struct soak *s, const struct world_frame *log, uint32_t flow, uint64_t number)
{
	struct flow *f = &s->in[flow];
	bool stable = !s->changing && number >= f->stable;
	uint64_t *last = &f->last[log->channel];

	cr_assert(number >= *last, "flow %u: %lu came behind %lu on channel %u", flow, number, *last - 1,
		  log->channel);
	*last = number + 1;
	if (number < f->highest) {
		cr_assert(!stable, "flow %u: %lu came behind %lu", flow, number, f->highest - 1);
		s->moved++;
	} else {
		f->highest = number + 1;
	}
	if (log->has_hash) {
		cr_assert(!f->hashed || f->hash == log->hash);
		f->hashed = true;
		f->hash = log->hash;
	}
	cr_assert(!stable || (int)log->channel == channel_of(s, flow), "flow %u came on channel %u", flow,
		  log->channel);
}

static void guest_arrived(struct soak *s, const struct world_frame *log)
{
	struct soak_expected *e;
	struct flow *f;
	uint64_t number;
	uint32_t flow;

	cr_assert(soak_frame_read(log->bytes, log->len, &flow, &number) && flow < flows(s));
	f = &s->in[flow];
	e = &f->frames[number % UNDER_WAY];
	cr_assert(number >= f->first && number < f->put && !e->seen,
		  "flow %u: frame %lu was not sent, or came before", flow, number);
	cr_assert_eq(log->len, e->len);
	cr_assert_eq(log->sum, log->coalesced ? e->seed : e->sum, "flow %u: frame %lu changed", flow, number);
	cr_assert_eq(log->has_vlan, e->tagged);
	cr_assert(!log->has_vlan || log->vlan == SOAK_VLAN);
	order_check(s, log, flow, number);
	e->seen = true;
	while (f->first < f->put && f->frames[f->first % UNDER_WAY].seen)
		f->first++;
}

/* Answers count when the frames before them were looked at. */
static void guest_check(struct soak *s)
{
	cr_assert_leq(s->w->received - (uint32_t)s->received, WORLD_LOG);
	for (; (uint32_t)s->received != s->w->received; s->received++)
		guest_arrived(s, &s->w->frames[s->received % WORLD_LOG]);
	if (!s->asked || s->w->answered == s->answered)
		return;
	cr_assert_eq(s->w->answer_status, VSP_RNDIS_SUCCESS);
	if (s->asked == TABLE || s->asked == NO_RSS) {
		s->rss = s->asked == TABLE;
		memcpy(s->table, s->next, sizeof(s->table));
		s->tables++;
		change_end(s);
	}
	s->asked = NOTHING;
}

static void nic_check(struct soak *s)
{
	struct vsp_vnet_header h;

	for (uint32_t c = 0; c < s->channels; c++) {
		struct out *o = &s->out[c];

		for (uint32_t n; (n = world_take(s->w, c, got, sizeof(got), &h)) > 0; s->taken++) {
			const struct soak_expected *e = &o->frames[o->seen++ % UNTAKEN];

			cr_assert_leq(o->seen, o->put, "channel %u: what was not sent", c);
			cr_assert_eq(n, e->len, "channel %u: frame %lu is another", c, o->seen - 1);
			cr_assert_eq(world_sum(0, got, n), e->sum, "channel %u: frame %lu changed", c, o->seen - 1);
			cr_assert_eq(memcmp(&h, &e->header, sizeof(h)), 0);
		}
	}
}

/* -- Sending --------------------------------------------------------------- */

static void frame_put(struct soak *s)
{
	uint32_t flow = below(s, flows(s));
	struct flow *f = &s->in[flow];

	if (f->put - f->first == UNDER_WAY || s->w->received - (uint32_t)s->received > WORLD_LOG / 2)
		return;
	soak_frame_make(&s->frame, &s->random, flow, f->put, below(s, 16) == 0, s->w->vsc[0].config.mtu,
			UINT32_MAX);
	if (!world_put(s->w, flow / SOAK_FLOWS, s->frame.bytes, s->frame.len, &s->frame.header))
		return; /* it is full, or the guest wants no segments */
	f->frames[f->put++ % UNDER_WAY] = soak_to_guest(&s->frame);
	s->put++;
}

/* A frame for channel @c: message and frame, at most @most bytes. */
static uint32_t frame_make(struct soak *s, uint32_t c, bool tso, uint32_t most, uint8_t *head,
			   const uint8_t **bytes, uint32_t *len)
{
	struct out *o = &s->out[c];
	uint32_t flow = c * SOAK_FLOWS + below(s, SOAK_FLOWS), n;

	cr_assert_lt(o->put - o->seen, UNTAKEN);
	soak_frame_make(&s->frame, &s->random, flow, o->put, tso, s->w->vsc[0].config.mtu, most);
	n = soak_from_guest(&s->frame, &o->frames[o->put++ % UNTAKEN], head, bytes, len);
	cr_assert_gt(n, 0);
	s->sent++;
	return n;
}

static bool is_free(struct soak *s, uint32_t place)
{
	struct place *p = &s->places[place];

	if (p->frames && s->w->sent_status[place] == UNANSWERED)
		return false;
	cr_assert(!p->frames || s->w->sent_status[place] == VSP_NVSP_STATUS_SUCCESS);
	p->frames = 0;
	return true;
}

static void packet_send(struct soak *s, uint32_t c, uint32_t place, uint32_t frames, uint32_t section,
			uint32_t len, const struct vsp_netvsc_range *ranges, uint32_t count)
{
	s->places[place] = (struct place){frames, c};
	s->w->sent_status[place] = UNANSWERED;
	cr_assert_eq(vsp_netvsc_send(&s->w->vsc[c], section, len, ranges, count,
				     (void *)(uintptr_t)place), 0);
	world_signal(s->w, c);
}

/* Up to four frames in a row in a section, each but the last padded to 8 bytes. */
static void section_send(struct soak *s, uint32_t c, uint32_t place)
{
	uint8_t *to = vsp_netvsc_section(&s->w->vsc[0], place + 1), head[VSP_NETVSC_HEADER_MAX];
	uint32_t count = 1 + below(s, 4), at = 0, len, n, last = 0;
	const uint8_t *bytes;

	for (uint32_t i = 0; i < count; i++) {
		if (i) { /* the length of the one before covers its padding */
			uint32_t whole = (at + 7) & ~7u, length = whole - last;

			memset(to + at, 0, whole - at);
			memcpy(to + last + 4, &length, sizeof(length));
			at = whole;
		}
		last = at;
		n = frame_make(s, c, false, 1400, head, &bytes, &len);
		memcpy(to + at, head, n);
		memcpy(to + at + n, bytes, len);
		at += n + len;
	}
	packet_send(s, c, place, count, place + 1, at, NULL, 0);
}

/* One frame in pages, cut into ranges anywhere, its message in front or in a section. */
static void pages_send(struct soak *s, uint32_t c, uint32_t place)
{
	const uint32_t first = (place - SECTIONS) * DIRECT_PAGES;
	struct vsp_netvsc_range ranges[4];
	uint32_t at = below(s, 4096), total, len, n, count = 0;
	uint8_t *to = s->w->pages + first * 4096 + at, head[VSP_NETVSC_HEADER_MAX];
	uint32_t section = VSP_NVSP_NO_SECTION, section_len = 0;
	const uint8_t *bytes;

	n = frame_make(s, c, below(s, 3) == 0, UINT32_MAX, head, &bytes, &len);
	if (below(s, 2)) {
		section = place + 1;
		section_len = n;
		memcpy(vsp_netvsc_section(&s->w->vsc[0], section), head, n);
		n = 0;
	}
	memcpy(to, head, n);
	memcpy(to + n, bytes, len);
	for (total = n + len; total; count++) {
		uint32_t part = count == 3 ? total : 1 + below(s, total);

		ranges[count] = (struct vsp_netvsc_range){s->w->page_pfns + first + at / 4096, at % 4096, part};
		at += part;
		total -= part;
	}
	packet_send(s, c, place, 1, section, section_len, ranges, count);
}

static void guest_send(struct soak *s)
{
	uint32_t place = below(s, PLACES);
	uint32_t c = vsp_netvsc_send_channel(&s->w->vsc[0], below(s, 16), s->channels);

	if (!(s->open & 1u << c) || !is_free(s, place) || s->out[c].put - s->out[c].seen > UNTAKEN - 8 ||
	    s->w->vsc[c].in_flight > 15)
		return;
	if (place < SECTIONS)
		section_send(s, c, place);
	else
		pages_send(s, c, place);
}

/* -- Coming to rest -------------------------------------------------------- */

static void wake(struct soak *s)
{
	if (!s->w->deaf)
		return;
	s->w->deaf = false;
	for (uint32_t c = 0; c < s->channels; c++)
		if (s->open & 1u << c)
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

	for (uint32_t c = 0; c < s->channels; c++)
		if (net->channels[c])
			free_slots += net->channels[c]->rx.cache_count + net->channels[c]->rx.window_count;
	cr_assert_eq(free_slots, net->slots.count - net->slots.control, "slots are stuck: %u of %u free",
		     free_slots, net->slots.count - net->slots.control);
	cr_assert_eq(net->control_slots, (1u << net->slots.control) - 1, "a control slot is stuck");
}

/* Of the frames that were under way those that have not come are lost: the filter or the form
 * refused them, which is counted, or they were on a channel that was closed rudely. */
static void flows_settle(struct soak *s)
{
	struct vsp_net_stats stats;
	uint64_t lost = 0, counted;

	vsp_net_get_stats(s->w->net, &stats);
	counted = stats.rx_filtered + stats.rx_dropped;
	for (uint32_t i = 0; i < flows(s); i++) {
		struct flow *f = &s->in[i];

		if (!(s->open & 1u << i / SOAK_FLOWS))
			continue; /* some may wait in the queue of a closed channel: later */
		for (; f->first < f->put; f->first++)
			lost += f->first >= f->excused && !f->frames[f->first % UNDER_WAY].seen;
		f->touched = 0;
	}
	cr_assert_leq(lost, counted - s->counted, "%lu frames are gone, %lu counted", lost,
		      counted - s->counted);
	s->counted = all_open(s) ? counted : s->counted + lost;
	touch(s);
}

/* Nothing is under way, and nothing was lost in peace: every slot is where it belongs, every
 * send was answered, every frame is in one counter. */
static void rest(struct soak *s)
{
	struct vsp_net_stats stats;

	settle(s);
	slots_check(s);
	for (uint32_t i = 0; i < PLACES; i++)
		cr_assert(is_free(s, i), "send %u was never answered", i);
	for (uint32_t c = 0; c < s->channels; c++)
		cr_assert_eq(s->out[c].put, s->out[c].seen, "channel %u: the last of %lu never came", c,
			     s->out[c].put);
	flows_settle(s);
	vsp_net_get_stats(s->w->net, &stats);
	cr_assert_eq(stats.rx_frames, s->received + s->lost_in, "lost in peace");
	cr_assert_eq(stats.tx_frames, s->taken);
	cr_assert_eq(stats.tx_errors, s->refused);
	if (all_open(s))
		cr_assert_eq(s->put, stats.rx_frames + stats.rx_filtered + stats.rx_dropped);
}

/* The channels of @closed, or their buffers, went with all that was in flight there. */
static void losses_take(struct soak *s, uint32_t closed)
{
	struct vsp_net_stats stats;
	uint64_t in_flight[WORLD_CHANNELS] = {0};

	nic_check(s);
	guest_check(s);
	for (uint32_t i = 0; i < PLACES; i++) {
		struct place *p = &s->places[i];

		if (!(closed & 1u << p->channel))
			continue;
		in_flight[p->channel] += p->frames;
		p->frames = 0;
	}
	for (uint32_t c = 0; c < s->channels; c++) {
		struct out *o = &s->out[c];

		if (!(closed & 1u << c))
			continue;
		cr_assert_leq(o->put - o->seen, in_flight[c], "channel %u: more lost than was in flight", c);
		s->lost_out += o->put - o->seen;
		o->seen = o->put;
	}
	for (uint32_t i = 0; i < flows(s); i++)
		if (s->in[i].touched & closed)
			s->in[i].excused = s->in[i].put;
	vsp_net_get_stats(s->w->net, &stats);
	cr_assert_geq(stats.rx_frames, s->received + s->lost_in);
	s->lost_in = stats.rx_frames - s->received;
	if (closed == ALL)
		s->refused = stats.tx_errors;
}

/* -- What the guest asks for ------------------------------------------------- */

static int table_ask(struct soak *s, bool on)
{
	for (uint32_t i = 0; i < VSP_RSS_ENTRIES; i++)
		s->next[i] = below(s, s->channels);
	return vsp_netvsc_set_rss(&s->w->vsc[0], s->next, on ? VSP_RSS_ENTRIES : 0);
}

static int offloads_ask(struct soak *s)
{
	const uint8_t rsc = (uint8_t)(1 + below(s, 2));
	const struct vsp_ndis_offload_parameters p = {
		.header = {VSP_NDIS_DEFAULT, 3, sizeof(p)},
		.tcp_ipv4_checksum = (uint8_t)below(s, 5), .udp_ipv4_checksum = (uint8_t)below(s, 5),
		.tcp_ipv6_checksum = (uint8_t)below(s, 5), .udp_ipv6_checksum = (uint8_t)below(s, 5),
		.lso_v2_ipv4 = (uint8_t)below(s, 3), .lso_v2_ipv6 = (uint8_t)below(s, 3),
		.rsc_ipv4 = rsc, .rsc_ipv6 = rsc};

	return vsp_netvsc_request(&s->w->vsc[0], VSP_RNDIS_SET, 0xfc01020c, &p, sizeof(p));
}

/* Nothing is wanted for a while: until the next request. */
static int filter_ask(struct soak *s)
{
	const uint32_t filter = s->filtered ? VSP_FILTER_PROMISCUOUS : 0;
	int ret = vsp_netvsc_request(&s->w->vsc[0], VSP_RNDIS_SET, 0x0001010e, &filter, sizeof(filter));

	s->filtered ^= ret == 0;
	return ret;
}

static void request_send(struct soak *s)
{
	enum asked asked = s->filtered ? FILTER : TABLE + below(s, ASKED - TABLE);
	int ret;

	if (s->asked)
		return;
	if (asked == TABLE || asked == NO_RSS)
		ret = table_ask(s, asked == TABLE);
	else if (asked == OFFLOADS)
		ret = offloads_ask(s);
	else if (asked == FILTER)
		ret = filter_ask(s);
	else
		ret = vsp_netvsc_request(&s->w->vsc[0], VSP_RNDIS_QUERY, 0x00020101, NULL, 0);
	if (ret)
		return; /* the ring is full */
	s->asked = asked;
	s->answered = s->w->answered;
	if (asked == TABLE || asked == NO_RSS)
		change_begin(s);
	world_signal(s->w, 0);
}

/* -- Closing and opening ----------------------------------------------------- */

static void session_end(struct soak *s)
{
	uint32_t way = below(s, 3);

	if (way == 0)
		rest(s);
	change_begin(s);
	wake(s);
	if (way < 2)
		world_down(s->w);
	else
		world_crash(s->w);
	if (way)
		losses_take(s, ALL);
	s->asked = NOTHING;
	s->open = 0;
	s->downs += way == 0;
	s->crashes += way != 0;
}

static void session_begin(struct soak *s)
{
	s->w->options.mtu = below(s, 3) ? 1500 : 9000;
	s->w->options.rsc = below(s, 3) != 0;
	world_up(s->w);
	if (s->channels > 1)
		world_channels_up(s->w, s->channels - 1);
	guest_check(s);
	s->open = (1u << s->channels) - 1;
	s->rss = s->filtered = false;
	change_end(s);
}

/* One alone: closed, or opened again. */
static void sub_channel_change(struct soak *s)
{
	uint32_t c = 1 + below(s, s->channels - 1);
	bool polite = below(s, 2);

	if (s->asked)
		return; /* one change at a time */
	if (s->open & 1u << c && polite)
		rest(s);
	change_begin(s);
	if (s->open & 1u << c) {
		world_channel_down(s->w, c);
		s->open &= ~(1u << c);
		s->sub_closes++;
		if (!polite) {
			settle(s);
			losses_take(s, 1u << c);
			flows_settle(s);
		}
	} else {
		world_channel_up(s->w, c);
		s->open |= 1u << c;
	}
	guest_check(s);
	change_end(s);
}

static void sub_channels_open(struct soak *s)
{
	change_begin(s);
	for (uint32_t c = 1; c < s->channels; c++)
		if (!(s->open & 1u << c))
			world_channel_up(s->w, c);
	s->open = (1u << s->channels) - 1;
	guest_check(s);
	change_end(s);
}

/* The guest takes its buffers back under way, and gives others. */
static void buffers_renew(struct soak *s)
{
	if (s->asked)
		return;
	change_begin(s);
	wake(s);
	world_buffers_renew(s->w); /* it sets up anew: RSS is off */
	losses_take(s, ALL);
	s->rss = s->filtered = false;
	change_end(s);
	s->renewals++;
}

static void something_happens(struct soak *s)
{
	uint32_t what = below(s, 100);

	if (what < 40) {
		request_send(s);
	} else if (what < 60 && s->channels > 1) {
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
	cr_expect_eq(s->put, s->received + s->lost_in + stats.rx_filtered + stats.rx_dropped);
	cr_expect_eq(s->sent, s->taken + s->lost_out);
	cr_expect_eq(s->w->vsc[0].link_up, s->link);
	for (uint32_t c = 0; c < s->channels; c++)
		cr_expect_eq(s->w->vsc[c].bad_packets, 0);
	cr_log_info("%u channels: %lu out, %lu in; lost out %lu, in %lu, dropped %lu, filtered %lu; %lu "
		    "overtook in %u changes; %u polite ends, %u crashes, %u sub-channels closed, %u "
		    "renewals, %u links; waits %lu %lu", s->channels, s->taken, s->received, s->lost_out,
		    s->lost_in, stats.rx_dropped, stats.rx_filtered, s->moved, s->tables, s->downs,
		    s->crashes, s->sub_closes, s->renewals, s->links, stats.tx_waits, stats.rx_waits);
}

static void soak_step(struct soak *s, uint32_t *steps)
{
	frame_put(s);
	guest_send(s);
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
	s->random = options->seed;
	s->channels = options->queues;
	s->link = true;
	session_begin(s);
	while (s->put < frames || s->sent < frames)
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
