/* SPDX-License-Identifier: MIT */
/* NVSP, the host's side: one table says what each message is, a state machine says when
 * it may come. Pure: bytes in, an answer and calls of struct vsp_nvsp_ops out.
 *
 * A message that breaks the rules gets its own failure answer and changes nothing; the
 * adapter goes on. */
#ifndef VSP_NVSP_H
#define VSP_NVSP_H

#include <stdbool.h>
#include <stdint.h>

#include <vmbus/fault.h>
#include <vsp/nvsp-wire.h>

#define VSP_NVSP_MTU_MIN 1514u /* what an adapter may be set to, Ethernet header included */
#define VSP_NVSP_MTU_MAX 9216u

/* The moves are in nvsp.c. */
#define VSP_NVSP_STATES(X)                                                               \
	X(WAIT, "waiting for a version both sides know")                                 \
	X(SETUP, "version agreed; configuration and buffers come in any order")          \
	X(READY, "configuration, NDIS version and receive buffer are there: RNDIS flows") \
	X(REVOKED, "the receive buffer was taken back; only close or a new one follow")

enum vsp_nvsp_state {
#define X(name, comment) VSP_NVSP_STATE_##name,
	VSP_NVSP_STATES(X)
#undef X
	VSP_NVSP_STATE_COUNT
};

struct vsp_nvsp_ops {
	/* Maps the guest's receive buffer and cuts it into slots for frames of @mtu (Ethernet
	 * header included). Fills offset, slot_size, slots, end. Returns 0, or anything else:
	 * the guest is told of a failure. */
	int (*receive_buffer)(void *opaque, uint32_t gpadl, uint16_t id, uint32_t mtu,
			      struct vsp_nvsp_recv_buf_complete *layout);
	int (*send_buffer)(void *opaque, uint32_t gpadl);
	/* The buffer is the guest's again when this returns. */
	void (*revoke)(void *opaque, bool receive);
	/* Offers up to @count sub-channels. Returns how many, 0: none. */
	uint32_t (*sub_channels)(void *opaque, uint32_t count);
};

struct vsp_nvsp {
	const struct vsp_nvsp_ops *ops;
	void *opaque;
	uint32_t max_version; /* newest to accept */

	enum vsp_nvsp_state state;
	uint32_t version; /* 0: not agreed */
	bool has_config, has_ndis_version, has_receive, has_send;
	uint32_t mtu; /* Ethernet header included */
	uint64_t capabilities;
	uint32_t ndis_major, ndis_minor;
	uint16_t receive_id;
	uint32_t sub_channels; /* granted */
};

/* What to send when the guest asked for a completion; len 0: an empty one. */
struct vsp_nvsp_reply {
	uint32_t len;
	struct vsp_nvsp_message message;
};

/* Back to the state of a freshly opened channel. */
void vsp_nvsp_reset(struct vsp_nvsp *nvsp);

/* Handles any message but RNDIS ones, @len private bytes. @sub: it came on a
 * sub-channel. Always fills @reply. Returns 0 or the fault. */
int vsp_nvsp_message(struct vsp_nvsp *nvsp, const void *message, uint32_t len, bool sub,
		     struct vsp_nvsp_reply *reply);

/* Checks an RNDIS message (107) against state and length and fills @rndis. Returns 0 or
 * the fault. */
int vsp_nvsp_rndis(const struct vsp_nvsp *nvsp, const void *message, uint32_t len,
		   struct vsp_nvsp_rndis *rndis);

/* A buffer is gone without a REVOKE. */
void vsp_nvsp_lost(struct vsp_nvsp *nvsp, bool receive);

/* Size of a message from the host in the agreed version. */
uint32_t vsp_nvsp_size(const struct vsp_nvsp *nvsp);

/* The completion of an RNDIS message, for a guest that asked for it. */
void vsp_nvsp_rndis_complete(struct vsp_nvsp_reply *reply, enum vsp_nvsp_status status);

/* "NDIS_CONFIG", or NULL. For logs and tests. */
const char *vsp_nvsp_name(uint32_t type);

#endif
