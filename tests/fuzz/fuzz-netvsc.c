/* SPDX-License-Identifier: MIT */
/* A hostile guest's script for a whole network adapter over real rings, and for the far end
 * of its wire (netvsc-script.h). After each step every slot of the receive buffer is in one
 * place, the counters agree with what passed, and nothing waits that need not. When the
 * guest has gone, one that behaves finds the adapter as good as new. */
#include <stdlib.h>
#include <string.h>

static void fetch_seen(const void *src, size_t len);
#define VMBUS_FETCH_HOOK(src, len) fetch_seen(src, len)
#include "memory-copy.c"
#include "ring-rx.c"

#include "netvsc-world.h"
#include "rndis.h"


int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

/* Bytes that the host has fetched are others at once. Those of 4 are left: what a message is
 * is looked at before it is fetched, and again in it. */
static void fetch_seen(const void *src, size_t len)
{
	volatile uint8_t *bytes = (volatile uint8_t *)(uintptr_t)src;

	if (!world.serving || !(world.config.flags & WORLD_FLIP) || len <= 4)
		return;
	for (size_t i = 0; i < len; i++)
		bytes[i] ^= 0xff;
}

/* -- Numbers of the script --------------------------------------------------------- */

static uint32_t number(struct vmbus_cursor *in, uint32_t bytes)
{
	uint32_t value = 0;

	if (in->len < bytes)
		bytes = (uint32_t)in->len;
	(void)!vmbus_cursor_get(in, &value, bytes);
	return value;
}

static uint8_t byte(struct vmbus_cursor *in)
{
	return (uint8_t)number(in, 1);
}

static struct line *line_named(struct vmbus_cursor *in)
{
	return &world.lines[byte(in) % LINES];
}

static struct shape shape_read(struct vmbus_cursor *in)
{
	struct shape s = {.line = line_named(in)};

	s.form = byte(in);
	s.section = byte(in);
	s.id = byte(in);
	return s;
}

/* -- Steps: NVSP -------------------------------------------------------------------------- */

static void nvsp_put(uint8_t id, bool answer, const struct vsp_nvsp_message *m)
{
	inband_put(&world.lines[0], id, answer, m, VSP_NVSP_SIZE_V61);
}

static void initialize_put(const struct shape *s)
{
	const struct vsp_rndis_initialize m = {
		.header = {VSP_RNDIS_INITIALIZE, sizeof(m)}, .request_id = 1, .major = 1,
		.max_transfer = 0x4000};

	message_put(s, (const uint8_t *)&m, sizeof(m));
}

static void offloads_put(const struct shape *s)
{
	const struct vsp_ndis_offload_parameters p = {
		.header = {VSP_NDIS_DEFAULT, 3, sizeof(p)}, .ipv4_checksum = 4, .tcp_ipv4_checksum = 4,
		.udp_ipv4_checksum = 4, .tcp_ipv6_checksum = 4, .udp_ipv6_checksum = 4,
		.lso_v2_ipv4 = 2, .lso_v2_ipv6 = 2, .rsc_ipv4 = 2, .rsc_ipv6 = 2};

	request_put(s, VSP_RNDIS_SET, 0xfc01020c, &p, sizeof(p));
}

struct setup {
	uint8_t messages, version, capabilities, filter;
	uint32_t mtu;
	enum memory memory;
};

/* What a driver says: message @i. */
static void setup_put(const struct setup *setup, unsigned int i)
{
	static const uint32_t versions[] = {VSP_NVSP_V61, VSP_NVSP_V6, VSP_NVSP_V5,
					    VSP_NVSP_V4,  VSP_NVSP_V2, VSP_NVSP_V1};
	const struct shape s = {.line = &world.lines[0], .form = FORM_SECTION | FORM_CONTROL, .id = 8};
	uint32_t version = versions[setup->version % 6], filter = setup->filter;
	const struct vsp_nvsp_message messages[] = {
		{.type = VSP_NVSP_INIT, .u.init = {version, version}},
		{.type = VSP_NVSP_NDIS_CONFIG, .u.ndis_config = {setup->mtu, 0, setup->capabilities}},
		{.type = VSP_NVSP_NDIS_VERSION, .u.ndis_version = {6, version > VSP_NVSP_V4 ? 30 : 1}},
		{.type = VSP_NVSP_RECV_BUF, .u.buffer = {GPADL_FIRST, RECEIVE_ID, 0}},
		{.type = VSP_NVSP_SEND_BUF, .u.buffer = {GPADL_FIRST + 1, 0, 0}},
	};

	if (i < sizeof(messages) / sizeof(messages[0]))
		nvsp_put((uint8_t)i, i == 0 || i > 2, &messages[i]);
	else if (i == 5)
		initialize_put(&s);
	else if (i == 6)
		offloads_put(&s);
	else if (i == 7)
		request_put(&s, VSP_RNDIS_SET, 0x0001010e, &filter, 4);
}

static void setup_run(const struct setup *setup)
{
	(void)line_open(0, RING_PAGES);
	gpadl_make(0, setup->memory);
	gpadl_make(1, MEMORY_SEND);
	for (unsigned int i = 0; i < 8 && (!setup->messages || i < setup->messages); i++) {
		setup_put(setup, i);
		world_settle();
	}
}

static void step_setup(struct vmbus_cursor *in)
{
	struct setup setup = {.messages = byte(in)};

	setup.version = byte(in);
	setup.capabilities = byte(in);
	setup.filter = byte(in);
	setup.mtu = number(in, 2);
	setup.memory = byte(in) % MEMORY_KINDS;
	setup_run(&setup);
}

static void subs_open(void)
{
	const struct vsp_nvsp_message m = {.type = VSP_NVSP_SUBCHANNEL, .u.subchannel = {1, LINES - 1}};

	nvsp_put(9, true, &m);
	world_settle();
	for (unsigned int i = 1; i < LINES; i++)
		(void)line_open(i, RING_PAGES);
}

static void step_nvsp(struct vmbus_cursor *in)
{
	struct line *l = line_named(in);
	uint8_t flags = byte(in), id = byte(in), body[80] = {0};
	uint32_t type = byte(in), len = (uint32_t)in->len < 76 ? (uint32_t)in->len : 76;

	if (type >= 250)
		type = 1u << (type - 224);
	memcpy(body, &type, sizeof(type));
	memcpy(body + 4, in->data, len);
	world.reused |= type == VSP_NVSP_RECV_BUF || type == VSP_NVSP_REVOKE_RECV_BUF;
	inband_put(l, id, !(flags & 1), body, 4 + len);
}

/* -- Steps: RNDIS --------------------------------------------------------------------------- */

static void step_request(struct vmbus_cursor *in)
{
	const struct shape s = shape_read(in);
	struct vsp_rndis_oid_request m = {.header = {.type = byte(in)}, .request_id = s.id};
	uint8_t odd, bytes[sizeof(m) + 256];

	m.oid = vsp_oid_row(byte(in));
	odd = byte(in);
	m.info_length = odd & 1 ? number(in, 4) : 0;
	m.info_offset = odd & 2 ? number(in, 4) : 20;
	m.header.length = odd & 4 ? number(in, 4) : 0;
	if (!(odd & 1))
		m.info_length = (uint32_t)in->len;
	if (!(odd & 4))
		m.header.length = (uint32_t)(sizeof(m) + in->len);
	memcpy(bytes, &m, sizeof(m));
	memcpy(bytes + sizeof(m), in->data, in->len);
	message_put(&s, bytes, (uint32_t)(sizeof(m) + in->len));
}

static void step_message(struct vmbus_cursor *in)
{
	const struct shape s = shape_read(in);

	if (in->len)
		message_put(&s, in->data, (uint32_t)in->len);
}

#define INFOS 8u

struct data { /* messages alike */
	uint8_t kind, infos;
	uint32_t len;
	struct {
		uint32_t type, value;
	} info[INFOS];
};

/* Returns the bytes of the message. */
static uint32_t data_build(uint8_t *out, const struct data *d)
{
	struct vsp_rndis_packet h = {.header = {.type = VSP_RNDIS_PACKET}, .data_length = d->len};
	uint32_t at = sizeof(h);

	for (uint32_t i = 0; i < d->infos; i++, at += 16) {
		const struct vsp_rndis_info info = {16, d->info[i].type, 12};

		memcpy(out + at, &info, sizeof(info));
		memcpy(out + at + 12, &d->info[i].value, 4);
	}
	h.info_offset = d->infos ? 36 : 0;
	h.info_length = at - (uint32_t)sizeof(h);
	h.data_offset = at - VSP_RNDIS_OFFSET_BASE;
	h.header.length = (at + d->len + 7) & ~7u;
	memcpy(out, &h, sizeof(h));
	(void)frame_build(out + at, d->len, d->kind);
	return h.header.length;
}

static struct data data_read(struct vmbus_cursor *in)
{
	struct data d = {.len = number(in, 2)};

	d.infos = byte(in) % (INFOS + 1);
	for (uint32_t i = 0; i < d.infos; i++) {
		d.info[i].type = byte(in);
		if (d.info[i].type & 0x80)
			d.info[i].type = d.info[i].type << 24 | (d.info[i].type & 0x7f);
		d.info[i].value = number(in, 4);
	}
	return d;
}

static void step_data(struct vmbus_cursor *in)
{
	static uint8_t bytes[MESSAGE_MAX + 8];
	const struct shape s = shape_read(in);
	uint8_t kind = byte(in), count = byte(in);
	struct data d = data_read(in);
	uint32_t len = 0, each = 44 + 16 * INFOS + 8;

	d.kind = kind;
	d.len += kind & FRAME_LONGER ? FRAME_MORE : 0;
	do {
		len += data_build(bytes + len, &d);
	} while (count-- > 1 && len + d.len + each < MESSAGE_MAX);
	while (in->len >= 3) {
		uint32_t at = number(in, 2) % len;

		bytes[at] = byte(in);
	}
	message_put(&s, bytes, len);
}

static void step_rss(struct vmbus_cursor *in)
{
	struct {
		struct vsp_ndis_rss_parameters p;
		uint32_t table[128];
		uint8_t key[40];
	} rss = {.p = {.header = {VSP_NDIS_RSS_PARAMETERS, 2, 40}, .table_offset = 40, .key_size = 40,
		       .key_offset = 40 + 512}};
	const struct shape s = {.line = &world.lines[0], .form = FORM_SECTION | FORM_CONTROL, .id = 10};
	uint8_t first, between, odd;

	rss.p.flags = byte(in);
	rss.p.hash = number(in, 4);
	rss.p.table_size = (uint16_t)(byte(in) * 4u);
	first = byte(in);
	between = byte(in);
	odd = byte(in);
	for (uint32_t i = 0; i < 128; i++)
		rss.table[i] = (first + i * between) % LINES;
	memset(rss.key, 0x6d, sizeof(rss.key));
	((uint8_t *)&rss.p)[odd % sizeof(rss.p)] ^= odd;
	request_put(&s, VSP_RNDIS_SET, 0x00010204, &rss, sizeof(rss));
}

/* -- Steps: what no driver does ---------------------------------------------------------------- */

static void step_packet(struct vmbus_cursor *in)
{
	static const uint16_t types[] = {VMBUS_PACKET_INBAND, VMBUS_PACKET_GPA_DIRECT,
					 VMBUS_PACKET_COMPLETION, VMBUS_PACKET_TRANSFER_PAGES};
	struct line *l = line_named(in);
	struct vmbus_packet packet = {.type = types[byte(in) % 4], .flags = byte(in) & 1};
	uint64_t header[32] = {0};

	packet.transaction_id = byte(in);
	packet.header = header;
	packet.header_len = 8u * (byte(in) % 32u);
	if (packet.header_len > in->len)
		packet.header_len = (uint32_t)in->len & ~7u;
	if (!packet.header_len && packet.type != VMBUS_PACKET_INBAND)
		packet.type = VMBUS_PACKET_COMPLETION; /* else the ring is refused */
	(void)!vmbus_cursor_get(in, header, packet.header_len);
	packet.payload = in->data;
	packet.payload_len = (uint32_t)in->len;
	world.reused |= packet.type == VMBUS_PACKET_COMPLETION; /* of what it may not have seen yet */
	packet_put(l, &packet);
}

static void step_complete(struct vmbus_cursor *in)
{
	struct line *l = line_named(in);
	uint8_t how = byte(in);
	uint64_t id = number(in, 4);
	static struct vsp_nvsp_message m[(NET_PACKET_MAX + 8) / sizeof(struct vsp_nvsp_message) + 1];
	const struct vmbus_packet packet = {
		.type = VMBUS_PACKET_COMPLETION,
		.transaction_id = how % 4 == 0 ? id :
				  how % 4 == 1 || !l->held_count ? l->returned :
				  how % 4 == 2 ? l->held[0] : l->held[l->held_count - 1],
		.payload = m,
		.payload_len = how & 0x80 ? sizeof(m) : 8,
	};

	m[0].type = byte(in) ?: VSP_NVSP_RNDIS_COMPLETE;
	/* the guest may name what it has and what is another's: no book is kept of slots */
	world.reused = true;
	packet_put(l, &packet);
}

static void step_poke(struct vmbus_cursor *in)
{
	struct line *l = line_named(in);
	uint8_t word = byte(in);
	uint32_t value = number(in, 4);
	uint8_t *at;

	if (!l->gpadl)
		return;
	l->wild = true;
	if (word < 128) {
		at = (uint8_t *)l->rings[word & 1].control + (word >> 1) % 18 * 4;
	} else {
		at = l->pages[word & 1][0] + (word - 128u) / 2 * 4;
	}
	memcpy(at, &value, sizeof(value));
	line_ring(l);
}

/* -- Steps: around it ------------------------------------------------------------------------ */

static void step_frame(struct vmbus_cursor *in)
{
	static uint8_t frame[VSP_NIC_FRAME_MAX + FRAME_MORE];
	uint8_t queue = byte(in) % LINES, kind = byte(in);
	uint32_t len = number(in, 2), times = 1u + byte(in) % 32, transport;
	struct vsp_vnet_header header;
	bool raw = byte(in) & 1;

	if (!world.far_queues[queue])
		return;
	len += kind & FRAME_LONGER ? FRAME_MORE : 0;
	transport = frame_build(frame, len, kind);
	header = header_for(kind, len, transport);
	if (raw)
		(void)!vmbus_cursor_get(in, &header, sizeof(header));
	memcpy(frame, in->data, in->len < len ? in->len : len);
	while (times--)
		(void)far_put(queue, &header, frame, len);
}

static void step_far(struct vmbus_cursor *in)
{
	uint8_t what = byte(in), value = byte(in);

	switch (what % 7) {
	case 0:
	case 1:
		world.far_deaf = what % 7 == 0;
		break;
	case 2:
		CHECK(world.far->ops->set_offloads(world.far, value) == 0);
		break;
	case 3:
	case 4:
		if (what % 7 == 4)
			world.wire.speed_bps = (uint64_t)value << (value & 63);
		vsp_nic_pair_set_link(world.far, what % 7 == 4 || value & 1);
		break;
	case 5:
		world.wire.no_queue = value & 1;
		break;
	default:
		world.wire.no_offloads = value & 1;
		break;
	}
}

static void revoke(void)
{
	vsp_net_free(world.net);
	world.net = NULL;
	world_run();
	lines_release();
}

static void act(enum step step, struct vmbus_cursor *in)
{
	unsigned int index;

	switch (step) {
	case STEP_OPEN:
		index = byte(in) % LINES;
		(void)line_open(index, 2 + byte(in) % (RING_PAGES - 1));
		break;
	case STEP_CLOSE:
		index = byte(in) % LINES;
		if (byte(in) & 1)
			world_serve();
		line_close(index);
		lines_release();
		break;
	case STEP_GPADL:
		index = byte(in) % GPADLS;
		gpadl_make(index, byte(in) % MEMORY_KINDS);
		break;
	case STEP_TEARDOWN:
		gpadl_tear(byte(in) % GPADLS);
		break;
	case STEP_SETUP:
		step_setup(in);
		break;
	case STEP_NVSP:
		step_nvsp(in);
		break;
	case STEP_REQUEST:
		step_request(in);
		break;
	case STEP_MESSAGE:
		step_message(in);
		break;
	case STEP_DATA:
		step_data(in);
		break;
	case STEP_RSS:
		step_rss(in);
		break;
	case STEP_PACKET:
		step_packet(in);
		break;
	case STEP_COMPLETE:
		step_complete(in);
		break;
	case STEP_GUEST:
		index = byte(in) % LINES;
		world.lines[index].hold = in->len && in->data[0] & 2;
		world.lines[index].deaf = byte(in) & 1;
		break;
	case STEP_POKE:
		step_poke(in);
		break;
	case STEP_MEMORY:
		if (byte(in) & 1)
			hot_add();
		else
			hot_remove();
		break;
	case STEP_FRAME:
		step_frame(in);
		break;
	case STEP_FAR:
		step_far(in);
		break;
	case STEP_RESET:
		vm_reset();
		break;
	case STEP_REVOKE:
		if (world.net)
			revoke();
		break;
	default:
		break;
	}
}

/* -- A run ------------------------------------------------------------------------------------ */

/* The guest takes what it was sent and gives it back, the far end hears again. */
static void calm_down(void)
{
	world.far_deaf = false;
	world.wire.no_queue = world.wire.no_offloads = false;
	CHECK(world.far->ops->set_offloads(world.far, 0xf) == 0);
	for (unsigned int i = 0; i < LINES; i++)
		world.lines[i].deaf = world.lines[i].hold = false;
	hot_add();
	for (unsigned int i = 0; i < LINES; i++)
		if (world.lines[i].gpadl)
			line_ring(&world.lines[i]);
	world_settle();
	owed_check();
}

static void end(void)
{
	calm_down();
	if (world.config.flags & WORLD_RESET)
		vm_reset();
	else
		all_close();
	world_check();
	world.config.flags &= (uint8_t)~WORLD_FLIP;
	if (world.net)
		recovery_check();
	world_end();
}

static void script_run(struct vmbus_cursor *script)
{
	const struct setup ready = {
		.capabilities = 0xff, .filter = 0x2f, .mtu = 1514,
		.memory = world.config.channels == 1 ? MEMORY_ONE_CHANNEL : MEMORY_RECEIVE};
	uint8_t head[2];

	if (world.config.flags & (WORLD_READY | WORLD_SUBS))
		setup_run(&ready);
	if (world.config.flags & WORLD_SUBS)
		subs_open();
	while (vmbus_cursor_get(script, head, 2)) {
		struct vmbus_cursor in;

		if (!vmbus_cursor_child(script, &in, head[1]))
			in = vmbus_cursor_of(script->data, script->len), script->len = 0;
		act((head[0] & ~STEP_WAIT) % STEPS, &in);
		if (!(head[0] & STEP_WAIT))
			world_settle();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	struct vmbus_cursor script = vmbus_cursor_of(input, size);
	struct world_config config;

	if (!vmbus_cursor_get(&script, &config, sizeof(config)))
		return 0;
	config.channels = 1 + config.channels % LINES;
	config.depth = 1 + config.depth % 64;
	world_start(&config);
	script_run(&script);
	end();
	return 0;
}
