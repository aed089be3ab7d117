/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

/* -- The disk ------------------------------------------------------------- */

#define DISK_DATA_SIZE 40u /* of each request: to see that it is the disk's own */

static void disk_get_info(void *disk, struct vsp_block_info *info)
{
	*info = ((struct held_disk *)disk)->info;
}

static int disk_queue_new(void *disk, struct vmbus_loop *loop, void **queue)
{
	struct held_disk *d = disk;

	(void)loop;
	if (d->queue_result)
		return d->queue_result;
	d->queues++;
	*queue = d;
	return 0;
}

static void disk_queue_free(void *queue)
{
	struct held_disk *d = queue;

	MOCK_CHECK(d->queues > 0);
	d->queues--;
}

static void disk_carry_out(struct held_disk *d, const struct vsp_block_request *r)
{
	uint64_t at = r->offset, sum = 0;

	if (r->op == VSP_BLOCK_UNMAP || r->op == VSP_BLOCK_ZERO)
		memset(d->data + at, 0, r->len);
	for (unsigned int i = 0; i < r->iov_count; i++) {
		const struct iovec *v = &r->iov[i];

		if (r->op == VSP_BLOCK_READ)
			memcpy(v->iov_base, d->data + at, v->iov_len);
		else
			memcpy(d->data + at, v->iov_base, v->iov_len);
		at += v->iov_len;
		sum += v->iov_len;
	}
	if (r->op == VSP_BLOCK_READ || r->op == VSP_BLOCK_WRITE)
		MOCK_CHECK(sum == r->len);
}

static int disk_submit(void *queue, struct vsp_block_request *r)
{
	struct held_disk *d = queue;
	int result = r->op == VSP_BLOCK_FLUSH ? d->flush_result : d->result;

	MOCK_CHECK(r->op == VSP_BLOCK_FLUSH ||
		   (r->offset <= d->info.size && r->len <= d->info.size - r->offset && r->len > 0));
	d->ops[r->op]++;
	d->offset = r->offset;
	d->len = r->len;
	memset(r->disk_data, 0xdd, DISK_DATA_SIZE);
	if (d->hold) {
		MOCK_CHECK(d->held_count < HARNESS_HELD);
		d->held[d->held_count++] = r;
		return -EINPROGRESS;
	}
	if (!result)
		disk_carry_out(d, r);
	return result;
}

static void disk_close(void *disk)
{
	struct held_disk *d = disk;

	MOCK_CHECK(d->queues == 0 && d->closes == 0 && d->held_count == 0);
	d->closes++;
	free(d->data);
}

static const struct vsp_block_ops held_ops = {
	.size = sizeof(held_ops),
	.request_size = DISK_DATA_SIZE,
	.get_info = disk_get_info,
	.queue_new = disk_queue_new,
	.queue_free = disk_queue_free,
	.submit = disk_submit,
	.close = disk_close,
};

struct vsp_disk *held_disk_init(struct held_disk *d)
{
	struct vsp_disk *disk;

	*d = (struct held_disk){
		.info = {.size = HARNESS_DISK, .logical_sector = 512, .physical_sector = 512,
			 .can_unmap = true, .unmap_zeroes = true, .id = {1}},
		.data = calloc(1, HARNESS_DISK),
	};
	MOCK_CHECK(d->data && vsp_disk_new(&held_ops, d, &disk) == 0);
	return disk;
}

void held_disk_finish(struct held_disk *d, int result)
{
	struct vsp_block_request *r = d->held[0];

	MOCK_CHECK(d->held_count > 0);
	d->held_count--;
	memmove(d->held, d->held + 1, d->held_count * sizeof(d->held[0]));
	for (unsigned int i = 0; i < DISK_DATA_SIZE; i++)
		MOCK_CHECK(((uint8_t *)r->disk_data)[i] == 0xdd);
	if (!result)
		disk_carry_out(d, r);
	r->done(r, result);
}

unsigned int held_disk_requests(const struct held_disk *d)
{
	unsigned int sum = 0;

	for (unsigned int i = 0; i <= VSP_BLOCK_ZERO; i++)
		sum += d->ops[i];
	return sum;
}

/* -- Life ----------------------------------------------------------------- */

static struct vmbus_loop *loop_of(void *opaque, struct vmbus_channel *channel)
{
	(void)channel;
	return ((struct harness *)opaque)->loop;
}

void harness_init(struct harness *h, struct vsp_storage_config config)
{
	memset(h, 0, sizeof(*h));
	mock_init(&h->mock);
	config.server = h->mock.server;
	config.loop_of = loop_of;
	config.opaque = h;
	MOCK_CHECK(vsp_storage_new(&config, &h->storage) == 0);
}

void harness_fini(struct harness *h)
{
	mock_fini(&h->mock);
}

void harness_run(struct harness *h)
{
	mock_run(&h->mock);
}

uint8_t *harness_page(struct harness *h, uint64_t pfn)
{
	MOCK_CHECK(pfn < MOCK_PAGES);
	return h->mock.ram + pfn * VMBUS_PAGE_SIZE;
}

/* The guest's mapping of its rings, page by page. */
static void line_map(struct harness *h, struct line *line, uint64_t pfn)
{
	struct vmbus_ring_memory mem[2];
	uint32_t half = MOCK_RING_PAGES / 2;

	for (uint32_t i = 0; i < 2; i++, pfn += half) {
		line->controls[i] = (struct vmbus_ring_control *)(void *)harness_page(h, pfn);
		for (uint32_t k = 0; k < half - 1; k++)
			line->pages[i][k] = harness_page(h, pfn + 1 + k);
		mem[i] = (struct vmbus_ring_memory){
			.control = line->controls[i],
			.pages = line->pages[i],
			.size = (half - 1) * VMBUS_PAGE_SIZE,
		};
	}
	MOCK_CHECK(vmbus_tx_init(&line->tx, &mem[0]) == 0 &&
		   vmbus_rx_init(&line->rx, &mem[1]) == 0);
}

/* Before the host maps them: an open ring's indices are what lies there. */
static void line_open(struct harness *h, uint32_t id)
{
	struct line *line = &h->lines[h->line_count];
	uint32_t handle = 1 + h->line_count;
	uint64_t pfn = MOCK_RING_PFN + h->line_count * MOCK_RING_PAGES;

	MOCK_CHECK(h->line_count < HARNESS_LINES);
	memset(line, 0, sizeof(*line));
	line->id = id;
	memset(harness_page(h, pfn), 0, MOCK_RING_PAGES * VMBUS_PAGE_SIZE);
	line_map(h, line, pfn);
	MOCK_CHECK(mock_gpadl(&h->mock, id, handle, pfn, MOCK_RING_PAGES) == 0);
	MOCK_CHECK(mock_expect(&h->mock, VMBUS_MSG_GPADL_CREATED)->u.created.status == 0);
	MOCK_CHECK(mock_open(&h->mock, id, handle, 0) == 0);
	MOCK_CHECK(mock_expect(&h->mock, VMBUS_MSG_OPEN_RESULT)->u.open_result.status == 0);
	h->line_count++;
}

static uint32_t offers_take(struct harness *h)
{
	const struct mock_message *in;
	uint32_t id = 0;

	mock_connect(&h->mock, VMBUS_V5_2);
	MOCK_CHECK(mock_simple(&h->mock, VMBUS_MSG_REQUEST_OFFERS) == 0);
	while ((in = mock_next(&h->mock)) && in->u.header.type == VMBUS_MSG_OFFER)
		id = in->u.offer.channel_id;
	MOCK_CHECK(id && in && in->u.header.type == VMBUS_MSG_ALLOFFERS_DELIVERED);
	return id;
}

struct line *harness_open(struct harness *h)
{
	uint32_t id = h->lines[0].id;

	if (id == 0) {
		id = offers_take(h);
	} else {
		MOCK_CHECK(mock_teardown(&h->mock, id, 1) == 0);
		(void)mock_expect(&h->mock, VMBUS_MSG_GPADL_TORNDOWN);
	}
	h->line_count = 0;
	line_open(h, id);
	harness_run(h);
	return &h->lines[0];
}

void harness_close(struct harness *h)
{
	MOCK_CHECK(mock_channel(&h->mock, VMBUS_MSG_CLOSE_CHANNEL, h->lines[0].id) == 0);
}

void harness_open_subs(struct harness *h)
{
	const struct mock_message *in;
	uint32_t ids[HARNESS_LINES], count = 0;

	while ((in = mock_next(&h->mock))) {
		MOCK_CHECK(in->u.header.type == VMBUS_MSG_OFFER && count < HARNESS_LINES);
		ids[count++] = in->u.offer.channel_id;
	}
	for (uint32_t i = 0; i < count; i++)
		line_open(h, ids[i]);
	harness_run(h);
}

struct line *harness_ready(struct harness *h, uint16_t version)
{
	struct line *line = harness_open(h);

	MOCK_CHECK(message_exchange(h, line, VSP_STORVSP_BEGIN_INITIALIZATION, 0) == 0);
	MOCK_CHECK(message_exchange(h, line, VSP_STORVSP_QUERY_VERSION, version) == 0);
	MOCK_CHECK(message_exchange(h, line, VSP_STORVSP_QUERY_PROPERTIES, 0) == 0);
	MOCK_CHECK(message_exchange(h, line, VSP_STORVSP_END_INITIALIZATION, 0) == 0);
	return line;
}

/* -- Packets -------------------------------------------------------------- */

bool answer_take(struct line *line, struct answer *answer)
{
	struct vmbus_packet packet;
	uint64_t buf[32];
	int ret = vmbus_rx_next(&line->rx, buf, sizeof(buf), &packet);

	memset(answer, 0, sizeof(*answer));
	if (ret == -EAGAIN)
		return false;
	MOCK_CHECK(ret == 0 && packet.flags == 0 && packet.header_len == 0);
	MOCK_CHECK(packet.payload_len <= sizeof(answer->p));
	(void)!vmbus_rx_commit(&line->rx);
	answer->type = packet.type;
	answer->id = packet.transaction_id;
	answer->len = packet.payload_len;
	memcpy(&answer->p, packet.payload, packet.payload_len);
	MOCK_CHECK(answer->p.flags == 0);
	return true;
}

struct answer answer_expect(struct line *line, uint64_t id)
{
	struct answer answer;

	MOCK_CHECK(answer_take(line, &answer));
	MOCK_CHECK(answer.type == VMBUS_PACKET_COMPLETION && answer.id == id);
	MOCK_CHECK(answer.p.operation == VSP_STORVSP_COMPLETE_IO);
	return answer;
}

void message_put(struct line *line, uint64_t id, const struct vsp_storvsp_packet *p, uint32_t len)
{
	uint8_t body[128] = {0};
	struct vmbus_packet packet = {
		.type = VMBUS_PACKET_INBAND,
		.flags = VMBUS_PACKET_COMPLETION_REQUESTED,
		.transaction_id = id,
		.payload = body,
		.payload_len = len,
	};

	MOCK_CHECK(len <= sizeof(body));
	memcpy(body, p, len < sizeof(*p) ? len : sizeof(*p));
	MOCK_CHECK(vmbus_tx_put(&line->tx, &packet, 0) == 0);
	vmbus_tx_publish(&line->tx);
}

uint32_t message_exchange(struct harness *h, struct line *line, uint32_t operation,
			  uint16_t argument)
{
	struct vsp_storvsp_packet p = {.operation = operation,
				       .flags = VSP_STORVSP_FLAG_COMPLETION};

	p.u.version.version = argument; /* the count of sub-channels lies there, too */
	message_put(line, 0xfffffffffffffffdull, &p, sizeof(p));
	harness_run(h);
	return answer_expect(line, 0xfffffffffffffffdull).p.status;
}

/* Range by range the same pages: more than one is a mistake anyway. */
static uint32_t header_fill(struct harness *h, const struct srb *srb, uint32_t ranges)
{
	struct vmbus_gpa_direct direct = {.range_count = ranges};
	struct vmbus_gpa_range range = {
		.byte_count = srb->range_len ? srb->range_len : srb->len,
		.byte_offset = srb->offset,
	};
	uint32_t pages = vmbus_span_pages(srb->offset, range.byte_count), at = 1;

	if (srb->offset >= VMBUS_PAGE_SIZE) /* a range that lies */
		pages = 2;
	MOCK_CHECK(pages <= HARNESS_PAGES);
	memcpy(&h->header[0], &direct, sizeof(direct));
	for (uint32_t i = 0; i < ranges; i++) {
		memcpy(&h->header[at++], &range, sizeof(range));
		for (uint32_t k = 0; k < pages; k++)
			h->header[at++] = srb->pfns ? srb->pfns[k] : srb->pfn + k;
	}
	return 8 * at;
}

int srb_put(struct harness *h, struct line *line, uint64_t id, const struct srb *srb)
{
	struct vsp_storvsp_packet p = {
		.operation = VSP_STORVSP_EXECUTE_SRB,
		.flags = VSP_STORVSP_FLAG_COMPLETION,
		.u.srb = {.length = 52, .path = srb->path, .target = srb->target, .lun = srb->lun,
			  .cdb_length = 16, .sense_length = 20, .direction = srb->direction,
			  .transfer_length = srb->len},
	};
	struct vmbus_packet packet = {
		.type = VMBUS_PACKET_INBAND,
		.flags = VMBUS_PACKET_COMPLETION_REQUESTED,
		.transaction_id = id,
		.header = h->header,
		.payload = &p,
		.payload_len = sizeof(p),
	};
	int ret;

	memcpy(p.u.srb.u.cdb, srb->cdb, sizeof(srb->cdb));
	if (srb->len || srb->ranges) {
		packet.type = VMBUS_PACKET_GPA_DIRECT;
		packet.header_len = header_fill(h, srb, srb->ranges ? srb->ranges : 1);
	}
	ret = vmbus_tx_put(&line->tx, &packet, 0);
	vmbus_tx_publish(&line->tx);
	return ret;
}

struct answer srb_exchange(struct harness *h, struct line *line, const struct srb *srb)
{
	MOCK_CHECK(srb_put(h, line, 0x5afe, srb) == 0);
	harness_run(h);
	return answer_expect(line, 0x5afe);
}

struct srb srb_rw(bool write, uint32_t lba, uint16_t blocks)
{
	return (struct srb){
	    .direction = write ? VSP_SRB_WRITE : VSP_SRB_READ,
	    .cdb = {write ? 0x2a : 0x28, 0, (uint8_t)(lba >> 24), (uint8_t)(lba >> 16),
		    (uint8_t)(lba >> 8), (uint8_t)lba, 0, (uint8_t)(blocks >> 8),
		    (uint8_t)blocks},
	    .len = blocks * 512u,
	    .pfn = HARNESS_DATA_PFN,
	};
}
