/* SPDX-License-Identifier: MIT */
/* WRITE SAME (SBC-3 5.42, 5.43): one block's data on all blocks of a range. */
#include <errno.h>
#include <string.h>

#include "scsi.h"

#define ANCHOR 0x10u
#define UNMAP 0x08u
#define OBSOLETE 0x06u /* PBDATA, LBDATA */
#define NDOB 0x01u     /* 16: no data-out, zeros are meant. 10: RELADR, obsolete */

static bool flags_bad(const struct scsi_command *cmd)
{
	uint8_t flags = cmd->cdb[1];
	bool sixteen = cmd->cdb[0] == SCSI_WRITE_SAME_16;

	return (flags & (0xe0 | ANCHOR | OBSOLETE)) || (!sixteen && (flags & NDOB)) ||
	       ((flags & UNMAP) && !cmd->disk->can_unmap);
}

/* A count of 0 means all blocks to the end. */
static struct scsi_range range_of(const struct scsi_command *cmd)
{
	struct scsi_range range = vsp_scsi_cdb_range(cmd->cdb);
	uint64_t blocks = scsi_blocks(cmd->disk);

	if (range.count == 0)
		range.count = range.lba < blocks ? blocks - range.lba : 1;
	return range;
}

static enum scsi_step same_next(struct scsi_command *cmd, int result)
{
	uint64_t left;

	if (result)
		return vsp_scsi_end(cmd, result);
	cmd->offset += cmd->len;
	left = cmd->end - cmd->offset;
	if (left == 0)
		return vsp_scsi_good(cmd);
	cmd->op = VSP_BLOCK_WRITE;
	cmd->len = left < SCSI_REPEAT * SCSI_CHUNK ? left : SCSI_REPEAT * SCSI_CHUNK;
	cmd->unit = SCSI_CHUNK;
	cmd->next = same_next;
	return SCSI_BLOCK;
}

/* Writes the block in cmd->data, again and again. */
static enum scsi_step same_write(struct scsi_command *cmd)
{
	for (uint32_t have = cmd->disk->logical_sector; have < SCSI_CHUNK; have *= 2)
		memcpy(cmd->data + have, cmd->data, have);
	cmd->len = 0;
	return same_next(cmd, 0);
}

/* The disk may know no faster way to make zeros, or not here. */
static enum scsi_step zero_next(struct scsi_command *cmd, int result)
{
	return result == -EOPNOTSUPP ? same_write(cmd) : vsp_scsi_end(cmd, result);
}

static bool all_zero(const uint8_t *data, uint32_t len)
{
	return data[0] == 0 && memcmp(data, data + 1, len - 1) == 0;
}

enum scsi_step vsp_scsi_write_same(struct scsi_command *cmd)
{
	uint32_t block = cmd->disk->logical_sector;
	bool ndob = cmd->cdb[0] == SCSI_WRITE_SAME_16 && (cmd->cdb[1] & NDOB);
	struct scsi_range range = range_of(cmd);
	enum scsi_sense sense;

	if (flags_bad(cmd) || range.count > SCSI_WRITE_SAME_MAX / block)
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	sense = vsp_scsi_medium_check(cmd, range, true);
	if (sense != SCSI_SENSE_NONE)
		return vsp_scsi_check(cmd, sense);
	if (!ndob && (cmd->buffer != block || !cmd->data_out))
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	cmd->offset = range.lba * block;
	cmd->len = range.count * block;
	cmd->end = cmd->offset + cmd->len;
	cmd->moved = ndob ? 0 : block;
	if (ndob)
		memset(cmd->data, 0, block);
	if (!all_zero(cmd->data, block))
		return same_write(cmd);
	cmd->op = (cmd->cdb[1] & UNMAP) && cmd->disk->unmap_zeroes ? VSP_BLOCK_UNMAP
								   : VSP_BLOCK_ZERO;
	cmd->next = zero_next;
	return SCSI_BLOCK;
}
