/* SPDX-License-Identifier: MIT */
/* SCSI commands: 16 bytes of CDB, a byte of flags, 2 bytes of buffer length, the rest
 * data-out. Whatever they are, what is asked of the disk lies inside the disk and inside
 * the guest's buffer, no more data comes back than there is room for, and it ends. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scsi.h"

#define STEPS_MAX (2 * SCSI_WRITE_SAME_MAX / 512)

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static void need(int held)
{
	if (!held)
		abort();
}

static void step_check(const struct scsi_command *cmd)
{
	bool moves = cmd->op == VSP_BLOCK_READ || cmd->op == VSP_BLOCK_WRITE;

	need(cmd->op == VSP_BLOCK_FLUSH || cmd->len > 0);
	need(cmd->offset <= cmd->disk->size && cmd->len <= cmd->disk->size - cmd->offset);
	need(cmd->op == VSP_BLOCK_READ || cmd->op == VSP_BLOCK_FLUSH || !cmd->disk->read_only);
	need(cmd->fetch <= SCSI_CHUNK &&
	     (!cmd->fetch || (cmd->data_out && cmd->at + cmd->fetch <= cmd->buffer)));
	if (moves && cmd->unit)
		need(cmd->unit <= SCSI_CHUNK && cmd->len <= SCSI_REPEAT * (uint64_t)cmd->unit);
	else if (moves)
		need(cmd->at + cmd->len <= cmd->buffer &&
		     (cmd->op == VSP_BLOCK_READ ? cmd->data_in : cmd->data_out));
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	struct vsp_block_info info = {.size = 1 << 20,
				      .logical_sector = 512,
				      .physical_sector = 4096,
				      .unmap_granularity = 4096};
	uint8_t *data = calloc(1, SCSI_DATA_MAX);
	struct scsi_command cmd = {.disk = &info, .data = data};
	unsigned int steps = 0;

	if (size < 19 || !data)
		goto out;
	cmd.cdb = input;
	info.read_only = input[16] & 1;
	info.can_unmap = input[16] & 2;
	info.unmap_zeroes = input[16] & 32;
	cmd.data_in = input[16] & 4;
	cmd.data_out = !cmd.data_in && (input[16] & 8);
	cmd.attention = input[16] & 16 ? SCSI_SENSE_CAPACITY_CHANGED : SCSI_SENSE_NONE;
	cmd.buffer = scsi_get16(input + 17) * 64;
	memcpy(data, input + 19, size - 19 < SCSI_DATA_MAX ? size - 19 : SCSI_DATA_MAX);
	for (enum scsi_step step = vsp_scsi_execute(&cmd); step == SCSI_BLOCK;) {
		step_check(&cmd);
		need(++steps <= STEPS_MAX);
		step = vsp_scsi_next(&cmd, input[16] & 64 && steps == 2 ? -EOPNOTSUPP : 0);
	}
	need(cmd.data_len <= cmd.buffer && cmd.data_len <= SCSI_DATA_MAX &&
	     cmd.moved <= cmd.buffer);
	need(cmd.data_len == 0 || (cmd.data_in && cmd.status == SCSI_GOOD));
	need((cmd.sense == SCSI_SENSE_NONE) == (cmd.status != SCSI_CHECK_CONDITION));
	if (cmd.cdb[0] == SCSI_INQUIRY)
		(void)vsp_scsi_inquiry_absent(&cmd, input[17]);
out:
	free(data);
	return 0;
}
