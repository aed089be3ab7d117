/* SPDX-License-Identifier: MIT */
/* netvsc-seeds DIRECTORY: writes scripts for fuzz-netvsc that lead it into every state of the
 * adapter. Their names say where; the corpus has them, beside what fuzzing found. */
#include <stdint.h>
#include <stdio.h>
#include <vsp/nvsp-wire.h>
#include <vsp/rndis-wire.h>

#include "netvsc-script.h"

enum {
	FLIP = WORLD_FLIP, PCAP = WORLD_PCAP, NO_TSO = WORLD_NO_TSO, KEEP_MAC = WORLD_KEEP_MAC,
	RECEIVE = MEMORY_RECEIVE, SMALL = MEMORY_SMALL, ALIASED = MEMORY_ALIASED, SEND = MEMORY_SEND,
	ODD = MEMORY_ODD, TWO_RANGES = MEMORY_TWO_RANGES, HOT = MEMORY_HOT,
	READONLY = MEMORY_READONLY, RINGS = MEMORY_RINGS, MIXED = MEMORY_MIXED,
	OTHER = FRAME_OTHER, UDP4 = FRAME_UDP4, TCP4 = FRAME_TCP4, UDP6 = FRAME_UDP6,
	TCP6 = FRAME_TCP6, EXTENSIONS = FRAME_EXTENSIONS, FRAGMENT = FRAME_FRAGMENT,
	OPTIONS = FRAME_OPTIONS, TAGGED = FRAME_TAGGED, TO_ALL = FRAME_TO_ALL,
	TO_MANY = FRAME_TO_MANY, ASKS = FRAME_ASKS, LONGER = FRAME_LONGER,
};

#define U16(v) (uint8_t)((v)&0xff), (uint8_t)((v) >> 8 & 0xff)
#define U32(v) U16(v), U16((v) >> 16)
#define STEP(step, ...) (step), sizeof((const uint8_t[]){__VA_ARGS__}), __VA_ARGS__
#define LATER(step, ...) STEP((step) | STEP_WAIT, __VA_ARGS__)

/* Steps in short. Line 0 unless it says so. */
#define SETUP(messages, version, caps, mtu, memory) \
	STEP(STEP_SETUP, messages, version, caps, 0x2f, U16(mtu), memory)
#define NVSP(type, ...) STEP(STEP_NVSP, 0, 0, 20, type, __VA_ARGS__)
#define RECV_BUF(handle) NVSP(VSP_NVSP_RECV_BUF, U32(handle), U16(0xcafe), U16(0))
#define SEND_BUF(handle) NVSP(VSP_NVSP_SEND_BUF, U32(handle), U16(0), U16(0))
#define QUERY(row) STEP(STEP_REQUEST, 0, FORM_SECTION, 1, 21, VSP_RNDIS_QUERY, row, 0)
#define SET(row, ...) STEP(STEP_REQUEST, 0, FORM_SECTION, 1, 22, VSP_RNDIS_SET, row, 0, __VA_ARGS__)
#define MESSAGE(form, ...) STEP(STEP_MESSAGE, 0, form, 1, 23, __VA_ARGS__)
#define RNDIS(type, words, ...) MESSAGE(FORM_DIRECT, U32(type), U32(4 * (words)), __VA_ARGS__)
#define DATA(form, kind, count, len, infos) STEP(STEP_DATA, 0, form, 2, 24, kind, count, \
	U16(len), infos)
#define DATA_ON(line, form, kind, count, len) STEP(STEP_DATA, line, form, 2, 24, kind, count, \
	U16(len), 0)
#define DATA1(form, kind, count, len, type, value) \
	STEP(STEP_DATA, 0, form, 2, 24, kind, count, U16(len), 1, type, U32(value))
#define DATA2(form, kind, count, len, type, value, type2, value2) \
	STEP(STEP_DATA, 0, form, 2, 24, kind, count, U16(len), 2, type, U32(value), type2, \
	U32(value2))
#define FRAME(queue, kind, len, times) STEP(STEP_FRAME, queue, kind, U16(len), (times)-1, 0)
#define RAW_FRAME(kind, len, flags, gso, header, size, start, offset) \
	STEP(STEP_FRAME, 0, kind, U16(len), 0, 1, flags, gso, U16(header), U16(size), U16(start), \
	     U16(offset), 0, 0)
#define RSS(flags, hash, entries, first, between) STEP(STEP_RSS, flags, U32(hash), entries, \
	first, between, 0)
#define GUEST(line, flags) STEP(STEP_GUEST, line, flags)
#define FAR(what, value) STEP(STEP_FAR, what, value)
#define COMPLETE(line, how, id, type) STEP(STEP_COMPLETE, line, how, U32(id), type)
#define POKE(line, word, value) STEP(STEP_POKE, line, word, U32(value))
#define PACKET(line, type, flags, words, ...) STEP(STEP_PACKET, line, type, flags, 25, words, \
	__VA_ARGS__)

/* version, channels, depth of the wire, flags */
#define PLAIN 0, 0, 15, WORLD_READY
#define FOUR 0, 3, 15, WORLD_SUBS

#define LSO(mss, at, v2, \
	v6) ((mss) | (at) << 20 | ((v2) ? VSP_LSO_V2 : 0) | ((v6) ? VSP_LSO_IPV6 : 0))
#define MAC_NAME 'N', 0, 'e', 0, 't', 0, 'w', 0, 'o', 0, 'r', 0, 'k', 0, 'A', 0, 'd', 0, 'd', 0, \
	'r', 0, 'e', 0, 's', 0, 's', 0
#define MAC_TEXT '0', 0, '2', 0, '1', 0, '5', 0, '5', 0, 'd', 0, 'A', 0, 'b', 0, 'c', 0, 'd', 0, \
	'0', 0, '9', 0
#define MAC_GROUP '1', 0, '1', 0, '1', 0, '5', 0, '5', 0, 'd', 0, '0', 0, '0', 0, '0', 0, '0', \
	0, '0', 0, '0', 0
#define CHECKSUM_NAME '*', 0, 'T', 0, 'C', 0, 'P', 0, 'C', 0, 'h', 0, 'e', 0, 'c', 0, 'k', 0, \
	's', 0, 'u', 0, \
	'm', 0, 'O', 0, 'f', 0, 'f', 0, 'l', 0, 'o', 0, 'a', 0, 'd', 0, 'I', 0, 'P', 0, 'v', 0, \
	'4', 0

/* More than a ring of one page takes, in packets of 16 frames each; and as many answers. */
#define FULL_RING FRAME(0, UDP4, 90, 16), FRAME(0, UDP4, 91, 16), FRAME(0, UDP4, 92, 16), \
	FRAME(0, UDP4, 93, 16), FRAME(0, UDP4, 94, 16), FRAME(0, UDP4, 95, 16), \
	FRAME(0, UDP4, 90, 16), FRAME(0, UDP4, 91, 16), FRAME(0, UDP4, 92, 16), FRAME(0, UDP4, \
	93, 16), FRAME(0, UDP4, 94, 16), FRAME(0, UDP4, 95, 16)
#define FULL_ANSWERS PATH, PATH, PATH, PATH, PATH, PATH, PATH, PATH, PATH, PATH, PATH, PATH, \
	PATH, PATH, PATH, PATH
#define RING_OF_32 FRAME(0, UDP4, 90, 32), FRAME(0, UDP4, 91, 32), FRAME(0, UDP4, 92, 32), \
	FRAME(0, UDP4, 93, 32), FRAME(0, UDP4, 94, 32), FRAME(0, UDP4, 95, 32)
#define ONES_12 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1
#define PATH NVSP(VSP_NVSP_OID_QUERY_EX, U32(0), U32(0x10101))
#define ZEROS_33 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
	0, 0, 0, 0, 0, 0, 0

static const struct seed {
	const char *name;
	const uint8_t *bytes;
	size_t len;
} seeds[] = {
#define SEED(name, ...) {name, (const uint8_t[]){__VA_ARGS__}, \
	sizeof((const uint8_t[]){__VA_ARGS__})},

/* -- Setting up ------------------------------------------------------------- */
SEED("open-close", 0, 0, 15, 0, STEP(STEP_OPEN, 0, 0), STEP(STEP_CLOSE, 0), STEP(STEP_OPEN, 0, 3))
SEED("reset-at-once", 0, 0, 15, WORLD_READY | WORLD_RESET, FRAME(0, UDP4, 300, 3),
     STEP(STEP_RESET, 0))
SEED("versions-refused", 5, 0, 15, 0, SETUP(1, 0, 0, 1514, RECEIVE),
     SETUP(1, 2, 0, 1514, RECEIVE), SETUP(0, 5, 0, 1514, RECEIVE))
SEED("version-2", 4, 0, 15, 0, SETUP(0, 4, 0x08, 1514, RECEIVE), FRAME(0, TCP4, 300, 2),
     DATA(FORM_SECTION, UDP4, 1, 100, 0))
SEED("version-4", 3, 0, 15, 0, SETUP(0, 3, 0x2f, 1514, RECEIVE), FRAME(0, TCP4, 300, 2))
SEED("version-5", 2, 3, 15, WORLD_RESET, SETUP(0, 2, 0xff, 1514, RECEIVE),
     NVSP(VSP_NVSP_SUBCHANNEL, U32(1), U32(9)), STEP(STEP_OPEN, 1, 1), STEP(STEP_OPEN, 2, 1),
     STEP(STEP_OPEN, 3, 1))
SEED("version-6-huge", 1, 0, 15, 0, SETUP(0, 1, 0xff, 9014, RECEIVE), FRAME(0, UDP4, 9000, 4),
     DATA(FORM_DIRECT, UDP6, 1, 9000, 0))
SEED("mtu-odd", 0, 0, 15, 0, SETUP(0, 0, 0xff, 100, RECEIVE), FRAME(0, UDP4, 1514, 2),
     FRAME(0, UDP4, 1515, 1))
SEED("ndis-5", 0, 0, 63, 0, SETUP(2, 0, 0xff, 1514, RECEIVE),
     NVSP(VSP_NVSP_NDIS_VERSION, U32(5), U32(1)), RECV_BUF(0x100), SEND_BUF(0x101),
     RNDIS(VSP_RNDIS_INITIALIZE, 6, U32(1), U32(1), U32(0), U32(0x4000)), QUERY(0),
     SET(13, U32(0x2f)), LATER(STEP_FRAME, 0, TCP4, U16(200), 31, 0), FRAME(0, TCP4, 200, 32))
SEED("data-before-initialize", 0, 0, 15, 0, SETUP(5, 0, 0xff, 1514, RECEIVE),
     DATA(FORM_SECTION, TCP4, 1, 300, 0), FRAME(0, UDP4, 100, 2), QUERY(3))
SEED("no-send-buffer", 0, 0, 15, 0, SETUP(4, 0, 0xff, 1514, RECEIVE),
     RNDIS(VSP_RNDIS_INITIALIZE, 6, U32(1), U32(1), U32(0), U32(0x4000)),
     STEP(STEP_REQUEST, 0, FORM_DIRECT, 0, 22, VSP_RNDIS_SET, 13, 0, U32(0x2f)),
     FRAME(0, TCP4, 200, 2), DATA(FORM_DIRECT, TCP4, 1, 300, 0),
     DATA(FORM_SECTION, TCP4, 1, 300, 0))
SEED("version-unknown", 0, 0, 15, 0, STEP(STEP_OPEN, 0, 3), NVSP(VSP_NVSP_INIT, U32(7), U32(7)),
     NVSP(VSP_NVSP_INIT, U32(VSP_NVSP_V5), U32(VSP_NVSP_V6)),
     NVSP(VSP_NVSP_REVOKE_SEND_BUF, U16(0)))
SEED("ndis-4", 0, 0, 63, 0, SETUP(2, 0, 0xff, 1514, RECEIVE),
     NVSP(VSP_NVSP_NDIS_VERSION, U32(4), U32(1)),
     NVSP(VSP_NVSP_NDIS_CONFIG, U32(1514), U32(0), U32(0xff), U32(0)), RECV_BUF(0x100),
     SEND_BUF(0x101), RNDIS(VSP_RNDIS_INITIALIZE, 6, U32(1), U32(1), U32(0), U32(0x4000)),
     QUERY(0), NVSP(VSP_NVSP_REVOKE_SEND_BUF, U16(0)), NVSP(VSP_NVSP_REVOKE_SEND_BUF, U16(0)),
     NVSP(VSP_NVSP_SUBCHANNEL, U32(1), U32(2)))
SEED("memory-too-small", 0, 0, 15, 0, SETUP(0, 0, 0xff, 9014, SMALL), RECV_BUF(0x101))
SEED("setup-twice", PLAIN, NVSP(VSP_NVSP_INIT, U32(VSP_NVSP_V61), U32(VSP_NVSP_V61)),
     RECV_BUF(0x100), SEND_BUF(0x101),
     NVSP(VSP_NVSP_NDIS_CONFIG, U32(1514), U32(0), U32(0xff), U32(0)),
     NVSP(VSP_NVSP_NDIS_VERSION, U32(6), U32(30)))
SEED("setup-in-disorder", 0, 0, 15, 0, SETUP(1, 0, 0, 1514, RECEIVE), RECV_BUF(0x100),
     SEND_BUF(0x199), SEND_BUF(0x101), NVSP(VSP_NVSP_NDIS_VERSION, U32(6), U32(30)),
     NVSP(VSP_NVSP_NDIS_VERSION, U32(6), U32(30)),
     NVSP(VSP_NVSP_NDIS_CONFIG, U32(1514), U32(0), U32(0xff), U32(0)), RECV_BUF(0x1ff),
     RECV_BUF(0x100), RECV_BUF(0x100))
SEED("memory-aliased-large-slots", 0, 0, 15, 0, SETUP(0, 0, 0xff, 1514, ALIASED),
     FRAME(0, TCP4 | ASKS, 60000, 4), FRAME(0, TCP6 | ASKS, 1000, 4),
     FRAME(0, TCP4 | ASKS, 3000, 4), FRAME(0, LONGER | TCP4 | ASKS, 65530, 1))
SEED("memory-small", 0, 0, 63, 0, SETUP(0, 0, 0xff, 1514, SMALL), FRAME(0, UDP4, 300, 20),
     GUEST(0, 2), FRAME(0, UDP4, 300, 20), GUEST(0, 0))
SEED("memory-send-for-both", 0, 0, 15, 0, SETUP(0, 0, 0xff, 1514, SEND), FRAME(0, UDP4, 300, 20),
     DATA(FORM_SECTION, TCP4, 2, 300, 0))
SEED("memory-odd", 0, 0, 15, 0, SETUP(0, 0, 0xff, 1514, ODD), FRAME(0, UDP4, 300, 20),
     FRAME(0, TCP4 | ASKS, 20000, 2))
SEED("memory-two-ranges", 0, 0, 15, 0, SETUP(0, 0, 0xff, 1514, TWO_RANGES))
SEED("memory-hot", 0, 0, 15, 0, SETUP(0, 0, 0xff, 1514, HOT), FRAME(0, UDP4, 300, 3),
     STEP(STEP_MEMORY, 0), STEP(STEP_TEARDOWN, 0), STEP(STEP_MEMORY, 0), FRAME(0, UDP4, 300, 3),
     STEP(STEP_MEMORY, 1))
SEED("memory-readonly", 0, 0, 15, 0, SETUP(0, 0, 0xff, 1514, READONLY), FRAME(0, UDP4, 300, 3))
SEED("memory-rings", 0, 0, 15, 0, SETUP(0, 0, 0xff, 1514, RINGS), FRAME(0, UDP4, 300, 3))

/* -- Guest to nic ---------------------------------------------------------- */
SEED("data-forms", PLAIN, DATA(FORM_SECTION, UDP4, 1, 300, 0),
     DATA(FORM_DIRECT, TCP4, 1, 1514, 0), DATA(FORM_PARTIAL, UDP6, 1, 700, 0),
     DATA(FORM_SCATTERED, TCP6, 1, 1400, 0), DATA(FORM_HOT, TCP4, 1, 900, 0),
     DATA(FORM_READONLY, TCP4, 1, 900, 0), DATA(FORM_MISSING, TCP4, 1, 900, 0),
     DATA(FORM_LYING, TCP4, 1, 900, 0), DATA(FORM_SECTION | FORM_EXTENDED, TCP4, 1, 900, 0),
     DATA(FORM_SECTION | FORM_NO_ANSWER, TCP4, 1, 900, 0))
SEED("data-crumbs", PLAIN, DATA(FORM_CRUMBS, OTHER, 1, 14, 0), DATA(FORM_CRUMBS, OTHER, 2, 60, 0),
     DATA(FORM_CRUMBS, OTHER, 1, 200, 0), DATA(FORM_CRUMBS, OTHER, 1, 700, 0),
     DATA(FORM_CRUMBS | FORM_NO_ANSWER, OTHER, 1, 700, 0), COMPLETE(0, 0x80, 17, 0),
     DATA(FORM_HUGE, OTHER, 1, 100, 0), MESSAGE(FORM_DIRECT, U32(1), U32(8)),
     STEP(STEP_DATA, 0, FORM_SECTION, 2, 24, TCP4, 1, U16(301), 0, U16(4), 0x59),
     STEP(STEP_REQUEST, 0, FORM_MISSING, 1, 21, VSP_RNDIS_QUERY, 3, 0),
     STEP(STEP_REQUEST, 0, FORM_MISSING, 1, 21, VSP_RNDIS_SET, 3, 0, 1, 2, 3, 4, 5, 6, 7, 8),
     STEP(STEP_DATA, 0, FORM_SECTION, 2, 24, UDP4, 1, U16(100), 1, 0, U32(5 | 34 << 16), U16(44),
     	12), STEP(STEP_DATA, 0, FORM_SECTION, 2, 24, UDP4, 1, U16(1300), 0),
     DATA1(FORM_MISSING, TCP4, 1, 300, VSP_INFO_CHECKSUM, 5), DATA(FORM_MISSING, OTHER, 1, 100, 0))
SEED("data-headers-odd", PLAIN,
     STEP(STEP_DATA, 0, 0, 2, 24, TCP4, 1, U16(300), 1, 0, U32(0x05), U16(60 + 14), 0x42),
     STEP(STEP_DATA, 0, 0, 2, 24, TCP4, 1, U16(300), 1, 0, U32(0x15), U16(60 + 14), 0x55),
     STEP(STEP_DATA, 0, 0, 2, 24, TCP6, 1, U16(300), 1, 0, U32(0x06), U16(60 + 14), 0x45),
     STEP(STEP_DATA, 0, 0, 2, 24, EXTENSIONS, 1, U16(300), 0, U16(44 + 14 + 41), 0xff),
     STEP(STEP_DATA, 0, 0, 2, 24, EXTENSIONS, 1, U16(300), 0, U16(44 + 14 + 50), 0xff),
     STEP(STEP_DATA, 0, 0, 2, 24, EXTENSIONS, 1, U16(300), 0, U16(44 + 14 + 48), 60),
     DATA1(FORM_SECTION, TCP4, 1, 100, VSP_INFO_CHECKSUM, VSP_CSUM_TX_IP_HEADER),
     DATA1(FORM_DIRECT, LONGER | TCP4, 1, 65518, VSP_INFO_LSO, LSO(1400, 34, 1, 0)),
     DATA1(FORM_DIRECT, LONGER | TCP6, 1, 65518, VSP_INFO_LSO, LSO(1400, 54u, 1, 1)),
     DATA1(FORM_DIRECT, LONGER | TCP6, 1, 65530, VSP_INFO_LSO, LSO(1400, 54u, 1, 1)),
     STEP(STEP_DATA, 0, 0, 2, 24, TCP4, 1, U16(300), 1, VSP_INFO_LSO, U32(LSO(100, 34, 1, 0)),
     	U16(60 + 14), 0x41))
SEED("data-many", PLAIN, DATA(FORM_SECTION, UDP4, 8, 300, 0), DATA(FORM_DIRECT, OTHER, 16, 60, 0),
     DATA(FORM_DIRECT, OTHER, 17, 60, 0), DATA(FORM_SCATTERED, TCP4, 8, 1000, 0))
SEED("data-checksum", PLAIN,
     DATA1(FORM_SECTION, TCP4, 1, 300, VSP_INFO_CHECKSUM, 0x05 | 34 << 16),
     DATA1(FORM_SECTION, UDP4, 1, 300, VSP_INFO_CHECKSUM, 0x09 | 34 << 16),
     DATA1(FORM_SECTION, TCP6, 1, 300, VSP_INFO_CHECKSUM, 0x06),
     DATA1(FORM_SECTION, TCP4, 1, 300, VSP_INFO_CHECKSUM, 0x15),
     DATA1(FORM_SECTION, UDP6, 1, 300, VSP_INFO_CHECKSUM, 0x10),
     DATA1(FORM_SECTION, TCP4, 1, 300, VSP_INFO_CHECKSUM, 0x0d),
     DATA1(FORM_SECTION, TCP4, 1, 100, VSP_INFO_CHECKSUM, 0x05 | 1000 << 16))
SEED("data-lso", PLAIN, DATA1(FORM_DIRECT, TCP4, 1, 60000, VSP_INFO_LSO, LSO(1400, 34, 1, 0)),
     DATA1(FORM_SCATTERED, TCP6, 1, 30000, VSP_INFO_LSO, LSO(1400, 54u, 1, 1)),
     DATA1(FORM_DIRECT, TCP4, 1, 9000, VSP_INFO_LSO, LSO(1400, 0, 0, 0)),
     DATA1(FORM_DIRECT, TCP6, 1, 9000, VSP_INFO_LSO, LSO(1400, 0, 1, 0)),
     DATA1(FORM_DIRECT, TCP4, 1, 9000, VSP_INFO_LSO, LSO(0, 34, 1, 0)),
     DATA1(FORM_DIRECT, TCP4, 1, 9000, VSP_INFO_LSO, LSO(1400, 1000, 1, 0)),
     DATA1(FORM_DIRECT, TCP4, 1, 65558, VSP_INFO_LSO, LSO(1400, 34, 1, 0)))
SEED("data-lso-flipped", 0, 0, 15, WORLD_READY | FLIP,
     DATA1(FORM_DIRECT, TCP4, 1, 60000, VSP_INFO_LSO, LSO(1400, 34, 1, 0)),
     DATA(FORM_SECTION, UDP4, 4, 200, 0), FRAME(0, TCP4 | ASKS, 30000, 2))
SEED("data-lso-edges", PLAIN,
     DATA1(FORM_DIRECT, TCP6, 1, 65562, VSP_INFO_LSO, LSO(1400, 54u, 1, 1)),
     DATA1(FORM_SECTION, TCP4, 1, 96, VSP_INFO_LSO, LSO(1400, 34, 1, 0)),
     DATA1(FORM_SECTION, TCP4, 1, 60, VSP_INFO_LSO, LSO(10, 34, 1, 0)),
     STEP(STEP_DATA, 0, FORM_SECTION, 2, 24, TCP4, 1, U16(200), 1, VSP_INFO_LSO, U32(LSO(100, 34,
     	1, 0)), U16(60 + 46), 0xf0),
     STEP(STEP_DATA, 0, FORM_SECTION, 2, 24, TCP4, 1, U16(200), 1, VSP_INFO_LSO, U32(LSO(100, 34,
     	1, 0)), U16(60 + 46), 0x10))
SEED("data-tag", PLAIN, DATA1(FORM_SECTION, TCP4, 1, 300, VSP_INFO_8021Q, 0x1234),
     DATA2(FORM_SECTION, TCP4, 1, 300, VSP_INFO_8021Q, 0x1234, VSP_INFO_CHECKSUM,
     	0x05 | 34 << 16),
     DATA2(FORM_DIRECT, TCP4, 1, 30000, VSP_INFO_8021Q, 0x1234, VSP_INFO_LSO, LSO(1400, 34, 1,
     	0)), DATA2(FORM_SECTION, TAGGED | TCP4, 1, 300, VSP_INFO_HASH, 77, 0x81, 1),
     DATA1(FORM_SECTION, OTHER, 1, 14, VSP_INFO_8021Q, 5),
     DATA1(FORM_SECTION, OTHER, 1, 13, VSP_INFO_8021Q, 5))
SEED("data-wrong", PLAIN, STEP(STEP_DATA, 0, 0, 2, 24, TCP4, 1, U16(300), 0, U16(4), 8),
     STEP(STEP_DATA, 0, 0, 2, 24, TCP4, 1, U16(300), 0, U16(9), 0xff),
     STEP(STEP_DATA, 0, 0, 2, 24, TCP4, 1, U16(300), 0, U16(8), 0),
     STEP(STEP_DATA, 0, 0, 2, 24, TCP4, 1, U16(300), 0, U16(12), 0, U16(13), 0),
     STEP(STEP_DATA, 0, 0, 2, 24, TCP4, 1, U16(300), 1, 77, U32(0), U16(44), 0),
     STEP(STEP_DATA, 0, 0, 2, 24, TCP4, 1, U16(300), 1, 0, U32(0), U16(52), 14),
     STEP(STEP_DATA, 0, 0, 2, 24, TCP4, 1, U16(300), 1, 0, U32(0), U16(52), 99),
     STEP(STEP_DATA, 0, 0, 2, 24, TCP4, 1, U16(300), 1, 0, U32(0), U16(32), 0x10, U16(33), 2),
     STEP(STEP_DATA, 0, 0, 2, 24, TCP4, 2, U16(300), 0, U16(344), 3),
     STEP(STEP_DATA, 0, 0, 2, 24, TCP4, 1, U16(300), 1, 0, U32(0), U16(44), 12, U16(32), 12),
     STEP(STEP_DATA, 0, 0, 99, 24, TCP4, 1, U16(300), 0))
SEED("data-to-kinds", PLAIN, DATA(FORM_SECTION, UDP4 | TO_ALL, 2, 100, 0),
     DATA(FORM_SECTION, UDP4 | TO_MANY, 2, 100, 0), QUERY(36), QUERY(38))
SEED("data-nic-full", 0, 0, 1, WORLD_READY, FAR(0, 0), DATA(FORM_DIRECT, TCP4, 4, 1000, 0),
     DATA(FORM_HOT, TCP4, 2, 1000, 0), STEP(STEP_MEMORY, 0), DATA(FORM_SECTION, TCP4, 2, 1000, 0),
     FRAME(0, UDP4, 300, 2), FAR(1, 0), STEP(STEP_MEMORY, 1))
SEED("data-nic-full-revoke", 0, 0, 1, WORLD_READY, FAR(0, 0),
     DATA(FORM_SECTION, TCP4, 4, 1000, 0), NVSP(VSP_NVSP_REVOKE_SEND_BUF, U16(0)),
     STEP(STEP_CLOSE, 0))
SEED("data-nic-full-teardown", 0, 0, 1, WORLD_READY, FAR(0, 0),
     DATA(FORM_SECTION, TCP4, 4, 1000, 0), STEP(STEP_TEARDOWN, 1), FAR(1, 0), SEND_BUF(0x101))
SEED("data-nic-full-reset", 0, 0, 1, WORLD_READY | WORLD_RESET, FAR(0, 0),
     DATA(FORM_HOT, TCP4, 4, 1000, 0), STEP(STEP_MEMORY, 0), STEP(STEP_RESET, 0))
SEED("data-refused-by-nic", PLAIN, FAR(2, 0),
     DATA1(FORM_SECTION, TCP4, 1, 300, VSP_INFO_CHECKSUM, 0x05 | 34 << 16),
     DATA1(FORM_DIRECT, TCP4, 1, 60000, VSP_INFO_LSO, LSO(1400, 34, 1, 0)), FAR(2, 15))
SEED("data-on-all-channels", FOUR, DATA_ON(0, FORM_SECTION, TCP4, 2, 200),
     DATA_ON(1, FORM_DIRECT, TCP4, 2, 200), DATA_ON(2, FORM_PARTIAL, TCP4, 2, 200),
     DATA_ON(3, FORM_SCATTERED, TCP4, 2, 200))
SEED("data-batched", 0, 0, 63, WORLD_READY, LATER(STEP_DATA, 0, 1, 2, 24, TCP4, 8, U16(1000), 0),
     LATER(STEP_DATA, 0, 1, 2, 25, TCP4, 8, U16(1000), 0),
     LATER(STEP_DATA, 0, 1, 2, 26, TCP4, 8, U16(1000), 0),
     LATER(STEP_DATA, 0, 1, 2, 27, TCP4, 16, U16(100), 0),
     LATER(STEP_DATA, 0, 1, 2, 28, TCP4, 16, U16(100), 0),
     LATER(STEP_DATA, 0, 1, 2, 29, TCP4, 16, U16(100), 0), DATA(FORM_DIRECT, TCP4, 16, 100, 0))

/* -- Nic to guest ---------------------------------------------------------- */
SEED("frame-kinds", PLAIN, FRAME(0, OTHER, 60, 1), FRAME(0, UDP4, 300, 1), FRAME(0, TCP4, 300, 1),
     FRAME(0, UDP6, 300, 1), FRAME(0, TCP6, 300, 1), FRAME(0, EXTENSIONS, 300, 1),
     FRAME(0, FRAGMENT, 300, 1), FRAME(0, OPTIONS, 300, 1), FRAME(0, TAGGED | TCP4, 300, 1),
     FRAME(0, TO_ALL, 100, 1), FRAME(0, TO_MANY, 100, 1), FRAME(0, OTHER, 13, 1),
     FRAME(0, UDP4, 1515, 1))
SEED("frame-checksums", PLAIN, FRAME(0, ASKS | UDP4, 300, 1), FRAME(0, ASKS | TCP4, 1000, 1),
     FRAME(0, ASKS | UDP6, 301, 1), FRAME(0, ASKS | TCP6, 303, 1),
     FRAME(0, ASKS | TAGGED | TCP4, 1200, 1), FRAME(0, ASKS | EXTENSIONS, 300, 1))
SEED("frame-coalesced", PLAIN, FRAME(0, ASKS | TCP4, 60000, 2), FRAME(0, ASKS | TCP6, 20000, 2),
     FRAME(0, ASKS | TAGGED | TCP4, 3000, 1), FRAME(0, UDP4, 100, 3),
     FRAME(0, ASKS | TCP4, 65535, 1))
SEED("frame-coalesced-pcap", 0, 0, 15, WORLD_READY | PCAP, FRAME(0, ASKS | TCP4, 60000, 2),
     DATA(FORM_SECTION, UDP4, 2, 300, 0), FAR(3, 0), FAR(0, 0),
     DATA(FORM_DIRECT, TCP4, 16, 60, 0), DATA(FORM_DIRECT, TCP4, 16, 60, 0))
SEED("frame-headers", PLAIN, RAW_FRAME(TCP4, 1000, 0, 0, 0, 0, 0, 0),
     RAW_FRAME(TCP4, 1000, 1, 0, 0, 0, 5, 16), RAW_FRAME(TCP4, 1000, 1, 0, 0, 0, 180, 16),
     RAW_FRAME(TCP4, 3000, 1, 4, 54, 1000, 34, 16), RAW_FRAME(UDP4, 3000, 1, 5, 42, 1000, 34, 6),
     RAW_FRAME(UDP4, 1000, 1, 5, 42, 300, 34, 6),
     RAW_FRAME(TCP4, 3000, 1, 0x81, 54, 1000, 34, 16), RAW_FRAME(TCP4, 3000, 0, 1, 54, 0, 0, 0),
     RAW_FRAME(UDP4, 300, 1, 9, 54, 10, 34, 6),
     STEP(STEP_FRAME, 0, OTHER, U16(100), 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x15, 0x5d,
     	1, 2, 3, 2, 0, 0, 0, 0, 9, 8, 0, 0x45, 0, 0, 86, 0, 0, 0, 0, 64, 1),
     RAW_FRAME(UDP4, 300, 0xff, 0xff, 0xffff, 0xffff, 0xffff, 0xffff))
SEED("frame-udp-sum-0", PLAIN,
     STEP(STEP_FRAME, 0, OTHER, U16(60), 0, 1, 1, 0, U16(0), U16(0), U16(34), U16(6), 0, 0, 0,
     0x15, 0x5d, 1, 2, 3, ZEROS_33, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff,
     0xff))
SEED("frame-no-tso", 0, 0, 15, WORLD_READY | NO_TSO, FRAME(0, UDP4, 300, 2),
     DATA1(FORM_DIRECT, TCP4, 1, 9000, VSP_INFO_LSO, LSO(1400, 34, 1, 0)))
SEED("frame-filters", PLAIN, SET(13, U32(0x01)), FRAME(0, UDP4, 100, 1), FRAME(0, TO_ALL, 100, 1),
     SET(13, U32(0x0a)), FRAME(0, TO_MANY, 100, 1), FRAME(0, TO_ALL, 100, 1),
     SET(52, 1, 0, 0x5e, 0, 0, 0xfb), FRAME(0, TO_MANY, 100, 1), SET(13, U32(0x04)),
     FRAME(0, TO_MANY, 100, 1), SET(13, U32(0)), FRAME(0, UDP4, 100, 9), SET(13, U32(0x20)))
SEED("frame-rss", FOUR, RSS(0, 0x1701, 128, 0, 1), FRAME(0, TCP4, 100, 2), FRAME(0, TCP4, 101, 2),
     FRAME(0, TCP4, 102, 2), FRAME(1, TCP6, 103, 2), FRAME(2, UDP4, 104, 2),
     FRAME(3, FRAGMENT, 105, 2), FRAME(0, OTHER, 105, 2), RSS(0x10, 0, 0, 0, 0),
     FRAME(3, TCP4, 105, 2))
SEED("frame-rss-odd", FOUR, RSS(0, 0x1701, 3, 1, 1), FRAME(0, TCP4, 100, 2),
     RSS(0x0e, 0x101, 0, 0, 0), FRAME(0, TCP4, 100, 2), RSS(0, 0x102, 128, 0, 1),
     RSS(0, 0, 128, 0, 1), STEP(STEP_RSS, 0, U32(0x1701), 128, 0, 1, 21),
     STEP(STEP_RSS, 0, U32(0x1701), 128, 0, 1, 14), RSS(0, 0x0201, 130, 7, 3),
     RSS(0, 0x0201, 128, 7, 3), FRAME(0, UDP4, 100, 2), FRAME(0, TCP6, 100, 2),
     RSS(0, 0x1701, 0, 0, 0))
SEED("frame-slots-withheld", PLAIN, GUEST(0, 2), FRAME(0, UDP4, 100, 32), FRAME(0, UDP4, 100, 32),
     FRAME(0, UDP4, 100, 32), COMPLETE(0, 2, 0, 0), COMPLETE(0, 1, 0, 0), COMPLETE(0, 3, 0, 0),
     COMPLETE(0, 0, 17, 0), COMPLETE(0, 0, 3, 0), COMPLETE(0, 0, 0x10000, 0),
     COMPLETE(0, 0, 5, 7), FRAME(0, UDP4, 100, 5), GUEST(0, 0))
SEED("frame-slots-withheld-of-four", 0, 3, 63, WORLD_SUBS | WORLD_READY, GUEST(0, 2), GUEST(1, 2),
     GUEST(2, 2), FRAME(0, UDP4, 100, 32), FRAME(1, UDP4, 100, 32), FRAME(2, UDP4, 100, 32),
     FRAME(0, UDP4, 100, 32), FRAME(1, UDP4, 100, 32), FRAME(2, UDP4, 100, 32),
     FRAME(3, UDP4, 100, 32), FRAME(3, UDP4, 100, 32), GUEST(1, 0), FRAME(1, UDP4, 100, 1),
     GUEST(2, 0), FRAME(0, UDP4, 100, 3))
SEED("frame-slots-of-others", 0, 3, 15, 0, SETUP(0, 0, 0xff, 1514, SMALL),
     NVSP(VSP_NVSP_SUBCHANNEL, U32(1), U32(3)), STEP(STEP_OPEN, 1, 1), STEP(STEP_OPEN, 2, 1),
     STEP(STEP_OPEN, 3, 1), GUEST(0, 2), GUEST(1, 2), GUEST(2, 2), FRAME(0, UDP4, 100, 2),
     FRAME(1, UDP4, 100, 3), FRAME(2, UDP4, 100, 3), FRAME(3, UDP4, 100, 3), COMPLETE(0, 2, 0, 0),
     COMPLETE(1, 2, 0, 0), GUEST(0, 0), GUEST(1, 0), FRAME(1, UDP4, 100, 3))
SEED("frame-ring-full", 0, 0, 63, 0, STEP(STEP_OPEN, 0, 0), SETUP(0, 0, 0xff, 1514, RECEIVE),
     GUEST(0, 1), FRAME(0, UDP4, 100, 32), LATER(STEP_FRAME, 0, UDP4, U16(100), 31, 0),
     STEP(STEP_REQUEST, 0, 1, 0, 22, VSP_RNDIS_QUERY, 3, 0), FRAME(0, UDP4, 100, 32),
     DATA(FORM_SECTION, TCP4, 1, 100, 0), GUEST(0, 0))
SEED("frame-ring-full-small", 0, 0, 63, 0, STEP(STEP_OPEN, 0, 0),
     SETUP(0, 0, 0xff, 1514, RECEIVE), GUEST(0, 1), FULL_RING, FULL_RING, QUERY(3),
     FRAME(0, UDP4, 100, 32), DATA(FORM_SECTION, TCP4, 1, 100, 0),
     DATA(FORM_SECTION, TCP4, 1, 100, 0), FULL_ANSWERS, FULL_ANSWERS,
     NVSP(VSP_NVSP_SWITCH_DATA_PATH, U32(1)), GUEST(0, 0))
SEED("frame-ring-full-of-sub", 0, 3, 63, WORLD_READY, NVSP(VSP_NVSP_SUBCHANNEL, U32(1), U32(3)),
     STEP(STEP_OPEN, 1, 0), STEP(STEP_OPEN, 2, 0), STEP(STEP_OPEN, 3, 0),
     RSS(0, 0x1701, 128, 1, 0), GUEST(1, 1), FULL_RING, FULL_RING,
     DATA_ON(1, FORM_SECTION, TCP4, 1, 100), POKE(1, 3, 0x7ffffff8), FULL_RING,
     DATA_ON(1, FORM_SECTION, TCP4, 1, 100))
SEED("frame-ring-full-then-wild", 0, 0, 63, 0, STEP(STEP_OPEN, 0, 0),
     SETUP(0, 0, 0xff, 1514, RECEIVE), GUEST(0, 1), FULL_RING, POKE(0, 3, 0x7fffffff), FULL_RING)
SEED("frame-ring-full-then-closed", 0, 0, 63, 0, STEP(STEP_OPEN, 0, 0),
     SETUP(0, 0, 0xff, 1514, RECEIVE), GUEST(0, 1), FULL_RING, FULL_RING, FULL_ANSWERS,
     STEP(STEP_CLOSE, 0, 0))
SEED("memory-mixed", 0, 0, 63, 0, SETUP(0, 0, 0xff, 1514, MIXED),
     SET(59, 0x80, 3, U16(28), 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
     	0, 0), GUEST(0, 2), FRAME(0, UDP4, 100, 32), FRAME(0, UDP4, 100, 32), GUEST(0, 0))
SEED("frame-ring-full-coalesced-no-more", 0, 0, 63, 0, STEP(STEP_OPEN, 0, 0),
     SETUP(0, 0, 0xff, 1514, RECEIVE), GUEST(0, 1), RING_OF_32, RING_OF_32,
     FRAME(0, UDP4, 95, 32),
     STEP(STEP_REQUEST, 0, FORM_SECTION, 1, 22, VSP_RNDIS_SET, 59, 0, 0x80, 3, U16(28), ONES_12,
     ONES_12), GUEST(0, 0))
SEED("frame-receive-revoked", PLAIN, GUEST(0, 2), FRAME(0, UDP4, 100, 9),
     NVSP(VSP_NVSP_REVOKE_RECV_BUF, U16(0xcaff)), NVSP(VSP_NVSP_REVOKE_RECV_BUF, U16(0xcafe)),
     FRAME(0, UDP4, 100, 3), GUEST(0, 0), RECV_BUF(0x100), FRAME(0, UDP4, 100, 3),
     STEP(STEP_TEARDOWN, 0), FRAME(0, UDP4, 100, 3))
SEED("frame-sub-closed", FOUR, RSS(0, 0x1701, 128, 0, 1), GUEST(1, 2), FRAME(0, TCP4, 100, 8),
     FRAME(0, TCP4, 101, 8), STEP(STEP_CLOSE, 1), FRAME(0, TCP4, 101, 8), STEP(STEP_OPEN, 1, 1),
     FRAME(0, TCP4, 101, 8), GUEST(2, 1), FRAME(0, TCP4, 102, 8), STEP(STEP_CLOSE, 0),
     STEP(STEP_OPEN, 0, 1))

/* -- Control --------------------------------------------------------------- */
SEED("oids-queried", PLAIN, QUERY(0), QUERY(1), QUERY(4), QUERY(6), QUERY(12), QUERY(13),
     QUERY(15), QUERY(19), QUERY(23), QUERY(25), QUERY(26), QUERY(28), QUERY(32), QUERY(45),
     QUERY(46), QUERY(49), QUERY(50), QUERY(51), QUERY(53), QUERY(54), QUERY(57), QUERY(58),
     QUERY(60), QUERY(200),
     STEP(STEP_REQUEST, 0, 0, 1, 21, VSP_RNDIS_QUERY, 28, 0, U32(0), U32(0)))
SEED("oids-odd", PLAIN, STEP(STEP_REQUEST, 0, 0, 1, 21, VSP_RNDIS_QUERY, 3, 1, U32(100)),
     STEP(STEP_REQUEST, 0, 0, 1, 21, VSP_RNDIS_SET, 13, 2, U32(7), U32(1)),
     STEP(STEP_REQUEST, 0, 0, 1, 21, VSP_RNDIS_SET, 13, 4, U32(9), U32(1)),
     STEP(STEP_REQUEST, 0, 0, 1, 21, VSP_RNDIS_SET, 13, 4, U32(99), U32(1)), SET(13, 1, 2),
     SET(52, 1, 2, 3), SET(52, 0))
SEED("oids-set", PLAIN, SET(14, U32(1)), SET(17, U32(1)), SET(22, U32(1)),
     SET(54, 0xa8, 1, U16(28), U32(1), U32(2), U32(14), U32(1), U32(2), U32(14), U32(0)),
     SET(54, 0xa8, 1, U16(28), U32(1), U32(2), U32(18), U32(1), U32(2), U32(14), U32(0)),
     SET(54, 0xa8, 1, U16(28), U32(2), U32(2), U32(14), U32(1), U32(3), U32(14), U32(0)),
     SET(54, 0xa7, 1, U16(28), U32(0), U32(0), U32(0), U32(0), U32(0), U32(0), U32(0)),
     SET(54, 1),
     SET(59, 0x80, 3, U16(28), 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
     	0, 0),
     SET(59, 0x80, 3, U16(28), 9, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
     	0, 0),
     SET(59, 0x80, 3, U16(28), 3, 3, 3, 3, 3, 2, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
     	0, 0),
     SET(59, 0x80, 3, U16(28), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
     	0, 0),
     SET(59, 0x80, 3, U16(22), 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
     	0, 0), SET(59, 1), SET(24, 1), SET(27, 1), FRAME(0, UDP4 | ASKS, 100, 1),
     FRAME(0, TCP4 | ASKS, 3000, 1))
SEED("multicast-full", PLAIN, SET(52, ZEROS_33, ZEROS_33, ZEROS_33, ZEROS_33, ZEROS_33, ZEROS_33))
#define PARAMETER(name_len, type, value_len, ...) SET(27, U32(20), U32(name_len), U32(type), \
	U32(20 + (name_len)), U32(value_len), __VA_ARGS__)
SEED("mac-set", PLAIN, PARAMETER(28, 2, 24, MAC_NAME, MAC_TEXT), QUERY(50),
     FRAME(0, UDP4, 100, 1), PARAMETER(28, 2, 22, MAC_NAME, MAC_TEXT),
     PARAMETER(28, 2, 24, MAC_NAME, MAC_NAME), PARAMETER(28, 2, 24, MAC_NAME, MAC_GROUP),
     PARAMETER(28, 0, 24, MAC_NAME, MAC_TEXT))
SEED("mac-kept", 0, 0, 15, WORLD_READY | KEEP_MAC, PARAMETER(28, 2, 24, MAC_NAME, MAC_TEXT),
     QUERY(50))
SEED("keyword-set", PLAIN, PARAMETER(46, 2, 2, CHECKSUM_NAME, '3', 0),
     PARAMETER(46, 0, 4, CHECKSUM_NAME, U32(0)), PARAMETER(46, 0, 4, CHECKSUM_NAME, U32(9)),
     PARAMETER(46, 2, 4, CHECKSUM_NAME, '3', 0, '1', 0),
     PARAMETER(46, 2, 400, CHECKSUM_NAME, '3', 0), PARAMETER(46, 7, 4, CHECKSUM_NAME, U32(0)),
     PARAMETER(46, 0, 5, CHECKSUM_NAME, U32(0)), PARAMETER(4, 2, 2, 'x', 0, 'y', 0, 'z', 0),
     PARAMETER(3, 2, 2, 'x', 0, 'y', 0, 'z', 0), PARAMETER(4, 2, 2, 'x', 1, 'y', 0, 'z', 0))
SEED("rndis-types", PLAIN, RNDIS(VSP_RNDIS_KEEPALIVE, 3, U32(7)),
     RNDIS(VSP_RNDIS_RESET, 3, U32(7)),
     RNDIS(VSP_RNDIS_SET_EX, 7, U32(7), U32(0x10106), U32(0), U32(20), U32(0)),
     RNDIS(VSP_RNDIS_INDICATE, 5, U32(0), U32(0), U32(0)),
     RNDIS(VSP_RNDIS_INITIALIZE, 6, U32(1), U32(2), U32(0), U32(0x4000)),
     RNDIS(VSP_RNDIS_INITIALIZE, 6, U32(1), U32(1), U32(0), U32(0x4000)),
     RNDIS(0x80000002u, 3, U32(7)), RNDIS(VSP_RNDIS_QUERY, 3, U32(7)), MESSAGE(FORM_DIRECT, 1, 2),
     MESSAGE(FORM_DIRECT, U32(4), U32(99)), MESSAGE(FORM_DIRECT, U32(4), 1),
     RNDIS(VSP_RNDIS_HALT, 3, U32(7)), RNDIS(VSP_RNDIS_KEEPALIVE, 3, U32(7)))
SEED("requests-piled-up", PLAIN, GUEST(0, 3), QUERY(3), QUERY(4), QUERY(5), QUERY(3), QUERY(4),
     QUERY(5), QUERY(3), QUERY(4), QUERY(5), QUERY(3), QUERY(4), QUERY(5), QUERY(3), QUERY(4),
     QUERY(5), QUERY(3), QUERY(4), QUERY(5), QUERY(3), QUERY(4), QUERY(5), QUERY(3), QUERY(4),
     QUERY(5), QUERY(3), QUERY(4), QUERY(5), GUEST(0, 2),
     STEP(STEP_REQUEST, 0, FORM_DIRECT, 1, 21, VSP_RNDIS_QUERY, 3, 0), GUEST(0, 0))
SEED("request-on-a-sub-channel", FOUR, STEP(STEP_REQUEST, 1, 0, 1, 21, VSP_RNDIS_QUERY, 3, 0),
     STEP(STEP_NVSP, 1, 0, 20, VSP_NVSP_SUBCHANNEL, U32(1), U32(2)),
     STEP(STEP_NVSP, 1, 1, 20, VSP_NVSP_INIT, U32(VSP_NVSP_V61)), STEP(STEP_NVSP, 2, 0, 20, 250))
SEED("nvsp-types", 0, 3, 15, WORLD_READY, NVSP(VSP_NVSP_SWITCH_DATA_PATH, U32(1)),
     NVSP(VSP_NVSP_SWITCH_DATA_PATH, U32(2)), NVSP(VSP_NVSP_OID_QUERY_EX, U32(0), U32(0x10101)),
     NVSP(VSP_NVSP_PD_API, U32(0)), NVSP(VSP_NVSP_INIT_COMPLETE, U32(0)),
     NVSP(VSP_NVSP_RNDIS_COMPLETE, U32(1)), NVSP(VSP_NVSP_RNDIS, 1), NVSP(3, 1), NVSP(255, 1),
     NVSP(VSP_NVSP_SUBCHANNEL, U32(2), U32(1)), NVSP(VSP_NVSP_SUBCHANNEL, U32(1), U32(0)),
     NVSP(VSP_NVSP_SUBCHANNEL, U32(1), U32(1)), NVSP(VSP_NVSP_SUBCHANNEL, U32(1), U32(1)),
     STEP(STEP_NVSP, 0, 1, 20, VSP_NVSP_INIT, 0), STEP(STEP_OPEN, 1, 2))
SEED("link", PLAIN, FAR(3, 0), FAR(3, 1), FAR(4, 100), FAR(4, 62), FAR(3, 0), QUERY(19), QUERY(26))
SEED("link-unheard", 0, 0, 15, 0, SETUP(5, 0, 0xff, 1514, RECEIVE), FAR(3, 0),
     SETUP(0, 0, 0xff, 1514, RECEIVE), GUEST(0, 1), FAR(3, 1), FAR(3, 0), GUEST(0, 0))
SEED("no-queue", 0, 0, 15, 0, FAR(5, 1), SETUP(0, 0, 0xff, 1514, RECEIVE), FRAME(0, UDP4, 100, 1),
     DATA(FORM_SECTION, TCP4, 1, 100, 0))
SEED("no-offloads", 0, 0, 15, 0, FAR(6, 1), SETUP(0, 0, 0xff, 1514, RECEIVE),
     FRAME(0, TCP4 | ASKS, 3000, 1))

/* -- Rubbish ----------------------------------------------------------------- */
SEED("packets", PLAIN, PACKET(0, 0, 1, 0, 1, 2, 3), PACKET(0, 1, 1, 1, U32(0), U32(0)),
     PACKET(0, 1, 1, 3, U32(0), U32(1), U32(100), U32(5000), U32(85), U32(0), U32(107), U32(0),
     	U32(0xffffffff), U32(0)), PACKET(0, 2, 0, 0, U32(108), U32(1)),
     PACKET(0, 2, 1, 1, U32(0), U32(0), U32(108)),
     PACKET(0, 1, 0, 3, U32(0), U32(1), U32(100), U32(0), U32(85), U32(0), U32(107), U32(0),
     	U32(0xffffffff), U32(0)))
SEED("packet-for-guests", PLAIN,
     PACKET(0, 3, 1, 2, U32(0xcafe), U32(1), U32(100), U32(0), U32(107)), QUERY(3))
SEED("packet-for-guests-on-sub", FOUR, FRAME(1, UDP4, 100, 3),
     PACKET(1, 3, 1, 2, U32(0xcafe), U32(1), U32(100), U32(0), U32(107)),
     RSS(0, 0x1701, 128, 1, 0), FRAME(0, TCP4, 100, 3), FRAME(1, TCP4, 100, 3))
SEED("index-in-wild", PLAIN, POKE(0, 0, 0xffffffff))
SEED("index-in-odd", PLAIN, POKE(0, 0, 4), DATA(FORM_SECTION, TCP4, 1, 100, 0))
SEED("index-out-wild", PLAIN, POKE(0, 3, 0x7fffffff), FRAME(0, UDP4, 100, 3), QUERY(3))
SEED("index-out-ahead", PLAIN, POKE(0, 3, 4096), FRAME(0, UDP4, 100, 3), QUERY(3))
SEED("index-out-wild-on-sub", FOUR, POKE(1, 3, 0x7fffffff), FRAME(1, UDP4, 100, 3),
     RSS(0, 0x1701, 128, 1, 0), FRAME(0, TCP4, 100, 3))
SEED("pending-size-wild", PLAIN, POKE(0, 6, 0xffffffff), POKE(0, 7, 0xffffffff), POKE(0, 4, 1),
     DATA(FORM_SECTION, TCP4, 1, 100, 0), FRAME(0, UDP4, 100, 3))
SEED("ring-content", PLAIN, LATER(STEP_DATA, 0, 0, 2, 24, TCP4, 1, U16(1000), 0),
     POKE(0, 128, 0xffffffff), POKE(0, 130, 0))
SEED("memory-goes", PLAIN, LATER(STEP_DATA, 0, FORM_HOT, 2, 24, TCP4, 1, U16(1000), 0),
     STEP(STEP_MEMORY, 0), DATA(FORM_HOT, TCP4, 1, 100, 0), STEP(STEP_MEMORY, 1),
     DATA(FORM_HOT, TCP4, 1, 100, 0))
SEED("teardown-of-both", FOUR, GUEST(1, 2), FRAME(1, UDP4, 100, 9), LATER(STEP_TEARDOWN, 0),
     LATER(STEP_TEARDOWN, 1), FRAME(1, UDP4, 100, 9), DATA(FORM_SECTION, TCP4, 1, 100, 0),
     STEP(STEP_GPADL, 0, SMALL), RECV_BUF(0x100), FRAME(1, UDP4, 100, 9))
SEED("revoked-at-work", FOUR, GUEST(0, 2), FRAME(0, UDP4, 100, 9),
     LATER(STEP_DATA, 0, 0, 2, 24, TCP4, 1, U16(1000), 0), STEP(STEP_REVOKE, 0),
     DATA(FORM_SECTION, TCP4, 1, 100, 0), STEP(STEP_OPEN, 0, 1))
SEED("closed-at-work", FOUR, LATER(STEP_DATA, 0, 0, 2, 24, TCP4, 1, U16(1000), 0),
     LATER(STEP_NVSP, 0, 0, 20, VSP_NVSP_SWITCH_DATA_PATH, U32(1)),
     LATER(STEP_REQUEST, 0, 0, 1, 21, VSP_RNDIS_QUERY, 3, 0), STEP(STEP_CLOSE, 0, 1),
     STEP(STEP_OPEN, 0, 1), SETUP(0, 0, 0xff, 1514, RECEIVE))
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < sizeof(seeds) / sizeof(seeds[0]); i++) {
		char path[4096];
		FILE *file;

		snprintf(path, sizeof(path), "%s/%s", argv[1], seeds[i].name);
		file = fopen(path, "wb");
		if (!file || fwrite(seeds[i].bytes, 1, seeds[i].len, file) != seeds[i].len || fclose(file))
			return perror(path), 1;
	}
	return argc == 2 ? 0 : (fprintf(stderr, "usage: netvsc-seeds DIRECTORY\n"), 2);
}
