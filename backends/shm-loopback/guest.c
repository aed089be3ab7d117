/* SPDX-License-Identifier: MIT */
/* The guest's end: its life, and RAM of its own. */
#define _GNU_SOURCE /* memfd_create */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "guest-private.h"

/* -- Memory --------------------------------------------------------------- */

void *vmbus_shm_guest_page(struct vmbus_shm_guest *guest, uint64_t pfn)
{
	return pfn < guest->pages ? guest->memory + (pfn << VMBUS_PAGE_SHIFT) : NULL;
}

int vmbus_shm_guest_alloc(struct vmbus_shm_guest *guest, uint32_t pages, uint64_t *pfns)
{
	if (pages > guest->pages - guest->next_page)
		return -ENOMEM;
	for (uint32_t i = 0; i < pages; i++)
		pfns[i] = guest->next_page++;
	return 0;
}

/* Maps the data pages at @at, runs of neighbours with one call. */
static int pages_map(struct vmbus_shm_guest *guest, const uint64_t *pfns, uint32_t count,
		     uint8_t *at)
{
	for (uint32_t i = 0, run; i < count; i += run) {
		for (run = 1; i + run < count && pfns[i + run] == pfns[i] + run; run++)
			continue;
		if (mmap(at + (size_t)i * VMBUS_PAGE_SIZE, (size_t)run * VMBUS_PAGE_SIZE,
			 PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, guest->memfd,
			 (off_t)(pfns[i] << VMBUS_PAGE_SHIFT)) == MAP_FAILED)
			return -ENOMEM;
	}
	return 0;
}

int vmbus_shm_guest_map_ring(struct vmbus_shm_guest *guest, const uint64_t *pfns, uint32_t pages,
			     struct vmbus_ring_memory *ring)
{
	size_t len = ((size_t)pages - 1) * VMBUS_PAGE_SIZE;
	struct guest_mapping *mapping;
	uint8_t *data;

	if (pages < 2 || len > UINT32_MAX)
		return -EINVAL;
	for (uint32_t i = 0; i < pages; i++)
		if (pfns[i] >= guest->pages)
			return -EINVAL;
	mapping = malloc(sizeof(*mapping));
	if (!mapping)
		return -ENOMEM;
	data = mmap(NULL, 2 * len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (data == MAP_FAILED) {
		free(mapping);
		return -ENOMEM;
	}
	*mapping = (struct guest_mapping){.address = data, .len = 2 * len};
	SLIST_INSERT_HEAD(&guest->mappings, mapping, link);
	if (pages_map(guest, pfns + 1, pages - 1, data) ||
	    pages_map(guest, pfns + 1, pages - 1, data + len))
		return -ENOMEM;
	*ring = (struct vmbus_ring_memory){
		.control = vmbus_shm_guest_page(guest, pfns[0]),
		.data = data,
		.size = (uint32_t)len,
	};
	return 0;
}

/* -- Life ----------------------------------------------------------------- */

static int guest_connect(struct vmbus_shm_guest *guest, const char *path, struct vmbus_error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int r;

	if (strlen(path) >= sizeof(address.sun_path))
		return vmbus_error_set(err, -EINVAL, "%s: too long for a socket's path", path);
	memcpy(address.sun_path, path, strlen(path) + 1);
	guest->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (guest->socket < 0)
		return vmbus_error_set(err, -errno, "socket: %m");
	if (!connect(guest->socket, (struct sockaddr *)&address, sizeof(address)))
		return 0;
	r = -errno;
	if (r == -ECONNREFUSED || r == -ENOENT)
		return vmbus_error_set(err, r, "%s: no host listens there: start vmbus-loopback "
				       "host --socket %s", path, path);
	return vmbus_error_set(err, r, "%s: cannot connect: %m", path);
}

static int memory_make(struct vmbus_shm_guest *guest, uint64_t bytes, struct vmbus_error *err)
{
	guest->pages = bytes >> VMBUS_PAGE_SHIFT;
	guest->next_page = 1;
	guest->memfd = memfd_create("vmbus-guest-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (guest->memfd < 0 || ftruncate(guest->memfd, (off_t)bytes) ||
	    fcntl(guest->memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return vmbus_error_set(err, -errno, "guest memory of %llu bytes: %m",
				       (unsigned long long)bytes);
	guest->memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, guest->memfd, 0);
	if (guest->memory == MAP_FAILED) {
		guest->memory = NULL;
		return vmbus_error_set(err, -ENOMEM, "guest memory of %llu bytes: %m",
				       (unsigned long long)bytes);
	}
	return 0;
}

static int vp_make(struct vmbus_shm_guest *guest, struct guest_vp *v, struct shm_vp *pages)
{
	uint64_t pfns[2];

	if (vmbus_shm_guest_alloc(guest, 2, pfns))
		return -ENOMEM;
	pages->simp = pfns[0] << VMBUS_PAGE_SHIFT;
	pages->siefp = pfns[1] << VMBUS_PAGE_SHIFT;
	v->simp = vmbus_shm_guest_page(guest, pfns[0]);
	v->siefp = vmbus_shm_guest_page(guest, pfns[1]);
	v->interrupt = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return v->interrupt < 0 ? -errno : 0;
}

static int vps_make(struct vmbus_shm_guest *guest, struct shm_hello *hello, struct vmbus_error *err)
{
	guest->vps = calloc(hello->vp_count, sizeof(*guest->vps));
	if (!guest->vps)
		return vmbus_error_set(err, -ENOMEM, "out of memory");
	for (; guest->vp_count < hello->vp_count; guest->vp_count++) {
		uint32_t i = guest->vp_count;
		int r = vp_make(guest, &guest->vps[i], &hello->vps[i]);

		if (r)
			return vmbus_error_set(err, r, "cannot make processor %u: %s", i,
					       strerror(-r));
	}
	return 0;
}

static int hello_say(struct vmbus_shm_guest *guest, struct shm_hello *hello, struct vmbus_error *err)
{
	int fds[SHM_FDS_MAX] = {guest->memfd}, fd = -1, r;
	struct shm_reply reply;

	for (uint32_t i = 0; i < guest->vp_count; i++)
		fds[1 + i] = guest->vps[i].interrupt;
	r = vmbus_shm_guest_send(guest, &hello->header, sizeof(*hello), fds, 1 + guest->vp_count);
	if (!r)
		r = vmbus_shm_guest_reply(guest, &hello->header, &reply, sizeof(reply), &fd);
	if (fd >= 0)
		close(fd);
	if (r)
		return vmbus_error_set(err, -EPROTO, "%s", vmbus_shm_guest_gone(guest));
	reply.text[sizeof(reply.text) - 1] = '\0';
	return reply.status ? vmbus_error_set(err, -EPROTO, "the host turned this guest away: %s",
					      reply.text)
			    : 0;
}

/* All is there before the host hears of us: a crowded host has no patience. */
int vmbus_shm_guest_new(const struct vmbus_shm_guest_config *config, struct vmbus_shm_guest **out,
			struct vmbus_error *err)
{
	struct shm_hello hello = {.header.type = SHM_HELLO,
				  .magic = SHM_MAGIC,
				  .version = SHM_VERSION,
				  .vp_count = config->vp_count,
				  .memory = config->memory};
	struct vmbus_shm_guest *guest;
	int r;

	if (config->size != sizeof(*config) || !config->socket_path || !config->vp_count ||
	    config->vp_count > SHM_VPS_MAX || !config->memory || config->memory % VMBUS_PAGE_SIZE)
		return vmbus_error_set(err, -EINVAL, "shm guest: incomplete configuration");
	guest = calloc(1, sizeof(*guest));
	if (!guest)
		return vmbus_error_set(err, -ENOMEM, "out of memory");
	guest->socket = guest->memfd = -1;
	SLIST_INIT(&guest->mappings);
	spin_init(&guest->spin, config->spin_us);
	r = memory_make(guest, config->memory, err);
	if (!r)
		r = vps_make(guest, &hello, err);
	if (!r)
		r = guest_connect(guest, config->socket_path, err);
	if (!r)
		r = hello_say(guest, &hello, err);
	if (r) {
		vmbus_shm_guest_free(guest);
		return r;
	}
	*out = guest;
	return 0;
}

static void fd_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

void vmbus_shm_guest_free(struct vmbus_shm_guest *guest)
{
	struct guest_mapping *mapping;

	if (!guest)
		return;
	fd_close(guest->socket);
	while ((mapping = SLIST_FIRST(&guest->mappings))) {
		SLIST_REMOVE_HEAD(&guest->mappings, link);
		munmap(mapping->address, mapping->len);
		free(mapping);
	}
	if (guest->memory)
		munmap(guest->memory, guest->pages << VMBUS_PAGE_SHIFT);
	fd_close(guest->memfd);
	for (uint32_t i = 0; i < guest->vp_count; i++)
		fd_close(guest->vps[i].interrupt);
	free(guest->vps);
	for (size_t i = 0; i < guest->doorbell_count; i++)
		close(guest->doorbells[i].fd);
	free(guest->doorbells);
	free(guest);
}
