/* SPDX-License-Identifier: MIT */
/* Waiting for interrupts, and what they have left. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "guest-private.h"

/* Takes what interrupts have left. Returns true if there was something. */
static bool interrupt_take(struct vmbus_shm_guest *guest, uint32_t vp,
			   const struct vmbus_shm_wait *wait, void *message, size_t *len)
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
		vmbus_shm_guest_eom(guest, vp);
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
		return errno == EINTR ? 0 : vmbus_shm_host_gone(guest, strerror(errno));
	if (p[0].revents && read(p[0].fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		return vmbus_shm_host_gone(guest, strerror(errno));
	if (p[1].revents) {
		ssize_t len = vmbus_shm_guest_receive(guest, &unasked, sizeof(unasked), &fd);

		if (fd >= 0)
			close(fd);
		if (len >= 0)
			return vmbus_shm_host_gone(guest, "it broke the protocol");
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
		if (timeout_ms && vp_spin(guest, vp, wait))
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
