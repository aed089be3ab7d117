/* SPDX-License-Identifier: MIT */
/* The storage controller between every kind of guest and slow disks: what was written is
 * read again, whatever comes in between, in interleavings chosen by seeds. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "storage-world.h"

static void script_run(const char *name, uint32_t seeds_each,
		       int (*script)(struct storage_world *world))
{
	struct seeds seeds = seeds_of(seeds_each);
	static struct storage_world world;

	for (; seeds.next < seeds.end; seeds.next++) {
		/* a flavour a seed: they differ less here than on the bus */
		const struct flavour *flavour = &flavours[seeds.next % FLAVOURS];

		storage_world_make(&world, flavour, seeds.next, &seeds);
		cr_assert(storage_world_end(&world, name, script(&world)));
	}
}

static bool has_subs(struct storage_world *world)
{
	return vmbus_inproc_guest(world->bus)->version >= VMBUS_V2_4;
}

static int started(struct storage_world *world, uint16_t version)
{
	int err = flavour_connect(world->flavour, world->bus);

	return err ? err : storage_start(world, version);
}

/* -- Traffic -------------------------------------------------------------- */

static int traffic(struct storage_world *world)
{
	int err = started(world, VSP_STORVSP_WIN10);

	if (!err && has_subs(world))
		err = storage_start_subs(world, STORAGE_SUBS);
	storage_ask(world, 60);
	return err ? err : storage_traffic(world);
}

Test(conformance_storage, what_is_written_is_read_again)
{
	script_run("traffic", 150, traffic);
}

static int versions(struct storage_world *world)
{
	static const uint16_t all[] = {VSP_STORVSP_WIN10, VSP_STORVSP_WIN8_1, VSP_STORVSP_WIN8,
				       VSP_STORVSP_WIN7, VSP_STORVSP_WIN6};
	int err = flavour_connect(world->flavour, world->bus);

	for (uint32_t i = 0; !err && i < 5; i++) {
		struct vmbus_guest_channel *channel = storage_channel(world, 0);
		struct disk_driver *driver = &world->drivers[storage_slot(world, channel)];

		err = storage_start(world, all[i]);
		if (err)
			break;
		if (driver->storvsc.version != all[i] ||
		    driver->storvsc.max_sub_channels !=
			    (all[i] >= VSP_STORVSP_WIN8 ? STORAGE_SUBS : 0))
			return -EINVAL;
		storage_ask(world, 20);
		err = storage_traffic(world);
		world->driven[storage_slot(world, channel)] = false;
		if (!err)
			err = vmbus_inproc_close(world->bus, channel);
	}
	return err;
}

Test(conformance_storage, every_protocol_version_works_one_after_the_other)
{
	script_run("versions", 45, versions);
}

/* -- The end comes in the middle ------------------------------------------ */

static int busy(struct storage_world *world)
{
	int err = started(world, VSP_STORVSP_WIN10);

	if (!err && has_subs(world) && world->seed % 2)
		err = storage_start_subs(world, STORAGE_SUBS);
	storage_ask(world, 500);
	return err ? err : storage_steps(world, vmbus_inproc_random(world->bus, 400));
}

static int once_more(struct storage_world *world, int err)
{
	if (!err)
		err = storage_start(world, VSP_STORVSP_WIN10);
	storage_ask(world, 30);
	return err ? err : storage_traffic(world);
}

static bool subs_are_gone(void *user)
{
	for (uint16_t i = 1; i <= STORAGE_SUBS; i++)
		if (storage_channel(user, i) &&
		    storage_channel(user, i)->state != VMBUS_GUEST_CHANNEL_RESCINDED)
			return false;
	return true;
}

/* Closing the primary closes the device; the disk finishes what it has begun. */
static int close_busy(struct storage_world *world)
{
	int err = busy(world);

	storage_abandon(world);
	if (!err)
		err = vmbus_inproc_close(world->bus, storage_channel(world, 0));
	if (!err)
		err = vmbus_inproc_run(world->bus, subs_are_gone);
	for (uint16_t i = 1; !err && !world->flavour->never_releases && i <= STORAGE_SUBS; i++)
		if (storage_channel(world, i))
			err = vmbus_inproc_release_channel(world->bus, storage_channel(world, i));
	return once_more(world, err);
}

Test(conformance_storage, closes_with_requests_in_flight_and_begins_anew)
{
	script_run("close", 100, close_busy);
}

static int unload_busy(struct storage_world *world)
{
	int err = busy(world);

	storage_abandon(world);
	if (!err)
		err = vmbus_inproc_unload(world->bus);
	if (!err)
		err = flavour_connect(world->flavour, world->bus);
	return once_more(world, err);
}

Test(conformance_storage, unloads_with_requests_in_flight)
{
	script_run("unload", 100, unload_busy);
}

static int kexec(struct storage_world *world)
{
	int err = busy(world);

	for (uint32_t i = 0; !err && i < 2; i++) {
		struct vmbus_inproc_config config;

		storage_abandon(world);
		world->flavour = &flavours[vmbus_inproc_random(world->bus, FLAVOURS)];
		config = flavour_config(world->flavour, vmbus_inproc_random(world->bus, 1000));
		config.guest.target_vp = vmbus_inproc_random(world->bus, world->vp_count);
		err = vmbus_inproc_kexec(world->bus, &config.guest);
		/* the second one comes anywhere in the initialisation of the first */
		if (!err && i == 0)
			err = flavour_connect(world->flavour, world->bus);
		if (!err && i == 0)
			err = storage_open(world, 0);
		if (!err && i == 0) {
			struct vmbus_guest_channel *channel = storage_channel(world, 0);
			uint32_t slot = storage_slot(world, channel);

			err = disk_driver_init(&world->drivers[slot], world->bus, &world->book,
					       channel, NULL, VSP_STORVSP_WIN10);
			world->driven[slot] = true;
		}
		if (!err)
			err = storage_steps(world, vmbus_inproc_random(world->bus, 60));
	}
	if (!err)
		err = flavour_connect(world->flavour, world->bus);
	return once_more(world, err);
}

Test(conformance_storage, another_kernel_takes_over_with_requests_in_flight)
{
	script_run("kexec", 120, kexec);
}

static bool all_is_gone(void *user)
{
	for (uint16_t i = 0; i <= STORAGE_SUBS; i++)
		if (storage_channel(user, i) &&
		    storage_channel(user, i)->state != VMBUS_GUEST_CHANNEL_RESCINDED)
			return false;
	return true;
}

/* The controller is pulled out. */
static int rescind(struct storage_world *world)
{
	int err = busy(world);

	if (err)
		return err;
	vsp_storage_free(world->storage);
	world->storage = NULL;
	err = vmbus_inproc_run(world->bus, all_is_gone);
	storage_abandon(world);
	for (uint16_t i = 0; !err && !world->flavour->never_releases && i <= STORAGE_SUBS; i++)
		if (storage_channel(world, i))
			err = vmbus_inproc_release_channel(world->bus, storage_channel(world, i));
	return err;
}

Test(conformance_storage, the_controller_is_pulled_out_under_load)
{
	script_run("rescind", 100, rescind);
}

/* -- Disks come and go ---------------------------------------------------- */

static struct disk_driver *primary_driver(struct storage_world *world)
{
	return &world->drivers[storage_slot(world, storage_channel(world, 0))];
}

static bool is_rescanned(void *user)
{
	return primary_driver(user)->storvsc.rescans > 0;
}

/* A LUN goes under load: its requests end, somehow; the guest is told. */
static int hotplug(struct storage_world *world)
{
	struct disk_driver *driver;
	int err = busy(world);

	if (err)
		return err;
	driver = primary_driver(world);
	err = vsp_storage_remove_disk(world->storage, 1);
	if (!err)
		err = vmbus_inproc_run(world->bus, is_rescanned);
	storage_ask(world, 30);
	if (!err)
		err = storage_traffic(world);
	if (!err && driver->gone == 0)
		return -ENODEV; /* half of the requests went there */
	driver->storvsc.rescans = 0;
	if (!err)
		err = vsp_storage_add_disk(world->storage, 1, world->disk_refs[1]);
	if (!err)
		err = vmbus_inproc_run(world->bus, is_rescanned);
	for (uint32_t i = 0; i < STORAGE_CHANNELS; i++)
		world->drivers[i].gone = 0;
	storage_ask(world, 30);
	if (!err)
		err = storage_traffic(world);
	for (uint32_t i = 0; !err && i < STORAGE_CHANNELS; i++)
		err = world->drivers[i].gone ? -ENODEV : 0;
	return err;
}

Test(conformance_storage, disks_are_removed_and_added_under_load)
{
	script_run("hotplug", 90, hotplug);
}
