/* SPDX-License-Identifier: MIT */
/* net-forward [-e uring|call] [-x] TAP TAP: makes two taps and carries frames between them,
 * virtio-net headers as they are: the least that any host in user space does, so the limit for
 * one that does more. One thread for both directions. Says "ready" when the taps are there and
 * runs until SIGTERM.
 *   -e uring  reads and writes in flight in one io_uring, one system call a batch
 *   -e call   readv() and writev() until EAGAIN, then poll()
 *   -x        no offloads: whole checksums, no segments */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define FRAME_MAX 65600u /* 64 KiB, Ethernet, tags, the virtio-net header */
#define DEPTH 32u        /* frames in flight in each direction */

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

static int taps[2];
static uint8_t *memory;
static volatile sig_atomic_t ended;

static void die(const char *what, int code)
{
	fprintf(stderr, "net-forward: %s: %s\n", what, strerror(code));
	exit(1);
}

static void on_signal(int number)
{
	(void)number;
	ended = 1;
}

static int tap_open(const char *name, bool offloads)
{
	const unsigned int tso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
	struct ifreq r = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), size = 12;

	if (fd < 0)
		die("/dev/net/tun", errno);
	strncpy(r.ifr_name, name, sizeof(r.ifr_name) - 1);
	if (ioctl(fd, TUNSETIFF, &r) || ioctl(fd, TUNSETVNETHDRSZ, &size))
		die(name, errno);
	if (offloads && ioctl(fd, TUNSETOFFLOAD, tso | TUN_F_USO4 | TUN_F_USO6) &&
	    ioctl(fd, TUNSETOFFLOAD, tso))
		die("TUNSETOFFLOAD", errno);
	return fd;
}

/* -- One system call a batch ---------------------------------------------- */

static struct io_uring ring;

/* user_data: bit 0 is it a write, bit 1 the tap it was read from, the rest the buffer */
static uint8_t *buffer_of(uint64_t data)
{
	return memory + (size_t)FRAME_MAX * (data >> 1);
}

static struct io_uring_sqe *sqe_get(void)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	if (!sqe) /* a frame in flight has one entry, and there are as many */
		die("ring", ENOSPC);
	return sqe;
}

static void read_start(uint64_t data)
{
	struct io_uring_sqe *sqe = sqe_get();

	io_uring_prep_read(sqe, taps[data >> 1 & 1], buffer_of(data), FRAME_MAX, 0);
	io_uring_sqe_set_data64(sqe, data & ~1ull);
}

static void completion_take(uint64_t data, int res)
{
	struct io_uring_sqe *sqe;

	if (data & 1 || res == -EAGAIN || res == -EIO) { /* EIO: the device is down */
		read_start(data);
		return;
	}
	if (res < 0)
		die("read", -res);
	sqe = sqe_get();
	io_uring_prep_write(sqe, taps[!(data >> 1 & 1)], buffer_of(data), (unsigned int)res, 0);
	io_uring_sqe_set_data64(sqe, data | 1);
}

static void run_uring(void)
{
	struct io_uring_params params = {.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
	int ret = io_uring_queue_init_params(4 * DEPTH, &ring, &params);

	if (ret)
		die("io_uring", -ret);
	for (uint64_t i = 0; i < 2ull * DEPTH; i++)
		read_start(i << 1); /* neighbours are of different taps */
	while (!ended) {
		struct io_uring_cqe *cqe;
		unsigned int head, n = 0;

		ret = io_uring_submit_and_wait(&ring, 1);
		if (ret < 0 && ret != -EINTR)
			die("io_uring_enter", -ret);
		io_uring_for_each_cqe(&ring, head, cqe) {
			completion_take(cqe->user_data, cqe->res);
			n++;
		}
		io_uring_cq_advance(&ring, n);
	}
}

/* -- Two system calls a frame --------------------------------------------- */

static bool frames_carry(int from, int to)
{
	for (unsigned int i = 0; i < DEPTH; i++) {
		ssize_t n = read(from, memory, FRAME_MAX);

		if (n < 0)
			return i > 0;
		n = write(to, memory, (size_t)n); /* a frame that is not taken is lost */
	}
	return true;
}

static void run_calls(void)
{
	struct pollfd wait[2] = {{taps[0], POLLIN, 0}, {taps[1], POLLIN, 0}};

	while (!ended) {
		bool more = frames_carry(taps[0], taps[1]);

		if (!frames_carry(taps[1], taps[0]) && !more)
			(void)poll(wait, 2, -1);
	}
}

int main(int argc, char **argv)
{
	const char *engine = "uring";
	bool offloads = true;
	int option;

	while ((option = getopt(argc, argv, "e:x")) != -1) {
		if (option == 'e')
			engine = optarg;
		else if (option == 'x')
			offloads = false;
		else
			return 2;
	}
	if (argc - optind != 2 || (strcmp(engine, "uring") && strcmp(engine, "call")))
		return fprintf(stderr, "usage: net-forward [-e uring|call] [-x] TAP TAP\n"), 2;
	for (int i = 0; i < 2; i++)
		taps[i] = tap_open(argv[optind + i], offloads);
	memory = mmap(NULL, (size_t)FRAME_MAX * 2 * DEPTH, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		die("memory", errno);
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	puts("ready");
	fflush(stdout);
	if (!strcmp(engine, "uring"))
		run_uring();
	else
		run_calls();
	return 0;
}
