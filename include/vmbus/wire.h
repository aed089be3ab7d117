/* SPDX-License-Identifier: MIT */
/* VMBus as it lies in memory: SynIC messages and event flags, control
 * messages, ring control pages, packets. Integers are little-endian; only
 * little-endian machines (x86-64, and arm64 as Hyper-V runs it) are supported,
 * so fields are plain integers. A page is 4096 bytes everywhere.
 *
 * Sections named are those of the Hypervisor Top-Level Functional
 * Specification (TLFS) and of Linux' include/linux/hyperv.h. */
#ifndef VMBUS_WIRE_H
#define VMBUS_WIRE_H

#include <stdint.h>

#include <vmbus/guid.h>

#ifdef __cplusplus
#define VMBUS_ASSERT_SIZE(type, bytes) static_assert(sizeof(type) == (bytes), #type)
#else
#define VMBUS_ASSERT_SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), #type)
#endif

#define VMBUS_PACKED __attribute__((packed))

#define VMBUS_PAGE_SIZE 4096u
#define VMBUS_PAGE_SHIFT 12

/* -- Versions ------------------------------------------------------------- */

#define VMBUS_VERSION(major, minor) ((uint32_t)(major) << 16 | (uint32_t)(minor))

/* X(constant, major, minor, first Windows host) in ascending order */
#define VMBUS_VERSIONS(X)                                                                \
	X(V0_13, 0, 13, "2008")                                                          \
	X(V1_1, 1, 1, "2008 R2")                                                         \
	X(V2_4, 2, 4, "2012")                                                            \
	X(V3_0, 3, 0, "2012 R2")                                                         \
	X(V4_0, 4, 0, "2016")                                                            \
	X(V4_1, 4, 1, "1709")                                                            \
	X(V5_0, 5, 0, "1709")                                                            \
	X(V5_1, 5, 1, "1803")                                                            \
	X(V5_2, 5, 2, "2019")                                                            \
	X(V5_3, 5, 3, "2022")                                                            \
	X(V6_0, 6, 0, "2025")

enum vmbus_version {
#define X(constant, major, minor, host) VMBUS_##constant = (major) << 16 | (minor),
	VMBUS_VERSIONS(X)
#undef X
};

/* Feature flags, from 6.0 on: granted = requested and supported. */
#define VMBUS_FEATURE_GUEST_SIGNALS 0x01u      /* OPEN carries connection id and event flag */
#define VMBUS_FEATURE_INTERRUPT_REDIRECT 0x02u /* OPEN flags bit 0 */
#define VMBUS_FEATURE_MODIFY_CONNECTION 0x04u  /* messages 25, 26 */
#define VMBUS_FEATURE_CLIENT_ID 0x08u          /* INITIATE_CONTACT carries a client GUID */
#define VMBUS_FEATURE_CONFIDENTIAL 0x10u
#define VMBUS_FEATURE_PAUSE_RESUME 0x20u       /* messages 27 to 29 */
#define VMBUS_FEATURE_SERVER_MONITOR 0x40u
#define VMBUS_FEATURE_GPA_PINNING 0x80u

/* -- SynIC (TLFS 11) ------------------------------------------------------ */

#define VMBUS_SINT 2u
#define VMBUS_SINT_COUNT 16u
#define VMBUS_MESSAGE_TYPE 1u /* SynIC type of a VMBus control message */
#define VMBUS_MESSAGE_MAX 240u
#define VMBUS_EVENT_FLAGS 2048u /* a SINT; flag 0 is never a channel */
#define VMBUS_CHANNEL_MAX 2047u

#define VMBUS_CONN_MESSAGE 1u       /* control messages, classic */
#define VMBUS_CONN_EVENT 2u         /* shared event connection before 1.1 */
#define VMBUS_CONN_MONITOR 3u
#define VMBUS_CONN_MESSAGE_MULTI 4u /* INITIATE_CONTACT from 5.0 on */

#define VMBUS_VP_NONE 0xffffffffu /* OPEN: never interrupt the guest */

#define VMBUS_SYNIC_PENDING 0x01u /* slot flags: more messages wait */

struct vmbus_synic_message { /* a slot of the SIMP page, one a SINT */
	uint32_t type;       /* 0: the slot is empty */
	uint8_t payload_size;
	uint8_t flags;
	uint16_t reserved;
	uint64_t sender;
	uint8_t payload[VMBUS_MESSAGE_MAX];
};
VMBUS_ASSERT_SIZE(struct vmbus_synic_message, 256);

struct vmbus_synic_event_flags { /* a slice of the SIEFP page, one a SINT */
	uint64_t flags[VMBUS_EVENT_FLAGS / 64];
};
VMBUS_ASSERT_SIZE(struct vmbus_synic_event_flags, 256);

struct vmbus_post_message { /* input of HvCallPostMessage, 0x5c */
	uint32_t connection_id;
	uint32_t reserved;
	uint32_t type;
	uint32_t payload_size;
	uint8_t payload[VMBUS_MESSAGE_MAX];
};
VMBUS_ASSERT_SIZE(struct vmbus_post_message, 256);

#define HV_CALL_POST_MESSAGE 0x5cu
#define HV_CALL_SIGNAL_EVENT 0x5du

#define HV_STATUS_SUCCESS 0x00u
#define HV_STATUS_INVALID_HYPERCALL_CODE 0x02u
#define HV_STATUS_INVALID_HYPERCALL_INPUT 0x03u
#define HV_STATUS_INVALID_ALIGNMENT 0x04u
#define HV_STATUS_INVALID_PARAMETER 0x05u
#define HV_STATUS_INSUFFICIENT_MEMORY 0x0bu
#define HV_STATUS_INVALID_CONNECTION_ID 0x12u
#define HV_STATUS_INSUFFICIENT_BUFFERS 0x13u

/* -- Control messages ----------------------------------------------------- */

enum vmbus_message_type {
	VMBUS_MSG_INVALID = 0,
	VMBUS_MSG_OFFER = 1,
	VMBUS_MSG_RESCIND_OFFER = 2,
	VMBUS_MSG_REQUEST_OFFERS = 3,
	VMBUS_MSG_ALLOFFERS_DELIVERED = 4,
	VMBUS_MSG_OPEN_CHANNEL = 5,
	VMBUS_MSG_OPEN_RESULT = 6,
	VMBUS_MSG_CLOSE_CHANNEL = 7,
	VMBUS_MSG_GPADL_HEADER = 8,
	VMBUS_MSG_GPADL_BODY = 9,
	VMBUS_MSG_GPADL_CREATED = 10,
	VMBUS_MSG_GPADL_TEARDOWN = 11,
	VMBUS_MSG_GPADL_TORNDOWN = 12,
	VMBUS_MSG_RELID_RELEASED = 13,
	VMBUS_MSG_INITIATE_CONTACT = 14,
	VMBUS_MSG_VERSION_RESPONSE = 15,
	VMBUS_MSG_UNLOAD = 16,
	VMBUS_MSG_UNLOAD_COMPLETE = 17,
	VMBUS_MSG_OPEN_RESERVED = 18,
	VMBUS_MSG_CLOSE_RESERVED = 19,
	VMBUS_MSG_CLOSE_RESERVED_RESPONSE = 20,
	VMBUS_MSG_TL_CONNECT_REQUEST = 21,
	VMBUS_MSG_MODIFY_CHANNEL = 22,
	VMBUS_MSG_TL_CONNECT_RESULT = 23,
	VMBUS_MSG_MODIFY_CHANNEL_RESPONSE = 24,
	VMBUS_MSG_MODIFY_CONNECTION = 25,
	VMBUS_MSG_MODIFY_CONNECTION_RESPONSE = 26,
	VMBUS_MSG_PAUSE = 27,
	VMBUS_MSG_PAUSE_RESPONSE = 28,
	VMBUS_MSG_RESUME = 29,
	VMBUS_MSG_COUNT
};

struct vmbus_msg_header {
	uint32_t type;
	uint32_t padding;
};
VMBUS_ASSERT_SIZE(struct vmbus_msg_header, 8);

#define VMBUS_OFFER_ENUMERATE 0x0001u
#define VMBUS_OFFER_PIPE 0x0010u
#define VMBUS_OFFER_HVSOCK 0x2000u
#define VMBUS_USER_DEFINED 120u

struct vmbus_msg_offer {
	struct vmbus_msg_header header;
	struct vmbus_guid interface_id;
	struct vmbus_guid instance_id;
	uint64_t reserved[2];
	uint16_t flags; /* VMBUS_OFFER_* */
	uint16_t mmio_megabytes;
	uint8_t user_defined[VMBUS_USER_DEFINED];
	uint16_t subchannel_index; /* 0 = primary */
	uint16_t mmio_megabytes_optional;
	uint32_t channel_id; /* 1 to 2047 */
	uint8_t monitor_id;  /* 255 = none */
	uint8_t monitor_allocated;
	/* the next two from 1.1 on; older guests ignore the tail */
	uint16_t is_dedicated_interrupt;
	uint32_t connection_id; /* for HvCallSignalEvent */
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vmbus_msg_offer, 196);
#define VMBUS_OFFER_SIZE_V0 190u /* the part 0.13 guests know */

struct vmbus_msg_channel { /* RESCIND_OFFER, CLOSE_CHANNEL, RELID_RELEASED, CLOSE_RESERVED_RESPONSE */
	struct vmbus_msg_header header;
	uint32_t channel_id;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vmbus_msg_channel, 12);

struct vmbus_msg_open {
	struct vmbus_msg_header header;
	uint32_t channel_id;
	uint32_t open_id; /* echoed in OPEN_RESULT */
	uint32_t ring_gpadl;
	uint32_t target_vp;
	uint32_t downstream_page_offset; /* pages [0, off) upstream, [off, end) downstream */
	uint8_t user_defined[VMBUS_USER_DEFINED];
	/* the rest only with the features GUEST_SIGNALS or INTERRUPT_REDIRECT */
	uint32_t connection_id;
	uint16_t event_flag;
	uint16_t flags;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vmbus_msg_open, 156);
#define VMBUS_OPEN_SIZE_BASE 148u

struct vmbus_msg_open_result {
	struct vmbus_msg_header header;
	uint32_t channel_id;
	uint32_t open_id;
	uint32_t status; /* 0 = open */
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vmbus_msg_open_result, 20);

struct vmbus_msg_gpadl_header {
	struct vmbus_msg_header header;
	uint32_t channel_id;
	uint32_t gpadl;
	uint16_t range_buflen; /* bytes of the whole range array, all fragments */
	uint16_t range_count;
	/* u64 words of the range array follow: {u32 byte_count, u32 byte_offset, u64 pfn...} */
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vmbus_msg_gpadl_header, 20);
#define VMBUS_GPADL_HEADER_WORDS 27u /* that fit into one message */

struct vmbus_msg_gpadl_body {
	struct vmbus_msg_header header;
	uint32_t message_number; /* guests leave it 0 */
	uint32_t gpadl;
	/* u64 words follow */
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vmbus_msg_gpadl_body, 16);
#define VMBUS_GPADL_BODY_WORDS 28u

struct vmbus_msg_gpadl_created {
	struct vmbus_msg_header header;
	uint32_t channel_id;
	uint32_t gpadl;
	uint32_t status; /* 0 = accepted */
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vmbus_msg_gpadl_created, 20);

struct vmbus_msg_gpadl_teardown {
	struct vmbus_msg_header header;
	uint32_t channel_id;
	uint32_t gpadl;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vmbus_msg_gpadl_teardown, 16);

struct vmbus_msg_gpadl_torndown {
	struct vmbus_msg_header header;
	uint32_t gpadl;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vmbus_msg_gpadl_torndown, 12);

struct vmbus_msg_initiate_contact {
	struct vmbus_msg_header header;
	uint32_t version;
	uint32_t target_vp;
	union {
		uint64_t interrupt_page; /* GPA; before 5.0 */
		struct {
			uint8_t sint;      /* from 5.0 on, connection 4 only */
			uint8_t vtl;       /* from 5.1 on, connection 4 only */
			uint16_t reserved;
			uint32_t features; /* from 6.0 on */
		} v5;
	} u;
	uint64_t monitor_page_parent; /* GPAs; both or neither 0 */
	uint64_t monitor_page_child;
	struct vmbus_guid client_id; /* with feature CLIENT_ID only */
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vmbus_msg_initiate_contact, 56);
#define VMBUS_INITIATE_CONTACT_SIZE_BASE 40u

struct vmbus_msg_version_response {
	struct vmbus_msg_header header;
	uint8_t supported;
	uint8_t connection_state; /* from 2.4 on: 0 success */
	uint16_t padding;
	uint32_t version_or_connection_id; /* connection id for further messages from 5.0 on */
	uint32_t features;                 /* from 6.0 on, and only when supported */
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vmbus_msg_version_response, 20);
#define VMBUS_VERSION_RESPONSE_SIZE_BASE 16u

struct vmbus_msg_open_reserved {
	struct vmbus_msg_header header;
	uint32_t channel_id;
	uint32_t target_vp;
	uint32_t target_sint;
	uint32_t ring_gpadl;
	uint32_t downstream_page_offset;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vmbus_msg_open_reserved, 28);

struct vmbus_msg_close_reserved {
	struct vmbus_msg_header header;
	uint32_t channel_id;
	uint32_t target_vp;
	uint32_t target_sint;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vmbus_msg_close_reserved, 20);

struct vmbus_msg_tl_connect {
	struct vmbus_msg_header header;
	struct vmbus_guid endpoint_id;
	struct vmbus_guid service_id;
	struct vmbus_guid silo_id; /* from 5.2 on, when the message is long enough */
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vmbus_msg_tl_connect, 56);
#define VMBUS_TL_CONNECT_SIZE_BASE 40u

struct vmbus_msg_tl_connect_result {
	struct vmbus_msg_header header;
	struct vmbus_guid endpoint_id;
	struct vmbus_guid service_id;
	uint32_t status; /* NTSTATUS */
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vmbus_msg_tl_connect_result, 44);

struct vmbus_msg_modify_channel {
	struct vmbus_msg_header header;
	uint32_t channel_id;
	uint32_t target_vp;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vmbus_msg_modify_channel, 16);

struct vmbus_msg_modify_channel_response {
	struct vmbus_msg_header header;
	uint32_t channel_id;
	uint32_t status;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vmbus_msg_modify_channel_response, 16);

struct vmbus_msg_modify_connection {
	struct vmbus_msg_header header;
	uint64_t monitor_page_parent;
	uint64_t monitor_page_child;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vmbus_msg_modify_connection, 24);

struct vmbus_msg_modify_connection_response {
	struct vmbus_msg_header header;
	uint8_t connection_state;
	uint8_t padding[7];
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vmbus_msg_modify_connection_response, 16);

/* -- Ring control page ---------------------------------------------------- */

#define VMBUS_RING_FEATURE_PENDING_SIZE 0x01u

struct vmbus_ring_control {
	uint32_t in;  /* producer's byte offset of the next write */
	uint32_t out; /* consumer's byte offset of the next read */
	uint32_t interrupt_mask;
	uint32_t pending_send_size;
	uint32_t reserved1[12];
	uint32_t feature_bits;
	uint8_t reserved2[VMBUS_PAGE_SIZE - 68];
};
VMBUS_ASSERT_SIZE(struct vmbus_ring_control, 4096);

/* -- Packets -------------------------------------------------------------- */

enum vmbus_packet_type {
	VMBUS_PACKET_INBAND = 6,
	VMBUS_PACKET_TRANSFER_PAGES = 7,
	VMBUS_PACKET_GPA_DIRECT = 9,
	VMBUS_PACKET_CANCEL = 10,
	VMBUS_PACKET_COMPLETION = 11,
};

#define VMBUS_PACKET_COMPLETION_REQUESTED 0x0001u

struct vmbus_packet_descriptor {
	uint16_t type;
	uint16_t offset8; /* descriptor start to payload, in 8-byte units */
	uint16_t length8; /* without the trailer, in 8-byte units */
	uint16_t flags;
	uint64_t transaction_id; /* opaque: echoed, never interpreted */
};
VMBUS_ASSERT_SIZE(struct vmbus_packet_descriptor, 16);

#define VMBUS_PACKET_TRAILER 8u

struct vmbus_gpa_direct { /* after the descriptor of type 9; ranges follow */
	uint32_t reserved;
	uint32_t range_count;
};
VMBUS_ASSERT_SIZE(struct vmbus_gpa_direct, 8);

struct vmbus_gpa_range { /* u64 pfn[(byte_offset + byte_count + 4095) / 4096] follow */
	uint32_t byte_count;
	uint32_t byte_offset; /* into the first page */
};
VMBUS_ASSERT_SIZE(struct vmbus_gpa_range, 8);

struct vmbus_transfer_pages { /* after the descriptor of type 7; ranges follow */
	uint16_t set_id;
	uint16_t reserved;
	uint32_t range_count;
};
VMBUS_ASSERT_SIZE(struct vmbus_transfer_pages, 8);

struct vmbus_transfer_range {
	uint32_t byte_count;
	uint32_t byte_offset; /* into the receive buffer */
};
VMBUS_ASSERT_SIZE(struct vmbus_transfer_range, 8);

#endif
