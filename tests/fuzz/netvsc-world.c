/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "netvsc-world.h"

#ifdef __clang__ /* libFuzzer looks for new ways through the adapter, not through this */
#pragma clang attribute push(__attribute__((no_sanitize("coverage"))), apply_to = function)
#endif

#define ROUNDS 1000 /* of serving, after which it is a loop without end */

struct world world;

static _Alignas(VMBUS_PAGE_SIZE) uint8_t ram[RAM_PAGES * VMBUS_PAGE_SIZE];
static _Alignas(VMBUS_PAGE_SIZE) uint8_t readonly[READONLY_PAGES * VMBUS_PAGE_SIZE];

void world_fail(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, what);
	abort();
}

/* -- Memory ------------------------------------------------------------------ */

static void region_add(uint64_t pfn, uint64_t pages, void *host, uint32_t flags)
{
	struct vmbus_region region = VMBUS_REGION_INIT;

	region.gpa = pfn << VMBUS_PAGE_SHIFT;
	region.len = pages << VMBUS_PAGE_SHIFT;
	region.host = host;
	region.flags = flags;
	CHECK(vmbus_mem_add(world.mem, &region) == 0);
}

/* The same memory in all runs; what a run may have written is cleared for the next. Without a
 * file behind it rings are not mapped anew for each. */
static void memory_start(void)
{
	world.mem = vmbus_mem_new();
	CHECK(world.mem);
	region_add(0, RAM_PAGES, ram, 0);
	region_add(READONLY_PFN, READONLY_PAGES, readonly, VMBUS_REGION_READONLY);
	hot_add();
}

static void memory_end(void)
{
	hot_remove();
	CHECK(vmbus_mem_remove(world.mem, 0, NULL, NULL) == 0); /* no page is pinned any more */
	vmbus_mem_unref(world.mem);
	memset(world_page(SEND_PFN), 0, SEND_PAGES * VMBUS_PAGE_SIZE);
	memset(world_page(DATA_PFN), 0, world.data_written);
	memset(world_page(RECEIVE_PFN), 0, world.receive_written);
}

void memory_written(const void *at, size_t len)
{
	const uint8_t *data = world_page(DATA_PFN), *receive = world_page(RECEIVE_PFN), *from = at;

	if (from >= receive && from < receive + RECEIVE_PAGES * VMBUS_PAGE_SIZE) {
		len += (size_t)(from - receive);
		if (len > world.receive_written)
			world.receive_written = len;
	} else if (from >= data && from < data + DATA_PAGES * VMBUS_PAGE_SIZE) {
		len += (size_t)(from - data);
		if (len > world.data_written)
			world.data_written = len;
	}
}

uint8_t *world_page(uint64_t pfn)
{
	if (pfn < RAM_PAGES)
		return ram + pfn * VMBUS_PAGE_SIZE;
	if (pfn >= HOT_PFN && pfn < HOT_PFN + HOT_PAGES && world.hot)
		return world.hot + (pfn - HOT_PFN) * VMBUS_PAGE_SIZE;
	if (pfn >= READONLY_PFN && pfn < READONLY_PFN + READONLY_PAGES)
		return readonly + (pfn - READONLY_PFN) * VMBUS_PAGE_SIZE;
	return NULL;
}

static void hot_gone(void *memory)
{
	munmap(memory, HOT_PAGES * VMBUS_PAGE_SIZE);
}

void hot_remove(void)
{
	int ret;

	if (!world.hot)
		return;
	ret = vmbus_mem_remove(world.mem, (uint64_t)HOT_PFN << VMBUS_PAGE_SHIFT, hot_gone, world.hot);
	CHECK(ret == 0 || ret == -EBUSY); /* a GPADL lies there */
	if (ret)
		return;
	world.hot = NULL;
	if (world.server)
		vmbus_server_memory_changed(world.server);
}

void hot_add(void)
{
	if (world.hot)
		return;
	world.hot = mmap(NULL, HOT_PAGES * VMBUS_PAGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(world.hot != MAP_FAILED);
	region_add(HOT_PFN, HOT_PAGES, world.hot, 0);
	if (world.server)
		vmbus_server_memory_changed(world.server);
}

/* -- The bus ------------------------------------------------------------------- */

#define SLOT 8u /* messages for the guest that wait until it looks */

static struct {
	size_t len;
	uint8_t bytes[VMBUS_MESSAGE_MAX];
} slot[SLOT];

static int bus_post(void *opaque, uint32_t vp, uint8_t sint, const void *message, size_t len)
{
	(void)opaque, (void)vp, (void)sint;
	if (world.slot_count == SLOT)
		return -EAGAIN;
	slot[world.slot_count].len = len;
	memcpy(slot[world.slot_count++].bytes, message, len);
	return 0;
}

bool messages_take(void)
{
	unsigned int count = world.slot_count;

	for (unsigned int i = 0; i < count; i++)
		CHECK(vmbus_guest_message(&world.guest, slot[i].bytes, slot[i].len) == 0);
	world.slot_count = 0;
	if (count)
		vmbus_server_slot_free(world.server);
	return count > 0;
}

static void bus_signal(void *opaque, uint32_t vp, uint32_t flag, uint64_t page)
{
	(void)opaque, (void)vp, (void)flag, (void)page; /* the guest looks in every turn */
}

static int bus_doorbell_add(void *opaque, uint32_t connection_id, int fd)
{
	(void)opaque;
	CHECK(world.doorbell_count < 4 * LINES);
	world.doorbells[world.doorbell_count++] = (struct doorbell){connection_id, fd};
	return 0;
}

static void bus_doorbell_remove(void *opaque, uint32_t connection_id, int fd)
{
	unsigned int i = 0;

	(void)opaque;
	while (i < world.doorbell_count && (world.doorbells[i].connection_id != connection_id ||
					    world.doorbells[i].fd != fd))
		i++;
	CHECK(i < world.doorbell_count);
	world.doorbells[i] = world.doorbells[--world.doorbell_count];
}

static void bus_opened(void *opaque, struct vmbus_channel *channel)
{
	unsigned int i = 0;

	(void)opaque;
	while (i < 4 * LINES && world.served[i].channel)
		i++;
	CHECK(i < 4 * LINES);
	world.served[i] = (struct served){channel, true};
}

static void bus_wake(void *opaque)
{
	(void)opaque;
	world.woken = true;
}

static const struct vmbus_server_ops bus_ops = {
	.size = sizeof(bus_ops),
	.post_message = bus_post,
	.signal = bus_signal,
	.doorbell_add = bus_doorbell_add,
	.doorbell_remove = bus_doorbell_remove,
	.channel_opened = bus_opened,
	.wake = bus_wake,
};

static bool serve(struct served *s)
{
	uint64_t rings;
	int ret;

	if (!s->channel)
		return false;
	if (read(vmbus_channel_doorbell(s->channel), &rings, sizeof(rings)) != sizeof(rings) && !s->again)
		return false;
	ret = vmbus_channel_service(s->channel, 64);
	if (ret == -ESHUTDOWN) {
		s->channel = NULL;
		return true;
	}
	CHECK(ret >= 0);
	s->again = ret > 0 || vmbus_channel_arm(s->channel);
	return true;
}

bool world_serve(void)
{
	bool moved = false;

	for (unsigned int i = 0; i < 4 * LINES; i++)
		moved |= serve(&world.served[i]);
	return moved;
}

static bool world_step(void)
{
	bool moved = world_serve();

	if (world.woken) {
		world.woken = false;
		vmbus_server_poll(world.server);
		moved = true;
	}
	return messages_take() || moved;
}

void world_run(void)
{
	unsigned int rounds = 0;

	world.serving = true;
	while (world_step())
		CHECK(++rounds < ROUNDS);
	world.serving = false;
}

void world_settle(void)
{
	unsigned int rounds = 0;
	bool moved = true;

	while (moved) {
		CHECK(++rounds < ROUNDS);
		world_run();
		moved = far_take();
		for (unsigned int i = 0; i < LINES; i++)
			moved |= line_read(&world.lines[i]);
	}
	world_check();
}

/* -- Life ------------------------------------------------------------------------------ */

static struct vmbus_loop *no_loop(void *opaque, struct vmbus_channel *channel)
{
	(void)opaque, (void)channel;
	return NULL;
}

static void adapter_start(void)
{
	static const uint32_t versions[] = {VSP_NVSP_V61, VSP_NVSP_V6, VSP_NVSP_V5,
					    VSP_NVSP_V4,  VSP_NVSP_V2, VSP_NVSP_V1};
	struct vsp_net_config config = VSP_NET_CONFIG_INIT;
	struct vsp_nic *ends[2], *nic;

	CHECK(vsp_nic_pair(world.config.channels, world.config.depth, ends) == 0);
	nic = ends[0];
	if (world.config.flags & WORLD_PCAP)
		CHECK(vsp_nic_pcap(ends[0], "/dev/null", &nic, NULL) == 0);
	if (world.config.flags & WORLD_NO_TSO)
		world.wire.offloads = VSP_NIC_TSO4 | VSP_NIC_TSO6;
	config.server = world.server;
	config.nic = wire_make(&world.wire, nic);
	config.instance_id.b[0] = 7;
	memcpy(config.mac, "\x00\x15\x5d\x01\x02\x03", 6);
	config.max_version = versions[world.config.version % 6];
	config.max_channels = LINES;
	config.allow_mac_change = !(world.config.flags & WORLD_KEEP_MAC);
	config.loop_of = no_loop;
	CHECK(vsp_net_new(&config, &world.net) == 0);
	far_open(ends[1], world.config.channels);
}

void world_start(const struct world_config *config)
{
	struct vmbus_server_config server = VMBUS_SERVER_CONFIG_INIT;
	struct vmbus_guest_config guest = VMBUS_GUEST_CONFIG_INIT;

	memset(&world, 0, sizeof(world));
	world.config = *config;
	memory_start();
	server.ops = &bus_ops;
	server.mem = world.mem;
	server.max_messages = 64;
	server.max_channels = 16;
	CHECK(vmbus_server_new(&server, &world.server) == 0);
	guest.ops = &guest_ops;
	guest.channels = world.channels;
	guest.max_channels = 2 * LINES;
	CHECK(vmbus_guest_init(&world.guest, &guest) == 0);
	adapter_start();
	guest_connect();
}

void world_end(void)
{
	struct vmbus_server_stats stats;

	vmbus_server_shutdown(world.server);
	world_run();
	CHECK(!vmbus_server_resetting(world.server) && world.doorbell_count == 0);
	vmbus_server_get_stats(world.server, &stats);
	CHECK(stats.gpadls == 0 && stats.gpadl_pages == 0 && stats.open_channels == 0);
	vmbus_server_free(world.server);
	world.server = NULL;
	CHECK(!world.wire.inner);
	far_close();
	memory_end();
}

#ifdef __clang__
#pragma clang attribute pop
#endif
