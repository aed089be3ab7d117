/* SPDX-License-Identifier: MIT */
/* A histogram of latencies: 16 steps per power of two (6 % wide), any 64-bit value. */
#ifndef LIB_HIST_H
#define LIB_HIST_H

#include <stdint.h>

#define HIST_STEP_BITS 4u
#define HIST_STEPS (1u << HIST_STEP_BITS)
#define HIST_BINS ((64u - HIST_STEP_BITS + 1u) * HIST_STEPS)

struct hist { /* zeroed: empty */
	uint64_t bins[HIST_BINS];
	uint64_t count, max;
};

/* Values below HIST_STEPS have a bin each; above, the leading bit picks the power and the
 * bits behind it the step. */
static inline unsigned int hist_bin(uint64_t value)
{
	unsigned int shift;

	if (value < HIST_STEPS)
		return (unsigned int)value;
	shift = 63u - (unsigned int)__builtin_clzll(value) - HIST_STEP_BITS;
	return (shift + 1) * HIST_STEPS + (unsigned int)(value >> shift) % HIST_STEPS;
}

/* The middle of a bin. */
static inline uint64_t hist_value(unsigned int bin)
{
	unsigned int shift;

	if (bin < 2 * HIST_STEPS)
		return bin;
	shift = bin / HIST_STEPS - 1;
	return ((uint64_t)(HIST_STEPS + bin % HIST_STEPS) << shift) + (1ull << shift) / 2;
}

static inline void hist_add(struct hist *hist, uint64_t value)
{
	hist->bins[hist_bin(value)]++;
	hist->count++;
	if (value > hist->max)
		hist->max = value;
}

/* The value that @per_mille of a thousand stay at or below; 0 if there are none. */
static inline uint64_t hist_quantile(const struct hist *hist, unsigned int per_mille)
{
	uint64_t want = hist->count / 1000 * per_mille + hist->count % 1000 * per_mille / 1000;
	uint64_t seen = 0;

	for (unsigned int i = 0; i < HIST_BINS; i++) {
		seen += hist->bins[i];
		if (seen > want || (seen && seen == hist->count))
			return hist_value(i) < hist->max ? hist_value(i) : hist->max;
	}
	return 0;
}
#endif
