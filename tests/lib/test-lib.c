/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "hist.h"
#include "json.h"

static char *text;
static size_t text_len;

static struct json json_open(void)
{
	FILE *out = open_memstream(&text, &text_len);

	cr_assert(out);
	return json_to(out);
}

static void json_expect(struct json *json, const char *expected)
{
	cr_assert_eq(fclose(json->out), 0);
	cr_expect_str_eq(text, expected);
	free(text);
}

Test(json, members_and_elements_are_separated)
{
	struct json json = json_open();

	json_object(&json, NULL);
	json_uint(&json, "most", UINT64_MAX);
	json_array(&json, "list");
	json_array(&json, NULL);
	json_array_end(&json);
	json_bool(&json, NULL, true);
	json_object(&json, NULL);
	json_double(&json, "half", 0.5);
	json_object_end(&json);
	json_double(&json, NULL, (double)NAN);
	json_string(&json, NULL, NULL);
	json_array_end(&json);
	json_string(&json, "last", "");
	json_object_end(&json);
	json_expect(&json, "{\"most\": 18446744073709551615, \"list\": [[], true, {\"half\": 0.5}, "
			   "null, null], \"last\": \"\"}\n");
}

Test(json, strings_are_escaped_and_always_utf8)
{
	static const struct {
		const char *name, *value, *expected;
	} rows[] = {
		{"quotes and backslashes", "a\"b\\c/", "\"a\\\"b\\\\c/\""},
		{"control characters", "\n\t\x01\x7f", "\"\\u000a\\u0009\\u0001\x7f\""},
		{"two, three and four bytes", "\xc2\xb5\xe2\x82\xac\xf0\x9f\x92\xbe",
		 "\"\xc2\xb5\xe2\x82\xac\xf0\x9f\x92\xbe\""},
		{"stray continuation", "a\x80z", "\"a\xef\xbf\xbdz\""},
		{"cut short", "\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
		{"overlong", "\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
		{"overlong three", "\xe0\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
		{"surrogate", "\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
		{"past the last code point", "\xf4\x90\x80\x80",
		 "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct json json = json_open();

		json_string(&json, NULL, rows[i].value);
		cr_assert_eq(fclose(json.out), 0);
		cr_expect_str_eq(text, rows[i].expected, "%s: %s", rows[i].name, text);
		free(text);
	}
}

Test(json, nesting_too_deep_stays_in_its_bounds)
{
	struct json json = json_open();

	for (unsigned int i = 0; i < 2 * JSON_DEPTH_MAX; i++)
		json_array(&json, NULL);
	for (unsigned int i = 0; i < 2 * JSON_DEPTH_MAX; i++)
		json_array_end(&json);
	fclose(json.out);
	free(text);
}

Test(hist, bins_are_monotonic_and_hold_their_values)
{
	unsigned int last = 0;

	for (unsigned int shift = 0; shift < 64; shift++)
		for (uint64_t step = 0; step < 64; step++) {
			uint64_t part = shift < 6 ? (step << shift) >> 6 : step << (shift - 6);
			uint64_t value = (1ull << shift) + part;
			unsigned int bin = hist_bin(value);
			double middle = (double)hist_value(bin);

			cr_expect_geq(bin, last, "%llu", (unsigned long long)value);
			cr_expect_lt(bin, HIST_BINS);
			cr_expect_leq(fabs(middle - (double)value), (double)value / 16,
				      "%llu", (unsigned long long)value);
			last = bin;
		}
	cr_expect_eq(hist_bin(0), 0);
	cr_expect_eq(hist_bin(UINT64_MAX), HIST_BINS - 1);
}

Test(hist, quantiles_are_those_of_the_values)
{
	static struct hist hist;

	cr_expect_eq(hist_quantile(&hist, 500), 0);
	for (uint64_t i = 1; i <= 1000; i++)
		hist_add(&hist, i);
	cr_expect_float_eq((double)hist_quantile(&hist, 500), 500, 32);
	cr_expect_float_eq((double)hist_quantile(&hist, 990), 990, 32);
	cr_expect_leq(hist_quantile(&hist, 1000), 1000);
	cr_expect_leq(hist_quantile(&hist, 0), 1);
	memset(&hist, 0, sizeof(hist));
	hist_add(&hist, 7);
	cr_expect_eq(hist_quantile(&hist, 0), 7);
	cr_expect_eq(hist_quantile(&hist, 999), 7);
	cr_expect_eq(hist_quantile(&hist, 1000), 7);
}
