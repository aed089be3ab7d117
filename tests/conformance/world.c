/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "world.h"

static bool world_device_step(void *user)
{
	struct world *world = user;
	uint32_t start = vmbus_inproc_random(world->bus, WORLD_DEVICES);

	for (uint32_t i = 0; i < WORLD_DEVICES; i++) {
		struct echo_device *device = &world->devices[(start + i) % WORLD_DEVICES];

		if (device->bus && echo_device_step(device))
			return true;
	}
	return false;
}

uint32_t world_slot(struct world *world, const struct vmbus_guest_channel *channel)
{
	return (uint32_t)(channel - vmbus_inproc_guest(world->bus)->config.channels);
}

static void world_event(void *user, struct vmbus_guest_channel *channel)
{
	struct world *world = user;

	echo_driver_event(&world->drivers[world_slot(world, channel)]);
}

void world_make(struct world *world, const struct flavour *flavour, uint64_t seed,
		uint32_t host_version, uint32_t extra_flags, const struct seeds *seeds)
{
	struct vmbus_inproc_config config = flavour_config(flavour, seed);

	memset(world, 0, sizeof(*world));
	world->flavour = flavour;
	world->vp_count = config.vp_count;
	config.user = world;
	config.event = world_event;
	config.device_step = world_device_step;
	config.flags |= extra_flags;
	config.server.max_version = host_version;
	world->bus = bus_new(&config, seeds);
	for (uint32_t i = 0; i < WORLD_DEVICES; i++) {
		world->devices[i].chatter = seed % 2 ? 64 : 0;
		if (echo_offer(&world->devices[i], world->bus, i))
			vmbus_inproc_fail(world->bus, "no offer");
	}
}

int world_connect(struct world *world)
{
	return flavour_connect(world->flavour, world->bus);
}

struct vmbus_guest_channel *world_channel(struct world *world, uint32_t device)
{
	const struct vmbus_channel *channel = world->devices[device].channel;

	return channel ? vmbus_guest_find(vmbus_inproc_guest(world->bus), vmbus_channel_id(channel))
		       : NULL;
}

uint32_t world_vp(struct world *world)
{
	return vmbus_inproc_random(world->bus, world->vp_count);
}

int world_open(struct world *world, struct vmbus_guest_channel *channel, uint32_t pages,
	       uint32_t requests)
{
	struct echo_driver *driver = &world->drivers[world_slot(world, channel)];

	echo_driver_init(driver, world->bus, channel, requests);
	return vmbus_inproc_open(world->bus, channel, pages, pages, world_vp(world));
}

int world_open_all(struct world *world, uint32_t requests)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < WORLD_DEVICES; i++)
		err = world_open(world, world_channel(world, i), world->flavour->ring_pages,
				 requests);
	return err;
}

void world_ask(struct world *world, struct vmbus_guest_channel *channel, uint32_t requests)
{
	world->drivers[world_slot(world, channel)].to_send += requests;
	vmbus_inproc_kick(world->bus, channel);
}

static bool traffic_is_over(void *user)
{
	struct world *world = user;

	for (uint32_t i = 0; i < ECHO_CHANNELS; i++)
		if (world->drivers[i].channel && !echo_driver_done(&world->drivers[i]))
			return false;
	return true;
}

int world_traffic(struct world *world)
{
	return vmbus_inproc_run(world->bus, traffic_is_over);
}

static bool target_is_reached(void *user)
{
	struct world *world = user;

	return vmbus_inproc_steps(world->bus) >= world->target;
}

int world_run_steps(struct world *world, uint32_t steps)
{
	int err;

	world->target = vmbus_inproc_steps(world->bus) + steps;
	err = vmbus_inproc_run(world->bus, target_is_reached);
	return err == -EAGAIN ? 0 : err;
}
