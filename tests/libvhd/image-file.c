/* SPDX-License-Identifier: MIT */
#include "image-file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vhd-format.h"

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	abort();
}

static int unsynced_submit(void *opaque, struct vhd_io *io)
{
	return io->op == VHD_IO_DATASYNC ? 0 : vhd_io_sync.submit(opaque, io);
}

const struct vhd_io_ops image_io_unsynced = { sizeof(image_io_unsynced), unsynced_submit };

static int failing_submit(void *opaque, struct vhd_io *io)
{
	struct image_failing *f = opaque;
	bool counts = io->op == VHD_IO_WRITE && io->offset >= f->from && io->offset < f->to;
	bool all = f->from == 0 && f->to == UINT64_MAX;

	if (f->writes_left == 0 && (counts || all))
		return -EIO;
	f->writes += counts;
	f->writes_left -= counts && f->writes_left > 0;
	return unsynced_submit(NULL, io);
}

const struct vhd_io_ops image_io_failing = { sizeof(image_io_failing), failing_submit };

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ADDRESS_SANITIZER
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(WITH_ADDRESS_SANITIZER)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

unsigned image_cases(const char *variable, unsigned plain, unsigned sanitized)
{
	const char *value = getenv(variable);

	return value ? (unsigned)atoi(value) : SANITIZED ? sanitized : plain;
}

void image_file_init(struct image_file *f)
{
	const char *base = getenv("TMPDIR");

	snprintf(f->dir, sizeof(f->dir), "%s/vhd-test.XXXXXX",
		 base && strlen(base) < 40 ? base : "/tmp");
	need(mkdtemp(f->dir) != NULL, "mkdtemp");
	snprintf(f->path, sizeof(f->path), "%s/image", f->dir);
}

void image_file_fini(struct image_file *f)
{
	DIR *dir = opendir(f->dir);
	struct dirent *entry;

	need(dir != NULL, "opendir");
	while ((entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	need(rmdir(f->dir) == 0, "rmdir");
}

void image_file_create(const struct image_file *f, enum vhd_format format, enum vhd_type type,
		       uint64_t size, uint32_t block_size)
{
	struct vhd_create_options options = VHD_CREATE_OPTIONS_INIT;
	struct vhd_error err;

	options.format = format;
	options.type = type;
	options.virtual_size = size;
	options.block_size = block_size;
	options.flags = VHD_CREATE_OVERWRITE | VHD_CREATE_SPARSE;
	if (vhd_create(f->path, &options, &err) != 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
}

int image_file_open(const struct image_file *f, uint32_t flags, struct vhd_image **image,
		    struct vhd_error *err)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;

	options.flags = flags;
	return vhd_open(f->path, &options, image, err);
}

void image_file_make_vhdx(struct image_file *f)
{
	enum { MIB = 1 << 20 };
	static char data[MIB];
	struct vhd_image *image;

	image_file_init(f);
	image_file_create(f, VHD_FORMAT_VHDX, VHD_TYPE_DYNAMIC, 8 * MIB, MIB);
	need(image_file_open(f, 0, &image, NULL) == 0, "vhd_open");
	memset(data, 'x', sizeof(data));
	need(vhd_pwrite(image, data, MIB, MIB / 2) == 0, "vhd_pwrite");
	need(vhd_close(image) == 0, "vhd_close");
}

uint64_t image_file_size(const struct image_file *f)
{
	struct stat st;

	need(stat(f->path, &st) == 0, "stat");
	return (uint64_t)st.st_size;
}

void image_file_read(const struct image_file *f, void *buf, size_t length, uint64_t offset)
{
	int fd = open(f->path, O_RDONLY);

	need(fd >= 0, "open");
	need(pread(fd, buf, length, (off_t)offset) == (ssize_t)length, "pread");
	close(fd);
}

void image_file_write(const struct image_file *f, const void *buf, size_t length, uint64_t offset)
{
	int fd = open(f->path, O_WRONLY);

	need(fd >= 0, "open");
	need(pwrite(fd, buf, length, (off_t)offset) == (ssize_t)length, "pwrite");
	close(fd);
}

void image_file_truncate(const struct image_file *f, uint64_t length)
{
	need(truncate(f->path, (off_t)length) == 0, "truncate");
}

static void put_field(const struct image_file *f, uint64_t offset, size_t structure,
		      size_t checksum_at, size_t field, uint64_t value, size_t size)
{
	uint8_t bytes[1024];
	uint32_t sum;

	image_file_read(f, bytes, structure, offset);
	for (size_t i = 0; i < size; i++)
		bytes[field + i] = (uint8_t)(value >> 8 * (size - 1 - i));
	sum = vhd_checksum(bytes, structure, checksum_at);
	for (size_t i = 0; i < 4; i++)
		bytes[checksum_at + i] = (uint8_t)(sum >> 8 * (3 - i));
	image_file_write(f, bytes, structure, offset);
}

void image_file_put_footer(const struct image_file *f, uint64_t offset, size_t field,
			   uint64_t value, size_t size)
{
	put_field(f, offset, 512, 64, field, value, size);
}

void image_file_put_header(const struct image_file *f, uint64_t offset, size_t field,
			   uint64_t value, size_t size)
{
	put_field(f, offset, 1024, 36, field, value, size);
}
