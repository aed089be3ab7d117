/* SPDX-License-Identifier: MIT */
/* The storage protocol's messages and states, pure. */
#include <string.h>

#include "storage-private.h"

#define IN(state) (1u << (state))
#define SIZE_HEADER VSP_STORVSP_HEADER
#define SIZE_SRB (VSP_STORVSP_HEADER + VSP_STORVSP_SIZE_V1) /* the tail is zero then */
#define READY_OR_END (IN(STORVSP_END) | IN(STORVSP_READY))

/* Handlers get a message that its state allows; they change @p into the answer's body and
 * return its NTSTATUS. */
typedef uint32_t storvsp_handler(struct vsp_storage *s, struct vsp_storvsp_packet *p);

static uint32_t begin(struct vsp_storage *s, struct vsp_storvsp_packet *p)
{
	(void)p;
	s->state = STORVSP_VERSION;
	return STORVSP_STATUS_SUCCESS;
}

static uint32_t query_version(struct vsp_storage *s, struct vsp_storvsp_packet *p)
{
	static const uint16_t known[] = {VSP_STORVSP_WIN6, VSP_STORVSP_WIN7, VSP_STORVSP_WIN8,
					 VSP_STORVSP_WIN8_1, VSP_STORVSP_WIN10};

	p->u.version.revision = 0;
	for (unsigned int i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i] != p->u.version.version)
			continue;
		s->version = known[i];
		s->state = STORVSP_PROPERTIES;
		return STORVSP_STATUS_SUCCESS;
	}
	return STORVSP_STATUS_REVISION_MISMATCH; /* the guest tries an older one */
}

static bool multi_channel(const struct vsp_storage *s)
{
	return s->version >= VSP_STORVSP_WIN8 && s->config.max_sub_channels > 0;
}

static uint32_t query_properties(struct vsp_storage *s, struct vsp_storvsp_packet *p)
{
	memset(&p->u, 0, sizeof(p->u));
	p->u.properties.max_transfer = s->config.max_transfer;
	if (multi_channel(s)) {
		p->u.properties.max_sub_channels = s->config.max_sub_channels;
		p->u.properties.flags = VSP_STORVSP_MULTI_CHANNEL;
	}
	s->state = STORVSP_END;
	return STORVSP_STATUS_SUCCESS;
}

static uint32_t end(struct vsp_storage *s, struct vsp_storvsp_packet *p)
{
	(void)p;
	/* the guest scans the bus after this anyway */
	s->rescan = false;
	s->state = STORVSP_READY;
	return STORVSP_STATUS_SUCCESS;
}

static uint32_t create_sub_channels(struct vsp_storage *s, struct vsp_storvsp_packet *p)
{
	if (s->version < VSP_STORVSP_WIN8)
		return STORVSP_STATUS_INVALID_DEVICE_STATE;
	if (p->u.sub_channels > s->config.max_sub_channels)
		return STORVSP_STATUS_INVALID_PARAMETER;
	s->sub_channels = p->u.sub_channels;
	return STORVSP_STATUS_SUCCESS;
}

/* What Hyper-V has always done: outstanding requests end by themselves. */
static uint32_t reset(struct vsp_storage *s, struct vsp_storvsp_packet *p)
{
	(void)s, (void)p;
	return STORVSP_STATUS_SUCCESS;
}

static const struct storvsp_row {
	const char *name;
	uint32_t min_size; /* bytes of payload */
	uint32_t states;   /* that accept it */
	bool any_channel;  /* else on the primary alone */
	storvsp_handler *handle; /* NULL: an SRB */
} rows[VSP_STORVSP_OPERATION_COUNT] = {
    [VSP_STORVSP_EXECUTE_SRB] = {"EXECUTE_SRB", SIZE_SRB, IN(STORVSP_READY), true, NULL},
    [VSP_STORVSP_RESET_LUN] = {"RESET_LUN", SIZE_HEADER, IN(STORVSP_READY), true, reset},
    [VSP_STORVSP_RESET_ADAPTER] = {"RESET_ADAPTER", SIZE_HEADER, IN(STORVSP_READY), true,
				   reset},
    [VSP_STORVSP_RESET_BUS] = {"RESET_BUS", SIZE_HEADER, IN(STORVSP_READY), true, reset},
    [VSP_STORVSP_BEGIN_INITIALIZATION] = {"BEGIN_INITIALIZATION", SIZE_HEADER,
					  IN(STORVSP_BEGIN), false, begin},
    [VSP_STORVSP_END_INITIALIZATION] = {"END_INITIALIZATION", SIZE_HEADER,
					IN(STORVSP_END), false, end},
    [VSP_STORVSP_QUERY_VERSION] = {"QUERY_VERSION",
				   SIZE_HEADER + sizeof(struct vsp_storvsp_version),
				   IN(STORVSP_VERSION), false, query_version},
    [VSP_STORVSP_QUERY_PROPERTIES] = {"QUERY_PROPERTIES", SIZE_HEADER,
				      IN(STORVSP_PROPERTIES), false, query_properties},
    [VSP_STORVSP_CREATE_SUB_CHANNELS] = {"CREATE_SUB_CHANNELS",
					 SIZE_HEADER + sizeof(uint16_t), READY_OR_END,
					 false, create_sub_channels},
};

static bool message_answer(struct vsp_storvsp_packet *p, uint32_t status)
{
	p->operation = VSP_STORVSP_COMPLETE_IO;
	p->flags = 0;
	p->status = status;
	return false;
}

bool vsp_storvsp_message(struct vsp_storage *s, bool primary, struct vsp_storvsp_packet *p,
			 uint32_t len)
{
	const struct storvsp_row *row;

	if (len < SIZE_HEADER || p->operation >= VSP_STORVSP_OPERATION_COUNT ||
	    !rows[p->operation].name)
		return message_answer(p, STORVSP_STATUS_INVALID_DEVICE_REQUEST);
	row = &rows[p->operation];
	if (!(row->states & IN(s->state)) || (!primary && !row->any_channel))
		return message_answer(p, STORVSP_STATUS_INVALID_DEVICE_STATE);
	if (len < row->min_size)
		return message_answer(p, STORVSP_STATUS_INVALID_PARAMETER);
	if (!row->handle)
		return true;
	return message_answer(p, row->handle(s, p));
}
