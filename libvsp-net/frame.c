/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "frame.h"

#define ETHERTYPE_IPV4 0x0800u
#define ETHERTYPE_IPV6 0x86ddu
#define ETHERTYPE_VLAN 0x8100u
#define ETHERTYPE_SERVICE_VLAN 0x88a8u

#define IPV6_HEADER 40u
#define IPV6_EXTENSIONS 8 /* walked at most */

static void ipv4_parse(const uint8_t *head, uint32_t len, struct vsp_frame *f)
{
	const uint8_t *ip = head + f->ip;
	uint32_t room = len - f->ip, header;

	if (room < 20 || ip[0] >> 4 != 4)
		return;
	header = (ip[0] & 15u) * 4u;
	if (header < 20 || header > room)
		return;
	f->version = 4;
	f->protocol = ip[9];
	f->fragment = (vsp_get16(ip + 6) & 0x3fff) != 0; /* offset, or more fragments */
	if ((vsp_get16(ip + 6) & 0x1fff) == 0 && room >= header + 4)
		f->transport = (uint16_t)(f->ip + header);
}

static void ipv6_parse(const uint8_t *head, uint32_t len, struct vsp_frame *f)
{
	uint32_t at = f->ip + IPV6_HEADER;
	uint8_t next;

	if (len < at || head[f->ip] >> 4 != 6)
		return;
	f->version = 6;
	next = head[f->ip + 6];
	for (int i = 0; i < IPV6_EXTENSIONS; i++) {
		bool fragment = next == 44;

		if (next != 0 && next != 43 && next != 60 && !fragment) {
			f->protocol = next;
			f->transport = at + 4 <= len ? (uint16_t)at : 0;
			return;
		}
		if (at + 8 > len)
			return;
		next = head[at];
		if (fragment) {
			f->fragment = true;
			if (vsp_get16(head + at + 2) & 0xfff8) {
				f->protocol = next;
				return;
			}
			at += 8;
		} else {
			at += (head[at + 1] + 1u) * 8u;
		}
	}
}

uint32_t vsp_frame_tags(const uint8_t *head, uint32_t len)
{
	uint32_t tags = 0;

	for (; tags < VSP_VLAN_TAGS * VSP_VLAN_TAG && len >= VSP_ETHERNET + tags; tags += VSP_VLAN_TAG) {
		uint16_t type = vsp_get16(head + 12 + tags);

		if (type != ETHERTYPE_VLAN && type != ETHERTYPE_SERVICE_VLAN)
			break;
	}
	return tags;
}

bool vsp_frame_parse(const uint8_t *head, uint32_t len, struct vsp_frame *f)
{
	uint32_t at = 12;

	memset(f, 0, sizeof(*f));
	if (len < VSP_ETHERNET)
		return false;
	f->ethertype = vsp_get16(head + at);
	if (f->ethertype == ETHERTYPE_VLAN && len >= VSP_ETHERNET + VSP_VLAN_TAG) {
		f->vlan = true;
		f->tci = vsp_get16(head + 14);
		at += VSP_VLAN_TAG;
		f->ethertype = vsp_get16(head + at);
	}
	f->ip = (uint16_t)(at + 2);
	if (f->ethertype == ETHERTYPE_IPV4)
		ipv4_parse(head, len, f);
	else if (f->ethertype == ETHERTYPE_IPV6)
		ipv6_parse(head, len, f);
	return true;
}

static uint16_t sum_reduce(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

uint64_t vsp_sum_add(uint64_t sum, const uint8_t *bytes, size_t len, bool odd)
{
	uint64_t block = 0;
	uint16_t folded;
	uint32_t word;

	for (; len >= 4; len -= 4, bytes += 4) {
		memcpy(&word, bytes, 4);
		block += word;
	}
	word = 0;
	memcpy(&word, bytes, len);
	block += word;
	folded = sum_reduce(block);
	return sum + (odd ? __builtin_bswap16(folded) : folded);
}

uint16_t vsp_sum_fold(uint64_t sum)
{
	return sum_reduce(sum);
}

uint32_t vsp_frame_untag(uint8_t *head)
{
	memmove(head + VSP_VLAN_TAG, head, 12);
	return VSP_VLAN_TAG;
}
