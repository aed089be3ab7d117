/* SPDX-License-Identifier: MIT */
/* Commands about the unit as such (SPC-4), of a disk that is never not ready, and REPORT
 * LUNS, which the target answers. */
#include <string.h>

#include "scsi.h"

enum scsi_step vsp_scsi_test_unit_ready(struct scsi_command *cmd)
{
	return vsp_scsi_good(cmd);
}

/* With autosense there is nothing to ask for but a pending unit attention. */
enum scsi_step vsp_scsi_request_sense(struct scsi_command *cmd)
{
	bool descriptor = cmd->cdb[1] & 0x01;

	cmd->took_attention = cmd->attention != SCSI_SENSE_NONE;
	if (descriptor)
		vsp_scsi_sense_descriptor(cmd->attention, cmd->data);
	else
		vsp_scsi_sense_fixed(cmd->attention, cmd->data);
	return vsp_scsi_data(cmd, descriptor ? SCSI_SENSE_DESCRIPTOR : SCSI_SENSE_FIXED,
			     cmd->cdb[4]);
}

/* STOP means "flush", START nothing. */
enum scsi_step vsp_scsi_start_stop_unit(struct scsi_command *cmd)
{
	uint8_t flags = cmd->cdb[4];
	bool start = flags & 0x01, eject = flags & 0x02, no_flush = flags & 0x04;

	if (flags >> 4) /* power conditions: nothing to do */
		return vsp_scsi_good(cmd);
	if (eject)
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	if (start || no_flush)
		return vsp_scsi_good(cmd);
	return vsp_scsi_flush(cmd);
}

/* The default self-test, which has always passed, and no other. */
enum scsi_step vsp_scsi_send_diagnostic(struct scsi_command *cmd)
{
	if ((cmd->cdb[1] & 0xf0) || scsi_get16(cmd->cdb + 3) != 0)
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	return vsp_scsi_good(cmd);
}

/* Nothing here can be removed by hand. */
enum scsi_step vsp_scsi_prevent_allow(struct scsi_command *cmd)
{
	return vsp_scsi_good(cmd);
}

/* Empty lists, of whatever kind and format was asked for. */
enum scsi_step vsp_scsi_read_defect_data(struct scsi_command *cmd)
{
	bool twelve = cmd->cdb[0] == SCSI_READ_DEFECT_DATA_12;

	memset(cmd->data, 0, 8);
	cmd->data[1] = cmd->cdb[twelve ? 1 : 2] & 0x1f;
	if (twelve)
		return vsp_scsi_data(cmd, 8, scsi_get32(cmd->cdb + 6));
	return vsp_scsi_data(cmd, 4, scsi_get16(cmd->cdb + 7));
}

/* SELECT REPORT (SPC-4 table 282): 0 and 2 mean these LUNs, 1 well known ones alone. */
enum scsi_step vsp_scsi_report_luns(struct scsi_command *cmd, const uint64_t luns[4])
{
	uint8_t select = cmd->cdb[2];
	uint32_t end = 8;

	cmd->status = SCSI_GOOD;
	cmd->sense = SCSI_SENSE_NONE;
	if (select > 2)
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	memset(cmd->data, 0, 8 + 8 * 256);
	for (unsigned int i = 0; select != 1 && i < 256; i++) {
		if (!(luns[i / 64] >> i % 64 & 1))
			continue;
		cmd->data[end + 1] = (uint8_t)i;
		end += 8;
	}
	scsi_put32(cmd->data, end - 8);
	return vsp_scsi_data(cmd, end, scsi_get32(cmd->cdb + 6));
}
