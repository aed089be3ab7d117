/* SPDX-License-Identifier: MIT */
/* The control loop, and the order in which things are made. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "options.h"

struct watches {
	struct vm *vm;
	const struct options *options;
	struct vmbus_watch input, event, control, signal;
	char line[512];
	size_t line_len;
	int status;
};

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
	else if (!strncmp(line, "remove ", 7) && number_parse(line + 7, 0, 255, &lun))
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
