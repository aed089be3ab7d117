/* SPDX-License-Identifier: MIT */
/* A nic that writes down what passes through another. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <vsp/nic.h>

#define PCAP_NANOSECONDS 0xa1b23c4du
#define PCAP_ETHERNET 1u

struct pcap_header {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t zone, accuracy, longest, link_type;
};

struct pcap_record {
	uint32_t seconds, nanoseconds, captured, len;
};

struct filter {
	struct vsp_nic nic;
	struct vsp_nic *inner;
	pthread_mutex_t lock; /* of the file */
	FILE *file;
};

struct queue {
	struct vsp_nic_queue queue;
	struct filter *filter;
	struct vsp_nic_queue *inner;
};

/* A full disk ends the file, not the network. */
static void frame_write(struct filter *filter, const struct vsp_nic_frame *frame)
{
	uint32_t left = frame->len;
	struct pcap_record record;
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	record = (struct pcap_record){(uint32_t)now.tv_sec, (uint32_t)now.tv_nsec, left, left};
	pthread_mutex_lock(&filter->lock);
	if (!ferror(filter->file))
		(void)fwrite(&record, sizeof(record), 1, filter->file);
	for (unsigned int i = 1; i < frame->iov_count && left && !ferror(filter->file); i++) {
		size_t len = frame->iov[i].iov_len < left ? frame->iov[i].iov_len : left;

		(void)fwrite(frame->iov[i].iov_base, 1, len, filter->file);
		left -= (uint32_t)len;
	}
	pthread_mutex_unlock(&filter->lock);
}

/* One at a time: a frame that was refused is not written, and those written are in order. */
static unsigned int nic_send(struct vsp_nic_queue *queue, struct vsp_nic_frame *frames,
			     unsigned int count)
{
	struct queue *q = (struct queue *)queue;
	unsigned int n = 0;

	for (; n < count; n++) {
		if (q->inner->nic->ops->send(q->inner, &frames[n], 1) != 1)
			break;
		if (!frames[n].result)
			frame_write(q->filter, &frames[n]);
	}
	return n;
}

static unsigned int nic_receive(struct vsp_nic_queue *queue, struct vsp_nic_frame *frames,
				unsigned int count)
{
	struct queue *q = (struct queue *)queue;
	unsigned int n = q->inner->nic->ops->receive(q->inner, frames, count);

	for (unsigned int i = 0; i < n; i++)
		frame_write(q->filter, &frames[i]);
	return n;
}

static int nic_queue_new(struct vsp_nic *nic, uint32_t index, struct vmbus_loop *loop,
			 const struct vsp_nic_events *events, void *opaque, struct vsp_nic_queue **out)
{
	struct filter *filter = (struct filter *)nic;
	struct queue *q = calloc(1, sizeof(*q));
	int ret;

	if (!q)
		return -ENOMEM;
	q->queue.nic = nic;
	q->filter = filter;
	ret = filter->inner->ops->queue_new(filter->inner, index, loop, events, opaque, &q->inner);
	if (ret) {
		free(q);
		return ret;
	}
	*out = &q->queue;
	return 0;
}

static void nic_queue_free(struct vsp_nic_queue *queue)
{
	struct queue *q = (struct queue *)queue;

	q->inner->nic->ops->queue_free(q->inner);
	free(q);
}

static void nic_get_info(struct vsp_nic *nic, struct vsp_nic_info *info)
{
	struct vsp_nic *inner = ((struct filter *)nic)->inner;

	inner->ops->get_info(inner, info);
}

static int nic_set_offloads(struct vsp_nic *nic, uint32_t offloads)
{
	struct vsp_nic *inner = ((struct filter *)nic)->inner;

	return inner->ops->set_offloads(inner, offloads);
}

static void nic_watch_link(struct vsp_nic *nic, void (*changed)(void *opaque), void *opaque)
{
	struct vsp_nic *inner = ((struct filter *)nic)->inner;

	inner->ops->watch_link(inner, changed, opaque);
}

static void nic_close(struct vsp_nic *nic)
{
	struct filter *filter = (struct filter *)nic;

	filter->inner->ops->close(filter->inner);
	(void)fclose(filter->file);
	pthread_mutex_destroy(&filter->lock);
	free(filter);
}

static const struct vsp_nic_ops pcap_ops = {
	.size = sizeof(pcap_ops),
	.get_info = nic_get_info,
	.queue_new = nic_queue_new,
	.queue_free = nic_queue_free,
	.send = nic_send,
	.receive = nic_receive,
	.set_offloads = nic_set_offloads,
	.watch_link = nic_watch_link,
	.close = nic_close,
};

int vsp_nic_pcap(struct vsp_nic *inner, const char *path, struct vsp_nic **nic, struct vmbus_error *err)
{
	const struct pcap_header header = {
		.magic = PCAP_NANOSECONDS, .major = 2, .minor = 4, .longest = 1u << 18,
		.link_type = PCAP_ETHERNET};
	struct filter *filter = calloc(1, sizeof(*filter));
	int ret;

	if (!filter)
		return -ENOMEM;
	filter->nic.ops = &pcap_ops;
	filter->inner = inner;
	filter->file = fopen(path, "we");
	if (!filter->file || fwrite(&header, sizeof(header), 1, filter->file) != 1 || fflush(filter->file)) {
		ret = vmbus_error_set(err, -errno, "%s: %s", path, strerror(errno));
		if (filter->file)
			(void)fclose(filter->file);
		free(filter);
		return ret;
	}
	pthread_mutex_init(&filter->lock, NULL);
	*nic = &filter->nic;
	return 0;
}
