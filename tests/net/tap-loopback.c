/* SPDX-License-Identifier: MIT */
/* tap-loopback host SOCKET TAP [MTU] | guest SOCKET TAP [MTU]: a network adapter between two
 * taps over shared memory: tap, VSP, VMBus, netvsc, tap. What goes into one comes out of the
 * other, offloads included. Runs until the other side is gone or a signal ends it. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <stdlib.h>
#include <string.h>

#include <vmbus/shm-loopback.h>
#include <vsp/net.h>
#include <vsp/netvsc.h>

#include "frame.h"

#define RING_PAGES 128u
#define RECEIVE_PAGES 4096u
#define SEND_PAGES 8u
#define BUFFERS 128u
#define BUFFER_PAGES 17u
#define HEADROOM 128u /* of a frame in its buffer: the RNDIS message goes there */
#define TICK_NS 500000000ull

static struct vmbus_loop *loop;
static struct vsp_nic *tap;
static struct vsp_net *net;
static uint32_t mtu = 1500;

static int die(const char *what, int code)
{
	fprintf(stderr, "tap-loopback: %s: %s\n", what, strerror(code < 0 ? -code : EPROTO));
	exit(1);
}

static void on_signal(int number)
{
	(void)number;
	vmbus_loop_stop(loop);
}

static void tap_open(const char *name)
{
	struct vsp_nic_tap_config config = VSP_NIC_TAP_CONFIG_INIT;
	struct vmbus_error err = {0};

	config.name = name;
	config.mtu = mtu;
	config.up = true;
	config.loop = loop;
	if (vsp_nic_tap(&config, &tap, &err))
		die(err.text, err.code);
}

/* -- Host ----------------------------------------------------------------- */

static struct vmbus_loop *loop_of(void *opaque, struct vmbus_channel *channel)
{
	(void)opaque;
	(void)channel;
	return loop;
}

static int host_connected(void *opaque, struct vmbus_shm_peer *guest, void **user)
{
	struct vsp_net_config config = VSP_NET_CONFIG_INIT;

	(void)opaque;
	(void)user;
	config.server = vmbus_shm_peer_server(guest);
	config.nic = tap;
	config.mac[1] = 0x15;
	config.mac[2] = 0x5d;
	config.loop_of = loop_of;
	return vsp_net_new(&config, &net);
}

static struct vsp_net_stats net_stats;

static void host_disconnected(void *opaque, struct vmbus_shm_peer *guest, void *user, const char *why)
{
	(void)opaque;
	(void)guest;
	(void)user;
	fprintf(stderr, "guest left: %s\n", why);
	vsp_net_get_stats(net, &net_stats); /* it is freed with the server, next */
	vmbus_loop_stop(loop);
}

static int host_run(const char *socket_path)
{
	const struct vmbus_shm_host_ops ops = {
		.size = sizeof(ops), .connected = host_connected, .disconnected = host_disconnected};
	struct vmbus_shm_host_config config = VMBUS_SHM_HOST_CONFIG_INIT;
	const struct vsp_net_stats *stats = &net_stats;
	struct vmbus_shm_host *host;
	struct vmbus_error err = {0};
	int ret;

	config.socket_path = socket_path;
	config.loop = loop;
	config.ops = &ops;
	config.max_guests = 1;
	if (vmbus_shm_host_new(&config, &host, &err))
		die(err.text, err.code);
	printf("ready\n");
	fflush(stdout);
	ret = vmbus_loop_run(loop);
	printf("host tx %llu rx %llu errors %llu dropped %llu %llu waits %llu %llu filtered %llu\n",
	       (unsigned long long)stats->tx_frames, (unsigned long long)stats->rx_frames,
	       (unsigned long long)stats->tx_errors, (unsigned long long)stats->tx_dropped,
	       (unsigned long long)stats->rx_dropped, (unsigned long long)stats->tx_waits,
	       (unsigned long long)stats->rx_waits, (unsigned long long)stats->rx_filtered);
	fflush(stdout);
	_exit(ret != 0); /* with all that the host still holds */
}

/* -- Guest ---------------------------------------------------------------- */

static struct vmbus_shm_guest *machine;
static struct vmbus_guest guest;
static struct vmbus_guest_channel channels[4], *channel;
static struct vsp_netvsc vsc;
static struct vsp_nic_queue *queue;
static struct vmbus_watch interrupt;
static struct vmbus_timer tick;
static uint64_t ring_pfns[2 * RING_PAGES], receive_pfns[RECEIVE_PAGES], send_pfns[SEND_PAGES];
static struct vmbus_ring_memory rings[2];
static uint32_t ring_gpadl, receive_gpadl, send_gpadl;
static struct buffer {
	uint64_t pfns[BUFFER_PAGES];
	uint8_t *memory;
} buffers[BUFFERS];
static struct buffer *free_buffers[BUFFERS];
static uint32_t free_count;
static bool tap_readable;
static uint64_t lost;

static void *pages_take(uint32_t count, uint64_t *pfns)
{
	if (vmbus_shm_guest_alloc(machine, count, pfns))
		die("guest memory", -ENOMEM);
	return vmbus_shm_guest_page(machine, pfns[0]); /* neighbours */
}

/* From the tap to the host: the frame lands where the host will read it. */
static void frames_send(void)
{
	while (queue && free_count && tap_readable) {
		struct buffer *b = free_buffers[free_count - 1];
		struct vsp_nic_frame frame = {.len = 0};
		struct iovec iov[2] = {{&frame.header, sizeof(frame.header)},
				       {b->memory + HEADROOM, VSP_NIC_FRAME_MAX}};
		uint8_t header[VSP_NETVSC_HEADER_MAX];
		struct vsp_netvsc_range range = {.pfns = b->pfns};
		uint32_t at;

		frame.iov = iov;
		frame.iov_count = 2;
		if (tap->ops->receive(queue, &frame, 1) == 0) {
			tap_readable = false;
			break;
		}
		at = vsp_netvsc_header(b->memory + HEADROOM, frame.len < VSP_HEAD ? frame.len : VSP_HEAD,
				       frame.len, &frame.header, -1, header);
		if (!at) {
			lost++;
			continue;
		}
		memcpy(b->memory + HEADROOM - at, header, at);
		range.offset = HEADROOM - at;
		range.len = at + frame.len;
		if (vsp_netvsc_send(&vsc, VSP_NVSP_NO_SECTION, 0, &range, 1, b))
			lost++; /* there are fewer buffers than the ring holds: this cannot be */
		else
			free_count--;
	}
	vmbus_guest_signal(channel);
}

static void on_sent(struct vsp_netvsc *n, void *user, uint32_t status)
{
	(void)n;
	if (status != VSP_NVSP_STATUS_SUCCESS)
		lost++;
	free_buffers[free_count++] = user;
}

/* A coalesced frame lost the size of its segments; they were no longer than the MTU allows. */
static void segments_guess(uint8_t *head, uint32_t len, const struct vsp_frame *f,
			   struct vsp_vnet_header *h)
{
	uint32_t tcp = f->transport, header = tcp + (head[tcp + 12] >> 4) * 4u;
	uint8_t pseudo[4] = {0, 6};
	uint16_t seed;
	uint64_t sum;

	vsp_put16(pseudo + 2, len - tcp);
	sum = vsp_sum_add(0, pseudo, 4, false);
	if (f->version == 4)
		sum = vsp_sum_add(sum, head + f->ip + 12, 8, false);
	else
		sum = vsp_sum_add(sum, head + f->ip + 8, 32, false);
	seed = vsp_sum_fold(sum);
	memcpy(head + tcp + 16, &seed, 2);
	h->flags = VSP_VNET_NEEDS_CSUM;
	h->gso_type = f->version == 4 ? VSP_VNET_GSO_TCPV4 : VSP_VNET_GSO_TCPV6;
	h->gso_size = (uint16_t)(mtu - (header - f->ip));
	h->header_len = (uint16_t)header;
	h->csum_start = (uint16_t)tcp;
	h->csum_offset = 16;
}

static void on_received(struct vsp_netvsc *n, const struct vsp_netvsc_frame *in)
{
	struct vsp_nic_frame frame = {.len = in->len};
	struct iovec iov[2 + VSP_NETVSC_PIECES];
	uint8_t head[VSP_HEAD + VSP_VLAN_TAG], *start = head;
	uint32_t head_len = in->pieces[0].len < VSP_HEAD ? in->pieces[0].len : VSP_HEAD;
	struct vsp_frame f;

	(void)n;
	memcpy(head, in->pieces[0].data, head_len);
	if (!queue || !vsp_frame_parse(head, head_len, &f))
		return;
	if (in->coalesced && f.protocol == 6 && f.transport)
		segments_guess(head, in->len, &f, &frame.header);
	else if (in->checksum & (VSP_CSUM_RX_TCP_GOOD | VSP_CSUM_RX_UDP_GOOD))
		frame.header.flags = VSP_VNET_DATA_VALID;
	if (in->has_vlan) {
		memmove(head + 16, head + 12, head_len - 12);
		vsp_put16(head + 12, 0x8100);
		vsp_put16(head + 14, (in->vlan & 7) << 13 | (in->vlan >> 3 & 1) << 12 | in->vlan >> 4);
		head_len += VSP_VLAN_TAG;
		if (frame.header.flags & VSP_VNET_NEEDS_CSUM) {
			frame.header.csum_start = (uint16_t)(frame.header.csum_start + VSP_VLAN_TAG);
			frame.header.header_len = (uint16_t)(frame.header.header_len + VSP_VLAN_TAG);
		}
	}
	iov[0] = (struct iovec){&frame.header, sizeof(frame.header)};
	iov[1] = (struct iovec){start, head_len};
	frame.iov = iov;
	frame.iov_count = 2;
	for (uint32_t i = 0; i < in->piece_count; i++) {
		uint32_t skip = i ? 0 : head_len - (in->has_vlan ? VSP_VLAN_TAG : 0);

		if (in->pieces[i].len > skip)
			iov[frame.iov_count++] = (struct iovec){(void *)(uintptr_t)(in->pieces[i].data + skip),
								in->pieces[i].len - skip};
	}
	if (tap->ops->send(queue, &frame, 1) != 1 || frame.result)
		lost++;
}

static void tap_is_readable(void *opaque)
{
	(void)opaque;
	tap_readable = true;
	frames_send();
}

static void tap_is_writable(void *opaque)
{
	(void)opaque;
}

static void on_ready(struct vsp_netvsc *n)
{
	static const struct vsp_nic_events events = {
		.size = sizeof(events), .readable = tap_is_readable, .writable = tap_is_writable};
	uint32_t offloads = VSP_NIC_CSUM | VSP_NIC_TSO4 | VSP_NIC_TSO6;

	if (n->state != VSP_NETVSC_READY)
		die("set-up of the adapter", 0);
	if (tap->ops->queue_new(tap, 0, loop, &events, NULL, &queue) || tap->ops->set_offloads(tap, offloads))
		die("tap", -EIO);
	tap_readable = true;
	printf("up: NVSP %#x, %u slots of %u, coalescing %d\n", n->version, n->slot_count, n->slot_size,
	       n->offload.rsc_ipv4);
	fflush(stdout);
}

static const struct vsp_netvsc_ops vsc_ops = {
	.size = sizeof(vsc_ops), .ready = on_ready, .received = on_received, .sent = on_sent};

static void adapter_start(void)
{
	struct vsp_netvsc_config config = VSP_NETVSC_CONFIG_INIT;

	config.ops = &vsc_ops;
	config.mtu = mtu;
	config.rsc = true;
	config.filter = VSP_FILTER_PROMISCUOUS;
	config.receive_gpadl = receive_gpadl;
	config.send_gpadl = send_gpadl;
	config.receive = vmbus_shm_guest_page(machine, receive_pfns[0]);
	config.send = vmbus_shm_guest_page(machine, send_pfns[0]);
	config.receive_len = RECEIVE_PAGES << 12;
	config.send_len = SEND_PAGES << 12;
	if (vsp_netvsc_init(&vsc, &config, channel))
		die("adapter", 0);
	vmbus_guest_signal(channel);
}

static uint32_t bus_post(void *opaque, uint32_t id, const void *message, size_t len)
{
	return vmbus_shm_guest_post(opaque, id, message, len);
}

static void bus_signal(void *opaque, uint32_t id)
{
	vmbus_shm_guest_signal(opaque, id);
}

static void bus_connected(void *opaque, uint32_t version)
{
	(void)opaque;
	if (!version || vmbus_guest_request_offers(&guest))
		die("no common version", 0);
}

static void bus_offered(void *opaque, struct vmbus_guest_channel *offered)
{
	static const struct vmbus_guid net_guid = VMBUS_GUID_NET;

	(void)opaque;
	if (!channel && vmbus_guid_equal(offered->offer.interface_id, net_guid))
		channel = offered;
}

static void bus_all_offered(void *opaque)
{
	(void)opaque;
	if (!channel)
		die("the host offers no adapter", 0);
	if (vmbus_guest_gpadl_create(channel, ring_pfns, 0, 2 * RING_PAGES << 12, &ring_gpadl))
		die("rings", 0);
}

static void bus_gpadl_created(void *opaque, uint32_t gpadl, uint32_t status)
{
	int ret = 0;

	(void)opaque;
	if (status)
		die("GPADL refused", 0);
	if (gpadl == ring_gpadl)
		ret = vmbus_guest_open(channel, gpadl, &rings[0], &rings[1], 0, NULL);
	else if (gpadl == receive_gpadl)
		ret = vmbus_guest_gpadl_create(channel, send_pfns, 0, SEND_PAGES << 12, &send_gpadl);
	else
		adapter_start();
	if (ret)
		die("open", ret);
}

static void bus_opened(void *opaque, struct vmbus_guest_channel *opened, uint32_t status)
{
	(void)opaque;
	(void)opened;
	if (status || vmbus_guest_gpadl_create(channel, receive_pfns, 0, RECEIVE_PAGES << 12, &receive_gpadl))
		die("open refused", 0);
}

static const struct vmbus_guest_ops guest_ops = {
	.size = sizeof(guest_ops), .post = bus_post, .signal = bus_signal, .connected = bus_connected,
	.offered = bus_offered, .all_offered = bus_all_offered, .gpadl_created = bus_gpadl_created,
	.opened = bus_opened};

static bool rings_arm(void *arg)
{
	(void)arg;
	return channel && channel->state == VMBUS_GUEST_CHANNEL_OPEN && vmbus_rx_arm(&channel->rx);
}

static void rings_poll(void)
{
	unsigned int packets = 0;

	if (!channel || !vsc.channel)
		return;
	if (vsp_netvsc_poll(&vsc, 1000, &packets))
		die("the host broke its ring", 0);
	vmbus_guest_commit(channel);
	frames_send(); /* what was sent makes room; also shows the completions */
}

static void interrupt_ready(struct vmbus_watch *watch, uint32_t events)
{
	const struct vmbus_shm_wait wait = {.arm = rings_arm};
	uint8_t message[VMBUS_MESSAGE_MAX];
	size_t len;
	int ret;

	(void)watch;
	(void)events;
	do {
		len = 0;
		ret = vmbus_shm_guest_wait(machine, 0, 0, &wait, message, &len);
		if (len && vmbus_guest_message(&guest, message, len))
			die("the host broke the protocol", 0);
		(void)vmbus_guest_flush(&guest);
		rings_poll();
	} while (ret == 0);
	if (ret == -EPIPE)
		vmbus_loop_stop(loop);
}

static void tick_fire(struct vmbus_timer *timer)
{
	interrupt_ready(NULL, 0); /* the host's end is seen here */
	vmbus_loop_timer(loop, timer, TICK_NS);
}

static void machine_make(const char *socket_path)
{
	struct vmbus_shm_guest_config config = VMBUS_SHM_GUEST_CONFIG_INIT;
	struct vmbus_error err = {0};

	config.socket_path = socket_path;
	config.spin_us = 0; /* the loop is what waits */
	if (vmbus_shm_guest_new(&config, &machine, &err))
		die(err.text, err.code);
	(void)pages_take(2 * RING_PAGES, ring_pfns);
	(void)pages_take(RECEIVE_PAGES, receive_pfns);
	(void)pages_take(SEND_PAGES, send_pfns);
	for (uint32_t i = 0; i < BUFFERS; i++) {
		buffers[i].memory = pages_take(BUFFER_PAGES, buffers[i].pfns);
		free_buffers[free_count++] = &buffers[i];
	}
	if (vmbus_shm_guest_map_ring(machine, ring_pfns, RING_PAGES, &rings[0]) ||
	    vmbus_shm_guest_map_ring(machine, ring_pfns + RING_PAGES, RING_PAGES, &rings[1]))
		die("rings", -ENOMEM);
}

static int guest_run(const char *socket_path)
{
	struct vmbus_guest_config config = VMBUS_GUEST_CONFIG_INIT;
	int ret;

	machine_make(socket_path);
	config.ops = &guest_ops;
	config.opaque = machine;
	config.channels = channels;
	config.max_channels = 4;
	if (vmbus_guest_init(&guest, &config) || vmbus_guest_connect(&guest))
		die("connect", 0);
	interrupt.fd = vmbus_shm_guest_fd(machine, 0);
	interrupt.events = POLLIN;
	interrupt.ready = interrupt_ready;
	tick.fire = tick_fire;
	if (vmbus_loop_watch(loop, &interrupt))
		die("loop", -ENOMEM);
	vmbus_loop_timer(loop, &tick, 0);
	ret = vmbus_loop_run(loop);
	printf("guest rx %llu in %llu packets, lost %llu, bad %llu\n", (unsigned long long)vsc.received_frames,
	       (unsigned long long)vsc.received_packets, (unsigned long long)lost,
	       (unsigned long long)vsc.bad_packets);
	return ret != 0;
}

int main(int argc, char **argv)
{
	struct vmbus_error err = {0};

	if (argc < 4 || (strcmp(argv[1], "host") && strcmp(argv[1], "guest")))
		return fprintf(stderr, "usage: tap-loopback host|guest SOCKET TAP [MTU]\n"), 2;
	if (argc > 4)
		mtu = (uint32_t)atoi(argv[4]);
	if (vmbus_loop_new(NULL, &loop, &err))
		die(err.text, err.code);
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	tap_open(argv[3]);
	return argv[1][0] == 'h' ? host_run(argv[2]) : guest_run(argv[2]);
}
