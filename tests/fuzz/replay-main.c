/* SPDX-License-Identifier: MIT */
/* Runs a fuzz target over the files named on the command line. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (1u << 20)

static int input_run(const char *path)
{
	uint8_t *data = malloc(INPUT_MAX), *exact = NULL;
	FILE *file = fopen(path, "rb");
	size_t size = 0;
	int failed = 1;

	if (!data || !file)
		goto out;
	size = fread(data, 1, INPUT_MAX, file);
	/* exactly as long as the input, so that ASan sees a read past it */
	exact = malloc(size ? size : 1);
	if (!exact || ferror(file))
		goto out;
	__builtin_memcpy(exact, data, size);
	LLVMFuzzerTestOneInput(exact, size);
	failed = 0;
out:
	if (failed)
		perror(path);
	if (file)
		fclose(file);
	free(exact);
	free(data);
	return failed;
}

int main(int argc, char **argv)
{
	int failed = 0;

	for (int i = 1; i < argc; i++)
		failed |= input_run(argv[i]);
	return failed;
}
