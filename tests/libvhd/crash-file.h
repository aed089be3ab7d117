/* SPDX-License-Identifier: MIT */
/* A file in memory that a power cut can come to: I/O on it is kept in a log, and any part of
 * the log can be done to the file as it was, and taken back again. */
#ifndef TESTS_LIBVHD_CRASH_FILE_H
#define TESTS_LIBVHD_CRASH_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include <vhd/vhd.h>

enum { CRASH_SECTOR = 512, CRASH_FILE_MAX = 48 << 20 };

/* All I/O comes through crash_file_io(); only the size is a file's, an empty memfd's, so that
 * there is a path to be opened. */
struct crash_file {
	int fd;
	char path[32];
	uint8_t *bytes; /* those behind @size are zeros */
	uint64_t size;
	struct undo *undo; /* the changes to take back, newest last */
	int undo_count, undo_room;
	uint64_t undo_size; /* the file's, when undo began */
	bool undoing;	    /* changes are kept to be taken back */
};

void crash_file_init(struct crash_file *f);
void crash_file_fini(struct crash_file *f);
void crash_file_resize(struct crash_file *f, uint64_t size);
/* Makes @f hold what the file at @path holds. */
void crash_file_load(struct crash_file *f, const char *path);

/* One operation, as struct vhd_io_ops' submit() returns it. Never -EINPROGRESS; -EFBIG is a
 * full disk here. */
int crash_file_io(struct crash_file *f, const struct vhd_io *io);

/* What is done to @f from now on ... */
void crash_file_begin(struct crash_file *f);
/* ... is taken back. */
void crash_file_undo(struct crash_file *f);

/* One operation that was done. */
struct crash_entry {
	enum vhd_io_op op;
	uint64_t offset; /* of a sync: the length of the log when it began */
	uint64_t length;
	uint8_t *data;
};

enum { CRASH_LOG_MAX = 8192 };

struct crash_log {
	struct crash_entry entry[CRASH_LOG_MAX];
	int count;
};

/* Appends a copy. @begun: the log's length when @io began. False: the log is full. */
bool crash_log_add(struct crash_log *log, const struct vhd_io *io, int result, int begun);
void crash_log_free(struct crash_log *log);

/* Does @e to @f; with @torn each sector of it by chance. */
void crash_entry_apply(const struct crash_entry *e, struct crash_file *f, bool torn);

#endif
