/* SPDX-License-Identifier: MIT */
#include "space.h"

#include <errno.h>
#include <stdlib.h>

enum { FIXED_MAX = 4096 };

static int space_compare(const void *a, const void *b)
{
	const struct space *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

int vhd_spaces_init(struct spaces *s, const struct vhd_layer *layer)
{
	size_t used = FIXED_MAX;

	for (uint32_t i = 0; i < layer->blocks; i++)
		used += atomic_load_explicit(&layer->map[i], memory_order_relaxed) != MAP_NONE;
	*s = (struct spaces){ calloc(used, sizeof(*s->all)), 0, used };
	if (!s->all)
		return -ENOMEM;
	layer->ops->spaces(layer, s);
	qsort(s->all, s->count, sizeof(*s->all), space_compare);
	return 0;
}

void vhd_spaces_fini(struct spaces *s)
{
	free(s->all);
}

void vhd_spaces_add(struct spaces *s, uint64_t start, uint64_t end, uint32_t block)
{
	if (s->count < s->room && start < end)
		s->all[s->count++] = (struct space){ start, end, block };
}
