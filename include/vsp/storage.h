/* SPDX-License-Identifier: MIT */
/* A synthetic SCSI controller (or IDE-accelerated disk): storvsp over a VMBus
 * channel and its sub-channels, SCSI commands on disks of block.h.
 *
 * Threads: everything here in the server's thread, unless said otherwise; the data
 * path runs in the threads that serve the channels. */
#ifndef VSP_STORAGE_H
#define VSP_STORAGE_H

#include <stdint.h>

#include <vmbus/server.h>
#include <vsp/block.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VSP_STORAGE_LUNS 256u

struct vsp_storage;

struct vsp_storage_config {
	size_t size; /* sizeof this struct */
	struct vmbus_server *server;
	struct vmbus_guid instance_id; /* all zero: the SCSI interface's own (first controller) */
	uint16_t max_sub_channels;     /* channels besides the first; 0 to 256 */
	uint32_t max_transfer;         /* bytes a request; multiple of 4096, >= 64 KiB */
	uint32_t queue_depth;          /* requests in flight a channel */

	/* IDE accelerator for one disk at this position instead of a SCSI bus */
	bool ide;
	uint8_t ide_channel, ide_device;

	/* The loop of the thread that serves @channel, for the disks' I/O; it must outlive
	 * the channel's stop. Called in that thread, at the channel's first service. May be
	 * NULL if no disk needs one (images do). */
	struct vmbus_loop *(*loop_of)(void *opaque, struct vmbus_channel *channel);
	void *opaque;
};
#define VSP_STORAGE_CONFIG_INIT                                                          \
	{ .size = sizeof(struct vsp_storage_config), .max_sub_channels = 0,              \
	  .max_transfer = 256u << 10, .queue_depth = 256 }

/* Makes the controller and offers its channel. Returns 0; -EINVAL; what
 * vmbus_server_offer() says. */
VSP_API int vsp_storage_new(const struct vsp_storage_config *config,
			    struct vsp_storage **storage) VMBUS_MUST_CHECK;

/* Revokes the offer; the controller is freed when the guest has let go, at the latest
 * with the server. @storage is dead to the caller after this. NULL is fine. */
VSP_API void vsp_storage_free(struct vsp_storage *storage);

/* Adds or removes a disk at path 0, target 0, @lun; a running guest is told
 * (ENUMERATE_BUS). The LUN takes a reference on @disk. Requests that run on a removed
 * LUN are finished normally; its disk is let go of when every channel was served once
 * more, which it is soon. Any thread. Return 0; -EINVAL; -EEXIST; -ENOENT; -ENOMEM. */
VSP_API int vsp_storage_add_disk(struct vsp_storage *storage, uint8_t lun, struct vsp_disk *disk)
	VMBUS_MUST_CHECK;
VSP_API int vsp_storage_remove_disk(struct vsp_storage *storage, uint8_t lun) VMBUS_MUST_CHECK;

/* The size of the disk at @lun changed: the guest gets a unit attention. Any thread. */
VSP_API void vsp_storage_resized(struct vsp_storage *storage, uint8_t lun);

struct vsp_storage_stats {
	uint64_t reads, writes, flushes, unmaps, other;
	uint64_t read_bytes, write_bytes;
	uint64_t errors;       /* answered with a SCSI or storvsp failure */
	uint64_t bad_requests; /* malformed packets */
};
/* Sums over all channels. Any thread. */
VSP_API void vsp_storage_get_stats(const struct vsp_storage *storage,
				   struct vsp_storage_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
