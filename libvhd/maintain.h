/* SPDX-License-Identifier: MIT */
/* What the jobs on whole images share. */
#ifndef LIBVHD_MAINTAIN_H
#define LIBVHD_MAINTAIN_H

#include <vhd/maintain.h>

#include "image.h"

/* @task as far as the caller knows it, with its options of their own in @options. */
int vhd_task_copy(struct vhd_task *copy, struct vhd_open_options *options,
		  const struct vhd_task *task, struct vhd_error *err);

/* task->progress(), if there is one: 0 or why the job ends. */
int vhd_task_progress(const struct vhd_task *task, uint64_t done, uint64_t total);

/* Moves the last blocks of the open image into the gaps and cuts its file. @moved, which
 * may be NULL, counts. 0 for images without blocks. -errno. */
int vhd_pack(struct vhd_image *image, const struct vhd_task *task, uint64_t *moved);

/* Buffers of jobs that read and write. */
enum { JOB_CHUNK = 1 << 20 };

#endif
