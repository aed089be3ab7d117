/* SPDX-License-Identifier: MIT */
#include <inttypes.h>

#include "image.h"

int vhd_raw_open(const struct open_context *ctx, struct vhd_layer *layer)
{
	uint64_t size;
	int ret = vhd_file_size(layer->file, &size);

	if (ret)
		return vhd_fail(ctx->err, ret, "cannot find the file's size");
	if (size == 0 || size % 512)
		return vhd_fail(ctx->err, VHD_FAULT_FILE_SIZE,
				"raw image: file size is %" PRIu64
				", expected a multiple of 512, at least 512",
				size);
	layer->format = VHD_FORMAT_RAW;
	layer->type = VHD_TYPE_FIXED;
	layer->size = size;
	layer->logical = layer->physical = 512;
	return 0;
}
