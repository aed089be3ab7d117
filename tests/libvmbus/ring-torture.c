/* SPDX-License-Identifier: MIT */
/* ring-torture [MILLISECONDS]: a writer and a reader, each sleeping on an eventfd
 * whenever its end of the ring says so, with delays thrown in. Each configuration
 * runs for that long (400). A hang is a lost wake-up; every packet must come
 * once, in order and whole. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>

#include "ring-fixture.h"

#define PAYLOAD_MAX 600u
#define HANG_SECONDS 30

static const struct config {
	const char *name;
	uint32_t pages;
	bool paged;
	unsigned int batch;  /* publishes for one decision on a signal, at most */
	unsigned int commit; /* packets for one commit, at most */
	unsigned int spin;   /* looks at the ring before sleeping, at most */
} configs[] = {
	{"one by one, mapped", 1, false, 1, 1, 0},
	{"one by one, paged", 1, true, 1, 1, 0},
	{"batches", 1, false, 20, 30, 0},
	{"batches, spinning", 1, true, 20, 30, 300},
	{"large ring", 8, false, 64, 64, 50},
	{"odd ring", 3, true, 7, 5, 5},
};

static const struct config *config;
static struct ring_fixture f;
static int to_reader, to_writer; /* doorbells */
static volatile bool stop;       /* read and written by __atomic builtins */
static uint64_t written, writer_sleeps, reader_sleeps; /* each one thread's own */
static unsigned int writer_failed, reader_failed;

static uint32_t random_next(uint32_t *state, uint32_t below)
{
	*state = *state * 1664525 + 1013904223;
	return (*state >> 8) % (below + 1);
}

static void delay(uint32_t *seed)
{
	uint32_t kind = random_next(seed, 999);

	if (kind == 0)
		sched_yield();
	else if (kind < 100)
		for (uint32_t n = random_next(seed, 400); n > 0; n--)
			__asm__ volatile("");
}

static void ring_bell(int fd)
{
	const uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) != sizeof(one))
		abort();
}

static void bell_wait(int fd)
{
	uint64_t count;

	if (read(fd, &count, sizeof(count)) != sizeof(count))
		abort();
}

static void signal_if_due(void)
{
	if (vmbus_tx_signal_due(&f.tx))
		ring_bell(to_reader);
}

/* Payload: the packet's number, over and over. */
static int numbered_put(uint64_t id, uint32_t len)
{
	static uint64_t payload[PAYLOAD_MAX / 8];
	const struct vmbus_packet packet = {
		.type = VMBUS_PACKET_INBAND,
		.transaction_id = id,
		.payload = payload,
		.payload_len = len,
	};

	for (uint32_t i = 0; i < len / 8; i++)
		payload[i] = id;
	return vmbus_tx_put(&f.tx, &packet, 0);
}

static void *writer(void *unused)
{
	uint32_t seed = 1, left = 1, len = 0;
	int ret = 0;

	while (!ret && !__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		len = random_next(&seed, PAYLOAD_MAX / 8) * 8;
		while ((ret = numbered_put(written, len)) == -EAGAIN) {
			signal_if_due();
			if (!vmbus_tx_wait_space(&f.tx, vmbus_packet_ring_bytes(0, len))) {
				writer_sleeps++;
				bell_wait(to_writer);
			}
		}
		written++;
		vmbus_tx_publish(&f.tx);
		delay(&seed);
		if (--left == 0) {
			signal_if_due();
			left = 1 + random_next(&seed, config->batch - 1);
		}
	}
	while (!ret && (ret = numbered_put(UINT64_MAX, 0)) == -EAGAIN) { /* the end */
		signal_if_due();
		if (!vmbus_tx_wait_space(&f.tx, 24))
			bell_wait(to_writer);
		ret = 0;
	}
	signal_if_due();
	writer_failed = ret != 0;
	return unused;
}

/* Whether the packet last read is whole, and number @id. */
static bool numbered(uint64_t id)
{
	const uint64_t *payload = f.packet.payload;

	for (uint32_t i = 0; i < f.packet.payload_len / 8; i++)
		if (payload[i] != id)
			return false;
	return f.packet.transaction_id == id;
}

static void reader_commit(void)
{
	if (vmbus_rx_commit(&f.rx))
		ring_bell(to_writer);
}

static void reader_sleep(uint32_t *seed)
{
	for (uint32_t n = random_next(seed, config->spin); n > 0; n--)
		if (vmbus_rx_pending(&f.rx))
			return;
	delay(seed);
	if (vmbus_rx_arm(&f.rx))
		return;
	reader_sleeps++;
	bell_wait(to_reader);
	vmbus_rx_disarm(&f.rx);
}

static void *reader(void *unused)
{
	uint32_t seed = 2, left = 1;
	uint64_t id = 0;

	for (;;) {
		int ret = fixture_next(&f);

		if (ret == -EAGAIN) {
			reader_commit();
			reader_sleep(&seed);
			continue;
		}
		if (ret || f.packet.transaction_id == UINT64_MAX) {
			reader_failed = ret != 0;
			break;
		}
		if (!numbered(id++)) {
			reader_failed = 1;
			fprintf(stderr, "packet %llu is not whole\n", (unsigned long long)id - 1);
			exit(1);
		}
		delay(&seed);
		if (--left == 0) {
			reader_commit();
			left = 1 + random_next(&seed, config->commit - 1);
		}
	}
	reader_commit();
	return unused;
}

static int thread_join(pthread_t thread, const char *name)
{
	struct timespec limit;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += HANG_SECONDS;
	if (pthread_timedjoin_np(thread, NULL, &limit) == 0)
		return 0;
	fprintf(stderr, "%s: the %s hangs: in %u out %u mask %u pending %u\n", config->name, name,
		f.control->in, f.control->out, f.control->interrupt_mask, f.control->pending_send_size);
	exit(1);
}

static int config_run(const struct config *c, unsigned int milliseconds)
{
	struct timespec span = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
	pthread_t threads[2];
	int ret;

	config = c;
	stop = false;
	written = writer_sleeps = reader_sleeps = 0;
	to_reader = eventfd(0, EFD_CLOEXEC);
	to_writer = eventfd(0, EFD_CLOEXEC);
	if (to_reader < 0 || to_writer < 0 || fixture_init(&f, c->pages, c->paged, 4096 - 8))
		return 1;
	if (pthread_create(&threads[0], NULL, writer, NULL) || pthread_create(&threads[1], NULL, reader, NULL))
		return 1;
	nanosleep(&span, NULL);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	ret = thread_join(threads[0], "writer") | thread_join(threads[1], "reader");
	ret |= writer_failed || reader_failed || f.rx.packets != written + 1;
	printf("%s: %llu packets, writer slept %llu times, reader %llu%s\n", c->name,
	       (unsigned long long)written, (unsigned long long)writer_sleeps,
	       (unsigned long long)reader_sleeps, ret ? ": FAILED" : "");
	fixture_fini(&f);
	close(to_reader);
	close(to_writer);
	return ret;
}

int main(int argc, char **argv)
{
	unsigned int milliseconds = argc > 1 ? (unsigned int)strtoul(argv[1], NULL, 10) : 400;
	int failed = 0;

	for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++)
		failed |= config_run(&configs[i], milliseconds);
	return failed;
}
