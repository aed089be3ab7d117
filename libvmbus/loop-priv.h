/* SPDX-License-Identifier: MIT */
/* The inside of a loop, shared by loop.c (rounds, spinning, sleeping), loop-event.c
 * (tasks, watches, timers), loop-channel.c and loop-file.c. */
#ifndef LOOP_PRIV_H
#define LOOP_PRIV_H

#include <liburing.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include <vmbus/loop.h>

#include "spin.h"

/* What a completion belongs to: the low bits of its user_data, the rest is the
 * pointer. */
enum loop_tag {
	LOOP_TAG_IO,
	LOOP_TAG_WATCH,
	LOOP_TAG_CHANNEL,
	LOOP_TAG_WAKE,
	LOOP_TAG_TIMEOUT,
	LOOP_TAG_IGNORE, /* answers to cancellations and updates */
};
#define LOOP_TAG_MASK 7u

struct attached; /* a channel that is served */
LIST_HEAD(attached_list, attached);

struct vmbus_loop {
	struct io_uring ring;
	uint32_t entries, budget;
	bool nested, inside; /* inside: a round is going on and will submit */
	bool wake_armed;
	int wake_fd;
	atomic_bool stopping;
	_Atomic(struct vmbus_task *) tasks; /* posted, newest first */
	struct spin spin;
	bool eager;	     /* packets of an eager channel since the last spin */
	uint64_t spin_until; /* spin_us after such packets; 0: that is over */

	struct vmbus_timer *timers;	 /* by deadline */
	uint64_t timeout_ns;		 /* deadline of the timeout in the ring; 0: none */
	struct __kernel_timespec timeout; /* the kernel reads it at submission */

	struct attached_list channels;
	uint32_t in_flight;		    /* file I/O in the ring */
	struct vmbus_io *waiting, *waiting_last; /* file I/O that found no entry */
	struct vmbus_loop_stats stats;
};

static inline uint64_t loop_user_data(void *pointer, enum loop_tag tag)
{
	return (uint64_t)(uintptr_t)pointer | tag;
}

/* Not IORING_OP_POLL_REMOVE: it gives up with -EALREADY on a poll that has just fired, and
 * one that fires again and again then stays. */
static inline void loop_cancel_poll(struct io_uring_sqe *sqe, uint64_t user_data)
{
	io_uring_prep_cancel64(sqe, user_data, 0);
	io_uring_sqe_set_data64(sqe, LOOP_TAG_IGNORE);
}

/* An entry of the submission queue; NULL only if the kernel takes none now. */
struct io_uring_sqe *vmbus_loop_sqe(struct vmbus_loop *loop);
/* After queueing something outside of a round: tells the kernel at once. */
void vmbus_loop_kick(struct vmbus_loop *loop);

/* loop-event.c. Those that return int return the number of things done. */
int vmbus_loop_run_tasks(struct vmbus_loop *loop);
int vmbus_loop_fire_timers(struct vmbus_loop *loop);
/* Makes the ring time out at the first timer's deadline. */
void vmbus_loop_sync_timers(struct vmbus_loop *loop);
void vmbus_loop_arm_wake(struct vmbus_loop *loop);
void vmbus_loop_wake(struct vmbus_loop *loop);
int vmbus_loop_watch_event(struct vmbus_loop *loop, struct vmbus_watch *watch, int32_t res,
			   uint32_t flags);

/* loop-channel.c */
/* Serves all channels, or only those that have something of their own. */
int vmbus_loop_serve(struct vmbus_loop *loop, bool all);
bool vmbus_loop_channels_pending(const struct vmbus_loop *loop);
/* Returns true if something came in between: do not sleep. */
bool vmbus_loop_arm_channels(struct vmbus_loop *loop);
/* Those closed but not yet freed, when the ring is gone. */
void vmbus_loop_drop_channels(struct vmbus_loop *loop);
void vmbus_loop_channel_event(struct vmbus_loop *loop, struct attached *attached, int32_t res,
			      uint32_t flags);

/* loop-file.c */
void vmbus_loop_io_event(struct vmbus_loop *loop, struct vmbus_io *io, int32_t res);
void vmbus_loop_start_waiting(struct vmbus_loop *loop);
#endif
