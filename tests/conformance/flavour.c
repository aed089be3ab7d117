/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flavour.h"

#define V(version) VMBUS_##version

const struct flavour flavours[FLAVOURS] = {
	{.name = "linux-6.1", .newest = V(V5_3), .oldest = V(V2_4), .ring_pages = 32},
	{.name = "linux-4.19", .newest = V(V5_0), .oldest = V(V0_13), .ring_pages = 32},
	{.name = "linux-4.14", .newest = V(V4_0), .oldest = V(V0_13), .ring_pages = 32},
	{.name = "freebsd", .newest = V(V4_0), .oldest = V(V0_13), .ring_pages = 20},
	{.name = "windows",
	 .newest = V(V6_0),
	 .oldest = V(V2_4),
	 .ring_pages = 16,
	 .features = VMBUS_FEATURE_GUEST_SIGNALS | VMBUS_FEATURE_CLIENT_ID,
	 .flags = VMBUS_INPROC_PAD_MESSAGES},
	{.name = "uefi",
	 .newest = V(V6_0),
	 .oldest = V(V6_0),
	 .then = V(V3_0),
	 .ring_pages = 5,
	 .features = VMBUS_FEATURE_CLIENT_ID,
	 .flags = VMBUS_INPROC_PAD_MESSAGES | VMBUS_INPROC_CONNECTION_1 | VMBUS_INPROC_PAGED,
	 .never_releases = true,
	 .never_modifies = true},
	{.name = "old-2.4", .newest = V(V2_4), .oldest = V(V2_4), .ring_pages = 8},
	{.name = "old-1.1", .newest = V(V1_1), .oldest = V(V1_1), .ring_pages = 8},
	{.name = "old-0.13",
	 .newest = V(V0_13),
	 .oldest = V(V0_13),
	 .ring_pages = 8,
	 .flags = VMBUS_INPROC_DIRECT},
};

struct vmbus_inproc_config flavour_config(const struct flavour *flavour, uint64_t seed)
{
	struct vmbus_inproc_config config = VMBUS_INPROC_CONFIG_INIT;

	config.seed = seed;
	config.memory = 2u << 20;
	config.vp_count = 1 + (uint32_t)(seed % 4);
	config.threads = 1 + (uint32_t)(seed / 4 % 3);
	config.flags = flavour->flags;
	config.push_back = seed % 3 == 0 ? 60 : 0;
	config.slot_busy = seed % 5 == 0 ? 40 : 0;
	config.spurious = seed % 7 == 0 ? 16 : 0;
	config.server.paged_rings = seed % 2;
	/* sometimes next to no room for answers */
	config.server.max_messages = seed % 11 == 0 ? 2 : 64;
	config.guest.max_version = flavour->newest;
	config.guest.min_version = flavour->oldest;
	config.guest.features = flavour->features;
	config.guest.target_vp = (uint32_t)(seed / 8) % config.vp_count;
	config.guest.monitor_page = 0x200000;
	return config;
}

int flavour_connect(const struct flavour *flavour, struct vmbus_inproc *bus)
{
	int err = vmbus_inproc_connect(bus);

	if (err != -EAGAIN || !flavour->then ||
	    vmbus_inproc_guest(bus)->state != VMBUS_GUEST_DISCONNECTED)
		return err;
	vmbus_inproc_guest(bus)->config.max_version = flavour->then;
	vmbus_inproc_guest(bus)->config.min_version = flavour->then;
	return vmbus_inproc_connect(bus);
}

uint32_t flavour_version(const struct flavour *flavour, uint32_t host_version)
{
	static const uint32_t versions[] = {
#define X(constant, major, minor, host) VMBUS_##constant,
		VMBUS_VERSIONS(X)
#undef X
	};
	uint32_t best = 0;

	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++)
		if (versions[i] <= host_version && versions[i] <= flavour->newest &&
		    versions[i] >= flavour->oldest)
			best = versions[i];
	if (!best && flavour->then <= host_version)
		best = flavour->then;
	return best;
}

/* -- Seeds ---------------------------------------------------------------- */

struct seeds seeds_of(uint32_t usual)
{
	const char *one = getenv("VMBUS_SEED"), *percent = getenv("VMBUS_SEEDS");
	struct seeds seeds = {.next = 1, .end = 1 + usual};

	if (percent)
		seeds.end = 1 + usual * strtoull(percent, NULL, 0) / 100;
	if (one) {
		seeds.next = strtoull(one, NULL, 0);
		seeds.end = seeds.next + 1;
		seeds.traced = true;
	}
	return seeds;
}

static void line_print(void *user, const char *line)
{
	(void)user;
	(void)fprintf(stderr, "%s\n", line);
}

struct vmbus_inproc *bus_new(struct vmbus_inproc_config *config, const struct seeds *seeds)
{
	struct vmbus_inproc *bus;
	int err;

	if (seeds->traced)
		config->trace = line_print;
	err = vmbus_inproc_new(config, &bus);
	if (err) {
		(void)fprintf(stderr, "no bus: %s\n", strerror(-err));
		abort();
	}
	return bus;
}

bool bus_report(struct vmbus_inproc *bus, uint64_t seed, const char *script, const char *flavour,
		int err)
{
	const char *violation;

	if (!err)
		err = vmbus_inproc_finish(bus);
	violation = vmbus_inproc_violation(bus);
	if (!err && !violation)
		return true;
	(void)fprintf(stderr, "%s, %s, VMBUS_SEED=%llu: %s (%s)\n", script, flavour,
		      (unsigned long long)seed, violation ? violation : "the script came to no end",
		      strerror(-err));
	return false;
}

bool bus_end(struct vmbus_inproc *bus, uint64_t seed, const char *script, const char *flavour,
	     int err)
{
	bool good = bus_report(bus, seed, script, flavour, err);

	vmbus_inproc_free(bus);
	return good;
}
