/* SPDX-License-Identifier: MIT */
/* A device that answers whatever it is asked, late and in any order, and its driver: the
 * traffic of the bus' conformance tests. Each request carries a number and, if it names
 * guest pages, has them changed in a way that the driver can check. */
#ifndef CONFORMANCE_ECHO_H
#define CONFORMANCE_ECHO_H

#include <vmbus/inproc.h>

#define ECHO_DEPTH 24u /* requests in flight a channel, on either side */
#define ECHO_CHANNELS 16u

struct echo_request { /* the payload of a packet; rubbish follows to make up its length */
	uint64_t number;
	uint32_t key; /* what is added to each byte of the pages named */
	uint32_t bytes;
};

struct echo_answer {
	uint64_t number;
	uint64_t sum; /* of the bytes, as they were */
};

/* The host's end: one for all channels. */
struct echo_device {
	struct vmbus_inproc *bus;
	struct vmbus_channel *channel; /* the primary's, while it is offered */
	struct echo_open {
		struct vmbus_channel *channel; /* NULL: not open */
		uint32_t held_count;
		struct echo_held {
			uint64_t id;
			struct echo_request request;
			struct vmbus_span span;
			uint64_t pfns[8];
		} held[ECHO_DEPTH];
	} opens[ECHO_CHANNELS];
	uint32_t chatter; /* of 256 finished requests so many are followed by a notice */
	bool refuse_open;
	uint32_t opened, closed, released, notices;
	uint16_t subs_wanted; /* offered by the next service of the primary */
};

int echo_offer(struct echo_device *device, struct vmbus_inproc *bus, uint32_t instance);
/* For vmbus_inproc_config.device_step. */
bool echo_device_step(struct echo_device *device);

/* The guest's end: one a channel. */
struct echo_driver {
	struct vmbus_inproc *bus;
	struct vmbus_guest_channel *channel;
	uint32_t to_send; /* requests still to be made */
	uint32_t in_flight;
	uint64_t answered, notices, next_number;
	uint32_t size_max; /* bytes a packet's payload may have */
	bool asleep;       /* reads nothing, and asks for nothing */
	struct echo_sent {
		bool used;
		struct echo_request request;
		uint64_t sum;
		uint32_t pages, offset;
		uint64_t pfns[8];
	} sent[ECHO_DEPTH];
};

void echo_driver_init(struct echo_driver *driver, struct vmbus_inproc *bus,
		      struct vmbus_guest_channel *channel, uint32_t requests);
/* For vmbus_inproc_config.event. */
void echo_driver_event(struct echo_driver *driver);
bool echo_driver_done(const struct echo_driver *driver);
/* What was in flight is lost: the channel was closed or is gone. */
void echo_driver_abandon(struct echo_driver *driver);

#endif
