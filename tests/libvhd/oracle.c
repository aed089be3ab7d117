/* SPDX-License-Identifier: MIT */
/* Random images, written by us and by QEMU in turn, must hold what a sparse raw
 * file holds that got the same writes.
 *
 * oracle [FIRST-SEED [CASES]] */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image-file.h"

#define GIB (UINT64_C(1) << 30)
#define MIB (UINT64_C(1) << 20)

struct oracle {
	unsigned seed;
	struct image_file file;
	char model[96];
	int model_fd;
	bool vhdx;
	const char *format; /* in QEMU's words */
	bool fixed;
	bool by_qemu;
	bool force_size;
	uint64_t size;
};

static void fail(const struct oracle *o, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	printf("seed %u (%s, %s by %s%s, %" PRIu64 " bytes): ", o->seed, o->format,
	       o->fixed ? "fixed" : "dynamic", o->by_qemu ? "qemu" : "us",
	       o->force_size ? ", force_size" : "", o->size);
	vprintf(format, args);
	printf("\nimage left in %s\n", o->file.dir);
	va_end(args);
	exit(1);
}

static int run(const struct oracle *o, const char *format, ...)
{
	char command[1024];
	va_list args;
	int status;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	status = system(command);
	if (status == -1 || !WIFEXITED(status))
		fail(o, "cannot run %s", command);
	return WEXITSTATUS(status);
}

static uint64_t random_below(uint64_t limit)
{
	return ((uint64_t)random() << 31 | (uint64_t)random()) % limit;
}

/* Small ones mostly, up to the largest a VHD can be. */
static uint64_t random_size(const struct oracle *o)
{
	static const uint64_t up_to[] = { 4 * MIB, 40 * MIB, 300 * MIB, 20 * GIB, 2040 * GIB };
	/* QEMU reads all of a VHDX to compare it, holes too. */
	uint64_t limit = up_to[random_below(o->vhdx ? 3 : 5)];

	return MIB + random_below((limit - MIB) / 512 + 1) * 512;
}

/* Somewhere; often near an edge of a block or of the disk. */
static uint64_t random_offset(const struct oracle *o)
{
	uint64_t offset = random_below(o->size / 512) * 512;

	switch (random_below(4)) {
	case 0:
		return offset / (2 * MIB) * (2 * MIB);
	case 1:
		return random_below(o->size < 8 * MIB ? o->size / 512 : 16384) * 512;
	case 2:
		return o->size - 512 - random_below(o->size < MIB ? 1 : 128) * 512;
	default:
		return offset;
	}
}

static uint64_t random_length(const struct oracle *o, uint64_t offset)
{
	uint64_t most = o->size - offset;
	uint64_t length = 512 + random_below(random_below(4) ? 64 : 6000) * 512;

	return length < most ? length : most;
}

static void model_write(struct oracle *o, int byte, uint64_t length, uint64_t offset)
{
	char *buf = malloc(length);

	memset(buf, byte, length);
	if (pwrite(o->model_fd, buf, length, (off_t)offset) != (ssize_t)length)
		fail(o, "cannot write the model");
	free(buf);
}

static void write_by_qemu(struct oracle *o)
{
	char command[2048];
	int used = snprintf(command, sizeof(command), "qemu-io -f %s %s", o->format, o->file.path);

	for (int i = 0; i < 5; i++) {
		uint64_t offset = random_offset(o);
		uint64_t length = random_length(o, offset);
		int byte = (int)random_below(256);

		used += snprintf(command + used, sizeof(command) - (size_t)used,
				 " -c 'write -P %d %" PRIu64 " %" PRIu64 "'", byte, offset, length);
		model_write(o, byte, length, offset);
	}
	if (run(o, "%s >%s/out 2>&1 || { cat %s/out; false; }", command, o->file.dir, o->file.dir))
		fail(o, "qemu-io failed");
}

static void open_image(const struct oracle *o, struct vhd_image **image)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct vhd_error err;

	if (random_below(3) == 0)
		options.flags = VHD_OPEN_DIRECT;
	options.io = &image_io_unsynced;
	if (vhd_open(o->file.path, &options, image, &err))
		fail(o, "%s", err.text);
}

static void write_by_us(struct oracle *o)
{
	struct vhd_image *image;

	open_image(o, &image);
	for (int i = 0; i < 12; i++) {
		uint64_t offset = random_offset(o);
		uint64_t length = random_length(o, offset);
		int byte = (int)random_below(256);
		int what = (int)random_below(8);
		char *buf = NULL;
		int ret;

		if (posix_memalign((void **)&buf, 4096, length + 512))
			abort();
		memset(buf, byte, length);
		if (what == 0) {
			byte = 0;
			ret = vhd_write_zeroes(image, offset, length);
		} else if (what == 1) {
			byte = 0;
			ret = vhd_discard(image, offset, length);
		} else {
			ret = vhd_pwrite(image, buf, length, offset);
		}
		if (ret)
			fail(o, "write of %" PRIu64 " at %" PRIu64 ": %s", length, offset,
			     strerror(-ret));
		model_write(o, byte, length, offset);
		if (random_below(8) == 0 && vhd_flush(image))
			fail(o, "flush");
		free(buf);
	}
	if (vhd_close(image))
		fail(o, "close");
}

static void resize_by_us(struct oracle *o)
{
	struct vhd_image *image;
	struct vhd_error err;
	uint64_t size = random_below(2) ? random_size(o) : o->size + random_below(64) * 512;

	open_image(o, &image);
	if (vhd_resize(image, size, VHD_RESIZE_SHRINK | VHD_RESIZE_SPARSE, &err))
		fail(o, "resize to %" PRIu64 ": %s", size, err.text);
	if (vhd_close(image) || ftruncate(o->model_fd, (off_t)size) < 0)
		fail(o, "close after resize");
	o->size = size;
}

static void compare_chunk(const struct oracle *o, struct vhd_image *image, uint64_t offset,
			  size_t length)
{
	static char ours[1 << 20], model[1 << 20];

	if (vhd_pread(image, ours, length, offset))
		fail(o, "read of %zu at %" PRIu64, length, offset);
	if (pread(o->model_fd, model, length, (off_t)offset) != (ssize_t)length)
		fail(o, "cannot read the model");
	if (memcmp(ours, model, length) != 0)
		fail(o, "we read something else at %" PRIu64, offset);
}

/* Small disks whole; of large ones what was written and what is around it. */
static void compare_by_us(const struct oracle *o)
{
	struct vhd_image *image;
	uint64_t step = 1 << 20;

	open_image(o, &image);
	if (o->size <= 64 * MIB) {
		for (uint64_t at = 0; at < o->size; at += step)
			compare_chunk(o, image, at, o->size - at < step ? o->size - at : step);
	}
	for (off_t at = 0; (at = lseek(o->model_fd, at, SEEK_DATA)) >= 0; at += (off_t)step) {
		uint64_t start = (uint64_t)at / 512 * 512;

		compare_chunk(o, image, start, o->size - start < step ? o->size - start : step);
	}
	vhd_close(image);
}

static void compare_by_qemu(const struct oracle *o)
{
	if (run(o, "qemu-img compare -f %s -F raw %s %s >%s/out 2>&1 || { cat %s/out; false; }",
		o->format, o->file.path, o->model, o->file.dir, o->file.dir))
		fail(o, "QEMU reads something else");
	if (run(o, "qemu-img info -f %s %s | grep -q '(%" PRIu64 " bytes)'", o->format,
		o->file.path, o->size))
		fail(o, "QEMU sees another size");
	if (o->vhdx && run(o, "qemu-img check -q -f vhdx %s", o->file.path))
		fail(o, "QEMU finds it damaged");
}

static void check_by_libvhdi(const struct oracle *o)
{
	if (run(o, "vhdiinfo %s >%s/out 2>&1 && grep -q 'Disk type.*: %s' %s/out", o->file.path,
		o->file.dir, o->fixed ? "Fixed" : "Dynamic", o->file.dir))
		fail(o, "vhdiinfo refuses it");
	/* It prints small sizes in bytes only. */
	if (run(o, "grep 'Media size' %s/out | grep -q 'bytes)' || exit 0; "
		   "grep -q '(%" PRIu64 " bytes)' %s/out",
		o->file.dir, o->size, o->file.dir))
		fail(o, "vhdiinfo sees another size");
}

static void oracle_create(struct oracle *o)
{
	struct vhd_info info = VHD_INFO_INIT;
	struct vhd_image *image;

	if (o->by_qemu && o->vhdx) {
		if (run(o, "qemu-img create -q -f vhdx -o subformat=%s,block_size=%dM %s %" PRIu64,
			o->fixed ? "fixed" : "dynamic", 1 << random_below(6), o->file.path,
			o->size))
			fail(o, "qemu-img create failed");
	} else if (o->by_qemu) {
		if (run(o, "qemu-img create -q -f vpc -o subformat=%s,force_size=%s %s %" PRIu64,
			o->fixed ? "fixed" : "dynamic", o->force_size ? "on" : "off", o->file.path,
			o->size))
			fail(o, "qemu-img create failed");
	} else {
		image_file_create(&o->file, o->vhdx ? VHD_FORMAT_VHDX : VHD_FORMAT_VHD,
				  o->fixed ? VHD_TYPE_FIXED : VHD_TYPE_DYNAMIC, o->size,
				  o->vhdx ? 1u << (20 + random_below(6)) : 0);
	}
	open_image(o, &image);
	if (vhd_get_info(image, &info) || (o->force_size && info.virtual_size != o->size) ||
	    info.virtual_size < o->size)
		fail(o, "we see the size %" PRIu64, info.virtual_size);
	o->size = info.virtual_size;
	vhd_close(image);
	o->model_fd = open(o->model, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (o->model_fd < 0 || ftruncate(o->model_fd, (off_t)o->size) < 0)
		fail(o, "cannot make the model");
}

static void oracle_run(unsigned seed)
{
	struct oracle o = { .seed = seed };
	bool resized = false;

	srandom(seed);
	o.vhdx = seed % 2 == 0;
	o.format = o.vhdx ? "vhdx" : "vpc";
	image_file_init(&o.file);
	snprintf(o.model, sizeof(o.model), "%s/model", o.file.dir);
	o.fixed = random_below(3) == 0;
	o.by_qemu = random_below(2);
	o.force_size = !o.by_qemu || random_below(2);
	/* Without force_size QEMU can round up past its own limit. */
	do {
		o.size = random_size(&o);
	} while (!o.force_size && o.size > 1000 * GIB);
	oracle_create(&o);
	for (int round = 0; round < 2; round++) {
		if (random_below(3))
			write_by_qemu(&o);
		compare_by_us(&o);
		write_by_us(&o);
		if (random_below(3) == 0) {
			resize_by_us(&o);
			resized = true;
		}
		compare_by_us(&o);
		compare_by_qemu(&o);
	}
	if (!o.vhdx && !resized) /* it shows the size an image was made with */
		check_by_libvhdi(&o);
	close(o.model_fd);
	image_file_fini(&o.file);
}

int main(int argc, char **argv)
{
	unsigned first = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
	unsigned count = argc > 2 ? (unsigned)atoi(argv[2]) :
				    image_cases("VHD_ORACLE_CASES", 150, 30);

	if (system("qemu-img --version >/dev/null 2>&1 && qemu-io --version >/dev/null 2>&1 && "
		   "vhdiinfo -V >/dev/null 2>&1") != 0) {
		printf(
		    "skipped: needs qemu-img, qemu-io (qemu-utils) and vhdiinfo (libvhdi-utils)\n");
		return 77;
	}
	for (unsigned i = 0; i < count; i++)
		oracle_run(first + i);
	printf("%u random images, seeds %u to %u\n", count, first, first + count - 1);
	return 0;
}
