/* SPDX-License-Identifier: MIT */
#include <string.h>

#include <criterion/criterion.h>

#include <vmbus/synic.h>

Test(synic, a_message_lies_as_the_specification_says)
{
	struct vmbus_synic_message slot;
	const uint8_t *bytes = (const uint8_t *)&slot;

	memset(&slot, 0xee, sizeof(slot));
	slot.type = 0;
	cr_assert(vmbus_synic_post(&slot, "hello", 5));
	cr_expect_eq(memcmp(bytes, "\x01\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0hello", 21), 0);
	cr_expect_eq(bytes[21], 0xee);
}

Test(synic, a_second_message_waits_for_eom)
{
	struct vmbus_synic_message slot = {0};
	char payload[VMBUS_MESSAGE_MAX];
	bool eom = true;

	cr_expect_eq(vmbus_synic_take(&slot, payload, &eom), -1);
	cr_expect_not(eom);
	cr_assert(vmbus_synic_post(&slot, "one", 3));
	cr_expect_not(vmbus_synic_post(&slot, "two", 3));
	cr_expect_eq(slot.flags, VMBUS_SYNIC_PENDING);
	cr_expect_not(vmbus_synic_post(&slot, "two", 3));
	cr_expect_eq(vmbus_synic_take(&slot, payload, &eom), 3);
	cr_expect_eq(memcmp(payload, "one", 3), 0);
	cr_expect(eom);
	cr_expect(vmbus_synic_post(&slot, "two", 3));
	cr_expect_eq(slot.flags, 0);
	cr_expect_eq(vmbus_synic_take(&slot, payload, &eom), 3);
	cr_expect_not(eom);
	cr_expect_eq(slot.type, 0);
}

Test(synic, the_longest_message_fits_and_a_lying_length_is_cut)
{
	struct vmbus_synic_message slots[2];
	char payload[VMBUS_MESSAGE_MAX];
	bool eom;

	memset(slots, 0, sizeof(slots));
	memset(payload, 'x', sizeof(payload));
	cr_expect(vmbus_synic_post(&slots[0], payload, sizeof(payload)));
	cr_expect_eq(slots[1].type, 0);
	slots[0].payload_size = 255;
	cr_expect_eq(vmbus_synic_take(&slots[0], payload, &eom), VMBUS_MESSAGE_MAX);
}

Test(synic, what_is_no_vmbus_message_is_discarded)
{
	struct vmbus_synic_message slot = {.type = 0x80000010, .payload_size = 24};
	char payload[VMBUS_MESSAGE_MAX];
	bool eom;

	cr_expect_not(vmbus_synic_post(&slot, "one", 3));
	cr_expect_eq(vmbus_synic_take(&slot, payload, &eom), -1);
	cr_expect(eom);
	cr_expect_eq(slot.type, 0);
}

Test(synic, every_flag_is_set_and_taken_once)
{
	struct vmbus_synic_event_flags slice = {{0}};
	const uint8_t *bytes = (const uint8_t *)&slice;

	for (uint32_t flag = 0; flag < VMBUS_EVENT_FLAGS; flag++) {
		cr_expect(vmbus_synic_set_flag(&slice, flag));
		cr_expect_not(vmbus_synic_set_flag(&slice, flag));
		cr_expect_eq(bytes[flag / 8], 1 << flag % 8, "%u", flag);
		cr_expect_eq(vmbus_synic_take_flag(&slice, flag), (int)flag);
		cr_expect_eq(vmbus_synic_take_flag(&slice, 0), -1);
	}
}

Test(synic, flags_are_found_in_order_and_none_before_the_start)
{
	static const uint32_t set[] = {0, 1, 63, 64, 65, 1000, 2047};
	struct vmbus_synic_event_flags slice = {{0}};
	int flag = -1;

	for (size_t i = 0; i < sizeof(set) / sizeof(set[0]); i++)
		cr_assert(vmbus_synic_set_flag(&slice, set[i]));
	for (size_t i = 2; i < sizeof(set) / sizeof(set[0]); i++) {
		flag = vmbus_synic_take_flag(&slice, i == 2 ? 2 : (uint32_t)flag + 1);
		cr_expect_eq(flag, (int)set[i]);
	}
	cr_expect_eq(vmbus_synic_take_flag(&slice, 2047), -1);
	cr_expect_eq(vmbus_synic_take_flag(&slice, 2048), -1);
	cr_expect_eq(slice.flags[0], 3, "the ones before stay");
	cr_expect(vmbus_synic_set_flag(&slice, 64));
	cr_expect_eq(vmbus_synic_take_flag(&slice, 63), 64, "lower in its word than the start");
}
