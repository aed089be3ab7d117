/* SPDX-License-Identifier: MIT */
/* bench-ring [--json] [MILLIONS]: what a packet of 64 bytes costs in a ring, written
 * and read in one thread: put, publish, next for each; commit and the decision on a
 * signal once a batch. The median of seven runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <vmbus/memory.h>

#define RING_PAGES 33u /* as storvsc asks for: 128 KiB and the control page */
#define RUNS 7
#define PAYLOAD 64u

static const struct row {
	const char *name;
	bool paged;
	unsigned int batch;
} rows[] = {
	{"mapped", false, 32},
	{"mapped, one by one", false, 1},
	{"paged", true, 32},
	{"paged, one by one", true, 1},
};

static int memory_make(struct vmbus_view **view)
{
	struct vmbus_region region = VMBUS_REGION_INIT;
	struct vmbus_mem *mem = vmbus_mem_new();
	const size_t len = RING_PAGES * VMBUS_PAGE_SIZE;
	int ret;

	region.fd = memfd_create("bench-ring", MFD_CLOEXEC);
	if (!mem || region.fd < 0 || ftruncate(region.fd, (off_t)len))
		return -1;
	region.len = len;
	region.host = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, region.fd, 0);
	if (region.host == MAP_FAILED)
		return -1;
	ret = vmbus_mem_add(mem, &region);
	*view = vmbus_mem_view(mem);
	vmbus_mem_unref(mem);
	return ret;
}

static int batch_move(struct vmbus_tx *tx, struct vmbus_rx *rx, struct vmbus_packet *out, unsigned int n)
{
	static uint64_t buf[512];
	struct vmbus_packet in;

	for (unsigned int i = 0; i < n; i++) {
		out->transaction_id++;
		if (vmbus_tx_put(tx, out, 0))
			return -1;
		vmbus_tx_publish(tx);
	}
	/* what is returned is for a peer that sleeps; here is none */
	if (vmbus_tx_signal_due(tx))
		return -1;
	for (unsigned int i = 0; i < n; i++)
		if (vmbus_rx_next(rx, buf, sizeof(buf), &in) || in.payload_len != PAYLOAD)
			return -1;
	return vmbus_rx_commit(rx) || in.transaction_id != out->transaction_id;
}

/* Nanoseconds a packet, or < 0. */
static double run(const struct vmbus_ring_memory *ring, unsigned int batch, unsigned long packets)
{
	static const uint8_t payload[PAYLOAD] = {1};
	struct vmbus_packet packet = {
		.type = VMBUS_PACKET_INBAND, .payload = payload, .payload_len = PAYLOAD};
	struct timespec start, end;
	struct vmbus_tx tx;
	struct vmbus_rx rx;

	memset(ring->control, 0, sizeof(*ring->control));
	if (vmbus_tx_init(&tx, ring) || vmbus_rx_init(&rx, ring))
		return -1;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (unsigned long done = 0; done < packets; done += batch)
		if (batch_move(&tx, &rx, &packet, batch))
			return -1;
	clock_gettime(CLOCK_MONOTONIC, &end);
	return ((double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec)) /
	       (double)rx.packets;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int row_run(struct vmbus_view *view, const struct row *row, unsigned long packets, double *median)
{
	struct vmbus_ring_memory ring;
	uint64_t pfns[RING_PAGES];
	double ns[RUNS];

	for (uint32_t i = 0; i < RING_PAGES; i++)
		pfns[i] = i;
	if (vmbus_ring_map(view, pfns, RING_PAGES, row->paged, &ring))
		return -1;
	for (int i = 0; i < RUNS; i++)
		ns[i] = run(&ring, row->batch, packets);
	vmbus_ring_unmap(&ring);
	qsort(ns, RUNS, sizeof(ns[0]), compare);
	*median = ns[RUNS / 2];
	return ns[0] < 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	bool json = argc > 1 && strcmp(argv[1], "--json") == 0;
	unsigned long millions = argc > 1 + json ? strtoul(argv[1 + json], NULL, 10) : 2;
	struct vmbus_view *view;
	double ns;

	if (millions == 0 || memory_make(&view)) {
		fprintf(stderr, "usage: bench-ring [--json] [MILLIONS]\n");
		return 2;
	}
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (row_run(view, &rows[i], millions * 1000000, &ns)) {
			fprintf(stderr, "bench-ring: %s: failed\n", rows[i].name);
			return 1;
		}
		if (json)
			printf("%s{\"name\": \"%s\", \"batch\": %u, \"ns_per_packet\": %.1f}", i ? ", " : "[",
			       rows[i].name, rows[i].batch, ns);
		else
			printf("%-20s %6.1f ns a packet\n", rows[i].name, ns);
	}
	if (json)
		printf("]\n");
	vmbus_view_unref(view);
	return 0;
}
