/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <string.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <criterion/criterion.h>

#include "net-world.h"
#include "netvsc.h"

static const uint8_t world_mac[6] = {0x00, 0x15, 0x5d, 0x01, 0x02, 0x03};

static uint32_t or_else(uint32_t value, uint32_t otherwise)
{
	return value ? value : otherwise;
}

void world_frame(uint8_t *f, uint32_t len, uint32_t number)
{
	uint32_t udp = len - 34;

	memcpy(f, world_mac, 6);
	memcpy(f + 6, "\x02\x00\x00\x00\x00\x99\x08\x00\x45\x00", 10);
	f[16] = (uint8_t)((len - 14) >> 8);
	f[17] = (uint8_t)(len - 14);
	memcpy(f + 18, "\x00\x00\x40\x00\x40\x11\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x02", 16);
	for (uint32_t i = 34; i < len; i++)
		f[i] = (uint8_t)(i * 31 + number * 7);
	if (udp >= 8) {
		f[38] = (uint8_t)(udp >> 8);
		f[39] = (uint8_t)udp;
	}
}

/* -- The guest's driver --------------------------------------------------- */

static struct world *world_of(struct vsp_netvsc *vsc)
{
	return vsc->user;
}

static void on_received(struct vsp_netvsc *vsc, const struct vsp_netvsc_frame *frame)
{
	struct world *w = world_of(vsc);
	struct world_frame *log = &w->frames[w->received % WORLD_LOG];
	uint32_t at = 0;

	log->len = frame->len;
	log->checksum = frame->checksum;
	log->coalesced = frame->coalesced;
	log->has_vlan = frame->has_vlan;
	log->vlan = frame->vlan;
	log->has_hash = frame->has_hash;
	log->hash = frame->hash;
	log->hash_info = frame->hash_info;
	log->channel = (uint8_t)(vsc - w->vsc);
	log->sum = 0;
	for (uint32_t i = 0; i < frame->piece_count; i++) {
		uint32_t len = frame->pieces[i].len, room = (uint32_t)sizeof(log->bytes) - at;

		memcpy(log->bytes + at, frame->pieces[i].data, len < room ? len : room);
		at += len < room ? len : room;
		log->sum = world_sum(log->sum, frame->pieces[i].data, len);
	}
	w->received++;
	w->unreturned++;
}

static void on_returning(struct vsp_netvsc *vsc)
{
	world_of(vsc)->unreturned = 0;
}

static void on_sent(struct vsp_netvsc *vsc, void *user, uint32_t status)
{
	struct world *w = world_of(vsc);

	w->sent_status[(uintptr_t)user % WORLD_LOG] = status;
	w->sent++;
}

static void on_answered(struct vsp_netvsc *vsc, uint32_t status, const void *info, uint32_t len)
{
	struct world *w = world_of(vsc);

	w->answered++;
	w->received_before_answer = w->received;
	w->answer_status = status;
	w->answer_len = len;
	memcpy(w->answer, info, len < sizeof(w->answer) ? len : sizeof(w->answer));
}

static void on_link(struct vsp_netvsc *vsc, bool up)
{
	(void)up;
	world_of(vsc)->links++;
}

static void on_sub_channels(struct vsp_netvsc *vsc, uint32_t granted)
{
	world_of(vsc)->granted = granted;
}

static const struct vsp_netvsc_ops vsc_ops = {
	.size = sizeof(vsc_ops),
	.received = on_received,
	.returning = on_returning,
	.sent = on_sent,
	.answered = on_answered,
	.link = on_link,
	.sub_channels = on_sub_channels,
};

static void on_event(void *user, struct vmbus_guest_channel *channel)
{
	struct world *w = user;
	struct vsp_netvsc *vsc = channel->user;
	unsigned int packets = 1;

	if (w->raw)
		w->raw(w);
	if (!vsc || w->deaf)
		return;
	cr_assert_eq(vsp_netvsc_poll(vsc, 10000, &packets), 0, "the host broke its ring");
	vmbus_guest_commit(channel);
	vmbus_guest_signal(channel);
}

static void on_gpadl_created(void *opaque, uint32_t gpadl, uint32_t status)
{
	struct world *w = vmbus_inproc_user(opaque);

	(void)gpadl;
	cr_assert_eq(status, 0);
	w->gpadls_created++;
}

static void on_gpadl_torndown(void *opaque, uint32_t gpadl)
{
	struct world *w = vmbus_inproc_user(opaque);

	(void)gpadl;
	w->gpadls_torn++;
}

static void on_offered(void *opaque, struct vmbus_guest_channel *channel)
{
	struct world *w = vmbus_inproc_user(opaque);
	uint16_t index = channel->offer.subchannel_index;

	cr_assert_lt(index, WORLD_CHANNELS);
	w->channels[index] = channel;
}

static const struct vmbus_guest_ops guest_ops = {
	.size = sizeof(guest_ops),
	.offered = on_offered,
	.gpadl_created = on_gpadl_created,
	.gpadl_torndown = on_gpadl_torndown,
};

/* -- The far end ---------------------------------------------------------- */

static void peer_readable(void *opaque)
{
	((struct world *)opaque)->readable++;
}

static void peer_writable(void *opaque)
{
	((struct world *)opaque)->writable++;
}

bool world_put(struct world *w, uint32_t queue, const void *frame, uint32_t len,
	       const struct vsp_vnet_header *header)
{
	struct vsp_nic_frame f = {.len = len};
	struct iovec iov[2] = {{&f.header, sizeof(f.header)}, {(void *)(uintptr_t)frame, len}};

	if (header)
		f.header = *header;
	f.iov = iov;
	f.iov_count = 2;
	return w->peer->ops->send(w->peer_queues[queue], &f, 1) == 1 && f.result == 0;
}

uint32_t world_take(struct world *w, uint32_t queue, uint8_t *frame, uint32_t size,
		    struct vsp_vnet_header *header)
{
	struct vsp_nic_frame f = {.len = 0};
	struct iovec iov[2] = {{&f.header, sizeof(f.header)}, {frame, size}};

	f.iov = iov;
	f.iov_count = 2;
	if (w->peer->ops->receive(w->peer_queues[queue], &f, 1) != 1)
		return 0;
	cr_assert_eq(f.result, 0);
	if (header)
		*header = f.header;
	return f.len;
}

/* -- Set-up --------------------------------------------------------------- */

/* Scattered guest pages in a row: the same memory a second time. */
static uint8_t *pages_map(struct world *w, const uint64_t *pfns, uint32_t count)
{
	uint8_t *all = mmap(NULL, (size_t)count << 12, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert_neq((void *)all, MAP_FAILED);
	for (uint32_t i = 0; i < count; i++) {
		void *page = vmbus_inproc_page(w->bus, pfns[i]);

		cr_assert_neq(mremap(page, 0, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, all + ((size_t)i << 12)),
			      MAP_FAILED);
	}
	return all;
}

static struct vmbus_loop *no_loop(void *opaque, struct vmbus_channel *channel)
{
	(void)opaque;
	(void)channel;
	return NULL;
}

static void world_nics(struct world *w)
{
	static const struct vsp_nic_events events = {
		.size = sizeof(events), .readable = peer_readable, .writable = peer_writable};
	struct vsp_net_config config = VSP_NET_CONFIG_INIT;
	uint32_t queues = or_else(w->options.queues, 1);
	struct vsp_nic *ends[2];

	cr_assert_eq(vsp_nic_pair(queues, or_else(w->options.depth, 1024), ends), 0);
	w->peer = ends[1];
	cr_assert_eq(w->peer->ops->set_offloads(w->peer, VSP_NIC_CSUM | VSP_NIC_TSO4 | VSP_NIC_TSO6), 0);
	for (uint32_t i = 0; i < queues; i++)
		cr_assert_eq(w->peer->ops->queue_new(w->peer, i, NULL, &events, w, &w->peer_queues[i]), 0);
	config.server = vmbus_inproc_server(w->bus);
	config.nic = ends[0];
	config.instance_id.b[0] = 7;
	memcpy(config.mac, world_mac, 6);
	config.max_channels = queues;
	config.loop_of = no_loop;
	if (w->options.version)
		config.max_version = w->options.version;
	cr_assert_eq(vsp_net_new(&config, &w->net), 0);
}

struct world *world_new(const struct world_options *options)
{
	struct vmbus_inproc_config config = VMBUS_INPROC_CONFIG_INIT;
	struct world *w = calloc(1, sizeof(*w));

	cr_assert_not_null(w);
	w->options = *options;
	config.seed = options->seed + 1;
	config.memory = 32u << 20;
	config.guest.ops = &guest_ops;
	config.user = w;
	config.event = on_event;
	cr_assert_eq(vmbus_inproc_new(&config, &w->bus), 0);
	world_nics(w);
	cr_assert_eq(vmbus_inproc_alloc(w->bus, or_else(options->receive_pages, 256), w->receive_pfns), 0);
	cr_assert_eq(vmbus_inproc_alloc(w->bus, or_else(options->send_pages, 32), w->send_pfns), 0);
	cr_assert_eq(vmbus_inproc_alloc(w->bus, 64, w->page_pfns), 0);
	w->receive = pages_map(w, w->receive_pfns, or_else(options->receive_pages, 256));
	w->send = pages_map(w, w->send_pfns, or_else(options->send_pages, 32));
	w->pages = pages_map(w, w->page_pfns, 64);
	cr_assert_eq(vmbus_inproc_connect(w->bus), 0);
	cr_assert_not_null(w->channels[0]);
	return w;
}

static void bus_ok(struct world *w)
{
	const char *violation = vmbus_inproc_violation(w->bus);

	cr_assert_null(violation, "%s", violation);
}

void world_settle(struct world *w)
{
	int ret = vmbus_inproc_settle(w->bus);

	bus_ok(w);
	cr_assert_eq(ret, 0);
}

void world_signal(struct world *w, uint32_t channel)
{
	vmbus_guest_signal(w->channels[channel]);
}

static void buffers_share(struct world *w, struct vsp_netvsc_config *config)
{
	uint32_t before = w->gpadls_created;

	config->receive = w->receive + w->options.receive_offset;
	config->send = w->send + w->options.send_offset;
	config->receive_len = or_else(w->options.receive_len, or_else(w->options.receive_pages, 256) << 12);
	config->send_len = or_else(w->options.send_len, or_else(w->options.send_pages, 32) << 12);
	cr_assert_eq(vmbus_guest_gpadl_create(w->channels[0], w->receive_pfns, w->options.receive_offset,
					      config->receive_len, &config->receive_gpadl), 0);
	cr_assert_eq(vmbus_guest_gpadl_create(w->channels[0], w->send_pfns, w->options.send_offset,
					      config->send_len, &config->send_gpadl), 0);
	world_settle(w);
	cr_assert_geq(w->gpadls_created, before + 2);
}

static void buffers_take(struct world *w)
{
	cr_assert_eq(vmbus_guest_gpadl_teardown(w->channels[0], w->vsc[0].config.receive_gpadl), 0);
	cr_assert_eq(vmbus_guest_gpadl_teardown(w->channels[0], w->vsc[0].config.send_gpadl), 0);
	world_settle(w);
}

static void ready_wait(struct world *w)
{
	world_signal(w, 0);
	world_settle(w);
	cr_assert_eq(w->vsc[0].state, VSP_NETVSC_READY, "stuck at step %d", (int)w->vsc[0].state);
	cr_assert_eq(w->vsc[0].bad_packets, 0);
}

/* The driver's books say that it is the driver's own, of number 1. */
uint32_t world_packet_send(struct world *w, struct vmbus_packet *packet)
{
	struct vsp_netvsc *n = &w->vsc[0];

	cr_assert_eq(n->in_flight, 0);
	n->free_ids[n->in_flight++] = 0;
	n->sends[0].busy = true;
	n->sends[0].user = (void *)1;
	w->sent_status[1] = 0xffff;
	packet->transaction_id = 1;
	packet->flags = VMBUS_PACKET_COMPLETION_REQUESTED;
	cr_assert_eq(vmbus_tx_put(&w->channels[0]->tx, packet, 0), 0);
	world_signal(w, 0);
	world_settle(w);
	return w->sent_status[1];
}

void world_up(struct world *w)
{
	struct vsp_netvsc_config config = VSP_NETVSC_CONFIG_INIT;
	uint32_t pages = or_else(w->options.ring_pages, 9);

	cr_assert_eq(vmbus_inproc_open(w->bus, w->channels[0], pages, pages, 0), 0);
	bus_ok(w);
	if (w->opened)
		w->opened(w);
	config.ops = &vsc_ops;
	config.mtu = or_else(w->options.mtu, 1500);
	config.rsc = w->options.rsc;
	if (w->options.capabilities)
		config.capabilities = w->options.capabilities;
	config.filter |= VSP_FILTER_MULTICAST;
	buffers_share(w, &config);
	w->channels[0]->user = &w->vsc[0];
	cr_assert_eq(vsp_netvsc_init(&w->vsc[0], &config, w->channels[0]), 0);
	w->vsc[0].user = w;
	w->open_channels = 1;
	ready_wait(w);
}

void world_channel_up(struct world *w, uint32_t index)
{
	uint32_t pages = or_else(w->options.ring_pages, 9);

	cr_assert_eq(vmbus_inproc_open(w->bus, w->channels[index], pages, pages, 0), 0);
	bus_ok(w);
	vsp_netvsc_init_sub(&w->vsc[index], &w->vsc[0], w->channels[index]);
	w->channels[index]->user = &w->vsc[index];
}

void world_channel_down(struct world *w, uint32_t index)
{
	w->channels[index]->user = NULL;
	cr_assert_eq(vmbus_inproc_close(w->bus, w->channels[index]), 0);
	bus_ok(w);
}

void world_channels_up(struct world *w, uint32_t count)
{
	cr_assert_eq(vsp_netvsc_ask_channels(&w->vsc[0], count), 0);
	world_signal(w, 0);
	world_settle(w);
	cr_assert_eq(w->granted, count);
	for (uint32_t i = 1; i <= count; i++) {
		cr_assert_not_null(w->channels[i]);
		cr_expect_eq(w->vsc[0].tables, 0, "not before all are open");
		world_channel_up(w, i);
	}
	world_settle(w);
	cr_assert_eq(w->vsc[0].tables, 1);
	for (uint32_t i = 0; i < 16; i++)
		cr_expect_eq(w->vsc[0].send_table[i], i % (count + 1));
}

static void channels_close(struct world *w)
{
	for (uint32_t i = WORLD_CHANNELS; i-- > 1;)
		if (w->channels[i] && w->channels[i]->user)
			world_channel_down(w, i);
	w->channels[0]->user = NULL;
	cr_assert_eq(vmbus_inproc_close(w->bus, w->channels[0]), 0);
	buffers_take(w);
	for (uint32_t i = 1; i < WORLD_CHANNELS; i++) {
		if (w->channels[i] && w->channels[i]->state == VMBUS_GUEST_CHANNEL_RESCINDED)
			cr_assert_eq(vmbus_inproc_release_channel(w->bus, w->channels[i]), 0);
		w->channels[i] = NULL;
	}
	world_settle(w);
	w->open_channels = 0;
}

void world_down(struct world *w)
{
	w->deaf = false;
	cr_assert_eq(vsp_netvsc_halt(&w->vsc[0]), 0);
	world_signal(w, 0);
	world_settle(w);
	channels_close(w);
}

/* From the receive buffer on; no driver does that without closing its channel. */
static void setup_again(struct vsp_netvsc *n)
{
	const struct vsp_nvsp_message buffer = {
		.type = VSP_NVSP_RECV_BUF, .u.buffer = {n->config.receive_gpadl, 0xcafe, 0}};

	n->state = VSP_NETVSC_RECEIVE;
	cr_assert_eq(vsp_netvsc_put(n, &buffer, NETVSC_ID_SETUP, true), 0);
}

void world_buffers_renew(struct world *w)
{
	cr_assert_eq(vsp_netvsc_halt(&w->vsc[0]), 0);
	world_signal(w, 0);
	world_settle(w);
	buffers_take(w);
	buffers_share(w, &w->vsc[0].config);
	setup_again(&w->vsc[0]);
	ready_wait(w);
	for (uint32_t i = 1; i < WORLD_CHANNELS; i++)
		w->vsc[i].config = w->vsc[0].config;
}

void world_crash(struct world *w)
{
	w->deaf = false;
	channels_close(w);
}

void world_end(struct world *w)
{
	uint32_t queues = or_else(w->options.queues, 1);

	cr_expect_eq(vmbus_inproc_finish(w->bus), 0);
	bus_ok(w);
	for (uint32_t i = 0; i < queues; i++)
		w->peer->ops->queue_free(w->peer_queues[i]);
	w->peer->ops->close(w->peer);
	vmbus_inproc_free(w->bus);
	munmap(w->receive, (size_t)or_else(w->options.receive_pages, 256) << 12);
	munmap(w->send, (size_t)or_else(w->options.send_pages, 32) << 12);
	munmap(w->pages, 64u << 12);
	free(w);
}

uint32_t world_request(struct world *w, uint32_t type, uint32_t oid, const void *info, uint32_t len)
{
	uint32_t before = w->answered;

	cr_assert_eq(vsp_netvsc_request(&w->vsc[0], type, oid, info, len), 0);
	world_signal(w, 0);
	world_settle(w);
	cr_assert_eq(w->answered, before + 1, "no answer to OID %#x", oid);
	return w->answer_status;
}
