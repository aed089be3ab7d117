/* SPDX-License-Identifier: MIT */
#include <string.h>

#include <criterion/criterion.h>

#include "adapter.h"

static void adapter_start(struct vsp_adapter *a)
{
	memset(a, 0, sizeof(*a));
	a->max_channels = 4;
	a->nic_offloads = VSP_NIC_CSUM | VSP_NIC_TSO4 | VSP_NIC_TSO6;
	a->allow_mac_change = true;
	memcpy(a->permanent_mac, "\x00\x15\x5d\x01\x02\x03", 6);
	strcpy(a->friendly_name, "net0");
	a->speed_bps = 25000000000ull;
	a->link_up = true;
	vsp_adapter_reset(a);
	a->ndis_major = 6;
	a->ndis_minor = 30;
	a->stats.tx_frames = 0x100000002ull;
}

Test(oid, answers_have_exactly_the_size_guests_want)
{
	static const struct {
		uint32_t oid, len, room;
		uint64_t value;
	} rows[] = {
		{0x00010102, 4, 0, 0},          {0x00010105, 4, 0, 1500},     {0x00010106, 4, 0, 1500},
		{0x00010107, 4, 0, 250000000},  {0x0001010a, 4, 0, 1514},     {0x0001010c, 4, 0, 0x155d},
		{0x0001010d, 21, 0, 0},         {0x0001010e, 4, 0, 0},        {0x00010110, 2, 0, 0x100},
		{0x00010111, 4, 0, 1514},       {0x00010113, 4, 0, 0x24d},    {0x00010114, 4, 0, 0},
		{0x00010115, 4, 0, 0xffffffff}, {0x00010116, 2, 0, 0x100},    {0x00010203, 18, 0, 0},
		{0x00010206, 16, 0, 25000000000ull}, {0x00010207, 40, 0, 0},  {0x00020216, 512, 0, 0},
		{0x00020101, 4, 0, 2},          {0x00020101, 4, 4, 2},        {0x00020101, 8, 8, 0x100000002ull},
		{0x0002021a, 8, 0, 0},          {0x01010101, 6, 0, 0},        {0x01010102, 6, 0, 0},
		{0x01010104, 4, 0, 32},         {0x01020101, 4, 0, 0},        {0xfc01020b, 156, 0, 0},
		{0xfc01020d, 156, 0, 0},        {0x0101010a, 28, 0, 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t out[VSP_OID_ANSWER_MAX];
		struct vsp_adapter a;
		uint64_t value = 0;
		uint32_t len;

		adapter_start(&a);
		cr_expect_eq(vsp_oid_query(&a, rows[i].oid, rows[i].room, out, &len), 0, "%#x", rows[i].oid);
		cr_expect_eq(len, rows[i].len, "%#x: %u", rows[i].oid, len);
		memcpy(&value, out, len < 8 ? len : 8);
		if (rows[i].value)
			cr_expect_eq(value, rows[i].value, "%#x", rows[i].oid);
	}
}

Test(oid, every_row_listed_answers_and_no_number_beside_one_does)
{
	uint8_t out[VSP_OID_ANSWER_MAX];
	struct vsp_adapter a;
	uint32_t len, listed, oid;

	adapter_start(&a);
	cr_assert_eq(vsp_oid_query(&a, 0x00010101, 0, out, &listed), 0);
	for (unsigned int i = 0; (oid = vsp_oid_row(i)); i++) {
		uint8_t answer[VSP_OID_ANSWER_MAX], info[64] = {0};
		uint32_t number;
		bool query, set;

		cr_assert_lt(i * 4, listed);
		memcpy(&number, out + i * 4, 4);
		cr_expect_eq(number, oid, "the list is the table");
		if (i)
			cr_expect_gt(oid, vsp_oid_row(i - 1), "binary search needs the order");
		query = vsp_oid_query(&a, oid, 0, answer, &len) != VSP_RNDIS_NOT_SUPPORTED;
		set = vsp_oid_set(&a, oid, vmbus_cursor_of(info, sizeof(info))) != VSP_RNDIS_NOT_SUPPORTED;
		cr_expect(query || set, "%#x", oid);
		if (vsp_oid_row(i + 1) != oid + 1)
			cr_expect_eq(vsp_oid_query(&a, oid + 1, 0, answer, &len), VSP_RNDIS_NOT_SUPPORTED);
	}
}

Test(oid, list_depends_on_the_ndis_version)
{
	static const struct {
		uint32_t major, minor, status;
		bool offload, rss;
	} rows[] = {{5, 1, 0, false, false},  {6, 0, 0, true, false}, {6, 29, 0, true, false},
		    {6, 30, 0, true, true},   {6, 85, 0, true, true}, {4, 0, VSP_RNDIS_BAD_VERSION, 0, 0},
		    {7, 0, VSP_RNDIS_BAD_VERSION, 0, 0}};

	for (size_t i = 0; i < 7; i++) {
		uint8_t out[VSP_OID_ANSWER_MAX];
		bool offload = false, rss = false;
		struct vsp_adapter a;
		uint32_t len;

		adapter_start(&a);
		a.ndis_major = rows[i].major;
		a.ndis_minor = rows[i].minor;
		cr_expect_eq(vsp_oid_query(&a, 0x00010101, 0, out, &len), rows[i].status);
		for (uint32_t k = 0; k < len; k += 4) {
			uint32_t oid;

			memcpy(&oid, out + k, 4);
			offload |= oid == 0xfc01020d;
			rss |= oid == 0x00010203;
		}
		cr_expect_eq(offload, rows[i].offload, "%u.%u", rows[i].major, rows[i].minor);
		cr_expect_eq(rss, rows[i].rss, "%u.%u", rows[i].major, rows[i].minor);
	}
}

Test(oid, offload_structure_is_what_linux_checks)
{
	struct vsp_ndis_offload o;
	uint8_t out[VSP_OID_ANSWER_MAX];
	struct vsp_adapter a;
	uint32_t len;

	adapter_start(&a);
	a.rsc_allowed = true;
	cr_assert_eq(vsp_oid_query(&a, 0xfc01020d, 0, out, &len), 0);
	memcpy(&o, out, sizeof(o));
	cr_expect_eq(o.header.type, 0xa7);
	cr_expect_eq(o.header.revision, 3);
	cr_expect_eq(o.header.size, 156);
	cr_expect_eq(o.ipv4_tx.flags & 0x154, 0x154);
	cr_expect_eq(o.ipv6_tx.flags & 0x55, 0x55);
	cr_expect_eq(o.lso_ipv4.max_size, 62780);
	cr_expect_eq(o.lso_ipv6.flags, 5);
	cr_expect_eq(o.rsc_ipv4, 1);
	cr_expect_eq(out[144], 1, "where the sheet has it");
	a.nic_offloads = 0; /* nothing is offered that the nic cannot do */
	cr_assert_eq(vsp_oid_query(&a, 0xfc01020d, 0, out, &len), 0);
	memcpy(&o, out, sizeof(o));
	cr_expect_eq(o.ipv4_tx.flags, 0x101, "the IPv4 header is done in software");
	cr_expect_eq(o.ipv6_tx.encapsulation, 0);
	cr_expect_eq(o.lso_ipv4.encapsulation, 0);
	cr_expect_eq(o.rsc_ipv4, 0);
}

Test(oid, offload_parameters_as_linux_sends_them_and_worse)
{
	static const struct {
		const char *name;
		uint32_t len, status;
		uint8_t type, csum, lso1, lso2, rsc;
		uint16_t size;
		bool tcp, lso, rsc_on;
	} rows[] = {
		{"Linux, new", 28, 0, 0x80, 4, 0, 2, 2, 28, true, true, true},
		{"Linux, old", 22, 0, 0x80, 4, 0, 2, 0, 22, true, true, false},
		{"revision 1", 20, 0, 0x80, 1, 0, 1, 0, 20, false, false, false},
		{"receive only", 28, 0, 0x80, 3, 0, 1, 1, 28, false, false, false},
		{"nothing changes", 28, 0, 0x80, 0, 0, 0, 0, 28, true, true, false},
		{"too short", 19, VSP_RNDIS_INVALID_LENGTH, 0x80, 4, 0, 2, 2, 19, true, true, false},
		{"says more than there is", 22, VSP_RNDIS_INVALID_DATA, 0x80, 4, 0, 2, 2, 28, true, true, false},
		{"another object", 28, VSP_RNDIS_INVALID_DATA, 0xa7, 4, 0, 2, 2, 28, true, true, false},
		{"unknown value", 28, VSP_RNDIS_INVALID_DATA, 0x80, 5, 0, 2, 2, 28, true, true, false},
		{"LSO v1", 28, VSP_RNDIS_NOT_SUPPORTED, 0x80, 4, 2, 2, 2, 28, true, true, false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct vsp_ndis_offload_parameters p = {
			.header = {rows[i].type, 3, rows[i].size}, .tcp_ipv4_checksum = rows[i].csum,
			.lso_v1 = rows[i].lso1, .lso_v2_ipv4 = rows[i].lso2, .rsc_ipv4 = rows[i].rsc};
		struct vsp_adapter a;

		adapter_start(&a);
		a.rsc_allowed = true;
		cr_expect_eq(vsp_oid_set(&a, 0xfc01020c, vmbus_cursor_of(&p, rows[i].len)), rows[i].status,
			     "%s", rows[i].name);
		cr_expect_eq(a.offloads.tcp4_tx, rows[i].tcp, "%s", rows[i].name);
		cr_expect_eq(a.offloads.lso4, rows[i].lso, "%s", rows[i].name);
		cr_expect_eq(a.offloads.rsc4, rows[i].rsc_on, "%s", rows[i].name);
		cr_expect_eq(a.changed, rows[i].status ? 0 : VSP_CHANGED_OFFLOADS, "%s", rows[i].name);
	}
}

Test(oid, offloads_the_nic_lacks_stay_off)
{
	const struct vsp_ndis_offload_parameters p = {
		.header = {0x80, 3, 28}, .tcp_ipv4_checksum = 4, .lso_v2_ipv4 = 2, .rsc_ipv4 = 2};
	struct vsp_adapter a;

	adapter_start(&a);
	a.nic_offloads = 0;
	vsp_adapter_reset(&a);
	cr_expect_eq(vsp_oid_set(&a, 0xfc01020c, vmbus_cursor_of(&p, sizeof(p))), 0);
	cr_expect_not(a.offloads.tcp4_tx || a.offloads.lso4 || a.offloads.rsc4);
}

/* A parameter as Linux lays it out: the structure, name, 8 bytes more, value. */
static uint32_t parameter(uint8_t *out, const char *name, uint32_t type, const char *value)
{
	struct vsp_rndis_config_parameter p = {
		.name_offset = 20, .name_length = (uint32_t)strlen(name) * 2, .type = type,
		.value_length = (uint32_t)strlen(value) * 2};

	memset(out, 0, 600);
	p.value_offset = 20 + p.name_length;
	if (type == 0)
		p.value_length = 4;
	memcpy(out, &p, sizeof(p));
	for (size_t i = 0; name[i]; i++)
		out[20 + i * 2] = (uint8_t)name[i];
	for (size_t i = 0; value[i]; i++)
		out[p.value_offset + i * (type ? 2 : 1)] = (uint8_t)value[i];
	return p.value_offset + p.value_length;
}

Test(oid, mac_address_changes_by_config_parameter)
{
	static const struct {
		const char *name, *value;
		uint32_t status;
	} rows[] = {
		{"NetworkAddress", "00155D0a0B0c", 0},
		{"NetworkAddress", "fe0000000001", 0},
		{"NetworkAddress", "01155D0a0B0c", VSP_RNDIS_INVALID_DATA},
		{"NetworkAddress", "000000000000", VSP_RNDIS_INVALID_DATA},
		{"NetworkAddress", "00155D0a0B0", VSP_RNDIS_INVALID_DATA},
		{"NetworkAddress", "00155D0a0B0cd", VSP_RNDIS_INVALID_DATA},
		{"NetworkAddress", "00155D0a0B0g", VSP_RNDIS_INVALID_DATA},
		{"NetworkAddress", "", VSP_RNDIS_INVALID_DATA},
		{"SomethingElse", "whatever", 0},
		{"*TCPChecksumOffloadIPv4", "4", VSP_RNDIS_INVALID_DATA},
		{"*TCPChecksumOffloadIPv4", "x", VSP_RNDIS_INVALID_DATA},
		{"*LsoV2IPv4", "2", VSP_RNDIS_INVALID_DATA},
	};
	struct vsp_adapter a;
	uint8_t info[600], out[VSP_OID_ANSWER_MAX];
	uint32_t len, n;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		adapter_start(&a);
		n = parameter(info, rows[i].name, 2, rows[i].value);
		cr_expect_eq(vsp_oid_set(&a, 0x0001021b, vmbus_cursor_of(info, n)), rows[i].status, "%s=%s",
			     rows[i].name, rows[i].value);
		cr_expect_eq(!!(a.changed & VSP_CHANGED_MAC), i < 2);
		for (uint32_t cut = 0; i == 0 && cut < n; cut++)
			cr_expect_neq(vsp_oid_set(&a, 0x0001021b, vmbus_cursor_of(info, cut)), 0, "%u", cut);
	}
	adapter_start(&a);
	n = parameter(info, "NetworkAddress", 2, "00155D0a0B0c");
	a.allow_mac_change = false;
	cr_expect_neq(vsp_oid_set(&a, 0x0001021b, vmbus_cursor_of(info, n)), 0);
	a.allow_mac_change = true;
	cr_expect_eq(vsp_oid_set(&a, 0x0001021b, vmbus_cursor_of(info, n)), 0);
	cr_expect_eq(vsp_oid_query(&a, 0x01010102, 0, out, &len), 0);
	cr_expect_eq(memcmp(out, "\x00\x15\x5d\x0a\x0b\x0c", 6), 0);
	cr_expect_eq(vsp_oid_query(&a, 0x01010101, 0, out, &len), 0);
	cr_expect_eq(memcmp(out, a.permanent_mac, 6), 0);
}

Test(oid, keywords_switch_offloads)
{
	struct vsp_adapter a;
	uint8_t info[600];
	uint32_t n;

	adapter_start(&a);
	n = parameter(info, "*TCPChecksumOffloadIPv4", 2, "1");
	cr_expect_eq(vsp_oid_set(&a, 0x0001021b, vmbus_cursor_of(info, n)), 0);
	cr_expect(a.offloads.tcp4_tx && !a.offloads.tcp4_rx);
	n = parameter(info, "*LsoV2IPv4", 0, "\x00");
	cr_expect_eq(vsp_oid_set(&a, 0x0001021b, vmbus_cursor_of(info, n)), 0);
	cr_expect(!a.offloads.lso4 && a.offloads.lso6);
}

Test(oid, packet_filter_lets_through_what_it_says)
{
	static const uint8_t me[6] = {0, 0x15, 0x5d, 1, 2, 3}, other[6] = {0, 0x15, 0x5d, 9, 9, 9},
			     all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
			     listed[6] = {1, 0, 0x5e, 0, 0, 1}, unlisted[6] = {1, 0, 0x5e, 0, 0, 2};
	static const struct {
		uint32_t filter;
		bool me, other, all, listed, unlisted;
	} rows[] = {
		{0, 0, 0, 0, 0, 0},    {1, 1, 0, 0, 0, 0},    {2, 0, 0, 0, 1, 0}, {4, 0, 0, 0, 1, 1},
		{8, 0, 0, 1, 0, 0},    {13, 1, 0, 1, 1, 1},   {11, 1, 0, 1, 1, 0}, {0x20, 1, 1, 1, 1, 1},
	};
	struct vsp_adapter a;

	adapter_start(&a);
	cr_expect_eq(vsp_oid_set(&a, 0x01010103, vmbus_cursor_of(listed, 6)), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cr_expect_eq(vsp_oid_set(&a, 0x0001010e, vmbus_cursor_of(&rows[i].filter, 4)), 0);
		cr_expect_eq(vsp_adapter_wants(&a, me), rows[i].me, "%#x", rows[i].filter);
		cr_expect_eq(vsp_adapter_wants(&a, other), rows[i].other, "%#x", rows[i].filter);
		cr_expect_eq(vsp_adapter_wants(&a, all), rows[i].all, "%#x", rows[i].filter);
		cr_expect_eq(vsp_adapter_wants(&a, listed), rows[i].listed, "%#x", rows[i].filter);
		cr_expect_eq(vsp_adapter_wants(&a, unlisted), rows[i].unlisted, "%#x", rows[i].filter);
	}
	cr_expect_eq(vsp_oid_set(&a, 0x0001010e, vmbus_cursor_of(me, 3)), VSP_RNDIS_INVALID_LENGTH);
}

Test(oid, multicast_list_is_bounded)
{
	uint8_t list[33 * 6] = {0};
	struct vsp_adapter a;

	adapter_start(&a);
	cr_expect_eq(vsp_oid_set(&a, 0x01010103, vmbus_cursor_of(list, 7)), VSP_RNDIS_INVALID_LENGTH);
	cr_expect_eq(vsp_oid_set(&a, 0x01010103, vmbus_cursor_of(list, 33 * 6)), VSP_RNDIS_MULTICAST_FULL);
	cr_expect_eq(a.multicast_count, 0);
	cr_expect_eq(vsp_oid_set(&a, 0x01010103, vmbus_cursor_of(list, 32 * 6)), 0);
	cr_expect_eq(a.multicast_count, 32);
	cr_expect_eq(vsp_oid_set(&a, 0x01010103, vmbus_cursor_of(list, 0)), 0);
	cr_expect_eq(a.multicast_count, 0);
}

Test(oid, encapsulation_other_than_ethernet_is_refused)
{
	struct vsp_ndis_encapsulation e = {.header = {0xa8, 1, 28}, .ipv4 = {1, 2, 14}, .ipv6 = {1, 2, 14}};
	struct vsp_adapter a;

	adapter_start(&a);
	cr_expect_eq(vsp_oid_set(&a, 0x0101010a, vmbus_cursor_of(&e, 28)), 0);
	cr_expect_eq(vsp_oid_set(&a, 0x0101010a, vmbus_cursor_of(&e, 27)), VSP_RNDIS_INVALID_LENGTH);
	e.ipv6.type = 4;
	cr_expect_eq(vsp_oid_set(&a, 0x0101010a, vmbus_cursor_of(&e, 28)), VSP_RNDIS_NOT_SUPPORTED);
	e.ipv6.enabled = 2;
	cr_expect_eq(vsp_oid_set(&a, 0x0101010a, vmbus_cursor_of(&e, 28)), 0);
	e.header.type = 0xa7;
	cr_expect_eq(vsp_oid_set(&a, 0x0101010a, vmbus_cursor_of(&e, 28)), VSP_RNDIS_INVALID_DATA);
}
