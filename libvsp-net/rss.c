/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "rss.h"

#define TYPES (VSP_RSS_IPV4 | VSP_RSS_TCP_IPV4 | VSP_RSS_IPV6 | VSP_RSS_TCP_IPV6)
#define PROTOCOL_TCP 6u

void vsp_rss_set_key(struct vsp_rss *rss, const uint8_t key[VSP_RSS_KEY])
{
	memmove(rss->key, key, VSP_RSS_KEY);
	for (uint32_t bit = 0; bit < 36 * 8; bit++) {
		uint32_t byte = bit / 8, shift = bit % 8;
		uint64_t window = 0;

		for (uint32_t i = 0; i < 5; i++)
			window = window << 8 | (byte + i < VSP_RSS_KEY ? key[byte + i] : 0u);
		rss->windows[bit] = (uint32_t)(window >> (8 - shift));
	}
}

uint32_t vsp_rss_toeplitz(const struct vsp_rss *rss, const uint8_t *input, uint32_t len)
{
	uint32_t hash = 0;

	for (uint32_t i = 0; i < len && i < 36; i++)
		for (uint32_t bit = 0; bit < 8; bit++)
			if (input[i] & (0x80u >> bit))
				hash ^= rss->windows[i * 8 + bit];
	return hash;
}

uint32_t vsp_rss_hash(const struct vsp_rss *rss, const uint8_t *head, const struct vsp_frame *f,
		      uint32_t *hash)
{
	uint32_t addresses = f->version == 4 ? 8 : 32;
	uint32_t tcp = f->version == 4 ? VSP_RSS_TCP_IPV4 : VSP_RSS_TCP_IPV6;
	uint32_t any = f->version == 4 ? VSP_RSS_IPV4 : VSP_RSS_IPV6;
	uint8_t input[36];

	if (!f->version || !(rss->types & (tcp | any)))
		return 0;
	memcpy(input, head + f->ip + (f->version == 4 ? 12 : 8), addresses);
	if (rss->types & tcp && f->protocol == PROTOCOL_TCP && !f->fragment && f->transport &&
	    f->transport + 4u <= VSP_HEAD) {
		memcpy(input + addresses, head + f->transport, 4);
		*hash = vsp_rss_toeplitz(rss, input, addresses + 4);
		return VSP_RSS_TOEPLITZ | tcp;
	}
	if (!(rss->types & any))
		return 0;
	*hash = vsp_rss_toeplitz(rss, input, addresses);
	return VSP_RSS_TOEPLITZ | any;
}

/* The table repeated until it is full, cut if it is longer. */
static bool table_read(uint8_t table[VSP_RSS_ENTRIES], struct vmbus_cursor in, uint32_t offset,
		       uint32_t size, uint32_t max_channels)
{
	uint32_t entries = size / 4, value;

	if (size == 0 || size % 4 || offset > in.len || size > in.len - offset)
		return false;
	for (uint32_t i = 0; i < entries; i++) {
		memcpy(&value, in.data + offset + i * 4, 4);
		if (value >= max_channels)
			return false;
		if (i < VSP_RSS_ENTRIES)
			table[i] = (uint8_t)value;
	}
	for (uint32_t i = entries; i < VSP_RSS_ENTRIES; i++)
		table[i] = table[i % entries];
	return true;
}

uint32_t vsp_rss_set(struct vsp_rss *rss, uint32_t max_channels, struct vmbus_cursor in)
{
	struct vsp_ndis_rss_parameters p = {0};
	uint8_t table[VSP_RSS_ENTRIES];

	if (in.len < VSP_NDIS_RSS_PARAMETERS_MIN)
		return VSP_RNDIS_INVALID_LENGTH;
	memcpy(&p, in.data, in.len < sizeof(p) ? in.len : sizeof(p));
	if (p.flags & VSP_RSS_DISABLE || (!(p.flags & VSP_RSS_UNCHANGED_HASH) && !(p.hash & 0xff))) {
		rss->on = false;
		return VSP_RNDIS_SUCCESS;
	}
	if (!(p.flags & VSP_RSS_UNCHANGED_HASH) && (p.hash & 0xff) != VSP_RSS_TOEPLITZ)
		return VSP_RNDIS_INVALID_DATA;
	if (!(p.flags & VSP_RSS_UNCHANGED_TABLE) &&
	    !table_read(table, in, p.table_offset, p.table_size, max_channels))
		return VSP_RNDIS_INVALID_DATA;
	if (!(p.flags & VSP_RSS_UNCHANGED_KEY) &&
	    (p.key_size != VSP_RSS_KEY || p.key_offset > in.len || in.len - p.key_offset < VSP_RSS_KEY))
		return VSP_RNDIS_INVALID_DATA;
	if (!(p.flags & VSP_RSS_UNCHANGED_HASH))
		rss->types = p.hash & TYPES;
	if (!(p.flags & VSP_RSS_UNCHANGED_TABLE))
		memcpy(rss->table, table, sizeof(table));
	if (!(p.flags & VSP_RSS_UNCHANGED_KEY))
		vsp_rss_set_key(rss, in.data + p.key_offset);
	rss->on = true;
	return VSP_RNDIS_SUCCESS;
}
