/* SPDX-License-Identifier: MIT */
/* New images: what they are made by, and that they appear whole or not at all. */
#ifndef VHDTOOL_OUTPUT_H
#define VHDTOOL_OUTPUT_H

#include "vhdtool.h"

/* What the options say of a new image at @path, but for its size; the format is what they
 * say, or the name, or else @otherwise. @c borrows from @options. */
void create_options(const struct tool_options *options, const char *path,
		    enum vhd_format otherwise, struct vhd_create_options *c);

/* A file that is being made beside where it belongs. SIGINT, SIGTERM and SIGHUP remove
 * it; one that was killed stays under the temporary name. */
struct output {
	const char *path;
	char *temporary;
	bool force; /* may replace what is there */
	struct vhd_image *old; /* that, locked; NULL: it is none of that sort */
};

/* Picks the temporary name. With @force what is at @path already must be a file, and one that
 * nobody but @from has open. An exit code. */
int output_begin(struct output *out, const char *path, bool force, const struct vhd_image *from);
/* Names the file, which is complete and synced. An exit code. */
int output_publish(struct output *out);
/* Removes what was not published. */
void output_end(struct output *out);

#endif
