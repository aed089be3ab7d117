/* SPDX-License-Identifier: MIT */
/* Between the files of the in-process fixture. */
#ifndef INPROC_PRIVATE_H
#define INPROC_PRIVATE_H

#include <vmbus/inproc.h>
#include <vmbus/synic.h>

#define INPROC_VPS 8u
#define INPROC_THREADS 8u
#define INPROC_CHANNELS 64u       /* where the caller has none of its own */
#define INPROC_STEPS_MAX 1000000u /* of one run */
#define RING_GAP 8u               /* a ring with no byte left would look empty */

/* A virtual processor of the guest's. */
struct inproc_vp {
	struct vmbus_synic_message *slots;
	struct vmbus_synic_event_flags *slices;
	bool interrupt;      /* raised and not taken yet */
	bool message;        /* the interrupt found one in the slot: it is taken next */
	uint64_t busy_until; /* but not before this step */
};

struct inproc_doorbell {
	uint32_t connection_id;
	int fd; /* -1: free */
};

/* A channel that one of the host's threads serves. */
struct inproc_served {
	struct vmbus_channel *channel;
	uint32_t id, thread;
	bool rung; /* its doorbell was seen, or I/O has finished */
	bool more; /* service said that there is more to do */
};

/* A ring as an onlooker sees it: the shared words, and the packets between them. */
struct inproc_watch {
	struct vmbus_ring_memory mem;
	uint32_t in, out;             /* as last seen */
	uint64_t total_in, total_out; /* bytes since the ring was made */
	uint64_t boundary;            /* the end of the last packet that was read */
	uint64_t packets_in, packets_out;
	uint64_t *ends; /* where the packets in between end: a circle */
	uint32_t ends_size, ends_first, ends_count;
};

/* What the guest knows of the rings of a channel, by the channel's slot. */
struct inproc_rings {
	uint64_t *pfns; /* NULL: none */
	uint32_t pages, gpadl;
	enum { GPADL_SENT, GPADL_ACCEPTED, GPADL_REFUSED, GPADL_GONE } gpadl_state;
	struct vmbus_ring_memory up, down;
	bool watched, started; /* opened; the driver runs */
	bool event;            /* the driver is to run */
	struct inproc_watch up_watch, down_watch;
	uint64_t *owed; /* transaction ids with no completion yet */
	uint32_t owed_count, owed_size;
};

enum page_state {
	PAGE_FREE,
	PAGE_USED,
	PAGE_LIMBO,      /* of the kernel before; the host may still write there */
	PAGE_FIXED,      /* SynIC, interrupt page */
	PAGE_TAKEN_BACK, /* free, and filled with a pattern */
};

/* An answer that the host owes. */
struct inproc_owed {
	uint32_t type;    /* of the answer */
	uint32_t channel; /* 0: of none */
	uint32_t gpadl;
	uint32_t words;  /* GPADL_CREATED: of the page list not sent yet */
	uint32_t target; /* MODIFY_CHANNEL_RESPONSE: the new VP */
};

struct inproc_offered {
	uint8_t state; /* 0 none, 1 offered, 2 rescinded */
	uint8_t vps;   /* that may get its interrupts, a bit each */
	uint16_t subindex;
	struct vmbus_guid interface_id, instance_id;
};

struct inproc_messages {
	uint32_t vp;   /* where messages of this connection go */
	uint32_t only; /* the type of the one message that may come; 0: any */
	uint32_t owed_count, owed_size;
	struct inproc_owed *owed;
	struct inproc_offered offered[VMBUS_CHANNEL_MAX + 1];
	/* what the host posted while it took the guest's message */
	uint32_t deferred_count;
	struct inproc_deferred {
		uint32_t vp;
		size_t len;
		uint8_t bytes[VMBUS_MESSAGE_MAX];
	} deferred[INPROC_VPS * VMBUS_SINT_COUNT];
};

struct vmbus_inproc {
	struct vmbus_inproc_config config;
	struct vmbus_guest_ops guest_ops;
	struct vmbus_guest guest;
	struct vmbus_guest_channel *own_channels;
	struct vmbus_server *server;
	struct vmbus_mem *mem;
	struct vmbus_view *view;

	uint8_t *ram;
	int ram_fd;
	uint32_t pages, low_pages;
	uint8_t *page_states;
	uint64_t interrupt_pfn;

	struct inproc_vp vps[INPROC_VPS];
	struct inproc_rings *rings; /* config.guest.max_channels */
	struct inproc_doorbell *doorbells;
	struct inproc_served *served;
	uint32_t doorbell_count, served_count, served_next;
	bool asleep[INPROC_THREADS];
	bool poll_due, eom, in_message;
	bool bells_due;               /* a doorbell may have been rung since they were read */
	bool device_idle, guest_idle; /* had nothing to do, and nothing has happened since */
	bool limbo;                   /* there are pages of a kernel before */
	bool ending;                  /* nothing is looked at any more */
	bool all_offered;             /* ALLOFFERS_DELIVERED was taken */

	struct inproc_messages messages;
	uint64_t random, steps;
	char violation[400];
};

/* inproc-memory.c */
int vmbus_inproc_memory_init(struct vmbus_inproc *bus);
void vmbus_inproc_memory_fini(struct vmbus_inproc *bus);
int vmbus_inproc_memory_alloc(struct vmbus_inproc *bus, uint32_t pages, uint64_t *pfns,
			      enum page_state state);
/* In a row if there are so many, as guests' rings are as a rule. */
int vmbus_inproc_memory_alloc_run(struct vmbus_inproc *bus, uint32_t pages, uint64_t *pfns);
void vmbus_inproc_memory_limbo(struct vmbus_inproc *bus);
void vmbus_inproc_memory_limbo_end(struct vmbus_inproc *bus);
void vmbus_inproc_memory_check(struct vmbus_inproc *bus);

/* inproc-messages.c: the order of control messages */
void vmbus_inproc_messages_posted(struct vmbus_inproc *bus, const void *message, size_t len);
void vmbus_inproc_messages_answered(struct vmbus_inproc *bus, uint32_t vp, const void *message,
				    size_t len);
void vmbus_inproc_messages_idle(struct vmbus_inproc *bus);
void vmbus_inproc_messages_signal(struct vmbus_inproc *bus, uint32_t vp, uint32_t flag);

/* inproc-rings.c: what lies in the rings */
int vmbus_inproc_rings_watch(struct inproc_rings *rings);
void vmbus_inproc_rings_unwatch(struct inproc_rings *rings);
void vmbus_inproc_rings_check(struct vmbus_inproc *bus, uint32_t slot);

/* inproc-check.c: after every step */
void vmbus_inproc_check(struct vmbus_inproc *bus);
struct inproc_served *vmbus_inproc_served_find(struct vmbus_inproc *bus, uint32_t id);

/* inproc-step.c */
void vmbus_inproc_doorbell_poll(struct vmbus_inproc *bus, struct inproc_served *served);
void vmbus_inproc_trace(struct vmbus_inproc *bus, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* inproc-guest.c */
void vmbus_inproc_guest_takes(struct vmbus_inproc *bus, const void *message);

/* inproc.c */
int vmbus_inproc_guest_boot(struct vmbus_inproc *bus, const struct vmbus_guest_config *config);
int vmbus_inproc_run_until(struct vmbus_inproc *bus,
			   bool (*until)(struct vmbus_inproc *bus, const void *arg),
			   const void *arg);
void vmbus_inproc_drivers_start(struct vmbus_inproc *bus);
uint32_t vmbus_inproc_slot(const struct vmbus_inproc *bus,
			   const struct vmbus_guest_channel *channel);

#endif
