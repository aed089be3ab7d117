/* SPDX-License-Identifier: MIT */
/* New images: what they are made by, and that they appear whole or not at all. */
#ifndef VHDTOOL_OUTPUT_H
#define VHDTOOL_OUTPUT_H

#include "vhdtool.h"

/* What the options say of a new image, but for its size. @c borrows from @options. */
void create_options(const struct tool_options *options, struct vhd_create_options *c);

/* A file that is being made beside where it belongs. SIGINT, SIGTERM and SIGHUP remove
 * it; one that was killed stays under the temporary name. */
struct output {
	const char *path;
	char *temporary;
	bool force; /* may replace what is there */
};

/* Picks the temporary name. An exit code. */
int output_begin(struct output *out, const char *path, bool force);
/* Names the file, which is complete and synced. An exit code. */
int output_publish(struct output *out);
/* Removes what was not published. */
void output_end(struct output *out);

#endif
