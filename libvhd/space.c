/* SPDX-License-Identifier: MIT */
#include "space.h"

#include <errno.h>
#include <stdlib.h>

#include "bytes.h"

enum { FIRST_ROOM = 64 };

static int space_compare(const void *a, const void *b)
{
	const struct space *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

int vhd_spaces_init(struct spaces *s, const struct vhd_layer *layer)
{
	*s = (struct spaces){ .failed = false };
	layer->ops->spaces(layer, s);
	if (!s->failed)
		qsort(s->all, s->count, sizeof(*s->all), space_compare);
	return s->failed ? -ENOMEM : 0;
}

void vhd_spaces_fini(struct spaces *s)
{
	free(s->all);
}

void vhd_spaces_add(struct spaces *s, uint64_t start, uint64_t end, uint32_t block)
{
	if (s->count == s->room) {
		size_t room = s->room ? 2 * s->room : FIRST_ROOM;
		struct space *all = realloc(s->all, room * sizeof(*all));

		s->failed |= !all;
		if (!all)
			return;
		s->all = all;
		s->room = room;
	}
	if (start < end)
		s->all[s->count++] = (struct space){ start, end, block };
}

int vhd_spaces_end(const struct vhd_layer *layer, uint64_t *end)
{
	struct spaces s;
	int ret = vhd_spaces_init(&s, layer);

	if (!ret)
		*end = 0;
	for (size_t i = 0; !ret && i < s.count; i++)
		*end = max_u64(*end, s.all[i].end);
	vhd_spaces_fini(&s);
	return ret;
}
