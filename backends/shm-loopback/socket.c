/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "protocol.h"

/* What one message can bring (the kernel's SCM_MAX_FD). There is room for all: those that find
 * none the kernel itself lets go of, and in our time. */
#define FDS_MAX 253u

int vmbus_shm_send(int fd, const void *data, size_t len, const int *fds, unsigned int fd_count)
{
	struct iovec iov = {(void *)(uintptr_t)data, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * SHM_FDS_MAX)];
	} control = {0};
	struct cmsghdr *cmsg = &control.align;

	if (fd_count) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * fd_count);
	}
	return sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

void vmbus_shm_fds_close(const int *fds, unsigned int count)
{
	static const struct linger no = {0, 0};

	for (unsigned int i = 0; i < count; i++) {
		(void)setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &no, sizeof(no));
		close(fds[i]);
	}
}

static unsigned int control_fds(struct msghdr *msg, int *fds)
{
	struct cmsghdr *cmsg;
	unsigned int count = 0;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		size_t n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(fds + count, CMSG_DATA(cmsg), n * sizeof(int));
		count += (unsigned int)n;
	}
	return count;
}

ssize_t vmbus_shm_recv(int fd, void *data, size_t size, int *fds, unsigned int *fd_count)
{
	struct iovec iov = {data, size};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)];
	} control;
	/* not CMSG_SPACE: its padding would have room for one more */
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = CMSG_LEN(sizeof(int) * FDS_MAX)};
	ssize_t len = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int all[FDS_MAX];
	unsigned int count;

	/* a peer that left without reading all: this is told once, before what it said last */
	if (len < 0 && errno == ECONNRESET)
		len = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	*fd_count = 0;
	if (len < 0)
		return errno == ECONNRESET ? 0 : -errno;
	count = control_fds(&msg, all);
	if (count > SHM_FDS_MAX || msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		vmbus_shm_fds_close(all, count);
		return -EPROTO;
	}
	memcpy(fds, all, count * sizeof(int));
	*fd_count = count;
	return len;
}
