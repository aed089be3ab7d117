/* SPDX-License-Identifier: MIT */
#include "maintain.h"

#include <errno.h>
#include <string.h>

int vhd_task_copy(struct vhd_task *copy, struct vhd_open_options *options,
		  const struct vhd_task *task, struct vhd_error *err)
{
	*copy = (struct vhd_task)VHD_TASK_INIT;
	*options = (struct vhd_open_options)VHD_OPEN_OPTIONS_INIT;
	if (!task)
		return 0;
	if (task->size > sizeof(*copy))
		return vhd_fail(err, -EINVAL, "task of %zu bytes, %zu are known", task->size,
				sizeof(*copy));
	memcpy(copy, task, task->size);
	if (!copy->open)
		return 0;
	if (copy->open->size > sizeof(*options))
		return vhd_fail(err, -EINVAL, "open options of %zu bytes, %zu are known",
				copy->open->size, sizeof(*options));
	memcpy(options, copy->open, copy->open->size);
	return 0;
}

int vhd_task_progress(const struct vhd_task *task, uint64_t done, uint64_t total)
{
	return task && task->progress ? task->progress(task->opaque, done, total) : 0;
}
