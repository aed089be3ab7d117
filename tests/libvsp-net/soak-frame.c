/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "soak-frame.h"

uint32_t soak_random(uint64_t *state, uint32_t below)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (uint32_t)(*state >> 32) % below;
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

/* RFC 1071, two bytes at a time: nothing of the code under test. */
static uint32_t sum16(uint32_t sum, const uint8_t *p, uint32_t len)
{
	for (; len >= 2; len -= 2, p += 2) {
		sum += (uint32_t)p[0] << 8 | p[1];
		sum = (sum & 0xffff) + (sum >> 16);
	}
	if (len)
		sum += (uint32_t)p[0] << 8;
	return (sum & 0xffff) + (sum >> 16);
}

static void ip_make(struct soak_frame *f)
{
	uint8_t *ip = f->bytes + f->kind.at;
	uint32_t len = f->len - f->kind.at, protocol = f->kind.tcp ? 6 : 17;

	if (f->kind.v6) {
		memcpy(ip, "\x60\0\0\0", 4);
		put16(ip + 4, len - 40);
		ip[6] = (uint8_t)protocol;
		ip[7] = 64;
		memset(ip + 8, 0xfd, 32);
		put16(ip + 22, f->flow);
		return;
	}
	memcpy(ip, "\x45\0\0\0\0\0\x40\0\x40\0\0\0\x0a\1\0\0\x0a\0\0\2", 20);
	put16(ip + 2, len);
	ip[9] = (uint8_t)protocol;
	put16(ip + 14, f->flow);
	put16(ip + 10, ~sum16(0, ip, 20));
}

/* The sum over the pseudo header, which a sender that leaves the checksum undone puts in. */
static uint32_t seed_of(const struct soak_frame *f)
{
	const uint8_t *ip = f->bytes + f->kind.at;
	uint32_t sum = (f->kind.tcp ? 6u : 17u) + f->len - f->kind.transport;

	return f->kind.v6 ? sum16(sum, ip + 8, 32) : sum16(sum, ip + 12, 8);
}

static uint8_t *csum_of(struct soak_frame *f)
{
	return f->bytes + f->kind.transport + (f->kind.tcp ? 16 : 6);
}

/* Small ones mostly, as long as the MTU sometimes; segments up to all that IP can say. */
static uint32_t length_choose(uint64_t *random, const struct soak_kind *k, uint32_t mtu)
{
	uint32_t most = mtu + (k->tagged ? 18u : 14u);

	if (k->tso)
		return 2000 + soak_random(random, soak_random(random, 8) ? 8000 : 63000);
	switch (soak_random(random, 4)) {
	case 0:
		return most;
	case 1:
		return 100 + soak_random(random, most - 100);
	default:
		return SOAK_HEAD + soak_random(random, 300);
	}
}

static void content_make(struct soak_frame *f, uint64_t *random)
{
	const struct soak_kind *k = &f->kind;
	uint32_t header = k->transport + (k->tcp ? 20 : 8);

	for (uint32_t i = k->at; i < f->len; i += 4)
		memset(f->bytes + i, (int)(f->number + i), 4);
	for (uint32_t i = soak_random(random, 8); i; i--) {
		uint8_t *byte = &f->bytes[header + soak_random(random, f->len - header)];

		*byte ^= (uint8_t)soak_random(random, 256);
	}
	memcpy(f->bytes + header, &f->flow, sizeof(f->flow));
	memcpy(f->bytes + header + sizeof(f->flow), &f->number, sizeof(f->number));
	ip_make(f);
	put16(f->bytes + k->transport, 1024 + f->flow);
	put16(f->bytes + k->transport + 2, 80);
	if (k->tcp)
		memcpy(f->bytes + k->transport + 12, "\x50\x10", 2);
	else
		put16(f->bytes + k->transport + 4, f->len - k->transport);
	if (k->csum || k->tso)
		put16(csum_of(f), seed_of(f));
}

static void header_make(struct soak_frame *f)
{
	struct vsp_vnet_header *h = &f->header;

	memset(h, 0, sizeof(*h));
	if (!f->kind.csum && !f->kind.tso)
		return;
	h->flags = VSP_VNET_NEEDS_CSUM;
	h->csum_start = (uint16_t)f->kind.transport;
	h->csum_offset = f->kind.tcp ? 16 : 6;
	if (f->kind.tso) {
		h->gso_type = f->kind.v6 ? VSP_VNET_GSO_TCPV6 : VSP_VNET_GSO_TCPV4;
		h->gso_size = 1400;
		h->header_len = (uint16_t)(f->kind.transport + 20);
	}
}

void soak_frame_make(struct soak_frame *f, uint64_t *random, uint32_t flow, uint64_t number,
		     bool tso, uint32_t mtu, uint32_t most)
{
	struct soak_kind *k = &f->kind;

	*k = (struct soak_kind){.v6 = flow & 1, .tcp = flow & 2, .csum = soak_random(random, 2),
				.tso = tso && flow & 2, .tagged = soak_random(random, 4) == 0};
	k->at = k->tagged ? 18 : 14;
	k->transport = k->at + (k->v6 ? 40 : 20);
	f->flow = flow;
	f->number = number;
	f->len = length_choose(random, k, mtu);
	if (f->len > most)
		f->len = most;
	memcpy(f->bytes, "\x00\x15\x5d\x01\x02\x03\x02\x00\x00\x00\x00\x01", 12);
	if (k->tagged)
		memcpy(f->bytes + 12, "\x81\x00\x60\x2a", 4);
	put16(f->bytes + k->at - 2, k->v6 ? 0x86dd : 0x0800);
	content_make(f, random);
	header_make(f);
}

bool soak_frame_read(const uint8_t *bytes, uint32_t len, uint32_t *flow, uint64_t *number)
{
	uint32_t at = 14;

	if (len < SOAK_HEAD - 4)
		return false;
	if (bytes[12] == 0x81)
		at += 4;
	if (bytes[at - 2] == 0x86)
		at += bytes[at + 6] == 6 ? 60 : 48;
	else
		at += bytes[at + 9] == 6 ? 40 : 28;
	memcpy(flow, bytes + at, sizeof(*flow));
	memcpy(number, bytes + at + sizeof(*flow), sizeof(*number));
	return true;
}

static uint32_t tag_cut(struct soak_frame *f)
{
	uint32_t cut = f->kind.tagged ? 4 : 0;

	memmove(f->bytes + cut, f->bytes, 12);
	return cut;
}

struct soak_expected soak_to_guest(struct soak_frame *f)
{
	uint32_t cut = tag_cut(f);
	struct soak_expected e = {.len = f->len - cut, .header = f->header,
				  .tagged = f->kind.tagged};

	e.seed = f->kind.tso ? world_sum(0, f->bytes + cut, e.len) : 0;
	if (f->header.flags)
		put16(csum_of(f), 0xffff ^ sum16(0, f->bytes + f->kind.transport,
						 f->len - f->kind.transport));
	if (f->header.flags && !f->kind.tcp && !memcmp(csum_of(f), "\0", 2))
		put16(csum_of(f), 0xffff); /* UDP: 0 would be "none" */
	e.sum = world_sum(0, f->bytes + cut, e.len);
	return e;
}

uint32_t soak_from_guest(struct soak_frame *f, struct soak_expected *e,
			 uint8_t head[VSP_NETVSC_HEADER_MAX], const uint8_t **bytes, uint32_t *len)
{
	struct vsp_vnet_header h = f->header;
	uint32_t cut;

	*e = (struct soak_expected){.sum = world_sum(0, f->bytes, f->len), .len = f->len,
				    .header = h};
	cut = tag_cut(f);
	*bytes = f->bytes + cut;
	*len = f->len - cut;
	if (h.flags)
		h.csum_start = (uint16_t)(h.csum_start - cut);
	return vsp_netvsc_header(f->bytes + cut, *len < 192 ? *len : 192, *len, &h,
				 f->kind.tagged ? (int64_t)SOAK_VLAN : -1, head);
}
