/* SPDX-License-Identifier: MIT */
/* Peers on the socket that mean no good: each loses its connection, with the reason told
 * where there is somebody to tell, and the host serves the next guest. That nothing is
 * left of them the host checks itself when it ends. A plain program. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "echo.h"
#include "protocol.h"

#define MEMORY (1u << 20)

static int peer_connect(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, socket_path(), strlen(socket_path()) + 1);
	CHECK(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	return fd;
}

static struct shm_hello good_hello(void)
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

enum memory_kind {
	SEALED,
	UNSEALED,
	SHRINKS,
	GROWS,
	UNWRITABLE,
	HUGE,
	SHORT,
	A_FILE,
	A_TMPFS_FILE,
	A_PIPE,
	NONE,
};

static int memory_make(enum memory_kind kind)
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

/* Waits for the host's word, and returns whether it says @text (NULL: anything, or
 * nothing) before it hangs up. */
static bool turned_away(int fd, const char *text)
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

static void good_guest_is_served(void)
{
	struct echo_guest guest;

	CHECK(echo_guest_connect(&guest, socket_path(), 50) == 0);
	CHECK(echo_guest_open(&guest) == 0);
	CHECK(echo_guest_run(&guest, 100, 10) == 0 && guest.wrong == 0);
	CHECK(echo_guest_close(&guest) == 0);
	echo_guest_free(&guest);
}

/* -- Hellos --------------------------------------------------------------- */

/* each row is a good hello but for what it names */
#define GOOD .magic = SHM_MAGIC, .version = SHM_VERSION, .vp_count = 1, .memory_size = MEMORY, \
	     .simp = 0x1000, .siefp = 0x2000, .interrupts = 1
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
static void hellos(void)
{
	static const struct {
		const char *name, *told;
		uint64_t magic, memory_size, simp, siefp;
		uint32_t version, vp_count;
		enum memory_kind memory;
		int interrupts;
		bool interrupt_is_pipe;
	} rows[] = {
		{"magic", "another protocol", GOOD, .magic = 1},
		{"version", "another version", GOOD, .version = 2},
		{"no processors", "1 to 64", GOOD, .vp_count = 0, .interrupts = 0},
		{"too many processors", "1 to 64", GOOD, .vp_count = 65, .interrupts = 64},
		{"processors wrap around", "1 to 64", GOOD, .vp_count = UINT32_MAX},
		{"no descriptors", "did not send", GOOD, .memory = NONE, .interrupts = 0},
		{"no interrupt", "did not send", GOOD, .interrupts = 0},
		{"an interrupt too many", "did not send", GOOD, .interrupts = 2},
		{"more descriptors than fit", NULL, GOOD, .interrupts = 200},
		{"memory is a file", "not a memfd", GOOD, .memory = A_FILE},
		{"memory is a file of tmpfs", "not sealed", GOOD, .memory = A_TMPFS_FILE},
		{"memory is a pipe", "not a memfd", GOOD, .memory = A_PIPE},
		{"memory is of huge pages", "not a memfd", GOOD, .memory = HUGE, .memory_size = 2 << 20},
		{"memory is not sealed", "not sealed", GOOD, .memory = UNSEALED},
		{"memory may shrink", "not sealed", GOOD, .memory = SHRINKS},
		{"memory may grow", "not sealed", GOOD, .memory = GROWS},
		{"memory is read-only", "against writing", GOOD, .memory = UNWRITABLE},
		{"memory is shorter", "as long as it says", GOOD, .memory = SHORT},
		{"memory is empty", "as long as it says", GOOD, .memory_size = 0},
		{"memory is larger than it says", "as long as it says", GOOD, .memory_size = 4096},
		{"SIMP outside", "SynIC page", GOOD, .simp = MEMORY},
		{"SIMP far outside", "SynIC page", GOOD, .simp = -4096ull},
		{"SIEFP unaligned", "SynIC page", GOOD, .siefp = 0x2008},
		{"interrupt is a pipe", "not an eventfd", GOOD, .interrupt_is_pipe = true},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct shm_hello hello = good_hello();
		int fds[256], sent, peer = peer_connect();
		unsigned int count = 0;

		hello.magic = rows[i].magic;
		hello.version = rows[i].version;
		hello.vp_count = rows[i].vp_count;
		hello.memory = rows[i].memory_size;
		hello.vps[0] = (struct shm_vp){rows[i].simp, rows[i].siefp};
		if (rows[i].memory != NONE)
			fds[count++] = memory_make(rows[i].memory);
		for (int k = 0; k < rows[i].interrupts; k++)
			fds[count++] = rows[i].interrupt_is_pipe ? memory_make(A_PIPE) : eventfd(0, 0);
		if (count > SHM_FDS_MAX) { /* the library would not send these */
			char control[CMSG_SPACE(sizeof(fds))] = {0};
			struct iovec iov = {&hello, sizeof(hello)};
			struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
					     .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
			struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

			cmsg->cmsg_level = SOL_SOCKET;
			cmsg->cmsg_type = SCM_RIGHTS;
			cmsg->cmsg_len = CMSG_LEN(sizeof(int) * count);
			memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * count);
			sent = sendmsg(peer, &msg, 0) < 0 ? -errno : 0;
		} else {
			sent = vmbus_shm_send(peer, &hello, sizeof(hello), fds, count);
		}
		if (sent || !turned_away(peer, rows[i].told)) {
			fprintf(stderr, "hello: %s: not turned away (%d)\n", rows[i].name, sent);
			exit(1);
		}
		while (count)
			close(fds[--count]);
		close(peer);
	}
}

#pragma GCC diagnostic pop

/* -- Requests ------------------------------------------------------------- */

struct raw_guest {
	int peer, memory, interrupt;
};

static struct raw_guest raw_guest(void)
{
	struct raw_guest g = {peer_connect(), memory_make(SEALED), eventfd(0, 0)};
	struct shm_hello hello = good_hello();
	struct shm_reply reply;

	CHECK(vmbus_shm_send(g.peer, &hello, sizeof(hello), (int[]){g.memory, g.interrupt}, 2) == 0);
	CHECK(recv(g.peer, &reply, sizeof(reply), 0) == (ssize_t)sizeof(reply));
	CHECK(reply.header.type == (SHM_HELLO | SHM_REPLY) && reply.status == 0);
	return g;
}

static void raw_guest_close(struct raw_guest *g)
{
	close(g->peer);
	close(g->memory);
	close(g->interrupt);
}

static void requests(void)
{
	static const struct {
		const char *name;
		size_t len;
		uint32_t type;
		bool after_hello, with_fd;
	} rows[] = {
		{"empty", 0, 0, false, false},
		{"less than a header", 4, SHM_HELLO, false, false},
		{"a header alone", sizeof(struct shm_header), SHM_HELLO, false, false},
		{"no type", 16, 0, false, false},
		{"type past the table", 16, 6, false, false},
		{"type far past the table", 16, UINT32_MAX, false, false},
		{"BYE", sizeof(struct shm_reply), SHM_BYE, true, false},
		{"a reply", sizeof(struct shm_reply), SHM_USAGE | SHM_REPLY, true, false},
		{"longer than any", 4096, SHM_HELLO, false, false},
		{"USAGE before HELLO", sizeof(struct shm_header), SHM_USAGE, false, false},
		{"EOM before HELLO", sizeof(struct shm_eom), SHM_EOM, false, false},
		{"POST_MESSAGE before HELLO", sizeof(struct shm_post_message), SHM_POST_MESSAGE, false, false},
		{"HELLO again", sizeof(struct shm_hello), SHM_HELLO, true, false},
		{"POST_MESSAGE short", sizeof(struct shm_post_message) - 8, SHM_POST_MESSAGE, true, false},
		{"EOM long", sizeof(struct shm_eom) + 8, SHM_EOM, true, false},
		{"EOM with a descriptor", sizeof(struct shm_eom), SHM_EOM, true, true},
		{"USAGE with a descriptor", sizeof(struct shm_header), SHM_USAGE, true, true},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct raw_guest g = {-1, -1, -1};
		uint32_t message[1024] = {rows[i].type};

		if (rows[i].after_hello)
			g = raw_guest();
		else
			g.peer = peer_connect();
		CHECK(vmbus_shm_send(g.peer, message, rows[i].len, (int[]){STDERR_FILENO},
				     rows[i].with_fd ? 1 : 0) == 0);
		if (!turned_away(g.peer, NULL)) {
			fprintf(stderr, "request: %s: not turned away\n", rows[i].name);
			exit(1);
		}
		raw_guest_close(&g);
	}
}

static uint32_t status_of(int peer, const void *request, size_t len)
{
	struct shm_reply reply;

	CHECK(vmbus_shm_send(peer, request, len, NULL, 0) == 0);
	CHECK(recv(peer, &reply, sizeof(reply), 0) == (ssize_t)sizeof(reply));
	return reply.status;
}

static void hypercalls_say_what_is_wrong(void)
{
	struct raw_guest g = raw_guest();
	struct shm_post_message post = {.header = {SHM_POST_MESSAGE, 7},
					.call = {.connection_id = 1, .type = 1, .payload_size = 8}};
	struct shm_doorbell_get get = {.header = {SHM_DOORBELL_GET, 8}, .connection_id = 77};
	struct shm_eom eom = {.header = {SHM_EOM, 9}, .vp = UINT32_MAX};

	CHECK(status_of(g.peer, &post, sizeof(post)) == HV_STATUS_SUCCESS); /* type 0 is dropped */
	post.call.payload_size = 241;
	CHECK(status_of(g.peer, &post, sizeof(post)) == HV_STATUS_INVALID_PARAMETER);
	post.call.payload_size = 8;
	post.call.type = 0x80000001;
	CHECK(status_of(g.peer, &post, sizeof(post)) == HV_STATUS_INVALID_PARAMETER);
	post.call.type = 1;
	post.call.connection_id = 99;
	CHECK(status_of(g.peer, &post, sizeof(post)) == HV_STATUS_INVALID_CONNECTION_ID);
	CHECK(status_of(g.peer, &get, sizeof(get)) == HV_STATUS_INVALID_CONNECTION_ID);
	CHECK(vmbus_shm_send(g.peer, &eom, sizeof(eom), NULL, 0) == 0); /* ignored */
	post.call.connection_id = 1;
	CHECK(status_of(g.peer, &post, sizeof(post)) == HV_STATUS_SUCCESS);
	raw_guest_close(&g);
}

/* -- Making the host wait ------------------------------------------------- */

static void a_peer_that_does_not_read_is_dropped(void)
{
	struct raw_guest g = raw_guest();
	struct shm_header usage = {SHM_USAGE, 1};
	int sent = 0, r;

	while ((r = vmbus_shm_send(g.peer, &usage, sizeof(usage), NULL, 0)) == 0 || r == -EAGAIN)
		CHECK(++sent < 1000000);
	CHECK(r == -EPIPE || r == -ECONNRESET);
	raw_guest_close(&g);
}

/* A blocking eventfd that is full: who writes it sleeps for ever. */
static void a_full_interrupt_does_not_block_the_host(void)
{
	struct raw_guest g = raw_guest();
	struct shm_post_message post = {.header = {SHM_POST_MESSAGE, 1}, .call = {.type = 1}};
	struct vmbus_msg_initiate_contact contact = {.header.type = VMBUS_MSG_INITIATE_CONTACT};
	uint64_t full = UINT64_MAX - 1;

	CHECK(write(g.interrupt, &full, sizeof(full)) == (ssize_t)sizeof(full));
	post.call.connection_id = VMBUS_CONN_MESSAGE;
	post.call.payload_size = sizeof(contact);
	contact.version = VMBUS_V4_0;
	memcpy(post.call.payload, &contact, sizeof(contact));
	for (int i = 0; i < 10; i++)
		CHECK(status_of(g.peer, &post, sizeof(post)) == HV_STATUS_SUCCESS);
	good_guest_is_served();
	raw_guest_close(&g);
}

static void a_full_doorbell_does_not_block_the_host(void)
{
	struct echo_guest guest;
	struct shm_doorbell_get get = {.header = {SHM_DOORBELL_GET, 1}};
	uint64_t full = UINT64_MAX - 1, rung;
	struct shm_reply reply;
	unsigned int fd_count;
	int fds[SHM_FDS_MAX];
	int peer = -1;

	CHECK(echo_guest_connect(&guest, socket_path(), 50) == 0);
	CHECK(echo_guest_open(&guest) == 0);
	CHECK(echo_guest_run(&guest, 10, 1) == 0);
	/* the library's socket is our newest to the host: find it, and ask behind its back */
	for (int fd = 64; fd > 2 && peer < 0; fd--) {
		struct sockaddr_un address;
		socklen_t len = sizeof(address);

		if (!getpeername(fd, (struct sockaddr *)&address, &len) &&
		    !strcmp(address.sun_path, socket_path()))
			peer = fd;
	}
	CHECK(peer >= 0);
	get.connection_id = guest.echo->offer.connection_id;
	CHECK(vmbus_shm_send(peer, &get, sizeof(get), NULL, 0) == 0);
	CHECK(poll(&(struct pollfd){.fd = peer, .events = POLLIN}, 1, 60000) == 1);
	CHECK(vmbus_shm_recv(peer, &reply, sizeof(reply), fds, &fd_count) == (ssize_t)sizeof(reply));
	CHECK(reply.status == HV_STATUS_SUCCESS && fd_count == 1);
	CHECK(read(fds[0], &rung, sizeof(rung)) > 0 || errno == EAGAIN);
	CHECK(fcntl(fds[0], F_SETFL, 0) == 0);
	CHECK(write(fds[0], &full, sizeof(full)) == (ssize_t)sizeof(full));
	good_guest_is_served();
	CHECK(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0); /* it would block us, too */
	CHECK(echo_guest_close(&guest) == 0); /* the host stops the channel all the same */
	echo_guest_free(&guest);
	close(fds[0]);
}

static void silent_peers_do_not_keep_others_out(int silent[3])
{
	for (int i = 0; i < 3; i++)
		silent[i] = peer_connect();
	good_guest_is_served();
}

int main(void)
{
	pid_t host;
	int silent[3];

	alarm(60);
	host = test_host_start(&echo_device, 50, 6);
	silent_peers_do_not_keep_others_out(silent);
	hellos();
	requests();
	hypercalls_say_what_is_wrong();
	a_peer_that_does_not_read_is_dropped();
	a_full_interrupt_does_not_block_the_host();
	a_full_doorbell_does_not_block_the_host();
	good_guest_is_served();
	CHECK(turned_away(silent[0], "say hello")); /* after five seconds */
	CHECK(test_host_stop(host) == 0);
	return 0;
}
