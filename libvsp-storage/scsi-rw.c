/* SPDX-License-Identifier: MIT */
/* READ, WRITE and SYNCHRONIZE CACHE in all their lengths, READ CAPACITY (SBC-3). */
#include <string.h>

#include "scsi.h"

/* LBA and block count, by the CDB's length, which the opcode's group gives. */
static void cdb_range(const uint8_t *cdb, uint64_t *lba, uint32_t *count)
{
	switch (cdb[0] >> 5) {
	case 0:
		*lba = scsi_get32(cdb) & 0x1fffff;
		*count = cdb[4] ? cdb[4] : 256;
		break;
	case 4:
		*lba = scsi_get64(cdb + 2);
		*count = scsi_get32(cdb + 10);
		break;
	case 5:
		*lba = scsi_get32(cdb + 2);
		*count = scsi_get32(cdb + 6);
		break;
	default:
		*lba = scsi_get32(cdb + 2);
		*count = scsi_get16(cdb + 7);
	}
}

static bool range_inside(const struct vsp_block_info *disk, uint64_t lba, uint64_t count)
{
	uint64_t blocks = scsi_blocks(disk);

	return lba <= blocks && count <= blocks - lba;
}

/* Protection information and relative addressing do not exist here. */
static bool flags_bad(const uint8_t *cdb)
{
	if (cdb[0] >> 5 == 0)
		return false;
	return (cdb[1] & 0xe0) || (cdb[0] >> 5 == 1 && (cdb[1] & 0x01));
}

enum scsi_step scsi_read_write(struct scsi_command *cmd)
{
	bool write = (cmd->cdb[0] & 0x1f) == SCSI_WRITE_6;
	uint64_t lba, bytes;
	uint32_t count;

	cdb_range(cmd->cdb, &lba, &count);
	bytes = (uint64_t)count * cmd->disk->logical_sector;
	if (flags_bad(cmd->cdb))
		return scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	if (write && cmd->disk->read_only)
		return scsi_check(cmd, SCSI_SENSE_WRITE_PROTECTED);
	if (!range_inside(cmd->disk, lba, count))
		return scsi_check(cmd, SCSI_SENSE_LBA_RANGE);
	if (count == 0)
		return scsi_data(cmd, 0, 0);
	if (bytes > cmd->buffer || !(write ? cmd->data_out : cmd->data_in))
		return scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	cmd->op = write ? VSP_BLOCK_WRITE : VSP_BLOCK_READ;
	cmd->offset = lba * cmd->disk->logical_sector;
	cmd->len = bytes;
	cmd->fua = write && cmd->cdb[0] >> 5 != 0 && (cmd->cdb[1] & 0x08);
	return SCSI_BLOCK;
}

/* Flushes everything, whatever the range; IMMED may be answered late. */
enum scsi_step scsi_synchronize_cache(struct scsi_command *cmd)
{
	uint64_t lba;
	uint32_t count;

	cdb_range(cmd->cdb, &lba, &count);
	if (!range_inside(cmd->disk, lba, count))
		return scsi_check(cmd, SCSI_SENSE_LBA_RANGE);
	cmd->op = VSP_BLOCK_FLUSH;
	return SCSI_BLOCK;
}

enum scsi_step scsi_read_capacity_10(struct scsi_command *cmd)
{
	uint64_t last = scsi_blocks(cmd->disk) - 1;
	bool pmi = cmd->cdb[8] & 0x01;

	if (!pmi && scsi_get32(cmd->cdb + 2) != 0)
		return scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	scsi_put32(cmd->data, last < UINT32_MAX ? (uint32_t)last : UINT32_MAX);
	scsi_put32(cmd->data + 4, cmd->disk->logical_sector);
	return scsi_data(cmd, 8, 8);
}

enum scsi_step scsi_read_capacity_16(struct scsi_command *cmd)
{
	const struct vsp_block_info *disk = cmd->disk;
	uint32_t exponent = 0;

	while (disk->logical_sector << exponent < disk->physical_sector)
		exponent++;
	memset(cmd->data, 0, 32);
	scsi_put64(cmd->data, scsi_blocks(disk) - 1);
	scsi_put32(cmd->data + 8, disk->logical_sector);
	cmd->data[13] = (uint8_t)exponent;
	if (disk->can_unmap)
		cmd->data[14] = (uint8_t)(0x80 | (disk->unmap_zeroes ? 0x40 : 0));
	return scsi_data(cmd, 32, scsi_get32(cmd->cdb + 10));
}
