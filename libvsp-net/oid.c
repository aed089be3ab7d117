/* SPDX-License-Identifier: MIT */
/* One table answers every OID; the list of supported ones is made from it. */
#include <stddef.h>
#include <string.h>

#include "adapter.h"

#define NDIS6 0x0600u
#define NDIS630 0x061eu

struct answer {
	uint8_t *out;
	uint32_t len;
	uint32_t room; /* the guest's buffer, 0: not told */
};

struct oid;
typedef uint32_t query(struct vsp_adapter *a, const struct oid *oid, struct answer *answer);
typedef uint32_t set(struct vsp_adapter *a, struct vmbus_cursor in);

static query q_list, q_constant, q_constant16, q_mtu, q_speed, q_vendor, q_filter, q_connect, q_rss,
	q_max_speed, q_link, q_count32, q_count64, q_no_count, q_name, q_mac, q_offload, q_encapsulation;
static set s_filter, s_ignore, s_rss, s_multicast, s_encapsulation;

#define KIND(direction, kind, field)                                                     \
	((uint32_t)offsetof(struct vsp_net_stats, direction[VSP_NET_##kind].field))

static const struct oid {
	uint32_t oid;
	uint16_t ndis; /* first NDIS version whose list has it */
	query *query;
	set *set;
	uint32_t value; /* of constants; else what the function says */
} oids[] = {
	{0x00010101, 0, q_list, NULL, 0},
	{0x00010102, 0, q_constant, NULL, 0}, /* hardware status: ready */
	{0x00010103, 0, q_constant, NULL, 0}, /* media supported: 802.3 */
	{0x00010104, 0, q_constant, NULL, 0}, /* media in use */
	{0x00010105, 0, q_mtu, NULL, 14},     /* maximum lookahead; value: taken off the MTU */
	{0x00010106, 0, q_mtu, NULL, 14},     /* maximum frame size */
	{0x00010107, 0, q_speed, NULL, 0},
	{0x00010108, 0, q_constant, NULL, 262144}, /* transmit buffer space */
	{0x00010109, 0, q_constant, NULL, 262144}, /* receive buffer space */
	{0x0001010a, 0, q_mtu, NULL, 0},           /* transmit block size */
	{0x0001010b, 0, q_mtu, NULL, 0},           /* receive block size */
	{0x0001010c, 0, q_constant, NULL, 0x0000155d}, /* vendor: OUI 00:15:5d */
	{0x0001010d, 0, q_vendor, NULL, 0},
	{0x0001010e, 0, q_filter, s_filter, 0},
	{0x0001010f, 0, q_mtu, s_ignore, 14}, /* current lookahead */
	{0x00010110, 0, q_constant16, NULL, 0x0100}, /* driver version */
	{0x00010111, 0, q_mtu, NULL, 0},      /* maximum total size */
	{0x00010112, 0, NULL, s_ignore, 0},   /* protocol options */
	{0x00010113, 0, q_constant, NULL, 0x24d}, /* MAC options: 802.1p and 802.1Q by PPI, no loopback */
	{0x00010114, 0, q_connect, NULL, 0},
	{0x00010115, 0, q_constant, NULL, 0xffffffff}, /* maximum send packets */
	{0x00010116, 0, q_constant16, NULL, 0x0100}, /* vendor's driver version */
	{0x00010118, 0, NULL, s_ignore, 0},   /* network layer addresses */
	{0x00010203, NDIS630, q_rss, NULL, 0},
	{0x00010204, NDIS630, NULL, s_rss, 0},
	{0x00010206, NDIS6, q_max_speed, NULL, 0},
	{0x00010207, NDIS6, q_link, NULL, 0},
	{0x0001021b, 0, NULL, vsp_adapter_configure, 0},
	/* value: where the counter is in struct vsp_net_stats */
	{0x00020101, 0, q_count32, NULL, offsetof(struct vsp_net_stats, tx_frames)},
	{0x00020102, 0, q_count32, NULL, offsetof(struct vsp_net_stats, rx_frames)},
	{0x00020103, 0, q_count32, NULL, offsetof(struct vsp_net_stats, tx_errors)},
	{0x00020104, 0, q_count32, NULL, offsetof(struct vsp_net_stats, rx_dropped)},
	{0x00020105, 0, q_no_count, NULL, 0}, /* lost for want of a slot: none, they wait in the nic */
	/* by destination */
	{0x00020201, 0, q_count32, NULL, KIND(tx_to, DIRECTED, bytes)},
	{0x00020202, 0, q_count32, NULL, KIND(tx_to, DIRECTED, frames)},
	{0x00020203, 0, q_count32, NULL, KIND(tx_to, MULTICAST, bytes)},
	{0x00020204, 0, q_count32, NULL, KIND(tx_to, MULTICAST, frames)},
	{0x00020205, 0, q_count32, NULL, KIND(tx_to, BROADCAST, bytes)},
	{0x00020206, 0, q_count32, NULL, KIND(tx_to, BROADCAST, frames)},
	{0x00020207, 0, q_count32, NULL, KIND(rx_to, DIRECTED, bytes)},
	{0x00020208, 0, q_count32, NULL, KIND(rx_to, DIRECTED, frames)},
	{0x00020209, 0, q_count32, NULL, KIND(rx_to, MULTICAST, bytes)},
	{0x0002020a, 0, q_count32, NULL, KIND(rx_to, MULTICAST, frames)},
	{0x0002020b, 0, q_count32, NULL, KIND(rx_to, BROADCAST, bytes)},
	{0x0002020c, 0, q_count32, NULL, KIND(rx_to, BROADCAST, frames)},
	{0x00020216, 0, q_name, NULL, 0},
	{0x00020219, NDIS6, q_count64, NULL, offsetof(struct vsp_net_stats, rx_bytes)},
	{0x0002021a, NDIS6, q_count64, NULL, offsetof(struct vsp_net_stats, tx_bytes)},
	{0x0002021b, NDIS6, q_count64, NULL, offsetof(struct vsp_net_stats, rx_dropped)},
	{0x0002021c, NDIS6, q_count64, NULL, offsetof(struct vsp_net_stats, tx_dropped)},
	{0x01010101, 0, q_mac, NULL, 0},
	{0x01010102, 0, q_mac, NULL, 1}, /* value: the current one */
	{0x01010103, 0, NULL, s_multicast, 0},
	{0x01010104, 0, q_constant, NULL, VSP_MULTICAST_MAX},
	{0x0101010a, NDIS6, q_encapsulation, s_encapsulation, 0},
	{0x01020101, 0, q_constant, NULL, 0}, /* alignment errors, collisions */
	{0x01020102, 0, q_constant, NULL, 0},
	{0x01020103, 0, q_constant, NULL, 0},
	{0xfc01020b, NDIS6, q_offload, NULL, 0},
	{0xfc01020c, NDIS6, NULL, vsp_offloads_set, 0},
	{0xfc01020d, NDIS6, q_offload, NULL, 1}, /* value: what is possible */
};
#define OIDS (sizeof(oids) / sizeof(oids[0]))

static uint32_t answer_put(struct answer *answer, const void *value, uint32_t len)
{
	memcpy(answer->out, value, len);
	answer->len = len;
	return VSP_RNDIS_SUCCESS;
}

static uint32_t answer_u32(struct answer *answer, uint32_t value)
{
	return answer_put(answer, &value, sizeof(value));
}

static uint32_t q_list(struct vsp_adapter *a, const struct oid *oid, struct answer *answer)
{
	uint32_t ndis = a->ndis_major << 8 | (a->ndis_minor & 0xff);

	(void)oid;
	if (a->ndis_major != 5 && a->ndis_major != 6)
		return VSP_RNDIS_BAD_VERSION;
	_Static_assert(OIDS * 4 <= VSP_OID_ANSWER_MAX, "the list has to fit");
	for (size_t i = 0; i < OIDS; i++) {
		if (oids[i].ndis > ndis)
			continue;
		memcpy(answer->out + answer->len, &oids[i].oid, 4);
		answer->len += 4;
	}
	return VSP_RNDIS_SUCCESS;
}

static uint32_t q_constant(struct vsp_adapter *a, const struct oid *oid, struct answer *answer)
{
	(void)a;
	return answer_u32(answer, oid->value);
}

static uint32_t q_constant16(struct vsp_adapter *a, const struct oid *oid, struct answer *answer)
{
	uint16_t value = (uint16_t)oid->value;

	(void)a;
	return answer_put(answer, &value, sizeof(value));
}

static uint32_t q_mtu(struct vsp_adapter *a, const struct oid *oid, struct answer *answer)
{
	return answer_u32(answer, a->mtu - oid->value);
}

static uint32_t q_speed(struct vsp_adapter *a, const struct oid *oid, struct answer *answer)
{
	uint64_t units = a->speed_bps / 100;

	(void)oid;
	return answer_u32(answer, units > 0xffffffff ? 0xffffffff : (uint32_t)units);
}

static uint32_t q_vendor(struct vsp_adapter *a, const struct oid *oid, struct answer *answer)
{
	static const char vendor[] = "Microsoft Corporation"; /* drivers match on it */

	(void)a;
	(void)oid;
	return answer_put(answer, vendor, sizeof(vendor) - 1);
}

static uint32_t q_filter(struct vsp_adapter *a, const struct oid *oid, struct answer *answer)
{
	(void)oid;
	return answer_u32(answer, a->filter);
}

static uint32_t q_connect(struct vsp_adapter *a, const struct oid *oid, struct answer *answer)
{
	(void)oid;
	return answer_u32(answer, a->link_up ? 0 : 1);
}

static uint32_t q_rss(struct vsp_adapter *a, const struct oid *oid, struct answer *answer)
{
	const struct vsp_ndis_rss_capabilities caps = {
		.header = {VSP_NDIS_RSS_CAPABILITIES, 2, sizeof(caps)},
		.flags = VSP_NDIS_RSS_CAP_TOEPLITZ | VSP_NDIS_RSS_CAP_TCP_IPV4 | VSP_NDIS_RSS_CAP_TCP_IPV6,
		.interrupts = 1,
		.queues = a->max_channels,
		.entries = VSP_RSS_ENTRIES,
	};

	(void)oid;
	return answer_put(answer, &caps, sizeof(caps));
}

static uint32_t q_max_speed(struct vsp_adapter *a, const struct oid *oid, struct answer *answer)
{
	const struct vsp_ndis_link_speed speed = {a->speed_bps, a->speed_bps};

	(void)oid;
	return answer_put(answer, &speed, sizeof(speed));
}

static uint32_t q_link(struct vsp_adapter *a, const struct oid *oid, struct answer *answer)
{
	const struct vsp_ndis_link_state state = {
		.header = {VSP_NDIS_DEFAULT, 1, sizeof(state)},
		.connect = a->link_up ? 1 : 2,
		.duplex = 2,
		.transmit_bps = a->speed_bps,
		.receive_bps = a->speed_bps,
	};

	(void)oid;
	return answer_put(answer, &state, sizeof(state));
}

static uint32_t q_count64(struct vsp_adapter *a, const struct oid *oid, struct answer *answer)
{
	return answer_put(answer, (const uint8_t *)&a->stats + oid->value, 8);
}

/* RNDIS lets the guest choose between 4 and 8 bytes by the size of its buffer. */
static uint32_t q_count32(struct vsp_adapter *a, const struct oid *oid, struct answer *answer)
{
	q_count64(a, oid, answer);
	if (answer->room < 8)
		answer->len = 4;
	return VSP_RNDIS_SUCCESS;
}

static uint32_t q_no_count(struct vsp_adapter *a, const struct oid *oid, struct answer *answer)
{
	const uint64_t none = 0;

	(void)a;
	(void)oid;
	return answer_put(answer, &none, answer->room < 8 ? 4 : 8);
}

static uint32_t q_name(struct vsp_adapter *a, const struct oid *oid, struct answer *answer)
{
	(void)oid;
	memset(answer->out, 0, VSP_FRIENDLY_NAME);
	for (uint32_t i = 0; i < VSP_FRIENDLY_NAME / 2 - 1 && a->friendly_name[i]; i++)
		answer->out[i * 2] = (uint8_t)a->friendly_name[i];
	answer->len = VSP_FRIENDLY_NAME;
	return VSP_RNDIS_SUCCESS;
}

static uint32_t q_mac(struct vsp_adapter *a, const struct oid *oid, struct answer *answer)
{
	return answer_put(answer, oid->value ? a->mac : a->permanent_mac, 6);
}

static uint32_t q_offload(struct vsp_adapter *a, const struct oid *oid, struct answer *answer)
{
	const struct vsp_offloads possible = vsp_adapter_possible(a);
	struct vsp_ndis_offload offload;

	vsp_offloads_describe(oid->value ? &possible : &a->offloads, &offload);
	return answer_put(answer, &offload, sizeof(offload));
}

static const struct vsp_ndis_encapsulation encapsulation = {
	.header = {VSP_NDIS_OFFLOAD_ENCAPSULATION, 1, sizeof(encapsulation)},
	.ipv4 = {1, VSP_NDIS_ENCAPSULATION_8023, 14},
	.ipv6 = {1, VSP_NDIS_ENCAPSULATION_8023, 14},
};

static uint32_t q_encapsulation(struct vsp_adapter *a, const struct oid *oid, struct answer *answer)
{
	(void)a;
	(void)oid;
	return answer_put(answer, &encapsulation, sizeof(encapsulation));
}

static uint32_t s_encapsulation(struct vsp_adapter *a, struct vmbus_cursor in)
{
	struct vsp_ndis_encapsulation e;
	size_t len = in.len;

	(void)a;
	if (!vmbus_cursor_get(&in, &e, sizeof(e)))
		return VSP_RNDIS_INVALID_LENGTH;
	if (!vsp_ndis_object_valid(e.header, VSP_NDIS_OFFLOAD_ENCAPSULATION, sizeof(e), len))
		return VSP_RNDIS_INVALID_DATA;
	if (e.ipv4.enabled == 1 && memcmp(&e.ipv4, &encapsulation.ipv4, sizeof(e.ipv4)))
		return VSP_RNDIS_NOT_SUPPORTED;
	if (e.ipv6.enabled == 1 && memcmp(&e.ipv6, &encapsulation.ipv6, sizeof(e.ipv6)))
		return VSP_RNDIS_NOT_SUPPORTED;
	return VSP_RNDIS_SUCCESS;
}

static uint32_t s_filter(struct vsp_adapter *a, struct vmbus_cursor in)
{
	if (!vmbus_cursor_get(&in, &a->filter, sizeof(a->filter)))
		return VSP_RNDIS_INVALID_LENGTH;
	a->changed |= VSP_CHANGED_FILTER;
	return VSP_RNDIS_SUCCESS;
}

static uint32_t s_ignore(struct vsp_adapter *a, struct vmbus_cursor in)
{
	(void)a;
	(void)in;
	return VSP_RNDIS_SUCCESS;
}

static uint32_t s_rss(struct vsp_adapter *a, struct vmbus_cursor in)
{
	uint32_t status = vsp_rss_set(&a->rss, a->max_channels, in);

	if (status == VSP_RNDIS_SUCCESS)
		a->changed |= VSP_CHANGED_RSS;
	return status;
}

static uint32_t s_multicast(struct vsp_adapter *a, struct vmbus_cursor in)
{
	if (in.len % 6)
		return VSP_RNDIS_INVALID_LENGTH;
	if (in.len / 6 > VSP_MULTICAST_MAX)
		return VSP_RNDIS_MULTICAST_FULL;
	memcpy(a->multicast, in.data, in.len);
	a->multicast_count = (uint32_t)(in.len / 6);
	a->changed |= VSP_CHANGED_FILTER;
	return VSP_RNDIS_SUCCESS;
}

static const struct oid *oid_find(uint32_t number)
{
	size_t low = 0, high = OIDS;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (oids[middle].oid == number)
			return &oids[middle];
		if (oids[middle].oid < number)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

uint32_t vsp_oid_query(struct vsp_adapter *a, uint32_t number, uint32_t room,
		       uint8_t out[VSP_OID_ANSWER_MAX], uint32_t *len)
{
	const struct oid *oid = oid_find(number);
	struct answer answer = {.out = out, .room = room};
	uint32_t status = VSP_RNDIS_NOT_SUPPORTED;

	if (oid && oid->query)
		status = oid->query(a, oid, &answer);
	*len = status == VSP_RNDIS_SUCCESS ? answer.len : 0;
	return status;
}

uint32_t vsp_oid_set(struct vsp_adapter *a, uint32_t number, struct vmbus_cursor in)
{
	const struct oid *oid = oid_find(number);

	return oid && oid->set ? oid->set(a, in) : VSP_RNDIS_NOT_SUPPORTED;
}

uint32_t vsp_oid_row(unsigned int i)
{
	return i < OIDS ? oids[i].oid : 0;
}
