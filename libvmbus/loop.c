/* SPDX-License-Identifier: MIT */
/* Rounds, spinning and sleeping.
 *
 * The ring is made with DEFER_TASKRUN where the kernel has it: completions are worked
 * off when we ask, not in the middle of other work. Such a ring cannot be polled (its
 * fd becomes readable, but nobody is woken: seen up to Linux 6.18), so a nested loop
 * has a ring without it. */
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "loop-priv.h"

#define LOOP_ENTRIES_MAX 4096u
#define LOOP_BATCH 64u    /* completions copied out of the ring at a time */
#define DISPATCH_ROUNDS 8 /* before dispatch lets the outer loop have a turn */

static int ring_init(struct vmbus_loop *loop)
{
	static const uint32_t deferred =
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
	static const uint32_t coop = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
	const uint32_t tries[] = {loop->nested ? coop : deferred, loop->nested ? 0 : coop, 0};
	int r = -EINVAL;

	for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]) && r == -EINVAL; i++) {
		/* a watch or doorbell may complete many times: room beyond the I/O */
		struct io_uring_params params = {
			.flags = tries[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
			.cq_entries = 4 * loop->entries,
		};

		r = io_uring_queue_init_params(loop->entries, &loop->ring, &params);
	}
	if (!r)
		(void)io_uring_register_ring_fd(&loop->ring); /* saves a look-up an enter */
	return r;
}

int vmbus_loop_new(const struct vmbus_loop_config *config, struct vmbus_loop **out,
		   struct vmbus_error *err)
{
	static const struct vmbus_loop_config defaults = VMBUS_LOOP_CONFIG_INIT;
	struct vmbus_loop *loop;
	int r;

	if (!config)
		config = &defaults;
	if (config->size != sizeof(*config) || !config->entries || !config->budget ||
	    config->entries > LOOP_ENTRIES_MAX)
		return vmbus_error_set(err, -EINVAL, "loop: 1 to %u entries, a budget of 1 at least",
				       LOOP_ENTRIES_MAX);
	loop = calloc(1, sizeof(*loop));
	if (!loop)
		return vmbus_error_set(err, -ENOMEM, "loop: out of memory");
	loop->entries = config->entries;
	loop->budget = config->budget;
	loop->nested = config->nested;
	LIST_INIT(&loop->channels);
	spin_init(&loop->spin, config->spin_us);
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0) {
		r = vmbus_error_set(err, -errno, "loop: eventfd: %m");
		goto free_loop;
	}
	r = ring_init(loop);
	if (r) {
		errno = -r;
		vmbus_error_set(err, r, "loop: io_uring is not available: %m");
		goto close_wake;
	}
	vmbus_loop_arm_wake(loop);
	vmbus_loop_kick(loop);
	*out = loop;
	return 0;

close_wake:
	close(loop->wake_fd);
free_loop:
	free(loop);
	return r;
}

void vmbus_loop_free(struct vmbus_loop *loop)
{
	if (!loop)
		return;
	io_uring_queue_exit(&loop->ring);
	vmbus_loop_drop_channels(loop);
	close(loop->wake_fd);
	free(loop);
}

int vmbus_loop_fd(const struct vmbus_loop *loop)
{
	return loop->nested ? loop->ring.ring_fd : -EINVAL;
}

/* Hands queued entries to the kernel and lets it finish what is ready. What it cannot
 * take now (-EAGAIN, -EBUSY) stays queued for the next time. */
static int ring_enter(struct vmbus_loop *loop)
{
	int r;

	loop->stats.enters++;
	r = io_uring_submit_and_get_events(&loop->ring);
	return r == -EAGAIN || r == -EBUSY || r == -EINTR || r > 0 ? 0 : r;
}

static bool ring_flagged(const struct vmbus_loop *loop)
{
	return __atomic_load_n(loop->ring.sq.kflags, __ATOMIC_RELAXED) &
	       (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

struct io_uring_sqe *vmbus_loop_sqe(struct vmbus_loop *loop)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&loop->ring);

	if (!sqe && !ring_enter(loop))
		sqe = io_uring_get_sqe(&loop->ring);
	return sqe;
}

void vmbus_loop_kick(struct vmbus_loop *loop)
{
	if (loop->inside)
		return;
	vmbus_loop_sync_timers(loop);
	if (io_uring_sq_ready(&loop->ring))
		(void)ring_enter(loop);
}

struct completion {
	uint64_t user_data;
	int32_t res;
	uint32_t flags;
};

static int completion_handle(struct vmbus_loop *loop, const struct completion *c)
{
	void *pointer = (void *)(uintptr_t)(c->user_data & ~(uint64_t)LOOP_TAG_MASK);

	switch ((enum loop_tag)(c->user_data & LOOP_TAG_MASK)) {
	case LOOP_TAG_IO:
		vmbus_loop_io_event(loop, pointer, c->res);
		return 1;
	case LOOP_TAG_WATCH:
		return vmbus_loop_watch_event(loop, pointer, c->res, c->flags);
	case LOOP_TAG_CHANNEL:
		vmbus_loop_channel_event(loop, pointer, c->res, c->flags);
		return 0; /* serving it counts */
	case LOOP_TAG_WAKE:
		loop->wake_armed = c->flags & IORING_CQE_F_MORE;
		break;
	case LOOP_TAG_TIMEOUT:
		loop->timeout_ns = 0;
		break;
	case LOOP_TAG_IGNORE:
		break;
	}
	return 0;
}

/* Completions are copied out before any is handled: a handler may submit, and so make
 * the kernel write to the ring. */
static int completions_handle(struct vmbus_loop *loop)
{
	struct completion batch[LOOP_BATCH];
	struct io_uring_cqe *cqe;
	unsigned int head, n = 0;
	int done = 0;

	io_uring_for_each_cqe(&loop->ring, head, cqe) {
		batch[n++] = (struct completion){cqe->user_data, cqe->res, cqe->flags};
		if (n == LOOP_BATCH)
			break;
	}
	io_uring_cq_advance(&loop->ring, n);
	for (unsigned int i = 0; i < n; i++)
		done += completion_handle(loop, &batch[i]);
	return done;
}

/* Does what is ready, once. Returns the number of things done, or < 0. */
static int loop_round(struct vmbus_loop *loop)
{
	int done = 0, r = 0;

	loop->inside = true;
	if (io_uring_sq_ready(&loop->ring) || ring_flagged(loop))
		r = ring_enter(loop);
	if (r)
		goto out;
	done += completions_handle(loop);
	done += vmbus_loop_run_tasks(loop);
	done += vmbus_loop_fire_timers(loop);
	vmbus_loop_start_waiting(loop);
	/* any of these may have finished a request of any channel */
	done += vmbus_loop_serve(loop, done > 0);
	if (!loop->wake_armed)
		vmbus_loop_arm_wake(loop);
out:
	loop->inside = false;
	return r ? r : done;
}

static bool loop_stopping(const struct vmbus_loop *loop)
{
	return atomic_load_explicit(&loop->stopping, memory_order_acquire);
}

/* Whether a round would find something; memory only. */
static bool loop_pending(const struct vmbus_loop *loop)
{
	return vmbus_loop_channels_pending(loop) ||
	       atomic_load_explicit(&loop->tasks, memory_order_relaxed) ||
	       io_uring_cq_ready(&loop->ring) || ring_flagged(loop) || loop_stopping(loop);
}

/* Returns until when to spin, not after @deadline; 0 or a time that has passed: not at all. */
static uint64_t spin_deadline(struct vmbus_loop *loop, uint64_t now, uint64_t deadline)
{
	uint64_t end = spin_begin(&loop->spin, now);

	if (loop->eager)
		loop->spin_until = now + loop->spin.limit_ns;
	else if (now >= loop->spin_until)
		loop->spin_until = 0;
	loop->eager = false;
	if (loop->spin_until < end)
		end = loop->spin_until;
	if (loop->timers && loop->timers->deadline_ns < end)
		end = loop->timers->deadline_ns;
	return deadline < end ? deadline : end;
}

/* Watches memory for a bounded time; the guests' signals stay masked meanwhile.
 * Returns true if there is something to do. */
static bool loop_spin(struct vmbus_loop *loop, uint64_t deadline)
{
	uint64_t start, now, end;
	bool found = false;

	if (!loop->spin.limit_ns || (!loop->eager && !loop->spin_until))
		return false;
	if (io_uring_sq_ready(&loop->ring) && ring_enter(loop))
		return false;
	now = start = spin_clock();
	end = spin_deadline(loop, now, deadline);
	if (now >= end)
		return false;
	do {
		for (unsigned int i = 0; i < SPIN_STRIDE && !found; i++) {
			spin_relax();
			found = loop_pending(loop);
		}
		now = spin_clock();
	} while (!found && now < end);
	spin_end(&loop->spin, start, now, found);
	loop->stats.spin_ns += now - start;
	loop->stats.spins++;
	loop->stats.spin_hits += found;
	return found;
}

/* Everything that can wake us is asked to. Returns true if something came in between:
 * do not sleep. */
static bool loop_arm(struct vmbus_loop *loop)
{
	vmbus_loop_sync_timers(loop);
	return vmbus_loop_arm_channels(loop) ||
	       atomic_load_explicit(&loop->tasks, memory_order_relaxed);
}

static int loop_sleep(struct vmbus_loop *loop, uint64_t deadline)
{
	uint64_t now = deadline == UINT64_MAX ? 0 : spin_clock();
	uint64_t left = deadline > now ? deadline - now : 0;
	struct __kernel_timespec ts = {
		.tv_sec = (int64_t)(left / 1000000000u),
		.tv_nsec = (int64_t)(left % 1000000000u),
	};
	struct io_uring_cqe *cqe;
	int r;

	loop->stats.enters++;
	loop->stats.sleeps++;
	r = io_uring_submit_and_wait_timeout(&loop->ring, &cqe, 1,
					     deadline == UINT64_MAX ? NULL : &ts, NULL);
	return r == -ETIME || r == -EINTR || r == -EAGAIN || r == -EBUSY || r > 0 ? 0 : r;
}

static uint64_t deadline_after(uint64_t ns)
{
	uint64_t deadline;

	if (ns == 0)
		return 0;
	return __builtin_add_overflow(spin_clock(), ns, &deadline) ? UINT64_MAX : deadline;
}

int vmbus_loop_step(struct vmbus_loop *loop, uint64_t timeout_ns)
{
	uint64_t deadline = timeout_ns == UINT64_MAX ? UINT64_MAX : deadline_after(timeout_ns);
	int n;

	for (;;) {
		n = loop_round(loop);
		if (n || loop_stopping(loop))
			return n;
		if (deadline != UINT64_MAX && spin_clock() >= deadline) {
			vmbus_loop_kick(loop);
			return 0;
		}
		if (loop_spin(loop, deadline) || loop_arm(loop) || loop_stopping(loop))
			continue;
		n = loop_sleep(loop, deadline);
		if (n)
			return n;
	}
}

int vmbus_loop_run(struct vmbus_loop *loop)
{
	int n = 0;

	while (n >= 0 && !loop_stopping(loop))
		n = vmbus_loop_step(loop, UINT64_MAX);
	atomic_store_explicit(&loop->stopping, false, memory_order_relaxed);
	return n < 0 ? n : 0;
}

void vmbus_loop_stop(struct vmbus_loop *loop)
{
	atomic_store_explicit(&loop->stopping, true, memory_order_release);
	vmbus_loop_wake(loop);
}

int vmbus_loop_dispatch(struct vmbus_loop *loop)
{
	int n, total = 0;

	for (int i = 0; i < DISPATCH_ROUNDS; i++) {
		n = loop_round(loop);
		if (n < 0)
			return n;
		total += n;
		if (!n && !loop_arm(loop)) {
			vmbus_loop_kick(loop);
			return total;
		}
	}
	vmbus_loop_wake(loop); /* there is more: have the outer loop come back */
	return total;
}

void vmbus_loop_get_stats(const struct vmbus_loop *loop, struct vmbus_loop_stats *stats)
{
	*stats = loop->stats;
}
