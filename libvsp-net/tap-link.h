/* SPDX-License-Identifier: MIT */
/* rtnetlink for a tap: set-up, and following its link. The only file that knows libnl. */
#ifndef VSP_TAP_LINK_H
#define VSP_TAP_LINK_H

#include <stdbool.h>

#include <vsp/nic.h>

struct vsp_tap_link;

/* MTU, address, bridge, up: what @config names. Returns 0 or -errno. */
int vsp_tap_link_setup(const char *name, const struct vsp_nic_tap_config *config,
		       struct vmbus_error *err);

/* Calls @changed on @loop with each change of the link's state. Returns 0 or -errno. */
int vsp_tap_link_watch(const char *name, struct vmbus_loop *loop,
		       void (*changed)(void *opaque, bool up), void *opaque,
		       struct vsp_tap_link **link, bool *up);
void vsp_tap_link_unwatch(struct vsp_tap_link *link);

#endif
