/* SPDX-License-Identifier: MIT */
/* A network adapter on its channels, a guest that does as it likes, and the far end of
 * the wire, all in one thread: what fuzz-netvsc plays its scripts on. Nothing is served
 * that was not told to be (doorbells, the nic's events), so that a wake-up that is lost
 * leaves something undone. What breaks a rule ends the program. */
#ifndef FUZZ_NETVSC_WORLD_H
#define FUZZ_NETVSC_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmbus/guest.h>
#include <vsp/net.h>
#include <vsp/netvsc.h>

#include "net-priv.h"
#include "netvsc-script.h"

#define LINES 4u      /* the primary and its sub-channels */
#define RING_PAGES 5u /* of one ring at most, control page included */
#define HELD 512u     /* receive packets that the guest keeps */
#define GPADLS 8u     /* of the guest's own, beside the rings' */
#define GPADL_FIRST 0x100u /* their handles */
#define RECEIVE_ID 0xcafeu
#define SLOTS 8192u /* more than there can be */

/* Guest memory by page. HOT comes and goes; the host may not write READONLY. */
#define RING_PFN 16u
#define SEND_PFN 64u
#define SEND_PAGES 12u
#define DATA_PFN 80u
#define DATA_PAGES 20u
#define RECEIVE_PFN 104u
#define RECEIVE_PAGES 240u
#define RAM_PAGES (RECEIVE_PFN + RECEIVE_PAGES)
#define HOT_PFN 1024u
#define HOT_PAGES 4u
#define READONLY_PFN 2048u
#define READONLY_PAGES 2u

struct world_config {
	uint8_t version;  /* newest the host offers, counted from the newest there is */
	uint8_t channels; /* 1 to LINES */
	uint8_t depth;    /* of the wire */
	uint8_t flags;    /* WORLD_* */
};
struct line { /* a channel, the guest's end */
	struct vmbus_guest_channel *channel; /* NULL: not offered */
	struct vmbus_ring_memory rings[2];
	uint8_t *pages[2][RING_PAGES - 1];
	uint32_t gpadl; /* of the rings */
	bool wild;      /* the guest wrote rubbish into its rings */
	bool deaf;      /* it does not look at what comes */
	bool hold;      /* or does not give it back */
	uint16_t owed[256];
	uint64_t held[HELD], returned; /* transaction ids */
	uint32_t held_count;
};

struct served { /* a channel, the host's end */
	struct vmbus_channel *channel;
	bool again;
};

struct wire { /* the adapter's nic: a pair's end, and what went through it */
	struct vsp_nic nic;
	struct vsp_nic *inner; /* NULL: closed */
	uint32_t offloads;     /* of its own it keeps back */
	uint64_t speed_bps;
	bool no_queue, no_offloads; /* what fails */
	uint64_t sent, sent_bytes, refused; /* by the adapter */
	uint64_t given;                     /* to it */
};

struct world {
	struct world_config config;
	struct vmbus_mem *mem;
	struct vmbus_server *server;
	struct vmbus_guest guest;
	struct vmbus_guest_channel channels[2 * LINES];
	struct line lines[LINES];
	struct served served[4 * LINES];
	struct doorbell {
		uint32_t connection_id;
		int fd;
	} doorbells[4 * LINES];
	unsigned int doorbell_count, slot_count;
	bool woken, serving;
	struct vsp_net *net; /* NULL: revoked */
	struct wire wire;
	struct vsp_nic *far;
	struct vsp_nic_queue *far_queues[LINES];
	bool far_deaf;
	uint64_t far_got;
	uint8_t *hot; /* NULL: taken out */
	enum memory gpadls[GPADLS], making; /* what they name */
	uint32_t gpadls_made;       /* as bits */
	size_t data_written, receive_written; /* bytes to be cleared for the next run */
	uint32_t created, open_result; /* the last answer of each kind */
	bool aliased;  /* the receive buffer overlaps itself or other things */
	bool reused;   /* it was taken back: what is under way may be of the old one */
	bool taken[SLOTS]; /* slots that the guest has */
	uint32_t looked_at[256]; /* bytes that came from the host */
	struct vsp_netvsc driver; /* a guest that behaves */
	uint64_t driver_got, driver_sent, driver_answered;
};

extern struct world world; /* there is one */

/* -- netvsc-world.c: bus and memory ---------------------------------------- */

void world_start(const struct world_config *config);
void world_end(void);

uint8_t *world_page(uint64_t pfn); /* as the guest sees it; NULL: there is none */
void memory_written(const void *at, size_t len);
void hot_remove(void);
void hot_add(void);

/* The host serves its channels once. */
bool world_serve(void);
/* The guest reads what the host told it on the bus. Returns whether there was something. */
bool messages_take(void);
/* Lets the host do all it was told of. */
void world_run(void);
/* The same with the guest's turns in between, until nothing moves. */
void world_settle(void);

/* -- netvsc-guest.c: the guest on the bus ---------------------------------- */

extern const struct vmbus_guest_ops guest_ops;

/* The guest looks for offers and connects, if it has to. */
void guest_connect(void);
bool line_open(unsigned int index, uint32_t pages);
void line_close(unsigned int index); /* the ring's GPADL is torn down, too */
/* Rescinded channels are let go of. */
void lines_release(void);
void all_close(void);
void vm_reset(void);
void gpadl_make(unsigned int which, enum memory memory);
void gpadl_tear(unsigned int which);
/* Shows the host what was put in. */
void line_signal(struct line *line);
void line_ring(struct line *line); /* at any rate */

/* -- netvsc-packet.c ------------------------------------------------------- */

#define MESSAGE_MAX (DATA_PAGES * VMBUS_PAGE_SIZE)

struct shape { /* of a packet with RNDIS messages */
	struct line *line;
	uint8_t form, section, id;
};

void packet_put(struct line *line, const struct vmbus_packet *packet);
void inband_put(struct line *line, uint8_t id, bool answer, const void *bytes, uint32_t len);
/* Messages of @len > 0 bytes, in one packet. */
void message_put(const struct shape *shape, const uint8_t *bytes, uint32_t len);
/* QUERY or SET with up to 900 bytes of information. */
void request_put(const struct shape *shape, uint32_t type, uint32_t oid, const void *info,
		 uint32_t len);

/* -- netvsc-wire.c: the nic, and the far end of it -------------------------- */

struct vsp_nic *wire_make(struct wire *wire, struct vsp_nic *inner);
void far_open(struct vsp_nic *nic, uint32_t queues);
void far_close(void);
bool far_put(uint32_t queue, const struct vsp_vnet_header *header, uint8_t *frame, uint32_t len);
/* Takes what is there, if the far end is not deaf. Returns whether there was something;
 * the last of it is in far_frame[]. */
bool far_take(void);
extern uint8_t far_frame[VSP_NIC_FRAME_MAX + FRAME_MORE];
extern uint32_t far_len;

/* -- netvsc-frame.c -------------------------------------------------------- */

/* A frame of @len bytes. Returns where its transport header is, 0: nowhere. */
uint32_t frame_build(uint8_t *frame, uint32_t len, uint8_t kind);
struct vsp_vnet_header header_for(uint8_t kind, uint32_t len, uint32_t transport);

/* -- netvsc-check.c -------------------------------------------------------- */

/* The guest reads what came, and gives it back unless it holds it. Returns whether there was
 * something. */
bool line_read(struct line *line);
/* Between two turns: slots, counters, and nothing left undone. */
void world_check(void);
/* Everything that asks for an answer had one. */
void owed_check(void);
/* The guest looks at bytes that came from the host. */
void guest_looks(const uint8_t *bytes, uint32_t len);

/* -- netvsc-recovery.c ----------------------------------------------------- */

/* A guest that behaves finds an adapter that does. */
void recovery_check(void);

_Noreturn void world_fail(const char *file, int line, const char *what);
#define CHECK(condition)                                            \
	do {                                                        \
		if (!(condition))                                   \
			world_fail(__FILE__, __LINE__, #condition); \
	} while (0)

#endif
