/* SPDX-License-Identifier: MIT */
/* Finding the file of a parent by what the child says, which may be anything. */
#include <dirent.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "image.h"

int vhd_parent_fault(struct vhd_error *err, const char *path, enum vhd_format format, int fault)
{
	if (fault != VHD_FAULT_FOOTER_COOKIE && fault != VHD_FAULT_NOT_AN_IMAGE)
		return fault;
	return vhd_fail(err, VHD_FAULT_PARENT_FORMAT, "its parent %s is no %s image", path,
			vhd_format_name(format));
}

void vhd_parent_paths_add(struct parent_paths *paths, char *path)
{
	if (path && paths->count < PARENT_PATHS)
		paths->path[paths->count++] = path;
	else
		free(path);
}

void vhd_parent_paths_free(struct parent_paths *paths)
{
	for (uint32_t i = 0; i < paths->count; i++)
		free(paths->path[i]);
	paths->count = 0;
}

static void slashes_turn(char *path)
{
	for (; *path; path++)
		if (*path == '\\')
			*path = '/';
}

char *vhd_windows_relative(char *path)
{
	if (!path)
		return NULL;
	slashes_turn(path);
	if (path[0] != '/' && path[1] != ':')
		return path;
	free(path);
	return NULL;
}

char *vhd_windows_name(char *path)
{
	char *name;

	if (!path)
		return NULL;
	slashes_turn(path);
	name = strrchr(path, '/');
	name = name ? strdup(name + 1) : strdup(path);
	free(path);
	return name;
}

/* Windows does not mind case: takes the entry of the directory that is the same
 * but for that. Changes the end of @path in place. */
static bool path_find_case(char *path)
{
	char *name = strrchr(path, '/');
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	if (!name)
		return false;
	*name = '\0';
	dir = opendir(*path ? path : "/");
	*name++ = '/';
	if (!dir)
		return false;
	while (!found && (entry = readdir(dir)))
		found = strcasecmp(entry->d_name, name) == 0;
	if (found) /* of the same length: case of ASCII alone is compared */
		memcpy(name, entry->d_name, strlen(name));
	closedir(dir);
	return found;
}

static bool path_is_file(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* Is the file, whatever links lead to it, in or below the directory? */
static bool path_is_below(const char *path, const char *directory)
{
	char *file = realpath(path, NULL);
	char *top = realpath(directory, NULL);
	bool below = false;

	if (file && top) {
		size_t length = strlen(top);

		below = strncmp(file, top, length) == 0 &&
			(file[length] == '/' || top[length - 1] == '/');
	}
	free(file);
	free(top);
	return below;
}

static char *path_resolve(const char *base, const char *path)
{
	char *copy, *whole;

	if (path[0] == '/')
		return strdup(path);
	while (path[0] == '.' && path[1] == '/')
		path += 2;
	copy = strdup(base);
	if (!copy)
		return NULL;
	if (asprintf(&whole, "%s/%s", dirname(copy), path) < 0)
		whole = NULL;
	free(copy);
	return whole;
}

int vhd_parent_find(const struct open_context *ctx, const struct parent_paths *paths, char **found)
{
	const char *directory = ctx->options->parent_directory;

	for (uint32_t i = 0; i < paths->count; i++) {
		char *path = path_resolve(ctx->path, paths->path[i]);

		if (!path)
			return vhd_fail(ctx->err, -ENOMEM, "no memory for a path");
		if ((path_is_file(path) || (path_find_case(path) && path_is_file(path))) &&
		    (!directory || path_is_below(path, directory))) {
			*found = path;
			return 0;
		}
		free(path);
	}
	return vhd_fail(ctx->err, VHD_FAULT_PARENT_MISSING,
			"its parent was not found%s%s; it was looked for as \"%s\"%s: name it, if "
			"it has moved",
			directory ? " in " : "", directory ? directory : "",
			paths->count ? paths->path[0] : "",
			paths->count > 1 ? " and other names" : "");
}
