/* SPDX-License-Identifier: MIT */
/* Do the blocks of a VHDX lie where they may? */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bytes.h"
#include "vhdx-format.h"

static bool entry_is_bitmap(const struct vhdx_disk *d, uint64_t index)
{
	return index % (d->chunk_ratio + 1) == d->chunk_ratio;
}

static int entry_fail(uint64_t index, uint64_t entry, const char *expected, struct vhd_error *err)
{
	return vhd_fail(err, VHD_FAULT_BAT_ENTRY,
			"table: entry %" PRIu64 " is 0x%016" PRIx64 ", expected %s", index, entry,
			expected);
}

/* Is the entry's state one that may stand there, and does it own space? */
static int entry_check_state(const struct vhdx_disk *d, uint64_t index, uint64_t entry, bool *owns,
			     struct vhd_error *err)
{
	uint64_t state = entry & VHDX_STATE_MASK;

	if (entry & (VHDX_MIB - 1) & ~(uint64_t)VHDX_STATE_MASK)
		return entry_fail(index, entry, "its reserved bits to be zero", err);
	*owns = state == VHDX_PRESENT || state == VHDX_PARTIAL;
	if (entry_is_bitmap(d, index)) {
		if (state != VHDX_NOT_PRESENT && !(state == VHDX_PRESENT && d->has_parent))
			return entry_fail(index, entry, "a sector bitmap's state", err);
		return 0;
	}
	if (state == 4 || state == 5)
		return entry_fail(index, entry, "a block's state", err);
	if (state == VHDX_PARTIAL && !d->has_parent)
		return entry_fail(index, entry, "no partly present block without a parent", err);
	/* Trimmed blocks may keep their space. */
	*owns |= (state == VHDX_UNDEFINED || state == VHDX_UNMAPPED) && entry >= VHDX_MIB;
	return 0;
}

static int space_compare(const void *a, const void *b)
{
	const struct vhdx_space *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

static const char *owner_text(uint64_t owner, char *buf, size_t length)
{
	if (owner == VHDX_OWNER_HEADERS)
		return "the headers";
	if (owner == VHDX_OWNER_LOG)
		return "the log";
	if (owner == VHDX_OWNER_REGION)
		return "a region";
	snprintf(buf, length, "table entry %" PRIu64, owner);
	return buf;
}

/* Of the sorted spaces, the one at @i against the one before it. */
static int space_check(const struct vhdx_space *spaces, size_t i, struct vhd_error *err)
{
	char a[40], b[40];

	if (spaces[i].start >= spaces[i - 1].end)
		return 0;
	return vhd_fail(err, VHD_FAULT_BAT_OVERLAP,
			"%s at %" PRIu64 " MiB lies over %s at %" PRIu64 " to %" PRIu64 " MiB",
			owner_text(spaces[i].owner, a, sizeof(a)), spaces[i].start,
			owner_text(spaces[i - 1].owner, b, sizeof(b)), spaces[i - 1].start,
			spaces[i - 1].end);
}

/* 2.5.1.1: a chunk with a partly present block has its bitmap. */
static int chunk_check(const struct vhdx_disk *d, const uint64_t *table, uint64_t index,
		       struct vhd_error *err)
{
	uint64_t entry = le64toh(table[index]);
	uint64_t bitmap = vhdx_bitmap_index(d, index / (d->chunk_ratio + 1));

	if ((entry & VHDX_STATE_MASK) != VHDX_PARTIAL || entry_is_bitmap(d, index) ||
	    (le64toh(table[bitmap]) & VHDX_STATE_MASK) == VHDX_PRESENT)
		return 0;
	return entry_fail(index, entry, "a sector bitmap for a partly present block", err);
}

/* One entry by itself; if it owns space, that is put into *@space. */
static int entry_check(const struct vhdx_disk *d, const uint64_t *table, uint64_t index,
		       uint64_t file_size, struct vhdx_space *space, bool *owns,
		       struct vhd_error *err)
{
	uint64_t entry = le64toh(table[index]);
	uint64_t offset = round_down(entry, VHDX_MIB);
	uint64_t size = entry_is_bitmap(d, index) ? VHDX_BITMAP_SIZE : d->block_size;
	int ret;

	*owns = false;
	ret = entry_check_state(d, index, entry, owns, err);
	if (!ret)
		ret = chunk_check(d, table, index, err);
	*owns &= !ret;
	if (!*owns)
		return ret;
	*space = (struct vhdx_space){ offset / VHDX_MIB, (offset + size) / VHDX_MIB, index };
	if (offset >= VHDX_MIB && offset <= file_size && file_size - offset >= size)
		return 0;
	*owns = false;
	return vhd_fail(err, VHD_FAULT_BAT_ENTRY,
			"table: entry %" PRIu64 " has %" PRIu64 " bytes at %" PRIu64
			", expected them behind the first MiB and before %" PRIu64,
			index, size, offset, file_size);
}

int vhdx_bat_check(const struct vhdx_disk *d, const uint64_t *table, uint64_t file_size,
		   struct vhdx_space *spaces, size_t count, uint64_t *end, struct vhd_error *err)
{
	bool owns;
	int ret = 0;

	for (uint64_t i = 0; !ret && i < d->entries; i++) {
		ret = entry_check(d, table, i, file_size, &spaces[count], &owns, err);
		count += owns;
	}
	qsort(spaces, count, sizeof(*spaces), space_compare);
	for (size_t i = 1; !ret && i < count; i++)
		ret = space_check(spaces, i, err);
	*end = spaces[count - 1].end * VHDX_MIB;
	return ret;
}

void vhdx_bat_check_all(const struct vhdx_disk *d, const uint64_t *table, uint64_t file_size,
			struct vhdx_space *spaces, size_t count,
			void (*found)(void *opaque, const char *text), void *opaque)
{
	struct vhd_error err;
	bool owns;

	for (uint64_t i = 0; i < d->entries; i++) {
		if (entry_check(d, table, i, file_size, &spaces[count], &owns, &err))
			found(opaque, err.text);
		count += owns;
	}
	qsort(spaces, count, sizeof(*spaces), space_compare);
	for (size_t i = 1; i < count; i++)
		if (space_check(spaces, i, &err))
			found(opaque, err.text);
}
