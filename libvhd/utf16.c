/* SPDX-License-Identifier: MIT */
#include "utf16.h"

#include <stdlib.h>

enum { SURROGATE = 0xd800, SURROGATE_LOW = 0xdc00, SURROGATE_END = 0xe000 };

static uint32_t unit_get(const uint8_t *p, enum utf16_order order)
{
	return order == UTF16_LE ? (uint32_t)p[1] << 8 | p[0] : (uint32_t)p[0] << 8 | p[1];
}

static void unit_put(uint8_t *p, uint32_t unit, enum utf16_order order)
{
	p[order == UTF16_LE ? 0 : 1] = (uint8_t)unit;
	p[order == UTF16_LE ? 1 : 0] = (uint8_t)(unit >> 8);
}

/* The code point at p[0..size-1] and how many bytes it takes; 0 for a broken pair. */
static size_t point_get16(const uint8_t *p, size_t size, enum utf16_order order, uint32_t *point)
{
	uint32_t high = unit_get(p, order), low;

	*point = high;
	if (high < SURROGATE || high >= SURROGATE_END)
		return 2;
	if (high >= SURROGATE_LOW || size < 4)
		return 0;
	low = unit_get(p + 2, order);
	if (low < SURROGATE_LOW || low >= SURROGATE_END)
		return 0;
	*point = 0x10000 + ((high - SURROGATE) << 10) + (low - SURROGATE_LOW);
	return 4;
}

static size_t point_put8(char *out, uint32_t point)
{
	static const uint8_t lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	size_t n = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;

	for (size_t i = n; i-- > 1; point >>= 6)
		out[i] = (char)(0x80 | (point & 0x3f));
	out[0] = (char)(lead[n] | point);
	return n;
}

char *vhd_utf16_decode(const uint8_t *bytes, size_t size, enum utf16_order order)
{
	/* Two bytes become at most three, four become four. */
	char *text = malloc(size / 2 * 3 + 1);
	size_t used = 0, step;
	uint32_t point;

	if (!text)
		return NULL;
	for (size_t at = 0; at + 2 <= size; at += step) {
		step = point_get16(bytes + at, size - at, order, &point);
		if (step == 0) {
			free(text);
			return NULL;
		}
		if (point == 0)
			break;
		used += point_put8(text + used, point);
	}
	text[used] = '\0';
	if (used > 0)
		return text;
	free(text);
	return NULL;
}

/* The code point at @p of zero-terminated UTF-8 and its length; 0 when it is none. */
static size_t point_get8(const uint8_t *p, uint32_t *point)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = p[0] < 0x80	     ? 1
		   : p[0] >> 5 == 6  ? 2
		   : p[0] >> 4 == 14 ? 3
		   : p[0] >> 3 == 30 ? 4
				     : 0;

	if (n == 0)
		return 0;
	*point = n == 1 ? p[0] : p[0] & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		*point = *point << 6 | (p[i] & 0x3f);
	}
	if (*point < least[n] || *point > 0x10ffff ||
	    (*point >= SURROGATE && *point < SURROGATE_END))
		return 0;
	return n;
}

size_t vhd_utf16_encode(const char *text, uint8_t *bytes, size_t size, enum utf16_order order)
{
	const uint8_t *p = (const uint8_t *)text;
	size_t used = 0, step;
	uint32_t point;

	for (; *p; p += step) {
		size_t need;

		step = point_get8(p, &point);
		if (step == 0)
			return 0;
		need = point < 0x10000 ? 2 : 4;
		if (size - used < need)
			return 0;
		if (need == 4) {
			point -= 0x10000;
			unit_put(bytes + used, SURROGATE + (point >> 10), order);
			point = SURROGATE_LOW + (point & 0x3ff);
			used += 2;
		}
		unit_put(bytes + used, point, order);
		used += 2;
	}
	return used;
}
