/* SPDX-License-Identifier: MIT */
/* A guest made by hand over real rings and a real server, and a disk that holds its
 * answers until the test lets go. Everything happens in one thread and only when the test
 * says so. What breaks a rule ends the program. */
#ifndef TESTS_STORAGE_HARNESS_H
#define TESTS_STORAGE_HARNESS_H

#include <vsp/storage.h>
#include <vsp/storvsp-wire.h>

#include "mock.h"

#define HARNESS_LINES 4u       /* the primary and sub-channels */
#define HARNESS_DATA_PFN 1024u /* pages from here on are the test's */
#define HARNESS_PAGES 80u      /* of one request */
#define HARNESS_DISK (1u << 20) /* bytes of a held disk */
#define HARNESS_HELD 64u

/* -- The disk ------------------------------------------------------------- */

struct held_disk {
	bool hold;     /* answer when the test says so; else at once */
	int result;    /* of requests that are answered at once, and of the flushes among them */
	int flush_result;
	int queue_result; /* of queue_new */
	struct vsp_block_info info;
	uint8_t *data;
	struct vsp_block_request *held[HARNESS_HELD];
	unsigned int held_count;
	unsigned int ops[VSP_BLOCK_ZERO + 1];
	uint64_t offset, len; /* of the last request */
	unsigned int queues, closes;
};

struct vsp_disk *held_disk_init(struct held_disk *d); /* the test's reference */
/* Carries out and answers the oldest request. */
void held_disk_finish(struct held_disk *d, int result);
unsigned int held_disk_requests(const struct held_disk *d); /* that ever came */

/* -- The guest ------------------------------------------------------------ */

struct line { /* an open channel, the guest's end */
	uint32_t id;
	struct vmbus_tx tx;
	struct vmbus_rx rx;
	uint8_t *pages[2][MOCK_RING_PAGES / 2 - 1];
	struct vmbus_ring_control *controls[2];
};

struct harness {
	struct mock mock;
	struct vsp_storage *storage;
	struct vmbus_loop *loop; /* of the disks; NULL: none */
	struct line lines[HARNESS_LINES];
	unsigned int line_count;
	uint64_t header[3 * (HARNESS_PAGES + 1)]; /* of the packet being put */
};

#define HARNESS_CONFIG                                                                   \
	{ .size = sizeof(struct vsp_storage_config), .max_transfer = 64u << 10, .queue_depth = 8 }

/* Makes server and controller; @config: HARNESS_CONFIG and more, the rest is filled in. */
void harness_init(struct harness *h, struct vsp_storage_config config);
void harness_fini(struct harness *h);
void harness_run(struct harness *h);

/* Opens the first channel (again). */
struct line *harness_open(struct harness *h);
void harness_close(struct harness *h); /* asks for it; harness_run() does it */
/* Opens the sub-channels whose offers have come. */
void harness_open_subs(struct harness *h);
/* The initialisation, up to Ready. */
struct line *harness_ready(struct harness *h, uint16_t version);

uint8_t *harness_page(struct harness *h, uint64_t pfn);

/* What came back. */
struct answer {
	uint16_t type;
	uint64_t id;
	uint32_t len;
	struct vsp_storvsp_packet p;
};

/* The next packet of the host's; false: none. */
bool answer_take(struct line *line, struct answer *answer);
struct answer answer_expect(struct line *line, uint64_t id);

/* Puts a message of @len bytes and runs. */
void message_put(struct line *line, uint64_t id, const struct vsp_storvsp_packet *p, uint32_t len);
/* A whole exchange of 64 bytes; returns the answer's status. */
uint32_t message_exchange(struct harness *h, struct line *line, uint32_t operation,
			  uint16_t argument);

struct srb {
	uint8_t path, target, lun;
	uint8_t direction;
	uint8_t cdb[16];
	uint32_t len;         /* bytes of data */
	uint32_t offset;      /* in the first page */
	uint64_t pfn;         /* first page, neighbours follow; or */
	const uint64_t *pfns; /* the list, if not NULL */
	uint32_t range_len;   /* bytes of the range; 0: @len */
	uint32_t ranges;      /* 0: one, if there is data */
};

int srb_put(struct harness *h, struct line *line, uint64_t id, const struct srb *srb);
/* Puts, runs, takes the answer. */
struct answer srb_exchange(struct harness *h, struct line *line, const struct srb *srb);

/* READ(10) or WRITE(10) of @blocks at @lba, pages from HARNESS_DATA_PFN on. */
struct srb srb_rw(bool write, uint32_t lba, uint16_t blocks);

#endif
