/* SPDX-License-Identifier: MIT */
/* Sense data (SPC-4 4.5). */
#include <string.h>

#include "scsi.h"

static const uint8_t senses[SCSI_SENSE_COUNT][3] = {
#define X(constant, key, asc, ascq) [SCSI_SENSE_##constant] = {key, asc, ascq},
	SCSI_SENSES(X)
#undef X
};

uint8_t vsp_scsi_sense_key(enum scsi_sense sense)
{
	return senses[sense][0];
}

void vsp_scsi_sense_fixed(enum scsi_sense sense, uint8_t out[SCSI_SENSE_FIXED])
{
	memset(out, 0, SCSI_SENSE_FIXED);
	out[0] = 0x70; /* current error, fixed format */
	out[2] = senses[sense][0];
	out[7] = SCSI_SENSE_FIXED - 8;
	out[12] = senses[sense][1];
	out[13] = senses[sense][2];
}

void vsp_scsi_sense_descriptor(enum scsi_sense sense, uint8_t out[SCSI_SENSE_DESCRIPTOR])
{
	memset(out, 0, SCSI_SENSE_DESCRIPTOR);
	out[0] = 0x72; /* current error, descriptor format, of which there are none */
	memcpy(out + 1, senses[sense], sizeof(senses[sense]));
}
