/* SPDX-License-Identifier: MIT */
/* The connection: version negotiation, unload, pause, and the release of all that
 * a guest had. A new INITIATE_CONTACT is legal at any moment (kexec, crash kernel):
 * it stands for an unload, and its answer waits until that is done. */
#include <errno.h>
#include <string.h>

#include "server.h"

const struct connection_state_row vmbus_connection_states[CONNECTION_STATES] = {
	[CONNECTION_DISCONNECTED] = {"disconnected", "no version negotiated",
				     STATE(CONNECTION_CONNECTED) | STATE(CONNECTION_DISCONNECTING)},
	[CONNECTION_CONNECTED] = {"connected", "a version holds", STATE(CONNECTION_DISCONNECTING)},
	[CONNECTION_DISCONNECTING] = {"disconnecting", "devices are finishing",
				      STATE(CONNECTION_DISCONNECTED)},
};

static void connection_move(struct vmbus_server *server, enum connection_state to)
{
	if (!(vmbus_connection_states[server->state].to & STATE(to)))
		server->bad_moves++;
	server->state = to;
}

/* -- Version negotiation -------------------------------------------------- */

static bool version_known(const struct vmbus_server *server, uint32_t version)
{
	switch (version) {
#define X(constant, major, minor, host) case VMBUS_##constant:
		VMBUS_VERSIONS(X)
#undef X
		return version >= server->config.min_version &&
		       version <= server->config.max_version;
	default:
		return false;
	}
}

/* Where control messages go: the VP the guest names, before 3.0 the first. */
static uint32_t contact_vp(const struct contact *contact)
{
	return contact->version >= VMBUS_V3_0 ? contact->target_vp : 0;
}

static void version_refuse(struct vmbus_server *server, uint32_t vp, uint8_t sint)
{
	struct vmbus_msg_version_response response = {.supported = 0};

	vmbus_queue_add_to(server, vp, sint, VMBUS_MSG_VERSION_RESPONSE, &response,
			   VMBUS_VERSION_RESPONSE_SIZE_BASE);
}

static void version_accept(struct vmbus_server *server, const struct contact *contact,
			   uint8_t connection_state)
{
	struct vmbus_msg_version_response response = {
		.supported = 1,
		.connection_state = connection_state,
		.version_or_connection_id =
			contact->version >= VMBUS_V5_0 ? VMBUS_CONN_MESSAGE : contact->version,
		.features = server->features,
	};
	size_t len = contact->version >= VMBUS_V6_0 ? sizeof(response) :
						      VMBUS_VERSION_RESPONSE_SIZE_BASE;

	vmbus_queue_add_to(server, contact_vp(contact), VMBUS_SINT, VMBUS_MSG_VERSION_RESPONSE,
			   &response, len);
}

/* Before 2.4 interrupts go through a page of the guest's, which must stay. */
static int interrupt_page_take(struct vmbus_server *server, const struct contact *contact)
{
	uint64_t pfn = contact->interrupt_page >> VMBUS_PAGE_SHIFT;
	int ret;

	server->interrupt_page = 0;
	if (contact->version >= VMBUS_V2_4)
		return 0;
	if (contact->interrupt_page == 0 || contact->interrupt_page % VMBUS_PAGE_SIZE != 0)
		return VMBUS_FAULT_BAD_GPA;
	ret = vmbus_mem_pin_pages(server->mem, &pfn, 1);
	if (!ret)
		server->interrupt_page = contact->interrupt_page;
	return ret;
}

void vmbus_interrupt_page_release(struct vmbus_server *server)
{
	uint64_t pfn = server->interrupt_page >> VMBUS_PAGE_SHIFT;

	if (server->interrupt_page)
		vmbus_mem_unpin_pages(server->mem, &pfn, 1);
	server->interrupt_page = 0;
}

/* Why a contact cannot be accepted; 0: it can. */
static int contact_check(struct vmbus_server *server, const struct contact *contact)
{
	if (!version_known(server, contact->version))
		return VMBUS_FAULT_WRONG_VERSION;
	if (contact_vp(contact) >= server->config.vp_count)
		return VMBUS_FAULT_BAD_VP;
	if (contact->monitor_mismatch)
		return VMBUS_FAULT_BAD_MONITOR;
	return interrupt_page_take(server, contact);
}

/* An unknown version is no fault: it is how guests find the newest. The refusal goes
 * to a VP that exists. */
static void contact_answer(struct vmbus_server *server, const struct contact *contact)
{
	int fault = contact_check(server, contact);
	uint32_t vp = fault == VMBUS_FAULT_BAD_VP ? 0 : contact_vp(contact);

	if (fault == VMBUS_FAULT_BAD_MONITOR && contact->version >= VMBUS_V2_4) {
		version_accept(server, contact, 2);
	} else if (fault) {
		version_refuse(server, vp < server->config.vp_count ? vp : 0, VMBUS_SINT);
	} else {
		connection_move(server, CONNECTION_CONNECTED);
		server->version = contact->version;
		server->features = contact->features & server->config.features;
		server->target_vp = contact_vp(contact);
		server->contacts++;
		version_accept(server, contact, 0);
	}
	if (fault != VMBUS_FAULT_WRONG_VERSION)
		vmbus_server_fault(server, fault, 0, "INITIATE_CONTACT");
}

/* The fields that came with 5.0 and 5.1 lie where the interrupt page was, and hold only
 * on connection 4; before, and elsewhere, SINT and VTL are the usual ones. */
static int contact_parse(struct vmbus_server *server, const struct message *m,
			 struct contact *contact)
{
	const struct vmbus_msg_initiate_contact *c = &m->u.contact;
	bool multi = m->connection_id == VMBUS_CONN_MESSAGE_MULTI;
	uint8_t sint = multi && c->version >= VMBUS_V5_0 ? c->u.v5.sint : VMBUS_SINT;
	uint8_t vtl = multi && c->version >= VMBUS_V5_1 ? c->u.v5.vtl : 0;

	contact->version = c->version;
	contact->target_vp = c->target_vp;
	contact->features = c->version >= VMBUS_V6_0 ? c->u.v5.features : 0;
	contact->interrupt_page = c->version < VMBUS_V5_0 ? c->u.interrupt_page : 0;
	contact->monitor_mismatch = !c->monitor_page_parent != !c->monitor_page_child;
	if (contact->features & VMBUS_FEATURE_CLIENT_ID && m->len < sizeof(*c))
		return VMBUS_FAULT_TRUNCATED;
	if (vtl != 0)
		return VMBUS_FAULT_BAD_VTL;
	if (sint == VMBUS_SINT)
		return 0;
	if (sint < VMBUS_SINT_COUNT && c->target_vp < server->config.vp_count) {
		/* the last place is for what is answered when the devices have let go */
		if (!vmbus_queue_has_room(server))
			return -EAGAIN;
		version_refuse(server, c->target_vp, sint);
	}
	return VMBUS_FAULT_BAD_SINT;
}

int vmbus_on_initiate_contact(struct vmbus_server *server, const struct message *m)
{
	struct contact contact;
	int ret = contact_parse(server, m, &contact);

	if (ret)
		return ret;
	server->contact = contact;
	vmbus_connection_release(server, NEXT_CONTACT);
	return 0;
}

/* -- Release -------------------------------------------------------------- */

/* The guest has forgotten what waits in the queue: late messages of the old
 * connection would only confuse the new kernel. */
void vmbus_connection_release(struct vmbus_server *server, enum connection_next next)
{
	vmbus_queue_clear(server);
	server->next = next;
	if (server->state == CONNECTION_DISCONNECTING)
		return;
	connection_move(server, CONNECTION_DISCONNECTING);
	server->offers_requested = false;
	server->all_offers_due = false;
	vmbus_channels_release(server);
}

/* UNLOAD_COMPLETE and the answer to a new contact tell the guest that its memory is
 * its own again. */
void vmbus_connection_settle(struct vmbus_server *server)
{
	struct vmbus_msg_header complete;

	if (server->state != CONNECTION_DISCONNECTING || vmbus_channels_closing(server) ||
	    !TAILQ_EMPTY(&server->ending))
		return;
	vmbus_interrupt_page_release(server);
	connection_move(server, CONNECTION_DISCONNECTED);
	if (server->next == NEXT_UNLOAD_COMPLETE && server->version >= VMBUS_V1_1)
		vmbus_queue_add(server, VMBUS_MSG_UNLOAD_COMPLETE, &complete, sizeof(complete));
	server->version = 0;
	server->features = 0;
	server->target_vp = 0;
	if (server->next == NEXT_CONTACT)
		contact_answer(server, &server->contact);
}

int vmbus_on_unload(struct vmbus_server *server, const struct message *m)
{
	(void)m;
	server->unloads++;
	vmbus_connection_release(server, NEXT_UNLOAD_COMPLETE);
	return 0;
}

/* -- 6.0 ------------------------------------------------------------------ */

/* Monitor pages are not used: no offer says so. Only their form is checked. */
int vmbus_on_modify_connection(struct vmbus_server *server, const struct message *m)
{
	const struct vmbus_msg_modify_connection *modify = &m->u.modify_connection;
	struct vmbus_msg_modify_connection_response response = {.connection_state = 0};
	bool mismatch = !modify->monitor_page_parent != !modify->monitor_page_child;

	response.connection_state = mismatch ? 2 : 0;
	vmbus_queue_add(server, VMBUS_MSG_MODIFY_CONNECTION_RESPONSE, &response, sizeof(response));
	return mismatch ? VMBUS_FAULT_BAD_MONITOR : 0;
}

/* What was said before the answer still goes out before it. */
int vmbus_on_pause(struct vmbus_server *server, const struct message *m)
{
	struct vmbus_msg_header response;

	(void)m;
	vmbus_queue_add(server, VMBUS_MSG_PAUSE_RESPONSE, &response, sizeof(response));
	server->paused = true;
	server->queue_pass = server->queue_count;
	return 0;
}

int vmbus_on_resume(struct vmbus_server *server, const struct message *m)
{
	(void)m;
	server->paused = false;
	server->queue_pass = 0;
	return 0;
}

/* -- hvsock --------------------------------------------------------------- */

/* Nobody listens here: the guest's connect() is refused, in the words of Windows. */
int vmbus_on_tl_connect(struct vmbus_server *server, const struct message *m)
{
	const struct vmbus_msg_tl_connect *connect = &m->u.tl_connect;
	struct vmbus_msg_tl_connect_result result = {
		.endpoint_id = connect->endpoint_id,
		.service_id = connect->service_id,
		.status = 0xc0000236u, /* STATUS_CONNECTION_REFUSED */
	};

	if (server->version >= VMBUS_V4_1)
		vmbus_queue_add(server, VMBUS_MSG_TL_CONNECT_RESULT, &result, sizeof(result));
	return 0;
}
