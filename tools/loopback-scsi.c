/* SPDX-License-Identifier: MIT */
/* SCSI as an initiator sends it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loopback.h"

#define RING_PAGES 32u /* each direction, the control page included: Linux's 128 KiB */

#define SRB_STATUS_MASK 0x3f
#define SRB_SUCCESS 0x01
#define SRB_INVALID_LUN 0x20

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put32(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 24);
	p[1] = (uint8_t)(value >> 16);
	p[2] = (uint8_t)(value >> 8);
	p[3] = (uint8_t)value;
}

bool session_buffer_new(struct session *s, uint32_t size, struct session_buffer *buffer)
{
	uint32_t pages = (size + VMBUS_PAGE_SIZE - 1) / VMBUS_PAGE_SIZE;

	buffer->pfns = calloc(pages, sizeof(*buffer->pfns));
	buffer->size = pages * VMBUS_PAGE_SIZE;
	if (!buffer->pfns || vmbus_shm_guest_alloc(s->shm, pages, buffer->pfns)) {
		free(buffer->pfns);
		buffer->pfns = NULL;
		s->error = loopback_fail(LOOPBACK_FAILED, "no guest memory for a buffer");
		return false;
	}
	buffer->data = vmbus_shm_guest_page(s->shm, buffer->pfns[0]);
	return true;
}

void session_buffer_free(struct session_buffer *buffer)
{
	free(buffer->pfns);
	buffer->pfns = NULL;
}

/* -- Requests ------------------------------------------------------------- */

static const char *sense_name(uint8_t key, uint8_t asc)
{
	static const struct {
		uint8_t key, asc;
		const char *name;
	} names[] = {
		{3, 0x0c, "write error"},       {3, 0x11, "read error"},
		{5, 0x20, "invalid command"},   {5, 0x21, "address behind the end of the disk"},
		{5, 0x24, "invalid field"},     {6, 0x2a, "capacity or parameters changed"},
		{7, 0x27, "write protected, or no space on the host"},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].key == key && names[i].asc == asc)
			return names[i].name;
	return "see SPC-4";
}

bool session_request_ok(const struct vsp_storvsc_request *r, const char *what)
{
	uint8_t srb = r->srb_status & SRB_STATUS_MASK;

	if (srb == SRB_SUCCESS && r->scsi_status == 0)
		return true;
	if (srb == SRB_INVALID_LUN)
		loopback_fail(LOOPBACK_FAILED, "%s: no disk at LUN %u; see 'disks'", what, r->lun);
	else if (r->sense_len >= 14)
		loopback_fail(LOOPBACK_FAILED, "%s: LUN %u: sense %x/%02x/%02x: %s", what, r->lun,
			      r->sense[2] & 0x0f, r->sense[12], r->sense[13],
			      sense_name(r->sense[2] & 0x0f, r->sense[12]));
	else
		loopback_fail(LOOPBACK_FAILED, "%s: LUN %u: SRB status %02x, SCSI status %02x", what,
			      r->lun, r->srb_status, r->scsi_status);
	return false;
}

static void request_done(struct vsp_storvsc_request *request)
{
	*(bool *)request->user = true;
}

/* Runs it to its end without an opinion on the outcome. */
static int request_run(struct session *s, struct vsp_storvsc_request *request)
{
	bool done = false;
	int ret;

	request->done = request_done;
	request->user = &done;
	while ((ret = vsp_storvsc_submit(&s->storvsc, request)) == -EAGAIN && session_step(s))
		;
	if (ret && !s->error)
		s->error = loopback_fail(LOOPBACK_FAILED, "cannot send the request");
	vsp_storvsc_kick(&s->storvsc);
	while (!done && session_step(s))
		;
	return s->error;
}

int session_execute(struct session *s, struct vsp_storvsc_request *request, const char *what)
{
	if (request_run(s, request))
		return s->error;
	return session_request_ok(request, what) ? LOOPBACK_OK : LOOPBACK_FAILED;
}

void session_rw(struct vsp_storvsc_request *r, const struct session_disk *disk, bool write, uint64_t lba,
		uint32_t blocks, const struct session_buffer *buffer)
{
	r->lun = disk->lun;
	r->cdb_len = 16;
	r->cdb[0] = write ? 0x8a : 0x88;
	r->cdb[1] = 0;
	put32(r->cdb + 2, (uint32_t)(lba >> 32));
	put32(r->cdb + 6, (uint32_t)lba);
	put32(r->cdb + 10, blocks);
	r->direction = write ? VSP_SRB_WRITE : VSP_SRB_READ;
	r->offset = 0;
	r->len = blocks * disk->block_size;
	r->pfns = buffer->pfns;
}

/* -- The controller ------------------------------------------------------- */

static int scsi_poll(struct session_port *port)
{
	return vsp_storvsc_poll(port->user, NULL);
}

static void scsi_ready(struct vsp_storvsc *storvsc)
{
	struct session *s = storvsc->user;

	s->status = storvsc->state == VSP_STORVSC_READY ? 0 : 1;
	s->answered = true;
}

int session_open_scsi(struct session *s)
{
	static const struct vmbus_guid scsi = VMBUS_GUID_SCSI;
	struct vmbus_guest_channel *channel = session_find(s, scsi, 0);
	int ret;

	if (!channel)
		return session_fail(s, LOOPBACK_FAILED, "the host offers no SCSI controller");
	ret = session_port_open(s, &s->scsi, channel, RING_PAGES);
	if (ret)
		return ret;
	ret = vsp_storvsc_init(&s->storvsc, channel, NULL);
	s->storvsc.user = s;
	s->storvsc.ready = scsi_ready;
	s->scsi.user = &s->storvsc;
	s->scsi.poll = scsi_poll;
	return session_answer(s, ret, "the SCSI controller refused its initialisation");
}

void session_close_scsi(struct session *s)
{
	if (s->scsi.channel)
		(void)session_port_close(s, &s->scsi);
	session_port_free(&s->scsi);
}

/* -- What disks are there ------------------------------------------------- */

/* A command that brings data; 0xff, ... in buffer->data first, so that what is not written
 * is seen. */
static int data_in(struct session *s, uint8_t lun, const uint8_t *cdb, uint32_t len,
		   const struct session_buffer *buffer, uint32_t *got, const char *what)
{
	struct vsp_storvsc_request r = {.lun = lun, .cdb_len = 16, .direction = VSP_SRB_READ};
	int ret;

	memcpy(r.cdb, cdb, 16);
	memset(buffer->data, 0xff, len);
	r.len = len;
	r.pfns = buffer->pfns;
	ret = session_execute(s, &r, what);
	*got = r.transferred;
	return ret;
}

int session_luns(struct session *s, uint8_t luns[256])
{
	static const uint8_t cdb[16] = {0xa0, [8] = 0x10}; /* 4096 bytes */
	struct session_buffer buffer;
	uint32_t got, n = 0;

	if (!session_buffer_new(s, VMBUS_PAGE_SIZE, &buffer))
		return -1;
	if (data_in(s, 0, cdb, VMBUS_PAGE_SIZE, &buffer, &got, "REPORT LUNS") == LOOPBACK_OK)
		for (; 8 + 8 * n + 8 <= got && n < 256; n++)
			luns[n] = buffer.data[8 + 8 * n + 1];
	session_buffer_free(&buffer);
	return s->error ? -1 : (int)n;
}

static void text_copy(char *out, const uint8_t *in, size_t len)
{
	memcpy(out, in, len);
	out[len] = '\0';
	for (size_t i = len; i > 0 && out[i - 1] == ' '; i--)
		out[i - 1] = '\0';
	for (; *out; out++)
		if (*out < 0x20 || *out > 0x7e)
			*out = '?';
}

static int disk_identify(struct session *s, struct session_disk *disk, const struct session_buffer *buffer)
{
	static const uint8_t inquiry[16] = {0x12, [4] = 104}, serial[16] = {0x12, 1, 0x80, [4] = 68};
	const uint8_t *data = buffer->data;
	uint32_t got;
	int ret = data_in(s, disk->lun, inquiry, 104, buffer, &got, "INQUIRY");

	if (ret)
		return ret;
	if (got < 36 || data[0] == 0x7f)
		return loopback_fail(LOOPBACK_FAILED, "no disk at LUN %u; see 'disks'", disk->lun);
	text_copy(disk->vendor, data + 8, 8);
	text_copy(disk->product, data + 16, 16);
	ret = data_in(s, disk->lun, serial, 68, buffer, &got, "INQUIRY VPD 80");
	if (!ret && got >= 4 && data[3] <= 64 && got >= 4u + data[3])
		text_copy(disk->serial, data + 4, data[3]);
	return ret;
}

static int disk_measure(struct session *s, struct session_disk *disk, const struct session_buffer *buffer)
{
	static const uint8_t capacity[16] = {0x9e, 0x10, [13] = 32}, mode[16] = {0x1a, 0, 0x3f, 0, 64};
	const uint8_t *data = buffer->data;
	uint32_t got;
	int ret = data_in(s, disk->lun, capacity, 32, buffer, &got, "READ CAPACITY");

	if (ret)
		return ret;
	disk->blocks = ((uint64_t)get32(data) << 32 | get32(data + 4)) + 1;
	disk->block_size = get32(data + 8);
	if (got < 16 || disk->blocks == 0 || (disk->block_size != 512 && disk->block_size != 4096))
		return loopback_fail(LOOPBACK_FAILED, "LUN %u: the host's capacity makes no sense",
				     disk->lun);
	disk->physical_size = disk->block_size << (data[13] & 0x0f);
	disk->thin = data[14] & 0x80;
	ret = data_in(s, disk->lun, mode, 64, buffer, &got, "MODE SENSE");
	disk->read_only = !ret && got >= 4 && (data[2] & 0x80);
	return ret;
}

int session_disk_get(struct session *s, uint8_t lun, struct session_disk *disk)
{
	struct session_buffer buffer;
	int ret;

	memset(disk, 0, sizeof(*disk));
	disk->lun = lun;
	if (!session_buffer_new(s, VMBUS_PAGE_SIZE, &buffer))
		return s->error;
	ret = disk_identify(s, disk, &buffer);
	if (!ret)
		ret = disk_measure(s, disk, &buffer);
	session_buffer_free(&buffer);
	return ret;
}
