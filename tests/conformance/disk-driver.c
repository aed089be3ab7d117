/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "disk-driver.h"

int disk_driver_init(struct disk_driver *driver, struct vmbus_inproc *bus, struct disk_book *book,
		     struct vmbus_guest_channel *channel, struct disk_driver *primary,
		     uint16_t version)
{
	int err;

	memset(driver, 0, sizeof(*driver));
	driver->bus = bus;
	driver->book = book;
	err = vsp_storvsc_init(&driver->storvsc, channel, primary ? &primary->storvsc : NULL);
	if (!primary)
		driver->storvsc.version = version;
	return err;
}

/* -- What is on the disk -------------------------------------------------- */

static uint64_t word_of(uint32_t stamp, uint32_t lba, uint32_t word)
{
	return stamp ? (uint64_t)stamp << 32 | lba << 8 | word : 0;
}

/* The 8 bytes at @at of the data; the buffer starts at a multiple of 4, so they may lie in
 * two pages. */
static void data_access(struct disk_request *request, uint32_t at, uint64_t *word, bool write)
{
	for (uint32_t half = 0; half < 2; half++) {
		uint32_t pos = request->srb.offset + at + 4 * half;
		uint8_t *page = vmbus_inproc_page(request->driver->bus,
						  request->pfns[pos / VMBUS_PAGE_SIZE]);
		uint8_t *here = (uint8_t *)word + 4 * half;

		if (write)
			memcpy(page + pos % VMBUS_PAGE_SIZE, here, 4);
		else
			memcpy(here, page + pos % VMBUS_PAGE_SIZE, 4);
	}
}

static void data_fill(struct disk_request *request)
{
	for (uint32_t i = 0; i < request->sectors * 64; i++) {
		uint64_t word = word_of(request->stamp, request->lba + i / 64, i % 64);

		data_access(request, 8 * i, &word, true);
	}
}

static void data_check(struct disk_request *request)
{
	const uint32_t *stamps = request->driver->book->stamps[request->srb.lun];

	for (uint32_t i = 0; i < request->sectors * 64; i++) {
		uint32_t lba = request->lba + i / 64;
		uint64_t word;

		data_access(request, 8 * i, &word, false);
		if (stamps[lba] == DISK_UNKNOWN || word == word_of(stamps[lba], lba, i % 64))
			continue;
		vmbus_inproc_fail(request->driver->bus,
				  "disk %u: sector %u, word %u is 0x%llx, not of stamp %u",
				  request->srb.lun, lba, i % 64, (unsigned long long)word,
				  stamps[lba]);
		return;
	}
}

static void stamps_set(struct disk_request *request, uint32_t stamp)
{
	for (uint32_t i = 0; i < request->sectors; i++)
		request->driver->book->stamps[request->srb.lun][request->lba + i] = stamp;
}

/* -- Answers -------------------------------------------------------------- */

static void request_free(struct disk_request *request)
{
	struct disk_driver *driver = request->driver;

	if (request->kind != DISK_FLUSH)
		driver->book->lent[request->srb.lun][request->lba / DISK_REGION] = false;
	vmbus_inproc_release(driver->bus, request->pages, request->pfns);
	request->driver = NULL;
	driver->in_flight--;
}

static void request_good(struct disk_request *request)
{
	uint32_t expected = request->kind == DISK_READ || request->kind == DISK_WRITE
				    ? request->srb.len
				    : request->srb.transferred;

	if (request->srb.scsi_status || request->srb.transferred != expected)
		vmbus_inproc_fail(
			request->driver->bus, "disk: success with status %u, %u of %u bytes",
			request->srb.scsi_status, request->srb.transferred, request->srb.len);
	if (request->kind == DISK_READ)
		data_check(request);
	else if (request->kind != DISK_FLUSH)
		stamps_set(request, request->kind == DISK_WRITE ? request->stamp : 0);
	request->driver->good++;
}

/* A medium error has sense; a LUN that is not there has none (storvsp.md 6.2). */
static void request_bad(struct disk_request *request)
{
	const struct vsp_storvsc_request *srb = &request->srb;

	if (srb->srb_status == 0x20 && srb->sense_len == 0) {
		request->driver->gone++;
		return;
	}
	if (srb->srb_status != 0x84 || srb->scsi_status != 2 || srb->sense_len != 18 ||
	    (srb->sense[2] & 0xf) != 3 || srb->transferred != 0)
		vmbus_inproc_fail(
			request->driver->bus,
			"disk: srb %02x, status %02x, %u bytes of sense, key %x, %u bytes",
			srb->srb_status, srb->scsi_status, srb->sense_len, srb->sense[2],
			srb->transferred);
	/* several steps may have been done before the one that failed */
	if (request->kind == DISK_WRITE || request->kind == DISK_UNMAP)
		stamps_set(request, DISK_UNKNOWN);
	request->driver->failed++;
}

static void request_done(struct vsp_storvsc_request *srb)
{
	struct disk_request *request = srb->user;

	if (srb->srb_status == 0x01)
		request_good(request);
	else
		request_bad(request);
	request_free(request);
}

/* -- Requests ------------------------------------------------------------- */

static void be_put(uint8_t *to, uint64_t value, uint32_t bytes)
{
	while (bytes--) {
		to[bytes] = (uint8_t)value;
		value >>= 8;
	}
}

void disk_cdb(uint8_t *cdb, uint8_t *cdb_len, bool write, uint32_t form, uint32_t lba,
	      uint32_t sectors)
{
	static const uint8_t operations[4][2] = {
		{0x08, 0x0a}, {0x28, 0x2a}, {0xa8, 0xaa}, {0x88, 0x8a}};
	static const uint8_t lengths[4] = {6, 10, 12, 16};

	memset(cdb, 0, VSP_CDB_SIZE);
	cdb[0] = operations[form][write];
	*cdb_len = lengths[form];
	switch (form) {
	case 0:
		be_put(cdb + 1, lba, 3);
		be_put(cdb + 4, sectors, 1);
		break;
	case 1:
		be_put(cdb + 2, lba, 4);
		be_put(cdb + 7, sectors, 2);
		break;
	case 2:
		be_put(cdb + 2, lba, 4);
		be_put(cdb + 6, sectors, 4);
		break;
	default:
		be_put(cdb + 2, lba, 8);
		be_put(cdb + 10, sectors, 4);
		break;
	}
}

/* A region that nobody works on, and a piece of it. Returns false if there is none. */
static bool piece_take(struct disk_driver *driver, struct disk_request *request)
{
	uint32_t lun = vmbus_inproc_random(driver->bus, DISK_LUNS);
	uint32_t region = vmbus_inproc_random(driver->bus, DISK_SECTORS / DISK_REGION);
	uint32_t start, max = DISK_REGION;

	if (driver->book->lent[lun][region])
		return false;
	driver->book->lent[lun][region] = true;
	if (vmbus_inproc_random(driver->bus, 8))
		max = 4;
	start = vmbus_inproc_random(driver->bus, DISK_REGION);
	request->sectors = 1 + vmbus_inproc_random(driver->bus, max);
	if (start + request->sectors > DISK_REGION)
		start = DISK_REGION - request->sectors;
	request->lba = region * DISK_REGION + start;
	request->srb.lun = (uint8_t)lun;
	return true;
}

/* Linux guarantees no more than this of a buffer: it starts at a multiple of four. */
static int buffer_take(struct disk_driver *driver, struct disk_request *request, uint32_t len)
{
	request->srb.len = len;
	request->srb.offset = 4 * vmbus_inproc_random(driver->bus, VMBUS_PAGE_SIZE / 4);
	request->pages = (request->srb.offset + len + VMBUS_PAGE_SIZE - 1) / VMBUS_PAGE_SIZE;
	request->srb.pfns = request->pfns;
	return vmbus_inproc_alloc(driver->bus, request->pages, request->pfns);
}

/* One descriptor: the whole piece. */
static int unmap_fill(struct disk_driver *driver, struct disk_request *request)
{
	uint8_t list[24] = {0, 22, 0, 16};
	int err = buffer_take(driver, request, sizeof(list));

	if (err)
		return err;
	be_put(list + 8, request->lba, 8);
	be_put(list + 16, request->sectors, 4);
	for (uint32_t i = 0; i < sizeof(list); i += 8) {
		uint64_t word;

		memcpy(&word, list + i, 8);
		data_access(request, i, &word, true);
	}
	request->srb.direction = VSP_SRB_WRITE;
	request->srb.cdb_len = 10;
	request->srb.cdb[0] = 0x42;
	be_put(request->srb.cdb + 7, sizeof(list), 2);
	return 0;
}

static int transfer_fill(struct disk_driver *driver, struct disk_request *request)
{
	bool write = request->kind == DISK_WRITE;
	int err = buffer_take(driver, request, request->sectors * 512);

	if (err)
		return err;
	request->stamp = write ? ++driver->book->next_stamp : 0;
	if (write)
		data_fill(request);
	request->srb.direction = write ? VSP_SRB_WRITE : VSP_SRB_READ;
	disk_cdb(request->srb.cdb, &request->srb.cdb_len, write,
		 vmbus_inproc_random(driver->bus, 4), request->lba, request->sectors);
	return 0;
}

static int request_fill(struct disk_driver *driver, struct disk_request *request)
{
	switch (request->kind) {
	case DISK_FLUSH:
		request->srb.direction = VSP_SRB_NONE;
		request->srb.cdb_len = 10;
		request->srb.cdb[0] = 0x35;
		return 0;
	case DISK_UNMAP:
		return unmap_fill(driver, request);
	default:
		return transfer_fill(driver, request);
	}
}

/* Returns false if nothing can be sent now. */
static bool request_send(struct disk_driver *driver)
{
	struct disk_request *request = driver->requests;
	uint32_t dice = vmbus_inproc_random(driver->bus, 16);

	while (request->driver)
		request++;
	memset(request, 0, sizeof(*request));
	request->kind = dice == 0   ? DISK_FLUSH
			: dice == 1 ? DISK_UNMAP
			: dice % 2  ? DISK_READ
				    : DISK_WRITE;
	request->srb.done = request_done;
	request->srb.user = request;
	if (request->kind != DISK_FLUSH && !piece_take(driver, request))
		return driver->in_flight == 0; /* another throw, unless somebody will come back */
	request->driver = driver;
	driver->in_flight++;
	if (request_fill(driver, request) || vsp_storvsc_submit(&driver->storvsc, &request->srb)) {
		request_free(request);
		return false;
	}
	driver->to_send--;
	if (driver->in_flight > driver->max_in_flight)
		driver->max_in_flight = driver->in_flight;
	return true;
}

void disk_driver_event(struct disk_driver *driver)
{
	int err = vsp_storvsc_poll(&driver->storvsc, NULL);

	if (err || driver->storvsc.bad_packets)
		vmbus_inproc_fail(driver->bus, "storvsc: %s, %llu bad packets",
				  vmbus_fault_text((enum vmbus_fault)err),
				  (unsigned long long)driver->storvsc.bad_packets);
	if (driver->storvsc.state != VSP_STORVSC_READY)
		return;
	while (driver->to_send && driver->in_flight < DISK_DEPTH && request_send(driver))
		;
	vsp_storvsc_kick(&driver->storvsc);
}

bool disk_driver_done(const struct disk_driver *driver)
{
	return !driver->to_send && !driver->in_flight;
}

void disk_driver_abandon(struct disk_driver *driver)
{
	for (uint32_t i = 0; i < DISK_DEPTH; i++) {
		struct disk_request *request = &driver->requests[i];

		if (!request->driver)
			continue;
		if (request->kind == DISK_WRITE || request->kind == DISK_UNMAP)
			stamps_set(request, DISK_UNKNOWN);
		if (request->kind != DISK_FLUSH)
			driver->book->lent[request->srb.lun][request->lba / DISK_REGION] = false;
		request->driver = NULL;
	}
	driver->in_flight = 0;
	driver->to_send = 0;
	driver->storvsc.state = VSP_STORVSC_FAILED;
}
