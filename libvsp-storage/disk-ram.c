/* SPDX-License-Identifier: MIT */
/* A disk in memory. Every request is finished at once. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <vmbus/guid.h>
#include <vsp/block.h>

#define RAM_PAGE 4096u
#define RAM_GIVE_BACK (64u << 10)

struct ram_disk {
	uint8_t *data;
	uint64_t size;
	struct vmbus_guid id;
};

static void ram_get_info(void *disk, struct vsp_block_info *info)
{
	const struct ram_disk *ram = disk;

	*info = (struct vsp_block_info){
		.size = ram->size,
		.logical_sector = 512,
		.physical_sector = 4096,
		.can_unmap = true,
		.unmap_zeroes = true,
		.unmap_granularity = 4096,
	};
	memcpy(info->id, ram->id.b, sizeof(info->id));
}

static int ram_queue_new(void *disk, struct vmbus_loop *loop, void **queue)
{
	(void)loop;
	*queue = disk;
	return 0;
}

static void ram_queue_free(void *queue)
{
	(void)queue;
}

static void ram_copy(uint8_t *at, const struct vsp_block_request *r)
{
	for (unsigned int i = 0; i < r->iov_count; i++) {
		if (r->op == VSP_BLOCK_READ)
			memcpy(r->iov[i].iov_base, at, r->iov[i].iov_len);
		else
			memcpy(at, r->iov[i].iov_base, r->iov[i].iov_len);
		at += r->iov[i].iov_len;
	}
}

/* Large ranges are given back to the system: they read as zeros, and cost nothing again. */
static void ram_zero(uint8_t *at, uint64_t len)
{
	uint64_t head = -(uintptr_t)at % RAM_PAGE, middle;

	if (len < RAM_GIVE_BACK) {
		memset(at, 0, len);
		return;
	}
	middle = (len - head) & ~(uint64_t)(RAM_PAGE - 1);
	memset(at, 0, head);
	if (madvise(at + head, middle, MADV_DONTNEED))
		memset(at + head, 0, middle);
	memset(at + head + middle, 0, len - head - middle);
}

static int ram_submit(void *queue, struct vsp_block_request *r)
{
	const struct ram_disk *ram = queue;

	if (r->op == VSP_BLOCK_FLUSH)
		return 0;
	if (r->offset > ram->size || r->len > ram->size - r->offset)
		return -EINVAL;
	if (r->op == VSP_BLOCK_READ || r->op == VSP_BLOCK_WRITE)
		ram_copy(ram->data + r->offset, r);
	else
		ram_zero(ram->data + r->offset, r->len);
	return 0;
}

static void ram_close(void *disk)
{
	struct ram_disk *ram = disk;

	munmap(ram->data, ram->size);
	free(ram);
}

static const struct vsp_block_ops ram_ops = {
	.size = sizeof(ram_ops),
	.get_info = ram_get_info,
	.queue_new = ram_queue_new,
	.queue_free = ram_queue_free,
	.submit = ram_submit,
	.close = ram_close,
};

int vsp_disk_ram(uint64_t size, struct vsp_disk **disk)
{
	struct ram_disk *ram;
	int ret;

	if (size == 0 || size % 512)
		return -EINVAL;
	ram = malloc(sizeof(*ram));
	if (!ram)
		return -ENOMEM;
	ram->size = size;
	ram->id = vmbus_guid_random();
	ram->data = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ram->data == MAP_FAILED) {
		free(ram);
		return -ENOMEM;
	}
	ret = vsp_disk_new(&ram_ops, ram, disk);
	if (ret)
		ram_close(ram);
	return ret;
}
