/* SPDX-License-Identifier: MIT */
/* Options, and the order in which things are made. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "vm.h"

static const char usage[] =
	"usage: minivmm --kernel FILE [OPTION]...\n"
	"Boots a Linux kernel under KVM, its disks on Hyper-V's synthetic controller.\n"
	"\n"
	"  --kernel FILE          a bzImage\n"
	"  --initrd FILE\n"
	"  --append TEXT          kernel command line\n"
	"  --memory MIB           guest RAM (default 512)\n"
	"  --cpus N               1 to 8 (default 1)\n"
	"  --disk FILE[,readonly][,lun=N][,ide][,format=F]\n"
	"                         an image in any format libvhd knows; one without a\n"
	"                         signature needs format=raw. Repeat for more\n"
	"  --threads N            storage workers (default 1)\n"
	"  --synic auto|kernel|user\n"
	"                         whose SynIC: KVM's, or the library's own (default auto)\n"
	"  --ata FILE             a raw image on an emulated ATA disk at port 0x1f0\n"
	"  --stats-json FILE      counters, written at the end\n"
	"  --control FILE         a FIFO to read commands from, one a line:\n"
	"                         add FILE[,readonly][,lun=N][,format=F] | remove N | reset | quit\n"
	"\n"
	"The console is standard input and output. Exit status 0 after a power-off.\n";

struct options {
	struct boot_image image;
	struct attach_options attach;
	struct disk_option disks[MAX_DISKS];
	const char *stats, *control, *ata;
	unsigned long memory, cpus;
};

struct watches {
	struct vm *vm;
	const struct options *options;
	struct vmbus_watch input, event, control, signal;
	char line[512];
	size_t line_len;
	int status;
};

/* -- Options -------------------------------------------------------------- */

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

static bool number(const char *text, unsigned long min, unsigned long max, unsigned long *out)
{
	char *end;

	*out = strtoul(text, &end, 10);
	return *text && !*end && *out >= min && *out <= max;
}

static bool disk_add(struct options *options, char *text)
{
	unsigned int n = options->attach.disk_count;

	if (n == MAX_DISKS || disk_option_parse(text, &options->disks[n]) < 0)
		return false;
	options->attach.disk_count++;
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
	case 'm': ok = number(value, 64, 1ul << 20, &options->memory); break;
	case 'c': ok = number(value, 1, MAX_CPUS, &options->cpus); break;
	case 'd': ok = disk_add(options, value); break;
	case 't':
		ok = number(value, 1, 64, &n);
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

static void options_parse(struct options *options, int argc, char **argv)
{
	static const struct option longs[] = {
		{"kernel", 1, NULL, 'k'}, {"initrd", 1, NULL, 'i'}, {"append", 1, NULL, 'a'},
		{"memory", 1, NULL, 'm'}, {"cpus", 1, NULL, 'c'},   {"disk", 1, NULL, 'd'},
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
}

/* -- The control loop ----------------------------------------------------- */

static void end(struct watches *watches, int status)
{
	watches->status = status;
	vmbus_loop_stop(watches->vm->loop);
}

static void reset(struct watches *watches)
{
	struct vm *vm = watches->vm;
	int err = attach_reset(vm);

	if (!err)
		err = vm_restore(vm);
	ports_init(vm);
	if (!err)
		err = boot_load(vm, &watches->options->image);
	if (err)
		end(watches, 1);
	else
		vm_resume(vm);
}

static void event_ready(struct vmbus_watch *watch, uint32_t events)
{
	struct watches *watches =
		(struct watches *)((char *)watch - offsetof(struct watches, event));
	uint64_t drained;

	(void)events;
	(void)!read(watch->fd, &drained, sizeof(drained));
	switch (vm_pause(watches->vm)) {
	case VM_RESET:
		reset(watches);
		break;
	case VM_POWER_OFF:
		end(watches, 0);
		break;
	case VM_FAILED:
		end(watches, 1);
		break;
	case VM_NONE:
		break;
	}
}

static void input_ready(struct vmbus_watch *watch, uint32_t events)
{
	struct watches *watches =
		(struct watches *)((char *)watch - offsetof(struct watches, input));
	uint8_t bytes[64];
	ssize_t n = read(watch->fd, bytes, sizeof(bytes));

	(void)events;
	if (n > 0)
		serial_input(watches->vm, bytes, (size_t)n);
	else
		vmbus_loop_unwatch(watches->vm->loop, watch, NULL);
}

static void command(struct watches *watches, char *line)
{
	struct disk_option disk;
	unsigned long lun;
	int err = 0;

	if (!strcmp(line, "quit"))
		vm_request(watches->vm, VM_POWER_OFF);
	else if (!strcmp(line, "reset"))
		vm_request(watches->vm, VM_RESET);
	else if (!strncmp(line, "add ", 4) && !disk_option_parse(line + 4, &disk))
		err = attach_add_disk(watches->vm, &disk);
	else if (!strncmp(line, "remove ", 7) && number(line + 7, 0, 255, &lun))
		err = attach_remove_disk(watches->vm, (uint8_t)lun);
	else
		err = -EINVAL;
	if (err)
		fprintf(stderr, "minivmm: %s: %s\n", line, strerror(-err));
}

static void control_ready(struct vmbus_watch *watch, uint32_t events)
{
	struct watches *watches =
		(struct watches *)((char *)watch - offsetof(struct watches, control));
	char byte;

	(void)events;
	while (read(watch->fd, &byte, 1) == 1) {
		if (byte == '\n') {
			watches->line[watches->line_len] = '\0';
			watches->line_len = 0;
			command(watches, watches->line);
		} else if (watches->line_len < sizeof(watches->line) - 1) {
			watches->line[watches->line_len++] = byte;
		}
	}
}

static void signal_ready(struct vmbus_watch *watch, uint32_t events)
{
	struct watches *watches =
		(struct watches *)((char *)watch - offsetof(struct watches, signal));

	(void)events;
	vm_request(watches->vm, VM_POWER_OFF);
}

static int watch(struct vm *vm, struct vmbus_watch *what, int fd,
		 void (*ready)(struct vmbus_watch *, uint32_t))
{
	what->fd = fd;
	what->events = POLLIN;
	what->ready = ready;
	return vmbus_loop_watch(vm->loop, what);
}

static int watch_all(struct watches *watches)
{
	const char *control = watches->options->control;
	struct vm *vm = watches->vm;
	sigset_t set;
	int err;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	err = watch(vm, &watches->event, vm->event_fd, event_ready);
	if (!err)
		err = watch(vm, &watches->signal, signalfd(-1, &set, SFD_CLOEXEC), signal_ready);
	if (!err)
		err = watch(vm, &watches->input, STDIN_FILENO, input_ready);
	if (!err && control) /* for writing too: it never ends */
		err = watch(vm, &watches->control, open(control, O_RDWR | O_NONBLOCK | O_CLOEXEC),
			    control_ready);
	return err;
}

/* -- main ----------------------------------------------------------------- */

/* Signals are for the control loop, whichever thread they arrive in. */
static void signals_block(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static int start(struct vm *vm, const struct options *options, struct watches *watches)
{
	int err = vm_init(vm, options->memory, (unsigned int)options->cpus);

	ports_init(vm);
	if (!err)
		err = vmbus_loop_new(NULL, &vm->loop, NULL);
	if (!err)
		err = attach_new(vm, &options->attach);
	if (!err && options->ata)
		err = ata_open(vm, options->ata);
	if (!err)
		err = vm_make_vcpus(vm);
	if (!err)
		err = boot_load(vm, &options->image);
	if (!err)
		err = watch_all(watches);
	if (!err)
		err = vm_run(vm);
	return err;
}

int main(int argc, char **argv)
{
	struct options options = {
		.image.append = "console=ttyS0", .memory = 512, .cpus = 1,
		.attach = {.synic = "auto", .threads = 1},
	};
	static struct vm vm;
	struct watches watches = {.vm = &vm, .options = &options};
	int err;

	options_parse(&options, argc, argv);
	signals_block();
	err = start(&vm, &options, &watches);
	if (err) {
		fprintf(stderr, "minivmm: %s\n", strerror(-err));
		return 1;
	}
	err = vmbus_loop_run(vm.loop);
	vm_stop(&vm);
	if (options.stats)
		attach_stats(&vm, options.stats);
	attach_free(&vm);
	ata_close(vm.ata);
	vm_fini(&vm);
	return err ? 1 : watches.status;
}
