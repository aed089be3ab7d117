/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "disk-guest.h"

#define READ_16 0x88
#define WRITE_16 0x8a
#define SYNCHRONIZE_CACHE_10 0x35

static bool disk_idle(void *arg)
{
	return !vmbus_rx_pending(&((struct disk_guest *)arg)->bus.echo->rx);
}

static bool disk_arm(void *arg)
{
	return vmbus_rx_arm(&((struct disk_guest *)arg)->bus.echo->rx);
}

int disk_guest_poll(struct disk_guest *guest)
{
	const struct vmbus_shm_wait wait = {.idle = disk_idle, .arm = disk_arm, .arg = guest};
	unsigned int packets = 0;
	int r;

	vsp_storvsc_kick(&guest->storvsc);
	for (;;) {
		vmbus_rx_disarm(&guest->bus.echo->rx);
		r = vsp_storvsc_poll(&guest->storvsc, &packets);
		if (r || packets)
			return r;
		r = echo_guest_wait(&guest->bus, &wait);
		if (r)
			return r;
	}
}

int disk_guest_connect(struct disk_guest *guest, const char *path, uint32_t spin_us, uint64_t memory)
{
	int r;

	r = echo_guest_connect_with(&guest->bus, path, spin_us, memory);
	if (!r)
		r = echo_guest_open(&guest->bus);
	if (!r)
		r = vsp_storvsc_init(&guest->storvsc, guest->bus.echo, NULL);
	while (!r && guest->storvsc.state < VSP_STORVSC_READY)
		r = disk_guest_poll(guest);
	return r || guest->storvsc.state == VSP_STORVSC_READY ? r : -EIO;
}

static void big_endian_put(uint8_t *p, uint64_t value, unsigned int bytes)
{
	while (bytes) {
		p[--bytes] = (uint8_t)value;
		value >>= 8;
	}
}

int disk_guest_transfer(struct disk_guest *guest, struct vsp_storvsc_request *request, bool write,
			uint64_t lba, uint16_t sectors, const uint64_t *pfns)
{
	memset(request->cdb, 0, sizeof(request->cdb));
	request->cdb[0] = write ? WRITE_16 : READ_16;
	big_endian_put(request->cdb + 2, lba, 8);
	big_endian_put(request->cdb + 10, sectors, 4);
	request->cdb_len = 16;
	request->direction = write ? VSP_SRB_WRITE : VSP_SRB_READ;
	request->len = sectors * 512u;
	request->pfns = pfns;
	return vsp_storvsc_submit(&guest->storvsc, request);
}

int disk_guest_flush(struct disk_guest *guest, struct vsp_storvsc_request *request)
{
	memset(request->cdb, 0, sizeof(request->cdb));
	request->cdb[0] = SYNCHRONIZE_CACHE_10;
	request->cdb_len = 10;
	request->direction = VSP_SRB_NONE;
	request->len = 0;
	return vsp_storvsc_submit(&guest->storvsc, request);
}

void disk_guest_free(struct disk_guest *guest)
{
	echo_guest_free(&guest->bus);
}
