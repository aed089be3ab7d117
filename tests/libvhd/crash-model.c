/* SPDX-License-Identifier: MIT */
#include "crash-model.h"

bool crash_history_add(struct crash_history *h, uint64_t value, int now)
{
	if (h->count == CRASH_VERSIONS)
		return false;
	h->version[h->count++] = (struct crash_version){ value, now, CRASH_NEVER, false };
	return true;
}

void crash_history_done(struct crash_history *h)
{
	h->version[h->count - 1].done = true;
}

unsigned crash_history_covered(const struct crash_history *h)
{
	unsigned n = 0;

	while (n < h->count && h->version[n].done)
		n++;
	return n;
}

void crash_history_confirm(struct crash_history *h, unsigned covered, int now)
{
	for (unsigned i = 0; i < covered; i++)
		if (h->version[i].durable == CRASH_NEVER)
			h->version[i].durable = now;
}

uint64_t crash_history_last(const struct crash_history *h)
{
	return h->version[h->count - 1].value;
}

bool crash_history_allows(const struct crash_history *h, int point, uint64_t value)
{
	bool found = false;

	for (unsigned i = 0; i < h->count && h->version[i].submitted <= point; i++) {
		if (h->version[i].durable <= point)
			found = false; /* nothing older may be seen */
		found |= h->version[i].value == value;
	}
	return found;
}

uint64_t crash_sector_place(const struct crash_model *m, unsigned sector)
{
	return m->group_place[sector / CRASH_GROUP] + sector % CRASH_GROUP * UINT64_C(512);
}

unsigned crash_sectors(const struct crash_model *m, uint64_t size)
{
	unsigned n = 0;

	while (n < CRASH_SECTORS && crash_sector_place(m, n) + 512 <= size)
		n++;
	return n;
}
