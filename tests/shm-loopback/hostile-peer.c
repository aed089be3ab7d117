/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "hostile-peer.h"
#include "test-host.h"

const char *peer_socket;

int peer_connect(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, peer_socket, strlen(peer_socket) + 1);
	CHECK(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	return fd;
}

struct shm_hello good_hello(void)
{
	return (struct shm_hello){
		.header = {SHM_HELLO, 1},
		.magic = SHM_MAGIC,
		.version = SHM_VERSION,
		.vp_count = 1,
		.memory = MEMORY,
		.vps = {{0x1000, 0x2000}},
	};
}

int memory_make(enum memory_kind kind)
{
	static const unsigned int seals[] = {
		[SEALED] = F_SEAL_SHRINK | F_SEAL_GROW,
		[UNSEALED] = 0,
		[SHRINKS] = F_SEAL_GROW,
		[GROWS] = F_SEAL_SHRINK,
		[UNWRITABLE] = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE,
		[HUGE] = F_SEAL_SHRINK | F_SEAL_GROW,
		[SHORT] = F_SEAL_SHRINK | F_SEAL_GROW,
	};
	char name[] = "/dev/shm/vmbus-shm-memory-XXXXXX";
	int fds[2], fd;

	switch (kind) {
	case A_PIPE:
		CHECK(pipe(fds) == 0);
		close(fds[0]);
		return fds[1];
	case A_FILE: /* procfs: on no machine is it what memfds are made of */
		fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
		CHECK(fd >= 0);
		return fd;
	case A_TMPFS_FILE:
		fd = mkstemp(name);
		CHECK(fd >= 0 && unlink(name) == 0);
		CHECK(ftruncate(fd, MEMORY) == 0);
		return fd;
	default:
		fd = memfd_create("hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING |
						     (kind == HUGE ? MFD_HUGETLB : 0));
		CHECK(fd >= 0);
		CHECK(ftruncate(fd, kind == SHORT ? MEMORY / 2 : kind == HUGE ? 2 << 20 : MEMORY) == 0);
		CHECK(!seals[kind] || fcntl(fd, F_ADD_SEALS, seals[kind]) == 0);
		return fd;
	}
}

bool turned_away(int fd, const char *text)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	bool said = text == NULL;
	struct shm_reply reply;
	ssize_t len;

	for (;;) {
		CHECK(poll(&p, 1, 60000) == 1);
		memset(&reply, 0, sizeof(reply));
		len = recv(fd, &reply, sizeof(reply), 0);
		if (len <= 0)
			return said;
		reply.text[SHM_TEXT - 1] = '\0';
		said |= text && strstr(reply.text, text);
	}
}

struct raw_guest raw_guest(void)
{
	struct raw_guest g = {peer_connect(), memory_make(SEALED), eventfd(0, 0)};
	struct shm_hello hello = good_hello();
	struct shm_reply reply;

	CHECK(vmbus_shm_send(g.peer, &hello, sizeof(hello), (int[]){g.memory, g.interrupt}, 2) == 0);
	CHECK(recv(g.peer, &reply, sizeof(reply), 0) == (ssize_t)sizeof(reply));
	CHECK(reply.header.type == (SHM_HELLO | SHM_REPLY) && reply.status == 0);
	return g;
}

void raw_guest_close(struct raw_guest *g)
{
	close(g->peer);
	close(g->memory);
	close(g->interrupt);
}

int peer_send(int peer, const void *message, size_t len, const int *fds, unsigned int count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * PEER_FDS_MAX)];
	} control = {0};
	struct iovec iov = {(void *)(uintptr_t)message, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *cmsg = &control.align;

	CHECK(count <= PEER_FDS_MAX);
	if (count) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * count);
		memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * count);
	}
	return sendmsg(peer, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}
