/* SPDX-License-Identifier: MIT */
/* Jobs of the library, with the tool's options and its progress bar. */
#ifndef VHDTOOL_TASK_H
#define VHDTOOL_TASK_H

#include <vhd/maintain.h>

#include "vhdtool.h"

struct task {
	struct vhd_task task; /* for the library */
	struct vhd_open_options open;
	struct progress progress;
	const struct tool_options *options;
	const char *what;
};

/* @task stays where it is until task_end(). */
void task_begin(struct task *task, const char *what, const struct tool_options *options);
void task_end(struct task *task);

#endif
