/* SPDX-License-Identifier: MIT */
/* The life of an SRB: its data pages, the SCSI command's steps, the answer. */
#include <errno.h>
#include <string.h>

#include "storage-private.h"

#define SRB_SUCCESS 0x01
#define SRB_ERROR 0x04
#define SRB_BUSY 0x05
#define SRB_INVALID_REQUEST 0x06
#define SRB_DATA_OVERRUN 0x12
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
	vsp_storage_answer(r);
}

/* srb->u held the CDB; from here on it holds sense data, or zeros. */
static void sense_put(struct request *r)
{
	struct vsp_storvsp_srb *srb = &r->storvsp.u.srb;

	memset(srb->u.sense, 0, sizeof(srb->u.sense));
	srb->sense_length = 0;
	if (r->cmd.sense == SCSI_SENSE_NONE)
		return;
	vsp_scsi_sense_fixed(r->cmd.sense, srb->u.sense);
	srb->sense_length = SCSI_SENSE_FIXED;
}

/* Nothing moved: Linux believes the data of a failed INQUIRY or MODE SENSE otherwise. */
static void srb_failed(struct request *r)
{
	const struct scsi_command *cmd = &r->cmd;
	uint32_t status = STORVSP_STATUS_IO_ERROR;
	uint8_t srb_status = SRB_ERROR;

	if (cmd->overrun) {
		srb_status = SRB_DATA_OVERRUN;
		status = STORVSP_STATUS_BUFFER_OVERFLOW;
	} else if (vsp_scsi_sense_key(cmd->sense) == SCSI_SENSE_KEY_ILLEGAL_REQUEST) {
		srb_status = SRB_INVALID_REQUEST;
	}
	srb_answer(r, srb_status | SRB_AUTOSENSE, cmd->status, status, 0);
}

/* The LUN's disk is gone or was never there: Linux takes the device away on this. */
static void srb_no_lun(struct request *r)
{
	r->cmd.sense = SCSI_SENSE_NONE;
	sense_put(r);
	srb_answer(r, SRB_INVALID_LUN, SCSI_CHECK_CONDITION, STORVSP_STATUS_NO_DEVICE, 0);
}

static void srb_busy(struct request *r)
{
	r->cmd.sense = SCSI_SENSE_NONE;
	sense_put(r);
	srb_answer(r, SRB_BUSY, SCSI_BUSY, STORVSP_STATUS_BUSY, 0);
}

static void srb_finish(struct request *r, uint32_t transferred)
{
	sense_put(r);
	if (r->cmd.status == SCSI_GOOD)
		srb_answer(r, SRB_SUCCESS, SCSI_GOOD, STORVSP_STATUS_SUCCESS, transferred);
	else if (r->cmd.status == SCSI_BUSY)
		srb_busy(r);
	else if (r->cmd.gone)
		srb_no_lun(r);
	else
		srb_failed(r);
}

static void bad_request_count(struct request *r)
{
	atomic_fetch_add_explicit(&r->channel->storage->bad_requests, 1, memory_order_relaxed);
}

static void srb_malformed(struct request *r)
{
	bad_request_count(r);
	(void)vsp_scsi_check(&r->cmd, SCSI_SENSE_INVALID_CDB);
	srb_finish(r, 0);
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

static bool parameters_fetch(struct request *r)
{
	uint32_t len = r->cmd.data_out ? vsp_scsi_wants(r->cmd.cdb) : 0;

	if (len > r->span.len)
		len = r->span.len;
	if (len > SCSI_DATA_MAX)
		len = SCSI_DATA_MAX;
	return len == 0 || vmbus_span_read(request_view(r), &r->span, 0, r->data, len) == 0;
}

static void data_answer(struct request *r)
{
	uint32_t len = r->cmd.data_len;

	if (len && vmbus_span_write(request_view(r), &r->span, 0, r->data, len)) {
		srb_malformed(r);
		return;
	}
	srb_finish(r, len ? len : r->cmd.moved);
}

/* -- The disk's part ------------------------------------------------------ */

/* The same private bytes again and again. */
static void iov_repeat(struct request *r)
{
	const struct scsi_command *cmd = &r->cmd;
	uint64_t left = cmd->len;
	unsigned int i;

	for (i = 0; left > 0; i++) {
		r->iov[i].iov_base = r->data;
		r->iov[i].iov_len = left < cmd->unit ? (size_t)left : cmd->unit;
		left -= r->iov[i].iov_len;
	}
	r->block.iov_count = i;
}

/* What lies behind the guest's pages goes to the disk unread. */
static int memory_prepare(struct request *r)
{
	const struct scsi_command *cmd = &r->cmd;

	r->block.iov_count = 0;
	if (cmd->fetch && vmbus_span_read(request_view(r), &r->span, cmd->at, r->data + SCSI_CHUNK,
					  cmd->fetch))
		return -EFAULT;
	if (cmd->op != VSP_BLOCK_READ && cmd->op != VSP_BLOCK_WRITE)
		return 0;
	if (cmd->unit)
		iov_repeat(r);
	else if (vmbus_span_pin(request_view(r), &r->span, cmd->at, (uint32_t)cmd->len,
				cmd->op == VSP_BLOCK_READ, r->iov, &r->block.iov_count))
		return -EFAULT;
	return 0;
}

static void block_done(struct vsp_block_request *block, int result);

static int block_submit(struct request *r)
{
	if (memory_prepare(r)) {
		bad_request_count(r);
		return -EFAULT;
	}
	r->block.op = r->cmd.op;
	r->block.offset = r->cmd.offset;
	r->block.len = r->cmd.len;
	r->block.iov = r->iov;
	r->block.done = block_done;
	return r->lq->lun->disk->ops->submit(r->lq->queue, &r->block);
}

/* Goes on until a step is not finished at once. A loop: a disk that finishes everything at
 * once does not lead deeper into the stack. */
static void request_run(struct request *r, enum scsi_step step)
{
	while (step == SCSI_BLOCK) {
		int ret = block_submit(r);

		if (ret == -EINPROGRESS)
			return;
		step = vsp_scsi_next(&r->cmd, ret);
	}
	vmbus_channel_busy(r->channel->channel, -1);
	vsp_lun_queue_release(r->lq);
	data_answer(r);
}

static void block_done(struct vsp_block_request *block, int result)
{
	struct request *r = (struct request *)((char *)block - offsetof(struct request, block));

	request_run(r, vsp_scsi_next(&r->cmd, result));
}

static void count_command(struct request *r, enum scsi_step step)
{
	static const enum storage_stat stats[] = {
		[VSP_BLOCK_READ] = STAT_READS,     [VSP_BLOCK_WRITE] = STAT_WRITES,
		[VSP_BLOCK_FLUSH] = STAT_FLUSHES,  [VSP_BLOCK_UNMAP] = STAT_UNMAPS,
		[VSP_BLOCK_ZERO] = STAT_UNMAPS,
	};

	storage_count(r->channel, step == SCSI_BLOCK ? stats[r->cmd.op] : STAT_OTHER, 1);
	if (step != SCSI_BLOCK)
		return;
	if (r->cmd.op == VSP_BLOCK_READ)
		storage_count(r->channel, STAT_READ_BYTES, r->cmd.len);
	else if (r->cmd.op == VSP_BLOCK_WRITE)
		storage_count(r->channel, STAT_WRITE_BYTES, r->cmd.len);
}

/* -- Commands ------------------------------------------------------------- */

/* A unit attention is reported once: two threads may have seen it, one gets it. */
static enum scsi_step command_begin(struct request *r)
{
	struct lun *lun = r->lq->lun;
	int seen = atomic_load_explicit(&lun->attention, memory_order_relaxed);
	enum scsi_step step;

	r->cmd.attention = (enum scsi_sense)seen;
	step = vsp_scsi_execute(&r->cmd);
	if (!r->cmd.took_attention ||
	    atomic_compare_exchange_strong(&lun->attention, &seen, SCSI_SENSE_NONE))
		return step;
	r->cmd.attention = SCSI_SENSE_NONE;
	return vsp_scsi_execute(&r->cmd);
}

static void lun_execute(struct request *r)
{
	struct lun *lun = r->lq->lun;
	enum scsi_step step;

	r->info = lun->info;
	r->info.size = atomic_load_explicit(&lun->size, memory_order_relaxed);
	r->cmd.disk = &r->info;
	if (!parameters_fetch(r)) {
		srb_malformed(r);
		return;
	}
	step = command_begin(r);
	count_command(r, step);
	if (step == SCSI_DONE) {
		data_answer(r);
		return;
	}
	r->lq->running++;
	vmbus_channel_busy(r->channel->channel, 1);
	request_run(r, step);
}

/* Disks are at path 0, target 0. The IDE channel is one disk's, whatever the path: Linux
 * leaves it 0 on both IDE channels. */
static bool address_valid(const struct request *r)
{
	const struct vsp_storage_config *config = &r->channel->storage->config;
	const struct vsp_storvsp_srb *srb = &r->storvsp.u.srb;

	if (config->ide)
		return srb->target == config->ide_device;
	return srb->path == 0 && srb->target == 0;
}

static void luns_report(struct request *r)
{
	uint64_t luns[VSP_STORAGE_LUNS / 64] = {0};

	if (address_valid(r))
		vsp_lun_map(r->channel->storage, luns);
	(void)vsp_scsi_report_luns(&r->cmd, luns);
	storage_count(r->channel, STAT_OTHER, 1);
	data_answer(r);
}

static void lun_absent(struct request *r)
{
	storage_count(r->channel, STAT_OTHER, 1);
	if (r->cmd.cdb[0] != SCSI_INQUIRY) {
		srb_no_lun(r);
		return;
	}
	(void)vsp_scsi_inquiry_absent(&r->cmd, r->storvsp.u.srb.lun);
	data_answer(r);
}

static void command_fill(struct request *r)
{
	const struct vsp_storvsp_srb *srb = &r->storvsp.u.srb;

	/* sense data will lie where the CDB lies in the packet */
	memcpy(r->cdb, srb->u.cdb, sizeof(r->cdb));
	r->cmd.cdb = r->cdb;
	r->cmd.data = r->data;
	r->cmd.buffer = r->span.len;
	r->cmd.data_in = srb->direction == VSP_SRB_READ;
	r->cmd.data_out = srb->direction == VSP_SRB_WRITE;
	r->cmd.overrun = r->cmd.gone = false;
	r->cmd.data_len = r->cmd.moved = 0;
}

void vsp_request_execute(struct request *r)
{
	int ret = -ENOENT;

	if (!span_parse(r)) {
		r->cmd.overrun = r->cmd.gone = false;
		srb_malformed(r);
		return;
	}
	command_fill(r);
	if (r->cmd.cdb[0] == SCSI_REPORT_LUNS) {
		luns_report(r);
		return;
	}
	if (address_valid(r))
		ret = vsp_lun_queue_get(r->channel, r->storvsp.u.srb.lun, &r->lq);
	if (ret == 0)
		lun_execute(r);
	else if (ret == -ENOENT)
		lun_absent(r);
	else
		srb_busy(r);
}
