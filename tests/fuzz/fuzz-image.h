/* SPDX-License-Identifier: MIT */
/* Images in memory for fuzz targets: good ones, made once, that an input changes here and
 * there, and that are as before for the next input. */
#ifndef TESTS_FUZZ_IMAGE_H
#define TESTS_FUZZ_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include <vhd/vhd.h>

enum fuzz_kind { FUZZ_VHD, FUZZ_VHD_CHILD, FUZZ_VHDX, FUZZ_VHDX_CHILD, FUZZ_KINDS };

enum {
	FUZZ_MIB = 1 << 20,
	FUZZ_LOG = FUZZ_MIB, /* where a VHDX has it */
	FUZZ_DISK = 8 * FUZZ_MIB,
	FUZZ_VHD_BLOCK = 64 << 10, /* a VHDX has blocks of 1 MiB */
};

/* What is left of an input. */
struct fuzz_input {
	const uint8_t *bytes;
	size_t size;
};

/* The next byte, or 0. */
uint8_t fuzz_byte(struct fuzz_input *in);

/* A fresh image of a kind: blocks 1 and 2 are there, partly in a child, whose parent has
 * block 3. Good until fuzz_image_end(). */
void fuzz_image_begin(enum fuzz_kind kind);
void fuzz_image_end(void);

/* Changes some of its structures as the input says, and puts their checksums right if that is
 * what the input wants. */
void fuzz_image_change(struct fuzz_input *in);
/* The bytes at @offset, and the checksum of each entry of the log. */
void fuzz_image_put(const void *bytes, size_t size, uint64_t offset);
void fuzz_log_repair(void);

/* What it holds now. */
const uint8_t *fuzz_image_bytes(size_t *size);

/* Its path, and the options it can be opened with. */
const char *fuzz_image_options(uint32_t flags, struct vhd_open_options *options);

/* vhd_open() of it. A fault must have a text, and be no trouble of the host's but
 * that its disk is full: aborts otherwise. */
int fuzz_image_open(uint32_t flags, struct vhd_image **image);

/* Reads and writes a little everywhere. */
void fuzz_image_use(struct vhd_image *image);

#endif
