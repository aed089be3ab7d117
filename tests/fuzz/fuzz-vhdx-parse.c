/* SPDX-License-Identifier: MIT */
/* The first byte says which structure of a VHDX the rest is: headers, region table,
 * metadata, block table, parent locator, log. Checksums are put right first. */
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "crc32c.h"
#include "vhdx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROOM = 1 << 20 };

static uint8_t room[ROOM];

static void table_check(void)
{
	struct vhdx_disk disk = { .block_size = 1u << (20 + room[0] % 9), .logical = 512 };
	struct vhdx_space spaces[4096] = { { 0, 1, VHDX_OWNER_HEADERS } };
	uint64_t end;

	disk.size = (1 + get_le16(room + 1) % 1000) * UINT64_C(1048576);
	disk.has_parent = room[3] & 1;
	vhdx_disk_derive(&disk);
	if (disk.entries < 4000)
		vhdx_bat_check(&disk, (const uint64_t *)(const void *)(room + 8),
			       get_le32(room + 4) * UINT64_C(4096), spaces, 1, &end, NULL);
}

static int apply(void *opaque, uint64_t offset, const uint8_t *bytes, uint64_t length)
{
	(void)opaque;
	if (offset < VHDX_REGIONS_1 || length == 0 || (bytes && length != VHDX_PAGE))
		abort();
	return 0;
}

static void log_check(void)
{
	struct vhdx_log log = { .ring = room, .length = ROOM, .guid = room + 32 };

	for (uint32_t at = 0; at < 16 * VHDX_PAGE; at += VHDX_PAGE) {
		uint32_t length = get_le32(room + at + 8);

		if (length >= VHDX_PAGE && length <= ROOM - at)
			put_le32(room + at + 4, vhd_crc32c_structure(room + at, length));
	}
	if (vhdx_log_find(&log, NULL) == 0)
		vhdx_log_replay(&log, VHDX_MIB, apply, NULL, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vhdx_regions regions;
	struct vhdx_item items[VHDX_ITEMS];
	struct vhdx_header header;
	char *value = NULL;
	bool valid;
	int which;

	if (size < 2 || size > ROOM)
		return 0;
	memset(room, 0, sizeof(room));
	memcpy(room, data + 1, size - 1);
	switch (data[0] % 6) {
	case 0:
		put_le32(room + 4, vhd_crc32c_structure(room, VHDX_HEADER_SIZE));
		vhdx_header_choose(room, room + 4096, UINT64_C(1) << 32, &header, &which, NULL);
		break;
	case 1:
		put_le32(room + 4, vhd_crc32c_structure(room, VHDX_TABLE_SIZE));
		vhdx_regions_parse(room, UINT64_C(1) << 32, &regions, &valid, NULL);
		break;
	case 2:
		vhdx_metadata_parse(room, ROOM, items, NULL);
		break;
	case 3:
		table_check();
		break;
	case 4:
		vhdx_locator_find(data + 1, (uint32_t)size - 1, "parent_linkage", &value, NULL);
		free(value);
		break;
	default:
		log_check();
	}
	return 0;
}
