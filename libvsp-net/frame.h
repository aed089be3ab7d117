/* SPDX-License-Identifier: MIT */
/* Ethernet frames: finding the headers, checksums, and the two languages for work left
 * undone: per-packet information (guest) and virtio-net headers (nic). Pure; works on a
 * private copy of a frame's first bytes. */
#ifndef VSP_FRAME_H
#define VSP_FRAME_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include <vsp/nic.h>
#include <vsp/rndis-wire.h>

#define VSP_ETHERNET 14u
#define VSP_VLAN_TAG 4u
#define VSP_VLAN_TAGS 2u /* that a frame of full length may have beside its MTU */
#define VSP_HEAD 192u /* bytes of a frame that are looked at */

/* Where the headers of a frame are; 0: not there, or not within its first bytes. */
struct vsp_frame {
	bool vlan; /* one tag; tci then */
	uint16_t tci;
	uint16_t ethertype; /* behind the tag */
	uint16_t ip;        /* offset */
	uint8_t version;    /* 4, 6 or 0 */
	uint8_t protocol;   /* behind extension headers */
	bool fragment;
	uint16_t transport; /* offset, at least 4 bytes there; 0 in fragments but the first */
};

/* @len bytes of the frame's beginning. Returns false if that is less than an Ethernet
 * header. */
bool vsp_frame_parse(const uint8_t *head, uint32_t len, struct vsp_frame *frame);

/* Bytes of the tags of such a frame, which the MTU does not count: 802.1Q, or 802.1ad and 802.1Q. */
uint32_t vsp_frame_tags(const uint8_t *head, uint32_t len);

/* RFC 1071: adds bytes to a running sum; @odd is whether an odd number came before. */
uint64_t vsp_sum_add(uint64_t sum, const uint8_t *bytes, size_t len, bool odd);
uint16_t vsp_sum_fold(uint64_t sum); /* not inverted; as it lies in the frame */

/* Prepares a frame of the guest for the nic. @head: its first @head_len bytes, VSP_HEAD or
 * all of it, with VSP_VLAN_TAG bytes of room behind; @frame_len: all of it. Fills @header,
 * corrects lengths and seeds, computes the IPv4 checksum, puts in the tag. Returns the
 * new @head_len, or 0: what the guest asks for does not fit the frame. */
struct vsp_rndis_data;
uint32_t vsp_frame_transmit(const struct vsp_rndis_data *data, uint8_t *head, uint32_t head_len,
			    uint32_t frame_len, struct vsp_vnet_header *header);

/* The other way: a frame of the nic for the guest. */
struct vsp_frame_received {
	uint32_t checksum; /* VSP_CSUM_RX_* */
	bool gso;          /* more than the MTU: RSC, or not at all */
	bool sum_needed;   /* vsp_frame_complete() has to be called */
	uint16_t csum_start, csum_offset;
	bool vlan;
	uint32_t vlan_info; /* VSP_INFO_8021Q */
};

/* Judges @header, which is the nic's and may say anything. @len: of the frame. Returns
 * false if header and frame contradict each other. */
bool vsp_frame_received(const struct vsp_vnet_header *header, const struct vsp_frame *frame,
			uint32_t head_len, uint32_t len, struct vsp_frame_received *out);

/* Fills in the checksum that the nic left undone: csum_start to the frame's end. @rest:
 * what follows the head. */
void vsp_frame_complete(const struct vsp_frame_received *received, uint8_t *head, uint32_t head_len,
			const struct iovec *rest, unsigned int rest_count, uint32_t rest_len);

/* Takes the tag out of @head: what was at 12 begins at 16 now, the addresses before it.
 * Returns where the frame begins: VSP_VLAN_TAG. */
uint32_t vsp_frame_untag(uint8_t *head);

static inline uint16_t vsp_get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline void vsp_put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

#endif
