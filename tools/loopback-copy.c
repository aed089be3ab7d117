/* SPDX-License-Identifier: MIT */
/* read and write: a file or pipe on one side, the disk on the other, several requests in
 * flight, handed on in order. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "loopback.h"

#define SLOTS 8u
#define SHOW_EVERY_NS 100000000ull

struct slot {
	struct vsp_storvsc_request request;
	struct session_buffer buffer;
	uint32_t skip, bytes; /* of the buffer that count: a read may begin inside a sector */
	bool busy, done;
};

struct copy {
	struct session *s;
	const struct session_disk *disk;
	struct slot slots[SLOTS];
	uint32_t chunk;         /* bytes a request */
	uint64_t next, end;     /* disk bytes not requested yet */
	uint64_t first;
	int fd;
	bool sparse; /* holes may be left in the output */
	bool bar;
	uint64_t started, shown;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void progress_show(struct copy *c, bool last)
{
	uint64_t t = now_ns(), done = c->next - c->first, all = c->end - c->first;
	double rate = (double)done / (double)(t - c->started + 1) * 1e9;

	if (!c->bar || (!last && t - c->shown < SHOW_EVERY_NS))
		return;
	c->shown = t;
	if (last)
		fprintf(stderr, "\r\033[K");
	else if (c->end == UINT64_MAX)
		fprintf(stderr, "\r%" PRIu64 " MiB, %.0f MiB/s \033[K", done >> 20, rate / 1048576);
	else
		fprintf(stderr, "\r%3.0f %%, %.0f MiB/s, %.0f s left \033[K",
			all ? 100 * (double)done / (double)all : 100, rate / 1048576,
			rate > 0 ? (double)(all - done) / rate : 0);
}

static void request_done(struct vsp_storvsc_request *request)
{
	((struct slot *)request->user)->done = true;
}

static bool slot_submit(struct copy *c, struct slot *slot)
{
	int ret;

	slot->request.done = request_done;
	slot->request.user = slot;
	slot->busy = true;
	slot->done = false;
	while ((ret = vsp_storvsc_submit(&c->s->storvsc, &slot->request)) == -EAGAIN &&
	       session_step(c->s))
		;
	if (ret)
		return false;
	vsp_storvsc_kick(&c->s->storvsc);
	return true;
}

static bool slot_wait(struct copy *c, struct slot *slot)
{
	while (!slot->done && session_step(c->s))
		;
	slot->busy = false;
	return slot->done;
}

static bool copy_begin(struct copy *c, struct session *s, const struct session_disk *disk,
		       const struct loopback_options *o)
{
	c->s = s;
	c->disk = disk;
	c->first = c->next = o->offset;
	c->started = now_ns();
	c->bar = isatty(STDERR_FILENO);
	c->chunk = s->storvsc.max_transfer < (1u << 20) ? s->storvsc.max_transfer : 1u << 20;
	for (uint32_t i = 0; i < SLOTS; i++)
		if (!session_buffer_new(s, c->chunk, &c->slots[i].buffer))
			return false;
	return true;
}

/* Requests that are under way hold guest memory, but it is this process's own and is let
 * go only with the session. */
static int copy_end(struct copy *c, int ret)
{
	progress_show(c, true);
	for (uint32_t i = 0; i < SLOTS; i++)
		session_buffer_free(&c->slots[i].buffer);
	if (c->fd > STDERR_FILENO && close(c->fd) && !ret)
		ret = loopback_fail(LOOPBACK_FAILED, "closing the file: %s", strerror(errno));
	return ret;
}

/* -- read ----------------------------------------------------------------- */

static bool all_zero(const uint8_t *data, uint32_t len)
{
	return len == 0 || (data[0] == 0 && memcmp(data, data + 1, len - 1) == 0);
}

static int output_write(const struct copy *c, const uint8_t *data, uint32_t len)
{
	if (c->sparse && all_zero(data, len)) {
		if (lseek(c->fd, len, SEEK_CUR) >= 0)
			return LOOPBACK_OK;
		return loopback_fail(LOOPBACK_FAILED, "seeking in the output: %s", strerror(errno));
	}
	while (len > 0) {
		ssize_t n = write(c->fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return loopback_fail(LOOPBACK_FAILED, "writing the output: %s", strerror(errno));
		data += n;
		len -= (uint32_t)n;
	}
	return LOOPBACK_OK;
}

static bool read_request(struct copy *c, struct slot *slot)
{
	uint32_t bs = c->disk->block_size;
	uint64_t lba = c->next / bs, left = c->end - c->next;

	slot->skip = (uint32_t)(c->next % bs);
	slot->bytes = left < c->chunk - slot->skip ? (uint32_t)left : c->chunk - slot->skip;
	memset(&slot->request, 0, sizeof(slot->request));
	session_rw(&slot->request, c->disk, false, lba, (slot->skip + slot->bytes + bs - 1) / bs,
		   &slot->buffer);
	c->next += slot->bytes;
	return slot_submit(c, slot);
}

static int read_run(struct copy *c)
{
	for (uint32_t i = 0;; i = (i + 1) % SLOTS) {
		struct slot *slot = &c->slots[i];
		int ret;

		if (slot->busy) {
			if (!slot_wait(c, slot))
				return c->s->error;
			if (!session_request_ok(&slot->request, "read"))
				return LOOPBACK_FAILED;
			ret = output_write(c, slot->buffer.data + slot->skip, slot->bytes);
			if (ret)
				return ret;
			progress_show(c, false);
		}
		if (c->next < c->end && !read_request(c, slot))
			return LOOPBACK_FAILED;
		/* all that was asked for has been handed on once a whole round is idle */
		if (c->next >= c->end && !slot->busy) {
			uint32_t k;

			for (k = 0; k < SLOTS && !c->slots[k].busy; k++)
				;
			if (k == SLOTS)
				return LOOPBACK_OK;
		}
	}
}

/* Bytes that nobody wrote past the last hole. */
static int output_finish(const struct copy *c)
{
	off_t end = lseek(c->fd, 0, SEEK_CUR);

	if (!c->sparse)
		return LOOPBACK_OK;
	if (end < 0 || ftruncate(c->fd, end))
		return loopback_fail(LOOPBACK_FAILED, "sizing the output: %s", strerror(errno));
	return LOOPBACK_OK;
}

int loopback_read(struct session *s, const struct session_disk *disk,
		  const struct loopback_options *o)
{
	uint64_t size = disk->blocks * disk->block_size;
	struct copy c = {.fd = STDOUT_FILENO};
	int ret;

	if (o->offset > size || (o->has_length && o->length > size - o->offset))
		return loopback_fail(LOOPBACK_FAILED, "the disk ends at byte %" PRIu64, size);
	if (o->output) {
		c.fd = open(o->output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
		c.sparse = true;
	}
	if (c.fd < 0)
		return loopback_fail(LOOPBACK_FAILED, "%s: %s", o->output, strerror(errno));
	if (!copy_begin(&c, s, disk, o))
		return copy_end(&c, LOOPBACK_FAILED);
	c.end = o->has_length ? o->offset + o->length : size;
	ret = read_run(&c);
	if (!ret)
		ret = output_finish(&c);
	return copy_end(&c, ret);
}

/* -- write ---------------------------------------------------------------- */

/* Fills the buffer as far as the input goes. Returns the bytes, or < 0. */
static int64_t input_read(const struct copy *c, uint8_t *data)
{
	uint32_t len = 0;

	while (len < c->chunk) {
		ssize_t n = read(c->fd, data + len, c->chunk - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -loopback_fail(LOOPBACK_FAILED, "reading the input: %s", strerror(errno));
		if (n == 0)
			break;
		len += (uint32_t)n;
	}
	return len;
}

/* Takes the next piece of the input. Returns LOOPBACK_OK, and c->end is the input's end if
 * it was the last. */
static int write_request(struct copy *c, struct slot *slot)
{
	uint32_t bs = c->disk->block_size;
	int64_t len = input_read(c, slot->buffer.data);

	if (len < 0)
		return LOOPBACK_FAILED;
	if (len % bs)
		return loopback_fail(LOOPBACK_FAILED,
				     "the input ends inside a sector: make it a multiple of %" PRIu32
				     " bytes long; nothing of the last %" PRId64 " bytes was written",
				     bs, len);
	if ((uint64_t)len > c->disk->blocks * bs - c->next)
		return loopback_fail(LOOPBACK_FAILED, "the disk is full: it ends at byte %" PRIu64,
				     c->disk->blocks * bs);
	if ((uint64_t)len < c->chunk)
		c->end = c->next + (uint64_t)len;
	if (len == 0)
		return LOOPBACK_OK;
	memset(&slot->request, 0, sizeof(slot->request));
	session_rw(&slot->request, c->disk, true, c->next / bs, (uint32_t)len / bs, &slot->buffer);
	c->next += (uint64_t)len;
	return slot_submit(c, slot) ? LOOPBACK_OK : LOOPBACK_FAILED;
}

static int write_finish(struct copy *c, struct slot *slot)
{
	if (!slot->busy)
		return LOOPBACK_OK;
	if (!slot_wait(c, slot))
		return c->s->error;
	return session_request_ok(&slot->request, "write") ? LOOPBACK_OK : LOOPBACK_FAILED;
}

int loopback_write(struct session *s, const struct session_disk *disk,
		   const struct loopback_options *o)
{
	struct copy c = {.fd = STDIN_FILENO};
	int ret = LOOPBACK_OK;

	if (o->offset % disk->block_size || o->offset > disk->blocks * disk->block_size)
		return loopback_fail(LOOPBACK_FAILED, "--offset must be a multiple of %" PRIu32
				     " inside the disk (%" PRIu64 " bytes)",
				     disk->block_size, disk->blocks * disk->block_size);
	if (o->input)
		c.fd = open(o->input, O_RDONLY | O_CLOEXEC);
	if (c.fd < 0)
		return loopback_fail(LOOPBACK_FAILED, "%s: %s", o->input, strerror(errno));
	if (!copy_begin(&c, s, disk, o))
		return copy_end(&c, LOOPBACK_FAILED);
	c.end = UINT64_MAX;
	for (uint32_t i = 0; !ret && c.end == UINT64_MAX; i = (i + 1) % SLOTS) {
		ret = write_finish(&c, &c.slots[i]);
		if (!ret)
			ret = write_request(&c, &c.slots[i]);
		progress_show(&c, false);
	}
	for (uint32_t i = 0; i < SLOTS; i++) {
		int last = write_finish(&c, &c.slots[i]);

		ret = ret ? ret : last;
	}
	return copy_end(&c, ret);
}
