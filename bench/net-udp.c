/* SPDX-License-Identifier: MIT */
/* net-udp receive PORT | echo PORT: takes datagrams until SIGTERM, echo sends them back;
 *                  prints "received N"
 * net-udp send SECONDS BYTES ADDRESS PORT: as many as there go out; prints "sent N"
 * net-udp ask SECONDS BYTES ADDRESS PORT: one after the other, each waits for its echo; prints
 *                  "asked N lost N median-us X p99-us X" */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64
#define DATAGRAM_MAX 2048u
#define SAMPLES 1000000u

static uint8_t bytes[BATCH][DATAGRAM_MAX];
static struct mmsghdr messages[BATCH];
static struct iovec iovs[BATCH];
static struct sockaddr_in addresses[BATCH];
static double samples[SAMPLES];
static volatile sig_atomic_t ended;

static void die(const char *what)
{
	fprintf(stderr, "net-udp: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void on_signal(int number)
{
	(void)number;
	ended = 1;
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void batch_prepare(size_t len)
{
	for (int i = 0; i < BATCH; i++) {
		iovs[i] = (struct iovec){bytes[i], len};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &iovs[i], .msg_iovlen = 1};
	}
}

static int serve(int s, uint16_t port, int echo)
{
	const struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
	const struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART */
	unsigned long long received = 0;

	if (bind(s, (const struct sockaddr *)&any, sizeof(any)))
		die("bind");
	sigaction(SIGTERM, &action, NULL);
	batch_prepare(DATAGRAM_MAX);
	while (!ended) {
		int n;

		for (int i = 0; echo && i < BATCH; i++) {
			messages[i].msg_hdr.msg_name = &addresses[i];
			messages[i].msg_hdr.msg_namelen = sizeof(addresses[i]);
			iovs[i].iov_len = DATAGRAM_MAX;
		}
		n = recvmmsg(s, messages, BATCH, MSG_WAITFORONE, NULL);
		for (int i = 0; echo && i < n; i++)
			iovs[i].iov_len = messages[i].msg_len;
		if (echo && n > 0)
			(void)sendmmsg(s, messages, (unsigned int)n, 0);
		received += n > 0 ? (unsigned int)n : 0;
	}
	printf("received %llu\n", received);
	return 0;
}

static int run_send(int s, double end)
{
	unsigned long long sent = 0;

	while (seconds() < end) {
		int n = sendmmsg(s, messages, BATCH, 0);

		sent += n > 0 ? (unsigned int)n : 0;
	}
	printf("sent %llu\n", sent);
	return 0;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static int run_ask(int s, double end, size_t len)
{
	const struct timeval patience = {.tv_usec = 200000};
	unsigned int asked = 0, lost = 0;
	double then = seconds(), now;

	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	for (; then < end && asked < SAMPLES; then = now) {
		int answered = send(s, bytes[0], len, 0) >= 0 &&
			       recv(s, bytes[1], DATAGRAM_MAX, 0) >= 0;

		now = seconds();
		if (answered)
			samples[asked++] = (now - then) * 1e6;
		else
			lost++;
	}
	if (!asked)
		return fprintf(stderr, "net-udp: no answer\n"), 1;
	qsort(samples, asked, sizeof(samples[0]), by_value);
	printf("asked %u lost %u median-us %.2f p99-us %.2f\n", asked, lost, samples[asked / 2],
	       samples[asked - 1 - asked / 100]);
	return 0;
}

static int ask_or_send(int s, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[5]))};
	size_t len = (size_t)atoi(argv[3]);
	double end = seconds() + atof(argv[2]);

	if (len > DATAGRAM_MAX || inet_pton(AF_INET, argv[4], &to.sin_addr) != 1 ||
	    connect(s, (const struct sockaddr *)&to, sizeof(to)))
		die(argv[4]);
	batch_prepare(len);
	return !strcmp(argv[1], "send") ? run_send(s, end) : run_ask(s, end, len);
}

int main(int argc, char **argv)
{
	int s = socket(AF_INET, SOCK_DGRAM, 0), room = 8 << 20;

	if (s < 0)
		die("socket");
	setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
	setsockopt(s, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
	if (argc == 3 && (!strcmp(argv[1], "receive") || !strcmp(argv[1], "echo")))
		return serve(s, (uint16_t)atoi(argv[2]), argv[1][0] == 'e');
	if (argc == 6 && (!strcmp(argv[1], "send") || !strcmp(argv[1], "ask")))
		return ask_or_send(s, argv);
	return fprintf(stderr,
		       "usage: net-udp receive|echo PORT | send|ask SECONDS BYTES ADDRESS PORT\n"), 2;
}
