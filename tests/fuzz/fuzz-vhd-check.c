/* SPDX-License-Identifier: MIT */
/* A good image with some of its structures changed by the input: checked, repaired and
 * compacted, as the input wants. What a check calls sound can be opened; what was
 * repaired has nothing left to repair. */
#include <errno.h>
#include <stdlib.h>

#include <vhd/maintain.h>

#include "fuzz-image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void found(void *opaque, enum vhd_finding finding, const char *text)
{
	(void)opaque;
	if (finding > VHD_FINDING_DAMAGE || text[0] == '\0')
		abort();
}

static bool host_trouble(int ret)
{
	return ret == -ENOTSUP || ret == -EFBIG || ret == -ENOSPC || ret == -ENOMEM;
}

/* False: there is no telling, or damage. */
static bool check(uint32_t flags, struct vhd_check *c)
{
	struct vhd_open_options options;
	struct vhd_task task = VHD_TASK_INIT;
	struct vhd_error err = { 0, "" };
	const char *path = fuzz_image_options(0, &options);
	int ret;

	*c = (struct vhd_check)VHD_CHECK_INIT;
	c->flags = flags;
	c->found = found;
	task.open = &options;
	ret = vhd_check(path, &task, c, &err);
	if (ret && err.text[0] == '\0')
		abort();
	return ret == 0 && c->count[VHD_FINDING_DAMAGE] == 0;
}

static void compact(void)
{
	struct vhd_open_options options;
	struct vhd_task task = VHD_TASK_INIT;
	struct vhd_error err = { 0, "" };
	const char *path = fuzz_image_options(0, &options);
	struct vhd_check c;
	int ret;

	task.open = &options;
	ret = vhd_compact(path, &task, NULL, &err);
	if (ret && err.text[0] == '\0')
		abort();
	if (ret == 0 && (!check(0, &c) || c.count[VHD_FINDING_LEAK]))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	uint8_t how = fuzz_byte(&in);
	struct vhd_image *image;
	struct vhd_check c;

	fuzz_image_begin((enum fuzz_kind)(how % FUZZ_KINDS));
	fuzz_image_change(&in);
	if (check(0, &c)) {
		int ret = fuzz_image_open(VHD_OPEN_READ_ONLY, &image);

		if (ret && !host_trouble(ret))
			abort();
		if (!ret)
			(void)!vhd_close(image);
	}
	if (how & 64 && check(VHD_CHECK_REPAIR, &c) && c.repaired &&
	    (!check(0, &c) || c.count[VHD_FINDING_LEAK] + c.count[VHD_FINDING_STALE]))
		abort();
	if (how & 128)
		compact();
	fuzz_image_end();
	return 0;
}
