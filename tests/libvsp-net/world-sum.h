/* SPDX-License-Identifier: MIT */
/* What a frame is told by: FNV-1a of its bytes, piece by piece. */
#ifndef TEST_WORLD_SUM_H
#define TEST_WORLD_SUM_H

#include <stdint.h>

static inline uint64_t world_sum(uint64_t sum, const uint8_t *bytes, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		sum = (sum ^ bytes[i]) * 0x100000001b3ull;
	return sum;
}

#endif
