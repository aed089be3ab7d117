/* SPDX-License-Identifier: MIT */
/* Several frames to a tap in one system call. */
#ifndef TAP_BATCH_H
#define TAP_BATCH_H

#include <liburing.h>
#include <stdbool.h>

#include <vsp/nic.h>

struct vsp_tap_batch {
	struct io_uring ring;
	int fd;
	bool works;
};

/* In the thread that will write. Where there is no ring to have, or the device may be full,
 * batch->works is false: then frames are written one by one. */
void vsp_tap_batch_open(struct vsp_tap_batch *batch, int fd);
void vsp_tap_batch_close(struct vsp_tap_batch *batch);

/* Writes frames in order, none is in flight afterwards. Returns how many it is done with; fewer
 * than @count: batch->works is false from now on. */
unsigned int vsp_tap_batch_write(struct vsp_tap_batch *batch, struct vsp_nic_frame *frames,
				 unsigned int count);
#endif
