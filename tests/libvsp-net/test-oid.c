/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdlib.h>
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

/* Every OID there is in the protocol. @len: of the answer, 0: no query; @list: the first NDIS
 * version whose list has it, NEVER: none, as it is not served. */
#define NEVER 0xffffu
static const struct {
	uint32_t oid, len;
	uint64_t value; /* the first 8 bytes of the answer */
	uint16_t list;
	bool set;
} every[] = {
	{0x00010101, 61 * 4, 0x0001010200010101, 0, false}, /* supported list */
	{0x00010102, 4, 0, 0, false},                       /* hardware status */
	{0x00010103, 4, 0, 0, false},                       /* media supported */
	{0x00010104, 4, 0, 0, false},                       /* media in use */
	{0x00010105, 4, 1500, 0, false},                    /* maximum lookahead */
	{0x00010106, 4, 1500, 0, false},                    /* maximum frame size */
	{0x00010107, 4, 250000000, 0, false},               /* link speed */
	{0x00010108, 4, 262144, 0, false},                  /* transmit buffer space */
	{0x00010109, 4, 262144, 0, false},                  /* receive buffer space */
	{0x0001010a, 4, 1514, 0, false},                    /* transmit block size */
	{0x0001010b, 4, 1514, 0, false},                    /* receive block size */
	{0x0001010c, 4, 0x155d, 0, false},                  /* vendor id */
	{0x0001010d, 21, 0x666f736f7263694d, 0, false},     /* vendor description: "Microsof..." */
	{0x0001010e, 4, 0, 0, true},                        /* packet filter */
	{0x0001010f, 4, 1500, 0, true},                     /* current lookahead */
	{0x00010110, 2, 0x0100, 0, false},                  /* driver version */
	{0x00010111, 4, 1514, 0, false},                    /* maximum total size */
	{0x00010112, 0, 0, 0, true},                        /* protocol options */
	{0x00010113, 4, 0x24d, 0, false},                   /* MAC options */
	{0x00010114, 4, 0, 0, false},                       /* media connect status */
	{0x00010115, 4, 0xffffffff, 0, false},              /* maximum send packets */
	{0x00010116, 2, 0x0100, 0, false},                  /* vendor driver version */
	{0x00010117, 0, 0, NEVER, false},                   /* supported GUIDs: NDIS answers it */
	{0x00010118, 0, 0, 0, true},                        /* network layer addresses */
	{0x00010119, 0, 0, NEVER, false},                   /* transport header offset */
	{0x00010203, 18, 0x0000030100120288, 0x61e, false}, /* RSS capabilities */
	{0x00010204, 0, 0, 0x61e, true},                    /* RSS parameters */
	{0x00010206, 16, 25000000000, 0x600, false},        /* maximum link speed */
	{0x00010207, 40, 0x0000000100280180, 0x600, false}, /* link state */
	{0x00010208, 0, 0, NEVER, false},                   /* link parameters */
	{0x00010209, 0, 0, NEVER, false},                   /* interrupt moderation */
	{0x0001021a, 0, 0, NEVER, false},                   /* machine name */
	{0x0001021b, 0, 0, 0, true},                        /* RNDIS config parameter */
	{0x00020101, 4, 101, 0, false},                     /* frames sent */
	{0x00020102, 4, 106, 0, false},                     /* frames received */
	{0x00020103, 4, 103, 0, false},                     /* errors sending */
	{0x00020104, 4, 109, 0, false},                     /* errors receiving */
	{0x00020105, 4, 0, 0, false},                       /* no buffer: frames wait, none is lost */
	{0x00020201, 4, 112, 0, false},                     /* sent to one: bytes, frames */
	{0x00020202, 4, 113, 0, false},
	{0x00020203, 4, 114, 0, false},                     /* to several */
	{0x00020204, 4, 115, 0, false},
	{0x00020205, 4, 116, 0, false},                     /* to all */
	{0x00020206, 4, 117, 0, false},
	{0x00020207, 4, 118, 0, false},                     /* received, likewise */
	{0x00020208, 4, 119, 0, false},
	{0x00020209, 4, 120, 0, false},
	{0x0002020a, 4, 121, 0, false},
	{0x0002020b, 4, 122, 0, false},
	{0x0002020c, 4, 123, 0, false},
	{0x00020216, 512, 0x003000740065006e, 0, false},   /* friendly name */
	{0x00020219, 8, 0x10000006b, 0x600, false},         /* bytes received */
	{0x0002021a, 8, 0x100000066, 0x600, false},         /* bytes sent */
	{0x0002021b, 8, 0x10000006d, 0x600, false},         /* discards receiving */
	{0x0002021c, 8, 0x100000068, 0x600, false},         /* discards sending */
	{0x0002021d, 0, 0, NEVER, false},                   /* RSC statistics */
	{0x01010101, 6, 0x0302015d1500, 0, false},          /* permanent address */
	{0x01010102, 6, 0x0302015d1500, 0, false},          /* current address */
	{0x01010103, 0, 0, 0, true},                        /* multicast list */
	{0x01010104, 4, 32, 0, false},                      /* maximum list size */
	{0x01010105, 0, 0, NEVER, false},                   /* 802.3 MAC options */
	{0x0101010a, 28, 0x00000001001c01a8, 0x600, true},  /* offload encapsulation */
	{0x01010208, 0, 0, NEVER, false},                   /* add, delete multicast address */
	{0x01010209, 0, 0, NEVER, false},
	{0x01020101, 4, 0, 0, false},                       /* alignment errors, collisions */
	{0x01020102, 4, 0, 0, false},
	{0x01020103, 4, 0, 0, false},
	{0xfc01020b, 156, 0x00000002009c03a7, 0x600, false}, /* offloads now on */
	{0xfc01020c, 0, 0, 0x600, true},                    /* offload parameters */
	{0xfc01020d, 156, 0x00000002009c03a7, 0x600, false}, /* offloads possible */
	{0xfc01020e, 0, 0, NEVER, false},                   /* connection offloads */
	{0xfc01020f, 0, 0, NEVER, false},
};
#define EVERY (sizeof(every) / sizeof(every[0]))

/* Each counter has its number, counted from 101 in the order of the struct. */
static void stats_fill(struct vsp_net_stats *stats)
{
	uint64_t *words = (uint64_t *)stats;

	for (size_t i = 0; i < sizeof(*stats) / sizeof(words[0]); i++)
		words[i] = 0x100000000ull + 101 + i;
}

Test(oid, every_one_is_answered_exactly_or_refused)
{
	for (size_t i = 0; i < EVERY; i++) {
		uint8_t out[VSP_OID_ANSWER_MAX];
		struct vsp_adapter a;
		uint64_t value = 0;
		uint32_t len = 77, status;

		adapter_start(&a);
		stats_fill(&a.stats);
		status = vsp_oid_query(&a, every[i].oid, 0, out, &len);
		cr_expect_eq(status, every[i].len ? VSP_RNDIS_SUCCESS : VSP_RNDIS_NOT_SUPPORTED, "%#x: %#x",
			     every[i].oid, status);
		cr_expect_eq(len, every[i].len, "%#x: %u bytes", every[i].oid, len);
		memcpy(&value, out, len < 8 ? len : 8);
		cr_expect_eq(value, every[i].value, "%#x: %#lx", every[i].oid, value);
		status = vsp_oid_set(&a, every[i].oid, vmbus_cursor_of(out, 0));
		cr_expect_eq(status != VSP_RNDIS_NOT_SUPPORTED, every[i].set, "set %#x: %#x", every[i].oid,
			     status);
		if (every[i].oid >> 16 != 2 || every[i].len != 4)
			continue;
		for (uint32_t room = 1; room < 10; room++) { /* the guest's buffer chooses */
			cr_expect_eq(vsp_oid_query(&a, every[i].oid, room, out, &len), 0);
			cr_expect_eq(len, room < 8 ? 4 : 8, "%#x, room for %u: %u", every[i].oid, room, len);
			memcpy(&value, out, len);
			cr_expect_eq(value, every[i].value ? every[i].value + (room < 8 ? 0 : 1ull << 32) : 0);
			value = 0;
		}
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

Test(oid, list_has_what_is_served_to_the_ndis_version)
{
	static const struct {
		uint32_t major, minor, status;
		uint16_t list;
	} rows[] = {{5, 1, 0, 0x501},  {6, 0, 0, 0x600},  {6, 1, 0, 0x601},  {6, 20, 0, 0x614},
		    {6, 29, 0, 0x61d}, {6, 30, 0, 0x61e}, {6, 85, 0, 0x655}, {4, 0, VSP_RNDIS_BAD_VERSION, 0},
		    {7, 0, VSP_RNDIS_BAD_VERSION, 0}, {0, 0, VSP_RNDIS_BAD_VERSION, 0}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t out[VSP_OID_ANSWER_MAX];
		struct vsp_adapter a;
		uint32_t len, at = 0, oid;

		adapter_start(&a);
		a.ndis_major = rows[i].major;
		a.ndis_minor = rows[i].minor;
		cr_expect_eq(vsp_oid_query(&a, 0x00010101, 0, out, &len), rows[i].status);
		for (size_t k = 0; !rows[i].status && k < EVERY; k++) {
			if (every[k].list > rows[i].list)
				continue;
			cr_assert_lt(at, len, "%u.%u", rows[i].major, rows[i].minor);
			memcpy(&oid, out + at, 4);
			cr_expect_eq(oid, every[k].oid, "%u.%u: %#x", rows[i].major, rows[i].minor, oid);
			at += 4;
		}
		cr_expect_eq(len, at, "%u.%u: %u bytes", rows[i].major, rows[i].minor, len);
	}
}

Test(oid, speed_and_link_are_told_in_every_form)
{
	static const struct {
		uint64_t bps, units;
		bool up;
	} rows[] = {{0, 100000000, true}, {99, 0, true}, {10000000, 100000, false},
		    {429496729500ull, 0xffffffff, true}, {800000000000ull, 0xffffffff, true}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t out[VSP_OID_ANSWER_MAX];
		struct vsp_ndis_link_state state;
		struct vsp_adapter a;
		uint64_t value = 0, bps = rows[i].bps ? rows[i].bps : 10000000000ull, both[2];
		uint32_t len;

		adapter_start(&a);
		a.speed_bps = rows[i].bps;
		a.link_up = rows[i].up;
		vsp_adapter_reset(&a); /* an unknown speed is some speed */
		cr_expect_eq(vsp_oid_query(&a, 0x00010107, 0, out, &len), 0);
		memcpy(&value, out, 4);
		cr_expect_eq(value, rows[i].units, "%lu bit/s: %lu", rows[i].bps, value);
		cr_expect_eq(vsp_oid_query(&a, 0x00010206, 0, out, &len), 0);
		memcpy(both, out, 16);
		cr_expect(both[0] == bps && both[1] == bps);
		cr_expect_eq(vsp_oid_query(&a, 0x00010207, 0, out, &len), 0);
		memcpy(&state, out, sizeof(state));
		cr_expect_eq(state.connect, rows[i].up ? 1 : 2);
		cr_expect(state.duplex == 2 && state.transmit_bps == bps && state.receive_bps == bps);
		cr_expect_eq(vsp_oid_query(&a, 0x00010114, 0, out, &len), 0);
		cr_expect_eq(out[0], rows[i].up ? 0 : 1);
	}
}

Test(oid, rss_capabilities_and_name_are_whole)
{
	static char longest[VSP_FRIENDLY_NAME];
	struct vsp_ndis_rss_capabilities caps;
	uint8_t out[VSP_OID_ANSWER_MAX];
	struct vsp_adapter a;
	uint32_t len;

	adapter_start(&a);
	a.max_channels = 9;
	cr_expect_eq(vsp_oid_query(&a, 0x00010203, 0, out, &len), 0);
	memcpy(&caps, out, sizeof(caps));
	cr_expect(caps.flags == 0x301 && caps.interrupts == 1 && caps.queues == 9 && caps.entries == 128);
	memset(longest, 'x', sizeof(longest));
	memcpy(a.friendly_name, longest, sizeof(a.friendly_name));
	memset(out, 0xee, sizeof(out));
	cr_expect_eq(vsp_oid_query(&a, 0x00020216, 0, out, &len), 0);
	for (uint32_t i = 0; i < 512; i++)
		cr_expect_eq(out[i], i < 510 && i % 2 == 0 ? 'x' : 0, "byte %u", i);
	cr_expect_eq(out[512], 0xee);
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
		{"its own size counts", 28, 0, 0x80, 4, 0, 2, 2, 22, true, true, false},
		{"not even revision 1", 28, VSP_RNDIS_INVALID_DATA, 0x80, 4, 0, 2, 2, 19, true, true, false},
		{"a newer one", 40, 0, 0x80, 4, 0, 2, 2, 40, true, true, true},
		{"too short", 19, VSP_RNDIS_INVALID_LENGTH, 0x80, 4, 0, 2, 2, 19, true, true, false},
		{"says more than there is", 22, VSP_RNDIS_INVALID_DATA, 0x80, 4, 0, 2, 2, 28, true, true, false},
		{"another object", 28, VSP_RNDIS_INVALID_DATA, 0xa7, 4, 0, 2, 2, 28, true, true, false},
		{"unknown value", 28, VSP_RNDIS_INVALID_DATA, 0x80, 5, 0, 2, 2, 28, true, true, false},
		{"LSO v1", 28, VSP_RNDIS_NOT_SUPPORTED, 0x80, 4, 2, 2, 2, 28, true, true, false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct {
			struct vsp_ndis_offload_parameters p;
			uint8_t more[12];
		} p = {.p = {.header = {rows[i].type, 3, rows[i].size}, .tcp_ipv4_checksum = rows[i].csum,
			     .lso_v1 = rows[i].lso1, .lso_v2_ipv4 = rows[i].lso2, .rsc_ipv4 = rows[i].rsc}};
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
	struct vsp_ndis_offload_parameters p = {
		.header = {0x80, 3, 28}, .tcp_ipv4_checksum = 4, .lso_v2_ipv4 = 2, .rsc_ipv4 = 2};
	struct vsp_adapter a;

	adapter_start(&a);
	a.nic_offloads = 0;
	vsp_adapter_reset(&a);
	cr_expect_eq(vsp_oid_set(&a, 0xfc01020c, vmbus_cursor_of(&p, sizeof(p))), 0);
	cr_expect_not(a.offloads.tcp4_tx || a.offloads.lso4 || a.offloads.rsc4);
	adapter_start(&a);
	a.rsc_allowed = a.offloads.rsc4 = true;
	p.header.size = 22;
	p.rsc_ipv4 = 1; /* behind what the structure says it has */
	cr_expect_eq(vsp_oid_set(&a, 0xfc01020c, vmbus_cursor_of(&p, sizeof(p))), 0);
	cr_expect(a.offloads.rsc4);
}

/* Each switch of the parameters by each value and each nic: it is as the value says, as far as
 * the nic can, and all others are as they were. */
Test(oid, each_offload_parameter_switches_its_own)
{
#define AT(member) offsetof(struct vsp_offloads, member)
#define P(member) offsetof(struct vsp_ndis_offload_parameters, member)
	static const struct {
		size_t parameter, tx, rx; /* the same: it is on or off */
		uint32_t needs;
	} rows[] = {
		{P(ipv4_checksum), AT(ip4_tx), AT(ip4_rx), VSP_NIC_CSUM}, /* sent by software, whatever the nic */
		{P(tcp_ipv4_checksum), AT(tcp4_tx), AT(tcp4_rx), VSP_NIC_CSUM},
		{P(udp_ipv4_checksum), AT(udp4_tx), AT(udp4_rx), VSP_NIC_CSUM},
		{P(tcp_ipv6_checksum), AT(tcp6_tx), AT(tcp6_rx), VSP_NIC_CSUM},
		{P(udp_ipv6_checksum), AT(udp6_tx), AT(udp6_rx), VSP_NIC_CSUM},
		{P(lso_v2_ipv4), AT(lso4), AT(lso4), VSP_NIC_CSUM | VSP_NIC_TSO4},
		{P(lso_v2_ipv6), AT(lso6), AT(lso6), VSP_NIC_CSUM | VSP_NIC_TSO6},
		{P(rsc_ipv4), AT(rsc4), AT(rsc4), VSP_NIC_CSUM | VSP_NIC_TSO4},
		{P(rsc_ipv6), AT(rsc6), AT(rsc6), VSP_NIC_CSUM | VSP_NIC_TSO6},
	};
#undef AT
#undef P
	const size_t count = sizeof(rows) / sizeof(rows[0]);

	for (size_t i = 0; i < count * 6 * 8 * 2; i++) {
		size_t row = i % count, tx = rows[row].tx, rx = rows[row].rx;
		uint8_t value = (uint8_t)(i / count % 6);
		struct vsp_ndis_offload_parameters p = {.header = {VSP_NDIS_DEFAULT, 3, sizeof(p)}};
		bool able, before = i / count / 48, refused = tx != rx && value > 4;
		struct vsp_offloads expected;
		struct vsp_adapter a;

		adapter_start(&a);
		a.nic_offloads = (uint32_t)(i / count / 6 % 8);
		a.rsc_allowed = true;
		memset(&a.offloads, before, sizeof(a.offloads));
		expected = a.offloads;
		able = (a.nic_offloads & rows[row].needs) == rows[row].needs;
		((uint8_t *)&p)[rows[row].parameter] = value;
		if (value && !refused && tx == rx)
			((bool *)&expected)[tx] = able && value == 2;
		if (value && !refused && tx != rx) {
			((bool *)&expected)[tx] = (able || row == 0) && (value == 2 || value == 4);
			((bool *)&expected)[rx] = able && value >= 3;
		}
		cr_expect_eq(vsp_oid_set(&a, 0xfc01020c, vmbus_cursor_of(&p, sizeof(p))),
			     refused ? VSP_RNDIS_INVALID_DATA : VSP_RNDIS_SUCCESS, "row %zu, %u", row, value);
		cr_expect_eq(memcmp(&a.offloads, &expected, sizeof(expected)), 0, "row %zu, %u, nic %u", row,
			     value, a.nic_offloads);
	}
}

/* Each thing that is on by itself, as the guest is told of it: where in the structure, and what. */
Test(oid, offloads_are_described_each_in_its_place)
{
#define AT(member) offsetof(struct vsp_offloads, member)
	static const struct {
		size_t on;
		struct {
			uint32_t at, value;
		} words[4];
	} rows[] = {
		{AT(ip4_tx), {{4, 2}, {8, 0x101}}},  {AT(tcp4_tx), {{4, 2}, {8, 0x15}}},
		{AT(udp4_tx), {{4, 2}, {8, 0x41}}},  {AT(ip4_rx), {{12, 2}, {16, 0x101}}},
		{AT(tcp4_rx), {{12, 2}, {16, 0x15}}}, {AT(udp4_rx), {{12, 2}, {16, 0x41}}},
		{AT(tcp6_tx), {{20, 2}, {24, 0x15}}}, {AT(udp6_tx), {{20, 2}, {24, 0x41}}},
		{AT(tcp6_rx), {{28, 2}, {32, 0x15}}}, {AT(udp6_rx), {{28, 2}, {32, 0x41}}},
		{AT(lso4), {{80, 2}, {84, 62780}, {88, 2}}},
		{AT(lso6), {{92, 2}, {96, 62780}, {100, 2}, {104, 5}}},
		{AT(rsc4), {{144, 0x001}}},           {AT(rsc6), {{144, 0x100}}},
	};
#undef AT

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t expected[39] = {0x009c03a7}, words[39];
		struct vsp_ndis_offload out;
		struct vsp_offloads o;

		memset(&o, 0, sizeof(o));
		((bool *)&o)[rows[i].on] = true;
		for (size_t k = 0; k < 4 && rows[i].words[k].at; k++)
			expected[rows[i].words[k].at / 4] = rows[i].words[k].value;
		vsp_offloads_describe(&o, &out);
		memcpy(words, &out, sizeof(words));
		for (size_t k = 0; k < 39; k++)
			cr_expect_eq(words[k], expected[k], "row %zu, offset %zu: %#x", i, k * 4, words[k]);
	}
}

/* A parameter as Linux lays it out: the structure, name, 8 bytes more, value. */
static uint32_t parameter(uint8_t *out, const char *name, uint32_t type, const char *value)
{
	struct vsp_rndis_config_parameter p = {
		.name_offset = 20, .name_length = (uint32_t)strlen(name) * 2, .type = type,
		.value_length = (uint32_t)strlen(value) * 2};

	memset(out, 0, 600);
	p.value_offset = 20 + p.name_length;
	if (type < 2)
		p.value_length = 4;
	memcpy(out, &p, sizeof(p));
	for (size_t i = 0; name[i]; i++)
		out[20 + i * 2] = (uint8_t)name[i];
	for (size_t i = 0; value[i]; i++)
		out[p.value_offset + i * (type < 2 ? 1 : 2)] = (uint8_t)value[i];
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
		{"NetworkAddress", "00155D0a0B0G", VSP_RNDIS_INVALID_DATA},
		{"NetworkAddress", "g0155D0a0B0c", VSP_RNDIS_INVALID_DATA},
		{"NetworkAddress", "00155D0a0B:c", VSP_RNDIS_INVALID_DATA},
		{"NetworkAddress", "00155D0a0B/c", VSP_RNDIS_INVALID_DATA},
		{"NetworkAddress", "00155D0a0B@c", VSP_RNDIS_INVALID_DATA},
		{"NetworkAddress", "00155D0a0B`c", VSP_RNDIS_INVALID_DATA},
		{"SomethingElse", "whatever", 0},
		{"*SomethingElse", "9", 0},
		{"*SomethingElse", "0", 0},
		{"*SomethingElse", ":", VSP_RNDIS_INVALID_DATA},
		{"*SomethingElse", "/", VSP_RNDIS_INVALID_DATA},
		{"*SomethingElse", "11", VSP_RNDIS_INVALID_DATA},
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
	a.mac[0] = 2;
	n = parameter(info, "NetworkAddress", 0, "\x02");
	cr_expect_eq(vsp_oid_set(&a, 0x0001021b, vmbus_cursor_of(info, n)), VSP_RNDIS_INVALID_DATA, "a number");
	n = parameter(info, "NetworkAddress", 1, "\x02");
	cr_expect_eq(vsp_oid_set(&a, 0x0001021b, vmbus_cursor_of(info, n)), VSP_RNDIS_INVALID_DATA);
	n = parameter(info, "NetworkAddress", 3, "00155D0a0B0c");
	cr_expect_eq(vsp_oid_set(&a, 0x0001021b, vmbus_cursor_of(info, n)), VSP_RNDIS_NOT_SUPPORTED);
	cr_expect_eq(a.mac[0], 2);
}

/* Linux goes on with its address after it opened the channel again, and does not tell. */
Test(oid, frames_for_a_mac_that_was_chosen_before_are_let_through)
{
	static const uint8_t permanent[6] = {0, 0x15, 0x5d, 1, 2, 3}, chosen[6] = {2, 0, 0, 0, 0, 9},
			     other[6] = {0};
	const uint32_t filter = VSP_FILTER_DIRECTED;
	struct vsp_adapter a;
	uint8_t info[600];
	uint32_t n;

	adapter_start(&a);
	cr_expect_eq(vsp_oid_set(&a, 0x0001010e, vmbus_cursor_of(&filter, 4)), 0);
	cr_expect_not(vsp_adapter_wants(&a, other));
	n = parameter(info, "NetworkAddress", 2, "020000000009");
	cr_expect_eq(vsp_oid_set(&a, 0x0001021b, vmbus_cursor_of(info, n)), 0);
	cr_expect(vsp_adapter_wants(&a, chosen) && !vsp_adapter_wants(&a, permanent), "it was changed");
	for (int i = 0; i < 2; i++) {
		vsp_adapter_reset(&a);
		cr_expect_not(vsp_adapter_wants(&a, chosen), "nothing is wanted");
		cr_expect_eq(vsp_oid_set(&a, 0x0001010e, vmbus_cursor_of(&filter, 4)), 0);
		cr_expect(vsp_adapter_wants(&a, chosen) && vsp_adapter_wants(&a, permanent));
		cr_expect_not(vsp_adapter_wants(&a, other));
	}
}

/* Each name by each value, as a string and as a number: its own two switches are as the value
 * says, and all others as they were. */
Test(oid, keywords_switch_their_own_offloads)
{
#define AT(member) offsetof(struct vsp_offloads, member)
	static const struct {
		const char *name;
		size_t tx, rx; /* the same: there is no receive side */
	} rows[] = {
		{"*IPChecksumOffloadIPv4", AT(ip4_tx), AT(ip4_rx)},
		{"*TCPChecksumOffloadIPv4", AT(tcp4_tx), AT(tcp4_rx)},
		{"*TCPChecksumOffloadIPv6", AT(tcp6_tx), AT(tcp6_rx)},
		{"*UDPChecksumOffloadIPv4", AT(udp4_tx), AT(udp4_rx)},
		{"*UDPChecksumOffloadIPv6", AT(udp6_tx), AT(udp6_rx)},
		{"*LsoV2IPv4", AT(lso4), AT(lso4)},
		{"*LsoV2IPv6", AT(lso6), AT(lso6)},
	};
#undef AT

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) * 3 * 5; i++) {
		size_t row = i / 15, tx = rows[row].tx, rx = rows[row].rx;
		const char text[2] = {(char)('0' + i % 5), 0}, number[2] = {(char)(i % 5), 0};
		uint32_t type = (uint32_t)(i / 5 % 3), n, status, most = tx == rx ? 1 : 3, value = (uint32_t)(i % 5);
		struct vsp_offloads expected;
		struct vsp_adapter a;
		uint8_t info[600];

		adapter_start(&a);
		expected = a.offloads;
		n = parameter(info, rows[row].name, type, type == 2 ? text : number);
		status = vsp_oid_set(&a, 0x0001021b, vmbus_cursor_of(info, n));
		cr_expect_eq(status, value > most ? VSP_RNDIS_INVALID_DATA : VSP_RNDIS_SUCCESS, "%s=%u",
			     rows[row].name, value);
		if (value <= most && tx != rx)
			((bool *)&expected)[rx] = value & 2;
		if (value <= most)
			((bool *)&expected)[tx] = value & 1;
		cr_expect_eq(memcmp(&a.offloads, &expected, sizeof(expected)), 0, "%s=%u", rows[row].name,
			     value);
		cr_expect_eq(a.changed, value > most ? 0 : VSP_CHANGED_OFFLOADS);
	}
}

/* The offsets and lengths of a parameter at their edges; what is right is the first row. */
Test(oid, parameters_are_checked_at_every_edge)
{
	static const struct {
		const char *what;
		uint32_t name_offset, name_length, type, value_offset, value_length, len, status;
	} rows[] = {
		{"right", 20, 20, 2, 40, 2, 42, 0},
		{"name of all that is left", 20, 24, 2, 40, 2, 44, 0},
		{"name at the end", 22, 20, 2, 40, 2, 42, 0},
		{"longest name", 20, 254, 2, 274, 2, 276, 0},
		{"name too long", 20, 256, 2, 276, 2, 278, VSP_RNDIS_INVALID_DATA},
		{"name far too long", 20, 0xfffffffe, 2, 40, 2, 42, VSP_RNDIS_INVALID_DATA},
		{"odd name", 20, 19, 2, 40, 2, 42, VSP_RNDIS_INVALID_DATA},
		{"name past the end", 24, 20, 2, 40, 2, 42, VSP_RNDIS_INVALID_DATA},
		{"name behind the end", 43, 2, 2, 40, 2, 42, VSP_RNDIS_INVALID_DATA},
		{"name wraps", 0xfffffffe, 20, 2, 40, 2, 42, VSP_RNDIS_INVALID_DATA},
		{"longest value", 20, 20, 2, 40, 254, 294, 0},
		{"value too long", 20, 20, 2, 40, 256, 296, VSP_RNDIS_INVALID_DATA},
		{"odd value", 20, 20, 2, 40, 1, 42, VSP_RNDIS_INVALID_DATA},
		{"value past the end", 20, 20, 2, 41, 2, 42, VSP_RNDIS_INVALID_DATA},
		{"value wraps", 20, 20, 2, 0xfffffffe, 2, 42, VSP_RNDIS_INVALID_DATA},
		{"number", 20, 20, 0, 40, 4, 44, 0},
		{"number past the end", 20, 20, 0, 41, 4, 44, VSP_RNDIS_INVALID_DATA},
		{"number behind the end", 20, 20, 0, 45, 4, 44, VSP_RNDIS_INVALID_DATA},
		{"number wraps", 20, 20, 0, 0xfffffffc, 4, 44, VSP_RNDIS_INVALID_DATA},
		{"short number", 20, 20, 0, 40, 3, 44, VSP_RNDIS_INVALID_DATA},
		{"long number", 20, 20, 0, 40, 5, 45, VSP_RNDIS_INVALID_DATA},
		{"no type", 20, 20, 3, 40, 4, 44, VSP_RNDIS_NOT_SUPPORTED},
		{"type beyond all", 20, 20, 5, 40, 4, 44, VSP_RNDIS_NOT_SUPPORTED},
		{"nothing but the fixed part", 20, 0, 2, 20, 0, 20, 0},
		{"not even that", 20, 0, 2, 20, 0, 19, VSP_RNDIS_INVALID_LENGTH},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct vsp_rndis_config_parameter p = {rows[i].name_offset, rows[i].name_length,
							     rows[i].type, rows[i].value_offset,
							     rows[i].value_length};
		uint8_t *exact = malloc(rows[i].len + 20);
		struct vsp_adapter a;
		uint32_t status;

		for (uint32_t k = 0; k < rows[i].len + 20; k++) /* "xxx..." */
			exact[k] = k % 2 ? 0 : 'x';
		memcpy(exact, &p, sizeof(p));
		adapter_start(&a);
		status = vsp_oid_set(&a, 0x0001021b, vmbus_cursor_of(exact, rows[i].len));
		cr_expect_eq(status, rows[i].status, "%s: %#x", rows[i].what, status);
		free(exact);
	}
}

/* UTF-16 that is no ASCII. */
Test(oid, parameters_in_other_letters_are_refused)
{
	static const uint16_t letters[] = {0x80, 0xff, 0x0100, 0x0141, 0x4100, 0xd800};
	struct vsp_adapter a;
	uint8_t info[600];

	for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++) {
		uint32_t n = parameter(info, "Name", 2, "value"), at = i % 2 ? 22 : n - 2;

		info[at] = (uint8_t)letters[i];
		info[at + 1] = (uint8_t)(letters[i] >> 8);
		adapter_start(&a);
		cr_expect_eq(vsp_oid_set(&a, 0x0001021b, vmbus_cursor_of(info, n)), VSP_RNDIS_INVALID_DATA,
			     "%#x", letters[i]);
	}
}

Test(oid, packet_filter_lets_through_what_it_says)
{
	/* behind an address in a frame stands another */
	static const uint8_t me[7] = {0, 0x15, 0x5d, 1, 2, 3, 7}, other[7] = {0, 0x15, 0x5d, 1, 2, 4, 7},
			     all[7] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 7},
			     listed[7] = {1, 0, 0x5e, 0, 0, 1, 7}, unlisted[7] = {1, 0, 0x5e, 0, 0, 2, 7};
	static const struct {
		uint32_t filter;
		bool me, other, all, listed, unlisted;
	} rows[] = {
		{0, 0, 0, 0, 0, 0},    {1, 1, 0, 0, 0, 0},    {2, 0, 0, 0, 1, 0}, {4, 0, 0, 0, 1, 1},
		{8, 0, 0, 1, 0, 0},    {0x10, 0, 0, 0, 0, 0}, {13, 1, 0, 1, 1, 1},   {11, 1, 0, 1, 1, 0}, {0x20, 1, 1, 1, 1, 1},
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

Test(oid, rss_is_set_for_the_channels_there_are)
{
	struct {
		struct vsp_ndis_rss_parameters p;
		uint32_t table[128];
		uint8_t key[40];
	} m = {.p = {.hash = 0x1701, .table_size = 512, .table_offset = 40, .key_size = 40, .key_offset = 552}};
	struct vsp_adapter a;

	for (uint32_t entry = 2; entry < 6; entry++) {
		adapter_start(&a);
		m.table[127] = entry;
		cr_expect_eq(vsp_oid_set(&a, 0x00010204, vmbus_cursor_of(&m, sizeof(m))),
			     entry < 4 ? VSP_RNDIS_SUCCESS : VSP_RNDIS_INVALID_DATA, "channel %u", entry);
		cr_expect_eq(a.rss.on, entry < 4);
		cr_expect_eq(a.changed, entry < 4 ? VSP_CHANGED_RSS : 0);
	}
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
	e.ipv4.header_size = 18;
	cr_expect_eq(vsp_oid_set(&a, 0x0101010a, vmbus_cursor_of(&e, 28)), VSP_RNDIS_NOT_SUPPORTED);
	e.ipv4.enabled = 0;
	for (uint32_t size = 27; size < 31; size++) {
		e.header.size = (uint16_t)size;
		cr_expect_eq(vsp_oid_set(&a, 0x0101010a, vmbus_cursor_of(&e, 28)),
			     size == 28 ? 0 : VSP_RNDIS_INVALID_DATA, "says %u bytes", size);
	}
	e.header = (struct vsp_ndis_object){0xa8, 0, 28};
	cr_expect_eq(vsp_oid_set(&a, 0x0101010a, vmbus_cursor_of(&e, 28)), VSP_RNDIS_INVALID_DATA);
	e.header = (struct vsp_ndis_object){0xa7, 1, 28};
	cr_expect_eq(vsp_oid_set(&a, 0x0101010a, vmbus_cursor_of(&e, 28)), VSP_RNDIS_INVALID_DATA);
}
