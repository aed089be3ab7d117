/* SPDX-License-Identifier: MIT */
/* Ring buffers, both ends. The end that reads (struct vmbus_rx) and the end
 * that writes (struct vmbus_tx) are different types, so that using the wrong
 * ring does not compile. The host reads the upstream ring and writes the
 * downstream ring; the guest does the opposite with the same code: this part
 * needs no libc beyond memcpy and memset.
 *
 * The peer is hostile: its index is loaded once and checked in the same
 * function; our own index lives in private memory and is never read back; a
 * packet is copied out once and parsed from the copy.
 *
 * Threads: one end is used by one thread at a time. */
#ifndef VMBUS_RING_H
#define VMBUS_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmbus/fault.h>
#include <vmbus/wire.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where a ring lies. Filled by vmbus_ring_map() (host), or by a guest that knows
 * its own memory. Either @data is the whole data area mapped twice in a row
 * (then a transfer of up to @size bytes never wraps), or @data is NULL and
 * @pages has one pointer a data page. */
struct vmbus_ring_memory {
	struct vmbus_ring_control *control;
	uint8_t *data;
	uint8_t *const *pages;
	uint32_t size; /* data bytes, a multiple of 4096 */
	void *owner;   /* of vmbus_ring_map(); NULL elsewhere */
};

/* A packet, received or to be sent. Pointers lead into private memory. */
struct vmbus_packet {
	uint16_t type;  /* enum vmbus_packet_type */
	uint16_t flags; /* VMBUS_PACKET_COMPLETION_REQUESTED */
	uint64_t transaction_id;
	const void *header; /* between descriptor and payload: ranges. 8-byte aligned when received */
	uint32_t header_len; /* a multiple of 8 */
	const void *payload;
	uint32_t payload_len; /* received: rounded up to 8 by the sender */
};

/* -- The reading end ------------------------------------------------------ */

struct vmbus_rx {
	struct vmbus_ring_memory mem;
	uint32_t out;       /* ours: next byte to read */
	uint32_t committed; /* what the peer was told of @out */
	uint32_t in;        /* the peer's, last loaded and checked */
	uint64_t packets, bytes; /* read, trailers included */
	uint64_t fetches;        /* loads of the peer's index by vmbus_rx_next() */
};

/* Takes over a mapped ring. Starts with the peer's signals masked. Returns 0 or
 * VMBUS_FAULT_BAD_INDEX. */
VMBUS_API int vmbus_rx_init(struct vmbus_rx *rx, const struct vmbus_ring_memory *mem) VMBUS_MUST_CHECK;

/* Whether there is something to read (or a bad index to find): one load of
 * shared memory. For spinning. */
VMBUS_API bool vmbus_rx_pending(const struct vmbus_rx *rx);

/* Whether the peer promises to signal when space comes free in the other ring,
 * the one that it reads (its feature bit stands in the ring that it writes). If
 * not, vmbus_tx_wait_space() has to be repeated by a timer. */
VMBUS_API bool vmbus_rx_peer_frees(const struct vmbus_rx *rx);

/* Copies the next packet into @buf (8-byte aligned, @size bytes) and fills
 * @packet, whose pointers lead into @buf. Returns 0; -EAGAIN if the ring is
 * empty; -ENOBUFS if @size is too small (packet->payload_len then is the size
 * needed for the whole packet; type, flags and transaction_id are filled, too; nothing
 * is consumed: vmbus_rx_skip() can do that); VMBUS_FAULT_BAD_INDEX,
 * _BAD_DESCRIPTOR, _BAD_PACKET_TYPE: the ring is corrupt and must not be used
 * further. */
VMBUS_API int vmbus_rx_next(struct vmbus_rx *rx, void *buf, size_t size, struct vmbus_packet *packet)
	VMBUS_MUST_CHECK;

/* Goes on behind a packet for which vmbus_rx_next() just said -ENOBUFS. */
VMBUS_API void vmbus_rx_skip(struct vmbus_rx *rx, const struct vmbus_packet *packet);

/* Takes back the last packet of vmbus_rx_next(), which will be returned again.
 * At most one, and not after a commit. */
VMBUS_API void vmbus_rx_undo(struct vmbus_rx *rx, const struct vmbus_packet *packet);

/* Tells the peer that everything returned so far has been read. One commit
 * serves any number of packets. Returns true if the peer waits for the space
 * that came free and must be signalled. */
VMBUS_API bool vmbus_rx_commit(struct vmbus_rx *rx) VMBUS_MUST_CHECK;

/* Before sleeping, with everything read and committed: lets the peer signal
 * again, then looks once more. Returns true if something came in between (or
 * something read was not committed): the signals are masked again, do not
 * sleep. */
VMBUS_API bool vmbus_rx_arm(struct vmbus_rx *rx) VMBUS_MUST_CHECK;

/* While polling: asks the peer not to signal. */
VMBUS_API void vmbus_rx_disarm(struct vmbus_rx *rx);

/* -- The writing end ------------------------------------------------------ */

struct vmbus_tx {
	struct vmbus_ring_memory mem;
	uint32_t in;         /* ours: next byte to write */
	uint32_t published;  /* what the peer was told of @in */
	uint32_t out;        /* the peer's, last loaded and checked */
	uint32_t unsignaled; /* bytes published since a signal was last considered */
	uint32_t reserved;   /* bytes promised by vmbus_tx_reserve() */
	bool waiting;        /* the peer was asked to tell of free space */
	bool corrupt;        /* the peer's index was impossible once */
	uint64_t packets, bytes; /* written, trailers included */
};

/* Takes over a mapped ring and states our feature bits in it. Returns 0 or
 * VMBUS_FAULT_BAD_INDEX. */
VMBUS_API int vmbus_tx_init(struct vmbus_tx *tx, const struct vmbus_ring_memory *mem) VMBUS_MUST_CHECK;

/* Ring bytes that a packet takes, trailer included. */
static inline uint32_t vmbus_packet_ring_bytes(uint32_t header_len, uint32_t payload_len)
{
	return (uint32_t)sizeof(struct vmbus_packet_descriptor) + header_len +
	       ((payload_len + 7u) & ~7u) + VMBUS_PACKET_TRAILER;
}

/* Promises @bytes of ring space to a later vmbus_tx_put() that says so, so that
 * a request is only taken when its completion has a place. Returns true, or
 * false if there is not that much space now. If the peer's index is impossible it
 * returns true as well: vmbus_tx_put() then tells. */
VMBUS_API bool vmbus_tx_reserve(struct vmbus_tx *tx, uint32_t bytes) VMBUS_MUST_CHECK;
VMBUS_API void vmbus_tx_unreserve(struct vmbus_tx *tx, uint32_t bytes);

/* Writes one packet behind what was written before; the peer does not see it
 * yet. @from_reserve: bytes of an earlier reservation that this packet uses up
 * (0: none). Returns 0; -EAGAIN if the ring is too full now (never for a packet that
 * was promised its space); -EMSGSIZE if it can never hold the packet; -EINVAL if
 * header_len is no multiple of 8; VMBUS_FAULT_BAD_INDEX if the peer's index is
 * impossible or went back: the ring must not be used further. */
VMBUS_API int vmbus_tx_put(struct vmbus_tx *tx, const struct vmbus_packet *packet, uint32_t from_reserve)
	VMBUS_MUST_CHECK;

/* Shows the peer all packets written so far; a polling peer goes on at once. */
VMBUS_API void vmbus_tx_publish(struct vmbus_tx *tx);

/* At the end of a batch of publishes: whether the peer may be asleep in front
 * of them and must be signalled. Publishes first if need be. */
VMBUS_API bool vmbus_tx_signal_due(struct vmbus_tx *tx) VMBUS_MUST_CHECK;

/* The ring is too full for @bytes beyond what is reserved: asks the peer for a
 * signal when they come free, then looks once more. Returns true if there is room
 * now after all. Publishes; call vmbus_tx_signal_due() before sleeping all the
 * same. The wish is taken back by the next put or reserve that succeeds. */
VMBUS_API bool vmbus_tx_wait_space(struct vmbus_tx *tx, uint32_t bytes) VMBUS_MUST_CHECK;

/* -- GPA-direct ranges ---------------------------------------------------- */

/* Walks the ranges of a received GPA-direct packet. */
struct vmbus_range_iter {
	const uint8_t *next;
	uint32_t left;  /* bytes of the header not walked yet */
	uint32_t count; /* ranges not walked yet */
};

/* A range of a packet: @pfns leads into the received copy. */
struct vmbus_range {
	const uint64_t *pfns;
	uint32_t pages;
	uint32_t offset; /* < 4096 */
	uint32_t len;
};

/* Return 0, or VMBUS_FAULT_BAD_RANGES (none, too many for the header, an offset
 * past the page, an empty range, a list that ends early). _next returns -ENOENT
 * behind the last range. */
VMBUS_API int vmbus_range_first(const struct vmbus_packet *packet, struct vmbus_range_iter *iter)
	VMBUS_MUST_CHECK;
VMBUS_API int vmbus_range_next(struct vmbus_range_iter *iter, struct vmbus_range *range) VMBUS_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
