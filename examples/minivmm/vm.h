/* SPDX-License-Identifier: MIT */
/* minivmm: a small VMM for Linux guests, to be read and copied from.
 *
 *   main.c    the control loop, and the order in which things are made
 *   options.c the command line
 *   vm.c      KVM: memory, vCPUs and their threads, reset
 *   boot.c    bzImage and initrd into memory (64-bit boot protocol)
 *   acpi.c    the tables
 *   ports.c   serial port, clock, power-off, reset
 *   ata.c     an emulated ATA disk, register by register, for comparison
 *   attach.c  all that libvmbus needs: the SynIC, the worker threads
 *   attach-disk.c, attach-nic.c  devices on the bus
 *   stats.c   counters
 *
 * Threads: main's runs the control loop; one a vCPU; one a worker. */
#ifndef MINIVMM_VM_H
#define MINIVMM_VM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/kvm.h>

#include <vmbus/loop.h>

#define MAX_CPUS 8
#define MAX_DISKS 16
#define MAX_NICS 8

/* Guest memory: low RAM from 0, and what does not fit there from 4 GiB on. */
#define LOW_RAM_MAX 0xc0000000ull
#define HIGH_RAM 0x100000000ull
/* Nothing else uses these guest addresses: a window for VMBus' ACPI device. */
#define MMIO_BASE 0xe0000000ull
#define MMIO_LEN 0x08000000ull

#define PORT_CMOS 0x70 /* index, data */
#define PORT_SERIAL 0x3f8
#define PORT_SERIAL_LEN 8
#define PORT_SLEEP 0x600 /* ACPI: sleep control, sleep status, reset */
#define PORT_RESET 0x602
#define PORT_ATA 0x1f0
#define PORT_ATA_LEN 8
#define IRQ_SERIAL 4

enum vm_event { /* why the vCPUs stop; a later one wins */
	VM_NONE,
	VM_RESET,
	VM_POWER_OFF,
	VM_FAILED,
};

struct vcpu {
	struct vm *vm;
	uint32_t index;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool started;
	struct vcpu_state *power_on; /* what a reset puts back */
	uint64_t exits;              /* to user space */
};

struct serial {
	pthread_mutex_t lock;
	uint8_t ier, lcr, mcr, scr, dll, dlm;
	bool tx_pending; /* "transmitter empty" not yet read */
	uint8_t rx[4096]; /* a line of a terminal; more is lost */
	unsigned int rx_head, rx_len;
};

struct vm {
	int kvm_fd, fd;
	uint64_t ram;
	uint8_t *mem; /* all of it, one memfd */
	int mem_fd;
	unsigned int cpus;
	struct vcpu vcpu[MAX_CPUS];
	struct kvm_irqchip ioapic; /* at power-on */

	pthread_mutex_t lock; /* of the next four */
	pthread_cond_t changed;
	enum vm_event event;
	bool paused;
	unsigned int parked;
	int event_fd; /* readable: event changed */

	struct serial serial;
	uint8_t cmos_index;
	struct attach *attach;
	struct ata *ata; /* NULL: none */
	struct vmbus_loop *loop; /* the control loop */
};

/* vm.c. Return 0 or -errno. */
int vm_init(struct vm *vm, uint64_t ram_mib, unsigned int cpus);
void vm_fini(struct vm *vm);
/* Makes the vCPUs; those of attach.c are told. */
int vm_make_vcpus(struct vm *vm);
int vm_run(struct vm *vm);
/* What the guest, or the user, wants. Any thread. */
void vm_request(struct vm *vm, enum vm_event event);
/* Waits until no vCPU runs. Control thread. */
enum vm_event vm_pause(struct vm *vm);
/* vCPUs and interrupt controllers as at power-on; then vm_resume() lets them run. */
int vm_restore(struct vm *vm);
void vm_resume(struct vm *vm);
/* Ends the vCPUs' threads. */
void vm_stop(struct vm *vm);
void vm_irq(struct vm *vm, uint32_t irq, bool level);
/* @len bytes of guest memory at @gpa, NULL if they are not there. */
void *vm_ram(struct vm *vm, uint64_t gpa, uint64_t len);

/* boot.c */
struct boot_image {
	const char *kernel, *initrd, *append;
};
/* Loads everything and sets vCPU 0's registers. */
int boot_load(struct vm *vm, const struct boot_image *image);

/* acpi.c */
uint64_t acpi_build(struct vm *vm); /* the RSDP's address */

/* ports.c */
void ports_init(struct vm *vm);
void ports_access(struct vm *vm, struct kvm_run *run);
void serial_input(struct vm *vm, const uint8_t *bytes, size_t len);

/* ata.c */
int ata_open(struct vm *vm, const char *path);
void ata_close(struct ata *ata);
void ata_access(struct ata *ata, bool out, uint16_t reg, void *data, uint8_t size);

/* attach.c: what a VMM has to do for libvmbus */
struct disk_option {
	const char *path, *format;
	bool readonly, ide;
	uint8_t lun;
};
struct nic_option {
	const char *tap;
	uint8_t mac[6];
};
struct attach_options {
	const char *synic; /* auto, kernel, user */
	const struct disk_option *disks;
	unsigned int disk_count;
	const struct nic_option *nics;
	unsigned int nic_count;
	unsigned int threads; /* workers; channels go round them */
};
int attach_new(struct vm *vm, const struct attach_options *options);
int attach_cpuid(struct vm *vm, struct kvm_cpuid2 *cpuid, unsigned int capacity);
int attach_vcpu(struct vcpu *vcpu);
int attach_exit(struct vcpu *vcpu);  /* > 0 handled, 0 not ours, < 0 -errno */
size_t attach_ssdt(uint8_t *buf, size_t room);
int attach_reset(struct vm *vm);     /* returns when the bus is reset */
int attach_stats(struct vm *vm, const char *path);
void attach_free(struct vm *vm);

/* attach-disk.c. Control thread. */
int attach_add_disk(struct vm *vm, const struct disk_option *disk);
int attach_remove_disk(struct vm *vm, uint8_t lun);

/* attach-nic.c. Control thread, whose loop follows the link. */
int attach_add_nic(struct vm *vm, const struct nic_option *nic);

#endif
