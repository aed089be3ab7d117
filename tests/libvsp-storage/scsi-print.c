/* SPDX-License-Identifier: MIT */
/* scsi-print BYTE...: what a disk of 1 MiB answers to that CDB, in hexadecimal, for others to
 * decode: its data, or its sense data if it refuses. */
#include <stdio.h>
#include <stdlib.h>

#include "scsi-fixture.h"

int main(int argc, char **argv)
{
	static const uint64_t luns[4] = {1, 0, 0, 1ull << 63};
	uint8_t cdb[16] = {0}, sense[SCSI_SENSE_FIXED];
	struct scsi_command cmd = command(cdb, IN, SCSI_DATA_MAX);
	const uint8_t *bytes = data;
	uint32_t len;

	for (int i = 1; i < argc && i <= 16; i++)
		cdb[i - 1] = (uint8_t)strtoul(argv[i], NULL, 16);
	if (cdb[0] == SCSI_REPORT_LUNS)
		(void)vsp_scsi_report_luns(&cmd, luns);
	else
		(void)vsp_scsi_execute(&cmd);
	len = cmd.data_len;
	if (cmd.status != SCSI_GOOD) {
		vsp_scsi_sense_fixed(cmd.sense, sense);
		bytes = sense;
		len = sizeof(sense);
	}
	for (uint32_t i = 0; i < len; i++)
		printf("%02x%c", bytes[i], i % 16 == 15 || i + 1 == len ? '\n' : ' ');
	return len == 0;
}
