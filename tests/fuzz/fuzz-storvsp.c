/* SPDX-License-Identifier: MIT */
/* A guest's script for a storage controller over real rings: LUN 0 is a RAM disk, LUN 1
 * answers when the script says so. Each record is {u8 action, u8 length, bytes}. Every
 * packet that asks for it is answered exactly once, as long as it was, and memory that
 * was not named stays as it was. Bytes that the host has fetched are others at once. */
#include <stddef.h>
#include <stdlib.h>

static void fetch_seen(const void *src, size_t len);
#define VMBUS_FETCH_HOOK(src, len) fetch_seen(src, len)
#include "memory-copy.c"
#include "ring-rx.c"

#include "harness.h"

#define PACKET_WORDS 32u /* of a raw packet's header */
#define DATA_PAGES 32u   /* that page numbers inside memory are made to name */
#define SRB_BYTES 27u

enum action { RAW, SRB, POKE, HOLD, FINISH, DISKS, RESIZE, REOPEN, INITIALISE, ACTIONS };

struct script {
	struct harness h;
	struct held_disk held;
	struct vsp_disk *disk;
	unsigned int owed[256]; /* answers, by id */
	uint32_t lens[256];     /* of the questions with that id: bit n for 8 * n bytes */
};

static struct script s;

static bool serving; /* else it is the guest that looks at its own ring */

static void fetch_seen(const void *src, size_t len)
{
	volatile uint8_t *bytes = (volatile uint8_t *)(uintptr_t)src;

	for (size_t i = 0; serving && i < len; i++)
		bytes[i] ^= 0xff;
}

static void serve(void)
{
	serving = true;
	harness_run(&s.h);
	serving = false;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

/* What the guest may name without harming itself: not the rings. */
static uint64_t data_pfn(uint64_t pfn)
{
	return pfn < MOCK_PAGES ? HARNESS_DATA_PFN + pfn % DATA_PAGES : pfn;
}

static void question(uint8_t id, uint32_t len)
{
	len = len > 64 ? 64 : len < 12 ? 12 : len;
	s.lens[id] = (s.owed[id]++ ? s.lens[id] : 0) | 1u << (len + 7) / 8;
}

static void answers_check(void)
{
	struct answer a;

	for (unsigned int i = 0; i < s.h.line_count; i++) {
		while (answer_take(&s.h.lines[i], &a)) {
			if (a.type == VMBUS_PACKET_INBAND) {
				MOCK_CHECK(a.id == 0 && a.p.operation == VSP_STORVSP_ENUMERATE_BUS);
				continue;
			}
			MOCK_CHECK(a.id < 256 && s.owed[a.id]-- > 0);
			MOCK_CHECK(a.p.operation == VSP_STORVSP_COMPLETE_IO);
			MOCK_CHECK(a.len % 8 == 0 && (s.lens[a.id] >> a.len / 8 & 1));
		}
	}
}

/* {u8 type, u8 flags, u8 id, u8 header words}, header, payload */
static void raw_put(struct line *line, const uint8_t *p, size_t len)
{
	static const uint16_t types[] = {VMBUS_PACKET_INBAND, VMBUS_PACKET_GPA_DIRECT,
					 VMBUS_PACKET_COMPLETION, VMBUS_PACKET_TRANSFER_PAGES};
	uint64_t header[PACKET_WORDS] = {0};
	struct vmbus_packet packet = {.type = types[p[0] % 4],
				      .flags = p[1] & 1,
				      .transaction_id = p[2],
				      .header = header,
				      .header_len = 8u * (p[3] % PACKET_WORDS)};

	len -= 4;
	if (len < packet.header_len)
		packet.header_len = (uint32_t)len & ~7u;
	if (packet.header_len == 0 && packet.type != VMBUS_PACKET_INBAND)
		packet.type = VMBUS_PACKET_COMPLETION; /* else the ring is refused */
	memcpy(header, p + 4, packet.header_len);
	for (uint32_t i = 2; i < packet.header_len / 8; i++)
		header[i] = data_pfn(header[i]);
	packet.payload = p + 4 + packet.header_len;
	packet.payload_len = (uint32_t)len - packet.header_len;
	if (vmbus_tx_put(&line->tx, &packet, 0))
		return;
	vmbus_tx_publish(&line->tx);
	if (packet.flags && (packet.type == VMBUS_PACKET_INBAND ||
			     packet.type == VMBUS_PACKET_GPA_DIRECT))
		question(p[2], packet.payload_len);
}

/* {u8 id, lun, direction, ranges, u16 offset, u32 len, u8 page, u8 cdb[16]} */
static void srb_make(struct line *line, const uint8_t *p)
{
	struct srb srb = {.lun = p[1] % 3, .direction = p[2] % 3, .ranges = p[3] % 4 == 3 ? 2 : 0,
			  .path = p[3] >> 7, .range_len = p[3] & 4 ? 8192 : 0};
	uint64_t pfns[HARNESS_PAGES];

	memcpy(&srb.offset, p + 4, 2);
	srb.offset %= VMBUS_PAGE_SIZE;
	memcpy(&srb.len, p + 6, 4);
	srb.len %= 65536 + 1;
	for (unsigned int i = 0; i < HARNESS_PAGES; i++)
		pfns[i] = HARNESS_DATA_PFN + (p[10] + (p[3] & 8 ? i * 7 : i)) % DATA_PAGES;
	if (p[3] & 16)
		pfns[p[10] % 4] = MOCK_PAGES;
	srb.pfns = pfns;
	memcpy(srb.cdb, p + 11, 16);
	if (srb_put(&s.h, line, p[0], &srb) == 0)
		question(p[0], 64);
}

/* A request that ends makes room for the next. */
static void held_finish_all(void)
{
	serve();
	while (s.held.held_count) {
		held_disk_finish(&s.held, 0);
		serve();
		answers_check();
	}
	answers_check();
}

static void reopen(void)
{
	held_finish_all();
	harness_close(&s.h);
	serve();
	memset(s.owed, 0, sizeof(s.owed)); /* what was not served yet is forgotten */
	harness_open(&s.h);
}

static void initialise(void)
{
	held_finish_all();
	for (uint32_t op = VSP_STORVSP_BEGIN_INITIALIZATION;
	     op <= VSP_STORVSP_QUERY_PROPERTIES; op++) {
		static const uint32_t order[] = {7, 9, 10, 8};
		struct vsp_storvsp_packet p = {.operation = order[op - 7],
					       .u.version.version = 0x0602};

		message_put(&s.h.lines[0], 0, &p, sizeof(p));
		question(0, 64);
		serve();
		answers_check();
	}
}

static void act(enum action action, const uint8_t *p, size_t len)
{
	struct line *line = &s.h.lines[0];

	if (action == RAW && len >= 4)
		raw_put(line, p, len);
	else if (action == SRB && len >= SRB_BYTES)
		srb_make(line, p);
	else if (action == POKE)
		memcpy(harness_page(&s.h, HARNESS_DATA_PFN), p, len);
	else if (action == HOLD)
		s.held.hold = !s.held.hold;
	else if (action == FINISH && s.held.held_count)
		held_disk_finish(&s.held, len ? -p[0] : 0);
	else if (action == DISKS && vsp_storage_remove_disk(s.h.storage, 1))
		(void)!vsp_storage_add_disk(s.h.storage, 1, s.disk);
	else if (action == REOPEN)
		reopen();
	else if (action == INITIALISE)
		initialise();
	else if (action == RESIZE) {
		s.held.info.size = HARNESS_DISK - s.held.info.size / 2;
		vsp_storage_resized(s.h.storage, 1);
	}
}

static void start(void)
{
	struct vsp_storage_config config = HARNESS_CONFIG;
	struct vsp_disk *ram;

	memset(&s, 0, sizeof(s));
	s.disk = held_disk_init(&s.held);
	harness_init(&s.h, config);
	MOCK_CHECK(vsp_disk_ram(HARNESS_DISK, &ram) == 0);
	MOCK_CHECK(vsp_storage_add_disk(s.h.storage, 0, ram) == 0);
	MOCK_CHECK(vsp_storage_add_disk(s.h.storage, 1, s.disk) == 0);
	vsp_disk_unref(ram);
	harness_open(&s.h);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	const uint8_t *before, *behind;

	start();
	while (size >= 2 && input[1] <= size - 2) {
		act((enum action)(input[0] % ACTIONS), input + 2, input[1]);
		if (!(input[0] & 0x80)) { /* else the next one comes before the host looks */
			serve();
			answers_check();
		}
		size -= 2u + input[1];
		input += 2u + input[1];
	}
	held_finish_all();
	serve();
	held_finish_all();
	if (s.h.mock.logs == 0) /* no channel was stopped */
		for (unsigned int i = 0; i < 256; i++)
			MOCK_CHECK(s.owed[i] == 0);
	before = harness_page(&s.h, HARNESS_DATA_PFN - 1);
	behind = harness_page(&s.h, HARNESS_DATA_PFN + DATA_PAGES);
	for (unsigned int i = 0; i < VMBUS_PAGE_SIZE; i++)
		MOCK_CHECK(before[i] == 0 && behind[i] == 0);
	vsp_disk_unref(s.disk);
	harness_fini(&s.h);
	return 0;
}
