/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "soak-guest.h"

#define IN_FLIGHT 15u /* packets of a channel: they fit the smallest ring */

uint32_t soak_below(struct soak_guest *g, uint32_t n)
{
	return soak_random(&g->random, n);
}

/* -- Frames to the host ----------------------------------------------------- */

static bool is_free(const struct soak_guest *g, uint32_t place)
{
	return !g->places[place].frames || g->places[place].answered;
}

bool soak_all_answered(const struct soak_guest *g)
{
	for (uint32_t i = 0; i < SOAK_PLACES; i++)
		if (!is_free(g, i))
			return false;
	return true;
}

void soak_sent(struct soak_guest *g, void *user, uint32_t status)
{
	struct soak_place *p = &g->places[(uintptr_t)user];

	SOAK_CHECK(p->frames && !p->answered, "send %lu was answered twice", (uintptr_t)user);
	p->answered = true;
	g->refused += status != VSP_NVSP_STATUS_SUCCESS;
}

/* Message and frame for channel @c, at most @most bytes. */
static uint32_t frame_make(struct soak_guest *g, uint32_t c, bool tso, uint32_t most, uint8_t *head,
			   const uint8_t **bytes, uint32_t *len)
{
	uint32_t flow = c * SOAK_FLOWS + soak_below(g, SOAK_FLOWS), n;

	soak_frame_make(&g->frame, &g->random, flow, g->out[c].put, tso, g->vsc[0]->config.mtu,
			most);
	n = soak_from_guest(&g->frame, soak_out_put(&g->out[c]), head, bytes, len);
	SOAK_CHECK(n > 0, "a frame that cannot be said");
	g->sent++;
	return n;
}

static void packet_send(struct soak_guest *g, uint32_t c, uint32_t place, uint32_t frames,
			uint32_t section,
			uint32_t len, const struct vsp_netvsc_range *ranges, uint32_t count)
{
	int ret = vsp_netvsc_send(g->vsc[c], section, len, ranges, count, (void *)(uintptr_t)place);

	SOAK_CHECK(ret == 0, "a send of %u bytes in %u ranges: %d", len, count, ret);
	g->places[place] = (struct soak_place){.frames = frames, .channel = c};
	g->signal(g->opaque, c);
}

/* Up to four frames in a row in a section, each but the last padded to 8 bytes. */
static void section_send(struct soak_guest *g, uint32_t c, uint32_t place)
{
	uint8_t *to = vsp_netvsc_section(g->vsc[0], place + 1), head[VSP_NETVSC_HEADER_MAX];
	uint32_t count = 1 + soak_below(g, 4), at = 0, len, n, last = 0;
	const uint8_t *bytes;

	for (uint32_t i = 0; i < count; i++) {
		if (i) { /* the length of the one before covers its padding */
			uint32_t whole = (at + 7) & ~7u, length = whole - last;

			memset(to + at, 0, whole - at);
			memcpy(to + last + 4, &length, sizeof(length));
			at = whole;
		}
		last = at;
		n = frame_make(g, c, false, 1400, head, &bytes, &len);
		memcpy(to + at, head, n);
		memcpy(to + at + n, bytes, len);
		at += n + len;
	}
	packet_send(g, c, place, count, place + 1, at, NULL, 0);
}

/* One frame in pages, cut into ranges anywhere, its message in front or in a section. */
static void pages_send(struct soak_guest *g, uint32_t c, uint32_t place)
{
	const uint32_t first = (place - SOAK_SECTIONS) * SOAK_DIRECT_PAGES;
	struct vsp_netvsc_range ranges[4];
	uint32_t at = soak_below(g, 4096), total, len, n, count = 0;
	uint8_t *to = g->pages + first * 4096 + at, head[VSP_NETVSC_HEADER_MAX];
	uint32_t section = VSP_NVSP_NO_SECTION, section_len = 0;
	const uint8_t *bytes;

	n = frame_make(g, c, soak_below(g, 3) == 0, UINT32_MAX, head, &bytes, &len);
	if (soak_below(g, 2)) {
		section = place + 1;
		section_len = n;
		memcpy(vsp_netvsc_section(g->vsc[0], section), head, n);
		n = 0;
	}
	memcpy(to, head, n);
	memcpy(to + n, bytes, len);
	for (total = n + len; total; count++) {
		uint32_t part = count == 3 ? total : 1 + soak_below(g, total);

		ranges[count] = (struct vsp_netvsc_range){g->pfns + first + at / 4096, at % 4096,
							  part};
		at += part;
		total -= part;
	}
	packet_send(g, c, place, 1, section, section_len, ranges, count);
}

void soak_send(struct soak_guest *g)
{
	uint32_t place = soak_below(g, SOAK_PLACES);
	uint32_t c = vsp_netvsc_send_channel(g->vsc[0], soak_below(g, 16), g->in.channels);

	if (!(g->in.open & 1u << c) || !is_free(g, place) || !soak_out_room(&g->out[c], 4) ||
	    g->vsc[c]->in_flight >= IN_FLIGHT)
		return;
	if (place < SOAK_SECTIONS)
		section_send(g, c, place);
	else
		pages_send(g, c, place);
}

/* -- Changes ---------------------------------------------------------------- */

static int table_ask(struct soak_guest *g, bool on)
{
	for (uint32_t i = 0; i < VSP_RSS_ENTRIES; i++)
		g->next[i] = soak_below(g, g->in.channels);
	return vsp_netvsc_set_rss(g->vsc[0], g->next, on ? VSP_RSS_ENTRIES : 0);
}

static int offloads_ask(struct soak_guest *g)
{
	const uint8_t rsc = (uint8_t)(1 + soak_below(g, 2));
	const struct vsp_ndis_offload_parameters p = {
		.header = {VSP_NDIS_DEFAULT, 3, sizeof(p)},
		.tcp_ipv4_checksum = (uint8_t)soak_below(g, 5),
		.udp_ipv4_checksum = (uint8_t)soak_below(g, 5),
		.tcp_ipv6_checksum = (uint8_t)soak_below(g, 5),
		.udp_ipv6_checksum = (uint8_t)soak_below(g, 5),
		.lso_v2_ipv4 = (uint8_t)soak_below(g, 3), .lso_v2_ipv6 = (uint8_t)soak_below(g, 3),
		.rsc_ipv4 = rsc, .rsc_ipv6 = rsc};

	return vsp_netvsc_request(g->vsc[0], VSP_RNDIS_SET, 0xfc01020c, &p, sizeof(p));
}

/* Nothing is wanted for a while: until the next request. */
static int filter_ask(struct soak_guest *g)
{
	const uint32_t filter = g->filtered ? VSP_FILTER_PROMISCUOUS : 0;
	int ret = vsp_netvsc_request(g->vsc[0], VSP_RNDIS_SET, 0x0001010e, &filter, sizeof(filter));

	g->filtered ^= ret == 0;
	return ret;
}

static int any_ask(struct soak_guest *g, enum soak_asked asked)
{
	switch (asked) {
	case SOAK_TABLE:
	case SOAK_NO_RSS:
		return table_ask(g, asked == SOAK_TABLE);
	case SOAK_OFFLOADS:
		return offloads_ask(g);
	case SOAK_FILTER:
		return filter_ask(g);
	default:
		return vsp_netvsc_request(g->vsc[0], VSP_RNDIS_QUERY, 0x00020101, NULL, 0);
	}
}

void soak_ask(struct soak_guest *g)
{
	enum soak_asked asked = g->filtered ? SOAK_FILTER
					    : SOAK_TABLE + soak_below(g, SOAK_ASKED - SOAK_TABLE);

	if (g->asked || any_ask(g, asked))
		return; /* or the ring is full */
	g->asked = asked;
	if (asked == SOAK_TABLE || asked == SOAK_NO_RSS)
		soak_change_begin(&g->in);
	g->signal(g->opaque, 0);
}

void soak_answered(struct soak_guest *g, uint32_t status)
{
	SOAK_CHECK(status == VSP_RNDIS_SUCCESS, "request %d: status %#x", (int)g->asked, status);
	if (g->asked == SOAK_TABLE || g->asked == SOAK_NO_RSS) {
		g->in.rss = g->asked == SOAK_TABLE;
		memcpy(g->in.table, g->next, sizeof(g->in.table));
		g->tables++;
		soak_change_end(&g->in);
	}
	g->asked = SOAK_NOTHING;
}

/* -- Closing ---------------------------------------------------------------- */

void soak_losses(struct soak_guest *g, uint32_t closed)
{
	uint64_t in_flight[SOAK_CHANNELS] = {0};

	for (uint32_t i = 0; i < SOAK_PLACES; i++) {
		struct soak_place *p = &g->places[i];

		if (!(closed & 1u << p->channel))
			continue;
		in_flight[p->channel] += p->frames;
		p->frames = 0;
	}
	for (uint32_t c = 0; c < g->in.channels; c++) {
		struct soak_out *o = &g->out[c];

		if (!(closed & 1u << c))
			continue;
		SOAK_CHECK(o->put - o->seen <= in_flight[c],
			   "channel %u: %lu missing, %lu were in flight", c,
			   o->put - o->seen, in_flight[c]);
		g->lost += o->put - o->seen;
		o->seen = o->put;
	}
	soak_flows_excuse(&g->in, closed);
	g->refused = 0;
}

void soak_session(struct soak_guest *g)
{
	g->asked = SOAK_NOTHING;
	g->filtered = g->in.rss = false;
	g->in.open = (1u << g->in.channels) - 1;
	soak_change_end(&g->in);
}
