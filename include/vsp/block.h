/* SPDX-License-Identifier: MIT */
/* The block seam: what a disk behind a SCSI LUN has to do. Implemented here for
 * libvhd images, raw files and RAM; a VMM may bring its own.
 *
 * A disk is used by any number of queues, one a serving thread. A request is
 * answered in the thread of its queue, at once (submit returns the result) or
 * later (-EINPROGRESS, then request->done). */
#ifndef VSP_BLOCK_H
#define VSP_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <vmbus/fault.h>
#include <vmbus/loop.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VSP_API VMBUS_API

enum vsp_block_op {
	VSP_BLOCK_READ,
	VSP_BLOCK_WRITE,
	VSP_BLOCK_FLUSH, /* everything answered before it is durable */
	VSP_BLOCK_UNMAP, /* a hint, whose failure the guest does not see; but with
			  * info.unmap_zeroes the range reads as zeros afterwards, or it fails */
	VSP_BLOCK_ZERO,  /* zeros, allocated or not. -EOPNOTSUPP: they are written instead */
};

struct vsp_block_request {
	enum vsp_block_op op;
	uint64_t offset;   /* bytes, a multiple of the logical sector */
	uint64_t len;      /* bytes, likewise */
	const struct iovec *iov; /* READ, WRITE: guest pages, exactly @len bytes; any alignment */
	unsigned int iov_count;
	/* 0 or -errno: -EIO, -ENOSPC, -EROFS, ...; -ENOMEM, -EAGAIN: the guest tries again;
	 * -ESHUTDOWN: the disk is gone. Called in the queue's thread, which must serve its
	 * channels afterwards (vmbus_channel_service()), or the guest is not signalled; a
	 * vmbus_loop does so after each of its tasks, I/Os and watches. */
	void (*done)(struct vsp_block_request *request, int result);
	void *disk_data; /* ops->request_size bytes of the disk's own, 16-byte aligned */
};

struct vsp_block_info {
	uint64_t size;            /* bytes */
	uint32_t logical_sector;  /* 512 or 4096 */
	uint32_t physical_sector; /* 512 or 4096 */
	bool read_only;
	bool can_unmap;
	bool unmap_zeroes;
	uint32_t unmap_granularity; /* bytes; 0: unknown */
	uint8_t id[16];             /* unique, the same for the life of the disk; not zero */
};

#define VSP_BLOCK_REQUEST_MAX 1024u

struct vsp_block_ops {
	size_t size;         /* sizeof this struct */
	size_t request_size; /* of the disk's own part of a request, <= VSP_BLOCK_REQUEST_MAX */

	void (*get_info)(void *disk, struct vsp_block_info *info); /* any thread */

	/* A queue for the calling thread, whose loop is @loop (NULL: vsp_storage_config.loop_of
	 * gave none). Returns 0 or < 0: the guest finds the disk busy. */
	int (*queue_new)(void *disk, struct vmbus_loop *loop, void **queue);
	void (*queue_free)(void *queue); /* nothing in flight */

	/* Returns 0 or -errno when finished, or -EINPROGRESS. @request stays the
	 * caller's and lives until it is finished. Each must end: one that does not
	 * holds up the channel's close, and so the guest's unload and the VM's reset. */
	int (*submit)(void *queue, struct vsp_block_request *request);

	void (*close)(void *disk); /* no queue left. Any thread */
};

/* A disk: its ops and what they work on. Counted, so that LUNs of several guests may
 * share one. */
struct vsp_disk;

/* Takes @disk over: ops->close() is called with the last reference; @ops is borrowed until then.
 * Returns 0; -EINVAL (an op is missing, request_size too large, less than one sector); -ENOMEM:
 * @disk stays the caller's. */
VSP_API int vsp_disk_new(const struct vsp_block_ops *ops, void *disk, struct vsp_disk **out)
	VMBUS_MUST_CHECK;
VSP_API struct vsp_disk *vsp_disk_ref(struct vsp_disk *disk);
VSP_API void vsp_disk_unref(struct vsp_disk *disk);
VSP_API void vsp_disk_get_info(const struct vsp_disk *disk, struct vsp_block_info *info);

struct vsp_disk_options {
	size_t size;        /* sizeof this struct */
	const char *format; /* "auto", "raw", "vhd", ...: what libvhd knows */
	bool read_only;
	/* Parents that an image names must lie in or below it, symbolic links followed. NULL:
	 * anywhere. An image from somebody who is not trusted should get one. */
	const char *parent_directory;
};
#define VSP_DISK_OPTIONS_INIT { .size = sizeof(struct vsp_disk_options), .format = "auto" }

/* Opens an image file through libvhd (raw included). Returns 0, or < 0 with @err saying
 * what is wrong with which file. */
VSP_API int vsp_disk_open(const char *path, const struct vsp_disk_options *options,
			  struct vsp_disk **disk, struct vmbus_error *err) VMBUS_MUST_CHECK;

/* Gives a disk of vsp_disk_open() @size bytes, more than it has, while guests use it; new bytes
 * read as zeros. Then tell them: vsp_storage_resized(). Blocks, for some syncs. Any thread.
 * Returns 0; -ENOTSUP (no disk of vsp_disk_open()); what vhd_resize() says, with @err saying
 * what is wrong. */
VSP_API int vsp_disk_resize(struct vsp_disk *disk, uint64_t size, struct vmbus_error *err)
	VMBUS_MUST_CHECK;

/* A disk in memory, @size bytes of zeros. Returns 0; -EINVAL (not whole sectors);
 * -ENOMEM. */
VSP_API int vsp_disk_ram(uint64_t size, struct vsp_disk **disk) VMBUS_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
