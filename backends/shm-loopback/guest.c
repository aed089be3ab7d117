/* SPDX-License-Identifier: MIT */
/* The guest's end: RAM of its own, the hypercalls, the interrupt. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <vmbus/shm-loopback.h>
#include <vmbus/synic.h>

#include "protocol.h"
#include "spin.h"

#define REPLY_MS 30000 /* a host that answers later is as good as gone */

struct guest_vp {
	struct vmbus_synic_message *simp;
	struct vmbus_synic_event_flags *siefp;
	int interrupt; /* eventfd */
};

struct guest_doorbell {
	uint32_t connection_id;
	int fd;
};

struct guest_mapping {
	SLIST_ENTRY(guest_mapping) link;
	void *address;
	size_t len;
};

struct vmbus_shm_guest {
	int socket, memfd;
	uint8_t *memory;
	uint64_t pages, next_page; /* handed out from page 1 on: 0 is no address */
	uint32_t vp_count, sequence;
	struct guest_vp *vps;
	struct guest_doorbell *doorbells;
	size_t doorbell_count;
	SLIST_HEAD(, guest_mapping) mappings;
	struct spin spin;
	uint64_t rung, sleeps, spin_ns;
	bool is_gone;
	char gone[SHM_TEXT + 32];
};

/* -- The socket ----------------------------------------------------------- */

static int host_gone(struct vmbus_shm_guest *guest, const char *why)
{
	if (!guest->is_gone)
		snprintf(guest->gone, sizeof(guest->gone), "the host is gone: %s", why);
	guest->is_gone = true;
	return -EPIPE;
}

const char *vmbus_shm_guest_gone(const struct vmbus_shm_guest *guest)
{
	return guest->is_gone ? guest->gone : NULL;
}

/* Receives a message. Returns its length; -EAGAIN; or -EPIPE. */
static ssize_t message_receive(struct vmbus_shm_guest *guest, void *message, size_t size, int *fd)
{
	int fds[SHM_FDS_MAX];
	unsigned int fd_count;
	ssize_t len = vmbus_shm_recv(guest->socket, message, size, fds, &fd_count);
	struct shm_header header;
	struct shm_reply bye;

	*fd = fd_count ? fds[0] : -1;
	while (fd_count > 1)
		close(fds[--fd_count]);
	if (len == -EAGAIN || len == -EINTR)
		return -EAGAIN;
	if (len <= 0)
		return host_gone(guest, len ? "it broke the protocol" : "it closed the connection");
	if ((size_t)len < sizeof(header))
		return host_gone(guest, "it broke the protocol");
	memcpy(&header, message, sizeof(header));
	if (header.type != SHM_BYE)
		return len;
	memset(&bye, 0, sizeof(bye));
	memcpy(&bye, message, (size_t)len < sizeof(bye) ? (size_t)len : sizeof(bye));
	bye.text[sizeof(bye.text) - 1] = '\0';
	return host_gone(guest, bye.text);
}

static int reply_wait(struct vmbus_shm_guest *guest, const struct shm_header *request, void *reply,
		      size_t size, int *fd)
{
	struct pollfd p = {.fd = guest->socket, .events = POLLIN};
	struct shm_header header;

	for (;;) {
		ssize_t len = message_receive(guest, reply, size, fd);

		if (len == -EAGAIN) {
			int r = poll(&p, 1, REPLY_MS);

			if (r == 0)
				return host_gone(guest, "it does not answer");
			if (r < 0 && errno != EINTR)
				return host_gone(guest, strerror(errno));
			continue;
		}
		if (len < 0)
			return (int)len;
		memcpy(&header, reply, sizeof(header));
		if ((size_t)len == size && header.type == (request->type | SHM_REPLY) &&
		    header.sequence == request->sequence)
			return 0;
		if (*fd >= 0)
			close(*fd);
		return host_gone(guest, "it broke the protocol");
	}
}

/* What could not be sent may have a reason that lies in the socket: BYE. */
static int send_failed(struct vmbus_shm_guest *guest, int error)
{
	struct shm_reply last;
	int fd;

	while (message_receive(guest, &last, sizeof(last), &fd) >= 0)
		if (fd >= 0)
			close(fd);
	return host_gone(guest, strerror(-error));
}

static int message_send(struct vmbus_shm_guest *guest, struct shm_header *message, size_t len,
			const int *fds, unsigned int fd_count)
{
	struct pollfd p = {.fd = guest->socket, .events = POLLOUT};
	int r;

	if (guest->is_gone)
		return -EPIPE;
	message->sequence = ++guest->sequence;
	while ((r = vmbus_shm_send(guest->socket, message, len, fds, fd_count)) == -EAGAIN)
		if (poll(&p, 1, REPLY_MS) == 0)
			return host_gone(guest, "it does not take messages");
	return r ? send_failed(guest, r) : 0;
}

/* One request and its reply; *@fd: what came with it, or -1. Returns 0 or -EPIPE. */
static int request_run(struct vmbus_shm_guest *guest, struct shm_header *request, size_t len,
		       void *reply, size_t reply_size, int *fd)
{
	int r = message_send(guest, request, len, NULL, 0);

	*fd = -1;
	return r ? r : reply_wait(guest, request, reply, reply_size, fd);
}

/* -- Hypercalls ----------------------------------------------------------- */

uint32_t vmbus_shm_guest_post(struct vmbus_shm_guest *guest, uint32_t connection_id, const void *message,
			      size_t len)
{
	struct shm_post_message request = {.header.type = SHM_POST_MESSAGE};
	struct shm_reply reply;
	int fd;

	if (len > VMBUS_MESSAGE_MAX)
		return HV_STATUS_INVALID_PARAMETER;
	request.call.connection_id = connection_id;
	request.call.type = VMBUS_MESSAGE_TYPE;
	request.call.payload_size = (uint32_t)len;
	memcpy(request.call.payload, message, len);
	if (request_run(guest, &request.header, sizeof(request), &reply, sizeof(reply), &fd))
		return HV_STATUS_INVALID_CONNECTION_ID;
	if (fd >= 0)
		close(fd);
	return reply.status;
}

static void eom_send(struct vmbus_shm_guest *guest, uint32_t vp)
{
	struct shm_eom eom = {.header.type = SHM_EOM, .vp = vp};

	(void)message_send(guest, &eom.header, sizeof(eom), NULL, 0);
}

/* The host keeps a connection id's eventfd for as long as we are connected. */
static int doorbell_get(struct vmbus_shm_guest *guest, uint32_t connection_id)
{
	struct shm_doorbell_get request = {.header.type = SHM_DOORBELL_GET,
					   .connection_id = connection_id};
	struct guest_doorbell *grown;
	struct shm_reply reply;
	int fd;

	for (size_t i = 0; i < guest->doorbell_count; i++)
		if (guest->doorbells[i].connection_id == connection_id)
			return guest->doorbells[i].fd;
	if (request_run(guest, &request.header, sizeof(request), &reply, sizeof(reply), &fd) || fd < 0)
		return -1;
	grown = realloc(guest->doorbells, (guest->doorbell_count + 1) * sizeof(*grown));
	if (!grown) {
		close(fd);
		return -1;
	}
	guest->doorbells = grown;
	grown[guest->doorbell_count++] = (struct guest_doorbell){connection_id, fd};
	return fd;
}

void vmbus_shm_guest_signal(struct vmbus_shm_guest *guest, uint32_t connection_id)
{
	static const uint64_t one = 1;
	int fd = doorbell_get(guest, connection_id);

	if (fd >= 0 && write(fd, &one, sizeof(one)) == (ssize_t)sizeof(one))
		guest->rung++;
}

int vmbus_shm_guest_usage(struct vmbus_shm_guest *guest, struct vmbus_shm_usage *usage)
{
	struct shm_header request = {.type = SHM_USAGE};
	struct shm_usage_reply reply;
	int fd, r = request_run(guest, &request, sizeof(request), &reply, sizeof(reply), &fd);

	if (r)
		return r;
	if (fd >= 0)
		close(fd);
	*usage = (struct vmbus_shm_usage){
		.host_cpu_ns = reply.host_cpu_ns,
		.host_enters = reply.host_enters,
		.host_sleeps = reply.host_sleeps,
		.host_spin_ns = reply.host_spin_ns,
		.interrupts = reply.interrupts,
		.doorbells = guest->rung,
		.guest_sleeps = guest->sleeps,
		.guest_spin_ns = guest->spin_ns,
	};
	return 0;
}

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
static int pages_map(struct vmbus_shm_guest *guest, const uint64_t *pfns, uint32_t count, uint8_t *at)
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

/* -- Waiting -------------------------------------------------------------- */

/* Takes what interrupts have left. Returns true if there was something. */
static bool interrupt_take(struct vmbus_shm_guest *guest, uint32_t vp, const struct vmbus_shm_wait *wait,
			   void *message, size_t *len)
{
	struct guest_vp *v = &guest->vps[vp];
	bool found = false, eom;
	int flag = -1, n;

	while ((flag = vmbus_synic_take_flag(&v->siefp[VMBUS_SINT], (uint32_t)(flag + 1))) >= 0) {
		found = true;
		if (wait->event)
			wait->event(wait->arg, (uint32_t)flag);
		if (flag == VMBUS_EVENT_FLAGS - 1)
			break;
	}
	n = vmbus_synic_take(&v->simp[VMBUS_SINT], message, &eom);
	*len = n < 0 ? 0 : (size_t)n;
	if (eom)
		eom_send(guest, vp);
	return found || n >= 0;
}

static bool vp_idle(const struct guest_vp *v, const struct vmbus_shm_wait *wait)
{
	return !__atomic_load_n(&v->simp[VMBUS_SINT].type, __ATOMIC_RELAXED) &&
	       (!wait->idle || wait->idle(wait->arg));
}

/* Returns true if something came. */
static bool vp_spin(struct vmbus_shm_guest *guest, uint32_t vp, const struct vmbus_shm_wait *wait)
{
	uint64_t start = spin_clock(), now = start, end = spin_begin(&guest->spin, now);
	bool found = false;

	if (!end)
		return false;
	do {
		for (unsigned int i = 0; i < SPIN_STRIDE && !found; i++) {
			spin_relax();
			found = !vp_idle(&guest->vps[vp], wait);
		}
		now = spin_clock();
	} while (!found && now < end);
	spin_end(&guest->spin, start, now, found);
	guest->spin_ns += now - start;
	return found;
}

/* Sleeps until the interrupt, or the end of the host. */
static int vp_sleep(struct vmbus_shm_guest *guest, uint32_t vp, int timeout_ms)
{
	struct pollfd p[2] = {{.fd = guest->vps[vp].interrupt, .events = POLLIN},
			      {.fd = guest->socket, .events = POLLIN}};
	struct shm_reply unasked;
	uint64_t count;
	int fd, r;

	guest->sleeps++;
	r = poll(p, 2, timeout_ms);
	if (r == 0)
		return -ETIMEDOUT;
	if (r < 0)
		return errno == EINTR ? 0 : host_gone(guest, strerror(errno));
	if (p[0].revents && read(p[0].fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return host_gone(guest, strerror(errno));
	if (p[1].revents) {
		ssize_t len = message_receive(guest, &unasked, sizeof(unasked), &fd);

		if (fd >= 0)
			close(fd);
		if (len >= 0)
			return host_gone(guest, "it broke the protocol");
	}
	return 0; /* what the host did before its end counts still */
}

int vmbus_shm_guest_wait(struct vmbus_shm_guest *guest, uint32_t vp, int timeout_ms,
			 const struct vmbus_shm_wait *wait, void *message, size_t *len)
{
	static const struct vmbus_shm_wait nothing;
	uint64_t start = 0;
	int r, left = timeout_ms;

	if (vp >= guest->vp_count)
		return -EINVAL;
	if (!wait)
		wait = &nothing;
	for (;;) {
		if (interrupt_take(guest, vp, wait, message, len))
			return 0;
		if (wait->idle && !wait->idle(wait->arg))
			return 0;
		if (vp_spin(guest, vp, wait))
			continue;
		if (wait->arm && wait->arm(wait->arg))
			return 0;
		if (guest->is_gone)
			return -EPIPE;
		if (timeout_ms > 0) {
			uint64_t now = spin_clock();

			start = start ? start : now;
			left = timeout_ms - (int)((now - start) / 1000000u);
		}
		r = vp_sleep(guest, vp, left < 0 && timeout_ms >= 0 ? 0 : left);
		if (r == -ETIMEDOUT)
			return r;
	}
}

int vmbus_shm_guest_fd(const struct vmbus_shm_guest *guest, uint32_t vp)
{
	return vp < guest->vp_count ? guest->vps[vp].interrupt : -EINVAL;
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
		return vmbus_error_set(err, r, "%s: no host listens there: start vmbus-loopback host "
				       "--socket %s", path, path);
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

static int hello_say(struct vmbus_shm_guest *guest, uint32_t vp_count, struct vmbus_error *err)
{
	struct shm_hello hello = {.header.type = SHM_HELLO,
				  .magic = SHM_MAGIC,
				  .version = SHM_VERSION,
				  .vp_count = vp_count,
				  .memory = guest->pages << VMBUS_PAGE_SHIFT};
	int fds[SHM_FDS_MAX] = {guest->memfd}, fd = -1, r;
	struct shm_reply reply;

	guest->vps = calloc(vp_count, sizeof(*guest->vps));
	if (!guest->vps)
		return vmbus_error_set(err, -ENOMEM, "out of memory");
	for (; guest->vp_count < vp_count; guest->vp_count++) {
		struct guest_vp *v = &guest->vps[guest->vp_count];

		r = vp_make(guest, v, &hello.vps[guest->vp_count]);
		if (r)
			return vmbus_error_set(err, r, "cannot make processor %u: %s", guest->vp_count,
					       strerror(-r));
		fds[1 + guest->vp_count] = v->interrupt;
	}
	r = message_send(guest, &hello.header, sizeof(hello), fds, 1 + vp_count);
	if (!r)
		r = reply_wait(guest, &hello.header, &reply, sizeof(reply), &fd);
	if (fd >= 0)
		close(fd);
	if (r)
		return vmbus_error_set(err, -EPROTO, "%s", vmbus_shm_guest_gone(guest));
	reply.text[sizeof(reply.text) - 1] = '\0';
	return reply.status ? vmbus_error_set(err, -EPROTO, "the host turned this guest away: %s",
					      reply.text)
			    : 0;
}

int vmbus_shm_guest_new(const struct vmbus_shm_guest_config *config, struct vmbus_shm_guest **out,
			struct vmbus_error *err)
{
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
	r = guest_connect(guest, config->socket_path, err);
	if (!r)
		r = memory_make(guest, config->memory, err);
	if (!r)
		r = hello_say(guest, config->vp_count, err);
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
