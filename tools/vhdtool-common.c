/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vhdtool.h"

int tool_fail(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "vhdtool: ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	return TOOL_FAILED;
}

static void warn(void *opaque, const char *text)
{
	(void)opaque;
	fprintf(stderr, "vhdtool: warning: %s\n", text);
}

struct vhd_image *tool_open(const struct tool_options *o, const char *path, enum vhd_format format,
			    uint32_t flags)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct vhd_image *image;
	struct vhd_error err;

	options.format = format;
	options.flags = flags | (o->any_parent ? VHD_OPEN_ANY_PARENT : 0) |
			(o->alone ? VHD_OPEN_NO_PARENT : 0);
	options.parent = o->backing;
	options.warn = warn;
	if (vhd_open(path, &options, &image, &err) == 0)
		return image;
	tool_fail("%s", err.text);
	if (err.code == VHD_FAULT_PARENT_MISSING)
		fprintf(stderr, "vhdtool: give the parent with --parent\n");
	if (err.code == VHD_FAULT_FOOTER_COOKIE && format == VHD_FORMAT_AUTO)
		fprintf(stderr, "vhdtool: a raw image needs --format=raw\n");
	return NULL;
}

bool tool_parse_size(const char *text, uint64_t *size)
{
	static const char units[] = "kMGT";
	char *end;
	double value = strtod(text, &end);
	const char *unit = *end ? strchr(units, *end == 'K' ? 'k' : *end) : NULL;

	if (end == text || value < 0)
		return false;
	if (*end && (!unit || (end[1] && strcmp(end + 1, "iB") != 0 && strcmp(end + 1, "B") != 0)))
		return false;
	for (; unit && unit >= units; unit--)
		value *= 1024;
	if (value > 1e18)
		return false;
	*size = (uint64_t)value;
	return true;
}

const char *tool_size_text(uint64_t size, char *buf, size_t length)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	double value = (double)size;
	int unit = 0;

	for (; value >= 1024 && unit < 4; unit++)
		value /= 1024;
	snprintf(buf, length, unit ? "%.4g %s" : "%.0f %s", value, units[unit]);
	return buf;
}

const char *tool_id_text(const uint8_t *id, char *buf)
{
	char *p = buf;

	for (int i = 0; i < 16; i++)
		p += sprintf(p, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", id[i]);
	return buf;
}

bool tool_parse_id(const char *text, uint8_t *id)
{
	for (int i = 0; i < 16; i++) {
		unsigned byte;
		int used = 0;

		if (*text == '-')
			text++;
		if (sscanf(text, "%2x%n", &byte, &used) != 1 || used != 2)
			return false;
		id[i] = (uint8_t)byte;
		text += 2;
	}
	return *text == '\0';
}

/* -- JSON --------------------------------------------------------------------- */

static void json_member(struct json *j, const char *name)
{
	if (j->depth > 0)
		fprintf(j->out, "%s\n%*s", j->open[j->depth - 1] ? "," : "", 2 * (int)j->depth, "");
	if (j->depth > 0)
		j->open[j->depth - 1] = true;
	if (name)
		fprintf(j->out, "\"%s\": ", name);
}

void json_begin(struct json *j, const char *name, char bracket)
{
	json_member(j, name);
	fputc(bracket, j->out);
	if (j->depth < sizeof(j->open))
		j->open[j->depth++] = false;
}

void json_end(struct json *j, char bracket)
{
	bool any = j->open[--j->depth];

	if (any)
		fprintf(j->out, "\n%*s", 2 * (int)j->depth, "");
	fputc(bracket, j->out);
	if (j->depth == 0)
		fputc('\n', j->out);
}

/* Bytes that are not ASCII go out as they are: paths are UTF-8 or nobody knows. */
void json_string(struct json *j, const char *name, const char *value)
{
	json_member(j, name);
	fputc('"', j->out);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			fprintf(j->out, "\\%c", *value);
		else if ((unsigned char)*value < 0x20)
			fprintf(j->out, "\\u%04x", (unsigned)*value);
		else
			fputc(*value, j->out);
	}
	fputc('"', j->out);
}

void json_number(struct json *j, const char *name, uint64_t value)
{
	json_member(j, name);
	fprintf(j->out, "%" PRIu64, value);
}

void json_bool(struct json *j, const char *name, bool value)
{
	json_member(j, name);
	fputs(value ? "true" : "false", j->out);
}

/* -- Progress ------------------------------------------------------------------ */

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void progress_begin(struct progress *p, const char *what, uint64_t total,
		    const struct tool_options *o)
{
	*p = (struct progress){
		.what = what,
		.total = total,
		.fd = o->progress_fd,
		.bar = !o->quiet && isatty(STDERR_FILENO),
		.started = now(),
	};
}

void progress_show(struct progress *p, uint64_t done)
{
	double t = now(), elapsed = t - p->started;
	char rate[32];

	if (t - p->shown < 0.1 && done < p->total)
		return;
	p->shown = t;
	if (p->fd >= 0)
		dprintf(p->fd, "%" PRIu64 "/%" PRIu64 "\n", done, p->total);
	if (!p->bar || elapsed <= 0 || p->total == 0)
		return;
	tool_size_text((uint64_t)((double)done / elapsed), rate, sizeof(rate));
	fprintf(stderr, "\r%s: %3.0f %%  %s/s  %.0f s left \033[K", p->what,
		100 * (double)done / (double)p->total, rate,
		done ? elapsed * (double)(p->total - done) / (double)done : 0);
}

void progress_end(struct progress *p)
{
	if (p->bar)
		fprintf(stderr, "\r\033[K");
}
