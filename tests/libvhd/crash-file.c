/* SPDX-License-Identifier: MIT */
#include "crash-file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 4096 };

/* Bytes as they were before a change. */
struct undo {
	uint64_t offset, length;
	uint8_t *bytes;
};

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	abort();
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void crash_file_init(struct crash_file *f)
{
	*f = (struct crash_file){ .fd = memfd_create("crash", MFD_CLOEXEC) };
	need(f->fd >= 0, "memfd_create");
	snprintf(f->path, sizeof(f->path), "/proc/self/fd/%d", f->fd);
	f->bytes = calloc(1, CRASH_FILE_MAX);
	need(f->bytes != NULL, "calloc");
}

void crash_file_fini(struct crash_file *f)
{
	free(f->bytes);
	close(f->fd);
	free(f->undo);
}

/* -- Changes ---------------------------------------------------------------- */

/* Keeps the bytes that are about to change; those behind the end are zeros by nature. */
static void undo_keep(struct crash_file *f, uint64_t offset, uint64_t length)
{
	struct undo *u;

	if (!f->undoing || offset >= f->size)
		return;
	if (f->undo_count == f->undo_room) {
		f->undo_room = f->undo_room ? 2 * f->undo_room : 64;
		f->undo = realloc(f->undo, (size_t)f->undo_room * sizeof(*f->undo));
		need(f->undo != NULL, "realloc");
	}
	u = &f->undo[f->undo_count++];
	*u = (struct undo){ offset, least(length, f->size - offset), NULL };
	u->bytes = malloc(u->length);
	need(u->bytes != NULL, "malloc");
	memcpy(u->bytes, f->bytes + offset, u->length);
}

static bool is_zero(const uint8_t *bytes, uint64_t length)
{
	return bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0;
}

/* Piece by piece, as most of it is zeros already. */
static void bytes_clear(struct crash_file *f, uint64_t length, uint64_t offset)
{
	uint64_t end = least(f->size, offset + length);

	for (uint64_t at = offset, n; at < end; at += n) {
		n = least(end - at, PIECE - at % PIECE);
		if (is_zero(f->bytes + at, n))
			continue;
		undo_keep(f, at, n);
		memset(f->bytes + at, 0, n);
	}
}

void crash_file_resize(struct crash_file *f, uint64_t size)
{
	need(size <= CRASH_FILE_MAX, "a file too large");
	if (size < f->size)
		bytes_clear(f, f->size - size, size);
	need(size == f->size || ftruncate(f->fd, (off_t)size) == 0, "ftruncate");
	f->size = size;
}

static void bytes_put(struct crash_file *f, const void *bytes, uint64_t length, uint64_t offset)
{
	if (offset + length > f->size)
		crash_file_resize(f, offset + length);
	undo_keep(f, offset, length);
	memcpy(f->bytes + offset, bytes, length);
}

void crash_file_begin(struct crash_file *f)
{
	f->undoing = true;
	f->undo_size = f->size;
}

void crash_file_undo(struct crash_file *f)
{
	f->undoing = false;
	crash_file_resize(f, f->undo_size);
	while (f->undo_count > 0) {
		struct undo *u = &f->undo[--f->undo_count];

		/* What grew in the meantime is gone again. */
		if (u->offset < f->undo_size)
			memcpy(f->bytes + u->offset, u->bytes,
			       least(u->length, f->undo_size - u->offset));
		free(u->bytes);
	}
}

void crash_file_load(struct crash_file *f, const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	need(fd >= 0 && fstat(fd, &st) == 0, path);
	crash_file_resize(f, 0);
	crash_file_resize(f, (uint64_t)st.st_size);
	need(read(fd, f->bytes, f->size) == st.st_size, path);
	close(fd);
}

/* -- I/O ---------------------------------------------------------------------- */

static int file_read(const struct crash_file *f, const struct vhd_io *io)
{
	uint64_t at = io->offset;

	for (int i = 0; i < io->niov && at < f->size; i++) {
		uint64_t n = least(io->iov[i].iov_len, f->size - at);

		memcpy(io->iov[i].iov_base, f->bytes + at, n);
		at += n;
	}
	return (int)(at - io->offset);
}

static int file_write(struct crash_file *f, const struct vhd_io *io)
{
	uint64_t at = io->offset;

	if (at > CRASH_FILE_MAX || io->length > CRASH_FILE_MAX - at)
		return -EFBIG;
	for (int i = 0; i < io->niov; i++) {
		bytes_put(f, io->iov[i].iov_base, io->iov[i].iov_len, at);
		at += io->iov[i].iov_len;
	}
	return (int)(at - io->offset);
}

int crash_file_io(struct crash_file *f, const struct vhd_io *io)
{
	switch (io->op) {
	case VHD_IO_READ:
		return file_read(f, io);
	case VHD_IO_WRITE:
		return file_write(f, io);
	case VHD_IO_PUNCH:
		bytes_clear(f, io->length, io->offset);
		return 0;
	case VHD_IO_TRUNCATE:
		if (io->length > CRASH_FILE_MAX)
			return -EFBIG;
		crash_file_resize(f, io->length);
		return 0;
	case VHD_IO_DATASYNC:
		return 0;
	}
	abort();
}

/* -- The log ------------------------------------------------------------------ */

bool crash_log_add(struct crash_log *log, const struct vhd_io *io, int result, int begun)
{
	struct crash_entry *e = &log->entry[log->count];
	size_t at = 0;

	if (io->op == VHD_IO_READ || result < 0)
		return true;
	if (log->count == CRASH_LOG_MAX)
		return false;
	*e = (struct crash_entry){ .op = io->op, .offset = io->offset, .length = io->length };
	if (io->op == VHD_IO_DATASYNC)
		e->offset = (uint64_t)begun;
	if (io->op == VHD_IO_WRITE) {
		e->length = (uint64_t)result;
		e->data = malloc(e->length);
		need(e->data != NULL, "malloc");
		for (int i = 0; i < io->niov; i++) {
			memcpy(e->data + at, io->iov[i].iov_base, io->iov[i].iov_len);
			at += io->iov[i].iov_len;
		}
	}
	log->count++;
	return true;
}

void crash_log_free(struct crash_log *log)
{
	for (int i = 0; i < log->count; i++)
		free(log->entry[i].data);
	log->count = 0;
}

static void piece_apply(const struct crash_entry *e, struct crash_file *f, uint64_t at,
			uint64_t length)
{
	if (e->op == VHD_IO_WRITE)
		bytes_put(f, e->data + at, length, e->offset + at);
	else
		bytes_clear(f, length, e->offset + at);
}

void crash_entry_apply(const struct crash_entry *e, struct crash_file *f, bool torn)
{
	if (e->op == VHD_IO_DATASYNC)
		return;
	if (e->op == VHD_IO_TRUNCATE) {
		crash_file_resize(f, e->length);
		return;
	}
	if (!torn)
		piece_apply(e, f, 0, e->length);
	for (uint64_t at = 0; torn && at < e->length; at += CRASH_SECTOR)
		if (random() & 1)
			piece_apply(e, f, at, least(e->length - at, CRASH_SECTOR));
}
