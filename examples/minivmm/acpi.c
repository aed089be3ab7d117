/* SPDX-License-Identifier: MIT */
/* ACPI tables of a machine without legacy hardware (ACPI 6, hardware-reduced):
 * vCPUs, I/O APIC, a serial port, sleep and reset registers, the VMBus device. */
#include <string.h>

#include "vm.h"

#define ACPI_BASE 0xe0000ull /* where firmware has it on a PC */
#define ACPI_LEN 0x10000u
#define HEADER 36u
#define LAPIC_ADDRESS 0xfee00000u
#define IOAPIC_ADDRESS 0xfec00000u

#define FADT_LEN 276u
#define FADT_BOOT_ARCH 109u
#define FADT_FLAGS 112u
#define FADT_RESET_REGISTER 116u
#define FADT_RESET_VALUE 128u
#define FADT_MINOR 131u
#define FADT_X_DSDT 140u
#define FADT_SLEEP_CONTROL 244u
#define FADT_SLEEP_STATUS 256u
#define BOOT_NO_VGA 0x4u
#define BOOT_NO_CMOS_CLOCK 0x20u
#define FLAG_RESET_REGISTER (1u << 10)
#define FLAG_HARDWARE_REDUCED (1u << 20)

struct tables {
	uint8_t *mem;
	uint32_t used;
};

/* Scope (\_SB) { Device (COM1) { Name (_HID, EisaId ("PNP0501")) Name (_UID, Zero)
 *   Name (_CRS, ResourceTemplate () { IO (Decode16, 0x3f8, 0x3f8, 1, 8)
 *                                     IRQNoFlags () {4} }) } }
 * Name (\_S5, Package () {5}) */
static const uint8_t dsdt_body[] = {
	0x10, 0x31, '\\', '_', 'S', 'B', '_',
	0x5b, 0x82, 0x29, 'C', 'O', 'M', '1',
	0x08, '_', 'H', 'I', 'D', 0x0c, 0x41, 0xd0, 0x05, 0x01,
	0x08, '_', 'U', 'I', 'D', 0x00,
	0x08, '_', 'C', 'R', 'S', 0x11, 0x10, 0x0a, 0x0d,
	0x47, 0x01, 0xf8, 0x03, 0xf8, 0x03, 0x01, 0x08, 0x22, 0x10, 0x00, 0x79, 0x00,
	0x08, '_', 'S', '5', '_', 0x12, 0x04, 0x01, 0x0a, 0x05,
};

static void put16(uint8_t *at, uint16_t value)
{
	memcpy(at, &value, sizeof(value));
}

static void put32(uint8_t *at, uint32_t value)
{
	memcpy(at, &value, sizeof(value));
}

static void put64(uint8_t *at, uint64_t value)
{
	memcpy(at, &value, sizeof(value));
}

static uint8_t checksum(const uint8_t *bytes, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *bytes++);
	return (uint8_t)(0 - sum);
}

static uint8_t *table_begin(struct tables *tables, const char *signature, uint8_t revision)
{
	uint8_t *table = tables->mem + tables->used;

	memcpy(table, signature, 4);
	table[8] = revision;
	memcpy(table + 10, "VMBUS MINIVMM ", 14);
	put32(table + 24, 1);
	memcpy(table + 28, "MINI", 4);
	return table;
}

/* Returns the table's address. */
static uint64_t table_end(struct tables *tables, uint8_t *table, uint32_t len)
{
	uint64_t address = ACPI_BASE + tables->used;

	put32(table + 4, len);
	table[9] = checksum(table, len);
	tables->used += (len + 15u) & ~15u;
	return address;
}

static void register_put(uint8_t *at, uint64_t port)
{
	const uint8_t address[4] = {1, 8, 0, 1}; /* system I/O, 8 bits, byte access */

	memcpy(at, address, sizeof(address));
	put64(at + 4, port);
}

static uint64_t fadt(struct tables *tables, uint64_t dsdt)
{
	uint8_t *table = table_begin(tables, "FACP", 6);

	put32(table + 40, (uint32_t)dsdt);
	put16(table + FADT_BOOT_ARCH, BOOT_NO_VGA | BOOT_NO_CMOS_CLOCK);
	put32(table + FADT_FLAGS, FLAG_HARDWARE_REDUCED | FLAG_RESET_REGISTER);
	register_put(table + FADT_RESET_REGISTER, PORT_RESET);
	table[FADT_RESET_VALUE] = 1;
	table[FADT_MINOR] = 3;
	put64(table + FADT_X_DSDT, dsdt);
	register_put(table + FADT_SLEEP_CONTROL, PORT_SLEEP);
	register_put(table + FADT_SLEEP_STATUS, PORT_SLEEP + 1);
	return table_end(tables, table, FADT_LEN);
}

static uint64_t madt(struct tables *tables, unsigned int cpus)
{
	uint8_t *table = table_begin(tables, "APIC", 4), *entry = table + HEADER + 8;
	unsigned int i;

	put32(table + HEADER, LAPIC_ADDRESS);
	for (i = 0; i < cpus; i++, entry += 8) {
		const uint8_t lapic[8] = {0, 8, (uint8_t)i, (uint8_t)i, 1};

		memcpy(entry, lapic, sizeof(lapic));
	}
	entry[0] = 1; /* I/O APIC, GSIs from 0 */
	entry[1] = 12;
	put32(entry + 4, IOAPIC_ADDRESS);
	return table_end(tables, table, (uint32_t)(entry + 12 - table));
}

static uint64_t dsdt(struct tables *tables)
{
	uint8_t *table = table_begin(tables, "DSDT", 2);

	memcpy(table + HEADER, dsdt_body, sizeof(dsdt_body));
	return table_end(tables, table, HEADER + sizeof(dsdt_body));
}

static uint64_t ssdt(struct tables *tables)
{
	uint8_t *table = tables->mem + tables->used;
	uint64_t address = ACPI_BASE + tables->used;

	tables->used += ((uint32_t)attach_ssdt(table, ACPI_LEN - tables->used) + 15u) & ~15u;
	return address;
}

static uint64_t xsdt(struct tables *tables, const uint64_t *entries, unsigned int count)
{
	uint8_t *table = table_begin(tables, "XSDT", 1);

	memcpy(table + HEADER, entries, count * sizeof(*entries));
	return table_end(tables, table, HEADER + count * (uint32_t)sizeof(*entries));
}

uint64_t acpi_build(struct vm *vm)
{
	struct tables tables = {.mem = vm_ram(vm, ACPI_BASE, ACPI_LEN), .used = 48};
	uint8_t *rsdp = tables.mem;
	uint64_t entries[3], root;

	memset(tables.mem, 0, ACPI_LEN);
	entries[0] = fadt(&tables, dsdt(&tables));
	entries[1] = madt(&tables, vm->cpus);
	entries[2] = ssdt(&tables);
	root = xsdt(&tables, entries, 3);
	memcpy(rsdp, "RSD PTR \0VMBUS \2", 16);
	put32(rsdp + 20, 36);
	put64(rsdp + 24, root);
	rsdp[8] = checksum(rsdp, 20);
	rsdp[32] = checksum(rsdp, 36);
	return ACPI_BASE;
}
