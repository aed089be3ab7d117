/* SPDX-License-Identifier: MIT */
/* A channel as its device and its serving thread see it. Nothing here waits, and
 * nothing is shared with the server's thread but the atomics of channel.h. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "channel.h"
#include "ring-access.h"
#include "server.h"

/* A guest that sleeps is woken when so many packets are left to do: waking up takes a processor
 * as long as ten or twenty reads of memory take the device, so it is there when they are done,
 * and each works while the other one does. Sooner it would find less and have to be woken more
 * often. A few packets are done before it has woken up: it takes these at the least. */
#define PROGRESS_LEFT 16u
#define PROGRESS_LEAST 4u

const struct channel_state_row vmbus_channel_states[CHANNEL_STATES] = {
	[CHANNEL_RELEASED] = {"released", "the guest does not hold it: no id, not offered",
			      STATE(CHANNEL_CLOSED) | STATE(CHANNEL_DELETING)},
	[CHANNEL_CLOSED] = {"closed", "offered",
			    STATE(CHANNEL_OPEN) | STATE(CHANNEL_RELEASED) | STATE(CHANNEL_REVOKED) |
				    STATE(CHANNEL_DELETING)},
	[CHANNEL_OPEN] = {"open", "the device serves it",
			  STATE(CHANNEL_CLOSING) | STATE(CHANNEL_RELEASING) |
				  STATE(CHANNEL_REVOKING) | STATE(CHANNEL_DELETING)},
	[CHANNEL_CLOSING] = {"closing", "the guest closed it, the device is finishing",
			     STATE(CHANNEL_CLOSED) | STATE(CHANNEL_REOPENING) |
				     STATE(CHANNEL_RELEASING) | STATE(CHANNEL_REVOKING) |
				     STATE(CHANNEL_DELETING)},
	[CHANNEL_REOPENING] = {"reopening", "closing, with an OPEN_CHANNEL kept for later",
			       STATE(CHANNEL_CLOSED) | STATE(CHANNEL_RELEASING) |
				       STATE(CHANNEL_REVOKING) | STATE(CHANNEL_DELETING)},
	[CHANNEL_RELEASING] = {"releasing", "the guest let go, the device is finishing",
			       STATE(CHANNEL_RELEASED) | STATE(CHANNEL_DELETING)},
	[CHANNEL_REVOKING] = {"revoking", "the host takes it back, the device is finishing",
			      STATE(CHANNEL_REVOKED) | STATE(CHANNEL_DELETING)},
	[CHANNEL_REVOKED] = {"revoked", "the guest is told and has not let go yet",
			     STATE(CHANNEL_DELETING)},
	[CHANNEL_DELETING] = {"deleting", "both let go; the device or sub-channels are finishing",
			      0},
};

/* One writer. */
static inline void count(_Atomic uint64_t *counter)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

void vmbus_channel_ring_doorbell(const struct vmbus_channel *ch)
{
	uint64_t one = 1;
	ssize_t n = write(ch->doorbell, &one, sizeof(one));

	(void)n; /* EAGAIN: it is rung as often as can be */
}

void vmbus_channel_start(struct vmbus_channel *ch)
{
	ch->view = vmbus_mem_view(ch->server->mem);
	ch->user = NULL;
	ch->busy = 0;
	ch->armed = false;
	ch->blocked = false;
	ch->stopping = false;
	ch->halt_told = false;
	ch->modify_due = false;
	ch->modify_waits = false;
	memset(&ch->progress, 0, sizeof(ch->progress));
	ch->eager_packets = 0;
	memset(&ch->stats, 0, sizeof(ch->stats));
	atomic_store(&ch->sub_wanted, 0);
	atomic_store(&ch->call, NULL);
	atomic_store(&ch->moved, false);
	atomic_store(&ch->halted, 0);
	atomic_store(&ch->stopped, false);
	atomic_store(&ch->stop, false);
}

void vmbus_channel_request_stop(struct vmbus_channel *ch)
{
	atomic_store_explicit(&ch->stop, true, memory_order_release);
	vmbus_channel_ring_doorbell(ch);
}

/* -- Data path ------------------------------------------------------------ */

/* Interrupts the guest. Another thread may move the target meanwhile: it has to
 * know when the last signal to the old one is over. So @signals is odd before the
 * target is read, and whoever moved it and found @signals odd has set @moved before:
 * either this signal goes to the new target, or the mover waits for it
 * (channel_modify() in server-open.c). */
static void channel_signal(struct vmbus_channel *ch)
{
	const struct vmbus_server *server = ch->server;
	uint32_t signals = atomic_load_explicit(&ch->signals, memory_order_relaxed);
	uint32_t vp;

	atomic_store(&ch->signals, signals + 1);
	vp = atomic_load(&ch->target_vp);
	if (vp != VMBUS_VP_NONE) {
		server->ops.signal(server->opaque, vp, ch->open.event_flag, ch->interrupt_page);
		count(&ch->stats.signals);
	}
	atomic_store(&ch->signals, signals + 2);
	if (atomic_load(&ch->moved))
		server->ops.wake(server->opaque);
}

static void channel_publish_stats(struct vmbus_channel *ch)
{
	atomic_store_explicit(&ch->stats.packets_in, ch->rx.packets, memory_order_relaxed);
	atomic_store_explicit(&ch->stats.packets_out, ch->tx.packets, memory_order_relaxed);
	atomic_store_explicit(&ch->stats.bytes_in, ch->rx.bytes, memory_order_relaxed);
	atomic_store_explicit(&ch->stats.bytes_out, ch->tx.bytes, memory_order_relaxed);
}

/* A 0.13 guest also sets a bit in the second half of the interrupt page, and may not signal
 * again until it is clear. */
static void interrupt_bit_clear(const struct vmbus_channel *ch)
{
	uint8_t *page = vmbus_view_page(ch->view, ch->interrupt_page >> VMBUS_PAGE_SHIFT, true);
	uint32_t flag = ch->open.event_flag;
	uint8_t keep = (uint8_t)(0xff ^ 1u << flag % 8);

	if (page)
		__atomic_fetch_and(page + VMBUS_PAGE_SIZE / 2 + flag / 8, keep, __ATOMIC_SEQ_CST);
}

static void channel_wake_up(struct vmbus_channel *ch)
{
	if (ch->version < VMBUS_V1_1)
		interrupt_bit_clear(ch);
	if (!ch->armed)
		return;
	ch->armed = false;
	if (vmbus_rx_pending(&ch->rx))
		count(&ch->stats.doorbells);
	vmbus_rx_disarm(&ch->rx);
}

/* Returns false while requests in flight keep the old layout. */
static bool channel_refresh_view(struct vmbus_channel *ch)
{
	if (!vmbus_view_stale(ch->view))
		return true;
	if (ch->busy != 0)
		return false;
	vmbus_view_unref(ch->view);
	ch->view = vmbus_mem_view(ch->server->mem);
	return true;
}

static void channel_halt(struct vmbus_channel *ch, int why)
{
	count(&ch->stats.faults);
	atomic_store_explicit(&ch->halted, why, memory_order_release);
	ch->server->ops.wake(ch->server->opaque);
}

static bool channel_halted(const struct vmbus_channel *ch)
{
	return atomic_load_explicit(&ch->halted, memory_order_relaxed) != 0;
}

static void progress_mark(struct vmbus_channel *ch)
{
	ch->progress.packets = ch->rx.packets;
	ch->progress.bytes = ch->rx.bytes;
}

/* One commit for all packets of this call, and at most one signal, if the device makes no
 * progress known. A ring that was found corrupt is not committed; what was answered before is
 * still shown. */
static void channel_finish_batch(struct vmbus_channel *ch)
{
	bool due = !channel_halted(ch) && vmbus_rx_commit(&ch->rx);

	due |= vmbus_tx_signal_due(&ch->tx);
	if (due)
		channel_signal(ch);
	progress_mark(ch);
	channel_publish_stats(ch);
}

void vmbus_channel_progress(struct vmbus_channel *ch)
{
	const struct vmbus_rx *rx = &ch->rx;
	uint64_t packets = rx->packets - ch->progress.packets;
	uint64_t bytes = rx->bytes - ch->progress.bytes;
	uint64_t left = ring_distance(rx->mem.size, rx->out, rx->in);

	/* how many packets are left is guessed by the size of those just taken */
	if (packets < PROGRESS_LEAST || left * packets > PROGRESS_LEFT * bytes)
		return;
	progress_mark(ch);
	if (vmbus_tx_signal_due(&ch->tx))
		channel_signal(ch);
}

static int channel_stop(struct vmbus_channel *ch)
{
	const struct vmbus_server_ops *ops = &ch->server->ops;
	void (*wake)(void *) = ops->wake;
	void *opaque = ch->server->opaque;
	int ret = ch->ops.stop(ch->offer.device, ch);

	ch->stopping = true;
	channel_finish_batch(ch);
	if (ret)
		return 0;
	vmbus_view_unref(ch->view);
	ch->view = NULL;
	atomic_store_explicit(&ch->stopped, true, memory_order_release);
	/* the server may be done with the channel by now: it is not looked at again */
	wake(opaque);
	return -ESHUTDOWN;
}

int vmbus_channel_service(struct vmbus_channel *ch, unsigned int budget)
{
	bool current;
	int ret;

	count(&ch->stats.services);
	if (atomic_load_explicit(&ch->stop, memory_order_acquire))
		return channel_stop(ch);
	channel_wake_up(ch);
	current = channel_refresh_view(ch);
	if (channel_halted(ch)) {
		channel_finish_batch(ch);
		return 0;
	}
	ret = ch->ops.service(ch->offer.device, ch, current ? budget : 0);
	/* with the old layout in use nothing can be taken: no reason to stay awake */
	ch->blocked = ret == -EBUSY || (!current && ch->busy != 0);
	if (ret != 0 && ret != -EAGAIN && ret != -EBUSY)
		channel_halt(ch, ret);
	channel_finish_batch(ch);
	if (!current) /* an answer that comes later brings the next call */
		return ch->busy == 0;
	return ret == -EAGAIN;
}

/* Once it was begun only the requests in flight bring the next call. */
static bool channel_stop_begins(const struct vmbus_channel *ch)
{
	return atomic_load_explicit(&ch->stop, memory_order_relaxed) && !ch->stopping;
}

bool vmbus_channel_pending(const struct vmbus_channel *ch)
{
	if (channel_stop_begins(ch))
		return true;
	return !ch->stopping && !ch->blocked && !channel_halted(ch) && vmbus_rx_pending(&ch->rx);
}

bool vmbus_channel_eager(struct vmbus_channel *ch)
{
	uint64_t packets = ch->rx.packets + ch->tx.packets, before = ch->eager_packets;

	ch->eager_packets = packets;
	return ch->ops.eager && packets != before;
}

bool vmbus_channel_arm(struct vmbus_channel *ch)
{
	if (channel_stop_begins(ch))
		return true;
	if (ch->stopping)
		return false;
	if (ch->busy == 0 && vmbus_view_stale(ch->view))
		return true;
	if (ch->blocked || channel_halted(ch))
		return false;
	if (vmbus_rx_arm(&ch->rx))
		return true;
	ch->armed = true;
	return false;
}

struct vmbus_rx *vmbus_channel_rx(struct vmbus_channel *ch)
{
	return &ch->rx;
}

struct vmbus_tx *vmbus_channel_tx(struct vmbus_channel *ch)
{
	return &ch->tx;
}

const struct vmbus_view *vmbus_channel_view(const struct vmbus_channel *ch)
{
	return ch->view;
}

void vmbus_channel_busy(struct vmbus_channel *ch, int n)
{
	ch->busy += n;
}

int vmbus_channel_send(struct vmbus_channel *ch, const struct vmbus_packet *packet,
		       uint32_t from_reserve)
{
	int ret = vmbus_tx_put(&ch->tx, packet, from_reserve);

	if (ret == 0)
		vmbus_tx_publish(&ch->tx);
	return ret;
}

/* A promise of ids for the sub-channels up to @count; the primary keeps it for good. */
static int sub_ids_reserve(struct vmbus_channel *primary, uint32_t count)
{
	uint32_t have = atomic_load(&primary->sub_ids);
	int left = atomic_load(&primary->server->ids_left);
	int more = (int)count - (int)have;

	if (more <= 0)
		return 0;
	do {
		if (left < more)
			return -ENOSPC;
	} while (!atomic_compare_exchange_weak(&primary->server->ids_left, &left, left - more));
	atomic_store(&primary->sub_ids, count);
	return 0;
}

int vmbus_channel_offer_sub(struct vmbus_channel *primary, uint16_t count)
{
	int ret;

	if (primary->subindex != 0 || !primary->serving || atomic_load(&primary->stop))
		return -EINVAL;
	ret = sub_ids_reserve(primary, count);
	if (ret)
		return ret;
	if (count > atomic_load(&primary->sub_wanted))
		atomic_store(&primary->sub_wanted, count);
	primary->server->ops.wake(primary->server->opaque);
	return 0;
}

void vmbus_channel_call(struct vmbus_channel *ch, struct vmbus_channel_call *call)
{
	atomic_store(&ch->call, call);
	ch->server->ops.wake(ch->server->opaque);
}

/* -- Facts ---------------------------------------------------------------- */

uint32_t vmbus_channel_id(const struct vmbus_channel *ch)
{
	return ch->id;
}

uint16_t vmbus_channel_subindex(const struct vmbus_channel *ch)
{
	return ch->subindex;
}

struct vmbus_channel *vmbus_channel_primary(struct vmbus_channel *ch)
{
	return ch->primary;
}

uint32_t vmbus_channel_version(const struct vmbus_channel *ch)
{
	return ch->version;
}

uint32_t vmbus_channel_target_vp(const struct vmbus_channel *ch)
{
	return atomic_load_explicit(&ch->target_vp, memory_order_relaxed);
}

const uint8_t *vmbus_channel_open_data(const struct vmbus_channel *ch)
{
	return ch->open.user_data;
}

void vmbus_channel_set_user(struct vmbus_channel *ch, void *user)
{
	ch->user = user;
}

void *vmbus_channel_get_user(const struct vmbus_channel *ch)
{
	return ch->user;
}

int vmbus_channel_doorbell(const struct vmbus_channel *ch)
{
	return ch->doorbell;
}

enum vmbus_fault vmbus_channel_fault(const struct vmbus_channel *ch)
{
	int why = atomic_load_explicit(&ch->halted, memory_order_acquire);

	return why > 0 ? (enum vmbus_fault)why : VMBUS_FAULT_NONE;
}

void vmbus_channel_get_stats(const struct vmbus_channel *ch, struct vmbus_channel_stats *stats)
{
	*stats = (struct vmbus_channel_stats){
		.packets_in = atomic_load_explicit(&ch->stats.packets_in, memory_order_relaxed),
		.packets_out = atomic_load_explicit(&ch->stats.packets_out, memory_order_relaxed),
		.bytes_in = atomic_load_explicit(&ch->stats.bytes_in, memory_order_relaxed),
		.bytes_out = atomic_load_explicit(&ch->stats.bytes_out, memory_order_relaxed),
		.doorbells = atomic_load_explicit(&ch->stats.doorbells, memory_order_relaxed),
		.signals = atomic_load_explicit(&ch->stats.signals, memory_order_relaxed),
		.services = atomic_load_explicit(&ch->stats.services, memory_order_relaxed),
		.faults = atomic_load_explicit(&ch->stats.faults, memory_order_relaxed),
	};
}
