/* SPDX-License-Identifier: MIT */
/* Everything a guest should not do, and what the TLFS says it gets for it. The
 * connection must work as before afterwards. */
#include "guest.h"

#define OUTSIDE 0x7ff00000000ull /* far above any RAM */
#define POSTS 100000u

static uint8_t area[2 * PAGE] __attribute__((aligned(PAGE)));

static uint16_t post(uint64_t gpa, uint32_t connection, uint32_t type, uint32_t size)
{
	if (gpa - (uintptr_t)area <= sizeof(area) - sizeof(struct vmbus_post_message)) {
		struct vmbus_post_message *message = (void *)(uintptr_t)gpa;

		message->connection_id = connection;
		message->type = type;
		message->payload_size = size;
	}
	return hypercall(HV_CALL_POST_MESSAGE, gpa);
}

static void msrs(bool kernel_synic)
{
	uint64_t value;

	expect("sint-vector-below-16", msr_write(MSR_SINT0 + VMBUS_SINT, 3), 0);
	expect("sint-unchanged", msr_read(MSR_SINT0 + VMBUS_SINT, &value) && value == SINT_VECTOR, 1);
	expect("sversion-is-read-only", msr_write(MSR_SVERSION, 1), 0);
	expect("vp-index-is-read-only", msr_write(MSR_VP_INDEX, 1), 0);
	expect("unknown-msr", msr_read(0x400001f0, &value), 0);
	/* KVM takes any address, and we then take the page for disabled */
	expect("simp-outside-memory", msr_write(MSR_SIMP, OUTSIDE | 1), kernel_synic);
	expect("siefp-outside-memory", msr_write(MSR_SIEFP, OUTSIDE | 1), kernel_synic);
	expect("simp-over-siefp", msr_write(MSR_SIMP, (uintptr_t)siefp | 1), 1);
	expect("eom-for-nothing", msr_write(MSR_EOM, 0), 1);
	expect("synic-again", synic_start(), 1);
}

static uint16_t signal_fast(uint32_t connection)
{
	return hypercall(HV_CALL_SIGNAL_EVENT | 1u << 16, connection);
}

static void hypercalls(void)
{
	const uint64_t page = (uintptr_t)area;

	expect("unknown-call", hypercall(0x1234, 0), 2);
	expect("reserved-bits", hypercall(HV_CALL_POST_MESSAGE | 1ull << 27, page), 3);
	expect("rep-count", hypercall(HV_CALL_POST_MESSAGE | 1ull << 32, page), 3);
	expect("post-unaligned", post(page + 4, 1, 1, 8), 4);
	expect("post-over-page-end", post(page + PAGE - 8, 1, 1, 8), 4);
	expect("post-outside-memory", post(OUTSIDE, 1, 1, 8), 5);
	expect("post-too-long", post(page, 1, 1, 241), 5);
	expect("post-hypervisors-type", post(page, 1, 0x80000000, 8), 5);
	expect("post-unknown-connection", post(page, 0x777777, 1, 8), 0x12);
	expect("signal-unknown-connection", signal_fast(0x777777), 0x12);
	expect("signal-connection-0", signal_fast(0), 0x12);
	*(volatile uint64_t *)(uintptr_t)area = 0x777777;
	expect("signal-slow", hypercall(HV_CALL_SIGNAL_EVENT, page), 0x12);
	*(volatile uint64_t *)(uintptr_t)area = 0x100777777;
	expect("signal-flag-1", hypercall(HV_CALL_SIGNAL_EVENT, page), 5);
}

static void posts(void)
{
	unsigned int i, odd = 0;

	for (i = 0; i < POSTS; i++) {
		uint16_t status;

		area[16] = (uint8_t)(i * 7); /* message type: all there are, and none */
		area[20] = (uint8_t)i;
		status = post((uintptr_t)area, VMBUS_CONN_MESSAGE, 1, i % 240);
		odd += status != HV_STATUS_SUCCESS && status != HV_STATUS_INSUFFICIENT_BUFFERS &&
		       status != HV_STATUS_INVALID_CONNECTION_ID;
	}
	expect("posts", odd, 0);
}

/* Some of those were messages one answers. */
static void slot_drain(void)
{
	struct vmbus_synic_message *slot = (struct vmbus_synic_message *)simp + VMBUS_SINT;
	uint8_t payload[VMBUS_MESSAGE_MAX];
	bool eom;

	while (vmbus_synic_take(slot, payload, &eom) >= 0)
		msr_write(MSR_EOM, 0);
}

void hostile_run(bool kernel_synic)
{
	uint32_t disk;

	expect("hypercall-page", hypercall_start(), 1);
	expect("synic", synic_start(), 1);
	msrs(kernel_synic);
	hypercalls();
	posts();
	slot_drain();
	if (!expect("connect-afterwards", bus_connect(), 1))
		return;
	disk = bus.disk->offer.connection_id;
	expect("signal-before-open", signal_fast(disk), 0x12);
	if (!expect("open-afterwards", bus_open(), 1))
		return;
	expect("signal-for-nothing", signal_fast(disk), 0);
	expect("write-afterwards", scsi_write(0, 8, 1, area), 1);
	expect("unload-afterwards", bus_close(), 1);
	expect("signal-after-unload", signal_fast(disk), 0x12);
}
