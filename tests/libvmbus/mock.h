/* SPDX-License-Identifier: MIT */
/* A backend, a device and a guest's bookkeeping for tests of the server. Everything
 * happens in one thread and only when the test says so. Each message to the guest
 * is checked against what the guest knows: ids are unique, nothing is answered that
 * was not asked, nothing is said of a channel after its RESCIND but what is owed.
 * What breaks a rule ends the program. */
#ifndef TESTS_MOCK_H
#define TESTS_MOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmbus/server.h>

#define MOCK_PAGES      2048u /* of guest memory, from page 0 on */
#define MOCK_CHANNELS   64u
#define MOCK_TEARDOWNS  4096u
#define MOCK_INBOX      4096u
#define MOCK_RING_PFN   16u
#define MOCK_RING_PAGES 8u

struct mock_message {
	uint32_t vp;
	uint8_t sint, len;
	union {
		uint8_t bytes[VMBUS_MESSAGE_MAX];
		struct vmbus_msg_header header;
		struct vmbus_msg_offer offer;
		struct vmbus_msg_channel channel;
		struct vmbus_msg_open_result open_result;
		struct vmbus_msg_gpadl_created created;
		struct vmbus_msg_gpadl_torndown torndown;
		struct vmbus_msg_version_response version;
		struct vmbus_msg_modify_channel_response modified;
		struct vmbus_msg_modify_connection_response connection;
		struct vmbus_msg_tl_connect_result tl_result;
	} u;
};

/* What the guest knows of a channel id. */
struct mock_known {
	bool held; /* from the OFFER to our RELID_RELEASED */
	bool rescinded;
	bool wild; /* released by a guess, before its OFFER came: no book is kept */
	struct vmbus_msg_offer offer;
	unsigned int opens_owed, modifies_owed;
};

struct mock_teardown { /* GPADL_TORNDOWN is owed, or may come (cancelled) */
	uint32_t channel_id, handle;
	bool cancelled;
	bool crossed; /* asked when the RESCIND was on its way */
};

/* What a test's device does, and what was done to it. */
struct mock_device {
	int open_result;
	int stop_result;        /* -EINPROGRESS: I/O is in flight */
	int sub_stop_result;    /* of sub-channels */
	int service_result;     /* 0: all packets are taken and echoed; -EAGAIN: once */
	unsigned int in_flight; /* requests that the next service finishes */
	bool revoke_in_closed;
	bool progress; /* tells of each packet */
	struct vmbus_channel *channel;
	struct vmbus_gpadl *held; /* a reference, taken by the test */
	bool let_go;              /* of @held, when asked */
	unsigned int opens, closes, services, stops, teardowns, releases, packets;
	unsigned int budget; /* of the last service */
	struct mock *mock;
};

struct mock {
	struct vmbus_server_config config;
	struct vmbus_server *server;
	struct vmbus_mem *mem;
	uint8_t *ram;
	int ram_fd;

	unsigned int slot; /* messages that the guest's slot takes before it is busy */
	struct mock_message inbox[MOCK_INBOX];
	unsigned int inbox_count, inbox_read;

	bool trace; /* MOCK_TRACE is in the environment: each message to stderr */
	bool woken;
	struct vmbus_channel *served[MOCK_CHANNELS];
	struct {
		uint32_t connection_id;
		int fd;
	} doorbells[MOCK_CHANNELS];
	unsigned int doorbell_count;
	int doorbell_result; /* of the next doorbell_add */
	void (*on_signal)(struct mock *m);
	unsigned int signals, logs;
	uint32_t signal_vp, signal_flag;
	uint64_t signal_page;

	/* the guest's bookkeeping */
	uint32_t version, features;       /* @features: to ask for at 6.0 */
	struct mock_known *known, *spare; /* by id */
	uint32_t known_top;               /* none is used above */
	struct mock_teardown teardowns[MOCK_TEARDOWNS];
	unsigned int teardown_count, created_owed, contacts_owed, unloads_owed;
	bool all_offers_owed, wild; /* @wild: a channel is */
};

extern const uint32_t mock_versions[]; /* all there are, ascending */
#define MOCK_VERSIONS 11u

/* Fills in the rest of m->config (from VMBUS_SERVER_CONFIG_INIT, to be changed before) and
 * makes the server. */
void mock_config(struct mock *m);
void mock_start(struct mock *m);
void mock_init(struct mock *m); /* both */
void mock_init_with(struct mock *m, struct mock_device *device); /* and offers a new device */
void mock_fini(struct mock *m); /* shuts down, checks that nothing is left, frees */

/* The VM is reset: the guest has forgotten everything. */
void mock_reset(struct mock *m);

/* mock-guest.c: a message to the guest is checked against the books. */
void mock_told(struct mock *m, const struct mock_message *in);

/* A message of the guest's. Returns what the server says. */
int mock_post(struct mock *m, uint32_t connection_id, const void *message, size_t len);
int mock_send(struct mock *m, uint32_t type, void *message, size_t len);

/* The next message the guest was given; NULL: none. mock_expect() ends the program if it
 * is of another type. */
const struct mock_message *mock_next(struct mock *m);
const struct mock_message *mock_expect(struct mock *m, uint32_t type);
void mock_expect_none(struct mock *m);

/* The guest's slot takes @n more. */
void mock_slot_free(struct mock *m, unsigned int n);

/* Serves every open channel once and polls, until nothing moves. */
void mock_run(struct mock *m);
/* One round of it. Returns whether there was something to do. */
bool mock_step(struct mock *m);

/* Everything asked was answered; call it when nothing is in progress. */
void mock_check_settled(struct mock *m);

/* -- Shorthands: each ends the program if it does not go as usual ----------- */

/* A SCSI interface; the channel goes to device->channel, unless @channel is not NULL. Return
 * what vmbus_server_offer() says. */
int mock_offer(struct mock *m, struct mock_device *device, uint8_t instance,
	       struct vmbus_channel **channel);
int mock_offer_as(struct mock *m, struct mock_device *device, struct vmbus_guid interface_id,
		  uint16_t instance, uint32_t order, struct vmbus_channel **channel);
const struct vmbus_channel_ops *mock_device_ops(void);
int mock_contact(struct mock *m, uint32_t version);
void mock_connect(struct mock *m, uint32_t version); /* until connected */
int mock_simple(struct mock *m, uint32_t type);      /* header only */
int mock_channel(struct mock *m, uint32_t type, uint32_t channel_id);
/* GPADL_HEADER and bodies for one range of pages from @pfn on. Returns the last result. */
int mock_gpadl(struct mock *m, uint32_t channel_id, uint32_t handle, uint64_t pfn, uint32_t pages);
int mock_teardown(struct mock *m, uint32_t channel_id, uint32_t handle);
int mock_open(struct mock *m, uint32_t channel_id, uint32_t handle, uint32_t vp);
int mock_modify(struct mock *m, uint32_t channel_id, uint32_t vp);
/* Connects, takes the offers, opens the first channel: 8 pages of rings from page 16 on,
 * handle 1. Returns its id. */
uint32_t mock_open_first(struct mock *m, uint32_t version);

_Noreturn void mock_fail(const char *file, int line, const char *what);
#define MOCK_CHECK(condition)                                      \
	do {                                                       \
		if (!(condition))                                  \
			mock_fail(__FILE__, __LINE__, #condition); \
	} while (0)

#endif
