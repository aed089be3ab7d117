/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vhdtool-output.h"

static char *_Atomic unfinished;

/* Only what a signal handler may do. */
static void interrupted(int number)
{
	char *path = unfinished;

	if (path)
		unlink(path);
	signal(number, SIG_DFL);
	raise(number);
}

/* ".NAME.12345678.part" beside the file. */
static char *temporary_name(const char *path)
{
	char *directory = strdup(path), *base = strdup(path), *name = NULL;
	uint32_t random;

	if (directory && base && getrandom(&random, sizeof(random), 0) == sizeof(random) &&
	    asprintf(&name, "%s/.%.200s.%08" PRIx32 ".part", dirname(directory), basename(base),
		     random) < 0)
		name = NULL;
	free(directory);
	free(base);
	return name;
}

/* Our own lock on @from would be in the way of another one. */
static bool is_open(const struct vhd_image *from, const struct stat *file)
{
	struct stat st;
	const char *path;

	for (uint32_t depth = 0; (path = vhd_get_path(from, depth)); depth++)
		if (stat(path, &st) == 0 && st.st_dev == file->st_dev && st.st_ino == file->st_ino)
			return true;
	return false;
}

/* What somebody wrote to it from now on would be lost. */
static int old_lock(struct output *out, const struct vhd_image *from)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct vhd_error err;
	struct stat st;

	if (stat(out->path, &st) < 0)
		return TOOL_OK;
	if (!S_ISREG(st.st_mode))
		return tool_fail("%s: only a regular file can be replaced", out->path);
	options.format = VHD_FORMAT_RAW;
	if (is_open(from, &st) || vhd_open(out->path, &options, &out->old, &err) != -EAGAIN)
		return TOOL_OK;
	return tool_fail_error(&err);
}

int output_begin(struct output *out, const char *path, bool force, const struct vhd_image *from)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = interrupted };
	struct sigaction old;

	int ret;

	*out = (struct output){ path, NULL, force, NULL };
	ret = force ? old_lock(out, from) : TOOL_OK;
	if (ret)
		return ret;
	out->temporary = temporary_name(path);
	if (!out->temporary)
		return tool_fail("%s: cannot find a temporary name", path);
	unfinished = out->temporary;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(signals[i], &action, NULL);
	return TOOL_OK;
}

static int rename_new(const char *from, const char *to)
{
	if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
		return 0;
	/* Not all file systems can. */
	if (errno != EINVAL)
		return -1;
	return link(from, to) ? -1 : unlink(from);
}

static void directory_sync(const char *path)
{
	char *copy = strdup(path);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	/* Some file systems cannot; the file itself is safe. */
	if (fd >= 0) {
		(void)!fsync(fd);
		close(fd);
	}
	free(copy);
}

int output_publish(struct output *out)
{
	int ret = out->force ? rename(out->temporary, out->path) :
			       rename_new(out->temporary, out->path);

	if (ret && errno == EEXIST)
		return tool_fail("%s has come to exist meanwhile; --force replaces it", out->path);
	if (ret)
		return tool_fail("cannot name %s: %s", out->path, strerror(errno));
	unfinished = NULL;
	directory_sync(out->path);
	return TOOL_OK;
}

void output_end(struct output *out)
{
	if (unfinished)
		unlink(out->temporary);
	unfinished = NULL;
	free(out->temporary);
	vhd_close(out->old);
}
