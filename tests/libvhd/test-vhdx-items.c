/* SPDX-License-Identifier: MIT */
/* Metadata of the virtual disk that nobody here knows: it goes from a parent to its children,
 * and back with a merge; the file's own stays where it is. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <vhd/maintain.h>

#include "bytes.h"
#include "image-file.h"
#include "utf16.h"
#include "vhdx.h"

enum { MIB = 1 << 20, METADATA = 2 * MIB };

struct item {
	char name; /* all bytes of its GUID */
	uint32_t flags, length;
	char fill;
};

static void item_add(const struct image_file *f, const struct item *item, uint32_t place)
{
	static uint8_t contents[MIB];
	uint8_t entry[VHDX_ITEM_ENTRY] = { 0 }, count[2];
	uint32_t at = METADATA + VHDX_ITEM_ENTRIES_AT;

	image_file_read(f, count, 2, METADATA + VHDX_ITEM_COUNT_AT);
	at += VHDX_ITEM_ENTRY * get_le16(count);
	memset(entry, item->name, 16);
	put_le32(entry + VHDX_ITEM_OFFSET_AT, item->length ? place : 0);
	put_le32(entry + VHDX_ITEM_LENGTH_AT, item->length);
	put_le32(entry + VHDX_ITEM_FLAGS_AT, item->flags);
	memset(contents, item->fill, item->length);
	image_file_write(f, contents, item->length, METADATA + place);
	image_file_write(f, entry, sizeof(entry), at);
	put_le16(count, (uint16_t)(get_le16(count) + 1));
	image_file_write(f, count, 2, METADATA + VHDX_ITEM_COUNT_AT);
}

/* The last one stands first in the file. */
static void items_add(const struct image_file *f, const struct item *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		item_add(f, &items[i], (256u << 10) + (uint32_t)(count - 1 - i) * (64u << 10));
}

static bool item_is(const struct image_file *f, const uint8_t *entry, const struct item *item)
{
	static uint8_t contents[MIB];
	uint32_t length = get_le32(entry + VHDX_ITEM_LENGTH_AT);

	for (int i = 0; i < 16; i++)
		if (entry[i] != item->name)
			return false;
	if (get_le32(entry + VHDX_ITEM_FLAGS_AT) != item->flags || length != item->length ||
	    (length == 0 && get_le32(entry + VHDX_ITEM_OFFSET_AT)))
		return false;
	image_file_read(f, contents, length, METADATA + get_le32(entry + VHDX_ITEM_OFFSET_AT));
	for (uint32_t i = 0; i < length; i++)
		if (contents[i] != item->fill)
			return false;
	return true;
}

/* Those are the items that nobody knows, and no others. */
static void expect_items(const struct image_file *f, const struct item *items, size_t count,
			 const char *what)
{
	static uint8_t table[VHDX_TABLE_SIZE];
	size_t found = 0, foreign = 0;

	image_file_read(f, table, sizeof(table), METADATA);
	for (uint32_t i = 0; i < get_le16(table + VHDX_ITEM_COUNT_AT); i++) {
		const uint8_t *e = table + VHDX_ITEM_ENTRIES_AT + VHDX_ITEM_ENTRY * i;

		foreign += vhdx_item_find(e) == VHDX_ITEMS;
		for (size_t k = 0; k < count; k++)
			found += item_is(f, e, &items[k]);
	}
	cr_expect_eq(found, count, "%s: %zu of %zu", what, found, count);
	cr_expect_eq(foreign, count, "%s: %zu, expected %zu", what, foreign, count);
}

static int child_create(const struct image_file *parent, const char *name,
			struct image_file *child, struct vhd_error *err)
{
	struct vhd_create_options options = VHD_CREATE_OPTIONS_INIT;

	*child = *parent;
	snprintf(child->path, sizeof(child->path), "%s/%s", parent->dir, name);
	options.format = VHD_FORMAT_VHDX;
	options.type = VHD_TYPE_DIFFERENCING;
	options.block_size = MIB;
	options.parent = parent->path;
	return vhd_create(child->path, &options, err);
}

static char byte_at(const struct image_file *f, uint64_t offset)
{
	struct vhd_image *image;
	struct vhd_error err;
	char data[512];

	cr_assert_eq(image_file_open(f, 0, &image, &err), 0, "%s", err.text);
	cr_assert_eq(vhd_pread(image, data, sizeof(data), offset), 0);
	cr_assert_eq(vhd_close(image), 0);
	return data[0];
}

#define USER VHDX_ITEM_USER
#define DISK VHDX_ITEM_VIRTUAL_DISK

Test(vhdx_items, of_the_disk_go_to_its_children)
{
	static const struct item has[] = {
		{ 'D', DISK, 5000, 'd' }, { 'F', 0, 100, 'f' },		 { 'U', USER, 1, 'u' },
		{ 'V', USER | DISK, 7, 'v' }, { 'E', DISK, 0, 0 }, { 'D', USER | DISK, 8, 'x' },
	};
	static const struct item gets[] = {
		{ 'D', DISK, 5000, 'd' }, { 'V', USER | DISK, 7, 'v' },
		{ 'E', DISK, 0, 0 },	  { 'D', USER | DISK, 8, 'x' },
	};
	struct image_file f, child, grandchild;
	struct vhd_error err;

	image_file_make_vhdx(&f);
	items_add(&f, has, 6);
	cr_assert_eq(child_create(&f, "child", &child, &err), 0, "%s", err.text);
	expect_items(&child, gets, 4, "child");
	cr_assert_eq(child_create(&child, "grandchild", &grandchild, &err), 0, "%s", err.text);
	expect_items(&grandchild, gets, 4, "grandchild");
	cr_expect_eq(byte_at(&grandchild, MIB), 'x');
	image_file_fini(&f);
}

Test(vhdx_items, that_take_too_much_are_not_left_out)
{
	static const struct item large[] = { { 'L', DISK, 513 << 10, 'l' } };
	struct image_file f, child;
	struct vhd_error err;

	image_file_make_vhdx(&f);
	items_add(&f, large, 1);
	cr_expect_eq(child_create(&f, "child", &child, &err), -EFBIG);
	cr_expect(strstr(err.text, "metadata"), "%s", err.text);
	image_file_fini(&f);
}

/* What the child has of them takes the place of what the parent has, known or not. */
Test(vhdx_items, of_the_disk_come_back_with_a_merge)
{
	static const struct item before[] = { { 'P', DISK, 300, 'p' }, { 'F', 0, 100, 'f' },
					      { 'U', USER, 9, 'u' } };
	/* No room for that between the parent's. */
	static const struct item childs[] = { { 'C', DISK, 250 << 10, 'c' }, { 'G', 0, 50, 'g' },
					      { 'V', USER | DISK, 4, 'v' } };
	static const struct item after[] = {
		{ 'P', DISK, 300, 'p' }, { 'C', DISK, 250 << 10, 'c' },
		{ 'V', USER | DISK, 4, 'v' }, { 'F', 0, 100, 'f' },	 { 'U', USER, 9, 'u' },
	};
	struct vhd_info parents = VHD_INFO_INIT;
	struct image_file f, child;
	struct vhd_image *image;
	struct vhd_error err;
	uint8_t id[16];

	image_file_make_vhdx(&f);
	items_add(&f, before, 3);
	cr_assert_eq(child_create(&f, "child", &child, &err), 0, "%s", err.text);
	cr_assert_eq(image_file_open(&child, 0, &image, NULL), 0);
	cr_assert_eq(vhd_write_zeroes(image, MIB, 4096), 0);
	cr_assert_eq(vhd_close(image), 0);
	items_add(&child, childs, 3);
	memset(id, 7, sizeof(id)); /* the third item of ours */
	image_file_write(&child, id, sizeof(id), METADATA + VHDX_TABLE_SIZE + 16);

	cr_assert_eq(vhd_merge(child.path, NULL, &err), 0, "%s", err.text);
	expect_items(&f, after, 5, "parent");
	cr_expect_eq(byte_at(&f, MIB), 0);
	cr_expect_eq(byte_at(&f, MIB + 4096), 'x');
	cr_assert_eq(image_file_open(&f, VHD_OPEN_READ_ONLY, &image, NULL), 0);
	vhd_get_info(image, &parents);
	vhd_close(image);
	cr_expect_arr_eq(parents.id, id, sizeof(id));
	cr_expect_eq(parents.virtual_size, 8 * MIB);

	/* Once more, as after an end in between: nothing is to be done. */
	cr_assert_eq(vhd_merge(child.path, NULL, &err), 0, "%s", err.text);
	expect_items(&f, after, 5, "parent again");
	cr_expect_eq(byte_at(&child, MIB), 0);

	/* Nothing has come or gone, but one has other contents. */
	memset(id, 9, sizeof(id));
	image_file_write(&child, id, sizeof(id), METADATA + VHDX_TABLE_SIZE + 16);
	cr_assert_eq(vhd_merge(child.path, NULL, &err), 0, "%s", err.text);
	cr_assert_eq(image_file_open(&f, VHD_OPEN_READ_ONLY, &image, NULL), 0);
	vhd_get_info(image, &parents);
	vhd_close(image);
	cr_expect_arr_eq(parents.id, id, sizeof(id));
	image_file_fini(&f);
}

/* Wherever it ends, the parent is whole, the child still its child, and all can be done again. */
Test(vhdx_items, are_merged_at_once)
{
	static const struct item before[] = { { 'P', DISK, 300, 'p' } };
	static const struct item childs[] = { { 'C', DISK, 9000, 'c' } };
	static const struct item after[] = { { 'P', DISK, 300, 'p' }, { 'C', DISK, 9000, 'c' } };
	struct image_failing failing = { 0, UINT64_MAX, 0, 0 };
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct vhd_task task = VHD_TASK_INIT;
	struct image_file f, child;
	struct vhd_error err;
	int ret = -EIO;

	options.io = &image_io_failing;
	options.io_opaque = &failing;
	task.open = &options;
	for (int ends = 0; ret; ends += (int)image_cases("VHD_MERGE_STEP", 3, 9)) {
		image_file_make_vhdx(&f);
		items_add(&f, before, 1);
		cr_assert_eq(child_create(&f, "child", &child, &err), 0, "%s", err.text);
		items_add(&child, childs, 1);
		failing.writes_left = ends;
		ret = vhd_merge(child.path, &task, &err);
		cr_assert(ret == 0 || ret == -EIO, "after %d writes: %s", ends, err.text);
		cr_expect_eq(byte_at(&child, MIB), 'x', "after %d writes", ends);
		cr_expect_eq(vhd_merge(child.path, NULL, &err), 0, "after %d writes: %s", ends,
			     err.text);
		expect_items(&f, after, 2, "after an end");
		cr_expect_eq(byte_at(&f, MIB), 'x', "after %d writes", ends);
		image_file_fini(&f);
	}
}

/* A merge tells the child its parent's next id, in one more key. */
Test(vhdx_items, locator_with_too_many_keys_is_not_written)
{
	enum { KEYS = 256, HEADER = 20, ENTRY = 12 };
	static uint8_t locator[16384];
	uint8_t now[16] = { 1 }, next[16] = { 2 }, *bytes;
	uint32_t used = HEADER + KEYS * ENTRY, length;
	char name[8];

	for (int count = KEYS - 1; count <= KEYS; count++) {
		put_le16(locator + 18, (uint16_t)count);
		used = HEADER + KEYS * ENTRY;
		for (int i = 0; i < count; i++) {
			uint8_t *e = locator + HEADER + i * ENTRY;
			uint16_t size;

			snprintf(name, sizeof(name), "k%d", i);
			size = (uint16_t)vhd_utf16_encode(i ? name : "parent_linkage",
							  locator + used, 256, UTF16_LE);
			put_le32(e, used);
			put_le32(e + 4, used);
			put_le16(e + 8, size);
			put_le16(e + 10, size);
			used += size;
		}
		cr_expect_eq(vhdx_locator_link(locator, now, next, &bytes, &length),
			     count == KEYS ? -EFBIG : 0);
		if (count < KEYS)
			free(bytes);
	}
}
