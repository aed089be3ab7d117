/* SPDX-License-Identifier: MIT */
/* RNDIS and the NDIS structures in it, as a synthetic network adapter uses them.
 * Little-endian. Offsets in messages count from byte 8, the field behind the
 * length. Facts: Microsoft's Remote NDIS and NDIS documentation, Linux
 * drivers/net/hyperv/{hyperv_net,rndis_filter}. */
#ifndef VSP_RNDIS_WIRE_H
#define VSP_RNDIS_WIRE_H

#include <stdint.h>

#include <vmbus/wire.h>

enum vsp_rndis_type {
	VSP_RNDIS_PACKET = 0x00000001,
	VSP_RNDIS_INITIALIZE = 0x00000002,
	VSP_RNDIS_HALT = 0x00000003,
	VSP_RNDIS_QUERY = 0x00000004,
	VSP_RNDIS_SET = 0x00000005,
	VSP_RNDIS_RESET = 0x00000006,
	VSP_RNDIS_INDICATE = 0x00000007,
	VSP_RNDIS_KEEPALIVE = 0x00000008,
	VSP_RNDIS_SET_EX = 0x00000009,
};
#define VSP_RNDIS_COMPLETE 0x80000000u /* of the request with this type */

enum vsp_rndis_status {
	VSP_RNDIS_SUCCESS = 0x00000000,
	VSP_RNDIS_MEDIA_CONNECT = 0x4001000b,
	VSP_RNDIS_MEDIA_DISCONNECT = 0x4001000c,
	VSP_RNDIS_LINK_SPEED_CHANGE = 0x40010013,
	VSP_RNDIS_NETWORK_CHANGE = 0x40010018,
	VSP_RNDIS_OFFLOAD_CURRENT_CONFIG = 0x40020006,
};
/* Not constants of the enum: they do not fit an int */
#define VSP_RNDIS_FAILURE 0xc0000001u
#define VSP_RNDIS_RESOURCES 0xc000009au
#define VSP_RNDIS_NOT_SUPPORTED 0xc00000bbu
#define VSP_RNDIS_BAD_VERSION 0xc0010004u
#define VSP_RNDIS_MULTICAST_FULL 0xc0010009u
#define VSP_RNDIS_INVALID_LENGTH 0xc0010014u
#define VSP_RNDIS_INVALID_DATA 0xc0010015u

#define VSP_RNDIS_OFFSET_BASE 8u
#define VSP_RNDIS_VERSION_MAJOR 1u
#define VSP_RNDIS_MAX_PACKETS 8u      /* messages in one packet, as Hyper-V says */
#define VSP_RNDIS_MAX_TRANSFER 0xefffffffu
#define VSP_RNDIS_ALIGNMENT 3u        /* messages in one packet start at multiples of 8 */

struct vsp_rndis_header {
	uint32_t type;
	uint32_t length; /* of the whole message */
};
VMBUS_ASSERT_SIZE(struct vsp_rndis_header, 8);

struct vsp_rndis_initialize {
	struct vsp_rndis_header header;
	uint32_t request_id;
	uint32_t major, minor;
	uint32_t max_transfer;
};
VMBUS_ASSERT_SIZE(struct vsp_rndis_initialize, 24);

struct vsp_rndis_initialize_complete {
	struct vsp_rndis_header header;
	uint32_t request_id;
	uint32_t status;
	uint32_t major, minor;
	uint32_t device_flags; /* 1: connectionless */
	uint32_t medium;       /* 0: 802.3 */
	uint32_t max_packets;
	uint32_t max_transfer;
	uint32_t alignment; /* log2 */
	uint32_t af_list_offset, af_list_size;
};
VMBUS_ASSERT_SIZE(struct vsp_rndis_initialize_complete, 52);

struct vsp_rndis_oid_request { /* QUERY, SET, SET_EX */
	struct vsp_rndis_header header;
	uint32_t request_id;
	uint32_t oid;
	uint32_t info_length;
	uint32_t info_offset; /* 20 where the info follows */
	uint32_t vc_handle;
};
VMBUS_ASSERT_SIZE(struct vsp_rndis_oid_request, 28);

struct vsp_rndis_query_complete { /* also SET_EX_COMPLETE */
	struct vsp_rndis_header header;
	uint32_t request_id;
	uint32_t status;
	uint32_t info_length;
	uint32_t info_offset; /* 16, even where nothing follows: Linux refuses less */
};
VMBUS_ASSERT_SIZE(struct vsp_rndis_query_complete, 24);

struct vsp_rndis_complete { /* SET_COMPLETE, KEEPALIVE_COMPLETE */
	struct vsp_rndis_header header;
	uint32_t request_id;
	uint32_t status;
};
VMBUS_ASSERT_SIZE(struct vsp_rndis_complete, 16);

struct vsp_rndis_request { /* HALT, KEEPALIVE; RESET, whose id is reserved */
	struct vsp_rndis_header header;
	uint32_t request_id;
};
VMBUS_ASSERT_SIZE(struct vsp_rndis_request, 12);

struct vsp_rndis_reset_complete { /* without a request id */
	struct vsp_rndis_header header;
	uint32_t status;
	uint32_t addressing_reset;
};
VMBUS_ASSERT_SIZE(struct vsp_rndis_reset_complete, 16);

struct vsp_rndis_indicate {
	struct vsp_rndis_header header;
	uint32_t status;
	uint32_t buffer_length;
	uint32_t buffer_offset; /* 12 where a buffer follows, else 0 */
};
VMBUS_ASSERT_SIZE(struct vsp_rndis_indicate, 20);

struct vsp_rndis_packet {
	struct vsp_rndis_header header;
	uint32_t data_offset, data_length;
	uint32_t oob_offset, oob_length, oob_count;
	uint32_t info_offset, info_length; /* per-packet information */
	uint32_t vc_handle, reserved;
};
VMBUS_ASSERT_SIZE(struct vsp_rndis_packet, 44);

/* -- Per-packet information ----------------------------------------------- */

struct vsp_rndis_info {
	uint32_t size;   /* of the whole entry, a multiple of 4 */
	uint32_t type;   /* bit 31: the internal name space */
	uint32_t offset; /* of the value, from the start of the entry: 12 */
};
VMBUS_ASSERT_SIZE(struct vsp_rndis_info, 12);

#define VSP_INFO_CHECKSUM 0u
#define VSP_INFO_LSO 2u
#define VSP_INFO_8021Q 6u
#define VSP_INFO_HASH 8u
#define VSP_INFO_HASH_INFO 9u /* to the guest: what was hashed, and how; VSP_RSS_* */
#define VSP_INFO_PACKET_ID 0x80000001u

/* CHECKSUM from the guest: what to compute; the transport header's offset in bits 16 to 25 */
#define VSP_CSUM_TX_IPV4 0x01u
#define VSP_CSUM_TX_IPV6 0x02u
#define VSP_CSUM_TX_TCP 0x04u
#define VSP_CSUM_TX_UDP 0x08u
#define VSP_CSUM_TX_IP_HEADER 0x10u
/* CHECKSUM to the guest: what was found */
#define VSP_CSUM_RX_TCP_BAD 0x01u
#define VSP_CSUM_RX_UDP_BAD 0x02u
#define VSP_CSUM_RX_IP_BAD 0x04u
#define VSP_CSUM_RX_TCP_GOOD 0x08u
#define VSP_CSUM_RX_UDP_GOOD 0x10u
#define VSP_CSUM_RX_IP_GOOD 0x20u
#define VSP_CSUM_RX_TCP_NO_VALUE 0x80u /* verified, but the field is not filled in */
#define VSP_CSUM_RX_IP_NO_VALUE 0x100u

/* LSO: MSS in bits 0 to 19, TCP header's offset in 20 to 29 */
#define VSP_LSO_V2 0x40000000u
#define VSP_LSO_IPV6 0x80000000u
#define VSP_LSO_MAX 0xf53cu /* largest frame, as Hyper-V says */
#define VSP_LSO_MIN_SEGMENTS 2u

/* PACKET_ID: a piece of a coalesced frame (RSC) */
#define VSP_PIECE_VERSION 1u
#define VSP_PIECE 0x1u
#define VSP_PIECE_FIRST 0x2u
#define VSP_PIECE_LAST 0x4u
#define VSP_PIECES_MAX 562u /* ranges that Linux takes in one packet */
#define VSP_RANGES_MAX 375u /* the same without RSC */

/* -- OIDs ----------------------------------------------------------------- */

#define VSP_FILTER_DIRECTED 0x01u
#define VSP_FILTER_MULTICAST 0x02u
#define VSP_FILTER_ALL_MULTICAST 0x04u
#define VSP_FILTER_BROADCAST 0x08u
#define VSP_FILTER_PROMISCUOUS 0x20u

struct vsp_ndis_object {
	uint8_t type, revision;
	uint16_t size;
};
VMBUS_ASSERT_SIZE(struct vsp_ndis_object, 4);

#define VSP_NDIS_DEFAULT 0x80u
#define VSP_NDIS_RSS_CAPABILITIES 0x88u
#define VSP_NDIS_RSS_PARAMETERS 0x89u
#define VSP_NDIS_OFFLOAD 0xa7u
#define VSP_NDIS_OFFLOAD_ENCAPSULATION 0xa8u

#define VSP_NDIS_ENCAPSULATION_8023 2u

struct vsp_ndis_checksum { /* of one IP version and direction */
	uint32_t encapsulation;
	uint32_t flags; /* VSP_NDIS_CSUM_* */
};
#define VSP_NDIS_CSUM_IP_OPTIONS 0x001u /* IPv6: extension headers */
#define VSP_NDIS_CSUM_TCP_OPTIONS 0x004u
#define VSP_NDIS_CSUM_TCP 0x010u
#define VSP_NDIS_CSUM_UDP 0x040u
#define VSP_NDIS_CSUM_IP_HEADER 0x100u

struct vsp_ndis_offload { /* revision 3: Linux takes no longer one */
	struct vsp_ndis_object header;
	struct vsp_ndis_checksum ipv4_tx, ipv4_rx, ipv6_tx, ipv6_rx;
	uint32_t lso_v1[4];
	uint32_t ipsec_v1[7];
	struct {
		uint32_t encapsulation, max_size, min_segments;
	} lso_ipv4;
	struct {
		uint32_t encapsulation, max_size, min_segments, flags;
	} lso_ipv6;
	uint32_t flags;
	uint32_t ipsec_v2[8];
	uint8_t rsc_ipv4, rsc_ipv6, pad[2];
	uint32_t nvgre_flags, nvgre_max_header;
};
VMBUS_ASSERT_SIZE(struct vsp_ndis_offload, 156);

struct vsp_ndis_offload_parameters {
	struct vsp_ndis_object header;
	uint8_t ipv4_checksum, tcp_ipv4_checksum, udp_ipv4_checksum;
	uint8_t tcp_ipv6_checksum, udp_ipv6_checksum;
	uint8_t lso_v1, ipsec_v1, lso_v2_ipv4, lso_v2_ipv6;
	uint8_t connection_ipv4, connection_ipv6, reserved;
	uint32_t flags;                 /* end of revision 1 */
	uint8_t ipsec_v2, ipsec_v2_ipv4; /* end of revision 2 */
	uint8_t rsc_ipv4, rsc_ipv6;
	uint8_t encapsulated, encapsulated_types, pad[2];
};
VMBUS_ASSERT_SIZE(struct vsp_ndis_offload_parameters, 28);
#define VSP_NDIS_OFFLOAD_PARAMETERS_MIN 20u
/* values: checksums 0 unchanged, 1 off, 2 send, 3 receive, 4 both; others 0, 1 off, 2 on */

struct vsp_ndis_encapsulation {
	struct vsp_ndis_object header;
	struct {
		uint32_t enabled, type, header_size;
	} ipv4, ipv6;
};
VMBUS_ASSERT_SIZE(struct vsp_ndis_encapsulation, 28);

struct vsp_ndis_rss_capabilities { /* revision 2: Linux takes exactly this */
	struct vsp_ndis_object header;
	uint32_t flags;
	uint32_t interrupts;
	uint32_t queues;
	uint16_t entries;
} VMBUS_PACKED;
VMBUS_ASSERT_SIZE(struct vsp_ndis_rss_capabilities, 18);
#define VSP_NDIS_RSS_CAP_TOEPLITZ 0x001u
#define VSP_NDIS_RSS_CAP_TCP_IPV4 0x100u
#define VSP_NDIS_RSS_CAP_TCP_IPV6 0x200u

struct vsp_ndis_rss_parameters { /* revision 2; table and key follow */
	struct vsp_ndis_object header;
	uint16_t flags;
	uint16_t base_cpu;
	uint32_t hash; /* function in the low byte, types above */
	uint16_t table_size, pad1;
	uint32_t table_offset;
	uint16_t key_size, pad2;
	uint32_t key_offset;
	uint32_t masks_offset, masks, mask_size;
};
VMBUS_ASSERT_SIZE(struct vsp_ndis_rss_parameters, 40);
#define VSP_NDIS_RSS_PARAMETERS_MIN 28u
#define VSP_RSS_UNCHANGED_HASH 0x02u
#define VSP_RSS_UNCHANGED_TABLE 0x04u
#define VSP_RSS_UNCHANGED_KEY 0x08u
#define VSP_RSS_DISABLE 0x10u
#define VSP_RSS_TOEPLITZ 0x01u
#define VSP_RSS_IPV4 0x0100u
#define VSP_RSS_TCP_IPV4 0x0200u
#define VSP_RSS_IPV6 0x0400u
#define VSP_RSS_TCP_IPV6 0x1000u
#define VSP_RSS_KEY 40u
#define VSP_RSS_ENTRIES 128u

struct vsp_ndis_link_state {
	struct vsp_ndis_object header;
	uint32_t connect; /* 1 connected, 2 disconnected */
	uint32_t duplex;  /* 2 full */
	uint32_t pad;
	uint64_t transmit_bps, receive_bps;
	uint32_t pause, negotiation;
};
VMBUS_ASSERT_SIZE(struct vsp_ndis_link_state, 40);

struct vsp_ndis_link_speed {
	uint64_t transmit_bps, receive_bps;
};
VMBUS_ASSERT_SIZE(struct vsp_ndis_link_speed, 16);

struct vsp_rndis_config_parameter { /* offsets from the start of this structure */
	uint32_t name_offset, name_length; /* bytes; UTF-16LE */
	uint32_t type;                     /* VSP_RNDIS_PARAMETER_* */
	uint32_t value_offset, value_length;
};
VMBUS_ASSERT_SIZE(struct vsp_rndis_config_parameter, 20);
#define VSP_RNDIS_PARAMETER_INTEGER 0u
#define VSP_RNDIS_PARAMETER_HEX 1u /* an integer shown in hexadecimal */
#define VSP_RNDIS_PARAMETER_STRING 2u

#endif
