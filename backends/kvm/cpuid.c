/* SPDX-License-Identifier: MIT */
/* What the guest finds at CPUID 0x40000000 (TLFS 2.4). Only what the mode really
 * implements; no leaf of another hypervisor, since Linux picks the signature with
 * the highest base and would then be KVM's guest and start no VMBus. */
#include <errno.h>

#include "internal.h"

#define LEAVES (HV_CPUID_LAST - HV_CPUID_FIRST + 1)

static void leaf_fill(const struct vmbus_kvm *kvm, struct kvm_cpuid_entry2 *leaf)
{
	switch (leaf->function) {
	case HV_CPUID_FIRST:
		leaf->eax = HV_CPUID_LAST;
		leaf->ebx = 0x7263694d; /* "Microsoft Hv" */
		leaf->ecx = 0x666f736f;
		leaf->edx = 0x76482074;
		break;
	case HV_CPUID_INTERFACE:
		leaf->eax = HV_INTERFACE_SIGNATURE;
		break;
	case HV_CPUID_VERSION:
		leaf->eax = 0x3839; /* build 14393, version 10.0 */
		leaf->ebx = 0x000a0000;
		break;
	case HV_CPUID_FEATURES:
		leaf->eax = kvm->hv_eax3;
		leaf->ebx = HV_POST_MESSAGES | HV_SIGNAL_EVENTS;
		leaf->edx = kvm->hv_edx3;
		break;
	case HV_CPUID_HINTS:
		leaf->eax = kvm->hv_eax4;
		leaf->ebx = UINT32_MAX; /* spin as long as you like */
		break;
	case HV_CPUID_LIMITS:
		leaf->eax = kvm->vp_count;
		break;
	default: /* hardware features: none */
		break;
	}
}

static bool leaf_is_hypervisors(const struct kvm_cpuid_entry2 *entry)
{
	return entry->function >= HV_CPUID_FIRST && entry->function < HV_CPUID_END;
}

int vmbus_kvm_cpuid(const struct vmbus_kvm *kvm, struct kvm_cpuid2 *cpuid, unsigned int capacity)
{
	unsigned int i, kept = 0, n = 0;

	for (i = 0; i < cpuid->nent; i++)
		kept += !leaf_is_hypervisors(&cpuid->entries[i]);
	if (capacity < LEAVES || kept > capacity - LEAVES)
		return -ENOSPC;
	for (i = 0; i < cpuid->nent; i++) {
		struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

		if (leaf_is_hypervisors(entry))
			continue;
		if (entry->function == 1)
			entry->ecx |= 1u << 31; /* a hypervisor is there */
		cpuid->entries[n++] = *entry;
	}
	for (i = 0; i < LEAVES; i++) {
		cpuid->entries[n] = (struct kvm_cpuid_entry2){.function = HV_CPUID_FIRST + i};
		leaf_fill(kvm, &cpuid->entries[n++]);
	}
	cpuid->nent = n;
	return 0;
}
