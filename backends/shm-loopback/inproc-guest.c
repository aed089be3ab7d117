/* SPDX-License-Identifier: MIT */
/* A guest's usual ways over the in-process fixture, and the replacement of its kernel. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "inproc-private.h"

/* What the guest learns from a message, for the waits below. */
void vmbus_inproc_guest_takes(struct vmbus_inproc *bus, const void *bytes)
{
	union {
		struct vmbus_msg_header header;
		struct vmbus_msg_gpadl_created created;
		struct vmbus_msg_gpadl_torndown torndown;
	} m;

	memcpy(&m, bytes, sizeof(m));
	if (m.header.type == VMBUS_MSG_ALLOFFERS_DELIVERED)
		bus->all_offered = true;
	for (uint32_t i = 0; i < bus->guest.config.max_channels; i++) {
		struct inproc_rings *rings = &bus->rings[i];

		if (!rings->pfns)
			continue;
		if (m.header.type == VMBUS_MSG_GPADL_CREATED && m.created.gpadl == rings->gpadl)
			rings->gpadl_state = m.created.status ? GPADL_REFUSED : GPADL_ACCEPTED;
		if (m.header.type == VMBUS_MSG_GPADL_TORNDOWN && m.torndown.gpadl == rings->gpadl)
			rings->gpadl_state = GPADL_GONE;
	}
}

/* -- Waits ---------------------------------------------------------------- */

static bool until_posted(struct vmbus_inproc *bus, const void *arg)
{
	(void)arg;
	return bus->guest.unsent_len == 0;
}

/* An earlier message that was pushed back stands in the way of a new one. */
static int posts_wait(struct vmbus_inproc *bus)
{
	return vmbus_inproc_run_until(bus, until_posted, NULL);
}

static bool until_not_connecting(struct vmbus_inproc *bus, const void *arg)
{
	(void)arg;
	return bus->guest.state != VMBUS_GUEST_CONNECTING;
}

static bool until_all_offered(struct vmbus_inproc *bus, const void *arg)
{
	(void)arg;
	return bus->all_offered;
}

static bool until_gpadl_answered(struct vmbus_inproc *bus, const void *arg)
{
	const struct inproc_rings *rings = arg;

	(void)bus;
	return rings->gpadl_state != GPADL_SENT;
}

static bool until_gpadl_gone(struct vmbus_inproc *bus, const void *arg)
{
	const struct inproc_rings *rings = arg;

	(void)bus;
	return rings->gpadl_state == GPADL_GONE;
}

static bool until_not_opening(struct vmbus_inproc *bus, const void *arg)
{
	const struct vmbus_guest_channel *channel = arg;

	(void)bus;
	return channel->state != VMBUS_GUEST_CHANNEL_OPENING;
}

static bool until_unloaded(struct vmbus_inproc *bus, const void *arg)
{
	(void)arg;
	return bus->guest.state == VMBUS_GUEST_DISCONNECTED;
}

/* -- The connection ------------------------------------------------------- */

int vmbus_inproc_connect(struct vmbus_inproc *bus)
{
	int err = vmbus_guest_connect(&bus->guest);

	if (!err)
		err = vmbus_inproc_run_until(bus, until_not_connecting, NULL);
	if (err)
		return err;
	if (bus->guest.state != VMBUS_GUEST_CONNECTED)
		return -EAGAIN;
	bus->all_offered = false;
	err = vmbus_guest_request_offers(&bus->guest);
	return err ? err : vmbus_inproc_run_until(bus, until_all_offered, NULL);
}

/* The bookkeeping of rings whose pages are somebody else's business now. */
static void rings_forget(struct inproc_rings *rings)
{
	vmbus_inproc_rings_unwatch(rings);
	vmbus_ring_unmap(&rings->up);
	vmbus_ring_unmap(&rings->down);
	free(rings->pfns);
	memset(rings, 0, sizeof(*rings));
}

int vmbus_inproc_unload(struct vmbus_inproc *bus)
{
	int err = posts_wait(bus);

	if (!err)
		err = vmbus_guest_unload(&bus->guest);
	if (!err)
		err = vmbus_inproc_run_until(bus, until_unloaded, NULL);
	/* a host of 0.13 does not say when it has let go */
	if (!err && bus->guest.version < VMBUS_V1_1)
		err = vmbus_inproc_settle(bus);
	if (err)
		return err;
	for (uint32_t i = 0; i < bus->guest.config.max_channels; i++) {
		vmbus_inproc_release(bus, bus->rings[i].pages, bus->rings[i].pfns);
		rings_forget(&bus->rings[i]);
	}
	return 0;
}

/* As Linux leaves things when it panics: the slots are empty without an EOM; the new kernel
 * writes the SIMP anew, upon which the host looks at its queue again. */
int vmbus_inproc_kexec(struct vmbus_inproc *bus, const struct vmbus_guest_config *config)
{
	vmbus_inproc_trace(bus, "guest: kexec");
	for (uint32_t i = 0; i < bus->config.vp_count; i++) {
		for (uint32_t sint = 0; sint < VMBUS_SINT_COUNT; sint++)
			memset(&bus->vps[i].slots[sint], 0, sizeof(bus->vps[i].slots[sint]));
		bus->vps[i].message = false;
	}
	bus->eom = true;
	for (uint32_t i = 0; i < bus->guest.config.max_channels; i++)
		rings_forget(&bus->rings[i]);
	vmbus_inproc_memory_limbo(bus);
	if (config)
		bus->config.guest = *config;
	return vmbus_inproc_guest_boot(bus, &bus->config.guest);
}

/* -- Channels ------------------------------------------------------------- */

static int rings_map(struct vmbus_inproc *bus, struct inproc_rings *rings, uint32_t upstream_pages)
{
	bool paged = bus->config.flags & VMBUS_INPROC_PAGED;
	int err = vmbus_ring_map(bus->view, rings->pfns, upstream_pages, paged, &rings->up);

	if (err)
		return err;
	return vmbus_ring_map(bus->view, rings->pfns + upstream_pages,
			      rings->pages - upstream_pages, paged, &rings->down);
}

/* In a row, or from anywhere: then neither side can map them contiguously. */
static int rings_alloc(struct vmbus_inproc *bus, uint32_t pages, uint64_t *pfns)
{
	if (vmbus_inproc_random(bus, 4) && !(bus->config.flags & VMBUS_INPROC_PAGED))
		return vmbus_inproc_memory_alloc_run(bus, pages, pfns);
	return vmbus_inproc_alloc(bus, pages, pfns);
}

int vmbus_inproc_rings_new(struct vmbus_inproc *bus, struct vmbus_guest_channel *channel,
			   uint32_t upstream_pages, uint32_t downstream_pages, uint32_t *gpadl)
{
	struct inproc_rings *rings = &bus->rings[vmbus_inproc_slot(bus, channel)];
	uint32_t pages = upstream_pages + downstream_pages;
	int err;

	if (rings->pfns)
		return -EINVAL;
	rings->pfns = calloc(pages, sizeof(rings->pfns[0]));
	err = rings->pfns ? rings_alloc(bus, pages, rings->pfns) : -ENOMEM;
	if (err)
		goto out;
	rings->pages = pages;
	rings->gpadl_state = GPADL_SENT;
	err = rings_map(bus, rings, upstream_pages);
	if (!err)
		err = vmbus_guest_gpadl_create(channel, rings->pfns, 0, pages * VMBUS_PAGE_SIZE,
					       &rings->gpadl);
	*gpadl = rings->gpadl;
	if (!err)
		return 0;
	vmbus_inproc_release(bus, pages, rings->pfns);
out:
	rings_forget(rings);
	return err;
}

int vmbus_inproc_rings_open(struct vmbus_inproc *bus, struct vmbus_guest_channel *channel,
			    uint32_t target_vp)
{
	struct inproc_rings *rings = &bus->rings[vmbus_inproc_slot(bus, channel)];
	int err;

	vmbus_inproc_rings_unwatch(rings);
	err = vmbus_guest_open(channel, rings->gpadl, &rings->up, &rings->down, target_vp, NULL);
	return err ? err : vmbus_inproc_rings_watch(rings);
}

void vmbus_inproc_rings_free(struct vmbus_inproc *bus, struct vmbus_guest_channel *channel)
{
	struct inproc_rings *rings = &bus->rings[vmbus_inproc_slot(bus, channel)];

	vmbus_inproc_release(bus, rings->pages, rings->pfns);
	rings_forget(rings);
}

void vmbus_inproc_distrust(struct vmbus_inproc *bus, struct vmbus_guest_channel *channel)
{
	bus->rings[vmbus_inproc_slot(bus, channel)].watched = false;
}

/* A host that refuses the open has let go of the list as soon as it is torn down. */
static int rings_tear_down(struct vmbus_inproc *bus, struct vmbus_guest_channel *channel)
{
	struct inproc_rings *rings = &bus->rings[vmbus_inproc_slot(bus, channel)];
	int err = posts_wait(bus);

	if (!err)
		err = vmbus_guest_gpadl_teardown(channel, rings->gpadl);
	if (!err)
		err = vmbus_inproc_run_until(bus, until_gpadl_gone, rings);
	if (!err)
		vmbus_inproc_rings_free(bus, channel);
	return err;
}

int vmbus_inproc_open(struct vmbus_inproc *bus, struct vmbus_guest_channel *channel,
		      uint32_t upstream_pages, uint32_t downstream_pages, uint32_t target_vp)
{
	struct inproc_rings *rings = &bus->rings[vmbus_inproc_slot(bus, channel)];
	uint32_t gpadl;
	int err = posts_wait(bus);

	if (!err)
		err = vmbus_inproc_rings_new(bus, channel, upstream_pages, downstream_pages,
					     &gpadl);
	if (!err)
		err = vmbus_inproc_run_until(bus, until_gpadl_answered, rings);
	if (err)
		return err;
	if (rings->gpadl_state == GPADL_REFUSED) {
		vmbus_inproc_rings_free(bus, channel);
		return -EAGAIN;
	}
	err = posts_wait(bus);
	if (!err)
		err = vmbus_inproc_rings_open(bus, channel, target_vp);
	if (!err)
		err = vmbus_inproc_run_until(bus, until_not_opening, channel);
	if (err || channel->state == VMBUS_GUEST_CHANNEL_OPEN)
		return err;
	if (channel->state == VMBUS_GUEST_CHANNEL_OFFERED)
		err = rings_tear_down(bus, channel);
	return err ? err : -EAGAIN;
}

int vmbus_inproc_close(struct vmbus_inproc *bus, struct vmbus_guest_channel *channel)
{
	int err = posts_wait(bus);

	if (!err)
		err = vmbus_guest_close(channel);
	vmbus_inproc_drivers_start(bus);
	return err ? err : rings_tear_down(bus, channel);
}

/* The pages are taken back before the host hears of it: from the RESCIND on it must not
 * touch them. */
int vmbus_inproc_release_channel(struct vmbus_inproc *bus, struct vmbus_guest_channel *channel)
{
	struct inproc_rings *rings = &bus->rings[vmbus_inproc_slot(bus, channel)];
	int err;

	vmbus_inproc_rings_unwatch(rings);
	vmbus_inproc_release(bus, rings->pages, rings->pfns);
	err = posts_wait(bus);
	if (!err && channel->gpadl)
		err = vmbus_guest_close(channel);
	if (!err)
		err = posts_wait(bus);
	if (!err)
		err = vmbus_guest_release(channel);
	if (!err)
		rings_forget(rings);
	return err;
}
