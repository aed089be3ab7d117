/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <vmbus/loop.h>

#include "spin.h"

#define MS 1000000ull
#define HANG_MS 60000 /* what has not come by then does not come */

static struct vmbus_loop *loop_make(uint32_t spin_us, uint32_t entries, bool nested)
{
	struct vmbus_loop_config config = VMBUS_LOOP_CONFIG_INIT;
	struct vmbus_loop *loop = NULL;
	struct vmbus_error err = {0};

	config.spin_us = spin_us;
	config.entries = entries;
	config.nested = nested;
	cr_assert_eq(vmbus_loop_new(&config, &loop, &err), 0, "%s", err.text);
	return loop;
}

static void fd_ring(int fd)
{
	uint64_t one = 1;

	cr_assert_eq(write(fd, &one, sizeof(one)), (ssize_t)sizeof(one));
}

Test(loop, refuses_impossible_configurations)
{
	static const struct {
		const char *name;
		size_t size;
		uint32_t entries, budget;
	} rows[] = {
		{"size", 1, 64, 64},
		{"no entries", sizeof(struct vmbus_loop_config), 0, 64},
		{"too many entries", sizeof(struct vmbus_loop_config), 100000, 64},
		{"no budget", sizeof(struct vmbus_loop_config), 64, 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vmbus_loop_config config = {
			.size = rows[i].size, .entries = rows[i].entries, .budget = rows[i].budget};
		struct vmbus_loop *loop = NULL;
		struct vmbus_error err = {0};

		cr_expect_eq(vmbus_loop_new(&config, &loop, &err), -EINVAL, "%s", rows[i].name);
		cr_expect_eq(err.code, -EINVAL, "%s", rows[i].name);
	}
	vmbus_loop_free(NULL);
}

/* -- Tasks and stopping --------------------------------------------------- */

struct numbered {
	struct vmbus_task task;
	struct vmbus_loop *loop;
	int number;
	bool again;
};
static int task_order[16], task_count;

static void task_note(struct vmbus_task *task)
{
	struct numbered *t = (struct numbered *)task;

	task_order[task_count++] = t->number;
	if (t->again) {
		t->again = false;
		vmbus_loop_post(t->loop, task);
	} else if (t->number == 0) {
		vmbus_loop_stop(t->loop);
	}
}

Test(loop, runs_tasks_in_the_order_posted_and_stops)
{
	struct vmbus_loop *loop = loop_make(0, 64, false);
	struct numbered tasks[] = {{{task_note, NULL}, loop, 3, true},
				   {{task_note, NULL}, loop, 2, false},
				   {{task_note, NULL}, loop, 1, false}};
	struct numbered last = {{task_note, NULL}, loop, 0, false};
	struct vmbus_loop_stats stats;

	for (int i = 0; i < 3; i++)
		vmbus_loop_post(loop, &tasks[i].task);
	cr_expect_eq(vmbus_loop_step(loop, 0), 3);
	cr_expect_eq(vmbus_loop_step(loop, UINT64_MAX), 1); /* posted from inside a task */
	vmbus_loop_post(loop, &last.task);
	cr_expect_eq(vmbus_loop_run(loop), 0);
	cr_expect_eq(task_count, 5);
	cr_expect_eq(memcmp(task_order, (int[]){3, 2, 1, 3, 0}, 5 * sizeof(int)), 0);
	vmbus_loop_get_stats(loop, &stats);
	cr_expect_eq(stats.tasks, 5);
	vmbus_loop_stop(loop); /* before run: it returns at once, and the next one does not */
	cr_expect_eq(vmbus_loop_run(loop), 0);
	cr_expect_eq(vmbus_loop_step(loop, 0), 0);
	vmbus_loop_free(loop);
}

Test(loop, step_waits_as_long_as_it_was_told)
{
	struct vmbus_loop *loop = loop_make(50, 64, false);
	uint64_t start = spin_clock();

	cr_expect_eq(vmbus_loop_step(loop, 20 * MS), 0);
	cr_expect_geq(spin_clock() - start, 20 * MS);
	start = spin_clock();
	cr_expect_eq(vmbus_loop_step(loop, 0), 0);
	cr_expect_lt(spin_clock() - start, 20 * MS);
	vmbus_loop_free(loop);
}

/* -- Timers --------------------------------------------------------------- */

struct counting_timer {
	struct vmbus_timer timer;
	int fired;
};
static struct counting_timer *fire_order[8];
static int fire_count;

static void timer_note(struct vmbus_timer *timer)
{
	struct counting_timer *t = (struct counting_timer *)timer;

	t->fired++;
	fire_order[fire_count++] = t;
}

Test(loop, fires_timers_by_deadline_each_once)
{
	struct vmbus_loop *loop = loop_make(0, 64, false);
	struct counting_timer late = {.timer.fire = timer_note}, soon = late, moved = late, off = late;
	uint64_t start = spin_clock();

	vmbus_loop_timer(loop, &late.timer, 20 * MS);
	vmbus_loop_timer(loop, &soon.timer, 5 * MS); /* earlier than what the ring waits for */
	vmbus_loop_timer(loop, &moved.timer, 1 * MS);
	vmbus_loop_timer(loop, &moved.timer, 10 * MS);
	vmbus_loop_timer(loop, &off.timer, 2 * MS);
	vmbus_loop_timer_cancel(loop, &off.timer);
	vmbus_loop_timer_cancel(loop, &off.timer);
	while (fire_count < 3)
		cr_assert_geq(vmbus_loop_step(loop, UINT64_MAX), 0);
	cr_expect_geq(spin_clock() - start, 20 * MS);
	cr_expect_eq(vmbus_loop_step(loop, 5 * MS), 0);
	cr_expect(fire_order[0] == &soon && fire_order[1] == &moved && fire_order[2] == &late);
	cr_expect(!late.timer.set && !off.timer.set);
	vmbus_loop_free(loop);
}

/* -- Watches -------------------------------------------------------------- */

struct counting_watch {
	struct vmbus_watch watch;
	struct vmbus_loop *loop;
	int calls, done;
	bool drain, leave;
	uint32_t events;
};

static void watch_done(struct vmbus_watch *watch)
{
	((struct counting_watch *)watch)->done++;
}

static void watch_ready(struct vmbus_watch *watch, uint32_t events)
{
	struct counting_watch *w = (struct counting_watch *)watch;
	uint64_t value;

	w->calls++;
	w->events = events;
	if (w->drain)
		cr_expect_eq(read(watch->fd, &value, sizeof(value)), (ssize_t)sizeof(value));
	if (w->leave) {
		vmbus_loop_unwatch(w->loop, watch, watch_done);
		cr_expect_eq(w->done, 0, "not while ready() runs");
	}
}

static void steps_until_idle(struct vmbus_loop *loop)
{
	while (vmbus_loop_step(loop, 5 * MS) > 0)
		continue;
}

Test(loop, watches_levels_until_they_are_drained_and_edges_once)
{
	struct vmbus_loop *loop = loop_make(0, 64, false);
	struct counting_watch level = {.watch = {.ready = watch_ready, .events = POLLIN}, .loop = loop};
	struct counting_watch edge = {.watch = {.ready = watch_ready, .events = POLLIN | EPOLLET}};

	level.watch.fd = eventfd(0, EFD_NONBLOCK);
	edge.watch.fd = eventfd(0, EFD_NONBLOCK);
	cr_assert_eq(vmbus_loop_watch(loop, &level.watch), 0);
	cr_assert_eq(vmbus_loop_watch(loop, &edge.watch), 0);
	steps_until_idle(loop);
	cr_expect_eq(level.calls + edge.calls, 0);

	fd_ring(level.watch.fd);
	for (int i = 0; i < 3; i++)
		cr_expect_gt(vmbus_loop_step(loop, HANG_MS * MS), 0);
	cr_expect_eq(level.calls, 3);
	level.drain = true;
	steps_until_idle(loop);
	cr_expect_eq(level.calls, 4);
	cr_expect_eq(level.events, POLLIN);

	for (int i = 1; i <= 3; i++) {
		fd_ring(edge.watch.fd);
		steps_until_idle(loop);
		cr_expect_eq(edge.calls, i, "one call a write, though nobody reads");
	}

	/* leaving when it has fired, and the kernel has not told us yet; and from inside ready() */
	fd_ring(edge.watch.fd);
	vmbus_loop_unwatch(loop, &edge.watch, watch_done);
	fd_ring(edge.watch.fd);
	steps_until_idle(loop);
	cr_expect(edge.calls == 3 && edge.done == 1, "%d calls, %d done", edge.calls, edge.done);
	level.leave = true;
	fd_ring(level.watch.fd);
	steps_until_idle(loop);
	cr_expect(level.calls == 5 && level.done == 1);
	close(level.watch.fd);
	close(edge.watch.fd);
	vmbus_loop_free(loop);
}

Test(loop, a_watch_of_what_cannot_be_watched_is_told_once)
{
	struct vmbus_loop *loop = loop_make(0, 64, false);
	struct counting_watch w = {.watch = {.ready = watch_ready, .events = POLLIN, .fd = -1}};

	cr_assert_eq(vmbus_loop_watch(loop, &w.watch), 0);
	steps_until_idle(loop);
	cr_expect(w.calls == 1 && w.events == (POLLERR | POLLNVAL));
	vmbus_loop_unwatch(loop, &w.watch, watch_done);
	cr_expect_eq(w.done, 1);
	vmbus_loop_free(loop);
}

/* -- Files ---------------------------------------------------------------- */

struct counting_io {
	struct vmbus_io io;
	int done;
	int64_t result;
};

static void io_done(struct vmbus_io *io, int64_t result)
{
	struct counting_io *c = (struct counting_io *)io;

	c->done++;
	c->result = result;
}

static int64_t io_run(struct vmbus_loop *loop, struct counting_io *c)
{
	int64_t r;

	c->io.done = io_done;
	c->done = 0;
	r = vmbus_loop_submit(loop, &c->io);
	while (r == -EINPROGRESS && !c->done)
		cr_assert_geq(vmbus_loop_step(loop, HANG_MS * MS), 0);
	cr_expect_eq(c->done, r == -EINPROGRESS, "done() exactly if it was not finished at once");
	return r == -EINPROGRESS ? c->result : r;
}

static int file_make(const char *kind, int flags)
{
	char path[] = "loop-test-XXXXXX";
	int fd, direct;

	if (!strcmp(kind, "memory"))
		return memfd_create("loop-test", MFD_CLOEXEC);
	fd = mkstemp(path);
	direct = open(path, O_RDWR | O_CLOEXEC | flags);
	unlink(path);
	close(fd);
	return direct;
}

#define FILE_BYTES (64u << 10)

static void file_exercise(struct vmbus_loop *loop, const char *name, int fd)
{
	struct vmbus_file file = VMBUS_FILE_INIT(fd);
	char *out = aligned_alloc(4096, FILE_BYTES), *in = aligned_alloc(4096, FILE_BYTES);
	struct iovec iov[2] = {{out, 4096}, {out + 4096, FILE_BYTES - 4096}};
	struct counting_io io = {.io = {.op = VMBUS_IO_WRITE, .file = &file, .iov = iov, .iov_count = 2}};

	cr_assert(out && in);
	memset(out, 0x5a, FILE_BYTES);
	memset(in, 0, FILE_BYTES);
	cr_expect_eq(io_run(loop, &io), FILE_BYTES, "%s: write", name);
	io.io.op = VMBUS_IO_DATASYNC;
	cr_expect_eq(io_run(loop, &io), 0, "%s: datasync", name);

	io.io.op = VMBUS_IO_READ;
	iov[0] = (struct iovec){in, 8192};
	iov[1] = (struct iovec){in + 8192, FILE_BYTES - 8192};
	cr_expect_eq(io_run(loop, &io), FILE_BYTES, "%s: read", name);
	cr_expect_eq(memcmp(in, out, FILE_BYTES), 0, "%s: content", name);
	io.io.offset = FILE_BYTES - 4096;
	cr_expect_eq(io_run(loop, &io), 4096, "%s: short read at the end", name);
	io.io.offset = FILE_BYTES;
	cr_expect_eq(io_run(loop, &io), 0, "%s: read behind the end", name);

	io.io.op = VMBUS_IO_ZERO;
	io.io.offset = 4096;
	io.io.len = 4096;
	cr_expect_eq(io_run(loop, &io), 0, "%s: zero", name);
	io.io.op = VMBUS_IO_DISCARD;
	io.io.offset = 16384;
	cr_expect_eq(io_run(loop, &io), 0, "%s: discard", name);
	memset(out + 4096, 0, 4096);
	memset(out + 16384, 0, 4096);
	cr_expect_eq(pread(fd, in, FILE_BYTES, 0), FILE_BYTES, "%s: size kept", name);
	cr_expect_eq(memcmp(in, out, FILE_BYTES), 0, "%s: zeros", name);
	free(in);
	free(out);
}

Test(loop, does_file_io_of_every_kind)
{
	static const struct {
		const char *name;
		int flags;
		bool async; /* reads and writes, too */
	} rows[] = {
		{"memory", 0, false},
		{"buffered", 0, false},
		{"direct", O_DIRECT, true},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int fd = file_make(rows[i].name, rows[i].flags);
		struct vmbus_loop *loop = loop_make(0, 64, false);
		struct vmbus_loop_stats stats;

		cr_assert_geq(fd, 0, "%s: %m", rows[i].name);
		file_exercise(loop, rows[i].name, fd);
		vmbus_loop_get_stats(loop, &stats);
		if (rows[i].async)
			cr_expect_eq(stats.io_inline, 0, "%s", rows[i].name);
		else if (!strcmp(rows[i].name, "memory"))
			cr_expect_eq(stats.io_inline, 4, "%s: %lu", rows[i].name,
				     (unsigned long)stats.io_inline);
		vmbus_loop_free(loop);
		close(fd);
	}
}

Test(loop, tells_file_errors)
{
	struct vmbus_loop *loop = loop_make(0, 64, false);
	struct vmbus_file closed = VMBUS_FILE_INIT(-1), readable;
	char byte = 0;
	struct iovec iov = {&byte, 1};
	struct counting_io io = {.io = {.op = VMBUS_IO_READ, .file = &closed, .iov = &iov, .iov_count = 1}};
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

	readable = (struct vmbus_file)VMBUS_FILE_INIT(fd);
	cr_expect_eq(io_run(loop, &io), -EBADF);
	io.io.file = &readable;
	io.io.op = VMBUS_IO_WRITE;
	cr_expect_eq(io_run(loop, &io), -EBADF);
	close(fd);
	vmbus_loop_free(loop);
}

Test(loop, more_requests_than_entries_wait_their_turn)
{
	enum { COUNT = 300 };
	struct vmbus_loop *loop = loop_make(0, 4, false);
	struct vmbus_file file = VMBUS_FILE_INIT(file_make("buffered", 0));
	static struct counting_io ios[COUNT];
	int done = 0;

	for (int i = 0; i < COUNT; i++) {
		ios[i].io = (struct vmbus_io){
			.op = VMBUS_IO_DATASYNC, .file = &file, .done = io_done};
		cr_assert_eq(vmbus_loop_submit(loop, &ios[i].io), -EINPROGRESS);
	}
	while (done < COUNT) {
		cr_assert_gt(vmbus_loop_step(loop, HANG_MS * MS), 0);
		done = 0;
		for (int i = 0; i < COUNT; i++)
			done += ios[i].done;
	}
	for (int i = 0; i < COUNT; i++)
		cr_expect(ios[i].done == 1 && ios[i].result == 0, "request %d", i);
	close(file.fd);
	vmbus_loop_free(loop);
}

/* -- Channels: a stand-in, as the loop sees one --------------------------- */

struct vmbus_channel {
	int doorbell;
	int packets;	/* waiting */
	int per_service; /* taken by one call */
	int services, arms;
	bool armed, closing, come_at_arm;
	bool eager, moved; /* @moved: packets were taken since the loop asked */
};

int vmbus_channel_doorbell(const struct vmbus_channel *channel)
{
	return channel->doorbell;
}

int vmbus_channel_service(struct vmbus_channel *channel, unsigned int budget)
{
	int n = channel->packets < channel->per_service ? channel->packets : channel->per_service;

	cr_expect_eq(budget, 64);
	channel->services++;
	channel->armed = false;
	channel->packets -= n;
	channel->moved |= n > 0;
	if (channel->closing)
		return -ESHUTDOWN;
	return channel->packets > 0;
}

bool vmbus_channel_pending(const struct vmbus_channel *channel)
{
	return channel->packets > 0;
}

bool vmbus_channel_eager(struct vmbus_channel *channel)
{
	bool moved = channel->moved;

	channel->moved = false;
	return moved && channel->eager;
}

bool vmbus_channel_arm(struct vmbus_channel *channel)
{
	channel->arms++;
	if (channel->come_at_arm) {
		channel->come_at_arm = false;
		channel->packets = 1;
	}
	channel->armed = channel->packets == 0;
	return channel->packets > 0;
}

Test(loop, serves_a_channel_until_it_is_empty_and_arms_it_before_sleep)
{
	static const uint32_t spins[] = {0, 50};

	for (size_t i = 0; i < 2; i++) {
		struct vmbus_loop *loop = loop_make(spins[i], 64, false);
		struct vmbus_channel ch = {.doorbell = eventfd(0, EFD_NONBLOCK),
					   .packets = 10,
					   .per_service = 4,
					   .eager = true};

		cr_assert_eq(vmbus_loop_attach(loop, &ch), 0);
		steps_until_idle(loop);
		cr_expect(ch.packets == 0 && ch.armed, "spin %u", spins[i]);
		cr_expect(vmbus_loop_serves(loop, &ch));

		ch.packets = 1;
		fd_ring(ch.doorbell);
		cr_expect_gt(vmbus_loop_step(loop, HANG_MS * MS), 0);
		cr_expect_eq(ch.packets, 0, "spin %u: doorbell", spins[i]);

		ch.come_at_arm = true; /* between the last look and arming: no doorbell */
		cr_expect_gt(vmbus_loop_step(loop, HANG_MS * MS), 0);
		cr_expect_eq(ch.packets, 0, "spin %u: came at arm", spins[i]);

		ch.closing = true;
		fd_ring(ch.doorbell);
		steps_until_idle(loop);
		ch.services = 0;
		fd_ring(ch.doorbell);
		steps_until_idle(loop);
		cr_expect_eq(ch.services, 0, "spin %u: served after it was closed", spins[i]);
		cr_expect_not(vmbus_loop_serves(loop, &ch));
		close(ch.doorbell);
		vmbus_loop_free(loop);
	}
}

Test(loop, serves_all_channels_after_a_completion)
{
	struct vmbus_loop *loop = loop_make(0, 64, false);
	struct vmbus_channel ch[2] = {{.doorbell = eventfd(0, EFD_NONBLOCK), .per_service = 4},
				      {.doorbell = eventfd(0, EFD_NONBLOCK), .per_service = 4}};
	struct vmbus_file file = VMBUS_FILE_INIT(file_make("buffered", 0));
	struct counting_io io = {.io = {.op = VMBUS_IO_DATASYNC, .file = &file}};

	for (int i = 0; i < 2; i++)
		cr_assert_eq(vmbus_loop_attach(loop, &ch[i]), 0);
	steps_until_idle(loop);
	ch[0].services = ch[1].services = 0;
	cr_expect_eq(io_run(loop, &io), 0);
	cr_expect(ch[0].services > 0 && ch[1].services > 0);
	ch[0].closing = ch[1].closing = true;
	fd_ring(ch[0].doorbell);
	fd_ring(ch[1].doorbell);
	steps_until_idle(loop);
	close(file.fd);
	vmbus_loop_free(loop);
}

/* -- Nesting -------------------------------------------------------------- */

static bool fd_readable(int fd, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int r;

	do
		r = poll(&p, 1, timeout_ms);
	while (r < 0 && errno == EINTR);
	return r == 1;
}

/* Rings an fd from another process a little later, so that the loop is asleep in poll(). */
static void fd_ring_later(int fd)
{
	if (!fork()) {
		usleep(20000);
		fd_ring(fd);
		_exit(0);
	}
}

Test(loop, fd_wakes_an_outer_loop)
{
	struct vmbus_loop *loop = loop_make(50, 64, true), *plain = loop_make(50, 64, false);
	struct counting_watch w = {.watch = {.ready = watch_ready, .events = POLLIN}, .drain = true};
	struct vmbus_channel ch = {.doorbell = eventfd(0, EFD_NONBLOCK), .per_service = 1};
	struct vmbus_file file = VMBUS_FILE_INIT(file_make("direct", O_DIRECT));
	struct counting_io io = {
		.io = {.op = VMBUS_IO_DATASYNC, .file = &file, .done = io_done}};
	struct counting_timer timer = {.timer.fire = timer_note};
	struct numbered task = {{task_note, NULL}, loop, 1, false};
	int fd = vmbus_loop_fd(loop);

	cr_expect_eq(vmbus_loop_fd(plain), -EINVAL);
	vmbus_loop_free(plain);
	cr_assert_geq(fd, 0);
	cr_expect(!fd_readable(fd, 0));

	vmbus_loop_post(loop, &task.task);
	cr_expect(fd_readable(fd, HANG_MS), "task");
	cr_expect_eq(vmbus_loop_dispatch(loop), 1, "task");
	cr_expect(!fd_readable(fd, 0), "idle after the task");

	w.watch.fd = eventfd(0, EFD_NONBLOCK);
	cr_assert_eq(vmbus_loop_watch(loop, &w.watch), 0);
	fd_ring_later(w.watch.fd);
	cr_expect(fd_readable(fd, HANG_MS), "watch");
	cr_expect_eq(vmbus_loop_dispatch(loop), 1, "watch");
	cr_expect(!fd_readable(fd, 0), "idle after the watch");

	vmbus_loop_timer(loop, &timer.timer, 10 * MS);
	cr_expect(fd_readable(fd, HANG_MS), "timer");
	while (!timer.fired)
		cr_assert_geq(vmbus_loop_dispatch(loop), 0);

	cr_expect_eq(vmbus_loop_submit(loop, &io.io), -EINPROGRESS);
	cr_expect(fd_readable(fd, HANG_MS), "file");
	while (!io.done)
		cr_assert_geq(vmbus_loop_dispatch(loop), 0);

	cr_assert_eq(vmbus_loop_attach(loop, &ch), 0);
	while (fd_readable(fd, 0))
		cr_assert_geq(vmbus_loop_dispatch(loop), 0);
	cr_expect(ch.armed, "dispatch leaves channels armed");
	ch.packets = 40; /* more than one dispatch takes: the outer loop is called again */
	fd_ring_later(ch.doorbell);
	cr_expect(fd_readable(fd, HANG_MS), "doorbell");
	while (fd_readable(fd, 50))
		cr_assert_geq(vmbus_loop_dispatch(loop), 0);
	cr_expect(ch.packets == 0 && ch.armed, "all served");

	ch.closing = true;
	fd_ring(ch.doorbell);
	vmbus_loop_unwatch(loop, &w.watch, watch_done);
	while (fd_readable(fd, 50))
		cr_assert_geq(vmbus_loop_dispatch(loop), 0);
	cr_expect_eq(w.done, 1);
	vmbus_loop_free(loop);
}

/* -- Spinning ------------------------------------------------------------- */

Test(loop, spins_over_channels_and_finds_what_comes_without_a_doorbell)
{
	struct vmbus_loop *loop = loop_make(10000000, 64, false); /* machines can be slow */
	struct vmbus_channel *ch =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct vmbus_loop_stats stats;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		cr_skip_test("one CPU: a loop never spins there");
	*ch = (struct vmbus_channel){.doorbell = eventfd(0, EFD_NONBLOCK),
				     .packets = 1,
				     .per_service = 1,
				     .eager = true};
	cr_assert_eq(vmbus_loop_attach(loop, ch), 0);
	while (!ch->services)
		cr_assert_geq(vmbus_loop_step(loop, 0), 0);
	ch->arms = 0;
	if (!fork()) {
		usleep(5000);
		__atomic_store_n(&ch->packets, 1, __ATOMIC_RELEASE);
		_exit(0);
	}
	cr_expect_gt(vmbus_loop_step(loop, UINT64_MAX), 0);
	cr_expect(ch->packets == 0 && ch->arms == 0);
	vmbus_loop_get_stats(loop, &stats);
	cr_expect(stats.spins == 1 && stats.spin_hits == 1 && stats.spin_ns > 0);
	cr_expect_eq(stats.sleeps, 0);
	ch->closing = true;
	fd_ring(ch->doorbell);
	while (ch->services < 3 && vmbus_loop_step(loop, 300 * MS) > 0)
		continue;
	vmbus_loop_free(loop);
}

/* A network card's frames, timers, tasks: none of them makes the loop spin. */
Test(loop, spins_only_after_packets_of_an_eager_channel)
{
	static const struct {
		bool eager;
		int packets;
		bool spins;
	} rows[] = {{true, 1, true}, {true, 0, false}, {false, 1, false}};

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		cr_skip_test("one CPU: a loop never spins there");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct vmbus_loop *loop = loop_make(1, 64, false);
		struct vmbus_channel ch = {.doorbell = eventfd(0, EFD_NONBLOCK),
					   .packets = rows[i].packets,
					   .per_service = 1,
					   .eager = rows[i].eager};
		struct counting_timer timer = {.timer.fire = timer_note};
		struct vmbus_loop_stats stats, later;

		cr_assert_eq(vmbus_loop_attach(loop, &ch), 0);
		steps_until_idle(loop);
		vmbus_loop_get_stats(loop, &stats);
		cr_expect_eq(stats.spins > 0, rows[i].spins, "row %zu", i);
		vmbus_loop_timer(loop, &timer.timer, MS);
		fd_ring(ch.doorbell);
		steps_until_idle(loop);
		vmbus_loop_get_stats(loop, &later);
		cr_expect_eq(timer.fired, 1);
		cr_expect_eq(later.spins, stats.spins, "row %zu", i);
		vmbus_loop_free(loop);
		close(ch.doorbell);
	}
}

Test(spin, in_vain_costs_a_bounded_share_and_a_find_restores_it)
{
	struct spin spin = {.limit_ns = 50000, .credit_ns = 50000 * SPIN_BURST, .seen_ns = 0};
	struct spin never = {0};
	uint64_t now = 0, spun = 0, end;

	cr_expect_eq(spin_begin(&never, 1000000), 0);
	while (now < 1000 * MS) { /* an event every 100 us, never in time */
		end = spin_begin(&spin, now);
		if (end) {
			spin_end(&spin, now, end, false);
			spun += end - now;
		}
		now += 100000;
	}
	cr_expect_leq(spun, 1000 * MS / SPIN_SHARE + 50000 * SPIN_BURST);
	cr_expect_geq(spun, 1000 * MS / SPIN_SHARE / 2);

	now += 10 * MS; /* time for one spin; it finds something: all are granted again */
	cr_expect_eq(spin_begin(&spin, now), now + 50000);
	now += 2000;
	spin_end(&spin, now - 2000, now, true);
	for (unsigned int i = 0; i < SPIN_BURST; i++) {
		cr_expect_neq(spin_begin(&spin, now), 0, "spin %u after a find", i);
		now += 50000;
		spin_end(&spin, now - 50000, now, false);
	}
	cr_expect_eq(spin_begin(&spin, now), 0);

	spin.credit_ns = spin.limit_ns; /* found, but only because we were preempted */
	cr_expect_neq(spin_begin(&spin, now), 0);
	spin_end(&spin, now, now + 3 * MS, true);
	cr_expect_eq(spin_begin(&spin, now + 3 * MS), 0);
}
