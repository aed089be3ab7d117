/* SPDX-License-Identifier: MIT */
/* The range list of a GPA-direct packet. It is private memory already, but its
 * counts are the guest's. */
#include <errno.h>
#include <string.h>

#include <vmbus/ring.h>

/* The shortest range: its two words and one page number. */
#define RANGE_BYTES_MIN (sizeof(struct vmbus_gpa_range) + sizeof(uint64_t))

int vmbus_range_first(const struct vmbus_packet *packet, struct vmbus_range_iter *iter)
{
	struct vmbus_gpa_direct direct;

	if (packet->type != VMBUS_PACKET_GPA_DIRECT || packet->header_len < sizeof(direct))
		return VMBUS_FAULT_BAD_RANGES;
	memcpy(&direct, packet->header, sizeof(direct));
	iter->next = (const uint8_t *)packet->header + sizeof(direct);
	iter->left = packet->header_len - (uint32_t)sizeof(direct);
	iter->count = direct.range_count;
	if (iter->count == 0 || iter->count > iter->left / RANGE_BYTES_MIN)
		return VMBUS_FAULT_BAD_RANGES;
	return 0;
}

int vmbus_range_next(struct vmbus_range_iter *iter, struct vmbus_range *range)
{
	struct vmbus_gpa_range head;
	uint64_t pages;

	if (iter->count == 0)
		return -ENOENT;
	if (iter->left < sizeof(head))
		return VMBUS_FAULT_BAD_RANGES;
	memcpy(&head, iter->next, sizeof(head));
	if (head.byte_count == 0 || head.byte_offset >= VMBUS_PAGE_SIZE)
		return VMBUS_FAULT_BAD_RANGES;
	pages = ((uint64_t)head.byte_offset + head.byte_count + VMBUS_PAGE_SIZE - 1) >> VMBUS_PAGE_SHIFT;
	if (pages > (iter->left - sizeof(head)) / sizeof(uint64_t))
		return VMBUS_FAULT_BAD_RANGES;
	range->pfns = (const uint64_t *)(const void *)(iter->next + sizeof(head));
	range->pages = (uint32_t)pages;
	range->offset = head.byte_offset;
	range->len = head.byte_count;
	iter->next += sizeof(head) + pages * sizeof(uint64_t);
	iter->left -= (uint32_t)(sizeof(head) + pages * sizeof(uint64_t));
	iter->count--;
	return 0;
}
