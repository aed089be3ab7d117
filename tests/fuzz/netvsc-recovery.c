/* SPDX-License-Identifier: MIT */
/* A guest that behaves, on an adapter that had one that did not. */
#include <string.h>

#include "netvsc-world.h"

#ifdef __clang__ /* libFuzzer looks for new ways through the adapter, not through this */
#pragma clang attribute push(__attribute__((no_sanitize("coverage"))), apply_to = function)
#endif

static void on_received(struct vsp_netvsc *driver, const struct vsp_netvsc_frame *frame)
{
	uint8_t head[VSP_NETVSC_HEAD_MAX];
	struct vsp_vnet_header header;
	uint32_t taken;

	CHECK(vsp_netvsc_nic_head(frame, driver->config.mtu, head, &taken, &header) > 0);
	world.driver_got++;
}

static void on_sent(struct vsp_netvsc *driver, void *user, uint32_t status)
{
	(void)driver, (void)user;
	CHECK(status == VSP_NVSP_STATUS_SUCCESS);
	world.driver_sent++;
}

static void on_answered(struct vsp_netvsc *driver, uint32_t status, const void *info, uint32_t len)
{
	(void)driver;
	CHECK(status == VSP_RNDIS_SUCCESS);
	guest_looks(info, len);
	world.driver_answered++;
}

static const struct vsp_netvsc_ops driver_ops = {
	.size = sizeof(driver_ops), .received = on_received, .sent = on_sent, .answered = on_answered};

static void driver_start(void)
{
	struct vsp_netvsc_config config = VSP_NETVSC_CONFIG_INIT;

	CHECK(line_open(0, RING_PAGES));
	gpadl_make(0, MEMORY_ONE_CHANNEL);
	gpadl_make(1, MEMORY_SEND);
	config.ops = &driver_ops;
	config.rsc = true;
	config.receive_gpadl = GPADL_FIRST;
	config.send_gpadl = GPADL_FIRST + 1;
	config.receive = world_page(RECEIVE_PFN);
	config.receive_len = 60 * VMBUS_PAGE_SIZE;
	config.send = world_page(SEND_PFN);
	config.send_len = SEND_PAGES * VMBUS_PAGE_SIZE;
	CHECK(vsp_netvsc_init(&world.driver, &config, world.lines[0].channel) == 0);
	line_signal(&world.lines[0]);
	world_settle();
	CHECK(world.driver.state == VSP_NETVSC_READY);
}

static void driver_sends(uint8_t kind)
{
	const uint32_t len = 300;
	uint8_t *at = vsp_netvsc_section(&world.driver, 1), header[VSP_NETVSC_HEADER_MAX];
	uint32_t transport = frame_build(at + VSP_NETVSC_HEADER_MAX, len, kind), n;
	struct vsp_vnet_header h = header_for(kind, len, transport);

	n = vsp_netvsc_header(at + VSP_NETVSC_HEADER_MAX, VSP_HEAD, len, &h, -1, header);
	CHECK(n);
	memmove(at + n, at + VSP_NETVSC_HEADER_MAX, len);
	memcpy(at, header, n);
	world.driver_sent = 0;
	CHECK(vsp_netvsc_send(&world.driver, 1, n + len, NULL, 0, NULL) == 0);
	line_signal(&world.lines[0]);
	world_settle();
	CHECK(world.driver_sent == 1 && far_len == len);
	CHECK(!memcmp(far_frame, at + n, len));
}

static void driver_receives(uint8_t kind, uint32_t len)
{
	static uint8_t frame[20000];
	uint32_t transport = frame_build(frame, len, kind);
	struct vsp_vnet_header header = header_for(kind, len, transport);
	uint64_t before = world.driver_got;

	CHECK(far_put(0, &header, frame, len));
	world_settle();
	CHECK(world.driver_got == before + 1);
}

void recovery_check(void)
{
	driver_start();
	driver_sends(FRAME_TCP4 | FRAME_ASKS);
	driver_receives(FRAME_UDP6 | FRAME_ASKS, 200);
	if (world.net->adapter.offloads.rsc4)
		driver_receives(FRAME_TCP4 | FRAME_ASKS, 20000);
	CHECK(vsp_netvsc_request(&world.driver, VSP_RNDIS_QUERY, 0x00010106, NULL, 0) == 0);
	line_signal(&world.lines[0]);
	world_settle();
	CHECK(world.driver_answered == 1 && world.driver.bad_packets == 0);
	CHECK(vsp_netvsc_halt(&world.driver) == 0);
	line_signal(&world.lines[0]);
	world_settle();
	world.driver.channel = NULL;
	all_close();
	world_check();
}

#ifdef __clang__
#pragma clang attribute pop
#endif
