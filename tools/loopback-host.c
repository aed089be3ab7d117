/* SPDX-License-Identifier: MIT */
/* The host: one storage controller with the same disks for each guest. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <vsp/storage.h>

#include "json.h"
#include "loopback.h"

struct disk {
	struct vsp_disk *disk;
	uint8_t lun;
	char *path;
};

struct host {
	const struct loopback_options *options;
	struct vmbus_loop *loop;
	struct vmbus_shm_host *shm;
	struct disk disks[LOOPBACK_DISKS];
	uint32_t disk_count;
	bool stopping;
	struct vmbus_watch signals;
	struct vmbus_task stop;
};

/* -- Disks ---------------------------------------------------------------- */

/* Cuts the next comma-separated part off; ",," is a comma in it. */
static char *spec_part(char **rest)
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

static bool lun_used(const struct host *h, uint32_t lun)
{
	for (uint32_t i = 0; i < h->disk_count; i++)
		if (h->disks[i].lun == lun)
			return true;
	return false;
}

/* Fills what follows the file's name. Returns an exit code. */
static int spec_options(char *rest, struct vsp_disk_options *options, long *lun)
{
	char *end;

	while (rest) {
		char *part = spec_part(&rest);

		if (strncmp(part, "format=", 7) == 0) {
			options->format = part + 7;
		} else if (strcmp(part, "readonly") == 0) {
			options->read_only = true;
		} else if (strncmp(part, "lun=", 4) == 0) {
			*lun = strtol(part + 4, &end, 10);
			if (*end || end == part + 4 || *lun < 0 || *lun > 255)
				return loopback_fail(LOOPBACK_USAGE, "--disk: '%s': a LUN is 0 to 255",
						     part);
		} else {
			return loopback_fail(LOOPBACK_USAGE,
					     "--disk: '%s' is none of format=, readonly, lun=", part);
		}
	}
	return LOOPBACK_OK;
}

static int disk_open(struct host *h, const char *spec)
{
	struct vsp_disk_options options = VSP_DISK_OPTIONS_INIT;
	struct disk *d = &h->disks[h->disk_count];
	struct vmbus_error err;
	char *rest = strdup(spec);
	long lun = -1;
	int ret;

	if (!rest)
		return loopback_fail(LOOPBACK_FAILED, "out of memory");
	d->path = spec_part(&rest);
	ret = spec_options(rest, &options, &lun);
	if (ret)
		return ret;
	if (lun < 0)
		for (lun = 0; lun_used(h, (uint32_t)lun); lun++)
			;
	if (lun_used(h, (uint32_t)lun))
		return loopback_fail(LOOPBACK_USAGE, "--disk: LUN %ld is given twice", lun);
	d->lun = (uint8_t)lun;
	if (vsp_disk_open(d->path, &options, &d->disk, &err))
		return loopback_fail(LOOPBACK_FAILED, "%s", err.text);
	h->disk_count++;
	return LOOPBACK_OK;
}

static void disks_close(struct host *h)
{
	for (uint32_t i = 0; i < h->disk_count; i++) {
		vsp_disk_unref(h->disks[i].disk);
		free(h->disks[i].path);
	}
}

/* -- Guests --------------------------------------------------------------- */

static struct vmbus_loop *loop_of(void *opaque, struct vmbus_channel *channel)
{
	struct host *h = opaque;

	(void)channel;
	return h->loop;
}

static int connected(void *opaque, struct vmbus_shm_peer *peer, void **user)
{
	struct vsp_storage_config config = VSP_STORAGE_CONFIG_INIT;
	struct host *h = opaque;
	struct vsp_storage *storage;
	int ret;

	config.server = vmbus_shm_peer_server(peer);
	config.loop_of = loop_of;
	config.opaque = h;
	ret = vsp_storage_new(&config, &storage);
	for (uint32_t i = 0; !ret && i < h->disk_count; i++)
		ret = vsp_storage_add_disk(storage, h->disks[i].lun, h->disks[i].disk);
	*user = storage;
	return ret;
}

static void stats_print(const struct host *h, uint32_t pid, const char *reason,
			const struct vsp_storage_stats *stats)
{
	struct json j = json_to(stdout);

	if (!h->options->json) {
		printf("guest %" PRIu32 ": %" PRIu64 " reads, %" PRIu64 " writes, %" PRIu64
		       " flushes, %" PRIu64 " errors\n",
		       pid, stats->reads, stats->writes, stats->flushes, stats->errors);
		fflush(stdout);
		return;
	}
	json_object(&j, NULL);
	json_string(&j, "event", "disconnected");
	json_uint(&j, "pid", pid);
	json_string(&j, "reason", reason);
	json_uint(&j, "reads", stats->reads);
	json_uint(&j, "writes", stats->writes);
	json_uint(&j, "flushes", stats->flushes);
	json_uint(&j, "unmaps", stats->unmaps);
	json_uint(&j, "read_bytes", stats->read_bytes);
	json_uint(&j, "write_bytes", stats->write_bytes);
	json_uint(&j, "errors", stats->errors);
	json_uint(&j, "bad_requests", stats->bad_requests);
	json_object_end(&j);
	fflush(stdout);
}

static void stopped(void *opaque)
{
	struct host *h = opaque;

	vmbus_loop_stop(h->loop);
}

static void host_stop(struct host *h)
{
	if (h->stopping)
		return;
	h->stopping = true;
	vmbus_shm_host_stop(h->shm, stopped, h);
}

static void stop_task(struct vmbus_task *task)
{
	host_stop((struct host *)((char *)task - offsetof(struct host, stop)));
}

static void disconnected(void *opaque, struct vmbus_shm_peer *peer, void *user, const char *reason)
{
	struct host *h = opaque;
	struct vsp_storage_stats stats;

	if (user) {
		vsp_storage_get_stats(user, &stats);
		stats_print(h, vmbus_shm_peer_pid(peer), reason, &stats);
	}
	/* not from inside: the peer is still being taken down */
	if (h->options->once && !h->stop.fn) {
		h->stop.fn = stop_task;
		vmbus_loop_post(h->loop, &h->stop);
	}
}

static void log_line(void *opaque, const char *line)
{
	(void)opaque;
	fprintf(stderr, "vmbus-loopback: %s\n", line);
}

/* -- Life ----------------------------------------------------------------- */

static void signal_ready(struct vmbus_watch *watch, uint32_t events)
{
	struct host *h = (struct host *)((char *)watch - offsetof(struct host, signals));
	struct signalfd_siginfo info;

	(void)events;
	if (read(watch->fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		host_stop(h);
}

static int signals_watch(struct host *h)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	h->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	h->signals.ready = signal_ready;
	h->signals.events = POLLIN;
	return h->signals.fd < 0 ? -errno : vmbus_loop_watch(h->loop, &h->signals);
}

static void signals_done(struct vmbus_watch *watch)
{
	close(watch->fd);
	watch->fd = -1;
}

static void ready_tell(const struct host *h)
{
	struct json j = json_to(stdout);

	if (h->options->json) {
		json_object(&j, NULL);
		json_string(&j, "event", "ready");
		json_string(&j, "socket", h->options->socket);
		json_uint(&j, "disks", h->disk_count);
		json_object_end(&j);
		fflush(stdout);
	} else {
		printf("serving %" PRIu32 " disk%s at %s\n", h->disk_count,
		       h->disk_count == 1 ? "" : "s", h->options->socket);
		fflush(stdout);
	}
	if (h->options->ready_fd >= 0) {
		(void)!write(h->options->ready_fd, "ready\n", 6);
		close(h->options->ready_fd);
	}
}

static int host_serve(struct host *h)
{
	static const struct vmbus_shm_host_ops ops = {
		.size = sizeof(ops),
		.connected = connected,
		.disconnected = disconnected,
		.log = log_line,
	};
	struct vmbus_loop_config loop_config = VMBUS_LOOP_CONFIG_INIT;
	struct vmbus_shm_host_config config = VMBUS_SHM_HOST_CONFIG_INIT;
	struct vmbus_error err;
	int ret;

	loop_config.spin_us = h->options->spin_us;
	if (vmbus_loop_new(&loop_config, &h->loop, &err))
		return loopback_fail(LOOPBACK_FAILED, "%s", err.text);
	config.socket_path = h->options->socket;
	config.loop = h->loop;
	config.ops = &ops;
	config.opaque = h;
	config.max_guests = h->options->guests;
	if (vmbus_shm_host_new(&config, &h->shm, &err))
		return loopback_fail(LOOPBACK_FAILED, "%s", err.text);
	ret = signals_watch(h);
	if (ret)
		return loopback_fail(LOOPBACK_FAILED, "cannot wait for signals: %s", strerror(-ret));
	ready_tell(h);
	ret = vmbus_loop_run(h->loop);
	vmbus_shm_host_free(h->shm);
	vmbus_loop_unwatch(h->loop, &h->signals, signals_done);
	while (h->signals.fd >= 0 && vmbus_loop_step(h->loop, UINT64_MAX) >= 0)
		;
	vmbus_loop_free(h->loop);
	if (ret)
		return loopback_fail(LOOPBACK_FAILED, "the event loop failed: %s", strerror(-ret));
	return LOOPBACK_OK;
}

int loopback_host(const struct loopback_options *options)
{
	struct host h = {.options = options};
	int ret = LOOPBACK_OK;

	if (options->disk_count == 0)
		return loopback_fail(LOOPBACK_USAGE, "host needs at least one --disk; see --help");
	for (uint32_t i = 0; !ret && i < options->disk_count; i++)
		ret = disk_open(&h, options->disks[i]);
	if (!ret)
		ret = host_serve(&h);
	disks_close(&h);
	return ret;
}
