/* SPDX-License-Identifier: MIT */
/* The command table and what all commands share. The order of checks is SPC-4's and
 * Windows': opcode, unit attention, CDB, write protection, range, parameters. */
#include <errno.h>
#include <string.h>

#include "scsi.h"

static enum scsi_step test_unit_ready(struct scsi_command *cmd)
{
	return scsi_data(cmd, 0, 0);
}

/* With autosense there is nothing to ask for but a pending unit attention. */
static enum scsi_step request_sense(struct scsi_command *cmd)
{
	scsi_sense_fixed(cmd->attention, cmd->data);
	cmd->took_attention = cmd->attention != SCSI_SENSE_NONE;
	return scsi_data(cmd, SCSI_SENSE_FIXED, cmd->cdb[4]);
}

/* A disk that is never not ready: STOP means "flush", START nothing. */
static enum scsi_step start_stop_unit(struct scsi_command *cmd)
{
	uint8_t flags = cmd->cdb[4];
	bool start = flags & 0x01, eject = flags & 0x02, no_flush = flags & 0x04;

	if (flags >> 4) /* power conditions: nothing to do */
		return scsi_data(cmd, 0, 0);
	if (eject)
		return scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	if (start || no_flush)
		return scsi_data(cmd, 0, 0);
	cmd->op = VSP_BLOCK_FLUSH;
	return SCSI_BLOCK;
}

static enum scsi_step service_action_in(struct scsi_command *cmd)
{
	if ((cmd->cdb[1] & 0x1f) != SCSI_SAI_READ_CAPACITY_16)
		return scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	return scsi_read_capacity_16(cmd);
}

#define PASSES_ATTENTION 0x1u /* answered although a unit attention is pending */

static const struct scsi_row {
	scsi_handler *handle;
	uint32_t flags;
} commands[256] = {
	[SCSI_TEST_UNIT_READY] = {test_unit_ready, 0},
	[SCSI_REQUEST_SENSE] = {request_sense, PASSES_ATTENTION},
	[SCSI_READ_6] = {scsi_read_write, 0},
	[SCSI_WRITE_6] = {scsi_read_write, 0},
	[SCSI_INQUIRY] = {scsi_inquiry, PASSES_ATTENTION},
	[SCSI_MODE_SENSE_6] = {scsi_mode_sense, 0},
	[SCSI_START_STOP_UNIT] = {start_stop_unit, 0},
	[SCSI_READ_CAPACITY_10] = {scsi_read_capacity_10, 0},
	[SCSI_READ_10] = {scsi_read_write, 0},
	[SCSI_WRITE_10] = {scsi_read_write, 0},
	[SCSI_SYNCHRONIZE_CACHE_10] = {scsi_synchronize_cache, 0},
	[SCSI_UNMAP] = {scsi_unmap, 0},
	[SCSI_MODE_SENSE_10] = {scsi_mode_sense, 0},
	[SCSI_READ_16] = {scsi_read_write, 0},
	[SCSI_WRITE_16] = {scsi_read_write, 0},
	[SCSI_SYNCHRONIZE_CACHE_16] = {scsi_synchronize_cache, 0},
	[SCSI_SERVICE_ACTION_IN_16] = {service_action_in, 0},
	[SCSI_READ_12] = {scsi_read_write, 0},
	[SCSI_WRITE_12] = {scsi_read_write, 0},
};

enum scsi_step scsi_execute(struct scsi_command *cmd)
{
	const struct scsi_row *row = &commands[cmd->cdb[0]];

	cmd->data_len = 0;
	cmd->status = SCSI_GOOD;
	cmd->sense = SCSI_SENSE_NONE;
	cmd->took_attention = false;
	cmd->fua = false;
	cmd->offset = cmd->len = 0;
	if (!row->handle)
		return scsi_check(cmd, SCSI_SENSE_INVALID_OPCODE);
	if (cmd->attention != SCSI_SENSE_NONE && !(row->flags & PASSES_ATTENTION)) {
		cmd->took_attention = true;
		return scsi_check(cmd, cmd->attention);
	}
	return row->handle(cmd);
}

uint32_t scsi_wants_data(const uint8_t *cdb)
{
	return cdb[0] == SCSI_UNMAP ? scsi_get16(cdb + 7) : 0;
}

enum scsi_step scsi_check(struct scsi_command *cmd, enum scsi_sense sense)
{
	cmd->status = SCSI_CHECK_CONDITION;
	cmd->sense = sense;
	cmd->data_len = 0;
	return SCSI_DONE;
}

enum scsi_step scsi_data(struct scsi_command *cmd, uint32_t len, uint32_t allocation)
{
	if (len > allocation)
		len = allocation;
	if (len > cmd->buffer)
		len = cmd->buffer;
	cmd->data_len = cmd->data_in ? len : 0;
	cmd->status = SCSI_GOOD;
	return SCSI_DONE;
}

void scsi_finish(struct scsi_command *cmd, int error)
{
	cmd->status = SCSI_GOOD;
	switch (error) {
	case 0:
		return;
	case -ENOSPC:
	case -EDQUOT:
		scsi_check(cmd, SCSI_SENSE_NO_SPACE);
		return;
	case -EROFS:
		scsi_check(cmd, SCSI_SENSE_WRITE_PROTECTED);
		return;
	case -EAGAIN:
	case -ENOMEM:
		cmd->status = SCSI_BUSY;
		return;
	default:
		scsi_check(cmd, cmd->op == VSP_BLOCK_READ ? SCSI_SENSE_READ_ERROR :
							    SCSI_SENSE_WRITE_ERROR);
	}
}

static const uint8_t senses[SCSI_SENSE_COUNT][3] = {
#define X(constant, key, asc, ascq) [SCSI_SENSE_##constant] = {key, asc, ascq},
	SCSI_SENSES(X)
#undef X
};

uint8_t scsi_sense_key(enum scsi_sense sense)
{
	return senses[sense][0];
}

void scsi_sense_fixed(enum scsi_sense sense, uint8_t out[SCSI_SENSE_FIXED])
{
	memset(out, 0, SCSI_SENSE_FIXED);
	out[0] = 0x70; /* current error, fixed format */
	out[2] = senses[sense][0];
	out[7] = SCSI_SENSE_FIXED - 8;
	out[12] = senses[sense][1];
	out[13] = senses[sense][2];
}
