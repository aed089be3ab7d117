/* SPDX-License-Identifier: MIT */
/* What the parts of the crash test share: one run, by its seed. */
#ifndef TESTS_LIBVHD_CRASH_H
#define TESTS_LIBVHD_CRASH_H

#include "crash-file.h"
#include "crash-model.h"
#include "image-file.h"

enum {
	SECTOR = CRASH_SECTOR,
	SECTORS = CRASH_SECTORS,
	GROUP = CRASH_GROUP,
	MIB = 1 << 20,
	IN_FLIGHT = 6,
	LENGTH_MAX = 24, /* sectors of a request */
};

/* An image whose writes are cut. */
struct kind {
	const char *name;
	enum vhd_format format;
	enum vhd_type type;
	bool resize;
	/* The first block whose entry is behind a table of 1 MiB with blocks of 1 MiB: groups
	 * lie on both sides of it. 0: groups lie one behind the other. */
	uint32_t far;
};

struct slot {
	struct vhd_request request;
	struct iovec iov;
	struct test *test;
	uint32_t buf[LENGTH_MAX * SECTOR / 4];
	bool busy;
	unsigned covered[SECTORS]; /* flush: versions done when it was submitted */
};

struct test {
	unsigned seed;
	const struct kind *kind;
	struct image_file file; /* where it is made; the parent stays there */
	char parent[96];
	struct crash_file live, cut;
	struct crash_log log;
	struct vhd_io *pending[IN_FLIGHT];
	int pending_count;
	struct slot slot[IN_FLIGHT];
	struct crash_model model;
	uint32_t next_value;
	long points;
};

void crash_fail(const struct test *t, const char *what, int point) __attribute__((noreturn));
unsigned crash_random(unsigned limit); /* below it */

/* For vhd_open() of the file that @io reaches. */
void crash_options(struct test *t, struct vhd_open_options *options, const struct vhd_io_ops *io,
		   uint32_t flags);

/* A parent's file is none that is cut. */
static inline bool crash_is_parent(const struct vhd_io *io)
{
	return io->file->index > 0;
}

/* crash-work.c: opens t->live, lets requests run on it, in any order, and now and then a
 * resize, and closes it: all that is in t->log then, and in t->model. */
void crash_work(struct test *t, int requests);

/* crash-cut.c: what may be left of t->live at each point of the log, @subsets times by
 * chance, is made in t->cut and looked at. */
void crash_cut(struct test *t, int subsets);

#endif
