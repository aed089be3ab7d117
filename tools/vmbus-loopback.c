/* SPDX-License-Identifier: MIT */
/* vmbus-loopback: both roles of a VMBus with a storage VSP, without a hypervisor. */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmbus/version.h>

#include "loopback.h"

static const char usage_text[] =
	"vmbus-loopback host --socket PATH --disk FILE[,format=auto|raw|vhd|vhdx][,readonly][,lun=N]...\n"
	"               [--guests N] [--once] [--spin-us N] [--ready-fd FD] [--json]\n"
	"vmbus-loopback guest --socket PATH [--spin-us N] [--json] COMMAND\n"
	"  offers                      the channels that the host offers\n"
	"  disks                       the disks on its SCSI controller\n"
	"  read --lun N [--offset B] [--length B] [--output FILE]\n"
	"  write --lun N [--offset B] [--input FILE]\n"
	"  flush --lun N\n"
	"  bench --lun N --rw randread|randwrite|read|write [--bs B] [--depth N] [--seconds S]\n"
	"                              the write kinds overwrite what is on the disk\n"
	"\n"
	"  --socket PATH  UNIX socket where host and guest meet\n"
	"  --disk SPEC    an image; a comma in its name is written twice. LUNs count up from 0\n"
	"  --guests N     guests at a time (16)\n"
	"  --once         end when the first guest has left\n"
	"  --spin-us N    look for work so long before sleeping (50; 0: never)\n"
	"  --ready-fd FD  write a line there when guests may connect\n"
	"  --json         results, or the host's events, as JSON\n"
	"  --offset, --length, --bs  bytes; k, M, G, T after the number multiply by 1024\n"
	"  --input, --output FILE    instead of standard input and output\n"
	"  --help, --version\n"
	"\n"
	"Exit status: 0 done, 1 a request or the session failed, 2 usage, 3 no host there.\n";

int loopback_fail(int status, const char *format, ...)
{
	va_list args;

	fputs("vmbus-loopback: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return status;
}

static bool parse_bytes(const char *text, uint64_t *value)
{
	static const char units[] = "kMGT";
	const char *unit;
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 0);
	if (errno || end == text || *text == '-')
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

static bool parse_u32(const char *text, uint32_t most, uint32_t *value)
{
	uint64_t wide;

	if (!parse_bytes(text, &wide) || wide > most)
		return false;
	*value = (uint32_t)wide;
	return true;
}

enum option_code {
	OPT_SOCKET = 256,
	OPT_DISK,
	OPT_GUESTS,
	OPT_ONCE,
	OPT_SPIN,
	OPT_READY_FD,
	OPT_JSON,
	OPT_LUN,
	OPT_OFFSET,
	OPT_LENGTH,
	OPT_INPUT,
	OPT_OUTPUT,
	OPT_RW,
	OPT_BS,
	OPT_DEPTH,
	OPT_SECONDS,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option long_options[] = {
	{"socket", required_argument, NULL, OPT_SOCKET},
	{"disk", required_argument, NULL, OPT_DISK},
	{"guests", required_argument, NULL, OPT_GUESTS},
	{"once", no_argument, NULL, OPT_ONCE},
	{"spin-us", required_argument, NULL, OPT_SPIN},
	{"ready-fd", required_argument, NULL, OPT_READY_FD},
	{"json", no_argument, NULL, OPT_JSON},
	{"lun", required_argument, NULL, OPT_LUN},
	{"offset", required_argument, NULL, OPT_OFFSET},
	{"length", required_argument, NULL, OPT_LENGTH},
	{"input", required_argument, NULL, OPT_INPUT},
	{"output", required_argument, NULL, OPT_OUTPUT},
	{"rw", required_argument, NULL, OPT_RW},
	{"bs", required_argument, NULL, OPT_BS},
	{"depth", required_argument, NULL, OPT_DEPTH},
	{"seconds", required_argument, NULL, OPT_SECONDS},
	{"help", no_argument, NULL, OPT_HELP},
	{"version", no_argument, NULL, OPT_VERSION},
	{NULL, 0, NULL, 0},
};

/* Options with a text or no argument. Returns false if @opt is none of them. */
static bool option_plain(struct loopback_options *o, int opt)
{
	switch (opt) {
	case OPT_SOCKET:
		o->socket = optarg;
		return true;
	case OPT_ONCE:
		o->once = true;
		return true;
	case OPT_JSON:
		o->json = true;
		return true;
	case OPT_INPUT:
		o->input = optarg;
		return true;
	case OPT_OUTPUT:
		o->output = optarg;
		return true;
	case OPT_RW:
		o->rw = optarg;
		return true;
	default:
		return false;
	}
}

/* Options with a number. Returns false if it is not a number that they take. */
static bool option_number(struct loopback_options *o, int opt)
{
	uint32_t number;
	char *end;

	switch (opt) {
	case OPT_DISK:
		o->disks[o->disk_count] = optarg;
		return ++o->disk_count < LOOPBACK_DISKS;
	case OPT_GUESTS:
		return parse_u32(optarg, 1024, &o->guests) && o->guests > 0;
	case OPT_SPIN:
		return parse_u32(optarg, 1000000, &o->spin_us);
	case OPT_READY_FD:
		return parse_u32(optarg, 1 << 20, &number) && (o->ready_fd = (int)number, true);
	case OPT_LUN:
		return parse_u32(optarg, 255, &number) && (o->lun = (int)number, true);
	case OPT_OFFSET:
		o->has_offset = true;
		return parse_bytes(optarg, &o->offset);
	case OPT_LENGTH:
		o->has_length = true;
		return parse_bytes(optarg, &o->length);
	case OPT_BS:
		return parse_u32(optarg, 8u << 20, &o->bs);
	case OPT_DEPTH:
		return parse_u32(optarg, VSP_STORVSC_REQUESTS, &o->depth) && o->depth > 0;
	case OPT_SECONDS:
		o->seconds = strtod(optarg, &end);
		return *end == '\0' && end != optarg && o->seconds > 0 && o->seconds < 1e6;
	default:
		return false;
	}
}

static int usage(void)
{
	fputs("usage:\n", stderr);
	fputs(usage_text, stderr);
	return LOOPBACK_USAGE;
}

int main(int argc, char **argv)
{
	struct loopback_options options = {
		.guests = 16, .spin_us = 50, .ready_fd = -1, .lun = -1, .bs = 4096, .depth = 1,
		.seconds = 3,
	};
	int opt, index;

	while ((opt = getopt_long(argc, argv, "", long_options, &index)) != -1) {
		if (opt == OPT_HELP)
			return fputs(usage_text, stdout) < 0;
		if (opt == OPT_VERSION)
			return puts("vmbus-loopback " VMBUS_LIBRARY_VERSION) < 0;
		if (opt == '?')
			return usage();
		if (!option_plain(&options, opt) && !option_number(&options, opt))
			return loopback_fail(LOOPBACK_USAGE, "--%s: '%s' is not possible; see --help",
					     long_options[index].name, optarg);
	}
	if (optind >= argc)
		return usage();
	if (!options.socket)
		return loopback_fail(LOOPBACK_USAGE, "--socket is missing; see --help");
	if (strcmp(argv[optind], "host") == 0 && optind + 1 == argc)
		return loopback_host(&options);
	if (strcmp(argv[optind], "guest") == 0 && optind + 2 == argc)
		return loopback_guest(&options, argv[optind + 1]);
	return usage();
}
