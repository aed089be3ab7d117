/* SPDX-License-Identifier: MIT */
#ifndef LIBVHD_ERROR_H
#define LIBVHD_ERROR_H

#include <stdarg.h>

#include <vhd/fault.h>

/* Fills @err, when it is not NULL, with @code and the formatted text; returns
 * @code, so that a failing check is one statement. A negative @code (-errno)
 * gets ": " and the system's text appended. */
int vhd_fail(struct vhd_error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The text alone; like all of them without control characters. */
void vhd_error_print(struct vhd_error *err, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));

/* Puts @path and ": " in front of the text of @err; NULL is fine. */
void vhd_error_prefix(struct vhd_error *err, const char *path);

#endif
