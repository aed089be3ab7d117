/* SPDX-License-Identifier: MIT */
/* One step: of all that could happen next, one thing is picked and done. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "inproc-private.h"

enum action_type {
	/* the host's */
	HOST_POLL,  /* vmbus_server_poll() was asked for */
	HOST_EOM,   /* a slot came free */
	HOST_SERVE, /* a channel that is due, in a thread that is awake */
	HOST_SLEEP, /* a thread with nothing due */
	HOST_WAKE,  /* a sleeping thread, by a doorbell */
	HOST_DEVICE,
	/* the guest's */
	GUEST_INTERRUPT,
	GUEST_MESSAGE,
	GUEST_EVENT, /* a channel's driver */
	GUEST_FLUSH, /* messages that were pushed back */
	GUEST_STEP,
};

struct actions {
	uint32_t count;
	struct action {
		enum action_type type;
		uint32_t index;
	} list[512]; /* room for each kind with each thing there is, see inproc.c */
};

static const char *const action_names[] = {
	[HOST_POLL] = "host: poll",
	[HOST_EOM] = "host: slot free",
	[HOST_SERVE] = "host: serve",
	[HOST_SLEEP] = "host: thread sleeps",
	[HOST_WAKE] = "host: thread wakes",
	[HOST_DEVICE] = "host: device",
	[GUEST_INTERRUPT] = "guest: interrupt on VP",
	[GUEST_MESSAGE] = "guest: message on VP",
	[GUEST_EVENT] = "guest: driver of slot",
	[GUEST_FLUSH] = "guest: flush",
	[GUEST_STEP] = "guest: step",
};

/* xorshift64*, good enough and the same everywhere */
static uint64_t random_next(struct vmbus_inproc *bus)
{
	bus->random ^= bus->random >> 12;
	bus->random ^= bus->random << 25;
	bus->random ^= bus->random >> 27;
	return bus->random * 0x2545f4914f6cdd1dull;
}

uint32_t vmbus_inproc_random(struct vmbus_inproc *bus, uint32_t n)
{
	return (uint32_t)((random_next(bus) >> 32) * n >> 32);
}

void vmbus_inproc_trace(struct vmbus_inproc *bus, const char *format, ...)
{
	char line[160];
	va_list args;
	int n;

	if (!bus->config.trace)
		return;
	n = snprintf(line, sizeof(line), "%8llu ", (unsigned long long)bus->steps);
	va_start(args, format);
	(void)vsnprintf(line + n, sizeof(line) - (size_t)n, format, args);
	va_end(args);
	bus->config.trace(bus->config.user, line);
}

/* -- What could happen ---------------------------------------------------- */

static void action_add(struct actions *actions, enum action_type type, uint32_t index)
{
	actions->list[actions->count++] = (struct action){type, index};
}

void vmbus_inproc_doorbell_poll(struct vmbus_inproc *bus, struct inproc_served *served)
{
	uint64_t value;

	if (bus->bells_due &&
	    read(vmbus_channel_doorbell(served->channel), &value, sizeof(value)) == sizeof(value))
		served->rung = true;
}

static bool served_is_due(const struct inproc_served *served)
{
	return served->rung || served->more || vmbus_channel_pending(served->channel);
}

static void thread_actions(struct vmbus_inproc *bus, struct actions *actions, uint32_t thread)
{
	bool due = false, any = false;

	for (uint32_t i = 0; i < bus->served_count; i++) {
		struct inproc_served *served = &bus->served[i];

		if (served->thread != thread)
			continue;
		any = true;
		if (!served->rung)
			vmbus_inproc_doorbell_poll(bus, served);
		if (bus->asleep[thread]) {
			due |= served->rung;
		} else if (served_is_due(served)) {
			due = true;
			action_add(actions, HOST_SERVE, i);
		}
	}
	if (bus->asleep[thread] && due)
		action_add(actions, HOST_WAKE, thread);
	if (!bus->asleep[thread] && !due && any)
		action_add(actions, HOST_SLEEP, thread);
}

static void host_actions(struct vmbus_inproc *bus, struct actions *actions)
{
	if (bus->poll_due)
		action_add(actions, HOST_POLL, 0);
	if (bus->eom)
		action_add(actions, HOST_EOM, 0);
	for (uint32_t thread = 0; thread < bus->config.threads; thread++)
		thread_actions(bus, actions, thread);
	bus->bells_due = false;
	if (bus->config.device_step && !bus->device_idle)
		action_add(actions, HOST_DEVICE, 0);
}

static bool flush_is_due(const struct vmbus_guest *guest)
{
	for (uint32_t i = 0; i < VMBUS_GUEST_GPADLS; i++)
		if (guest->gpadls[i].pfns)
			return true;
	return guest->unsent_len > 0;
}

static void guest_actions(struct vmbus_inproc *bus, struct actions *actions)
{
	for (uint32_t i = 0; i < bus->config.vp_count; i++) {
		if (bus->vps[i].interrupt)
			action_add(actions, GUEST_INTERRUPT, i);
		if (bus->vps[i].message && bus->steps >= bus->vps[i].busy_until)
			action_add(actions, GUEST_MESSAGE, i);
	}
	for (uint32_t i = 0; i < bus->guest.config.max_channels; i++)
		if (bus->rings[i].event)
			action_add(actions, GUEST_EVENT, i);
	if (flush_is_due(&bus->guest))
		action_add(actions, GUEST_FLUSH, 0);
	if (bus->config.guest_step && !bus->guest_idle)
		action_add(actions, GUEST_STEP, 0);
}

/* -- The host's steps ----------------------------------------------------- */

static void host_serve(struct vmbus_inproc *bus, uint32_t index)
{
	struct inproc_served *served = &bus->served[index];
	int ret;

	served->rung = false;
	ret = vmbus_channel_service(served->channel, 1 + vmbus_inproc_random(bus, 16));
	served->more = ret > 0;
	if (ret == -ESHUTDOWN)
		*served = bus->served[--bus->served_count];
}

static void host_sleep(struct vmbus_inproc *bus, uint32_t thread)
{
	bool came = false;

	for (uint32_t i = 0; i < bus->served_count; i++)
		if (bus->served[i].thread == thread && vmbus_channel_arm(bus->served[i].channel))
			came = bus->served[i].more = true;
	bus->asleep[thread] = !came;
}

/* An I/O that finished wakes its thread, which serves all its channels. */
static bool host_device(struct vmbus_inproc *bus)
{
	if (!bus->config.device_step(bus->config.user))
		return false;
	for (uint32_t i = 0; i < bus->served_count; i++)
		bus->served[i].rung = true;
	memset(bus->asleep, 0, sizeof(bus->asleep));
	return true;
}

/* -- The guest's steps ---------------------------------------------------- */

void vmbus_inproc_kick(struct vmbus_inproc *bus, struct vmbus_guest_channel *channel)
{
	struct inproc_rings *rings = &bus->rings[vmbus_inproc_slot(bus, channel)];

	if (!rings->started)
		return;
	if (!(bus->config.flags & VMBUS_INPROC_DIRECT))
		vmbus_rx_disarm(&channel->rx);
	rings->event = bus->config.event != NULL;
}

static void flag_taken(struct vmbus_inproc *bus, uint32_t flag)
{
	struct vmbus_guest_channel *channel = vmbus_guest_find(&bus->guest, flag);

	if (channel && channel->state == VMBUS_GUEST_CHANNEL_OPEN)
		vmbus_inproc_kick(bus, channel);
}

static void flags_take(struct vmbus_inproc *bus, struct vmbus_synic_event_flags *slice)
{
	for (int flag = 0; (flag = vmbus_synic_take_flag(slice, (uint32_t)flag)) >= 0;) {
		if (flag == 0 && bus->guest.version < VMBUS_V2_4)
			flags_take(bus, bus->guest.config.interrupt_memory);
		else
			flag_taken(bus, (uint32_t)flag);
	}
}

/* Linux' vmbus_isr(): event flags first, then the slot, which is left to a tasklet. */
static void guest_interrupt(struct vmbus_inproc *bus, uint32_t index)
{
	struct inproc_vp *vp = &bus->vps[index];

	vp->interrupt = false;
	flags_take(bus, &vp->slices[VMBUS_SINT]);
	if (!vp->slots[VMBUS_SINT].type || vp->message)
		return;
	vp->message = true;
	vp->busy_until = bus->steps + vmbus_inproc_random(bus, bus->config.slot_busy + 1);
}

/* A channel that is open by now has its driver run for the first time. */
void vmbus_inproc_drivers_start(struct vmbus_inproc *bus)
{
	for (uint32_t i = 0; i < bus->guest.config.max_channels; i++) {
		struct vmbus_guest_channel *channel = &bus->guest.config.channels[i];
		struct inproc_rings *rings = &bus->rings[i];
		bool open = rings->pfns && channel->state == VMBUS_GUEST_CHANNEL_OPEN;

		if (open == rings->started)
			continue;
		rings->started = open;
		rings->event = open && bus->config.event;
	}
}

/* vmbus_on_msg_dpc(): one message, and no other until the next interrupt. */
static void guest_message(struct vmbus_inproc *bus, uint32_t index)
{
	struct inproc_vp *vp = &bus->vps[index];
	uint64_t message[VMBUS_MESSAGE_MAX / 8];
	bool eom;
	int len, fault;

	vp->message = false;
	len = vmbus_synic_take(&vp->slots[VMBUS_SINT], message, &eom);
	bus->eom |= eom;
	if (len < 0)
		return;
	vmbus_inproc_trace(bus, "guest: takes %s", vmbus_message_name((uint32_t)message[0]));
	vmbus_inproc_guest_takes(bus, message);
	fault = vmbus_guest_message(&bus->guest, message, (size_t)len);
	if (fault && !(bus->config.flags & VMBUS_INPROC_HOSTILE))
		vmbus_inproc_fail(bus, "the guest refuses a message of type %u: %s",
				  (uint32_t)message[0], vmbus_fault_text((enum vmbus_fault)fault));
	vmbus_inproc_drivers_start(bus);
}

static void guest_event(struct vmbus_inproc *bus, uint32_t slot)
{
	struct vmbus_guest_channel *channel = &bus->guest.config.channels[slot];
	struct inproc_rings *rings = &bus->rings[slot];

	rings->event = false;
	if (channel->state == VMBUS_GUEST_CHANNEL_OPEN)
		bus->config.event(bus->config.user, channel);
	if (channel->state == VMBUS_GUEST_CHANNEL_OPEN) /* still */
		rings->event |= vmbus_rx_arm(&channel->rx);
}

/* -- Picking -------------------------------------------------------------- */

/* Returns false if it turned out that there was nothing to do. */
static bool action_do(struct vmbus_inproc *bus, const struct action *action)
{
	switch (action->type) {
	case HOST_POLL:
		bus->poll_due = false;
		bus->bells_due = true;
		vmbus_server_poll(bus->server);
		break;
	case HOST_EOM:
		bus->eom = false;
		bus->bells_due = true;
		vmbus_server_slot_free(bus->server);
		break;
	case HOST_SERVE:
		bus->bells_due = true; /* a device rings to have another of its channels served */
		host_serve(bus, action->index);
		break;
	case HOST_SLEEP:
		host_sleep(bus, action->index);
		break;
	case HOST_WAKE:
		bus->asleep[action->index] = false;
		break;
	case HOST_DEVICE:
		bus->device_idle = !host_device(bus);
		return !bus->device_idle;
	case GUEST_INTERRUPT:
		guest_interrupt(bus, action->index);
		break;
	case GUEST_MESSAGE:
		guest_message(bus, action->index);
		break;
	case GUEST_EVENT:
		guest_event(bus, action->index);
		break;
	case GUEST_FLUSH:
		(void)vmbus_guest_flush(&bus->guest);
		break;
	case GUEST_STEP:
		bus->guest_idle = !bus->config.guest_step(bus->config.user);
		return !bus->guest_idle;
	}
	return true;
}

/* A doorbell, or an interrupt, for nothing: both sides must take it. */
static void spurious_signal(struct vmbus_inproc *bus)
{
	if (vmbus_inproc_random(bus, 256) >= bus->config.spurious)
		return;
	if (bus->served_count && vmbus_inproc_random(bus, 2))
		bus->served[vmbus_inproc_random(bus, bus->served_count)].rung = true;
	else
		bus->vps[vmbus_inproc_random(bus, bus->config.vp_count)].interrupt = true;
}

/* Nothing is left but messages that the guest leaves in their slots: time passes. */
static bool time_passes(struct vmbus_inproc *bus)
{
	uint64_t next = UINT64_MAX;

	for (uint32_t i = 0; i < bus->config.vp_count; i++)
		if (bus->vps[i].message && bus->vps[i].busy_until < next)
			next = bus->vps[i].busy_until;
	if (next == UINT64_MAX || next <= bus->steps)
		return false;
	bus->steps = next;
	return true;
}

static bool step_among(struct vmbus_inproc *bus, bool host, bool guest)
{
	struct actions actions;

	do {
		const struct action *action;

		if (bus->violation[0])
			return false;
		actions.count = 0;
		if (host)
			host_actions(bus, &actions);
		if (guest)
			guest_actions(bus, &actions);
		if (!actions.count && !(guest && time_passes(bus)))
			return false;
		if (!actions.count)
			continue;
		action = &actions.list[vmbus_inproc_random(bus, actions.count)];
		vmbus_inproc_trace(bus, "%s %u", action_names[action->type], action->index);
		bus->steps++;
		if (!action_do(bus, action))
			continue;
		if (action->type != HOST_DEVICE)
			bus->device_idle = false;
		if (action->type != GUEST_STEP)
			bus->guest_idle = false;
		spurious_signal(bus);
		vmbus_inproc_check(bus);
		return !bus->violation[0];
	} while (true);
}

/* The caller may have done things to the server. */
bool vmbus_inproc_step_host(struct vmbus_inproc *bus)
{
	bus->bells_due = true;
	return step_among(bus, true, false);
}

bool vmbus_inproc_step_guest(struct vmbus_inproc *bus)
{
	bus->bells_due = true;
	return step_among(bus, false, true);
}

bool vmbus_inproc_step(struct vmbus_inproc *bus)
{
	bus->bells_due = true;
	return step_among(bus, true, true);
}

int vmbus_inproc_run_until(struct vmbus_inproc *bus,
			   bool (*until)(struct vmbus_inproc *bus, const void *arg),
			   const void *arg)
{
	/* what the caller has just done may have given them something to do */
	bus->device_idle = bus->guest_idle = false;
	bus->bells_due = true;
	for (uint32_t i = 0; i < INPROC_STEPS_MAX; i++) {
		if (bus->violation[0])
			return -EPROTO;
		if (until && until(bus, arg))
			return 0;
		if (!step_among(bus, true, true))
			return bus->violation[0] ? -EPROTO : -EAGAIN;
	}
	return -ETIMEDOUT;
}

struct until {
	bool (*fn)(void *user);
};

static bool until_user(struct vmbus_inproc *bus, const void *arg)
{
	const struct until *until = arg;

	return until->fn(bus->config.user);
}

int vmbus_inproc_run(struct vmbus_inproc *bus, bool (*fn)(void *user))
{
	struct until until = {fn};

	return vmbus_inproc_run_until(bus, fn ? until_user : NULL, &until);
}

int vmbus_inproc_settle(struct vmbus_inproc *bus)
{
	int err = vmbus_inproc_run_until(bus, NULL, NULL);

	if (err != -EAGAIN)
		return err;
	vmbus_inproc_messages_idle(bus);
	return bus->violation[0] ? -EPROTO : 0;
}
