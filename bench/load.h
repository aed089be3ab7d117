/* SPDX-License-Identifier: MIT */
/* What the storage benchmarks' clients share: random places, the clock, and the figures as
 * JSON. Like vmbus-loopback's bench: the clock is read once a batch. */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hist.h"

#define LOAD_BYTES 4096u
#define LOAD_DEPTH_MAX 128u
#define LOAD_WARM_NS 100000000u

struct load {
	bool write;
	uint32_t depth;
	double seconds;
	uint64_t places, seed;
	uint64_t now, end, start, started[LOAD_DEPTH_MAX];
	uint64_t done, cpu_start;
	uint64_t signals_out, signals_in;
	bool warm;
	struct hist hist;
};

static inline uint64_t load_clock(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t load_place(struct load *l) /* in bytes */
{
	l->seed ^= l->seed << 13;
	l->seed ^= l->seed >> 7;
	l->seed ^= l->seed << 17;
	return l->seed % l->places * LOAD_BYTES;
}

/* read|write DEPTH SECONDS BYTES, of a disk of so many bytes. Exits if that is not what stands
 * there. */
static inline void load_begin(struct load *l, char **words)
{
	memset(l, 0, sizeof(*l));
	l->write = strcmp(words[0], "write") == 0;
	l->depth = (uint32_t)atoi(words[1]);
	l->seconds = atof(words[2]);
	l->places = strtoull(words[3], NULL, 10) / LOAD_BYTES;
	l->seed = 0x9e3779b97f4a7c15u;
	if (l->depth < 1 || l->depth > LOAD_DEPTH_MAX || l->seconds <= 0 || !l->places) {
		fprintf(stderr, "read|write DEPTH SECONDS BYTES\n");
		exit(2);
	}
	l->now = load_clock(CLOCK_MONOTONIC);
	l->end = l->now + LOAD_WARM_NS;
}

/* After a batch. Returns whether more is to be started. */
static inline bool load_going(struct load *l)
{
	l->now = load_clock(CLOCK_MONOTONIC);
	if (l->now < l->end)
		return true;
	if (l->warm)
		return false;
	l->warm = true;
	l->start = l->now;
	l->end = l->now + (uint64_t)(l->seconds * 1e9);
	l->done = l->signals_out = l->signals_in = 0;
	memset(&l->hist, 0, sizeof(l->hist));
	l->cpu_start = load_clock(CLOCK_PROCESS_CPUTIME_ID);
	return true;
}

static inline void load_done(struct load *l, uint32_t slot)
{
	hist_add(&l->hist, l->now - l->started[slot]);
	l->done++;
}

static inline void load_report(const struct load *l)
{
	double n = (double)l->done, cpu = (double)(load_clock(CLOCK_PROCESS_CPUTIME_ID) - l->cpu_start);

	printf("{\"iops\": %.1f, \"ios\": %.0f, \"p50_us\": %.3f, \"cpu_us_per_io\": %.3f, "
	       "\"doorbells_per_io\": %.5f, \"interrupts_per_io\": %.5f}\n",
	       n / ((double)(l->now - l->start) / 1e9), n, (double)hist_quantile(&l->hist, 500) / 1000,
	       cpu / 1000 / n, (double)l->signals_out / n, (double)l->signals_in / n);
}

#endif
