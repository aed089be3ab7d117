/* SPDX-License-Identifier: MIT */
/* The life of one guest, from accept() to the last callback. Whatever it does wrong ends its
 * connection, and nothing else. */
#define _GNU_SOURCE /* struct ucred */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host-private.h"

#define HELLO_NS 5000000000u
#define CLOSING_NS 2000000000u

/* -- The end -------------------------------------------------------------- */

static void peer_reap(struct vmbus_shm_peer *peer)
{
	if (peer->state == SHM_PEER_GONE && !peer->refs && !atomic_load(&peer->poll_posted))
		vmbus_shm_host_forget(peer->host, peer);
}

void vmbus_shm_peer_unref(struct vmbus_shm_peer *peer)
{
	peer->refs--;
	peer_reap(peer);
}

static void memory_unmap(void *opaque)
{
	struct vmbus_shm_peer *peer = opaque;

	munmap(peer->memory, peer->memory_size);
	peer->memory = NULL;
	vmbus_shm_peer_unref(peer);
}

static void memory_drop(struct vmbus_shm_peer *peer)
{
	if (!peer->memory)
		return;
	peer->refs++;
	if (!peer->mem || vmbus_mem_remove(peer->mem, 0, memory_unmap, peer))
		memory_unmap(peer);
}

static void vps_drop(struct vmbus_shm_peer *peer)
{
	for (uint32_t i = 0; i < peer->vp_count; i++)
		vmbus_shm_vp_fini(&peer->vps[i]);
	free(peer->vps);
	peer->vps = NULL;
	peer->vp_count = 0;
}

/* The server has nothing open any more (or there never was one). */
static void peer_finish(struct vmbus_shm_peer *peer)
{
	struct vmbus_shm_host *host = peer->host;

	vmbus_loop_timer_cancel(host->config.loop, &peer->late);
	if (peer->server)
		host->config.ops->disconnected(host->config.opaque, peer, peer->user, peer->reason);
	vmbus_server_free(peer->server);
	peer->server = NULL;
	vmbus_shm_doorbells_drop(peer);
	memory_drop(peer);
	vmbus_mem_unref(peer->mem);
	vps_drop(peer);
	peer->state = SHM_PEER_GONE;
	peer_reap(peer);
}

static void peer_poll(struct vmbus_task *task)
{
	struct vmbus_shm_peer *peer = container_of(task, struct vmbus_shm_peer, poll);

	atomic_store(&peer->poll_posted, false);
	if (peer->server)
		vmbus_server_poll(peer->server);
	if (peer->state == SHM_PEER_CLOSING && !vmbus_server_resetting(peer->server))
		peer_finish(peer);
	else
		peer_reap(peer);
}

/* Its devices' I/O still has its memory: nothing but its end can end that. A person should
 * know what is waited for. */
static void peer_lingers(struct vmbus_timer *timer)
{
	struct vmbus_shm_peer *peer = container_of(timer, struct vmbus_shm_peer, late);
	struct vmbus_server_stats stats;

	vmbus_server_get_stats(peer->server, &stats);
	vmbus_shm_host_log(peer->host,
			   "guest %u: its devices have not stopped: %u channels, %u GPADLs in use",
			   peer->pid, stats.closing_channels, stats.ending_gpadls);
	peer->closing_ns *= 2;
	vmbus_loop_timer(peer->host->config.loop, timer, peer->closing_ns);
}

static void socket_close(struct vmbus_watch *watch)
{
	struct vmbus_shm_peer *peer = container_of(watch, struct vmbus_shm_peer, watch);

	close(watch->fd);
	vmbus_shm_peer_unref(peer);
}

void vmbus_shm_peer_close(struct vmbus_shm_peer *peer, const char *reason)
{
	struct shm_reply bye = {.header.type = SHM_BYE};

	if (peer->state >= SHM_PEER_CLOSING)
		return;
	peer->reason = reason;
	peer->state = SHM_PEER_CLOSING;
	peer->host->connected--;
	vmbus_shm_host_log(peer->host, "guest %u is gone: %s", peer->pid, reason);
	vmbus_loop_timer_cancel(peer->host->config.loop, &peer->late);
	snprintf(bye.text, sizeof(bye.text), "%s", reason);
	(void)vmbus_shm_send(peer->watch.fd, &bye, sizeof(bye), NULL, 0);
	vmbus_loop_unwatch(peer->host->config.loop, &peer->watch, socket_close);
	if (!peer->server) {
		peer_finish(peer);
		return;
	}
	peer->late.fire = peer_lingers;
	peer->closing_ns = CLOSING_NS;
	vmbus_loop_timer(peer->host->config.loop, &peer->late, peer->closing_ns);
	vmbus_server_shutdown(peer->server);
	vmbus_shm_server_ops.wake(peer); /* it may have nothing to wait for */
}

static void peer_late(struct vmbus_timer *timer)
{
	struct vmbus_shm_peer *peer = container_of(timer, struct vmbus_shm_peer, late);

	vmbus_shm_peer_close(peer, "it did not say hello");
}
/* -- The beginning -------------------------------------------------------- */

int vmbus_shm_peer_new(struct vmbus_shm_host *host, int fd)
{
	struct vmbus_shm_peer *peer = calloc(1, sizeof(*peer));
	struct ucred cred = {0};
	socklen_t len = sizeof(cred);
	int r = peer ? 0 : -ENOMEM;

	if (!r && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		r = -errno;
	if (!r) {
		peer->host = host;
		peer->pid = (uint32_t)cred.pid;
		peer->poll.fn = peer_poll;
		peer->late.fire = peer_late;
		peer->watch.ready = vmbus_shm_request_waits;
		peer->watch.fd = fd;
		peer->watch.events = POLLIN;
		r = vmbus_loop_watch(host->config.loop, &peer->watch);
	}
	if (r) {
		free(peer);
		close(fd);
		return r;
	}
	LIST_INIT(&peer->doorbells);
	peer->refs = 1; /* the watch's */
	LIST_INSERT_HEAD(&host->peers, peer, link);
	host->peer_count++;
	host->connected++;
	vmbus_loop_timer(host->config.loop, &peer->late, HELLO_NS);
	return 0;
}

struct vmbus_server *vmbus_shm_peer_server(struct vmbus_shm_peer *peer)
{
	return peer->server;
}

uint32_t vmbus_shm_peer_pid(const struct vmbus_shm_peer *peer)
{
	return peer->pid;
}
