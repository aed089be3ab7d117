/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <string.h>

#include <criterion/criterion.h>

#include <vsp/netvsc.h>

#include "frame.h"
#include "rndis.h"
#include "rss.h"

/* Builds Ethernet + IP + TCP or UDP with @payload bytes; checksums as asked. */
struct shape {
	const char *name;
	int version;
	uint8_t protocol;
	bool vlan;
	uint16_t options;  /* bytes of IPv4 options or IPv6 extension header */
	uint16_t fragment; /* IPv4 field */
};

static uint32_t build(const struct shape *s, uint8_t *f, uint32_t payload)
{
	uint32_t at = 12, l4 = s->protocol == 6 ? 20 : 8, ip;

	memset(f, 0, 400);
	memcpy(f, "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02", 12);
	if (s->vlan) {
		memcpy(f + at, "\x81\x00\xb0\x2a", 4); /* priority 5, DEI, VLAN 42 */
		at += 4;
	}
	vsp_put16(f + at, s->version == 4 ? 0x0800 : 0x86dd);
	ip = at + 2;
	if (s->version == 4) {
		f[ip] = (uint8_t)(0x45 + s->options / 4);
		vsp_put16(f + ip + 2, 20u + s->options + l4 + payload);
		vsp_put16(f + ip + 6, s->fragment);
		f[ip + 8] = 64;
		f[ip + 9] = s->protocol;
		memcpy(f + ip + 12, "\x0a\x00\x00\x01\x0a\x00\x00\x02", 8);
		at = ip + 20u + s->options;
	} else {
		f[ip] = 0x60;
		vsp_put16(f + ip + 4, s->options + l4 + payload);
		f[ip + 6] = s->options ? 60 : s->protocol;
		for (uint32_t i = 0; i < 32; i++)
			f[ip + 8 + i] = (uint8_t)(i * 7 + 1);
		at = ip + 40;
		if (s->options) {
			f[at] = s->protocol;
			f[at + 1] = (uint8_t)(s->options / 8 - 1);
			at += s->options;
		}
	}
	vsp_put16(f + at, 1000);
	vsp_put16(f + at + 2, 2000);
	if (s->protocol == 6)
		f[at + 12] = 0x50;
	else
		vsp_put16(f + at + 4, 8 + payload);
	for (uint32_t i = 0; i < payload; i++)
		f[at + l4 + i] = (uint8_t)(i * 13 + 5);
	return at + l4 + payload;
}

static const struct shape shapes[] = {
	{"v4 tcp", 4, 6, false, 0, 0},          {"v4 udp", 4, 17, false, 0, 0},
	{"v6 tcp", 6, 6, false, 0, 0},          {"v6 udp", 6, 17, false, 0, 0},
	{"v4 tcp options", 4, 6, false, 24, 0}, {"v6 tcp extension", 6, 6, false, 16, 0},
	{"v4 tcp tagged", 4, 6, true, 0, 0},    {"v6 udp tagged", 6, 17, true, 8, 0},
};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

static uint32_t transport_of(const struct shape *s)
{
	return 14u + (s->vlan ? 4 : 0) + (s->version == 4 ? 20u : 40u) + s->options;
}

/* The plain definition: 16-bit words, big-endian. */
static uint16_t reference_sum(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* Sum over pseudo header and transport part: 0xffff if the checksum is right. */
static uint16_t verify(const struct shape *s, const uint8_t *f, uint32_t len)
{
	uint8_t all[600] = {0};
	uint32_t t = transport_of(s), n = 0;
	const uint8_t *ip = f + 14 + (s->vlan ? 4 : 0);

	if (s->version == 4) {
		memcpy(all, ip + 12, 8);
		n = 8;
	} else {
		memcpy(all, ip + 8, 32);
		n = 32;
	}
	all[n + 1] = s->protocol;
	vsp_put16(all + n + 2, len - t);
	n += 4;
	memcpy(all + n, f + t, len - t);
	return reference_sum(all, n + len - t);
}

static uint16_t seed_of(const struct shape *s, const uint8_t *f, uint32_t length)
{
	uint8_t all[40] = {0};
	const uint8_t *ip = f + 14 + (s->vlan ? 4 : 0);
	uint32_t n = s->version == 4 ? 8 : 32;

	memcpy(all, ip + (s->version == 4 ? 12 : 8), n);
	all[n + 1] = s->protocol;
	vsp_put16(all + n + 2, length);
	return reference_sum(all, n + 4);
}

Test(frame, sums_of_any_alignment_and_split_agree_with_the_definition)
{
	uint8_t bytes[300];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 151 + 17);
	for (size_t at = 0; at < 8; at++) {
		for (size_t len = 0; len < 64; len++) {
			uint16_t want = reference_sum(bytes + at, len);

			for (size_t cut = 0; cut <= len; cut++) {
				uint64_t sum = vsp_sum_add(0, bytes + at, cut, false);
				uint16_t got;

				sum = vsp_sum_add(sum, bytes + at + cut, len - cut, cut & 1);
				got = ntohs(vsp_sum_fold(sum));
				cr_expect_eq(got, want, "at %zu, %zu bytes cut at %zu", at, len, cut);
			}
		}
	}
}

Test(frame, headers_are_found_in_every_shape_and_never_past_the_end)
{
	uint8_t f[400], exact[400];
	struct vsp_frame parsed;

	for (size_t i = 0; i < SHAPES; i++) {
		uint32_t len = build(&shapes[i], f, 40);

		cr_assert(vsp_frame_parse(f, len, &parsed));
		cr_expect_eq(parsed.transport, transport_of(&shapes[i]), "%s", shapes[i].name);
		cr_expect_eq(parsed.version, shapes[i].version);
		cr_expect_eq(parsed.protocol, shapes[i].protocol);
		cr_expect_eq(parsed.vlan, shapes[i].vlan);
		if (parsed.vlan)
			cr_expect_eq(parsed.tci, 0xb02a);
		for (uint32_t cut = 0; cut < len; cut++) {
			memcpy(exact, f, cut);
			cr_expect_eq(vsp_frame_parse(exact, cut, &parsed), cut >= 14);
			cr_expect(!parsed.transport || parsed.transport + 4u <= cut, "%s at %u",
				  shapes[i].name, cut);
		}
	}
}

/* What is known of a frame whose end is cut off is what lies in front of the cut. */
Test(frame, cut_frames_are_known_as_far_as_they_go)
{
	struct vsp_frame parsed;
	uint8_t f[400];

	for (size_t i = 0; i < SHAPES; i++) {
		const struct shape *s = &shapes[i];
		uint32_t len = build(s, f, 40), ip = s->vlan ? 18 : 14, t = transport_of(s);
		uint32_t fixed = s->version == 4 ? ip + 20u + s->options : ip + 40;

		for (uint32_t cut = 14; cut < len; cut++) {
			cr_assert(vsp_frame_parse(f, cut, &parsed));
			cr_expect_eq(parsed.version, cut >= fixed ? s->version : 0, "%s at %u", s->name, cut);
			cr_expect_eq(parsed.transport, cut >= t + 4 ? t : 0, "%s at %u", s->name, cut);
			cr_expect_eq(parsed.vlan, s->vlan && cut >= 18, "%s at %u", s->name, cut);
		}
		f[ip] = (uint8_t)(f[ip] ^ 0x20); /* another version in the header than in the frame */
		cr_assert(vsp_frame_parse(f, len, &parsed));
		cr_expect_eq(parsed.version, 0, "%s", s->name);
	}
	build(&shapes[0], f, 40);
	f[14] = 0x44; /* shorter than a header */
	cr_assert(vsp_frame_parse(f, 94, &parsed));
	cr_expect_eq(parsed.version, 0);
}

/* Chains of IPv6 extension headers: which are passed, and what stands behind them. */
Test(frame, extension_headers_are_walked)
{
	static const struct {
		const char *name;
		uint8_t chain[10], count, protocol; /* each 8 bytes long, but the second: 16 */
		uint16_t fragment;                  /* field of the fragment header */
		bool is_fragment, ports;
	} rows[] = {
		{"none", {0}, 0, 17, 0, false, true},
		{"hop by hop, routing, destination", {0, 43, 60}, 3, 17, 0, false, true},
		{"eight", {60, 60, 60, 60, 60, 60, 60}, 7, 17, 0, false, true},
		{"more than are walked", {60, 60, 60, 60, 60, 60, 60, 60}, 8, 17, 0, false, false},
		{"the one and only fragment", {44}, 1, 17, 0x0000, true, true},
		{"first fragment", {0, 44}, 2, 17, 0x0001, true, true},
		{"reserved bits only", {44}, 1, 17, 0x0006, true, true},
		{"later fragment", {44}, 1, 17, 0x0008, true, false},
		{"last fragment, far out", {43, 44}, 2, 17, 0xfff8, true, false},
		{"not an extension", {42}, 1, 42, 0, false, true},
		{"authentication", {51}, 1, 51, 0, false, true},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct shape s = {"", 6, 17, false, 0, 0};
		uint32_t at = 54, whole;
		struct vsp_frame parsed;
		uint8_t f[400];

		build(&s, f, 0);
		memset(f + 54, 0, sizeof(f) - 54);
		f[20] = rows[i].count ? rows[i].chain[0] : 17;
		for (uint32_t k = 0; k < rows[i].count; k++) {
			bool fragment = rows[i].chain[k] == 44;

			f[at] = k + 1 < rows[i].count ? rows[i].chain[k + 1] : 17;
			f[at + 1] = k == 1 && !fragment; /* eights behind the first */
			if (fragment)
				vsp_put16(f + at + 2, rows[i].fragment);
			if (rows[i].protocol != 17)
				break;
			at += k == 1 && !fragment ? 16 : 8;
		}
		whole = at + 8;
		cr_assert(vsp_frame_parse(f, whole, &parsed));
		cr_expect_eq(parsed.version, 6);
		cr_expect_eq(parsed.fragment, rows[i].is_fragment, "%s", rows[i].name);
		cr_expect_eq(parsed.transport, rows[i].ports ? at : 0, "%s: %u", rows[i].name, parsed.transport);
		cr_expect_eq(parsed.protocol, rows[i].count == 8 ? 0 : rows[i].protocol, "%s", rows[i].name);
		for (uint32_t cut = 54; cut < at + 4; cut++) {
			cr_assert(vsp_frame_parse(f, cut, &parsed));
			cr_expect_eq(parsed.transport, 0, "%s at %u", rows[i].name, cut);
		}
	}
}

Test(frame, fragments_are_known_and_later_ones_have_no_ports)
{
	static const struct {
		uint16_t field;
		bool fragment, ports;
	} rows[] = {{0, false, true},     {0x4000, false, true}, {0x2000, true, true},
		    {0x2001, true, false}, {0x0005, true, false}};
	struct shape s = {"fragment", 4, 17, false, 0, 0};
	struct vsp_frame parsed;
	uint8_t f[400];

	for (size_t i = 0; i < 5; i++) {
		uint32_t len;

		s.fragment = rows[i].field;
		len = build(&s, f, 30);
		cr_assert(vsp_frame_parse(f, len, &parsed));
		cr_expect_eq(parsed.fragment, rows[i].fragment, "%#x", rows[i].field);
		cr_expect_eq(parsed.transport != 0, rows[i].ports, "%#x", rows[i].field);
	}
}

Test(frame, checksum_request_becomes_a_vnet_header)
{
	uint8_t f[404];
	struct vsp_vnet_header h;

	for (size_t i = 0; i < SHAPES; i++) {
		const struct shape *s = &shapes[i];
		uint32_t len = build(s, f, 33), t = transport_of(s);
		struct vsp_rndis_data data = {.has_checksum = true};
		uint32_t bit = s->protocol == 6 ? VSP_CSUM_TX_TCP : VSP_CSUM_TX_UDP;

		data.checksum = bit | VSP_CSUM_TX_IPV4 | t << 16;
		cr_assert_eq(vsp_frame_transmit(&data, f, len, len, &h), len, "%s", s->name);
		cr_expect_eq(h.flags, VSP_VNET_NEEDS_CSUM);
		cr_expect_eq(h.csum_start, t);
		cr_expect_eq(h.csum_offset, s->protocol == 6 ? 16 : 6);
		cr_expect_eq(h.gso_type, 0);
		if (s->options || s->vlan)
			continue;
		data.checksum = bit; /* without an offset the plain headers are assumed */
		cr_assert_eq(vsp_frame_transmit(&data, f, len, len, &h), len);
		cr_expect_eq(h.csum_start, t, "%s", s->name);
	}
}

Test(frame, checksum_request_out_of_the_frame_is_refused)
{
	static const struct {
		const char *name;
		uint32_t info, len;
	} rows[] = {
		{"both protocols", VSP_CSUM_TX_TCP | VSP_CSUM_TX_UDP | 34u << 16, 100},
		{"before the IP header's end", VSP_CSUM_TX_TCP | 33u << 16, 100},
		{"in the Ethernet header", VSP_CSUM_TX_UDP | 1u << 16, 100},
		{"TCP field ends past the frame", VSP_CSUM_TX_TCP | 83u << 16, 100},
		{"UDP field ends past the frame", VSP_CSUM_TX_UDP | 93u << 16, 100},
		{"far out", VSP_CSUM_TX_TCP | 1023u << 16, 100},
		{"in the IPv6 header", VSP_CSUM_TX_TCP | 53u << 16, 130},
	};
	struct vsp_vnet_header h;
	uint8_t f[404];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vsp_rndis_data data = {.has_checksum = true, .checksum = rows[i].info};

		build(&shapes[strstr(rows[i].name, "IPv6") ? 2 : 0], f, 100);
		cr_expect_eq(vsp_frame_transmit(&data, f, rows[i].len, rows[i].len, &h), 0, "%s",
			     rows[i].name);
		data.checksum -= 1u << 16; /* the edge, where there is one */
		if (strstr(rows[i].name, "past the frame"))
			cr_expect_eq(vsp_frame_transmit(&data, f, 100, 100, &h), 100, "%s", rows[i].name);
	}
}

Test(frame, ipv4_header_checksum_is_computed_on_request)
{
	struct vsp_rndis_data data = {.has_checksum = true,
				      .checksum = VSP_CSUM_TX_IPV4 | VSP_CSUM_TX_IP_HEADER};
	struct vsp_vnet_header h;
	uint8_t f[404];

	for (size_t i = 0; i < SHAPES; i++) {
		uint32_t len = build(&shapes[i], f, 10), ip = shapes[i].vlan ? 18 : 14;
		uint32_t done;

		f[ip + 10] = 0x12; /* whatever was there */
		done = vsp_frame_transmit(&data, f, len, len, &h);
		if (shapes[i].version == 6) {
			cr_expect_eq(done, 0, "%s has no such checksum", shapes[i].name);
			continue;
		}
		cr_expect_eq(done, len);
		cr_expect_eq(h.flags, 0);
		cr_expect_eq(reference_sum(f + ip, 20u + shapes[i].options), 0xffff, "%s", shapes[i].name);
	}
}

/* Twice: LSO v2, which leaves lengths out, and v1 (IPv4 only), of whose seed nothing is known. */
Test(frame, lso_fixes_lengths_checksum_and_seed)
{
	for (size_t i = 0; i < 2 * SHAPES; i++) {
		const struct shape *s = &shapes[i % SHAPES];
		bool v1 = i >= SHAPES;
		uint32_t ip = s->vlan ? 18 : 14, t = transport_of(s), len, whole = 50000;
		struct vsp_rndis_data data = {.has_lso = true};
		struct vsp_vnet_header h;
		uint8_t f[404];
		uint16_t seed;

		if (s->protocol != 6 || (v1 && s->version == 6))
			continue;
		len = build(s, f, 100);
		vsp_put16(f + ip + (s->version == 4 ? 2 : 4), v1 ? whole - ip : 0);
		vsp_put16(f + t + 16, v1 ? 0x1234 : seed_of(s, f, 0));
		/* the bit for IPv6 means nothing in v1 */
		data.lso = 1448 | t << 20 | (v1 ? 0 : VSP_LSO_V2) | (s->version == 6 || v1 ? VSP_LSO_IPV6 : 0);
		cr_assert_eq(vsp_frame_transmit(&data, f, len, whole, &h), len, "%s", s->name);
		cr_expect_eq(h.gso_type, s->version == 4 ? VSP_VNET_GSO_TCPV4 : VSP_VNET_GSO_TCPV6);
		cr_expect_eq(h.gso_size, 1448);
		cr_expect_eq(h.header_len, t + 20);
		cr_expect_eq(h.csum_start, t);
		cr_expect_eq(vsp_get16(f + ip + (s->version == 4 ? 2 : 4)),
			     whole - ip - (s->version == 4 ? 0u : 40u), "%s", s->name);
		seed = vsp_get16(f + t + 16);
		cr_expect_eq(seed, seed_of(s, f, whole - t), "%s: %#x", s->name, seed);
		if (s->version == 4)
			cr_expect_eq(reference_sum(f + ip, 20u + s->options), 0xffff);
	}
}

Test(frame, lso_that_does_not_fit_the_frame_is_refused)
{
	static const struct {
		const char *name;
		size_t shape;
		uint32_t lso, whole;
		uint8_t doff;
	} rows[] = {
		{"no segment size", 0, 54u << 20 | VSP_LSO_V2, 9000, 0x50},
		{"segment of more than 64 KiB", 0, 0x10000 | 34u << 20 | VSP_LSO_V2, 9000, 0x50},
		{"IPv6 asked, IPv4 there", 0, 1448 | 34u << 20 | VSP_LSO_V2 | VSP_LSO_IPV6, 9000, 0x50},
		{"IPv4 asked, IPv6 there", 2, 1448 | 54u << 20 | VSP_LSO_V2, 9000, 0x50},
		{"TCP in the IP header", 0, 1448 | 33u << 20 | VSP_LSO_V2, 9000, 0x50},
		{"TCP behind the head", 0, 1448 | 1000u << 20 | VSP_LSO_V2, 9000, 0x50},
		{"TCP header too short", 0, 1448 | 34u << 20 | VSP_LSO_V2, 9000, 0x40},
		{"TCP header is the frame", 0, 1448 | 34u << 20 | VSP_LSO_V2, 54, 0x50},
		{"longer than IPv4 can say", 0, 1448 | 34u << 20 | VSP_LSO_V2, 65535 + 15, 0x50},
		{"longer than IPv6 can say", 2, 1448 | 54u << 20 | VSP_LSO_V2 | VSP_LSO_IPV6,
		 65535 + 55, 0x50},
	};
	struct vsp_vnet_header h;
	uint8_t f[404];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vsp_rndis_data data = {.has_lso = true, .lso = rows[i].lso};
		uint32_t len = build(&shapes[rows[i].shape], f, 100);

		f[transport_of(&shapes[rows[i].shape]) + 12] = rows[i].doff;
		if (rows[i].whole < len)
			len = rows[i].whole;
		cr_expect_eq(vsp_frame_transmit(&data, f, len, rows[i].whole, &h), 0, "%s", rows[i].name);
	}
}

Test(frame, tag_goes_in_and_comes_out_the_same)
{
	struct vsp_rndis_data data = {.has_checksum = true, .has_vlan = true,
				      .checksum = VSP_CSUM_TX_TCP | 34u << 16};
	struct vsp_frame_received r;
	struct vsp_vnet_header h;
	struct vsp_frame parsed;
	uint8_t f[404], plain[404];
	uint32_t len = build(&shapes[0], f, 50);

	memcpy(plain, f, len);
	data.vlan = 5u | 1u << 3 | 42u << 4; /* priority 5, DEI, VLAN 42 */
	cr_assert_eq(vsp_frame_transmit(&data, f, len, len, &h), len + 4);
	cr_expect_eq(h.csum_start, 38);
	cr_expect_eq(memcmp(f + 12, "\x81\x00\xb0\x2a\x08\x00", 6), 0);
	cr_assert(vsp_frame_parse(f, len + 4, &parsed));
	cr_assert(vsp_frame_received(&h, &parsed, len + 4, len + 4, &r));
	cr_expect(r.vlan);
	cr_expect_eq(r.vlan_info, data.vlan);
	cr_expect_eq(vsp_frame_untag(f), 4);
	cr_expect_eq(memcmp(f + 4, plain, len), 0);
}

Test(frame, undone_checksums_are_finished_over_any_split)
{
	for (size_t i = 0; i < SHAPES; i++) {
		const struct shape *s = &shapes[i];
		uint32_t t = transport_of(s), field = s->protocol == 6 ? 16 : 6;

		for (uint32_t payload = 0; payload < 60; payload++) {
			uint8_t f[404];
			uint32_t len = build(s, f, payload), head = t + 20 < len ? t + 20 : len;
			uint32_t half = (len - head) / 2;
			const struct iovec rest[2] = {{f + head, half}, {f + head + half, 1000}};
			struct vsp_vnet_header h = {.flags = VSP_VNET_NEEDS_CSUM, .csum_start = (uint16_t)t,
						    .csum_offset = (uint16_t)field};
			struct vsp_frame_received r;
			struct vsp_frame parsed;

			vsp_put16(f + t + field, seed_of(s, f, len - t));
			cr_assert(vsp_frame_parse(f, head, &parsed));
			cr_assert(vsp_frame_received(&h, &parsed, head, len, &r), "%s", s->name);
			cr_assert(r.sum_needed);
			cr_expect(r.checksum & (s->protocol == 6 ? VSP_CSUM_RX_TCP_GOOD : VSP_CSUM_RX_UDP_GOOD));
			vsp_frame_complete(&r, f, head, rest, 2, len - head);
			cr_expect_eq(verify(s, f, len), 0xffff, "%s, %u bytes", s->name, payload);
		}
	}
}

Test(frame, vnet_headers_that_lie_are_refused)
{
	static const struct {
		const char *name;
		struct vsp_vnet_header h;
		bool ok;
	} rows[] = {
		{"plain", {.flags = 0}, true},
		{"verified", {.flags = VSP_VNET_DATA_VALID}, true},
		{"unknown gso", {.gso_type = 9, .gso_size = 100}, false},
		{"fragmentation offload", {.gso_type = 3, .gso_size = 100}, false},
		{"gso without size", {.gso_type = 1}, false},
		{"IPv6 segments of IPv4", {.gso_type = 4, .gso_size = 100}, false},
		{"UDP segments of TCP", {.gso_type = 5, .gso_size = 100}, false},
		{"sum starts behind the addresses", {.flags = 1, .csum_start = 14, .csum_offset = 6}, true},
		{"sum field at the head's end", {.flags = 1, .csum_start = 34, .csum_offset = 118}, true},
		{"sum field over the head's end", {.flags = 1, .csum_start = 34, .csum_offset = 119}, false},
		{"TCP segments with ECN", {.gso_type = 0x81, .gso_size = 100}, true},
		{"sum starts in the addresses", {.flags = 1, .csum_start = 13, .csum_offset = 6}, false},
		{"sum field past the head", {.flags = 1, .csum_start = 34, .csum_offset = 200}, false},
		{"sum start past all", {.flags = 1, .csum_start = 65535, .csum_offset = 65535}, false},
	};
	struct vsp_frame_received r;
	struct vsp_frame parsed;
	uint8_t f[404];
	uint32_t len = build(&shapes[0], f, 100);

	cr_assert(vsp_frame_parse(f, len, &parsed));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		cr_expect_eq(vsp_frame_received(&rows[i].h, &parsed, len, len, &r), rows[i].ok, "%s",
			     rows[i].name);
}

/* What the guest is told of a frame that the nic verified, or left undone, or coalesced. */
Test(frame, verdicts_say_what_is_known)
{
	static const struct {
		const char *name;
		struct vsp_vnet_header h;
		int version;
		uint8_t protocol;
		uint16_t fragment;
		uint32_t verdict;
		bool gso, sum;
	} rows[] = {
#define DONE {.flags = VSP_VNET_DATA_VALID}
#define TSO(type) {.flags = VSP_VNET_NEEDS_CSUM, .gso_type = (type), .gso_size = 100, .csum_start = 40, .csum_offset = 6}
		{"nothing known", {.flags = 0}, 4, 6, 0, 0, false, false},
		{"TCP", DONE, 4, 6, 0, VSP_CSUM_RX_TCP_GOOD | VSP_CSUM_RX_IP_GOOD, false, false},
		{"UDP", DONE, 4, 17, 0, VSP_CSUM_RX_UDP_GOOD | VSP_CSUM_RX_IP_GOOD, false, false},
		{"TCP of IPv6", DONE, 6, 6, 0, VSP_CSUM_RX_TCP_GOOD, false, false},
		{"UDP of IPv6", DONE, 6, 17, 0, VSP_CSUM_RX_UDP_GOOD, false, false},
		{"another protocol", DONE, 4, 1, 0, 0, false, false},
		{"first fragment", DONE, 4, 17, 0x2000, 0, false, false},
		{"undone", {.flags = VSP_VNET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16}, 4, 6, 0,
		 VSP_CSUM_RX_TCP_GOOD | VSP_CSUM_RX_IP_GOOD, false, true},
		{"coalesced", TSO(1), 4, 6, 0,
		 VSP_CSUM_RX_TCP_GOOD | VSP_CSUM_RX_TCP_NO_VALUE | VSP_CSUM_RX_IP_GOOD | VSP_CSUM_RX_IP_NO_VALUE,
		 true, false},
		{"coalesced, with ECN", TSO(0x81), 4, 6, 0,
		 VSP_CSUM_RX_TCP_GOOD | VSP_CSUM_RX_TCP_NO_VALUE | VSP_CSUM_RX_IP_GOOD | VSP_CSUM_RX_IP_NO_VALUE,
		 true, false},
		{"coalesced IPv6", TSO(4), 6, 6, 0, VSP_CSUM_RX_TCP_GOOD | VSP_CSUM_RX_TCP_NO_VALUE, true, false},
		{"datagrams", TSO(5), 4, 17, 0, VSP_CSUM_RX_UDP_GOOD | VSP_CSUM_RX_IP_GOOD | VSP_CSUM_RX_IP_NO_VALUE,
		 true, false},
#undef DONE
#undef TSO
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct shape s = {"", rows[i].version, rows[i].protocol, false, 0, rows[i].fragment};
		struct vsp_frame_received r;
		struct vsp_frame parsed;
		uint8_t f[400];
		uint32_t len = build(&s, f, 100);

		cr_assert(vsp_frame_parse(f, len, &parsed));
		cr_assert(vsp_frame_received(&rows[i].h, &parsed, len, len, &r), "%s", rows[i].name);
		cr_expect_eq(r.checksum, rows[i].verdict, "%s: %#x", rows[i].name, r.checksum);
		cr_expect_eq(r.gso, rows[i].gso, "%s", rows[i].name);
		cr_expect_eq(r.sum_needed, rows[i].sum, "%s", rows[i].name);
		cr_expect_not(vsp_frame_received(&rows[i].h, &parsed, len + 1, len, &r), "head beyond the frame");
	}
}

/* Microsoft's RSS verification suite. */
static const uint8_t key[40] = {
	0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
	0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
	0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

/* The guest's way back to a nic: all shapes, cut into pieces at any place, with and without a tag,
 * coalesced or verified. The frame is checked as the nic puts it together. */
Test(frame, received_frames_become_what_a_nic_takes)
{
	uint8_t wire[400], head[VSP_NETVSC_HEAD_MAX], back[400 + VSP_VLAN_TAG];

	for (size_t i = 0; i < SHAPES * 4; i++) {
		const struct shape *s = &shapes[i / 4];
		bool tag = i & 1, coalesced = i & 2 && s->protocol == 6;
		uint32_t len = build(s, wire, 250), shift = tag ? VSP_VLAN_TAG : 0;

		for (uint32_t cut = 1; cut < len; cut++) {
			struct vsp_netvsc_frame in = {.piece_count = 2, .len = len, .coalesced = coalesced,
						      .checksum = VSP_CSUM_RX_TCP_GOOD, .has_vlan = tag,
						      .vlan = 5 | 1 << 3 | 42 << 4};
			struct vsp_vnet_header h;
			uint32_t taken = 0, n, tcp = transport_of(s);

			in.pieces[0].data = wire;
			in.pieces[0].len = cut;
			in.pieces[1].data = wire + cut;
			in.pieces[1].len = len - cut;
			n = vsp_netvsc_nic_head(&in, 1500, head, &taken, &h);
			cr_assert_eq(n, taken + shift, "%s at %u", s->name, cut);
			cr_assert_eq(taken, len < VSP_HEAD ? len : VSP_HEAD);
			memcpy(back, head, n);
			memcpy(back + n, wire + taken, len - taken);
			if (tag) {
				cr_assert_arr_eq(back + 12, "\x81\x00\xb0\x2a", 4);
				memmove(back + 12, back + 16, len - 12);
			}
			if (!coalesced) {
				cr_assert_eq(h.flags, VSP_VNET_DATA_VALID);
				cr_assert_arr_eq(back, wire, len, "%s at %u", s->name, cut);
				continue;
			}
			cr_assert_eq(h.flags, VSP_VNET_NEEDS_CSUM);
			cr_assert_eq(h.gso_type, s->version == 4 ? VSP_VNET_GSO_TCPV4 : VSP_VNET_GSO_TCPV6);
			cr_assert_eq(h.csum_start, tcp + shift);
			cr_assert_eq(h.header_len, tcp + shift + 20);
			cr_assert_eq(h.gso_size, 1500 - (tcp + 20 - 14 - (s->vlan ? 4 : 0)), "%s", s->name);
			/* but for the seed, nothing changes */
			cr_assert_eq(vsp_get16(back + tcp + 16), seed_of(s, wire, len - tcp), "%s", s->name);
			memcpy(back + tcp + 16, wire + tcp + 16, 2);
			cr_assert_arr_eq(back, wire, len, "%s at %u", s->name, cut);
		}
	}
}

Test(frame, received_frames_too_short_for_their_headers_are_left_alone)
{
	uint8_t wire[400], head[VSP_NETVSC_HEAD_MAX];
	struct vsp_vnet_header h;
	uint32_t taken;

	for (size_t i = 0; i < SHAPES; i++) {
		build(&shapes[i], wire, 100);
		for (uint32_t len = 0; len < transport_of(&shapes[i]) + 20; len++) {
			struct vsp_netvsc_frame in = {.pieces = {{wire, len}}, .piece_count = 1, .len = len,
						      .coalesced = true};
			uint32_t n = vsp_netvsc_nic_head(&in, 1500, head, &taken, &h);

			cr_assert_eq(n, len < VSP_ETHERNET ? 0 : len, "%s: %u", shapes[i].name, len);
			cr_assert_eq(h.flags, 0, "%s: %u", shapes[i].name, len);
		}
	}
}

Test(rss, published_vectors_hold)
{
	static const struct {
		const char *from, *to;
		uint16_t from_port, to_port;
		uint32_t ip, tcp;
	} rows[] = {
		{"66.9.149.187", "161.142.100.80", 2794, 1766, 0x323e8fc2, 0x51ccc178},
		{"199.92.111.2", "65.69.140.83", 14230, 4739, 0xd718262a, 0xc626b0ea},
		{"24.19.198.95", "12.22.207.184", 12898, 38024, 0xd2d0a5de, 0x5c2b394a},
		{"38.27.205.30", "209.142.163.6", 48228, 2217, 0x82989176, 0xafc7327f},
		{"153.39.163.191", "202.188.127.2", 44251, 1303, 0x5d1809c5, 0x10e828a2},
		{"3ffe:2501:200:1fff::7", "3ffe:2501:200:3::1", 2794, 1766, 0x2cc18cd5, 0x40207d3d},
		{"3ffe:501:8::260:97ff:fe40:efab", "ff02::1", 14230, 4739, 0x0f0c461c, 0xdde51bbf},
		{"3ffe:1900:4545:3:200:f8ff:fe21:67cf", "fe80::200:f8ff:fe21:67cf", 44251, 38024,
		 0x4b61e985, 0x02d1feef},
	};
	struct vsp_rss rss = {.types = 0};

	vsp_rss_set_key(&rss, key);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct shape s = {"", strchr(rows[i].from, ':') ? 6 : 4, 6, false, 0, 0};
		uint8_t f[400];
		uint32_t len = build(&s, f, 0), t = transport_of(&s), hash;
		uint32_t at = s.version == 4 ? 14 + 12 : 14 + 8, n = s.version == 4 ? 4 : 16;
		struct vsp_frame parsed;

		cr_assert_eq(inet_pton(s.version == 4 ? AF_INET : AF_INET6, rows[i].from, f + at), 1);
		cr_assert_eq(inet_pton(s.version == 4 ? AF_INET : AF_INET6, rows[i].to, f + at + n), 1);
		vsp_put16(f + t, rows[i].from_port);
		vsp_put16(f + t + 2, rows[i].to_port);
		cr_assert(vsp_frame_parse(f, len, &parsed));
		rss.types = 0x1701; /* as Linux asks */
		cr_assert_eq(vsp_rss_hash(&rss, f, &parsed, &hash), s.version == 4 ? 0x201 : 0x1001);
		cr_expect_eq(hash, rows[i].tcp, "%s: %#x", rows[i].from, hash);
		rss.types = VSP_RSS_IPV4 | VSP_RSS_IPV6;
		cr_assert_eq(vsp_rss_hash(&rss, f, &parsed, &hash), s.version == 4 ? 0x101 : 0x401);
		cr_expect_eq(hash, rows[i].ip, "%s: %#x", rows[i].from, hash);
		rss.types = 0;
		cr_expect_not(vsp_rss_hash(&rss, f, &parsed, &hash));
	}
}

/* Which frames are hashed, by what, for each choice of types. */
Test(rss, types_choose_what_is_hashed)
{
	static const struct shape kinds[] = {
		{"v4 tcp", 4, 6, false, 0, 0},       {"v4 udp", 4, 17, false, 0, 0},
		{"v4 fragment", 4, 6, false, 0, 0x2000}, {"v4 tcp tagged", 4, 6, true, 0, 0},
		{"v6 tcp", 6, 6, false, 0, 0},       {"v6 udp", 6, 17, false, 0, 0},
	};
	struct vsp_rss rss = {.types = 0};

	vsp_rss_set_key(&rss, key);
	for (uint32_t i = 0; i < 16 * 7; i++) {
		uint32_t bits = i % 16, kind = i / 16, hash = 0, expected = 0, got;
		struct vsp_frame parsed;
		uint8_t f[400];

		rss.types = (bits & 1 ? 0x100u : 0) | (bits & 2 ? 0x200u : 0) | (bits & 4 ? 0x400u : 0) |
			    (bits & 8 ? 0x1000u : 0);
		if (kind < 6) {
			uint32_t any = kinds[kind].version == 4 ? 0x100 : 0x400;
			uint32_t tcp = kinds[kind].version == 4 ? 0x200 : 0x1000;

			cr_assert(vsp_frame_parse(f, build(&kinds[kind], f, 20), &parsed));
			if (rss.types & tcp && kinds[kind].protocol == 6 && !kinds[kind].fragment)
				expected = 1 | tcp;
			else if (rss.types & any)
				expected = 1 | any;
		} else { /* no IP at all */
			memset(f, 0, sizeof(f));
			cr_assert(vsp_frame_parse(f, 60, &parsed));
		}
		got = vsp_rss_hash(&rss, f, &parsed, &hash);
		cr_expect_eq(got, expected, "%s, types %#x: %#x", kind < 6 ? kinds[kind].name : "none", rss.types,
			     got);
		cr_expect_eq(hash != 0, expected != 0);
	}
}

struct rss_message {
	struct vsp_ndis_rss_parameters p;
	uint32_t table[200];
	uint8_t key[40];
};

Test(rss, parameters_are_checked_at_every_edge)
{
	static const struct {
		const char *name;
		uint32_t len;
		uint16_t table_size, key_size, flags;
		uint32_t table_offset, key_offset, hash, entry, status;
		bool on;
	} rows[] = {
#define L sizeof(struct rss_message)
		{"as Linux", L, 512, 40, 0, 40, 840, 0x1701, 3, 0, true},
		{"short table is repeated", L, 4, 40, 0, 40, 840, 0x1701, 3, 0, true},
		{"long table is cut", L, 800, 40, 0, 40, 840, 0x1701, 3, 0, true},
		{"disabled", L, 0, 0, VSP_RSS_DISABLE, 0, 0, 0, 9, 0, false},
		{"no function", L, 512, 40, 0, 40, 840, 0x1700, 3, 0, false},
		{"other function", L, 512, 40, 0, 40, 840, 0x1702, 3, VSP_RNDIS_INVALID_DATA, false},
		{"too short", 27, 512, 40, 0, 40, 840, 0x1701, 3, VSP_RNDIS_INVALID_LENGTH, false},
		{"no table", L, 0, 40, 0, 40, 840, 0x1701, 3, VSP_RNDIS_INVALID_DATA, false},
		{"odd table", L, 6, 40, 0, 40, 840, 0x1701, 3, VSP_RNDIS_INVALID_DATA, false},
		{"channel that is not", L, 512, 40, 0, 40, 840, 0x1701, 4, VSP_RNDIS_INVALID_DATA, false},
		{"table past the end", L, 512, 40, 0, L - 511, 840, 0x1701, 3, VSP_RNDIS_INVALID_DATA, false},
		{"table far out", L, 512, 40, 0, 0xffffff00, 840, 0x1701, 3, VSP_RNDIS_INVALID_DATA, false},
		{"short key", L, 512, 39, 0, 40, 840, 0x1701, 3, VSP_RNDIS_INVALID_DATA, false},
		{"key past the end", L, 512, 40, 0, 40, 841, 0x1701, 3, VSP_RNDIS_INVALID_DATA, false},
		{"key far out", L, 512, 40, 0, 40, 0xffffffff, 0x1701, 3, VSP_RNDIS_INVALID_DATA, false},
		{"table kept", L, 0, 40, VSP_RSS_UNCHANGED_TABLE, 0, 840, 0x1701, 9, 0, true},
		{"key kept", L, 512, 0, VSP_RSS_UNCHANGED_KEY, 40, 0, 0x1701, 3, 0, true},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rss_message m = {.p = {.flags = rows[i].flags, .hash = rows[i].hash,
					      .table_size = rows[i].table_size,
					      .table_offset = rows[i].table_offset,
					      .key_size = rows[i].key_size,
					      .key_offset = rows[i].key_offset}};
		struct vsp_rss rss = {.on = false};

		m.table[0] = rows[i].entry;
		memcpy(m.key, key, 40);
		cr_expect_eq(vsp_rss_set(&rss, 4, vmbus_cursor_of(&m, rows[i].len)), rows[i].status, "%s",
			     rows[i].name);
		cr_expect_eq(rss.on, rows[i].on, "%s", rows[i].name);
		if (rows[i].on && !rows[i].flags)
			cr_expect_eq(memcmp(rss.key, key, 40), 0);
		if (rows[i].on && rows[i].table_size == 4)
			for (int k = 0; k < 128; k++)
				cr_expect_eq(rss.table[k], 3);
	}
}
