/* SPDX-License-Identifier: MIT */
/* The life of an SRB: its data pages, the SCSI command, the disk's answer. */
#include <errno.h>
#include <string.h>

#include "storage-private.h"

#define SRB_SUCCESS 0x01
#define SRB_ERROR 0x04
#define SRB_BUSY 0x05
#define SRB_INVALID_REQUEST 0x06
#define SRB_INVALID_LUN 0x20
#define SRB_AUTOSENSE 0x80

/* -- Answers -------------------------------------------------------------- */

/* Path, target and LUN are echoed: some guests look at them. */
static void srb_answer(struct request *r, uint8_t srb_status, uint8_t scsi_status, uint32_t status,
		       uint32_t transferred)
{
	struct vsp_storvsp_packet *p = &r->storvsp;
	struct vsp_storvsp_srb *srb = &p->u.srb;

	p->operation = VSP_STORVSP_COMPLETE_IO;
	p->flags = 0;
	p->status = status;
	srb->srb_status = srb_status;
	srb->scsi_status = scsi_status;
	srb->transfer_length = transferred;
	if (status)
		storage_count(r->channel, STAT_ERRORS, 1);
	storage_answer(r);
}

/* srb->u held the CDB; from here on it holds sense data, or zeros. */
static void sense_put(struct request *r)
{
	struct vsp_storvsp_srb *srb = &r->storvsp.u.srb;

	memset(srb->u.sense, 0, sizeof(srb->u.sense));
	srb->sense_length = 0;
	if (r->cmd.sense == SCSI_SENSE_NONE)
		return;
	scsi_sense_fixed(r->cmd.sense, srb->u.sense);
	srb->sense_length = SCSI_SENSE_FIXED;
}

static void srb_finish(struct request *r, uint32_t transferred)
{
	const struct scsi_command *cmd = &r->cmd;
	bool illegal = scsi_sense_key(cmd->sense) == SCSI_SENSE_KEY_ILLEGAL_REQUEST;

	sense_put(r);
	switch (cmd->status) {
	case SCSI_GOOD:
		srb_answer(r, SRB_SUCCESS, SCSI_GOOD, STORVSP_STATUS_SUCCESS, transferred);
		return;
	case SCSI_BUSY:
		srb_answer(r, SRB_BUSY, SCSI_BUSY, STORVSP_STATUS_BUSY, 0);
		return;
	default:
		/* nothing moved: Linux believes the data of a failed INQUIRY otherwise */
		srb_answer(r, SRB_AUTOSENSE | (illegal ? SRB_INVALID_REQUEST : SRB_ERROR),
			   cmd->status, STORVSP_STATUS_IO_ERROR, 0);
	}
}

static void srb_malformed(struct request *r)
{
	atomic_fetch_add_explicit(&r->channel->storage->bad_requests, 1, memory_order_relaxed);
	r->cmd.status = SCSI_CHECK_CONDITION;
	r->cmd.sense = SCSI_SENSE_INVALID_CDB;
	srb_finish(r, 0);
}

/* The LUN's disk is gone or was never there: Linux takes the device away on this. */
static void srb_no_lun(struct request *r)
{
	r->cmd.sense = SCSI_SENSE_NONE;
	sense_put(r);
	srb_answer(r, SRB_INVALID_LUN, SCSI_CHECK_CONDITION, STORVSP_STATUS_NO_DEVICE, 0);
}

/* -- Data pages ----------------------------------------------------------- */

/* One range that holds all of the data, or none for no data. */
static bool span_parse(struct request *r)
{
	uint32_t len = r->storvsp.u.srb.transfer_length;
	struct vmbus_range_iter iter;
	struct vmbus_range range;

	r->span = (struct vmbus_span){0};
	if (r->packet.type != VMBUS_PACKET_GPA_DIRECT)
		return len == 0;
	if (vmbus_range_first(&r->packet, &iter) || vmbus_range_next(&iter, &range) ||
	    iter.count != 0 || range.len < len)
		return false;
	r->span.pfns = range.pfns;
	r->span.offset = range.offset;
	r->span.len = len;
	return true;
}

static const struct vmbus_view *request_view(const struct request *r)
{
	return vmbus_channel_view(r->channel->channel);
}

static bool data_fetch(struct request *r)
{
	uint32_t len = scsi_wants_data(r->cmd.cdb);

	if (len > r->span.len)
		len = r->span.len;
	if (len > SCSI_DATA_MAX)
		len = SCSI_DATA_MAX;
	return len == 0 || vmbus_span_read(request_view(r), &r->span, 0, r->data, len) == 0;
}

/* -- The disk's part ------------------------------------------------------ */

static void request_next(struct request *r, int result);

static void block_done(struct vsp_block_request *block, int result)
{
	request_next((struct request *)((char *)block - offsetof(struct request, block)), result);
}

static void block_start(struct request *r, enum vsp_block_op op, uint64_t offset, uint64_t len)
{
	int ret;

	r->block.op = op;
	r->block.offset = offset;
	r->block.len = len;
	r->block.done = block_done;
	ret = r->lq->lun->disk->ops->submit(r->lq->queue, &r->block);
	if (ret != -EINPROGRESS)
		request_next(r, ret);
}

static void request_end(struct request *r)
{
	lun_queue_release(r->lq);
	vmbus_channel_busy(r->channel->channel, -1);
	r->state = REQUEST_IDLE;
	srb_finish(r, r->cmd.status == SCSI_GOOD && r->cmd.op != VSP_BLOCK_FLUSH ?
			      (uint32_t)r->cmd.len : 0);
}

/* UNMAP is advice: a range that cannot be freed is no failure. Each range that ends at once
 * goes on in this loop, not deeper in the stack. */
static void trim_run(struct request *r)
{
	uint64_t offset, len;
	int ret = 0;

	while (ret != -EINPROGRESS && r->range < r->cmd.ranges) {
		scsi_unmap_range(&r->cmd, r->range++, &offset, &len);
		if (len == 0)
			continue;
		r->block.op = VSP_BLOCK_UNMAP;
		r->block.offset = offset;
		r->block.len = len;
		r->block.done = block_done;
		ret = r->lq->lun->disk->ops->submit(r->lq->queue, &r->block);
	}
	if (ret != -EINPROGRESS)
		request_end(r);
}

/* A block operation of @r has ended. */
static void request_next(struct request *r, int result)
{
	switch (r->state) {
	case REQUEST_TRIM:
		trim_run(r);
		return;
	case REQUEST_BLOCK:
		if (result == 0 && r->cmd.fua) {
			r->state = REQUEST_FUA;
			block_start(r, VSP_BLOCK_FLUSH, 0, 0);
			return;
		}
		break;
	default:
		break;
	}
	scsi_finish(&r->cmd, result);
	request_end(r);
}

static void count_io(struct request *r)
{
	static const enum storage_stat stats[] = {
		[VSP_BLOCK_READ] = STAT_READS,     [VSP_BLOCK_WRITE] = STAT_WRITES,
		[VSP_BLOCK_FLUSH] = STAT_FLUSHES,  [VSP_BLOCK_UNMAP] = STAT_UNMAPS,
	};

	storage_count(r->channel, stats[r->cmd.op], 1);
	if (r->cmd.op == VSP_BLOCK_READ)
		storage_count(r->channel, STAT_READ_BYTES, r->cmd.len);
	else if (r->cmd.op == VSP_BLOCK_WRITE)
		storage_count(r->channel, STAT_WRITE_BYTES, r->cmd.len);
}

static void request_start(struct request *r, enum scsi_step step)
{
	bool moves = r->cmd.op == VSP_BLOCK_READ || r->cmd.op == VSP_BLOCK_WRITE;

	r->block.iov = r->iov;
	r->block.iov_count = 0;
	if (step == SCSI_BLOCK && moves &&
	    vmbus_span_pin(request_view(r), &r->span, 0, (uint32_t)r->cmd.len,
			   r->cmd.op == VSP_BLOCK_READ, r->iov, &r->block.iov_count)) {
		srb_malformed(r);
		return;
	}
	count_io(r);
	r->lq->running++;
	vmbus_channel_busy(r->channel->channel, 1);
	if (step == SCSI_TRIM) {
		r->state = REQUEST_TRIM;
		r->range = 0;
		r->cmd.len = 0;
		trim_run(r);
		return;
	}
	r->state = REQUEST_BLOCK;
	block_start(r, r->cmd.op, r->cmd.offset, r->cmd.len);
}

/* -- The controller's own commands ---------------------------------------- */

/* Disks are at path 0, target 0. The IDE channel is one disk's, whatever path and target a
 * guest's driver puts there: Linux leaves the path 0 on both IDE channels. */
static bool address_valid(const struct request *r)
{
	const struct vsp_storvsp_srb *srb = &r->storvsp.u.srb;

	return r->channel->storage->config.ide || (srb->path == 0 && srb->target == 0);
}

static enum scsi_step report_luns(struct request *r)
{
	uint32_t end = 8;

	memset(r->data, 0, 8 + 8 * VSP_STORAGE_LUNS);
	for (unsigned int i = 0; address_valid(r) && i < VSP_STORAGE_LUNS; i++) {
		if (!atomic_load_explicit(&r->channel->storage->luns[i], memory_order_relaxed))
			continue;
		r->data[end + 1] = (uint8_t)i;
		end += 8;
	}
	scsi_put32(r->data, end - 8);
	r->cmd.status = SCSI_GOOD;
	r->cmd.sense = SCSI_SENSE_NONE;
	return scsi_data(&r->cmd, end, scsi_get32(r->cmd.cdb + 6));
}

static void data_answer(struct request *r)
{
	if (r->cmd.data_len &&
	    vmbus_span_write(request_view(r), &r->span, 0, r->data, r->cmd.data_len)) {
		srb_malformed(r);
		return;
	}
	storage_count(r->channel, STAT_OTHER, 1);
	srb_finish(r, r->cmd.data_len);
}

static void lun_execute(struct request *r)
{
	struct lun *lun = r->lq->lun;
	enum scsi_step step;

	r->info = lun->info;
	r->info.size = atomic_load_explicit(&lun->size, memory_order_relaxed);
	r->cmd.disk = &r->info;
	r->cmd.attention = (enum scsi_sense)atomic_load_explicit(&lun->attention, memory_order_relaxed);
	if (!data_fetch(r)) {
		srb_malformed(r);
		return;
	}
	step = scsi_execute(&r->cmd);
	if (r->cmd.took_attention)
		atomic_store(&lun->attention, SCSI_SENSE_NONE);
	if (step == SCSI_DONE)
		data_answer(r);
	else
		request_start(r, step);
}

void request_execute(struct request *r)
{
	const struct vsp_storvsp_srb *srb = &r->storvsp.u.srb;

	if (!span_parse(r)) {
		srb_malformed(r);
		return;
	}
	/* sense data will lie where the CDB lies in the packet */
	memcpy(r->cdb, srb->u.cdb, sizeof(r->cdb));
	r->cmd.cdb = r->cdb;
	r->cmd.data = r->data;
	r->cmd.buffer = r->span.len;
	r->cmd.data_in = srb->direction == VSP_SRB_READ;
	r->cmd.data_out = srb->direction == VSP_SRB_WRITE;
	r->cmd.data_len = 0;
	if (r->cmd.cdb[0] == SCSI_REPORT_LUNS) {
		(void)report_luns(r);
		data_answer(r);
		return;
	}
	r->lq = address_valid(r) ? lun_queue_get(r->channel, srb->lun) : NULL;
	if (r->lq) {
		lun_execute(r);
	} else if (r->cmd.cdb[0] == SCSI_INQUIRY) {
		(void)scsi_inquiry_absent(&r->cmd);
		data_answer(r);
	} else {
		srb_no_lun(r);
	}
}
