/* SPDX-License-Identifier: MIT */
/* Peers on the socket that mean no good: each loses its connection, with the reason told
 * where there is somebody to tell, and the host serves the next guest. That nothing is
 * left of them the host checks itself when it ends. A plain program. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
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
#include "hostile-peer.h"

#define GUESTS 6 /* that the host takes at a time */
#define CONNECTIONS 2000
#define LOG_LINES_MIN 200 /* of a host that meets so many */
#define LOG_LINES_MAX 400

static bool own_host; /* whose device echoes; else it may be any, as long as it has one */

static void guest_open(struct echo_guest *guest)
{
	CHECK(echo_guest_connect(guest, peer_socket, 50) == 0);
	CHECK(echo_guest_open(guest) == 0);
}

static void guest_works(struct echo_guest *guest)
{
	if (own_host)
		CHECK(echo_guest_run(guest, 100, 10) == 0 && guest->wrong == 0);
	CHECK(vmbus_shm_guest_usage(guest->shm, &(struct vmbus_shm_usage){0}) == 0);
}

static void guest_close(struct echo_guest *guest)
{
	CHECK(echo_guest_close(guest) == 0);
	echo_guest_free(guest);
}

static void good_guest_is_served(void)
{
	struct echo_guest guest;

	guest_open(&guest);
	guest_works(&guest);
	guest_close(&guest);
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
		sent = peer_send(peer, &hello, sizeof(hello), fds, count);
		if (!sent && rows[i].told) { /* by the reply, and by the BYE behind it */
			struct shm_reply reply;

			CHECK(recv(peer, &reply, sizeof(reply), 0) == (ssize_t)sizeof(reply));
			CHECK(reply.header.type == (SHM_HELLO | SHM_REPLY));
			CHECK(reply.header.sequence == hello.header.sequence);
			CHECK(reply.status == EPROTO && strstr(reply.text, rows[i].told));
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
	post.call.payload_size = 240;
	CHECK(status_of(g.peer, &post, sizeof(post)) == HV_STATUS_SUCCESS);
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

	CHECK(echo_guest_connect(&guest, peer_socket, 50) == 0);
	CHECK(echo_guest_open(&guest) == 0);
	CHECK(echo_guest_run(&guest, 10, 1) == 0);
	/* the library's socket is our newest to the host: find it, and ask behind its back */
	for (int fd = 64; fd > 2 && peer < 0; fd--) {
		struct sockaddr_un address;
		socklen_t len = sizeof(address);

		if (!getpeername(fd, (struct sockaddr *)&address, &len) &&
		    !strcmp(address.sun_path, peer_socket))
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

/* -- Crowds --------------------------------------------------------------- */

/* The one that has been silent longest gives way. */
static void silent_peers_do_not_keep_others_out(void)
{
	int silent[2 * GUESTS];

	for (int i = 0; i < 2 * GUESTS; i++)
		silent[i] = peer_connect();
	good_guest_is_served();
	CHECK(turned_away(silent[0], "others wait"));
	for (int i = 0; i < 2 * GUESTS; i++)
		close(silent[i]);
}

static void peer_comes_and_goes(int how)
{
	struct shm_hello hello = good_hello();
	int fds[2], peer = peer_connect();

	switch (how) {
	case 0: /* without a word */
		break;
	case 1:
		(void)!send(peer, "rubbish", 7, MSG_NOSIGNAL);
		break;
	case 2: /* of half of one */
		(void)!send(peer, &hello, sizeof(hello) / 2, MSG_NOSIGNAL);
		break;
	default: /* as soon as it has said hello */
		fds[0] = memory_make(SEALED);
		fds[1] = eventfd(0, 0);
		(void)peer_send(peer, &hello, sizeof(hello), fds, 2);
		close(fds[0]);
		close(fds[1]);
	}
	close(peer);
}

static void connections_by_the_thousand_cost_others_nothing(void)
{
	struct echo_guest guest;

	guest_open(&guest);
	for (int i = 0; i < CONNECTIONS; i++) {
		peer_comes_and_goes(i % 10);
		if (i % 100 == 0)
			guest_works(&guest);
	}
	guest_works(&guest);
	good_guest_is_served();
	guest_close(&guest);
}

/* -- Descriptors that wait ------------------------------------------------ */

/* The pid of the host is that of who listens. */
static pid_t host_pid(int peer)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	CHECK(getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0);
	return cred.pid;
}

static void host_freeze(pid_t pid)
{
	char path[64], stat[512] = "";

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	CHECK(kill(pid, SIGSTOP) == 0);
	while (!strstr(stat, ") T")) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		CHECK(fd >= 0 && read(fd, stat, sizeof(stat) - 1) > 0);
		close(fd);
	}
}

/* Whoever closes it last waits until the other end has read all, or an hour. */
static void lingering_socket(int *fd, int others[2])
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const struct linger hour = {1, 3600};
	static const char bytes[65536];
	socklen_t len = sizeof(address);

	others[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	*fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(others[0] >= 0 && *fd >= 0);
	CHECK(bind(others[0], (struct sockaddr *)&address, len) == 0 && listen(others[0], 1) == 0);
	CHECK(getsockname(others[0], (struct sockaddr *)&address, &len) == 0);
	CHECK(connect(*fd, (struct sockaddr *)&address, len) == 0);
	others[1] = accept4(others[0], NULL, NULL, SOCK_CLOEXEC);
	CHECK(others[1] >= 0);
	while (send(*fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	CHECK(setsockopt(*fd, SOL_SOCKET, SO_LINGER, &hour, sizeof(hour)) == 0);
}

/* The host's is the last descriptor of each: ours is closed before it wakes up. Nobody has been
 * here before: the end of a guest's interrupts may well cut a wait short. */
static void descriptors_that_linger_do_not_block_the_host(void)
{
	static const unsigned int counts[] = {1, 2, SHM_FDS_MAX, SHM_FDS_MAX + 1, PEER_FDS_MAX};
	enum { PEERS = sizeof(counts) / sizeof(counts[0]) };
	int peers[PEERS], others[PEERS][2], fds[PEER_FDS_MAX];
	struct shm_hello hello = good_hello();
	pid_t host;

	for (int i = 0; i < PEERS; i++)
		peers[i] = peer_connect();
	host = host_pid(peers[0]);
	host_freeze(host);
	for (int i = 0; i < PEERS; i++) {
		unsigned int last = counts[i] - 1;

		lingering_socket(&fds[last], others[i]);
		for (unsigned int k = 0; k < last; k++)
			fds[k] = eventfd(0, EFD_CLOEXEC);
		CHECK(peer_send(peers[i], &hello, sizeof(hello), fds, counts[i]) == 0);
		for (unsigned int k = 0; k < counts[i]; k++)
			close(fds[k]);
	}
	CHECK(kill(host, SIGCONT) == 0);
	for (int i = 0; i < PEERS; i++) {
		CHECK(turned_away(peers[i], NULL));
		close(peers[i]);
	}
	good_guest_is_served();
	for (int i = 0; i < PEERS; i++) {
		close(others[i][0]);
		close(others[i][1]);
	}
}

/* -- Memory --------------------------------------------------------------- */

/* It cannot get shorter; with holes in it, it is zeros. */
static void memory_that_was_handed_over_stays(void)
{
	struct vmbus_msg_initiate_contact contact = {.header.type = VMBUS_MSG_INITIATE_CONTACT,
						     .version = VMBUS_V4_0};
	struct shm_post_message post = {
		.header = {SHM_POST_MESSAGE, 1},
		.call = {.connection_id = 1, .type = 1, .payload_size = sizeof(contact)},
	};
	struct raw_guest g = raw_guest();

	memcpy(post.call.payload, &contact, sizeof(contact));
	CHECK(ftruncate(g.memory, 0) < 0 && errno == EPERM);
	for (int i = 0; i < 10; i++) {
		CHECK(fallocate(g.memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, MEMORY) == 0);
		CHECK(status_of(g.peer, &post, sizeof(post)) == HV_STATUS_SUCCESS);
	}
	good_guest_is_served();
	raw_guest_close(&g);
}

static void memory_has_a_limit(void)
{
	struct echo_guest guest;

	CHECK(echo_guest_connect_with(&guest, peer_socket, 50, TEST_HOST_MEMORY) == 0);
	guest_close(&guest);
	CHECK(echo_guest_connect_with(&guest, peer_socket, 50,
				      TEST_HOST_MEMORY + VMBUS_PAGE_SIZE) == -EPROTO);
}

/* -- The host's log ------------------------------------------------------- */

static unsigned int log_lines; /* in the host */
static bool log_tells_of_more;

static void log_count(const char *line)
{
	log_lines++;
	log_tells_of_more |= strstr(line, "left out") != NULL;
}

static void log_is_bounded(void)
{
	echo_device.end();
	CHECK(log_lines >= LOG_LINES_MIN && log_lines < LOG_LINES_MAX);
	CHECK(log_tells_of_more);
}

static pid_t host_start(void)
{
	struct test_device device = echo_device;

	device.log = log_count;
	device.end = log_is_bounded;
	return test_host_start(&device, 50, GUESTS);
}

/* hostile [SOCKET]: against a host of its own, or one that listens there and takes GUESTS
 * guests. */
int main(int argc, char **argv)
{
	pid_t host = 0;
	int late;

	alarm(120);
	own_host = argc < 2;
	if (own_host)
		host = host_start();
	peer_socket = own_host ? socket_path() : argv[1];
	descriptors_that_linger_do_not_block_the_host();
	silent_peers_do_not_keep_others_out();
	hellos();
	requests();
	hypercalls_say_what_is_wrong();
	a_peer_that_does_not_read_is_dropped();
	a_full_interrupt_does_not_block_the_host();
	if (own_host) {
		a_full_doorbell_does_not_block_the_host();
		memory_has_a_limit();
	}
	memory_that_was_handed_over_stays();
	connections_by_the_thousand_cost_others_nothing();
	late = peer_connect();
	good_guest_is_served();
	CHECK(turned_away(late, "did not say hello")); /* after five seconds */
	close(late);
	if (own_host)
		CHECK(test_host_stop(host) == 0);
	return 0;
}
