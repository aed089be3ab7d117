/* SPDX-License-Identifier: MIT */
/* READ, WRITE, VERIFY, WRITE AND VERIFY, PRE-FETCH, SYNCHRONIZE CACHE in all their
 * lengths (SBC-3 5). */
#include <string.h>

#include "scsi.h"

#define FUA 0x08u

enum bytchk { BYTCHK_NONE, BYTCHK_ALL, BYTCHK_RESERVED, BYTCHK_SAME };

static enum bytchk bytchk_of(const uint8_t *cdb)
{
	return (enum bytchk)(cdb[1] >> 1 & 3);
}

/* Protection information and relative addressing do not exist here. */
static bool flags_bad(const uint8_t *cdb)
{
	uint8_t group = cdb[0] >> 5;

	if (group == 0) /* the bits belong to the LBA */
		return false;
	return (cdb[1] & 0xe0) || (group != 4 && (cdb[1] & 0x01));
}

static bool fua_of(const uint8_t *cdb)
{
	return cdb[0] >> 5 != 0 && (cdb[1] & FUA);
}

/* Checks everything but the flags and takes the range; cmd->end == cmd->offset: no block
 * is meant. */
static enum scsi_sense range_take(struct scsi_command *cmd, bool write)
{
	struct scsi_range range = vsp_scsi_cdb_range(cmd->cdb);
	enum scsi_sense sense = vsp_scsi_medium_check(cmd, range, write);

	if (sense != SCSI_SENSE_NONE)
		return sense;
	cmd->offset = range.lba * cmd->disk->logical_sector;
	cmd->len = range.count * cmd->disk->logical_sector;
	cmd->end = cmd->offset + cmd->len;
	return SCSI_SENSE_NONE;
}

enum scsi_step vsp_scsi_read(struct scsi_command *cmd)
{
	enum scsi_sense sense;

	if (flags_bad(cmd->cdb))
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	sense = range_take(cmd, false);
	if (sense != SCSI_SENSE_NONE)
		return vsp_scsi_check(cmd, sense);
	if (cmd->len == 0)
		return vsp_scsi_good(cmd);
	if (cmd->len > cmd->buffer || !cmd->data_in)
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	cmd->op = VSP_BLOCK_READ;
	cmd->moved = (uint32_t)cmd->len;
	cmd->next = vsp_scsi_end;
	return SCSI_BLOCK;
}

/* -- Comparing ------------------------------------------------------------ */

static enum scsi_step compare_next(struct scsi_command *cmd, int result);

/* Reads the next chunk, and fetches what it should be; a block that all are compared with
 * is fetched once, or the guest could change it in between. */
static enum scsi_step compare_read(struct scsi_command *cmd)
{
	uint64_t left = cmd->end - cmd->offset, most = SCSI_CHUNK;

	if (left == 0)
		return cmd->fua ? vsp_scsi_flush(cmd) : vsp_scsi_good(cmd);
	if (cmd->same)
		most = cmd->disk->logical_sector;
	cmd->op = VSP_BLOCK_READ;
	cmd->len = left < most ? left : most;
	cmd->unit = (uint32_t)cmd->len;
	cmd->fetch = cmd->same && cmd->index++ > 0 ? 0 : cmd->unit;
	cmd->next = compare_next;
	return SCSI_BLOCK;
}

static enum scsi_step compare_next(struct scsi_command *cmd, int result)
{
	if (result)
		return vsp_scsi_end(cmd, result);
	if (memcmp(cmd->data, cmd->data + SCSI_CHUNK, cmd->unit) != 0)
		return vsp_scsi_check(cmd, SCSI_SENSE_MISCOMPARE);
	cmd->offset += cmd->len;
	cmd->at += cmd->unit;
	return compare_read(cmd);
}

enum scsi_step vsp_scsi_verify(struct scsi_command *cmd)
{
	enum bytchk bytchk = bytchk_of(cmd->cdb);
	enum scsi_sense sense;
	uint64_t bytes;

	if (flags_bad(cmd->cdb) || bytchk == BYTCHK_RESERVED)
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	sense = range_take(cmd, false);
	if (sense != SCSI_SENSE_NONE)
		return vsp_scsi_check(cmd, sense);
	if (cmd->len == 0 || bytchk == BYTCHK_NONE)
		return vsp_scsi_good(cmd);
	cmd->same = bytchk == BYTCHK_SAME;
	cmd->index = 0;
	bytes = cmd->same ? cmd->disk->logical_sector : cmd->len;
	if (bytes > cmd->buffer || !cmd->data_out)
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	cmd->moved = (uint32_t)bytes;
	return compare_read(cmd);
}

/* -- Writing -------------------------------------------------------------- */

static enum scsi_step write_next(struct scsi_command *cmd, int result)
{
	if (result)
		return vsp_scsi_end(cmd, result);
	if (cmd->compare)
		return compare_read(cmd);
	return vsp_scsi_flush(cmd);
}

static enum scsi_step write_start(struct scsi_command *cmd)
{
	enum scsi_sense sense = range_take(cmd, true);

	if (sense != SCSI_SENSE_NONE)
		return vsp_scsi_check(cmd, sense);
	if (cmd->len == 0)
		return vsp_scsi_good(cmd);
	if (cmd->len > cmd->buffer || !cmd->data_out)
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	cmd->op = VSP_BLOCK_WRITE;
	cmd->moved = (uint32_t)cmd->len;
	cmd->next = cmd->fua || cmd->compare ? write_next : vsp_scsi_end;
	return SCSI_BLOCK;
}

enum scsi_step vsp_scsi_write(struct scsi_command *cmd)
{
	if (flags_bad(cmd->cdb))
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	cmd->fua = fua_of(cmd->cdb);
	return write_start(cmd);
}

/* What is verified must be on the medium: as with FUA. */
enum scsi_step vsp_scsi_write_and_verify(struct scsi_command *cmd)
{
	enum bytchk bytchk = bytchk_of(cmd->cdb);

	if (flags_bad(cmd->cdb) || bytchk > BYTCHK_ALL)
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	cmd->fua = true;
	cmd->compare = bytchk == BYTCHK_ALL;
	return write_start(cmd);
}

/* -- Cache ---------------------------------------------------------------- */

static enum scsi_sense cache_range_check(const struct scsi_command *cmd)
{
	return vsp_scsi_medium_check(cmd, vsp_scsi_cdb_range(cmd->cdb), false);
}

/* Whether the blocks are in a cache is not known: GOOD says that they may not all be. */
enum scsi_step vsp_scsi_pre_fetch(struct scsi_command *cmd)
{
	enum scsi_sense sense = cache_range_check(cmd);

	return sense == SCSI_SENSE_NONE ? vsp_scsi_good(cmd) : vsp_scsi_check(cmd, sense);
}

/* Flushes everything, whatever the range; IMMED may be answered late. */
enum scsi_step vsp_scsi_synchronize_cache(struct scsi_command *cmd)
{
	enum scsi_sense sense = cache_range_check(cmd);

	return sense == SCSI_SENSE_NONE ? vsp_scsi_flush(cmd) : vsp_scsi_check(cmd, sense);
}
