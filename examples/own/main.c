/* SPDX-License-Identifier: MIT */
/* own-devices SOCKET [TAP]: a VMM with an event loop of its own (epoll), in which ours nests; with
 * disks and network cards of its own beside images and taps, that come and go while the guest
 * runs. Commands, a line each on standard input:
 *   disk LUN FILE     an image; with '=' before its name, a raw file as a disk of our own
 *   grow LUN BYTES    an image
 *   remove LUN
 *   nic N [TAP]       a card of our own, or a tap; there is a nic 0 from the start
 *   remove-nic N
 * Try it, as root: ./run own-devices /tmp/bus, and for a guest
 *   ./run vmbus-loopback guest --socket /tmp/bus nic --tap tap0
 * Give tap0 an address, and ping whom you like in its network. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>

#include <vmbus/shm-loopback.h>
#include <vsp/net.h>
#include <vsp/storage.h>

#include "own.h"

#define LUNS 8u
#define NICS 4u

static const char *first_tap = "";
static struct vmbus_loop *loop;
static struct vmbus_shm_peer *guest;
static struct vsp_storage *storage;
static struct vsp_disk *disks[LUNS]; /* references of our own: to grow them */
static struct vsp_net *nics[NICS];
static bool stopped;

static struct vmbus_loop *loop_of(void *opaque, struct vmbus_channel *channel)
{
	(void)opaque, (void)channel;
	return loop;
}

/* -- Disks ---------------------------------------------------------------- */

static int disk_add(unsigned int lun, const char *path, struct vmbus_error *err)
{
	struct vsp_disk *disk;
	int ret;

	if (lun >= LUNS || disks[lun])
		return -EEXIST;
	ret = path[0] == '=' ? own_disk(path + 1, &disk) : vsp_disk_open(path, NULL, &disk, err);
	if (ret)
		return ret;
	ret = vsp_storage_add_disk(storage, (uint8_t)lun, disk);
	if (ret)
		vsp_disk_unref(disk);
	else
		disks[lun] = disk;
	return ret;
}

static int disk_grow(unsigned int lun, const char *size, struct vmbus_error *err)
{
	int ret;

	if (lun >= LUNS || !disks[lun])
		return -ENOENT;
	ret = vsp_disk_resize(disks[lun], strtoull(size, NULL, 0), err);
	if (!ret)
		vsp_storage_resized(storage, (uint8_t)lun);
	return ret;
}

static int disk_remove(unsigned int lun)
{
	if (lun >= LUNS || !disks[lun])
		return -ENOENT;
	vsp_disk_unref(disks[lun]); /* it is closed when requests that run on it are over */
	disks[lun] = NULL;
	return vsp_storage_remove_disk(storage, (uint8_t)lun);
}

/* -- Network cards -------------------------------------------------------- */

/* A VMM gets such an fd from whoever started it. */
static int tap_open(const char *name, struct vsp_nic **nic, struct vmbus_error *err)
{
	struct vsp_nic_tap_config config = VSP_NIC_TAP_CONFIG_INIT;
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr)) {
		int ret = -errno;

		close(fd);
		return ret;
	}
	config.fds = &fd;
	return vsp_nic_tap(&config, nic, err);
}

static int nic_add(unsigned int n, const char *tap, struct vmbus_error *err)
{
	struct vsp_net_config config = VSP_NET_CONFIG_INIT;
	int ret;

	if (n >= NICS || nics[n])
		return -EEXIST;
	ret = *tap ? tap_open(tap, &config.nic, err) : own_nic(&config.nic);
	if (ret)
		return ret;
	config.server = vmbus_shm_peer_server(guest);
	config.loop_of = loop_of;
	config.instance_id = (struct vmbus_guid)VMBUS_GUID(0x5e0dc0de, 0, 0x4000, 0x80, 0, 0, 0, 0,
							   0, 0, (uint8_t)n);
	memcpy(config.mac, (uint8_t[]){0x00, 0x15, 0x5d, 0, 0, (uint8_t)n}, 6);
	ret = vsp_net_new(&config, &nics[n]);
	if (ret)
		config.nic->ops->close(config.nic);
	return ret;
}

static int nic_remove(unsigned int n)
{
	if (n >= NICS || !nics[n])
		return -ENOENT;
	vsp_net_free(nics[n]);
	nics[n] = NULL;
	return 0;
}

/* -- Guests that come and go ---------------------------------------------- */

static int connected(void *opaque, struct vmbus_shm_peer *peer, void **user)
{
	struct vsp_storage_config config = VSP_STORAGE_CONFIG_INIT;
	struct vmbus_error err = {0};
	int ret;

	(void)opaque, (void)user;
	guest = peer;
	config.server = vmbus_shm_peer_server(peer);
	config.loop_of = loop_of;
	ret = vsp_storage_new(&config, &storage);
	if (!ret)
		ret = nic_add(0, first_tap, &err);
	if (ret)
		fprintf(stderr, "no devices for the guest: %s %s\n", strerror(-ret), err.text);
	return ret;
}

/* Controller, cards and the disks' LUNs go with the guest's server. */
static void disconnected(void *opaque, struct vmbus_shm_peer *peer, void *user, const char *why)
{
	(void)opaque, (void)peer, (void)user;
	printf("the guest left: %s\n", why);
	guest = NULL;
	memset(nics, 0, sizeof(nics));
	for (unsigned int i = 0; i < LUNS; i++) {
		vsp_disk_unref(disks[i]);
		disks[i] = NULL;
	}
}

static void host_stopped(void *opaque)
{
	(void)opaque;
	stopped = true;
}

/* -- The loop ------------------------------------------------------------- */

static int command_run(const char *verb, unsigned int n, const char *word, struct vmbus_error *err)
{
	if (!guest)
		return -ENOTCONN;
	if (!strcmp(verb, "disk"))
		return disk_add(n, word, err);
	if (!strcmp(verb, "grow"))
		return disk_grow(n, word, err);
	if (!strcmp(verb, "remove"))
		return disk_remove(n);
	if (!strcmp(verb, "nic"))
		return nic_add(n, word, err);
	if (!strcmp(verb, "remove-nic"))
		return nic_remove(n);
	return -EINVAL;
}

/* Returns false at the end of the commands. */
static bool command_read(void)
{
	struct vmbus_error err = {0};
	char line[512], verb[16] = "", word[480] = "";
	unsigned int n = 0;
	int ret;

	if (!fgets(line, sizeof(line), stdin))
		return false;
	sscanf(line, "%15s %u %479[^\n]", verb, &n, word);
	ret = command_run(verb, n, word, &err);
	printf("%s %u: %s\n", verb, n, !ret ? "ok" : *err.text ? err.text : strerror(-ret));
	return true;
}

static int epoll_watch(int epoll, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static int loop_run(int epoll, struct vmbus_shm_host *host)
{
	struct epoll_event event;
	bool stopping = false;

	while (!stopped) {
		int n = epoll_wait(epoll, &event, 1, -1);

		if (n < 0 && errno != EINTR) /* completions interrupt it */
			return 1;
		if (n < 1)
			continue;
		if (event.data.fd == vmbus_loop_fd(loop)) {
			if (vmbus_loop_dispatch(loop) < 0)
				return 1;
		} else if (event.data.fd != STDIN_FILENO || !command_read()) {
			epoll_ctl(epoll, EPOLL_CTL_DEL, event.data.fd, NULL);
			if (!stopping)
				vmbus_shm_host_stop(host, host_stopped, NULL);
			stopping = true;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	const struct vmbus_shm_host_ops ops = {sizeof(ops), connected, disconnected, NULL};
	struct vmbus_shm_host_config config = VMBUS_SHM_HOST_CONFIG_INIT;
	struct vmbus_loop_config nested = VMBUS_LOOP_CONFIG_INIT;
	struct vmbus_shm_host *host;
	struct vmbus_error err = {0};
	int epoll = epoll_create1(EPOLL_CLOEXEC), ret;
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	setvbuf(stdin, NULL, _IONBF, 0); /* or epoll does not see lines that stdio has */
	setvbuf(stdout, NULL, _IOLBF, 0);
	nested.nested = true;
	if (argc < 2 || argc > 3 || vmbus_loop_new(&nested, &loop, &err))
		return fprintf(stderr, "usage: own-devices SOCKET [TAP] %s\n", err.text), 2;
	if (argc == 3)
		first_tap = argv[2];
	config.socket_path = argv[1];
	config.loop = loop;
	config.ops = &ops;
	config.max_guests = 1;
	if (vmbus_shm_host_new(&config, &host, &err))
		return fprintf(stderr, "%s\n", err.text), 1;
	printf("guests may come\n");
	ret = epoll_watch(epoll, vmbus_loop_fd(loop)) || epoll_watch(epoll, STDIN_FILENO) ||
	      epoll_watch(epoll, signalfd(-1, &signals, SFD_CLOEXEC));
	if (ret)
		perror("epoll");
	else
		ret = loop_run(epoll, host);
	vmbus_shm_host_free(host);
	vmbus_loop_free(loop);
	return ret;
}
