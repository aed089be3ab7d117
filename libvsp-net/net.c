/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net-priv.h"

#define FRIENDLY_NAME "Network Adapter"

void vsp_net_stats_add(struct vsp_net_stats *sum, const struct vsp_net_stats *stats)
{
	uint64_t *to = (uint64_t *)sum;
	const uint64_t *from = (const uint64_t *)stats;

	for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++)
		to[i] += from[i];
}

static void link_changed(void *opaque)
{
	struct vsp_net *net = opaque;

	atomic_store(&net->link_changed, true);
	pthread_mutex_lock(&net->lock);
	vsp_net_kick(net->channels[0]);
	pthread_mutex_unlock(&net->lock);
}

void vsp_net_session_reset(struct vsp_net *net)
{
	vsp_net_buffer_drop(net, true);
	vsp_net_buffer_drop(net, false);
	vsp_nvsp_reset(&net->nvsp);
	vsp_adapter_reset(&net->adapter);
	net->table_sent = false;
	net->control_count = 0;
	net->control_slots = 0;
	net->offloads_untold = false;
	atomic_store(&net->message_state, NET_MESSAGE_NONE);
}

static int config_check(const struct vsp_net_config *config)
{
	if (config->size != sizeof(*config) || !config->server || !config->nic || !config->loop_of)
		return -EINVAL;
	if (config->max_channels < 1 || config->max_channels > VSP_NET_CHANNELS || config->mac[0] & 1)
		return -EINVAL;
	return 0;
}

static void adapter_setup(struct vsp_net *net)
{
	const char *name = net->config.friendly_name ? net->config.friendly_name : FRIENDLY_NAME;
	struct vsp_adapter *a = &net->adapter;
	struct vsp_nic_info info = {0};

	net->nic->ops->get_info(net->nic, &info);
	memcpy(a->permanent_mac, net->config.mac, 6);
	a->allow_mac_change = net->config.allow_mac_change;
	strncpy(a->friendly_name, name, sizeof(a->friendly_name) - 1);
	a->max_channels = net->config.max_channels < info.queues ? net->config.max_channels : info.queues;
	a->nic_offloads = info.offloads;
	a->link_up = info.link_up;
	a->speed_bps = info.speed_bps;
	net->nvsp.ops = &vsp_net_nvsp_ops;
	net->nvsp.opaque = net;
	net->nvsp.max_version = net->config.max_version;
}

void vsp_net_destroy(struct vsp_net *net)
{
	net->nic->ops->watch_link(net->nic, NULL, NULL);
	net->nic->ops->close(net->nic);
	pthread_mutex_destroy(&net->lock);
	pthread_mutex_destroy(&net->slot_lock);
	free(net);
}

int vsp_net_new(const struct vsp_net_config *config, struct vsp_net **out)
{
	struct vmbus_offer offer = VMBUS_OFFER_INIT;
	struct vsp_net *net;
	int ret = config_check(config);

	if (ret)
		return ret;
	net = calloc(1, sizeof(*net));
	if (!net)
		return -ENOMEM;
	net->config = *config;
	net->nic = config->nic;
	pthread_mutex_init(&net->lock, NULL);
	pthread_mutex_init(&net->slot_lock, NULL);
	adapter_setup(net);
	net->config.friendly_name = NULL; /* copied: the caller's may go */
	vsp_net_session_reset(net);
	offer.interface_id = (struct vmbus_guid)VMBUS_GUID_NET;
	offer.instance_id = config->instance_id;
	offer.ops = &vsp_net_channel_ops;
	offer.device = net;
	ret = vmbus_server_offer(config->server, &offer, &net->primary);
	if (ret) {
		pthread_mutex_destroy(&net->lock);
		pthread_mutex_destroy(&net->slot_lock);
		free(net);
		return ret;
	}
	net->nic->ops->watch_link(net->nic, link_changed, net);
	*out = net;
	return 0;
}

void vsp_net_free(struct vsp_net *net)
{
	if (net)
		vmbus_channel_revoke(net->primary);
}

void vsp_net_get_stats(struct vsp_net *net, struct vsp_net_stats *stats)
{
	pthread_mutex_lock(&net->lock);
	*stats = net->past;
	for (uint32_t i = 0; i < VSP_NET_CHANNELS; i++) {
		struct net_channel *ch = net->channels[i];

		if (!ch)
			continue;
		pthread_mutex_lock(&ch->lock);
		vsp_net_stats_add(stats, &ch->stats);
		pthread_mutex_unlock(&ch->lock);
	}
	pthread_mutex_unlock(&net->lock);
}

void vsp_net_get_state(struct vsp_net *net, struct vsp_net_state *state)
{
	vsp_net_change_begin(net);
	*state = (struct vsp_net_state){
		.version = net->nvsp.version,
		.mtu = net->adapter.mtu - VSP_ETHERNET,
		.filter = net->adapter.filter,
	};
	for (uint32_t i = 0; i < VSP_NET_CHANNELS; i++)
		state->channels += net->channels[i] != NULL;
	memcpy(state->mac, net->adapter.mac, 6);
	vsp_net_change_end(net);
}
