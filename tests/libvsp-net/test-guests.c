/* SPDX-License-Identifier: MIT */
/* Whole sessions as the drivers of several systems begin them, message by message: what they
 * check of the answers is checked here. Facts: Linux drivers/net/hyperv, FreeBSD hn, DPDK
 * netvsc, the UEFI driver of Microsoft's firmware. */
#include <string.h>

#include <criterion/criterion.h>

#include "net-world.h"

#define SCRIPT 40u

static const struct guest {
	const char *name;
	uint32_t versions[7]; /* tried in this order; 0 ends */
	uint32_t host_version;
	uint16_t receive_id, send_id;
	uint32_t receive_pages;
	uint32_t ndis_minor;
	bool send_buffer;   /* it has one */
	bool answers;       /* it wants all messages answered */
	bool in_sections;   /* control messages lie in the send buffer, too */
	uint32_t data_type; /* what it says frames are */
	bool revokes;
	struct {
		uint32_t type, oid, len; /* len: of an answer to a query, or of what is set */
	} script[SCRIPT];
} guests[] = {
	{"Linux 6.1", {VSP_NVSP_V61, VSP_NVSP_V6, VSP_NVSP_V5, VSP_NVSP_V4, VSP_NVSP_V2,
		       VSP_NVSP_V1},
	 VSP_NVSP_V61, 0xcafe, 0, 256, 30, true, false, false, 0, true,
	 {{4, 0x00010106, 4}, {4, 0x01010101, 6}, {4, 0x00020216, 512}, {4, 0xfc01020d, 156},
	  {5, 0xfc01020c, 28}, {4, 0x00010114, 4}, {4, 0x00010203, 18}, {5, 0x0001010e, 4}}},
	{"Linux 6.1 on an old host", {VSP_NVSP_V61, VSP_NVSP_V6, VSP_NVSP_V5, VSP_NVSP_V4,
				      VSP_NVSP_V2},
	 VSP_NVSP_V4, 0xcafe, 0, 256, 1, true, false, false, 0, true,
	 {{4, 0x00010106, 4}, {4, 0x01010101, 6}, {4, 0xfc01020d, 156}, {5, 0xfc01020c, 22},
	  {4, 0x00010114, 4}, {5, 0x0001010e, 4}}},
	{"FreeBSD", {VSP_NVSP_V5, VSP_NVSP_V4, VSP_NVSP_V2, VSP_NVSP_V1}, VSP_NVSP_V61, 0xcafe,
	 0xface, 256,
	 30, true, false, false, 0, true,
	 {{4, 0xfc01020d, 156}, {5, 0xfc01020c, 28}, {4, 0x01010101, 6}, {4, 0x00010114, 4},
	  {4, 0x00010203, 18}, {5, 0x0001010e, 4}}},
	{"DPDK", {VSP_NVSP_V61, VSP_NVSP_V6, VSP_NVSP_V5, VSP_NVSP_V4, VSP_NVSP_V2, VSP_NVSP_V1},
	 VSP_NVSP_V6,
	 0xcafe, 0xface, 256, 30, true, false, false, 0, true,
	 {{5, 0x0001010e, 0}, {4, 0x00010106, 4}, {4, 0x01010101, 6}, {4, 0x00010203, 18}, {4,
											    0xfc01020d, 156},
	  {5, 0xfc01020c, 28}, {4, 0x00010107, 4}, {5, 0x0001010e, 4}}},
	/* what OpenVMM answers it, in the order of NDIS: nobody has published its messages */
	{"Windows", {VSP_NVSP_V61}, VSP_NVSP_V61, 0x1234, 0x5678, 256, 85, true, true, false, 0, true,
	 {{4, 0x00010101, 61 * 4}, {4, 0x01010101, 6}, {4, 0x01010102, 6}, {4, 0x00010104, 4}, {4, 0x00010106, 4},
	  {4, 0x00010105, 4}, {4, 0x00010111, 4}, {4, 0x00010113, 4}, {4, 0x0001010c, 4}, {4, 0x0001010d, 21},
	  {4, 0x00010116, 2}, {4, 0x00010206, 16}, {4, 0x00010207, 40}, {4, 0x00010114, 4}, {4, 0x00010115, 4},
	  {4, 0x01010104, 4}, {4, 0x00020216, 512}, {4, 0xfc01020d, 156}, {4, 0xfc01020b, 156}, {4, 0x00010203, 18},
	  {5, 0x0101010a, 28}, {5, 0xfc01020c, 28}, {5, 0x01010103, 0}, {5, 0x00010118, 4}, {5, 0x0001010f, 4},
	  {5, 0x0001010e, 4}, {4, 0x0001010e, 4}, {4, 0x00020219, 8}, {4, 0x0002021a, 8}, {4, 0x00020101, 4},
	  {4, 0x0002021b, 8}, {4, 0x01020101, 4}}},
	{"OpenBSD", {VSP_NVSP_V5, VSP_NVSP_V4, VSP_NVSP_V2, VSP_NVSP_V1}, VSP_NVSP_V2, 0xcafe, 0xface, 256, 1, false,
	 false, false, 0, true,
	 {{4, 0x01010101, 6}, {4, 0x00010114, 4}, {5, 0x0001010e, 4}}},
	{"UEFI", {VSP_NVSP_V5}, VSP_NVSP_V61, 0x1981, 0xbeef, 48, 0, true, true, true, 2, false,
	 {{4, 0x01010102, 6}, {4, 0x01010102, 6}, {5, 0x0001010e, 4}}},
	{"without a send buffer", {VSP_NVSP_V2}, VSP_NVSP_V61, 7, 0, 64, 1, false, false, false, 0,
	 true,
	 {{4, 0x01010101, 6}, {5, 0x0001010e, 4}}},
};

struct session {
	const struct guest *guest;
	struct world *w;
	uint32_t receive, send, slot_size, request;
	uint64_t id;
	/* what came with the last message */
	bool completed;
	uint8_t answer[64];
	uint32_t answer_len;
	uint8_t control[1024];
	uint32_t control_len;
	uint32_t frames; /* transfer pages that were none of control */
};

static uint32_t word(const uint8_t *bytes, uint32_t at)
{
	uint32_t value;

	memcpy(&value, bytes + at, 4);
	return value;
}

static void slots_return(struct session *s, uint64_t id)
{
	static const uint32_t done[2] = {VSP_NVSP_RNDIS_COMPLETE, VSP_NVSP_STATUS_SUCCESS};
	const struct vmbus_packet packet = {
		.type = VMBUS_PACKET_COMPLETION, .transaction_id = id, .payload = done, .payload_len = 8};

	cr_assert_eq(vmbus_tx_put(&s->w->channels[0]->tx, &packet, 0), 0);
}

static void pages_take(struct session *s, const struct vmbus_packet *packet)
{
	struct vmbus_transfer_pages pages;
	struct vmbus_transfer_range range;
	uint32_t words[2];

	memcpy(&pages, packet->header, sizeof(pages));
	memcpy(&range, (const uint8_t *)packet->header + sizeof(pages), sizeof(range));
	memcpy(words, packet->payload, sizeof(words));
	cr_assert_eq(pages.set_id, s->guest->receive_id, "%s", s->guest->name);
	cr_assert_eq(words[0], VSP_NVSP_RNDIS);
	cr_assert(range.byte_count <= s->slot_size && range.byte_offset % s->slot_size == 0);
	if (words[1] != VSP_NVSP_CHANNEL_CONTROL) {
		s->frames += pages.range_count;
	} else if (word(s->w->receive + range.byte_offset, 0) != VSP_RNDIS_INDICATE) {
		s->control_len = range.byte_count;
		cr_assert_leq(range.byte_count, sizeof(s->control));
		memcpy(s->control, s->w->receive + range.byte_offset, range.byte_count);
	}
	slots_return(s, packet->transaction_id);
}

static void packets_take(struct world *w)
{
	struct session *s = w->raw_user;
	uint64_t buffer[512];
	struct vmbus_packet packet;

	while (vmbus_rx_next(&s->w->channels[0]->rx, buffer, sizeof(buffer), &packet) == 0) {
		if (packet.type == VMBUS_PACKET_TRANSFER_PAGES) {
			pages_take(s, &packet);
			continue;
		}
		cr_assert_eq(packet.type, VMBUS_PACKET_COMPLETION);
		cr_assert_eq(packet.transaction_id, s->id);
		s->completed = true;
		s->answer_len = packet.payload_len;
		memcpy(s->answer, packet.payload, packet.payload_len);
	}
	vmbus_guest_commit(w->channels[0]);
	world_signal(w, 0);
}

/* Lets the host work and takes all it says. */
static void settle(struct session *s)
{
	s->completed = false;
	s->control_len = s->frames = 0;
	world_signal(s->w, 0);
	world_settle(s->w);
}

/* An NVSP message; returns the status in its answer if it has one. */
static void message(struct session *s, const struct vsp_nvsp_message *m, bool answer)
{
	struct vmbus_packet packet = {.type = VMBUS_PACKET_INBAND, .transaction_id = ++s->id,
				      .payload = m, .payload_len = VSP_NVSP_SIZE_V61};

	answer = answer || s->guest->answers;
	packet.flags = answer ? VMBUS_PACKET_COMPLETION_REQUESTED : 0;
	cr_assert_eq(vmbus_tx_put(&s->w->channels[0]->tx, &packet, 0), 0);
	settle(s);
	cr_assert_eq(s->completed, answer, "%s: message %u", s->guest->name, m->type);
}

/* An RNDIS message, from where this guest puts them: in a section, or in a page. */
static void rndis(struct session *s, uint32_t channel_type, const void *bytes, uint32_t len,
		  bool in_section)
{
	struct vsp_nvsp_message m = {.type = VSP_NVSP_RNDIS,
				     .u.rndis = {channel_type, in_section ? 3 : VSP_NVSP_NO_SECTION,
						 in_section ? len : 0}};
	const struct {
		struct vmbus_gpa_direct direct;
		struct vmbus_gpa_range range;
		uint64_t pfn;
	} header = {{.range_count = 1}, {.byte_count = len, .byte_offset = 64}, s->w->page_pfns[0]};
	struct vmbus_packet packet = {.type = VMBUS_PACKET_INBAND, .transaction_id = ++s->id,
				      .payload = &m,
				      .flags = VMBUS_PACKET_COMPLETION_REQUESTED,
				      .payload_len = VSP_NVSP_SIZE_V61};

	if (in_section) {
		memcpy(s->w->send + 3 * VSP_NVSP_SECTION_SIZE, bytes, len);
	} else {
		memcpy(s->w->pages + 64, bytes, len);
		packet.type = VMBUS_PACKET_GPA_DIRECT;
		packet.header = &header;
		packet.header_len = sizeof(header);
	}
	cr_assert_eq(vmbus_tx_put(&s->w->channels[0]->tx, &packet, 0), 0);
	settle(s);
	cr_assert(s->completed && word(s->answer, 0) == VSP_NVSP_RNDIS_COMPLETE &&
		  word(s->answer, 4) == VSP_NVSP_STATUS_SUCCESS, "%s", s->guest->name);
}

static void version_agree(struct session *s)
{
	uint32_t status = 0, version = 0;

	for (uint32_t i = 0; s->guest->versions[i] && status != VSP_NVSP_STATUS_SUCCESS; i++) {
		version = s->guest->versions[i];
		message(s, &(struct vsp_nvsp_message){.type = VSP_NVSP_INIT, .u.init = {version,
											version}}, true);
		cr_assert_geq(s->answer_len, 28, "Linux waits for ever for less");
		cr_assert_eq(word(s->answer, 0), VSP_NVSP_INIT_COMPLETE);
		status = word(s->answer, 12);
		cr_assert_eq(status == VSP_NVSP_STATUS_SUCCESS, version <= s->guest->host_version);
	}
	cr_assert_eq(status, VSP_NVSP_STATUS_SUCCESS, "%s", s->guest->name);
	if (version >= VSP_NVSP_V2)
		message(s, &(struct vsp_nvsp_message){.type = VSP_NVSP_NDIS_CONFIG,
						      .u.ndis_config = {.mtu = 1514}},
			false);
	message(s, &(struct vsp_nvsp_message){.type = VSP_NVSP_NDIS_VERSION,
					      .u.ndis_version = {6, s->guest->ndis_minor}}, false);
}

static void buffers_hand_over(struct session *s)
{
	struct vsp_nvsp_message m = {.type = VSP_NVSP_RECV_BUF, .u.buffer = {s->receive,
									     s->guest->receive_id, 0}};

	message(s, &m, true);
	cr_assert_geq(s->answer_len, 28);
	cr_assert_eq(word(s->answer, 0), VSP_NVSP_RECV_BUF_COMPLETE);
	cr_assert(word(s->answer, 4) == VSP_NVSP_STATUS_SUCCESS && word(s->answer, 8) == 1 &&
		  word(s->answer, 12) == 0, "%s", s->guest->name);
	s->slot_size = word(s->answer, 16);
	cr_assert(word(s->answer, 20) == s->guest->receive_pages * 4096 / s->slot_size &&
		  word(s->answer, 24) == s->slot_size * word(s->answer, 20));
	cr_assert(s->slot_size >= 68 && (uint64_t)s->slot_size * word(s->answer, 20) <=
						s->guest->receive_pages * 4096ull);
	if (!s->guest->send_buffer)
		return;
	m = (struct vsp_nvsp_message){.type = VSP_NVSP_SEND_BUF, .u.buffer = {s->send,
									      s->guest->send_id, 0}};
	message(s, &m, true);
	cr_assert(word(s->answer, 0) == VSP_NVSP_SEND_BUF_COMPLETE &&
		  word(s->answer, 4) == VSP_NVSP_STATUS_SUCCESS && word(s->answer, 8) == 6144);
}

static void control(struct session *s, const void *bytes, uint32_t len, uint32_t type)
{
	rndis(s, VSP_NVSP_CHANNEL_CONTROL, bytes, len, s->guest->in_sections);
	cr_assert_geq(s->control_len, 16, "%s: no answer to %u", s->guest->name, type);
	cr_assert_eq(word(s->control, 0), type | VSP_RNDIS_COMPLETE);
	cr_assert_eq(word(s->control, 8), s->request);
	cr_assert_eq(word(s->control, 12), VSP_RNDIS_SUCCESS, "%s: %#x", s->guest->name,
		     word(s->control, 12));
}

static void script_run(struct session *s)
{
	struct vsp_rndis_initialize init = {.header = {VSP_RNDIS_INITIALIZE, sizeof(init)},
					    .major = 1,
					    .max_transfer = 0x4000};
	struct {
		struct vsp_rndis_oid_request m;
		uint32_t value[7];
	} r = {.m = {.info_offset = 20}};

	init.request_id = ++s->request;
	control(s, &init, sizeof(init), VSP_RNDIS_INITIALIZE);
	for (uint32_t i = 0; i < SCRIPT && s->guest->script[i].type; i++) {
		bool set = s->guest->script[i].type == VSP_RNDIS_SET;
		uint32_t len = set ? s->guest->script[i].len : 0;

		memset(r.value, 0, sizeof(r.value));
		if (s->guest->script[i].oid == 0xfc01020c)
			memcpy(r.value, &(struct vsp_ndis_object){VSP_NDIS_DEFAULT, 3,
								  (uint16_t)len}, 4);
		else if (s->guest->script[i].oid == 0x0101010a)
			memcpy(r.value, &(struct vsp_ndis_encapsulation){
				{VSP_NDIS_OFFLOAD_ENCAPSULATION, 1, 28}, {1, 2, 14}, {1, 2, 14}}, 28);
		else if (len)
			r.value[0] = VSP_FILTER_DIRECTED | VSP_FILTER_BROADCAST | VSP_FILTER_ALL_MULTICAST;
		if (set && !len && s->guest->script[i].oid == 0x0001010e)
			len = 4; /* DPDK starts with an empty filter */
		r.m.header = (struct vsp_rndis_header){s->guest->script[i].type,
						       (uint32_t)sizeof(r.m) + len};
		r.m.request_id = ++s->request;
		r.m.oid = s->guest->script[i].oid;
		r.m.info_length = len;
		control(s, &r, r.m.header.length, r.m.header.type);
		if (set)
			continue;
		cr_expect_eq(word(s->control, 16), s->guest->script[i].len, "%s: OID %#x",
			     s->guest->name, r.m.oid);
		cr_expect_geq(word(s->control, 20), 16, "%s: OID %#x", s->guest->name, r.m.oid);
	}
}

static void frames_pass(struct session *s)
{
	struct {
		struct vsp_rndis_packet header;
		uint8_t container[16]; /* of UEFI: it leaves a gap */
		uint8_t frame[200];
	} m = {.header = {.header = {VSP_RNDIS_PACKET, sizeof(m)}, .data_offset = 36 + 16,
			  .data_length = 200}};
	uint8_t got[300];

	world_frame(m.frame, sizeof(m.frame), 9);
	rndis(s, s->guest->data_type, &m, sizeof(m), s->guest->send_buffer);
	cr_assert_eq(world_take(s->w, 0, got, sizeof(got), NULL), sizeof(m.frame), "%s",
		     s->guest->name);
	cr_assert_eq(memcmp(got, m.frame, sizeof(m.frame)), 0);
	for (uint32_t i = 0; i < 5; i++)
		cr_assert(world_put(s->w, 0, m.frame, sizeof(m.frame), NULL));
	settle(s);
	cr_assert_eq(s->frames, 5, "%s: %u frames", s->guest->name, s->frames);
}

static void session_end(struct session *s)
{
	uint32_t torn;

	if (s->guest->revokes) {
		message(s, &(struct vsp_nvsp_message){.type = VSP_NVSP_REVOKE_RECV_BUF,
						      .u.revoke = {s->guest->receive_id}}, false);
		if (s->guest->send_buffer)
			message(s, &(struct vsp_nvsp_message){.type = VSP_NVSP_REVOKE_SEND_BUF,
							      .u.revoke = {s->guest->send_id}}, false);
	}
	cr_assert_eq(vmbus_inproc_close(s->w->bus, s->w->channels[0]), 0);
	torn = s->w->gpadls_torn;
	cr_assert_eq(vmbus_guest_gpadl_teardown(s->w->channels[0], s->receive), 0);
	cr_assert_eq(vmbus_guest_gpadl_teardown(s->w->channels[0], s->send), 0);
	world_settle(s->w);
	cr_expect_eq(s->w->gpadls_torn, torn + 2, "%s: buffers are kept", s->guest->name);
}

Test(guests, each_gets_up_passes_frames_and_goes_twice)
{
	for (size_t i = 0; i < sizeof(guests) / sizeof(guests[0]); i++) {
		const struct guest *g = &guests[i];
		struct world *w = world_new(&(struct world_options){
			.seed = 60 + i, .version = g->host_version, .receive_pages = g->receive_pages});

		for (uint32_t round = 0; round < 2; round++) {
			struct session s = {.guest = g, .w = w};

			w->raw = packets_take;
			w->raw_user = &s;
			cr_assert_eq(vmbus_inproc_open(w->bus, w->channels[0], 9, 9, 0), 0);
			cr_assert_eq(vmbus_guest_gpadl_create(w->channels[0], w->receive_pfns, 0,
							      g->receive_pages << 12, &s.receive), 0);
			cr_assert_eq(vmbus_guest_gpadl_create(w->channels[0], w->send_pfns, 0,
							      32u << 12,
							      &s.send), 0);
			world_settle(w);
			version_agree(&s);
			buffers_hand_over(&s);
			script_run(&s);
			frames_pass(&s);
			session_end(&s);
		}
		world_end(w);
	}
}
