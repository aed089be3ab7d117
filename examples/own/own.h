/* SPDX-License-Identifier: MIT */
#ifndef OWN_H
#define OWN_H

#include <vsp/block.h>
#include <vsp/nic.h>

/* A disk whose I/O a thread of its own does: a file of whole sectors. Returns 0 or -errno. */
int own_disk(const char *path, struct vsp_disk **disk);

/* A network card with nobody behind it but its own user: what goes to any address comes back
 * from there, so that whoever is pinged answers. Returns 0 or -ENOMEM. */
int own_nic(struct vsp_nic **nic);

#endif
