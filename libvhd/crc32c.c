/* SPDX-License-Identifier: MIT */
#include "crc32c.h"

#include <pthread.h>
#include <string.h>

static uint32_t table[256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void table_fill(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;

		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
		table[i] = crc;
	}
}

uint32_t vhd_crc32c_plain(uint32_t crc, const void *bytes, size_t size)
{
	const uint8_t *p = bytes;

	pthread_once(&table_once, table_fill);
	crc = ~crc;
	while (size-- > 0)
		crc = crc >> 8 ^ table[(crc ^ *p++) & 0xff];
	return ~crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc_sse(uint32_t crc, const uint8_t *p,
							  size_t size)
{
	uint64_t sum = ~crc;

	for (; size >= 8; size -= 8, p += 8) {
		uint64_t word;

		memcpy(&word, p, sizeof(word));
		sum = __builtin_ia32_crc32di(sum, word);
	}
	while (size-- > 0)
		sum = __builtin_ia32_crc32qi((uint32_t)sum, *p++);
	return ~(uint32_t)sum;
}
#endif

uint32_t vhd_crc32c(uint32_t crc, const void *bytes, size_t size)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2"))
		return crc_sse(crc, bytes, size);
#endif
	return vhd_crc32c_plain(crc, bytes, size);
}

uint32_t vhd_crc32c_structure(const uint8_t *bytes, size_t size)
{
	static const uint8_t zero[4];
	uint32_t crc = vhd_crc32c(0, bytes, 4);

	crc = vhd_crc32c(crc, zero, 4);
	return vhd_crc32c(crc, bytes + 8, size - 8);
}
