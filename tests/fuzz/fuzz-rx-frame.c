/* SPDX-License-Identifier: MIT */
/* A frame of the nic with its virtio-net header, up to the message for the guest. The
 * first byte cuts the frame into head and rest. */
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "rndis.h"
#include "rss.h"

static void frame_run(const struct vsp_vnet_header *h, uint8_t *head, uint32_t head_len, uint8_t *rest,
		      uint32_t rest_len)
{
	static struct vsp_rss rss = {.on = true, .types = 0x1701};
	const struct iovec iov = {rest, rest_len};
	struct vsp_rndis_received message = {.data_offset = 126};
	struct vsp_frame_received r;
	uint8_t out[VSP_RNDIS_RECEIVED_MAX];
	struct vsp_frame f;

	if (!vsp_frame_parse(head, head_len, &f) ||
	    !vsp_frame_received(h, &f, head_len, head_len + rest_len, &r))
		return;
	message.hash_info = vsp_rss_hash(&rss, head, &f, &message.hash);
	if (r.sum_needed)
		vsp_frame_complete(&r, head, head_len, &iov, 1, rest_len);
	message.data_length = head_len + rest_len;
	if (r.vlan)
		message.data_length -= vsp_frame_untag(head);
	message.has_vlan = r.vlan;
	message.vlan = r.vlan_info;
	message.checksum = r.checksum;
	message.piece = r.gso ? VSP_PIECE | VSP_PIECE_FIRST : 0;
	if (vsp_rndis_received_write(&message, out) > message.data_offset)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vsp_vnet_header h;
	uint32_t len, head_len;
	uint8_t *head, *rest;

	if (size < 1 + sizeof(h))
		return 0;
	memcpy(&h, data + 1, sizeof(h));
	len = (uint32_t)(size - 1 - sizeof(h));
	head_len = data[0] < VSP_HEAD ? data[0] : VSP_HEAD;
	if (head_len > len)
		head_len = len;
	head = malloc(head_len ? head_len : 1u);
	rest = malloc(len - head_len + 1u);
	if (head && rest) {
		memcpy(head, data + 1 + sizeof(h), head_len);
		memcpy(rest, data + 1 + sizeof(h) + head_len, len - head_len);
		frame_run(&h, head, head_len, rest, len - head_len);
	}
	free(head);
	free(rest);
	return 0;
}
