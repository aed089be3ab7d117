/* SPDX-License-Identifier: MIT */
/* The two hypercalls of a VMBus guest (TLFS 11.11): post a message, signal an
 * event. Everything else is an invalid code. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

/* The top bit marks the hypervisor's own messages. */
#define MESSAGE_TYPE_HYPERVISOR 0x80000000u

static uint16_t status_of(int result)
{
	switch (result) {
	case -EAGAIN:
	case -ENOMEM:
		return HV_STATUS_INSUFFICIENT_BUFFERS;
	case VMBUS_FAULT_BAD_CONNECTION:
		return HV_STATUS_INVALID_CONNECTION_ID;
	case VMBUS_FAULT_OVERSIZED:
		return HV_STATUS_INVALID_PARAMETER;
	default:
		/* the message arrived; what was wrong in it is between guest and server */
		return HV_STATUS_SUCCESS;
	}
}

static uint16_t message_deliver(struct vmbus_kvm *kvm, const struct vmbus_post_message *post)
{
	int result;

	if (post->type == 0 || (post->type & MESSAGE_TYPE_HYPERVISOR) ||
	    post->payload_size > VMBUS_MESSAGE_MAX)
		return HV_STATUS_INVALID_PARAMETER;
	if (post->type != VMBUS_MESSAGE_TYPE)
		return HV_STATUS_SUCCESS; /* arrived, and means nothing to VMBus */
	vmbus_kvm_lock(kvm);
	result = vmbus_server_message(kvm->server, post->connection_id & HV_CONNECTION_ID_MASK,
				      post->payload, post->payload_size);
	vmbus_kvm_unlock(kvm);
	return status_of(result);
}

uint16_t vmbus_kvm_hypercall_post(struct vmbus_kvm *kvm, uint64_t gpa)
{
	struct vmbus_post_message post;
	struct vmbus_view *view;
	int fault;

	count(&kvm->stats.posts);
	if (gpa % 8 != 0 || gpa % VMBUS_PAGE_SIZE > VMBUS_PAGE_SIZE - sizeof(post))
		return HV_STATUS_INVALID_ALIGNMENT;
	view = vmbus_mem_view(kvm->mem);
	fault = vmbus_view_read(view, gpa, &post, sizeof(post));
	vmbus_view_unref(view);
	return fault ? HV_STATUS_INVALID_PARAMETER : message_deliver(kvm, &post);
}

/* @event: connection id in bits 0 to 31, flag number in 32 to 47. */
uint16_t vmbus_kvm_hypercall_signal(struct vmbus_kvm *kvm, uint64_t event)
{
	uint16_t status = HV_STATUS_INVALID_CONNECTION_ID;
	uint32_t id = (uint32_t)event;
	unsigned int i;

	count(&kvm->stats.signals_in);
	if (event >> 32) /* each of our connections has the one flag 0 */
		return HV_STATUS_INVALID_PARAMETER;
	vmbus_kvm_lock(kvm);
	for (i = 0; i < kvm->doorbell_count; i++) {
		if (kvm->doorbells[i].connection_id == id) {
			uint64_t one = 1;

			/* a full counter is a doorbell that rings already */
			(void)!write(kvm->doorbells[i].fd, &one, sizeof(one));
			status = HV_STATUS_SUCCESS;
		}
	}
	vmbus_kvm_unlock(kvm);
	return status;
}

static uint16_t signal_slow(struct vmbus_kvm *kvm, uint64_t gpa)
{
	struct vmbus_view *view;
	uint64_t event;
	int fault;

	if (gpa % 8 != 0)
		return HV_STATUS_INVALID_ALIGNMENT;
	view = vmbus_mem_view(kvm->mem);
	fault = vmbus_view_read(view, gpa, &event, sizeof(event));
	vmbus_view_unref(view);
	return fault ? HV_STATUS_INVALID_PARAMETER : vmbus_kvm_hypercall_signal(kvm, event);
}

uint16_t vmbus_kvm_hypercall(struct vmbus_kvm *kvm, uint64_t control, uint64_t param)
{
	bool fast = control & HV_CONTROL_FAST;

	count(&kvm->stats.exits_hypercall);
	switch (HV_CONTROL_CODE(control)) {
	case HV_CALL_POST_MESSAGE:
	case HV_CALL_SIGNAL_EVENT:
		break;
	default:
		return HV_STATUS_INVALID_HYPERCALL_CODE;
	}
	if (control & (HV_CONTROL_RESERVED | HV_CONTROL_REPS | HV_CONTROL_VARIABLE_HEADER))
		return HV_STATUS_INVALID_HYPERCALL_INPUT;
	if (HV_CONTROL_CODE(control) == HV_CALL_SIGNAL_EVENT)
		return fast ? vmbus_kvm_hypercall_signal(kvm, param) : signal_slow(kvm, param);
	/* 256 bytes fit into no register */
	return fast ? HV_STATUS_INVALID_HYPERCALL_INPUT : vmbus_kvm_hypercall_post(kvm, param);
}
