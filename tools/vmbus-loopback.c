/* SPDX-License-Identifier: MIT */
/* vmbus-loopback: both roles of a VMBus with its storage and network VSPs, without a
 * hypervisor. */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmbus/version.h>

#include "loopback.h"

static const char usage_text[] =
	"vmbus-loopback host --socket PATH\n"
	"               [--disk FILE[,format=auto|raw|vhd|vhdx][,readonly][,parents=DIR][,lun=N]]...\n"
	"               [--nic tap=IF[,mac=MAC][,mtu=N][,queues=N]]... [--guests N] [--once]\n"
	"               [--spin-us N] [--ready-fd FD] [--json]\n"
	"vmbus-loopback guest --socket PATH [--spin-us N] [--json] COMMAND\n"
	"  offers                      the channels that the host offers\n"
	"  disks                       the disks on its SCSI controller\n"
	"  read --lun N [--offset B] [--length B] [--output FILE]\n"
	"  write --lun N [--offset B] [--input FILE]\n"
	"  flush --lun N\n"
	"  bench --lun N --rw randread|randwrite|read|write [--bs B] [--depth N] [--seconds S]\n"
	"                              the write kinds overwrite what is on the disk\n"
	"  nic [--index N] --tap IF[,mtu=N][,queues=N]\n"
	"                              bridges a network card to a tap until a signal ends it\n"
	"\n"
	"  --socket PATH  UNIX socket where host and guest meet\n"
	"  --disk SPEC    an image; a comma in its name is written twice. LUNs count up from 0\n"
	"  --nic SPEC     a network card on a tap, for one guest at a time\n"
	"  --guests N     guests at a time (16)\n"
	"  --once         end when the first guest has left\n"
	"  --spin-us N    look for work so long before sleeping (50; 0: never)\n"
	"  --ready-fd FD  write a line there when guests may connect\n"
	"  --json         results, or events, as JSON\n"
	"  --offset, --length, --bs  bytes; k, M, G, T after the number multiply by 1024\n"
	"  --input, --output FILE    instead of standard input and output\n"
	"  --index N      which of the host's network cards (0)\n"
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

/* -- Who takes what ------------------------------------------------------- */

enum role {
	HOST = 1,
	OFFERS = 2,
	DISKS = 4,
	READ = 8,
	WRITE = 16,
	FLUSH = 32,
	BENCH = 64,
	NIC = 128,
	ON_DISK = READ | WRITE | FLUSH | BENCH,
	GUEST = OFFERS | DISKS | ON_DISK | NIC,
};

static const struct {
	const char *command; /* of the guest, but for the host's */
	enum role role;
} roles[] = {{"host", HOST},   {"offers", OFFERS}, {"disks", DISKS}, {"read", READ},
	     {"write", WRITE}, {"flush", FLUSH},   {"bench", BENCH}, {"nic", NIC}};

enum option_code {
	OPT_SOCKET = 256,
	OPT_DISK,
	OPT_NIC,
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
	OPT_TAP,
	OPT_INDEX,
	OPT_HELP,
	OPT_VERSION,
	OPT_LONG_OPTIONS,
};

static const struct option long_options[] = {
	{"socket", required_argument, NULL, OPT_SOCKET},
	{"disk", required_argument, NULL, OPT_DISK},
	{"nic", required_argument, NULL, OPT_NIC},
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
	{"tap", required_argument, NULL, OPT_TAP},
	{"index", required_argument, NULL, OPT_INDEX},
	{"help", no_argument, NULL, OPT_HELP},
	{"version", no_argument, NULL, OPT_VERSION},
	{"long-options", no_argument, NULL, OPT_LONG_OPTIONS},
	{NULL, 0, NULL, 0},
};

static unsigned int option_roles(int opt)
{
	switch (opt) {
	case OPT_DISK:
	case OPT_NIC:
	case OPT_GUESTS:
	case OPT_ONCE:
	case OPT_READY_FD:
		return HOST;
	case OPT_LUN:
		return ON_DISK;
	case OPT_OFFSET:
		return READ | WRITE;
	case OPT_LENGTH:
	case OPT_OUTPUT:
		return READ;
	case OPT_INPUT:
		return WRITE;
	case OPT_RW:
	case OPT_BS:
	case OPT_DEPTH:
	case OPT_SECONDS:
		return BENCH;
	case OPT_TAP:
	case OPT_INDEX:
		return NIC;
	default:
		return HOST | GUEST;
	}
}

/* The role that the words name; 0: none. */
static unsigned int role_find(char **words, int count)
{
	bool host = count == 1 && strcmp(words[0], "host") == 0;

	if (!host && (count != 2 || strcmp(words[0], "guest") != 0))
		return 0;
	for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
		if (strcmp(roles[i].command, words[count - 1]) == 0 && host == (roles[i].role == HOST))
			return roles[i].role;
	return 0;
}

/* For the shell's completion: what may come next. */
static int next_words(char **words, int count)
{
	unsigned int role = role_find(words, count);

	if (count == 0)
		return puts("host\nguest") < 0;
	for (size_t i = 1; !role && i < sizeof(roles) / sizeof(roles[0]); i++)
		puts(roles[i].command);
	for (const struct option *o = long_options; role && o->name; o++)
		if (option_roles(o->val) & role && o->val != OPT_LONG_OPTIONS)
			printf("--%s\n", o->name);
	return ferror(stdout) != 0;
}

/* -- Options -------------------------------------------------------------- */

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
	case OPT_TAP:
		o->tap = optarg;
		return true;
	default:
		return false;
	}
}

static bool list_add(const char **list, uint32_t *count, uint32_t most)
{
	if (*count == most)
		return false;
	list[(*count)++] = optarg;
	return true;
}

/* Options with a number, or a list. Returns false if it is not a number that they take. */
static bool option_number(struct loopback_options *o, int opt)
{
	uint32_t number;
	char *end;

	switch (opt) {
	case OPT_DISK:
		return list_add(o->disks, &o->disk_count, LOOPBACK_DISKS);
	case OPT_NIC:
		return list_add(o->nics, &o->nic_count, LOOPBACK_NICS);
	case OPT_GUESTS:
		return loopback_number(optarg, 1, 1024, &o->guests);
	case OPT_SPIN:
		return loopback_number(optarg, 0, 1000000, &o->spin_us);
	case OPT_READY_FD:
		return loopback_number(optarg, 0, 1 << 20, &number) && (o->ready_fd = (int)number, true);
	case OPT_LUN:
		return loopback_number(optarg, 0, 255, &number) && (o->lun = (int)number, true);
	case OPT_OFFSET:
		return loopback_bytes(optarg, &o->offset);
	case OPT_LENGTH:
		o->has_length = true;
		return loopback_bytes(optarg, &o->length);
	case OPT_BS:
		return loopback_number(optarg, 1, 8u << 20, &o->bs);
	case OPT_DEPTH:
		return loopback_number(optarg, 1, VSP_STORVSC_REQUESTS, &o->depth);
	case OPT_INDEX:
		return loopback_number(optarg, 0, LOOPBACK_NICS - 1, &o->index);
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

/* Fills @o; @seen: which options were there, by their place in long_options. Returns an exit
 * code, or -1: go on. */
static int options_parse(int argc, char **argv, struct loopback_options *o, uint32_t *seen)
{
	int opt, index;

	while ((opt = getopt_long(argc, argv, "", long_options, &index)) != -1) {
		if (opt == OPT_HELP)
			return fputs(usage_text, stdout) < 0;
		if (opt == OPT_VERSION)
			return puts("vmbus-loopback " VMBUS_LIBRARY_VERSION) < 0;
		if (opt == '?')
			return usage();
		*seen |= 1u << index;
		if (opt != OPT_LONG_OPTIONS && !option_plain(o, opt) && !option_number(o, opt))
			return loopback_fail(LOOPBACK_USAGE, "--%s: '%s' is not possible; see --help",
					     long_options[index].name, optarg);
	}
	return -1;
}

int main(int argc, char **argv)
{
	struct loopback_options options = {
		.guests = 16, .spin_us = 50, .ready_fd = -1, .lun = -1, .bs = 4096, .depth = 1,
		.seconds = 3,
	};
	unsigned int role;
	uint32_t seen = 0;
	int ret = options_parse(argc, argv, &options, &seen);

	if (ret >= 0)
		return ret;
	for (int i = 0; long_options[i].name; i++)
		if (seen & 1u << i && long_options[i].val == OPT_LONG_OPTIONS)
			return next_words(argv + optind, argc - optind);
	role = role_find(argv + optind, argc - optind);
	if (!role && argc - optind == 2 && strcmp(argv[optind], "guest") == 0)
		return loopback_fail(LOOPBACK_USAGE, "no command '%s'; see --help", argv[optind + 1]);
	if (!role)
		return usage();
	for (int i = 0; long_options[i].name; i++)
		if (seen & 1u << i && !(option_roles(long_options[i].val) & role))
			return loopback_fail(LOOPBACK_USAGE, "--%s is not for '%s'; see --help",
					     long_options[i].name, argv[argc - 1]);
	if (!options.socket)
		return loopback_fail(LOOPBACK_USAGE, "--socket is missing; see --help");
	return role == HOST ? loopback_host(&options) : loopback_guest(&options, argv[argc - 1]);
}
