/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "error.h"

const char *vhd_fault_text(int fault)
{
	static const char *const text[VHD_FAULT_COUNT] = {
#define X(name, words) [VHD_FAULT_##name] = words,
		VHD_FAULTS(X)
#undef X
	};

	return fault >= 0 && fault < VHD_FAULT_COUNT ? text[fault] : "unknown fault";
}

/* What a file says of its parent may be meant for the terminal that it is printed on. */
static void controls_clean(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

void vhd_error_print(struct vhd_error *err, const char *format, va_list args)
{
	vsnprintf(err->text, sizeof(err->text), format, args);
	controls_clean(err->text);
}

int vhd_fail(struct vhd_error *err, int code, const char *format, ...)
{
	va_list args;
	size_t used;

	if (!err)
		return code;
	err->code = code;
	va_start(args, format);
	vhd_error_print(err, format, args);
	va_end(args);
	used = strlen(err->text);
	if (code < 0) {
		char buf[96];

		snprintf(err->text + used, sizeof(err->text) - used, ": %s",
			 strerror_r(-code, buf, sizeof(buf)));
	}
	return code;
}

void vhd_error_prefix(struct vhd_error *err, const char *path)
{
	struct vhd_error whole;
	size_t length, most = sizeof(err->text) / 3;

	if (!err)
		return;
	/* A long path loses its beginning: what is wrong must stay readable. */
	length = strlen(path);
	if (length > most)
		path += length - most;
	else
		most = length;
	snprintf(whole.text, sizeof(whole.text), "%s%.*s: %.*s", length > most ? "..." : "",
		 (int)most, path, (int)(sizeof(err->text) - most - 6), err->text);
	memcpy(err->text, whole.text, sizeof(err->text));
	controls_clean(err->text);
}
