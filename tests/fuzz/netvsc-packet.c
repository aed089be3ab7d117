/* SPDX-License-Identifier: MIT */
/* Packets of the guest, with RNDIS messages in every form (netvsc-script.h). */
#include <string.h>

#include "netvsc-world.h"

#define SECTIONS (SEND_PAGES * VMBUS_PAGE_SIZE / VSP_NVSP_SECTION_SIZE)

void packet_put(struct line *l, const struct vmbus_packet *packet)
{
	if (!l->gpadl || vmbus_tx_put(&l->channel->tx, packet, 0))
		return;
	if (packet->flags && packet->type != VMBUS_PACKET_COMPLETION)
		l->owed[packet->transaction_id]++;
	line_signal(l);
}

static uint16_t answer_flag(bool wanted)
{
	return wanted ? VMBUS_PACKET_COMPLETION_REQUESTED : 0;
}

void inband_put(struct line *l, uint8_t id, bool answer, const void *bytes, uint32_t len)
{
	const struct vmbus_packet packet = {
		.type = VMBUS_PACKET_INBAND,
		.flags = answer_flag(answer),
		.transaction_id = id,
		.payload = bytes,
		.payload_len = len,
	};

	packet_put(l, &packet);
}

struct direct { /* header of a GPA-direct packet */
	uint32_t len; /* in words */
	uint64_t words[1 + 2 * 600];
};

/* Bytes go to byte @at of memory from page @pfn on. */
static void range_put(struct direct *d, uint64_t pfn, uint32_t at, const uint8_t *bytes,
		      uint32_t len)
{
	const struct vmbus_gpa_range range = {len, (uint32_t)(at % VMBUS_PAGE_SIZE)};
	struct vmbus_gpa_direct head;
	uint32_t pages = vmbus_span_pages(range.byte_offset, len);

	memcpy(&head, d->words, sizeof(head));
	head.range_count++;
	memcpy(d->words, &head, sizeof(head));
	pfn += at / VMBUS_PAGE_SIZE;
	memcpy(&d->words[d->len++], &range, sizeof(range));
	for (uint32_t i = 0; i < pages; i++)
		d->words[d->len++] = pfn + i;
	if (bytes && world_page(pfn + pages - 1)) {
		memcpy(world_page(pfn) + range.byte_offset, bytes, len);
		memory_written(world_page(pfn) + range.byte_offset, len);
	}
}

static void pieces_put(struct direct *d, const uint8_t *bytes, uint32_t len)
{
	uint32_t step = len / 15 + 1 > 40 ? len / 15 + 1 : 40;

	for (uint32_t at = 0; at < len; at += step)
		range_put(d, DATA_PFN, (at / step) * (step + 77) % (MESSAGE_MAX - step), bytes + at,
			  len - at < step ? len - at : step);
}

static void direct_build(struct direct *d, uint8_t form, const uint8_t *bytes, uint32_t len)
{
	struct vmbus_gpa_direct head = {.range_count = 0};

	memset(d->words, 0, sizeof(d->words[0]));
	d->len = 1;
	switch (form) {
	case FORM_SCATTERED:
		pieces_put(d, bytes, len);
		break;
	case FORM_HOT:
		range_put(d, HOT_PFN, 8, bytes, len < 12000 ? len : 12000);
		break;
	case FORM_READONLY:
		range_put(d, READONLY_PFN, 0, NULL, len < 8192 ? len : 8192);
		break;
	case FORM_MISSING:
		range_put(d, DATA_PFN, 0, bytes, len - len / 4);
		range_put(d, 512, 0, NULL, len / 4 + 1);
		break;
	case FORM_LYING:
		range_put(d, DATA_PFN, 0, bytes, len);
		memcpy(&head, d->words, sizeof(head));
		head.range_count++;
		memcpy(d->words, &head, sizeof(head));
		break;
	case FORM_CRUMBS:
		for (uint32_t i = 0; i < len && i < 600; i++)
			range_put(d, DATA_PFN + i % DATA_PAGES, 8 + i, bytes + i, 1);
		break;
	case FORM_HUGE:
		range_put(d, DATA_PFN, 0, bytes, len);
		for (uint32_t i = 0; i < 4; i++)
			range_put(d, RECEIVE_PFN, 0, NULL, 80 * VMBUS_PAGE_SIZE);
		break;
	default:
		range_put(d, DATA_PFN, 8, bytes, len < MESSAGE_MAX - 8 ? len : MESSAGE_MAX - 8);
		break;
	}
}

static uint32_t section_put(const struct shape *s, const uint8_t *bytes, uint32_t len)
{
	uint32_t room = VSP_NVSP_SECTION_SIZE;

	if (s->section < SECTIONS)
		memcpy(world_page(SEND_PFN) + s->section * room, bytes, len < room ? len : room);
	return s->form & FORM_EXTENDED ? len + 4096 : len;
}

/* Messages of @len > 0 bytes, in one packet. */
void message_put(const struct shape *s, const uint8_t *bytes, uint32_t len)
{
	struct vsp_nvsp_message m = {
		.type = VSP_NVSP_RNDIS,
		.u.rndis = {s->form & FORM_CONTROL ? VSP_NVSP_CHANNEL_CONTROL : VSP_NVSP_CHANNEL_DATA,
			    VSP_NVSP_NO_SECTION, 0}};
	struct vmbus_packet packet = {
		.type = VMBUS_PACKET_INBAND,
		.flags = answer_flag(!(s->form & FORM_NO_ANSWER)),
		.transaction_id = s->id,
		.payload = &m,
		.payload_len = VSP_NVSP_SIZE_V61,
	};
	uint8_t form = (s->form & FORM_MASK) % FORMS;
	uint32_t first = form == FORM_SECTION ? len : len < 64 ? len / 2 : 64;
	struct direct d;

	if (form == FORM_SECTION || (form == FORM_PARTIAL && first)) {
		m.u.rndis.section = s->section;
		m.u.rndis.section_size = section_put(s, bytes, first);
		bytes += first;
		len -= first;
	}
	if (form != FORM_SECTION) {
		direct_build(&d, form, bytes, len);
		packet.type = VMBUS_PACKET_GPA_DIRECT;
		packet.header = d.words;
		packet.header_len = d.len * 8;
	}
	packet_put(s->line, &packet);
}

void request_put(const struct shape *s, uint32_t type, uint32_t oid, const void *info,
		 uint32_t len)
{
	uint8_t bytes[1024];
	const struct vsp_rndis_oid_request m = {
		.header = {type, (uint32_t)sizeof(m) + len}, .request_id = s->id, .oid = oid,
		.info_length = len, .info_offset = 20};

	memcpy(bytes, &m, sizeof(m));
	memcpy(bytes + sizeof(m), info, len);
	message_put(s, bytes, (uint32_t)sizeof(m) + len);
}
