/* SPDX-License-Identifier: MIT */
/* Frames of every kind that the adapter tells apart. */
#include <string.h>

#include "netvsc-world.h"

#ifdef __clang__ /* libFuzzer looks for new ways through the adapter, not through this */
#pragma clang attribute push(__attribute__((no_sanitize("coverage"))), apply_to = function)
#endif

static void ipv4_put(uint8_t *ip, uint32_t len, uint8_t protocol, uint8_t words, bool fragment)
{
	ip[0] = (uint8_t)(0x40 | words);
	vsp_put16(ip + 2, len);
	ip[6] = fragment ? 0x20 : 0x40;
	ip[8] = 64;
	ip[9] = protocol;
	memcpy(ip + 12, "\x0a\x00\x00\x01\x0a\x00\x00\x02", 8);
	ip[15] = (uint8_t)len; /* lengths are flows: RSS spreads them */
}

static void ipv6_put(uint8_t *ip, uint32_t len, uint8_t next)
{
	ip[0] = 0x60;
	vsp_put16(ip + 4, len - 40);
	ip[6] = next;
	ip[7] = 64;
	ip[8] = ip[24] = 0xfd;
	ip[23] = (uint8_t)len;
	ip[39] = 2;
}

/* Returns the bytes in front of the transport header; 0: it has none that anybody sees. */
static uint32_t network_put(uint8_t *ip, uint32_t len, uint8_t kind)
{
	memset(ip, 0, 56);
	switch (kind % FRAME_KINDS) {
	case FRAME_UDP4:
	case FRAME_TCP4:
	case FRAME_FRAGMENT:
		ipv4_put(ip, len, kind % FRAME_KINDS == FRAME_UDP4 ? 17 : 6, 5,
			 kind % FRAME_KINDS == FRAME_FRAGMENT);
		return 20;
	case FRAME_OPTIONS:
		ipv4_put(ip, len, 6, 8, false);
		return 32;
	case FRAME_UDP6:
	case FRAME_TCP6:
		ipv6_put(ip, len, kind % FRAME_KINDS == FRAME_UDP6 ? 17 : 6);
		return 40;
	case FRAME_EXTENSIONS: /* hop by hop, then a fragment header */
		ipv6_put(ip, len, 0);
		ip[40] = 44;
		ip[48] = 6;
		return 56;
	default:
		return 0;
	}
}

uint32_t frame_build(uint8_t *frame, uint32_t len, uint8_t kind)
{
	static const uint8_t to[6] = {0x00, 0x15, 0x5d, 0x01, 0x02, 0x03};
	static const uint16_t ethertypes[FRAME_KINDS] = {0x0806, 0x0800, 0x0800, 0x86dd,
							 0x86dd, 0x86dd, 0x0800, 0x0800};
	uint32_t at = 12, network;

	memset(frame, 0x5c, len);
	if (len < 60 + 32)
		return 0;
	memcpy(frame, to, sizeof(to));
	if (kind & FRAME_TO_ALL)
		memset(frame, 0xff, 6);
	else if (kind & FRAME_TO_MANY)
		memcpy(frame, "\x01\x00\x5e\x00\x00\xfb", 6);
	memcpy(frame + 6, "\x02\x00\x00\x00\x00\x99", 6);
	if (kind & FRAME_TAGGED) {
		vsp_put16(frame + 12, 0x8100);
		vsp_put16(frame + 14, 0xa007);
		at += VSP_VLAN_TAG;
	}
	vsp_put16(frame + at, ethertypes[kind % FRAME_KINDS]);
	at += 2;
	network = network_put(frame + at, len - at, kind);
	if (!network)
		return 0;
	at += network;
	frame[at + 12] = 0x50; /* TCP's header is 20 bytes long */
	frame[at + 13] = 0x90; /* ACK, CWR */
	return at;
}

struct vsp_vnet_header header_for(uint8_t kind, uint32_t len, uint32_t transport)
{
	bool udp = kind % FRAME_KINDS == FRAME_UDP4 || kind % FRAME_KINDS == FRAME_UDP6;
	bool v6 = kind % FRAME_KINDS == FRAME_UDP6 || kind % FRAME_KINDS == FRAME_TCP6;
	struct vsp_vnet_header h = {.flags = VSP_VNET_DATA_VALID};

	if (!transport || !(kind & FRAME_ASKS))
		return h;
	h.flags = VSP_VNET_NEEDS_CSUM;
	h.csum_start = (uint16_t)transport;
	h.csum_offset = udp ? 6 : 16;
	if (len <= 1518 || udp)
		return h;
	h.gso_type = v6 ? VSP_VNET_GSO_TCPV6 : VSP_VNET_GSO_TCPV4;
	h.gso_size = 1400;
	h.header_len = (uint16_t)(transport + 20);
	return h;
}

#ifdef __clang__
#pragma clang attribute pop
#endif
