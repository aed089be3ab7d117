/* SPDX-License-Identifier: MIT */
/* The command line. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"

static const char usage[] =
	"usage: minivmm --kernel FILE [OPTION]...\n"
	"Boots a Linux kernel under KVM, its disks and network cards Hyper-V's synthetic ones.\n"
	"\n"
	"  --kernel FILE          a bzImage\n"
	"  --initrd FILE\n"
	"  --append TEXT          kernel command line\n"
	"  --memory MIB           guest RAM (default 512)\n"
	"  --cpus N               1 to 8 (default 1)\n"
	"  --disk FILE[,readonly][,lun=N][,ide][,format=F]\n"
	"                         an image in any format libvhd knows; one without a\n"
	"                         signature needs format=raw. Repeat for more\n"
	"  --nic tap=NAME[,mac=M] a network card on that tap device, which is made if it is not there\n"
	"                         (and goes with minivmm then); the link is up while the tap is.\n"
	"                         With several vCPUs the tap has several queues. Repeat for more\n"
	"  --threads N            worker threads for disks and cards (default 1)\n"
	"  --synic auto|kernel|user\n"
	"                         whose SynIC: KVM's, or the library's own (default auto)\n"
	"  --ata FILE             a raw image on an emulated ATA disk at port 0x1f0\n"
	"  --stats-json FILE      counters, written at the end\n"
	"  --control FILE         a FIFO to read commands from, one a line:\n"
	"                         add FILE[,readonly][,lun=N][,format=F] | remove N | reset | quit\n"
	"\n"
	"The console is standard input and output. Exit status 0 after a power-off.\n";

int disk_option_parse(char *text, struct disk_option *disk)
{
	char *part = strtok(text, ","), *end;

	memset(disk, 0, sizeof(*disk));
	disk->path = part;
	if (!part)
		return -EINVAL;
	while ((part = strtok(NULL, ","))) {
		if (!strcmp(part, "readonly")) {
			disk->readonly = true;
		} else if (!strcmp(part, "ide")) {
			disk->ide = true;
		} else if (!strncmp(part, "format=", 7)) {
			disk->format = part + 7;
		} else if (!strncmp(part, "lun=", 4)) {
			unsigned long lun = strtoul(part + 4, &end, 10);

			if (*end || end == part + 4 || lun > 255)
				return -EINVAL;
			disk->lun = (uint8_t)lun;
		} else {
			return -EINVAL;
		}
	}
	return 0;
}

bool number_parse(const char *text, unsigned long min, unsigned long max, unsigned long *out)
{
	char *end;

	*out = strtoul(text, &end, 10);
	return *text && !*end && *out >= min && *out <= max;
}

static bool mac_parse(const char *text, uint8_t mac[6])
{
	for (unsigned int i = 0; i < 6; i++, text += 3) {
		char *end;
		unsigned long byte = strtoul(text, &end, 16);

		if (!isxdigit((unsigned char)*text) || end != text + 2 || *end != (i < 5 ? ':' : '\0'))
			return false;
		mac[i] = (uint8_t)byte;
	}
	return !(mac[0] & 1);
}

static int nic_option_parse(char *text, struct nic_option *nic)
{
	char *part = strtok(text, ",");

	for (; part; part = strtok(NULL, ",")) {
		if (!strncmp(part, "tap=", 4))
			nic->tap = part + 4;
		else if (strncmp(part, "mac=", 4) || !mac_parse(part + 4, nic->mac))
			return -EINVAL;
	}
	return nic->tap && *nic->tap ? 0 : -EINVAL;
}

static bool disk_add(struct options *options, char *text)
{
	unsigned int n = options->attach.disk_count;

	if (n == MAX_DISKS || disk_option_parse(text, &options->disks[n]) < 0)
		return false;
	options->attach.disk_count++;
	return true;
}

static bool nic_add(struct options *options, char *text)
{
	unsigned int n = options->attach.nic_count;

	if (n == MAX_NICS)
		return false;
	/* locally administered, Hyper-V's prefix otherwise */
	options->nics[n] = (struct nic_option){.mac = {0x02, 0x15, 0x5d, 0, 0, (uint8_t)(n + 1)}};
	if (nic_option_parse(text, &options->nics[n]) < 0)
		return false;
	options->attach.nic_count++;
	return true;
}

static bool option_take(struct options *options, int option, char *value)
{
	unsigned long n = 0;
	bool ok = true;

	switch (option) {
	case 'k': options->image.kernel = value; break;
	case 'i': options->image.initrd = value; break;
	case 'a': options->image.append = value; break;
	case 'm': ok = number_parse(value, 64, 1ul << 20, &options->memory); break;
	case 'c': ok = number_parse(value, 1, MAX_CPUS, &options->cpus); break;
	case 'd': ok = disk_add(options, value); break;
	case 'n': ok = nic_add(options, value); break;
	case 't':
		ok = number_parse(value, 1, 64, &n);
		options->attach.threads = (unsigned int)n;
		break;
	case 's': options->attach.synic = value; break;
	case 'A': options->ata = value; break;
	case 'j': options->stats = value; break;
	case 'C': options->control = value; break;
	default: ok = false; break;
	}
	return ok;
}

void options_parse(struct options *options, int argc, char **argv)
{
	static const struct option longs[] = {
		{"kernel", 1, NULL, 'k'}, {"initrd", 1, NULL, 'i'}, {"append", 1, NULL, 'a'},
		{"memory", 1, NULL, 'm'}, {"cpus", 1, NULL, 'c'},   {"disk", 1, NULL, 'd'},
		{"nic", 1, NULL, 'n'},
		{"threads", 1, NULL, 't'}, {"synic", 1, NULL, 's'}, {"ata", 1, NULL, 'A'},
		{"stats-json", 1, NULL, 'j'}, {"control", 1, NULL, 'C'},
		{"help", 0, NULL, 'h'},   {NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			exit(0);
		}
		if (!option_take(options, option, optarg)) {
			if (option != '?')
				fprintf(stderr, "minivmm: bad value: %s\n", optarg);
			exit(2);
		}
	}
	if (!options->image.kernel || optind != argc) {
		fputs(usage, stderr);
		exit(2);
	}
	options->attach.disks = options->disks;
	options->attach.nics = options->nics;
}
