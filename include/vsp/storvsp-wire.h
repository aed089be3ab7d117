/* SPDX-License-Identifier: MIT */
/* The storage protocol (storvsp) as it lies in VMBus packets. Little-endian, but
 * for CDBs and sense data. Facts: Linux drivers/scsi/storvsc_drv.c and Microsoft's
 * published storvsp protocol definitions. */
#ifndef VSP_STORVSP_WIRE_H
#define VSP_STORVSP_WIRE_H

#include <stdint.h>

#include <vmbus/wire.h>

#define VSP_STORVSP_WIN6 0x0200
#define VSP_STORVSP_WIN7 0x0402
#define VSP_STORVSP_WIN8 0x0501
#define VSP_STORVSP_WIN8_1 0x0600
#define VSP_STORVSP_WIN10 0x0602

#define VSP_STORVSP_HEADER 12u
#define VSP_STORVSP_SIZE_V1 36u /* union size up to 4.2 */
#define VSP_STORVSP_SIZE_V2 52u /* from 5.1 on */

enum vsp_storvsp_operation {
	VSP_STORVSP_COMPLETE_IO = 1,
	VSP_STORVSP_REMOVE_DEVICE = 2,
	VSP_STORVSP_EXECUTE_SRB = 3,
	VSP_STORVSP_RESET_LUN = 4,
	VSP_STORVSP_RESET_ADAPTER = 5,
	VSP_STORVSP_RESET_BUS = 6,
	VSP_STORVSP_BEGIN_INITIALIZATION = 7,
	VSP_STORVSP_END_INITIALIZATION = 8,
	VSP_STORVSP_QUERY_VERSION = 9,
	VSP_STORVSP_QUERY_PROPERTIES = 10,
	VSP_STORVSP_ENUMERATE_BUS = 11,
	VSP_STORVSP_FCHBA_DATA = 12,
	VSP_STORVSP_CREATE_SUB_CHANNELS = 13,
	VSP_STORVSP_OPERATION_COUNT
};

#define VSP_STORVSP_FLAG_COMPLETION 0x1u
#define VSP_STORVSP_MULTI_CHANNEL 0x1u /* channel properties */

enum vsp_srb_direction {
	VSP_SRB_WRITE = 0, /* the host reads guest memory */
	VSP_SRB_READ = 1,  /* the host writes guest memory */
	VSP_SRB_NONE = 2,
};

#define VSP_SENSE_SIZE 20u
#define VSP_CDB_SIZE 16u

struct vsp_storvsp_srb {
	uint16_t length;
	uint8_t srb_status;
	uint8_t scsi_status;
	uint8_t port, path, target, lun;
	uint8_t cdb_length;
	uint8_t sense_length;
	uint8_t direction; /* enum vsp_srb_direction */
	uint8_t reserved;
	uint32_t transfer_length;
	union {
		uint8_t cdb[VSP_CDB_SIZE];
		uint8_t sense[VSP_SENSE_SIZE];
	} u;
	/* from 5.1 on */
	uint16_t reserve;
	uint8_t queue_tag, queue_action;
	uint32_t srb_flags;
	uint32_t time_out;
	uint32_t queue_sort_key;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vsp_storvsp_srb, 52);

struct vsp_storvsp_properties {
	uint32_t reserved1;
	uint16_t max_sub_channels;
	uint16_t reserved2;
	uint32_t flags;
	uint32_t max_transfer;
	uint64_t reserved3;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vsp_storvsp_properties, 24);

struct vsp_storvsp_version {
	uint16_t version;
	uint16_t revision;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vsp_storvsp_version, 4);

struct vsp_storvsp_packet {
	uint32_t operation;
	uint32_t flags;
	uint32_t status; /* NTSTATUS */
	union {
		struct vsp_storvsp_srb srb;
		struct vsp_storvsp_properties properties;
		struct vsp_storvsp_version version;
		uint16_t sub_channels;
		uint8_t bytes[VSP_STORVSP_SIZE_V2];
	} u;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vsp_storvsp_packet, 64);

#endif
