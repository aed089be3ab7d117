/* SPDX-License-Identifier: MIT */
#include "plain-vhdx.h"

#include <endian.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

struct plain {
	int fd;
	uint64_t bat, metadata;
	uint64_t block_size, size, ratio;
	uint32_t parameters, sector;
};

static uint64_t number(const struct plain *p, uint64_t offset, unsigned bytes)
{
	uint64_t value = 0;

	if (pread(p->fd, &value, bytes, (off_t)offset) != (ssize_t)bytes)
		return UINT64_MAX;
	return le64toh(value);
}

/* Is the GUID at @offset the one whose first field is @data1? */
static bool named(const struct plain *p, uint64_t offset, uint32_t data1)
{
	return number(p, offset, 4) == data1;
}

static uint64_t item(const struct plain *p, uint32_t data1)
{
	uint64_t count = number(p, p->metadata + 10, 2);

	for (uint64_t i = 0; i < count; i++)
		if (named(p, p->metadata + 32 + 32 * i, data1))
			return p->metadata + number(p, p->metadata + 32 + 32 * i + 16, 4);
	return 0;
}

static const char *plain_open(struct plain *p, const char *path)
{
	char signature[8];
	uint64_t log_low = 0;

	p->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (p->fd < 0 || pread(p->fd, signature, 8, 0) != 8 || memcmp(signature, "vhdxfile", 8))
		return "is no VHDX";
	for (uint64_t at = 65536; at <= 131072; at += 65536)
		log_low |= number(p, at + 48, 8) | number(p, at + 56, 8);
	if (log_low)
		return "has a log that is not empty";
	for (uint64_t i = 0; i < number(p, 196608 + 8, 4); i++) {
		if (named(p, 196608 + 16 + 32 * i, 0x2dc27766))
			p->bat = number(p, 196608 + 16 + 32 * i + 16, 8);
		if (named(p, 196608 + 16 + 32 * i, 0x8b7ca206))
			p->metadata = number(p, 196608 + 16 + 32 * i + 16, 8);
	}
	if (!p->bat || !p->metadata)
		return "lacks a region";
	p->block_size = number(p, item(p, 0xcaa16737), 4);
	p->parameters = (uint32_t)number(p, item(p, 0xcaa16737) + 4, 4);
	p->size = number(p, item(p, 0x2fa54224), 8);
	p->sector = (uint32_t)number(p, item(p, 0x8141bf1d), 4);
	p->ratio = (UINT64_C(1) << 23) * p->sector / p->block_size;
	return NULL;
}

/* What is where one sector of the disk should be: 0 zeros, 1 the parent, else the place. */
static uint64_t place(const struct plain *p, uint64_t offset)
{
	uint64_t block = offset / p->block_size, chunk = block / p->ratio;
	uint64_t entry = number(p, p->bat + 8 * (block + chunk), 8);
	uint64_t home = entry >> 20 << 20;
	uint64_t bitmap, sector;

	if (offset >= p->size)
		return 0;
	switch (entry & 7) {
	case 0:
		return p->parameters & 2 ? 1 : 0;
	case 7:
		bitmap = number(p, p->bat + 8 * ((chunk + 1) * p->ratio + chunk), 8) >> 20 << 20;
		sector = (offset - chunk * p->ratio * p->block_size) / p->sector;
		if (!(number(p, bitmap + sector / 8, 1) >> sector % 8 & 1))
			return 1;
		return home + offset % p->block_size;
	case 6:
		return home + offset % p->block_size;
	default:
		return 0;
	}
}

static const char *sector_read(const struct plain *images, unsigned count, uint8_t *buf,
			       uint64_t offset)
{
	uint32_t sector = images[0].sector;

	memset(buf, 0, sector);
	for (unsigned i = 0; i < count; i++) {
		uint64_t at = place(&images[i], offset);

		if (at == 0)
			return NULL;
		if (at > 1 && pread(images[i].fd, buf, sector, (off_t)at) != (ssize_t)sector)
			return "ends too early";
		if (at > 1)
			return NULL;
	}
	return NULL;
}

const char *plain_vhdx_read(const char *const *paths, unsigned count, uint8_t *buf, size_t size)
{
	struct plain images[8];
	const char *error = NULL;
	unsigned opened = 0;

	memset(images, 0, sizeof(images));
	for (; !error && opened < count; opened++)
		error = plain_open(&images[opened], paths[opened]);
	for (size_t at = 0; !error && at < size; at += images[0].sector)
		error = sector_read(images, count, buf + at, at);
	for (unsigned i = 0; i < opened; i++)
		close(images[i].fd);
	return error;
}
