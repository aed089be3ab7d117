/* SPDX-License-Identifier: MIT */
/* storage-vublk poll|block SOCKET read|write DEPTH SECONDS BYTES: the same load over
 * vhost-user-blk, as a driver in a guest would put it on: one virtqueue of the split form in
 * shared memory, event indices. The peer of vmbus-loopback's bench. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "load.h"
#include "spin.h"

enum {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
};

struct message {
	uint32_t request, flags, size;
	union {
		uint64_t word;
		struct {
			uint32_t index, value;
		} vring;
		struct {
			uint32_t index, flags;
			uint64_t descriptors, used, available, log;
		} address;
		struct {
			uint32_t count, padding;
			uint64_t guest, size, user, offset;
		} memory;
	} u;
} __attribute__((packed));
#define HEADER offsetof(struct message, u)

/* A request takes three descriptors: header, data, status. */
#define DESCRIPTORS 512u
#define FEATURES (1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_EVENT_IDX)

static struct shared {
	struct vring_desc descriptors[DESCRIPTORS];
	struct {
		uint16_t flags, index, ring[DESCRIPTORS], used_event;
	} available __attribute__((aligned(64)));
	struct {
		uint16_t flags, index;
		struct vring_used_elem ring[DESCRIPTORS];
		uint16_t available_event;
	} used __attribute__((aligned(64)));
	struct virtio_blk_outhdr headers[LOAD_DEPTH_MAX];
	uint8_t status[LOAD_DEPTH_MAX];
	uint8_t data[LOAD_DEPTH_MAX][LOAD_BYTES] __attribute__((aligned(4096)));
} *shared;

static struct load load;
static int backend, kick_fd, call_fd;
static bool polling;
static uint16_t available, kicked, used;

static int die(const char *what)
{
	fprintf(stderr, "storage-vublk: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* -- Set-up --------------------------------------------------------------- */

static void message_send(struct message *m, uint32_t request, size_t size, int fd)
{
	struct iovec iov = {m, HEADER + size};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
				.cmsg_level = SOL_SOCKET,
				.cmsg_type = SCM_RIGHTS}};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	m->request = request;
	m->flags = 1; /* version */
	m->size = (uint32_t)size;
	if (fd >= 0) {
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
	}
	if (sendmsg(backend, &msg, MSG_NOSIGNAL) != (ssize_t)(HEADER + size))
		die("sending");
}

static void word_send(uint32_t request, uint64_t word, int fd)
{
	struct message m = {.u.word = word};

	message_send(&m, request, request == SET_OWNER ? 0 : sizeof(m.u.word), fd);
}

static void vring_send(uint32_t request, uint32_t value)
{
	struct message m = {.u.vring = {0, value}};

	message_send(&m, request, sizeof(m.u.vring), -1);
}

static uint64_t features_get(void)
{
	struct message m = {.request = 0};

	message_send(&m, GET_FEATURES, 0, -1);
	if (recv(backend, &m, HEADER + sizeof(m.u.word), MSG_WAITALL) != HEADER + sizeof(m.u.word))
		die("the backend's features");
	return m.u.word;
}

static void backend_connect(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	backend = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	if (backend < 0 || connect(backend, (struct sockaddr *)&address, sizeof(address)))
		die(path);
}

static uint64_t address_of(const void *p)
{
	return (uint64_t)(uintptr_t)p; /* guest addresses are our own */
}

static void memory_share(void)
{
	size_t size = (sizeof(*shared) + 0xfff) & ~(size_t)0xfff;
	int fd = memfd_create("storage-vublk", MFD_CLOEXEC);
	struct message m = {.u.memory = {.count = 1, .size = size}};

	if (fd < 0 || ftruncate(fd, (off_t)size))
		die("memory");
	shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (shared == MAP_FAILED)
		die("memory");
	m.u.memory.guest = m.u.memory.user = address_of(shared);
	message_send(&m, SET_MEM_TABLE, sizeof(m.u.memory), fd);
	close(fd);
}

static void queue_share(void)
{
	struct message m = {.u.address = {.descriptors = address_of(shared->descriptors),
					  .used = address_of(&shared->used),
					  .available = address_of(&shared->available)}};

	kick_fd = eventfd(0, EFD_CLOEXEC);
	call_fd = eventfd(0, EFD_CLOEXEC);
	vring_send(SET_VRING_NUM, DESCRIPTORS);
	vring_send(SET_VRING_BASE, 0);
	message_send(&m, SET_VRING_ADDR, sizeof(m.u.address), -1);
	word_send(SET_VRING_CALL, 0, call_fd);
	word_send(SET_VRING_KICK, 0, kick_fd);
}

/* The descriptors of a slot never change. */
static void slots_prepare(void)
{
	for (uint32_t i = 0; i < load.depth; i++) {
		struct vring_desc *d = &shared->descriptors[3 * i];
		uint16_t in = load.write ? 0 : VRING_DESC_F_WRITE;

		d[0] = (struct vring_desc){address_of(&shared->headers[i]), sizeof(shared->headers[i]),
					   VRING_DESC_F_NEXT, (uint16_t)(3 * i + 1)};
		d[1] = (struct vring_desc){address_of(shared->data[i]), LOAD_BYTES,
					   (uint16_t)(VRING_DESC_F_NEXT | in), (uint16_t)(3 * i + 2)};
		d[2] = (struct vring_desc){address_of(&shared->status[i]), 1, VRING_DESC_F_WRITE, 0};
		shared->headers[i].type = load.write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
		memset(shared->data[i], 0x5a, LOAD_BYTES);
	}
}

/* -- Running -------------------------------------------------------------- */

static void slot_start(uint32_t slot)
{
	shared->headers[slot].sector = load_place(&load) / 512;
	shared->status[slot] = 0xff;
	shared->available.ring[available++ % DESCRIPTORS] = (uint16_t)(3 * slot);
	load.started[slot] = load.now;
}

static void queue_kick(void)
{
	static const uint64_t one = 1;
	uint16_t event;

	__atomic_store_n(&shared->available.index, available, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	event = __atomic_load_n(&shared->used.available_event, __ATOMIC_RELAXED);
	if (vring_need_event(event, available, kicked)) {
		if (write(kick_fd, &one, sizeof(one)) != (ssize_t)sizeof(one))
			die("kick");
		load.signals_out++;
	}
	kicked = available;
}

static bool queue_pending(void)
{
	return __atomic_load_n(&shared->used.index, __ATOMIC_ACQUIRE) != used;
}

static void queue_wait(void)
{
	struct pollfd p = {.fd = call_fd, .events = POLLIN}; /* a backend makes it non-blocking */
	uint64_t count;

	while (polling && !queue_pending())
		spin_relax();
	while (!queue_pending()) {
		__atomic_store_n(&shared->available.used_event, used, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (queue_pending())
			break;
		if (poll(&p, 1, -1) != 1 || read(call_fd, &count, sizeof(count)) != (ssize_t)sizeof(count))
			die("call");
		load.signals_in++;
	}
}

static void run(void)
{
	uint32_t in_flight = load.depth, slots[LOAD_DEPTH_MAX], n;

	for (uint32_t i = 0; i < load.depth; i++)
		slot_start(i);
	while (in_flight) {
		bool going;

		queue_kick();
		queue_wait();
		load.now = load_clock(CLOCK_MONOTONIC);
		for (n = 0; queue_pending() && n < load.depth; n++) {
			slots[n] = shared->used.ring[used++ % DESCRIPTORS].id / 3;
			if (slots[n] >= load.depth || shared->status[slots[n]] != VIRTIO_BLK_S_OK)
				die("a request failed");
			load_done(&load, slots[n]);
		}
		going = load_going(&load);
		for (uint32_t i = 0; i < n; i++)
			if (going)
				slot_start(slots[i]);
			else
				in_flight--;
	}
}

int main(int argc, char **argv)
{
	if (argc != 7)
		return fprintf(stderr, "usage: storage-vublk poll|block SOCKET read|write DEPTH SECONDS "
				       "BYTES\n"), 2;
	polling = strcmp(argv[1], "poll") == 0;
	load_begin(&load, argv + 3);
	backend_connect(argv[2]);
	word_send(SET_OWNER, 0, -1);
	if ((features_get() & FEATURES) != FEATURES)
		return fprintf(stderr, "storage-vublk: the backend has no event indices\n"), 1;
	word_send(SET_FEATURES, FEATURES, -1);
	memory_share();
	queue_share();
	slots_prepare();
	run();
	load_report(&load);
	return 0;
}
