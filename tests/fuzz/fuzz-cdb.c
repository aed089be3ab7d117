/* SPDX-License-Identifier: MIT */
/* SCSI commands: 16 bytes of CDB, a byte of flags, 2 bytes of buffer length, the rest
 * data-out. Whatever they are, what is asked of the disk lies inside the disk and inside
 * the guest's buffer, and no more data comes back than there is room for. */
#include <stdlib.h>
#include <string.h>

#include "scsi.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static void need(int held)
{
	if (!held)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	struct vsp_block_info info = {.size = 1 << 20, .logical_sector = 512, .physical_sector = 4096,
				      .unmap_granularity = 4096};
	uint8_t *data = malloc(SCSI_DATA_MAX);
	struct scsi_command cmd = {.disk = &info, .data = data};
	enum scsi_step step;
	uint64_t offset, len;

	if (size < 19 || !data)
		goto out;
	cmd.cdb = input;
	info.read_only = input[16] & 1;
	info.can_unmap = input[16] & 2;
	cmd.data_in = input[16] & 4;
	cmd.data_out = !cmd.data_in && (input[16] & 8);
	cmd.attention = input[16] & 16 ? SCSI_SENSE_CAPACITY_CHANGED : SCSI_SENSE_NONE;
	cmd.buffer = scsi_get16(input + 17) * 64;
	memset(data, 0, SCSI_DATA_MAX);
	memcpy(data, input + 19, size - 19 < SCSI_DATA_MAX ? size - 19 : SCSI_DATA_MAX);
	step = scsi_execute(&cmd);
	need(cmd.data_len <= cmd.buffer && cmd.data_len <= SCSI_DATA_MAX);
	need(cmd.data_len == 0 || (cmd.data_in && step == SCSI_DONE && cmd.status == SCSI_GOOD));
	need(cmd.sense == SCSI_SENSE_NONE || cmd.status == SCSI_CHECK_CONDITION);
	if (step == SCSI_BLOCK && cmd.op != VSP_BLOCK_FLUSH) {
		need(cmd.offset <= info.size && cmd.len <= info.size - cmd.offset);
		need(cmd.len <= cmd.buffer && cmd.len > 0);
		need(cmd.op == VSP_BLOCK_READ ? cmd.data_in : cmd.data_out && !info.read_only);
	}
	for (uint32_t i = 0; step == SCSI_TRIM && i < cmd.ranges; i++) {
		scsi_unmap_range(&cmd, i, &offset, &len);
		need(offset <= info.size && len <= info.size - offset);
	}
	if (step == SCSI_DONE && cmd.cdb[0] == SCSI_INQUIRY)
		(void)scsi_inquiry_absent(&cmd);
out:
	free(data);
	return 0;
}
