/* SPDX-License-Identifier: MIT */
/* The host's network cards: a tap each, open as long as the host runs. */
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loopback-host.h"

#define BUSY_US 50000
#define BUSY_TRIES 200

struct host_nic {
	struct vsp_nic *tap;
	struct loopback_tap spec;
	struct vmbus_guid instance;
	bool up;
	LIST_HEAD(, loan) loans;
	struct loan *holder; /* has the tap; NULL: nobody */
};

/* What one guest's adapter has for a nic. The first that opens a queue holds the tap until it
 * has none; the others see a dead link, and wait. */
struct loan {
	struct vsp_nic nic; /* first */
	struct host_nic *of;
	LIST_ENTRY(loan) link;
	struct loan_queue *queues[LOOPBACK_QUEUES];
	uint32_t queue_count, offloads;
	void (*changed)(void *opaque);
	void *opaque;
};

struct loan_queue {
	struct vsp_nic_queue queue; /* first */
	struct vsp_nic_queue *tap;  /* NULL: another guest has it */
	uint32_t index;
	struct vmbus_loop *loop;
	struct vsp_nic_events events;
	void *opaque;
};

/* -- Who has the tap ------------------------------------------------------ */

static int queue_take(struct loan *l, struct loan_queue *q)
{
	struct vsp_nic *tap = l->of->tap;

	return tap->ops->queue_new(tap, q->index, q->loop, &q->events, q->opaque, &q->tap);
}

/* A queue that the tap refuses stays dead: there is no one to tell. */
static void tap_take(struct loan *l)
{
	struct vsp_nic *tap = l->of->tap;

	l->of->holder = l;
	(void)tap->ops->set_offloads(tap, l->offloads);
	for (uint32_t i = 0; i < LOOPBACK_QUEUES; i++)
		if (l->queues[i] && queue_take(l, l->queues[i]) == 0)
			l->queues[i]->events.readable(l->queues[i]->opaque);
	if (l->changed)
		l->changed(l->opaque);
}

static void tap_give(struct host_nic *nic)
{
	struct loan *l;

	nic->holder = NULL;
	LIST_FOREACH(l, &nic->loans, link)
		if (l->queue_count) {
			tap_take(l);
			return;
		}
}

/* -- What an adapter calls ------------------------------------------------- */

static void loan_info(struct vsp_nic *nic, struct vsp_nic_info *info)
{
	struct loan *l = (struct loan *)nic;
	struct vsp_nic *tap = l->of->tap;

	tap->ops->get_info(tap, info);
	if (l->of->holder && l->of->holder != l)
		info->link_up = false;
}

static int loan_queue_new(struct vsp_nic *nic, uint32_t index, struct vmbus_loop *loop,
			  const struct vsp_nic_events *events, void *opaque, struct vsp_nic_queue **out)
{
	struct loan *l = (struct loan *)nic;
	struct loan_queue *q = calloc(1, sizeof(*q));
	int ret = 0;

	if (!q)
		return -ENOMEM;
	q->queue.nic = nic;
	q->index = index;
	q->loop = loop;
	q->events = *events;
	q->opaque = opaque;
	if (!l->of->holder)
		l->of->holder = l;
	if (l->of->holder == l)
		ret = queue_take(l, q);
	else
		loopback_fail(0, "%s: a guest waits for it, another one has it", l->of->spec.name);
	if (ret) {
		free(q);
		return ret;
	}
	l->queues[index] = q;
	l->queue_count++;
	*out = &q->queue;
	return 0;
}

static void loan_queue_free(struct vsp_nic_queue *queue)
{
	struct loan_queue *q = (struct loan_queue *)queue;
	struct loan *l = (struct loan *)queue->nic;

	if (q->tap)
		q->tap->nic->ops->queue_free(q->tap);
	l->queues[q->index] = NULL;
	l->queue_count--;
	free(q);
	if (l->queue_count == 0 && l->of->holder == l)
		tap_give(l->of);
}

static unsigned int loan_send(struct vsp_nic_queue *queue, struct vsp_nic_frame *frames,
			      unsigned int count)
{
	struct vsp_nic_queue *tap = ((struct loan_queue *)queue)->tap;

	if (tap)
		return tap->nic->ops->send(tap, frames, count);
	for (unsigned int i = 0; i < count; i++)
		frames[i].result = -ENETDOWN;
	return count;
}

static unsigned int loan_receive(struct vsp_nic_queue *queue, struct vsp_nic_frame *frames,
				 unsigned int count)
{
	struct vsp_nic_queue *tap = ((struct loan_queue *)queue)->tap;

	return tap ? tap->nic->ops->receive(tap, frames, count) : 0;
}

static int loan_offloads(struct vsp_nic *nic, uint32_t offloads)
{
	struct loan *l = (struct loan *)nic;
	struct vsp_nic *tap = l->of->tap;

	l->offloads = offloads;
	return l->of->holder == l ? tap->ops->set_offloads(tap, offloads) : 0;
}

static void loan_watch_link(struct vsp_nic *nic, void (*changed)(void *opaque), void *opaque)
{
	struct loan *l = (struct loan *)nic;

	l->changed = changed;
	l->opaque = opaque;
}

static void loan_close(struct vsp_nic *nic)
{
	struct loan *l = (struct loan *)nic;

	LIST_REMOVE(l, link);
	free(l);
}

static const struct vsp_nic_ops loan_ops = {
	.size = sizeof(loan_ops),
	.get_info = loan_info,
	.queue_new = loan_queue_new,
	.queue_free = loan_queue_free,
	.send = loan_send,
	.receive = loan_receive,
	.set_offloads = loan_offloads,
	.watch_link = loan_watch_link,
	.close = loan_close,
};

/* -- The tap -------------------------------------------------------------- */

static bool tap_up(const struct host_nic *nic)
{
	struct vsp_nic_info info;

	nic->tap->ops->get_info(nic->tap, &info);
	return info.link_up;
}

static void link_changed(void *opaque)
{
	struct host_nic *nic = opaque;
	struct loan *l;

	if (tap_up(nic) == nic->up)
		return;
	nic->up = !nic->up;
	loopback_fail(0, "%s: the link is %s", nic->spec.name,
		      nic->up			       ? "up" :
		      if_nametoindex(nic->spec.name) ? "down" :
						       "down: the interface is gone");
	LIST_FOREACH(l, &nic->loans, link)
		if (l->changed)
			l->changed(l->opaque);
}

/* An interface that is up already needs no privilege to bring it up. */
static bool interface_up(const char *name)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq r = {.ifr_flags = 0};
	bool up;

	memcpy(r.ifr_name, name, strlen(name));
	up = fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &r) == 0 && r.ifr_flags & IFF_UP;
	if (fd >= 0)
		close(fd);
	return up;
}

int loopback_tap_open(const struct loopback_tap *spec, struct vmbus_loop *loop, struct vsp_nic **tap)
{
	struct vsp_nic_tap_config config = VSP_NIC_TAP_CONFIG_INIT;
	struct vmbus_error err = {0};
	int ret, tries = BUSY_TRIES;

	config.name = spec->name;
	config.queues = spec->queues;
	config.mtu = spec->mtu;
	config.up = !interface_up(spec->name);
	config.loop = loop;
	/* a killed process's io_uring keeps its tap a little longer than the process lives */
	while ((ret = vsp_nic_tap(&config, tap, &err)) == -EBUSY && tries-- > 0)
		usleep(BUSY_US);
	return ret ? loopback_fail(LOOPBACK_FAILED, "%s", err.text) : LOOPBACK_OK;
}

/* The guest's address: Microsoft's prefix, and what the name of the tap gives (FNV-1a). */
static void mac_make(struct loopback_tap *spec)
{
	uint32_t hash = 2166136261u;

	for (const char *c = spec->name; *c; c++)
		hash = (hash ^ (uint8_t)*c) * 16777619u;
	memcpy(spec->mac, (const uint8_t[]){0x00, 0x15, 0x5d, (uint8_t)(hash >> 16),
					   (uint8_t)(hash >> 8), (uint8_t)hash}, 6);
}

/* The bus offers cards in the order of these. */
static struct vmbus_guid instance_make(uint32_t index, const uint8_t mac[6])
{
	struct vmbus_guid id = VMBUS_GUID(0xf8615163, index, 0x1000, 0x20, 0);

	memcpy(id.b + 10, mac, 6);
	return id;
}

int host_nic_open(const char *spec, uint32_t index, struct vmbus_loop *loop, struct host_nic **out)
{
	struct host_nic *nic = calloc(1, sizeof(*nic));
	int ret;

	*out = nic;
	if (!nic)
		return loopback_fail(LOOPBACK_FAILED, "out of memory");
	LIST_INIT(&nic->loans);
	nic->spec.host = true;
	ret = loopback_tap_parse("--nic", spec, &nic->spec);
	if (!ret)
		ret = loopback_tap_open(&nic->spec, loop, &nic->tap);
	if (ret)
		return ret;
	if (!nic->spec.has_mac)
		mac_make(&nic->spec);
	nic->instance = instance_make(index, nic->spec.mac);
	nic->up = tap_up(nic);
	nic->tap->ops->watch_link(nic->tap, link_changed, nic);
	return LOOPBACK_OK;
}

void host_nic_close(struct host_nic *nic)
{
	if (!nic)
		return;
	if (nic->tap)
		nic->tap->ops->close(nic->tap);
	free(nic->spec.text);
	free(nic);
}

/* -- Guests --------------------------------------------------------------- */

int host_nic_offer(struct host_nic *nic, struct vsp_net_config *config, struct vsp_net **net)
{
	struct loan *l = calloc(1, sizeof(*l));
	int ret;

	if (!l)
		return -ENOMEM;
	l->nic.ops = &loan_ops;
	l->of = nic;
	LIST_INSERT_HEAD(&nic->loans, l, link);
	config->nic = &l->nic;
	config->instance_id = nic->instance;
	config->max_channels = nic->spec.queues;
	memcpy(config->mac, nic->spec.mac, 6);
	ret = vsp_net_new(config, net);
	if (ret)
		loan_close(&l->nic);
	return ret;
}

void host_nic_json(const struct host_nic *nic, const struct vsp_net_stats *stats, struct json *j)
{
	json_object(j, NULL);
	json_string(j, "tap", nic->spec.name);
	json_uint(j, "tx_frames", stats->tx_frames);
	json_uint(j, "tx_bytes", stats->tx_bytes);
	json_uint(j, "tx_errors", stats->tx_errors);
	json_uint(j, "tx_dropped", stats->tx_dropped);
	json_uint(j, "tx_waits", stats->tx_waits);
	json_uint(j, "rx_frames", stats->rx_frames);
	json_uint(j, "rx_bytes", stats->rx_bytes);
	json_uint(j, "rx_filtered", stats->rx_filtered);
	json_uint(j, "rx_dropped", stats->rx_dropped);
	json_uint(j, "rx_waits", stats->rx_waits);
	json_uint(j, "bad_messages", stats->bad_messages);
	json_object_end(j);
}

void host_nic_text(const struct host_nic *nic, const struct vsp_net_stats *stats, FILE *out)
{
	fprintf(out,
		"  %s: %" PRIu64 " frames from the guest (%" PRIu64 " refused, %" PRIu64
		" dropped by the tap), %" PRIu64 " to it (%" PRIu64 " filtered, %" PRIu64 " dropped)\n",
		nic->spec.name, stats->tx_frames, stats->tx_errors, stats->tx_dropped, stats->rx_frames,
		stats->rx_filtered, stats->rx_dropped);
}
