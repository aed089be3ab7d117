/* SPDX-License-Identifier: MIT */
/* What to run is a word of the command line: journey, hostile, reset,
 * writes, cost-none, cost-ata or cost-storvsc. */
#include "guest.h"

#define PARAMS_COMMAND_LINE 0x228 /* cmd_line_ptr in struct boot_params */

void guest_main(const uint8_t *params);

static bool word_in(const char *line, const char *word)
{
	for (; *line; line++) {
		const char *a = line, *b = word;

		while (*b && *a == *b)
			a++, b++;
		if (!*b)
			return true;
	}
	return false;
}

void guest_main(const uint8_t *params)
{
	uint32_t pointer;
	const char *line;

	__builtin_memcpy(&pointer, params + PARAMS_COMMAND_LINE, sizeof(pointer));
	line = (const char *)(uintptr_t)pointer;
	interrupts_start();
	if (word_in(line, "hostile"))
		hostile_run(word_in(line, "synic=kernel"));
	else if (word_in(line, "cost"))
		cost_run(word_in(line, "cost-ata"), word_in(line, "cost-storvsc"));
	else if (word_in(line, "writes"))
		writes_run();
	else if (word_in(line, "reset"))
		reset_run();
	else
		journey_run();
	print("end\n");
	power_off();
}
