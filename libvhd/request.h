/* SPDX-License-Identifier: MIT */
/* How a request goes on: what each kind does until an I/O is not finished at once, and what
 * it makes of an I/O's result. */
#ifndef LIBVHD_REQUEST_H
#define LIBVHD_REQUEST_H

#include "queue.h"

/* Starts the I/O at r->io: its result, or -EINPROGRESS. */
int vhd_request_io(struct vhd_request *r);

/* @length bytes more of the range were written where r->at.part says that matters. */
void vhd_request_written(const struct vhd_request *r, uint64_t length);

/* Each from r->position on: 0, -errno or -EINPROGRESS. */
int vhd_zero_run(struct vhd_request *r);
/* 0: the request goes on with vhd_zero_run(). -errno. */
int vhd_zero_result(struct vhd_request *r, int result);

/* The step that a flush begins with, and what vhd_flush_result() says when it goes on with
 * vhd_flush_run(). */
enum { FLUSH_BEGIN = 0, FLUSH_AGAIN = 1 };
int vhd_flush_run(struct vhd_request *r);
/* 0: the flush is done. FLUSH_AGAIN; -errno. */
int vhd_flush_result(struct vhd_request *r, int result);

#endif
