/* SPDX-License-Identifier: MIT */
/* Receive-side scaling: the Toeplitz hash and the guest's choice of channels. Pure. */
#ifndef VSP_RSS_H
#define VSP_RSS_H

#include <stdbool.h>
#include <stdint.h>

#include <vmbus/cursor.h>
#include <vsp/rndis-wire.h>

#include "frame.h"

struct vsp_rss {
	bool on;
	uint32_t types; /* VSP_RSS_IPV4, ... */
	uint8_t key[VSP_RSS_KEY];
	uint8_t table[VSP_RSS_ENTRIES]; /* channel of hash & 127 */
	/* Toeplitz unrolled: the key's window at each bit of the longest input */
	uint32_t windows[36 * 8];
};

/* Sets the key and what is computed from it. */
void vsp_rss_set_key(struct vsp_rss *rss, const uint8_t key[VSP_RSS_KEY]);

/* OID_GEN_RECEIVE_SCALE_PARAMETERS. Returns an RNDIS status; on failure nothing is
 * changed. */
uint32_t vsp_rss_set(struct vsp_rss *rss, uint32_t max_channels, struct vmbus_cursor in);

uint32_t vsp_rss_toeplitz(const struct vsp_rss *rss, const uint8_t *input, uint32_t len);

/* The hash of a frame whose headers lie in @head. Returns VSP_RSS_TOEPLITZ and what was
 * hashed, VSP_RSS_TCP_IPV4 for instance; 0 if its kind is not hashed: it belongs to
 * channel 0. */
uint32_t vsp_rss_hash(const struct vsp_rss *rss, const uint8_t *head, const struct vsp_frame *frame,
		      uint32_t *hash);

#endif
