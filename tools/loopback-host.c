/* SPDX-License-Identifier: MIT */
/* The host: a storage controller with the same disks for each guest, and the same network
 * cards. */
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

#include "loopback-host.h"

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
	struct host_nic *nics[LOOPBACK_NICS];
	uint32_t disk_count, nic_count;
	bool stopping;
	struct vmbus_watch signals;
	struct vmbus_task stop;
};

/* -- Disks ---------------------------------------------------------------- */

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
		char *part = loopback_spec_part(&rest);

		if (strncmp(part, "format=", 7) == 0) {
			options->format = part + 7;
		} else if (strcmp(part, "readonly") == 0) {
			options->read_only = true;
		} else if (strncmp(part, "parents=", 8) == 0) {
			options->parent_directory = part + 8;
		} else if (strncmp(part, "lun=", 4) == 0) {
			*lun = strtol(part + 4, &end, 10);
			if (*end || end == part + 4 || *lun < 0 || *lun > 255)
				return loopback_fail(LOOPBACK_USAGE, "--disk: '%s': a LUN is 0 to 255",
						     part);
		} else {
			return loopback_fail(LOOPBACK_USAGE,
					     "--disk: '%s' is none of format=, readonly, parents=, lun=",
					     part);
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
	d->path = loopback_spec_part(&rest);
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
	for (uint32_t i = 0; i < LOOPBACK_DISKS; i++) {
		if (h->disks[i].disk)
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

/* What one guest has of the host. */
struct visit {
	struct vsp_storage *storage;
	struct vsp_net *nets[LOOPBACK_NICS];
};

static int storage_offer(struct host *h, struct vmbus_server *server, struct vsp_storage **storage)
{
	struct vsp_storage_config config = VSP_STORAGE_CONFIG_INIT;
	int ret;

	config.server = server;
	config.loop_of = loop_of;
	config.opaque = h;
	ret = vsp_storage_new(&config, storage);
	for (uint32_t i = 0; !ret && i < h->disk_count; i++)
		ret = vsp_storage_add_disk(*storage, h->disks[i].lun, h->disks[i].disk);
	return ret;
}

static int nics_offer(struct host *h, struct vmbus_server *server, struct vsp_net *nets[])
{
	struct vsp_net_config config = VSP_NET_CONFIG_INIT;
	int ret = 0;

	config.server = server;
	config.loop_of = loop_of;
	config.opaque = h;
	for (uint32_t i = 0; !ret && i < h->nic_count; i++)
		ret = host_nic_offer(h->nics[i], &config, &nets[i]);
	return ret;
}

static int connected(void *opaque, struct vmbus_shm_peer *peer, void **user)
{
	struct vmbus_server *server = vmbus_shm_peer_server(peer);
	struct visit *visit = calloc(1, sizeof(*visit));
	struct host *h = opaque;
	int ret = 0;

	if (!visit)
		return -ENOMEM;
	if (h->disk_count)
		ret = storage_offer(h, server, &visit->storage);
	if (!ret)
		ret = nics_offer(h, server, visit->nets);
	if (ret) {
		free(visit);
		return ret;
	}
	*user = visit;
	return 0;
}

static void storage_json(const struct vsp_storage_stats *stats, struct json *j)
{
	json_uint(j, "reads", stats->reads);
	json_uint(j, "writes", stats->writes);
	json_uint(j, "flushes", stats->flushes);
	json_uint(j, "unmaps", stats->unmaps);
	json_uint(j, "read_bytes", stats->read_bytes);
	json_uint(j, "write_bytes", stats->write_bytes);
	json_uint(j, "errors", stats->errors);
	json_uint(j, "bad_requests", stats->bad_requests);
}

static void faults_json(struct vmbus_server *server, struct json *j)
{
	struct vmbus_server_stats stats;

	vmbus_server_get_stats(server, &stats);
	json_object(j, "faults");
	for (unsigned int i = 0; i < VMBUS_FAULT_COUNT; i++)
		if (stats.faults[i])
			json_uint(j, vmbus_fault_name(i), stats.faults[i]);
	json_object_end(j);
}

static void visit_json(const struct host *h, const struct visit *visit, struct vmbus_shm_peer *peer,
		       const char *reason)
{
	struct vsp_storage_stats storage = {.reads = 0};
	struct json j = json_to(stdout);

	json_object(&j, NULL);
	json_string(&j, "event", "disconnected");
	json_uint(&j, "pid", vmbus_shm_peer_pid(peer));
	json_string(&j, "reason", reason);
	faults_json(vmbus_shm_peer_server(peer), &j);
	if (visit->storage)
		vsp_storage_get_stats(visit->storage, &storage);
	storage_json(&storage, &j);
	json_array(&j, "nics");
	for (uint32_t i = 0; i < h->nic_count; i++) {
		struct vsp_net_stats net;

		vsp_net_get_stats(visit->nets[i], &net);
		host_nic_json(h->nics[i], &net, &j);
	}
	json_array_end(&j);
	json_object_end(&j);
}

static void visit_text(const struct host *h, const struct visit *visit, struct vmbus_shm_peer *peer,
		       const char *reason)
{
	struct vsp_storage_stats stats;
	struct vsp_net_stats net;

	printf("guest %" PRIu32 " left: %s\n", vmbus_shm_peer_pid(peer), reason);
	if (visit->storage) {
		vsp_storage_get_stats(visit->storage, &stats);
		printf("  disks: %" PRIu64 " reads, %" PRIu64 " writes, %" PRIu64 " flushes, %" PRIu64
		       " errors\n", stats.reads, stats.writes, stats.flushes, stats.errors);
	}
	for (uint32_t i = 0; i < h->nic_count; i++) {
		vsp_net_get_stats(visit->nets[i], &net);
		host_nic_text(h->nics[i], &net, stdout);
	}
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

	if (user) {
		(h->options->json ? visit_json : visit_text)(h, user, peer, reason);
		fflush(stdout);
		free(user); /* the devices go with the server */
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
	int ret;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	h->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	h->signals.ready = signal_ready;
	h->signals.events = POLLIN;
	ret = h->signals.fd < 0 ? -errno : vmbus_loop_watch(h->loop, &h->signals);
	if (ret)
		return loopback_fail(LOOPBACK_FAILED, "cannot wait for signals: %s", strerror(-ret));
	return LOOPBACK_OK;
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
		json_uint(&j, "nics", h->nic_count);
		json_object_end(&j);
		fflush(stdout);
	} else {
		printf("serving %" PRIu32 " disk%s", h->disk_count, h->disk_count == 1 ? "" : "s");
		if (h->nic_count)
			printf(" and %" PRIu32 " network card%s", h->nic_count,
			       h->nic_count == 1 ? "" : "s");
		printf(" at %s\n", h->options->socket);
		fflush(stdout);
	}
	if (h->options->ready_fd >= 0) {
		(void)!write(h->options->ready_fd, "ready\n", 6);
		close(h->options->ready_fd);
	}
}

static int socket_listen(struct host *h)
{
	static const struct vmbus_shm_host_ops ops = {
		.size = sizeof(ops),
		.connected = connected,
		.disconnected = disconnected,
		.log = log_line,
	};
	struct vmbus_shm_host_config config = VMBUS_SHM_HOST_CONFIG_INIT;
	struct vmbus_error err;

	config.socket_path = h->options->socket;
	config.loop = h->loop;
	config.ops = &ops;
	config.opaque = h;
	config.max_guests = h->options->guests;
	if (vmbus_shm_host_new(&config, &h->shm, &err))
		return loopback_fail(LOOPBACK_FAILED, "%s", err.text);
	return LOOPBACK_OK;
}

static int host_serve(struct host *h)
{
	int ret;

	ready_tell(h);
	ret = vmbus_loop_run(h->loop);
	if (ret)
		return loopback_fail(LOOPBACK_FAILED, "the event loop failed: %s", strerror(-ret));
	return LOOPBACK_OK;
}

static int devices_open(struct host *h)
{
	const struct loopback_options *options = h->options;
	int ret = LOOPBACK_OK;

	for (uint32_t i = 0; !ret && i < options->disk_count; i++)
		ret = disk_open(h, options->disks[i]);
	while (!ret && h->nic_count < options->nic_count) {
		uint32_t i = h->nic_count++;

		ret = host_nic_open(options->nics[i], i, h->loop, &h->nics[i]);
	}
	return ret;
}

/* What is watched ends in the loop, and the signals' end comes last: it was asked for last. */
static void host_end(struct host *h)
{
	vmbus_shm_host_free(h->shm);
	disks_close(h);
	for (uint32_t i = 0; i < h->nic_count; i++)
		host_nic_close(h->nics[i]);
	vmbus_loop_unwatch(h->loop, &h->signals, signals_done);
	while (h->signals.fd >= 0 && vmbus_loop_step(h->loop, UINT64_MAX) >= 0)
		;
	vmbus_loop_free(h->loop);
}

int loopback_host(const struct loopback_options *options)
{
	struct vmbus_loop_config config = VMBUS_LOOP_CONFIG_INIT;
	struct host h = {.options = options};
	struct vmbus_error err;
	int ret;

	if (options->disk_count + options->nic_count == 0)
		return loopback_fail(LOOPBACK_USAGE, "host needs a --disk or --nic; see --help");
	config.spin_us = options->spin_us;
	if (vmbus_loop_new(&config, &h.loop, &err))
		return loopback_fail(LOOPBACK_FAILED, "%s", err.text);
	ret = signals_watch(&h);
	if (ret)
		return ret;
	ret = devices_open(&h);
	if (!ret)
		ret = socket_listen(&h);
	if (!ret)
		ret = host_serve(&h);
	host_end(&h);
	return ret;
}
