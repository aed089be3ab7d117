/* SPDX-License-Identifier: MIT */
/* Numbers and comma-separated specifications of the command line. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loopback.h"

#define TAP_MTU_MIN 68u /* what the kernel takes for a tap */
#define TAP_MTU_MAX 65521u

bool loopback_bytes(const char *text, uint64_t *value)
{
	static const char units[] = "kMGT";
	const char *unit;
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 0);
	if (errno || end == text || strchr(text, '-'))
		return false;
	if (*end == '\0')
		return true;
	unit = strchr(units, *end == 'K' ? 'k' : *end);
	if (!unit || end[1] != '\0')
		return false;
	for (; unit >= units; unit--)
		if (__builtin_mul_overflow(*value, 1024, value))
			return false;
	return true;
}

bool loopback_number(const char *text, uint32_t least, uint32_t most, uint32_t *value)
{
	uint64_t wide;

	if (!loopback_bytes(text, &wide) || wide < least || wide > most)
		return false;
	*value = (uint32_t)wide;
	return true;
}

char *loopback_spec_part(char **rest)
{
	char *part = *rest, *in = part, *out = part;

	while (*in && !(in[0] == ',' && in[1] != ',')) {
		if (*in == ',')
			in++;
		*out++ = *in++;
	}
	*rest = *in ? in + 1 : NULL;
	*out = '\0';
	return part;
}

/* Six pairs of hexadecimal digits with colons; a station's address, not a group's. */
static bool mac_parse(const char *text, uint8_t mac[6])
{
	char end;

	return strlen(text) == 17 &&
	       sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &mac[0], &mac[1], &mac[2],
		      &mac[3], &mac[4], &mac[5], &end) == 6 &&
	       !(mac[0] & 1) && (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]);
}

static int tap_option(const char *option, const char *part, struct loopback_tap *tap)
{
	if (strncmp(part, "mtu=", 4) == 0) {
		if (!loopback_number(part + 4, TAP_MTU_MIN, TAP_MTU_MAX, &tap->mtu))
			return loopback_fail(LOOPBACK_USAGE, "%s: '%s': an MTU is %u to %u", option, part,
					     TAP_MTU_MIN, TAP_MTU_MAX);
	} else if (strncmp(part, "queues=", 7) == 0) {
		if (!loopback_number(part + 7, 1, LOOPBACK_QUEUES, &tap->queues))
			return loopback_fail(LOOPBACK_USAGE, "%s: '%s': 1 to %u queues", option, part,
					     LOOPBACK_QUEUES);
	} else if (strncmp(part, "mac=", 4) == 0 && tap->host) {
		tap->has_mac = true;
		if (!mac_parse(part + 4, tap->mac))
			return loopback_fail(LOOPBACK_USAGE,
					     "%s: '%s': six bytes like 00:15:5d:01:02:03, no group's",
					     option, part);
	} else {
		return loopback_fail(LOOPBACK_USAGE, "%s: '%s' is none of %smtu=, queues=", option, part,
				     tap->host ? "mac=, " : "");
	}
	return LOOPBACK_OK;
}

int loopback_tap_parse(const char *option, const char *spec, struct loopback_tap *tap)
{
	char *rest = tap->text = strdup(spec);
	int ret = LOOPBACK_OK;

	if (!rest)
		return loopback_fail(LOOPBACK_FAILED, "out of memory");
	tap->queues = 1;
	tap->name = loopback_spec_part(&rest);
	if (tap->host) {
		if (strncmp(tap->name, "tap=", 4) != 0)
			return loopback_fail(LOOPBACK_USAGE, "%s: it has to begin with tap=IF", option);
		tap->name += 4;
	}
	if (!*tap->name || strlen(tap->name) > LOOPBACK_IF_NAME || strpbrk(tap->name, "/ %"))
		return loopback_fail(LOOPBACK_USAGE, "%s: '%s' is no name of an interface", option,
				     tap->name);
	while (rest && !ret)
		ret = tap_option(option, loopback_spec_part(&rest), tap);
	return ret;
}
