/* SPDX-License-Identifier: MIT */
/* The mock's guest: what it sends, and its books of what it is owed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mock.h"
#include "server.h"

/* -- What the guest is told ------------------------------------------------ */

static struct mock_known *known_of(struct mock *m, uint32_t id)
{
	MOCK_CHECK(id >= 1 && id <= VMBUS_CHANNEL_MAX);
	if (id > m->known_top)
		m->known_top = id;
	return &m->known[id];
}

/* The GUIDs are not held, and the primary is, or was when this OFFER was made. */
static void offer_check_guids(struct mock *m, const struct vmbus_msg_offer *offer)
{
	bool primary = offer->subchannel_index == 0;

	for (uint32_t id = 1; id <= m->known_top; id++) {
		const struct vmbus_msg_offer *other = &m->known[id].offer;

		if (other->channel_id != id ||
		    !vmbus_guid_equal(other->interface_id, offer->interface_id) ||
		    !vmbus_guid_equal(other->instance_id, offer->instance_id))
			continue;
		MOCK_CHECK(!m->known[id].held ||
			   other->subchannel_index != offer->subchannel_index);
		primary |= other->subchannel_index == 0;
	}
	MOCK_CHECK(primary);
}

static void told_offer(struct mock *m, const struct mock_message *in)
{
	const struct vmbus_msg_offer *offer = &in->u.offer;
	struct mock_known *known = known_of(m, offer->channel_id);

	if (!m->wild) {
		MOCK_CHECK(!known->held);
		offer_check_guids(m, offer);
	}
	MOCK_CHECK(offer->monitor_allocated == 0 && offer->monitor_id == 255);
	MOCK_CHECK(in->len == (m->version >= VMBUS_V1_1 ? 196 : VMBUS_OFFER_SIZE_V0));
	if (m->version >= VMBUS_V1_1)
		MOCK_CHECK(offer->is_dedicated_interrupt == 1 && offer->connection_id > 4);
	known->held = true;
	known->rescinded = false;
	known->offer = *offer;
}

static void told_rescind(struct mock *m, uint32_t id)
{
	struct mock_known *known = known_of(m, id);

	MOCK_CHECK(known->wild || (known->offer.channel_id == id && !known->rescinded));
	for (unsigned int i = 0; i < m->teardown_count; i++)
		MOCK_CHECK(m->teardowns[i].channel_id != id || m->teardowns[i].cancelled ||
			   m->teardowns[i].crossed);
	MOCK_CHECK(known->modifies_owed == 0);
	known->rescinded = true;
	known->opens_owed = 0; /* it is their answer */
}

static void told_torndown(struct mock *m, uint32_t handle)
{
	for (unsigned int i = 0; i < m->teardown_count; i++)
		if (m->teardowns[i].handle == handle) {
			m->teardowns[i] = m->teardowns[--m->teardown_count];
			return;
		}
	mock_fail(__FILE__, __LINE__, "GPADL_TORNDOWN that is not owed");
}

/* An OPEN by a guess is owed although the RESCIND before it has ended the books. */
static void told_answer(const struct mock_known *known, unsigned int *owed)
{
	MOCK_CHECK(*owed > 0 || known->wild);
	if (*owed > 0)
		--*owed;
}

void mock_told(struct mock *m, const struct mock_message *in)
{
	const struct message_type *row = vmbus_message_type(in->u.header.type);
	struct mock_known *known;

	MOCK_CHECK(row && row->flags & HOST_TO_GUEST && in->len >= row->min_size);
	MOCK_CHECK(in->u.header.padding == 0);
	if (in->u.header.type != VMBUS_MSG_CLOSE_RESERVED_RESPONSE) /* legal without a connection */
		MOCK_CHECK(m->version >= row->first_version);
	switch (in->u.header.type) {
	case VMBUS_MSG_OFFER:
		told_offer(m, in);
		break;
	case VMBUS_MSG_RESCIND_OFFER:
		told_rescind(m, in->u.channel.channel_id);
		break;
	case VMBUS_MSG_OPEN_RESULT:
		if (in->sint != VMBUS_SINT || in->u.open_result.open_id == 0)
			break;
		known = known_of(m, in->u.open_result.channel_id);
		told_answer(known, &known->opens_owed);
		break;
	case VMBUS_MSG_MODIFY_CHANNEL_RESPONSE:
		if (in->u.modified.status != 0)
			break;
		known = known_of(m, in->u.modified.channel_id);
		told_answer(known, &known->modifies_owed);
		break;
	case VMBUS_MSG_GPADL_CREATED:
		MOCK_CHECK(m->created_owed-- > 0);
		break;
	case VMBUS_MSG_GPADL_TORNDOWN:
		told_torndown(m, in->u.torndown.gpadl);
		break;
	case VMBUS_MSG_VERSION_RESPONSE:
		if (in->sint == VMBUS_SINT)
			MOCK_CHECK(m->contacts_owed-- > 0);
		break;
	case VMBUS_MSG_UNLOAD_COMPLETE:
		MOCK_CHECK(m->unloads_owed-- > 0);
		break;
	case VMBUS_MSG_ALLOFFERS_DELIVERED:
		MOCK_CHECK(m->all_offers_owed);
		m->all_offers_owed = false;
		break;
	default:
		break;
	}
}

/* -- What the guest asks ---------------------------------------------------- */

static unsigned int assembling(const struct mock *m)
{
	const struct vmbus_gpadl *gpadl;
	unsigned int n = 0;

	for (unsigned int i = 0; i < GPADL_BUCKETS; i++)
		LIST_FOREACH(gpadl, &m->server->gpadls[i], hash_link)
			n += gpadl->state == GPADL_ASSEMBLING;
	return n;
}

/* The guest tears down the rings of a channel that is still open. */
static bool in_use(const struct mock *m, const struct mock_teardown *teardown)
{
	const struct vmbus_gpadl *gpadl;

	TAILQ_FOREACH(gpadl, &m->server->ending, ending_link)
		if (gpadl->handle == teardown->handle && gpadl->channel &&
		    gpadl->channel->ring_gpadl == gpadl && gpadl->channel->state == CHANNEL_OPEN)
			return true;
	return false;
}

void mock_check_settled(struct mock *m)
{
	for (uint32_t id = 1; id <= m->known_top; id++)
		if (m->known[id].held)
			MOCK_CHECK(m->known[id].opens_owed == 0 && m->known[id].modifies_owed == 0);
	for (unsigned int i = 0; i < m->teardown_count; i++)
		MOCK_CHECK(m->teardowns[i].cancelled || in_use(m, &m->teardowns[i]));
	MOCK_CHECK(m->created_owed == assembling(m));
	MOCK_CHECK(m->contacts_owed == 0 && m->unloads_owed == 0 && !m->all_offers_owed);
}

/* A message that ended so was dropped without a word. */
static bool dropped(int ret)
{
	return ret == -EAGAIN || ret == VMBUS_FAULT_WRONG_STATE || ret == VMBUS_FAULT_TRUNCATED ||
	       ret == VMBUS_FAULT_WRONG_VERSION || ret == VMBUS_FAULT_BAD_CONNECTION ||
	       ret == VMBUS_FAULT_OVERSIZED;
}

struct books {
	bool wild;
	struct mock_known *known;
	unsigned int teardown_count, created_owed, contacts_owed, unloads_owed;
	bool all_offers_owed;
	uint32_t version;
};

static struct books books_close(struct mock *m)
{
	struct books old = {m->wild,          m->known,        m->teardown_count,  m->created_owed,
			    m->contacts_owed, m->unloads_owed, m->all_offers_owed, m->version};

	m->known = m->spare;
	m->spare = old.known;
	memset(m->known, 0, (m->known_top + 1) * sizeof(m->known[0]));
	m->teardown_count = m->created_owed = m->contacts_owed = m->unloads_owed = 0;
	m->all_offers_owed = m->wild = false;
	return old;
}

static void books_reopen(struct mock *m, struct books old)
{
	m->spare = m->known;
	m->known = old.known;
	m->teardown_count = old.teardown_count;
	m->created_owed = old.created_owed;
	m->contacts_owed = old.contacts_owed;
	m->unloads_owed = old.unloads_owed;
	m->all_offers_owed = old.all_offers_owed;
	m->version = old.version;
	m->wild = old.wild;
}

void mock_reset(struct mock *m)
{
	books_close(m);
	vmbus_server_reset(m->server);
}

/* From memory that ends with the message: ASan sees who reads on. One that is too long is
 * not looked at. */
static int post(struct mock *m, uint32_t connection_id, const void *message, size_t len)
{
	uint8_t *copy = NULL;
	int ret;

	if (len <= VMBUS_MESSAGE_MAX) {
		copy = malloc(len + !len);
		MOCK_CHECK(copy);
		memcpy(copy, message, len);
	}
	ret = vmbus_server_message(m->server, connection_id, copy, len);
	free(copy);
	return ret;
}

/* INITIATE_CONTACT and UNLOAD: from here on only their answer is awaited, unless they are
 * not taken. */
static int post_ending(struct mock *m, uint32_t connection_id, const struct message *msg,
		       size_t len)
{
	struct books old = books_close(m);
	int ret;

	if (msg->u.header.type == VMBUS_MSG_UNLOAD) {
		m->unloads_owed = m->version >= VMBUS_V1_1;
	} else {
		m->contacts_owed = 1;
		m->version = msg->u.contact.version;
	}
	ret = post(m, connection_id, msg->u.bytes, len);
	if (ret)
		books_reopen(m, old);
	return ret;
}

/* The guest may name a channel that there is not. */
static struct mock_known *any_known(struct mock *m, uint32_t id)
{
	return known_of(m, id >= 1 && id <= VMBUS_CHANNEL_MAX ? id : VMBUS_CHANNEL_MAX);
}

static int post_released(struct mock *m, uint32_t connection_id, const struct message *msg,
			 size_t len)
{
	uint32_t id = msg->u.channel.channel_id;
	struct mock_known *known = any_known(m, id);
	unsigned int before = assembling(m);
	bool held = known->held;
	int ret;

	known->held = false; /* the answer may be an OFFER of the same id */
	ret = post(m, connection_id, msg->u.bytes, len);
	if (ret) {
		known->held = held;
		return ret;
	}
	m->created_owed -= before - assembling(m);
	for (unsigned int i = 0; i < m->teardown_count; i++)
		m->teardowns[i].cancelled |= m->teardowns[i].channel_id == id;
	if (!held)
		known->wild = m->wild = true;
	return ret;
}

static int post_counted(struct mock *m, uint32_t connection_id, const struct message *msg,
			size_t len, unsigned int *owed)
{
	int ret;

	++*owed;
	ret = post(m, connection_id, msg->u.bytes, len);
	if (dropped(ret) ||
	    (ret == VMBUS_FAULT_BAD_CHANNEL && msg->u.header.type != VMBUS_MSG_GPADL_HEADER))
		--*owed;
	return ret;
}

/* The RESCIND is on its way: no other answer comes. */
static bool withdrawn(const struct mock *m, uint32_t id)
{
	enum channel_state state = m->server->by_id[id]->state;

	return state == CHANNEL_REVOKING || state == CHANNEL_REVOKED;
}

static int post_open(struct mock *m, uint32_t connection_id, const struct message *msg, size_t len)
{
	struct mock_known *known = any_known(m, msg->u.open.channel_id);
	int ret;

	known->wild |= !known->held; /* a guess: its offer may be on the way, behind a RESCIND */
	ret = post_counted(m, connection_id, msg, len, &known->opens_owed);
	if (ret == 0 && withdrawn(m, msg->u.open.channel_id))
		known->opens_owed--;
	return ret;
}

static int post_modify(struct mock *m, uint32_t connection_id, const struct message *msg,
		       size_t len)
{
	struct mock_known *known = any_known(m, msg->u.channel.channel_id);
	int ret;

	if (m->version < VMBUS_V5_3)
		return post(m, connection_id, msg->u.bytes, len);
	known->wild |= !known->held;
	known->modifies_owed++;
	ret = post(m, connection_id, msg->u.bytes, len);
	if (ret)
		known->modifies_owed--;
	return ret;
}

static int post_teardown(struct mock *m, uint32_t connection_id, const struct message *msg,
			 size_t len)
{
	uint32_t id = msg->u.gpadl_teardown.channel_id;
	const struct vmbus_channel *ch = id <= VMBUS_CHANNEL_MAX ? m->server->by_id[id] : NULL;
	unsigned int at = m->teardown_count++;
	int ret;

	MOCK_CHECK(at < MOCK_TEARDOWNS);
	m->teardowns[at].crossed = ch && ch->state == CHANNEL_REVOKED && !ch->rescind_due;
	m->teardowns[at].channel_id = id;
	m->teardowns[at].handle = msg->u.gpadl_teardown.gpadl;
	m->teardowns[at].cancelled = false;
	ret = post(m, connection_id, msg->u.bytes, len);
	if (ret)
		m->teardown_count--;
	return ret;
}

static int post_request_offers(struct mock *m, uint32_t connection_id, const struct message *msg,
			       size_t len)
{
	bool before = m->all_offers_owed;
	int ret;

	m->all_offers_owed = true;
	ret = post(m, connection_id, msg->u.bytes, len);
	if (ret)
		m->all_offers_owed = before;
	return ret;
}

static int post_booked(struct mock *m, uint32_t connection_id, const struct message *msg,
		       size_t len)
{
	switch (msg->u.header.type) {
	case VMBUS_MSG_INITIATE_CONTACT:
	case VMBUS_MSG_UNLOAD:
		return post_ending(m, connection_id, msg, len);
	case VMBUS_MSG_REQUEST_OFFERS:
		return post_request_offers(m, connection_id, msg, len);
	case VMBUS_MSG_OPEN_CHANNEL:
		return post_open(m, connection_id, msg, len);
	case VMBUS_MSG_MODIFY_CHANNEL:
		return post_modify(m, connection_id, msg, len);
	case VMBUS_MSG_GPADL_HEADER:
		return post_counted(m, connection_id, msg, len, &m->created_owed);
	case VMBUS_MSG_GPADL_TEARDOWN:
		return post_teardown(m, connection_id, msg, len);
	case VMBUS_MSG_RELID_RELEASED:
		return post_released(m, connection_id, msg, len);
	default:
		return post(m, connection_id, msg->u.bytes, len);
	}
}

int mock_post(struct mock *m, uint32_t connection_id, const void *message, size_t len)
{
	struct message msg = {.len = len};
	int ret;

	if (len > sizeof(msg.u) || len < sizeof(msg.u.header))
		return post(m, connection_id, message, len);
	memcpy(&msg.u, message, len);
	ret = post_booked(m, connection_id, &msg, len);
	if (m->trace)
		fprintf(stderr, "-> %s %x, %zu bytes: %d; %s\n",
			vmbus_message_name(msg.u.header.type), msg.u.channel.channel_id, len, ret,
			vmbus_connection_states[m->server->state].name);
	return ret;
}

int mock_send(struct mock *m, uint32_t type, void *message, size_t len)
{
	struct vmbus_msg_header *header = message;

	header->type = type;
	header->padding = 0;
	return mock_post(m, VMBUS_CONN_MESSAGE, message, len);
}

const struct mock_message *mock_next(struct mock *m)
{
	return m->inbox_read < m->inbox_count ? &m->inbox[m->inbox_read++ % MOCK_INBOX] : NULL;
}

const struct mock_message *mock_expect(struct mock *m, uint32_t type)
{
	const struct mock_message *in = mock_next(m);

	if (!in)
		mock_fail(__FILE__, __LINE__, vmbus_message_name(type));
	if (in->u.header.type != type)
		mock_fail(__FILE__, __LINE__, vmbus_message_name(in->u.header.type));
	return in;
}

void mock_expect_none(struct mock *m)
{
	const struct mock_message *in = mock_next(m);

	if (in)
		mock_fail(__FILE__, __LINE__, vmbus_message_name(in->u.header.type));
}

/* -- Shorthands ----------------------------------------------------------- */

int mock_simple(struct mock *m, uint32_t type)
{
	struct vmbus_msg_header header;

	return mock_send(m, type, &header, sizeof(header));
}

int mock_channel(struct mock *m, uint32_t type, uint32_t channel_id)
{
	struct vmbus_msg_channel msg = {.channel_id = channel_id};

	return mock_send(m, type, &msg, sizeof(msg));
}

int mock_contact(struct mock *m, uint32_t version)
{
	struct vmbus_msg_initiate_contact contact = {
		.version = version,
		.target_vp = 1,
		.monitor_page_parent = 0x1000,
		.monitor_page_child = 0x2000,
	};

	if (version >= VMBUS_V6_0)
		contact.u.v5.features = m->features;
	if (version >= VMBUS_V5_0)
		contact.u.v5.sint = VMBUS_SINT;
	else
		contact.u.interrupt_page = 0x3000;
	contact.header.type = VMBUS_MSG_INITIATE_CONTACT;
	return mock_post(m, version >= VMBUS_V5_0 ? VMBUS_CONN_MESSAGE_MULTI : VMBUS_CONN_MESSAGE,
			 &contact,
			 m->features & VMBUS_FEATURE_CLIENT_ID ? sizeof(contact) :
								 VMBUS_INITIATE_CONTACT_SIZE_BASE);
}

void mock_connect(struct mock *m, uint32_t version)
{
	const struct mock_message *in;

	MOCK_CHECK(mock_contact(m, version) == 0);
	mock_run(m);
	in = mock_expect(m, VMBUS_MSG_VERSION_RESPONSE);
	MOCK_CHECK(in->u.version.supported == 1 && in->u.version.connection_state == 0);
	MOCK_CHECK(in->vp == (version >= VMBUS_V3_0 ? 1 : 0) && in->sint == VMBUS_SINT);
}

/* Handles that are multiples of each other share a bucket and nothing else. */
int mock_gpadl(struct mock *m, uint32_t channel_id, uint32_t handle, uint64_t pfn, uint32_t pages)
{
	struct {
		struct vmbus_msg_gpadl_header header;
		uint64_t words[VMBUS_GPADL_HEADER_WORDS];
	} VMBUS_PACKED header = {
		.header = {.channel_id = channel_id,
			   .gpadl = handle,
			   .range_buflen = (uint16_t)(8 + 8 * pages),
			   .range_count = 1},
		.words = {(uint64_t)pages * VMBUS_PAGE_SIZE},
	};
	struct {
		struct vmbus_msg_gpadl_body body;
		uint64_t words[VMBUS_GPADL_BODY_WORDS];
	} VMBUS_PACKED body = {.body = {.gpadl = handle}};
	uint32_t done = 0, n = 1;
	int ret;

	for (; n < VMBUS_GPADL_HEADER_WORDS && done < pages; n++)
		header.words[n] = pfn + done++;
	ret = mock_send(m, VMBUS_MSG_GPADL_HEADER, &header, sizeof(header.header) + n * 8);
	while (ret == 0 && done < pages) {
		for (n = 0; n < VMBUS_GPADL_BODY_WORDS && done < pages; n++)
			body.words[n] = pfn + done++;
		ret = mock_send(m, VMBUS_MSG_GPADL_BODY, &body, sizeof(body.body) + n * 8);
	}
	return ret;
}

int mock_teardown(struct mock *m, uint32_t channel_id, uint32_t handle)
{
	struct vmbus_msg_gpadl_teardown msg = {.channel_id = channel_id, .gpadl = handle};

	return mock_send(m, VMBUS_MSG_GPADL_TEARDOWN, &msg, sizeof(msg));
}

int mock_open(struct mock *m, uint32_t channel_id, uint32_t handle, uint32_t vp)
{
	struct vmbus_msg_open msg = {
		.channel_id = channel_id,
		.open_id = 0x1000 + channel_id,
		.ring_gpadl = handle,
		.target_vp = vp,
		.downstream_page_offset = MOCK_RING_PAGES / 2,
		.connection_id = 0x9000 + channel_id,
		.event_flag = (uint16_t)(100 + channel_id),
	};

	return mock_send(m, VMBUS_MSG_OPEN_CHANNEL, &msg,
			 m->features & VMBUS_FEATURE_GUEST_SIGNALS ? sizeof(msg) :
								     VMBUS_OPEN_SIZE_BASE);
}

int mock_modify(struct mock *m, uint32_t channel_id, uint32_t vp)
{
	struct vmbus_msg_modify_channel msg = {.channel_id = channel_id, .target_vp = vp};

	return mock_send(m, VMBUS_MSG_MODIFY_CHANNEL, &msg, sizeof(msg));
}

uint32_t mock_open_first(struct mock *m, uint32_t version)
{
	uint32_t id = 0;
	const struct mock_message *in;

	mock_connect(m, version);
	MOCK_CHECK(mock_simple(m, VMBUS_MSG_REQUEST_OFFERS) == 0);
	while ((in = mock_next(m)) && in->u.header.type == VMBUS_MSG_OFFER)
		id = id ? id : in->u.offer.channel_id;
	MOCK_CHECK(id && in && in->u.header.type == VMBUS_MSG_ALLOFFERS_DELIVERED);
	MOCK_CHECK(mock_gpadl(m, id, 1, MOCK_RING_PFN, MOCK_RING_PAGES) == 0);
	MOCK_CHECK(mock_expect(m, VMBUS_MSG_GPADL_CREATED)->u.created.status == 0);
	MOCK_CHECK(mock_open(m, id, 1, 2) == 0);
	MOCK_CHECK(mock_expect(m, VMBUS_MSG_OPEN_RESULT)->u.open_result.status == 0);
	return id;
}
