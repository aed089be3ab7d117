/* SPDX-License-Identifier: MIT */
/* A good VHDX with some of its structures changed by the input: opened, used, closed. */
#include "fuzz-image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	uint8_t how = fuzz_byte(&in);
	struct vhd_image *image;

	fuzz_image_begin(how & 1 ? FUZZ_VHDX_CHILD : FUZZ_VHDX);
	fuzz_image_change(&in);
	if (fuzz_image_open(how & 2 ? VHD_OPEN_READ_ONLY | VHD_OPEN_ANY_PARENT : 0, &image) == 0) {
		fuzz_image_use(image);
		(void)!vhd_close(image);
	}
	fuzz_image_end();
	return 0;
}
