/* SPDX-License-Identifier: MIT */
/* Connection, channel and SCSI commands, by the library's guest role. */
#include "guest.h"

#define RING_PAGES 4u /* each way: control page and data */
#define WAIT_INTERRUPTS 1000u
#define DATA_PAGES 4u

struct bus bus;
static uint8_t rings[2 * RING_PAGES][PAGE] __attribute__((aligned(PAGE)));
static uint64_t ring_pfns[2 * RING_PAGES];
static struct vmbus_post_message post_buffer __attribute__((aligned(256)));

/* -- What the guest role asks for ----------------------------------------- */

static uint32_t bus_post(void *opaque, uint32_t connection_id, const void *message, size_t len)
{
	(void)opaque;
	post_buffer.connection_id = connection_id;
	post_buffer.type = VMBUS_MESSAGE_TYPE;
	post_buffer.payload_size = (uint32_t)len;
	__builtin_memcpy(post_buffer.payload, message, len);
	return hypercall(HV_CALL_POST_MESSAGE, (uintptr_t)&post_buffer);
}

static void bus_signal(void *opaque, uint32_t connection_id)
{
	(void)opaque;
	hypercall(HV_CALL_SIGNAL_EVENT | 1u << 16, connection_id);
}

static void on_connected(void *opaque, uint32_t version)
{
	(void)opaque;
	bus.version = version;
	bus.connected = true;
}

static void on_offered(void *opaque, struct vmbus_guest_channel *channel)
{
	(void)opaque;
	bus.offers++;
	if (!bus.disk && channel->offer.subchannel_index == 0)
		bus.disk = channel;
}

static void on_all_offered(void *opaque)
{
	(void)opaque;
	bus.all_offered = true;
}

static void on_gpadl_created(void *opaque, uint32_t gpadl, uint32_t status)
{
	(void)opaque, (void)gpadl;
	bus.gpadl_status = status;
	bus.gpadl_created = true;
}

static void on_gpadl_torndown(void *opaque, uint32_t gpadl)
{
	(void)opaque, (void)gpadl;
	bus.gpadl_torndown = true;
}

static void on_opened(void *opaque, struct vmbus_guest_channel *channel, uint32_t status)
{
	(void)opaque, (void)channel;
	bus.open_status = status;
	bus.opened = true;
}

static void on_unloaded(void *opaque)
{
	(void)opaque;
	bus.unloaded = true;
}

static const struct vmbus_guest_ops ops = {
	.size = sizeof(ops),
	.post = bus_post,
	.signal = bus_signal,
	.connected = on_connected,
	.offered = on_offered,
	.all_offered = on_all_offered,
	.gpadl_created = on_gpadl_created,
	.gpadl_torndown = on_gpadl_torndown,
	.opened = on_opened,
	.unloaded = on_unloaded,
};

/* -- The interrupt's work ------------------------------------------------- */

static void messages_take(void)
{
	struct vmbus_synic_message *slot = (struct vmbus_synic_message *)simp + VMBUS_SINT;
	uint8_t payload[VMBUS_MESSAGE_MAX];
	bool eom = false;
	int len = vmbus_synic_take(slot, payload, &eom);

	if (eom)
		msr_write(MSR_EOM, 0);
	if (len > 0 && vmbus_guest_message(&bus.guest, payload, (size_t)len))
		print("not ok message: the host breaks the protocol\n");
}

static void flags_take(void)
{
	struct vmbus_synic_event_flags *slice =
		(struct vmbus_synic_event_flags *)siefp + VMBUS_SINT;
	int flag = -1;

	while ((flag = vmbus_synic_take_flag(slice, (uint32_t)(flag + 1))) >= 0)
		bus.flags++;
}

static void disk_poll(void)
{
	if (!bus.storvsc.channel)
		return;
	do {
		if (vsp_storvsc_poll(&bus.storvsc, NULL))
			print("not ok ring: the host's ring is corrupt\n");
	} while (vmbus_rx_arm(&bus.storvsc.channel->rx));
}

static void bus_poll(void)
{
	messages_take();
	flags_take();
	disk_poll();
	(void)vmbus_guest_flush(&bus.guest);
}

bool bus_wait(const volatile bool *done)
{
	unsigned int i;

	for (i = 0; i < WAIT_INTERRUPTS; i++) {
		bus_poll();
		if (*done)
			return true;
		sint_wait(&bus.seen);
	}
	return false;
}

/* -- Steps of a connection ------------------------------------------------ */

bool bus_connect(void)
{
	struct vmbus_guest_config config = VMBUS_GUEST_CONFIG_INIT;

	__builtin_memset(&bus, 0, sizeof(bus));
	bus.seen = sint_count;
	config.ops = &ops;
	config.channels = bus.channels;
	config.max_channels = sizeof(bus.channels) / sizeof(bus.channels[0]);
	config.max_version = VMBUS_V5_3;
	return vmbus_guest_init(&bus.guest, &config) == 0 &&
	       vmbus_guest_connect(&bus.guest) == 0 && bus_wait(&bus.connected) && bus.version &&
	       vmbus_guest_request_offers(&bus.guest) == 0 && bus_wait(&bus.all_offered);
}

static struct vmbus_ring_memory ring_memory(unsigned int first)
{
	static uint8_t *pages[2 * RING_PAGES];
	struct vmbus_ring_memory mem = {
		.control = (struct vmbus_ring_control *)rings[first],
		.pages = &pages[first + 1],
		.size = (RING_PAGES - 1) * PAGE,
	};
	unsigned int i;

	for (i = 0; i < RING_PAGES; i++)
		pages[first + i] = rings[first + i];
	return mem;
}

static bool storvsc_ready;

static void on_ready(struct vsp_storvsc *storvsc)
{
	(void)storvsc;
	storvsc_ready = true;
}

bool bus_open(void)
{
	struct vmbus_ring_memory up = ring_memory(0), down = ring_memory(RING_PAGES);
	unsigned int i;

	for (i = 0; i < 2 * RING_PAGES; i++)
		ring_pfns[i] = (uintptr_t)rings[i] / PAGE;
	if (!bus.disk || vmbus_guest_gpadl_create(bus.disk, ring_pfns, 0, sizeof(rings), &bus.gpadl) ||
	    !bus_wait(&bus.gpadl_created) || bus.gpadl_status)
		return false;
	if (vmbus_guest_open(bus.disk, bus.gpadl, &up, &down, 0, NULL) || !bus_wait(&bus.opened) ||
	    bus.open_status)
		return false;
	storvsc_ready = false;
	if (vsp_storvsc_init(&bus.storvsc, bus.disk, NULL))
		return false;
	bus.storvsc.ready = on_ready;
	vsp_storvsc_kick(&bus.storvsc);
	return bus_wait(&storvsc_ready) && bus.storvsc.state == VSP_STORVSC_READY;
}

bool bus_close(void)
{
	bus.storvsc.channel = NULL;
	return vmbus_guest_close(bus.disk) == 0 &&
	       vmbus_guest_gpadl_teardown(bus.disk, bus.gpadl) == 0 &&
	       bus_wait(&bus.gpadl_torndown) && vmbus_guest_unload(&bus.guest) == 0 &&
	       bus_wait(&bus.unloaded);
}

/* -- SCSI ----------------------------------------------------------------- */

static bool scsi_done;

static void on_done(struct vsp_storvsc_request *request)
{
	(void)request;
	scsi_done = true;
}

bool scsi(uint8_t lun, const uint8_t *cdb, uint8_t cdb_len, enum vsp_srb_direction direction, void *data,
	  uint32_t len, struct vsp_storvsc_request *request)
{
	static uint64_t pfns[DATA_PAGES + 1];
	uint32_t i, offset = (uint32_t)((uintptr_t)data % PAGE);

	if (offset + len > DATA_PAGES * PAGE)
		return false;
	for (i = 0; i * PAGE < offset + len; i++)
		pfns[i] = (uintptr_t)data / PAGE + i;
	__builtin_memset(request, 0, sizeof(*request));
	request->lun = lun;
	request->cdb_len = cdb_len;
	__builtin_memcpy(request->cdb, cdb, cdb_len);
	request->direction = (uint8_t)direction;
	request->len = len;
	request->offset = offset;
	request->pfns = pfns;
	request->done = on_done;
	scsi_done = false;
	if (vsp_storvsc_submit(&bus.storvsc, request))
		return false;
	vsp_storvsc_kick(&bus.storvsc);
	return bus_wait(&scsi_done) && request->scsi_status == 0 && (request->srb_status & 0x3f) == 1;
}

static bool scsi_rw(uint8_t op, uint8_t lun, uint32_t lba, uint16_t sectors, void *data)
{
	const uint8_t cdb[10] = {
		op, 0, (uint8_t)(lba >> 24), (uint8_t)(lba >> 16), (uint8_t)(lba >> 8),
		(uint8_t)lba, 0, (uint8_t)(sectors >> 8), (uint8_t)sectors, 0,
	};
	struct vsp_storvsc_request request;

	return scsi(lun, cdb, sizeof(cdb), op == 0x2a ? VSP_SRB_WRITE : VSP_SRB_READ, data,
		    sectors * SECTOR, &request) &&
	       request.transferred == sectors * SECTOR;
}

bool scsi_write(uint8_t lun, uint32_t lba, uint16_t sectors, void *data)
{
	return scsi_rw(0x2a, lun, lba, sectors, data);
}

bool scsi_read(uint8_t lun, uint32_t lba, uint16_t sectors, void *data)
{
	return scsi_rw(0x28, lun, lba, sectors, data);
}

bool scsi_flush(uint8_t lun)
{
	const uint8_t cdb[10] = {0x35};
	struct vsp_storvsc_request request;

	return scsi(lun, cdb, sizeof(cdb), VSP_SRB_NONE, NULL, 0, &request);
}
