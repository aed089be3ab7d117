/* SPDX-License-Identifier: MIT */
/* What the parts of the host share. */
#ifndef TOOLS_LOOPBACK_HOST_H
#define TOOLS_LOOPBACK_HOST_H

#include <stdio.h>

#include <vsp/net.h>

#include "json.h"
#include "loopback.h"

/* -- Network cards (loopback-nic.c) ---------------------------------------- */

struct host_nic;

/* Opens its tap. Returns an exit code; @nic has to be closed in any case. */
int host_nic_open(const char *spec, uint32_t index, struct vmbus_loop *loop, struct host_nic **nic);
void host_nic_close(struct host_nic *nic); /* NULL is fine */

/* Offers it to one more guest: @config has server, loop_of and opaque. The first that opens it
 * has it until it closes; then the next. Returns as vsp_net_new(). */
int host_nic_offer(struct host_nic *nic, struct vsp_net_config *config, struct vsp_net **net);

/* What a guest did with it: an object into an array; a line for people. */
void host_nic_json(const struct host_nic *nic, const struct vsp_net_stats *stats, struct json *j);
void host_nic_text(const struct host_nic *nic, const struct vsp_net_stats *stats, FILE *out);

#endif
