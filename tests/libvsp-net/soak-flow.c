/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "soak-flow.h"

uint32_t soak_flow_count(const struct soak_flows *s)
{
	return s->channels * SOAK_FLOWS;
}

bool soak_all_open(const struct soak_flows *s)
{
	return s->open == (1u << s->channels) - 1;
}

bool soak_flow_room(const struct soak_flows *s, uint32_t flow)
{
	return s->flows[flow].put - s->flows[flow].first < SOAK_UNDER_WAY;
}

void soak_flow_put(struct soak_flows *s, uint32_t flow, const struct soak_expected *e)
{
	struct soak_flow *f = &s->flows[flow];

	f->frames[f->put++ % SOAK_UNDER_WAY] = *e;
	s->put++;
}

/* -- Which channel a flow comes on ----------------------------------------- */

/* -1: its hash is not known yet */
static int channel_of(const struct soak_flows *s, uint32_t flow)
{
	const struct soak_flow *f = &s->flows[flow];
	uint32_t queue = flow / SOAK_FLOWS, to;

	if (!s->rss)
		return (int)queue;
	if (!f->hashed)
		return -1;
	to = s->table[f->hash % VSP_RSS_ENTRIES];
	return (int)(s->open & 1u << to ? to : queue);
}

static void touch(struct soak_flows *s)
{
	for (uint32_t i = 0; i < soak_flow_count(s); i++) {
		int channel = channel_of(s, i);

		s->flows[i].touched |= channel < 0 ? SOAK_ALL : 1u << channel;
	}
}

void soak_change_begin(struct soak_flows *s)
{
	touch(s);
	s->changing = true;
}

void soak_change_end(struct soak_flows *s)
{
	touch(s);
	s->changing = false;
	for (uint32_t i = 0; i < soak_flow_count(s); i++)
		s->flows[i].stable = s->flows[i].put;
}

/* -- What has arrived ------------------------------------------------------ */

static void order_check(struct soak_flows *s, const struct soak_arrival *a, uint32_t flow,
			uint64_t number)
{
	struct soak_flow *f = &s->flows[flow];
	bool stable = !s->changing && number >= f->stable;
	uint64_t *last = &f->last[a->channel];

	SOAK_CHECK(number >= *last, "flow %u: %lu came behind %lu on channel %u", flow, number,
		   *last - 1, a->channel);
	*last = number + 1;
	if (number < f->highest) {
		SOAK_CHECK(!stable, "flow %u: %lu came behind %lu", flow, number, f->highest - 1);
		s->moved++;
	} else {
		f->highest = number + 1;
	}
	if (a->has_hash) {
		SOAK_CHECK(!f->hashed || f->hash == a->hash, "flow %u: another hash", flow);
		f->hashed = true;
		f->hash = a->hash;
	}
	SOAK_CHECK(!stable || (int)a->channel == channel_of(s, flow), "flow %u came on channel %u",
		   flow, a->channel);
}

void soak_arrived(struct soak_flows *s, const struct soak_arrival *a)
{
	struct soak_expected *e;
	struct soak_flow *f;
	uint64_t number;
	uint32_t flow;

	SOAK_CHECK(soak_frame_read(a->bytes, a->len, &flow, &number) && flow < soak_flow_count(s),
		   "a frame of %u bytes that is none of ours", a->len);
	f = &s->flows[flow];
	e = &f->frames[number % SOAK_UNDER_WAY];
	SOAK_CHECK(number >= f->first && number < f->put && !e->seen,
		   "flow %u: frame %lu was not sent, or came before", flow, number);
	SOAK_CHECK(a->len == e->len && a->sum == (a->coalesced ? e->seed : e->sum),
		   "flow %u: frame %lu changed", flow, number);
	SOAK_CHECK(a->has_vlan == e->tagged && (!a->has_vlan || a->vlan == SOAK_VLAN),
		   "flow %u: its tag", flow);
	order_check(s, a, flow, number);
	e->seen = true;
	while (f->first < f->put && f->frames[f->first % SOAK_UNDER_WAY].seen)
		f->first++;
}

/* -- What has not ------------------------------------------------------------ */

void soak_flows_excuse(struct soak_flows *s, uint32_t closed)
{
	for (uint32_t i = 0; i < soak_flow_count(s); i++)
		if (s->flows[i].touched & closed)
			s->flows[i].excused = s->flows[i].put;
}

void soak_flows_settle(struct soak_flows *s, uint64_t counted)
{
	uint64_t lost = 0;

	for (uint32_t i = 0; i < soak_flow_count(s); i++) {
		struct soak_flow *f = &s->flows[i];

		if (!(s->open & 1u << i / SOAK_FLOWS))
			continue; /* some may wait in the queue of a closed channel: later */
		for (; f->first < f->put; f->first++)
			lost += f->first >= f->excused && !f->frames[f->first % SOAK_UNDER_WAY].seen;
		f->touched = 0;
	}
	SOAK_CHECK(lost <= counted - s->counted, "%lu frames are gone, %lu counted", lost,
		   counted - s->counted);
	s->counted = soak_all_open(s) ? counted : s->counted + lost;
	touch(s);
}

/* -- To the nic ------------------------------------------------------------ */

bool soak_out_room(const struct soak_out *o, uint32_t count)
{
	return o->put - o->seen + count <= SOAK_UNTAKEN;
}

struct soak_expected *soak_out_put(struct soak_out *o)
{
	SOAK_CHECK(soak_out_room(o, 1), "no room");
	return &o->frames[o->put++ % SOAK_UNTAKEN];
}

void soak_taken(struct soak_out *o, const uint8_t *bytes, uint32_t len,
		const struct vsp_vnet_header *h)
{
	const struct soak_expected *e = &o->frames[o->seen++ % SOAK_UNTAKEN];

	SOAK_CHECK(o->seen <= o->put, "what was not sent");
	SOAK_CHECK(len == e->len, "frame %lu is another", o->seen - 1);
	SOAK_CHECK(world_sum(0, bytes, len) == e->sum, "frame %lu changed", o->seen - 1);
	SOAK_CHECK(memcmp(h, &e->header, sizeof(*h)) == 0, "frame %lu: its header", o->seen - 1);
}
