/* SPDX-License-Identifier: MIT */
/* Checking an image: what opening it tells, what its format looks at besides, and who
 * owns the file's space. */
#include "check.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bytes.h"
#include "maintain.h"
#include "space.h"

enum { ENTRIES_TOLD = 100 };

const char *vhd_finding_name(enum vhd_finding finding)
{
	static const char *const names[] = { "note", "leak", "stale", "damage" };

	return (unsigned)finding < sizeof(names) / sizeof(names[0]) ? names[finding] : "?";
}

void vhd_check_found(struct vhd_check *check, enum vhd_finding finding, const char *text)
{
	check->count[finding]++;
	if (check->found)
		check->found(check->opaque, finding, text);
}

void vhd_check_tell(struct vhd_check *check, enum vhd_finding finding, const char *format, ...)
{
	struct vhd_error text;
	va_list args;

	va_start(args, format);
	vhd_error_print(&text, format, args);
	va_end(args);
	vhd_check_found(check, finding, text.text);
}

void vhd_check_entry(void *opaque, const char *text)
{
	struct vhd_check *check = opaque;

	if (check->count[VHD_FINDING_DAMAGE] < ENTRIES_TOLD)
		vhd_check_found(check, VHD_FINDING_DAMAGE, text);
	else
		check->count[VHD_FINDING_DAMAGE]++;
}

int vhd_check_spaces(struct vhd_check *check, const struct vhd_layer *layer, uint64_t slot,
		     uint64_t file_end)
{
	struct spaces s;
	uint64_t gaps = 0, bytes = 0, end = 0;
	bool block_seen = false;
	int ret = vhd_spaces_init(&s, layer);

	for (size_t i = 0; !ret && i < s.count; i++) {
		/* In front of the first block is what its creator wanted to be empty. */
		if (block_seen && s.all[i].start > end && s.all[i].start - end >= slot) {
			gaps++;
			bytes += s.all[i].start - end;
		}
		block_seen |= s.all[i].block != SPACE_FIXED;
		end = max_u64(end, s.all[i].end);
	}
	if (gaps)
		vhd_check_tell(check, VHD_FINDING_LEAK,
			       "%" PRIu64 " gaps between blocks, %" PRIu64 " bytes in all", gaps,
			       bytes);
	if (!ret && file_end > end) {
		vhd_check_tell(check, VHD_FINDING_LEAK,
			       "%" PRIu64 " bytes at %" PRIu64
			       ", behind the last block, belong to nothing",
			       file_end - end, end);
		bytes += file_end - end;
	}
	check->leaked_bytes = bytes;
	vhd_spaces_fini(&s);
	return ret;
}

/* How much of the disk this file holds; every bitmap is read on the way. */
static int data_count(struct vhd_image *image, const struct vhd_task *task,
		      struct vhd_check *check)
{
	uint64_t size = image->layers[0].size;
	struct vhd_extent e;
	int ret = 0;

	check->data_bytes = 0;
	for (uint64_t at = 0; !ret && at < size; at += e.length) {
		ret = vhd_get_extent(image, at, size - at, &e);
		if (!ret && e.data && e.depth == 0)
			check->data_bytes += e.length;
		if (!ret)
			ret = vhd_task_progress(task, at + e.length, size);
	}
	return ret;
}

static bool is_no_image(int fault)
{
	return fault == VHD_FAULT_NOT_AN_IMAGE || fault == VHD_FAULT_FOOTER_COOKIE ||
	       fault == VHD_FAULT_AMBIGUOUS;
}

/* The open failed with @fault: that is the first damage, and perhaps not the last.
 * 0 when the damage is told. */
static int fault_tell(const struct open_context *ctx, int fault)
{
	const struct vhd_image *image = ctx->image;
	const struct vhd_layer *top = &image->layers[0];

	if (fault < 0 || (is_no_image(fault) && image->layer_count < 2))
		return fault;
	if ((fault == VHD_FAULT_BAT_ENTRY || fault == VHD_FAULT_BAT_OVERLAP) &&
	    image->layer_count == 1 && top->ops && top->ops->check_table)
		top->ops->check_table(top, ctx->check);
	if (ctx->check->count[VHD_FINDING_DAMAGE] == 0)
		vhd_check_found(ctx->check, VHD_FINDING_DAMAGE, ctx->err->text);
	return 0;
}

static int image_check(const struct open_context *ctx, const struct vhd_task *task)
{
	struct vhd_image *image = ctx->image;
	const struct vhd_layer *top = &image->layers[0];
	int ret = 0;

	if (top->ops && top->ops->check)
		ret = top->ops->check(image, ctx->check);
	if (!ret)
		ret = data_count(image, task, ctx->check);
	return ret ? vhd_fail(ctx->err, ret, "%s: cannot be checked", ctx->path) : 0;
}

static int check_once(const char *path, const struct vhd_task *task,
		      const struct vhd_open_options *options, struct vhd_check *check,
		      struct vhd_error *err)
{
	struct open_context ctx = { .path = path, .check = check, .err = err };
	struct vhd_open_options copy;
	int ret = vhd_image_open(&ctx, options, &copy);

	if (ret == 0)
		ret = image_check(&ctx, task);
	else if (ctx.image)
		ret = fault_tell(&ctx, ret);
	vhd_image_free(ctx.image);
	return ret;
}

/* Opening for writing puts copies right and replays a log; the rest is the format's. */
static int image_repair(const char *path, struct vhd_open_options *options,
			struct vhd_error *err)
{
	struct vhd_image *image;
	int ret, closed;

	options->flags &= ~(uint32_t)VHD_OPEN_READ_ONLY;
	ret = vhd_open(path, options, &image, err);
	if (ret)
		return ret;
	if (image->layers[0].ops && image->layers[0].ops->repair)
		ret = image->layers[0].ops->repair(image);
	if (!ret)
		ret = vhd_pack(image, NULL, NULL);
	closed = vhd_close(image);
	ret = ret ? ret : closed;
	return ret ? vhd_fail(err, ret, "%s: cannot be repaired", path) : 0;
}

int vhd_check(const char *path, const struct vhd_task *task, struct vhd_check *check,
	      struct vhd_error *err)
{
	struct vhd_open_options options;
	struct vhd_error own;
	struct vhd_task job;
	int ret;

	err = err ? err : &own;
	if (check->size != sizeof(*check))
		return vhd_fail(err, -EINVAL, "check of %zu bytes, expected %zu", check->size,
				sizeof(*check));
	ret = vhd_task_copy(&job, &options, task, err);
	if (ret)
		return ret;
	memset(check->count, 0, sizeof(check->count));
	check->repaired = false;
	options.flags |= VHD_OPEN_READ_ONLY;
	ret = check_once(path, &job, &options, check, err);
	if (ret || !(check->flags & VHD_CHECK_REPAIR) || check->count[VHD_FINDING_DAMAGE] ||
	    check->count[VHD_FINDING_LEAK] + check->count[VHD_FINDING_STALE] == 0)
		return ret;
	ret = image_repair(path, &options, err);
	check->repaired = ret == 0;
	return ret;
}
