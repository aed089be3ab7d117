/* SPDX-License-Identifier: MIT */
/* A disk of the VMM's own, vsp/block.h: each queue has a thread that does the I/O; the loop that
 * asked is told by a task. Nothing is allocated for a request: what it needs is its own part. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "own.h"

struct disk {
	int fd;
	uint64_t size;
};

struct job { /* a request's own part */
	struct vmbus_task task; /* first */
	struct vsp_block_request *request;
	struct job *next;
	int result;
};

struct queue {
	const struct disk *disk;
	struct vmbus_loop *loop;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct job *first, **last;
	bool stop;
};

/* -- In the queue's thread ------------------------------------------------ */

static int job_run(const struct disk *disk, const struct vsp_block_request *r)
{
	off_t at = (off_t)r->offset;
	ssize_t n;

	switch (r->op) {
	case VSP_BLOCK_READ:
		n = preadv(disk->fd, r->iov, (int)r->iov_count, at);
		break;
	case VSP_BLOCK_WRITE:
		n = pwritev(disk->fd, r->iov, (int)r->iov_count, at);
		break;
	case VSP_BLOCK_FLUSH:
		return fdatasync(disk->fd) ? -errno : 0;
	default: /* can_unmap is false; zeros are written instead */
		return -EOPNOTSUPP;
	}
	if (n < 0)
		return -errno;
	return (uint64_t)n == r->len ? 0 : -EIO;
}

static struct job *job_wait(struct queue *q)
{
	struct job *job;

	pthread_mutex_lock(&q->lock);
	while (!q->first && !q->stop)
		pthread_cond_wait(&q->more, &q->lock);
	job = q->first;
	if (job && !(q->first = job->next))
		q->last = &q->first;
	pthread_mutex_unlock(&q->lock);
	return job;
}

static void *queue_thread(void *arg)
{
	struct queue *q = arg;
	struct job *job;

	while ((job = job_wait(q))) {
		job->result = job_run(q->disk, job->request);
		vmbus_loop_post(q->loop, &job->task);
	}
	return NULL;
}

/* -- In the loop's -------------------------------------------------------- */

static void job_done(struct vmbus_task *task)
{
	struct job *job = (struct job *)task;

	job->request->done(job->request, job->result);
}

static int queue_submit(void *queue, struct vsp_block_request *request)
{
	struct queue *q = queue;
	struct job *job = request->disk_data;

	*job = (struct job){.task.fn = job_done, .request = request};
	pthread_mutex_lock(&q->lock);
	*q->last = job;
	q->last = &job->next;
	pthread_cond_signal(&q->more);
	pthread_mutex_unlock(&q->lock);
	return -EINPROGRESS;
}

static int queue_new(void *disk, struct vmbus_loop *loop, void **queue)
{
	struct queue *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	q->disk = disk;
	q->loop = loop;
	q->last = &q->first;
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->more, NULL);
	if (pthread_create(&q->thread, NULL, queue_thread, q)) {
		free(q);
		return -EAGAIN;
	}
	*queue = q;
	return 0;
}

static void queue_free(void *queue)
{
	struct queue *q = queue;

	pthread_mutex_lock(&q->lock);
	q->stop = true;
	pthread_cond_signal(&q->more);
	pthread_mutex_unlock(&q->lock);
	pthread_join(q->thread, NULL);
	free(q);
}

/* -- The disk ------------------------------------------------------------- */

static void disk_get_info(void *disk, struct vsp_block_info *info)
{
	*info = (struct vsp_block_info){
		.size = ((struct disk *)disk)->size,
		.logical_sector = 512,
		.physical_sector = 4096,
		.id = "a VMM's own disk",
	};
}

static void disk_close(void *disk)
{
	close(((struct disk *)disk)->fd);
	free(disk);
}

int own_disk(const char *path, struct vsp_disk **out)
{
	static const struct vsp_block_ops ops = {
		.size = sizeof(ops), .request_size = sizeof(struct job), .get_info = disk_get_info,
		.queue_new = queue_new, .queue_free = queue_free, .submit = queue_submit,
		.close = disk_close,
	};
	struct disk *disk = calloc(1, sizeof(*disk));
	struct stat st;
	int ret;

	if (!disk)
		return -ENOMEM;
	disk->fd = open(path, O_RDWR | O_CLOEXEC);
	ret = disk->fd < 0 || fstat(disk->fd, &st) ? -errno : 0;
	if (!ret) {
		disk->size = (uint64_t)st.st_size / 512 * 512;
		ret = vsp_disk_new(&ops, disk, out);
	}
	if (ret)
		disk_close(disk);
	return ret;
}
