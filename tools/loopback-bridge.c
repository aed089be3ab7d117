/* SPDX-License-Identifier: MIT */
/* nic: bridges a network adapter of the host to a tap, and follows the tap's MTU. */
#include <errno.h>
#include <inttypes.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "json.h"
#include "loopback-bridge.h"

#define ROUNDS 16u          /* over the rings before the loop's other events have a turn */
#define TICK_NS 250000000ull
#define TICKS_SHOWN 4u

/* -- What people see ------------------------------------------------------ */

static struct bridge_stats stats_sum(const struct bridge *b)
{
	struct bridge_stats sum = {.to_host_frames = 0};

	for (uint32_t i = 0; i < LOOPBACK_QUEUES && b->lanes[i]; i++) {
		const struct bridge_stats *l = &b->lanes[i]->stats;

		sum.to_host_frames += l->to_host_frames;
		sum.to_host_bytes += l->to_host_bytes;
		sum.to_host_lost += l->to_host_lost;
		sum.from_host_frames += l->from_host_frames;
		sum.from_host_bytes += l->from_host_bytes;
		sum.from_host_lost += l->from_host_lost;
	}
	return sum;
}

static void up_tell(const struct bridge *b)
{
	const struct vsp_netvsc *n = &b->lanes[0]->netvsc;
	struct json j = json_to(stdout);
	char mac[18];

	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", n->mac[0], n->mac[1], n->mac[2],
		 n->mac[3], n->mac[4], n->mac[5]);
	if (b->options->json) {
		json_object(&j, NULL);
		json_string(&j, "event", "up");
		json_string(&j, "tap", b->spec.name);
		json_string(&j, "mac", mac);
		json_uint(&j, "nvsp_major", n->version >> 16);
		json_uint(&j, "nvsp_minor", n->version & 0xffff);
		json_uint(&j, "mtu", b->mtu);
		json_uint(&j, "channels", b->lane_count);
		json_bool(&j, "link", n->link_up);
		json_object_end(&j);
	} else {
		printf("up: %s, address %s, NVSP %" PRIu32 ".%" PRIu32 ", MTU %" PRIu32
		       ", %" PRIu32 " channel%s, link %s\n",
		       b->spec.name, mac, n->version >> 16, n->version & 0xffff, b->mtu, b->lane_count,
		       b->lane_count == 1 ? "" : "s", n->link_up ? "up" : "down");
	}
	fflush(stdout);
}

static void end_tell(const struct bridge *b)
{
	struct bridge_stats t = stats_sum(b);
	struct json j = json_to(stdout);

	if (!b->options->json) {
		printf("to the host %" PRIu64 " frames, %" PRIu64 " bytes, %" PRIu64
		       " lost; from it %" PRIu64 " frames, %" PRIu64 " bytes, %" PRIu64 " lost\n",
		       t.to_host_frames, t.to_host_bytes, t.to_host_lost, t.from_host_frames,
		       t.from_host_bytes, t.from_host_lost);
		return;
	}
	json_object(&j, NULL);
	json_string(&j, "event", "ended");
	json_array(&j, "per_channel");
	for (uint32_t i = 0; i < LOOPBACK_QUEUES && b->lanes[i]; i++) {
		json_object(&j, NULL);
		json_uint(&j, "to_host", b->lanes[i]->stats.to_host_frames);
		json_uint(&j, "from_host", b->lanes[i]->stats.from_host_frames);
		json_object_end(&j);
	}
	json_array_end(&j);
	json_uint(&j, "to_host_frames", t.to_host_frames);
	json_uint(&j, "to_host_bytes", t.to_host_bytes);
	json_uint(&j, "to_host_lost", t.to_host_lost);
	json_uint(&j, "from_host_frames", t.from_host_frames);
	json_uint(&j, "from_host_bytes", t.from_host_bytes);
	json_uint(&j, "from_host_lost", t.from_host_lost);
	json_object_end(&j);
}

static double mbit(uint64_t now, uint64_t before)
{
	return (double)(now - before) * 8 / (TICKS_SHOWN * (double)TICK_NS) * 1e3;
}

/* A line on a terminal, now and then. */
static void rates_show(struct bridge *b)
{
	struct bridge_stats t;

	if (++b->ticks % TICKS_SHOWN || !isatty(STDERR_FILENO))
		return;
	t = stats_sum(b);
	fprintf(stderr, "\rto the host %.1f Mbit/s, from it %.1f Mbit/s, %" PRIu64 " lost \033[K",
		mbit(t.to_host_bytes, b->shown.to_host_bytes),
		mbit(t.from_host_bytes, b->shown.from_host_bytes), t.to_host_lost + t.from_host_lost);
	b->shown = t;
}

void bridge_rates_clear(void)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
}

/* -- Running -------------------------------------------------------------- */

static void interrupt_ready(struct vmbus_watch *watch, uint32_t events)
{
	(void)watch, (void)events; /* the rings are looked at whatever woke us */
}

static void signals_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
}

static void signal_ready(struct vmbus_watch *watch, uint32_t events)
{
	struct bridge *b = (struct bridge *)((char *)watch - offsetof(struct bridge, signals));

	(void)events;
	b->stop = true;
}

/* 0: the interface is gone. */
static uint32_t tap_mtu(const struct bridge *b)
{
	struct ifreq r = {.ifr_mtu = 0};

	memcpy(r.ifr_name, b->spec.name, strlen(b->spec.name));
	return ioctl(b->control, SIOCGIFMTU, &r) ? 0 : (uint32_t)r.ifr_mtu;
}

static int mtu_follow(struct bridge *b)
{
	uint32_t mtu = tap_mtu(b);
	int ret;

	if (mtu == 0)
		return session_fail(b->s, LOOPBACK_FAILED, "the tap is gone");
	if (mtu == b->mtu)
		return LOOPBACK_OK;
	ret = bridge_down(b);
	b->mtu = mtu;
	if (!ret)
		ret = bridge_up(b);
	if (!ret)
		up_tell(b);
	return ret;
}

static void tick_fire(struct vmbus_timer *timer)
{
	struct bridge *b = (struct bridge *)((char *)timer - offsetof(struct bridge, tick));

	rates_show(b);
	vmbus_loop_timer(b->loop, timer, TICK_NS);
}

static int bridge_run(struct bridge *b)
{
	uint32_t ticks = b->ticks;
	int ret = LOOPBACK_OK;

	while (!b->stop && !ret) {
		uint32_t round = 0;

		while (round < ROUNDS && session_look(b->s) && session_poll(b->s))
			round++;
		ret = b->s->error;
		if (!ret && vmbus_loop_step(b->loop, round < ROUNDS ? UINT64_MAX : 0) < 0)
			ret = session_fail(b->s, LOOPBACK_FAILED, "the event loop failed");
		if (!ret && b->ticks != ticks)
			ret = mtu_follow(b);
		ticks = b->ticks;
	}
	return ret;
}

/* -- Life ----------------------------------------------------------------- */

static int events_watch(struct bridge *b)
{
	sigset_t set;

	signals_set(&set);
	b->signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	b->signals.events = POLLIN | (uint32_t)EPOLLET;
	b->signals.ready = signal_ready;
	b->interrupt.fd = vmbus_shm_guest_fd(b->s->shm, 0);
	b->interrupt.events = POLLIN | (uint32_t)EPOLLET;
	b->interrupt.ready = interrupt_ready;
	b->tick.fire = tick_fire;
	if (b->signals.fd < 0 || vmbus_loop_watch(b->loop, &b->signals) ||
	    vmbus_loop_watch(b->loop, &b->interrupt))
		return session_fail(b->s, LOOPBACK_FAILED, "cannot wait for signals");
	vmbus_loop_timer(b->loop, &b->tick, TICK_NS);
	return LOOPBACK_OK;
}

static void signals_done(struct vmbus_watch *watch)
{
	close(watch->fd);
	watch->fd = -1;
}

/* The signals' end was asked for last, so it comes last. */
static void events_end(struct bridge *b)
{
	if (b->signals.fd < 0)
		return;
	vmbus_loop_timer_cancel(b->loop, &b->tick);
	vmbus_loop_unwatch(b->loop, &b->interrupt, NULL);
	vmbus_loop_unwatch(b->loop, &b->signals, signals_done);
	while (b->signals.fd >= 0 && vmbus_loop_step(b->loop, UINT64_MAX) >= 0)
		;
}

static int tap_prepare(struct bridge *b)
{
	struct vmbus_loop_config config = VMBUS_LOOP_CONFIG_INIT;
	struct vmbus_error err;
	int ret = loopback_tap_parse("--tap", b->options->tap, &b->spec);

	if (ret)
		return ret;
	config.spin_us = 0; /* the rings are spun over by the session */
	if (vmbus_loop_new(&config, &b->loop, &err))
		return loopback_fail(LOOPBACK_FAILED, "%s", err.text);
	b->control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (b->control < 0)
		return loopback_fail(LOOPBACK_FAILED, "socket: %s", strerror(errno));
	ret = loopback_tap_open(&b->spec, NULL, &b->tap);
	if (ret)
		return ret;
	ret = events_watch(b);
	if (ret)
		return ret;
	b->mtu = tap_mtu(b);
	return b->mtu ? LOOPBACK_OK : loopback_fail(LOOPBACK_FAILED, "%s is gone", b->spec.name);
}

static int bridge_prepare(struct bridge *b)
{
	static const struct vmbus_guid net = VMBUS_GUID_NET;
	struct session *s = b->s;

	b->primary = session_find(s, net, b->options->index);
	if (!b->primary)
		return loopback_fail(LOOPBACK_FAILED,
				     "the host offers no network card %" PRIu32 "; see 'offers'",
				     b->options->index);
	if (vmbus_shm_guest_alloc(s->shm, BRIDGE_RECEIVE_PAGES, b->receive_pfns) ||
	    vmbus_shm_guest_alloc(s->shm, BRIDGE_SEND_PAGES, b->send_pfns))
		return session_fail(s, LOOPBACK_FAILED, "no guest memory for the network card");
	return tap_prepare(b);
}

static void bridge_free(struct bridge *b)
{
	events_end(b);
	if (b->tap)
		b->tap->ops->close(b->tap);
	for (uint32_t i = 0; i < LOOPBACK_QUEUES; i++)
		lane_free(b->lanes[i]);
	vmbus_loop_free(b->loop);
	if (b->control >= 0)
		close(b->control);
	free(b->spec.text);
	free(b);
}

int loopback_bridge(struct session *s, const struct loopback_options *options)
{
	struct bridge *b = calloc(1, sizeof(*b));
	sigset_t set;
	int ret;

	if (!b)
		return session_fail(s, LOOPBACK_FAILED, "out of memory");
	b->s = s;
	s->user = b;
	b->options = options;
	b->control = b->signals.fd = -1;
	ret = bridge_prepare(b);
	if (!ret)
		ret = bridge_up(b);
	if (!ret) {
		/* only now: whoever waits for a host that does not answer wants to be rid of us */
		signals_set(&set);
		sigprocmask(SIG_BLOCK, &set, NULL);
		up_tell(b);
		ret = bridge_run(b);
		bridge_rates_clear();
		end_tell(b);
	}
	(void)bridge_down(b);
	bridge_free(b);
	return ret;
}
