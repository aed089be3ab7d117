/* SPDX-License-Identifier: MIT */
/* Tasks posted by several threads at once: each is run exactly once, in the loop's
 * thread, in the order of its own thread. A plain program, for TSan. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <vmbus/loop.h>

#define POSTERS 4
#define TASKS 20000

struct posted {
	struct vmbus_task task;
	int poster, number;
};

static struct vmbus_loop *loop;
static pthread_t loop_thread;
static int next_number[POSTERS], finished, failed;

static void posted_run(struct vmbus_task *task)
{
	struct posted *p = (struct posted *)task;

	failed |= !pthread_equal(pthread_self(), loop_thread);
	failed |= p->number != next_number[p->poster]++;
	if (p->number == TASKS - 1 && ++finished == POSTERS)
		vmbus_loop_stop(loop);
	free(p);
}

static void *poster_run(void *arg)
{
	int poster = (int)(intptr_t)arg;

	for (int i = 0; i < TASKS; i++) {
		struct posted *p = calloc(1, sizeof(*p));

		if (!p)
			abort();
		p->task.fn = posted_run;
		p->poster = poster;
		p->number = i;
		vmbus_loop_post(loop, &p->task);
	}
	return NULL;
}

/* No channel is attached here: the loop's own sources are linked alone. */
int vmbus_channel_doorbell(const struct vmbus_channel *channel)
{
	(void)channel;
	return -1;
}

int vmbus_channel_service(struct vmbus_channel *channel, unsigned int budget)
{
	(void)channel, (void)budget;
	return 0;
}

bool vmbus_channel_pending(const struct vmbus_channel *channel)
{
	(void)channel;
	return false;
}

bool vmbus_channel_eager(struct vmbus_channel *channel)
{
	(void)channel;
	return false;
}

bool vmbus_channel_arm(struct vmbus_channel *channel)
{
	(void)channel;
	return false;
}

int main(void)
{
	pthread_t threads[POSTERS];
	struct vmbus_error err;

	loop_thread = pthread_self();
	if (vmbus_loop_new(NULL, &loop, &err)) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	for (int i = 0; i < POSTERS; i++)
		if (pthread_create(&threads[i], NULL, poster_run, (void *)(intptr_t)i))
			return 1;
	if (vmbus_loop_run(loop))
		failed = 1;
	for (int i = 0; i < POSTERS; i++)
		pthread_join(threads[i], NULL);
	vmbus_loop_free(loop);
	return failed;
}
