/* SPDX-License-Identifier: MIT */
/* The host's network cards: a tap each, open as long as the host runs, lent to one guest at
 * a time. */
#include <inttypes.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loopback-host.h"

/* An adapter closes its nic with itself; what it gets is therefore not the tap but this, which
 * passes all other calls on. Queues are the tap's own. */
struct host_nic {
	struct vsp_nic lent; /* first */
	struct vsp_nic *tap;
	struct loopback_tap spec;
	struct vmbus_guid instance;
	bool used, up;
	void (*changed)(void *opaque);
	void *opaque;
};

/* -- What is lent --------------------------------------------------------- */

static struct host_nic *nic_of(struct vsp_nic *lent)
{
	return (struct host_nic *)lent;
}

static void lent_info(struct vsp_nic *lent, struct vsp_nic_info *info)
{
	struct vsp_nic *tap = nic_of(lent)->tap;

	tap->ops->get_info(tap, info);
}

static int lent_queue_new(struct vsp_nic *lent, uint32_t index, struct vmbus_loop *loop,
			  const struct vsp_nic_events *events, void *opaque, struct vsp_nic_queue **queue)
{
	struct vsp_nic *tap = nic_of(lent)->tap;

	return tap->ops->queue_new(tap, index, loop, events, opaque, queue);
}

static void lent_queue_free(struct vsp_nic_queue *queue)
{
	queue->nic->ops->queue_free(queue);
}

static unsigned int lent_send(struct vsp_nic_queue *queue, struct vsp_nic_frame *frames,
			      unsigned int count)
{
	return queue->nic->ops->send(queue, frames, count);
}

static unsigned int lent_receive(struct vsp_nic_queue *queue, struct vsp_nic_frame *frames,
				 unsigned int count)
{
	return queue->nic->ops->receive(queue, frames, count);
}

static int lent_offloads(struct vsp_nic *lent, uint32_t offloads)
{
	struct vsp_nic *tap = nic_of(lent)->tap;

	return tap->ops->set_offloads(tap, offloads);
}

static void lent_watch_link(struct vsp_nic *lent, void (*changed)(void *opaque), void *opaque)
{
	struct host_nic *nic = nic_of(lent);

	nic->changed = changed;
	nic->opaque = opaque;
}

static void lent_close(struct vsp_nic *lent)
{
	nic_of(lent)->used = false;
}

static const struct vsp_nic_ops lent_ops = {
	.size = sizeof(lent_ops),
	.get_info = lent_info,
	.queue_new = lent_queue_new,
	.queue_free = lent_queue_free,
	.send = lent_send,
	.receive = lent_receive,
	.set_offloads = lent_offloads,
	.watch_link = lent_watch_link,
	.close = lent_close,
};

/* -- The tap -------------------------------------------------------------- */

static void link_changed(void *opaque)
{
	struct host_nic *nic = opaque;
	struct vsp_nic_info info;

	lent_info(&nic->lent, &info);
	if (info.link_up == nic->up)
		return;
	nic->up = info.link_up;
	loopback_fail(0, "%s: the link is %s", nic->spec.name,
		      nic->up			       ? "up" :
		      if_nametoindex(nic->spec.name) ? "down" :
						       "down: the interface is gone");
	if (nic->changed)
		nic->changed(nic->opaque);
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

	config.name = spec->name;
	config.queues = spec->queues;
	config.mtu = spec->mtu;
	config.up = !interface_up(spec->name);
	config.loop = loop;
	if (vsp_nic_tap(&config, tap, &err))
		return loopback_fail(LOOPBACK_FAILED, "%s", err.text);
	return LOOPBACK_OK;
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

static struct vmbus_guid instance_make(const uint8_t mac[6])
{
	struct vmbus_guid id = VMBUS_GUID(0xf8615163, 0, 0x1000, 0x20, 0);

	memcpy(id.b + 10, mac, 6);
	return id;
}

int host_nic_open(const char *spec, struct vmbus_loop *loop, struct host_nic **out)
{
	struct host_nic *nic = calloc(1, sizeof(*nic));
	struct vsp_nic_info info;
	int ret;

	*out = nic;
	if (!nic)
		return loopback_fail(LOOPBACK_FAILED, "out of memory");
	nic->lent.ops = &lent_ops;
	nic->spec.host = true;
	ret = loopback_tap_parse("--nic", spec, &nic->spec);
	if (!ret)
		ret = loopback_tap_open(&nic->spec, loop, &nic->tap);
	if (ret)
		return ret;
	if (!nic->spec.has_mac)
		mac_make(&nic->spec);
	nic->instance = instance_make(nic->spec.mac);
	lent_info(&nic->lent, &info);
	nic->up = info.link_up;
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

const char *host_nic_name(const struct host_nic *nic)
{
	return nic->spec.name;
}

bool host_nic_used(const struct host_nic *nic)
{
	return nic->used;
}

int host_nic_offer(struct host_nic *nic, struct vsp_net_config *config, struct vsp_net **net)
{
	int ret;

	config->nic = &nic->lent;
	config->instance_id = nic->instance;
	config->max_channels = nic->spec.queues;
	memcpy(config->mac, nic->spec.mac, 6);
	ret = vsp_net_new(config, net);
	nic->used = ret == 0;
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
