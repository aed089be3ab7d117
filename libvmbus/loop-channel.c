/* SPDX-License-Identifier: MIT */
/* The channels a loop serves: doorbells, service, arming before sleep. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "loop-priv.h"

struct attached {
	struct vmbus_task task; /* first: attaching goes through the loop's thread */
	struct vmbus_loop *loop;
	struct vmbus_channel *channel;
	LIST_ENTRY(attached) link;
	bool polled; /* the doorbell's poll is in the ring */
	bool rung;
	bool more; /* service said there is more to do at once */
	bool gone; /* closed: freed with the last completion of its poll */
	bool cancelled;
};

/* The doorbell is not read: see loop-event.c. The kernel holds the file from the
 * submission on. Should the server have closed the fd before that, another file is polled
 * until we cancel: it rings in vain. */
static void doorbell_poll(struct attached *a)
{
	struct io_uring_sqe *sqe = vmbus_loop_sqe(a->loop);

	if (!sqe)
		return;
	io_uring_prep_poll_multishot(sqe, vmbus_channel_doorbell(a->channel), POLLIN);
	io_uring_sqe_set_data64(sqe, loop_user_data(a, LOOP_TAG_CHANNEL));
	a->polled = true;
}

static void channel_attach(struct vmbus_task *task)
{
	struct attached *a = (struct attached *)task;

	LIST_INSERT_HEAD(&a->loop->channels, a, link);
	a->rung = true; /* the first service call */
	doorbell_poll(a);
}

int vmbus_loop_attach(struct vmbus_loop *loop, struct vmbus_channel *channel)
{
	struct attached *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	a->task.fn = channel_attach;
	a->loop = loop;
	a->channel = channel;
	vmbus_loop_post(loop, &a->task);
	return 0;
}

bool vmbus_loop_serves(const struct vmbus_loop *loop, const struct vmbus_channel *channel)
{
	const struct attached *a;

	LIST_FOREACH(a, &loop->channels, link)
		if (a->channel == channel && !a->gone)
			return true;
	return false;
}

static void channel_free(struct attached *a)
{
	LIST_REMOVE(a, link);
	free(a);
}

void vmbus_loop_drop_channels(struct vmbus_loop *loop)
{
	while (!LIST_EMPTY(&loop->channels))
		channel_free(LIST_FIRST(&loop->channels));
}

/* Closed: the last completion of the doorbell's poll is waited for. */
static void channel_detach(struct attached *a)
{
	struct io_uring_sqe *sqe;

	a->gone = true;
	if (!a->polled) {
		channel_free(a);
		return;
	}
	sqe = a->cancelled ? NULL : vmbus_loop_sqe(a->loop);
	if (!sqe)
		return; /* out of kernel memory: again in the next round */
	loop_cancel_poll(sqe, loop_user_data(a, LOOP_TAG_CHANNEL));
	a->cancelled = true;
}

void vmbus_loop_channel_event(struct vmbus_loop *loop, struct attached *a, int32_t res,
			      uint32_t flags)
{
	bool last = !(flags & IORING_CQE_F_MORE);

	(void)loop;
	a->rung = true;
	if (last)
		a->polled = false;
	if (a->gone && last)
		channel_free(a);
	else if (!a->gone && last && res >= 0)
		doorbell_poll(a);
}

static bool channel_due(const struct attached *a)
{
	return !a->gone && (a->rung || a->more || vmbus_channel_pending(a->channel));
}

int vmbus_loop_serve(struct vmbus_loop *loop, bool all)
{
	struct attached *a, *next;
	int r, done = 0;

	for (a = LIST_FIRST(&loop->channels); a; a = next) {
		bool due = channel_due(a);

		next = LIST_NEXT(a, link);
		if (a->gone) {
			channel_detach(a);
			continue;
		}
		if (!due && !all)
			continue;
		a->rung = false;
		r = vmbus_channel_service(a->channel, loop->budget);
		a->more = r > 0;
		done += due;
		if (r == -ESHUTDOWN)
			channel_detach(a);
		else
			loop->eager |= vmbus_channel_eager(a->channel);
	}
	return done;
}

bool vmbus_loop_channels_pending(const struct vmbus_loop *loop)
{
	const struct attached *a;

	LIST_FOREACH(a, &loop->channels, link)
		if (channel_due(a))
			return true;
	return false;
}

bool vmbus_loop_arm_channels(struct vmbus_loop *loop)
{
	struct attached *a;
	bool came = false;

	LIST_FOREACH(a, &loop->channels, link)
		if (!a->gone && (a->more || vmbus_channel_arm(a->channel)))
			came = true;
	return came;
}
