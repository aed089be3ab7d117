/* SPDX-License-Identifier: MIT */
/* Host and guest in one process, one step at a time: what tests of the bus and of
 * devices run on. Guest RAM is a memfd, SynIC pages lie in it with their real layout,
 * and nothing happens by itself: a message waits in its slot, an event flag in its
 * page, a doorbell in its eventfd until a step delivers it. Which step comes next is
 * chosen by a random number generator, so that a seed names an interleaving and
 * replays it.
 *
 * After every step the protocol's safety properties are checked:
 *
 *   rings         indices in range, multiples of 8, never going back or past the other;
 *                 as many packets read as were written, whole ones
 *   transactions  a completion for each request that asked for one, once
 *   signals       nobody sleeps in front of packets, or of the space it waits for,
 *                 without a doorbell, flag or interrupt under way
 *   messages      each request is answered once and to the point; offers, rescinds and
 *                 ids come in a legal order; nothing waits for a slot that is free
 *   memory        pages that the guest took back are not written to
 *
 * The first violation stops everything; vmbus_inproc_violation() tells what and when.
 *
 * Virtual time: a step is a microsecond. One thread. */
#ifndef VMBUS_INPROC_H
#define VMBUS_INPROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmbus/guest.h>
#include <vmbus/server.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vmbus_inproc;

/* Ways in which guests differ that the guest role itself does not know. */
#define VMBUS_INPROC_PAD_MESSAGES 0x1u /* post 240 bytes whatever the message (UEFI) */
#define VMBUS_INPROC_CONNECTION_1 0x2u /* never use connection 4 (UEFI) */
#define VMBUS_INPROC_DIRECT 0x4u       /* never mask interrupts of channels (Linux' ICs) */
#define VMBUS_INPROC_PAGED 0x8u        /* rings lie scattered, and are reached page by page */
/* The guest breaks the rules: messages are not checked, faults of the server are no violation. */
#define VMBUS_INPROC_HOSTILE 0x10u

/* All callbacks get @user. They come from inside steps. */
struct vmbus_inproc_config {
	size_t size; /* sizeof this struct */
	uint64_t seed;
	uint64_t memory;   /* bytes of guest RAM, 1 MiB to 1 GiB; half of it above 4 GiB */
	uint32_t vp_count; /* 1 to 8 */
	uint32_t threads;  /* that serve channels, 1 to 8 */
	uint32_t flags;    /* VMBUS_INPROC_* */

	/* Faults to inject. */
	uint32_t push_back; /* of 256 posts so many are pushed back (0x13); < 256 */
	uint32_t slot_busy; /* the guest leaves a message in its slot for up to so many steps */
	uint32_t spurious;  /* of 256 steps so many ring a doorbell or interrupt for nothing */

	struct vmbus_server_config server; /* ops, opaque, mem, vp_count are filled in */

	/* ops may be NULL; post, signal and opaque are filled in: its callbacks get the
	 * struct vmbus_inproc as opaque. channels NULL: 64 of the fixture's; 200 at most.
	 * interrupt_page, interrupt_memory are filled in. */
	struct vmbus_guest_config guest;

	void *user;
	/* The guest's driver: read all that is in channel->rx. Interrupts are armed
	 * afterwards. May be NULL: nothing is read. */
	void (*event)(void *user, struct vmbus_guest_channel *channel);
	/* A step of the guest's own. Returns false if there is nothing to do now. May be NULL. */
	bool (*guest_step)(void *user);
	/* Finishes one I/O of the device's. Returns false if none is in flight; after true the
	 * channels are served. May be NULL. */
	bool (*device_step)(void *user);
	/* One line a step, for people. May be NULL. */
	void (*trace)(void *user, const char *line);
};
#define VMBUS_INPROC_CONFIG_INIT                                                         \
	{ .size = sizeof(struct vmbus_inproc_config), .memory = 16u << 20, .vp_count = 1, \
	  .threads = 1, .server = VMBUS_SERVER_CONFIG_INIT, .guest = VMBUS_GUEST_CONFIG_INIT }

/* Returns 0; -EINVAL (a limit above, or what the server or the guest role says of its part);
 * -ENOMEM; or the errno of memfd_create() and mmap(). */
VMBUS_API int vmbus_inproc_new(const struct vmbus_inproc_config *config, struct vmbus_inproc **bus)
	VMBUS_MUST_CHECK;

/* Ends: shuts the server down, lets everything finish and looks at what only the end
 * shows (answers and completions still owed, pages written after they were taken back).
 * Returns 0 or -EPROTO (a violation: ask vmbus_inproc_violation() before freeing). */
VMBUS_API int vmbus_inproc_finish(struct vmbus_inproc *bus) VMBUS_MUST_CHECK;
/* After vmbus_inproc_finish(), or any time without looking at the end. NULL is fine. */
VMBUS_API void vmbus_inproc_free(struct vmbus_inproc *bus);

VMBUS_API struct vmbus_server *vmbus_inproc_server(struct vmbus_inproc *bus);
VMBUS_API struct vmbus_guest *vmbus_inproc_guest(struct vmbus_inproc *bus);
VMBUS_API struct vmbus_mem *vmbus_inproc_mem(struct vmbus_inproc *bus);
VMBUS_API void *vmbus_inproc_user(struct vmbus_inproc *bus);

/* -- Stepping ------------------------------------------------------------- */

/* One step of the host's, of the guest's, or of either. Return false if there is nothing
 * to do, or something was violated. */
VMBUS_API bool vmbus_inproc_step_host(struct vmbus_inproc *bus);
VMBUS_API bool vmbus_inproc_step_guest(struct vmbus_inproc *bus);
VMBUS_API bool vmbus_inproc_step(struct vmbus_inproc *bus);

/* Steps until @until (NULL: never) returns true. Returns 0; -EAGAIN: nothing is left to do
 * and it still does not; -ETIMEDOUT: a million steps were not enough; -EPROTO: a
 * violation. */
VMBUS_API int vmbus_inproc_run(struct vmbus_inproc *bus, bool (*until)(void *user)) VMBUS_MUST_CHECK;

/* Steps until nothing is left to do. Returns 0, -ETIMEDOUT or -EPROTO; a request that is
 * still not answered then is a violation. */
VMBUS_API int vmbus_inproc_settle(struct vmbus_inproc *bus) VMBUS_MUST_CHECK;

/* The violation, with seed and step, or NULL. Lives as long as the bus. */
VMBUS_API const char *vmbus_inproc_violation(const struct vmbus_inproc *bus);
VMBUS_API uint64_t vmbus_inproc_steps(const struct vmbus_inproc *bus);

/* For scripts: a number below @n (> 0) from the same generator. */
VMBUS_API uint32_t vmbus_inproc_random(struct vmbus_inproc *bus, uint32_t n);

/* Says that something was violated, as the checks do; the first one counts. */
VMBUS_API void vmbus_inproc_fail(struct vmbus_inproc *bus, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* -- Guest memory --------------------------------------------------------- */

/* Takes @pages pages from anywhere in guest RAM, zeroed. Returns 0 or -ENOMEM. */
VMBUS_API int vmbus_inproc_alloc(struct vmbus_inproc *bus, uint32_t pages, uint64_t *pfns) VMBUS_MUST_CHECK;
/* Gives them back; whoever writes there now violates. What was not taken is left alone. */
VMBUS_API void vmbus_inproc_release(struct vmbus_inproc *bus, uint32_t pages, const uint64_t *pfns);
/* The page as the guest sees it, NULL if it is not RAM. */
VMBUS_API void *vmbus_inproc_page(struct vmbus_inproc *bus, uint64_t pfn);

/* -- A guest's usual ways, each run to its end ---------------------------- */

/* All return 0; -EAGAIN (the host refused, or does not answer); -ETIMEDOUT; -EPROTO; or
 * what the guest role returned. */

/* Negotiates, asks for offers and waits for the last. */
VMBUS_API int vmbus_inproc_connect(struct vmbus_inproc *bus) VMBUS_MUST_CHECK;
/* Makes rings of so many pages each (control page included), most of them in a row, hands
 * them over, opens. */
VMBUS_API int vmbus_inproc_open(struct vmbus_inproc *bus, struct vmbus_guest_channel *channel,
				uint32_t upstream_pages, uint32_t downstream_pages,
				uint32_t target_vp) VMBUS_MUST_CHECK;
/* Closes, takes the rings back. */
VMBUS_API int vmbus_inproc_close(struct vmbus_inproc *bus, struct vmbus_guest_channel *channel)
	VMBUS_MUST_CHECK;
/* After a rescind: lets go of the rings and of the channel. */
VMBUS_API int vmbus_inproc_release_channel(struct vmbus_inproc *bus, struct vmbus_guest_channel *channel)
	VMBUS_MUST_CHECK;
/* Unloads; all rings are taken back. */
VMBUS_API int vmbus_inproc_unload(struct vmbus_inproc *bus) VMBUS_MUST_CHECK;

/* The guest's kernel is replaced, at whatever moment this is: nothing is closed, slots are
 * cleared, and the guest begins anew with @config (NULL: as before; filled in as above). Memory
 * of the old kernel is taken back when the host has answered the new one's first
 * message. */
VMBUS_API int vmbus_inproc_kexec(struct vmbus_inproc *bus, const struct vmbus_guest_config *config)
	VMBUS_MUST_CHECK;

/* In steps of one's own: rings made and handed over (-> the GPADL's handle), and the open
 * that follows ops->gpadl_created(). */
VMBUS_API int vmbus_inproc_rings_new(struct vmbus_inproc *bus, struct vmbus_guest_channel *channel,
				     uint32_t upstream_pages, uint32_t downstream_pages,
				     uint32_t *gpadl) VMBUS_MUST_CHECK;
VMBUS_API int vmbus_inproc_rings_open(struct vmbus_inproc *bus, struct vmbus_guest_channel *channel,
				      uint32_t target_vp) VMBUS_MUST_CHECK;
/* The rings of a channel are the guest's again: after ops->gpadl_torndown(), or when a
 * rescinded channel was released. */
VMBUS_API void vmbus_inproc_rings_free(struct vmbus_inproc *bus, struct vmbus_guest_channel *channel);

/* The driver of @channel runs soon, as after an interrupt: when it has something to read or
 * waits for space that was made by others. */
VMBUS_API void vmbus_inproc_kick(struct vmbus_inproc *bus, struct vmbus_guest_channel *channel);

/* The guest writes rubbish into this channel's rings: they are not checked any more. */
VMBUS_API void vmbus_inproc_distrust(struct vmbus_inproc *bus, struct vmbus_guest_channel *channel);

#ifdef __cplusplus
}
#endif
#endif
