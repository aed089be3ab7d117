/* SPDX-License-Identifier: MIT */
/* Three images in one directory, each made as a child of the next; the input changes what they
 * say of their parents. The first is opened and read: whatever they say, that ends, and no
 * file outside the directory is looked at. The first byte chooses the format. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vhd/vhd.h>

#include "bytes.h"
#include "image-file.h"
#include "vhd-format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILES = 3, VHD_PART = 4096, VHDX_PART = 1024, MIB = 1 << 20, PATCHES_MAX = 16 };

/* The part of a file that inputs change: all metadata of a VHD, locator and items of a VHDX. */
struct part {
	int fd;
	off_t at;
	size_t size;
	uint8_t good[VHD_PART];
};

static struct chain {
	bool made;
	struct image_file dir;
	struct part part[FILES];
} chains[2]; /* VHD, VHDX */

static void name(const struct chain *c, int file, char *path, size_t size)
{
	snprintf(path, size, "%s/%c", c->dir.dir, 'a' + file);
}

static void file_make(struct chain *c, bool vhdx, int file)
{
	struct vhd_create_options options = VHD_CREATE_OPTIONS_INIT;
	struct part *p = &c->part[file];
	char path[96], parent[96];

	name(c, file, path, sizeof(path));
	name(c, file + 1, parent, sizeof(parent));
	options.format = vhdx ? VHD_FORMAT_VHDX : VHD_FORMAT_VHD;
	options.type = file + 1 < FILES ? VHD_TYPE_DIFFERENCING : VHD_TYPE_DYNAMIC;
	options.parent = file + 1 < FILES ? parent : NULL;
	options.virtual_size = MIB;
	options.block_size = vhdx ? MIB : 65536;
	if (vhd_create(path, &options, NULL))
		abort();
	p->fd = open(path, O_RDWR | O_CLOEXEC);
	p->at = vhdx ? 2 * MIB + 65536 : 0;
	p->size = vhdx ? VHDX_PART : (size_t)lseek(p->fd, 0, SEEK_END);
	if (p->fd < 0 || p->size > sizeof(p->good) ||
	    pread(p->fd, p->good, p->size, p->at) != (ssize_t)p->size)
		abort();
}

/* Oldest first. The directory goes when the program ends. */
static struct chain *chain_get(bool vhdx)
{
	struct chain *c = &chains[vhdx];

	if (c->made)
		return c;
	image_file_init(&c->dir);
	for (int i = FILES; i-- > 0;)
		file_make(c, vhdx, i);
	c->made = true;
	return c;
}

static void chains_remove(void)
{
	for (int i = 0; i < 2; i++)
		if (chains[i].made)
			image_file_fini(&chains[i].dir);
}

static void part_write(const struct part *p, uint8_t *bytes, bool vhdx)
{
	if (!vhdx) {
		put_be32(bytes + 64, vhd_checksum(bytes, 512, 64));
		put_be32(bytes + 512 + 36, vhd_checksum(bytes + 512, 1024, 36));
		memcpy(bytes + p->size - 512, bytes, 512);
	}
	if (pwrite(p->fd, bytes, p->size, p->at) != (ssize_t)p->size)
		abort();
}

/* Patches of one file: how many, then for each place, length and bytes. */
static const uint8_t *part_change(const struct part *p, bool vhdx, const uint8_t *data,
				  const uint8_t *end)
{
	uint8_t bytes[VHD_PART];
	unsigned count = data < end ? *data++ % PATCHES_MAX : 0;

	memcpy(bytes, p->good, p->size);
	for (; count > 0 && end - data > 3; count--) {
		size_t at = get_le16(data) % p->size;
		size_t length = min_u64(data[2], min_u64((uint64_t)(end - data) - 3, p->size - at));

		memcpy(bytes + at, data + 3, length);
		data += 3 + length;
	}
	part_write(p, bytes, vhdx);
	return data;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct vhd_error err = { 0, "" };
	const uint8_t *end = data + size;
	static uint8_t buf[MIB];
	struct vhd_image *image;
	struct chain *c;
	char path[96];
	bool vhdx;
	int ret;

	if (size == 0)
		return 0;
	if (!chains[0].made && !chains[1].made)
		atexit(chains_remove);
	options.flags = VHD_OPEN_READ_ONLY | VHD_OPEN_NO_LOCK;
	options.flags |= *data & 2 ? VHD_OPEN_ANY_PARENT : 0;
	vhdx = *data++ & 1;
	c = chain_get(vhdx);
	for (int i = 0; i < FILES; i++)
		data = part_change(&c->part[i], vhdx, data, end);
	options.parent_directory = c->dir.dir;
	name(c, 0, path, sizeof(path));
	ret = vhd_open(path, &options, &image, &err);
	if (ret < 0 || (ret && err.text[0] == '\0'))
		abort();
	if (ret == 0)
		(void)!vhd_pread(image, buf, sizeof(buf), 0);
	if (vhd_close(image))
		abort();
	return 0;
}
