/* SPDX-License-Identifier: MIT */
/* A guest's requests: each is checked against a table first. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "host-private.h"

#define MESSAGES_A_TIME 32 /* then the loop's other work has its turn */

union request {
	struct shm_header header;
	struct shm_hello hello;
	struct shm_post_message post;
	struct shm_eom eom;
	struct shm_doorbell_get doorbell;
};

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
	const char *wrong = vmbus_shm_hello_take(peer, &request->hello, fds, fd_count);

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
	r = vmbus_server_message(peer->server, call->connection_id, call->payload,
				 call->payload_size);
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
	struct shm_usage_reply reply = {
		.header = {SHM_USAGE | SHM_REPLY, request->header.sequence},
	};
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
#define ROW(type, size, fds, state, handler)                                             \
	[SHM_##type] = {size, fds, SHM_PEER_##state, handler##_handle}
	/*  type          size                             fds          in state   handler */
	ROW(HELLO,        sizeof(struct shm_hello),        SHM_FDS_MAX, HELLO,     hello),
	ROW(POST_MESSAGE, sizeof(struct shm_post_message), 0,           CONNECTED, post_message),
	ROW(EOM,          sizeof(struct shm_eom),          0,           CONNECTED, eom),
	ROW(DOORBELL_GET, sizeof(struct shm_doorbell_get), 0,           CONNECTED, doorbell_get),
	ROW(USAGE,        sizeof(struct shm_header),       0,           CONNECTED, usage),
#undef ROW
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

void vmbus_shm_request_waits(struct vmbus_watch *watch, uint32_t events)
{
	struct vmbus_shm_peer *peer = container_of(watch, struct vmbus_shm_peer, watch);
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
		vmbus_shm_fds_close(fds, fd_count); /* what is to stay was duplicated */
		if (wrong)
			vmbus_shm_peer_close(peer, wrong);
	}
}
