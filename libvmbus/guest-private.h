/* SPDX-License-Identifier: MIT */
/* Between the files of the guest role. */
#ifndef GUEST_PRIVATE_H
#define GUEST_PRIVATE_H

#include <errno.h>
#include <string.h>

#include <vmbus/guest.h>

#define GUEST_CALL(guest, op, ...)                                                       \
	do {                                                                             \
		if ((guest)->config.ops->op)                                             \
			(guest)->config.ops->op((guest)->config.opaque, ##__VA_ARGS__);  \
	} while (0)

/* Returns 0, -EAGAIN (pushed back: nothing was posted) or -EIO. */
int vmbus_guest_post(struct vmbus_guest *guest, const void *message, uint32_t len);

/* Posts the message, or keeps it for the flush. Returns 0, -EAGAIN (an earlier one is kept
 * already) or -EIO. */
int vmbus_guest_send(struct vmbus_guest *guest, const void *message, size_t len);

/* The host does not speak the version being tried: on to the next. */
void vmbus_guest_contact_refused(struct vmbus_guest *guest);

/* The host has let go of everything. */
void vmbus_guest_over(struct vmbus_guest *guest);

/* Whether messages about an offered channel make sense now. */
static inline bool vmbus_guest_connected(const struct vmbus_guest_channel *channel)
{
	return channel->state != VMBUS_GUEST_CHANNEL_NONE &&
	       channel->guest->state == VMBUS_GUEST_CONNECTED;
}

/* Posts one message of the list, and frees its slot with the last. Returns as above. */
int vmbus_guest_gpadl_post(struct vmbus_guest *guest, struct vmbus_guest_gpadl *gpadl);

/* The list that is being sent under this handle, or NULL. */
struct vmbus_guest_gpadl *vmbus_guest_gpadl_sending(struct vmbus_guest *guest, uint32_t handle);

#endif
