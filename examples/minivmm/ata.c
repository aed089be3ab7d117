/* SPDX-License-Identifier: MIT */
/* A minimal ATA disk of the old kind: task file registers and programmed I/O,
 * 28-bit addresses, one sector a data phase, polling (no interrupt). It is here to
 * show what an emulated disk costs: each register access is an exit. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vm.h"

#define SECTOR 512u
#define STATUS_DRQ 0x08
#define STATUS_READY 0x50 /* DRDY, DSC */
#define STATUS_ERROR 0x01
#define ERROR_ABORT 0x04
#define ERROR_NO_SECTOR 0x10
#define DEVICE_LBA 0x40

enum { REG_DATA, REG_ERROR, REG_COUNT, REG_LBA0, REG_LBA1, REG_LBA2, REG_DEVICE, REG_COMMAND };
enum { CMD_READ = 0x20, CMD_WRITE = 0x30, CMD_FLUSH = 0xe7, CMD_IDENTIFY = 0xec };

struct ata {
	int fd;
	uint64_t sectors;
	uint8_t regs[PORT_ATA_LEN]; /* [REG_COMMAND]: status */
	uint8_t buf[SECTOR];
	unsigned int at;	/* next byte of buf in a data phase */
	unsigned int left;	/* sectors of the command not yet through the buffer */
	uint64_t lba;
	bool writing;
};

static void command_fail(struct ata *ata, uint8_t error)
{
	ata->regs[REG_ERROR] = error;
	ata->regs[REG_COMMAND] = STATUS_READY | STATUS_ERROR;
	ata->left = 0;
}

static void sector_read(struct ata *ata)
{
	if (pread(ata->fd, ata->buf, SECTOR, (off_t)(ata->lba * SECTOR)) != (ssize_t)SECTOR)
		command_fail(ata, ERROR_ABORT);
	else
		ata->regs[REG_COMMAND] = STATUS_READY | STATUS_DRQ;
}

static void identify(struct ata *ata)
{
	uint16_t words[SECTOR / 2] = {0};

	words[49] = 0x200; /* LBA */
	words[60] = (uint16_t)ata->sectors;
	words[61] = (uint16_t)(ata->sectors >> 16);
	memcpy(ata->buf, words, sizeof(words));
	ata->left = 1;
	ata->writing = false;
	ata->regs[REG_COMMAND] = STATUS_READY | STATUS_DRQ;
}

static void transfer(struct ata *ata, bool writing)
{
	const uint8_t *regs = ata->regs;

	ata->lba = (uint64_t)(regs[REG_DEVICE] & 0xf) << 24 | (uint64_t)regs[REG_LBA2] << 16 |
		   (uint64_t)regs[REG_LBA1] << 8 | regs[REG_LBA0];
	ata->left = regs[REG_COUNT] ? regs[REG_COUNT] : 256;
	ata->writing = writing;
	if (!(regs[REG_DEVICE] & DEVICE_LBA) || ata->lba + ata->left > ata->sectors)
		command_fail(ata, ERROR_NO_SECTOR);
	else if (writing)
		ata->regs[REG_COMMAND] = STATUS_READY | STATUS_DRQ;
	else
		sector_read(ata);
}

static void command(struct ata *ata, uint8_t code)
{
	ata->at = 0;
	ata->regs[REG_ERROR] = 0;
	switch (code) {
	case CMD_READ:
	case CMD_WRITE:
		transfer(ata, code == CMD_WRITE);
		break;
	case CMD_FLUSH:
		if (fdatasync(ata->fd) < 0)
			command_fail(ata, ERROR_ABORT);
		else
			ata->regs[REG_COMMAND] = STATUS_READY;
		break;
	case CMD_IDENTIFY:
		identify(ata);
		break;
	default:
		command_fail(ata, ERROR_ABORT);
		break;
	}
}

/* The buffer was filled or emptied: on to the next sector. */
static void sector_done(struct ata *ata)
{
	ata->at = 0;
	if (ata->writing &&
	    pwrite(ata->fd, ata->buf, SECTOR, (off_t)(ata->lba * SECTOR)) != (ssize_t)SECTOR) {
		command_fail(ata, ERROR_ABORT);
		return;
	}
	ata->lba++;
	if (--ata->left == 0)
		ata->regs[REG_COMMAND] = STATUS_READY;
	else if (!ata->writing)
		sector_read(ata);
}

static void data(struct ata *ata, bool out, uint8_t *bytes, uint8_t size)
{
	if (!ata->left || size > SECTOR - ata->at) {
		if (!out)
			memset(bytes, 0xff, size);
		return;
	}
	if (out)
		memcpy(ata->buf + ata->at, bytes, size);
	else
		memcpy(bytes, ata->buf + ata->at, size);
	ata->at += size;
	if (ata->at == SECTOR)
		sector_done(ata);
}

void ata_access(struct ata *ata, bool out, uint16_t reg, void *bytes, uint8_t size)
{
	uint8_t *byte = bytes;

	if (reg == REG_DATA)
		data(ata, out, bytes, size);
	else if (!out)
		*byte = ata->regs[reg];
	else if (reg == REG_COMMAND)
		command(ata, *byte);
	else if (reg != REG_ERROR)
		ata->regs[reg] = *byte;
}

int ata_open(struct vm *vm, const char *path)
{
	struct ata *ata = calloc(1, sizeof(*ata));
	struct stat st;
	int err;

	if (!ata)
		return -ENOMEM;
	ata->fd = open(path, O_RDWR | O_CLOEXEC);
	if (ata->fd < 0 || fstat(ata->fd, &st) < 0) {
		err = -errno;
		fprintf(stderr, "minivmm: %s: %s\n", path, strerror(-err));
		ata_close(ata);
		return err;
	}
	ata->sectors = (uint64_t)st.st_size / SECTOR;
	ata->regs[REG_COMMAND] = STATUS_READY;
	vm->ata = ata;
	return 0;
}

void ata_close(struct ata *ata)
{
	if (!ata)
		return;
	if (ata->fd >= 0)
		close(ata->fd);
	free(ata);
}
