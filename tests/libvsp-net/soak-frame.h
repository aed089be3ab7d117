/* SPDX-License-Identifier: MIT */
/* Frames for soaks: of random kinds and lengths, each with its flow and number in it, so that
 * whoever gets one can tell which it is, and by a hash whether it is whole. */
#ifndef TEST_SOAK_FRAME_H
#define TEST_SOAK_FRAME_H

#include <vsp/netvsc.h>

#include "world-sum.h"

#define SOAK_FLOWS 16u /* of each queue: flow n belongs to queue n / 16 */
#define SOAK_HEAD 96u  /* flow and number are in the first bytes */

struct soak_kind {
	bool v6, tcp; /* the flow's: a flow keeps its hash */
	bool csum, tso, tagged;
	uint32_t at, transport; /* of IP, of TCP or UDP, from the frame's first byte */
};

struct soak_frame {
	struct soak_kind kind;
	uint32_t flow, len;
	uint64_t number;
	struct vsp_vnet_header header;
	uint8_t bytes[VSP_NIC_FRAME_MAX + 8];
};

/* How a frame arrives. */
struct soak_expected {
	uint64_t sum;  /* whole; at a guest: with its checksums done, without tag */
	uint64_t seed; /* at a guest that may be given segments in one: as it was sent */
	uint32_t len;
	struct vsp_vnet_header header;
	bool tagged, seen;
};

uint32_t soak_random(uint64_t *state, uint32_t below);

/* Makes frame @number of @flow, of a random kind and a length that suits @mtu; at most @most
 * bytes. */
void soak_frame_make(struct soak_frame *f, uint64_t *random, uint32_t flow, uint64_t number,
		     bool tso, uint32_t mtu, uint32_t most);
/* Which one it is, from its first bytes, without tag if it had one. False: none of these. */
bool soak_frame_read(const uint8_t *bytes, uint32_t len, uint32_t *flow, uint64_t *number);

/* What a guest gets of a frame that was put in at the far end. Spoils the frame. */
struct soak_expected soak_to_guest(struct soak_frame *f);
/* The other way: the RNDIS message of a guest, header in @head, the frame behind it from
 * @bytes on (@len bytes). Returns the header's length. Spoils the frame. */
uint32_t soak_from_guest(struct soak_frame *f, struct soak_expected *e,
			 uint8_t head[VSP_NETVSC_HEADER_MAX], const uint8_t **bytes, uint32_t *len);
#define SOAK_VLAN (0x2au << 4 | 3u) /* the tag of all that are tagged, as VSP_INFO_8021Q has it */

#endif
