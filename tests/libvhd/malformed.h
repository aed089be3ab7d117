/* SPDX-License-Identifier: MIT */
/* Tables of what can be wrong with an image: one field of a good one is changed, checksums
 * are put right, and it is opened, for reading and for writing. */
#ifndef TESTS_LIBVHD_MALFORMED_H
#define TESTS_LIBVHD_MALFORMED_H

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "image-file.h"

struct malformed_row {
	const char *name;
	uint64_t at; /* in the file */
	uint64_t value;
	unsigned size; /* bytes of it */
	int fault;     /* what opening gives: 0 or enum vhd_fault */
	const char *word; /* that the error's text must have in it */
	int writing;   /* what opening for writing gives, when that is another thing */
};

struct malformed {
	struct image_file file;
	uint8_t *good; /* the file's bytes */
	size_t size;
	uint32_t flags; /* VHD_OPEN_*, in any case */
	bool little; /* values are little-endian */
	/* Puts the checksums right in @bytes, where the field at @at was changed. */
	void (*repair)(uint8_t *bytes, size_t size, uint64_t at);
};

static inline void malformed_put(const struct malformed *m, uint8_t *bytes,
				 const struct malformed_row *row)
{
	for (unsigned i = 0; i < row->size; i++) {
		unsigned shift = 8 * (m->little ? i : row->size - 1 - i);

		bytes[row->at + i] = (uint8_t)(row->value >> shift);
	}
	m->repair(bytes, m->size, row->at);
}

static inline void malformed_try(const struct malformed *m, const struct malformed_row *row,
				 uint32_t flags, int want)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct vhd_error err = { 0, "" };
	uint8_t *bytes = malloc(m->size);
	struct vhd_image *image;
	int ret;

	memcpy(bytes, m->good, m->size);
	malformed_put(m, bytes, row);
	image_file_truncate(&m->file, 0);
	image_file_write(&m->file, bytes, m->size, 0);
	free(bytes);
	options.flags = m->flags | flags;
	options.io = &image_io_unsynced;
	ret = vhd_open(m->file.path, &options, &image, &err);
	cr_expect_eq(ret, want, "%s, %s: %d %s, expected %d", row->name,
		     flags ? "reading" : "writing", ret, err.text, want);
	if (ret && row->word)
		cr_expect(strstr(err.text, row->word) != NULL, "%s: \"%s\" does not say %s",
			  row->name, err.text, row->word);
	cr_expect_eq(vhd_close(image), 0, "%s", row->name);
}

static inline void malformed_run(const struct malformed *m, const struct malformed_row *rows,
				 size_t count)
{
	for (size_t i = 0; i < count; i++) {
		malformed_try(m, &rows[i], VHD_OPEN_READ_ONLY, rows[i].fault);
		malformed_try(m, &rows[i], 0, rows[i].writing ? rows[i].writing : rows[i].fault);
	}
}

/* Takes the file as it is for the good one. */
static inline void malformed_take(struct malformed *m)
{
	m->size = image_file_size(&m->file);
	m->good = malloc(m->size);
	image_file_read(&m->file, m->good, m->size, 0);
}

static inline void malformed_fini(struct malformed *m)
{
	free(m->good);
	image_file_fini(&m->file);
}

#endif
