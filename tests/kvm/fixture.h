/* SPDX-License-Identifier: MIT */
/* The user mode's SynIC without KVM: MSRs and hypercalls are called directly,
 * interrupts are counted. */
#ifndef KVM_FIXTURE_H
#define KVM_FIXTURE_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../backends/kvm/internal.h"

#define RAM_PAGES 64u
#define RAM (RAM_PAGES * VMBUS_PAGE_SIZE)
#define SIMP_GPA 0x1000u
#define SIEFP_GPA 0x2000u
#define PAGE_GPA 0x3000u
#define INPUT_GPA 0x4000u
#define VECTOR 0xf3u
#define VPS 2u

static unsigned int interrupts[VPS];

static int fake_add_vcpu(struct vmbus_kvm *kvm, uint32_t vp)
{
	kvm->vps[vp].scontrol = HV_ENABLE;
	return 0;
}

static void fake_raise(struct vmbus_kvm *kvm, struct vp *vp)
{
	interrupts[vp - kvm->vps]++;
}

static const struct mode fake_mode = {
	.add_vcpu = fake_add_vcpu,
	.raise = fake_raise,
};

static void fake_opened(void *opaque, struct vmbus_channel *channel)
{
	(void)opaque, (void)channel;
}

static uint8_t *ram;

/* Returns NULL when out of memory. */
static inline struct vmbus_kvm *fixture_new(void)
{
	struct vmbus_kvm_config config = VMBUS_KVM_CONFIG_INIT;
	struct vmbus_region region = VMBUS_REGION_INIT;
	struct vmbus_kvm *kvm;
	uint32_t i;

	config.server.vp_count = VPS;
	config.channel_opened = fake_opened;
	ram = aligned_alloc(VMBUS_PAGE_SIZE, RAM);
	if (!ram || vmbus_kvm_init(&config, &fake_mode, &kvm))
		return NULL;
	kvm->which = VMBUS_KVM_USER;
	memset(ram, 0, RAM);
	memset(interrupts, 0, sizeof(interrupts));
	region.host = ram;
	region.len = RAM;
	if (vmbus_kvm_add_memory(kvm, &region))
		return NULL;
	for (i = 0; i < VPS; i++) {
		if (vmbus_kvm_add_vcpu(kvm, i, -1, i))
			return NULL;
	}
	return kvm;
}

static inline void fixture_free(struct vmbus_kvm *kvm)
{
	if (vmbus_kvm_shutdown(kvm))
		abort();
	while (vmbus_kvm_resetting(kvm))
		vmbus_kvm_dispatch(kvm);
	vmbus_kvm_free(kvm);
	free(ram);
}

/* As Linux does it. */
static inline bool synic_start(struct vmbus_kvm *kvm, uint32_t vp)
{
	return vmbus_kvm_msr_write(kvm, vp, HV_MSR_SIMP, SIMP_GPA | HV_ENABLE) &&
	       vmbus_kvm_msr_write(kvm, vp, HV_MSR_SIEFP, SIEFP_GPA | HV_ENABLE) &&
	       vmbus_kvm_msr_write(kvm, vp, HV_MSR_SINT0 + VMBUS_SINT, VECTOR) &&
	       vmbus_kvm_msr_write(kvm, vp, HV_MSR_SCONTROL, HV_ENABLE);
}

static inline struct vmbus_synic_message *slot_of_guest(void)
{
	return (struct vmbus_synic_message *)(ram + SIMP_GPA) + VMBUS_SINT;
}

static inline uint16_t post(struct vmbus_kvm *kvm, uint32_t connection, const void *payload, uint32_t len)
{
	struct vmbus_post_message message = {
		.connection_id = connection, .type = VMBUS_MESSAGE_TYPE, .payload_size = len,
	};

	memcpy(message.payload, payload, len);
	memcpy(ram + INPUT_GPA, &message, sizeof(message));
	return vmbus_kvm_hypercall(kvm, HV_CALL_POST_MESSAGE, INPUT_GPA);
}

#endif
