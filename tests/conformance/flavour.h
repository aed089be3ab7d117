/* SPDX-License-Identifier: MIT */
/* Guests as they are found in the field: which versions they try, and their ways where
 * they differ (protocol versions as in Linux' drivers/hv, FreeBSD's sys/dev/hyperv, and
 * Microsoft's UEFI). */
#ifndef CONFORMANCE_FLAVOUR_H
#define CONFORMANCE_FLAVOUR_H

#include <vmbus/inproc.h>

struct flavour {
	const char *name;
	uint32_t newest, oldest;
	uint32_t then; /* UEFI: nothing in between, this next; 0: none */
	uint32_t features;
	uint32_t flags;      /* VMBUS_INPROC_* */
	uint32_t ring_pages; /* each direction */
	bool never_releases; /* no RELID_RELEASED */
	bool never_modifies;
};
#define FLAVOURS 9u
extern const struct flavour flavours[FLAVOURS];

/* A fixture with this guest; the rest is chosen by the seed: VPs, threads, slow guests,
 * hosts that push back. */
struct vmbus_inproc_config flavour_config(const struct flavour *flavour, uint64_t seed);

/* Connects as the flavour does, to a host of at most @host_version. */
int flavour_connect(const struct flavour *flavour, struct vmbus_inproc *bus);

/* The version that comes of it; 0: none. */
uint32_t flavour_version(const struct flavour *flavour, uint32_t host_version);

/* -- Seeds ---------------------------------------------------------------- */

/* How many seeds a test runs: @usual, scaled by VMBUS_SEEDS percent; with VMBUS_SEED=n only
 * that one, and with every step on stderr. */
struct seeds {
	uint64_t next, end;
	bool traced;
};
struct seeds seeds_of(uint32_t usual);

/* Makes the bus, and stops the test if that fails. */
struct vmbus_inproc *bus_new(struct vmbus_inproc_config *config, const struct seeds *seeds);
/* The script is over: looks at the end. @err is the script's own; false, with the violation
 * on stderr, if anything was wrong. _end frees as well. */
bool bus_report(struct vmbus_inproc *bus, uint64_t seed, const char *script, const char *flavour,
		int err);
bool bus_end(struct vmbus_inproc *bus, uint64_t seed, const char *script, const char *flavour,
	     int err);

#endif
