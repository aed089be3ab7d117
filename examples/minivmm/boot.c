/* SPDX-License-Identifier: MIT */
/* A Linux bzImage by the 64-bit boot protocol (Documentation/arch/x86/boot.rst of
 * the kernel): the kernel is entered in long mode, on identity-mapped pages, with
 * the address of struct boot_params in RSI. */
#define _GNU_SOURCE
#include <asm/bootparam.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vm.h"

#define ADDR_GDT 0x6000ull
#define ADDR_PARAMS 0x7000ull
#define ADDR_PAGES 0x9000ull /* six pages of page tables */
#define ADDR_COMMAND_LINE 0x20000ull
#define COMMAND_LINE_MAX 4096u
#define LOW_END 0x9fc00ull
#define ISA_END 0x100000ull
#define ADDR_BIOS_ENTRY 0xffff0ull

#define ENTRY_64 0x200 /* behind the start of the protected-mode kernel */
#define GDT_CS 0x10
#define GDT_DS 0x18
#define PAGE_PRESENT_WRITE 3ull
#define PAGE_HUGE 0x80ull
#define CR0_PE 0x1ull
#define CR0_ET 0x10ull
#define CR0_NE 0x20ull
#define CR0_PG 0x80000000ull
#define CR4_PAE 0x20ull
#define EFER_LME 0x100ull
#define EFER_LMA 0x400ull

struct file {
	uint8_t *data;
	size_t len;
};

static int file_map(const char *path, struct file *file)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;

	if (fd < 0 || fstat(fd, &st) < 0) {
		err = -errno;
	} else {
		file->len = (size_t)st.st_size;
		file->data = mmap(NULL, file->len, PROT_READ, MAP_PRIVATE, fd, 0);
		if (file->data == MAP_FAILED)
			err = -errno;
	}
	if (err)
		fprintf(stderr, "minivmm: %s: %s\n", path, strerror(-err));
	if (fd >= 0)
		close(fd);
	return err;
}

static int refuse(const char *path, const char *why)
{
	fprintf(stderr, "minivmm: %s: %s\n", path, why);
	return -EINVAL;
}

static int kernel_load(struct vm *vm, const char *path, struct boot_params *params, uint64_t *entry)
{
	struct setup_header *header = &params->hdr;
	struct file file;
	size_t setup;
	void *to;
	int err = file_map(path, &file);

	if (err)
		return err;
	if (file.len < 0x1000 || memcmp(file.data + 0x202, "HdrS", 4) != 0)
		return refuse(path, "not a bzImage");
	memcpy(header, file.data + 0x1f1, sizeof(*header));
	if (header->version < 0x20c || !(header->xloadflags & XLF_KERNEL_64))
		return refuse(path, "no 64-bit entry point");
	setup = ((size_t)(header->setup_sects ? header->setup_sects : 4) + 1) * 512;
	if (setup >= file.len)
		return refuse(path, "file ends early");
	to = vm_ram(vm, header->pref_address, header->init_size);
	if (!to || header->init_size < file.len - setup)
		return refuse(path, "does not fit into memory");
	memcpy(to, file.data + setup, file.len - setup);
	*entry = header->pref_address + ENTRY_64;
	munmap(file.data, file.len);
	return 0;
}

/* As high as the kernel allows. */
static int initrd_load(struct vm *vm, const char *path, struct boot_params *params)
{
	uint64_t low = vm->ram < LOW_RAM_MAX ? vm->ram : LOW_RAM_MAX, end, start;
	struct file file;
	void *to;
	int err = file_map(path, &file);

	if (err)
		return err;
	end = (uint64_t)params->hdr.initrd_addr_max + 1;
	if (end > low)
		end = low;
	start = file.len < end ? (end - file.len) & ~0xfffull : 0;
	to = vm_ram(vm, start, file.len);
	if (start < params->hdr.pref_address + params->hdr.init_size || !to)
		return refuse(path, "does not fit into memory");
	memcpy(to, file.data, file.len);
	params->hdr.ramdisk_image = (uint32_t)start;
	params->hdr.ramdisk_size = (uint32_t)file.len;
	munmap(file.data, file.len);
	return 0;
}

static void memory_map(const struct vm *vm, struct boot_params *params)
{
	uint64_t low = vm->ram < LOW_RAM_MAX ? vm->ram : LOW_RAM_MAX;
	struct boot_e820_entry *map = params->e820_table;

	map[0] = (struct boot_e820_entry){0, LOW_END, 1};
	map[1] = (struct boot_e820_entry){ISA_END, low - ISA_END, 1};
	params->e820_entries = 2;
	if (vm->ram > low) {
		map[2] = (struct boot_e820_entry){HIGH_RAM, vm->ram - low, 1};
		params->e820_entries = 3;
	}
}

static int command_line(struct vm *vm, const char *text, struct boot_params *params)
{
	size_t len = strlen(text) + 1;

	if (len > COMMAND_LINE_MAX || len > params->hdr.cmdline_size)
		return refuse(text, "command line too long");
	memcpy(vm_ram(vm, ADDR_COMMAND_LINE, len), text, len);
	params->hdr.cmd_line_ptr = (uint32_t)ADDR_COMMAND_LINE;
	return 0;
}

/* The first 4 GiB, identity-mapped by pages of 2 MiB. */
static void page_tables(struct vm *vm)
{
	uint64_t *table = vm_ram(vm, ADDR_PAGES, 6 * 4096);
	uint64_t i;

	memset(table, 0, 6 * 4096);
	table[0] = (ADDR_PAGES + 0x1000) | PAGE_PRESENT_WRITE;
	for (i = 0; i < 4; i++)
		table[512 + i] = (ADDR_PAGES + 0x2000 + i * 0x1000) | PAGE_PRESENT_WRITE;
	for (i = 0; i < 4 * 512; i++)
		table[1024 + i] = i << 21 | PAGE_PRESENT_WRITE | PAGE_HUGE;
}

static struct kvm_segment flat(uint16_t selector, bool code)
{
	struct kvm_segment segment = {
		.limit = 0xffffffff, .selector = selector, .type = code ? 11 : 3,
		.present = 1, .s = 1, .g = 1, .l = code, .db = !code,
	};

	return segment;
}

static int registers_set(struct vm *vm, uint64_t entry)
{
	static const uint64_t gdt[4] = {0, 0, 0x00af9b000000ffff, 0x00cf93000000ffff};
	struct kvm_regs regs = {.rip = entry, .rsi = ADDR_PARAMS, .rsp = ADDR_PARAMS, .rflags = 2};
	struct kvm_segment data = flat(GDT_DS, false);
	struct kvm_sregs sregs;
	int fd = vm->vcpu[0].fd;

	memcpy(vm_ram(vm, ADDR_GDT, sizeof(gdt)), gdt, sizeof(gdt));
	page_tables(vm);
	if (ioctl(fd, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	sregs.cs = flat(GDT_CS, true);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.gdt.base = ADDR_GDT;
	sregs.gdt.limit = sizeof(gdt) - 1;
	sregs.cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_PG;
	sregs.cr3 = ADDR_PAGES;
	sregs.cr4 = CR4_PAE;
	sregs.efer = EFER_LME | EFER_LMA;
	if (ioctl(fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(fd, KVM_SET_REGS, &regs) < 0)
		return -errno;
	return 0;
}

/* Linux on hardware-reduced ACPI reboots by EFI, and without EFI through the BIOS'
 * entry, in real mode: ours writes the reset register. */
static void bios_entry(struct vm *vm)
{
	static const uint8_t code[] = {
		0xba, PORT_RESET & 0xff, PORT_RESET >> 8, /* mov dx, PORT_RESET */
		0xb0, 0x01,                               /* mov al, 1 */
		0xee,                                     /* out dx, al */
		0xf4,                                     /* hlt */
		0xeb, 0xfd,                               /* jmp to the hlt */
	};

	memcpy(vm_ram(vm, ADDR_BIOS_ENTRY, sizeof(code)), code, sizeof(code));
}

int boot_load(struct vm *vm, const struct boot_image *image)
{
	struct boot_params *params = vm_ram(vm, ADDR_PARAMS, sizeof(*params));
	uint64_t entry;
	int err;

	memset(params, 0, sizeof(*params));
	err = kernel_load(vm, image->kernel, params, &entry);
	if (err)
		return err;
	params->hdr.type_of_loader = 0xff;
	params->hdr.loadflags |= LOADED_HIGH;
	if (image->initrd)
		err = initrd_load(vm, image->initrd, params);
	if (!err)
		err = command_line(vm, image->append, params);
	if (err)
		return err;
	memory_map(vm, params);
	bios_entry(vm);
	params->acpi_rsdp_addr = acpi_build(vm);
	return registers_set(vm, entry);
}
