/* SPDX-License-Identifier: MIT */
/* SCSI for disks (SPC-4, SBC-3), pure: a CDB and what is known of the disk go in, an
 * answer or one block operation comes out. No I/O, no guest memory: data-out that is
 * parsed arrives as a private copy. */
#ifndef LIBVSP_STORAGE_SCSI_H
#define LIBVSP_STORAGE_SCSI_H

#include <stdbool.h>
#include <stdint.h>

#include <vsp/block.h>

#define SCSI_GOOD 0x00
#define SCSI_CHECK_CONDITION 0x02
#define SCSI_BUSY 0x08

#define SCSI_DATA_MAX 4096u      /* bytes of data a command makes or parses itself */
#define SCSI_UNMAP_DESCRIPTORS 255u /* as many as fit into SCSI_DATA_MAX */

enum scsi_opcode {
	SCSI_TEST_UNIT_READY = 0x00,
	SCSI_REQUEST_SENSE = 0x03,
	SCSI_READ_6 = 0x08,
	SCSI_WRITE_6 = 0x0a,
	SCSI_INQUIRY = 0x12,
	SCSI_MODE_SENSE_6 = 0x1a,
	SCSI_START_STOP_UNIT = 0x1b,
	SCSI_READ_CAPACITY_10 = 0x25,
	SCSI_READ_10 = 0x28,
	SCSI_WRITE_10 = 0x2a,
	SCSI_SYNCHRONIZE_CACHE_10 = 0x35,
	SCSI_UNMAP = 0x42,
	SCSI_MODE_SENSE_10 = 0x5a,
	SCSI_READ_16 = 0x88,
	SCSI_WRITE_16 = 0x8a,
	SCSI_SYNCHRONIZE_CACHE_16 = 0x91,
	SCSI_SERVICE_ACTION_IN_16 = 0x9e,
	SCSI_REPORT_LUNS = 0xa0,
	SCSI_READ_12 = 0xa8,
	SCSI_WRITE_12 = 0xaa,
};

#define SCSI_SAI_READ_CAPACITY_16 0x10

/* X(constant, sense key, ASC, ASCQ) */
#define SCSI_SENSES(X)                                                                   \
	X(NONE, 0x00, 0x00, 0x00)                                                        \
	X(WRITE_ERROR, 0x03, 0x0c, 0x00)                                                 \
	X(READ_ERROR, 0x03, 0x11, 0x00)                                                  \
	X(PARAMETER_LENGTH, 0x05, 0x1a, 0x00)                                            \
	X(INVALID_OPCODE, 0x05, 0x20, 0x00)                                              \
	X(LBA_RANGE, 0x05, 0x21, 0x00)                                                   \
	X(INVALID_CDB, 0x05, 0x24, 0x00)                                                 \
	X(INVALID_PARAMETER, 0x05, 0x26, 0x00)                                           \
	X(NO_SAVED_PAGES, 0x05, 0x39, 0x00)                                              \
	X(CAPACITY_CHANGED, 0x06, 0x2a, 0x09)                                            \
	X(WRITE_PROTECTED, 0x07, 0x27, 0x00)                                             \
	X(NO_SPACE, 0x07, 0x27, 0x07)

enum scsi_sense {
#define X(constant, key, asc, ascq) SCSI_SENSE_##constant,
	SCSI_SENSES(X)
#undef X
	SCSI_SENSE_COUNT
};

#define SCSI_SENSE_KEY_ILLEGAL_REQUEST 0x05
#define SCSI_SENSE_FIXED 18u /* bytes of fixed-format sense data */

/* Where a command goes next. */
enum scsi_step {
	SCSI_DONE,  /* @status, @sense and @data are the answer */
	SCSI_BLOCK, /* do @op on the disk; its result is the answer */
	SCSI_TRIM,  /* unmap each range of scsi_unmap_range(), then GOOD */
};

struct scsi_command {
	/* in */
	const uint8_t *cdb; /* 16 bytes */
	const struct vsp_block_info *disk;
	enum scsi_sense attention; /* pending unit attention, SCSI_SENSE_NONE: none */
	bool data_in, data_out;    /* what the transport can move, */
	uint32_t buffer;           /* and how many bytes of it */
	uint8_t *data;             /* SCSI_DATA_MAX bytes. In: the parameter list, if
				    * scsi_wants_data(). Out: data for the guest */
	/* out */
	uint32_t data_len;   /* bytes in @data; 0 unless data_in */
	uint8_t status;
	enum scsi_sense sense;
	bool took_attention; /* it was reported: clear it */
	enum vsp_block_op op;
	uint64_t offset, len; /* bytes */
	bool fua;             /* flush after the write */
	uint32_t ranges;      /* SCSI_TRIM: number of them */
};

/* Runs one command up to its next step. */
enum scsi_step scsi_execute(struct scsi_command *cmd);

/* Bytes of data-out that the command parses itself: fetch so many (at most
 * SCSI_DATA_MAX) into cmd->data first. 0 for most. */
uint32_t scsi_wants_data(const uint8_t *cdb);

/* After SCSI_TRIM: range @i of cmd->data in bytes. Checked already. */
void scsi_unmap_range(const struct scsi_command *cmd, uint32_t i, uint64_t *offset, uint64_t *len);

/* The status and sense of a block operation that ended with @error (0 or -errno). */
void scsi_finish(struct scsi_command *cmd, int error);

/* 18 bytes of fixed-format sense data. */
void scsi_sense_fixed(enum scsi_sense sense, uint8_t out[SCSI_SENSE_FIXED]);
uint8_t scsi_sense_key(enum scsi_sense sense);

/* What a target without a disk at this LUN answers to INQUIRY (qualifier 3: no device, but
 * the target is there); @data gets the bytes. */
enum scsi_step scsi_inquiry_absent(struct scsi_command *cmd);

/* -- Between the families' files ------------------------------------------ */

typedef enum scsi_step scsi_handler(struct scsi_command *cmd);

scsi_handler scsi_inquiry, scsi_mode_sense, scsi_read_write, scsi_synchronize_cache, scsi_unmap,
	scsi_read_capacity_10, scsi_read_capacity_16;

/* CHECK CONDITION with @sense. */
enum scsi_step scsi_check(struct scsi_command *cmd, enum scsi_sense sense);

/* GOOD, with the first @len bytes of cmd->data as far as the CDB's @allocation and the
 * guest's buffer have room: never an error because they are short. */
enum scsi_step scsi_data(struct scsi_command *cmd, uint32_t len, uint32_t allocation);

static inline uint32_t scsi_get16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static inline uint32_t scsi_get32(const uint8_t *p)
{
	return scsi_get16(p) << 16 | scsi_get16(p + 2);
}

static inline uint64_t scsi_get64(const uint8_t *p)
{
	return (uint64_t)scsi_get32(p) << 32 | scsi_get32(p + 4);
}

static inline void scsi_put16(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static inline void scsi_put32(uint8_t *p, uint32_t value)
{
	scsi_put16(p, value >> 16);
	scsi_put16(p + 2, value);
}

static inline void scsi_put64(uint8_t *p, uint64_t value)
{
	scsi_put32(p, (uint32_t)(value >> 32));
	scsi_put32(p + 4, (uint32_t)value);
}

static inline uint64_t scsi_blocks(const struct vsp_block_info *disk)
{
	return disk->size / disk->logical_sector;
}

#endif
