/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "vhdtool.h"

/* -- Errors ------------------------------------------------------------------------ */

static void message(const char *format, va_list args)
{
	fprintf(stderr, "vhdtool: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
}

int tool_fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	message(format, args);
	va_end(args);
	return TOOL_FAILED;
}

int tool_usage(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	message(format, args);
	va_end(args);
	return TOOL_USAGE;
}

static const char *advice(int code)
{
	switch (code) {
	case VHD_FAULT_PARENT_MISSING:
		return "say where it is with --parent, or look at this file alone with --alone";
	case VHD_FAULT_PARENT_ID:
		return "if it is the right one all the same, --any-parent takes it";
	case VHD_FAULT_FOOTER_COOKIE:
	case VHD_FAULT_NOT_AN_IMAGE:
		return "a raw image needs --format=raw";
	case VHD_FAULT_AMBIGUOUS:
		return "--format=vhd or --format=vhdx says which it is";
	case VHD_FAULT_BAT_ENTRY:
	case VHD_FAULT_BAT_OVERLAP:
		return "vhdtool check lists all that is wrong, vhdtool dump shows the tables";
	case -EAGAIN:
		return "end the program that uses it and try again";
	case -EEXIST:
		return "--force replaces it";
	case -ENOSPC:
		return "make room on the file system and try again";
	default:
		return NULL;
	}
}

int tool_fail_error(const struct vhd_error *err)
{
	const char *text = advice(err->code);

	tool_fail("%s", err->text);
	if (text)
		tool_fail("%s", text);
	return err->code == -EAGAIN ? TOOL_BUSY : TOOL_FAILED;
}

void tool_warn(void *opaque, const char *text)
{
	(void)opaque;
	fprintf(stderr, "vhdtool: warning: %s\n", text);
}

int tool_open(const struct tool_options *o, const char *path, enum vhd_format format,
	      uint32_t flags, struct vhd_image **image)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct vhd_error err;

	options.format = format;
	options.flags = flags | (o->any_parent ? VHD_OPEN_ANY_PARENT : 0) |
			(o->alone ? VHD_OPEN_NO_PARENT : 0);
	options.parent = o->backing;
	options.warn = tool_warn;
	return vhd_open(path, &options, image, &err) ? tool_fail_error(&err) : TOOL_OK;
}

/* -- Words -------------------------------------------------------------------------- */

bool tool_parse_size(const char *text, uint64_t *size)
{
	static const char units[] = "kMGT";
	char *end;
	double value = isdigit((unsigned char)*text) ? strtod(text, &end) : -1;
	const char *unit;

	if (value < 0 || text[1] == 'x' || text[1] == 'X')
		return false;
	unit = *end ? strchr(units, *end == 'K' ? 'k' : *end) : NULL;
	if (*end && (!unit || (end[1] && strcmp(end + 1, "iB") != 0 && strcmp(end + 1, "B") != 0)))
		return false;
	for (; unit && unit >= units; unit--)
		value *= 1024;
	/* Half a byte is a slip of the pen. */
	if (value > 1e18 || value != floor(value))
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

static int hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, tolower((unsigned char)c)) : NULL;

	return at ? (int)(at - digits) : -1;
}

bool tool_parse_id(const char *text, uint8_t *id)
{
	for (int i = 0; i < 16; i++) {
		int high, low;

		if ((i == 4 || i == 6 || i == 8 || i == 10) && *text == '-')
			text++;
		high = hex_digit(text[0]);
		low = high < 0 ? -1 : hex_digit(text[1]);
		if (low < 0)
			return false;
		id[i] = (uint8_t)(high << 4 | low);
		text += 2;
	}
	return *text == '\0';
}

bool tool_id_is_set(const uint8_t *id)
{
	static const uint8_t zero[16];

	return memcmp(id, zero, sizeof(zero)) != 0;
}

/* -- Reports ------------------------------------------------------------------------ */

static void report_json(const char *path, const struct vhd_info *i)
{
	struct json j = json_to(stdout);

	json_object(&j, NULL);
	json_string(&j, "path", path);
	json_string(&j, "format", vhd_format_name(i->format));
	json_string(&j, "type", vhd_type_name(i->type));
	json_uint(&j, "virtual-size", i->virtual_size);
	json_uint(&j, "file-size", i->file_size);
	json_object_end(&j);
}

int tool_report(const struct tool_options *o, const char *path, enum vhd_format format)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct vhd_info info = VHD_INFO_INIT;
	struct vhd_image *image;
	struct vhd_error err;
	char size[32], file[32];
	int ret;

	if (o->quiet && !o->json)
		return TOOL_OK;
	options.format = format;
	options.flags = VHD_OPEN_READ_ONLY | VHD_OPEN_NO_PARENT;
	if (vhd_open(path, &options, &image, &err))
		return tool_fail_error(&err);
	ret = vhd_get_info(image, &info);
	vhd_close(image);
	if (ret)
		return tool_fail("%s: %s", path, strerror(-ret));
	if (o->json)
		report_json(path, &info);
	else
		printf("%s: %s, %s, %s in a file of %s\n", path, vhd_format_name(info.format),
		       vhd_type_name(info.type),
		       tool_size_text(info.virtual_size, size, sizeof(size)),
		       tool_size_text(info.file_size, file, sizeof(file)));
	return TOOL_OK;
}
