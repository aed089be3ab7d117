/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "adapter.h"

#define MAC_PARAMETER "NetworkAddress"
#define SPEED_UNKNOWN_IS 10000000000ull /* bit/s: what guests are told then */

void vsp_adapter_reset(struct vsp_adapter *a)
{
	a->mtu = 1514;
	a->ndis_major = a->ndis_minor = 0;
	a->rsc_allowed = false;
	memcpy(a->mac, a->permanent_mac, sizeof(a->mac));
	vsp_adapter_restart(a);
	a->changed = 0;
	if (!a->speed_bps)
		a->speed_bps = SPEED_UNKNOWN_IS;
}

/* Coalesced frames are only for guests that ask for them. */
void vsp_adapter_restart(struct vsp_adapter *a)
{
	a->initialized = false;
	a->filter = 0;
	a->multicast_count = 0;
	memset(&a->rss, 0, sizeof(a->rss));
	a->offloads = vsp_adapter_possible(a);
	a->offloads.rsc4 = a->offloads.rsc6 = false;
	a->changed |= VSP_CHANGED_RESET;
}

struct vsp_offloads vsp_adapter_possible(const struct vsp_adapter *a)
{
	bool csum = a->nic_offloads & VSP_NIC_CSUM;
	bool tso4 = csum && a->nic_offloads & VSP_NIC_TSO4;
	bool tso6 = csum && a->nic_offloads & VSP_NIC_TSO6;
	struct vsp_offloads o = {
		.ip4_tx = true, /* in software: Windows wants it where it has LSO */
		.tcp4_tx = csum,
		.udp4_tx = csum,
		.tcp6_tx = csum,
		.udp6_tx = csum,
		.ip4_rx = csum,
		.tcp4_rx = csum,
		.udp4_rx = csum,
		.tcp6_rx = csum,
		.udp6_rx = csum,
		.lso4 = tso4,
		.lso6 = tso6,
		.rsc4 = a->rsc_allowed && tso4,
		.rsc6 = a->rsc_allowed && tso6,
	};

	return o;
}

static struct vsp_ndis_checksum checksum_describe(bool ip, bool tcp, bool udp, uint32_t ip_flags)
{
	struct vsp_ndis_checksum c = {0, 0};

	if (!ip && !tcp && !udp)
		return c;
	c.encapsulation = VSP_NDIS_ENCAPSULATION_8023;
	c.flags = VSP_NDIS_CSUM_IP_OPTIONS;
	if (ip)
		c.flags |= ip_flags;
	if (tcp)
		c.flags |= VSP_NDIS_CSUM_TCP | VSP_NDIS_CSUM_TCP_OPTIONS;
	if (udp)
		c.flags |= VSP_NDIS_CSUM_UDP;
	return c;
}

void vsp_offloads_describe(const struct vsp_offloads *o, struct vsp_ndis_offload *out)
{
	memset(out, 0, sizeof(*out));
	out->header = (struct vsp_ndis_object){VSP_NDIS_OFFLOAD, 3, sizeof(*out)};
	out->ipv4_tx = checksum_describe(o->ip4_tx, o->tcp4_tx, o->udp4_tx, VSP_NDIS_CSUM_IP_HEADER);
	out->ipv4_rx = checksum_describe(o->ip4_rx, o->tcp4_rx, o->udp4_rx, VSP_NDIS_CSUM_IP_HEADER);
	out->ipv6_tx = checksum_describe(false, o->tcp6_tx, o->udp6_tx, 0);
	out->ipv6_rx = checksum_describe(false, o->tcp6_rx, o->udp6_rx, 0);
	if (o->lso4) {
		out->lso_ipv4.encapsulation = VSP_NDIS_ENCAPSULATION_8023;
		out->lso_ipv4.max_size = VSP_LSO_MAX;
		out->lso_ipv4.min_segments = VSP_LSO_MIN_SEGMENTS;
	}
	if (o->lso6) {
		out->lso_ipv6.encapsulation = VSP_NDIS_ENCAPSULATION_8023;
		out->lso_ipv6.max_size = VSP_LSO_MAX;
		out->lso_ipv6.min_segments = VSP_LSO_MIN_SEGMENTS;
		out->lso_ipv6.flags = VSP_NDIS_CSUM_IP_OPTIONS | VSP_NDIS_CSUM_TCP_OPTIONS;
	}
	out->rsc_ipv4 = o->rsc4;
	out->rsc_ipv6 = o->rsc6;
}

static void checksum_choose(uint8_t value, bool possible_tx, bool possible_rx, bool *tx, bool *rx)
{
	if (!value)
		return;
	*tx = possible_tx && (value == 2 || value == 4);
	*rx = possible_rx && (value == 3 || value == 4);
}

static void feature_choose(uint8_t value, bool possible, bool *on)
{
	if (value)
		*on = possible && value == 2;
}

bool vsp_ndis_object_valid(struct vsp_ndis_object header, uint8_t type, size_t least, size_t len)
{
	return header.type == type && header.revision && header.size >= least && header.size <= len;
}

/* The size is not what the revision says: Linux sends revision 3 with 22 or 28 bytes. */
uint32_t vsp_offloads_set(struct vsp_adapter *a, struct vmbus_cursor in)
{
	struct vsp_ndis_offload_parameters p = {0};
	struct vsp_offloads can = vsp_adapter_possible(a), *o = &a->offloads;

	if (in.len < VSP_NDIS_OFFLOAD_PARAMETERS_MIN)
		return VSP_RNDIS_INVALID_LENGTH;
	memcpy(&p, in.data, in.len < sizeof(p) ? in.len : sizeof(p));
	if (!vsp_ndis_object_valid(p.header, VSP_NDIS_DEFAULT, VSP_NDIS_OFFLOAD_PARAMETERS_MIN, in.len) ||
	    p.ipv4_checksum > 4 || p.tcp_ipv4_checksum > 4 || p.udp_ipv4_checksum > 4 ||
	    p.tcp_ipv6_checksum > 4 || p.udp_ipv6_checksum > 4)
		return VSP_RNDIS_INVALID_DATA;
	if (p.header.size < sizeof(p))
		memset((uint8_t *)&p + p.header.size, 0, sizeof(p) - p.header.size);
	if (p.lso_v1 == 2)
		return VSP_RNDIS_NOT_SUPPORTED;
	checksum_choose(p.ipv4_checksum, can.ip4_tx, can.ip4_rx, &o->ip4_tx, &o->ip4_rx);
	checksum_choose(p.tcp_ipv4_checksum, can.tcp4_tx, can.tcp4_rx, &o->tcp4_tx, &o->tcp4_rx);
	checksum_choose(p.udp_ipv4_checksum, can.udp4_tx, can.udp4_rx, &o->udp4_tx, &o->udp4_rx);
	checksum_choose(p.tcp_ipv6_checksum, can.tcp6_tx, can.tcp6_rx, &o->tcp6_tx, &o->tcp6_rx);
	checksum_choose(p.udp_ipv6_checksum, can.udp6_tx, can.udp6_rx, &o->udp6_tx, &o->udp6_rx);
	feature_choose(p.lso_v2_ipv4, can.lso4, &o->lso4);
	feature_choose(p.lso_v2_ipv6, can.lso6, &o->lso6);
	feature_choose(p.rsc_ipv4, can.rsc4, &o->rsc4);
	feature_choose(p.rsc_ipv6, can.rsc6, &o->rsc6);
	a->changed |= VSP_CHANGED_OFFLOADS;
	return VSP_RNDIS_SUCCESS;
}

/* UTF-16LE without terminator to ASCII. Returns false if it is longer than @size - 1 or
 * has other characters. */
static bool utf16_read(struct vmbus_cursor in, uint32_t offset, uint32_t len, char *out,
		       uint32_t size)
{
	if (len % 2 || len / 2 >= size || offset > in.len || len > in.len - offset)
		return false;
	for (uint32_t i = 0; i < len / 2; i++) {
		uint8_t low = in.data[offset + i * 2], high = in.data[offset + i * 2 + 1];

		if (high || low >= 0x80)
			return false;
		out[i] = (char)low;
	}
	out[len / 2] = 0;
	return true;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static uint32_t mac_set(struct vsp_adapter *a, const char *text)
{
	uint8_t mac[6], any = 0;

	if (!a->allow_mac_change)
		return VSP_RNDIS_FAILURE;
	if (strlen(text) != 12)
		return VSP_RNDIS_INVALID_DATA;
	for (int i = 0; i < 6; i++) {
		int high = hex_digit(text[i * 2]), low = hex_digit(text[i * 2 + 1]);

		if (high < 0 || low < 0)
			return VSP_RNDIS_INVALID_DATA;
		mac[i] = (uint8_t)(high << 4 | low);
		any |= mac[i];
	}
	if (mac[0] & 1 || !any)
		return VSP_RNDIS_INVALID_DATA;
	memcpy(a->mac, mac, sizeof(mac));
	memcpy(a->chosen_mac, mac, sizeof(mac));
	a->mac_chosen = true;
	a->changed |= VSP_CHANGED_MAC;
	return VSP_RNDIS_SUCCESS;
}

/* Settings of Windows' driver page; a checksum's digit: bit 0 send, bit 1 receive. */
static uint32_t keyword_set(struct vsp_adapter *a, const char *name, uint32_t value)
{
	struct vsp_offloads can = vsp_adapter_possible(a), *o = &a->offloads;
	const struct {
		const char *name;
		bool can_tx, can_rx, *tx, *rx;
	} keywords[] = {
		{"*IPChecksumOffloadIPv4", can.ip4_tx, can.ip4_rx, &o->ip4_tx, &o->ip4_rx},
		{"*TCPChecksumOffloadIPv4", can.tcp4_tx, can.tcp4_rx, &o->tcp4_tx, &o->tcp4_rx},
		{"*TCPChecksumOffloadIPv6", can.tcp6_tx, can.tcp6_rx, &o->tcp6_tx, &o->tcp6_rx},
		{"*UDPChecksumOffloadIPv4", can.udp4_tx, can.udp4_rx, &o->udp4_tx, &o->udp4_rx},
		{"*UDPChecksumOffloadIPv6", can.udp6_tx, can.udp6_rx, &o->udp6_tx, &o->udp6_rx},
		{"*LsoV2IPv4", can.lso4, false, &o->lso4, NULL},
		{"*LsoV2IPv6", can.lso6, false, &o->lso6, NULL},
	};

	for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++) {
		if (strcmp(name, keywords[i].name))
			continue;
		if (value > (keywords[i].rx ? 3u : 1u))
			return VSP_RNDIS_INVALID_DATA;
		*keywords[i].tx = keywords[i].can_tx && value & 1;
		if (keywords[i].rx)
			*keywords[i].rx = keywords[i].can_rx && value & 2;
		a->changed |= VSP_CHANGED_OFFLOADS;
		break;
	}
	return VSP_RNDIS_SUCCESS;
}

uint32_t vsp_adapter_configure(struct vsp_adapter *a, struct vmbus_cursor in)
{
	struct vsp_rndis_config_parameter p;
	char name[128], text[128];
	uint32_t value = 0;

	if (in.len < sizeof(p))
		return VSP_RNDIS_INVALID_LENGTH;
	memcpy(&p, in.data, sizeof(p));
	if (!utf16_read(in, p.name_offset, p.name_length, name, sizeof(name)))
		return VSP_RNDIS_INVALID_DATA;
	if (p.type == VSP_RNDIS_PARAMETER_INTEGER || p.type == VSP_RNDIS_PARAMETER_HEX) {
		if (!strcmp(name, MAC_PARAMETER))
			return VSP_RNDIS_INVALID_DATA;
		if (p.value_length != 4 || p.value_offset > in.len || in.len - p.value_offset < 4)
			return VSP_RNDIS_INVALID_DATA;
		memcpy(&value, in.data + p.value_offset, 4);
		return keyword_set(a, name, value);
	}
	if (p.type != VSP_RNDIS_PARAMETER_STRING)
		return VSP_RNDIS_NOT_SUPPORTED;
	if (!utf16_read(in, p.value_offset, p.value_length, text, sizeof(text)))
		return VSP_RNDIS_INVALID_DATA;
	if (!strcmp(name, MAC_PARAMETER))
		return mac_set(a, text);
	if (text[0] < '0' || text[0] > '9' || text[1])
		return name[0] == '*' ? VSP_RNDIS_INVALID_DATA : VSP_RNDIS_SUCCESS;
	return keyword_set(a, name, (uint32_t)(text[0] - '0'));
}

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

unsigned int vsp_traffic_kind(const uint8_t destination[6])
{
	if (!(destination[0] & 1))
		return VSP_NET_DIRECTED;
	return memcmp(destination, broadcast, 6) ? VSP_NET_MULTICAST : VSP_NET_BROADCAST;
}

void vsp_traffic_add(struct vsp_net_traffic kinds[VSP_NET_KINDS], const uint8_t destination[6],
		     uint32_t len)
{
	struct vsp_net_traffic *kind = &kinds[vsp_traffic_kind(destination)];

	kind->bytes += len;
	kind->frames++;
}

/* A guest that has not chosen a MAC since it opened the channel may go on with its last. */
static bool is_for_guest(const struct vsp_adapter *a, const uint8_t destination[6])
{
	return !memcmp(destination, a->mac, 6) ||
	       (a->mac_chosen && !memcmp(destination, a->chosen_mac, 6));
}

bool vsp_adapter_wants(const struct vsp_adapter *a, const uint8_t destination[6])
{
	if (a->filter & VSP_FILTER_PROMISCUOUS)
		return true;
	if (!(destination[0] & 1))
		return a->filter & VSP_FILTER_DIRECTED && is_for_guest(a, destination);
	if (!memcmp(destination, broadcast, 6))
		return a->filter & VSP_FILTER_BROADCAST;
	if (a->filter & VSP_FILTER_ALL_MULTICAST)
		return true;
	for (uint32_t i = 0; a->filter & VSP_FILTER_MULTICAST && i < a->multicast_count; i++)
		if (!memcmp(destination, a->multicast[i], 6))
			return true;
	return false;
}
