/* SPDX-License-Identifier: MIT */
/* Message slots and event flags in guest memory (TLFS 11), both sides: what a
 * backend without a hypervisor's SynIC needs. Pure functions on shared memory;
 * no libc. Each returns what the caller has to do next. Any thread; one thread
 * at a time writes one slot. */
#ifndef VMBUS_SYNIC_H
#define VMBUS_SYNIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmbus/fault.h>
#include <vmbus/wire.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Host: puts a message into @slot. Returns true if it is there (raise the SINT);
 * false if the slot is taken: the pending flag is set, try again on EOM.
 * @len <= 240. */
VMBUS_API bool vmbus_synic_post(struct vmbus_synic_message *slot, const void *payload, size_t len)
	VMBUS_MUST_CHECK;

/* Host: sets @flag (< 2048). Returns true if it was clear: raise the SINT. */
VMBUS_API bool vmbus_synic_set_flag(struct vmbus_synic_event_flags *slice, uint32_t flag) VMBUS_MUST_CHECK;

/* Guest: takes the message out of @slot into @payload (240 bytes). Returns its
 * length, or -1 if the slot is empty (or holds what is no VMBus message, which
 * is discarded). *@eom is set if the guest must write EOM: more messages wait. */
VMBUS_API int vmbus_synic_take(struct vmbus_synic_message *slot, void *payload, bool *eom);

/* Guest: finds the next set flag from @flag on and clears it. Returns the flag,
 * or -1 if none is left. */
VMBUS_API int vmbus_synic_take_flag(struct vmbus_synic_event_flags *slice, uint32_t flag);

#ifdef __cplusplus
}
#endif
#endif
