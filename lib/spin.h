/* SPDX-License-Identifier: MIT */
/* When to spin before sleeping, and for how long. A wake-up across cores costs as
 * much as sixty reads, so a short spin pays while the peer is busy; while it idles,
 * or has to run on this very core, spinning is waste. Waste is paid out of a credit:
 * a spin that found something fills it up, a spin in vain draws on it, and time
 * refills it slowly. So a steady stream is always spun for, and an idle peer costs
 * at most one part in SPIN_SHARE of a core. */
#ifndef LIB_SPIN_H
#define LIB_SPIN_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#define SPIN_SHARE 20u  /* of the time, in vain, in the long run */
#define SPIN_BURST 8u   /* spins in vain before the share counts */
#define SPIN_STRIDE 16u /* looks at memory between looks at the clock */

struct spin {
	uint64_t limit_ns; /* of one spin; 0: never */
	uint64_t credit_ns;
	uint64_t seen_ns; /* when the credit was last brought up to date */
};

static inline uint64_t spin_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static inline void spin_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* On one CPU the peer cannot run while we spin. */
static inline void spin_init(struct spin *spin, uint32_t limit_us)
{
	bool alone = sysconf(_SC_NPROCESSORS_ONLN) <= 1;

	spin->limit_ns = alone ? 0 : (uint64_t)limit_us * 1000u;
	spin->credit_ns = spin->limit_ns * SPIN_BURST;
	spin->seen_ns = spin_clock();
}

/* Returns until when to spin, or 0: sleep at once. */
static inline uint64_t spin_begin(struct spin *spin, uint64_t now)
{
	uint64_t full = spin->limit_ns * SPIN_BURST;

	spin->credit_ns += (now - spin->seen_ns) / SPIN_SHARE;
	if (spin->credit_ns > full)
		spin->credit_ns = full;
	spin->seen_ns = now;
	return spin->limit_ns && spin->credit_ns >= spin->limit_ns ? now + spin->limit_ns : 0;
}

/* A find long after the limit is none: we were preempted, maybe for the peer. */
static inline void spin_end(struct spin *spin, uint64_t start, uint64_t now, bool found)
{
	uint64_t spent = now - start;

	if (found && spent <= spin->limit_ns)
		spin->credit_ns = spin->limit_ns * SPIN_BURST;
	else
		spin->credit_ns -= spent < spin->credit_ns ? spent : spin->credit_ns;
	spin->seen_ns = now;
}
#endif
