/* SPDX-License-Identifier: MIT */
/* The input is the log of a VHDX that was not closed: it is replayed, in memory or in the
 * file, and what comes of it is used. */
#include "fuzz-image.h"

#include "vhdx-format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RING_MAX = 64 << 10 };

/* The entries' GUID is 1 and zeros: easy to have in an input. */
static void header_put(void)
{
	struct vhdx_header h = {
		.sequence = 1000,
		.version = 1,
		.log_length = FUZZ_MIB,
		.log_offset = FUZZ_LOG,
		.log_guid = { 1 },
	};
	uint8_t bytes[VHDX_HEADER_SIZE];

	vhdx_header_build(bytes, &h);
	fuzz_image_put(bytes, sizeof(bytes), VHDX_HEADER_1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	uint8_t how = fuzz_byte(&in);
	struct vhd_image *image;

	if (in.size > RING_MAX)
		return 0;
	fuzz_image_begin(how & 1 ? FUZZ_VHDX_CHILD : FUZZ_VHDX);
	header_put();
	fuzz_image_put(in.bytes, in.size, FUZZ_LOG);
	fuzz_log_repair();
	if (fuzz_image_open(how & 2 ? VHD_OPEN_READ_ONLY | VHD_OPEN_ANY_PARENT :
				      VHD_OPEN_ANY_PARENT,
			    &image) == 0) {
		fuzz_image_use(image);
		(void)!vhd_close(image);
	}
	fuzz_image_end();
	return 0;
}
