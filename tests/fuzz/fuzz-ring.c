/* SPDX-License-Identifier: MIT */
/* A guest's ring: bytes, indices and all, changing while the host reads it. The input
 * is a struct start, then its actions, then the ring's bytes (repeated to fill it). */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static void fetch_seen(const void *src, size_t len);
#define VMBUS_FETCH_HOOK(src, len) fetch_seen(src, len)
#include "ring-rx.c"

#define PAGES_MAX 3
#define CHECK(condition) ((condition) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct start {
	uint8_t pages, actions;
	uint16_t flip; /* not 0: seed of the bytes that change at each fetch */
	uint32_t in, out, pending;
};

static uint8_t ring[PAGES_MAX * VMBUS_PAGE_SIZE];
static uint8_t *const page_list[PAGES_MAX] = {
	ring, ring + VMBUS_PAGE_SIZE, ring + 2 * VMBUS_PAGE_SIZE};
static uint8_t fetched[sizeof(ring)];
static uint32_t flip_state, ring_size;

static void fetch_seen(const void *src, size_t len)
{
	size_t at = (size_t)((const uint8_t *)src - ring);

	CHECK(at < ring_size && len <= ring_size - at);
	for (size_t i = at; i < at + len; i++)
		CHECK(!fetched[i]++);
	if (flip_state) {
		flip_state = flip_state * 1664525 + 1013904223;
		ring[(flip_state >> 8) % ring_size] ^= (uint8_t)(1u << (flip_state >> 28) % 8);
	}
}

static void ranges_walk(const struct vmbus_packet *packet)
{
	const uint8_t *end = (const uint8_t *)packet->header + packet->header_len;
	struct vmbus_range_iter iter;
	struct vmbus_range range;

	if (vmbus_range_first(packet, &iter))
		return;
	while (vmbus_range_next(&iter, &range) == 0)
		CHECK((const uint8_t *)(range.pfns + range.pages) <= end);
}

static void packet_read(struct vmbus_rx *rx, size_t size, bool undo)
{
	uint64_t *buf = malloc(size + !size);
	uint32_t out = rx->out;
	struct vmbus_packet packet;
	int ret;

	CHECK(buf);
	memset(fetched, 0, sizeof(fetched));
	ret = vmbus_rx_next(rx, buf, size, &packet);
	CHECK(rx->out < ring_size && rx->out % 8 == 0 && (ret == 0 || rx->out == out));
	if (ret == -ENOBUFS) {
		CHECK(packet.payload_len > size && packet.payload_len < ring_size);
		if (undo)
			vmbus_rx_skip(rx, &packet);
		CHECK(rx->out < ring_size && rx->out % 8 == 0);
	}
	if (ret == 0) {
		CHECK((const uint8_t *)packet.header == (uint8_t *)buf + 16);
		CHECK((const uint8_t *)packet.payload == (uint8_t *)buf + 16 + packet.header_len);
		CHECK(16 + (uint64_t)packet.header_len + packet.payload_len <= size);
		ranges_walk(&packet);
		if (undo)
			vmbus_rx_undo(rx, &packet);
		CHECK(!undo || rx->out == out);
	}
	free(buf);
}

static void action(struct vmbus_rx *rx, struct vmbus_tx *tx, struct vmbus_ring_control *control, uint8_t what)
{
	const struct vmbus_packet reply = {
		.type = VMBUS_PACKET_COMPLETION, .payload = "reply", .payload_len = what % 6};
	uint32_t promised = tx->reserved;

	switch (what % 8) {
	case 0:
	case 1:
		packet_read(rx, what % 8 ? what * 8u : sizeof(ring), what & 8);
		break;
	case 2:
		CHECK(!vmbus_rx_commit(rx) || control->pending_send_size >= 8);
		CHECK(rx->committed == rx->out);
		break;
	case 3:
		CHECK(vmbus_rx_arm(rx) == (rx->committed != rx->out || control->in != rx->out));
		break;
	case 4:
		control->in = what < 16 ? control->in + what : (control->in + what / 8 * 8) % ring_size;
		break;
	case 5:
		control->out = what < 16 ? control->out + what : (control->out + what / 8 * 8) % ring_size;
		break;
	case 6: /* with a promise it may not be told to try again */
		CHECK(vmbus_tx_put(tx, &reply, what & 8 ? 32 : 0) != -EAGAIN || !(what & 8) || promised < 32);
		CHECK(!vmbus_tx_signal_due(tx) || tx->in == control->in);
		break;
	default:
		if (!vmbus_tx_reserve(tx, what * 8u))
			(void)!vmbus_tx_wait_space(tx, what * 8u);
		CHECK(tx->reserved <= ring_size - 8);
	}
	CHECK(tx->in < ring_size && tx->in % 8 == 0 && tx->published < ring_size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vmbus_ring_control control;
	struct vmbus_ring_memory mem = {.control = &control, .pages = page_list};
	struct start start;
	struct vmbus_rx rx;
	struct vmbus_tx tx;

	if (size <= sizeof(start))
		return 0;
	memcpy(&start, data, sizeof(start));
	data += sizeof(start);
	size -= sizeof(start);
	if (start.actions >= size)
		return 0;
	mem.size = ring_size = (start.pages % PAGES_MAX + 1u) * VMBUS_PAGE_SIZE;
	flip_state = start.flip;
	for (uint32_t i = 0; i < ring_size; i++)
		ring[i] = data[start.actions + i % (size - start.actions)];
	control.in = start.in;
	control.out = start.out;
	control.pending_send_size = start.pending;
	if (vmbus_rx_init(&rx, &mem) == 0 && vmbus_tx_init(&tx, &mem) == 0)
		for (unsigned int i = 0; i < start.actions; i++)
			action(&rx, &tx, &control, data[i]);
	return 0;
}
