/* SPDX-License-Identifier: MIT */
/* Two processes and the bus between them: the whole life of a connection, several guests
 * at once, guests that are killed, hosts that are. A plain program. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "echo.h"

/* Who also waits for other things looks now and then: that costs no time. */
static void a_look_does_not_spin(struct vmbus_shm_guest *shm)
{
	struct vmbus_shm_usage before, after;
	uint8_t message[VMBUS_MESSAGE_MAX];
	size_t len;

	CHECK(vmbus_shm_guest_usage(shm, &before) == 0);
	while (vmbus_shm_guest_wait(shm, 0, 0, NULL, message, &len) == 0)
		CHECK(len == 0);
	CHECK(vmbus_shm_guest_usage(shm, &after) == 0);
	CHECK(after.guest_spin_ns == before.guest_spin_ns);
}

static void life_is_complete(uint32_t host_spin, uint32_t guest_spin)
{
	pid_t host = test_host_start(&echo_device, host_spin, 4);
	struct vmbus_shm_usage usage;
	struct echo_guest guest;
	struct stat st;

	CHECK(stat(socket_path(), &st) == 0 && (st.st_mode & 0777) == 0600);
	CHECK(echo_guest_connect(&guest, socket_path(), guest_spin) == 0);
	CHECK(guest.version == VMBUS_V6_0);
	CHECK(echo_guest_open(&guest) == 0);
	CHECK(echo_guest_run(&guest, 1, 1) == 0);
	CHECK(echo_guest_run(&guest, 20000, 1) == 0);
	CHECK(echo_guest_run(&guest, 50000, 100) == 0); /* more than the rings hold */
	CHECK(guest.wrong == 0);
	CHECK(vmbus_shm_guest_usage(guest.shm, &usage) == 0);
	CHECK(usage.host_cpu_ns > 0 && usage.host_enters > 0);
	CHECK(usage.doorbells > 0 || host_spin > 0);
	CHECK((usage.host_spin_ns == 0) == (host_spin == 0 || sysconf(_SC_NPROCESSORS_ONLN) == 1));
	a_look_does_not_spin(guest.shm);
	CHECK(vmbus_shm_guest_gone(guest.shm) == NULL);
	CHECK(echo_guest_close(&guest) == 0);
	echo_guest_free(&guest);
	CHECK(test_host_stop(host) == 0);
	CHECK(stat(socket_path(), &st) != 0 && errno == ENOENT);
}

/* Steps that the guests have taken, all processes together: connected, open, then each
 * PACKETS_A_STEP. */
static int *steps, *opened; /* @opened: the guests that have come that far */
#define PACKETS_A_STEP 64u

static void step_take(void)
{
	__atomic_fetch_add(steps, 1, __ATOMIC_SEQ_CST);
}

static void reach_wait(const int *counter, int count)
{
	while (__atomic_load_n(counter, __ATOMIC_SEQ_CST) < count)
		usleep(100);
}

static pid_t guest_fork(uint64_t count, unsigned int depth)
{
	struct echo_guest guest;
	uint64_t n;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid)
		return pid;
	CHECK(echo_guest_connect(&guest, socket_path(), 50) == 0);
	step_take();
	CHECK(echo_guest_open(&guest) == 0);
	__atomic_fetch_add(opened, 1, __ATOMIC_SEQ_CST);
	for (step_take(); count > 0; step_take(), count -= n) {
		n = count < PACKETS_A_STEP ? count : PACKETS_A_STEP;
		CHECK(echo_guest_run(&guest, n, depth) == 0);
	}
	CHECK(guest.wrong == 0);
	_exit(0);
}

static void several_guests_are_served_at_once(void)
{
	pid_t host = test_host_start(&echo_device, 50, 4), guests[4];
	struct echo_guest fifth;
	int status;

	for (int i = 0; i < 4; i++)
		guests[i] = guest_fork(UINT64_MAX / 2, 8);
	reach_wait(opened, 4);
	CHECK(echo_guest_connect(&fifth, socket_path(), 0) == -EPROTO); /* no room */
	for (int i = 0; i < 4; i++) {
		CHECK(waitpid(guests[i], &status, WNOHANG) == 0);
		kill(guests[i], SIGKILL);
		CHECK(waitpid(guests[i], &status, 0) == guests[i]);
	}
	for (int i = 0; i < 4; i++)
		guests[i] = guest_fork(5000, 8);
	for (int i = 0; i < 4; i++)
		CHECK(waitpid(guests[i], &status, 0) == guests[i] && status == 0);
	CHECK(test_host_stop(host) == 0);
}

/* At any moment: while it connects, opens, or is in the middle of its packets. */
static void killed_guests_cost_the_host_nothing(void)
{
	pid_t host = test_host_start(&echo_device, 50, 8);
	unsigned int seed = 1;
	int status;

	for (int i = 0; i < 100; i++) {
		pid_t guest;

		*steps = 0;
		guest = guest_fork(UINT64_MAX / 2, 16);
		reach_wait(steps, i % 10);
		usleep((useconds_t)(rand_r(&seed) % 500)); /* and anywhere in the next one */
		kill(guest, SIGKILL);
		CHECK(waitpid(guest, &status, 0) == guest);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}
	CHECK(waitpid(guest_fork(1000, 16), &status, 0) > 0 && status == 0);
	CHECK(waitpid(host, &status, WNOHANG) == 0);
	CHECK(test_host_stop(host) == 0);
}

/* Its memory cannot be given back, so all that can be done is to say who keeps it. The
 * device of this test stops when it has been said. */
static void a_device_that_does_not_stop_is_told_of(void)
{
	pid_t host = test_host_start(&stuck_device, 50, 1), guest;
	int status;

	guest = guest_fork(1, 1);
	CHECK(waitpid(guest, &status, 0) == guest && status == 0);
	CHECK(test_host_stop(host) == 0);
}

static void a_killed_host_is_noticed(uint32_t guest_spin)
{
	pid_t host = test_host_start(&echo_device, 50, 8), killer;
	struct echo_guest guest, late;
	int status, r;

	CHECK(echo_guest_connect(&guest, socket_path(), guest_spin) == 0);
	CHECK(echo_guest_open(&guest) == 0);
	killer = fork();
	if (killer == 0) {
		usleep(20000);
		kill(host, SIGKILL);
		_exit(0);
	}
	CHECK(echo_guest_run(&guest, UINT64_MAX / 2, 16) == -EPIPE);
	CHECK(vmbus_shm_guest_gone(guest.shm) && strstr(vmbus_shm_guest_gone(guest.shm), "host is gone"));
	CHECK(vmbus_shm_guest_post(guest.shm, 1, "", 0) == HV_STATUS_INVALID_CONNECTION_ID);
	echo_guest_free(&guest);
	CHECK(waitpid(killer, &status, 0) == killer && waitpid(host, &status, 0) == host);

	/* its socket is stale: nobody listens, and the next host replaces it */
	while ((r = echo_guest_connect(&late, socket_path(), 0)) == -EPROTO)
		continue; /* the kernel has not let go of the host's socket yet */
	CHECK(r == -ECONNREFUSED);
	host = test_host_start(&echo_device, 50, 8);
	CHECK(waitpid(guest_fork(10, 1), &status, 0) > 0 && status == 0);
	CHECK(test_host_stop(host) == 0);
	CHECK(echo_guest_connect(&late, socket_path(), 0) == -ENOENT);
}

static void a_host_that_stops_tells_its_guests(void)
{
	pid_t host = test_host_start(&echo_device, 50, 8), killer;
	struct echo_guest guest;
	int status;

	CHECK(echo_guest_connect(&guest, socket_path(), 50) == 0);
	CHECK(echo_guest_open(&guest) == 0);
	killer = fork();
	if (killer == 0) {
		usleep(20000);
		kill(host, SIGTERM);
		_exit(0);
	}
	CHECK(echo_guest_run(&guest, UINT64_MAX / 2, 16) == -EPIPE);
	CHECK(strstr(vmbus_shm_guest_gone(guest.shm), "the host stops"));
	echo_guest_free(&guest);
	CHECK(waitpid(killer, &status, 0) == killer);
	CHECK(waitpid(host, &status, 0) == host && status == 0);
}

static void a_path_in_use_is_left_alone(void)
{
	struct vmbus_shm_host_ops ops = {.size = sizeof(ops)};
	struct vmbus_shm_host_config config = VMBUS_SHM_HOST_CONFIG_INIT;
	pid_t host = test_host_start(&echo_device, 0, 4);
	struct vmbus_shm_host *other = NULL;
	struct vmbus_error err;
	struct vmbus_loop *loop;
	char file[] = "/tmp/vmbus-shm-file-XXXXXX", too_long[109] = "";
	int fd = mkstemp(file), status;

	CHECK(vmbus_loop_new(NULL, &loop, &err) == 0);
	config.socket_path = socket_path();
	config.loop = loop;
	config.ops = &ops;
	CHECK(vmbus_shm_host_new(&config, &other, &err) == -EINVAL); /* ops are missing */
	ops.connected = (int (*)(void *, struct vmbus_shm_peer *, void **))abort;
	ops.disconnected = (void (*)(void *, struct vmbus_shm_peer *, void *, const char *))abort;
	CHECK(vmbus_shm_host_new(&config, &other, &err) == -EADDRINUSE);
	CHECK(strstr(err.text, "in use"));
	config.socket_path = file; /* not a socket */
	CHECK(vmbus_shm_host_new(&config, &other, &err) == -EADDRINUSE);
	CHECK(access(file, F_OK) == 0);
	config.socket_path = "/nonexistent/bus";
	CHECK(vmbus_shm_host_new(&config, &other, &err) == -ENOENT);
	config.socket_path = "";
	CHECK(vmbus_shm_host_new(&config, &other, &err) == -EINVAL);
	memset(too_long, 'x', sizeof(too_long) - 1);
	config.socket_path = too_long;
	CHECK(vmbus_shm_host_new(&config, &other, &err) == -EINVAL);
	vmbus_loop_free(loop);
	CHECK(waitpid(guest_fork(10, 1), &status, 0) > 0 && status == 0);
	CHECK(test_host_stop(host) == 0);
	unlink(file);
	close(fd);
}

int main(void)
{
	alarm(120);
	steps = mmap(NULL, 2 * sizeof(*steps), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(steps != MAP_FAILED);
	opened = steps + 1;
	life_is_complete(50, 50);
	life_is_complete(0, 0);
	several_guests_are_served_at_once();
	killed_guests_cost_the_host_nothing();
	a_device_that_does_not_stop_is_told_of();
	a_killed_host_is_noticed(50);
	a_killed_host_is_noticed(0);
	a_host_that_stops_tells_its_guests();
	a_path_in_use_is_left_alone();
	return 0;
}
