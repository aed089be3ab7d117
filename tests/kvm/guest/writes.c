/* SPDX-License-Identifier: MIT */
/* Blocks all over the disk, each once, with their number in every word; what is said to
 * be flushed has to be there whenever the VMM is killed. */
#include "guest.h"

#define BLOCK_SECTORS 8u
#define BLOCKS 65536u /* 256 MiB */
#define STRIDE 40503u /* odd: goes to all of them */
#define FLUSH_EVERY 4u

static uint64_t words[BLOCK_SECTORS * SECTOR / 8] __attribute__((aligned(PAGE)));

static bool block_write(uint32_t number)
{
	unsigned int i;

	for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		words[i] = number;
	return scsi_write(0, number * STRIDE % BLOCKS * BLOCK_SECTORS, BLOCK_SECTORS, words);
}

void writes_run(void)
{
	uint32_t number;

	if (!expect("start", hypercall_start() && synic_start() && bus_connect() && bus_open(), 1))
		return;
	for (number = 1; number < BLOCKS; number++) {
		if (!block_write(number) || (number % FLUSH_EVERY == 0 && !scsi_flush(0))) {
			expect("written", number, 0);
			return;
		}
		if (number % FLUSH_EVERY == 0) {
			print("flushed ");
			print_number(number);
			print("\n");
		}
	}
}
