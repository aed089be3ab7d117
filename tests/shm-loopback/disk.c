/* SPDX-License-Identifier: MIT */
/* A disk between two processes: what was written is read back; guests killed under load
 * leave the next one a sound disk; a killed host leaves an image in which every flushed
 * write is. A plain program. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vhd/vhd.h>
#include <vsp/storage.h>

#include "disk-guest.h"

#define DISK_BYTES (64ull << 20)
#define BLOCK 4096u
#define BLOCKS ((uint32_t)(DISK_BYTES / BLOCK))
#define SECTORS (BLOCK / 512u)
#define DEPTH 16u

static char image_path[64];

/* -- Host ----------------------------------------------------------------- */

static struct vmbus_loop *host_loop;
static struct vsp_disk *disk;

static struct vmbus_loop *loop_of(void *opaque, struct vmbus_channel *channel)
{
	(void)opaque, (void)channel;
	return host_loop;
}

static void disk_begin(struct vmbus_loop *loop)
{
	struct vmbus_error err;

	host_loop = loop;
	if (vsp_disk_open(image_path, NULL, &disk, &err)) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
}

static int disk_connected(void *opaque, struct vmbus_shm_peer *peer, void **user)
{
	struct vsp_storage_config config = VSP_STORAGE_CONFIG_INIT;
	struct vsp_storage *storage;

	(void)opaque;
	config.server = vmbus_shm_peer_server(peer);
	config.loop_of = loop_of;
	CHECK(vsp_storage_new(&config, &storage) == 0);
	CHECK(vsp_storage_add_disk(storage, 0, disk) == 0);
	*user = storage;
	return 0;
}

static void disk_disconnected(void *opaque, struct vmbus_shm_peer *peer, void *user, const char *reason)
{
	(void)opaque, (void)peer, (void)reason;
	vsp_storage_free(user);
}

static void disk_end(void)
{
	vsp_disk_unref(disk);
}

static const struct test_device disk_device = {
	.connected = disk_connected,
	.disconnected = disk_disconnected,
	.begin = disk_begin,
	.end = disk_end,
};

/* -- Guest ---------------------------------------------------------------- */

/* What is known of each block, shared with the guests' processes. A block is filled with its
 * generation, sector by sector. */
struct block {
	uint32_t issued;   /* the newest generation that was handed to the host */
	uint32_t answered; /* ... that it said it has */
	uint32_t flushed;  /* ... that was answered when a flush began that ended */
};
static struct block *blocks;

struct slot {
	struct vsp_storvsc_request request;
	struct worker *worker;
	uint64_t pfn;
	uint32_t block, generation;
	bool busy;
};

struct worker {
	struct disk_guest guest;
	struct slot slots[DEPTH];
	struct vsp_storvsc_request flush;
	uint32_t *flushing; /* answered, when the flush began */
	bool flush_busy;
	unsigned int running;
};

static uint64_t sector_word(uint32_t block, uint32_t generation, uint32_t sector)
{
	return (uint64_t)generation << 32 | block << 4 | sector;
}

static void block_fill(uint64_t *data, uint32_t block, uint32_t generation)
{
	for (uint32_t i = 0; i < BLOCK / 8; i++)
		data[i] = sector_word(block, generation, i / 64);
}

static void request_ended(struct worker *w, const struct vsp_storvsc_request *request)
{
	w->running--;
	if ((request->srb_status & 0x3f) == 1 && request->scsi_status == 0)
		return;
	fprintf(stderr, "command %#x: srb status %#x, status %#x, sense %02x %02x %02x\n",
		request->cdb[0], request->srb_status, request->scsi_status, request->sense[2],
		request->sense[12], request->sense[13]);
	exit(1);
}

static void write_done(struct vsp_storvsc_request *request)
{
	struct slot *slot = (struct slot *)request;

	request_ended(slot->worker, request);
	blocks[slot->block].answered = slot->generation;
	slot->busy = false;
}

static void flush_done(struct vsp_storvsc_request *request)
{
	struct worker *w = request->user;

	request_ended(w, request);
	for (uint32_t i = 0; i < BLOCKS; i++)
		blocks[i].flushed = w->flushing[i];
	w->flush_busy = false;
}

/* Returns false if the host is gone. */
static bool worker_init(struct worker *w, uint32_t spin_us)
{
	int r;

	memset(w, 0, sizeof(*w));
	r = disk_guest_connect(&w->guest, socket_path(), spin_us, 4u << 20);
	if (r && (!w->guest.bus.shm || vmbus_shm_guest_gone(w->guest.bus.shm)))
		return false;
	CHECK(r == 0);
	w->flushing = calloc(BLOCKS, sizeof(*w->flushing));
	w->flush.done = flush_done;
	w->flush.user = w;
	for (uint32_t i = 0; i < DEPTH; i++) {
		w->slots[i].worker = w;
		CHECK(vmbus_shm_guest_alloc(w->guest.bus.shm, 1, &w->slots[i].pfn) == 0);
	}
	return true;
}

static void worker_fini(struct worker *w)
{
	disk_guest_free(&w->guest);
	free(w->flushing);
}

static void *slot_data(const struct slot *slot)
{
	return vmbus_shm_guest_page(slot->worker->guest.bus.shm, slot->pfn);
}

/* One write of a block at a time, so that its generations stay in order. */
static void write_start(struct worker *w, struct slot *slot, uint32_t block)
{
	for (uint32_t i = 0; i < DEPTH; i++)
		if (w->slots[i].busy && w->slots[i].block == block)
			return;
	slot->request.done = write_done;
	slot->block = block;
	slot->generation = ++blocks[block].issued;
	block_fill(slot_data(slot), block, slot->generation);
	CHECK(disk_guest_transfer(&w->guest, &slot->request, true, (uint64_t)block * SECTORS, SECTORS,
				  &slot->pfn) == 0);
	slot->busy = true;
	w->running++;
}

static void flush_start(struct worker *w)
{
	for (uint32_t i = 0; i < BLOCKS; i++)
		w->flushing[i] = blocks[i].answered;
	CHECK(disk_guest_flush(&w->guest, &w->flush) == 0);
	w->flush_busy = true;
	w->running++;
}

/* Random writes, @count of them, and flushes one after the other. Returns 0, or what the
 * wait said. */
static int worker_write(struct worker *w, uint64_t count, unsigned int *seed)
{
	int r = 0;

	while (!r && (count || w->running)) {
		for (uint32_t i = 0; i < DEPTH && count; i++) {
			if (w->slots[i].busy)
				continue;
			write_start(w, &w->slots[i], (uint32_t)rand_r(seed) % BLOCKS);
			count--;
		}
		if (!w->flush_busy && count)
			flush_start(w);
		if (w->running)
			r = disk_guest_poll(&w->guest);
	}
	return r;
}

/* A sector may be older than the newest write to it only if that was not flushed. */
static bool block_sound(const uint64_t *data, uint32_t block)
{
	for (uint32_t i = 0; i < BLOCK / 8; i++) {
		uint32_t generation = (uint32_t)(data[i] >> 32);
		uint64_t expected = generation ? sector_word(block, generation, i / 64) : 0;

		if (data[i] != expected || generation < blocks[block].flushed ||
		    generation > blocks[block].issued) {
			fprintf(stderr, "block %u, word %u: %#llx: generation %u; flushed %u, "
				"answered %u, issued %u\n", block, i, (unsigned long long)data[i],
				generation, blocks[block].flushed, blocks[block].answered,
				blocks[block].issued);
			return false;
		}
	}
	return true;
}

static void read_done(struct vsp_storvsc_request *request)
{
	struct slot *slot = (struct slot *)request;

	request_ended(slot->worker, request);
	CHECK(block_sound(slot_data(slot), slot->block));
	slot->busy = false;
}

static void disk_reads_back(uint32_t spin_us)
{
	struct worker w;
	uint32_t next = 0;

	CHECK(worker_init(&w, spin_us));
	while (next < BLOCKS || w.running) {
		for (uint32_t i = 0; i < DEPTH && next < BLOCKS; i++) {
			struct slot *slot = &w.slots[i];

			if (slot->busy)
				continue;
			slot->request.done = read_done;
			slot->block = next++;
			slot->busy = true;
			w.running++;
			CHECK(disk_guest_transfer(&w.guest, &slot->request, false,
						  (uint64_t)slot->block * SECTORS, SECTORS,
						  &slot->pfn) == 0);
		}
		CHECK(disk_guest_poll(&w.guest) == 0);
	}
	worker_fini(&w);
}

static void everything_is_flushed(void)
{
	for (uint32_t i = 0; i < BLOCKS; i++)
		CHECK(blocks[i].flushed == blocks[i].issued);
}

/* -- What must hold -------------------------------------------------------- */

static void image_make(void)
{
	struct vhd_create_options options = VHD_CREATE_OPTIONS_INIT;
	struct vhd_error err;

	options.format = VHD_FORMAT_VHD;
	options.type = VHD_TYPE_DYNAMIC;
	options.virtual_size = DISK_BYTES;
	if (vhd_create(image_path, &options, &err)) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	memset(blocks, 0, BLOCKS * sizeof(*blocks));
}

/* The image as libvhd finds it, without a host. */
static void image_is_sound(void)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct vhd_image *image;
	struct vhd_error err;
	uint64_t data[BLOCK / 8];

	if (vhd_open(image_path, &options, &image, &err)) {
		fprintf(stderr, "%s\n", err.text);
		exit(1);
	}
	for (uint32_t i = 0; i < BLOCKS; i++) {
		CHECK(vhd_pread(image, data, BLOCK, (uint64_t)i * BLOCK) == 0);
		CHECK(block_sound(data, i));
	}
	CHECK(vhd_close(image) == 0);
}

static void what_is_written_is_read(uint32_t host_spin, uint32_t guest_spin)
{
	unsigned int seed = host_spin + guest_spin;
	struct worker w;
	pid_t host;

	image_make();
	host = test_host_start(&disk_device, host_spin, 4);
	CHECK(worker_init(&w, guest_spin));
	CHECK(worker_write(&w, 4000, &seed) == 0);
	flush_start(&w);
	CHECK(worker_write(&w, 0, &seed) == 0);
	worker_fini(&w);
	everything_is_flushed();
	disk_reads_back(guest_spin);
	CHECK(test_host_stop(host) == 0);
	image_is_sound();
	unlink(image_path);
}

static pid_t writer_fork(unsigned int seed, uint32_t spin_us)
{
	struct worker w;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid)
		return pid;
	if (worker_init(&w, spin_us)) {
		CHECK(worker_write(&w, UINT64_MAX, &seed) == -EPIPE);
		CHECK(vmbus_shm_guest_gone(w.guest.bus.shm));
	}
	_exit(0);
}

static void killed_guests_leave_a_sound_disk(void)
{
	unsigned int seed = 7;
	int status;
	pid_t host;

	image_make();
	host = test_host_start(&disk_device, 50, 8);
	for (unsigned int i = 0; i < 100; i++) {
		pid_t guest = writer_fork(i, 50);

		usleep((useconds_t)(rand_r(&seed) % 12000));
		kill(guest, SIGKILL);
		CHECK(waitpid(guest, &status, 0) == guest && WIFSIGNALED(status));
	}
	disk_reads_back(50);
	CHECK(waitpid(host, &status, WNOHANG) == 0);
	CHECK(test_host_stop(host) == 0);
	image_is_sound();
	unlink(image_path);
}

static void a_killed_host_loses_nothing_flushed(void)
{
	unsigned int seed = 11, flushed = 0;
	int status;

	image_make();
	for (unsigned int i = 0; i < 25; i++) {
		pid_t host = test_host_start(&disk_device, i % 2 ? 50 : 0, 4);
		pid_t guest = writer_fork(1000 + i, i % 2 ? 50 : 0);

		usleep((useconds_t)(10000 + rand_r(&seed) % 60000));
		kill(host, SIGKILL);
		CHECK(waitpid(host, &status, 0) == host && WIFSIGNALED(status));
		CHECK(waitpid(guest, &status, 0) == guest && status == 0);
		image_is_sound();
		/* what was answered, but not flushed, may be lost */
		for (uint32_t k = 0; k < BLOCKS; k++)
			blocks[k].answered = blocks[k].flushed;
	}
	for (uint32_t i = 0; i < BLOCKS; i++)
		flushed += blocks[i].flushed != 0;
	CHECK(flushed > 100); /* or nothing was tested */
	unlink(image_path);
}

int main(void)
{
	int fd;

	alarm(180);
	/* in memory if possible: it is about processes that die, not about power */
	snprintf(image_path, sizeof(image_path), "%s/vmbus-disk-test-XXXXXX.vhd",
		 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	fd = mkstemps(image_path, 4);
	CHECK(fd >= 0);
	close(fd);
	unlink(image_path);
	blocks = mmap(NULL, BLOCKS * sizeof(*blocks), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	CHECK(blocks != MAP_FAILED);
	what_is_written_is_read(50, 50);
	what_is_written_is_read(0, 0);
	killed_guests_leave_a_sound_disk();
	a_killed_host_loses_nothing_flushed();
	return 0;
}
