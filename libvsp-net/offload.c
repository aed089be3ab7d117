/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "frame.h"
#include "rndis.h"

#define PROTOCOL_TCP 6u
#define PROTOCOL_UDP 17u
#define CSUM_TCP 16u /* of the checksum in its header */
#define CSUM_UDP 6u
#define TCP_CWR 0x80u

/* -- Guest to nic --------------------------------------------------------- */

static bool ipv4_checksum(uint8_t *head, uint32_t head_len, const struct vsp_frame *f)
{
	uint8_t *ip = head + f->ip;
	uint32_t len = (ip[0] & 15u) * 4u;
	uint16_t sum;

	if (f->version != 4 || f->ip + len > head_len)
		return false;
	ip[10] = ip[11] = 0;
	sum = (uint16_t)~vsp_sum_fold(vsp_sum_add(0, ip, len, false));
	memcpy(ip + 10, &sum, 2);
	return true;
}

static uint32_t transport_default(const struct vsp_frame *f)
{
	return f->version == 6 ? f->ip + 40u : f->ip + 20u;
}

static bool checksum_request(uint32_t info, uint8_t *head, uint32_t head_len, uint32_t frame_len,
			     const struct vsp_frame *f, struct vsp_vnet_header *h)
{
	uint32_t transport = info >> 16 & 0x3ff;
	uint32_t field = info & VSP_CSUM_TX_TCP ? CSUM_TCP : CSUM_UDP;

	if ((info & VSP_CSUM_TX_IP_HEADER) && !ipv4_checksum(head, head_len, f))
		return false;
	if (!(info & (VSP_CSUM_TX_TCP | VSP_CSUM_TX_UDP)))
		return true;
	if (!transport)
		transport = transport_default(f);
	if ((info & VSP_CSUM_TX_TCP && info & VSP_CSUM_TX_UDP) || transport < transport_default(f) ||
	    transport + field + 2 > frame_len)
		return false;
	h->flags = VSP_VNET_NEEDS_CSUM;
	h->csum_start = (uint16_t)transport;
	h->csum_offset = (uint16_t)field;
	return true;
}

/* The guest leaves the lengths 0, in the pseudo header of its seed too (NDIS, LSO v2). The
 * kernel wants a frame that would be right if nobody cut it. What the seed of LSO v1 has in
 * it nobody says, so that one is made anew. */
static void lso_seed(uint8_t *head, uint32_t frame_len, uint32_t tcp, const struct vsp_frame *f,
		     bool v1)
{
	uint8_t length[2], protocol[2] = {0, PROTOCOL_TCP};
	uint64_t sum;
	uint16_t seed;

	if (v1)
		sum = vsp_sum_add(vsp_sum_add(0, head + f->ip + 12, 8, false), protocol, 2, false);
	else
		sum = vsp_sum_add(0, head + tcp + CSUM_TCP, 2, false);
	vsp_put16(length, frame_len - tcp);
	seed = vsp_sum_fold(vsp_sum_add(sum, length, 2, false));
	memcpy(head + tcp + CSUM_TCP, &seed, 2);
}

static bool lso_lengths(uint8_t *head, uint32_t head_len, uint32_t frame_len,
			const struct vsp_frame *f)
{
	uint32_t ip_len = frame_len - f->ip;

	if (f->version == 4) {
		if (ip_len > 0xffff)
			return false;
		vsp_put16(head + f->ip + 2, ip_len);
		return ipv4_checksum(head, head_len, f);
	}
	if (ip_len - 40 > 0xffff) /* its header was seen */
		return false;
	vsp_put16(head + f->ip + 4, ip_len - 40);
	return true;
}

static bool lso_request(uint32_t info, uint8_t *head, uint32_t head_len, uint32_t frame_len,
			const struct vsp_frame *f, struct vsp_vnet_header *h)
{
	uint32_t mss = info & 0xfffff, tcp = info >> 20 & 0x3ff, header;
	bool v6 = info & VSP_LSO_V2 && info & VSP_LSO_IPV6; /* v1 is IPv4 only */

	if (f->version != (v6 ? 6 : 4) || mss == 0 || mss > 0xffff)
		return false;
	if (!tcp)
		tcp = transport_default(f);
	if (tcp < f->ip + 20u || tcp + 20 > head_len)
		return false;
	header = tcp + (head[tcp + 12] >> 4) * 4u;
	if (header < tcp + 20 || header >= frame_len || !lso_lengths(head, head_len, frame_len, f))
		return false;
	lso_seed(head, frame_len, tcp, f, !(info & VSP_LSO_V2));
	h->flags = VSP_VNET_NEEDS_CSUM;
	h->gso_type = v6 ? VSP_VNET_GSO_TCPV6 : VSP_VNET_GSO_TCPV4;
	if (head[tcp + 13] & TCP_CWR)
		h->gso_type |= VSP_VNET_GSO_ECN;
	h->gso_size = (uint16_t)mss;
	h->header_len = (uint16_t)header;
	h->csum_start = (uint16_t)tcp;
	h->csum_offset = CSUM_TCP;
	return true;
}

static void tag_insert(uint32_t info, uint8_t *head, uint32_t head_len, struct vsp_vnet_header *h)
{
	uint32_t tci = (info & 7u) << 13 | (info >> 3 & 1u) << 12 | (info >> 4 & 0xfff);

	memmove(head + 12 + VSP_VLAN_TAG, head + 12, head_len - 12);
	vsp_put16(head + 12, 0x8100);
	vsp_put16(head + 14, tci);
	if (h->flags & VSP_VNET_NEEDS_CSUM)
		h->csum_start = (uint16_t)(h->csum_start + VSP_VLAN_TAG);
	if (h->header_len)
		h->header_len = (uint16_t)(h->header_len + VSP_VLAN_TAG);
}

uint32_t vsp_frame_transmit(const struct vsp_rndis_data *data, uint8_t *head, uint32_t head_len,
			    uint32_t frame_len, struct vsp_vnet_header *header)
{
	struct vsp_frame f;

	memset(header, 0, sizeof(*header));
	if (!vsp_frame_parse(head, head_len, &f))
		return 0;
	if (data->has_lso) {
		if (!lso_request(data->lso, head, head_len, frame_len, &f, header))
			return 0;
	} else if (data->has_checksum &&
		   !checksum_request(data->checksum, head, head_len, frame_len, &f, header)) {
		return 0;
	}
	if (!data->has_vlan)
		return head_len;
	tag_insert(data->vlan, head, head_len, header);
	return head_len + VSP_VLAN_TAG;
}

/* -- Nic to guest --------------------------------------------------------- */

static bool gso_judge(const struct vsp_vnet_header *h, const struct vsp_frame *f,
		      struct vsp_frame_received *out)
{
	uint8_t type = h->gso_type & (uint8_t)~VSP_VNET_GSO_ECN;

	if (type == VSP_VNET_GSO_NONE)
		return true;
	out->gso = true;
	if (h->gso_size == 0 || !f->transport)
		return false;
	if (type == VSP_VNET_GSO_TCPV4 || type == VSP_VNET_GSO_TCPV6)
		return f->protocol == PROTOCOL_TCP &&
		       f->version == (type == VSP_VNET_GSO_TCPV4 ? 4 : 6);
	return type == VSP_VNET_GSO_UDP_L4 && f->protocol == PROTOCOL_UDP;
}

static uint32_t checksum_verdict(const struct vsp_frame *f, bool gso)
{
	uint32_t verdict;

	if (f->fragment || !f->transport)
		return 0;
	if (f->protocol == PROTOCOL_TCP)
		verdict = VSP_CSUM_RX_TCP_GOOD | (gso ? VSP_CSUM_RX_TCP_NO_VALUE : 0);
	else if (f->protocol == PROTOCOL_UDP)
		verdict = VSP_CSUM_RX_UDP_GOOD;
	else
		return 0;
	if (f->version == 4)
		verdict |= VSP_CSUM_RX_IP_GOOD | (gso ? VSP_CSUM_RX_IP_NO_VALUE : 0);
	return verdict;
}

bool vsp_frame_received(const struct vsp_vnet_header *h, const struct vsp_frame *f,
			uint32_t head_len, uint32_t len, struct vsp_frame_received *out)
{
	memset(out, 0, sizeof(*out));
	if (head_len > len || !gso_judge(h, f, out))
		return false;
	if (h->flags & VSP_VNET_NEEDS_CSUM) {
		if (h->csum_start < VSP_ETHERNET ||
		    (uint32_t)h->csum_start + h->csum_offset + 2 > head_len)
			return false;
		out->sum_needed = !out->gso;
		out->csum_start = h->csum_start;
		out->csum_offset = h->csum_offset;
	}
	if (h->flags & (VSP_VNET_NEEDS_CSUM | VSP_VNET_DATA_VALID))
		out->checksum = checksum_verdict(f, out->gso);
	if (f->vlan) {
		out->vlan = true;
		out->vlan_info = (uint32_t)f->tci >> 13 | (f->tci >> 12 & 1u) << 3 |
				 (f->tci & 0xfffu) << 4;
	}
	return true;
}

void vsp_frame_complete(const struct vsp_frame_received *r, uint8_t *head, uint32_t head_len,
			const struct iovec *rest, unsigned int rest_count, uint32_t rest_len)
{
	uint32_t at = head_len - r->csum_start;
	uint64_t sum = vsp_sum_add(0, head + r->csum_start, at, false);
	uint16_t value;

	for (unsigned int i = 0; i < rest_count && rest_len; i++) {
		size_t n = rest[i].iov_len < rest_len ? rest[i].iov_len : rest_len;

		sum = vsp_sum_add(sum, rest[i].iov_base, n, at & 1);
		at += (uint32_t)n;
		rest_len -= (uint32_t)n;
	}
	value = (uint16_t)~vsp_sum_fold(sum);
	if (value == 0 && r->csum_offset == CSUM_UDP)
		value = 0xffff;
	memcpy(head + r->csum_start + r->csum_offset, &value, 2);
}
