/* SPDX-License-Identifier: MIT */
/* What the commands of vhdtool share. */
#ifndef VHDTOOL_H
#define VHDTOOL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <vhd/vhd.h>

/* Exit codes; "found" is the command's answer no: images differ, image is damaged. */
enum {
	TOOL_OK = 0,
	TOOL_FOUND = 1,
	TOOL_FAILED = 2,
	TOOL_WARNED = 3,
	TOOL_BUSY = 4,
	TOOL_USAGE = 64,
};

/* All options of all commands; a command's row says which it takes. */
struct tool_options {
	enum vhd_format format;	       /* -f: of the (first) image */
	enum vhd_format second_format; /* -F */
	enum vhd_format output_format; /* -O */
	enum vhd_type type;	       /* -t */
	bool has_output_format, has_type, has_time;
	const char *backing;	       /* -p: the parent */
	const uint8_t *id;	       /* --id */
	uint8_t id_bytes[16];
	int64_t time;		       /* --time */
	uint32_t block_size;	       /* -b */
	uint32_t sector_size;	       /* -s */
	int threads;		       /* -T */
	int progress_fd;	       /* --progress=FD; -1: bar on a terminal */
	bool json, force, any_parent, alone, repair, remove, unsafe, shrink, quiet;
};

struct tool_command {
	const char *name;
	const char *arguments;
	const char *options; /* the letters of the options it takes */
	int least, most;     /* arguments */
	const char *summary;
	int (*run)(const struct tool_options *options, char **arguments);
};

int tool_info(const struct tool_options *options, char **arguments);
int tool_check(const struct tool_options *options, char **arguments);
int tool_create(const struct tool_options *options, char **arguments);
int tool_convert(const struct tool_options *options, char **arguments);
int tool_map(const struct tool_options *options, char **arguments);
int tool_compare(const struct tool_options *options, char **arguments);
int tool_resize(const struct tool_options *options, char **arguments);
int tool_compact(const struct tool_options *options, char **arguments);
int tool_merge(const struct tool_options *options, char **arguments);
int tool_rebase(const struct tool_options *options, char **arguments);
int tool_dump(const struct tool_options *options, char **arguments);

/* Prints "vhdtool: " and the text on stderr; returns TOOL_FAILED. */
int tool_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same with TOOL_USAGE: the command line is wrong. */
int tool_usage(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Prints a library call's error and, where there is some, advice. Returns the exit code. */
int tool_fail_error(const struct vhd_error *err);
/* Prints "warning: TEXT"; a struct vhd_open_options' warn. */
void tool_warn(void *opaque, const char *text);

/* Opens @path as the options say and with @flags. An exit code, with its reason printed. */
int tool_open(const struct tool_options *options, const char *path, enum vhd_format format,
	      uint32_t flags, struct vhd_image **image);

/* "10G", "512", "1.5T": bytes. false: not a size. */
bool tool_parse_size(const char *text, uint64_t *size);

/* "32 MiB" in @buf, exact sizes only get a unit. */
const char *tool_size_text(uint64_t size, char *buf, size_t length);

/* "xxxxxxxx-xxxx-..." of 16 bytes; @buf has room for 37. */
const char *tool_id_text(const uint8_t *id, char *buf);
bool tool_parse_id(const char *text, uint8_t *id);
bool tool_id_is_set(const uint8_t *id);

/* What a command made or changed: format, type and sizes, as text or JSON. Returns the
 * exit code. */
int tool_report(const struct tool_options *options, const char *path, enum vhd_format format);

/* How far something has come: a bar on a terminal, or "DONE/TOTAL" lines. */
struct progress {
	const char *what;
	uint64_t total, last;
	int fd; /* for programs; -1: none */
	bool bar;
	double started, shown;
};
void progress_begin(struct progress *p, const char *what, uint64_t total,
		    const struct tool_options *options);
void progress_show(struct progress *p, uint64_t done);
void progress_end(struct progress *p);

#endif
