/* SPDX-License-Identifier: MIT */
/* The log of a VHDX ([MS-VHDX] 2.3): finding what to replay, replaying it, and making
 * new entries. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "crc32c.h"
#include "vhdx-format.h"

enum {
	ENTRY_LENGTH = 8,
	ENTRY_TAIL = 12,
	ENTRY_SEQUENCE = 16,
	ENTRY_COUNT = 24,
	ENTRY_GUID = 32,
	ENTRY_FLUSHED = 48,
	ENTRY_LAST = 56,
	ENTRY_HEADER = 64,
	DESCRIPTOR = 32,
};

static const char entry_signature[4] = "loge";
static const char data_signature[4] = "desc";
static const char zero_signature[4] = "zero";
static const char page_signature[4] = "data";

struct entry {
	uint32_t offset, length, tail, count;
	uint64_t sequence, flushed, last;
};

/* The 4096 bytes at @at, which may be behind the ring's end. */
static const uint8_t *ring_page(const struct vhdx_log *log, uint64_t at)
{
	return log->ring + at % log->length;
}

static uint32_t descriptor_pages(uint64_t count)
{
	return (uint32_t)((ENTRY_HEADER + DESCRIPTOR * count + VHDX_PAGE - 1) / VHDX_PAGE);
}

/* 64 and 32 bytes divide a page: a descriptor never crosses its end. */
static const uint8_t *entry_descriptor(const struct vhdx_log *log, const struct entry *e,
				       uint32_t index)
{
	uint32_t at = ENTRY_HEADER + DESCRIPTOR * index;

	return ring_page(log, e->offset + at - at % VHDX_PAGE) + at % VHDX_PAGE;
}

static bool entry_checksum(const struct vhdx_log *log, const struct entry *e)
{
	uint8_t first[VHDX_PAGE];
	uint32_t crc;

	memcpy(first, ring_page(log, e->offset), sizeof(first));
	memset(first + 4, 0, 4);
	crc = vhd_crc32c(0, first, sizeof(first));
	for (uint32_t at = VHDX_PAGE; at < e->length; at += VHDX_PAGE)
		crc = vhd_crc32c(crc, ring_page(log, (uint64_t)e->offset + at), VHDX_PAGE);
	return crc == get_le32(ring_page(log, e->offset) + 4);
}

static bool entry_check_contents(const struct vhdx_log *log, const struct entry *e)
{
	uint32_t page = descriptor_pages(e->count);

	for (uint32_t i = 0; i < e->count; i++) {
		const uint8_t *d = entry_descriptor(log, e, i);
		const uint8_t *data;

		if (get_le64(d + 24) != e->sequence || get_le64(d + 16) % VHDX_PAGE)
			return false;
		if (memcmp(d, zero_signature, 4) == 0) {
			if (get_le64(d + 8) % VHDX_PAGE)
				return false;
			continue;
		}
		if (memcmp(d, data_signature, 4) != 0 || (page + 1) * VHDX_PAGE > e->length)
			return false;
		data = ring_page(log, e->offset + (uint64_t)page++ * VHDX_PAGE);
		if (memcmp(data, page_signature, 4) != 0 ||
		    get_le32(data + 4) != (uint32_t)(e->sequence >> 32) ||
		    get_le32(data + VHDX_PAGE - 4) != (uint32_t)e->sequence)
			return false;
	}
	return page * VHDX_PAGE == e->length;
}

static bool entry_read(const struct vhdx_log *log, uint32_t offset, struct entry *e)
{
	const uint8_t *p = ring_page(log, offset);

	*e = (struct entry){
		.offset = offset,
		.length = get_le32(p + ENTRY_LENGTH),
		.tail = get_le32(p + ENTRY_TAIL),
		.count = get_le32(p + ENTRY_COUNT),
		.sequence = get_le64(p + ENTRY_SEQUENCE),
		.flushed = get_le64(p + ENTRY_FLUSHED),
		.last = get_le64(p + ENTRY_LAST),
	};
	if (memcmp(p, entry_signature, 4) != 0 || memcmp(p + ENTRY_GUID, log->guid, 16) != 0 ||
	    e->length % VHDX_PAGE || e->length == 0 || e->length > log->length ||
	    e->tail % VHDX_PAGE || e->tail >= log->length || e->sequence == 0 ||
	    e->count > log->length / DESCRIPTOR ||
	    descriptor_pages(e->count) * VHDX_PAGE > e->length)
		return false;
	/* In this order: no page inside an entry looks like the first of one, so that
	 * entries which pass cannot overlap, and a ring full of false starts costs no
	 * checksum of nearly all of it for each of them. */
	return entry_check_contents(log, e) && entry_checksum(log, e);
}

/* The entries from @start on, each one number behind the other. Returns how many
 * bytes they take; @head is the last one, 0 bytes: there is none. */
static uint32_t sequence_read(const struct vhdx_log *log, uint32_t start, struct entry *head,
			      bool *tail_inside)
{
	uint64_t at = start;
	struct entry e;

	*tail_inside = false;
	while (at - start < log->length && entry_read(log, (uint32_t)(at % log->length), &e)) {
		if (at != start && e.sequence != head->sequence + 1)
			break;
		if (at + e.length - start > log->length)
			break;
		*head = e;
		at += e.length;
	}
	/* The head's tail must be where one of them begins. */
	for (uint64_t k = start; k < at;) {
		*tail_inside |= k % log->length == head->tail;
		k += get_le32(ring_page(log, k) + ENTRY_LENGTH);
	}
	return (uint32_t)(at - start);
}

/* What a sequence covers is passed over, so each byte of the ring is looked at
 * only a few times, whatever it holds. */
int vhdx_log_find(struct vhdx_log *log, struct vhd_error *err)
{
	bool found = false;

	log->sequence = 0;
	for (uint32_t at = 0; at < log->length;) {
		struct entry head = { 0 };
		bool tail_inside;
		uint32_t length = sequence_read(log, at, &head, &tail_inside);

		if (length > 0 && tail_inside && head.sequence > log->sequence) {
			log->tail = head.tail;
			log->head = head.offset;
			log->sequence = head.sequence;
			log->flushed_size = head.flushed;
			log->last_size = head.last;
			found = true;
		}
		at += length ? length : VHDX_PAGE;
	}
	return found ? 0 : vhd_fail(err, VHD_FAULT_VHDX_LOG,
				    "log: no valid entry in its %" PRIu32 " bytes", log->length);
}

static int place_check(const struct vhdx_log *log, uint64_t log_offset, uint64_t offset,
		       uint64_t length, struct vhd_error *err)
{
	if (offset < VHDX_REGIONS_1 || length > INT64_MAX || offset > INT64_MAX - length ||
	    offset + length > log->last_size ||
	    (offset < log_offset + log->length && log_offset < offset + length))
		return vhd_fail(err, VHD_FAULT_VHDX_LOG,
				"log: %" PRIu64 " bytes for %" PRIu64
				", expected behind the headers, off the log and before %" PRIu64,
				length, offset, log->last_size);
	return 0;
}

static int entry_replay(const struct vhdx_log *log, const struct entry *e, uint64_t log_offset,
			int (*apply)(void *, uint64_t, const uint8_t *, uint64_t), void *opaque,
			struct vhd_error *err)
{
	uint32_t page = descriptor_pages(e->count);
	uint8_t bytes[VHDX_PAGE];
	int ret = 0;

	for (uint32_t i = 0; !ret && i < e->count; i++) {
		const uint8_t *d = entry_descriptor(log, e, i);
		bool zero = memcmp(d, zero_signature, 4) == 0;
		uint64_t length = zero ? get_le64(d + 8) : VHDX_PAGE;

		ret = place_check(log, log_offset, get_le64(d + 16), length, err);
		if (ret)
			return ret;
		if (!zero) {
			memcpy(bytes, ring_page(log, e->offset + (uint64_t)page++ * VHDX_PAGE),
			       VHDX_PAGE);
			memcpy(bytes, d + 8, 8);
			memcpy(bytes + VHDX_PAGE - 4, d + 4, 4);
		}
		if (length > 0)
			ret = apply(opaque, get_le64(d + 16), zero ? NULL : bytes, length);
	}
	return ret;
}

int vhdx_log_replay(const struct vhdx_log *log, uint64_t log_offset,
		    int (*apply)(void *, uint64_t, const uint8_t *, uint64_t), void *opaque,
		    struct vhd_error *err)
{
	uint32_t at = log->tail;
	struct entry e;
	int ret;

	do {
		if (!entry_read(log, at, &e))
			return vhd_fail(err, VHD_FAULT_VHDX_LOG, "log: the entry at %" PRIu32
					" is not valid", at);
		ret = entry_replay(log, &e, log_offset, apply, opaque, err);
		at = (uint32_t)(((uint64_t)at + e.length) % log->length);
	} while (!ret && e.offset != log->head);
	return ret;
}

uint32_t vhdx_log_entry_size(uint32_t pages)
{
	return (descriptor_pages(pages) + pages) * VHDX_PAGE;
}

void vhdx_log_entry_build(uint8_t *bytes, const struct vhdx_log_entry *e)
{
	uint32_t size = vhdx_log_entry_size(e->pages);
	uint8_t *page = bytes + descriptor_pages(e->pages) * VHDX_PAGE;

	memset(bytes, 0, size);
	memcpy(bytes, entry_signature, 4);
	put_le32(bytes + ENTRY_LENGTH, size);
	put_le32(bytes + ENTRY_TAIL, e->tail);
	put_le64(bytes + ENTRY_SEQUENCE, e->sequence);
	put_le32(bytes + ENTRY_COUNT, e->pages);
	memcpy(bytes + ENTRY_GUID, e->guid, 16);
	put_le64(bytes + ENTRY_FLUSHED, e->flushed_size);
	put_le64(bytes + ENTRY_LAST, e->last_size);
	for (uint32_t i = 0; i < e->pages; i++, page += VHDX_PAGE) {
		uint8_t *d = bytes + ENTRY_HEADER + DESCRIPTOR * i;

		memcpy(d, data_signature, 4);
		memcpy(d + 4, e->contents[i] + VHDX_PAGE - 4, 4);
		memcpy(d + 8, e->contents[i], 8);
		put_le64(d + 16, e->offsets[i]);
		put_le64(d + 24, e->sequence);
		memcpy(page, e->contents[i], VHDX_PAGE);
		memcpy(page, page_signature, 4);
		put_le32(page + 4, (uint32_t)(e->sequence >> 32));
		put_le32(page + VHDX_PAGE - 4, (uint32_t)e->sequence);
	}
	put_le32(bytes + 4, vhd_crc32c_structure(bytes, size));
}
