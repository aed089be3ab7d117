/* SPDX-License-Identifier: MIT */
#include "json.h"

/* Bytes of the UTF-8 sequence at @s (NUL-terminated), 0 if it is none: RFC 3629, so
 * neither overlong forms nor surrogates. */
static unsigned int utf8_len(const unsigned char *s)
{
	unsigned char low = 0x80, high = 0xbf;
	unsigned int len;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	len = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xf4)
		high = 0x8f;
	for (unsigned int i = 1; i < len; i++, low = 0x80, high = 0xbf)
		if (s[i] < low || s[i] > high)
			return 0;
	return len;
}

static void string_write(FILE *out, const char *value)
{
	const unsigned char *s = (const unsigned char *)value;

	fputc('"', out);
	while (*s) {
		unsigned int len = utf8_len(s);

		if (!len)
			fputs("\xef\xbf\xbd", out);
		else if (*s == '"' || *s == '\\')
			fprintf(out, "\\%c", *s);
		else if (*s < 0x20)
			fprintf(out, "\\u%04x", *s);
		else
			fwrite(s, 1, len, out);
		s += len ? len : 1;
	}
	fputc('"', out);
}

static void member_begin(struct json *json, const char *key)
{
	if (json->depth) {
		if (json->filled[json->depth - 1])
			fputs(", ", json->out);
		json->filled[json->depth - 1] = true;
	}
	if (key) {
		string_write(json->out, key);
		fputs(": ", json->out);
	}
}

static void nest(struct json *json, const char *key, char bracket)
{
	member_begin(json, key);
	fputc(bracket, json->out);
	if (json->depth < JSON_DEPTH_MAX)
		json->filled[json->depth++] = false;
}

static void unnest(struct json *json, char bracket)
{
	fputc(bracket, json->out);
	if (json->depth && --json->depth == 0)
		fputc('\n', json->out);
}

void json_object(struct json *json, const char *key)
{
	nest(json, key, '{');
}

void json_array(struct json *json, const char *key)
{
	nest(json, key, '[');
}

void json_object_end(struct json *json)
{
	unnest(json, '}');
}

void json_array_end(struct json *json)
{
	unnest(json, ']');
}

void json_string(struct json *json, const char *key, const char *value)
{
	member_begin(json, key);
	if (value)
		string_write(json->out, value);
	else
		fputs("null", json->out);
}

void json_uint(struct json *json, const char *key, uint64_t value)
{
	member_begin(json, key);
	fprintf(json->out, "%llu", (unsigned long long)value);
}

void json_double(struct json *json, const char *key, double value)
{
	member_begin(json, key);
	if (__builtin_isfinite(value))
		fprintf(json->out, "%.6g", value);
	else
		fputs("null", json->out);
}

void json_bool(struct json *json, const char *key, bool value)
{
	member_begin(json, key);
	fputs(value ? "true" : "false", json->out);
}
