/* SPDX-License-Identifier: MIT */
/* Tasks from other threads, watched fds, timers.
 *
 * No eventfd is ever read here: a multishot poll is edge-triggered, it fires at each
 * write, whatever the count, and costs no system call. */
#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "loop-priv.h"

/* -- Tasks ---------------------------------------------------------------- */

void vmbus_loop_arm_wake(struct vmbus_loop *loop)
{
	struct io_uring_sqe *sqe = vmbus_loop_sqe(loop);

	if (!sqe)
		return;
	io_uring_prep_poll_multishot(sqe, loop->wake_fd, POLLIN);
	io_uring_sqe_set_data64(sqe, LOOP_TAG_WAKE);
	loop->wake_armed = true;
}

/* Any thread, or a signal handler. */
void vmbus_loop_wake(struct vmbus_loop *loop)
{
	static const uint64_t one = 1;
	ssize_t r = write(loop->wake_fd, &one, sizeof(one));

	(void)r; /* cannot fail: nobody else has this fd, and it counts to 2^64 */
}

void vmbus_loop_post(struct vmbus_loop *loop, struct vmbus_task *task)
{
	struct vmbus_task *head = atomic_load_explicit(&loop->tasks, memory_order_relaxed);

	do
		task->next = head;
	while (!atomic_compare_exchange_weak_explicit(&loop->tasks, &head, task,
						      memory_order_release, memory_order_relaxed));
	if (!head) /* who found it empty wakes the loop, for all that follow */
		vmbus_loop_wake(loop);
}

int vmbus_loop_run_tasks(struct vmbus_loop *loop)
{
	struct vmbus_task *task, *next, *list = NULL;
	int done = 0;

	if (!atomic_load_explicit(&loop->tasks, memory_order_relaxed))
		return 0;
	task = atomic_exchange_explicit(&loop->tasks, NULL, memory_order_acquire);
	for (; task; task = next) { /* oldest first */
		next = task->next;
		task->next = list;
		list = task;
	}
	for (; list; list = next, done++) {
		next = list->next;
		list->fn(list);
	}
	loop->stats.tasks += (uint64_t)done;
	loop->stats.wakeups++;
	return done;
}

/* -- Watches -------------------------------------------------------------- */

enum {
	WATCH_ARMED = 1,     /* a poll is in the ring: its last completion is to come */
	WATCH_CANCELLED = 2, /* ready() is called no more */
	WATCH_CALLING = 4,   /* inside ready() */
};

/* Level-triggered is one poll after the other: each finds what is still ready.
 * Edge-triggered is one poll for good. */
static int watch_arm(struct vmbus_loop *loop, struct vmbus_watch *watch)
{
	struct io_uring_sqe *sqe = vmbus_loop_sqe(loop);

	if (!sqe)
		return -EAGAIN;
	if (watch->events & EPOLLET)
		io_uring_prep_poll_multishot(sqe, watch->fd, watch->events & ~EPOLLET);
	else
		io_uring_prep_poll_add(sqe, watch->fd, watch->events);
	io_uring_sqe_set_data64(sqe, loop_user_data(watch, LOOP_TAG_WATCH));
	watch->state |= WATCH_ARMED;
	return 0;
}

int vmbus_loop_watch(struct vmbus_loop *loop, struct vmbus_watch *watch)
{
	int r;

	watch->state = 0;
	watch->done = NULL;
	r = watch_arm(loop, watch);
	vmbus_loop_kick(loop);
	return r;
}

static void watch_finish(struct vmbus_watch *watch)
{
	if (watch->done)
		watch->done(watch);
}

void vmbus_loop_unwatch(struct vmbus_loop *loop, struct vmbus_watch *watch,
			void (*done)(struct vmbus_watch *watch))
{
	struct io_uring_sqe *sqe;

	watch->done = done;
	watch->state |= WATCH_CANCELLED;
	if (watch->state & WATCH_ARMED) {
		sqe = vmbus_loop_sqe(loop);
		if (!sqe) /* out of kernel memory: @done when it fires next */
			return;
		loop_cancel_poll(sqe, loop_user_data(watch, LOOP_TAG_WATCH));
		vmbus_loop_kick(loop);
	} else if (!(watch->state & WATCH_CALLING)) {
		watch_finish(watch);
	}
}

int vmbus_loop_watch_event(struct vmbus_loop *loop, struct vmbus_watch *watch, int32_t res,
			   uint32_t flags)
{
	int done = 0;

	if (!(flags & IORING_CQE_F_MORE))
		watch->state &= ~(uint32_t)WATCH_ARMED;
	if (!(watch->state & WATCH_CANCELLED)) {
		watch->state |= WATCH_CALLING;
		watch->ready(watch, res < 0 ? POLLERR | POLLNVAL : (uint32_t)res);
		watch->state &= ~(uint32_t)WATCH_CALLING;
		done = 1;
	}
	if (watch->state & WATCH_ARMED)
		return done;
	/* a poll that failed is not tried again: it would fail for ever */
	if (watch->state & WATCH_CANCELLED) {
		watch_finish(watch);
		return 1;
	}
	if (res >= 0)
		(void)watch_arm(loop, watch);
	return done;
}

/* -- Timers --------------------------------------------------------------- */

static void timer_unlink(struct vmbus_loop *loop, struct vmbus_timer *timer)
{
	struct vmbus_timer **p = &loop->timers;

	while (*p != timer)
		p = &(*p)->next;
	*p = timer->next;
	timer->set = false;
}

void vmbus_loop_timer(struct vmbus_loop *loop, struct vmbus_timer *timer, uint64_t after_ns)
{
	struct vmbus_timer **p = &loop->timers;

	if (timer->set)
		timer_unlink(loop, timer);
	if (__builtin_add_overflow(spin_clock(), after_ns, &timer->deadline_ns))
		timer->deadline_ns = UINT64_MAX;
	while (*p && (*p)->deadline_ns <= timer->deadline_ns)
		p = &(*p)->next;
	timer->next = *p;
	timer->set = true;
	*p = timer;
	vmbus_loop_kick(loop);
}

void vmbus_loop_timer_cancel(struct vmbus_loop *loop, struct vmbus_timer *timer)
{
	if (timer->set)
		timer_unlink(loop, timer);
}

int vmbus_loop_fire_timers(struct vmbus_loop *loop)
{
	struct vmbus_timer *timer;
	uint64_t now;
	int done = 0;

	if (!loop->timers)
		return 0;
	now = spin_clock();
	for (; (timer = loop->timers) && timer->deadline_ns <= now; done++) {
		timer_unlink(loop, timer);
		timer->fire(timer);
	}
	return done;
}

void vmbus_loop_sync_timers(struct vmbus_loop *loop)
{
	uint64_t first = loop->timers ? loop->timers->deadline_ns : 0;
	struct io_uring_sqe *sqe;

	/* a timeout that comes too early is set anew then */
	if (!first || first == UINT64_MAX || (loop->timeout_ns && loop->timeout_ns <= first))
		return;
	sqe = vmbus_loop_sqe(loop);
	if (!sqe)
		return;
	loop->timeout.tv_sec = (int64_t)(first / 1000000000u);
	loop->timeout.tv_nsec = (int64_t)(first % 1000000000u);
	if (loop->timeout_ns) {
		io_uring_prep_timeout_update(sqe, &loop->timeout, LOOP_TAG_TIMEOUT,
					     IORING_TIMEOUT_ABS);
		io_uring_sqe_set_data64(sqe, LOOP_TAG_IGNORE);
	} else {
		io_uring_prep_timeout(sqe, &loop->timeout, 0, IORING_TIMEOUT_ABS);
		io_uring_sqe_set_data64(sqe, LOOP_TAG_TIMEOUT);
	}
	loop->timeout_ns = first;
}
