/* SPDX-License-Identifier: MIT */
/* The guest's end of a connection: version negotiation, offers, open and close.
 * Freestanding. Linux' drivers/hv/{connection,channel,channel_mgmt}.c is the guest
 * whose manners these are. */
#include "guest-private.h"

#define FIRST_GPADL 0xe1e10u /* as Linux: easy to tell from channel ids in a trace */

static const uint32_t versions[] = {
#define X(constant, major, minor, host) VMBUS_##constant,
	VMBUS_VERSIONS(X)
#undef X
};

/* -- Posting -------------------------------------------------------------- */

int vmbus_guest_post(struct vmbus_guest *guest, const void *message, uint32_t len)
{
	uint32_t status = guest->config.ops->post(guest->config.opaque, guest->connection_id,
						  message, len);

	switch (status) {
	case HV_STATUS_SUCCESS:
		return 0;
	case HV_STATUS_INSUFFICIENT_MEMORY:
	case HV_STATUS_INSUFFICIENT_BUFFERS:
		return -EAGAIN;
	default:
		return -EIO;
	}
}

/* Posts the message or keeps it for the flush. */
int vmbus_guest_send(struct vmbus_guest *guest, const void *message, size_t len)
{
	int err;

	if (guest->unsent_len)
		return -EAGAIN;
	err = vmbus_guest_post(guest, message, (uint32_t)len);
	if (err != -EAGAIN)
		return err;
	memcpy(guest->unsent, message, len);
	guest->unsent_len = (uint32_t)len;
	return 0;
}

static int channel_message_send(struct vmbus_guest_channel *channel, uint32_t type)
{
	struct vmbus_msg_channel message = {
		.header.type = type,
		.channel_id = channel->offer.channel_id,
	};

	return vmbus_guest_send(channel->guest, &message, sizeof(message));
}

/* -- Connecting ----------------------------------------------------------- */

static void connection_forget(struct vmbus_guest *guest)
{
	for (uint32_t i = 0; i < guest->config.max_channels; i++) {
		guest->config.channels[i].state = VMBUS_GUEST_CHANNEL_NONE;
		guest->config.channels[i].gpadl = 0;
	}
	for (uint32_t i = 0; i < VMBUS_GUEST_GPADLS; i++)
		guest->gpadls[i].pfns = NULL;
	guest->unsent_len = 0;
}

static bool version_usable(const struct vmbus_guest *guest, uint32_t version)
{
	const struct vmbus_guest_config *config = &guest->config;

	if (version < config->min_version || version > config->max_version)
		return false;
	return version >= VMBUS_V2_4 || (config->interrupt_page && config->interrupt_memory);
}

/* The newest version to try below @below; 0 if none is left. */
static uint32_t version_below(const struct vmbus_guest *guest, uint64_t below)
{
	for (size_t i = sizeof(versions) / sizeof(versions[0]); i-- > 0;)
		if (versions[i] < below && version_usable(guest, versions[i]))
			return versions[i];
	return 0;
}

static int contact_send(struct vmbus_guest *guest)
{
	const struct vmbus_guest_config *config = &guest->config;
	struct vmbus_msg_initiate_contact message = {
		.header.type = VMBUS_MSG_INITIATE_CONTACT,
		.version = guest->version,
		.target_vp = config->target_vp,
		.monitor_page_parent = config->monitor_page,
	};
	size_t len = VMBUS_INITIATE_CONTACT_SIZE_BASE;

	if (config->monitor_page)
		message.monitor_page_child = config->monitor_page + VMBUS_PAGE_SIZE;
	guest->features = guest->version >= VMBUS_V6_0 ? config->features : 0;
	if (guest->version >= VMBUS_V5_0) {
		guest->connection_id = VMBUS_CONN_MESSAGE_MULTI;
		message.u.v5.sint = VMBUS_SINT;
		message.u.v5.features = guest->features;
	} else {
		guest->connection_id = VMBUS_CONN_MESSAGE;
		message.u.interrupt_page = config->interrupt_page;
	}
	if (guest->features & VMBUS_FEATURE_CLIENT_ID) {
		message.client_id = config->client_id;
		len = sizeof(message);
	}
	return vmbus_guest_send(guest, &message, len);
}

/* Tries versions below @below until a message is on its way. A hypervisor that knows no
 * connection 4 refuses the message itself: that only rules out this version. */
static bool contact_try(struct vmbus_guest *guest, uint64_t below)
{
	guest->state = VMBUS_GUEST_CONNECTING;
	while ((guest->version = version_below(guest, below)) != 0) {
		if (contact_send(guest) == 0)
			return true;
		below = guest->version;
	}
	guest->state = VMBUS_GUEST_DISCONNECTED;
	return false;
}

void vmbus_guest_contact_refused(struct vmbus_guest *guest)
{
	if (!contact_try(guest, guest->version))
		GUEST_CALL(guest, connected, 0);
}

int vmbus_guest_init(struct vmbus_guest *guest, const struct vmbus_guest_config *config)
{
	const struct vmbus_guest_ops *ops = config->ops;

	memset(guest, 0, sizeof(*guest));
	if (config->size < sizeof(*config) || !ops || ops->size < sizeof(*ops))
		return -EINVAL;
	if (!ops->post || !ops->signal || !config->channels || !config->max_channels)
		return -EINVAL;
	if (config->min_version > config->max_version)
		return -EINVAL;
	guest->config = *config;
	guest->next_gpadl = FIRST_GPADL;
	connection_forget(guest);
	return 0;
}

int vmbus_guest_connect(struct vmbus_guest *guest)
{
	connection_forget(guest);
	return contact_try(guest, UINT64_MAX) ? 0 : -EIO;
}

int vmbus_guest_request_offers(struct vmbus_guest *guest)
{
	struct vmbus_msg_header message = {.type = VMBUS_MSG_REQUEST_OFFERS};

	if (guest->state != VMBUS_GUEST_CONNECTED)
		return -EINVAL;
	return vmbus_guest_send(guest, &message, sizeof(message));
}

void vmbus_guest_over(struct vmbus_guest *guest)
{
	guest->state = VMBUS_GUEST_DISCONNECTED;
	connection_forget(guest);
	GUEST_CALL(guest, unloaded);
}

int vmbus_guest_unload(struct vmbus_guest *guest)
{
	struct vmbus_msg_header message = {.type = VMBUS_MSG_UNLOAD};
	int err;

	if (guest->state != VMBUS_GUEST_CONNECTED)
		return -EINVAL;
	err = vmbus_guest_send(guest, &message, sizeof(message));
	if (err)
		return err;
	guest->state = VMBUS_GUEST_UNLOADING;
	for (uint32_t i = 0; i < VMBUS_GUEST_GPADLS; i++)
		guest->gpadls[i].pfns = NULL;
	if (guest->version < VMBUS_V1_1 && !guest->unsent_len)
		vmbus_guest_over(guest);
	return 0;
}

/* -- Flushing ------------------------------------------------------------- */

static int unsent_flush(struct vmbus_guest *guest)
{
	int err;

	if (!guest->unsent_len)
		return 0;
	err = vmbus_guest_post(guest, guest->unsent, guest->unsent_len);
	if (err == -EAGAIN)
		return err;
	guest->unsent_len = 0;
	if (err && guest->state == VMBUS_GUEST_CONNECTING) {
		vmbus_guest_contact_refused(guest);
		return guest->unsent_len ? -EAGAIN : 0;
	}
	if (!err && guest->state == VMBUS_GUEST_UNLOADING && guest->version < VMBUS_V1_1)
		vmbus_guest_over(guest);
	return err;
}

int vmbus_guest_flush(struct vmbus_guest *guest)
{
	int err = unsent_flush(guest);

	for (bool more = true; !err && more;) {
		more = false;
		for (uint32_t i = 0; !err && i < VMBUS_GUEST_GPADLS; i++) {
			if (!guest->gpadls[i].pfns)
				continue;
			err = vmbus_guest_gpadl_post(guest, &guest->gpadls[i]);
			more = true;
		}
	}
	return err;
}

/* -- Channels ------------------------------------------------------------- */

struct vmbus_guest_channel *vmbus_guest_find(struct vmbus_guest *guest, uint32_t channel_id)
{
	for (uint32_t i = 0; i < guest->config.max_channels; i++) {
		struct vmbus_guest_channel *channel = &guest->config.channels[i];

		if (channel->state != VMBUS_GUEST_CHANNEL_NONE &&
		    channel->offer.channel_id == channel_id)
			return channel;
	}
	return NULL;
}

/* The control page as Linux leaves it for OPEN: the feature bit is set in both rings, by
 * the guest, before the host has seen them. */
static void ring_clear(const struct vmbus_ring_memory *ring)
{
	memset(ring->control, 0, sizeof(*ring->control));
	ring->control->feature_bits = VMBUS_RING_FEATURE_PENDING_SIZE;
}

static int open_send(struct vmbus_guest_channel *channel, uint32_t upstream_pages,
		     uint32_t target_vp, const void *user_data)
{
	struct vmbus_guest *guest = channel->guest;
	struct vmbus_msg_open message = {
		.header.type = VMBUS_MSG_OPEN_CHANNEL,
		.channel_id = channel->offer.channel_id,
		.open_id = channel->offer.channel_id,
		.ring_gpadl = channel->gpadl,
		.target_vp = target_vp,
		.downstream_page_offset = upstream_pages,
		/* the tail counts with the features only; these are the values without them */
		.connection_id = channel->offer.connection_id,
		.event_flag = (uint16_t)channel->offer.channel_id,
	};
	uint32_t tail = VMBUS_FEATURE_GUEST_SIGNALS | VMBUS_FEATURE_INTERRUPT_REDIRECT;
	size_t len = guest->features & tail ? sizeof(message) : VMBUS_OPEN_SIZE_BASE;

	if (user_data)
		memcpy(message.user_defined, user_data, sizeof(message.user_defined));
	return vmbus_guest_send(guest, &message, len);
}

int vmbus_guest_open(struct vmbus_guest_channel *channel, uint32_t gpadl,
		     const struct vmbus_ring_memory *upstream,
		     const struct vmbus_ring_memory *downstream, uint32_t target_vp,
		     const void *user_data)
{
	struct vmbus_guest *guest = channel->guest;
	int err;

	if (!vmbus_guest_connected(channel) || channel->state != VMBUS_GUEST_CHANNEL_OFFERED ||
	    !gpadl || vmbus_guest_gpadl_sending(guest, gpadl))
		return -EINVAL;
	if (guest->unsent_len)
		return -EAGAIN;
	ring_clear(upstream);
	ring_clear(downstream);
	if (vmbus_tx_init(&channel->tx, upstream) || vmbus_rx_init(&channel->rx, downstream))
		return -EINVAL;
	channel->gpadl = gpadl;
	channel->state = VMBUS_GUEST_CHANNEL_OPENING;
	err = open_send(channel, upstream->size / VMBUS_PAGE_SIZE + 1, target_vp, user_data);
	if (err) {
		channel->gpadl = 0;
		channel->state = VMBUS_GUEST_CHANNEL_OFFERED;
	}
	return err;
}

int vmbus_guest_close(struct vmbus_guest_channel *channel)
{
	bool rescinded = channel->state == VMBUS_GUEST_CHANNEL_RESCINDED && channel->gpadl;
	int err;

	if (!vmbus_guest_connected(channel))
		return -EINVAL;
	if (channel->state != VMBUS_GUEST_CHANNEL_OPEN && !rescinded)
		return -EINVAL;
	err = channel_message_send(channel, VMBUS_MSG_CLOSE_CHANNEL);
	if (err)
		return err;
	channel->gpadl = 0;
	if (!rescinded)
		channel->state = VMBUS_GUEST_CHANNEL_OFFERED;
	return 0;
}

int vmbus_guest_modify(struct vmbus_guest_channel *channel, uint32_t target_vp)
{
	struct vmbus_msg_modify_channel message = {
		.header.type = VMBUS_MSG_MODIFY_CHANNEL,
		.channel_id = channel->offer.channel_id,
		.target_vp = target_vp,
	};

	if (!vmbus_guest_connected(channel) || channel->state != VMBUS_GUEST_CHANNEL_OPEN ||
	    channel->guest->version < VMBUS_V4_1)
		return -EINVAL;
	return vmbus_guest_send(channel->guest, &message, sizeof(message));
}

int vmbus_guest_release(struct vmbus_guest_channel *channel)
{
	struct vmbus_guest *guest = channel->guest;
	int err;

	if (!vmbus_guest_connected(channel) || channel->state != VMBUS_GUEST_CHANNEL_RESCINDED)
		return -EINVAL;
	err = channel_message_send(channel, VMBUS_MSG_RELID_RELEASED);
	if (err)
		return err;
	for (uint32_t i = 0; i < VMBUS_GUEST_GPADLS; i++)
		if (guest->gpadls[i].channel_id == channel->offer.channel_id)
			guest->gpadls[i].pfns = NULL;
	channel->gpadl = 0;
	channel->state = VMBUS_GUEST_CHANNEL_NONE;
	return 0;
}

/* -- Signals -------------------------------------------------------------- */

/* Before 1.1 all channels share an event connection, and a bit in the second half of the
 * interrupt page tells which one means it. */
static void host_signal(struct vmbus_guest_channel *channel)
{
	struct vmbus_guest *guest = channel->guest;
	uint32_t connection_id = channel->offer.connection_id, id = channel->offer.channel_id;

	if (guest->version < VMBUS_V1_1) {
		uint64_t *bits = (uint64_t *)guest->config.interrupt_memory + VMBUS_PAGE_SIZE / 16;

		__atomic_fetch_or(&bits[id / 64], 1ull << id % 64, __ATOMIC_SEQ_CST);
		connection_id = VMBUS_CONN_EVENT;
	}
	channel->signals++;
	guest->config.ops->signal(guest->config.opaque, connection_id);
}

void vmbus_guest_signal(struct vmbus_guest_channel *channel)
{
	if (vmbus_tx_signal_due(&channel->tx))
		host_signal(channel);
}

void vmbus_guest_commit(struct vmbus_guest_channel *channel)
{
	if (vmbus_rx_commit(&channel->rx))
		host_signal(channel);
}
