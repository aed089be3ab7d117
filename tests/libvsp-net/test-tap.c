/* SPDX-License-Identifier: MIT */
/* The tap nic on real devices, in a network namespace of the test's own: needs root and
 * /dev/net/tun. What goes out of the device is sent by a packet socket, and what comes in
 * arrives there. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <vsp/nic.h>

#define PROTOCOL 0x88b5 /* for experiments: the kernel sends none itself */
#define PATIENCE_S 60   /* against hangs: nothing takes that long */
#define FRAME 60u
#define MANY 200u

struct port {
	struct vmbus_loop *loop;
	struct vsp_nic *nic;
	struct vsp_nic_queue *queue;
	int wire; /* the packet socket */
	uint32_t readable, writable, links;
};

static void on_readable(void *opaque)
{
	((struct port *)opaque)->readable++;
}

static void on_writable(void *opaque)
{
	((struct port *)opaque)->writable++;
}

static void on_link(void *opaque)
{
	((struct port *)opaque)->links++;
}

static const struct vsp_nic_events events = {sizeof(events), on_readable, on_writable};

static void namespace_enter(void)
{
	if (access("/dev/net/tun", R_OK | W_OK) || unshare(CLONE_NEWNET))
		cr_skip_test("needs root and /dev/net/tun");
}

static int request(unsigned long what, struct ifreq *r, const char *device)
{
	int s = socket(AF_INET, SOCK_DGRAM, 0), ret;

	strncpy(r->ifr_name, device, IFNAMSIZ - 1);
	ret = ioctl(s, what, r);
	close(s);
	return ret;
}

static void device_set_up(const char *device, bool up)
{
	struct ifreq r = {.ifr_flags = 0};

	cr_assert_eq(request(SIOCGIFFLAGS, &r, device), 0);
	r.ifr_flags = (short)(up ? r.ifr_flags | IFF_UP : r.ifr_flags & ~IFF_UP);
	cr_assert_eq(request(SIOCSIFFLAGS, &r, device), 0);
}

static int wire_open(const char *device)
{
	struct sockaddr_ll a = {.sll_family = AF_PACKET, .sll_protocol = htons(PROTOCOL),
				.sll_ifindex = (int)if_nametoindex(device)};
	int s = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(PROTOCOL));

	cr_assert_geq(s, 0);
	cr_assert_eq(bind(s, (struct sockaddr *)&a, sizeof(a)), 0);
	return s;
}

static void port_open(struct port *p, struct vsp_nic_tap_config *config)
{
	struct vmbus_error err = {0};

	memset(p, 0, sizeof(*p));
	cr_assert_eq(vmbus_loop_new(NULL, &p->loop, &err), 0, "%s", err.text);
	config->loop = config->fds ? NULL : p->loop;
	cr_assert_eq(vsp_nic_tap(config, &p->nic, &err), 0, "%s", err.text);
	p->nic->ops->watch_link(p->nic, on_link, p);
	cr_assert_eq(p->nic->ops->queue_new(p->nic, 0, p->loop, &events, p, &p->queue), 0);
}

static void loop_drain(struct vmbus_loop *loop)
{
	while (vmbus_loop_step(loop, 0) > 0)
		;
}

static void port_close(struct port *p)
{
	p->nic->ops->queue_free(p->queue);
	p->nic->ops->watch_link(p->nic, NULL, NULL);
	p->nic->ops->close(p->nic);
	loop_drain(p->loop); /* the storage of watches goes with their last completion */
	vmbus_loop_free(p->loop);
}

static void frame_make(uint8_t f[FRAME], uint32_t number)
{
	memset(f, 0, FRAME);
	memset(f, 0xff, 6);
	f[6] = 2;
	f[12] = PROTOCOL >> 8;
	f[13] = PROTOCOL & 0xff;
	memcpy(f + 14, &number, sizeof(number));
}

/* The next of our frames out of the device, by number; -1: none there. */
static int64_t take(struct port *p, struct vsp_nic_queue *queue)
{
	uint8_t bytes[2048];
	struct vsp_nic_frame f;
	struct iovec iov[2] = {{&f.header, sizeof(f.header)}, {bytes, sizeof(bytes)}};
	uint32_t number;

	for (;;) {
		f.iov = iov;
		f.iov_count = 2;
		if (p->nic->ops->receive(queue, &f, 1) != 1)
			return -1;
		if (f.len != FRAME || bytes[12] != PROTOCOL >> 8 || bytes[13] != (PROTOCOL & 0xff))
			continue; /* the kernel's own */
		memcpy(&number, bytes + 14, sizeof(number));
		return number;
	}
}

static int give(struct port *p, uint32_t number)
{
	uint8_t bytes[FRAME];
	struct vsp_nic_frame f = {.len = FRAME};
	struct iovec iov[2] = {{&f.header, sizeof(f.header)}, {bytes, FRAME}};

	frame_make(bytes, number);
	f.iov = iov;
	f.iov_count = 2;
	cr_assert_eq(p->nic->ops->send(p->queue, &f, 1), 1);
	return f.result;
}

/* All in one call. Where @odd says so a frame is none that a device takes. */
static void give_many(struct port *p, uint32_t count, struct vsp_nic_frame *frames, uint32_t odd)
{
	static uint8_t bytes[MANY][FRAME];
	static struct iovec iov[MANY][3];

	for (uint32_t i = 0; i < count; i++) {
		frame_make(bytes[i], i);
		memset(&frames[i], 0, sizeof(frames[i]));
		iov[i][0] = (struct iovec){&frames[i].header, sizeof(frames[i].header)};
		iov[i][1] = (struct iovec){bytes[i], 20};
		iov[i][2] = (struct iovec){bytes[i] + 20, FRAME - 20};
		frames[i].iov = iov[i];
		frames[i].iov_count = 3;
		frames[i].len = FRAME;
		frames[i].result = 1;
	}
	if (odd < count)
		frames[odd].iov_count = 1;
	if (odd + 1 < count)
		iov[odd + 1][1].iov_base = NULL;
	cr_assert_eq(p->nic->ops->send(p->queue, frames, count), count);
}

static void wire_expect(struct port *p, uint32_t number)
{
	uint8_t frame[FRAME];
	uint32_t got;

	cr_assert_eq(recv(p->wire, frame, FRAME, 0), FRAME, "frame %u did not come", number);
	memcpy(&got, frame + 14, sizeof(got));
	cr_expect_eq(got, number);
}

static uint64_t now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec;
}

/* Runs the loop until a link of @p is as wanted, and reads what is readable as an adapter does:
 * the kernel has frames of its own to send. */
static void link_await(struct port *p, bool up)
{
	struct vsp_nic_info info;
	uint64_t end = now_s() + PATIENCE_S;

	for (;;) {
		if (p->readable) {
			p->readable = 0;
			while (take(p, p->queue) >= 0)
				;
		}
		p->nic->ops->get_info(p->nic, &info);
		if (info.link_up == up)
			return;
		cr_assert_lt(now_s(), end, "the link never was %s", up ? "up" : "down");
		cr_assert_geq(vmbus_loop_step(p->loop, 1000000000), 0);
	}
}

static void readable_await(struct port *p)
{
	uint64_t end = now_s() + PATIENCE_S;

	while (!p->readable) {
		cr_assert_lt(now_s(), end, "never readable");
		cr_assert_geq(vmbus_loop_step(p->loop, 1000000000), 0);
	}
}

Test(tap, frames_pass_in_order_both_ways_and_a_sleeper_is_woken)
{
	struct vsp_nic_tap_config config = VSP_NIC_TAP_CONFIG_INIT;
	struct vsp_nic_info info;
	uint8_t frame[FRAME];
	struct port p;

	namespace_enter();
	config.up = true;
	port_open(&p, &config);
	p.wire = wire_open(vsp_nic_tap_name(p.nic));
	p.nic->ops->get_info(p.nic, &info);
	cr_expect_eq(info.offloads & (VSP_NIC_CSUM | VSP_NIC_TSO4 | VSP_NIC_TSO6),
		     VSP_NIC_CSUM | VSP_NIC_TSO4 | VSP_NIC_TSO6);
	cr_expect(info.link_up);
	for (uint32_t round = 0; round < 3; round++) {
		cr_expect_eq(take(&p, p.queue), -1);
		p.readable = 0;
		for (uint32_t i = 0; i < 300; i++) {
			frame_make(frame, i);
			cr_assert_eq(send(p.wire, frame, FRAME, 0), FRAME);
		}
		readable_await(&p);
		for (uint32_t i = 0; i < 300; i++)
			cr_assert_eq(take(&p, p.queue), i);
		for (uint32_t i = 0; i < 300; i++) {
			cr_assert_eq(give(&p, i), 0);
			cr_assert_eq(recv(p.wire, frame, FRAME, 0), FRAME);
			cr_expect_eq(memcmp(frame + 14, &i, sizeof(i)), 0);
		}
	}
	close(p.wire);
	port_close(&p);
}

Test(tap, device_is_set_up_as_the_config_says)
{
	static const uint8_t mac[6] = {0xfe, 0x12, 0x34, 0x56, 0x78, 0x9a};
	struct vsp_nic_tap_config config = VSP_NIC_TAP_CONFIG_INIT;
	struct vmbus_error err = {0};
	struct vsp_nic *nic;
	struct ifreq r;
	struct port p;

	namespace_enter();
	config.name = "vmtap%d";
	config.mtu = 4000;
	config.mac = mac;
	config.up = true;
	port_open(&p, &config);
	cr_expect_str_eq(vsp_nic_tap_name(p.nic), "vmtap0");
	cr_expect_eq(request(SIOCGIFMTU, &r, "vmtap0"), 0);
	cr_expect_eq(r.ifr_mtu, 4000);
	cr_expect_eq(request(SIOCGIFHWADDR, &r, "vmtap0"), 0);
	cr_expect_eq(memcmp(r.ifr_hwaddr.sa_data, mac, 6), 0);
	cr_expect_eq(request(SIOCGIFFLAGS, &r, "vmtap0"), 0);
	cr_expect(r.ifr_flags & IFF_UP);

	config.name = "vmtap0"; /* it is taken */
	cr_expect_eq(vsp_nic_tap(&config, &nic, &err), -EBUSY);
	cr_expect(strstr(err.text, "vmtap0"), "%s", err.text);
	config.name = "other";
	config.bridge = "nobridge";
	cr_expect_lt(vsp_nic_tap(&config, &nic, &err), 0);
	cr_expect(strstr(err.text, "other"), "%s", err.text);
	port_close(&p);
	cr_expect_eq(if_nametoindex("vmtap0"), 0, "it goes with its last fd");
}

static int fd_make(const char *name, int flags)
{
	struct ifreq r = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags)};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	strncpy(r.ifr_name, name, IFNAMSIZ - 1);
	cr_assert_eq(ioctl(fd, TUNSETIFF, &r), 0);
	return fd;
}

/* With room for any number of frames under way, where they go in batches, and for one frame. */
Test(tap, many_frames_at_once_keep_their_order_and_fail_each_for_itself)
{
	static const uint32_t counts[] = {2, 63, 64, 65, 129, MANY};
	static struct vsp_nic_frame frames[MANY];

	namespace_enter();
	for (int one = 0; one < 2; one++) {
		struct vsp_nic_tap_config config = VSP_NIC_TAP_CONFIG_INIT;
		int fd = fd_make("many", 0), room = 1;
		struct port p;

		cr_assert(!one || ioctl(fd, TUNSETSNDBUF, &room) == 0);
		config.fds = &fd;
		port_open(&p, &config);
		device_set_up("many", true);
		p.wire = wire_open("many");
		for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
			uint32_t count = counts[c], odd = count / 2;

			give_many(&p, count, frames, count);
			for (uint32_t i = 0; i < count; i++) {
				cr_expect_eq(frames[i].result, 0);
				wire_expect(&p, i);
			}
			give_many(&p, count, frames, odd);
			for (uint32_t i = 0; i < count; i++) {
				int result = i == odd ? -EINVAL : i == odd + 1 ? -EFAULT : 0;

				cr_expect_eq(frames[i].result, result, "%u of %u: %d", i, count,
					     frames[i].result);
				if (!result)
					wire_expect(&p, i);
			}
		}
		device_set_up("many", false);
		give_many(&p, MANY, frames, MANY);
		for (uint32_t i = 0; i < MANY; i++)
			cr_expect_eq(frames[i].result, -EIO);
		close(p.wire);
		port_close(&p);
	}
}

Test(tap, devices_that_are_there_are_taken_as_they_were_made)
{
	namespace_enter();
	cr_assert_eq(system("ip tuntap add single mode tap && ip tuntap add several mode tap multi_queue"), 0);
	for (int row = 0; row < 4; row++) {
		struct vsp_nic_tap_config config = VSP_NIC_TAP_CONFIG_INIT;
		struct vmbus_error err = {0};
		struct vsp_nic *nic;
		int ret;

		config.name = row & 1 ? "several" : "single";
		config.queues = row & 2 ? 2 : 1;
		ret = vsp_nic_tap(&config, &nic, &err);
		cr_expect_eq(ret, row == 2 ? -EINVAL : 0, "row %d: %s", row, err.text);
		if (!ret)
			nic->ops->close(nic);
		else
			cr_expect(strstr(err.text, "single: ") && strstr(err.text, "several queues"));
	}
}

/* Returns false where the kernel has none. */
static bool bridge_make(const char *name)
{
	int s = socket(AF_INET, SOCK_STREAM, 0), ret = ioctl(s, 0x89a0 /* SIOCBRADDBR */, name);

	close(s);
	return ret == 0;
}

Test(tap, link_follows_the_device_and_its_bridge)
{
	struct vsp_nic_tap_config config = VSP_NIC_TAP_CONFIG_INIT;
	struct port p, bridged;

	namespace_enter();
	config.up = true;
	port_open(&p, &config);
	for (uint32_t round = 0; round < 3; round++) {
		device_set_up(vsp_nic_tap_name(p.nic), false);
		link_await(&p, false);
		cr_expect_eq(give(&p, 1), -EIO, "a frame into a device that is down is lost");
		device_set_up(vsp_nic_tap_name(p.nic), true);
		link_await(&p, true);
		cr_expect_eq(give(&p, 1), 0);
	}
	cr_expect_eq(p.links, 6);
	if (bridge_make("bridge")) {
		config.bridge = "bridge";
		port_open(&bridged, &config);
		link_await(&bridged, false); /* the bridge is down yet */
		device_set_up("bridge", true);
		link_await(&bridged, true);
		device_set_up("bridge", false);
		link_await(&bridged, false);
		port_close(&bridged);
	}
	port_close(&p);
}

/* By name and by a fd handed in: in the first case netlink tells, in the second the fd. */
Test(tap, deleted_device_is_a_dead_link_and_nothing_spins)
{
	namespace_enter();
	for (int by_fd = 0; by_fd < 2; by_fd++) {
		struct vsp_nic_tap_config config = VSP_NIC_TAP_CONFIG_INIT;
		int fd = by_fd ? fd_make("doomed", 0) : -1;
		struct vsp_nic_info info;
		struct port p;
		int steps;

		config.name = by_fd ? "" : "doomed";
		config.fds = by_fd ? &fd : NULL;
		config.up = !by_fd;
		port_open(&p, &config);
		device_set_up("doomed", true);
		cr_expect_eq(take(&p, p.queue), -1);
		p.readable = 0; /* nothing has happened since */
		loop_drain(p.loop);
		p.links = 0;

		cr_assert_eq(system("ip link del doomed"), 0);
		link_await(&p, false);
		cr_expect_eq(p.links, 1, "by fd %d: told %u times", by_fd, p.links);
		for (uint32_t i = 0; i < 5; i++) {
			cr_expect_eq(take(&p, p.queue), -1);
			cr_expect_lt(give(&p, i), 0, "by fd %d", by_fd);
		}
		for (steps = 0; steps < 100 && vmbus_loop_step(p.loop, 0) > 0; steps++)
			;
		cr_expect_lt(steps, 100, "by fd %d: events without end", by_fd);
		p.nic->ops->get_info(p.nic, &info);
		cr_expect_not(info.link_up);
		port_close(&p);
	}
}

Test(tap, queues_get_frames_only_while_they_are_open)
{
	struct vsp_nic_tap_config config = VSP_NIC_TAP_CONFIG_INIT;
	struct vsp_nic_queue *queues[4], *twice;
	struct vsp_nic_info info;
	uint8_t frame[FRAME];
	struct port p;

	namespace_enter();
	config.queues = 4;
	config.up = true;
	port_open(&p, &config);
	p.wire = wire_open(vsp_nic_tap_name(p.nic));
	p.nic->ops->get_info(p.nic, &info);
	cr_expect_eq(info.queues, 4);
	queues[0] = p.queue;
	cr_expect_eq(p.nic->ops->queue_new(p.nic, 0, p.loop, &events, &p, &twice), -EINVAL);
	cr_expect_eq(p.nic->ops->queue_new(p.nic, 4, p.loop, &events, &p, &twice), -EINVAL);
	for (uint32_t open = 1; open <= 4; open++) {
		uint32_t got = 0;

		if (open > 1)
			cr_assert_eq(p.nic->ops->queue_new(p.nic, open - 1, p.loop, &events, &p,
							   &queues[open - 1]), 0);
		for (uint32_t i = 0; i < 64; i++) {
			frame_make(frame, i);
			frame[6 + i % 6] ^= (uint8_t)i; /* flows of their own */
			cr_assert_eq(send(p.wire, frame, FRAME, 0), FRAME);
		}
		for (uint32_t q = 0; q < open; q++)
			while (take(&p, queues[q]) >= 0)
				got++;
		cr_expect_eq(got, 64, "%u open: %u frames", open, got);
	}
	for (uint32_t q = 1; q < 4; q++)
		p.nic->ops->queue_free(queues[q]);
	loop_drain(p.loop);
	close(p.wire);
	port_close(&p);
}
