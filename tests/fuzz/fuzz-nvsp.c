/* SPDX-License-Identifier: MIT */
/* A session of NVSP messages: each {u8 flags (1: on a sub-channel), u8 length, bytes}. */
#include <stdlib.h>
#include <string.h>

#include "nvsp.h"

static int buffer_take(void *opaque, uint32_t gpadl, uint16_t id, uint32_t mtu,
		       struct vsp_nvsp_recv_buf_complete *layout)
{
	(void)opaque;
	(void)id;
	if (mtu < VSP_NVSP_MTU_MIN || mtu > VSP_NVSP_MTU_MAX)
		abort();
	layout->slots = 100;
	return gpadl & 1;
}

static int send_buffer_take(void *opaque, uint32_t gpadl)
{
	(void)opaque;
	return gpadl & 1;
}

static void buffer_revoke(void *opaque, bool receive)
{
	(void)opaque;
	(void)receive;
}

static uint32_t channels_offer(void *opaque, uint32_t count)
{
	(void)opaque;
	return count < 8 ? count : 8;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vsp_nvsp_ops ops = {buffer_take, send_buffer_take, buffer_revoke,
						channels_offer};
	struct vsp_nvsp nvsp = {.ops = &ops, .max_version = VSP_NVSP_V61};
	struct vsp_nvsp_reply reply;
	struct vsp_nvsp_rndis rndis;

	while (size >= 2 && data[1] <= size - 2) {
		(void)vsp_nvsp_message(&nvsp, data + 2, data[1], data[0] & 1, &reply);
		(void)vsp_nvsp_rndis(&nvsp, data + 2, data[1], &rndis);
		if (reply.len != 0 && reply.len != VSP_NVSP_SIZE && reply.len != VSP_NVSP_SIZE_V61)
			abort();
		if (nvsp.state == VSP_NVSP_STATE_READY && !nvsp.has_receive)
			abort();
		size -= 2u + data[1];
		data += 2u + data[1];
	}
	return 0;
}
