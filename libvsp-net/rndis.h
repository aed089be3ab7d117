/* SPDX-License-Identifier: MIT */
/* RNDIS, both directions of it as the host sees them: data messages with their per-packet
 * information, and control messages. Pure: private bytes in, facts and answers out. */
#ifndef VSP_RNDIS_H
#define VSP_RNDIS_H

#include <stdbool.h>
#include <stdint.h>

#include <vmbus/cursor.h>
#include <vmbus/fault.h>
#include <vsp/rndis-wire.h>

#include "adapter.h"

/* -- Data ----------------------------------------------------------------- */

#define VSP_RNDIS_INFO_MAX 256u /* bytes of per-packet information taken from a guest */

/* A data message: where the frame is, and what is said about it. Offsets are from the
 * message's first byte. */
struct vsp_rndis_data {
	uint32_t length; /* of the whole message */
	uint32_t data_offset, data_length;
	uint32_t info_offset, info_length; /* <= VSP_RNDIS_INFO_MAX */
	bool has_checksum, has_lso, has_vlan, has_hash, has_packet_id;
	uint32_t checksum, lso, vlan, hash, packet_id; /* the values of VSP_INFO_* */
	uint32_t hash_info; /* 0: none */
};

/* The fixed part of a data message in front of @available bytes, itself included.
 * Returns 0, VMBUS_FAULT_TRUNCATED or VMBUS_FAULT_BAD_REQUEST. */
int vsp_rndis_data_header(const struct vsp_rndis_packet *header, uint32_t available,
			  struct vsp_rndis_data *data);

/* The per-packet information: exactly data->info_length bytes. Types that mean nothing
 * here are skipped. Returns 0 or VMBUS_FAULT_BAD_REQUEST. */
int vsp_rndis_data_infos(struct vmbus_cursor infos, struct vsp_rndis_data *data);

/* What is said to the guest about a received frame. */
struct vsp_rndis_received {
	uint32_t data_offset, data_length; /* offset from the message's first byte */
	uint32_t checksum;                 /* VSP_CSUM_RX_*; 0: nothing known */
	bool has_vlan;
	uint32_t vlan;
	uint32_t hash_info; /* VSP_RSS_TOEPLITZ | what was hashed; 0: there is no hash */
	uint32_t hash;
	uint32_t piece; /* VSP_PIECE*; 0: a frame in one piece */
};

#define VSP_RNDIS_RECEIVED_MAX (sizeof(struct vsp_rndis_packet) + 5u * 16u)

/* Writes the message in front of a frame; data_offset must leave room for it. Returns
 * its length up to the gap before the data. Every entry is 16 bytes long with its value at 12:
 * Linux' parser spins for ever on less regular ones. */
uint32_t vsp_rndis_received_write(const struct vsp_rndis_received *received,
				  uint8_t out[VSP_RNDIS_RECEIVED_MAX]);

/* -- Control -------------------------------------------------------------- */

#define VSP_RNDIS_REQUEST_MAX 4096u /* bytes of a control message taken from a guest */
#define VSP_RNDIS_REPLY_MAX 1024u

struct vsp_rndis_reply {
	uint32_t len; /* 0: nothing to send */
	uint8_t bytes[VSP_RNDIS_REPLY_MAX];
};

/* Whether a message of @len bytes is a control message that guests may send, and whole.
 * Returns 0 or the fault. */
int vsp_rndis_check(const void *message, uint32_t len);

/* Handles a control message, private bytes, for @adapter, whose `changed` tells what
 * became different. Always fills @reply. Returns 0, or the fault of a message that has no
 * answer of its own. */
int vsp_rndis_control(struct vsp_adapter *adapter, const void *message, uint32_t len,
		      struct vsp_rndis_reply *reply);

/* INDICATE_STATUS with @len <= 512 bytes of buffer. */
void vsp_rndis_indicate(struct vsp_rndis_reply *reply, uint32_t status, const void *buffer,
			uint32_t len);

#endif
