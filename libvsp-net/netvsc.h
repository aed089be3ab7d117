/* SPDX-License-Identifier: MIT */
/* Between the files of the guest role. Its errors are numbers: there is no errno.h where
 * it may run. */
#ifndef VSP_NET_NETVSC_PRIV_H
#define VSP_NET_NETVSC_PRIV_H

#include <vsp/netvsc.h>

#define NETVSC_EAGAIN (-11)
#define NETVSC_EINVAL (-22)

#define NETVSC_ID_SETUP 0xfffffff0u   /* transaction ids: sends use their index + 1 */
#define NETVSC_ID_CONTROL 0xfffffff1u
#define NETVSC_COMPLETION_BYTES 32u

int vsp_netvsc_put(struct vsp_netvsc *n, const struct vsp_nvsp_message *message, uint64_t id, bool answer);
void vsp_netvsc_setup_answered(struct vsp_netvsc *n, const struct vsp_nvsp_message *message);
void vsp_netvsc_control_sent(struct vsp_netvsc *n, uint32_t status);
void vsp_netvsc_control_received(struct vsp_netvsc *n, const uint8_t *slot, uint32_t len);

#endif
