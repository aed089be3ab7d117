/* SPDX-License-Identifier: MIT */
/* The guest of a soak: sends frames in every form over any channel, asks for changes. How its
 * bus works, and what it closes and opens, is its owner's. */
#ifndef TEST_SOAK_GUEST_H
#define TEST_SOAK_GUEST_H

#include "soak-flow.h"

#define SOAK_SECTIONS 17u /* of the send buffer, behind the first */
#define SOAK_DIRECTS 3u   /* sends from so many pages, and a section, each */
#define SOAK_DIRECT_PAGES 20u
#define SOAK_PLACES (SOAK_SECTIONS + SOAK_DIRECTS)

enum soak_asked { SOAK_NOTHING, SOAK_TABLE, SOAK_NO_RSS, SOAK_OFFLOADS, SOAK_FILTER, SOAK_COUNTER,
		 SOAK_ASKED };

struct soak_guest {
	/* the owner's */
	uint64_t random; /* not 0 */
	struct vsp_netvsc *vsc[SOAK_CHANNELS];
	uint8_t *pages; /* SOAK_DIRECTS * SOAK_DIRECT_PAGES of them in a row, and their numbers */
	const uint64_t *pfns;
	void (*signal)(void *opaque, uint32_t channel);
	void *opaque;

	struct soak_flows in;
	struct soak_out out[SOAK_CHANNELS];
	struct soak_place {
		uint32_t frames, channel; /* frames: 0: nothing is under way */
		bool answered;
	} places[SOAK_PLACES];
	enum soak_asked asked;
	bool filtered;
	uint64_t refused; /* packets, since soak_losses() */
	uint32_t next[VSP_RSS_ENTRIES]; /* the table asked for */
	/* since the start */
	uint64_t sent, lost; /* frames; lost with what was closed */
	uint32_t tables;
	struct soak_frame frame;
};

uint32_t soak_below(struct soak_guest *g, uint32_t n);

/* One packet, if there is room. */
void soak_send(struct soak_guest *g);
/* For vsp_netvsc_ops.sent; @user is the place. */
void soak_sent(struct soak_guest *g, void *user, uint32_t status);
bool soak_all_answered(const struct soak_guest *g);

/* Asks for something, if nothing is under way. */
void soak_ask(struct soak_guest *g);
/* For vsp_netvsc_ops.answered, when all frames that came before were looked at. */
void soak_answered(struct soak_guest *g, uint32_t status);

/* These channels went, or their buffers, with all that was in flight: at most that is missing of
 * what was sent there. All that reached the nic was looked at. */
void soak_losses(struct soak_guest *g, uint32_t closed);
/* The adapter is as new. */
void soak_session(struct soak_guest *g);

#endif
