/* SPDX-License-Identifier: MIT */
/* bench: a load generator in the guest's role. The clock is read once a batch. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "hist.h"
#include "json.h"
#include "loopback.h"

struct bench_slot {
	struct vsp_storvsc_request request;
	struct session_buffer buffer;
	struct bench *bench;
	uint64_t started;
};

struct bench {
	struct session *s;
	const struct session_disk *disk;
	const struct loopback_options *options;
	bool write, random;
	uint64_t places, next; /* of one block size each */
	uint64_t seed;
	uint64_t now;
	uint32_t in_flight, free_count;
	bool failed;
	uint64_t done;
	struct hist hist;
	struct bench_slot *slots, *free[VSP_STORVSC_REQUESTS];
};

struct bench_result {
	double seconds, guest_cpu, host_cpu;
	struct vmbus_shm_usage before, after;
};

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* xorshift64: plenty for places, a few cycles */
static uint64_t random_next(struct bench *b)
{
	b->seed ^= b->seed << 13;
	b->seed ^= b->seed >> 7;
	b->seed ^= b->seed << 17;
	return b->seed;
}

static void slot_done(struct vsp_storvsc_request *request)
{
	struct bench_slot *slot = request->user;
	struct bench *b = slot->bench;

	if (!session_request_ok(request, "bench"))
		b->failed = true;
	hist_add(&b->hist, b->now - slot->started);
	b->free[b->free_count++] = slot;
	b->in_flight--;
	b->done++;
}

static bool slot_start(struct bench *b)
{
	struct bench_slot *slot = b->free[b->free_count - 1];
	uint32_t blocks = b->options->bs / b->disk->block_size;
	uint64_t place = b->random ? random_next(b) % b->places : b->next++ % b->places;
	int ret;

	session_rw(&slot->request, b->disk, b->write, place * blocks, blocks, &slot->buffer);
	slot->started = b->now;
	ret = vsp_storvsc_submit(&b->s->storvsc, &slot->request);
	if (ret) {
		b->failed |= ret != -EAGAIN;
		return false;
	}
	b->free_count--;
	b->in_flight++;
	return true;
}

/* Until @end has passed and everything in flight is done. */
static void bench_run(struct bench *b, uint64_t end)
{
	b->now = clock_ns(CLOCK_MONOTONIC);
	for (;;) {
		bool going = b->now < end && !b->failed;

		while (going && b->free_count > 0 && slot_start(b))
			;
		vsp_storvsc_kick(&b->s->storvsc);
		if (b->in_flight == 0 && !going)
			return;
		if (!session_sleep(b->s))
			return;
		b->now = clock_ns(CLOCK_MONOTONIC);
		if (!session_poll(b->s))
			return;
	}
}

static int bench_prepare(struct bench *b)
{
	uint32_t depth = b->options->depth;

	b->slots = calloc(depth, sizeof(*b->slots));
	if (!b->slots)
		return loopback_fail(LOOPBACK_FAILED, "out of memory");
	for (uint32_t i = 0; i < depth; i++) {
		struct bench_slot *slot = &b->slots[i];

		if (!session_buffer_new(b->s, b->options->bs, &slot->buffer))
			return LOOPBACK_FAILED;
		for (uint32_t k = 0; b->write && k < slot->buffer.size; k++)
			slot->buffer.data[k] = (uint8_t)(random_next(b) >> 32);
		slot->bench = b;
		slot->request.done = slot_done;
		slot->request.user = slot;
		b->free[b->free_count++] = slot;
	}
	return LOOPBACK_OK;
}

static double latency_us(const struct bench *b, unsigned int per_mille)
{
	return (double)hist_quantile(&b->hist, per_mille) / 1000;
}

static void result_json(const struct bench *b, const struct bench_result *r)
{
	struct json j = json_to(stdout);
	double n = (double)b->done;

	json_object(&j, NULL);
	json_string(&j, "rw", b->options->rw);
	json_uint(&j, "bs", b->options->bs);
	json_uint(&j, "depth", b->options->depth);
	json_bool(&j, "thin", b->disk->thin);
	json_double(&j, "seconds", r->seconds);
	json_uint(&j, "ios", b->done);
	json_double(&j, "iops", n / r->seconds);
	json_double(&j, "mib_per_s", n * b->options->bs / 1048576 / r->seconds);
	json_double(&j, "p50_us", latency_us(b, 500));
	json_double(&j, "p99_us", latency_us(b, 990));
	json_double(&j, "p999_us", latency_us(b, 999));
	json_double(&j, "guest_cpu_us_per_io", r->guest_cpu / n);
	json_double(&j, "host_cpu_us_per_io", r->host_cpu / n);
	json_double(&j, "doorbells_per_io", (double)(r->after.doorbells - r->before.doorbells) / n);
	json_double(&j, "interrupts_per_io", (double)(r->after.interrupts - r->before.interrupts) / n);
	json_double(&j, "host_enters_per_io",
		  (double)(r->after.host_enters - r->before.host_enters) / n);
	json_double(&j, "host_sleeps_per_io",
		  (double)(r->after.host_sleeps - r->before.host_sleeps) / n);
	json_object_end(&j);
}

static void result_text(const struct bench *b, const struct bench_result *r)
{
	double n = (double)b->done;

	printf("%s, %" PRIu32 " bytes, %" PRIu32 " in flight, %.1f s: %.0f IOPS, %.1f MiB/s\n",
	       b->options->rw, b->options->bs, b->options->depth, r->seconds, n / r->seconds,
	       n * b->options->bs / 1048576 / r->seconds);
	printf("latency  p50 %.1f us, p99 %.1f us, p99.9 %.1f us\n",
	       latency_us(b, 500), latency_us(b, 990),
	       latency_us(b, 999));
	printf("CPU      guest %.2f us, host %.2f us an I/O\n", r->guest_cpu / n, r->host_cpu / n);
	printf("signals  %.3f to the host, %.3f to the guest an I/O; host slept %" PRIu64 " times\n",
	       (double)(r->after.doorbells - r->before.doorbells) / n,
	       (double)(r->after.interrupts - r->before.interrupts) / n,
	       r->after.host_sleeps - r->before.host_sleeps);
	if (b->disk->thin && !b->write)
		printf("caution  the disk may have holes: those were read without I/O\n");
}

static int bench_measure(struct bench *b)
{
	struct bench_result r;
	uint64_t start, cpu;

	/* warm up: page tables, caches, the host's ideas of the file */
	bench_run(b, clock_ns(CLOCK_MONOTONIC) + 100000000u);
	memset(&b->hist, 0, sizeof(b->hist));
	b->done = 0;
	if (vmbus_shm_guest_usage(b->s->shm, &r.before))
		return loopback_fail(LOOPBACK_NO_HOST, "the host is gone");
	start = clock_ns(CLOCK_MONOTONIC);
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	bench_run(b, start + (uint64_t)(b->options->seconds * 1e9));
	r.guest_cpu = (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1000;
	r.seconds = (double)(clock_ns(CLOCK_MONOTONIC) - start) / 1e9;
	if (b->failed || b->s->error)
		return LOOPBACK_FAILED;
	if (vmbus_shm_guest_usage(b->s->shm, &r.after))
		return loopback_fail(LOOPBACK_NO_HOST, "the host is gone");
	r.host_cpu = (double)(r.after.host_cpu_ns - r.before.host_cpu_ns) / 1000;
	if (b->options->json)
		result_json(b, &r);
	else
		result_text(b, &r);
	return LOOPBACK_OK;
}

static const struct kind {
	const char *name;
	bool write, random;
} kinds[] = {{"read", false, false}, {"write", true, false}, {"randread", false, true},
	     {"randwrite", true, true}};

static const struct kind *kind_find(const char *rw)
{
	for (size_t i = 0; rw && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].name, rw) == 0)
			return &kinds[i];
	return NULL;
}

int loopback_bench_check(const struct loopback_options *options)
{
	if (kind_find(options->rw))
		return LOOPBACK_OK;
	return loopback_fail(LOOPBACK_USAGE, "bench needs --rw randread, randwrite, read or write");
}

int loopback_bench(struct session *s, const struct session_disk *disk,
		   const struct loopback_options *o)
{
	struct bench *b;
	int ret;

	if (o->bs == 0 || o->bs % disk->block_size || o->bs > s->storvsc.max_transfer ||
	    o->bs > disk->blocks * disk->block_size)
		return loopback_fail(LOOPBACK_USAGE, "--bs must be a multiple of %" PRIu32
				     ", at most %" PRIu32 " and no more than the disk",
				     disk->block_size, s->storvsc.max_transfer);
	b = calloc(1, sizeof(*b));
	if (!b)
		return loopback_fail(LOOPBACK_FAILED, "out of memory");
	b->s = s;
	b->disk = disk;
	b->options = o;
	b->seed = 0x9e3779b97f4a7c15u;
	b->places = disk->blocks * disk->block_size / o->bs;
	b->write = kind_find(o->rw)->write;
	b->random = kind_find(o->rw)->random;
	ret = bench_prepare(b);
	if (!ret)
		ret = bench_measure(b);
	for (uint32_t i = 0; b->slots && i < o->depth; i++)
		session_buffer_free(&b->slots[i].buffer);
	free(b->slots);
	free(b);
	return ret;
}
