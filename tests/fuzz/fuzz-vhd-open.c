/* SPDX-License-Identifier: MIT */
/* The input is an image file: open it, read and write the disk, close it. When
 * its length is a multiple of 512 the checksums are put right first, or the
 * fuzzer would never get past them. */
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vhd/vhd.h>

#include "bytes.h"
#include "vhd-format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void checksums_repair(uint8_t *bytes, size_t size)
{
	size_t footer = size - 512;

	if (size < 1536)
		return;
	put_be32(bytes + 64, vhd_checksum(bytes, 512, 64));
	put_be32(bytes + 512 + 36, vhd_checksum(bytes + 512, 1024, 36));
	put_be32(bytes + footer + 64, vhd_checksum(bytes + footer, 512, 64));
}

static void image_use(struct vhd_image *image)
{
	struct vhd_info info = VHD_INFO_INIT;
	static uint8_t buf[65536];
	uint64_t length;

	if (vhd_get_info(image, &info) || info.virtual_size % 512)
		abort();
	length = min_u64(info.virtual_size, sizeof(buf));
	for (int i = 0; i < 4; i++) {
		uint64_t offset = (info.virtual_size - length) / 3 * (uint64_t)i / 512 * 512;

		if (vhd_pread(image, buf, length, offset) < 0 || info.read_only)
			continue;
		if (vhd_pwrite(image, buf, length, offset) == 0 && vhd_flush(image))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	int fd = memfd_create("vhd", MFD_CLOEXEC);
	struct vhd_error err = { 0, "" };
	struct vhd_image *image;
	uint8_t *bytes;
	char path[32];

	if (size < 1 || size > 1 << 20 || fd < 0 || !(bytes = malloc(size)))
		goto out;
	memcpy(bytes, data, size);
	if (size % 512 == 0)
		checksums_repair(bytes, size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	/* A reserved byte of the footer's copy chooses how it is opened. */
	if (size > 85 && data[85] & 1)
		options.flags = VHD_OPEN_READ_ONLY;
	if (size > 85 && data[85] & 2)
		options.flags = VHD_OPEN_READ_ONLY | VHD_OPEN_NO_PARENT;
	if (write(fd, bytes, size) == (ssize_t)size) {
		int ret = vhd_open(path, &options, &image, &err);

		if (ret == 0)
			image_use(image);
		else if (ret < 0 || err.text[0] == '\0')
			abort(); /* a bad file is no trouble of the host, and is told */
		if (ret == 0 && vhd_close(image))
			abort();
	}
	free(bytes);
out:
	if (fd >= 0)
		close(fd);
	return 0;
}
