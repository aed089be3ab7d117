/* SPDX-License-Identifier: MIT */
/* What a guest says to its host: the hypercalls, and what came of them. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guest-private.h"

#define REPLY_MS 30000 /* a host that answers later is as good as gone */

int vmbus_shm_host_gone(struct vmbus_shm_guest *guest, const char *why)
{
	if (!guest->is_gone)
		snprintf(guest->gone, sizeof(guest->gone), "the host is gone: %s", why);
	guest->is_gone = true;
	return -EPIPE;
}

const char *vmbus_shm_guest_gone(const struct vmbus_shm_guest *guest)
{
	return guest->is_gone ? guest->gone : NULL;
}

ssize_t vmbus_shm_guest_receive(struct vmbus_shm_guest *guest, void *message, size_t size, int *fd)
{
	int fds[SHM_FDS_MAX];
	unsigned int fd_count;
	ssize_t len = vmbus_shm_recv(guest->socket, message, size, fds, &fd_count);
	struct shm_header header;
	struct shm_reply bye;

	*fd = fd_count ? fds[0] : -1;
	if (fd_count > 1)
		vmbus_shm_fds_close(fds + 1, fd_count - 1);
	if (len == -EAGAIN || len == -EINTR)
		return -EAGAIN;
	if (len <= 0)
		return vmbus_shm_host_gone(guest, len ? "it broke the protocol"
						      : "it closed the connection");
	if ((size_t)len < sizeof(header))
		return vmbus_shm_host_gone(guest, "it broke the protocol");
	memcpy(&header, message, sizeof(header));
	if (header.type != SHM_BYE)
		return len;
	memset(&bye, 0, sizeof(bye));
	memcpy(&bye, message, (size_t)len < sizeof(bye) ? (size_t)len : sizeof(bye));
	bye.text[sizeof(bye.text) - 1] = '\0';
	return vmbus_shm_host_gone(guest, bye.text);
}

int vmbus_shm_guest_reply(struct vmbus_shm_guest *guest, const struct shm_header *request,
			  void *reply, size_t size, int *fd)
{
	struct pollfd p = {.fd = guest->socket, .events = POLLIN};
	struct shm_header header;

	for (;;) {
		ssize_t len = vmbus_shm_guest_receive(guest, reply, size, fd);

		if (len == -EAGAIN) {
			int r = poll(&p, 1, REPLY_MS);

			if (r == 0)
				return vmbus_shm_host_gone(guest, "it does not answer");
			if (r < 0 && errno != EINTR)
				return vmbus_shm_host_gone(guest, strerror(errno));
			continue;
		}
		if (len < 0)
			return (int)len;
		memcpy(&header, reply, sizeof(header));
		if ((size_t)len == size && header.type == (request->type | SHM_REPLY) &&
		    header.sequence == request->sequence)
			return 0;
		if (*fd >= 0)
			close(*fd);
		return vmbus_shm_host_gone(guest, "it broke the protocol");
	}
}

/* What could not be sent may have a reason that lies in the socket: BYE. */
static int send_failed(struct vmbus_shm_guest *guest, int error)
{
	struct shm_reply last;
	int fd;

	while (vmbus_shm_guest_receive(guest, &last, sizeof(last), &fd) >= 0)
		if (fd >= 0)
			close(fd);
	return vmbus_shm_host_gone(guest, strerror(-error));
}

int vmbus_shm_guest_send(struct vmbus_shm_guest *guest, struct shm_header *message, size_t len,
			const int *fds, unsigned int fd_count)
{
	struct pollfd p = {.fd = guest->socket, .events = POLLOUT};
	int r;

	if (guest->is_gone)
		return -EPIPE;
	message->sequence = ++guest->sequence;
	while ((r = vmbus_shm_send(guest->socket, message, len, fds, fd_count)) == -EAGAIN)
		if (poll(&p, 1, REPLY_MS) == 0)
			return vmbus_shm_host_gone(guest, "it does not take messages");
	return r ? send_failed(guest, r) : 0;
}

/* One request and its reply; *@fd: what came with it, or -1. Returns 0 or -EPIPE. */
static int request_run(struct vmbus_shm_guest *guest, struct shm_header *request, size_t len,
		       void *reply, size_t reply_size, int *fd)
{
	int r = vmbus_shm_guest_send(guest, request, len, NULL, 0);

	*fd = -1;
	return r ? r : vmbus_shm_guest_reply(guest, request, reply, reply_size, fd);
}

/* -- Hypercalls ----------------------------------------------------------- */

uint32_t vmbus_shm_guest_post(struct vmbus_shm_guest *guest, uint32_t connection_id,
			      const void *message, size_t len)
{
	struct shm_post_message request = {.header.type = SHM_POST_MESSAGE};
	struct shm_reply reply;
	int fd;

	if (len > VMBUS_MESSAGE_MAX)
		return HV_STATUS_INVALID_PARAMETER;
	request.call.connection_id = connection_id;
	request.call.type = VMBUS_MESSAGE_TYPE;
	request.call.payload_size = (uint32_t)len;
	memcpy(request.call.payload, message, len);
	if (request_run(guest, &request.header, sizeof(request), &reply, sizeof(reply), &fd))
		return HV_STATUS_INVALID_CONNECTION_ID;
	if (fd >= 0)
		close(fd);
	return reply.status;
}

void vmbus_shm_guest_eom(struct vmbus_shm_guest *guest, uint32_t vp)
{
	struct shm_eom eom = {.header.type = SHM_EOM, .vp = vp};

	(void)vmbus_shm_guest_send(guest, &eom.header, sizeof(eom), NULL, 0);
}

/* The host keeps a connection id's eventfd for as long as we are connected. */
static int doorbell_get(struct vmbus_shm_guest *guest, uint32_t connection_id)
{
	struct shm_doorbell_get request = {.header.type = SHM_DOORBELL_GET,
					   .connection_id = connection_id};
	struct guest_doorbell *grown;
	struct shm_reply reply;
	int fd;

	for (size_t i = 0; i < guest->doorbell_count; i++)
		if (guest->doorbells[i].connection_id == connection_id)
			return guest->doorbells[i].fd;
	if (request_run(guest, &request.header, sizeof(request), &reply, sizeof(reply), &fd) ||
	    fd < 0)
		return -1;
	grown = realloc(guest->doorbells, (guest->doorbell_count + 1) * sizeof(*grown));
	if (!grown) {
		close(fd);
		return -1;
	}
	guest->doorbells = grown;
	grown[guest->doorbell_count++] = (struct guest_doorbell){connection_id, fd};
	return fd;
}

void vmbus_shm_guest_signal(struct vmbus_shm_guest *guest, uint32_t connection_id)
{
	static const uint64_t one = 1;
	int fd = doorbell_get(guest, connection_id);

	if (fd >= 0 && write(fd, &one, sizeof(one)) == (ssize_t)sizeof(one))
		guest->rung++;
}

int vmbus_shm_guest_usage(struct vmbus_shm_guest *guest, struct vmbus_shm_usage *usage)
{
	struct shm_header request = {.type = SHM_USAGE};
	struct shm_usage_reply reply;
	int fd, r = request_run(guest, &request, sizeof(request), &reply, sizeof(reply), &fd);

	if (r)
		return r;
	if (fd >= 0)
		close(fd);
	*usage = (struct vmbus_shm_usage){
		.host_cpu_ns = reply.host_cpu_ns,
		.host_enters = reply.host_enters,
		.host_sleeps = reply.host_sleeps,
		.host_spin_ns = reply.host_spin_ns,
		.interrupts = reply.interrupts,
		.doorbells = guest->rung,
		.guest_sleeps = guest->sleeps,
		.guest_spin_ns = guest->spin_ns,
	};
	return 0;
}
