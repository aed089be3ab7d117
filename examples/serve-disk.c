/* SPDX-License-Identifier: MIT */
/* serve-disk SOCKET IMAGE: the smallest host there is. Try it:
 *   ./run serve-disk /tmp/bus disk.vhd & ./run vmbus-loopback guest --socket /tmp/bus disks */
#include <stdio.h>

#include <vmbus/shm-loopback.h>
#include <vsp/storage.h>

static struct vmbus_loop *loop;
static struct vsp_disk *disk;

static struct vmbus_loop *loop_of(void *opaque, struct vmbus_channel *channel)
{
	(void)opaque, (void)channel;
	return loop;
}

static int connected(void *opaque, struct vmbus_shm_peer *guest, void **user)
{
	struct vsp_storage_config config = VSP_STORAGE_CONFIG_INIT;
	struct vsp_storage *storage;
	int ret;

	(void)opaque, (void)user;
	config.server = vmbus_shm_peer_server(guest);
	config.loop_of = loop_of;
	ret = vsp_storage_new(&config, &storage);
	return ret ? ret : vsp_storage_add_disk(storage, 0, disk);
}

static void disconnected(void *opaque, struct vmbus_shm_peer *guest, void *user, const char *why)
{
	(void)opaque, (void)user;
	printf("guest %u left: %s\n", vmbus_shm_peer_pid(guest), why);
}

int main(int argc, char **argv)
{
	const struct vmbus_shm_host_ops ops = {sizeof(ops), connected, disconnected, NULL};
	struct vmbus_shm_host_config config = VMBUS_SHM_HOST_CONFIG_INIT;
	struct vmbus_shm_host *host;
	struct vmbus_error err = {0};

	if (argc != 3 || vmbus_loop_new(NULL, &loop, &err) || vsp_disk_open(argv[2], NULL, &disk, &err))
		return fprintf(stderr, "usage: serve-disk SOCKET IMAGE %s\n", err.text), 2;
	config.socket_path = argv[1];
	config.loop = loop;
	config.ops = &ops;
	if (vmbus_shm_host_new(&config, &host, &err))
		return fprintf(stderr, "%s\n", err.text), 1;
	return vmbus_loop_run(loop) != 0;
}
