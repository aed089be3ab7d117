/* SPDX-License-Identifier: MIT */
/* The command table and what all commands share. The order of checks is SPC-4's and
 * Windows': opcode, unit attention, CDB, write protection, range, parameters. */
#include <errno.h>

#include "scsi.h"

static enum scsi_step service_action_in(struct scsi_command *cmd)
{
	switch (cmd->cdb[1] & 0x1f) {
	case SCSI_SAI_READ_CAPACITY_16:
		return vsp_scsi_read_capacity_16(cmd);
	case SCSI_SAI_GET_LBA_STATUS:
		return vsp_scsi_get_lba_status(cmd);
	default:
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	}
}

#define PASSES_ATTENTION 0x1u /* answered although a unit attention is pending */

static const struct scsi_row {
	const char *name;
	scsi_handler *handle;
	uint32_t flags;
} commands[256] = {
	[SCSI_TEST_UNIT_READY] = {"TEST UNIT READY", vsp_scsi_test_unit_ready, 0},
	[SCSI_REQUEST_SENSE] = {"REQUEST SENSE", vsp_scsi_request_sense, PASSES_ATTENTION},
	[SCSI_READ_6] = {"READ(6)", vsp_scsi_read, 0},
	[SCSI_WRITE_6] = {"WRITE(6)", vsp_scsi_write, 0},
	[SCSI_INQUIRY] = {"INQUIRY", vsp_scsi_inquiry, PASSES_ATTENTION},
	[SCSI_MODE_SELECT_6] = {"MODE SELECT(6)", vsp_scsi_mode_select, 0},
	[SCSI_MODE_SENSE_6] = {"MODE SENSE(6)", vsp_scsi_mode_sense, 0},
	[SCSI_START_STOP_UNIT] = {"START STOP UNIT", vsp_scsi_start_stop_unit, 0},
	[SCSI_SEND_DIAGNOSTIC] = {"SEND DIAGNOSTIC", vsp_scsi_send_diagnostic, 0},
	[SCSI_PREVENT_ALLOW] = {"PREVENT ALLOW MEDIUM REMOVAL", vsp_scsi_prevent_allow, 0},
	[SCSI_READ_CAPACITY_10] = {"READ CAPACITY(10)", vsp_scsi_read_capacity_10, 0},
	[SCSI_READ_10] = {"READ(10)", vsp_scsi_read, 0},
	[SCSI_WRITE_10] = {"WRITE(10)", vsp_scsi_write, 0},
	[SCSI_WRITE_AND_VERIFY_10] = {"WRITE AND VERIFY(10)", vsp_scsi_write_and_verify, 0},
	[SCSI_VERIFY_10] = {"VERIFY(10)", vsp_scsi_verify, 0},
	[SCSI_PRE_FETCH_10] = {"PRE-FETCH(10)", vsp_scsi_pre_fetch, 0},
	[SCSI_SYNCHRONIZE_CACHE_10] = {"SYNCHRONIZE CACHE(10)", vsp_scsi_synchronize_cache, 0},
	[SCSI_READ_DEFECT_DATA_10] = {"READ DEFECT DATA(10)", vsp_scsi_read_defect_data, 0},
	[SCSI_WRITE_SAME_10] = {"WRITE SAME(10)", vsp_scsi_write_same, 0},
	[SCSI_UNMAP] = {"UNMAP", vsp_scsi_unmap, 0},
	[SCSI_MODE_SELECT_10] = {"MODE SELECT(10)", vsp_scsi_mode_select, 0},
	[SCSI_MODE_SENSE_10] = {"MODE SENSE(10)", vsp_scsi_mode_sense, 0},
	[SCSI_READ_16] = {"READ(16)", vsp_scsi_read, 0},
	[SCSI_WRITE_16] = {"WRITE(16)", vsp_scsi_write, 0},
	[SCSI_WRITE_AND_VERIFY_16] = {"WRITE AND VERIFY(16)", vsp_scsi_write_and_verify, 0},
	[SCSI_VERIFY_16] = {"VERIFY(16)", vsp_scsi_verify, 0},
	[SCSI_PRE_FETCH_16] = {"PRE-FETCH(16)", vsp_scsi_pre_fetch, 0},
	[SCSI_SYNCHRONIZE_CACHE_16] = {"SYNCHRONIZE CACHE(16)", vsp_scsi_synchronize_cache, 0},
	[SCSI_WRITE_SAME_16] = {"WRITE SAME(16)", vsp_scsi_write_same, 0},
	[SCSI_SERVICE_ACTION_IN_16] = {"SERVICE ACTION IN(16)", service_action_in, 0},
	[SCSI_READ_12] = {"READ(12)", vsp_scsi_read, 0},
	[SCSI_WRITE_12] = {"WRITE(12)", vsp_scsi_write, 0},
	[SCSI_WRITE_AND_VERIFY_12] = {"WRITE AND VERIFY(12)", vsp_scsi_write_and_verify, 0},
	[SCSI_VERIFY_12] = {"VERIFY(12)", vsp_scsi_verify, 0},
	[SCSI_READ_DEFECT_DATA_12] = {"READ DEFECT DATA(12)", vsp_scsi_read_defect_data, 0},
};

/* What is not needed for the answer to every command is left as it was. */
static void command_reset(struct scsi_command *cmd)
{
	cmd->status = SCSI_GOOD;
	cmd->sense = SCSI_SENSE_NONE;
	cmd->took_attention = false;
	cmd->overrun = false;
	cmd->gone = false;
	cmd->data_len = 0;
	cmd->moved = 0;
	cmd->unit = 0;
	cmd->at = 0;
	cmd->fetch = 0;
	cmd->fua = false;
	cmd->compare = false;
	cmd->same = false;
}

enum scsi_step vsp_scsi_execute(struct scsi_command *cmd)
{
	const struct scsi_row *row = &commands[cmd->cdb[0]];

	command_reset(cmd);
	if (!row->handle)
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_OPCODE);
	if (cmd->attention != SCSI_SENSE_NONE && !(row->flags & PASSES_ATTENTION)) {
		cmd->took_attention = true;
		return vsp_scsi_check(cmd, cmd->attention);
	}
	return row->handle(cmd);
}

enum scsi_step vsp_scsi_next(struct scsi_command *cmd, int result)
{
	return cmd->next(cmd, result);
}

const char *vsp_scsi_name(uint8_t opcode)
{
	return opcode == SCSI_REPORT_LUNS ? "REPORT LUNS" : commands[opcode].name;
}

uint32_t vsp_scsi_wants(const uint8_t *cdb)
{
	switch (cdb[0]) {
	case SCSI_UNMAP:
	case SCSI_MODE_SELECT_10:
		return scsi_get16(cdb + 7);
	case SCSI_MODE_SELECT_6:
		return cdb[4];
	case SCSI_WRITE_SAME_10:
	case SCSI_WRITE_SAME_16:
		return SCSI_CHUNK; /* one block at most */
	default:
		return 0;
	}
}

enum scsi_step vsp_scsi_check(struct scsi_command *cmd, enum scsi_sense sense)
{
	cmd->status = SCSI_CHECK_CONDITION;
	cmd->sense = sense;
	cmd->data_len = 0;
	cmd->moved = 0;
	return SCSI_DONE;
}

enum scsi_step vsp_scsi_good(struct scsi_command *cmd)
{
	cmd->status = SCSI_GOOD;
	return SCSI_DONE;
}

enum scsi_step vsp_scsi_data(struct scsi_command *cmd, uint32_t len, uint32_t allocation)
{
	if (len > allocation)
		len = allocation;
	if (len > cmd->buffer)
		len = cmd->buffer;
	cmd->data_len = cmd->data_in ? len : 0;
	return vsp_scsi_good(cmd);
}

static enum scsi_step command_busy(struct scsi_command *cmd)
{
	cmd->status = SCSI_BUSY;
	cmd->moved = 0;
	return SCSI_DONE;
}

enum scsi_step vsp_scsi_end(struct scsi_command *cmd, int result)
{
	switch (result) {
	case 0:
		return vsp_scsi_good(cmd);
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG: /* the format or the file system cannot hold more */
		return vsp_scsi_check(cmd, SCSI_SENSE_NO_SPACE);
	case -EROFS:
		return vsp_scsi_check(cmd, SCSI_SENSE_WRITE_PROTECTED);
	case -EAGAIN:
	case -EINTR:
	case -ENOMEM:
		return command_busy(cmd);
	case -EINVAL:
	case -EFAULT: /* the guest's pages */
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	case -ESHUTDOWN:
		cmd->gone = true;
		return vsp_scsi_check(cmd, SCSI_SENSE_NONE);
	default:
		return vsp_scsi_check(cmd, cmd->op == VSP_BLOCK_READ ? SCSI_SENSE_READ_ERROR :
								       SCSI_SENSE_WRITE_ERROR);
	}
}

enum scsi_step vsp_scsi_flush(struct scsi_command *cmd)
{
	cmd->op = VSP_BLOCK_FLUSH;
	cmd->offset = cmd->len = 0;
	cmd->fetch = 0;
	cmd->next = vsp_scsi_end;
	return SCSI_BLOCK;
}

/* -- Ranges --------------------------------------------------------------- */

struct scsi_range vsp_scsi_cdb_range(const uint8_t *cdb)
{
	switch (cdb[0] >> 5) {
	case 0:
		return (struct scsi_range){scsi_get32(cdb) & 0x1fffff, cdb[4] ? cdb[4] : 256};
	case 4:
		return (struct scsi_range){scsi_get64(cdb + 2), scsi_get32(cdb + 10)};
	case 5:
		return (struct scsi_range){scsi_get32(cdb + 2), scsi_get32(cdb + 6)};
	default:
		return (struct scsi_range){scsi_get32(cdb + 2), scsi_get16(cdb + 7)};
	}
}

enum scsi_sense vsp_scsi_medium_check(const struct scsi_command *cmd, struct scsi_range range,
				      bool write)
{
	uint64_t blocks = scsi_blocks(cmd->disk);

	if (write && cmd->disk->read_only)
		return SCSI_SENSE_WRITE_PROTECTED;
	if (range.lba > blocks || range.count > blocks - range.lba)
		return SCSI_SENSE_LBA_RANGE;
	return SCSI_SENSE_NONE;
}
