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

static bool messages_take(void)
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

/* -- The guest's bus driver ------------------------------------------------------ */

static uint32_t guest_post(void *opaque, uint32_t connection_id, const void *message, size_t len)
{
	(void)opaque;
	return vmbus_server_message(world.server, connection_id, message, len) == -EAGAIN ?
		HV_STATUS_INSUFFICIENT_BUFFERS : HV_STATUS_SUCCESS;
}

static void guest_signal(void *opaque, uint32_t connection_id)
{
	const uint64_t one = 1;

	(void)opaque;
	for (unsigned int i = 0; i < world.doorbell_count; i++)
		if (world.doorbells[i].connection_id == connection_id)
			CHECK(write(world.doorbells[i].fd, &one, sizeof(one)) == sizeof(one));
}

static void on_offered(void *opaque, struct vmbus_guest_channel *channel)
{
	uint16_t index = channel->offer.subchannel_index;

	(void)opaque;
	CHECK(index < LINES && index < world.config.channels);
	CHECK(!world.lines[index].channel ||
	      world.lines[index].channel->state == VMBUS_GUEST_CHANNEL_RESCINDED);
	memset(&world.lines[index], 0, sizeof(world.lines[index]));
	world.lines[index].channel = channel;
}

static void on_created(void *opaque, uint32_t gpadl, uint32_t status)
{
	(void)opaque;
	world.created = status ? 0 : gpadl;
	if (status || gpadl - GPADL_FIRST >= GPADLS)
		return;
	world.gpadls[gpadl - GPADL_FIRST] = world.making;
	world.gpadls_made |= 1u << (gpadl - GPADL_FIRST);
}

static void on_torn(void *opaque, uint32_t gpadl)
{
	(void)opaque;
	if (gpadl - GPADL_FIRST < GPADLS)
		world.gpadls_made &= ~(1u << (gpadl - GPADL_FIRST));
}

static void on_opened(void *opaque, struct vmbus_guest_channel *channel, uint32_t status)
{
	(void)opaque, (void)channel;
	world.open_result = status;
}

static const struct vmbus_guest_ops guest_ops = {
	.size = sizeof(guest_ops),
	.post = guest_post,
	.signal = guest_signal,
	.offered = on_offered,
	.gpadl_created = on_created,
	.gpadl_torndown = on_torn,
	.opened = on_opened,
};

void guest_connect(void)
{
	if (world.guest.state == VMBUS_GUEST_CONNECTED)
		return;
	memset(world.lines, 0, sizeof(world.lines));
	CHECK(vmbus_guest_connect(&world.guest) == 0);
	world_run();
	CHECK(world.guest.state == VMBUS_GUEST_CONNECTED);
	CHECK(vmbus_guest_request_offers(&world.guest) == 0);
	world_run();
	CHECK(world.lines[0].channel || !world.net);
}

/* -- GPADLs ------------------------------------------------------------------------ */

struct list { /* of a GPADL: ranges and their pages, as they lie in messages */
	uint32_t count, ranges;
	uint64_t words[2 + 2100];
};

static void list_range(struct list *list, uint64_t pfn, uint32_t pages, uint32_t wrap, uint32_t offset,
		       uint32_t len)
{
	const struct vmbus_gpa_range range = {len, offset};

	list->ranges++;
	memcpy(&list->words[list->count++], &range, sizeof(range));
	for (uint32_t i = 0; i < pages; i++)
		list->words[list->count++] = pfn + i % wrap;
}

static void list_make(struct list *list, enum memory memory)
{
	static const struct {
		uint32_t pfn, pages, wrap, offset, cut; /* bytes less than to the last page's end */
	} rows[MEMORY_KINDS] = {
		[MEMORY_RECEIVE] = {RECEIVE_PFN, RECEIVE_PAGES, RECEIVE_PAGES, 0, 0},
		[MEMORY_ONE_CHANNEL] = {RECEIVE_PFN, 60, 60, 0, 0},
		[MEMORY_SMALL] = {RECEIVE_PFN, 3, 3, 0, 0},
		[MEMORY_ALIASED] = {RECEIVE_PFN, 2099, RECEIVE_PAGES, 0, 0},
		[MEMORY_SEND] = {SEND_PFN, SEND_PAGES, SEND_PAGES, 0, 0},
		[MEMORY_ODD] = {RECEIVE_PFN, 60, 60, 100, 1000},
		[MEMORY_TWO_RANGES] = {RECEIVE_PFN, 8, 8, 0, 0},
		[MEMORY_HOT] = {HOT_PFN, HOT_PAGES, HOT_PAGES, 0, 0},
		[MEMORY_READONLY] = {READONLY_PFN, READONLY_PAGES, READONLY_PAGES, 0, 0},
		[MEMORY_RINGS] = {RING_PFN, 2 * RING_PAGES, 2 * RING_PAGES, 0, 0},
		[MEMORY_MIXED] = {RECEIVE_PFN, 60, 60, 2, 0},
	};
	uint32_t len = rows[memory].pages * VMBUS_PAGE_SIZE - rows[memory].offset - rows[memory].cut;

	list->count = list->ranges = 0;
	list_range(list, rows[memory].pfn, rows[memory].pages, rows[memory].wrap, rows[memory].offset, len);
	if (memory == MEMORY_MIXED)
		list->words[1 + 10] = READONLY_PFN;
	if (memory == MEMORY_TWO_RANGES)
		list_range(list, RECEIVE_PFN + 8, 8, 8, 0, 8 * VMBUS_PAGE_SIZE);
}

static void list_post(const struct list *list, uint32_t channel_id, uint32_t handle)
{
	struct {
		struct vmbus_msg_gpadl_header header;
		uint64_t words[VMBUS_GPADL_HEADER_WORDS];
	} VMBUS_PACKED first = {.header = {{.type = VMBUS_MSG_GPADL_HEADER}, channel_id, handle,
					   (uint16_t)(list->count * 8), (uint16_t)list->ranges}};
	struct {
		struct vmbus_msg_gpadl_body body;
		uint64_t words[VMBUS_GPADL_BODY_WORDS];
	} VMBUS_PACKED next = {.body = {{.type = VMBUS_MSG_GPADL_BODY}, 0, handle}};
	uint32_t at = list->count < VMBUS_GPADL_HEADER_WORDS ? list->count : VMBUS_GPADL_HEADER_WORDS, n;

	memcpy(first.words, list->words, at * 8u);
	(void)guest_post(NULL, VMBUS_CONN_MESSAGE, &first, sizeof(first.header) + at * 8u);
	for (; at < list->count; at += n) {
		n = list->count - at < VMBUS_GPADL_BODY_WORDS ? list->count - at : VMBUS_GPADL_BODY_WORDS;
		memcpy(next.words, &list->words[at], n * 8u);
		(void)guest_post(NULL, VMBUS_CONN_MESSAGE, &next, sizeof(next.body) + n * 8u);
	}
}

void gpadl_make(unsigned int which, enum memory memory)
{
	static struct list list;

	if (!world.lines[0].channel)
		return;
	list_make(&list, memory);
	(void)messages_take(); /* what is said about an older one of this name */
	world.making = memory;
	list_post(&list, world.lines[0].channel->offer.channel_id, GPADL_FIRST + which);
	(void)messages_take();
	world.aliased |= memory == MEMORY_ALIASED || memory == MEMORY_RINGS;
}

static void teardown_post(uint32_t handle)
{
	const struct vmbus_msg_gpadl_teardown message = {
		{.type = VMBUS_MSG_GPADL_TEARDOWN}, world.lines[0].channel->offer.channel_id, handle};

	(void)guest_post(NULL, VMBUS_CONN_MESSAGE, &message, sizeof(message));
}

void gpadl_tear(unsigned int which)
{
	if (!world.lines[0].channel || !(world.gpadls_made & 1u << which))
		return;
	world.reused = true;
	teardown_post(GPADL_FIRST + which);
}

/* -- Channels ------------------------------------------------------------------------ */

static void rings_map(unsigned int index, uint32_t pages)
{
	struct line *l = &world.lines[index];
	uint64_t pfn = RING_PFN + index * 2 * RING_PAGES;

	for (uint32_t r = 0; r < 2; r++, pfn += pages) {
		for (uint32_t i = 0; i + 1 < pages; i++)
			l->pages[r][i] = world_page(pfn + 1 + i);
		l->rings[r] = (struct vmbus_ring_memory){
			.control = (struct vmbus_ring_control *)(void *)world_page(pfn),
			.pages = l->pages[r],
			.size = (pages - 1) * VMBUS_PAGE_SIZE};
	}
}

bool line_open(unsigned int index, uint32_t pages)
{
	struct vmbus_guest_channel *channel = world.lines[index].channel;
	struct line *l = &world.lines[index];
	uint64_t pfns[2 * RING_PAGES];
	uint32_t gpadl;

	if (!channel || channel->state != VMBUS_GUEST_CHANNEL_OFFERED)
		return false;
	memset(l, 0, sizeof(*l));
	l->channel = channel;
	memset(world_page(RING_PFN + index * 2 * RING_PAGES), 0, 2 * RING_PAGES * VMBUS_PAGE_SIZE);
	rings_map(index, pages);
	for (uint32_t i = 0; i < 2 * pages; i++)
		pfns[i] = RING_PFN + index * 2 * RING_PAGES + i;
	world.created = 0;
	world.open_result = UINT32_MAX;
	CHECK(vmbus_guest_gpadl_create(channel, pfns, 0, 2 * pages * VMBUS_PAGE_SIZE, &gpadl) == 0);
	(void)vmbus_guest_flush(&world.guest);
	world_run();
	if (world.created != gpadl)
		return false;
	l->gpadl = gpadl;
	CHECK(vmbus_guest_open(channel, gpadl, &l->rings[0], &l->rings[1], 0, NULL) == 0);
	world_run();
	CHECK(world.open_result == 0);
	return true;
}

void line_close(unsigned int index)
{
	struct line *l = &world.lines[index];

	if (!l->channel || !l->gpadl || vmbus_guest_close(l->channel))
		return;
	CHECK(vmbus_guest_gpadl_teardown(l->channel, l->gpadl) == 0);
	l->gpadl = 0;
	memset(l->owed, 0, sizeof(l->owed));
	world_run();
	if (index == 0) {
		memset(world.taken, 0, sizeof(world.taken));
		world.reused = world.aliased = false;
	} else {
		world.reused = true; /* what the guest had of it is free */
	}
}

void lines_release(void)
{
	for (unsigned int i = 0; i < LINES; i++) {
		struct line *l = &world.lines[i];

		if (!l->channel || l->channel->state != VMBUS_GUEST_CHANNEL_RESCINDED)
			continue;
		line_close(i);
		CHECK(vmbus_guest_release(l->channel) == 0);
		l->channel = NULL;
	}
	world_run();
}

void all_close(void)
{
	for (unsigned int i = LINES; i-- > 0;)
		line_close(i);
	for (unsigned int i = 0; i < GPADLS; i++) {
		if (world.gpadls_made & 1u << i && world.lines[0].channel)
			teardown_post(GPADL_FIRST + i);
	}
	world_run();
	lines_release();
	world.gpadls_made = 0;
	world.reused = world.aliased = false;
}

void vm_reset(void)
{
	world.slot_count = 0;
	vmbus_server_reset(world.server);
	world_run();
	CHECK(!vmbus_server_resetting(world.server));
	world.guest.state = VMBUS_GUEST_DISCONNECTED;
	memset(world.taken, 0, sizeof(world.taken));
	world.gpadls_made = 0;
	world.reused = world.aliased = false;
	guest_connect();
}

void line_signal(struct line *line)
{
	vmbus_guest_signal(line->channel);
}

void line_ring(struct line *line)
{
	guest_signal(NULL, line->channel->offer.connection_id);
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
