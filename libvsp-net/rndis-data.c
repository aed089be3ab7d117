/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "rndis.h"

/* Whether @len bytes at @offset (counted from byte 8) lie between the fixed part and the
 * end of a message of @total bytes. */
static bool area_inside(uint32_t offset, uint32_t len, uint32_t total)
{
	uint64_t at = (uint64_t)offset + VSP_RNDIS_OFFSET_BASE;

	return at >= sizeof(struct vsp_rndis_packet) && at + len <= total;
}

int vsp_rndis_data_header(const struct vsp_rndis_packet *h, uint32_t available,
			  struct vsp_rndis_data *data)
{
	memset(data, 0, sizeof(*data));
	if (available < sizeof(*h) || h->header.length < sizeof(*h))
		return VMBUS_FAULT_TRUNCATED;
	if (h->header.type != VSP_RNDIS_PACKET || h->header.length > available)
		return VMBUS_FAULT_BAD_REQUEST;
	if (h->data_length == 0 || !area_inside(h->data_offset, h->data_length, h->header.length))
		return VMBUS_FAULT_BAD_REQUEST;
	if (h->info_length > VSP_RNDIS_INFO_MAX ||
	    (h->info_length && !area_inside(h->info_offset, h->info_length, h->header.length)))
		return VMBUS_FAULT_BAD_REQUEST;
	data->length = h->header.length;
	data->data_offset = h->data_offset + VSP_RNDIS_OFFSET_BASE;
	data->data_length = h->data_length;
	data->info_length = h->info_length;
	data->info_offset = h->info_length ? h->info_offset + VSP_RNDIS_OFFSET_BASE : 0;
	return VMBUS_FAULT_NONE;
}

static void info_take(struct vsp_rndis_data *data, uint32_t type, uint32_t value)
{
	switch (type) {
	case VSP_INFO_CHECKSUM:
		data->has_checksum = true;
		data->checksum = value;
		break;
	case VSP_INFO_LSO:
		data->has_lso = true;
		data->lso = value;
		break;
	case VSP_INFO_8021Q:
		data->has_vlan = true;
		data->vlan = value;
		break;
	case VSP_INFO_HASH:
		data->has_hash = true;
		data->hash = value;
		break;
	case VSP_INFO_HASH_INFO:
		data->hash_info = value;
		break;
	case VSP_INFO_PACKET_ID:
		data->has_packet_id = true;
		data->packet_id = value;
		break;
	default:
		break;
	}
}

int vsp_rndis_data_infos(struct vmbus_cursor infos, struct vsp_rndis_data *data)
{
	struct vsp_rndis_info info;
	struct vmbus_cursor entry, peek;
	uint32_t value;

	while (infos.len) {
		peek = infos;
		if (!vmbus_cursor_get(&peek, &info, sizeof(info)) || info.size < sizeof(info) ||
		    info.size % 4 != 0 || !vmbus_cursor_child(&infos, &entry, info.size))
			return VMBUS_FAULT_BAD_REQUEST;
		if (info.offset < sizeof(info) || info.offset > info.size)
			return VMBUS_FAULT_BAD_REQUEST;
		entry.data += info.offset;
		entry.len -= info.offset;
		if (vmbus_cursor_get(&entry, &value, sizeof(value)))
			info_take(data, info.type, value);
		else if (info.type == VSP_INFO_CHECKSUM || info.type == VSP_INFO_LSO ||
			 info.type == VSP_INFO_8021Q)
			return VMBUS_FAULT_BAD_REQUEST;
	}
	return VMBUS_FAULT_NONE;
}

static uint32_t info_write(uint8_t *out, uint32_t at, uint32_t type, uint32_t value)
{
	const struct vsp_rndis_info info = {.size = 16, .type = type, .offset = 12};

	memcpy(out + at, &info, sizeof(info));
	memcpy(out + at + sizeof(info), &value, sizeof(value));
	return at + 16;
}

uint32_t vsp_rndis_received_write(const struct vsp_rndis_received *r,
				  uint8_t out[VSP_RNDIS_RECEIVED_MAX])
{
	struct vsp_rndis_packet h = {
		.header = {VSP_RNDIS_PACKET, r->data_offset + r->data_length},
		.data_offset = r->data_offset - VSP_RNDIS_OFFSET_BASE,
		.data_length = r->data_length,
	};
	uint32_t at = sizeof(h);

	if (r->checksum)
		at = info_write(out, at, VSP_INFO_CHECKSUM, r->checksum);
	if (r->has_vlan)
		at = info_write(out, at, VSP_INFO_8021Q, r->vlan);
	if (r->hash_info) { /* FreeBSD and DPDK ignore either without the other */
		at = info_write(out, at, VSP_INFO_HASH, r->hash);
		at = info_write(out, at, VSP_INFO_HASH_INFO, r->hash_info);
	}
	if (r->piece)
		at = info_write(out, at, VSP_INFO_PACKET_ID, VSP_PIECE_VERSION | r->piece << 8);
	h.info_length = at - (uint32_t)sizeof(h);
	/* Linux (since 5.13) logs an error for each frame that has a place for infos, and none */
	h.info_offset = h.info_length ? (uint32_t)sizeof(h) - VSP_RNDIS_OFFSET_BASE : 0;
	memcpy(out, &h, sizeof(h));
	return at;
}
