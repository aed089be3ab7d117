/* SPDX-License-Identifier: MIT */
/* A ring of its own, in which every write is finished when the submission returns.
 *
 * An entry costs no less than a call (Linux 6.18, frames of 64 bytes that the kernel throws away: writev()
 * 0.77 us, an entry 0.87). But a kernel that does not preempt itself finishes the batch before it
 * lets those run whom its frames wake: the receiver is woken for all of them, not for each. */
#include <limits.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>

#include "tap-batch.h"

#define BATCH 64u

/* A device with a limit for what is under way would let a frame wait in the ring, and others
 * pass it. Without one, no write has to wait. */
static bool never_full(int fd)
{
	int room;

	return ioctl(fd, TUNGETSNDBUF, &room) == 0 && room == INT_MAX;
}

void vsp_tap_batch_open(struct vsp_tap_batch *batch, int fd)
{
	batch->fd = fd;
	batch->works = never_full(fd) && io_uring_queue_init(BATCH, &batch->ring, 0) == 0;
}

void vsp_tap_batch_close(struct vsp_tap_batch *batch)
{
	if (batch->works)
		io_uring_queue_exit(&batch->ring);
	batch->works = false;
}

static void entry_add(struct vsp_tap_batch *batch, struct vsp_nic_frame *frame)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&batch->ring); /* the ring is empty */

	io_uring_prep_writev(sqe, batch->fd, frame->iov, frame->iov_count, 0);
	io_uring_sqe_set_data(sqe, frame);
}

static void results_take(struct vsp_tap_batch *batch)
{
	struct io_uring_cqe *cqe;
	unsigned int head, n = 0;

	io_uring_for_each_cqe(&batch->ring, head, cqe) {
		struct vsp_nic_frame *frame = io_uring_cqe_get_data(cqe);

		frame->result = cqe->res < 0 ? cqe->res : 0;
		n++;
	}
	io_uring_cq_advance(&batch->ring, n);
}

unsigned int vsp_tap_batch_write(struct vsp_tap_batch *batch, struct vsp_nic_frame *frames,
				 unsigned int count)
{
	unsigned int done = 0;

	while (batch->works && done < count) {
		unsigned int n = count - done < BATCH ? count - done : BATCH;
		int ret;

		for (unsigned int i = 0; i < n; i++)
			entry_add(batch, &frames[done + i]);
		ret = io_uring_submit_and_wait(&batch->ring, n);
		results_take(batch);
		if (ret > 0)
			done += (unsigned int)ret;
		if (ret != (int)n)
			vsp_tap_batch_close(batch); /* the kernel is out of memory */
	}
	return done;
}
