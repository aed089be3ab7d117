/* SPDX-License-Identifier: MIT */
/* UNMAP (SBC-3 5.28). All descriptors are checked before any is carried out. */
#include "scsi.h"

#define LIST_HEADER 8u
#define DESCRIPTOR 16u

static bool descriptor_inside(const struct scsi_command *cmd, uint32_t i)
{
	const uint8_t *d = cmd->data + LIST_HEADER + i * DESCRIPTOR;
	uint64_t blocks = scsi_blocks(cmd->disk), lba = scsi_get64(d);

	return lba <= blocks && scsi_get32(d + 8) <= blocks - lba;
}

enum scsi_step scsi_unmap(struct scsi_command *cmd)
{
	uint32_t list = scsi_get16(cmd->cdb + 7), descriptors;

	if (!cmd->disk->can_unmap)
		return scsi_check(cmd, SCSI_SENSE_INVALID_OPCODE);
	if (cmd->cdb[1] & 0x01) /* ANCHOR */
		return scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	if (cmd->disk->read_only)
		return scsi_check(cmd, SCSI_SENSE_WRITE_PROTECTED);
	if (list == 0)
		return scsi_data(cmd, 0, 0);
	if (list < LIST_HEADER || list > cmd->buffer || !cmd->data_out)
		return scsi_check(cmd, SCSI_SENSE_PARAMETER_LENGTH);
	if (list > LIST_HEADER + SCSI_UNMAP_DESCRIPTORS * DESCRIPTOR)
		return scsi_check(cmd, SCSI_SENSE_INVALID_PARAMETER);
	if (scsi_get16(cmd->data) != list - 2)
		return scsi_check(cmd, SCSI_SENSE_INVALID_PARAMETER);
	descriptors = scsi_get16(cmd->data + 2);
	if (descriptors > list - LIST_HEADER)
		return scsi_check(cmd, SCSI_SENSE_PARAMETER_LENGTH);
	cmd->ranges = descriptors / DESCRIPTOR;
	for (uint32_t i = 0; i < cmd->ranges; i++)
		if (!descriptor_inside(cmd, i))
			return scsi_check(cmd, SCSI_SENSE_LBA_RANGE);
	cmd->op = VSP_BLOCK_UNMAP;
	return cmd->ranges ? SCSI_TRIM : scsi_data(cmd, 0, 0);
}

void scsi_unmap_range(const struct scsi_command *cmd, uint32_t i, uint64_t *offset, uint64_t *len)
{
	const uint8_t *d = cmd->data + LIST_HEADER + i * DESCRIPTOR;

	*offset = scsi_get64(d) * cmd->disk->logical_sector;
	*len = (uint64_t)scsi_get32(d + 8) * cmd->disk->logical_sector;
}
