/* SPDX-License-Identifier: MIT */
/* The guest role: received frames in the language of nics. */
#include <string.h>

#include "frame.h"
#include "netvsc.h"

#define TCP 6u
#define TCP_HEADER 20u
#define TCP_CHECKSUM 16u

/* The seed of a TCP checksum: the sum of the pseudo header. */
static uint16_t tcp_seed(const uint8_t *head, uint32_t len, const struct vsp_frame *f)
{
	uint8_t tail[4] = {0, TCP};
	uint64_t sum;

	vsp_put16(tail + 2, len - f->transport);
	sum = vsp_sum_add(0, tail, sizeof(tail), false);
	if (f->version == 4)
		sum = vsp_sum_add(sum, head + f->ip + 12, 8, false);
	else
		sum = vsp_sum_add(sum, head + f->ip + 8, 32, false);
	return vsp_sum_fold(sum);
}

/* The host coalesced segments of one stream; the nic may cut them again. */
static void segments_describe(uint8_t *head, uint32_t len, const struct vsp_frame *f, uint32_t mtu,
			      struct vsp_vnet_header *h)
{
	uint32_t end = f->transport + (head[f->transport + 12] >> 4) * 4u;
	uint16_t seed = tcp_seed(head, len, f);

	memcpy(head + f->transport + TCP_CHECKSUM, &seed, sizeof(seed));
	h->flags = VSP_VNET_NEEDS_CSUM;
	h->gso_type = f->version == 4 ? VSP_VNET_GSO_TCPV4 : VSP_VNET_GSO_TCPV6;
	h->gso_size = (uint16_t)(mtu - (end - f->ip));
	h->header_len = (uint16_t)end;
	h->csum_start = f->transport;
	h->csum_offset = TCP_CHECKSUM;
}

static void tag_insert(uint8_t *head, uint32_t len, uint32_t vlan, struct vsp_vnet_header *h)
{
	memmove(head + 12 + VSP_VLAN_TAG, head + 12, len - 12);
	vsp_put16(head + 12, 0x8100);
	vsp_put16(head + 14, (vlan & 7) << 13 | (vlan >> 3 & 1) << 12 | (vlan >> 4 & 0xfff));
	if (h->flags & VSP_VNET_NEEDS_CSUM) {
		h->csum_start = (uint16_t)(h->csum_start + VSP_VLAN_TAG);
		h->header_len = (uint16_t)(h->header_len + VSP_VLAN_TAG);
	}
}

uint32_t vsp_netvsc_nic_head(const struct vsp_netvsc_frame *frame, uint32_t mtu,
			     uint8_t head[VSP_NETVSC_HEAD_MAX], uint32_t *taken,
			     struct vsp_vnet_header *header)
{
	uint32_t len = 0;
	struct vsp_frame f;

	_Static_assert(VSP_NETVSC_HEAD_MAX == VSP_HEAD + VSP_VLAN_TAG, "a head and a tag");
	memset(header, 0, sizeof(*header));
	for (uint32_t i = 0; i < frame->piece_count && len < VSP_HEAD; i++) {
		uint32_t n = frame->pieces[i].len, room = VSP_HEAD - len;

		n = n < room ? n : room;
		memcpy(head + len, frame->pieces[i].data, n);
		len += n;
	}
	if (!vsp_frame_parse(head, len, &f))
		return 0;
	if (frame->coalesced && f.version && f.protocol == TCP && f.transport &&
	    f.transport + TCP_HEADER <= len)
		segments_describe(head, frame->len, &f, mtu, header);
	else if (frame->checksum & (VSP_CSUM_RX_TCP_GOOD | VSP_CSUM_RX_UDP_GOOD))
		header->flags = VSP_VNET_DATA_VALID;
	*taken = len;
	if (!frame->has_vlan)
		return len;
	tag_insert(head, len, frame->vlan, header);
	return len + VSP_VLAN_TAG;
}
