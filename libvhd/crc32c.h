/* SPDX-License-Identifier: MIT */
#ifndef LIBVHD_CRC32C_H
#define LIBVHD_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32C (Castagnoli) of @size bytes, going on from @crc: 0 for the first ones. */
uint32_t vhd_crc32c(uint32_t crc, const void *bytes, size_t size);

/* The same without the processor's instruction, for tests. */
uint32_t vhd_crc32c_plain(uint32_t crc, const void *bytes, size_t size);

/* Of a structure whose own checksum, at bytes 4 to 7, counts as zero. */
uint32_t vhd_crc32c_structure(const uint8_t *bytes, size_t size);

#endif
