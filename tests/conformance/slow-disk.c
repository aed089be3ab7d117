/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "slow-disk.h"

static void slow_get_info(void *opaque, struct vsp_block_info *info)
{
	(void)opaque;
	*info = (struct vsp_block_info){
		.size = SLOW_DISK_SIZE,
		.logical_sector = 512,
		.physical_sector = 4096,
		.can_unmap = true,
		.unmap_zeroes = true,
		.unmap_granularity = 4096,
		.id = {0x51, 0x0e},
	};
}

static int slow_queue_new(void *opaque, struct vmbus_loop *loop, void **queue)
{
	struct slow_disk *disk = opaque;

	(void)loop;
	disk->queues++;
	*queue = disk;
	return 0;
}

static void slow_queue_free(void *queue)
{
	((struct slow_disk *)queue)->queues--;
}

static void request_carry_out(struct slow_disk *disk, const struct vsp_block_request *request)
{
	uint8_t *at = disk->data + request->offset;

	if (request->op == VSP_BLOCK_UNMAP || request->op == VSP_BLOCK_ZERO)
		memset(at, 0, request->len);
	for (unsigned int i = 0; i < request->iov_count; i++) {
		if (request->op == VSP_BLOCK_READ)
			memcpy(request->iov[i].iov_base, at, request->iov[i].iov_len);
		else
			memcpy(at, request->iov[i].iov_base, request->iov[i].iov_len);
		at += request->iov[i].iov_len;
	}
}

/* What fails has done nothing. */
static int request_finish(struct slow_disk *disk, const struct vsp_block_request *request)
{
	if (vmbus_inproc_random(disk->bus, 256) < disk->failures) {
		disk->failed++;
		return -EIO;
	}
	request_carry_out(disk, request);
	disk->finished++;
	return 0;
}

static int slow_submit(void *queue, struct vsp_block_request *request)
{
	struct slow_disk *disk = queue;

	if (request->op != VSP_BLOCK_FLUSH &&
	    (request->offset > SLOW_DISK_SIZE || request->len > SLOW_DISK_SIZE - request->offset)) {
		vmbus_inproc_fail(disk->bus, "disk: %llu bytes at %llu",
				  (unsigned long long)request->len,
				  (unsigned long long)request->offset);
		return -EINVAL;
	}
	if (disk->held_count == SLOW_DISK_HELD ||
	    vmbus_inproc_random(disk->bus, 256) < disk->immediate)
		return request_finish(disk, request);
	disk->held[disk->held_count++] = request;
	return -EINPROGRESS;
}

bool slow_disk_step(struct slow_disk *disk)
{
	struct vsp_block_request *request;
	uint32_t i;

	if (!disk->held_count)
		return false;
	i = vmbus_inproc_random(disk->bus, disk->held_count);
	request = disk->held[i];
	disk->held[i] = disk->held[--disk->held_count];
	request->done(request, request_finish(disk, request));
	return true;
}

static void slow_close(void *opaque)
{
	struct slow_disk *disk = opaque;

	if (disk->held_count || disk->queues)
		vmbus_inproc_fail(disk->bus, "disk: closed with %u requests and %u queues",
				  disk->held_count, disk->queues);
	free(disk->data);
	disk->closed = true;
}

struct vsp_disk *slow_disk_new(struct slow_disk *disk, struct vmbus_inproc *bus)
{
	static const struct vsp_block_ops ops = {
		.size = sizeof(ops),
		.get_info = slow_get_info,
		.queue_new = slow_queue_new,
		.queue_free = slow_queue_free,
		.submit = slow_submit,
		.close = slow_close,
	};
	struct vsp_disk *result;

	memset(disk, 0, sizeof(*disk));
	disk->bus = bus;
	disk->data = calloc(1, SLOW_DISK_SIZE);
	if (!disk->data || vsp_disk_new(&ops, disk, &result)) {
		free(disk->data);
		return NULL;
	}
	return result;
}
