/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "storage-world.h"

static struct vmbus_loop *no_loop(void *opaque, struct vmbus_channel *channel)
{
	(void)opaque, (void)channel;
	return NULL;
}

static bool world_device_step(void *user)
{
	struct storage_world *world = user;
	uint32_t first = vmbus_inproc_random(world->bus, DISK_LUNS);

	for (uint32_t i = 0; i < DISK_LUNS; i++)
		if (slow_disk_step(&world->disks[(first + i) % DISK_LUNS]))
			return true;
	return false;
}

static void world_event(void *user, struct vmbus_guest_channel *channel)
{
	struct storage_world *world = user;
	uint32_t slot = storage_slot(world, channel);

	if (world->event)
		world->event(world, channel);
	else if (world->driven[slot] && world->drivers[slot].storvsc.channel == channel)
		disk_driver_event(&world->drivers[slot]);
}

static int controller_make(struct storage_world *world)
{
	static const uint32_t depths[] = {2, 8, 64, 256};
	struct vsp_storage_config config = VSP_STORAGE_CONFIG_INIT;
	int err;

	config.server = vmbus_inproc_server(world->bus);
	config.max_sub_channels = STORAGE_SUBS;
	config.queue_depth = depths[world->seed / 3 % 4];
	config.loop_of = no_loop;
	err = vsp_storage_new(&config, &world->storage);
	for (uint32_t i = 0; !err && i < DISK_LUNS; i++)
		err = vsp_storage_add_disk(world->storage, (uint8_t)i, world->disk_refs[i]);
	return err;
}

void storage_world_make(struct storage_world *world, const struct flavour *flavour, uint64_t seed,
			const struct seeds *seeds)
{
	struct vmbus_inproc_config config = flavour_config(flavour, seed);
	int err = 0;

	memset(world, 0, sizeof(*world));
	world->flavour = flavour;
	world->seed = seed;
	world->vp_count = config.vp_count;
	config.memory = 8u << 20;
	config.user = world;
	config.event = world_event;
	config.device_step = world_device_step;
	world->bus = bus_new(&config, seeds);
	for (uint32_t i = 0; i < DISK_LUNS; i++) {
		world->disk_refs[i] = slow_disk_new(&world->disks[i], world->bus);
		world->disks[i].immediate = seed % 2 ? 64 : 0;
		world->disks[i].failures = seed % 4 == 0 ? 20 : 0;
		if (!world->disk_refs[i])
			err = -ENOMEM;
	}
	if (err || controller_make(world))
		vmbus_inproc_fail(world->bus, "no controller");
}

bool storage_world_end(struct storage_world *world, const char *script, int err)
{
	bool good = bus_report(world->bus, world->seed, script, world->flavour->name, err);

	for (uint32_t i = 0; i < DISK_LUNS; i++)
		vsp_disk_unref(world->disk_refs[i]);
	vmbus_inproc_free(world->bus);
	for (uint32_t i = 0; i < DISK_LUNS; i++)
		good &= world->disks[i].closed;
	return good;
}

struct vmbus_guest_channel *storage_channel(struct storage_world *world, uint16_t subindex)
{
	struct vmbus_guest *guest = vmbus_inproc_guest(world->bus);

	for (uint32_t i = 0; i < STORAGE_CHANNELS; i++) {
		struct vmbus_guest_channel *channel = &guest->config.channels[i];

		if (channel->state != VMBUS_GUEST_CHANNEL_NONE &&
		    channel->offer.subchannel_index == subindex)
			return channel;
	}
	return NULL;
}

struct sought {
	uint16_t subindex;
	struct vmbus_channel *channel;
};

static void host_channel_look(struct vmbus_channel *channel, void *arg)
{
	struct sought *sought = arg;

	if (vmbus_channel_subindex(channel) == sought->subindex)
		sought->channel = channel;
}

struct vmbus_channel *storage_host_channel(struct storage_world *world, uint16_t subindex)
{
	struct sought sought = {.subindex = subindex};

	vmbus_server_each_channel(vmbus_inproc_server(world->bus), host_channel_look, &sought);
	return sought.channel;
}

uint32_t storage_slot(struct storage_world *world, const struct vmbus_guest_channel *channel)
{
	return (uint32_t)(channel - vmbus_inproc_guest(world->bus)->config.channels);
}

int storage_open(struct storage_world *world, uint16_t subindex)
{
	struct vmbus_guest_channel *channel = storage_channel(world, subindex);
	uint32_t pages = world->flavour->ring_pages;

	if (!channel)
		return -ENODEV;
	world->driven[storage_slot(world, channel)] = false;
	return vmbus_inproc_open(world->bus, channel, pages, pages,
				 vmbus_inproc_random(world->bus, world->vp_count));
}

static bool is_initialised(void *user)
{
	struct storage_world *world = user;
	uint32_t slot = storage_slot(world, storage_channel(world, 0));

	return world->drivers[slot].storvsc.state >= VSP_STORVSC_READY;
}

int storage_start(struct storage_world *world, uint16_t version)
{
	struct vmbus_guest_channel *channel;
	struct disk_driver *driver;
	int err = storage_open(world, 0);

	if (err)
		return err;
	channel = storage_channel(world, 0);
	driver = &world->drivers[storage_slot(world, channel)];
	err = disk_driver_init(driver, world->bus, &world->book, channel, NULL, version);
	world->driven[storage_slot(world, channel)] = true;
	if (!err)
		err = vmbus_inproc_run(world->bus, is_initialised);
	return err || driver->storvsc.state == VSP_STORVSC_READY ? err : -EPROTONOSUPPORT;
}

static bool subs_are_offered(void *user)
{
	for (uint16_t i = 1; i <= STORAGE_SUBS; i++)
		if (!storage_channel(user, i))
			return false;
	return true;
}

int storage_start_subs(struct storage_world *world, uint16_t count)
{
	struct disk_driver *primary =
		&world->drivers[storage_slot(world, storage_channel(world, 0))];
	int err = vsp_storvsc_create_sub_channels(&primary->storvsc, count);

	if (!err)
		err = vmbus_inproc_run(world->bus, subs_are_offered);
	for (uint16_t i = 1; !err && i <= STORAGE_SUBS; i++) {
		struct vmbus_guest_channel *channel = storage_channel(world, i);
		uint32_t slot = storage_slot(world, channel);

		err = storage_open(world, i);
		if (!err)
			err = disk_driver_init(&world->drivers[slot], world->bus, &world->book,
					       channel, primary, 0);
		world->driven[slot] = true;
	}
	return err;
}

void storage_ask(struct storage_world *world, uint32_t requests)
{
	for (uint32_t i = 0; i < STORAGE_CHANNELS; i++) {
		if (!world->driven[i])
			continue;
		world->drivers[i].to_send += requests;
		vmbus_inproc_kick(world->bus, world->drivers[i].storvsc.channel);
	}
}

static bool traffic_is_over(void *user)
{
	struct storage_world *world = user;

	for (uint32_t i = 0; i < STORAGE_CHANNELS; i++)
		if (world->driven[i] && !disk_driver_done(&world->drivers[i]))
			return false;
	return true;
}

int storage_traffic(struct storage_world *world)
{
	return vmbus_inproc_run(world->bus, traffic_is_over);
}

static bool target_is_reached(void *user)
{
	struct storage_world *world = user;

	return vmbus_inproc_steps(world->bus) >= world->target;
}

int storage_steps(struct storage_world *world, uint32_t steps)
{
	int err;

	world->target = vmbus_inproc_steps(world->bus) + steps;
	err = vmbus_inproc_run(world->bus, target_is_reached);
	return err == -EAGAIN ? 0 : err;
}

void storage_abandon(struct storage_world *world)
{
	for (uint32_t i = 0; i < STORAGE_CHANNELS; i++) {
		if (world->driven[i])
			disk_driver_abandon(&world->drivers[i]);
		world->driven[i] = false;
	}
}
