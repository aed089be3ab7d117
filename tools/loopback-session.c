/* SPDX-License-Identifier: MIT */
/* A guest's session: connect, negotiate, take offers, open the SCSI controller's
 * channel as Linux does (128 KiB rings, one GPADL for both). */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "loopback.h"

#define RING_PAGES 32u /* each direction, the control page included */
#define TIMEOUT_MS 30000

/* Whatever failed: if the host is gone, that is why. */
static int session_fail(struct session *s, int code, const char *text)
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

static void on_offered(void *opaque, struct vmbus_guest_channel *channel)
{
	static const struct vmbus_guid scsi = VMBUS_GUID_SCSI;
	struct session *s = opaque;

	if (!s->scsi && channel->offer.subchannel_index == 0 &&
	    vmbus_guid_equal(channel->offer.interface_id, scsi))
		s->scsi = channel;
}

static void on_all_offered(void *opaque)
{
	((struct session *)opaque)->all_offered = true;
}

static void on_rescinded(void *opaque, struct vmbus_guest_channel *channel)
{
	struct session *s = opaque;

	if (channel == s->scsi)
		session_fail(s, LOOPBACK_FAILED, "the host took its SCSI controller away");
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
	.offered = on_offered,
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

	return !s->open || !vmbus_rx_pending(&s->storvsc.channel->rx);
}

static bool wait_arm(void *arg)
{
	struct session *s = arg;

	return s->open && vmbus_rx_arm(&s->storvsc.channel->rx);
}

/* Handles one control message, or none. */
static void session_message(struct session *s, const void *message, size_t len)
{
	if (len && vmbus_guest_message(&s->guest, message, len))
		session_fail(s, LOOPBACK_FAILED, "the host broke the VMBus protocol");
	(void)vmbus_guest_flush(&s->guest);
}

bool session_sleep(struct session *s)
{
	static const struct vmbus_shm_wait wait_ops = {.idle = wait_idle, .arm = wait_arm};
	struct vmbus_shm_wait wait = wait_ops;
	uint8_t message[VMBUS_MESSAGE_MAX];
	size_t len = 0;
	int ret = 0;

	wait.arg = s;
	if (s->error)
		return false;
	if (wait_idle(s))
		ret = vmbus_shm_guest_wait(s->shm, 0, TIMEOUT_MS, &wait, message, &len);
	if (s->open) /* awake: no more interrupts until the next arm() */
		vmbus_rx_disarm(&s->storvsc.channel->rx);
	if (ret == -EPIPE)
		session_fail(s, LOOPBACK_NO_HOST, "the host is gone");
	else if (ret)
		session_fail(s, LOOPBACK_FAILED, "the host did not answer within 10 s");
	else
		session_message(s, message, len);
	return !s->error;
}

bool session_poll(struct session *s)
{
	if (!s->error && s->open && vsp_storvsc_poll(&s->storvsc, NULL))
		session_fail(s, LOOPBACK_FAILED, "the host broke its ring");
	return !s->error;
}

bool session_step(struct session *s)
{
	return session_sleep(s) && session_poll(s);
}

/* Waits until *@flag. */
static int session_wait(struct session *s, const bool *flag)
{
	while (!*flag && session_step(s))
		;
	return s->error;
}

/* Posts nothing new but waits for the answer to what was posted (@ret). */
static int session_answer(struct session *s, int ret, const char *what)
{
	if (ret)
		return session_fail(s, LOOPBACK_FAILED, what);
	if (session_wait(s, &s->answered))
		return s->error;
	s->answered = false;
	return s->status ? session_fail(s, LOOPBACK_FAILED, what) : LOOPBACK_OK;
}

/* -- Life ----------------------------------------------------------------- */

int session_start(struct session *s, const struct loopback_options *options)
{
	struct vmbus_shm_guest_config shm = VMBUS_SHM_GUEST_CONFIG_INIT;
	struct vmbus_guest_config config = VMBUS_GUEST_CONFIG_INIT;
	struct vmbus_error err;

	shm.socket_path = options->socket;
	shm.spin_us = options->spin_us;
	shm.memory = 128ull << 20;
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

static void storvsc_ready(struct vsp_storvsc *storvsc)
{
	struct session *s = storvsc->user;

	s->status = storvsc->state == VSP_STORVSC_READY ? 0 : 1;
	s->answered = true;
}

int session_open_scsi(struct session *s)
{
	struct vmbus_ring_memory up, down;
	uint64_t pfns[2 * RING_PAGES];
	uint32_t gpadl;
	int ret;

	if (!s->scsi)
		return session_fail(s, LOOPBACK_FAILED, "the host offers no SCSI controller");
	if (vmbus_shm_guest_alloc(s->shm, 2 * RING_PAGES, pfns) ||
	    vmbus_shm_guest_map_ring(s->shm, pfns, RING_PAGES, &up) ||
	    vmbus_shm_guest_map_ring(s->shm, pfns + RING_PAGES, RING_PAGES, &down))
		return session_fail(s, LOOPBACK_FAILED, "no memory for the rings");
	ret = vmbus_guest_gpadl_create(s->scsi, pfns, 0, sizeof(pfns) / 8 * VMBUS_PAGE_SIZE, &gpadl);
	if (session_answer(s, ret, "the host refused the rings' memory"))
		return s->error;
	ret = vmbus_guest_open(s->scsi, gpadl, &up, &down, 0, NULL);
	if (session_answer(s, ret, "the host refused to open the SCSI controller's channel"))
		return s->error;
	ret = vsp_storvsc_init(&s->storvsc, s->scsi, NULL);
	s->storvsc.user = s;
	s->storvsc.ready = storvsc_ready;
	s->open = ret == 0;
	return session_answer(s, ret, "the SCSI controller refused its initialisation");
}

void session_end(struct session *s)
{
	uint32_t gpadl;

	if (s->open && !s->error) {
		gpadl = s->scsi->gpadl;
		s->open = false;
		(void)session_answer(s, vmbus_guest_close(s->scsi) ||
						vmbus_guest_gpadl_teardown(s->scsi, gpadl),
				     "the host did not let go of the rings");
	}
	if (s->guest.state == VMBUS_GUEST_CONNECTED && !s->error)
		(void)session_answer(s, vmbus_guest_unload(&s->guest), "the host did not unload");
	vmbus_shm_guest_free(s->shm);
}
