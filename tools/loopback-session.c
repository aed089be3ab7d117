/* SPDX-License-Identifier: MIT */
/* A guest's session: connect, negotiate, take offers, open channels (one GPADL for both
 * rings, as Linux does), wait. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "loopback.h"

#define TIMEOUT_MS 30000

/* Whatever failed: if the host is gone, that is why. */
int session_fail(struct session *s, int code, const char *text)
{
	const char *gone = vmbus_shm_guest_gone(s->shm);

	if (gone) {
		code = LOOPBACK_NO_HOST;
		text = gone;
	}
	if (!s->error)
		loopback_fail(code, "%s", text);
	s->error = code;
	return code;
}

/* -- What the bus tells --------------------------------------------------- */

static uint32_t on_post(void *opaque, uint32_t connection_id, const void *message, size_t len)
{
	struct session *s = opaque;

	return vmbus_shm_guest_post(s->shm, connection_id, message, len);
}

static void on_signal(void *opaque, uint32_t connection_id)
{
	struct session *s = opaque;

	vmbus_shm_guest_signal(s->shm, connection_id);
}

static void on_connected(void *opaque, uint32_t version)
{
	struct session *s = opaque;

	s->version = version;
	s->version_known = true;
}

static void on_all_offered(void *opaque)
{
	((struct session *)opaque)->all_offered = true;
}

/* A sub-channel goes with its primary, which may be closed or going, too. */
static void on_rescinded(void *opaque, struct vmbus_guest_channel *channel)
{
	struct session *s = opaque;

	for (struct session_port *port = s->ports; port; port = port->next)
		if (port->channel == channel)
			session_fail(s, LOOPBACK_FAILED, "the host took the device away");
	if (vmbus_guest_release(channel))
		session_fail(s, LOOPBACK_FAILED, "cannot let go of a device that is gone");
}

static void on_answer(void *opaque, uint32_t id, uint32_t status)
{
	struct session *s = opaque;

	(void)id;
	s->status = status;
	s->answered = true;
}

static void on_torndown(void *opaque, uint32_t gpadl)
{
	on_answer(opaque, gpadl, 0);
}

static void on_opened(void *opaque, struct vmbus_guest_channel *channel, uint32_t status)
{
	on_answer(opaque, channel->offer.channel_id, status);
}

static void on_unloaded(void *opaque)
{
	on_answer(opaque, 0, 0);
}

static const struct vmbus_guest_ops guest_ops = {
	.size = sizeof(guest_ops),
	.post = on_post,
	.signal = on_signal,
	.connected = on_connected,
	.all_offered = on_all_offered,
	.rescinded = on_rescinded,
	.gpadl_created = on_answer,
	.gpadl_torndown = on_torndown,
	.opened = on_opened,
	.unloaded = on_unloaded,
};

/* -- Waiting -------------------------------------------------------------- */

static bool wait_idle(void *arg)
{
	const struct session *s = arg;

	for (const struct session_port *port = s->ports; port; port = port->next)
		if (vmbus_rx_pending(&port->channel->rx))
			return false;
	return true;
}

static bool wait_arm(void *arg)
{
	struct session *s = arg;
	bool came = false;

	for (struct session_port *port = s->ports; port; port = port->next)
		came |= vmbus_rx_arm(&port->channel->rx);
	return came;
}

/* Handles one control message, or none. */
static void session_message(struct session *s, const void *message, size_t len)
{
	if (len && vmbus_guest_message(&s->guest, message, len))
		session_fail(s, LOOPBACK_FAILED, "the host broke the VMBus protocol");
	(void)vmbus_guest_flush(&s->guest);
}

/* Waits for up to @timeout_ms and takes a control message. Returns as
 * vmbus_shm_guest_wait(). */
static int session_wait_for(struct session *s, int timeout_ms)
{
	const struct vmbus_shm_wait wait = {.idle = wait_idle, .arm = wait_arm, .arg = s};
	uint8_t message[VMBUS_MESSAGE_MAX];
	size_t len = 0;
	int ret = 0;

	if (timeout_ms == 0 || wait_idle(s))
		ret = vmbus_shm_guest_wait(s->shm, 0, timeout_ms, &wait, message, &len);
	if (ret == -EPIPE)
		session_fail(s, LOOPBACK_NO_HOST, "the host is gone");
	else if (ret == 0)
		session_message(s, message, len);
	return ret;
}

/* Awake: no more interrupts until the rings are armed again. */
static void session_mask(struct session *s)
{
	for (struct session_port *port = s->ports; port; port = port->next)
		vmbus_rx_disarm(&port->channel->rx);
}

bool session_sleep(struct session *s)
{
	if (s->error)
		return false;
	if (session_wait_for(s, TIMEOUT_MS) == -ETIMEDOUT)
		session_fail(s, LOOPBACK_FAILED, "the host did not answer within 30 s");
	session_mask(s);
	return !s->error;
}

bool session_look(struct session *s)
{
	if (s->error || session_wait_for(s, 0))
		return false;
	session_mask(s);
	return !s->error;
}

bool session_poll(struct session *s)
{
	for (struct session_port *port = s->ports; port && !s->error; port = port->next)
		if (port->poll(port))
			session_fail(s, LOOPBACK_FAILED, "the host broke its ring");
	return !s->error;
}

bool session_step(struct session *s)
{
	return session_sleep(s) && session_poll(s);
}

int session_wait(struct session *s, const bool *flag)
{
	while (!*flag && session_step(s))
		;
	return s->error;
}

int session_answer(struct session *s, int ret, const char *what)
{
	if (ret)
		return session_fail(s, LOOPBACK_FAILED, what);
	if (session_wait(s, &s->answered))
		return s->error;
	s->answered = false;
	return s->status ? session_fail(s, LOOPBACK_FAILED, what) : LOOPBACK_OK;
}

/* -- Life ----------------------------------------------------------------- */

int session_start(struct session *s, const struct loopback_options *options, uint64_t memory)
{
	struct vmbus_shm_guest_config shm = VMBUS_SHM_GUEST_CONFIG_INIT;
	struct vmbus_guest_config config = VMBUS_GUEST_CONFIG_INIT;
	struct vmbus_error err;

	shm.socket_path = options->socket;
	shm.spin_us = options->spin_us;
	shm.memory = memory;
	if (vmbus_shm_guest_new(&shm, &s->shm, &err))
		return loopback_fail(LOOPBACK_NO_HOST, "%s", err.text);
	config.ops = &guest_ops;
	config.opaque = s;
	config.channels = s->channels;
	config.max_channels = SESSION_CHANNELS;
	if (vmbus_guest_init(&s->guest, &config) || vmbus_guest_connect(&s->guest))
		return session_fail(s, LOOPBACK_FAILED, "cannot start the negotiation");
	if (session_wait(s, &s->version_known))
		return s->error;
	if (s->version == 0)
		return session_fail(s, LOOPBACK_FAILED, "the host refused every VMBus version");
	if (vmbus_guest_request_offers(&s->guest))
		return session_fail(s, LOOPBACK_FAILED, "cannot ask for offers");
	return session_wait(s, &s->all_offered);
}

/* -- Channels ------------------------------------------------------------- */

/* Offers come in any order; the host counts in that of its command line. */
struct vmbus_guest_channel *session_next(struct session *s, const struct vmbus_guest_channel *last)
{
	uint32_t above = last ? last->offer.channel_id : 0;
	struct vmbus_guest_channel *next = NULL;

	for (uint32_t i = 0; i < SESSION_CHANNELS; i++) {
		struct vmbus_guest_channel *c = &s->channels[i];

		if (c->state != VMBUS_GUEST_CHANNEL_NONE && c->offer.channel_id > above &&
		    (!next || c->offer.channel_id < next->offer.channel_id))
			next = c;
	}
	return next;
}

struct vmbus_guest_channel *session_find(struct session *s, struct vmbus_guid interface, uint32_t index)
{
	struct vmbus_guest_channel *c = NULL;

	while ((c = session_next(s, c)))
		if (c->state == VMBUS_GUEST_CHANNEL_OFFERED && c->offer.subchannel_index == 0 &&
		    vmbus_guid_equal(c->offer.interface_id, interface) && index-- == 0)
			break;
	return c;
}

int session_gpadl(struct session *s, struct vmbus_guest_channel *channel, const uint64_t *pfns,
		  uint32_t pages, uint32_t *gpadl)
{
	int ret = vmbus_guest_gpadl_create(channel, pfns, 0, pages * VMBUS_PAGE_SIZE, gpadl);

	return session_answer(s, ret, "the host refused the guest's memory");
}

int session_gpadl_drop(struct session *s, struct vmbus_guest_channel *channel, uint32_t gpadl)
{
	return session_answer(s, vmbus_guest_gpadl_teardown(channel, gpadl),
			      "the host did not let go of the guest's memory");
}

static int rings_make(struct session *s, struct session_port *port, uint32_t pages)
{
	port->pages = pages;
	port->pfns = calloc(2 * pages, sizeof(*port->pfns));
	if (!port->pfns || vmbus_shm_guest_alloc(s->shm, 2 * pages, port->pfns) ||
	    vmbus_shm_guest_map_ring(s->shm, port->pfns, pages, &port->up) ||
	    vmbus_shm_guest_map_ring(s->shm, port->pfns + pages, pages, &port->down))
		return session_fail(s, LOOPBACK_FAILED, "no memory for the rings");
	return LOOPBACK_OK;
}

int session_port_open(struct session *s, struct session_port *port,
		      struct vmbus_guest_channel *channel, uint32_t pages)
{
	uint32_t gpadl;
	int ret;

	if (!port->pfns && rings_make(s, port, pages))
		return s->error;
	if (session_gpadl(s, channel, port->pfns, 2 * port->pages, &gpadl))
		return s->error;
	ret = vmbus_guest_open(channel, gpadl, &port->up, &port->down, 0, NULL);
	if (session_answer(s, ret, "the host refused to open the channel"))
		return s->error;
	port->channel = channel;
	port->next = s->ports;
	s->ports = port;
	return LOOPBACK_OK;
}

int session_port_close(struct session *s, struct session_port *port)
{
	struct vmbus_guest_channel *channel = port->channel;
	uint32_t gpadl = channel->gpadl;

	for (struct session_port **p = &s->ports; *p; p = &(*p)->next) {
		if (*p != port)
			continue;
		*p = port->next;
		break;
	}
	port->channel = NULL;
	if (s->error)
		return s->error;
	if (vmbus_guest_close(channel))
		return session_fail(s, LOOPBACK_FAILED, "cannot close the channel");
	return session_gpadl_drop(s, channel, gpadl);
}

void session_port_free(struct session_port *port)
{
	free(port->pfns);
	port->pfns = NULL;
}

void session_end(struct session *s)
{
	if (s->guest.state == VMBUS_GUEST_CONNECTED && !s->error)
		(void)session_answer(s, vmbus_guest_unload(&s->guest), "the host did not unload");
	vmbus_shm_guest_free(s->shm);
}
