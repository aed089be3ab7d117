/* SPDX-License-Identifier: MIT */
/* The guest on the bus: it connects, hands memory over, opens and closes channels. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "netvsc-world.h"

#ifdef __clang__ /* libFuzzer looks for new ways through the adapter, not through this */
#pragma clang attribute push(__attribute__((no_sanitize("coverage"))), apply_to = function)
#endif

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

const struct vmbus_guest_ops guest_ops = {
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

static void list_range(struct list *list, uint64_t pfn, uint32_t pages, uint32_t wrap,
		       uint32_t offset, uint32_t len)
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
	list_range(list, rows[memory].pfn, rows[memory].pages, rows[memory].wrap,
		   rows[memory].offset, len);
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

#ifdef __clang__
#pragma clang attribute pop
#endif
