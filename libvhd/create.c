/* SPDX-License-Identifier: MIT */
/* New files: made under a temporary name, synced, then given their own. */
#include "create.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "image.h"
#include "vhdx.h"

int vhd_create_write(const struct create_context *create, const void *bytes, size_t length,
		     uint64_t offset)
{
	const char *p = bytes;

	while (length > 0) {
		ssize_t n = pwrite(create->fd, p, length, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return vhd_fail(create->err, n < 0 ? -errno : -EIO,
					"cannot write at %" PRIu64, offset);
		p += n;
		length -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int vhd_create_extend(const struct create_context *create, uint64_t length, bool reserve)
{
	if (ftruncate(create->fd, (off_t)length) < 0)
		return vhd_fail(create->err, -errno, "cannot make the file %" PRIu64 " bytes long",
				length);
	if (!reserve || fallocate(create->fd, 0, 0, (off_t)length) == 0 || errno == EOPNOTSUPP)
		return 0;
	return vhd_fail(create->err, -errno, "cannot reserve %" PRIu64 " bytes", length);
}

/* Not libuuid's: that one seeds the process's rand(). */
void vhd_random_id(uint8_t *id)
{
	while (getrandom(id, 16, 0) != 16)
		;
	id[6] = (id[6] & 0x0f) | 0x40;
	id[8] = (id[8] & 0x3f) | 0x80;
}

int vhd_raw_create(const struct create_context *create)
{
	const struct vhd_create_options *o = create->options;

	if (o->type != VHD_TYPE_FIXED)
		return vhd_fail(create->err, -EINVAL, "type is %s, a raw image can only be fixed",
				vhd_type_name(o->type));
	return vhd_create_extend(create, o->virtual_size, !(o->flags & VHD_CREATE_SPARSE));
}

static int create_fill(const struct create_context *create)
{
	const struct vhd_create_options *o = create->options;

	if (o->type == VHD_TYPE_DIFFERENCING && o->virtual_size < create->parent.size)
		return vhd_fail(create->err, -EINVAL,
				"virtual size is %" PRIu64 ", the parent's is %" PRIu64,
				o->virtual_size, create->parent.size);
	if (o->virtual_size == 0 || o->virtual_size % 512 || o->virtual_size > INT64_MAX)
		return vhd_fail(create->err, -EINVAL,
				"virtual size is %" PRIu64 ", expected a multiple of 512 above 0",
				o->virtual_size);
	switch (o->format) {
	case VHD_FORMAT_RAW:
		return vhd_raw_create(create);
	case VHD_FORMAT_VHD:
		return vhd_vhd_create(create);
	case VHD_FORMAT_VHDX:
		return vhd_vhdx_create(create);
	default:
		return vhd_fail(create->err, -ENOTSUP, "format %s cannot be created",
				vhd_format_name(o->format));
	}
}

/* Both without symbolic links and absolute: what they share is left out. */
static char *path_relative(const char *directory, const char *path)
{
	size_t shared = 0, ups = 0;
	char *relative;

	for (size_t i = 0; directory[i] && directory[i] == path[i]; i++)
		if (directory[i] == '/')
			shared = i;
	if (strncmp(directory, path, strlen(directory)) == 0 && path[strlen(directory)] == '/')
		shared = strlen(directory);
	for (const char *p = directory + shared; *p; p++)
		ups += *p == '/' && p[1];
	relative = malloc(3 * ups + strlen(path) + 3);
	if (!relative)
		return NULL;
	strcpy(relative, ups ? "" : ".");
	for (size_t i = 0; i < ups; i++)
		strcat(relative, i ? "/.." : "..");
	return strcat(relative, path + shared);
}

static int parent_place(struct create_context *create)
{
	char *copy = strdup(create->path);
	char *directory = copy ? realpath(dirname(copy), NULL) : NULL;
	struct stat st;
	int ret = -ENOMEM;

	create->parent.path = realpath(create->options->parent, NULL);
	if (!create->parent.path || !directory || stat(create->parent.path, &st) < 0)
		ret = -errno;
	else
		create->parent.relative = path_relative(directory, create->parent.path);
	if (create->parent.relative) {
		create->parent.time = st.st_mtim.tv_sec;
		ret = 0;
	}
	free(directory);
	free(copy);
	return ret ? vhd_fail(create->err, ret, "cannot find the way to the parent") : 0;
}

/* A parent that the child replaced would be lost, and the child with it. */
static int parent_check_path(const struct create_context *create, const struct vhd_image *image)
{
	struct stat st;
	uint32_t depth;

	if (stat(create->path, &st) < 0 || !vhd_image_has_file(image, &st, &depth))
		return 0;
	return vhd_fail(create->err, -EINVAL, "it is the parent%s",
			depth ? " of its parent" : "");
}

static int parent_items(struct create_context *create, struct vhd_image *image)
{
	struct vhdx_items *items;
	int ret;

	if (image->layers[0].format != VHD_FORMAT_VHDX)
		return 0;
	items = create->parent.items = calloc(1, sizeof(*items));
	ret = items ? vhdx_items_load(image, &image->layers[0], false, items) : -ENOMEM;
	return ret ? vhd_fail(create->err, ret, "cannot take the parent's metadata along") : 0;
}

int vhd_create_parent_find(struct create_context *create, struct vhd_create_options *o)
{
	struct vhd_open_options options = VHD_OPEN_OPTIONS_INIT;
	struct vhd_info info = VHD_INFO_INIT;
	struct vhd_image *image;
	int ret;

	if (!o->parent)
		return vhd_fail(create->err, -EINVAL, "a differencing image needs a parent");
	options.format = o->format;
	options.flags = VHD_OPEN_READ_ONLY;
	ret = vhd_parent_fault(create->err, o->parent, o->format,
			       vhd_open(o->parent, &options, &image, create->err));
	if (ret)
		return ret;
	ret = parent_check_path(create, image);
	if (!ret && vhd_get_info(image, &info))
		ret = vhd_fail(create->err, -EIO, "cannot examine the parent");
	if (!ret)
		ret = parent_items(create, image);
	vhd_close(image);
	if (ret)
		return ret;
	memcpy(create->parent.id, info.id, sizeof(info.id));
	create->parent.size = info.virtual_size;
	create->parent.block_size = info.block_size; /* 0: the parent has none */
	create->parent.logical = info.logical_sector_size;
	create->parent.physical = info.physical_sector_size;
	memcpy(create->parent.data_id, info.data_id, sizeof(info.data_id));
	if (o->virtual_size == 0)
		o->virtual_size = info.virtual_size;
	if (o->block_size == 0 && o->format == VHD_FORMAT_VHD)
		o->block_size = info.block_size;
	return parent_place(create);
}

void vhd_create_parent_free(struct create_context *create)
{
	free(create->parent.path);
	free(create->parent.relative);
	if (create->parent.items)
		vhdx_items_free(create->parent.items);
	free(create->parent.items);
}

/* ".NAME.123456789abcdef0" beside the file; a name nobody else has. */
static int temporary_open(struct create_context *create, char **name)
{
	char *path = strdup(create->path);
	char *path2 = strdup(create->path);
	uint64_t random;
	int ret = -ENOMEM;

	*name = NULL;
	if (!path || !path2)
		goto out;
	for (int tries = 0; tries < 100; tries++) {
		free(*name);
		*name = NULL;
		if (getrandom(&random, sizeof(random), 0) != sizeof(random) ||
		    asprintf(name, "%s/.%.200s.%016" PRIx64, dirname(strcpy(path2, create->path)),
			     basename(strcpy(path, create->path)), random) < 0) {
			*name = NULL;
			break;
		}
		create->fd = open(*name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		ret = create->fd < 0 ? -errno : 0;
		if (ret != -EEXIST)
			break;
	}
out:
	free(path);
	free(path2);
	if (ret)
		vhd_fail(create->err, ret, "cannot create a file in the directory");
	return ret;
}

static int directory_sync(const char *path)
{
	char *copy = strdup(path);
	int ret = 0;
	int fd;

	if (!copy)
		return -ENOMEM;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		ret = -errno;
	if (fd >= 0)
		close(fd);
	free(copy);
	/* Some file systems cannot sync a directory. */
	return ret == -EINVAL ? 0 : ret;
}

static int temporary_rename(const struct create_context *create, const char *name)
{
	int ret;

	if (create->options->flags & VHD_CREATE_OVERWRITE)
		ret = rename(name, create->path);
	else
		ret = renameat2(AT_FDCWD, name, AT_FDCWD, create->path, RENAME_NOREPLACE);
	if (ret < 0 && errno == EINVAL)
		ret = link(name, create->path) < 0 ? -1 : unlink(name);
	return ret < 0 ? -errno : 0;
}

static int create_publish(const struct create_context *create, const char *name)
{
	int ret;

	if (fsync(create->fd) < 0)
		return vhd_fail(create->err, -errno, "cannot sync the new file");
	ret = temporary_rename(create, name);
	if (ret)
		return vhd_fail(create->err, ret, "cannot give the new file its name");
	ret = directory_sync(create->path);
	if (ret)
		return vhd_fail(create->err, ret, "cannot sync the directory");
	return 0;
}

static int old_check(const struct create_context *create)
{
	struct stat st;

	if (stat(create->path, &st) < 0)
		return 0;
	if (!(create->options->flags & VHD_CREATE_OVERWRITE))
		return vhd_fail(create->err, -EEXIST, "cannot create the image");
	return S_ISREG(st.st_mode) ? 0 : vhd_fail(create->err, -EINVAL,
						  "only a regular file can be replaced");
}

/* What somebody wrote to the old file from now on would be lost: he is not to have it open, nor
 * to open it before it is replaced. */
static int old_lock(struct create_context *create)
{
	const int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	bool shared = false;
	int ret;

	if (!(create->options->flags & VHD_CREATE_OVERWRITE))
		return 0;
	create->old_fd = open(create->path, O_RDWR | flags);
	if (create->old_fd < 0) {
		shared = true;
		create->old_fd = open(create->path, O_RDONLY | flags);
	}
	ret = create->old_fd < 0 ? 0 : vhd_file_lock(create->old_fd, shared);
	return ret == -EAGAIN ?
		       vhd_fail(create->err, ret, "another process has the image open") : 0;
}

static int options_copy(struct vhd_create_options *copy, const struct vhd_create_options *options,
			struct vhd_error *err)
{
	*copy = (struct vhd_create_options)VHD_CREATE_OPTIONS_INIT;
	if (options->size > sizeof(*copy))
		return vhd_fail(err, -EINVAL, "create options of %zu bytes, %zu are known",
				options->size, sizeof(*copy));
	memcpy(copy, options, options->size);
	return 0;
}

int vhd_create(const char *path, const struct vhd_create_options *options, struct vhd_error *err)
{
	struct vhd_create_options copy;
	struct create_context create = {
		.path = path, .options = &copy, .fd = -1, .old_fd = -1, .err = err
	};
	char *name = NULL;
	int ret = options_copy(&copy, options, err);

	if (!ret)
		ret = old_check(&create);
	if (!ret && copy.type == VHD_TYPE_DIFFERENCING)
		ret = vhd_create_parent_find(&create, &copy);
	if (!ret)
		ret = old_lock(&create);
	if (!ret)
		ret = temporary_open(&create, &name);
	if (!ret)
		ret = create_fill(&create);
	if (!ret)
		ret = create_publish(&create, name);
	if (create.fd >= 0) {
		close(create.fd);
		if (ret)
			unlink(name);
	}
	if (create.old_fd >= 0)
		close(create.old_fd);
	free(name);
	vhd_create_parent_free(&create);
	if (ret)
		vhd_error_prefix(err, path);
	return ret;
}
