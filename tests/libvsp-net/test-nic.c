/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include <vsp/nic.h>

struct end {
	struct vsp_nic *nic;
	struct vsp_nic_queue *queue;
	uint32_t readable, writable, links;
};

static void on_readable(void *opaque)
{
	((struct end *)opaque)->readable++;
}

static void on_writable(void *opaque)
{
	((struct end *)opaque)->writable++;
}

static void on_link(void *opaque)
{
	((struct end *)opaque)->links++;
}

static const struct vsp_nic_events events = {sizeof(events), on_readable, on_writable};

static void end_open(struct end *e)
{
	cr_assert_eq(e->nic->ops->queue_new(e->nic, 0, NULL, &events, e, &e->queue), 0);
}

static void end_close(struct end *e)
{
	e->nic->ops->queue_free(e->queue);
	e->nic->ops->close(e->nic);
}

static void pair_open(struct end e[2], uint32_t depth)
{
	struct vsp_nic *nics[2];

	memset(e, 0, 2 * sizeof(*e));
	cr_assert_eq(vsp_nic_pair(1, depth, nics), 0);
	for (int i = 0; i < 2; i++) {
		e[i].nic = nics[i];
		end_open(&e[i]);
	}
}

static bool put(struct end *e, const void *bytes, uint32_t len, const struct vsp_vnet_header *h, int result)
{
	struct vsp_nic_frame f = {.len = len, .result = 1};
	struct iovec iov[3] = {{&f.header, sizeof(f.header)},
			       {(void *)(uintptr_t)bytes, len / 2},
			       {(char *)(uintptr_t)bytes + len / 2, len - len / 2}};

	if (h)
		f.header = *h;
	f.iov = iov;
	f.iov_count = 3;
	if (e->nic->ops->send(e->queue, &f, 1) != 1)
		return false;
	cr_expect_eq(f.result, result);
	return true;
}

static int take(struct end *e, void *bytes, uint32_t size, int result)
{
	struct vsp_nic_frame f = {.len = 0};
	struct iovec iov[2] = {{&f.header, sizeof(f.header)}, {bytes, size}};

	f.iov = iov;
	f.iov_count = 2;
	if (e->nic->ops->receive(e->queue, &f, 1) != 1)
		return -1;
	cr_expect_eq(f.result, result);
	return (int)f.len;
}

Test(nic_pair, frames_go_through_in_order_and_the_full_side_is_told)
{
	char bytes[100];
	struct end e[2];

	pair_open(e, 3);
	cr_expect_eq(take(&e[1], bytes, 100, 0), -1);
	cr_expect(put(&e[0], "first frame", 12, NULL, 0));
	cr_expect_eq(e[1].readable, 1);
	cr_expect(put(&e[0], "second", 7, NULL, 0));
	cr_expect_eq(e[1].readable, 1, "told once, until it finds nothing again");
	cr_expect(put(&e[0], "third", 6, NULL, 0));
	cr_expect_not(put(&e[0], "fourth", 7, NULL, 0));
	cr_expect_eq(e[0].writable, 0);
	cr_expect_eq(take(&e[1], bytes, 100, 0), 12);
	cr_expect_str_eq(bytes, "first frame");
	cr_expect_eq(e[0].writable, 1);
	cr_expect_eq(take(&e[1], bytes, 3, -EMSGSIZE), 3);
	cr_expect_eq(take(&e[1], bytes, 100, 0), 6);
	cr_expect_str_eq(bytes, "third");
	cr_expect_eq(take(&e[1], bytes, 100, 0), -1);
	cr_expect(put(&e[1], "back", 5, NULL, 0));
	end_close(&e[1]);
	cr_expect_eq(take(&e[0], bytes, 100, 0), 5, "what was sent is there");
	end_close(&e[0]);
}

Test(nic_pair, work_left_undone_needs_leave)
{
	const struct vsp_vnet_header csum = {.flags = VSP_VNET_NEEDS_CSUM};
	const struct vsp_vnet_header tso = {.gso_type = VSP_VNET_GSO_TCPV6 | VSP_VNET_GSO_ECN};
	char bytes[100];
	struct end e[2];

	pair_open(e, 8);
	cr_expect(put(&e[0], "frame", 6, &csum, -EOPNOTSUPP));
	cr_assert_eq(e[1].nic->ops->set_offloads(e[1].nic, VSP_NIC_CSUM), 0);
	cr_expect(put(&e[0], "frame", 6, &csum, 0));
	cr_expect(put(&e[0], "frame", 6, &tso, -EOPNOTSUPP));
	cr_assert_eq(e[1].nic->ops->set_offloads(e[1].nic, VSP_NIC_CSUM | VSP_NIC_TSO6), 0);
	cr_expect(put(&e[0], "frame", 6, &tso, 0));
	cr_expect_eq(take(&e[1], bytes, 100, 0), 6);
	cr_expect_eq(take(&e[1], bytes, 100, 0), 6);
	cr_expect_eq(take(&e[1], bytes, 100, 0), -1);
	end_close(&e[0]);
	end_close(&e[1]);
}

Test(nic_pair, link_of_the_other_end_is_told)
{
	struct vsp_nic_info info;
	struct end e[2];

	pair_open(e, 1);
	e[1].nic->ops->watch_link(e[1].nic, on_link, &e[1]);
	vsp_nic_pair_set_link(e[0].nic, false);
	cr_expect_eq(e[1].links, 1);
	e[1].nic->ops->get_info(e[1].nic, &info);
	cr_expect_not(info.link_up);
	e[1].nic->ops->watch_link(e[1].nic, NULL, NULL);
	vsp_nic_pair_set_link(e[0].nic, true);
	cr_expect_eq(e[1].links, 1);
	end_close(&e[0]);
	end_close(&e[1]);
}

static void loop_settle(struct vmbus_loop *loop)
{
	while (vmbus_loop_step(loop, 0) > 0)
		;
}

Test(nic_loopback, frames_come_back_in_order_by_way_of_the_loop)
{
	const struct vsp_vnet_header csum = {.flags = VSP_VNET_NEEDS_CSUM};
	struct vsp_nic_queue *queue;
	struct vmbus_loop *loop;
	struct vsp_nic_info info;
	char bytes[100];
	struct end e = {.nic = NULL};

	cr_expect_eq(vsp_nic_loopback(0, 3, &e.nic), -EINVAL);
	cr_expect_eq(vsp_nic_loopback(2, 0, &e.nic), -EINVAL);
	cr_assert_eq(vmbus_loop_new(NULL, &loop, NULL), 0);
	cr_assert_eq(vsp_nic_loopback(2, 3, &e.nic), 0);
	cr_expect_eq(e.nic->ops->queue_new(e.nic, 0, NULL, &events, &e, &queue), -EINVAL, "no loop");
	cr_assert_eq(e.nic->ops->queue_new(e.nic, 0, loop, &events, &e, &e.queue), 0);
	cr_assert_eq(e.nic->ops->queue_new(e.nic, 1, loop, &events, &e, &queue), 0);
	cr_expect_eq(take(&e, bytes, 100, 0), -1);
	cr_expect(put(&e, "first", 6, NULL, 0));
	cr_expect_eq(e.readable, 0, "not from inside of send()");
	loop_settle(loop);
	cr_expect_eq(e.readable, 1);
	cr_expect(put(&e, "second", 7, NULL, 0));
	cr_expect(put(&e, "undone", 7, &csum, -EOPNOTSUPP));
	cr_expect(put(&e, "third", 6, NULL, 0));
	cr_expect_not(put(&e, "fourth", 7, NULL, 0));
	cr_expect_eq(take(&e, bytes, 100, 0), 6);
	cr_expect_str_eq(bytes, "first");
	loop_settle(loop);
	cr_expect_eq(e.writable, 1);
	cr_expect_eq(take(&e, bytes, 100, 0), 7);
	cr_expect_eq(take(&e, bytes, 100, 0), 6);
	cr_expect_str_eq(bytes, "third");
	cr_expect_eq(take(&e, bytes, 100, 0), -1);
	e.nic->ops->watch_link(e.nic, on_link, &e);
	vsp_nic_pair_set_link(e.nic, false);
	e.nic->ops->get_info(e.nic, &info);
	cr_expect(e.links == 1 && !info.link_up);
	cr_expect(put(&e, "left", 5, NULL, 0));
	e.nic->ops->queue_free(queue);
	loop_settle(loop);
	end_close(&e);
	vmbus_loop_free(loop);
}

Test(nic_pcap, file_holds_every_frame_that_passed)
{
	char path[] = "/tmp/test-nic-XXXXXX", bytes[100];
	uint32_t words[6], record[4];
	struct vsp_nic *filter;
	struct end e[2];
	FILE *file;
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	close(fd);
	pair_open(e, 1);
	e[0].nic->ops->queue_free(e[0].queue);
	cr_assert_eq(vsp_nic_pcap(e[0].nic, path, &filter, NULL), 0);
	e[0].nic = filter;
	end_open(&e[0]);
	cr_expect(put(&e[0], "out of here", 12, NULL, 0));
	cr_expect_not(put(&e[0], "no room", 8, NULL, 0), "not written");
	cr_expect(put(&e[1], "into it", 8, NULL, 0));
	cr_expect_eq(take(&e[0], bytes, 100, 0), 8);
	end_close(&e[0]);
	end_close(&e[1]);
	file = fopen(path, "rb");
	cr_assert_not_null(file);
	cr_assert_eq(fread(words, sizeof(words), 1, file), 1);
	cr_expect_eq(words[0], 0xa1b23c4d);
	cr_expect_eq(words[5], 1);
	cr_assert_eq(fread(record, sizeof(record), 1, file), 1);
	cr_expect_eq(record[2], 12);
	cr_assert_eq(fread(bytes, 12, 1, file), 1);
	cr_expect_str_eq(bytes, "out of here");
	cr_assert_eq(fread(record, sizeof(record), 1, file), 1);
	cr_assert_eq(fread(bytes, 8, 1, file), 1);
	cr_expect_str_eq(bytes, "into it");
	cr_expect_eq(fread(bytes, 1, 1, file), 0);
	fclose(file);
	unlink(path);
}

Test(nic_tap, what_cannot_be_a_tap_is_refused_with_a_reason)
{
	struct vsp_nic_tap_config config = VSP_NIC_TAP_CONFIG_INIT;
	struct vmbus_error err = {0};
	struct vsp_nic *nic;
	int null = open("/dev/null", O_RDWR);

	config.name = "a-name-that-is-too-long";
	cr_expect_eq(vsp_nic_tap(&config, &nic, &err), -EINVAL);
	config.name = "";
	config.queues = 65;
	cr_expect_eq(vsp_nic_tap(&config, &nic, &err), -EINVAL);
	config.queues = 1;
	config.fds = &null;
	cr_expect_lt(vsp_nic_tap(&config, &nic, &err), 0);
	cr_expect_gt(strlen(err.text), 0);
	cr_expect_eq(close(null), 0, "still the caller's");
}
