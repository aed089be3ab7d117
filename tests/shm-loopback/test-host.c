/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-host.h"

void check_that(bool ok, const char *what, const char *file, int line)
{
	if (ok)
		return;
	fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
	exit(1);
}

static char socket_dir[] = "/tmp/vmbus-shm-test-XXXXXX";
static char socket_name[64];
static pid_t socket_owner;

static void socket_remove(void)
{
	if (getpid() != socket_owner)
		return;
	unlink(socket_name);
	rmdir(socket_dir);
}

const char *socket_path(void)
{
	if (!socket_owner) {
		CHECK(mkdtemp(socket_dir));
		socket_owner = getpid();
		atexit(socket_remove);
		snprintf(socket_name, sizeof(socket_name), "%s/bus", socket_dir);
	}
	return socket_name;
}

static struct vmbus_loop *loop;
static struct vmbus_shm_host *host;

static void host_log(void *opaque, const char *line)
{
	const struct test_device *device = opaque;

	if (device->log)
		device->log(line);
	if (getenv("VERBOSE"))
		fprintf(stderr, "host: %s\n", line);
}

static void host_stopped(void *opaque)
{
	(void)opaque;
	vmbus_loop_stop(loop);
}

static void signal_came(struct vmbus_watch *watch, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)events;
	CHECK(read(watch->fd, &info, sizeof(info)) == (ssize_t)sizeof(info));
	vmbus_loop_unwatch(loop, watch, NULL);
	vmbus_shm_host_stop(host, host_stopped, NULL);
}

static int fds_open(void)
{
	int count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void host_run(const struct test_device *device, uint32_t spin_us, uint32_t max_guests, int ready)
{
	const struct vmbus_shm_host_ops ops = {
		.size = sizeof(ops),
		.connected = device->connected,
		.disconnected = device->disconnected,
		.log = host_log,
	};
	struct vmbus_shm_host_config config = VMBUS_SHM_HOST_CONFIG_INIT;
	struct vmbus_loop_config loop_config = VMBUS_LOOP_CONFIG_INIT;
	struct vmbus_watch watch = {.ready = signal_came, .events = POLLIN};
	struct vmbus_error err;
	sigset_t term;
	int fds = fds_open();

	loop_config.spin_us = spin_us;
	CHECK(vmbus_loop_new(&loop_config, &loop, &err) == 0);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, NULL);
	watch.fd = signalfd(-1, &term, SFD_CLOEXEC);
	CHECK(watch.fd >= 0 && vmbus_loop_watch(loop, &watch) == 0);

	if (device->begin)
		device->begin(loop);
	config.socket_path = socket_path();
	config.loop = loop;
	config.ops = &ops;
	config.opaque = (void *)(uintptr_t)device; /* host_log() only reads it */
	config.max_guests = max_guests;
	config.max_memory = TEST_HOST_MEMORY;
	CHECK(vmbus_shm_host_new(&config, &host, &err) == 0);
	CHECK(write(ready, "r", 1) == 1);
	close(ready);
	CHECK(vmbus_loop_run(loop) == 0);

	vmbus_shm_host_free(host);
	CHECK(vmbus_loop_step(loop, 0) >= 0);
	vmbus_loop_free(loop);
	close(watch.fd);
	device->end();
	CHECK(fds_open() == fds - 1); /* @ready */
	exit(0);
}

pid_t test_host_start(const struct test_device *device, uint32_t spin_us, uint32_t max_guests)
{
	int ready[2];
	char byte;
	pid_t pid;

	(void)socket_path(); /* made here, not in the host */
	CHECK(pipe(ready) == 0);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ready[0]);
		host_run(device, spin_us, max_guests, ready[1]);
	}
	close(ready[1]);
	CHECK(read(ready[0], &byte, 1) == 1);
	close(ready[0]);
	return pid;
}

int test_host_stop(pid_t pid)
{
	int status;

	CHECK(kill(pid, SIGTERM) == 0);
	CHECK(waitpid(pid, &status, 0) == pid);
	return status;
}
