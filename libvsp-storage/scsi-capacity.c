/* SPDX-License-Identifier: MIT */
/* READ CAPACITY, GET LBA STATUS (SBC-3 5.15, 5.16, 5.6). */
#include <string.h>

#include "scsi.h"

/* There is no allocation length: the answer has one size. */
enum scsi_step vsp_scsi_read_capacity_10(struct scsi_command *cmd)
{
	uint64_t last = scsi_blocks(cmd->disk) - 1;
	bool pmi = cmd->cdb[8] & 0x01;

	if (!pmi && scsi_get32(cmd->cdb + 2) != 0)
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	if (cmd->buffer < 8) {
		cmd->overrun = true;
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	}
	scsi_put32(cmd->data, last < UINT32_MAX ? (uint32_t)last : UINT32_MAX);
	scsi_put32(cmd->data + 4, cmd->disk->logical_sector);
	return vsp_scsi_data(cmd, 8, 8);
}

enum scsi_step vsp_scsi_read_capacity_16(struct scsi_command *cmd)
{
	const struct vsp_block_info *disk = cmd->disk;
	uint32_t exponent = 0;

	while (disk->logical_sector << exponent < disk->physical_sector)
		exponent++;
	memset(cmd->data, 0, 32);
	scsi_put64(cmd->data, scsi_blocks(disk) - 1);
	scsi_put32(cmd->data + 8, disk->logical_sector);
	cmd->data[13] = (uint8_t)exponent;
	if (disk->can_unmap) /* LBPME, LBPRZ */
		cmd->data[14] = (uint8_t)(0x80 | (disk->unmap_zeroes ? 0x40 : 0));
	return vsp_scsi_data(cmd, 32, scsi_get32(cmd->cdb + 10));
}

/* One descriptor for the rest of the disk: mapped, which is always allowed to be said. */
enum scsi_step vsp_scsi_get_lba_status(struct scsi_command *cmd)
{
	uint64_t lba = scsi_get64(cmd->cdb + 2), blocks = scsi_blocks(cmd->disk), left;

	if (lba >= blocks)
		return vsp_scsi_check(cmd, SCSI_SENSE_LBA_RANGE);
	left = blocks - lba;
	memset(cmd->data, 0, 24);
	scsi_put32(cmd->data, 4 + 16);
	scsi_put64(cmd->data + 8, lba);
	scsi_put32(cmd->data + 16, left < UINT32_MAX ? (uint32_t)left : UINT32_MAX);
	return vsp_scsi_data(cmd, 24, scsi_get32(cmd->cdb + 10));
}
