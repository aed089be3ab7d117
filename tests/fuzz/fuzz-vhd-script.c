/* SPDX-License-Identifier: MIT */
/* The input changes a block table, and then says what is done to the disk: reads, writes,
 * zeroes, discards, flushes, other sizes, opening again. While the table is as it was made,
 * every sector must read as it was last written. */
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "fuzz-image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SECTOR = 512, STEPS_MAX = 60 };

struct script {
	struct vhd_image *image;
	uint64_t size;
	bool modelled;
	uint8_t model[FUZZ_DISK];
};

static uint8_t buf[FUZZ_DISK];

static void compare(const struct script *s, uint64_t offset, uint64_t length)
{
	if (vhd_pread(s->image, buf, length, offset) < 0) {
		if (s->modelled)
			abort();
		return;
	}
	if (s->modelled && memcmp(buf, s->model + offset, length) != 0)
		abort();
}

/* A range somewhere; small, or of whole blocks. */
static uint64_t range(struct fuzz_input *in, const struct script *s, uint64_t *offset)
{
	uint64_t where = fuzz_byte(in) | (uint64_t)fuzz_byte(in) << 8;
	uint64_t length = (1 + fuzz_byte(in)) * (uint64_t)SECTOR;

	*offset = where * SECTOR % s->size;
	if (where & 0x8000) {
		*offset = round_down(*offset, FUZZ_MIB);
		length = FUZZ_MIB;
	}
	return min_u64(length, s->size - *offset);
}

static void change(struct script *s, struct fuzz_input *in, unsigned op)
{
	uint64_t offset, length = range(in, s, &offset);
	uint8_t value = op == 1 ? fuzz_byte(in) : 0;
	int ret;

	memset(s->model + offset, value, length);
	if (op == 1)
		ret = vhd_pwrite(s->image, s->model + offset, length, offset);
	else
		ret = op == 2 ? vhd_write_zeroes(s->image, offset, length) :
				vhd_discard(s->image, offset, length);
	if (ret && s->modelled)
		abort();
}

static void resize(struct script *s, struct fuzz_input *in)
{
	uint64_t size = (1 + (fuzz_byte(in) | (uint64_t)fuzz_byte(in) << 8)) * SECTOR % FUZZ_DISK;
	uint64_t old = s->size;
	int ret;

	size = size ? size : FUZZ_DISK;
	ret = vhd_resize(s->image, size, VHD_RESIZE_SHRINK, NULL);
	if (ret)
		return; /* a child smaller than its parent */
	if (size > old)
		memset(s->model + old, 0, size - old);
	s->size = size;
}

static bool reopen(struct script *s)
{
	int ret = vhd_close(s->image);

	if (!ret)
		ret = fuzz_image_open(0, &s->image);
	if (ret && s->modelled)
		abort();
	if (ret)
		return false;
	return true;
}

/* False: the image is closed. */
static bool step(struct script *s, struct fuzz_input *in)
{
	unsigned op = fuzz_byte(in) % 8;
	uint64_t offset, length;

	switch (op) {
	case 1:
	case 2:
	case 3:
		change(s, in, op);
		return true;
	case 4:
		if (vhd_flush(s->image) && s->modelled)
			abort();
		return true;
	case 5:
		resize(s, in);
		return true;
	case 6:
		return reopen(s);
	default:
		length = range(in, s, &offset);
		compare(s, offset, length);
		return true;
	}
}

static void script_run(struct script *s, struct fuzz_input *in)
{
	struct vhd_info info = VHD_INFO_INIT;

	if (fuzz_image_open(0, &s->image))
		return;
	if (vhd_get_info(s->image, &info))
		abort();
	s->size = min_u64(info.virtual_size, FUZZ_DISK);
	s->modelled &= info.virtual_size == FUZZ_DISK;
	if (vhd_pread(s->image, s->model, s->size, 0) < 0 && s->modelled)
		abort();
	for (unsigned i = 0; i < STEPS_MAX && in->size > 0; i++)
		if (!step(s, in))
			return;
	compare(s, 0, s->size);
	if (vhd_close(s->image) && s->modelled)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct script s;
	struct fuzz_input in = { data, size };
	uint8_t how = fuzz_byte(&in);

	fuzz_image_begin((enum fuzz_kind)(how % FUZZ_KINDS));
	s.modelled = !(how & 0x80);
	if (!s.modelled)
		fuzz_image_change(&in);
	script_run(&s, &in);
	fuzz_image_end();
	return 0;
}
