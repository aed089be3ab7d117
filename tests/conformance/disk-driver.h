/* SPDX-License-Identifier: MIT */
/* The guest's disk driver over one channel: random reads, writes, flushes and unmaps, and a
 * book of what must be on the disk. Channels of one controller share the book. */
#ifndef CONFORMANCE_DISK_DRIVER_H
#define CONFORMANCE_DISK_DRIVER_H

#include <vsp/storvsc.h>

#include "slow-disk.h"

#define DISK_SECTORS (SLOW_DISK_SIZE / 512)
#define DISK_REGION 32u /* sectors; a request keeps its region for itself */
#define DISK_LUNS 2u
#define DISK_DEPTH 48u
#define DISK_PAGES 6u /* of one request */

struct disk_book {
	bool lent[DISK_LUNS][DISK_SECTORS / DISK_REGION];
	/* what fills the sector: 0 zeros, a number that the bytes follow from, or unknown */
	uint32_t stamps[DISK_LUNS][DISK_SECTORS];
	uint32_t next_stamp;
};
#define DISK_UNKNOWN 0xffffffffu

struct disk_driver {
	struct vmbus_inproc *bus;
	struct disk_book *book;
	struct vsp_storvsc storvsc;
	uint32_t to_send, in_flight;
	uint64_t good, failed, gone; /* answers: success, medium error, no LUN */
	uint64_t max_in_flight;
	struct disk_request {
		struct vsp_storvsc_request srb;
		struct disk_driver *driver; /* NULL: free */
		enum { DISK_READ, DISK_WRITE, DISK_UNMAP, DISK_FLUSH } kind;
		uint32_t lba, sectors, stamp, pages;
		uint64_t pfns[DISK_PAGES];
	} requests[DISK_DEPTH];
};

/* Takes an open channel; @primary NULL: starts the initialisation, at @version or below. */
int disk_driver_init(struct disk_driver *driver, struct vmbus_inproc *bus, struct disk_book *book,
		     struct vmbus_guest_channel *channel, struct disk_driver *primary,
		     uint16_t version);
/* For vmbus_inproc_config.event. */
void disk_driver_event(struct disk_driver *driver);
bool disk_driver_done(const struct disk_driver *driver);
/* Nothing more will be answered: what was to be written may have been, or not. */
void disk_driver_abandon(struct disk_driver *driver);

/* Fills a command that the caller sends by itself. */
void disk_cdb(uint8_t *cdb, uint8_t *cdb_len, bool write, uint32_t form, uint32_t lba,
	      uint32_t sectors);

#endif
