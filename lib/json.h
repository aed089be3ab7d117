/* SPDX-License-Identifier: MIT */
/* Writes JSON (RFC 8259) to a stream, on one line: commas, quotes and escapes are its
 * business. What is not UTF-8 becomes U+FFFD, so the output always is. Errors are the
 * stream's: ferror(). */
#ifndef LIB_JSON_H
#define LIB_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_DEPTH_MAX 16u

struct json {
	FILE *out;
	unsigned int depth;
	bool filled[JSON_DEPTH_MAX]; /* something stands in this object or array */
};

static inline struct json json_to(FILE *out)
{
	struct json json = {.out = out};

	return json;
}

/* @key is NULL inside arrays, and at the top. */
void json_object(struct json *json, const char *key);
void json_array(struct json *json, const char *key);
/* Ends the innermost object or array; the outermost ends the line. */
void json_object_end(struct json *json);
void json_array_end(struct json *json);

void json_string(struct json *json, const char *key, const char *value); /* NULL: null */
void json_uint(struct json *json, const char *key, uint64_t value);
void json_double(struct json *json, const char *key, double value); /* not finite: null */
void json_bool(struct json *json, const char *key, bool value);
#endif
