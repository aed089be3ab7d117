/* SPDX-License-Identifier: MIT */
/* aio DISK COUNT DEPTH: COUNT random reads and writes of 4 KiB by turns, DEPTH at a time, as
 * fio's libaio engine does them. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/fs.h>

#define BLOCK 4096u
#define DEPTH_MAX 256u

static uint8_t memory[DEPTH_MAX][BLOCK] __attribute__((aligned(BLOCK)));
static struct iocb iocbs[DEPTH_MAX];
static uint64_t blocks, seed = 1;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void submit(aio_context_t context, int fd, unsigned long number, struct iocb *iocb)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	iocb->aio_fildes = (uint32_t)fd;
	iocb->aio_lio_opcode = number % 2 ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
	iocb->aio_buf = (uintptr_t)memory[iocb - iocbs];
	iocb->aio_nbytes = BLOCK;
	iocb->aio_offset = (int64_t)((seed >> 33) % blocks * BLOCK);
	iocb->aio_data = (uintptr_t)iocb;
	if (syscall(SYS_io_submit, context, 1, &iocb) != 1)
		die("io_submit");
}

int main(int argc, char **argv)
{
	unsigned long count = argc == 4 ? strtoul(argv[2], NULL, 10) : 0, started, done = 0;
	unsigned long depth = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;
	struct io_event events[DEPTH_MAX];
	aio_context_t context = 0;
	uint64_t bytes = 0;
	int fd;

	if (!count || !depth || depth > DEPTH_MAX || depth > count)
		return fprintf(stderr, "usage: aio DISK COUNT DEPTH\n"), 2;
	fd = open(argv[1], O_RDWR | O_DIRECT);
	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &bytes) || syscall(SYS_io_setup, depth, &context))
		die(argv[1]);
	blocks = bytes / BLOCK;
	for (started = 0; started < depth; started++)
		submit(context, fd, started, &iocbs[started]);
	while (done < count) {
		long n = syscall(SYS_io_getevents, context, 1, DEPTH_MAX, events, NULL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 1)
			die("io_getevents");
		done += (unsigned long)n;
		for (long i = 0; i < n; i++) {
			if (events[i].res != BLOCK)
				return fprintf(stderr, "aio: result %lld\n", (long long)events[i].res), 1;
			if (started < count)
				submit(context, fd, started++, (struct iocb *)(uintptr_t)events[i].data);
		}
	}
	printf("%lu done\n", done);
	return 0;
}
