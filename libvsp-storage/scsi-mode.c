/* SPDX-License-Identifier: MIT */
/* MODE SENSE (SPC-4 6.11; pages: SPC-4 7.5, SBC-3 6.5). Nothing is changeable. */
#include <string.h>

#include "scsi.h"

#define ALL_PAGES 0x3fu
#define DSP_WRITE_PROTECTED 0x80u
#define DSP_DPOFUA 0x10u

enum page_control { CURRENT, CHANGEABLE, DEFAULTS, SAVED };

static const struct {
	uint8_t code, len; /* len counts code and length bytes */
	uint8_t current[20];
} pages[] = {
	{0x01, 12, {0}},
	{0x08, 20, {[2] = 0x04}}, /* WCE: flush before you rely on it */
	/* GLTSD; unrestricted reordering; busy time-out unlimited */
	{0x0a, 12, {[2] = 0x02, [3] = 0x10, [8] = 0xff, [9] = 0xff}},
	{0x1c, 12, {0}},
};

/* Appends the pages that @code asks for; returns the end, or @at if there is none. */
static uint32_t pages_put(uint8_t *data, uint32_t at, uint32_t code, enum page_control pc)
{
	for (unsigned int i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		if (code != ALL_PAGES && code != pages[i].code)
			continue;
		memset(data + at, 0, pages[i].len);
		if (pc != CHANGEABLE)
			memcpy(data + at, pages[i].current, pages[i].len);
		data[at] = pages[i].code;
		data[at + 1] = (uint8_t)(pages[i].len - 2);
		at += pages[i].len;
	}
	return at;
}

enum scsi_step scsi_mode_sense(struct scsi_command *cmd)
{
	bool ten = cmd->cdb[0] == SCSI_MODE_SENSE_10;
	uint32_t header = ten ? 8 : 4, code = cmd->cdb[2] & 0x3f, subpage = cmd->cdb[3], end;
	enum page_control pc = (enum page_control)(cmd->cdb[2] >> 6);
	uint8_t dsp = (uint8_t)(DSP_DPOFUA | (cmd->disk->read_only ? DSP_WRITE_PROTECTED : 0));

	if (pc == SAVED)
		return scsi_check(cmd, SCSI_SENSE_NO_SAVED_PAGES);
	if (subpage != 0 && !(code == ALL_PAGES && subpage == 0xff))
		return scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	memset(cmd->data, 0, header);
	end = pages_put(cmd->data, header, code, pc);
	if (end == header)
		return scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	/* the lengths are those of all the data, also when it is cut off */
	if (ten) {
		scsi_put16(cmd->data, end - 2);
		cmd->data[3] = dsp;
		return scsi_data(cmd, end, scsi_get16(cmd->cdb + 7));
	}
	cmd->data[0] = (uint8_t)(end - 1);
	cmd->data[2] = dsp;
	return scsi_data(cmd, end, cmd->cdb[4]);
}
