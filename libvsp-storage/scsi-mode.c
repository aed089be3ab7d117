/* SPDX-License-Identifier: MIT */
/* MODE SENSE and MODE SELECT (SPC-4 6.10, 6.11; pages: SPC-4 7.5, SBC-3 6.5). Nothing is
 * changeable: a MODE SELECT that says otherwise fails. */
#include <string.h>

#include "scsi.h"

#define ALL_PAGES 0x3fu
#define DSP_WRITE_PROTECTED 0x80u
#define DSP_DPOFUA 0x10u

enum page_control { CURRENT, CHANGEABLE, DEFAULTS, SAVED };

static const struct mode_page {
	uint8_t len, bytes[20]; /* len counts code and length bytes */
} pages[] = {
	{12, {0x01, 10}},
	{20, {0x08, 18, 0x04}}, /* WCE: flush before you rely on it */
	/* GLTSD; unrestricted reordering; busy time-out unlimited */
	{12, {0x0a, 10, 0x02, 0x10, 0, 0, 0, 0, 0xff, 0xff}},
	{12, {0x1c, 10}},
};
#define PAGES (sizeof(pages) / sizeof(pages[0]))

/* Appends the pages that @code asks for; returns the end, or @at if there is none. */
static uint32_t pages_put(uint8_t *data, uint32_t at, uint32_t code, enum page_control pc)
{
	for (unsigned int i = 0; i < PAGES; i++) {
		const struct mode_page *page = &pages[i];

		if (code != ALL_PAGES && code != page->bytes[0])
			continue;
		memset(data + at, 0, page->len);
		memcpy(data + at, page->bytes, pc == CHANGEABLE ? 2 : page->len);
		at += page->len;
	}
	return at;
}

enum scsi_step vsp_scsi_mode_sense(struct scsi_command *cmd)
{
	bool ten = cmd->cdb[0] == SCSI_MODE_SENSE_10;
	uint32_t header = ten ? 8 : 4, code = cmd->cdb[2] & 0x3f, subpage = cmd->cdb[3], end;
	enum page_control pc = (enum page_control)(cmd->cdb[2] >> 6);
	uint8_t dsp = (uint8_t)(DSP_DPOFUA | (cmd->disk->read_only ? DSP_WRITE_PROTECTED : 0));

	if (pc == SAVED)
		return vsp_scsi_check(cmd, SCSI_SENSE_NO_SAVED_PAGES);
	if (subpage != 0 && !(code == ALL_PAGES && subpage == 0xff))
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	memset(cmd->data, 0, header);
	end = pages_put(cmd->data, header, code, pc);
	if (end == header)
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	/* the lengths are those of all the data, also when it is cut off */
	if (ten) {
		scsi_put16(cmd->data, end - 2);
		cmd->data[3] = dsp;
		return vsp_scsi_data(cmd, end, scsi_get16(cmd->cdb + 7));
	}
	cmd->data[0] = (uint8_t)(end - 1);
	cmd->data[2] = dsp;
	return vsp_scsi_data(cmd, end, cmd->cdb[4]);
}

/* -- MODE SELECT ---------------------------------------------------------- */

static const struct mode_page *page_find(uint8_t code)
{
	for (unsigned int i = 0; i < PAGES; i++)
		if (pages[i].bytes[0] == code)
			return &pages[i];
	return NULL;
}

/* The pages in a list: each must be as it is. */
static enum scsi_sense pages_check(const uint8_t *list, uint32_t len)
{
	while (len > 0) {
		const struct mode_page *page;

		if (len < 2)
			return SCSI_SENSE_PARAMETER_LENGTH;
		page = page_find(list[0] & 0x7f); /* bit 7 is reserved here */
		if (!page || list[1] != page->bytes[1])
			return SCSI_SENSE_INVALID_PARAMETER;
		if (len < page->len)
			return SCSI_SENSE_PARAMETER_LENGTH;
		if (memcmp(list + 2, page->bytes + 2, page->len - 2u) != 0)
			return SCSI_SENSE_INVALID_PARAMETER;
		list += page->len;
		len -= page->len;
	}
	return SCSI_SENSE_NONE;
}

enum scsi_step vsp_scsi_mode_select(struct scsi_command *cmd)
{
	bool ten = cmd->cdb[0] == SCSI_MODE_SELECT_10, pf = cmd->cdb[1] & 0x10,
	     sp = cmd->cdb[1] & 0x01;
	uint32_t list = vsp_scsi_wants(cmd->cdb), skip = ten ? 8 : 4;
	enum scsi_sense sense;

	if (sp || (!pf && list > 0))
		return vsp_scsi_check(cmd, SCSI_SENSE_INVALID_CDB);
	if (list == 0)
		return vsp_scsi_good(cmd);
	if (list > cmd->buffer || list > SCSI_DATA_MAX || !cmd->data_out || list < skip)
		return vsp_scsi_check(cmd, SCSI_SENSE_PARAMETER_LENGTH);
	skip += ten ? scsi_get16(cmd->data + 6) : cmd->data[3]; /* block descriptors */
	if (list < skip)
		return vsp_scsi_check(cmd, SCSI_SENSE_PARAMETER_LENGTH);
	sense = pages_check(cmd->data + skip, list - skip);
	if (sense != SCSI_SENSE_NONE)
		return vsp_scsi_check(cmd, sense);
	cmd->moved = list;
	return vsp_scsi_good(cmd);
}
