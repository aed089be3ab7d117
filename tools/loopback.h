/* SPDX-License-Identifier: MIT */
/* What the parts of vmbus-loopback share. */
#ifndef TOOLS_LOOPBACK_H
#define TOOLS_LOOPBACK_H

#include <stdbool.h>
#include <stdint.h>

#include <vmbus/shm-loopback.h>
#include <vsp/storvsc.h>

enum { LOOPBACK_OK = 0, LOOPBACK_FAILED = 1, LOOPBACK_USAGE = 2, LOOPBACK_NO_HOST = 3 };

#define LOOPBACK_DISKS 64u

struct loopback_options {
	const char *socket;
	const char *disks[LOOPBACK_DISKS]; /* host: as on the command line */
	uint32_t disk_count;
	uint32_t guests;
	uint32_t spin_us;
	int ready_fd;
	bool json, once;
	/* guest */
	int lun; /* -1: not given */
	bool has_offset, has_length;
	uint64_t offset, length;
	const char *input, *output;
	const char *rw;
	uint32_t bs, depth;
	double seconds;
};

int loopback_host(const struct loopback_options *options);
int loopback_guest(const struct loopback_options *options, const char *command);

/* "vmbus-loopback: ..." on stderr; returns @status. */
int loopback_fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* -- A guest's session (loopback-session.c) ------------------------------- */

#define SESSION_CHANNELS 64u

struct session {
	struct vmbus_shm_guest *shm;
	struct vmbus_guest guest;
	struct vmbus_guest_channel channels[SESSION_CHANNELS];
	struct vmbus_guest_channel *scsi; /* the first controller; NULL: none offered */
	struct vsp_storvsc storvsc;
	bool open; /* storvsc is in use */
	/* what came last, for those who wait for it */
	bool version_known, all_offered, answered;
	uint32_t version, status;
	int error; /* an exit code: the session is over; the text is printed */
};

/* Connects, negotiates, takes the offers. Returns an exit code. */
int session_start(struct session *s, const struct loopback_options *options);
/* Opens the SCSI controller and initialises it. Returns an exit code. */
int session_open_scsi(struct session *s);
/* Closes, unloads, disconnects. */
void session_end(struct session *s);

/* Waits until something is there: takes a control message, leaves packets alone.
 * session_poll() takes the packets: requests end. session_step() does both. All return false
 * if the session is over (s->error). */
bool session_sleep(struct session *s);
bool session_poll(struct session *s);
bool session_step(struct session *s);

/* -- SCSI (loopback-scsi.c) ----------------------------------------------- */

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

/* -- Commands that take more than a screen (loopback-copy.c, loopback-bench.c) */

int loopback_read(struct session *s, const struct session_disk *disk,
		  const struct loopback_options *options);
int loopback_write(struct session *s, const struct session_disk *disk,
		   const struct loopback_options *options);
int loopback_bench(struct session *s, const struct session_disk *disk,
		   const struct loopback_options *options);

#endif
