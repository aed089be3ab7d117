/* SPDX-License-Identifier: MIT */
/* Channels served by threads of their own while disks come, go and change their size: each
 * thread is the guest and the host of one channel. A plain program, for TSan. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

#define WORKERS HARNESS_LINES
#define BLOCKS 8u       /* of LUN 0, a worker */
#define CHURN_LUNS 3u   /* LUNs 1 to 3 */
#define PAGES_EACH 8u
#define CHANGES 200u    /* at least, while the others work */

static struct harness h;
static atomic_uint working, changes;
static unsigned int rounds = 3000;

struct worker {
	pthread_t thread;
	struct line *line;
	struct vmbus_channel *channel;
	struct harness own; /* for the header of the packet being put */
	unsigned int number;
	unsigned int served, absent, attentions;
};

/* Calls to rescan come in between. */
static struct answer exchange(struct worker *w, const struct srb *srb)
{
	struct answer a;

	MOCK_CHECK(srb_put(&w->own, w->line, w->number, srb) == 0);
	MOCK_CHECK(vmbus_channel_service(w->channel, 64) >= 0);
	do {
		MOCK_CHECK(answer_take(w->line, &a));
	} while (a.type == VMBUS_PACKET_INBAND && a.p.operation == VSP_STORVSP_ENUMERATE_BUS);
	MOCK_CHECK(a.type == VMBUS_PACKET_COMPLETION && a.id == w->number);
	return a;
}

/* LUN 0 stays: what was written is there. */
static void stable_check(struct worker *w, unsigned int round)
{
	struct srb write = srb_rw(true, w->number * BLOCKS + round % BLOCKS, 1), read = write;
	uint8_t *page;

	write.pfn += w->number * PAGES_EACH;
	read.pfn = write.pfn + 1;
	read.direction = VSP_SRB_READ;
	read.cdb[0] = 0x28;
	page = harness_page(&h, write.pfn);
	memset(page, (int)round, 512);
	MOCK_CHECK(exchange(w, &write).p.u.srb.srb_status == 1);
	MOCK_CHECK(exchange(w, &read).p.u.srb.srb_status == 1);
	MOCK_CHECK(memcmp(page, page + VMBUS_PAGE_SIZE, 512) == 0);
}

/* The others are there or not, and may tell of a new size. */
static void churned_check(struct worker *w, unsigned int round)
{
	struct srb srb = srb_rw(false, 0, 1);
	struct answer a;

	srb.lun = (uint8_t)(1 + round % CHURN_LUNS);
	srb.pfn += w->number * PAGES_EACH + 2;
	a = exchange(w, &srb);
	if (a.p.u.srb.srb_status == 1)
		w->served++;
	else if (a.p.u.srb.srb_status == 0x20)
		w->absent++;
	else if (a.p.u.srb.srb_status == 0x84 && a.p.u.srb.u.sense[12] == 0x2a)
		w->attentions++;
	else
		mock_fail(__FILE__, __LINE__, "a status that nothing explains");
}

static void *worker_run(void *arg)
{
	struct worker *w = arg;

	for (unsigned int round = 0; round < rounds || atomic_load(&changes) < CHANGES; round++) {
		stable_check(w, round);
		churned_check(w, round);
		sched_yield();
	}
	atomic_fetch_sub(&working, 1);
	return NULL;
}

/* A disk whose size is another each time it is asked. */
static atomic_uint sizes, open_disks;

static void fickle_get_info(void *disk, struct vsp_block_info *info)
{
	(void)disk;
	*info = (struct vsp_block_info){
		.size = (1 + atomic_fetch_add(&sizes, 1) % 7) * 4096,
		.logical_sector = 512, .physical_sector = 512, .id = {1},
	};
}

static int fickle_queue_new(void *disk, struct vmbus_loop *loop, void **queue)
{
	(void)loop;
	*queue = disk;
	return 0;
}

static void fickle_queue_free(void *queue)
{
	(void)queue;
}

static int fickle_submit(void *queue, struct vsp_block_request *request)
{
	(void)queue;
	MOCK_CHECK(request->op == VSP_BLOCK_READ && request->iov_count == 1);
	memset(request->iov[0].iov_base, 0, request->iov[0].iov_len);
	return 0;
}

static void fickle_close(void *disk)
{
	free(disk);
	atomic_fetch_sub(&open_disks, 1);
}

static const struct vsp_block_ops fickle_ops = {
	.size = sizeof(fickle_ops),
	.get_info = fickle_get_info,
	.queue_new = fickle_queue_new,
	.queue_free = fickle_queue_free,
	.submit = fickle_submit,
	.close = fickle_close,
};

/* In, a few new sizes, out: each LUN in turn. */
static void churn(unsigned int n)
{
	uint8_t lun = (uint8_t)(1 + n / 8 % CHURN_LUNS);
	struct vsp_storage_stats stats;
	struct vsp_disk *disk;

	if (n % 8 == 0) {
		(void)!vsp_storage_remove_disk(h.storage, lun);
	} else if (n % 8 == 4) {
		MOCK_CHECK(vsp_disk_new(&fickle_ops, malloc(1), &disk) == 0);
		atomic_fetch_add(&open_disks, 1);
		MOCK_CHECK(vsp_storage_add_disk(h.storage, lun, disk) == 0);
		vsp_disk_unref(disk);
	}
	for (uint8_t i = 1; i <= CHURN_LUNS; i++)
		vsp_storage_resized(h.storage, i);
	vsp_storage_get_stats(h.storage, &stats);
	MOCK_CHECK(stats.bad_requests == 0);
	sched_yield();
}

static void setup(void)
{
	struct vsp_storage_config config = HARNESS_CONFIG;
	struct vsp_disk *ram;
	struct line *line;

	config.max_sub_channels = WORKERS - 1;
	harness_init(&h, config);
	MOCK_CHECK(vsp_disk_ram(HARNESS_DISK, &ram) == 0);
	MOCK_CHECK(vsp_storage_add_disk(h.storage, 0, ram) == 0);
	vsp_disk_unref(ram);
	line = harness_ready(&h, VSP_STORVSP_WIN10);
	MOCK_CHECK(message_exchange(&h, line, VSP_STORVSP_CREATE_SUB_CHANNELS, WORKERS - 1) == 0);
	harness_open_subs(&h);
	MOCK_CHECK(h.line_count == WORKERS);
}

static struct vmbus_channel *channel_of(uint32_t id)
{
	for (unsigned int i = 0; i < MOCK_CHANNELS; i++)
		if (h.mock.served[i] && vmbus_channel_id(h.mock.served[i]) == id)
			return h.mock.served[i];
	return NULL;
}

int main(int argc, char **argv)
{
	static struct worker workers[WORKERS];
	unsigned int served = 0, absent = 0, attentions = 0;

	if (argc > 1)
		rounds = (unsigned int)atoi(argv[1]);
	setup();
	atomic_store(&working, WORKERS);
	for (unsigned int i = 0; i < WORKERS; i++) {
		workers[i].number = i;
		workers[i].line = &h.lines[i];
		workers[i].channel = channel_of(h.lines[i].id);
		MOCK_CHECK(!pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]));
	}
	while (atomic_load(&working) > 0)
		churn(atomic_fetch_add(&changes, 1));
	for (unsigned int i = 0; i < WORKERS; i++) {
		MOCK_CHECK(!pthread_join(workers[i].thread, NULL));
		served += workers[i].served;
		absent += workers[i].absent;
		attentions += workers[i].attentions;
	}
	printf("%u changes; %u served, %u absent, %u attentions\n", atomic_load(&changes), served,
	       absent, attentions);
	for (uint8_t lun = 1; lun <= CHURN_LUNS; lun++)
		(void)!vsp_storage_remove_disk(h.storage, lun);
	harness_run(&h);
	MOCK_CHECK(atomic_load(&open_disks) == 0);
	MOCK_CHECK(served > 0 && absent > 0 && attentions > 0);
	harness_fini(&h);
	return 0;
}
