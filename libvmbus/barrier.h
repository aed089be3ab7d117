/* SPDX-License-Identifier: MIT */
/* Every access to a word that the other side may be writing at the same time,
 * and every barrier, lettered; the code names the letter where it uses one.
 *
 *   letter                                        partner
 *   [A] producer: stores in, release              [B] consumer: loads in, acquire
 *       A packet's bytes are there before the index that shows them.
 *   [C] consumer: stores out, release             [D] producer: loads out, acquire
 *       A packet's bytes were read before their space is written again.
 *   [E] producer: fence between storing in        [F] consumer: fence between storing
 *       and loading interrupt_mask and out            interrupt_mask = 0 and loading in
 *       Of "I showed a packet, do you sleep?" and "I go to sleep, is there a
 *       packet?" at least one is answered with yes.
 *   [G] consumer: fence between storing out       [H] producer: fence between storing
 *       and loading pending_send_size                 pending_send_size and loading out
 *       The same for space.
 *   [I] producer: stores pending_send_size,       [J] consumer: loads pending_send_size,
 *       release, after in                             acquire, before in
 *       Who sees the wish sees how full the ring was when it was made.
 *   [K] consumer: stores interrupt_mask = 0,      [L] producer: loads interrupt_mask,
 *       release, after out                            acquire, before out
 *       Who sees that signals are wanted sees how far was read before.
 *   [M] host: stores a slot's type, release       [N] guest: loads a slot's type, acquire
 *       A message is there before the type that shows it.
 *   [O] host: fence between setting a slot's      [P] guest: fence between emptying a slot
 *       pending flag and loading its type again       and loading its pending flag
 *       Either the host sees the slot empty or the guest sees that it must
 *       write EOM.
 *   [Q] host: sets an event flag, seq_cst         [R] guest: clears an event flag, seq_cst
 *       What the flag tells of is there before it.
 *
 * The partner often is somebody else's code (a Linux or Windows guest): it has the
 * same barrier at that place. */
#ifndef LIBVMBUS_BARRIER_H
#define LIBVMBUS_BARRIER_H

#include <stdint.h>
#include <string.h>

/* Tests see each fetch of shared bytes when it has just been done, and change them for
 * whoever comes back; or they put a model of memory in place of the processor's. */
#ifndef VMBUS_FETCH_HOOK
#define VMBUS_FETCH_HOOK(src, len) ((void)0)
#endif

#ifdef VMBUS_MEMORY_MODEL
uint32_t vmbus_model_load(const uint32_t *word);
void vmbus_model_store(uint32_t *word, uint32_t value);
void vmbus_model_fence(void);
#define shared_load vmbus_model_load
#define shared_load_acquire vmbus_model_load
#define shared_store vmbus_model_store
#define shared_store_release vmbus_model_store
#define shared_fence vmbus_model_fence
#else
static inline uint32_t shared_load(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static inline uint32_t shared_load_acquire(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline void shared_store(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static inline void shared_store_release(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static inline void shared_fence(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}
#endif

/* Eight aligned bytes of a packet, loaded exactly once. */
static inline uint64_t shared_fetch_u64(const void *src)
{
	uint64_t word = __atomic_load_n((const uint64_t *)src, __ATOMIC_RELAXED);

	VMBUS_FETCH_HOOK(src, 8);
	return word;
}

/* Copies out of memory that the peer may be writing. The compiler is told that
 * all memory may have changed afterwards, so it cannot go back to @src for what
 * was copied. */
static inline void shared_copy_out(void *dst, const void *src, size_t len)
{
	memcpy(dst, src, len);
	__asm__ volatile("" ::: "memory");
	VMBUS_FETCH_HOOK(src, len);
}

#endif
