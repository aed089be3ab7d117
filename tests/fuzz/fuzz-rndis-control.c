/* SPDX-License-Identifier: MIT */
/* A session of RNDIS control messages: each {u16 length, bytes}. */
#include <stdlib.h>
#include <string.h>

#include "rndis.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vsp_adapter a;
	struct vsp_rndis_reply reply;

	memset(&a, 0, sizeof(a));
	a.max_channels = 4;
	a.nic_offloads = VSP_NIC_CSUM | VSP_NIC_TSO4 | VSP_NIC_TSO6;
	a.allow_mac_change = true;
	vsp_adapter_reset(&a);
	a.ndis_major = 6;
	a.ndis_minor = 30;
	a.rsc_allowed = true;
	while (size >= 2) {
		uint32_t len = data[0] | (uint32_t)data[1] << 8, replied;

		if (len > size - 2)
			break;
		(void)vsp_rndis_control(&a, data + 2, len, &reply);
		if (reply.len) { /* the length in the message is the message's */
			memcpy(&replied, reply.bytes + 4, sizeof(replied));
			if (replied != reply.len || reply.len > VSP_RNDIS_REPLY_MAX)
				abort();
		}
		if (a.multicast_count > VSP_MULTICAST_MAX || a.mac[0] & 1)
			abort();
		for (size_t i = 0; i < VSP_RSS_ENTRIES; i++)
			if (a.rss.table[i] >= a.max_channels)
				abort();
		size -= 2 + len;
		data += 2 + len;
	}
	return 0;
}
