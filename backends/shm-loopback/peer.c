/* SPDX-License-Identifier: MIT */
/* The life of one guest, from hello to the last callback. Whatever it sends is checked
 * against a table first; whatever it does wrong ends its connection, and nothing else. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "host-private.h"

#define HELLO_NS 5000000000u
#define CLOSING_NS 2000000000u
#define MESSAGES_A_TIME 32 /* then the loop's other work has its turn */

union request {
	struct shm_header header;
	struct shm_hello hello;
	struct shm_post_message post;
	struct shm_eom eom;
	struct shm_doorbell_get doorbell;
};

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
	struct vmbus_shm_peer *peer =
		(struct vmbus_shm_peer *)((char *)task - offsetof(struct vmbus_shm_peer, poll));

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
	struct vmbus_shm_peer *peer =
		(struct vmbus_shm_peer *)((char *)timer - offsetof(struct vmbus_shm_peer, late));
	struct vmbus_server_stats stats;

	vmbus_server_get_stats(peer->server, &stats);
	vmbus_shm_host_log(peer->host, "guest %u: its devices have not stopped: %u channels, %u GPADLs in use",
			   peer->pid, stats.closing_channels, stats.ending_gpadls);
	peer->closing_ns *= 2;
	vmbus_loop_timer(peer->host->config.loop, timer, peer->closing_ns);
}

static void socket_close(struct vmbus_watch *watch)
{
	struct vmbus_shm_peer *peer =
		(struct vmbus_shm_peer *)((char *)watch - offsetof(struct vmbus_shm_peer, watch));

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
	struct vmbus_shm_peer *peer =
		(struct vmbus_shm_peer *)((char *)timer - offsetof(struct vmbus_shm_peer, late));

	vmbus_shm_peer_close(peer, "it did not say hello");
}

/* -- Hello ---------------------------------------------------------------- */

/* A file that could get shorter would be a SIGBUS of ours in waiting, and huge pages can
 * run out at any first touch. Returns NULL, or what is wrong. */
static const char *memory_check(const struct vmbus_shm_peer *peer, int fd, uint64_t size)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct statfs fs;
	struct stat st;

	if (seals < 0 || fstatfs(fd, &fs) || fs.f_type != TMPFS_MAGIC)
		return "its memory is not a memfd of ordinary pages";
	if ((seals & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW))
		return "its memory is not sealed against shrinking and growing";
	if (seals & F_SEAL_WRITE)
		return "its memory is sealed against writing";
	if (fstat(fd, &st) || (uint64_t)st.st_size != size || !size || size % VMBUS_PAGE_SIZE)
		return "its memory is not as long as it says, or not whole pages";
	if (size > peer->host->config.max_memory)
		return "its memory is larger than the host allows";
	return NULL;
}

static int memory_map(struct vmbus_shm_peer *peer, int fd, uint64_t size)
{
	struct vmbus_region region = VMBUS_REGION_INIT;
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (memory == MAP_FAILED)
		return -errno;
	peer->memory = memory;
	peer->memory_size = size;
	peer->mem = vmbus_mem_new();
	if (!peer->mem)
		return -ENOMEM;
	region.len = size;
	region.host = memory;
	region.fd = fd;
	return vmbus_mem_add(peer->mem, &region);
}

static bool page_valid(const struct vmbus_shm_peer *peer, uint64_t gpa)
{
	return gpa % VMBUS_PAGE_SIZE == 0 && gpa < peer->memory_size;
}

static const char *vps_make(struct vmbus_shm_peer *peer, const struct shm_hello *hello, const int *fds)
{
	peer->vps = calloc(hello->vp_count, sizeof(*peer->vps));
	if (!peer->vps)
		return "the host is out of memory";
	for (uint32_t i = 0; i < hello->vp_count; i++) {
		if (!page_valid(peer, hello->vps[i].simp) || !page_valid(peer, hello->vps[i].siefp))
			return "a SynIC page is not in its memory";
		if (vmbus_shm_vp_init(peer, &peer->vps[i], &hello->vps[i], fds[i]))
			return "an interrupt is not an eventfd (or the host is out of rings)";
		peer->vp_count++;
	}
	return NULL;
}

static const char *server_make(struct vmbus_shm_peer *peer)
{
	struct vmbus_shm_host *host = peer->host;
	struct vmbus_server_config config = host->config.server;
	struct vmbus_server *server;

	config.ops = &vmbus_shm_server_ops;
	config.opaque = peer;
	config.mem = peer->mem;
	config.vp_count = peer->vp_count;
	if (vmbus_server_new(&config, &server))
		return "the host cannot make a server for it";
	peer->server = server;
	if (host->config.ops->connected(host->config.opaque, peer, &peer->user)) {
		peer->server = NULL; /* disconnected() is not called for it */
		vmbus_server_free(server);
		return "the host has no devices for it";
	}
	return NULL;
}

/* Returns NULL, or why the guest is turned away. */
static const char *hello_take(struct vmbus_shm_peer *peer, const struct shm_hello *hello,
			      const int *fds, unsigned int fd_count)
{
	const char *wrong;

	if (hello->magic != SHM_MAGIC || hello->version != SHM_VERSION)
		return "it speaks another protocol, or another version";
	if (!hello->vp_count || hello->vp_count > SHM_VPS_MAX)
		return "it does not have 1 to 64 processors";
	if (fd_count != 1 + hello->vp_count)
		return "it did not send its memory and an interrupt for each processor";
	wrong = memory_check(peer, fds[0], hello->memory);
	if (wrong)
		return wrong;
	if (memory_map(peer, fds[0], hello->memory))
		return "the host cannot map its memory";
	wrong = vps_make(peer, hello, fds + 1);
	return wrong ? wrong : server_make(peer);
}

/* -- Requests ------------------------------------------------------------- */

static void reply_send(struct vmbus_shm_peer *peer, const void *reply, size_t len, int fd)
{
	int r = vmbus_shm_send(peer->watch.fd, reply, len, &fd, fd >= 0 ? 1 : 0);

	if (r)
		vmbus_shm_peer_close(peer, r == -EAGAIN ? "it does not read its replies"
							: "it closed the connection");
}

static void status_send(struct vmbus_shm_peer *peer, const struct shm_header *to, uint32_t status,
			int fd, const char *text)
{
	struct shm_reply reply = {
		.header = {to->type | SHM_REPLY, to->sequence},
		.status = status,
	};

	snprintf(reply.text, sizeof(reply.text), "%s", text);
	reply_send(peer, &reply, sizeof(reply), fd);
}

static void hello_handle(struct vmbus_shm_peer *peer, const union request *request, const int *fds,
			 unsigned int fd_count)
{
	const char *wrong = hello_take(peer, &request->hello, fds, fd_count);

	if (wrong) {
		status_send(peer, &request->header, EPROTO, -1, wrong);
		vmbus_shm_peer_close(peer, wrong);
		return;
	}
	peer->state = SHM_PEER_CONNECTED;
	vmbus_loop_timer_cancel(peer->host->config.loop, &peer->late);
	vmbus_shm_host_log(peer->host, "guest %u connected: %u processors, %llu MiB", peer->pid,
			   peer->vp_count, (unsigned long long)peer->memory_size >> 20);
	status_send(peer, &request->header, 0, -1, "");
}

static uint32_t message_post(struct vmbus_shm_peer *peer, const struct vmbus_post_message *call)
{
	int r;

	if (call->type != VMBUS_MESSAGE_TYPE || call->payload_size > VMBUS_MESSAGE_MAX)
		return HV_STATUS_INVALID_PARAMETER;
	r = vmbus_server_message(peer->server, call->connection_id, call->payload, call->payload_size);
	if (r < 0) /* -EAGAIN, or out of memory: guests try again later */
		return HV_STATUS_INSUFFICIENT_BUFFERS;
	if (r == VMBUS_FAULT_BAD_CONNECTION)
		return HV_STATUS_INVALID_CONNECTION_ID;
	if (r == VMBUS_FAULT_OVERSIZED)
		return HV_STATUS_INVALID_PARAMETER;
	return HV_STATUS_SUCCESS; /* of the hypercall, whatever the message was worth */
}

static void post_message_handle(struct vmbus_shm_peer *peer, const union request *request,
				const int *fds, unsigned int fd_count)
{
	(void)fds, (void)fd_count;
	status_send(peer, &request->header, message_post(peer, &request->post.call), -1, "");
}

static void eom_handle(struct vmbus_shm_peer *peer, const union request *request, const int *fds,
		       unsigned int fd_count)
{
	(void)fds, (void)fd_count;
	if (request->eom.vp < peer->vp_count)
		vmbus_server_slot_free(peer->server);
}

static void doorbell_get_handle(struct vmbus_shm_peer *peer, const union request *request,
				const int *fds, unsigned int fd_count)
{
	int fd = vmbus_shm_doorbell_get(peer, request->doorbell.connection_id);

	(void)fds, (void)fd_count;
	status_send(peer, &request->header,
		    fd < 0 ? HV_STATUS_INVALID_CONNECTION_ID : HV_STATUS_SUCCESS, fd, "");
}

static void usage_handle(struct vmbus_shm_peer *peer, const union request *request, const int *fds,
			 unsigned int fd_count)
{
	struct shm_usage_reply reply = {.header = {SHM_USAGE | SHM_REPLY, request->header.sequence}};
	struct vmbus_loop_stats stats;
	struct timespec cpu;

	(void)fds, (void)fd_count;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu); /* with io_uring's workers */
	vmbus_loop_get_stats(peer->host->config.loop, &stats);
	reply.host_cpu_ns = (uint64_t)cpu.tv_sec * 1000000000u + (uint64_t)cpu.tv_nsec;
	reply.host_enters = stats.enters;
	reply.host_sleeps = stats.sleeps;
	reply.host_spin_ns = stats.spin_ns;
	reply.interrupts = peer->interrupts;
	reply_send(peer, &reply, sizeof(reply), -1);
}

struct request_type {
	size_t size; /* exactly */
	unsigned int fds;
	enum shm_peer_state state; /* that accepts it */
	void (*handle)(struct vmbus_shm_peer *peer, const union request *request, const int *fds,
		       unsigned int fd_count);
};

static const struct request_type request_types[] = {
	/* type               size                             fds          in state            handler */
	[SHM_HELLO] =        {sizeof(struct shm_hello),        SHM_FDS_MAX, SHM_PEER_HELLO,     hello_handle},
	[SHM_POST_MESSAGE] = {sizeof(struct shm_post_message), 0,           SHM_PEER_CONNECTED, post_message_handle},
	[SHM_EOM] =          {sizeof(struct shm_eom),          0,           SHM_PEER_CONNECTED, eom_handle},
	[SHM_DOORBELL_GET] = {sizeof(struct shm_doorbell_get), 0,           SHM_PEER_CONNECTED, doorbell_get_handle},
	[SHM_USAGE] =        {sizeof(struct shm_header),       0,           SHM_PEER_CONNECTED, usage_handle},
};

/* Returns what is wrong with the request, or NULL: it was handled. */
static const char *request_handle(struct vmbus_shm_peer *peer, const union request *request,
				  size_t len, const int *fds, unsigned int fd_count)
{
	const struct request_type *type;

	if (len < sizeof(request->header) ||
	    request->header.type >= sizeof(request_types) / sizeof(request_types[0]) ||
	    !request_types[request->header.type].handle)
		return "it sent what is no request";
	type = &request_types[request->header.type];
	if (len != type->size)
		return "it sent a request of the wrong size";
	if (fd_count > type->fds)
		return "it sent file descriptors with a request that has none";
	if (peer->state != type->state)
		return "it sent a request out of turn";
	type->handle(peer, request, fds, fd_count);
	return NULL;
}

static void request_waits(struct vmbus_watch *watch, uint32_t events)
{
	struct vmbus_shm_peer *peer =
		(struct vmbus_shm_peer *)((char *)watch - offsetof(struct vmbus_shm_peer, watch));
	int fds[SHM_FDS_MAX];
	unsigned int fd_count;
	union request request;
	const char *wrong;

	(void)events;
	for (int i = 0; i < MESSAGES_A_TIME && peer->state < SHM_PEER_CLOSING; i++) {
		ssize_t len = vmbus_shm_recv(watch->fd, &request, sizeof(request), fds, &fd_count);

		if (len == -EAGAIN || len == -EINTR)
			return;
		if (len <= 0)
			wrong = len ? "it sent what is no request" : "it closed the connection";
		else
			wrong = request_handle(peer, &request, (size_t)len, fds, fd_count);
		while (fd_count) /* what is to stay was duplicated */
			close(fds[--fd_count]);
		if (wrong)
			vmbus_shm_peer_close(peer, wrong);
	}
}

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
		peer->watch = (struct vmbus_watch){.ready = request_waits, .fd = fd, .events = POLLIN};
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
