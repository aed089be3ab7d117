/* SPDX-License-Identifier: MIT */
/* Disks and commands for tests of the SCSI engine alone. */
#ifndef TESTS_SCSI_FIXTURE_H
#define TESTS_SCSI_FIXTURE_H

#include <string.h>

#include "scsi.h"

#define MIB (1ull << 20)
#define BLOCKS 2048u /* of the small disks: 1 MiB */

#define DISK(bytes, ...)                                                                 \
	{ .size = (bytes), .logical_sector = 512, .physical_sector = 4096,               \
	  .unmap_granularity = 65536,                                                    \
	  .id = {0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, \
		 0x1c, 0x1d, 0x1e, 0x1f}, __VA_ARGS__ }

static const struct vsp_block_info writable = DISK(MIB, .can_unmap = true, .unmap_zeroes = true);

enum direction { NONE, IN, OUT };

static uint8_t data[SCSI_DATA_MAX];

/* As a request's that has been used before: what a command does not set itself is wrong. */
static inline struct scsi_command command(const uint8_t *cdb, enum direction direction,
					  uint32_t buffer)
{
	struct scsi_command cmd;

	memset(&cmd, 0xee, sizeof(cmd));
	cmd.cdb = cdb;
	cmd.disk = &writable;
	cmd.attention = SCSI_SENSE_NONE;
	cmd.data_in = direction == IN;
	cmd.data_out = direction == OUT;
	cmd.buffer = buffer;
	cmd.data = data;
	cmd.took_attention = cmd.overrun = cmd.gone = true;
	cmd.fua = cmd.compare = cmd.same = true;
	return cmd;
}

#endif
