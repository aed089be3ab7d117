/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fixture.h"

#define OUTSIDE 0x100000000ull

static const struct vmbus_msg_initiate_contact contact = {
	.header.type = VMBUS_MSG_INITIATE_CONTACT, .version = VMBUS_V5_3, .u.v5.sint = VMBUS_SINT,
};

Test(msr, answers_what_the_tlfs_says)
{
	static const struct {
		const char *name;
		uint32_t index;
		uint64_t value;
		bool write_ok, read_ok;
		uint64_t reads;
	} rows[] = {
		{"OS id", HV_MSR_GUEST_OS_ID, 0x8100, true, true, 0x8100},
		{"hypercall page", HV_MSR_HYPERCALL, PAGE_GPA | 1, true, true, PAGE_GPA | 1},
		{"hypercall page outside memory", HV_MSR_HYPERCALL, OUTSIDE | 1, false, true, PAGE_GPA | 1},
		{"VP index is read-only", HV_MSR_VP_INDEX, 5, false, true, 1},
		{"SVERSION is read-only", HV_MSR_SVERSION, 1, false, true, 1},
		{"SIMP", HV_MSR_SIMP, SIMP_GPA | 1, true, true, SIMP_GPA | 1},
		{"SIMP outside memory", HV_MSR_SIMP, OUTSIDE | 1, false, true, SIMP_GPA | 1},
		{"SIMP off, wherever it is", HV_MSR_SIMP, OUTSIDE, true, true, OUTSIDE},
		{"SIEFP over SIMP", HV_MSR_SIEFP, SIMP_GPA | 1, true, true, SIMP_GPA | 1},
		{"SIEFP outside memory", HV_MSR_SIEFP, ~0ull, false, true, SIMP_GPA | 1},
		{"SCONTROL", HV_MSR_SCONTROL, 1, true, true, 1},
		{"SINT", HV_MSR_SINT0 + 2, 0xf3, true, true, 0xf3},
		{"SINT, vector of an exception", HV_MSR_SINT0 + 2, 15, false, true, 0xf3},
		{"SINT masked, vector of an exception", HV_MSR_SINT0 + 2, 0x1000f, true, true, 0x1000f},
		{"last SINT after reset", HV_MSR_SINT0 + 15, 0x10000, true, true, 0x10000},
		{"one past the last SINT", HV_MSR_SINT0 + 16, 0xf3, false, false, 0},
		{"EOM", HV_MSR_EOM, 77, true, true, 0},
		{"assist page", HV_MSR_VP_ASSIST_PAGE, 0x5001, true, true, 0x5001},
		{"reset reads as nothing", HV_MSR_RESET, 1, true, true, 0},
		{"APIC frequency is read-only", HV_MSR_APIC_FREQUENCY, 1, false, true, HV_APIC_HZ},
		{"reference TSC", HV_MSR_REFERENCE_TSC, 0x6001, true, true, 0x6001},
		{"reference TSC outside memory", HV_MSR_REFERENCE_TSC, OUTSIDE | 1, false, true, 0x6001},
		{"reference TSC off", HV_MSR_REFERENCE_TSC, OUTSIDE, true, true, OUTSIDE},
		{"invariant TSC", HV_MSR_TSC_INVARIANT_CONTROL, 1, true, true, 1},
		{"crash control", HV_MSR_CRASH_CTL, 0, true, true, HV_CRASH_NOTIFY},
		{"time is read-only", HV_MSR_TIME_REF_COUNT, 0, false, false, 0},
		{"crash parameter", HV_MSR_CRASH_P0 + 4, 9, true, true, 9},
		{"unknown", 0x400001f0, 0, false, false, 0},
	};
	struct vmbus_kvm *kvm = fixture_new();
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t value = 0;

		cr_expect_eq(vmbus_kvm_msr_write(kvm, 1, rows[i].index, rows[i].value),
			     rows[i].write_ok, "%s: write", rows[i].name);
		if (rows[i].index == HV_MSR_TIME_REF_COUNT)
			continue;
		cr_expect_eq(vmbus_kvm_msr_read(kvm, 1, rows[i].index, &value), rows[i].read_ok,
			     "%s: read", rows[i].name);
		cr_expect_eq(value, rows[i].reads, "%s: value %#lx", rows[i].name, value);
	}
	fixture_free(kvm);
}

Test(msr, hypercall_page_needs_an_os_id_and_can_be_locked)
{
	struct vmbus_kvm *kvm = fixture_new();
	uint64_t value;

	cr_expect(vmbus_kvm_msr_write(kvm, 0, HV_MSR_HYPERCALL, PAGE_GPA | 1));
	cr_expect(vmbus_kvm_msr_read(kvm, 0, HV_MSR_HYPERCALL, &value) && value == 0);
	vmbus_kvm_msr_write(kvm, 0, HV_MSR_GUEST_OS_ID, 1);
	vmbus_kvm_msr_write(kvm, 0, HV_MSR_HYPERCALL, PAGE_GPA | 3);
	cr_expect_eq(ram[PAGE_GPA], 0xf3); /* endbr64 */
	vmbus_kvm_msr_write(kvm, 0, HV_MSR_HYPERCALL, 0);
	cr_expect(vmbus_kvm_msr_read(kvm, 0, HV_MSR_HYPERCALL, &value) && value == (PAGE_GPA | 3));
	vmbus_kvm_msr_write(kvm, 0, HV_MSR_GUEST_OS_ID, 0);
	cr_expect(vmbus_kvm_msr_read(kvm, 0, HV_MSR_HYPERCALL, &value) && !(value & 1));
	fixture_free(kvm);
}

Test(hypercall, answers_what_the_tlfs_says)
{
	static const struct {
		const char *name;
		uint64_t control, param;
		uint32_t connection, type, size;
		uint16_t status;
	} rows[] = {
		{"unknown code", 0x77, INPUT_GPA, 1, 1, 8, 2},
		{"reserved bit 27", 0x5c | 1ull << 27, INPUT_GPA, 1, 1, 8, 3},
		{"reserved bit 60", 0x5c | 1ull << 60, INPUT_GPA, 1, 1, 8, 3},
		{"reps", 0x5c | 1ull << 32, INPUT_GPA, 1, 1, 8, 3},
		{"rep start", 0x5c | 1ull << 48, INPUT_GPA, 1, 1, 8, 3},
		{"variable header", 0x5c | 1ull << 17, INPUT_GPA, 1, 1, 8, 3},
		{"post, fast", 0x1005c, INPUT_GPA, 1, 1, 8, 3},
		{"post, unaligned", 0x5c, INPUT_GPA + 4, 1, 1, 8, 4},
		{"post, over a page's end", 0x5c, INPUT_GPA + 4096 - 248, 1, 1, 8, 4},
		{"post, last place in a page", 0x5c, INPUT_GPA + 4096 - 256, 1, 0x80000001, 8, 5},
		{"post, outside memory", 0x5c, OUTSIDE, 1, 1, 8, 5},
		{"post, at the end of addresses", 0x5c, ~0ull << 8, 1, 1, 8, 5},
		{"post, too long", 0x5c, INPUT_GPA, 1, 1, 241, 5},
		{"post, much too long", 0x5c, INPUT_GPA, 1, 1, ~0u, 5},
		{"post, no type", 0x5c, INPUT_GPA, 1, 0, 8, 5},
		{"post, the hypervisor's type", 0x5c, INPUT_GPA, 1, 0x80000010, 8, 5},
		{"post, as long as can be", 0x5c, INPUT_GPA, 1, 1, 240, 0},
		{"post, a type VMBus has not", 0x5c, INPUT_GPA, 1, 2, 8, 0},
		{"post, unknown connection", 0x5c, INPUT_GPA, 0x1234, 1, 8, 0x12},
		{"signal, unknown connection", 0x1005d, 0x1234, 0, 0, 0, 0x12},
		{"signal, flag 1", 0x1005d, 0x100001234, 0, 0, 0, 5},
		{"signal, slow", 0x5d, INPUT_GPA, 0x1234, 0, 0, 0x12},
		{"signal, slow, unaligned", 0x5d, INPUT_GPA + 1, 0x1234, 0, 0, 4},
		{"signal, slow, outside memory", 0x5d, OUTSIDE, 0x1234, 0, 0, 5},
	};
	struct vmbus_kvm *kvm = fixture_new();
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vmbus_post_message input = {rows[i].connection, 0, rows[i].type, rows[i].size, {0}};
		uint64_t gpa = rows[i].param;
		uint16_t status;

		memset(ram + INPUT_GPA, 0, VMBUS_PAGE_SIZE);
		memcpy(ram + (gpa > INPUT_GPA && gpa % 256 == 0 && gpa < RAM ? gpa : INPUT_GPA), &input,
		       sizeof(input));
		status = vmbus_kvm_hypercall(kvm, rows[i].control, gpa);
		cr_expect_eq(status, rows[i].status, "%s: %#x", rows[i].name, status);
	}
	fixture_free(kvm);
}

Test(synic, version_response_arrives_in_the_slot)
{
	struct vmbus_kvm *kvm = fixture_new();
	struct vmbus_msg_version_response response;
	uint8_t payload[VMBUS_MESSAGE_MAX];
	bool eom;
	int len;

	cr_assert(synic_start(kvm, 0));
	cr_expect_eq(post(kvm, VMBUS_CONN_MESSAGE_MULTI, &contact, VMBUS_INITIATE_CONTACT_SIZE_BASE), 0);
	vmbus_kvm_dispatch(kvm);
	cr_expect_eq(interrupts[0], 1);
	len = vmbus_synic_take(slot_of_guest(), payload, &eom);
	cr_assert_geq(len, (int)VMBUS_VERSION_RESPONSE_SIZE_BASE);
	memcpy(&response, payload, VMBUS_VERSION_RESPONSE_SIZE_BASE);
	cr_expect_eq(response.header.type, VMBUS_MSG_VERSION_RESPONSE);
	cr_expect_eq(response.supported, 1);
	fixture_free(kvm);
}

Test(synic, message_waits_for_the_slot_and_comes_after_eom)
{
	struct vmbus_kvm *kvm = fixture_new();
	uint8_t payload[VMBUS_MESSAGE_MAX];
	bool eom = false;

	cr_assert(synic_start(kvm, 0));
	post(kvm, VMBUS_CONN_MESSAGE_MULTI, &contact, VMBUS_INITIATE_CONTACT_SIZE_BASE);
	vmbus_kvm_dispatch(kvm);
	/* the guest does not look; the next answer has to wait */
	cr_expect_eq(post(kvm, VMBUS_CONN_MESSAGE_MULTI, &contact, VMBUS_INITIATE_CONTACT_SIZE_BASE), 0);
	vmbus_kvm_dispatch(kvm);
	cr_expect_eq(interrupts[0], 1);
	cr_expect_gt(vmbus_synic_take(slot_of_guest(), payload, &eom), 0);
	cr_assert(eom, "the guest is asked for EOM");
	vmbus_kvm_msr_write(kvm, 0, HV_MSR_EOM, 0);
	cr_expect_eq(interrupts[0], 2);
	cr_expect_gt(vmbus_synic_take(slot_of_guest(), payload, &eom), 0);
	cr_expect_not(eom);
	fixture_free(kvm);
}

/* No other SINT's slot is written: what is for one must not hold up what is for ours. */
Test(synic, an_answer_for_another_sint_holds_up_no_other)
{
	struct vmbus_msg_close_reserved elsewhere = {
		.header.type = VMBUS_MSG_CLOSE_RESERVED, .channel_id = 1, .target_sint = 5};
	struct vmbus_msg_initiate_contact other_sint = contact;
	struct vmbus_kvm *kvm = fixture_new();
	struct vmbus_msg_close_reserved here = elsewhere;
	uint8_t payload[VMBUS_MESSAGE_MAX];
	uint32_t type = 0;
	bool eom;

	here.target_sint = VMBUS_SINT;
	other_sint.u.v5.sint = 5;
	cr_assert(synic_start(kvm, 0));
	cr_expect_eq(post(kvm, VMBUS_CONN_MESSAGE, &elsewhere, sizeof(elsewhere)), 0);
	cr_expect_eq(post(kvm, VMBUS_CONN_MESSAGE_MULTI, &other_sint, 40), 0);
	cr_expect_eq(post(kvm, VMBUS_CONN_MESSAGE, &here, sizeof(here)), 0);
	cr_assert_geq(vmbus_synic_take(slot_of_guest(), payload, &eom), 4);
	memcpy(&type, payload, sizeof(type));
	cr_expect_eq(type, VMBUS_MSG_CLOSE_RESERVED_RESPONSE);
	fixture_free(kvm);
}

Test(synic, message_waits_until_the_vp_takes_messages)
{
	struct vmbus_kvm *kvm = fixture_new();

	post(kvm, VMBUS_CONN_MESSAGE_MULTI, &contact, VMBUS_INITIATE_CONTACT_SIZE_BASE);
	vmbus_kvm_dispatch(kvm);
	cr_expect_eq(interrupts[0], 0);
	cr_assert(synic_start(kvm, 0));
	cr_expect_geq(interrupts[0], 1);
	cr_expect_eq(slot_of_guest()->type, VMBUS_MESSAGE_TYPE);
	fixture_free(kvm);
}

Test(synic, flag_raises_once_until_the_guest_takes_it)
{
	struct vmbus_synic_event_flags *slice;
	struct vmbus_kvm *kvm = fixture_new();

	cr_assert(synic_start(kvm, 1));
	slice = (struct vmbus_synic_event_flags *)(ram + SIEFP_GPA) + VMBUS_SINT;
	vmbus_kvm_signal(kvm, 1, 130, 0);
	vmbus_kvm_signal(kvm, 1, 130, 0);
	cr_expect_eq(interrupts[1], 1);
	cr_expect_eq(slice->flags[2], 4);
	cr_expect_eq(vmbus_synic_take_flag(slice, 0), 130);
	vmbus_kvm_signal(kvm, 1, 130, 0);
	cr_expect_eq(interrupts[1], 2);
	vmbus_kvm_signal(kvm, 0, 130, 0); /* its SynIC is off: nothing */
	vmbus_kvm_signal(kvm, 7, 130, 0); /* nobody */
	vmbus_kvm_signal(kvm, 1, VMBUS_EVENT_FLAGS, 0);
	cr_expect_eq(interrupts[0], 0);
	cr_expect_eq(interrupts[1], 2);
	fixture_free(kvm);
}

Test(synic, masked_sint_raises_when_it_is_unmasked)
{
	struct vmbus_kvm *kvm = fixture_new();

	cr_assert(synic_start(kvm, 0));
	vmbus_kvm_msr_write(kvm, 0, HV_MSR_SINT0 + VMBUS_SINT, HV_SINT_MASKED | VECTOR);
	vmbus_kvm_signal(kvm, 0, 5, 0);
	cr_expect_eq(interrupts[0], 0);
	vmbus_kvm_msr_write(kvm, 0, HV_MSR_SINT0 + VMBUS_SINT, VECTOR);
	cr_expect_eq(interrupts[0], 1);
	memset(ram + SIEFP_GPA, 0, VMBUS_PAGE_SIZE);
	vmbus_kvm_msr_write(kvm, 0, HV_MSR_SINT0 + VMBUS_SINT, VECTOR);
	cr_expect_eq(interrupts[0], 1, "nothing lies there");
	vmbus_kvm_signal(kvm, 0, VMBUS_EVENT_FLAGS - 1, 0);
	vmbus_kvm_msr_write(kvm, 0, HV_MSR_SINT0 + VMBUS_SINT, VECTOR);
	cr_expect_eq(interrupts[0], 3, "the last flag of all counts, too");
	vmbus_kvm_msr_write(kvm, 0, HV_MSR_SCONTROL, 0);
	vmbus_kvm_msr_write(kvm, 0, HV_MSR_SCONTROL, HV_ENABLE);
	cr_expect_eq(interrupts[0], 4, "as when the SynIC comes to life");
	vmbus_kvm_msr_write(kvm, 0, HV_MSR_SINT0 + VMBUS_SINT, HV_SINT_POLLING | VECTOR);
	vmbus_kvm_signal(kvm, 0, 6, 0);
	cr_expect_eq(interrupts[0], 4, "a polled SINT does not interrupt");
	fixture_free(kvm);
}

/* TLFS 11.8. What is there later is the guest's. */
Test(synic, pages_start_as_zeros)
{
	static const struct {
		uint32_t index, gpa;
	} rows[] = {{HV_MSR_SIMP, SIMP_GPA}, {HV_MSR_SIEFP, SIEFP_GPA}};
	struct vmbus_kvm *kvm = fixture_new();
	size_t i;

	memset(ram, 0xcd, RAM);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t *page = ram + rows[i].gpa;

		cr_assert(vmbus_kvm_msr_write(kvm, 0, rows[i].index, rows[i].gpa | HV_ENABLE));
		cr_expect(page[0] == 0 && !memcmp(page, page + 1, VMBUS_PAGE_SIZE - 1));
		page[4095] = 0xab;
		cr_assert(vmbus_kvm_msr_write(kvm, 0, rows[i].index, rows[i].gpa | HV_ENABLE));
		cr_expect_eq(page[4095], 0xab);
		cr_expect_eq(page[4096], 0xcd);
		memset(page, 0, VMBUS_PAGE_SIZE);
	}
	fixture_free(kvm);
}

static unsigned int resets, crashes;

static void reset_count(void *opaque)
{
	cr_expect_eq(opaque, &resets);
	resets++;
}

static void crash_count(void *opaque, const uint64_t param[5], uint64_t control)
{
	cr_expect(opaque == &resets && param[4] == 44 && control == (HV_CRASH_NOTIFY | 1));
	crashes++;
}

Test(msr, the_vmm_hears_of_resets_and_crashes)
{
	struct vmbus_kvm *kvm = fixture_new();
	struct vmbus_kvm_stats stats;

	cr_expect(vmbus_kvm_msr_write(kvm, 0, HV_MSR_RESET, 1), "nobody listens");
	cr_expect(vmbus_kvm_msr_write(kvm, 0, HV_MSR_CRASH_CTL, HV_CRASH_NOTIFY));
	kvm->config.opaque = &resets;
	kvm->config.reset = reset_count;
	kvm->config.crash = crash_count;
	cr_expect(vmbus_kvm_msr_write(kvm, 0, HV_MSR_RESET, 2));
	cr_expect_eq(resets, 0, "another bit");
	cr_expect(vmbus_kvm_msr_write(kvm, 0, HV_MSR_RESET, 1));
	cr_expect_eq(resets, 1);
	cr_expect(vmbus_kvm_msr_write(kvm, 0, HV_MSR_CRASH_P0 + 4, 44));
	cr_expect(vmbus_kvm_msr_write(kvm, 0, HV_MSR_CRASH_CTL, 1));
	cr_expect_eq(crashes, 0, "no notification");
	cr_expect(vmbus_kvm_msr_write(kvm, 0, HV_MSR_CRASH_CTL, HV_CRASH_NOTIFY | 1));
	cr_expect_eq(crashes, 1);
	vmbus_kvm_get_stats(kvm, &stats);
	cr_expect_eq(stats.exits_msr, 7);
	fixture_free(kvm);
}

Test(synic, what_is_done_is_counted)
{
	struct vmbus_kvm *kvm = fixture_new();
	struct vmbus_kvm_stats stats;

	vmbus_kvm_signal(kvm, 1, 5, 0);
	cr_assert(synic_start(kvm, 0));
	post(kvm, VMBUS_CONN_MESSAGE_MULTI, &contact, VMBUS_INITIATE_CONTACT_SIZE_BASE);
	vmbus_kvm_dispatch(kvm);
	vmbus_kvm_signal(kvm, 0, 5, 0);
	vmbus_kvm_hypercall(kvm, 0x1005d, 0x1234);
	vmbus_kvm_get_stats(kvm, &stats);
	cr_expect(stats.exits_msr == 4 && stats.exits_hypercall == 2 && stats.exits_synic == 0);
	cr_expect(stats.posts == 1 && stats.signals_in == 1 && stats.messages == 1);
	cr_expect(stats.flags == 1 && stats.interrupts == 2 && stats.undelivered == 1);
	fixture_free(kvm);
}

Test(exit, of_nobody_or_for_nobody)
{
	struct kvm_run run = {.exit_reason = KVM_EXIT_HLT};
	struct vmbus_kvm *kvm = fixture_new();

	kvm->mode = &vmbus_kvm_user_mode;
	cr_expect_eq(vmbus_kvm_handle_exit(kvm, VPS, &run), -EINVAL, "no such VP");
	cr_expect_eq(vmbus_kvm_handle_exit(kvm, 0, &run), VMBUS_KVM_NOT_MINE);
	run.exit_reason = KVM_EXIT_X86_RDMSR;
	run.msr.index = HV_MSR_FIRST + HV_MSR_COUNT;
	cr_expect_eq(vmbus_kvm_handle_exit(kvm, 0, &run), VMBUS_KVM_NOT_MINE);
	run.msr.index = HV_MSR_VP_INDEX;
	cr_expect_eq(vmbus_kvm_handle_exit(kvm, 1, &run), VMBUS_KVM_HANDLED);
	cr_expect(run.msr.data == 1 && !run.msr.error);
	run.exit_reason = KVM_EXIT_X86_WRMSR;
	cr_expect_eq(vmbus_kvm_handle_exit(kvm, 1, &run), VMBUS_KVM_HANDLED);
	cr_expect(run.msr.error, "it is read-only");
	run.msr.index = HV_MSR_GUEST_OS_ID;
	run.msr.data = 77;
	cr_expect_eq(vmbus_kvm_handle_exit(kvm, 1, &run), VMBUS_KVM_HANDLED);
	cr_expect(kvm->guest_os_id == 77 && !run.msr.error);
	run = (struct kvm_run){.exit_reason = KVM_EXIT_IO};
	run.io.port = kvm->config.port;
	run.io.direction = KVM_EXIT_IO_OUT;
	run.io.count = 1;
	run.io.size = 1;
	cr_expect_eq(vmbus_kvm_handle_exit(kvm, 0, &run), VMBUS_KVM_NOT_MINE);
	run.io.size = 4;
	run.io.port = 0x80;
	cr_expect_eq(vmbus_kvm_handle_exit(kvm, 0, &run), VMBUS_KVM_NOT_MINE);
	fixture_free(kvm);
}

Test(synic, old_guests_find_the_flag_in_their_interrupt_page)
{
	struct vmbus_kvm *kvm = fixture_new();

	cr_assert(synic_start(kvm, 0));
	vmbus_kvm_signal(kvm, 0, 66, 0x5000);
	cr_expect_eq(((uint64_t *)(void *)(ram + 0x5000))[1], 4);
	cr_expect_eq(((struct vmbus_synic_event_flags *)(ram + SIEFP_GPA) + VMBUS_SINT)->flags[0], 1);
	vmbus_kvm_signal(kvm, 0, 66, OUTSIDE);
	fixture_free(kvm);
}

Test(synic, pages_go_with_the_memory_they_lie_in)
{
	struct vmbus_kvm *kvm = fixture_new();
	uint8_t before;

	cr_assert(synic_start(kvm, 0));
	cr_assert_eq(vmbus_kvm_remove_memory(kvm, 0, NULL, NULL), 0);
	before = ram[SIEFP_GPA + 512];
	vmbus_kvm_signal(kvm, 0, 1, 0);
	cr_expect_eq(ram[SIEFP_GPA + 512], before);
	cr_expect_eq(interrupts[0], 0);
	fixture_free(kvm);
}

/* The host does not write where the guest may not. */
Test(synic, pages_that_are_read_only_are_none)
{
	struct vmbus_region region = VMBUS_REGION_INIT;
	struct vmbus_kvm *kvm = fixture_new();

	region.gpa = 0x100000;
	region.host = aligned_alloc(VMBUS_PAGE_SIZE, VMBUS_PAGE_SIZE);
	region.len = VMBUS_PAGE_SIZE;
	region.flags = VMBUS_REGION_READONLY;
	memset(region.host, 0, VMBUS_PAGE_SIZE);
	cr_assert_eq(vmbus_kvm_add_memory(kvm, &region), 0);
	cr_expect_not(vmbus_kvm_msr_write(kvm, 0, HV_MSR_SIMP, 0x100001));
	cr_expect_not(vmbus_kvm_msr_write(kvm, 0, HV_MSR_REFERENCE_TSC, 0x100001));
	cr_assert(synic_start(kvm, 0));
	vmbus_kvm_signal(kvm, 0, 3, 0x100000);
	cr_expect_eq(*(uint8_t *)region.host, 0);
	fixture_free(kvm);
	free(region.host);
}

Test(synic, reset_turns_everything_off)
{
	struct vmbus_kvm *kvm = fixture_new();
	uint64_t value;

	cr_assert(synic_start(kvm, 0));
	vmbus_kvm_msr_write(kvm, 0, HV_MSR_GUEST_OS_ID, 1);
	vmbus_kvm_msr_write(kvm, 0, HV_MSR_HYPERCALL, PAGE_GPA | 3);
	cr_assert_eq(vmbus_kvm_reset(kvm), 0);
	while (vmbus_kvm_resetting(kvm))
		vmbus_kvm_dispatch(kvm);
	cr_expect(vmbus_kvm_msr_read(kvm, 0, HV_MSR_SIMP, &value) && value == 0);
	cr_expect(vmbus_kvm_msr_read(kvm, 0, HV_MSR_SINT0 + 2, &value) && value == HV_SINT_MASKED);
	cr_expect(vmbus_kvm_msr_read(kvm, 0, HV_MSR_HYPERCALL, &value) && value == 0, "even if locked");
	vmbus_kvm_signal(kvm, 0, 1, 0);
	cr_expect_eq(interrupts[0], 0);
	fixture_free(kvm);
}

Test(doorbell, rings_for_its_connection_and_all_that_share_it)
{
	struct vmbus_kvm *kvm = fixture_new();
	int bells[2] = {eventfd(0, EFD_NONBLOCK), eventfd(0, EFD_NONBLOCK)};
	const struct vmbus_server_ops *ops = kvm->config.server.ops;
	uint64_t count_read;

	cr_assert_eq(ops->doorbell_add(kvm, VMBUS_CONN_EVENT, bells[0]), 0);
	cr_assert_eq(ops->doorbell_add(kvm, VMBUS_CONN_EVENT, bells[1]), 0);
	cr_expect_eq(vmbus_kvm_hypercall(kvm, 0x1005d, VMBUS_CONN_EVENT), 0);
	cr_expect_eq(read(bells[0], &count_read, 8), 8);
	cr_expect_eq(read(bells[1], &count_read, 8), 8);
	ops->doorbell_remove(kvm, VMBUS_CONN_EVENT, bells[0]);
	cr_expect_eq(vmbus_kvm_hypercall(kvm, 0x1005d, VMBUS_CONN_EVENT), 0);
	cr_expect_lt(read(bells[0], &count_read, 8), 0);
	ops->doorbell_remove(kvm, VMBUS_CONN_EVENT, bells[1]);
	cr_expect_eq(vmbus_kvm_hypercall(kvm, 0x1005d, VMBUS_CONN_EVENT), 0x12);
	fixture_free(kvm);
	close(bells[0]);
	close(bells[1]);
}

Test(cpuid, replaces_the_hypervisor_leaves)
{
	struct vmbus_kvm *kvm = fixture_new();
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + 10 * sizeof(cpuid->entries[0]));
	unsigned int i, signatures = 0;

	cpuid->nent = 4;
	cpuid->entries[0].function = 1;
	cpuid->entries[1].function = 0x40000000; /* KVM's */
	cpuid->entries[1].ebx = 0x4b4d564b;
	cpuid->entries[2].function = 0x40000100;
	cpuid->entries[3].function = 0x80000001;
	cr_expect_eq(vmbus_kvm_cpuid(kvm, cpuid, 8), -ENOSPC); /* and nothing has changed */
	cr_expect_eq(cpuid->nent, 4);
	cr_expect_eq(cpuid->entries[0].ecx, 0);
	cr_expect_eq(cpuid->entries[1].ebx, 0x4b4d564b);
	cr_expect_eq(vmbus_kvm_cpuid(kvm, cpuid, 4), -ENOSPC);
	cr_assert_eq(vmbus_kvm_cpuid(kvm, cpuid, 9), 0);
	cr_expect_eq(cpuid->nent, 9);
	cr_expect_eq(cpuid->entries[0].ecx >> 31, 1);
	for (i = 0; i < cpuid->nent; i++) {
		signatures += cpuid->entries[i].function == 0x40000000 &&
			      cpuid->entries[i].ebx == 0x7263694d &&
			      cpuid->entries[i].ecx == 0x666f736f &&
			      cpuid->entries[i].edx == 0x76482074;
		cr_expect_neq(cpuid->entries[i].function, 0x40000100);
		if (cpuid->entries[i].function == 0x40000001)
			cr_expect_eq(cpuid->entries[i].eax, 0x31237648, "Hv#1");
		if (cpuid->entries[i].function == 0x40000002)
			cr_expect_eq(cpuid->entries[i].ebx, 0x000a0000, "version 10.0");
		if (cpuid->entries[i].function == 0x40000003)
			cr_expect_eq(cpuid->entries[i].ebx, 0x30, "no other privilege");
		if (cpuid->entries[i].function == 0x40000005)
			cr_expect_eq(cpuid->entries[i].eax, VPS);
	}
	cr_expect_eq(signatures, 1);
	free(cpuid);
	fixture_free(kvm);
}

Test(config, a_vm_that_is_none_is_refused_and_nothing_is_left)
{
	static const enum vmbus_kvm_mode modes[] = {VMBUS_KVM_AUTO, VMBUS_KVM_KERNEL, VMBUS_KVM_USER};
	struct vmbus_kvm_config config = VMBUS_KVM_CONFIG_INIT;
	struct vmbus_kvm *kvm = NULL;
	struct vmbus_error why;
	size_t i;

	cr_expect_eq(vmbus_kvm_new(&config, &kvm, &why), -EINVAL, "no channel_opened");
	config.channel_opened = fake_opened;
	for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		config.mode = modes[i];
		cr_expect_eq(vmbus_kvm_new(&config, &kvm, &why), -ENOTSUP);
		cr_expect(strstr(why.text, "KVM_CAP_"));
		cr_expect_null(kvm, "nobody frees it twice");
	}
}

Test(ssdt, is_a_table_of_the_length_it_says)
{
	static const uint64_t windows[] = {0, 0x8000000};
	uint8_t table[VMBUS_KVM_SSDT_MAX], sum;
	size_t i, k, len;

	for (i = 0; i < 2; i++) {
		len = vmbus_kvm_ssdt(0xe0000000, windows[i], table);
		for (k = 0, sum = 0; k < len; k++)
			sum = (uint8_t)(sum + table[k]);
		cr_expect_eq(sum, 0, "checksum");
		cr_expect_eq(table[4], len);
		cr_expect(!memcmp(table, "SSDT", 4));
		cr_expect(memmem(table, len, "VMBus", 6) != NULL);
	}
}
