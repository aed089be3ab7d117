/* SPDX-License-Identifier: MIT */
/* The network protocol (NVSP) as it lies in VMBus packets. Little-endian. Facts:
 * Linux drivers/net/hyperv/hyperv_net.h, DPDK's netvsc driver and OpenVMM's netvsp. */
#ifndef VSP_NVSP_WIRE_H
#define VSP_NVSP_WIRE_H

#include <stdint.h>

#include <vmbus/wire.h>

#define VSP_NVSP_V1 0x00000002u
#define VSP_NVSP_V2 0x00030002u
#define VSP_NVSP_V4 0x00040000u
#define VSP_NVSP_V5 0x00050000u
#define VSP_NVSP_V6 0x00060000u
#define VSP_NVSP_V61 0x00060001u

/* What a host sends: fixed by the version. A guest may send any length that
 * holds the fields: Linux always sends 40 bytes. */
#define VSP_NVSP_SIZE 28u     /* up to V6 */
#define VSP_NVSP_SIZE_V61 40u /* from V6.1 on */

/* X(constant, number, first version, direction): every message there is. The
 * directions: G guest to host, H host to guest, B both, C completion of the host's. */
#define VSP_NVSP_TYPES(X)                                                                \
	X(INIT, 1, V1, G)                                                                \
	X(INIT_COMPLETE, 2, V1, C)                                                       \
	X(NDIS_VERSION, 100, V1, G)                                                      \
	X(RECV_BUF, 101, V1, G)                                                          \
	X(RECV_BUF_COMPLETE, 102, V1, C)                                                 \
	X(REVOKE_RECV_BUF, 103, V1, G)                                                   \
	X(SEND_BUF, 104, V1, G)                                                          \
	X(SEND_BUF_COMPLETE, 105, V1, C)                                                 \
	X(REVOKE_SEND_BUF, 106, V1, G)                                                   \
	X(RNDIS, 107, V1, B)                                                             \
	X(RNDIS_COMPLETE, 108, V1, B)                                                    \
	X(NDIS_CONFIG, 125, V2, G)                                                       \
	X(VF_ASSOCIATION, 128, V4, H)                                                    \
	X(SWITCH_DATA_PATH, 129, V4, B)                                                  \
	X(UPLINK_CONNECT_STATE, 130, V4, H)                                              \
	X(OID_QUERY_EX, 131, V5, G)                                                      \
	X(OID_QUERY_EX_COMPLETE, 132, V5, C)                                             \
	X(SUBCHANNEL, 133, V5, G)                                                        \
	X(INDIRECTION_TABLE, 134, V5, H)                                                 \
	X(PD_API, 135, V6, G)                                                            \
	X(PD_POST_BATCH, 136, V6, B)

enum vsp_nvsp_type {
#define X(constant, number, version, direction) VSP_NVSP_##constant = (number),
	VSP_NVSP_TYPES(X)
#undef X
	VSP_NVSP_TYPE_END = 137
};

enum vsp_nvsp_status {
	VSP_NVSP_STATUS_NONE = 0, /* INIT: no such version */
	VSP_NVSP_STATUS_SUCCESS = 1,
	VSP_NVSP_STATUS_FAILURE = 2,
	VSP_NVSP_STATUS_INVALID_RNDIS = 5,
	VSP_NVSP_STATUS_BUSY = 6,
};

/* NDIS_CONFIG capabilities */
#define VSP_NVSP_CAP_VMQ 0x01u
#define VSP_NVSP_CAP_CHIMNEY 0x02u
#define VSP_NVSP_CAP_SRIOV 0x04u
#define VSP_NVSP_CAP_8021Q 0x08u
#define VSP_NVSP_CAP_CORRELATION 0x10u
#define VSP_NVSP_CAP_TEAMING 0x20u
#define VSP_NVSP_CAP_VSUBNET 0x40u
#define VSP_NVSP_CAP_RSC 0x80u

#define VSP_NVSP_NO_SECTION 0xffffffffu /* RNDIS: nothing in the send buffer */
#define VSP_NVSP_CHANNEL_DATA 0u        /* RNDIS channel type; guests send 2 as well */
#define VSP_NVSP_CHANNEL_CONTROL 1u
#define VSP_NVSP_SUBCHANNEL_ALLOCATE 1u
#define VSP_NVSP_INDIRECTION 16u /* entries of the send indirection table */
#define VSP_NVSP_SECTION_SIZE 6144u
#define VSP_NVSP_SLOT_MIN 68u /* guests refuse a smaller sub-allocation */

struct vsp_nvsp_init {
	uint32_t version;
	uint32_t version_again;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vsp_nvsp_init, 8);

struct vsp_nvsp_init_complete {
	uint32_t version;  /* no longer used: 0xffffffff, but 2 for V1 */
	uint32_t max_mdls; /* 34, as Hyper-V says */
	uint32_t status;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vsp_nvsp_init_complete, 12);

struct vsp_nvsp_ndis_version {
	uint32_t major;
	uint32_t minor;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vsp_nvsp_ndis_version, 8);

struct vsp_nvsp_buffer { /* RECV_BUF, SEND_BUF */
	uint32_t gpadl;
	uint16_t id;
	uint16_t reserved;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vsp_nvsp_buffer, 8);

struct vsp_nvsp_recv_buf_complete { /* with exactly one section: guests want no more */
	uint32_t status;
	uint32_t sections;
	uint32_t offset;
	uint32_t slot_size;
	uint32_t slots;
	uint32_t end;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vsp_nvsp_recv_buf_complete, 24);

struct vsp_nvsp_send_buf_complete {
	uint32_t status;
	uint32_t section_size;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vsp_nvsp_send_buf_complete, 8);

struct vsp_nvsp_revoke {
	uint16_t id;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vsp_nvsp_revoke, 2);

struct vsp_nvsp_rndis {
	uint32_t channel_type;
	uint32_t section; /* of the send buffer, or VSP_NVSP_NO_SECTION */
	uint32_t section_size;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vsp_nvsp_rndis, 12);

struct vsp_nvsp_status_only { /* RNDIS_COMPLETE */
	uint32_t status;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vsp_nvsp_status_only, 4);

struct vsp_nvsp_ndis_config {
	uint32_t mtu; /* IP MTU + 14 */
	uint32_t reserved;
	uint64_t capabilities; /* not aligned in the message */
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vsp_nvsp_ndis_config, 16);

struct vsp_nvsp_data_path {
	uint32_t path; /* 0 synthetic, 1 VF */
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vsp_nvsp_data_path, 4);

struct vsp_nvsp_oid_query_ex {
	uint32_t ndis_header;
	uint32_t oid;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vsp_nvsp_oid_query_ex, 8);

struct vsp_nvsp_oid_query_ex_complete {
	uint32_t status; /* NDIS */
	uint32_t bytes;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vsp_nvsp_oid_query_ex_complete, 8);

struct vsp_nvsp_subchannel { /* request: operation, count; completion: status, count */
	uint32_t operation;
	uint32_t count;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vsp_nvsp_subchannel, 8);

struct vsp_nvsp_indirection {
	uint32_t count;  /* 16: guests refuse others */
	uint32_t offset; /* of the table, from the start of the message */
	uint32_t table[VSP_NVSP_INDIRECTION];
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vsp_nvsp_indirection, 72);

struct vsp_nvsp_message {
	uint32_t type;
	union {
		struct vsp_nvsp_init init;
		struct vsp_nvsp_init_complete init_complete;
		struct vsp_nvsp_ndis_version ndis_version;
		struct vsp_nvsp_buffer buffer;
		struct vsp_nvsp_recv_buf_complete recv_buf_complete;
		struct vsp_nvsp_send_buf_complete send_buf_complete;
		struct vsp_nvsp_revoke revoke;
		struct vsp_nvsp_rndis rndis;
		struct vsp_nvsp_status_only rndis_complete;
		struct vsp_nvsp_ndis_config ndis_config;
		struct vsp_nvsp_data_path data_path;
		struct vsp_nvsp_oid_query_ex oid_query_ex;
		struct vsp_nvsp_oid_query_ex_complete oid_query_ex_complete;
		struct vsp_nvsp_subchannel subchannel;
		struct vsp_nvsp_indirection indirection;
		uint8_t bytes[76];
	} u;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vsp_nvsp_message, 80);

#endif
