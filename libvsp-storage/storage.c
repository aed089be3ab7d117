/* SPDX-License-Identifier: MIT */
/* The controller: its offer, its channels, and how packets become requests. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage-private.h"

#define PAYLOAD_MAX (2 * sizeof(struct vsp_storvsp_packet)) /* of which we know half */
#define SPACE_TIMER_NS 1000000u
#define ALIGN16(bytes) (((size_t)(bytes) + 15) & ~(size_t)15)

/* -- Requests' memory ----------------------------------------------------- */

/* One piece for all requests of a channel: the data path allocates nothing. */
static int pool_new(struct storage_channel *sc, uint32_t depth, uint32_t max_transfer)
{
	uint32_t pages = max_transfer / VMBUS_PAGE_SIZE + 1;
	size_t each;
	uint8_t *p;

	sc->packet_max =
	    (uint32_t)(sizeof(struct vmbus_packet_descriptor) +
		       sizeof(struct vmbus_gpa_direct) + sizeof(struct vmbus_gpa_range) +
		       pages * sizeof(uint64_t) + PAYLOAD_MAX);
	/* a packet can hold no more page numbers than this */
	sc->iov_max = sc->packet_max / (uint32_t)sizeof(uint64_t);
	each = VSP_BLOCK_REQUEST_MAX + ALIGN16(sc->iov_max * sizeof(struct iovec)) + SCSI_DATA_MAX +
	       ALIGN16(sc->packet_max);
	sc->requests = calloc(depth, sizeof(*sc->requests));
	sc->memory = calloc(depth, each);
	if (!sc->requests || !sc->memory)
		return -ENOMEM;
	p = sc->memory;
	for (uint32_t i = 0; i < depth; i++) {
		struct request *r = &sc->requests[i];

		r->channel = sc;
		r->block.disk_data = p;
		r->iov = (struct iovec *)(void *)(p + VSP_BLOCK_REQUEST_MAX);
		r->data = p + VSP_BLOCK_REQUEST_MAX + ALIGN16(sc->iov_max * sizeof(struct iovec));
		r->buf = r->data + SCSI_DATA_MAX;
		r->next = sc->pool;
		sc->pool = r;
		p += each;
	}
	return 0;
}

static void request_return(struct request *r)
{
	struct storage_channel *sc = r->channel;

	r->next = sc->pool;
	sc->pool = r;
	sc->running--;
}

void vsp_storage_answer(struct request *r)
{
	const struct vmbus_packet answer = {
		.type = VMBUS_PACKET_COMPLETION,
		.transaction_id = r->packet.transaction_id,
		.payload = &r->storvsp,
		.payload_len = r->answer_len,
	};
	int ret = vmbus_channel_send(r->channel->channel, &answer, STORVSP_ANSWER_BYTES);

	if (ret)
		r->channel->fault = ret;
	request_return(r);
}

/* -- Packets -------------------------------------------------------------- */

static void channel_wake(const struct storage_channel *sc)
{
	uint64_t one = 1;

	(void)!write(vmbus_channel_doorbell(sc->channel), &one, sizeof(one));
}

/* Wakes the threads that serve @storage's channels. */
static void channels_wake(struct vsp_storage *storage)
{
	const struct storage_channel *sc;

	pthread_mutex_lock(&storage->lock);
	for (sc = storage->channels; sc; sc = sc->next)
		channel_wake(sc);
	pthread_mutex_unlock(&storage->lock);
}

void vsp_storage_rescan(struct vsp_storage *storage)
{
	atomic_store(&storage->rescan, true);
	channels_wake(storage);
}

static void message_handle(struct request *r, uint32_t len)
{
	struct storage_channel *sc = r->channel;
	uint32_t operation = r->storvsp.operation;

	if (vsp_storvsp_message(sc->storage, vmbus_channel_subindex(sc->channel) == 0, &r->storvsp,
				len)) {
		vsp_request_execute(r);
		return;
	}
	if (r->storvsp.status != STORVSP_STATUS_SUCCESS)
		storage_count(sc, STAT_ERRORS, 1);
	else if (operation == VSP_STORVSP_CREATE_SUB_CHANNELS &&
		 vmbus_channel_offer_sub(sc->channel, sc->storage->sub_channels))
		r->storvsp.status = STORVSP_STATUS_INVALID_PARAMETER;
	else if (operation == VSP_STORVSP_END_INITIALIZATION)
		channels_wake(sc->storage); /* the others held their requests back */
	vsp_storage_answer(r);
}

/* A completion of ours that the guest sent back, or a request that wants no answer: nothing
 * can be done with it. */
static bool packet_usable(const struct vmbus_packet *packet)
{
	return (packet->type == VMBUS_PACKET_INBAND || packet->type == VMBUS_PACKET_GPA_DIRECT) &&
	       (packet->flags & VMBUS_PACKET_COMPLETION_REQUESTED);
}

static void packet_handle(struct request *r)
{
	struct storage_channel *sc = r->channel;
	uint32_t len = r->packet.payload_len;

	if (!packet_usable(&r->packet)) {
		atomic_fetch_add_explicit(&sc->storage->bad_requests, 1, memory_order_relaxed);
		vmbus_tx_unreserve(vmbus_channel_tx(sc->channel), STORVSP_ANSWER_BYTES);
		request_return(r);
		return;
	}
	if (len > sizeof(r->storvsp))
		len = sizeof(r->storvsp);
	memset(&r->storvsp, 0, sizeof(r->storvsp));
	memcpy(&r->storvsp, r->packet.payload, len);
	/* as long as the question: Windows and Linux both insist on that */
	r->answer_len = len < VSP_STORVSP_HEADER ? VSP_STORVSP_HEADER : len;
	message_handle(r, len);
}

static void space_timer_fire(struct vmbus_timer *timer)
{
	channel_wake((struct storage_channel *)((char *)timer -
						offsetof(struct storage_channel, timer)));
}

/* The answer ring is full: returns true if there is room after all, else the guest signals
 * when it has made some. A guest that does not know how is looked after by a timer. */
static bool space_wait(struct storage_channel *sc)
{
	if (vmbus_tx_wait_space(vmbus_channel_tx(sc->channel), STORVSP_ANSWER_BYTES))
		return true;
	if (sc->loop && !vmbus_rx_peer_frees(vmbus_channel_rx(sc->channel)))
		vmbus_loop_timer(sc->loop, &sc->timer, SPACE_TIMER_NS);
	return false;
}

static bool answer_reserve(struct storage_channel *sc)
{
	struct vmbus_tx *tx = vmbus_channel_tx(sc->channel);

	return vmbus_tx_reserve(tx, STORVSP_ANSWER_BYTES) ||
	       (space_wait(sc) && vmbus_tx_reserve(tx, STORVSP_ANSWER_BYTES));
}

/* Why nothing can be taken: -EAGAIN: there is nothing. */
static int packet_refuse(struct storage_channel *sc)
{
	return vmbus_rx_pending(vmbus_channel_rx(sc->channel)) ? -EBUSY : -EAGAIN;
}

/* Returns 0, -EAGAIN (nothing there), -EBUSY (no request or no room for the answer now), or a
 * fault. */
static int packet_take(struct storage_channel *sc)
{
	struct request *r = sc->pool;
	int ret;

	if (!r || !answer_reserve(sc))
		return packet_refuse(sc);
	ret = vmbus_rx_next(vmbus_channel_rx(sc->channel), r->buf, sc->packet_max, &r->packet);
	if (ret) {
		vmbus_tx_unreserve(vmbus_channel_tx(sc->channel), STORVSP_ANSWER_BYTES);
		return ret == -ENOBUFS ? VMBUS_FAULT_LIMIT : ret;
	}
	sc->pool = r->next;
	sc->running++;
	packet_handle(r);
	return sc->fault;
}

/* -- Channel -------------------------------------------------------------- */

static int storage_open(void *device, struct vmbus_channel *channel)
{
	struct vsp_storage *storage = device;
	struct storage_channel *sc = calloc(1, sizeof(*sc));

	if (!sc)
		return -ENOMEM;
	sc->storage = storage;
	sc->channel = channel;
	sc->timer.fire = space_timer_fire;
	if (pool_new(sc, storage->config.queue_depth, storage->config.max_transfer)) {
		free(sc->requests);
		free(sc->memory);
		free(sc);
		return -ENOMEM;
	}
	vmbus_channel_set_user(channel, sc);
	pthread_mutex_lock(&storage->lock);
	sc->next = storage->channels;
	storage->channels = sc;
	pthread_mutex_unlock(&storage->lock);
	return 0;
}

/* Tells the guest that LUNs came or went; stays pending while the ring is full. */
static void rescan_send(struct storage_channel *sc)
{
	struct vsp_storage *storage = sc->storage;
	const struct vsp_storvsp_packet message = {.operation = VSP_STORVSP_ENUMERATE_BUS};
	int ret;
	const struct vmbus_packet packet = {
		.type = VMBUS_PACKET_INBAND,
		.payload = &message,
		.payload_len = VSP_STORVSP_HEADER + (storage->version >= VSP_STORVSP_WIN8 ?
							     VSP_STORVSP_SIZE_V2 :
							     VSP_STORVSP_SIZE_V1),
	};

	if (storage->state != STORVSP_READY || storage->version < VSP_STORVSP_WIN7 ||
	    !atomic_exchange(&storage->rescan, false))
		return;
	ret = vmbus_channel_send(sc->channel, &packet, 0);
	if (ret == -EAGAIN && space_wait(sc))
		ret = vmbus_channel_send(sc->channel, &packet, 0);
	if (ret == -EAGAIN)
		atomic_store(&storage->rescan, true);
	else if (ret)
		sc->fault = ret;
}

static int storage_service(void *device, struct vmbus_channel *channel, unsigned int budget)
{
	struct vsp_storage *storage = device;
	struct storage_channel *sc = vmbus_channel_get_user(channel);
	int ret;

	if (!sc->loop)
		sc->loop = storage->config.loop_of(storage->config.opaque, channel);
	vsp_lun_queues_sweep(sc);
	if (vmbus_channel_subindex(channel) == 0) {
		if (atomic_load_explicit(&storage->rescan, memory_order_relaxed))
			rescan_send(sc);
	} else if (storage->state != STORVSP_READY) {
		return -EBUSY; /* requests wait for the end of the initialisation */
	}
	if (sc->fault)
		return sc->fault;
	while (budget-- > 0) {
		ret = packet_take(sc);
		if (ret)
			return ret == -EAGAIN ? 0 : ret;
		vmbus_channel_progress(channel);
	}
	return vmbus_rx_pending(vmbus_channel_rx(channel)) ? -EAGAIN : 0;
}

static int storage_stop(void *device, struct vmbus_channel *channel)
{
	struct vsp_storage *storage = device;
	struct storage_channel *sc = vmbus_channel_get_user(channel);

	if (sc->running)
		return -EINPROGRESS;
	vsp_lun_queues_free(sc);
	if (sc->loop)
		vmbus_loop_timer_cancel(sc->loop, &sc->timer);
	if (vmbus_channel_subindex(channel) == 0)
		storage->state = STORVSP_BEGIN; /* whoever opens it next starts anew */
	return 0;
}

static void storage_closed(void *device, struct vmbus_channel *channel)
{
	struct vsp_storage *storage = device;
	struct storage_channel *sc = vmbus_channel_get_user(channel), **link;

	pthread_mutex_lock(&storage->lock);
	for (link = &storage->channels; *link != sc; link = &(*link)->next)
		;
	*link = sc->next;
	for (unsigned int i = 0; i < STATS; i++)
		storage->stats[i] += sc->stats[i];
	pthread_mutex_unlock(&storage->lock);
	free(sc->requests);
	free(sc->memory);
	free(sc);
}

static void storage_released(void *device, struct vmbus_channel *channel)
{
	struct vsp_storage *storage = device;

	(void)channel;
	vsp_lun_table_free(storage);
	pthread_mutex_destroy(&storage->lock);
	free(storage);
}

static const struct vmbus_channel_ops storage_ops = {
	.size = sizeof(storage_ops),
	.open = storage_open,
	.service = storage_service,
	.stop = storage_stop,
	.closed = storage_closed,
	.released = storage_released,
	.eager = true,
};

/* -- The controller ------------------------------------------------------- */

static bool config_valid(const struct vsp_storage_config *c)
{
	return c->size == sizeof(*c) && c->server && c->loop_of && c->max_sub_channels <= 256 &&
	       c->max_transfer >= 64u << 10 && c->max_transfer <= 8u << 20 &&
	       c->max_transfer % VMBUS_PAGE_SIZE == 0 && c->queue_depth > 0 &&
	       c->queue_depth <= 4096 && c->ide_channel < 2 && c->ide_device < 2;
}

/* IDE: channel and device stand in the instance GUID, where Linux and newer Windows look,
 * and in the user-defined area, where older Windows looks. */
static void offer_ide(struct vmbus_offer *offer, const struct vsp_storage_config *config)
{
	static const struct vmbus_guid ide = VMBUS_GUID_IDE;

	offer->interface_id = ide;
	offer->instance_id = (struct vmbus_guid)VMBUS_GUID(0, 0, 0x8899, 0);
	offer->instance_id.b[0] = config->ide_channel;
	offer->instance_id.b[4] = config->ide_device;
	offer->user_defined[2] = config->ide_channel;
	offer->user_defined[3] = config->ide_device;
	offer->user_defined[8] = 0x02; /* an IDE device */
}

static void offer_fill(struct vmbus_offer *offer, const struct vsp_storage_config *config)
{
	static const struct vmbus_guid scsi = VMBUS_GUID_SCSI, none;

	offer->flags = VMBUS_OFFER_ENUMERATE;
	offer->interface_id = scsi;
	offer->instance_id =
	    vmbus_guid_equal(config->instance_id, none) ? scsi : config->instance_id;
	if (config->ide)
		offer_ide(offer, config);
}

int vsp_storage_new(const struct vsp_storage_config *config, struct vsp_storage **out)
{
	struct vmbus_offer offer = VMBUS_OFFER_INIT;
	struct vsp_storage *storage;
	int ret;

	if (!config_valid(config))
		return -EINVAL;
	storage = calloc(1, sizeof(*storage));
	if (!storage)
		return -ENOMEM;
	storage->config = *config;
	if (config->ide)
		storage->config.max_sub_channels = 0;
	pthread_mutex_init(&storage->lock, NULL);
	offer_fill(&offer, config);
	offer.ops = &storage_ops;
	offer.device = storage;
	ret = vmbus_server_offer(config->server, &offer, &storage->primary);
	if (ret) {
		pthread_mutex_destroy(&storage->lock);
		free(storage);
		return ret;
	}
	*out = storage;
	return 0;
}

void vsp_storage_free(struct vsp_storage *storage)
{
	if (storage)
		vmbus_channel_revoke(storage->primary);
}

void vsp_storage_get_stats(const struct vsp_storage *storage, struct vsp_storage_stats *stats)
{
	/* the lock is no part of what the caller sees change */
	pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&storage->lock;
	const struct storage_channel *sc;
	uint64_t sum[STATS];

	pthread_mutex_lock(lock);
	memcpy(sum, storage->stats, sizeof(sum));
	for (sc = storage->channels; sc; sc = sc->next)
		for (unsigned int i = 0; i < STATS; i++)
			sum[i] += atomic_load_explicit(&sc->stats[i], memory_order_relaxed);
	pthread_mutex_unlock(lock);
	*stats = (struct vsp_storage_stats){
		.reads = sum[STAT_READS],
		.writes = sum[STAT_WRITES],
		.flushes = sum[STAT_FLUSHES],
		.unmaps = sum[STAT_UNMAPS],
		.other = sum[STAT_OTHER],
		.read_bytes = sum[STAT_READ_BYTES],
		.write_bytes = sum[STAT_WRITE_BYTES],
		.errors = sum[STAT_ERRORS],
		.bad_requests = atomic_load(&storage->bad_requests),
	};
}
