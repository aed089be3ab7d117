/* SPDX-License-Identifier: MIT */
/* What may be on a disk after a power cut: each sector's values and the disk's sizes, and
 * from when to when (in lengths of the log) each of them may or must be seen. */
#ifndef TESTS_LIBVHD_CRASH_MODEL_H
#define TESTS_LIBVHD_CRASH_MODEL_H

#include <stdbool.h>
#include <stdint.h>

enum {
	CRASH_GROUP = 20, /* neighbouring sectors */
	CRASH_GROUPS = 8, /* of them, each where group_place says */
	CRASH_SECTORS = CRASH_GROUP * CRASH_GROUPS,
	CRASH_VERSIONS = 64,
	CRASH_NEVER = 1 << 30,
};

struct crash_version {
	uint64_t value; /* a sector's: what it is filled with, 0: zeros */
	int submitted;
	int durable;
	bool done;
};

struct crash_history {
	struct crash_version version[CRASH_VERSIONS];
	unsigned count;
};

struct crash_model {
	uint64_t group_place[CRASH_GROUPS]; /* on the disk, bytes */
	struct crash_history sector[CRASH_SECTORS];
	struct crash_history size;
};

/* @value may be seen from now on. False: too many. */
bool crash_history_add(struct crash_history *h, uint64_t value, int now);
/* The last one added is done: a flush that is submitted later confirms it. */
void crash_history_done(struct crash_history *h);
/* How many a flush that is submitted now confirms, and its end. */
unsigned crash_history_covered(const struct crash_history *h);
void crash_history_confirm(struct crash_history *h, unsigned covered, int now);
uint64_t crash_history_last(const struct crash_history *h);

/* May @value be seen after a cut when the log was @point long? */
bool crash_history_allows(const struct crash_history *h, int point, uint64_t value);

uint64_t crash_sector_place(const struct crash_model *m, unsigned sector);
/* How many of the sectors a disk of @size has: the first so many. */
unsigned crash_sectors(const struct crash_model *m, uint64_t size);

#endif
