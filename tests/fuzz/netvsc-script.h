/* SPDX-License-Identifier: MIT */
/* The script that fuzz-netvsc plays: {u8 version, channels, depth, flags}, then records of
 * {u8 step, u8 length, bytes}. Bytes that are not there are 0; numbers are little-endian. What
 * they mean stands beside each step. */
#ifndef FUZZ_NETVSC_SCRIPT_H
#define FUZZ_NETVSC_SCRIPT_H

#define STEP_WAIT 0x80u /* the host does not look before the next step */

/* Flags of the first bytes. */
#define WORLD_FLIP 1u     /* what the host has fetched from guest memory is other bytes at once */
#define WORLD_PCAP 2u     /* the nic's frames are written down, too */
#define WORLD_NO_TSO 4u   /* the nic cannot segment */
#define WORLD_KEEP_MAC 8u /* the guest may not change it */
#define WORLD_RESET 16u /* at the end the VM is reset, and not each channel closed */
#define WORLD_READY 32u /* the script begins behind a whole SETUP */
#define WORLD_SUBS 64u  /* and with all sub-channels open */

enum memory { /* what a GPADL names */
	MEMORY_RECEIVE, /* all of it */
	MEMORY_ONE_CHANNEL, /* as much as coalesced frames on one channel need */
	MEMORY_SMALL, /* a handful of slots */
	MEMORY_ALIASED, /* more than there is: each page several times */
	MEMORY_SEND,
	MEMORY_ODD, /* neither begins nor ends with a page */
	MEMORY_TWO_RANGES,
	MEMORY_HOT,
	MEMORY_READONLY,
	MEMORY_RINGS, /* of the primary */
	MEMORY_MIXED, /* the head of slot 26 lies where the host may not write */
	MEMORY_KINDS
};

enum frame_kind {
	FRAME_OTHER, FRAME_UDP4, FRAME_TCP4, FRAME_UDP6, FRAME_TCP6, FRAME_EXTENSIONS, FRAME_FRAGMENT,
	FRAME_OPTIONS, FRAME_KINDS
};
#define FRAME_TAGGED 0x08u /* with a VLAN tag in it */
#define FRAME_TO_ALL 0x10u
#define FRAME_TO_MANY 0x20u
#define FRAME_LONGER 0x80u /* by FRAME_MORE than its number of 16 bits says */
#define FRAME_ASKS 0x40u /* header_for(): checksum, and segmentation if it is long */
#define FRAME_MORE 40u /* bytes that FRAME_LONGER adds */

enum step {
	/* u8 line, u8 pages of each ring */
	STEP_OPEN,
	/* u8 line, u8 flags: 1 the channel was served before, the server was not */
	STEP_CLOSE,
	/* u8 which, u8 enum memory */
	STEP_GPADL,
	/* u8 which */
	STEP_TEARDOWN,
	/* u8 messages (0: all), u8 version, u8 capabilities, u8 filter, u16 mtu, u8 enum memory:
	 * what a driver says first, up to the filter */
	STEP_SETUP,
	/* u8 line, u8 flags (1: no answer wanted), u8 id, u8 type (>= 250: huge), body */
	STEP_NVSP,
	/* u8 line, u8 form, u8 section, u8 id; u8 RNDIS type, u8 row of the OIDs, u8 odd (1, 2, 4:
	 * u32 info length, info offset, message length follow), info */
	STEP_REQUEST,
	/* as above; then a whole RNDIS message */
	STEP_MESSAGE,
	/* as above; u8 frame kind, u8 messages, u16 frame length, u8 infos, {u8 type, u32 value}
	 * each; then {u16 at, u8 value} are changed */
	STEP_DATA,
	/* u8 flags, u32 hash types, u8 entries, u8 first, u8 step between them, u8 odd */
	STEP_RSS,
	/* u8 line, u8 packet type, u8 flags (1: answer wanted), u8 id, u8 header words, header,
	 * payload */
	STEP_PACKET,
	/* u8 line, u8 how (0: the id that follows, 1: the last one again, 2: the oldest held, 3: the
	 * newest; 128 more: longer than packets may be), u32 id, u8 type */
	STEP_COMPLETE,
	/* u8 line, u8 flags: 1 deaf, 2 keeps what it receives */
	STEP_GUEST,
	/* u8 line, u8 word: bit 0 which ring, the rest of the control page, or from 128 on of the
	 * data; u32 value */
	STEP_POKE,
	/* u8: 0 takes memory out, 1 puts it back */
	STEP_MEMORY,
	/* u8 queue, u8 kind, u16 len, u8 times, u8 raw; 12 bytes of header if raw, then the frame's
	 * first bytes */
	STEP_FRAME,
	/* u8 what: 0 deaf, 1 hears, 2 offloads, 3 link, 4 speed, 5 no queue, 6 no offloads; u8 value */
	STEP_FAR,
	/* the VM is reset */
	STEP_RESET,
	/* the adapter is taken away */
	STEP_REVOKE,
	STEPS
};

/* The form of a message: where its bytes are. */
enum form {
	FORM_SECTION, /* of the send buffer */
	FORM_DIRECT,  /* in pages in a row */
	FORM_PARTIAL, /* its first 64 bytes in a section, the rest direct */
	FORM_SCATTERED, /* in pieces that lie apart */
	FORM_HOT,
	FORM_READONLY,
	FORM_MISSING, /* its last bytes are nowhere */
	FORM_LYING,   /* one range less than it says */
	FORM_CRUMBS,  /* each byte in a range of its own, as far as a packet goes */
	FORM_HUGE,    /* far more follows than a packet may have */
	FORMS
};
#define FORM_MASK 0x0fu
#define FORM_NO_ANSWER 0x10u
#define FORM_CONTROL 0x20u /* channel type 1 */
#define FORM_EXTENDED 0x40u /* says it has more bytes in the section than it has */

#endif
