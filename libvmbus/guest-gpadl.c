/* SPDX-License-Identifier: MIT */
/* The guest's page lists: cut into messages of 26 and 28 page numbers, several
 * lists under way at a time when the host pushes back. */
#include "guest-private.h"

#define GPADL_PAGES_MAX 8190u /* range_buflen is 16 bits wide */
#define GPADL_HEADER_PFNS (VMBUS_GPADL_HEADER_WORDS - 1) /* a word is the range's header */

struct vmbus_guest_gpadl *vmbus_guest_gpadl_sending(struct vmbus_guest *guest, uint32_t handle)
{
	for (uint32_t i = 0; i < VMBUS_GUEST_GPADLS; i++)
		if (guest->gpadls[i].pfns && guest->gpadls[i].gpadl == handle)
			return &guest->gpadls[i];
	return NULL;
}

static struct vmbus_guest_gpadl *gpadl_slot(struct vmbus_guest *guest)
{
	for (uint32_t i = 0; i < VMBUS_GUEST_GPADLS; i++)
		if (!guest->gpadls[i].pfns)
			return &guest->gpadls[i];
	return NULL;
}

static uint32_t gpadl_header(const struct vmbus_guest_gpadl *gpadl, uint8_t *message, uint32_t pfns)
{
	struct vmbus_msg_gpadl_header header = {
		.header.type = VMBUS_MSG_GPADL_HEADER,
		.channel_id = gpadl->channel_id,
		.gpadl = gpadl->gpadl,
		.range_buflen = (uint16_t)(sizeof(struct vmbus_gpa_range) + 8 * gpadl->count),
		.range_count = 1,
	};
	struct vmbus_gpa_range range = {.byte_count = gpadl->len, .byte_offset = gpadl->offset};

	memcpy(message, &header, sizeof(header));
	memcpy(message + sizeof(header), &range, sizeof(range));
	memcpy(message + sizeof(header) + sizeof(range), gpadl->pfns, 8 * pfns);
	return (uint32_t)(sizeof(header) + sizeof(range) + 8 * pfns);
}

static uint32_t gpadl_body(const struct vmbus_guest_gpadl *gpadl, uint8_t *message, uint32_t pfns)
{
	struct vmbus_msg_gpadl_body body = {
		.header.type = VMBUS_MSG_GPADL_BODY,
		.gpadl = gpadl->gpadl,
	};

	memcpy(message, &body, sizeof(body));
	memcpy(message + sizeof(body), gpadl->pfns + gpadl->sent, 8 * pfns);
	return (uint32_t)(sizeof(body) + 8 * pfns);
}

int vmbus_guest_gpadl_post(struct vmbus_guest *guest, struct vmbus_guest_gpadl *gpadl)
{
	uint32_t most = gpadl->sent ? VMBUS_GPADL_BODY_WORDS : GPADL_HEADER_PFNS;
	uint32_t left = gpadl->count - gpadl->sent, pfns = left < most ? left : most, len;
	uint8_t message[VMBUS_MESSAGE_MAX];
	int err;

	len = gpadl->sent ? gpadl_body(gpadl, message, pfns) : gpadl_header(gpadl, message, pfns);
	err = vmbus_guest_post(guest, message, len);
	if (err == -EAGAIN)
		return err;
	gpadl->sent += pfns;
	if (err || gpadl->sent == gpadl->count)
		gpadl->pfns = NULL;
	return err;
}

int vmbus_guest_gpadl_create(struct vmbus_guest_channel *channel, const uint64_t *pfns,
			     uint32_t offset, uint32_t len, uint32_t *handle)
{
	uint64_t pages = ((uint64_t)offset + len + VMBUS_PAGE_SIZE - 1) >> VMBUS_PAGE_SHIFT;
	struct vmbus_guest *guest = channel->guest;
	struct vmbus_guest_gpadl *gpadl;
	int err = 0;

	if (!vmbus_guest_connected(channel) || channel->state == VMBUS_GUEST_CHANNEL_RESCINDED ||
	    !len || offset >= VMBUS_PAGE_SIZE || !pfns)
		return -EINVAL;
	gpadl = gpadl_slot(guest);
	if (pages > GPADL_PAGES_MAX || !gpadl)
		return -ENOSPC;
	if (guest->unsent_len)
		return -EAGAIN;

	*handle = guest->next_gpadl++;
	*gpadl = (struct vmbus_guest_gpadl){
		.channel_id = channel->offer.channel_id, .gpadl = *handle,
		.count = (uint32_t)pages, .offset = offset, .len = len, .pfns = pfns,
	};
	while (!err && gpadl->pfns)
		err = vmbus_guest_gpadl_post(guest, gpadl);
	return err == -EAGAIN ? 0 : err;
}

int vmbus_guest_gpadl_teardown(struct vmbus_guest_channel *channel, uint32_t gpadl)
{
	struct vmbus_msg_gpadl_teardown message = {
		.header.type = VMBUS_MSG_GPADL_TEARDOWN,
		.channel_id = channel->offer.channel_id,
		.gpadl = gpadl,
	};

	if (!vmbus_guest_connected(channel) || vmbus_guest_gpadl_sending(channel->guest, gpadl))
		return -EINVAL;
	return vmbus_guest_send(channel->guest, &message, sizeof(message));
}
