/* SPDX-License-Identifier: MIT */
/* The guest role: which channel a frame goes by, in both directions. */
#include <string.h>

#include "netvsc.h"

#define HASH_TYPES (VSP_RSS_IPV4 | VSP_RSS_TCP_IPV4 | VSP_RSS_IPV6 | VSP_RSS_TCP_IPV6)

/* The key of Microsoft's verification suite, which Linux had for its own for long, too. */
static const uint8_t key[VSP_RSS_KEY] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

int vsp_netvsc_set_rss(struct vsp_netvsc *n, const uint32_t *table, uint32_t entries)
{
	const uint32_t size = entries * (uint32_t)sizeof(table[0]);
	struct vsp_ndis_rss_parameters p = {
		.header = {VSP_NDIS_RSS_PARAMETERS, 2, sizeof(p)},
		.flags = entries ? 0 : VSP_RSS_DISABLE,
		.hash = HASH_TYPES | VSP_RSS_TOEPLITZ,
		.table_size = (uint16_t)size,
		.table_offset = sizeof(p),
		.key_size = sizeof(key),
		.key_offset = (uint32_t)sizeof(p) + size,
	};
	uint8_t info[sizeof(p) + VSP_RSS_ENTRIES * sizeof(table[0]) + sizeof(key)];

	if (entries > VSP_RSS_ENTRIES)
		return NETVSC_EINVAL;
	memcpy(info, &p, sizeof(p));
	if (size)
		memcpy(info + p.table_offset, table, size);
	memcpy(info + p.key_offset, key, sizeof(key));
	return vsp_netvsc_request(n, VSP_RNDIS_SET, 0x00010204, info,
				  p.key_offset + (uint32_t)sizeof(key));
}

/* Before the host's table has come, and where it names a channel that there is not (more were
 * offered than opened), flows are spread as if it had named all in turn. */
uint32_t vsp_netvsc_send_channel(const struct vsp_netvsc *n, uint32_t hash, uint32_t channels)
{
	uint32_t entry = hash % VSP_NVSP_INDIRECTION;

	return (n->primary->tables ? n->primary->send_table[entry] : entry) % channels;
}
