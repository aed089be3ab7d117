/* SPDX-License-Identifier: MIT */
/* The books of a soak: what was sent in each direction, and whether what arrives may arrive now.
 *
 * To the guest: each frame once and whole; on one channel always in order; over all of them in
 * order, and on the channel of the table, while the table and the channels do not change.
 * To the nic: in order, queue by queue. */
#ifndef TEST_SOAK_FLOW_H
#define TEST_SOAK_FLOW_H

#include <stdio.h>
#include <stdlib.h>

#include "soak-frame.h"

#define SOAK_CHANNELS 8u
#define SOAK_UNDER_WAY 128u /* of a flow */
#define SOAK_UNTAKEN 1024u  /* of a channel of the guest's */
#define SOAK_ALL 0xffffffffu

#define SOAK_CHECK(condition, ...)                                                         \
	do {                                                                               \
		if (!(condition)) {                                                        \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);    \
			fprintf(stderr, __VA_ARGS__);                                      \
			fprintf(stderr, "\n");                                             \
			abort();                                                           \
		}                                                                          \
	} while (0)

struct soak_flow {
	struct soak_expected frames[SOAK_UNDER_WAY];
	uint64_t put, first, highest; /* numbers; first: that may still come */
	uint64_t stable;              /* since the table is this */
	uint64_t excused;             /* up to here some may have been on what was closed rudely */
	uint64_t last[SOAK_CHANNELS];
	bool hashed;
	uint32_t hash;
	uint32_t touched; /* channels that its frames under way may be on, as bits */
};

struct soak_flows {
	uint32_t channels, open; /* open: as bits */
	bool changing, rss;
	uint32_t table[VSP_RSS_ENTRIES];
	struct soak_flow flows[SOAK_CHANNELS * SOAK_FLOWS];
	uint64_t put, moved; /* since the start; moved: frames that overtook others in a change */
	uint64_t counted;    /* by the host, of those that have not come */
};

uint32_t soak_flow_count(const struct soak_flows *s);
/* Whether flow @flow may have one more frame under way; then notes that it has. */
bool soak_flow_room(const struct soak_flows *s, uint32_t flow);
void soak_flow_put(struct soak_flows *s, uint32_t flow, const struct soak_expected *e);

/* Between these two frames may overtake each other. s->open, rss and table change there. */
void soak_change_begin(struct soak_flows *s);
void soak_change_end(struct soak_flows *s);
bool soak_all_open(const struct soak_flows *s);

struct soak_arrival { /* at the guest */
	const uint8_t *bytes; /* SOAK_HEAD of them, or all */
	uint32_t len, channel, vlan, hash;
	uint64_t sum;
	bool coalesced, has_vlan, has_hash;
};
void soak_arrived(struct soak_flows *s, const struct soak_arrival *a);

/* These channels were closed with all that was in flight on them. */
void soak_flows_excuse(struct soak_flows *s, uint32_t closed);
/* All that could arrive has: what else was under way is lost, and excused or among the @counted
 * frames that the host refused since the start. */
void soak_flows_settle(struct soak_flows *s, uint64_t counted);

struct soak_out { /* a channel and queue to the nic */
	struct soak_expected frames[SOAK_UNTAKEN];
	uint64_t put, seen;
};
bool soak_out_room(const struct soak_out *o, uint32_t count);
struct soak_expected *soak_out_put(struct soak_out *o);
void soak_taken(struct soak_out *o, const uint8_t *bytes, uint32_t len,
		const struct vsp_vnet_header *h);

#endif
