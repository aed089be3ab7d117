/* SPDX-License-Identifier: MIT */
/* A guest without an operating system: 64-bit, identity-mapped, one vCPU. It runs
 * the library's guest role on a real SynIC, under any VMM that boots a bzImage.
 *
 *   main.c     what to run is a word of the command line
 *   cpu.c      MSRs, hypercalls, SynIC, interrupt, console
 *   bus.c      connection and channel, by libvmbus' guest role
 *   journey.c  everything a good guest does, each step checked
 *   hostile.c  everything it should not do
 *   cost.c     the same writes through an ATA disk and through storvsc */
#ifndef KVM_GUEST_H
#define KVM_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmbus/guest.h>
#include <vmbus/synic.h>
#include <vsp/storvsc.h>

#define SINT_VECTOR 0xf3u
#define PAGE 4096u
#define SECTOR 512u

#define MSR_GUEST_OS_ID 0x40000000u
#define MSR_HYPERCALL 0x40000001u
#define MSR_VP_INDEX 0x40000002u
#define MSR_TIME_REF_COUNT 0x40000020u
#define MSR_SCONTROL 0x40000080u
#define MSR_SVERSION 0x40000081u
#define MSR_SIEFP 0x40000082u
#define MSR_SIMP 0x40000083u
#define MSR_EOM 0x40000084u
#define MSR_SINT0 0x40000090u

/* -- cpu.c ---------------------------------------------------------------- */

extern volatile uint32_t sint_count, gp_count;

static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

void cpuid(uint32_t leaf, uint32_t regs[4]);
/* Return false if the access faulted. */
bool msr_write(uint32_t index, uint64_t value);
bool msr_read(uint32_t index, uint64_t *value);
uint16_t hypercall(uint64_t control, uint64_t param);

void interrupts_start(void);
bool hypercall_start(void);
bool synic_start(void);
void synic_stop(void);
/* Sleeps until an interrupt of the SINT came since @seen, which is brought up to
 * date. */
void sint_wait(uint32_t *seen);

extern uint8_t simp[PAGE], siefp[PAGE], hypercall_page[PAGE];

void print(const char *text);
void print_number(uint64_t value);
/* "ok NAME", or "not ok NAME" with the two values. */
bool expect(const char *name, uint64_t got, uint64_t want);
void power_off(void) __attribute__((noreturn));

/* -- bus.c ---------------------------------------------------------------- */

struct bus {
	struct vmbus_guest guest;
	struct vmbus_guest_channel channels[8];
	struct vmbus_guest_channel *disk; /* the first SCSI controller's channel */
	uint32_t version, offers;
	uint32_t gpadl, gpadl_status, open_status;
	bool connected, all_offered, gpadl_created, gpadl_torndown, opened, unloaded;
	uint32_t seen; /* interrupts */
	uint32_t flags; /* event flags taken */
	struct vsp_storvsc storvsc;
};
extern struct bus bus;

/* Runs the bus until *@done; false if many interrupts came without it. */
bool bus_wait(const volatile bool *done);
bool bus_connect(void);
bool bus_open(void);
bool bus_close(void);

/* One SCSI command with @len bytes of @data; true if its status is good. */
bool scsi(uint8_t lun, const uint8_t *cdb, uint8_t cdb_len, enum vsp_srb_direction direction, void *data,
	  uint32_t len, struct vsp_storvsc_request *request);
bool scsi_write(uint8_t lun, uint32_t lba, uint16_t sectors, void *data);
bool scsi_read(uint8_t lun, uint32_t lba, uint16_t sectors, void *data);
bool scsi_flush(uint8_t lun);

void journey_run(void);
/* A reset with the disk open, then the journey: RAM tells that it is the second time. */
void reset_run(void);
void hostile_run(bool kernel_synic);
void cost_run(bool ata, bool storvsc);
void writes_run(void);

#endif
