/* SPDX-License-Identifier: MIT */
/* What the parts of vmbus-loopback share. */
#ifndef TOOLS_LOOPBACK_H
#define TOOLS_LOOPBACK_H

#include <stdbool.h>
#include <stdint.h>

#include <vmbus/shm-loopback.h>
#include <vsp/nic.h>
#include <vsp/storvsc.h>

enum { LOOPBACK_OK = 0, LOOPBACK_FAILED = 1, LOOPBACK_USAGE = 2, LOOPBACK_NO_HOST = 3 };

#define LOOPBACK_DISKS 64u
#define LOOPBACK_NICS 16u

struct loopback_options {
	const char *socket;
	const char *disks[LOOPBACK_DISKS], *nics[LOOPBACK_NICS]; /* host: as on the command line */
	uint32_t disk_count, nic_count;
	uint32_t guests;
	uint32_t spin_us;
	int ready_fd;
	bool json, once;
	/* guest */
	int lun; /* -1: not given */
	bool has_length;
	uint64_t offset, length;
	const char *input, *output;
	const char *rw;
	uint32_t bs, depth;
	double seconds;
	const char *tap;
	uint32_t index;
};

int loopback_host(const struct loopback_options *options);
int loopback_guest(const struct loopback_options *options, const char *command);

/* "vmbus-loopback: ..." on stderr; returns @status. */
int loopback_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* -- Words of the command line (loopback-spec.c) --------------------------- */

#define LOOPBACK_IF_NAME 15u
#define LOOPBACK_QUEUES 64u

/* Bytes with k, M, G or T behind; a number within bounds. False: it is none. */
bool loopback_bytes(const char *text, uint64_t *value);
bool loopback_number(const char *text, uint32_t least, uint32_t most, uint32_t *value);
/* Cuts the next comma-separated part off *@rest, which becomes NULL after the last; ",," is a
 * comma in it. */
char *loopback_spec_part(char **rest);

struct loopback_tap {
	bool host; /* tap=IF, and mac= is possible; else just IF */
	char *name, *text; /* text: the caller frees it */
	uint32_t mtu;      /* 0: not given */
	uint32_t queues;
	bool has_mac;
	uint8_t mac[6];
};
/* Fills @tap, but for host. Returns an exit code. */
int loopback_tap_parse(const char *option, const char *spec, struct loopback_tap *tap);
/* Opens it, up, and follows its link on @loop. Returns an exit code (loopback-nic.c). */
int loopback_tap_open(const struct loopback_tap *spec, struct vmbus_loop *loop, struct vsp_nic **tap);

/* -- A guest's session (loopback-session.c) ------------------------------- */

#define SESSION_CHANNELS 256u

/* An open channel. Zeroed at first; may be opened again after it was closed. */
struct session_port {
	struct vmbus_guest_channel *channel; /* NULL: closed */
	/* Takes what the host sent. Returns 0, or the ring's fault. */
	int (*poll)(struct session_port *port);
	void *user;
	/* the rings: kept for the next opening */
	uint32_t pages;
	uint64_t *pfns;
	struct vmbus_ring_memory up, down;
	struct session_port *next;
};

struct session {
	struct vmbus_shm_guest *shm;
	struct vmbus_guest guest;
	struct vmbus_guest_channel channels[SESSION_CHANNELS];
	struct session_port *ports; /* that are open */
	struct session_port scsi;
	struct vsp_storvsc storvsc;
	/* what came last, for those who wait for it */
	bool version_known, all_offered, answered;
	uint32_t version, status;
	void *user; /* the command's */
	int error; /* an exit code: the session is over; the text is printed */
};

/* Connects with so many bytes of guest memory, negotiates, takes the offers. Returns an exit
 * code. */
int session_start(struct session *s, const struct loopback_options *options, uint64_t memory);
/* Unloads, disconnects. */
void session_end(struct session *s);
/* The session is over, for this reason; returns its exit code. */
int session_fail(struct session *s, int code, const char *text);

/* Waits until something is there: takes a control message, leaves packets alone.
 * session_poll() takes the packets. session_step() does both. All return false if the session
 * is over (s->error). */
bool session_sleep(struct session *s);
bool session_poll(struct session *s);
bool session_step(struct session *s);
/* Like session_sleep(), but does not wait: false if nothing is there; then the interrupt
 * tells of what comes next. */
bool session_look(struct session *s);
/* Waits until *@flag; for the answer to what was posted with the result @ret. Return an exit
 * code. */
int session_wait(struct session *s, const bool *flag);
int session_answer(struct session *s, int ret, const char *what);

/* The offer after @last (NULL: the first), by channel id. NULL: that was the last. */
struct vmbus_guest_channel *session_next(struct session *s, const struct vmbus_guest_channel *last);
/* The @index-th device of its kind, NULL: there is none. */
struct vmbus_guest_channel *session_find(struct session *s, struct vmbus_guid interface, uint32_t index);
/* Hands guest pages to the host, takes them back. Return an exit code. */
int session_gpadl(struct session *s, struct vmbus_guest_channel *channel, const uint64_t *pfns,
		  uint32_t pages, uint32_t *gpadl);
int session_gpadl_drop(struct session *s, struct vmbus_guest_channel *channel, uint32_t gpadl);
/* Opens with rings of @pages each direction. Set port->poll before anything can come. Return
 * an exit code. */
int session_port_open(struct session *s, struct session_port *port,
		      struct vmbus_guest_channel *channel, uint32_t pages);
int session_port_close(struct session *s, struct session_port *port);
void session_port_free(struct session_port *port);

/* -- SCSI (loopback-scsi.c) ----------------------------------------------- */

/* Opens the SCSI controller and initialises it. Returns an exit code. */
int session_open_scsi(struct session *s);
void session_close_scsi(struct session *s);

/* Guest pages for a transfer. */
struct session_buffer {
	uint64_t *pfns;
	uint8_t *data; /* the pages are neighbours */
	uint32_t size;
};
bool session_buffer_new(struct session *s, uint32_t size, struct session_buffer *buffer);
void session_buffer_free(struct session_buffer *buffer);

struct session_disk {
	uint8_t lun;
	uint64_t blocks;
	uint32_t block_size, physical_size;
	bool read_only, thin;
	char vendor[9], product[17], serial[65];
};

/* Runs @request to its end. Returns an exit code; failures are printed. */
int session_execute(struct session *s, struct vsp_storvsc_request *request, const char *what);
/* What is at @lun. Returns an exit code. */
int session_disk_get(struct session *s, uint8_t lun, struct session_disk *disk);
/* LUNs that the host reports. Returns their number, or -1 (s->error). */
int session_luns(struct session *s, uint8_t luns[256]);

/* A READ(16) or WRITE(16) of @blocks at @lba. */
void session_rw(struct vsp_storvsc_request *request, const struct session_disk *disk, bool write,
		uint64_t lba, uint32_t blocks, const struct session_buffer *buffer);
/* Prints what went wrong with a finished request. Returns true if it went well. */
bool session_request_ok(const struct vsp_storvsc_request *request, const char *what);

/* -- Commands that take more than a screen (loopback-copy.c, -bench.c, -bridge.c) */

int loopback_read(struct session *s, const struct session_disk *disk,
		  const struct loopback_options *options);
int loopback_write(struct session *s, const struct session_disk *disk,
		   const struct loopback_options *options);
int loopback_bench_check(const struct loopback_options *options); /* before anybody is bothered */
int loopback_bench(struct session *s, const struct session_disk *disk,
		   const struct loopback_options *options);
int loopback_bridge(struct session *s, const struct loopback_options *options);

#endif
