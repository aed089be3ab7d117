/* SPDX-License-Identifier: MIT */
#ifndef MINIVMM_OPTIONS_H
#define MINIVMM_OPTIONS_H

#include "vm.h"

struct options {
	struct boot_image image;
	struct attach_options attach;
	struct disk_option disks[MAX_DISKS];
	struct nic_option nics[MAX_NICS];
	const char *stats, *control, *ata;
	unsigned long memory, cpus;
};

/* Exits when the command line is wrong. Texts in @options are those of @argv. */
void options_parse(struct options *options, int argc, char **argv);

/* "FILE,readonly,..." into @disk; @text is cut into pieces and stays in use. Returns 0 or
 * -EINVAL. */
int disk_option_parse(char *text, struct disk_option *disk);
bool number_parse(const char *text, unsigned long min, unsigned long max, unsigned long *out);

#endif
