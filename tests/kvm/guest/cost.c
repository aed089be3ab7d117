/* SPDX-License-Identifier: MIT */
/* What 10 KiB cost: written by an old driver to an ATA disk, register by register,
 * and by storvsc. The VMM counts the exits. */
#include "guest.h"

#define SECTORS 20u
#define ROUNDS 16u
#define ATA 0x1f0u
#define ATA_BUSY 0x80
#define ATA_DRQ 0x08

static uint8_t data[SECTORS * SECTOR] __attribute__((aligned(PAGE)));

static void ata_sector_out(const uint8_t *bytes)
{
	const uint16_t *words = (const uint16_t *)(const void *)bytes;
	unsigned int i;

	while ((inb(ATA + 7) & (ATA_BUSY | ATA_DRQ)) != ATA_DRQ)
		;
	/* word by word: what the ATA drivers of the emulated world did */
	for (i = 0; i < SECTOR / 2; i++)
		__asm__ volatile("outw %0, %1" : : "a"(words[i]), "Nd"((uint16_t)ATA));
}

static void ata_write(uint32_t lba)
{
	unsigned int i;

	outb(ATA + 6, (uint8_t)(0xe0 | (lba >> 24)));
	outb(ATA + 2, SECTORS);
	outb(ATA + 3, (uint8_t)lba);
	outb(ATA + 4, (uint8_t)(lba >> 8));
	outb(ATA + 5, (uint8_t)(lba >> 16));
	outb(ATA + 7, 0x30);
	for (i = 0; i < SECTORS; i++)
		ata_sector_out(data + i * SECTOR);
	while (inb(ATA + 7) & ATA_BUSY)
		;
}

static uint64_t now(void)
{
	uint64_t value = 0;

	msr_read(MSR_TIME_REF_COUNT, &value);
	return value;
}

/* The same guest with neither is what both are compared with. */
void cost_run(bool ata, bool storvsc)
{
	uint64_t start;
	unsigned int i, good = 0;

	__builtin_memset(data, 0x5a, sizeof(data));
	if (!expect("connect", hypercall_start() && synic_start() && bus_connect() && bus_open(), 1))
		return;
	start = now();
	for (i = 0; i < ROUNDS && ata; i++)
		ata_write(i * SECTORS);
	for (i = 0; i < ROUNDS && storvsc; i++)
		good += scsi_write(0, i * SECTORS, SECTORS, data);
	start = now() - start;
	print("cost rounds ");
	print_number(ROUNDS);
	print(" microseconds ");
	print_number(start / 10);
	print("\n");
	expect("written", good, storvsc ? ROUNDS : 0);
	expect("unload", bus_close(), 1);
}
