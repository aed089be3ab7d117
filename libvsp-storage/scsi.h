/* SPDX-License-Identifier: MIT */
/* SCSI for disks (SPC-4, SBC-3), pure: a CDB and what is known of the disk go in, an
 * answer or a block operation comes out; when that has ended, the next one, or the
 * answer. No I/O, no guest memory: data-out that is parsed arrives as a private copy. */
#ifndef LIBVSP_STORAGE_SCSI_H
#define LIBVSP_STORAGE_SCSI_H

#include <stdbool.h>
#include <stdint.h>

#include <vsp/block.h>

#define SCSI_GOOD 0x00
#define SCSI_CHECK_CONDITION 0x02
#define SCSI_BUSY 0x08

#define SCSI_CHUNK 4096u             /* bytes handled at a time where data is looked at */
#define SCSI_DATA_MAX (2 * SCSI_CHUNK) /* a command's private bytes */
#define SCSI_REPEAT 16u              /* iovecs an operation on private bytes takes at most */
#define SCSI_UNMAP_DESCRIPTORS 256u  /* their list fits into SCSI_DATA_MAX */
#define SCSI_WRITE_SAME_MAX (8u << 20) /* bytes */

enum scsi_opcode {
	SCSI_TEST_UNIT_READY = 0x00,
	SCSI_REQUEST_SENSE = 0x03,
	SCSI_READ_6 = 0x08,
	SCSI_WRITE_6 = 0x0a,
	SCSI_INQUIRY = 0x12,
	SCSI_MODE_SELECT_6 = 0x15,
	SCSI_MODE_SENSE_6 = 0x1a,
	SCSI_START_STOP_UNIT = 0x1b,
	SCSI_SEND_DIAGNOSTIC = 0x1d,
	SCSI_PREVENT_ALLOW = 0x1e,
	SCSI_READ_CAPACITY_10 = 0x25,
	SCSI_READ_10 = 0x28,
	SCSI_WRITE_10 = 0x2a,
	SCSI_WRITE_AND_VERIFY_10 = 0x2e,
	SCSI_VERIFY_10 = 0x2f,
	SCSI_PRE_FETCH_10 = 0x34,
	SCSI_SYNCHRONIZE_CACHE_10 = 0x35,
	SCSI_READ_DEFECT_DATA_10 = 0x37,
	SCSI_WRITE_SAME_10 = 0x41,
	SCSI_UNMAP = 0x42,
	SCSI_MODE_SELECT_10 = 0x55,
	SCSI_MODE_SENSE_10 = 0x5a,
	SCSI_READ_16 = 0x88,
	SCSI_WRITE_16 = 0x8a,
	SCSI_WRITE_AND_VERIFY_16 = 0x8e,
	SCSI_VERIFY_16 = 0x8f,
	SCSI_PRE_FETCH_16 = 0x90,
	SCSI_SYNCHRONIZE_CACHE_16 = 0x91,
	SCSI_WRITE_SAME_16 = 0x93,
	SCSI_SERVICE_ACTION_IN_16 = 0x9e,
	SCSI_REPORT_LUNS = 0xa0,
	SCSI_READ_12 = 0xa8,
	SCSI_WRITE_12 = 0xaa,
	SCSI_WRITE_AND_VERIFY_12 = 0xae,
	SCSI_VERIFY_12 = 0xaf,
	SCSI_READ_DEFECT_DATA_12 = 0xb7,
};

#define SCSI_SAI_READ_CAPACITY_16 0x10
#define SCSI_SAI_GET_LBA_STATUS 0x12

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
	X(NO_SPACE, 0x07, 0x27, 0x07)                                                    \
	X(MISCOMPARE, 0x0e, 0x1d, 0x00)

enum scsi_sense {
#define X(constant, key, asc, ascq) SCSI_SENSE_##constant,
	SCSI_SENSES(X)
#undef X
	SCSI_SENSE_COUNT
};

#define SCSI_SENSE_KEY_ILLEGAL_REQUEST 0x05
#define SCSI_SENSE_FIXED 18u     /* bytes of fixed-format sense data */
#define SCSI_SENSE_DESCRIPTOR 8u /* bytes in descriptor format */

/* Where a command goes next. */
enum scsi_step {
	SCSI_DONE,  /* the answer is there */
	SCSI_BLOCK, /* do @op on the disk, then vsp_scsi_next() */
};

struct scsi_command {
	/* in */
	const uint8_t *cdb; /* 16 bytes */
	const struct vsp_block_info *disk;
	enum scsi_sense attention; /* pending unit attention, SCSI_SENSE_NONE: none */
	bool data_in, data_out;    /* what the transport can move, */
	uint32_t buffer;           /* and how many bytes of it */
	uint8_t *data;             /* SCSI_DATA_MAX bytes. In: the parameter list, if
				    * vsp_scsi_wants(). Out: data for the guest */

	/* SCSI_DONE */
	uint8_t status;
	enum scsi_sense sense;
	bool took_attention; /* it was reported: clear it */
	bool overrun;        /* the guest's buffer is too small for what has no shorter form */
	bool gone;           /* the disk was taken away under the command */
	uint32_t data_len;   /* bytes of @data for the guest; 0 unless data_in */
	uint32_t moved;      /* bytes of the guest's buffer used by block operations */

	/* SCSI_BLOCK */
	enum vsp_block_op op;
	uint64_t offset, len; /* bytes */
	/* READ, WRITE: 0: on the guest's data from byte @at on. Else on private memory: the
	 * first @unit bytes of @data again and again, @len / @unit <= SCSI_REPEAT times */
	uint32_t unit;
	uint32_t at;
	uint32_t fetch; /* before: copy so many bytes (<= SCSI_CHUNK) of the guest's data, from
			 * byte @at on, to @data + SCSI_CHUNK */

	/* the command's own, between its steps */
	enum scsi_step (*next)(struct scsi_command *cmd, int result);
	uint64_t end;   /* of the range on the disk, bytes */
	uint32_t index; /* descriptors done, or chunks */
	uint32_t count; /* descriptors */
	bool fua;       /* flush at the end */
	bool compare;   /* with the data that was written */
	bool same;      /* compare each block with the same data */
};

/* Runs one command up to its first step. */
enum scsi_step vsp_scsi_execute(struct scsi_command *cmd);

/* The step after SCSI_BLOCK, whose operation ended with @result: 0 or -errno; -EFAULT when
 * the guest's data does not lie in guest memory. */
enum scsi_step vsp_scsi_next(struct scsi_command *cmd, int result);

/* Bytes of data-out that the command parses itself: fetch so many (at most
 * SCSI_DATA_MAX, at most the buffer) into cmd->data first. 0 for most. */
uint32_t vsp_scsi_wants(const uint8_t *cdb);

/* What a target without a disk at this LUN answers to INQUIRY (qualifier 3: no device, but
 * the target is there). */
enum scsi_step vsp_scsi_inquiry_absent(struct scsi_command *cmd, uint8_t lun);

/* REPORT LUNS of a target with the LUNs whose bit is set in @luns (256 bits). */
enum scsi_step vsp_scsi_report_luns(struct scsi_command *cmd, const uint64_t luns[4]);

/* The command's name ("READ(10)"), NULL if it is not known. */
const char *vsp_scsi_name(uint8_t opcode);

/* Sense data in fixed format, in which all is sent that goes with a status, and in
 * descriptor format, for who asks for that. */
void vsp_scsi_sense_fixed(enum scsi_sense sense, uint8_t out[SCSI_SENSE_FIXED]);
void vsp_scsi_sense_descriptor(enum scsi_sense sense, uint8_t out[SCSI_SENSE_DESCRIPTOR]);
uint8_t vsp_scsi_sense_key(enum scsi_sense sense);

/* -- Between the families' files ------------------------------------------ */

typedef enum scsi_step scsi_handler(struct scsi_command *cmd);

scsi_handler vsp_scsi_test_unit_ready, vsp_scsi_request_sense, vsp_scsi_start_stop_unit,
	vsp_scsi_send_diagnostic, vsp_scsi_prevent_allow, vsp_scsi_read_defect_data;
scsi_handler vsp_scsi_inquiry, vsp_scsi_mode_sense, vsp_scsi_mode_select;
scsi_handler vsp_scsi_read, vsp_scsi_write, vsp_scsi_verify, vsp_scsi_write_and_verify,
	vsp_scsi_pre_fetch, vsp_scsi_synchronize_cache;
scsi_handler vsp_scsi_write_same, vsp_scsi_unmap;
scsi_handler vsp_scsi_read_capacity_10, vsp_scsi_read_capacity_16, vsp_scsi_get_lba_status;

/* CHECK CONDITION with @sense. */
enum scsi_step vsp_scsi_check(struct scsi_command *cmd, enum scsi_sense sense);

/* GOOD, with the first @len bytes of cmd->data as far as the CDB's @allocation and the
 * guest's buffer have room: never an error because they are short. */
enum scsi_step vsp_scsi_data(struct scsi_command *cmd, uint32_t len, uint32_t allocation);

/* GOOD, without data. */
enum scsi_step vsp_scsi_good(struct scsi_command *cmd);

/* The answer to a block operation that ended with @result; a cmd->next. */
enum scsi_step vsp_scsi_end(struct scsi_command *cmd, int result);

/* A flush, then vsp_scsi_end(). */
enum scsi_step vsp_scsi_flush(struct scsi_command *cmd);

/* A range of blocks on the medium. */
struct scsi_range {
	uint64_t lba;
	uint64_t count;
};

/* The range of a CDB whose fields lie where its opcode's group has them. */
struct scsi_range vsp_scsi_cdb_range(const uint8_t *cdb);

/* What forbids a command on @range, SCSI_SENSE_NONE: nothing. @write: it changes it. */
enum scsi_sense vsp_scsi_medium_check(const struct scsi_command *cmd, struct scsi_range range,
				      bool write);

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
