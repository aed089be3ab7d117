/* SPDX-License-Identifier: MIT */
/* The controller's parts: LUNs (lun.c), the protocol (storvsp.c), requests
 * (request.c), channels and offers (storage.c).
 *
 * Threads: struct lun_queue, struct storage_channel and struct request belong to the
 * thread that serves the channel; what struct vsp_storage shares is atomic or under
 * its lock, which the data path never takes. */
#ifndef LIBVSP_STORAGE_PRIVATE_H
#define LIBVSP_STORAGE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include <vsp/storage.h>
#include <vsp/storvsp-wire.h>

#include "scsi.h"

struct storage_channel;

/* -- LUNs ----------------------------------------------------------------- */

/* A disk at an address, for as long as somebody works on it. */
struct lun {
	atomic_uint refs;
	struct vsp_disk *disk;
	struct vsp_block_info info;  /* size: see below */
	_Atomic uint64_t size;       /* bytes, as of the last resize */
	atomic_int attention;        /* enum scsi_sense, pending for the one initiator */
};

/* One serving thread's way to a LUN. */
struct lun_queue {
	struct lun *lun;
	void *queue;      /* of the disk */
	uint32_t running; /* requests */
	bool retired;     /* the LUN is gone: freed with the last request */
};

/* The queue of @sc to @number, made at first use. Returns 0; -ENOENT: no disk is there;
 * or what queue_new() of the disk says. */
int vsp_lun_queue_get(struct storage_channel *sc, uint8_t number, struct lun_queue **lq);
void vsp_lun_queue_release(struct lun_queue *lq); /* a request has ended */
/* Lets go of disks that were removed. */
void vsp_lun_queues_sweep(struct storage_channel *sc);
void vsp_lun_queues_free(struct storage_channel *sc); /* nothing runs */

/* Sets the bits of the LUNs that have a disk. Any thread. */
void vsp_lun_map(const struct vsp_storage *storage, uint64_t luns[VSP_STORAGE_LUNS / 64]);
void vsp_lun_table_free(struct vsp_storage *storage);

/* -- Requests ------------------------------------------------------------- */

struct request {
	struct vsp_block_request block;
	struct storage_channel *channel;
	struct request *next; /* in the pool */
	struct lun_queue *lq;
	struct scsi_command cmd;
	struct vsp_block_info info; /* as it was when the command came */
	struct vmbus_packet packet; /* leads into buf */
	struct vsp_storvsp_packet storvsp; /* the request's copy, then the answer */
	struct vmbus_span span;     /* the guest's data pages; len 0: none */
	struct iovec *iov;   /* channel->iov_max of them */
	uint8_t cdb[VSP_CDB_SIZE];
	uint32_t answer_len; /* bytes of storvsp that go back */
	uint8_t *data;       /* SCSI_DATA_MAX bytes */
	uint8_t *buf;        /* channel->packet_max bytes: the packet as it was copied */
};

/* Takes the SRB that the request's packet holds; answers at once or later. */
void vsp_request_execute(struct request *r);

/* -- Channels and protocol ------------------------------------------------ */

enum storage_stat {
	STAT_READS,
	STAT_WRITES,
	STAT_FLUSHES,
	STAT_UNMAPS,
	STAT_OTHER,
	STAT_READ_BYTES,
	STAT_WRITE_BYTES,
	STAT_ERRORS,
	STATS
};

struct storage_channel {
	struct vsp_storage *storage;
	struct vmbus_channel *channel;
	struct storage_channel *next; /* under storage->lock */
	struct vmbus_loop *loop;
	struct request *requests, *pool;
	void *memory; /* of the requests' buffers */
	uint32_t packet_max, iov_max;
	uint32_t running; /* requests that are not in the pool */
	int fault;        /* the answer ring is broken: stops the channel */
	struct lun_queue *luns[VSP_STORAGE_LUNS];
	unsigned int removals; /* of storage, when we looked last */
	struct vmbus_timer timer; /* to look for room in the answer ring */
	_Atomic uint64_t stats[STATS];
};

static inline void storage_count(struct storage_channel *sc, enum storage_stat stat, uint64_t n)
{
	/* one writer: no locked instruction needed */
	atomic_store_explicit(&sc->stats[stat],
			      atomic_load_explicit(&sc->stats[stat], memory_order_relaxed) + n,
			      memory_order_relaxed);
}

enum storvsp_state {
	STORVSP_BEGIN,
	STORVSP_VERSION,
	STORVSP_PROPERTIES,
	STORVSP_END,
	STORVSP_READY,
	STORVSP_STATES
};

struct vsp_storage {
	struct vsp_storage_config config;
	struct vmbus_channel *primary; /* the offer */
	pthread_mutex_t lock;
	_Atomic(struct lun *) luns[VSP_STORAGE_LUNS]; /* changed under the lock */
	atomic_uint removals; /* of disks */
	struct storage_channel *channels;             /* open ones, under the lock */
	uint64_t stats[STATS];                        /* of closed ones, under the lock */
	_Atomic uint64_t bad_requests;
	/* of the primary's serving thread; others look at state only */
	_Atomic enum storvsp_state state;
	uint16_t version;
	uint16_t sub_channels; /* granted */
	atomic_bool rescan;    /* the LUNs changed: tell the guest */
};

/* The protocol, but for EXECUTE_SRB: takes @in, of which the first @len bytes came from the
 * guest and the rest is zero, and turns it into the answer. @primary: it came over the first
 * channel. Returns true if it is an SRB to be executed; false if the answer stands in @in.
 * Sub-channels granted are left in storage->sub_channels. */
bool vsp_storvsp_message(struct vsp_storage *storage, bool primary, struct vsp_storvsp_packet *in,
			 uint32_t len);

#define STORVSP_STATUS_SUCCESS 0x00000000u
#define STORVSP_STATUS_BUFFER_OVERFLOW 0x80000005u
#define STORVSP_STATUS_BUSY 0x80000011u
#define STORVSP_STATUS_INVALID_PARAMETER 0xc000000du
#define STORVSP_STATUS_INVALID_DEVICE_REQUEST 0xc0000010u
#define STORVSP_STATUS_REVISION_MISMATCH 0xc0000059u
#define STORVSP_STATUS_NO_DEVICE 0xc00000c0u
#define STORVSP_STATUS_INVALID_DEVICE_STATE 0xc0000184u
#define STORVSP_STATUS_IO_ERROR 0xc0000185u

/* Ring bytes of the largest answer: reserved before a request is taken. */
#define STORVSP_ANSWER_BYTES                                                             \
	((uint32_t)(sizeof(struct vmbus_packet_descriptor) +                             \
		    sizeof(struct vsp_storvsp_packet) + VMBUS_PACKET_TRAILER))

/* The LUNs changed: have the guest told, if it is there. Any thread. */
void vsp_storage_rescan(struct vsp_storage *storage);

/* Sends r->storvsp as the request's completion and gives the request back. */
void vsp_storage_answer(struct request *r);

/* -- disk.c --------------------------------------------------------------- */

struct vsp_disk {
	atomic_uint refs;
	const struct vsp_block_ops *ops;
	void *disk;
};

#endif
