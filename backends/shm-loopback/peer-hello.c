/* SPDX-License-Identifier: MIT */
/* HELLO: what a guest hands over, checked before anything is believed. */
#define _GNU_SOURCE /* F_GET_SEALS */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "host-private.h"

/* A file that could get shorter would be a SIGBUS of ours in waiting, and huge pages can
 * run out at any first touch. Returns NULL, or what is wrong. */
static const char *memory_check(const struct vmbus_shm_peer *peer, int fd, uint64_t size)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct statfs fs;
	struct stat st;

	if (seals < 0 || fstatfs(fd, &fs) || fs.f_type != TMPFS_MAGIC)
		return "its memory is not a memfd of ordinary pages";
	if ((seals & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW))
		return "its memory is not sealed against shrinking and growing";
	if (seals & F_SEAL_WRITE)
		return "its memory is sealed against writing";
	if (fstat(fd, &st) || (uint64_t)st.st_size != size || !size || size % VMBUS_PAGE_SIZE)
		return "its memory is not as long as it says, or not whole pages";
	if (size > peer->host->config.max_memory)
		return "its memory is larger than the host allows";
	return NULL;
}

static int memory_map(struct vmbus_shm_peer *peer, int fd, uint64_t size)
{
	struct vmbus_region region = VMBUS_REGION_INIT;
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (memory == MAP_FAILED)
		return -errno;
	peer->memory = memory;
	peer->memory_size = size;
	peer->mem = vmbus_mem_new();
	if (!peer->mem)
		return -ENOMEM;
	region.len = size;
	region.host = memory;
	region.fd = fd;
	return vmbus_mem_add(peer->mem, &region);
}

static bool page_valid(const struct vmbus_shm_peer *peer, uint64_t gpa)
{
	return gpa % VMBUS_PAGE_SIZE == 0 && gpa < peer->memory_size;
}

static const char *vps_make(struct vmbus_shm_peer *peer, const struct shm_hello *hello,
			    const int *fds)
{
	peer->vps = calloc(hello->vp_count, sizeof(*peer->vps));
	if (!peer->vps)
		return "the host is out of memory";
	for (uint32_t i = 0; i < hello->vp_count; i++) {
		if (!page_valid(peer, hello->vps[i].simp) || !page_valid(peer, hello->vps[i].siefp))
			return "a SynIC page is not in its memory";
		if (vmbus_shm_vp_init(peer, &peer->vps[i], &hello->vps[i], fds[i]))
			return "an interrupt is not an eventfd (or the host is out of rings)";
		peer->vp_count++;
	}
	return NULL;
}

static const char *server_make(struct vmbus_shm_peer *peer)
{
	struct vmbus_shm_host *host = peer->host;
	struct vmbus_server_config config = host->config.server;
	struct vmbus_server *server;

	config.ops = &vmbus_shm_server_ops;
	config.opaque = peer;
	config.mem = peer->mem;
	config.vp_count = peer->vp_count;
	if (vmbus_server_new(&config, &server))
		return "the host cannot make a server for it";
	peer->server = server;
	if (host->config.ops->connected(host->config.opaque, peer, &peer->user)) {
		peer->server = NULL; /* disconnected() is not called for it */
		vmbus_server_free(server);
		return "the host has no devices for it";
	}
	return NULL;
}

const char *vmbus_shm_hello_take(struct vmbus_shm_peer *peer, const struct shm_hello *hello,
				 const int *fds, unsigned int fd_count)
{
	const char *wrong;

	if (hello->magic != SHM_MAGIC || hello->version != SHM_VERSION)
		return "it speaks another protocol, or another version";
	if (!hello->vp_count || hello->vp_count > SHM_VPS_MAX)
		return "it does not have 1 to 64 processors";
	if (fd_count != 1 + hello->vp_count)
		return "it did not send its memory and an interrupt for each processor";
	wrong = memory_check(peer, fds[0], hello->memory);
	if (wrong)
		return wrong;
	if (memory_map(peer, fds[0], hello->memory))
		return "the host cannot map its memory";
	wrong = vps_make(peer, hello, fds + 1);
	return wrong ? wrong : server_make(peer);
}
