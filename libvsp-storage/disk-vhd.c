/* SPDX-License-Identifier: MIT */
/* The adapter between libvhd and the block seam: an image's requests in, its file I/O out
 * to the loop of the serving thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <uuid/uuid.h>

#include <vhd/vhd.h>

#include "storage-private.h"

struct image_disk {
	struct vhd_image *image;
	uint8_t id[16];
};

struct image_queue {
	struct vhd_queue *queue;
	struct vmbus_loop *loop;
	struct vmbus_file files[]; /* what the loop knows of each file, by its index */
};

/* A request's own part. */
struct image_request {
	struct vhd_request vhd;
	struct vmbus_io io;
	struct vmbus_loop *loop;
	struct vhd_io *waiting;
};
_Static_assert(sizeof(struct image_request) <= VSP_BLOCK_REQUEST_MAX, "see vsp/block.h");

/* -- File I/O: libvhd to the loop ----------------------------------------- */

/* An I/O that was interrupted is begun again. */
static int io_start(struct image_request *r)
{
	int64_t result;

	do {
		result = vmbus_loop_submit(r->loop, &r->io);
	} while (result == -EINTR);
	return (int)result;
}

static void io_done(struct vmbus_io *io, int64_t result)
{
	struct image_request *r =
		(struct image_request *)((char *)io - offsetof(struct image_request, io));
	int ret = result == -EINTR ? io_start(r) : (int)result;

	if (ret != -EINPROGRESS)
		r->waiting->done(r->waiting, ret);
}

static int io_submit(void *opaque, struct vhd_io *vio)
{
	static const enum vmbus_io_op ops[] = {
		[VHD_IO_READ] = VMBUS_IO_READ,
		[VHD_IO_WRITE] = VMBUS_IO_WRITE,
		[VHD_IO_DATASYNC] = VMBUS_IO_DATASYNC,
		[VHD_IO_PUNCH] = VMBUS_IO_DISCARD,
	};
	struct image_queue *q = opaque;
	/* libvhd's one I/O at a time lies in the request that it works for */
	struct image_request *r =
		(struct image_request *)((char *)vio - offsetof(struct image_request, vhd.io));

	r->waiting = vio;
	r->io = (struct vmbus_io){
		.op = ops[vio->op],
		.file = &q->files[vio->file->index],
		.iov = vio->iov,
		.iov_count = (unsigned int)vio->niov,
		.offset = vio->offset,
		.len = vio->length,
		.done = io_done,
	};
	r->loop = q->loop;
	return io_start(r);
}

static const struct vhd_io_ops loop_io = {.size = sizeof(loop_io), .submit = io_submit};

/* -- Requests: the block seam to libvhd ----------------------------------- */

static void image_done(struct vhd_request *vhd, int result)
{
	struct vsp_block_request *block = vhd->user;

	block->done(block, result);
}

static int image_submit(void *queue, struct vsp_block_request *block)
{
	static const enum vhd_op ops[] = {
		[VSP_BLOCK_READ] = VHD_OP_READ,     [VSP_BLOCK_WRITE] = VHD_OP_WRITE,
		[VSP_BLOCK_FLUSH] = VHD_OP_FLUSH,   [VSP_BLOCK_UNMAP] = VHD_OP_DISCARD,
		[VSP_BLOCK_ZERO] = VHD_OP_WRITE_ZEROES,
	};
	struct image_queue *q = queue;
	struct image_request *r = block->disk_data;

	r->vhd.op = ops[block->op];
	r->vhd.iov = block->iov;
	r->vhd.niov = (int)block->iov_count;
	r->vhd.offset = block->offset;
	r->vhd.length = block->len;
	r->vhd.done = image_done;
	r->vhd.user = block;
	return vhd_submit(q->queue, &r->vhd);
}

static int image_queue_new(void *disk, struct vmbus_loop *loop, void **queue)
{
	struct vhd_image *image = ((struct image_disk *)disk)->image;
	uint32_t count = vhd_get_file_count(image);
	struct image_queue *q;
	int ret;

	if (!loop)
		return -EINVAL;
	q = calloc(1, sizeof(*q) + count * sizeof(q->files[0]));
	if (!q)
		return -ENOMEM;
	q->loop = loop;
	for (uint32_t i = 0; i < count; i++)
		q->files[i].fd = vhd_get_file(image, i)->fd;
	ret = vhd_queue_new(image, &loop_io, q, &q->queue);
	if (ret) {
		free(q);
		return ret;
	}
	*queue = q;
	return 0;
}

static void image_queue_free(void *queue)
{
	struct image_queue *q = queue;

	vhd_queue_free(q->queue);
	free(q);
}

/* -- The disk ------------------------------------------------------------- */

static void image_get_info(void *disk, struct vsp_block_info *info)
{
	const struct image_disk *d = disk;
	struct vhd_info v = VHD_INFO_INIT;

	(void)vhd_get_info(d->image, &v);
	*info = (struct vsp_block_info){
		.size = v.virtual_size,
		.logical_sector = v.logical_sector_size,
		.physical_sector = v.physical_sector_size,
		.read_only = v.read_only,
		.can_unmap = v.can_discard,
		.unmap_zeroes = v.can_discard,
		.unmap_granularity = v.discard_granularity,
	};
	memcpy(info->id, d->id, sizeof(info->id));
}

static void image_close(void *disk)
{
	struct image_disk *d = disk;

	(void)vhd_close(d->image);
	free(d);
}

static const struct vsp_block_ops image_ops = {
	.size = sizeof(image_ops),
	.request_size = sizeof(struct image_request),
	.get_info = image_get_info,
	.queue_new = image_queue_new,
	.queue_free = image_queue_free,
	.submit = image_submit,
	.close = image_close,
};

/* Raw files have no identity: one made of the path stays the same. */
static void disk_identify(struct image_disk *d, const char *path)
{
	static const uint8_t none[16];
	struct vhd_info v = VHD_INFO_INIT;
	char *real;

	(void)vhd_get_info(d->image, &v);
	memcpy(d->id, v.id, sizeof(d->id));
	if (memcmp(d->id, none, sizeof(none)) != 0)
		return;
	real = realpath(path, NULL);
	if (real)
		path = real;
	uuid_generate_sha1(d->id, *uuid_get_template("url"), path, strlen(path));
	free(real);
}

static int format_parse(const char *name, enum vhd_format *format)
{
	static const enum vhd_format formats[] = {VHD_FORMAT_RAW, VHD_FORMAT_VHD, VHD_FORMAT_VHDX};

	*format = VHD_FORMAT_AUTO;
	if (strcmp(name, "auto") == 0)
		return 0;
	for (unsigned int i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		*format = formats[i];
		if (strcmp(name, vhd_format_name(formats[i])) == 0)
			return 0;
	}
	return -EINVAL;
}

int vsp_disk_open(const char *path, const struct vsp_disk_options *options, struct vsp_disk **disk,
		  struct vmbus_error *err)
{
	struct vsp_disk_options none = VSP_DISK_OPTIONS_INIT;
	struct vhd_open_options open = VHD_OPEN_OPTIONS_INIT;
	struct vhd_error vhd_err = {0};
	struct image_disk *d;
	int ret;

	if (!options)
		options = &none;
	if (options->size < sizeof(*options))
		return vmbus_error_set(err, -EINVAL, "%s: options of another version", path);
	if (format_parse(options->format, &open.format))
		return vmbus_error_set(err, -EINVAL,
				       "%s: unknown format '%s' (auto, raw, vhd, vhdx)",
				       path, options->format);
	if (options->read_only)
		open.flags |= VHD_OPEN_READ_ONLY;
	open.parent_directory = options->parent_directory;
	d = calloc(1, sizeof(*d));
	if (!d)
		return vmbus_error_set(err, -ENOMEM, "%s: out of memory", path);
	ret = vhd_open(path, &open, &d->image, &vhd_err);
	if (ret) {
		free(d);
		/* a fault of the file is not one of the bus */
		return vmbus_error_set(err, ret < 0 ? ret : -EINVAL, "%s", vhd_err.text);
	}
	disk_identify(d, path);
	ret = vsp_disk_new(&image_ops, d, disk);
	if (ret) {
		image_close(d);
		return vmbus_error_set(err, ret, "%s: cannot be used as a disk", path);
	}
	return 0;
}

int vsp_disk_resize(struct vsp_disk *disk, uint64_t size, struct vmbus_error *err)
{
	struct vhd_error vhd_err = {0};
	int ret;

	if (disk->ops != &image_ops)
		return vmbus_error_set(err, -ENOTSUP, "this disk is no image");
	ret = vhd_resize(((struct image_disk *)disk->disk)->image, size, 0, &vhd_err);
	return ret ? vmbus_error_set(err, ret < 0 ? ret : -EINVAL, "%s", vhd_err.text) : 0;
}
