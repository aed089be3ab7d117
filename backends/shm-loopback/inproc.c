/* SPDX-License-Identifier: MIT */
/* The in-process fixture: made and freed, and the hypercalls between its two sides. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "inproc-private.h"

#define CHANNELS_MAX 200u /* the guest's: a step's choices are counted */

void vmbus_inproc_fail(struct vmbus_inproc *bus, const char *format, ...)
{
	char text[256];
	va_list args;

	if (bus->violation[0] || bus->ending)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	(void)snprintf(bus->violation, sizeof(bus->violation), "seed %llu, step %llu: %s",
		       (unsigned long long)bus->config.seed, (unsigned long long)bus->steps, text);
	vmbus_inproc_trace(bus, "VIOLATION: %s", text);
}

/* -- What the host does --------------------------------------------------- */

static int host_post(void *opaque, uint32_t vp, uint8_t sint, const void *message, size_t len)
{
	struct vmbus_inproc *bus = opaque;
	struct inproc_messages *messages = &bus->messages;
	struct inproc_deferred *deferred;
	uint32_t type;

	memcpy(&type, message, sizeof(type));
	if (vp >= bus->config.vp_count || sint >= VMBUS_SINT_COUNT || len > VMBUS_MESSAGE_MAX) {
		vmbus_inproc_fail(bus, "%zu bytes for VP %u, SINT %u", len, vp, sint);
		return -EINVAL;
	}
	if (!vmbus_synic_post(&bus->vps[vp].slots[sint], message, len))
		return -EAGAIN;
	vmbus_inproc_trace(bus, "host: posts %s to VP %u", vmbus_message_name(type), vp);
	bus->vps[vp].interrupt |= sint == VMBUS_SINT;
	if (!bus->in_message) {
		vmbus_inproc_messages_answered(bus, vp, message, len);
		return 0;
	}
	/* the request it answers has to be seen first; there are no more slots than these */
	deferred = &messages->deferred[messages->deferred_count++];
	deferred->vp = vp;
	deferred->len = len;
	memcpy(deferred->bytes, message, len);
	return 0;
}

static void host_signal(void *opaque, uint32_t vp, uint32_t flag, uint64_t interrupt_page)
{
	struct vmbus_inproc *bus = opaque;

	if (vp >= bus->config.vp_count || flag == 0 || flag >= VMBUS_EVENT_FLAGS) {
		vmbus_inproc_fail(bus, "flag %u of VP %u signalled", flag, vp);
		return;
	}
	vmbus_inproc_messages_signal(bus, vp, flag);
	if (interrupt_page) {
		void *page = vmbus_inproc_page(bus, interrupt_page >> VMBUS_PAGE_SHIFT);

		if (page)
			(void)!vmbus_synic_set_flag(page, flag);
		flag = 0;
	}
	vmbus_inproc_trace(bus, "host: sets flag %u of VP %u", flag, vp);
	if (vmbus_synic_set_flag(&bus->vps[vp].slices[VMBUS_SINT], flag))
		bus->vps[vp].interrupt = true;
}

static int host_doorbell_add(void *opaque, uint32_t connection_id, int doorbell)
{
	struct vmbus_inproc *bus = opaque;
	struct inproc_doorbell *grown;

	for (uint32_t i = 0; i < bus->doorbell_count; i++) {
		if (bus->doorbells[i].fd < 0) {
			bus->doorbells[i] = (struct inproc_doorbell){connection_id, doorbell};
			return 0;
		}
	}
	grown = realloc(bus->doorbells, (bus->doorbell_count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	bus->doorbells = grown;
	bus->doorbells[bus->doorbell_count++] = (struct inproc_doorbell){connection_id, doorbell};
	return 0;
}

static void host_doorbell_remove(void *opaque, uint32_t connection_id, int doorbell)
{
	struct vmbus_inproc *bus = opaque;

	for (uint32_t i = 0; i < bus->doorbell_count; i++) {
		struct inproc_doorbell *entry = &bus->doorbells[i];

		if (entry->fd != doorbell || entry->connection_id != connection_id)
			continue;
		entry->fd = -1;
		return;
	}
	vmbus_inproc_fail(bus, "a doorbell removed that was not added (connection 0x%x)",
			  connection_id);
}

static void host_channel_opened(void *opaque, struct vmbus_channel *channel)
{
	struct vmbus_inproc *bus = opaque;
	struct inproc_served *served;

	if (bus->served_count == CHANNELS_MAX) {
		vmbus_inproc_fail(bus, "more than %u channels open", CHANNELS_MAX);
		return;
	}
	served = &bus->served[bus->served_count++];
	served->channel = channel;
	served->id = vmbus_channel_id(channel);
	served->thread = bus->served_next++ % bus->config.threads;
	served->rung = true; /* served once in any case */
	served->more = false;
	bus->asleep[served->thread] = false;
}

static void host_wake(void *opaque)
{
	struct vmbus_inproc *bus = opaque;

	bus->poll_due = true;
}

static void host_log(void *opaque, enum vmbus_fault fault, uint32_t channel_id, const char *text)
{
	vmbus_inproc_trace(opaque, "host: %s (channel %u): %s", text, channel_id,
			   vmbus_fault_text(fault));
}

static const struct vmbus_server_ops server_ops = {
	.size = sizeof(server_ops),
	.post_message = host_post,
	.signal = host_signal,
	.doorbell_add = host_doorbell_add,
	.doorbell_remove = host_doorbell_remove,
	.channel_opened = host_channel_opened,
	.wake = host_wake,
	.log = host_log,
};

/* -- What the guest does -------------------------------------------------- */

/* The host has taken the message: its own, posted meanwhile, are looked at after it. */
static void messages_note(struct vmbus_inproc *bus, const void *message, size_t len, bool taken)
{
	struct inproc_messages *messages = &bus->messages;

	if (taken)
		vmbus_inproc_messages_posted(bus, message, len);
	for (uint32_t i = 0; i < messages->deferred_count; i++)
		vmbus_inproc_messages_answered(bus, messages->deferred[i].vp,
					       messages->deferred[i].bytes,
					       messages->deferred[i].len);
	messages->deferred_count = 0;
}

static uint32_t status_of(int ret)
{
	switch (ret) {
	case -EAGAIN:
		return HV_STATUS_INSUFFICIENT_BUFFERS;
	case VMBUS_FAULT_BAD_CONNECTION:
		return HV_STATUS_INVALID_CONNECTION_ID;
	case VMBUS_FAULT_OVERSIZED:
		return HV_STATUS_INVALID_PARAMETER;
	default:
		return HV_STATUS_SUCCESS;
	}
}

static uint32_t guest_post(void *opaque, uint32_t connection_id, const void *message, size_t len)
{
	struct vmbus_inproc *bus = opaque;
	uint8_t padded[VMBUS_MESSAGE_MAX] = {0};
	const void *sent = message;
	uint32_t type, status;
	int ret;

	memcpy(&type, message, sizeof(type));
	vmbus_inproc_trace(bus, "guest: posts %s", vmbus_message_name(type));
	if (vmbus_inproc_random(bus, 256) < bus->config.push_back)
		return HV_STATUS_INSUFFICIENT_BUFFERS;
	if (bus->config.flags & VMBUS_INPROC_CONNECTION_1 &&
	    connection_id == VMBUS_CONN_MESSAGE_MULTI)
		connection_id = VMBUS_CONN_MESSAGE;
	if (bus->config.flags & VMBUS_INPROC_PAD_MESSAGES) {
		memcpy(padded, message, len);
		sent = padded;
	}
	bus->in_message = bus->bells_due = true;
	ret = vmbus_server_message(bus->server, connection_id, sent,
				   sent == padded ? sizeof(padded) : len);
	bus->in_message = false;
	status = status_of(ret);
	messages_note(bus, message, len, status == HV_STATUS_SUCCESS);
	if (ret > 0 && !(bus->config.flags & VMBUS_INPROC_HOSTILE))
		vmbus_inproc_fail(bus, "the host refuses %s: %s", vmbus_message_name(type),
				  vmbus_fault_text((enum vmbus_fault)ret));
	return status;
}

static void guest_signal(void *opaque, uint32_t connection_id)
{
	struct vmbus_inproc *bus = opaque;
	uint64_t one = 1;

	vmbus_inproc_trace(bus, "guest: signals connection 0x%x", connection_id);
	bus->bells_due = true;
	for (uint32_t i = 0; i < bus->doorbell_count; i++)
		if (bus->doorbells[i].fd >= 0 && bus->doorbells[i].connection_id == connection_id &&
		    write(bus->doorbells[i].fd, &one, sizeof(one)) != sizeof(one) &&
		    errno != EAGAIN)
			vmbus_inproc_fail(bus, "doorbell: %s", strerror(errno));
}

uint32_t vmbus_inproc_slot(const struct vmbus_inproc *bus,
			   const struct vmbus_guest_channel *channel)
{
	return (uint32_t)(channel - bus->guest.config.channels);
}

/* A guest kernel starts: with what it is given, and the hardware of this fixture. */
int vmbus_inproc_guest_boot(struct vmbus_inproc *bus, const struct vmbus_guest_config *config)
{
	struct vmbus_guest_config full = *config;

	if (full.ops)
		memcpy(&bus->guest_ops, full.ops, sizeof(bus->guest_ops));
	bus->guest_ops.size = sizeof(bus->guest_ops);
	bus->guest_ops.post = guest_post;
	bus->guest_ops.signal = guest_signal;
	full.ops = &bus->guest_ops;
	full.opaque = bus;
	full.interrupt_page = bus->interrupt_pfn << VMBUS_PAGE_SHIFT;
	full.interrupt_memory = vmbus_inproc_page(bus, bus->interrupt_pfn);
	if (!full.channels) {
		full.channels = bus->own_channels;
		full.max_channels = INPROC_CHANNELS;
	}
	return full.max_channels <= CHANNELS_MAX ? vmbus_guest_init(&bus->guest, &full) : -EINVAL;
}

/* -- Life ----------------------------------------------------------------- */

static int vps_init(struct vmbus_inproc *bus)
{
	uint64_t pfns[2 * INPROC_VPS + 1];
	uint32_t count = bus->config.vp_count;
	int err = vmbus_inproc_memory_alloc(bus, 2 * count + 1, pfns, PAGE_FIXED);

	if (err)
		return err;
	for (uint32_t i = 0; i < count; i++) {
		bus->vps[i].slots = vmbus_inproc_page(bus, pfns[i]);
		bus->vps[i].slices = vmbus_inproc_page(bus, pfns[count + i]);
	}
	bus->interrupt_pfn = pfns[2 * count];
	return 0;
}

static bool config_valid(const struct vmbus_inproc_config *config)
{
	return config->size >= sizeof(*config) && config->vp_count &&
	       config->vp_count <= INPROC_VPS && config->threads &&
	       config->threads <= INPROC_THREADS && config->memory >= 1u << 20 &&
	       config->memory <= 1u << 30 && config->push_back < 256;
}

static int parts_make(struct vmbus_inproc *bus)
{
	struct vmbus_server_config *server = &bus->config.server;
	int err = vmbus_inproc_memory_init(bus);

	if (!err)
		err = vps_init(bus);
	if (err)
		return err;
	bus->own_channels = calloc(INPROC_CHANNELS, sizeof(*bus->own_channels));
	bus->rings = calloc(CHANNELS_MAX, sizeof(*bus->rings));
	bus->served = calloc(CHANNELS_MAX, sizeof(*bus->served));
	if (!bus->own_channels || !bus->rings || !bus->served)
		return -ENOMEM;
	server->ops = &server_ops;
	server->opaque = bus;
	server->mem = bus->mem;
	server->vp_count = bus->config.vp_count;
	err = vmbus_server_new(server, &bus->server);
	return err ? err : vmbus_inproc_guest_boot(bus, &bus->config.guest);
}

int vmbus_inproc_new(const struct vmbus_inproc_config *config, struct vmbus_inproc **result)
{
	struct vmbus_inproc *bus;
	int err;

	if (!config_valid(config))
		return -EINVAL;
	bus = calloc(1, sizeof(*bus));
	if (!bus)
		return -ENOMEM;
	bus->config = *config;
	bus->ram_fd = -1;
	/* neighbouring seeds must not begin alike; 0 would stay 0 */
	bus->random = (config->seed + 1) * 0x9e3779b97f4a7c15ull | 1;
	for (int i = 0; i < 8; i++)
		(void)vmbus_inproc_random(bus, 2);
	err = parts_make(bus);
	if (err) {
		vmbus_inproc_free(bus);
		return err;
	}
	*result = bus;
	return 0;
}

static void transactions_check(struct vmbus_inproc *bus)
{
	for (uint32_t i = 0; i < bus->guest.config.max_channels; i++) {
		struct inproc_rings *rings = &bus->rings[i];

		if (rings->started && rings->owed_count)
			vmbus_inproc_fail(bus, "channel %u: transaction 0x%llx was never completed",
					  bus->guest.config.channels[i].offer.channel_id,
					  (unsigned long long)rings->owed[0]);
	}
}

/* Only the host moves on: the machine is off. */
static int host_shutdown(struct vmbus_inproc *bus)
{
	vmbus_server_shutdown(bus->server);
	bus->device_idle = false;
	for (uint32_t i = 0; i < INPROC_STEPS_MAX && vmbus_server_resetting(bus->server); i++)
		if (!vmbus_inproc_step_host(bus))
			break;
	if (vmbus_server_resetting(bus->server))
		vmbus_inproc_fail(bus, "the server does not finish");
	return bus->violation[0] ? -EPROTO : 0;
}

int vmbus_inproc_finish(struct vmbus_inproc *bus)
{
	int err = vmbus_inproc_settle(bus);

	if (err == -ETIMEDOUT)
		vmbus_inproc_fail(bus, "it never comes to rest");
	if (err)
		return -EPROTO;
	transactions_check(bus);
	err = host_shutdown(bus);
	if (err)
		return err;
	vmbus_inproc_memory_check(bus);
	return bus->violation[0] ? -EPROTO : 0;
}

void vmbus_inproc_free(struct vmbus_inproc *bus)
{
	if (!bus)
		return;
	for (uint32_t i = 0; bus->rings && i < CHANNELS_MAX; i++) {
		vmbus_inproc_rings_unwatch(&bus->rings[i]);
		vmbus_ring_unmap(&bus->rings[i].up);
		vmbus_ring_unmap(&bus->rings[i].down);
		free(bus->rings[i].pfns);
	}
	/* after a failure channels may be open, and the state still be wrong */
	bus->ending = true;
	bus->violation[0] = '\0';
	if (bus->server && host_shutdown(bus) == 0 && !vmbus_server_resetting(bus->server))
		vmbus_server_free(bus->server);
	vmbus_inproc_memory_fini(bus);
	free(bus->messages.owed);
	free(bus->doorbells);
	free(bus->served);
	free(bus->rings);
	free(bus->own_channels);
	free(bus);
}

struct vmbus_server *vmbus_inproc_server(struct vmbus_inproc *bus)
{
	return bus->server;
}

struct vmbus_guest *vmbus_inproc_guest(struct vmbus_inproc *bus)
{
	return &bus->guest;
}

struct vmbus_mem *vmbus_inproc_mem(struct vmbus_inproc *bus)
{
	return bus->mem;
}

void *vmbus_inproc_user(struct vmbus_inproc *bus)
{
	return bus->config.user;
}

const char *vmbus_inproc_violation(const struct vmbus_inproc *bus)
{
	return bus->violation[0] ? bus->violation : NULL;
}

uint64_t vmbus_inproc_steps(const struct vmbus_inproc *bus)
{
	return bus->steps;
}
