/* SPDX-License-Identifier: MIT */
/* The listening socket. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host-private.h"
#include "spin.h"

#define LISTEN_BACKLOG 64
#define ACCEPTS_A_TIME 16
#define ACCEPT_RETRY_NS 100000000u
#define LOG_BURST 200
#define LOG_LINE_NS 1000000000u /* a line a second in the long run */
#define STALE_MS 500
#define STALE_TRIES 3

/* Peers that come and go must not fill a disk. */
static bool log_has_room(struct vmbus_shm_host *host)
{
	uint64_t now = spin_clock(), full = (uint64_t)LOG_BURST * LOG_LINE_NS;

	host->log_credit_ns += now - host->log_seen_ns;
	if (host->log_credit_ns > full)
		host->log_credit_ns = full;
	host->log_seen_ns = now;
	if (host->log_credit_ns < LOG_LINE_NS)
		return false;
	host->log_credit_ns -= LOG_LINE_NS;
	return true;
}

static void log_tell_left_out(struct vmbus_shm_host *host)
{
	char line[64];

	if (!host->log_left_out)
		return;
	snprintf(line, sizeof(line), "%u lines were left out", host->log_left_out);
	host->log_left_out = 0;
	host->config.ops->log(host->config.opaque, line);
}

void vmbus_shm_host_log(struct vmbus_shm_host *host, const char *format, ...)
{
	char line[256];
	va_list args;

	if (!host->config.ops->log)
		return;
	if (!log_has_room(host)) {
		host->log_left_out++;
		return;
	}
	log_tell_left_out(host);
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	host->config.ops->log(host->config.opaque, line);
}

/* -- Binding -------------------------------------------------------------- */

static int address_fill(struct sockaddr_un *address, const char *path)
{
	size_t len = strlen(path);

	if (!len || len >= sizeof(address->sun_path))
		return -EINVAL;
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	memcpy(address->sun_path, path, len);
	return 0;
}

/* A listening socket may outlive its killed host by a moment, until the kernel has let go
 * of the host's io_uring: then our connection is cut, without a word. A live host keeps it
 * (or says BYE). Returns whether it was cut. */
static bool connection_is_cut(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char byte;

	return poll(&p, 1, STALE_MS) == 1 && recv(fd, &byte, 1, MSG_DONTWAIT) <= 0;
}

/* Whether a socket lies there that nobody listens on: its host was killed. */
static bool socket_is_stale(const struct sockaddr_un *address)
{
	bool stale = false, again = true;
	struct stat st;

	if (lstat(address->sun_path, &st) || !S_ISSOCK(st.st_mode))
		return false;
	for (int i = 0; i < STALE_TRIES && again && !stale; i++) {
		int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

		if (fd < 0)
			return false;
		if (connect(fd, (const struct sockaddr *)address, sizeof(*address)))
			stale = errno == ECONNREFUSED;
		again = !stale && connection_is_cut(fd);
		close(fd);
	}
	return stale;
}

static int socket_bind(int fd, const struct sockaddr_un *address)
{
	const struct sockaddr *generic = (const struct sockaddr *)address;

	if (!bind(fd, generic, sizeof(*address)))
		return 0;
	if (errno != EADDRINUSE)
		return -errno;
	if (!socket_is_stale(address))
		return -EADDRINUSE;
	if (unlink(address->sun_path) && errno != ENOENT)
		return -errno;
	return bind(fd, generic, sizeof(*address)) ? -errno : 0;
}

static int host_listen(struct vmbus_shm_host *host, struct vmbus_error *err)
{
	struct sockaddr_un address;
	struct stat st;
	int fd, r = address_fill(&address, host->path);

	if (r)
		return vmbus_error_set(err, r, "%s: a socket's path has 1 to %zu characters",
				       host->path, sizeof(address.sun_path) - 1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return vmbus_error_set(err, -errno, "socket: %m");
	/* the mode of the file that bind makes */
	r = fchmod(fd, 0600) ? -errno : socket_bind(fd, &address);
	if (!r && (lstat(host->path, &st) || listen(fd, LISTEN_BACKLOG)))
		r = -errno;
	if (r) {
		close(fd);
		errno = -r;
		return r == -EADDRINUSE
			       ? vmbus_error_set(err, r, "%s: in use: stop the host there, or name "
						 "another path", host->path)
			       : vmbus_error_set(err, r, "%s: cannot listen: %m", host->path);
	}
	host->dev = st.st_dev;
	host->ino = st.st_ino;
	host->watch.fd = fd;
	return 0;
}

/* -- Accepting ------------------------------------------------------------ */

static void guest_turn_away(int fd)
{
	struct shm_reply reply = {
		.header.type = SHM_BYE,
		.text = "the host has no room for another guest",
	};

	(void)vmbus_shm_send(fd, &reply, sizeof(reply), NULL, 0);
	close(fd);
}

static void watch_closed(struct vmbus_watch *watch)
{
	struct vmbus_shm_host *host = container_of(watch, struct vmbus_shm_host, watch);

	host->watching = false;
	if (!host->stopping) { /* accept ran out of something: not again at once */
		vmbus_loop_timer(host->config.loop, &host->retry, ACCEPT_RETRY_NS);
		return;
	}
	close(watch->fd);
	watch->fd = -1;
	vmbus_shm_host_forget(host, NULL);
}

/* Some may have left already, or said hello, and we do not know yet. */
static void peers_look(struct vmbus_shm_host *host)
{
	struct vmbus_shm_peer *peer, *next;

	for (peer = LIST_FIRST(&host->peers); peer; peer = next) {
		next = LIST_NEXT(peer, link);
		if (peer->state < SHM_PEER_CLOSING)
			peer->watch.ready(&peer->watch, POLLIN);
	}
}

/* Whoever says nothing gives way to the next who might: the newest is first in the list. */
static void silent_peer_close(struct vmbus_shm_host *host)
{
	struct vmbus_shm_peer *peer, *silent = NULL;

	LIST_FOREACH(peer, &host->peers, link)
		if (peer->state == SHM_PEER_HELLO)
			silent = peer;
	if (silent)
		vmbus_shm_peer_close(silent, "it did not say hello, and others wait");
}

/* Those that are gone may take a while yet to be closed. */
static bool host_has_room(struct vmbus_shm_host *host)
{
	if (host->connected >= host->config.max_guests)
		peers_look(host);
	if (host->connected >= host->config.max_guests)
		silent_peer_close(host);
	return host->connected < host->config.max_guests &&
	       host->peer_count < 2 * host->config.max_guests + 2 * ACCEPTS_A_TIME;
}

static void guest_waits(struct vmbus_watch *watch, uint32_t events)
{
	struct vmbus_shm_host *host = container_of(watch, struct vmbus_shm_host, watch);

	(void)events;
	for (int i = 0; i < ACCEPTS_A_TIME; i++) {
		int fd = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), r;

		if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR))
			return;
		if (fd < 0) {
			vmbus_shm_host_log(host, "cannot accept a guest: %m");
			vmbus_loop_unwatch(host->config.loop, watch, watch_closed);
			return;
		}
		if (!host_has_room(host)) {
			guest_turn_away(fd);
			vmbus_shm_host_log(host, "a guest was turned away: there are %u",
					   host->connected);
			continue;
		}
		r = vmbus_shm_peer_new(host, fd);
		if (r)
			vmbus_shm_host_log(host, "a guest was turned away: %s", strerror(-r));
	}
}

static void accept_again(struct vmbus_timer *timer)
{
	struct vmbus_shm_host *host = container_of(timer, struct vmbus_shm_host, retry);

	if (vmbus_loop_watch(host->config.loop, &host->watch))
		vmbus_loop_timer(host->config.loop, timer, ACCEPT_RETRY_NS);
	else
		host->watching = true;
}

/* -- Life ----------------------------------------------------------------- */

static bool config_valid(const struct vmbus_shm_host_config *config)
{
	return config->size == sizeof(*config) && config->socket_path && config->loop &&
	       config->ops && config->ops->size == sizeof(*config->ops) && config->ops->connected &&
	       config->ops->disconnected && config->max_guests &&
	       config->max_guests <= UINT32_MAX / 4 && config->max_memory;
}

/* A host that replaced us keeps its socket. */
static void socket_unlink(struct vmbus_shm_host *host)
{
	struct stat st;

	if (!lstat(host->path, &st) && st.st_dev == host->dev && st.st_ino == host->ino)
		(void)unlink(host->path);
}

int vmbus_shm_host_new(const struct vmbus_shm_host_config *config, struct vmbus_shm_host **out,
		       struct vmbus_error *err)
{
	struct vmbus_shm_host *host;
	int r;

	if (!config_valid(config))
		return vmbus_error_set(err, -EINVAL, "shm host: incomplete configuration");
	host = calloc(1, sizeof(*host));
	if (host)
		host->path = strdup(config->socket_path);
	if (!host || !host->path) {
		free(host);
		return vmbus_error_set(err, -ENOMEM, "shm host: out of memory");
	}
	host->config = *config;
	host->config.socket_path = host->path;
	host->watch.ready = guest_waits;
	host->watch.events = POLLIN;
	host->watch.fd = -1;
	host->retry.fire = accept_again;
	LIST_INIT(&host->peers);
	r = host_listen(host, err);
	if (!r && (r = vmbus_loop_watch(config->loop, &host->watch)))
		vmbus_error_set(err, r, "%s: cannot watch the socket", host->path);
	if (r) {
		socket_unlink(host);
		vmbus_shm_host_free(host);
		return r;
	}
	host->watching = true;
	*out = host;
	return 0;
}

static void host_stopped(struct vmbus_task *task)
{
	struct vmbus_shm_host *host = container_of(task, struct vmbus_shm_host, stopped_task);

	host->stopped(host->stopped_opaque);
}

void vmbus_shm_host_stop(struct vmbus_shm_host *host, void (*done)(void *opaque), void *opaque)
{
	struct vmbus_shm_peer *peer, *next;

	if (host->stopping)
		return;
	host->stopping = true;
	host->stopped = done;
	host->stopped_opaque = opaque;
	host->stopped_task.fn = host_stopped;
	socket_unlink(host);
	vmbus_loop_timer_cancel(host->config.loop, &host->retry);
	if (host->watching)
		vmbus_loop_unwatch(host->config.loop, &host->watch, watch_closed);
	for (peer = LIST_FIRST(&host->peers); peer; peer = next) {
		next = LIST_NEXT(peer, link);
		vmbus_shm_peer_close(peer, "the host stops");
	}
	vmbus_shm_host_forget(host, NULL);
}

void vmbus_shm_host_forget(struct vmbus_shm_host *host, struct vmbus_shm_peer *peer)
{
	if (peer) {
		LIST_REMOVE(peer, link);
		host->peer_count--;
		free(peer);
	}
	if (!host->stopping || host->watching || host->peer_count || host->told)
		return;
	host->told = true;
	vmbus_loop_post(host->config.loop, &host->stopped_task);
}

void vmbus_shm_host_free(struct vmbus_shm_host *host)
{
	if (!host)
		return;
	if (host->watch.fd >= 0)
		close(host->watch.fd);
	free(host->path);
	free(host);
}
