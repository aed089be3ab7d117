/* SPDX-License-Identifier: MIT */
/* One wait point for a thread: an io_uring that reaps doorbells, file I/O, timers
 * and calls posted from other threads. It nests in any other loop by its fd.
 *
 * Before it sleeps it spins over what can be seen in memory (channels' rings): a wake-up
 * across cores costs as much as sixty reads. It does so for a bounded time after packets
 * went through a channel whose device is eager (vmbus_channel_ops: disks are): that guest
 * has its answer now, and the next request is near. After anything else it sleeps at once:
 * a loop with nothing but network cards never spins. Frames come in a time of their own, and
 * those that come while it wakes up make one batch; looking for each of them takes more CPU
 * and brings no more through.
 *
 * Threads: a loop belongs to the thread that made it; only vmbus_loop_post(),
 * vmbus_loop_stop() and vmbus_loop_attach() may be called in others. */
#ifndef VMBUS_LOOP_H
#define VMBUS_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <vmbus/channel.h>
#include <vmbus/fault.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmbus_loop;

struct vmbus_loop_config {
	size_t size;       /* sizeof this struct */
	uint32_t entries;  /* I/O in flight at a time; more wait */
	uint32_t spin_us;  /* after an eager channel's packets, before sleeping; 0: never spin.
			    * Ignored on one CPU; in vain it is done for a twentieth of the
			    * time at most */
	uint32_t budget;   /* packets a channel may take before the next one's turn */
	bool nested;       /* vmbus_loop_fd() will be watched by an outer loop */
};
#define VMBUS_LOOP_CONFIG_INIT                                                           \
	{ .size = sizeof(struct vmbus_loop_config), .entries = 512, .spin_us = 50, .budget = 64 }

/* Returns 0; -EINVAL; -ENOMEM; or what io_uring_setup says (-ENOSYS, -EPERM:
 * io_uring is switched off here). @config NULL: the defaults. */
VMBUS_API int vmbus_loop_new(const struct vmbus_loop_config *config, struct vmbus_loop **loop,
			     struct vmbus_error *err) VMBUS_MUST_CHECK;

/* Nothing may be in flight or attached. NULL is fine. */
VMBUS_API void vmbus_loop_free(struct vmbus_loop *loop);

/* Readable when dispatch has something to do. Borrowed. -EINVAL if the loop was not made
 * with config->nested: the kernel does not wake pollers of the faster kind of ring. The
 * outer loop must bear EINTR from its wait, as with any signal: completions interrupt it. */
VMBUS_API int vmbus_loop_fd(const struct vmbus_loop *loop);

/* Does what is ready, never sleeps or spins; afterwards every channel is armed, so
 * that waiting for the fd is enough. Returns the number of things done, or < 0. */
VMBUS_API int vmbus_loop_dispatch(struct vmbus_loop *loop);

/* Dispatches, spins and sleeps until vmbus_loop_stop(). Returns 0 or < 0. */
VMBUS_API int vmbus_loop_run(struct vmbus_loop *loop) VMBUS_MUST_CHECK;
VMBUS_API void vmbus_loop_stop(struct vmbus_loop *loop); /* any thread, or a signal handler */

/* One round: waits until something was done, or @timeout_ns passed (0: does not wait,
 * UINT64_MAX: for ever). Returns the number of things done, or < 0. */
VMBUS_API int vmbus_loop_step(struct vmbus_loop *loop, uint64_t timeout_ns) VMBUS_MUST_CHECK;

/* -- Calls from other threads --------------------------------------------- */

struct vmbus_task { /* the caller's storage, until fn was called */
	void (*fn)(struct vmbus_task *task);
	struct vmbus_task *next; /* the loop's */
};
/* Runs task->fn in the loop's thread. Any thread; no allocation. */
VMBUS_API void vmbus_loop_post(struct vmbus_loop *loop, struct vmbus_task *task);

/* -- Fds, timers ---------------------------------------------------------- */

struct vmbus_watch { /* the caller's storage, while watching */
	void (*ready)(struct vmbus_watch *watch, uint32_t events); /* POLLIN, POLLHUP, ... */
	int fd;
	uint32_t events; /* with EPOLLET: once at each change, else while it is ready */
	uint32_t state;  /* the loop's */
	void (*done)(struct vmbus_watch *watch); /* the loop's */
};
/* Calls watch->ready() when the fd is ready; POLLERR | POLLNVAL means that it cannot be
 * watched, and is the last call. Returns 0, or -EAGAIN (the kernel is out of memory). */
VMBUS_API int vmbus_loop_watch(struct vmbus_loop *loop, struct vmbus_watch *watch) VMBUS_MUST_CHECK;
/* No further call of ready(); @done (may be NULL) when the storage and the fd may go. */
VMBUS_API void vmbus_loop_unwatch(struct vmbus_loop *loop, struct vmbus_watch *watch,
				  void (*done)(struct vmbus_watch *watch));

struct vmbus_timer { /* the caller's storage, while set */
	void (*fire)(struct vmbus_timer *timer);
	uint64_t deadline_ns; /* CLOCK_MONOTONIC */
	struct vmbus_timer *next; /* the loop's */
	bool set;
};
/* Sets or moves a timer: fire() is called once, @after_ns from now. */
VMBUS_API void vmbus_loop_timer(struct vmbus_loop *loop, struct vmbus_timer *timer, uint64_t after_ns);
VMBUS_API void vmbus_loop_timer_cancel(struct vmbus_loop *loop, struct vmbus_timer *timer);

/* -- Channels ------------------------------------------------------------- */

/* Serves an opened channel until it is closed (vmbus_channel_service() says
 * -ESHUTDOWN). Call it from vmbus_server_ops.channel_opened. Any thread.
 * Returns 0 or -ENOMEM. */
VMBUS_API int vmbus_loop_attach(struct vmbus_loop *loop, struct vmbus_channel *channel) VMBUS_MUST_CHECK;

/* Whether @channel is served by @loop: then it is also served after every event of the loop's,
 * so that a device need not ring the doorbell from ready(), fire() or a task. The loop's
 * thread. */
VMBUS_API bool vmbus_loop_serves(const struct vmbus_loop *loop, const struct vmbus_channel *channel);

/* -- Files ---------------------------------------------------------------- */

/* A file the loop does I/O on: it finds out whether the file answers at once
 * (page cache, tmpfs: then the call itself does the I/O, a thread switch less) or
 * must be waited for (io_uring). */
struct vmbus_file { /* of one loop: several loops each have their own for one fd */
	int fd; /* the caller's, open while I/O is in flight */
	uint32_t state[3]; /* the loop's */
};
#define VMBUS_FILE_INIT(file_descriptor) { .fd = (file_descriptor), .state = {0} }

enum vmbus_io_op {
	VMBUS_IO_READ,
	VMBUS_IO_WRITE,
	VMBUS_IO_DATASYNC,
	VMBUS_IO_DISCARD, /* punch a hole: @len bytes at @offset read as zeros */
	VMBUS_IO_ZERO,    /* zero a range, allocated or not; neither changes the size */
};

struct vmbus_io { /* the caller's storage, until it is done */
	enum vmbus_io_op op;
	struct vmbus_file *file;
	const struct iovec *iov;
	unsigned int iov_count;
	uint64_t offset;
	uint64_t len; /* DISCARD, ZERO */
	void (*done)(struct vmbus_io *io, int64_t result);
	struct vmbus_io *next; /* the loop's, while it waits for an entry */
};

/* Starts @io. Returns the result (bytes; 0 for DATASYNC, DISCARD, ZERO; or -errno) if it
 * is finished at once: done() is then not called; or -EINPROGRESS: done() is called
 * later, in this thread. Reads and writes may be short, as with preadv(). DISCARD and ZERO may
 * be refused by the file system (-EOPNOTSUPP). */
VMBUS_API int64_t vmbus_loop_submit(struct vmbus_loop *loop, struct vmbus_io *io) VMBUS_MUST_CHECK;

struct vmbus_loop_stats {
	uint64_t enters;       /* io_uring_enter system calls */
	uint64_t sleeps;       /* of them, those that waited */
	uint64_t spin_ns;      /* spent spinning */
	uint64_t spins, spin_hits; /* a hit: something came in time */
	uint64_t io_inline, io_async;
	uint64_t tasks, wakeups;
};
VMBUS_API void vmbus_loop_get_stats(const struct vmbus_loop *loop, struct vmbus_loop_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
