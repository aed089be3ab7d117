/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gpadl.h"
#include "server.h"

/* -- Finding -------------------------------------------------------------- */

static struct vmbus_gpadl *gpadl_next(struct vmbus_gpadl *gpadl, uint32_t handle)
{
	while (gpadl && gpadl->handle != handle)
		gpadl = LIST_NEXT(gpadl, hash_link);
	return gpadl;
}

static struct vmbus_gpadl *gpadl_first(struct vmbus_server *server, uint32_t handle)
{
	return gpadl_next(LIST_FIRST(&server->gpadls[handle % GPADL_BUCKETS]), handle);
}

#define GPADL_FOREACH(gpadl, server, handle)                 \
	for ((gpadl) = gpadl_first(server, handle); (gpadl); \
	     (gpadl) = gpadl_next(LIST_NEXT(gpadl, hash_link), handle))

/* GPADL_BODY names no channel: while it is assembled a handle is unique. */
static struct vmbus_gpadl *gpadl_assembling(struct vmbus_server *server, uint32_t handle)
{
	struct vmbus_gpadl *gpadl;

	GPADL_FOREACH(gpadl, server, handle)
		if (gpadl->state == GPADL_ASSEMBLING)
			return gpadl;
	return NULL;
}

static struct vmbus_gpadl *gpadl_of_channel(struct vmbus_channel *ch, uint32_t handle)
{
	struct vmbus_gpadl *gpadl;

	GPADL_FOREACH(gpadl, ch->server, handle)
		if (gpadl->channel == ch)
			return gpadl;
	return NULL;
}

struct vmbus_gpadl *vmbus_gpadl_find(struct vmbus_channel *ch, uint32_t handle)
{
	struct vmbus_gpadl *gpadl = gpadl_of_channel(ch, handle);

	return gpadl && gpadl->state == GPADL_ACCEPTED ? gpadl : NULL;
}

/* -- Life ----------------------------------------------------------------- */

/* A range has at least one page, so that what a guest announces is bounded by the
 * pages it is charged for. */
static int gpadl_new(struct vmbus_channel *ch, const struct vmbus_msg_gpadl_header *header,
		     struct vmbus_gpadl **result)
{
	struct vmbus_server *server = ch->server;
	uint32_t words = header->range_buflen / 8u, ranges = header->range_count;
	struct vmbus_gpadl *gpadl;

	if (ranges == 0 || words < 2 * ranges)
		return VMBUS_FAULT_GPADL_RANGES;
	if (server->gpadl_count >= server->config.max_gpadls ||
	    words - ranges > server->config.max_gpadl_pages - server->gpadl_pages)
		return VMBUS_FAULT_LIMIT;
	gpadl = malloc(sizeof(*gpadl) + words * sizeof(gpadl->words[0]));
	if (!gpadl)
		return -ENOMEM;
	memset(gpadl, 0, sizeof(*gpadl));
	gpadl->server = server;
	gpadl->channel = ch;
	gpadl->handle = header->gpadl;
	atomic_store(&gpadl->refs, 1);
	gpadl->word_count = words;
	gpadl->range_count = ranges;
	gpadl->pages = words - ranges;
	server->gpadl_count++;
	server->gpadl_pages += gpadl->pages;
	LIST_INSERT_HEAD(&server->gpadls[gpadl->handle % GPADL_BUCKETS], gpadl, hash_link);
	LIST_INSERT_HEAD(&ch->gpadls, gpadl, channel_link);
	*result = gpadl;
	return 0;
}

static void gpadl_unpin(struct vmbus_gpadl *gpadl, uint32_t ranges)
{
	for (uint32_t i = 0; i < ranges; i++) {
		const struct gpadl_range *r = &gpadl->ranges[i];

		vmbus_mem_unpin_pages(gpadl->server->mem, r->pfns,
				      vmbus_span_pages(r->offset, r->len));
	}
}

/* The guest and its channel know it no longer. */
static void gpadl_unlink(struct vmbus_gpadl *gpadl)
{
	if (gpadl->state == GPADL_DROPPED)
		return;
	LIST_REMOVE(gpadl, hash_link);
	LIST_REMOVE(gpadl, channel_link);
	gpadl->channel = NULL;
}

static void gpadl_free(struct vmbus_gpadl *gpadl)
{
	struct vmbus_server *server = gpadl->server;

	gpadl_unlink(gpadl);
	if (gpadl->pinned)
		gpadl_unpin(gpadl, gpadl->range_count);
	server->gpadl_count--;
	server->gpadl_pages -= gpadl->pages;
	free(gpadl->ranges);
	free(gpadl);
}

void vmbus_gpadl_ref(struct vmbus_gpadl *gpadl)
{
	atomic_fetch_add_explicit(&gpadl->refs, 1, memory_order_relaxed);
}

void vmbus_gpadl_put(struct vmbus_gpadl *gpadl)
{
	atomic_fetch_sub(&gpadl->refs, 1);
}

void vmbus_gpadl_unref(struct vmbus_gpadl *gpadl)
{
	void (*wake)(void *) = gpadl->server->ops.wake;
	void *opaque = gpadl->server->opaque;

	/* the last one frees nothing: the server does, in its thread */
	if (atomic_fetch_sub_explicit(&gpadl->refs, 1, memory_order_acq_rel) == 1)
		wake(opaque);
}

struct vmbus_gpadl *vmbus_channel_gpadl(struct vmbus_channel *ch, uint32_t handle)
{
	struct vmbus_gpadl *gpadl = vmbus_gpadl_find(ch, handle);

	if (gpadl)
		vmbus_gpadl_ref(gpadl);
	return gpadl;
}

/* The guest's reference goes; what others hold keeps it until vmbus_gpadl_reap(). A
 * device is asked to let go, if it may be one that holds it. */
static void gpadl_end(struct vmbus_gpadl *gpadl, enum gpadl_state state)
{
	struct vmbus_channel *ch = gpadl->channel;
	unsigned int ring = ch->ring_gpadl == gpadl ? 1 : 0, others;

	if (gpadl->state == GPADL_ASSEMBLING) {
		gpadl_free(gpadl);
		return;
	}
	if (gpadl->state != GPADL_TEARDOWN) {
		gpadl->state = GPADL_TEARDOWN;
		TAILQ_INSERT_TAIL(&gpadl->server->ending, gpadl, ending_link);
		others = atomic_fetch_sub(&gpadl->refs, 1) - 1;
		if (others > ring && ch->ops.gpadl_teardown)
			ch->ops.gpadl_teardown(ch->offer.device, ch, gpadl->handle);
	}
	if (state == GPADL_DROPPED)
		gpadl_unlink(gpadl);
	gpadl->state = state;
}

void vmbus_gpadl_drop_all(struct vmbus_channel *ch)
{
	struct vmbus_gpadl *gpadl, *next;

	for (gpadl = LIST_FIRST(&ch->gpadls); gpadl; gpadl = next) {
		next = LIST_NEXT(gpadl, channel_link);
		gpadl_end(gpadl, GPADL_DROPPED);
	}
}

void vmbus_gpadl_reap(struct vmbus_server *server)
{
	struct vmbus_gpadl *gpadl, *next;

	for (gpadl = TAILQ_FIRST(&server->ending); gpadl; gpadl = next) {
		struct vmbus_msg_gpadl_torndown torndown = {.gpadl = gpadl->handle};

		next = TAILQ_NEXT(gpadl, ending_link);
		if (atomic_load_explicit(&gpadl->refs, memory_order_acquire) != 0)
			continue;
		if (gpadl->state == GPADL_TEARDOWN) {
			if (!vmbus_queue_has_room(server))
				continue;
			vmbus_queue_add(server, VMBUS_MSG_GPADL_TORNDOWN, &torndown,
					sizeof(torndown));
			server->channels_due |= gpadl->channel->rescind_due;
		}
		TAILQ_REMOVE(&server->ending, gpadl, ending_link);
		gpadl_free(gpadl);
	}
}

bool vmbus_gpadl_owed(const struct vmbus_channel *ch)
{
	const struct vmbus_gpadl *gpadl;

	LIST_FOREACH(gpadl, &ch->gpadls, channel_link)
		if (gpadl->state == GPADL_TEARDOWN)
			return true;
	return false;
}

void vmbus_gpadl_free_all(struct vmbus_server *server)
{
	struct vmbus_gpadl *gpadl;

	while ((gpadl = TAILQ_FIRST(&server->ending))) {
		TAILQ_REMOVE(&server->ending, gpadl, ending_link);
		gpadl_free(gpadl);
	}
}

/* -- Assembling ----------------------------------------------------------- */

/* Takes the ranges apart. Surplus words behind the last one are ignored. */
static int ranges_parse(struct vmbus_gpadl *gpadl)
{
	const uint64_t *word = gpadl->words, *end = word + gpadl->word_count;

	for (uint32_t i = 0; i < gpadl->range_count; i++) {
		struct gpadl_range *r = &gpadl->ranges[i];
		struct vmbus_gpa_range head;

		if (word == end)
			return VMBUS_FAULT_GPADL_RANGES;
		memcpy(&head, word++, sizeof(head));
		r->offset = head.byte_offset;
		r->len = head.byte_count;
		r->pfns = word;
		if (r->len == 0 || r->offset >= VMBUS_PAGE_SIZE ||
		    vmbus_span_pages(r->offset, r->len) > end - word)
			return VMBUS_FAULT_GPADL_RANGES;
		word += vmbus_span_pages(r->offset, r->len);
	}
	return 0;
}

static int ranges_pin(struct vmbus_gpadl *gpadl)
{
	for (uint32_t i = 0; i < gpadl->range_count; i++) {
		const struct gpadl_range *r = &gpadl->ranges[i];
		int ret = vmbus_mem_pin_pages(gpadl->server->mem, r->pfns,
					      vmbus_span_pages(r->offset, r->len));

		if (ret) {
			gpadl_unpin(gpadl, i);
			return ret;
		}
	}
	gpadl->pinned = true;
	return 0;
}

static int gpadl_accept(struct vmbus_gpadl *gpadl)
{
	int ret;

	gpadl->ranges = calloc(gpadl->range_count, sizeof(gpadl->ranges[0]));
	if (!gpadl->ranges)
		return -ENOMEM;
	ret = ranges_parse(gpadl);
	if (!ret)
		ret = ranges_pin(gpadl);
	if (!ret)
		gpadl->state = GPADL_ACCEPTED;
	return ret;
}

static void created_send(struct vmbus_server *server, uint32_t channel_id, uint32_t handle,
			 int result)
{
	struct vmbus_msg_gpadl_created created = {
		.channel_id = channel_id,
		.gpadl = handle,
		.status = result ? VMBUS_STATUS_FAILED : 0,
	};

	vmbus_queue_add(server, VMBUS_MSG_GPADL_CREATED, &created, sizeof(created));
}

/* Takes the words of one fragment; those beyond the announced number are padding
 * (Microsoft's UEFI always posts messages of full length). Answers once the list is
 * complete, or has turned out bad: then it is forgotten. */
static int gpadl_append(struct vmbus_gpadl *gpadl, const void *words, size_t bytes)
{
	uint32_t n = (uint32_t)(bytes / 8), channel_id = gpadl->channel->id, handle = gpadl->handle;
	int ret;

	if (n > gpadl->word_count - gpadl->have)
		n = gpadl->word_count - gpadl->have;
	memcpy(gpadl->words + gpadl->have, words, n * sizeof(gpadl->words[0]));
	gpadl->have += n;
	if (gpadl->have < gpadl->word_count)
		return 0;
	ret = gpadl_accept(gpadl);
	created_send(gpadl->server, channel_id, handle, ret);
	if (ret)
		gpadl_free(gpadl);
	return ret;
}

static int gpadl_start(struct vmbus_server *server, const struct message *m,
		       struct vmbus_gpadl **gpadl)
{
	const struct vmbus_msg_gpadl_header *header = &m->u.gpadl_header;
	struct vmbus_channel *ch;
	int ret = vmbus_channel_of_message(server, m, header->channel_id, &ch);

	if (ret)
		return ret;
	if (gpadl_assembling(server, header->gpadl) || gpadl_of_channel(ch, header->gpadl))
		return VMBUS_FAULT_GPADL_EXISTS;
	return gpadl_new(ch, header, gpadl);
}

int vmbus_on_gpadl_header(struct vmbus_server *server, const struct message *m)
{
	const struct vmbus_msg_gpadl_header *header = &m->u.gpadl_header;
	struct vmbus_gpadl *gpadl;
	int ret = gpadl_start(server, m, &gpadl);

	if (ret) {
		created_send(server, header->channel_id, header->gpadl, ret);
		return ret;
	}
	return gpadl_append(gpadl, header + 1, m->len - sizeof(*header));
}

int vmbus_on_gpadl_body(struct vmbus_server *server, const struct message *m)
{
	const struct vmbus_msg_gpadl_body *body = &m->u.gpadl_body;
	struct vmbus_gpadl *gpadl = gpadl_assembling(server, body->gpadl);

	if (!gpadl)
		return VMBUS_FAULT_BAD_GPADL;
	return gpadl_append(gpadl, body + 1, m->len - sizeof(*body));
}

int vmbus_on_gpadl_teardown(struct vmbus_server *server, const struct message *m)
{
	const struct vmbus_msg_gpadl_teardown *teardown = &m->u.gpadl_teardown;
	struct vmbus_channel *ch;
	struct vmbus_gpadl *gpadl;
	int ret = vmbus_channel_of_message(server, m, teardown->channel_id, &ch);

	if (ret)
		return ret;
	gpadl = vmbus_gpadl_find(ch, teardown->gpadl);
	if (!gpadl)
		return VMBUS_FAULT_BAD_GPADL;
	gpadl_end(gpadl, GPADL_TEARDOWN);
	return 0;
}

/* -- For devices ---------------------------------------------------------- */

uint32_t vmbus_gpadl_ranges(const struct vmbus_gpadl *gpadl)
{
	return gpadl->range_count;
}

struct vmbus_span vmbus_gpadl_range(const struct vmbus_gpadl *gpadl, uint32_t i)
{
	struct vmbus_span span = {NULL, 0, 0};

	if (i < gpadl->range_count) {
		span.pfns = gpadl->ranges[i].pfns;
		span.offset = gpadl->ranges[i].offset;
		span.len = gpadl->ranges[i].len;
	}
	return span;
}
