/* SPDX-License-Identifier: MIT */
#ifndef LIBVHD_QUEUE_H
#define LIBVHD_QUEUE_H

#include "image.h"

struct vhd_queue {
	struct vhd_image *image;
	const struct vhd_io_ops *ops;
	void *opaque;
};

#endif
