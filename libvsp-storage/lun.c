/* SPDX-License-Identifier: MIT */
/* LUNs come and go while several threads use them. A serving thread keeps a queue, and
 * with it a reference, for each LUN that it has used: as long as the table still has
 * the same pointer the queue is right, and no lock is taken. */
#include <errno.h>
#include <stdlib.h>

#include "storage-private.h"

static void lun_unref(struct lun *lun)
{
	if (atomic_fetch_sub(&lun->refs, 1) != 1)
		return;
	vsp_disk_unref(lun->disk);
	free(lun);
}

static struct lun *lun_new(struct vsp_disk *disk)
{
	struct lun *lun = calloc(1, sizeof(*lun));

	if (!lun)
		return NULL;
	atomic_init(&lun->refs, 1);
	lun->disk = vsp_disk_ref(disk);
	vsp_disk_get_info(disk, &lun->info);
	atomic_init(&lun->size, lun->info.size);
	atomic_init(&lun->attention, SCSI_SENSE_NONE);
	return lun;
}

static struct lun *lun_take(struct vsp_storage *storage, uint8_t number)
{
	struct lun *lun;

	pthread_mutex_lock(&storage->lock);
	lun = atomic_load(&storage->luns[number]);
	if (lun)
		atomic_fetch_add(&lun->refs, 1);
	pthread_mutex_unlock(&storage->lock);
	return lun;
}

/* -- Queues: the serving thread ------------------------------------------- */

static void queue_free(struct lun_queue *lq)
{
	lq->lun->disk->ops->queue_free(lq->queue);
	lun_unref(lq->lun);
	free(lq);
}

static void queue_retire(struct lun_queue *lq)
{
	if (lq->running)
		lq->retired = true;
	else
		queue_free(lq);
}

static int queue_new(struct storage_channel *sc, struct lun *lun, struct lun_queue **out)
{
	struct lun_queue *lq = calloc(1, sizeof(*lq));
	int ret;

	if (!lq)
		return -ENOMEM;
	lq->lun = lun;
	ret = lun->disk->ops->queue_new(lun->disk->disk, sc->loop, &lq->queue);
	if (ret) {
		free(lq);
		return ret == -ENOENT ? -EIO : ret; /* that one means "no disk" to our caller */
	}
	*out = lq;
	return 0;
}

static int queue_make(struct storage_channel *sc, uint8_t number)
{
	struct lun *lun = lun_take(sc->storage, number);
	int ret;

	if (!lun)
		return -ENOENT;
	ret = queue_new(sc, lun, &sc->luns[number]);
	if (ret)
		lun_unref(lun);
	return ret;
}

/* Whether the table still has what we know. Our reference keeps the address from being used
 * again: same is same. */
static bool queue_current(const struct storage_channel *sc, uint8_t number)
{
	const struct lun *lun =
		atomic_load_explicit(&sc->storage->luns[number], memory_order_acquire);

	return sc->luns[number] && sc->luns[number]->lun == lun;
}

static void queue_drop(struct storage_channel *sc, uint8_t number)
{
	if (sc->luns[number])
		queue_retire(sc->luns[number]);
	sc->luns[number] = NULL;
}

int vsp_lun_queue_get(struct storage_channel *sc, uint8_t number, struct lun_queue **lq)
{
	if (!queue_current(sc, number)) {
		int ret;

		queue_drop(sc, number);
		ret = queue_make(sc, number);
		if (ret)
			return ret;
	}
	*lq = sc->luns[number];
	return 0;
}

void vsp_lun_queues_sweep(struct storage_channel *sc)
{
	unsigned int removals = atomic_load_explicit(&sc->storage->removals, memory_order_acquire);

	if (sc->removals == removals)
		return;
	sc->removals = removals;
	for (unsigned int i = 0; i < VSP_STORAGE_LUNS; i++)
		if (sc->luns[i] && !queue_current(sc, (uint8_t)i))
			queue_drop(sc, (uint8_t)i);
}

void vsp_lun_queue_release(struct lun_queue *lq)
{
	if (--lq->running == 0 && lq->retired)
		queue_free(lq);
}

void vsp_lun_queues_free(struct storage_channel *sc)
{
	for (unsigned int i = 0; i < VSP_STORAGE_LUNS; i++)
		queue_drop(sc, (uint8_t)i);
}

/* -- The table: any thread ------------------------------------------------ */

void vsp_lun_map(const struct vsp_storage *storage, uint64_t luns[VSP_STORAGE_LUNS / 64])
{
	for (unsigned int i = 0; i < VSP_STORAGE_LUNS; i++)
		if (atomic_load_explicit(&storage->luns[i], memory_order_relaxed))
			luns[i / 64] |= 1ull << i % 64;
}

int vsp_storage_add_disk(struct vsp_storage *storage, uint8_t number, struct vsp_disk *disk)
{
	struct lun *lun, *none = NULL;
	bool added;

	if (storage->config.ide && number != 0)
		return -EINVAL;
	lun = lun_new(disk);
	if (!lun)
		return -ENOMEM;
	pthread_mutex_lock(&storage->lock);
	added = atomic_compare_exchange_strong(&storage->luns[number], &none, lun);
	pthread_mutex_unlock(&storage->lock);
	if (!added) {
		lun_unref(lun);
		return -EEXIST;
	}
	vsp_storage_rescan(storage);
	return 0;
}

static int lun_remove(struct vsp_storage *storage, uint8_t number)
{
	struct lun *lun;

	pthread_mutex_lock(&storage->lock);
	lun = atomic_exchange(&storage->luns[number], NULL);
	pthread_mutex_unlock(&storage->lock);
	if (!lun)
		return -ENOENT;
	atomic_fetch_add(&storage->removals, 1);
	lun_unref(lun);
	return 0;
}

int vsp_storage_remove_disk(struct vsp_storage *storage, uint8_t number)
{
	int ret = lun_remove(storage, number);

	if (!ret)
		vsp_storage_rescan(storage);
	return ret;
}

void vsp_lun_table_free(struct vsp_storage *storage)
{
	for (unsigned int i = 0; i < VSP_STORAGE_LUNS; i++)
		(void)lun_remove(storage, (uint8_t)i);
}

void vsp_storage_resized(struct vsp_storage *storage, uint8_t number)
{
	struct lun *lun = lun_take(storage, number);
	struct vsp_block_info info;

	if (!lun)
		return;
	vsp_disk_get_info(lun->disk, &info);
	if (atomic_exchange(&lun->size, info.size) != info.size) {
		atomic_store(&lun->attention, SCSI_SENSE_CAPACITY_CHANGED);
		/* an idle guest notices when the rescan makes it ask every LUN */
		vsp_storage_rescan(storage);
	}
	lun_unref(lun);
}
