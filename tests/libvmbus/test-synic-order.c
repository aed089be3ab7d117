/* SPDX-License-Identifier: MIT */
/* The host posts while the guest takes, one in the middle of the other at every point. The
 * guest's store that empties the slot becomes visible as late as may be. Whatever the order,
 * a message that found the slot taken is not forgotten: the guest knows that it must write
 * EOM, or the slot is still full with the flag set. */
#define VMBUS_MEMORY_MODEL
#include "synic.c"

#include <criterion/criterion.h>

static struct vmbus_synic_message slot;
static unsigned int point, when; /* points passed; where the other side comes in */
static void (*other)(void);
static bool posted, eom, took, fence_works;
static bool store_waits; /* of 0 to slot.type, by the guest */

static void point_pass(void)
{
	void (*call)(void) = other;

	if (!call || point++ != when)
		return;
	other = NULL;
	call();
}

static void store_show(void)
{
	if (store_waits)
		__atomic_store_n(&slot.type, 0, __ATOMIC_SEQ_CST);
	store_waits = false;
}

uint32_t vmbus_model_load(const uint32_t *word)
{
	uint32_t value;

	point_pass();
	value = __atomic_load_n(word, __ATOMIC_SEQ_CST);
	point_pass();
	return value;
}

void vmbus_model_store(uint32_t *word, uint32_t value)
{
	point_pass();
	store_waits = value == 0;
	if (!store_waits)
		__atomic_store_n(word, value, __ATOMIC_SEQ_CST);
	point_pass();
}

void vmbus_model_fence(void)
{
	point_pass();
	if (fence_works)
		store_show();
	point_pass();
}

static void take(void)
{
	uint8_t payload[VMBUS_MESSAGE_MAX];
	bool more;

	took = vmbus_synic_take(&slot, payload, &more) >= 0;
	eom |= more;
	point_pass(); /* the store may still wait */
	store_show();
}

static void post(void)
{
	posted = vmbus_synic_post(&slot, "two", 3);
}

/* One is in the slot; @first runs, @second in the middle of it. Returns whether it is known
 * that there is a second. */
static bool known(void (*first)(void), void (*second)(void))
{
	memset(&slot, 0, sizeof(slot));
	posted = eom = took = store_waits = false;
	other = NULL;
	cr_assert(vmbus_synic_post(&slot, "one", 3));
	point = 0;
	other = second;
	first();
	if (other)
		second();
	if (!took) /* the guest was too early: it is interrupted again */
		take();
	if (posted)
		return slot.type == VMBUS_MESSAGE_TYPE && memcmp(slot.payload, "two", 3) == 0;
	return eom || (slot.type != 0 && slot.flags & VMBUS_SYNIC_PENDING);
}

static unsigned int lost(void)
{
	unsigned int count = 0;

	for (when = 0; when < 12; when++) {
		count += !known(take, post);
		count += !known(post, take);
	}
	return count;
}

Test(synic, no_message_is_forgotten_whoever_is_first)
{
	fence_works = true;
	cr_expect_eq(lost(), 0);
	fence_works = false; /* or this test could not fail */
	cr_expect_gt(lost(), 0);
}
