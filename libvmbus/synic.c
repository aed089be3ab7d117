/* SPDX-License-Identifier: MIT */
/* Message slots and event flags. Letters in brackets: barrier.h. */
#include <string.h>

#include <vmbus/synic.h>

#include "barrier.h"

bool vmbus_synic_post(struct vmbus_synic_message *slot, const void *payload, size_t len)
{
	if (shared_load_acquire(&slot->type)) {
		(void)__atomic_fetch_or(&slot->flags, VMBUS_SYNIC_PENDING, __ATOMIC_SEQ_CST);
		shared_fence(); /* [O] */
		if (shared_load_acquire(&slot->type))
			return false;
		/* emptied in between, perhaps without a look at the flag: no EOM to wait for */
	}
	memcpy(slot->payload, payload, len);
	slot->payload_size = (uint8_t)len;
	__atomic_store_n(&slot->flags, 0, __ATOMIC_RELAXED);
	slot->reserved = 0;
	slot->sender = 0;
	shared_store_release(&slot->type, VMBUS_MESSAGE_TYPE); /* [M] */
	return true;
}

bool vmbus_synic_set_flag(struct vmbus_synic_event_flags *slice, uint32_t flag)
{
	uint64_t bit = 1ull << flag % 64;

	return !(__atomic_fetch_or(&slice->flags[flag / 64], bit, __ATOMIC_SEQ_CST) & bit); /* [Q] */
}

int vmbus_synic_take(struct vmbus_synic_message *slot, void *payload, bool *eom)
{
	uint32_t type = shared_load_acquire(&slot->type); /* [N] */
	uint8_t len;

	*eom = false;
	if (type == 0)
		return -1;
	len = __atomic_load_n(&slot->payload_size, __ATOMIC_RELAXED);
	if (len > VMBUS_MESSAGE_MAX)
		len = VMBUS_MESSAGE_MAX;
	shared_copy_out(payload, slot->payload, len);
	shared_store_release(&slot->type, 0);
	shared_fence(); /* [P] */
	*eom = __atomic_load_n(&slot->flags, __ATOMIC_RELAXED) & VMBUS_SYNIC_PENDING;
	return type == VMBUS_MESSAGE_TYPE ? (int)len : -1;
}

/* Clears the lowest set flag of a word that @mask lets through. Returns it, or -1. */
static int word_take(uint64_t *word, uint64_t mask)
{
	uint64_t set;

	/* a clear that finds its bit gone lost it to another reader: look on */
	while ((set = __atomic_load_n(word, __ATOMIC_RELAXED) & mask)) {
		uint64_t bit = set & -set;

		if (__atomic_fetch_and(word, ~bit, __ATOMIC_SEQ_CST) & bit) /* [R] */
			return __builtin_ctzll(bit);
		mask &= ~bit;
	}
	return -1;
}

int vmbus_synic_take_flag(struct vmbus_synic_event_flags *slice, uint32_t flag)
{
	uint64_t mask = ~0ull << flag % 64;

	for (uint32_t i = flag / 64; i < VMBUS_EVENT_FLAGS / 64; i++, mask = ~0ull) {
		int bit = word_take(&slice->flags[i], mask);

		if (bit >= 0)
			return (int)(i * 64) + bit;
	}
	return -1;
}
