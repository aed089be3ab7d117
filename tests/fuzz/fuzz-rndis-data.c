/* SPDX-License-Identifier: MIT */
/* One RNDIS data message of a guest, down to the virtio-net header of its frame. */
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "rndis.h"

static void header_check(const struct vsp_vnet_header *h, uint32_t head_len, uint32_t len)
{
	if (head_len > VSP_HEAD + VSP_VLAN_TAG)
		abort();
	if (h->flags && (uint32_t)h->csum_start + h->csum_offset + 2 > len)
		abort();
	if (h->gso_type && (h->gso_size == 0 || h->header_len > len || !h->flags))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vsp_rndis_packet header;
	struct vsp_rndis_data message;
	struct vsp_vnet_header h;
	uint32_t head_len, done;
	uint8_t *head;

	if (size < sizeof(header))
		return 0;
	memcpy(&header, data, sizeof(header));
	if (vsp_rndis_data_header(&header, (uint32_t)size, &message))
		return 0;
	if (vsp_rndis_data_infos(vmbus_cursor_of(data + message.info_offset, message.info_length),
				 &message))
		return 0;
	head_len = message.data_length < VSP_HEAD ? message.data_length : VSP_HEAD;
	head = malloc(head_len + VSP_VLAN_TAG);
	if (!head)
		return 0;
	memcpy(head, data + message.data_offset, head_len);
	done = vsp_frame_transmit(&message, head, head_len, message.data_length, &h);
	if (done)
		header_check(&h, done, message.data_length + done - head_len);
	free(head);
	return 0;
}
