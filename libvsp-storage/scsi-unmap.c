/* SPDX-License-Identifier: MIT */
/* UNMAP (SBC-3 5.28). All descriptors are checked before any is carried out. */
#include "scsi.h"

#define LIST_HEADER 8u
#define DESCRIPTOR 16u

static struct scsi_range descriptor_range(const struct scsi_command *cmd, uint32_t i)
{
	const uint8_t *d = cmd->data + LIST_HEADER + i * DESCRIPTOR;

	return (struct scsi_range){scsi_get64(d), scsi_get32(d + 8)};
}

static enum scsi_sense list_check(const struct scsi_command *cmd, uint32_t list)
{
	if (list < LIST_HEADER || list > cmd->buffer || !cmd->data_out)
		return SCSI_SENSE_PARAMETER_LENGTH;
	if (list > LIST_HEADER + SCSI_UNMAP_DESCRIPTORS * DESCRIPTOR ||
	    scsi_get16(cmd->data) != list - 2)
		return SCSI_SENSE_INVALID_PARAMETER;
	if (scsi_get16(cmd->data + 2) > list - LIST_HEADER)
		return SCSI_SENSE_PARAMETER_LENGTH;
	return SCSI_SENSE_NONE;
}

/* How many blocks they name together is limited by the list alone: so says VPD B0. */
static enum scsi_sense descriptors_check(const struct scsi_command *cmd)
{
	for (uint32_t i = 0; i < cmd->count; i++) {
		enum scsi_sense sense = vsp_scsi_medium_check(cmd, descriptor_range(cmd, i), true);

		if (sense != SCSI_SENSE_NONE)
			return sense;
	}
	return SCSI_SENSE_NONE;
}

/* It is advice: a range that cannot be freed is no failure, unless it must read as zeros
 * now. */
static enum scsi_step unmap_next(struct scsi_command *cmd, int result)
{
	struct scsi_range range;

	if (result && cmd->disk->unmap_zeroes)
		return vsp_scsi_end(cmd, result);
	do {
		if (cmd->index == cmd->count)
			return vsp_scsi_good(cmd);
		range = descriptor_range(cmd, cmd->index++);
	} while (range.count == 0);
	cmd->op = VSP_BLOCK_UNMAP;
	cmd->offset = range.lba * cmd->disk->logical_sector;
	cmd->len = range.count * cmd->disk->logical_sector;
	cmd->next = unmap_next;
	return SCSI_BLOCK;
}

enum scsi_step vsp_scsi_unmap(struct scsi_command *cmd)
{
	uint32_t list = scsi_get16(cmd->cdb + 7);
	enum scsi_sense sense;

	if (!cmd->disk->can_unmap)
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_OPCODE);
	if (cmd->cdb[1] & 0x01) /* ANCHOR */
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	if (cmd->disk->read_only)
		return vsp_scsi_check(cmd, SCSI_SENSE_WRITE_PROTECTED);
	if (list == 0)
		return vsp_scsi_good(cmd);
	sense = list_check(cmd, list);
	if (sense != SCSI_SENSE_NONE)
		return vsp_scsi_check(cmd, sense);
	cmd->count = scsi_get16(cmd->data + 2) / DESCRIPTOR;
	cmd->index = 0;
	sense = descriptors_check(cmd);
	if (sense != SCSI_SENSE_NONE)
		return vsp_scsi_check(cmd, sense);
	cmd->moved = list;
	return unmap_next(cmd, 0);
}
