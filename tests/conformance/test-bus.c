/* SPDX-License-Identifier: MIT */
/* The bus between every kind of guest and our host, in interleavings chosen by seeds. The
 * fixture checks what must hold after each step; the scripts here see to it that each
 * thing happens that a guest or a device may do. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "world.h"

/* Runs a script over all flavours and seeds; the last host that speaks all versions. */
static void script_run(const char *name, uint32_t seeds_each, int (*script)(struct world *world))
{
	struct seeds seeds = seeds_of(seeds_each);
	static struct world world;

	for (; seeds.next < seeds.end; seeds.next++) {
		for (uint32_t i = 0; i < FLAVOURS; i++) {
			world_make(&world, &flavours[i], seeds.next, VMBUS_V6_0, 0, &seeds);
			cr_assert(bus_end(world.bus, seeds.next, name, flavours[i].name,
					  script(&world)));
		}
	}
}

/* -- Versions ------------------------------------------------------------- */

Test(conformance_bus, every_guest_finds_its_version_with_every_host)
{
	static const uint32_t versions[] = {
#define X(constant, major, minor, host) VMBUS_##constant,
		VMBUS_VERSIONS(X)
#undef X
	};
	struct seeds seeds = {.traced = false};
	static struct world world;

	for (uint32_t v = 0; v < sizeof(versions) / sizeof(versions[0]); v++) {
		for (uint32_t i = 0; i < FLAVOURS; i++) {
			uint32_t expected = flavour_version(&flavours[i], versions[v]);
			int err;

			world_make(&world, &flavours[i], 2 + v, versions[v], 0, &seeds);
			err = world_connect(&world);
			cr_expect_eq(err, expected ? 0 : -EAGAIN, "%s, host %x", flavours[i].name,
				     versions[v]);
			if (expected) {
				cr_expect_eq(vmbus_inproc_guest(world.bus)->version, expected,
					     "%s, host %x", flavours[i].name, versions[v]);
				err = world_open_all(&world, 5);
				if (!err)
					err = world_traffic(&world);
			}
			cr_expect(bus_end(world.bus, 2 + v, "versions", flavours[i].name,
					  expected ? err : 0));
		}
	}
}

/* -- A life --------------------------------------------------------------- */

static int retarget(struct world *world)
{
	struct vmbus_guest *guest = vmbus_inproc_guest(world->bus);

	if (guest->version < VMBUS_V4_1 || world->flavour->never_modifies)
		return 0;
	for (uint32_t i = 0; i < WORLD_DEVICES; i++) {
		int err = vmbus_guest_modify(world_channel(world, i), world_vp(world));

		/* from 5.3 on there may be one at a time; pushed back ones are in the way */
		if (!err)
			err = world_run_steps(world, 100);
		if (err && err != -EAGAIN)
			return err;
	}
	return 0;
}

static int life(struct world *world)
{
	struct vmbus_guest_channel *channel;
	int err = world_connect(world);

	if (!err)
		err = world_open_all(world, 30);
	if (!err)
		err = world_run_steps(world, 150);
	if (!err)
		err = retarget(world);
	if (!err)
		err = world_traffic(world);
	if (err)
		return err;
	/* one is closed and opened again with the smallest rings, while others work */
	world_ask(world, world_channel(world, 0), 20);
	channel = world_channel(world, 1);
	err = vmbus_inproc_close(world->bus, channel);
	if (!err)
		err = world_open(world, channel, 2, 20);
	if (!err)
		err = world_traffic(world);
	if (!err)
		err = vmbus_inproc_unload(world->bus);
	if (!err)
		err = world_connect(world);
	if (!err)
		err = world_open_all(world, 5);
	return err ? err : world_traffic(world);
}

Test(conformance_bus, guests_live_their_lives)
{
	script_run("life", 60, life);
}

/* -- Full rings ----------------------------------------------------------- */

static void drivers_sleep(struct world *world, bool asleep)
{
	for (uint32_t i = 0; i < WORLD_DEVICES; i++) {
		struct vmbus_guest_channel *channel = world_channel(world, i);

		world->drivers[world_slot(world, channel)].asleep = asleep;
		vmbus_inproc_kick(world->bus, channel);
	}
}

/* One data page each way, packets up to half of it, nobody reads for a while: each side
 * comes to wait for the other, and must be woken. */
static int full_rings(struct world *world)
{
	int err = world_connect(world);

	for (uint32_t i = 0; !err && i < WORLD_DEVICES; i++) {
		struct vmbus_guest_channel *channel = world_channel(world, i);

		world->devices[i].chatter = 256;
		err = world_open(world, channel, 2, 0);
		world->drivers[world_slot(world, channel)].size_max = i == 0 ? 1900 : 8;
		world_ask(world, channel, 150);
	}
	for (uint32_t i = 0; !err && i < 4; i++) {
		err = world_run_steps(world, 60);
		drivers_sleep(world, true);
		if (!err)
			err = world_run_steps(world, 200);
		drivers_sleep(world, false);
	}
	return err ? err : world_traffic(world);
}

Test(conformance_bus, both_sides_wait_for_space_and_are_woken)
{
	script_run("full rings", 20, full_rings);
}

/* -- Sub-channels --------------------------------------------------------- */

static struct vmbus_guest_channel *sub_channel(struct world *world, uint16_t index)
{
	struct vmbus_guest *guest = vmbus_inproc_guest(world->bus);

	for (uint32_t i = 0; i < guest->config.max_channels; i++) {
		struct vmbus_guest_channel *channel = &guest->config.channels[i];

		if (channel->state != VMBUS_GUEST_CHANNEL_NONE &&
		    channel->offer.subchannel_index == index)
			return channel;
	}
	return NULL;
}

static bool subs_are_offered(void *user)
{
	return sub_channel(user, 1) && sub_channel(user, 2) && sub_channel(user, 3);
}

static bool subs_are_rescinded(void *user)
{
	for (uint16_t i = 1; i <= 3; i++)
		if (sub_channel(user, i) &&
		    sub_channel(user, i)->state != VMBUS_GUEST_CHANNEL_RESCINDED)
			return false;
	return true;
}

static int subs_open(struct world *world)
{
	int err;

	world->devices[0].subs_wanted = 3;
	world_ask(world, world_channel(world, 0), 10);
	err = vmbus_inproc_run(world->bus, subs_are_offered);
	for (uint16_t i = 1; !err && i <= 3; i++)
		err = world_open(world, sub_channel(world, i), 3, 20);
	return err;
}

/* The primary closes while its sub-channels work: they go with it. */
static int subs_go(struct world *world)
{
	int err;

	echo_driver_abandon(&world->drivers[world_slot(world, world_channel(world, 0))]);
	err = vmbus_inproc_close(world->bus, world_channel(world, 0));
	if (!err)
		err = vmbus_inproc_run(world->bus, subs_are_rescinded);
	for (uint32_t i = 0; i < ECHO_CHANNELS; i++)
		echo_driver_abandon(&world->drivers[i]);
	for (uint16_t i = 1; !err && !world->flavour->never_releases && i <= 3; i++)
		err = vmbus_inproc_release_channel(world->bus, sub_channel(world, i));
	return err;
}

static int sub_channels(struct world *world)
{
	int err = world_connect(world);

	if (err || vmbus_inproc_guest(world->bus)->version < VMBUS_V2_4)
		return err;
	for (int round = 0; !err && round < (world->flavour->never_releases ? 1 : 2); round++) {
		err = world_open(world, world_channel(world, 0), 4, 10);
		if (!err)
			err = subs_open(world);
		if (!err && round == 0)
			err = world_traffic(world);
		if (!err)
			err = subs_go(world);
	}
	return err;
}

Test(conformance_bus, sub_channels_come_work_and_go_with_their_primary)
{
	script_run("sub-channels", 25, sub_channels);
}

/* -- Rescind -------------------------------------------------------------- */

static struct vmbus_guest_channel *victim;

static bool victim_is_rescinded(void *user)
{
	(void)user;
	return victim->state == VMBUS_GUEST_CHANNEL_RESCINDED;
}

static bool device_is_offered(void *user)
{
	return world_channel(user, 0) != NULL;
}

/* Asks for the open, and leaves off at any point of it. */
static int open_begin(struct world *world)
{
	uint32_t gpadl;
	int err = vmbus_inproc_rings_new(world->bus, victim, 8, 8, &gpadl);

	if (err)
		return err;
	err = world_run_steps(world, vmbus_inproc_random(world->bus, 40));
	if (err)
		return err;
	/* the host may not have answered yet, or refuse: then there is nothing to open */
	err = vmbus_inproc_rings_open(world->bus, victim, 0);
	if (err && err != -EINVAL && err != -EAGAIN)
		return err;
	return world_run_steps(world, vmbus_inproc_random(world->bus, 20));
}

static int rescind(struct world *world)
{
	struct echo_device *device = &world->devices[0];
	uint32_t when = vmbus_inproc_random(world->bus, 3);
	int err = world_connect(world);

	victim = world_channel(world, 0);
	if (!err && when == 1)
		err = world_open(world, victim, 4, 40);
	if (!err && when == 1)
		err = world_run_steps(world, vmbus_inproc_random(world->bus, 300));
	if (!err && when == 2) {
		echo_driver_init(&world->drivers[world_slot(world, victim)], world->bus, victim,
				 10);
		err = open_begin(world);
	}
	if (err)
		return err;
	vmbus_channel_revoke(device->channel);
	device->channel = NULL;
	/* the same device again, at once: it is offered when the guest has let go */
	if (vmbus_inproc_random(world->bus, 2) && !world->flavour->never_releases)
		err = echo_offer(device, world->bus, 0);
	if (!err)
		err = vmbus_inproc_run(world->bus, victim_is_rescinded);
	echo_driver_abandon(&world->drivers[world_slot(world, victim)]);
	if (!err && world->flavour->never_releases)
		return 0;
	if (!err)
		err = vmbus_inproc_release_channel(world->bus, victim);
	if (!err && !device->channel)
		err = echo_offer(device, world->bus, 0);
	if (!err)
		err = vmbus_inproc_run(world->bus, device_is_offered);
	if (!err)
		err = world_open(world, world_channel(world, 0), 4, 10);
	return err ? err : world_traffic(world);
}

Test(conformance_bus, a_device_is_taken_away_and_given_again_at_any_moment)
{
	script_run("rescind", 60, rescind);
}

/* -- Unload, kexec, reset ------------------------------------------------- */

/* Everything in the middle of something. */
static int busy(struct world *world)
{
	int err = world_connect(world);

	if (!err)
		err = world_open(world, world_channel(world, 0), 4, 200);
	if (!err)
		err = world_open(world, world_channel(world, 1), world->flavour->ring_pages, 200);
	victim = world_channel(world, 2);
	echo_driver_init(&world->drivers[world_slot(world, victim)], world->bus, victim, 10);
	if (!err && vmbus_inproc_random(world->bus, 2))
		err = open_begin(world);
	return err ? err : world_run_steps(world, vmbus_inproc_random(world->bus, 200));
}

static int once_more(struct world *world)
{
	int err;

	for (uint32_t i = 0; i < ECHO_CHANNELS; i++)
		echo_driver_abandon(&world->drivers[i]);
	err = world_connect(world);
	if (!err)
		err = world_open_all(world, 10);
	return err ? err : world_traffic(world);
}

static int unload_busy(struct world *world)
{
	int err = busy(world);

	if (!err)
		err = vmbus_inproc_unload(world->bus);
	return err ? err : once_more(world);
}

Test(conformance_bus, unloads_while_devices_are_busy)
{
	script_run("unload", 40, unload_busy);
}

/* The new kernel is another system as often as not. */
static int kexec(struct world *world)
{
	struct vmbus_inproc_config config;
	int err = busy(world);

	if (err)
		return err;
	for (uint32_t i = 0; !err && i < 3; i++) {
		world->flavour = &flavours[vmbus_inproc_random(world->bus, FLAVOURS)];
		config = flavour_config(world->flavour, vmbus_inproc_random(world->bus, 1000));
		config.guest.target_vp = world_vp(world);
		err = vmbus_inproc_kexec(world->bus, &config.guest);
		/* the next crash comes while the host is still about the last one */
		if (!err && vmbus_inproc_random(world->bus, 2) == 0)
			err = vmbus_guest_connect(vmbus_inproc_guest(world->bus));
		if (!err)
			err = world_run_steps(world, vmbus_inproc_random(world->bus, 30));
	}
	if (!err)
		err = vmbus_inproc_kexec(world->bus, NULL);
	return err ? err : once_more(world);
}

Test(conformance_bus, another_kernel_takes_over_at_any_moment)
{
	script_run("kexec", 60, kexec);
}

static int reset(struct world *world)
{
	int err = busy(world);

	if (err)
		return err;
	vmbus_server_reset(vmbus_inproc_server(world->bus));
	err = vmbus_inproc_kexec(world->bus, NULL); /* the machine starts again */
	return err ? err : once_more(world);
}

Test(conformance_bus, the_machine_is_reset_at_any_moment)
{
	script_run("reset", 40, reset);
}
