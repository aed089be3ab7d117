/* SPDX-License-Identifier: MIT */
/* vhdtool: looks at, checks, makes and converts disk images. */
#include <config.h>

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "vhdtool.h"

static const struct tool_command commands[] = {
	{ "info", "IMAGE", "fpaAj", 1, 1, "show what an image is", tool_info },
	{ "check", "IMAGE", "fparPjq", 1, 1, "look for damage, repair what can be", tool_check },
	{ "create", "IMAGE [SIZE]", "Otbspiwyjq", 1, 2, "make a new image", tool_create },
	{ "convert", "IMAGE NEW-IMAGE", "fpaOtbiwyTPjq", 2, 2, "copy into another format",
	  tool_convert },
	{ "map", "IMAGE", "fpaAj", 1, 1, "list which parts hold data, and where", tool_map },
	{ "resize", "IMAGE SIZE", "fpaSjq", 2, 2, "give the disk another size", tool_resize },
	{ "compact", "IMAGE", "fpaPjq", 1, 1, "make the file as short as its data allows",
	  tool_compact },
	{ "merge", "IMAGE", "fpaDPjq", 1, 1, "write a differencing image into its parent",
	  tool_merge },
	{ "rebase", "IMAGE NEW-PARENT", "fpauPjq", 2, 2, "give a differencing image another parent",
	  tool_rebase },
	{ "compare", "IMAGE IMAGE", "fFpaPjq", 2, 2, "are two disks the same?", tool_compare },
	{ "dump", "IMAGE", "j", 1, 1, "print the structures of the file", tool_dump },
};

/* One row an option: its letter in struct tool_command, how it is given, what for. */
static const struct {
	char letter;
	char shortcut;
	const char *name;
	const char *argument;
	const char *summary;
} option_rows[] = {
	{ 'f', 'f', "format", "FORMAT", "format of the image: auto, raw, vhd, vhdx" },
	{ 'F', 'F', "second-format", "FORMAT", "format of the second image" },
	{ 'p', 'p', "parent", "IMAGE", "the parent of a differencing image" },
	{ 'a', 0, "any-parent", NULL, "take a parent with another identity" },
	{ 'A', 0, "alone", NULL, "only this file, without its parents" },
	{ 'O', 'O', "output-format", "FORMAT", "format of the new image: raw, vhd, vhdx" },
	{ 't', 't', "type", "TYPE", "fixed, dynamic (default) or differencing" },
	{ 'b', 'b', "block-size", "SIZE", "block size of the new image" },
	{ 's', 's', "sector-size", "SIZE", "logical sector size of the new VHDX: 512 or 4096" },
	{ 'i', 0, "id", "UUID", "identity of the new image (default: random)" },
	{ 'w', 0, "time", "SECONDS", "its time of creation, since 1970 (default: now)" },
	{ 'y', 0, "force", NULL, "replace an existing file" },
	{ 'T', 'T', "threads", "N", "threads that copy (default: processors, at most 4)" },
	{ 'r', 0, "repair", NULL, "repair what can be" },
	{ 'S', 0, "shrink", NULL, "a smaller size is meant" },
	{ 'D', 0, "delete", NULL, "delete the image once its parent is durable" },
	{ 'u', 0, "unsafe", NULL, "only change the link, whatever the new parent holds" },
	{ 'P', 0, "progress", "FD", "write DONE/TOTAL lines there" },
	{ 'j', 0, "json", NULL, "print JSON" },
	{ 'q', 'q', "quiet", NULL, "no progress bar, no report" },
};

enum { COMMANDS = sizeof(commands) / sizeof(commands[0]),
       OPTIONS = sizeof(option_rows) / sizeof(option_rows[0]) };

static void usage(FILE *out)
{
	fprintf(out, "usage: vhdtool COMMAND [OPTION...] ARGUMENT...\n\n");
	for (int i = 0; i < COMMANDS; i++)
		fprintf(out, "  %-8s %-18s %s\n", commands[i].name, commands[i].arguments,
			commands[i].summary);
	fprintf(out, "\nvhdtool COMMAND --help tells a command's options.\n"
		     "vhdtool --version tells which one this is.\n");
}

static void command_usage(const struct tool_command *c, FILE *out)
{
	fprintf(out, "usage: vhdtool %s [OPTION...] %s\n%s\n\n", c->name, c->arguments, c->summary);
	for (int i = 0; i < OPTIONS; i++) {
		char left[48], shortcut[8] = "    ";

		if (!strchr(c->options, option_rows[i].letter))
			continue;
		if (option_rows[i].shortcut)
			snprintf(shortcut, sizeof(shortcut), "-%c, ", option_rows[i].shortcut);
		snprintf(left, sizeof(left), "%s--%s%s%s", shortcut, option_rows[i].name,
			 option_rows[i].argument ? "=" : "",
			 option_rows[i].argument ? option_rows[i].argument : "");
		fprintf(out, "  %-30s %s\n", left, option_rows[i].summary);
	}
	fprintf(out, "  %-30s %s\n  %-30s %s\n", "    --help", "this text", "    --long-options",
		"the options' names, for programs");
}

/* For shell completion: the words that may stand there. */
static int words(const struct tool_command *c)
{
	for (int i = 0; !c && i < COMMANDS; i++)
		printf("%s\n", commands[i].name);
	for (int i = 0; c && i < OPTIONS; i++)
		if (strchr(c->options, option_rows[i].letter))
			printf("--%s\n", option_rows[i].name);
	if (c)
		printf("--help\n--long-options\n");
	return TOOL_OK;
}

static bool parse_format(const char *text, enum vhd_format *format)
{
	static const enum vhd_format all[] = { VHD_FORMAT_RAW, VHD_FORMAT_VHD, VHD_FORMAT_VHDX };

	if (strcmp(text, "auto") == 0) {
		*format = VHD_FORMAT_AUTO;
		return true;
	}
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		*format = all[i];
		if (strcmp(text, vhd_format_name(all[i])) == 0)
			return true;
	}
	return false;
}

static bool parse_type(const char *text, enum vhd_type *type)
{
	for (*type = VHD_TYPE_FIXED; *type <= VHD_TYPE_DIFFERENCING; ++*type)
		if (strcmp(text, vhd_type_name(*type)) == 0)
			return true;
	return false;
}

static bool parse_number(const char *text, int *number)
{
	char *end;
	long value = strtol(text, &end, 10);

	*number = (int)value;
	return *text && !*end && value >= 0 && value <= 1 << 20;
}

static bool parse_time(const char *text, int64_t *time)
{
	char *end;

	errno = 0;
	*time = strtoll(text, &end, 10);
	return *text && !*end && errno == 0;
}

static bool option_set(struct tool_options *o, char letter, const char *value)
{
	uint64_t size;

	switch (letter) {
	case 'f':
		return parse_format(value, &o->format);
	case 'F':
		return parse_format(value, &o->second_format);
	case 'O':
		o->has_output_format = true;
		return parse_format(value, &o->output_format) &&
		       o->output_format != VHD_FORMAT_AUTO;
	case 't':
		o->has_type = true;
		return parse_type(value, &o->type);
	case 'b':
		if (!tool_parse_size(value, &size) || size > UINT32_MAX)
			return false;
		o->block_size = (uint32_t)size;
		return true;
	case 's':
		if (!tool_parse_size(value, &size) || (size != 512 && size != 4096))
			return false;
		o->sector_size = (uint32_t)size;
		return true;
	case 'T':
		return parse_number(value, &o->threads) && o->threads > 0 && o->threads <= 64;
	case 'P':
		return parse_number(value, &o->progress_fd);
	case 'p':
		o->backing = value;
		return true;
	case 'i':
		o->id = o->id_bytes;
		return tool_parse_id(value, o->id_bytes);
	case 'w':
		o->has_time = true;
		return parse_time(value, &o->time);
	}
	o->any_parent |= letter == 'a';
	o->alone |= letter == 'A';
	o->force |= letter == 'y';
	o->repair |= letter == 'r';
	o->remove |= letter == 'D';
	o->unsafe |= letter == 'u';
	o->shrink |= letter == 'S';
	o->json |= letter == 'j';
	o->quiet |= letter == 'q';
	return true;
}

/* The rows a command takes, as getopt_long() wants them. */
static void options_table(const struct tool_command *c, struct option *longs, char *shorts)
{
	int n = 0;

	*shorts = '\0';
	for (int i = 0; i < OPTIONS; i++) {
		bool argument = option_rows[i].argument != NULL;

		if (!strchr(c->options, option_rows[i].letter))
			continue;
		longs[n++] = (struct option){ option_rows[i].name,
					      argument ? required_argument : no_argument, NULL,
					      option_rows[i].letter };
		if (option_rows[i].shortcut) {
			size_t used = strlen(shorts);

			shorts[used] = option_rows[i].shortcut;
			strcpy(shorts + used + 1, argument ? ":" : "");
		}
	}
	longs[n++] = (struct option){ "help", no_argument, NULL, 1 };
	longs[n++] = (struct option){ "long-options", no_argument, NULL, 2 };
	longs[n] = (struct option){ NULL, 0, NULL, 0 };
}

static int command_run(const struct tool_command *c, int argc, char **argv)
{
	struct tool_options o = { .progress_fd = -1, .type = VHD_TYPE_DYNAMIC };
	struct option longs[OPTIONS + 3];
	char shorts[2 * OPTIONS + 1];
	int letter;

	options_table(c, longs, shorts);
	while ((letter = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		if (letter == 1) {
			command_usage(c, stdout);
			return TOOL_OK;
		}
		if (letter == 2)
			return words(c);
		if (letter == '?')
			return tool_usage("see vhdtool %s --help", c->name);
		if (!option_set(&o, (char)letter, optarg))
			return tool_usage(
				"\"%s\" is no value for that option, see vhdtool %s --help",
				optarg, c->name);
	}
	if (argc - optind < c->least || argc - optind > c->most) {
		command_usage(c, stderr);
		return TOOL_USAGE;
	}
	return c->run(&o, argv + optind);
}

/* A full disk must not look like a short answer. */
static int stdout_end(int code)
{
	return fflush(stdout) == 0 && !ferror(stdout) ? code :
							tool_fail("cannot write the output");
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		usage(stderr);
		return TOOL_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
		usage(stdout);
		return TOOL_OK;
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("vhdtool %s\n", PACKAGE_VERSION);
		return TOOL_OK;
	}
	if (strcmp(argv[1], "--long-options") == 0)
		return words(NULL);
	for (int i = 0; i < COMMANDS; i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return stdout_end(command_run(&commands[i], argc - 1, argv + 1));
	return tool_usage("no command \"%s\", see vhdtool --help", argv[1]);
}
