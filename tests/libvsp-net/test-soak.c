/* SPDX-License-Identifier: MIT */
/* Frames of random sizes and offloads, both ways at once, in random interleavings, while the
 * guest closes its channel politely or not and opens it again. Everything that arrives is what
 * was sent, in order and once; what does not arrive is in the counters or was in flight at a
 * crash; no slot is lost. VSP_NET_SOAK: how many frames each way. */
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "net-priv.h"
#include "net-world.h"

#define FRAMES 60000u    /* by default */
#define EXPECTED 4096u   /* under way at a time */
#define SECTIONS 17u
#define DIRECTS 3u       /* sends from 20 pages and a section each */
#define DIRECT_PAGES 20u
#define UNANSWERED 0xffffu

struct expected { /* a frame under way */
	uint64_t sum;  /* to the guest: with whole checksums */
	uint64_t seed; /* to the guest: as it was put in, for a frame that may be coalesced */
	uint32_t len;
	struct vsp_vnet_header header; /* to the nic */
	bool tagged;                   /* to the guest */
};

struct fifo {
	struct expected frames[EXPECTED];
	uint64_t put, seen; /* frames since the start; seen: arrived or skipped */
	uint64_t skipped;
};

struct soak {
	struct world *w;
	struct fifo out, in;     /* guest to nic, nic to guest */
	uint64_t received;       /* frames of the guest's log that were looked at */
	uint64_t taken;
	uint64_t lost_at_crash;  /* of the host's rx_frames: the guest never looked at them */
	uint64_t in_flight_at_crash; /* frames, at most, that were in packets without an answer */
	uint32_t sends[SECTIONS + DIRECTS]; /* frames in what is under way there */
	uint32_t crashes, downs;
};

static uint8_t frame[VSP_NIC_FRAME_MAX + 8], got[VSP_NIC_FRAME_MAX + 8];

static uint32_t random_below(struct soak *s, uint32_t n)
{
	return vmbus_inproc_random(s->w->bus, n);
}

/* -- Frames --------------------------------------------------------------- */

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* RFC 1071, a byte at a time: nothing of the code under test. */
static uint32_t sum16(uint32_t sum, const uint8_t *p, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

struct kind {
	bool v6, tcp, csum, tso, tagged;
	uint32_t at, transport; /* of IP, of TCP or UDP, from the frame's first byte */
};

static void ip_make(struct kind *k, uint32_t len)
{
	uint8_t *ip = frame + k->at;
	uint32_t ip_len = len - k->at;

	if (k->v6) {
		memcpy(ip, "\x60\0\0\0", 4);
		put16(ip + 4, ip_len - 40);
		ip[6] = k->tcp ? 6 : 17;
		ip[7] = 64;
		return;
	}
	memcpy(ip, "\x45\0\0\0\0\0\x40\0\x40\0\0\0", 12);
	put16(ip + 2, ip_len);
	ip[9] = k->tcp ? 6 : 17;
	put16(ip + 10, ~sum16(0, ip, 20));
}

/* The sum over the pseudo header, which a sender that leaves the checksum undone puts in. */
static uint32_t seed_of(const struct kind *k, uint32_t len)
{
	const uint8_t *ip = frame + k->at;
	uint32_t sum = (k->tcp ? 6u : 17u) + len - k->transport;

	return k->v6 ? sum16(sum, ip + 8, 32) : sum16(sum, ip + 12, 8);
}

static uint8_t *csum_of(const struct kind *k)
{
	return frame + k->transport + (k->tcp ? 16 : 6);
}

/* A frame of @len bytes with @number in it, the tag included. */
static void frame_make(struct soak *s, struct kind *k, uint32_t len, uint64_t number)
{
	uint32_t header;

	k->at = k->tagged ? 18 : 14;
	k->transport = k->at + (k->v6 ? 40 : 20);
	header = k->transport + (k->tcp ? 20 : 8);
	memcpy(frame, "\x00\x15\x5d\x01\x02\x03\x02\x00\x00\x00\x00\x01", 12);
	if (k->tagged)
		memcpy(frame + 12, "\x81\x00\x60\x2a", 4);
	put16(frame + k->at - 2, k->v6 ? 0x86dd : 0x0800);
	for (uint32_t i = k->at; i < len; i += 4)
		memset(frame + i, (int)(number + i), 4);
	for (uint32_t i = random_below(s, 8); i; i--)
		frame[header + random_below(s, len - header)] ^= (uint8_t)random_below(s, 256);
	memcpy(frame + len - sizeof(number), &number, sizeof(number));
	ip_make(k, len);
	if (k->tcp)
		memcpy(frame + k->transport + 12, "\x50\x10", 2);
	else
		put16(frame + k->transport + 4, len - k->transport);
	if (k->csum || k->tso)
		put16(csum_of(k), seed_of(k, len));
}

static struct vsp_vnet_header header_of(const struct kind *k)
{
	struct vsp_vnet_header h = {.flags = 0};

	if (!k->csum && !k->tso)
		return h;
	h.flags = VSP_VNET_NEEDS_CSUM;
	h.csum_start = (uint16_t)k->transport;
	h.csum_offset = k->tcp ? 16 : 6;
	if (k->tso) {
		h.gso_type = k->v6 ? VSP_VNET_GSO_TCPV6 : VSP_VNET_GSO_TCPV4;
		h.gso_size = 1400;
		h.header_len = (uint16_t)(k->transport + 20);
	}
	return h;
}

static struct kind kind_choose(struct soak *s, bool tso)
{
	struct kind k = {.v6 = random_below(s, 2), .tcp = random_below(s, 2) || tso,
			 .csum = random_below(s, 2), .tagged = random_below(s, 4) == 0, .tso = tso};

	return k;
}

/* Small ones mostly, as long as the MTU sometimes; segments up to all that IP can say. */
static uint32_t length_choose(struct soak *s, const struct kind *k)
{
	uint32_t most = s->w->vsc[0].config.mtu + (k->tagged ? 18u : 14u);

	if (k->tso)
		return 2000 + random_below(s, random_below(s, 8) ? 8000 : 63000);
	switch (random_below(s, 4)) {
	case 0:
		return most;
	case 1:
		return 100 + random_below(s, most - 100);
	default:
		return 90 + random_below(s, 300);
	}
}

/* -- What has to arrive --------------------------------------------------- */

static void expect(struct fifo *f, const struct expected *e)
{
	cr_assert_lt(f->put - f->seen, EXPECTED);
	f->frames[f->put++ % EXPECTED] = *e;
}

/* The next one with this sum; those before it are lost. */
static const struct expected *arrived(struct fifo *f, uint64_t sum, uint32_t len, const char *where)
{
	for (; f->seen < f->put; f->skipped++) {
		const struct expected *e = &f->frames[f->seen++ % EXPECTED];

		if ((e->sum == sum || e->seed == sum) && e->len == len)
			return e;
	}
	cr_assert_fail("a frame of %u bytes came to the %s that was not sent, or came before", len,
		       where);
	return NULL;
}

static void guest_check(struct soak *s)
{
	cr_assert_leq(s->w->received - s->received, WORLD_LOG);
	for (; s->received < s->w->received; s->received++) {
		const struct world_frame *f = &s->w->frames[s->received % WORLD_LOG];
		const struct expected *e = arrived(&s->in, f->sum, f->len, "guest");

		cr_assert_eq(f->sum, f->coalesced ? e->seed : e->sum);
		cr_assert_eq(f->has_vlan, e->tagged);
		cr_assert(!f->has_vlan || f->vlan == (0x2au << 4 | 3));
	}
}

static void nic_check(struct soak *s)
{
	struct vsp_vnet_header h;

	for (uint32_t n; (n = world_take(s->w, 0, got, sizeof(got), &h)) > 0; s->taken++) {
		const struct expected *e = arrived(&s->out, world_sum(0, got, n), n, "nic");

		cr_assert_eq(memcmp(&h, &e->header, sizeof(h)), 0);
	}
}

/* -- To the guest --------------------------------------------------------- */

static void frame_put(struct soak *s)
{
	struct kind k = kind_choose(s, random_below(s, 16) == 0);
	uint32_t len = length_choose(s, &k), cut = k.tagged ? 4 : 0;
	struct vsp_vnet_header h;
	struct expected e = {.tagged = k.tagged, .len = len - cut};

	frame_make(s, &k, len, s->in.put);
	h = header_of(&k);
	if (!world_put(s->w, 0, frame, len, &h))
		return; /* it is full, or the guest wants no segments */
	memmove(frame + cut, frame, 12);
	e.seed = k.tso ? world_sum(0, frame + cut, len - cut) : 0;
	if (h.flags)
		put16(csum_of(&k), sum16(0, frame + k.transport, len - k.transport) ^ 0xffff);
	if (h.flags && !k.tcp && !memcmp(csum_of(&k), "\0", 2))
		put16(csum_of(&k), 0xffff); /* UDP: 0 would be "none" */
	e.sum = world_sum(0, frame + cut, len - cut);
	expect(&s->in, &e);
}

/* -- To the nic ----------------------------------------------------------- */

/* The RNDIS message in front of the frame in frame[], which loses its tag to it. Returns
 * its length; the frame is at frame + *cut then. */
static uint32_t message_make(struct soak *s, bool tso, uint32_t most, uint32_t *cut, uint32_t *len,
			     uint8_t head[VSP_NETVSC_HEADER_MAX])
{
	struct kind k = kind_choose(s, tso);
	struct vsp_vnet_header h;
	struct expected e;
	uint32_t at;

	*len = length_choose(s, &k);
	if (*len > most)
		*len = most;
	frame_make(s, &k, *len, s->out.put);
	h = header_of(&k);
	e = (struct expected){.sum = world_sum(0, frame, *len), .len = *len, .header = h};
	*cut = k.tagged ? 4 : 0;
	*len -= *cut;
	memmove(frame + *cut, frame, 12);
	if (h.flags)
		h.csum_start = (uint16_t)(h.csum_start - *cut);
	at = vsp_netvsc_header(frame + *cut, *len < 192 ? *len : 192, *len, &h,
			       k.tagged ? 0x2a << 4 | 3 : -1, head);
	cr_assert_gt(at, 0);
	expect(&s->out, &e);
	return at;
}

static bool is_free(struct soak *s, uint32_t place)
{
	if (s->sends[place] && s->w->sent_status[place] == UNANSWERED)
		return false;
	cr_assert(!s->sends[place] || s->w->sent_status[place] == VSP_NVSP_STATUS_SUCCESS);
	s->sends[place] = 0;
	return true;
}

static void sent(struct soak *s, uint32_t place, uint32_t frames, int ret)
{
	cr_assert_eq(ret, 0);
	s->sends[place] = frames;
}

/* Up to four frames in a row in a section, each but the last padded to 8 bytes. */
static void section_send(struct soak *s, uint32_t place)
{
	uint8_t *to = vsp_netvsc_section(&s->w->vsc[0], place + 1), head[VSP_NETVSC_HEADER_MAX];
	uint32_t count = 1 + random_below(s, 4), at = 0, len, cut, n, last = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (i) { /* the length of the one before covers its padding */
			uint32_t whole = (at + 7) & ~7u, length = whole - last;

			memset(to + at, 0, whole - at);
			memcpy(to + last + 4, &length, sizeof(length));
			at = whole;
		}
		last = at;
		n = message_make(s, false, 1400, &cut, &len, head);
		memcpy(to + at, head, n);
		memcpy(to + at + n, frame + cut, len);
		at += n + len;
	}
	s->w->sent_status[place] = UNANSWERED;
	sent(s, place, count,
	     vsp_netvsc_send(&s->w->vsc[0], place + 1, at, NULL, 0, (void *)(uintptr_t)place));
}

/* One frame in pages, cut into ranges anywhere, its message in front or in a section. */
static void pages_send(struct soak *s, uint32_t place)
{
	const uint32_t first = (place - SECTIONS) * DIRECT_PAGES;
	struct vsp_netvsc_range ranges[4];
	uint32_t at = random_below(s, 4096), total, len, cut, n, count = 0;
	uint8_t *to = s->w->pages + first * 4096 + at, head[VSP_NETVSC_HEADER_MAX];
	uint32_t section = VSP_NVSP_NO_SECTION, section_len = 0;

	n = message_make(s, random_below(s, 3) == 0, UINT32_MAX, &cut, &len, head);
	if (random_below(s, 2)) {
		section = place + 1;
		section_len = n;
		memcpy(vsp_netvsc_section(&s->w->vsc[0], section), head, n);
		n = 0;
	}
	memcpy(to, head, n);
	memcpy(to + n, frame + cut, len);
	for (total = n + len; total; count++) {
		uint32_t part = count == 3 ? total : 1 + random_below(s, total);

		ranges[count] = (struct vsp_netvsc_range){s->w->page_pfns + first + at / 4096,
							  at % 4096, part};
		at += part;
		total -= part;
	}
	s->w->sent_status[place] = UNANSWERED;
	sent(s, place, 1, vsp_netvsc_send(&s->w->vsc[0], section, section_len, ranges, count,
					  (void *)(uintptr_t)place));
}

static void guest_send(struct soak *s)
{
	uint32_t place = random_below(s, SECTIONS + DIRECTS);

	if (!is_free(s, place) || s->out.put - s->out.seen > EXPECTED - 8 ||
	    s->w->vsc[0].in_flight > 15)
		return;
	if (place < SECTIONS)
		section_send(s, place);
	else
		pages_send(s, place);
	world_signal(s->w, 0);
}

/* -- Closing and opening -------------------------------------------------- */

/* Nothing is under way: all arrived, and every slot is where it belongs. */
static void settled_check(struct soak *s)
{
	const struct vsp_net *net = s->w->net;
	const struct net_rx *rx;
	uint32_t free_slots;

	world_settle(s->w);
	nic_check(s); /* may make room, and let more come */
	world_settle(s->w);
	nic_check(s);
	guest_check(s);
	rx = &net->channels[0]->rx;
	free_slots = net->slots.free_count + rx->cache_count + rx->window_count;
	cr_assert_eq(free_slots, net->slots.count - net->slots.control,
		     "slots are stuck: %u of %u free",
		     free_slots, net->slots.count - net->slots.control);
	cr_assert_eq(net->control_slots, (1u << net->slots.control) - 1, "a control slot is stuck");
	for (uint32_t i = 0; i < SECTIONS + DIRECTS; i++)
		cr_assert(is_free(s, i), "send %u was never answered", i);
}

static uint64_t counted(struct soak *s, struct vsp_net_stats *stats)
{
	vsp_net_get_stats(s->w->net, stats);
	return stats->rx_frames + stats->rx_filtered + stats->rx_dropped;
}

static void session_end(struct soak *s)
{
	struct vsp_net_stats stats;
	uint32_t way = random_below(s, 3);

	if (way == 0) {
		settled_check(s);
		world_down(s->w);
		s->downs++;
	} else {
		for (uint32_t i = 0; i < SECTIONS + DIRECTS; i++)
			s->in_flight_at_crash += is_free(s, i) ? 0 : s->sends[i];
		if (way == 1)
			world_down(s->w);
		else
			world_crash(s->w);
		s->crashes++;
	}
	memset(s->sends, 0, sizeof(s->sends));
	nic_check(s);
	guest_check(s);
	(void)counted(s, &stats);
	cr_assert(way || stats.rx_frames == s->received + s->lost_at_crash, "lost in peace");
	s->lost_at_crash = stats.rx_frames - s->received;
}

static void session_begin(struct soak *s)
{
	s->w->options.mtu = random_below(s, 3) ? 1500 : 9000;
	s->w->options.rsc = random_below(s, 3) != 0;
	world_up(s->w);
}

static void totals_check(struct soak *s)
{
	struct vsp_net_stats stats;
	uint64_t all;

	settled_check(s);
	all = counted(s, &stats);
	cr_expect_eq(s->in.put, all, "%lu put, %lu counted", s->in.put, all);
	cr_expect_eq(stats.rx_frames, s->received + s->lost_at_crash);
	cr_expect_eq(stats.tx_frames, s->taken);
	cr_expect_eq(stats.tx_errors, 0);
	cr_expect_eq(s->out.put - s->taken, s->out.skipped + (s->out.put - s->out.seen));
	cr_expect_leq(s->out.put - s->taken, s->in_flight_at_crash);
	cr_expect_eq(s->w->vsc[0].bad_packets, 0);
	cr_log_info("%lu out, %lu in, %u polite ends, %u crashes; lost out %lu, in %lu, "
		    "dropped %lu, filtered %lu; waits %lu %lu", s->taken, s->received, s->downs,
		    s->crashes, s->out.put - s->taken, s->lost_at_crash, stats.rx_dropped,
		    stats.rx_filtered, stats.tx_waits, stats.rx_waits);
}

static void soak_run(uint64_t frames, const struct world_options *options)
{
	struct soak *s = calloc(1, sizeof(*s));
	uint32_t steps = 1;

	cr_assert_not_null(s);
	s->w = world_new(options);
	session_begin(s);
	while (s->in.put < frames || s->out.put < frames) {
		if (s->in.put - s->in.seen < EXPECTED - 8 &&
		    s->w->received - s->received < WORLD_LOG / 2)
			frame_put(s);
		guest_send(s);
		if (random_below(s, 50) == 0) /* for a while the bus is slower, or faster */
			steps = 1 + random_below(s, 14);
		for (uint32_t i = random_below(s, steps); i; i--)
			vmbus_inproc_step(s->w->bus);
		guest_check(s);
		if (random_below(s, 4) == 0) /* so that it is full at times */
			nic_check(s);
		cr_assert_null(vmbus_inproc_violation(s->w->bus), "%s",
			       vmbus_inproc_violation(s->w->bus));
		if (random_below(s, 400) == 0) {
			session_end(s);
			session_begin(s);
		}
	}
	totals_check(s);
	world_down(s->w);
	world_end(s->w);
	free(s);
}

Test(soak, everything_arrives_once_and_in_order_whatever_the_guest_does)
{
	const char *wanted = getenv("VSP_NET_SOAK");
	uint64_t frames = wanted ? strtoull(wanted, NULL, 10) : FRAMES;

	soak_run(frames / 2, &(struct world_options){.seed = 40, .depth = 50,
						     .receive_pages = 200});
	/* few slots, a small ring */
	soak_run(frames / 2, &(struct world_options){.seed = 41, .depth = 200, .receive_pages = 24,
						     .ring_pages = 3});
}
