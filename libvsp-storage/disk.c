/* SPDX-License-Identifier: MIT */
/* Counted disks. */
#include <errno.h>
#include <stdlib.h>

#include "storage-private.h"

int vsp_disk_new(const struct vsp_block_ops *ops, void *disk, struct vsp_disk **out)
{
	struct vsp_block_info info;
	struct vsp_disk *d;

	if (ops->size < sizeof(*ops) || !ops->get_info || !ops->queue_new || !ops->queue_free ||
	    !ops->submit || !ops->close || ops->request_size > VSP_BLOCK_REQUEST_MAX)
		return -EINVAL;
	ops->get_info(disk, &info);
	if (info.logical_sector == 0 || info.size < info.logical_sector)
		return -EINVAL;
	d = malloc(sizeof(*d));
	if (!d)
		return -ENOMEM;
	atomic_init(&d->refs, 1);
	d->ops = ops;
	d->disk = disk;
	*out = d;
	return 0;
}

struct vsp_disk *vsp_disk_ref(struct vsp_disk *disk)
{
	atomic_fetch_add(&disk->refs, 1);
	return disk;
}

void vsp_disk_unref(struct vsp_disk *disk)
{
	if (!disk || atomic_fetch_sub(&disk->refs, 1) != 1)
		return;
	disk->ops->close(disk->disk);
	free(disk);
}

void vsp_disk_get_info(const struct vsp_disk *disk, struct vsp_block_info *info)
{
	disk->ops->get_info(disk->disk, info);
}
